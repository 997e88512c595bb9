"""What the program chooses when the user leaves it open, and that it stays so."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from sim2real.capabilities import Capabilities
from sim2real.conversion import ConversionSummary, inference, survey, trial
from sim2real.conversion.manifest import Record
from sim2real.conversion.options import ConvertOptions
from sim2real.conversion.resolved_settings import Machine, resolve_settings
from sim2real.devices import free_memory
from sim2real.engines.base import EngineSettings
from sim2real.engines.cost import Cost
from sim2real.engines.tiling import CannotTileError, TiledEngine
from sim2real.engines.torch import TorchEngine
from sim2real.errors import CannotCompileError, OutOfMemoryError, Sim2RealError
from sim2real.timing import LEAD, Choice

Translate = Callable[..., ConversionSummary]
COMPILING = Machine(worth_compiling={"cpu": 0}, repays_compiling=lambda *_: True)
ReadTree = Callable[[Path], dict[str, bytes]]


LAST = "fp32 in channels-last layout"


def timed(fp32: float, bf16: float, last: float = 1000) -> Machine:
    """A machine with bf16, where a frame takes these seconds, with fp32 in two memory layouts."""
    seconds = {"fp32": fp32, LAST: last, "bf16": bf16}

    def fastest(ways: Mapping[str, Callable[[], object]]) -> Choice:
        for work in ways.values():
            work()
        own = {name: seconds[name] for name in ways}
        best = min(own, key=lambda name: own[name])
        return Choice(best if own[best] * LEAD < fp32 else "fp32", own)

    return Machine(
        precision=lambda requested, _device: "bf16" if requested == "auto" else requested,
        fastest_way=partial(trial.fastest_way, fastest=fastest),
    )


IN_HALVES = timed(60, 15)


def save(folder: Path, *sizes: tuple[int, int]) -> list[Path]:
    """Images 0.png, 1.png ... of these sizes (W, H)."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (width, height) in enumerate(sizes):
        pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return [folder / f"{number}.png" for number in range(len(sizes))]


@pytest.fixture
def chosen(run: Path, tmp_path: Path) -> Callable[..., Record]:
    """``chosen(size, ..., **options)``: the choices for images of these sizes on the CPU."""

    def ask(
        *sizes: tuple[int, int],
        notify: Callable[[str], None] = print,
        machine: Machine | None = None,
        model: Path = run / "sim2real.safetensors",
        **options: Any,
    ) -> Record:
        save(tmp_path / "images", *sizes)
        requested = ConvertOptions(**{"model": model, "device": "cpu", "precision": "fp32", **options})
        found = survey(tmp_path / "images", tmp_path / "out", requested)
        return resolve_settings(found, requested, None, notify, machine or Machine()).record

    return ask


def test_frames_that_memory_suffices_for_are_not_tiled(chosen: Callable[..., Record]) -> None:
    machine = Machine(free_memory=lambda _device: 10**9, cost_of=lambda _generator: Cost(memory=200, work=1))
    plenty = chosen((40, 30), machine=machine)
    assert plenty.tile_above == 2**20  # 1e9 / 2 bytes over 200 x 1.5 bytes a pixel is 1.67 million pixels
    assert plenty.tile == 256
    machine = replace(machine, free_memory=lambda _device: 10**6)
    scarce = chosen((40, 30), machine=machine)
    assert scarce.tile_above == 2**10
    assert scarce.tile == 128
    assert chosen((40, 30), tile="off", machine=machine).tile == 0
    forced = chosen((40, 30), tile="64", machine=machine)
    assert (forced.tile, forced.tile_above) == (64, 0)


@pytest.mark.parametrize("tile", ["8", "-1", "big", "1.5", ""])
def test_other_tiles_are_refused(chosen: Callable[..., Record], tile: str) -> None:
    with pytest.raises(Sim2RealError, match=r"--tile .*: use auto, off, or the side"):
        chosen((40, 30), tile=tile)


