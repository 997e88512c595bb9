"""What a conversion leaves to the program: chosen once, from the whole plan, and kept by every rerun."""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from sim2real.capabilities import Capabilities, capabilities
from sim2real.conversion.trial import ReadInputs, fastest_engine, no_inputs, safe_precision
from sim2real.devices import free_memory, kind_of, resolve_device, resolve_precision
from sim2real.engines.base import EngineSettings
from sim2real.engines.cost import Cost, cost_of
from sim2real.engines.guided import shrunk_size
from sim2real.engines.tiling import check_tiling
from sim2real.errors import ImageError, SettingsError
from sim2real.imageio import read_header
from sim2real.model import load_generator
from sim2real.registry import registry

if TYPE_CHECKING:
    from torch import nn

    from sim2real.conversion.manifest import Record
    from sim2real.conversion.options import ConvertOptions

Notify = Callable[[str], None]

_PIXELS_AT_ONCE = 4_000_000  # on a GPU; about 8 frames of KITTI, one of 4K
_SAMPLE = 1000  # images whose sizes stand for those of all
_SIZES = 4  # so many sizes are compiled for
_SHARE_OF_MEMORY = {"cpu": 0.5, "cuda": 0.8, "mps": 0.5}  # of what is free now, for the maps of the frames in hand
_OVER_MAPS = 1.5  # what a device needs in all, over the maps themselves
_TILE = (128, 1024)  # the smallest and the largest that are chosen
_WORTH_COMPILING = {
    "cpu": 4e13,
    "cuda": 4e15,
}  # multiplications that repay a minute: 110 frames of 1242x375 by ResNet-9
_WORTH_TRYING = {"cpu": 1e13, "cuda": 1e15, "mps": 1e14}  # those that repay trying every engine


class ResolvedSettings(TypedDict):
    """The part of the record that may be chosen automatically."""

    engine: str
    device: str
    precision: str
    batch_size: int
    compile: list[list[int]]
    tile: int
    tile_above: int


