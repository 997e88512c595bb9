"""``sim2real ray-convert``."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from sim2real.commands import err, progress, show_next, show_summary, taking_options, tasks_of
from sim2real_ray.cluster import convert_on_ray


@taking_options
def command(
    src: Annotated[
        Path | None,
        typer.Argument(
            help="The dataset, on a file system that all workers share; default: the datasets in sim2real.toml."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Argument(help="Output folder on the same kind of file system: new, empty, or to be continued."),
    ] = None,
    *,
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
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads of each process for decoding and encoding.")
    ] = None,
    **options: Any,  # noqa: ANN401  those of convert
) -> None:
    """Convert a dataset like `sim2real convert`, by workers on the machines of a Ray cluster.

    If a worker is lost, another one continues its work. Run the command again to continue an interrupted conversion.
    """
    failed = False
    for task in tasks_of(src, out, workers=workers, **options):
        with redirect_stdout(sys.stderr), progress() as report:  # Ray reports lost workers on stdout
            summary = convert_on_ray(
                task.source,
                task.place,
                task.options,
                report,
                notify=err.print,
                address=address,
                shards=shards,
                cpus=cpus_per_worker,
                gpus=gpus_per_worker,
                retries=retries,
            )
        show_summary(summary)
        show_next(task)
        failed = failed or bool(summary.failed)
    if failed:
        raise typer.Exit(1)
