"""Engines that only guide: what they are shown, and what is made of what they give."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sim2real.engines.guided import GuidedEngine, shrunk_size

Image = NDArray[np.uint8]


class Engine:
    """Turns pictures blue, and keeps what it was called with."""

    takes_seeds = True
    takes_inputs = True
    streams = 3
    notes = ("a note",)

    def __call__(self, images: Image, **more: Any) -> Image:
        self.images, self.more = images, more
        blue: Image = (images * np.array([0.5, 0.5, 1.0])).astype(np.uint8)
        return blue


class Plain:
    def __call__(self, images: Image) -> Image:
        return images // 2


def pictures(*shape: int) -> Image:
    rows, columns = np.indices(shape[-2:])
    wave = 127 + 100 * np.sin(rows / 9) * np.cos(columns / 7)
    return np.broadcast_to(wave[..., None], (*shape, 3)).astype(np.uint8)


def test_the_engine_sees_shrunk_frames_and_frames_keep_their_size() -> None:
    inner = Engine()
    engine = GuidedEngine(inner, 64, "cpu")
    assert (engine.streams, engine.notes) == (3, ("a note",))
    before = pictures(2, 75, 200)
    after = engine(before, seeds=np.arange(2, dtype=np.uint64))
    assert inner.images.shape == (2, 24, 64, 3)
    assert inner.more["seeds"].tolist() == [0, 1]
    assert np.abs(after.astype(int) - (before * [0.5, 0.5, 1.0])).max() <= 3


def test_small_frames_are_not_enlarged() -> None:
    inner = Engine()
    GuidedEngine(inner, 512, "cpu")(pictures(1, 30, 40))
    assert inner.images.shape == (1, 30, 40, 3)


def test_an_engine_that_takes_images_alone_is_given_them_alone() -> None:
    before = pictures(1, 64, 96)
    after = GuidedEngine(Plain(), 48, "cpu")(before, seeds=np.zeros(1, np.uint64), inputs={})
    assert np.abs(after.astype(int) - before // 2).max() <= 2


def test_labels_and_earlier_frames_shrink_with_the_frame() -> None:
    inner = Engine()
    before = pictures(1, 64, 128)
    flow = np.ones((1, 3, 64, 128), np.float32)
    inputs = {
        "segmentation": np.arange(64 * 128).reshape(1, 64, 128),
        "flow": flow * np.array([8, 4, 1], np.float32)[:, None, None],
        "past_images": np.repeat(before[:, None], 2, 1),
        "past_outputs": np.zeros((1, 0, 64, 128, 3), np.uint8),
    }
    GuidedEngine(inner, 32, "cpu")(before, inputs=inputs)
    seen = inner.more["inputs"]
    assert {kind: values.shape for kind, values in seen.items()} == {
        "segmentation": (1, 16, 32),
        "flow": (1, 3, 16, 32),
        "past_images": (1, 2, 16, 32, 3),
        "past_outputs": (1, 0, 16, 32, 3),
    }
    assert seen["flow"][0, :, 0, 0].tolist() == [2, 1, 1]
    assert set(np.diff(seen["segmentation"][0, 0])) == {4}


def test_clips_are_guided_frame_by_frame() -> None:
    before = pictures(1, 4, 40, 60)
    after = GuidedEngine(Engine(), 32, "cpu")(before)
    assert after.shape == before.shape
    assert np.array_equal(after[0, 0], after[0, 3])


@pytest.mark.parametrize(
    ("size", "longer", "expected"),
    [((3840, 2160), 512, (512, 288)), ((375, 1242), 512, (155, 512)), ((1, 7680), 512, (1, 512)), ((8, 8), 64, (8, 8))],
)
def test_the_longer_side_is_what_counts(size: tuple[int, int], longer: int, expected: tuple[int, int]) -> None:
    assert shrunk_size(size, longer) == expected
