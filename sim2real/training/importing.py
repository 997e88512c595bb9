"""Write generators of other programs into run folders."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from sim2real.errors import Sim2RealError
from sim2real.foreign import Recognised, generator_of
from sim2real.model import DIRECTIONS, info_of, load_generator, save_generator
from sim2real.places import is_run
from sim2real.training.card import Generator, write_card
from sim2real.training.results import file_name
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
    notify: Callable[[str], None] = lambda _line: None,
) -> tuple[Path, Recognised]:
    """Write a generator of another program into a run folder, like a trained one, and the model card of the run.

    A second file with the other direction can be added to the run of an import.

    Args:
        file: A ``.pth`` or ``.safetensors`` file.
        run: The run folder.
        direction: ``"sim2real"`` or ``"real2sim"``.
        generator: As for :func:`generator_of`.
        sets: As for :func:`generator_of`.
        key: As for :func:`generator_of`.
        notify: Called with a line for the user if there is one.

    Returns:
        The generator file, and the network that was recognised.

    Raises:
        Sim2RealError: If the file cannot be read or is of no known network, or the run has that generator already.
    """
    network, found = generator_of(file, generator, sets, key)
    folder = RunFolder(run)
    target = run / f"{direction}.safetensors"
    if is_run(run) and not folder.checkpoints.folder.exists():  # of an import, perhaps of one that was killed
        if target.exists():
            raise Sim2RealError(f"{run}: has a {target.name} already; choose another --run or --direction")
    else:
        folder.create(found.settings().model_copy(update={"run": str(run)}))
    info = info_of(file, network, found, direction)
    generators = {direction: Generator.of(network, info)}
    for other in DIRECTIONS:
        if other != direction and (path := run / file_name(other)).is_file():
            generators[other] = Generator.of(*load_generator(path))
    ordered = {each: generators[each] for each in DIRECTIONS if each in generators}
    for note in write_card(run, folder.read_config(), ordered):
        notify(note)
    save_generator(target, network, info)
    return target, found
