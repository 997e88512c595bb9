import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray
from safetensors.torch import save_file

from benchmarks.validation import blur, noise, read_some
from sim2real.errors import Sim2RealError
from sim2real.metrics.features import (
    Extractor,
    FrechetMetric,
    KernelMetric,
    frechet_distance,
    kernel_distance,
    read_weights,
)

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]


def random_weights(network: str) -> Mapping[str, torch.Tensor]:
    torch.manual_seed(0)
    weights: Mapping[str, torch.Tensor] = torchvision.models.get_model(network, weights=None).state_dict()
    return weights


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "squeezenet.pth"
    torch.save(random_weights("squeezenet1_0"), path)
    return path


def normal(count: int, seed: int, *, mean: float = 0, root: Floats | None = None) -> NDArray[np.float32]:
    drawn = np.random.default_rng(seed).normal(size=(count, 6))
    return np.asarray(mean + (drawn if root is None else drawn @ root), np.float32)


ROOTS = [np.random.default_rng(seed).normal(size=(6, 6)) for seed in (0, 1)]


def test_the_frechet_distance_of_known_distributions() -> None:
    """Of normal ones whose covariances commute it is known: (a - b)^2 + (sqrt v - sqrt w)^2, dimension by dimension."""
    same = normal(50_000, 0), normal(50_000, 1)
    assert frechet_distance(*same) == pytest.approx(0, abs=2e-3)
    assert frechet_distance(normal(50_000, 0), normal(50_000, 1, mean=2)) == pytest.approx(6 * 4, rel=0.02)
    wider = normal(50_000, 1, root=np.diag([1, 2, 3, 1, 1, 1.0]))
    assert frechet_distance(normal(50_000, 0), wider) == pytest.approx(1 + 4, rel=0.02)


@pytest.mark.parametrize("count", [4, 500])
def test_the_frechet_distance_agrees_with_torch_fidelity(count: int) -> None:
    """It has another way to the root of the covariances' product."""
    fidelity = pytest.importorskip("torch_fidelity.metric_fid")
    sets = [normal(count, seed, mean=seed, root=root) for seed, root in enumerate(ROOTS)]
    statistics = [fidelity.fid_features_to_statistics(torch.from_numpy(rows).double()) for rows in sets]
    expected = fidelity.fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(sets[0], sets[1]) == pytest.approx(expected, rel=1e-6)


def test_the_kernel_distance_agrees_with_torchmetrics() -> None:
    kid = pytest.importorskip("torchmetrics.image.kid")
    first, second = (normal(40, seed, mean=seed, root=root) for seed, root in enumerate(ROOTS))
    expected = kid.poly_mmd(*(torch.from_numpy(rows).double() for rows in (first, second)))
    assert kernel_distance(first, second) == pytest.approx(float(expected), rel=1e-9)


def test_the_kernel_distance_is_without_bias_whatever_the_numbers() -> None:
    distances = [kernel_distance(normal(5, seed), normal(40, 1000 + seed)) for seed in range(400)]
    assert abs(np.mean(distances)) < 3 * np.std(distances) / np.sqrt(len(distances))
    assert min(distances) < 0


def test_a_large_kernel_matrix_is_summed_in_blocks() -> None:
    many = normal(1500, 0)
    halves = kernel_distance(many, normal(20, 1))
    kernel = (many.astype(np.float64) @ many.T.astype(np.float64) / 6 + 1) ** 3
    other = normal(20, 1).astype(np.float64)
    within = (kernel.sum() - np.trace(kernel)) / (1500 * 1499)
    small = (other @ other.T / 6 + 1) ** 3
    across = ((many @ other.T / 6 + 1) ** 3).mean()
    assert halves == pytest.approx(within + (small.sum() - np.trace(small)) / (20 * 19) - 2 * across, rel=1e-6)


@pytest.mark.parametrize("network", ["squeezenet1_0", "alexnet", "resnet18", "mobilenet_v3_small", "convnext_tiny"])
def test_features_are_those_in_front_of_the_classifier(tmp_path: Path, network: str) -> None:
    torch.save(random_weights(network), tmp_path / "weights.pth")
    extract = Extractor(network, tmp_path / "weights.pth", normalise="imagenet", device="cpu")
    pictures = [*np.random.default_rng(0).integers(0, 256, (3, 70, 90, 3)).astype(np.uint8)]
    features = extract(pictures)
    width = {"squeezenet1_0": 512, "alexnet": 256, "resnet18": 512, "mobilenet_v3_small": 576, "convnext_tiny": 768}
    assert features.shape == (3, width[network])
    assert features[1] == pytest.approx(extract([pictures[1]])[0], rel=1e-3, abs=1e-5)
    assert np.ptp(features) > 0


