"""The labels and clips that the parts of a training need, by side, and the part that needs each."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sim2real.capabilities import clip_length_of, inputs_of, names_of
from sim2real.datasets.base import Frame, Side
from sim2real.datasets.inputs import LEADS_TO
from sim2real.datasets.translated import KIND as TRANSLATION
from sim2real.errors import DatasetError, PluginError
from sim2real.methods.base import Method

_SIDES: tuple[Side, Side] = ("sim", "real")
_WORDS = {"sim": "simulated", "real": "real"}
_OF_REAL = frozenset({"real", "fake_sim", "cycled_real", "identity_real", "real_inputs"})
"""Fields of ``LossInputs`` that are made from real images."""


@dataclass(frozen=True, slots=True)
class SideSpec:
    """The labels and clips that are needed of the images of one side.

    Attributes:
        kinds: Kind of label -> the first component that needs it; every image must have it, except for motion that
            leads out of a sequence.
        optional: Optional kinds, used only if every image has them.
        clip_length: Number of consecutive frames.
        clips_for: The component that needs clips.
    """

    kinds: Mapping[str, str] = field(default_factory=dict)
    clip_length: int = 1
    clips_for: str = ""
    optional: tuple[str, ...] = ()

    def met_by(self, frames: Sequence[Frame]) -> "SideSpec":
        """Return the same, with the optional kinds that the frames have added to the needed ones."""
        there = {kind: "" for kind in self.optional if not _lacking(frames, kind, self.clip_length)}
        return replace(self, kinds={**there, **self.kinds}, optional=())


@dataclass(frozen=True, slots=True)
class DataSpec:
    """The labels and clips that are needed of the images of both sides.

    Attributes:
        sim: Those of the simulated images.
        real: Those of the real images.
        matched: Whether the windows of both sides are matched, see :mod:`sim2real.training.matching`.
    """

    sim: SideSpec = SideSpec()
    real: SideSpec = SideSpec()
    matched: bool = False

    def of(self, side: Side) -> SideSpec:
        """Return what is needed of one side."""
        return self.sim if side == "sim" else self.real

    def met_by(self, sim: Sequence[Frame], real: Sequence[Frame]) -> "DataSpec":
        """Return the same, with optional kinds that the frames have; also masks if windows are matched by them."""
        masked = self.matched and all("segmentation" in frame.labels for frame in (*sim, *real))
        masks = {"segmentation": "data.matched"} if masked else {}
        of_sim, of_real = self.sim.met_by(sim), self.real.met_by(real)
        return DataSpec(
            replace(of_sim, kinds={**masks, **of_sim.kinds}),
            replace(of_real, kinds={**masks, **of_real.kinds}),
            self.matched,
        )


PLAIN: Final = DataSpec()
"""No labels and no clips."""


def spec_of(method: Method) -> DataSpec:
    """Return the labels and clips that a method, its networks and its losses need.

    Raises:
        PluginError: If one of them needs an unknown kind of label, or two need clips of different lengths.
    """
    needed: dict[Side, tuple[dict[str, str], dict[int, str]]] = {side: ({}, {1: ""}) for side in _SIDES}
    for who, part, label_sides, clip_sides in _parts(method):
        for kind in inputs_of(part, who):
            for side in label_sides:
                needed[side][0].setdefault(kind, who)
        length = clip_length_of(part, who)
        for side in clip_sides:
            needed[side][1].setdefault(length, who)
    sim, real = (SideSpec(kinds, *_agreed(lengths)) for kinds, lengths in needed.values())
    return DataSpec(sim, replace(real, optional=tuple(method.inputs)))


def _agreed(lengths: Mapping[int, str]) -> tuple[int, str]:
    """Return the only clip length that is needed, or 1, and the component that needs it."""
    several = sorted(length for length in lengths if length > 1)
    if len(several) > 1:
        least, most = several[0], several[-1]
        raise PluginError(
            f"{lengths[least]} asks for clips of {least} frames, {lengths[most]} for clips of {most}, but all get the "
            "same clips: give both the same clip_length"
        )
    length = several[0] if several else 1
    return length, lengths[length]


def _parts(method: Method) -> Iterator[tuple[str, Any, Iterable[Side], Iterable[Side]]]:
    """Yield the name of each component that may need labels or clips, the component, and the sides that it gets."""
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


def require_labels(side: Side, frames: Sequence[Frame], spec: SideSpec) -> None:
    """Make sure that every frame of a side has the needed labels.

    In clips, motion that leads out of a sequence is not needed, see :data:`sim2real.datasets.inputs.LEADS_TO`.

    Raises:
        DatasetError: If some frames lack a label; the message names the component that needs it and the first frame.
    """
    for kind, who in spec.kinds.items():
        if lacking := _lacking(frames, kind, spec.clip_length):
            if kind == TRANSLATION and len(lacking) == len(frames):
                raise DatasetError(
                    f"{who} needs translations of another program: make a run of them with sim2real import-frames, and "
                    "name it in data.translations",
                    topic="a-student-of-a-slow-translator",
                )
            there = sorted({known for frame in frames for known in frame.labels})
            raise DatasetError(
                f"{who} needs '{kind}' of the {_WORDS[side]} images, and {len(lacking)} of {len(frames)} have none, "
                f"e.g. {lacking[0].path}; available labels: {', '.join(there) or 'none'}; exclude those images "
                f"(data.{side}_exclude), or remove the component that needs them",
                topic="labels-of-the-simulation",
            )


def _lacking(frames: Sequence[Frame], kind: str, clip_length: int) -> list[Frame]:
    """Return the frames that lack a needed label of a kind."""
    lacking = [frame for frame in frames if kind not in frame.labels]
    if not lacking or clip_length == 1 or kind not in LEADS_TO:
        return lacking
    places = {_key(frame, 0) for frame in frames}
    return [frame for frame in lacking if not frame.sequence or _key(frame, LEADS_TO[kind]) in places]


def followers(frames: Sequence[Frame], length: int) -> dict[int, list[int]]:
    """Return, for the number of each frame that starts a clip, the numbers of the clip's frames."""
    places = {_key(frame, 0): number for number, frame in enumerate(frames) if frame.sequence}
    clips = {
        number: [places.get(_key(frame, ahead), -1) for ahead in range(length)]
        for number, frame in enumerate(frames)
        if frame.sequence
    }
    return {number: clip for number, clip in clips.items() if -1 not in clip}


def _key(frame: Frame, ahead: int) -> tuple[int, str, int]:
    return id(frame.dataset), frame.sequence, frame.index + ahead


def require_clips(side: Side, frames: Sequence[Frame], spec: SideSpec, *, least: int) -> None:
    """Make sure that a side has enough clips, if clips are needed.

    Raises:
        DatasetError: If it has fewer than ``least``.
    """
    if spec.clip_length > 1 and (count := len(followers(frames, spec.clip_length))) < least:
        raise DatasetError(
            f"{spec.clips_for} needs {spec.clip_length} consecutive frames of {_WORDS[side]} sequences, and "
            f"{'there are none' if not count else f'only {count} images start a clip'} among {len(frames)} images to "
            "train on; use a dataset of sequences, or lower data.validation",
            topic="labels-of-the-simulation",
        )
