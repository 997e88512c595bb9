import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sim2real.datasets import open_dataset
from sim2real.errors import DatasetError
from sim2real.evaluation.layout import Layout, LayoutReport, compare_layout, layout_warnings, survey
from sim2real.imageio import encode_png, read_rgb
from sim2real_toytown import render_dataset

Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two streets of 6 frames with labels, sim look."""
    out = tmp_path_factory.mktemp("layout") / "sim"
    render_dataset(out, frames=6, size=(480, 160), seed=3, sequences=2, cameras=(0,))
    return out


@pytest.fixture(scope="module")
def other_town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two other streets, as a camera sees them."""
    out = tmp_path_factory.mktemp("layout") / "real"
    render_dataset(out, look="real", frames=6, size=(480, 160), seed=9, sequences=2, cameras=(0,))
    return out


def copied(source: Path, out: Path, change: Callable[[Image], Image]) -> Path:
    """The images of a dataset alone, changed."""
    out.mkdir()
    for number, frame in enumerate(open_dataset(source).frames()):
        (out / f"{number:03}.png").write_bytes(encode_png(np.ascontiguousarray(change(frame.load_image()))))
    return out


def compared(sim: Path, real: Path) -> LayoutReport:
    return compare_layout(open_dataset(sim), open_dataset(real), count=16)


def test_streets_of_one_town_fit_each_other_whatever_their_look(town: Path, other_town: Path) -> None:
    report = compared(town, other_town)
    assert report.warnings == ()
    for side in (report.sim, report.real):
        assert side.horizon == pytest.approx(0.5, abs=0.03)
        assert side.size == (480, 160)
        assert (side.images, side.unreadable) == (12, 0)
        assert sum(side.edges) == pytest.approx(1, abs=1e-3)
    cover = {name: np.array(rows) for name, rows in report.sim.classes.items()}
    assert sum(rows.mean() for rows in cover.values()) == pytest.approx(1, abs=0.01)
    assert cover["Sky"][0] > 0.2 > cover["Sky"][-1] == 0
    assert cover["Road"][-1] > 0.5 > cover["Road"][0] == 0


def test_a_change_of_colour_is_told_but_no_warning(town: Path, tmp_path: Path) -> None:
    warm = copied(town, tmp_path / "warm", lambda image: np.clip(image * [1.1, 1.0, 0.7], 0, 255).astype(np.uint8))
    report = compared(town, warm)
    assert report.warnings == ()
    assert report.real.colour[1] > report.sim.colour[1] + 5


def resized(image: Image) -> Image:
    return np.asarray(cv2.resize(image, None, fx=2, fy=2), np.uint8)


def taken_off(above: float, below: float, image: Image) -> Image:
    height = len(image)
    return image[round(above * height) : height - round(below * height)]


