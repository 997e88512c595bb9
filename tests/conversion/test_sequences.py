"""Generators that look at several frames of a sequence: clips, and what was before."""

import json
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
from sim2real.conversion import ConversionSummary, pipeline, verify
from sim2real.conversion.duration import forecast
from sim2real.conversion.options import ConvertOptions
from sim2real.conversion.plan import make_plan
from sim2real.datasets.base import Frame
from sim2real.engines.cost import cost_of
from sim2real.errors import DatasetError, SettingsError, Sim2RealError
from sim2real.export import export_onnx
from sim2real.files import write_whole
from sim2real.imageio import read_rgb
from sim2real.model import load_generator

Translate = Callable[..., ConversionSummary]
ReadTree = Callable[[Path], dict[str, bytes]]
Write = Callable[..., Path]
Pixels = NDArray[np.uint8]
FRAMES = 7


class Clips(nn.Module):
    """Each frame of a clip becomes the mean of the clip and itself."""

    clip_length = 3
    stride = 4
    inputs = ("depth",)

    def __init__(self, _in_channels: int, _out_channels: int) -> None:
        super().__init__()
        self.shard = nn.Parameter(torch.tensor(0.5))

    def forward(self, images: Tensor, inputs: dict[str, Tensor]) -> Tensor:
        assert images.shape[1:3] == (3, 3)
        assert inputs["depth"].shape == (images.shape[0], 3, 1, *images.shape[3:])
        return images * self.shard + images.mean(1, keepdim=True) * (1 - self.shard)


class Echo(nn.Module):
    """Adds what it made of the frame before, and the frame before that; in a range of its own."""

    context = 2
    stride = 4
    value_range = (0.0, 1.0)

    def __init__(self, _in_channels: int, _out_channels: int) -> None:
        super().__init__()
        self.shard = nn.Parameter(torch.tensor(0.5))

    def forward(self, images: Tensor, inputs: dict[str, Tensor]) -> Tensor:
        images_before, outputs_before = inputs["past_images"], inputs["past_outputs"]
        assert images_before.shape == outputs_before.shape
        assert images_before.shape[1] <= 2
        if outputs_before.numel() and not outputs_before.is_meta:
            assert -0.01 <= float(outputs_before.min()) <= float(outputs_before.max()) <= 1.01
        result = images * self.shard
        for number in range(images_before.shape[1]):
            result = result + (outputs_before[:, number] + images_before[:, number]) * (1 - self.shard) / 4
        return result


def echoed(frames: list[Pixels]) -> list[Pixels]:
    """What :class:`Echo` makes of a sequence."""
    outputs: list[Pixels] = []
    for place, frame in enumerate(frames):
        result = frame / 255 * 0.5
        for before in range(max(0, place - 2), place):
            result = result + (outputs[before] / 255.0 + frames[before] / 255.0) / 8
        outputs.append(np.rint(result * 255).clip(0, 255).astype(np.uint8))
    return outputs


@pytest.fixture
def source(tmp_path: Path, write_vkitti: Write) -> Path:
    """Two sequences."""
    return write_vkitti(tmp_path / "source", FRAMES, size=(38, 22))


@pytest.fixture
def echo(tmp_path: Path, save_model: Write) -> Path:
    return save_model(tmp_path / "echo.safetensors", Echo)


@pytest.fixture
def clips(tmp_path: Path, save_model: Write) -> Path:
    return save_model(tmp_path / "clips.safetensors", Clips)


def sequences(source: Path) -> dict[str, list[Frame]]:
    found: dict[str, list[Frame]] = {}
    for frame in sim2real.open_dataset(source).frames():
        found.setdefault(frame.sequence, []).append(frame)
    return found


@pytest.mark.parametrize("streams", [1, 3])
def test_a_generator_that_looks_back_sees_what_it_made(
    source: Path,
    *,
    echo: Path,
    tmp_path: Path,
    translate: Translate,
    heard: dict[str, Pixels],
    monkeypatch: pytest.MonkeyPatch,
    streams: int,
) -> None:
    from sim2real.engines.torch import TorchEngine

    original = TorchEngine.__init__

    def several(self: TorchEngine, *args: Any) -> None:
        original(self, *args)
        self.streams = streams

    monkeypatch.setattr(TorchEngine, "__init__", several)
    record = translate(source, tmp_path / "out", model=echo).record
    assert (record.batch_size, record.compile, record.tile) == (1, [], 0)
    assert len(heard) == 2 * FRAMES
    for frames in sequences(source).values():
        wanted = echoed([frame.load_image() for frame in frames])
        for frame, picture in zip(frames, wanted, strict=True):
            assert np.abs(heard[frame.image].astype(int) - picture).max() <= 1
    assert verify(tmp_path / "out").ok


