"""Generators that nobody trains: they are shown images and keep statistics, or some of the images themselves.

Each looks at a frame as a whole, on the CPU, in 8 bits a channel, and changes its colours: what it shows stays where it
is. That is what a trained generator has to be better than.

Their attributes ``stochastic``, ``exportable`` and ``cpu_only`` say so to whoever runs them, and ``observe`` shows them
images, see :class:`sim2real.methods.fit.Fit`. What they sample at random is decided by a number for each picture,
``seeds``.
"""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sim2real.augment import match_histogram, vary_appearance
from sim2real.cielab import give_colours, moments, to_lab, to_rgb
from sim2real.errors import SettingsError, Sim2RealError
from sim2real.imageio import resize
from sim2real.networks.blocks import check_counts, choose, pair

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]


class ByFrame(nn.Module, ABC):
    """A generator that translates whole pictures, one at a time, outside of torch.

    What it knows of images stays on the CPU, wherever they are: there it is needed, and no GPU of Apple has float64.

    Attributes:
        stochastic: True: what some of them draw is decided by ``seeds``.
        exportable: False.
        cpu_only: True.
    """

    stochastic = True
    exportable = False
    cpu_only = True

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # noqa: ARG002, FBT001, FBT002  torch's
        return self

    def observe(self, source: Tensor, target: Tensor) -> None:
        """Look at images of both domains, (N, 3, H, W) in [-1, 1]: those to translate, and those to be like."""

    @abstractmethod
    def translate(self, image: Image, seed: int) -> Image:
        """RGB (H, W, 3) -> the same shape; the seed decides what is sampled at random."""

    def forward(self, images: Tensor, seeds: NDArray[np.uint64] | None = None) -> Tensor:
        """Images (N, 3, H, W) in [-1, 1] -> the same, of 256 values.

        Args:
            images: What to translate.
            seeds: A number for each of them, uint64 (N,); None: made from its own pixels.

        Raises:
            Sim2RealError: It has seen no images yet.
        """
        return by_frame(self.translate, images, seeds)


class Identity(ByFrame):
    """Leaves images as they are: what a run with it changes is the work of its camera.

    Args:
        _in_channels: 3.
        _out_channels: 3.
    """

    stochastic = False

    def __init__(self, _in_channels: int, _out_channels: int) -> None:
        super().__init__()

    def translate(self, image: Image, seed: int) -> Image:  # noqa: ARG002  it draws nothing
        """RGB (H, W, 3) -> the same."""
        return image


class Reinhard(ByFrame):
    """Gives lightness and both colours of CIELAB the mean and the spread that the target domain has of them.

    Reinhard et al. 2001, "Color Transfer between Images", do so in the space of Ruderman et al. and with two images.

    Args:
        _in_channels: 3.
        _out_channels: 3.
        statistics: Of what the mean and the spread are that go. ``"set"``: of all images that are seen, so that all
            frames are changed alike, bright ones stay brighter than dark ones, and videos do not flicker.
            ``"frame"``: of the frame itself.
    """

    stochastic = False

    moments: Tensor

    def __init__(self, _in_channels: int, _out_channels: int, *, statistics: Literal["set", "frame"] = "set") -> None:
        super().__init__()
        self.by_set = choose("generator.options.statistics", statistics, {"set": True, "frame": False})
        # of the source and of the target: how many pixels, and sums of (L, a, b) and of their squares
        self.register_buffer("moments", torch.zeros(2, 7, dtype=torch.float64))

    def observe(self, source: Tensor, target: Tensor) -> None:
        """Add images to the statistics of their domains."""
        for domain, images in enumerate((source, target)):
            self.moments[domain] += torch.from_numpy(moments(to_lab(as_pictures(images)))).to(self.moments)

    def translate(self, image: Image, seed: int) -> Image:  # noqa: ARG002  it draws nothing
        """RGB (H, W, 3) -> the same shape."""
        source, target = self.moments.cpu().numpy()
        if not target[0]:
            raise unfitted()
        lab = to_lab(image)
        return to_rgb(give_colours(lab, source if self.by_set else moments(lab), target))


