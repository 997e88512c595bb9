"""Export of generators as ONNX files, which run without torch on images of any size, as in a conversion.

The export uses PyTorch's tracing exporter (``dynamo=False``), because it gives the same result with torch 2.6 and 2.15.
Tracing turns every decision that depends on the size of an image into a constant. Therefore each graph is compared
with torch in onnxruntime, at sizes that differ from the traced one, before it is written.
"""

import itertools
import json
import math
import os
import re
import tempfile
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.jit import TracerWarning  # type: ignore[attr-defined]  # public, but not marked so
from torch.onnx.operators import shape_as_tensor

from sim2real import __version__
from sim2real.capabilities import STUDENT, blank_inputs, capabilities
from sim2real.datasets.inputs import NAMED, Inputs
from sim2real.datasets.vocabulary import Vocabulary
from sim2real.engines.torch import as_tensors
from sim2real.errors import Sim2RealError
from sim2real.files import sha256_of, write_whole
from sim2real.model import load_generator
from sim2real.networks.generators import Generator

try:
    import onnx
    import onnxruntime  # type: ignore[import-untyped]  # it ships no types
except ModuleNotFoundError as error:
    raise Sim2RealError(f'export needs {error.name}, not installed here: pip install "sim2real[export]"') from error

if TYPE_CHECKING:
    from numpy.typing import NDArray

INPUT, OUTPUT = "images", "translated"

