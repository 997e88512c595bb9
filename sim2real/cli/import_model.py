"""The command ``sim2real import``."""

from pathlib import Path
from typing import Annotated

import typer

from sim2real.cli.console import byte_size, err, out
from sim2real.cli.settings import Direction
from sim2real.files import check_writable
from sim2real.places import command_line


def command(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Weights, such as latest_net_G_A.pth, .safetensors, .onnx, or a folder."),
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
        typer.Option("--set", metavar="KEY=VALUE", help="Setting for that generator or recipe; repeatable."),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(metavar="NAME", help="Recipe with the generator's settings, as for a folder.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Name of the network, if the file holds several.")] = None,
) -> None:
    """Make a run of another program's trained generator: pytorch-CycleGAN-and-pix2pix, CUT, an ONNX file, or a plugin.

    The run is used like any other: convert, preview, evaluate, export. The file is read without running code in it.
    """
    from sim2real.foreign import default_direction
    from sim2real.training.importing import default_run, import_run

    where = run or default_run(file)
    check_writable(where)
    way = direction.value if direction else default_direction(file)
    target, found = import_run(
        file, where, direction=way, generator=generator, sets=sets or [], key=key, recipe=recipe, notify=err.print
    )
    out.print(f"{target}: {found.description}, {byte_size(target.stat().st_size)}")
    needed = ("--direction", way) if way != "sim2real" else ()
    out.print(f"next: {command_line('sim2real', 'convert', 'SIM', 'OUT', '--model', where, *needed)}")
