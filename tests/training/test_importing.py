"""Generators of other programs: what they compute after the import is what the original computes.

The originals are written here from the names and shapes of their published weights, on torch's functions alone.
"""

import io
import json
import pickle
import subprocess
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

import sim2real
from sim2real.config import resolve
from sim2real.errors import Sim2RealError
from sim2real.foreign import default_direction, generator_of, recognise
from sim2real.model import read_info
from sim2real.training.importing import default_run, import_run
from sim2real.training.setup import build_generator

Weights = dict[str, Tensor]
Cli = Callable[..., subprocess.CompletedProcess[str]]


def conv_weights(before: int, after: int, side: int, *, bias: bool = True, transposed: bool = False) -> Weights:
    shape = (before, after, side, side) if transposed else (after, before, side, side)
    weights = {"weight": torch.randn(shape) * (2 / (before * side**2)) ** 0.5}
    return weights | ({"bias": torch.randn(after) * 0.1} if bias else {})


def norm_weights(norm: str, channels: int) -> Weights:
    """What files of the reference hold of a norm; ``old`` is an instance norm as torch 0.3 wrote it."""
    statistics = {"running_mean": torch.randn(channels) * 0.1, "running_var": torch.rand(channels) + 0.5}
    if norm == "batch":
        own = {"weight": torch.rand(channels) + 0.5, "bias": torch.randn(channels) * 0.1}
        return own | statistics | {"num_batches_tracked": torch.tensor(7)}
    return statistics if norm == "old" else {}


def normed(weights: Weights, place: str, norm: str, x: Tensor) -> Tensor:
    if norm == "batch":
        mean, variance, weight, bias = (
            weights[f"{place}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")
        )
        return functional.batch_norm(x, mean, variance, weight, bias)
    return functional.instance_norm(x) if norm in {"instance", "old"} else x


class ResNetFile:
    """A ResNet generator of the reference or of CUT as names and tensors, and what it computes."""

    def __init__(self, *, width: int = 6, blocks: int = 2, norm: str = "instance", dropout: bool = False,
                 antialias: str = "") -> None:  # fmt: skip
        self.norm, self.blocks, self.dropout, self.antialias = norm, blocks, dropout, antialias
        self.weights: Weights = {}
        self.steps: list[tuple[str, str]] = []
        bias = norm in {"instance", "old"}
        place = 1
        self.add(place, conv_weights(3, width, 7, bias=bias), width)
        place = 4
        self.downs, self.ups, self.middle = [], [], []
        for times in (1, 2):
            self.downs.append(place)
            self.add(place, conv_weights(width * times, width * times * 2, 3, bias=bias), width * times * 2)
            place += 3
            if antialias:
                self.filter(place, width * times * 2, [1, 2, 1])
                place += 1
        for _ in range(blocks):
            self.middle.append(place)
            second = 6 if dropout else 5
            for number in (1, second):
                inner = f"{place}.conv_block.{number}"
                self.add(inner, conv_weights(4 * width, 4 * width, 3, bias=bias), 4 * width,
                         f"{place}.conv_block.{number + 1}")  # fmt: skip
            place += 1
        for times in (4, 2):
            before, after = width * times, width * times // 2
            if antialias == "both":
                self.filter(place, before, [2, 6, 6, 2])
                place += 1
            self.ups.append(place)
            self.add(place, conv_weights(before, after, 3, bias=bias, transposed=antialias != "both"), after)
            place += 3
        self.end = place + 1
        self.add(self.end, conv_weights(width, 3, 7), None)

    def add(self, place: object, weights: Weights, channels: int | None, norm_place: object = None) -> None:
        self.weights |= {f"model.{place}.{name}": tensor for name, tensor in weights.items()}
        if channels:
            norm_place = norm_place or int(str(place)) + 1
            self.weights |= {
                f"model.{norm_place}.{name}": tensor for name, tensor in norm_weights(self.norm, channels).items()
            }

    def filter(self, place: int, channels: int, line: list[int]) -> None:
        row = torch.tensor(line, dtype=torch.float32) / (4 if len(line) == 3 else 8)
        self.weights[f"model.{place}.filt"] = torch.outer(row, row).repeat(channels, 1, 1, 1)

    def __call__(self, images: Tensor) -> Tensor:
        w = self.weights

        def conv(place: object, x: Tensor, **options: int) -> Tensor:
            return functional.conv2d(x, w[f"model.{place}.weight"], w.get(f"model.{place}.bias"), **options)

        def reflected(x: Tensor, pixels: int) -> Tensor:
            return functional.pad(x, (pixels,) * 4, mode="reflect")

        def layer(place: int, x: Tensor) -> Tensor:
            return functional.relu(normed(w, f"model.{place + 1}", self.norm, x))

        x = layer(1, conv(1, reflected(images, 3)))
        for place in self.downs:
            x = layer(place, conv(place, x, padding=1, stride=1 if self.antialias else 2))
            if self.antialias:
                kernel = w[f"model.{place + 3}.filt"]
                x = functional.conv2d(reflected(x, 1), kernel, stride=2, groups=len(kernel))
        second = 6 if self.dropout else 5
        for place in self.middle:
            inner = f"{place}.conv_block"
            y = functional.relu(normed(w, f"model.{inner}.2", self.norm, conv(f"{inner}.1", reflected(x, 1))))
            y = conv(f"{inner}.{second}", reflected(y, 1))
            x = x + normed(w, f"model.{inner}.{second + 1}", self.norm, y)
        for place in self.ups:
            if self.antialias == "both":
                kernel = w[f"model.{place - 1}.filt"]
                x = functional.pad(x, (1,) * 4, mode="replicate")
                x = functional.conv_transpose2d(x, kernel, stride=2, padding=2, groups=len(kernel))[..., 1:-1, 1:-1]
                x = conv(place, x, padding=1)
            else:
                weight, bias = w[f"model.{place}.weight"], w.get(f"model.{place}.bias")
                x = functional.conv_transpose2d(x, weight, bias, stride=2, padding=1, output_padding=1)
            x = layer(place, x)
        return torch.tanh(conv(self.end, reflected(x, 3)))


