"""Settings that the user leaves open; they are chosen once for the whole conversion and kept by every rerun."""

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict

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
_SAMPLE = 1000  # images whose sizes are read
_SIZES = 4  # most sizes that an engine is compiled for
_SHARE_OF_MEMORY = {"cpu": 0.5, "cuda": 0.8, "mps": 0.5}  # of the free memory, for feature maps
_OVER_MAPS = 1.5  # total memory per memory of feature maps
_TILE = (128, 1024)  # smallest and largest side that is chosen


class ResolvedSettings(TypedDict):
    """The fields of the record that may be chosen automatically."""

    engine: str
    device: str
    precision: str
    batch_size: int
    compile: list[list[int]]
    tile: int
    tile_above: int


def _compiler(kind: str) -> bool:
    """Return whether torch.compile is expected to work here; a later failure is reported."""
    return kind == "cuda" or (kind == "cpu" and any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl")))


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """The facts that automatic choices depend on; the defaults ask this machine.

    Attributes:
        free_memory: Returns the free memory of a device in bytes.
        precision: Returns the precision for a requested one and a device.
        cost_of: Returns the cost of a generator; raises RuntimeError if it cannot be estimated.
        fastest_engine: Returns the engine that wins a trial.
        compiler: Returns whether torch.compile is expected to work on a kind of device.
        worth_compiling: Kind of device -> multiplications that are worth a minute of compilation; 4e13 are
            110 frames of 1242x375 with ResNet-9.
        worth_trying: Kind of device -> multiplications that are worth a trial of every engine.
    """

    free_memory: Callable[[str], int] = free_memory
    precision: Callable[[str, str], str] = resolve_precision
    cost_of: "Callable[[nn.Module], Cost]" = cost_of
    fastest_engine: Callable[..., str] = fastest_engine
    compiler: Callable[[str], bool] = _compiler
    worth_compiling: Mapping[str, float] = field(default_factory=lambda: {"cpu": 4e13, "cuda": 4e15})
    worth_trying: Mapping[str, float] = field(default_factory=lambda: {"cpu": 1e13, "cuda": 1e15, "mps": 1e14})


THIS_MACHINE: Final = Machine()


def resolve_settings(  # noqa: PLR0917
    options: "ConvertOptions",
    kept: "Record | None",
    model: Path,
    images: Sequence[Path],
    notify: Notify,
    read: ReadInputs = no_inputs,
    guided_size: int = 0,
    neighbours: int = 0,
    machine: Machine = THIS_MACHINE,
) -> tuple[str, ResolvedSettings]:
    """Choose the settings that the user leaves open.

    Args:
        options: Options of the conversion.
        kept: Record of the conversion that is continued, or None.
        model: The generator file.
        images: All images to translate.
        notify: Called with a line for each notable event.
        read: Reads the labels of an image that the generator sees.
        guided_size: Longer side, in pixels, of the shrunk frame that the generator sees if the transfer is guided; else
            0.
        neighbours: Number of frames before and after a frame over which its changes are averaged.
        machine: The facts that the choices depend on.

    Returns:
        The exact device, and the fields of the record.

    Raises:
        Sim2RealError: If the options are impossible for this generator or machine.
    """
    requested = {name: getattr(options, name) for name in ("engine", "device", "precision")}
    if kept:
        requested = {name: getattr(kept, name) if value == "auto" else value for name, value in requested.items()}
    device = resolve_device(requested["device"])
    kind = kind_of(device)
    precision = machine.precision(requested["precision"], device)
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
    in_halves = neighbours > 0 and not guided_size  # supported only by the engine torch
    _check_requested(can, info.name, requested["engine"], options, guided_size, in_halves=in_halves)
    place, its_kind = ("cpu", "cpu") if can.cpu_only else (device, kind)  # where the generator runs
    if requested["precision"] == "auto":
        precision = (
            "fp32" if can.cpu_only else safe_precision(generator, device, precision, images, notify, read, guided_size)
        )
    tile, above, compiled = options.tile_side, 0, []
    if tile:
        check_tiling(generator)
    cost = _foreseen_cost(machine, generator, notify) if can.exportable else Cost(0, 0)
    sizes = _sizes(images, guided_size)
    work = {size: cost.work * size[0] * size[1] * count for size, count in sizes.items()}
    fixed = in_halves or can.stochastic or can.of_sequences or not can.exportable  # not compiled
    if requested["engine"] in {"auto", "torch"} and not fixed and machine.compiler(its_kind):
        compiled = [size for size in sizes if work[size] >= machine.worth_compiling[its_kind]][:_SIZES]
    pixels = _affordable_pixels(machine, cost, place, precision)
    if options.tile == "auto" and pixels and not can.whole_pictures and not guided_size:
        tile, above = _power_of_two(int(pixels**0.5) // 4, *_TILE), pixels
    engine = requested["engine"]
    if engine == "auto":
        engine = "torch"
        if can.exportable and not in_halves and sum(work.values()) >= machine.worth_trying[its_kind]:
            settings = EngineSettings(device=place, precision=precision, compile=tuple(compiled))
            engine = machine.fastest_engine(generator, settings, images, notify, read, guided_size)
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
    """Check that the options do not ask for anything that the generator cannot do."""
    alone = in_halves or not can.exportable
    if alone and registry().entry("engines", "torch" if engine == "auto" else engine).name != "torch":
        message = f"--engine {engine}: the generator '{name}' runs only with torch"
        if can.exportable:
            message += " where its grids are averaged over neighbouring frames; use --neighbours 0, or"
        else:
            message += ";"
        raise SettingsError(f"{message} leave out --engine")
    if guided_size and options.tile_side:
        message = f"--tile {options.tile}: the transfer is guided, so the generator sees whole frames at {guided_size}"
        raise SettingsError(f"{message} pixels; leave out --tile, or use --transfer direct")
    if can.whole_pictures and options.tile_side:
        raise SettingsError(f"--tile {options.tile}: the generator '{name}' looks at whole frames; leave out --tile")


def _foreseen_cost(machine: Machine, generator: "nn.Module", notify: Notify) -> Cost:
    """Return the cost of a generator; zero if it cannot be estimated."""
    try:
        return machine.cost_of(generator)
    except RuntimeError as error:
        notify(f"the cost of this generator cannot be estimated, so neither tiles nor compilation are chosen: {error}")
        return Cost(0, 0)


def _sizes(images: Sequence[Path], guided_size: int) -> dict[tuple[int, int], int]:
    """Return the approximate number of images per size (W, H) that the generator sees, the most frequent first."""
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


def _affordable_pixels(machine: Machine, cost: Cost, device: str, precision: str) -> int:
    """Return the size in pixels of the largest image that fits in memory; 0 if unknown."""
    if not cost.memory:
        return 0
    size = cost.memory * _OVER_MAPS * (1 if precision == "fp32" else 0.5)
    share = _SHARE_OF_MEMORY[kind_of(device)]
    return _power_of_two(int(machine.free_memory(device) * share / size), 1)  # coarse, so that it is equal next time


def _power_of_two(number: int, least: int, most: int | None = None) -> int:
    """Return the largest power of two that is not above the number, within bounds."""
    power = 1 << max(number.bit_length() - 1, 0)
    return max(least, power if most is None else min(power, most))


def _batch_size(kind: str, size: tuple[int, int] | None, pixels: int) -> int:
    """Return the frames per batch: one on a CPU, which one frame keeps busy; on a GPU it depends on the frame size."""
    if kind == "cpu" or size is None:
        return 1
    return min(max(min(_PIXELS_AT_ONCE, pixels or _PIXELS_AT_ONCE) // (size[0] * size[1]), 1), 8)
