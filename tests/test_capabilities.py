import pytest
from torch import nn

from sim2real.capabilities import Capabilities, capabilities
from sim2real.errors import PluginError
from sim2real.networks.colour import Variation
from sim2real.networks.generators import EncoderDecoder
from sim2real.networks.range_adapter import RangeAdapter


def saying(**attributes: object) -> nn.Module:
    network: nn.Module = type("Saying", (nn.Module,), attributes)()
    return network


def test_a_generator_can_what_its_attributes_say() -> None:
    assert capabilities(RangeAdapter(EncoderDecoder(width=4, blocks=1), returns_images=True)) == Capabilities()
    colouring = Capabilities(stochastic=True, exportable=False, cpu_only=True)
    assert capabilities(RangeAdapter(Variation(3, 3), returns_images=True)) == colouring
    assert capabilities(saying(inputs=("depth", "flow"))).inputs == ("depth", "flow")
    assert capabilities(saying(context=2)).of_sequences
    assert capabilities(saying(clip_length=4)).of_sequences


@pytest.mark.parametrize("value", [True, False])
def test_the_attribute_that_is_gone_is_refused_with_those_in_its_place(value: bool) -> None:
    with pytest.raises(PluginError, match=r"generator 'old' has .*'by_frame', .*stochastic.*exportable.*cpu_only"):
        capabilities(saying(by_frame=value), "old")


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"inputs": ("height",)}, r"generator 'odd' has the unknown input 'height'; known: segmentation, instance"),
        ({"inputs": "depth"}, r"^the generator 'odd' has inputs = 'depth', a single string: write \('depth',\)"),
        ({"inputs": None}, "'inputs', which must contain names, not None"),
        ({"inputs": nn.ReLU()}, "'inputs', which must contain names, not a ReLU"),
        ({"clip_length": 0}, "'clip_length', .* at least 1, not 0"),
        ({"clip_length": "3"}, "'clip_length', .* at least 1, not '3'"),
        ({"context": -1}, "'context', .* at least 0, not -1"),
        ({"context": nn.ReLU()}, "'context', .* not a ReLU"),
        ({"clip_length": 2, "context": 1}, "both a clip_length and a context"),
    ],
)
def test_what_makes_no_sense_is_refused(attributes: dict[str, object], message: str) -> None:
    with pytest.raises(PluginError, match=message):
        capabilities(saying(**attributes), "odd")
