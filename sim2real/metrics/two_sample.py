"""Measure how well a classifier distinguishes two sets of images, the test of Lopez-Paz and Oquab (2017).

A small network is trained on crops of half of the images of both sets, and classifies crops of the other half; then
the halves swap roles (arXiv 1610.06545). It detects any kind of difference and is very sensitive: real images against
other real ones give about 0.5, and most other sets soon give nearly 1.
"""

import zlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sim2real.metrics.base import About, Features, Image

_CROPS = 4  # of an image
_SIDE = 32  # px
_STEPS = 100
_BATCH = 16  # crops of each set
_FINE = 8  # amplification of fine detail, which is faint compared to the rest
_LEARNING_RATE = 3e-3


class TwoSampleMetric:
    """The metric ``two-sample``: the accuracy of a classifier trained to distinguish the two sets.

    Args:
        seed: Seed of the crops, of the classifier's initial weights and of its batches.
        device: Device of the training.
    """

    about = About(
        title="accuracy of a classifier of converted and real (0.5: chance)", better="lower", least=32, most=1
    )
    resamples = 4
    ticks = 2 * _STEPS

    def __init__(self, *, seed: int = 0, device: str = "cpu") -> None:
        self.seed = seed
        self.device = torch.device(device)

    def describe(self, images: Sequence[Image]) -> Features:
        """Return crops at random places of images, RGB (H, W, 3).

        Returns:
            (N, 4, 3, 32, 32), -1 to 1; the crops of images smaller than 32 px are smaller.
        """
        return np.stack([self._crops(image) for image in images])

    def _crops(self, image: Image) -> NDArray[np.float32]:
        random = np.random.default_rng([self.seed, zlib.crc32(image.tobytes())])
        height, width = (min(_SIDE, room) for room in image.shape[:2])
        places = random.integers(np.subtract(image.shape[:2], (height, width)) + 1, size=(_CROPS, 2))
        crops = np.stack([image[top : top + height, left : left + width] for top, left in places])
        return crops.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1

    def distance(self, images: Features, real: Features, tick: Callable[[], None] = lambda: None) -> float:
        """Return the share of images classified correctly, averaged over both sets; about 0.5 means indistinguishable.

        Each set is split into its first and its second half, so images that resemble each other should be neighbours.
        ``tick`` is called after each training step.

        Raises:
            ValueError: If a set has fewer than two images.
        """
        if min(len(images), len(real)) < 2:
            raise ValueError("a classifier needs at least two images of each set")
        sides = [[torch.from_numpy(half) for half in np.array_split(rows, 2)] for rows in (images, real)]
        (first, second), (real_first, real_second) = sides
        folds = [((first, real_first), (second, real_second)), ((second, real_second), (first, real_first))]
        return float(np.mean([self._accuracy(*fold, tick) for fold in folds]))

    def _accuracy(
        self, known: tuple[Tensor, Tensor], unknown: tuple[Tensor, Tensor], tick: Callable[[], None]
    ) -> float:
        classifier = self._train(*known, tick)
        with torch.inference_mode():
            scores = [self._score(classifier, rows) for rows in unknown]
        right = [(scores[0] < 0), (scores[1] > 0)]
        return float(np.mean([float(side.float().mean()) for side in right]))

    def _score(self, classifier: nn.Module, rows: Tensor) -> Tensor:
        """Return the mean score (N) of the crops of each image; above 0 means real."""
        crops = [classifier(part.flatten(0, 1).to(self.device)) for part in rows.split(256)]
        return torch.cat(crops).reshape(rows.shape[:2]).mean(dim=1)

    def _train(self, images: Tensor, real: Tensor, tick: Callable[[], None]) -> nn.Module:
        random = np.random.default_rng(self.seed)
        classifier = _Classifier(self.seed).to(self.device)
        optimiser = torch.optim.Adam(classifier.parameters(), lr=_LEARNING_RATE)
        truth = torch.arange(2.0, device=self.device).repeat_interleave(_BATCH)
        for _ in range(_STEPS):
            sampled = [
                rows.flatten(0, 1)[random.integers(rows.shape[:2].numel(), size=_BATCH)] for rows in (images, real)
            ]
            batch = torch.cat(sampled).to(self.device)
            batch = batch.flip(3) if random.integers(2) else batch
            loss = functional.binary_cross_entropy_with_logits(classifier(batch), truth)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            tick()
        return classifier


class _Classifier(nn.Module):
    """Crops (N, 3, H, W) -> scores (N)."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((6, 16), (16, 32), (32, 32)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 1))
        sampled = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.kaiming_normal_(parameter, a=0.2, generator=sampled)
            else:
                nn.init.zeros_(parameter)

    def forward(self, crops: Tensor) -> Tensor:
        fine = crops - functional.avg_pool2d(crops, 3, stride=1, padding=1, count_include_pad=False)
        scores: Tensor = self.layers(torch.cat([crops, _FINE * fine], dim=1))
        return scores[:, 0]
