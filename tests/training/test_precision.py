"""The precision that a training takes, with injected times."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from sim2real.config import Config, read_settings, resolve
from sim2real.errors import SettingsError
from sim2real.timing import LEAD, Choice
from sim2real.training import Trainer, loop
from sim2real.training import precision as module
from sim2real.training.begin import refuse_changes
from sim2real.training.precision import choose_compilation, choose_precision

if TYPE_CHECKING:
    from sim2real.networks import RangeAdapter

Configure = Callable[..., Config]
Fastest = Callable[[Mapping[str, Callable[[], object]]], Choice]


def timed(fp32: float, bf16: float) -> Fastest:
    """Steps of a small image take these seconds."""

    def fastest(ways: Mapping[str, Callable[[], object]]) -> Choice:
        assert [*ways] == ["fp32", "bf16"]
        for work in ways.values():
            assert work() == pytest.approx(work(), rel=0.2)  # losses
        return Choice("bf16" if bf16 * LEAD < fp32 else "fp32", {"fp32": fp32, "bf16": bf16})

    return fastest


@pytest.fixture(autouse=True)
def _native_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(precision: str, _device: str) -> str:
        return "bf16" if precision == "auto" else precision

    monkeypatch.setattr(module, "resolve_precision", resolve)


@pytest.mark.parametrize(
    ("fp32", "bf16", "precision", "message"),
    [
        (9.4, 15.0, "fp32", "fp32: 1.60 times as fast as bf16 here"),
        (9.4, 2.35, "bf16", "bf16: 4.00 times as fast as fp32 here"),
        (9.4, 9.1, "fp32", "fp32: 0.97 times as fast as bf16 here"),
        (0.01, 0.001, "fp32", ""),  # a short training
    ],
)
def test_the_faster_precision_is_taken(
    configure: Configure, fp32: float, bf16: float, precision: str, message: str
) -> None:
    assert choose_precision(configure("precision=auto"), "cpu", 100, timed(fp32, bf16)) == (precision, message)


def untimed(_: object) -> Choice:
    raise AssertionError("nothing is to be timed")


@pytest.mark.parametrize(
    ("sets", "precision"),
    [
        (["precision=bf16"], "bf16"),
        (["precision=fp32"], "fp32"),
        (["precision=auto", "deterministic=true"], "fp32"),
    ],
)
def test_where_there_is_no_choice_nothing_is_timed(configure: Configure, sets: list[str], precision: str) -> None:
    assert choose_precision(configure(*sets), "cpu", 10**6, untimed) == (precision, "")


def test_what_is_not_trained_by_gradients_is_not_timed() -> None:
    assert choose_precision(resolve("reinhard", sets=["precision=auto"]), "cpu", 10**6, untimed) == ("fp32", "")


@pytest.mark.parametrize("recipe", ["default", "labelled", "cut", "cyclegan-256", "combined", "monet2photo"])
def test_the_networks_of_each_recipe_can_be_timed(recipe: str) -> None:
    width = ["generator.options.width=4", "discriminator.options.width=4"]
    config = resolve(recipe, sets=["precision=auto", "train.steps=100000", *width])
    state = torch.get_rng_state()
    assert choose_precision(config, "cpu", 10**6, timed(1, 2))[0] == "fp32"
    assert torch.equal(state, torch.get_rng_state())


def test_the_choice_is_written_down_and_kept(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "choose_precision", lambda *_: ("bf16", "bf16: 4.00 times as fast as fp32 here"))
    monkeypatch.setattr(loop, "choose_compilation", lambda *_: (True, "compiled: 2.00 times as fast here"))
    monkeypatch.setattr("sim2real.training.setup.compile_network", lambda _network: None)
    trainer = Trainer.begin(configure("precision=auto", "compile=auto"), tmp_path / "run")
    assert trainer.precision == "bf16"
    assert trainer.choices == ["precision bf16: 4.00 times as fast as fp32 here", "compiled: 2.00 times as fast here"]
    written = read_settings(tmp_path / "run" / "config.toml")
    assert (written["precision"], written["compile"]) == ("bf16", True)
    for _ in trainer.train(stop=lambda: True):
        pass
    config = configure("precision=auto", "compile=auto")
    resumed = Trainer.resume(config, tmp_path / "run")
    assert (resumed.precision, resumed.config.compile) == ("bf16", True)
    refuse_changes(tmp_path / "run", config)
    with pytest.raises(SettingsError, match="precision was 'bf16' and is now 'fp32'"):
        refuse_changes(tmp_path / "run", configure("precision=fp32"))


@pytest.mark.parametrize(
    ("compiled", "expected", "message"),
    [(1.0, True, "compiled: 2.00 times as fast as uncompiled here"), (1.95, False, "uncompiled: 0.97 times as fast")],
)
def test_a_long_training_is_compiled_if_its_steps_become_faster(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, compiled: float, expected: bool, message: str
) -> None:
    built: list[object] = []
    monkeypatch.setattr(module, "compile_network", built.append)

    def fastest(ways: Mapping[str, Callable[[], object]]) -> Choice:
        assert [*ways] == ["uncompiled", "compiled"]
        for work in ways.values():
            work()
        name = "compiled" if compiled * LEAD < 2.0 else "uncompiled"
        return Choice(name, {"uncompiled": 2.0, "compiled": compiled})

    config = configure("compile=auto", "precision=bf16")
    found, told = choose_compilation(config, "cpu", "bf16", 10_000, fastest)
    assert (found, told[: len(message)]) == (expected, message)
    assert len(built) == 2  # a generator and a discriminator
    assert choose_compilation(config, "cpu", "bf16", 100, untimed) == (False, "")  # too short to repay it
    assert choose_compilation(configure("compile=true"), "cpu", "fp32", 10_000, untimed) == (True, "")


def test_generators_that_sample_at_random_are_not_compiled(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[RangeAdapter] = []
    monkeypatch.setattr(module, "compile_network", built.append)

    def fastest(ways: Mapping[str, Callable[[], object]]) -> Choice:
        for work in ways.values():
            work()
        return Choice("uncompiled", {"uncompiled": 1.0, "compiled": 1.0})

    config = configure("compile=auto", "precision=bf16", "generator.name=grid", "generator.options={}")
    choose_compilation(config, "cpu", "bf16", 10_000, fastest)
    assert [network.returns_images for network in built] == [False]


def test_what_the_compiler_cannot_do_is_told(configure: Configure) -> None:
    def fail(_: object) -> Choice:
        raise RuntimeError("inductor: out of registers\nand more")

    found = choose_compilation(configure("compile=auto", "precision=bf16"), "cpu", "bf16", 10_000, fail)
    assert found == (False, "the networks cannot be compiled: RuntimeError: inductor: out of registers")
