"""Settings that the user leaves open; they are chosen once for the whole conversion and kept by every rerun."""

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sim2real.conversion.options import CodecsChoice
from sim2real.conversion.resized_files import size_of
from sim2real.conversion.trial import fastest_codecs, fastest_engine, fastest_way, middle_frame, repays_compiling
from sim2real.devices import free_memory, kind_of, resolve_device, resolve_precision
from sim2real.engines.base import EngineSettings, ways_to_compute
from sim2real.engines.cost import Cost, cost_of
from sim2real.engines.guided import seen_size
from sim2real.engines.tiling import check_tiling
from sim2real.errors import SettingsError
from sim2real.imageio.nvjpeg import JpegCodecs, NoCodecsError, gpu_codecs
from sim2real.model import load_generator
from sim2real.registry import registry

if TYPE_CHECKING:
    from torch import nn

    from sim2real.conversion.manifest import Record
    from sim2real.conversion.options import ConvertOptions
    from sim2real.conversion.plan import Plan

Notify = Callable[[str], None]

_PIXELS_AT_ONCE = 4_000_000  # on a GPU; about 8 frames of KITTI, one of 4K
_SAMPLE = 1000  # images whose sizes are read
_SIZES = 4  # most sizes that an engine is compiled for
_SHARE_OF_MEMORY = {"cpu": 0.5, "cuda": 0.8, "mps": 0.5}  # of the free memory, for feature maps
_OVER_MAPS = 1.5  # total memory per memory of feature maps
_TILE = (128, 1024)  # smallest and largest side that is chosen


