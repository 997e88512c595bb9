"""Check the settings and the images of a training before it starts or resumes.

Heavy imports are avoided, so that mistakes are reported at once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim2real.errors import SettingsError, Sim2RealError
from sim2real.files import check_writable
from sim2real.places import any_file, command_line, is_run

if TYPE_CHECKING:
    from sim2real.config import Config

LABELLED = "labelled"
"""The recipe that is used if none is given and all simulated images have masks."""


def sides(sim: str | Path | None, real: Sequence[str | Path]) -> dict[str, Any]:
    """Return the settings for the given places; SIM alone stands for both sides, whatever real side a file names."""
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
    """Return the settings of a training after checking them and its folders.

    Args:
        recipe: Name of the recipe; this and the other settings are those of :func:`sim2real.config.resolve`.
        file: Contents of sim2real.toml.
        sets: Settings as ``key=value``.
        settings: Settings that override those.
        resume: Whether to resume the run in the run folder, with its own settings and those that a run may change.
        notify: Called with a line for the user, see :func:`suited`.
        flags: Settings that override all others.

    Raises:
        Sim2RealError: If the training cannot start or resume.
    """
    from sim2real.config import resolve

    sets = list(sets)
    config = resolve(recipe, file, sets, None, settings, **flags)
    if resume:
        folder = run_folder_of(config, recipe, file, sets, settings, **flags)
        config = resumed(folder, recipe, file, sets, settings, **flags | {"run": str(folder)})
        check_places(config, begins=False)
        return config
    if config.run:
        check_run_folder(config.run_folder)
    check_places(config, begins=True)
    config = suited(config, recipe, file, sets, settings, notify=notify, **flags)
    if not config.run:
        check_run_folder(config.run_folder)
    return config


def run_folder_of(
    config: "Config",
    recipe: str | None,
    file: Mapping[str, Any] | None = None,
    sets: Iterable[str] = (),
    settings: Mapping[str, Any] | None = None,
    **flags: object,
) -> Path:
    """Return the run folder of a training that may have begun.

    If neither the folder nor the recipe is named, it is that of the recipe which :func:`suited` takes; without
    simulated images to tell, that of ``labelled`` or ``default``, whichever was trained last.

    Args:
        config: The settings that :func:`sim2real.config.resolve` makes of the other arguments.
        recipe: As for ``resolve``.
        file: As for ``resolve``.
        sets: As for ``resolve``.
        settings: As for ``resolve``.
        flags: As for ``resolve``.

    Raises:
        Sim2RealError: If the simulated images cannot be listed.
    """
    from sim2real.config import DEFAULT, named_recipe
    from sim2real.training.run import RunFolder

    sets = list(sets)
    if config.run or named_recipe(recipe, file, sets, settings):
        return config.run_folder
    files = [RunFolder(config.run_folder.with_name(name)).config_file for name in (LABELLED, DEFAULT)]
    begun = [path for path in files if path.is_file()]
    if config.sim and (begun or config.start_from):  # else a new training lists the simulated images anyway
        others: dict[str, Any] = flags
        return suited(config, recipe, file, sets, settings, **others).run_folder
    return max(begun, key=lambda path: path.stat().st_mtime).parent if begun else config.run_folder


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
    """Return the settings of a new training: those of the recipe ``labelled`` if all simulated images have masks.

    A training that starts with existing generators has their settings, see :func:`started`.

    The recipe is replaced only if none was named and the method and the discriminator are those of ``default``, with
    discriminator options that ``labelled`` has as well.

    Args:
        config: The settings that :func:`sim2real.config.resolve` makes of the other arguments.
        recipe: As for ``resolve``.
        file: As for ``resolve``.
        sets: As for ``resolve``.
        settings: As for ``resolve``.
        notify: Called with a line about the choice.
        flags: As for ``resolve``.

    Raises:
        Sim2RealError: If there are no simulated images.
    """
    from sim2real.config import DEFAULT, named_recipe, resolve
    from sim2real.datasets.sources import open_folder

    sets, default = list(sets), resolve()
    if config.start_from:
        return started(config, recipe, file, sets, settings, **flags)
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
    notify(f"all simulated frames have masks: recipe {LABELLED}; {DEFAULT} ignores them and learns real2sim as well")
    return resolve(LABELLED, file, sets, None, settings, **flags)


def started(
    config: "Config",
    recipe: str | None,
    file: Mapping[str, Any] | None = None,
    sets: Iterable[str] = (),
    settings: Mapping[str, Any] | None = None,
    **flags: object,
) -> "Config":
    """Return the settings of a training that starts with existing generators: with their network and recipe.

    Args:
        config: The settings that :func:`sim2real.config.resolve` makes of the other arguments.
        recipe: As for ``resolve``; None, with no recipe in the other arguments: that of the generators.
        file: As for ``resolve``.
        sets: As for ``resolve``.
        settings: As for ``resolve``.
        flags: As for ``resolve``.

    Raises:
        Sim2RealError: If there is no generator, or the settings name another network.
    """
    from sim2real.config import named_recipe, resolve
    from sim2real.config.sections import Component
    from sim2real.training.start import existing_generators

    sets = list(sets)
    found = next(iter(existing_generators(Path(config.start_from)).values()))
    own = Component(name=found.generator, options=found.options)
    config = resolve(named_recipe(recipe, file, sets, settings) or found.recipe, file, sets, None, settings, **flags)
    if config.generator not in (own, resolve(config.recipe).generator):
        raise SettingsError(
            f"{config.start_from}: the training starts with this generator, '{own.name}' with the options "
            f"{own.options}; leave out other settings of the generator"
        )
    return config.model_copy(update={"generator": own})


def resumed(
    folder: Path,
    recipe: str | None,
    file: Mapping[str, Any] | None = None,
    sets: Iterable[str] = (),
    settings: Mapping[str, Any] | None = None,
    **flags: object,
) -> "Config":
    """Return the settings of a resumed run: its own, updated by those given now that a run may change.

    Raises:
        Sim2RealError: If there is no run in the folder, or a setting differs that a run may not change.
    """
    from sim2real.config import require_registered, resolve
    from sim2real.training.run import RunFolder

    run = RunFolder(folder)
    own = run.read_config()
    require_registered(own, str(run.config_file))
    base = own.model_dump(mode="json", exclude_none=True)
    new = resolve(recipe, file, sets, base, settings, **flags)
    refuse_changes(folder, new)
    return with_kept_choices(new, own)


def with_kept_choices(config: "Config", own: "Config") -> "Config":
    """Return settings in which the precision and the compilation ``"auto"`` are what the run has chosen."""
    kept = {name: getattr(own, name) for name in ("precision", "compile") if getattr(config, name) == "auto"}
    return config.model_copy(update=kept)


def refuse_changes(folder: Path, new: "Config") -> None:
    """Make sure that a run would resume with its own settings.

    Raises:
        Sim2RealError: If there is no run in the folder, or a setting differs that a run may not change.
    """
    from sim2real.config import differences
    from sim2real.training.run import RunFolder

    refuse_imported(folder)
    own = RunFolder(folder).read_config()
    if changed := differences(own, with_kept_choices(new, own)):
        raise SettingsError(
            f"{folder}: a run keeps its settings when it is resumed: {'; '.join(changed[:3])}; "
            "use the settings that it was started with, or start another --run",
            topic="stop-and-resume",
        )


def refuse_imported(folder: Path) -> None:
    """Make sure that a run was trained here: an import has no training to resume.

    Raises:
        SettingsError: If its generators were imported.
    """
    from sim2real.model import DIRECTIONS, read_info
    from sim2real.training.run import RunFolder

    files = [file for direction in DIRECTIONS if (file := folder / f"{direction}.safetensors").is_file()]
    if not RunFolder(folder).checkpoints.folder.exists() and any(read_info(file).imported for file in files):
        start = command_line("sim2real", "train", "SIM", "REAL", "--from", folder, "--run", "runs/NAME")
        raise SettingsError(
            f"{folder}: imported, so its training cannot be resumed; start another one with it: {start}",
            topic="stop-and-resume",
        )


def check_images(place: Path, layout: str | None = None, *, videos: bool = False) -> None:
    """Make sure that there are images at a place; the search stops at the first one.

    Args:
        place: A folder.
        layout: Registered name of the layout, if the user gave one.
        videos: Whether a video or a folder of videos is accepted as well.

    Raises:
        Sim2RealError: If there are none.
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
    """Make sure that the images of a training exist and that its run folder can be written.

    Raises:
        Sim2RealError: If they do not, or it cannot.
    """
    if begins:
        check_run_folder(config.run_folder)
    check_places(config, begins=begins)


def check_run_folder(folder: Path) -> None:
    """Make sure that a training can begin in a folder.

    Raises:
        Sim2RealError: If it holds something, or cannot be written.
    """
    from sim2real.training.run import RunFolder

    RunFolder(folder).require_new()
    check_writable(folder)


def check_places(config: "Config", *, begins: bool) -> None:
    """Make sure that the images of a training exist, and if it begins that no image is on both sides.

    Raises:
        Sim2RealError: If they do not, or one is.
    """
    from sim2real.datasets import open_dataset
    from sim2real.datasets.sources import one_domain

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
    """Make sure that no image is on both sides if one folder is inside the other."""
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
            f"{both[0]}: an image of both SIM and REAL (and {len(both) - 1} more): {sim} and {real} overlap; name two "
            "separate folders, or exclude images from a side with data.sim_exclude or data.real_exclude",
            topic="several-folders-and-videos",
        )
