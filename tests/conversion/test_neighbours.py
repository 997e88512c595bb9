"""Grids that are averaged over the neighbouring frames of a sequence: light that does not flicker."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

import sim2real
from sim2real.conversion import ConversionSummary, ConvertOptions, batches, pipeline, verify
from sim2real.conversion.jobs import Job
from sim2real.conversion.plan import make_plan
from sim2real.conversion.windows import Window
from sim2real.datasets.base import Role
from sim2real.errors import SettingsError, Sim2RealError
from sim2real.files import write_whole
from sim2real.imageio import encode_png
from sim2real.networks.bilateral import identity_grid

Translate = Callable[..., ConversionSummary]
ReadTree = Callable[[Path], dict[str, bytes]]
Write = Callable[..., Path]
Pixels = NDArray[np.uint8]
FRAMES = 9
WEIGHTS = {0: 3, 1: 2, 2: 1}  # of frames so far away


class Moody(nn.Module):
    """Darkens a frame by how red it is in the mean: what stands before the camera decides on the light of all."""

    by_grids = True
    whole = True
    exportable = True
    value_range = (0.0, 1.0)

    def __init__(self, _in_channels: int, _out_channels: int) -> None:
        super().__init__()
        self.mood = nn.Parameter(torch.tensor(1.0))

    def grids(self, images: Tensor, _seeds: object = None) -> Tensor:
        light = gain(images[:, 0].mean((1, 2))) * self.mood
        found: Tensor = identity_grid(1, 2, 3, like=images) * light[:, None, None, None, None]
        return found

    def apply_grids(self, images: Tensor, grids: Tensor, _seeds: object = None) -> Tensor:
        made: Tensor = images * grids[:, :1, 0, :1, :1]
        return made

    def forward(self, images: Tensor) -> Tensor:
        return self.apply_grids(images, self.grids(images))


def gain(red: Any) -> Any:
    """From how red a frame is in the mean, 0 to 1."""
    return 0.2 + 0.7 * (7 * red) % 0.7


@pytest.fixture
def source(tmp_path: Path, write_vkitti: Write) -> Path:
    """Two sequences."""
    return write_vkitti(tmp_path / "source", FRAMES, size=(38, 22))


@pytest.fixture
def moody(tmp_path: Path, save_model: Write) -> Path:
    return save_model(tmp_path / "moody.safetensors", Moody)


def sequences(source: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for frame in sim2real.open_dataset(source).frames():
        found.setdefault(frame.sequence, []).append(frame.image)
    return found


def expected(source: Path, paths: list[str], place: int) -> NDArray[np.float64]:
    """What becomes of a frame."""
    near = range(max(0, place - 2), min(len(paths), place + 3))
    frames = {number: sim2real.imageio.read_rgb(source / paths[number]).astype(float) for number in near}
    weights = {number: WEIGHTS[abs(number - place)] for number in near}
    lights = [weight * gain(frames[number][..., 0].mean() / 255) for number, weight in weights.items()]
    return np.asarray(frames[place] * sum(lights) / sum(weights.values()))


def test_the_light_of_a_frame_is_the_mean_of_its_neighbours(
    source: Path, moody: Path, tmp_path: Path, translate: Translate, heard: dict[str, Pixels]
) -> None:
    record = translate(source, tmp_path / "out", model=moody, batch_size=4).record
    assert (record.neighbours, record.engine, record.batch_size) == (2, "torch", 4)
    assert len(heard) == 2 * FRAMES
    for paths in sequences(source).values():
        for place, path in enumerate(paths):
            assert np.abs(heard[path] - expected(source, paths, place)).max() <= 1, path
    assert verify(tmp_path / "out").ok


@pytest.mark.parametrize("moves", [True, False])
def test_frames_of_a_folder_that_show_different_scenes_are_not_averaged(
    moves: bool, moody: Path, tmp_path: Path, translate: Translate
) -> None:
    """A video, whose view moves by a pixel, and scenes that are randomised frame by frame."""
    (tmp_path / "folder/day").mkdir(parents=True)
    random = np.random.default_rng(0)
    wide = random.integers(0, 255, (24, 60, 3), np.uint8).repeat(4, 1).repeat(4, 0)
    for number in range(FRAMES):
        other = random.integers(0, 255, (6, 10, 3), np.uint8).repeat(16, 1).repeat(16, 0)
        scene = wide[:, number : number + 160] if moves else other
        (tmp_path / f"folder/day/{number}.png").write_bytes(encode_png(np.ascontiguousarray(scene)))
    plan = make_plan(tmp_path / "folder", tmp_path / "out", ConvertOptions(model=moody, device="cpu"))
    line = "neighbouring frames show different scenes, so their light is not averaged"
    assert (plan.record.neighbours, any(line in each for each in plan.warnings)) == ((2, False) if moves else (0, True))
    if moves:
        translate(tmp_path / "folder", tmp_path / "out", model=moody, neighbours=0)
        again = make_plan(tmp_path / "folder", tmp_path / "out", ConvertOptions(model=moody, device="cpu"))
        assert (again.record.neighbours, again.warnings) == (0, [])  # continued as it was begun
    else:
        translate(tmp_path / "folder", tmp_path / "out", model=moody)
        (tmp_path / "folder/day/0.png").write_bytes(encode_png(np.ascontiguousarray(wide[:, :160])))
        assert translate(tmp_path / "folder", tmp_path / "out", model=moody).converted == 1
        record = translate(tmp_path / "folder", tmp_path / "averaged", model=moody, neighbours=2).record
        assert record.neighbours == 2


def test_nothing_but_the_frames_decides(
    source: Path, moody: Path, tmp_path: Path, translate: Translate, tree: ReadTree
) -> None:
    """Batches, shares, their order and frames that are done again one by one."""
    translate(source, tmp_path / "whole", model=moody)
    whole = tree(tmp_path / "whole")
    translate(source, tmp_path / "batches", model=moody, batch_size=5)
    assert tree(tmp_path / "batches") == whole
    for index in (1, 0):
        translate(source, tmp_path / "shares", model=moody, shard=(index, 2))
    assert tree(tmp_path / "shares") == whole
    gone = [path for paths in sequences(source).values() for path in paths[3:8:3]]
    for path in gone:
        (tmp_path / "whole" / path).unlink()
    summary = translate(source, tmp_path / "whole", model=moody)
    assert summary.converted == len(gone)
    assert tree(tmp_path / "whole") == whole


def test_a_conversion_that_dies_half_way_ends_in_the_same_bytes(
    source: Path,
    *,
    moody: Path,
    tmp_path: Path,
    translate: Translate,
    tree: ReadTree,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    translate(source, tmp_path / "whole", model=moody)
    with monkeypatch.context() as patch:
        written: list[Path] = []

        def fails(path: Path, data: bytes) -> None:
            if len(written) == 5:
                raise OSError(28, "No space left on device", str(path))
            written.append(path)
            write_whole(path, data)

        patch.setattr(pipeline, "write_whole", fails)
        with pytest.raises(Sim2RealError, match="No space left"):
            translate(source, tmp_path / "out", model=moody)
    summary = translate(source, tmp_path / "out", model=moody)
    assert summary.skipped > 0
    assert summary.converted < 2 * FRAMES
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_after_a_failure_no_further_frame_is_looked_at(
    moody: Path, tmp_path: Path, write_vkitti: Write, translate: Translate, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_vkitti(tmp_path / "many", 60, size=(38, 22))
    looked_at: list[Path] = []

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def size_of(image: Path) -> tuple[int, int]:
        looked_at.append(image)
        return 38, 22

    monkeypatch.setattr(pipeline, "write_whole", fails)
    monkeypatch.setattr(batches, "size_of", size_of)
    with pytest.raises(Sim2RealError, match="No space left"):
        translate(source, tmp_path / "out", model=moody)
    assert 0 < len(looked_at) < 60


def test_a_frame_that_changes_changes_its_neighbours(
    source: Path, moody: Path, tmp_path: Path, translate: Translate, tree: ReadTree
) -> None:
    translate(source, tmp_path / "out", model=moody)
    paths = next(iter(sequences(source).values()))
    from PIL import Image

    Image.new("RGB", (38, 22), "red").save(source / paths[4])
    assert translate(source, tmp_path / "out", model=moody).converted == 5
    translate(source, tmp_path / "anew", model=moody)
    assert tree(tmp_path / "out") == tree(tmp_path / "anew")


def test_a_frame_that_cannot_be_read_is_left_out_and_comes_in_when_it_is_mended(
    source: Path, moody: Path, tmp_path: Path, translate: Translate, tree: ReadTree
) -> None:
    translate(source, tmp_path / "whole", model=moody)
    path = source / next(iter(sequences(source).values()))[4]
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 3])
    summary = translate(source, tmp_path / "out", model=moody, keep_going=True)
    assert [failed for failed, _ in summary.failed] == [path.relative_to(source).as_posix()]
    assert summary.converted == 2 * FRAMES - 1
    path.write_bytes(good)
    assert translate(source, tmp_path / "out", model=moody).converted == 5
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_a_guided_transfer_is_averaged_unless_told_otherwise(
    source: Path, run: Path, tmp_path: Path, translate: Translate, tree: ReadTree
) -> None:
    guided = {"model": run, "transfer": "guided"}
    assert translate(source, tmp_path / "steady", **guided).record.neighbours == 2
    translate(source, tmp_path / "alone", **guided, neighbours=0)
    loose = tmp_path / "loose"
    loose.mkdir()
    paths = next(iter(sequences(source).values()))
    for place, path in enumerate(paths):
        (loose / f"{place}.jpg").write_bytes((source / path).read_bytes())
    translate(loose, tmp_path / "of_loose", **guided)  # of no sequence: nothing to average
    for place, path in enumerate(paths):
        alone = (tmp_path / "alone" / path).read_bytes()
        assert (tmp_path / "of_loose" / f"{place}.jpg").read_bytes() == alone
    assert tree(tmp_path / "steady") != tree(tmp_path / "alone")
    with pytest.raises(Sim2RealError, match="neighbours was 2, is 0"):
        translate(source, tmp_path / "steady", **guided, neighbours=0)


def test_what_cannot_be_averaged_is_refused(
    source: Path, moody: Path, tmp_path: Path, translate: Translate, offer: Callable[..., None]
) -> None:
    offer("engines", "other", Moody)
    with pytest.raises(SettingsError, match=r"--neighbours 2: .* or add --transfer guided"):
        translate(source, tmp_path / "out", neighbours=2)
    with pytest.raises(SettingsError, match=r"--engine other: .* use --neighbours 0, or leave out --engine"):
        translate(source, tmp_path / "out", model=moody, engine="other")
    assert not (tmp_path / "out").exists()


def test_a_sequence_of_several_sizes_is_averaged_within_each(
    source: Path, moody: Path, tmp_path: Path, translate: Translate, heard: dict[str, Pixels]
) -> None:
    from PIL import Image

    paths = next(iter(sequences(source).values()))
    for path in paths[5:]:
        Image.new("RGB", (30, 20), (200, 90, 60)).save(source / path)
    translate(source, tmp_path / "out", model=moody)
    assert np.abs(heard[paths[4]] - expected(source, paths[:5], 4)).max() <= 1
    assert np.abs(heard[paths[5]] - expected(source, paths[5:], 0)).max() <= 1


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(1, 12),
    reach=st.integers(1, 4),
    count=st.integers(1, 5),
    wanted=st.sets(st.integers(0, 11)),
    missing=st.sets(st.integers(0, 11), max_size=3),
)
def test_windows(*, length: int, reach: int, count: int, wanted: set[int], missing: set[int]) -> None:
    """Whatever is looked at together: each frame to be done comes once, in order, with the mean of its neighbours."""
    jobs = [Job(str(place), Role.IMAGE, translate=True, stat=None) for place in range(length)]
    wanted &= set(range(length))
    window: Window[int] = Window(jobs, {str(place) for place in wanted}, reach)
    came, held = list[int](), 0
    for frames, known in window.batches(count):
        for frame in frames:
            assert frame.wanted == (frame.place in wanted)
            if frame.place not in missing:
                window.add(
                    frame.place, np.full((1,), frame.place**2, np.float32), frame.place if frame.wanted else None
                )
        for item, grid, whole in window.ready(known):
            near = range(max(0, item - reach), min(length, item + reach + 1))
            there = [place for place in near if place not in missing]
            weights = [reach + 1 - abs(place - item) for place in there]
            assert grid == pytest.approx(np.average([place**2 for place in there], weights=weights), rel=1e-5)
            assert whole == (len(there) == len(near))
            came.append(item)
        held = max(held, len(window._grids))
    assert came == sorted(wanted - missing)
    assert held <= 2 * reach + count  # however long the sequence is
