from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.forkserver import ForkServer
from tests.commands import Write


@pytest.fixture(scope="session")
def make_work(tmp_path_factory: pytest.TempPathFactory, write_vkitti: Write, write_run: Write) -> Callable[..., Path]:
    """Make a folder with a dataset ``in`` and a run under ``runs``: ``make_work(frames, size=(W, H))``."""

    def make(frames: int, *, size: tuple[int, int]) -> Path:
        folder = tmp_path_factory.mktemp("work")
        write_vkitti(folder / "in", frames, size=size)
        write_run(folder / "runs/town")
        return folder

    return make


@pytest.fixture(scope="module")
def server(work: Path) -> Iterator[ForkServer]:
    """A process that starts commands at once, in the folder ``work`` of the module."""
    server = ForkServer(work)
    yield server
    server.close()
