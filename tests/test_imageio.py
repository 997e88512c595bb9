"""Each trap of image files: what goes in comes out, as an independent reader sees it."""

import io
import os
import struct
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image, ImageFile, JpegImagePlugin

from sim2real.errors import ImageError
from sim2real.imageio import (
    Encoding,
    Picture,
    decode_picture,
    encode_jpeg,
    encode_picture,
    encode_png,
    is_image,
    read_encoding,
    read_header,
    read_label,
    read_picture,
    read_rgb,
    read_scaled,
    resize,
    resize_picture,
    typical,
)
from tests.specimens import (
    COMPRESSIONS,
    GREY,
    GREY_ALPHA,
    PALETTE,
    RGB,
    RGBA,
    ROTATED,
    Specimen,
    bitmap,
    png,
    srgb_profile,
    tiff,
    wide_profile,
)
from tests.specimens import saved as saved_as

Values = NDArray[Any]
Store = Callable[[str, bytes], Path]


def chunks(data: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    place = 8
    while place < len(data):
        length = int.from_bytes(data[place : place + 4])
        found[data[place + 4 : place + 8]] = data[place + 8 : place + 8 + length]
        place += 12 + length
    return found


def sampling(jpeg: bytes) -> tuple[int, list[int]]:
    """Marker of the frame header and the sampling factors of its components (ITU T.81, B.2.2)."""
    place = 2
    while jpeg[place + 1] not in {0xC0, 0xC1, 0xC2}:
        place += 2 + int.from_bytes(jpeg[place + 2 : place + 4])
    count = jpeg[place + 9]
    return jpeg[place + 1], [jpeg[place + 11 + 3 * component] for component in range(count)]


def pixels(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def deep(*shape: int) -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(0, 65536, shape, dtype=np.uint16)


def photo() -> NDArray[np.uint8]:
    y, x = np.mgrid[:48, :64]
    return np.stack((4 * x, 5 * y, 255 - 2 * (x + y)), axis=-1).clip(0, 255).astype(np.uint8)


def saved(image: Image.Image, *, format: str, **options: Any) -> bytes:  # noqa: A002  as Pillow calls it
    return saved_as(image, format, **options)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    def store(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return store


def decoded(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image


# what is read of photos


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp", "ppm"])
def test_every_container_is_read_and_written_back_as_itself(suffix: str, store: Store) -> None:
    before = saved(Image.fromarray(photo()), format=Image.registered_extensions()[f".{suffix}"])
    path = store(f"photo.{suffix}", before)
    picture = read_picture(path)
    assert np.array_equal(picture.rgb, np.array(decoded(before).convert("RGB")))
    assert np.array_equal(read_rgb(path), picture.rgb)
    after = decoded(encode_picture(picture.rgb, picture))
    assert after.format == decoded(before).format == read_header(path).format
    assert after.size == (64, 48)
    assert after.mode == "RGB"


@given(values=arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_png_is_lossless_both_ways(values: Values, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("png") / "a.png"
    path.write_bytes(png(values))
    picture = read_picture(path)
    assert np.array_equal(picture.rgb, values)
    assert np.array_equal(np.array(decoded(encode_picture(picture.rgb, picture))), values)


@pytest.mark.parametrize(
    ("values", "bits", "colour"),
    [
        (deep(6, 8, 3), 16, RGB),
        (deep(6, 8, 4), 16, RGBA),
        (deep(6, 8), 16, GREY),
        (pixels(6, 8) % 2, 1, GREY),
        (pixels(6, 8) % 16, 4, GREY),
    ],
)
def test_png_of_other_than_8_bits_is_refused_as_a_photo(values: Values, bits: int, colour: int, store: Store) -> None:
    path = store("deep.png", png(values, bits=bits, colour=colour))
    with pytest.raises(ImageError, match=rf"deep\.png.* {bits} bits"):
        read_picture(path)


def test_palette_image_is_refused_as_a_photo(store: Store) -> None:
    indexed = png(pixels(6, 8) % 4, colour=PALETTE, extra=[(b"PLTE", bytes(range(12)))])
    with pytest.raises(ImageError, match=r"mask\.png.*palette image: a label, not a photo"):
        read_rgb(store("mask.png", indexed))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("cmyk.jpg", saved(Image.new("CMYK", (8, 8)), format="JPEG")),
        ("float.tif", saved(Image.fromarray(np.ones((4, 4), np.float32)), format="TIFF")),
        ("deep.tif", cv2.imencode(".tif", deep(4, 4, 3))[1].tobytes()),
        ("deep.ppm", b"P6 2 2 65535\n" + bytes(24)),
        ("turned.tif", saved(Image.fromarray(photo()), format="TIFF", tiffinfo={274: 6})),
        (
            "pages.tif",
            saved(Image.fromarray(photo()), format="TIFF", save_all=True, append_images=[Image.fromarray(photo())]),
        ),
        (
            "moving.png",
            saved(
                Image.fromarray(photo()), format="PNG", save_all=True, append_images=[Image.fromarray(photo()[::-1])]
            ),
        ),
    ],
)
def test_what_cannot_pass_without_loss_is_refused_by_name(name: str, data: bytes, store: Store) -> None:
    with pytest.raises(ImageError, match=name):
        read_picture(store(name, data))


def test_grey_photo_goes_in_as_equal_channels_and_comes_out_as_luminance(store: Store) -> None:
    values = pixels(6, 8)
    for name, data in (("a.png", png(values, colour=GREY)), ("a.jpg", saved(Image.fromarray(values), format="JPEG"))):
        picture = read_picture(store(name, data))
        assert picture.grey
        assert (picture.rgb == picture.rgb[..., :1]).all()
        changed = np.full((6, 8, 3), (200, 0, 0), np.uint8)
        after = decoded(encode_picture(changed, picture))
        assert after.mode == "L"
        assert abs(np.array(after).astype(int) - 60).max() <= 1  # 0.299 of 200


@pytest.mark.parametrize(("channels", "colour"), [(4, RGBA), (2, GREY_ALPHA)])
def test_alpha_channel_is_kept(channels: int, colour: int, store: Store) -> None:
    values = pixels(6, 8, channels)
    picture = read_picture(store("a.png", png(values, colour=colour)))
    after = np.array(decoded(encode_picture(255 - picture.rgb, picture)))
    assert after.shape == values.shape
    assert np.array_equal(after[..., -1], values[..., -1])
    assert np.array_equal(after[..., 0], 255 - values[..., 0])


@pytest.mark.parametrize("colour", [RGB, GREY])
def test_what_is_transparent_by_its_colour_stays_so_and_nothing_else_becomes_so(colour: int, store: Store) -> None:
    values = pixels(6, 8, 3) if colour == RGB else pixels(6, 8)
    values[values == 7] = 8
    values[2, 3] = 7
    key = struct.pack(">HHH", 7, 7, 7)[: 6 if colour == RGB else 2]
    data = png(values, colour=colour, extra=[(b"tRNS", key)])
    picture = read_picture(store("a.png", data))
    assert picture.notes == ("the pixels of its transparent colour are kept unchanged",)
    translated = picture.rgb.copy()
    translated[4, 4:6] = 7
    after = encode_picture(translated, picture)
    assert read_header(store("b.png", after)) == read_header(store("a.png", data))
    seen = np.array(decoded(after).convert("RGBA"))
    assert np.argwhere(seen[..., 3] == 0).tolist() == [[2, 3]]
    assert abs(seen[..., :3].astype(int) - translated).max() <= 1


def test_transparent_colour_survives_another_size(store: Store) -> None:
    values = np.full((8, 8, 3), 7, np.uint8)
    values[:, 4:] = 100
    picture = read_picture(store("a.png", png(values, extra=[(b"tRNS", struct.pack(">HHH", 7, 7, 7))])))
    smaller = resize_picture(picture, (4, 4))
    seen = np.array(decoded(encode_picture(smaller.rgb, smaller)).convert("RGBA"))
    assert np.array_equal(seen[..., 3], [[0, 0, 255, 255]] * 4)


@pytest.mark.parametrize("compression", ["raw", *COMPRESSIONS])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_tiff_is_written_without_loss_whatever_its_compression(compression: str, mode: str, store: Store) -> None:
    data = Specimen("TIFF", mode, (40, 30), frozenset({compression, "predictor"})).data()
    picture = read_picture(store("a.tif", data))
    after = encode_picture(255 - picture.rgb, picture, Encoding(quality=50))
    seen = decoded(after)
    stored = decoded(data).info["compression"]
    lossless = {"jpeg": "tiff_adobe_deflate", "tiff_deflate": "tiff_adobe_deflate"}
    assert seen.info["compression"] == lossless.get(stored, stored)
    assert seen.mode == mode
    assert mode == "L" or np.array_equal(np.array(seen)[..., :3], 255 - picture.rgb)


@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("tile", [0, 16])
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_is_read_in_strips_tiles_and_planes(
    deflated: bool, planar: bool, tile: int, order: str, store: Store
) -> None:
    values = pixels(21, 37, 3)
    data = tiff(values, order=order, deflated=deflated, predictor=1 + deflated, planar=planar, tile=tile)
    path = store("a.tif", data)
    assert np.array_equal(read_picture(path).rgb, values)
    assert np.array_equal(read_label(path), values)


def test_tiff_with_more_channels_than_can_be_kept_is_refused(store: Store) -> None:
    path = store("a.tif", tiff(pixels(4, 4, 4), tags={338: (3, 0)}))
    with pytest.raises(ImageError, match=r"a\.tif: TIFF with 4 channels, of which only 3 can be kept"):
        read_picture(path)


def test_alpha_of_a_bmp_is_kept(store: Store) -> None:
    values = pixels(5, 7, 4)
    before = bitmap(
        (7, 5), 32, 3, values[::-1, :, [2, 1, 0, 3]].tobytes(), masks=bytes.fromhex("0000ff0000ff0000ff000000000000ff")
    )
    picture = read_picture(store("a.bmp", before))
    after = encode_picture(255 - picture.rgb, picture)
    expected = np.dstack((255 - values[..., :3], values[..., 3]))
    assert np.array_equal(np.array(decoded(after)), expected)
    seen = cv2.imdecode(np.frombuffer(after, np.uint8), cv2.IMREAD_UNCHANGED)
    assert seen is not None
    assert np.array_equal(seen[..., [2, 1, 0, 3]], expected)


@pytest.mark.parametrize("container", ["AVIF", "WEBP", "JPEG2000", "TGA", "TIFF"])
def test_alpha_is_kept_exactly_even_where_colours_are_not(container: str, store: Store) -> None:
    data = Specimen(container, "RGBA", (40, 30)).data()
    picture = read_picture(store(f"a.{container}", data))
    after = decoded(encode_picture(255 - picture.rgb, picture, Encoding(quality=20)))
    assert picture.alpha is not None
    assert np.array_equal(np.array(after.getchannel("A")), picture.alpha)


@pytest.mark.parametrize("container", ["AVIF", "WEBP"])
def test_alpha_that_is_opaque_all_over_is_dropped_and_told(container: str, store: Store) -> None:
    whole = bytes.fromhex("52494646") if container == "WEBP" else b""
    data = Specimen(container, "RGBA", (16, 16), frozenset({"opaque"})).data()
    if container == "WEBP":  # Pillow writes none then: say so in a header of the extended form
        extended = b"VP8X" + struct.pack("<IIB", 10, 0x10, 15) + b"\0\0\x0f\0\0"
        body = b"WEBP" + extended + data[12:]
        data = whole + struct.pack("<I", len(body)) + body
        assert read_header(store("a.webp", data)).channels == 4
        picture = read_picture(store("a.webp", data))
        assert picture.alpha is None
        assert picture.notes == ("a fully opaque alpha channel is not kept",)
    else:
        picture = read_picture(store("a.avif", data))
    assert picture.header.channels == 3
    assert read_header(store("b", encode_picture(picture.rgb, picture))) == picture.header


def test_multi_picture_jpeg_is_a_jpeg_whose_others_are_told(store: Store) -> None:
    data = Specimen("JPEG", "RGB", (32, 24), frozenset({"pages"})).data()
    path = store("a.jpg", data)
    picture = read_picture(path)
    assert read_header(path).format == picture.format == "JPEG"
    assert picture.notes == ("the further images of a multi-picture JPEG are not kept",)
    assert decoded(encode_picture(picture.rgb, picture)).format == "JPEG"


@pytest.mark.parametrize("bare", [False, True])
def test_jpeg_2000_is_written_without_loss(bare: bool, store: Store) -> None:
    data = Specimen("JPEG2000", "RGB", (40, 30), frozenset({"bare"} if bare else set())).data()
    picture = read_picture(store("a.jp2", data))
    after = encode_picture(255 - picture.rgb, picture)
    assert after.startswith(b"\xff\x4f") == bare
    assert np.array_equal(np.array(decoded(after)), 255 - picture.rgb)


def test_profile_of_a_jpeg_2000_is_followed(store: Store) -> None:
    plain = read_picture(store("a.jp2", Specimen("JPEG2000", "RGB", (40, 30)).data()))
    wide = read_picture(store("b.jp2", Specimen("JPEG2000", "RGB", (40, 30), frozenset({"icc wide"})).data()))
    assert "converted to sRGB" in wide.notes[0]
    assert abs(wide.rgb[..., ::-1].astype(int) - plain.rgb).mean() < 3


@pytest.mark.parametrize("footer", [False, True])
def test_tga_is_told_by_its_end_or_by_its_name(footer: bool, store: Store) -> None:
    what = Specimen("TGA", "RGB", (16, 9), frozenset({"top down"} if footer else {"no footer"}))
    data = what.data()
    assert np.array_equal(read_rgb(store("a.tga", data)), what.values()[..., :3])
    if footer:
        assert read_header(store("a.bin", data)).format == "TGA"
    else:
        with pytest.raises(ImageError, match="of another format"):
            read_header(store("a.bin", data))


# what is read at another size


@pytest.mark.parametrize("container", ["PNG", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("size", [(64, 48), (32, 24), (20, 40), (128, 96)])
def test_a_lossless_photo_is_scaled_after_it_is_decoded(container: str, size: tuple[int, int], store: Store) -> None:
    path = store("a", saved(Image.fromarray(pixels(48, 64, 3)), format=container, lossless=True))
    assert np.array_equal(read_scaled(path, lambda _width, _height: size), resize(read_rgb(path), size))


@given(
    stored=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    wanted=st.tuples(st.integers(1, 100), st.integers(1, 100)),
    grey=st.booleans(),
)
def test_a_jpeg_comes_in_the_wanted_size_whatever_that_is(
    *, stored: tuple[int, int], wanted: tuple[int, int], grey: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    asked: list[tuple[int, int]] = []

    def size(width: int, height: int) -> tuple[int, int]:
        asked.append((width, height))
        return wanted

    values = np.full((stored[1], stored[0], 3), 90, np.uint8)
    path = tmp_path_factory.mktemp("scaled") / "a.jpg"
    path.write_bytes(encode_jpeg(values[..., 0] if grey else values))
    result = read_scaled(path, size)
    assert asked == [stored]
    assert result.shape == (wanted[1], wanted[0], 3)
    assert np.abs(result.astype(int) - 90).max() <= 2


@pytest.mark.parametrize("part", [1, 2, 4, 8])
def test_a_jpeg_is_decoded_at_the_smallest_size_that_covers_what_is_wanted(part: int, store: Store) -> None:
    path = store("a.jpg", encode_jpeg(pixels(48 * 8, 64 * 8, 3)))
    reduced = cv2.IMREAD_COLOR if part == 1 else getattr(cv2, f"IMREAD_REDUCED_COLOR_{part}")
    whole = cv2.imread(str(path), reduced)
    assert whole is not None
    for width, height in ((512 // part, 384 // part), (512 // part - 1, 384 // part - 9)):
        expected = resize(np.asarray(whole[..., ::-1], np.uint8), (width, height))
        assert np.array_equal(read_scaled(path, lambda *_: (width, height)), expected)  # noqa: B023  called here


@pytest.mark.parametrize("part", [2, 3, 4, 7, 8])
def test_a_jpeg_of_any_size_shows_the_same_picture_smaller(part: int, store: Store) -> None:
    across, down = np.meshgrid(np.linspace(0, 255, 1242), np.linspace(0, 255, 375))
    path = store("a.jpg", encode_jpeg(np.dstack([across, down, across]).astype(np.uint8)))
    size = (1242 // part, 375 // part)
    scaled, expected = read_scaled(path, lambda *_: size), resize(read_rgb(path), size)
    assert np.abs(scaled.astype(int) - expected).max() <= 6  # of 255 from edge to edge: no more than 7 stored rows


@pytest.mark.parametrize("container", ["PNG", "JPEG"])
def test_a_scaled_photo_is_converted_to_srgb_too(container: str, store: Store) -> None:
    path = store("a", saved(Image.fromarray(photo()), format=container, icc_profile=wide_profile(), quality=100))
    expected = resize(read_rgb(path), (16, 12))
    assert np.abs(read_scaled(path, lambda *_: (16, 12)).astype(int) - expected).mean() < 3


@given(
    stored=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    wanted=st.none() | st.tuples(st.integers(1, 160), st.integers(1, 160)),
    corners=st.tuples(*[st.floats(0, 1)] * 4),
    container=st.sampled_from(["PNG", "JPEG", "BMP", "PPM", "WEBP", "TIFF"]),
    mode=st.sampled_from(["RGB", "L"]),
    how=st.fixed_dictionaries(
        {"subsampling": st.integers(0, 2), "progressive": st.booleans(), "optimize": st.booleans()}
    )
    | st.fixed_dictionaries({"restart_marker_rows": st.integers(1, 3), "subsampling": st.integers(0, 2)}),
)
def test_a_window_shows_exactly_what_the_whole_photo_shows_there(
    *,
    stored: tuple[int, int],
    wanted: tuple[int, int] | None,
    corners: tuple[float, float, float, float],
    container: str,
    mode: str,
    how: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    image = Image.fromarray(pixels(stored[1], stored[0], 3)).convert(
        "L" if container != "WEBP" and mode == "L" else "RGB"
    )
    path = tmp_path_factory.mktemp("window") / "a"
    path.write_bytes(saved(image, format=container, **(how if container == "JPEG" else {})))
    width, height = wanted or stored
    (left, right), (top, bottom) = (
        sorted(min(round(part * (side - 1)), side - 1) for part in parts)
        for side, parts in ((width, corners[:2]), (height, corners[2:]))
    )

    def window(*size: int) -> tuple[int, int, int, int]:
        assert size == (width, height)
        return left, top, right + 1, bottom + 1

    shown = read_scaled(path, lambda *_: (width, height), window)
    whole = read_scaled(path, lambda *_: (width, height))
    assert np.array_equal(shown, whole[top : bottom + 1, left : right + 1])


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_rows_below_a_window_are_not_decoded(suffix: str, store: Store) -> None:
    values = pixels(480, 64, 3)
    path = store(f"a.{suffix}", encode_png(values) if suffix == "png" else encode_jpeg(values))
    decoded: list[tuple[int, int]] = []
    loaded = ImageFile.ImageFile.load

    def watched(image: ImageFile.ImageFile) -> Any:
        decoded.append(image.size)
        return loaded(image)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageFile.ImageFile, "load", watched)
        read_scaled(path, lambda *size: size, lambda *_: (8, 40, 24, 64))
    assert max(height for _, height in decoded) <= 128


def test_a_cut_off_photo_is_refused_even_if_the_window_is_there(store: Store) -> None:
    values = pixels(480, 64, 3)
    for name, data in (("a.jpg", encode_jpeg(values)), ("a.png", encode_png(values))):
        path = store(name, data[: len(data) // 2])
        with pytest.raises(ImageError, match="truncated"):
            read_scaled(path, lambda *size: size, lambda *_: (0, 0, 16, 16))


def test_what_is_no_whole_photo_is_refused_at_any_size(store: Store) -> None:
    cmyk = saved(Image.new("CMYK", (64, 48)), format="JPEG")
    palette = encode_png(pixels(48, 64) % 3, palette=np.zeros((3, 3), np.uint8))
    for name, data in (("a.jpg", encode_jpeg(photo())[:-300]), ("b.jpg", cmyk), ("c.png", palette), ("d.png", b"")):
        path = store(name, data)
        with pytest.raises(ImageError) as whole:
            read_rgb(path)
        with pytest.raises(ImageError) as scaled:
            read_scaled(path, lambda *_: (8, 6))
        assert str(scaled.value) == str(whole.value)


def test_real_frames_look_alike_whichever_way_they_are_scaled() -> None:
    if not (folder := os.environ.get("SIM2REAL_TEST_DATA")):
        pytest.skip("SIM2REAL_TEST_DATA names no folder with real samples")
    for path in sorted((Path(folder) / "carla/test/images").iterdir())[:4]:
        for size in ((320, 190), (256, 152), (160, 95)):
            change = np.abs(read_scaled(path, lambda *_: size).astype(int) - resize(read_rgb(path), size))  # noqa: B023  called here
            assert change.mean() < 2


# what belongs to photos


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_rotation_tag_is_kept_and_not_followed(suffix: str, store: Store) -> None:
    container = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}[suffix]
    before = saved(Image.fromarray(photo()), format=container, exif=b"Exif\0\0" + ROTATED, lossless=True)
    picture = read_picture(store(f"a.{suffix}", before))
    assert picture.rgb.shape == (48, 64, 3)
    after = decoded(encode_picture(picture.rgb, picture))
    assert after.size == (64, 48)
    assert after.getexif()[0x0112] == 6
    assert after.info["exif"] == decoded(before).info["exif"]


@pytest.mark.parametrize("container", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_srgb_profile_is_kept_to_the_byte(container: str, store: Store) -> None:
    profile = srgb_profile()
    before = saved(Image.fromarray(photo()), format=container, icc_profile=profile)
    picture = read_picture(store("a", before))
    assert np.array_equal(picture.rgb, np.array(decoded(before)))
    assert not any("ICC" in note for note in picture.notes)
    assert decoded(encode_picture(picture.rgb, picture)).info["icc_profile"] == profile


@pytest.mark.parametrize("container", ["PNG", "JPEG", "TIFF"])
def test_pixels_under_another_profile_are_converted_to_srgb_and_tagged_so(container: str, store: Store) -> None:
    before = decoded(saved(Image.fromarray(photo()), format=container, icc_profile=wide_profile(), quality=100))
    picture = read_picture(store("a", saved(before, format=container, icc_profile=wide_profile(), quality=100)))
    assert any("converted to sRGB" in note for note in picture.notes)
    # with the red and blue primaries exchanged, converting exchanges the channels
    assert abs(picture.rgb[..., ::-1].astype(int) - np.array(before)).mean() < 3
    after = encode_picture(picture.rgb, picture)
    again = read_picture(store("b", after))
    assert not any("converted" in note for note in again.notes)
    assert abs(again.rgb.astype(int) - picture.rgb).mean() < 3
    tagged = chunks(after).get(b"sRGB") if container == "PNG" else decoded(after).info.get("icc_profile")
    assert tagged
    assert after == encode_picture(picture.rgb, picture)


def test_profile_that_cannot_be_used_is_kept_and_told(store: Store) -> None:
    before = saved(Image.fromarray(photo()), format="JPEG", icc_profile=b"nonsense" * 20)
    picture = read_picture(store("a.jpg", before))
    assert "ICC" in picture.notes[0]
    assert decoded(encode_picture(picture.rgb, picture)).info["icc_profile"] == b"nonsense" * 20


def test_png_chunks_that_hold_for_other_pixels_are_kept(store: Store) -> None:
    extra = [
        (b"gAMA", struct.pack(">I", 45455)),
        (b"pHYs", struct.pack(">IIB", 2835, 2835, 1)),
        (b"tEXt", b"Author\0somebody"),
        (b"bKGD", bytes(6)),
        (b"tIME", struct.pack(">HBBBBB", 2020, 1, 1, 0, 0, 0)),
    ]
    picture = read_picture(store("a.png", png(photo(), extra=extra)))
    after = chunks(encode_picture(picture.rgb, picture))
    assert {kind: content for kind, content in after.items() if kind not in {b"IHDR", b"IDAT", b"IEND"}} == dict(
        extra[:3]
    )


def test_jpeg_comment_xmp_and_density_are_kept(store: Store) -> None:
    before = saved(Image.fromarray(photo()), format="JPEG", comment=b"a drive", xmp=b"<x/>", dpi=(300, 300))
    picture = read_picture(store("a.jpg", before))
    after = decoded(encode_picture(picture.rgb, picture))
    assert (after.info["comment"], after.info["xmp"], after.info["dpi"]) == (b"a drive", b"<x/>", (300, 300))


def test_jpeg_with_rgb_components_is_not_written_as_such(store: Store) -> None:
    before = saved(Image.fromarray(photo()), format="JPEG", keep_rgb=True, quality=95)
    assert b"Adobe" in before
    picture = read_picture(store("a.jpg", before))
    after = np.array(decoded(encode_picture(picture.rgb, picture)))
    assert abs(after.astype(int) - photo()).mean() < 3


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_is_written_baseline_with_full_chroma(progressive: bool, store: Store) -> None:
    before = saved(Image.fromarray(photo()), format="JPEG", subsampling="4:2:0", progressive=progressive)
    picture = read_picture(store("a.jpg", before))
    marker, factors = sampling(encode_picture(picture.rgb, picture))
    assert marker == 0xC0
    assert factors == [0x11, 0x11, 0x11]


def test_jpeg_has_the_tables_of_quality_95(store: Store) -> None:
    picture = read_picture(store("a.jpg", saved(Image.fromarray(photo()), format="JPEG", quality=60)))
    after = decoded(encode_picture(picture.rgb, picture))
    expected = decoded(saved(Image.fromarray(photo()), format="JPEG", quality=95))
    assert isinstance(after, JpegImagePlugin.JpegImageFile)
    assert isinstance(expected, JpegImagePlugin.JpegImageFile)
    assert after.quantization == expected.quantization


def test_quality_is_followed() -> None:
    assert len(encode_jpeg(pixels(48, 64, 3), quality=50)) < len(encode_jpeg(pixels(48, 64, 3), quality=95))


def tables_of(data: bytes) -> dict[int, list[int]]:
    """The quantisation tables of a JPEG, as Pillow reads them."""
    image = decoded(data)
    assert isinstance(image, JpegImagePlugin.JpegImageFile)
    return image.quantization


@pytest.mark.parametrize("sub", ["4:4:4", "4:2:2", "4:2:0", "grey"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_is_written_as_its_source_if_that_is_wanted(sub: str, progressive: bool, store: Store) -> None:
    image = Image.fromarray(photo())
    options = {"quality": 37, "progressive": progressive}
    if sub == "grey":
        before = saved(image.convert("L"), format="JPEG", comment=b"a drive", **options)
    else:
        before = saved(image, format="JPEG", subsampling=sub, comment=b"a drive", **options)
    picture = read_picture(store("a.jpg", before))
    after = encode_picture(255 - picture.rgb, picture, Encoding(as_source=True))
    assert tables_of(after) == tables_of(before)
    assert sampling(after) == sampling(before)
    assert bool(decoded(after).info.get("progressive")) == progressive
    assert decoded(after).info["comment"] == b"a drive"
    assert decoded(after).mode == decoded(before).mode
    assert read_encoding(store("b.jpg", after)) == picture.encoding
    assert list(Encoding(as_source=True).notes(picture)) == []


def test_jpeg_takes_the_tables_that_are_given(store: Store) -> None:
    luma, chroma = tuple(range(1, 65)), (255,) * 64
    encoding = Encoding(tables=(luma, chroma), sampling="4:2:2", progressive=True)
    picture = read_picture(store("a.jpg", saved(Image.fromarray(photo()), format="JPEG")))
    after = encode_picture(picture.rgb, picture, encoding)
    assert tables_of(after) == {0: list(luma), 1: list(chroma)}
    assert sampling(after)[1] == [0x21, 0x11, 0x11]
    assert decoded(after).info["progressive"]
    grey = replace(picture, grey=True)
    assert tables_of(encode_picture(grey.rgb, grey, encoding)) == {0: list(luma)}


def test_a_sampling_that_cannot_be_written_is_told(store: Store) -> None:
    upright = cv2.imencode(".jpg", photo(), (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440))[1]
    picture = read_picture(store("a.jpg", upright.tobytes()))
    encoding = Encoding(as_source=True)
    assert list(encoding.notes(picture)) == ["JPEG chroma subsampling 4:4:0 cannot be written: 4:4:4 is used"]
    coarse = Encoding(tables=((300,) * 64,))
    assert list(coarse.notes(picture)) == ["quantisation steps of a JPEG above 255 are written as 255"]
    assert tables_of(encode_picture(picture.rgb, picture, coarse)) == {0: [255] * 64}
    assert list(Encoding().notes(picture)) == []
    assert sampling(encode_picture(picture.rgb, picture, encoding))[1] == [0x11, 0x11, 0x11]


def test_the_typical_encoding_is_the_median(store: Store) -> None:
    kinds = [(50, "4:2:0", False), (70, "4:2:0", True), (90, "4:4:4", True)]
    found = []
    for quality, sub, progressive in kinds:
        options = {"quality": quality, "subsampling": sub, "progressive": progressive}
        found.append(read_encoding(store("a.jpg", saved(Image.fromarray(photo()), format="JPEG", **options))))
    grey = read_encoding(
        store("a.jpg", saved(Image.fromarray(photo()).convert("L"), format="JPEG", quality=70, progressive=True))
    )
    middle = tables_of(saved(Image.fromarray(photo()), format="JPEG", quality=70))
    known = [each for each in [*found, grey] if each]
    assert len(known) == 4
    assert typical(known) == Encoding(tables=(tuple(middle[0]), tuple(middle[1])), sampling="4:2:0", progressive=True)
    assert read_encoding(store("a.png", png(photo()))) is None


def test_lossless_and_other_containers_do_not_heed_a_jpegs_tables(store: Store) -> None:
    for container in ("WEBP", "PNG", "BMP"):
        picture = read_picture(store("a", saved(Image.fromarray(photo()), format=container)))
        assert encode_picture(picture.rgb, picture, Encoding(as_source=True)) == encode_picture(picture.rgb, picture)


def test_webp_stays_lossless_where_it_was(store: Store) -> None:
    for lossless in (True, False):
        before = saved(Image.fromarray(pixels(48, 64, 3)), format="WEBP", lossless=lossless)
        picture = read_picture(store("a.webp", before))
        after = encode_picture(picture.rgb, picture)
        assert (b"VP8L" in after) == lossless
        assert np.array_equal(np.array(decoded(after)), picture.rgb) == lossless


@pytest.mark.parametrize(("container", "width"), [("JPEG", 65_501), ("WEBP", 16_384)])
def test_pixels_that_no_such_file_can_hold_are_an_error(container: str, width: int) -> None:
    rgb = np.zeros((1, width, 3), np.uint8)
    with pytest.raises(ImageError, match=f"{width}x1 pixels cannot be stored as"):
        encode_picture(rgb, Picture(rgb, container))


def test_pixels_of_another_size_are_not_accepted(store: Store) -> None:
    picture = read_picture(store("a.png", png(photo())))
    with pytest.raises(ValueError, match="that they replace"):
        encode_picture(photo()[:-1], picture)


# damage


@pytest.mark.parametrize("container", ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "PPM"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.95])
def test_truncated_file_is_an_error_that_names_it(
    container: str, share: float, store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = saved(Image.fromarray(pixels(48, 64, 3)), format=container)
    path = store("cut.bin", whole[: int(len(whole) * share)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for read in (read_picture, read_rgb, read_label):
            with pytest.raises(ImageError, match=r"cut\.bin"):
                read(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("container", ["PNG", "JPEG"])
def test_file_that_lacks_its_last_bytes_is_truncated(container: str, store: Store) -> None:
    whole = saved(Image.fromarray(photo()), format=container)
    with pytest.raises(ImageError):
        read_picture(store("cut", whole[:-3]))


@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:0"])
def test_jpeg_whose_rest_a_crash_filled_with_zeros_is_damaged(sampling: str) -> None:
    whole = saved(Image.fromarray(photo()), format="JPEG", subsampling=sampling)
    for share in (0.7, 0.9, 0.99):
        place = int(len(whole) * share)
        with pytest.raises(ImageError, match=r"a\.jpg: damaged or truncated JPEG"):
            decode_picture(whole[:place] + bytes(len(whole) - place), Path("a.jpg"))
    assert decode_picture(whole + bytes(10), Path("a.jpg")).rgb.shape == (48, 64, 3)


@given(place=st.integers(8, 200), flip=st.integers(1, 255))
def test_no_changed_byte_of_a_png_goes_unseen(place: int, flip: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    data = bytearray(png(pixels(4, 5, 3)))
    data[8 + (place - 8) % (len(data) - 8)] ^= flip
    path = tmp_path_factory.mktemp("damage") / "a.png"
    path.write_bytes(data)
    with pytest.raises(ImageError):
        read_picture(path)


def test_missing_file_and_text_file_are_errors_that_name_them(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.png.*No such file"):
        read_picture(tmp_path / "gone.png")
    with pytest.raises(ImageError, match=r"notes\.png"):
        read_header(store("notes.png", b"not a picture at all"))


@pytest.mark.parametrize("data", [b"", b"not a picture at all"])
def test_what_is_wrong_with_a_file_is_told_in_the_same_words_each_time(data: bytes, store: Store) -> None:
    path = store("a.jpg", data)
    with pytest.raises(ImageError) as first:
        read_picture(path)
    with pytest.raises(ImageError) as second:
        read_picture(path)
    assert str(first.value) == str(second.value)
    assert "0x" not in str(first.value)


def test_metadata_beyond_repair_disturbs_nobody(store: Store) -> None:
    before = saved(Image.fromarray(photo()), format="JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + bytes(20))
    picture = read_picture(store("a.jpg", before))
    assert read_header(store("b.jpg", before)).width == 64
    assert b"MM\0*\xff\xff\xff\xff" in encode_picture(picture.rgb, picture)


# headers and labels


@pytest.mark.parametrize(
    ("values", "bits", "colour", "channels"),
    [
        (pixels(6, 8, 3), 8, RGB, 3),
        (pixels(6, 8, 4), 8, RGBA, 4),
        (pixels(6, 8), 8, GREY, 1),
        (pixels(6, 8, 2), 8, GREY_ALPHA, 2),
        (deep(6, 8), 16, GREY, 1),
        (deep(6, 8, 3), 16, RGB, 3),
        (deep(6, 8, 4), 16, RGBA, 4),
        (deep(6, 8, 2), 16, GREY_ALPHA, 2),
        (pixels(6, 8) % 2, 1, GREY, 1),
        (pixels(6, 8) % 4, 2, GREY, 1),
        (pixels(6, 8) % 16, 4, GREY, 1),
    ],
)
def test_label_values_are_read_as_stored(values: Values, bits: int, colour: int, channels: int, store: Store) -> None:
    rotated = [(b"eXIf", ROTATED)]
    path = store("label.png", png(values, bits=bits, colour=colour, extra=rotated))
    header = read_header(path)
    assert (header.width, header.height, header.bits, header.channels) == (8, 6, bits, channels)
    stored = read_label(path)
    assert stored.dtype == (np.uint16 if bits == 16 else np.uint8)
    assert np.array_equal(stored, values)


@pytest.mark.parametrize("largest", [1, 7, 255, 1000, 65535])
@pytest.mark.parametrize("plain", [False, True])
def test_pgm_label_values_are_read_as_stored(largest: int, plain: bool, store: Store) -> None:
    values = np.random.default_rng(0).integers(0, largest + 1, (5, 7))
    body = (
        " ".join(map(str, values.ravel())).encode()
        if plain
        else values.astype(">u2" if largest > 255 else "u1").tobytes()
    )
    path = store("a.pgm", b"P%d\n# ids\n7 5\n%d\n" % (2 if plain else 5, largest) + body)
    assert read_header(path).bits == (16 if largest > 255 else 8)
    assert np.array_equal(read_label(path), values)


@pytest.mark.parametrize("kind", [1, 4])
def test_bitmap_is_read_with_black_as_zero(kind: int, store: Store) -> None:
    values = pixels(5, 11) % 2
    ink = 1 - values
    body = (
        b"\n".join(b"".join(b"%d" % each for each in row) for row in ink)
        if kind == 1
        else np.packbits(ink, axis=1).tobytes()
    )
    path = store("a.pbm", b"P%d 11 5\n" % kind + body)
    assert read_header(path).bits == 1
    assert np.array_equal(read_label(path), values)


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_tiff_of_few_bits_is_read_as_stored(bits: int, store: Store) -> None:
    values = pixels(6, 8) % 2**bits
    packed = np.packbits(np.unpackbits(values[..., None], axis=-1)[..., -bits:].reshape(6, -1), axis=1)
    data = tiff(packed, tags={256: (4, 8), 258: (3, bits)})
    assert read_header(store("a.tif", data)).bits == bits
    assert np.array_equal(read_label(store("a.tif", data)), values)


@pytest.mark.parametrize(
    ("container", "mode", "extra", "told"),
    [
        ("TIFF", "F", "", (1, 32, False)),
        ("TIFF", "P", "", (1, 8, True)),
        ("TIFF", "1", "group4", (1, 1, False)),
        ("TIFF", "RGB16", "", (3, 16, False)),
        ("TIFF", "CMYK", "", (4, 8, False)),
        ("BMP", "P", "rle", (1, 8, True)),
        ("BMP", "1", "", (1, 1, False)),
        ("BMP", "RGB", "15 bits", (3, 8, False)),
        ("TGA", "P", "rle", (1, 8, True)),
        ("TGA", "LA", "", (2, 8, False)),
        ("JPEG", "CMYK", "", (4, 8, False)),
        ("JPEG", "L", "progressive", (1, 8, False)),
        ("WEBP", "RGBA", "lossless", (4, 8, False)),
        ("WEBP", "RGB", "lossless", (3, 8, False)),
        ("WEBP", "RGB", "icc", (3, 8, False)),
        ("PPM", "F", "", (1, 32, False)),
        ("JPEG2000", "I;16", "", (1, 16, False)),
        ("JPEG2000", "LA", "bare", (2, 8, False)),
        ("AVIF", "L", "", (1, 8, False)),
        ("AVIF", "RGBA", "", (4, 8, False)),
    ],
)
def test_headers_of_all_containers_tell_channels_bits_and_palette(
    container: str, mode: str, extra: str, told: tuple[int, int, bool], store: Store
) -> None:
    what = Specimen(container, mode, (21, 13), frozenset({extra} - {""}))
    header = read_header(store(f"a.{what.suffix}", what.data()))
    assert (header.format, header.width, header.height) == (container, 21, 13)
    assert (header.channels, header.bits, header.palette) == told


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_label_is_read_as_indices(bits: int, store: Store) -> None:
    values = pixels(6, 8) & (2**bits - 1)
    path = store("ids.png", png(values, bits=bits, colour=PALETTE, extra=[(b"PLTE", pixels(3 * 2**bits).tobytes())]))
    assert read_header(path).palette
    assert np.array_equal(read_label(path), values)


@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        st.tuples(st.integers(1, 8), st.integers(1, 8)).flatmap(
            lambda size: st.sampled_from([size, (*size, 3), (*size, 4)])
        ),
    )
)
def test_encoded_png_reads_as_the_same_values(tmp_path_factory: pytest.TempPathFactory, values: Values) -> None:
    path = tmp_path_factory.mktemp("png") / "a.png"
    path.write_bytes(encode_png(values))
    assert np.array_equal(read_label(path), values)


def test_encoded_palette_png_keeps_indices_and_colours(store: Store) -> None:
    values = pixels(6, 8) % 3
    palette = np.array([[0, 0, 0], [200, 10, 10], [10, 200, 10]], np.uint8)
    path = store("ids.png", encode_png(values, palette=palette))
    assert np.array_equal(read_label(path), values)
    assert np.array_equal(np.array(decoded(path.read_bytes()).convert("RGB")), palette[values])


def test_is_image_goes_by_the_suffix() -> None:
    assert [name for name in ("a.JPG", "b.tar", "c.png.txt", "png", "d.jpeg", ".png") if is_image(name)] == [
        "a.JPG",
        "d.jpeg",
        ".png",
    ]


def test_the_way_in_which_quality_was_told_before_is_refused_with_the_new_one(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(encode_jpeg(np.zeros((8, 8, 3), np.uint8)))
    picture = read_picture(tmp_path / "photo.jpg")
    old: Any = 90
    with pytest.raises(TypeError, match=r"quality=90\): use encoding=Encoding\(quality=90\) instead"):
        encode_picture(picture.rgb, picture, quality=old)
