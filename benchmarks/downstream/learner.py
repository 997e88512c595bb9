"""The task networks: small, trained from scratch for a fixed number of steps, never tuned on their test data."""

import math
from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from benchmarks.downstream.tasks import IGNORED, Image, Labelled, Labels, Task

_BATCH = 64
_RATE = 2e-3
_AUGMENTED = 0.8  # share of images that get each change


class Classifier(nn.Sequential):
    """Six convolutions, with maps halved by the first and after the second and fourth: (N, 3, H, W) -> (N, classes).

    Args:
        classes: Number of classes.
        size: (H, W) of the images.
        width: Channels of the first two convolutions; six times as many at the end.
    """

    def __init__(self, classes: int, size: tuple[int, int], width: int = 24) -> None:
        layers: list[nn.Module] = [*_conv(3, width, kernel=5, stride=2), *_conv(width, width)]
        before = width
        for after in (3 * width, 6 * width):
            layers += [nn.MaxPool2d(2), *_conv(before, after), *_conv(after, after)]
            before = after
        cells = math.prod(side // 8 for side in size)
        super().__init__(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(before * cells, classes))


class Segmenter(nn.Module):
    """A small U-Net with scores per cell: (N, 3, H, W) -> (N, classes, H / cell, W / cell).

    Args:
        classes: Number of classes.
        cell: Side in pixels of a cell, a power of 2 up to 16.
        width: Channels at half the size of the image; four times as many at most.
    """

    def __init__(self, classes: int, cell: int, width: int = 24) -> None:
        super().__init__()
        channels = [width, 2 * width, 4 * width, 4 * width]
        finest = max(1, cell.bit_length() - 1)  # the stage whose maps have the size of the scores, or half of it
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        for before, after in pairwise([3, *channels]):
            self.down.append(nn.Sequential(*_conv(before, after, stride=2), *_conv(after, after)))
        for here, deeper in [*pairwise(channels[finest - 1 :])][::-1]:
            self.up.append(nn.Sequential(*_conv(deeper + here, here)))
        self.scores = nn.Conv2d(channels[finest - 1], classes, 1)
        self.halved = cell == 1

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores, scaled up from half the size if every pixel has a label."""
        maps, result = [], images
        for stage in self.down:
            result = stage(result)
            maps.append(result)
        for stage, skipped in zip(self.up, maps[-2::-1], strict=False):
            larger = functional.interpolate(result, size=skipped.shape[-2:], mode="nearest")
            result = stage(torch.cat([larger, skipped], dim=1))
        scores: Tensor = self.scores(result)
        return functional.interpolate(scores, scale_factor=2.0, mode="bilinear") if self.halved else scores


def _conv(before: int, after: int, *, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]


def build(task: Task, size: tuple[int, int]) -> nn.Module:
    """Return the network of a task for images of (H, W), initialised from torch's global random state."""
    return Segmenter(len(task.classes), task.cell) if task.cell else Classifier(len(task.classes), size)


def learn(
    task: Task, data: Labelled, *, steps: int, seed: int, augmented: bool, device: str, averaged: float = 0.0
) -> nn.Module:
    """Train the network of a task with cross-entropy and AdamW, in float32, with a one-cycle learning rate.

    Args:
        task: The task, which determines the network.
        data: The training data.
        steps: Number of batches of 64 images of 48x48, or of fewer larger ones.
        seed: Seed of weights, batches and augmentation.
        augmented: Change the appearance of the images as :func:`augment` does.
        device: The resolved device.
        averaged: Share of the last steps whose weights and statistics are averaged; 0: the last step's are used.
    """
    torch.manual_seed(seed)
    height, width = data.images.shape[1:3]
    network = build(task, (height, width)).to(device)
    images, labels = as_tensor(data.images).to(device), torch.from_numpy(data.labels).to(device)
    batch_size = batch_of(_BATCH, (width, height))
    optimiser = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps)
    network.train()
    mean = AveragedModel(network, use_buffers=True)
    for step in range(steps):
        chosen = torch.randint(len(images), (batch_size,)).to(device)
        batch = images[chosen].float() / 255
        scores = network(normalised(augment(batch) if augmented else batch))
        loss = functional.cross_entropy(scores, labels[chosen], ignore_index=IGNORED)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        if step >= (1 - averaged) * steps:
            mean.update_parameters(network)
    return mean.module if averaged else network


