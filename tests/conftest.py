import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.commands import Cli, Program, environment, run_here

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; torch reads it on import

# Tests do not depend on how long an example takes.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell starts background jobs like this; children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def cli() -> Cli:
    """Run ``sim2real ARGS`` as a user would.

    ``path`` comes first on the import path, ``env`` overrides environment variables; ``python`` is that of a virtual
    environment.
    """

    def run(
        *args: object,
        path: Path | None = None,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        python: str | Path = sys.executable,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(python), "-m", "sim2real", *map(str, args)],
            env=environment(path, **(env or {})),
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=250,
        )

    return run


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """Run ``sim2real ARGS`` in this process, with one thread: (exit code, stdout, stderr)."""
    import torch

    torch.set_num_threads(1)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*args: object) -> tuple[int, str, str]:
        code = run_here(*args)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def one_thread() -> Iterator[None]:
    """PyTorch computes with one thread during a test."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed packages, for ``path`` of ``cli``."""
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


@pytest.fixture
def install(site: Path) -> Callable[..., None]:
    """Install a plugin in ``site``: a module, and a distribution with an entry point that names it."""

    def write(name: str, source: str | None) -> None:
        module = f"plugin_{name}"
        if source is not None:
            (site / f"{module}.py").write_text(source)
        info = site / f"acme_{name}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: acme-{name}\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text(f"[sim2real]\n{name} = {module}\n")

    return write


@pytest.fixture(scope="session")
def paint() -> Callable[..., Path]:
    """Fill a folder with small photos of different colours: ``paint(folder, count, size=(W, H), seed=0)``."""

    def fill(folder: Path, count: int, *, size: tuple[int, int] = (40, 32), seed: int = 0) -> Path:
        import cv2
        import numpy as np

        folder.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(seed)
        for number in range(count):
            colours = random.integers(0, 216, 3) + random.integers(0, 40, (size[1], size[0], 3))
            assert cv2.imwrite(str(folder / f"{number:04d}.png"), colours.astype(np.uint8))
        return folder

    return fill


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """Settings, as for ``--set``, of a training that takes a few seconds."""
    return [
        "recipe=combined",
        "data.size=[32, 32]",
        "data.workers=0",
        "generator.options.width=4",
        "generator.options.blocks=1",
        "discriminator.options.width=4",
        "precision=fp32",
        "device=cpu",
        "train.steps=6",
        "log.every=2",
        "checkpoint.every=3",
    ]


@pytest.fixture(scope="session")
def write_vkitti() -> Callable[..., Path]:
    """Write a small Virtual KITTI 2 and an unrelated file and folder: ``write_vkitti(folder, frames, size=(W, H))``."""

    def write(root: Path, frames: int = 3, *, size: tuple[int, int] = (40, 24)) -> Path:
        import numpy as np
        from PIL import Image

        random = np.random.default_rng(0)
        for variation in ("clone", "fog"):
            video = root / "Scene01" / variation
            for kind in ("rgb", "depth", "classSegmentation"):
                (video / "frames" / kind / "Camera_0").mkdir(parents=True)
            for frame in range(frames):
                pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                frames_of = video / "frames"
                Image.fromarray(pixels).save(frames_of / f"rgb/Camera_0/rgb_{frame:05}.jpg", quality=90)
                Image.fromarray(pixels).save(frames_of / f"classSegmentation/Camera_0/classgt_{frame:05}.png")
                depth = pixels[..., 0].astype(np.uint16) * 200
                Image.fromarray(depth).save(frames_of / f"depth/Camera_0/depth_{frame:05}.png")
            for name in ("bbox", "pose", "info"):
                (video / f"{name}.txt").write_text(f"{name} of {variation}\n")
        (root / "a note ü.md").write_text("kept\n")
        (root / "nothing here").mkdir()
        return root

    return write


@pytest.fixture(scope="session")
def write_run() -> Callable[..., Path]:
    """Write a run with an untrained generator: ``write_run(folder, direction, seed=0, **info_fields)``."""

    def write(folder: Path, direction: str = "sim2real", *, seed: int = 0, **differences: Any) -> Path:
        from dataclasses import replace

        import torch

        from sim2real.model import GeneratorInfo, save_generator
        from sim2real.networks.generators import EncoderDecoder

        torch.manual_seed(seed)
        options = {"width": 4, "blocks": 1, "norm": "instance"}
        network = EncoderDecoder(3, 3, width=4, blocks=1)
        info = GeneratorInfo(
            name="encoder-decoder",
            options=options,
            value_range=network.value_range,
            direction=direction,
            recipe="default",
            settings={},
            fingerprint="none",
            tool_version="0.1.0",
        )
        folder.mkdir(parents=True, exist_ok=True)
        save_generator(folder / f"{direction}.safetensors", network, replace(info, **differences))
        return folder

    return write


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory, paint: Callable[..., Path]) -> Path:
    """A folder with the plain folders ``sim`` (6 images) and ``real`` (9); tests must not write to it."""
    root = tmp_path_factory.mktemp("photos")
    paint(root / "sim", 6, seed=1)
    paint(root / "real", 9, seed=2)
    return root