def test_free_memory_is_less_than_all() -> None:
    assert 10**7 < free_memory("cpu") < 10**14


def test_what_many_frames_repay_is_compiled(chosen: Callable[..., Record]) -> None:
    machine = Machine(fastest_engine=lambda *_: "torch", repays_compiling=lambda *_: True)
    sizes = [(40, 30)] * 5 + [(30, 20)] * 2 + [(20, 10)]
    assert chosen(*sizes, machine=machine).compile == []
    machine = replace(machine, cost_of=lambda _generator: Cost(memory=200, work=4e13 / (30 * 20 * 2)))
    assert chosen(*sizes, machine=machine).compile == [[40, 30], [30, 20]]
    assert chosen(*sizes, machine=replace(machine, compiler=lambda _kind: False)).compile == []
    assert chosen(*sizes, machine=replace(machine, repays_compiling=lambda *_: False)).compile == []


def test_without_a_compiler_of_c_nothing_is_compiled_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert not Machine().compiler("cpu")
    assert Machine().compiler("cuda")


def test_an_engine_is_only_tried_where_that_is_repaid(chosen: Callable[..., Record]) -> None:
    tried: list[EngineSettings] = []

    def fastest(_generator: nn.Module, settings: EngineSettings, *_: object) -> str:
        tried.append(settings)
        return "torch"

    machine = Machine(fastest_engine=fastest)
    chosen((40, 30), machine=machine)
    assert not tried
    machine = replace(machine, cost_of=lambda _generator: Cost(memory=200, work=1e13))
    chosen((40, 30), machine=machine)
    chosen((40, 30), engine="torch", machine=machine)
    assert len(tried) == 1


def test_a_network_that_cannot_be_foreseen_is_told(chosen: Callable[..., Record]) -> None:
    def fail(_generator: object) -> Cost:
        raise RuntimeError("looks at values")

    told: list[str] = []
    assert chosen((40, 30), notify=told.append, machine=Machine(cost_of=fail)).tile == 0
    assert "cannot be estimated" in told[0]


