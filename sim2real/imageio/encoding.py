"""The encoding of images in lossy formats."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import median_low
from typing import TYPE_CHECKING, Annotated, Final

from sim2real.stored import Rule

if TYPE_CHECKING:
    from sim2real.imageio.pictures import Picture

USUAL_QUALITY: Final = 95
WRITTEN: Final = ("4:4:4", "4:2:2", "4:2:0")
"""The kinds of chroma subsampling that can be written."""
_COARSEST: Final = 255  # maximum step of baseline JPEG

Table = Annotated[
    tuple[int, ...],
    Rule("64 numbers of 1 to 65535", lambda steps: len(steps) == 64 and all(0 < step < 65536 for step in steps)),
]
Tables = Annotated[tuple[Table, ...], Rule("at most three tables", lambda tables: len(tables) <= 3)]
Quality = Annotated[int, Rule("1 to 100", lambda quality: 1 <= quality <= 100)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoding:
    """How images are written in lossy formats.

    Attributes:
        quality: Quality of JPEG without tables, and of lossy WebP and AVIF, 1 to 100.
        tables: Quantisation tables of a JPEG for luma, Cb and Cr, 64 steps each in row order; the last table also
            applies to components without one. Empty: the tables of ``quality``.
        sampling: Chroma subsampling of a JPEG, ``"4:4:4"``, ``"4:2:2"``, ``"4:2:0"`` ...
        progressive: Whether a JPEG is coded in progressive scans.
        as_source: Whether a JPEG is written with the tables, the subsampling and the mode of the file that it replaces.
    """

    quality: Quality = USUAL_QUALITY
    tables: Tables = ()
    sampling: str = WRITTEN[0]
    progressive: bool = False
    as_source: bool = False

    def of(self, like: "Picture") -> "Encoding":
        """Return the encoding for an image that replaces ``like``."""
        return like.encoding if self.as_source and like.encoding else self

    @property
    def written_sampling(self) -> str:
        """The chroma subsampling that is written."""
        return self.sampling if self.sampling in WRITTEN else WRITTEN[0]

    @property
    def written_tables(self) -> Tables:
        """The tables that are written, with steps limited to those of baseline JPEG."""
        return tuple(tuple(min(step, _COARSEST) for step in table) for table in self.tables)

    def notes(self, like: "Picture") -> Iterator[str]:
        """Yield what cannot be written in place of ``like``, one phrase each."""
        encoding = self.of(like)
        if like.format == "JPEG" and not like.grey and encoding.sampling not in WRITTEN:
            yield f"JPEG chroma subsampling {encoding.sampling} cannot be written: {WRITTEN[0]} is used"
        if like.format == "JPEG" and max(chain(*encoding.tables), default=0) > _COARSEST:
            yield f"quantisation steps of a JPEG above {_COARSEST} are written as {_COARSEST}"

    def __str__(self) -> str:
        """Return a short description."""
        if self.as_source:
            return "tables, sampling and mode of each source file"
        tables = f"tables from {min(chain(*self.tables))} to {max(chain(*self.tables))}" if self.tables else ""
        mode = "progressive" if self.progressive else "baseline"
        return f"{tables or f'quality {self.quality}'}, {mode}, {self.sampling}"


def typical(encodings: Sequence[Encoding]) -> Encoding:
    """Return the typical encoding of JPEG files: the median of each step of their tables, the most common modes.

    Args:
        encodings: Encodings of one or more files.
    """
    most = max(len(each.tables) for each in encodings)
    tables = [[each.tables[place] for each in encodings if len(each.tables) > place] for place in range(most)]
    coloured = [each for each in encodings if len(each.tables) > 1] or encodings
    return Encoding(
        tables=tuple(tuple(map(median_low, zip(*those, strict=True))) for those in tables),
        sampling=Counter(each.sampling for each in coloured).most_common(1)[0][0],
        progressive=Counter(each.progressive for each in encodings).most_common(1)[0][0],
    )
