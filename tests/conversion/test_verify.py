"""Every kind of damage is found, with and without the source."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from sim2real.conversion import ConversionSummary, verify
from sim2real.errors import Sim2RealError

Write = Callable[..., Path]
Translate = Callable[..., ConversionSummary]

A, B = (f"Scene01/clone/frames/rgb/Camera_0/rgb_0000{frame}.jpg" for frame in (0, 1))
LABEL = "Scene01/clone/frames/depth/Camera_0/depth_00000.png"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, translate: Translate, write_vkitti: Write) -> Path:
    folder = tmp_path_factory.mktemp("original")
    translate(write_vkitti(folder / "in"), folder / "out")
    return folder


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    """OUT, whose conversion.json names a source beside it."""
    shutil.copytree(original, tmp_path / "copy")
    record = tmp_path / "copy/out/.sim2real/conversion.json"
    record.write_text(record.read_text().replace(str(original / "in"), str(tmp_path / "copy/in")))
    return tmp_path / "copy/out"


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def swap(a: Path, b: Path) -> None:
    held = a.read_bytes()
    a.write_bytes(b.read_bytes())
    b.write_bytes(held)


def drop_line(out: Path, path: str) -> None:
    manifest = out / ".sim2real/manifest.jsonl"
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(line for line in lines if json.loads(line)["path"] != path))


def record_again(out: Path, path: str) -> None:
    """Make the manifest agree with a file that was changed, so that only the source can tell."""
    import hashlib

    manifest = out / ".sim2real/manifest.jsonl"
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for line in lines:
        if line["path"] == path:
            data = (out / path).read_bytes()
            line |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def untranslate(out: Path) -> None:
    shutil.copy(out.parent / "in" / A, out / A)
    record_again(out, A)


def resize(out: Path) -> None:
    Image.new("RGB", (41, 24)).save(out / A)
    record_again(out, A)


def change_label_and_line(out: Path) -> None:
    flip_a_byte(out / LABEL)
    record_again(out, LABEL)


def as_png(out: Path) -> None:
    Image.new("RGB", (40, 24)).save(out / A, "PNG")
    record_again(out, A)


DAMAGES: dict[str, tuple[Callable[[Path], object], set[tuple[str, str]], set[tuple[str, str]]]] = {
    "a deleted frame": (lambda out: (out / A).unlink(), {("missing", A)}, {("missing", A)}),
    "a deleted label": (lambda out: (out / LABEL).unlink(), {("missing", LABEL)}, {("missing", LABEL)}),
    "a changed label byte": (
        lambda out: flip_a_byte(out / LABEL),
        {("changed", LABEL), ("label", LABEL)},
        {("changed", LABEL)},
    ),
    "a label changed in the manifest, too": (change_label_and_line, {("label", LABEL)}, set()),
    "a truncated image": (
        lambda out: (out / A).write_bytes((out / A).read_bytes()[:-200]),
        {("changed", A), ("image", A)},
        {("changed", A), ("image", A)},
    ),
    "a swapped pair": (
        lambda out: swap(out / A, out / B),
        {("swapped", A), ("swapped", B)},
        {("swapped", A), ("swapped", B)},
    ),
    "an extra file": (lambda out: (out / "x.txt").write_text(""), {("extra", "x.txt")}, {("extra", "x.txt")}),
    "an extra link to nowhere": (lambda out: (out / "x").symlink_to("gone"), {("extra", "x")}, {("extra", "x")}),
    "a leftover": (
        lambda out: (out / ".a.jpg.tmp-7").write_text(""),
        {("leftover", ".a.jpg.tmp-7")},
        {("leftover", ".a.jpg.tmp-7")},
    ),
    "a missing line": (
        lambda out: drop_line(out, A),
        {("unrecorded", A)},
        {("extra", A), ("missing", ".")},
    ),
    "an untranslated image": (untranslate, {("untranslated", A)}, set()),
    "an image of another size": (resize, {("image", A)}, {("image", A)}),
    "an image of another format": (as_png, {("image", A)}, set()),
    "a missing folder": (lambda out: (out / "nothing here").rmdir(), {("missing", "nothing here")}, set()),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found(copy: Path, name: str) -> None:
    assert verify(copy).ok
    damage, with_source, alone = DAMAGES[name]
    damage(copy)
    report = verify(copy)
    assert report.source == copy.parent / "in"
    assert {(problem.kind, problem.path) for problem in report.problems} == with_source
    shutil.move(copy.parent / "in", copy.parent / "elsewhere")
    report = verify(copy)
    assert report.source is None
    assert {(problem.kind, problem.path) for problem in report.problems} == alone
    named = verify(copy, copy.parent / "elsewhere")
    assert {(problem.kind, problem.path) for problem in named.problems} == with_source


def test_a_source_that_changed_since_is_told(copy: Path) -> None:
    (copy.parent / "in/Scene01/clone/pose.txt").write_text("other\n")
    Image.new("RGB", (40, 24)).save(copy.parent / "in" / A)
    kinds = {(problem.kind, problem.path) for problem in verify(copy).problems}
    assert kinds == {("source", A), ("source", "Scene01/clone/pose.txt"), ("label", "Scene01/clone/pose.txt")}


def test_what_is_no_conversion(tmp_path: Path, copy: Path) -> None:
    with pytest.raises(Sim2RealError, match="holds no conversion"):
        verify(tmp_path)
    with pytest.raises(Sim2RealError, match="no such folder"):
        verify(tmp_path / "nowhere")
    with pytest.raises(Sim2RealError, match="no such folder"):
        verify(copy, tmp_path / "nowhere")
