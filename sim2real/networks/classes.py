"""A generator without training, for simulations with masks: each class gets the colours it has in real images."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sim2real.datasets.labels import NOTHING
from sim2real.errors import Sim2RealError
from sim2real.networks.blocks import check_counts
from sim2real.networks.colour import Image, OnCPU, as_bytes, as_pictures, by_frame, colour_map, limits, unfitted

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]

_FEW = 0.02  # share of the pixels at which the map of a class and that of the whole image have equal weights
_MOST_GAIN = 1.5  # maximum factor for differences within a class
_RADIUS = 8  # pixels over which the map of a class blends into its neighbour's
_GUIDE = 1e-3  # variance of brightness, for a range of 1, below which there is no border
_COUNTED = 2**16  # maximum number of pixels of a frame from which its colours are computed
_LABELLED_AT_ONCE = 16
_UNKNOWN = -2  # label of pixels that have not been labelled yet


class Colours(NamedTuple):
    """The colours of a class, or of all pixels, in one image.

    Attributes:
        share: Share of the image's pixels.
        of: Mean RGB (3,), and covariance (3, 3).
    """

    share: float
    of: tuple[Floats, Floats]


class ClassDistribution(OnCPU):
    """Gives the colours of each class the mean and the covariance of that class in an image of the target domain.

    :class:`sim2real.networks.colour.PixelDistribution` does the same with all colours at once. The rarer a class is in
    the frame or in the reference image, the more it follows the map of all colours instead. Where classes meet, their
    maps blend along the frame's own edges (by the guided filter, He et al. 2010).

    Args:
        _in_channels: Must be 3.
        _out_channels: Must be 3.
        blend: Minimum and maximum share of the changed image in the result; the rest is the original frame.
        references: Number of images of the target domain that are kept, in the size of a training batch: the first
            ones seen.

    Attributes:
        references: The kept images, (R, h, w, 3) uint8.
        labels: The class of each of their pixels, (R, h, w) int16: ``NOTHING`` for pixels without a class, lower for
            pixels that have not been labelled yet.
        given: Whether the labels are the image's own, (R,).
    """

    steady = True
    resized = ("references", "labels", "given")
    inputs: ClassVar[tuple[str, ...]] = ("segmentation",)

    references: Tensor
    labels: Tensor
    given: Tensor

    def __init__(
        self, _in_channels: int, _out_channels: int, *, blend: Sequence[float] = (0.5, 1.0), references: int = 32
    ) -> None:
        super().__init__()
        check_counts(**{"generator.options.references": references})
        self.blend = limits("blend", blend, 1)
        self.most = references
        self.register_buffer("references", torch.empty(0, 0, 0, 3, dtype=torch.uint8))
        self.register_buffer("labels", torch.empty(0, 0, 0, dtype=torch.int16))
        self.register_buffer("given", torch.empty(0, dtype=torch.bool))
        self._known: list[dict[int, Colours]] = []

    def observe(self, source: Tensor, target: Tensor, masks: Tensor | None = None) -> None:  # noqa: ARG002  only the target is used
        """Keep images of the target domain while there is room.

        Args:
            source: Images of the source domain; they are not used.
            target: Images of the target domain, (N, 3, H, W) in [-1, 1].
            masks: Their classes (N, H, W), or None.
        """
        if missing := self.most - len(self.references):
            new = torch.from_numpy(as_pictures(target[:missing]))
            blank = torch.full(new.shape[:3], _UNKNOWN)
            labels = (blank if masks is None else masks[:missing].cpu()).to(torch.int16)
            given = torch.full((len(new),), masks is not None)
            kept = (self.references, self.labels, self.given)
            both = zip(kept, (new, labels, given), strict=True)
            self.references, self.labels, self.given = (torch.cat(pair) if len(kept[0]) else pair[1] for pair in both)
            self._known = []

    def label(self, labelled_by: Callable[[Tensor], Tensor], *, again: bool = True) -> None:
        """Label the kept images, except those with labels of their own.

        Args:
            labelled_by: Function from images (N, 3, h, w) in [-1, 1] to their classes, (N, h, w).
            again: Whether images that have been labelled before are labelled again.
        """
        asked = ~self.given if again else (self.labels == _UNKNOWN).flatten(1).any(1)
        for first in range(0, int(asked.sum()), _LABELLED_AT_ONCE):
            numbers = asked.nonzero().ravel()[first : first + _LABELLED_AT_ONCE]
            images = self.references[numbers].permute(0, 3, 1, 2).float().div(127.5).sub(1)
            self.labels[numbers] = labelled_by(images).to(self.labels)
        self._known = []

    def forward(self, images: Tensor, inputs: Mapping[str, Tensor], seeds: NDArray[np.uint64] | None = None) -> Tensor:
        """Return translations (N, 3, H, W) in [-1, 1], with 256 levels.

        Args:
            images: The images to translate, (N, 3, H, W) in [-1, 1].
            inputs: ``"segmentation"``, (N, H, W).
            seeds: A seed for each image, uint64 (N,); None: seeds are computed from the pixels.

        Raises:
            Sim2RealError: If the generator has not seen any images yet, or they are not labelled.
        """
        return by_frame(self.translate, images, seeds, inputs["segmentation"].cpu().numpy())

    def translate(self, image: Image, seed: int, mask: Ids) -> Image:
        """Return the translation of an RGB image (H, W, 3) with the class of each pixel (H, W).

        All frames of a sequence get the same reference image.
        """
        wanted = self._wanted()
        random = np.random.default_rng(
            seed >> 32 or seed
        )  # the sequence's part of the seed; seeds from pixels have only 32 bits
        reference = wanted[random.integers(len(wanted))]
        share = random.uniform(*self.blend)
        own = _colours(image, mask)
        everything = colour_map(own[NOTHING].of, reference[NOTHING].of, share)
        maps = {NOTHING: everything}
        for number in own.keys() & reference.keys() - {NOTHING}:
            one, other = own[number], reference[number]
            few = min(one.share, other.share)
            weight = few / (few + _FEW)
            maps[number] = weight * _bounded(one.of, other.of, share) + (1 - weight) * everything
        return _mapped(image, mask, maps)

    def _wanted(self) -> list[dict[int, Colours]]:
        """Return the colours of each kept image by class."""
        if not len(self.references):
            raise unfitted()
        if bool((self.labels == _UNKNOWN).any()):
            raise Sim2RealError(
                "this generator does not know the classes in real images yet: train it with method.name = "
                "'pseudo-labels'"
            )
        if not self._known:  # several threads may compute the same at once
            pairs = zip(self.references.numpy(), self.labels.numpy(), strict=True)
            self._known = [_colours(picture, labels.astype(np.int64)) for picture, labels in pairs]
        return self._known

    def _load_from_state_dict(self, *given: Any) -> None:  # noqa: ANN401  torch's
        self._known = []
        super()._load_from_state_dict(*given)


def _bounded(own: tuple[Floats, Floats], wanted: tuple[Floats, Floats], share: float) -> Floats:
    """Return the map of a class's colours, like :func:`sim2real.networks.colour.colour_map`, with limited gains.

    A rendered class may have almost no variation, which must not be stretched to the spread of a real class.
    """
    matrix = colour_map(own, wanted)[:, :3]
    gains, axes = np.linalg.eigh((matrix + matrix.T) / 2)
    matrix = axes * np.clip(gains, 0, _MOST_GAIN) @ axes.T
    matrix = share * matrix + (1 - share) * np.eye(3)
    shift = share * wanted[0] + (1 - share) * own[0] - matrix @ own[0]
    return np.column_stack([matrix, shift])


def _colours(picture: Image, mask: Ids) -> dict[int, Colours]:
    """Return the colours of each class in an image, and those of all pixels as ``NOTHING``."""
    step = int(np.ceil(np.sqrt(mask.size / _COUNTED)))
    values = picture[::step, ::step].reshape(-1, 3).astype(np.float64)
    numbers, places = np.unique(mask[::step, ::step].ravel(), return_inverse=True)
    rows = np.column_stack([np.ones(len(values)), values, (values[:, :, None] * values[:, None]).reshape(-1, 9)])
    sums = np.stack([np.bincount(places, column, len(numbers)) for column in rows.T], axis=1)
    found = {int(number): own for number, own in zip(numbers, sums, strict=True) if number != NOTHING}
    return {number: _summed(own, len(values)) for number, own in {**found, NOTHING: sums.sum(0)}.items()}


def _summed(sums: Floats, pixels: int) -> Colours:
    """Return colours from the number of values, their sum, and the sum of their products."""
    mean, squares = sums[1:4] / sums[0], sums[4:].reshape(3, 3) / sums[0]
    return Colours(float(sums[0] / pixels), (mean, squares - np.outer(mean, mean) + np.eye(3) / 12))


def _mapped(image: Image, mask: Ids, maps: Mapping[int, Floats]) -> Image:
    """Return the image with the map (3, 4) of each class applied, blended where classes meet."""
    height, width = mask.shape
    step = max(1, min(4, min(height, width) // 256))
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    numbers, places = np.unique(mask[step // 2 :: step, step // 2 :: step], return_inverse=True)
    places = places.reshape(-(-(height - step // 2) // step), -1)
    table = np.stack([maps.get(int(number), maps[NOTHING]) for number in numbers]).astype(np.float32)
    guide = cv2.resize(grey, places.shape[::-1], interpolation=cv2.INTER_AREA)
    window = (2 * max(1, _RADIUS // step) + 1,) * 2

    def mean(plane: Any) -> Any:  # noqa: ANN401  OpenCV's arrays
        return cv2.blur(plane, window, borderType=cv2.BORDER_REFLECT)

    middle = mean(guide)
    variance = mean(guide * guide) - middle * middle + _GUIDE
    result = np.empty((height, width, 3), np.float32)
    for row in range(3):
        total = np.zeros((height, width), np.float32)
        for column in range(4):
            plane = np.ascontiguousarray(table[places, row, column])
            level = mean(plane)
            slope = (mean(plane * guide) - level * middle) / variance
            slope, base = (
                cv2.resize(each, (width, height), interpolation=cv2.INTER_LINEAR)
                for each in (mean(slope), mean(level - slope * middle))
            )
            factor = slope * grey + base
            total += factor * image[..., column] if column < 3 else factor
        result[..., row] = total
    return as_bytes(result)