def test_a_precision_that_will_not_do_is_not_chosen(
    chosen: Callable[..., Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    more: dict[str, Any] = {"notify": told.append, "machine": IN_HALVES}
    assert chosen((400, 30), precision="auto", **more).precision == "bf16"
    monkeypatch.setattr(trial, "_AGREEMENT", 200.0)
    assert chosen((400, 30), precision="auto", **more).precision == "fp32"
    assert told[1].startswith("bf16 is not used: its picture is ")
    assert chosen((400, 30), precision="bf16", **more).precision == "bf16"


@pytest.mark.parametrize(
    ("times", "precision", "last", "message"),
    [
        ((60, 15), "bf16", False, ["precision bf16: 4.00 times as fast as fp32, "]),
        ((60, 97.2), "fp32", False, ["1.62 times as fast as bf16 here"]),
        ((60, 58), "fp32", False, ["0.97 times as fast as bf16 here"]),
        ((60, 97.2, 50), "fp32", True, [f"precision {LAST}: 1.20 times as fast as fp32, 1.94 times as fast as bf16"]),
        ((60, 15, 50), "bf16", False, [f"3.33 times as fast as {LAST}"]),
        ((0.1, 0.01, 0.05), "fp32", False, []),  # a short conversion
    ],
)
def test_the_fastest_way_to_compute_is_taken(
    chosen: Callable[..., Record], times: tuple[float, ...], precision: str, last: bool, message: list[str]
) -> None:
    told: list[str] = []
    found = chosen((64, 48), precision="auto", machine=timed(*times), notify=told.append)
    assert (found.precision, found.channels_last) == (precision, last)
    assert len(told) == len(message)
    assert all(part in line for part, line in zip(message, told, strict=True))


def test_a_layout_changes_pixels_by_rounding_and_is_kept(
    chosen: Callable[..., Record], run: Path, tmp_path: Path, translate: Translate
) -> None:
    assert not chosen((64, 48), machine=timed(60, 70, 50)).channels_last  # --precision fp32 leaves nothing open
    found = chosen((64, 48), precision="auto", machine=timed(60, 70, 50))
    assert (found.precision, found.channels_last) == ("fp32", True)
    requested = ConvertOptions(model=run / "sim2real.safetensors", device="cpu", precision="auto")
    again = survey(tmp_path / "images", tmp_path / "out", requested)
    assert resolve_settings(again, requested, found, print, timed(15, 60)).record.channels_last
    pictures = []
    for name, machine in (("last", timed(60, 70, 50)), ("first", timed(60, 70))):
        done = translate(tmp_path / "images", tmp_path / name, machine=machine, precision="auto")
        assert done.record.channels_last is (name == "last")
        kept = translate(tmp_path / "images", tmp_path / name, machine=timed(60, 15), precision="auto")
        assert kept.record == done.record
        pictures.append(np.asarray(Image.open(tmp_path / name / "0.png"), dtype=int))
    assert abs(pictures[0] - pictures[1]).max() <= 1


class Sampled(nn.Module):
    """Says that it samples at random."""

    stochastic = True

    def __init__(self, _in_channels: int, _out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images: torch.Tensor, seeds: object = None) -> torch.Tensor:  # noqa: ARG002  the contract's
        return images


def test_all_looks_are_computed_in_one_way(
    tmp_path: Path, translate: Translate, save_model: Callable[..., Path]
) -> None:
    save(tmp_path / "in", (64, 48))
    more: dict[str, Any] = {"model": save_model(tmp_path / "sampled.safetensors", Sampled), "looks": 3}
    ways = []
    for look, machine in enumerate((timed(60, 15), timed(15, 60), timed(60, 70, 50))):
        folder = tmp_path / f"out/look_{look:02}"
        done = translate(tmp_path / "in", folder, machine=machine, precision="auto", look=look, **more)
        ways.append((done.record.precision, done.record.channels_last))
    assert ways == [("bf16", False)] * 3
    other = tmp_path / "other/look_01"
    alone = translate(tmp_path / "in", other, machine=timed(15, 60), precision="auto", look=1, **more)
    assert alone.record.precision == "fp32"


@pytest.mark.parametrize(
    ("compiled", "expected", "message"),
    [(1.0, True, "compiled: 2.00 times as fast as uncompiled here"), (1.95, False, "uncompiled: 0.97 times as")],
)
def test_compilation_has_to_be_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: float, expected: bool, message: str
) -> None:
    made: list[tuple[tuple[int, int], ...]] = []

    def make(_name: str, generator: nn.Module, settings: EngineSettings) -> TorchEngine:
        made.append(settings.compile)
        return TorchEngine(generator, replace(settings, compile=()))

    def fastest(ways: Mapping[str, Callable[[], object]]) -> Choice:
        for work in ways.values():
            work()
        own = {"uncompiled": 2.0, "compiled": compiled}
        return Choice("compiled" if compiled * LEAD < own["uncompiled"] else "uncompiled", own)

    monkeypatch.setattr(trial, "make_engine", make)
    told: list[str] = []
    network = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1))
    settings = EngineSettings(device="cpu", precision="fp32", batch_size=2, compile=((30, 20), (40, 30)))
    frame = partial(trial.middle_frame, Capabilities(), save(tmp_path, (40, 30)), lambda _image: {}, guided_size=0)
    assert trial.repays_compiling(network, settings, frame, told.append, fastest) is expected
    assert made == [(), ((40, 30),)]
    assert told[0].startswith(message)


def test_the_choice_is_kept_by_a_rerun(chosen: Callable[..., Record], run: Path, tmp_path: Path) -> None:
    found = chosen((64, 48), precision="auto", machine=IN_HALVES)
    requested = ConvertOptions(model=run / "sim2real.safetensors", device="cpu", precision="auto")
    again = survey(tmp_path / "images", tmp_path / "out", requested)
    assert resolve_settings(again, requested, found, print, timed(15, 60)).record.precision == "bf16"


