"""Unity's Perception package: JSON files tell which files are photos, and what the masks mean."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sim2real.datasets import Role, open_dataset
from sim2real.datasets.labels import NOTHING, Boxes, Instances, Segmentation
from sim2real.errors import DatasetError
from tests.datasets.reading import frames_of
from tests.datasets.trees.solo import CRATE

Grow = Callable[..., Path]
Plant = Callable[..., None]

CRATE_ID = CRATE[0] + 256 * CRATE[1] + 65536 * CRATE[2]
FIRST = {"unity-solo": "solo_2/sequence.0/step0.Main Camera.png", "unity-perception": "RGB0a/rgb_0.png"}


@pytest.mark.parametrize("layout", FIRST)
def test_every_label_is_told(layout: str, grow: Grow) -> None:
    frame = frames_of(grow(layout))[FIRST[layout]]
    segmentation, instances = frame.load_label("segmentation"), frame.load_label("instance")
    boxes = frame.load_label("boxes")
    assert isinstance(segmentation, Segmentation)
    assert segmentation.names == {CRATE_ID: "Crate"}
    assert [np.unique(half).tolist() for half in np.split(segmentation.ids, 2)] == [[NOTHING], [CRATE_ID]]
    assert isinstance(instances, Instances)
    assert [np.unique(half).tolist() for half in np.split(instances.ids, 2)] == [[1], [3]]
    assert isinstance(boxes, Boxes)
    (box,) = boxes.boxes
    assert (box.label, box.track, box.left, box.top, box.right, box.bottom) == ("Crate", 3, 1, 2, 31, 22)


def test_photos_are_those_of_rgb_cameras(grow: Grow) -> None:
    dataset = open_dataset(grow("unity-solo", frames=3))
    assert [(frame.sequence.rpartition("solo_2/")[2], frame.index) for frame in dataset.frames()] == [
        ("sequence.0/Main Camera", 0),
        ("sequence.0/Main Camera", 1),
        ("sequence.1/Main Camera", 0),
    ]
    files = dict(dataset.files())
    folder = "solo_2/sequence.0"
    assert files[f"{folder}/step0.frame_data.json"] is Role.LABEL
    assert files[f"{folder}/step0.Main Camera.semantic segmentation.png"] is Role.LABEL
    assert files["solo_2/metadata.json"] is Role.AUX
    assert any("images are not frames" in line or "step0.lidar.png" in line for line in dataset.warnings())


def test_sequence_is_known_from_inside(grow: Grow) -> None:
    frames = frames_of(grow("unity-solo") / "solo_2/sequence.0")
    assert list(frames) == ["step0.Main Camera.png", "step1.Main Camera.png"]
    assert isinstance(frames["step1.Main Camera.png"].load_label("boxes"), Boxes)


@pytest.mark.parametrize("layout", FIRST)
def test_photos_that_are_missing_are_told(layout: str, grow: Grow) -> None:
    root = grow(layout)
    (root / FIRST[layout]).unlink()
    dataset = open_dataset(root)
    assert sum(1 for _ in dataset.frames()) == 1
    assert any(
        f"1 photos that JSON files name are missing, e.g. {FIRST[layout]}" in line for line in dataset.warnings()
    )


def test_missing_masks_are_no_labels(grow: Grow) -> None:
    root = grow("unity-solo")
    (root / "solo_2/sequence.0/step0.Main Camera.instance segmentation.png").unlink()
    assert list(frames_of(root)[FIRST["unity-solo"]].labels) == ["segmentation", "boxes"]


def test_objects_may_be_absent(grow: Grow) -> None:
    root = grow("unity-solo")
    path = root / "solo_2/sequence.0/step0.frame_data.json"
    told = json.loads(path.read_text("utf-8"))
    for annotation in told["captures"][0]["annotations"]:
        annotation.pop("instances", None)
        annotation.pop("values", None)
    path.write_text(json.dumps(told), "utf-8")
    frame = frames_of(root)[FIRST["unity-solo"]]
    assert frame.load_label("boxes") == Boxes(())
    instances = frame.load_label("instance")
    assert isinstance(instances, Instances)
    assert (instances.ids == NOTHING).all()


@pytest.mark.parametrize(
    ("content", "told"), [("{", "cannot be read as JSON"), ('{"captures": [{}]}', "captures are not in Unity's format")]
)
def test_damaged_lists_are_an_error_that_names_the_file(content: str, told: str, grow: Grow, plant: Plant) -> None:
    root = grow("unity-solo")
    plant(root, {"solo_2/sequence.0/step1.frame_data.json": content})
    with pytest.raises(DatasetError, match=rf"step1\.frame_data\.json: .*{told}"):
        open_dataset(root)


def test_damaged_labels_are_an_error_that_names_the_file(grow: Grow) -> None:
    root = grow("unity-solo")
    path = root / "solo_2/sequence.0/step0.frame_data.json"
    path.write_text(path.read_text("utf-8").replace('"origin"', '"corner"'), "utf-8")
    with pytest.raises(DatasetError, match=r"step0\.frame_data\.json: its entry for .* is damaged: KeyError"):
        frames_of(root)[FIRST["unity-solo"]].load_label("boxes")


def test_masks_of_numbers_are_carried(grow: Grow) -> None:
    root = grow("unity-perception")
    path = root / "Dataset77/annotation_definitions.json"
    told = json.loads(path.read_text("utf-8"))
    told["annotation_definitions"][1]["spec"] = [{"label_name": "Crate", "pixel_value": 1}]
    path.write_text(json.dumps(told), "utf-8")
    dataset = open_dataset(root)
    assert list(next(dataset.frames()).labels) == ["boxes", "instance"]
    assert dict(dataset.files())["SemanticSegmentation1f/segmentation_0.png"] is Role.LABEL


def test_lists_of_captures_of_others_are_let_alone(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "photo.jpg", {"captures_000.json": "[]"})
    assert open_dataset(tmp_path).name == "images"


def _without_nulls(told: object, *, shares: bool) -> object:
    """As Unity's serialiser writes it: no key of a null, colours as shares of the highest level."""
    if isinstance(told, dict):
        if set(told) == set("rgba") and shares:
            return {name: level / 255 for name, level in told.items()}
        return {
            name: [level / 255 for level in value]
            if shares and name in {"pixelValue", "color"} and isinstance(value, list)
            else _without_nulls(value, shares=shares)
            for name, value in told.items()
            if value not in (None, [])
        }
    return [_without_nulls(each, shares=shares) for each in told] if isinstance(told, list) else told


