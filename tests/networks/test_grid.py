"""The generator ``grid``: identity at first, light and colours alone whatever it has learnt, styles by seed."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from sim2real.capabilities import capabilities
from sim2real.engines.base import EngineSettings
from sim2real.engines.tiling import CannotTileError, check_tiling
from sim2real.engines.torch import TorchEngine
from sim2real.errors import SettingsError
from sim2real.metrics.edges import edge_changes
from sim2real.model import GeneratorInfo, load_generator, save_generator
from sim2real.networks import RangeAdapter
from sim2real.networks.bilateral import shrink
from sim2real.networks.grid import Grid
from sim2real.networks.statistics import colour_moments, radial_spectrum
from sim2real.testing import check_generator
from sim2real_toytown import render_frame


def images(count: int = 2, height: int = 48, width: int = 80, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def learnt(seed: int = 0, strength: float = 0.3, **options: object) -> Grid:
    """One that does something, with four styles."""
    torch.manual_seed(seed)
    network = Grid(3, 3, **options).eval()  # type: ignore[arg-type]
    for weight in (network.transforms.weight, network.curve):
        nn.init.normal_(weight, 0, strength)
    nn.init.normal_(network.by_style[-1].weight, 0, strength)  # type: ignore[arg-type]
    network.keep(network.style_of(images(4, seed=9)))
    return network


def test_it_keeps_the_contract_of_generators() -> None:
    check_generator(Grid)
    check_generator(Grid, side=32, camera=False)


def test_without_styles_the_frame_alone_decides() -> None:
    check_generator(Grid, styles=0, camera=False)
    network = Grid(styles=0, camera=False)
    assert not network.stochastic
    assert Grid(styles=0).stochastic
    assert Grid(styles=2, camera=False).stochastic
    nn.init.normal_(network.transforms.weight, std=0.05)
    for weight in network.by_style.parameters():
        nn.init.normal_(weight, std=0.5)
    before = images(2)
    one, other = (network.paint(before, style)[0] for style in network.style_of(images(4)).chunk(2))
    assert torch.equal(one, other)
    network.keep(network.style_of(before))
    assert torch.allclose(network(before, seeds=np.array([1 << 32, 2 << 32], np.uint64)), one.clamp(-1, 1))
    with pytest.raises(SettingsError, match="styles = -1"):
        Grid(styles=-1)


def test_it_has_as_many_weights_as_told_and_begins_as_the_identity() -> None:
    network = Grid(camera=False).eval()
    assert sum(weight.numel() for weight in Grid().parameters()) == 144_326
    before = images()
    assert (network(before) - before).abs().max() < 1e-5


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (48, 48), (64, 192), (130, 300)])
def test_any_size(size: tuple[int, int]) -> None:
    before = images(1, *size)
    after = learnt()(before)
    assert after.shape == before.shape
    assert after.isfinite().all()
    assert (after - before).abs().mean() > 0.01


def test_whatever_it_has_learnt_makes_no_edge() -> None:
    frame = render_frame(0, size=(416, 128), forward=False, backward=False).rgb
    for seed in range(3):
        generator = RangeAdapter(learnt(seed, strength=0.05), returns_images=True)
        after = TorchEngine(generator, EngineSettings(device="cpu", precision="fp32"))(frame[None])[0]
        assert np.abs(after.astype(int) - frame).mean() > 2
        assert edge_changes(frame, after).new < 0.01


def test_seeds_decide_styles_by_their_upper_half_and_noise_by_all_of_them() -> None:
    network, before = learnt(camera=False), images(1)
    of_sequence, other = np.array([5 << 32], np.uint64), np.array([6 << 32], np.uint64)
    one = network(before, seeds=of_sequence)
    assert torch.equal(one, network(before, seeds=of_sequence + np.uint64(7)))
    assert not torch.equal(one, network(before, seeds=other))
    network = learnt()
    assert not torch.equal(network(before, seeds=of_sequence), network(before, seeds=of_sequence + np.uint64(7)))
    assert torch.equal(network(before, seeds=of_sequence), network(before, seeds=of_sequence))
    assert torch.equal(network(before), network(before))


def test_frames_that_are_shrunk_go_without_camera() -> None:
    network, before = learnt(side=32), images(1, 40, 40)
    seeds = np.array([5 << 32], np.uint64)
    assert torch.equal(network(before, seeds=seeds), network(before, seeds=seeds + np.uint64(1)))


def test_styles_are_kept_with_the_weights_and_not_averaged(tmp_path: Path) -> None:
    network = learnt(styles=6)
    assert int(network.kept) == 4
    network.keep(network.style_of(images(4, seed=11)))
    assert int(network.kept) == 6
    info = GeneratorInfo("grid", {"styles": 6}, (-1.0, 1.0), "sim2real", "grid", {}, "none", "0.1.0")
    save_generator(tmp_path / "grid.safetensors", network, info)
    loaded, _ = load_generator(tmp_path / "grid.safetensors")
    before, seeds = images(2), np.array([1 << 32, 2 << 32], np.uint64)
    assert torch.equal(loaded(before, seeds=seeds), network(before, seeds=seeds))
    assert not network.styles.is_floating_point()


def test_a_style_tells_colours_apart() -> None:
    dark, bright = images(1) * 0.3 - 0.5, images(1) * 0.3 + 0.5
    one, other = Grid.style_of(torch.cat([dark, bright]))
    assert one[:3].mean() < -0.4 < 0.4 < other[:3].mean()
    assert torch.allclose(one[3:9], other[3:9], atol=1e-3)


def test_it_is_never_run_in_tiles() -> None:
    network = learnt()
    assert capabilities(network).whole_pictures
    with pytest.raises(CannotTileError):
        check_tiling(RangeAdapter(network, returns_images=True))


@pytest.mark.parametrize("size", [None, (320, 200)])
def test_its_graph_makes_the_same_pictures(size: tuple[int, int] | None, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    import onnxruntime  # type: ignore[import-untyped]

    from sim2real.export import export_onnx

    network = learnt(strength=0.1)
    info = GeneratorInfo("grid", {}, (-1.0, 1.0), "sim2real", "grid", {}, "none", "0.1.0")
    save_generator(tmp_path / "grid.safetensors", network, info)
    export = export_onnx(tmp_path / "grid.safetensors", tmp_path / "grid.onnx", size=size, opset=17, tolerance=1.0)
    assert export.parity.difference < 0.5
    session = onnxruntime.InferenceSession(tmp_path / "grid.onnx", providers=["CPUExecutionProvider"])
    for each in [size] if size else [(320, 200), (60, 33)]:
        before = images(1, each[1], each[0])
        [found] = session.run(None, {"images": before.numpy()})
        with torch.no_grad():
            assert np.abs(found - network(before).numpy()).max() * 127.5 < 1


def test_moments_are_those_of_numpy_and_have_gradients_where_colours_are_grey() -> None:
    values = torch.rand(2, 3, 20, 30, dtype=torch.float64)
    mean, root = colour_moments(values)
    for number in range(2):
        pixels = values[number].flatten(1).numpy()
        expected = np.cov(pixels, ddof=0) + 16 / 12 / 255**2 * np.eye(3)
        assert np.allclose(mean[number], pixels.mean(1))
        assert np.allclose(root[number] @ root[number], expected, atol=1e-8)
    grey = torch.rand(1, 1, 8, 8).expand(1, 3, 8, 8).clone().requires_grad_()
    colour_moments(grey)[1].sum().backward()
    assert grey.grad is not None
    assert grey.grad.isfinite().all()


def test_spectra_tell_in_which_band_a_wave_lies() -> None:
    columns = torch.arange(96.0)
    found = []
    for period in (24, 12, 6, 3):
        wave = 0.5 + 0.4 * (2 * math.pi * columns / period).sin()
        found.append(int(radial_spectrum(wave.expand(1, 3, 48, 96), 4).argmax()))
    assert found == [0, 1, 2, 3]
    assert radial_spectrum(torch.rand(1, 3, 5, 7), 16).isfinite().all()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("size", [(150, 90), (90, 333), (32, 64), (20, 33)])
def test_pictures_in_bytes_are_painted_as_images_in_numbers_are(size: tuple[int, int], precision: str) -> None:
    network = learnt(side=32)
    pictures = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
    seeds = np.array([1, 2 << 32], np.uint64)
    with torch.no_grad():
        made = network(torch.from_numpy(pictures).movedim(-1, 1) / 127.5 - 1, seeds)
    expected = ((made + 1) * 127.5).round().byte().movedim(1, -1).numpy()
    found = TorchEngine(network, EngineSettings(device="cpu", precision=precision))(pictures, seeds=seeds)
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.001
    assert np.abs(found.astype(int) - pictures).mean() > 5


@pytest.mark.parametrize(("before", "after"), [((60, 84), (20, 21)), ((1080, 640), (128, 224)), ((7, 100), (3, 48))])
def test_shrinking_shares_out_every_pixel(before: tuple[int, int], after: tuple[int, int]) -> None:
    images = torch.randint(0, 256, (2, 3, *before), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    shrunk = shrink(images, torch.tensor(after))
    assert shrunk.shape == (2, 3, *after)
    assert torch.allclose(shrunk.mean((2, 3)), images.float().mean((2, 3)), atol=1e-3)
    if before[0] % after[0] == 0 and before[1] % after[1] == 0:
        windows = tuple(old // new for old, new in zip(before, after, strict=True))
        assert torch.allclose(shrunk, functional.avg_pool2d(images.float(), windows), atol=1e-3)
