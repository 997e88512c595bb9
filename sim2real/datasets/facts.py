"""Facts about a dataset for its user: the source of the cards in ``datasets/`` and of ``sim2real datasets``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

RENDERED: Final = "your own: rendered data is subject to the terms of the assets in the scene"
"""The licence of data that users render with a simulator themselves."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The contents of a dataset's card. Texts are Markdown, one paragraph each.

    Attributes:
        title: Its usual name.
        about: What it is.
        size: The number and size of the images, and the number of bytes, as far as known.
        get: How to get it, with the address.
        tree: The expected tree, one line per kind of file, starting with ``folder``, which may be omitted; ``...``
            stands for more of the same.
        labels: Kind of label that ``Frame.load_label`` decodes -> what it contains; empty if the kind says it all.
        licence: Name and conditions of the licence.
        binds: Whether a converted copy is an adaptation that stays under that licence.
        irregularities: Surprises, such as missing files, encodings and names, in one or two sentences each.
        side: Its usual side in a training: the simulation, or real images; None if it holds both.
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
        """The note on the licence for users who convert; empty if a converted copy is not bound by it."""
        return (
            f"{self.title}'s own frames are licensed {self.licence}: a converted copy is an adaptation under it"
            * self.binds
        )
