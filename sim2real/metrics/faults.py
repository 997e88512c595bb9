"""The faults that the metric ``artefacts`` measures: what a person calls them, and from where on they are seen."""

from collections.abc import Mapping
from typing import Final, NamedTuple


class Fault(NamedTuple):
    """One of them.

    Attributes:
        text: What a person calls it.
        least: Figures up to here tell of none.
        sure: From here on everybody sees it.
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
"""Name of a figure of the metric -> the fault that it tells of."""
