"""Weights of other programs' generators: networks are recognised by the names and shapes of their weights.

Known are the generators of pytorch-CycleGAN-and-pix2pix (Zhu et al. 2017, Isola et al. 2017) and of CUT (Park et al.
2020): ResNets with any number of blocks and U-Nets. Files are read without running code in them.
"""

import math
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from sim2real.config import Config, resolve
from sim2real.errors import SettingsError, Sim2RealError
from sim2real.graphs import onnx_options
from sim2real.inside import require_regular
from sim2real.networks.blocks import check_counts, choose, pair
from sim2real.places import TORCH, absent, is_onnx, what_is
from sim2real.registry import accepted_options, registry
from sim2real.stored import one_line

Weights = dict[str, Tensor]

_ZHU: Final = "pytorch-CycleGAN-and-pix2pix"
_CUT: Final = "contrastive-unpaired-translation"
_known_options: dict[tuple[object, ...], dict[str, Any]] = {}
_NUMBERED: Final = re.compile(r"model\.([0-9]{1,4})\.")
NAMED_BY_EPOCH: Final = re.compile(r"(latest|best|\d+)_net_G(_[AB])?")
"""Names of the reference's files; ``_A`` translates A to B, ``_B`` B to A."""
_GIVEN: Final = ("value_range", "layout", "stride")
_NOTHING: Final = torch.empty(0)
_STATISTICS: Final = ("running_mean", "running_var", "num_batches_tracked")


class UnknownWeightsError(Sim2RealError):
    """The weights are of no known network; the message says what does not fit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recognised:
    """A network that was recognised by its weights.

    Attributes:
        generator: Its registered name.
        options: The options of its constructor.
        recipe: The recipe whose other settings suit it.
        weights: Its weights, by the names that the registered generator uses.
        description: The network and its program, for users.
        transfer: How its output is applied to frames unless the user decides otherwise; None: as the recipe says.
        sets: Further settings of the user.
    """

    generator: str
    options: dict[str, Any]
    recipe: str
    weights: Weights
    description: str = ""
    transfer: Literal["direct", "guided"] | None = "direct"
    sets: Sequence[str] = ()

    def settings(self) -> Config:
        """Return the settings of a run with this generator."""
        options = {name: value for name, value in self.options.items() if name not in {"folder", "frames"}}
        generator = {"name": self.generator, "options": options}
        transfer = {"transfer": {"name": self.transfer}} if self.transfer else {}
        return resolve(self.recipe, settings={"generator": generator, **transfer}, sets=self.sets)

    @classmethod
    def of(cls, network: nn.Module, generator: str, options: dict[str, Any], recipe: str) -> "Recognised":
        """Describe a generator that has been built."""
        return cls(generator=generator, options=options, recipe=recipe, weights=network.state_dict())


def read_weights(file: Path, key: str | None = None) -> Weights:
    """Read the named tensors of a ``.pth`` or ``.safetensors`` file, as float32 on the CPU; no code in it is run.

    Prefixes that ``DataParallel`` and similar wrappers add to all names, such as ``module.``, are removed.

    Args:
        file: The file.
        key: Name of the network, if the file holds several.

    Raises:
        Sim2RealError: If it is no such file, is damaged, holds anything but tensors, or holds several networks and
            ``key`` names none of them.
    """
    tensors = _tensors(file, _loaded(file), key)
    while len(wrappers := {name.partition(".")[0] for name in tensors}) == 1 and wrappers <= {"module", "_orig_mod"}:
        tensors = {name.partition(".")[2]: tensor for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        if fault := _fault(name, tensor):
            raise Sim2RealError(f"{file}: {name} {fault}")
    result = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    for name, tensor in result.items():
        if not tensor.isfinite().all():
            raise Sim2RealError(
                f"{file}: {name} contains values that are not finite in float32; use another checkpoint"
            )
    return result


def _fault(name: str, tensor: Tensor) -> str:
    """Return why a tensor cannot be one of a network's weights; empty if it can."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        return "is sparse, quantized or has no values; save it as an ordinary tensor"
    if not tensor.is_floating_point() and not name.endswith("num_batches_tracked"):
        return f"has the type {tensor.dtype}, which is none of weights"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return "declares more values than it has; save it with .contiguous()"
    return ""


