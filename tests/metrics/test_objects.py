import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.preservation import DAMAGE, Sample, figures_of, read_samples
from sim2real.datasets.labels import Box, Boxes
from sim2real.metrics.base import Change
from sim2real.metrics.detector import Detection
from sim2real.metrics.objects import ObjectsMetric

Image = NDArray[np.uint8]


class Patches:
    """A detector that finds light rectangles on black, one at most."""

    def __init__(self, path: str, *, score: float) -> None:
        self.opened = path, score

    def __call__(self, image: Image) -> list[Detection]:
        rows, columns = np.nonzero(image[..., 0])
        if not len(rows):
            return []
        left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        return [Detection(float(left), float(top), float(right), float(bottom), 0.9, 2)]


@pytest.fixture
def metric(monkeypatch: pytest.MonkeyPatch) -> ObjectsMetric:
    monkeypatch.setattr("sim2real.metrics.objects.Detector", Patches)
    return ObjectsMetric(detector="any.onnx")


def patch(left: int, top: int, right: int, bottom: int) -> Image:
    image = np.zeros((120, 200, 3), np.uint8)
    image[top:bottom, left:right] = 255
    return image


CAR = Box("Car", 20, 20, 80, 60)
VAN = Box("Van", 120, 20, 180, 60)


def test_what_is_found_before_and_not_after(metric: ObjectsMetric) -> None:
    found = metric.compare(patch(20, 20, 80, 60), patch(0, 0, 0, 0), {"boxes": Boxes((CAR, VAN))})
    assert found == {
        "recall": Change(0, 0.5),
        "recall/Car": Change(0, 1),
        "recall/Van": Change(0, 0),
        "box_iou": Change(0, 0.5),
    }


def test_half_of_the_union_must_be_common(metric: ObjectsMetric) -> None:
    found = metric.compare(patch(20, 20, 50, 60), patch(20, 20, 49, 60), {"boxes": Boxes((CAR,))})
    assert found["recall"] == Change(0, 1)
    assert list(found["box_iou"]) == pytest.approx([29 / 60, 0.5])


@pytest.mark.parametrize(
    "box",
    [
        Box("Car", 20, 20, 80, 44),
        replace(CAR, truncated=0.6),
        replace(CAR, label="DontCare"),
    ],
)
def test_what_nobody_could_find_is_not_asked_for(metric: ObjectsMetric, box: Box) -> None:
    image = patch(20, 20, 80, 60)
    assert metric.compare(image, image, {"boxes": Boxes((box,))}) == {}
    assert metric.compare(image, image, {"boxes": Boxes((box, VAN))})["recall"] == Change(0, 0)
    assert metric.compare(image, image, {}) == {}


@pytest.fixture(scope="module")
def kitti() -> tuple[ObjectsMetric, list[Sample]]:
    """A published detector, and frames with its objects."""
    if not (folder := os.environ.get("SIM2REAL_TEST_DATA")):
        pytest.skip("SIM2REAL_TEST_DATA names no folder with a detector and real frames")
    data = Path(folder)
    metric = ObjectsMetric(detector=data / "weights/fastestdet-coco/FastestDet.onnx")
    return metric, read_samples(data / "kitti/object")


def test_a_published_detector_finds_cars_of_kitti(kitti: tuple[ObjectsMetric, list[Sample]]) -> None:
    metric, frames = kitti
    found = [metric.compare(frame.image, frame.image, frame.known) for frame in frames]
    assert np.mean([each["recall/Car"].after for each in found if "recall/Car" in each]) > 0.4


@pytest.mark.parametrize("change", ["mirror", "vehicles removed"])
def test_damage_hides_them(kitti: tuple[ObjectsMetric, list[Sample]], change: str) -> None:
    metric, frames = kitti
    after = [replace(frame, translation=DAMAGE[change](frame)) for frame in frames]
    assert figures_of([metric], after)["recall"] < 0.5
