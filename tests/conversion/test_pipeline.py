"""Threads that decode, translate, encode and carry: all at once, within bounds, and none of them left behind."""

import _thread
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sim2real.conversion import ConvertOptions, Progress, batches, decoding, make_plan, pipeline, quiet
from sim2real.conversion.manifest import ManifestWriter, manifest_path
from sim2real.conversion.pipeline import Pipeline, Tally
from sim2real.datasets.inputs import Inputs
from sim2real.files import write_whole
from sim2real.imageio import decode_picture
from tests.commands import manifest

Write = Callable[..., Path]
Images = NDArray[np.uint8]
Run = Callable[..., Tally]


class Negative:
    """In place of a generator: turns pictures into their negatives, and remembers what it was given."""

    def __init__(self, streams: int = 1, work: Callable[[], object] = lambda: None) -> None:
        self.streams = streams
        self.shapes: list[tuple[int, ...]] = []
        self._work = work

    def __call__(
        self, images: Images, paths: list[str], inputs: Inputs, _sequences: list[str]
    ) -> tuple[Images, tuple[str, ...]]:
        assert not inputs
        assert len(paths) == len(images)
        self.shapes.append(images.shape)
        self._work()
        return 255 - images, ("noted",)


@pytest.fixture
def source(tmp_path: Path, paint: Write) -> Path:
    """Frames of three sizes, mixed, and as many labels."""
    for index, size in enumerate([(40, 32), (24, 16), (9, 33)]):
        paint(tmp_path / "in" / "abc"[index], 7, size=size, seed=index)
    for number in range(21):
        (tmp_path / f"in/{number}.txt").write_text("label")
    return tmp_path / "in"


@pytest.fixture
def execute(tmp_path: Path, source: Path, run: Path) -> Run:
    """``execute(inference, **options)``: all of a pipeline, into ``out``."""

    def run_it(inference: Any, progress: Progress = quiet, *, workers: int = 2, **options: Any) -> Tally:
        out = tmp_path / "out"
        plan = make_plan(source, out, ConvertOptions(model=run, device="cpu", precision="fp32", **options))
        (out / ".sim2real").mkdir(parents=True, exist_ok=True)
        manifest = ManifestWriter(manifest_path(out))
        try:
            return Pipeline(plan, inference, manifest, workers=workers, keep_going=False, progress=progress).run()
        finally:
            manifest.close()
            assert not [thread for thread in threading.enumerate() if thread.name.startswith(("codec", "tr", "carry"))]

    return run_it


def slow_down(monkeypatch: pytest.MonkeyPatch, name: str, seconds: float) -> None:
    """Make something that the pipeline calls take its time."""
    module = module_of(name)
    quick = getattr(module, name, None)

    def slow(*args: Any, **options: Any) -> Any:
        time.sleep(seconds)
        return quick(*args, **options) if quick else None

    monkeypatch.setattr(module, name, slow, raising=False)


def module_of(name: str) -> ModuleType:
    """Where the pipeline finds what it calls."""
    return next(module for module in (decoding, batches, pipeline) if hasattr(module, name) or module is pipeline)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("streams", "batch_size"), [(1, 1), (1, 4), (3, 1), (4, 3)])
