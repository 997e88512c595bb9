"""``sim2real.train`` and ``sim2real.convert`` do what the commands do, and print nothing."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sim2real
from sim2real import errors
from sim2real.errors import DatasetError, SettingsError, Sim2RealError, UnknownNameError
from sim2real.training import TrainingProgress
from tests.commands import ROOT, Cli, flags

SMALL: dict[str, Any] = {
    "data": {"size": (64, 64), "load_size": (64, 64), "batch_size": 2, "workers": 0},
    "generator.options": {"width": 2, "blocks": 1},
    "discriminator": {"options": {"width": 2}},
    "log.every": 1,
}
SETS = [
    "data.size=[64,64]",
    "data.load_size=[64,64]",
    "data.batch_size=2",
    "data.workers=0",
    "generator.options.width=2",
    "generator.options.blocks=1",
    "discriminator.options.width=2",
    "log.every=1",
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, paint: Callable[..., Path]) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for seed, side in enumerate(("sim", "real")):
        paint(folder / side, 4, size=(64, 64), seed=seed)
    (folder / "sim" / "labels.txt").write_text("0000 car")
    return folder


def trained(photos: Path, run: Path, **more: Any) -> sim2real.TrainingResult:
    import torch

    torch.set_num_threads(1)  # as the commands of these tests have
    options = {"settings": SMALL, "device": "cpu", "precision": "fp32", "steps": 2, **more}
    return sim2real.train(photos / "sim", photos / "real", run=run, **options)


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(photos, tmp_path_factory.mktemp("runs") / "small").run


def test_a_training_is_that_of_the_command(photos: Path, run: Path, tmp_path: Path, cli: Cli) -> None:
    sets = flags(SETS)
    options = ("--steps", 2, "--device", "cpu", "--precision", "fp32", *sets)
    done = cli("train", photos / "sim", photos / "real", "--run", tmp_path / "run", *options)
    assert done.returncode == 0, done.stderr
    for name in ("sim2real.safetensors", "real2sim.safetensors"):
        assert (run / name).read_bytes() == (tmp_path / "run" / name).read_bytes()
    own, theirs = ((folder / "config.toml").read_text() for folder in (run, tmp_path / "run"))
    assert own.replace(str(run), "") == theirs.replace(str(tmp_path / "run"), "")


def test_a_training_tells_how_it_goes_and_what_it_came_to(
    photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    seen, lines = list[TrainingProgress](), list[str]()
    found = trained(photos, tmp_path / "run", progress=seen.append, notify=lines.append)
    assert (found.run, found.step, found.finished) == (tmp_path / "run", 2, True)
    assert found.used_step in {1, 2}
    assert found.standing.state in {"good", "open", "bad"}
    assert [event.step for event in seen] == [1, 2]
    assert all(isinstance(line, str) for line in lines)
    assert capfd.readouterr() == ("", "")


def test_a_training_that_is_stopped_goes_on_where_it_was(photos: Path, run: Path, tmp_path: Path) -> None:
    halted = trained(photos, tmp_path / "run", stop=lambda: True)
    assert (halted.step, halted.finished) == (1, False)
    with pytest.raises(SettingsError, match="exists already"):
        trained(photos, tmp_path / "run")
    ended = sim2real.train(run=tmp_path / "run", resume=True)
    assert (ended.step, ended.finished) == (2, True)
    assert (tmp_path / "run/sim2real.safetensors").read_bytes() == (run / "sim2real.safetensors").read_bytes()
    assert sim2real.train(run=tmp_path / "run", resume=True) == ended  # finished already


@pytest.mark.parametrize(
    ("more", "kind", "message"),
    [
        ({"settings": {"data.batchsize": 4}}, SettingsError, r"^settings: data\.batchsize: .*data\.batch_size"),
        ({"settings": {"data": {"batch_size": "x"}}}, SettingsError, r"^settings: data\.batch_size: must be a whole"),
        (
            {"settings": {"seed": 1, "data.size": 8, "data": {"size": 9}}},
            SettingsError,
            r"^settings: data\.size: .*twice",
        ),
        ({"recipe": "cyclegann"}, UnknownNameError, "did you mean cyclegan"),
        ({"steps": 0}, SettingsError, r"options: train\.steps: must be "),
        ({"device": "cdua"}, Sim2RealError, "cdua"),
        ({"resume": True}, SettingsError, "no run to resume here"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    photos: Path, tmp_path: Path, more: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        trained(photos, tmp_path / "run", **more)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_images_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(Sim2RealError, match="nowhere"):
        sim2real.train(tmp_path / "nowhere", tmp_path)


def everything(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in {"lock", "conversion.json"}
    }


def test_a_conversion_is_that_of_the_command(
    photos: Path, run: Path, tmp_path: Path, cli: Cli, capfd: pytest.CaptureFixture[str]
) -> None:
    stages, lines = list[tuple[Any, ...]](), list[str]()
    options: dict[str, Any] = {
        "model": run,
        "device": "cpu",
        "precision": "fp32",
        "resize": "32x32",
        "include": "*.png",
    }
    found = sim2real.convert(
        photos / "sim",
        str(tmp_path / "own"),
        **options,
        limit=3,
        tile="off",
        progress=lambda *told: stages.append(told),
        notify=lines.append,
    )
    assert (found.converted, found.failed, found.left) == (3, [], 0)
    assert stages[-1][:3] == ("converting", 3, 3)
    assert capfd.readouterr() == ("", "")
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    done = cli("convert", photos / "sim", tmp_path / "theirs", *words, "--limit", 3, "--tile", "off")
    assert done.returncode == 0, done.stderr
    assert everything(tmp_path / "own") == everything(tmp_path / "theirs")
    again = sim2real.convert(photos / "sim", tmp_path / "own", **options, limit=3, tile="off")
    assert (again.converted, again.skipped) == (0, 3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"carry": "hardlnk"}, "^carry = 'hardlnk': must be 'copy', 'hardlink' or 'symlink'; did you mean hardlink"),
        ({"quality": 101}, "^quality = 101: must be at most 100$"),
        ({"resize": "wide"}, "^resize = 'wide': "),
        ({"direction": "back"}, "^direction = 'back': must be 'sim2real' or 'real2sim'"),
        ({"rejected": "blend"}, "^rejected: no gate rejects anything"),
        ({"gate": ["nonsense>=1"]}, "nonsense"),
        ({"tile": 3}, "tile 3"),
        ({"batch_size": 0}, "^batch_size = 0: must be at least 1$"),
        ({"workers": 0}, "^workers = 0: must be at least 1$"),
        ({"limit": -1}, "^limit = -1: must be at least 1$"),
        ({"shard": "5/4"}, "shard 5 of 4"),
        ({"engine": "torhc"}, "torch"),
    ],
)
def test_a_wrong_option_is_one_line(
    photos: Path, run: Path, tmp_path: Path, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(Sim2RealError, match=message) as caught:
        sim2real.convert(photos / "sim", tmp_path / "out", **{"model": run, "device": "cpu", **wrong})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_folder_without_images_is_named(run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no image found"):
        sim2real.convert(tmp_path / "empty", tmp_path / "out", model=run)


def test_all_errors_are_public() -> None:
    children = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert children <= set(sim2real.__all__)
    for name in sim2real.__all__:
        assert getattr(sim2real, name)


@pytest.mark.parametrize(
    "call",
    [
        "train('nowhere', 'nowhere', settings={'data.batchsize': 4})",
        "train('nowhere', recipe='nothing')",
        "convert('nowhere', 'out', carry='hardlnk')",
    ],
)
def test_what_is_refused_is_refused_without_torch(call: str, tmp_path: Path) -> None:
    code = f"""
import sys, sim2real
try:
    sim2real.{call}
except sim2real.Sim2RealError:
    print(sorted({{"numpy", "torch", "cv2"}} & sys.modules.keys()))
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
