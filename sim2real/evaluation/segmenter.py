"""Measure whether images still show what their masks label, by segmenters trained on the dataset's own masks.

A small U-Net (Ronneberger et al. 2015, arXiv 1505.04597) is trained on a part of the frames and tested on others. It is
trained under varying light, tone, blur and noise, and sees every image standardised by its own mean and spread. Two
values are measured:

- ``segmenter-miou``: IoU of a segmenter that learnt the source frames, on source frames and on translations. A lower
  value after the translation may mean that labels no longer fit, or only that the images look as different as real ones
  do: the toy town's own real images leave half of it.
- ``relearnt-miou``: IoU on translations of a segmenter that learnt translations, compared with the IoU on source frames
  of one that learnt source frames. A lower value means that the images show less of their labels, whatever they look
  like. Errors that are alike in all frames can be learnt, however.

Neither sees what no label covers; the edges (:mod:`sim2real.metrics.edges`) do.

What a network learns from few frames depends on its initial weights and on the order of its batches. Several segmenters
of each kind are therefore trained, and the intervals cover the differences between them and between frames.
"""

import itertools
import math
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Literal, NamedTuple, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sim2real.conversion.plan import evenly
from sim2real.datasets.labels import Label, Segmentation
from sim2real.errors import DatasetError, Sim2RealError
from sim2real.evaluation.figures import Figure
from sim2real.evaluation.intervals import blocks_of
from sim2real.imageio import resize
from sim2real.metrics.base import Image
from sim2real.metrics.regions import has_name
from sim2real.networks.segmentation import UNet, in_another_light, standardised
from sim2real.progress import Progress, quiet
from sim2real.training.deterministic import deterministic

Classes = NDArray[np.int64]
"""The class number of each pixel, (h, w); -1 where it is unknown."""

Side = Literal["before", "after"]
_SIDES: tuple[Side, Side] = ("before", "after")

STEPS = 300
"""Steps of each training, enough for a small dataset: all six take about a minute on two cores."""
NETWORKS = 3
"""Number of trainings of each kind, with different initial weights and batches."""

_WIDEST = 384  # px, width of the network's input
_STRIDE = 16  # of the network
_BATCH = 4
_STEP_SIZE = 3e-3
_LEARNT, _ASKED = 256, 128  # frames at most
_HELD_OUT = 0.25  # approximate share of the frames
_GAP = 0.05  # share of a sequence left out between its training and its held-out part
_FEWEST = 8  # frames
_FEWEST_ASKED = 4
_RAREST = 0.0005  # share of the pixels that a class needs to be learnt
_FEWEST_PIXELS = 1000  # of a class in all held-out frames: with fewer, an IoU is chance
_KNOWN = 0.4  # IoU before: below it, the segmenter knows a class too little to judge it
_NO_CLASS = frozenset({"void", "undefined", "unlabeled", "unlabelled", "unknown", "ignore"})
_UNKNOWN = -1
_DRAWS, _FEWEST_DRAWS = 1000, 100


class Pair(Protocol):
    """A frame and its translation."""

    @property
    def path(self) -> str:
        """Path of the image within the dataset."""

    @property
    def sequence(self) -> str:
        """The sequence that the frame belongs to; empty for loose images."""

    @property
    def index(self) -> int:
        """Position in the sequence."""

    def before(self) -> Image:
        """Read the frame."""

    def after(self) -> Image:
        """Read its translation."""

    def labels(self) -> Mapping[str, Label]:
        """Return the labels of the frame by kind, decoded on demand."""


@dataclass(frozen=True, slots=True)
class SegmenterResult:
    """The segmenters' results for a conversion.

    Attributes:
        figures: ``segmenter-miou`` and ``relearnt-miou``, intersection over union before and after: the mean over the
            classes that the segmenter knows, and each class.
        by_frame: Path of each held-out frame -> share of its labelled pixels, 0 to 1, that segmenters trained on
            translations classify correctly in the translation.
        remark: Why there is no figure, or which masks were left out; otherwise empty.
    """

    figures: tuple[Figure, ...] = ()
    by_frame: Mapping[str, float] = field(default_factory=dict)
    remark: str = ""


