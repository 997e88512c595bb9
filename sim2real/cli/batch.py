"""The command ``sim2real batch``."""

import json
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim2real.cli.console import err, interruptible, out, progress
from sim2real.cli.convert import show_sizes, show_summary
from sim2real.cli.evaluate import STYLES, show_evaluation
from sim2real.cli.settings import (
    DeterministicOption,
    DeviceOption,
    FromOption,
    PrecisionOption,
    RecipeOption,
    RunOption,
    SeedOption,
    SetOption,
    StepsOption,
    SwapOption,
    settings_here,
    training_settings,
)
from sim2real.cli.training_view import run_training, show_end, show_standing
from sim2real.cli.verify import show_report
from sim2real.errors import SettingsError, Sim2RealError
from sim2real.files import sha256_of, write_whole
from sim2real.inside import inside, read_regular
from sim2real.stored import MisfitError, fit, parse

if TYPE_CHECKING:
    from sim2real.config import Config, Conversion
    from sim2real.evaluation.evaluator import EvaluateOptions
    from sim2real.training import Trainer


def command(
    places: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="SIM REAL... OUT",
            help="The simulated dataset, real images (folders and videos), and the output folder.",
        ),
    ] = None,
    run: RunOption = None,
    recipe: RecipeOption = None,
    start: FromOption = None,
    sets: SetOption = None,
    steps: StepsOption = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    deterministic: DeterministicOption = None,
    swap: SwapOption = None,
) -> None:
    """The whole job: train, convert every listed dataset, verify, evaluate, report. A rerun continues where it stopped.

    Exit code 1: a conversion is incomplete or its evaluation is FAIL; all other work is finished nevertheless.

    Without SIM REAL OUT, ./sim2real.toml defines what to train on and what to convert.
    """
    from sim2real.config import resolve
    from sim2real.training.begin import resumed, run_folder_of, suited

    sim, real, converted = _split_places(places or [])
    flags = training_settings(
        sim,
        real,
        run,
        steps,
        start=start,
        seed=seed,
        device=device,
        precision=precision,
        deterministic=deterministic,
        swap=swap,
    )
    if converted:
        flags["convert"] = [{"source": str(sim), "out": str(converted)}]
    config = resolve(recipe, settings_here(), sets or [], **flags)
    asked = config.precision  # a run keeps what its training has chosen, which conversions need not choose, too
    folder = run_folder_of(config, recipe, settings_here(), sets or [], **flags)
    if (folder / "config.toml").is_file():
        flags["run"] = str(folder)  # a run folder may have been moved here
        config = resumed(folder, recipe, settings_here(), sets or [], **flags)
    else:
        config = suited(config, recipe, settings_here(), sets or [], notify=err.print, **flags)
    conversions = run_batch(config, precision=asked)["conversions"]
    if any(not done["verified"] or (done["evaluation"] or {}).get("verdict") == "FAIL" for done in conversions):
        raise typer.Exit(1)


def _split_places(places: list[Path]) -> tuple[Path | None, list[Path], Path | None]:
    """Return SIM, REAL and OUT; fewer than three places contain no OUT."""
    if len(places) < 3:
        return places[0] if places else None, places[1:], None
    return places[0], places[1:-1], places[-1]


@interruptible("finished work is kept; the same command continues")
def run_batch(
    config: "Config", options: "EvaluateOptions | None" = None, *, precision: str | None = None
) -> dict[str, Any]:
    """Train, convert, verify, evaluate and report; steps that are finished already are skipped.

    Args:
        config: Settings of the job.
        options: Options of the evaluations; by default with the seed and the device of the training.
        precision: Precision of the conversions; by default that of the training's settings.

    Returns:
        The contents of ``batch.json`` in the run folder. The ``"evaluation"`` of an incomplete conversion is None, and
        so is that of every look after the first.

    Raises:
        Sim2RealError: If the settings list nothing to convert, or a step of the job fails.
        Exit: If the training was interrupted (130) or terminated (143).
    """
    from sim2real.training.begin import check_training

    check_training(config, begins=not (config.run_folder / "config.toml").is_file())
    _check_conversions(config)
    from sim2real.conversion.looks import places_of
    from sim2real.evaluation.evaluator import EvaluateOptions
    from sim2real.report import write_report

    options = options or EvaluateOptions(seed=config.seed, device=config.device)
    file = inside(config.run_folder, "batch.json")
    before = _read_earlier(file)
    trainer = _train(config)
    page = write_report(config.run_folder)
    report: dict[str, Any] = {
        "run": str(config.run_folder),
        "steps": trainer.step,
        "training": asdict(trainer.standing),
        "report": str(page),
        "conversions": [],
    }
    for section in config.convert:
        for look, place in enumerate(places_of(Path(section.out), section.looks)):
            part = section.model_copy(update={"out": str(place)})
            done: dict[str, Any] = {
                "evaluation": None,
                "report": None,
                **_convert(config, part, look, precision or config.precision),
            }
            if done["verified"] and not look:  # the other looks are similar
                done |= _evaluate(config, part, options, before.get(part.out))
            report["conversions"].append(done)
            write_whole(file, (json.dumps(report, indent=2) + "\n").encode())
    if trainer.is_first:
        show_standing(trainer.standing)
    _show_end(report["conversions"])
    return report


