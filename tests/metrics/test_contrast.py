from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.preservation import APPEARANCE, DAMAGE, Sample, figures_of, render_samples
from benchmarks.validation import levels
from sim2real.datasets.labels import Box, Boxes, Segmentation
from sim2real.metrics.base import Image
from sim2real.metrics.contrast import ContrastMetric


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return render_samples("sim", 3, (480, 160))


def kept(samples: list[Sample], change: str) -> Mapping[str, float]:
    """Shares of the contrast that are left."""
    changes = {**APPEARANCE, **DAMAGE}
    return figures_of([ContrastMetric()], [replace(sample, translation=changes[change](sample)) for sample in samples])


@pytest.mark.parametrize("change", APPEARANCE)
def test_a_change_of_appearance_leaves_the_contrast(samples: list[Sample], change: str) -> None:
    found = kept(samples, change)
    assert 0.85 < found["contrast"] < 1.1
    assert 0.7 < found["contrast/Car"] < 1.15


@pytest.mark.parametrize("change", ["vehicles removed", "vehicles faded"])
def test_cars_that_fade_are_seen(samples: list[Sample], change: str) -> None:
    found = kept(samples, change)
    assert found["contrast/Car"] < 0.5
    assert found["contrast/Building"] > 0.9


@pytest.mark.parametrize("change", ["shift 4 px", "mirror"])
def test_outlines_that_moved_have_less_contrast(samples: list[Sample], change: str) -> None:
    assert kept(samples, change)["contrast"] < 0.8


def square(level: int, ground: int = 60) -> tuple[Image, Segmentation]:
    image = np.full((80, 120, 3), ground, np.uint8)
    ids = np.zeros((80, 120), np.int32)
    image[20:60, 40:80], ids[20:60, 40:80] = level, 1
    image[:, 100:], ids[:, 100:] = 255, 2
    return image, Segmentation(ids, {0: "Road", 1: "Car", 2: "Sky"})


def test_what_cannot_be_told_apart_has_no_contrast() -> None:
    (before, mask), (after, _) = square(140), square(60)
    found = ContrastMetric().compare(before, after, {"segmentation": mask})
    assert found["contrast/Car"].after == pytest.approx(0, abs=1e-5)
    assert found["contrast/Car"].before is not None
    assert found["contrast/Car"].before > 0.5
    assert found["contrast/Sky"].after > 1
    assert 0 < found["contrast"].after < found["contrast/Sky"].after


@given(factors=st.tuples(*[st.floats(0.5, 1)] * 3), level=st.integers(70, 240))
def test_light_of_any_colour_leaves_it(factors: tuple[float, float, float], level: int) -> None:
    image, mask = square(level)
    found = ContrastMetric().compare(image, levels(image * factors), {"segmentation": mask})
    for change in found.values():
        assert change.after == pytest.approx(change.before, rel=0.15, abs=0.05)


def test_boxes_tell_of_objects_where_no_mask_does() -> None:
    (before, _), (after, _) = square(140), square(60)
    boxes = Boxes((Box("Car", 40, 20, 80, 60), Box("", 0, 0, 9, 9), Box("Far", 5, 5, 7, 7)))
    found = ContrastMetric().compare(before, after, {"boxes": boxes})
    assert set(found) == {"contrast", "contrast/Car"}
    assert found["contrast/Car"] == found["contrast"]
    assert found["contrast"].after == pytest.approx(0, abs=1e-5)


def test_a_frame_without_labels_has_no_figures() -> None:
    image, mask = square(140)
    assert ContrastMetric().compare(image, image, {}) == {}
    assert ContrastMetric().compare(image, image, {"segmentation": Segmentation(mask.ids, {})}) == {}


def test_a_blank_picture_has_no_contrast() -> None:
    image, mask = square(140)
    found = ContrastMetric().compare(image, np.full_like(image, 9), {"segmentation": mask})
    assert all(change.after == pytest.approx(0, abs=1e-4) for change in found.values())