def resolve_settings(  # noqa: PLR0917  what is said, what was chosen, and what it is about
    options: "ConvertOptions",
    kept: "Record | None",
    model: Path,
    images: Sequence[Path],
    notify: Notify,
    read: ReadInputs = no_inputs,
    guided_size: int = 0,
    neighbours: int = 0,
) -> tuple[str, ResolvedSettings]:
    """Choose what the user leaves open.

    Args:
        options: What the user says.
        kept: What was chosen when the conversion began, if it did.
        model: The generator file.
        images: All images to translate.
        notify: Called with a line on what the user would wonder at.
        read: The labels of an image that the generator sees.
        guided_size: Pixels of the longer side of what it sees of a frame where the transfer is guided, else 0.
        neighbours: Over how many frames before and behind it what is done to a frame is averaged.

    Returns:
        The very device, and what the record says of it and the rest.

    Raises:
        Sim2RealError: What the user says cannot be.
    """
    requested = {name: getattr(options, name) for name in ("engine", "device", "precision")}
    if kept:
        requested = {name: getattr(kept, name) if value == "auto" else value for name, value in requested.items()}
    device = resolve_device(requested["device"])
    kind = kind_of(device)
    precision: str = resolve_precision(requested["precision"], device)
    if kept:
        tile, above = (kept.tile, kept.tile_above) if options.tile == "auto" else (options.tile_side, 0)
        return device, {
            "engine": registry().entry("engines", requested["engine"]).name,
            "device": kind,
            "precision": precision,
            "batch_size": options.batch_size or kept.batch_size,
            "compile": kept.compile if requested["engine"] == "torch" else [],
            "tile": tile,
            "tile_above": above,
        }
    generator, info = load_generator(model)
    can = capabilities(generator, info.name)
    in_halves = neighbours > 0 and not guided_size  # which torch alone knows
    _check_requested(can, info.name, requested["engine"], options, guided_size, in_halves=in_halves)
    place, its_kind = ("cpu", "cpu") if can.cpu_only else (device, kind)  # where it is at work
    if requested["precision"] == "auto":
        precision = (
            "fp32" if can.cpu_only else safe_precision(generator, device, precision, images, notify, read, guided_size)
        )
    tile, above, compiled = options.tile_side, 0, []
    if tile:
        check_tiling(generator)
    cost = _foreseen_cost(generator, notify) if can.exportable else Cost(0, 0)
    sizes = _sizes(images, guided_size)
    work = {size: cost.work * size[0] * size[1] * count for size, count in sizes.items()}
    fixed = in_halves or can.stochastic or can.of_sequences or not can.exportable  # so that it is not compiled
    if requested["engine"] in {"auto", "torch"} and not fixed and _compiler(its_kind):
        compiled = [size for size in sizes if work[size] >= _WORTH_COMPILING[its_kind]][:_SIZES]
    pixels = _affordable_pixels(cost, place, precision)
    if options.tile == "auto" and pixels and not can.whole_pictures and not guided_size:
        tile, above = _power_of_two(int(pixels**0.5) // 4, *_TILE), pixels
    engine = requested["engine"]
    if engine == "auto":
        engine = "torch"
        if can.exportable and not in_halves and sum(work.values()) >= _WORTH_TRYING[its_kind]:
            settings = EngineSettings(device=place, precision=precision, compile=tuple(compiled))
            engine = fastest_engine(generator, settings, images, notify, read, guided_size)
    frequent = next(iter(sizes), None)
    return device, {
        "engine": registry().entry("engines", engine).name,
        "device": kind,
        "precision": precision,
        "batch_size": 1 if can.of_sequences else options.batch_size or _batch_size(its_kind, frequent, pixels),
        "compile": [list(size) for size in compiled] if engine == "torch" else [],
        "tile": tile,
        "tile_above": above,
    }


def _check_requested(
    can: Capabilities, name: str, engine: str, options: "ConvertOptions", guided_size: int, *, in_halves: bool
) -> None:
    """Make sure that nothing is asked of a generator that it cannot do."""
    alone = in_halves or not can.exportable
    if alone and registry().entry("engines", "torch" if engine == "auto" else engine).name != "torch":
        message = f"--engine {engine}: the generator '{name}' is run by torch alone"
        if can.exportable:
            message += " where its grids are averaged over neighbouring frames; say --neighbours 0, or"
        else:
            message += ";"
        raise SettingsError(f"{message} leave out --engine")
    if guided_size and options.tile_side:
        message = f"--tile {options.tile}: the transfer is guided, so the generator sees whole frames at {guided_size}"
        raise SettingsError(f"{message} pixels; leave out --tile, or say --transfer direct")
    if can.whole_pictures and options.tile_side:
        raise SettingsError(f"--tile {options.tile}: the generator '{name}' looks at whole frames; leave out --tile")


def _foreseen_cost(generator: "nn.Module", notify: Notify) -> Cost:
    """What a generator needs, nothing if nobody knows."""
    try:
        return cost_of(generator)
    except RuntimeError as error:
        notify(f"what this generator needs cannot be foreseen, so no tiles and no compilation are chosen: {error}")
        return Cost(0, 0)


def _sizes(images: Sequence[Path], guided_size: int) -> dict[tuple[int, int], int]:
    """About how many images the generator sees of each size (W, H), the most frequent first."""
    step = -(-len(images) // _SAMPLE)
    counts = Counter[tuple[int, int]]()
    for image in images[::step]:
        try:
            header = read_header(image)
        except ImageError:
            continue
        size = header.width, header.height
        counts[shrunk_size(size, guided_size) if guided_size else size] += step
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _compiler(kind: str) -> bool:
    """Whether torch.compile can be hoped to work; if it does not in the end, that is told."""
    return kind == "cuda" or (kind == "cpu" and any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl")))


def _affordable_pixels(cost: Cost, device: str, precision: str) -> int:
    """The largest picture that memory suffices for, in pixels; 0 if nobody knows."""
    if not cost.memory:
        return 0
    size = cost.memory * _OVER_MAPS * (1 if precision == "fp32" else 0.5)
    share = _SHARE_OF_MEMORY[kind_of(device)]
    return _power_of_two(int(free_memory(device) * share / size), 1)  # coarse, so that it is the same next time


def _power_of_two(number: int, least: int, most: int | None = None) -> int:
    """The next smaller power of two, within bounds."""
    power = 1 << max(number.bit_length() - 1, 0)
    return max(least, power if most is None else min(power, most))


def _batch_size(kind: str, size: tuple[int, int] | None, pixels: int) -> int:
    """How many frames at once: one on a CPU, which a frame keeps busy; on a GPU what suits the most frequent size."""
    if kind == "cpu" or size is None:
        return 1
    return min(max(min(_PIXELS_AT_ONCE, pixels or _PIXELS_AT_ONCE) // (size[0] * size[1]), 1), 8)
