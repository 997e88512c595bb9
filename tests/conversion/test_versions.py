"""A conversion goes on with what other versions wrote, from other places, or a line says why it does not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from sim2real.conversion import ConversionSummary, verify
from sim2real.conversion.manifest import manifest_path, read_record, record_path
from sim2real.errors import Sim2RealError
from sim2real.evaluation.frames import open_converted
from sim2real.model import read_info
from sim2real.report.converted import read_conversion

Write = Callable[..., Path]
Translate = Callable[..., ConversionSummary]
IMAGE = "Scene01/clone/frames/rgb/Camera_0/rgb_00000.jpg"


@pytest.fixture
def source(tmp_path: Path, write_vkitti: Write) -> Path:
    return write_vkitti(tmp_path / "in")


@pytest.fixture
def out(tmp_path: Path, source: Path, translate: Translate) -> Path:
    translate(source, tmp_path / "out")
    return tmp_path / "out"


def change(path: Path, **values: Any) -> bytes:
    """Change fields of a JSON file, None: take them out; returns what it is then."""
    fields = json.loads(path.read_text()) | values
    kept = {name: value for name, value in fields.items() if values.get(name, "") is not None}
    path.write_text(f"{json.dumps(kept, indent=1)}\n")
    return path.read_bytes()


def change_model(file: Path, **values: Any) -> None:
    with safe_open(file, framework="np") as opened:
        info = json.loads(opened.metadata()["sim2real"])
    save_file(load_file(file), file, {"sim2real": json.dumps(info | values)})


def test_what_is_written_says_its_format(out: Path, run: Path) -> None:
    assert json.loads(record_path(out).read_text())["format_version"] == 1
    with safe_open(run / "sim2real.safetensors", framework="np") as opened:
        assert json.loads(opened.metadata()["sim2real"])["format_version"] == 1


def test_what_says_no_format_is_of_the_first(source: Path, out: Path, translate: Translate) -> None:
    before = change(record_path(out), format_version=None)
    (out / IMAGE).unlink()
    assert translate(source, out).converted == 1
    assert record_path(out).read_bytes() == before
    assert verify(out).ok


def test_fields_of_a_manifest_that_nobody_knows_stay(source: Path, out: Path, translate: Translate) -> None:
    manifest = manifest_path(out)
    rows = manifest.read_bytes().splitlines(keepends=True)
    rows[0] = rows[0].replace(b'"role": ', b'"depth": {"x": [8, 1.5]}, "role": ')
    rows[1] = rows[1].replace(b"}\n", b', "depth": null, "\\ud800": "\\ud800"}\n')
    manifest.write_bytes(b"".join(rows))
    before, said = manifest.read_bytes(), list[str]()
    assert translate(source, out, notify=said.append).converted == 0
    told = f"{manifest}: 2 lines have fields that this version does not know (\\ud800, depth); they stay as they are"
    assert said == [told]
    assert manifest.read_bytes() == before
    manifest.rename(manifest.with_name("manifest.1-of-2.jsonl"))
    (out / IMAGE).unlink()
    assert translate(source, out).converted == 1
    assert [row for row in manifest.read_bytes().splitlines(keepends=True) if b'"depth": ' in row] == rows[:2]
    report = verify(out)
    assert (report.ok, report.notes) == (True, [told])
    assert told in open_converted(out).notes
    assert told in read_conversion(out).warnings


def test_fields_of_a_record_that_nobody_knows_stay(source: Path, out: Path, translate: Translate) -> None:
    path, said = record_path(out), list[str]()
    before = change(path, weather="rain", original=3)
    told = f"{path}: has fields that this version does not know (original, weather); they stay as they are"
    translate(source, out, notify=said.append)
    assert said == [told]
    assert path.read_bytes() == before
    translate(source, out, carry="hardlink")
    assert json.loads(path.read_text()) == json.loads(before) | {"carry": "hardlink"}
    assert verify(out).notes == [told]


def test_fields_of_a_model_that_nobody_knows_stay(
    tmp_path: Path, source: Path, translate: Translate, write_run: Write
) -> None:
    run = write_run(tmp_path / "run")
    file = run / "sim2real.safetensors"
    change_model(file, weather="rain")
    assert read_info(file).unknown == ["weather"]
    said: list[str] = []
    translate(source, tmp_path / "out", model=run, notify=said.append)
    assert said == [f"{file}: has fields that this version does not know (weather); they stay as they are"]
    record = read_record(tmp_path / "out")
    assert record
    assert record.generator["weather"] == "rain"
    assert "original" not in record.generator


def test_a_newer_format_is_refused_by_name(
    tmp_path: Path, source: Path, out: Path, translate: Translate, write_run: Write
) -> None:
    told = r"written by a newer sim2real \(format 2, this one reads 1\); use that version"
    run = write_run(tmp_path / "run")
    change_model(run / "sim2real.safetensors", format_version=2, options=3)
    with pytest.raises(Sim2RealError, match=f"{run}/sim2real.safetensors: {told}$"):
        translate(source, tmp_path / "new", model=run)
    before = change(record_path(out), format_version=2, source=[])
    reads: list[Callable[[], object]] = [
        lambda: translate(source, out),
        lambda: verify(out),
        lambda: open_converted(out),
        lambda: read_conversion(out),
    ]
    for read in reads:
        with pytest.raises(Sim2RealError, match=f"{record_path(out)}: {told}$"):
            read()
    assert record_path(out).read_bytes() == before
    change(record_path(out), format_version=0, source=str(source))
    with pytest.raises(Sim2RealError, match="format_version: should be 1, not 0"):
        verify(out)


def test_another_patch_version_goes_on_and_is_told(source: Path, out: Path, translate: Translate) -> None:
    change(record_path(out), tool_version="0.1.99")
    (out / IMAGE).unlink()
    said: list[str] = []
    assert translate(source, out, notify=said.append).converted == 1
    assert len(said) == 1
    assert said[0].startswith(f"{out}: converted so far with sim2real 0.1.99, continues with ")
    said.clear()
    translate(source, out, notify=said.append)
    assert said == []
    change(record_path(out), tool_version="0.7.0")
    with pytest.raises(Sim2RealError, match=r"with other settings \(tool_version was 0.7.0, is "):
        translate(source, out)


@pytest.mark.parametrize("way", ["moved", "copied"])
def test_a_source_and_a_model_that_lie_elsewhere_now_go_on(
    way: str, tmp_path: Path, source: Path, translate: Translate, run: Path
) -> None:
    out = tmp_path / "out"
    translate(source, out)
    before = {path: (out / path).read_bytes() for path in (IMAGE, "Scene01/clone/bbox.txt")}
    elsewhere = tmp_path / "mount/vkitti"
    elsewhere.parent.mkdir()
    if way == "moved":
        source.rename(elsewhere)
    else:
        shutil.copytree(source, elsewhere, copy_function=shutil.copyfile)
    (out / IMAGE).unlink()
    model = shutil.copytree(run, tmp_path / "model")
    said: list[str] = []
    summary = translate(elsewhere, out, model=model, notify=said.append)
    assert said == [f"{out}: converted so far from {source}, continues from {elsewhere}: the same files"]
    assert way == "copied" or summary.converted == 1
    assert {path: (out / path).read_bytes() for path in before} == before
    record = read_record(out)
    assert record
    assert record.source == str(elsewhere)
    assert verify(out).ok
    said.clear()
    assert translate(elsewhere, out, model=model, notify=said.append).converted == 0
    assert said == []


def test_another_dataset_is_not_taken_for_one_that_was_moved(
    tmp_path: Path, source: Path, out: Path, translate: Translate
) -> None:
    other = tmp_path / "other"
    shutil.copytree(source, other)
    photo = (other / IMAGE).read_bytes()
    (other / IMAGE).write_bytes(photo[:-2] + bytes(0) + photo[-2:])  # the same bytes at another time
    translate(other, out)
    (other / "Scene01/clone/bbox.txt").write_text("other")
    shutil.copytree(other, tmp_path / "third")
    third = tmp_path / "third"
    with pytest.raises(
        Sim2RealError, match=f"source was {other}, is {third}; Scene01/clone/bbox.txt is not what was converted"
    ):
        translate(third, out)


def test_conversions_from_before_the_quarantine_had_its_name_go_on(
    source: Path, tmp_path: Path, translate: Translate
) -> None:
    out = tmp_path / "gated"
    translate(source, out, gate=("preservation>=0.9999",))
    record, manifest = record_path(out), manifest_path(out)
    now = record.read_bytes(), manifest.read_bytes()
    assert b'"quarantine"' in now[0]
    record.write_bytes(now[0].replace(b'"quarantine"', b'"aside"'))
    manifest.write_bytes(now[1].replace(b'"quarantine_s', b'"aside_s'))
    summary = translate(source, out, gate=("preservation>=0.9999",))
    assert (summary.converted, summary.failed) == (0, [])
    assert verify(out).ok
