from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from sim2real.errors import SettingsError
from sim2real.methods.diffaugment import DiffAugment

NAMES = ["color", "translation", "cutout"]
ALWAYS, NEVER = torch.tensor(1.0), torch.tensor(0.0)


def pictures(count: int, height: int = 16, width: int = 24) -> Tensor:
    """Pixels of which no two are alike and none is 0."""
    values = torch.linspace(0.1, 0.9, count * 3 * height * width)
    return values[torch.randperm(len(values))].view(count, 3, height, width)


def augmented(name: str, images: Tensor, seed: int = 0) -> Tensor:
    return DiffAugment([name], seed=seed)(images, ALWAYS)


@settings(max_examples=20, deadline=None)
@given(names=st.permutations(NAMES), count=st.integers(1, 4), height=st.integers(1, 20), width=st.integers(1, 20))
def test_images_of_any_size_keep_their_shape(names: list[str], count: int, height: int, width: int) -> None:
    images = torch.rand(count, 3, height, width)
    result = DiffAugment(names, seed=0)(images, ALWAYS)
    assert result.shape == images.shape
    assert result.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_each_image_is_changed_with_the_probability(name: str) -> None:
    images = pictures(200, 8, 8)

    def changed(probability: Tensor) -> int:
        result = DiffAugment([name], seed=1)(images, probability)
        return int((result != images).flatten(1).any(1).sum())

    assert changed(NEVER) == 0
    assert changed(ALWAYS) > 170  # a translation by nothing is one too
    assert 65 < changed(torch.tensor(0.5)) < 125


def test_without_names_nothing_is_done_and_nothing_drawn() -> None:
    augment, images = DiffAugment([], seed=0), pictures(2)
    before = augment.random.get_state()
    assert augment(images, ALWAYS) is images
    assert torch.equal(augment.random.get_state(), before)


def test_a_translation_moves_whole_images_by_an_eighth_at_most_and_leaves_grey() -> None:
    images, moves = pictures(100), set()
    for image, moved in zip(images, augmented("translation", images), strict=True):
        kept = moved != 0
        row, column = map(int, kept[0].nonzero()[0])
        source = (image == moved[:, row, column, None, None]).all(0).nonzero()
        down, right = row - int(source[0, 0]), column - int(source[0, 1])
        expected = torch.zeros_like(image)
        rows, columns = 16 - abs(down), 24 - abs(right)
        expected[:, max(down, 0) :, max(right, 0) :][:, :rows, :columns] = image[:, max(-down, 0) :, max(-right, 0) :][
            :, :rows, :columns
        ]
        assert torch.equal(moved, expected)
        moves.add((down, right))
    assert {down for down, _ in moves} == {-2, -1, 0, 1, 2}
    assert {right for _, right in moves} == {-3, -2, -1, 0, 1, 2, 3}


def test_a_cutout_greys_a_rectangle_of_half_the_sides_and_nothing_else() -> None:
    images, heights = pictures(60), set()
    for image, cut in zip(images, augmented("cutout", images), strict=True):
        hidden = cut == 0
        assert torch.equal(cut[~hidden], image[~hidden])
        rows, columns = hidden[0].any(1), hidden[0].any(0)
        assert torch.equal(hidden, (rows[:, None] & columns).expand(3, -1, -1))
        for inside in (rows, columns):
            assert 0 < inside.sum() <= len(inside) // 2
            places = inside.nonzero()
            assert places[-1] - places[0] + 1 == inside.sum()  # in one piece
        heights.add(int(rows.sum()))
    assert max(heights) == 8
    assert min(heights) < 8  # at an edge


def test_a_cutout_of_an_odd_side_reaches_over_both_edges_alike() -> None:
    images = pictures(300, 6, 6)  # a side of 3
    rows = (augmented("cutout", images) == 0).any(3).any(1).float()
    first, last = int(rows[:, 0].sum()), int(rows[:, -1].sum())
    assert set(rows.sum(1).tolist()) == {2.0, 3.0}  # its middle is in the picture
    assert first == pytest.approx(last, rel=0.3)


def test_colours_change_by_an_affine_map_of_each_image() -> None:
    images = pictures(300, 4, 4)
    before, after = (
        colours.double().permute(0, 2, 3, 1).flatten(1, 2) for colours in (images, augmented("color", images))
    )
    given = torch.cat([before, torch.ones_like(before[..., :1])], 2)
    fitted = given @ torch.linalg.lstsq(given, after).solution
    torch.testing.assert_close(fitted, after, atol=1e-5, rtol=0)
    shift = (after - before).mean((1, 2))
    assert shift.abs().max() <= 0.5 + 1e-6
    assert shift.min() < -0.45
    assert shift.max() > 0.45
    contrast = after.mean(2).std(1) / before.mean(2).std(1)
    assert 0.5 <= contrast.min() < 0.55
    assert 1.45 < contrast.max() <= 1.5


@pytest.mark.parametrize("name", ["translation", "cutout"])
def test_gradients_reach_the_pixels_that_are_seen(name: str) -> None:
    images = pictures(8).requires_grad_()
    seen = augmented(name, images)
    (gradient,) = torch.autograd.grad(seen.sum(), images)
    assert set(gradient.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(gradient.sum(), (seen != 0).float().sum())


def test_gradients_pass_changed_colours() -> None:
    images = pictures(1, 3, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augmented("color", x), images)


def test_the_seed_decides_and_a_restored_one_goes_on_as_the_first_would_have() -> None:
    images = pictures(4)
    first, same, other = DiffAugment(NAMES, seed=1), DiffAugment(NAMES, seed=1), DiffAugment(NAMES, seed=2)
    result = first(images, ALWAYS)
    assert torch.equal(result, same(images, ALWAYS))
    assert not torch.equal(result, other(images, ALWAYS))
    other.load_state_dict(first.state_dict())
    assert torch.equal(first(images, ALWAYS), other(images, ALWAYS))


class Copies(TorchDispatchMode):
    """Watches copies to another device, and whether the program waits for each."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's is not typed
        self.waited: list[bool] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._to_copy.default and "device" in kwargs:
            self.waited.append(not kwargs.get("non_blocking", False))
        return func(*args, **kwargs)


def test_nobody_waits_for_the_device_of_the_images() -> None:
    images = torch.empty(2, 3, 8, 8, device="meta")
    with Copies() as copies:
        DiffAugment(NAMES, seed=0)(images, torch.ones((), device="meta"))
    assert copies.waited == [False]


def test_an_unknown_augmentation_is_refused() -> None:
    with pytest.raises(
        SettingsError, match=r"discriminator\.regularization\.augment = 'blur' is not one of color, translation, cutout"
    ):
        DiffAugment(["blur"], seed=0)
