"""YOLO: shares become pixels, outlines become masks, and what leads back to the old pixels is told."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sim2real.datasets import Frame, Role, open_dataset
from sim2real.datasets.labels import Box, Instances, Segmentation
from sim2real.errors import DatasetError
from tests.datasets.reading import boxes
from tests.datasets.trees.yolo import BOXES, OUTLINES

Grow = Callable[..., Path]
Plant = Callable[..., None]


def frames(root: Path) -> dict[str, Frame]:
    dataset = open_dataset(root)
    assert dataset.name == "yolo"
    return {frame.image: frame for frame in dataset.frames()}


@pytest.mark.parametrize(
    ("shape", "image", "text"),
    [
        ("images/{split}", "images/val/a b 1.JPG", "labels/val/a b 1.txt"),
        ("{split}/images", "val/images/a b 1.JPG", "val/labels/a b 1.txt"),
        ("images/{split}/images/deep", "images/val/images/deep/a b 1.JPG", "images/val/labels/deep/a b 1.txt"),
        ("obj_{split}_data", "obj_val_data/a b 1.JPG", "obj_val_data/a b 1.txt"),
    ],
)
def test_text_is_found_where_its_readers_look_for_it(shape: str, image: str, text: str, grow: Grow) -> None:
    found = frames(grow("yolo", shape=shape))
    assert len(found) == 6
    assert found[image].labels == {"boxes": text}
    assert boxes(found[image]) == [Box("traffic light", 12, 0, 20, 12), Box("car", 0, 9, 8, 15)]
    assert boxes(found[image.replace("1.JPG", "0.JPG")]) == []
    assert not found[image.replace("a b 1.JPG", "background.jpg")].labels


def test_roles(grow: Grow, plant: Plant) -> None:
    root = grow("yolo")
    plant(root, "thumbnail.jpg", {"labels/train/lost.txt": BOXES, "images/train/a b 0.npy": b"x", "classes.txt": "car"})
    dataset = open_dataset(root)
    files = dict(dataset.files())
    assert files["labels/train/lost.txt"] is Role.LABEL
    assert files["images/train/a b 0.npy"] is files["train.cache"] is Role.STALE
    assert files["data.yaml"] is files["classes.txt"] is Role.AUX
    assert files["thumbnail.jpg"] is Role.AUX
    assert any("1 .npy files next to images" in line for line in dataset.warnings())


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_split_is_known_by_itself(part: str, grow: Grow) -> None:
    assert len(frames(grow("yolo", shape="{split}/images") / part)) == 3


def test_outlines_become_masks_and_boxes(grow: Grow) -> None:
    found = frames(grow("yolo", rows=OUTLINES))
    assert list(found["images/val/a b 0.JPG"].labels) == ["boxes", "segmentation", "instance"]
    frame = found["images/val/a b 1.JPG"]
    assert boxes(frame) == [Box("car", 8, 6, 24, 21), Box("wheel", 16, 12, 20, 15)]
    segmentation, instances = frame.load_label("segmentation"), frame.load_label("instance")
    assert isinstance(segmentation, Segmentation)
    assert isinstance(instances, Instances)
    assert segmentation.names == {0: "car", 1: "traffic light", 2: "wheel"}
    seen = [(segmentation.ids[y, x], instances.ids[y, x]) for y, x in ((0, 0), (6, 8), (17, 23), (12, 18), (18, 8))]
    assert seen == [(-1, -1), (0, 0), (0, 0), (2, 1), (-1, -1)]


def test_rotated_boxes_and_key_points_give_no_masks(grow: Grow) -> None:
    rotated = frames(grow("yolo", "rotated", rows="1 0.5 0.25 0.75 0.5 0.5 0.75 0.25 0.5\n"))["images/val/a b 1.JPG"]
    assert list(rotated.labels) == ["boxes"]
    assert boxes(rotated) == [Box("traffic light", 8, 6, 24, 18)]
    sheet = "names: [person]\nkpt_shape: [2, 2]\n"
    rows = "0 0.5 0.5 0.5 0.5 0.1 0.1 0.9 0.9\n0 0.5 0.5 0.25 0.25 0 0 0.9 0.9 0.1 0.1\n"
    pointed = frames(grow("yolo", "pointed", rows=rows, sheet=sheet))["images/val/a b 1.JPG"]
    assert list(pointed.labels) == ["boxes"]
    assert boxes(pointed) == [Box("person", 8, 6, 24, 18), Box("person", 12, 9, 20, 15)]


def test_names_come_from_the_nearest_list(grow: Grow, plant: Plant) -> None:
    root = grow("yolo", sheet="services: {}\n")
    assert [box.label for box in boxes(frames(root)["images/val/a b 1.JPG"])] == ["1", "0"]
    root = grow("yolo", "again", sheet="services: {}\n")
    plant(root, {"obj.names": "bus\ntram\n", "labels/train/classes.txt": "cat\ndog\n"})
    found = frames(root)
    assert [box.label for box in boxes(found["images/val/a b 1.JPG"])] == ["tram", "bus"]
    assert [box.label for box in boxes(found["images/train/a b 1.JPG"])] == ["dog", "cat"]


@pytest.mark.parametrize(
    ("sheet", "told"),
    [
        ("path: /data/coco\ntrain: images/train\nnames: [a]\n", "data.yaml names /data/coco"),
        ("path: C:\\coco\ntrain: images/train\nnames: [a]\n", "data.yaml names C:\\coco"),
        ("train: [/a, /b]\nval: /data/val.txt\nnames: [a]\n", "data.yaml names /data/val.txt"),
        ("path: .\nnames: [a]\n", ""),
    ],
)
def test_sheets_that_lead_back_to_the_old_images_are_told(sheet: str, told: str, grow: Grow) -> None:
    warnings = [line for line in open_dataset(grow("yolo", sheet=sheet)).warnings() if "data.yaml" in line]
    assert [told in line for line in warnings] == [True] * bool(told)


@pytest.mark.parametrize("text", ["a cat on a mat", "0 12 30 200 100", "0.5 0.5 0.5 0.5 0.5", "0 0.5 0.5", "\x80\0"])
def test_other_texts_beside_images_are_no_rows(text: str, tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "images/0.jpg", {"labels/0.txt": text})
    assert open_dataset(tmp_path).name == "images"


@pytest.mark.parametrize(
    "row", ["0 0.5 x 0.5 0.5", "0 0.5 0.5 0.5", "0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "nan 0.5 0.5 0.1 0.1", "1e99 0 0 0 0"]
)
def test_damaged_row_is_an_error_that_names_file_and_line(row: str, grow: Grow, plant: Plant) -> None:
    root = grow("yolo")
    plant(root, {"labels/val/a b 1.txt": f"{BOXES}\n{row}\n"})
    with pytest.raises(DatasetError, match=r"a b 1\.txt: line 4 does not describe an object"):
        frames(root)["images/val/a b 1.JPG"].load_label("boxes")


def test_damaged_sheet_is_an_error_that_names_it(grow: Grow) -> None:
    with pytest.raises(DatasetError, match=r"data\.yaml: cannot be read as YAML"):
        frames(grow("yolo", sheet="names: [\n"))


@pytest.mark.parametrize("names", ["", " 3", " {car: 0}", "\n- [car"])
def test_classes_without_numbers_or_names_are_an_error_that_names_the_sheet(names: str, grow: Grow) -> None:
    with pytest.raises(DatasetError, match=r"data\.yaml: cannot be read as"):
        boxes(frames(grow("yolo", sheet=f"names:{names}\n"))["images/val/a b 1.JPG"])


def test_images_of_one_name_are_all_translated(grow: Grow, plant: Plant) -> None:
    root = grow("yolo")
    plant(root, "images/val/a b 1.png")
    found = frames(root)
    assert found["images/val/a b 1.png"].labels == found["images/val/a b 1.JPG"].labels
    assert np.isfinite([box.left for box in boxes(found["images/val/a b 1.png"])]).all()


def test_what_macos_leaves_beside_descriptions_is_passed_over(grow: Grow, plant: Plant) -> None:
    root = grow("yolo")
    plant(root, {"._data.yaml": b"\0\5\x16\7\xff", "labels/train/._obj.names": b"\xff"})
    frame = next(iter(frames(root).values()))
    assert all(not box.label.isdecimal() for box in boxes(frame))


def test_mask_beside_an_image_is_no_image(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "train/0.png", "train/0_mask.png", {"train/0.txt": "0 .5 .5 .1 .1\n"})
    assert list(frames(tmp_path)) == ["train/0.png"]
    assert any("named like labels of other images" in line for line in open_dataset(tmp_path).warnings())


def test_byte_order_marks_are_no_part_of_rows_and_names(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "images/a.jpg", {"labels/a.txt": b"\xef\xbb\xbf0 0.5 0.5 0.5 0.5\r\n"})
    plant(tmp_path, {"obj.names": b"\xef\xbb\xbfcar\r\n"})
    assert boxes(frames(tmp_path)["images/a.jpg"]) == [Box("car", 8, 6, 24, 18)]


def test_rows_outside_of_the_image_hide_nothing_and_are_told(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "images/0.jpg", {"labels/0.txt": "0 0.9 0.5 1.0371 0.2\n0 0.5 0.5 0.1 0.1\n0 1.02 0.5 0.1 0.1\n"})
    plant(tmp_path, "images/1.jpg", {"labels/1.txt": "0 0.5 0.5 1.009 0.2\n"})
    (told,) = open_dataset(tmp_path).warnings()
    assert "2 rows in 1 of 2 text files have numbers outside of 0 to 1, e.g. labels/0.txt, line 1: 1.0371" in told
    box = boxes(frames(tmp_path)["images/0.jpg"])[0]
    assert (box.left, box.right) == pytest.approx((32 * (0.9 - 1.0371 / 2), 32 * (0.9 + 1.0371 / 2)))


def test_a_file_of_something_else_hides_nothing_and_is_told(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, *(f"images/{n}.jpg" for n in range(4)), {"labels/0.txt": "a cat", "labels/1.txt": b"\xff\xfe\x00"})
    plant(tmp_path, {f"labels/{n}.txt": BOXES for n in (2, 3)})
    assert len(frames(tmp_path)) == 4
    warnings = open_dataset(tmp_path).warnings()
    assert any(
        "2 of 4 text files have lines that are not YOLO rows, e.g. labels/0.txt, line 1" in line for line in warnings
    )


def test_boxes_without_numbers_are_left_out_and_told(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "images/0.jpg", {"labels/0.txt": "0 0.5 0.5 0.5 0.5\n0 nan 0.5 0.1 0.1\n0 0.5 0.5 0.1 inf\n"})
    dataset = open_dataset(tmp_path)
    assert boxes(next(dataset.frames())) == [Box("0", 8, 6, 24, 18)]
    assert any("2 boxes of 1 images have edges that are infinite or NaN" in line for line in dataset.warnings())


def test_outlines_without_numbers_are_drawn_as_nothing(grow: Grow, plant: Plant) -> None:
    root = grow("yolo", rows=OUTLINES)
    plant(root, {"labels/val/a b 1.txt": "0 nan 0.25 0.75 0.25 0.75 0.75\n0 1e300 0.25 0.75 0.25 1e308 0.75\n"})
    segmentation = frames(root)["images/val/a b 1.JPG"].load_label("segmentation")
    assert isinstance(segmentation, Segmentation)
    assert segmentation.ids.shape == (24, 32)


@pytest.mark.parametrize(
    ("rows", "kinds"),
    [
        ("0 .5 .5 .5 .5 .1 .1 2 .9 .9 1 0 0 0\n0 .5 .5 .5 .5 .1 .1 2 .9 .9 2 .5 .5 2\n", ["boxes"]),  # 3 points
        ("0 .5 .5 .5 .5 .1 .1 0 .9 .9 2\n", ["boxes"]),  # 2, one of them seen: no outline has a number of 2
        ("0 .1 .1 .9 .1 .9 .9 1 .9 .1 1\n", ["boxes", "segmentation", "instance"]),  # may well be an outline
        ("0 .5 .5 .5 .5 .8\n", ["boxes"]),  # with the score of a detector
    ],
)
def test_key_points_with_marks_are_known_by_their_count(
    rows: str, kinds: list[str], tmp_path: Path, plant: Plant
) -> None:
    plant(tmp_path, "images/0.jpg", {"labels/0.txt": rows})
    frame = frames(tmp_path)["images/0.jpg"]
    assert list(frame.labels) == kinds
    if kinds == ["boxes"]:
        assert set(boxes(frame)) == {Box("0", 8, 6, 24, 18)}
        assert not open_dataset(tmp_path).warnings()


@pytest.mark.parametrize(
    ("sheets", "first"),
    [
        ({"aug.yaml": "names: [wrong]", "data.yaml": "names: [car, bus]"}, "data.yaml"),
        ({"a.yml": "names: [wrong]", "dataset.yml": "names: [car, bus]"}, "dataset.yml"),
        ({"a.yaml": "names: [wrong]", "roads.yaml": "train: images\nnames: {0: car, 1: bus}"}, "roads.yaml"),
        ({"a.yaml": "lr: 0.1", "b.yaml": "names: [car, bus]"}, ""),
        ({"a.yaml": b"\xff: names", "b.yaml": "names: [car, bus]", "c.yaml": "names: [car, bus]"}, ""),
        ({"classes.txt": "cat\ndog", "data.yaml": "names: [car, bus]"}, ""),
    ],
)
def test_the_usual_description_counts_among_several(
    sheets: dict[str, str], first: str, grow: Grow, plant: Plant
) -> None:
    root = grow("yolo")
    (root / "data.yaml").unlink()
    plant(root, sheets)
    dataset = open_dataset(root)
    assert [box.label for box in boxes(frames(root)["images/val/a b 1.JPG"])] == ["bus", "car"]
    assert [line for line in dataset.warnings() if "names other classes than" in line] == [
        f"{min(sheets)} names other classes than {first}, which takes precedence"
    ] * bool(first)
