"""``sim2real.train`` and ``sim2real.convert``: what the commands of these names do, for Python; they print nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sim2real.errors import SettingsError

if TYPE_CHECKING:
    from sim2real.config import Conversion
    from sim2real.conversion import ConversionSummary, ConvertOptions
    from sim2real.conversion import Progress as ConvertProgress
    from sim2real.training import Progress as TrainProgress
    from sim2real.training.validation import Standing

Place = str | Path


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a training has come to.

    Attributes:
        run: The run folder: what ``sim2real.load`` and ``sim2real.convert`` take for a model.
        standing: How it stands: ``state``, ``"good"``, ``"open"`` or ``"bad"``, ``text``, and ``advice``.
        step: Steps done.
        used_step: The step whose generators the run gives.
        finished: Whether it is at its end; False where ``stop`` ended it.
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
    """Learn the look of real images from unpaired folders and videos, as ``sim2real train`` does.

    A ``sim2real.toml`` is not looked for. What interrupts the training, Ctrl-C in a notebook for one, leaves its last
    checkpoint, from which ``resume`` goes on.

    Args:
        sim: Simulated images: a dataset of any known layout.
        real: Real images: folders and videos. None: ``sim`` is a CycleGAN folder, which holds both.
        run: Run folder, ``runs/<recipe>`` if left out; it must hold no run unless ``resume``.
        recipe: Settings to start from; left out ``"labelled"`` where all simulated images have masks, else
            ``"default"``.
        settings: Any settings over those, in tables or by dotted keys: ``{"data": {"batch_size": 4}}`` or
            ``{"data.batch_size": 4}``.
        steps: Length of the training.
        seed: Decides everything that is random.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:0"`` or ``"mps"``.
        precision: ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp16"``.
        deterministic: Two runs with one seed are equal bit for bit, at some cost in speed.
        swap: In a CycleGAN folder take B as the simulation and A as real.
        resume: Go on with the run that is in the run folder.
        progress: Told every now and then where the training stands.
        notify: Called with a line on what the user should know.
        stop: Asked after each step; what is true ends the training, which is saved.

    Raises:
        Sim2RealError: The images, the settings or the folder do not allow it, or the training fails; each child says
            in its name what is wrong.
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

    trainer = Trainer(config, config.run_folder, resume=resume)
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
    """Convert a dataset, as ``sim2real convert`` does: camera images are translated, all else comes over as it is.

    A rerun of an interrupted conversion continues it. A ``sim2real.toml`` is not looked for.

    Args:
        source: Folder of the dataset; never written to.
        out: Folder to convert into: new, empty, or of the same conversion.
        model: Run folder or generator file; None: the newest run in ``runs``.
        direction: Which generator of the run.
        dataset: Layout; recognised if left out.
        include: Globs; if there are any, only files that fit one are converted and carried.
        exclude: Globs of files that are left out.
        as_image: Globs of images that are a camera's, whatever their names and pixels tell.
        carry: How labels and all other files come over.
        encoding: How JPEG files are written: ``"fixed"`` by ``quality``, as each ``"source"``, as most ``"real"`` ones.
        quality: Of JPEG, 1 to 100, where the encoding is ``"fixed"``; None: 95.
        resize: Bring images to this size, (W, H) or ``"621x188"``, and all that depends on it with them.
        transfer: ``"direct"``: the generator's own pixels; ``"guided"``: the frames with their light and colours; None:
            as the model says.
        neighbours: Over how many frames before and behind it what is done to a frame of a sequence is averaged, 0 to 8,
            where the transfer is guided or the generator paints by grids; None: as the model says.
        camera: ``"match"``: frames are as soft and as noisy as real ones; ``"off"``: as the generator gives them; None:
            as the model says.
        labelme_image: What becomes of the photos inside of LabelMe's JSON files.
        gate: What a translation must fulfil, for example ``["preservation>=0.9"]``.
        rejected: What takes the place of those that do not; ``"quarantine"``: the source's image.
        look: Another number draws anew what a generator samples at random: each look goes into a folder of its own.
        batch_size: Frames at once; None: what suits the device.
        tile: ``"auto"``, ``"off"``, or the side of tiles in pixels.
        engine: What runs the generator.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:0"`` or ``"mps"``.
        precision: ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp16"``.
        workers: Threads that decode and encode; None: what suits the machine.
        limit: Translate the first so many frames, leave out the others.
        shard: ``"I/N"``: the I-th of N shards of the files; ``"off"``; ``"auto"``: as torchrun, srun or a SLURM array
            say.
        overwrite: Convert anew what an earlier conversion left.
        keep_going: Go on after a file that cannot be done; the summary names it under ``failed``.
        progress: Told of the stages ``"converting"`` and ``"carrying"``.
        notify: Called with a line on what the user would wonder at.

    Raises:
        Sim2RealError: It cannot be done, or a file cannot be and ``keep_going`` is not set; what is finished is kept.
    """
    section = _section(
        source=str(source),
        out=str(out),
        direction=direction,
        dataset=dataset,
        include=include if isinstance(include, str) else list(include),
        exclude=exclude if isinstance(exclude, str) else list(exclude),
        as_image=as_image if isinstance(as_image, str) else list(as_image),
        carry=carry,
        encoding=encoding,
        quality=quality,
        resize=resize,
        transfer=transfer,
        neighbours=neighbours,
        camera=camera,
        labelme_image=labelme_image,
        gate=gate if isinstance(gate, str) else list(gate),
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
        notify(f"{part}, says {part.said_by}: this process does one file in {part.count}; shard='off': all of it here")
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
    """Options of one of sim2real.toml's conversions, or of a look of it, over those that hold for all of them."""
    return replace(
        options,
        dataset=section.dataset,
        direction=section.direction,
        include=tuple(section.include),
        exclude=tuple(section.exclude),
        as_image=tuple(section.as_image),
        carry=section.carry,
        encoding=section.encoding,
        quality=section.quality,
        resize=section.resize,
        transfer=section.transfer,
        neighbours=section.neighbours,
        camera=section.camera,
        labelme_image=section.labelme_image,
        gate=tuple(section.gate),
        rejected=section.rejected,
        look=look,
        looks=max(section.looks, look + 1),
    )


def _section(**named: Any) -> "Conversion":  # noqa: ANN401  checked here
    from pydantic import ValidationError

    from sim2real.config import Conversion
    from sim2real.refusals import reason

    try:
        return Conversion(**{name: value for name, value in named.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(f"{first['loc'][0]} = {named[str(first['loc'][0])]!r}: {reason(first)}") from error
