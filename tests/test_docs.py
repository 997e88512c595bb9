"""What the documents say is true: commands parse, code runs, tables are the registry's, links lead somewhere."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from sim2real.cli import app
from sim2real.imageio import encode_png
from sim2real.registry import BUILTIN, KINDS, registry
from tests.commands import ROOT, Cli, environment, flags, succeed

MADE = {  # of the manual, written by docs/_ext/generated.py when it is built
    *(ROOT / "docs" / f"{name}.md" for name in ("benchmarks", "changelog")),
    *(ROOT / f"docs/reference/{name}.md" for name in ("command-line", "settings", "recipes", "networks", "datasets")),
}
MADE |= {*ROOT.glob("docs/reference/datasets/*.md")}
MANUAL = [path for path in sorted(ROOT.glob("docs/**/*.md")) if path not in MADE]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *MANUAL,
    *sorted(ROOT.glob("datasets/*.md")),
    *sorted(ROOT.glob("plugins/*/README.md")),
]
README = (ROOT / "README.md").read_text("utf-8")
PLUGINS = "\n".join(path.read_text("utf-8") for path in sorted(ROOT.glob("docs/guides/write-*.md")))
FORMATS = (ROOT / "docs/reference/formats.md").read_text("utf-8")
PYTHON = (ROOT / "docs/guides/python.md").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
SMALL = """
[data]
size = [64, 64]
batch_size = 2
workers = 0
[generator.options]
width = 4
blocks = 1
[discriminator.options]
width = 4
[train]
steps = 2
"""


def blocks(language: str, text: str = README) -> list[str]:
    """The fenced blocks of code of a language."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for tag, block in fenced if tag == language]


def commands(text: str) -> Iterator[list[str]]:
    """Every call of sim2real in blocks of shell and in the running text, as arguments."""
    inline = re.findall(r"`(sim2real [^`\n]+)`", text)
    lines = [line for block in blocks("sh", text) for line in block.splitlines()]
    for line in [*inline, *lines]:
        if line.startswith("sim2real "):
            yield shlex.split(line, comments=True)[1:]


def prose(document: Path) -> str:
    """The text of a document without blocks of code."""
    return re.sub(r"^```.*?^```$", "", document.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(document: Path) -> set[str]:
    """The names of a document's headings in links."""
    headings = re.findall(r"^#+ (.*)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_pictures_lead_to_something(document: Path) -> None:
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)) if "://" not in target]
    missing = []
    for target in targets:
        name, _, anchor = target.partition("#")
        place = (document.parent / name).resolve() if name else document
        if place in MADE:  # the manual is built without warnings
            continue
        if not place.exists() or (anchor and anchor not in anchors(place)):
            missing.append(target)
    assert missing == []


@pytest.mark.parametrize(
    "arguments",
    [
        arguments
        for document in DOCUMENTS
        for arguments in commands(document.read_text("utf-8"))
        if arguments[0] != "ray-convert"  # of a plugin, whose own tests call it
    ],
    ids=" ".join,
)
def test_every_command_that_is_shown_can_be_called_so(arguments: list[str]) -> None:
    program: Any = typer.main.get_command(app)
    if arguments[0].startswith("-"):
        assert {*arguments} <= {option for parameter in program.params for option in parameter.opts} | {"--help"}
    else:
        parse(program, arguments)


def parse(group: Any, arguments: list[str], parent: Any = None) -> None:
    """Parse arguments as the program would, and call nothing; a mere name has to be that of a command."""
    with group.make_context(group.name, [*arguments], parent=parent) as context:
        name, command, rest = group.resolve_command(context, arguments)
        if hasattr(command, "resolve_command") and rest and not rest[0].startswith("-"):
            parse(command, rest, context)
        elif rest:
            command.make_context(name, rest, parent=context).close()


def test_the_readme_counts_the_layouts() -> None:
    layouts = [entry for entry in registry().entries("datasets") if entry.owner == BUILTIN and entry.name != "images"]
    assert re.findall(r"in (\d+) layouts that are\s+known", README) == [str(len(layouts))]


def test_the_recipes_of_the_readme_are_there() -> None:
    [table] = re.findall(r"\| \| what it does \|\n(.*?)\n\n", README, re.DOTALL)
    named = re.findall(r"`([\w-]+)`", " ".join(line.split("|")[1] for line in table.splitlines()))
    assert {*named} <= {entry.name for entry in registry().entries("recipes")}


def test_contributing_has_a_section_for_every_hook() -> None:
    assert re.findall(r"^### `register_(\w+)`", CONTRIBUTING, re.MULTILINE) == list(KINDS)


def test_rooms_import_only_from_rooms_below_them_in_the_house_of_contributing() -> None:
    [house] = [block for block in blocks("", CONTRIBUTING) if "cli " in block]
    rooms = [line.split()[0] for line in house.splitlines()]
    sources = [path for path in (ROOT / "sim2real").rglob("*.py") if not path.name.startswith("__main__")]
    assert {*rooms} == {room(path) for path in sources} - {"__init__"}
    upwards = [
        f"{path.relative_to(ROOT)} imports {other}"
        for path in sources
        for other in imported_rooms(path)
        if room(path) != "__init__" and rooms.index(other) < rooms.index(room(path))
    ]
    assert upwards == []


