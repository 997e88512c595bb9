"""Whatever the layout: a conversion ends in what verify calls ok, at another size too, or is refused by name."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sim2real import Sim2RealError, open_dataset
from sim2real.conversion import ConversionSummary, verify
from tests.datasets.conftest import LAYOUTS

Translate = Callable[..., ConversionSummary]


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("size", [None, (16, 12), (48, 30)])
def test_verify_says_ok(name: str, size: tuple[int, int] | None, tmp_path: Path, translate: Translate) -> None:
    source, out = LAYOUTS[name](tmp_path / "in"), tmp_path / "out"
    try:
        summary = translate(source, out, resize=size, labelme_image="embed")
    except Sim2RealError as error:
        if size and re.search("--resize cannot resize|cannot be resized", str(error)):
            return
        raise
    report = verify(out)
    assert report.ok, report.problems
    images = [frame.image for frame in open_dataset(source).frames() if frame.side in {None, summary.record.side}]
    assert summary.converted == len(images)
    for frame in open_dataset(out).frames():
        for kind in frame.labels:
            frame.load_label(kind)
