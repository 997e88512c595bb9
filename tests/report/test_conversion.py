"""What a report shows of a conversion, whatever is missing of it."""

import csv
import dataclasses
import html
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sim2real.conversion import ConvertOptions, convert, verify
from sim2real.conversion.manifest import manifest_path, read_manifest, read_record, record_path
from sim2real.errors import Sim2RealError
from sim2real.evaluation.figures import evaluation_path, frames_path, read_evaluation, write_evaluation
from sim2real.imageio import encode_png
from sim2real.report import write_report
from sim2real.report.pictures import fitted


def words(file: Path) -> str:
    """The text of a page."""
    page = re.sub(r"<(style|script|svg)\b.*?</\1>", " ", file.read_text("utf-8"), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def listed(file: Path) -> dict[str, object]:
    """What the table of all frames is made from."""
    found = re.search(r'id="frames-data">(.*?)</script>', file.read_text("utf-8"), re.DOTALL)
    assert found
    data = json.loads(found[1])
    assert isinstance(data, dict)
    return data


def test_a_report_tells_the_verdict_and_the_figures(evaluated: Path) -> None:
    file = write_report(evaluated)
    assert file == evaluated / ".sim2real/report.html"
    seen = words(file)
    assert "out FAIL contrast of <Car> fell to 0.3 A conversion by a model of the recipe default with sim2real" in seen
    assert "few pictures" in seen
    assert "real photos seed 7" in seen  # of the settings
    assert "Frames 6 1 rejected" in seen
    assert "Gap closed 88%" in seen  # (18.25 - 4.125) / (18.25 - 2.25)
    assert "colour ↓ 18.2 16 to 20 4.12 3.5 to 5.5 nearer 2.25 6 distance of colours, grey levels." in seen
    assert "fid ↓ 9 8 6 Frechet. With fewer than 2,000 it is not meaningful." in seen
    assert "spectrum ↓ 3 2.5 no clear change 6" in seen
    assert "new edges ↓ 0.5 FAIL 6" in seen
    assert "<Car> $x$ ↑ 1 0.3 0.2 to 0.33 WARN 5" in seen
    assert "flicker ↓ 0 flicker. no sequence." in seen


def test_the_headline_is_the_verdict_with_its_reason_the_change_and_the_realism(evaluated: Path) -> None:
    page = write_report(evaluated).read_text("utf-8")
    head = page[: page.index("<section")]
    assert '<span class="state bad">FAIL</span>' in head
    assert "contrast of &lt;Car&gt; fell to 0.3</p>" in head
    assert "7.5 grey levels" in head
    assert "writing frames again alone: 0.25" in head
    assert "Gap closed" in head
    assert "reservation" not in head  # of edges, which is one of many figures
    assert "No figure sees" not in page


def test_the_headline_of_a_pass_is_what_was_won(evaluated: Path) -> None:
    found = read_evaluation(evaluated)
    assert found
    reasons = ("nearer to real images", "new_edges 0")
    write_evaluation(evaluated, dataclasses.replace(found, verdict="PASS", reasons=reasons))
    page = write_report(evaluated).read_text("utf-8")
    assert "nearer to real images</p>" in page[: page.index("<section")]


def test_real_pictures_stand_beside_unless_they_must_not_be_passed_on(
    evaluated: Path, paint: Callable[..., Path]
) -> None:
    real = paint(evaluated.parent / "photos", 9)
    found = read_evaluation(evaluated)
    assert found
    paths = tuple(str(path) for path in sorted(real.iterdir()))
    write_evaluation(evaluated, dataclasses.replace(found, pictures=paths))
    page, without = (write_report(evaluated, real=wanted).read_text("utf-8") for wanted in (True, False))
    assert page.count('alt="A real picture"') == 4
    assert 'alt="A real picture"' not in without
    assert len(without) < len(page)
    (real / "0000.png").unlink()
    assert write_report(evaluated).read_text("utf-8").count('alt="A real picture"') == 3
    gone = "The real images that it was compared with are missing, e.g. photos/0000.png: none is shown."
    assert gone not in words(write_report(evaluated))
    shutil.rmtree(real)
    real.mkdir()
    (real / "0004.png").symlink_to("/dev/zero")
    file = write_report(evaluated)
    assert 'class="beside"' not in file.read_text("utf-8")
    assert gone in words(file)
    assert gone not in words(write_report(evaluated, real=False))


def test_a_training_that_is_no_good_is_told_of_its_conversion(evaluated: Path, toytown: Path) -> None:
    run = evaluated.parent / "runs/town"
    shutil.copytree(toytown / "runs/town", run)
    (run / "metrics.jsonl").write_text('{"step": 2, "evaluation/score": 1.25, "evaluation/change": 9}\n')
    found = read_evaluation(evaluated)
    assert found
    write_evaluation(evaluated, dataclasses.replace(found, verdict="PASS", reasons=("nearer to real images",)))
    page = write_report(evaluated).read_text("utf-8")
    head = page[: page.index("<section")]
    assert '<span class="state open">PASS</span>' in head
    assert ">its training is worse than the source as it is (score 1.250;" in head
    assert "less is better); nearer to real images</p>" in head


def test_it_shows_the_frames_that_matter_with_their_labels(evaluated: Path, frames: list[str]) -> None:
    page = write_report(evaluated, frames=[frames[3]]).read_text("utf-8")
    chosen = re.findall(r'<figure data-frame="([^"]*)".*?<strong>(\w+)</strong>', page, re.DOTALL)
    assert chosen[0] == (frames[3], "chosen")
    assert (frames[0], "rejected") in chosen
    assert (frames[1], "worst") in chosen
    assert sorted(path for path, _ in chosen) == sorted(frames)  # each once
    layers = set(re.findall(r'data-layer="([^"]*)"', page))
    assert {"areas:Road", "areas:Sky"} < layers
    assert any(layer.startswith("boxes:") for layer in layers)


def test_rejected_frames_and_alarms_are_told(evaluated: Path, frames: list[str]) -> None:
    seen = words(write_report(evaluated))
    assert "Translations that did not pass the gate preservation>=0.5 : 1. In their place: the source (1)." in seen
    assert "preservation 0.10, the gate asks for >= 0.5; instead: source" in seen
    assert "trees in the sky 1 frame." in seen
    assert frames[2].rpartition("/")[2] in seen
    assert ">the gate</text>" in write_report(evaluated).read_text("utf-8")  # a line in the distribution


def test_a_rejection_without_a_recorded_substitute_names_none(evaluated: Path, frames: list[str]) -> None:
    lines = read_manifest(evaluated)
    lines[frames[0]] = dataclasses.replace(lines[frames[0]], instead=None, reason=None)
    manifest_path(evaluated).write_text("".join(f"{line.dump()}\n" for line in lines.values()))
    seen = words(write_report(evaluated))
    assert "None" not in seen
    assert "In their place: not recorded (1)." in seen
    assert "rejected; what is in the dataset is not recorded" in seen
    assert "rejected; instead: not recorded" in seen


def test_a_frame_is_named_by_its_end_or_by_a_file(evaluated: Path, frames: list[str]) -> None:
    for name in (frames[3].rpartition("/")[2], str(evaluated / frames[3])):
        assert f'<figure data-frame="{frames[3]}">' in write_report(evaluated, frames=[name]).read_text("utf-8")
    with pytest.raises(Sim2RealError, match=r"--frame nothing\.png: no frame of the conversion; name its path within"):
        write_report(evaluated, frames=["nothing.png"])


def test_a_report_needs_nothing_but_itself_and_leaves_the_conversion_as_it_is(town: Path) -> None:
    page = write_report(town / "out").read_text("utf-8")
    assert all(re.match(r"data:|#", address) for address in re.findall(r'(?:src|href)="([^"]*)"', page))
    assert "default-src 'none'" in page
    assert verify(town / "out").ok


def test_labels_that_were_resized_are_not_said_to_be_carried(
    toytown: Path, tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    options = ConvertOptions(model=write_run(tmp_path / "town"), device="cpu", engine="torch", resize=(100, 50))
    assert "Labels 42 files carried byte for byte" in words(write_report(toytown / "out"))
    convert(toytown / "sim", tmp_path / "out", options)
    page = words(write_report(tmp_path / "out"))
    assert "Labels 42 files 39 resized with the images, 3 carried byte for byte" in page
    assert "resize 100, 50" in page


def test_a_conversion_that_was_not_evaluated_says_what_to_run(town: Path) -> None:
    seen = words(write_report(town / "out"))
    assert "out not evaluated" in seen
    assert "sim2real evaluate out --real REAL" in seen
    assert "image 6" in seen  # of the files


def test_a_conversion_that_was_cut_off_says_so(town: Path, frames: list[str]) -> None:
    manifest = town / "out/.sim2real/manifest.jsonl"
    kept = [line for line in manifest.read_text().splitlines(keepends=True) if frames[0] not in line]
    manifest.write_text("".join(kept))
    (town / "out" / frames[0]).unlink()
    assert "out not finished" in (seen := words(write_report(town / "out")))
    assert "Frames 5 of 6" in seen


def test_equal_conversions_have_equal_reports(evaluated: Path) -> None:
    assert write_report(evaluated).read_bytes() == write_report(evaluated, evaluated.parent / "again.html").read_bytes()


def test_the_training_of_the_model_is_found_by_its_bytes(evaluated: Path, toytown: Path) -> None:
    run = evaluated.parent / "runs/town"
    shutil.copytree(toytown / "runs/town", run)
    (run / "metrics.jsonl").write_text('{"step": 1, "cycle": 0.5}\n{"step": 2, "cycle": 0.25}\n')
    assert "Training: losses" in words(write_report(evaluated))
    (run / "sim2real.safetensors").write_bytes(b"another")
    assert "Training: losses" not in words(write_report(evaluated))
    assert "Training: losses" in words(write_report(evaluated, run=run))


def test_without_the_source_frames_are_shown_by_themselves(evaluated: Path) -> None:
    record = json.loads(record_path(evaluated).read_text())
    record_path(evaluated).write_text(json.dumps(record | {"source": "/gone/away"}))
    file = write_report(evaluated)
    assert "away no longer exists: frames are shown without their source images." in words(file)
    assert file.read_text("utf-8").count('class="stage"') == 6
    assert 'class="over"' not in file.read_text("utf-8")


def test_what_another_tool_converted_has_a_report_too(evaluated: Path) -> None:
    record = read_record(evaluated)
    assert record
    text = evaluation_path(evaluated).read_text().replace("/data/sim", record.source)
    evaluation_path(evaluated).write_text(text)
    for name in ("conversion.json", "manifest.jsonl"):
        (evaluated / ".sim2real" / name).unlink()
    seen = words(write_report(evaluated))
    assert "out FAIL contrast of <Car> fell to 0.3 A conversion by another tool" in seen
    assert "Before and after" in seen


@pytest.mark.parametrize("torn", ["evaluation.json", "evaluation.csv", "manifest.jsonl"])
def test_what_is_torn_is_bearable(evaluated: Path, torn: str) -> None:
    file = evaluated / ".sim2real" / torn
    file.write_bytes(file.read_bytes()[:-90])
    seen = words(write_report(evaluated))
    assert ("damaged, or written by another version" in seen) == (torn == "evaluation.json")


def test_an_evaluation_that_is_older_than_the_conversion_is_told(evaluated: Path) -> None:
    os.utime(evaluation_path(evaluated), (1, 1))
    assert "The conversion continued after it was evaluated" in words(write_report(evaluated))


def test_pictures_that_cannot_be_read_are_left_out(evaluated: Path, frames: list[str]) -> None:
    (evaluated / frames[2]).write_bytes(b"no picture")
    file = write_report(evaluated)
    assert f'data-frame="{frames[2]}"' not in file.read_text("utf-8")
    small = listed(file)["small"]
    assert isinstance(small, dict)
    assert len(small) == 5


def test_thousands_of_frames_stay_a_small_page(evaluated: Path, tmp_path: Path) -> None:
    record = read_record(evaluated)
    assert record
    evaluation = evaluation_path(evaluated).read_text().replace("/data/sim", str(tmp_path / "src"))
    image = encode_png(np.random.default_rng(0).integers(0, 256, (120, 320, 3), dtype=np.uint8))
    (tmp_path / "src").mkdir()
    (tmp_path / "src/0000.png").write_bytes(image)
    for folder in ("src", "big"):
        (tmp_path / folder).mkdir(exist_ok=True)
        for number in range(folder == "src", 3000):
            os.link(tmp_path / "src/0000.png", tmp_path / folder / f"{number:04}.png")
    out = tmp_path / "big"
    (out / ".sim2real").mkdir()
    evaluation_path(out).write_text(evaluation)
    with frames_path(out).open("w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(["path", "preservation"])
        writer.writerows([f"{number:04}.png", number / 3000] for number in range(3000))
    file = write_report(out)
    data = listed(file)
    assert isinstance(data["rows"], list)
    assert isinstance(data["small"], dict)
    assert len(data["rows"]) == 3000
    assert 100 < len(data["small"]) <= 400
    assert file.stat().st_size < 15_000_000


def test_pictures_that_compress_badly_are_made_smaller() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (256, 512, 3), dtype=np.uint8)
    wide = fitted([noise] * 3, widest=512, budget=1_000_000)
    assert sum(map(len, wide)) > 100_000
    assert sum(map(len, fitted([noise] * 3, widest=512, budget=100_000))) <= 100_000


def test_frames_are_not_said_of_a_training(evaluated: Path, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("")
    with pytest.raises(Sim2RealError, match="a training run"):
        write_report(tmp_path, frames=["0.png"])
    with pytest.raises(Sim2RealError, match="no run here"):
        write_report(evaluated, run=tmp_path / "nowhere")
