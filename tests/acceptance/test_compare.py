"""``compare``, as a user runs it: which recipe suits these frames?"""

import json
from pathlib import Path

import pytest

from tests.commands import Cli, Write, refused, succeed


@pytest.fixture
def sides(tmp_path: Path, paint: Write) -> list[Path]:
    return [paint(tmp_path / "sim", 40, size=(64, 48), seed=1), paint(tmp_path / "real", 40, size=(64, 48), seed=2)]


def test_recipes_are_compared_on_the_same_frames_and_one_is_recommended(
    cli: Cli, sides: list[Path], tmp_path: Path
) -> None:
    named = "reinhard,pixel-distribution"
    command = ("compare", *sides, "--out", tmp_path / "tried", "--recipes", named, "--frames", "10")
    found = json.loads(succeed(cli(*command, "--device", "cpu", "--json")))
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

    (tmp_path / "tried/recipes/reinhard/result.json").unlink()  # as after a kill
    again = cli(*command, "--device", "cpu")
    assert again.returncode == 0, again.stderr
    assert "reinhard" in again.stdout
    assert "take " in again.stdout
    assert "pixel-distribution: steps" not in again.stderr


def first(source: Path, count: int, folder: Path) -> Path:
    folder.mkdir()
    for image in sorted(source.iterdir())[:count]:
        (folder / image.name).write_bytes(image.read_bytes())
    return folder


def test_wrong_arguments_are_an_error_of_one_line(cli: Cli, sides: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "tried"

    def error(*args: object) -> str:
        return refused(cli("compare", *args, "--device", "cpu"))

    assert "--budget 10m" in error(*sides, "--out", out, "--recipes", "grid")
    assert "nowhere" in error(tmp_path / "nowhere", sides[1], "--out", out)
    assert not out.exists()  # and is free for the right command
    assert "grid" in error(*sides, "--out", out, "--recipes", "gird")
    assert "images" in error(first(sides[0], 1, tmp_path / "few"), sides[1], "--out", out)
    assert not (out / "comparison.json").exists()
    assert cli("compare", *sides, "--out", out, "--recipes", "reinhard", "--no-camera").returncode == 0
    assert "name another --out" in error(*reversed(sides), "--out", out)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    assert "not empty" in error(*sides, "--out", tmp_path / "mine")
    assert cli("compare", *sides, "--budget", "soon").returncode == 2


@pytest.mark.slow
def test_a_budget_allows_recipes_with_networks(cli: Cli, sides: list[Path], tmp_path: Path) -> None:
    command = ("compare", *sides, "--out", tmp_path / "tried", "--recipes", "reinhard,grid", "--no-camera")
    results = json.loads(succeed(cli(*command, "--budget", "60s", "--device", "cpu", "--json")))["results"]
    found = {result["recipe"]: result for result in results}
    assert found["grid"]["steps"] >= 20
    assert found["grid"]["verdict"] != "none"
