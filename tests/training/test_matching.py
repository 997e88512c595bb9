"""Windows of both sides at one place: where they lie, what they show, and that nothing else changes."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sim2real.augment import Augment
from sim2real.config import Config
from sim2real.datasets import open_dataset
from sim2real.datasets.base import Frame
from sim2real.datasets.labels import Segmentation
from sim2real.datasets.vocabulary import Vocabulary
from sim2real.errors import SettingsError
from sim2real.training.data import RawBatch, UnpairedImages, build_loader
from sim2real.training.domains import Domain, find_classes, open_domains
from sim2real.training.foresight import foreseen_spec
from sim2real.training.matching import agreement, matched_corners
from sim2real.training.specs import DataSpec, SideSpec
from sim2real_toytown import render_dataset

Configure = Callable[..., Config]
NAMES = {0: "Sky", 1: "Road"}
WINDOW = (24, 24)
MATCHED = DataSpec(matched=True)
MASKS = SideSpec({"segmentation": "a test"})
BY_MASKS = DataSpec(MASKS, MASKS, matched=True)

sides = st.tuples(st.integers(8, 90), st.integers(8, 90))


# ------------------------------------------------------------------------------------------------------ where they lie


@given(sim=sides, real=sides, window=st.tuples(st.integers(1, 8), st.integers(1, 8)), seed=st.integers(0, 2**32 - 1))
def test_both_windows_are_inside_and_their_middles_at_one_place(
    sim: tuple[int, int], real: tuple[int, int], window: tuple[int, int], seed: int
) -> None:
    corners = matched_corners((sim, real), window, np.random.default_rng(seed))
    assert corners == matched_corners((sim, real), window, np.random.default_rng(seed))
    for axis, name in enumerate(("left", "top")):
        middles = []
        for size, corner in zip((sim, real), corners, strict=True):
            place = getattr(corner, name)
            assert 0 <= place <= size[axis] - window[axis]
            middles.append((place + window[axis] / 2) / size[axis])
        room = [window[axis] / 2 / real[axis], 1 - window[axis] / 2 / real[axis]]
        wanted = min(max(middles[0], room[0]), room[1])  # the second window cannot leave its frame
        assert abs(middles[1] - wanted) <= 0.1 + 0.5 / real[axis] + 1e-9


def test_first_windows_are_everywhere() -> None:
    random = np.random.default_rng(0)
    extracted = [matched_corners(((40, 30), (60, 60)), (8, 8), random)[0] for _ in range(4000)]
    assert {corner.top for corner in extracted} == set(range(23))
    assert {corner.left for corner in extracted} == set(range(33))


def test_masks_choose_the_first_place_where_most_agrees_or_the_best() -> None:
    random = np.random.default_rng(0)
    sky, half = np.zeros((40, 40), np.int64), np.zeros((40, 40), np.int64)
    half[20:] = 1
    for _ in range(50):
        corners = matched_corners(((40, 40), (40, 40)), (8, 8), random, (sky, half))
        shown = half[corners[1].top :, corners[1].left :][:8, :8]
        assert (shown == 0).mean() > 0.5
    unknown = np.full((40, 40), -1)
    assert agreement(unknown, unknown) == 0, "what nobody knows does not agree"
    little = unknown.copy()
    little[18:20] = 0
    found = [matched_corners(((40, 40), (40, 40)), (8, 8), random, (sky, little))[1].top for _ in range(50)]
    assert set(found) <= set(range(12, 19)), "two rows of it are the best that there is"


def test_of_no_masks_the_first_place_is_taken() -> None:
    mask = np.zeros((40, 40), np.int64)
    states = [np.random.default_rng(5) for _ in range(2)]
    one = matched_corners(((40, 40), (40, 40)), (8, 8), states[0])
    two = matched_corners(((40, 40), (40, 40)), (8, 8), states[1], (mask, mask))
    assert one == two
    assert states[0].random() == states[1].random()


# ------------------------------------------------------------------------------------------------------ what they show


@pytest.fixture(scope="module")
def streets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Domain, Domain]:
    """Sky over road, whose border is high up in simulated frames and low down in real ones of another size.

    Red tells the row, green the column, both as shares of 200; blue the class.
    """
    random, root, domains = np.random.default_rng(0), tmp_path_factory.mktemp("streets"), []
    for side, (width, height), horizons in (("sim", (120, 90), (0.35, 0.6)), ("real", (150, 120), (0.45, 0.75))):
        frames, masks = [], dict[str, Segmentation]()
        (root / side).mkdir()
        dataset = SimpleNamespace(root=root, load_label=lambda frame, _kind, masks=masks: masks[frame.image])
        for number in range(8):
            name, horizon = f"{side}/{number}.png", random.uniform(*horizons) * height
            rows, columns = np.indices((height, width))
            ids = (rows >= horizon).astype(np.int32)
            pixels = np.stack([rows * 200 / height, columns * 200 / width, ids * 200], -1)
            Image.fromarray(pixels.astype(np.uint8)).save(root / name)
            masks[name] = Segmentation(ids, NAMES)
            frames.append(Frame(name, labels={"segmentation": name}, dataset=cast("Any", dataset)))
        domains.append(Domain(cast("Any", side), frames, [], ""))
    return domains[0], domains[1]


def images_of(
    streets: tuple[Domain, Domain], spec: DataSpec, *, names: tuple[str, ...] = (), **more: Any
) -> UnpairedImages:
    vocabulary = Vocabulary(["Sky", "Road"])
    return UnpairedImages(
        *streets,
        Augment(WINDOW, names=names),
        **{"batch_size": 4, "seed": 0, "vocabulary": vocabulary, **more},
        spec=spec,
    )


def batch_of(images: UnpairedImages, step: int) -> RawBatch:
    batch = images[step]
    assert isinstance(batch, RawBatch), batch
    return batch


def test_windows_of_a_pair_show_the_same_part_of_the_scene(streets: tuple[Domain, Domain]) -> None:
    """What it is for: a discriminator of these cannot learn that simulated skies stand where real roads are."""
    apart, agreeing = dict[str, float](), dict[str, float]()
    for name, spec in {"drawn": DataSpec(), "matched": MATCHED, "by masks": BY_MASKS}.items():
        images = images_of(streets, spec)
        batches = [batch_of(images, step) for step in range(50)]
        sims, reals = (torch.cat([getattr(raw, side) for raw in batches]).float() for side in ("sim", "real"))
        apart[name] = float((sims[:, 0] - reals[:, 0]).abs().mean() / 200)
        agreeing[name] = float(((sims[:, 2] > 100) == (reals[:, 2] > 100)).float().mean())
    assert apart["matched"] < 0.3 * apart["drawn"], apart
    assert agreeing["drawn"] < 0.6, agreeing
    assert agreeing["matched"] > agreeing["drawn"] + 0.15, agreeing
    assert agreeing["by masks"] > agreeing["matched"] + 0.05, agreeing


def test_pairs_are_mirrored_alike(streets: tuple[Domain, Domain]) -> None:
    images, turned = images_of(streets, BY_MASKS, names=("hflip", "vflip")), {"hflip": 0, "vflip": 0}
    for step in range(20):
        raw = batch_of(images, step)
        for sim, real in zip(raw.sim.int(), raw.real.int(), strict=True):
            for name, (first, last) in {
                "hflip": (np.s_[1, 0, 0], np.s_[1, 0, -1]),
                "vflip": (np.s_[0, 0, 0], np.s_[0, -1, 0]),
            }.items():
                ways = {bool(image[first] > image[last]) for image in (sim, real)}
                assert len(ways) == 1
                turned[name] += ways.pop()
        for shown, labels in ((raw.sim, raw.sim_inputs), (raw.real, raw.real_inputs)):
            assert torch.equal(labels["segmentation"], (shown[:, 2] > 100).long()), "labels go with their images"
    assert all(20 < count < 60 for count in turned.values()), turned


def test_draws_depend_on_seed_and_step_alone(streets: tuple[Domain, Domain], tmp_path: Path) -> None:
    plain = [batch_of(images_of(streets, BY_MASKS, names=("hflip",)), step) for step in range(4)]
    assert not torch.equal(plain[0].sim, batch_of(images_of(streets, BY_MASKS, names=("hflip",), seed=1), 0).sim)
    for step, cache in ((3, None), (0, tmp_path), (0, tmp_path), (2, tmp_path)):
        again = batch_of(images_of(streets, BY_MASKS, names=("hflip",), cache=cache), step)
        parts = [
            batch_of(images_of(streets, BY_MASKS, names=("hflip",), rank=rank, processes=2), step) for rank in (0, 1)
        ]
        for side in ("sim", "real"):
            assert torch.equal(getattr(again, side), getattr(plain[step], side))
            assert torch.equal(torch.cat([getattr(part, side) for part in parts]), getattr(plain[step], side))


def test_workers_change_nothing(tmp_path: Path, paint: Callable[..., Path]) -> None:
    frames = [sorted(paint(tmp_path / side, 4, seed=seed).iterdir()) for seed, side in enumerate(("sim", "real"))]
    augment = Augment((16, 16), names=["hflip"])
    images = UnpairedImages(frames[0], frames[1], augment, batch_size=2, seed=0, spec=MATCHED)
    for step, raw in enumerate(build_loader(images, range(4), 2, "cpu", 0)):
        assert isinstance(raw, RawBatch)
        assert torch.equal(raw.sim, batch_of(images, step).sim)
        assert torch.equal(raw.real, batch_of(images, step).real)


def test_without_it_each_side_draws_for_itself_as_ever(streets: tuple[Domain, Domain]) -> None:
    augment, images = Augment(WINDOW, names=["hflip"]), images_of(streets, DataSpec(), names=("hflip",))
    raw = batch_of(images, 1)
    for side, shown in enumerate((raw.sim, raw.real)):
        for place, image in enumerate(shown, 4):
            seed = int(np.random.SeedSequence([0, side, place]).generate_state(1)[0])
            expected = augment(np.asarray(Image.open(images.path(side, place))), seed=seed)
            assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)


def test_clips_have_one_window_beside_that_of_an_image(tmp_path: Path) -> None:
    render_dataset(tmp_path / "sim", frames=4, size=(96, 48), seed=3, sequences=2, cameras=(0,))
    frames = list(open_dataset(tmp_path / "sim").frames())
    masks = {"segmentation": "a test"}
    domain = Domain("sim", frames, [], "")
    vocabulary = Vocabulary(find_classes(Config(), [(domain, SideSpec(masks))]).names)
    spec = DataSpec(SideSpec({**masks, "depth": "it"}, 2, "it"), SideSpec(masks), matched=True)
    images = UnpairedImages(domain, domain, Augment((32, 24)), batch_size=2, seed=1, spec=spec, vocabulary=vocabulary)
    shared = []
    for step in range(6):
        raw = batch_of(images, step)
        assert raw.sim.shape == (2, 2, 3, 24, 32)
        assert raw.sim_inputs["depth"].shape == (2, 2, 1, 24, 32)
        shared += [
            agreement(sim[0].numpy(), real.numpy())
            for sim, real in zip(raw.sim_inputs["segmentation"], raw.real_inputs["segmentation"], strict=True)
        ]
    assert np.mean(shared) > 0.5


# ------------------------------------------------------------------------------------------------------ the setting


def test_masks_are_read_where_both_sides_have_them(configure: Configure, tmp_path: Path, photos: Path) -> None:
    for number, look in enumerate(("sim", "real")):
        render_dataset(tmp_path / look, frames=3, size=(96, 48), seed=number, sequences=1, cameras=(0,))
    one = configure("data.matched=true", sim=tmp_path / "sim", real=photos / "real")
    both = configure("data.matched=true", sim=tmp_path / "sim", real=tmp_path / "real")
    off = configure(sim=tmp_path / "sim", real=tmp_path / "real")
    for config, kinds in ((one, set()), (both, {"segmentation"}), (off, set())):
        spec = foreseen_spec(config)
        assert spec.matched == config.data.matched
        sim, real = open_domains(config, spec=spec)
        met = spec.met_by(sim.frames, real.frames)
        assert set(met.sim.kinds) == set(met.real.kinds) == kinds
        assert met.matched == config.data.matched
    assert open_domains(both)[0].fingerprint != open_domains(off)[0].fingerprint


def test_whole_frames_have_nothing_to_match(configure: Configure) -> None:
    squeezed = ["data.matched=true", "data.fit=resize"]
    with pytest.raises(SettingsError, match=r"^data\.matched = true: data\.fit = 'resize' shows whole frames, .*; set"):
        configure(*squeezed)
    configure(*squeezed, "data.load_size=[40, 32]")
    configure("data.matched=true")
