import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sim2real.conversion import ConvertOptions, convert, inference
from sim2real.conversion.manifest import Line, read_manifest
from sim2real.datasets.base import Frame
from sim2real.datasets.labels import Segmentation
from sim2real.errors import DatasetError, ImageError, Sim2RealError
from sim2real.evaluation.evaluator import EvaluateOptions, evaluate
from sim2real.evaluation.frames import FramePair, open_converted, runs

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, write_vkitti: Write) -> Path:
    return write_vkitti(tmp_path_factory.mktemp("vkitti") / "source", frames=4)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, write_run: Write) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def foreign(source: Path, tmp_path: Path) -> Path:
    """The images as another tool leaves them: without a record."""
    out = tmp_path / "foreign"
    shutil.copytree(source, out)
    return out


def test_a_conversion_knows_its_source_and_its_frames(source: Path, run: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "out", ConvertOptions(model=run, device="cpu", include=("*/clone/*",)))
    converted = open_converted(tmp_path / "out")
    assert converted.source.root == source
    assert [pair.path for pair in converted.pairs] == [
        f"Scene01/clone/frames/rgb/Camera_0/rgb_{number:05d}.jpg" for number in range(4)
    ]
    pair = converted.pairs[1]
    assert (pair.sequence, pair.index, pair.status) == ("Scene01/clone/Camera_0", 1, "converted")
    before, after = pair.both()
    assert before.shape == after.shape
    assert (before != after).any()


def test_an_image_that_is_gone_is_missing_not_skipped(source: Path, foreign: Path) -> None:
    gone = "Scene01/clone/frames/rgb/Camera_0/rgb_00002.jpg"
    (foreign / gone).unlink()
    converted = open_converted(foreign, source)
    assert [(pair.path, pair.status) for pair in converted.missing] == [(gone, "missing")]
    assert len(converted.pairs) == 7


def lose_some(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An engine that makes some of the frames, by their pixels, blank, and leaves the others alone."""
    return np.stack([np.full_like(image, 90) if image.sum(dtype=np.int64) % 2 else image for image in images])


def test_many_frames_that_the_gate_rejected_are_left_out_and_a_concern(
    source: Path, run: Path, tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "make_engine", lambda *_: lose_some)

    def gated(least: float, name: str) -> dict[str, Line]:
        options = ConvertOptions(model=run, device="cpu", gate=(f"preservation>={least}",))
        convert(source, tmp_path / name, options)
        return {path: line for path, line in read_manifest(tmp_path / name).items() if line.figures}

    values = sorted(line.figures["preservation"] for line in gated(0, "all").values() if line.figures)
    assert values[0] < values[-1]
    least = (values[0] + values[-1]) / 2
    below = sum(value < least for value in values)
    lines = gated(least, "some")
    converted = open_converted(tmp_path / "some")
    assert {pair.path for pair in converted.rejected} == {path for path in lines if lines[path].status == "rejected"}
    assert (len(converted.rejected), len(converted.pairs)) == (below, 8 - below)
    quick = EvaluateOptions(metrics=("edges",), segmenter_steps=0)
    found = evaluate(tmp_path / "some", photos / "real", options=quick)
    assert found.counts == {"frames": 8, "evaluated": 8 - below, "real": 9, "rejected": below, "missing": 0}
    assert any(f"rejected {below} of 8 frames" in reason for reason in found.reasons), found.reasons


def test_labels_are_read_when_asked_for(source: Path, foreign: Path, tmp_path: Path) -> None:
    source = shutil.copytree(source, tmp_path / "source")
    labels = open_converted(foreign, source).pairs[0].labels()
    (source / "Scene01/clone/frames/depth/Camera_0/depth_00000.png").write_bytes(b"")
    assert set(labels) == {"segmentation", "depth", "boxes"}
    assert isinstance(labels["segmentation"], Segmentation)
    assert labels["segmentation"] is labels["segmentation"]
    assert labels.get("flow") is None
    assert open_converted(foreign, source).pairs[0].label("flow") is None
    with pytest.raises(ImageError, match="depth_00000"):
        labels["depth"]


def test_a_translation_of_another_size_is_refused_by_name(source: Path, foreign: Path, paint: Write) -> None:
    pair = open_converted(foreign, source).pairs[0]
    small = next(paint(foreign / "small", 1, size=(20, 10)).iterdir())
    shutil.copy(small, foreign / pair.path)
    with pytest.raises(ImageError, match="20x10 pixels, its source 40x24"):
        pair.both()


def test_what_cannot_be_evaluated_is_told(source: Path, foreign: Path, tmp_path: Path, photos: Path) -> None:
    with pytest.raises(Sim2RealError, match="no such folder"):
        open_converted(tmp_path / "nothing")
    with pytest.raises(Sim2RealError, match="--source"):
        open_converted(foreign)
    with pytest.raises(DatasetError, match="no image under the name of a frame"):
        open_converted(foreign, photos / "real")


def frame(sequence: str, index: int) -> FramePair:
    return FramePair(Frame(f"{sequence}/{index}.png", sequence, index), Path("out"))


def test_runs_are_consecutive_frames_spread_over_all() -> None:
    pairs = [frame(sequence, index) for sequence in "ab" for index in (*range(40), 90, *range(100, 103))]
    chosen = [(pair.sequence, pair.index) for pair in runs(pairs, 16, length=4)]
    assert len(chosen) == 16
    assert {sequence for sequence, _ in chosen} == {"a", "b"}
    neighbours = {(sequence, index + step) for sequence, index in chosen for step in (-1, 1)}
    assert set(chosen) <= neighbours
    assert len(runs(pairs, 0)) == 2 * 43


def test_frames_without_neighbours_make_no_run() -> None:
    assert runs([frame("a", index) for index in (1, 3, 5)], 10) == []
