from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sim2real.errors import SettingsError, Sim2RealError
from sim2real.metrics.edges import edge_changes
from sim2real.networks.colour import (
    ByFrame,
    FourierDomainAdaptation,
    Histogram,
    PixelDistribution,
    Reinhard,
    Variation,
    as_pictures,
)
from tests.networks.making import batch, seeds

Image = NDArray[np.uint8]
Make = Callable[[], ByFrame]
GENERATORS: dict[str, Make] = {
    "reinhard": lambda: Reinhard(3, 3),
    "reinhard-frame": lambda: Reinhard(3, 3, statistics="frame"),
    "histogram": lambda: Histogram(3, 3, references=4),
    "pixel-distribution": lambda: PixelDistribution(3, 3, references=4),
    "fda": lambda: FourierDomainAdaptation(3, 3, references=4),
    "augment": lambda: Variation(3, 3),
}
DRAWING = ["histogram", "pixel-distribution", "fda", "augment"]
WHOLE = (1.0, 1.0)


def street(seed: int, *, size: tuple[int, int] = (64, 48)) -> Image:
    """A picture of soft shapes with some noise, whose colours are others for each seed, none of them near the ends."""
    random = np.random.default_rng(seed)
    width, height = size
    shapes = cv2.resize(random.uniform(80, 170, (6, 8, 3)).astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    return np.asarray((shapes + random.normal(0, 3, (height, width, 3))).clip(40, 215), np.uint8)


SIM = [street(seed) for seed in range(4)]
REAL = [street(seed) // 2 + np.array([90, 70, 40], np.uint8) for seed in range(10, 16)]


def fitted(generator: ByFrame, target: list[Image] = REAL) -> ByFrame:
    generator.observe(batch(*SIM), batch(*target))
    return generator


@pytest.mark.parametrize("name", GENERATORS)
@settings(deadline=None, max_examples=10)
@given(width=st.integers(1, 40), height=st.integers(1, 40), seed=st.integers(0, 2**64 - 1))
def test_what_becomes_of_a_picture_depends_on_it_and_its_seed_alone(
    name: str, width: int, height: int, seed: int
) -> None:
    generator = fitted(GENERATORS[name]())
    one, other = (street(number, size=(width, height)) for number in (20, 21))
    alone = generator(batch(one), seeds=seeds(seed))
    in_company = generator(batch(other, one), seeds=seeds(5, seed))[1:]
    assert alone.shape == (1, 3, height, width)
    assert torch.equal(alone, in_company)
    assert torch.equal(batch(*as_pictures(alone)), alone)  # one of 256 values each


@pytest.mark.parametrize("name", DRAWING)
def test_seeds_decide_what_is_drawn_and_without_them_the_pixels_do(name: str) -> None:
    generator = fitted(GENERATORS[name]())
    image = street(20)
    sampled = generator(batch(*[image] * 8), seeds=np.arange(8, dtype=np.uint64))
    assert len({picture.tobytes() for picture in as_pictures(sampled)}) > 2
    first, second, third = generator(batch(image, image, street(21)))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


@pytest.mark.parametrize("name", GENERATORS)
def test_what_was_seen_is_all_in_the_state(name: str) -> None:
    generator = fitted(GENERATORS[name]())
    again = GENERATORS[name]()
    again.load_state_dict(generator.state_dict())
    image = batch(street(20))
    assert torch.equal(again(image, seeds=seeds(3)), generator(image, seeds=seeds(3)))


@pytest.mark.parametrize("name", GENERATORS)
def test_edges_stay_where_they_are(name: str) -> None:
    generator = fitted(GENERATORS[name]())
    image = np.full((96, 128, 3), 90, np.uint8)
    cv2.rectangle(image, (30, 20), (80, 70), (170, 150, 120), -1)
    changes = edge_changes(image, as_pictures(generator(batch(image), seeds=seeds(1)))[0])
    assert changes.new < 0.1
    assert changes.lost < 0.1


@pytest.mark.parametrize("name", [name for name in GENERATORS if name != "augment"])
def test_one_that_has_seen_nothing_says_so(name: str) -> None:
    with pytest.raises(Sim2RealError, match="has seen no images"):
        GENERATORS[name]()(batch(street(0)))


def test_no_more_references_are_kept_than_asked_for() -> None:
    generator = Histogram(3, 3, references=4)
    for image in REAL:
        generator.observe(batch(*SIM), batch(image, image))
    assert np.array_equal(generator.references.numpy(), np.stack([REAL[0], REAL[0], REAL[1], REAL[1]]))


def lab_of(images: list[Image]) -> NDArray[np.float32]:
    stacked = np.concatenate(images).astype(np.float32) / 255
    return np.asarray(cv2.cvtColor(stacked, cv2.COLOR_RGB2Lab).reshape(-1, 3), np.float32)


def test_reinhard_gives_a_set_the_mean_and_spread_of_the_other_one() -> None:
    generator = fitted(Reinhard(3, 3))
    after = lab_of([*as_pictures(generator(batch(*SIM)))])
    wanted = lab_of(REAL)
    assert np.allclose(after.mean(0), wanted.mean(0), atol=0.5)
    assert np.allclose(after.std(0), wanted.std(0), atol=0.5)
    assert not np.allclose(lab_of(SIM).mean(0), wanted.mean(0), atol=3)


def test_reinhard_changes_all_frames_alike_or_evens_them_out() -> None:
    dark, bright = (np.asarray(street(20) * share, np.uint8) for share in (0.6, 1.1))
    lightness: dict[str, list[float]] = {}
    for statistics in ("set", "frame"):
        generator = fitted(Reinhard(3, 3, statistics=statistics))
        after = as_pictures(generator(batch(dark, bright)))
        lightness[statistics] = [float(lab_of([picture])[:, 0].mean()) for picture in after]
    assert lightness["set"][1] - lightness["set"][0] > 10
    assert abs(lightness["frame"][1] - lightness["frame"][0]) < 1
    assert abs(lightness["frame"][0] - lab_of(REAL)[:, 0].mean()) < 1


@pytest.mark.parametrize(
    "generator",
    [
        Reinhard(3, 3),
        Reinhard(3, 3, statistics="frame"),
        Histogram(3, 3, blend=WHOLE),
        PixelDistribution(3, 3, blend=WHOLE),
        FourierDomainAdaptation(3, 3, beta=(0.1, 0.1)),
    ],
    ids=lambda generator: type(generator).__name__,
)
def test_a_picture_that_is_like_the_target_stays_as_it_is(generator: ByFrame) -> None:
    image = street(1)
    generator.observe(batch(image), batch(image))
    after = as_pictures(generator(batch(image)))[0]
    assert np.abs(after.astype(int) - image).max() <= 1
    assert abs(after.mean() - image.mean()) < 0.02


def test_histograms_are_matched_and_blended() -> None:
    image, target = street(20), REAL[0]
    whole, half, none = (
        as_pictures(fitted(Histogram(3, 3, blend=(blend, blend)), [target])(batch(image)))[0] for blend in (1, 0.5, 0)
    )
    levels = np.linspace(0.05, 0.95, 19)
    assert np.abs(np.quantile(whole, levels, axis=(0, 1)) - np.quantile(target, levels, axis=(0, 1))).max() <= 2
    assert np.array_equal(none, image)
    assert np.abs((whole.astype(float) + image) / 2 - half).max() <= 1


def test_pixels_get_the_mean_and_covariance_of_those_of_a_reference() -> None:
    image, target = street(20), REAL[0]
    after = as_pictures(fitted(PixelDistribution(3, 3, blend=WHOLE), [target])(batch(image)))[0]
    pixels, wanted = (picture.reshape(-1, 3).astype(float) for picture in (after, target))
    assert np.allclose(pixels.mean(0), wanted.mean(0), atol=0.2)
    assert np.allclose(np.cov(pixels.T), np.cov(wanted.T), rtol=0.02, atol=2)


def test_colours_are_moved_and_not_exchanged() -> None:
    # principal axes have no signs: matching them can turn red into its opposite
    image = street(20)
    mirrored = np.asarray(image[:, ::-1] // 2 + 60, np.uint8)
    after = as_pictures(fitted(PixelDistribution(3, 3, blend=WHOLE), [mirrored])(batch(image)))[0]
    assert np.abs(after.astype(int) - (image // 2 + 60)).max() <= 2


def test_a_single_colour_becomes_the_mean_of_the_reference() -> None:
    even = np.full((20, 30, 3), (10, 200, 90), np.uint8)
    after = as_pictures(fitted(PixelDistribution(3, 3, blend=WHOLE), [REAL[0]])(batch(even)))[0]
    assert np.ptp(after, axis=(0, 1)).max() == 0
    assert np.abs(after[0, 0] - REAL[0].mean((0, 1))).max() <= 1


def test_low_frequencies_get_the_amplitudes_of_a_reference_and_the_rest_stays() -> None:
    image, target = (np.asarray(street(seed) // 3 + 80, np.uint8) for seed in (20, 30))
    after = as_pictures(fitted(FourierDomainAdaptation(3, 3, beta=(0.05, 0.05)), [target])(batch(image)))[0]
    was, wanted, now = (np.fft.fft2(picture, axes=(0, 1)) for picture in (image, target, after))
    low = np.zeros(was.shape, bool)
    low[np.ix_([-2, -1, 0, 1, 2], [-2, -1, 0, 1, 2])] = True  # 0.05 of 48 pixels: 2 cycles
    noise = 5 * np.sqrt(image[..., 0].size / 12)  # of rounding
    assert np.abs(np.abs(now) - np.abs(wanted))[low].max() < noise
    assert np.abs(now - was)[~low].max() < noise
    assert np.abs(np.angle(now[low] / was[low])).max() < 0.3
    assert np.abs(np.abs(was) - np.abs(wanted))[low].max() > 5 * noise


def test_the_smallest_pictures_get_at_least_the_mean_of_a_reference() -> None:
    image = street(20, size=(28, 28))
    generator = fitted(FourierDomainAdaptation(3, 3, beta=(0.01, 0.01)), [REAL[0]])
    after = as_pictures(generator(batch(image)))[0]
    assert np.allclose(after.mean((0, 1)), REAL[0].mean((0, 1)), atol=1.5)


def test_the_strength_of_hand_made_changes_is_a_setting() -> None:
    images = batch(*[street(20)] * 12)
    moved = [
        float((Variation(3, 3, strength=strength)(images, seeds=np.arange(12, dtype=np.uint64)) - images).abs().mean())
        for strength in (0.01, 0.5, 1.0)
    ]
    assert moved[0] < 0.02 < moved[1] < moved[2]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Reinhard(3, 3, statistics="both"), "statistics = 'both' is not one of set, frame"),  # type: ignore[arg-type]  # on purpose
        (lambda: Histogram(3, 3, references=0), "references = 0 must be a whole number"),
        (lambda: Histogram(3, 3, blend=(0.9, 0.1)), "blend = .* in ascending order"),
        (lambda: FourierDomainAdaptation(3, 3, beta=(0, 0.6)), "beta = .* between 0 and 0.5"),
        (lambda: Variation(3, 3, strength=2), "strength = 2 must be"),
    ],
)
def test_options_that_cannot_be_are_refused(make: Make, words: str) -> None:
    with pytest.raises(SettingsError, match=f"generator.options.{words}"):
        make()
