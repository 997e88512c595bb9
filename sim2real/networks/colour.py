"""Generators without training: they observe images and keep statistics, or some of the images themselves.

Each one processes whole frames, on the CPU, with 8 bits per channel, and changes their colours; content does not move.
They are the baseline for trained generators.

Their attributes ``stochastic``, ``exportable`` and ``cpu_only`` describe how they can be run, and ``observe`` shows
them images, see :class:`sim2real.methods.fit.Fit`. Their random choices depend on ``seeds``, one for each image.
"""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Literal, Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sim2real.augment import match_histogram, vary_appearance
from sim2real.capabilities import STUDENT
from sim2real.cielab import give_colours, moments, to_lab, to_rgb
from sim2real.errors import SettingsError, Sim2RealError
from sim2real.imageio import resize
from sim2real.networks.blocks import check_counts, choose, pair

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]


class OnCPU(nn.Module):
    """Base class of generators that translate images outside of torch.

    Their state always stays on the CPU, where it is used; Apple's GPUs do not support float64.

    Attributes:
        stochastic: True: random choices depend on ``seeds``; False for subclasses without random choices.
        exportable: False.
        export_obstacle: Why.
        cpu_only: True.
        resized: Names of the buffers that take over the shape of the loaded ones.
    """

    stochastic = True
    exportable = False
    export_obstacle = f"it computes statistics of whole frames outside of torch; {STUDENT}"
    cpu_only = True
    resized: ClassVar[tuple[str, ...]] = ()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # noqa: ARG002, FBT001, FBT002  torch's
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:  # noqa: ANN401  torch's
        for name in self.resized:
            own = getattr(self, name)
            setattr(self, name, torch.empty_like(state_dict.get(prefix + name, own), device=own.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)


class ByFrame(OnCPU, ABC):
    """A generator that translates whole images, one at a time."""

    def observe(self, source: Tensor, target: Tensor) -> None:
        """Observe images of the source and the target domain, (N, 3, H, W) in [-1, 1]."""

    @abstractmethod
    def translate(self, image: Image, seed: int) -> Image:
        """Return the translation of an RGB image (H, W, 3); random choices depend on the seed."""

    def forward(self, images: Tensor, seeds: NDArray[np.uint64] | None = None) -> Tensor:
        """Return translations (N, 3, H, W) in [-1, 1], with 256 levels.

        Args:
            images: The images to translate, (N, 3, H, W) in [-1, 1].
            seeds: A seed for each image, uint64 (N,); None: seeds are computed from the pixels.

        Raises:
            Sim2RealError: If the generator has not seen any images yet.
        """
        return by_frame(self.translate, images, seeds)


class Identity(ByFrame):
    """Leaves images unchanged; a run with it changes frames only by its camera.

    Args:
        _in_channels: Must be 3.
        _out_channels: Must be 3.
    """

    stochastic = False

    def __init__(self, _in_channels: int, _out_channels: int) -> None:
        super().__init__()

    def translate(self, image: Image, seed: int) -> Image:  # noqa: ARG002  it is deterministic
        """Return the image itself."""
        return image


class Reinhard(ByFrame):
    """Gives the three channels of CIELAB the mean and the standard deviation of the target domain.

    Reinhard et al. 2001, "Color Transfer between Images", use the colour space of Ruderman et al. and two images.

    Args:
        _in_channels: Must be 3.
        _out_channels: Must be 3.
        statistics: Source of the mean and the standard deviation that are replaced. ``"set"``: all observed source
            images, so that all frames are changed alike, bright frames stay brighter than dark ones, and videos do not
            flicker. ``"frame"``: the frame itself.
    """

    stochastic = False

    moments: Tensor

    def __init__(self, _in_channels: int, _out_channels: int, *, statistics: Literal["set", "frame"] = "set") -> None:
        super().__init__()
        self.by_set = choose("generator.options.statistics", statistics, {"set": True, "frame": False})
        # for source and target: number of pixels, sums of (L, a, b), and sums of their squares
        self.register_buffer("moments", torch.zeros(2, 7, dtype=torch.float64))

    def observe(self, source: Tensor, target: Tensor) -> None:
        """Add images to the statistics of their domains."""
        for domain, images in enumerate((source, target)):
            self.moments[domain] += torch.from_numpy(moments(to_lab(as_pictures(images)))).to(self.moments)

    def translate(self, image: Image, seed: int) -> Image:  # noqa: ARG002  it is deterministic
        """Return the translation of an RGB image (H, W, 3)."""
        source, target = self.moments.cpu().numpy()
        if not target[0]:
            raise unfitted()
        lab = to_lab(image)
        return to_rgb(give_colours(lab, source if self.by_set else moments(lab), target))


class _Likening(ByFrame):
    """Base class of generators that make each frame like one kept image of the target domain, selected by its seed.

    Args:
        references: Number of images that are kept, in the size of a training batch: the first ones seen.
    """

    resized = ("references",)
    references: Tensor

    def __init__(self, references: int) -> None:
        super().__init__()
        check_counts(**{"generator.options.references": references})
        self.most = references
        self.register_buffer("references", torch.empty(0, 0, 0, 3, dtype=torch.uint8))

    def observe(self, source: Tensor, target: Tensor) -> None:  # noqa: ARG002  only the target is used
        """Keep images of the target domain while there is room."""
        if missing := self.most - len(self.references):
            new = torch.from_numpy(as_pictures(target[:missing])).to(self.references.device)
            self.references = torch.cat([self.references, new]) if len(self.references) else new

    def translate(self, image: Image, seed: int) -> Image:
        """Return the translation of an RGB image (H, W, 3)."""
        if not len(self.references):
            raise unfitted()
        random = np.random.default_rng(seed)
        reference = self.references[random.integers(len(self.references))]
        return self.liken(image, np.ascontiguousarray(reference.cpu().numpy()), random)

    @abstractmethod
    def liken(self, image: Image, reference: Image, random: np.random.Generator) -> Image:
        """Return the RGB image (H, W, 3) with the appearance of the reference, which may have another size."""


class _Blending(_Likening):
    """Base class of generators that blend their result with the original frame.

    Args:
        _in_channels: Must be 3.
        _out_channels: Must be 3.
        blend: Minimum and maximum share of the changed image in the result; the rest is the original frame.
        references: Number of images of the target domain that are kept.
    """

    def __init__(
        self,
        _in_channels: int,
        _out_channels: int,
        *,
        blend: Sequence[float] = (0.5, 1.0),
        references: int = 32,
    ) -> None:
        super().__init__(references)
        self.blend = limits("blend", blend, 1)


class Histogram(_Blending):
    """Matches the histograms of red, green and blue to those of an image of the target domain.

    Args:
        _in_channels: Must be 3.
        _out_channels: Must be 3.
        blend: Minimum and maximum share of the matched image in the result; the rest is the original frame.
        references: Number of images of the target domain that are kept.
    """

    def liken(self, image: Image, reference: Image, random: np.random.Generator) -> Image:
        """Return the image with histograms matched to the reference."""
        return match_histogram(image, reference, blend=random.uniform(*self.blend))


class PixelDistribution(_Blending):
    """Gives colours the mean and the covariance of the colours in an image of the target domain.

    It uses the linear map that moves colours least, from Pitié and Kokaram 2007, "The Linear Monge-Kantorovitch Linear
    Colour Mapping". Unlike a matching of principal axes, whose signs and order are arbitrary, it does not swap colours.

    Args:
        _in_channels: Must be 3.
        _out_channels: Must be 3.
        blend: Minimum and maximum share of the mapped image in the result; the rest is the original frame.
        references: Number of images of the target domain that are kept.
    """

    def liken(self, image: Image, reference: Image, random: np.random.Generator) -> Image:
        """Return the image with the mean and the covariance of the reference's colours."""
        own, wanted = (mean_and_covariance(picture.reshape(-1, 3).astype(np.float64)) for picture in (image, reference))
        transform = colour_map(own, wanted, random.uniform(*self.blend))
        return as_bytes(cv2.transform(image.astype(np.float32), transform.astype(np.float32)))


def mean_and_covariance(values: Floats) -> tuple[Floats, Floats]:
    """Return mean and covariance of RGB (P, 3), with the variance of rounding added."""
    return values.mean(0), np.cov(values, rowvar=False, ddof=0) + np.eye(3) / 12


def colour_map(colours: tuple[Floats, Floats], wanted: tuple[Floats, Floats], share: float = 1.0) -> Floats:
    """Return the linear map that moves colours least to another mean and covariance (Pitié and Kokaram 2007).

    Args:
        colours: Mean (3,) and covariance (3, 3) of the colours.
        wanted: Mean and covariance of the result.
        share: Strength of the map, from 0 (identity) to 1.

    Returns:
        A matrix (3, 4); its last column is added.
    """
    mean, covariance = colours
    root = _root(covariance)
    inverse = np.linalg.inv(root)
    matrix = inverse @ _root(root @ wanted[1] @ root) @ inverse
    matrix = share * matrix + (1 - share) * np.eye(3)
    shift = share * wanted[0] + (1 - share) * mean - matrix @ mean
    return np.column_stack([matrix, shift])


def _root(matrix: Floats) -> Floats:
    """Return the square root of a symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T)


class FourierDomainAdaptation(_Likening):
    """Gives the lowest frequencies the amplitudes of an image of the target domain, resized to the size of the frame.

    Yang and Soatto 2020, "FDA: Fourier Domain Adaptation for Semantic Segmentation". Phases are kept, so content does
    not move.

    Args:
        _in_channels: Must be 3.
        _out_channels: Must be 3.
        beta: Minimum and maximum of the highest frequency that is replaced, as a share of the shorter side, 0.5 at
            most: this number of cycles across the frame, but at least one.
        references: Number of images of the target domain that are kept.
    """

    def __init__(
        self,
        _in_channels: int,
        _out_channels: int,
        *,
        beta: Sequence[float] = (0.005, 0.01),
        references: int = 32,
    ) -> None:
        super().__init__(references)
        self.beta = limits("beta", beta, 0.5)

    def liken(self, image: Image, reference: Image, random: np.random.Generator) -> Image:
        """Return the image with the lowest amplitudes of the reference."""
        height, width = image.shape[:2]
        reach = max(1, int(random.uniform(*self.beta) * min(height, width)))
        rows = np.abs(np.fft.fftfreq(height, 1 / height)) <= reach
        columns = np.fft.rfftfreq(width, 1 / width) <= reach
        low = np.ix_(rows, columns)
        spectrum, wanted = (
            np.fft.rfft2(picture, axes=(0, 1)) for picture in (image, resize(reference, (width, height)))
        )
        spectrum[low] = np.abs(wanted[low]) * np.exp(1j * np.angle(spectrum[low]))
        return as_bytes(np.fft.irfft2(spectrum, s=(height, width), axes=(0, 1)))


class Variation(ByFrame):
    """Varies light, colours, blur and noise by hand-made rules, differently for each frame, without any target domain.

    Args:
        _in_channels: Must be 3.
        _out_channels: Must be 3.
        strength: Strength of the variation, above 0 and at most 1.
    """

    def __init__(self, _in_channels: int, _out_channels: int, *, strength: float = 1.0) -> None:
        super().__init__()
        if not isinstance(strength, int | float) or not 0 < strength <= 1:
            raise SettingsError(f"generator.options.strength = {strength!r} must be a number above 0 and at most 1")
        self.strength = strength

    def translate(self, image: Image, seed: int) -> Image:
        """Return a variation of an RGB image (H, W, 3)."""
        return vary_appearance(image, strength=self.strength, seed=seed)


def by_frame(
    translate: Callable[..., Image], images: Tensor, seeds: NDArray[np.uint64] | None, *more: Iterable[Any]
) -> Tensor:
    """Return translations (N, 3, H, W) in [-1, 1] of images that are translated one by one with 8 bits.

    Args:
        translate: Function of an image (H, W, 3), its seed, and one element of each of ``more``.
        images: The images to translate, (N, 3, H, W) in [-1, 1].
        seeds: A seed for each image; None: seeds are computed from the pixels.
        more: Further arguments of ``translate``, with one element for each image.
    """
    if images.is_meta:  # only the shape is needed
        return torch.empty_like(images)
    pictures = as_pictures(images)
    numbers = [zlib.crc32(picture) for picture in pictures] if seeds is None else seeds.tolist()
    translated = np.stack([translate(*each) for each in zip(pictures, numbers, *more, strict=True)])
    return torch.from_numpy(translated).to(images.device).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def as_pictures(images: Tensor) -> Image:
    """Convert (N, 3, H, W) in [-1, 1] to RGB, uint8 (N, H, W, 3)."""
    pixels = images.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def as_bytes(image: Any) -> Image:  # noqa: ANN401  OpenCV's arrays
    """Round values to whole levels between 0 and 255."""
    return np.asarray(np.rint(image).clip(0, 255), np.uint8)


def limits(option: str, value: Sequence[float], most: float) -> tuple[float, float]:
    """Return the two numbers of an option, between 0 and ``most`` and in ascending order.

    Raises:
        SettingsError: If the option has another value.
    """
    low, high = pair(f"generator.options.{option}", value)
    if not 0 <= low <= high <= most:
        raise SettingsError(
            f"generator.options.{option} = {value!r} must be two numbers between 0 and {most:g} in ascending order"
        )
    return low, high


def unfitted() -> Sim2RealError:
    """Return the error of a generator that has not observed any images."""
    return Sim2RealError("this generator has seen no images yet: train it with method.name = 'fit'")
