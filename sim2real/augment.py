"""Image augmentation with albumentations, which no other module imports.

:class:`Augment` prepares images for training batches; the functions match the histogram of an image to another one, or
vary its appearance.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sim2real.errors import SettingsError
from sim2real.imageio import resize

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # the import would look for a newer release online

import albumentations as A  # noqa: N812  after the variable above; A is the library's convention

AUGMENTATIONS: dict[str, Callable[[], Any]] = {
    "hflip": lambda: A.HorizontalFlip(p=0.5),
    "vflip": lambda: A.VerticalFlip(p=0.5),
    "brightness": lambda: A.RandomBrightnessContrast(brightness_limit=0.1, contrast_limit=0.1, p=0.5),
    "colour": lambda: A.ColorJitter(brightness=0.1, contrast=0.1, saturation=0.1, hue=0.02, p=0.5),
}


class Augment:
    """A transform to a fixed size, random for training or deterministic.

    Args:
        size: (W, H) of the result.
        fit: ``"crop"`` cuts a window from the frame, keeping its aspect ratio; ``"resize"`` squeezes the whole frame.
        load_size: (W, H) that the frame is scaled to before a window of ``size`` is cut: the frame covers this size
            with ``"crop"`` and fills it exactly with ``"resize"``. By default ``"crop"`` cuts at the frame's own scale;
            a frame smaller than ``size`` is scaled up to cover it.
        names: Augmentations, keys of ``AUGMENTATIONS``.

    Raises:
        SettingsError: If there is no such augmentation.
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
        self._crop = A.Compose([A.RandomCrop(height, width)], save_applied_params=True)
        self._random = A.Compose([A.RandomCrop(height, width), *(AUGMENTATIONS[name]() for name in names)])
        self._fixed = A.Compose([A.CenterCrop(height, width)])

    def __call__(self, image: NDArray[np.uint8], *, seed: int | None) -> NDArray[np.uint8]:
        """Scale RGB (H, W, 3), and cut a window of ``size``."""
        height, width = image.shape[:2]
        return self.cut(resize(image, self.scaled_size(width, height)), seed=seed)

    def scaled_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the (W, H) that a frame is scaled to before a window is cut; it is not random."""
        wanted_width, wanted_height = self.load_size or self.size
        if self.fit == "resize":
            return max(wanted_width, self.size[0]), max(wanted_height, self.size[1])
        cover = max(wanted_width / width, wanted_height / height)
        least = max(self.size[0] / width, self.size[1] / height, 1e-6)
        scale = max(cover, least) if self.load_size else max(1.0, least)
        return max(round(width * scale), self.size[0]), max(round(height * scale), self.size[1])

    def cut(self, scaled: NDArray[np.uint8], *, seed: int | None) -> NDArray[np.uint8]:
        """Cut a window of ``size`` from scaled RGB (H, W, 3). It may share memory with ``scaled``, which is unchanged.

        Equal seeds give equal results; None gives the central window without augmentation.
        """
        return np.ascontiguousarray(self._transformed(seed, image=scaled)["image"])

    def window(self, width: int, height: int, *, seed: int) -> tuple[int, int, int, int]:
        """Return the part of a scaled frame that :meth:`cut` cuts with this seed: left, top, right, bottom.

        ``cut`` returns the same if it is given this part alone.
        """
        self._crop.set_random_seed(seed)
        done = self._crop(image=np.broadcast_to(np.uint8(0), (height, width)))
        left, top, right, bottom = done["applied_transforms"][0][1]["crop_coords"]
        return left, top, right, bottom

    def places(self, width: int, height: int, *, seed: int | None) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the rows and columns of a scaled frame that :meth:`cut` shows with this seed, in their order."""
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
    """Match the histogram of each channel to that of a reference.

    Args:
        image: RGB (H, W, 3).
        reference: RGB of any size with more than one row and column.
        blend: Weight of the matched image; the original image has the remaining weight.
    """
    height, width = image.shape[:2]
    if min(height, width) == 1:  # albumentations drops an axis of size 1; tiling keeps the histogram
        image = np.tile(image, (2, 2, 1))
    match = A.HistogramMatching(blend_ratio=(blend, blend), metadata_key="references", p=1)
    return np.asarray(match(image=image, references=[reference])["image"][:height, :width], np.uint8)


def vary_appearance(image: NDArray[np.uint8], *, strength: float, seed: int) -> NDArray[np.uint8]:
    """Simulate another camera and another light with random changes that move no pixels.

    The changes are gain, contrast, gamma, tint and saturation, then blur, noise and compression.

    Args:
        image: RGB (H, W, 3).
        strength: Strength of the changes, above 0 and at most 1.
        seed: Equal seeds give equal results.
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
