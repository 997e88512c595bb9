"""Compare, before a training, whether two sets of images show things in the same places and at the same sizes.

A translation learnt from unpaired images makes one set resemble the other in everything that a discriminator can see.
If sky covers half of the real images and a tenth of the simulated ones, the translation paints sky where labels say
otherwise. This module compares layout, not appearance: sizes, the horizon, the distribution of edges, the areas of
masks and boxes; and brightness, as far as day and night differ.

A single image does not reveal the zoom of its camera, since natural scenes have no scale (Ruderman and Bialek 1994).
Without boxes that give the sizes of objects, only the sizes in pixels are compared.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from sim2real.cielab import to_lab
from sim2real.datasets import Dataset, Frame
from sim2real.datasets.base import Side
from sim2real.datasets.labels import Boxes, Segmentation
from sim2real.errors import DatasetError, ImageError
from sim2real.metrics.base import Image
from sim2real.metrics.edges import find_edges

_Floats = NDArray[np.float64]
_Value = TypeVar("_Value")

_BANDS = 24  # rows that an image is divided into
_HEIGHT = 192  # px: images are scaled to this height, except for lines
_SKETCH = 384  # px: images are scaled to this height for straight lines

# The limits lie between values of matching sets (halves of one set, other streets of one town, CARLA and CamVid: edges
# up to 0.058 apart, horizons 0.01, but KITTI 0.04) and of mismatched ones (a quarter of the rows cropped: edges 0.08 to
# 0.11, horizons 0.16 to 0.21).
_APART = 0.065  # edges: mean distance that they would have to be moved, as a share of the height
_TIMES_OWN = 2.0  # edges: times the distance of one half of a set from the other
_HORIZONS = 0.06  # of the height
_ASPECTS = 1.3
_HEIGHTS = 1.4  # ratio of image heights in pixels
_OBJECTS = 1.8  # ratio of box heights
_COVERED = 0.1  # of the image: difference of the areas of a class
_COVERED_TIMES = 1.5  # ratio of the areas of a class
_BRIGHTNESS = 0.2
_DARK = 0.22  # highest brightness of an image taken at night
_NIGHTS = 0.25  # of the images
_GREY = 3.0  # chroma, of CIELAB
_COLOURFUL = 8.0
_UPRIGHT = 0.6  # correlation of the brightness of rows with that of an upright image

# straight lines
_LEAST_LENGTH = 0.06  # of the height
_SLOPES = (8.0, 75.0)  # degrees: flatter lines may be the horizon itself, steeper ones are verticals
_GRID = (96, 64)  # (rows, columns) of places where lines may meet
_CLEAR = 5.0  # most votes for a place over the mean; CamVid's first streets had 4.5 for a wrong place
_AGREE = 0.05  # of the height: largest difference between the horizons of a set's halves and of the whole

_LEAST_BOX = 0.05  # of the height: smaller boxes are labelled in some sets only
_LEAST_BOXES = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The layout of a set of images; rows are counted from the top.

    Attributes:
        images: Number of images that were measured.
        unreadable: Number of images that could not be read.
        size: The most frequent (W, H).
        height: Median height in pixels.
        aspect: Median of W / H.
        horizon: Height at which straight lines into the distance meet, as a share of the image height; None if they
            do not meet.
        brightness: Median of the images' mean luma, 0 to 1.
        dark: Share of the images that are as dark as at night.
        contrast: Mean standard deviation of luma in an image, 0 to 1.
        colour: Mean a* (towards red) and b* (towards yellow), CIELAB.
        chroma: Mean distance of a pixel from grey, CIELAB.
        softness: Ratio of the difference of pixels 4 apart to that of neighbours: 1 for noise, 4 for a blur.
        edges: Share of the edges in each of 24 rows.
        scatter: Distance of the edges of one half of the images from those of the other, as a share of the height.
        light: Mean luma of each of 24 rows, 0 to 1.
        classes: For each class of the masks, its share of each of 24 rows.
        objects: For each class of the boxes, the median height as a share of the image height, and the number of boxes.
    """

    images: int
    unreadable: int
    size: tuple[int, int]
    height: float
    aspect: float
    horizon: float | None
    brightness: float
    dark: float
    contrast: float
    colour: tuple[float, float]
    chroma: float
    softness: float
    edges: tuple[float, ...]
    scatter: float
    light: tuple[float, ...]
    classes: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    objects: Mapping[str, tuple[float, int]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class LayoutReport:
    """The comparison of the layouts of two sets of images.

    Attributes:
        sim: Layout of the images to translate.
        real: Layout of the images of the target domain.
        edge_distance: Mean distance of the edges of one set from those of the other, as a share of the height.
        warnings: What a translation would have to invent, and what to do about it, one sentence each.
    """

    sim: Layout
    real: Layout
    edge_distance: float
    warnings: tuple[str, ...]

    def dump(self) -> dict[str, Any]:
        """Return the report as JSON types."""
        return asdict(self)


def compare_layout(sim: Dataset, real: Dataset | Sequence[Frame], count: int = 64, seed: int = 0) -> LayoutReport:
    """Compare the layouts of two datasets, or of a dataset and frames from several places.

    Args:
        sim: The images to translate; in a folder with both domains, those of ``sim``.
        real: The images of the target domain; in a folder with both domains, those of ``real``.
        count: Number of images to measure on each side, spread over all.
        seed: Seed of their selection.

    Raises:
        DatasetError: If a side has no readable image.
    """
    one, other = survey(sim, "sim", count, seed), survey(real, "real", count, seed)
    distance = _distance(np.array(one.edges), np.array(other.edges))
    return LayoutReport(sim=one, real=other, edge_distance=distance, warnings=tuple(layout_warnings(one, other)))


# one side


class _Measured(NamedTuple):
    """The measurements of one image.

    Attributes:
        size: (W, H).
        look: Contrast, colour (2), chroma and softness, as in :class:`Layout`.
        rows: Share of edge pixels and mean luma of each of 24 rows, (2, 24).
        meeting: Votes of the straight lines through each place of a grid.
    """

    size: tuple[int, int]
    look: _Floats
    rows: _Floats
    meeting: _Floats


def survey(pictures: Dataset | Sequence[Frame], side: Side, count: int, seed: int) -> Layout:
    """Measure the layout of a set of images.

    Args:
        pictures: A dataset, or frames of any datasets.
        side: The side to measure if the images are of both domains.
        count: Number of images to measure.
        seed: Seed of their selection.

    Raises:
        DatasetError: If there is no readable image.
    """
    measured, masks = list[_Measured](), list[dict[str, _Floats]]()
    heights = defaultdict[str, list[float]](list)
    every = pictures.frames() if isinstance(pictures, Dataset) else pictures
    frames = _sampled([frame for frame in every if frame.side in {None, side}], count, seed)
    for frame in frames:
        try:
            measured.append(_measure(frame.load_image()))
        except ImageError:
            continue
        masks += _covered(frame)
        for name, height in _heights(frame, measured[-1].size[1]):
            heights[name].append(height)
    if not measured:
        place = pictures.root if isinstance(pictures, Dataset) else "all places"
        raise DatasetError(
            f"{place}: no {side} image can be read; check it with sim2real inspect", topic="one-side-is-empty"
        )
    sizes = np.array([each.size for each in measured])
    look = np.mean([each.look for each in measured], axis=0)
    rows = np.array([each.rows for each in measured])
    edges, light = rows[:, 0], rows[:, 1]
    brightness = light.mean(axis=1)
    meeting = np.array([each.meeting for each in measured])
    return Layout(
        images=len(measured),
        unreadable=len(frames) - len(measured),
        size=Counter(each.size for each in measured).most_common(1)[0][0],
        height=float(np.median(sizes[:, 1])),
        aspect=float(np.median(sizes[:, 0] / sizes[:, 1])),
        horizon=_horizon(meeting),
        brightness=float(np.median(brightness)),
        dark=float(np.mean(brightness < _DARK)),
        contrast=float(look[0]),
        colour=(float(look[1]), float(look[2])),
        chroma=float(look[3]),
        softness=float(look[4]),
        edges=_numbers(_shares(edges)),
        scatter=_distance(_shares(edges[::2]), _shares(edges[1::2])) if len(edges) > 1 else 0.0,
        light=_numbers(light.mean(axis=0)),
        classes=_mean_cover(masks),
        objects={name: (float(np.median(of)), len(of)) for name, of in sorted(heights.items())},
    )


def _sampled(frames: Sequence[Frame], count: int, seed: int) -> list[Frame]:
    """Sample one frame from each of ``count`` equal parts of the frames; all if there are no more."""
    count = min(count, len(frames))
    places = (np.arange(count) + np.random.default_rng(seed).random(count)) * len(frames) / max(count, 1)
    return [frames[int(place)] for place in places]


def _measure(image: Image) -> _Measured:
    height, width = image.shape[:2]
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    small = _scaled(image, _HEIGHT)
    lab = to_lab(small)
    colour = lab[..., 1:].mean(axis=(0, 1), dtype=np.float64)
    edges = _by_row(find_edges(small).clear)
    return _Measured(
        (width, height),
        np.array([luma.std(), *colour, np.hypot(lab[..., 1], lab[..., 2]).mean(), _softness(luma)]),
        np.stack([edges, _by_row(_scaled(luma, _HEIGHT))]),
        _meeting(_scaled(luma * 255, _SKETCH).astype(np.uint8)),
    )


def _softness(luma: NDArray[Any]) -> float:
    """Return the softness, see :class:`Layout`; 1 for an image without any change from left to right."""
    if (width := luma.shape[1]) == 1:
        return 1.0
    neighbours, apart = (np.square(luma[:, step:] - luma[:, :-step]).mean() for step in (1, min(4, width - 1)))
    return float(np.sqrt(apart / neighbours)) if neighbours else 1.0


def _scaled(values: NDArray[Any], height: int) -> NDArray[Any]:
    """Scale an image to a height, keeping its aspect."""
    size = max(1, round(values.shape[1] * height / values.shape[0])), height
    shrinks = height < values.shape[0]
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))


