"""What a run folder keeps of a training, and what it drops when one is resumed."""

import json
from pathlib import Path

import pytest

from sim2real.config import Config
from sim2real.errors import Sim2RealError
from sim2real.training.run import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.create(Config())
    return run


def write(folder: Path) -> None:
    (folder / "weights").write_bytes(b"state")


def test_what_is_beyond_the_step_of_a_resumed_run_is_dropped(run: RunFolder) -> None:
    for step in (1, 2, 3):
        run.log({"step": step})
        run.log({"step": step, "note": "said"})
        run.write_sample(step, b"picture")
    with run.metrics_file.open("a") as file:
        file.write('{"step": 2, "lo')
    with run.writing(Config(), 2, best=0):
        pass
    kept = [json.loads(line) for line in run.metrics_file.read_text().splitlines()]
    assert [line["step"] for line in kept] == [1, 1, 2, 2]
    assert sorted(path.name for path in run.samples.iterdir()) == ["step_00000001.png", "step_00000002.png"]


def test_what_a_dead_writer_left_is_removed_links_included(run: RunFolder) -> None:
    run.checkpoints.save(1, write, best=1, keep=1)
    (run.path / ".last.tmp-123").symlink_to("checkpoints/step_00000001", target_is_directory=True)
    (run.path / ".best.tmp-123").symlink_to("checkpoints/gone", target_is_directory=True)
    (run.checkpoints.folder / ".step_00000002.tmp-123").mkdir()
    (run.checkpoints.folder / ".step_00000002.tmp-123" / "state.pt").write_bytes(b"half")
    with run.writing(Config(), 1, best=1):
        assert sorted(path.name for path in run.path.iterdir()) == ["best", "checkpoints", "config.toml", "last"]
        assert sorted(path.name for path in run.checkpoints.folder.iterdir()) == [".lock", "step_00000001"]
    assert (run.path / "last" / "weights").read_bytes() == b"state"


def test_links_that_a_dead_writer_did_not_move_are_moved(run: RunFolder) -> None:
    for step in (1, 2):
        run.checkpoints.save(step, write, best=1, keep=2)
    for name in ("last", "best"):
        (run.path / name).unlink()
    (run.path / "last").symlink_to("checkpoints/step_00000001", target_is_directory=True)
    with run.writing(Config(), 2, best=1):
        assert (run.path / "last").readlink() == Path("checkpoints/step_00000002")
        assert (run.path / "best").readlink() == Path("checkpoints/step_00000001")


def test_a_run_that_another_has_carried_on_meanwhile_is_left_alone(run: RunFolder) -> None:
    run.checkpoints.save(2, write, best=0, keep=2)
    run.log({"step": 2})
    with (
        pytest.raises(Sim2RealError, match="another training has continued this run in the meantime"),
        run.writing(Config(), 1, best=0),
    ):
        pass
    assert run.checkpoints.newest()[0] == run.checkpoints.path(2)
    assert json.loads(run.metrics_file.read_text()) == {"step": 2}
