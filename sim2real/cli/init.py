"""The command ``sim2real init``."""

import json
import os
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim2real.cli.console import duration, out
from sim2real.errors import SettingsError
from sim2real.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim2real.datasets import Dataset

_TEMPLATE = """\
# Settings of `sim2real train`, `sim2real convert` and `sim2real batch`, run in this folder.
# Every setting of a recipe can be set here: `sim2real recipes {recipe}` prints them all.
# Options of a command override this file; --set data.batch_size=4 overrides a single setting.
# For completion in an editor: sim2real recipes --schema > schema.json, and "#:schema ./schema.json" as first line.

recipe = {recipe_text}
sim = {sim}  # {sim_facts}
real = {real}  # {real_facts}; can be a list of folders and videos
run = {run}  # `train` writes the model here, `convert` and `batch` read it
seed = 0

# Training images. "crop" cuts windows from the frames, at their own scale or after scaling to load_size; "resize"
# squeezes whole frames.
# [data]
# size = {size}  # width, height
{load_size}# batch_size = {batch_size}
# sim_include = ["*/clone/*"]  # only files that match; also sim_exclude, real_include, real_exclude
# video_every = 1.0  # seconds between frames extracted from real videos

# Larger networks, for a GPU; networks of plugins by their names.
# [generator.options]
# width = 64
# [discriminator]
# name = "combined"  # patch, global, combined, patchgan70 ...

# [train]
# {length}

# What `convert` and `batch` convert; add a table for each dataset.
[[convert]]
source = {sim}
out = {out}
# include = ["*/clone/*"]
# carry = "copy"  # or hardlink, symlink: how labels are carried
# quality = 95  # JPEG quality; or encoding = "source" or "real": as in the source or the real images
"""


def command(
    sim: Annotated[Path, typer.Argument(help="The simulated dataset.")],
    real: Annotated[
        list[Path] | None,
        typer.Argument(help="Real images: folders and videos; not needed if SIM is a CycleGAN folder with both."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", help="Settings to start from, see `sim2real recipes`; default: as in `train`."),
    ] = None,
) -> None:
    """Write a commented sim2real.toml; `train`, `convert` and `batch` then need no arguments."""
    from sim2real.config import SETTINGS_FILE

    path = Path(SETTINGS_FILE)
    if os.path.lexists(path):  # also for a dangling link, which would be followed
        raise SettingsError(f"{path}: already exists; edit it, or delete it first")
    write_whole(path, settings_text(sim, real or [], recipe).encode())
    out.print(
        f"wrote {path}\nnext: sim2real train\n      sim2real convert\nor both with checks: sim2real batch",
    )


def settings_text(sim: Path, real: "Sequence[Path]", recipe: str | None) -> str:
    """Return the text of a sim2real.toml.

    Raises:
        Sim2RealError: If there are no images at a path, or no such recipe.
    """
    from sim2real.config import resolve
    from sim2real.datasets import open_dataset
    from sim2real.datasets.sources import one_domain
    from sim2real.training.begin import suited

    config = resolve(recipe) if recipe else suited(resolve(sim=str(sim)), None, sim=str(sim))
    train = config.train
    name = sim.resolve().name
    simulated = open_dataset(sim)
    if not real and any(frame.side is None for frame in islice(simulated.frames(), 1)):
        raise one_domain(sim, simulated.name)
    quote = partial(json.dumps, ensure_ascii=False)
    return _TEMPLATE.format(
        recipe=config.recipe,
        recipe_text=quote(config.recipe),
        sim=quote(sim.as_posix()),
        real=quote([place.as_posix() for place in real] if len(real) > 1 else "".join(map(Path.as_posix, real))),
        sim_facts=_facts(simulated),
        real_facts="; ".join(map(_found, real)) or "empty: the folder above contains both domains",
        run=quote(f"runs/{name}"),
        out=quote(f"converted/{name}"),
        size=list(config.data.size),
        load_size=f"# load_size = {list(config.data.load_size)}\n" if config.data.load_size else "",
        length=f"steps = {train.steps}  # or epochs = 200"
        if train.steps
        else f"epochs = {train.epochs}  # or steps = 20000",
        batch_size=config.data.batch_size,
    )


def _found(path: Path) -> str:
    """Describe the images and videos at a path."""
    from sim2real.datasets.sources import find_pictures
    from sim2real.datasets.video import video_seconds

    place = find_pictures(path)
    facts = [_facts(place.dataset)] if place.dataset else []
    if place.videos:
        seconds = sum(video_seconds(place.root / video) for video in place.videos)
        number = len(place.videos)
        facts.append(f"{number} video{'s' if number > 1 else ''}, {duration(seconds)}")
    return " and ".join(facts)


def _facts(dataset: "Dataset") -> str:
    return f"{dataset.name}, {dataset.match.images} images"