_ABOUT = 64  # pixels, approximate side for tracing and comparing a graph for any size
_EXPECTED_WARNINGS: tuple[tuple[str, type[Warning]], ...] = (
    ("You are using the legacy TorchScript-based ONNX export", DeprecationWarning),  # on purpose, see above
    ("The feature will be removed", DeprecationWarning),  # from within the exporter
    ("", TracerWarning),  # decisions that become constants: checked by the comparison
    ("ONNX export mode is set to TrainingMode.EVAL, but operator 'instance_norm'", UserWarning),  # intended
    ("Constant folding - Only steps=1 can be constant folded", UserWarning),  # padding sizes, which runtimes fold
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Parity:
    """The difference between the exported graph and the network in torch, both in fp32 on the CPU.

    Attributes:
        difference: Maximum difference over all pixels and channels, in grey levels; 255 is from black to white.
        tolerance: Maximum allowed difference, at least 0.
        psnr: Peak signal-to-noise ratio over all values in dB, infinite if they are equal.
        shapes: (N, H, W) of the compared batches, which alternate between noise and smooth images.
    """

    difference: float
    tolerance: float
    psnr: float
    shapes: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """The result of an export.

    Attributes:
        file: The ONNX file.
        metadata: Metadata of the file.
        opset: ONNX opset version.
        size: Fixed (W, H) of the images, or None for any size.
        dynamic: Dynamic axes among ``"batch"``, ``"height"`` and ``"width"``; a batch that is not dynamic is 1.
        obstacle: Why the batch is not dynamic, or None.
        parity: Comparison with the network in torch.
    """

    file: Path
    metadata: dict[str, str]
    opset: int
    size: tuple[int, int] | None
    dynamic: tuple[str, ...]
    obstacle: str | None
    parity: Parity


def export_onnx(model: Path, file: Path, *, size: tuple[int, int] | None, opset: int, tolerance: float) -> Export:
    """Write a generator as ONNX after comparing it with torch; equal weights give equal bytes.

    The graph maps ``images``, RGB float32 (N, 3, H, W) in [-1, 1], to ``translated`` of the same shape and range. A
    generator that samples at random is exported without seeds, if its result is then always the same. Labels that the
    generator uses are additional inputs named by their kinds, (N, ...) as in :mod:`sim2real.datasets.inputs`. The graph
    includes padding to the network's stride and cropping, so H and W are dynamic, or fixed to ``size``. N is dynamic if
    the network allows it.

    Args:
        model: Generator file.
        file: ONNX file to write; replaced atomically.
        size: (W, H), or None for any size.
        opset: ONNX opset version, up to 20.
        tolerance: Maximum difference from torch, in grey levels of 255.

    Raises:
        Sim2RealError: If there is no such model, the network cannot be exported, or its graph differs by more than the
            tolerance.
    """
    generator, info = load_generator(model)
    can = capabilities(generator)
    if not can.exportable:
        obstacle = can.export_obstacle or f"it is not a graph; {STUDENT}"
        raise Sim2RealError(
            f"{model}: '{info.name}' cannot be exported: {obstacle}", topic="a-student-of-a-slow-translator"
        )
    if can.stochastic and not _is_steady(generator):
        raise Sim2RealError(
            f"{model}: '{info.name}' samples at random, so it cannot be compared with a graph: it cannot be exported; "
            f"{STUDENT}"
        )
    if can.of_sequences:
        raise Sim2RealError(
            f"{model}: '{info.name}' uses several frames of a sequence: it cannot be exported; {STUDENT}"
        )
    vocabulary = Vocabulary.of(info.settings)
    facts = {
        "version": __version__,
        "direction": info.direction,
        "generator": info.name,
        "recipe": info.recipe,
        "layout": "NCHW",
        "colours": "RGB",
        "value_range": "-1 1",
        "stride": str(_stride(generator)),
        "padding": "in the graph",
        "weights_sha256": sha256_of(model),
    }
    if can.inputs:
        facts["inputs"] = " ".join(can.inputs)
    if not NAMED.isdisjoint(can.inputs):
        facts["classes"] = json.dumps(vocabulary.names)
    metadata = {f"sim2real.{name}": fact for name, fact in facts.items()}
    sides = {} if size else {2: "height", 3: "width"}
    obstacles = []
    for axes in ({0: "batch"} | sides, sides):
        try:
            data = _trace(generator, size, axes, opset, metadata)
            parity = _compare(generator, data, _shapes(generator, size, axes), tolerance, len(vocabulary))
        except Exception as error:  # noqa: BLE001  any network may fail; the next axes may work
            obstacles.append(textwrap.shorten(f"{type(error).__name__}: {error}", 300, placeholder=" ..."))
            continue
        if parity.difference <= tolerance:
            write_whole(file, data)
            return Export(
                file=file,
                metadata=metadata,
                opset=opset,
                size=size,
                dynamic=tuple(axes.values()),
                obstacle=obstacles[0] if obstacles else None,
                parity=parity,
            )
        obstacles.append(
            f"onnxruntime and torch are up to {parity.difference:.3g} grey levels apart, more than {tolerance:g}"
        )
    sizes, advice = ("any size", "; try a fixed size: --size WxH") if size is None else (f"{size[0]}x{size[1]}", "")
    raise Sim2RealError(f"{model}: '{info.name}' cannot be exported for images of {sizes}: {obstacles[0]}{advice}")


@torch.inference_mode()
def _is_steady(generator: nn.Module) -> bool:
    """Return whether a generator that samples at random gives the same result each time without seeds."""
    side = _side(generator)
    inputs = as_tensors(can := capabilities(generator), blank_inputs(can, side, side), torch.device("cpu"))
    more = {"inputs": inputs} if inputs else {}
    try:
        once, again = (generator(torch.zeros(1, 3, side, side), **more) for _ in range(2))
    except Exception:  # noqa: BLE001  any network may fail without seeds
        return False
    return torch.equal(once, again)


class _AnySize(nn.Module):
    """A generator for images of any size, as in a conversion: reflection padding to its stride, and cropping.

    Padding is implemented with gathers, because these reflect repeatedly if an image is smaller than the padding, and
    work alike in all runtimes. The indices are constants if the size of all images is fixed.
    """

    def __init__(self, generator: nn.Module, size: tuple[int, int] | None) -> None:
        super().__init__()
        self.generator = generator
        self.stride = _stride(generator)
        built_in = isinstance(generator.network, Generator)
        self.smallest = 2 * self.stride if built_in else self.stride  # tracing misses its behaviour below
        self.kinds = capabilities(generator).inputs
        self.sides = size and [torch.tensor(side) for side in reversed(size)]
        self.sources = self.sides and [self._sources(side) for side in self.sides]

    def forward(self, images: Tensor, *labels: Tensor) -> Tensor:
        """Translate (N, 3, H, W), clamped to [-1, 1]; labels are those that the generator uses, (N, ..., H, W)."""
        height, width = self.sides or shape_as_tensor(images)[2:].unbind()
        rows, columns = self.sources or (self._sources(height), self._sources(width))
        padded, *others = (values.index_select(-2, rows).index_select(-1, columns) for values in (images, *labels))
        more = {"inputs": dict(zip(self.kinds, others, strict=True))} if self.kinds else {}
        result: Tensor = self.generator(padded, **more)[..., :height, :width]
        return result.clamp(-1, 1)

    def _sources(self, length: Tensor) -> Tensor:
        """Return the source pixel of each pixel of a padded side; beyond the stride the last one is repeated."""
        padded = length + -length % self.stride
        end = padded.clamp(min=self.smallest)
        places = torch.arange(end).minimum(padded - 1)  # type: ignore[call-overload]  # a number would be a constant
        last = length - 1
        places = places % (2 * last).clamp(min=1)
        return torch.minimum(places, 2 * last - places)


def _trace(
    generator: nn.Module, size: tuple[int, int] | None, axes: dict[int, str], opset: int, metadata: dict[str, str]
) -> bytes:
    """Return the ONNX file of a generator as bytes."""
    side = _side(generator)
    width, height = size or (side, side)
    labels = as_tensors(can := capabilities(generator), blank_inputs(can, height, width), torch.device("cpu"))
    free = {  # (N, H, W) or (N, C, H, W)
        kind: {axis and axis - 4 + values.dim(): name for axis, name in axes.items()} for kind, values in labels.items()
    }
    with tempfile.TemporaryDirectory() as folder, _quiet_exporter():
        draft = Path(folder) / "draft.onnx"
        torch.onnx.export(
            _AnySize(generator, size).eval(),
            (torch.zeros(1, 3, height, width), *labels.values()),
            draft,
            dynamo=False,
            opset_version=opset,
            input_names=[INPUT, *labels],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: axes, OUTPUT: axes, **free},
        )
        graph = onnx.load(draft)
    graph.graph.output[0].type.CopyFrom(graph.graph.input[0].type)
    onnx.helper.set_model_props(graph, metadata)
    onnx.checker.check_model(graph, full_check=True)
    data: bytes = graph.SerializeToString(deterministic=True)
    return data


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Suppress expected warnings, and the graph that the exporter prints from C++ if it fails."""
    standard_output = os.dup(1)
    with Path(os.devnull).open("wb") as nowhere, warnings.catch_warnings():
        for message, category in _EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", re.escape(message), category)
        os.dup2(nowhere.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(standard_output, 1)
            os.close(standard_output)


def _shapes(
    generator: nn.Module, size: tuple[int, int] | None, axes: dict[int, str]
) -> tuple[tuple[int, int, int], ...]:
    """Return (N, H, W) of batches to compare, with odd, even and non-integer multiples of the stride as sides."""
    stride, side = _stride(generator), _side(generator)
    counts = (1, 3, 2) if 0 in axes else (1, 1, 1)
    if size:
        return tuple((count, size[1], size[0]) for count in counts[::2])
    sides = ((side, 2 * side), (side + stride, 2 * side - stride), (2 * side + 1, side - 1))
    return tuple((count, *sides_of_one) for count, sides_of_one in zip(counts, sides, strict=True))


def _compare(
    generator: nn.Module, data: bytes, shapes: tuple[tuple[int, int, int], ...], tolerance: float, classes: int
) -> Parity:
    """Compare the network and its graph on noise and smooth images."""
    can, random = capabilities(generator), np.random.default_rng(1)
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are also raised
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    greatest, squares, values = np.float64(0), np.float64(0), 0
    for images in _pictures(shapes):
        inputs = _labels(blank_inputs(can, images.shape[2], images.shape[3], len(images)), random, classes)
        expected = _translate(generator, images, inputs)
        [actual] = session.run([OUTPUT], {INPUT: images, **inputs})
        if actual.shape != expected.shape:
            raise ValueError(f"the graph returns {actual.shape} instead of {expected.shape}")
        apart = 127.5 * np.abs(expected - actual.astype(np.float64))
        greatest = np.maximum(greatest, apart.max())  # propagates NaN
        squares += (apart**2).sum()
        values += apart.size
    psnr = 10 * math.log10(255**2 * values / squares) if squares else math.inf
    return Parity(difference=float(greatest), tolerance=tolerance, psnr=psnr, shapes=shapes)


def _pictures(shapes: tuple[tuple[int, int, int], ...]) -> Iterator["NDArray[np.float32]"]:
    """Yield batches (N, 3, H, W) in [-1, 1] that alternate between noise and smooth images."""
    random = np.random.default_rng(0)
    smooth = itertools.cycle((False, True))
    for count, height, width in shapes:
        batch = random.uniform(-1, 1, (count, 3, height, width))
        for picture in batch:
            if next(smooth):
                rows, columns = np.mgrid[:height, :width] / 40
                phases = random.uniform(0, 2 * np.pi, (3, 1, 1))
                picture[:] = np.sin(rows + phases) * np.cos(columns - phases)
        yield batch.astype(np.float32)


def _labels(blank: Inputs, random: np.random.Generator, classes: int) -> "dict[str, NDArray[Any]]":
    """Return random labels with the shapes and types of the given ones."""
    found = {}
    for kind, values in blank.items():
        if values.dtype == np.int64:
            found[kind] = random.integers(-1, max(classes, 1), values.shape)
        else:
            found[kind] = random.uniform(0, 50, values.shape).astype(np.float32)
            if values.shape[1] > 1:  # the last channel marks where the others are known
                found[kind][:, -1] = known = random.integers(0, 2, found[kind][:, -1].shape)
                found[kind][:, :-1] *= known[:, None]
    return found


@torch.inference_mode()
def _translate(generator: nn.Module, images: "NDArray[np.float32]", inputs: Inputs) -> "NDArray[np.float32]":
    """Translate images (N, 3, H, W) with torch, padded as in a conversion."""
    height, width = images.shape[2:]
    stride = _stride(generator)
    padded = np.pad(images, ((0, 0), (0, 0), (0, -height % stride), (0, -width % stride)), mode="reflect")
    can = capabilities(generator)
    more = {"inputs": as_tensors(can, inputs, torch.device("cpu"), stride)} if can.inputs else {}
    translated: Tensor = generator(torch.from_numpy(padded), **more)[..., :height, :width]
    result: NDArray[np.float32] = translated.clamp(-1, 1).numpy()
    return result


def _stride(generator: nn.Module) -> int:
    return int(getattr(generator, "stride", 1))


def _side(generator: nn.Module) -> int:
    stride = _stride(generator)
    return stride * math.ceil(_ABOUT / stride)