def room(source: Path) -> str:
    return source.relative_to(ROOT / "sim2real").parts[0].removesuffix(".py")


def imported_rooms(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("sim2real."):
            yield node.module.split(".")[1]


def test_the_changelog_tells_of_this_version() -> None:
    [version, *_] = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert version == registry().plugins[0].version


@pytest.fixture(scope="module")
def toured(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """A folder in which the README's five-minute tour was made, with small networks and two steps."""
    folder = tmp_path_factory.mktemp("tour")
    size = ("--size", "128x64", "--frames", 3, "--cameras", 0)
    succeed(cli("toytown", folder / "vkitti", *size))
    succeed(cli("toytown", folder / "kitti", *size, "--look", "real", "--no-labels", "--seed", 1))
    [tour] = [block for block in blocks("sh") if "sim2real init" in block]
    for arguments in commands(f"```sh\n{tour}```\n"):
        succeed(cli(*arguments, cwd=folder))
        if arguments[0] == "init":
            with (folder / "sim2real.toml").open("a", encoding="utf-8") as settings:
                settings.write(SMALL)
    return folder


def test_the_tour_goes_from_two_folders_to_a_verified_dataset(toured: Path, cli: Cli) -> None:
    source = {path.relative_to(toured / "vkitti") for path in (toured / "vkitti").rglob("*") if path.is_file()}
    out = toured / "converted" / "vkitti"
    assert {
        path.relative_to(out) for path in out.rglob("*") if path.is_file() and ".sim2real" not in path.parts
    } == source
    assert (toured / "preview.png").is_file()
    assert "0 frames converted, 0 files carried" in succeed(cli("batch", cwd=toured))
    assert json.loads(succeed(cli("verify", out, "--json")))["ok"]


def test_the_files_of_a_run_and_of_a_conversion_are_those_that_are_named(toured: Path) -> None:
    [layout] = [block for tag in ("", "text") for block in blocks(tag, FORMATS) if "runs/NAME/" in block]
    for folder, part in zip(
        (toured / "runs" / "vkitti", toured / "converted" / "vkitti"), layout.split("OUT/"), strict=True
    ):
        named = re.findall(r"(?:[\w.]+/)?[\w.]+\.(?:toml|jsonl?|safetensors)|\b(?:samples|checkpoints)/", part)
        assert len(named) >= 2
        assert [name for name in named if not (folder / name).exists()] == []


def run_python(code: str, folder: Path) -> str:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", "-c", code]
    return succeed(subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True))


def test_the_lines_of_python_run_on_what_the_tour_left(toured: Path) -> None:
    [code] = [block for block in blocks("python", PYTHON) if "sim2real.load" in block]
    code += "print(before.dtype, before.shape == after.shape == (*depth.shape, 3), depth.dtype)\n"
    assert run_python(code, toured) == "uint8 True float32\n"


def test_the_lines_of_python_train_and_convert(toured: Path) -> None:
    [code] = [block for block in blocks("python", PYTHON) if "sim2real.train" in block]
    small = 'device="cpu", settings={"data.size": (64, 64), "generator.options.width": 8, "log.every": 1, '
    for old, new in {"4_000": "2", '_size": 4': '_size": 1', "settings={": small, '!= "bad"': '!= ""'}.items():
        assert code.count(old) == 1
        code = code.replace(old, new)
    told = run_python(code, toured)
    assert re.fullmatch(r"(step \d of 2\n)*3 frames converted, \d+ files carried, 0 left\n", told)
    assert (toured / "runs" / "python" / "sim2real.safetensors").is_file()


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manual's two packages, written to files and installed: a folder for the import path."""
    folder = tmp_path_factory.mktemp("packages")
    for language in ("toml", "python"):
        for block in blocks(language, PLUGINS):
            if place := re.match(r"# (sim2real-\S+)\n", block):
                file = folder / place[1]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(block, "utf-8")
                if language == "python":
                    file.with_name("__init__.py").touch()
    spectral, acme = folder / "sim2real-spectral", folder / "sim2real-acme"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run(
        [*install, "--no-build-isolation", "--target", folder / "site", spectral, acme], check=True, timeout=120
    )
    return folder / "site"


def test_the_plugins_of_the_manual_are_found_and_can_be_imported(packages: Path, cli: Cli) -> None:
    listing = json.loads(succeed(cli("plugins", "--json", path=packages)))
    assert listing["failures"] == []
    provided = {plugin["name"]: plugin["provides"] for plugin in listing["plugins"]}
    assert provided["spectral"] == {"discriminators": ["spectral"]}
    assert provided["acme"] == {"losses": ["brightness"], "datasets": ["acme"], "commands": ["list-frames"]}
    assert {kind for name in provided if name.startswith("acme-") for kind in provided[name]} == {
        *("generators", "datasets", "methods", "recipes", "metrics", "engines")
    }
    succeed(cli("plugins", "check", path=packages))


@pytest.mark.parametrize("name", ["spectral", "acme"])
def test_the_tests_of_the_manuals_plugins_pass(packages: Path, name: str) -> None:
    env = {**os.environ, "PYTHONPATH": f"{packages}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    folder = packages.parent / f"sim2real-{name}" / "tests"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={folder}", str(folder)]
    assert f"{len(list(folder.glob('test_*.py')))} passed" in succeed(
        subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    )


@pytest.fixture
def acme(tmp_path: Path) -> Path:
    """Frames of two cameras as the README's AcmeSim would export them, one without a mask."""
    noise = np.random.default_rng(0)
    folder = tmp_path / "acme"
    for camera in (0, 1):
        for frame in range(3):
            write(folder / f"cam_{camera}" / f"{frame:06}.png", noise.integers(0, 256, (48, 64, 3), np.uint8))
            if (camera, frame) != (1, 2):
                write(folder / f"masks_{camera}" / f"{frame:06}.png", np.full((48, 64), 1, np.uint8))
    (folder / "calib.json").write_text("{}")
    return folder


def write(path: Path, picture: np.ndarray[Any, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(picture))


def test_the_discriminator_and_the_loss_of_the_manual_train(
    packages: Path, acme: Path, cli: Cli, tmp_path: Path
) -> None:
    small = ["data.size=[64,64]", "data.workers=0", "generator.options.width=4", "generator.options.blocks=1"]
    [train] = [line for line in commands(PLUGINS) if "discriminator.name=spectral" in line]
    real = shutil.copytree(acme, tmp_path / "real")
    named = [{"SIM": str(acme), "REAL": str(real)}.get(argument, argument) for argument in train]
    small += ["discriminator.options.width=4", "losses.brightness=2", "data.sim_exclude=cam_1/000002.png"]
    settings = flags(small)
    succeed(cli(*named, "--steps", 2, "--run", "run", *settings, path=packages, cwd=tmp_path))
    config = (tmp_path / "run" / "config.toml").read_text()
    assert 'name = "spectral"' in config
    assert '"road"' in config
    assert "brightness" in (tmp_path / "run" / "metrics.jsonl").read_text()


def test_the_dataset_and_the_command_of_the_manual_work(packages: Path, acme: Path, cli: Cli) -> None:
    facts = json.loads(succeed(cli("inspect", acme, "--json", path=packages)))
    assert (facts["dataset"], facts["frames"], facts["labels"]) == ("acme", 6, {"segmentation": 5})
    assert facts["roles"] == {"IMAGE": 6, "LABEL": 5, "AUX": 1, "PSEUDO": 0, "STALE": 0}
    assert facts["sequences"] == 2
    listed = succeed(cli("list-frames", acme, "--sequence", "cam_1", path=packages))
    assert listed.split() == [f"cam_1/{frame:06}.png" for frame in range(3)]
    code = """
import sys, sim2real
label = next(sim2real.open_dataset(sys.argv[1]).frames()).load_label("segmentation")
print(label.ids.shape, label.names[int(label.ids.max())])
"""
    env = {**os.environ, "PYTHONPATH": f"{packages}{os.pathsep}{ROOT}"}
    done = subprocess.run([sys.executable, "-c", code, acme], env=env, capture_output=True, text=True)
    assert succeed(done) == "(48, 64) car\n"


def test_the_discriminators_are_drawn_with_the_numbers_of_the_networks(tmp_path: Path) -> None:
    draw("draw_discriminators.py", tmp_path)
    assert (tmp_path / "discriminators.svg").read_bytes() == (ROOT / "media" / "discriminators.svg").read_bytes()


def test_the_diagrams_are_those_that_their_script_draws(tmp_path: Path) -> None:
    script = shutil.copyfile(ROOT / "docs" / "draw_diagrams.py", tmp_path / "draw_diagrams.py")
    subprocess.run([sys.executable, script], env=environment(), check=True)
    drawn = {path.name: path.read_bytes() for path in (tmp_path / "pictures").iterdir()}
    assert drawn == {path.name: path.read_bytes() for path in (ROOT / "docs" / "pictures").glob("*.svg")}


def test_every_picture_of_the_manual_is_made_by_its_script() -> None:
    command = [sys.executable, str(ROOT / "docs" / "make_pictures.py"), "--list"]
    made = set(succeed(subprocess.run(command, env=environment(), capture_output=True, text=True)).split())
    shown = {
        Path(target).stem
        for page in MANUAL
        for target in re.findall(r"\]\(([^)\s]*pictures/[^)\s]+\.png)\)", page.read_text("utf-8"))
    }
    shown |= {f"recipe-{entry.name}" for entry in registry().entries("recipes") if entry.owner == BUILTIN}
    kept = {path.stem for path in (ROOT / "docs" / "pictures").glob("*.png")}
    assert shown <= kept <= made


def draw(name: str, folder: Path, *arguments: Path) -> None:
    """Run a copy of a script of media/, which writes beside itself."""
    script = shutil.copyfile(ROOT / "media" / name, folder / name)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, script, *arguments], env=env, check=True)
