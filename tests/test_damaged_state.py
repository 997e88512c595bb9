"""What is read back may come from anywhere: whatever is in it, it is read, or a line says which file is wrong and how.

Damage is drawn with a fixed seed: some of it in each run of the tests, more than a thousand in the slow ones.
"""

import io
import json
import pickle
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sim2real.cli.batch import _read_earlier
from sim2real.config import Config, read_settings, resolve
from sim2real.conversion import ConvertOptions, convert, make_plan, quiet, verify
from sim2real.conversion.manifest import manifest_path, read_manifest, record_path
from sim2real.errors import Sim2RealError
from sim2real.evaluation.figures import Alarm, Evaluation, Figure, frames_path, write_evaluation
from sim2real.evaluation.frames import open_converted
from sim2real.files import sha256_of
from sim2real.model import find_model, read_info
from sim2real.progress import Note
from sim2real.report.conversion import conversion_page
from sim2real.report.converted import find_run, read_conversion
from sim2real.report.page import render
from sim2real.report.run import read_run
from sim2real.report.training import run_page
from sim2real.training import Trainer
from sim2real.training.begin import resumed
from sim2real.training.loggers import Loggers
from sim2real.translator import load
from tests.damage import VALUES, damaged_bytes, damaged_json, damaged_lines, damaged_value

Write = Callable[..., Path]
Damage = Callable[[bytes, random.Random], bytes]

QUICK, THOROUGH = 30, 110  # of each file


@dataclass(frozen=True)
class Work:
    """A dataset, a run of six steps with a checkpoint every two, and a conversion that was evaluated."""

    root: Path
    config: Config

    @property
    def source(self) -> Path:
        return self.root / "in"

    @property
    def out(self) -> Path:
        return self.root / "out"

    @property
    def run(self) -> Path:
        return self.root / "runs/town"

    @property
    def newest(self) -> Path:
        return self.run / "checkpoints/step_00000006"

    @property
    def options(self) -> ConvertOptions:
        return ConvertOptions(model=self.run, device="cpu", precision="fp32", workers=1, gate=("preservation>=0.1",))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, write_vkitti: Write, photos: Path, tiny: list[str]) -> Work:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("work")
    write_vkitti(root / "in")
    sets = [
        "checkpoint.every=2",
        "evaluate.every=2",
        "data.validation=2",
        "sample.every=2",
        "image_pool_size=3",
        "ema_decay=0.9",
    ]
    sets += [
        "discriminator.regularization.lecam=0.1",
        "discriminator.regularization.augment=['color']",
        "discriminator.regularization.augment_target=0.6",
    ]
    config = resolve(
        sets=[*tiny, *sets], sim=str(photos / "sim"), real=str(photos / "real"), run=str(root / "runs/town")
    )
    work = Work(root, config)
    for _ in Trainer.begin(config, work.run).train():
        pass
    (work.run / "batch.json").write_text(json.dumps({"conversions": [{"out": "out", "manifest_sha256": "0"}]}))
    (work.run / "loggers.json").write_text(json.dumps({"tensorboard": "1"}))
    convert(work.source, work.out, work.options)
    images = [path for path, line in read_manifest(work.out).items() if line.figures]
    evaluation = Evaluation(
        tool_version="1",
        source=str(work.source.resolve()),
        real="photos",
        settings={"seed": 1},
        counts={"frames": len(images), "evaluated": len(images), "real": 9},
        verdict="WARN",
        reasons=("few",),
        figures=(
            Figure(
                group="realism", name="colour", title="colours", better="lower", after=1.0, before=2.0,
                interval=(0.5, 1.5), change=(-1.5, -0.5), floor=0.2, count=6,
            ),
            Figure(group="preservation", name="contrast", title="c", better="higher", after=0.5, count=5, label="Car"),
        ),
        alarms=(Alarm(text="trees", frames=(images[0],)),),
        notes=("note",),
    )  # fmt: skip
    write_evaluation(work.out, evaluation)
    rows = ["path,status,sequence,index,preservation", *(f"{path},converted,s,1,0.5" for path in images)]
    frames_path(work.out).write_text("\n".join(rows))
    return work