class Coarse(nn.Module):
    """Makes other images in reduced precision, which are as good."""

    any_precision = True

    def __init__(self, _in_channels: int, _out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images if torch.is_autocast_enabled(images.device.type) else -images


def test_a_generator_may_be_as_good_in_any_precision(
    chosen: Callable[..., Record],
    save_model: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    more: dict[str, Any] = {"machine": IN_HALVES, "model": save_model(tmp_path / "coarse.safetensors", Coarse)}
    assert chosen((400, 30), precision="auto", **more).precision == "bf16"
    monkeypatch.setattr(Coarse, "any_precision", False)
    assert chosen((400, 30), precision="auto", **more).precision == "fp32"


class Fake:
    """An engine that takes so long, and adds so much to every value of torch's picture."""

    def __init__(self, *, seconds: float = 0, error: int = 0, refusal: str = "", by_name_only: bool = False) -> None:
        self.seconds, self.error, self.refusal, self.by_name_only = seconds, error, refusal, by_name_only

    def __call__(self, generator: nn.Module, settings: EngineSettings) -> Callable[..., NDArray[np.uint8]]:
        if self.refusal:
            raise Sim2RealError(self.refusal)
        torch_engine = TorchEngine(generator, settings)

        def translate(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
            return torch_engine(images) // 2 * 2 + np.uint8(self.error)

        return translate


@pytest.mark.parametrize(
    ("others", "best", "said"),
    [
        ({}, "torch", []),
        ({"fast": Fake()}, "fast", ["engine fast: "]),
        ({"fast": Fake(), "wrong": Fake(error=40)}, "fast", ["engine fast: ", "engine wrong is not used: its picture"]),
        ({"absent": Fake(refusal="no such device")}, "torch", ["engine absent is not used: no such device"]),
        ({"slow": Fake(seconds=9)}, "torch", []),
        ({"rough": Fake(by_name_only=True)}, "torch", []),
    ],
)
def test_the_fastest_engine_that_agrees_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: dict[str, Fake], best: str, said: list[str]
) -> None:
    made: dict[int, Fake] = {}

    def make(name: str, generator: nn.Module, settings: EngineSettings) -> object:
        if name == "torch":
            return TorchEngine(generator, settings)
        engine = others[name](generator, settings)
        made[id(engine)] = others[name]
        return engine

    def speed(engine: object, _frames: object, **_more: object) -> float:
        return 1.0 if isinstance(engine, TorchEngine) else 0.1 if made[id(engine)].seconds else 3.0

    entries = [SimpleNamespace(name=name) for name in ("torch", *others)]
    registry = SimpleNamespace(entries=lambda _kind: entries, load=lambda _kind, name: others[name])
    monkeypatch.setattr(trial, "registry", lambda: registry)
    monkeypatch.setattr(trial, "make_engine", make)
    monkeypatch.setattr(trial, "frames_per_second", speed)
    told: list[str] = []
    network = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1))
    settings = EngineSettings(device="cpu", precision="fp32")
    images = save(tmp_path, (40, 30))
    frame = partial(trial.middle_frame, Capabilities(), images, lambda _image: {}, guided_size=0)
    assert trial.fastest_engine(network, settings, frame, told.append) == best
    assert len(told) == len(said)
    assert all(line.startswith(start) for line, start in zip(told, said, strict=True))


def test_choices_are_kept_by_every_rerun(tmp_path: Path, translate: Translate, tree: ReadTree) -> None:
    save(tmp_path / "in", (60, 40), (200, 100))
    machine = Machine(free_memory=lambda _device: 4 * 10**6)
    first = translate(tmp_path / "in", tmp_path / "out", machine=machine).record
    assert first.tile == 128
    assert 60 * 40 < first.tile_above < 200 * 100
    (tmp_path / "out/1.png").unlink()
    before = tree(tmp_path / "out")
    again = translate(tmp_path / "in", tmp_path / "out")
    assert again.record == first
    assert tree(tmp_path / "out").items() >= before.items()
    with pytest.raises(Sim2RealError, match="tile was 128, is 64"):
        translate(tmp_path / "in", tmp_path / "out", tile="64")


