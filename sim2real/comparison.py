"""Compare recipes on a simulation and real images. All recipes are evaluated alike, on the same held-out frames.

Recipes without training take seconds and are always tried; those that train share a time budget. The results are kept
in one folder, ``recipes/NAME/run`` and ``recipes/NAME/converted``, and finished recipes are not tried again.
"""

import glob
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any, Final, Literal

from sim2real.config import Config, resolve
from sim2real.contactsheet import contact_sheet
from sim2real.conversion import ConvertOptions, convert
from sim2real.datasets.partners import evenly
from sim2real.errors import Sim2RealError
from sim2real.evaluation.evaluator import EvaluateOptions, evaluate
from sim2real.evaluation.figures import Evaluation, Figure, read_evaluation
from sim2real.evaluation.verdict import FAULTS, assess
from sim2real.files import write_whole
from sim2real.imageio import encode_png, read_rgb
from sim2real.inside import inside, read_regular
from sim2real.progress import Progress, quiet
from sim2real.registry import registry
from sim2real.stored import MisfitError, parse
from sim2real.training import Trainer
from sim2real.training.begin import check_images
from sim2real.training.domains import open_domains
from sim2real.training.forecast import forecast
from sim2real.training.run import RunFolder

FRAMES: Final = 48
"""Number of held-out frames of each side; a quarter of the frames if there are fewer than four times as many."""
TRAINED: Final = ("class-distribution", "grid", "labelled", "default")
_WITH_MASKS: Final = ("class-distribution", "labelled")
"""Default recipes that share the budget; these give useful results after minutes."""
SHEET: Final = "compare.png"
_ABOUT: Final = "comparison.json"
_ROWS = 4  # frames of the sheet
_FEWEST_STEPS = 20  # fewer are not informative
_FURTHEST = 2.0  # limits the influence of a single metric
_LIKE_BEST = 0.05  # smaller differences of the remaining distance do not count
_MEASURED = ("sliced-wasserstein", "colour", "spectrum", "edges", "structure", "artefacts")  # the quick metrics
_REAL = 200  # maximum number of real images to compare with
_SHOWN = ("steps", "converting", "frames")  # the long stages
_FIGURES = ("new_edges", "lost_boundaries", "invented")  # the metrics of label consistency


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """The result of one recipe.

    Attributes:
        recipe: Name of the recipe.
        verdict: ``"PASS"``, ``"WARN"`` or ``"FAIL"``, as in ``sim2real evaluate``; ``"none"`` if the recipe could not
            be tried, as explained in ``reasons``.
        reasons: The reasons for the verdict.
        distance: Remaining share of the distance to real images: 1 is the whole distance, 0 means as close as real
            images are to each other. It is the mean over ``by_metric``, or None if no metric gives a value.
        by_metric: Remaining share of the distance by each metric.
        labels: The metrics of label consistency: ``new_edges``, ``lost_boundaries``, ``invented``.
        artefacts: Obvious visual faults.
        steps: Number of training steps.
        training_seconds: Duration of the training; close to 0 if the run was finished before.
        frame_seconds: Conversion time of one frame, including its files.
    """

    recipe: str
    verdict: Literal["PASS", "WARN", "FAIL", "none"]
    reasons: tuple[str, ...] = ()
    distance: float | None = None
    by_metric: dict[str, float] = field(default_factory=dict)
    labels: dict[str, float] = field(default_factory=dict)
    artefacts: tuple[str, ...] = ()
    steps: int = 0
    training_seconds: float = 0.0
    frame_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The results of all recipes.

    Attributes:
        sim: The simulation.
        real: Folders and videos of real images.
        frames: Number of held-out frames that were evaluated.
        masks: Whether the simulation has class masks.
        camera: Whether the recipes were tried with the camera of the real images.
        results: The results, the closest to real images first and failures last.
        take: The recommended recipe; empty if there is none.
        why: The reason for the recommendation.
        sheet: A picture of the same frames with each recipe.
    """

    sim: Path
    real: tuple[Path, ...]
    frames: int
    masks: bool
    camera: bool
    results: tuple[Result, ...]
    take: str
    why: str
    sheet: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareOptions:
    """Options of a comparison.

    Attributes:
        recipes: Names of recipes; by default all recipes without training and, with a budget, those in ``TRAINED``.
        budget: Seconds for all trainings together; 0 trains nothing.
        frames: Number of frames of each side to hold out.
        camera: Whether to apply the blur and noise of the real images to all recipes.
        seed: Seed of all random numbers.
        device: See ``sim2real.devices``.
    """

    recipes: tuple[str, ...] = ()
    budget: float = 0.0
    frames: int = FRAMES
    camera: bool = True
    seed: int = 0
    device: str = "auto"


def compare(
    sim: Path,
    real: Sequence[Path],
    folder: Path,
    options: CompareOptions | None = None,
    *,
    progress: Progress = quiet,
    notify: Callable[[str], None] = lambda _line: None,
) -> Comparison:
    """Try recipes on a simulation and real images, and recommend one.

    Args:
        sim: The simulation, a dataset of any layout.
        real: Real images: folders and videos.
        folder: Folder for all results.
        options: Options that differ from the defaults.
        progress: Called for each stage of each recipe, ``"NAME: steps"``, ``"NAME: converting"`` ...
        notify: Called with a line on each step.

    Raises:
        Sim2RealError: If there are too few images, a recipe does not exist, or the folder contains another comparison.
    """
    options = options or CompareOptions()
    about = _about(sim, real, options)
    _require_same(folder, about)
    for place in (sim, *real):
        check_images(place, videos=place is not sim)
    images: dict[str, Any] = {"sim": str(sim), "real": [str(place) for place in real], "seed": options.seed}
    basis = resolve("reinhard", run=str(folder), **images)
    sides = open_domains(_held_out(basis, 1), inside(folder, "frames"))
    counts = [len(side.frames) for side in sides]
    count = min(options.frames, *(of_side // 4 for of_side in counts))
    if count < 1:
        raise Sim2RealError(f"{counts[0]} simulated and {counts[1]} real images: a comparison needs at least 4 of each")
    masks = all("segmentation" in frame.labels for frame in sides[0].frames)
    names = _names(options, masks=masks)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(inside(folder, _ABOUT), (json.dumps(about, indent=1) + "\n").encode())
    trained = [name for name in names if not _only_looks(name)]
    results = []
    for name in names:
        config = resolve(
            name,
            sets=["camera.match=true"] if options.camera else [],
            device=options.device,
            run=str(folder / "recipes" / name / "run"),
            **images,
        )
        seconds = options.budget / len(trained) if name in trained else 0.0
        try:
            shown = _named(name, progress)
            found = _try(_held_out(config, count), folder, seconds, masks=masks, progress=shown, notify=notify)
        except Sim2RealError as error:
            found = Result(recipe=name, verdict="none", reasons=(str(error),))
            notify(f"{name}: {error}")
        results.append(found)
    results.sort(key=_place)
    take, why = choose(results)
    sheet = inside(folder, SHEET)
    _draw(sheet, sim, results, folder, evenly(sides[1].frames, _ROWS))
    return Comparison(
        sim=sim,
        real=tuple(real),
        frames=count,
        masks=masks,
        camera=options.camera,
        results=tuple(results),
        take=take,
        why=why,
        sheet=sheet,
    )


def _held_out(config: Config, count: int) -> Config:
    """Return the settings with this number of held-out images of each side and without periodic evaluation."""
    data = config.data.model_copy(update={"validation": float(count)})
    evaluate_never = config.evaluate.model_copy(update={"every": 0})
    return config.model_copy(update={"data": data, "evaluate": evaluate_never})


def _only_looks(recipe: str) -> bool:
    """Return whether a recipe works without training."""
    return resolve(recipe).method.name == "fit"


def _names(options: CompareOptions, *, masks: bool) -> list[str]:
    """Return the names of the recipes to try."""
    if options.recipes:
        for name in options.recipes:
            registry().entry("recipes", name)
        if not options.budget and (trained := [name for name in options.recipes if not _only_looks(name)]):
            raise Sim2RealError(f"{trained[0]}: this recipe trains; give it time: --budget 10m")
        return list(dict.fromkeys(options.recipes))
    quick = [entry.name for entry in registry().entries("recipes") if _only_looks(entry.name)]
    slow = [name for name in TRAINED if masks or name not in _WITH_MASKS] if options.budget else []
    return [*quick, *slow]


def _try(
    config: Config, folder: Path, seconds: float, *, masks: bool, progress: Progress, notify: Callable[[str], None]
) -> Result:
    """Train a recipe, convert the held-out frames and evaluate them, or read an earlier result."""
    name = config.recipe
    place = inside(folder, f"recipes/{name}")
    kept = place / "result.json"
    if kept.is_file():
        try:
            found = parse(Result, read_regular(kept))
        except MisfitError as error:
            raise Sim2RealError(f"{kept}: damaged ({error}); remove it to try the recipe again") from error
        notify(f"{name}: finished before, {found.steps} steps; remove {place} to try it again")
        return found
    trainer, took = _train(config, seconds, progress, notify)
    out = place / "converted"
    frames = tuple(glob.escape(frame.image) for frame in trainer.sim.held_out)
    options = ConvertOptions(model=config.run_folder, device=config.device, include=frames)
    summary = convert(Path(config.sim), out, options, progress)
    evaluation = read_evaluation(out) or evaluate(
        out,
        config.real_places,
        options=EvaluateOptions(
            metrics=_MEASURED + (("contrast",) if masks else ()),
            segmenter_steps=0,
            seed=config.seed,
            device=config.device,
            extracted=inside(folder, "frames"),
            count=_REAL,
        ),
        progress=progress,
    )
    found = replace(
        measured(name, evaluation),
        steps=trainer.step,
        training_seconds=round(took, 1),
        frame_seconds=round(summary.seconds / max(1, summary.converted), 4),
    )
    write_whole(kept, (json.dumps(asdict(found), indent=1) + "\n").encode())
    return found


def _train(config: Config, seconds: float, progress: Progress, notify: Callable[[str], None]) -> tuple[Trainer, float]:
    """Return the trainer of the finished run, and the seconds that the training took now."""
    run, begun = config.run_folder, False
    if (run / "config.toml").is_file():
        config, begun = RunFolder(run).read_config(), True
    elif seconds:
        pace = forecast(config).seconds_per_step
        steps = min(int(seconds / pace), config.train.steps or int(seconds / pace))
        if steps < _FEWEST_STEPS:
            raise Sim2RealError(
                f"a step takes {pace:.2g} s: {steps} steps in {seconds:.0f} s are too few; increase --budget"
            )
        notify(f"{config.recipe}: {steps} steps, {pace:.2g} s each")
        config = config.model_copy(update={"train": config.train.model_copy(update={"steps": steps, "epochs": None})})
    began = time.monotonic()
    trainer = (Trainer.resume if begun else Trainer.begin)(config, run)
    if not trainer.finished:
        for _ in trainer.train():
            progress("steps", trainer.step, trainer.total)
    return trainer, time.monotonic() - began


def _named(name: str, progress: Progress) -> Progress:
    def note(stage: str, done: int, total: int, limit: str = "", /) -> None:
        if stage in _SHOWN:
            progress(f"{name}: {stage}", done, total, limit)

    return note


def measured(recipe: str, evaluation: Evaluation) -> Result:
    """Return the result of a recipe from its evaluation."""
    by_metric = {figure.name: share for figure in evaluation.figures if (share := distance_left(figure)) is not None}
    plain = {figure.name: figure for figure in evaluation.figures if not figure.label}
    return Result(
        recipe=recipe,
        verdict=evaluation.verdict,
        reasons=evaluation.reasons,
        distance=round(mean(by_metric.values()), 4) if by_metric else None,
        by_metric={name: round(share, 4) for name, share in by_metric.items()},
        labels={
            name: round(figure.after, 5)
            for name in _FIGURES
            if (figure := plain.get(name)) is not None and figure.after is not None
        },
        artefacts=tuple(
            text for name, text in FAULTS.items() if name in plain and assess(plain[name]) in {"WARN", "FAIL"}
        ),
    )


def distance_left(figure: Figure) -> float | None:
    """Return the remaining share of the distance to real images.

    1 is the whole distance, 0 means as close as real images are to each other. The result is None if the figure is no
    distance to real images, or if the untranslated frames were as close already. Few frames are sufficient, because
    all recipes are compared on the same ones.
    """
    if figure.group != "realism" or figure.label or figure.after is None or figure.before is None:
        return None
    floor = figure.floor or 0.0
    whole = figure.before - floor
    return min(max(figure.after - floor, 0) / whole, _FURTHEST) if whole > 1e-6 else None


def _place(result: Result) -> tuple[int, float]:
    """Return the sort key of a result in the table."""
    group = ("PASS", "WARN", "FAIL", "none").index(result.verdict)
    return max(group, 1), float("inf") if result.distance is None else result.distance


def choose(results: Sequence[Result]) -> tuple[str, str]:
    """Return the recommended recipe, empty if there is none, and the reason.

    Among the recipes that preserve labels and show no artefacts, this is the one closest to real images; among several
    that are about equally close, the fastest.
    """
    usable = [each for each in results if each.verdict in {"PASS", "WARN"} and not each.artefacts]
    nearer = [each for each in usable if each.distance is not None and each.distance < 1]
    if not nearer:
        failed = f"{len(results) - len(usable)} of {len(results)} recipes"
        return "", (
            f"none comes closer to real images without harm ({failed} harm labels, show artefacts or could not be "
            "tried); increase --budget, or use more images"
        )
    best = min(each.distance or 0.0 for each in nearer)
    alike = [each for each in nearer if (each.distance or 0.0) <= best + _LIKE_BEST]
    taken = min(alike, key=lambda each: (each.training_seconds, each.frame_seconds))
    edges = f"{taken.labels['new_edges']:.1%} of its edges are new" if "new_edges" in taken.labels else "labels hold"
    why = f"{taken.distance:.0%} of the distance to real images is left, {edges}"
    if len(alike) > 1:
        others = ", ".join(each.recipe for each in alike if each is not taken)
        why += f"; about as close, but slower: {others}"
    return taken.recipe, why


def _about(sim: Path, real: Sequence[Path], options: CompareOptions) -> dict[str, Any]:
    """Return the inputs that must be equal for results to be comparable."""
    return {
        "sim": str(sim.resolve()),
        "real": [str(place.resolve()) for place in real],
        "frames": options.frames,
        "camera": options.camera,
        "seed": options.seed,
    }


def _require_same(folder: Path, about: Mapping[str, Any]) -> None:
    """Check that a folder is new, empty, or contains the same comparison; write nothing."""
    file = inside(folder, _ABOUT)
    if file.is_file():
        try:
            earlier = parse(dict[str, Any], read_regular(file))
        except MisfitError as error:
            raise Sim2RealError(f"{file}: damaged ({error}); name another folder: --out") from error
        if changed := [name for name in about if earlier.get(name) != about[name]]:
            name = changed[0]
            raise Sim2RealError(
                f"{folder}: a comparison with {name} = {earlier.get(name)}, not {about[name]}; name another --out"
            )
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Sim2RealError(f"{folder}: not empty, and no comparison; name a new or empty folder: --out")


def _draw(sheet: Path, sim: Path, results: Sequence[Result], folder: Path, photos: Sequence[Any]) -> None:
    """Draw the same frames with each recipe, next to some real images."""
    tried = [each.recipe for each in results if each.verdict != "none"]
    if not tried:
        return
    outs = {name: folder / "recipes" / name / "converted" for name in tried}
    config = RunFolder(folder / "recipes" / tried[0] / "run").read_config()
    held_out = open_domains(config, inside(folder, "frames"))[0].held_out
    frames = evenly([frame.image for frame in held_out], _ROWS)
    columns = {"source": [read_rgb(sim / path) for path in frames]}
    columns |= {name: [read_rgb(out / path) for path in frames] for name, out in outs.items()}
    columns["real"] = [read_rgb(frame.path) for frame in photos]
    write_whole(sheet, encode_png(contact_sheet(columns, smallest=160, largest=320)))
