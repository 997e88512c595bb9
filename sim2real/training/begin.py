"""What is looked at before a training begins or goes on: its settings, and whether its images are there.

Nothing heavy is imported for it, so that a mistake is answered at once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim2real.errors import SettingsError, Sim2RealError
from sim2real.files import check_writable
from sim2real.places import any_file, is_run

if TYPE_CHECKING:
    from sim2real.config import Config

LABELLED = "labelled"
"""The recipe of a training of which nobody names one, where the simulation has masks."""


def sides(sim: str | Path | None, real: Sequence[str | Path]) -> dict[str, Any]:
    """The settings of places that are named; SIM alone stands for both sides, whatever a file says of the real one."""
    places = [str(place) for place in real]
    named: object = places[0] if len(places) == 1 else places
    return {"sim": str(sim) if sim else None, "real": named if places else "" if sim else None}


def prepare(
    recipe: str | None,
    file: Mapping[str, Any] | None = None,
    sets: Iterable[str] = (),
    *,
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    notify: Callable[[str], None] = lambda _line: None,
    **flags: object,
) -> "Config":
    """The settings of a training that can begin, or go on, as far as a look at them and at its folders tells.

    Args:
        recipe: Name of the recipe; this and all that follows as of :func:`sim2real.config.resolve`.
        file: What sim2real.toml says.
        sets: ``key=value``.
        settings: What is laid over those.
        resume: Go on with the run in the run folder, with its own settings and what a run may change.
        notify: As of :func:`suited`.
        flags: Settings that override all.

    Raises:
        Sim2RealError: It cannot.
    """
    from sim2real.config import resolve

    sets = list(sets)
    config = resolve(recipe, file, sets, None, settings, **flags)
    if resume:
        config = resumed(config.run_folder, recipe, file, sets, settings, **flags)
    check_training(config, begins=not resume)
    return config if resume else suited(config, recipe, file, sets, settings, notify=notify, **flags)


def suited(
    config: "Config",
    recipe: str | None,
    file: Mapping[str, Any] | None = None,
    sets: Iterable[str] = (),
    settings: Mapping[str, Any] | None = None,
    *,
    notify: Callable[[str], None] = lambda _line: None,
    **flags: object,
) -> "Config":
    """The settings of a training that begins: by the recipe ``labelled`` if all simulated images have masks.

    That is if nobody names a recipe, nor a method or a discriminator that would not be its own. The run folder stays
    that of the recipe ``default``, where all commands look for it.

    Args:
        config: What :func:`sim2real.config.resolve` makes of all that follows.
        recipe: As there.
        file: As there.
        sets: As there.
        settings: As there.
        notify: Called with a line on the choice.
        flags: As there.

    Raises:
        Sim2RealError: There are no simulated images.
    """
    from sim2real.config import DEFAULT, named_recipe, resolve
    from sim2real.datasets.sources import open_folder

    sets, default = list(sets), resolve()
    if (
        named_recipe(recipe, file, sets, settings)
        or config.method.name != default.method.name
        or config.discriminator.name != default.discriminator.name
        or not config.discriminator.options.keys() <= resolve(LABELLED).discriminator.options.keys()
    ):
        return config
    data = config.data
    frames = open_folder(config.sim_place, data.sim_include, data.sim_exclude, data.sim_as_image).frames
    if not all("segmentation" in frame.labels for frame in frames):
        return config
    notify(f"all simulated frames have masks: recipe {LABELLED}; {DEFAULT} sees none and learns the way back, too")
    flags["run"] = str(config.run_folder)
    return resolve(LABELLED, file, sets, None, settings, **flags)


def resumed(
    folder: Path,
    recipe: str | None,
    file: Mapping[str, Any] | None = None,
    sets: Iterable[str] = (),
    settings: Mapping[str, Any] | None = None,
    **flags: object,
) -> "Config":
    """The settings of a run that goes on: its own, and of what is named now only what a run may change.

    Raises:
        Sim2RealError: There is no run in the folder, or a setting differs that it may not change.
    """
    from sim2real.config import require_registered, resolve
    from sim2real.training.run import RunFolder

    run = RunFolder(folder)
    own = run.read_config()
    require_registered(own, str(run.config_file))
    base = own.model_dump(mode="json", exclude_none=True)
    new = resolve(recipe, file, sets, base, settings, **flags)
    refuse_changes(folder, new)
    return new


def refuse_changes(folder: Path, new: "Config") -> None:
    """Make sure that a run would go on with its own settings.

    Raises:
        Sim2RealError: There is no run in the folder, or a setting differs that a run may not change.
    """
    from sim2real.config import differences
    from sim2real.training.run import RunFolder

    if changed := differences(RunFolder(folder).read_config(), new):
        raise SettingsError(
            f"{folder}: a run keeps its settings when it is resumed: {'; '.join(changed[:3])}; "
            "repeat those that it was begun with, or begin another --run"
        )


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