def _by_row(values: NDArray[Any]) -> _Floats:
    """Return the means (24,) of bands of rows of (H, W)."""
    return np.array([band.mean() for band in np.array_split(values, _BANDS)], np.float64)


def _shares(edges: _Floats) -> _Floats:
    """Return the share of all images' edges (N, 24) in each row."""
    counted = edges.sum(axis=0)
    total = counted.sum()
    return counted / total if total else np.full(_BANDS, 1 / _BANDS)


def _numbers(values: _Floats) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in values)


def _distance(one: _Floats, other: _Floats) -> float:
    """Return how far the row shares have to be moved on average to match the others, as a share of the height."""
    return float(np.abs(np.cumsum(one - other)).sum() / len(one))


# where straight lines meet


def _meeting(luma: Image) -> _Floats:
    """Return the votes of straight lines for each place of an image (rows, columns), with sum 1, or 0 without lines.

    Line segments are those of LSD (Grompone von Gioi et al. 2012); longer segments have more votes.
    """
    rows, columns = _GRID
    votes = np.zeros(_GRID)
    segments: Any = cv2.createLineSegmentDetector().detect(luma)[0]  # None where there are none
    if segments is None:
        return votes
    height, width = luma.shape
    x, y, x_end, y_end = segments.reshape(-1, 4).T.astype(np.float64) / height
    across, down = x_end - x, y_end - y
    length, slope = np.hypot(across, down), np.degrees(np.arctan2(np.abs(down), np.abs(across)))
    chosen = (length > _LEAST_LENGTH) & (slope > _SLOPES[0]) & (slope < _SLOPES[1])
    places = (np.arange(columns) + 0.5) / columns * width / height
    crossed = y[chosen, None] + (places - x[chosen, None]) * (down / np.where(across, across, 1))[chosen, None]
    row = np.floor(crossed * rows).astype(np.intp)
    inside = (row >= 0) & (row < rows)
    column = np.broadcast_to(np.arange(columns), row.shape)
    weight = np.broadcast_to(np.minimum(length[chosen, None], 5 * _LEAST_LENGTH), row.shape)
    np.add.at(votes, (row[inside], column[inside]), weight[inside])
    return votes / max(float(votes.sum()), 1e-9)


