from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray

from benchmarks.validation import blur
from sim2real.errors import Sim2RealError
from sim2real.metrics.perceptual import LpipsMetric, Network

pytest.importorskip("torchmetrics", reason="the extra metrics is not installed")

Image = NDArray[np.uint8]


@pytest.mark.parametrize("network", ["alexnet", "squeezenet1_1"])
def test_it_is_torchmetrics_figure(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, town: list[Image]
) -> None:
    """With the same, though random, weights of the network."""
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    torch.manual_seed(0)
    model = torchvision.models.get_model(network, weights=None)
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    monkeypatch.setattr(torchvision.models, network, lambda **_: model)
    theirs = LearnedPerceptualImagePatchSimilarity("alex" if network == "alexnet" else "squeeze", normalize=True)
    monkeypatch.undo()
    pair = town[0], blur(2)(town[0])
    expected = float(theirs(*(torch.from_numpy(image).permute(2, 0, 1)[None] / 255 for image in pair)))
    metric = LpipsMetric(weights=tmp_path / "weights.pth", network=network)
    assert metric.abouts["lpips"].better is None
    assert metric.compare(*pair, {})["lpips"].after == pytest.approx(expected, rel=1e-4)
    assert expected > 0
    assert metric.compare(town[0], town[0], {})["lpips"].after == 0


def test_what_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(Sim2RealError, match=r"alexnet-.*pth, which does not exist; download it from https://download"):
        LpipsMetric()
    with pytest.raises(Sim2RealError, match="alexnet, vgg16, squeezenet1_1"):
        LpipsMetric(network="resnet50")  # type: ignore[arg-type] # users write anything
