"""Recordings for behaviour cloning: photos are frames, and what tells of steering is a label that stays true."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sim2real.datasets import open_dataset

Grow = Callable[..., Path]


@pytest.mark.parametrize(
    ("name", "images", "labels", "aux"), [("udacity", 6, 1, 0), ("donkeycar", 2, 1, 2), ("donkeycar-v1", 2, 2, 1)]
)
def test_photos_are_frames_and_steering_is_a_label(grow: Grow, name: str, images: int, labels: int, aux: int) -> None:
    roles = open_dataset(grow(name)).roles()
    assert roles == {"IMAGE": images, "LABEL": labels, "AUX": aux, "PSEUDO": 0, "STALE": 0}


def test_each_camera_is_a_sequence(grow: Grow) -> None:
    frames = list(open_dataset(grow("udacity")).frames())
    assert [frame.sequence for frame in frames] == [f"IMG/{side}" for side in ("center", "left", "right") for _ in "ab"]


@pytest.mark.parametrize(
    ("place", "told"),
    [("/Users/someone/track", True), ("C:\\Users\\someone", True), ("IMG", False), ("./track", False)],
)
def test_a_table_that_leads_back_to_the_old_photos_is_told(grow: Grow, place: str, told: bool) -> None:
    lines = open_dataset(grow("udacity", place=place)).warnings()
    assert any("driving_log.csv names" in line for line in lines) == told
