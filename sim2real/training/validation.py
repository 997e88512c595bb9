"""Validation on held-out images: how real the translations look, whether content is kept, and advice for the user."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.partners import evenly
from sim2real.errors import TopicName
from sim2real.metrics.edges import compare_edges, find_edges
from sim2real.metrics.faults import FAULTS
from sim2real.metrics.wasserstein import SlicedWasserstein
from sim2real.progress import Note
from sim2real.stored import Count, fit

Image = NDArray[np.uint8]
State = Literal["good", "open", "bad"]

CHOICE = "evaluation/choice"
"""Name of the ``evaluate.score`` value in metrics.jsonl, with its sign chosen so that lower is better."""

HARMFUL = 10.0
"""Translations with this score or more are harmful: their labels can no longer be true."""

MEANINGS: Final[Mapping[str, str]] = {
    "score": "distance divided by distance_of_sim, and by a factor below 1 for new and lost edges; 1 is the source as "
    "it is, less is better, 10 or more is harmful",
    "distance": "sliced Wasserstein distance of the translations from the real images",
    "distance_of_sim": "the same distance of the simulated images as they are",
    "floor": "the same distance between real images: the least that can be reached",
    "new_edges": "share of edges that the simulation does not have",
    "lost_edges": "share of the simulation's edges that were lost",
    "change": "mean difference from the source images, in grey levels",
    "diversity": "ratio of the spread of the outputs to that of the inputs; near 0: all look alike",
    "images": "number of images of the side that has fewer",
    "artefacts.periodic": "checkerboards of 2, 4 or 8 px, in grey levels",
    "artefacts.halos": "difference in brightness around strong edges, in grey levels",
    "artefacts.rims": "difference of the border from the inside, in grey levels",
    "artefacts.seams": "steps along straight lines, in grey levels",
    "artefacts.unexplained": "share of the content that no change of light and colours explains",
    "artefacts.inverted": "share of edges with light and dark swapped; near 1: a negative",
}
"""Name of each value of :meth:`ValidationResult.record`, without ``evaluation/`` -> its meaning for users."""

_MOST_NEW, _MOST_LOST = 0.2, 0.3  # a translation with these shares of edges or more is harmful
_BARELY = 9.99  # the highest score that is not harmful
_NO_DISTANCE = 1e-6
_THUMBNAIL = (8, 8)
_MOST_LOOKED_AT = 8  # images whose artefacts are measured; each takes 0.05 to 0.2 seconds


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """The metrics of translated held-out images.

    Attributes:
        score: The score that checkpoints are chosen by, lower is better: ``distance / distance_of_sim`` divided by a
            factor for the preserved edges. 1: no better than the source images; 10 (``HARMFUL``) or more: harmful, the
            more the higher. Always finite.
        distance: Sliced Wasserstein distance of the translated images from the real ones.
        distance_of_sim: The same distance of the source images.
        floor: The same distance between real images, on the same scale: the least that ``distance`` can reach.
        new_edges: Share of edges that the source does not have, 0 to 1.
        lost_edges: Share of the source's edges that are lost, 0 to 1.
        change: Mean absolute difference from the source images, in grey levels.
        diversity: The spread of the translated images' thumbnails divided by that of the source images; 1 if the
            source images have no spread, as with a single image.
        images: The number of images of the side that has fewer.
        artefacts: The values of the metric ``artefacts``, means over at most eight images; empty if the images are too
            small.
    """

    score: float
    distance: float
    distance_of_sim: float
    floor: float
    new_edges: float
    lost_edges: float
    change: float
    diversity: float
    images: int
    artefacts: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_harmful(self) -> bool:
        """Whether the labels can no longer be true."""
        return self.score >= HARMFUL

    def record(self) -> dict[str, float]:
        """Return all values by name as in metrics.jsonl: ``"evaluation/score"``, ``"evaluation/artefacts.halos"``."""
        figures = asdict(self)
        figures |= {f"artefacts.{name}": figure for name, figure in figures.pop("artefacts").items()}
        return {f"evaluation/{name}": figure for name, figure in figures.items()}


class Validator:
    """Compares translations of one set of held-out images.

    Args:
        before: The simulated images, RGB (H, W, 3), one or more.
        real: The real images, RGB (H, W, 3), one or more; they are not paired with the simulated ones.
        seed: Seed of all random numbers; equal seeds give equal results.
    """

    def __init__(self, before: Sequence[Image], real: Sequence[Image], *, seed: int) -> None:
        self.before = before
        self._edges = [find_edges(image) for image in before]
        self.real = real
        self._reality = SlicedWasserstein(real, seed=seed)
        self._distance_of_sim = self._reality.distance(before)
        self._floor = self._reality.floor(before)

    def __call__(self, after: Sequence[Image]) -> ValidationResult:
        """Validate the translations, RGB (H, W, 3), given in the order of the simulated images."""
        pairs = zip(self._edges, map(find_edges, after), strict=True)
        new, lost = np.mean([compare_edges(*pair) for pair in pairs], axis=0).tolist()
        distance = self._reality.distance(after)
        changes = [cv2.absdiff(*pair).mean() for pair in zip(self.before, after, strict=True)]
        return ValidationResult(
            score=_score(distance, self._distance_of_sim, new, lost),
            distance=distance,
            distance_of_sim=self._distance_of_sim,
            floor=self._floor,
            new_edges=new,
            lost_edges=lost,
            change=float(np.mean(changes)),
            diversity=_diversity(self.before, after),
            images=min(len(self.before), len(self._reality.real)),
            artefacts=_artefacts(self.before, after),
        )


def _score(distance: float, distance_of_sim: float, new: float, lost: float) -> float:
    """Return the score; a few changed edges cost little, as any change of appearance moves some."""
    nearness = distance / max(distance_of_sim, _NO_DISTANCE)
    harm = max(new / _MOST_NEW, lost / _MOST_LOST)
    if harm >= 1:
        return HARMFUL + nearness * harm
    preserved = (1 - (new / _MOST_NEW) ** 2) * (1 - (lost / _MOST_LOST) ** 2)
    return min(nearness / preserved, _BARELY)


def _artefacts(before: Sequence[Image], after: Sequence[Image]) -> dict[str, float]:
    from sim2real.metrics.artefacts import artefacts  # noqa: PLC0415  imports torch, not needed to read results

    found: dict[str, list[float]] = {}
    for pair in evenly([*zip(before, after, strict=True)], _MOST_LOOKED_AT):
        for name, value in artefacts(*pair).items():
            found.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


def _diversity(before: Sequence[Image], after: Sequence[Image]) -> float:
    spread_before, spread_after = (_spread(images) for images in (before, after))
    return spread_after / spread_before if spread_before else 1.0


def _spread(images: Sequence[Image]) -> float:
    """Return the standard deviation between the images' thumbnails, averaged over pixels, in grey levels."""
    thumbnails = [cv2.resize(image, _THUMBNAIL, interpolation=cv2.INTER_AREA) for image in images]
    return float(np.std(np.asarray(thumbnails, np.float32), axis=0).mean())


