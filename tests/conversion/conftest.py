from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sim2real.conversion import ConversionSummary, ConvertOptions, Progress, convert, quiet

Write = Callable[..., Path]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, write_run: Write) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="session")
def translate(run: Path) -> Callable[..., ConversionSummary]:
    """``translate(source, out, **options)``: convert on the CPU."""
    usual = ConvertOptions(model=run, device="cpu", precision="fp32", workers=2)

    def convert_it(
        source: Path,
        out: Path,
        progress: Progress = quiet,
        tell: Callable[[str], None] = lambda _line: None,
        **options: Any,
    ) -> ConversionSummary:
        return convert(source, out, replace(usual, **options), progress, tell=tell)

    return convert_it


@pytest.fixture(scope="session")
def tree() -> Callable[[Path], dict[str, bytes]]:
    """The files of a folder by relative path, but for what a conversion writes about itself."""

    def read(folder: Path) -> dict[str, bytes]:
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        return {path: file.read_bytes() for path, file in sorted(files.items()) if not path.startswith(".sim2real/")}

    return read
