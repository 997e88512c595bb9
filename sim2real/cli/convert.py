"""The command ``sim2real convert``."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple

import typer

from sim2real.cli.console import byte_size, duration, err, interruptible, out, progress
from sim2real.cli.settings import (
    AsImageOption,
    CameraOption,
    DatasetOption,
    DeviceOption,
    DirectionOption,
    PrecisionOption,
    config_here,
    settings_here,
    size_of,
)
from sim2real.manual import more
from sim2real.places import command_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sim2real.conversion import ConversionSummary, ConvertOptions, Plan
    from sim2real.conversion.manifest import Record


_LONG: Final = 60.0  # seconds; of a conversion that took less, nobody asks what limited it
OF_THIS_PROCESS: Final = frozenset({"shard", "plan", "overwrite"})
"""Options that commands of plugins do not share: they are about the work of one process on this machine."""


class Carry(StrEnum):
    """How files that are not translated are carried."""

    copy = "copy"
    hardlink = "hardlink"
    symlink = "symlink"


def command(
    src: Annotated[Path | None, typer.Argument(help="The dataset; default: the datasets in sim2real.toml.")] = None,
    out: Annotated[
        Path | None, typer.Argument(help="Output folder: new, empty, or of a conversion to continue.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Run folder or .safetensors file; default: sim2real.toml's or the newest run.")
    ] = None,
    direction: DirectionOption = None,
    dataset: DatasetOption = None,
    include: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help='Convert and carry only matching files: "*/clone/*".')
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="Leave out matching files.")] = None,
    as_image: AsImageOption = None,
    carry: Annotated[Carry | None, typer.Option(help="How all other files are carried; default: copy.")] = None,
    encoding: Annotated[
        Literal["fixed", "source", "real"] | None,
        typer.Option(
            help="JPEG tables, chroma subsampling and mode: fixed (see --quality), as in each source file, or as in "
            "most real files; default: fixed."
        ),
    ] = None,
    quality: Annotated[int | None, typer.Option(min=1, max=100, help="JPEG quality; default: 95.")] = None,
    codecs: Annotated[
        Literal["cpu", "gpu", "auto"] | None,
        typer.Option(
            help="What decodes and encodes JPEG files: cpu; gpu: an NVIDIA GPU where it can, which writes other bytes; "
            "auto: the faster one on some frames; default: cpu."
        ),
    ] = None,
    resize: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Resize images, and adapt boxes, intrinsics, flow, masks ..."),
    ] = None,
    transfer: Annotated[
        Literal["direct", "guided"] | None,
        typer.Option(
            help="direct: the generator's pixels; guided: the full-size frame with the generator's light and colours; "
            "default: as in the model."
        ),
    ] = None,
    neighbours: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=8,
            help="Average the change of light over this many frames before and after each frame of a sequence, if the "
            "transfer is guided or the generator predicts grids; default: as in the model.",
        ),
    ] = None,
    camera: CameraOption = None,
    labelme_image: Annotated[
        Literal["embed", "drop", "keep"] | None,
        typer.Option(
            "--labelme-image",
            help="Photos in LabelMe's JSON files: embed the translated ones, drop them, or keep them; default: keep.",
        ),
    ] = None,
    gate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE",
            help='Condition on each translation: "preservation>=0.9", "new_edges<=0.1", "lost_edges<=0.1", or a value '
            'of another metric, "contrast.contrast/Car>=0.2".',
        ),
    ] = None,
    rejected: Annotated[
        Literal["quarantine", "blend", "colour", "guided", "pass"] | None,
        typer.Option(
            help="What replaces translations that fail the gate: the source image (quarantine), a blend, ...; "
            "default: quarantine."
        ),
    ] = None,
    looks: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            help="Number of looks, converted into OUT/look_00, OUT/look_01 ... with new random samples each; 1: "
            "a single one, into OUT itself.",
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Frames per batch; default: chosen for the device.")
    ] = None,
    tile: Annotated[
        str, typer.Option(metavar="auto|off|N", help="Side of tiles in pixels; auto: use tiles if memory is short.")
    ] = "auto",
    engine: Annotated[str, typer.Option(help="Engine that runs the generator, see `sim2real plugins`.")] = "auto",
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Number of threads that decode and encode.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Translate only the first N frames, leave out the others.")
    ] = None,
    shard: Annotated[
        str,
        typer.Option(help="I/N: the I-th of N shards of the files; off; auto: as set by torchrun, srun or SLURM."),
    ] = "auto",
    plan: Annotated[bool, typer.Option("--plan", help="Print the plan and do nothing.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Convert files again that an earlier conversion has written.")
    ] = False,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Continue after a file that fails.")] = False,
) -> None:
    """Convert a dataset: translate every camera image and carry all other files byte for byte.

    With --resize, labels and calibrations are adapted to the new size; files that cannot be adapted are refused.
    Run the same command again to continue an interrupted conversion. `sim2real verify OUT` checks the result.
    """
    from sim2real.conversion import convert, make_plan
    from sim2real.conversion.shards import find_shard, own_device

    part = find_shard(shard)
    tasks = tasks_of(
        src,
        out,
        model=model,
        direction=direction,
        dataset=dataset,
        include=include,
        exclude=exclude,
        as_image=as_image,
        carry=carry,
        encoding=encoding,
        quality=quality,
        codecs=codecs,
        resize=resize,
        transfer=transfer,
        neighbours=neighbours,
        camera=camera,
        labelme_image=labelme_image,
        gate=gate,
        rejected=rejected,
        looks=looks,
        batch_size=batch_size,
        tile=tile,
        engine=engine,
        device=device,
        precision=precision,
        workers=workers,
        limit=limit,
        keep_going=keep_going,
    )
    if part:
        err.print(
            f"{part} ({part.set_by}): this process converts one file in {part.count}, other processes the rest of "
            "the same SRC and OUT; --shard off converts all of them here"
        )
    failed = False
    for task in tasks:
        options = replace(
            task.options,
            device=own_device(task.options.device, part),
            shard=(part.index, part.count) if part else None,
            overwrite=overwrite,
        )
        if plan:
            show_plan(make_plan(task.source, task.place, options, notify=err.print), options)
            continue
        with interruptible("converted files are kept; the same command continues"), progress() as report:
            summary = convert(task.source, task.place, options, report, announce=show_sizes, notify=err.print)
        show_summary(summary)
        if summary.left == 0:
            show_next(task)
        failed = failed or bool(summary.failed)
    if failed:
        raise typer.Exit(1)


class Task(NamedTuple):
    """A conversion that a command was asked for: of ``source`` into ``place``, which is ``out`` or a look in it."""

    source: Path
    place: Path
    out: Path
    options: "ConvertOptions"


def tasks_of(src: Path | None, out: Path | None, **values: Any) -> list[Task]:  # noqa: ANN401  as Typer parsed them
    """Return the conversions that the arguments and the options of ``convert`` stand for.

    Args:
        src: The dataset, or None for those in sim2real.toml.
        out: The output folder.
        values: Values of the options by their names, except those of :data:`OF_THIS_PROCESS`.

    Raises:
        BadParameter: If arguments or options do not fit together.
        Sim2RealError: If a setting is invalid, or an output folder holds something else.
    """
    from sim2real.api import options_of
    from sim2real.config import Conversion
    from sim2real.conversion import ConvertOptions
    from sim2real.conversion.looks import places_of

    if src and not out:
        raise typer.BadParameter("name the folder to convert into: sim2real convert SRC OUT")
    settings = config_here()
    sections = [Conversion(source=str(src), out=str(out))] if src and out else settings.convert
    if not sections:
        raise typer.BadParameter("name the dataset and the folder to convert into: sim2real convert SRC OUT")
    values["resize"] = size_of(values["resize"], "--resize", square=False) if values["resize"] else None
    said = {name: values.pop(name) for name in Conversion.model_fields.keys() & values.keys()}
    quality = {"quality": said["quality"]} if said["encoding"] not in {None, "fixed"} else {}  # not sim2real.toml's
    said = {name: value for name, value in said.items() if value is not None} | quality
    common = ConvertOptions(
        **values
        | {
            "model": values["model"] or model_here(),
            "device": values["device"] or settings.device,
            "precision": values["precision"] or settings.precision,
        }
    )
    tasks = []
    for section in sections:
        chosen = section.model_copy(update=said)
        if "rejected" in said and not chosen.gate:
            raise typer.BadParameter('--rejected: no gate rejects anything; name one: --gate "preservation>=0.9"')
        places = places_of(Path(chosen.out), chosen.looks)
        tasks += [
            Task(Path(chosen.source), place, Path(chosen.out), options_of(chosen, common, look))
            for look, place in enumerate(places)
        ]
    return tasks


def taking_options(function: Callable[..., None]) -> Callable[..., None]:
    """Let a plugin's command that converts in its own way take the options of ``convert`` as well.

    Args:
        function: The command, ``function(src, out, *, own_option=..., **options)``, whose ``options`` are for
            :func:`tasks_of`: those of ``convert`` except those of :data:`OF_THIS_PROCESS`.
    """
    own = inspect.signature(function, eval_str=True).parameters
    named = {name: parameter for name, parameter in own.items() if parameter.kind is not Parameter.VAR_KEYWORD}
    more = [
        parameter.replace(kind=Parameter.KEYWORD_ONLY)
        for name, parameter in inspect.signature(command, eval_str=True).parameters.items()
        if name not in OF_THIS_PROCESS | named.keys()
    ]
    function.__signature__ = inspect.Signature([*named.values(), *more])  # type: ignore[attr-defined]
    return function


def model_here() -> Path | None:
    """Return the run folder that the sim2real.toml in the current folder names, or that of its recipe; else None."""
    settings, run = settings_here(), config_here().run_folder
    return run if "run" in settings or ("recipe" in settings and run.is_dir()) else None


def rejections(instead: "Mapping[str, int]") -> str:
    """Describe how many frames the gate rejected, and what replaces their translations."""
    words = {
        "source": "as they were",
        "colour": "in new colours",
        "guided": "in new light",
        "translation": "passed all the same",
    }
    parts = [f"{count} {words.get(name, f'as a {name}')}" for name, count in instead.items()]
    return f"{sum(instead.values())} frames: {', '.join(parts)}"


def show_next(task: Task) -> None:
    """Print the command that checks a finished conversion; of several looks after the last one."""
    if task.options.look + 1 == task.options.looks:
        print(f"next: {command_line('sim2real', 'verify', task.out)}")


def show_plan(plan: "Plan", options: "ConvertOptions") -> None:
    """Print the plan of a conversion and its estimated duration."""
    from sim2real.conversion.duration import forecast

    record = plan.record
    out.print(f"{plan.source} ({record.dataset}) -> {plan.out}")
    out.print(f"with {plan.model}: {_manner(record)}")
    out.print(f"JPEG: {record.encoding}: {plan.encoding}{_codecs(record)}")
    if record.generator["camera"]:
        out.print(f"camera: {record.camera}: {plan.camera or 'blur and noise of the model are left out'}")
    if record.gate:
        out.print(f"gate: {', '.join(record.gate)}; rejected: {record.rejected}")
    found = forecast(plan, options, err.print)
    for line in _sizes(plan, found[0] if found else 1):
        out.print(line)
    if plan.stale:
        out.print(f"{len(plan.stale):>9} files {'':>10}  to remove from {plan.out}: {plan.stale[0]} ...")
    if found:
        out.print(f"about {duration(found[1])} to translate, estimated from a few frames")
    for line in [*_stale(record), *plan.warnings]:
        out.print(f"warning: {line}")


def _stale(record: "Record") -> list[str]:
    """Return warnings on files that describe the old pixels."""
    return [f"{count} files still describe the old pixels: {what}" for what, count in record.stale.items()]


def _codecs(record: "Record") -> str:
    """Describe what decodes and encodes JPEG files if it is not the CPU alone."""
    speeds = ", ".join(f"{name} {speed:g} frames/s" for name, speed in record.codecs_per_second.items())
    return f"; by the GPU where it can{f' ({speeds})' if speeds else ''}" if record.codecs == "gpu" else ""


def _manner(record: "Record") -> str:
    """Describe how frames are translated."""
    resized = f", resized to {record.resize[0]}x{record.resize[1]}" if record.resize else ""
    fixed = record.generator["options"].get("fixed_size")
    size = "x".join(map(str, fixed)) if isinstance(fixed, list) else record.transfer_size
    guided = f", guided at {size} pixels" if record.transfer == "guided" else ""
    steady = f", averaged over {2 * record.neighbours + 1} frames of a sequence" if record.neighbours else ""
    tiles = f", in tiles of {record.tile}" if record.tile else ""
    if record.tile and record.tile_above:
        tiles += f" above {record.tile_above / 1e6:.1f} megapixels"
    compiled = ", compiled" if record.compile else ""
    how = f"{compiled}{tiles}{guided}{steady}{resized}"
    return f"{record.direction}, {record.engine}, {record.precision} on {record.device}{how}"


def show_sizes(plan: "Plan") -> None:
    """Print the amount of work of a conversion."""
    from sim2real.conversion.space import growth_of

    for line in _sizes(plan, growth_of(plan)) if plan.todo else ():
        err.print(line)


def _sizes(plan: "Plan", growth: float) -> "Iterator[str]":
    from sim2real.conversion.carry import mode_of
    from sim2real.conversion.space import bytes_free, bytes_to_write
    from sim2real.datasets.base import Role

    groups = {"to translate": [job for job in plan.todo if job.translate]}
    for role in Role:
        others = [job for job in plan.todo if not job.translate and job.role is role]
        groups[f"to resize: {role}"] = [job for job in others if job.resize]
        groups[f"to edit: {role}"] = [job for job in others if job.embedding and not job.resize]
        rest = [job for job in others if not job.resize and not job.embedding]
        groups[f"to {mode_of(role, plan.record.carry)}: {role}"] = rest
    for name, jobs in groups.items():
        if jobs:
            yield f"{len(jobs):>9} files {byte_size(sum(job.size for job in jobs)):>10}  {name}"
    yield f"{len(plan.own) - len(plan.todo):>9} files {'':>10}  already done"
    if len(plan.own) < len(plan.jobs):
        yield f"{len(plan.jobs) - len(plan.own):>9} files {'':>10}  of other shards"
    needed, free = byte_size(bytes_to_write(plan, growth)), byte_size(bytes_free(plan.out))
    yield f"{'':>15} {needed:>10}  to write (estimated); {free} free"


def show_summary(summary: "ConversionSummary") -> None:
    """Print the summary of a conversion."""
    record = summary.record
    shard = f"shard {summary.shard[0] + 1} of {summary.shard[1]}: " if summary.shard else ""
    speed = f", {summary.converted / summary.seconds:.1f} frames/s" if summary.converted else ""
    advice = more("slow") if summary.seconds >= _LONG else ""
    limit = f", limited by {summary.limit}{advice}" if summary.limit else ""
    changed = f"{summary.resized} files resized, " if record.resize else ""
    changed += f"{summary.edited} files edited, " if summary.edited else ""
    out.print(
        f"{shard}{summary.converted} frames converted, {changed}{summary.carried} files carried, {summary.skipped} "
        f"done before, {len(summary.failed)} failed; {byte_size(summary.bytes)} in {duration(summary.seconds)}{speed}"
        f"{limit}"
    )
    out.print(f"with {summary.model}: {_manner(record)}; at most {byte_size(summary.peak_memory)} of memory")
    if record.codecs == "gpu":
        done = ", ".join(f"{count} {name}" for name, count in summary.on_gpu.items())
        out.print(f"JPEG files on the GPU: {done}; all others on the CPU")
    if summary.rejected:
        out.print(f"the gate ({', '.join(record.gate)}) rejects {rejections(summary.rejected)}")
    for line in [*_stale(record), *summary.warnings]:
        out.print(f"warning: {line}")
    for path, reason in summary.failed:
        out.print(f"failed: {path}: {reason}")
    if summary.failed:
        out.print(f"repair the failed files and run the same command again{more('damaged-images')}")
    if summary.left is None:
        out.print(f"not complete yet: other processes are still working on their shards of {summary.out}")
    elif summary.left:
        out.print(
            f"not complete yet: {summary.left} of {record.files} files of {summary.out} belong to other shards or "
            f"failed; run the other shards, or use --shard off to convert all of them here{more('many-machines')}"
        )
    else:
        out.print(f"converted dataset: {summary.out}")
