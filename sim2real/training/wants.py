"""What the parts of a training ask of its images: labels and clips, of which side, and who asks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sim2real.capabilities import clip_length_of, inputs_of, names_of
from sim2real.datasets.base import Frame, Side
from sim2real.datasets.inputs import LEADS_TO
from sim2real.errors import DatasetError, PluginError
from sim2real.methods.base import Method

_SIDES: tuple[Side, Side] = ("sim", "real")
_WORDS = {"sim": "simulated", "real": "real"}
_OF_REAL = frozenset({"real", "fake_sim", "cycled_real", "identity_real", "real_inputs"})
"""Fields of ``LossInputs`` that are made of real images."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of the images of one side.

    Attributes:
        kinds: Kind of label -> who asks for it first; every image has it, but for motion that leads out of a sequence.
        welcome: Kinds that are given where every image has them, and else are not.
        clip_length: How many consecutive frames.
        clips_for: Who asks for so many.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    clip_length: int = 1
    clips_for: str = ""
    welcome: tuple[str, ...] = ()

    def met_by(self, frames: Sequence[Frame]) -> "Asked":
        """The same, with what is welcome and there among what is asked for."""
        there = {kind: "" for kind in self.welcome if not _lacking(frames, kind, self.clip_length)}
        return replace(self, kinds={**there, **self.kinds}, welcome=())


@dataclass(frozen=True, slots=True)
class Wants:
    """What is asked of the images of both sides.

    Attributes:
        sim: Of the simulated ones.
        real: Of the real ones.
        matched: Whether the windows of both are matched, see :mod:`sim2real.training.matching`.
    """

    sim: Asked = Asked()
    real: Asked = Asked()
    matched: bool = False

    def of(self, side: Side) -> Asked:
        """What is asked of one side."""
        return self.sim if side == "sim" else self.real

    def met_by(self, sim: Sequence[Frame], real: Sequence[Frame]) -> "Wants":
        """The same, with what is welcome and there among what is asked for: masks, too, that both sides match by."""
        masked = self.matched and all("segmentation" in frame.labels for frame in (*sim, *real))
        masks = {"segmentation": "data.matched"} if masked else {}
        of_sim, of_real = self.sim.met_by(sim), self.real.met_by(real)
        return Wants(
            replace(of_sim, kinds={**masks, **of_sim.kinds}),
            replace(of_real, kinds={**masks, **of_real.kinds}),
            self.matched,
        )


def wants_of(method: Method) -> Wants:
    """What a method asks for, and its networks and losses.

    Raises:
        PluginError: Something asks for what is no kind of label, or two for clips of several lengths.
    """
    asked: dict[Side, tuple[dict[str, str], dict[int, str]]] = {side: ({}, {1: ""}) for side in _SIDES}
    for who, part, label_sides, clip_sides in _parts(method):
        for kind in inputs_of(part, who):
            for side in label_sides:
                asked[side][0].setdefault(kind, who)
        length = clip_length_of(part, who)
        for side in clip_sides:
            asked[side][1].setdefault(length, who)
    sim, real = (Asked(kinds, *_agreed(lengths)) for kinds, lengths in asked.values())
    return Wants(sim, replace(real, welcome=tuple(method.inputs)))


def _agreed(lengths: Mapping[int, str]) -> tuple[int, str]:
    """The one length of clips that is asked for, or 1, and who asks."""
    several = sorted(length for length in lengths if length > 1)
    if len(several) > 1:
        least, most = several[0], several[-1]
        raise PluginError(
            f"{lengths[least]} asks for clips of {least} frames, {lengths[most]} for clips of {most}, and all see the "
            "same clips: give both one clip_length"
        )
    length = several[0] if several else 1
    return length, lengths[length]


def _parts(method: Method) -> Iterator[tuple[str, Any, Iterable[Side], Iterable[Side]]]:
    """Who may ask, and the sides of which it is given labels and clips."""
    yield f"the method {type(method).__name__}", method, ["sim"], ["sim"]
    for name, network in method.networks.items():
        sides = [side for side in _SIDES if side in method.sides.get(name, _SIDES)]
        yield f"the network {name} ({_named(network)})", network, sides, sides
    for name, (_, loss) in method.settings.terms.items():
        needs = frozenset(names_of(loss, f"the loss '{name}'", "needs"))
        labels: list[Side] = ["sim", "real"] if "real_inputs" in needs else ["sim"]
        yield f"the loss '{name}'", loss, labels, ["sim", "real"] if needs & _OF_REAL else ["sim"]


def _named(network: Any) -> str:  # noqa: ANN401  a network, wrapped or not
    return type(getattr(network, "network", network)).__name__


def require_labels(side: Side, frames: Sequence[Frame], asked: Asked) -> None:
    """Make sure that every frame of a side has the labels that are asked for.

    In clips no motion is asked for that leads out of a sequence, see :data:`sim2real.datasets.inputs.LEADS_TO`.

    Raises:
        DatasetError: Some have not; the message names who asks and the first frame.
    """
    for kind, who in asked.kinds.items():
        if lacking := _lacking(frames, kind, asked.clip_length):
            there = sorted({known for frame in frames for known in frame.labels})
            raise DatasetError(
                f"{who} needs '{kind}' of the {_WORDS[side]} images, and {len(lacking)} of {len(frames)} have none, "
                f"e.g. {lacking[0].path}; labels that are there: {', '.join(there) or 'none'}; leave those images out "
                f"(data.{side}_exclude), or do without what asks"
            )


def _lacking(frames: Sequence[Frame], kind: str, clip_length: int) -> list[Frame]:
    """The frames that have no label of a kind and should have."""
    lacking = [frame for frame in frames if kind not in frame.labels]
    if not lacking or clip_length == 1 or kind not in LEADS_TO:
        return lacking
    places = {_key(frame, 0) for frame in frames}
    return [frame for frame in lacking if not frame.sequence or _key(frame, LEADS_TO[kind]) in places]


def starts(frames: Sequence[Frame], length: int) -> Sequence[int]:
    """The numbers of the frames that so many consecutive ones of one sequence begin with; with each its followers."""
    return range(len(frames)) if length == 1 else [number for number, _ in _runs(frames, length)]


def followers(frames: Sequence[Frame], length: int) -> dict[int, list[int]]:
    """For each frame that consecutive ones begin with, the numbers of all of them."""
    return dict(_runs(frames, length))


def _runs(frames: Sequence[Frame], length: int) -> Iterator[tuple[int, list[int]]]:
    places = {_key(frame, 0): number for number, frame in enumerate(frames) if frame.sequence}
    for number, frame in enumerate(frames):
        run = [places.get(_key(frame, ahead), -1) for ahead in range(length)]
        if frame.sequence and -1 not in run:
            yield number, run


def _key(frame: Frame, ahead: int) -> tuple[int, str, int]:
    return id(frame.dataset), frame.sequence, frame.index + ahead


def require_clips(side: Side, frames: Sequence[Frame], asked: Asked, *, least: int) -> None:
    """Make sure that a side has clips.

    Raises:
        DatasetError: It has fewer than ``least``.
    """
    if asked.clip_length > 1 and (count := len(starts(frames, asked.clip_length))) < least:
        raise DatasetError(
            f"{asked.clips_for} needs {asked.clip_length} consecutive frames of {_WORDS[side]} sequences, and "
            f"{'there are none' if not count else f'only {count} images begin such'} among {len(frames)} images to "
            "train on; name a dataset of sequences, or lower data.validation"
        )
