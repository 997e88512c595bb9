"""Mapillary Vistas: the newer release of two, names of classes and which are counted out of the file beside."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sim2real.datasets import Role, open_dataset
from sim2real.datasets.labels import Instances, Segmentation
from sim2real.errors import DatasetError

Grow = Callable[..., Path]
Plant = Callable[..., None]
KEY = "-00000000000000000000Q"


def test_newer_release_comes_before_the_older(grow: Grow) -> None:
    labels = {frame.image: frame.labels for frame in open_dataset(grow("mapillary-vistas")).frames()}
    for split, version in (("training", "v2.0"), ("validation", "v1.2")):
        assert labels[f"mapillary/{split}/images/{KEY}.jpg"] == {
            "segmentation": f"mapillary/{split}/{version}/labels/{KEY}.png",
            "instance": f"mapillary/{split}/{version}/instances/{KEY}.png",
        }
    assert labels[f"mapillary/testing/images/{KEY}.jpg"] == {}


@pytest.mark.parametrize("part", ["", "mapillary/training"])
def test_classes_have_their_names_and_only_some_are_counted(part: str, grow: Grow) -> None:
    frame = next(frame for frame in open_dataset(grow("mapillary-vistas") / part).frames() if frame.labels)
    segmentation, instances = frame.load_label("segmentation"), frame.load_label("instance")
    assert isinstance(segmentation, Segmentation)
    assert segmentation.names[int(segmentation.ids[0, 0])] == "construction--flat--road"
    assert segmentation.names[int(segmentation.ids[23, 0])] == "object--vehicle--car"
    assert isinstance(instances, Instances)
    # the first car of an image has the number 0, as roads have
    assert (instances.ids[0, 0], instances.ids[23, 0], instances.ids[23, 31]) == (-1, 512, 517)


def test_oldest_release_has_no_folders_of_versions(grow: Grow) -> None:
    root = grow("mapillary-vistas") / "mapillary"
    for folder in ("labels", "instances"):
        (root / "validation/v1.2" / folder).rename(root / "validation" / folder)
    (root / "config_v1.2.json").rename(root / "config.json")
    frame = next(open_dataset(root).frames(include=("validation/*",)))
    assert frame.labels["instance"] == f"validation/instances/{KEY}.png"
    segmentation = frame.load_label("segmentation")
    assert isinstance(segmentation, Segmentation)
    assert segmentation.names[0] == "nature--sky"


def test_panoptic_masks_and_polygons_are_labels(grow: Grow) -> None:
    roles = dict(open_dataset(grow("mapillary-vistas")).files())
    assert roles[f"mapillary/training/v2.0/panoptic/{KEY}.png"] is Role.LABEL
    assert roles["mapillary/training/v2.0/panoptic/panoptic_2020.json"] is Role.LABEL
    assert roles["mapillary/config_v2.0.json"] is Role.AUX


def test_lost_names_of_classes_are_told(grow: Grow) -> None:
    root = grow("mapillary-vistas")
    assert not any("names" in line for line in open_dataset(root).warnings())
    (root / "mapillary/config_v2.0.json").unlink()
    dataset = open_dataset(root)
    assert any("config_v2.0.json is missing next to the splits" in line for line in dataset.warnings())
    frame = next(dataset.frames(include=("*/training/*",)))
    segmentation = frame.load_label("segmentation")
    assert isinstance(segmentation, Segmentation)
    assert np.unique(segmentation.ids).tolist() == [1, 2]
    with pytest.raises(DatasetError, match=r"config_v2\.0\.json: missing"):
        frame.load_label("instance")


def test_damaged_names_of_classes_are_an_error_that_names_the_file(grow: Grow) -> None:
    root = grow("mapillary-vistas")
    (root / "mapillary/config_v2.0.json").write_text('{"labels": [{}]}')
    frame = next(open_dataset(root).frames(include=("*/training/*",)))
    with pytest.raises(DatasetError, match=r"config_v2\.0\.json: does not list the classes"):
        frame.load_label("segmentation")


def test_other_photos_in_such_folders_are_not_taken_for_it(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "training/images/street.jpg", "validation/images/IMG_0001.jpg")
    assert open_dataset(tmp_path).name == "images"
