"""Conversions with the JPEG codecs of a GPU: here those of torchvision on the CPU, with an encoder like nvJPEG's."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from sim2real.conversion import ConversionSummary, resolved_settings, verify
from sim2real.conversion.manifest import read_record
from sim2real.conversion.resolved_settings import Machine
from sim2real.conversion.trial import fastest_codecs
from sim2real.errors import Sim2RealError
from sim2real.imageio.nvjpeg import JpegCodecs
from sim2real.timing import Choice
from tests.commands import Cli, manifest, refused, run_here
from tests.specimens import encode_as_nvjpeg

Translate = Callable[..., ConversionSummary]

KINDS: dict[str, dict[str, Any]] = {
    "0.jpg": {"quality": 90, "subsampling": 0, "comment": b"kept"},
    "1.jpg": {"quality": 90, "subsampling": 0},
    "2.jpg": {"quality": 90, "subsampling": 2},
    "3.jpg": {"quality": 90, "subsampling": 0, "progressive": True},
    "grey.jpg": {"quality": 90},
    "4.png": {},
}


def timed(cpu: float, gpu: float) -> Machine:
    """A machine with codecs, where some frames take these seconds."""

    def fastest(ways: Mapping[str, Callable[[], object]]) -> Choice:
        for work in ways.values():
            work()
        return Choice("gpu" if gpu < cpu else "cpu", {"cpu": cpu, "gpu": gpu})

    return Machine(
        codecs=lambda _device, quality: JpegCodecs("cpu", quality),
        fastest_codecs=partial(fastest_codecs, fastest=fastest),
    )


MACHINE = timed(2.0, 0.5)


@pytest.fixture(autouse=True)
def _encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.io.encode_jpeg", encode_as_nvjpeg)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for seed, (name, options) in enumerate(KINDS.items()):
        colours = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
        image = Image.fromarray(colours).resize((64, 48), Image.Resampling.BICUBIC)
        (image.convert("L") if name == "grey.jpg" else image).save(tmp_path / "in" / name, **options)
    return tmp_path / "in"


def by_whom(out: Path) -> dict[str, tuple[str | None, str | None]]:
    return {path: (line.get("decoder"), line.get("encoder")) for path, line in manifest(out).items()}


DONE = {
    **dict.fromkeys(("0.jpg", "1.jpg"), ("gpu", "gpu")),
    **dict.fromkeys(("2.jpg", "3.jpg"), (None, "gpu")),
    "grey.jpg": ("gpu", None),
    "4.png": (None, None),
}


def test_what_a_gpu_can_is_done_there_and_told(tmp_path: Path, source: Path, translate: Translate) -> None:
    told: list[str] = []
    summary = translate(source, tmp_path / "out", machine=MACHINE, codecs="gpu", notify=told.append)
    assert (summary.record.codecs, summary.record.codecs_per_second) == ("gpu", {})
    assert summary.on_gpu == {"decoded": 3, "encoded": 4}
    assert by_whom(tmp_path / "out") == DONE
    assert not told
    assert not summary.warnings
    assert verify(tmp_path / "out").ok
    translate(source, tmp_path / "usual")
    for name in KINDS:
        with Image.open(tmp_path / "out" / name) as ours, Image.open(tmp_path / "usual" / name) as theirs:
            assert (ours.info, ours.mode) == (theirs.info, theirs.mode)
            assert abs(np.asarray(ours, int) - theirs).max() <= 4
            if isinstance(ours, JpegImageFile) and isinstance(theirs, JpegImageFile):
                assert ours.quantization == theirs.quantization
                assert ours.layer == theirs.layer


def test_a_rerun_continues_in_the_same_way(tmp_path: Path, source: Path, translate: Translate) -> None:
    out, good = tmp_path / "out", (source / "3.jpg").read_bytes()
    (source / "3.jpg").write_bytes(good[:-300])
    with pytest.raises(Sim2RealError, match=r"3\.jpg: damaged or truncated JPEG"):
        translate(source, out, machine=MACHINE, codecs="auto", workers=1)
    (source / "3.jpg").write_bytes(good)
    told: list[str] = []
    other = timed(0.5, 2.0)
    done = translate(source, out, machine=other, codecs="auto", notify=told.append)
    assert (done.record.codecs, by_whom(out)) == ("gpu", DONE)
    assert not told
    before = {name: (out / name).read_bytes() for name in KINDS}
    (out / "1.jpg").unlink()
    record = (out / ".sim2real/conversion.json").read_bytes()
    assert translate(source, out, machine=other, codecs="gpu").converted == 1
    assert {name: (out / name).read_bytes() for name in KINDS} == before
    assert (out / ".sim2real/conversion.json").read_bytes() == record
    with pytest.raises(Sim2RealError, match="codecs was gpu, is cpu"):
        translate(source, out)


def test_the_faster_codecs_are_taken_and_written_down(tmp_path: Path, source: Path, translate: Translate) -> None:
    for name, machine in (("gpu", MACHINE), ("cpu", timed(0.5, 2.0))):
        told: list[str] = []
        done = translate(source, tmp_path / name, machine=machine, codecs="auto", notify=told.append)
        record = json.loads((tmp_path / name / ".sim2real/conversion.json").read_text())
        assert done.record.codecs == record["codecs"] == name
        other = {"gpu": "cpu", "cpu": "gpu"}[name]
        speeds = record["codecs_per_second"]
        assert speeds[name] == 4 * speeds[other] > 0
        figures = ", ".join(f"{each} {speeds[each]:g} frames/s" for each in ("cpu", "gpu"))
        assert told == [f"codecs {name}: 4.00 times as fast as {other} here ({figures})"]
        assert verify(tmp_path / name).ok
    translate(source, tmp_path / "usual")
    assert (tmp_path / "cpu/0.jpg").read_bytes() == (tmp_path / "usual/0.jpg").read_bytes()
    shards = [{"shard": (index, 2), "codecs": "auto"} for index in range(2)]
    for machine, shard in zip((MACHINE, timed(0.5, 2.0)), shards, strict=True):
        assert translate(source, tmp_path / "shards", machine=machine, **shard).record.codecs == "gpu"


def test_without_jpegs_the_cpu_is_taken(tmp_path: Path, paint: Callable[..., Path], translate: Translate) -> None:
    told: list[str] = []
    source = paint(tmp_path / "in", 2)
    done = translate(source, tmp_path / "out", machine=MACHINE, codecs="auto", notify=told.append)
    assert (done.record.codecs, done.record.codecs_per_second) == ("cpu", {})
    assert told == ["codecs cpu: none of the frames that were tried is a JPEG"]


def test_damaged_files_are_refused_as_ever(tmp_path: Path, source: Path, translate: Translate) -> None:
    data = (source / "0.jpg").read_bytes()
    (source / "0.jpg").write_bytes(data[: len(data) // 2])
    (source / "1.jpg").write_bytes(data.replace(b"\xff\xc4", b"\xff\xc5", 1))
    usual = translate(source, tmp_path / "usual", keep_going=True).failed
    assert [path for path, _ in usual] == ["0.jpg", "1.jpg"]
    assert translate(source, tmp_path / "out", keep_going=True, codecs="gpu", machine=MACHINE).failed == usual


def test_what_the_gpu_fails_at_is_done_by_the_cpu_counted_and_told(
    tmp_path: Path, source: Path, translate: Translate, monkeypatch: pytest.MonkeyPatch
) -> None:
    translate(source, tmp_path / "usual")

    def fail(items: list[torch.Tensor], *_: object, **__: object) -> list[torch.Tensor]:
        raise RuntimeError("Failed to decode jpeg stream: 5")

    made: list[JpegCodecs] = []

    def breaking(device: str, quality: int) -> JpegCodecs:
        made.append(MACHINE.codecs(device, quality))
        if len(made) == 2:  # the first ones show that it can be done
            monkeypatch.setattr("torchvision.io.decode_jpeg", fail)
            monkeypatch.setattr("torchvision.io.encode_jpeg", fail)
        return made[-1]

    machine = replace(MACHINE, codecs=breaking)
    summary = translate(source, tmp_path / "out", machine=machine, codecs="gpu")
    assert summary.on_gpu == {"decoded": 0, "encoded": 0}
    assert summary.warnings == [
        "the GPU could not decode the JPEG: a CPU did (3 images)",
        "the GPU could not encode the JPEG: a CPU did (4 images)",
    ]
    for name in KINDS:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "usual" / name).read_bytes()
    assert manifest(tmp_path / "out")["2.jpg"]["notes"] == ["the GPU could not encode the JPEG: a CPU did"]


def test_other_encodings_are_written_by_cpus(tmp_path: Path, source: Path, translate: Translate) -> None:
    told: list[str] = []
    how: dict[str, Any] = {"machine": MACHINE, "codecs": "gpu", "notify": told.append}
    summary = translate(source, tmp_path / "out", encoding="source", **how)
    assert told == ["the GPU only decodes JPEG files: --encoding source is written by CPUs"]
    assert summary.on_gpu == {"decoded": 3, "encoded": 0}
    translate(source, tmp_path / "usual", encoding="source")
    assert (tmp_path / "out/0.jpg").read_bytes() == (tmp_path / "usual/0.jpg").read_bytes()


def test_an_encoder_that_writes_otherwise_is_not_used(
    tmp_path: Path, source: Path, translate: Translate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # torchvision's encoder for CPUs subsamples chroma
    told: list[str] = []
    summary = translate(source, tmp_path / "out", machine=MACHINE, codecs="gpu", notify=told.append)
    assert told == ["the GPU only decodes JPEG files: it encodes not as quality 95, baseline, 4:4:4"]
    assert summary.on_gpu == {"decoded": 3, "encoded": 0}
    assert verify(tmp_path / "out").ok


def test_substitutes_of_the_gate_are_written_by_cpus(tmp_path: Path, source: Path, translate: Translate) -> None:
    gate: dict[str, Any] = {"gate": ("preservation>=1",), "rejected": "quarantine"}
    translate(source, tmp_path / "out", machine=MACHINE, codecs="gpu", **gate)
    lines = manifest(tmp_path / "out")
    rejected = [line for line in lines.values() if line["status"] == "rejected"]
    assert len(rejected) > 2
    assert not any("encoder" in line for line in rejected)
    assert verify(tmp_path / "out").ok


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_its_codecs_are_refused_and_auto_says_that_it_takes_the_cpu(
    tmp_path: Path, source: Path, run: Path, cli: Cli
) -> None:
    convert = ("convert", source, tmp_path / "out", "--model", run, "--codecs")
    reason = "only NVIDIA GPUs have JPEG codecs, and the conversion runs on cpu"
    refused(cli(*convert, "gpu"), f"--codecs gpu: {reason}; leave out")
    assert not (tmp_path / "out").exists()
    done = cli(*convert, "auto")
    assert done.returncode == 0
    assert f"codecs cpu: {reason}" in " ".join(done.stderr.split())
    record = read_record(tmp_path / "out")
    assert record
    assert record.codecs == "cpu"


def test_the_command_tells_it(
    tmp_path: Path, source: Path, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(resolved_settings, "THIS_MACHINE", MACHINE)
    monkeypatch.chdir(tmp_path)
    convert = f"[[convert]]\nsource = {str(source)!r}\nout = 'out'\ncodecs = 'auto'\n"
    (tmp_path / "sim2real.toml").write_text(convert)
    assert run_here("convert", "--model", run, "--device", "cpu", "--plan") == 0
    assert "baseline, 4:4:4; by the GPU where it can (cpu " in capsys.readouterr().out
    assert run_here("convert", "--model", run, "--device", "cpu") == 0
    told = capsys.readouterr()
    assert "codecs gpu: 4.00 times as fast as cpu here" in told.err
    assert "JPEG files on the GPU: 3 decoded, 4 encoded; all others on the CPU" in told.out


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_converts_as_the_cpu(
    tmp_path: Path, source: Path, translate: Translate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    for codecs in ("gpu", "cpu"):
        translate(source, tmp_path / codecs, device="cuda", codecs=codecs)
        assert verify(tmp_path / codecs).ok
    assert by_whom(tmp_path / "gpu") == DONE
    for name in KINDS:
        ours, theirs = (np.asarray(Image.open(tmp_path / codecs / name), int) for codecs in ("gpu", "cpu"))
        assert abs(ours - theirs).mean() < 1
    assert translate(source, tmp_path / "auto", device="cuda", codecs="auto").record.codecs_per_second["gpu"] > 0
