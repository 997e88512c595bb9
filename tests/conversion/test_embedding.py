"""Photos inside of LabelMe's files: kept and told, replaced by the translated ones, or dropped."""

import base64
import io
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sim2real import Sim2RealError
from sim2real.conversion import ConversionSummary, inference, verify
from sim2real.conversion.manifest import read_manifest, read_record
from sim2real.datasets.findings import OLD_PICTURES
from sim2real.imageio import encode_jpeg
from sim2real.report import write_report
from tests.datasets.trees.common import photo
from tests.datasets.trees.labelme import SHAPES, document, labelme

Translate = Callable[..., ConversionSummary]
ReadTree = Callable[[Path], dict[str, bytes]]
Cli = Callable[..., subprocess.CompletedProcess[str]]

FILES = [f"photos/street {number:02d}.json" for number in range(5)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return labelme(tmp_path / "in", frames=5)


def images(out: Path) -> dict[str, bytes]:
    """The file of each document -> the bytes of its image."""
    return {path: (out / path).with_suffix(".jpg").read_bytes() for path in FILES}


def wanted(source: Path, path: str, picture: bytes | None) -> bytes:
    """A document with another picture, by plain replacement of the old text."""
    old = (source / path).read_bytes()
    inside = base64.b64encode((source / path).with_suffix(".jpg").read_bytes())
    assert old.count(b'"%s"' % inside) == 1
    return old.replace(b'"%s"' % inside, b"null" if picture is None else b'"%s"' % base64.b64encode(picture))


def require_embedded(source: Path, out: Path) -> None:
    for path, picture in images(out).items():
        assert (out / path).read_bytes() == wanted(source, path, picture)
    report = verify(out, source)
    assert report.ok, report.problems


def test_the_translated_photo_takes_the_place_of_the_old_one(
    source: Path, tmp_path: Path, translate: Translate
) -> None:
    out = tmp_path / "out"
    summary = translate(source, out, labelme_image="embed")
    assert (summary.converted, summary.edited, summary.carried) == (6, 5, 1)
    require_embedded(source, out)
    assert all(picture != (source / path).with_suffix(".jpg").read_bytes() for path, picture in images(out).items())
    record, found = read_record(out), read_manifest(out)
    assert record
    assert (record.labelme_image, record.stale) == ("embed", {})
    assert all(found[path].status == "edited" for path in FILES)
    assert all(found[path].embedded_sha256 == found[f"{path[:-4]}jpg"].sha256 for path in FILES)
    page = re.sub(r"<[^>]+>|\s+", " ", write_report(out).read_text("utf-8"))
    assert re.search(r"Labels +5 files +unchanged but for the photos inside", page)
    again = translate(source, out, labelme_image="embed")
    assert (again.converted, again.edited, again.carried, again.skipped) == (0, 0, 0, 12)


def test_the_old_photo_is_dropped(source: Path, tmp_path: Path, translate: Translate) -> None:
    out = tmp_path / "out"
    assert translate(source, out, labelme_image="drop").edited == 5
    assert all((out / path).read_bytes() == wanted(source, path, None) for path in FILES)
    assert verify(out).ok


def test_what_is_kept_is_told(source: Path, tmp_path: Path, translate: Translate) -> None:
    out = tmp_path / "out"
    summary = translate(source, out)
    assert (summary.edited, summary.record.stale) == (0, {OLD_PICTURES: 5})
    assert all((out / path).read_bytes() == (source / path).read_bytes() for path in FILES)
    assert verify(out).ok
    assert OLD_PICTURES in write_report(out).read_text("utf-8")


def test_a_rerun_says_the_same(source: Path, tmp_path: Path, translate: Translate) -> None:
    out = tmp_path / "out"
    translate(source, out, labelme_image="embed")
    with pytest.raises(Sim2RealError, match="labelme_image was embed, is keep"):
        translate(source, out)
    translate(source, out, labelme_image="drop", overwrite=True)
    assert verify(out).ok


@pytest.mark.parametrize("stage", ["converting", "carrying"])
def test_what_was_interrupted_goes_on(
    source: Path, tmp_path: Path, translate: Translate, tree: ReadTree, stage: str
) -> None:
    class GivenUpError(Exception):
        pass

    def give_up(now: str, done: int, _total: int, _limit: str = "") -> None:
        if (now, done) == (stage, 3):
            raise GivenUpError

    with pytest.raises(GivenUpError):
        translate(source, tmp_path / "out", give_up, labelme_image="embed")
    translate(source, tmp_path / "out", labelme_image="embed")
    translate(source, tmp_path / "whole", labelme_image="embed")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    require_embedded(source, tmp_path / "out")


def test_shards_embed_what_they_translate(source: Path, tmp_path: Path, translate: Translate, tree: ReadTree) -> None:
    for index in range(3):
        translate(source, tmp_path / "out", labelme_image="embed", shard=(index, 3))
    translate(source, tmp_path / "whole", labelme_image="embed")
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    require_embedded(source, tmp_path / "out")


class Painter:
    """An engine that paints stripes over one half of the frames."""

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        columns = np.arange(images.shape[2], dtype=np.uint8) // 8 % 2 * 255
        stripes = np.broadcast_to(columns[:, None], images.shape[1:])
        return np.stack([image if image[0, 0, 0] < 42 else stripes for image in images])


@pytest.mark.parametrize("rejected", ["quarantine", "blend", "pass"])
def test_what_the_gate_leaves_is_embedded(
    source: Path, tmp_path: Path, translate: Translate, monkeypatch: pytest.MonkeyPatch, rejected: str
) -> None:
    monkeypatch.setattr(inference, "make_engine", lambda *_: Painter())
    for number, path in enumerate(FILES):
        pixels = np.full((60, 96, 3), 40 + number, np.uint8)
        pixels[20:40, 30:60] = 200
        image = (source / path).with_suffix(".jpg")
        image.write_bytes(encode_jpeg(pixels))
        (source / path).write_text(document(image.name, image.read_bytes()), "utf-8")
    summary = translate(
        source, tmp_path / "out", labelme_image="embed", gate=("preservation>=0.9",), rejected=rejected, workers=1
    )
    assert sum(summary.rejected.values()) >= 3
    require_embedded(source, tmp_path / "out")


def test_a_photo_that_changes_is_embedded_anew(source: Path, tmp_path: Path, translate: Translate) -> None:
    out = tmp_path / "out"
    translate(source, out, labelme_image="embed")
    image = (source / FILES[1]).with_suffix(".jpg")
    old = image.read_bytes()
    image.write_bytes(encode_jpeg(photo(77)))
    summary = translate(source, out, labelme_image="embed")
    assert (summary.converted, summary.edited) == (1, 1)
    assert (out / FILES[1]).read_bytes() != old
    assert json.loads((out / FILES[1]).read_bytes())["imageData"] == base64.b64encode(images(out)[FILES[1]]).decode()
    assert verify(out).ok


def test_a_photo_that_fails_takes_its_file_with_it(source: Path, tmp_path: Path, translate: Translate) -> None:
    (source / FILES[2]).with_suffix(".jpg").write_bytes(b"no JPEG")
    summary = translate(source, tmp_path / "out", labelme_image="embed", keep_going=True)
    assert sorted(path for path, _ in summary.failed) == [f"{FILES[2][:-4]}jpg", FILES[2]]
    assert not (tmp_path / "out" / FILES[2]).exists()


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (
            lambda content: content | {"imageData": base64.b64encode(b"another").decode()},
            "the bytes of photos/street 03",
        ),
        (lambda content: content | {"flags": {"blurred": True}}, "not its source with another photo inside"),
    ],
)
def test_verify_tells_what_is_not_the_photo_and_what_is_not_the_source(
    source: Path, tmp_path: Path, translate: Translate, edit: Callable[[dict[str, Any]], dict[str, Any]], told: str
) -> None:
    out = tmp_path / "out"
    translate(source, out, labelme_image="embed")
    content = edit(json.loads((out / FILES[3]).read_bytes()))
    (out / FILES[3]).write_text(json.dumps(content, ensure_ascii=False, indent=2), "utf-8")
    problems = {problem.kind: problem for problem in verify(out).problems}
    assert {problem.path for problem in problems.values()} == {FILES[3]}
    assert told in problems["label"].detail


