"""Frames that another program translated: matched, and applied to a whole dataset."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sim2real.datasets.translated import match
from sim2real.errors import DatasetError
from sim2real.imageio import encode_png, read_rgb
from sim2real.metrics.edges import edge_changes
from sim2real_toytown import render_dataset
from tests.commands import Cli, manifest, refused, succeed

Image = NDArray[np.uint8]


def teach(image: Image) -> Image:
    """What the other program does: warmer, darker, half as large, and everything moved by three pixels."""
    warm = np.clip(image.astype(float) * [0.9, 0.7, 0.5] + 10, 0, 255).astype(np.uint8)
    small = cv2.resize(warm, (image.shape[1] // 2, image.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return np.roll(small, 3, axis=1)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A town, ``sim``, and what another program made of it, ``made``."""
    folder = tmp_path_factory.mktemp("work")
    render_dataset(folder / "sim", frames=3, sequences=2, size=(160, 64), cameras=(0,), seed=2)
    for path in (folder / "sim").rglob("rgb_*.jpg"):
        scene = path.relative_to(folder / "sim").parts[0]
        (folder / "made" / scene).mkdir(parents=True, exist_ok=True)
        (folder / "made" / scene / f"{path.stem}.png").write_bytes(encode_png(teach(read_rgb(path))))
    return folder


def test_a_dataset_takes_over_light_and_colours_of_another_programs_frames(work: Path, cli: Cli) -> None:
    said = succeed(cli("import-frames", "sim", "made", cwd=work))
    assert "6 of 6 frames have a translation, matched by path" in said
    succeed(cli("convert", "sim", "out", "--model", "runs/made", cwd=work))
    succeed(cli("verify", "out", cwd=work))
    for path in sorted((work / "sim").rglob("rgb_*.jpg")):
        before, after = read_rgb(path), read_rgb(work / "out" / path.relative_to(work / "sim"))
        assert after.shape == before.shape
        aim = np.clip(before.astype(float) * [0.9, 0.7, 0.5] + 10, 0, 255)
        assert np.abs(after.mean((0, 1)) - aim.mean((0, 1))).max() < 4
        assert edge_changes(before, after)[0] < 0.01  # nothing has moved
    record = json.loads((work / "out/.sim2real/conversion.json").read_text())
    assert record["transfer"] == "guided"
    lines = [line for line in manifest(work / "out").values() if line.get("inputs_sha256")]
    assert len(lines) == 6
    succeed(cli("preview", "runs/made", "sim", "-n", "2", cwd=work))
    succeed(cli("report", "out", cwd=work))
    page = next((work / "out").rglob("report.html")).read_text()
    assert str(work) not in page
    shutil.rmtree(work / "out")
    shutil.rmtree(work / "runs")


def test_direct_shows_the_frames_and_a_changed_one_is_noticed(work: Path, cli: Cli, tmp_path: Path) -> None:
    shutil.copytree(work / "made", tmp_path / "made")
    succeed(cli("import-frames", work / "sim", tmp_path / "made", "--run", tmp_path / "run"))
    command = ("convert", work / "sim", tmp_path / "out", "--model", tmp_path / "run", "--transfer", "direct")
    succeed(cli(*command))
    [changed, *_] = sorted((tmp_path / "made").rglob("*.png"))
    made = read_rgb(changed)
    frame = next(
        path for path in sorted((tmp_path / "out").rglob("rgb_00000.jpg")) if changed.parent.name in path.parts
    )
    shown = cv2.resize(made, (160, 64), interpolation=cv2.INTER_CUBIC)
    assert np.abs(read_rgb(frame).astype(float) - shown).mean() < 4
    changed.write_bytes(encode_png(255 - made))
    done = cli("verify", tmp_path / "out")
    assert done.returncode == 1
    assert "its 'translation'" in done.stdout + done.stderr
    succeed(cli(*command))
    succeed(cli("verify", tmp_path / "out"))
    assert np.abs(read_rgb(frame).astype(float) - shown).mean() > 30


def test_frames_without_a_translation_are_named(work: Path, cli: Cli, tmp_path: Path) -> None:
    shutil.copytree(work / "made", tmp_path / "made")
    for path in (tmp_path / "made" / "Scene02").iterdir():
        path.rename(path.with_name(f"x{path.name}"))
    done = cli("import-frames", work / "sim", tmp_path / "made", "--run", tmp_path / "run")
    assert "3 of 6 frames have a translation, matched by path" in succeed(done)
    assert "3 frames without a translation: Scene02/clone/frames/rgb/Camera_0/rgb_00000.jpg" in done.stderr
    assert "3 images that no frame has: Scene02/xrgb_00000.png" in done.stderr
    command = ("convert", work / "sim", tmp_path / "out", "--model", tmp_path / "run")
    assert "needs 'translation', and 3 of 6 frames have none" in " ".join(refused(cli(*command)).split())
    succeed(cli(*command, "--exclude", "Scene02/*"))


