"""LPIPS, how different a frame and its translation look: Zhang et al. (2018, arXiv 1801.03924), through torchmetrics.

It describes: a translation that changes nothing has none of it, and one that ruins the frame has much.
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
        weights: torchvision's weights of the network; those of torch's cache where no file is named.
        network: Which of the three that LPIPS is known for.
        device: Where it runs.

    Raises:
        Sim2RealError: torchmetrics is not installed, or the weights are not there or are others.
    """

    def __init__(self, *, weights: str | Path | None = None, network: Network = "alexnet", device: str = "cpu") -> None:
        try:
            from torchmetrics.functional.image.lpips import _NoTrainLpips  # noqa: PLC0415  an extra
        except ModuleNotFoundError as error:
            raise Sim2RealError(
                f'lpips needs {error.name}, not installed here: pip install "sim2real[metrics]"'
            ) from error
        if network not in _NAMES:
            raise Sim2RealError(f"lpips has no network '{network}'; {', '.join(_NAMES)}")
        address = torchvision.models.get_model_weights(network).DEFAULT.url
        path = Path(weights) if weights else cached_weights(Path(address).name)
        if not path.is_file():
            raise Sim2RealError(f"lpips needs {path}, which is not there; get it from {address}")
        features = cast("nn.Module", load_network(network, path).features).state_dict()
        self._lpips = _NoTrainLpips(net=_NAMES[network], pnet_rand=True)  # random: else it fetches weights by itself
        self._lpips.net.load_state_dict(dict(zip(self._lpips.net.state_dict(), features.values(), strict=True)))
        self._lpips.to(device)
        self._device = device
        self.abouts: Mapping[str, About] = {"lpips": About(title=f"LPIPS of {network}, frame to frame", better=None)}

    @torch.inference_mode()
    def compare(self, before: Image, after: Image, labels: "Mapping[str, Label]") -> dict[str, Change]:  # noqa: ARG002  the contract of frame metrics; no labels are needed
        """The distance of a frame and its translation, RGB (H, W, 3) of one size, at least 32 px: 0 to about 1."""
        pictures = (torch.tensor(image, device=self._device).permute(2, 0, 1)[None] / 255 for image in (before, after))
        return {"lpips": Change(float(self._lpips(*pictures, normalize=True)))}
