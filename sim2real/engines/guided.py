"""Guided transfer: only the light and the colours of a translation are applied to the frame, at full size.

The engine translates a shrunk frame. The bilateral grid that turns the shrunk frame into its translation is then
applied to the original frame (:mod:`sim2real.networks.bilateral`). What such a grid cannot express, such as a new edge,
a moved object, a pattern or a halo, does not reach the frame. Only this last step takes longer for larger frames.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from sim2real.capabilities import PAST
from sim2real.datasets.inputs import Inputs, scale_input
from sim2real.datasets.resizing import Scale
from sim2real.engines.base import Engine
from sim2real.networks.bilateral import FITTED, fit_grid, slice_pictures

Pictures = NDArray[np.uint8]


class GuidedEngine:
    """An engine that transfers the light and the colours of another engine's translations.

    Args:
        engine: Engine that translates shrunk frames.
        size: Longer side of the shrunk frames in pixels; smaller frames are not enlarged.
        device: Device on which grids are fitted and applied.

    Attributes:
        streams: Those of the other engine.
        notes: Those of the other engine.
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
        images: Pictures,
        *,
        inputs: Inputs = MappingProxyType({}),
        seeds: NDArray[np.uint64] | None = None,
    ) -> Pictures:
        """Translate RGB images (N, H, W, 3) or clips (N, T, H, W, 3); see :class:`sim2real.engines.base.Engine`."""
        return self.apply_grids(images, self.grids(images, inputs=inputs, seeds=seeds))

    def grids(
        self,
        images: Pictures,
        *,
        inputs: Inputs = MappingProxyType({}),
        seeds: NDArray[np.uint64] | None = None,
    ) -> NDArray[np.float32]:
        """Return the grids (N, 12, D, h, w) that a call applies to images; (N T, ...) for clips."""
        height, width = images.shape[-3:-1]
        size = seen_size((width, height), self._size, getattr(self._engine, "fixed_size", None))
        small = shrunk(images, size)
        translated = self._engine(small, **self._more(inputs, (width, height), size, seeds))
        return fitted_grids(small, translated, self._device)

    def apply_grids(
        self,
        images: Pictures,
        grids: NDArray[np.float32],
        *,
        seeds: NDArray[np.uint64] | None = None,  # noqa: ARG002  same interface as TorchEngine
    ) -> Pictures:
        """Apply grids to images of any size."""
        return sliced(images, grids, self._device)

    def _more(
        self, inputs: Inputs, size: tuple[int, int], small: tuple[int, int], seeds: NDArray[np.uint64] | None
    ) -> dict[str, Any]:
        """Return the keyword arguments that the other engine takes."""
        more: dict[str, Any] = {}
        if getattr(self._engine, "takes_seeds", False):
            more["seeds"] = seeds
        if getattr(self._engine, "takes_inputs", False):
            more["inputs"] = shrunk_inputs(inputs, size, small)
        return more


def seen_size(size: tuple[int, int], longer: int, fixed: tuple[int, int] | None) -> tuple[int, int]:
    """Return (W, H) of the image that a generator sees of a frame in a guided transfer.

    Args:
        size: (W, H) of the frame.
        longer: Longer side of the images.
        fixed: (W, H) of the only images that the generator translates, or None.
    """
    return fixed or shrunk_size(size, longer)


def shrunk_size(size: tuple[int, int], longer: int) -> tuple[int, int]:
    """Return (W, H) scaled down to a longer side of ``longer`` pixels; smaller sizes are returned unchanged."""
    scale = min(1.0, longer / max(size))
    width, height = (max(1, round(side * scale)) for side in size)
    return width, height


def shrunk(images: Pictures, size: tuple[int, int]) -> Pictures:
    """Shrink images (..., H, W, 3) by area to (W, H), or enlarge them linearly."""
    if images.shape[-2:-4:-1] == size:
        return images
    flat = images.reshape(-1, *images.shape[-3:])
    small = np.empty((len(flat), *size[::-1], 3), np.uint8)
    for image, target in zip(flat, small, strict=True):
        enlarges = image.shape[0] < size[1] or image.shape[1] < size[0]
        cv2.resize(image, size, dst=target, interpolation=cv2.INTER_LINEAR if enlarges else cv2.INTER_AREA)
    return small.reshape(*images.shape[:-3], *small.shape[1:])


def shrunk_inputs(
    inputs: Mapping[str, NDArray[Any]], size: tuple[int, int], small: tuple[int, int]
) -> dict[str, NDArray[Any]]:
    """Return labels and earlier frames of images of ``size`` for images shrunk to ``small``, (W, H) each."""
    scale = Scale(size, small)
    return {
        kind: shrunk(values, small) if kind in PAST else scale_input(values, kind, scale)
        for kind, values in inputs.items()
    }


def guided(images: Pictures, small: Pictures, translated: Pictures, device: torch.device) -> Pictures:
    """Return frames with the light and the colours of translations.

    Args:
        images: RGB (..., H, W, 3).
        small: The same frames shrunk, (..., h, w, 3).
        translated: Translations of the shrunk frames, (..., h, w, 3).
        device: Device on which grids are fitted and applied.

    Returns:
        RGB (..., H, W, 3).
    """
    return sliced(images, fitted_grids(small, translated, device), device)


@torch.inference_mode()
def fitted_grids(small: Pictures, translated: Pictures, device: torch.device) -> NDArray[np.float32]:
    """Return the grids that turn frames (..., h, w, 3) into translations, (N, 12, D, rows of cells, columns)."""
    height, width = small.shape[-3:-1]
    fitted = shrunk_size((width, height), FITTED)
    source, target = (
        torch.from_numpy(shrunk(each, fitted).reshape(-1, *fitted[::-1], 3)).to(device).movedim(-1, 1).float() / 255
        for each in (small, translated)
    )
    found: NDArray[np.float32] = fit_grid(source, target).cpu().numpy()
    return found


@torch.inference_mode()
def sliced(images: Pictures, grids: NDArray[np.float32], device: torch.device) -> Pictures:
    """Apply grids (N, ...) to frames (..., H, W, 3), one to each."""
    flat = torch.from_numpy(np.ascontiguousarray(images).reshape(-1, *images.shape[-3:])).to(device)
    result: Pictures = slice_pictures(torch.from_numpy(grids).to(device), flat).cpu().numpy().reshape(images.shape)
    return result
