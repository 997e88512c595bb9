"""The plain folder, and what it must not translate."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sim2real.datasets import Role, open_dataset
from sim2real.imageio import encode_png

Plant = Callable[..., None]

PALETTE = encode_png(np.zeros((64, 96), np.uint8), palette=np.array([[0, 0, 0], [255, 0, 0]], np.uint8))
DEEP = np.zeros((64, 96), np.uint16)
FLOW = np.zeros((64, 96, 3), np.uint16)
GREY = np.random.default_rng(0).integers(0, 256, (64, 96), dtype=np.uint8)
COLOURS = np.repeat(np.random.default_rng(0).integers(0, 256, (8, 1, 3), dtype=np.uint8), 8, axis=0).repeat(96, axis=1)


@pytest.mark.parametrize("content", [PALETTE, DEEP, FLOW], ids=["palette", "16 bits", "16 bits RGB"])
def test_png_that_cannot_be_a_photo_is_a_label(
    content: bytes | NDArray[np.uint16], tmp_path: Path, plant: Plant
) -> None:
    plant(tmp_path, "photos/0.jpg", {"other/0.png": content})
    dataset = open_dataset(tmp_path)
    assert [frame.image for frame in dataset.frames()] == ["photos/0.jpg"]
    assert dict(dataset.files())["other/0.png"] is Role.LABEL
    assert any(line.startswith("1 images are carried unchanged") for line in dataset.warnings())


@pytest.mark.parametrize(("content", "role"), [(GREY, Role.LABEL), (COLOURS, Role.PSEUDO)])
def test_png_that_looks_like_a_label_is_one_beside_photos(
    content: NDArray[np.uint8], role: Role, tmp_path: Path, plant: Plant
) -> None:
    plant(tmp_path, "rgb_0.png", "rgb_1.png", {"a_0.png": content, "a_1.png": content})
    dataset = open_dataset(tmp_path)
    assert [frame.image for frame in dataset.frames()] == ["rgb_0.png", "rgb_1.png"]
    assert dict(dataset.files())["a_0.png"] is role


@pytest.mark.parametrize("content", [GREY, COLOURS])
def test_what_looks_like_labels_is_translated_where_nothing_else_is(
    content: NDArray[np.uint8], tmp_path: Path, plant: Plant
) -> None:
    plant(tmp_path, {"0.png": content, "1.png": content})
    dataset = open_dataset(tmp_path)
    assert dataset.roles()["IMAGE"] == 2
    assert any("if they are labels" in line for line in dataset.warnings()) == (content is COLOURS)


def test_one_flat_photo_does_not_make_labels_of_its_group(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, *(f"{n}.png" for n in range(1, 5)), {"0.png": COLOURS})
    assert open_dataset(tmp_path).roles()["IMAGE"] == 5


def test_damaged_png_stays_an_image_so_that_it_is_told(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "0.jpg", {"1.png": b"\x89PNG\r\n\x1a\n"})
    assert open_dataset(tmp_path).roles()["IMAGE"] == 2


def test_frames_are_in_order_with_their_folder_as_sequence(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "b/1.jpg", "b/0.JPEG", "a.bmp.jpg", {"notes.txt": "x"})
    assert [(frame.image, frame.sequence, frame.index) for frame in open_dataset(tmp_path).frames()] == [
        ("a.bmp.jpg", "", 0),
        ("b/0.JPEG", "b", 1),
        ("b/1.jpg", "b", 2),
    ]


def test_colour_coded_labels_of_virtual_kitti_alone_are_never_images(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    for path in ("Scene01/clone/frames/classSegmentation/Camera_0/classgt_00000.png", "semantic_rgb/000000_10.png"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_bytes(encode_png(noise))
    dataset = open_dataset(tmp_path)
    assert list(dataset.frames()) == []
    assert {role for _, role in dataset.files()} == {Role.PSEUDO}
    assert "2 images are carried unchanged" in dataset.warnings()[0]


@pytest.mark.parametrize("table", ["metadata.csv", "train/Metadata.JSONL", "metadata.parquet"])
def test_tables_of_an_image_folder_are_known_and_their_captions_are_told(
    table: str, tmp_path: Path, plant: Plant
) -> None:
    plant(
        tmp_path, "train/cat/0.jpg", "train/dog/1.jpg", {table: "file_name,text\ncat/0.jpg,a cat\n", "notes.txt": "x"}
    )
    dataset = open_dataset(tmp_path)
    assert [frame.sequence for frame in dataset.frames()] == ["train/cat", "train/dog"]
    assert dict(dataset.files())[table] is Role.AUX
    assert dataset.stale() == {"captions, if it has any": [table]}


@pytest.mark.parametrize(
    ("photo", "label"),
    [
        ("rgb/000001.jpg", "depth/000001.png"),
        ("drive 1/rgb_front/7.png", "drive 1/instance_front/7.png"),
        ("CameraRGB/F1.png", "CameraSeg/F1.png"),
        ("kitchen.jpg", "kitchen_depth.jpg"),
        ("images/0001.jpg", "masks/0001.jpg"),
        ("lit/0001.png", "object_mask/0001.png"),
        ("images/scene_0.png", "images/depthvis_0.png"),
    ],
)
def test_image_named_as_the_label_of_another_one_is_a_label(
    photo: str, label: str, tmp_path: Path, plant: Plant
) -> None:
    plant(tmp_path, photo, label)
    dataset = open_dataset(tmp_path)
    assert [frame.image for frame in dataset.frames()] == [photo]
    assert dict(dataset.files())[label] is Role.LABEL
    assert any("named like labels" in line for line in dataset.warnings())


@pytest.mark.parametrize("paths", [("with_mask/1.jpg", "without_mask/1.jpg"), ("depth/1.jpg", "rgb/2.jpg")])
def test_word_of_labels_alone_makes_no_label_of_a_photo(paths: tuple[str, ...], tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, *paths)
    assert open_dataset(tmp_path).roles()["IMAGE"] == 2


def test_thumbnails_in_hidden_folders_are_no_photos(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "a.jpg", ".thumbnails/normal/1.png", "@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg")
    dataset = open_dataset(tmp_path)
    assert [frame.image for frame in dataset.frames()] == ["a.jpg"]
    assert dataset.roles()["STALE"] == 2


@pytest.mark.parametrize(
    "path",
    [
        "GT/COLOR/0000000.png",
        "gtFine/val/x/x_000000_000019_gtFine_color.png",
        "labels/sem_seg/colormaps/a.png",
        "viz_flow_occ/000000_10.png",
    ],
)
def test_colour_coded_labels_of_known_datasets_are_never_photos(path: str, tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, path, "other.jpg")
    assert [frame.image for frame in open_dataset(tmp_path).frames()] == ["other.jpg"]


def test_labels_alone_are_doubted_by_their_names(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "depth_lcam_front/0.png", "normals/0.png", "views/9.png")
    (warning,) = open_dataset(tmp_path).warnings()
    assert "2 images are taken for photos, though their names suggest labels" in warning
    assert "depth_lcam_front/0.png" in warning
