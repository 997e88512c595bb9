"""Plain JPEG files: those of which every decoder makes the same pixels, and refuses the same damage.

They are baseline with one scan, grey or YCbCr, and not subsampled. Decoders upsample chroma in different ways: libjpeg
interpolates it, and nvJPEG, as torchvision calls it, repeats it. They also disagree on damage, so that a file with
anything that libjpeg refuses or warns of before its first coded block is not plain.
"""

import re
from collections.abc import Iterator
from typing import Final

_BASELINE: Final = 0xC0
_HUFFMAN: Final = 0xC4
_QUANTISATION: Final = 0xDB
_RESTARTS: Final = 0xDD
_JFIF: Final = 0xE0
_DEFINING: Final = {_BASELINE, _HUFFMAN, _QUANTISATION, _RESTARTS}
_COMPONENTS: Final = ([1], [1, 2, 3])  # grey, YCbCr
_WHOLE_SCAN: Final = b"\x00\x3f\x00"  # all coefficients, at full precision
_END: Final = b"\xff\xd9"
_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7]")  # within coded data, other than restarts
_LAST_TABLE: Final = 3
_LARGEST_MEAN: Final = 15  # bits of a difference of means

Segments = list[tuple[int, bytes]]


def plain(segments: Segments, scan: bytes) -> bytes | None:
    """Return a plain JPEG without its metadata; None if it is not plain.

    Args:
        segments: Marker and bytes of each segment before the first scan, without metadata other than JFIF.
        scan: The rest of the file.
    """
    body = plain_body([each for each in segments if each[0] != _JFIF], scan)
    return None if body is None else b"\xff\xd8" + b"".join(part for marker, part in segments if marker == _JFIF) + body


def plain_body(segments: Segments, scan: bytes) -> bytes | None:
    """Return a plain JPEG without its start and its metadata; None if it is not plain.

    Args:
        segments: Marker and bytes of each segment before the first scan, without metadata.
        scan: The rest of the file.
    """
    frames = [part for marker, part in segments if marker == _BASELINE]
    if len(frames) != 1 or not _DEFINING.issuperset(marker for marker, _ in segments):
        return None
    count, frame = frames[0][9], [*_parts(frames[0][10:], 3)]  # identifier, sampling factors, table
    length = int.from_bytes(scan[2:4])
    chosen = [*_parts(scan[5 : 5 + 2 * count], 2)]  # identifier, Huffman tables
    end = _MARKER.search(scan, 2 + length)
    steps, codes = _quantisation(segments), _codes(segments)
    holds = (
        [part[0] for part in frame] in _COMPONENTS
        and len(frames[0]) == 10 + 3 * count
        and all(part[1] == 0x11 and part[2] in steps for part in frame)
        and (length, scan[4]) == (6 + 2 * count, count)
        and [part[0] for part in chosen] == [part[0] for part in frame]
        and all({part[1] >> 4, 0x10 | part[1] & 15} <= codes for part in chosen)
        and scan[5 + 2 * count : 2 + length] == _WHOLE_SCAN
        and all(len(part) == 6 for marker, part in segments if marker == _RESTARTS)
        and end is not None
        and end[0] == _END
    )
    return b"".join(part for _, part in segments) + scan[: end.end()] if holds and end else None


def _parts(data: bytes, size: int) -> Iterator[bytes]:
    """Yield the complete parts of a size."""
    return (data[place : place + size] for place in range(0, len(data) - size + 1, size))


def _quantisation(segments: Segments) -> set[int]:
    """Return the numbers of the 8-bit tables; none if a segment is damaged (ITU T.81, B.2.4.1)."""
    contents = [part[4:] for marker, part in segments if marker == _QUANTISATION]
    found = {table[0] for content in contents for table in _parts(content, 65)}
    damaged = any(len(content) % 65 for content in contents) or max(found, default=0) > _LAST_TABLE
    return set() if damaged else found


def _codes(segments: Segments) -> set[int]:
    """Return class and number of the Huffman tables, 0x11 for AC 1; none if one is damaged (ITU T.81, B.2.4.2)."""
    found = set()
    for content in (part[4:] for marker, part in segments if marker == _HUFFMAN):
        place = 0
        while place < len(content):
            table, counts = content[place], content[place + 1 : place + 17]
            symbols = content[place + 17 : place + 17 + sum(counts)]
            free = 1  # codes of the present length; the last one, all ones, stays free
            for count in counts:
                free = 2 * free - count
                if free < 1:
                    return set()
            if (
                len(counts) != 16
                or len(symbols) != sum(counts)
                or table not in {0, 1, 2, 3, 16, 17, 18, 19}
                or (table <= _LAST_TABLE and max(symbols, default=0) > _LARGEST_MEAN)
            ):
                return set()
            found.add(table)
            place += 17 + len(symbols)
    return found
