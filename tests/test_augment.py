from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sim2real.augment import AUGMENTATIONS, Augment
from sim2real.errors import SettingsError
from sim2real.imageio import resize

Image = NDArray[np.uint8]
sides = st.integers(1, 70)
sizes = st.tuples(sides, sides)


def noise(width: int, height: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def gradient(width: int, height: int) -> Image:
    """Red tells how far right a pixel is, green how far down, each from 0 to 255."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.dstack([across, down, np.zeros_like(across)]).round().astype(np.uint8)


@given(
    image=sizes,
    size=sizes,
    load_size=st.none() | sizes,
    fit=st.sampled_from(["crop", "resize"]),
    seed=st.none() | st.integers(0, 2**32 - 1),
    names=st.lists(st.sampled_from(sorted(AUGMENTATIONS)), unique=True),
)
def test_the_result_has_exactly_the_size_whatever_comes_in(
    *,
    image: tuple[int, int],
    size: tuple[int, int],
    load_size: tuple[int, int] | None,
    fit: Literal["crop", "resize"],
    seed: int | None,
    names: list[str],
) -> None:
    result = Augment(size, fit=fit, load_size=load_size, names=names)(noise(*image), seed=seed)
    assert result.shape == (size[1], size[0], 3)
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous


def test_crop_is_a_window_of_the_frame_at_its_own_scale() -> None:
    image = noise(60, 40)
    windows = {bytes(image[top : top + 16, left : left + 24]): (left, top) for top in range(25) for left in range(37)}
    augment = Augment((24, 16))
    places = [windows[augment(image, seed=seed).tobytes()] for seed in range(30)]
    assert len({left for left, _ in places}) > 5
    assert len({top for _, top in places}) > 5
    assert windows[augment(image, seed=None).tobytes()] == (18, 12)


def test_crop_keeps_the_aspect_of_a_scaled_frame() -> None:
    across, down = gradient(400, 100)[..., 0], gradient(400, 100)[..., 1]
    result = Augment((32, 32), load_size=(32, 32))(gradient(400, 100), seed=None).astype(int)
    assert result[-1, 0, 1] - result[0, 0, 1] > 240  # its whole height is there,
    assert 50 < result[0, -1, 0] - result[0, 0, 0] < 75  # and a quarter of its width
    assert (across.max(), down.max()) == (255, 255)


def test_resize_squeezes_the_whole_frame() -> None:
    result = Augment((32, 32), fit="resize")(gradient(400, 100), seed=7).astype(int)
    assert result[-1, 0, 1] - result[0, 0, 1] > 240
    assert result[0, -1, 0] - result[0, 0, 0] > 240


def test_load_size_leaves_a_margin_for_the_window() -> None:
    augment = Augment((32, 32), fit="resize", load_size=(64, 64))
    spans = [augment(gradient(200, 200), seed=seed).astype(int) for seed in range(8)]
    assert all(110 < span[0, -1, 0] - span[0, 0, 0] < 140 for span in spans)  # half of the frame,
    assert len({int(span[0, 0, 0]) for span in spans}) > 2  # not always the same half


def test_a_frame_that_is_too_small_is_scaled_up_to_cover_the_window() -> None:
    result = Augment((32, 32))(np.full((8, 20, 3), 77, np.uint8), seed=1)
    assert (result == 77).all()


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_equal_seeds_give_equal_results_and_others_do_not(name: str) -> None:
    augment, image = Augment((24, 24), names=[name]), noise(40, 40)
    first = [augment(image, seed=seed) for seed in range(6)]
    again = [augment(image, seed=seed) for seed in reversed(range(6))][::-1]
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert len({one.tobytes() for one in first}) > 1


@pytest.mark.parametrize(("name", "axis"), [("hflip", 1), ("vflip", 0)])
def test_flips_flip_half_of_the_images(name: str, axis: int) -> None:
    image = noise(24, 24)
    augment = Augment((24, 24), names=[name])
    results = [augment(image, seed=seed) for seed in range(40)]
    flipped = sum(np.array_equal(result, np.flip(image, axis)) for result in results)
    kept = sum(np.array_equal(result, image) for result in results)
    assert flipped + kept == 40
    assert 8 < flipped < 32


def test_the_input_is_left_alone_and_may_be_read_only() -> None:
    image = noise(24, 24)
    before = image.copy()
    image.flags.writeable = False
    for seed in range(5):
        Augment((24, 24), names=sorted(AUGMENTATIONS))(image, seed=seed)
    assert np.array_equal(image, before)


@given(image=sizes, size=sizes, load_size=st.none() | sizes, fit=st.sampled_from(["crop", "resize"]))
def test_a_scaled_frame_covers_the_window_and_is_not_scaled_again(
    image: tuple[int, int], size: tuple[int, int], load_size: tuple[int, int] | None, fit: Literal["crop", "resize"]
) -> None:
    augment = Augment(size, fit=fit, load_size=load_size)
    width, height = augment.scaled_size(*image)
    assert width >= size[0]
    assert height >= size[1]
    scaled = resize(noise(*image), (width, height))
    assert np.array_equal(augment.cut(scaled, seed=5), augment(noise(*image), seed=5))


def test_an_unknown_augmentation_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"data\.augment: no augmentation is called 'flip'; known: hflip, vflip"):
        Augment((8, 8), names=["flip"])


@given(
    size=sizes,
    window=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    seed=st.none() | st.integers(0, 2**32 - 1),
    names=st.lists(st.sampled_from(["hflip", "vflip"]), unique=True),
)
def test_places_tell_which_pixels_a_cut_shows(
    size: tuple[int, int], window: tuple[int, int], seed: int | None, names: list[str]
) -> None:
    window = min(window[0], size[0]), min(window[1], size[1])
    augment, image = Augment(window, names=names), noise(*size)
    rows, columns = augment.places(*size, seed=seed)
    assert np.array_equal(image[rows[:, None], columns], augment.cut(image, seed=seed))


@given(
    image=st.tuples(st.integers(20, 70), st.integers(20, 70)),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    seed=st.integers(0, 2**32 - 1),
    names=st.lists(st.sampled_from(sorted(AUGMENTATIONS)), unique=True),
)
def test_cutting_the_window_first_changes_nothing(
    *, image: tuple[int, int], size: tuple[int, int], seed: int, names: list[str]
) -> None:
    augment, frame = Augment(size, names=names), noise(*image)
    left, top, right, bottom = augment.window(*image, seed=seed)
    assert (right - left, bottom - top) == size
    assert np.array_equal(augment.cut(frame[top:bottom, left:right], seed=seed), augment.cut(frame, seed=seed))


def test_changes_of_light_move_no_places() -> None:
    every = Augment((24, 16), names=sorted(AUGMENTATIONS))
    image = gradient(60, 40)
    for seed in range(10):
        rows, columns = every.places(60, 40, seed=seed)
        shown = every.cut(image, seed=seed).astype(int)
        right, down = (
            np.corrcoef(shown[..., channel].ravel(), image[rows[:, None], columns][..., channel].ravel())
            for channel in (0, 1)
        )
        assert right[0, 1] > 0.9
        assert down[0, 1] > 0.9
