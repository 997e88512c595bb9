import torch
from torch import Tensor

from sim2real.methods.pool import ImagePool


def image(number: int) -> Tensor:
    return torch.full((1, 3, 2, 2), float(number))


def number_of(images: Tensor) -> int:
    assert images.shape == (1, 3, 2, 2)
    return int(images[0, 0, 0, 0])


def test_without_a_pool_the_newest_fakes_come_back() -> None:
    pool = ImagePool(0, seed=0)
    assert [number_of(pool(image(number))[0]) for number in range(9)] == list(range(9))


def test_until_it_is_full_a_pool_gives_back_what_it_takes() -> None:
    pool = ImagePool(5, seed=0)
    assert [number_of(pool(image(number))[0]) for number in range(5)] == list(range(5))
    assert sorted(int(stored[0, 0, 0]) for stored in pool.images) == list(range(5))


def test_a_full_pool_swaps_half_of_the_images_and_loses_none() -> None:
    pool = ImagePool(20, seed=0)
    out = [number_of(pool(image(number))[0]) for number in range(820)]
    kept = [int(stored[0, 0, 0]) for stored in pool.images]
    assert sorted(out[20:] + kept) == list(range(820))
    swapped = [number for number, returned in enumerate(out) if number != returned]
    assert 340 < len(swapped) < 460


def test_every_place_of_the_pool_is_exchanged() -> None:
    pool = ImagePool(10, seed=3)
    for number in range(300):
        pool(image(number))
    assert min(int(stored[0, 0, 0]) for stored in pool.images) >= 10


def test_a_batch_is_exchanged_image_by_image() -> None:
    pool = ImagePool(4, seed=0)
    pool(torch.cat([image(number) for number in range(4)]))
    outs, _ = pool(torch.cat([image(number) for number in range(4, 12)]))
    swapped = [int(out[0, 0, 0]) != number for number, out in enumerate(outs, 4)]
    assert any(swapped)
    assert not all(swapped)


def test_later_changes_of_a_fake_do_not_reach_the_pool() -> None:
    pool, fake = ImagePool(1, seed=0), image(7)
    pool(fake)
    fake.zero_()
    assert int(pool.images[0][0, 0, 0]) == 7


def test_a_restored_pool_goes_on_as_the_first_would_have() -> None:
    first, second = ImagePool(5, seed=1), ImagePool(5, seed=2)
    for number in range(30):
        first(image(number))
    state = first.state_dict()
    second.load_state_dict({**state, "images": [stored.clone() for stored in state["images"]]})
    later = range(30, 90)
    assert [number_of(first(image(n))[0]) for n in later] == [number_of(second(image(n))[0]) for n in later]


def test_labels_stay_with_their_images() -> None:
    pool = ImagePool(5, seed=0)
    swapped = 0
    for number in range(60):
        out, labels = pool(image(number), {"depth": torch.full((1, 1, 2, 2), number)})
        assert labels["depth"].tolist() == [[[[number_of(out)] * 2] * 2]]
        swapped += number_of(out) != number
    assert swapped > 10


def test_a_stored_image_keeps_no_labels_but_its_own() -> None:
    """A view would keep those of its whole batch, in memory and in checkpoints."""
    pool = ImagePool(2, seed=0)
    for _ in range(9):
        pool(torch.zeros(8, 3, 2, 2), {"depth": torch.zeros(8, 1, 2, 2)})
    assert [labels["depth"].untyped_storage().nbytes() for labels in pool.labels] == [16, 16]
