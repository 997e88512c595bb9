"""``sim2real convert``."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim2real.cli.settings import (
    AsImageOption,
    DeviceOption,
    PrecisionOption,
    resolve_settings,
    settings_here,
    size_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sim2real.conversion import ConversionSummary, ConvertOptions, Plan
    from sim2real.conversion.manifest import Record


class Carry(StrEnum):
    """How files that are not translated come over."""

    copy = "copy"
    hardlink = "hardlink"
    symlink = "symlink"


class Encoding(StrEnum):
    """How JPEG files are written."""

    fixed = "fixed"
    source = "source"
    real = "real"


class Rejected(StrEnum):
    """What becomes of frames whose translation the gate rejects."""

    quarantine = "quarantine"
    blend = "blend"
    colour = "colour"
    guided = "guided"
    passed = "pass"


class Transfer(StrEnum):
    """How what the generator paints becomes the frame's."""

    direct = "direct"
    guided = "guided"


class Camera(StrEnum):
    """Whether frames are as the model's camera takes them."""

    match = "match"
    off = "off"


class LabelMeImage(StrEnum):
    """What becomes of photos inside of label files."""

    embed = "embed"
    drop = "drop"
    keep = "keep"


class Direction(StrEnum):
    """Which of a run's two generators."""

    sim2real = "sim2real"
    real2sim = "real2sim"


CameraOption = Annotated[
    Camera | None,
    typer.Option(
        help="match: blur and noise as the model's camera has them; off: none; the camera's, where it has one."
    ),
]


