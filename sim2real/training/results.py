"""The generators that a training gives, as files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sim2real import __version__
from sim2real.config import Config
from sim2real.files import write_whole
from sim2real.model import GeneratorInfo, save_generator
from sim2real.networks import Ranged

_BOOKS: Any = {  # settings that do not change what comes out of a training
    **dict.fromkeys(("sim", "real", "run", "device", "convert", "log", "checkpoint", "sample"), True),
    "data": {"workers", "cache"},
}


def file_name(direction: str) -> str:
    """What the file of a direction's generator is called."""
    return f"{direction}.safetensors"


def write_generators(folder: Path, generators: Mapping[str, Ranged], config: Config, fingerprint: str) -> None:
    """Write each generator with what rebuilds it; equal trainings give equal bytes."""
    settings = config.model_dump(mode="json", exclude=_BOOKS)
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
        )
        save_generator(folder / file_name(direction), generator.network, info)


def copy_generators(source: Path, target: Path, directions: Mapping[str, object]) -> None:
    """Copy generators' files from a folder to another, each whole."""
    for name in map(file_name, directions):
        write_whole(target / name, (source / name).read_bytes())