def stretched(image: Image) -> Image:
    """Without the upper third, at the same size."""
    return np.asarray(cv2.resize(image[len(image) // 3 :], image.shape[1::-1]), np.uint8)


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        (resized, "sim images are 160 px high, real ones 320"),
        (
            partial(taken_off, 0.0, 0.3),
            "sim images are 3.00 times as wide as high, real ones 4.29: .* off the sim images",
        ),
        (
            partial(taken_off, 0.3, 0.0),
            "sim images are 3.00 times as wide as high, real ones 4.29: .* off the sim images",
        ),
        (stretched, "the horizon is at|edges lie"),
        (np.flipud, "one side looks upside down"),
        (lambda image: image // 6, r"\(0% are as dark as at night\), real ones 0.0\d \(100%\)"),
        (lambda image: np.repeat(image[..., 1:2], 3, axis=2), "the real images are grey"),
    ],
)
def test_what_would_have_to_be_invented_is_a_warning(
    town: Path, tmp_path: Path, change: Callable[[Image], Image], warning: str
) -> None:
    warnings = compared(town, copied(town, tmp_path / "real", change)).warnings
    assert any(re.search(warning, text) for text in warnings), warnings


def numbers(**differences: Any) -> Layout:
    rows = (1 / 24,) * 24
    layout = Layout(
        images=64,
        unreadable=0,
        size=(640, 380),
        height=380,
        aspect=1.68,
        horizon=0.5,
        brightness=0.4,
        dark=0,
        contrast=0.2,
        colour=(0, 0),
        chroma=10,
        softness=1.8,
        edges=rows,
        scatter=0.01,
        light=rows,
    )
    return replace(layout, **differences)


@pytest.mark.parametrize(
    ("sim", "real", "advice"),
    [
        (numbers(), numbers(aspect=3.36, horizon=0.46), "cut the upper 27% and the lower 23% off the sim images"),
        (numbers(aspect=3.36), numbers(horizon=None), "cut 50% of the rows off the real images"),
        (numbers(horizon=0.4), numbers(), "cut the upper 17% off the real images"),
        (numbers(), numbers(horizon=0.4), "cut the lower 20% off the real images"),
        (numbers(objects={"Car": (0.1, 200)}), numbers(objects={"car": (0.2, 150)}), "scale or crop one side"),
    ],
)
def test_the_advice_makes_both_sides_show_the_same(sim: Layout, real: Layout, advice: str) -> None:
    (warning,) = layout_warnings(sim, real)
    assert advice in warning


def test_the_limit_of_edges_is_printed_as_it_is() -> None:
    (warning,) = layout_warnings(numbers(), numbers(edges=(0,) * 4 + (1 / 20,) * 20))
    assert "edges lie 8.3% of the height apart (up to 6.5% is usual)" in warning


def test_classes_that_cover_more_of_one_side_are_named(town: Path, tmp_path: Path) -> None:
    """The other set has the same masks but for sky, which covers buildings and trees too."""
    other = shutil.copytree(town, tmp_path / "other")
    colours = {(140, 140, 140): (90, 200, 255), (0, 199, 0): (90, 200, 255)}
    for path in other.rglob("classgt_*.png"):
        mask = read_rgb(path)
        for old, new in colours.items():
            mask[(mask == old).all(axis=-1)] = new
        path.write_bytes(encode_png(mask))
    warnings = compared(town, other).warnings
    assert any(text.startswith("Sky covers ") and "choose real images with less of it" in text for text in warnings)


def test_the_sides_of_one_folder_are_kept_apart(tmp_path: Path, paint: Callable[..., Path]) -> None:
    paint(tmp_path / "trainA", 5, size=(40, 32))
    paint(tmp_path / "trainB", 3, size=(80, 64))
    folder = open_dataset(tmp_path)
    report = compare_layout(folder, folder)
    assert (report.sim.images, report.real.images) == (5, 3)
    assert (report.sim.size, report.real.size) == ((40, 32), (80, 64))
    assert report.sim.horizon is None


def test_an_image_that_cannot_be_read_is_counted(tmp_path: Path, paint: Callable[..., Path]) -> None:
    folder = paint(tmp_path / "photos", 5)
    (folder / "0002.png").write_bytes((folder / "0002.png").read_bytes()[:200])
    found = survey(open_dataset(folder), "real", 64, 0)
    assert (found.images, found.unreadable) == (4, 1)
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DatasetError, match="no real image can be read"):
        survey(open_dataset(folder), "real", 64, 0)


@pytest.mark.parametrize("width", [1, 2])
def test_a_picture_of_hardly_any_width_has_a_softness(tmp_path: Path, width: int) -> None:
    (tmp_path / "sliver.png").write_bytes(encode_png(np.full((40, width, 3), 90, np.uint8)))
    assert survey(open_dataset(tmp_path, "images"), "real", 4, 0).softness == 1.0


def test_the_sample_depends_on_the_seed_alone(tmp_path: Path, paint: Callable[..., Path]) -> None:
    photos = open_dataset(paint(tmp_path / "photos", 40))
    first = survey(photos, "sim", 4, 0)
    assert first == survey(photos, "sim", 4, 0)
    assert first != survey(photos, "sim", 4, 1)


DATA = os.environ.get("SIM2REAL_TEST_DATA", "")


@pytest.mark.skipif(not DATA, reason="SIM2REAL_TEST_DATA is not set")
def test_real_sets() -> None:
    carla, camvid, kitti = (Path(DATA) / part for part in ("carla/train/images", "camvid/train/images", "kitti/frames"))
    assert compared(carla, camvid).warnings == ()
    (warning,) = compared(carla, kitti).warnings
    assert "sim images are 1.68 times as wide as high, real ones 3.31" in warning
