import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.validation import levels, read_some, render_town
from sim2real.camera import BLOCK, MOST_BLUR, MOST_TAIL, RINGS, Camera, Channel
from sim2real.imageio import Encoding
from sim2real.metrics.edges import edge_changes
from sim2real.metrics.spectrum import SpectrumMetric
from sim2real.stored import MisfitError, parse
from sim2real.training.fitting import fit_camera

Image = NDArray[np.uint8]
NOISY = Camera(Channel(blur=0.12, base=4.0, slope=0.03), Channel(blur=0.2, base=1.0), Channel(blur=0.2, base=1.0))
COARSE = Channel(base=6.0, grain=(4.0, 4.0, 3.0, 2.0, 1.0, 0.4, 0.2, 0.1))


@pytest.fixture(scope="module")
def town() -> list[Image]:
    """Rendered frames, sharp and without any noise."""
    return render_town("sim", 8, (512, 192))


def degraded(image: Image, seed: int, sigma: float, base: float, slope: float) -> Image:
    """A picture that a lens blurs and a sensor makes noisy, as physics has it and this program does not."""
    values = image.astype(np.float64)
    if sigma:
        taps = np.exp(-np.square(np.arange(-6, 7)) / (2 * sigma**2))
        values = np.asarray(cv2.sepFilter2D(values, -1, taps / taps.sum(), taps / taps.sum()), np.float64)
    level = values @ [0.299, 0.587, 0.114]
    noise = np.random.default_rng(seed).normal(size=level.shape) * np.sqrt(base + slope * level)
    return np.clip(np.rint(values + noise[..., None]), 0, 255).astype(np.uint8)


def width(sigma: float) -> float:
    """The standard deviation of a Gaussian that is sampled at whole pixels."""
    places = np.arange(-6, 7)
    taps = np.exp(-np.square(places) / (2 * sigma**2))
    return float(np.sqrt((taps * places**2).sum() / taps.sum()))


CASES = [(0.4, 0.0, 0.0), (0.5, 4.0, 0.0), (0.6, 2.0, 0.05), (0.0, 9.0, 0.1), (0.5, 1.0, 0.02)]


@pytest.mark.parametrize(("sigma", "base", "slope"), CASES)
def test_a_known_blur_and_a_known_noise_are_found_back(
    sigma: float, base: float, slope: float, town: list[Image]
) -> None:
    camera = fit_camera(town, [degraded(image, seed, sigma, base, slope) for seed, image in enumerate(town)])
    assert camera.luma.sigma == pytest.approx(width(sigma) if sigma else 0, rel=0.15)
    assert camera.luma.base == pytest.approx(base, rel=0.15)
    assert camera.luma.slope == pytest.approx(slope, rel=0.15, abs=0.005)
    for level in (50, 100, 200):
        assert camera.luma.noise(level) ** 2 == pytest.approx(base + slope * level, rel=0.15)
    assert camera.luma.grain == pytest.approx([1] * RINGS, abs=0.25)  # white, as it was
    assert (camera.blue.noisy, camera.red.noisy) == (False, False)  # what is alike in red, green and blue has no colour


@pytest.mark.parametrize(
    "folder",
    [
        "kitti/frames",
        "camvid/val/images",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("carla/test/images", "monet2photo-mini/testB")),
    ],
)
def test_they_are_found_back_in_photos(folder: str) -> None:
    if not (data := os.environ.get("SIM2REAL_TEST_DATA")):
        pytest.skip("SIM2REAL_TEST_DATA names no folder with real samples")
    photos = read_some(Path(data) / folder, 64 if "mini" in folder else 12)
    for sigma, base, slope in ((0.5, 9.0, 0.1), (0.6, 4.0, 0.05)):
        camera = fit_camera(photos, [degraded(photo, seed, sigma, base, slope) for seed, photo in enumerate(photos)])
        assert camera.luma.sigma == pytest.approx(width(sigma), rel=0.15)
        for level in (60, 100, 140):  # photos have few flat blocks near black and white
            assert camera.luma.noise(level) ** 2 == pytest.approx(base + slope * level, rel=0.15)


def test_a_camera_that_sharpens_after_its_lens_is_found_back(town: list[Image]) -> None:
    lens = Channel(blur=0.15, tail=-0.2, base=1.0)
    found = fit_camera(town, [Camera(luma=lens).apply(image, seed) for seed, image in enumerate(town)]).luma
    waves = np.linspace(0, np.pi, 33)
    assert gains(found, waves) == pytest.approx(gains(lens, waves), abs=0.05)
    assert found.tail < -0.1