class UNetFile:
    """A U-Net generator of the reference as names and tensors, and what it computes."""

    stride: int

    def __init__(self, *, width: int = 4, stages: int = 7, norm: str = "batch") -> None:
        self.norm, self.stages, self.stride = norm, stages, 2**stages
        self.weights: Weights = {}
        bias = norm in {"instance", "old"}
        channels = [width * min(2**stage, 8) for stage in range(stages)]
        self.places = ["model.model", *(f"model.model.1.model{'.3.model' * depth}" for depth in range(stages - 1))]
        self.put(f"{self.places[0]}.0", conv_weights(3, width, 4, bias=bias))
        self.put(f"{self.places[0]}.3", conv_weights(2 * width, 3, 4, transposed=True))
        for stage in range(1, stages):
            place, inner = self.places[stage], stage == stages - 1
            before, after = channels[stage - 1], channels[stage]
            up, up_norm = (3, 4) if inner else (5, 6)
            self.put(f"{place}.1", conv_weights(before, after, 4, bias=bias))
            if not inner:
                self.put(f"{place}.2", norm_weights(norm, after))
            self.put(f"{place}.{up}", conv_weights(after * (2 - inner), before, 4, bias=bias, transposed=True))
            self.put(f"{place}.{up_norm}", norm_weights(norm, before))

    def put(self, place: str, weights: Weights) -> None:
        self.weights |= {f"{place}.{name}": tensor for name, tensor in weights.items()}

    def __call__(self, images: Tensor) -> Tensor:
        return torch.tanh(self.stage(0, images))

    def stage(self, stage: int, x: Tensor) -> Tensor:
        w, place = self.weights, self.places[stage]

        def down(number: int, x: Tensor) -> Tensor:
            weight, bias = w[f"{place}.{number}.weight"], w.get(f"{place}.{number}.bias")
            return functional.conv2d(x, weight, bias, stride=2, padding=1)

        def up(number: int, x: Tensor) -> Tensor:
            weight, bias = w[f"{place}.{number}.weight"], w.get(f"{place}.{number}.bias")
            return functional.conv_transpose2d(functional.relu(x), weight, bias, stride=2, padding=1)

        if not stage:
            return up(3, self.stage(1, down(0, x)))
        inside = down(1, functional.leaky_relu(x, 0.2))
        if stage < self.stages - 1:
            inside = self.stage(stage + 1, normed(w, f"{place}.2", self.norm, inside))
            return torch.cat([x, normed(w, f"{place}.6", self.norm, up(5, inside))], 1)
        return torch.cat([x, normed(w, f"{place}.4", self.norm, up(3, inside))], 1)


