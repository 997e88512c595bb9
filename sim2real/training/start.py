"""Start a training with the weights of existing generators."""

from collections.abc import Mapping
from pathlib import Path

from sim2real.errors import SettingsError
from sim2real.foreign import Recognised, default_direction, generator_of
from sim2real.model import DIRECTIONS, find_model, is_generator_file, load_generator, read_info
from sim2real.networks import RangeAdapter


def existing_generators(place: Path) -> dict[str, Recognised]:
    """Return the generators of a run folder or a file, by direction.

    Args:
        place: A run folder, a ``.safetensors`` file of a run, or a file of another program.

    Raises:
        Sim2RealError: If there is no generator, or it cannot be read.
    """
    if not (place.is_dir() or is_generator_file(place)):
        network, found = generator_of(place)
        return {default_direction(place): Recognised.of(network, found.generator, found.options, found.recipe)}
    if place.is_dir():
        files = {name: file for name in DIRECTIONS if (file := place / f"{name}.safetensors").is_file()}
    else:
        files = {read_info(place).direction: place}
    if not files:
        find_model(place, None)  # which says what is missing
    result = {}
    for direction, file in files.items():
        network, info = load_generator(file)
        result[direction] = Recognised.of(network.get_submodule("network"), info.name, info.options, info.recipe)
    return result


def load_start(generators: Mapping[str, RangeAdapter], place: Path) -> list[str]:
    """Load the weights of existing generators and return notes on the generators that start with random weights.

    Raises:
        SettingsError: If a generator has other weights.
    """
    found, notes = existing_generators(place), []
    if generators.keys().isdisjoint(found):
        raise SettingsError(
            f"{place}: translates {', '.join(found)}, and this training learns {', '.join(generators)} alone; use a "
            "recipe that learns both ways, such as default or cyclegan"
        )
    for direction, generator in generators.items():
        if direction not in found:
            notes.append(f"{direction} starts with random weights: {place} has no such generator")
            continue
        try:
            generator.network.load_state_dict(found[direction].weights)
        except RuntimeError as error:
            message = f"{place}: its {direction} generator has other weights than the one in the settings"
            raise SettingsError(f"{message}; leave out settings of the generator") from error
    return notes
