"""Damaged label files: whatever stands in them, what comes out are labels or errors of one line, never a traceback."""

import re
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim2real.conversion.resized_files import DamageError, Resizer, UnknownError
from sim2real.datasets import open_dataset
from sim2real.errors import DatasetError, ImageError

Grow = Callable[..., Path]

LAYOUTS = ["yolo", "voc", "coco", "kitti-object", "kitti-tracking", "unity-solo", "unity-perception"]
OTHERS = ["bdd100k", "nuimages", "vkitti2", "vkitti1", "carla-shift", "replicator-coco", "airsim", "cityscapes"]
TEXTS = (".txt", ".json", ".xml", ".yaml", ".csv")
NUMBERS = ("NaN", "nan", "-inf", "Infinity", "1e999", "-1e308", str(10**400), "0", "-1", "1e-320", "1,5", "0x1F")
VALUES = ('"x"', "null", "[]", "{}", "[[]]", "[1]", "true", '"\\ud800"', '""', "[" * 3000 + "]" * 3000)
BYTES = (b"", b"\0", b"\xff\xfe", b"\xe4", b"<", b'"', b"\r", b" ", b"[" * 2000, b"\n" * 3)
MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes of a file, damaged somewhere: cut off, other bytes, another number or value, another encoding."""
    place = draw(st.integers(0, len(data)))
    match draw(st.integers(0, 6)):
        case 0:
            return data[:place]
        case 1:
            return data[:place] + draw(st.sampled_from(BYTES)) + data[place + draw(st.integers(0, 64)) :]
        case 2 | 3:
            return _with_another_number(data, place, draw(st.sampled_from(NUMBERS + VALUES)).encode())
        case 4:
            return draw(st.sampled_from(MARKS)) + data
        case 5:
            return data.replace(b"\n", b"\r\n") + data
        case _:
            return data.decode("utf-8", "replace").encode(draw(st.sampled_from(["utf-16", "gbk", "utf-7"])), "replace")


def _with_another_number(data: bytes, place: int, new: bytes) -> bytes:
    found = re.search(rb"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.])", data[place:])
    begin, end = (place + found.start(), place + found.end()) if found else (place, place)
    return data[:begin] + new + data[end:]


@pytest.mark.parametrize("layout", [*LAYOUTS, *OTHERS])
def test_damage_is_told_in_a_line(layout: str, grow: Grow) -> None:
    roots = count()
    root = grow(layout)
    pool = sorted(path.relative_to(root) for path in root.rglob("*") if path.suffix in TEXTS)

    @settings(max_examples=40 if layout in LAYOUTS else 10, deadline=None, derandomize=True)
    @given(st.data())
    def damage_one(data: st.DataObject) -> None:
        nonlocal root
        root = root.rename(root.with_name(f"data{next(roots)}"))  # nothing is remembered of it
        path = root / data.draw(st.sampled_from(pool))
        before = path.read_bytes()
        path.write_bytes(data.draw(damaged(before)))
        try:
            _use(root)
        finally:
            path.write_bytes(before)

    damage_one()


def _use(root: Path) -> None:
    lines = []
    try:
        dataset = open_dataset(root)
        lines += dataset.warnings()
        for frame in dataset.frames():
            for kind in frame.labels:
                try:
                    frame.load_label(kind)
                except (DatasetError, ImageError) as error:
                    lines.append(str(error))
        resizer = Resizer(dataset, (16, 12))
        for path, role in dataset.files():
            try:
                if resize := resizer(path, role):
                    resize((root / path).read_bytes())
            except (UnknownError, DamageError, ImageError) as error:
                lines.append(str(error))
    except (DatasetError, ImageError) as error:
        lines.append(str(error))
    assert not any("\n" in line for line in lines)
