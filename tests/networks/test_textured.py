"""The generator ``textured-grid``: texture that moves no light and makes no edge, where masks allow it, and when."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sim2real.capabilities import capabilities
from sim2real.engines.base import EngineSettings
from sim2real.engines.torch import TorchEngine
from sim2real.errors import SettingsError, Sim2RealError
from sim2real.export import export_onnx
from sim2real.metrics.edges import edge_changes
from sim2real.model import GeneratorInfo, load_generator, save_generator
from sim2real.networks import RangeAdapter
from sim2real.networks.grid import Grid
from sim2real.networks.textured import TexturedGrid, low_pass
from sim2real.testing import check_generator
from sim2real.training.setup import Average
from sim2real_toytown import render_frame

pytestmark = pytest.mark.usefixtures("one_thread")

SEEDS = np.array([5 << 32, (6 << 32) + 1], np.uint64)


def images(count: int = 2, height: int = 48, width: int = 80, contrast: float = 0.7) -> Tensor:
    return contrast * (torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1)


def with_random_grid(network: Grid) -> None:
    for weight in (network.transforms.weight, network.curve):
        nn.init.normal_(weight, 0, 0.1)
    network.keep(network.style_of(images(4)))


def learnt(seed: int = 0, scale: float = 1.0, *, begun: bool = True, **options: Any) -> TexturedGrid:
    """One whose texture has large random weights."""
    torch.manual_seed(seed)
    network = TexturedGrid(**options).eval()
    for weight in network.texture.parameters():
        nn.init.normal_(weight, 0, scale)
    network.name_classes(("road", "Sky"))
    network.reach(float(begun))
    return network


def sky_above(count: int = 2, height: int = 48, width: int = 80) -> dict[str, Tensor]:
    """The upper half is sky, the left of the lower one road, the rest nothing."""
    masks = torch.full((count, height, width), -1)
    masks[:, : height // 2] = 1
    masks[:, height // 2 :, : width // 2] = 0
    return {"segmentation": masks}


def town(number: int = 0) -> Tensor:
    frame = render_frame(number, size=(416, 128), forward=False, backward=False).rgb
    return torch.from_numpy(frame).movedim(-1, 0)[None] / 127.5 - 1


def as_picture(images: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    pixels: Tensor = ((images[0].detach() + 1) * 127.5).round().clamp(0, 255).byte()
    return pixels.movedim(0, -1).numpy()


@pytest.mark.parametrize("begin", [0.0, 1.0])
def test_it_keeps_the_contract_of_generators(begin: float) -> None:
    def begun(*channels: int, **options: Any) -> TexturedGrid:
        network = TexturedGrid(*channels, begin=begin, **options)
        network.reach(0.9)
        return network

    check_generator(begun)
    check_generator(begun, side=32, camera=False)


def test_it_has_as_many_weights_as_told() -> None:
    count = sum(weight.numel() for weight in TexturedGrid().parameters())
    assert count - sum(weight.numel() for weight in Grid().parameters()) == 5_667


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("noise", [False, True])
def test_light_and_colours_stay_whatever_it_has_learnt(seed: int, noise: bool) -> None:
    before = town(seed)
    for scale in (0.3, 3.0):
        network = learnt(seed, scale, camera=False)
        added = (network(before, seeds=SEEDS[:1] if noise else None) - before) / 2
        assert added.abs().max() <= 2 * network.strength + 1e-5
        assert added.std() > 0.01
        assert low_pass(added, 2.0).abs().mean() < 1 / 255


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("noise", [False, True])
def test_it_makes_no_edge_where_the_same_network_without_limits_does(seed: int, noise: bool) -> None:
    before = town(seed)
    network = learnt(seed, 0.3, camera=False)
    made = network(before, seeds=SEEDS[:1] if noise else None)
    plane = torch.randn_like(before[:, :1]) * noise
    unlimited = before + 2 * network.strength * network.texture(torch.cat([before, plane], 1))
    picture = as_picture(before)
    new = edge_changes(picture, as_picture(made)).new
    assert new < 0.02
    assert new < edge_changes(picture, as_picture(unlimited)).new


def test_plain_classes_stay_as_the_grid_makes_them() -> None:
    network, before, inputs = learnt(camera=False), images(), sky_above()
    with_random_grid(network)
    grid = Grid(camera=False)
    grid.load_state_dict(network.state_dict(), strict=False)
    base, made = grid(before, SEEDS), network(before, SEEDS, inputs)
    is_sky = (inputs["segmentation"] == 1)[:, None].expand_as(made)
    assert torch.equal(made[is_sky], base[is_sky])
    assert ((made != base) | is_sky).float().mean() > 0.95
    network.name_classes(("sky", "road"))
    made = network(before, SEEDS, inputs)
    is_road = (inputs["segmentation"] == 0)[:, None].expand_as(made)
    assert torch.equal(made[is_road], base[is_road])
    assert not torch.equal(made[is_sky], base[is_sky])


@pytest.mark.parametrize("plain", [(), ("no such class",)])
def test_without_plain_classes_all_pixels_get_texture(plain: tuple[str, ...]) -> None:
    network, before = learnt(camera=False, plain=plain), images()
    assert torch.equal(network(before, SEEDS, sky_above()), network(before, SEEDS))
    assert (network(before, SEEDS) != before).float().mean() > 0.95


def test_masks_are_needed_for_plain_classes_alone() -> None:
    assert capabilities(TexturedGrid()).inputs == ("segmentation",)
    free = learnt(camera=False, plain=())
    assert capabilities(free).inputs == ()
    with_nothing = RangeAdapter(free, returns_images=True)(images(), {}, seeds=SEEDS)
    assert torch.equal(with_nothing, free(images(), SEEDS))


def test_before_it_begins_it_is_the_grid() -> None:
    network, before, inputs = learnt(begun=False), images(), sky_above()
    with_random_grid(network)
    grid = Grid().eval()
    grid.load_state_dict(network.state_dict(), strict=False)
    styles = grid.style_of(before)
    for share in (0.0, 0.49):
        network.reach(share)
        assert torch.equal(network(before, SEEDS, inputs), grid(before, SEEDS))
        assert torch.equal(network.paint(before, styles, SEEDS, inputs)[0], grid.paint(before, styles, SEEDS)[0])
    network.reach(0.5)
    assert not torch.equal(network(before, SEEDS, inputs), grid(before, SEEDS))
    network.reach(0.4)  # a training that is prolonged goes on
    assert not torch.equal(network(before, SEEDS, inputs), grid(before, SEEDS))


def test_once_it_has_begun_nothing_but_the_texture_learns() -> None:
    for begun in (False, True):
        network = learnt(begun=begun)
        made, _ = network.paint(images().requires_grad_(), network.style_of(images()), SEEDS, sky_above())
        made.square().sum().backward()
        learning = {name.split(".")[0] for name, weight in network.named_parameters() if weight.grad is not None}
        assert learning == {"texture"} if begun else not learning & {"texture"}
        assert all(weight.requires_grad for weight in network.parameters())


def test_seeds_decide_grain_and_nothing_else_does() -> None:
    network, before, inputs = learnt(scale=0.5, camera=False), images(), sky_above()
    made = network(before, SEEDS, inputs)
    assert torch.equal(made, network(before, SEEDS, inputs))
    assert not torch.equal(made, network(before, SEEDS + np.uint64(1), inputs))
    assert torch.equal(network(before, None, inputs), network(before, None, inputs))
    turned = network(before.flip(0), SEEDS[::-1], {"segmentation": inputs["segmentation"].flip(0)}).flip(0)
    alone = network(before[:1], SEEDS[:1], {"segmentation": inputs["segmentation"][:1]})
    torch.set_num_threads(2)
    by_two = network(before, SEEDS, inputs)
    for other in (turned, by_two):
        assert torch.allclose(made, other, atol=1e-5)
    assert torch.allclose(made[:1], alone, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (47, 33), (128, 129)])
def test_any_size(size: tuple[int, int]) -> None:
    before = images(1, *size)
    after = learnt()(before, SEEDS[:1], sky_above(1, *size))
    assert after.shape == before.shape
    assert after.isfinite().all()


def test_larger_frames_get_none_and_train_the_grid() -> None:
    network, before = learnt(side=32), images(1, 33, 40)
    grid = Grid(side=32)
    grid.load_state_dict(network.state_dict(), strict=False)
    assert torch.equal(network(before, SEEDS[:1]), grid(before, SEEDS[:1]))
    network.paint(before, network.style_of(before), SEEDS[:1])[0].sum().backward()
    assert network.transforms.weight.grad is not None


def test_engines_and_files_know_all_that_a_conversion_needs(tmp_path: Path) -> None:
    network, inputs = learnt(), sky_above()
    can = capabilities(network)
    assert can.inputs == ("segmentation",)
    assert not can.by_grids
    assert not can.exportable
    info = GeneratorInfo("textured-grid", {}, (-1.0, 1.0), "sim2real", "grid", {}, "none", "0.1.0")
    save_generator(tmp_path / "textured.safetensors", network, info)
    with pytest.raises(Sim2RealError, match=r"texture is sampled from the seed of each .*'grid' .recipe grid or lab"):
        export_onnx(tmp_path / "textured.safetensors", tmp_path / "x.onnx", size=None, opset=17, tolerance=0.5)
    loaded, _ = load_generator(tmp_path / "textured.safetensors")
    assert torch.equal(loaded(images(), inputs, seeds=SEEDS), network(images(), SEEDS, inputs))
    pictures = ((images() + 1) * 127.5).round().byte().movedim(1, -1).numpy()
    engine = TorchEngine(loaded, EngineSettings(device="cpu", precision="fp32"))
    found = engine(pictures, inputs={"segmentation": inputs["segmentation"].numpy()}, seeds=SEEDS)
    expected = network(torch.from_numpy(pictures).movedim(-1, 1) / 127.5 - 1, SEEDS, inputs)
    assert np.abs(found.astype(int) - ((expected + 1) * 127.5).detach().round().movedim(1, -1).numpy()).max() <= 1


def test_an_average_of_weights_begins_with_the_network() -> None:
    network = learnt(begun=False)
    average = Average(network, 0.9)
    average.update_parameters(network)
    network.reach(1.0)
    average.update_parameters(network)
    twin: Any = average.module
    assert bool(twin.begun)
    assert torch.equal(twin.plain, network.plain)
    assert torch.allclose(twin(images(), SEEDS), network(images(), SEEDS), atol=1e-5)


@pytest.mark.parametrize(
    ("option", "value"), [("strength", -0.1), ("strength", 2), ("sigma", 0), ("begin", 1.5), ("begin", "late")]
)
def test_options_out_of_their_ranges_are_refused(option: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=rf"generator\.options\.{option} = .* must be a number from"):
        TexturedGrid(**{option: value})


def test_it_trains_like_any_generator_in_the_programs_range() -> None:
    generator = RangeAdapter(learnt(), returns_images=True)
    assert generator.kinds == ("segmentation",)
    assert generator(images(), sky_above(), seeds=SEEDS).shape == images().shape