def _horizon(meeting: _Floats) -> float | None:
    """Return the height where lines meet in most images; None if there is no clear place or the halves disagree."""
    found = [_clearest(each.mean(axis=0)) for each in (meeting, meeting[::2], meeting[1::2]) if len(each)]
    (whole, clear), *halves = found
    agree = len(halves) == 2 and all(abs(half - whole) < _AGREE for half, _ in halves)
    return whole if clear > _CLEAR and agree else None


def _clearest(votes: _Floats) -> tuple[float, float]:
    """Return the row of the place with most votes, and the ratio of these votes to the mean."""
    smooth = np.asarray(cv2.GaussianBlur(votes, (0, 0), 1.5))
    row = int(np.unravel_index(smooth.argmax(), smooth.shape)[0])
    return (row + 0.5) / len(smooth), float(smooth.max() / max(float(smooth.mean()), 1e-12))


# labels


def _covered(frame: Frame) -> Iterator[dict[str, _Floats]]:
    """Yield the share of each row that each class of a frame's mask covers; nothing without a mask."""
    mask = frame.load_label("segmentation") if "segmentation" in frame.labels else None
    if isinstance(mask, Segmentation):
        shown = np.unique(mask.ids)
        yield {mask.names[number]: _by_row(mask.ids == number) for number in shown.tolist() if number in mask.names}


