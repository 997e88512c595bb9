"""The command ``sim2real plugins``, which lists, checks and scaffolds plugins."""

import json
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sim2real.cli.settings import JsonOption
from sim2real.errors import PluginError
from sim2real.manual import more
from sim2real.registry import BUILTIN, KINDS, Entry, Plugin, one_line, registry

command = typer.Typer()


@command.callback(invoke_without_command=True)
def plugins(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the installed plugins and their components; check them; scaffold a new one."""
    if context.invoked_subcommand is None:
        list_plugins(as_json)
    elif as_json:
        context.fail(f"--json: write it after '{context.invoked_subcommand}'")


@command.command("list")
def list_plugins(as_json: JsonOption = False) -> None:
    """List the installed plugins and their components, and the plugins that are left out, with reasons."""
    found = registry()
    if as_json:
        listing = {
            "plugins": [asdict(plugin) | {"provides": _provides(plugin)} for plugin in found.plugins],
            "failures": [asdict(failure) for failure in found.failures],
            "disabled": [asdict(plugin) for plugin in found.disabled],
            "clashes": list(found.clashes.values()),
        }
        print(json.dumps(listing, indent=2))
    else:
        for plugin in found.plugins:
            print(f"{plugin.name} ({plugin.distribution} {plugin.version})")
            for kind, names in _provides(plugin).items():
                print(f"  {kind:<14}  {', '.join(names)}")
        for failure in found.failures:
            print(f"left out: {failure.plugin} ({failure.distribution}): {failure.error}{more('a-plugin-fails')}")
        for plugin in found.disabled:
            print(f"disabled: {plugin.name} ({plugin.distribution} {plugin.version})")
    if found.clashes:
        raise PluginError("; ".join(found.clashes.values()))


@command.command()
def check(as_json: JsonOption = False) -> None:
    """Import all components of the plugins and test those that need no data; exit with 1 if one fails.

    Networks, losses, methods, metrics and engines of plugins are tested on generated images if they need no options or
    files; dataset layouts are checked for misspelt names.
    """
    found = registry()
    problems = [f"plugin '{failure.plugin}' is left out: {failure.error}" for failure in found.failures]
    problems += found.clashes.values()
    problems += [problem for entry in found.offers if (problem := _problem(entry))]
    if as_json:
        print(json.dumps({"checked": len(found.offers), "failures": problems}, indent=2))
    else:
        for problem in problems:
            print(problem)
        checked = f"{len(found.offers)} components of {len(found.plugins)} plugins checked, {len(problems)} problems"
        print(f"{checked}{more('a-plugin-fails' if problems else None)}")
    if problems:
        raise typer.Exit(1)


@command.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the component, e.g. spectral; the package is sim2real-NAME.")],
    folder: Annotated[Path, typer.Option("--dir", help="Parent folder of the new package.")] = Path(),
) -> None:
    """Write a plugin package to start from: a small discriminator with its tests."""
    from sim2real.scaffold import write_plugin

    package = write_plugin(name, folder)
    print(f"wrote {package}; next:")
    print(f"  pip install -e {package}")
    print(f"  pytest {package}")
    print(f"  sim2real train SIM REAL --set discriminator.name={package.name.removeprefix('sim2real-')}")


def _provides(plugin: Plugin) -> dict[str, list[str]]:
    offers = [entry for entry in registry().offers if entry.owner == plugin.name]
    provided = {kind: [entry.name for entry in offers if entry.kind == kind] for kind in KINDS}
    return {kind: names for kind, names in provided.items() if names}


def _problem(entry: Entry) -> str | None:
    from sim2real.datasets.contract import adapter_of
    from sim2real.testing.entries import check_entry

    try:
        if entry.kind == "datasets":
            adapter_of(entry)
        elif entry.kind == "recipes":
            tomllib.loads(entry.load())
        elif entry.owner == BUILTIN:
            entry.load()
        else:
            check_entry(entry)
    except PluginError as error:
        return str(error)
    except tomllib.TOMLDecodeError as error:
        return f"{entry.label} is not valid TOML: {error}"
    except AssertionError as error:
        return f"{entry.label} violates its contract: {error}"
    except Exception as error:  # noqa: BLE001  the other entries are still checked
        return f"{entry.label} fails: {one_line(error)}"
    return None