def command(
    src: Annotated[Path | None, typer.Argument(help="The dataset; those of sim2real.toml if left out.")] = None,
    out: Annotated[
        Path | None, typer.Argument(help="Where it goes: a new or empty folder, or to be continued.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Run folder or .safetensors file; else sim2real.toml's, else the newest run.")
    ] = None,
    direction: Annotated[Direction | None, typer.Option(help="Which generator of the run.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Layout, see `sim2real datasets`; recognised if left out.")
    ] = None,
    include: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help='Convert and carry only files that fit: "*/clone/*".')
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="Leave out files that fit.")] = None,
    as_image: AsImageOption = None,
    carry: Annotated[Carry | None, typer.Option(help="How labels and all other files come over; copy.")] = None,
    encoding: Annotated[
        Encoding | None,
        typer.Option(
            help="Tables, sampling of chroma and mode of JPEG: fixed (--quality), as in each source file, or as in "
            "most real ones; fixed."
        ),
    ] = None,
    quality: Annotated[int | None, typer.Option(min=1, max=100, help="Of JPEG; 95.")] = None,
    resize: Annotated[
        str | None,
        typer.Option(
            metavar="WxH", help="Bring images to this size, and boxes, intrinsics, flow, masks ... with them."
        ),
    ] = None,
    transfer: Annotated[
        Transfer | None,
        typer.Option(
            help="direct: the generator's pixels; guided: the frame at full size, with their light and colours; as the "
            "model says."
        ),
    ] = None,
    neighbours: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=8,
            help="Frames before and behind it over which the light of a frame of a sequence is averaged, where the "
            "transfer is guided or the generator paints by grids; as the model says.",
        ),
    ] = None,
    camera: CameraOption = None,
    labelme_image: Annotated[
        LabelMeImage | None,
        typer.Option(
            "--labelme-image",
            help="The photos inside of LabelMe's JSON files: embed the translated ones, drop them, or keep them; keep.",
        ),
    ] = None,
    gate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE",
            help='What a translation must fulfil: "preservation>=0.9", "new_edges<=0.1", "lost_edges<=0.1", or a '
            'figure of another metric, "contrast.contrast/Car>=0.2".',
        ),
    ] = None,
    rejected: Annotated[
        Rejected | None,
        typer.Option(
            help="What takes the place of those that do not: the source (quarantine), a blend, ...; quarantine."
        ),
    ] = None,
    looks: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            help="Convert so many times, into look_00, look_01 ... of OUT, sampling anew what is random; 1: "
            "once, into OUT.",
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Frames at once; what suits the device if left out.")
    ] = None,
    tile: Annotated[
        str, typer.Option(metavar="auto|off|N", help="Side of tiles in pixels; auto: tiles where memory falls short.")
    ] = "auto",
    engine: Annotated[str, typer.Option(help="What runs the generator, see `sim2real plugins`.")] = "auto",
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads that decode and encode.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Translate the first N frames, leave out the others.")
    ] = None,
    shard: Annotated[
        str,
        typer.Option(help="I/N: the I-th of N shards of the files; off; auto: as torchrun, srun, a SLURM array say."),
    ] = "auto",
    plan: Annotated[bool, typer.Option("--plan", help="Print what would be done, and do nothing.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Convert anew what an earlier conversion left.")
    ] = False,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Go on after a file that cannot be done.")] = False,
) -> None:
    """Convert a dataset: every camera image is translated, everything else comes over byte for byte.

    With --resize, labels and calibrations change with the size of the images; what cannot is refused by name.
    Run it again to continue an interrupted conversion. `sim2real verify OUT` checks the result.
    """
    from sim2real.api import options_of
    from sim2real.cli.console import err, interruptible, progress
    from sim2real.config import Conversion
    from sim2real.conversion import ConvertOptions, convert, make_plan
    from sim2real.conversion.looks import places_of
    from sim2real.conversion.shards import find_shard, own_device
    from sim2real.places import command_line

    if src and not out:
        raise typer.BadParameter("name the folder to convert into: sim2real convert SRC OUT")
    settings = resolve_settings(recipe=None, sets=None)
    sections = [Conversion(source=str(src), out=str(out))] if src and out else settings.convert
    if not sections:
        raise typer.BadParameter("name the dataset and the folder to convert into: sim2real convert SRC OUT")
    part = find_shard(shard)
    if part:
        err.print(
            f"{part}, says {part.said_by}: this process does one file in {part.count}, others are to do the rest of "
            "the same SRC and OUT; --shard off: all of it here"
        )
    named = {
        "direction": direction,
        "dataset": dataset,
        "include": include,
        "exclude": exclude,
        "as_image": as_image,
        "carry": carry.value if carry else None,
        "encoding": encoding.value if encoding else None,
        "quality": quality,
        "resize": size_of(resize, "--resize", square=False) if resize else None,
        "transfer": transfer.value if transfer else None,
        "neighbours": neighbours,
        "camera": camera.value if camera else None,
        "labelme_image": labelme_image.value if labelme_image else None,
        "gate": gate,
        "rejected": rejected.value if rejected else None,
        "looks": looks,
    }
    said: dict[str, object] = {name: value for name, value in named.items() if value is not None}
    said |= {"quality": quality} if said.get("encoding", "fixed") != "fixed" else {}  # not that of sim2real.toml
    common = ConvertOptions(
        model=model or model_here(),
        limit=limit,
        batch_size=batch_size,
        tile=tile,
        engine=engine,
        device=own_device(device or settings.device, part),
        precision=precision or settings.precision,
        shard=(part.index, part.count) if part else None,
        workers=workers,
        overwrite=overwrite,
        keep_going=keep_going,
    )
    jobs = []
    for section in sections:
        chosen = section.model_copy(update=said)
        if rejected and not chosen.gate:
            raise typer.BadParameter('--rejected: no gate rejects anything; name one: --gate "preservation>=0.9"')
        places = places_of(Path(section.out), chosen.looks)
        jobs += [(chosen, place, options_of(chosen, common, look)) for look, place in enumerate(places)]
    failed = False
    for section, target, its_options in jobs:
        source = Path(section.source)
        if plan:
            show_plan(make_plan(source, target, its_options, notify=err.print), its_options)
            continue
        with interruptible("what is converted stays; the same command goes on"), progress() as report:
            summary = convert(source, target, its_options, report, announce=show_sizes, notify=err.print)
        show_summary(summary)
        if summary.left == 0 and its_options.look + 1 == its_options.looks:
            print(f"next: {command_line('sim2real', 'verify', section.out)}")
        failed = failed or bool(summary.failed)
    if failed:
        raise typer.Exit(1)


def model_here() -> Path | None:
    """The run that the sim2real.toml of the current folder trains; None where there is neither."""
    settings = settings_here()
    if not settings:
        return None
    run = resolve_settings(recipe=None, sets=None).run_folder
    return run if "run" in settings or run.is_dir() else None


def rejections(instead: "Mapping[str, int]") -> str:
    """How many frames the gate rejected, and what is there instead of their translations."""
    words = {
        "source": "as they were",
        "colour": "in new colours",
        "guided": "in new light",
        "translation": "passed all the same",
    }
    parts = [f"{count} {words.get(name, f'as a {name}')}" for name, count in instead.items()]
    return f"{sum(instead.values())} frames: {', '.join(parts)}"


