"""What a run folder keeps when the disk does not go along."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sim2real.errors import SettingsError
from sim2real.training.run import RunFolder


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file may be longer than 64 KiB."""
    if sys.platform == "win32":
        pytest.skip("Windows has no limit on the size of files")
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_disk")
def test_a_checkpoint_that_does_not_fit_the_disk_is_told_and_leaves_the_one_before(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    first = run.save(1, {"weights": torch.zeros(9)}, lambda _: None, keep=1)
    with pytest.raises(SettingsError, match=r"step_00000002: the checkpoint cannot be written; .*free space"):
        run.save(2, {"weights": torch.zeros(2**16)}, lambda _: None, keep=1)
    assert list(run.checkpoints.iterdir()) == [first]
    loaded = run.load()
    assert loaded is not None
    assert loaded[0] == first