def test_clips_are_consecutive_and_the_last_one_is_filled_up(
    source: Path, clips: Path, tmp_path: Path, translate: Translate, heard: dict[str, Pixels]
) -> None:
    translate(source, tmp_path / "out", model=clips)
    for frames in sequences(source).values():
        images = [frame.load_image().astype(float) for frame in frames]
        for first, members in ((0, (0, 1, 2)), (3, (3, 4, 5)), (6, (6, 6, 6))):
            mean = np.mean([images[number] for number in members], 0)
            for number in {*members}:
                wanted = images[number] / 2 + mean / 2
                assert np.abs(heard[frames[number].image] - wanted).max() < 1, first


def kill_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pipeline end at so many images that are written."""
    written = []

    def write(path: Path, data: bytes) -> None:
        if path.suffix == ".jpg":
            written.append(path)
            if len(written) > count:
                raise KeyboardInterrupt
        write_whole(path, data)

    monkeypatch.setattr(pipeline, "write_whole", write)


@pytest.mark.parametrize("model", ["echo", "clips"])
def test_a_killed_conversion_ends_in_the_bytes_of_a_whole_one(
    source: Path,
    *,
    tmp_path: Path,
    translate: Translate,
    tree: ReadTree,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    model: str,
) -> None:
    file = request.getfixturevalue(model)
    translate(source, tmp_path / "whole", model=file)
    whole = tree(tmp_path / "whole")
    for index in (1, 0):
        translate(source, tmp_path / "shares", model=file, shard=(index, 2))
    assert tree(tmp_path / "shares") == whole
    with monkeypatch.context() as killed:
        kill_after(9, killed)
        with pytest.raises(KeyboardInterrupt):
            translate(source, tmp_path / "out", model=file)
    again = translate(source, tmp_path / "out", model=file)
    assert again.converted in {FRAMES, 2 * FRAMES}  # sequences as a whole
    assert tree(tmp_path / "out") == whole
    assert translate(source, tmp_path / "out", model=file).converted == 0
    next((tmp_path / "out").rglob("*00003.jpg")).unlink()
    assert translate(source, tmp_path / "out", model=file).converted == FRAMES
    assert tree(tmp_path / "out") == whole


def test_a_changed_frame_makes_its_sequence_undone_whatever_is_killed_meanwhile(
    source: Path, *, echo: Path, tmp_path: Path, translate: Translate, tree: ReadTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    translate(source, out, model=echo)
    before = tree(out)
    image = min(source.rglob("*clone*/**/*00002.jpg"))
    Image.fromarray(255 - read_rgb(image)).save(image, quality=90)
    with monkeypatch.context() as killed:
        kill_after(3, killed)
        with pytest.raises(KeyboardInterrupt):
            translate(source, out, model=echo)
    again = translate(source, out, model=echo)
    assert again.converted == FRAMES
    translate(source, tmp_path / "fresh", model=echo)
    after = tree(out)
    assert after == tree(tmp_path / "fresh")
    changed = {path for path in after if after[path] != before[path]}
    assert {path.rpartition("_")[2] for path in changed} >= {f"0000{number}.jpg" for number in (2, 3)}
    assert all("clone" in path for path in changed)


def test_a_changed_label_of_a_clip_makes_its_sequence_undone(
    source: Path, clips: Path, tmp_path: Path, translate: Translate
) -> None:
    translate(source, tmp_path / "out", model=clips)
    depth = min(source.rglob("depth_00004.png"))
    Image.fromarray(np.asarray(Image.open(depth)) // 2).save(depth)
    again = translate(source, tmp_path / "out", model=clips)
    assert (again.converted, again.carried) == (FRAMES, 1)


def test_what_follows_a_frame_that_fails_begins_anew(
    source: Path, *, echo: Path, clips: Path, tmp_path: Path, translate: Translate, heard: dict[str, Pixels]
) -> None:
    frames = next(iter(sequences(source).values()))
    broken = frames[4].path
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(Sim2RealError, match="rgb_00004"):
        translate(source, tmp_path / "stopped", model=echo)
    heard.clear()
    summary = translate(source, tmp_path / "out", model=echo, keep_going=True)
    assert [path for path, _ in summary.failed] == [frames[4].image]
    for run in (frames[:4], frames[5:]):
        wanted = echoed([frame.load_image() for frame in run])
        assert all(
            np.abs(heard[frame.image].astype(int) - picture).max() <= 1
            for frame, picture in zip(run, wanted, strict=True)
        )
    heard.clear()
    translate(source, tmp_path / "clips", model=clips, keep_going=True)
    alone = frames[5].load_image()  # of 3, 4 and 5 the middle one is broken: each of the others is a clip of its own
    assert np.abs(heard[frames[5].image].astype(int) - alone).max() <= 1


def test_a_gap_in_a_video_begins_a_new_sequence(
    source: Path, echo: Path, tmp_path: Path, translate: Translate, heard: dict[str, Pixels]
) -> None:
    frames = next(iter(sequences(source).values()))
    translate(source, tmp_path / "out", model=echo, exclude=("*00003.jpg",))
    wanted = echoed([frame.load_image() for frame in frames[4:]])
    for frame, picture in zip(frames[4:], wanted, strict=True):
        assert np.abs(heard[frame.image].astype(int) - picture).max() <= 1
    assert translate(source, tmp_path / "out", model=echo, exclude=("*00003.jpg",)).converted == 0
    assert translate(source, tmp_path / "out", model=echo).converted == 2 * FRAMES  # another sequence now


def test_loose_images_are_sequences_of_one(
    paint: Write, echo: Path, tmp_path: Path, translate: Translate, heard: dict[str, Pixels]
) -> None:
    source = paint(tmp_path / "photos", 4)
    for index in (0, 1):
        translate(source, tmp_path / "out", model=echo, shard=(index, 2))
    for name, picture in heard.items():
        assert np.abs(picture.astype(int) - echoed([read_rgb(source / name)])[0]).max() <= 1
    (tmp_path / "out/0001.png").unlink()
    assert translate(source, tmp_path / "out", model=echo).converted == 1


def test_frames_of_several_sizes_are_refused_by_name(
    source: Path, echo: Path, tmp_path: Path, translate: Translate
) -> None:
    odd = min(source.rglob("rgb_00005.jpg"))
    Image.fromarray(np.zeros((20, 38, 3), np.uint8)).save(odd)
    message = r"'echo' looks at several frames of a sequence, .*rgb_00000\.jpg is 38x22, .*rgb_00005\.jpg is 38x20"
    with pytest.raises(DatasetError, match=message):
        translate(source, tmp_path / "out", model=echo)
    with pytest.raises(SettingsError, match=r"--batch-size 4: the generator 'echo' translates .* one after another"):
        translate(source, tmp_path / "out", model=echo, batch_size=4)
    assert not (tmp_path / "out").exists()


def test_it_is_foreseen_previewed_and_loaded(
    source: Path, *, echo: Path, clips: Path, tmp_path: Path, translate: Translate, shown: list[list[Pixels]]
) -> None:
    for model in (echo, clips):
        options = ConvertOptions(model=model, device="cpu", precision="auto")
        plan = make_plan(source, tmp_path / "out", options)
        assert forecast(plan, options, print) is not None
        assert cost_of(load_generator(model)[0]).memory > 0
        with pytest.raises(Sim2RealError, match="uses several frames of a sequence: it cannot be exported"):
            export_onnx(model, tmp_path / "x.onnx", size=None, opset=17, tolerance=0.5)
    frames = next(iter(sequences(source).values()))
    images = [frame.load_image() for frame in frames]
    preview(echo, source, count=2, file=tmp_path / "sheet.png", device="cpu", precision="fp32")
    assert np.abs(shown[-1][0].astype(int) - echoed(images[1:4])[-1]).max() <= 1
    preview(clips, source, count=2, file=tmp_path / "sheet.png", device="cpu", precision="fp32")
    clip = np.stack(images[3:6]).astype(float)
    assert np.abs(shown[-1][0] - (clip[0] / 2 + clip.mean(0) / 2)).max() < 1
    preview(echo, frames[0].path, file=tmp_path / "sheet.png", device="cpu", precision="fp32")
    loaded = sim2real.load(clips, device="cpu", precision="fp32")
    depth = np.stack([loaded.inputs_of(frame)["depth"] for frame in frames[3:6]])
    after = loaded(np.stack(images[3:6]), inputs={"depth": depth})
    assert np.array_equal(after[0], shown[1][0])
    with pytest.raises(ValueError, match=r"expected RGB uint8 \(3, H, W, 3\) or \(N, 3, H, W, 3\)"):
        loaded(np.stack(images[3:5]), inputs={"depth": depth[:2]})
    looking = sim2real.load(echo, device="cpu", precision="fp32")
    first = looking(images[0])
    past = {"past_images": images[0][None], "past_outputs": first[None]}
    assert np.abs(looking(images[1], inputs=past).astype(int) - echoed(images[:2])[1]).max() <= 1
    with pytest.raises(ValueError, match=r"'past_images'.* different numbers"):
        looking(images[1], inputs={"past_images": images[0][None]})


def test_what_the_manifest_says_of_sequences(source: Path, echo: Path, tmp_path: Path, translate: Translate) -> None:
    translate(source, tmp_path / "out", model=echo)
    told = [json.loads(line) for line in (tmp_path / "out/.sim2real/manifest.jsonl").read_text().splitlines()]
    of_sequences = [line["sequence_sha256"] for line in told if line["status"] == "converted"]
    assert len(set(of_sequences)) == 2
    assert not [line for line in told if line["status"] == "carried" and "sequence_sha256" in line]
