"""The camera of a model: fitted at the end of a training, applied in conversions, previews and from Python."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.commands import Cli, Write

if TYPE_CHECKING:
    from sim2real.datasets.base import Frame

Image = NDArray[np.uint8]
QUICK = ["data.size=[32, 32]", "data.workers=0", "device=cpu"]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered frames in ``sim``; in ``real`` the same as JPEG, blurred and with noise. Tests must not write to it."""
    from benchmarks.validation import render_town
    from sim2real.imageio import encode_jpeg, encode_png

    root = tmp_path_factory.mktemp("town")
    for side in ("sim", "real"):
        (root / side).mkdir()
    for number, image in enumerate(render_town("sim", 6, (320, 128))):
        soft = cv2.GaussianBlur(image, (0, 0), 0.55)
        noise = 4 * np.random.default_rng(number).normal(size=image.shape[:2])
        noisy = np.clip(np.rint(soft + noise[..., None]), 0, 255).astype(np.uint8)
        (root / f"sim/{number}.png").write_bytes(encode_png(image))
        (root / f"real/{number}.jpg").write_bytes(encode_jpeg(noisy, quality=90))
    return root


def fit(town: Path, run: Path, recipe: str = "camera", *sets: str) -> list[str]:
    """Train and return the texts of all notes."""
    import torch

    from sim2real.config import resolve
    from sim2real.training import Note, Trainer

    torch.set_num_threads(1)
    config = resolve(recipe, sets=[*QUICK, *sets], sim=str(town / "sim"), real=str(town / "real"))
    return [event.text for event in Trainer.begin(config, run).train() if isinstance(event, Note)]