def told(read: Callable[[], object], *places: Path) -> str:
    """What is said of a file that is read; nothing where nothing is wrong. Anything but one line is an error."""
    try:
        read()
    except Sim2RealError as error:
        said = str(error)
        assert "\n" not in said
        assert len(said) < 1000
        assert any(str(place) in said for place in places), said
        return said
    return ""


def read_out(work: Work) -> Iterator[Callable[[], object]]:
    """What reads the state of a conversion."""
    yield lambda: verify(work.out)
    yield lambda: make_plan(work.source, work.out, work.options)
    yield lambda: open_converted(work.out)


def report_out(work: Work) -> object:
    conversion = read_conversion(work.out)
    find_run(conversion.record, [work.root / "runs"])
    return render(conversion_page(conversion, None, (), quiet))


def read_settings_of(work: Work) -> Iterator[Callable[[], object]]:
    yield lambda: read_settings(work.run / "config.toml")
    yield lambda: resumed(work.run, None)


def read_books(work: Work) -> Iterator[Callable[[], object]]:
    yield lambda: read_run(work.run)
    yield lambda: Loggers([], work.run, {}, "town")
    yield lambda: _read_earlier(work.run / "batch.json")


def read_evaluated(work: Work) -> Iterator[Callable[[], object]]:
    yield lambda: read_conversion(work.out)


def resume(work: Work) -> Iterator[Callable[[], object]]:
    """What goes on with a training."""
    yield lambda: Trainer.resume(work.config, work.run).finished


def read_model(work: Work) -> Iterator[Callable[[], object]]:
    """What reads a generator."""
    frame = np.zeros((16, 16, 3), np.uint8)
    yield lambda: read_info(find_model(work.run, None))
    yield lambda: load(work.run, device="cpu")(frame)


def damaged_toml(data: bytes, chance: random.Random) -> bytes:
    if chance.random() < 0.3:
        return damaged_bytes(data, chance)
    rows = data.decode().splitlines()
    place = chance.choice([place for place, row in enumerate(rows) if "=" in row])
    values = [
        "-1",
        "0",
        "1e400",
        "nan",
        "inf",
        "9" * 5000,
        "1979-05-27",
        "[" * 300 + "]" * 300,
        "[]",
        "{}",
        '"x"',
        "{x=1}",
    ]
    rows[place] = f"{rows[place].partition('=')[0]} = {chance.choice(values)}"
    return "\n".join(rows).encode()


def damaged_model(data: bytes, chance: random.Random) -> bytes:
    """A safetensors file with other metadata, another header, or other bytes."""
    if chance.random() < 0.2:
        return damaged_bytes(data, chance)
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    if chance.random() < 0.8:
        header["__metadata__"]["sim2real"] = damaged_json(header["__metadata__"]["sim2real"].encode(), chance).decode(
            "latin-1"
        )
    else:
        header = damaged_value(header, chance)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def damaged_state(data: bytes, chance: random.Random) -> bytes:
    """A file of torch with other values, other shapes, or other bytes."""
    if chance.random() < 0.2:
        return damaged_bytes(data, chance)
    table = state = torch.load(io.BytesIO(data), weights_only=True)
    while True:
        name = chance.choice([*(table if isinstance(table, dict) else range(len(table)))])
        value = table[name]
        if not isinstance(value, dict | list) or not value or chance.random() < 0.2:
            break
        table = value
    kind = chance.randrange(5)
    if kind == 0:
        del table[name]
    elif isinstance(value, torch.Tensor) and kind < 4:
        others = [value[None], value.double(), value.flatten(), value.new_zeros(3, 4, 5), value * 2, value.bool()]
        table[name] = chance.choice(others)
    else:
        table[name] = chance.choice([value for value in VALUES if type(value) is not str or value != "\ud800"])
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def agree(work: Work) -> None:
    """Let checkpoint.json say the hashes of what there is now, as who means harm would."""
    hashes = {file.name: sha256_of(file) for file in work.newest.iterdir() if file.name != "checkpoint.json"}
    contents = json.loads((work.newest / "checkpoint.json").read_text())
    (work.newest / "checkpoint.json").write_text(json.dumps(contents | {"sha256": hashes}))


