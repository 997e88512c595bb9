"""What a command looks at first: that paths are there, of the right kind and in the right order.

Nothing heavy is imported for it, so that a mistake is answered at once.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from sim2real.errors import Sim2RealError
from sim2real.files import check_writable
from sim2real.places import absent, any_file, command_line, is_conversion, is_model, is_run

if TYPE_CHECKING:
    from sim2real.config import Config


def check_images(place: Path, layout: str | None = None, *, videos: bool = False) -> None:
    """Make sure that there are images at a place; looks no further than to the first one.

    Args:
        place: A folder.
        layout: Registered layout that the user names.
        videos: Whether a video, or a folder of such, will do.

    Raises:
        Sim2RealError: There are none.
    """
    from sim2real.datasets import open_dataset
    from sim2real.datasets.sources import find_pictures
    from sim2real.imageio import is_image
    from sim2real.registry import registry

    if layout:
        registry().entry("datasets", layout)
    if place.is_dir() and not is_run(place) and any_file(place, is_image):
        return
    if videos:
        find_pictures(place)
    else:
        open_dataset(place, layout)


def check_training(config: "Config", *, begins: bool) -> None:
    """Make sure that a training finds its images, and a place for what it writes.

    Raises:
        Sim2RealError: It does not.
    """
    from sim2real.datasets import open_dataset
    from sim2real.datasets.sources import one_domain
    from sim2real.training.run import RunFolder

    if begins:
        RunFolder(config.run_folder).require_new()
        check_writable(config.run_folder)
    check_images(config.sim_place)
    for place in config.real_places:
        check_images(place, videos=True)
    if any(place.samefile(config.sim_place) for place in config.real_places):
        dataset = open_dataset(config.sim_place)
        if any(frame.side is None for frame in islice(dataset.frames(), 1)):
            raise one_domain(dataset.root, dataset.name)
    elif begins:
        for place in config.real_places:
            _require_apart(config, place)


def _require_apart(config: "Config", real: Path) -> None:
    """Make sure that no image is on both sides, where one folder is inside the other."""
    from sim2real.datasets.sources import find_pictures, shared

    sim, data = config.sim_place, config.data
    roots = sim.resolve(), real.resolve()
    if not real.is_dir() or not (roots[0].is_relative_to(roots[1]) or roots[1].is_relative_to(roots[0])):
        return

    def images(
        place: Path, side: str, include: Sequence[str], exclude: Sequence[str], more: Sequence[str]
    ) -> list[Path]:
        dataset = find_pictures(place, more).dataset
        frames = dataset.frames(include, exclude) if dataset else ()
        return [frame.path for frame in frames if frame.side in (None, side)]

    first, second = ("real", "sim") if config.swap else ("sim", "real")
    simulated = images(sim, first, data.sim_include, data.sim_exclude, data.sim_as_image)
    others = images(real, second, data.real_include, data.real_exclude, data.real_as_image)
    if both := shared(others, simulated):
        raise Sim2RealError(
            f"{both[0]}: an image of SIM and of REAL, as are {len(both) - 1} more: {sim} and {real} overlap; name two "
            "folders apart, or leave out what is not of a side: data.sim_exclude, data.real_exclude"
        )


def check_file(file: Path, suffixes: Sequence[str]) -> None:
    """Make sure that a file can be written.

    Raises:
        Sim2RealError: Its name has another suffix, or there is no folder for it.
    """
    if suffixes and file.suffix.lower() not in suffixes:
        kinds = " or ".join(suffixes)
        raise Sim2RealError(f"{file}: name a file that ends in {kinds}, e.g. {file.with_suffix(suffixes[0]).name}")
    if file.is_dir():
        raise Sim2RealError(f"{file}: a folder; name a file in it")
    if not file.parent.is_dir():
        raise Sim2RealError(f"{absent(file.parent)}; name a file in a folder that is there")
    check_writable(file.parent)


def check_model_first(command: str, model: Path, other: Path) -> None:
    """Make sure that the model and what belongs behind it were not given the other way round.

    Raises:
        Sim2RealError: They were.
    """
    if is_model(other) and not is_model(model):
        right = command_line("sim2real", command, other, model)
        raise Sim2RealError(f"{model} and {other}: the other way round: {right}")


def check_conversion(out: Path) -> None:
    """Make sure that a folder can be a converted dataset.

    Raises:
        Sim2RealError: There is none, or it is something else.
    """
    if not out.exists():
        raise Sim2RealError(f"{absent(out)}; name the OUT of sim2real convert")
    if not out.is_dir():
        raise Sim2RealError(f"{out}: a file; name the OUT of sim2real convert")
    if is_run(out) and not is_conversion(out):
        shown = command_line("sim2real", "report", out)
        raise Sim2RealError(f"{out}: a run of sim2real train; name the OUT of sim2real convert, or: {shown}")
