"""The baselines: two published CycleGANs in plain eager PyTorch, written from their papers and repositories.

float32, channels first, only ``torch.nn`` and ``torch.optim``, operations in the published order; nothing of sim2real.
Images are read and written by Pillow.
"""

import random
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

Losses = dict[str, Tensor]


def make_picture(size: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """Return an image (H, W, 3) of soft shapes with some noise, which compresses about as well as a photo in PNG."""
    noise = np.random.default_rng(seed)
    coarse = noise.integers(0, 256, (max(2, size[1] // 16), max(2, size[0] // 16), 3), np.uint8)
    soft = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), np.int16)
    return (soft + noise.integers(-3, 4, soft.shape)).clip(0, 255).astype(np.uint8)


def _judge(discriminators: nn.ModuleList, images: Tensor, target: float) -> Tensor:
    """Return the least-squares loss (Mao et al. 2017) of the scores against a target, summed over discriminators."""
    return torch.stack([(discriminator(images) - target).square().mean() for discriminator in discriminators]).sum()


def _train(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def _adam(rate: float, *networks: nn.Module) -> torch.optim.Adam:
    parameters = [parameter for network in networks for parameter in network.parameters()]
    return torch.optim.Adam(parameters, lr=rate, betas=(0.5, 0.999))


def _freeze(*networks: nn.Module, frozen: bool) -> None:
    for network in networks:
        network.requires_grad_(not frozen)


class Residual(nn.Module):
    """``x + layers(x)``."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map a tensor of any shape to one of the same shape."""
        residue: Tensor = self.layers(x)
        return x + residue


class HalfTanh(nn.Module):
    """``0.5 * tanh(x)``."""

    def forward(self, x: Tensor) -> Tensor:
        """Map a tensor of any shape to one of the same shape."""
        return 0.5 * torch.tanh(x)


# System A: towardsautonomy/CycleGAN_improved, 2020


def generator_a(width: int) -> nn.Sequential:
    """Return a generator for images in [-0.5, 0.5]: strided 4x4 convolutions, two residual blocks, transposed ones."""
    channels = [3, width, 2 * width, 4 * width, 4 * width]
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        conv = nn.Conv2d(before, after, 4, 2, 1, bias=False)
        layers += [conv, nn.InstanceNorm2d(after), nn.LeakyReLU(0.2)]
    deep = channels[-1]
    for _ in range(2):
        convs = [nn.Conv2d(deep, deep, 3, 1, 1, bias=False) for _ in range(2)]
        norms = [nn.InstanceNorm2d(deep) for _ in range(2)]
        layers.append(Residual(convs[0], norms[0], nn.LeakyReLU(0.2), convs[1], norms[1]))
    channels.reverse()
    for before, after in pairwise(channels[:-1]):
        up = nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)
        layers += [up, nn.InstanceNorm2d(after), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False), HalfTanh())


def _downsampling_a(channels: list[int]) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Conv2d(3, channels[0], 4, 2, 1, bias=False), nn.ReLU()]
    for before, after in pairwise(channels):
        layers += [nn.Conv2d(before, after, 4, 2, 1, bias=False), nn.InstanceNorm2d(after), nn.ReLU()]
    return layers


def _patch_a(width: int) -> nn.Sequential:
    layers = _downsampling_a([width, 2 * width, 4 * width, 8 * width])
    return nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 3, 1, 1, bias=False))


def _global_a(width: int, image_width: int, image_height: int) -> nn.Sequential:
    stages = image_height.bit_length() - 1  # 8 for 256 rows, as published
    layers = _downsampling_a([width * min(2**stage, 4) for stage in range(stages)])
    features = 4 * width * (image_width >> stages)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, width), nn.ReLU(), nn.Linear(width, 1))


