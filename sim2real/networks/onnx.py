"""Image-to-image networks in ONNX files as generators, computed by onnxruntime."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sim2real.errors import SettingsError, Sim2RealError
from sim2real.networks.blocks import pair
from sim2real.stored import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

Layout = Literal["NCHW", "NHWC"]

_TYPES: Final = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
_STANDARD: Final = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
_RANGES: Final = {"Tanh": [-1.0, 1.0], "Sigmoid": [0.0, 1.0]}
_TRANSPARENT: Final = {"Cast", "Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Clip"}
_STRIDES: Final = (1, 2, 4, 8, 16, 32, 64)
_opening: Final = threading.Lock()
_SIDE: Final = 192  # pixels, approximately, of images that a network is tried on


class OnnxGenerator(nn.Module):
    """A network of an ONNX file with one input and one output, images of three channels.

    The file itself is stored in a buffer, so that models are complete. It is run by onnxruntime, on a GPU if the images
    are there and onnxruntime was built for it. Images that a network of a fixed size is given are scaled to that size,
    and translations back; only a guided transfer keeps their details.

    Args:
        in_channels: 3.
        out_channels: 3.
        file_size: Size of the file in bytes.
        value_range: Minimum and maximum of the values that the network takes and returns.
        layout: ``"NCHW"`` or ``"NHWC"``.
        stride: Number of which H and W of the images must be multiples.
        fixed_size: (W, H) of the images if the network takes only those.

    Attributes:
        value_range: See above.
        stride: See above.
        fixed_size: See above; None for any size.
        layout: See above.
        exportable: False: it is a graph of another kind.
        whole: Images are not translated in tiles.

    Raises:
        SettingsError: If an option is invalid.
    """

    exportable = False
    whole = True
    graph: Tensor

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        *,
        file_size: int,
        value_range: list[float],
        layout: Layout = "NCHW",
        stride: int = 1,
        fixed_size: list[int] | None = None,
    ) -> None:
        if (in_channels, out_channels) != (3, 3):
            raise SettingsError("ONNX files translate images of 3 channels")
        super().__init__()
        self.value_range = pair("value_range", value_range)
        self.stride = stride
        self.fixed_size = (fixed_size[0], fixed_size[1]) if fixed_size else None
        self.layout = layout
        self.register_buffer("graph", torch.zeros(file_size, dtype=torch.uint8))
        self._sessions: dict[str, Any] = {}

    def forward(self, images: Tensor) -> Tensor:
        """Return translations (N, 3, H, W) of images (N, 3, H, W), both in ``value_range``."""
        session = self.session(images.device.type)
        [given] = session.get_inputs()
        size = self.fixed_size[::-1] if self.fixed_size else images.shape[2:]
        seen = images.float() if size == images.shape[2:] else _scaled(images.float(), size)
        if _TYPES[given.type] is np.uint8:
            seen = seen.round().clamp(0, 255)
        values = seen.cpu().numpy().astype(_TYPES[given.type])
        if self.layout == "NHWC":
            values = np.ascontiguousarray(values.transpose(0, 2, 3, 1))
        parts = np.split(values, len(values)) if given.shape[0] == 1 else [values]
        try:
            results = [session.run(None, {given.name: part})[0] for part in parts]
        except Exception as error:  # onnxruntime raises errors of its own, without a common base
            raise Sim2RealError(f"onnxruntime cannot run the network: {one_line(error)}") from error
        result = np.concatenate(results).astype(np.float32)
        if self.layout == "NHWC":
            result = np.ascontiguousarray(result.transpose(0, 3, 1, 2))
        translated = torch.from_numpy(result).to(images.device)
        return translated if translated.shape[2:] == images.shape[2:] else _scaled(translated, images.shape[2:])

    def session(self, device: str) -> Any:  # noqa: ANN401  onnxruntime ships no types
        """Return the session for a device, which is created once."""
        with _opening:
            if device not in self._sessions:
                self._sessions[device] = open_session(self.graph.cpu().numpy().tobytes(), device)
            return self._sessions[device]

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies have in common: sessions cannot be copied."""
        return self.__dict__ | {"_sessions": {}}


def _scaled(images: Tensor, size: tuple[int, ...]) -> Tensor:
    return functional.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)