def _loaded(file: Path) -> object:
    """Return the contents of a file of weights."""
    _require_file(file)
    thing = what_is(file)
    try:
        if thing.name == TORCH:
            _require_plain(file)
        if thing.name == "a safetensors file":
            return load_file(file)
        if thing.kind == "weights" and thing.name != "a TorchScript model":
            return torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise Sim2RealError(f"{file}: cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise Sim2RealError(f"{file}: a damaged safetensors file ({one_line(error)}); copy it again") from error
    except Exception as error:  # the bytes may be anything; torch's own message would advise to execute them
        raise Sim2RealError(
            f"{file}: damaged, or it holds Python objects, which are not read because they could run code; in the "
            "program that it is from, save the weights alone: torch.save(network.state_dict(), FILE)"
        ) from error
    raise Sim2RealError(f"{file}: {thing.name}, not a file of weights; name one such as latest_net_G_A.pth")


def _require_plain(file: Path) -> None:
    """Refuse what torch never writes: compressed records, which may unpack to any size.

    Raises:
        ValueError: If there are any.
    """
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            records = archive.infolist()
        if any(record.compress_type != zipfile.ZIP_STORED for record in records) or (
            sum(record.file_size for record in records) > file.stat().st_size
        ):
            raise ValueError("compressed records")


def _require_file(file: Path) -> None:
    try:
        require_regular(file)
    except FileNotFoundError:
        message = f"{absent(file, 'file')}; name a file of weights, such as latest_net_G_A.pth"
        raise Sim2RealError(message) from None


def _tensors(file: Path, loaded: object, key: str | None) -> Weights:
    """Return the one mapping of names to tensors in a file, or the one that ``key`` names."""
    found = dict(_mappings(loaded))
    if key is not None and key in found:
        return found[key]
    for weights in found.values() if key else ():  # one mapping of all networks, with their names before the weights'
        if own := {name[len(f"{key}.") :]: tensor for name, tensor in weights.items() if name.startswith(f"{key}.")}:
            return own
    if key is None and len(found) == 1:
        return next(iter(found.values()))
    names = ", ".join(name or "the file itself" for name in found)
    if key is not None and found:
        raise Sim2RealError(f"{file}: holds no network '{key}'; it holds {names}")
    if not found:
        raise Sim2RealError(f"{file}: holds no named tensors; name the file of the generator's weights")
    raise Sim2RealError(f"{file}: holds several networks ({names}); name one of them with --key")


def _mappings(loaded: object, place: str = "", depth: int = 3) -> Iterator[tuple[str, Weights]]:
    """Yield the mappings of names to tensors in nested mappings, with the dotted names of their places."""
    if not isinstance(loaded, Mapping) or not depth:
        return
    if loaded and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in loaded.items()):
        yield place, dict(loaded)
        return
    for name, value in loaded.items():
        if isinstance(name, str):
            yield from _mappings(value, f"{place}.{name}".lstrip("."), depth - 1)


def recognise(weights: Mapping[str, Tensor]) -> Recognised:
    """Find the network that weights are of.

    Raises:
        UnknownWeightsError: If they are of no known network.
    """
    if "model.model.0.weight" in weights:
        return _unet(weights)
    if any(name.startswith("model.") and ".conv_block." in name for name in weights):
        return _resnet(weights)
    raise UnknownWeightsError(
        f"no known generator has weights with such names ({', '.join(sorted(weights)[:3])}, ...); known are the "
        f"ResNets and U-Nets of {_ZHU} and {_CUT}; name a network within the file with --key, or a plugin's generator "
        "with --generator"
    )


