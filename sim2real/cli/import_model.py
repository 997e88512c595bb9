"""The command ``sim2real import``."""

from pathlib import Path
from typing import Annotated

import typer

from sim2real.cli.convert import Direction


def command(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Weights: .pth or .safetensors, such as latest_net_G_A.pth.")
    ],
    run: Annotated[
        Path | None, typer.Option(help="Run folder; default: runs/ and the name of the file, or of its folder.")
    ] = None,
    direction: Annotated[
        Direction | None, typer.Option(help="Default: real2sim for a file ..._net_G_B, otherwise sim2real.")
    ] = None,
    generator: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Registered generator of the weights; default: recognised by their names."),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="generator.options.KEY=VALUE", help="Option of that generator; repeatable."),
    ] = None,
    key: Annotated[str | None, typer.Option(help="Name of the network, if the file holds several.")] = None,
) -> None:
    """Make a run of a trained generator of another program: of pytorch-CycleGAN-and-pix2pix, CUT, or a plugin.

    The run is used like any other: convert, preview, evaluate, export. The file is read without running code in it.
    """
    from sim2real.cli.console import out
    from sim2real.files import check_writable
    from sim2real.places import command_line
    from sim2real.training.importing import default_direction, default_run, import_run

    where = run or default_run(file)
    check_writable(where)
    way = direction.value if direction else default_direction(file)
    target, found = import_run(file, where, direction=way, generator=generator, sets=sets or [], key=key)
    count = sum(tensor.numel() for tensor in found.weights.values())
    options = ", ".join(f"{name} {value}" for name, value in found.options.items())
    out.print(f"{target}: {found.description}; generator {found.generator} ({options}), {count / 1e6:.2f} M weights")
    out.print(f"next: {command_line('sim2real', 'convert', 'SIM', 'OUT', '--model', where)}")
