"""The JPEG codecs of GPUs, on the CPU: the same calls of torchvision, which run libjpeg-turbo there."""

import io
import random
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.JpegImagePlugin import JpegImageFile

from sim2real.errors import ImageError, SettingsError
from sim2real.imageio import Encoding, Header, decode_picture, encode_jpeg, encode_picture
from sim2real.imageio.nvjpeg import JpegCodecs, gpu_codecs
from tests.specimens import encode_as_nvjpeg
from tests.test_imageio_damage import damaged

A = Path("a.jpg")
SCENE = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)


def smooth(seed: int = 0, size: tuple[int, int] = (64, 48)) -> NDArray[np.uint8]:
    colours = np.random.default_rng(seed).integers(0, 256, (3, 4, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC))


def jpeg(pixels: NDArray[np.uint8] = SCENE, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **({"quality": 90, "subsampling": 0} | options))
    return file.getvalue()


@pytest.fixture
def codecs(monkeypatch: pytest.MonkeyPatch) -> JpegCodecs:
    monkeypatch.setattr("torchvision.io.encode_jpeg", encode_as_nvjpeg)
    found = JpegCodecs("cpu")
    assert not found.why_not_encoded
    return found


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"restart_marker_blocks": 3}, {"comment": b"said"}])
def test_plain_files_are_decoded_on_the_device(codecs: JpegCodecs, options: dict[str, Any]) -> None:
    for pixels in (SCENE, SCENE[..., 0], SCENE[:9, :13]):
        data = jpeg(pixels, **options)
        picture, on_device = codecs.decode_picture(data, A)
        usual = decode_picture(data, A)
        assert on_device is True
        assert np.array_equal(picture.rgb, usual.rgb)
        for name in ("grey", "notes", "metadata", "encoding", "header"):
            assert getattr(picture, name) == getattr(usual, name)


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize(
    "data",
    [
        jpeg(subsampling=2),  # decoders upsample chroma in different ways
        jpeg(subsampling=1),
        jpeg(progressive=True),
        jpeg(icc_profile=PROFILE),
        jpeg(keep_rgb=True),
        jpeg()
        .replace(b"\x03\x01\x11\x00\x02\x11\x01\x03\x11\x01", b"\x03R\x11\x00G\x11\x01B\x11\x01")
        .replace(b"\x03\x01\x00\x02\x11\x03\x11\x00\x3f", b"\x03R\x00G\x11B\x11\x00\x3f"),
        jpeg().replace(b"JFIF\0", b"JFIX\0")[:20] + b"\xff\xee\x00\x0eAdobe" + bytes(7) + jpeg()[20:],
    ],
)
def test_what_decoders_read_in_different_ways_stays_with_the_cpu(codecs: JpegCodecs, data: bytes) -> None:
    picture, on_device = codecs.decode_picture(data, A)
    assert on_device is None
    assert np.array_equal(picture.rgb, decode_picture(data, A).rgb)


def test_other_formats_and_refusals_stay_as_they_are(codecs: JpegCodecs) -> None:
    file = io.BytesIO()
    Image.fromarray(SCENE).save(file, "PNG")
    picture, on_device = codecs.decode_picture(file.getvalue(), Path("a.png"))
    assert on_device is None
    assert np.array_equal(picture.rgb, SCENE)
    cmyk = io.BytesIO()
    Image.fromarray(SCENE).convert("CMYK").save(cmyk, "JPEG")
    for data in (b"", jpeg()[:300], jpeg()[:-2], jpeg()[:-200], cmyk.getvalue()):
        with pytest.raises(ImageError) as usual:
            decode_picture(data, A)
        with pytest.raises(ImageError) as ours:
            codecs.decode_picture(data, A)
        assert str(ours.value) == str(usual.value)


def test_a_decoder_that_accepts_everything_is_given_only_what_the_cpu_accepts() -> None:
    chance, given = random.Random(0), 0

    def lenient(_data: bytes, header: Header) -> NDArray[np.uint8]:
        nonlocal given
        given += 1
        return np.zeros((header.height, header.width, 3), np.uint8)

    def outcome(data: bytes, **more: Any) -> str:
        try:
            return str(decode_picture(data, A, **more).rgb.shape)
        except ImageError as error:
            return str(error)

    files = [jpeg(), jpeg(SCENE[..., 0]), jpeg(optimize=True), jpeg(SCENE[:9, :13], restart_marker_blocks=1)]
    for number in range(600):
        data = damaged(files[number % len(files)], chance)
        assert outcome(data, jpeg_decoder=lenient) == outcome(data), number
    assert given > 20


