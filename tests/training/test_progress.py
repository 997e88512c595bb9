"""The animation of the sample grids, read back as a browser would."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from sim2real.imageio import encode_png
from sim2real.training.progress import write_progress


def draw(samples: Path, step: int, level: int, size: tuple[int, int] = (96, 64)) -> None:
    samples.mkdir(exist_ok=True)
    (samples / f"step_{step:08d}.png").write_bytes(encode_png(np.full((*size[::-1], 3), level, np.uint8)))


def levels(animation: Path) -> list[int]:
    """The grey level in the middle of the grid, frame by frame."""
    with Image.open(animation) as image:
        frames = [np.array(frame.convert("L")) for frame in ImageSequence.Iterator(image)]
    return [int(frame[-frame.shape[0] // 3, frame.shape[1] // 2]) for frame in frames]


def test_grids_follow_one_another_by_step_and_say_which(tmp_path: Path) -> None:
    for step, level in ((20, 200), (3, 40), (100, 120)):
        draw(tmp_path, step, level)
    found = write_progress(tmp_path)
    assert found == tmp_path / "progress.webp"
    assert levels(found) == pytest.approx([40, 200, 120], abs=3)
    with Image.open(found) as image:
        assert image.info["loop"] == 0
        headers = [np.array(frame.convert("L"))[: frame.height - 64] for frame in ImageSequence.Iterator(image)]
    assert len({header.tobytes() for header in headers}) == 3
    assert all(np.ptp(header) > 150 for header in headers)


def test_hundreds_of_large_noisy_grids_become_a_small_file_with_the_first_and_the_last(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (300, 400, 3), dtype=np.uint8)
    for step in range(1, 301):
        pixels = np.full_like(noise, 20) if step == 1 else np.full_like(noise, 230) if step == 300 else noise
        (tmp_path / f"step_{step:08d}.png").write_bytes(encode_png(np.roll(pixels, step, 1)))
    found = write_progress(tmp_path)
    assert found is not None
    assert found.stat().st_size <= 4_000_000
    shown = levels(found)
    assert 10 < len(shown) <= 60
    assert (shown[0], shown[-1]) == pytest.approx((20, 230), abs=3)


def test_torn_grids_and_other_files_are_left_out_and_other_sizes_are_fitted(tmp_path: Path) -> None:
    draw(tmp_path, 1, 50)
    draw(tmp_path, 2, 90)
    torn = tmp_path / "step_00000002.png"
    torn.write_bytes(torn.read_bytes()[:40])
    (tmp_path / "step_notes.png").write_bytes(b"mine")
    draw(tmp_path, 3, 150, size=(48, 64))
    found = write_progress(tmp_path)
    assert found is not None
    assert levels(found) == pytest.approx([50, 150], abs=3)


@pytest.mark.parametrize("count", [0, 1])
def test_where_nothing_moves_there_is_no_animation(tmp_path: Path, count: int) -> None:
    for step in range(count):
        draw(tmp_path, step, 50)
    assert write_progress(tmp_path) is None
    assert not (tmp_path / "progress.webp").exists()


def test_a_run_without_samples_has_no_animation(tmp_path: Path) -> None:
    assert write_progress(tmp_path / "samples") is None
