"""What is advised when a step does not fit the memory."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sim2real.config import Config, resolve
from sim2real.devices import is_out_of_memory
from sim2real.training.memory import Use, advice, measure

GIB = 2**30


def config_of(batch: int, accumulate: int = 1, size: tuple[int, int] = (512, 256)) -> Config:
    sets = [f"data.batch_size={batch}", f"train.gradient_accumulation_steps={accumulate}", f"data.size={list(size)}"]
    return resolve(sets=[*sets, "generator.options.width=64"])


@pytest.mark.parametrize(
    ("batch", "accumulate", "processes", "part", "words"),
    [
        (8, 1, 1, 0.6, "set train.gradient_accumulation_steps = 2 (now 1), which trains the same in less memory"),
        (8, 1, 1, 0.4, "set train.gradient_accumulation_steps = 4 (now 1), which trains the same in less memory"),
        (8, 2, 2, 0.9, "set train.gradient_accumulation_steps = 4 (now 2), which trains the same in less memory"),
        (6, 1, 1, 0.45, "set train.gradient_accumulation_steps = 3 (now 1), which trains the same in less memory"),
        (
            2, 1, 1, 0.25,
            (
                "set train.gradient_accumulation_steps = 2 (now 1), which trains the same in less memory, and "
                "lower data.size to [360, 180] or less (now [512, 256])"
            ),
        ),
        (
            4, 4, 1, 0.25,
            (
                "lower data.size to [256, 128] or less (now [512, 256]), or the networks' width "
                "(generator.options.width, now 64)"
            ),
        ),
    ],
)  # fmt: skip
def test_parts_come_first_and_then_the_size(
    batch: int, accumulate: int, processes: int, part: float, words: str
) -> None:
    use = Use(fixed=2 * GIB, reached=12 * GIB, available=int((2 + 10 * part) * GIB))
    assert advice(config_of(batch, accumulate), processes, 4, use) == words


@settings(deadline=None)  # settings are resolved each time
@given(st.integers(1, 64), st.integers(1, 40), st.integers(1, 60), st.integers(0, 80), st.sampled_from([4, 8, 32]))
def test_what_is_advised_is_less_can_be_set_and_would_fit(
    batch: int, fixed: int, variable: int, available: int, stride: int
) -> None:
    config = config_of(batch)
    use = Use(fixed * GIB, (fixed + variable) * GIB, available * GIB)
    words = advice(config, 1, stride, use)
    parts = 1
    if found := re.search(r"gradient_accumulation_steps = (\d+)", words):
        parts = int(found[1])
        assert parts > 1
        assert batch % parts == 0
    pixels = 1.0
    if found := re.search(r"to \[(\d+), (\d+)\] or less", words):
        width, height = int(found[1]), int(found[2])
        assert width < 512
        assert height < 256
        assert width % stride == height % stride == 0
        pixels = width * height / (512 * 256)
    assert parts > 1 or pixels < 1
    smallest = stride * stride / (512 * 256)
    if available > fixed and pixels > 2 * smallest:
        assert fixed + variable * pixels / parts <= available + 1e-9


def test_where_nothing_was_measured_half_is_aimed_at() -> None:
    assert "gradient_accumulation_steps = 2 (now 1)" in advice(config_of(4), 1, 4, None)
    assert "data.size to [360, 180] or less" in advice(config_of(1), 1, 4, None)


def test_errors_of_memory_are_told_from_others() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60)
    assert is_out_of_memory(raised.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
    assert measure(raised.value, "cpu") is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_on_a_gpu_it_is_measured_what_a_step_took() -> None:
    weights = torch.zeros(2**28, device="cuda", dtype=torch.uint8)

    def step() -> None:
        held = torch.zeros(2**29, device="cuda", dtype=torch.uint8)
        torch.zeros(2**50, device="cuda", dtype=torch.uint8)
        held.add_(1)

    with pytest.raises(torch.OutOfMemoryError) as raised:
        step()
    use = measure(raised.value, "cuda")
    assert use is not None
    assert use.fixed == pytest.approx(weights.numel(), rel=0.1)
    assert use.reached == pytest.approx(2**28 + 2**29 + 2**50, rel=0.01)
    assert use.reached > use.available > 2**30
