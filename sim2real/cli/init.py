"""``sim2real init``."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim2real.datasets import Dataset

_TEMPLATE = """\
# Settings of `sim2real train`, `sim2real convert` and `sim2real batch`, run in this folder.
# Every setting of a recipe may stand here: `sim2real recipes {recipe}` prints them all.
# Options of a command win over this file; --set data.batch_size=4 wins over one setting of it.
# For completion in an editor: sim2real recipes --schema > schema.json, and a first line "#:schema ./schema.json".

recipe = {recipe_text}
sim = {sim}  # {sim_facts}
real = {real}  # {real_facts}; may be a list of folders and videos
run = {run}  # where `train` writes, and `convert` and `batch` find the model
seed = 0

# What the networks see. "crop" cuts windows of the frames, at their own scale or scaled to load_size first; "resize"
# squeezes whole frames.
# [data]
# size = {size}  # width, height
{load_size}# batch_size = {batch_size}
# sim_include = ["*/clone/*"]  # only what fits one of these globs; also sim_exclude, real_include, real_exclude
# video_every = 1.0  # seconds between the frames that are extracted from real videos

# Larger networks, for a GPU; a plugin's by its name.
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
# carry = "copy"  # or hardlink, symlink: how labels get there
# quality = 95  # of JPEG; or encoding = "source", "real": as in the source's files, as in the real images
"""


def command(
    sim: Annotated[Path, typer.Argument(help="The simulation's dataset.")],
    real: Annotated[
        list[Path] | None,
        typer.Argument(help="Real images: folders and videos; left out where one CycleGAN folder holds both."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", help="Settings to start from, see `sim2real recipes`; left out, as of `train`."),
    ] = None,
) -> None:
    """Write a commented sim2real.toml for both sides; `train`, `convert` and `batch` then need nothing else."""
    from sim2real.cli.console import out
    from sim2real.config import SETTINGS_FILE
    from sim2real.errors import SettingsError
    from sim2real.files import write_whole

    path = Path(SETTINGS_FILE)
    if os.path.lexists(path):  # a link to nowhere, too, which would be written through
        message = f"{path}: exists already; edit it, or delete it first"
        raise SettingsError(message)
    write_whole(path, settings_text(sim, real or [], recipe).encode())
    out.print(
        f"wrote {path}\nnext: sim2real train\n      sim2real convert\nor both, with checks: sim2real batch",
    )


def settings_text(sim: Path, real: "Sequence[Path]", recipe: str | None) -> str:
    """The text of a sim2real.toml.

    Raises:
        Sim2RealError: There are no images at a path, or there is no such recipe.
    """
    import json
    from functools import partial
    from itertools import islice

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
        real_facts="; ".join(map(_found, real)) or "empty: the folder above holds both domains",
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
    """What there is of the real side at a path."""
    from sim2real.cli.console import duration
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
