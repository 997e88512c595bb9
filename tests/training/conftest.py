from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sim2real.config import Config, resolve


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def configure(photos: Path, tiny: list[str]) -> Callable[..., Config]:
    """Settings of a tiny training on ``photos``: ``configure("key=value", ..., sim=..., real=...)``."""

    def build(*sets: str, sim: Path | str = photos / "sim", real: Path | str | list[Path] = photos / "real") -> Config:
        named = [str(place) for place in real] if isinstance(real, list) else str(real)
        return resolve(sets=[*tiny, *sets], sim=str(sim), real=named)

    return build
