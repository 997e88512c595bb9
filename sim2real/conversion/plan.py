"""The plan of a conversion, made before anything is written."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from sim2real import __version__
from sim2real.camera import Camera
from sim2real.capabilities import Capabilities, capabilities
from sim2real.conversion.carry import stat_of
from sim2real.conversion.embedding import check_sizes, embeddings
from sim2real.conversion.gate import EDGES, find_metrics, parse_gate
from sim2real.conversion.identity import require_same
from sim2real.conversion.inputs import InputReader, label_files, unknown_classes
from sim2real.conversion.jobs import Job, is_done, with_sizes
from sim2real.conversion.looks import look_folder
from sim2real.conversion.manifest import (
    Line,
    Record,
    contents,
    frame_of,
    manifest_path,
    quarantine_path,
    read_manifest,
    read_record,
    record_path,
    unknown_to_this_version,
    written_at,
)
from sim2real.conversion.options import ConvertOptions
from sim2real.conversion.resized_files import intrinsics_warnings
from sim2real.conversion.sequences import check_sizes_within, pieces_of, sequences_of, with_sequences, with_windows
from sim2real.conversion.unrelated import are_unrelated
from sim2real.datasets import Dataset, open_dataset
from sim2real.datasets.base import STATE_FOLDER, Frame, Role, Side
from sim2real.datasets.inputs import NAMED, Inputs
from sim2real.datasets.translated import with_translations
from sim2real.datasets.vocabulary import Vocabulary
from sim2real.errors import DatasetError, SettingsError, Sim2RealError
from sim2real.files import check_writable, sha256_of
from sim2real.imageio.encoding import USUAL_QUALITY, Encoding
from sim2real.metrics.base import FrameMetric
from sim2real.model import GeneratorInfo, find_model, load_generator, read_info
from sim2real.places import command_line, is_conversion, is_run, not_a_folder
from sim2real.registry import registry
from sim2real.stored import unknown_fields_text
from sim2real.threads import in_order

if TYPE_CHECKING:
    from sim2real.conversion.resolved_settings import Machine

T = TypeVar("T")
_READERS = 8  # threads that compare files with the manifest
_LOOKED_AT = 8  # frames that are searched for classes that the generator does not know


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that is known about a conversion before it starts.

    :func:`survey` fills the attributes up to ``jobs`` from the source and the options alone, which is the slow part;
    :func:`make_plan` adds the others, which depend on the progress of an earlier conversion.

    Attributes:
        source: The dataset.
        out: The output folder.
        model: The generator file.
        info: The metadata of that file.
        can: The capabilities of the generator.
        dataset: The opened dataset.
        record: The new content of conversion.json; before :func:`make_plan`, engine, device, precision, batch size,
            codecs and tiles are as in the options, 0 if they were left open.
        encoding: How lossy files are written.
        judges: The metrics of the gate except ``edges``, by name.
        jobs: All selected files.
        device: The exact device; ``record.device`` is its kind.
        previous: The present content of conversion.json; None if there is none.
        own: The files of this process's shard; all files if the work is not shared.
        todo: The files of ``own`` that are not done yet.
        elsewhere: The files of other shards that were not done when the plan was made.
        rejected: Finished images of this process that the gate rejected: substitute -> number of images.
        folders: Folders to create, including empty ones.
        stale: Files in ``out`` to delete: leftovers of killed processes, files of an overwritten conversion, and
            quarantined translations of frames that are not done.
        warnings: Warnings about the dataset.
        compared: Number of finished files that are newer than the manifest, so that their bytes were compared with it.
        changed: Those of them that no longer have the bytes that were written; the manifest forgets them before the
            work begins, as its next line makes it newer than they are.
    """

    source: Path
    out: Path
    model: Path
    info: GeneratorInfo
    can: Capabilities
    dataset: Dataset
    record: Record
    encoding: Encoding
    judges: Mapping[str, FrameMetric]
    jobs: list[Job]
    device: str = ""
    previous: Record | None = None
    own: list[Job] = field(default_factory=list)
    todo: list[Job] = field(default_factory=list)
    elsewhere: list[Job] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    folders: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    compared: int = 0
    changed: list[str] = field(default_factory=list)

    @property
    def camera(self) -> Camera | None:
        """The camera whose blur and noise are applied to translated frames; None for no camera."""
        return self.info.camera if self.record.camera == "match" else None

    @cached_property
    def read_inputs(self) -> Callable[[Path], Inputs]:
        """A function that reads the labels of an image that the generator sees."""
        if not self.can.inputs:
            return lambda _image: {}
        read = InputReader(self.source, Vocabulary.of(self.info.settings), ())
        by_path = {job.path: job for job in self.jobs if job.translate}
        return lambda image: read(by_path[image.relative_to(self.source).as_posix()])[0]