def open_session(data: bytes, device: str = "cpu") -> Any:  # noqa: ANN401  onnxruntime ships no types
    """Load a network into onnxruntime.

    Raises:
        Sim2RealError: If onnxruntime is not installed or cannot load it.
    """
    try:
        import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415  an extra
    except ModuleNotFoundError as error:
        raise _needs("onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    wanted = ["CUDAExecutionProvider"] * (device == "cuda") + ["CPUExecutionProvider"]
    providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
    try:
        return onnxruntime.InferenceSession(data, options, providers=providers)
    except Exception as error:  # onnxruntime raises errors of its own, without a common base
        raise Sim2RealError(f"onnxruntime cannot load the network: {one_line(error)}") from error


def _needs(package: str) -> Sim2RealError:
    return Sim2RealError(f'ONNX files need {package}, not installed here: pip install "sim2real[export]"')


def onnx_options(file: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of :class:`OnnxGenerator` for a file: from its graph, and by running it.

    Args:
        file: The ONNX file.
        given: Options that the user gave, which are not looked for.

    Raises:
        Sim2RealError: If it is no image-to-image network, needs other files or operators that onnxruntime lacks, or an
            option can be found nowhere.
    """
    model = _checked(file)
    data = file.read_bytes()
    session = open_session(data)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or not outputs:
        names = ", ".join(each.name for each in inputs) or "none"
        raise Sim2RealError(f"{file}: the network has {len(inputs)} inputs ({names}), not one, the image")
    shape, kind = inputs[0].shape, inputs[0].type
    layout = given.get("layout") or ("NHWC" if len(shape) == 4 and shape[3] == 3 and shape[1] != 3 else "NCHW")
    channel, rows = (1, 2) if layout == "NCHW" else (3, 1)
    if len(shape) != 4 or (isinstance(shape[channel], int) and shape[channel] != 3) or kind not in _TYPES:
        raise Sim2RealError(
            f"{file}: its input '{inputs[0].name}' is {kind} {shape}; expected images of 3 channels, float or uint8, "
            "(N, 3, H, W) or (N, H, W, 3)"
        )
    if isinstance(shape[0], int) and shape[0] != 1:
        raise Sim2RealError(f"{file}: takes batches of {shape[0]} images only; export it with a free batch size, or 1")
    values = given.get("value_range") or ([0.0, 255.0] if kind == "tensor(uint8)" else _range_of(model))
    if not values:
        raise Sim2RealError(
            f"{file}: the graph does not tell the range of its values; add "
            "--set generator.options.value_range=[0,1], or [-1,1] or [0,255]"
        )
    height, width = shape[rows : rows + 2]
    options = {"file_size": len(data), "value_range": list(values), "layout": layout}
    if isinstance(height, int) and isinstance(width, int):
        options["fixed_size"] = [width, height]
    network = OnnxGenerator(**options)
    network.graph = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    if network.fixed_size:
        network(torch.zeros(1, 3, height, width))
        return options
    return options | {"stride": given.get("stride") or _stride_of(file, network)}


def _checked(file: Path) -> "onnx.ModelProto":
    """Return the contents of a file that needs nothing but itself and the standard operators."""
    try:
        import onnx  # noqa: PLC0415  an extra
        from google.protobuf.message import DecodeError  # noqa: PLC0415  likewise
    except ModuleNotFoundError as error:
        raise _needs("onnx") from error
    try:
        model = onnx.load(file, load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise Sim2RealError(f"{file}: a damaged ONNX file ({one_line(error)}); copy it again") from error
    if outside := sorted({place for tensor in _tensors(model.graph) if (place := _location(tensor))}):
        raise Sim2RealError(
            f"{file}: its weights are in another file ({outside[0]}), which is not read; save the network as one file: "
            "onnx.save(onnx.load(FILE), NEW)"
        )
    if foreign := sorted({f"{n.domain}.{n.op_type}" for n in _nodes(model.graph) if n.domain not in _STANDARD}):
        raise Sim2RealError(f"{file}: the custom operator {foreign[0]} is not supported; export it without")
    return model


def _translated(network: OnnxGenerator, height: int, width: int) -> tuple[int, int]:
    """Return the size of the translation of an image of this size, before it is scaled back."""
    low, high = network.value_range
    session = network.session("cpu")
    [given] = session.get_inputs()
    image = np.broadcast_to(np.linspace(low, high, width, dtype=np.float32), (1, 3, height, width))
    values = image if network.layout == "NCHW" else image.transpose(0, 2, 3, 1)
    result = session.run(None, {given.name: np.ascontiguousarray(values.astype(_TYPES[given.type]))})[0]
    return result.shape[2:] if network.layout == "NCHW" else result.shape[1:3]


def _stride_of(file: Path, network: OnnxGenerator) -> int:
    """Return the smallest number of which the sides of images must be multiples."""
    problem = ""
    for stride in _STRIDES:
        units = _SIDE // stride
        height, width = (units | 1) * stride, ((units + 2) | 1) * stride
        try:
            size = _translated(network, height, width)
        except Exception as error:  # noqa: BLE001  onnxruntime raises errors of its own, without a common base
            problem = f"onnxruntime cannot run it: {one_line(error)}"
            continue
        if size == (height, width):
            return stride
        problem = f"it returns {size[1]}x{size[0]} for an image of {width}x{height}"
    raise Sim2RealError(f"{file}: {problem}; only networks that keep the size of images are supported")


def _range_of(model: "onnx.ModelProto") -> list[float] | None:
    """Return the range of the output by the operator that computes it; files of sim2real have [-1, 1]."""
    if any(each.key.startswith("sim2real.") for each in model.metadata_props):
        return [-1.0, 1.0]
    makers = {name: node for node in model.graph.node for name in node.output}
    name = model.graph.output[0].name
    while name in makers and makers[name].op_type in _TRANSPARENT:
        name = makers[name].input[0]
    return _RANGES.get(makers[name].op_type) if name in makers else None


def _nodes(graph: "onnx.GraphProto") -> "Iterator[onnx.NodeProto]":
    """Yield all nodes, those of the branches of others included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for part in (attribute.g, *attribute.graphs):
                yield from _nodes(part)


def _tensors(graph: "onnx.GraphProto") -> "Iterator[onnx.TensorProto]":
    """Yield all stored tensors."""
    yield from graph.initializer
    for node in _nodes(graph):
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors, *attribute.g.initializer)


def _location(tensor: "onnx.TensorProto") -> str:
    """Return the file that a tensor is stored in; empty if it is this one."""
    if not tensor.data_location:  # 0: within the file
        return ""
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "unnamed")
