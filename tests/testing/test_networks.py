"""Every network that ships keeps the contract, and what does not keep it is told why."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sim2real import Sim2RealError
from sim2real.registry import registry
from sim2real.testing import check_discriminator, check_generator
from tests.testing.shipped import shipped

SMALL: dict[str, dict[str, Any]] = {
    "encoder-decoder": {"width": 4},
    "resnet": {"width": 4, "blocks": 1},
    "unet": {"width": 4, "stages": 3},
    "frames": {"folder": "", "frames": {}},
    "reinhard": {},
    "histogram": {},
    "pixel-distribution": {},
    "fda": {},
    "augment": {},
}


@pytest.mark.parametrize("name", [name for name in shipped("generators") if name != "onnx"])  # which needs a file
def test_every_generator_that_ships_keeps_the_contract(name: str) -> None:
    check_generator(registry().load("generators", name), **SMALL.get(name, {}))


@pytest.mark.parametrize("name", shipped("discriminators"))
def test_every_discriminator_that_ships_keeps_the_contract(name: str) -> None:
    check_discriminator(registry().load("discriminators", name), width=4)


class Regularization(nn.Module):
    """Fits; the faulty ones below are like it but for one thing."""

    def __init__(self, in_channels: int, image_size: tuple[int, int], *, width: int = 2) -> None:
        super().__init__()
        if min(image_size) < 4:
            raise Sim2RealError("too small")
        self.score = nn.Conv2d(in_channels, width, 4)

    def forward(self, images: Tensor) -> Any:
        return self.score(images)


class Unrefusing(Regularization):
    def __init__(self, in_channels: int, image_size: tuple[int, int]) -> None:
        super().__init__(in_channels, (max(9, *image_size), 9))


class Failing(Regularization):
    def __init__(self, in_channels: int, image_size: tuple[int, int]) -> None:
        assert min(image_size) >= 8
        super().__init__(in_channels, image_size)


class Detached(Regularization):
    def forward(self, images: Tensor) -> Any:
        return self.score(images.detach())


class Deaf(Regularization):
    def forward(self, images: Tensor) -> Any:
        return self.score(images), (images.sum() * 0).expand(len(images))


class Averaging(Regularization):
    def forward(self, images: Tensor) -> Any:
        return self.score(images).mean()


class Weighted(Regularization):
    score_weights = (1.0, 0.5)


class Moody(Regularization):
    def forward(self, images: Tensor) -> Any:
        return self.score(images) + torch.rand(())


class Blind(Regularization):
    inputs = ("depht",)


class Labelled(Regularization):
    inputs = ("segmentation", "flow")

    def forward(self, images: Tensor, inputs: Mapping[str, Tensor] | None = None) -> Any:
        assert inputs is not None
        assert inputs["segmentation"].dtype == torch.int64
        return self.score(images) * (
            1 + inputs["flow"][:, 2:, 3:, 3:].mean() + inputs["segmentation"].ge(0).float().mean()
        )


class Watching(Regularization):
    clip_length = 2

    def forward(self, images: Tensor) -> Any:
        assert images.shape[1] == 2
        return self.score(images.flatten(0, 1)).unflatten(0, images.shape[:2])


@pytest.mark.parametrize("fits", [Regularization, Labelled, Watching])
def test_a_discriminator_that_fits(fits: type[nn.Module]) -> None:
    check_discriminator(fits)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Unrefusing, r"^Unrefusing: accepts an image_size of \(1, 1\) and fails .* refuse it in the constructor"),
        (Failing, r"^Failing: image_size \(1, 1\): AssertionError: .*; raise a Sim2RealError"),
        (Detached, "no gradient of its scores 0 reaches the images"),
        (Deaf, "no gradient of its scores 1 reaches the images"),
        (Averaging, r"scores \(\) for 2 images"),
        (Weighted, "score_weights has 2 weights for 1 tensors"),
        (Moody, "differ from call to call"),
        (Blind, "inputs names 'depht'; it must be a tuple of segmentation, "),
        (lambda *_: object(), "returns a object, not a torch.nn.Module"),
    ],
)
def test_a_discriminator_that_does_not_fit(target: Callable[..., nn.Module], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_discriminator(target)


class Painter(nn.Module):
    """Fits; the faulty ones below are like it but for one thing."""

    stride = 2

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.paint = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 2, stride=2), nn.Upsample(scale_factor=2), nn.Tanh()
        )

    def forward(self, images: Tensor) -> Tensor:
        assert images.shape[-1] % 2 == images.shape[-2] % 2 == 0
        return torch.as_tensor(self.paint(images))


class Loud(Painter):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * 3


class Shrinking(Painter):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images)[..., 1:]


class Stepless(Painter):
    stride = 0


class Ranging(Painter):
    value_range = (1.0, -1.0)


class Drawing(Painter):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * torch.rand(())


class Mixing(Painter):
    def forward(self, images: Tensor) -> Tensor:
        made = super().forward(images)
        return (made + made.mean(0)) / 2


class Dated(Painter):
    by_frame = True


class Undecided(Painter):
    clip_length = 2
    context = 1


class Untaught(Painter):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).detach().requires_grad_()


class Forgetful(Painter):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.tint = float(torch.rand(()))

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * self.tint


class Seeded(Painter):
    stochastic = True

    def forward(self, images: Tensor, seeds: NDArray[np.uint64] | None = None) -> Tensor:
        assert seeds is not None
        drawn = [np.random.default_rng(seed).random() for seed in seeds]
        return super().forward(images) * torch.tensor(drawn, dtype=torch.float32)[:, None, None, None]


class Guided(Painter):
    inputs = ("depth", "boxes")

    def forward(self, images: Tensor, inputs: Mapping[str, Tensor] | None = None) -> Tensor:
        assert inputs is not None
        return super().forward(images) * torch.where(inputs["boxes"][:, None] < 0, inputs["depth"] / 40, 1)


class Filming(Painter):
    clip_length = 3

    def forward(self, images: Tensor) -> Tensor:
        assert images.shape[1] == 3
        return super().forward(images.flatten(0, 1)).reshape(images.shape)


class Remembering(Painter):
    context = 2

    def forward(self, images: Tensor, inputs: Mapping[str, Tensor] | None = None) -> Tensor:
        assert inputs is not None
        past = inputs["past_outputs"]
        assert past.shape[2:] == images.shape[1:]
        made = super().forward(images)
        return (made + past.mean(1)) / 2 if past.shape[1] else made


@pytest.mark.parametrize("fits", [Painter, Seeded, Guided, Filming, Remembering])
def test_a_generator_that_fits(fits: type[nn.Module]) -> None:
    check_generator(fits)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Loud, r"^Loud: makes values outside its value_range, -1 to 1$"),
        (Shrinking, r"returns \(2, 3, 64, 95\) for images \(2, 3, 64, 96\)"),
        (Stepless, "stride = 0 is not an integer of at least 1"),
        (Ranging, "value_range = .* is not a pair of a lower and a higher number"),
        (Drawing, "differs from call to call; declare stochastic = True if it samples"),
        (Mixing, "depends on the others in the batch"),
        (Dated, "'Dated' has the attribute 'by_frame', which was removed"),
        (Undecided, "has both a clip_length and a context"),
        (Untaught, "no gradient of its images reaches its weights"),
        (Forgetful, "another instance with the same state_dict makes other images"),
    ],
)
def test_a_generator_that_does_not_fit(target: Callable[..., nn.Module], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_generator(target)