def survey(source: Path, out: Path, options: ConvertOptions) -> Plan:
    """Return the part of a plan that does not depend on the progress of an earlier conversion; writes nothing.

    Raises:
        Sim2RealError: If the source cannot be converted with these options; the message says what to change.
    """
    check_places(source, out)
    gate, judges = find_metrics(parse_gate(options.gate))
    if options.resize and (others := [rule for rule in gate if rule.metric != EDGES]):
        message = (
            f"gate '{others[0]}': --resize resizes labels only after the gate has judged with them; use only "
            "preservation, new_edges and lost_edges, or convert without --resize"
        )
        raise SettingsError(message, topic="reject-bad-frames-while-converting")
    _ = options.tile_side  # checks the option
    if options.engine != "auto":
        registry().entry("engines", options.engine)
    if options.shard and options.overwrite:
        message = (
            f"{out}: a process that starts late would overwrite the work of others, so there is "
            "no --overwrite with shards; remove the folder, or name another"
        )
        raise Sim2RealError(message, topic="a-conversion-is-refused")
    model = find_model(options.model, options.direction, options.runs)
    info = read_info(model)
    camera = info.camera_of(options.camera)
    encoding = encoding_of(options, model, info)
    dataset = open_dataset(source, options.dataset, _as_image(out, options))
    selection = select(dataset, side_of(info), options.include, options.exclude, options.limit)
    stale = {path: what for what, paths in dataset.stale().items() for path in paths}
    jobs = [Job(*each, stat_of(f"{source}/{each.path}"), stale.get(each.path, "")) for each in selection]
    if options.resize:
        jobs = with_sizes(jobs, dataset, options.resize)
    inside = embeddings(dataset, {job.path for job in jobs if job.translate}, options.labelme_image)
    if options.resize:
        check_sizes(dataset, {job.path for job in jobs if job.resize}, inside, options.labelme_image)
    jobs = [replace(job, embedding=inside[job.path], stale="") if job.path in inside else job for job in jobs]
    can = capabilities(load_generator(model)[0], info.name)  # last, as it imports torch, which is slow
    if options.look or options.looks > 1:
        _check_looks(can, info, options)
    neighbours = info.neighbours(can, options.transfer, options.neighbours)
    if neighbours and options.neighbours is None and _is_shuffled(out, dataset, options, jobs):
        neighbours = 0
    guided_size = info.guided_size(options.transfer)
    record = Record(
        tool_version=__version__,
        source=str(source.resolve()),
        dataset=dataset.name,
        direction=info.direction,
        side=side_of(info),
        model_sha256=sha256_of(model),
        generator=info.dump(),
        engine=options.engine,
        device=options.device,
        precision=options.precision,
        batch_size=options.batch_size or 0,
        compile=[],
        tile=options.tile_side,
        tile_above=0,
        quality=encoding.quality,
        encoding=options.encoding,
        codecs=options.codecs,
        carry=options.carry,
        resize=list(options.resize) if options.resize else None,
        transfer="guided" if guided_size else "direct",
        transfer_size=guided_size,
        neighbours=neighbours,
        camera="match" if camera else "off",
        look=options.look,
        looks=options.looks,
        include=list(options.include),
        exclude=list(options.exclude),
        as_image=list(dataset.as_image),
        limit=options.limit,
        labelme_image=options.labelme_image,
        frames=sum(job.translate for job in jobs),
        files=len(jobs),
        gate=[str(rule) for rule in gate],
        rejected=options.rejected if gate else "quarantine",
        provenance=dict(can.provenance),
        stale=dict(Counter(job.stale for job in jobs if job.stale)),
    )
    plan = Plan(
        source=source,
        out=out,
        model=model,
        info=info,
        can=can,
        dataset=dataset,
        record=record,
        encoding=encoding,
        judges=judges,
        jobs=jobs,
    )
    more_than_images = can.takes_inputs or can.of_sequences or can.steady or neighbours
    return replace(plan, jobs=_with_frames(plan, options)) if more_than_images else plan