class _Likening(ByFrame):
    """Makes each frame like one image of the target domain, which its seed draws from those that are kept.

    Args:
        references: How many images are kept, in the size of a training batch: the first ones that are seen.
    """

    references: Tensor

    def __init__(self, references: int) -> None:
        super().__init__()
        check_counts(**{"generator.options.references": references})
        self.most = references
        self.register_buffer("references", torch.empty(0, 0, 0, 3, dtype=torch.uint8))

    def observe(self, source: Tensor, target: Tensor) -> None:  # noqa: ARG002  only the target is of interest
        """Keep images of the target domain while there is room."""
        if missing := self.most - len(self.references):
            new = torch.from_numpy(as_pictures(target[:missing])).to(self.references.device)
            self.references = torch.cat([self.references, new]) if len(self.references) else new

    def translate(self, image: Image, seed: int) -> Image:
        """RGB (H, W, 3) -> the same shape."""
        if not len(self.references):
            raise unfitted()
        random = np.random.default_rng(seed)
        reference = self.references[random.integers(len(self.references))]
        return self.liken(image, np.ascontiguousarray(reference.cpu().numpy()), random)

    @abstractmethod
    def liken(self, image: Image, reference: Image, random: np.random.Generator) -> Image:
        """RGB (H, W, 3), and RGB of another size -> the first, as the second looks."""

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:  # noqa: ANN401  torch's
        """As torch's; how many images there are, and of what size, is known from what is loaded."""
        kept = state_dict.get(f"{prefix}references", self.references)
        self.references = torch.empty_like(kept, device=self.references.device)
        super()._load_from_state_dict(state_dict, prefix, *rest)


class _Blending(_Likening):
    """Leaves a share of the frame as it was.

    Args:
        _in_channels: 3.
        _out_channels: 3.
        blend: The least and the greatest share of the changed picture, the rest is the frame as it was.
        references: How many images of the target domain are kept.
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
        _in_channels: 3.
        _out_channels: 3.
        blend: The least and the greatest share of the matched picture, the rest is the frame as it was.
        references: How many images of the target domain are kept.
    """

    def liken(self, image: Image, reference: Image, random: np.random.Generator) -> Image:
        """As of the base class."""
        return match_histogram(image, reference, blend=random.uniform(*self.blend))


class PixelDistribution(_Blending):
    """Gives the colours the mean and the covariance of those of an image of the target domain.

    By the linear map that moves colours least, of Pitié and Kokaram 2007, "The Linear Monge-Kantorovitch Linear Colour
    Mapping": it turns no colour into another one, as matching of principal axes can, whose signs and order are open.

    Args:
        _in_channels: 3.
        _out_channels: 3.
        blend: The least and the greatest share of the mapped picture, the rest is the frame as it was.
        references: How many images of the target domain are kept.
    """

    def liken(self, image: Image, reference: Image, random: np.random.Generator) -> Image:
        """As of the base class."""
        own, wanted = (mean_and_covariance(picture.reshape(-1, 3).astype(np.float64)) for picture in (image, reference))
        transform = colour_map(own, wanted, random.uniform(*self.blend))
        return as_bytes(cv2.transform(image.astype(np.float32), transform.astype(np.float32)))


def mean_and_covariance(values: Floats) -> tuple[Floats, Floats]:
    """Mean and covariance of RGB (P, 3), with what rounding adds to a single colour."""
    return values.mean(0), np.cov(values, rowvar=False, ddof=0) + np.eye(3) / 12


