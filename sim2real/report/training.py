"""Build the report of a training from the files in its folder."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from shlex import quote
from statistics import median

from sim2real.config import Config, flat, resolve
from sim2real.errors import Sim2RealError
from sim2real.inside import inside
from sim2real.report.page import Fact, Page, Section
from sim2real.report.pictures import data_uri, sample_pictures
from sim2real.report.plots import Curve, Plot
from sim2real.report.run import Run
from sim2real.report.settings import grouped, shown
from sim2real.stored import Positive, Size
from sim2real.training.progress import PROGRESS_FILE, animate, thinned
from sim2real.training.validation import MEANINGS, Levers, Standing, peak_of, standing

_SAMPLES = 16
_OF_PICTURES = {
    "moments": "distance of colour means and spreads from those of an image of the other side",
    "spectrum": "distance of brightness spectra from those of an image of the other side",
    "overshoot": "how far converted frames exceed the range of values",
    "roughness": "differences between neighbouring cells of a grid",
    "inversion": "how far grids invert the order of brightness",
    "unevenness": "variation of the change in areas where the frame does not vary: clouds",
}
_LOSSES = {
    "adversarial_real": "how clearly D_real recognises converted frames as not real",
    "adversarial_sim": "how clearly D_sim recognises converted photos as not simulated",
    "cycle": "difference of an image from itself after translation there and back",
    "identity": "change that a generator makes to images of its own target domain",
    "nce": "how hard it is to match patches of converted frames to those of the source frames",
    "nce_identity": "the same for real images, which should not change",
    **_OF_PICTURES,
    **{f"{name}_sim": f"{text}; for the direction real to sim" for name, text in _OF_PICTURES.items()},
    "new-edges": "how much edges of converted frames exceed those of the source frames",
    "flow": "how much the change of frames differs along their optical flow",
    "class_moments": "distance of the colours of each class from those of that class in an image of the other side",
    "consistency": "how much the segmenter's classes in converted frames differ from the frames' masks",
    "segmenter": "error of the segmenter, trained alongside, on the simulation's masks",
    "generator": "sum of all terms of the generators",
    "D_real": "error of D_real in distinguishing real images from converted ones",
    "D_sim": "error of D_sim in distinguishing simulated images from converted ones",
    "r1": "gradient penalty of the discriminators on real images",
    "lecam": "distance of the discriminators' scores from their running means",
    "augment_p": "probability of augmenting the discriminators' inputs",
}
_HIGHEST_SCORE = 2.0  # scores of interest are about 1; harmful ones are many times that
_VALIDATED = (
    ("new_edges", "New edges", ((0.2, "harmful"),)),
    ("lost_edges", "Lost edges", ((0.3, "harmful"),)),
    ("change", "Change", ()),
    ("diversity", "Diversity", ((1.0, "like the inputs"),)),
    ("artefacts.periodic", "Periodic patterns", ()),
    ("artefacts.halos", "Halos", ()),
    ("artefacts.rims", "Rims", ()),
    ("artefacts.seams", "Seams", ()),
    ("artefacts.unexplained", "Unexplained", ()),
    ("artefacts.inverted", "Light and dark swapped", ((0.5, "negatives"),)),
)
_SHOWN_ELSEWHERE = {"recipe", "summary", "sim", "real", "run"}


def run_page(run: Run) -> Page:
    """Return the page of a training."""
    version = next((info.tool_version for info in run.generators.values()), "")
    recipe = run.setting("recipe", str, "")
    parts = ["A training", f"by the recipe {recipe}" if recipe else "", f"with sim2real {version}" if version else ""]
    sections = [_notes(run), _samples(run), _evaluation(run), _losses(run), _pace(run), _data(run), _settings(run)]
    return Page(
        title=run.name,
        subtitle=" ".join(part for part in parts if part),
        state=_state(run),
        headline=_headline(run),
        facts=[*_facts(run)],
        sections=[section for section in (*sections, _next(run)) if section],
    )


def standing_of(run: Run) -> Standing:
    """Return the rating of a run's generators on held-out images."""
    used, _ = _used(run)
    figures: dict[str, float] = next((record for record in reversed(run.records) if record["step"] == used), {})
    losses = run.losses()
    levers = Levers.of_losses(losses, trained=bool(losses))
    return standing(figures, replace(levers, peak=peak_of(run.records), used=used))


