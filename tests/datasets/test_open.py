"""Opening a dataset: recognised by exactly its rule, complete, and clear about what it cannot do."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

from sim2real.datasets import Frame, Role, open_dataset
from sim2real.errors import DatasetError, UnknownNameError
from sim2real.imageio import encode_jpeg, encode_png
from sim2real.registry import registry

Grow = Callable[..., Path]
Plant = Callable[..., None]

NAMING = {
    "airsim",
    "coco",
    "createml",
    "cvat",
    "hypersim",
    "nuimages",
    "nuscenes",
    "replicator-coco",
    "unity-perception",
    "unity-solo",
}
NAMES = [entry.name for entry in registry().entries("datasets") if entry.owner == "sim2real"]


def test_each_layout_is_recognised_by_its_rule_alone(layout: tuple[str, Path]) -> None:
    name, root = layout
    dataset = open_dataset(root)
    assert dataset.name == name
    assert dataset.match.images == sum(1 for _ in dataset.frames())
    accepted = {entry for entry in NAMES if registry().load("datasets", entry).recognise(dataset.tree)}
    assert accepted == {name, "images"}  # the last resort takes all


def test_every_layout_that_ships_has_a_tree_to_be_tested_on(layouts: list[str]) -> None:
    assert sorted(layouts) == sorted(NAMES)


@pytest.mark.parametrize("nesting", ["", "a/b c"])
def test_every_file_has_one_role_wherever_the_dataset_lies(
    layout: tuple[str, Path], nesting: str, tmp_path: Path
) -> None:
    name, root = layout
    if nesting:
        (tmp_path / "outer" / nesting).parent.mkdir(parents=True)
        shutil.move(root, tmp_path / "outer" / nesting)
        root = tmp_path / "outer"
    dataset = open_dataset(root)
    assert dataset.name == name
    files = dict(dataset.files())
    on_disk = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    assert list(files) == on_disk
    frames = list(dataset.frames())
    assert {frame.image for frame in frames} == {path for path, role in files.items() if role is Role.IMAGE}
    assert all(files[label] is Role.LABEL for frame in frames for label in frame.labels.values())
    assert sum(dataset.roles().values()) == len(on_disk)
    assert list(dataset.roles()) == ["IMAGE", "LABEL", "AUX", "PSEUDO", "STALE"]


def test_copy_whose_photos_have_another_suffix_keeps_its_labels(layout: tuple[str, Path]) -> None:
    name, root = layout
    dataset = open_dataset(root)
    frames = list(dataset.frames())
    if name in NAMING:
        pytest.skip("the names of its images are written down, or tell what they are")
    for frame in frames:
        photo, pixels = root / frame.image, frame.load_image()
        photo.unlink()
        to_png = photo.suffix.lower() != ".png"
        photo.with_suffix(".png" if to_png else ".jpg").write_bytes((encode_png if to_png else encode_jpeg)(pixels))
    copy = open_dataset(root)
    assert copy.name == name
    assert [frame.labels.keys() for frame in copy.frames()] == [frame.labels.keys() for frame in frames]


def test_every_frame_and_every_label_can_be_loaded(layout: tuple[str, Path]) -> None:
    _, root = layout
    for frame in open_dataset(root).frames():
        assert frame.load_image().shape == (24, 32, 3)
        for kind in frame.labels:
            frame.load_label(kind)
        with pytest.raises(DatasetError, match="no label 'taste'"):
            frame.load_label("taste")


def test_a_link_to_a_dataset_shows_the_same_dataset(layout: tuple[str, Path], tmp_path: Path) -> None:
    name, root = layout
    (tmp_path / "a link").symlink_to(root)
    linked = open_dataset(tmp_path / "a link")
    assert linked.name == name
    assert list(linked.frames()) == list(open_dataset(root).frames())
    for frame in linked.frames():
        for kind in frame.labels:
            frame.load_label(kind)


def test_opened_dataset_passes_to_another_process(layout: tuple[str, Path]) -> None:
    frame = next(open_dataset(layout[1]).frames())
    again: Frame = pickle.loads(pickle.dumps(frame))
    assert again == frame
    assert np.array_equal(again.load_image(), frame.load_image())


def test_frames_are_chosen_by_globs_in_which_a_star_crosses_folders(grow: Grow) -> None:
    root = grow("vkitti2")
    grow("vkitti2", variation="fog")
    dataset = open_dataset(root)

    def chosen(include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> int:
        return sum(1 for _ in dataset.frames(include=include, exclude=exclude))

    assert chosen() == 12
    assert chosen(include=("*/clone/*",)) == 6
    assert chosen(exclude=("*/clone/*",)) == 6
    assert chosen(include=("*/clone/*", "*/fog/*"), exclude=("*Camera_1*",)) == 6
    assert chosen(include=("clone",)) == 0
    assert dataset.roles()["IMAGE"] == 12


def test_folder_without_images_says_what_to_do(tmp_path: Path, plant: Plant) -> None:
    with pytest.raises(DatasetError, match="no image found"):
        open_dataset(tmp_path)
    plant(tmp_path, {"vkitti_2.0.3_rgb.tar": b"x"})
    with pytest.raises(DatasetError, match=r"no image found; vkitti_2\.0\.3_rgb\.tar: an archive; unpack it"):
        open_dataset(tmp_path)


def test_named_layout_overrides_recognition(grow: Grow) -> None:
    dataset = open_dataset(grow("vkitti2"), "images")
    assert dataset.name == "images"
    assert dataset.roles()["LABEL"] > 0  # what is told by its header
    with pytest.raises(DatasetError, match="no frame in the layout of 'kitti-raw'"):
        open_dataset(dataset.root, "kitti-raw")
    with pytest.raises(UnknownNameError, match="did you mean vkitti2"):
        open_dataset(dataset.root, "vkitty2")


def test_named_layout_works_without_its_second_fact(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "training/image_2/000000.png")
    assert open_dataset(tmp_path).name == "images"
    dataset = open_dataset(tmp_path, "kitti-object")
    assert (dataset.match.images, dataset.match.rule) == (1, "named by the user")


def test_images_that_belong_to_no_frame_are_told(grow: Grow, plant: Plant) -> None:
    root = grow("kitti-raw")
    plant(root, "thumbnail.jpg")
    assert any("3 images are not frames of this layout" in line for line in open_dataset(root).warnings())


def test_labels_of_another_size_than_their_image_are_told(grow: Grow, plant: Plant) -> None:
    root = grow("kitti-semantics")
    assert not any("do not fit" in line for line in open_dataset(root).warnings())
    plant(root, {"training/semantic/000001_10.png": np.zeros((25, 32), np.uint8)})
    assert any(
        "do not fit" in line and "000001_10.png is 32x25" in line and "32x24" in line
        for line in open_dataset(root).warnings()
    )


def test_links_to_nowhere_are_told(grow: Grow) -> None:
    root = grow("images")
    (root / "lost.png").symlink_to(root / "gone.png")
    assert any("lost.png" in line for line in open_dataset(root).warnings())


ACME = """
from sim2real import hookimpl