def _is_shuffled(out: Path, dataset: Dataset, options: ConvertOptions, jobs: Iterable[Job]) -> bool:
    """Return whether neighbouring frames are unrelated; a conversion that is continued keeps what it began with."""
    if dataset.adapter.ordered:
        return False
    if earlier := None if options.overwrite else read_record(out):
        return not earlier.neighbours
    images = {job.path for job in jobs if job.translate}
    return are_unrelated(frame for frame in dataset.frames(options.include, options.exclude) if frame.image in images)


def _shuffled_warnings(plan: Plan, options: ConvertOptions) -> Iterator[str]:
    """Yield a line if frames are translated by themselves because they are unrelated."""
    usual = plan.info.neighbours(plan.can, options.transfer)
    if usual and options.neighbours is None and not plan.record.neighbours:
        yield (
            "neighbouring frames show different scenes, so their light is not averaged; if the frames are a video, add "
            f"--neighbours {usual}"
        )


def _check_looks(can: Capabilities, info: GeneratorInfo, options: ConvertOptions) -> None:
    """Raise an error if all looks would be equal."""
    if not can.stochastic:
        looks = max(options.looks, options.look + 1)
        message = f"--looks {looks}: the generator '{info.name}' samples nothing at random, so all looks would be equal"
        raise SettingsError(
            f"{message}; leave out --looks, or train with a recipe that does: grid, pixel-distribution",
            topic="what-the-frames-look-like",
        )


def _with_frames(plan: Plan, options: ConvertOptions) -> list[Job]:
    """Return the files of a plan, those to translate with their frames and the labels that the generator sees.

    Raises:
        Sim2RealError: If a label is missing, or an option does not fit the generator.
    """
    info, can, root = plan.info, plan.can, plan.dataset.root
    if can.of_sequences and options.batch_size not in {None, 1}:
        message = (
            f"--batch-size {options.batch_size}: the generator '{info.name}' translates the frames of a sequence one "
            "after another; leave out --batch-size"
        )
        raise SettingsError(message)
    if unnamed := [kind for kind in can.inputs if kind in NAMED and not info.settings.get("classes", {}).get("names")]:
        message = (
            f"{options.model or info.name}: the generator '{info.name}' needs '{unnamed[0]}', but its file has no "
            "names of classes ([classes] of its settings): train it again"
        )
        raise Sim2RealError(message)
    images = {job.path for job in plan.jobs if job.translate}
    listed = plan.dataset.frames(options.include, options.exclude)
    listed = with_translations(listed, info.name, info.options)
    frames = {frame.image: frame for frame in listed if frame.image in images}
    files = label_files(root, info.name, can.inputs, frames)
    jobs = [replace(job, frame=frames[job.path], inputs=files[job.path]) if job.translate else job for job in plan.jobs]
    if can.of_sequences:
        jobs = with_sequences(jobs)
        check_sizes_within(root, info.name, jobs)
    neighbours = plan.record.neighbours
    return with_windows(root, jobs, neighbours) if neighbours else jobs


def _as_image(out: Path, options: ConvertOptions) -> Sequence[str]:
    """Return the globs of camera images that were given now or in the conversion that is continued."""
    earlier = None if options.overwrite or options.as_image else read_record(out)
    return earlier.as_image if earlier else options.as_image


