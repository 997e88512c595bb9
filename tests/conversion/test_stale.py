"""What still tells the old looks is told by the record, the manifest and the report."""

import json
from collections.abc import Callable
from pathlib import Path

from sim2real.conversion import ConversionSummary
from sim2real.conversion.manifest import read_manifest, read_record, record_path
from sim2real.report import write_report

Write = Callable[..., Path]
Translate = Callable[..., ConversionSummary]


def test_what_tells_the_old_looks_is_listed(tmp_path: Path, translate: Translate, write_vkitti: Write) -> None:
    source, out = write_vkitti(tmp_path / "in", 3), tmp_path / "out"
    translate(source, out)
    record = read_record(out)
    assert record
    assert sorted(record.stale.values()) == [2, 3]
    lines = {path: line.stale for path, line in read_manifest(out).items() if line.stale}
    assert {path: record.stale[what] for path, what in lines.items()} == {
        **{f"Scene01/{variation}/info.txt": 2 for variation in ("clone", "fog")},
        **{f"Scene01/fog/frames/rgb/Camera_0/rgb_0000{frame}.jpg": 3 for frame in range(3)},
    }
    page = write_report(out).read_text("utf-8")
    assert f"2 files still tell the old looks: {lines['Scene01/fog/info.txt']}".replace("'", "&#39;") in page


def test_a_conversion_of_an_older_version_goes_on(tmp_path: Path, translate: Translate, write_vkitti: Write) -> None:
    source, out = write_vkitti(tmp_path / "in", 2), tmp_path / "out"
    translate(source, out, limit=1)
    older = json.loads(record_path(out).read_text("utf-8"))
    del older["stale"]
    record_path(out).write_text(json.dumps(older), "utf-8")
    summary = translate(source, out)
    assert (summary.converted, sorted(summary.record.stale.values())) == (3, [2, 2])
