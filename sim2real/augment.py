"""Changes of images by albumentations, which no other module imports.

:class:`Augment` is what happens to an image between the disk and a training batch; the functions give a picture the
histogram of another one, or another light.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sim2real.errors import SettingsError
from sim2real.imageio import resize

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else the import asks the network for a newer release

import albumentations as A  # noqa: N812  after the variable above; A is the library's own custom

AUGMENTATIONS: dict[str, Callable[[], Any]] = {
    "hflip": lambda: A.HorizontalFlip(p=0.5),
    "vflip": lambda: A.VerticalFlip(p=0.5),
    "brightness": lambda: A.RandomBrightnessContrast(brightness_limit=0.1, contrast_limit=0.1, p=0.5),
    "colour": lambda: A.ColorJitter(brightness=0.1, contrast=0.1, saturation=0.1, hue=0.02, p=0.5),
}


class Augment:
    """Bring images to one size, at random for training or always the same way.

    Args:
        size: (W, H) of the result.
        fit: ``"crop"`` cuts a window out of the frame, which keeps its aspect; ``"resize"`` squeezes the whole frame.
        load_size: (W, H) that the frame is scaled to before a window of ``size`` is cut: to cover it with ``"crop"``,
            to fill it with ``"resize"``. Without it ``"crop"`` cuts at the frame's own scale; a frame smaller than
            ``size`` is scaled up to cover it.
        names: Augmentations, keys of ``AUGMENTATIONS``.

    Raises:
        SettingsError: There is no such augmentation.
    """

    def __init__(
        self,
        size: tuple[int, int],
        *,
        fit: Literal["crop", "resize"] = "crop",
        load_size: tuple[int, int] | None = None,
        names: Sequence[str] = (),
    ) -> None:
        unknown = [name for name in names if name not in AUGMENTATIONS]
        if unknown:
            message = f"data.augment: no augmentation is called '{unknown[0]}'; known: {', '.join(AUGMENTATIONS)}"
            raise SettingsError(message)
        self.size = size
        self.fit = fit
        self.load_size = load_size
        width, height = size
        self._random = A.Compose([A.RandomCrop(height, width), *(AUGMENTATIONS[name]() for name in names)])
        self._fixed = A.Compose([A.CenterCrop(height, width)])

    def __call__(self, image: NDArray[np.uint8], *, seed: int | None) -> NDArray[np.uint8]:
        """RGB (H, W, 3) -> RGB of ``size``: scaled, then cut."""
        height, width = image.shape[:2]
        return self.cut(resize(image, self.scaled_size(width, height)), seed=seed)

    def scaled_size(self, width: int, height: int) -> tuple[int, int]:
        """The (W, H) that a frame is scaled to before a window is cut; nothing about it is random."""
        wanted_width, wanted_height = self.load_size or self.size
        if self.fit == "resize":
            return max(wanted_width, self.size[0]), max(wanted_height, self.size[1])
        cover = max(wanted_width / width, wanted_height / height)
        least = max(self.size[0] / width, self.size[1] / height, 1e-6)
        scale = max(cover, least) if self.load_size else max(1.0, least)
        return max(round(width * scale), self.size[0]), max(round(height * scale), self.size[1])

    def cut(self, scaled: NDArray[np.uint8], *, seed: int | None) -> NDArray[np.uint8]:
        """Scaled RGB (H, W, 3) -> RGB of ``size``, which may share the pixels of ``scaled`` but never changes them.

        Equal seeds give equal results, None the middle without augmentation.
        """
        return np.ascontiguousarray(self._transformed(seed, image=scaled)["image"])

    def places(self, width: int, height: int, *, seed: int | None) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Which rows and columns of a scaled frame of this size :meth:`cut` shows with that seed, in their order."""
        pixels = np.arange(width * height, dtype=np.int32).reshape(height, width)
        blank = np.zeros((height, width, 3), np.uint8)
        shown = self._transformed(seed, image=blank, mask=pixels)["mask"]
        return shown[:, 0] // width, shown[0] % width

    def _transformed(self, seed: int | None, **targets: NDArray[Any]) -> dict[str, Any]:
        if seed is None:
            return dict(self._fixed(**targets))
        self._random.set_random_seed(seed)
        return dict(self._random(**targets))


def match_histogram(image: NDArray[np.uint8], reference: NDArray[np.uint8], *, blend: float) -> NDArray[np.uint8]:
    """Give each channel the histogram of a reference.

    Args:
        image: RGB (H, W, 3).
        reference: RGB of any size, but of more than one row and column.
        blend: Share of the result in what is returned, the rest is the image.
    """
    height, width = image.shape[:2]
    if min(height, width) == 1:  # which albumentations takes for no axis; of four copies the histogram is the same
        image = np.tile(image, (2, 2, 1))
    match = A.HistogramMatching(blend_ratio=(blend, blend), metadata_key="references", p=1)
    return np.asarray(match(image=image, references=[reference])["image"][:height, :width], np.uint8)


def vary_appearance(image: NDArray[np.uint8], *, strength: float, seed: int) -> NDArray[np.uint8]:
    """Another camera in another light, sampled by the seed; everything stays where it is.

    Gain, contrast, gamma, tint and saturation, then blur, noise and compression.

    Args:
        image: RGB (H, W, 3).
        strength: How far it goes, above 0 and 1 at most.
        seed: Equal ones give equal results.
    """
    part, low, high = strength, round(100 - 30 * strength), round(100 + 40 * strength)
    vary = A.Compose(
        [
            A.RandomBrightnessContrast(brightness_limit=0.25 * part, contrast_limit=0.3 * part, p=0.8),
            A.RandomGamma(gamma_limit=(low, high), p=0.6),
            A.RGBShift(*(0.08 * part,) * 3, p=0.6),
            A.HueSaturationValue(hue_shift_limit=8 * part, sat_shift_limit=40 * part, val_shift_limit=0, p=0.6),
            A.GaussianBlur(blur_limit=0, sigma_limit=(0, 1.5 * part), p=0.5),
            A.OneOf([A.GaussNoise(std_range=(0, 0.06 * part)), A.ISONoise(intensity=(0, 0.4 * part))], p=0.5),
            A.ImageCompression(quality_range=(round(100 - 60 * part), 100), p=0.5),
        ],
        seed=seed,
    )
    return np.asarray(vary(image=image)["image"], np.uint8)
