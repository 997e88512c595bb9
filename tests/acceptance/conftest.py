from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.nursery import Nursery


@pytest.fixture(scope="module")
def nursery(work: Path) -> Iterator[Nursery]:
    """Where commands of a module begin: in the folder ``work`` that it has."""
    nursery = Nursery(work)
    yield nursery
    nursery.close()
