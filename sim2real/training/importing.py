"""Write generators of other programs into run folders."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from torch import nn

from sim2real.datasets import open_dataset
from sim2real.datasets.translated import GENERATOR, Pairs, match
from sim2real.errors import DatasetError, Sim2RealError
from sim2real.foreign import Recognised, build, generator_of
from sim2real.imageio import is_image
from sim2real.model import DIRECTIONS, info_of, save_generator
from sim2real.places import absent, is_run
from sim2real.training.run import RunFolder

_NAMED_BY_EPOCH: Final = re.compile(r"(latest|best|\d+)_net_G(_[AB])?")


def default_run(file: Path) -> Path:
    """Return the run folder for a file: named like the file, or like its folder if it has the name of an epoch."""
    stem = file.resolve().parent.name if _NAMED_BY_EPOCH.fullmatch(file.stem) else file.stem
    return Path("runs") / (stem or file.stem)


def default_direction(file: Path) -> str:
    """Return the direction of a generator by its file's name: A is the simulation, as in CycleGAN folders."""
    match = _NAMED_BY_EPOCH.fullmatch(file.stem)
    return DIRECTIONS[1] if match and match[2] == "_B" else DIRECTIONS[0]


def import_run(
    file: Path,
    run: Path,
    *,
    direction: str,
    generator: str | None = None,
    sets: Iterable[str] = (),
    key: str | None = None,
) -> tuple[Path, Recognised]:
    """Write a generator of another program into a run folder, like a trained one.

    A second file with the other direction can be added to the run of an import.

    Args:
        file: A ``.pth`` or ``.safetensors`` file.
        run: The run folder.
        direction: ``"sim2real"`` or ``"real2sim"``.
        generator: As for :func:`generator_of`.
        sets: As for :func:`generator_of`.
        key: As for :func:`generator_of`.

    Returns:
        The generator file, and the network that was recognised.

    Raises:
        Sim2RealError: If the file cannot be read or is of no known network, or the run has that generator already.
    """
    network, found = generator_of(file, generator, sets, key)
    return _write(file, run, direction, network, found), found


def _write(file: Path, run: Path, direction: str, network: nn.Module, found: Recognised) -> Path:
    """Write a generator into a run folder, a new one or that of an import in the other direction."""
    folder = RunFolder(run)
    target = run / f"{direction}.safetensors"
    if is_run(run) and not folder.checkpoints.folder.exists():  # of an import, perhaps of one that was killed
        if target.exists():
            raise Sim2RealError(f"{run}: has a {target.name} already; choose another --run or --direction")
    else:
        folder.create(found.settings().model_copy(update={"run": str(run)}))
    save_generator(target, network, info_of(file, network, found, direction))
    return target


def import_frames(
    source: Path, translated: Path, run: Path, *, by: str | None = None, dataset: str | None = None
) -> tuple[Path, Pairs]:
    """Write a run whose generator shows the frames that another program translated.

    Args:
        source: The dataset.
        translated: Folder of the translated images, of any size.
        run: The run folder.
        by: ``"path"``, ``"order"``, or None, see :func:`sim2real.datasets.translated.match`.
        dataset: Layout of the dataset; None: recognised.

    Returns:
        The generator file, and the pairs.

    Raises:
        Sim2RealError: If the dataset or the folder cannot be read, no translation fits a frame, or the run exists.
    """
    if not translated.is_dir():
        raise Sim2RealError(f"{absent(translated)}; name the folder of the translated images")
    frames = [frame.image for frame in open_dataset(source, dataset).frames() if frame.side in {None, "sim"}]
    files = sorted(
        path.relative_to(translated).as_posix()
        for path in translated.rglob("*")
        if path.is_file() and is_image(path.name)
    )
    pairs = match(frames, files, by)
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
    return _write(translated, run, DIRECTIONS[0], build(found), found), pairs
