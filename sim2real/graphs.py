"""ONNX files: what they say of their networks, and onnxruntime's sessions."""

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sim2real.errors import Sim2RealError
from sim2real.inside import require_regular
from sim2real.places import absent
from sim2real.stored import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

TYPES: Final = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
"""Types of numbers that images may have, by onnxruntime's names."""
_STANDARD: Final = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
_RANGES: Final = {"Tanh": [-1.0, 1.0], "Sigmoid": [0.0, 1.0]}
_TRANSPARENT: Final = {"Cast", "Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Clip"}
_STRIDES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_LOOPS: Final = {"Loop", "Scan"}
_BYTES: Final = "tensor(uint8)"
_LARGEST: Final = 2**26  # pixels of a fixed size
_TWO_GIGABYTES: Final = 2**31
_SIDE: Final = 192  # pixels, approximately, of images that a network is tried on
_KEEPS: Final = "only networks from an image to one of the same size are supported"


def open_session(data: bytes, device: str = "cpu", threads: int = 0) -> Any:  # noqa: ANN401  onnxruntime ships no types
    """Load a network into onnxruntime.

    Args:
        data: The contents of the file.
        device: ``"cuda"`` for a GPU, if onnxruntime was built for it.
        threads: Number of threads on the CPU; 0: as many as there are cores.

    Raises:
        Sim2RealError: If onnxruntime is not installed or cannot load it.
    """
    try:
        import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415  an extra
    except ModuleNotFoundError as error:
        raise _needs("onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    wanted = ["CUDAExecutionProvider"] * (device == "cuda") + ["CPUExecutionProvider"]
    providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # on an error it prints which provider it tries next
            return onnxruntime.InferenceSession(data, options, providers=providers)
    except Exception as error:  # onnxruntime raises errors of its own, without a common base
        raise Sim2RealError(f"onnxruntime cannot load the network: {one_line(error)}") from error


def _needs(package: str) -> Sim2RealError:
    return Sim2RealError(f'ONNX files need {package}, not installed here: pip install "sim2real[export]"')


def onnx_options(file: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the generator ``onnx`` for a file: from its graph, and by running it.

    Args:
        file: The ONNX file.
        given: Options that the user gave, which are not looked for.

    Raises:
        Sim2RealError: If it is no image-to-image network, needs other files or operators that onnxruntime lacks, or an
            option can be found nowhere.
    """
    model = check_onnx(file)
    data = file.read_bytes()
    try:
        session = open_session(data)
        [image], result = session.get_inputs(), session.get_outputs()[0]
        shape, kind = image.shape, image.type
        layout = given.get("layout") or ("NHWC" if len(shape) == 4 and shape[3] == 3 and shape[1] != 3 else "NCHW")
        fault = _mismatch(image, result, layout)
    except UnicodeDecodeError as error:
        raise Sim2RealError(f"{file}: a damaged ONNX file: a name is not UTF-8; copy it again") from error
    except Sim2RealError as error:
        raise Sim2RealError(f"{file}: {error}") from error
    if fault:
        raise Sim2RealError(f"{file}: {fault}")
    values = given.get("value_range") or ([0.0, 255.0] if kind == _BYTES else _range_of(model))
    if not values:
        raise Sim2RealError(
            f"{file}: the graph does not tell the range of its values; import it with it: sim2real import FILE "
            "--set generator.options.value_range=[0,1], or [-1,1] or [0,255]"
        )
    height, width = shape[2:] if layout == "NCHW" else shape[1:3]
    options: dict[str, Any] = {"file_size": len(data), "value_range": list(values), "layout": layout}
    if isinstance(height, int):
        if fault := _fault(session, layout, height, width):
            raise Sim2RealError(f"{file}: {fault}; {_KEEPS}")
        return options | {"fixed_size": [width, height]}
    return options | {"stride": given.get("stride") or _stride_of(file, session, layout)}


def _mismatch(image: Any, result: Any, layout: str) -> str:  # noqa: ANN401  onnxruntime ships no types
    """Return why an input and an output are not images of three channels; empty if they are."""
    shape, channel = image.shape, 1 if layout == "NCHW" else 3
    if len(shape) != 4 or (isinstance(shape[channel], int) and shape[channel] != 3) or image.type not in TYPES:
        return (
            f"its input '{image.name}' is {image.type} {shape}; expected images of 3 channels, float or uint8, "
            "(N, 3, H, W) or (N, H, W, 3)"
        )
    if result.type not in TYPES or (image.type == _BYTES) != (result.type == _BYTES):
        return f"it takes {image.type} and returns {result.type}; both must be float, or both uint8"
    if isinstance(shape[0], int) and shape[0] != 1:
        return f"it takes batches of {shape[0]} images only; export it with a free batch size, or 1"
    height, width = shape[2:] if layout == "NCHW" else shape[1:3]
    if isinstance(height, int) != isinstance(width, int):
        return "one side of its images is fixed and one free; export it with both fixed or both free"
    if isinstance(height, int) and not 0 < height * width <= _LARGEST:
        return f"it takes images of {width}x{height} pixels; the most is {_LARGEST} pixels"
    return ""


def check_onnx(file: Path) -> "onnx.ModelProto":
    """Return the contents of a file that needs nothing but itself and the standard operators.

    Raises:
        Sim2RealError: If it is missing, damaged, or needs other files or operators.
    """
    try:
        require_regular(file)
    except FileNotFoundError:
        raise Sim2RealError(f"{absent(file, 'file')}; name an ONNX file") from None
    try:
        import onnx  # noqa: PLC0415  an extra
    except ModuleNotFoundError as error:
        raise _needs("onnx") from error
    if file.stat().st_size >= _TWO_GIGABYTES:
        raise Sim2RealError(f"{file}: ONNX files of 2 GiB or more cannot be read")
    try:
        model = onnx.load(file, load_external_data=False)
    except Exception as error:  # protobuf raises errors of its own
        raise Sim2RealError(f"{file}: a damaged ONNX file ({one_line(error)}); copy it again") from error
    if outside := sorted({place for tensor in _tensors(model.graph) if (place := _location(tensor))}):
        raise Sim2RealError(
            f"{file}: its weights are in another file ({outside[0]}), which is not read; save the network as one file: "
            "onnx.save(onnx.load(FILE), NEW)"
        )
    if foreign := sorted({f"{n.domain}.{n.op_type}" for n in _nodes(model.graph) if n.domain not in _STANDARD}):
        raise Sim2RealError(f"{file}: the custom operator {foreign[0]} is not supported; export it without")
    if control := [node.op_type for node in _nodes(model.graph) if node.op_type in _LOOPS]:
        raise Sim2RealError(
            f"{file}: the operator {control[0]} is not supported, as it may never end; export it without"
        )
    if not model.graph.output:
        raise Sim2RealError(f"{file}: the network has no output")
    stored = {tensor.name for tensor in model.graph.initializer}  # old files list weights as inputs, too
    if len(inputs := [each.name for each in model.graph.input if each.name not in stored]) != 1:
        names = ", ".join(inputs) or "none"
        raise Sim2RealError(f"{file}: the network has {len(inputs)} inputs ({names}), not one, the image")
    return model


def _fault(session: Any, layout: str, height: int, width: int) -> str:  # noqa: ANN401  see open_session
    """Return why the network does not translate images of this size; empty if it does."""
    [given] = session.get_inputs()
    image = np.zeros((1, 3, height, width) if layout == "NCHW" else (1, height, width, 3), TYPES[given.type])
    try:
        shape = tuple(session.run(None, {given.name: image})[0].shape)
    except Exception as error:  # noqa: BLE001  onnxruntime raises errors of its own, without a common base
        return f"onnxruntime cannot run it on {width}x{height} pixels: {one_line(error)}"
    return "" if shape == image.shape else f"it returns {shape} for an image {image.shape}"


def _stride_of(file: Path, session: Any, layout: str) -> int:  # noqa: ANN401  see open_session
    """Return the smallest number of which the sides of images must be multiples."""
    fault = ""
    for stride in _STRIDES:
        units = _SIDE // stride
        fault = _fault(session, layout, (units | 1) * stride, ((units + 2) | 1) * stride)
        if not fault:
            return stride
    raise Sim2RealError(f"{file}: {fault}; {_KEEPS}")


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