def _state(run: Run) -> tuple[str, str]:
    if not run.finished:
        return "not finished", "open"
    found = standing_of(run)
    words = found.text.partition(" (")[0].partition(":")[0]
    return "finished" if found.state == "good" else f"finished: {words}", found.state


def _headline(run: Run) -> str:
    found = standing_of(run)
    if not run.finished and not run.best:
        return ""
    return f"{found.text}. Next: {found.advice}." if found.advice else found.text


def training_sections(run: Run) -> list[Section]:
    """Return the sections on a training for another page."""
    sections = (_samples(run), _evaluation(run), _losses(run))
    return [replace(section, title=f"Training: {section.title.lower()}") for section in sections if section]


def _facts(run: Run) -> Iterator[Fact]:
    of_total = f" of {run.total:,}" if run.total and run.total != run.step else ""
    epoch = run.records[-1].get("epoch") if run.records else None
    yield Fact("Steps", f"{run.step:,}{of_total}", f"epoch {epoch:.3g}" if epoch else "")
    if run.best:
        yield Fact("Best score", f"{run.best[1]:.3f}", f"at step {run.best[0]:,}; below 1 is better than unchanged")
    used, why = _used(run)
    yield Fact("Generators", f"of step {used:,}", why)
    speeds = run.points("images_per_second")
    if speeds:
        yield Fact("Speed", f"{median(speed for _, speed in speeds):.3g} images/s", "median, both domains together")
        seconds = _seconds(run, speeds)
        yield Fact("Time", str(timedelta(seconds=round(seconds))), "of training, estimated from the speed")


def _used(run: Run) -> tuple[int, str]:
    """Return the step that the run's generators come from, and why it was chosen."""
    by_best = run.setting("checkpoint.use", str, "best") == "best"
    if run.best and by_best:
        return run.best[0], "the best on held-out images" + ("" if run.finished else ", so far")
    why = "nothing was evaluated" if by_best else 'checkpoint.use = "last"'
    return run.step, f"the last; {why}" + ("" if run.finished else ", so far")


def _seconds(run: Run, speeds: Sequence[tuple[float, float]]) -> float:
    images: int = 2 * run.setting("data.batch_size", Positive, 1)
    before = [0.0, *(step for step, _ in speeds)]
    return sum((step - start) * images / speed for start, (step, speed) in zip(before, speeds, strict=False) if speed)


def _notes(run: Run) -> Section | None:
    return Section("notes", "Noticed", {"notes": run.notes}) if run.notes else None


def _samples(run: Run) -> Section | None:
    used, _ = _used(run)
    best = run.best[0] if run.best else None
    chosen = {*thinned(run.samples, _SAMPLES), *(sample for sample in run.samples if sample[0] in {best, used})}
    size = run.setting("data.size", Size, Config.model_fields["data"].default.size)
    pictures = sample_pictures(sorted(chosen), size)
    if not pictures:
        return None
    first = min(range(len(pictures)), key=lambda place: abs(pictures[place].step - used))
    content = {
        "pictures": pictures,
        "first": first,
        "labels": {best: "best", used: "used"} if best != used else {used: "best, used"},
        "count": len(run.samples),
        "animation": _animation(run),
    }
    return Section("samples", "Samples", content)


def _animation(run: Run) -> str | None:
    """Return the animation in the folder if no sample is newer, else a new one."""
    file = inside(run.folder, f"samples/{PROGRESS_FILE}")
    newest = max(path.stat().st_mtime for _, path in run.samples)
    data = file.read_bytes() if file.is_file() and file.stat().st_mtime >= newest else animate(run.samples)
    return data_uri(data) if data else None


