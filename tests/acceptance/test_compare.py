"""A newcomer's first question: which recipe suits my frames?"""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def sides(tmp_path: Path, paint: Callable[..., Path]) -> list[Path]:
    return [paint(tmp_path / "sim", 40, size=(64, 48), seed=1), paint(tmp_path / "real", 40, size=(64, 48), seed=2)]


def test_recipes_are_tried_on_the_same_frames_and_one_is_named(cli: Cli, sides: list[Path], tmp_path: Path) -> None:
    named = "reinhard,pixel-distribution"
    words = ("compare", *sides, "--out", tmp_path / "tried", "--recipes", named, "--frames", "10")
    done = cli(*words, "--device", "cpu", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {result["recipe"] for result in found["results"]} == {"reinhard", "pixel-distribution"}
    assert found["frames"] == 10
    converted = [
        sorted(path.name for path in (tmp_path / f"tried/recipes/{name}/converted").glob("*.png"))
        for name in ("reinhard", "pixel-distribution")
    ]
    assert converted[0] == converted[1]
    assert len(converted[0]) == 10
    for result in found["results"]:
        assert result["verdict"] in {"PASS", "WARN", "FAIL"}
        assert result["by_metric"]
        assert result["training_seconds"] > 0
        assert result["frame_seconds"] > 0
    assert (tmp_path / "tried/compare.png").is_file()

    (tmp_path / "tried/recipes/reinhard/result.json").unlink()  # as if it had been killed there
    again = cli(*words, "--device", "cpu")
    assert again.returncode == 0, again.stderr
    assert "reinhard" in again.stdout
    assert "take " in again.stdout
    assert "pixel-distribution: steps" not in again.stderr


def _some(source: Path, count: int, folder: Path) -> Path:
    folder.mkdir()
    for image in sorted(source.iterdir())[:count]:
        (folder / image.name).write_bytes(image.read_bytes())
    return folder


def test_what_cannot_be_compared_is_said(cli: Cli, sides: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "tried"

    def refused(*words: object) -> str:
        done = cli("compare", *words, "--device", "cpu")
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        return done.stderr

    assert "--budget 10m" in refused(*sides, "--out", out, "--recipes", "grid")
    assert "nowhere" in refused(tmp_path / "nowhere", sides[1], "--out", out)
    assert not out.exists()  # and the right command finds the place free
    assert "grid" in refused(*sides, "--out", out, "--recipes", "gird")
    assert "images" in refused(_some(sides[0], 1, tmp_path / "few"), sides[1], "--out", out)
    assert not (out / "comparison.json").exists()
    assert cli("compare", *sides, "--out", out, "--recipes", "reinhard", "--no-camera").returncode == 0
    assert "name another --out" in refused(*reversed(sides), "--out", out)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    assert "not empty" in refused(*sides, "--out", tmp_path / "mine")
    assert cli("compare", *sides, "--budget", "soon").returncode == 2


@pytest.mark.slow
def test_with_a_budget_others_are_trained(cli: Cli, sides: list[Path], tmp_path: Path) -> None:
    words = ("compare", *sides, "--out", tmp_path / "tried", "--recipes", "reinhard,grid", "--no-camera")
    done = cli(*words, "--budget", "60s", "--device", "cpu", "--json")
    assert done.returncode == 0, done.stderr
    found = {result["recipe"]: result for result in json.loads(done.stdout)["results"]}
    assert found["grid"]["steps"] >= 20
    assert found["grid"]["verdict"] != "none"
