"""The evaluation of a small town and of what becomes of it."""

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sim2real.conversion import ConvertOptions, convert
from sim2real.datasets import open_dataset
from sim2real.errors import SettingsError, Sim2RealError, UnknownNameError
from sim2real.evaluation import evaluator
from sim2real.evaluation.evaluator import EvaluateOptions, evaluate
from sim2real.evaluation.figures import Evaluation, Figure, frames_path, read_evaluation
from sim2real.evaluation.table import copy_frames
from sim2real.files import write_whole
from sim2real.imageio import encode_jpeg
from sim2real.metrics.base import Image
from sim2real_toytown import render_dataset

QUICK = EvaluateOptions(metrics=("colour", "edges", "structure"), segmenter_steps=0, device="cpu")
Alter = Callable[[Image, int], Image]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``sim`` and ``real``, 32 frames each."""
    root = tmp_path_factory.mktemp("town")
    render_dataset(root / "sim", frames=16, size=(160, 48), seed=1, sequences=2, cameras=(0,))
    render_dataset(root / "real", frames=16, size=(160, 48), seed=7, sequences=2, cameras=(0,), look="real")
    return root


@pytest.fixture
def altered(town: Path, tmp_path: Path) -> Callable[[Alter], Path]:
    """What another tool makes of the frames: ``altered(image, index)``."""

    def write(alter: Alter) -> Path:
        out = tmp_path / "out"
        for number, frame in enumerate(open_dataset(town / "sim").frames()):
            (out / frame.image).parent.mkdir(parents=True, exist_ok=True)
            write_whole(out / frame.image, encode_jpeg(alter(frame.load_image(), number)))
        return out

    return write


def same(image: Image, _number: int) -> Image:
    return image


def toned(image: Image, _number: int) -> Image:
    return np.rint(255 * (image / 255) ** 1.2 * [1, 0.95, 0.9]).astype(np.uint8)


def mirrored(image: Image, _number: int) -> Image:
    return np.ascontiguousarray(image[:, ::-1])


def with_a_tree_in_the_sky(image: Image, number: int) -> Image:
    if number % 4:
        return image
    return np.asarray(cv2.ellipse(image.copy(), (30 + 3 * number, 6), (12, 5), 0, 0, 360, (20, 60, 10), -1), np.uint8)


def by_name(found: Evaluation) -> dict[str, Figure]:
    return {figure.name: figure for figure in found.figures if not figure.label}


def rows(out: Path) -> list[dict[str, str]]:
    with frames_path(out).open(newline="") as file:
        return list(csv.DictReader(file))


def run(town: Path, out: Path, **options: Any) -> Evaluation:
    return evaluate(out, town / "real", source=town / "sim", options=replace(QUICK, **options))


@pytest.mark.parametrize("alter", [same, toned])
def test_a_mere_change_of_appearance_does_not_fail(town: Path, altered: Callable[[Alter], Path], alter: Alter) -> None:
    found = run(town, altered(alter), metrics=("colour", "edges", "structure", "contrast"))
    assert found.verdict != "FAIL", found.reasons
    assert not found.alarms


@pytest.mark.parametrize("quality", [95, 50])
def test_frames_that_were_only_written_again_are_called_unchanged_first(
    town: Path, tmp_path: Path, quality: int
) -> None:
    for frame in open_dataset(town / "sim").frames():
        (tmp_path / frame.image).parent.mkdir(parents=True, exist_ok=True)
        write_whole(tmp_path / frame.image, encode_jpeg(frame.load_image(), quality=quality))
    found = run(town, tmp_path, segmenter_steps=2)
    assert found.verdict == "WARN"
    assert found.reasons[0].startswith("nothing changed: frames differ from their source by ")
    assert len(found.reasons) == 1  # whatever a segmenter of two steps says


def test_a_region_that_was_changed_is_a_change(town: Path, altered: Callable[[Alter], Path]) -> None:
    def with_a_spot(image: Image, _number: int) -> Image:
        spotted = image.copy()
        spotted[8:20, 8:20] = 255 - spotted[8:20, 8:20]
        return spotted

    reasons = run(town, altered(with_a_spot)).reasons
    assert not any("nothing changed" in reason for reason in reasons)


def test_a_mirrored_dataset_fails(town: Path, altered: Callable[[Alter], Path]) -> None:
    found = run(town, altered(mirrored))
    assert found.verdict == "FAIL"
    assert found.reasons[0].startswith("new_edges")
    assert all(len(alarm.frames) >= 24 for alarm in found.alarms)


def test_single_negatives_are_listed_although_the_mean_is_good(town: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "sim", tmp_path / "out"
    render_dataset(source, frames=6, size=(96, 64), cameras=(0,))
    frames = list(open_dataset(source).frames())
    for number, frame in enumerate(frames):
        (out / frame.image).parent.mkdir(parents=True, exist_ok=True)
        pixels = frame.load_image()
        write_whole(out / frame.image, encode_jpeg(255 - pixels if number == 2 else pixels))
    found = evaluate(out, town / "real", source=source, options=replace(QUICK, metrics=("artefacts",)))
    assert (by_name(found)["inverted"].after or 0) < 0.25
    assert [(alarm.text, alarm.frames) for alarm in found.alarms] == [
        ("light and dark swapped (inverted above 0.5)", (frames[2].image,))
    ]
    assert any("light and dark swapped" in reason for reason in found.reasons)


def test_trees_in_the_sky_are_listed_frame_by_frame_the_worst_first(
    town: Path, altered: Callable[[Alter], Path]
) -> None:
    out = altered(with_a_tree_in_the_sky)
    found = run(town, out)
    assert found.verdict != "PASS"
    (alarm,) = (alarm for alarm in found.alarms if "sky" in alarm.text)
    assert any(alarm.text in reason for reason in found.reasons)
    planted = {frame.image for number, frame in enumerate(open_dataset(town / "sim").frames()) if number % 4 == 0}
    assert set(alarm.frames) <= planted
    assert len(alarm.frames) >= len(planted) / 2
    invented = {row["path"]: float(row["invented"]) for row in rows(out) if row["invented"]}
    assert list(alarm.frames) == sorted(alarm.frames, key=lambda path: -invented[path])


def test_what_looks_as_real_pictures_do_is_surely_nearer_to_them(town: Path, altered: Callable[[Alter], Path]) -> None:
    real = [frame.load_image() for frame in open_dataset(town / "real").frames()]
    found = run(town, altered(lambda _image, number: real[number % len(real)]), metrics=("colour",))
    colour = by_name(found)["colour"]
    assert colour.after is not None
    assert colour.before is not None
    assert colour.floor is not None
    assert colour.after < 2 * colour.floor < 0.5 * colour.before
    assert colour.change is not None
    assert colour.change[1] < 0
    assert colour.count == 16
    assert any("no metric was measured that shows whether labels" in reason for reason in found.reasons)


def test_what_is_found_is_kept_with_the_conversion(town: Path, altered: Callable[[Alter], Path]) -> None:
    out = altered(toned)
    found = run(town, out, count=10)
    kept = read_evaluation(out)
    assert kept == found
    assert kept.timings == found.timings
    assert {"listing", "real", "frames", "colour compared", "metric colour", "metric edges"} <= found.timings.keys()
    assert all(Path(picture).is_relative_to(town / "real") for picture in found.pictures)
    assert len(set(found.pictures)) == 10
    assert found.counts == {"frames": 32, "evaluated": 10, "real": 10, "rejected": 0, "missing": 0}
    assert found.settings["metrics"].keys() == {"colour", "edges", "structure"}
    table = rows(out)
    edges = [float(row["new_edges"]) for row in table if row["new_edges"]]
    assert len(edges) == 10
    assert by_name(found)["new_edges"].after == pytest.approx(np.mean(edges), abs=1e-6)
    assert {row["status"] for row in table} == {"converted"}


def test_equal_seeds_give_equal_evaluations(town: Path, altered: Callable[[Alter], Path]) -> None:
    out = altered(toned)
    first, again, other = (run(town, out, metrics=("sliced-wasserstein", "edges"), seed=seed) for seed in (0, 0, 1))
    assert first == again  # but for what they took
    assert by_name(first)["sliced-wasserstein"] != by_name(other)["sliced-wasserstein"]


def test_frames_that_are_not_there_or_damaged_are_told(town: Path, altered: Callable[[Alter], Path]) -> None:
    out = altered(toned)
    paths = [frame.image for frame in open_dataset(town / "sim").frames()]
    (out / paths[3]).unlink()
    (out / paths[5]).write_bytes(b"no image")
    found = run(town, out)
    assert found.counts["missing"] == 1
    assert found.counts["evaluated"] == 30
    assert any(paths[3] in reason for reason in found.reasons)
    assert any(paths[5] in reason for reason in found.reasons)
    assert [row["path"] for row in rows(out) if row["status"] == "missing"] == [paths[3]]


def test_a_damaged_label_costs_its_metric_a_frame(town: Path, altered: Callable[[Alter], Path], tmp_path: Path) -> None:
    out, source = altered(toned), tmp_path / "source"
    shutil.copytree(town / "sim", source)
    frame = next(open_dataset(source).frames())
    (source / frame.labels["segmentation"]).write_bytes(b"")
    found = evaluate(out, town / "real", source=source, options=QUICK)
    assert by_name(found)["new_edges"].count == 32
    assert by_name(found)["lost_boundaries"].count == 31
    assert any(note.startswith("structure: 1 frames left out") for note in found.notes)
    assert "structure could not judge 1 frame, see the notes" in found.reasons


def test_a_segmenter_and_the_flow_are_asked_too(town: Path, altered: Callable[[Alter], Path]) -> None:
    out = altered(toned)
    found = run(town, out, metrics=("edges",), segmenter_steps=3)
    assert {"warp_ratio", "flicker"} <= by_name(found).keys()
    assert any(figure.name == "relearnt-miou" for figure in found.figures)
    assert any(row["warp_ratio"] for row in rows(out))


def test_an_unknown_metric_or_option_is_told(town: Path) -> None:
    with pytest.raises(UnknownNameError, match="no metric is called 'colur'; did you mean colour"):
        run(town, town / "sim", metrics=("colur",))
    with pytest.raises(SettingsError, match=r"metric edges\.depth: 'edges' takes no such option"):
        run(town, town / "sim", metrics=("edges",), metric_options={"edges": {"depth": 1}})
    with pytest.raises(SettingsError, match=r"kid.*not selected; add it to --metrics"):
        run(town, town / "sim", metrics=("edges",), metric_options={"kid": {"network": "alexnet"}})
    with pytest.raises(SettingsError, match="no such file"):
        run(town, town / "sim", weights={"squeezenet1_0": town / "nothing.pth"})


def test_a_conversion_of_which_the_gate_let_nothing_through_fails(
    town: Path, tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    out = tmp_path / "out"
    convert(
        town / "sim",
        out,
        ConvertOptions(model=write_run(tmp_path / "run"), device="cpu", limit=3, gate=("preservation>=1",)),
    )
    found = evaluate(out, town / "real", options=QUICK)
    assert found.verdict == "FAIL"
    assert found.counts == {"frames": 3, "evaluated": 0, "real": 0, "rejected": 3, "missing": 0}
    assert "rejected all 3 frames" in found.reasons[0]
    assert read_evaluation(out) == found
    assert [row["status"] for row in rows(out)] == ["rejected"] * 3


def test_a_resized_conversion_is_seen_at_its_own_size(
    town: Path, tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    model = write_run(tmp_path / "runs/town")
    convert(town / "sim", tmp_path / "out", ConvertOptions(model=model, device="cpu", engine="torch", resize=(100, 30)))
    told: list[str] = []
    found = evaluate(tmp_path / "out", town / "real", options=QUICK, notify=told.append)
    assert "set metrics see them at 100x30" in told[0]
    assert by_name(found)["colour"].before is not None
    assert not [note for note in found.notes if "left out" in note]


def test_tiny_frames_are_told_of(tmp_path: Path, paint: Callable[..., Path]) -> None:
    source, real = paint(tmp_path / "sim", 4, size=(48, 48)), paint(tmp_path / "real", 4, size=(48, 48), seed=2)
    found = evaluate(shutil.copytree(source, tmp_path / "out"), real, source=source, options=QUICK)
    assert any(reason.startswith("frames of 48x48 pixels") for reason in found.reasons)


def test_globs_choose_among_real_pictures(town: Path, altered: Callable[[Alter], Path]) -> None:
    assert run(town, altered(toned), real_include=("*Scene01*",)).counts["real"] < 32


@pytest.mark.parametrize(("real", "whose"), [("sim", "the source"), ("out", "OUT"), (".", "the source")])
def test_frames_are_not_compared_with_themselves(
    tmp_path: Path, paint: Callable[..., Path], real: str, whose: str
) -> None:
    paint(tmp_path / "sim", 3)
    shutil.copytree(tmp_path / "sim", tmp_path / "out")
    with pytest.raises(Sim2RealError, match=f"a real image that is also an image of {whose}, like 2 more; name"):
        evaluate(tmp_path / "out", tmp_path / real, source=tmp_path / "sim", options=QUICK)
    assert not (tmp_path / "out/.sim2real").exists()


def test_figures_of_frames_are_copied_to_csv_and_parquet(town: Path, altered: Callable[[Alter], Path]) -> None:
    import pyarrow.parquet

    out = altered(toned)
    run(town, out, count=4)
    copy_frames(out, out / "frames.csv")
    copy_frames(out, out / "frames.parquet")
    assert (out / "frames.csv").read_bytes() == frames_path(out).read_bytes()
    table = pyarrow.parquet.read_table(out / "frames.parquet").to_pylist()
    assert {row["path"]: row["new_edges"] for row in table} == {
        row["path"]: pytest.approx(float(row["new_edges"])) if row["new_edges"] else None for row in rows(out)
    }


def test_a_source_is_never_written_to(town: Path) -> None:
    with pytest.raises(Sim2RealError, match="this is the source itself"):
        run(town, town / "sim")
    assert not (town / "sim/.sim2real").exists()


@pytest.mark.parametrize("name", ["evaluation.csv", "evaluation.json"])
def test_on_a_full_disk_no_table_is_left_with_the_verdict_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def fill(path: Path, data: bytes) -> None:
        if path.name == name:
            raise OSError(28, "No space left on device")
        write_whole(path, data)

    found = Evaluation(
        tool_version="1", source="", real="", settings={}, counts={}, verdict="PASS", reasons=(), figures=()
    )
    evaluator._keep(tmp_path, found, [{"path": "old"}])
    before = frames_path(tmp_path).read_bytes()
    monkeypatch.setattr("sim2real.evaluation.table.write_whole", fill)
    monkeypatch.setattr("sim2real.evaluation.figures.write_whole", fill)
    with pytest.raises(OSError, match="No space left"):
        evaluator._keep(tmp_path, found, [{"path": "new"}])
    assert (frames_path(tmp_path).read_bytes() == before) == (read_evaluation(tmp_path) == found)