@hookimpl
def register_datasets(register):
    register("acme", "{target}", summary="Acme")
"""
ADAPTER = """
from sim2real.datasets.base import Frame, Match

class Acme:
    name = "acme"
    def __init__(self, root):
        self.root = root
    @classmethod
    def recognise(cls, tree):
        return Match("one.jpg", 1) if tree.has("one.jpg") else None
    def frames(self, tree):
        yield Frame("one.jpg", labels={"depth": tree.at("three.png")})
    def load_label(self, frame, kind):
        raise NotImplementedError
"""


def test_installed_plugin_is_asked_before_what_ships(
    grow: Grow, install: Callable[..., None], site: Path, cli: Callable[..., CompletedProcess[str]]
) -> None:
    install("acme", ACME.format(target="plugin_acme:Acme") + ADAPTER)
    shown = cli("inspect", grow("images"), "--json", path=site)
    assert '"acme"' in shown.stdout, shown.stderr
    assert '"LABEL": 1' in shown.stdout
    assert "(plugin acme)" in cli("datasets", path=site).stdout


def test_plugin_that_fails_is_left_out_and_told(
    grow: Grow, install: Callable[..., None], site: Path, cli: Callable[..., CompletedProcess[str]]
) -> None:
    install("acme", ACME.format(target="not_there:Acme"))
    shown = cli("inspect", grow("images"), "--json", path=site)
    assert '"images"' in shown.stdout, shown.stderr
    assert "not_there" in shown.stdout
