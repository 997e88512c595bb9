import json
from pathlib import Path

import pytest

from tests.commands import Cli, contents, refused, succeed

TINY = ["--frames", 2, "--size", "64x48", "--workers", 1]


def test_inspect_recognises_a_toytown(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "town"
    assert (
        succeed(cli("toytown", out, *TINY, "--cameras", "0", "--sequences", 2))
        == f"{out}: 4 images of 64x48, look sim\n"
    )
    facts = json.loads(cli("inspect", out, "--json").stdout)
    assert (facts["dataset"], facts["frames"], facts["sequences"]) == ("vkitti2", 4, 2)
    assert facts["sizes"] == {"64x48": 4}
    assert {"segmentation", "depth", "flow", "boxes"} <= facts["labels"].keys()


def test_images_depend_on_seed_and_look_and_labels_only_on_the_seed(cli: Cli, tmp_path: Path) -> None:
    def render(name: str, *options: object) -> dict[str, bytes]:
        succeed(cli("toytown", tmp_path / name, *TINY, "--cameras", "0", *options))
        return contents(tmp_path / name)

    town = render("town", "--seed", 3)
    assert render("again", "--seed", 3) == town
    other, real = render("other", "--seed", 4), render("real", "--seed", 3, "--look", "real")
    image, depth = (
        f"Scene01/clone/frames/{folder}/Camera_0/{stem}_00000.{suffix}"
        for folder, stem, suffix in (("rgb", "rgb", "jpg"), ("depth", "depth", "png"))
    )
    assert other[image] != town[image] != real[image]
    assert other[depth] != town[depth] == real[depth]


def test_a_toytown_without_labels_in_archive_folders(cli: Cli, tmp_path: Path) -> None:
    assert cli("toytown", tmp_path / "town", *TINY, "--no-labels", "--archives").returncode == 0
    assert sorted(contents(tmp_path / "town")) == [
        f"vkitti_2.0.3_rgb/Scene01/clone/frames/rgb/Camera_{camera}/rgb_{frame:05}.jpg"
        for camera in (0, 1)
        for frame in (0, 1)
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "2x2"], "too small"),
        (["--cameras", "left"], "--cameras left: write 0, 1 or 0,1"),
        (["--cameras", "2"], "cameras"),
        (["--look", "cartoon"], "unknown look 'cartoon'"),
        (["--frames", "0"], "frames is 0"),
    ],
)
def test_wrong_options_are_an_error_of_one_line(cli: Cli, tmp_path: Path, options: list[str], message: str) -> None:
    refused(cli("toytown", tmp_path / "town", *options), message)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_empty_is_refused(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    refused(cli("toytown", tmp_path, *TINY), "not an empty folder")
    assert contents(tmp_path) == {"mine.txt": b"mine"}
