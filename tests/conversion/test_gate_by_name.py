"""The gate takes any figure of any metric that compares frames, by name."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sim2real.conversion import ConversionSummary, gate, inference, verify
from sim2real.conversion.gate import Rule, find_metrics, parse_gate
from sim2real.conversion.manifest import quarantine_path, read_manifest, read_record
from sim2real.datasets import open_dataset
from sim2real.errors import Sim2RealError
from sim2real.hookspecs import Register, hookimpl
from sim2real.imageio import read_rgb
from sim2real.metrics import named
from sim2real.metrics.contrast import ContrastMetric
from sim2real.registry import Plugin, Registry, registry
from sim2real_toytown import render_dataset

Translate = Callable[..., ConversionSummary]

METRICS = """
from sim2real.metrics.base import About, Change

class Warmth:
    abouts = {"warmth": About(title="red over blue, grey levels", better="higher", most=255.0),
              "recall": About(title="as of objects", better="higher"),
              "hue": About(title="an angle", better=None)}
    def __init__(self, *, offset: float = 0.0) -> None:
        self.offset = offset
    def compare(self, before, after, labels):
        change = after[..., 0].mean() - after[..., 2].mean()
        return {"warmth": Change(float(change)), "hue": Change(float("nan"))}

class Dear:
    abouts = {"price": About(title="much", better="lower")}
    def __init__(self, *, weights: str) -> None:
        raise AssertionError("nobody gave weights")
    def compare(self, before, after, labels):
        return {}