def gains(channel: Channel, waves: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is left of a wave whose phase grows by this much from pixel to pixel."""
    return np.asarray(np.cos(np.multiply.outer(waves, np.arange(-2, 3))) @ channel.taps)


@given(blur=st.floats(0, MOST_BLUR), tail=st.floats(-MOST_TAIL, MOST_TAIL))
def test_no_frequency_is_strengthened_or_turned_around(blur: float, tail: float) -> None:
    channel = Channel(blur=blur, tail=tail)
    left = gains(channel, np.linspace(0, np.pi, 65))
    assert left.min() > -1e-9
    assert left.max() < 1 + 1e-9
    assert left[0] == pytest.approx(1)
    assert channel.sigma >= 0


def test_noise_grows_not_far_beyond_what_flat_blocks_tell(town: list[Image]) -> None:
    dark = [levels(0.4 * image) for image in town]
    camera = fit_camera(dark, [degraded(image, seed, 0, 2.0, 0.1) for seed, image in enumerate(dark)])
    assert camera.luma.until < 160
    assert camera.luma.noise(250) == camera.luma.noise(camera.luma.until)
    bright = np.full((64, 64, 3), 240, np.uint8)
    assert camera.apply(bright, 1).std() == pytest.approx(camera.luma.noise(camera.luma.until), rel=0.15)


def test_what_is_right_and_left_of_what_both_sides_show_tells_nothing(town: list[Image]) -> None:
    sides = [degraded(image, 100 + seed, 2.0, 30.0, 0.0) for seed, image in enumerate(town)]
    middles = [degraded(image, seed, 0.5, 4.0, 0.0) for seed, image in enumerate(town)]
    wide = [np.concatenate([side, middle, side], axis=1) for side, middle in zip(sides, middles, strict=True)]
    assert fit_camera(town, wide) == fit_camera(town, middles)  # an evaluation compares the middle as well
    narrow = [middle[:, 128:-128] for middle in middles]
    assert fit_camera(town, narrow) == fit_camera([image[:, 128:-128] for image in town], narrow)


def test_all_pictures_decide_whatever_their_order(town: list[Image]) -> None:
    parts = [image[top : top + 96, left : left + 256] for image in town for top in (0, 96) for left in (0, 256)]
    sigmas = np.where(np.arange(len(parts)) % 3 == 0, 0.7, 0.4)
    real = [
        degraded(image, seed, sigma, 2.0, 0.0) for seed, (image, sigma) in enumerate(zip(parts, sigmas, strict=True))
    ]
    once, again = fit_camera(parts, real), fit_camera(parts[::-1], real[::-1])
    assert once.luma.blur == pytest.approx(again.luma.blur, abs=0.006)  # the last of the steps


def test_texture_at_some_levels_is_no_noise_at_others() -> None:
    shapes = {level: (512, 768) if level in (100, 120) else (64, 256) for level in (30, 50, 75, 100, 120, 160, 180)}
    flat = [np.full((*shape, 3), level, np.uint8) for level, shape in shapes.items()]
    real = [degraded(image, seed, 0, 3.0, 0.01) for seed, image in enumerate(flat)]
    rough = [
        degraded(image, 50 + seed, 0, 9.0, 0.0) if image.size > 10**6 else image for seed, image in enumerate(real)
    ]
    camera = fit_camera(flat, rough)
    for level in (40, 170):
        assert camera.luma.noise(level) ** 2 == pytest.approx(3 + 0.01 * level, rel=0.15)


def test_real_images_need_no_other_camera_than_theirs(town: list[Image]) -> None:
    real = [degraded(image, seed, 0.5, 4.0, 0.03) for seed, image in enumerate(town)]
    assert not fit_camera(real, real).changes
    halves = fit_camera(real[::2], real[1::2])
    assert halves.luma.sigma < 0.2
    assert max(halves.luma.noise(level) for level in (32, 128, 224)) < 1


def test_pictures_come_nearer_to_real_ones_in_their_spectra_and_noise(town: list[Image]) -> None:
    real = [degraded(image, seed, 0.55, 6.0, 0.04) for seed, image in enumerate(town)]
    camera = fit_camera(town[::2], real[1::2])
    taken = [camera.apply(image, 100 + seed) for seed, image in enumerate(town)]
    metric = SpectrumMetric()
    far, near = (metric.distance(metric.describe(each), metric.describe(real)) for each in (town, taken))
    assert near < 0.2 * far
    assert not fit_camera(taken, real).changes or fit_camera(taken, real).luma.noise(128) < 0.5


def test_noise_has_the_variance_of_its_brightness_and_the_power_of_its_grain() -> None:
    grey = np.repeat(np.arange(40, 220, 20, dtype=np.uint8), 256)[:, None, None].repeat(512, 1).repeat(3, 2)
    camera = Camera(Channel(base=3.0, slope=0.05, grain=COARSE.grain))
    noise = camera.apply(grey, 7)[..., 0].astype(np.float64) - grey[..., 0]
    variances = noise.reshape(9, 256, 512).var(axis=(1, 2))
    assert variances == pytest.approx(3 + 0.05 * np.arange(40, 220, 20) + 1 / 12, rel=0.05)
    rows = np.diff(noise[:, ::2], axis=0).var() / np.diff(noise[::8, ::2], axis=0).var()
    assert rows < 0.6  # neighbours are alike


def test_nothing_moves_and_no_edge_comes_or_goes(town: list[Image]) -> None:
    point = np.full((41, 41, 3), 60, np.uint8)
    point[20, 20] = 250
    spread = np.argwhere(Camera(Channel(blur=0.25), Channel(blur=0.25), Channel(blur=0.25)).apply(point, 0) != 60)
    assert np.hypot(*(spread[:, :2] - 20).T).max() < 1.5
    for seed, image in enumerate(town):
        changes = edge_changes(image, NOISY.apply(image, seed))
        assert max(changes) < 0.003


def test_a_picture_depends_on_its_seed_alone(town: list[Image]) -> None:
    image = town[0]
    once = NOISY.apply(image, 5)
    kept = image.copy()
    with ThreadPoolExecutor(4) as pool:
        assert all(np.array_equal(each, once) for each in pool.map(lambda _: NOISY.apply(image, 5), range(8)))
    assert np.array_equal(image, kept)
    assert not np.array_equal(NOISY.apply(image, 6), once)
    assert not np.array_equal(NOISY.apply(image, 2**64 - 1), once)


def test_rows_at_the_borders_of_strips_look_like_others() -> None:
    image = np.random.default_rng(0).integers(0, 256, (700, 40, 3), np.uint8)
    blur = Camera(Channel(blur=0.2), Channel(blur=0.2), Channel(blur=0.2))
    whole = cv2.sepFilter2D(image, -1, np.array([0.2, 0.6, 0.2]), np.array([0.2, 0.6, 0.2]))
    assert np.abs(blur.apply(image, 0).astype(int) - whole).max() <= 1


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 50, 3), (300, 2, 3), (257, 16, 3)])
def test_every_size_keeps_its_size(shape: tuple[int, ...]) -> None:
    image = np.full(shape, 100, np.uint8)
    for camera in (Camera(), NOISY, Camera(COARSE, COARSE, COARSE)):
        assert camera.apply(image, 1).shape == shape
        assert camera.apply(image, 1, Encoding(quality=50)).shape == shape
    assert np.array_equal(Camera().apply(image, 1), image)


def test_a_jpeg_is_what_the_camera_gives_and_is_fitted_with(town: list[Image]) -> None:
    coarse = Encoding(quality=40, sampling="4:2:0", progressive=True)
    camera = Camera()
    real = [camera.apply(image, 0, coarse) for image in town]
    assert not np.array_equal(real[0], town[0])
    assert fit_camera(town, real).changes  # without knowing of it
    assert fit_camera(town, real, coarse) == camera


def test_a_camera_is_plain_numbers_that_are_checked_when_they_are_read() -> None:
    text = json.dumps(asdict(NOISY)).encode()
    assert parse(Camera, text) == NOISY
    with pytest.raises(MisfitError, match="blur"):
        parse(Camera, text.replace(b'"blur": 0.12', b'"blur": 0.3'))
    with pytest.raises(MisfitError, match="grain"):
        parse(Camera, text.replace(b"[1.0, ", b"[-1.0, "))
    with pytest.raises(MisfitError, match="tail"):
        parse(Camera, text.replace(b'"tail": 0.0', b'"tail": -0.3'))
    older = parse(Camera, text.replace(b'"tail": 0.0, ', b""))
    assert older == NOISY  # of versions without tails
    for value in (b"1e300", b"true", b'"much"', b"null"):
        with pytest.raises(MisfitError, match="base"):
            parse(Camera, text.replace(b'"base": 4.0', b'"base": ' + value))
    assert str(NOISY) == "blur 0.47 px, noise 2.2 to 3.3 grey levels; of colours 0.64 px, 1.0 to 1.0"
    assert str(Camera()) == "no blur, no noise"


def test_pictures_that_tell_nothing_are_refused(town: list[Image]) -> None:
    small = [np.zeros((BLOCK - 1, 400, 3), np.uint8)] * 3
    white = [np.full((200, 400, 3), 255, np.uint8)] * 3
    for images in (small, white, [], [town[0][:32, :32]]):
        with pytest.raises(ValueError, match="blocks of 16x16 px of the translated"):
            fit_camera(images, town)
        with pytest.raises(ValueError, match="blocks of 16x16 px of the real"):
            fit_camera(town, images)


def test_flat_pictures_are_no_trouble() -> None:
    flat = [np.full((200, 400, 3), level, np.uint8) for level in (40, 90, 200)]
    assert not fit_camera(flat, flat).changes
    noisy = [degraded(image, seed, 0, 9, 0) for seed, image in enumerate(flat)]
    assert fit_camera(flat, noisy).luma.noise(90) == pytest.approx(3, rel=0.1)
    assert not fit_camera(noisy, flat).changes


@pytest.mark.parametrize("camera", [NOISY, Camera(COARSE, COARSE, COARSE)])
def test_large_frames_take_little_time_and_memory(camera: Camera, peak: Callable[..., float]) -> None:
    image = np.full((2160, 3840, 3), 100, np.uint8)
    camera.apply(image, 0)
    begin = time.process_time()
    camera.apply(image, 1)
    assert time.process_time() - begin < 3  # half a second where nobody else is at work
    assert peak(lambda: camera.apply(image, 1)) < 3 * image.nbytes


@pytest.fixture
def peak() -> Callable[..., float]:
    """Most bytes that numpy holds during a call."""
    import tracemalloc

    def measure(call: Callable[[], object]) -> float:
        tracemalloc.start()
        try:
            call()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return measure
