"""LabelMe: shapes are labels; the photos that its files hold are told, and can be replaced to the byte."""

import base64
import io
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sim2real.datasets import Role, open_dataset
from sim2real.datasets.findings import OLD_PICTURES
from sim2real.datasets.labelme import LabelMe
from sim2real.datasets.labels import Boxes, Instances, Segmentation
from sim2real.datasets.resizing import Scale
from sim2real.datasets.resizing_shapes import LABELME
from sim2real.errors import DatasetError
from sim2real.imageio import encode_png
from tests.datasets.trees.labelme import SHAPES, document

Grow = Callable[..., Path]
Plant = Callable[..., None]


def test_shapes_are_boxes_classes_and_objects(grow: Grow) -> None:
    frame = next(open_dataset(grow("labelme")).frames())
    boxes, segmentation, instances = (frame.load_label(kind) for kind in ("boxes", "segmentation", "instance"))
    assert isinstance(boxes, Boxes)
    assert [(box.label, box.left, box.top, box.right, box.bottom) for box in boxes.boxes] == [
        ("straße", 0, 12, 32, 24),
        ("car", 4, 14, 25, 20),  # both shapes of group 7
        ("sun", 20, 2, 28, 10),
    ]
    assert isinstance(segmentation, Segmentation)
    wanted = np.full((24, 32), "", object)
    wanted[12:] = "straße"
    wanted[14:20, 4:9] = "car"  # the centre of column 9 lies on the edge, outside
    y, x = np.mgrid[:24, :32] + 0.5
    wanted[(x < 25) & (y > 14) & (y - 14 < 0.8 * (x - 20))] = "car"
    wanted[(x - 24) ** 2 + (y - 6) ** 2 < 16] = "sun"
    found = np.vectorize(lambda number: segmentation.names.get(number, ""))(segmentation.ids)
    assert (found == wanted).all()
    assert isinstance(instances, Instances)
    assert (instances.ids[wanted == "car"] == 1).all()
    assert set(instances.ids[wanted == "straße"]) == {0}
    assert (instances.ids[wanted == ""] == -1).all()


def test_a_photo_without_a_file_has_no_labels_and_is_translated(grow: Grow) -> None:
    dataset = open_dataset(grow("labelme"))
    labels = {frame.image: sorted(frame.labels) for frame in dataset.frames()}
    kinds = ["boxes", "instance", "segmentation"]
    assert labels == {
        "photos/street 00.jpg": kinds,
        "photos/street 01.jpg": kinds,
        "photos/unlabelled.jpg": [],
    }
    assert dataset.roles() == {"IMAGE": 3, "LABEL": 2, "AUX": 1, "PSEUDO": 0, "STALE": 0}
    assert not dataset.warnings()


def test_files_in_a_folder_of_their_own_name_their_photos_windows_slashes_or_not(grow: Grow) -> None:
    dataset = open_dataset(grow("labelme", apart=True))
    assert {frame.image: frame.labels.get("boxes") for frame in dataset.frames()} == {
        "photos/street 00.jpg": "labels/street 00.json",
        "photos/street 01.jpg": "labels/street 01.json",
        "photos/unlabelled.jpg": None,
    }


def test_photos_inside_are_told_as_old(grow: Grow) -> None:
    told = open_dataset(grow("labelme")).stale()
    assert told == {OLD_PICTURES: ["photos/street 00.json", "photos/street 01.json"]}
    assert not open_dataset(grow("labelme", into="none", inside=False)).stale()


def test_a_photo_that_is_not_there_is_told(grow: Grow) -> None:
    root = grow("labelme")
    (root / "photos/street 01.jpg").unlink()
    dataset = open_dataset(root)
    assert any("1 JSON files describe photos that are missing" in line for line in dataset.warnings())
    assert dataset.embedded() == {
        "photos/street 00.json": "photos/street 00.jpg",
        "photos/street 01.json": "",
    }
    assert dict(dataset.files())["photos/street 01.json"] is Role.LABEL