def make_plan(
    source: Path,
    out: Path,
    options: ConvertOptions,
    found: Plan | None = None,
    notify: Callable[[str], None] = lambda _line: None,
    *,
    machine: "Machine | None" = None,
) -> Plan:
    """Plan a conversion; writes nothing.

    Args:
        source: The dataset.
        out: The output folder.
        options: Options of the conversion.
        found: Result of ``survey``, if it was called already.
        notify: Called with a line for each notable event.
        machine: The facts that automatic choices depend on; None: those of this machine.

    Raises:
        Sim2RealError: If the conversion is impossible; the message says what to change.
    """
    from sim2real.conversion.resolved_settings import THIS_MACHINE, resolve_settings

    plan = found or survey(source, out, options)
    previous = read_record(out)
    kept = None if options.overwrite else previous
    plan = resolve_settings(plan, options, kept or _first_look(plan, options), notify, machine or THIS_MACHINE)
    jobs, paths = plan.jobs, {job.path for job in plan.jobs}
    since = written_at(out) if previous else 0  # before the lines are read: other processes may be writing
    lines = read_manifest(out, lambda damage: notify(f"{damage}; their files are converted again")) if previous else {}
    for line in [] if options.overwrite else unknown_to_this_version(out, previous, lines):
        notify(line)
    if plan.info.unknown:
        notify(f"{plan.model}: {unknown_fields_text(plan.info.unknown)}")
    if kept:
        require_same(kept, plan.record, out, jobs=jobs, lines=lines, notify=notify)
    present, leftovers, newer = contents(out, since) if previous else ({}, [], [])
    orphans = sorted(present.keys() & lines.keys() - paths)
    if orphans and not options.overwrite:
        message = (
            f"{out}: holds {len(orphans)} files that this conversion does not make ({orphans[0]} ...): gone from the "
            "source, or not selected now; name another folder, or convert everything again with --overwrite"
        )
        raise Sim2RealError(message, topic="a-conversion-is-refused")
    known = {} if options.overwrite else lines
    open_paths = {job.path for job in jobs if not is_done(job, known, present.get)}
    newer = [path for path in newer if (done_as := frame_of(path)) in paths and done_as not in open_paths]
    changed = _changed(out, newer, known, notify)
    open_paths.update(changed)
    for group in sequences_of(jobs) if plan.can.of_sequences else ():
        if not open_paths.isdisjoint(paths_of := [job.path for job in group]):
            open_paths.update(paths_of)
    undone = [job for job in jobs if job.path in open_paths or job.follows in open_paths]
    done = known.keys() & paths - {job.path for job in undone}
    kept_in_quarantine = {quarantine_path(path) for path in done if known[path].quarantine_sha256}
    stale = {path for path in present if path.startswith(quarantine_path("")) and path not in kept_in_quarantine}
    own = _own(jobs, options.shard, plan.record.neighbours)
    here = {job.path for job in own}
    scales = (job.resize.scale for job in jobs if job.translate and job.resize)
    return replace(
        plan,
        previous=previous,
        own=own,
        todo=[job for job in undone if job.path in here],
        elsewhere=[job for job in undone if job.path not in here],
        rejected=Counter(name for path in done & here if (name := known[path].instead)),
        folders=[] if options.include or options.exclude else list(plan.dataset.tree.folders),
        stale=sorted({*orphans, *stale, *leftovers} - paths),
        compared=len(newer),
        changed=changed,
        warnings=[
            *plan.dataset.warnings(),
            *intrinsics_warnings(scales, plan.dataset),
            *_unknown_class_warnings(plan),
            *(() if kept else _shuffled_warnings(plan, options)),  # a conversion is continued as it was begun
        ],
    )