def _evaluation(run: Run) -> Section | None:
    scores = run.points("evaluation/score")
    if not scores or not run.best:
        return None
    step, score = run.best
    levels = [(1.0, "unchanged images")]
    first = Plot(
        "Score",
        [Curve(scores, marked=True)],
        f"distance to real images divided by preservation, lower is better; the best, {score:.3f}, at step {step:,}",
        levels,
        run.best,
        _HIGHEST_SCORE if score < _HIGHEST_SCORE else None,
    )
    distances = [run.points(f"evaluation/{name}") for name in ("distance", "distance_of_sim", "floor")]
    marks = [
        (points[-1][1], name)
        for points, name in zip(distances[1:], ("simulation", "other real images"), strict=True)
        if points
    ]
    second = Plot(
        "Distance", [Curve(distances[0], marked=True)], "sliced Wasserstein distance to the real images", marks
    )
    others = [
        Plot(title, [Curve(points, marked=True)], MEANINGS[name], levels)
        for name, title, levels in _VALIDATED
        if (points := run.points(f"evaluation/{name}"))
    ]
    return Section("plots", "Held-out evaluation", {"plots": [first, second, *others], "legend": []})


def _losses(run: Run) -> Section | None:
    plots = [
        Plot(
            name,
            [
                Curve(points, colour, marked)
                for points, colour, marked in (
                    (run.points(name), "first", False),
                    (run.points(f"validation/{name}"), "second", True),
                )
                if points
            ],
            _LOSSES.get(name, ""),
        )
        for name in run.losses()
    ]
    plots = [plot for plot in plots if plot.curves]
    legend = [("first", "training: mean, within the range of all values"), ("second", "held-out images")]
    return Section("plots", "Losses", {"plots": plots, "legend": legend}) if plots else None


def _pace(run: Run) -> Section | None:
    rates, speeds = run.points("rate"), run.points("images_per_second")
    plots = [
        *([Plot("Learning rate", [Curve(rates)], "as a factor of the learning rates in [optim]")] if rates else ()),
        *([Plot("Images per second", [Curve(speeds)], "both domains together")] if speeds else ()),
    ]
    return Section("plots", "Rate and speed", {"plots": plots, "legend": []}) if plots else None


def _data(run: Run) -> Section:
    places = {side: _places(run.setting(side, str | list[str], "")) for side in ("sim", "real")}
    rows = [(side, named or "?", _globs(run, side)) for side, named in places.items()]
    return Section(
        "data", "Data", {"rows": rows, "fingerprint": next((info.fingerprint for info in run.generators.values()), "")}
    )


def _places(named: str | Sequence[str]) -> str:
    return named if isinstance(named, str) else ", ".join(named)


def _globs(run: Run, side: str) -> str:
    globs = ((word, run.setting(f"data.{side}_{word}", list[str], [])) for word in ("include", "exclude"))
    return "; ".join(f"{word} {', '.join(of)}" for word, of in globs if of)


def _settings(run: Run) -> Section | None:
    settings = {key: value for key, value in flat(run.settings) if key not in _SHOWN_ELSEWHERE}
    if not settings:
        return None
    try:
        recipe = dict(flat(resolve(run.setting("recipe", str, None)).model_dump(mode="json")))
    except Sim2RealError:  # a recipe of a plugin that is not installed here, or of another version
        recipe = {}
    changed = [
        (key, shown(value), shown(recipe[key]))
        for key, value in settings.items()
        if key in recipe and recipe[key] != value
    ]
    content = {
        "recipe": run.setting("recipe", str, None) if recipe else None,
        "changed": changed,
        "groups": grouped(settings),
    }
    return Section("settings", "Settings", content)


def _next(run: Run) -> Section:
    folder, sim = quote(str(run.folder)), quote(run.setting("sim", str, "") or "SIM")
    commands = (
        [f"sim2real preview {folder} {sim}", f"sim2real convert {sim} OUT --model {folder}"]
        if run.finished
        else [f"sim2real train --run {folder} --resume"]
    )
    return Section("next", "Next", {"commands": commands, "checkpoints": run.checkpoints})


__all__ = ["run_page", "training_sections"]
