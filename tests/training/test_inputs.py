"""Labels and clips of a training: what is loaded, of which pixels, and what is said of what is missing."""

import itertools
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sim2real.augment import Augment
from sim2real.config import Classes, Config
from sim2real.datasets import open_dataset
from sim2real.datasets.base import Frame
from sim2real.datasets.vocabulary import Vocabulary
from sim2real.errors import DatasetError
from sim2real.training.data import RawBatch, UnpairedImages, build_loader
from sim2real.training.domains import Domain, find_classes, open_domains
from sim2real.training.samples import HeldOut
from sim2real.training.specs import DataSpec, SideSpec, followers
from sim2real_toytown import render_dataset

Configure = Callable[..., Config]
SIZE = (163, 61)  # no multiple of 8: reduced JPEG leaves some of it out
KINDS = {"segmentation": "a test", "depth": "a test", "flow": "a test", "instance": "a test"}


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("town") / "sim"
    render_dataset(folder, frames=4, size=SIZE, seed=3, sequences=2, cameras=(0,))
    return folder


@pytest.fixture(scope="module")
def frames(town: Path) -> list[Frame]:
    """Those that have a flow to the next."""
    return [frame for frame in open_dataset(town).frames() if "flow" in frame.labels]


@pytest.fixture(scope="module")
def classes(frames: list[Frame]) -> Vocabulary:
    domain = Domain("sim", frames, [], "")
    return Vocabulary(find_classes(Config(), [(domain, SideSpec({"segmentation": "a test"}))]).names)


def images_of(
    frames: list[Frame], augment: Augment, vocabulary: Vocabulary, cache: Path | None = None
) -> UnpairedImages:
    domain = Domain("sim", frames, [], "")
    spec = DataSpec(SideSpec(KINDS), SideSpec({"depth": "a test"}))
    return UnpairedImages(domain, domain, augment, batch_size=1, seed=0, cache=cache, spec=spec, vocabulary=vocabulary)


def batch_of(images: UnpairedImages, step: int) -> RawBatch:
    batch = images[step]
    assert isinstance(batch, RawBatch), batch
    return batch