"""


class Weather:
    @hookimpl
    def register_metrics(self, register: Register) -> None:
        register("warmth", "weather_metrics:Warmth", summary="how warm")
        register("dear", "weather_metrics:Dear", summary="needs weights")
        register("broken", "not_there:Metric", summary="cannot be loaded")


@pytest.fixture
def weather(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    (tmp_path / "weather_metrics.py").write_text(METRICS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "weather_metrics", raising=False)
    found = Registry()
    found.offers += registry().offers
    found.add(Weather(), Plugin("weather", "acme-weather", "1"))
    monkeypatch.setattr(named, "registry", lambda: found)
    return found


class Painter:
    """An engine: most frames become a blue fog."""

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.stack([self._paint(image) if int(image.sum()) % 2 else image for image in images])

    @staticmethod
    def _paint(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        fog = np.broadcast_to(np.linspace(0, 255, image.shape[1])[:, None], image.shape)
        return np.asarray(fog * [0.2, 0.2, 0.3] + [100, 120, 140], np.uint8)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("town") / "sim"
    render_dataset(root, frames=6, size=(160, 48), seed=1, cameras=(0,))
    return root


@pytest.fixture
def gated(translate: Translate, monkeypatch: pytest.MonkeyPatch) -> Translate:
    monkeypatch.setattr(inference, "make_engine", lambda *_: Painter())
    return translate


def test_short_names_are_those_of_edges_and_others_are_told_apart(weather: Registry) -> None:
    rules, metrics = find_metrics(
        parse_gate(["preservation>=0.9, warmth >= -3.5", "structure.new_edges/Car<=0.1,hue<=1e3", "warmth.hue>=-1E-2"])
    )
    assert [str(rule) for rule in rules] == [
        "warmth.hue<=1000",
        "warmth.hue>=-0.01",
        "structure.new_edges/Car<=0.1",
        "preservation>=0.9",
        "warmth.warmth>=-3.5",
    ]
    assert metrics.keys() == {"warmth", "structure"}
    assert find_metrics(parse_gate(map(str, rules)))[0] == rules
    assert find_metrics(parse_gate(["new_edges<=0.1", "edges.new_edges<=0.1"]))[0] == (Rule("new_edges", "<=", 0.1),)


@pytest.mark.parametrize(
    "refused",
    [
        (
            "sharpness>=0.5",
            r"say new_edges<=N, .* others?|other metrics have .*contrast.contrast>=N.*warmth.hue",
        ),
        ("warmth.cold>=1", "warmth has no such figure; it has warmth.warmth>=N, warmth.recall>=N, warmth.hue"),
        ("warmth<=1", "'warmth.warmth<=1' would reject the best: say warmth.warmth>=1"),
        ("warmth>=256", "'warmth.warmth>=256' would reject everything: warmth.warmth is at most 255"),
        ("recall>=0.5", "objects and warmth have a figure of that name; use objects.recall or warmth.recall"),
        ("wramth.warmth>=1", "no metric is called 'wramth'; did you mean warmth?"),
        ("colour.colour<=1", "'colour' compares sets of pictures and cannot judge single frames"),
        ("dear.price<=1", "gate 'dear.price<=1': 'dear' needs a value for weights"),
        ("price<=1", "gate 'dear.price<=1': 'dear' needs a value for weights"),
        ("objects.recall>=1", "'objects' needs a value for detector"),
        ("broken.figure>=1", "metric 'broken' of plugin 'weather' cannot be loaded"),
        ("warmth>=inf", "or METRIC.FIGURE>=N of another metric"),
        ("warmth>=1e999", "or METRIC.FIGURE>=N of another metric"),
        ("edges.sharpness>=1", "edges has no such figure"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_a_line(
    refused: tuple[str, str], weather: Registry, town: Path, tmp_path: Path, gated: Translate
) -> None:
    assert weather
    text, complaint = refused
    with pytest.raises(Sim2RealError, match=complaint) as caught:
        gated(town, tmp_path / "out", gate=(text,))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_frames_are_judged_by_their_labels(town: Path, tmp_path: Path, gated: Translate) -> None:
    out, rules = tmp_path / "out", ("contrast>=1.2", "contrast/Car>=0.5", "contrast/Zebra>=0.5")
    summary = gated(town, out, gate=rules, rejected="quarantine")
    record = read_record(out)
    assert record
    assert record.gate == ["contrast.contrast>=1.2", "contrast.contrast/Car>=0.5", "contrast.contrast/Zebra>=0.5"]
    lines, rejected = read_manifest(out), 0
    for frame in open_dataset(town).frames():
        line = lines[frame.image]
        labels = {kind: frame.load_label(kind) for kind in ("segmentation", "boxes")}
        kept = out / (quarantine_path(frame.image) if line.status == "rejected" else frame.image)
        figures = ContrastMetric().compare(frame.load_image(), read_rgb(kept), labels)
        assert line.figures is not None
        expected = {f"contrast.{name}": figures[name].after for name in ("contrast", "contrast/Car") if name in figures}
        assert line.figures == pytest.approx(expected, rel=1e-5)
        bounds = {"contrast.contrast": 1.2, "contrast.contrast/Car": 0.5}
        assert (line.status == "rejected") == any(value < bounds[name] for name, value in expected.items())
        lacking = ["contrast.contrast/Car"] * ("contrast/Car" not in figures) + ["contrast.contrast/Zebra"]
        assert line.notes == tuple(f"the gate has no {name} to judge by" for name in lacking)
        rejected += line.status == "rejected"
    assert 0 < rejected < 6
    assert summary.rejected == {"source": rejected}
    assert "the gate has no contrast.contrast/Zebra to judge by (6 images)" in summary.warnings
    assert verify(out).ok
    before = (out / ".sim2real/manifest.jsonl").read_bytes()
    assert gated(town, out, gate=("contrast.contrast>=1.2", *rules[1:])).converted == 0
    assert (out / ".sim2real/manifest.jsonl").read_bytes() == before
    with pytest.raises(Sim2RealError, match="gate was"):
        gated(town, out, gate=("contrast>=1.3",))


def test_only_what_rules_name_is_computed(
    town: Path, tmp_path: Path, gated: Translate, weather: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert weather
    monkeypatch.setattr(gate, "find_edges", None)
    gated(town, tmp_path / "out", gate=("warmth>=-10", "hue<=3"), rejected="blend")
    lines = [line for line in read_manifest(tmp_path / "out").values() if line.figures is not None]
    assert {name for line in lines for name in line.figures or ()} == {"warmth.warmth"}
    assert {line.notes for line in lines} == {("the gate has no warmth.hue to judge by",)}
    assert any(line.instead and line.instead.startswith("blend") for line in lines)


def test_a_label_that_cannot_be_read_fails_its_frame(town: Path, tmp_path: Path, gated: Translate) -> None:
    source = tmp_path / "in"
    shutil.copytree(town, source)
    frame = next(iter(open_dataset(source).frames()))
    (source / frame.labels["segmentation"]).write_bytes(b"no image")
    summary = gated(source, tmp_path / "out", gate=("contrast>=0.1",), keep_going=True)
    assert [path for path, _ in summary.failed] == [frame.image]
    assert frame.labels["segmentation"] in summary.failed[0][1]


def test_labels_do_not_fit_frames_that_are_resized(town: Path, tmp_path: Path, gated: Translate) -> None:
    with pytest.raises(Sim2RealError, match=r"gate 'contrast.contrast>=1': --resize .* preservation, new_edges"):
        gated(town, tmp_path / "out", gate=("contrast>=1",), resize=(80, 24))
    assert gated(town, tmp_path / "out", gate=("preservation>=0.1",), resize=(80, 24)).converted == 6


@pytest.mark.parametrize("rules", [["contrast"], ["contrast.contrast>=nan"], [3], "x"])
def test_a_damaged_gate_of_a_record_is_told(rules: Any, town: Path, tmp_path: Path, gated: Translate) -> None:
    gated(town, tmp_path / "out", gate=("contrast>=0.1",), limit=1)
    path = tmp_path / "out/.sim2real/conversion.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"gate": rules}))
    with pytest.raises(Sim2RealError, match=r"conversion.json: damaged \(gate"):
        verify(tmp_path / "out")
