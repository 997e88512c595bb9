"""Is a training on its way? How real its pictures look, what became of their content, and what to say of it."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.partners import evenly
from sim2real.metrics.edges import compare_edges, find_edges
from sim2real.metrics.faults import FAULTS
from sim2real.metrics.wasserstein import SlicedWasserstein
from sim2real.stored import Count, fit

Image = NDArray[np.uint8]

CHOICE = "evaluation/choice"
"""The figure of ``evaluate.score`` in metrics.jsonl so that the lower, the better."""

HARMFUL = 10.0
"""The score from which on translations are harmful: their labels can no longer be true."""

_MOST_NEW, _MOST_LOST = 0.2, 0.3  # shares of edges from which on a translation is harmful
_BARELY = 9.99  # the highest score of what is not harmful
_NO_DISTANCE = 1e-6
_THUMBNAIL = (8, 8)
_MOST_LOOKED_AT = 8  # images whose artefacts are measured: a twentieth to a fifth of a second each


@dataclass(frozen=True, slots=True)
class ValidationResult:
    """How the translation of held-out simulated images stands.

    Attributes:
        score: What checkpoints are chosen by, the lower the better: ``distance / distance_of_sim`` over what of the
            edges is preserved. 1: no better than the images as they were; 10 (``HARMFUL``) or more: harmful, by how
            much. Always finite.
        distance: Sliced Wasserstein distance of the translated images from the real ones.
        distance_of_sim: That of the images as they were.
        floor: That of real images from other real ones, on the same scale: what ``distance`` can come down to.
        new_edges: Share of edges that were not there before, 0 to 1.
        lost_edges: Share of edges that are there no longer, 0 to 1.
        change: Mean absolute difference from the images as they were, in grey levels.
        diversity: How different the translated images are from each other, over how different the images were, seen
            from afar; 1 of a single image.
        images: How many there were, of the scarcer side.
        artefacts: What the metric of that name finds, means of eight images at most; none of images that are too small.
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
        """Whether labels can no longer be true."""
        return self.score >= HARMFUL

    def record(self) -> dict[str, float]:
        """All figures, by names as in metrics.jsonl, ``"evaluation/score"`` or ``"evaluation/artefacts.halos"``."""
        figures = asdict(self)
        figures |= {f"artefacts.{name}": figure for name, figure in figures.pop("artefacts").items()}
        return {f"evaluation/{name}": figure for name, figure in figures.items()}


class Validator:
    """Compares translations of one set of held-out images.

    Args:
        before: Simulated images, RGB (H, W, 3), one or more.
        real: Real ones, likewise; nothing pairs them.
        seed: Decides what is sampled of them; equal seeds give equal results.
    """

    def __init__(self, before: Sequence[Image], real: Sequence[Image], *, seed: int) -> None:
        self.before = before
        self._edges = [find_edges(image) for image in before]
        self.real = real
        self._reality = SlicedWasserstein(real, seed=seed)
        self._distance_of_sim = self._reality.distance(before)
        self._floor = self._reality.floor(before)

    def __call__(self, after: Sequence[Image]) -> ValidationResult:
        """Validate the translations, RGB (H, W, 3), of the images in their order."""
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
    """Few changed edges cost next to nothing: a mere change of appearance moves some."""
    nearness = distance / max(distance_of_sim, _NO_DISTANCE)
    harm = max(new / _MOST_NEW, lost / _MOST_LOST)
    if harm >= 1:
        return HARMFUL + nearness * harm
    preserved = (1 - (new / _MOST_NEW) ** 2) * (1 - (lost / _MOST_LOST) ** 2)
    return min(nearness / preserved, _BARELY)


def _artefacts(before: Sequence[Image], after: Sequence[Image]) -> dict[str, float]:
    from sim2real.metrics.artefacts import artefacts  # noqa: PLC0415  torch, which a reader of results does without

    found: dict[str, list[float]] = {}
    for pair in evenly([*zip(before, after, strict=True)], _MOST_LOOKED_AT):
        for name, value in artefacts(*pair).items():
            found.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


def _diversity(before: Sequence[Image], after: Sequence[Image]) -> float:
    spread_before, spread_after = (_spread(images) for images in (before, after))
    return spread_after / spread_before if spread_before else 1.0


def _spread(images: Sequence[Image]) -> float:
    """The mean standard deviation of thumbnails from each other, in grey levels."""
    thumbnails = [cv2.resize(image, _THUMBNAIL, interpolation=cv2.INTER_AREA) for image in images]
    return float(np.std(np.asarray(thumbnails, np.float32), axis=0).mean())