def test_only_photos_that_are_translated_are_replaced(source: Path, tmp_path: Path, translate: Translate) -> None:
    out = tmp_path / "out"
    summary = translate(source, out, labelme_image="drop", limit=2)
    assert (summary.edited, summary.record.stale) == (2, {OLD_PICTURES: 3})
    assert (out / FILES[4]).read_bytes() == (source / FILES[4]).read_bytes()
    assert verify(out).ok


def test_the_photo_inside_has_the_new_size(source: Path, tmp_path: Path, translate: Translate) -> None:
    with pytest.raises(Sim2RealError, match=r"photos inside 5 files, .* use --labelme-image embed or drop"):
        translate(source, tmp_path / "out", resize=(64, 48))
    summary = translate(source, tmp_path / "out", resize=(64, 48), labelme_image="embed")
    assert (summary.resized, summary.edited) == (5, 0)
    content = json.loads((tmp_path / "out" / FILES[0]).read_bytes())
    inside = base64.b64decode(content["imageData"])
    assert inside == images(tmp_path / "out")[FILES[0]]
    assert Image.open(io.BytesIO(inside)).size == (content["imageWidth"], content["imageHeight"]) == (64, 48)
    assert content["shapes"][1]["points"] == [[2 * x, 2 * y] for x, y in SHAPES[1]["points"]]
    assert verify(tmp_path / "out").ok
    (source / FILES[0]).with_suffix(".jpg").unlink()
    with pytest.raises(Sim2RealError, match=r"photos inside 1 files, .* leave them out with --exclude"):
        translate(source, tmp_path / "other", resize=(64, 48), labelme_image="embed")