@pytest.mark.parametrize("first", [False, True])
def test_shapes_lie_on_the_size_that_the_file_tells(grow: Grow, plant: Plant, first: bool) -> None:
    root = grow("labelme")
    sizes = {"imageWidth": 64, "imageHeight": 48}
    content = json.loads(document("street 00.jpg", b"x" * 9000)) | sizes
    plant(root, {"photos/street 00.json": json.dumps({**sizes, **content} if first else content)})
    label = next(open_dataset(root).frames()).load_label("boxes")
    assert isinstance(label, Boxes)
    box = label.boxes[1]
    assert (box.left, box.top, box.right, box.bottom) == (2, 7, 12.5, 10)
    plant(root, {"photos/street 00.json": document("street 00.jpg", None, imageWidth=24, imageHeight=32)})
    with pytest.raises(DatasetError, match=r"it is 32x24, which is no scale of the 24x32"):
        next(open_dataset(root).frames()).load_label("boxes")


@pytest.mark.parametrize("points", [[[0, 0], [1, 1]], [[0, 0], [1, 1], [float("nan"), 1]], [[0, 0], [1]], "abc", None])
def test_damaged_shapes_are_told_of_the_file(grow: Grow, plant: Plant, points: object) -> None:
    root = grow("labelme")
    plant(root, {"photos/street 00.json": document("street 00.jpg", None, [{"label": "a", "points": points}])})
    with pytest.raises(DatasetError, match=r"street 00\.json: its shapes are damaged"):
        next(open_dataset(root).frames()).load_label("segmentation")


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("tail", ["", "\0", '"', "]", "}" * 2000, "[" * 200_000, "\ud800"])
def test_a_damaged_file_hides_nothing_but_its_own_labels(grow: Grow, apart: bool, tail: str) -> None:
    root = grow("labelme", apart=apart)
    path = root / ("labels" if apart else "photos") / "street 00.json"
    whole = path.read_text("utf-8")
    for cut in (0, 1, 60, len(whole) // 3, len(whole) - 1):
        path.write_text(whole[:cut] + tail, "utf-8", errors="surrogatepass")
        dataset = open_dataset(root)
        dataset.warnings()
        dataset.stale()
        frames = {frame.image: frame for frame in dataset.frames()}
        assert frames.keys() >= {"photos/street 00.jpg", "photos/street 01.jpg"}
        frames["photos/street 01.jpg"].load_label("boxes")
        for kind in frames["photos/street 00.jpg"].labels:
            with suppress(DatasetError):
                frames["photos/street 00.jpg"].load_label(kind)


def test_drawn_masks_lie_at_their_corner(grow: Grow, plant: Plant) -> None:
    extracted = np.eye(4, dtype=np.uint8) * 255
    shape = {
        "label": "dots",
        "points": [[30.0, 2.0], [33.0, 5.0]],  # two columns lie outside
        "shape_type": "mask",
        "mask": base64.b64encode(encode_png(extracted)).decode(),
    }
    root = grow("labelme")
    plant(root, {"photos/street 00.json": document("street 00.jpg", None, [shape])})
    label = next(open_dataset(root).frames()).load_label("instance")
    assert isinstance(label, Instances)
    assert np.argwhere(label.ids == 0).tolist() == [[2, 30], [3, 31]]


def test_exported_masks_have_the_names_beside_them(grow: Grow) -> None:
    dataset = open_dataset(grow("labelme-export"))
    assert dataset.roles() == {"IMAGE": 2, "LABEL": 2, "AUX": 2, "PSEUDO": 2, "STALE": 0}
    label = next(dataset.frames()).load_label("segmentation")
    assert isinstance(label, Segmentation)
    assert set(label.ids[:12].flat) == {0}
    assert set(label.ids[12:].flat) == {2}
    assert label.names[2] == "straße"


# the photo inside


_LEAF = st.none() | st.booleans() | st.integers() | st.sampled_from([0.1, -1e-7]) | st.text(max_size=8)
_JSON = (
    _LEAF | st.lists(_LEAF, max_size=3) | st.dictionaries(st.just("imageData") | st.text(max_size=3), _LEAF, max_size=3)
)
_MEMBERS = st.dictionaries(st.text(max_size=5), _JSON, max_size=4)


@settings(deadline=None, max_examples=60)
@given(_MEMBERS, _MEMBERS, st.binary(), st.binary() | st.none(), st.sampled_from([None, 1]))
def test_only_the_picture_of_a_file_changes(
    before: dict[str, Any], after: dict[str, Any], old: bytes, new: bytes | None, indent: int | None
) -> None:
    def dumped(picture: bytes | None) -> bytes:
        inside = picture if picture is None else base64.b64encode(picture).decode()
        members = {**before, "imageData": inside, **{f"{key} ": value for key, value in after.items()}}
        return json.dumps(members, indent=indent, ensure_ascii=indent is None).encode("utf-8", errors="replace")

    assert LabelMe.embed(dumped(old), new) == dumped(new)


@pytest.mark.parametrize("text", ["[]", "{", '{"shapes": [], "flags": {"imageData": "AA=="}}', ""])
def test_a_file_without_a_picture_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  whatever is wrong with it
        LabelMe.embed(text.encode(), b"")


# another size


DOT = base64.b64encode(encode_png(np.full((2, 2), 255, np.uint8))).decode()


def resized(shapes: list[dict[str, Any]], scale: Scale, **more: Any) -> dict[str, Any]:
    data = document("a.jpg", b"old", shapes, **more).encode()
    changed: dict[str, Any] = json.loads(LABELME.update(data, scale))
    return changed


def test_shapes_and_the_told_size_change_with_the_photo() -> None:
    content = resized(SHAPES, Scale((32, 24), (64, 48)))
    assert (content["imageWidth"], content["imageHeight"]) == (64, 48)
    for shape, before in zip(content["shapes"], SHAPES, strict=True):
        assert shape == {**before, "points": [[2 * x, 2 * y] for x, y in before["points"]]}
    content = resized([SHAPES[1]], Scale((32, 24), (16, 48)))
    assert content["shapes"][0]["points"] == [[4.75, 40.0], [2, 28]]


def test_a_mask_of_a_shape_changes_as_a_mask_of_the_photo_would() -> None:
    whole = np.zeros((24, 32), np.uint8)
    whole[4:12, 6:19] = np.random.default_rng(0).integers(0, 2, (8, 13), np.uint8) * 255
    shape = {
        "label": "a",
        "points": [[6.0, 4.0], [18.0, 11.0]],
        "shape_type": "mask",
        "mask": base64.b64encode(encode_png(whole[4:12, 6:19])).decode(),
    }
    changed = resized([shape], Scale((32, 24), (16, 36)))["shapes"][0]
    (left, top), (right, bottom) = changed["points"]
    mask = np.array(Image.open(io.BytesIO(base64.b64decode(changed["mask"]))))
    assert mask.shape == (bottom + 1 - top, right + 1 - left)
    found = np.zeros((36, 16), np.uint8)
    found[top : bottom + 1, left : right + 1] = mask
    rows, columns = ((2 * np.arange(36) + 1) * 24 // 72), ((2 * np.arange(16) + 1) * 32 // 32)
    assert (found == whole[rows[:, None], columns]).all()


def test_a_circle_that_becomes_an_ellipse_is_told_as_a_polygon() -> None:
    shape = resized([SHAPES[3]], Scale((32, 24), (64, 24)))["shapes"][0]
    assert shape["shape_type"] == "polygon"
    x, y = np.array(shape["points"]).T
    np.testing.assert_allclose(((x - 48) / 8) ** 2 + ((y - 6) / 4) ** 2, 1)
    assert (x.min(), x.max(), y.min(), y.max()) == pytest.approx((40, 56, 2, 10))


def test_a_mask_outside_of_the_photo_is_refused() -> None:
    with pytest.raises(ValueError, match="a mask has no pixel inside"):
        resized([{"label": "a", "points": [[40, 0], [41, 1]], "mask": DOT}], Scale((32, 24), (64, 24)))
