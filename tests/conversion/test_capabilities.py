"""Generators that say what they can in attributes, each tried alone."""

import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import sim2real
from sim2real.cli.preview import command as preview
from sim2real.conversion import ConversionSummary
from sim2real.conversion.inference import seeds_of
from sim2real.conversion.resolved_settings import Machine
from sim2real.engines.base import EngineSettings
from sim2real.engines.cost import Cost
from sim2real.engines.tiling import CannotTileError, TiledEngine, check_tiling
from sim2real.engines.torch import TorchEngine
from sim2real.errors import PluginError, SettingsError, Sim2RealError
from sim2real.export import export_onnx
from sim2real.imageio import read_rgb
from sim2real.model import load_generator

Translate = Callable[..., ConversionSummary]
ReadTree = Callable[[Path], dict[str, bytes]]
Save = Callable[..., Path]


class Plain(nn.Module):
    def __init__(self, _in_channels: int, _out_channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.5))


class Drawing(Plain):
    """Adds to each picture a colour that its seed draws."""

    stochastic = True

    def forward(self, images: Tensor, seeds: NDArray[np.uint64] | None = None) -> Tensor:
        assert seeds is not None
        assert len(seeds) == images.shape[0]
        drawn = [
            torch.rand(3, 1, 1, generator=torch.Generator().manual_seed(int(seed >> 1))) for seed in seeds.tolist()
        ]
        return images * self.gain + torch.stack(drawn).to(images.device) - 0.5


class Noisy(Plain):
    """Adds noise of the size of the picture."""

    stochastic = True

    def forward(self, images: Tensor, seeds: NDArray[np.uint64] | None = None) -> Tensor:
        assert seeds is not None
        drawn = [torch.Generator().manual_seed(int(seed >> 1)) for seed in seeds.tolist()]
        return images + torch.stack([torch.rand(3, *images.shape[2:], generator=one) for one in drawn])


class Unexportable(Plain):
    """No graph: it asks for values."""

    exportable = False

    def forward(self, images: Tensor) -> Tensor:
        return images * (0.5 if float(images.mean()) > -2 else 1.0)


class Slow(Plain):
    """Works on the CPU, and says how many threads call it at once."""

    cpu_only = True
    lock = threading.Lock()
    at_work = 0
    most = 0
    devices: set[str] = set()  # noqa: RUF012

    def forward(self, images: Tensor) -> Tensor:
        with Slow.lock:
            Slow.at_work += 1
            Slow.most = max(Slow.most, Slow.at_work)
            Slow.devices.add(images.device.type)
        time.sleep(0.05)
        with Slow.lock:
            Slow.at_work -= 1
        return images * self.gain


class Dependent(Plain):
    """Depends on more than its file."""

    provenance: dict[str, str] = {"library": "1.2"}  # noqa: RUF012

    def forward(self, images: Tensor) -> Tensor:
        return images * self.gain


class Named(Plain):
    """Is told the classes of its run."""

    names: tuple[str, ...] = ()

    def name_classes(self, names: Sequence[str]) -> None:
        self.names = tuple(names)

    def forward(self, images: Tensor) -> Tensor:
        return images * self.gain


class Old(Plain):
    by_frame = True

    def forward(self, images: Tensor) -> Tensor:
        return images


@pytest.fixture
def model(tmp_path: Path, save_model: Save) -> Callable[[type[nn.Module]], Path]:
    return lambda kind: save_model(tmp_path / f"{kind.__name__}.safetensors", kind)


def test_what_is_drawn_depends_on_the_path_alone(
    tmp_path: Path, translate: Translate, tree: ReadTree, paint: Callable[..., Path], model: Callable[..., Path]
) -> None:
    source, drawing = paint(tmp_path / "in/some", 5).parent, model(Drawing)
    whole = tmp_path / "whole"
    record = translate(source, whole, model=drawing).record
    assert (record.engine, record.compile) == ("torch", [])
    expected = tree(whole)
    assert len(set(expected.values())) == 5
    translate(source, tmp_path / "batches", model=drawing, batch_size=3)
    for index in range(2):
        translate(source, tmp_path / "shards", model=drawing, shard=(index, 2))
    for other in ("batches", "shards"):
        assert tree(tmp_path / other) == expected
    (whole / "some/0002.png").unlink()
    translate(source, whole, model=drawing)
    assert tree(whole) == expected
    loaded = sim2real.load(drawing, device="cpu", precision="fp32")
    before = read_rgb(source / "some/0003.png")
    after = loaded(before, seeds=seeds_of(["some/0003.png"]))
    assert np.array_equal(after, read_rgb(whole / "some/0003.png"))
    assert np.array_equal(loaded(before), loaded(before))
    assert not np.array_equal(loaded(before), after)


