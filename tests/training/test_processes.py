"""A process that is alone; many of them are in acceptance/test_distributed.py."""

import subprocess
import sys

import pytest
import torch

from sim2real.errors import SettingsError, Sim2RealError
from sim2real.training.processes import Processes


def test_a_process_that_is_alone_exchanges_with_itself() -> None:
    alone = Processes("cpu")
    assert (alone.rank, alone.count, alone.is_first, alone.device) == (0, 1, True, "cpu")
    tensor = torch.tensor([1.0, 3.0])
    alone.average([tensor])
    assert tensor.tolist() == [1.0, 3.0]
    assert alone.greatest(143) == 143
    assert alone.gather("mine") == ["mine"]
    assert alone.broadcast("mine") == "mine"
    assert alone.on_first(lambda: 5) == 5
    assert not torch.distributed.is_initialized()


def test_errors_of_the_first_process_are_its_own() -> None:
    def fail() -> None:
        raise Sim2RealError("the disk is full")

    with pytest.raises(Sim2RealError, match="the disk is full"):
        Processes("cpu").on_first(fail)


def test_a_batch_script_is_one_process_whatever_was_asked_of_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "4")  # of the job; only srun begins so many, and says so
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert Processes("cpu").count == 1
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    assert Processes("cpu").count == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_one_device_for_many_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(SettingsError, match=r"device 'cuda:0' is a single one, for 2 processes; use cuda or auto"):
        Processes("cuda:0")
    with pytest.raises(SettingsError, match=r"2 processes on this machine, but each sees 1 GPUs"):
        Processes("cuda")


def test_one_process_imports_no_engine() -> None:
    code = (
        "import sys; from sim2real.training.processes import Processes; Processes('cpu');"
        "sys.exit('lightning_fabric' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
