from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from sim2real.errors import SettingsError, Sim2RealError
from sim2real.metrics.edges import edge_changes
from sim2real.networks.classes import ClassDistribution
from sim2real.networks.colour import PixelDistribution, as_pictures
from sim2real.testing import check_generator
from tests.networks.making import batch, seeds

Image = NDArray[np.uint8]
Ids = NDArray[np.int64]
ROAD, GRASS = 0, 1
WHOLE = (1.0, 1.0)


def field(road: tuple[int, int, int], grass: tuple[int, int, int], seed: int = 0, side: int = 64) -> tuple[Image, Ids]:
    """A road beside grass, each of one colour and a little noise, and which is which."""
    mask = np.full((side, side), ROAD, np.int64)
    mask[:, side // 2 :] = GRASS
    noise = np.random.default_rng(seed).normal(0, 4, (side, side, 3))
    return (np.array([road, grass])[mask] + noise).clip(0, 255).astype(np.uint8), mask


def inputs(*masks: Ids) -> dict[str, Tensor]:
    return {"segmentation": torch.from_numpy(np.stack(masks))}


SIM = field((60, 60, 60), (40, 200, 40))
REAL = [field((150, 140, 150), (90, 120, 70), seed) for seed in range(1, 4)]


def fitted(blend: tuple[float, float] = WHOLE) -> ClassDistribution:
    generator = ClassDistribution(3, 3, blend=blend, references=3)
    generator.observe(batch(SIM[0]), batch(*(image for image, _ in REAL)))
    masks = iter(mask for _, mask in REAL)
    generator.label(lambda _image: torch.from_numpy(next(masks))[None])
    return generator


def test_each_class_gets_the_colours_that_it_has_in_real_images() -> None:
    translated = as_pictures(fitted()(batch(SIM[0]), inputs(SIM[1]), seeds(1)))[0].astype(float)
    assert np.allclose(translated[:, 4:24].mean((0, 1)), (150, 140, 150), atol=4)
    assert np.allclose(translated[:, 40:60].mean((0, 1)), (90, 120, 70), atol=4)


def test_one_map_for_all_colours_could_not() -> None:
    sim = field((60, 60, 60), (60, 60, 60))[0]  # equal colours of two classes, told apart by the mask alone
    plain = PixelDistribution(3, 3, blend=WHOLE, references=3)
    plain.observe(batch(sim), batch(*(image for image, _ in REAL)))
    by_class, by_picture = (
        as_pictures(made)[0].astype(float)
        for made in (fitted()(batch(sim), inputs(SIM[1]), seeds(1)), plain(batch(sim), seeds(1)))
    )
    wanted = np.array([(150, 140, 150), (90, 120, 70)])
    for translated, least, most in ((by_class, 0, 8), (by_picture, 15, 99)):
        found = np.stack([translated[:, 4:24].mean((0, 1)), translated[:, 40:60].mean((0, 1))])
        assert least <= np.abs(found - wanted).max() <= most


def test_borders_are_soft_and_no_edge_is_new() -> None:
    random = np.random.default_rng(5)
    plain = cv2.resize(random.uniform(90, 130, (6, 8, 3)).astype(np.float32), (128, 96), interpolation=cv2.INTER_CUBIC)
    image = plain.clip(0, 255).astype(np.uint8)
    mask = np.full((96, 128), ROAD, np.int64)
    mask[30:70, 40:90] = GRASS  # a mask where the picture shows nothing
    made = as_pictures(fitted()(batch(image), inputs(mask), seeds(1)))[0]
    assert edge_changes(image, made).new < 0.1


@settings(deadline=None, max_examples=15)
@given(width=st.integers(1, 60), height=st.integers(1, 60), seed=st.integers(0, 2**64 - 1))
def test_what_becomes_of_a_picture_depends_on_it_its_mask_and_its_seed_alone(
    width: int, height: int, seed: int
) -> None:
    generator = fitted((0.0, 1.0))
    random = np.random.default_rng(width * 61 + height)
    one, other = random.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    masks = random.integers(-1, 3, (2, height, width))
    alone = generator(batch(one), inputs(masks[0]), seeds(seed))
    beside = generator(batch(other, one), inputs(masks[1], masks[0]), seeds(7, seed))[1:]
    assert alone.shape == (1, 3, height, width)
    assert torch.equal(alone, beside)


def test_frames_of_a_sequence_are_like_one_real_image() -> None:
    generator = fitted((0.0, 1.0))
    one, other = 5 << 32, 6 << 32
    made = as_pictures(generator(batch(*[SIM[0]] * 3), inputs(*[SIM[1]] * 3), seeds(one + 1, one + 2, other + 1)))
    assert np.array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


def test_without_classes_it_is_the_map_of_all_colours() -> None:
    image, _ = field((70, 80, 90), (120, 110, 90), seed=9)
    nothing = np.full((64, 64), -1, np.int64)
    plain = PixelDistribution(3, 3, blend=WHOLE, references=3)
    plain.observe(batch(image), batch(*(each for each, _ in REAL)))
    found, wanted = (
        as_pictures(made)[0].astype(int)
        for made in (fitted()(batch(image), inputs(nothing), seeds(1)), plain(batch(image), seeds(1)))
    )
    assert np.abs(found - wanted).max() <= 1


def test_a_picture_keeps_its_own_labels() -> None:
    generator = ClassDistribution(3, 3, references=2)
    image, mask = REAL[0]
    generator.observe(batch(image), batch(image), torch.from_numpy(mask)[None])
    generator.observe(batch(image), batch(image))
    asked: list[Tensor] = []

    def label(images: Tensor) -> Tensor:
        asked.append(images)
        return torch.zeros(1, 64, 64, dtype=torch.int64)

    generator.label(label)
    assert len(asked) == 1
    assert torch.equal(generator.labels[0].long(), torch.from_numpy(mask))
    assert not generator.labels[1].any()


def test_it_says_what_it_lacks() -> None:
    generator = ClassDistribution(3, 3)
    with pytest.raises(Sim2RealError, match="has seen no images"):
        generator(batch(SIM[0]), inputs(SIM[1]))
    generator.observe(batch(SIM[0]), batch(REAL[0][0]))
    with pytest.raises(Sim2RealError, match="does not know the classes"):
        generator(batch(SIM[0]), inputs(SIM[1]))


@pytest.mark.parametrize("options", [{"references": 0}, {"blend": (1, 0)}])
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(options))):
        ClassDistribution(3, 3, **options)


def test_all_of_it_is_in_its_state() -> None:
    generator, again = fitted(), ClassDistribution(3, 3, blend=WHOLE)
    again.load_state_dict(generator.state_dict())
    made = [each(batch(SIM[0]), inputs(SIM[1]), seeds(3)) for each in (generator, again)]
    assert torch.equal(*made)


def test_it_keeps_the_contract() -> None:
    check_generator(ClassDistribution)
