"""The command ``sim2real toytown``, which renders a small labelled dataset."""

from pathlib import Path
from typing import Annotated

import typer

from sim2real import Sim2RealError
from sim2real.commands import progress, size_of


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to create.")],
    look: Annotated[str, typer.Option(help="sim (flat and clean, like a game) or real (like a camera).")] = "sim",
    frames: Annotated[int, typer.Option(help="Frames in each sequence.")] = 32,
    size: Annotated[str, typer.Option(metavar="WxH", help="Size of the images, in pixels.")] = "1242x375",
    seed: Annotated[int, typer.Option(help="Seed of streets, houses and vehicles.")] = 0,
    sequences: Annotated[int, typer.Option(help="Number of scenes, each on its own street.")] = 1,
    cameras: Annotated[str, typer.Option(help="0 (left), 1 (right) or 0,1.")] = "0,1",
    labels: Annotated[bool, typer.Option(help="Write depth, segmentation, flow, boxes ..., too.")] = True,
    archives: Annotated[bool, typer.Option("--archives", help="One top folder for each archive of VKITTI 2.")] = False,
    workers: Annotated[int | None, typer.Option(help="Number of rendering processes; default: one per CPU.")] = None,
) -> None:
    """Render a small street world in the layout of Virtual KITTI 2, with all of its labels."""
    import os
    from functools import partial

    from sim2real_toytown import render_dataset

    pixels = size_of(size, "--size")
    with progress("images") as report:
        images = render_dataset(
            folder,
            look=look,
            frames=frames,
            size=pixels,
            seed=seed,
            sequences=sequences,
            cameras=_cameras(cameras),
            labels=labels,
            archives=archives,
            workers=workers or os.cpu_count() or 1,
            progress=partial(report, "rendering"),
        )
    print(f"{folder}: {images} images of {size}, look {look}{'' if labels else ', without labels'}")


def _cameras(text: str) -> tuple[int, ...]:
    if not all(camera.strip().isdigit() for camera in text.split(",")):
        raise Sim2RealError(f"--cameras {text}: write 0, 1 or 0,1")
    return tuple(map(int, text.split(",")))
