"""Object detectors given as ONNX files, which find boxes in images.

The layout of the outputs is recognised by their shapes, for nc classes and N candidates:

- ``(1, 5 + nc, h, w)``: FastestDet (github.com/dog-qiuqiu/FastestDet), which takes BGR images squeezed to its input;
- ``(1, N, 5 + nc)``: YOLOv5 (github.com/ultralytics/yolov5);
- ``(1, 4 + nc, N)``: YOLOv8, YOLO11 (github.com/ultralytics/ultralytics);
- ``(1, N, 6)``, N at most 1000: YOLOv10 and others that need no suppression;
- three outputs ``(N, 4)``, ``(N)`` integers, ``(N)``: boxes, classes and scores, as torchvision's detectors return.

All but the first take RGB images, scaled with their aspect kept and padded with grey.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from sim2real.errors import Sim2RealError
from sim2real.imageio import resize
from sim2real.metrics.base import Image

_Floats = NDArray[np.float32]
_Decode = Callable[[Sequence[NDArray[Any]], tuple[int, int]], _Floats]

_SIDE = 640  # px, if the file leaves the size open
_GREY = 114  # padding that these networks are trained with
_OVERLAP = 0.45  # IoU from which the weaker of two boxes of a class is suppressed
_FEW = 1000  # candidates: outputs with more are not yet suppressed


class Detection(NamedTuple):
    """A detected box: its edges in pixels, its score and the number of its class."""

    left: float
    top: float
    right: float
    bottom: float
    score: float
    label: int


class Detector:
    """An object detector, run on the CPU by onnxruntime (``pip install "sim2real[export]"``).

    Args:
        path: An ONNX file that takes one image, ``(1, 3, H, W)`` or ``(3, H, W)`` float32 in [0, 1].
        score: Smallest score of a box, 0 to 1.

    Raises:
        Sim2RealError: If the file cannot be read or run, its outputs have no known layout, or onnxruntime is missing.
    """

    def __init__(self, path: str | Path, *, score: float = 0.4) -> None:
        self.path = Path(path)
        self.score = score
        self._session, picture = _open(self.path)
        *batch, channels, height, width = picture.shape if len(picture.shape) in {3, 4} else [0] * 3
        takes_one = not batch or batch[0] == 1 or not isinstance(batch[0], int)
        if channels != 3 or not takes_one or picture.type != "tensor(float)":
            message = f"{path}: takes {picture.type} {picture.shape}; a detector takes images, (1, 3, H, W) float32"
            raise Sim2RealError(message)
        self._name, self._batch = picture.name, bool(batch)
        self._size = _whole(width), _whole(height)
        outputs = self._run(np.zeros((self._size[1], self._size[0], 3), np.float32))
        self._decode, self._squeezed = _layout(self.path, outputs)

    def __call__(self, image: Image) -> list[Detection]:
        """Find objects in an image, RGB (H, W, 3), highest score first."""
        height, width = image.shape[:2]
        if self._squeezed:
            scale = np.array([self._size[0] / width, self._size[1] / height])
            seen = resize(image, self._size)[..., ::-1]
        else:
            ratio = min(self._size[0] / width, self._size[1] / height)
            inner = max(1, round(ratio * width)), max(1, round(ratio * height))
            scale = np.array(inner) / (width, height)
            seen = np.full((self._size[1], self._size[0], 3), _GREY, np.uint8)
            seen[: inner[1], : inner[0]] = resize(image, inner)
        found = self._decode(self._run(np.asarray(seen / 255, np.float32)), self._size)
        found = found[found[:, 4] >= self.score]
        found[:, :4] /= np.tile(scale, 2)
        corners_and_sides = np.concatenate([found[:, :2], found[:, 2:4] - found[:, :2]], axis=1)
        kept = cv2.dnn.NMSBoxesBatched(
            corners_and_sides.tolist(), found[:, 4].tolist(), found[:, 5].astype(int).tolist(), self.score, _OVERLAP
        )
        boxes = [Detection._make([*row[:5], int(row[5])]) for row in found[list(kept)].tolist()]
        return sorted(boxes, key=lambda box: -box.score)

    def _run(self, picture: _Floats) -> list[NDArray[Any]]:
        values = np.ascontiguousarray(picture.transpose(2, 0, 1))
        try:
            outputs: list[NDArray[Any]] = self._session.run(None, {self._name: values[None] if self._batch else values})
        except Exception as error:  # onnxruntime's own exceptions have no narrower base class
            message = f"{self.path}: the detector cannot be run: {str(error).splitlines()[0]}"
            raise Sim2RealError(message) from error
        return outputs


def _open(path: Path) -> tuple[Any, Any]:
    """Open an onnxruntime session and return it with the description of its only input."""
    try:
        import onnxruntime  # type: ignore[import-untyped]  # it ships no types  # noqa: PLC0415  it is an extra
    except ModuleNotFoundError as error:
        raise Sim2RealError(
            'a detector needs onnxruntime, not installed here: pip install "sim2real[export]"'
        ) from error
    if not path.is_file():
        message = f"{path}: no such file; name the ONNX file of a detector"
        raise Sim2RealError(message)
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised anyway
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        message = f"{path}: onnxruntime cannot open it: {str(error).splitlines()[0]}"
        raise Sim2RealError(message) from error
    inputs = session.get_inputs()
    if len(inputs) != 1:
        message = f"{path}: takes {len(inputs)} inputs; a detector takes one image"
        raise Sim2RealError(message)
    return session, inputs[0]


def _whole(side: int | str | None) -> int:
    """Return a side of the input, or the default if the file leaves it open."""
    return side if isinstance(side, int) else _SIDE


def _layout(path: Path, outputs: Sequence[NDArray[Any]]) -> tuple[_Decode, bool]:
    """Return the decoder of the outputs, and whether images are squeezed into the input as BGR."""
    shapes = [output.shape for output in outputs]
    match shapes:
        case [(1, channels, _, _)] if channels > 5:
            return _from_grid, True
        case [(1, count, 6)] if count <= _FEW:
            return _from_final, False
        case [(1, count, channels)] if count > channels > 5:
            return _from_rows, False
        case [(1, channels, count)] if count > channels > 4:
            return _from_columns, False
        case [_, _, _]:
            order = _places(outputs)
            if order:
                return lambda outputs, size: _from_parts([outputs[place] for place in order], size), False
    message = f"{path}: outputs of the shapes {', '.join(map(str, shapes))} match no known layout of detectors"
    raise Sim2RealError(f"{message}; export the detector like FastestDet, YOLOv5, v8, v10 or 11, or torchvision's")


def _places(outputs: Sequence[NDArray[Any]]) -> list[int]:
    """Return which of three outputs are boxes, classes and scores, in this order; empty if they are something else."""
    boxes = [place for place, output in enumerate(outputs) if output.shape[-1:] == (4,) and output.ndim > 1]
    labels = [place for place, output in enumerate(outputs) if np.issubdtype(output.dtype, np.integer)]
    scores = [place for place in range(len(outputs)) if place not in (*boxes, *labels)]
    return [*boxes, *labels, *scores] if len(boxes) == len(labels) == len(scores) == 1 else []


def _from_grid(outputs: Sequence[NDArray[Any]], size: tuple[int, int]) -> _Floats:
    """Decode one box per grid cell: objectness, offsets and sides, then the classes."""
    cells = outputs[0][0]
    rows, columns = cells.shape[1:]
    down, along = np.mgrid[:rows, :columns]
    score = np.clip(cells[0], 0, 1) ** 0.6 * cells[5:].max(axis=0) ** 0.4
    places = (np.stack([along, down]) + np.tanh(cells[1:3])) / np.reshape([columns, rows], (2, 1, 1))
    boxes = np.concatenate([places, 1 / (1 + np.exp(-cells[3:5]))]) * np.reshape([*size, *size], (4, 1, 1))
    return _with_corners(boxes, score, cells[5:].argmax(axis=0))


def _from_rows(outputs: Sequence[NDArray[Any]], _size: tuple[int, int]) -> _Floats:
    rows = outputs[0][0].T
    return _with_corners(rows[:4], rows[4] * rows[5:].max(axis=0), rows[5:].argmax(axis=0))


def _from_columns(outputs: Sequence[NDArray[Any]], _size: tuple[int, int]) -> _Floats:
    rows = outputs[0][0]
    return _with_corners(rows[:4], rows[4:].max(axis=0), rows[4:].argmax(axis=0))


def _from_final(outputs: Sequence[NDArray[Any]], _size: tuple[int, int]) -> _Floats:
    return np.array(outputs[0][0], np.float32)


def _from_parts(outputs: Sequence[NDArray[Any]], _size: tuple[int, int]) -> _Floats:
    boxes, labels, scores = outputs
    return np.column_stack([boxes.reshape(-1, 4), scores.ravel(), labels.ravel()]).astype(np.float32)


def _with_corners(boxes: _Floats, score: _Floats, label: NDArray[np.intp]) -> _Floats:
    """Return boxes (N, 6) from their centres and sides (4, ...)."""
    middles, halves = boxes[:2], boxes[2:] / 2
    columns = [*(middles - halves), *(middles + halves), score, label]
    return np.column_stack([np.ravel(column) for column in columns]).astype(np.float32)
