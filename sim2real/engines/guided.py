"""Guided transfer: of what an engine paints, light and colours are taken, and put on the frame itself at full size.

The engine sees the frame shrunk. The bilateral grid that turns the shrunk frame into its translation is applied to the
frame as it is (:mod:`sim2real.networks.bilateral`): what no such grid can express, a new edge, a moved object, a
pattern, a halo, does not reach the frame. Neither does the work grow with the frame but for that last step.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch

from sim2real.capabilities import PAST
from sim2real.datasets.inputs import Inputs, scale_input
from sim2real.datasets.resizing import Scale
from sim2real.engines.base import Engine
from sim2real.networks.bilateral import FITTED, fit_grid, slice_pictures

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pictures = NDArray[np.uint8]


class GuidedEngine:
    """An engine whose pictures only guide what becomes of frames.

    Args:
        engine: Translates shrunk frames.
        size: Pixels of the longer side of these; smaller frames are not enlarged.
        device: Where grids are fitted and applied.

    Attributes:
        streams: As of the engine.
        notes: Likewise.
    """

    takes_seeds = True
    takes_inputs = True

    def __init__(self, engine: Engine, size: int, device: str) -> None:
        self._engine = engine
        self._size = size
        self._device = torch.device(device)
        self.streams: int = getattr(engine, "streams", 1)
        self.notes: tuple[str, ...] = getattr(engine, "notes", ())

    def __call__(
        self,
        images: "Pictures",
        *,
        inputs: Inputs = MappingProxyType({}),
        seeds: "NDArray[np.uint64] | None" = None,
    ) -> "Pictures":
        """Translate RGB pictures, (N, H, W, 3) or clips (N, T, H, W, 3); see :class:`sim2real.engines.base.Engine`."""
        return self.apply_grids(images, self.grids(images, inputs=inputs, seeds=seeds))

    def grids(
        self,
        images: "Pictures",
        *,
        inputs: Inputs = MappingProxyType({}),
        seeds: "NDArray[np.uint64] | None" = None,
    ) -> "NDArray[np.float32]":
        """What is done to pictures, as of a call: (N, 12, D, h, w), of clips (N T, ...)."""
        height, width = images.shape[-3:-1]
        size = shrunk_size((width, height), self._size)
        small = shrunk(images, size)
        translated = self._engine(small, **self._more(inputs, (width, height), size, seeds))
        return fitted_grids(small, translated, self._device)

    def apply_grids(
        self,
        images: "Pictures",
        grids: "NDArray[np.float32]",
        *,
        seeds: "NDArray[np.uint64] | None" = None,  # noqa: ARG002  as of torch's engine
    ) -> "Pictures":
        """Pictures of any size after such grids."""
        return sliced(images, grids, self._device)

    def _more(
        self, inputs: Inputs, size: tuple[int, int], small: tuple[int, int], seeds: "NDArray[np.uint64] | None"
    ) -> dict[str, Any]:
        """What the engine takes of the rest."""
        more: dict[str, Any] = {}
        if getattr(self._engine, "takes_seeds", False):
            more["seeds"] = seeds
        if getattr(self._engine, "takes_inputs", False):
            more["inputs"] = shrunk_inputs(inputs, size, small)
        return more


def shrunk_size(size: tuple[int, int], longer: int) -> tuple[int, int]:
    """(W, H) with a longer side of so many pixels, or the same if it is no longer than that."""
    scale = min(1.0, longer / max(size))
    width, height = (max(1, round(side * scale)) for side in size)
    return width, height


def shrunk(images: "Pictures", size: tuple[int, int]) -> "Pictures":
    """Pictures (..., H, W, 3) by area to (W, H)."""
    if images.shape[-2:-4:-1] == size:
        return images
    flat = images.reshape(-1, *images.shape[-3:])
    small = np.empty((len(flat), *size[::-1], 3), np.uint8)
    for image, target in zip(flat, small, strict=True):
        cv2.resize(image, size, dst=target, interpolation=cv2.INTER_AREA)
    return small.reshape(*images.shape[:-3], *small.shape[1:])


def shrunk_inputs(
    inputs: Mapping[str, "NDArray[Any]"], size: tuple[int, int], small: tuple[int, int]
) -> "dict[str, NDArray[Any]]":
    """Labels of pictures of (W, H), and earlier pictures, as those of shrunk ones."""
    scale = Scale(size, small)
    found = {}
    for kind, values in inputs.items():
        if kind in PAST:
            found[kind] = shrunk(values, small)
        else:
            found[kind] = scale_input(values, kind, scale)
    return found


def guided(images: "Pictures", small: "Pictures", translated: "Pictures", device: torch.device) -> "Pictures":
    """Frames with the light and the colours of translations.

    Args:
        images: RGB (..., H, W, 3).
        small: The same frames shrunk, (..., h, w, 3).
        translated: What became of these, likewise.
        device: Where it is done.

    Returns:
        Of the shape of the images.
    """
    return sliced(images, fitted_grids(small, translated, device), device)


@torch.inference_mode()
def fitted_grids(small: "Pictures", translated: "Pictures", device: torch.device) -> "NDArray[np.float32]":
    """The grids that turn frames (..., h, w, 3) into translations, (N, 12, D, cells down, cells across)."""
    height, width = small.shape[-3:-1]
    fitted = shrunk_size((width, height), FITTED)
    source, target = (
        torch.from_numpy(shrunk(each, fitted).reshape(-1, *fitted[::-1], 3)).to(device).movedim(-1, 1).float() / 255
        for each in (small, translated)
    )
    found: NDArray[np.float32] = fit_grid(source, target).cpu().numpy()
    return found


@torch.inference_mode()
def sliced(images: "Pictures", grids: "NDArray[np.float32]", device: torch.device) -> "Pictures":
    """Frames (..., H, W, 3) after grids (N, ...), one for each."""
    flat = torch.from_numpy(np.ascontiguousarray(images).reshape(-1, *images.shape[-3:])).to(device)
    result: Pictures = slice_pictures(torch.from_numpy(grids).to(device), flat).cpu().numpy().reshape(images.shape)
    return result