class Overlap(NamedTuple):
    """The numbers of pixels of each class, (classes,), by the segmenter and by the mask.

    Attributes:
        both: Pixels on which both agree.
        seen: Pixels of the class by the segmenter, where the mask has any class.
        true: Pixels of the class by the mask.
    """

    both: Classes
    seen: Classes
    true: Classes


class Segmenter:
    """A network that classifies the pixels of images.

    Attributes:
        names: Names of the classes, in order of their numbers.
        size: (w, h) to which images are resized.

    Args:
        network: Takes standardised images (N, 3, h, w), returns logits (N, classes, h, w).
        names: Names of the classes.
        size: (w, h), multiples of 16.
        device: Device of the network.
    """

    def __init__(self, network: nn.Module, names: Sequence[str], size: tuple[int, int], device: str) -> None:
        self.names = tuple(names)
        self.size = size
        self._network = network.eval()
        self._device = device

    def __call__(self, image: Image) -> Classes:
        """Classify the pixels of an image, RGB uint8 (H, W, 3)."""
        with torch.inference_mode():
            seen = _tensor(torch.from_numpy(resize(image, self.size))[None]).to(self._device)
            return np.asarray(self._network(standardised(seen))[0].argmax(dim=0).cpu().numpy(), np.int64)

    def compare(self, image: Image, mask: Segmentation) -> Overlap:
        """Compare the classes found in an image with its mask."""
        true = _numbered(_reduced(mask, self.size), self.names)
        known = true != _UNKNOWN
        true, seen = true[known], self(image)[known]
        return Overlap(*(np.bincount(some, minlength=len(self.names)) for some in (true[seen == true], seen, true)))


def segment(
    frames: Sequence[Pair],
    *,
    steps: int = STEPS,
    networks: int = NETWORKS,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = quiet,
) -> SegmenterResult:
    """Train segmenters on a part of the frames, before and after, and test them on another part.

    Args:
        frames: Frames with their translations.
        steps: Steps of each training.
        networks: Number of networks trained on source frames, and the same number on translations.
        seed: Seed of the initial weights, of the batches and of the confidence intervals.
        device: Device of the networks.
        progress: Called for the stages that :func:`stages` names.

    Raises:
        DatasetError: If no class covers enough pixels to be learnt.
        ImageError: If an image is damaged.
    """
    masked, faults = _with_masks(frames, progress)
    left_out = f"{len(faults)} masks could not be read and are left out of the segmenter: {faults[0]}" if faults else ""
    if len(masked) < _FEWEST:
        remark = f"a segmenter needs {_FEWEST} frames with segmentation masks, there are {len(masked)}"
        return SegmenterResult(remark=f"{remark}; {left_out}".rstrip("; "))
    learnt, asked = hold_out(masked)
    asked = evenly(asked, _ASKED)
    progress("learning tested", 0, len(asked))
    trained = train_segmenters(learnt, networks, steps=steps, seed=seed, device=device, progress=progress)
    before, after = (trained[of] for of in _SIDES)
    overlaps = []
    for number, pair in enumerate(asked, start=1):
        mask, frame, translation = _mask(pair), pair.before(), pair.after()
        overlaps.append(
            [
                [first.compare(frame, mask), first.compare(translation, mask), second.compare(translation, mask)]
                for first, second in zip(before, after, strict=True)
            ]
        )
        progress("learning tested", number, len(asked))
    found = np.array(overlaps).swapaxes(0, 1)  # (networks, frames, views, 3, classes)
    draws = _draw_blocks(blocks_of([pair.sequence for pair in asked]), networks, seed)
    title = "IoU of a segmenter that learnt the source frames"
    retitle = "IoU of a segmenter that learnt the same frames, before or after"
    names = before[0].names
    both, _, true = found[:, :, 2].sum(axis=(0, -1)).T
    return SegmenterResult(
        (
            *_figures("segmenter-miou", title, names, found[:, :, [0, 1]], draws),
            *_figures("relearnt-miou", retitle, names, found[:, :, [0, 2]], draws),
        ),
        {pair.path: float(share) for pair, share in zip(asked, both / np.maximum(true, 1), strict=True)},
        left_out,
    )


