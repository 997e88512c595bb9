import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
from typer.testing import CliRunner

import sim2real
from sim2real.cli import app
from sim2real.cli.overview import EXAMPLES
from sim2real.errors import Sim2RealError
from sim2real.registry import registry

Cli = Callable[..., subprocess.CompletedProcess[str]]
Install = Callable[[str, str | None], None]

ROOT = Path(__file__).parents[1]
HEAVY = {"numpy", "torch", "torchvision", "cv2", "albumentations", "pydantic", "lightning", "PIL"}
MISBEHAVING = dedent("""
    import os, signal, sys, time
    import sim2real

    def mistake():
        raise sim2real.Sim2RealError("the cat\\nsat on it; move it")

    def bug():
        raise ZeroDivisionError("oops")

    def full():
        with open("/dev/full", "w") as file:
            file.write("x")

    def below_a_file():
        open(os.path.join(__file__, "x"), "w")

    def interrupted():
        signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background may ignore it
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

    def told_to_end():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            print("saved")
""")
OFFER = dedent("""
    import sim2real

    @sim2real.hookimpl
    def register_commands(register):
        for name in ("mistake", "bug", "full", "below_a_file", "interrupted", "told_to_end"):
            register(name, f"misbehaving:{name}", summary="exits in its way")
""")


BY_TYPER = {"pydantic"}  # with which Typer 0.29 and later parses options, `--help` alone aside


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [
        (None, set()),
        (["--help"], set()),
        (["--version"], set()),
        (["plugins", "--json"], BY_TYPER),
        (["datasets"], BY_TYPER | {"numpy", "cv2", "PIL"}),  # what is known of a layout stands beside its code
        (["inspect", "media", "--against", "media"], BY_TYPER | {"numpy", "cv2", "PIL"}),  # a look before any network
        *(([entry.name, "--help"], BY_TYPER) for entry in registry().entries("commands")),
    ],
    ids=lambda value: " ".join(sorted(value or ["-"])),  # sets have another order in each process
)
def test_looking_around_imports_nothing_heavy(arguments: list[str], allowed: set[str]) -> None:
    call = "" if arguments is None else "from sim2real.cli import main; main()"
    code = f"""
import atexit, sys
atexit.register(lambda: print("HEAVY", sorted({HEAVY - allowed} & sys.modules.keys()), file=sys.stderr))
sys.argv = ["sim2real", *{arguments or []}]
import sim2real
{call}
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stderr == "HEAVY []\n"


def test_the_version_is_that_of_the_project(cli: Cli) -> None:
    done = cli("--version")
    assert (done.returncode, done.stdout) == (0, f"sim2real {sim2real.__version__}\n")


def test_help_lists_every_command_with_its_summary(cli: Cli) -> None:
    done = cli("--help")
    assert done.returncode == 0
    for entry in registry().entries("commands"):
        assert f" {entry.name} " in done.stdout
    assert "is a conversion complete and are its labels untouched?" in done.stdout
    assert cli("-h").stdout == done.stdout


@pytest.mark.parametrize(("wrong", "right"), [("inspct", "inspect"), ("trian", "train"), ("dataset", "datasets")])
def test_a_mistyped_command_suggests_the_nearest(cli: Cli, wrong: str, right: str) -> None:
    done = cli(wrong)
    assert done.returncode == 2
    assert f"No such command '{wrong}'. Did you mean {right}" in done.stderr


@pytest.mark.parametrize(
    "arguments", [["qqqqq"], ["--colour"], ["datasets", "--colour"], ["plugins", "chek"], ["toytown"]]
)
def test_wrong_usage_exits_2_and_says_so_on_stderr(cli: Cli, arguments: list[str]) -> None:
    done = cli(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Usage" in done.stderr


@pytest.fixture
def misbehaving(install: Install, site: Path) -> Path:
    install("misbehaving", OFFER)
    (site / "misbehaving.py").write_text(MISBEHAVING)
    return site


def test_a_mistake_of_the_user_is_one_line(cli: Cli, misbehaving: Path) -> None:
    done = cli("mistake", path=misbehaving)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "error: the cat sat on it; move it\n")


def test_a_bug_keeps_its_traceback(cli: Cli, misbehaving: Path) -> None:
    done = cli("bug", path=misbehaving)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError: oops" in done.stderr


def test_what_a_file_system_refuses_is_one_line(cli: Cli, misbehaving: Path) -> None:
    done = cli("below_a_file", path=misbehaving)
    place = misbehaving / "misbehaving.py/x"
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {place}: Not a directory; check the path, its permissions and the free space\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_one_line(cli: Cli, misbehaving: Path) -> None:
    done = cli("full", path=misbehaving)
    assert done.returncode == 1
    assert done.stderr == "error: No space left on device; check the path, its permissions and the free space\n"


@pytest.mark.parametrize("words", ["convert in out", "convert in new --plan", "evaluate out --real in", "report out"])
def test_a_folder_that_cannot_be_written_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    (tmp_path / "out/.sim2real").mkdir(parents=True)
    (tmp_path / "out/.sim2real/conversion.json").write_text("{}")
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.access", lambda _, mode: mode == os.R_OK)
    with pytest.raises(Sim2RealError, match=r"cannot be written: Permission denied"):
        app(words.split(), standalone_mode=False)


def test_interrupting_exits_130(cli: Cli, misbehaving: Path) -> None:
    done = cli("interrupted", path=misbehaving)
    assert done.returncode == 130
    assert done.stderr.strip() == "interrupted"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to send")
def test_being_told_to_end_unwinds_and_exits_143(cli: Cli, misbehaving: Path) -> None:
    done = cli("told_to_end", path=misbehaving)
    assert (done.returncode, done.stdout) == (128 + signal.SIGTERM, "saved\n")


def test_shell_completion_offers_commands_and_options_without_warnings(cli: Cli, install: Install, site: Path) -> None:
    install("raises", "raise RuntimeError('boom')")

    def complete(line: str) -> subprocess.CompletedProcess[str]:
        place = line.count(" ")
        words = {"COMP_WORDS": line, "COMP_CWORD": str(place), "_SIM2REAL_COMPLETE": "complete_bash"}
        code = "import sys; sys.argv = ['sim2real']; from sim2real.cli import main; main()"
        env = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}", **words}
        return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)

    commands = complete("sim2real ")
    assert {"train", "convert", "inspect"} <= set(commands.stdout.split())
    assert commands.stderr == ""
    assert "--json" in complete("sim2real datasets --").stdout.split()


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_help_of_a_command_shows_no_doubled_brackets(name: str) -> None:
    printed = CliRunner().invoke(app, [name, "--help"], terminal_width=120).output
    assert f"sim2real {name}" in printed or f" {name} " in printed
    assert not re.search(r"\[\[|\]\]|\{\{|\}\}|\[default: \(", printed)
