"""Write the generators of a training to files."""

import filecmp
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sim2real import __version__
from sim2real.config import Config
from sim2real.errors import ImageError, Sim2RealError
from sim2real.files import write_whole
from sim2real.imageio import Encoding, read_encoding, typical
from sim2real.model import GeneratorInfo, read_info, save_generator, with_camera
from sim2real.networks import RangeAdapter

BOOKS: Any = {
    **dict.fromkeys(("sim", "real", "run", "start_from", "device", "convert", "log", "checkpoint", "sample"), True),
    "data": {"workers", "cache", "translations"},
}
"""The settings that do not change the generators, as ``model_dump(exclude=...)`` takes them."""

_SAMPLE = 200  # the approximate number of images whose encoding is read


def file_name(direction: str) -> str:
    """Return the file name of a direction's generator."""
    return f"{direction}.safetensors"


def write_generators(
    folder: Path,
    generators: Mapping[str, RangeAdapter],
    config: Config,
    fingerprint: str,
    real_encoding: tuple[Encoding, ...] | None = None,
) -> None:
    """Write each generator with the settings to rebuild it; equal trainings give equal bytes."""
    settings = config.model_dump(mode="json", exclude=BOOKS)
    for direction, generator in generators.items():
        info = GeneratorInfo(
            name=config.generator.name,
            options=config.generator.options,
            value_range=getattr(generator.network, "value_range", (-1.0, 1.0)),
            direction=direction,
            recipe=config.recipe,
            settings=settings,
            fingerprint=fingerprint,
            tool_version=__version__,
            real_encoding=real_encoding,
        )
        save_generator(folder / file_name(direction), generator.network, info)


def usual_encoding(images: Sequence[Path], frames: Path) -> tuple[Encoding, ...]:
    """Return the most typical JPEG encoding in a sample of images; an empty tuple if there are no JPEG files.

    Args:
        images: The files; unreadable ones are skipped.
        frames: Folder of the frames that were extracted from videos; they are skipped, as their encoding is not their
            camera's.
    """
    files, found = [path for path in images if frames not in path.parents], []
    for path in files[:: -(-len(files) // _SAMPLE) or 1]:
        with suppress(ImageError):
            found.append(read_encoding(path))
    encodings = [each for each in found if each]
    return (typical(encodings),) if encodings else ()


def copy_generators(source: Path, target: Path, directions: Mapping[str, object]) -> None:
    """Copy the files of generators from one folder to another, each written as a whole or not at all."""
    for name in map(file_name, directions):
        write_whole(target / name, (source / name).read_bytes())


def is_given(source: Path, target: Path) -> bool:
    """Return whether ``target`` is the generator ``source``, with a camera or without."""
    if not source.is_file() or not target.is_file():
        return False
    if filecmp.cmp(source, target, shallow=False):
        return True
    with suppress(Sim2RealError):
        return with_camera(source, read_info(target).camera) == target.read_bytes()
    return False