def _resnet(weights: Mapping[str, Tensor]) -> Recognised:
    """Recognise a ResNet: a list of layers, whose numbers depend on the options of the program."""
    left = dict(weights)
    norm = _norm_of(left, "model.1", "model.2")
    layers = sorted({int(number[1]) for name in left if (number := _NUMBERED.match(name))})
    blocks = [index for index in layers if f"model.{index}.conv_block.1.weight" in left]
    convolutions = [index for index in layers if left.get(f"model.{index}.weight", _NOTHING).dim() == 4]
    filters = {index: left.pop(f"model.{index}.filt") for index in layers if f"model.{index}.filt" in left}
    if not blocks:
        raise UnknownWeightsError("its residual blocks are padded by zeros; only those padded by reflection are known")
    before, after = (
        [index for index in convolutions if index < blocks[0]],
        [index for index in convolutions if index > blocks[-1]],
    )
    if len(before) != 3 or len(after) != 3:
        raise UnknownWeightsError(
            f"its ResNet has {len(before)} convolutions before the blocks and {len(after)} after them, not 3 and 3"
        )
    taps = [_taps(tensor, 1) for index, tensor in filters.items() if index < blocks[0]]
    up_taps = [_taps(tensor, 4) for index, tensor in filters.items() if index > blocks[-1]]
    if taps not in ([], [3, 3], [4, 4]) or up_taps not in ([], [4, 4]):
        raise UnknownWeightsError("its filters are not binomial ones of 3 or 4 taps, of 4 for doubling")
    found: Weights = {}
    names = ["first", "down1", "down2", *(f"block{count}" for count in range(1, len(blocks) + 1)), "up1", "up2", "last"]
    for index, name in zip([*before, *blocks, *after], names, strict=True):
        if name.startswith("block"):
            # Dropout, if there was any, shifts the second convolution by one.
            second = next((place for place in (5, 6) if f"model.{index}.conv_block.{place}.weight" in left), 5)
            _move(left, found, f"model.{index}.conv_block.1", f"{name}.first.conv")
            _move(left, found, f"model.{index}.conv_block.2", f"{name}.first.norm")
            _move(left, found, f"model.{index}.conv_block.{second}", f"{name}.second.conv")
            _move(left, found, f"model.{index}.conv_block.{second + 1}", f"{name}.second.norm")
        elif name == "last":
            _move(left, found, f"model.{index}", name)
        else:
            _move(left, found, f"model.{index}", f"{name}.conv")
            _move(left, found, f"model.{index + 1}", f"{name}.norm")
    _require_none(left, "ResNet")
    options: dict[str, Any] = {"width": _width(found["first.conv.weight"]), "blocks": len(blocks), "norm": norm}
    if taps:
        options["down"] = "blur3" if taps == [3, 3] else "blur"
    if up_taps:
        options |= {"up": "blur", "up_padding": "zeros"}
    program = _CUT if filters else _ZHU
    return Recognised(
        generator="resnet",
        options=options,
        recipe="cut" if filters else "cyclegan",
        weights=found,
        description=f"resnet_{len(blocks)}blocks of {program}, {_words(norm)}",
    )


def _unet(weights: Mapping[str, Tensor]) -> Recognised:
    """Recognise a U-Net: each of its stages contains the next one."""
    left = dict(weights)
    norm = _norm_of(left, "model.model.1.model.1", "model.model.1.model.2")
    found: Weights = {}
    place, stages = "model.model.1.model", 2
    while f"{place}.3.model.1.weight" in left:
        place, stages = f"{place}.3.model", stages + 1
    _move(left, found, "model.model.0", "down.0")
    _move(left, found, "model.model.3", f"up.{stages - 1}")
    place = "model.model.1.model"
    for stage in range(1, stages):
        back = f"up.{stages - 1 - stage}"
        conv, up_norm = (5, 6) if stage < stages - 1 else (3, 4)
        _move(left, found, f"{place}.1", f"down.{stage}.conv")
        if stage < stages - 1:
            _move(left, found, f"{place}.2", f"down.{stage}.norm")
        _move(left, found, f"{place}.{conv}", f"{back}.conv")
        _move(left, found, f"{place}.{up_norm}", f"{back}.norm")
        place = f"{place}.3.model"
    _require_none(left, "U-Net")
    return Recognised(
        generator="unet",
        options={"width": _width(found["down.0.weight"]), "stages": stages, "norm": norm},
        recipe="cyclegan",
        weights=found,
        description=f"unet_{2**stages} of {_ZHU}, {_words(norm)}",
    )


