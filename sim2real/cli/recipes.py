"""``sim2real recipes``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim2real.cli.settings import SetOption

if TYPE_CHECKING:
    from sim2real.config import Config
    from sim2real.networks import Layer


def command(
    name: Annotated[str | None, typer.Argument(help="Show this recipe's settings and networks.")] = None,
    sets: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """The recipes that can be named; with NAME: its settings, and each network layer by layer."""
    import json

    from rich.table import Table

    from sim2real.cli.console import out
    from sim2real.config import resolve
    from sim2real.registry import registry

    if name is None:
        entries = registry().entries("recipes")
        if as_json:
            print(json.dumps([{"name": e.name, "summary": e.summary, "plugin": e.owner} for e in entries], indent=2))
            return
        table = Table("recipe", "what for", "plugin", box=None, pad_edge=False)
        for entry in entries:
            table.add_row(entry.name, entry.summary, entry.owner)
        out.print(table)
        return
    config = resolve(name, sets=sets or [])
    networks = _networks(config)
    if as_json:
        print(json.dumps(_as_json(config, networks), indent=2))
        return
    print(config.dump())
    for network, layers in networks.items():
        total = sum(layer.parameters for layer in layers)
        table = Table(
            "layer",
            "output shape",
            title=f"{network}: {total:,} parameters",
            title_justify="left",
            box=None,
            pad_edge=False,
        )
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