FILES: dict[str, Callable[[], ResNetFile | UNetFile]] = {
    "instance": ResNetFile,
    "nine blocks": lambda: ResNetFile(blocks=9, width=3),
    "dropout": lambda: ResNetFile(dropout=True, blocks=4),
    "batch": lambda: ResNetFile(norm="batch"),
    "batch, dropout": lambda: ResNetFile(norm="batch", dropout=True),
    "no norm": lambda: ResNetFile(norm="none"),
    "old": lambda: ResNetFile(norm="old"),
    "CUT": lambda: ResNetFile(antialias="both"),
    "CUT, doubled as in the reference": lambda: ResNetFile(antialias="down"),
    "CUT, batch": lambda: ResNetFile(antialias="both", norm="batch"),
    "unet_128": UNetFile,
    "unet_256, instance": lambda: UNetFile(stages=8, norm="instance"),
    "unet_128, no norm": lambda: UNetFile(norm="none"),
}


def image(width: int, height: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    small = rng.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8)
    return np.ascontiguousarray(np.kron(small, np.ones((16, 16, 1), np.uint8))[:height, :width])


def computed(original: ResNetFile | UNetFile, picture: np.ndarray) -> np.ndarray:
    """What the original paints of a picture that is padded by reflection to its stride."""
    height, width = picture.shape[:2]
    stride = getattr(original, "stride", 4)
    padded = np.pad(picture, ((0, -height % stride), (0, -width % stride), (0, 0)), mode="reflect")
    x = torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.inference_mode():
        y = original(x)[0, :, :height, :width].permute(1, 2, 0)
    return ((y + 1) * 127.5).numpy()


@pytest.mark.parametrize("size", [(256, 256), (1242, 375)])
@pytest.mark.parametrize("name", FILES)
def test_an_imported_generator_paints_what_the_original_paints(
    name: str, size: tuple[int, int], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    original = FILES[name]()
    torch.save(original.weights, tmp_path / "latest_net_G_A.pth")
    import_run(tmp_path / "latest_net_G_A.pth", tmp_path / "run", direction="sim2real")
    translate = sim2real.load(tmp_path / "run", device="cpu", precision="fp32")
    picture = image(*size)
    expected = computed(original, picture)
    assert np.ptp(expected) > 60  # it paints something
    assert np.abs(translate(picture).astype(float) - expected).max() <= 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nine blocks", "resnet_9blocks of pytorch-CycleGAN-and-pix2pix, instance norm"),
        ("dropout", "resnet_4blocks of pytorch-CycleGAN-and-pix2pix, instance norm"),
        ("batch", "resnet_2blocks of pytorch-CycleGAN-and-pix2pix, batch norm"),
        ("old", "resnet_2blocks of pytorch-CycleGAN-and-pix2pix, instance norm"),
        ("CUT", "resnet_2blocks of contrastive-unpaired-translation, instance norm"),
        ("unet_256, instance", "unet_256 of pytorch-CycleGAN-and-pix2pix, instance norm"),
    ],
)
def test_the_network_is_described(name: str, words: str) -> None:
    assert recognise(FILES[name]().weights).description == words


