"""``sim2real recipes``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim2real.cli.listing import print_entries
from sim2real.cli.settings import SetOption

if TYPE_CHECKING:
    from sim2real.config import Config
    from sim2real.networks import Layer


def command(
    name: Annotated[str | None, typer.Argument(help="Show this recipe's settings and networks.")] = None,
    sets: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of sim2real.toml, for editors, and nothing else.")
    ] = False,
) -> None:
    """The recipes that can be named; with NAME: when to use it, its settings, and each network layer by layer."""
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
    for pair in ("G_sim2real", "G_real2sim"), ("D_real", "D_sim"):
        layers = networks[pair[0]]
        title = f"{' and '.join(pair)}, each {sum(layer.parameters for layer in layers):,} parameters"
        table = Table("layer", "output shape", title=title, title_justify="left", box=None, pad_edge=False)
        table.add_column("parameters", justify="right")
        for layer in layers:
            table.add_row(layer.kind, "x".join(map(str, layer.output_shape)), f"{layer.parameters:,}")
        out.print(table)
        out.print()


def _networks(config: "Config") -> "dict[str, list[Layer]]":
    """The four networks of a recipe; those of one kind are alike."""
    from sim2real.networks import describe
    from sim2real.training.setup import build_discriminator, build_generator

    width, height = config.data.size
    generator = describe(build_generator(config), 3, height, width)
    discriminator = describe(build_discriminator(config), 3, height, width)
    return {"G_sim2real": generator, "G_real2sim": generator, "D_real": discriminator, "D_sim": discriminator}


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
