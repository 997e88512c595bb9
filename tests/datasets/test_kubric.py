"""Kubric: only colour is translated; 0 is no object."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sim2real.conversion.resized_files import Resizer, UnknownError
from sim2real.datasets import Role, open_dataset
from sim2real.datasets.labels import Instances

Grow = Callable[..., Path]


def test_layers_are_labels_whatever_they_are_stored_in(grow: Grow, plant: Callable[..., None]) -> None:
    root = grow("kubric")
    plant(root, {"movi/0/palette_00000.bmp": b"BM"})
    dataset = open_dataset(root)
    assert dataset.roles() == {"IMAGE": 2, "LABEL": 17, "AUX": 0, "PSEUDO": 0, "STALE": 0}


def test_zero_is_no_object(grow: Grow) -> None:
    label = next(open_dataset(grow("kubric")).frames()).load_label("instance")
    assert isinstance(label, Instances)
    assert np.array_equal(np.unique(label.ids[:12]), [-1])
    assert np.array_equal(np.unique(label.ids[12:]), [2])


@pytest.mark.parametrize("name", ["depth_00000.tiff", "forward_flow_00000.png", "metadata.json"])
def test_what_nobody_knows_to_resize_is_refused(grow: Grow, name: str) -> None:
    resizer = Resizer(open_dataset(grow("kubric")), (16, 12))
    with pytest.raises(UnknownError):
        resizer(f"movi/0/{name}", Role.LABEL)