def test_the_features_of_a_resnet_are_its_own(tmp_path: Path) -> None:
    weights = random_weights("resnet18")
    save_file(dict(weights), tmp_path / "weights.safetensors")
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    (features,) = Extractor("resnet18", tmp_path / "weights.safetensors", normalise="none", device="cpu")([picture])
    model = torchvision.models.resnet18(weights=None).eval()
    model.load_state_dict(weights)
    with torch.inference_mode():
        scores = model(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255)[0]
    assert features @ weights["fc.weight"].numpy().T + weights["fc.bias"].numpy() == pytest.approx(
        scores.numpy(), rel=1e-4, abs=1e-4
    )


@pytest.mark.parametrize("metric", [KernelMetric, FrechetMetric])
def test_a_metric_of_features_moves_with_what_is_shown(
    squeezenet: Path, town: list[Image], metric: type[KernelMetric] | type[FrechetMetric]
) -> None:
    measure = metric(weights=squeezenet)
    assert "squeezenet1_0" in measure.about.title
    rows = measure.describe(town)
    near, far = (measure.distance(measure.describe([*map(blur(size), town)]), rows) for size in (0.5, 3))
    assert near < far
    assert measure.distance(100 * rows, 100 * rows[::-1]) == pytest.approx(measure.distance(rows, rows[::-1]), rel=1e-3)


def test_with_real_weights_real_frames_are_nearer_to_each_other_than_any_simulation() -> None:
    if not (folder := os.environ.get("SIM2REAL_TEST_DATA")):
        pytest.skip("SIM2REAL_TEST_DATA names no folder with real samples")
    data = Path(folder)
    weights = data / "weights/squeezenet-imagenet/squeezenet1_0_imagenet_rgb01.safetensors"
    measure = KernelMetric(weights=weights, normalise="none")
    carla, camvid = (
        [image[:192, :256] for image in read_some(data / path, 24)]
        for path in ("carla/test/images", "camvid/val/images")
    )
    sim, real, noisy = (measure.describe(images) for images in (carla, camvid, [*map(noise(20), camvid)]))
    floor = abs(measure.distance(real[::2], real[1::2]))
    assert measure.distance(sim, real) > 2 * floor
    assert measure.distance(noisy, real) > 2 * floor


def test_mistakes_are_told_in_a_line(tmp_path: Path, squeezenet: Path) -> None:
    def complaint(network: str = "squeezenet1_0", weights: Path = squeezenet, normalise: str = "none") -> str:
        with pytest.raises(Sim2RealError) as caught:
            KernelMetric(network=network, weights=weights, normalise=normalise)  # type: ignore[arg-type] # users write anything
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "did you mean" in complaint(network="squeezenet")
    assert "not those of resnet18" in complaint(network="resnet18")
    assert "no such file" in complaint(weights=tmp_path / "none.pth")
    assert "imagenet or none" in complaint(normalise="yes")
    for name in ("bad.pth", "bad.safetensors"):
        (tmp_path / name).write_bytes(b"rubbish")
        assert "cannot be read as weights" in complaint(weights=tmp_path / name)
    torch.save({"model": {}}, tmp_path / "nested.pth")
    assert "holds no weights by name" in complaint(weights=tmp_path / "nested.pth")


def test_nothing_in_a_file_of_weights_is_run(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(1, 1), tmp_path / "module.pth")
    with pytest.raises(Sim2RealError, match="cannot be read as weights"):
        read_weights(tmp_path / "module.pth")


def test_a_network_that_takes_no_pictures_of_that_size_says_so(squeezenet: Path) -> None:
    measure = KernelMetric(weights=squeezenet)
    with pytest.raises(Sim2RealError, match="squeezenet1_0 does not take images of 4x4"):
        measure.describe([np.zeros((4, 4, 3), np.uint8)])


@pytest.mark.parametrize("distance", [kernel_distance, frechet_distance])
def test_a_single_picture_is_refused(distance: object) -> None:
    assert callable(distance)
    with pytest.raises(ValueError, match="two images"):
        distance(normal(1, 0), normal(5, 1))
