"""The images of each side: which are trained on, which are held out, and which classes they show."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from sim2real.config import Classes, Config
from sim2real.datasets.base import Frame, Side
from sim2real.datasets.inputs import NAMED
from sim2real.datasets.partners import evenly
from sim2real.datasets.sources import Source, one_domain, open_folder, open_sources
from sim2real.datasets.translated import GENERATOR, with_translations
from sim2real.datasets.video import Extracted, Extraction
from sim2real.datasets.vocabulary import Vocabulary, names_of
from sim2real.errors import DatasetError
from sim2real.model import find_model, read_info
from sim2real.progress import Progress, quiet
from sim2real.training.specs import PLAIN, DataSpec, SideSpec, followers, require_clips, require_labels

if TYPE_CHECKING:
    from sim2real.datasets.labels import Boxes, Segmentation

_LOOKED_AT = 32  # frames of a side that are searched for classes, besides one of each sequence
_SEQUENCES = 256  # at most: in some layouts every frame is a sequence
Stamp = tuple[int, int]


def stamp_of(path: Path) -> Stamp:
    """Return the size in bytes and the time of the last change in ns; a file that keeps both counts as unchanged."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


class Origin(NamedTuple):
    """A place that provides images of a side.

    Attributes:
        path: A folder or a video.
        layout: Registered name of the folder's layout, or ``"video"``.
        images: The number of the side's images in this place.
        extracted: What was extracted from each video.
        notes: Messages for the user, a line each.
    """

    path: Path
    layout: str
    images: int
    extracted: tuple[Extracted, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Domain:
    """The images of one side.

    Attributes:
        side: The side.
        train: The images for training.
        held_out: The images that are never trained on.
        fingerprint: A hash of the names and sizes of the images and of the requested labels.
        stamps: The stamps of ``train`` when it was listed, see :func:`stamp_of`; without them no change is noticed.
        origins: The places of the images.
    """

    side: Side
    train: Sequence[Frame]
    held_out: Sequence[Frame]
    fingerprint: str
    stamps: Sequence[Stamp] = ()
    origins: Sequence[Origin] = ()

    @property
    def frames(self) -> list[Frame]:
        """All images of the side, those for training first."""
        return [*self.train, *self.held_out]


def open_domains(
    config: Config, extracted: Path | None = None, progress: Progress = quiet, spec: DataSpec = PLAIN
) -> tuple[Domain, Domain]:
    """Find the images of both sides, and extract the frames of videos.

    A folder that holds both domains itself (a CycleGAN folder) may stand for both. If a folder's layout has a test
    part, that part is held out; of all other images of a side, ``data.validation`` are held out, sampled with the seed.

    Args:
        config: All settings.
        extracted: Folder for the frames of videos; frames that it holds already are not extracted again. None for
            ``frames`` in the run folder.
        progress: Called with the progress of the extraction.
        spec: The labels and clips that the training needs.

    Raises:
        DatasetError: If a side is missing or has too few images, some images lack the labels or clips that the
            training needs, or a video cannot be decoded.
    """
    data = config.data
    simulated = open_folder(config.sim_place, data.sim_include, data.sim_exclude, data.sim_as_image)
    if data.translations:
        info = read_info(find_model(Path(data.translations), None))
        if info.name != GENERATOR:
            raise DatasetError(
                f"data.translations = '{data.translations}': not a run of sim2real import-frames, but one of the "
                f"generator '{info.name}'",
                topic="frames-that-another-program-translated",
            )
        frames = tuple(with_translations(simulated.frames, info.name, info.options))
        simulated = replace(simulated, frames=frames)
    sim = _open_domain(config, "sim", [simulated], spec.sim)
    if config.real:
        real = open_sources(
            config.real_places,
            extracted or config.run_folder / "frames",
            include=data.real_include,
            exclude=data.real_exclude,
            as_image=data.real_as_image,
            extraction=Extraction.of(data),
            progress=progress,
        )
    else:
        real = [open_folder(Path(config.sim), data.real_include, data.real_exclude, data.real_as_image)]
    return sim, _open_domain(config, "real", real, spec.real)


def _open_domain(config: Config, side: Side, sources: Sequence[Source], spec: SideSpec) -> Domain:
    parts = [_frames_of(source, config, side) for source in sources]
    frames = [frame for part in parts for frame in part]
    spec = spec.met_by(frames)
    require_labels(side, frames, spec)
    held_out = _sample_held_out(parts, config, spec.clip_length)
    train = [number for number, frame in enumerate(frames) if number not in held_out]
    if not config.data.validation:
        train = [number for number in train if frames[number].split != "test"]
    if len(train) < config.data.batch_size:
        message = (
            f"{', '.join(str(source.path) for source in sources)}: {len(train)} {side} images to train on "
            f"({len(held_out)} held out), but data.batch_size is {config.data.batch_size}; add images or lower "
            "data.batch_size or data.validation"
        )
        raise DatasetError(message, topic="one-side-is-empty")
    order = [*train, *sorted(held_out)]
    chosen = [frames[number] for number in order]
    stamps = [stamp_of(frame.path) for frame in chosen]
    names = [frame.image for frame in frames]
    if len(sources) > 1:
        names = [f"{number}/{frame.image}" for number, part in enumerate(parts) for frame in part]
    kinds = [
        *spec.kinds,
        *(["segmentation"] if config.data.matched and "segmentation" not in spec.kinds else []),
    ]
    digest = sha256()
    for number, (size, _) in zip(order, stamps, strict=True):
        digest.update(f"{names[number]}\0{size}\n".encode())
        for kind in filter(frames[number].labels.__contains__, kinds):
            label = _label_path(frames[number], kind)
            digest.update(f"{kind}\0{frames[number].labels[kind]}\0{stamp_of(label)[0]}\n".encode())
    origins = [
        Origin(source.path, source.layout, len(part), source.extracted, source.notes)
        for source, part in zip(sources, parts, strict=True)
    ]
    count = len(train)
    require_clips(side, chosen[:count], spec, least=config.data.batch_size)
    return Domain(side, chosen[:count], chosen[count:], digest.hexdigest(), stamps[:count], origins)


def _label_path(frame: Frame, kind: str) -> Path:
    return (frame.dataset.root if frame.dataset else Path()) / frame.labels[kind]


def _frames_of(source: Source, config: Config, side: Side) -> list[Frame]:
    """Return the images of a side in one of its places."""
    frames = [frame for frame in source.frames if frame.side in (None, _own(side, swap=config.swap))]
    if not config.real and any(frame.side is None for frame in source.frames):
        raise one_domain(source.path, source.layout)
    if config.swap and side == "sim" and all(frame.side is None for frame in source.frames):
        message = f"{source.path}: {source.layout} does not have two sides to swap; exchange SIM and REAL instead"
        raise DatasetError(message)
    if not frames:
        data = config.data
        globs = (data.sim_include, data.sim_exclude) if side == "sim" else (data.real_include, data.real_exclude)
        fit = f" match the globs {globs[0]} {globs[1]}" if any(globs) else ""
        raise DatasetError(f"{source.path}: no {side} images{fit}", topic="one-side-is-empty")
    return frames


def _own(side: Side, *, swap: bool) -> Side:
    """Return the name that a side has in a folder of two sides."""
    return ("real" if side == "sim" else "sim") if swap else side


def _sample_held_out(parts: Sequence[Sequence[Frame]], config: Config, clip_length: int) -> set[int]:
    """Return the indices of the held-out images, counted over all places; with a clip length above 1, whole clips."""
    wanted, first = config.data.validation, 0
    held_out, pool = set[int](), list[int]()
    for part in parts:
        tests = {first + number for number, frame in enumerate(part) if frame.split == "test"}
        if 0 < len(tests) < len(part):
            held_out |= tests
        else:
            pool += range(first, first + len(part))
        first += len(part)
    if not wanted:
        return set()
    if pool:
        count = max(1, round(wanted * len(pool))) if wanted < 1 else int(wanted)
        count = min(count, len(pool) - 1)
        random = np.random.default_rng([config.seed, len(pool)])
        if clip_length == 1:
            held_out.update(pool[number] for number in random.permutation(len(pool))[:count].tolist())
        else:
            frames = [frame for part in parts for frame in part]
            held_out |= _sample_clips([frames[number] for number in pool], pool, clip_length, count, random)
    return held_out


def _sample_clips(
    frames: Sequence[Frame], numbers: Sequence[int], length: int, count: int, random: np.random.Generator
) -> set[int]:
    """Return about ``count`` of the numbers, those of sampled clips that have no frame in common."""
    clips, sampled = followers(frames, length), set[int]()
    for start in random.permutation(list(clips)).tolist():
        if len(sampled) + length > max(count, length):
            break
        if sampled.isdisjoint(clips[start]):
            sampled.update(clips[start])
    return {numbers[place] for place in sampled}


def find_classes(config: Config, sides: Sequence[tuple[Domain, SideSpec]], progress: Progress = quiet) -> Classes:
    """Return the classes of a run: those in the settings, or else those found in frames of both sides.

    The searched frames are, for each side, the first of each sequence (at most 256 of them) and at most 32 more, evenly
    spread. None are searched unless the training needs masks or boxes.

    Raises:
        DatasetError: If a label cannot be read.
        ImageError: If a label is a damaged image.
    """
    if config.classes.names:
        return config.classes
    found = []
    for domain, side_spec in sides:
        kinds, names = NAMED & side_spec.kinds.keys(), dict[str, None]()
        firsts = {(id(frame.dataset), frame.sequence): frame for frame in reversed(domain.train)}
        looked_at = (
            [*evenly([*reversed(firsts.values())], _SEQUENCES), *evenly(domain.train, _LOOKED_AT)] if kinds else []
        )
        for done, frame in enumerate(looked_at, 1):
            for kind in sorted(kinds):
                names |= dict.fromkeys(names_of(cast("Segmentation | Boxes", frame.load_label(kind))))
            progress("looking for classes", done, len(looked_at))
        found.append(names)
    vocabulary = Vocabulary.found(*found, same=config.classes.same)
    return config.classes.model_copy(update={"names": list(vocabulary.names)})
