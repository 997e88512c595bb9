import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]

TINY = ["--frames", 2, "--size", "64x48", "--workers", 1]


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_dataset_that_inspect_knows(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "town"
    done = cli("toytown", out, *TINY, "--cameras", "0", "--sequences", 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out}: 4 images of 64x48, look sim\n"
    facts = json.loads(cli("inspect", out, "--json").stdout)
    assert (facts["dataset"], facts["frames"], facts["sequences"]) == ("vkitti2", 4, 2)
    assert facts["sizes"] == {"64x48": 4}
    assert {"segmentation", "depth", "flow", "boxes"} <= facts["labels"].keys()


def test_the_seed_and_the_look_decide_what_is_rendered(cli: Cli, tmp_path: Path) -> None:
    def render(name: str, *options: object) -> dict[str, bytes]:
        done = cli("toytown", tmp_path / name, *TINY, "--cameras", "0", *options)
        assert done.returncode == 0, done.stderr
        return files(tmp_path / name)

    town = render("town", "--seed", 3)
    assert render("again", "--seed", 3) == town
    other, real = render("other", "--seed", 4), render("real", "--seed", 3, "--look", "real")
    image, depth = (
        f"Scene01/clone/frames/{folder}/Camera_0/{stem}_00000.{suffix}"
        for folder, stem, suffix in (("rgb", "rgb", "jpg"), ("depth", "depth", "png"))
    )
    assert other[image] != town[image] != real[image]
    assert other[depth] != town[depth] == real[depth]


def test_without_labels_and_in_archive_folders(cli: Cli, tmp_path: Path) -> None:
    assert cli("toytown", tmp_path / "town", *TINY, "--no-labels", "--archives").returncode == 0
    assert sorted(files(tmp_path / "town")) == [
        f"vkitti_2.0.3_rgb/Scene01/clone/frames/rgb/Camera_{camera}/rgb_{frame:05}.jpg"
        for camera in (0, 1)
        for frame in (0, 1)
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--size", "2x2"], "too small"),
        (["--cameras", "left"], "--cameras left: write 0, 1 or 0,1"),
        (["--cameras", "2"], "cameras"),
        (["--look", "cartoon"], "unknown look 'cartoon'"),
        (["--frames", "0"], "frames is 0"),
    ],
)
def test_what_makes_no_sense_is_one_line(cli: Cli, tmp_path: Path, options: list[str], said: str) -> None:
    done = cli("toytown", tmp_path / "town", *options)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = cli("toytown", tmp_path, *TINY)
    assert done.returncode == 1
    assert "not an empty folder" in done.stderr
    assert files(tmp_path) == {"mine.txt": b"mine"}
