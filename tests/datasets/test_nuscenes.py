"""nuImages and nuScenes: each image has the labels of the version that names it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sim2real.datasets import Role, open_dataset
from sim2real.datasets.labels import Box, Boxes, Instances, Segmentation
from sim2real.errors import DatasetError
from tests.datasets.trees.nuscenes import photo_path

Grow = Callable[..., Path]
Plant = Callable[..., None]


def test_samples_have_the_labels_of_their_version(grow: Grow) -> None:
    frames = {frame.image: frame for frame in open_dataset(grow("nuimages")).frames()}
    assert len(frames) == 24
    for log, table in (("n003", "v1.0-train/object_ann.json"), ("n008", "v1.0-val/object_ann.json")):
        assert frames[photo_path("samples", "CAM_BACK", 1, log)].labels == dict.fromkeys(
            ("boxes", "segmentation", "instance"), table
        )
        assert not frames[photo_path("sweeps", "CAM_BACK", 1, log)].labels
    assert not frames[photo_path("samples", "CAM_BACK", 1, "n010")].labels


def test_known_labels(grow: Grow) -> None:
    frames = {frame.image: frame for frame in open_dataset(grow("nuimages")).frames()}
    frame = frames[photo_path("samples", "CAM_FRONT", 0)]
    boxes, segmentation, instances = (frame.load_label(kind) for kind in ("boxes", "segmentation", "instance"))
    assert isinstance(boxes, Boxes)
    assert boxes.boxes == (
        Box("human.pedestrian.adult", 0, 2, 5, 8),
        Box("vehicle.car", 1, 1, 2, 2),
        Box("vehicle.car", 3, 4, 20, 12),
    )
    assert isinstance(segmentation, Segmentation)
    assert isinstance(instances, Instances)
    places = (1, 2, 4, 11, 12, 20)
    assert [segmentation.names.get(int(segmentation.ids[y, 31]), "") for y in places] == [
        "",
        "human.pedestrian.adult",
        "vehicle.car",  # its token comes last
        "vehicle.car",
        "flat.driveable_surface",
        "",
    ]
    assert [int(instances.ids[y, 31]) for y in places] == [-1, 1, 3, 3, -1, -1]


def test_nuscenes_carries_what_is_in_space(grow: Grow) -> None:
    dataset = open_dataset(grow("nuscenes", into="deep/er"))
    files = dict(dataset.files())
    assert dataset.roles() == {"IMAGE": 8, "LABEL": 2, "AUX": 4, "PSEUDO": 0, "STALE": 0}
    assert files["maps/36092f0b.png"] is files["v1.0-mini/sample_annotation.json"] is Role.LABEL
    assert not any(frame.labels for frame in dataset.frames())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bbox": [1, 2]}, "annotations of .*0.jpg are damaged"),
        ({"mask": {"size": [32, 24], "counts": ""}}, "a mask has 24x32 pixels, the image 32x24"),
        ({"mask": {"size": [24, 32], "counts": "AAAA"}}, "do not fill"),
        ({"category_token": "lost"}, "lost"),
    ],
)
def test_damaged_annotations_are_an_error_that_names_the_table(
    change: dict[str, object], message: str, grow: Grow
) -> None:
    root = grow("nuimages")
    table = root / "v1.0-train/object_ann.json"
    content = json.loads(table.read_text())
    table.write_text(json.dumps([{**content[0], **change}]))
    frames = {frame.image: frame for frame in open_dataset(root).frames()}
    with pytest.raises(DatasetError, match=message) as error:
        frames[content[0]["sample_data_token"].removeprefix("token of ")].load_label(
            "boxes" if "bbox" in change else "segmentation"
        )
    assert str(error.value).startswith(str(table))


def test_table_of_files_that_is_damaged_is_named(grow: Grow, plant: Plant) -> None:
    root = grow("nuimages")
    plant(root, {"v1.0-train/sample_data.json": '[{"token": 1, "filename": "samples/CAM_FRONT/1.jpg" 3}]'})
    with pytest.raises(DatasetError, match=r"sample_data\.json: cannot be read as a table of files"):
        list(open_dataset(root).frames())
