"""The benchmarks still run, and what they compare with does the same work."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.convert import convert_plainly, plain_generator, write_model, write_pictures
from benchmarks.downstream import picture as drawing
from benchmarks.downstream import run, tables
from benchmarks.downstream.learner import average_precision, mean_iou
from benchmarks.downstream.rows import VARIATIONS
from benchmarks.downstream.tables import CHOSEN, by_row, gap
from benchmarks.downstream.tasks import IGNORED, TASKS
from benchmarks.plain import ReferenceCycleGAN, Vkitti2Kitti
from sim2real.config import resolve
from sim2real.conversion import ConvertOptions, convert
from sim2real.imageio import read_rgb
from sim2real.methods.base import Batch
from sim2real.training.setup import build_method

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("script", "rows"),
    [
        ("cli", ["| sim2real --help ", "| python -c 'import torch' "]),
        ("listing", ["| os.walk ", "| files and roles ", "400 IMAGE, 1700 LABEL, 100 AUX", "| kitti-raw | "]),
        pytest.param(
            "train",
            ["| vkitti2kitti 256x64 ", "| cyclegan 64x64 ", "sim2real fp32", "compiled"],
            marks=pytest.mark.slow,
        ),
        pytest.param("distil", ["| guided teacher ", "| student "], marks=pytest.mark.slow),
        ("scale", ["| convert, again ", "1200 done before", "0 problems", "| listing "]),
        ("loading", ["| Pillow and torchvision, 0 workers ", "| sim2real, cache, 2 workers "]),
        ("validation", ["| identity ", "| trees in the sky ", "| a validation "]),
        pytest.param(
            "preservation",
            ["| identity ", "| vehicles faded ", "| the town's own real look "],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "photos", ["| texture coordinates ", "| overexposed ", "| MNIST-M, 28x28 "], marks=pytest.mark.slow
        ),
        ("convert --sizes", ["| default, direct ", "| combined, guided ", "| cyclegan, plain ", "128x64 | "]),
        ("convert", ["| vkitti2kitti, JPG ", "| vkitti2kitti, PNG ", "| cyclegan, JPG ", "| cyclegan, PNG "]),
    ],
)
def test_a_benchmark_prints_its_table(script: str, rows: list[str]) -> None:
    if script == "photos" and "SIM2REAL_TEST_DATA" not in os.environ:
        pytest.skip("SIM2REAL_TEST_DATA does not name the folder of the real samples")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    name, *more = script.split()
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), "--quick", *more]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    for row in rows:
        assert row in done.stdout


@pytest.mark.parametrize("recipe", ["vkitti2kitti", "cyclegan"])
def test_the_plain_loop_makes_the_same_pictures(tmp_path: Path, recipe: str) -> None:
    source = write_pictures(tmp_path / "png", (70, 45), 2)
    model = write_model(tmp_path / "model.safetensors", recipe, width=4)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    convert(source, ours, ConvertOptions(model=model, device="cpu", precision="fp32"))
    theirs.mkdir()
    convert_plainly(recipe, plain_generator(recipe, 4, model), sorted(source.iterdir()), theirs)
    for picture in source.iterdir():
        pictures = [read_rgb(folder / picture.name).astype(int) for folder in (source, ours, theirs)]
        assert abs(pictures[1] - pictures[2]).max() <= 1
        assert abs(pictures[1] - pictures[0]).max() > 1


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("recipe", ["vkitti2kitti", "vkitti2kitti lean", "cyclegan"])
def test_the_plain_loop_takes_the_same_steps(recipe: str, images: int) -> None:
    recipe, _, lean = recipe.partition(" ")
    width, size, scale = 4, (64, 32), 0.5 if recipe == "vkitti2kitti" else 1.0
    widths = [f"{network}.options.width={width}" for network in ("generator", "discriminator")]
    torch.manual_seed(1)
    ours = build_method(resolve(recipe, sets=[f"data.size={list(size)}", *widths]), "cpu", "fp32")
    plain = Vkitti2Kitti(size, width, "cpu") if recipe == "vkitti2kitti" else ReferenceCycleGAN(width, "cpu")
    for name, network in ours.networks.items():
        for theirs, own in zip(getattr(plain, name).parameters(), network.parameters(), strict=True):
            theirs.data.copy_(own.data)
    step = plain.lean_step if lean and isinstance(plain, Vkitti2Kitti) else plain.step
    for _ in range(3):
        sim, real = torch.rand(2, images, 3, size[1], size[0]).mul(2).sub(1)
        expected = {name: loss.item() for name, loss in ours.step(Batch(sim, real)).losses.items()}
        assert {name: loss.item() for name, loss in step(scale * sim, scale * real).items()} == pytest.approx(
            expected, rel=1e-3
        )


@pytest.mark.parametrize("task", list(TASKS))
def test_a_downstream_task_is_trained_tested_and_not_done_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], task: str
) -> None:
    if TASKS[task].needs_files and not os.environ.get("SIM2REAL_TEST_DATA"):
        pytest.skip("SIM2REAL_TEST_DATA is not set")
    names = ["source", "reinhard", "patch-alone", "vkitti2kitti", "vkitti2kitti+augmentation", "real"]
    kept = ["--budget", "quick", "--results", str(tmp_path / "results.jsonl")]
    of_task = [*kept, "--work", str(tmp_path / "work"), "--task", task]
    run.main([*of_task, "--rows", ",".join(names), "--seeds", "0"])
    lines = run.read_results(tmp_path / "results.jsonl")
    assert [line["row"] for line in lines] == names
    assert all(0 <= line["score"] <= 1 for line in lines)
    used = [line["translation"] for line in lines if line["row"].startswith("vkitti2kitti")]
    assert used[0] == used[1]

    capsys.readouterr()
    run.main([*of_task, "--rows", ",".join(names), "--seeds", "0"])
    assert capsys.readouterr().out == ""
    assert run.read_results(tmp_path / "results.jsonl") == lines

    tables.main(kept)
    printed = capsys.readouterr().out
    assert all(f"| {name} " in printed for name in names if "+" not in name)
    drawing.main([*of_task, "--rows", "patch-alone,vkitti2kitti", "--out", str(tmp_path / "picture.png")])
    assert read_rgb(tmp_path / "picture.png").std() > 1


def test_the_variation_is_chosen_by_held_out_images_and_not_by_the_test() -> None:
    held_out = dict(zip(VARIATIONS, (0.9, 0.7, 0.8, 0.85, 10.0), strict=True))
    results = [
        {"row": name, "seed": 0, "score": 1 - score / 20, "translation": {"held_out": {"score": score}}}
        for name, score in held_out.items()
    ]
    results[0]["score"] = 0.99
    assert by_row(results)[CHOSEN][0] is results[1]
    assert CHOSEN not in by_row(results[:-1])


def test_the_gap_is_that_of_each_seed() -> None:
    scores = {"source": (0.2, 0.4), "halfway": (0.5, 0.7), "real": (0.8, 1.0)}
    rows = {name: {seed: {"score": score} for seed, score in enumerate(of_name)} for name, of_name in scores.items()}
    assert gap(rows["halfway"], rows) == "50 ± 0"
    assert gap(rows["source"], rows) == gap(rows["real"], rows) == ""


def test_metrics_of_tasks_leave_out_what_has_no_label() -> None:
    labels = np.array([[[0, 0, 1, IGNORED]]])
    scores = np.array([[[[1, 0, 0, 0]], [[0, 1, 1, 1]]]], np.float32)
    assert mean_iou(scores, labels)[1] == {0: 0.5, 1: 0.5}
    ranked = np.array([[[[0, 0, 0, 0]], [[0.9, 0.1, 0.5, 2.0]]]], np.float32)
    assert average_precision(ranked, labels)[0] == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([], ""),
        ([1.0, 3.0], "+2.0"),
        ([3.0, 3.2, 2.8, 3.1, 2.9], "+3.0 ± 0.2 better"),
        ([-3.0, -3.2, -2.8, -3.1, -2.9], "-3.0 ± 0.2 worse"),
        ([3.0, -2.0, 4.0], "+1.7 ± 8.0 within the spread"),
    ],
)
def test_a_difference_is_one_where_it_exceeds_the_spread_over_paired_seeds(steps: list[float], told: str) -> None:
    assert tables.difference(steps) == told


def test_differences_are_paired_by_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = {"task": "toytown", "budget": "cpu", "metric": "mIoU", "tested": 1}
    file = tmp_path / "results.jsonl"
    for row, scores in {"source": (0.3, 0.5, 0.7), "grid": (0.4, 0.6, 0.8)}.items():
        for seed, score in enumerate(scores):
            run.write_result(file, {**common, "row": row, "seed": seed, "score": score})
    tables.main(["--results", str(file), "--against", "source"])
    assert "+10.0 ± 0.0 better" in capsys.readouterr().out


def test_the_summary_has_of_each_row_the_better_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "results.jsonl"
    scores = {"source": 0.3, "source+augmentation": 0.5, "grid": 0.8, "grid+augmentation": 0.7, "real": 0.9}
    for row, score in scores.items():
        for seed in range(3):
            line = {"task": "toytown", "budget": "cpu", "metric": "mIoU", "tested": 1, "row": row, "seed": seed}
            run.write_result(file, {**line, "score": score + 0.01 * seed})
    line = {"task": "toytown", "metric": "mIoU", "tested": 1, "row": "source", "seed": 0}
    run.write_result(file, {**line, "budget": "steady", "score": 0.4})  # alone, it does not replace a whole line
    for row, seeds in (("textured", 3), ("textured x5", 3), ("textured x5+augmentation", 2)):
        for seed in range(seeds):
            line = {"task": "toytown", "budget": "cpu", "metric": "mIoU", "tested": 1, "row": row, "seed": seed}
            run.write_result(
                file, {**line, "score": 0.5 + 0.1 * len(row.split("x5")) + 0.01 * seed + 0.1 * (seeds < 3)}
            )
    for seed in range(2):  # these go first
        line = {"task": "signs", "metric": "accuracy", "tested": 1, "row": "grid+augmentation", "seed": seed}
        run.write_result(file, {**line, "budget": "cpu", "score": 0.1})
        run.write_result(file, {**line, "budget": "steady", "score": 0.6})
    for seed, score in enumerate((0.3, 0.5, 0.4)):  # so unsteady that it could tell nothing
        line = {"task": "carla-camvid", "budget": "cpu", "metric": "average precision", "tested": 1, "row": "source"}
        run.write_result(file, {**line, "seed": seed, "score": score})
    tables.main(["--results", str(file), "--summary"])
    printed = capsys.readouterr().out
    assert "| carla-camvid" not in printed
    assert "more than 3 points between seeds: carla-camvid (10.0)." in printed
    lines = (re.split(r" *\| *", line) for line in printed.splitlines())
    rows = {cells[1]: cells[2:] for cells in lines if len(cells) > 1}
    assert rows["toytown"][:4] == ["31.0 ± 1.0 (3)", "51.0 ± 1.0 (3)", "", "81.0 ± 1.0 (3)"]
    assert rows["toytown"][4:8] == ["71.0 ± 1.0 x5 (3)", "", "", "91.0 ± 1.0 (3)"]
    assert rows["signs"][3] == "60.0 ± 0.0 a (2)"


def test_the_table_of_the_readme_is_that_of_the_results(tmp_path: Path) -> None:
    page = shutil.copyfile(ROOT / "README.md", tmp_path / "README.md")
    tables.main(["--summary", "--into", str(page)])
    assert page.read_text("utf-8") == (ROOT / "README.md").read_text("utf-8")


def gpu(out: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop("SIM2REAL_TEST_DATA", None)
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--quick", "--out", out, *arguments]
    return subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True, timeout=280)


def test_the_benchmark_of_gpus_resumes_by_part_and_says_what_is_missing(tmp_path: Path) -> None:
    done = gpu(tmp_path, "--parts", "machine,memory,codecs,town")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "failed: none; missing: tests, training, conversion, synchronisation, exactness, several, town" in done.stdout
    )
    page = (tmp_path / "gpu.md").read_text()
    assert "| 4 converted | as planned |" in page
    assert "missing: SIM2REAL_TEST_DATA names no folder" in page
    assert "| decode 96x64 |" in page
    before = (tmp_path / "memory.json").read_bytes()
    (tmp_path / "machine.json").write_text('{"error": "killed"}')
    done = gpu(tmp_path, "--parts", "machine,memory")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "memory.json").read_bytes() == before
    assert "killed" not in (tmp_path / "gpu.md").read_text()
    assert "no part is called 'x'" in gpu(tmp_path, "--parts", "x").stderr


@pytest.mark.slow
def test_the_benchmark_of_gpus_runs_whole_on_a_cpu(tmp_path: Path) -> None:
    done = gpu(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr + (tmp_path / "gpu.md").read_text()