FEWEST_HELD_OUT = 8
"""The fewest images for a reliable validation: with fewer, distances depend too much on what the images show."""

_SAME = 1.0  # grey levels; a smaller change is invisible
_NO_NEARER = 0.95  # translations with a higher score are not considered nearer to real images


@dataclass(frozen=True, slots=True)
class Standing:
    """The assessment of a training by its translations of held-out images.

    Attributes:
        state: ``"good"``: better than the unchanged source; ``"bad"``: not to be used; ``"open"``: neither, or judged
            on too few images to be sure.
        text: The assessment in one line.
        advice: What to do next, in a few words; empty if nothing is needed.
        topic: The section of the manual on it, if there is advice.
    """

    state: State
    text: str
    advice: str = ""
    topic: TopicName | None = None


@dataclass(frozen=True, slots=True)
class Levers:
    """The settings that advice may name: those that a training has and has not changed already.

    Attributes:
        terms: The settings ``losses.cycle`` and ``losses.identity``, which hold a generator back, if more than 0.
        spectral_norm: Whether spectral normalisation of the discriminators may be advised, as they do not have it yet.
        guided: Whether ``transfer.name = guided`` may be advised, as the generator paints pixels.
        trained: Whether a longer training may be advised, as weights are trained at all.
        peak: The best step if the score has become clearly worse since, see :func:`peak_of`: no longer training is
            advised then; else 0.
        used: The step whose generators are used.
    """

    terms: tuple[str, ...] = ("losses.cycle", "losses.identity")
    spectral_norm: bool = True
    guided: bool = True
    trained: bool = True
    peak: int = 0
    used: int = 0

    @classmethod
    def of_losses(
        cls, names: Iterable[str], *, spectral_norm: bool = True, guided: bool = True, trained: bool = True
    ) -> "Levers":
        """Return the levers of a training that computes losses of these names."""
        terms = tuple(f"losses.{name}" for name in ("cycle", "identity") if name in {*names})
        return cls(terms, spectral_norm=spectral_norm, guided=guided, trained=trained)

    def words(self) -> dict[str, str]:
        """Return the texts for the placeholders of the advice."""
        has_cycle, painted = "losses.cycle" in self.terms, [_GUIDED] * self.guided
        norm = ["discriminator.regularization.spectral_norm = true"] * self.spectral_norm
        it = "they hold" if len(self.terms) > 1 else "it holds"
        return {
            "longer": self._longer,
            "looser": f"lower {' and '.join(self.terms)} if {it} it back" if self.terms else _COMPARE,
            "calmer": _either("lower rates in [optim]", *norm, *["a larger losses.cycle"] * has_cycle),
            "weaker": _either("discriminator.regularization.r1 = 1", *norm, "discriminator.regularization.augment"),
            "truer": _either(_LIKE, *["raise losses.cycle"] * has_cycle, *painted),
            "cleaner": _either("train longer", *(painted or [_COMPARE])),
            "upright": _either(
                *["hold it to the colours (losses.identity = 5)"] * has_cycle, "begin with another --seed"
            ),
        }

    @property
    def _longer(self) -> str:
        if not self.trained:
            return _ANOTHER
        if not self.peak:
            return _LONGER
        worse = f"the score became worse after step {self.peak}"
        if self.used == self.peak:
            return f"train on more images, not longer ({worse})"
        return f"take the best step (--resume --set checkpoint.use=best; {worse})"


