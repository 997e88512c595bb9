"""Measure whether converted sequences are as steady as their source.

There are two measures. The warp error needs optical flow: the next frame is warped back along the motion and compared
with the current one where both show the same thing (Lai et al. 2018, "Learning Blind Video Temporal Consistency",
arXiv 1808.00449). The flicker needs only frames: it is the difference of a region's light and colour from the mean of
the previous and the next frame. Motion changes them steadily, an unsteady translation does not.

Both are in units of the frames' own contrast, so that a gain or a tint of the whole sequence does not change them. Both
are measured on the source too, which is not perfectly steady either.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from sim2real.conversion.unrelated import STRANGERS, contrast, light
from sim2real.datasets.labels import Flow
from sim2real.errors import ImageError, Sim2RealError
from sim2real.evaluation.figures import Figure
from sim2real.evaluation.frames import FramePair, consecutive
from sim2real.evaluation.intervals import blocks_of
from sim2real.evaluation.measures import mean_figure
from sim2real.metrics.base import Image
from sim2real.progress import Progress, quiet
from sim2real.threads import in_order

_Floats = NDArray[np.float32]
_Both = NDArray[np.float64]  # (2,), before and after
_Places = tuple[_Floats, _Floats]  # x and y (H, W)
_Number = TypeVar("_Number", np.uint8, np.float32)

_LEAST_ERROR = 1.0  # grey levels: below this are rounding and compression
_LEAST_SEEN = 0.05  # of the pixels that must be visible in both frames
_LEAST_COUNT = 16  # frames that a meaningful figure needs
_THREADS = 4


class _Run(NamedTuple):
    """Measurements of consecutive frames, by path, before and after.

    Attributes:
        warp: Difference from the next frame along the motion, for frames with known motion.
        flicker: Difference in light and colour from the mean of both neighbours, for frames that have two.
        faults: Why frames, or their flow, could not be read.
    """

    warp: dict[str, _Both]
    flicker: dict[str, _Both]
    faults: list[str]


def temporal_figures(
    pairs: Sequence[FramePair], *, seed: int = 0, progress: Progress = quiet
) -> tuple[tuple[Figure, ...], Mapping[str, Mapping[str, float]]]:
    """Measure how steady converted frames are compared with their source.

    Args:
        pairs: Frames with their translations; consecutive frames of a sequence are compared.
        seed: Seed of the resampling for the intervals.
        progress: Called for the stage ``"frames in sequence"``.

    Returns:
        The figures ``warp_error`` and ``flicker``, before and after, and ``warp_ratio``, which is 1 if a translation is
        as steady as its source; no figures if there are no consecutive frames. Also the values of each converted frame:
        path -> name -> value. Unreadable frames, and flow that is unreadable or does not fit its frame, are left out
        and counted in the figures' remarks.
    """
    wanted, runs = list(consecutive(pairs)), list[_Run]()
    done, total = 0, sum(map(len, wanted))
    progress("frames in sequence", 0, total)
    for frames, seen in zip(wanted, in_order(_watch, wanted, _THREADS), strict=True):
        runs.append(seen)
        done += len(frames)
        progress("frames in sequence", done, total)
    if not runs:
        return (), {}
    warp, flicker = [run.warp for run in runs], [run.flicker for run in runs]
    no_flow = "" if any(warp) else "not measured: no optical flow from one evaluated frame to the next"
    no_video = "" if any(flicker) else "not measured: no three evaluated frames are consecutive"
    if no_flow and not no_video and _are_strangers(flicker):
        no_video, flicker = "not measured: these frames are no video, neighbours show different places", []
    ratio = [{path: both / both[0] for path, both in run.items()} for run in warp]
    error = _figure("warp_error", "difference along the motion, in units of contrast", warp, no_flow, seed)
    steady = _figure("flicker", "unsteadiness of light and colour, in units of contrast", flicker, no_video, seed)
    times = _figure("warp_ratio", "warp error, times that of the source", ratio, no_flow, seed, compares=False)
    measured = {"warp_error": warp, "warp_ratio": ratio, "flicker": flicker}
    by_frame: dict[str, dict[str, float]] = {}
    for name, of_runs in measured.items():
        for run in of_runs:
            for path, both in run.items():
                by_frame.setdefault(path, {})[name] = float(both[1])
    found: tuple[Figure, ...] = (error, times, steady)
    if faults := [fault for run in runs for fault in run.faults]:
        left_out = f"{len(faults)} frames or their flow left out: {faults[0]}"
        found = tuple(replace(figure, remark=f"{figure.remark}; {left_out}".lstrip("; ")) for figure in found)
    return found, by_frame


def _watch(run: Sequence[FramePair]) -> _Run:
    seen = _Run({}, {}, [])
    paths, contrasts, lights = list[str](), list[_Both](), list[_Floats]()
    last: tuple[FramePair, tuple[Image, Image]] | None = None
    for pair in run:
        try:
            images = pair.both()
        except Sim2RealError as error:
            seen.faults.append(str(error))
            paths, contrasts, lights, last = [], [], [], None
            continue
        paths.append(pair.path)
        contrasts.append(np.array([contrast(image) for image in images]))
        lights.append(np.stack([light(image) for image in images]))
        if last is not None:
            try:
                warped = _warp_error(*last, pair, images)
            except Sim2RealError as error:
                seen.faults.append(str(error))
                warped = None
            if warped is not None:
                seen.warp[paths[-2]] = np.maximum(warped, _LEAST_ERROR) / np.mean(contrasts[-2:], axis=0)
        if len(lights) >= 3:
            change = np.abs(lights[-2] - (lights[-3] + lights[-1]) / 2).mean(axis=(1, 2, 3), dtype=np.float64)
            seen.flicker[paths[-2]] = change / np.mean(contrasts[-3:], axis=0)
        last = pair, images
    return seen


def _are_strangers(flicker: Sequence[Mapping[str, _Both]]) -> bool:
    """Return whether neighbours differ strongly in the source already, like numbered photos of different places."""
    return float(np.median([both[0] for run in flicker for both in run.values()])) > STRANGERS


def _figure(
    name: str, title: str, runs: Sequence[Mapping[str, _Both]], remark: str, seed: int, *, compares: bool = True
) -> Figure:
    """Return the mean over all frames, after, and also before if ``compares``."""
    values = np.array([both for run in runs for both in run.values()]).reshape(-1, 2)
    blocks = blocks_of([str(number) for number, run in enumerate(runs) for _ in run])
    before, after = values.T
    figure = partial(
        Figure, group="temporal", name=name, title=title, better="lower", least=_LEAST_COUNT, remark=remark
    )
    return mean_figure(figure, after, before if compares else np.full_like(before, np.nan), blocks, seed)


# along the motion


def _warp_error(
    here: FramePair, images: tuple[Image, Image], there: FramePair, others: tuple[Image, Image]
) -> _Both | None:
    """Return the mean difference of two frames along the motion, in grey levels; None without usable flow."""
    ahead, back = _flow(here, "flow", images[0]), _flow(there, "backward_flow", others[0])
    if ahead is None:
        if back is None:
            return None
        ahead, back, images, others = back, None, others, images
    target = _target(ahead)
    seen = _is_alone(ahead, target) if back is None else _returns(ahead, back, target)
    if seen.mean() < _LEAST_SEEN:
        return None
    return np.array(
        [cv2.absdiff(one[seen], _at(target, other)[seen]).mean() for one, other in zip(images, others, strict=True)]
    )


def _flow(pair: FramePair, kind: str, image: Image) -> Flow | None:
    flow = pair.label(kind)
    if not isinstance(flow, Flow):
        return None
    if flow.valid.shape != image.shape[:2]:
        sizes = ["{1}x{0}".format(*shape) for shape in (flow.valid.shape, image.shape)]
        raise ImageError(f"{pair.path}: its {kind.replace('_', ' ')} has {sizes[0]} pixels, the image {sizes[1]}")
    return flow


def _target(flow: Flow) -> _Places:
    """Return where the pixels move to, as x and y (H, W)."""
    rows, columns = np.indices(flow.valid.shape, np.float32)
    return columns + flow.uv[..., 0], rows + flow.uv[..., 1]


def _at(target: _Places, values: NDArray[_Number]) -> NDArray[_Number]:
    """Interpolate values (H, W) or (H, W, C) at places between the pixels; 0 outside."""
    return np.asarray(cv2.remap(values, *target, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT), values.dtype)


def _returns(ahead: Flow, back: Flow, target: _Places) -> NDArray[np.bool_]:
    """Return where flow and backward flow return to the start: no occlusion (Sundaram, Brox, Keutzer 2010)."""
    way_back = _at(target, back.uv)
    known = _at(target, back.valid.astype(np.float32)) > 0.999  # 0 outside of the image
    gap = _square(ahead.uv + way_back)
    return np.asarray(ahead.valid & known & (gap < 0.01 * (_square(ahead.uv) + _square(way_back)) + 0.5))


def _is_alone(ahead: Flow, target: _Places) -> NDArray[np.bool_]:
    """Return where no other pixel moves to the same place; without backward flow, pixels that share one are hidden."""
    height, width = ahead.valid.shape
    columns, rows = (np.rint(each).astype(np.intp) for each in target)
    inside = ahead.valid & (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    places, ways = (rows[inside], columns[inside]), ahead.uv[inside]
    least, most = (np.full((height, width, 2), bound, np.float32) for bound in (1e6, -1e6))
    np.minimum.at(least, places, ways)
    np.maximum.at(most, places, ways)
    around = np.ones((3, 3), np.uint8)
    spread = _square(np.asarray(cv2.dilate(most, around) - cv2.erode(least, around), np.float32))
    alone = np.zeros_like(inside)
    alone[inside] = spread[places] < 1 + 0.01 * _square(ways)
    return np.asarray(alone)


def _square(vectors: _Floats) -> _Floats:
    """Return the squared lengths of vectors."""
    return np.asarray(np.einsum("...i,...i", vectors, vectors))