def stages(frames: Sequence[Pair], steps: int, networks: int = NETWORKS) -> dict[str, int]:
    """Return the stages of :func:`segment`'s progress: name of each stage -> largest number of units."""
    masks = sum("segmentation" in pair.labels() for pair in frames)
    if masks < _FEWEST:
        return {}
    learnt = {f"masks learnt {of}": min(masks, _LEARNT) for of in _SIDES}
    learning = len(_SIDES) * steps * networks
    return {"masks": masks, **learnt, "learning": learning, "learning tested": min(masks, _ASKED)}


def _with_masks(frames: Sequence[Pair], progress: Progress) -> tuple[list[Pair], list[str]]:
    """Return the frames with a readable mask, and the errors of the others."""
    masked, faults = list[Pair](), list[str]()
    there = [pair for pair in frames if "segmentation" in pair.labels()]
    for number, pair in enumerate(there, start=1):
        try:
            _mask(pair)
        except Sim2RealError as error:
            faults.append(str(error))
        else:
            masked.append(pair)
        progress("masks", number, len(there))
    return masked, faults


def hold_out(frames: Sequence[Pair]) -> tuple[list[Pair], list[Pair]]:
    """Split frames into training frames and held-out frames, about 3 : 1.

    Sequences with the same first part of their name (``"Scene01/clone/Camera_0"``, ``"Scene01/fog/Camera_1"``) show the
    same places and form a scene. If there are several scenes, whole ones are held out, else the last part of each
    sequence, after a gap.
    """
    scenes, sequences = defaultdict[str, list[Pair]](list), defaultdict[str, list[Pair]](list)
    for pair in sorted(frames, key=lambda pair: (pair.sequence, pair.index, pair.path)):
        scenes[pair.sequence.partition("/")[0]].append(pair)
        sequences[pair.sequence].append(pair)
    learnt, asked = list[Pair](), list[Pair]()
    if len(scenes) > 1:
        first, *others = reversed(scenes.values())
        asked += first
        for scene in others[:-1]:
            (asked if len(asked) < _HELD_OUT * len(frames) else learnt).extend(scene)
        return [*learnt, *others[-1]], asked
    for sequence in sequences.values():
        begin = round((1 - _HELD_OUT) * len(sequence))
        learnt += sequence[: begin - math.ceil(_GAP * len(sequence))]
        asked += sequence[begin:]
    return learnt, asked


def train_segmenters(
    pairs: Sequence[Pair],
    count: int = NETWORKS,
    *,
    steps: int = STEPS,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = quiet,
) -> Mapping[Side, Sequence[Segmenter]]:
    """Train segmenters on frames, at most 256, evenly spread: some on the source frames, as many on translations.

    On a CPU, several are trained at once, each by one thread: that is faster than many threads for one small network,
    above all beside other programs, and the results do not depend on the number of threads.

    Args:
        pairs: The frames, all with masks.
        count: Number of segmenters of each kind, each with its own seed.
        steps: Steps of each training, of four frames each.
        seed: Seed of the initial weights and of all sampling.
        device: Device of the networks.
        progress: Called for the stages ``"masks learnt ..."`` and ``"learning"``, by one thread at a time.

    Raises:
        DatasetError: If a mask is damaged, or no class covers enough pixels to be learnt.
        ImageError: If an image is damaged.
    """
    lessons = {of: _read(evenly(pairs, _LEARNT), of, partial(progress, f"masks learnt {of}")) for of in _SIDES}
    lock, numbers, stopped = threading.Lock(), itertools.count(1), threading.Event()

    def done() -> None:
        if stopped.is_set():
            raise CancelledError
        with lock:
            progress("learning", next(numbers), len(_SIDES) * count * steps)

    def train(of: Side, number: int) -> Segmenter:
        lesson = lessons[of]
        if device == "cpu":
            torch.set_num_threads(1)  # of this thread's own work
        with deterministic(wanted=True):
            _train(networks[of, number], lesson, steps=steps, seed=seed + number, device=device, done=done)
        return Segmenter(networks[of, number], lesson.names, lesson.size, device)

    networks: dict[tuple[Side, int], nn.Module] = {}
    for of, number in product(_SIDES, range(count)):  # here, as initial weights come from torch's global random state
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + number)
            networks[of, number] = UNet(len(lessons[of].names)).to(device)
    threads = torch.get_num_threads()
    try:  # deterministic here, too, so that no thread ends it for the others
        with deterministic(wanted=True), ThreadPoolExecutor(threads if device == "cpu" else 1) as pool:
            try:
                segmenters = [*pool.map(lambda key: train(*key), networks)]
            except BaseException:
                stopped.set()
                raise
    finally:
        torch.set_num_threads(threads)
    return {of: segmenters[place * count : (place + 1) * count] for place, of in enumerate(_SIDES)}


