import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.validation import Change, blur, gain, gamma, jpeg, levels, mirror, noise, tint
from sim2real.metrics.spectrum import SpectrumMetric

Image = NDArray[np.uint8]


def measured(images: list[Image], real: list[Image]) -> float:
    metric = SpectrumMetric()
    return metric.distance(metric.describe(images), metric.describe(real))


def spectrum(image: Image) -> NDArray[np.float32]:
    """The mean over all tiles of a picture, whatever their contrast."""
    sums = SpectrumMetric().describe([image])[0].sum(axis=0)
    return np.asarray(sums[1:] / sums[0])


def test_white_noise_has_its_variance_at_every_frequency() -> None:
    """The logarithm of such a power is 2.5 dB below that of its mean."""
    random = np.random.default_rng(0)
    grey = levels(128 + 20 * random.normal(size=(200, 300, 1))).repeat(3, axis=2)
    assert spectrum(grey) == pytest.approx(20 * np.log10(20) - 2.5, abs=1)


def test_what_was_filtered_to_a_frequency_is_found_there() -> None:
    random = np.random.default_rng(0)
    waves = np.fft.fft2(random.normal(size=(192, 320)))
    frequency = np.hypot(np.fft.fftfreq(192)[:, None], np.fft.fftfreq(320))
    grain = np.fft.ifft2(waves * (np.abs(frequency - 0.2) < 0.01)).real
    grey = levels(128 + 20 * grain / grain.std())[..., None].repeat(3, axis=2)
    assert spectrum(grey).argmax() == int(0.2 * 64) - 4


def test_a_set_that_shows_more_sky_is_no_softer(town: list[Image]) -> None:
    """The same camera on other streets: two fifths of each picture are a plain wall with its grain."""
    random = np.random.default_rng(0)
    grainy = [levels(image + 3 * random.normal(size=image.shape)) for image in town]
    walls = [image.copy() for image in grainy]
    for image in walls:
        half = image[:, :128]
        half[:] = levels(np.array([150, 160, 170]) + 3 * random.normal(size=half.shape))
    assert measured(walls, grainy) < 0.3 * measured([*map(blur(0.7), grainy)], grainy)
    clean = [image.copy() for image in walls]
    for image in clean:
        image[:, :128] = [150, 160, 170]
    assert measured(clean, walls) > 3 * measured(walls, grainy)


def test_pictures_with_nothing_in_common_are_compared_all_the_same() -> None:
    plain = np.full((64, 64, 3), 90, np.uint8)
    checked = np.where(np.indices((64, 64)).sum(0) // 16 % 2, 30, 220).astype(np.uint8)[..., None].repeat(3, axis=2)
    assert measured([plain], [checked]) > 3


def test_it_moves_with_sharpness_and_noise(town: list[Image]) -> None:
    blurred = [measured([*map(blur(deviation), town)], town) for deviation in (0.5, 1, 2)]
    noisy = [measured([*map(noise(deviation), town)], town) for deviation in (2, 4, 8)]
    assert blurred == sorted(blurred)
    assert noisy == sorted(noisy)
    assert min(blurred[0], noisy[-1]) > 0.5


@pytest.mark.parametrize("change", [gain(0.7), tint, mirror, gamma(0.8)], ids=["gain", "tint", "mirror", "gamma"])
def test_it_does_not_move_with_light_or_places(town: list[Image], change: Change) -> None:
    assert measured([*map(change, town)], town) < 0.5 * measured([*map(blur(0.7), town)], town)


def test_the_traces_of_a_codec_are_seen(town: list[Image]) -> None:
    assert measured([*map(jpeg, town)], town) > 0.3


@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 30), width=st.integers(1, 30), level=st.integers(0, 255))
def test_pictures_of_any_size_have_a_spectrum(height: int, width: int, level: int) -> None:
    plain = np.full((height, width, 3), level, np.uint8)
    assert measured([plain], [plain]) == 0
    assert np.isfinite(SpectrumMetric().describe([plain])).all()
