"""LPIPS, the perceptual distance of a frame and its translation (Zhang et al. 2018, arXiv 1801.03924), by torchmetrics.

It only describes: it is 0 for a translation that changes nothing and large for one that ruins the frame.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import torch
import torchvision
from torch import nn

from sim2real.errors import Sim2RealError
from sim2real.metrics.base import About, Change, Image
from sim2real.metrics.features import cached_weights, load_network

if TYPE_CHECKING:
    from sim2real.datasets.labels import Label

Network = Literal["alexnet", "vgg16", "squeezenet1_1"]

_NAMES: Mapping[Network, Literal["alex", "vgg", "squeeze"]] = {
    "alexnet": "alex",
    "vgg16": "vgg",
    "squeezenet1_1": "squeeze",
}


class LpipsMetric:
    """The metric ``lpips``.

    Args:
        weights: File of torchvision's weights for the network; None: the one in torch's cache.
        network: One of the three networks that LPIPS is defined for.
        device: Device of the network.

    Raises:
        Sim2RealError: If torchmetrics is not installed, or the weights are missing or belong to another network.
    """

    def __init__(self, *, weights: str | Path | None = None, network: Network = "alexnet", device: str = "cpu") -> None:
        try:
            from torchmetrics.functional.image.lpips import _NoTrainLpips  # noqa: PLC0415  an extra
        except ModuleNotFoundError as error:
            raise Sim2RealError(
                f'lpips needs {error.name}, not installed here: pip install "sim2real[metrics]"'
            ) from error
        if network not in _NAMES:
            raise Sim2RealError(f"lpips has no network '{network}'; choose one of {', '.join(_NAMES)}")
        address = torchvision.models.get_model_weights(network).DEFAULT.url
        path = Path(weights) if weights else cached_weights(Path(address).name)
        if not path.is_file():
            raise Sim2RealError(f"lpips needs {path}, which does not exist; download it from {address}")
        features = cast("nn.Module", load_network(network, path).features).state_dict()
        self._lpips = _NoTrainLpips(net=_NAMES[network], pnet_rand=True)  # else it downloads weights
        self._lpips.net.load_state_dict(dict(zip(self._lpips.net.state_dict(), features.values(), strict=True)))
        self._lpips.to(device)
        self._device = device
        self.abouts: Mapping[str, About] = {"lpips": About(title=f"LPIPS of {network}, frame to frame", better=None)}

    @torch.inference_mode()
    def compare(self, before: Image, after: Image, labels: "Mapping[str, Label]") -> dict[str, Change]:  # noqa: ARG002  the contract of frame metrics; no labels are needed
        """Return the distance, 0 to about 1, of a frame and its translation, RGB (H, W, 3), sides at least 32 px."""
        pictures = (torch.tensor(image, device=self._device).permute(2, 0, 1)[None] / 255 for image in (before, after))
        return {"lpips": Change(float(self._lpips(*pictures, normalize=True)))}