class Vkitti2Kitti:
    """CycleGAN with patch and global discriminators at 1024x256; discriminators learn first, then generators.

    Args:
        size: (W, H) of the images, which are in [-0.5, 0.5].
        width: Channels of the first stage, 64 as published.
        device: Device of the networks.
    """

    def __init__(self, size: tuple[int, int], width: int, device: str) -> None:
        with torch.device(device):
            self.G_sim2real, self.G_real2sim = generator_a(width), generator_a(width)
            self.D_real = nn.ModuleList([_patch_a(width), _global_a(width, *size)])
            self.D_sim = nn.ModuleList([_patch_a(width), _global_a(width, *size)])
        self._generator_optimiser = _adam(3e-4, self.G_sim2real, self.G_real2sim)
        self._optimiser_real, self._optimiser_sim = _adam(1e-4, self.D_real), _adam(1e-4, self.D_sim)

    def step(self, sim: Tensor, real: Tensor) -> Losses:
        """Take one step as published.

        It translates again for the generators what it translated for the discriminators, and computes unused gradients:
        the generators' of the discriminators' losses, and the discriminators' of the generators' loss.
        """
        losses = self._train_discriminators(sim, real, None, None)
        return losses | self._train_generators(sim, real, self.G_sim2real(sim), self.G_real2sim(real))

    def lean_step(self, sim: Tensor, real: Tensor) -> Losses:
        """Take the same step, to the same weights, without the redundant work."""
        fake_real, fake_sim = self.G_sim2real(sim), self.G_real2sim(real)
        losses = self._train_discriminators(sim, real, fake_real.detach(), fake_sim.detach())
        _freeze(self.D_real, self.D_sim, frozen=True)
        losses |= self._train_generators(sim, real, fake_real, fake_sim)
        _freeze(self.D_real, self.D_sim, frozen=False)
        return losses

    def _train_discriminators(
        self, sim: Tensor, real: Tensor, fake_real: Tensor | None, fake_sim: Tensor | None
    ) -> Losses:
        fake_sim = self.G_real2sim(real) if fake_sim is None else fake_sim
        loss_sim = _judge(self.D_sim, sim, 1) + _judge(self.D_sim, fake_sim, 0)
        _train(self._optimiser_sim, loss_sim)
        fake_real = self.G_sim2real(sim) if fake_real is None else fake_real
        loss_real = _judge(self.D_real, real, 1) + _judge(self.D_real, fake_real, 0)
        _train(self._optimiser_real, loss_real)
        return {"D_sim": loss_sim.detach(), "D_real": loss_real.detach()}

    def _train_generators(self, sim: Tensor, real: Tensor, fake_real: Tensor, fake_sim: Tensor) -> Losses:
        cycled_sim, cycled_real = self.G_real2sim(fake_real), self.G_sim2real(fake_sim)
        losses = {
            "adversarial_real": _judge(self.D_real, fake_real, 1),
            "adversarial_sim": _judge(self.D_sim, fake_sim, 1),
            "cycle": 10 * (functional.l1_loss(cycled_sim, sim) + functional.l1_loss(cycled_real, real)),
        }
        _train(self._generator_optimiser, torch.stack([*losses.values()]).sum())
        return {name: loss.detach() for name, loss in losses.items()}


# System E: the reference CycleGAN, Zhu et al. 2017, junyanz/pytorch-CycleGAN-and-pix2pix