FEWEST_HELD_OUT = 8
"""A validation on fewer images is hardly one: its distances go up and down with what they happen to show."""

_SAME = 1.0  # grey levels: no eye sees less
_NO_NEARER = 0.95  # of a score


@dataclass(frozen=True, slots=True)
class Standing:
    """What a training has come to, by what its generators make of held-out images.

    Attributes:
        state: ``"good"``: better than the source as it is; ``"bad"``: not to be used; ``"open"``: neither, or better by
            too few images to be sure.
        text: That in a line.
        advice: What to do next, in a few words; empty where all is well.
    """

    state: Literal["good", "open", "bad"]
    text: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Levers:
    """What advice may name: what a training has, and has not done already.

    Attributes:
        terms: Of ``losses.cycle`` and ``losses.identity``, which hold a generator back, those that are more than 0.
        spectral_norm: Discriminators have none yet.
        guided: The generator paints pixels, some of which ``transfer.name = guided`` would leave out.
    """

    terms: tuple[str, ...] = ("losses.cycle", "losses.identity")
    spectral_norm: bool = True
    guided: bool = True

    @classmethod
    def of_losses(cls, names: Iterable[str], *, spectral_norm: bool = True, guided: bool = True) -> "Levers":
        """Those of a training that computes losses of these names."""
        terms = tuple(f"losses.{name}" for name in ("cycle", "identity") if name in {*names})
        return cls(terms, spectral_norm=spectral_norm, guided=guided)

    def words(self) -> dict[str, str]:
        """What sentences leave open."""
        has_cycle, painted = "losses.cycle" in self.terms, [_GUIDED] * self.guided
        norm = ["discriminator.regularization.spectral_norm = true"] * self.spectral_norm
        it = "they hold" if len(self.terms) > 1 else "it holds"
        return {
            "looser": f"lower {' and '.join(self.terms)} if {it} it back" if self.terms else _COMPARE,
            "calmer": _either("lower rates in [optim]", *norm, *["a larger losses.cycle"] * has_cycle),
            "weaker": _either("discriminator.regularization.r1 = 1", *norm, "discriminator.regularization.augment"),
            "truer": _either(_LIKE, *["raise losses.cycle"] * has_cycle, *painted),
            "cleaner": _either("train longer", *(painted or [_COMPARE])),
        }


def _either(*ways: str) -> str:
    """a, b, or c."""
    return ", or ".join(part for part in (", ".join(ways[:-1]), ways[-1]) if part)


_LONGER = "train longer (--resume --steps N)"
_LIKE = "give both sides like contents (data.real_exclude and the like)"
_GUIDED = "take light and colours alone of what is painted (transfer.name = guided)"
_COMPARE = "compare both sides: sim2real inspect SIM --against REAL"

_ALL = Levers()


def standing(figures: Mapping[str, float], levers: Levers = _ALL) -> Standing:
    """How a training stands.

    Args:
        figures: Of the step whose generators it gives, named as in ``ValidationResult.record``.
        levers: What advice may name.
    """
    found, images = _by_score(figures, levers), figures.get("evaluation/images", FEWEST_HELD_OUT)
    if images >= FEWEST_HELD_OUT:  # as where older runs do not tell
        return found
    text, bracket, score_text = found.text.partition(" (")
    few = f"judged on {images:.0f} held-out image{'s' * (images != 1)}, too few to be sure"
    advice = (
        found.advice or f"hold out {FEWEST_HELD_OUT} or more of each side (data.validation), or evaluate a conversion"
    )
    return Standing("open" if found.state == "good" else found.state, f"{text}, {few}{bracket}{score_text}", advice)


def _by_score(figures: Mapping[str, float], levers: Levers) -> Standing:
    score, change = (figures.get(f"evaluation/{name}") for name in ("score", "change"))
    if score is None:
        return Standing("open", "not evaluated on held-out images", "see data.validation, or evaluate a conversion")
    score_text = f"score {score:.3f}; 1 is the source as it is, less is better"
    if score >= HARMFUL:
        return Standing("bad", f"harmful: labels are no longer true of the translations ({score_text})", _COMPARE)
    if change is not None and change < _SAME and score > _NO_NEARER:
        text = f"nothing changed: translations differ from the source by {change:.2f} grey levels ({score_text})"
        return Standing("bad", text, f"{_LONGER}, or {levers.words()['looser']}")
    if score > 1:
        return Standing("bad", f"worse than the source as it is ({score_text})", f"{_LONGER}, or {_COMPARE}")
    if score > _NO_NEARER:
        return Standing("open", f"hardly better than the source as it is ({score_text})", f"{_LONGER}, or {_COMPARE}")
    return Standing("good", f"nearer to real images than the source as it is ({score_text})")