@pytest.mark.parametrize("shares", [True, False])
@pytest.mark.parametrize("layout", FIRST)
def test_colours_may_be_shares_and_nulls_may_be_left_out(layout: str, shares: bool, grow: Grow) -> None:
    root = grow(layout)
    expected = [frame.load_label(kind) for frame in frames_of(root).values() for kind in sorted(frame.labels)]
    for path in root.rglob("*.json"):
        path.write_text(json.dumps(_without_nulls(json.loads(path.read_text("utf-8")), shares=shares)), "utf-8")
    found = [frame.load_label(kind) for frame in frames_of(root).values() for kind in sorted(frame.labels)]
    assert len(found) == len(expected) == 6
    for one, other in zip(found, expected, strict=True):
        if isinstance(one, Boxes):
            assert one == other
        else:
            assert isinstance(one, Segmentation | Instances)
            assert isinstance(other, Segmentation | Instances)
            assert np.array_equal(one.ids, other.ids)
    assert len(open_dataset(root).warnings()) == (layout == "unity-solo")  # of the sensor that is no camera


def test_numbers_of_captures_that_are_left_out_are_those_of_the_files(grow: Grow) -> None:
    root = grow("unity-solo")
    for path in root.rglob("step1.frame_data.json"):
        told = json.loads(path.read_text("utf-8"))
        del told["step"], told["captures"][0]["id"]
        path.write_text(json.dumps(told), "utf-8")
    assert [frame.index for frame in open_dataset(root).frames()] == [0, 1]


def test_size_that_a_capture_tells_is_that_of_its_boxes(grow: Grow) -> None:
    root = grow("unity-solo")
    path = root / "solo_2/sequence.0/step0.frame_data.json"
    path.write_text(path.read_text("utf-8").replace("32.0", "64.0").replace("24.0", "48.0"), "utf-8")
    boxes = frames_of(root)[FIRST["unity-solo"]].load_label("boxes")
    assert isinstance(boxes, Boxes)
    (box,) = boxes.boxes
    assert (box.left, box.top, box.right, box.bottom) == (0.5, 1, 15.5, 11)
    assert any("declares 64x48" in line for line in open_dataset(root).warnings())
