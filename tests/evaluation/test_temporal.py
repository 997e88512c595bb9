from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.validation import levels
from sim2real.datasets import open_dataset
from sim2real.evaluation.figures import Figure
from sim2real.evaluation.frames import FramePair
from sim2real.evaluation.temporal import temporal_figures
from sim2real.imageio import encode_png
from sim2real_toytown import render_dataset

Image = NDArray[np.uint8]
Translation = Callable[[Image, int], Image]


def same(image: Image, index: int) -> Image:
    return image


def tinted(image: Image, index: int) -> Image:
    return levels(image * [0.9, 0.8, 0.6])


def wavering(image: Image, index: int) -> Image:
    return levels(image * np.random.default_rng(index).uniform(0.8, 1.1, 3))


def noisy(image: Image, index: int) -> Image:
    return levels(image + np.random.default_rng(index).normal(0, 10, image.shape))


def sticking(image: Image, index: int) -> Image:
    """A texture that stays where it is while the world moves on."""
    return noisy(image, 0)


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def translated(source: Path, out: Path, translation: Translation) -> list[FramePair]:
    pairs = []
    for frame in open_dataset(source).frames():
        write(out / frame.image, encode_png(translation(frame.load_image(), frame.index)))
        pairs.append(FramePair(frame, out / frame.image))
    return pairs


def by_name(pairs: list[FramePair]) -> dict[str, Figure]:
    figures, _ = temporal_figures(pairs)
    return {figure.name: figure for figure in figures}


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("temporal") / "town"
    render_dataset(out, frames=6, size=(240, 96), seed=6, cameras=(0,))
    return out


@pytest.mark.parametrize(
    ("translation", "ratio", "flicker"),
    [
        (same, (1.0, 1.0), (1.0, 1.0)),
        (tinted, (0.95, 1.05), (0.95, 1.05)),
        (wavering, (1.3, 9), (1.3, 9)),
        (noisy, (1.3, 9), (0.95, 1.05)),
        (sticking, (1.2, 9), (0.95, 1.05)),
    ],
)
def test_what_wavers_is_told_from_what_only_looks_different(
    town: Path, tmp_path: Path, translation: Translation, ratio: tuple[float, float], flicker: tuple[float, float]
) -> None:
    found = by_name(translated(town, tmp_path, translation))
    error, steadiness, times = (found[name] for name in ("warp_error", "flicker", "warp_ratio"))
    assert error.after
    assert error.before
    assert steadiness.after
    assert steadiness.before
    assert times.after
    assert times.before is None
    assert ratio[0] <= round(times.after, 9) <= ratio[1]
    assert ratio[0] <= round(error.after / error.before, 9) <= ratio[1]
    assert flicker[0] <= round(steadiness.after / steadiness.before, 9) <= flicker[1]
    assert (error.count, steadiness.count) == (5, 4)
    assert not error.is_meaningful  # of five frames
    assert error.interval
    assert error.interval[0] <= error.after <= error.interval[1]


def test_the_values_of_frames_make_up_the_figures(town: Path, tmp_path: Path) -> None:
    pairs = translated(town, tmp_path, wavering)
    figures, frames = temporal_figures(pairs)
    assert set(frames) == {pair.path for pair in pairs[:-1]}
    for figure in figures:
        values = [values[figure.name] for values in frames.values() if figure.name in values]
        assert np.mean(values) == pytest.approx(figure.after)
        assert len(values) == figure.count


def test_only_frames_that_follow_each_other_are_compared(town: Path, tmp_path: Path) -> None:
    pairs = translated(town, tmp_path, same)
    _, frames = temporal_figures([pairs[5], pairs[0], pairs[1], pairs[4]])
    assert set(frames) == {pairs[0].path, pairs[4].path}
    assert temporal_figures(pairs[::2]) == ((), {})


