import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from sim2real import Register, hookimpl
from sim2real.errors import PluginError, SettingsError, UnknownNameError
from sim2real.registry import Entry, Plugin, Registry, registry

Cli = Callable[..., subprocess.CompletedProcess[str]]
Install = Callable[[str, str | None], None]

BUILT_IN = [entry for entry in registry().offers if entry.owner == "sim2real"]


def offering(*lines: str, hook: str = "discriminators", argument: str = "register") -> str:
    body = "\n    ".join(lines)
    return f"import sim2real\n\n@sim2real.hookimpl\ndef register_{hook}({argument}):\n    {body}\n"


def discriminator(name: str, target: str = "collections:OrderedDict") -> str:
    return f"register({name!r}, {target!r}, summary='a discriminator')"


BROKEN = {
    "raises": ("raise RuntimeError('no licence\\nserver')", "RuntimeError: no licence server"),
    "missing": (None, "ModuleNotFoundError: No module named 'plugin_missing'"),
    "exits": ("import sys; sys.exit(7)", "SystemExit: 7"),
    "misspelt": (
        offering(discriminator("x"), hook="discriminator"),
        "PluginError: no hook is called register_discriminator; did you mean register_discriminators?",
    ),
    "unmarked": (
        "def register_discriminators(register): pass",
        "PluginError: register_discriminators is not marked with @sim2real.hookimpl",
    ),
    "argument": (offering("pass", argument="registry"), "registry"),
    "shouts": (offering(discriminator("ok"), discriminator("SHOUT")), "PluginError: 'SHOUT' is no discriminator name"),
    "targetless": (offering(discriminator("x", "no colon")), "PluginError: 'no colon' is no target for 'x'"),
    "fails": (offering("1 / 0"), "ZeroDivisionError: division by zero"),
}


@pytest.fixture
def broken_site(install: Install, site: Path) -> Path:
    for name, (source, _) in BROKEN.items():
        install(name, source)
    install("good", offering(discriminator("good-discriminator")))
    return site


def test_broken_plugins_are_left_out_one_by_one_and_shown_with_their_exceptions(cli: Cli, broken_site: Path) -> None:
    done = cli("plugins", "--json", path=broken_site)
    assert done.returncode == 0, done.stderr
    listing = json.loads(done.stdout)
    failures = {failure["plugin"]: failure for failure in listing["failures"]}
    assert failures.keys() == BROKEN.keys()
    for name, (_, error) in BROKEN.items():
        assert error in failures[name]["error"]
        assert "\n" not in failures[name]["error"]
        assert failures[name]["distribution"] == f"acme-{name}"
    provided = {plugin["name"]: plugin["provides"] for plugin in listing["plugins"]}
    assert provided["good"] == {"discriminators": ["good-discriminator"]}
    assert "patch" in provided["sim2real"]["discriminators"]
    assert not provided.keys() & BROKEN.keys()

    table = cli("plugins", path=broken_site)
    assert table.returncode == 0
    assert "left out: raises (acme-raises): RuntimeError: no licence server" in table.stdout
    assert "good (acme-good 1.5)" in table.stdout


def test_other_commands_report_broken_plugins_and_go_on(cli: Cli, broken_site: Path) -> None:
    done = cli("datasets", "--json", path=broken_site)
    assert done.returncode == 0, done.stderr
    assert "vkitti2" in [dataset["name"] for dataset in json.loads(done.stdout)]
    assert "warning: plugin 'raises' is left out: RuntimeError: no licence server" in done.stderr
    assert len(done.stderr.splitlines()) == len(BROKEN)


def test_check_imports_every_target_and_names_the_failures(cli: Cli, install: Install, site: Path) -> None:
    install(
        "hollow",
        offering(
            discriminator("hollow", "no_such_package.networks:Discriminator"),
            discriminator("fine", "sim2real.networks.discriminators:Patch"),
        ),
    )
    install("stopping", offering(discriminator("stopping", "stopping_network:Discriminator")))
    (site / "stopping_network.py").write_text("raise SystemExit(0)")
    install("wordy", offering(discriminator("settings", "wordy_recipes:bad.toml"), hook="recipes"))
    (site / "wordy_recipes").mkdir()
    (site / "wordy_recipes" / "bad.toml").write_text("sim = [")
    install("raises", "raise RuntimeError('boom')")
    done = cli("plugins", "check", "--json", path=site)
    assert done.returncode == 1
    problems = "\n".join(json.loads(done.stdout)["failures"])
    assert (
        "discriminator 'hollow' of plugin 'hollow' cannot be loaded from no_such_package.networks:Discriminator"
        in problems
    )
    assert "discriminator 'stopping' of plugin 'stopping' cannot be loaded" in problems
    assert "recipe 'settings' of plugin 'wordy' is not valid TOML" in problems
    assert "plugin 'raises' is left out: RuntimeError: boom" in problems
    assert "'fine'" not in problems

    assert "cannot be loaded from no_such_package.networks:Discriminator" in cli("plugins", "check", path=site).stdout


