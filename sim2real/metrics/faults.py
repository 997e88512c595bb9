"""The faults that the metric ``artefacts`` measures, with their names and their limits."""

from collections.abc import Mapping
from typing import Final, NamedTuple


class Fault(NamedTuple):
    """A fault of translations.

    Attributes:
        text: Its name in plain words.
        least: Up to this value, there is no fault.
        sure: From this value on, the fault is obvious.
    """

    text: str
    least: float
    sure: float


FAULTS: Final[Mapping[str, Fault]] = {
    "periodic": Fault("periodic patterns (checkerboards)", 1.0, 2.0),
    "halos": Fault("halos around objects", 1.75, 2.5),
    "rims": Fault("a rim along the border", 4.0, 6.0),
    "seams": Fault("seams (steps along straight lines)", 2.0, 4.0),
    "unexplained": Fault("content that the frames do not show", 0.08, 0.15),
}
"""Name of a value of the metric -> the fault that it measures."""