def _changed(out: Path, newer: Sequence[str], lines: Mapping[str, Line], notify: Callable[[str], None]) -> list[str]:
    """Return the paths in the manifest of files that no longer have the bytes that were written.

    Modification times alone do not tell, since a copy of the whole folder may have new ones.
    """
    if not newer:
        return []
    notify(f"{out}: {len(newer)} files are newer than the manifest: their bytes are compared with it")

    def is_changed(path: str) -> bool:
        line = lines[frame_of(path)]
        written = line.sha256 if path == line.path else line.quarantine_sha256
        try:
            return written is not None and sha256_of(out / path) != written
        except (OSError, Sim2RealError):  # also a link to a device
            return True

    answers = in_order(is_changed, newer, _READERS)
    changed = [frame_of(path) for path, answer in zip(newer, answers, strict=True) if answer]
    if changed:
        notify(f"{out}: {len(changed)} of them were changed ({changed[0]} ...) and are converted again")
    return changed


def _first_look(plan: Plan, options: ConvertOptions) -> "Record | None":
    """Return the record of the first look if this is a later one of the same model, so that all make one choice."""
    first = read_record(look_folder(plan.out.parent, 0)) if options.look else None
    if first is None or first.model_sha256 != plan.record.model_sha256:
        return None
    return replace(first, original=plan.record.original)


def _unknown_class_warnings(plan: Plan) -> Iterator[str]:
    """Yield a warning if the dataset has classes that the generator does not know."""
    if NAMED.isdisjoint(plan.can.inputs):
        return
    frames = evenly([job.frame for job in plan.jobs if job.frame], _LOOKED_AT)
    if names := unknown_classes(frames, plan.can.inputs, Vocabulary.of(plan.info.settings)):
        yield (
            f"the generator was not trained with the classes {', '.join(map(repr, names))}, and treats their pixels as "
            "unknown: if it knows them by other names, train it with those in classes.same"
        )


def encoding_of(options: ConvertOptions, model: Path, info: GeneratorInfo) -> Encoding:
    """Return how lossy files are written.

    Raises:
        SettingsError: If a quality is given although tables are copied, or the model does not know those of real
            images.
    """
    if options.encoding == "fixed":
        return Encoding(quality=USUAL_QUALITY if options.quality is None else options.quality)
    if options.quality is not None:
        message = (
            f"--quality {options.quality}: --encoding {options.encoding} copies the tables of JPEG files; leave "
            "out one of the two options"
        )
        raise SettingsError(message, topic="how-jpegs-are-written")
    if options.encoding == "source":
        return Encoding(as_source=True)
    others = "or use --encoding source or --encoding fixed"
    if info.real_encoding is None:
        message = (
            f"{model}: --encoding real: it lacks the encoding of its real images, as it was written "
            f"with sim2real {info.tool_version}; train again, {others}"
        )
        raise SettingsError(message, topic="how-jpegs-are-written")
    if not info.real_encoding:
        message = f"{model}: --encoding real: none of the real images that it was trained on is a JPEG; {others[3:]}"
        raise SettingsError(message, topic="how-jpegs-are-written")
    return info.real_encoding[0]


def side_of(info: GeneratorInfo) -> Side:
    """Return which side a generator translates if a folder holds both domains, ``"sim"`` or ``"real"``."""
    swapped = bool(info.settings.get("swap"))  # trained with B as the simulation
    return "sim" if (info.direction == "sim2real") != swapped else "real"


def chosen_frames(source: Path, layout: str | None, info: GeneratorInfo, as_image: Sequence[str] = ()) -> list[Frame]:
    """Return the frames of a dataset that a generator translates.

    Raises:
        DatasetError: If there are none.
    """
    dataset = open_dataset(source, layout, as_image)
    images = {each.path for each in select(dataset, side_of(info), (), (), None) if each.translate}
    return [frame for frame in dataset.frames() if frame.image in images]