def _train(
    network: nn.Module, lesson: "_Lesson", *, steps: int, seed: int, device: str, done: Callable[[], None]
) -> None:
    random = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _STEP_SIZE, total_steps=steps + 1)
    weights = lesson.weights.to(device)
    for _ in range(steps):
        chosen = torch.randint(len(lesson.images), (_BATCH,), generator=random)
        images, classes = in_another_light(_tensor(lesson.images[chosen]), random), lesson.classes[chosen].long()
        if torch.empty(()).uniform_(0, 1, generator=random).item() < 0.5:
            images, classes = images.flip(-1), classes.flip(-1)
        logits = network(standardised(images.to(device))).movedim(1, -1).flatten(0, 2)
        loss = functional.cross_entropy(logits, classes.to(device).flatten(), weights, ignore_index=_UNKNOWN)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        done()


def _figures(name: str, title: str, names: Sequence[str], overlaps: Classes, draws: NDArray[np.int64]) -> list[Figure]:
    """Return the mean over the classes that the segmenter knows, and the figure of each class that is present.

    Args:
        name: Name of the figure.
        title: What it measures.
        names: Names of the classes.
        overlaps: The frames' overlaps, (networks, N, before and after, 3, classes).
        draws: How often each network's overlap of each frame is sampled, (draws, networks, N).
    """
    whole, sampled = _unions(overlaps, np.ones((1, *overlaps.shape[:2]), np.int64))[0], _unions(overlaps, draws)
    true = overlaps[0, :, 0, 2]
    pixels = true.sum(axis=0)
    present = np.flatnonzero(pixels >= max(1, _RAREST * pixels.sum())).tolist()
    unjudged = {number: why for number in present if (why := not_judged(int(pixels[number]), float(whole[0, number])))}
    known = [number for number in present if number not in unjudged]

    def figure(label: str, numbers: Sequence[int], remark: str = "") -> Figure:
        before, after = whole[:, numbers].mean(axis=1).tolist()
        count = int((true[:, numbers].sum(axis=1) > 0).sum())
        values = sampled[..., numbers].mean(axis=2)
        values = values[~np.isnan(values).any(axis=1)]  # samples of frames without the class
        is_sure = count >= _FEWEST_ASKED and len(values) >= _FEWEST_DRAWS
        values = np.column_stack([values, values[:, 1] - values[:, 0]])
        quantiles = np.quantile(values, [0.025, 0.975], axis=0).T.tolist() if is_sure else [None] * 3
        before_interval, interval, change = (quantile and (quantile[0], quantile[1]) for quantile in quantiles)
        return Figure(
            group="preservation",
            name=name,
            title=title,
            better="higher",
            before=before,
            after=None if remark else after,
            before_interval=before_interval,
            interval=None if remark else interval,
            change=None if remark else change,
            count=count,
            least=_FEWEST_ASKED,
            label=label,
            remark=remark,
        )

    each = [figure(names[number], [number], unjudged.get(number, "")) for number in present]
    return [figure("", known), *each] if known else each


def not_judged(pixels: int, before: float) -> str:
    """Return why a class is not judged by a segmenter; empty if it is judged.

    Args:
        pixels: Pixels of the class in all held-out frames.
        before: IoU of the class on held-out source frames.
    """
    if pixels < _FEWEST_PIXELS:
        return f"not judged: too little of this class in the held-out frames ({pixels} pixels)"
    return "" if before >= _KNOWN else f"not judged: the segmenter knows this class too little (IoU {before:.2f})"


