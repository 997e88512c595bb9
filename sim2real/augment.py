"""What happens to an image between the disk and a training batch; the only module that imports albumentations."""

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
        if seed is None:
            result = self._fixed(image=scaled)["image"]
        else:
            self._random.set_random_seed(seed)
            result = self._random(image=scaled)["image"]
        return np.ascontiguousarray(result)
