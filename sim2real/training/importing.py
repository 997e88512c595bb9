"""Write generators of other programs into run folders."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from sim2real.datasets import Role, open_dataset
from sim2real.datasets.translated import GENERATOR, Pairs, match
from sim2real.errors import DatasetError, Sim2RealError
from sim2real.foreign import NAMED_BY_EPOCH, Recognised, build, generator_of
from sim2real.imageio import is_image
from sim2real.model import DIRECTIONS, info_of, load_generator, read_info, save_generator
from sim2real.places import absent, is_run
from sim2real.training.card import Generator, write_card
from sim2real.training.results import file_name
from sim2real.training.run import RunFolder


def default_run(file: Path) -> Path:
    """Return the run folder for a file: named like the file, or like its folder if it has the name of an epoch."""
    if file.is_dir():
        return Path("runs") / file.resolve().name
    stem = file.resolve().parent.name if NAMED_BY_EPOCH.fullmatch(file.stem) else file.stem
    return Path("runs") / (stem or file.stem)


def import_run(
    file: Path,
    run: Path,
    *,
    direction: str,
    generator: str | None = None,
    sets: Iterable[str] = (),
    key: str | None = None,
    recipe: str | None = None,
    notify: Callable[[str], None] = lambda _line: None,
) -> tuple[Path, Recognised]:
    """Write a generator of another program into a run folder, like a trained one, and the model card of the run.

    A second file with the other direction can be added to the run of an import.

    Args:
        file: As for :func:`generator_of`.
        run: The run folder.
        direction: ``"sim2real"`` or ``"real2sim"``.
        generator: As for :func:`generator_of`.
        sets: As for :func:`generator_of`.
        key: As for :func:`generator_of`.
        recipe: As for :func:`generator_of`.
        notify: Called with a line for the user if there is one.

    Returns:
        The generator file, and the network that was recognised.

    Raises:
        Sim2RealError: If the file cannot be read or is of no known network, or the run has that generator already.
    """
    network, found = generator_of(file, generator, sets, key, recipe)
    return _write(file, run, direction, network, found, notify), found


def _write(  # noqa: PLR0917
    file: Path, run: Path, direction: str, network: nn.Module, found: Recognised, notify: Callable[[str], None]
) -> Path:
    """Write a generator and its card into a run folder, a new one or that of an import in the other direction."""
    folder = RunFolder(run)
    target = run / file_name(direction)
    others = {file: read_info(file) for file in run.glob("*.safetensors")} if is_run(run) else {}
    begun = folder.checkpoints.folder.exists() or folder.metrics_file.exists()
    if is_run(run) and not begun and all(info.imported for info in others.values()):
        if target in others:
            raise Sim2RealError(f"{run}: has a {target.name} already; choose another --run or --direction")
        own = (found.generator, found.options)
        if other := next((info for info in others.values() if (info.name, info.options) != own), None):
            raise Sim2RealError(
                f"{run}: its {other.direction} generator is '{other.name}' with the options {other.options}, this is "
                f"'{found.generator}' with {found.options}; choose another --run"
            )
    elif run.exists() and any(run.iterdir()):
        raise Sim2RealError(f"{run}: exists already; choose another --run")
    run.mkdir(parents=True, exist_ok=True)
    config = found.settings().model_copy(update={"run": str(run)})
    folder.write_config(config)
    info = info_of(file, network, found, direction)
    generators = {direction: Generator.of(network, info)}
    generators |= {other.direction: Generator.of(*load_generator(path)) for path, other in others.items()}
    ordered = {each: generators[each] for each in DIRECTIONS if each in generators}
    for note in write_card(run, config, ordered):
        notify(note)
    save_generator(target, network, info)
    return target


def import_frames(
    source: Path,
    translated: Path,
    run: Path,
    *,
    by: str | None = None,
    dataset: str | None = None,
    notify: Callable[[str], None] = lambda _line: None,
) -> tuple[Path, Pairs]:
    """Write a run whose generator shows the frames that another program translated.

    Args:
        source: The dataset.
        translated: Folder of the translated images, of any size; labels next to them are ignored.
        run: The run folder.
        by: ``"path"``, ``"order"``, or None, see :func:`sim2real.datasets.translated.match`.
        dataset: Layout of the dataset; None: recognised.
        notify: Called with a line for the user if there is one.

    Returns:
        The generator file, and the pairs.

    Raises:
        Sim2RealError: If the dataset or the folder cannot be read, no translation fits a frame, or the run exists.
    """
    if not translated.is_dir():
        raise Sim2RealError(f"{absent(translated)}; name the folder of the translated images")
    frames = [frame.image for frame in open_dataset(source, dataset).frames() if frame.side in {None, "sim"}]
    if not frames:
        raise DatasetError(f"{source}: holds no simulated images; name the dataset whose frames were translated")
    files, pairs = _match(frames, translated, by)
    if not pairs.found:
        raise DatasetError(
            f"{translated}: none of its {len(files)} images has the name of one of the {len(frames)} frames of "
            f"{source}, such as {frames[0]}; rename them, or add --match order if there are as many"
        )
    options = {"folder": str(translated.resolve()), "frames": dict(pairs.found)}
    found = Recognised(
        generator=GENERATOR,
        options=options,
        recipe="cyclegan",
        weights={},
        description=f"{len(pairs.found)} frames of {source.resolve().name}",
        transfer="guided",
    )
    return _write(translated, run, DIRECTIONS[0], build(found), found, notify), pairs


def _match(frames: Sequence[str], translated: Path, by: str | None) -> tuple[Sequence[str], Pairs]:
    """Return the images of a folder without its labels, and their pairs.

    Images that only look like labels, e.g. grey ones, are translations if more frames are found by path with them.
    """
    dataset = open_dataset(translated)
    roles = {path: role for path, role in dataset.files() if is_image(path)}
    files = [path for path, role in roles.items() if role in {Role.IMAGE, Role.AUX}]
    pairs = match(frames, files, by)
    doubtful = dataset.non_photos.roles.keys()
    if doubtful and by != "order":
        more = sorted({*files, *doubtful})
        others = match(frames, more, "path")
        if len(others.found) > (len(pairs.found) if pairs.by == "path" else 0):
            return more, replace(others, unused=[path for path in others.unused if path not in doubtful])
    return files, pairs
