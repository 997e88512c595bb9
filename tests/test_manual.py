"""The manual as a reader has it: built without a warning, accessible, searchable from a file, and in the terminal."""

import pickle
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
import typer

from sim2real.cli import app
from sim2real.cli.overview import EXAMPLES, GROUPS
from sim2real.errors import ImageError, Sim2RealError, TopicName
from sim2real.manual import Topic, find, pages, readable, where
from sim2real.registry import BUILTIN, registry
from tests.commands import ROOT, Cli, environment, refused, succeed

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = shutil.which("chromium")
PAGES = pages()
TOPICS: tuple[TopicName, ...] = get_args(TopicName)
LISTS = {"genindex.html", "search.html", "py-modindex.html"}  # of Sphinx


# -------------------------------------------------------------------------------------------------- in the terminal


def test_help_lists_the_pages_and_prints_one(cli: Cli) -> None:
    listed = succeed(cli("help"))
    assert all(re.search(rf"^{re.escape(page.name)} +{re.escape(page.title)}$", listed, re.MULTILINE) for page in PAGES)
    printed = succeed(cli("help", "bring-a-model"))
    assert printed.startswith("# Bring a model\n")
    assert "sim2real import checkpoints/gta2city/latest_net_G_A.pth" in printed


def test_help_prints_the_section_with_words_in_its_heading(cli: Cli) -> None:
    printed = succeed(cli("help", "an", "onnx", "file"))
    assert printed.startswith("## An ONNX file\n")
    assert "## Frames" not in printed
    assert "did you mean" in refused(cli("help", "hallos"), "no page or section of the manual is called 'hallos'")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.page)
def test_a_page_is_readable_in_a_terminal(page: Topic) -> None:
    assert page.title
    text = readable(page.text)
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert not re.search(r"\]\([^)]*\.(?:md|png|svg)|^```\{|<!--|^:::|<details|<summary", outside, re.MULTILINE)
    assert find(page.name) == page


def test_a_link_to_another_page_becomes_a_command_that_prints_it() -> None:
    printed = {page.name: readable(page.text) for page in PAGES}
    assert all(find(topic).text for text in printed.values() for topic in re.findall(r"`sim2real help ([\w-]+)`", text))
    assert "promises (`sim2real help what-the-gate-promises`)" in " ".join(printed["a-frame"].split())


def test_an_advice_leads_to_an_address_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIM2REAL_MANUAL", raising=False)
    assert where("bring-a-model") == "sim2real help bring-a-model"
    monkeypatch.setenv("SIM2REAL_MANUAL", "https://docs.example.org/sim2real/")
    assert where("bring-a-model") == "https://docs.example.org/sim2real/guides/bring-a-model.html"
    assert where("an-onnx-file") == "https://docs.example.org/sim2real/guides/bring-a-model.html#an-onnx-file"
    with pytest.raises(Sim2RealError, match="no page or section"):
        where("nothing-of-this-name")


def test_messages_lead_to_pages_and_sections_that_exist_and_to_no_others() -> None:
    assert [topic for topic in TOPICS if find(topic).name != topic] == []
    code = [path.read_text() for path in (ROOT / "sim2real").rglob("*.py") if path.name != "errors.py"]
    classes = (ROOT / "sim2real/errors.py").read_text().partition("class Sim2RealError")[2]
    assert [
        topic for topic in TOPICS if not any(re.search(f"[\"']{topic}[\"']", text) for text in (*code, classes))
    ] == []