_LATE = 0.2  # of a run: before that, nothing is said of translations
_ALIKE = 0.15  # of the inputs' diversity
_WON = 0.05  # a discriminator's loss; undecided ones lose 0.25 or more
_GROWN = 3.0  # times a discriminator's first loss
_LONG = 3  # validations in a row
_INERT = 3.0  # grey levels

_ADVICE = {
    "collapse": (
        "the translations are alike whatever the input ({diversity:.2f} of its diversity): the generator has "
        "collapsed; begin anew with {calmer}"
    ),
    "divergence": (
        "{discriminator} loses more and more ({loss:.3g}): the training diverges; lower the rates in [optim] or set "
        "optim.max_grad_norm"
    ),
    "victory": (
        "{discriminator} has won, its loss is {loss:.3g}: a generator learns little from it; lower "
        "optim.discriminator_lr, or set {weaker}"
    ),
    "identity": (
        "the identity wins: translations differ from their inputs by {change:.1f} grey levels and are no nearer to "
        "real images (score {score:.2f}); train longer, or {looser}"
    ),
    "harm": (
        "labels are no longer true of the translations: {new_edges:.0%} of their edges are new, {lost_edges:.0%} of "
        "the inputs' are lost; {truer}"
    ),
    "artefacts": "translations show {fault}: {cleaner}",
}


class TrainingMonitor:
    """Notices what goes wrong in a training, and says so once each time that it begins.

    Args:
        levers: What advice may name.
    """

    def __init__(self, levers: Levers = _ALL) -> None:
        self._words = levers.words()
        self._said: set[str] = set()
        self._runs: dict[str, int] = {}
        self._first: dict[str, float] = {}
        self._last: dict[str, float] = {}

    def add(self, step: int, total: int, result: ValidationResult, losses: Mapping[str, float]) -> list[str]:
        """Take in where a training stands.

        Args:
            step: Steps done, of ``total``.
            total: Steps of the whole run.
            result: Of the translations now.
            losses: Mean losses of discriminators since the last time, by their names.

        Returns:
            Sentences for the user, each with what to do; of each kind one until it has ended.
        """
        found = dict(self._about_discriminators(losses))
        if step >= _LATE * total:
            found |= self._about_translations(result)
        sentences = [sentence for kind, sentence in found.items() if kind not in self._said]
        self._said = set(found)
        return sentences

    def _about_discriminators(self, losses: Mapping[str, float]) -> Iterator[tuple[str, str]]:
        for discriminator, loss in losses.items():
            first = self._first.setdefault(discriminator, loss)
            faults = {
                "victory": loss < _WON,
                "divergence": loss > _GROWN * first and loss > self._last.get(discriminator, loss),
            }
            self._last[discriminator] = loss
            for fault, is_so in faults.items():
                kind = f"{fault} of {discriminator}"
                self._runs[kind] = self._runs.get(kind, 0) + 1 if is_so else 0
                if self._runs[kind] >= _LONG:
                    yield kind, _ADVICE[fault].format(discriminator=discriminator, loss=loss, **self._words)

    def _about_translations(self, result: ValidationResult) -> dict[str, str]:
        signs = {
            "collapse": result.diversity < _ALIKE,
            "identity": result.change < _INERT and result.score > _NO_NEARER,
            "harm": result.is_harmful,
            "artefacts": bool(faults := _faults(result)),
        }
        known = {**asdict(result), **self._words, "fault": " and ".join(faults)}
        return {kind: _ADVICE[kind].format(**known) for kind, is_so in signs.items() if is_so}

    def state_dict(self) -> dict[str, Any]:
        """What has been seen and said, as plain values."""
        seen = {"runs": self._runs, "first": self._first, "last": self._last}
        return {"said": sorted(self._said), **copy.deepcopy(seen)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state_dict`` gave."""
        kept = fit(_Seen, state)
        self._said = set(kept.said)
        self._runs, self._first, self._last = kept.runs, kept.first, kept.last


@dataclass(frozen=True, slots=True)
class _Seen:
    """The state of a watch."""

    said: list[str]
    runs: dict[str, Count]
    first: dict[str, float]
    last: dict[str, float]


def _faults(result: ValidationResult) -> list[str]:
    """What a person sees at once."""
    found = result.artefacts
    return [fault.text for name, fault in FAULTS.items() if found.get(name, 0.0) >= fault.sure]