def _read_earlier(file: Path) -> dict[str, str]:
    """Return the manifest digest of each conversion that an earlier batch evaluated, by folder."""
    try:
        done = [fit(dict[str, Any], each) for each in parse(dict[str, Any], read_regular(file)).get("conversions", [])]
    except FileNotFoundError:
        return {}
    except (MisfitError, TypeError) as error:
        raise Sim2RealError(f"{file}: damaged ({error}); remove it to evaluate its conversions again") from error
    listed = [(each.get("out"), each.get("manifest_sha256")) for each in done]
    return {out: digest for out, digest in listed if isinstance(out, str) and isinstance(digest, str)}


def _check_conversions(config: "Config") -> None:
    """Check the conversions before the training, which may take hours."""
    from sim2real.conversion.gate import find_metrics, parse_gate
    from sim2real.conversion.looks import places_of
    from sim2real.conversion.plan import check_places
    from sim2real.conversion.resolved_settings import THIS_MACHINE
    from sim2real.datasets import open_dataset
    from sim2real.devices import resolve_device
    from sim2real.imageio.encoding import USUAL_QUALITY

    if not config.convert:
        raise SettingsError("nothing to convert: name SIM REAL OUT, or add a [[convert]] table to sim2real.toml")
    for section in config.convert:
        for place in places_of(Path(section.out), section.looks):
            check_places(Path(section.source), place)
        find_metrics(parse_gate(section.gate))
        open_dataset(section.source, section.dataset, section.as_image)
        if section.codecs == "gpu":
            THIS_MACHINE.codecs(resolve_device(config.device), section.quality or USUAL_QUALITY)


def _train(config: "Config") -> "Trainer":
    """Train to the end, resuming an existing run."""
    from sim2real.training import Trainer
    from sim2real.training.begin import refuse_changes

    folder = config.run_folder
    begun = (folder / "config.toml").is_file()
    if begun:
        refuse_changes(folder, config)
    with progress("seconds of video") as show:
        trainer = (Trainer.resume if begun else Trainer.begin)(config, folder, extraction=show)
    if not trainer.finished and (code := run_training(trainer)):
        raise typer.Exit(code)
    show_end(trainer)
    return trainer


def _convert(config: "Config", section: "Conversion", look: int, precision: str) -> dict[str, Any]:
    """Convert one look of a dataset, continuing an earlier conversion, and verify it."""
    from sim2real.api import options_of
    from sim2real.conversion import ConvertOptions, convert, verify

    common = ConvertOptions(model=config.run_folder, device=config.device, precision=precision)
    source, out = Path(section.source), Path(section.out)
    with progress() as show:
        summary = convert(source, out, options_of(section, common, look), show, announce=show_sizes, notify=err.print)
    show_summary(summary)
    with progress() as show:
        report = verify(out, source, progress=show)
    show_report(report)
    return {
        "source": section.source,
        "out": section.out,
        "model": str(summary.model),
        "converted": summary.converted,
        "rejected": summary.rejected,
        "carried": summary.carried,
        "done_before": summary.skipped,
        "files": report.files,
        "verified": report.ok,
        "problems": [f"{problem.kind}: {problem.path}: {problem.detail}" for problem in report.problems],
    }


def _evaluate(
    config: "Config", section: "Conversion", options: "EvaluateOptions", earlier: str | None
) -> dict[str, Any]:
    """Evaluate a conversion and write its report, unless an earlier batch did so and nothing has changed since.

    An evaluation error gives the verdict FAIL, so that the other conversions continue. ``earlier`` is the digest of the
    manifest that the earlier batch evaluated.
    """
    from sim2real.conversion.manifest import manifest_path
    from sim2real.datasets.video import Extraction
    from sim2real.evaluation.evaluator import evaluate, name_places
    from sim2real.evaluation.figures import read_evaluation
    from sim2real.report import report_path, write_report

    out = Path(section.out)
    backwards = section.direction == "real2sim"
    aim = [Path(config.sim)] if backwards else config.real_places
    data = config.data
    globs = (data.sim_include, data.sim_exclude) if backwards else (data.real_include, data.real_exclude)
    options = replace(
        options,
        real_include=tuple(globs[0]),
        real_exclude=tuple(globs[1]),
        real_as_image=tuple(data.sim_as_image if backwards else data.real_as_image),
        extraction=Extraction.of(data),
        extracted=config.run_folder / "frames",
    )
    manifest, page, found = sha256_of(manifest_path(out)), report_path(out), None
    if earlier == manifest:
        with suppress(Sim2RealError):  # written by another version: evaluate again
            found = read_evaluation(out)
    try:
        if found is None or found.real != name_places(aim):
            page.unlink(missing_ok=True)
            with progress("steps", stays=False) as show:
                found = evaluate(out, aim, options=options, progress=show, notify=err.print)
        show_evaluation(out, found)
        verdict = {"verdict": found.verdict, "reasons": list(found.reasons)}
    except Sim2RealError as error:
        verdict = {"verdict": "FAIL", "reasons": [str(error)]}
    if not page.is_file():
        with progress("frames") as show:
            page = write_report(out, run=config.run_folder, progress=show)
    return {"evaluation": verdict, "report": str(page), "manifest_sha256": manifest}


def _show_end(conversions: "list[dict[str, Any]]") -> None:
    """Print a final summary: the verdict and the report of each conversion."""
    for done in conversions:
        if found := done["evaluation"]:
            listed = found["reasons"] if found["verdict"] == "FAIL" else found["reasons"][:1]
            out.print(
                f"{found['verdict']}: {done['out']}: {'; '.join(listed)}", style=f"bold {STYLES[found['verdict']]}"
            )
        if done["report"]:
            out.print(f"report: {done['report']}")