def test_a_file_that_is_damaged_is_told(source: Path, tmp_path: Path, translate: Translate) -> None:
    whole = (source / FILES[0]).read_text("utf-8")
    (source / FILES[0]).write_text(whole[:-3], "utf-8")
    with pytest.raises(Sim2RealError, match=r"street 00\.json: cannot be edited: "):
        translate(source, tmp_path / "out", labelme_image="embed")
    (source / FILES[0]).write_text(document("street 00.jpg", None), "utf-8")
    translate(source, tmp_path / "out", labelme_image="embed")
    assert [read_manifest(tmp_path / "out")[path].status for path in FILES] == ["carried", *["edited"] * 4]


def test_the_settings_and_the_command_say_it(source: Path, tmp_path: Path, run: Path, cli: Cli) -> None:
    (tmp_path / "sim2real.toml").write_text(
        f"[[convert]]\nsource = '{source}'\nout = 'out'\nlabelme_image = 'drop'\n", encoding="utf-8"
    )
    options = ["--model", str(run), "--device", "cpu", "--precision", "fp32"]
    done = cli("convert", *options, cwd=tmp_path)
    assert "6 frames converted, 5 files edited, 1 files carried" in " ".join(done.stdout.split())
    plan = cli("convert", *options, "--labelme-image", "embed", "--overwrite", "--plan", cwd=tmp_path).stdout
    assert "to edit: LABEL" in plan
    assert "old pixels" not in plan


def test_a_photo_that_is_shown_turned_is_not_embedded(source: Path, tmp_path: Path, translate: Translate) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = (source / FILES[1]).with_suffix(".jpg")
    Image.fromarray(photo(1)).save(image, exif=exif)
    with pytest.raises(Sim2RealError, match=r"EXIF rotates 1 photos, e\.g\. photos/street 01\.jpg"):
        translate(source, tmp_path / "out", labelme_image="embed")
    translate(source, tmp_path / "out", labelme_image="drop")
    assert verify(tmp_path / "out").ok