def generator_e(width: int) -> nn.Sequential:
    """Return a ResNet-9 for images in [-1, 1]."""

    def padded(conv: nn.Conv2d) -> list[nn.Module]:
        return [nn.ReflectionPad2d(conv.kernel_size[0] // 2), conv]

    def normed(channels: int) -> list[nn.Module]:
        return [nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)]

    layers: list[nn.Module] = [*padded(nn.Conv2d(3, width, 7)), *normed(width)]
    for before in (width, 2 * width):
        layers += [nn.Conv2d(before, 2 * before, 3, 2, 1), *normed(2 * before)]
    deep = 4 * width
    for _ in range(9):
        first, second = padded(nn.Conv2d(deep, deep, 3)), padded(nn.Conv2d(deep, deep, 3))
        layers.append(Residual(*first, *normed(deep), *second, nn.InstanceNorm2d(deep)))
    for before in (deep, deep // 2):
        layers += [nn.ConvTranspose2d(before, before // 2, 3, 2, 1, output_padding=1), *normed(before // 2)]
    return nn.Sequential(*layers, *padded(nn.Conv2d(width, 3, 7)), nn.Tanh())


def _discriminator_e(width: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
    for stride in (2, 2, 1):
        layers += [nn.Conv2d(width, 2 * width, 4, stride, 1), nn.InstanceNorm2d(2 * width)]
        layers.append(nn.LeakyReLU(0.2, inplace=True))
        width *= 2
    return nn.Sequential(*layers, nn.Conv2d(width, 1, 4, 1, 1))


class ReferenceCycleGAN:
    """CycleGAN with ResNet-9, 70x70 PatchGAN, identity loss and image pools at 256x256; generators learn first.

    Args:
        width: Channels of the first stage, 64 as published.
        device: Device of the networks.
    """

    def __init__(self, width: int, device: str) -> None:
        with torch.device(device):
            self.G_sim2real, self.G_real2sim = generator_e(width), generator_e(width)
            self.D_real, self.D_sim = nn.ModuleList([_discriminator_e(width)]), nn.ModuleList([_discriminator_e(width)])
        self._generator_optimiser = _adam(2e-4, self.G_sim2real, self.G_real2sim)
        self._discriminator_optimiser = _adam(2e-4, self.D_real, self.D_sim)
        self._pool_real: list[Tensor] = []
        self._pool_sim: list[Tensor] = []

    def step(self, sim: Tensor, real: Tensor) -> Losses:
        """Take one step on images in [-1, 1]."""
        fake_real, fake_sim = self.G_sim2real(sim), self.G_real2sim(real)
        cycled_sim, cycled_real = self.G_real2sim(fake_real), self.G_sim2real(fake_sim)
        _freeze(self.D_real, self.D_sim, frozen=True)
        same_real, same_sim = self.G_sim2real(real), self.G_real2sim(sim)
        losses = {
            "adversarial_real": _judge(self.D_real, fake_real, 1),
            "adversarial_sim": _judge(self.D_sim, fake_sim, 1),
            "cycle": 10 * (functional.l1_loss(cycled_sim, sim) + functional.l1_loss(cycled_real, real)),
            "identity": 5 * (functional.l1_loss(same_sim, sim) + functional.l1_loss(same_real, real)),
        }
        _train(self._generator_optimiser, torch.stack([*losses.values()]).sum())
        _freeze(self.D_real, self.D_sim, frozen=False)
        self._discriminator_optimiser.zero_grad()
        for name, discriminator, images, fake, pool in (
            ("D_real", self.D_real, real, fake_real, self._pool_real),
            ("D_sim", self.D_sim, sim, fake_sim, self._pool_sim),
        ):
            loss = 0.5 * (_judge(discriminator, images, 1) + _judge(discriminator, _exchange(pool, fake.detach()), 0))
            loss.backward()
            losses[name] = loss
        self._discriminator_optimiser.step()
        return {name: loss.detach() for name, loss in losses.items()}


def _exchange(pool: list[Tensor], image: Tensor) -> Tensor:
    """Swap the newest fake for an older one half of the time, once the pool of 50 is full."""
    if len(pool) < 50:
        pool.append(image)
        return image
    if random.random() < 0.5:
        return image
    place = random.randrange(50)
    older, pool[place] = pool[place], image
    return older


# Testing as in repositories of this kind: a loop over files


@torch.inference_mode()
def convert(generator: nn.Module, pictures: Iterable[Path], out: Path, *, scale: float, multiple: int) -> None:
    """Translate one image after the other: decode, infer, save.

    Args:
        generator: Maps images to images in [-scale, scale].
        pictures: Files; the results have the same names, and JPEG of the same quality as sim2real's.
        out: Folder of the results.
        scale: See ``generator``.
        multiple: Sides are padded to multiples of this by reflection, and cropped again.
    """
    device = next(generator.parameters()).device
    for picture in pictures:
        pixels = np.array(Image.open(picture).convert("RGB"))
        height, width = pixels.shape[:2]
        padded = np.pad(pixels, ((0, -height % multiple), (0, -width % multiple), (0, 0)), mode="reflect")
        images = torch.from_numpy(padded).permute(2, 0, 1)[None].to(device).float().div(127.5).sub(1)
        made = generator(images * scale)[0, :, :height, :width] / scale
        result = made.add(1).mul(127.5).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
        best: dict[str, Any] = {"quality": 95, "subsampling": 0} if picture.suffix == ".jpg" else {}
        Image.fromarray(result).save(out / picture.name, **best)
