from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils._python_dispatch import TorchDispatchMode

from sim2real.config import Component, resolve
from sim2real.errors import PluginError, SettingsError, UnknownNameError
from sim2real.methods.base import Batch, Method, MethodSettings, Networks, StepLog
from sim2real.methods.cyclegan import CycleGAN
from sim2real.networks.bilateral import guided_images
from sim2real.registry import registry
from sim2real.training import Trainer, TrainingProgress
from sim2real.training.data import as_floats
from sim2real.training.setup import Average, build_method, require_scalars

RECIPES = [entry.name for entry in registry().entries("recipes")]
TRAINED = [
    name
    for name in RECIPES
    if resolve(name).method.name not in {"fit", "pseudo-labels"} and name != "distil"  # which needs translations
]
OTHERS = {"patch": "patchgan70", "patchgan70": "combined", "combined": "global", "projection": "patchgan70"}


@pytest.mark.parametrize("recipe", TRAINED)
def test_every_recipe_trains_with_another_discriminator(
    recipe: str, photos: Path, tmp_path: Path, tiny: list[str]
) -> None:
    other = OTHERS[resolve(recipe).discriminator.name]
    sets = [*tiny, f"discriminator.name={other}", "discriminator.options.width=4", "data.load_size=[36, 36]"]
    sets += ["data.batch_size=2", "train.steps=2"]
    config = resolve(recipe, sets=sets, sim=str(photos / "sim"), real=str(photos / "real"))
    trainer = Trainer.begin(config, tmp_path / "run")
    assert type(trainer.method.networks["D_real"].network) is registry().load("discriminators", other)
    assert [event.step for event in trainer.train() if isinstance(event, TrainingProgress)] == [2]
    assert trainer.finished


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("recipe", ["combined", "vkitti2kitti", "cyclegan", "resnet9-sigmoid"])
def test_the_gradients_of_a_step_are_those_of_double_precision(recipe: str, images: int) -> None:
    # of one image in channels-last layout PyTorch 2.15 computes those of instance normalisation wrongly on the CPU
    widths = [f"{network}.options.width=8" for network in ("generator", "discriminator")]
    config = resolve(recipe, sets=["data.size=[64,64]", "losses.identity=1", *widths])
    batch = torch.randint(0, 256, (2, images, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    gradients = []
    for dtype in (torch.float64, torch.float32):
        torch.manual_seed(0)
        method = build_method(config, "cpu", "fp32")
        for network in method.networks.values():
            network.to(dtype)
        sim, real = (as_floats(side, "cpu").to(dtype) for side in batch)
        method.step(Batch(sim, real))
        weights = [weight for generator in method.generators.values() for weight in generator.parameters()]
        gradients.append(torch.cat([weight.grad.flatten().double() for weight in weights if weight.grad is not None]))
    exact, computed = gradients
    assert (computed - exact).norm() / exact.norm() < 0.02


@pytest.mark.parametrize(
    ("sets", "sees_guided"),
    [([], False), (["transfer.name=guided"], True), (["transfer.name=guided", "transfer.train=false"], False)],
)
def test_what_discriminators_see_of_a_guided_generator(sets: list[str], sees_guided: bool, tiny: list[str]) -> None:
    method = build_method(resolve("combined", sets=[*tiny, *sets]), "cpu", "fp32")
    generator = method.generators["sim2real"].train()
    nn.init.normal_(next(iter(generator.parameters())), std=0.5)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    painted = generator.network(images)
    seen = generator(images)
    assert torch.allclose(seen, guided_images(images, painted) if sees_guided else painted, atol=1e-5)
    seen.square().sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in generator.parameters())


def test_an_average_is_that_of_torch_to_the_bit() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    average = Average(network, 0.9)
    torchs = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    for _ in range(3):
        network(torch.rand(2, 3, 8, 8))
        for weights in network.parameters():
            weights.data.add_(torch.randn_like(weights))
        average.update_parameters(network)
        torchs.update_parameters(network)
    states = dict(average.state_dict()), dict(torchs.state_dict())
    counts = [state.pop("module.1.num_batches_tracked") for state in states]
    torch.testing.assert_close(*states, rtol=0, atol=0)
    assert counts == [3, 1]  # a count has no mean


def test_nobody_waits_for_the_device_of_an_average() -> None:
    across = set()

    class Calls(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            used = [each for each in (*args, result) if isinstance(each, torch.Tensor)]
            if len({tensor.device for tensor in used}) > 1:
                across.add(func.name())
            return result

    network = nn.Conv2d(3, 4, 3, device="meta")
    average = Average(network, 0.9)
    with Calls():  # type: ignore[no-untyped-call]  # torch's is not typed
        for _ in range(2):
            average.update_parameters(network)
    assert not across


def test_further_networks_are_built_by_their_names(monkeypatch: pytest.MonkeyPatch, tiny: list[str]) -> None:
    built = {}

    class Taught(CycleGAN):
        reads = frozenset({*(CycleGAN.reads or ()), "networks"})

        def __init__(self, networks: Networks, settings: MethodSettings, **options: Any) -> None:
            super().__init__(networks, settings, **options)
            built.update({name: networks.build(name) for name in ("teacher", "judge")})

    monkeypatch.setattr("sim2real.methods.cyclegan.CycleGAN", Taught)
    named = ["networks.teacher.name=resnet", "networks.teacher.options={width=4, blocks=1}"]
    config = resolve(sets=[*tiny, *named, "networks.judge.name=patch", "networks.judge.options={width=4}"])
    build_method(config, "cpu", "fp32")
    images = torch.zeros(1, 3, 32, 32)
    assert built["teacher"](images).shape == images.shape
    assert built["judge"](images).shape == (1, 1, 2, 2)
    with pytest.raises(SettingsError, match=r"networks\.judge: the method 'cyclegan' needs this network"):
        build_method(resolve(sets=[*tiny, *named]), "cpu", "fp32")
    with pytest.raises(UnknownNameError, match=r"networks\.teacher\.name: no generator is called 'resnut'"):
        resolve("combined", sets=["networks.teacher.name=resnut"])
    assert resolve("combined", sets=[*named, "networks.teacher.name=encoder-decoder"]).networks["teacher"].options == {}


def test_losses_that_the_method_does_not_compute_for_are_refused(tiny: list[str]) -> None:
    more = [*tiny, "method.name=cut", "losses.identity=0"]
    with pytest.raises(SettingsError, match=r"losses\.cycle: it needs 'cycled_sim', which the method 'cut' do"):
        build_method(resolve(sets=more), "cpu", "fp32")
    with pytest.raises(SettingsError, match=r"losses\.identity: it needs 'identity_sim', which the method 'cut'"):
        build_method(resolve(sets=[*tiny, "method.name=cut", "losses.cycle=0"]), "cpu", "fp32")


def test_the_words_of_earlier_versions_are_refused_with_the_new_ones(
    monkeypatch: pytest.MonkeyPatch, tiny: list[str]
) -> None:
    monkeypatch.setattr("sim2real.losses.Identity.needs_identity", True, raising=False)
    with pytest.raises(PluginError, match=r"has needs_identity, which is now needs = \('identity_sim', 'iden"):
        build_method(resolve(sets=[*tiny, "losses.identity=1"]), "cpu", "fp32")


def test_a_method_of_earlier_versions_is_told_what_it_has_to_be(
    monkeypatch: pytest.MonkeyPatch, tiny: list[str]
) -> None:
    class Old:
        def __init__(self, networks: Networks, _settings: MethodSettings, **_options: Any) -> None:
            self.generators = {"sim2real": networks.generator()}

    monkeypatch.setattr("sim2real.methods.cyclegan.CycleGAN", Old)
    with pytest.raises(PluginError, match="the method 'cyclegan' must be a subclass of sim2real"):
        build_method(resolve(sets=tiny), "cpu", "fp32")


class Bare(Method):
    """A method that has what one has to have, and no more."""

    def __init__(self, networks: Networks, settings: MethodSettings) -> None:
        super().__init__(settings)
        self.generators = {"sim2real": networks.generator()}
        self.networks = dict(self.generators)

    def step(self, batch: Batch) -> StepLog:  # noqa: ARG002  the base's name
        return StepLog({})

    def evaluate(self, batch: Batch) -> StepLog:  # noqa: ARG002  as above
        return StepLog({})


class Silent(Bare):
    def __init__(self, networks: Networks, _settings: MethodSettings) -> None:
        self.networks = {"G": networks.generator()}


class OneWayBack(Bare):
    def __init__(self, networks: Networks, settings: MethodSettings) -> None:
        super().__init__(networks, settings)
        self.generators = {"real2sim": networks.generator()}


class Empty(Bare):
    def __init__(self, _networks: Networks, settings: MethodSettings) -> None:
        Method.__init__(self, settings)


class Idle(Bare):
    step = Method.step


class Long(Bare):
    def __init__(self, networks: Networks, _discriminator: Any, settings: MethodSettings) -> None:
        super().__init__(networks, settings)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Silent, r"^the method 'cyclegan' does not call super\(\).__init__\(settings\)$"),
        (Empty, "^the method 'cyclegan' has no generators, see"),
        (OneWayBack, r"^the method 'cyclegan' has no generators\['sim2real'\]"),
        (Idle, "^the method 'cyclegan' does not define step, see"),
        (Long, r"^method 'cyclegan' of .*: missing a required argument: 'settings': it is called with 2 arguments"),
    ],
)
def test_what_a_method_lacks_is_told(
    kind: type[Method], message: str, monkeypatch: pytest.MonkeyPatch, tiny: list[str]
) -> None:
    monkeypatch.setattr("sim2real.methods.cyclegan.CycleGAN", kind)
    with pytest.raises(PluginError, match=message):
        build_method(resolve(sets=tiny).model_copy(update={"method": Component(name="cyclegan")}), "cpu", "fp32")


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (None, "^the method 'odd' returns a NoneType from step, not a StepLog$"),
        (StepLog({"D": 0.5}), "^the method 'odd' logs a float as 'D', not"),  # type: ignore[dict-item]  # on purpose
        (StepLog({"D": torch.zeros(2)}), r"^the method 'odd' logs a tensor \(2,\) as 'D', not"),
    ],
)
def test_a_log_that_is_none_is_told(log: object, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        require_scalars("odd", log)
