"""What a user should know of a dataset, said once: the cards in ``datasets/`` and ``sim2real datasets`` print it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

RENDERED: Final = "your own: rendered data is under the terms of the assets in the scene"
"""The licence of what simulators write for whoever runs them."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A dataset as its card tells of it. Texts are Markdown, of one paragraph.

    Attributes:
        title: Its usual name.
        about: What it is.
        size: How many images of which size, and how many bytes, as far as that is known.
        get: How to get it, with the address.
        tree: The expected tree, a line for each kind of file, from ``folder`` on, which may be left out; ``...`` for
            what goes on alike.
        labels: Kind of label that ``Frame.load_label`` decodes -> what it holds; empty if the kind says it all.
        licence: Name and conditions of the licence.
        binds: Whether a converted copy is an adaptation that stays under that licence.
        irregularities: What surprises: missing files, codings, names, a sentence or two each.
        side: What it mostly is in a training: the simulation, or real images; None where it holds both.
        folder: Name of the folder in the commands.
        recipe: The recipe in the commands; empty for the default.
    """

    title: str
    about: str
    size: str
    get: str
    tree: str
    licence: str
    binds: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    irregularities: Sequence[str] = ()
    side: Literal["sim", "real"] | None = "sim"
    folder: str = "data"
    recipe: str = ""

    @property
    def notice(self) -> str:
        """What a user must know of the licence before converting; empty where nothing is inherited."""
        return (
            f"{self.title}'s own frames are licensed {self.licence}: a converted copy is an adaptation under it"
            * self.binds
        )