def peak_of(records: Sequence[Mapping[str, float]]) -> int:
    """Return the best evaluated step, the earliest of equals, if the last one is clearly worse; else 0.

    Args:
        records: The lines of metrics.jsonl, by step.
    """
    name = CHOICE if any(CHOICE in record for record in records) else "evaluation/score"
    judged = [record for record in records if name in record]
    if not judged:
        return 0
    best = min(judged, key=lambda record: record[name])
    return int(best["step"]) if judged[-1][name] > best[name] + _WORSE * abs(best[name]) else 0


def _either(*ways: str) -> str:
    """Return ``"a, b, or c"``."""
    return ", or ".join(part for part in (", ".join(ways[:-1]), ways[-1]) if part)


_WORSE = 0.1  # share of the best score; smaller differences are taken for chance
_LONGER = "train longer (--resume --steps N)"
_ANOTHER = "take another recipe (sim2real compare SIM REAL)"
_LIKE = "make the contents of both sides more similar (e.g. with data.real_exclude)"
_GUIDED = "transfer only light and colours of the translation (transfer.name = guided)"
_COMPARE = "compare both sides: sim2real inspect SIM --against REAL"

_ALL = Levers()

_STUCK: Final = "a-training-diverges-or-a-discriminator-wins"
_HELD_OUT: Final = "judged-on-held-out-images"
_TOPICS: Final[Mapping[str, TopicName]] = {
    **dict.fromkeys(("collapse", "divergence", "victory"), _STUCK),
    "identity": "nothing-changes",
    "harm": "trees-in-the-sky",
    "negative": "colours-are-inverted",
}
"""Kind of a problem -> the section of the manual on it; a fault has its own, see ``FAULTS``."""


def standing(figures: Mapping[str, float], levers: Levers = _ALL) -> Standing:
    """Return the assessment of a training.

    Args:
        figures: The values of the step whose generators are used, named as in ``ValidationResult.record``.
        levers: The settings that advice may name.
    """
    found, images = _by_score(figures, levers), figures.get("evaluation/images", FEWEST_HELD_OUT)
    if images >= FEWEST_HELD_OUT:  # also assumed of older runs, which do not record the number
        return found
    text, bracket, score_text = found.text.partition(" (")
    few = f"judged on {images:.0f} held-out image{'s' * (images != 1)}, too few to be sure"
    advice = found.advice or f"hold out {FEWEST_HELD_OUT} or more per side (data.validation), or evaluate a conversion"
    state: State = "open" if found.state == "good" else found.state
    return Standing(state, f"{text}, {few}{bracket}{score_text}", advice, found.topic or _HELD_OUT)


def _by_score(figures: Mapping[str, float], levers: Levers) -> Standing:
    score, change = (figures.get(f"evaluation/{name}") for name in ("score", "change"))
    if score is None:
        advice = "see data.validation, or evaluate a conversion"
        return Standing("open", "not evaluated on held-out images", advice, _HELD_OUT)
    score_text, words = f"score {score:.3f}; 1 is the source as it is, less is better", levers.words()
    if score >= HARMFUL:
        text = f"harmful: labels are no longer true of the translations ({score_text})"
        return Standing("bad", text, _COMPARE, _TOPICS["harm"])
    if (inverted := figures.get("evaluation/artefacts.inverted", 0.0)) >= FAULTS["inverted"].sure:
        text = f"light and dark are swapped at {inverted:.0%} of the edges ({score_text})"
        return Standing("bad", text, words["upright"], _TOPICS["negative"])
    if change is not None and change < _SAME and score > _NO_NEARER:
        text = f"nothing changed: translations differ from the source by {change:.2f} grey levels ({score_text})"
        return Standing("bad", text, f"{words['longer']}, or {words['looser']}", _TOPICS["identity"])
    if score > _NO_NEARER:
        better = "worse" if score > 1 else "hardly better"
        text = f"{better} than the source as it is ({score_text})"
        topic: TopicName = _STUCK if levers.trained else "which-recipe"
        return Standing("bad" if score > 1 else "open", text, f"{words['longer']}, or {_COMPARE}", topic)
    return Standing("good", f"nearer to real images than the source as it is ({score_text})")


