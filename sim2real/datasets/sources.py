"""Collect the pictures of one side from several places: folders of any known layout, and videos.

Every picture counts equally: the weight of a folder is its number of pictures.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Final

from sim2real.datasets import Dataset, open_dataset
from sim2real.datasets.base import Frame, Tree
from sim2real.datasets.video import Extracted, Extraction, extract_frames, is_video
from sim2real.errors import DatasetError
from sim2real.progress import Progress, quiet

_PLAIN: Final = "images"  # the layout of folders without any other


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A location of pictures, before frames are extracted.

    Attributes:
        path: A folder or a video.
        dataset: The folder as a dataset, if it holds images.
        videos: The videos to extract frames from, as paths relative to ``root``.
        unused: Other videos under the folder, which are not used because the videos of a dataset often show its labels.
    """

    path: Path
    dataset: Dataset | None = None
    videos: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    @property
    def root(self) -> Path:
        """The folder that paths are relative to."""
        return self.path.parent if self.path.is_file() else self.path


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The pictures of one place.

    Attributes:
        path: The folder or the video.
        layout: Registered name of the folder's layout; ``"video"`` if there are only videos.
        frames: The pictures, with frames extracted from videos last.
        extracted: The frames extracted from each video.
        notes: Remarks for the user, one line each.
    """

    path: Path
    layout: str
    frames: tuple[Frame, ...]
    extracted: tuple[Extracted, ...] = ()
    notes: tuple[str, ...] = ()


def find_pictures(path: Path, as_image: Sequence[str] = ()) -> Place:
    """Find the images and videos at a path.

    Args:
        path: A folder or a video.
        as_image: Globs of images to treat as camera images, whatever their names and pixels suggest.

    Raises:
        DatasetError: If the path does not exist, or holds neither a picture nor a video.
    """
    if is_video(path.name) and path.is_file():
        return Place(path=path, videos=(path.name,))
    try:
        dataset = open_dataset(path, as_image=as_image)
    except DatasetError:
        videos = tuple(filter(is_video, Tree(path)))
        if not videos:
            raise
        return Place(path=path, videos=videos)
    videos = tuple(filter(is_video, dataset.tree))
    is_plain = dataset.name == _PLAIN
    return Place(path=path, dataset=dataset, videos=videos if is_plain else (), unused=() if is_plain else videos)


def one_domain(path: Path, layout: str) -> DatasetError:
    """Return the error for a folder that was given for both sides but holds only one."""
    message = f"{path}: recognised as {layout}, which holds one domain; give the real images too: SIM REAL, two folders"
    return DatasetError(message, topic="one-side-is-empty")


def open_folder(
    path: Path, include: Sequence[str] = (), exclude: Sequence[str] = (), as_image: Sequence[str] = ()
) -> Source:
    """Open a folder for its images, ignoring videos.

    Args:
        path: The folder.
        include: Globs for the path of an image within the folder. If any are given, at least one must match.
        exclude: Globs for the same path, none of which may match.
        as_image: Globs of images to treat as camera images, whatever their names and pixels suggest.

    Raises:
        DatasetError: If there is no image in the folder.
    """
    dataset = open_dataset(path, as_image=as_image)
    frames = tuple(dataset.frames(include, exclude))
    return Source(path=path, layout=dataset.name, frames=frames, notes=tuple(_left_out(dataset)))


def open_sources(
    paths: Sequence[Path],
    extracted: Path,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    as_image: Sequence[str] = (),
    extraction: Extraction | None = None,
    progress: Progress = quiet,
) -> list[Source]:
    """Open the places that together form one side, and extract frames from their videos.

    Args:
        paths: Folders and videos.
        extracted: The folder for frames of videos; frames that it already holds are not extracted again.
        include: Globs for the path of an image or a video within its place. If any are given, at least one must match.
        exclude: Globs for the same path, none of which may match.
        as_image: Globs of images to treat as camera images, whatever their names and pixels suggest.
        extraction: Which frames of a video to extract.
        progress: Called with the progress of the extraction.

    Raises:
        DatasetError: If a path holds neither a picture nor a video, a video cannot be decoded, or a picture comes from
            two places.
    """

    def wanted(video: str) -> bool:
        return any(fnmatchcase(video, glob) for glob in include or ["*"]) and not any(
            fnmatchcase(video, glob) for glob in exclude
        )

    places = [find_pictures(path, as_image) for path in paths]
    videos = [[video for video in place.videos if wanted(video)] for place in places]
    files = [place.root / video for place, chosen in zip(places, videos, strict=True) for video in chosen]
    results = iter(extract_frames(files, extracted, extraction or Extraction(), progress))
    frames_of = _frames_by_folder(extracted) if files else {}
    sources = []
    for place, chosen in zip(places, videos, strict=True):
        mine = [(video, next(results)) for video in chosen]
        frames = list(place.dataset.frames(include, exclude)) if place.dataset else []
        frames += [frame for name in dict.fromkeys(each.folder.name for _, each in mine) for frame in frames_of[name]]
        sources.append(
            Source(
                path=place.path,
                layout=place.dataset.name if place.dataset else "video",
                frames=tuple(frames),
                extracted=tuple(each for _, each in mine),
                notes=tuple(_notes(place, mine)),
            )
        )
    if len(sources) > 1:
        _require_distinct(sources)
    return sources


def frames_of_videos(sources: Iterable[Source], extraction: Extraction) -> str:
    """Return a line on the frames that were extracted from videos; empty if there are no videos."""
    extracted = [each for source in sources for each in source.extracted]
    frames, still = sum(each.frames for each in extracted), sum(each.still for each in extracted)
    if not extracted:
        return ""
    line = f"{frames} frames of videos ({len(extracted)}), at most one every {extraction.every:g} s (data.video_every)"
    return line + (f"; {still} left out because they hardly differ from the previous one" if still else "")


def shared(images: Iterable[Path], others: Iterable[Path]) -> list[Path]:
    """Return the images that are also among others, after links are resolved."""
    folder_of = cache(Path.resolve)
    known = {folder_of(path.parent) / path.name for path in others}
    return [path for path in images if folder_of(path.parent) / path.name in known]


def _require_distinct(sources: Sequence[Source]) -> None:
    """Make sure that no picture occurs twice: it would count twice, or be held out and trained on at once."""
    found = dict[Path, Path]()
    folder_of = cache(Path.resolve)  # a place may be a link to another
    for source in sources:
        for path in (frame.path for frame in source.frames):
            if (other := found.setdefault(folder_of(path.parent) / path.name, source.path)) is not source.path:
                raise DatasetError(
                    f"{source.path}: {path} is also one of {other}; name each place once",
                    topic="several-folders-and-videos",
                )


def _frames_by_folder(extracted: Path) -> dict[str, list[Frame]]:
    """Return the frames extracted from each video, by the name of their folder."""
    frames = dict[str, list[Frame]]()
    for frame in open_dataset(extracted, _PLAIN).frames():
        frames.setdefault(frame.sequence, []).append(frame)
    return frames


def _notes(place: Place, extracted: Sequence[tuple[str, Extracted]]) -> Iterator[str]:
    yield from (f"{place.root / video}: {each.problem}" for video, each in extracted if each.problem)
    if place.dataset:
        yield from _left_out(place.dataset)
    if place.unused and place.dataset:
        yield (
            f"{place.path}: recognised as {place.dataset.name}, so no frames are extracted from its videos "
            f"({len(place.unused)}); name those that are real, e.g. {place.unused[0]}"
        )


def _left_out(dataset: Dataset) -> Iterator[str]:
    """Yield a note for each group of images that are left out because they are not camera images."""
    for finding in dataset.non_photos.findings:
        yield (
            f"{dataset.root}: {finding.images} images are left out: {finding.reason}, {finding.place}; if they are "
            f"camera images, name them in data.sim_as_image or data.real_as_image: '{finding.glob}'"
        )
