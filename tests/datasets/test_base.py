"""The tree of paths: complete, sorted, and safe against what file systems hold."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim2real.datasets import open_dataset
from sim2real.datasets.base import Frame, Tree
from sim2real.errors import DatasetError

Plant = Callable[..., None]

NAMES = st.text(alphabet="aAb0-._ é", min_size=1, max_size=4).filter(
    lambda name: name.strip(".") and not name.startswith("._")
)


@given(paths=st.sets(st.lists(NAMES, min_size=1, max_size=3).map("/".join), max_size=12))
def test_every_file_is_listed_once_in_the_order_of_paths(
    paths: set[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("tree")
    planted = set()
    for path in paths:
        if not (root / path).exists() and not any((root / part).is_file() for part in Path(path).parents):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).touch()
            planted.add(path)
    tree = Tree(root)
    assert list(tree) == sorted(planted)
    assert len(tree) == len(planted)
    assert all(tree.has(path) and tree.at(path) == path for path in planted)
    assert sum(len(tree.names(folder)) for folder in ["", *tree.folders]) == len(planted)
    assert all(tree.place(folder + name) == (folder, place) for folder, place, name in tree.places())


def test_files_are_found_by_whole_path_without_regard_to_case(tmp_path: Path, plant: Plant) -> None:
    paths = ["Cam_0/000001.PNG", "cam_1/000002.png", "cam_1/x.png", "cam_1/deep/000003.png"]
    plant(tmp_path, dict.fromkeys(paths, b""))
    tree = Tree(tmp_path)
    found = list(tree.match(r"cam_(?P<camera>\d)/(?P<frame>\d{6})\.png"))
    assert [(image.path, image["camera"], image["frame"]) for image in found] == [
        ("Cam_0/000001.PNG", "0", "000001"),
        ("cam_1/000002.png", "1", "000002"),
    ]
    assert tree.count(r"cam_\d/.*") == 4
    assert not tree.any(r"\d{6}\.png")
    assert not tree.has("cam_0/000001.png")
    assert tree.at("gone/x") == ""


def test_folders_are_found_by_the_end_of_their_path_even_from_inside(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, {"a/scene1/rgb/0.png": b"", "a/scene1/rgb/1.txt": b"", "a/scene1/notrgb/0.png": b""})
    pattern = r"scene(?P<scene>\d)/rgb", r"(?P<frame>\d)\.png"
    above = [(image.path, image.base, image["scene"], image["frame"]) for image in Tree(tmp_path).find(*pattern)]
    assert above == [("a/scene1/rgb/0.png", "a/", "1", "0")]
    inside = [(image.path, image.base, image["scene"]) for image in Tree(tmp_path / "a/scene1").find(*pattern)]
    assert inside == [("rgb/0.png", "", "1")]
    assert [image.path for image in Tree(tmp_path / "a/scene1/rgb").find(*pattern)] == ["0.png"]


@pytest.mark.parametrize(("root", "depth"), [("", "a/Scene1/depth"), ("a/Scene1", "depth")])
def test_what_lies_beside_a_folder_is_told_from_the_root(root: str, depth: str, tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, {"a/Scene1/rgb/0.png": b"", "a/Scene1/depth/0.png": b""})
    (folder,) = Tree(tmp_path / root).find_folders(r"(?P<scene>scene\d)/(?P<kind>rgb)")
    assert folder.beside("{scene}/depth") == depth
    assert folder.beside("{scene}/{kind}") == folder.path


def test_linked_folders_are_followed_as_often_as_they_are_linked(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, {"store/0.jpg": b"", "data/own.txt": b""})
    (tmp_path / "data/image_2").symlink_to(tmp_path / "store")
    (tmp_path / "data/image_3").symlink_to(tmp_path / "store")
    (tmp_path / "data/own.jpg").symlink_to(tmp_path / "store/0.jpg")
    assert list(Tree(tmp_path / "data")) == ["image_2/0.jpg", "image_3/0.jpg", "own.jpg", "own.txt"]


def test_rings_of_links_and_links_to_nowhere_are_told_not_walked(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, {"a/x": b"", "b/y": b""})
    (tmp_path / "a/self").symlink_to(tmp_path)
    (tmp_path / "a/to_b").symlink_to(tmp_path / "b")
    (tmp_path / "b/to_a").symlink_to(tmp_path / "a")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    tree = Tree(tmp_path)
    assert list(tree) == ["a/to_b/y", "a/x", "b/to_a/x", "b/y"]
    assert {"a/self", "gone", "pipe"} <= set(tree.broken)


def test_state_of_the_tool_is_no_part_of_a_dataset_and_hidden_files_are(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, {".sim2real/manifest.jsonl": b"", ".hidden": b"", "a/.sim2real/x": b"", "b.jpg": b""})
    assert list(Tree(tmp_path)) == [".hidden", "b.jpg"]


def test_missing_folder_and_file_are_errors_that_name_them(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="gone: no such folder"):
        Tree(tmp_path / "gone")
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match="file: is a file"):
        open_dataset(tmp_path / "file")


def test_frame_leaves_empty_labels_out_and_knows_when_it_has_no_dataset() -> None:
    frame = Frame("a.png", labels={"depth": "", "boxes": "b.txt"})
    assert frame.labels == {"boxes": "b.txt"}
    with pytest.raises(DatasetError, match="belongs to no open dataset"):
        frame.load_image()


def test_what_macos_leaves_beside_files_is_neither_image_nor_label(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "JPEGImages/a.jpg", {"Annotations/a.xml": "<annotation/>", "JPEGImages/.hidden.txt": "x"})
    plant(tmp_path, {"JPEGImages/._a.jpg": b"\0\5\x16\7", "Annotations/._a.xml": b"\0\5\x16\7", "._JPEGImages": b""})
    plant(tmp_path, {"__MACOSX/JPEGImages/._a.jpg": b"\0\5\x16\7", "__MACOSX/JPEGImages/b.jpg": b""})
    dataset = open_dataset(tmp_path)
    assert [frame.image for frame in dataset.frames()] == ["JPEGImages/a.jpg"]
    assert list(dataset.tree) == ["Annotations/a.xml", "JPEGImages/.hidden.txt", "JPEGImages/a.jpg"]
    assert any(line.startswith("4 files and folders that macOS has left") for line in dataset.warnings())
