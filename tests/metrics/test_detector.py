from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sim2real.errors import Sim2RealError
from sim2real.metrics.detector import Detector

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a network that answers every picture with the same values."""

    def constant(*outputs: NDArray[np.generic], shape: Sequence[int | str] = (1, 3, 160, 320)) -> Path:
        nodes, values = [], []
        for number, output in enumerate(outputs):
            nodes.append(helper.make_node("Identity", [f"value{number}"], [f"output{number}"]))
            kind = helper.np_dtype_to_tensor_dtype(output.dtype)
            values.append(helper.make_tensor_value_info(f"output{number}", kind, output.shape))
        graph = helper.make_graph(
            nodes,
            "detector",
            [helper.make_tensor_value_info("picture", TensorProto.FLOAT, shape)],
            values,
            [numpy_helper.from_array(output, f"value{number}") for number, output in enumerate(outputs)],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path = tmp_path / "detector.onnx"
        onnx.save(model, path)
        return path

    return constant


def rows(*boxes: tuple[float, ...], count: int = 40, columns: int = 8) -> NDArray[np.float32]:
    """Candidates, all but the first ones with nothing in them."""
    values = np.zeros((1, count, columns), np.float32)
    for number, box in enumerate(boxes):
        values[0, number, : len(box)] = box
    return values


PICTURE = np.full((100, 100, 3), 90, np.uint8)  # seen at 160x160 in the left half of 320x160
FOUND = (25, 37.5, 75, 62.5)  # the box of 80x40 px about (80, 80) there


def test_boxes_of_yolov5(write: Write) -> None:
    path = write(rows((80, 80, 80, 40, 0.9, 0.1, 0.8, 0.2), (82, 80, 80, 40, 0.8, 0.1, 0.8, 0.2)))
    [box] = Detector(path)(PICTURE)
    assert box[:4] == pytest.approx(FOUND)
    assert box.score == pytest.approx(0.72)
    assert box.label == 1


def test_boxes_of_yolov8(write: Write) -> None:
    candidates = rows((80, 80, 80, 40, 0.1, 0.2, 0.7, 0), (20, 80, 20, 20, 0.1, 0.2, 0.3, 0))
    [box] = Detector(write(candidates.transpose(0, 2, 1).copy()))(PICTURE)
    assert box[:4] == pytest.approx(FOUND)
    assert box.score == pytest.approx(0.7)
    assert box.label == 2


def test_boxes_of_networks_that_suppress_on_their_own(write: Write) -> None:
    [box] = Detector(write(rows((40, 60, 120, 100, 0.8, 3), columns=6)))(PICTURE)
    assert box[:4] == pytest.approx(FOUND)
    assert box.score == pytest.approx(0.8)
    assert box.label == 3


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (2, 0, 1)])
def test_boxes_of_torchvision(write: Write, order: tuple[int, ...]) -> None:
    parts = (
        np.array([[40, 60, 120, 100], [0, 0, 9, 9]], np.float32),
        np.array([3, 1], np.int64),
        np.array([0.8, 0.1], np.float32),
    )
    [box] = Detector(write(*(parts[place] for place in order), shape=(3, 160, 320)))(PICTURE)
    assert box[:4] == pytest.approx(FOUND)
    assert box.score == pytest.approx(0.8)
    assert box.label == 3


def test_boxes_of_fastestdet(write: Write) -> None:
    grid = np.zeros((1, 5 + 3, 4, 8), np.float32)
    grid[0, :, 2, 4] = (0.9, 0, 0, 0, np.log(1 / 3), 0, 0, 0.8)  # half as wide as the picture, a quarter as high
    [box] = Detector(write(grid))(PICTURE)
    assert box[:4] == pytest.approx((25, 37.5, 75, 62.5))
    assert box.score == pytest.approx(0.9**0.6 * 0.8**0.4)
    assert box.label == 2


def test_weak_boxes_and_those_of_a_blank_answer_are_left_out(write: Write) -> None:
    path = write(rows((80, 80, 80, 40, 0.9, 0.1, 0.8, 0.2)))
    assert len(Detector(path, score=0.7)(PICTURE)) == 1
    assert Detector(path, score=0.75)(PICTURE) == []
    assert Detector(write(rows()))(PICTURE) == []


def test_two_objects_of_different_classes_may_stand_in_one_place(write: Write) -> None:
    same = [(80, 80, 80, 40, 0.9, 0.9, 0), (80, 80, 80, 40, 0.8, 0, 0.9)]
    assert [box.label for box in Detector(write(rows(*same, columns=7)))(PICTURE)] == [0, 1]


def test_an_open_size_is_640(write: Write) -> None:
    path = write(rows((320, 320, 640, 320, 0.9, 1, 0, 0)), shape=("batch", 3, "height", "width"))
    [box] = Detector(path)(PICTURE)
    assert box[:4] == pytest.approx((0, 25, 100, 75))


@pytest.mark.parametrize(
    ("outputs", "shape", "message"),
    [
        ([np.zeros((1, 1000), np.float32)], (1, 3, 160, 320), r"shapes \(1, 1000\) match no known layout"),
        ([np.zeros((9, 4), np.float32), np.zeros(9, np.float32), np.zeros(9, np.float32)], (1, 3, 8, 8), "no known"),
        ([rows()], (1, 1, 160, 320), r"a detector takes images, \(1, 3, H, W\)"),
        ([rows()], (1, 4), "a detector takes images"),
        ([rows()], (2, 3, 160, 320), "a detector takes images"),
    ],
)
def test_another_network_is_refused(
    write: Write, outputs: list[NDArray[np.float32]], shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(Sim2RealError, match=message):
        Detector(write(*outputs, shape=shape))


def test_what_is_no_onnx_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Sim2RealError, match=r"none\.onnx: no such file"):
        Detector(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("not a network")
    with pytest.raises(Sim2RealError, match=r"text\.onnx: onnxruntime cannot open it"):
        Detector(tmp_path / "text.onnx")