def test_an_error_says_where_the_manual_has_more(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    here = refused(cli("inspect", "empty", cwd=tmp_path), "empty: no image found; ")
    assert here.endswith("; more: sim2real help one-side-is-empty\n")
    base = {"SIM2REAL_MANUAL": "https://docs.example.org"}
    there = refused(cli("inspect", "empty", cwd=tmp_path, env=base), "empty: no image found; ")
    assert there.endswith("; more: https://docs.example.org/troubleshooting.html#one-side-is-empty\n")
    assert "more:" not in refused(cli("datasets", "kiti"), "did you mean vkitti2")


def test_a_topic_is_no_part_of_an_error_in_python() -> None:
    error = Sim2RealError("no room", topic="disk-space")
    assert (str(error), error.topic) == ("no room", "disk-space")
    assert pickle.loads(pickle.dumps(error)).topic == "disk-space"
    assert [each("...").topic for each in (Sim2RealError, ImageError)] == [None, "damaged-images"]


@pytest.mark.timeout(300)
def test_the_pages_are_in_the_wheel(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    assert {f"sim2real/docs/{page.page}.md" for page in PAGES if not page.page.startswith("reference/")} <= names
    assert not [name for name in names if name.endswith(".png") and "/docs/" in name]
    done = subprocess.run(
        [sys.executable, "-m", "sim2real", "help", "bring-a-model"],
        cwd=tmp_path,
        env=environment(tmp_path / "site"),
        capture_output=True,
        text=True,
    )
    assert succeed(done).startswith("# Bring a model\n")


def test_every_command_has_a_group_and_an_example_that_can_be_called() -> None:
    names = [entry.name for entry in registry().entries("commands") if entry.owner == BUILTIN]
    assert [name for group in GROUPS.values() for name in group] == names
    assert list(EXAMPLES) == names
    program: Any = typer.main.get_command(app)
    for name, example in EXAMPLES.items():
        words = example.split()[1:]
        assert words[0] == name
        with program.make_context("sim2real", words) as context:
            _, command, rest = program.resolve_command(context, words)
            command.make_context(name, rest, parent=context).close()
            assert command.help.startswith(f"Example: {example}\n\n")


def test_the_help_shows_the_groups_in_order(cli: Cli) -> None:
    printed = succeed(cli("--help"))
    places = [printed.index(f"─ {title} ") for title in GROUPS]
    assert places == sorted(places)
    assert "Example: sim2real verify converted/" in succeed(cli("verify", "--help"))


# ---------------------------------------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manual, built from a copy; a warning, such as of a link that leads nowhere, is an error."""
    pytest.importorskip("furo", reason="the dependency group docs is not installed")
    folder = tmp_path_factory.mktemp("manual")
    for name in ("docs", "datasets", "benchmarks", "media"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("_build", "__pycache__"))
    shutil.copyfile(ROOT / "CHANGELOG.md", folder / "CHANGELOG.md")
    shutil.copyfile(ROOT / "README.md", folder / "README.md")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "docs", "html"]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "html"


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    if not CHROMIUM:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install playwright)")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.mark.timeout(300)
def test_addresses_in_messages_exist(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIM2REAL_MANUAL", "https://docs.example.org")
    for topic in TOPICS:
        page, _, anchor = where(topic).removeprefix("https://docs.example.org/").partition("#")
        text = (built / page).read_text("utf-8")
        assert not anchor or f'id="{anchor}"' in text, topic


@pytest.mark.timeout(300)
def test_pages_have_no_faults_of_accessibility_and_fit_on_a_phone(browser: "Browser", built: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    faults: list[str] = []
    page = browser.new_page(viewport={"width": 400, "height": 800})
    for file in sorted(built.rglob("*.html")):
        name = str(file.relative_to(built))
        if name in LISTS or "datasets/" in name:  # cards are alike
            continue
        page.goto(file.as_uri())
        for each in axe.run(page).response["violations"]:
            faults += [f"{name}: {each['id']}: {node['html'][:200]}" for node in each["nodes"]]
        if not page.evaluate("document.documentElement.scrollWidth <= innerWidth"):
            faults.append(f"{name}: sticks out on a phone")
    page.close()
    assert faults == []


def test_the_search_works_from_a_file(browser: "Browser", built: Path) -> None:
    page = browser.new_page()
    page.goto(f"{(built / 'search.html').as_uri()}?q=checkerboard")
    page.wait_for_selector("ul.search li", timeout=20_000)
    assert "Troubleshooting" in page.locator("ul.search").inner_text()
    page.close()


def test_the_reference_is_that_of_the_program(built: Path) -> None:
    for kind, page in {"commands": "command-line", "recipes": "recipes", "datasets": "datasets"}.items():
        text = (built / "reference" / f"{page}.html").read_text("utf-8")
        names = [entry.name for entry in registry().entries(kind) if entry.owner == BUILTIN]
        assert [name for name in names if f">{name}<" not in text and f" {name}<" not in text] == []
    settings = (built / "reference" / "settings.html").read_text("utf-8")
    for key in ("data.batch_size", "evaluate.every", "discriminator.regularization.augment_target", "transfer.size"):
        assert f">{key}<" in settings