@pytest.mark.parametrize("workers", [1, 3])
def test_each_frame_becomes_what_is_made_of_it_whatever_goes_on_beside_it(
    tmp_path: Path, source: Path, execute: Run, *, streams: int, batch_size: int, workers: int
) -> None:
    negative = Negative(streams)
    tally = execute(negative, batch_size=batch_size, workers=workers)
    assert tally.done == {"converted": 21, "carried": 21}
    assert tally.notes == {"noted": 21}
    for path in source.rglob("*.png"):
        with Image.open(path) as before, Image.open(tmp_path / "out" / path.relative_to(source)) as after:
            assert np.array_equal(255 - np.array(before), np.array(after))
    assert {shape[0] for shape in negative.shapes} == {batch_size}  # compiled networks see three shapes, no more
    assert len(negative.shapes) == 3 * -(-7 // batch_size)  # batches are as full as can be


@pytest.mark.timeout(60)
def test_as_many_threads_call_as_the_engine_asks_for(execute: Run) -> None:
    together = threading.Barrier(3)
    execute(Negative(3, lambda: together.wait(30)))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("slow", ["decode_picture", "encode_picture", "translate"])
def test_pictures_on_their_way_are_bounded_in_pixels(execute: Run, monkeypatch: pytest.MonkeyPatch, slow: str) -> None:
    bound = 40 * 32 * 4
    monkeypatch.setattr(pipeline, "_PIXELS", bound)
    lock, held, peaks = threading.Lock(), defaultdict[str, int](int), [0]

    def decode_it(data: bytes, path: Path) -> Any:
        picture = decode_picture(data, path)
        with lock:
            held[f"{path.parent.name}/{path.name}"] = picture.rgb.shape[0] * picture.rgb.shape[1]
            peaks.append(sum(held.values()))
        return picture

    def write_it(path: Path, data: bytes) -> None:
        with lock:
            del held[f"{path.parent.name}/{path.name}"]
        write_whole(path, data)

    monkeypatch.setattr(decoding, "decode_picture", decode_it)
    monkeypatch.setattr(pipeline, "write_whole", write_it)
    slow_down(monkeypatch, slow, 0.005)
    execute(Negative(2, lambda: time.sleep(0.005 * (slow == "translate"))), workers=8)
    assert bound / 3 < max(peaks) <= bound


@pytest.mark.timeout(60)
def test_a_frame_larger_than_the_bound_is_converted_alone(execute: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "_PIXELS", 100)
    assert execute(Negative(), batch_size=2).done["converted"] == 21


def fails(*_args: object, **_options: object) -> None:
    raise RuntimeError("a bug")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("place", ["decode_picture", "encode_picture", "write_whole", "carry", "stat_of", "size_of"])
def test_whatever_fails_in_whatever_thread_ends_it_all(
    execute: Run, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr(module_of(place), place, fails)
    with pytest.raises(RuntimeError, match="a bug"):
        execute(Negative(3), batch_size=2)


@pytest.mark.timeout(60)
def test_an_engine_a_manifest_and_a_display_that_fail_end_it_all(
    tmp_path: Path, execute: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        execute(Negative(3, fails))
    with pytest.raises(RuntimeError, match="a bug"):
        execute(Negative(), fails, include=("b/*",))
    monkeypatch.setattr(ManifestWriter, "add", fails)
    with pytest.raises(RuntimeError, match="a bug"):
        execute(Negative(), include=("c/*",))


@pytest.mark.timeout(60)
def test_the_first_error_is_the_one_that_is_told(execute: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, _data: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(pipeline, "write_whole", full)
    translated = threading.Event()

    def fail_later() -> None:
        if translated.is_set():
            time.sleep(0.2)
            fails()
        translated.set()

    with pytest.raises(OSError, match="No space left"):
        execute(Negative(2, fail_later))


@pytest.mark.timeout(60)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Ctrl-C may hit between open and with
def test_what_is_in_hand_when_the_user_stops_it_is_finished_and_noted(tmp_path: Path, execute: Run) -> None:
    calls: list[int] = []

    def stop() -> None:
        calls.append(1)
        if len(calls) == 5:
            _thread.interrupt_main()
            time.sleep(0.3)

    negative = Negative(2, stop)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background begin without it
    try:
        with pytest.raises(KeyboardInterrupt):
            execute(negative)
    finally:
        signal.signal(signal.SIGINT, before)
    lines = manifest(tmp_path / "out")
    converted = [path for path, line in lines.items() if line["status"] == "converted"]
    assert len(converted) == len(negative.shapes)
    assert 5 <= len(converted) < 21
    present = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    assert present == {*lines, ".sim2real", ".sim2real/manifest.jsonl"}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("place", "limit"),
    [
        ("decode_picture", "decoding"),
        ("translate", "translating"),
        ("encode_picture", "encoding and writing"),
        ("carry", "carrying"),
    ],
)
def test_the_slowest_stage_is_told(execute: Run, monkeypatch: pytest.MonkeyPatch, place: str, limit: str) -> None:
    told: dict[str, list[str]] = {"converting": [], "carrying": []}

    def progress(stage: str, _done: int, _total: int, limit: str = "", /) -> None:
        told[stage].append(limit)

    slow_down(monkeypatch, place, 0.1)
    tally = execute(Negative(1, lambda: time.sleep(0.1 * (place == "translate"))), progress, batch_size=3)
    assert tally.limit == limit
    assert told["carrying" if limit == "carrying" else "converting"][-1] == limit
    if limit != "carrying":
        assert max(tally.busy, key=tally.busy.__getitem__) == limit


def test_too_little_work_has_no_limit(execute: Run) -> None:
    assert execute(Negative(), batch_size=8, include=("a/*",)).limit == ""
