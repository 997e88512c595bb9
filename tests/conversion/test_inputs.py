"""Generators that see labels: what they are given, what is noted of it, and what happens where it is not there."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

import sim2real
from sim2real.cli.preview import command as preview
from sim2real.conversion import ConversionSummary, inference, verify
from sim2real.conversion.duration import forecast
from sim2real.conversion.options import ConvertOptions
from sim2real.conversion.plan import make_plan
from sim2real.conversion.resolved_settings import Machine
from sim2real.engines.base import EngineSettings
from sim2real.engines.cost import cost_of
from sim2real.engines.torch import TorchEngine
from sim2real.errors import DatasetError, OutOfMemoryError, SettingsError, Sim2RealError
from sim2real.files import sha256_of
from sim2real.imageio import read_rgb
from sim2real.model import load_generator
from tests.commands import manifest

Translate = Callable[..., ConversionSummary]
ReadTree = Callable[[Path], dict[str, bytes]]
Write = Callable[..., Path]


class Hazy(nn.Module):
    """Fog: what is 100 m away is half white."""

    inputs = ("depth",)
    stride = 8

    def __init__(self, _in_channels: int, _out_channels: int) -> None:
        super().__init__()
        self.density = nn.Parameter(torch.tensor(0.005))

    def forward(self, images: Tensor, inputs: dict[str, Tensor]) -> Tensor:
        depth = inputs["depth"]
        assert depth.shape == (images.shape[0], 1, *images.shape[2:])
        assert not images.shape[2] % 8
        shard = (depth * self.density).clamp(0, 1)
        return images * (1 - shard) + shard


class Marking(nn.Module):
    """Shows numbers of classes as greys."""

    inputs = ("segmentation",)

    def __init__(self, _in_channels: int, _out_channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.0))

    def forward(self, images: Tensor, inputs: dict[str, Tensor]) -> Tensor:
        greys = (inputs["segmentation"] + 1).float() * 20 / 127.5 - 1
        return (greys[:, None].expand_as(images) * self.gain).clamp(-1, 1)


@pytest.fixture
def hazy(tmp_path: Path, save_model: Write) -> Path:
    return save_model(tmp_path / "hazy.safetensors", Hazy)


@pytest.fixture
def source(tmp_path: Path, write_vkitti: Write) -> Path:
    return write_vkitti(tmp_path / "source", size=(41, 27))


def depth_of(image: Path) -> Path:
    return Path(str(image).replace("rgb", "depth")).with_suffix(".png")


def test_a_frame_is_translated_with_its_own_depth(
    source: Path, hazy: Path, tmp_path: Path, translate: Translate
) -> None:
    translate(source, tmp_path / "out", model=hazy, batch_size=4)
    loaded = sim2real.load(hazy, device="cpu", precision="fp32")
    images = sorted(path.relative_to(source) for path in source.rglob("*.jpg"))
    assert len(images) == 6
    for image in images:
        before = read_rgb(source / image).astype(float)
        metres = np.asarray(Image.open(depth_of(source / image))).astype(float) / 100
        shard = (metres * 0.005).clip(0, 1)[..., None]
        wanted = before * (1 - shard) + 255 * shard
        depth = metres[None].astype(np.float32)
        after = loaded(read_rgb(source / image), inputs={"depth": depth})
        assert np.abs(after - wanted).max() < 1
        written = read_rgb(tmp_path / "out" / image).astype(float)
        assert np.abs(written - wanted).mean() < 12  # noise as a JPEG of quality 95
        line = manifest(tmp_path / "out")[image.as_posix()]
        assert line["inputs_sha256"] == {"depth": sha256_of(depth_of(source / image))}


def test_batches_shards_and_reruns_end_in_the_same_bytes(
    source: Path, hazy: Path, tmp_path: Path, translate: Translate, tree: ReadTree
) -> None:
    translate(source, tmp_path / "whole", model=hazy)
    whole = tree(tmp_path / "whole")
    translate(source, tmp_path / "batches", model=hazy, batch_size=4)
    for index in (1, 0):
        translate(source, tmp_path / "shares", model=hazy, shard=(index, 2))
    assert tree(tmp_path / "batches") == tree(tmp_path / "shares") == whole
    victim = next((tmp_path / "whole").rglob("rgb_00001.jpg"))
    victim.unlink()
    again = translate(source, tmp_path / "whole", model=hazy)
    assert (again.converted, again.skipped) == (1, len(whole) - 1)
    assert tree(tmp_path / "whole") == whole
    assert translate(source, tmp_path / "whole", model=hazy).converted == 0
    assert verify(tmp_path / "whole").ok


def test_a_changed_label_makes_its_frame_undone(
    source: Path, hazy: Path, tmp_path: Path, translate: Translate, tree: ReadTree
) -> None:
    out = tmp_path / "out"
    translate(source, out, model=hazy)
    before = tree(out)
    image = sorted(path.relative_to(source).as_posix() for path in source.rglob("*.jpg"))[2]
    depth = depth_of(source / image)
    Image.fromarray(np.asarray(Image.open(depth)) // 2).save(depth)
    told = {(problem.kind, problem.path) for problem in verify(out).problems}
    assert ("source", image) in told
    again = translate(source, out, model=hazy)
    assert (again.converted, again.carried) == (1, 1)
    after = tree(out)
    changed = {path for path in after if after[path] != before[path]}
    assert changed == {image, depth.relative_to(source).as_posix()}
    assert verify(out).ok


def test_frames_without_their_label_are_refused_before_any_work(
    source: Path, hazy: Path, tmp_path: Path, translate: Translate, paint: Write
) -> None:
    gone = sorted(source.rglob("depth_*.png"))[1:3]
    for path in gone:
        path.unlink()
    with pytest.raises(
        DatasetError,
        match=r"source: the generator 'hazy' needs 'depth', and 2 of 6 frames have none, e\.g\. .*00001\.jpg",
    ) as told:
        translate(source, tmp_path / "out", model=hazy)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "out").exists()
    rest = translate(source, tmp_path / "out", model=hazy, exclude=("*0000[12].jpg",))
    assert rest.converted == 2
    with pytest.raises(DatasetError, match="3 of 3 frames have none"):
        translate(paint(tmp_path / "photos", 3), tmp_path / "out2", model=hazy)


def test_a_damaged_label_is_a_failure_of_its_frame(
    source: Path, hazy: Path, tmp_path: Path, translate: Translate
) -> None:
    depth = min(source.rglob("depth_*.png"))
    depth.write_bytes(depth.read_bytes()[:100])
    with pytest.raises(Sim2RealError, match=r"rgb_00000\.jpg.*depth_00000\.png"):
        translate(source, tmp_path / "out", model=hazy)
    summary = translate(source, tmp_path / "out", model=hazy, keep_going=True)
    assert [path for path, _ in summary.failed] == ["Scene01/clone/frames/rgb/Camera_0/rgb_00000.jpg"]


def test_a_label_that_changes_meanwhile_is_told(
    source: Path, hazy: Path, tmp_path: Path, translate: Translate, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = inference.Inference.__init__
    depth = min(source.rglob("depth_*.png"))

    def late(self: Any, *args: Any) -> None:
        Image.fromarray(np.asarray(Image.open(depth)) // 3).save(depth)
        original(self, *args)

    monkeypatch.setattr(inference.Inference, "__init__", late)
    with pytest.raises(Sim2RealError, match=r"its 'depth', .*depth_00000\.png, changed during the conversion"):
        translate(source, tmp_path / "out", model=hazy, exclude=("*/depth/*",))  # or carrying may notice first


def test_at_another_size_the_network_sees_the_source(
    source: Path, hazy: Path, tmp_path: Path, translate: Translate
) -> None:
    translate(source, tmp_path / "out", model=hazy, resize=(82, 54), exclude=("*.txt",))
    image = min(path.relative_to(source) for path in source.rglob("*.jpg"))
    before = read_rgb(source / image).astype(float)
    shard = (np.asarray(Image.open(depth_of(source / image))).astype(float) / 100 * 0.005).clip(0, 1)[..., None]
    wanted = before * (1 - shard) + 255 * shard
    written = read_rgb(tmp_path / "out" / image)
    assert written.shape == (54, 82, 3)
    assert abs(written.mean() - wanted.mean()) < 3
    assert verify(tmp_path / "out").ok


def test_tiles_are_refused_asked_for_or_for_lack_of_memory(
    source: Path, hazy: Path, tmp_path: Path, translate: Translate, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match="--tile 32: the generator 'hazy' looks at whole frames"):
        translate(source, tmp_path / "out", model=hazy, tile="32")

    def full(*_: object, **__: object) -> None:
        raise OutOfMemoryError("no memory")

    monkeypatch.setattr(TorchEngine, "_translate", full)
    with pytest.raises(Sim2RealError, match="no memory; the generator 'hazy' cannot be run in tiles"):
        translate(source, tmp_path / "out", model=hazy, batch_size=2)


class Images:
    """An engine that takes images alone."""

    def __init__(self, *_: object) -> None: ...

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return images


def test_engines_that_take_images_alone_are_not_given_it(
    source: Path, hazy: Path, tmp_path: Path, translate: Translate, offer: Callable[..., None]
) -> None:
    offer("engines", "images", Images)
    with pytest.raises(SettingsError, match="--engine images: it takes only images"):
        translate(source, tmp_path / "out", model=hazy, engine="images")


class Thorough(TorchEngine):
    """An engine that calibrates itself, with labels."""

    seen: list[tuple[int, ...]] = []  # noqa: RUF012

    def __init__(self, generator: nn.Module, settings: EngineSettings) -> None:
        super().__init__(generator, settings)
        Thorough.seen = [settings.read_inputs(image)["depth"].shape for image in settings.calibration]


def test_engines_that_take_more_calibrate_themselves_with_it(
    source: Path, hazy: Path, tmp_path: Path, translate: Translate, offer: Callable[..., None]
) -> None:
    offer("engines", "thorough", Thorough)
    translate(source, tmp_path / "out", model=hazy, engine="thorough")
    assert Thorough.seen == [(1, 27, 41)] * 6


def test_trials_forecasts_and_costs_see_it_too(
    source: Path, hazy: Path, tmp_path: Path, offer: Callable[..., None]
) -> None:
    offer("engines", "thorough", Thorough)
    told: list[str] = []
    options = ConvertOptions(model=hazy, device="cpu", precision="auto")
    plan = make_plan(source, tmp_path / "out", options, notify=told.append, machine=Machine(worth_trying={"cpu": 0}))
    assert plan.record.tile == 0
    assert not [line for line in told if "cannot" in line]
    found = forecast(plan, options, told.append)
    assert found is not None
    assert cost_of(load_generator(hazy)[0]).memory > 0


def test_classes_have_the_numbers_of_the_training(
    source: Path, tmp_path: Path, translate: Translate, save_model: Write
) -> None:
    colours = {"car": (200, 200, 200), "road": (100, 60, 100)}
    for path in source.rglob("classgt_*.png"):
        halves = np.zeros((27, 41, 3), np.uint8)
        halves[:, :20], halves[:, 20:] = colours["road"], colours["car"]
        Image.fromarray(halves).save(path)
    for scene in source.glob("Scene*/*"):
        rows = [f"{name.title()} {' '.join(map(str, colour))}" for name, colour in colours.items()]
        (scene / "colors.txt").write_text("\n".join(["Category r g b", *rows, ""]))
    unnamed = save_model(tmp_path / "unnamed.safetensors", Marking)
    with pytest.raises(Sim2RealError, match="'marking' needs 'segmentation', but its file has no names of classes"):
        translate(source, tmp_path / "out", model=unnamed)
    model = save_model(tmp_path / "marking.safetensors", Marking, classes={"names": ["sky", "vehicle", "street"]})
    known = translate(source, tmp_path / "out", model=model)
    assert not [line for line in known.warnings if "not trained with" in line]
    written = read_rgb(next((tmp_path / "out").rglob("rgb_00000.jpg")))
    assert abs(int(written[10, 5, 0]) - 60) < 3  # street is number 2
    assert abs(int(written[10, 35, 0]) - 40) < 3  # vehicle is number 1
    model = save_model(tmp_path / "marking.safetensors", Marking, classes={"names": ["sky", "vehicle"]})
    summary = translate(source, tmp_path / "other", model=model)
    told = [line for line in summary.warnings if "not trained with the classes 'Road'," in line]
    assert len(told) == 1


def test_one_file_for_many_frames_is_hashed_once(
    tmp_path: Path, translate: Translate, save_model: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "tracking/training"
    (source / "image_02/0000").mkdir(parents=True)
    (source / "label_02").mkdir()
    for number in range(5):
        pixels = np.full((24, 40, 3), 10 * number, np.uint8)
        pixels[::2] += 3
        Image.fromarray(pixels).save(source / f"image_02/0000/{number:06}.png")
    row = "{} 0 Car 0 0 -1.5 4 4 20 20 1.5 1.6 3.9 1 1 10 -1.5"
    (source / "label_02/0000.txt").write_text("\n".join(row.format(number) for number in range(5)) + "\n")
    hashed: list[Path] = []

    def counted(path: Path) -> str:
        hashed.append(path)
        return sha256_of(path)

    monkeypatch.setattr("sim2real.conversion.inputs.digest_of", counted)
    model = save_model(tmp_path / "boxed.safetensors", Boxed, classes={"names": ["car"]})
    out = tmp_path / "out"
    summary = translate(source, out, model=model, as_image=(), dataset="kitti-tracking")
    assert summary.converted == 5
    assert len(hashed) == 1
    assert int(read_rgb(out / "image_02/0000/000003.png")[10, 10, 0]) == 255
    (source / "label_02/0000.txt").write_text("\n".join(row.format(number) for number in range(4)) + "\n")
    assert translate(source, out, model=model, dataset="kitti-tracking", exclude=("*4.png",), overwrite=True).converted


class Boxed(nn.Module):
    """White where a box is."""

    inputs = ("boxes",)

    def __init__(self, _in_channels: int, _out_channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1.0))

    def forward(self, images: Tensor, inputs: dict[str, Tensor]) -> Tensor:
        return torch.where(inputs["boxes"][:, None] >= 0, self.gain.expand_as(images), images)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (None, r"the generator 'hazy' needs inputs\['depth'\]"),
        ({"depth": np.zeros((27, 41), np.float32)}, r"inputs\['depth'\]: expected float32 \(1, 1, 27, 41\)"),
        ({"depth": np.zeros((1, 27, 40), np.float32)}, r"not float32 \(1, 1, 27, 40\)"),
        ({"depth": np.zeros((1, 27, 41), np.int64)}, r"not int64"),
    ],
)
def test_wrong_inputs_from_python_are_a_value_error(hazy: Path, inputs: Any, message: str) -> None:
    loaded = sim2real.load(hazy, device="cpu", precision="fp32")
    with pytest.raises(ValueError, match=message):
        loaded(np.zeros((27, 41, 3), np.uint8), inputs=inputs)


def test_from_python_a_frame_of_a_dataset_brings_its_labels(source: Path, hazy: Path) -> None:
    loaded = sim2real.load(hazy, device="cpu", precision="fp32")
    frames = list(sim2real.open_dataset(source).frames())[:2]
    alone = [loaded(frame.load_image(), inputs=loaded.inputs_of(frame)) for frame in frames]
    depth = np.stack([loaded.inputs_of(frame)["depth"] for frame in frames])
    together = loaded(np.stack([frame.load_image() for frame in frames]), inputs={"depth": depth, "more": depth})
    assert np.array_equal(np.stack(alone), together)


def test_a_preview_shows_what_the_conversion_makes(
    source: Path, hazy: Path, tmp_path: Path, shown: list[list[NDArray[np.uint8]]]
) -> None:
    preview(hazy, source, count=2, file=tmp_path / "sheet.png", device="cpu", precision="fp32")
    loaded = sim2real.load(hazy, device="cpu", precision="fp32")
    frames = list(sim2real.open_dataset(source).frames())
    for picture, frame in zip(shown[0], [frames[1], frames[4]], strict=True):
        assert np.array_equal(picture, loaded(frame.load_image(), inputs=loaded.inputs_of(frame)))
    image = min(source.rglob("*.jpg"))
    with pytest.raises(DatasetError, match=r"rgb_00000\.jpg: .* 'hazy' needs 'depth', which a single image lacks"):
        preview(hazy, image, file=tmp_path / "sheet.png", device="cpu", precision="fp32")


def test_a_label_older_than_1970_is_a_label(source: Path, hazy: Path, tmp_path: Path, translate: Translate) -> None:
    """As archives without times leave them."""
    for image in source.rglob("*.jpg"):
        os.utime(depth_of(image), ns=(-(10**9), -(10**9)))
    translate(source, tmp_path / "out", model=hazy)
    assert translate(source, tmp_path / "out", model=hazy).converted == 0
    assert verify(tmp_path / "out").ok
