"""Compiling and layouts change how fast a training is, not what it learns."""

from collections.abc import Callable

import pytest
import torch

from sim2real.config import Config
from sim2real.errors import SettingsError
from sim2real.methods.base import Batch
from sim2real.training import speed
from sim2real.training.precision import choose_compilation
from sim2real.training.samples import evaluating
from sim2real.training.setup import build_method

Configure = Callable[..., Config]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's compiler
def test_compiled_steps_are_the_eager_ones(configure: Configure) -> None:
    settings = ("discriminator.regularization.r1=1.0", "discriminator.regularization.r1_every=1", "losses.identity=1.0")
    random = torch.Generator().manual_seed(0)
    batches = [Batch(*torch.rand(2, 2, 3, 32, 32, generator=random).mul(2).sub(1)) for _ in range(3)]

    def losses(compiled: str) -> list[float]:
        torch.manual_seed(0)
        config = configure(*settings, f"compile={compiled}", "data.size=[32, 32]", "data.batch_size=2")
        method = build_method(config, "cpu", "fp32")
        steps = [float(loss) for batch in batches for loss in method.step(batch).losses.values()]
        with evaluating(method.networks.values()):
            return steps + [float(loss) for loss in method.evaluate(batches[0]).losses.values()]

    torch._dynamo.reset()
    assert losses("true") == pytest.approx(losses("false"), rel=1e-3, abs=5e-4)  # cycles begin at 0
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0, "nothing was compiled"


def test_discriminators_with_spectral_norm_are_not_compiled(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    # torch 2.15 compiles them to steps whose backward pass fails
    compiled: list[object] = []
    monkeypatch.setattr("sim2real.training.setup.compile_network", compiled.append)
    for spectral_norm, expected in (("true", ["G_sim2real", "G_real2sim"]), ("false", None)):
        compiled.clear()
        method = build_method(
            configure("compile=true", f"discriminator.regularization.spectral_norm={spectral_norm}"), "cpu", "fp32"
        )
        assert compiled == [method.networks[name] for name in expected or method.networks]


@pytest.mark.parametrize(
    ("settings", "total", "device", "expected"),
    [
        ("compile=auto precision=bf16", 1999, "cpu", False),
        ("compile=auto precision=bf16", 2000, "cpu", True),
        ("compile=auto precision=fp32", 2000, "cpu", False),  # half as slow again as uncompiled
        ("compile=true precision=bf16", 2000, "cpu", False),  # nothing is left to try
        ("compile=auto precision=fp32", 2000, "cuda:1", True),
        ("compile=auto precision=fp32", 2000, "mps", False),
    ],
)
def test_long_trainings_try_compilation_where_it_may_pay(
    configure: Configure, settings: str, total: int, device: str, expected: bool
) -> None:
    assert speed.may_compile(configure(*settings.split()), total, device) is expected


def test_where_nothing_can_be_compiled_auto_goes_without_and_true_is_refused(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("speed", "precision"):
        monkeypatch.setattr(f"sim2real.training.{module}.reason_not_to_compile", lambda: "no C++ compiler")
    config = configure("compile=auto", "precision=bf16")
    assert choose_compilation(config, "cpu", "bf16", 10_000) == (
        False,
        "no C++ compiler; the training goes on uncompiled, which is slower",
    )
    with pytest.raises(SettingsError, match="no C\\+\\+ compiler"):
        build_method(configure("compile=true"), "cpu", "fp32")