CASES: dict[str, tuple[str, Damage, Callable[[Work], Iterator[Callable[[], object]]]]] = {
    "conversion.json": ("out/.sim2real/conversion.json", damaged_json, read_out),
    "manifest.jsonl": ("out/.sim2real/manifest.jsonl", damaged_lines, read_out),
    "a part of a manifest": ("out/.sim2real/manifest.1-of-2.jsonl", damaged_lines, read_out),
    "evaluation.json": ("out/.sim2real/evaluation.json", damaged_json, read_evaluated),
    "evaluation.csv": ("out/.sim2real/evaluation.csv", damaged_bytes, read_evaluated),
    "config.toml": ("runs/town/config.toml", damaged_toml, read_settings_of),
    "metrics.jsonl": ("runs/town/metrics.jsonl", damaged_lines, read_books),
    "batch.json": ("runs/town/batch.json", damaged_json, read_books),
    "loggers.json": ("runs/town/loggers.json", damaged_json, read_books),
    "checkpoint.json": ("runs/town/checkpoints/step_00000006/checkpoint.json", damaged_json, resume),
    "state.pt": ("runs/town/checkpoints/step_00000006/state.pt", damaged_state, resume),
    "own_0.pt": ("runs/town/checkpoints/step_00000006/own_0.pt", damaged_state, resume),
    "a model": ("runs/town/sim2real.safetensors", damaged_model, read_model),
}


@pytest.fixture
def town(work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    """A copy of the work, to be damaged."""
    shutil.copytree(work.root, tmp_path / "work", symlinks=True)
    monkeypatch.chdir(tmp_path)
    copy = Work(tmp_path / "work", work.config)
    record = record_path(copy.out)
    record.write_text(record.read_text().replace(str(work.root.resolve()), str(copy.root.resolve())))
    manifest = manifest_path(copy.out)
    manifest.with_name("manifest.1-of-2.jsonl").write_bytes(manifest.read_bytes())
    return copy


def harm(town: Work, name: str, count: int, *, report: int) -> None:
    """Damage a file so often, and read it each time; every so often a report is drawn."""
    file, damage, readers = CASES[name]
    path, chance = town.root / file, random.Random(name)
    contents = path.with_name("checkpoint.json")
    whole, listed = path.read_bytes(), contents.read_bytes() if contents.is_file() else b""
    draw = report_out if file.startswith("out/") else lambda town: render(run_page(read_run(town.run)))
    for number in range(count):
        path.write_bytes(damage(whole, chance))
        if path.suffix == ".pt":
            agree(town)
        for read in readers(town):
            told(read, town.out, town.run)
        if number % report == 0 and "checkpoints" not in file:
            told(lambda: draw(town), town.out, town.run)
        path.write_bytes(whole)
        if listed:
            contents.write_bytes(listed)


@pytest.mark.parametrize("name", CASES)
def test_what_is_damaged_is_read_or_told_in_a_line(town: Work, name: str) -> None:
    harm(town, name, QUICK, report=15)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_what_is_damaged_in_a_thousand_ways(town: Work, name: str) -> None:
    harm(town, name, THOROUGH, report=3)


class _Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def trap_in(path: Path, file: Path, name: str) -> None:
    """Let a file be a pickle that makes another: alone, in torch's archive, or as a torch of old wrote it."""
    if name == "pickle":
        path.write_bytes(pickle.dumps(_Trap(file)))
    else:
        torch.save({"step": 6, "trap": _Trap(file)}, path, _use_new_zipfile_serialization=name == "archive")


@pytest.mark.parametrize("name", ["pickle", "archive", "old"])
@pytest.mark.parametrize("state", ["state.pt", "own_0.pt"])
def test_no_pickle_runs(town: Work, tmp_path: Path, name: str, state: str) -> None:
    trap_in(town.newest / state, tmp_path / "caught", name)
    agree(town)
    trainer = Trainer.resume(town.config, town.run)
    assert trainer.step == 4
    assert not (tmp_path / "caught").exists()
    with (tmp_path / "caught").open("w"):
        pass  # it can be made


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"no torch"])
def test_a_state_that_torch_cannot_read_is_passed_over_for_the_one_before(town: Work, data: bytes) -> None:
    before = {file.name: file.read_bytes() for file in town.newest.iterdir()}
    (town.newest / "state.pt").write_bytes(data)
    agree(town)
    trainer = Trainer.resume(town.config, town.run)
    assert trainer.step == 4
    notes = [event.text for event in trainer.train() if isinstance(event, Note)]
    assert notes[0] == (
        f"{town.newest}: damaged checkpoint (state.pt: holds something other than tensors and plain values); "
        "continuing from an earlier one, step_00000004"
    )
    after = {file.name: file.read_bytes() for file in town.newest.iterdir()}
    assert {name: after[name] for name in before if name.endswith(".safetensors")} == {
        name: data for name, data in before.items() if name.endswith(".safetensors")
    }