def test_tiles_change_next_to_nothing(tmp_path: Path, translate: Translate) -> None:
    save(tmp_path / "in", (130, 70), (33, 200), (20, 20))
    for tile in ("off", "32"):
        translate(tmp_path / "in", tmp_path / tile, tile=tile)
    for number in range(3):
        whole, tiled = (np.asarray(Image.open(tmp_path / tile / f"{number}.png"), dtype=int) for tile in ("off", "32"))
        assert abs(whole - tiled).max() <= 1
        assert whole.std() > 1


def scarce(monkeypatch: pytest.MonkeyPatch, *, whole: int, tile: int) -> None:
    """Let the device have memory for so many pixels at once, and for tiles of so many."""
    run_whole, run_tiled = TorchEngine._translate, TiledEngine._translate

    def translate(engine: TorchEngine, images: torch.Tensor, height: int, width: int) -> torch.Tensor:
        limited, run = (tile, run_tiled) if isinstance(engine, TiledEngine) else (whole, run_whole)
        needed = engine._tile**2 if isinstance(engine, TiledEngine) else len(images) * height * width
        if needed > limited:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(engine, images, height, width)  # type: ignore[arg-type]  # run fits the engine

    monkeypatch.setattr(TorchEngine, "_translate", translate)
    monkeypatch.setattr(TiledEngine, "_translate", translate)


@pytest.mark.parametrize(
    ("whole", "tile", "note"),
    [
        (10**9, 10**9, None),
        (2 * 64 * 48, 10**9, "translated 2 at a time for lack of memory"),
        (64 * 48, 10**9, "translated 1 at a time for lack of memory"),
        (100, 10**9, "translated in tiles of 512 for lack of memory"),
        (100, 128**2, "translated in tiles of 128 for lack of memory"),
    ],
)
def test_lack_of_memory_costs_nothing_but_time(  # noqa: PLR0917  fixtures and cases
    tmp_path: Path, translate: Translate, monkeypatch: pytest.MonkeyPatch, whole: int, tile: int, note: str | None
) -> None:
    save(tmp_path / "in", *[(64, 48)] * 5, (30, 20))
    translate(tmp_path / "in", tmp_path / "plenty", batch_size=4)
    scarce(monkeypatch, whole=whole, tile=tile)
    told: list[str] = []
    summary = translate(tmp_path / "in", tmp_path / "scarce", batch_size=4, notify=told.append)
    assert summary.converted == 6
    for number in range(6):
        plenty, scarcely = (
            np.asarray(Image.open(tmp_path / out / f"{number}.png"), int) for out in ("plenty", "scarce")
        )
        assert abs(plenty - scarcely).max() <= 1
    lines = [json.loads(line) for line in (tmp_path / "scarce/.sim2real/manifest.jsonl").read_text().splitlines()]
    assert all((note in line.get("notes", [])) == (note is not None) for line in lines[:5])
    assert len(told) == (note is not None)
    if note:
        assert "out of memory with frames of 64x48" in told[0]
        assert any(warning.startswith(note) for warning in summary.warnings)


def test_what_fits_nowhere_is_told(tmp_path: Path, translate: Translate, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "in", (64, 48))
    scarce(monkeypatch, whole=100, tile=100)
    with pytest.raises(OutOfMemoryError, match="need more memory than cpu has"):
        translate(tmp_path / "in", tmp_path / "out")
    monkeypatch.setattr(
        inference, "check_tiling", lambda _generator: (_ for _ in ()).throw(CannotTileError("it is odd"))
    )
    with pytest.raises(Sim2RealError, match="the generator 'encoder-decoder' cannot be run in tiles: it is odd"):
        translate(tmp_path / "in", tmp_path / "out2")