@pytest.fixture(scope="module")
def painted(town: Path, classes: Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> list[Frame]:
    """The frames of a town whose pictures show their own masks."""
    folder = tmp_path_factory.mktemp("painted") / "sim"
    shutil.copytree(town, folder)
    frames = [frame for frame in open_dataset(folder).frames() if "flow" in frame.labels]
    for frame in frames:
        ids = classes.ids(frame.load_label("segmentation"))  # type: ignore[arg-type]
        grey = np.repeat((ids * 15 + 20).astype(np.uint8)[..., None], 3, 2)
        Image.fromarray(grey).save(frame.path, quality=100, subsampling=0)
    return frames


@given(
    size=st.tuples(st.integers(41, 100), st.integers(16, 40)),
    load_size=st.none() | st.tuples(st.integers(41, 140), st.integers(16, 60)),
    fit=st.sampled_from(["crop", "resize"]),
    names=st.lists(st.sampled_from(["hflip", "vflip"]), unique=True),
)
def test_the_mask_of_the_window_is_the_window_of_the_mask(
    painted: list[Frame],
    classes: Vocabulary,
    size: tuple[int, int],
    load_size: tuple[int, int] | None,
    **more: Any,
) -> None:
    """Whatever scale, window and mirror: where the mask has no border, the picture has the mask's class."""
    augment = Augment(size, fit=more["fit"], load_size=load_size, names=more["names"])
    raw = batch_of(images_of(painted, augment, classes), 0)
    ids = raw.sim_inputs["segmentation"][0].numpy()
    assert ids.shape == (size[1], size[0])
    error = np.abs(raw.sim[0].float().mean(0).numpy() - (ids * 15 + 20))
    around = np.pad(ids, 2, mode="edge")
    inner = np.ones(ids.shape, bool)
    for down in range(5):
        for right in range(5):
            inner &= around[down : down + size[1], right : right + size[0]] == ids
    if inner.sum() > 50:  # what is thinner than a pixel at this scale is in the picture alone
        assert (error[inner] <= 5).mean() >= 0.9


@pytest.mark.parametrize("load_size", [None, (140, 53), (82, 31), (60, 23), (41, 16)])
def test_no_scale_shifts_the_mask_by_a_pixel(
    painted: list[Frame], classes: Vocabulary, load_size: tuple[int, int] | None
) -> None:
    """Reduced JPEG among them: the mask fits the picture best where it is."""
    images = images_of(painted, Augment((40, 16), load_size=load_size), classes)
    agreement = Counter[tuple[int, int]]()
    for step in range(8):
        raw = batch_of(images, step)
        ids, light = raw.sim_inputs["segmentation"][0].numpy(), raw.sim[0].float().mean(0).numpy()
        for down, right in itertools.product((-1, 0, 1), repeat=2):
            moved = np.roll(ids, (down, right), (0, 1))[1:-1, 1:-1]
            agreement[down, right] += int((np.abs(light[1:-1, 1:-1] - (moved * 15 + 20)) <= 5).sum())
    assert agreement.most_common(1)[0][0] == (0, 0), agreement


def test_depth_and_flow_keep_their_rules(frames: list[Frame], classes: Vocabulary) -> None:
    plain = images_of(frames, Augment((163, 61)), classes)
    half = images_of(frames, Augment((80, 30), fit="resize"), classes)
    mirrored = images_of(frames, Augment((163, 61), names=["hflip"]), classes)
    turned = 0
    for step in range(6):
        whole, small, flipped = (batch_of(images, step) for images in (plain, half, mirrored))
        depth, flow = (whole.sim_inputs[kind][0] for kind in ("depth", "flow"))
        assert depth.dtype == torch.float32
        assert depth.shape == (1, 61, 163)
        assert flow.shape == (3, 61, 163)
        assert float(depth.max()) > 2
        there = small.sim_inputs["flow"][0]
        known = flow[2] > 0
        ratio = there[0][there[2] > 0].abs().mean() / flow[0][known].abs().mean()
        assert float(ratio) == pytest.approx(80 / 163, rel=0.25)
        if torch.equal(flipped.sim_inputs["depth"][0], depth.flip(-1)) and not torch.equal(depth, depth.flip(-1)):
            turned += 1
            assert torch.equal(flipped.sim_inputs["flow"][0][0], -flow[0].flip(-1))
            assert torch.equal(flipped.sim_inputs["flow"][0][1:], flow[1:].flip(-1))
            assert torch.equal(flipped.sim, whole.sim.flip(-1))
    assert 0 < turned < 6
    assert set(whole.real_inputs) == {"depth"}


def test_a_cache_and_workers_change_no_label(frames: list[Frame], classes: Vocabulary, tmp_path: Path) -> None:
    def batches(workers: int, cache: Path | None) -> list[RawBatch]:
        images = images_of(frames, Augment((32, 24), names=["hflip"]), classes, cache=cache)
        return [raw for raw in build_loader(images, range(6), workers, "cpu", 0) if isinstance(raw, RawBatch)]

    plain = batches(0, None)
    for other in (batches(2, None), batches(0, tmp_path / "cache"), batches(0, tmp_path / "cache")):
        for one, two in zip(plain, other, strict=True):
            assert torch.equal(one.sim, two.sim)
            for kind in KINDS:
                assert torch.equal(one.sim_inputs[kind], two.sim_inputs[kind])
    assert len([*(tmp_path / "cache").iterdir()]) > len(frames)


def test_what_nobody_asks_for_is_not_read(town: Path, frames: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Frame, "load_label", lambda *_: pytest.fail("a label was read"))
    domain = Domain("sim", frames, [], "")
    assert batch_of(UnpairedImages(domain, domain, Augment((32, 24)), batch_size=1, seed=0), 0).sim_inputs == {}
    assert find_classes(Config(), [(domain, SideSpec({"depth": "it"}))]).names == []


# ------------------------------------------------------------------------------------------------------------ clips


def test_clips_are_consecutive_frames_of_one_sequence_in_one_window(frames: list[Frame]) -> None:
    spec = DataSpec(SideSpec({"depth": "it"}, 2, "it"), SideSpec())
    domain = Domain("sim", frames, [], "")
    images = UnpairedImages(domain, domain, Augment((163, 61), names=["hflip"]), batch_size=2, seed=1, spec=spec)
    runs = followers(frames, 2)
    assert {frames[first].index + 1 for first in runs} == {frames[second].index for _, second in runs.values()}
    assert len(runs) == 4, "two sequences of three frames"
    raw = batch_of(images, 0)
    assert raw.sim.shape == (2, 2, 3, 61, 163)
    assert raw.real.shape == (2, 3, 61, 163)
    assert raw.sim_inputs["depth"].shape == (2, 2, 1, 61, 163)
    seen = {images._number(0, position) for position in range(4)}
    assert seen == set(runs)
    depths = {}
    for number, frame in enumerate(frames):
        depths[number] = torch.from_numpy(np.nan_to_num(frame.load_label("depth").metres, posinf=0.0))  # type: ignore[union-attr]
    for row, position in enumerate(range(2)):
        first, second = runs[images._number(0, position)]
        pair = raw.sim_inputs["depth"][row, :, 0]
        ways = [torch.equal(pair, torch.stack([depths[first], depths[second]])),
                torch.equal(pair, torch.stack([depths[first], depths[second]]).flip(-1))]  # fmt: skip
        assert sum(ways) == 1


def test_held_out_clips_are_whole_and_never_trained_on(configure: Configure, town: Path) -> None:
    spec = DataSpec(SideSpec({}, 2, "a test"), SideSpec())
    sim, _ = open_domains(configure("data.validation=2", sim=town), spec=spec)
    assert len(sim.held_out) == 2
    assert len(followers(sim.held_out, 2)) == 1
    assert {frame.image for frame in sim.held_out}.isdisjoint(frame.image for frame in sim.train)
    held_out = HeldOut(sim, sim, Augment((32, 24)), "cpu", spec=DataSpec(SideSpec({"depth": "it"}, 2, "it")))
    (batch,) = held_out.batches(5)
    assert batch.sim.shape == (1, 2, 3, 24, 32)
    assert batch.sim_inputs["depth"].shape == (1, 2, 1, 24, 32)


@pytest.mark.parametrize(("kind", "place"), [("flow", -1), ("backward_flow", 0)])
def test_motion_out_of_a_sequence_is_known_nowhere(configure: Configure, town: Path, kind: str, place: int) -> None:
    spec = DataSpec(SideSpec({kind: "it"}, 2, "it"))
    sim, real = open_domains(configure("data.validation=2", sim=town), spec=spec)
    ends = {frame.image for frame in sim.frames if kind not in frame.labels}
    assert len(ends) == 2, "of two sequences"
    images = UnpairedImages(sim, real, Augment((32, 24), names=["hflip"]), batch_size=1, seed=0, spec=spec)
    runs, met = followers(sim.train, 2), 0
    for step in range(2 * len(runs)):
        flow = batch_of(images, step).sim_inputs[kind][0]
        clip = [sim.train[number].image for number in runs[images._number(0, step)]]
        assert flow.shape == (2, 3, 24, 32)
        assert flow[-1 - place, 2].any(), "from one frame of a clip to the other it is known"
        if clip[place] in ends:
            met += 1
            assert not flow[place].any()
    assert met
    held_out = HeldOut(sim, real, Augment((32, 24)), "cpu", spec=spec)
    held_out.sides = {"sim": sim.frames, "real": real.frames}
    assert len([*held_out.batches(9)]) == 4, "the last clips of the sequences are among them"


def test_motion_that_is_missing_within_a_sequence_is_an_error(configure: Configure, town: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sim"
    shutil.copytree(town, folder)
    config = configure("data.validation=0", sim=folder)
    spec = DataSpec(SideSpec({"flow": "the loss 'flow'"}, 2, "the loss 'flow'"))
    whole = open_domains(config, spec=spec)[0].fingerprint
    (gone,) = folder.rglob("Scene01/**/flow_00001.png")
    gone.rename(tmp_path / "flow.png")
    with pytest.raises(
        DatasetError, match=r"the loss 'flow' needs 'flow' of the simulated images, and 1 of 8 have none.*00001\.jpg"
    ):
        open_domains(config, spec=spec)
    one_by_one = DataSpec(SideSpec({"flow": "it"}))
    (tmp_path / "flow.png").rename(gone)
    with pytest.raises(DatasetError, match="2 of 8 have none"):  # as ever, where no clip says what leads out of it
        open_domains(config, spec=one_by_one)
    gone.write_bytes(gone.read_bytes() + b"\0")
    assert open_domains(config, spec=spec)[0].fingerprint != whole


# ------------------------------------------------------------------------------------------------- what is missing


def test_a_side_that_lacks_a_label_is_told_who_needs_it(configure: Configure, town: Path) -> None:
    asked = DataSpec(SideSpec({"flow": "the loss 'steady'"}), SideSpec())
    with pytest.raises(
        DatasetError, match=r"the loss 'steady' needs 'flow' of the simulated images, and 2 of 8 have none"
    ):
        open_domains(configure(sim=town), spec=asked)
    with pytest.raises(DatasetError, match=r"needs 'depth' of the real images, and \d+ of .* none, .*: none; excl"):
        open_domains(configure(sim=town), spec=DataSpec(SideSpec(), SideSpec({"depth": "the network D_real (Told)"})))
    with pytest.raises(DatasetError, match="it needs 2 consecutive frames of real sequences, and there are none"):
        open_domains(configure(sim=town), spec=DataSpec(SideSpec(), SideSpec({}, 2, "it")))


def test_labels_that_are_asked_for_are_part_of_the_fingerprint(
    configure: Configure, town: Path, tmp_path: Path
) -> None:
    shutil.copytree(town, tmp_path / "sim")
    config = configure(sim=tmp_path / "sim")
    spec = [DataSpec(), DataSpec(SideSpec({"depth": "it"}))]
    before = [open_domains(config, spec=each)[0].fingerprint for each in spec]
    depth = min((tmp_path / "sim").rglob("depth_*.png"))
    depth.write_bytes(depth.read_bytes() + b"\0")
    after = [open_domains(config, spec=each)[0].fingerprint for each in spec]
    assert before[0] == after[0]
    assert len({*before, after[1]}) == 3


def test_classes_of_both_sides_meet_by_name(town: Path, frames: list[Frame]) -> None:
    masks = SideSpec({"segmentation": "a test"})
    sides = [(Domain(side, frames, [], ""), masks) for side in ("sim", "real")]
    found = find_classes(Config(), sides)
    assert {"Car", "Road", "Sky", "Tree", "Vegetation"} <= set(found.names)
    assert len(found.names) == len(set(found.names))
    given_names = Config(classes=Classes(names=["Sky"]))
    assert find_classes(given_names, sides).names == ["Sky"]
    notes: list[str] = []
    domain = Domain("sim", frames, [], "")
    images = UnpairedImages(
        domain, domain, Augment((32, 24)), batch_size=1, seed=0, spec=DataSpec(masks), vocabulary=Vocabulary(["Sky"])
    )
    for raw in build_loader(images, range(4), 0, "cpu", 0):
        assert isinstance(raw, RawBatch)
        notes += raw.notes
        assert set(raw.sim_inputs["segmentation"].unique().tolist()) <= {-1, 0}
    assert any("class 'Car' is none of this run's" in note for note in notes)
    assert len(notes) == len(set(notes))
    assert json.dumps(found.names)


def test_the_search_for_classes_does_not_grow_with_the_dataset(
    frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of SOLO, where each frame is a sequence of its own."""
    mask, looked_at = frames[0].load_label("segmentation"), list[str]()

    def look(frame: Frame, _kind: str) -> Any:
        looked_at.append(frame.image)
        return mask

    monkeypatch.setattr(Frame, "load_label", look)
    many = [Frame(f"{number}.png", sequence=str(number), labels={"segmentation": "x"}) for number in range(20_000)]
    found = find_classes(Config(), [(Domain("sim", many, [], ""), SideSpec({"segmentation": "a test"}))])
    assert "Car" in found.names
    assert len(looked_at) < 300
    assert len({int(image.partition(".")[0]) // 1000 for image in looked_at}) == 20
