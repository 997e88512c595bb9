"""The notebook runs from top to bottom, on its stand-in and on real paintings and photos."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

NOTEBOOK = Path(__file__).parents[1] / "examples" / "photo_monet.ipynb"
DATA = os.environ.get("SIM2REAL_TEST_DATA", "")


def read() -> NotebookNode:
    notebook: NotebookNode = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]  # it is untyped
    return notebook


def execute(folder: Path) -> NotebookNode:
    resources = {"metadata": {"path": str(folder)}}
    return NotebookClient(read(), timeout=240, kernel_name="python3", resources=resources).execute()


def printed(notebook: NotebookNode) -> str:
    return "".join(out.get("text", "") for cell in notebook.cells for out in cell.get("outputs", []))


def pictures(notebook: NotebookNode) -> int:
    return sum("image/png" in out.get("data", {}) for cell in notebook.cells for out in cell.get("outputs", []))


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONET_STEPS", "3")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parents[1]))
    monkeypatch.delenv("MONET2PHOTO", raising=False)


def test_it_runs_anywhere_on_pictures_that_it_makes_itself(tmp_path: Path) -> None:
    done = execute(tmp_path)
    text = printed(done)
    assert "MONET2PHOTO is not set: these are stand-ins" in text
    assert "cyclegan: 24 paintings, 24 photos" in text
    assert text.count("ok: ") == 2
    assert pictures(done) == 3


@pytest.mark.skipif(not DATA, reason="SIM2REAL_TEST_DATA is not set: no real paintings and photos at hand")
def test_it_runs_on_paintings_by_monet_and_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONET2PHOTO", str(Path(DATA).resolve() / "monet2photo-mini"))
    done = execute(tmp_path)
    text = printed(done)
    assert "stand-in" not in text
    assert "cyclegan: 300 paintings, 1200 photos" in text
    assert text.count("ok: ") == 2
    assert pictures(done) == 3


def test_it_is_kept_without_outputs() -> None:
    for cell in read().cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
