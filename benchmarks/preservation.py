"""Measure whether the metrics of label preservation and artefacts respond to damage, and not to appearance.

Every frame is changed deliberately. The town is rendered with all its labels; real frames, and the detector that looks
for labelled objects in them, are those in the folder SIM2REAL_TEST_DATA if it is set.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from benchmarks.common import make_parser, print_table
from benchmarks.validation import APPEARANCE as APPEARANCES
from benchmarks.validation import Change, blobs, draw, inpaint, levels, mirror, read_some, shift, trees
from sim2real.datasets import open_dataset
from sim2real.datasets.labels import Box, Boxes, Instances, Label, Segmentation
from sim2real.evaluation.segmenter import segment
from sim2real.metrics.artefacts import ArtefactMetric
from sim2real.metrics.base import FrameMetric, Image
from sim2real.metrics.contrast import ContrastMetric
from sim2real.metrics.edges import edge_changes
from sim2real.metrics.objects import ObjectsMetric
from sim2real.metrics.regions import Mask
from sim2real.metrics.structure import StructureMetric
from sim2real_toytown import render_frame
from sim2real_toytown.render import LOOKS, Look
from sim2real_toytown.shapes import Label as TownLabel

_VEHICLES = ("Car", "Van", "Truck", "car", "truck", "bus", "Tram")
_TRUTH = "the town's own real look"
_FOLDERS = {"CARLA": "carla/test/images", "CamVid": "camvid/val/images", "KITTI": "kitti/frames"}
_DETECTOR = "weights/fastestdet-coco/FastestDet.onnx"


@dataclass(frozen=True)
class Sample:
    """A labelled frame, as the evaluation passes it to a segmenter.

    Attributes:
        image: The frame.
        known: Its labels by kind.
        sequence: Name of its drive.
        index: Its index in the drive.
        translation: The changed frame; None: unchanged.
    """

    image: Image
    known: Mapping[str, Label]
    sequence: str = ""
    index: int = 0
    translation: Image | None = None

    @property
    def path(self) -> str:
        """A unique name."""
        return f"{self.sequence}/{self.index:05d}.png"

    def before(self) -> Image:
        """The frame."""
        return self.image

    def after(self) -> Image:
        """Its translation; the frame itself where it has none."""
        return self.image if self.translation is None else self.translation

    def labels(self) -> Mapping[str, Label]:
        """Its labels by kind."""
        return self.known

    def vehicles(self) -> Mask:
        """Mask of the vehicles, from the segmentation, otherwise from the boxes."""
        found = np.zeros(self.image.shape[:2], bool)
        match self.known:
            case {"segmentation": Segmentation(ids=ids, names=names)}:
                found |= np.isin(ids, [number for number, name in names.items() if name in _VEHICLES])
            case {"boxes": Boxes(boxes=boxes)}:
                for box in boxes:
                    if box.label in _VEHICLES:
                        found[int(box.top) : int(box.bottom), int(box.left) : int(box.right)] = True
        return found


def on_image(change: Change) -> Callable[[Sample], Image]:
    """Return a change of frames from a change of images, which needs no labels."""
    return lambda sample: change(sample.image)


def without_vehicles(sample: Sample) -> Image:
    """Replace vehicles by street, as if there had been none."""
    mask = cv2.dilate(sample.vehicles().astype(np.uint8), np.ones((5, 5), np.uint8))
    return np.asarray(cv2.inpaint(sample.image, mask, 3, cv2.INPAINT_TELEA), np.uint8)


def faded_vehicles(sample: Sample) -> Image:
    """Fade vehicles to a quarter of their contrast."""
    behind = without_vehicles(sample)
    faded = levels(0.25 * sample.image.astype(float) + 0.75 * behind)
    return np.where(sample.vehicles()[..., None], faded, sample.image)


def more_vehicles(sample: Sample) -> Image:
    """Add a copy of every vehicle, a third of the image to the right."""
    away = sample.image.shape[1] // 3
    there = np.roll(sample.vehicles(), away, axis=1)[..., None]
    return np.where(there, np.roll(sample.image, away, axis=1), sample.image)


def swapped_classes(sample: Sample) -> Image:
    """Give each class the mean and the spread of the previous class's colours."""
    segmentation = sample.known.get("segmentation")
    if not isinstance(segmentation, Segmentation):
        return sample.image
    painted = sample.image.astype(float)
    masks = [segmentation.ids == number for number in np.unique(segmentation.ids)]
    for mask, other in zip(masks, [*masks[1:], masks[0]], strict=True):
        own, theirs = sample.image[mask].astype(float), sample.image[other].astype(float)
        painted[mask] = (own - own.mean(axis=0)) / (own.std(axis=0) + 1) * theirs.std(axis=0) + theirs.mean(axis=0)
    return levels(painted)


APPEARANCE: Mapping[str, Callable[[Sample], Image]] = {
    name: on_image(change) for name, change in APPEARANCES.items() if name not in {"gain 1.4", "grain 10", "shift 1 px"}
}
DAMAGE: Mapping[str, Callable[[Sample], Image]] = {
    "shift 4 px": on_image(shift(4)),
    "mirror": on_image(mirror),
    "inpainting": on_image(inpaint),
    "vehicles removed": without_vehicles,
    "vehicles faded": faded_vehicles,
    "vehicles added": more_vehicles,
    "blobs": on_image(blobs),
    "trees in the sky": on_image(trees),
    "classes swapped": swapped_classes,
}