def test_without_a_compiler_it_goes_on_and_says_so(
    tmp_path: Path, translate: Translate, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "in", (64, 48))
    make = trial.make_engine

    def no_compiler(name: str, generator: nn.Module, settings: EngineSettings) -> object:
        if settings.compile:
            raise CannotCompileError("the generator cannot be compiled here: no compiler")
        return make(name, generator, settings)

    monkeypatch.setattr(inference, "make_engine", no_compiler)
    told: list[str] = []
    summary = translate(tmp_path / "in", tmp_path / "out", notify=told.append, machine=COMPILING)
    assert summary.record.compile == []
    assert told == ["continuing without compilation: the generator cannot be compiled here: no compiler"]
    record = json.loads((tmp_path / "out/.sim2real/conversion.json").read_text())
    assert record["compile"] == []
    assert translate(tmp_path / "in", tmp_path / "out").skipped == 1


def test_what_began_compiled_does_not_go_on_otherwise(
    tmp_path: Path, translate: Translate, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "in", (64, 48), (64, 48))
    assert translate(tmp_path / "in", tmp_path / "out", machine=COMPILING).record.compile == [[64, 48]]
    (tmp_path / "out/1.png").unlink()
    monkeypatch.setattr(torch, "compile", lambda *_, **__: lambda _images: 1 / 0)
    with pytest.raises(Sim2RealError, match=r"begun with a compiled generator, but .*ZeroDivisionError"):
        translate(tmp_path / "in", tmp_path / "out")


class Drawing:
    """An engine that samples at random: a frame's grey is its seed's first byte."""

    takes_seeds = True

    def __call__(self, images: NDArray[np.uint8], *, seeds: NDArray[np.uint64]) -> NDArray[np.uint8]:
        assert seeds.dtype == np.uint64
        greys = (seeds >> np.uint64(56)).astype(np.uint8)
        return np.broadcast_to(greys[:, None, None, None], images.shape).copy()


def test_what_is_drawn_for_a_frame_is_seeded_by_its_path(
    tmp_path: Path, translate: Translate, tree: ReadTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "make_engine", lambda *_: Drawing())
    save(tmp_path / "in/some", *[(64, 48)] * 5)
    save(tmp_path / "in/others", *[(64, 48)] * 5)
    translate(tmp_path / "in", tmp_path / "whole", batch_size=3)
    whole = tree(tmp_path / "whole")
    greys = [int(np.asarray(Image.open(tmp_path / "whole" / path))[0, 0, 0]) for path in whole]
    assert greys == [hashlib.sha256(path.encode()).digest()[0] for path in whole]
    translate(tmp_path / "in", tmp_path / "part", batch_size=2, exclude=("some/[13].png",))
    assert tree(tmp_path / "part").items() <= whole.items()


class Whole(nn.Module):
    """A generator that is no graph, samples at random, and runs on CPUs alone."""

    stochastic = True
    exportable = False
    cpu_only = True

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(in_channels, out_channels))


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_a_generator_of_whole_frames_is_run_by_torch_as_it_is(
    chosen: Callable[..., Record],
    save_model: Callable[..., Path],
    offer: Callable[..., None],
    tmp_path: Path,
    precision: str,
) -> None:
    told: list[str] = []
    machine = replace(IN_HALVES, worth_compiling={"cpu": 0}, worth_trying={"cpu": 0})
    more: dict[str, Any] = {"model": save_model(tmp_path / "whole.safetensors", Whole), "machine": machine}
    found = chosen((64, 48), precision=precision, notify=told.append, **more)
    assert (found.engine, found.device, found.precision, found.batch_size) == ("torch", "cpu", "fp32", 1)
    assert (found.compile, found.tile, found.tile_above) == ([], 0, 0)
    assert told == []
    with pytest.raises(Sim2RealError, match="--tile 64: the generator 'whole' looks at whole frames"):
        chosen((64, 48), tile="64", **more)
    offer("engines", "other", Drawing)
    with pytest.raises(Sim2RealError, match="--engine other: the generator 'whole' runs only with torch"):
        chosen((64, 48), engine="other", **more)