def _mean_cover(masks: Sequence[Mapping[str, _Floats]]) -> dict[str, tuple[float, ...]]:
    names = sorted({name for mask in masks for name in mask})
    nothing = np.zeros(_BANDS)
    return {name: _numbers(np.mean([mask.get(name, nothing) for mask in masks], axis=0)) for name in names}


def _heights(frame: Frame, height: int) -> Iterator[tuple[str, float]]:
    """Yield the class and the height, as a share of the image height, of each box that is not small."""
    boxes = frame.load_label("boxes") if "boxes" in frame.labels else None
    if isinstance(boxes, Boxes):
        shares = [(box.label, (box.bottom - box.top) / height) for box in boxes.boxes]
        yield from ((name, share) for name, share in shares if share > _LEAST_BOX)


# both sides


def layout_warnings(sim: Layout, real: Layout) -> Iterator[str]:
    """Yield what a translation of one side into the other would have to invent, one sentence each."""
    yield from _of_size(sim, real)
    yield from _of_places(sim, real)
    yield from _of_labels(sim, real)
    yield from _of_light(sim, real)


def _of_size(sim: Layout, real: Layout) -> Iterator[str]:
    if _times(sim.height, real.height) > _HEIGHTS:
        yield (
            f"sim images are {sim.height:.0f} px high, real ones {real.height:.0f}: objects differ in size in "
            "pixels; scale both to one size, with data.load_size or beforehand"
        )


def _of_places(sim: Layout, real: Layout) -> Iterator[str]:
    one, other = np.array(sim.edges), np.array(real.edges)
    distance, limit = _distance(one, other), max(_APART, _TIMES_OWN * max(sim.scatter, real.scatter))
    if _distance(one, other[::-1]) < distance / 2 and _is_turned(sim, real):
        yield "one side looks upside down; turn its images"
        return
    if _times(sim.aspect, real.aspect) > _ASPECTS:
        yield (
            f"sim images are {sim.aspect:.2f} times as wide as high, real ones {real.aspect:.2f}: one side shows areas "
            f"that the other never shows; train on images of one shape: {_window(sim, real)}"
        )
    elif sim.horizon is not None and real.horizon is not None and abs(sim.horizon - real.horizon) > _HORIZONS:
        yield (
            f"the horizon is at {sim.horizon:.0%} of the height from the top in sim and at {real.horizon:.0%} in real: "
            f"the cameras point at different heights; {_cut(sim.horizon, real.horizon)}"
        )
    elif distance > limit:
        yield (
            f"edges lie {distance:.1%} of the height apart (up to {limit:.1%} is usual): both sides differ at the top "
            "or the bottom; crop both to rows that show the same content, or choose other images"
        )


