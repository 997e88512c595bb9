import os
import pickle
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sim2real.augment import Augment
from sim2real.config import Config
from sim2real.datasets.base import Frame
from sim2real.errors import DatasetError, SettingsError, Sim2RealError
from sim2real.training.data import RawBatch, UnpairedImages, as_floats, build_loader, remove_cache, worker_errors
from sim2real.training.domains import Domain, open_domains, stamp_of

Configure = Callable[..., Config]
Paint = Callable[..., Path]


def unpaired(
    photos: Path,
    *,
    names: tuple[str, ...] = ("hflip",),
    batch_size: int = 2,
    seed: int = 0,
    rank: int = 0,
    processes: int = 1,
    cache: Path | None = None,
) -> UnpairedImages:
    sim, real = (domain_of(photos / side) for side in ("sim", "real"))
    augment = Augment((32, 32), names=names)
    return UnpairedImages(
        sim, real, augment, batch_size=batch_size, seed=seed, rank=rank, processes=processes, cache=cache
    )


def domain_of(folder: Path) -> Domain:
    paths = sorted(folder.iterdir())
    return Domain("sim", [Frame(str(path)) for path in paths], [], "", [stamp_of(path) for path in paths])


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


@given(
    sharing=st.sampled_from([(2, 2), (4, 2), (6, 3), (12, 4)]),
    step=st.integers(0, 50),
    seed=st.integers(0, 9),
)
def test_processes_see_together_what_one_alone_would(
    photos: Path, sharing: tuple[int, int], step: int, seed: int
) -> None:
    batch_size, processes = sharing
    names = ("hflip", "colour")
    whole = batch_of(unpaired(photos, names=names, batch_size=batch_size, seed=seed), step)
    parts = [
        batch_of(unpaired(photos, names=names, batch_size=batch_size, seed=seed, rank=rank, processes=processes), step)
        for rank in range(processes)
    ]
    assert {len(part.sim) for part in parts} == {batch_size // processes}
    assert torch.equal(torch.cat([part.sim for part in parts]), whole.sim)
    assert torch.equal(torch.cat([part.real for part in parts]), whole.real)


def test_a_batch_that_processes_cannot_share_is_refused(photos: Path) -> None:
    with pytest.raises(ValueError, match="3 processes cannot share batches of 4"):
        unpaired(photos, batch_size=4, processes=3)


def test_images_reach_the_networks_as_rgb_in_minus_one_to_one(tmp_path: Path) -> None:
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
    named = {reason for batch in batches for reason in batch.notes}
    assert len(named) == 2
    assert all(any(path in reason for reason in named) for path in broken)
    assert all(batch.real.float().std() > 0 for batch in batches)


def test_a_side_without_a_readable_image_is_an_error(tmp_path: Path, paint: Paint) -> None:
    paint(tmp_path / "sim", 2), paint(tmp_path / "real", 3)
    damage(tmp_path / "real", 0, 1, 2)
    error = unpaired(tmp_path)[0]
    assert isinstance(error, DatasetError)
    assert re.search(r"none of 3 real images can be read; the last: .*\.png", str(error))


@pytest.mark.parametrize("cached", [True, False])
def test_a_vanished_image_is_skipped(tmp_path: Path, paint: Paint, cached: bool) -> None:
    paint(tmp_path / "sim", 2), paint(tmp_path / "real", 2)
    images = unpaired(tmp_path, batch_size=1, cache=tmp_path / "cache" if cached else None)
    for step in range(4):
        assert not batch_of(images, step).notes
    (tmp_path / "real" / "0001.png").unlink()
    skipped = {reason for step in range(4) for reason in batch_of(images, step).notes}
    assert skipped == {f"skipped: {tmp_path}/real/0001.png: cannot be read as an image: No such file or directory"}


@pytest.mark.parametrize("cached", [True, False])
def test_a_changed_image_is_named_and_trained_on_as_it_is_now(tmp_path: Path, paint: Paint, cached: bool) -> None:
    paint(tmp_path / "sim", 1), paint(tmp_path / "real", 1), paint(tmp_path / "new", 1, seed=9)
    images = unpaired(tmp_path, batch_size=1, cache=tmp_path / "cache" if cached else None)
    before = batch_of(images, 0)
    assert before.notes == ()
    shutil.copy(tmp_path / "new/0000.png", tmp_path / "sim/0000.png")
    after = batch_of(images, 0)
    assert after.notes == (f"changed since the training started: {tmp_path}/sim/0000.png",)
    assert not torch.equal(after.sim, before.sim)
    assert torch.equal(after.real, before.real)


def test_an_image_that_changes_after_it_was_listed_is_noticed(
    configure: Configure, tmp_path: Path, paint: Paint
) -> None:
    folder = paint(tmp_path / "sim", 4)
    sim, real = open_domains(configure(sim=folder))
    touched = sim.train[1].path
    os.utime(touched, ns=(0, touched.stat().st_mtime_ns + 1))
    images = UnpairedImages(sim, real, Augment((32, 32)), batch_size=1, seed=0)
    notes = {note for step in range(4) for note in batch_of(images, step).notes}
    assert notes == {f"changed since the training started: {touched}"}


# ------------------------------------------------------------------------------------------------------- the cache


def test_a_cache_changes_no_pixel(photos: Path, tmp_path: Path) -> None:
    names = ("hflip", "colour")
    first, second = (unpaired(photos, names=names, cache=tmp_path / "cache") for _ in range(2))
    for step in range(12):
        expected = batch_of(unpaired(photos, names=names), step)
        for images in (first, second):  # which decode, and which read what the first kept
            batch = batch_of(images, step)
            assert torch.equal(batch.sim, expected.sim)
            assert torch.equal(batch.real, expected.real)
            assert batch[2:] == ({}, {}, ())


def test_a_kept_image_is_not_decoded_again(tmp_path: Path, paint: Paint) -> None:
    paint(tmp_path / "sim", 2), paint(tmp_path / "real", 2)
    batches = [batch_of(unpaired(tmp_path, cache=tmp_path / "cache"), step) for step in range(2)]
    for path in [*(tmp_path / "sim").iterdir(), *(tmp_path / "real").iterdir()]:
        status = path.stat()
        path.write_bytes(bytes(status.st_size))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    for step, batch in enumerate(batches):
        again = batch_of(unpaired(tmp_path, cache=tmp_path / "cache"), step)
        assert torch.equal(again.sim, batch.sim)
        assert not again.notes


@pytest.mark.parametrize("left", [0, 60, 1000])
def test_a_damaged_cache_is_mended(photos: Path, tmp_path: Path, left: int) -> None:
    cache = tmp_path / "cache"
    expected = batch_of(unpaired(photos, cache=cache), 0)
    for file in cache.iterdir():
        assert file.stat().st_size > 1000
        file.write_bytes(file.read_bytes()[:left])
    again = batch_of(unpaired(photos, cache=cache), 0)
    assert torch.equal(again.sim, expected.sim)
    assert again.notes == ()
    assert {file.stat().st_size > 1000 for file in cache.iterdir()} == {True}


def test_other_scaling_does_not_get_the_images_of_this_one(photos: Path, tmp_path: Path) -> None:
    sim, real = (sorted((photos / side).iterdir()) for side in ("sim", "real"))
    for size in ((32, 32), (16, 16)):
        augment = Augment(size, fit="resize")
        cached = UnpairedImages(sim, real, augment, batch_size=1, seed=0, cache=tmp_path / "cache")
        uncached = UnpairedImages(sim, real, augment, batch_size=1, seed=0)
        assert torch.equal(batch_of(cached, 0).sim, batch_of(uncached, 0).sim)


def test_a_full_disk_ends_caching_with_one_note_and_not_the_training(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, room = tmp_path / "cache", iter([10**12] * 3)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=next(room, 10**9)))
    batches = list(build_loader(unpaired(photos, cache=cache), range(9), 0, "cpu", 0))
    notes = [note for batch in batches if isinstance(batch, RawBatch) for note in batch.notes]
    assert notes == [f"data.cache: no more images are cached: {cache}: less than 2 GiB would be left on the disk"]
    assert len(list(cache.iterdir())) == 3
    assert len(batches) == 9


