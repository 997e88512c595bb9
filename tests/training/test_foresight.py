"""What cannot fit the memory is refused before it begins, with what does."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sim2real.config import Config, resolve
from sim2real.errors import SettingsError
from sim2real.methods.base import Batch
from sim2real.training import Trainer, foresight
from sim2real.training.foresight import Need, _Alive, foresee, require_memory
from sim2real.training.setup import build_averages, build_method
from sim2real.training.specs import PLAIN, DataSpec

Configure = Callable[..., Config]


@pytest.fixture(autouse=True)
def _once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Go through the steps of the same settings once: one time is like another."""
    found: dict[str, Need] = {}

    def foresee_once(config: Config, spec: DataSpec = PLAIN) -> Need:
        key = config.model_dump_json()
        if key not in found:
            found[key] = foresee(config, spec)
        return found[key]

    monkeypatch.setattr(foresight, "foresee", foresee_once)


def small(tiny: list[str], *sets: str) -> Config:
    """Of few layers: their number is what takes the time, their size takes none."""
    few = ["discriminator.name=patch", "discriminator.options.width=4", "losses.identity=0"]
    return resolve(sets=[*tiny, *few, *sets])


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Pretend that so many bytes are free."""
    return lambda size: monkeypatch.setattr(foresight, "free_memory", lambda _device: size)


@pytest.mark.parametrize(
    "sets",
    [
        ["ema_decay=0.9"],
        [
            "discriminator.regularization.r1=1",
            "discriminator.regularization.lecam=0.1",
            "losses.identity=1",
            "image_pool_size=0",
        ],
        ["recipe=default", "discriminator.name=patchgan70", "discriminator.options.width=4"],
    ],
)
def test_what_is_foreseen_is_what_tensors_take(tiny: list[str], sets: list[str]) -> None:
    config = small(tiny, "data.batch_size=2", "compile=false", *sets)
    need = foresight.foresee(config)
    with _Alive() as alive:
        method = build_method(config, "cpu", "fp32")
        averages = build_averages(config, method)
        for _ in range(2):
            method.step(Batch(torch.zeros(2, 3, 32, 32), torch.zeros(2, 3, 32, 32)))
            for direction, average in averages.items():
                average.update_parameters(method.generators[direction].network)
    kept = 2 * max(0, config.image_pool_size - 4) * 3 * 32 * 32 * 4
    assert need.most - kept == pytest.approx(alive.peak, rel=0.1)


def test_what_fits_is_let_through(tiny: list[str], free: Callable[[int], None]) -> None:
    config = small(tiny)
    free(foresight.foresee(config).most)
    require_memory(config, "cpu", "fp32")
    free(10**12)
    require_memory(config, "cpu", "fp32")


@pytest.mark.parametrize(
    ("sets", "key"),
    [
        pytest.param(
            ["data.batch_size=4", "data.size=128x64"], "train.gradient_accumulation_steps", marks=pytest.mark.slow
        ),
        (["data.size=128x64"], "data.size"),
        pytest.param(["generator.options.width=64"], "generator.options.width", marks=pytest.mark.slow),
    ],
)
def test_what_does_not_fit_is_refused_with_what_does(
    tiny: list[str], free: Callable[[int], None], sets: list[str], key: str
) -> None:
    config = small(tiny, "compile=false", "image_pool_size=0", *sets)
    need = foresight.foresee(config)
    room = need.fixed // 2 if key.startswith("generator") else need.fixed + need.passing // 2
    free(room)
    with pytest.raises(SettingsError, match=r"a step needs at least .* GB of memory, and cpu has .* GB free") as caught:
        require_memory(config, "cpu", "fp32")
    way = str(caught.value).rpartition("--set ")[2]
    assert way.startswith(f"{key}=")
    assert foresight.foresee(small(tiny, "compile=false", "image_pool_size=0", *sets, way)).most <= room
    require_memory(small(tiny, "compile=false", "image_pool_size=0", *sets, way), "cpu", "fp32")


def test_what_a_compiler_may_save_is_not_refused(tiny: list[str], free: Callable[[int], None]) -> None:
    config = small(tiny, "data.size=128x64", "compile=auto")
    need = foresight.foresee(config)
    free(need.fixed + int(need.passing * 0.6))
    require_memory(config, "cpu", "fp32")
    require_memory(config.model_copy(update={"compile": False}), "cpu", "bf16")
    with pytest.raises(SettingsError):
        require_memory(config.model_copy(update={"compile": False}), "cpu", "fp32")


def test_networks_that_look_at_values_are_not_foreseen(free: Callable[[int], None]) -> None:
    free(1)
    require_memory(resolve("reinhard"), "cpu", "fp32")


def test_nothing_is_written_by_a_training_that_cannot_fit(
    configure: Configure, tmp_path: Path, free: Callable[[int], None]
) -> None:
    free(1)
    with pytest.raises(SettingsError, match="use smaller images and narrower networks"):
        Trainer.begin(configure(f"run={tmp_path / 'new/run'}"), tmp_path / "new/run")
    assert not (tmp_path / "new").exists()
