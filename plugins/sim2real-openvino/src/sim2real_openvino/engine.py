"""The engine ``openvino``: a generator compiled for the CPU, one core a picture."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
import torch
from torch import nn
from torch.jit import TracerWarning  # type: ignore[attr-defined]  # documented, but not declared as exported

from sim2real import OutOfMemoryError, SettingsError, Sim2RealError
from sim2real.engines.base import EngineSettings
from sim2real_openvino.discreet import openvino as ov
from sim2real_openvino.discreet import ops

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TYPES = {"fp32": "f32", "bf16": "bf16"}
_IMAGE_CHANNELS = 4  # no inner layer has so few


class OpenVinoEngine:
    """Runs a generator on whole pictures, padded and rounded as the built-in engine does it.

    As many pictures are in work as there are cores, each on a core of its own. So what becomes of one depends neither
    on its company nor on the number of cores, and cores never wait for each other.

    A network is recorded once, on a picture of ``usual`` pixels a side, for all sizes from there on: one that decides
    by the size of a picture does so below, where each size is recorded by itself.

    Args:
        generator: Takes and makes images in [-1, 1]; its attribute ``stride`` (1 if absent) divides their sides.
        settings: The device must be the CPU, the precision fp32 or bf16.

    Attributes:
        streams: How many threads may call it at once to their advantage: as many as torch uses (``OMP_NUM_THREADS``).
        notes: What the user should know of it, one line each.

    Raises:
        SettingsError: Another device or precision.
        Sim2RealError: OpenVINO does not know what the network does.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, generator: nn.Module, settings: EngineSettings) -> None:
        if settings.device != "cpu":
            raise SettingsError(f"OpenVINO runs on the CPU here, not on {settings.device}; use --device cpu")
        if settings.precision not in _TYPES:
            raise SettingsError(f"OpenVINO computes in fp32 or bf16, not in {settings.precision}; use --precision bf16")
        self.streams = torch.get_num_threads()
        self._options = {
            "INFERENCE_PRECISION_HINT": _TYPES[settings.precision],
            "NUM_STREAMS": str(self.streams),
            "INFERENCE_NUM_THREADS": self.streams,
            "ENABLE_CPU_PINNING": False,  # several processes on one machine would be pinned to the same cores
        }
        self._generator = generator.eval().cpu()
        self._stride: int = getattr(generator, "stride", 1)
        self.usual = max(64, 4 * self._stride)
        self._pool = ThreadPoolExecutor(self.streams, "openvino")
        self._compiling = threading.Lock()
        self._compiled = self._program(self.usual, self.usual)
        self._compiled_small = lru_cache(maxsize=8)(self._program)

    def __call__(self, images: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
        """RGB (N, H, W, 3) -> the same shape.

        Raises:
            OutOfMemoryError: There is too little memory.
            Sim2RealError: The network makes values that are not finite.
        """
        return np.stack(list(self._pool.map(self._translate, images)))

    def _translate(self, picture: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
        height, width = picture.shape[:2]
        try:
            outputs = self._run(self._inputs(picture))[0, :, :height, :width]
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and "alloc" not in str(error):
                raise
            message = (
                f"{self.streams} pictures of {width}x{height} at once, one a core, need more memory than there is; "
                "set OMP_NUM_THREADS to fewer cores, or use --engine torch --batch-size 1"
            )
            raise OutOfMemoryError(message) from error
        if not np.isfinite(outputs).all():
            raise Sim2RealError("the generator makes values that are not finite; use --precision fp32 or another model")
        pixels = np.rint((outputs + 1) * np.float32(127.5)).clip(0, 255).astype(np.uint8)
        return np.ascontiguousarray(pixels.transpose(1, 2, 0))

    def _inputs(self, picture: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        """RGB (H, W, 3) -> (1, 3, H', W') in [-1, 1], reflected until the stride divides its sides."""
        height, width = picture.shape[:2]
        edges = ((0, -height % self._stride), (0, -width % self._stride), (0, 0))
        padded = np.pad(picture, edges, mode="reflect").transpose(2, 0, 1)[None]
        return np.ascontiguousarray(padded, np.float32) / np.float32(127.5) - np.float32(1)

    def _run(self, inputs: "NDArray[np.float32]") -> "NDArray[np.float32]":
        height, width = (min(side, self.usual) for side in inputs.shape[2:])
        if (height, width) == (self.usual, self.usual):
            compiled = self._compiled
        else:
            with self._compiling:
                compiled = self._compiled_small(height, width)
        outputs: NDArray[np.float32] = compiled.create_infer_request().infer([inputs], share_inputs=True)[0]
        if not outputs.size:  # what OpenVINO gives, without a word, where memory ended on the way
            raise MemoryError
        return outputs

    def _program(self, height: int, width: int) -> Any:  # noqa: ANN401  an openvino.CompiledModel, without types
        model = self._record(height, width)
        if self._options["INFERENCE_PRECISION_HINT"] == "f32":
            _normalise_exactly(model)
        else:
            model = _rounded_inside(model)
        return self._compile(model)

    def _record(self, height: int, width: int) -> Any:  # noqa: ANN401  an openvino.Model, likewise
        """The network as a model of OpenVINO for one picture of any size, recorded on one of this size."""
        with warnings.catch_warnings():
            # torch.export is what torch advises, but splits norms into single steps: slower, and less exact in bf16.
            warnings.filterwarnings("ignore", r"`torch\.jit\.", FutureWarning)
            warnings.filterwarnings("ignore", r"`torch\.jit\.", DeprecationWarning)
            warnings.filterwarnings("ignore", category=TracerWarning)  # of decisions by size: see the class
            try:
                return ov.convert_model(
                    self._generator,
                    example_input=torch.zeros(1, 3, height, width),
                    input=ov.PartialShape([1, 3, -1, -1]),
                )
            except ov.frontend.OpConversionFailure as error:
                reason = " ".join(str(error).rpartition("Summary:")[2].split())
                message = f"OpenVINO cannot take over this generator ({reason}); use --engine torch"
                raise Sim2RealError(message) from error

    def _compile(self, model: Any) -> Any:  # noqa: ANN401  openvino.Model -> openvino.CompiledModel, likewise
        return ov.Core().compile_model(model, "CPU", self._options)


def _rounded_inside(model: Any) -> Any:  # noqa: ANN401  openvino.Model, likewise
    """Let only convolutions inside the network compute in bf16; what is done with the image itself stays in fp32.

    So do norms and sums: seen on ResNet-9 at 1242x375, 46.7 dB to fp32 instead of 44.8, in 1.12 times the time.
    OpenVINO takes such marks from a model's file alone (openvinotoolkit/openvino, pull requests 20625 and 21440).
    """
    exact = {node.get_friendly_name() for node in model.get_ops() if not _may_be_rounded(node)}
    with TemporaryDirectory() as folder:
        text, weights = Path(folder, "model.xml"), Path(folder, "model.bin")
        ov.serialize(model, text, weights)
        root = ET.parse(text).getroot()  # noqa: S314  of our own making
        for layer in root.iter("layer"):
            if layer.get("name") in exact:
                mark = ET.SubElement(layer, "rt_info")
                ET.SubElement(mark, "attribute", name="precise", version="0")
        return ov.Core().read_model(ET.tostring(root), weights.read_bytes())


def _may_be_rounded(node: Any) -> bool:  # noqa: ANN401  openvino.Node, likewise
    kind = node.get_type_name()
    if kind in {"Convolution", "ConvolutionBackpropData"}:
        return bool(min(node.input_value(1).get_shape()[:2]) > _IMAGE_CHANNELS)
    return kind not in {"Add", "MVN"}


def _normalise_exactly(model: Any) -> None:  # noqa: ANN401  openvino.Model, likewise
    """Let instance norms take means of the means of rows.

    OpenVINO's own add up a whole picture in one number, which loses digits with its size: seen on ResNet-9 at 1216x368,
    88 dB to torch, and 121 dB in this way. For fp32 alone: in bf16 these steps would be rounded, and OpenVINO 2026.4
    carries quantisation through them wrongly.
    """
    rows, columns = np.array([2]), np.array([3])

    def mean(images: Any) -> Any:  # noqa: ANN401  openvino.Node, likewise
        return ops.reduce_mean(ops.reduce_mean(images, columns, keep_dims=True), rows, keep_dims=True)

    for norm in model.get_ops():
        if norm.get_type_name() != "MVN":
            continue
        if not np.array_equal(getattr(norm.input_value(1).get_node(), "data", ()), [2, 3]):
            continue  # over other axes: a layer norm
        images = norm.input_value(0)
        centred = ops.subtract(images, mean(images))
        variance = ops.add(mean(ops.multiply(centred, centred)), np.float32(norm.get_attributes()["eps"]))
        ov.utils.replace_node(norm, ops.divide(centred, ops.sqrt(variance)))
