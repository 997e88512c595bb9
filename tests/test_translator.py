"""The precision of ``sim2real.load``, with injected times."""

from collections.abc import Callable, Mapping

import pytest
import torch

from sim2real.networks import RangeAdapter
from sim2real.networks.colour import Identity
from sim2real.networks.generators import EncoderDecoder
from sim2real.timing import Choice
from sim2real.translator import _faster


@pytest.mark.parametrize(
    ("fp32", "bf16", "precision"),
    [(1.0, 0.25, "bf16"), (1.0, 1.6, "fp32"), (0.01, 0.002, "fp32")],  # the last one is fast anyway
)
def test_the_faster_precision_is_taken(
    monkeypatch: pytest.MonkeyPatch, fp32: float, bf16: float, precision: str
) -> None:
    def fastest(ways: Mapping[str, Callable[[], object]]) -> Choice:
        for work in ways.values():
            work()
        return Choice("bf16" if bf16 < fp32 else "fp32", {"fp32": fp32, "bf16": bf16})

    monkeypatch.setattr("sim2real.timing.fastest", fastest)
    torch.manual_seed(0)
    generator = RangeAdapter(EncoderDecoder(width=4, blocks=1), returns_images=True).eval()
    assert _faster(generator, "cpu", "bf16") == precision


def test_what_runs_outside_of_torch_is_not_timed() -> None:
    generator = RangeAdapter(Identity(3, 3), returns_images=True).eval()
    assert _faster(generator, "cpu", "bf16") == "fp32"
