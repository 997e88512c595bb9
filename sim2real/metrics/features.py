"""Measure the distance between two sets of images by the last features of a trained network.

The network is any torchvision classifier with weights that the user provides; nothing is downloaded. Values of
different networks are not comparable, and none of them is FID, which ``sim2real.metrics.inception`` provides.
"""

import difflib
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal, cast

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from sim2real.errors import Sim2RealError, UnknownNameError
from sim2real.metrics.base import About, Features, Image

_HEADS = ("fc", "head", "heads", "classifier")  # torchvision's names of the layers behind the features
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as torchvision's weights expect
_PIXELS = 2**19  # in a batch, unless a single image has more
_BLOCK = 1024  # rows of a kernel matrix at a time


def read_weights(path: str | Path) -> Mapping[str, Tensor]:
    """Read weights from a ``.safetensors`` file or from one that ``torch.save`` wrote, without running code from it.

    Raises:
        Sim2RealError: If there is no such file, or it holds something else.
    """
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise Sim2RealError(f"{path}: no such file of weights") from error
    except Exception as error:  # a file that is no pickle can raise any exception
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Sim2RealError(f"{path}: cannot be read as weights, .safetensors or .pth ({reason})") from error
    if not isinstance(weights, Mapping) or not all(isinstance(each, Tensor) for each in weights.values()):
        raise Sim2RealError(f"{path}: holds no weights by name; save the network's state_dict()")
    return weights


def cached_weights(name: str) -> Path:
    """Return the path of a weights file in torch's cache, whether or not it exists."""
    return Path(torch.hub.get_dir()) / "checkpoints" / name


