"""NOCS: only colour is translated; depth in two codings, objects and their classes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from sim2real.datasets import open_dataset
from sim2real.datasets.labels import Depth, Instances, Segmentation

Grow = Callable[..., Path]


def test_coordinates_masks_and_depth_are_labels(grow: Grow) -> None:
    dataset = open_dataset(grow("nocs"))
    assert dataset.roles() == {"IMAGE": 4, "LABEL": 17, "AUX": 0, "PSEUDO": 0, "STALE": 0}
    assert all(frame.image.endswith("_color.png") for frame in dataset.frames())


def test_both_codings_of_depth_and_of_masks_are_read(grow: Grow) -> None:
    for frame in open_dataset(grow("nocs")).frames():
        depth, instances, classes = (frame.load_label(kind) for kind in ("depth", "instance", "segmentation"))
        assert isinstance(depth, Depth)
        assert np.isnan(depth.metres[:12]).all()
        np.testing.assert_allclose(depth.metres[12:], 1.537)
        assert isinstance(instances, Instances)
        assert [set(instances.ids[rows].flat) for rows in (slice(12), slice(12, 20), slice(20, None))] == [
            {-1},
            {1},
            {2},
        ]
        assert isinstance(classes, Segmentation)
        assert [classes.names.get(number) for number in classes.ids[[0, 12, 20], 0].tolist()] == [
            None,
            "camera",
            "background",
        ]
