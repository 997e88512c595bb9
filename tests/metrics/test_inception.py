from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sim2real.errors import Sim2RealError
from sim2real.metrics.features import cached_weights, frechet_distance
from sim2real.metrics.inception import FILE, FrechetInceptionMetric, _clean, _Inception

fidelity = pytest.importorskip("torch_fidelity", reason="the extra metrics is not installed")

Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the network's shape."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    path = tmp_path_factory.mktemp("weights") / FILE
    torch.save({}, path)
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network = FeatureExtractorInceptionV3("random", ["2048"], str(path))
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def sets() -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(0)
    return [random.integers(low, 256, (6, 40, 60, 3)).astype(np.uint8) for low in (0, 100)]


class Pictures(torch.utils.data.Dataset[torch.Tensor]):
    def __init__(self, images: NDArray[np.uint8]) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> torch.Tensor:
        return torch.from_numpy(self.images[number]).permute(2, 0, 1)


def test_it_is_torch_fidelitys_figure(random_weights: Path, sets: list[NDArray[np.uint8]]) -> None:
    """With the same, though random, weights."""
    see = _Inception(random_weights, "legacy", "cpu")
    ours = frechet_distance(*(see([*images]) for images in sets))
    theirs = fidelity.calculate_metrics(
        input1=Pictures(sets[0]),
        input2=Pictures(sets[1]),
        fid=True,
        feature_extractor_weights_path=str(random_weights),
        cuda=False,
        cache=False,
        verbose=False,
        batch_size=6,
        save_cpu_ram=True,
    )
    assert ours == pytest.approx(theirs["frechet_inception_distance"], rel=1e-3)


def test_features_do_not_depend_on_the_batch(random_weights: Path, sets: list[NDArray[np.uint8]]) -> None:
    see = _Inception(random_weights, "clean", "cpu")
    together = see([*sets[0][:3]])
    assert together.shape == (3, 2048)
    assert together[1] == pytest.approx(see([sets[0][1]])[0], rel=1e-3, abs=1e-5)


def test_clean_resizing_is_smooth_and_unrounded(sets: list[NDArray[np.uint8]]) -> None:
    large = np.random.default_rng(0).integers(0, 256, (1, 900, 900, 3)).astype(np.uint8)
    small = _clean(large)
    assert small.shape == (1, 3, 299, 299)
    assert small.std() < 0.5 * large.std()  # of neighbours' mean
    assert not torch.equal(small, small.round())
    assert torch.equal(_clean(np.full((1, 20, 30, 3), 77, np.uint8)), torch.full((1, 3, 299, 299), 77.0))


def test_other_weights_make_no_fid(random_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Sim2RealError, match="not the weights that define FID"):
        FrechetInceptionMetric(weights=random_weights)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(
        Sim2RealError, match=f"{FILE}, which does not exist; download it from https://github.com/toshas"
    ):
        FrechetInceptionMetric()
    with pytest.raises(Sim2RealError, match="clean or legacy"):
        FrechetInceptionMetric(resize="nearest")  # type: ignore[arg-type] # users write anything


def test_with_the_real_weights_too(sets: list[NDArray[np.uint8]]) -> None:
    if not cached_weights(FILE).is_file():
        pytest.skip(f"torch's cache has no {FILE}")
    metric = FrechetInceptionMetric(resize="legacy")
    ours = metric.distance(*(metric.describe([*images]) for images in sets))
    theirs = fidelity.calculate_metrics(
        input1=Pictures(sets[0]), input2=Pictures(sets[1]), fid=True, cuda=False, cache=False, verbose=False
    )
    assert ours == pytest.approx(theirs["frechet_inception_distance"], rel=1e-3)