def test_using_a_kind_in_which_a_name_is_offered_twice_names_both_owners(
    cli: Cli, install: Install, site: Path
) -> None:
    install("first", offering(discriminator("twin"), hook="datasets"))
    install("second", offering(discriminator("twin"), hook="datasets"))
    used = cli("datasets", path=site)
    assert used.returncode == 1
    [line] = used.stderr.splitlines()
    assert line.startswith("error: the dataset 'twin' is offered twice")
    assert "'first'" in line
    assert "'second' of acme-second" in line

    listed = cli("plugins", path=site)
    assert listed.returncode == 1
    assert "first (acme-first 1.5)\n  datasets        twin\n" in listed.stdout
    assert "second (acme-second 1.5)\n  datasets        twin\n" in listed.stdout
    assert listed.stderr == used.stderr

    in_json = cli("plugins", "--json", path=site)
    assert in_json.returncode == 1
    provided = {plugin["name"]: plugin["provides"] for plugin in json.loads(in_json.stdout)["plugins"]}
    assert provided["first"] == provided["second"] == {"datasets": ["twin"]}
    assert cli("plugins", "check", path=site).returncode == 1


def test_a_plugin_cannot_take_the_place_of_what_ships(cli: Cli, install: Install, site: Path) -> None:
    install("thief", offering(discriminator("images", "json:loads"), hook="datasets"))
    done = cli("datasets", path=site)
    assert done.returncode == 1
    assert "by plugin 'sim2real' and by plugin 'thief'" in done.stderr
    assert cli("datasets", path=site, env={"SIM2REAL_DISABLE_PLUGINS": "thief"}).returncode == 0


def test_a_clash_of_commands_leaves_the_other_commands_alone(cli: Cli, install: Install, site: Path) -> None:
    install("thief", offering(discriminator("train"), hook="commands"))
    assert "offered twice" in cli("train", path=site).stderr
    assert cli("--help", path=site).returncode == 0
    assert cli("datasets", path=site).returncode == 0
    assert cli("plugins", path=site).returncode == 1


@pytest.mark.parametrize("disabled", ["raises,good", "acme-good, acme-raises"])
def test_disabled_plugins_are_not_even_imported(cli: Cli, install: Install, site: Path, disabled: str) -> None:
    install("raises", "raise RuntimeError('boom')")
    install("good", offering(discriminator("good-discriminator")))
    install("other", offering(discriminator("other-discriminator")))
    done = cli("plugins", "--json", path=site, env={"SIM2REAL_DISABLE_PLUGINS": disabled})
    assert done.returncode == 0
    listing = json.loads(done.stdout)
    assert listing["failures"] == []
    names = {plugin["name"] for plugin in listing["plugins"]}
    assert "other" in names
    assert not names & {"raises", "good"}
    assert {plugin["name"] for plugin in listing["disabled"]} == {"raises", "good"}


def test_plugin_commands_are_commands_of_the_program(cli: Cli, install: Install, site: Path) -> None:
    lines = [discriminator("greet", "greetings:greet"), discriminator("tools", "greetings:app")]
    install("commands", offering(*lines, hook="commands"))
    (site / "greetings.py").write_text(
        dedent("""
        import typer

        def greet(name: str, loud: bool = False):
            "Say hello."
            print(f"hello {name}" + "!" * loud)

        app = typer.Typer()

        @app.command()
        def hammer(): print("bang")

        @app.command()
        def saw(): print("zzz")
        """)
    )
    assert cli("greet", "Ada", "--loud", path=site).stdout == "hello Ada!\n"
    assert cli("tools", "saw", path=site).stdout == "zzz\n"
    help_text = cli("tools", "--help", path=site)
    assert "hammer" in help_text.stdout
    assert "completion" not in help_text.stdout
    assert "a discriminator" in cli("--help", path=site).stdout
    assert cli("greet", path=site).returncode == 2


