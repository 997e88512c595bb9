from pathlib import Path

import pytest

from sim2real.errors import Sim2RealError
from sim2real.evaluation.figures import Evaluation, evaluation_path, read_evaluation, write_evaluation

FOUND = Evaluation(
    tool_version="1",
    source="sim",
    real="real",
    settings={},
    counts={"frames": 1},
    verdict="WARN",
    reasons=("1 frames are too few",),
    figures=(),
    alarms=(),
    notes=(),
)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    assert read_evaluation(tmp_path) is None
    evaluation_path(tmp_path).parent.mkdir()
    write_evaluation(tmp_path, FOUND)
    assert read_evaluation(tmp_path) == FOUND


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"verdict": 3}', FOUND.dump().replace("WARN", "MAYBE")])
def test_a_damaged_file_is_told(tmp_path: Path, text: str) -> None:
    evaluation_path(tmp_path).parent.mkdir()
    evaluation_path(tmp_path).write_text(text)
    with pytest.raises(Sim2RealError, match="damaged, or written by another version"):
        read_evaluation(tmp_path)
