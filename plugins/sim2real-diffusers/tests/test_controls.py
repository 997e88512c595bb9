"""Labels as images for ControlNets, with values computed by hand."""

import numpy as np
import pytest
from sim2real_diffusers.controls import Colouring, control_image, edges, nearness

from sim2real import SettingsError


def test_near_pixels_are_white_and_unknown_ones_black() -> None:
    metres = np.full((1, 10, 10), 10.0, np.float32)
    metres[0, 0] = (0, 5, 20, 40, 80, 160, 320, 640, 1280, 2560)
    metres[0, 9] = 5
    image = nearness(metres, "depth")
    assert image.shape == (10, 10, 3)
    assert image.dtype == np.uint8
    assert (image[..., 0] == image[..., 2]).all()
    assert image[0, 0, 0] == 0
    assert image[0, 1, 0] == 255
    assert image[5, 5, 0] == round(255 * 5 / 10)
    assert image[0, 3, 0] == round(255 * 5 / 40)
    assert (np.diff(image[0, 1:, 0].astype(int)) <= 0).all()


def test_a_disparity_is_near_where_it_is_large() -> None:
    pixels = np.full((1, 4, 50), 20.0, np.float32)
    pixels[0, 0, :2] = (0, 10)
    image = nearness(pixels, "disparity")
    assert [image[0, 0, 0], image[0, 1, 0], image[3, 3, 0]] == [0, 128, 255]


def test_depth_that_is_unknown_everywhere_is_black() -> None:
    assert not nearness(np.zeros((1, 4, 4), np.float32), "depth").any()


def test_one_near_pixel_does_not_darken_the_rest() -> None:
    metres = np.full((1, 20, 20), 10.0, np.float32)
    metres[0, 0, 0] = 0.1
    assert nearness(metres, "depth")[10, 10, 0] == 255


def test_classes_get_the_colours_of_ade20k_under_any_common_name() -> None:
    colour = Colouring(("Sky", "Tree", "Road", "TrafficSign", "Unheard"), {})
    ids = np.array([[0, 1, 2], [3, 4, -1]])
    assert colour(ids).tolist() == [
        [[6, 230, 230], [4, 200, 3], [140, 140, 140]],
        [[255, 5, 153], [0, 0, 0], [0, 0, 0]],
    ]


def test_a_palette_of_ones_own_comes_first() -> None:
    colour = Colouring(("road", "robot"), {"road": (1, 2, 3), "robot": (4, 5, 6)})
    assert colour(np.array([[0, 1]])).tolist() == [[[1, 2, 3], [4, 5, 6]]]


def test_classes_without_any_colour_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"none of the classes gripper, bolt has a colour.*palette\.gripper"):
        Colouring(("gripper", "bolt"), {})


def test_edges_are_those_of_the_frame() -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    image[8:24, 8:24] = 200
    found = control_image("edges", image, None, Colouring((), {}))
    assert (found == edges(image)).all()
    assert set(np.unique(found)) == {0, 255}
    assert found[16, 6:10].any()
    assert not found[16, 12:20].any()