def _is_turned(sim: Layout, real: Layout) -> bool:
    """Return whether the rows' brightness matches the other side's only when one side is turned upside down."""
    one, other = (np.array(each.light) - np.mean(each.light) for each in (sim, real))
    spread = max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-9)
    return float(one @ other[::-1]) > max(_UPRIGHT * spread, float(one @ other))


def _window(sim: Layout, real: Layout) -> str:
    """Return what to cut off the taller images to match the other side's shape and horizon."""
    (name, taller), (_, other) = sorted((("sim", sim), ("real", real)), key=lambda side: side[1].aspect)
    kept = taller.aspect / other.aspect
    if taller.horizon is None or other.horizon is None:
        return f"cut {1 - kept:.0%} of the rows off the {name} images"
    above = min(max(taller.horizon - kept * other.horizon, 0), 1 - kept)
    return f"cut the upper {above:.0%} and the lower {1 - kept - above:.0%} off the {name} images"


def _cut(sim: float, real: float) -> str:
    """Return what to cut off the real images to match the horizons; real images have no labels to lose."""
    if real < sim:
        return f"cut the lower {1 - real / sim:.0%} off the real images"
    return f"cut the upper {(real - sim) / (1 - sim):.0%} off the real images"


def _of_labels(sim: Layout, real: Layout) -> Iterator[str]:
    covers = _common({name: float(np.mean(rows)) for name, rows in each.classes.items()} for each in (sim, real))
    for name, (one, other) in covers.items():
        if abs(one - other) > _COVERED and _times(one, other) > _COVERED_TIMES:
            scarce, plenty = ("sim", "real") if one < other else ("real", "sim")
            yield (
                f"{name} covers {one:.0%} of sim and {other:.0%} of real: it will be painted over other classes, or "
                f"they over it; choose {plenty} images with less of it, or {scarce} ones with more"
            )
    counted = ({name: of for name, of in each.objects.items() if of[1] >= _LEAST_BOXES} for each in (sim, real))
    for name, ((one, _), (other, _)) in _common(counted).items():
        if _times(one, other) > _OBJECTS:
            yield (
                f"{name}: boxes are {one:.0%} of the height of a sim image and {other:.0%} of a real one: the objects "
                "differ in size; scale or crop one side"
            )


def _of_light(sim: Layout, real: Layout) -> Iterator[str]:
    if abs(sim.brightness - real.brightness) > _BRIGHTNESS or abs(sim.dark - real.dark) > _NIGHTS:
        yield (
            f"sim images have a brightness of {sim.brightness:.2f} ({sim.dark:.0%} are as dark as at night), real ones "
            f"{real.brightness:.2f} ({real.dark:.0%}): lamps and shadows would be invented; choose the same time of day"
        )
    if min(sim.chroma, real.chroma) < _GREY and max(sim.chroma, real.chroma) > _COLOURFUL:
        grey = "sim" if sim.chroma < real.chroma else "real"
        yield f"the {grey} images are grey, the others are not: colours would be invented or lost; make both grey"


def _times(one: float, other: float) -> float:
    """Return the ratio of the larger number to the smaller."""
    return max(one, other) / max(min(one, other), 1e-9)


def _common(sides: Iterable[Mapping[str, _Value]]) -> dict[str, tuple[_Value, _Value]]:
    """Return the values of the names that both sides have, ignoring case and punctuation."""
    one, other = ({re.sub(r"[\W_]", "", name).lower(): (name, value) for name, value in each.items()} for each in sides)
    return {one[key][0]: (one[key][1], other[key][1]) for key in one if key in other}
