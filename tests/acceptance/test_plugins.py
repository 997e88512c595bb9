import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sim2real.imageio import encode_png
from tests.commands import ROOT, Cli, environment, flags, refused, succeed

FIRST_PARTY = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
_NAMES = [folder.name for folder in FIRST_PARTY]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> tuple[Path, Path]:
    """A virtual environment over this one, in which the first-party plugins and a fresh scaffold are installed."""
    folder = tmp_path_factory.mktemp("workshop")
    succeed(cli("plugins", "new", "my-discriminator", "--dir", folder))
    environment = folder / "venv"
    builder = venv.EnvBuilder(symlinks=os.name != "nt")
    builder.create(environment)
    python = Path(builder.ensure_directories(environment).env_exe)
    inside = sysconfig.get_path("purelib", "venv", {"base": str(environment), "platbase": str(environment)})
    (Path(inside) / "outer.pth").write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-build-isolation"]
    packages = [*map(str, FIRST_PARTY), "-e", str(folder / "sim2real-my-discriminator")]
    subprocess.run([*pip, "--quiet", "--disable-pip-version-check", *packages], check=True, timeout=120)
    return folder, python


@pytest.fixture(scope="module")
def installed(workshop: tuple[Path, Path], cli: Cli) -> Cli:
    """Run the program in that environment."""
    return lambda *args: cli(*args, python=workshop[1])


def test_installed_plugins_are_listed_with_what_they_offer(installed: Cli) -> None:
    names = ["diffusers", "multiscale", "openvino", "ray", "toytown"]
    assert [folder.name for folder in FIRST_PARTY] == [f"sim2real-{name}" for name in names]
    listing = json.loads(succeed(installed("plugins", "--json")))
    assert listing["failures"] == []
    plugins = {plugin["name"]: plugin for plugin in listing["plugins"]}
    expected = {
        "diffusers": (
            "sim2real-diffusers",
            {"generators": ["diffusers"], "recipes": ["diffusers", "diffusers-edit"]},
        ),
        "multiscale": ("sim2real-multiscale", {"discriminators": ["multiscale"]}),
        "openvino": ("sim2real-openvino", {"engines": ["openvino", "openvino-int8"]}),
        "ray": ("sim2real-ray", {"commands": ["ray-convert"]}),
        "toytown": ("sim2real-toytown", {"commands": ["toytown"]}),
        "my-discriminator": ("sim2real-my-discriminator", {"discriminators": ["my-discriminator"]}),
    }
    for name, (distribution, provides) in expected.items():
        plugin = plugins[name]
        assert (plugin["distribution"], plugin["version"]) == (distribution, "0.1.0")
        assert plugin["provides"] == provides
    table = succeed(installed("plugins"))
    assert "multiscale (sim2real-multiscale 0.1.0)\n  discriminators  multiscale\n" in table


