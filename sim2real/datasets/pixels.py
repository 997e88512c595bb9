"""What the pixels of an image tell of what it shows, where they are no light."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.base import Role

_SAMPLED: Final = 2**16  # pixels, about
_FEW_COLOURS: Final = 256
_FEW_GREYS: Final = 64


@dataclass(frozen=True, slots=True)
class Kind:
    """What images can be that are no camera images.

    Attributes:
        reason: What gives them away.
        role: What they are to a conversion.
        doubtful: Whether photos may have that, too.
    """

    reason: str
    role: Role
    doubtful: bool = False


FEW_COLOURS: Final = Kind(f"fewer than {_FEW_COLOURS} colours", Role.PSEUDO, doubtful=True)
ONE_CHANNEL: Final = Kind("one channel", Role.LABEL, doubtful=True)


def kind_of(rgb: NDArray[np.uint8]) -> Kind | None:
    """What an image is if it is no camera image, as far as its pixels tell; None of a photo.

    Args:
        rgb: Its pixels (H, W, 3).
    """
    step = max(1, round((rgb.shape[0] * rgb.shape[1] / _SAMPLED) ** 0.5))
    pixels = rgb[: rgb.shape[0] - 1 : step, : rgb.shape[1] - 1 : step].astype(np.int32)
    if pixels.size and _has_few_colours(pixels):
        return FEW_COLOURS
    return None


def _has_few_colours(pixels: NDArray[np.int32]) -> bool:
    colours = len(np.unique(pixels @ np.array([1 << 16, 1 << 8, 1], dtype=np.int32)))
    is_grey = bool((pixels == pixels[..., :1]).all())
    return colours < min(_FEW_GREYS if is_grey else _FEW_COLOURS, pixels.size / 48)
