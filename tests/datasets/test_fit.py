"""Labels lie on the pixels that are stored: of photos that are shown turned, and of files that tell another size."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from sim2real.conversion.resized_files import Resizer, UnknownError
from sim2real.datasets import Dataset, Role, open_dataset
from sim2real.datasets.fit import same_picture
from sim2real.datasets.labels import Box, Boxes, Instances, Segmentation
from sim2real.errors import DatasetError, ImageError
from sim2real.imageio import encode_png, read_orientation
from tests.datasets.trees.common import photo

Plant = Callable[..., None]

SHOWN_BOX = (2, 3, 12, 9)


def turned(orientation: int, container: str = "JPEG") -> bytes:
    """A photo of 32x24 that EXIF shows turned."""
    exif = Image.Exif()
    exif[274] = orientation
    file = io.BytesIO()
    Image.fromarray(photo()).save(file, container, exif=exif, lossless=True)
    return file.getvalue()


def coco(size: tuple[int, int], box: tuple[float, ...], name: str = "a.jpg") -> str:
    left, top, right, bottom = box
    outline = [left, top, right, top, right, bottom, left, bottom]
    return json.dumps(
        {
            "images": [{"id": 1, "file_name": name, "width": size[0], "height": size[1]}],
            "annotations": [
                {
                    "id": 1,
                    "image_id": 1,
                    "category_id": 1,
                    "bbox": [left, top, right - left, bottom - top],
                    "segmentation": [outline],
                }
            ],
            "categories": [{"id": 1, "name": "car"}],
        }
    )


def voc(size: tuple[int, int], box: tuple[float, ...]) -> str:
    left, top, right, bottom = box
    edges = f"<xmin>{left + 1}</xmin><ymin>{top + 1}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
    told = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    return f"<annotation>{told}<object><name>car</name><bndbox>{edges}</bndbox></object></annotation>"


def boxes(dataset: Dataset) -> tuple[Box, ...]:
    label = next(dataset.frames()).load_label("boxes")
    assert isinstance(label, Boxes)
    return label.boxes


def told(dataset: Dataset, words: str) -> bool:
    return any(words in line for line in dataset.warnings())


@pytest.mark.parametrize("container", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_read_of_every_container(orientation: int, container: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(turned(orientation, container))
    assert read_orientation(path) == orientation


def test_orientation_of_what_tells_none(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(encode_png(photo()))
    assert read_orientation(path) == 1
    path.write_bytes(turned(9))
    assert read_orientation(path) == 1
    path.write_bytes(b"P6 1 1 255 abc")
    assert read_orientation(path) == 1
    with pytest.raises(ImageError, match="cannot be read as an image"):
        read_orientation(tmp_path / "b")


@pytest.mark.parametrize("orientation", range(2, 9))
def test_labelled_photos_that_are_shown_turned_are_told_and_not_resized(
    orientation: int, tmp_path: Path, plant: Plant
) -> None:
    plant(tmp_path, "JPEGImages/b.jpg")
    plant(tmp_path, {"JPEGImages/a.jpg": turned(orientation), "Annotations/b.xml": voc((32, 24), SHOWN_BOX)})
    plant(tmp_path, {"Annotations/a.xml": "<annotation><segmented>0</segmented></annotation>"})
    dataset = open_dataset(tmp_path)
    assert told(dataset, "EXIF shows 1 of 2 labelled images turned or mirrored, e.g. JPEGImages/a.jpg ")
    resizer = Resizer(dataset, (16, 12))
    with pytest.raises(UnknownError, match=r"EXIF shows JPEGImages/a\.jpg"):
        resizer("Annotations/a.xml", Role.LABEL)
    assert resizer("Annotations/b.xml", Role.LABEL)
    assert resizer("JPEGImages/a.jpg", Role.IMAGE)


def test_photos_without_labels_may_be_shown_turned(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, {"a.jpg": turned(6)})
    assert not told(open_dataset(tmp_path), "EXIF")


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_labels_of_the_shown_size_are_turned_back(orientation: int, tmp_path: Path, plant: Plant) -> None:
    """As Pillow turns a picture of the box, which is a rectangle of the shown image."""
    left, top, right, bottom = SHOWN_BOX
    stored = np.zeros((24, 32), np.uint8)
    exif = Image.Exif()
    exif[274] = orientation
    for y, x in np.ndindex(stored.shape):
        stored[y, x] = (x + 32 * y) % 251
    file = io.BytesIO()
    Image.fromarray(stored).save(file, "PNG", exif=exif)
    shown = np.asarray(ImageOps.exif_transpose(Image.open(file)))
    assert shown.shape == (32, 24)
    plant(tmp_path, {"a.jpg": turned(orientation), "labels.json": coco((24, 32), SHOWN_BOX)})
    dataset = open_dataset(tmp_path)
    (box,) = boxes(dataset)
    inside = stored[int(box.top) : int(box.bottom), int(box.left) : int(box.right)]
    assert sorted(inside.flat) == sorted(shown[top:bottom, left:right].flat)
    segmentation, instance = (next(dataset.frames()).load_label(kind) for kind in ("segmentation", "instance"))
    assert isinstance(segmentation, Segmentation)
    assert isinstance(instance, Instances)
    extracted = np.zeros((24, 32), bool)
    extracted[int(box.top) : int(box.bottom), int(box.left) : int(box.right)] = True
    assert np.array_equal(segmentation.ids == 1, extracted)
    assert np.array_equal(instance.ids == 0, extracted)
    assert told(dataset, "fit what EXIF shows, e.g. labels.json declares 24x32, a.jpg is 32x24")


@pytest.mark.parametrize(
    ("image", "path", "document"), [("a.jpg", "labels.json", coco), ("JPEGImages/a.jpg", "Annotations/a.xml", voc)]
)
def test_labels_of_another_size_are_read_and_resized_as_of_the_told_one(
    image: str, path: str, document: Callable[..., str], tmp_path: Path, plant: Plant
) -> None:
    plant(tmp_path, image, {path: document((64, 48), (20, 12, 64, 48))})
    dataset = open_dataset(tmp_path)
    assert boxes(dataset) == (Box("car", 10, 6, 32, 24),)
    assert told(
        dataset, f"{path} declares 64x48, {image} is 32x24: labels are read, and resized, as pixels of the declared"
    )
    resize = Resizer(dataset, (16, 12))(path, Role.LABEL)
    assert resize
    plant(tmp_path, {image: photo()[::2, ::2], path: resize((tmp_path / path).read_bytes())})
    again = open_dataset(tmp_path)
    assert boxes(again) == (Box("car", 5, 3, 16, 12),)
    assert not again.warnings()


def test_masks_of_another_size_are_brought_to_the_image(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "a.jpg", {"labels.json": coco((64, 48), (20, 12, 64, 48))})
    segmentation = next(open_dataset(tmp_path).frames()).load_label("segmentation")
    assert isinstance(segmentation, Segmentation)
    expected = np.full((24, 32), -1)
    expected[6:, 10:] = 1
    assert np.array_equal(segmentation.ids, expected)


@pytest.mark.parametrize("size", [(24, 32), (50, 50), (32, 48)])
def test_labels_of_a_size_that_is_no_scale_of_the_image_are_neither_read_nor_resized(
    size: tuple[int, int], tmp_path: Path, plant: Plant
) -> None:
    plant(tmp_path / "coco", "a.jpg", {"labels.json": coco(size, (1, 1, 5, 5))})
    plant(tmp_path / "voc", "JPEGImages/a.jpg", {"Annotations/a.xml": voc(size, (1, 1, 5, 5))})
    for name, path in (("coco", "labels.json"), ("voc", "Annotations/a.xml")):
        dataset = open_dataset(tmp_path / name)
        with pytest.raises(DatasetError, match=r"a\.jpg: it is 32x24, which is no scale of the \d+x\d+ that its label"):
            boxes(dataset)
        with pytest.raises(UnknownError, match=r"which is no scale of .*a\.jpg, 32x24"):
            Resizer(dataset, (16, 12))(path, Role.LABEL)
        assert told(dataset, f"size that is no scale of what their label files declare, e.g. {path}")


@pytest.mark.parametrize("size", [(0, 0), (-32, 24), (float("nan"), 24), (float("inf"), 24), ("x", None)])
def test_a_told_size_that_no_image_can_have_is_none(size: tuple[int, int], tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "a.jpg", {"labels.json": coco(size, (20, 12, 30, 20))})
    assert boxes(open_dataset(tmp_path)) == (Box("car", 20, 12, 30, 20),)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ((640, 480), (320, 240), True),
        ((1242, 375), (621, 187), True),
        ((1242, 375), (621, 188), True),
        ((640, 480), (640, 481), True),
        ((640, 480), (480, 640), False),
        ((500, 375), (416, 416), False),
        ((640, 480), (640, 360), False),
    ],
)
def test_sizes_of_one_picture(one: tuple[int, int], other: tuple[int, int], same: bool) -> None:
    assert same_picture(one, other) == same_picture(other, one) == same
