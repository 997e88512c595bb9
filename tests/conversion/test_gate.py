"""What the gate lets through, what takes the place of the rest, and that nothing of it is lost."""

import hashlib
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from sim2real.conversion import ConversionSummary, inference, pipeline, verify
from sim2real.conversion.gate import Gate, GateOutcome, in_colours_of, parse_gate
from sim2real.conversion.manifest import ManifestWriter, quarantine_path, read_manifest, read_record
from sim2real.errors import Sim2RealError
from sim2real.imageio import read_rgb
from sim2real.metrics.edges import edge_changes, preservation
from tests.commands import contents

Pixels = NDArray[np.uint8]
Translate = Callable[..., ConversionSummary]
ReadTree = Callable[[Path], dict[str, bytes]]

GATE = ("preservation>=0.9",)
FRAMES = {"tinted": 2, "mirrored": 2, "haunted": 1, "striped": 1, "blank": 1}  # by what becomes of them
KINDS = list(FRAMES)
REJECTED = {*KINDS} - {"tinted"}


def scene(seed: int) -> Pixels:
    """Some boxes of other colours, all in the left half, RGB (60, 96, 3)."""
    random = np.random.default_rng(seed)
    pixels = np.full((60, 96, 3), 120, np.uint8)
    for colour in random.integers(0, 256, (5, 3)):
        top, left = random.integers(2, 40), random.integers(2, 30)
        pixels[top : top + 14, left : left + 12] = colour
    return pixels