def show_plan(plan: "Plan", options: "ConvertOptions") -> None:
    """Print what a conversion would do, and how long that may take."""
    from sim2real.cli.console import duration, err, out
    from sim2real.conversion.duration import forecast

    record = plan.record
    out.print(f"{plan.source} ({record.dataset}) -> {plan.out}")
    out.print(f"with {plan.model}: {_manner(record)}")
    out.print(f"JPEG: {record.encoding}: {plan.encoding}")
    if record.generator["camera"]:
        out.print(f"camera: {record.camera}: {plan.camera or 'the blur and the noise that the model has are left out'}")
    if record.gate:
        out.print(f"gate: {', '.join(record.gate)}; rejected: {record.rejected}")
    found = forecast(plan, options, err.print)
    for line in _sizes(plan, found[0] if found else 1):
        out.print(line)
    if plan.stale:
        out.print(f"{len(plan.stale):>9} files {'':>10}  to remove from {plan.out}: {plan.stale[0]} ...")
    if found:
        out.print(f"about {duration(found[1])} to translate once it has begun, as tried on a few frames")
    for line in [*_stale(record), *plan.warnings]:
        out.print(f"warning: {line}")


def _stale(record: "Record") -> list[str]:
    """What will still tell the old looks."""
    return [f"{count} files still tell the old looks: {what}" for what, count in record.stale.items()]


def _manner(record: "Record") -> str:
    """How frames are translated."""
    resized = f", resized to {record.resize[0]}x{record.resize[1]}" if record.resize else ""
    guided = f", guided at {record.transfer_size} pixels" if record.transfer == "guided" else ""
    steady = f", averaged over {2 * record.neighbours + 1} frames of a sequence" if record.neighbours else ""
    tiles = f", in tiles of {record.tile}" if record.tile else ""
    if record.tile and record.tile_above:
        tiles += f" above {record.tile_above / 1e6:.1f} megapixels"
    compiled = ", compiled" if record.compile else ""
    how = f"{compiled}{tiles}{guided}{steady}{resized}"
    return f"{record.direction}, {record.engine}, {record.precision} on {record.device}{how}"


def show_sizes(plan: "Plan") -> None:
    """Print how much a conversion is going to do."""
    from sim2real.cli.console import err
    from sim2real.conversion.space import growth_of

    for line in _sizes(plan, growth_of(plan)) if plan.todo else ():
        err.print(line)


def _sizes(plan: "Plan", growth: float) -> "Iterator[str]":
    from sim2real.cli.console import byte_size
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
    yield f"{len(plan.own) - len(plan.todo):>9} files {'':>10}  done already"
    if len(plan.own) < len(plan.jobs):
        yield f"{len(plan.jobs) - len(plan.own):>9} files {'':>10}  of other shards"
    needed, free = byte_size(bytes_to_write(plan, growth)), byte_size(bytes_free(plan.out))
    yield f"{'':>15} {needed:>10}  to write, about; {free} free"


def show_summary(summary: "ConversionSummary") -> None:
    """Print what a conversion did."""
    from sim2real.cli.console import byte_size, duration, out

    record = summary.record
    shard = f"shard {summary.shard[0] + 1} of {summary.shard[1]}: " if summary.shard else ""
    speed = f", {summary.converted / summary.seconds:.1f} frames/s" if summary.converted else ""
    limit = f", limited by {summary.limit}" if summary.limit else ""
    changed = f"{summary.resized} files resized, " if record.resize else ""
    changed += f"{summary.edited} files edited, " if summary.edited else ""
    out.print(
        f"{shard}{summary.converted} frames converted, {changed}{summary.carried} files carried, {summary.skipped} "
        f"done before, {len(summary.failed)} failed; {byte_size(summary.bytes)} in {duration(summary.seconds)}{speed}"
        f"{limit}"
    )
    out.print(f"with {summary.model}: {_manner(record)}; at most {byte_size(summary.peak_memory)} of memory")
    if summary.rejected:
        out.print(f"the gate ({', '.join(record.gate)}) rejects {rejections(summary.rejected)}")
    for line in [*_stale(record), *summary.warnings]:
        out.print(f"warning: {line}")
    for path, reason in summary.failed:
        out.print(f"failed: {path}: {reason}")
    if summary.left is None:
        out.print(f"not complete yet: other processes are at work on their shards of {summary.out}")
    elif summary.left:
        out.print(
            f"not complete yet: {summary.left} of {record.files} files of {summary.out} belong to other shards, which "
            "are still to run, or failed; --shard off does all of it here"
        )
    else:
        out.print(f"converted dataset: {summary.out}")