def test_wrappers_and_other_containers_make_no_difference(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = ResNetFile(width=2, blocks=1).weights
    wrapped = {f"module.{name}": tensor for name, tensor in weights.items()}
    torch.save(weights, tmp_path / "plain.pth")
    torch.save(wrapped, tmp_path / "wrapped.pth", _use_new_zipfile_serialization=False)
    torch.save({"epoch": 3, "state_dict": wrapped, "optimizer": {"state": {}}}, tmp_path / "nested.pth")
    torch.save({"G_A": wrapped, "G_B": {"x": torch.zeros(1)}}, tmp_path / "both.pth")
    save_file(weights, tmp_path / "weights.safetensors")
    half = {name: tensor.half() for name, tensor in weights.items()}
    torch.save(half, tmp_path / "half.pth")
    runs = [
        import_run(tmp_path / name, tmp_path / "runs" / name, direction="sim2real", key=key)[0]
        for name, key in [
            ("plain.pth", None),
            ("wrapped.pth", None),
            ("nested.pth", None),
            ("both.pth", "G_A"),
            ("weights.safetensors", None),
        ]
    ]
    picture = image(64, 48)
    painted = [sim2real.load(run.parent, device="cpu")(picture) for run in runs]
    for other in painted[1:]:
        np.testing.assert_array_equal(other, painted[0])
    import_run(tmp_path / "half.pth", tmp_path / "half", direction="sim2real")
    with pytest.raises(
        Sim2RealError, match=r"both.pth: holds several networks \(G_A, G_B\); name one of them with --key"
    ):
        import_run(tmp_path / "both.pth", tmp_path / "run", direction="sim2real")
    with pytest.raises(Sim2RealError, match="holds no network 'G_C'; it holds G_A, G_B"):
        import_run(tmp_path / "both.pth", tmp_path / "run", direction="sim2real", key="G_C")
    assert not (tmp_path / "run").exists()


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path("was_run_by_an_import").touch, ())  # where the command runs


def altered(change: Callable[[Weights], object]) -> Weights:
    weights = ResNetFile(width=2, blocks=1).weights
    change(weights)
    return weights


def compressed(path: Path) -> bytes:
    """A checkpoint whose records are compressed, as torch never writes them: they may unpack to any size."""
    torch.save(ResNetFile(width=2, blocks=1).weights, path)
    packed = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as other:
        for name in archive.namelist():
            other.writestr(name, archive.read(name))
    return packed.getvalue()


@settings(max_examples=60)
@given(place=st.floats(0, 1), sign=st.integers(0, 255), cut=st.floats(0.2, 1.5))
def test_a_damaged_file_is_read_or_refused(place: float, sign: int, cut: float) -> None:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.pth"
        torch.save(ResNetFile(width=2, blocks=1).weights, file)
        data = bytearray(file.read_bytes())
        data[min(int(place * len(data)), len(data) - 1)] = sign
        file.write_bytes(data[: int(cut * len(data))])
        with suppress(Sim2RealError):
            generator_of(file)


def test_compressed_records_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(compressed(tmp_path / "plain.pth"))
    with pytest.raises(Sim2RealError, match=r"x\.pth: damaged, or it holds Python objects"):
        generator_of(tmp_path / "x.pth")