def test_labels_beside_the_translations_are_no_images_without_a_frame(work: Path, cli: Cli, tmp_path: Path) -> None:
    made, named = tmp_path / "made", tmp_path / "named"
    shutil.copytree(work / "sim", made)  # a dataset with masks and depth
    (named / "images").mkdir(parents=True)
    (named / "depth").mkdir()
    for number, path in enumerate(sorted(made.rglob("rgb_*.jpg"))):
        picture = encode_png(teach(read_rgb(path)))
        (named / "images" / f"{number}.png").write_bytes(picture)
        (named / "depth" / f"{number}.png").write_bytes(picture)
    for folder, found in ((made, "matched by path"), (named, "matched by order")):
        done = cli("import-frames", work / "sim", folder, "--run", tmp_path / f"run-{folder.name}")
        assert f"6 of 6 frames have a translation, {found}" in succeed(done)
        assert "warning" not in done.stderr


def test_grey_translations_beside_coloured_images_are_found(work: Path, cli: Cli, tmp_path: Path) -> None:
    for number, path in enumerate(sorted((work / "sim").rglob("rgb_*.jpg"))):
        image = read_rgb(path)
        grey = np.repeat(image.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
        for kind, shown in (("sim", image), ("results", image), ("results", grey)):
            (tmp_path / kind).mkdir(exist_ok=True)
            ending = "" if kind == "sim" else "_fake_B" if shown is grey else "_real_A"
            (tmp_path / kind / f"{number}{ending}.png").write_bytes(encode_png(shown))
    done = cli("import-frames", "sim", "results", cwd=tmp_path)
    assert "6 of 6 frames have a translation, matched by path" in succeed(done)


def test_translations_that_are_gone_are_named_before_anything_is_written(work: Path, cli: Cli, tmp_path: Path) -> None:
    shutil.copytree(work / "made", tmp_path / "made")
    succeed(cli("import-frames", work / "sim", tmp_path / "made", "--run", tmp_path / "run"))
    (tmp_path / "made").rename(tmp_path / "moved")
    done = cli("convert", work / "sim", tmp_path / "out", "--model", tmp_path / "run")
    assert done.returncode == 1
    assert "this translation is gone, and 5 more" in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_matched_is_refused_and_leaves_nothing(work: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    for number in range(5):
        (tmp_path / "made" / f"{number}.png").write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8)))
    run = ("--run", tmp_path / "run")
    assert "none of its 5 images has the name" in refused(cli("import-frames", work / "sim", tmp_path / "made", *run))
    told = refused(cli("import-frames", work / "sim", tmp_path / "made", *run, "--match", "order"))
    assert "6 frames and 5 translations cannot be matched by their order" in told
    assert "no such folder" in refused(cli("import-frames", work / "sim", tmp_path / "mad", *run))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("images", "files", "found"),
    [
        (["a/1.jpg", "a/2.jpg"], ["1.png", "2.png"], {"a/1.jpg": "1.png", "a/2.jpg": "2.png"}),
        (["a/1.jpg", "b/1.jpg"], ["a/1.png", "b/1.png"], {"a/1.jpg": "a/1.png", "b/1.jpg": "b/1.png"}),
        (["a/1.jpg", "b/1.jpg"], ["1.png"], {}),  # whose is it?
        (["a/1.jpg"], ["x/1.png", "y/1.png"], {}),
        (
            ["a/1.jpg"],
            ["images/1_real_A.png", "images/1_fake_B.png", "images/1_rec_A.png"],
            {"a/1.jpg": "images/1_fake_B.png"},
        ),
        (
            ["s/rgb/9.jpg", "s/rgb/10.jpg"],
            ["out2.png", "out10.png"],
            {"s/rgb/9.jpg": "out2.png", "s/rgb/10.jpg": "out10.png"},
        ),
    ],
)
def test_translations_are_found_by_path_or_else_by_order(
    images: list[str], files: list[str], found: dict[str, str]
) -> None:
    assert match(images, files).found == found


@given(st.lists(st.from_regex(r"[a-c]{1,2}(/[a-c]{1,2}){0,2}/[0-9]{1,2}", fullmatch=True), unique=True, min_size=1))
def test_what_keeps_its_paths_is_found(stems: list[str]) -> None:
    images = [f"{stem}.jpg" for stem in stems]
    pairs = match(images, [f"{stem}.png" for stem in stems], "path")
    assert pairs.found == {f"{stem}.jpg": f"{stem}.png" for stem in stems}
    assert not pairs.missing
    assert not pairs.unused


def test_an_order_of_unequal_numbers_is_refused() -> None:
    with pytest.raises(DatasetError, match="2 frames and 1 translations"):
        match(["a", "b"], ["c"], "order")