def test_translations_are_encoded_as_the_policy_says(codecs: JpegCodecs) -> None:
    source = jpeg(SCENE, comment=b"kept", exif=Image.Exif(), subsampling=2, quality=40)
    like, after = decode_picture(source, A), smooth(size=(64, 48))
    data, on_device = codecs.encode_picture(after, like, Encoding())
    usual = encode_picture(after, like)
    assert on_device is True
    with JpegImageFile(io.BytesIO(data)) as ours, JpegImageFile(io.BytesIO(usual)) as theirs:
        assert ours.info == theirs.info
        assert ours.quantization == theirs.quantization
        assert [layer[1:3] for layer in ours.layer] == [(1, 1)] * 3
        assert abs(np.asarray(ours, int) - after).mean() < abs(np.asarray(theirs, int) - after).mean() + 0.5
    assert b"kept" in data
    for encoding in (Encoding(quality=80), Encoding(as_source=True)):
        assert codecs.encode_picture(after, like, encoding) == (encode_picture(after, like, encoding), None)
    grey = decode_picture(jpeg(SCENE[..., 0]), A)
    assert codecs.encode_picture(after, grey, Encoding()) == (encode_picture(after, grey), None)


def test_what_the_device_writes_otherwise_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    codecs = JpegCodecs("cpu")  # torchvision subsamples chroma on CPUs
    assert codecs.why_not_encoded == "not as quality 95, baseline, 4:4:4"
    like = decode_picture(jpeg(), A)
    assert codecs.encode_picture(SCENE, like, Encoding()) == (encode_picture(SCENE, like), None)
    monkeypatch.setattr("torchvision.io.encode_jpeg", lambda images, quality: encode_as_nvjpeg(images, quality - 10))
    assert JpegCodecs("cpu").why_not_encoded
    monkeypatch.setattr("torchvision.io.encode_jpeg", lambda images, quality: encode_as_nvjpeg(images, quality + 2))
    assert not JpegCodecs("cpu").why_not_encoded  # finer
    monkeypatch.setattr(
        "torchvision.io.encode_jpeg", lambda images, quality: encode_as_nvjpeg([images[0] // 2], quality)
    )
    assert JpegCodecs("cpu").why_not_encoded.startswith("with an error of ")


def test_what_fails_on_the_device_is_done_by_the_cpu_alone(codecs: JpegCodecs, monkeypatch: pytest.MonkeyPatch) -> None:
    decode, encode = torchvision.io.decode_jpeg, torchvision.io.encode_jpeg
    bad = jpeg(smooth(1))
    mark = len(codecs_input(bad))

    def decode_most(files: list[torch.Tensor], **more: Any) -> list[torch.Tensor]:
        if any(len(file) == mark for file in files):
            raise RuntimeError("Failed to decode jpeg stream: 5")
        return decode(files, **more)  # type: ignore[no-any-return]

    def encode_most(images: list[torch.Tensor], quality: int) -> list[torch.Tensor]:
        if any(image.shape[1] == 9 for image in images):
            raise RuntimeError("image encoding failed: 6")
        return encode(images, quality)  # type: ignore[no-any-return]

    monkeypatch.setattr("torchvision.io.decode_jpeg", decode_most)
    monkeypatch.setattr("torchvision.io.encode_jpeg", encode_most)
    files = [jpeg(smooth(seed)) for seed in (0, 2, 3)]
    results = codecs._decode_all([(codecs_input(data), 1) for data in (files[0], bad, *files[1:])])
    assert [result is not None for result in results] == [True, False, True, True]
    picture, on_device = codecs.decode_picture(bad, A)
    assert on_device is False
    assert np.array_equal(picture.rgb, decode_picture(bad, A).rgb)
    like = decode_picture(jpeg(SCENE[:9]), A)
    assert codecs.encode_picture(SCENE[:9], like, Encoding()) == (encode_picture(SCENE[:9], like), False)


def codecs_input(data: bytes) -> bytes:
    """What the device is given of a file."""
    given: list[bytes] = []

    def note(plain: bytes, _header: Header) -> None:
        given.append(plain)

    decode_picture(data, A, jpeg_decoder=note)
    return given[0]


def test_threads_share_batches_of_bounded_size(codecs: JpegCodecs, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    gathered, decode = threading.Event(), torchvision.io.decode_jpeg

    def counted(files: list[torch.Tensor], **more: Any) -> list[torch.Tensor]:
        sizes.append(len(files))
        assert len(sizes) > 1 or gathered.wait(10)
        return decode(files, **more)  # type: ignore[no-any-return]

    monkeypatch.setattr("torchvision.io.decode_jpeg", counted)
    monkeypatch.setattr("sim2real.imageio.nvjpeg._PIXELS", 2 * 64 * 48)
    files = [jpeg(smooth(seed)) for seed in range(6)]
    with ThreadPoolExecutor(6) as pool:
        found = [pool.submit(codecs.decode_picture, data, A) for data in files]
        while len(codecs._decode._waiting) < 5:
            pass
        gathered.set()
        for data, future in zip(files, found, strict=True):
            assert np.array_equal(future.result()[0].rgb, decode_picture(data, A).rgb)
    assert sizes == [1, 2, 2, 1]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            RuntimeError("decode_jpegs_cuda: torchvision not compiled with nvJPEG support\nat x"),
            "not compiled with nvJPEG",
        ),
        (AttributeError("module 'torchvision.io' has no attribute 'decode_jpeg'"), "no attribute 'decode_jpeg'"),
    ],
)
def test_a_torchvision_without_codecs_is_refused_in_a_line(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("torchvision.io.decode_jpeg", fail)
    with pytest.raises(
        SettingsError, match=f"--codecs gpu: torchvision .* has no JPEG codecs for cpu .*{reason}"
    ) as told:
        JpegCodecs("cpu")
    assert "\n" not in str(told.value)


def test_a_decoder_of_other_pixels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    decode = torchvision.io.decode_jpeg
    monkeypatch.setattr("torchvision.io.decode_jpeg", lambda *a, **k: [each // 2 for each in decode(*a, **k)])
    with pytest.raises(SettingsError, match=r"a test picture is decoded .* grey levels from a CPU's"):
        JpegCodecs("cpu")


def test_only_gpus_of_nvidia_have_codecs() -> None:
    for device in ("cpu", "mps"):
        with pytest.raises(SettingsError, match=f"--codecs gpu: only NVIDIA GPUs have .* runs on {device}; leave out"):
            gpu_codecs(device, 95)


def test_the_deprecation_of_torchvision_is_no_news_to_the_user(codecs: JpegCodecs) -> None:
    with warnings.catch_warnings(record=True) as heard:
        assert codecs.decode_picture(jpeg(), A)[1]
    assert not heard


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_decodes_and_encodes_as_the_cpu() -> None:
    codecs = gpu_codecs("cuda:0", 95)
    assert codecs.why_not_encoded == ""
    files = [jpeg(smooth(seed, (640, 360)), quality=95) for seed in range(32)]
    with ThreadPoolExecutor(8) as pool:
        decoded = [*pool.map(lambda data: codecs.decode_picture(data, A), files)]
        usual = [decode_picture(data, A) for data in files]
        assert all(on_device for _, on_device in decoded)
        for (ours, _), theirs in zip(decoded, usual, strict=True):
            assert abs(ours.rgb.astype(int) - theirs.rgb).max() <= 3
        encoded = [*pool.map(lambda each: codecs.encode_picture(each.rgb, each, Encoding()), usual)]
    for (data, on_device), picture in zip(encoded, usual, strict=True):
        assert on_device
        again = decode_picture(data, A).rgb
        least = abs(decode_picture(encode_jpeg(picture.rgb), A).rgb.astype(int) - picture.rgb).mean()
        assert abs(again.astype(int) - picture.rgb).mean() < least + 0.5
    grey = jpeg(smooth()[..., 0])
    ours, on_device = codecs.decode_picture(grey, A)
    assert on_device
    assert abs(ours.rgb.astype(int) - decode_picture(grey, A).rgb).max() <= 3
