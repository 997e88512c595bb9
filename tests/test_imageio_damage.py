"""Damaged images, and images that are made to do damage: an error that names the file, at once, and nothing else."""

import random
import resource
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sim2real.errors import ImageError
from sim2real.imageio import read_header, read_label, read_orientation, read_picture, read_scaled
from tests.specimens import EXTRAS, GREY, MODES, PALETTE, RGB, RGBA, Specimen, chunk, png, saved, tiff

READERS: tuple[Callable[[Path], object], ...] = (
    read_header,
    read_picture,
    read_label,
    read_orientation,
    lambda path: read_scaled(path, lambda _width, _height: (16, 16)),
)
MEGABYTE = 1 << 20 if resource.getpagesize() == 16384 else 1 << 10  # of ru_maxrss: bytes on macOS, else kilobytes


# damage


def every_kind() -> list[Specimen]:
    found = [Specimen(container, mode, (33, 21)) for container, modes in MODES.items() for mode in modes]
    return found + [
        Specimen(container, "RGB", (33, 21), frozenset({extra}))
        for container, extras in EXTRAS.items()
        for extra in extras
    ]


def damaged(data: bytes, random: random.Random) -> bytes:
    """A file with a few bits, bytes or stretches flipped, changed, lost or doubled."""
    result = bytearray(data)
    for _ in range(random.choice([1, 1, 1, 2, 4, 8])):
        place = random.randrange(max(1, len(result)))
        early = random.randrange(max(1, min(len(result), 120)))
        end = place + random.randrange(1, 64)
        kind = random.randrange(7)
        if kind == 0:
            result[place : place + 1] = bytes(each ^ 1 << random.randrange(8) for each in result[place : place + 1])
        elif kind == 1:
            del result[place:]
        elif kind == 2:
            result[early : early + 1] = bytes([random.choice([0, 1, 127, 128, 255])])
        elif kind == 3:
            result[place : place + 8] = random.randbytes(8)
        elif kind == 4:
            del result[place:end]
        elif kind == 5:
            result[early:early] = result[place:end]
        else:
            result[early : early + 4] = random.choice(
                [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4), b"\0\x80\0\0"]
            )
    return bytes(result)


def with_true_checksums(data: bytes) -> bytes:
    """A PNG whose chunks are damaged, but not so that their checksums would tell."""
    result, place = data[:8], 8
    while place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4])
        if end + 4 > len(data):
            break
        result += data[place:end] + struct.pack(">I", zlib.crc32(data[place + 4 : end]))
        place = end + 4
    return result + data[place:]


def read_damaged(count: int, seed: int, folder: Path) -> tuple[float, int]:
    """Read so many damaged images in all ways; the longest time that one took, and the memory that all took (MB)."""
    chance = random.Random(seed)
    files = [(specimen.container, specimen.suffix, specimen.data()) for specimen in every_kind()]
    before, longest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0.0
    told = set[bool]()
    for _ in range(count):
        container, suffix, data = chance.choice(files)
        data = damaged(data, chance)
        path = folder / f"a.{suffix}"
        path.write_bytes(with_true_checksums(data) if container == "PNG" and chance.random() < 0.7 else data)
        for read in READERS:
            begin = time.process_time()
            try:
                read(path)
            except ImageError as error:
                told.add(str(error).startswith(f"{path}: ") and "\n" not in str(error))
            longest = max(longest, time.process_time() - begin)
    assert told == {True}
    return longest, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // MEGABYTE


