"""Laws of bilateral grids: what they may do to pictures, and what they cannot."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from benchmarks.validation import Change, blobs, mirror, shift, trees
from sim2real.engines.guided import guided
from sim2real.metrics.edges import edge_changes
from sim2real.networks import bilateral
from sim2real.networks.bilateral import (
    LEVELS,
    cells_of,
    fit_grid,
    guided_images,
    identity_grid,
    inversion,
    luma,
    slice_grid,
    slice_pictures,
)
from sim2real_toytown import render_frame

Image = NDArray[np.uint8]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def town() -> list[Image]:
    return [render_frame(time, size=(416, 128), forward=False, backward=False).rgb for time in (0, 40)]


@pytest.fixture(scope="module")
def real() -> list[Image]:
    times = (0, 40)
    return [render_frame(time, look="real", size=(416, 128), forward=False, backward=False).rgb for time in times]


def as_values(image: Image) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].double() / 255


def random_grid(height: int, width: int, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    change = 0.2 * torch.randn(1, 12, LEVELS, height, width, generator=random, dtype=torch.float64)
    return identity_grid(1, height, width, like=change) + change


@pytest.mark.parametrize("size", [(1, 1), (7, 40), (70, 33), (200, 90)])
@pytest.mark.parametrize("cells", [(1, 1), (3, 5)])
def test_a_grid_is_looked_up_as_three_dimensional_interpolation_does(
    size: tuple[int, int], cells: tuple[int, int]
) -> None:
    height, width = size
    images = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    grid, guide = random_grid(*cells), luma(images)
    rows, columns = ((2 * torch.arange(side, dtype=torch.float64) + 1) / side - 1 for side in size)
    places = torch.stack(
        [columns.expand(height, -1), rows[:, None].expand(-1, width), (2 * guide[0] * (LEVELS - 1) + 1) / LEVELS - 1],
        -1,
    )
    found = functional.grid_sample(grid, places[None, None], padding_mode="border", align_corners=False)[:, :, 0]
    transforms = found.unflatten(1, (3, 4))
    expected = (transforms[:, :, :3] * images[:, None]).sum(2) + transforms[:, :, 3]
    with torch.no_grad():
        in_strips = slice_grid(grid, guide, images)
    assert torch.allclose(in_strips, expected, atol=1e-9)
    assert torch.allclose(slice_grid(grid, guide, images), expected, atol=1e-9)


@settings(max_examples=25)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**16))
def test_what_was_not_changed_stays_as_it_is(height: int, width: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    assert np.array_equal(guided(image, image, image, CPU), image)


@pytest.mark.parametrize("value", [0, 255])
def test_frames_of_one_colour_at_night_and_overexposed_are_as_good_as_any(value: int) -> None:
    before = np.full((1, 60, 80, 3), value, np.uint8)
    after = guided(before, before, np.full_like(before, 90), CPU)
    assert np.ptp(after) <= 1
    assert np.array_equal(guided(before, before, before, CPU), before)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (64, 7680), (4320, 32)])
def test_frames_of_any_size(size: tuple[int, int]) -> None:
    before = np.random.default_rng(0).integers(0, 256, (1, *size, 3), dtype=np.uint8)
    small = cv2.resize(before[0], (min(size[1], 64), min(size[0], 64)), interpolation=cv2.INTER_AREA)
    small = small.reshape(1, min(size[0], 64), min(size[1], 64), 3)
    after = guided(before, small, 255 - small, CPU)
    assert after.shape == before.shape
    assert (before < 128).mean() == pytest.approx((after > 127).mean(), abs=0.25)


@pytest.mark.parametrize("teacher", [mirror, blobs, trees, shift(4)])
def test_a_teacher_that_moves_and_invents_things_makes_no_edge(teacher: Change, town: list[Image]) -> None:
    for before in town:
        wrong = teacher(before)
        assert edge_changes(before, wrong).new > 0.1
        after = guided(before[None], before[None], wrong[None], CPU)[0]
        changes = edge_changes(before, after)
        assert changes.new < 0.005
        assert changes.lost < 0.1


@pytest.mark.parametrize("stride", [2, 4, 8])
def test_patterns_of_a_teacher_do_not_come_through(stride: int, town: list[Image]) -> None:
    rows, columns = np.indices(town[0].shape[:2])
    board = np.where((rows // stride + columns // stride) % 2, 20, -20)[..., None]
    painted = np.clip(town[0].astype(int) // 2 + 60 + board, 0, 255).astype(np.uint8)
    clean = np.clip(town[0].astype(int) // 2 + 60, 0, 255).astype(np.uint8)
    after = guided(town[0][None], town[0][None], painted[None], CPU)[0].astype(int)
    assert np.abs(after - clean).mean() < 3
    along = np.abs(after - clean - np.roll(after - clean, stride, axis=1)).mean()
    assert along < 1.5


def test_a_shift_of_the_teacher_by_a_pixel_changes_almost_nothing(town: list[Image], real: list[Image]) -> None:
    before, teacher = town[0][None], real[0][None]
    one, other = (guided(before, before, each, CPU).astype(int) for each in (teacher, np.roll(teacher, 1, axis=2)))
    assert np.abs(one - other).mean() < 2


@settings(max_examples=20)
@given(st.integers(0, 2**16))
def test_a_single_colour_changes_no_faster_than_the_grid_does(seed: int) -> None:
    grid = random_grid(4, 6, seed)
    colour = torch.rand(3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    images = colour[None, :, None, None].expand(1, 3, 64, 96)
    after = slice_grid(grid, luma(images), images)
    of_cells = grid.unflatten(1, (3, 4))
    colours = (of_cells[:, :, :3] * colour[None, None, :, None, None, None]).sum(2) + of_cells[:, :, 3]
    for axis in (2, 3):
        steepest = colours.diff(dim=axis + 1).abs().max() / 16  # pixels in a cell
        assert after.diff(dim=axis).abs().max() <= steepest + 1e-9


def test_the_fit_in_cells_is_near_the_one_of_all_cells_together(town: list[Image], real: list[Image]) -> None:
    for before, teacher in zip(town, real, strict=True):
        source, target = (functional.interpolate(as_values(each), (64, 208), mode="area") for each in (before, teacher))
        local = slice_grid(fit_grid(source, target), luma(source), source).clamp(0, 1)
        whole = slice_grid(_global_fit(source, target), luma(source), source).clamp(0, 1)
        assert -10 * (local - whole).square().mean().log10() > 30


def _global_fit(source: Tensor, target: Tensor) -> Tensor:
    """One least-squares problem for all cells, with first differences of the transforms as smoothness."""
    height, width = source.shape[2:]
    rows, columns = cells_of(height, width)
    known = torch.cat([source, torch.ones_like(source[:, :1])], 1)[0].flatten(1).T
    level = luma(source)[0].flatten() * (LEVELS - 1)
    down, across = (bilateral._weights(*each, source) for each in ((height, rows), (width, columns)))
    shares = (1 - (level[:, None] - torch.arange(LEVELS)).abs()).relu()
    of_place = (down[:, None, :, None] * across[None, :, None, :]).reshape(height * width, rows * columns)
    of_cell = (shares[:, :, None] * of_place[:, None]).flatten(1)
    design = (of_cell[:, :, None] * known[:, None]).flatten(1)
    size = design.shape[1]
    weight = 0.1 * height * width / (LEVELS * rows * columns)
    numbers = torch.arange(size // 4).reshape(LEVELS, rows, columns)
    normal = design.T @ design + 0.01 * weight * torch.eye(size, dtype=torch.float64)
    unchanged = torch.eye(4, 3, dtype=torch.float64).repeat(size // 4, 1)
    wanted = design.T @ target[0].flatten(1).T + 0.01 * weight * unchanged
    for axis, smoothness in ((0, 0.3), (1, 1.0), (2, 1.0)):
        first = numbers.narrow(axis, 0, numbers.shape[axis] - 1).flatten()
        second = numbers.narrow(axis, 1, numbers.shape[axis] - 1).flatten()
        for one, other in zip(first.tolist(), second.tolist(), strict=True):
            for channel in range(4):
                i, j = 4 * one + channel, 4 * other + channel
                normal[i, i] += smoothness * weight
                normal[j, j] += smoothness * weight
                normal[i, j] -= smoothness * weight
                normal[j, i] -= smoothness * weight
    found = torch.linalg.solve(normal, wanted).reshape(LEVELS, rows, columns, 4, 3)
    return bilateral._as_grid(found[None])


def test_a_batch_gives_what_single_pictures_give(town: list[Image], real: list[Image]) -> None:
    before, teacher = np.stack(town), np.stack(real)
    together = guided(before, before, teacher, CPU).astype(int)
    alone = [
        guided(*each, CPU)[0].astype(int)
        for each in zip(before[:, None], before[:, None], teacher[:, None], strict=True)
    ]
    assert np.abs(together - np.stack(alone)).max() <= 1


def test_the_number_of_threads_changes_nothing_but_rounding(town: list[Image]) -> None:
    grid, pictures = random_grid(8, 26).float(), torch.from_numpy(town[0][None])
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            found.append(slice_pictures(grid, pictures).int())
    finally:
        torch.set_num_threads(threads)
    assert (found[0] - found[1]).abs().max() <= 1


def test_pictures_in_bytes_are_changed_as_images_in_numbers_are(town: list[Image]) -> None:
    grid, values = random_grid(8, 26), as_values(town[0])
    expected = slice_grid(grid, luma(values), values).mul(255).round().clamp(0, 255)[0].permute(1, 2, 0)
    assert torch.equal(slice_pictures(grid, torch.from_numpy(town[0][None]))[0].double(), expected)


def test_gradients_reach_both_pictures() -> None:
    random = torch.Generator().manual_seed(3)
    images, made = (
        (torch.rand(1, 3, 12, 16, generator=random, dtype=torch.float64) * 1.2 - 0.6).requires_grad_() for _ in range(2)
    )
    guided_images(images, made).square().sum().backward()
    for each in (images, made):
        assert each.grad is not None
        assert each.grad.abs().sum() > 0


def test_what_turns_the_order_of_greys_round_is_told() -> None:
    grid = identity_grid(1, 2, 3, like=torch.zeros(()))
    assert inversion(grid) == 0
    assert inversion(grid * 0.3 + 0.1 * (torch.arange(12) % 4 == 3)[:, None, None, None]) == 0  # darker, and a haze
    darker = grid.clone()
    darker[:, :, -1] *= 0.5  # of white 0.5 becomes, of the grey below 6 / 7
    assert float(inversion(darker)) == pytest.approx((6 / 7 - 0.5) / 7, abs=1e-5)