def evenly(items: Sequence[T], count: int) -> list[T]:
    """Return ``count`` of the items, evenly spread, or all if there are fewer."""
    count = min(count, len(items))
    return [items[(2 * index + 1) * len(items) // (2 * count)] for index in range(count)]


class Selected(NamedTuple):
    """A file that a conversion makes: its path, its role, and whether it is translated."""

    path: str
    role: Role
    translate: bool


def select(
    dataset: Dataset, side: str, include: Sequence[str], exclude: Sequence[str], limit: int | None
) -> Iterator[Selected]:
    """Yield the files that a conversion makes.

    In a folder with both domains only the images of ``side`` are translated. Broken links are included, so that they
    are not taken for carried files.

    Raises:
        DatasetError: If there is no frame to translate.
    """
    frames = [frame.image for frame in dataset.frames(include, exclude) if frame.side in (None, side)]
    if not frames:
        everything = sum(frame.side in (None, side) for frame in dataset.frames())
        if not everything and (findings := dataset.non_photos.findings):
            message = (
                f"{dataset.root}: none of the images in this {dataset.name} dataset is from a camera: {findings[0]}"
            )
            raise DatasetError(message, topic="one-side-is-empty")
        hint = f"--include and --exclude leave none of its {everything} frames" if everything else f"no {side} images"
        message = f"{dataset.root}: {hint} in this {dataset.name} dataset; `sim2real inspect` shows what is there"
        raise DatasetError(message, topic="one-side-is-empty")
    chosen, others = set(frames[:limit]), set(frames[limit:] if limit is not None else ())
    for path, role in [*dataset.files(), *((path, Role.AUX) for path in dataset.tree.broken)]:
        if path not in others and selected(path, include, exclude):
            yield Selected(path, Role.IMAGE if path in chosen else role, path in chosen)


def selected(path: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Return whether a path matches an included glob, if there are any, and no excluded one; ``*`` matches slashes."""
    return any(fnmatchcase(path, glob) for glob in include or "*") and not any(
        fnmatchcase(path, glob) for glob in exclude
    )


def _own(jobs: list[Job], shard: tuple[int, int] | None, neighbours: int) -> list[Job]:
    """Return the files of a shard, done or not: every N-th image or sequence, what follows them, every N-th other file.

    If frames depend on their neighbours only, sequences are shared out in pieces.
    """
    index, count = shard or (0, 1)
    sequences = sequences_of(jobs)
    groups = [piece for sequence in sequences for piece in pieces_of(sequence)] if neighbours else sequences
    alone = [[job] for job in jobs if job.translate and not job.sequence]
    images = [job for group in [*alone, *groups][index::count] for job in group]
    here = {job.path for job in images}
    others = [job for job in jobs if not job.translate and not job.follows][index::count]
    return [*images, *(job for job in jobs if job.follows in here), *others]


def check_places(source: Path, out: Path) -> None:
    """Check that a dataset can be converted from one folder into the other.

    Raises:
        Sim2RealError: If it cannot; the message says what to name instead.
    """
    if wrong := not_a_folder(source):
        raise DatasetError(wrong)
    if is_run(source) and not is_conversion(source):
        right = command_line("sim2real", "convert", "SRC", "OUT", "--model", source)
        raise DatasetError(f"{source}: a run of sim2real train, not a dataset; give the model with --model: {right}")
    if out.exists() and not out.is_dir():
        message = f"{out}: a file; name a new or empty folder to convert into"
        raise Sim2RealError(message)
    if is_run(out):
        right = command_line("sim2real", "convert", source, "OUT", "--model", out)
        raise Sim2RealError(f"{out}: a run of sim2real train; name a new or empty folder to convert into: {right}")
    inner, outer = out.resolve(), source.resolve()
    if _within(inner, outer) or _within(outer, inner):
        message = f"{out} and {source}: one is inside the other or they are the same; name a folder outside the source"
        raise Sim2RealError(message)
    known = record_path(out).is_file() or manifest_path(out).is_file()  # STATE_FOLDER may hold other reports
    if out.is_dir() and not known and any(path.name != STATE_FOLDER for path in out.iterdir()):
        message = f"{out}: not empty, and not a conversion by sim2real; name a new or empty folder to convert into"
        if is_conversion(source):
            message += f"; or is it the other way round? {command_line('sim2real', 'convert', out, source)}"
        raise Sim2RealError(message)
    check_writable(out)


def _within(inner: Path, outer: Path) -> bool:
    """Return whether a folder is another one or inside it, also through links."""
    return outer.exists() and any(folder.exists() and folder.samefile(outer) for folder in (inner, *inner.parents))
