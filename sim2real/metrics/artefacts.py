"""Measure obvious faults of a translation that edges do not reveal: patterns, halos, rims, seams and negatives.

A bilateral grid of affine colour transforms can express changes of light and colour but no patterns, halos, rims or
seams (:mod:`sim2real.networks.bilateral`). Such a grid is fitted to a frame and its translation, and these faults are
measured on the residual. A negative is a change of light, and is found at the edges, whose sides it swaps. No weights
and no labels are needed.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from sim2real.metrics.base import About, Change, Image
from sim2real.networks.bilateral import FITTED, fit_grid, luma, slice_grid

if TYPE_CHECKING:
    from sim2real.datasets.labels import Label

_Floats = NDArray[np.float32]
_Mask = NDArray[np.bool_]

_LUMA = np.array((0.299, 0.587, 0.114), np.float32)
_LEAST_SIDE = 64  # px: smaller frames have no room for a border and an inner strip
_BORDER = 8  # px: the rim, excluded from the other values

_WINDOW = 32  # px; a multiple of twice the largest stride
_STEP = 16  # px from one window to the next, more in large frames
_MOST_WINDOWS = 1024
_QUIET = 0.5  # squared grey levels: limits the weight of windows with little power besides the pattern's

_STRONG, _FAINT = 15.0, 5.0  # grey levels per pixel: edges that halos surround; edges that could pass for seams
_NEAR = (3.0, 8.0)  # px from an edge; nearer pixels may be blurred
_FAR = 14.0  # px from an edge, on the same surface
_APART = 0.7  # of _FAR: smallest distance of the far pixel from any other edge
_ALIKE = 10.0  # grey levels within a surface
_FEWEST_POINTS = 100
_MOST_POINTS = 60_000

_WITHIN = slice(16, 28)  # px from the border: the strip that the rim is compared with
_FEWEST_ALONG = 24  # px of a side where the frame has one colour

_MOST_PLACES = 256  # of a line, evenly spread
_SEGMENT = 16  # places
_FEWEST_FLAT = 6  # places of a segment that are away from the frame's edges
_AWAY = np.ones((13, 13), np.uint8)  # px: the reach of blur and compression around an edge
_FEWEST_SEGMENTS = 3
_LEAST_SEEN = 0.25  # of the segments of a line
_AROUND = 33  # lines: steps that are usual among them are texture or a pattern
_CLEAR = 14  # px: lines nearer to the border are rims

_SMOOTHING = 1.5  # px, the standard deviation of a Gaussian that removes grain
_VISIBLE = 1.0  # grey levels per pixel: edges of a translation whose direction is certain
_FEWEST_EDGES = 100  # pixels
_LEAST_SPREAD = 10.0  # grey levels, so that blank images do not divide by 0


class ArtefactMetric:
    """The metric ``artefacts``: faults of a generator.

    Lower is better; a translation that only changes light and colours has 0. All values but the last two are in grey
    levels. A frame with a side of less than 64 px has no values.

    - ``periodic``: Root mean square of patterns that repeat every 2, 4 or 8 px: the power of the residual at these
      frequencies above that at neighbouring ones. Windows with little other residual weigh most.
    - ``halos``: Change of the residual from 14 px to 3 to 8 px from a strong edge of the frame, on a surface of one
      colour: the median over the brighter or over the darker sides, whichever is larger.
    - ``rims``: Difference of the residual between the outer 8 px and the strip 16 to 28 px from the border, where the
      frame has one colour: the median along each side of the image, then over the sides.
    - ``seams``: Step of the residual across a straight line through the image, exceeded along three quarters of the
      line away from the frame's edges, beyond the usual steps of neighbouring lines; the worst line.
    - ``unexplained``: Ratio of the residual's power to the translation's variance, both smoothed.
    - ``inverted``: Share of the frame's edges, among those that the translation has, whose darker side became the
      lighter one.
    """

    abouts: Mapping[str, About] = {
        "periodic": About(title="patterns of 2, 4 or 8 px (checkerboards), grey levels", better="lower"),
        "halos": About(title="halos around strong edges, grey levels", better="lower"),
        "rims": About(title="a rim along the border, grey levels", better="lower"),
        "seams": About(title="steps along straight lines, grey levels", better="lower"),
        "unexplained": About(title="share of the content that no change of light explains", better="lower"),
        "inverted": About(title="share of edges with light and dark swapped", better="lower"),
    }

    def compare(self, before: Image, after: Image, labels: "Mapping[str, Label]") -> dict[str, Change]:  # noqa: ARG002  the contract of frame metrics; artefacts need no labels
        """Compare a frame with its translation, RGB (H, W, 3).

        Raises:
            ValueError: If the sizes differ.
        """
        return {name: Change(value) for name, value in artefacts(before, after).items()}


def artefacts(before: Image, after: Image) -> dict[str, float]:
    """Return the values of a frame and its translation, RGB (H, W, 3); empty if a side is less than 64 px.

    Raises:
        ValueError: If the sizes differ.
    """
    if before.shape != after.shape:
        raise ValueError(f"images of {before.shape} and {after.shape} pixels cannot be compared")
    if min(before.shape[:2]) < _LEAST_SIDE:
        return {}
    residual = _residual(before, after)
    figures = {
        "periodic": _periodic(residual),
        "halos": _halos(before, residual),
        "rims": _rims(before, residual),
        "seams": _seams(before, residual),
        "unexplained": _unexplained(after, residual),
        "inverted": _inverted(before, after),
    }
    return {name: value for name, value in figures.items() if value is not None}


@torch.inference_mode()
def _residual(before: Image, after: Image) -> _Floats:
    """Return the translation minus the fit of a bilateral grid to it, in grey levels."""
    height, width = before.shape[:2]
    scale = min(1.0, FITTED / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = (cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (before, after))
    source, target = map(_tensor, small)
    grid = fit_grid(source, target)
    frame = _tensor(before)
    painted = slice_grid(grid, luma(frame), frame)[0].clamp_(0, 1).mul_(255).movedim(0, -1).numpy()
    return np.asarray(after - painted, np.float32)


def _tensor(image: NDArray[np.generic]) -> torch.Tensor:
    """(H, W, 3) -> (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(image.astype(np.float32) / 255).movedim(-1, 0)[None]


@torch.inference_mode()
def _periodic(residual: _Floats) -> float:
    """Return the root mean square of periodic patterns.

    Patterns that repeat every 2, 4 or 8 px have power only at multiples of 1/8 cycle per pixel. A window's power there
    is compared with that in between, along each direction, because an outline or a brick wall has power along a whole
    line of frequencies.
    """
    inside = torch.from_numpy(residual[_BORDER:-_BORDER, _BORDER:-_BORDER])
    step = max(_STEP, round((inside.shape[0] * inside.shape[1] / _MOST_WINDOWS) ** 0.5))
    taper = torch.hann_window(_WINDOW)
    tapers = taper[:, None] * taper
    windows = inside.unfold(0, _WINDOW, step).unfold(1, _WINDOW, step).flatten(0, 1) * tapers
    half = _WINDOW // 2
    folded = windows.unflatten(-1, (2, half)).sum(-2).unflatten(-2, (2, half)).sum(-3)  # every other frequency
    power = torch.fft.fft2(folded).abs().square().mean(1) / tapers.sum() ** 2
    at = torch.arange(0, half, 2)

    def moved(down: int, along: int) -> torch.Tensor:
        rows: torch.Tensor = power[:, (at + down) % half]
        return rows[:, :, (at + along) % half]

    beside = [(moved(*way) + moved(*(-each for each in way))) / 2 for way in ((0, 1), (1, 0), (1, 1), (1, -1))]
    usual = torch.stack(beside).amax(0)
    excess = moved(0, 0) - usual
    usual[:, 0, 0] = excess[:, 0, 0] = 0
    weights = 1 / (usual.sum((1, 2)) + _QUIET)
    mean = (excess * weights[:, None, None]).sum() / weights.sum()
    return float(mean.clamp(min=0).sqrt())


class _Points(NamedTuple):
    """Rows and columns of pixels near edges, each paired with one farther out on the same surface."""

    near: tuple[NDArray[np.intp], NDArray[np.intp]]
    far: tuple[NDArray[np.intp], NDArray[np.intp]]
    bright: _Mask


def _halos(before: Image, residual: _Floats) -> float | None:
    """Return how much the residual changes towards edges; None if too few surfaces along edges are wide enough."""
    points = _beside(before, _edges(before, _STRONG))
    if points is None:
        return None
    smooth = cv2.GaussianBlur(residual, (0, 0), 1)
    overshoot = smooth[points.near] - smooth[points.far]
    sides = [overshoot[side] for side in (points.bright, ~points.bright)]
    found = [float(np.abs(np.median(side, axis=0)).mean()) for side in sides if len(side) >= _FEWEST_POINTS]
    return max(found, default=None)


def _beside(image: Image, edges: _Mask) -> _Points | None:
    if not edges.any():
        return None
    distance, nearest = cv2.distanceTransformWithLabels(
        (~edges).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    places = np.zeros((int(nearest.max()) + 1, 2), np.int32)
    places[nearest[edges]] = np.argwhere(edges)
    beside = (distance >= _NEAR[0]) & (distance <= _NEAR[1])
    near = np.argwhere(beside[_BORDER:-_BORDER, _BORDER:-_BORDER]) + _BORDER
    near = near[:: max(1, len(near) // _MOST_POINTS)]
    edge = places[nearest[tuple(near.T)]]
    outwards = (near - edge) / distance[tuple(near.T)][:, None]
    far, across = (np.rint(edge + length * outwards).astype(np.intp) for length in (_FAR, -_NEAR[0]))
    end = np.subtract(image.shape[:2], _BORDER)
    there = ((far >= _BORDER) & (far < end) & (across >= 0) & (across < image.shape[:2])).all(1)
    near, far, across = near[there], far[there], across[there]
    smooth = cv2.blur(image, (3, 3)).astype(np.float32)
    apart = np.abs(smooth[tuple(near.T)] - smooth[tuple(far.T)]).max(1)
    kept = (distance[tuple(far.T)] >= _APART * _FAR) & (apart < _ALIKE)
    near, far, across = near[kept], far[kept], across[kept]
    levels = image.astype(np.float32) @ _LUMA
    bright = levels[tuple(near.T)] > levels[tuple(across.T)]
    return _Points((near[:, 0], near[:, 1]), (far[:, 0], far[:, 1]), np.asarray(bright))


def _edges(image: Image, steepness: float) -> _Mask:
    """Return where a frame's gradient exceeds ``steepness`` grey levels per pixel."""
    return np.asarray(cv2.magnitude(*_slopes(image, 1))) > steepness


def _slopes(image: Image, smoothing: float) -> tuple[_Floats, _Floats]:
    """Return the gradient of the luma along x and y in grey levels per pixel, smoothed by a Gaussian."""
    smooth = cv2.GaussianBlur(image.astype(np.float32) @ _LUMA, (0, 0), smoothing)
    along, down = (cv2.Sobel(smooth, cv2.CV_32F, x, 1 - x, scale=1 / 8) for x in (1, 0))
    return np.asarray(along, np.float32), np.asarray(down, np.float32)


def _rims(before: Image, residual: _Floats) -> float | None:
    """Return how much the residual changes towards the border; None if no side has enough places of one colour."""
    smooth = cv2.blur(before, (3, 3)).astype(np.float32)
    sides = []
    for ways in ((0, 1), (1, 0)):
        for order in (1, -1):
            frame, left = (each.transpose(*ways, 2)[::order] for each in (smooth, residual))
            alike = np.abs(frame[:_BORDER].mean(0) - frame[_WITHIN].mean(0)).max(-1) < _ALIKE
            if alike.sum() >= _FEWEST_ALONG:
                within = left[_WITHIN, alike].mean(0)
                sides.append(np.abs(np.median(left[:_BORDER, alike] - within, axis=1)).mean())
    return float(np.median(sides)) if sides else None


def _seams(before: Image, residual: _Floats) -> float:
    """Return the largest step of the residual along a straight line; 0 if the frame has edges everywhere."""
    flat = cv2.dilate(_edges(before, _FAINT).astype(np.uint8), _AWAY) == 0
    return max(_worst_line(residual, flat), _worst_line(np.ascontiguousarray(residual.transpose(1, 0, 2)), flat.T))


def _worst_line(values: _Floats, flat: _Mask) -> float:
    """Return the step of values (H, W, 3) at the vertical line where it is largest, measured at flat places.

    A step is the difference between both sides beyond the change along them. The step of a segment is the median over
    its places, less twice the usual step of the surrounding lines; the step of a line is the value that three quarters
    of its segments exceed.
    """
    every = max(1, len(values) // _MOST_PLACES)
    means, flat = cv2.blur(values[::every], (3, 1)), flat[::every]
    lines = np.arange(_CLEAR, values.shape[1] - _CLEAR + 1)
    steps = 1.5 * (means[:, lines + 1] - means[:, lines - 2]) - 0.5 * (means[:, lines + 4] - means[:, lines - 5])
    count = len(means) // _SEGMENT
    if not count or len(lines) < _AROUND:
        return 0.0
    flat = flat[: count * _SEGMENT, lines].reshape(count, _SEGMENT, -1)
    steps = steps[: count * _SEGMENT].reshape(count, _SEGMENT, -1, 3)
    sizes = np.abs(_ranked(steps, np.repeat(flat[..., None], 3, -1), 1, 0.5)).mean(-1)
    seen = flat.sum(1) >= _FEWEST_FLAT
    around = [
        np.lib.stride_tricks.sliding_window_view(np.pad(each, ((0, 0), (_AROUND // 2,) * 2)), _AROUND, axis=1)
        for each in (sizes, seen)
    ]
    sizes = sizes - 2 * _ranked(around[0], around[1], 2, 0.5)
    there = seen.sum(0) >= max(_FEWEST_SEGMENTS, _LEAST_SEEN * count)
    found: list[float] = _ranked(sizes[:, there], seen[:, there], 0, 0.25).tolist()
    return max(0.0, *found) if found else 0.0


def _ranked(values: _Floats, known: _Mask, axis: int, share: float) -> _Floats:
    """Return the quantile ``share`` of the known values along an axis; 0 if there are none."""
    order = np.sort(np.where(known, values, np.inf), axis=axis)
    rank = (share * np.maximum(known.sum(axis, keepdims=True) - 1, 0)).astype(np.intp)
    found = np.take_along_axis(order, rank, axis).squeeze(axis)
    return np.where(np.isfinite(found), found, 0)


def _unexplained(after: Image, residual: _Floats) -> float:
    smooth, left = (cv2.GaussianBlur(each, (0, 0), _SMOOTHING) for each in (after.astype(np.float32), residual))
    return float(np.square(left).mean() / (smooth.var(axis=(0, 1)).mean() + _LEAST_SPREAD**2))


def _inverted(before: Image, after: Image) -> float | None:
    """Return the share of edges whose sides swapped light and dark; None if too few of them are left."""
    (along, down), (along_after, down_after) = (
        (slope[_BORDER:-_BORDER, _BORDER:-_BORDER] for slope in _slopes(image, _SMOOTHING)) for image in (before, after)
    )
    steepness = np.hypot(along, down)
    edges = steepness > _FAINT
    across = (along * along_after + down * down_after)[edges] / steepness[edges]  # the translation's slope, signed
    clear = across[np.abs(across) > _VISIBLE]
    return float((clear < 0).mean()) if len(clear) >= _FEWEST_EDGES else None
