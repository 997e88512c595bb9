"""The engine ``openvino``: a generator compiled for the CPU, one core per image."""

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
from sim2real_openvino.without_telemetry import openvino as ov
from sim2real_openvino.without_telemetry import ops

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TYPES = {"fp32": "f32", "bf16": "bf16"}
_IMAGE_CHANNELS = 4  # inner layers have more


class OpenVinoEngine:
    """An engine that runs a generator on whole images, padded and rounded like the built-in engine.

    Each core translates one image, so the result for an image depends neither on the rest of its batch nor on
    the number of cores, and cores never wait for each other.

    A network is traced once, on an image of ``usual`` pixels a side, for all sizes from there on. Each smaller size is
    traced separately, because a network's computation may depend on the size of a small image.

    Args:
        generator: Maps images to images in [-1, 1]; their sides must be multiples of its attribute ``stride`` (1 if
            absent).
        settings: The device must be the CPU, the precision fp32 or bf16.

    Attributes:
        streams: Useful number of simultaneous calls: the number of threads of torch (``OMP_NUM_THREADS``).
        notes: Notes for the user, one line each.

    Raises:
        SettingsError: If the device or the precision is not supported.
        Sim2RealError: If OpenVINO does not support an operation of the network.
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
        """Translate RGB images (N, H, W, 3) to images of the same shape.

        Raises:
            OutOfMemoryError: If there is too little memory.
            Sim2RealError: If the network returns values that are not finite.
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
                f"{self.streams} images of {width}x{height} at once, one per core, need more memory than there is; "
                "set OMP_NUM_THREADS to fewer cores, or use --engine torch --batch-size 1"
            )
            raise OutOfMemoryError(message) from error
        if not np.isfinite(outputs).all():
            raise Sim2RealError("the generator makes values that are not finite; use --precision fp32 or another model")
        pixels = np.rint((outputs + 1) * np.float32(127.5)).clip(0, 255).astype(np.uint8)
        return np.ascontiguousarray(pixels.transpose(1, 2, 0))

    def _inputs(self, picture: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        """Return RGB (H, W, 3) as (1, 3, H', W') in [-1, 1], padded by reflection to multiples of the stride."""
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
        if not outputs.size:  # returned by OpenVINO without an error if memory runs out
            raise MemoryError
        return outputs

    def _program(self, height: int, width: int) -> Any:  # noqa: ANN401  an openvino.CompiledModel, without types
        model = self._record(height, width)
        if self._options["INFERENCE_PRECISION_HINT"] == "f32":
            _normalise_exactly(model)
        else:
            model = _rounded_inside(model)
        return self._compile(model)

    def _record(self, height: int, width: int) -> Any:  # noqa: ANN401  an openvino.Model, without types
        """Return the network as an OpenVINO model for one image of any size, traced on one of this size."""
        with warnings.catch_warnings():
            # torch recommends torch.export, but it splits norms into single steps: slower, and less exact in bf16.
            warnings.filterwarnings("ignore", r"`torch\.jit\.", FutureWarning)
            warnings.filterwarnings("ignore", r"`torch\.jit\.", DeprecationWarning)
            warnings.filterwarnings("ignore", category=TracerWarning)  # about branches on the size; see the class
            try:
                return ov.convert_model(
                    self._generator,
                    example_input=torch.zeros(1, 3, height, width),
                    input=ov.PartialShape([1, 3, -1, -1]),
                )
            except ov.frontend.OpConversionFailure as error:
                reason = " ".join(str(error).rpartition("Summary:")[2].split())
                message = f"OpenVINO cannot convert this generator ({reason}); use --engine torch"
                raise Sim2RealError(message) from error

    def _compile(self, model: Any) -> Any:  # noqa: ANN401  openvino.Model -> openvino.CompiledModel
        return ov.Core().compile_model(model, "CPU", self._options)


def _rounded_inside(model: Any) -> Any:  # noqa: ANN401  openvino.Model, without types
    """Let only the convolutions inside the network compute in bf16; those on the image itself stay in fp32.

    Norms and sums stay in fp32, too: measured with ResNet-9 at 1242x375, 46.7 dB to fp32 instead of 44.8, in 1.12 times
    the time. OpenVINO reads these marks only from a model file (openvinotoolkit/openvino, pull requests 20625 and
    21440).
    """
    exact = {node.get_friendly_name() for node in model.get_ops() if not _may_be_rounded(node)}
    with TemporaryDirectory() as folder:
        text, weights = Path(folder, "model.xml"), Path(folder, "model.bin")
        ov.serialize(model, text, weights)
        root = ET.parse(text).getroot()  # noqa: S314  written above
        for layer in root.iter("layer"):
            if layer.get("name") in exact:
                mark = ET.SubElement(layer, "rt_info")
                ET.SubElement(mark, "attribute", name="precise", version="0")
        return ov.Core().read_model(ET.tostring(root), weights.read_bytes())


def _may_be_rounded(node: Any) -> bool:  # noqa: ANN401  openvino.Node, without types
    kind = node.get_type_name()
    if kind in {"Convolution", "ConvolutionBackpropData"}:
        return bool(min(node.input_value(1).get_shape()[:2]) > _IMAGE_CHANNELS)
    return kind not in {"Add", "MVN"}


def _normalise_exactly(model: Any) -> None:  # noqa: ANN401  openvino.Model, without types
    """Replace instance norms by ones that average the means of rows.

    OpenVINO's own norms sum a whole image into one number and lose digits as images grow: measured with ResNet-9 at
    1216x368, 88 dB to torch instead of 121 dB. For fp32 only: in bf16 these steps would be rounded, and
    OpenVINO 2026.4 propagates quantisation through them wrongly.
    """
    rows, columns = np.array([2]), np.array([3])

    def mean(images: Any) -> Any:  # noqa: ANN401  openvino.Node, without types
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