def _norm_of(weights: Weights, conv: str, norm: str) -> str:
    """Return the norm of a network by the weights of two of its layers; drop what an instance norm does not use."""
    if f"{norm}.weight" in weights:
        if f"{norm}.running_mean" not in weights:
            raise UnknownWeightsError(
                "its norms have weights but no running statistics; known are instance norm and batch norm"
            )
        return "batch"
    for name in [name for name in weights if name.endswith(_STATISTICS)]:
        del weights[name]  # old versions of torch wrote them for instance norms, too
    return "instance" if f"{conv}.bias" in weights else "none"


def _words(norm: str) -> str:
    return "no norm" if norm == "none" else f"{norm} norm"


def _taps(kernel: Tensor, total: float) -> int:
    """Return the width of a binomial filter with this sum; 0 if it is none."""
    taps = kernel.shape[-1] if kernel.dim() == 4 else 0
    line = torch.tensor([float(math.comb(taps - 1, index)) for index in range(taps)])
    binomial = total * torch.outer(line, line) / 4 ** (taps - 1) if taps else _NOTHING
    return taps if kernel.shape[2:] == binomial.shape and torch.allclose(kernel, binomial.expand_as(kernel)) else 0


def _width(weight: Tensor) -> int:
    if weight.dim() != 4:
        raise UnknownWeightsError(f"its first convolution has weights of the shape {tuple(weight.shape)}")
    return len(weight)


def _move(source: Weights, target: Weights, old: str, new: str) -> None:
    """Move the tensors of a layer to its new name."""
    for name in [name for name in source if name.rpartition(".")[0] == old]:
        target[f"{new}.{name.rpartition('.')[2]}"] = source.pop(name)


def _require_none(left: Weights, network: str) -> None:
    if left:
        raise UnknownWeightsError(f"contains weights that the known {network}s lack: {', '.join(sorted(left)[:3])}")


def build(recognised: Recognised) -> nn.Module:
    """Build the registered generator with the weights that were recognised.

    Convolutions without a bias get a bias of 0 where the registered generator has one.

    Raises:
        UnknownWeightsError: If the weights have other shapes.
        SettingsError: If an option does not fit the generator.
        UnknownNameError: If no such generator is registered.
    """

    def create() -> nn.Module:
        network: nn.Module = registry().create(
            "generators", recognised.generator, 3, 3, options=recognised.options, place="generator.options"
        )
        return network

    try:
        with torch.device("meta"):  # shapes alone: options may ask for more memory than there is
            own = create().state_dict()
    except (RuntimeError, MemoryError, ArithmeticError, TypeError, ValueError) as error:
        raise UnknownWeightsError(
            f"the generator '{recognised.generator}' cannot be built: {one_line(error)}"
        ) from error
    biases = {
        name: torch.zeros(tensor.shape)
        for name, tensor in own.items()
        if name.endswith(".bias") and name not in recognised.weights and own[f"{name[:-5]}.weight"].dim() == 4
    }
    weights = recognised.weights | (biases if recognised.options.get("norm") != "instance" else {})
    if odd := next((name for name in sorted({*own, *weights}) if _shape(own, name) != _shape(weights, name)), ""):
        shapes = (
            f"{odd} is {_shape(weights, odd) or 'missing'} in the file, {_shape(own, odd) or 'missing'} in the network"
        )
        raise UnknownWeightsError(f"its weights do not fit the generator '{recognised.generator}': {shapes}")
    network = create()
    network.load_state_dict(weights)
    return network.eval()