def test_where_no_checkpoint_is_whole_it_is_said_in_a_line(town: Work) -> None:
    for checkpoint in (town.run / "checkpoints").glob("step_*"):
        (checkpoint / "checkpoint.json").write_text("[]")
    with pytest.raises(
        Sim2RealError, match=r"checkpoint.json: should be an object, not a list\), and there is no intact one"
    ):
        Trainer.resume(town.config, town.run)


def test_the_state_of_other_networks_is_refused(town: Work, photos: Path, tiny: list[str], tmp_path: Path) -> None:
    other = resolve(
        sets=[*tiny, "generator.options.width=8", "data.validation=2"], sim=town.config.sim, real=town.config.real
    )
    for _ in Trainer.begin(other, tmp_path / "other").train():
        pass
    shutil.copy(tmp_path / "other/checkpoints/step_00000006/state.pt", town.newest)
    agree(town)
    said = told(lambda: Trainer.resume(town.config, town.run), town.newest)
    assert "state.pt: the state of 'method' does not fit this training (Error(s) in loading state_dict" in said


def test_a_state_of_a_newer_format_is_refused_and_what_nobody_takes_back_is_told(town: Work) -> None:
    file = town.newest / "state.pt"
    state = torch.load(file, weights_only=True)
    assert state["format_version"] == 1
    torch.save({**state, "momentum": {}}, file)
    agree(town)
    trainer = Trainer.resume(town.config, town.run)
    notes = [event.text for event in trainer.train() if isinstance(event, Note)]
    assert f"{file}: unknown entries are ignored: 'momentum'" in notes
    torch.save({**state, "format_version": 2}, file)
    agree(town)
    said = told(lambda: Trainer.resume(town.config, town.run), town.newest)
    assert said == f"{file}: written by a newer sim2real (format 2, this one reads 1); use that version"


def test_a_damaged_line_of_a_manifest_is_told_and_its_file_done_again(town: Work) -> None:
    manifest = manifest_path(town.out)
    manifest.with_name("manifest.1-of-2.jsonl").unlink()
    whole = manifest.read_bytes()
    rows = whole.splitlines(keepends=True)
    manifest.write_bytes(b"".join([rows[0], rows[1].replace(b'"size": ', b'"size": -'), b"garbage\n", *rows[2:]]))
    [problem] = [problem for problem in verify(town.out).problems if problem.kind == "manifest"]
    assert problem.detail == (
        f"{manifest}: 2 of {len(rows) + 1} lines are damaged (line 2: size: should be a whole number of at least 0, "
        f"not {-json.loads(rows[1])['size']}); run the same conversion again"
    )
    said: list[str] = []
    plan = make_plan(town.source, town.out, town.options, notify=said.append)
    assert [job.path for job in plan.todo] == [json.loads(rows[1])["path"]]
    assert said == [problem.detail.replace("run the same conversion again", "their files are converted again")]
    convert(town.source, town.out, town.options)
    assert manifest.read_bytes() == whole
    assert verify(town.out).ok


def test_a_line_that_says_more_is_of_another_version_and_nothing_is_done_again(town: Work) -> None:
    manifest = manifest_path(town.out)
    manifest.with_name("manifest.1-of-2.jsonl").unlink()
    manifest.write_bytes(manifest.read_bytes().replace(b'"role": ', b'"depth": 8, "role": ', 1))
    for read in read_out(town):
        assert told(read) == ""
    said: list[str] = []
    assert make_plan(town.source, town.out, town.options, notify=said.append).todo == []
    assert said == [f"{manifest}: 1 line has fields that this version does not know (depth); they stay as they are"]


def test_names_that_are_not_utf_8_are_read_back(town: Work) -> None:
    name = "a\udce9.txt"
    try:
        (town.source / name).write_text("latin-1")
    except OSError:
        pytest.skip("this file system has no such names")
    convert(town.source, town.out, town.options)
    assert name in read_manifest(town.out)
    assert verify(town.out).ok
