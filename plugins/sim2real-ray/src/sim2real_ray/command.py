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
    src: Annotated[Path, typer.Argument(help="The dataset, on a disk that all workers share.")],
    out: Annotated[Path, typer.Argument(help="Where it goes, on such a disk: new, empty, or to be continued.")],
    address: Annotated[
        str | None, typer.Option(help="Of the cluster, or auto; RAY_ADDRESS, else a cluster on this machine alone.")
    ] = None,
    shards: Annotated[int | None, typer.Option(min=1, help="Pieces of the work; four for each worker.")] = None,
    cpus_per_worker: Annotated[int | None, typer.Option(min=1, help="Four, or all that a machine has.")] = None,
    gpus_per_worker: Annotated[float | None, typer.Option(min=0, help="One where there are any.")] = None,
    retries: Annotated[int, typer.Option(min=0, help="How often a shard goes on whose worker is lost.")] = 3,
    model: Annotated[Path | None, typer.Option(help="Run folder or .safetensors file; else as for convert.")] = None,
    direction: Annotated[Direction | None, typer.Option(help="Which generator of the run.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Layout; recognised if left out.")] = None,
    include: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Convert and carry only files that fit.")
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="Leave out files that fit.")] = None,
    carry: Annotated[Carry, typer.Option(help="How labels and all other files come over.")] = Carry.copy,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of JPEG.")] = 95,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Frames at once.")] = None,
    engine: Annotated[str, typer.Option(help="What runs the generator.")] = "auto",
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads of each process that decode and encode.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Translate the first N frames.")] = None,
    keep_going: Annotated[  # noqa: FBT002  a flag
        bool, typer.Option("--keep-going", help="Go on after a file that cannot be done.")
    ] = False,
) -> None:
    """Convert a dataset as `sim2real convert` does, by workers on the machines of a Ray cluster.

    What a lost worker leaves is taken up by another. Run it again to continue an interrupted conversion.
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
    with redirect_stdout(sys.stderr), progress() as report:  # where Ray tells of lost workers
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
