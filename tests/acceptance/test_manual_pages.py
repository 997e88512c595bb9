"""The pages of the manual are true: their commands and lines of Python run, in their order, on small files."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from sim2real.config import resolve
from sim2real.manual import Topic, pages
from tests.commands import Program, environment, succeed
from tests.training.test_importing import ResNetFile

BLOCK = re.compile(r"^(<!-- not run: .+ -->\n)?```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OWN_TESTS = {"bring-a-model", "write-plugins", "write-layouts", "write-methods"}
JUDGES = {"evaluate", "batch"}
"""Commands that exit with 1 after a verdict, as after trainings of two steps."""
IMAGES = ["data.size=[64,32]", "data.load_size=[64,32]", "data.batch_size=1", "data.workers=0"]
NETWORKS = ["generator.options.width=4", "discriminator.options.width=4"]
FRAMES = {"carla-to-your-camera": 10}  # a video has two frames for each one that is taken
PAGES = [page for page in pages() if page.name not in OWN_TESTS and BLOCK.search(page.text)]


def steps(page: Topic) -> Iterator[tuple[str, str]]:
    """The commands and blocks of Python of a page that run, in its order."""
    for skipped, language, block in BLOCK.findall(page.text):
        if skipped:
            continue
        if language == "python":
            yield "python", block
        else:
            yield from (("sh", line) for line in block.splitlines() if line.startswith("sim2real "))


def smaller(words: list[str], frames: int) -> list[str]:
    """A command as it is written, but for what would take minutes."""
    match words[0]:
        case "toytown":
            kept = [*pairs(words, {"--look", "--seed", "--cameras"}), *({"--no-labels", "--archives"} & {*words})]
            return ["toytown", words[1], *kept, "--size", "96x48", "--frames", str(frames), "--workers", "1"]
        case "train" if "--resume" not in words:
            return [*words, "--steps", "2", *small(words)]
        case "batch":
            return [*words, "--steps", "2", *small(words)]
        case "evaluate":
            return [*words, "--segmenter-steps", "0"]
    return words


def small(words: list[str]) -> list[str]:
    """Options that make a training small."""
    [recipe] = pairs(words, {"--recipe"})[1:] or ["default"]
    config = resolve(recipe)
    settings = [*IMAGES]
    if config.method.name not in {"fit", "pseudo-labels"}:
        settings += NETWORKS[1:] if "--from" in words else NETWORKS
    return [each for setting in settings for each in ("--set", setting)]


def pairs(words: list[str], names: set[str]) -> list[str]:
    """The options with these names, with their values."""
    return [word for place, word in enumerate(words) if word in names or (place and words[place - 1] in names)]


def run_python(code: str, folder: Path) -> None:
    """Run a block of Python, with two steps where it trains, and eight images where it draws forty."""
    quick = 'device="cpu", settings={"data.size": (64, 32), "data.workers": 0, "generator.options.width": 4, '
    code = re.sub(r"steps=[\d_]+", "steps=2", code).replace("settings={", quick).replace("range(40)", "range(8)")
    command = [sys.executable, "-W", "error", "-c", code]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # some call `sim2real`
    succeed(subprocess.run(command, cwd=folder, env=environment(PATH=path), capture_output=True, text=True))


@pytest.fixture
def provide(tmp_path: Path) -> Callable[[str], Path]:
    """``provide(page)``: a folder with what a page names and does not make itself."""

    def make(page: str) -> Path:
        if page == "coming-from":
            file = tmp_path / "checkpoints/gta2city/latest_net_G_A.pth"
            file.parent.mkdir(parents=True)
            torch.save(ResNetFile(width=2, blocks=9).weights, file)
        return tmp_path

    return make


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_can_be_followed(
    page: Topic, program: Program, provide: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = provide(page.name)
    monkeypatch.chdir(folder)
    for language, text in steps(page):
        if language == "python":
            run_python(text, folder)
            continue
        words = smaller(shlex.split(text, comments=True)[1:], FRAMES.get(page.name, 4))
        code, out, err = program(*words)
        told = f"{text}\n{out}\n{err}"
        assert code in ({0, 1} if words[0] in JUDGES else {0}), told
        assert not re.search(r"error: |Traceback", err), told
