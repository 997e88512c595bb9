from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sim2real.config import Config, resolve


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory, paint: Callable[..., Path]) -> Path:
    """A folder with the plain folders ``sim`` (6 images) and ``real`` (9)."""
    root = tmp_path_factory.mktemp("photos")
    paint(root / "sim", 6, seed=1)
    paint(root / "real", 9, seed=2)
    return root


@pytest.fixture
def configure(photos: Path, tiny: list[str]) -> Callable[..., Config]:
    """Settings of a tiny training on ``photos``: ``configure("key=value", ..., sim=..., real=...)``."""

    def build(*sets: str, sim: Path | str = photos / "sim", real: Path | str = photos / "real") -> Config:
        return resolve(sets=[*tiny, *sets], sim=str(sim), real=str(real))

    return build
