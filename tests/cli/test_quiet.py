"""What libraries warn of does not reach the user, who may ask for it; errors do."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]

NOISY = dedent("""
    import logging, subprocess, sys, warnings
    import sim2real

    @sim2real.hookimpl
    def register_commands(register):
        register("noisy", f"{__name__}:noisy", summary="uses libraries that warn")
        register("light", f"{__name__}:light", summary="uses fewer of them")

    class Images:
        def __len__(self):
            return 1

        def __getitem__(self, index):
            import numpy
            warnings.warn("warned in a worker", stacklevel=1)
            return float(numpy.log(numpy.float64(index)))

    def noisy():
        import torch.utils.cpp_extension
        from torch.utils.data import DataLoader
        torch.range(0, 1)
        list(DataLoader(Images(), num_workers=1))
        logging.getLogger("torch._inductor").warning("logged a warning")
        light()

    def light():
        import cv2, numpy
        warnings.simplefilter("default", category=FutureWarning)  # as Lightning does
        warnings.warn("warned in future", FutureWarning, stacklevel=1)
        warnings.warn("warned here", stacklevel=1)
        numpy.float32(1e38) * numpy.float32(10)
        cv2.imread("not there.png")
        cv2.VideoCapture(__file__)
        subprocess.run([sys.executable, "-c", "import warnings; warnings.warn('warned by a child')"], check=True)
        logging.getLogger("some.library").warning("logged a warning")
        logging.getLogger("some.library").error("logged an error")
        print("done")
""")


@pytest.fixture
def noisy(cli: Cli, install: Callable[..., None], site: Path, tmp_path: Path) -> Cli:
    """Run a command of a plugin that uses libraries which warn, where CUDA is installed and cannot be used."""
    install("noisy", NOISY)
    return lambda name, **env: cli(name, path=site, cwd=tmp_path, env={"CUDA_HOME": str(tmp_path), **env})


@pytest.mark.parametrize("env", [{}, {"PYTHONWARNINGS": "ignore"}], ids=["by itself", "from another command"])
def test_no_warning_of_a_library_is_shown(noisy: Cli, env: dict[str, str]) -> None:
    result = noisy("noisy", **env)
    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "logged an error\n")


def test_who_asks_for_warnings_gets_them(noisy: Cli) -> None:
    result = noisy("light", PYTHONWARNINGS="default", OPENCV_LOG_LEVEL="WARNING")
    assert result.returncode == 0
    for words in ("warned here", "warned by a child", "[ WARN:", "overflow"):
        assert words in result.stderr, words
    result = noisy("light", PYTHONWARNINGS="error::UserWarning")
    assert result.returncode == 1
    assert result.stderr.endswith("UserWarning: warned here\n")


@pytest.mark.parametrize("requested", [None, "ACTIVE"])
def test_threads_that_wait_leave_the_cores_to_others_unless_the_user_says_otherwise(requested: str | None) -> None:
    code = (
        "import os, sys; sys.argv = ['sim2real', '--version']; from sim2real.cli import main\n"
        "try: main()\nfinally: print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    )
    others = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment = others | ({"OMP_WAIT_POLICY": requested} if requested else {})
    shown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == f"{requested or 'PASSIVE'} False"