def batch_of(count: int, size: tuple[int, int]) -> int:
    """Return how many images of (W, H) have as many pixels as ``count`` of 48x48, at most ``count``."""
    return max(1, min(count, round(count * 48 * 48 / math.prod(size))))


def as_tensor(images: Image) -> Tensor:
    """Convert (N, H, W, 3) to (N, 3, H, W), uint8."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def normalised(images: Tensor) -> Tensor:
    """Map [0, 1] to [-1, 1]."""
    return 2 * images - 1


def augment(images: Tensor) -> Tensor:
    """Change the appearance strongly, with the same hand-made settings for all tasks; geometry stays.

    Most images get their own gain, gamma, tint, blur and noise; labels of pixels stay valid.

    Args:
        images: (N, 3, H, W) in [0, 1].
    """
    count = len(images)

    def draw(low: float, high: float, channels: int = 1) -> Tensor:
        return torch.empty(count, channels, 1, 1, device=images.device).uniform_(low, high)

    changed = images.clamp(1e-4, 1) ** torch.exp2(draw(-1, 1))
    changed = (changed - 0.5) * draw(0.4, 1.3) + 0.5  # contrast
    changed = changed * torch.exp2(draw(-2.0, 0.6)) * draw(0.8, 1.2, 3)  # light, and its colour
    blurred = functional.avg_pool2d(functional.pad(changed, (2, 2, 2, 2), mode="reflect"), 5, stride=1)
    changed = torch.lerp(changed, blurred, draw(0, 1))
    changed = changed + torch.randn_like(changed) * draw(0, 0.08)
    return torch.where(draw(0, 1) < _AUGMENTED, changed, images).clamp(0, 1)


@torch.inference_mode()
def predict(network: nn.Module, images: Image, device: str) -> NDArray[np.float32]:
    """Return the scores of every class, (N, classes, ...)."""
    network.eval()
    tensor = as_tensor(images)
    parts = [network(normalised(part.to(device).float() / 255)).cpu() for part in tensor.split(256)]
    return np.asarray(torch.cat(parts).numpy(), np.float32)


def accuracy(scores: NDArray[np.float32], labels: Labels) -> tuple[float, dict[int, float]]:
    """Return the share of correctly classified images, overall and by class."""
    right = scores.argmax(axis=1) == labels
    return float(right.mean()), {int(label): float(right[labels == label].mean()) for label in np.unique(labels)}


def mean_iou(scores: NDArray[np.float32], labels: Labels) -> tuple[float, dict[int, float]]:
    """Return the mean intersection over union of the classes that occur, and that of each class."""
    found, counted = scores.argmax(axis=1), labels != IGNORED
    by_class = {}
    for label in np.unique(labels[counted]):
        ours, theirs = found[counted] == label, labels[counted] == label
        by_class[int(label)] = float((ours & theirs).sum() / (ours | theirs).sum())
    return float(np.mean([*by_class.values()])), by_class


def average_precision(scores: NDArray[np.float32], labels: Labels) -> tuple[float, dict[int, float]]:
    """Return the average precision of class 1 against class 0 over all cells (area under precision over recall)."""
    counted = labels != IGNORED
    order = np.argsort(-(scores[:, 1] - scores[:, 0])[counted], kind="stable")
    right = labels[counted][order] == 1
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    return float(precision[right].mean()), {}


METRICS: Mapping[str, Callable[[NDArray[np.float32], Labels], tuple[float, dict[int, float]]]] = {
    "accuracy": accuracy,
    "mIoU": mean_iou,
    "average precision": average_precision,
}
