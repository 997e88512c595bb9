import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sim2real.evaluation.view import View, common_view
from sim2real.metrics.base import Image

SIZES = st.tuples(st.integers(60, 90), st.integers(30, 39))


def grey(width: int, height: int) -> Image:
    return np.full((height, width, 3), 90, np.uint8)


@given(st.lists(SIZES, min_size=1, max_size=6))
def test_all_pictures_look_alike_in_size_and_none_is_enlarged(sizes: list[tuple[int, int]]) -> None:
    view = common_view(sizes)
    for width, height in sizes:
        picture = grey(width, height)
        assert view.fits(picture)
        assert view(picture).shape == (view.height, view.width, 3)
        assert view.height <= height
        assert view.width <= width


def test_pictures_of_one_size_are_left_alone() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    np.testing.assert_array_equal(common_view([(40, 24), (40, 24)])(picture), picture)


def test_the_middle_is_seen_at_the_scale_of_the_smaller_side() -> None:
    view = common_view([(80, 40), (20, 20)])
    assert view == View(20, 20)
    wide = grey(80, 40)
    wide[:, 20:60] = 200
    np.testing.assert_array_equal(view(wide)[:, 2:-2], np.full((20, 16, 3), 200, np.uint8))


def test_pictures_that_are_hardly_higher_are_cropped_and_not_made_softer() -> None:
    random = np.random.default_rng(0)
    kitti = [random.integers(0, 256, (height, width, 3), dtype=np.uint8) for width, height in ((620, 188), (612, 185))]
    view = common_view([(620, 188)], [(612, 185), (621, 187)])
    assert view == View(612, 185)
    np.testing.assert_array_equal(view(kitti[0]), kitti[0][1:186, 4:616])
    np.testing.assert_array_equal(view(kitti[1]), kitti[1])


def test_shrinking_does_not_alias() -> None:
    stripes = grey(64, 64)
    stripes[::2] = 250
    assert common_view([(64, 64), (40, 40)])(stripes).std() < 0.1 * stripes.std()


def test_a_thumbnail_does_not_shrink_all_others() -> None:
    view = common_view([(100, 50)] * 4 + [(20, 10)])
    assert view == View(100, 50)
    assert not view.fits(grey(20, 10))


def test_a_portrait_does_not_cut_a_strip_out_of_all_others() -> None:
    view = common_view([(100, 50)] * 4 + [(50, 100)])
    assert view == View(100, 50)
    assert not view.fits(grey(50, 100))


def test_a_set_of_small_or_narrow_pictures_is_no_exception() -> None:
    assert common_view([(100, 80)] * 9, [(40, 20)] * 3) == View(25, 20)
    assert common_view([(300, 80)] * 9, [(80, 80)] * 3) == View(80, 80)
