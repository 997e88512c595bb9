import pickle
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from sim2real.augment import Augment
from sim2real.config import Config
from sim2real.errors import DatasetError, SettingsError
from sim2real.training.data import RawBatch, UnpairedImages, as_floats, open_domains

Configure = Callable[..., Config]
Paint = Callable[..., Path]


def unpaired(
    photos: Path, *, names: tuple[str, ...] = ("hflip",), batch_size: int = 2, seed: int = 0
) -> UnpairedImages:
    sim, real = (sorted((photos / side).iterdir()) for side in ("sim", "real"))
    return UnpairedImages(sim, real, Augment((32, 32), names=names), batch_size=batch_size, seed=seed)


def batch_of(images: UnpairedImages, step: int) -> RawBatch:
    batch = images[step]
    assert isinstance(batch, RawBatch)
    return batch


# -------------------------------------------------------------------------------------------------------- sampling


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 5), st.integers(0, 1000))
def test_every_image_is_drawn_once_in_each_round(sims: int, reals: int, batch_size: int, seed: int) -> None:
    sim, real = ([Path(f"{side}{number}") for number in range(count)] for side, count in (("s", sims), ("r", reals)))
    images = UnpairedImages(sim, real, Augment((8, 8)), batch_size=batch_size, seed=seed)
    for side, paths in enumerate((sim, real)):
        for round_ in range(3):
            positions = range(round_ * len(paths), (round_ + 1) * len(paths))
            assert sorted(images.path(side, position) for position in positions) == sorted(paths)


def test_nothing_pairs_the_two_sides() -> None:
    sim, real = ([Path(f"{side}{number}") for number in range(10)] for side in "sr")
    images = UnpairedImages(sim, real, Augment((8, 8)), batch_size=1, seed=0)
    partners = Counter((images.path(0, place), images.path(1, place)) for place in range(1000))
    assert len(partners) > 95  # of 100 possible pairs
    assert max(partners.values()) < 40


def test_orders_differ_from_round_to_round_and_from_seed_to_seed() -> None:
    paths = [Path(str(number)) for number in range(20)]

    def order(seed: int, round_: int) -> list[Path]:
        images = UnpairedImages(paths, paths, Augment((8, 8)), batch_size=1, seed=seed)
        return [images.path(0, round_ * 20 + place) for place in range(20)]

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


def test_a_batch_depends_on_seed_and_step_alone(photos: Path) -> None:
    forward = [batch_of(unpaired(photos), step) for step in range(6)]
    backward = [batch_of(unpaired(photos), step) for step in reversed(range(6))][::-1]
    other = batch_of(unpaired(photos, seed=1), 0)
    for one, two in zip(forward, backward, strict=True):
        assert torch.equal(one.sim, two.sim)
        assert torch.equal(one.real, two.real)
    assert not torch.equal(forward[0].real, other.real)
    assert forward[0].sim.shape == (2, 3, 32, 32)
    assert forward[0].sim.dtype == torch.uint8


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_do_not_depend_on_the_number_of_workers(photos: Path, workers: int) -> None:
    images = unpaired(photos)
    loader = DataLoader(images, batch_size=None, sampler=range(3, 9), num_workers=workers)
    for step, batch in zip(range(3, 9), loader, strict=True):
        expected = batch_of(images, step)
        assert torch.equal(batch.sim, expected.sim)
        assert torch.equal(batch.real, expected.real)


def test_images_reach_the_networks_as_rgb_in_minus_one_to_one(tmp_path: Path) -> None:
    import cv2

    for side in ("sim", "real"):
        (tmp_path / side).mkdir()
        bgr = np.full((32, 32, 3), (0, 51, 255), np.uint8)
        assert cv2.imwrite(str(tmp_path / side / "a.png"), bgr)
    batch = batch_of(unpaired(tmp_path, batch_size=1), 0)
    images = as_floats(batch.sim, "cpu")
    assert images.shape == (1, 3, 32, 32)
    torch.testing.assert_close(images[0, :, 0, 0], torch.tensor([1.0, 51 / 127.5 - 1, -1.0]))


# ------------------------------------------------------------------------------------------------ unreadable files


def damage(folder: Path, *numbers: int) -> list[str]:
    paths = [sorted(folder.iterdir())[number] for number in numbers]
    for path in paths:
        path.write_bytes(path.read_bytes()[:200])
    return [str(path) for path in paths]


def test_unreadable_images_are_replaced_and_named(tmp_path: Path, paint: Paint) -> None:
    paint(tmp_path / "sim", 4), paint(tmp_path / "real", 3)
    broken = damage(tmp_path / "real", 0, 2)
    images = unpaired(tmp_path, names=(), batch_size=1)
    batches = [batch_of(images, step) for step in range(60)]
    named = {reason for batch in batches for reason in batch.skipped}
    assert len(named) == 2
    assert all(any(path in reason for reason in named) for path in broken)
    assert all(batch.real.float().std() > 0 for batch in batches)


def test_a_side_without_a_readable_image_is_an_error(tmp_path: Path, paint: Paint) -> None:
    paint(tmp_path / "sim", 2), paint(tmp_path / "real", 3)
    damage(tmp_path / "real", 0, 1, 2)
    error = unpaired(tmp_path)[0]
    assert isinstance(error, DatasetError)
    assert re.search(r"none of 3 real images can be read; the last: .*\.png", str(error))


# ------------------------------------------------------------------------------------------------ what is held out


def names(paths: object) -> set[str]:
    return {Path(path).name for path in paths}  # type: ignore[attr-defined]  # any sequence of paths


