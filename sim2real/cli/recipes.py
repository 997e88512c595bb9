"""The command ``sim2real recipes``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim2real.cli.listing import print_entries
from sim2real.cli.settings import JsonOption, SetOption

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
    import json

    from rich.table import Table

    from sim2real.cli.console import out
    from sim2real.config import json_schema, resolve
    from sim2real.registry import registry

    if schema:
        print(json.dumps(json_schema(), indent=2))
        return
    if name is None:
        print_entries("recipes", as_json=as_json)
        return
    config = resolve(name, sets=sets or [])
    networks = _networks(config)
    if as_json:
        print(json.dumps(_as_json(config, networks), indent=2))
        return
    print("\n".join(line for line in registry().load("recipes", name).splitlines() if line.startswith("#")))
    print(config.dump())
    for names in _alike(networks):
        layers = networks[names[0]]
        each = "each " if len(names) > 1 else ""
        title = f"{' and '.join(names)}, {each}{sum(layer.parameters for layer in layers):,} parameters"
        table = Table("layer", "output shape", title=title, title_justify="left", box=None, pad_edge=False)
        table.add_column("parameters", justify="right")
        for layer in layers:
            table.add_row(layer.kind, "x".join(map(str, layer.output_shape)), f"{layer.parameters:,}")
        out.print(table)
        out.print()


def _networks(config: "Config") -> "dict[str, list[Layer]]":
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


def _alike(networks: "dict[str, list[Layer]]") -> list[list[str]]:
    """Group the names of networks with equal layers."""
    groups: list[list[str]] = []
    for name, layers in networks.items():
        group = next((group for group in groups if networks[group[0]] == layers), None)
        if group:
            group.append(name)
        else:
            groups.append([name])
    return groups


def _as_json(config: "Config", networks: "dict[str, list[Layer]]") -> dict[str, Any]:
    from dataclasses import asdict

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
