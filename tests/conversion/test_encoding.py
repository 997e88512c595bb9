"""How translated JPEG files are written, as Pillow reads them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from sim2real.conversion import ConversionSummary, verify
from sim2real.conversion.gate import Gate, parse_gate
from sim2real.conversion.manifest import read_manifest
from sim2real.errors import Sim2RealError
from sim2real.imageio import Encoding, encode_picture, read_encoding, read_picture, written_again
from sim2real.model import read_info

Write = Callable[..., Path]
Translate = Callable[..., ConversionSummary]
How = tuple[dict[int, list[int]], list[tuple[int, ...]], bool]

KINDS: dict[str, dict[str, Any]] = {
    "a.jpg": {"quality": 30, "subsampling": "4:2:0", "progressive": True},
    "b.jpg": {"quality": 80, "subsampling": "4:2:2"},
    "c.jpg": {"quality": 98, "subsampling": "4:4:4", "progressive": True},
    "d.png": {},
}


def scene(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (48, 64, 3)).astype(np.uint8))


def how(path: Path) -> How:
    """Tables, sampling and mode of a JPEG."""
    with Image.open(path) as image:
        assert isinstance(image, JpegImageFile)
        return image.quantization, [layer[1:3] for layer in image.layer], bool(image.info.get("progressive"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for seed, (name, options) in enumerate(KINDS.items()):
        scene(seed).save(tmp_path / "in" / name, **options)
    return tmp_path / "in"


def test_each_jpeg_is_encoded_as_its_source(tmp_path: Path, source: Path, translate: Translate) -> None:
    out = tmp_path / "out"
    translate(source, out, encoding="source")
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        assert how(out / name) == how(source / name)
    assert verify(out).ok
    record = json.loads((out / ".sim2real/conversion.json").read_text())
    assert (record["encoding"], record["quality"]) == ("source", 95)
    assert translate(source, out, encoding="source").skipped == 4
    with pytest.raises(Sim2RealError, match="encoding was source, is fixed"):
        translate(source, out)
    before = np.asarray(scene(0))
    assert np.array_equal(written_again(before, out / "a.jpg"), written_again(before, source / "a.jpg"))


def test_fixed_is_what_there_is_without_a_word(tmp_path: Path, source: Path, translate: Translate) -> None:
    translate(source, tmp_path / "out")
    translate(source, tmp_path / "same", encoding="fixed", quality=95)
    for name in KINDS:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "same" / name).read_bytes()
    assert {how(tmp_path / "out" / name)[2] for name in ("a.jpg", "b.jpg", "c.jpg")} == {False}
    assert how(tmp_path / "out/a.jpg")[1] == [(1, 1)] * 3


def test_a_camera_s_encoding_comes_from_the_model(
    tmp_path: Path, source: Path, translate: Translate, write_run: Write
) -> None:
    scene(9).save(tmp_path / "real.jpg", quality=61, subsampling="4:2:0", progressive=True)
    encoding = read_encoding(tmp_path / "real.jpg")
    run = write_run(tmp_path / "run", real_encoding=(encoding,))
    assert read_info(run / "sim2real.safetensors").real_encoding == (encoding,)
    out = tmp_path / "out"
    translate(source, out, model=run, encoding="real")
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        assert how(out / name) == how(tmp_path / "real.jpg")
    assert verify(out).ok


def test_the_gate_judges_and_writes_the_bytes_of_the_encoding(tmp_path: Path) -> None:
    halves = np.zeros((48, 64, 3), np.uint8)
    halves[:, 32:] = 220
    Image.fromarray(halves).save(tmp_path / "a.jpg", quality=61, subsampling="4:2:0", progressive=True)
    picture, encoding = read_picture(tmp_path / "a.jpg"), Encoding(as_source=True)
    after = np.ascontiguousarray(halves[:, ::-1] + np.uint8(9))
    data = encode_picture(after, picture, encoding)
    outcome = Gate(parse_gate(["preservation>=0.9"]), "colour", encoding).judge(picture, np.roll(after, 9, 1), data)
    assert (outcome.instead, outcome.quarantined) == (None, None)
    moved = encode_picture(np.roll(after, 12, 1), picture, encoding)
    outcome = Gate(parse_gate(["preservation>=0.9"]), "colour", encoding).judge(picture, np.roll(after, 12, 1), moved)
    assert (outcome.instead, outcome.quarantined) == ("colour", moved)
    (tmp_path / "b.jpg").write_bytes(outcome.data or b"")
    assert how(tmp_path / "b.jpg") == how(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    "refused",
    [
        (
            None,
            {"encoding": "real"},
            "lacks the encoding of its real images, .* train again, or use",
        ),
        ((), {"encoding": "real"}, "none of the real images that it was trained on is a JPEG; use --encoding source"),
        (None, {"encoding": "source", "quality": 80}, "--quality 80: --encoding source copies the tables"),
        ((Encoding(),), {"encoding": "real", "quality": 80}, "--quality 80: --encoding real copies the tables"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_done(
    refused: tuple[Any, dict[str, Any], str], tmp_path: Path, source: Path, translate: Translate, write_run: Write
) -> None:
    known, options, complaint = refused
    run = write_run(tmp_path / "run", real_encoding=known)
    with pytest.raises(Sim2RealError, match=complaint):
        translate(source, tmp_path / "out", model=run, **options)
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_written_is_noted(tmp_path: Path, source: Path, translate: Translate) -> None:
    import cv2

    upright = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440)
    cv2.imwrite(str(source / "a.jpg"), np.asarray(scene(0)), upright)
    summary = translate(source, tmp_path / "out", encoding="source")
    note = "JPEG chroma subsampling 4:4:0 cannot be written: 4:4:4 is used"
    assert read_manifest(tmp_path / "out")["a.jpg"].notes == (note,)
    assert f"{note} (1 images)" in summary.warnings


def test_the_plan_tells_it(tmp_path: Path, source: Path, write_run: Write, cli: Callable[..., Any]) -> None:
    run = write_run(tmp_path / "run")
    told = cli("convert", source, tmp_path / "out", "--model", run, "--device", "cpu", "--encoding", "source", "--plan")
    assert "JPEG: source: tables, sampling and mode of each source file" in told.stdout