@pytest.fixture(scope="module")
def run(town: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "camera"
    fit(town, folder)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.*")) if path.is_file()}


def test_the_recipe_fits_and_reports_a_camera_for_each_direction(town: Path, run: Path, tmp_path: Path) -> None:
    from sim2real.model import read_info

    there, back = (read_info(run / f"{way}.safetensors").camera for way in ("sim2real", "real2sim"))
    assert there is not None
    assert back is not None
    assert there.luma.sigma == pytest.approx(0.55, rel=0.15)
    assert there.luma.noise(100) == pytest.approx(4, rel=0.15)
    assert not back.luma.blur  # does not sharpen,
    assert not back.luma.noisy  # and does not remove noise
    assert fit(town, tmp_path / "again")[-2:] == [f"camera of sim2real: {there}", f"camera of real2sim: {back}"]
    assert files(tmp_path / "again")["sim2real.safetensors"] == files(run)["sim2real.safetensors"]


def test_a_training_says_that_videos_show_no_noise(town: Path, tmp_path: Path) -> None:
    (tmp_path / "sim").symlink_to(town / "sim")
    (tmp_path / "real").mkdir()
    video = cv2.VideoWriter(str(tmp_path / "real/a.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 1, (320, 128))
    for path in sorted((town / "sim").iterdir()):
        video.write(cast("Any", cv2.imread(str(path))))
    video.release()
    there, back = fit(tmp_path, tmp_path / "run")[-2:]
    assert "; 6 of the 6 images it is fitted to are frames of videos, whose compression removes noise: " in there
    assert "videos" not in back


def test_a_run_is_finished_once_its_generators_have_cameras(town: Path, run: Path) -> None:
    from sim2real.config import resolve
    from sim2real.model import with_camera
    from sim2real.training import Trainer

    config = resolve("camera", sets=QUICK, sim=str(town / "sim"), real=str(town / "real"))
    assert Trainer.resume(config, run).finished
    file = run / "real2sim.safetensors"
    kept = file.read_bytes()
    try:
        file.write_bytes(kept[:-8])
        assert not Trainer.resume(config, run).finished
    finally:
        file.write_bytes(kept)
    assert with_camera(file, None) != kept


def test_any_recipe_can_fit_a_camera_but_only_camera_does_by_default(town: Path, tmp_path: Path) -> None:
    from sim2real.config import resolve
    from sim2real.model import read_info
    from sim2real.registry import registry

    fit(town, tmp_path / "with", "reinhard", "train.steps=3", "camera.match=true")
    fit(town, tmp_path / "without", "reinhard", "train.steps=3")
    with_it, without = (read_info(tmp_path / name / "sim2real.safetensors") for name in ("with", "without"))
    assert without.camera is None
    assert with_it.camera is not None
    assert with_it.camera.luma.sigma == pytest.approx(0.55, rel=0.15)
    recipes = [entry.name for entry in registry().entries("recipes")]
    assert [name for name in recipes if resolve(name).camera.match] == ["camera"]


def test_a_frame_is_translated_alike_in_every_batch_and_order(town: Path, run: Path, tmp_path: Path) -> None:
    from sim2real.conversion import ConvertOptions, convert, verify
    from sim2real.imageio import read_rgb

    options = ConvertOptions(model=run, device="cpu")
    outs = [tmp_path / name for name in ("one", "three", "part", "off")]
    convert(town / "sim", outs[0], options)
    convert(town / "sim", outs[1], replace(options, batch_size=3, workers=2))
    convert(town / "sim", outs[2], replace(options, include=("3.png",)))
    convert(town / "sim", outs[3], replace(options, camera="off"))
    assert files(outs[0]) == files(outs[1])
    assert files(outs[2]) == {"3.png": files(outs[0])["3.png"]}
    assert verify(outs[0]).ok
    before, after, off = (read_rgb(folder / "3.png") for folder in (town / "sim", outs[0], outs[3]))
    assert not np.array_equal(before, after)
    assert np.array_equal(before, off)


def test_a_conversion_records_its_camera_and_keeps_it(cli: Cli, town: Path, run: Path, tmp_path: Path) -> None:
    from sim2real.conversion import ConvertOptions, convert
    from sim2real.errors import Sim2RealError

    planned = cli("convert", town / "sim", "out", "--model", run, "--plan", cwd=tmp_path)
    assert "camera: match: blur 0.5" in planned.stdout
    options = ConvertOptions(model=run, device="cpu", limit=1)
    convert(town / "sim", tmp_path / "out", options)
    record = json.loads((tmp_path / "out/.sim2real/conversion.json").read_text())
    assert record["camera"] == "match"
    assert record["generator"]["camera"]["luma"]["blur"] > 0
    convert(town / "sim", tmp_path / "out", replace(options, camera="match"))
    with pytest.raises(Sim2RealError, match="camera was match, is off"):
        convert(town / "sim", tmp_path / "out", replace(options, camera="off"))


def test_a_model_without_a_camera_refuses_match(town: Path, tmp_path: Path, write_run: Write) -> None:
    from sim2real.conversion import ConvertOptions, convert
    from sim2real.errors import SettingsError
    from sim2real.translator import load

    plain = write_run(tmp_path / "plain")
    options = ConvertOptions(model=plain, device="cpu", limit=1)
    with pytest.raises(SettingsError, match=r"camera\.match=true"):
        convert(town / "sim", tmp_path / "out", replace(options, camera="match"))
    with pytest.raises(SettingsError, match=r"camera\.match=true"):
        load(plain, camera="match")
    convert(town / "sim", tmp_path / "out", options)
    assert json.loads((tmp_path / "out/.sim2real/conversion.json").read_text())["camera"] == "off"


def test_previews_and_python_give_the_frames_of_a_conversion(town: Path, run: Path, tmp_path: Path) -> None:
    from sim2real.conversion import ConvertOptions, convert
    from sim2real.conversion.glimpse import Loose, glimpses
    from sim2real.conversion.inference import seeds_of
    from sim2real.datasets import open_dataset
    from sim2real.imageio import read_rgb
    from sim2real.translator import load

    convert(town / "sim", tmp_path / "out", ConvertOptions(model=run, device="cpu"))
    translate = load(run, device="cpu")
    image, wanted = read_rgb(town / "sim/2.png"), read_rgb(tmp_path / "out/2.png")
    frames = list(open_dataset(town / "sim").frames())
    assert np.array_equal(glimpses(translate, frames, 6)[2].after(), wanted)
    assert np.array_equal(Loose(translate, town / "sim/2.png").after(), wanted)
    assert np.array_equal(translate(image, seeds=seeds_of(["2.png"])), wanted)
    assert np.array_equal(translate(image, seeds=seeds_of(["2.png"], ["a sequence"])), wanted)
    assert np.array_equal(translate(np.stack([image, image]), seeds=seeds_of(["1.png", "2.png"]))[1], wanted)
    assert np.array_equal(translate(image), translate(image))
    assert np.array_equal(load(run, device="cpu", camera="off")(image), image)


def test_a_frame_is_encoded_once_like_the_real_ones(town: Path, run: Path, tmp_path: Path) -> None:
    from sim2real.conversion import ConvertOptions, convert
    from sim2real.conversion.jobs import seed_of
    from sim2real.imageio import encode_jpeg, read_encoding, read_rgb
    from sim2real.model import read_info

    source = tmp_path / "in"
    source.mkdir()
    (source / "0.png").write_bytes((town / "sim/0.png").read_bytes())
    (source / "1.jpg").write_bytes(encode_jpeg(read_rgb(town / "sim/1.png"), quality=100))
    convert(source, tmp_path / "out", ConvertOptions(model=run, device="cpu", encoding="real"))
    info = read_info(run / "sim2real.safetensors")
    assert info.camera is not None
    assert info.camera_encoding == read_encoding(town / "real/0.jpg") == read_encoding(tmp_path / "out/1.jpg")
    for name in ("0.png", "1.jpg"):  # each is encoded once like a real one
        taken = info.camera.apply(read_rgb(source / name), seed_of(name), info.camera_encoding)
        assert np.array_equal(read_rgb(tmp_path / "out" / name), taken)


def test_noise_is_added_at_the_written_size(town: Path, run: Path, tmp_path: Path) -> None:
    from sim2real.conversion import ConvertOptions, convert
    from sim2real.conversion.jobs import seed_of
    from sim2real.imageio import read_rgb, resize
    from sim2real.model import read_info

    convert(town / "sim", tmp_path / "out", ConvertOptions(model=run, device="cpu", resize=(160, 64)))
    info = read_info(run / "sim2real.safetensors")
    assert info.camera is not None
    small = resize(read_rgb(town / "sim/0.png"), (160, 64))
    taken = info.camera.apply(small, seed_of("0.png"), info.camera_encoding)
    assert np.array_equal(read_rgb(tmp_path / "out/0.png"), taken)


def test_the_gate_measures_the_written_frames(town: Path, run: Path, tmp_path: Path) -> None:
    from sim2real.conversion import ConvertOptions, convert

    options = ConvertOptions(model=run, device="cpu", gate=("preservation>=0.9",))
    assert convert(town / "sim", tmp_path / "out", options).rejected == {}


def test_no_camera_is_fitted_to_unsuitable_images(photos: Path, tmp_path: Path) -> None:
    from sim2real.model import read_info

    notes = fit(photos, tmp_path / "run")
    assert notes[-2].startswith("no camera is fitted for sim2real: 36 blocks of 16x16 px of the real images")
    assert read_info(tmp_path / "run/sim2real.safetensors").camera is None


def test_inputs_and_clips_of_large_frames_are_scaled_for_the_fit() -> None:
    from sim2real.capabilities import Capabilities
    from sim2real.training.camera import _translated

    shapes = []

    class Seeing:
        can = Capabilities(inputs=("depth",), clip_length=2)

        def inputs_of(self, _frame: object) -> dict[str, NDArray[np.float32]]:
            return {"depth": np.zeros((1, 2000, 3000), np.float32)}

        def plain(self, images: Image, *, inputs: dict[str, NDArray[np.float32]]) -> Image:
            shapes.extend([images.shape, inputs["depth"].shape])
            return images

    shown = _translated(cast("Any", Seeing()), cast("Frame", None), np.zeros((2000, 3000, 3), np.uint8))
    assert shapes == [(2, 1000, 1500, 3), (2, 1, 1000, 1500)]
    assert shown.shape == (1000, 1500, 3)
