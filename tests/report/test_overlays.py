"""Labels as drawings: they cover what the labels cover."""

import re

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sim2real.datasets.labels import Box, Boxes, Segmentation
from sim2real.report.overlays import Layer, _areas, _boxes, hues


def filled(layer: Layer, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels inside of a layer's outlines, holes left out."""
    canvas = np.zeros(size[::-1], np.uint8)
    polygons = []
    for x, y, steps in re.findall(r"M([\d.]+) ([\d.]+)l([-\d ]*)z", layer.path):
        moves = np.array(steps.split(), int).reshape(-1, 2)
        start = np.array([[float(x) - 0.5, float(y) - 0.5]])
        polygons.append(np.concatenate([start, start + moves.cumsum(axis=0)]).astype(np.int32))
    cv2.fillPoly(canvas, polygons, 1)
    return canvas > 0


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1))
def test_outlines_cover_their_class(seed: int) -> None:
    random = np.random.default_rng(seed)
    ids = np.zeros((60, 80), np.int32)
    for number in (1, 2, 1):
        x, y = random.integers(10, 70), random.integers(10, 50)
        blob = np.zeros(ids.shape, np.uint8)
        cv2.ellipse(
            blob, (int(x), int(y)), (int(random.integers(6, 20)), int(random.integers(6, 12))), 30, 0, 360, 1, -1
        )
        ids[blob > 0] = number
    painted = {
        layer.name: filled(layer, (80, 60))
        for layer in _areas(Segmentation(ids, {0: "Road", 1: "Car", 2: "Van"}), (80, 60))
    }
    for number, name in enumerate(("Road", "Car", "Van")):
        mask = ids == number
        if name in painted:
            wrong = cv2.erode((painted[name] ^ mask).astype(np.uint8), np.ones((4, 4), np.uint8))
            assert not wrong.any()  # nowhere off by more than the line is wide
        else:
            assert mask.sum() < 40


def test_a_mask_of_noise_is_drawn_coarsely_and_what_is_nothing_not_at_all() -> None:
    ids = np.random.default_rng(0).integers(-1, 9, (400, 900)).astype(np.int32)
    found = _areas(Segmentation(ids, {}), (900, 400))
    assert sum(len(layer.path) for layer in found) <= 120_000
    assert "class -1" not in {layer.name for layer in found}


def test_boxes_lie_on_the_scaled_picture_a_layer_for_each_class() -> None:
    boxes = Boxes((Box("Car", 10, 20, 30, 40), Box("", 0, 0, 4, 8), Box("Car", 1, 2, 3, 4)))
    assert list(_boxes(boxes, (0.5, 0.25))) == [
        Layer("boxes", "Car", "M5.0 5.0H15.0V10.0H5.0zM0.5 0.5H1.5V1.0H0.5z"),
        Layer("boxes", "object", "M0.0 0.0H2.0V2.0H0.0z"),
    ]


def test_classes_have_colours_of_their_own() -> None:
    found = hues([str(number) for number in range(20)])
    assert len(set(found.values())) == 20