def load_network(network: str, weights: str | Path) -> nn.Module:
    """Load one of torchvision's networks with the weights of a file, for inference only.

    Raises:
        UnknownNameError: If torchvision has no such classifier.
        Sim2RealError: If the file cannot be read, or belongs to another network.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if network not in known:
        near = difflib.get_close_matches(network.lower(), known, n=3) or ["squeezenet1_0", "resnet50"]
        raise UnknownNameError(f"torchvision has no network '{network}'; did you mean {' or '.join(near)}?")
    model = cast("nn.Module", torchvision.models.get_model(network, weights=None))
    load_into(model, read_weights(weights), f"{weights}: these weights are not those of {network}")
    return model


def load_into(model: nn.Module, weights: Mapping[str, Tensor], otherwise: str) -> None:
    """Load weights into a network, for inference only.

    Raises:
        Sim2RealError: If they do not fit; the message is ``otherwise`` and the reason.
    """
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).splitlines()[1:2]).strip()
        raise Sim2RealError(f"{otherwise} ({reason[:120]})") from error
    model.eval().requires_grad_(requires_grad=False)


class Extractor:
    """A network without its classifier, which returns the features of whole images.

    Args:
        network: A name of ``torchvision.models``, e.g. ``"squeezenet1_0"``.
        weights: A file with its weights.
        normalise: ``"imagenet"`` for weights trained as torchvision's are, ``"none"`` for weights that take RGB in
            [0, 1].
        device: Device of the network.

    Raises:
        Sim2RealError: If the network is unknown, or the file does not hold its weights.
    """

    def __init__(
        self, network: str, weights: str | Path, *, normalise: Literal["imagenet", "none"], device: str
    ) -> None:
        if normalise not in {"imagenet", "none"}:
            raise Sim2RealError(f"normalise: '{normalise}' is not known; choose imagenet or none")
        self._model = load_network(network, weights)
        setattr(self._model, next(name for name in _HEADS if hasattr(self._model, name)), _Pool())
        if hasattr(self._model, "avgpool"):  # AlexNet and VGG pool to several places
            self._model.avgpool = nn.AdaptiveAvgPool2d(1)
        self._model.to(device)
        self._network = network
        self._alone = threading.Lock()  # torch uses all cores for one batch, and each batch takes much memory
        self._device = device
        mean, deviation = (_MEAN, _DEVIATION) if normalise == "imagenet" else ((0.0,) * 3, (1.0,) * 3)
        self._mean, self._deviation = (torch.tensor(each, device=device)[:, None, None] for each in (mean, deviation))

    def __call__(self, images: Sequence[Image]) -> Features:
        """Return the last features of images of the same size, RGB (H, W, 3), averaged over all places: (N, features).

        Raises:
            Sim2RealError: If the network does not take images of this size.
        """
        batch = max(1, _PIXELS // (images[0].shape[0] * images[0].shape[1]))
        parts = [images[start : start + batch] for start in range(0, len(images), batch)]
        with self._alone:
            return np.concatenate([self._see(np.stack(part)) for part in parts])

    @torch.inference_mode()
    def _see(self, images: NDArray[np.uint8]) -> Features:
        values = torch.from_numpy(images).to(self._device).permute(0, 3, 1, 2).float() / 255
        try:
            features = self._model((values - self._mean) / self._deviation)
        except (RuntimeError, AssertionError) as error:
            size = f"{images.shape[2]}x{images.shape[1]}"
            raise Sim2RealError(f"{self._network} does not take images of {size}; choose another network") from error
        return cast("Features", features.cpu().numpy())


class _Pool(nn.Module):
    """(N, C, ...) -> (N, C)."""

    def forward(self, features: Tensor) -> Tensor:
        return features if features.ndim == 2 else features.flatten(2).mean(dim=2)


class _FeatureMetric:
    """A distance of the features of a trained network.

    Args:
        weights: A file with the network's weights.
        network: A name of ``torchvision.models``.
        normalise: ``"imagenet"`` for weights trained as torchvision's are, ``"none"`` for weights that take RGB in
            [0, 1].
        device: Device of the network.

    Raises:
        Sim2RealError: If the network is unknown, or the file does not hold its weights.
    """

    title: ClassVar[str]
    least: ClassVar[int]

    def __init__(
        self,
        *,
        weights: str | Path,
        network: str = "squeezenet1_0",
        normalise: Literal["imagenet", "none"] = "imagenet",
        device: str = "cpu",
    ) -> None:
        self.about = About(title=self.title.format(network), better="lower", least=self.least)
        self.describe = Extractor(network, weights, normalise=normalise, device=device)


class KernelMetric(_FeatureMetric):
    """The metric ``kid``: the kernel distance of features (Binkowski et al. 2018, arXiv 1801.01401).

    It is the unbiased estimate, from all images at once, of the squared maximum mean discrepancy under the kernel
    (x y / d + 1)^3. The value may fall below 0, and the sets may differ in size.

    The options are ``weights``, ``network``, ``normalise`` and ``device``.
    """

    title = "kernel distance of {}'s features"
    least = 50
    resamples = 50

    def distance(self, images: Features, real: Features) -> float:
        """Return the distance of features in units of the root mean square of the real ones.

        Raises:
            ValueError: If a set has fewer than two images.
        """
        return kernel_distance(*_in_units(images, real))


def _in_units(images: Features, real: Features) -> tuple[Features, Features]:
    """Divide both by the root mean square of the real features, since the kernel assumes a fixed scale."""
    unit = max(float(np.sqrt(np.square(real, dtype=np.float64).mean())), float(np.finfo(np.float32).tiny))
    return images / np.float32(unit), real / np.float32(unit)


def kernel_distance(images: Features, real: Features) -> float:
    """Return the unbiased estimate of the squared maximum mean discrepancy of features (N, d).

    Raises:
        ValueError: If a set has fewer than two rows.
    """
    if min(len(images), len(real)) < 2:
        raise ValueError("a kernel distance needs at least two images of each set")
    within = [
        (_kernel_sum(rows, rows) - _kernel_trace(rows)) / (len(rows) * (len(rows) - 1)) for rows in (images, real)
    ]
    return sum(within) - 2 * _kernel_sum(images, real) / (len(images) * len(real))


def _kernel_sum(one: Features, other: Features) -> float:
    right = other.T.astype(np.float64)
    blocks = (one[start : start + _BLOCK].astype(np.float64) for start in range(0, len(one), _BLOCK))
    return sum(float(((block @ right / len(right) + 1) ** 3).sum()) for block in blocks)


def _kernel_trace(rows: Features) -> float:
    return float(((np.square(rows, dtype=np.float64).mean(axis=1) + 1) ** 3).sum())


class FrechetMetric(_FeatureMetric):
    """The metric ``frechet``: the Frechet distance of features, taken as normally distributed.

    It is the distance of Heusel et al. (2017, arXiv 1706.08500) with another network. Its bias shrinks as the number
    of images grows: only compare values of equal numbers of images.

    The options are ``weights``, ``network``, ``normalise`` and ``device``.
    """

    title = "Frechet distance of {}'s features (no FID)"
    least = 1000
    resamples = 20

    def distance(self, images: Features, real: Features) -> float:
        """Return the distance of features in units of the root mean square of the real ones.

        Raises:
            ValueError: If a set has fewer than two images.
        """
        return frechet_distance(*_in_units(images, real))


def frechet_distance(images: Features, real: Features) -> float:
    """Return the squared Frechet distance of normal distributions with the means and covariances of features (N, d).

    For covariances A'A and B'B, the trace of the square root of their product is the sum of the singular values of AB'.
    This needs no matrix square root and works for covariances without full rank.

    Raises:
        ValueError: If a set has fewer than two rows.
    """
    if min(len(images), len(real)) < 2:
        raise ValueError("a Frechet distance needs at least two images of each set")
    (mean, root), (real_mean, real_root) = (_moments(rows.astype(np.float64)) for rows in (images, real))
    shared = np.linalg.svd(root @ real_root.T, compute_uv=False).sum()
    spreads = np.square(root).sum() + np.square(real_root).sum()
    return float(np.square(mean - real_mean).sum() + spreads - 2 * shared)


def _moments(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean (d) of rows (N, d), and a matrix A (at most d, d) with A'A equal to their covariance."""
    mean = rows.mean(axis=0)
    root = (rows - mean) / np.sqrt(len(rows) - 1)
    return mean, np.asarray(np.linalg.qr(root, mode="r")) if len(rows) > rows.shape[1] else root
