"""FID, the Frechet inception distance of Heusel et al. (2017, arXiv 1706.08500), with the network that defines it.

torch-fidelity (Obukhov et al. 2020, doi:10.5281/zenodo.4957738) implements the network and publishes its weights,
which the user downloads into torch's cache. With other weights, the value would not be FID.
"""

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow
from torch import Tensor, nn

from sim2real.errors import Sim2RealError
from sim2real.metrics.base import About, Features, Image
from sim2real.metrics.features import cached_weights, frechet_distance

FILE = "weights-inception-2015-12-05-6726825d.pth"
_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
_ADDRESS = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{FILE}"
_SIDE = 299  # px, the network's input
_BATCH = 16

Resize = Literal["clean", "legacy"]


class FrechetInceptionMetric:
    """The metric ``fid``.

    Args:
        weights: The file ``weights-inception-2015-12-05-6726825d.pth``; None: the one in torch's cache.
        resize: How images are resized to the network's 299x299 pixels: ``"clean"``, bicubic with antialiasing and
            without rounding (Parmar et al. 2022, arXiv 2104.11222), or ``"legacy"``, bilinear without antialiasing, as
            in most published values. The two give different values.
        device: Device of the network.

    Raises:
        Sim2RealError: If torch-fidelity is not installed, or the weights are missing or are not the original ones.
    """

    resamples = 4

    def __init__(self, *, weights: str | Path | None = None, resize: Resize = "clean", device: str = "cpu") -> None:
        if resize not in {"clean", "legacy"}:
            raise Sim2RealError(f"resize: '{resize}' is not known; choose clean or legacy")
        self.about = About(title=f"Frechet inception distance, {resize} resizing", better="lower", least=2000)
        self.describe = _Inception(_genuine(Path(weights) if weights else cached_weights(FILE)), resize, device)

    def distance(self, images: Features, real: Features) -> float:
        """Return the distance; only compare values of equal numbers of images.

        Raises:
            ValueError: If a set has fewer than two images.
        """
        return frechet_distance(images, real)


def _genuine(path: Path) -> Path:
    """Return the path if the file holds the weights that define FID.

    Raises:
        Sim2RealError: If it is missing, or holds something else.
    """
    if not path.is_file():
        raise Sim2RealError(f"fid needs {path}, which does not exist; download it from {_ADDRESS}")
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != _SHA256:
            raise Sim2RealError(f"{path}: not the weights that define FID, or damaged; download {_ADDRESS}")
    return path


class _Inception:
    """The network that returns 2048 features. Its weights file must be trusted, because it is unpickled."""

    def __init__(self, weights: Path, resize: Resize, device: str) -> None:
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3  # noqa: PLC0415  an extra
        except ModuleNotFoundError as error:
            raise Sim2RealError(
                f'fid needs {error.name}, not installed here: pip install "sim2real[metrics]"'
            ) from error
        network = FeatureExtractorInceptionV3("fid", ["2048"], str(weights))
        self._layers = nn.Sequential(*[*network.children()][:-1], nn.Flatten()).to(
            device
        )  # without the last layer, the classifier
        self._resize = _clean if resize == "clean" else _legacy
        self._device = device
        self._alone = threading.Lock()  # torch uses all cores for one batch, and each batch takes much memory

    @torch.inference_mode()
    def __call__(self, images: Sequence[Image]) -> Features:
        """Return the features (N, 2048) of images, RGB (H, W, 3)."""
        batches = (images[start : start + _BATCH] for start in range(0, len(images), _BATCH))
        with self._alone:
            seen = [self._layers((self._resize(np.stack(batch)).to(self._device) - 128) / 128) for batch in batches]
        return cast("Features", torch.cat(seen).cpu().numpy())


def _clean(images: NDArray[np.uint8]) -> Tensor:
    channels = [Pillow.fromarray(channel) for channel in images.transpose(0, 3, 1, 2).reshape(-1, *images.shape[1:3])]
    resized = [channel.convert("F").resize((_SIDE, _SIDE), Pillow.Resampling.BICUBIC) for channel in channels]
    return torch.from_numpy(np.stack([np.asarray(each) for each in resized]).clip(0, 255)).reshape(-1, 3, _SIDE, _SIDE)


def _legacy(images: NDArray[np.uint8]) -> Tensor:
    from torch_fidelity.interpolate_compat_tensorflow import (  # noqa: PLC0415  an extra
        interpolate_bilinear_2d_like_tensorflow1x as interpolate,
    )

    values = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    return cast("Tensor", interpolate(values, size=(_SIDE, _SIDE), align_corners=False))