def test_damaged_images_are_errors_that_name_them(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    longest, memory = read_damaged(400, 1, tmp_path)
    assert longest < 5
    assert memory < 500
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_twenty_thousand_damaged_images(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    longest, memory = read_damaged(20_000, 2, tmp_path)
    assert longest < 5
    assert memory < 1000
    assert capfd.readouterr() == ("", "")


def test_interlaced_png_that_lacks_rows_is_damaged(tmp_path: Path) -> None:
    values = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    whole = png(values, interlaced=True)
    path = tmp_path / "a.png"
    path.write_bytes(whole)
    assert np.array_equal(read_picture(path).rgb, values)
    rows = zlib.decompress(whole[41 : whole.index(b"IEND") - 8])
    path.write_bytes(whole[:33] + chunk(b"IDAT", zlib.compress(rows[:-20])) + chunk(b"IEND", b""))
    for read in (read_picture, read_label):
        with pytest.raises(ImageError, match=r"a\.png: damaged or truncated PNG"):
            read(path)


# claims


def claiming(width: int, height: int, *, bits: int = 8, colour: int = RGB, interlaced: bool = False) -> bytes:
    """A PNG of 3.6 kB of that size."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, int(interlaced))
    body = zlib.compress(bytes(3_600_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def jpeg_of(width: int, height: int) -> bytes:
    data = bytearray(Specimen("JPEG", "RGB", (16, 16)).data())
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def patched(data: bytes, place: int, form: str, *values: int) -> bytes:
    return data[:place] + struct.pack(form, *values) + data[place + struct.calcsize(form) :]


def of(container: str) -> bytes:
    return Specimen(container, "RGB", (16, 16)).data()


BOMBS = {
    "high.png": claiming(64, 8_388_656, interlaced=True),
    "wide.png": claiming(65_600, 3_604_528, colour=GREY, interlaced=True),
    "palette.png": claiming(64, 8_388_656, colour=PALETTE),
    "deep.png": claiming(30_000, 30_000, bits=16, colour=RGBA),
    "a.jpg": jpeg_of(65_000, 65_000),
    "a.bmp": patched(of("BMP"), 18, "<ii", 60_000, 60_000),
    "a.tga": patched(of("TGA"), 12, "<HH", 60_000, 60_000),
    "a.ppm": of("PPM").replace(b"16 16", b"60000 60000", 1),
    "plain.ppm": Specimen("PPM", "L", (16, 16), frozenset({"plain"})).data().replace(b"16 16", b"60000 60000", 1),
    "float.pfm": b"Pf 60000 60000 -1.0\n",
    "a.tif": tiff(np.zeros((1, 1), np.uint8), tags={256: (4, 60_000), 257: (4, 60_000)}),
    "deflated.tif": tiff(np.zeros((1, 1), np.uint8), deflated=True, tags={256: (4, 60_000), 257: (4, 60_000)}),
    "tiled.tif": tiff(np.zeros((16, 16), np.uint8), deflated=True, tile=16, tags={322: (4, 65_536), 323: (4, 65_536)}),
    "a.avif": patched(of("AVIF"), of("AVIF").index(b"ispe") + 8, ">II", 16_384, 16_384),
    "a.webp": b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8X" + struct.pack("<II", 10, 0) + b"\xff\xff\0\xff\xff\0",
    "a.jp2": patched(of("JPEG2000"), of("JPEG2000").index(b"\xff\x4f\xff\x51") + 8, ">II", 60_000, 60_000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_a_file_cannot_hold_is_refused_at_once(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(BOMBS[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    for read in READERS:
        if read is not read_orientation:
            with pytest.raises(ImageError, match=rf"{name}: claims \d+x\d+ pixels, more than"):
                read(path)
    assert time.process_time() - begin < 1
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // MEGABYTE < 50


def test_jpeg_of_thousands_of_scans_is_refused(tmp_path: Path) -> None:
    data = Specimen("JPEG", "L", (16, 16), frozenset({"progressive"})).data()
    begin, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    path = tmp_path / "a.jpg"
    path.write_bytes(data[:end] + data[begin:end] * 5000 + data[end:])
    for read in (read_picture, read_label):
        with pytest.raises(ImageError, match=r"a\.jpg: JPEG with more than 500 scans"):
            read(path)


def test_the_ceiling_can_be_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(png(np.zeros((100, 200), np.uint8), colour=GREY))
    assert read_picture(path).rgb.shape == (100, 200, 3)
    monkeypatch.setenv("SIM2REAL_MAX_PIXELS", "1e4")
    message = r"large\.png: claims 200x100 pixels, more than the limit of 10,000.* SIM2REAL_MAX_PIXELS=20000"
    for read in (read_header, read_picture, read_label):
        with pytest.raises(ImageError, match=message):
            read(path)
    monkeypatch.setenv("SIM2REAL_MAX_PIXELS", "20000")
    assert read_label(path).shape == (100, 200)
    monkeypatch.setenv("SIM2REAL_MAX_PIXELS", "many")
    with pytest.raises(ImageError, match="SIM2REAL_MAX_PIXELS='many' is not a number"):
        read_header(path)


@pytest.mark.parametrize(
    "size",
    [(7680, 4320), *(pytest.param(size, marks=pytest.mark.slow) for size in ((15360, 8640), (16384, 16384)))],
)
def test_the_emptiest_pictures_that_encoders_write_are_no_trap(size: tuple[int, int], tmp_path: Path) -> None:
    from PIL import Image

    image = Image.new("L", size)
    for container, options in (
        ("PNG", {"compress_level": 9}),
        ("JPEG", {"optimize": True, "quality": 1}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", {"compression": "packbits"}),
    ):
        path = tmp_path / "a"
        path.write_bytes(saved(image, container, **options))
        assert (read_header(path).width, read_header(path).height) == size


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_metadata_that_swells_is_carried_and_not_read(kind: bytes, tmp_path: Path) -> None:
    bomb = zlib.compress(bytes(40_000_000), 9)
    content = {b"zTXt": b"a\0\0", b"iTXt": b"a\0\1\0\0\0", b"iCCP": b"a\0\0"}[kind] + bomb
    path = tmp_path / "a.png"
    path.write_bytes(png(np.zeros((4, 4, 3), np.uint8), extra=[(kind, content)]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    picture = read_picture(path)
    assert read_label(path).shape == (4, 4, 3)
    assert content in picture.metadata
    assert ("cannot be used" in "".join(picture.notes)) == (kind == b"iCCP")
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // MEGABYTE < 100
