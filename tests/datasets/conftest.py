"""Small trees in the layouts of real datasets; every file has different bytes. ``trees`` has a module per family."""

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from sim2real.imageio import encode_png
from tests.datasets.trees.common import Grow, Pixels, jpegs, pngs, write

FAMILIES = sorted(path.stem for path in (Path(__file__).parent / "trees").glob("*.py"))
LAYOUTS: dict[str, Grow] = {
    name: grow
    for family in FAMILIES
    for name, grow in getattr(import_module(f"tests.datasets.trees.{family}"), "LAYOUTS", {}).items()
}


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """The name of a layout and a tree in it."""
    return request.param, LAYOUTS[request.param](tmp_path / "data")


@pytest.fixture
def layouts() -> list[str]:
    return list(LAYOUTS)


@pytest.fixture
def grow(tmp_path: Path) -> Callable[..., Path]:
    """Make a tree in the named layout in a fresh folder: ``grow("vkitti2", archives=True)``."""

    def grow(name: str, /, into: str = "data", **options: Any) -> Path:
        return LAYOUTS[name](tmp_path / into, **options)

    return grow


@pytest.fixture
def plant() -> Callable[..., None]:
    """Write files: ``plant(root, "a.jpg", {"b.png": pixels, "c.txt": "text"})``; a name without content is a photo."""

    def plant(root: Path, *contents: str | dict[str, str | bytes | Pixels]) -> None:
        for content in contents:
            if isinstance(content, str):
                (pngs if content.endswith("png") else jpegs)(root, [content])
            else:
                for path, what in content.items():
                    write(root / path, what if isinstance(what, str | bytes) else encode_png(what))

    return plant


@pytest.fixture
def real_data() -> Path:
    """The folder of real samples."""
    if not (folder := os.environ.get("SIM2REAL_TEST_DATA")):
        pytest.skip("SIM2REAL_TEST_DATA names no folder with real samples")
    return Path(folder)