@pytest.mark.parametrize("entry", BUILT_IN, ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_everything_that_ships_can_be_loaded(entry: Entry) -> None:
    loaded = entry.load()
    if entry.kind == "recipes":
        assert tomllib.loads(loaded)
    elif entry.kind != "commands":
        assert callable(loaded)
    assert entry.summary
    assert "\n" not in entry.summary


def test_what_ships_has_no_clash() -> None:
    assert registry().plugins[0].name == "sim2real"
    assert len({(entry.kind, entry.name) for entry in BUILT_IN}) == len(BUILT_IN)


@pytest.mark.parametrize(
    ("kind", "wrong", "right"),
    [
        ("discriminators", "comined", "combined"),
        ("datasets", "VKITTI2", "vkitti2"),
        ("recipes", "monet", "monet2photo"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(kind: str, wrong: str, right: str) -> None:
    with pytest.raises(UnknownNameError, match=f"no {kind[:-1]} is called '{wrong}'; did you mean .*{right}"):
        registry().entry(kind, wrong)


def test_a_name_like_no_other_gets_the_list() -> None:
    with pytest.raises(UnknownNameError, match="no loss is called 'zzzz'; known: cycle, identity"):
        registry().entry("losses", "zzzz")


KENNEL = """
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from vets import Vet

class Dog:
    def __init__(self, size, *, colour="brown", tail=1):
        self.described = (size, colour, tail)

class AnyDog:
    def __init__(self, size, **traits):
        self.described = (size, traits)

class TypedDog:
    def __init__(
        self, *, legs: int = 4, weight: float = 1.0, size: tuple[int, int] = (1, 1),
        coat: Literal["long", "short"] = "long", papers: str | Path | None = None, chip: object = None,
        test: "Dog | None" = None,
    ):
        self.described = (legs, weight, size, coat, papers, chip, test)

class TreatedDog:
    def __init__(self, *, vet: "Vet" = None):
        self.described = vet

class OddDog:
    def __init__(self, *, vet: "Path.Vet" = None):
        self.described = vet

class OwnedDog:
    def __init__(self, *, owner, lead, colour="brown"):
        self.described = (owner, lead)
"""


class Kennel:
    @hookimpl
    def register_engines(self, register: Register) -> None:
        register("dog", "kennel:Dog", summary="takes two options")
        register("any-dog", "kennel:AnyDog", summary="takes any option")
        register("typed-dog", "kennel:TypedDog", summary="says what fits")
        register("treated-dog", "kennel:TreatedDog", summary="says so to type checkers alone")
        register("odd-dog", "kennel:OddDog", summary="says what is not there")
        register("owned-dog", "kennel:OwnedDog", summary="needs two options")


class HalfGood:
    @hookimpl
    def register_engines(self, register: Register) -> None:
        register("cat", "kennel:Dog", summary="fine")
        register("Bad Name", "kennel:Dog", summary="not fine")


@pytest.fixture
def kennel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    (tmp_path / "kennel.py").write_text(KENNEL)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "kennel", raising=False)
    found = Registry()
    found.add(Kennel(), Plugin("kennel", "acme-kennel", "1"))
    return found


def test_options_are_the_keyword_only_arguments_of_the_constructor(kennel: Registry) -> None:
    dog = kennel.create("engines", "dog", 3, options={"tail": 0}, place="engine.options")
    assert dog.described == (3, "brown", 0)
    free = kennel.create("engines", "any-dog", 3, options={"mood": "good"}, place="engine.options")
    assert free.described == (3, {"mood": "good"})


def test_an_option_that_is_needed_and_not_given_is_named(kennel: Registry) -> None:
    with pytest.raises(SettingsError, match=r"^engine\.options: 'owned-dog' needs a value for lead$"):
        kennel.create("engines", "owned-dog", options={"owner": "Ann"}, place="engine.options")


@pytest.mark.parametrize("option", ["color", "size"])
def test_an_option_that_is_not_taken_is_refused_with_the_accepted_names(kennel: Registry, option: str) -> None:
    with pytest.raises(SettingsError, match=f"^engine.options.{option}: 'dog' takes no such option; .*colour, tail$"):
        kennel.create("engines", "dog", 3, options={option: "red"}, place="engine.options")


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("legs", "four", "must be a whole number"),
        ("legs", "4", "must be a whole number"),
        ("legs", 3.5, "must be a whole number"),
        ("legs", True, "must be a whole number"),
        ("weight", "heavy", "must be a number"),
        ("size", [1], "value 2 is missing"),
        ("size", [1, "b"], "must be a whole number"),
        ("coat", "curly", "must be 'long' or 'short'"),
        ("papers", 3, "must be text"),
    ],
)
def test_a_value_that_does_not_fit_its_annotation_is_refused_with_its_place(
    kennel: Registry, option: str, value: object, reason: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        kennel.create("engines", "typed-dog", options={option: value}, place="engine.options")
    assert str(refused.value).startswith(f"engine.options.{option} = {value!r}: ")
    assert reason in str(refused.value)


def test_values_that_fit_come_as_they_are(kennel: Registry, tmp_path: Path) -> None:
    options: dict[str, object] = {
        "legs": 3, "weight": 2, "size": [3, 4], "coat": "short", "papers": tmp_path, "chip": {"a": 1}, "test": "any"
    }  # fmt: skip
    dog = kennel.create("engines", "typed-dog", options=options, place="engine.options")
    assert dog.described == tuple(options.values())
    for name in ("treated-dog", "odd-dog"):
        assert kennel.create("engines", name, options={"vet": 3}, place="engine.options").described == 3


def test_a_plugin_that_misses_the_contract_leaves_nothing_behind(kennel: Registry) -> None:
    with pytest.raises(PluginError, match="'Bad Name' is no engine name"):
        kennel.add(HalfGood(), Plugin("half", "acme-half", "1"))
    assert [entry.name for entry in kennel.entries("engines")] == [
        "dog",
        "any-dog",
        "typed-dog",
        "treated-dog",
        "odd-dog",
        "owned-dog",
    ]
    assert [plugin.name for plugin in kennel.plugins] == ["kennel"]


def test_a_name_that_is_too_long_is_shortened_in_messages() -> None:
    with pytest.raises(UnknownNameError) as caught:
        registry().entry("discriminators", "x" * 5000)
    assert "xxx...'" in str(caught.value)
    assert len(str(caught.value)) < 500