def _unions(overlaps: Classes, draws: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the intersection over union, (draws, before and after, classes); NaN for absent classes."""
    both, seen, true = np.moveaxis(np.tensordot(draws, overlaps, axes=2).astype(np.float64), 2, 0)
    union = seen + true - both
    return np.asarray(np.divide(both, union, out=np.full_like(both, np.nan), where=union > 0))


def _draw_blocks(blocks: NDArray[np.intp], networks: int, seed: int) -> NDArray[np.int64]:
    """Sample networks, and frames in blocks; return how often each combination counts, (draws, networks, N)."""
    random, count = np.random.default_rng(seed), int(blocks[-1]) + 1
    of_frames = random.multinomial(count, np.full(count, 1 / count), size=_DRAWS)[:, blocks]
    of_networks = random.multinomial(networks, np.full(networks, 1 / networks), size=_DRAWS)
    return np.asarray(of_networks[:, :, None] * of_frames[:, None], np.int64)


# pictures and masks


class _Lesson(NamedTuple):
    """The training data of segmenters.

    Attributes:
        images: (N, h, w, 3) uint8.
        classes: (N, h, w) int16.
        weights: Weight of a pixel of each class, (classes,).
        names: Names of the classes.
        size: (w, h).
    """

    images: Tensor
    classes: Tensor
    weights: Tensor
    names: tuple[str, ...]
    size: tuple[int, int]


def _read(pairs: Sequence[Pair], of: Side, progress: Callable[[int, int], None]) -> _Lesson:
    height, width = pairs[0].before().shape[:2]
    scale = min(1, _WIDEST / width) / _STRIDE
    size = max(1, round(scale * width)) * _STRIDE, max(1, round(scale * height)) * _STRIDE
    masks, pictures, areas = list[Segmentation](), list[Image](), Counter[str]()
    for number, pair in enumerate(pairs, start=1):
        mask = _reduced(_mask(pair), size)
        masks.append(mask)
        pictures.append(resize(getattr(pair, of)(), size))
        ids, counts = np.unique(mask.ids, return_counts=True)
        for value, count in zip(ids.tolist(), counts.tolist(), strict=True):
            areas[mask.names.get(value, "")] += count
        progress(number, len(pairs))
    least = _RAREST * areas.total()
    names = tuple(sorted(name for name, area in areas.items() if area >= least and _is_class(name)))
    if not names:
        raise DatasetError("the segmentation masks name no class; is its list of classes missing?")
    weights = torch.tensor([areas[name] ** -0.5 for name in names])
    images = torch.from_numpy(np.stack(pictures))
    classes = torch.from_numpy(np.stack([_numbered(mask, names).astype(np.int16) for mask in masks]))
    return _Lesson(images, classes, weights / weights.mean(), names, size)


def _mask(pair: Pair) -> Segmentation:
    return cast("Segmentation", pair.labels()["segmentation"])


def _reduced(mask: Segmentation, size: tuple[int, int]) -> Segmentation:
    """Resize a mask to (w, h) by nearest neighbour."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.intp)
        for new, old in zip(reversed(size), mask.ids.shape, strict=True)
    )
    return Segmentation(mask.ids[np.ix_(rows, columns)], mask.names)


def _is_class(name: str) -> bool:
    return bool(name) and not has_name(name, _NO_CLASS)


def _numbered(mask: Segmentation, names: Sequence[str]) -> Classes:
    """Return the position of each pixel's class in ``names``, or -1."""
    numbered = np.full(mask.ids.shape, _UNKNOWN, np.int64)
    for number, name in mask.names.items():
        if name in names:
            numbered[mask.ids == number] = names.index(name)
    return numbered


def _tensor(images: Tensor) -> Tensor:
    """Convert images (N, h, w, 3) uint8 to (N, 3, h, w) in [0, 1]."""
    return images.movedim(-1, 1).float() / 255