@pytest.mark.parametrize(("validation", "sims", "reals"), [("0.3", 2, 3), ("4", 4, 4), ("0", 0, 0), ("0.01", 1, 1)])
def test_held_out_images_are_never_trained_on(configure: Configure, validation: str, sims: int, reals: int) -> None:
    sim, real = open_domains(configure(f"data.validation={validation}"))
    assert (len(sim.held_out), len(real.held_out)) == (sims, reals)
    for domain, count in ((sim, 6), (real, 9)):
        assert names(domain.train).isdisjoint(names(domain.held_out))
        assert len(names(domain.train) | names(domain.held_out)) == count


def test_the_seed_decides_what_is_held_out(configure: Configure) -> None:
    splits = [names(open_domains(configure("data.validation=3", f"seed={seed}"))[1].held_out) for seed in (0, 0, 1, 2)]
    assert splits[0] == splits[1]
    assert splits[0] != splits[2] or splits[0] != splits[3]


@pytest.fixture
def two_sided(tmp_path: Path, paint: Paint) -> Path:
    """A CycleGAN folder: 5 + 2 images of A, 6 + 3 of B; names tell the folder."""
    for seed, (part, count) in enumerate({"trainA": 5, "testA": 2, "trainB": 6, "testB": 3}.items()):
        folder = paint(tmp_path / "two" / part, count, seed=seed)
        for path in folder.iterdir():
            path.rename(folder / f"{part}_{path.name}")
    return tmp_path / "two"


def folders_of(paths: object) -> set[str]:
    return {name.split("_")[0] for name in names(paths)}


def test_one_cyclegan_folder_serves_both_sides_and_its_test_part_is_held_out(
    configure: Configure, two_sided: Path
) -> None:
    sim, real = open_domains(configure(sim=two_sided, real=""))
    parts = [folders_of(paths) for paths in (sim.train, sim.held_out, real.train, real.held_out)]
    assert parts == [{"trainA"}, {"testA"}, {"trainB"}, {"testB"}]
    assert (len(sim.train), len(sim.held_out), len(real.train), len(real.held_out)) == (5, 2, 6, 3)


def test_swap_takes_b_for_the_simulation(configure: Configure, two_sided: Path) -> None:
    sim, real = open_domains(configure("swap=true", sim=two_sided, real=""))
    parts = [folders_of(paths) for paths in (sim.train, sim.held_out, real.train, real.held_out)]
    assert parts == [{"trainB"}, {"testB"}, {"trainA"}, {"testA"}]


def test_without_validation_the_test_part_is_still_not_trained_on(configure: Configure, two_sided: Path) -> None:
    sim, _ = open_domains(configure("data.validation=0", sim=two_sided, real=""))
    assert (folders_of(sim.train), len(sim.held_out)) == ({"trainA"}, 0)


def test_a_cyclegan_folder_may_be_one_side_of_two(configure: Configure, two_sided: Path, photos: Path) -> None:
    sim, real = open_domains(configure(sim=photos / "sim", real=two_sided))
    assert folders_of(real.train) == {"trainB"}
    assert len(sim.train) == 5


def test_globs_choose_the_images_of_a_side(configure: Configure) -> None:
    sim, real = open_domains(configure("data.sim_include=['*[0-3].png']", "data.sim_exclude=['*0.png']"))
    assert names([*sim.train, *sim.held_out]) == {"0001.png", "0002.png", "0003.png"}
    assert len(real.train) + len(real.held_out) == 9


def test_the_fingerprint_tells_names_and_sizes_of_files(configure: Configure, tmp_path: Path, paint: Paint) -> None:
    sim = paint(tmp_path / "sim", 4)
    first = open_domains(configure(sim=sim))[0].fingerprint
    assert open_domains(configure(sim=sim))[0].fingerprint == first
    (sim / "0000.png").rename(sim / "zero.png")
    renamed = open_domains(configure(sim=sim))[0].fingerprint
    damage(sim, 0)
    damaged = open_domains(configure(sim=sim))[0].fingerprint
    assert len({first, renamed, damaged}) == 3


# ---------------------------------------------------------------------------------------------------------- refusals


def test_no_simulation_is_named(configure: Configure) -> None:
    with pytest.raises(SettingsError, match="give SIM and REAL, or set sim and real"):
        open_domains(configure(sim="", real=""))


def test_a_plain_folder_cannot_stand_for_both_sides(configure: Configure) -> None:
    with pytest.raises(DatasetError, match=r"sim: recognised as images, which holds one domain; give the real images"):
        open_domains(configure(real=""))


def test_a_missing_folder_and_one_without_images_are_named(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="absent: no such folder"):
        open_domains(configure(real=tmp_path / "absent"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="empty: no image found"):
        open_domains(configure(real=tmp_path / "empty"))


def test_globs_that_leave_nothing_are_named(configure: Configure) -> None:
    with pytest.raises(DatasetError, match=re.escape("no real images fit the globs ['*.jpg'] []")):
        open_domains(configure("data.real_include=['*.jpg']"))


def test_a_cyclegan_folder_with_one_empty_side_is_refused(configure: Configure, tmp_path: Path, paint: Paint) -> None:
    paint(tmp_path / "trainA", 3), paint(tmp_path / "testA", 3)
    with pytest.raises(DatasetError, match="no real images"):
        open_domains(configure(sim=tmp_path, real=""))


def test_fewer_images_than_a_batch_are_refused_with_the_counts(configure: Configure) -> None:
    with pytest.raises(DatasetError, match=r"sim: 5 sim images to train on \(1 held out\), but data.batch_size is 8"):
        open_domains(configure("data.batch_size=8"))


def test_images_travel_to_worker_processes_of_any_kind(photos: Path) -> None:
    images = unpaired(photos)
    sent: UnpairedImages = pickle.loads(pickle.dumps(images))
    assert torch.equal(batch_of(sent, 3).sim, batch_of(images, 3).sim)
