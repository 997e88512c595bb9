"""The faults that the metric ``artefacts`` measures, with their names and their limits."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from sim2real.errors import TopicName


class Fault(NamedTuple):
    """A fault of translations.

    Attributes:
        text: Its name in plain words.
        least: Up to this value, there is no fault.
        sure: From this value on, the fault is obvious.
        topic: The section of the manual on it.
    """

    text: str
    least: float
    sure: float
    topic: TopicName = "are-there-artefacts"


FAULTS: Final[Mapping[str, Fault]] = {
    "periodic": Fault("periodic patterns (checkerboards)", 1.0, 2.0, "checkerboards"),
    "halos": Fault("halos around objects", 1.75, 2.5, "halos"),
    "rims": Fault("a rim along the border", 4.0, 6.0),
    "seams": Fault("seams (steps along straight lines)", 2.0, 4.0),
    "unexplained": Fault("content that the frames do not show", 0.08, 0.15, "trees-in-the-sky"),
    "inverted": Fault("light and dark swapped (a negative)", 0.25, 0.5, "colours-are-inverted"),
}
"""Name of a value of the metric -> the fault that it measures."""