_LATE = 0.2  # share of a run before which translations are not judged
_ALIKE = 0.15  # translations with less diversity than this have collapsed
_WON = 0.05  # a discriminator with a lower loss has won; an undecided one has 0.25 or more
_GROWN = 3.0  # times its first loss, a discriminator diverges
_LONG = 3  # validations in a row before a problem with a discriminator is reported
_INERT = 3.0  # grey levels; translations that change less are close to the identity

_ADVICE = {
    "collapse": (
        "the translations are alike whatever the input ({diversity:.2f} of its diversity): the generator has "
        "collapsed; start a new run with {calmer}"
    ),
    "divergence": (
        "the loss of {discriminator} keeps growing ({loss:.3g}): the training diverges; lower the rates in [optim] or "
        "set optim.max_grad_norm"
    ),
    "victory": (
        "{discriminator} has won, its loss is {loss:.3g}: the generator learns little from it; lower "
        "optim.discriminator_lr, or set {weaker}"
    ),
    "identity": (
        "the translations are close to the identity: they differ from their inputs by {change:.1f} grey levels and are "
        "no nearer to real images (score {score:.2f}); train longer, or {looser}"
    ),
    "harm": (
        "labels are no longer true of the translations: {new_edges:.0%} of their edges are new, {lost_edges:.0%} of "
        "the inputs' are lost; {truer}"
    ),
    "artefacts": "translations show {fault}: {cleaner}",
    "negative": "light and dark are swapped at {inverted:.0%} of the translations' edges: {upright}",
}


@dataclass(slots=True)
class _Seen:
    """The state of a monitor: the problems reported last; how often each was found in a row; losses by discriminator.

    ``first`` and ``last`` are the first and the last loss of each discriminator.
    """

    said: list[str] = field(default_factory=list)
    runs: dict[str, Count] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)


class TrainingMonitor:
    """Detects problems of a training and reports each once, when it begins.

    Args:
        levers: The settings that advice may name.
    """

    def __init__(self, levers: Levers = _ALL) -> None:
        self._words = levers.words()
        self._seen = _Seen()

    def add(self, step: int, total: int, result: ValidationResult, losses: Mapping[str, float]) -> list[Note]:
        """Add the result of a validation.

        Args:
            step: Number of steps done, of ``total``.
            total: Number of steps of the whole run.
            result: The result for the current translations.
            losses: Mean losses of the discriminators since the last call, by name.

        Returns:
            Notes for the user, each with advice; a problem is not reported again while it lasts.
        """
        found = dict(self._about_discriminators(losses))
        if step >= _LATE * total:
            found |= self._about_translations(result)
        notes = [note for kind, note in found.items() if kind not in self._seen.said]
        self._seen.said = sorted(found)
        return notes

    def _about_discriminators(self, losses: Mapping[str, float]) -> Iterator[tuple[str, Note]]:
        seen = self._seen
        for discriminator, loss in losses.items():
            first = seen.first.setdefault(discriminator, loss)
            faults = {
                "victory": loss < _WON,
                "divergence": loss > _GROWN * first and loss > seen.last.get(discriminator, loss),
            }
            seen.last[discriminator] = loss
            for fault, is_so in faults.items():
                kind = f"{fault} of {discriminator}"
                seen.runs[kind] = seen.runs.get(kind, 0) + 1 if is_so else 0
                if seen.runs[kind] >= _LONG:
                    text = _ADVICE[fault].format(discriminator=discriminator, loss=loss, **self._words)
                    yield kind, Note(text, _TOPICS[fault])

    def _about_translations(self, result: ValidationResult) -> dict[str, Note]:
        found = {name: fault for name, fault in FAULTS.items() if result.artefacts.get(name, 0.0) >= fault.sure}
        is_negative, faults = found.pop("inverted", None) is not None, [*found.values()]
        signs = {
            "collapse": result.diversity < _ALIKE,
            "identity": result.change < _INERT and result.score > _NO_NEARER,
            "harm": result.is_harmful,
            "artefacts": bool(faults),
            "negative": is_negative,
        }
        known = {
            **asdict(result),
            **result.artefacts,
            **self._words,
            "fault": " and ".join(each.text for each in faults),
        }
        topics = {**_TOPICS, "artefacts": faults[0].topic if faults else None}
        return {kind: Note(_ADVICE[kind].format(**known), topics[kind]) for kind, is_so in signs.items() if is_so}

    def state_dict(self) -> dict[str, Any]:
        """Return what has been observed and reported, as plain values."""
        return asdict(self._seen)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that ``state_dict`` returned."""
        self._seen = fit(_Seen, state)
