from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sim2real.conversion import ConversionSummary, ConvertOptions, Progress, convert, pipeline, quiet
from sim2real.conversion.resolved_settings import Machine
from sim2real.registry import Entry, registry

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
        notify: Callable[[str], None] = lambda _line: None,
        machine: Machine | None = None,
        **options: Any,
    ) -> ConversionSummary:
        return convert(source, out, replace(usual, **options), progress, notify=notify, machine=machine)

    return convert_it


@pytest.fixture(scope="session")
def tree() -> Callable[[Path], dict[str, bytes]]:
    """The files of a folder by relative path, without ``.sim2real``."""

    def read(folder: Path) -> dict[str, bytes]:
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        return {path: file.read_bytes() for path, file in sorted(files.items()) if not path.startswith(".sim2real/")}

    return read


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Register a component of a test: ``offer(kind, name, target)``."""

    def add(kind: str, name: str, target: type) -> None:
        entry = Entry(kind, name, f"{target.__module__}:{target.__qualname__}", "of a test", "tests")
        monkeypatch.setattr(registry(), "offers", [*registry().offers, entry])

    return add


@pytest.fixture
def save_model(offer: Callable[..., None]) -> Callable[..., Path]:
    """Register and write an untrained generator of a test: ``save_model(file, class, options, **settings)``."""

    def save(file: Path, kind: type[Any], options: Mapping[str, Any] | None = None, **settings: Any) -> Path:
        import torch

        from sim2real.model import GeneratorInfo, save_generator

        name = kind.__name__.lower()
        offer("generators", name, kind)
        torch.manual_seed(0)
        network = kind(3, 3, **(options or {}))
        ends = getattr(network, "value_range", (-1.0, 1.0))
        info = GeneratorInfo(name, dict(options or {}), ends, "sim2real", "default", settings, "none", "0.1.0")
        save_generator(file, network, info)
        return file

    return save


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> dict[str, NDArray[np.uint8]]:
    """The translations by path, before they are encoded."""
    found: dict[str, NDArray[np.uint8]] = {}
    original = pipeline.Pipeline._write

    def write(self: Any, decoded: Any, rgb: NDArray[np.uint8], notes: Any) -> None:
        found[decoded.job.path] = rgb
        original(self, decoded, rgb, notes)

    monkeypatch.setattr(pipeline.Pipeline, "_write", write)
    return found


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[list[NDArray[np.uint8]]]:
    """The translated frames of each preview."""
    found: list[list[NDArray[np.uint8]]] = []

    def sheet(columns: dict[str, list[NDArray[np.uint8]]]) -> NDArray[np.uint8]:
        found.append(columns["after (sim2real)"])
        return columns["after (sim2real)"][0]

    monkeypatch.setattr("sim2real.contactsheet.contact_sheet", sheet)
    return found