def _shape(weights: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(weights[name].shape) if name in weights else None


def _given_options(sets: Iterable[str]) -> Mapping[str, Any]:
    """Return the options of an ONNX file that the user gave, checked."""
    for text in sets:
        if not text.startswith(tuple(f"generator.options.{name}=" for name in _GIVEN)):
            names = ", ".join(f"generator.options.{name}" for name in _GIVEN)
            raise SettingsError(f"--set {text}: of an ONNX file only {names} can be set")
    given = resolve("cyclegan", sets=["generator.name=onnx", *sets]).generator.options
    if "value_range" in given and pair("value_range", given["value_range"])[0] >= given["value_range"][1]:
        raise SettingsError(f"value_range = {given['value_range']} must be a smaller and a larger number")
    if "stride" in given:
        check_counts(stride=given["stride"])
    if "layout" in given:
        choose("layout", given["layout"], {"NCHW": None, "NHWC": None})
    return given


def _onnx(file: Path, given: Mapping[str, Any]) -> Recognised:
    """Describe an ONNX file."""
    status = file.stat()
    key = str(file.resolve()), status.st_mtime_ns, status.st_size, repr(given)
    if key not in _known_options:  # the network is run to find them, and a command asks several times
        _known_options[key] = onnx_options(file, given)
    options = _known_options[key]
    low, high = options["value_range"]
    size = "{}x{} images".format(*options["fixed_size"]) if "fixed_size" in options else "images of any size"
    return Recognised(
        generator="onnx",
        options=options,
        recipe="cyclegan",
        weights={"graph": torch.frombuffer(bytearray(file.read_bytes()), dtype=torch.uint8)},
        description=f"an ONNX file, {size}, {options['layout']}, values from {low:g} to {high:g}",
        transfer="guided" if "fixed_size" in options else "direct",
    )


def default_direction(file: Path) -> str:
    """Return the direction of a generator by its file's name: A is the simulation, as in CycleGAN folders."""
    match = NAMED_BY_EPOCH.fullmatch(file.stem)
    return "real2sim" if match and match[2] == "_B" else "sim2real"


def generator_of(
    file: Path,
    generator: str | None = None,
    sets: Iterable[str] = (),
    key: str | None = None,
    recipe: str | None = None,
) -> tuple[nn.Module, Recognised]:
    """Read a generator from a file or a folder of another program.

    Args:
        file: A ``.pth``, ``.safetensors`` or ``.onnx`` file, or a folder for a generator with the option ``model``.
        generator: Registered name of the generator, whose own names the weights have; None: that of the recipe, or
            recognise the network.
        sets: Settings ``KEY=VALUE`` for a named generator or recipe.
        key: Name of the network, if the file holds several.
        recipe: Recipe with the settings of the run.

    Raises:
        Sim2RealError: If the file cannot be read, or is of no known network.
    """
    sets = list(sets)
    if file.is_dir():
        if key:
            raise SettingsError(f"{file}: a folder is one model, so --key does not apply")
        found = _folder(file, generator, sets, recipe)
        return build(found), found
    _require_file(file)
    if is_onnx(file):
        if generator not in {None, "onnx"} or key or recipe:
            message = f"{file}: an ONNX file holds one network, so --generator, --key and --recipe do not apply"
            raise SettingsError(message)
        found = _onnx(file, _given_options(sets))
        return build(found), found
    weights = read_weights(file, key)
    try:
        if generator or recipe:
            found = _named(generator, sets, recipe or "cyclegan", weights)
        elif sets:
            raise SettingsError("--set is for a generator that is named with --generator; others are recognised")
        else:
            found = recognise(weights)
        return build(found), found
    except UnknownWeightsError as error:
        raise Sim2RealError(f"{file}: {error}", topic="bring-a-model") from error


def _folder(folder: Path, generator: str | None, sets: Sequence[str], recipe: str | None) -> Recognised:
    """Describe a folder for a generator that reads it itself."""
    if not (generator or recipe):
        hint = "name a file in it, or with --recipe or --generator what reads it"
        if (folder / "model_index.json").is_file():
            hint = "a pipeline of diffusers is read by the plugin sim2real-diffusers: add --recipe diffusers"
        raise SettingsError(f"{folder}: a folder; {hint}")
    found = _named(generator, [*sets, f"generator.options.model={folder.resolve()}"], recipe or "cyclegan", {})
    if "model" not in (accepted_options(registry().load("generators", found.generator)) or ()):
        raise SettingsError(f"{folder}: the generator '{found.generator}' reads no folders; name a file of its weights")
    return replace(found, description=f"a folder for the generator '{found.generator}'")


def _named(generator: str | None, sets: Sequence[str], recipe: str, weights: Weights) -> Recognised:
    """Describe a generator that the user or a recipe names."""
    sets = [*([f"generator.name={generator}"] if generator else []), *sets]
    config = resolve(recipe, sets=sets)
    return Recognised(
        generator=config.generator.name,
        options=config.generator.options,
        recipe=recipe,
        weights=weights,
        description=f"weights of the generator '{config.generator.name}'",
        transfer=None,
        sets=sets,
    )