def test_what_images_depend_on_is_recorded_and_has_to_stay(
    tmp_path: Path,
    translate: Translate,
    paint: Callable[..., Path],
    model: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, dependent = paint(tmp_path / "in", 2), model(Dependent)
    assert translate(source, tmp_path / "out", model=dependent).record.provenance == {"library": "1.2"}
    stored = json.loads((tmp_path / "out/.sim2real/conversion.json").read_text())
    assert stored["provenance"] == {"library": "1.2"}
    translate(source, tmp_path / "out", model=dependent)
    monkeypatch.setattr(Dependent, "provenance", {"library": "1.3"})
    with pytest.raises(Sim2RealError, match=r"provenance was {'library': '1.2'}, is {'library': '1.3'}"):
        translate(source, tmp_path / "out", model=dependent)


def test_a_generator_is_told_the_classes_of_its_run(tmp_path: Path, save_model: Save) -> None:
    file = save_model(tmp_path / "named.safetensors", Named, classes={"names": ["road", "sky"]})
    network = load_generator(file)[0].network
    assert isinstance(network, Named)
    assert network.names == ("road", "sky")


def test_a_preview_draws_as_the_conversion_does(
    tmp_path: Path,
    translate: Translate,
    paint: Callable[..., Path],
    model: Callable[..., Path],
    shown: list[list[NDArray[np.uint8]]],
) -> None:
    source, drawing = paint(tmp_path / "in", 2), model(Drawing)
    translate(source, tmp_path / "out", model=drawing)
    preview(drawing, source, file=tmp_path / "sheet.png", device="cpu", precision="fp32")
    for place, name in enumerate(("0000.png", "0001.png")):
        assert np.array_equal(shown[0][place], read_rgb(tmp_path / "out" / name))


def test_what_draws_a_colour_is_tiled_and_what_draws_pixels_is_not(model: Callable[..., Path]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (2, 24, 40, 3), dtype=np.uint8)
    seeds, settings = np.array([3, 4], np.uint64), EngineSettings(device="cpu", precision="fp32")
    generator, _ = load_generator(model(Drawing))
    check_tiling(generator)
    whole, tiled = (
        engine(picture, seeds=seeds)
        for engine in (TorchEngine(generator, settings), TiledEngine(generator, settings, 16))
    )
    assert np.array_equal(whole, tiled)
    with pytest.raises(CannotTileError, match="of values of different shapes"):
        check_tiling(load_generator(model(Noisy))[0])


def test_what_draws_is_not_exported_and_not_given_to_engines_without_seeds(
    tmp_path: Path,
    translate: Translate,
    paint: Callable[..., Path],
    model: Callable[..., Path],
    offer: Callable[..., None],
) -> None:
    drawing = model(Drawing)
    with pytest.raises(Sim2RealError, match=r"'drawing' samples at random, .*cannot be exported"):
        export_onnx(drawing, tmp_path / "x.onnx", size=None, opset=17, tolerance=0.5)
    offer("engines", "seedless", Seedless)
    with pytest.raises(SettingsError, match="--engine seedless: it takes no seeds"):
        translate(paint(tmp_path / "in", 2), tmp_path / "out", model=drawing, engine="seedless")


class Seedless:
    def __init__(self, *_: object) -> None: ...

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return images


def test_what_is_no_graph_runs_whole_on_any_device(
    tmp_path: Path,
    translate: Translate,
    paint: Callable[..., Path],
    model: Callable[..., Path],
) -> None:
    source, unexportable = paint(tmp_path / "in", 3), model(Unexportable)
    machine = Machine(worth_compiling={"cpu": 0}, cost_of=lambda _generator: Cost(memory=1e9, work=1e20))
    told: list[str] = []
    more: dict[str, Any] = {"model": unexportable, "machine": machine}
    record = translate(source, tmp_path / "out", notify=told.append, batch_size=2, **more).record
    assert (record.engine, record.compile, record.tile, told) == ("torch", [], 0, [])
    with pytest.raises(SettingsError, match="--tile 32: the generator 'unexportable' looks at whole frames"):
        translate(source, tmp_path / "tiles", model=unexportable, tile="32")
    with pytest.raises(Sim2RealError, match="'unexportable' cannot be exported: it is not a graph; train a student"):
        export_onnx(unexportable, tmp_path / "x.onnx", size=None, opset=17, tolerance=0.5)
    generator = load_generator(unexportable)[0]
    assert TorchEngine(generator, EngineSettings(device="meta", precision="fp32")).streams == 1
    with pytest.raises(CannotTileError):
        check_tiling(generator)


def test_what_works_on_the_cpu_does_so_in_threads_whatever_the_device(
    model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sim2real.engines.torch.usable_cores", lambda: 3)
    engine = TorchEngine(load_generator(model(Slow))[0], EngineSettings(device="cuda", precision="fp32"))
    assert engine.streams == 3
    pictures = [np.full((1, 8, 8, 3), 40 * number, np.uint8) for number in range(6)]
    results: dict[int, Any] = {}

    def work(first: int) -> None:
        for number in (first, first + 3):
            results[number] = engine(pictures[number])

    threads = [threading.Thread(target=work, args=(first,)) for first in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Slow.most > 1
    assert Slow.devices == {"cpu"}
    assert all(np.array_equal(results[number], engine(pictures[number])) for number in results)


def test_the_attribute_that_is_gone_is_refused_by_name(
    tmp_path: Path, translate: Translate, paint: Callable[..., Path], model: Callable[..., Path]
) -> None:
    with pytest.raises(PluginError, match=r"generator 'old' has the attribute 'by_frame', .*stochastic"):
        translate(paint(tmp_path / "in", 2), tmp_path / "out", model=model(Old))


@pytest.mark.parametrize("batch_size", [1, 3])
def test_an_engine_that_loses_pictures_is_told(
    batch_size: int,
    tmp_path: Path,
    translate: Translate,
    paint: Callable[..., Path],
    offer: Callable[..., None],
) -> None:
    """What waited for the lost ones waited for ever."""
    offer("engines", "losing", Losing)
    with pytest.raises(PluginError, match=r"^engine losing: it returned \(.*\) for pictures \(.*\); choose another"):
        translate(paint(tmp_path / "in", 3), tmp_path / "out", engine="losing", batch_size=batch_size)


class Losing(Seedless):
    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return images[1:]


class Styled(Plain):
    """Adds the colour of a sequence, which the upper halves of seeds decide."""

    stochastic = True
    steady = True

    def forward(self, images: Tensor, seeds: NDArray[np.uint64] | None = None) -> Tensor:
        assert seeds is not None
        numbers = [int(seed >> 32) % 5 / 10 for seed in seeds.tolist()]
        return images * self.gain + torch.tensor(numbers)[:, None, None, None] - 0.5


def test_what_a_seed_decides_for_a_sequence_is_one_for_all_of_its_frames(
    tmp_path: Path, translate: Translate, write_vkitti: Callable[..., Path], model: Callable[..., Path]
) -> None:
    source, styled = write_vkitti(tmp_path / "vkitti", 4), model(Styled)
    translate(source, tmp_path / "out", model=styled)
    dataset = sim2real.open_dataset(source)
    seeds = {frame.sequence: seeds_of(["any"], [frame.sequence])[0] >> np.uint64(32) for frame in dataset.frames()}
    for frame in dataset.frames():
        before, after = read_rgb(frame.path), read_rgb(tmp_path / "out" / frame.image)
        added = (after.astype(int) - (before.astype(int) - 127.5) * 0.5 - 127.5).mean() / 127.5 + 0.5
        assert added == pytest.approx(int(seeds[frame.sequence]) % 5 / 10, abs=0.05)
    loose = seeds_of(["one.png", "two.png"], ["", ""])
    assert loose.tolist() == seeds_of(["one.png", "two.png"]).tolist()
    of_one = seeds_of(["one.png", "two.png"], ["drive", "drive"])
    assert of_one[0] >> np.uint64(32) == of_one[1] >> np.uint64(32)
    assert (of_one & np.uint64(0xFFFFFFFF)).tolist() == (loose & np.uint64(0xFFFFFFFF)).tolist()
