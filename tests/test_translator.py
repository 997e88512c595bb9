"""How ``sim2real.load`` computes, with injected times."""

from collections.abc import Callable, Mapping

import pytest
import torch

from sim2real.engines.base import ways_to_compute
from sim2real.networks import RangeAdapter
from sim2real.networks.colour import Identity
from sim2real.networks.generators import EncoderDecoder
from sim2real.timing import Choice
from sim2real.translator import _fastest

LAST = "fp32 in channels-last layout"


@pytest.mark.parametrize(
    ("fp32", "last", "bf16", "way"),
    [
        (1.0, 0.9, 0.25, "bf16"),
        (1.0, 1.1, 1.6, "fp32"),
        (1.0, 0.8, 1.6, LAST),
        (0.01, 0.005, 0.002, "fp32"),  # fast anyway
    ],
)
def test_the_fastest_way_is_taken(
    monkeypatch: pytest.MonkeyPatch, fp32: float, last: float, bf16: float, way: str
) -> None:
    def fastest(ways: Mapping[str, Callable[[], object]]) -> Choice:
        for work in ways.values():
            work()
        seconds = {"fp32": fp32, LAST: last, "bf16": bf16}
        return Choice(min(seconds, key=lambda name: seconds[name]), seconds)

    monkeypatch.setattr("sim2real.timing.fastest", fastest)
    torch.manual_seed(0)
    generator = RangeAdapter(EncoderDecoder(width=4, blocks=1), returns_images=True).eval()
    ways = ways_to_compute("cpu", ["fp32", "bf16"])
    assert _fastest(generator, ways) is ways[way]


def test_what_runs_outside_of_torch_is_not_timed() -> None:
    generator = RangeAdapter(Identity(3, 3), returns_images=True).eval()
    ways = ways_to_compute("cpu", ["fp32", "bf16"])
    assert _fastest(generator, ways) is ways["fp32"]
