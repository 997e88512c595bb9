"""The Python functions ``sim2real.train`` and ``sim2real.convert``.

They do the same as the commands of these names, but print nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sim2real.errors import SettingsError

if TYPE_CHECKING:
    from sim2real.config import Conversion
    from sim2real.conversion import ConversionSummary, ConvertOptions
    from sim2real.conversion import Progress as ConvertProgress
    from sim2real.training import TrainingProgress as TrainProgress
    from sim2real.training.validation import Standing

Place = str | Path


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """The outcome of a training.

    Attributes:
        run: The run folder, accepted as a model by ``sim2real.load`` and ``sim2real.convert``.
        standing: An assessment of the training: ``state`` (``"good"``, ``"open"`` or ``"bad"``), ``text`` and
            ``advice``.
        step: Number of completed steps.
        used_step: The step that the run's generators are taken from.
        finished: Whether the training is complete; False if ``stop`` ended it.
    """

    run: Path
    standing: "Standing"
    step: int
    used_step: int
    finished: bool


def train(
    sim: Place | None = None,
    real: Place | Sequence[Place] | None = None,
    *,
    run: Place | None = None,
    recipe: str | None = None,
    settings: Mapping[str, Any] | None = None,
    steps: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    deterministic: bool | None = None,
    swap: bool | None = None,
    resume: bool = False,
    progress: "Callable[[TrainProgress], None]" = lambda _progress: None,
    notify: Callable[[str], None] = lambda _line: None,
    stop: Callable[[], bool] = lambda: False,
) -> TrainingResult:
    """Learn the appearance of real images from unpaired folders and videos, as ``sim2real train`` does.

    A ``sim2real.toml`` is not read. If the training is interrupted, for example by Ctrl-C in a notebook, its last
    checkpoint remains, and ``resume`` continues from there.

    Args:
        sim: Simulated images: a dataset of any known layout.
        real: Real images: folders and videos. None if ``sim`` is a CycleGAN folder, which holds both sides.
        run: Run folder; defaults to ``runs/<recipe>``. It must not contain a run unless ``resume`` is set.
        recipe: Settings to start from; defaults to ``"labelled"`` if all simulated images have masks, else to
            ``"default"``.
        settings: Settings that override the recipe's, as nested tables or with dotted keys:
            ``{"data": {"batch_size": 4}}`` or ``{"data.batch_size": 4}``.
        steps: Number of training steps.
        seed: Seed of all random numbers.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:0"`` or ``"mps"``.
        precision: ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp16"``.
        deterministic: Make two runs with the same seed equal bit for bit, at some cost in speed.
        swap: Use B of a CycleGAN folder as the simulation and A as the real side.
        resume: Continue the run in the run folder.
        progress: Called at intervals with the progress of the training.
        notify: Called with each message for the user, one line each.
        stop: Called after each step; a true result saves the training and ends it.

    Raises:
        Sim2RealError: If the images, the settings or the folder are unsuitable, or if the training fails. The subclass
            names the kind of error.
    """
    from sim2real.training.begin import prepare, sides

    named = [] if real is None else [real] if isinstance(real, str | Path) else list(real)
    config = prepare(
        recipe,
        settings=settings,
        resume=resume,
        notify=notify,
        **sides(sim, named),
        run=None if run is None else str(run),
        train__steps=steps,
        seed=seed,
        device=device,
        precision=precision,
        deterministic=deterministic,
        swap=swap,
    )
    from sim2real.training import Note, Trainer

    trainer = (Trainer.resume if resume else Trainer.begin)(config, config.run_folder)
    if not trainer.finished:
        for event in trainer.train(stop=lambda: int(stop())):
            if isinstance(event, Note):
                notify(event.text)
            else:
                progress(event)
    return TrainingResult(trainer.run.path, trainer.standing, trainer.step, trainer.used_step, trainer.finished)


def convert(
    source: Place,
    out: Place,
    *,
    model: Place | None = None,
    direction: Literal["sim2real", "real2sim"] | None = None,
    dataset: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    as_image: Sequence[str] = (),
    carry: Literal["copy", "hardlink", "symlink"] = "copy",
    encoding: Literal["fixed", "source", "real"] = "fixed",
    quality: int | None = None,
    codecs: Literal["cpu", "gpu", "auto"] = "cpu",
    resize: tuple[int, int] | str | None = None,
    transfer: Literal["direct", "guided"] | None = None,
    neighbours: int | None = None,
    camera: Literal["match", "off"] | None = None,
    labelme_image: Literal["embed", "drop", "keep"] = "keep",
    gate: Sequence[str] = (),
    rejected: Literal["quarantine", "blend", "colour", "guided", "pass"] | None = None,
    look: int = 0,
    batch_size: int | None = None,
    tile: int | str = "auto",
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    limit: int | None = None,
    shard: str = "auto",
    overwrite: bool = False,
    keep_going: bool = False,
    progress: "ConvertProgress | None" = None,
    notify: Callable[[str], None] = lambda _line: None,
) -> "ConversionSummary":
    """Convert a dataset, as ``sim2real convert`` does: translate camera images and carry all other files unchanged.

    Running an interrupted conversion again continues it. A ``sim2real.toml`` is not read.

    Args:
        source: Folder of the dataset; never written to.
        out: Output folder: new, empty, or of an earlier run of the same conversion.
        model: Run folder or generator file; None selects the newest run in ``runs``.
        direction: Which generator of the run to use.
        dataset: Name of the dataset layout; detected by default.
        include: Globs; if given, only matching files are converted or carried.
        exclude: Globs of files to leave out.
        as_image: Globs of files to treat as camera images, even if their names or pixels suggest labels.
        carry: How labels and all other files are transferred.
        encoding: How JPEG files are encoded: ``"fixed"`` uses ``quality``, ``"source"`` follows each source file,
            ``"real"`` follows most of the real files.
        quality: JPEG quality for ``"fixed"`` encoding, 1 to 100; None means 95.
        codecs: What decodes and encodes JPEG files: ``"cpu"``, ``"gpu"`` (an NVIDIA GPU where it can), or ``"auto"``
            for the faster one on some frames.
        resize: Size of the converted images, (W, H) or ``"621x188"``; labels that depend on the size are adapted.
        transfer: ``"direct"`` keeps the generator's pixels, ``"guided"`` applies its light and colours to the frames;
            None follows the model.
        neighbours: Number of frames before and after each frame of a sequence over which the change is averaged, 0 to
            8, if the transfer is guided or the generator predicts grids; None follows the model.
        camera: ``"match"`` applies the blur and noise of the real images, ``"off"`` leaves the generator's output as
            it is; None follows the model.
        labelme_image: How to treat the photos embedded in LabelMe's JSON files.
        gate: Conditions that a translation must meet, for example ``["preservation>=0.9"]``.
        rejected: What replaces translations that fail the gate; ``"quarantine"`` keeps the source image.
        look: Index of the look; each index samples the generator's random numbers anew and needs its own output
            folder.
        batch_size: Number of frames per batch; None selects one that suits the device.
        tile: ``"auto"``, ``"off"``, or the side length of tiles in pixels.
        engine: Name of the engine that runs the generator.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:0"`` or ``"mps"``.
        precision: ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp16"``.
        workers: Number of threads that decode and encode; None selects one that suits the machine.
        limit: Translate only this many frames, the first ones, and leave out the others.
        shard: ``"I/N"`` for the I-th of N shards of the files, ``"off"``, or ``"auto"`` to follow torchrun, srun or a
            SLURM array.
        overwrite: Convert files again that an earlier conversion has written.
        keep_going: Continue after a file that fails; the summary lists it in ``failed``.
        progress: Called for the stages ``"converting"`` and ``"carrying"``.
        notify: Called with each message for the user, one line each.

    Raises:
        Sim2RealError: If the conversion is impossible, or if a file fails and ``keep_going`` is not set. Finished files
            are kept.
    """
    section = _section(
        source=str(source),
        out=str(out),
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
    )
    if rejected and not gate:
        raise SettingsError('rejected: no gate rejects anything; name one: gate=["preservation>=0.9"]')
    if look < 0:
        raise SettingsError(f"look = {look}: must be at least 0")
    for name, count in {"batch_size": batch_size, "workers": workers, "limit": limit}.items():
        if count is not None and count < 1:
            raise SettingsError(f"{name} = {count}: must be at least 1")
    from sim2real import conversion
    from sim2real.conversion.shards import find_shard, own_device

    part = find_shard(shard)
    if part:
        notify(f"{part} ({part.set_by}): this process converts one file in {part.count}; shard='off' converts all")
    common = conversion.ConvertOptions(
        model=Path(model) if model else None,
        limit=limit,
        batch_size=batch_size,
        tile=str(tile),
        engine=engine,
        device=own_device(device, part),
        precision=precision,
        shard=(part.index, part.count) if part else None,
        workers=workers,
        overwrite=overwrite,
        keep_going=keep_going,
    )
    return conversion.convert(
        Path(source), Path(out), options_of(section, common, look), progress or conversion.quiet, notify=notify
    )


def options_of(section: "Conversion", options: "ConvertOptions", look: int = 0) -> "ConvertOptions":
    """Return the common options, updated with those of one ``[[convert]]`` table, or of one look of it."""
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in section}
    del values["source"], values["out"]
    return replace(options, **values | {"look": look, "looks": max(section.looks, look + 1)})


def _section(**named: Any) -> "Conversion":  # noqa: ANN401  pydantic checks them
    from pydantic import ValidationError

    from sim2real.config import Conversion
    from sim2real.refusals import reason

    try:
        return Conversion(**{name: value for name, value in named.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(f"{first['loc'][0]} = {named[str(first['loc'][0])]!r}: {reason(first)}") from error
