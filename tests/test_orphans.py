"""Processes that end with the one that began them."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.acceptance.forkserver import survivors

ROOT = Path(__file__).parents[1]
PARENT = """
import multiprocessing, sys, time
from sim2real.orphans import end_with_parent


def work(number):
    end_with_parent()
    print(number, flush=True)
    time.sleep(60)


if __name__ == "__main__":
    processes = multiprocessing.get_context(sys.argv[1])
    for number in range(3):
        processes.Process(target=work, args=(number,)).start()
    time.sleep(60)
"""
CHILD = "import time; from sim2real.orphans import end_with_parent; end_with_parent(); print(1, flush=True); {}"
POPEN = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {!r}]); time.sleep(60)"


def _begun(command: list[str], words: int) -> tuple["subprocess.Popen[str]", list[psutil.Process]]:
    """A process and all that came of it, once it or they have said so many lines."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, *command], env=environment, stdout=subprocess.PIPE, text=True)
    for _ in range(words):
        assert process.stdout
        process.stdout.readline()
    return process, psutil.Process(process.pid).children(recursive=True)


@pytest.mark.parametrize("how", multiprocessing.get_all_start_methods())
def test_no_worker_outlives_a_parent_that_is_killed(tmp_path: Path, how: str) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    process, workers = _begun([str(script), how], 3)
    assert len(workers) >= 3
    process.kill()
    assert not survivors(workers, 1)
    process.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_a_process_of_another_program_ends_with_it_and_not_before() -> None:
    child = CHILD.format("time.sleep(60)")
    process, [worker] = _begun(["-c", POPEN.format(child)], 1)
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.3)
    assert worker.is_running()
    process.kill()
    assert not survivors([worker], 1)
    process.communicate()
