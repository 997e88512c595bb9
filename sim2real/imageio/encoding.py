"""How pictures are written in lossy containers, as one value."""

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
"""The samplings of chroma that can be written."""
_COARSEST: Final = 255  # of baseline JPEG

Table = Annotated[
    tuple[int, ...],
    Rule("64 numbers of 1 to 65535", lambda steps: len(steps) == 64 and all(0 < step < 65536 for step in steps)),
]
Tables = Annotated[tuple[Table, ...], Rule("at most three tables", lambda tables: len(tables) <= 3)]
Quality = Annotated[int, Rule("1 to 100", lambda quality: 1 <= quality <= 100)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoding:
    """How pictures are written in lossy containers.

    Attributes:
        quality: Of JPEG, where no tables are given, and of lossy WebP and AVIF, 1 to 100.
        tables: Quantisation tables of a JPEG, one each for luma, Cb and Cr, 64 steps by rows; the last one also holds
            for what has none of its own. Empty: those of ``quality``.
        sampling: Of a JPEG's chroma, ``"4:4:4"``, ``"4:2:2"``, ``"4:2:0"`` ...
        progressive: Whether a JPEG is coded in progressive scans.
        as_source: A JPEG is written with the tables, the sampling and the mode of the file whose place it takes.
    """

    quality: Quality = USUAL_QUALITY
    tables: Tables = ()
    sampling: str = WRITTEN[0]
    progressive: bool = False
    as_source: bool = False

    def of(self, like: "Picture") -> "Encoding":
        """How a picture is written that takes the place of another."""
        return like.encoding if self.as_source and like.encoding else self

    @property
    def written_sampling(self) -> str:
        """How chroma is sampled when it is written."""
        return self.sampling if self.sampling in WRITTEN else WRITTEN[0]

    @property
    def written_tables(self) -> Tables:
        """The tables when they are written."""
        return tuple(tuple(min(step, _COARSEST) for step in table) for table in self.tables)

    def notes(self, like: "Picture") -> Iterator[str]:
        """What of it cannot be written in the place of a picture, one phrase each."""
        encoding = self.of(like)
        if like.format == "JPEG" and not like.grey and encoding.sampling not in WRITTEN:
            yield f"chroma of a JPEG cannot be sampled {encoding.sampling}: it is written {WRITTEN[0]}"
        if like.format == "JPEG" and max(chain(*encoding.tables), default=0) > _COARSEST:
            yield f"steps of a JPEG's tables above {_COARSEST} are written as {_COARSEST}"

    def __str__(self) -> str:
        """In a few words."""
        if self.as_source:
            return "tables, sampling and mode of each source file"
        tables = f"tables from {min(chain(*self.tables))} to {max(chain(*self.tables))}" if self.tables else ""
        mode = "progressive" if self.progressive else "baseline"
        return f"{tables or f'quality {self.quality}'}, {mode}, {self.sampling}"


def typical(encodings: Sequence[Encoding]) -> Encoding:
    """The encoding of most of some JPEG files: the median of each step of their tables, the usual sampling and mode.

    Args:
        encodings: Of one file or more.
    """
    most = max(len(each.tables) for each in encodings)
    tables = [[each.tables[place] for each in encodings if len(each.tables) > place] for place in range(most)]
    coloured = [each for each in encodings if len(each.tables) > 1] or encodings
    return Encoding(
        tables=tuple(tuple(map(median_low, zip(*those, strict=True))) for those in tables),
        sampling=Counter(each.sampling for each in coloured).most_common(1)[0][0],
        progressive=Counter(each.progressive for each in encodings).most_common(1)[0][0],
    )
