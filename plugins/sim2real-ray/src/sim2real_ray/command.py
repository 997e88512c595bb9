"""``sim2real ray-convert``."""

import shlex
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from sim2real.commands import (
    Carry,
    DeviceOption,
    Direction,
    PrecisionOption,
    err,
    model_here,
    progress,
    settings_here,
    show_summary,
)
from sim2real.conversion import ConvertOptions
from sim2real_ray.cluster import convert_on_ray


def command(  # noqa: PLR0917  Typer's options are arguments
    src: Annotated[Path, typer.Argument(help="The dataset, on a file system that all workers share.")],
    out: Annotated[
        Path, typer.Argument(help="Output folder on the same kind of file system: new, empty, or to be continued.")
    ],
    address: Annotated[
        str | None, typer.Option(help="Cluster address, or auto; default: RAY_ADDRESS, else a new local cluster.")
    ] = None,
    shards: Annotated[int | None, typer.Option(min=1, help="Number of shards; default: four per worker.")] = None,
    cpus_per_worker: Annotated[
        int | None, typer.Option(min=1, help="CPUs per worker; default: four, or all that a machine has.")
    ] = None,
    gpus_per_worker: Annotated[
        float | None, typer.Option(min=0, help="GPUs per worker; default: one if there are any.")
    ] = None,
    retries: Annotated[int, typer.Option(min=0, help="How often a shard is restarted if its worker is lost.")] = 3,
    model: Annotated[Path | None, typer.Option(help="Run folder or .safetensors file; else as for convert.")] = None,
    direction: Annotated[Direction | None, typer.Option(help="Which of the run's generators to use.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Layout; recognised if left out.")] = None,
    include: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Convert and carry only matching files.")
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="Leave out matching files.")] = None,
    carry: Annotated[Carry, typer.Option(help="How to carry labels and all other files.")] = Carry.copy,
    quality: Annotated[int, typer.Option(min=1, max=100, help="JPEG quality.")] = 95,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Frames per batch.")] = None,
    engine: Annotated[str, typer.Option(help="Engine that runs the generator.")] = "auto",
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads of each process for decoding and encoding.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Translate the first N frames.")] = None,
    keep_going: Annotated[  # noqa: FBT002  a flag
        bool, typer.Option("--keep-going", help="Continue after a file that cannot be processed.")
    ] = False,
) -> None:
    """Convert a dataset like `sim2real convert`, by workers on the machines of a Ray cluster.

    If a worker is lost, another one continues its work. Run the command again to continue an interrupted conversion.
    """
    settings = settings_here()
    options = ConvertOptions(
        model=model or model_here(),
        direction=direction.value if direction else None,
        dataset=dataset,
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        carry=carry.value,
        quality=quality,
        batch_size=batch_size,
        engine=engine,
        device=device or settings.device,
        precision=precision or settings.precision,
        workers=workers,
        limit=limit,
        keep_going=keep_going,
    )
    with redirect_stdout(sys.stderr), progress() as report:  # Ray reports lost workers on stdout
        summary = convert_on_ray(
            src,
            out,
            options,
            report,
            notify=err.print,
            address=address,
            shards=shards,
            cpus=cpus_per_worker,
            gpus=gpus_per_worker,
            retries=retries,
        )
    show_summary(summary)
    typer.echo(f"next: sim2real verify {shlex.quote(str(summary.out))}")
    if summary.failed:
        raise typer.Exit(1)