def test_a_folder_that_cannot_be_written_ends_caching_too(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder would be")
    batch = batch_of(unpaired(photos, cache=tmp_path / "cache"), 0)
    assert torch.equal(batch.sim, batch_of(unpaired(photos), 0).sim)
    assert len(batch.notes) == 1
    assert "no more images are cached" in batch.notes[0]


def test_a_cache_is_removed_whether_it_is_there_or_not(photos: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    batch_of(unpaired(photos, cache=cache), 0)
    assert len(list(cache.iterdir())) == 4
    remove_cache(cache)
    assert not cache.exists()
    remove_cache(cache)


# ------------------------------------------------------------------------------------------------------ the loader


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("cached", [True, False])
def test_batches_come_in_order_whoever_decodes_them(photos: Path, tmp_path: Path, workers: int, cached: bool) -> None:
    images = unpaired(photos, cache=tmp_path / "cache" if cached else None)
    before = torch.get_rng_state()
    batches = list(build_loader(images, range(3, 12), workers, "cpu", 5))
    assert torch.equal(torch.get_rng_state(), before)
    for step, batch in zip(range(3, 12), batches, strict=True):
        expected = batch_of(unpaired(photos), step)
        assert isinstance(batch, RawBatch)
        assert torch.equal(batch.sim, expected.sim)
        assert torch.equal(batch.real, expected.real)


@pytest.mark.timeout(60)
def test_workers_begin_where_opencv_has_threads_already(photos: Path) -> None:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        cv2.GaussianBlur(np.zeros((2000, 3000, 3), np.uint8), (0, 0), 3)  # this begins them,
        time.sleep(0.5)  # and now they sleep
        assert len(list(build_loader(unpaired(photos), range(2), 1, "cpu", 0))) == 2
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(threads)


@pytest.mark.parametrize("workers", [0, 2])
def test_what_changes_is_told_once(tmp_path: Path, paint: Paint, workers: int) -> None:
    paint(tmp_path / "sim", 2), paint(tmp_path / "real", 3)
    images = unpaired(tmp_path, batch_size=1)
    for name in ("0000.png", "0001.png"):
        os.utime(tmp_path / "sim" / name, ns=(0, 0))
    batches = list(build_loader(images, range(12), workers, "cpu", 0))
    told = [path for batch in batches if isinstance(batch, RawBatch) for path in batch.notes]
    assert sorted(told) == [f"changed since the training started: {tmp_path}/sim/{n:04}.png" for n in range(2)]


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_comes_after_an_error(tmp_path: Path, paint: Paint, workers: int) -> None:
    paint(tmp_path / "sim", 2), paint(tmp_path / "real", 1)
    damage(tmp_path / "real", 0)
    batches = list(build_loader(unpaired(tmp_path), range(9), workers, "cpu", 0))
    assert [type(batch) for batch in batches] == [DatasetError]


class Signalled(UnpairedImages):
    """Images whose process gets the signals that ask a training to stop."""

    def __getitem__(self, step: int) -> RawBatch | DatasetError:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            os.kill(os.getpid(), number)
        return super().__getitem__(step)


def test_signals_to_the_whole_process_group_leave_the_workers_at_work(photos: Path) -> None:
    sim, real = (domain_of(photos / side) for side in ("sim", "real"))
    images = Signalled(sim, real, Augment((32, 32)), batch_size=1, seed=0)
    assert len(list(islice(build_loader(images, range(9), 1, "cpu", 0), 5))) == 5


class Deadly(UnpairedImages):
    """Images of which the third ends its process, as the system does when memory is short."""

    def __getitem__(self, step: int) -> RawBatch | DatasetError:
        if step == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(step)


def test_the_death_of_a_worker_is_told_in_a_line(photos: Path) -> None:
    sim, real = (domain_of(photos / side) for side in ("sim", "real"))
    loader = build_loader(Deadly(sim, real, Augment((32, 32)), batch_size=1, seed=0), range(9), 1, "cpu", 0)
    with pytest.raises(Sim2RealError, match=r"decodes images was killed; .*lower data\.workers"), worker_errors():
        list(loader)


def test_other_errors_are_not_taken_for_a_worker_s_death() -> None:
    with pytest.raises(RuntimeError, match="no worker"), worker_errors():
        raise RuntimeError("no worker")


# ------------------------------------------------------------------------------------------------ what is held out


def names(frames: Sequence[Frame]) -> set[str]:
    return {frame.path.name for frame in frames}


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


def folders_of(frames: Sequence[Frame]) -> set[str]:
    return {name.split("_")[0] for name in names(frames)}


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
    with pytest.raises(DatasetError, match=re.escape("no real images match the globs ['*.jpg'] []")):
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


# ------------------------------------------------------------------------------------------------- several places


@pytest.fixture
def places(tmp_path: Path, paint: Paint) -> list[Path]:
    """Two folders of 6 and 9 images that have the same names."""
    return [paint(tmp_path / "a", 6, seed=3), paint(tmp_path / "b", 9, seed=4)]


def test_images_of_all_places_count_alike(configure: Configure, photos: Path, places: list[Path]) -> None:
    _, domain = open_domains(configure("data.validation=0", real=places))
    assert sorted(frame.path for frame in domain.train) == sorted(path for place in places for path in place.iterdir())
    images = UnpairedImages(domain_of(photos / "sim"), domain, Augment((8, 8)), batch_size=1, seed=0)
    extracted = Counter(images.path(1, position).parent for position in range(30))
    assert extracted == {places[0]: 12, places[1]: 18}


@pytest.mark.parametrize(("validation", "count"), [("0.2", 3), ("0.5", 8), ("4", 4)])
def test_what_is_held_out_is_drawn_from_all_places_together(
    configure: Configure, places: list[Path], validation: str, count: int
) -> None:
    _, domain = open_domains(configure(f"data.validation={validation}", real=places))
    assert len(domain.held_out) == count
    assert {frame.path for frame in domain.train}.isdisjoint(frame.path for frame in domain.held_out)
    assert len(domain.train) + len(domain.held_out) == 15


def test_test_parts_stay_held_out_whatever_other_places_have(
    configure: Configure, places: list[Path], two_sided: Path
) -> None:
    _, domain = open_domains(configure("data.validation=3", real=[two_sided, places[0]]))
    held_out = Counter(frame.path.parent for frame in domain.held_out)
    assert held_out == {two_sided / "testB": 3, places[0]: 3}


def test_the_fingerprint_knows_which_place_an_image_is_from(
    configure: Configure, places: list[Path], tmp_path: Path
) -> None:
    def fingerprint(real: Path | list[Path]) -> str:
        return open_domains(configure("data.validation=0", real=real))[1].fingerprint

    both = fingerprint(places)
    assert len({both, fingerprint(places[::-1]), fingerprint(places[0]), fingerprint(places[1])}) == 4
    assert fingerprint(places[:1]) == fingerprint(places[0])
    moved = [place.rename(tmp_path / f"moved {place.name}") for place in places]
    assert fingerprint(moved) == both


def test_a_place_where_nothing_fits_the_globs_is_named(configure: Configure, places: list[Path]) -> None:
    (places[1] / "0000.png").rename(places[1] / "only here.png")
    with pytest.raises(DatasetError, match=r"/a: no real images match the globs \['only\*'\]"):
        open_domains(configure('data.real_include=["only*"]', real=places))