def shifted(number: int) -> tuple[Image, NDArray[np.bool_]]:
    """A square that moves by 8 px a frame before a wall, both finely textured, and where it is."""
    random = np.random.default_rng(0)
    picture, square = random.integers(0, 256, (64, 96, 3), np.uint8), random.integers(0, 256, (24, 24, 3), np.uint8)
    mask = np.zeros((64, 96), np.bool_)
    mask[20:44, 20 + 8 * number :][:, :24] = True
    picture[mask] = square.reshape(-1, 3)
    return picture, mask


def moving_square(root: Path, kinds: list[str], *, size: tuple[int, int] = (64, 96)) -> Path:
    frames = root / "Scene01" / "clone" / "frames"
    for number in range(3):
        picture, mask = shifted(number)
        write(frames / f"rgb/Camera_0/rgb_{number:05}.jpg", encode_png(picture))
        for kind, stem, way in (("forwardFlow", "flow", 1), ("backwardFlow", "backwardFlow", -1)):
            if kind in kinds:
                u = np.where(mask, 8 * way, 0)[: size[0], : size[1]]
                codes = [np.rint((each / (size[1] - 1) + 1) / 2 * 65535) for each in (u, 0 * u)]
                flow = np.stack([*codes, np.full(size, 65535.0)], axis=-1).astype(np.uint16)
                write(frames / f"{kind}/Camera_0/{stem}_{number:05}.png", encode_png(flow))
    return root


@pytest.mark.parametrize("kinds", [["forwardFlow", "backwardFlow"], ["forwardFlow"], ["backwardFlow"]])
def test_what_is_hidden_in_one_of_two_frames_does_not_count(tmp_path: Path, kinds: list[str]) -> None:
    pairs = translated(moving_square(tmp_path / "in", kinds), tmp_path / "out", same)
    error = by_name(pairs)["warp_error"]
    contrast = np.mean([shifted(number)[0].std(axis=(0, 1)).mean() for number in range(3)])
    assert error.after == pytest.approx(1 / contrast, rel=0.01)  # one grey level: the least that is told


def test_without_flow_there_is_flicker_alone(tmp_path: Path) -> None:
    found = by_name(translated(moving_square(tmp_path / "in", []), tmp_path / "out", wavering))
    assert found["warp_error"].after is None
    assert "no optical flow" in found["warp_error"].remark
    assert "no optical flow" in found["warp_ratio"].remark
    assert found["flicker"].after
    assert found["flicker"].after > 0.1


def test_numbered_photos_are_no_video(tmp_path: Path, paint: Callable[..., Path]) -> None:
    pairs = translated(paint(tmp_path / "in", 12), tmp_path / "out", same)
    figures, frames = temporal_figures(pairs)
    assert frames == {}
    assert all(figure.after is None and figure.count == 0 for figure in figures)
    assert any("no video" in figure.remark for figure in figures)


def test_flow_that_does_not_fit_its_frame_is_named(tmp_path: Path) -> None:
    pairs = translated(moving_square(tmp_path / "in", ["forwardFlow"], size=(60, 90)), tmp_path / "out", same)
    found = by_name(pairs)
    assert found["warp_error"].after is None
    assert "rgb_00000.jpg: its flow has 90x60 pixels, the image 96x64" in found["warp_error"].remark
    assert found["flicker"].after is not None


def test_a_frame_that_cannot_be_read_costs_no_more_than_its_neighbours(tmp_path: Path) -> None:
    pairs = translated(moving_square(tmp_path / "in", ["forwardFlow"]), tmp_path / "out", same)
    whole, _ = temporal_figures(pairs)
    pairs[-1].translation.write_bytes(b"no image")
    figures, frames = temporal_figures(pairs)
    assert [figure.count for figure in figures[:2]] == [figure.count - 1 for figure in whole[:2]]
    assert all("1 frames or their flow left out" in figure.remark for figure in figures)
    assert pairs[-2].path not in frames
