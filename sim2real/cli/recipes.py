"""The command ``sim2real recipes``."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim2real.cli.console import out
from sim2real.cli.listing import described, plugin_note, print_table
from sim2real.cli.settings import JsonOption, SetOption
from sim2real.registry import registry

if TYPE_CHECKING:
    from sim2real.config import Config
    from sim2real.networks import Layer


def command(
    name: Annotated[str | None, typer.Argument(help="Show this recipe's settings and networks.")] = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print only the JSON schema of sim2real.toml, for editors.")
    ] = False,
) -> None:
    """List the recipes; with NAME, print when to use it, its settings and its networks layer by layer."""
    from rich.table import Table

    from sim2real.config import json_schema, resolve

    if schema:
        print(json.dumps(json_schema(), indent=2))
        return
    if name is None:
        entries = registry().entries("recipes")
        if as_json:
            print(json.dumps([described(entry) for entry in entries], indent=2))
        else:
            print_table((entry.name, entry.summary + plugin_note(entry)) for entry in entries)
        return
    config = resolve(name, sets=sets or [])
    networks = networks_of(config)
    if as_json:
        print(json.dumps(_as_json(config, networks), indent=2))
        return
    print("\n".join(line for line in registry().load("recipes", name).splitlines() if line.startswith("#")))
    print(config.dump())
    alike: dict[tuple[Layer, ...], list[str]] = {}
    for network, its_layers in networks.items():
        alike.setdefault(tuple(its_layers), []).append(network)
    for layers, names in alike.items():
        each = "each " if len(names) > 1 else ""
        title = f"{' and '.join(names)}, {each}{sum(layer.parameters for layer in layers):,} parameters"
        table = Table("layer", "output shape", title=title, title_justify="left", box=None, pad_edge=False)
        table.add_column("parameters", justify="right")
        for layer in layers:
            table.add_row(layer.kind, "x".join(map(str, layer.output_shape)), f"{layer.parameters:,}")
        out.print(table)
        out.print()


def networks_of(config: "Config") -> "dict[str, list[Layer]]":
    """Return the layers of each network of a recipe, by name."""
    from sim2real.networks import RangeAdapter, describe
    from sim2real.training.setup import build_method

    width, height = config.data.size
    networks = build_method(config, "cpu", "fp32").networks
    return {
        name: describe(network.network, 3, height, width)
        for name, network in networks.items()
        if isinstance(network, RangeAdapter)
    }


def _as_json(config: "Config", networks: "dict[str, list[Layer]]") -> dict[str, Any]:

    return {
        "name": config.recipe,
        "settings": config.model_dump(mode="json", exclude={"sim", "real", "run", "convert"}),
        "networks": {
            network: {
                "parameters": sum(layer.parameters for layer in layers),
                "layers": [asdict(layer) for layer in layers],
            }
            for network, layers in networks.items()
        },
    }
