"""What cannot fit is refused before anything is written; what can is not."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from sim2real.conversion import ConversionSummary, ConvertOptions, make_plan, space
from sim2real.conversion.duration import forecast
from sim2real.errors import Sim2RealError

Write = Callable[..., Path]
Translate = Callable[..., ConversionSummary]


@pytest.fixture
def source(tmp_path: Path, write_vkitti: Write) -> Path:
    return write_vkitti(tmp_path / "in", 2)


def size(folder: Path, pattern: str = "*") -> int:
    return sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file())


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """``free(bytes)``: let the disk have so much room."""

    def leave(count: int) -> None:
        monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=count))

    return leave


def test_copies_need_room_and_links_need_none(
    tmp_path: Path, source: Path, run: Path, translate: Translate, free: Callable[[int], None]
) -> None:
    plan = make_plan(source, tmp_path / "out", ConvertOptions(model=run))
    assert space.bytes_to_write(plan) == size(source)
    assert space.bytes_free(tmp_path / "out/further/down") == shutil.disk_usage(tmp_path).free
    free(size(source) - 1)
    with pytest.raises(Sim2RealError, match=r"needs 0\.0 MB, 0\.0 MB are free.*--carry hardlink"):
        translate(source, tmp_path / "out")
    assert not any(path.is_file() for path in (tmp_path / "out").rglob("*") if path.name != "lock")
    free(size(source, "rgb_*"))
    assert translate(source, tmp_path / "out", carry="hardlink").failed == []
    free(size(source))
    assert translate(source, tmp_path / "other").failed == []


def test_only_what_is_still_to_do_needs_room_and_what_it_replaces_gives_some(
    tmp_path: Path, source: Path, translate: Translate, free: Callable[[int], None]
) -> None:
    out = tmp_path / "out"
    translate(source, out, exclude=("*/fog/*",))
    free(sum(size(folder) for folder in source.rglob("fog")))
    translate(source, out)
    free(0)
    assert translate(source, out).failed == []
    assert translate(source, out, overwrite=True).failed == []
    translate(source, out, overwrite=True, carry="hardlink")
    with pytest.raises(Sim2RealError, match="are free"):  # links give no room back
        translate(source, out, overwrite=True, carry="copy")


def test_copies_that_share_the_bytes_of_the_source_need_none(
    tmp_path: Path, source: Path, translate: Translate, free: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space, "can_clone", lambda _file, folder: folder.is_dir())
    free(size(source, "rgb_*"))
    assert translate(source, tmp_path / "out").failed == []
    free(size(source, "rgb_*") - 1)
    with pytest.raises(Sim2RealError, match="are free"):
        translate(source, tmp_path / "other")


@pytest.mark.skipif(not hasattr(os, "statvfs"), reason="this system counts no files")
def test_a_file_system_that_takes_no_more_files(
    tmp_path: Path, source: Path, translate: Translate, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = sum(path.is_file() for path in source.rglob("*"))
    roomy = dict.fromkeys(("f_bavail", "f_bfree", "f_blocks", "f_frsize"), 10_000)
    full = SimpleNamespace(**roomy, f_files=100, f_favail=count - 1)
    monkeypatch.setattr("os.statvfs", lambda _: full)
    with pytest.raises(Sim2RealError, match=f"needs {count} files, the file system takes {count - 1} more"):
        translate(source, tmp_path / "out")
    assert translate(source, tmp_path / "out", carry="hardlink").failed == []
    assert translate(source, tmp_path / "out", overwrite=True).failed == []
    monkeypatch.setattr("os.statvfs", lambda _: SimpleNamespace(**roomy, f_files=0, f_favail=0))
    assert translate(source, tmp_path / "other").failed == []


def test_what_translations_will_take_is_tried_on_some(
    tmp_path: Path, run: Path, translate: Translate, paint: Write
) -> None:
    paint(tmp_path / "in", 8, size=(160, 96))
    for path in (tmp_path / "in").iterdir():
        with Image.open(path) as image:
            image.convert("RGB").save(path.with_suffix(".jpg"), quality=30)
        path.unlink()
    options = ConvertOptions(model=run, device="cpu", precision="fp32")
    for name, resize in (("same", None), ("larger", (320, 192))):
        plan = make_plan(tmp_path / "in", tmp_path / name, replace(options, resize=resize))
        found = forecast(plan, options, lambda _line: None)
        assert found
        translate(tmp_path / "in", tmp_path / name, resize=resize)
        assert space.bytes_to_write(plan, found[0]) == pytest.approx(size(tmp_path / name, "*.jpg"), rel=0.2)
        assert space.growth_of(plan) > 1.2
