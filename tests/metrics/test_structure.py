from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.preservation import APPEARANCE, DAMAGE, Sample, figures_of, render_samples
from sim2real.datasets.labels import Box, Boxes, Instances, Label, Segmentation
from sim2real.errors import DatasetError
from sim2real.metrics.structure import StructureMetric

Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return render_samples("sim", 3, (320, 128))


def figures(samples: list[Sample], change: str) -> Mapping[str, float]:
    changes = {**APPEARANCE, **DAMAGE}
    return figures_of([StructureMetric()], [replace(sample, translation=changes[change](sample)) for sample in samples])


def compare(before: Image, after: Image, **labels: Label) -> dict[str, float]:
    return {name: change.after for name, change in StructureMetric().compare(before, after, labels).items()}


@pytest.mark.parametrize("change", APPEARANCE)
def test_a_change_of_appearance_leaves_the_structure(samples: list[Sample], change: str) -> None:
    found = figures(samples, change)
    assert max(found["lost_boundaries"], found["new_inside"]) < 0.03
    assert found["invented"] < 0.01


@pytest.mark.parametrize("change", ["shift 4 px", "mirror", "inpainting", "vehicles removed", "blobs"])
def test_damage_loses_outlines(samples: list[Sample], change: str) -> None:
    assert figures(samples, change)["lost_boundaries"] > 0.05


def test_trees_in_the_sky_are_invented_there(samples: list[Sample]) -> None:
    found = figures(samples, "trees in the sky")
    assert found["invented/Sky"] > 0.1
    assert found["invented/Road"] < 0.01
    assert found["invented/Road"] < found["invented"] < found["invented/Sky"]
    assert found["new_inside"] > 0.2


def scene() -> tuple[Image, Segmentation, NDArray[np.bool_]]:
    """A grey wall in front of a light sky, above a dark road; the place of a spot on the road."""
    image = np.full((120, 160, 3), 220, np.uint8)
    ids = np.zeros((120, 160), np.int32)
    image[40:80], ids[40:80] = 120, 1
    image[80:], ids[80:] = 50, 2
    spot = np.zeros((120, 160), bool)
    spot[92:112, 60:100] = True
    return image, Segmentation(ids, {0: "Sky", 1: "Wall", 2: "construction--flat--road"}), spot


def test_something_on_the_road_is_invented_there_and_new_in_that_class() -> None:
    image, mask, spot = scene()
    found = compare(image, np.where(spot[..., None], np.uint8(200), image), segmentation=mask)
    assert found["invented/construction--flat--road"] > 0.2
    assert found["invented/Sky"] == 0
    assert found["new_edges/construction--flat--road"] == 1
    assert found["new_edges/Wall"] == 0
    assert found["lost_boundaries"] == 0


def test_an_outline_that_went_is_lost_by_its_share() -> None:
    image, mask, _ = scene()
    found = compare(image, np.where(image == 50, np.uint8(120), image), segmentation=mask)
    assert found["lost_boundaries"] == pytest.approx(0.5, abs=0.02)
    assert found["new_inside"] == found["invented"] == 0


def test_edges_without_a_label_may_go() -> None:
    image, mask, spot = scene()
    marked = np.where(spot[..., None], np.uint8(200), image)
    assert compare(marked, image, segmentation=mask)["lost_boundaries"] == 0
    assert compare(marked, image, segmentation=mask, instance=Instances(np.where(spot, 7, -1)))["lost_boundaries"] > 0


def test_boxes_tell_of_outlines_where_no_mask_does() -> None:
    image, mask, spot = scene()
    marked = np.where(spot[..., None], np.uint8(200), image)
    boxes = Boxes((Box("Car", 60, 92, 100, 112), Box("Car", 150, -9, 190, 4)))
    assert compare(marked, image, boxes=boxes)["lost_boundaries"] == 1
    assert compare(marked, image, boxes=boxes, segmentation=mask)["lost_boundaries"] == 0
    assert "invented" not in compare(marked, image, boxes=boxes)


def test_a_frame_without_labels_has_no_figures() -> None:
    image, _, _ = scene()
    assert compare(image, image) == {}
    assert compare(image, image, boxes=Boxes(())) == {}


def test_a_mask_of_another_size_is_refused() -> None:
    image, mask, _ = scene()
    with pytest.raises(DatasetError, match="a mask of 160x120 pixels cannot lie on a frame of 80x60"):
        compare(image[::2, ::2], image[::2, ::2], segmentation=mask)


def test_every_figure_is_explained(samples: list[Sample]) -> None:
    found = StructureMetric().compare(samples[0].image, samples[0].image, samples[0].known)
    assert {name.partition("/")[0] for name in found} == set(StructureMetric.abouts)