def test_a_network_among_others_is_found_by_its_prefix(tmp_path: Path) -> None:
    torch.manual_seed(0)
    networks = {name: ResNetFile(width=2, blocks=1).weights for name in ("netG_A", "netG_B")}
    flat = {f"{name}.{layer}": tensor for name, each in networks.items() for layer, tensor in each.items()}
    torch.save({"state_dict": flat, "epoch": 3}, tmp_path / "last.ckpt")
    with pytest.raises(Sim2RealError, match="--key"):
        generator_of(tmp_path / "last.ckpt")
    _, found = generator_of(tmp_path / "last.ckpt", key="netG_B")
    torch.testing.assert_close(found.weights["first.conv.weight"], networks["netG_B"]["model.1.weight"])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "x.pth: an empty file"),
        (b"hello\n", "x.pth: "),
        (b"PK\x03\x04 but no more", "x.pth: "),
        (pickle.dumps({"model.1.weight": Hostile()}), "Python objects, which are not read because they could run code"),
        (pickle.dumps([1, 2]), "x.pth: "),
        ({"model.1.weight": 3}, "holds no named tensors"),
        ([torch.zeros(2)], "holds no named tensors"),
        ({"conv1.weight": torch.zeros(2)}, "no known generator has weights with such names"),
        (lambda w: w.update({"model.1.weight": w["model.1.weight"] * float("nan")}), "not finite"),
        (lambda w: w.update({"model.99.gate": torch.zeros(1)}), "weights that the known ResNets lack: model.99.gate"),
        (lambda w: w.pop("model.10.conv_block.5.weight"), "do not fit the generator 'resnet'"),
        (lambda w: w.update({"model.1.weight": torch.zeros(2, 1, 7, 7)}), "do not fit the generator 'resnet'"),
        (lambda w: w.update({"model.7.filt": torch.zeros(8, 1, 5, 5)}), "filters are not binomial"),
        (
            lambda w: w.update({"bias": torch.zeros(1), "model.\u00b2.x": torch.zeros(1)}),
            "the known ResNets lack: bias",
        ),
        (lambda w: w.update({"model.1.weight": torch.zeros(())}), "2 convolutions before"),
        (
            lambda w: w.update({"model.1.weight": torch.zeros(1).expand(2, 3, 7, 10**9)}),
            "declares more values than it has",
        ),
        (lambda w: w.update({"model.1.weight": torch.zeros(2, 3, 7, 7, device="meta")}), "has no values"),
        (lambda w: w.update({"model.1.weight": torch.zeros(2, 3, 7, 7).to_sparse()}), "is sparse"),
        (lambda w: w.update({"model.1.weight": torch.zeros(2, 3, 7, 7, dtype=torch.int32)}), "none of weights"),
        (lambda w: w.update({"model.1.weight": torch.full((2, 3, 7, 7), 1e300, dtype=torch.float64)}), "not finite"),
        (lambda w: w.update({"model.2.weight": torch.ones(2)}), "no running statistics"),
        (lambda w: w.pop("model.4.weight"), "2 convolutions before"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line_and_leaves_nothing(
    content: object, reason: str, tmp_path: Path, cli: Cli
) -> None:
    torch.manual_seed(0)
    file = tmp_path / "x.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(altered(content) if callable(content) else content, file)
    done = cli("import", file, "--run", tmp_path / "run", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["x.pth"]


def test_a_run_folder_and_a_direction_are_found_by_the_name(tmp_path: Path) -> None:
    assert default_run(Path("checkpoints/gta2city/latest_net_G_A.pth")) == Path("runs/gta2city")
    assert default_run(Path("checkpoints/gta2city/120_net_G.pth")) == Path("runs/gta2city")
    assert default_run(Path("downloads/night.pth")) == Path("runs/night")
    (tmp_path / "sdxl-1.0").mkdir()
    assert default_run(tmp_path / "sdxl-1.0") == Path("runs/sdxl-1.0")
    names = {"latest_net_G_A.pth": "sim2real", "latest_net_G_B.pth": "real2sim", "latest_net_G.pth": "sim2real"}
    assert {name: default_direction(Path(name)) for name in names} == names


def test_both_directions_of_a_training_go_into_one_run(tmp_path: Path, cli: Cli) -> None:
    torch.manual_seed(0)
    folder = tmp_path / "checkpoints" / "town"
    folder.mkdir(parents=True)
    for letter in "AB":
        torch.save(ResNetFile(width=2, blocks=1).weights, folder / f"latest_net_G_{letter}.pth")
        done = cli("import", folder / f"latest_net_G_{letter}.pth", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert "sim2real convert SIM OUT --model runs/town --direction real2sim" in done.stdout
    run = tmp_path / "runs" / "town"
    info = {way: read_info(run / f"{way}.safetensors") for way in ("sim2real", "real2sim")}
    assert info["real2sim"].imported == (
        "latest_net_G_B.pth: resnet_1blocks of pytorch-CycleGAN-and-pix2pix, instance norm"
    )
    assert (info["sim2real"].direction, info["real2sim"].direction) == ("sim2real", "real2sim")
    torch.save(ResNetFile(width=4, blocks=1).weights, tmp_path / "wide.pth")
    assert cli("import", "wide.pth", "--run", "one", cwd=tmp_path).returncode == 0
    other = cli("import", folder / "latest_net_G_B.pth", "--run", "one", cwd=tmp_path)
    assert (other.returncode, "choose another --run" in other.stderr) == (1, True)
    again = cli("import", folder / "latest_net_G_A.pth", cwd=tmp_path)
    assert (again.returncode, "has a sim2real.safetensors already" in again.stderr) == (1, True)


def test_a_named_generator_takes_weights_by_its_own_names(tmp_path: Path, cli: Cli) -> None:
    from sim2real.networks.generators import EncoderDecoder

    torch.manual_seed(0)
    torch.save(EncoderDecoder(width=4, blocks=1).state_dict(), tmp_path / "mine.pth")
    options = ["--set", "generator.options.width=4", "--set", "generator.options.blocks=1"]
    done = cli("import", "mine.pth", "--generator", "encoder-decoder", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert read_info(tmp_path / "runs/mine/sim2real.safetensors").options["width"] == 4
    wrong = cli("import", "mine.pth", "--generator", "resnet", "--run", "other", cwd=tmp_path)
    assert (wrong.returncode, "do not fit the generator 'resnet'" in wrong.stderr) == (1, True)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "name a file in it, or with --recipe or --generator what reads it"),
        (["--generator", "resnet"], "the generator 'resnet' reads no folders"),
        (["--key", "G"], "--key does not apply"),
        (["--recipe", "no-such-recipe"], "no recipe is called"),
    ],
)
def test_a_folder_that_nothing_reads_is_refused(tmp_path: Path, cli: Cli, arguments: list[str], reason: str) -> None:
    (tmp_path / "checkpoints").mkdir()
    done = cli("import", "checkpoints", *arguments, cwd=tmp_path)
    assert (done.returncode, reason in " ".join(done.stderr.split())) == (1, True), done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_pipeline_of_diffusers_is_named(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "sd").mkdir()
    (tmp_path / "sd" / "model_index.json").write_text("{}")
    done = cli("import", "sd", cwd=tmp_path)
    assert "read by the plugin sim2real-diffusers: add --recipe diffusers" in " ".join(done.stderr.split())
    done = cli("convert", "sd", "out", "--model", "sd", cwd=tmp_path)
    assert "import it first, with sim2real-diffusers" in " ".join(done.stderr.split())


def test_a_recipe_names_the_generator_of_weights(tmp_path: Path, cli: Cli) -> None:
    width = "generator.options.width=4"
    torch.save(build_generator(resolve("combined", sets=[width])).state_dict(), tmp_path / "mine.pth")
    options = ["--recipe", "combined", "--set", width, "--set", "transfer.name=guided"]
    done = cli("import", "mine.pth", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    info = read_info(tmp_path / "runs/mine/sim2real.safetensors")
    assert (info.name, info.recipe, info.guided_size() > 0) == ("encoder-decoder", "combined", True)


def test_an_imported_run_is_a_run_like_any_other(tmp_path: Path, cli: Cli, write_vkitti: Callable[..., Path]) -> None:
    torch.manual_seed(0)
    torch.save(ResNetFile(width=2, blocks=1).weights, tmp_path / "night.pth")
    sim = write_vkitti(tmp_path / "sim", 2)
    assert cli("import", "night.pth", cwd=tmp_path).returncode == 0
    for command in (
        ("convert", sim, "out", "--model", "runs/night", "--device", "cpu"),
        ("convert", sim, "guided", "--model", "runs/night", "--device", "cpu", "--transfer", "guided"),
        ("verify", "out"),
        ("preview", "runs/night", sim, "-n", "2"),
        ("export", "runs/night", "night.onnx"),
        ("report", "out"),
        ("recipes", "cyclegan"),
    ):
        done = cli(*command, cwd=tmp_path)
        assert done.returncode == 0, (command, done.stderr)
    record = json.loads((tmp_path / "out/.sim2real/conversion.json").read_text())
    assert json.dumps(record).count("night")
    refused = cli("convert", sim, "other", "--model", "night.pth", cwd=tmp_path)
    assert "import it first: sim2real import night.pth" in refused.stderr
    resumed = cli("train", sim, sim, "--run", "runs/night", "--resume", cwd=tmp_path)
    assert resumed.returncode == 1
    assert "cannot be resumed" in resumed.stderr


# --------------------------------------------------------------------------------------------- train --from RUN|FILE


def weights_of(run: Path, direction: str = "sim2real") -> Weights:
    from safetensors.torch import load_file

    return load_file(run / f"{direction}.safetensors")


@pytest.fixture
def sides(tmp_path: Path, paint: Callable[..., Path]) -> tuple[Path, Path]:
    return paint(tmp_path / "sim", 3, size=(64, 64)), paint(tmp_path / "real", 3, size=(64, 64), seed=1)


FROZEN = ["optim.generator_lr=1e-12", "data.size=[32, 32]", "data.load_size=[32, 32]", "data.workers=0", "device=cpu",
          "precision=fp32", "discriminator.options.width=4", "train.steps=1", "ema_decay=0"]  # fmt: skip


def begin(cli: Cli, *arguments: object, cwd: Path, sets: list[str] = FROZEN) -> subprocess.CompletedProcess[str]:
    return cli("train", *arguments, *(part for text in sets for part in ("--set", text)), cwd=cwd)


def test_a_training_starts_with_a_file_of_another_program(tmp_path: Path, cli: Cli, sides: tuple[Path, Path]) -> None:
    torch.manual_seed(0)
    torch.save(ResNetFile(width=2, blocks=1, norm="batch").weights, tmp_path / "night.pth")
    done = begin(cli, *sides, "--from", "night.pth", "--run", "more", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "real2sim starts with random weights: night.pth has no such generator" in done.stderr
    import_run(tmp_path / "night.pth", tmp_path / "night", direction="sim2real")
    before, after = weights_of(tmp_path / "night"), weights_of(tmp_path / "more")
    for name in (name for name in before if name.endswith("weight")):  # a learning rate of almost 0 keeps them
        torch.testing.assert_close(after[name], before[name], atol=1e-6, rtol=0)
    written = (tmp_path / "more/config.toml").read_text()
    assert 'recipe = "cyclegan"' in written
    assert 'start_from = "night.pth"' in written
    resumed = begin(cli, *sides, "--run", "more", "--resume", "--steps", 2, cwd=tmp_path, sets=[])
    assert resumed.returncode == 0, resumed.stderr  # with its own weights, whatever became of the file


def test_a_training_starts_with_both_generators_of_a_run(
    tmp_path: Path, cli: Cli, sides: tuple[Path, Path], tiny: list[str]
) -> None:
    first = begin(cli, *sides, "--run", "first", cwd=tmp_path, sets=tiny)
    assert first.returncode == 0, first.stderr
    keep = [text for text in tiny if not text.startswith(("recipe", "generator"))]
    done = begin(
        cli, *sides, "--from", "first", "--run", "next", cwd=tmp_path,
        sets=[*keep, "train.steps=1", "optim.generator_lr=1e-12", "ema_decay=0"],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "random weights" not in done.stderr
    assert 'recipe = "combined"' in (tmp_path / "next/config.toml").read_text()
    for direction in ("sim2real", "real2sim"):
        before, after = weights_of(tmp_path / "first", direction), weights_of(tmp_path / "next", direction)
        for name, tensor in before.items():
            torch.testing.assert_close(after[name], tensor, atol=1e-6, rtol=0)


def test_the_other_direction_starts_the_other_generator(tmp_path: Path, cli: Cli, sides: tuple[Path, Path]) -> None:
    torch.manual_seed(0)
    torch.save(ResNetFile(width=2, blocks=1).weights, tmp_path / "latest_net_G_B.pth")
    done = begin(cli, *sides, "--from", "latest_net_G_B.pth", "--run", "more", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "sim2real starts with random weights" in done.stderr
    import_run(tmp_path / "latest_net_G_B.pth", tmp_path / "night", direction="real2sim")
    before, after = weights_of(tmp_path / "night", "real2sim"), weights_of(tmp_path / "more", "real2sim")
    torch.testing.assert_close(after["last.weight"], before["last.weight"], atol=1e-6, rtol=0)
    one_way = begin(cli, *sides, "--from", "latest_net_G_B.pth", "--recipe", "cut", "--run", "cut", cwd=tmp_path)
    assert (one_way.returncode, "translates real2sim" in one_way.stderr) == (1, True)


def test_what_does_not_go_with_the_start_is_refused(tmp_path: Path, cli: Cli, sides: tuple[Path, Path]) -> None:
    torch.manual_seed(0)
    torch.save(ResNetFile(width=2, blocks=1).weights, tmp_path / "night.pth")
    for options, reason in [
        (["--from", "nothing.pth"], "nothing.pth: no such file"),
        (["--from", "sim"], "sim: not a run"),
        (["--from", "night.pth", "--set", "generator.options.width=4"], "leave out other settings of the generator"),
    ]:
        done = begin(cli, *sides, *options, "--run", "more", cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert reason in done.stderr
        assert not (tmp_path / "more").exists()
