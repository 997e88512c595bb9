"""Weights of other programs' generators: networks are recognised by the names and shapes of their weights.

Known are the generators of pytorch-CycleGAN-and-pix2pix (Zhu et al. 2017, Isola et al. 2017) and of CUT (Park et al.
2020): ResNets with any number of blocks and U-Nets. Files are read without running code in them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
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
from sim2real.places import absent, is_onnx, what_is
from sim2real.registry import registry
from sim2real.stored import one_line

Weights = dict[str, Tensor]

_ZHU: Final = "pytorch-CycleGAN-and-pix2pix"
_CUT: Final = "contrastive-unpaired-translation"
_known_options: dict[tuple[object, ...], dict[str, Any]] = {}
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
        transfer: How its output is applied to frames unless the user decides otherwise.
    """

    generator: str
    options: dict[str, Any]
    recipe: str
    weights: Weights
    description: str = ""
    transfer: Literal["direct", "guided"] = "direct"

    def settings(self) -> Config:
        """Return the settings of a run with this generator."""
        options = {name: value for name, value in self.options.items() if name not in {"folder", "frames"}}
        generator = {"name": self.generator, "options": options}
        return resolve(self.recipe, settings={"generator": generator, "transfer": {"name": self.transfer}})

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
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise Sim2RealError(f"{file}: {name} contains values that are not finite; use another checkpoint")
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def _loaded(file: Path) -> object:
    """Return the contents of a file of weights."""
    _require_file(file)
    thing = what_is(file)
    try:
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
        f"ResNets and U-Nets of {_ZHU} and {_CUT}; for a generator of a plugin, name it with --generator"
    )


def _resnet(weights: Mapping[str, Tensor]) -> Recognised:
    """Recognise a ResNet: a list of layers, whose numbers depend on the options of the program."""
    left = dict(weights)
    norm = _norm_of(left, "model.1", "model.2")
    layers = sorted({int(number) for name in left if (number := name.split(".")[1]).isdigit()})
    blocks = [index for index in layers if f"model.{index}.conv_block.1.weight" in left]
    convolutions = [index for index in layers if left.get(f"model.{index}.weight", torch.empty(0)).dim() == 4]
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
    taps = [_taps(tensor) for index, tensor in filters.items() if index < blocks[0]]
    up_taps = [_taps(tensor) for index, tensor in filters.items() if index > blocks[-1]]
    if taps not in ([], [3, 3], [4, 4]) or up_taps not in ([], [4, 4]):
        raise UnknownWeightsError(f"its filters have {[*taps, *up_taps]} taps; known are 3 or 4, and 4 for doubling")
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
    options: dict[str, Any] = {"width": len(found["first.conv.weight"]), "blocks": len(blocks), "norm": norm}
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
        options={"width": len(found["down.0.weight"]), "stages": stages, "norm": norm},
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


def _taps(kernel: Tensor) -> int:
    return kernel.shape[-1]


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
    network: nn.Module = registry().create(
        "generators", recognised.generator, 3, 3, options=recognised.options, place="--generator"
    )
    own = network.state_dict()
    biases = {
        name: torch.zeros_like(tensor)
        for name, tensor in own.items()
        if name.endswith(".bias") and name not in recognised.weights and own[f"{name[:-5]}.weight"].dim() == 4
    }
    try:
        network.load_state_dict(recognised.weights | (biases if recognised.options.get("norm") != "instance" else {}))
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        message = f"its weights do not fit the generator '{recognised.generator}': {(lines[1:] or lines)[0]}"
        raise UnknownWeightsError(message) from error
    return network.eval()


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


def generator_of(
    file: Path, generator: str | None = None, sets: Iterable[str] = (), key: str | None = None
) -> tuple[nn.Module, Recognised]:
    """Read a generator from a file of another program.

    Args:
        file: A ``.pth``, ``.safetensors`` or ``.onnx`` file.
        generator: Registered name of the generator, whose own names the weights have; None: recognise the network.
        sets: Settings ``generator.options.KEY=VALUE`` for a named generator.
        key: Name of the network, if the file holds several.

    Raises:
        Sim2RealError: If the file cannot be read, or is of no known network.
    """
    sets = list(sets)
    if is_onnx(file):
        _require_file(file)
        found = _onnx(file, resolve("cyclegan", sets=["generator.name=onnx", *sets]).generator.options)
        return build(found), found
    weights = read_weights(file, key)
    try:
        if generator is None:
            if sets:
                raise SettingsError("--set is for a generator that is named with --generator; others are recognised")
            found = recognise(weights)
        else:
            config = resolve("cyclegan", sets=[f"generator.name={generator}", *sets])
            found = Recognised(
                generator=generator,
                options=config.generator.options,
                recipe="cyclegan",
                weights=weights,
                description=f"weights of the generator '{generator}'",
            )
        return build(found), found
    except UnknownWeightsError as error:
        raise Sim2RealError(f"{file}: {error}") from error