def colour_map(colours: tuple[Floats, Floats], wanted: tuple[Floats, Floats], share: float = 1.0) -> Floats:
    """The linear map that moves colours least and gives them another mean and covariance (Pitié and Kokaram 2007).

    Args:
        colours: Their mean (3,) and covariance (3, 3).
        wanted: Those of the result.
        share: How far it goes, 0 to 1.

    Returns:
        (3, 4), the last column is added.
    """
    mean, covariance = colours
    root = _root(covariance)
    inverse = np.linalg.inv(root)
    matrix = inverse @ _root(root @ wanted[1] @ root) @ inverse
    matrix = share * matrix + (1 - share) * np.eye(3)
    shift = share * wanted[0] + (1 - share) * mean - matrix @ mean
    return np.column_stack([matrix, shift])


def _root(matrix: Floats) -> Floats:
    """Of a symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T)


class FourierDomainAdaptation(_Likening):
    """Gives the lowest frequencies the amplitudes of an image of the target domain, squeezed to the size of the frame.

    Yang and Soatto 2020, "FDA: Fourier Domain Adaptation for Semantic Segmentation". Phases stay, and with them where
    things are.

    Args:
        _in_channels: 3.
        _out_channels: 3.
        beta: The least and the greatest share of the shorter side, 0.5 at most: so many cycles across the frame, but at
            least one, is the highest frequency that is taken.
        references: How many images of the target domain are kept.
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
        """As of the base class."""
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
    """Knows no domain: varies light, colours, blur and noise by hand-made rules, differently for each frame.

    Args:
        _in_channels: 3.
        _out_channels: 3.
        strength: How far it goes, above 0 and 1 at most.
    """

    def __init__(self, _in_channels: int, _out_channels: int, *, strength: float = 1.0) -> None:
        super().__init__()
        if not isinstance(strength, int | float) or not 0 < strength <= 1:
            raise SettingsError(f"generator.options.strength = {strength!r} must be a number above 0, 1 at most")
        self.strength = strength

    def translate(self, image: Image, seed: int) -> Image:
        """RGB (H, W, 3) -> the same shape."""
        return vary_appearance(image, strength=self.strength, seed=seed)


def by_frame(
    translate: Callable[..., Image], images: Tensor, seeds: NDArray[np.uint64] | None, *more: Iterable[Any]
) -> Tensor:
    """Images (N, 3, H, W) in [-1, 1] -> what becomes of each of them in 8 bits, likewise.

    Args:
        translate: Is given a picture (H, W, 3), its number, and what else there is of it.
        images: What to translate.
        seeds: A number for each of them; None: made from its own pixels.
        more: Of each kind, what there is of each picture.
    """
    if images.is_meta:  # somebody asks for shapes
        return torch.empty_like(images)
    pictures = as_pictures(images)
    numbers = [zlib.crc32(picture) for picture in pictures] if seeds is None else seeds.tolist()
    translated = np.stack([translate(*each) for each in zip(pictures, numbers, *more, strict=True)])
    return torch.from_numpy(translated).to(images.device).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def as_pictures(images: Tensor) -> Image:
    """(N, 3, H, W) in [-1, 1] -> RGB (N, H, W, 3)."""
    pixels = images.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def as_bytes(image: Any) -> Image:  # noqa: ANN401  whatever OpenCV returns
    """Rounded to whole levels, within 0 and 255."""
    return np.asarray(np.rint(image).clip(0, 255), np.uint8)


def limits(option: str, value: Sequence[float], most: float) -> tuple[float, float]:
    """Two numbers within 0 and the most, the lesser first.

    Raises:
        SettingsError: The option has another value.
    """
    low, high = pair(f"generator.options.{option}", value)
    if not 0 <= low <= high <= most:
        raise SettingsError(f"generator.options.{option} = {value!r} must be within 0 and {most:g}, the lesser first")
    return low, high


def unfitted() -> Sim2RealError:
    """What a generator says that was not shown any images."""
    return Sim2RealError("this generator has seen no images yet: train it with method.name = 'fit'")