def pattern(stride: int) -> Change:
    """Add the artefact of a transposed convolution of this stride: a repeating coloured pattern of 4 grey levels."""

    def change(image: Image) -> Image:
        tile = draw(7, image)[:stride, :stride]
        tile = tile - tile.mean(axis=(0, 1))
        height, width = image.shape[:2]
        tiles = np.tile(tile / tile.std(), (height // stride + 1, width // stride + 1, 1))
        return levels(image + 4 * tiles[:height, :width])

    return change


def halos(image: Image) -> Image:
    """Lighten the surroundings of strong edges by up to 25 grey levels, fading within a dozen pixels."""
    smooth = cv2.GaussianBlur(image.mean(axis=-1), (0, 0), 1)
    slopes = [cv2.Sobel(smooth, cv2.CV_64F, x, 1 - x, scale=1 / 8) for x in (1, 0)]
    flat = (np.hypot(*slopes) < 10).astype(np.uint8)
    distance = np.asarray(cv2.distanceTransform(flat, cv2.DIST_L2, cv2.DIST_MASK_5))
    return levels(image + 25 * np.exp(-np.square(distance / 5))[..., None])


def overshoot(image: Image) -> Image:
    """Make the lighter side of each edge lighter, the darker one darker, a dozen pixels wide."""
    return levels(image + 0.5 * (image - cv2.GaussianBlur(image.astype(np.float32), (0, 0), 6)))


def rim(image: Image) -> Image:
    """Tint the border by up to 25 grey levels, fading within a dozen pixels."""
    height, width = image.shape[:2]
    down, along = np.arange(height)[:, None], np.arange(width)
    distance = np.minimum(np.minimum(down, height - 1 - down), np.minimum(along, width - 1 - along))
    return levels(image + np.exp(-np.square(distance / 6))[..., None] * [25, 15, 30])


def seams(image: Image) -> Image:
    """Tint the four quarters differently, as if they were translated one by one."""
    height, width = image.shape[:2]
    tints = np.array([[(8, -6, 2), (-7, 0, 6)], [(-4, 9, -8), (6, -5, 8)]])
    rows, columns = np.arange(height) * 2 // height, np.arange(width) * 2 // width
    return levels(image + tints[rows[:, None], columns])


def negative(image: Image) -> Image:
    """Swap light and dark, and keep the hues."""
    luma = image @ np.array((0.299, 0.587, 0.114))
    return levels(image + (255 - 2 * luma)[..., None])


ARTEFACTS: Mapping[str, Callable[[Sample], Image]] = {
    **{f"pattern of {stride} px": on_image(pattern(stride)) for stride in (2, 4, 8)},
    "halos": on_image(halos),
    "overshoot": on_image(overshoot),
    "rim": on_image(rim),
    "seams": on_image(seams),
    "negative": on_image(negative),
}
"""Faults that edges hardly show and a person sees at once."""


def render_samples(look: Look, frames: int, size: tuple[int, int], *, scenes: int = 1) -> list[Sample]:
    """Return distant frames of the town, with their labels."""
    names = {int(label): label.name for label in TownLabel}
    samples = []
    for scene in range(1, scenes + 1):
        for time in range(0, 30 * frames, 30):
            frame = render_frame(time, look=look, size=size, scene=scene, forward=False, backward=False)
            vehicles = [
                Box("Car", box.left, box.top, box.right + 1, box.bottom + 1, truncated=box.truncation_ratio)
                for box in frame.boxes.values()
            ]
            known: dict[str, Label] = {
                "segmentation": Segmentation(frame.classes.astype(np.int32), names),
                "instance": Instances(frame.instances.astype(np.int32) - 1),
                "boxes": Boxes(tuple(vehicles)),
            }
            samples.append(Sample(frame.rgb, known, f"Scene{scene:02d}/clone/Camera_0", time))
    return samples


def read_samples(folder: Path) -> list[Sample]:
    """Return the labelled frames of a dataset."""
    return [
        Sample(frame.load_image(), {kind: frame.load_label(kind) for kind in frame.labels if kind in _KINDS})
        for frame in open_dataset(folder).frames()
        if frame.labels
    ]


_KINDS = ("segmentation", "instance", "boxes")


def figures_of(metrics: Iterable[FrameMetric], samples: Iterable[Sample]) -> dict[str, float]:
    """Return means over frames; for a metric with a value before the change, the share of it that is left."""
    seen: dict[str, list[tuple[float, float]]] = {}
    for sample in samples:
        new, lost = edge_changes(sample.before(), sample.after())
        seen.setdefault("new_edges", []).append((new, 1))
        seen.setdefault("lost_edges", []).append((lost, 1))
        for metric in metrics:
            for name, change in metric.compare(sample.before(), sample.after(), sample.known).items():
                seen.setdefault(name, []).append((change.after, 1 if change.before is None else change.before))
    sums = {name: np.sum(values, axis=0) for name, values in seen.items()}
    return {name: float(after / before) if before else float("nan") for name, (after, before) in sums.items()}


def translated(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    """Return the changed frames by the name of the change."""
    changes = {**APPEARANCE, **DAMAGE}
    return {
        name: [replace(sample, translation=change(sample)) for sample in samples] for name, change in changes.items()
    }


def print_figures(
    title: str, sets: Mapping[str, Sequence[Sample]], metrics: Sequence[FrameMetric], columns: Mapping[str, str]
) -> None:
    """Print the metrics of translations.

    Args:
        title: Title of the table.
        sets: Name of the change -> the frames.
        metrics: The metrics to compute, in addition to edges.
        columns: Heading -> name of the value.
    """
    rows = []
    for name, samples in sets.items():
        figures = figures_of(metrics, samples)
        kind = "appearance" if name in APPEARANCE or name == _TRUTH else "damage"
        rows.append([name, kind, *(f"{figures[figure]:.3f}" for figure in columns.values())])
    print_table(title, ["translation", "change of", *columns], rows)


def print_segmenters(title: str, sets: Mapping[str, Sequence[Sample]], steps: int) -> None:
    """Print the scores of two segmenters on translations: one learnt the frames, one the translations.

    Args:
        title: Title of the table.
        sets: Name of the change -> the frames.
        steps: Steps of each training.
    """
    rows = []
    for name, samples in sets.items():
        rows.append([name])
        figures = segment(samples, steps=steps).figures
        for learnt in ("segmenter-miou", "relearnt-miou"):
            kept = {
                figure.label: figure.after / figure.before
                for figure in figures
                if figure.name == learnt and figure.after is not None and figure.before
            }
            worst = min(kept, key=lambda label: kept[label], default="")
            rows[-1] += [f"{kept['']:.2f}", f"{worst or 'all'} {kept[worst]:.2f}"] if kept else ["", "knows none"]
    print_table(title, ["translation", "learnt before", "worst class", "learnt after", "worst class"], rows)


def print_artefacts(title: str, samples: Sequence[Sample], truth: Sequence[Sample] = ()) -> None:
    """Print the values of the metric ``artefacts`` for faults and for harmless changes."""
    changes = {**APPEARANCE, **ARTEFACTS, **{name: DAMAGE[name] for name in ("blobs", "trees in the sky")}}
    sets = {_TRUTH: truth} if truth else {}
    for name, change in changes.items():
        sets[name] = [replace(sample, translation=change(sample)) for sample in samples]
    print_figures(title, sets, [ArtefactMetric()], {name: name for name in ArtefactMetric.abouts})


def main() -> None:
    """Print the tables."""
    options = make_parser(__doc__, repeats=1).parse_args()
    frames, size, steps = (2, (160, 64), 8) if options.quick else (8, (640, 192), 300)
    scenes = 4
    sim, real = (render_samples(look, frames + 4, size, scenes=scenes) for look in LOOKS)
    truth = {_TRUTH: [replace(one, translation=other.image) for one, other in zip(sim, real, strict=True)]}
    changed = truth | translated(sim)
    metrics: list[FrameMetric] = [StructureMetric(), ContrastMetric()]
    columns = {
        "new": "new_edges",
        "lost": "lost_edges",
        "outlines": "lost_boundaries",
        "inside": "new_inside",
        "invented": "invented",
        "contrast": "contrast",
        "cars": "contrast/Car",
    }
    few = {name: samples[:: len(sim) // frames] for name, samples in changed.items()}
    print_figures(f"The town, {len(few[_TRUTH])} frames; contrast is what is left of it", few, metrics, columns)

    print_artefacts(f"Faults that a person sees, {len(few[_TRUTH])} frames of the town", few["identity"], few[_TRUTH])

    data = Path(os.environ.get("SIM2REAL_TEST_DATA", ""))
    for name, path in {} if options.quick else _FOLDERS.items():
        if (data / path).is_dir():
            pictures = [Sample(image, {}) for image in read_some(data / path, frames)]
            print_artefacts(f"The same, {len(pictures)} frames of {name}, on which no limit was chosen", pictures)
    if not options.quick and (data / _DETECTOR).is_file():
        found = [*metrics, ObjectsMetric(detector=data / _DETECTOR)]
        kitti = read_samples(data / "kitti/object")
        names = {heading: figure for heading, figure in columns.items() if figure != "invented"}
        names |= {"recall": "recall", "IoU": "box_iou"}
        title = f"KITTI, {len(kitti)} frames with boxes; recall and IoU are what is left"
        of_kitti = {name: samples for name, samples in translated(kitti).items() if name != "classes swapped"}
        print_figures(title, of_kitti, found, names)  # without masks there is nothing to swap

    asked = ("identity", _TRUTH, "camera", "mirror", "vehicles faded", "vehicles removed", "classes swapped")
    title = f"Shares of mIoU that are left, {len(sim)} frames of {scenes} streets"
    print_segmenters(title, {name: changed[name] for name in asked}, steps)


if __name__ == "__main__":
    main()