class Painter:
    """An engine that does to a frame what the frame's first pixel says."""

    def __call__(self, images: Pixels) -> Pixels:
        return np.stack([self._paint(image, KINDS[image[0, 0, 0]]) for image in images])

    @staticmethod
    def _paint(image: Pixels, kind: str) -> Pixels:
        if kind == "tinted":
            return np.asarray(image * np.array([0.9, 0.8, 0.7]), np.uint8)
        if kind == "mirrored":
            return image[:, ::-1]
        if kind == "haunted":
            return np.asarray(cv2.addWeighted(image, 0.4, image[:, ::-1].copy(), 0.6, 0), np.uint8)
        if kind == "striped":
            return np.broadcast_to((np.arange(96, dtype=np.uint8) // 8 % 2 * 255)[:, None], image.shape).copy()
        return np.full_like(image, 90)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for index, (kind, count) in enumerate(FRAMES.items()):
        (tmp_path / "in" / kind).mkdir(parents=True)
        for number in range(count):
            pixels = scene(10 * index + number)
            pixels[0, 0] = index
            Image.fromarray(pixels).save(tmp_path / "in" / kind / f"{number}.png")
            (tmp_path / "in" / kind / f"{number}.txt").write_text(kind)
    return tmp_path / "in"


@pytest.fixture
def gated(translate: Translate, monkeypatch: pytest.MonkeyPatch) -> Translate:
    """``gated(source, out, rejected=..., **options)``."""
    monkeypatch.setattr(inference, "make_engine", lambda *_: Painter())

    def convert_it(source: Path, out: Path, *arguments: Any, **options: Any) -> ConversionSummary:
        return translate(source, out, *arguments, **{"gate": GATE, **options})

    return convert_it


def instead(out: Path) -> dict[str, str]:
    """What is there in place of rejected translations, by path."""
    return {path: line.instead for path, line in read_manifest(out).items() if line.instead}


def test_frames_that_keep_too_little_stay_as_they_were(
    tmp_path: Path, source: Path, gated: Translate, tree: ReadTree
) -> None:
    summary = gated(source, tmp_path / "out")
    assert (summary.converted, summary.rejected, summary.carried) == (7, {"source": 5}, 7)
    before, after = tree(source), tree(tmp_path / "out")
    assert before.keys() == after.keys()
    assert {path for path in before if before[path] != after[path]} == {"tinted/0.png", "tinted/1.png"}
    for path, line in read_manifest(tmp_path / "out").items():
        kind = path.split("/")[0]
        kept = tmp_path / "out" / quarantine_path(path)
        if path.endswith(".txt"):
            assert (line.status, line.figures) == ("carried", None)
            continue
        assert line.figures is not None
        assert kept.is_file() == (kind in REJECTED) == (line.status == "rejected")
        translation = read_rgb(kept if kind in REJECTED else tmp_path / "out" / path)
        assert np.array_equal(translation, Painter._paint(read_rgb(source / path), kind))
        changes = edge_changes(read_rgb(source / path), translation)
        assert line.figures["preservation"] == pytest.approx(preservation(changes), abs=1e-4)
        assert line.figures["new_edges"] == pytest.approx(changes.new, abs=1e-4)
        assert line.figures["lost_edges"] == pytest.approx(changes.lost, abs=1e-4)
        if kind in REJECTED:
            assert line.reason == f"preservation {line.figures['preservation']:g}, the gate asks for >= 0.9"
            assert (line.width, line.height) == (96, 60)
            assert (line.quarantine_size, line.quarantine_sha256) == (
                kept.stat().st_size,
                hashlib.sha256(kept.read_bytes()).hexdigest(),
            )
    report = verify(tmp_path / "out")
    assert (report.problems, report.rejected, report.images) == ([], {"source": 5}, 7)


def test_what_takes_the_place_of_rejected_translations(tmp_path: Path, source: Path, gated: Translate) -> None:
    for rejected, expected in {
        "blend": {"mirrored": "blend 0.25", "haunted": "blend 0.50", "striped": "colour", "blank": "blend 0.75"},
        "guided": {"mirrored": "colour", "haunted": "guided", "striped": "guided", "blank": "source"},
        "colour": {"mirrored": "colour", "haunted": "colour", "striped": "colour", "blank": "source"},
        "pass": dict.fromkeys(REJECTED, "translation"),
    }.items():
        out = tmp_path / rejected
        summary = gated(source, out, rejected=rejected)
        found = {path.split("/")[0]: name for path, name in instead(out).items()}
        assert found == expected
        assert sum(summary.rejected.values()) == 5
        for path, name in instead(out).items():
            before, after = read_rgb(source / path), read_rgb(out / path)
            translation = Painter._paint(before, path.split("/")[0])
            if name == "translation":
                assert np.array_equal(after, translation)
                assert not (out / quarantine_path(path)).exists()
                continue
            assert np.array_equal(read_rgb(out / quarantine_path(path)), translation)
            if name == "source":
                assert (out / path).read_bytes() == (source / path).read_bytes()
                continue
            assert preservation(edge_changes(before, after)) >= 0.9
            if name == "blend 0.50":
                assert abs(after - (before / 2 + translation / 2)).max() <= 0.5
        assert verify(out).ok


def test_all_rules_count(tmp_path: Path, source: Path, gated: Translate) -> None:
    gated(source, tmp_path / "out", gate=("new_edges <= 0.01,lost_edges<=0.50", "new_edges<=0.010"), rejected="pass")
    record = read_record(tmp_path / "out")
    assert record
    assert record.gate == ["lost_edges<=0.5", "new_edges<=0.01"]
    for line in read_manifest(tmp_path / "out").values():
        if line.figures:
            bad = [line.figures["lost_edges"] > 0.5, line.figures["new_edges"] > 0.01]
            assert (line.status == "rejected") == any(bad)
            assert (line.reason or "").count("the gate asks for") == sum(bad)


@pytest.mark.parametrize(
    ("gate", "complaint"),
    [
        ("preservation", "say preservation>=N, new_edges<=N|say new_edges<=N"),
        ("sharpness>=0.5", "'sharpness>=0.5': say "),
        ("preservation>=90", "with N between 0 and 1"),
        ("preservation>=nan", "with N between 0 and 1"),
        ("preservation>0.9", "for example preservation>=0.9"),
        ("preservation>=0.9,", "gate '': say"),
        ("preservation<=0.9", "would reject the best: say preservation>=0.9"),
        ("new_edges>=.1", r"would reject the best: say new_edges<=0\.1"),
    ],
)
def test_what_is_no_gate_is_refused_before_anything_is_done(
    tmp_path: Path, source: Path, gated: Translate, gate: str, complaint: str
) -> None:
    with pytest.raises(Sim2RealError, match=complaint):
        gated(source, tmp_path / "out", gate=(gate,))
    assert not (tmp_path / "out").exists()


@given(st.lists(st.tuples(st.sampled_from(["preservation>=", "new_edges<=", "lost_edges <= "]), st.integers(0, 100))))
def test_a_gate_is_read_alike_however_it_is_written(rules: list[tuple[str, int]]) -> None:
    texts = [f"{figure}{percent / 100}" for figure, percent in rules]
    gate = parse_gate(texts)
    assert len(gate) == len(set(texts))
    assert parse_gate(reversed(texts)) == gate
    assert parse_gate(map(str, gate)) == gate
    if texts:
        assert parse_gate([" , ".join(texts)]) == gate


def test_a_rerun_does_nothing_and_other_settings_are_refused(
    tmp_path: Path, source: Path, gated: Translate, tree: ReadTree
) -> None:
    out = tmp_path / "out"
    gated(source, out)
    before = contents(out)
    again = gated(source, out)
    assert (again.converted, again.skipped, again.rejected) == (0, 14, {"source": 5})
    assert contents(out) == before
    with pytest.raises(Sim2RealError, match=r"gate was \['preservation>=0.9'\], is \[\]"):
        gated(source, out, gate=())
    with pytest.raises(Sim2RealError, match="rejected was quarantine, is blend"):
        gated(source, out, rejected="blend")
    summary = gated(source, out, gate=(), overwrite=True)
    assert summary.rejected == {}
    assert not any(path.startswith(quarantine_path("")) for path in contents(out))
    assert verify(out).ok


def test_a_conversion_of_before_there_was_a_gate_goes_on(tmp_path: Path, source: Path, gated: Translate) -> None:
    out = tmp_path / "out"
    gated(source, out, gate=())
    path = out / ".sim2real/conversion.json"
    old = {name: value for name, value in json.loads(path.read_text()).items() if name not in {"gate", "rejected"}}
    path.write_text(json.dumps(old))
    (out / "tinted/0.png").unlink()
    assert gated(source, out, gate=()).converted == 1
    assert json.loads(path.read_text()) == old
    assert verify(out).ok


def test_damage_to_what_was_rejected_is_found_and_mended(tmp_path: Path, source: Path, gated: Translate) -> None:
    out = tmp_path / "out"
    gated(source, out)
    whole = contents(out)
    kept, frame = quarantine_path("mirrored/0.png"), "mirrored/1.png"

    def swap_frame() -> None:
        shutil.copy(out / quarantine_path(frame), out / frame)

    damages: dict[str, tuple[Callable[[], object], set[tuple[str, str]]]] = {
        "gone": ((out / kept).unlink, {("missing", kept)}),
        "changed": (lambda: (out / kept).write_bytes(b"other"), {("changed", kept)}),
        "stranger": (lambda: (out / quarantine_path("x.png")).write_bytes(b""), {("extra", quarantine_path("x.png"))}),
        "leftover": (
            lambda: (out / quarantine_path(".x.tmp-7")).write_bytes(b""),
            {("leftover", quarantine_path(".x.tmp-7"))},
        ),
        "translation after all": (swap_frame, {("changed", frame)}),
    }
    for name, (damage, expected) in damages.items():
        damage()
        assert {(problem.kind, problem.path) for problem in verify(out).problems} == expected, name
        gated(source, out)
        assert contents(out) == whole, name
    shutil.move(source, tmp_path / "elsewhere")
    assert verify(out).ok
    (out / kept).unlink()
    assert [(problem.kind, problem.path) for problem in verify(out).problems] == [("missing", kept)]


def test_a_frame_that_passes_now_leaves_nothing_aside(tmp_path: Path, source: Path, gated: Translate) -> None:
    out, path = tmp_path / "out", "blank/0.png"
    gated(source, out)
    shutil.copy(source / "tinted/0.png", source / path)
    summary = gated(source, out)
    assert (summary.converted, summary.rejected) == (1, {"source": 4})
    assert not (out / quarantine_path(path)).exists()
    assert verify(out).ok


def test_a_source_that_changes_before_it_takes_its_place_is_noticed(
    tmp_path: Path, source: Path, gated: Translate, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Gate.judge

    def meddle(*arguments: Any) -> GateOutcome:
        (source / "blank/0.png").write_bytes((source / "tinted/0.png").read_bytes())
        return judge(*arguments)

    monkeypatch.setattr(Gate, "judge", meddle)
    summary = gated(source, tmp_path / "out", keep_going=True, include=("blank/*",))
    assert summary.failed == [("blank/0.png", "changed during the conversion")]
    assert summary.rejected == {}


class Killed(BaseException):
    """As if the process were gone."""


class Fate:
    """Lets so many files be written and then ends the process; what it has not noted yet is lost."""

    def __init__(self, patch: pytest.MonkeyPatch, files: int) -> None:
        self.left = files
        for name in ("write_whole", "carry"):
            patch.setattr(pipeline, name, partial(self._step, getattr(pipeline, name)))
        patch.setattr(ManifestWriter, "flush", self._lose(ManifestWriter.flush))

    def _step(self, work: Callable[..., Any], *arguments: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise Killed
        return work(*arguments)

    def _lose(self, flush: Callable[[ManifestWriter], None]) -> Callable[[ManifestWriter], None]:
        return lambda writer: None if self.left < 0 else flush(writer)


@pytest.mark.parametrize("rejected", ["quarantine", "blend"])
def test_a_crash_at_any_moment_costs_nothing(
    tmp_path: Path, source: Path, gated: Translate, monkeypatch: pytest.MonkeyPatch, rejected: str
) -> None:
    gated(source, tmp_path / "whole", rejected=rejected)
    whole = contents(tmp_path / "whole")
    for files in range(19):  # 7 frames, 5 translations aside, 7 labels
        out = tmp_path / str(files)
        with monkeypatch.context() as patch:
            Fate(patch, files)
            with pytest.raises(Killed):
                gated(source, out, rejected=rejected, workers=1)
        so_far = contents(out)
        assert len(so_far.keys() & whole.keys()) == files + 3  # lock, record, manifest
        assert all(whole[path] == data for path, data in so_far.items() if not path.endswith("manifest.jsonl"))
        gated(source, out, rejected=rejected)
        assert contents(out) == whole


def test_shards_end_in_the_same_bytes(tmp_path: Path, source: Path, gated: Translate) -> None:
    gated(source, tmp_path / "whole", rejected="blend")
    for index in (1, 0, 2):
        summary = gated(source, tmp_path / "out", rejected="blend", shard=(index, 3))
    assert summary.left == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_files_are_written_like_those_that_they_replace(tmp_path: Path, source: Path, gated: Translate) -> None:
    grey = source / "mirrored/0.png"
    Image.fromarray(np.where(np.arange(60)[:, None] < 1, 1, scene(5)[..., 0]).astype(np.uint8)).save(grey)
    rgba = source / "mirrored/1.png"
    Image.fromarray(np.dstack((read_rgb(rgba), scene(7)[..., 0]))).save(rgba)
    gated(source, tmp_path / "out", rejected="blend")
    for name, mode in {"mirrored/0.png": "L", "mirrored/1.png": "RGBA", "haunted/0.png": "RGB"}.items():
        assert instead(tmp_path / "out")[name].startswith("blend")
        for place in (name, quarantine_path(name)):
            with Image.open(tmp_path / "out" / place) as image:
                assert (image.mode, image.format) == (mode, "PNG")
    assert verify(tmp_path / "out").ok


def test_colours_are_those_of_the_other_picture_and_edges_stay() -> None:
    image, other = scene(1), np.asarray(scene(2) * np.array([0.5, 0.7, 0.6]) + 40, np.uint8)
    coloured = in_colours_of(other, image)
    lab, wanted = (cv2.cvtColor(each, cv2.COLOR_RGB2LAB).astype(float) for each in (coloured, other))
    assert lab.mean(axis=(0, 1)) == pytest.approx(wanted.mean(axis=(0, 1)), abs=1.5)
    assert lab.std(axis=(0, 1)) == pytest.approx(wanted.std(axis=(0, 1)), abs=1.5)
    assert preservation(edge_changes(image, coloured)) > 0.95
    assert abs(in_colours_of(image, image).astype(int) - image).max() <= 1
    grey = np.full((4, 4, 3), 99, np.uint8)
    assert np.array_equal(in_colours_of(grey, image[:4, :4]), grey)
    assert np.ptp(in_colours_of(image, grey), axis=(0, 1)).max() == 0
