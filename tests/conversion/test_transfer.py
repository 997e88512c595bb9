"""``transfer``: whether a conversion takes the generator's pixels, or its light and colours alone."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import sim2real
from sim2real.conversion import ConversionSummary
from sim2real.errors import SettingsError, Sim2RealError
from sim2real.imageio import encode_png, read_rgb
from sim2real.metrics.edges import edge_changes
from sim2real_toytown import render_frame

Translate = Callable[..., ConversionSummary]
Save = Callable[..., Path]
GUIDED = {"transfer": {"name": "guided", "size": 64, "train": False}}


class Lying(nn.Module):
    """Darkens, with a checkerboard, and an object in the sky."""

    def __init__(self, _in_channels: int, _out_channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.5))

    def forward(self, images: Tensor) -> Tensor:
        rows, columns = (torch.arange(side) // 4 % 2 for side in images.shape[2:])
        board = (rows[:, None] + columns) % 2 - 0.5
        made = images * self.gain - 0.4 + 0.3 * board
        made[..., : images.shape[2] // 4, : images.shape[3] // 6] = 1
        return made


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("town") / "sim"
    folder.mkdir()
    for time in (0, 40):
        frame = render_frame(time, size=(208, 64), forward=False, backward=False)
        (folder / f"{time:04}.png").write_bytes(encode_png(frame.rgb))
    return folder


def images(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.png"))


def test_what_a_lying_generator_paints_stays_out_of_the_frames(
    translate: Translate, save_model: Save, town: Path, tmp_path: Path
) -> None:
    model = save_model(tmp_path / "lying.safetensors", Lying, **GUIDED)
    summaries = {
        name: translate(town, tmp_path / name, model=model, **({} if name == "own" else {"transfer": name}))
        for name in ("own", "guided", "direct")
    }
    for name, summary in summaries.items():
        record = json.loads((tmp_path / name / ".sim2real/conversion.json").read_text())
        assert (record["transfer"], record["transfer_size"]) == (("direct", 0) if name == "direct" else ("guided", 64))
        assert summary.record.transfer == record["transfer"]
    for before in images(town):
        source = read_rgb(before)
        own, guided, direct = (read_rgb(tmp_path / name / before.name) for name in summaries)
        assert np.array_equal(own, guided)
        assert edge_changes(source, direct).new > 0.05
        assert edge_changes(source, guided).new < 0.02
        assert guided.mean() < source.mean() - 30


def test_another_transfer_is_another_conversion(
    translate: Translate, save_model: Save, town: Path, tmp_path: Path
) -> None:
    model = save_model(tmp_path / "lying.safetensors", Lying)
    translate(town, tmp_path / "out", model=model)
    with pytest.raises(Sim2RealError, match="transfer was direct, is guided"):
        translate(town, tmp_path / "out", model=model, transfer="guided")


def test_batches_and_shards_change_nothing(translate: Translate, save_model: Save, town: Path, tmp_path: Path) -> None:
    model = save_model(tmp_path / "lying.safetensors", Lying, **GUIDED)
    translate(town, tmp_path / "one", model=model)
    translate(town, tmp_path / "two", model=model, batch_size=2)
    for path in images(tmp_path / "one"):
        other = read_rgb(tmp_path / "two" / path.name)
        assert np.abs(read_rgb(path).astype(int) - other).max() <= 1


def test_guided_frames_need_no_tiles(translate: Translate, save_model: Save, town: Path, tmp_path: Path) -> None:
    model = save_model(tmp_path / "lying.safetensors", Lying, **GUIDED)
    with pytest.raises(SettingsError, match="the transfer is guided, so the generator sees whole frames at 64 pixels"):
        translate(town, tmp_path / "out", model=model, tile="64")


def test_load_obeys_the_model_and_its_caller(save_model: Save, tmp_path: Path) -> None:
    model = save_model(tmp_path / "lying.safetensors", Lying, **GUIDED)
    before = np.random.default_rng(0).integers(60, 200, (60, 80, 3), dtype=np.uint8)
    own, guided, direct = (
        sim2real.load(model, device="cpu", transfer=transfer)(before) for transfer in (None, "guided", "direct")
    )
    assert np.array_equal(own, guided)
    assert (direct[:15, :13] == 255).all()
    assert not (guided[:15, :13] == 255).any()


def test_settings_that_nobody_understands_are_told(save_model: Save, tmp_path: Path) -> None:
    model = save_model(tmp_path / "lying.safetensors", Lying, transfer={"name": "magic"})
    with pytest.raises(Sim2RealError, match=r"lying\.safetensors: .* is damaged \(settings: transfer: "):
        sim2real.load(model, device="cpu")