def test_plugins_check_finds_no_fault_in_the_installed_plugins(installed: Cli) -> None:
    assert json.loads(succeed(installed("plugins", "check", "--json")))["failures"] == []


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.mark.parametrize("discriminator", ["multiscale", "my-discriminator"])
def test_a_discriminator_of_a_plugin_is_trained(installed: Cli, tmp_path: Path, discriminator: str) -> None:
    rng = np.random.default_rng(0)
    for side in ("sim", "real"):
        for index in range(3):
            write(tmp_path / side / f"{index}.png", encode_png(rng.integers(0, 255, (64, 64, 3), np.uint8)))
    sizes = ["data.size=[64,64]", "generator.options.width=2", "generator.options.blocks=1", "data.batch_size=1"]
    choice = [f"discriminator.name={discriminator}", 'discriminator.options={"width"=2}']
    if discriminator == "multiscale":
        choice = [f"discriminator.name={discriminator}", 'discriminator.options={"width"=2,"scales"=2}']
    run = tmp_path / "run"
    options = ["--run", run, "--recipe", "combined", "--steps", 2, "--device", "cpu", *flags([*sizes, *choice])]
    succeed(installed("train", tmp_path / "sim", tmp_path / "real", *options))
    assert (run / "sim2real.safetensors").is_file()
    assert f'name = "{discriminator}"' in (run / "config.toml").read_text()


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "name",
    [
        *(pytest.param(name, marks=pytest.mark.slow if name == "sim2real-ray" else ()) for name in _NAMES),
        "sim2real-my-discriminator",
    ],
)
def test_the_tests_of_an_installed_plugin_pass(workshop: tuple[Path, Path], name: str) -> None:
    folder, python = workshop
    package = folder / name if (folder / name).is_dir() else ROOT / "plugins" / name
    options = ("-q", "-p", "no:cacheprovider", f"--rootdir={package}")
    command = [str(python), "-m", "pytest", *options, str(package / "tests")]
    done = subprocess.run(command, env=environment(), cwd=package, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_a_scaffold_prints_the_next_commands_and_is_not_overwritten(cli: Cli, tmp_path: Path) -> None:
    first = cli("plugins", "new", "sim2real-night-patches", "--dir", tmp_path / "new")
    package = tmp_path / "new" / "sim2real-night-patches"
    assert f"pip install -e {package}" in succeed(first)
    assert "discriminator.name=night-patches" in first.stdout
    source = package / "src/sim2real_night_patches/plugin.py"
    assert '"sim2real_night_patches.network:NightPatchesDiscriminator"' in source.read_text()
    assert not [path for path in package.rglob("*") if "tmpl" in path.name or "MODULE" in str(path)]
    source.write_text("mine")
    refused(cli("plugins", "new", "night-patches", "--dir", tmp_path / "new"), f"{package} already exists")
    assert source.read_text() == "mine"


@pytest.mark.parametrize("name", ["Discriminator", "my_discriminator", "1discriminator", "-x-", "a--b", "../evil", ""])
def test_a_scaffold_needs_a_valid_package_name(cli: Cli, tmp_path: Path, name: str) -> None:
    done = cli("plugins", "new", "--dir", tmp_path, "--", name)
    refused(done, "is not a valid plugin name")
    assert list(tmp_path.iterdir()) == []


def test_a_scaffold_refuses_the_name_of_an_existing_discriminator(cli: Cli, tmp_path: Path) -> None:
    done = cli("plugins", "new", "patch", "--dir", tmp_path)
    refused(done, "plugin 'sim2real' already offers a discriminator 'patch'")


def test_the_wheel_contains_the_templates_of_the_scaffold(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT], check=True, timeout=120)
    [wheel] = tmp_path.glob("sim2real-*.whl")
    templates = [
        path.relative_to(ROOT).as_posix() for path in (ROOT / "sim2real/scaffold").rglob("*") if path.is_file()
    ]
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {path for path in templates if "__pycache__" not in path} <= names
    assert not [name for name in names if "toytown" in name]


def public_modules() -> set[str]:
    """The public modules, by the table in CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    table = text[text.index("| module | what for |") :].partition("\n\n")[0]
    return set(re.findall(r"`(sim2real[\w.]*)`", table))


def imported(source: str) -> set[str]:
    """The modules of sim2real that Python source imports."""
    nodes = list(ast.walk(ast.parse(source)))
    named = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    named |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name for name in named if name.partition(".")[0] == "sim2real"}


@pytest.mark.parametrize("package", FIRST_PARTY, ids=lambda path: path.name)
def test_first_party_plugins_import_only_public_modules(package: Path) -> None:
    sources = list((package / "src").rglob("*.py"))
    assert sources
    for source in sources:
        assert imported(source.read_text("utf-8")) <= public_modules(), source


def test_scaffolds_import_only_public_modules() -> None:
    templates = list((ROOT / "sim2real/scaffold/templates").rglob("*.py.tmpl"))
    assert templates
    for template in templates:
        assert imported(template.read_text("utf-8").replace("$", "")) <= public_modules(), template


def test_public_modules_exist_and_the_light_ones_import_no_heavy_package() -> None:
    for name in public_modules():
        assert importlib.util.find_spec(name), name
    code = "import sim2real.hookspecs, sim2real.testing, sys; print({'torch', 'numpy', 'cv2'} & sys.modules.keys())"
    assert (
        succeed(subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True))
        == "set()\n"
    )