def _compiler(kind: str) -> bool:
    """Return whether torch.compile is expected to work here; a later failure is reported."""
    return kind == "cuda" or (kind == "cpu" and any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl")))


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """The facts that automatic choices depend on; the defaults ask this machine.

    Attributes:
        free_memory: Returns the free memory of a device in bytes.
        precision: Returns the precision for a requested one and a device.
        fastest_way: Returns the settings of the engine torch that win a trial.
        cost_of: Returns the cost of a generator; raises RuntimeError if it cannot be estimated.
        fastest_engine: Returns the engine that wins a trial.
        compiler: Returns whether torch.compile is expected to work on a kind of device.
        repays_compiling: Returns whether compilation wins a trial.
        codecs: Returns the JPEG codecs of a device for a quality; raises NoCodecsError if it has none.
        fastest_codecs: Returns the JPEG codecs that win a trial.
        worth_compiling: Kind of device -> multiplications that are worth a minute of compilation; 4e13 are
            110 frames of 1242x375 with ResNet-9.
        worth_trying: Kind of device -> multiplications that are worth a trial of every engine.
    """

    free_memory: Callable[[str], int] = free_memory
    precision: Callable[[str, str], str] = resolve_precision
    fastest_way: Callable[..., EngineSettings] = fastest_way
    cost_of: "Callable[[nn.Module], Cost]" = cost_of
    fastest_engine: Callable[..., str] = fastest_engine
    compiler: Callable[[str], bool] = _compiler
    repays_compiling: Callable[..., bool] = repays_compiling
    codecs: Callable[[str, int], JpegCodecs] = gpu_codecs
    fastest_codecs: Callable[..., tuple[CodecsChoice, dict[str, float]]] = fastest_codecs
    worth_compiling: Mapping[str, float] = field(default_factory=lambda: {"cpu": 4e13, "cuda": 4e15})
    worth_trying: Mapping[str, float] = field(default_factory=lambda: {"cpu": 1e13, "cuda": 1e15, "mps": 1e14})


THIS_MACHINE: Final = Machine()


def resolve_settings(
    plan: "Plan",
    options: "ConvertOptions",
    kept: "Record | None",
    notify: Notify,
    machine: Machine = THIS_MACHINE,
) -> "Plan":
    """Choose the settings that the user leaves open.

    Args:
        plan: The plan of the conversion, whose record has the settings as they were requested.
        options: Options of the conversion.
        kept: Record of the conversion that is continued, or None.
        notify: Called with a line for each notable event.
        machine: The facts that the choices depend on.

    Returns:
        The plan with the exact device, and with these settings in its record.

    Raises:
        Sim2RealError: If the options are impossible for this generator or machine.
    """
    record = plan.record
    if kept:
        names = [name for name in ("engine", "device", "precision") if getattr(record, name) == "auto"]
        record = replace(record, **{name: getattr(kept, name) for name in names}, original=kept.original)
    device = resolve_device(record.device)
    precision = machine.precision(record.precision, device)
    if kept:
        codecs = kept.codecs if record.codecs == "auto" else record.codecs
        record = replace(
            record,
            codecs=codecs,
            codecs_per_second=kept.codecs_per_second if codecs == kept.codecs else {},
            precision=precision,
            channels_last=kept.channels_last and precision == kept.precision,
            batch_size=record.batch_size or kept.batch_size,
            compile=kept.compile if record.engine == "torch" else [],
            tile=kept.tile if options.tile == "auto" else record.tile,
            tile_above=kept.tile_above if options.tile == "auto" else 0,
        )
    else:
        record = _choose(plan, options, device, precision, notify, machine)
    engine = registry().entry("engines", record.engine).name
    return replace(plan, device=device, record=replace(record, engine=engine, device=kind_of(device)))


def _choose(  # noqa: PLR0917
    plan: "Plan", options: "ConvertOptions", device: str, precision: str, notify: Notify, machine: Machine
) -> "Record":
    """Return the record of a new conversion with the chosen settings."""
    record, can, guided_size = plan.record, plan.can, plan.record.transfer_size
    engine, tile, tile_above = record.engine, record.tile, 0
    averages_grids = record.neighbours > 0 and not guided_size  # supported only by the engine torch
    _check_requested(plan, averages_grids=averages_grids)
    codecs, per_second = _codecs(plan, options, device, notify, machine)
    generator, _ = load_generator(plan.model)
    place = "cpu" if can.cpu_only else device  # where the generator runs
    kind = kind_of(place)
    images = [plan.source / job.path for job in plan.jobs if job.translate]
    sample = cache(lambda: middle_frame(can, images, plan.read_inputs, guided_size))
    way = EngineSettings(device=place, precision="fp32" if can.cpu_only else precision)
    too_large = can.any_precision and kind != "cpu"  # perhaps, for fp32
    if record.precision == "auto" and not can.cpu_only and not too_large:
        ways = ways_to_compute(place, dict.fromkeys(["fp32", precision]))
        way = machine.fastest_way(generator, ways, sample, notify, frames=len(images))
    if tile:
        check_tiling(generator)
    cost = _estimated_cost(machine, generator, notify) if can.exportable else Cost(0, 0)
    sizes = _sizes(images, guided_size, can.fixed_size)
    work = {size: cost.work * size[0] * size[1] * count for size, count in sizes.items()}
    fixed = averages_grids or can.stochastic or can.of_sequences or not can.exportable  # not compiled
    compiled = []
    if engine in {"auto", "torch"} and not fixed and machine.compiler(kind):
        compiled = [size for size in sizes if work[size] >= machine.worth_compiling[kind]][:_SIZES]
    pixels = _affordable_pixels(machine, cost, place, way.precision)
    if options.tile == "auto" and pixels and not can.whole_pictures and not guided_size:
        tile, tile_above = _power_of_two(int(pixels**0.5) // 4, *_TILE), pixels
    frequent = next(iter(sizes), None)
    batch_size = 1 if can.of_sequences else record.batch_size or _batch_size(kind, frequent, pixels)
    way = replace(way, batch_size=batch_size, compile=tuple(compiled))
    if compiled and not machine.repays_compiling(generator, way, sample, notify):
        way = replace(way, compile=())
    if engine == "auto":
        engine = "torch"
        if can.exportable and not averages_grids and sum(work.values()) >= machine.worth_trying[kind]:
            engine = machine.fastest_engine(generator, replace(way, batch_size=1), sample, notify)
    return replace(
        record,
        codecs=codecs,
        codecs_per_second=per_second,
        engine=engine,
        precision=way.precision,
        channels_last=way.channels_last and engine == "torch",
        batch_size=batch_size,
        compile=[list(size) for size in way.compile] if engine == "torch" else [],
        tile=tile,
        tile_above=tile_above,
    )


def _codecs(
    plan: "Plan", options: "ConvertOptions", device: str, notify: Notify, machine: Machine
) -> tuple[CodecsChoice, dict[str, float]]:
    """Return what decodes and encodes JPEG files, with the frames per second that decided it.

    Raises:
        NoCodecsError: If those of a GPU are requested, and there are none.
    """
    requested = plan.record.codecs
    if requested == "cpu":
        return "cpu", {}
    try:
        codecs = machine.codecs(device, plan.encoding.quality)
    except NoCodecsError as error:
        if requested == "gpu":
            raise
        notify(f"codecs cpu: {error.reason}")
        return "cpu", {}
    if requested == "gpu":
        return "gpu", {}
    images = [plan.source / job.path for job in plan.jobs if job.translate]
    return machine.fastest_codecs(codecs, images, plan.encoding, threads=options.threads, notify=notify)


def _check_requested(plan: "Plan", *, averages_grids: bool) -> None:
    """Check that the options do not ask for anything that the generator cannot do."""
    can, name, record = plan.can, plan.info.name, plan.record
    engine = "torch" if record.engine == "auto" else registry().entry("engines", record.engine).name
    if engine != "torch" and (averages_grids or not can.exportable):
        message = f"--engine {record.engine}: the generator '{name}' runs only with torch"
        if can.exportable:
            message += " where its grids are averaged over neighbouring frames; use --neighbours 0, or"
        else:
            message += ";"
        raise SettingsError(f"{message} leave out --engine")
    if record.tile and record.transfer_size:
        message = f"--tile {record.tile}: the transfer is guided, so the generator sees whole frames at"
        raise SettingsError(
            f"{message} {record.transfer_size} pixels; leave out --tile, or use --transfer direct", topic="large-frames"
        )
    if record.tile and can.whole_pictures:
        raise SettingsError(
            f"--tile {record.tile}: the generator '{name}' looks at whole frames; leave out --tile",
            topic="large-frames",
        )


def _estimated_cost(machine: Machine, generator: "nn.Module", notify: Notify) -> Cost:
    """Return the cost of a generator; zero if it cannot be estimated."""
    try:
        return machine.cost_of(generator)
    except RuntimeError as error:
        notify(f"the cost of this generator cannot be estimated, so neither tiles nor compilation are chosen: {error}")
        return Cost(0, 0)


def _sizes(images: Sequence[Path], guided_size: int, fixed: tuple[int, int] | None) -> dict[tuple[int, int], int]:
    """Return the approximate number of images per size (W, H) that the generator sees, the most frequent first."""
    step = -(-len(images) // _SAMPLE)
    counts = Counter[tuple[int, int]]()
    for image in images[::step]:
        if size := size_of(image):
            counts[seen_size(size, guided_size, fixed) if guided_size else size] += step
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
