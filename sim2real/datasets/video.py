"""Extract frames from videos, to train on them as on photos.

Frames are JPEGs of quality 95: beyond the loss of the video's own codec, that loses next to nothing, and takes a
quarter of the space of PNGs. They are stored upright, however the camera was held, as no labels refer to their pixels.
"""

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from sim2real.errors import DatasetError
from sim2real.files import LEFTOVER, write_whole
from sim2real.imageio import encode_jpeg
from sim2real.inside import inside, is_link, read_regular
from sim2real.progress import Progress, quiet
from sim2real.stored import Count, MisfitError, parse

if TYPE_CHECKING:
    from sim2real.config import Data

SUFFIXES: Final = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm"})

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # OpenCV reads it once; errors are reported here instead

_CONTENTS: Final = "video.json"
_LONGEST: Final = 40  # characters of a video's name in the name of its folder
_THUMBNAIL: Final = (32, 32)
_ENDS: Final = 2**20  # bytes at either end of a file that identify it
_LOST: Final = (0.25, 0.02)  # seconds, and fraction, by which an intact video may be shorter than stated
_EARLY: Final = 1e-6  # seconds
_HOLE: Final = 0.5  # seconds without a frame that count as a gap


@dataclass(frozen=True, kw_only=True, slots=True)
class Extraction:
    """Settings for the extraction of frames from a video.

    Attributes:
        every: Seconds between frames.
        most: Maximum number of frames per video; in longer videos they are farther apart.
        change: Minimum difference to the frame extracted before, as the mean difference of thumbnails in levels of 255;
            frames that differ less are left out, e.g. while a camera stands still.
    """

    every: float = 1.0
    most: int = 1000
    change: float = 2.0

    @classmethod
    def of(cls, data: "Data") -> Self:
        """Return the extraction that the settings of a run define."""
        return cls(every=data.video_every, most=data.video_frames, change=data.video_change)


@dataclass(frozen=True, kw_only=True, slots=True)
class Extracted:
    """The extracted frames of a video.

    Attributes:
        folder: The folder of the frames.
        frames: The number of frames.
        still: The number of frames left out because they hardly differed from the one before.
        size: The total size in bytes.
        problem: What is wrong with the video; empty if nothing is.
    """

    folder: Path
    frames: int
    still: int
    size: int
    problem: str


def is_video(name: str) -> bool:
    """Return whether a file name has the suffix of a video."""
    return name[name.rfind(".") :].lower() in SUFFIXES


def video_seconds(video: Path) -> float:
    """Return the stated length of a video in seconds; 0 if it states none.

    Raises:
        DatasetError: If it cannot be decoded.
    """
    with _opened(video) as capture:
        return _Stated(capture).seconds


def extract_frames(
    videos: Sequence[Path], folder: Path, extraction: Extraction, progress: Progress = quiet
) -> list[Extracted]:
    """Extract frames from videos, each into a folder of its own; frames extracted before are kept.

    A video is identified by its size and its first and last MiB, wherever it is. Its folder appears when complete.

    Args:
        videos: The video files.
        folder: The folder for the folders of frames.
        extraction: Which frames to extract.
        progress: Called for the stage ``"extracting"``, in seconds of video.

    Returns:
        The frames of each video, in order.

    Raises:
        DatasetError: If a video cannot be decoded.
    """
    folders = [folder / _name(video, extraction) for video in videos]
    missing = {place: video for place, video in zip(folders, videos, strict=True) if _read(place) is None}
    seconds = [video_seconds(video) for video in missing.values()]
    total, before = math.ceil(sum(seconds)), 0.0
    for (place, video), length in zip(missing.items(), seconds, strict=True):

        def notify(done: float, before: float = before, length: float = length) -> None:
            if (now := int(before + min(done, length))) < total:
                progress("extracting", now, total)

        _extract(video, place, extraction, notify)
        before += length
    if missing:
        progress("extracting", total, total)
    return [extracted for place in folders if (extracted := _read(place))]


def holds_only_extracted(folder: Path) -> bool:
    """Return whether a folder holds only extracted frames."""
    return folder.is_dir() and all(
        LEFTOVER.fullmatch(entry.name) or (entry / _CONTENTS).is_file() for entry in folder.iterdir()
    )


def _name(video: Path, extraction: Extraction) -> str:
    """Return the name of a video's folder, unique for each video and extraction."""
    known = sha256(json.dumps(asdict(extraction)).encode())
    with video.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        known.update(str(size).encode())
        for start in (0, max(0, size - _ENDS)):
            file.seek(start)
            known.update(file.read(_ENDS))
    return f"{video.resolve().stem[:_LONGEST]}-{known.hexdigest()[:12]}"


def _read(folder: Path) -> Extracted | None:
    """Return the frames extracted to a folder; None if they are incomplete."""
    if is_link(folder):
        return None
    try:
        stated = parse(_Contents, read_regular(inside(folder, _CONTENTS)))
    except (OSError, MisfitError):
        return None
    frames = sum(not is_link(path) for path in folder.glob("*.jpg"))
    return Extracted(folder=folder, **asdict(stated)) if frames == stated.frames else None


def _extract(video: Path, place: Path, extraction: Extraction, notify: Callable[[float], None]) -> None:
    partial = place.with_name(f".{place.name}.tmp-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        contents = _write(video, partial, extraction, notify)
        write_whole(partial / _CONTENTS, json.dumps(asdict(contents)).encode())
        if is_link(place):
            place.unlink()
        shutil.rmtree(place, ignore_errors=True)  # an incomplete one
        partial.replace(place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Contents:
    """The contents of ``video.json``, see :class:`Extracted`."""

    frames: Count
    still: Count
    size: Count
    problem: str


def _write(video: Path, folder: Path, extraction: Extraction, notify: Callable[[float], None]) -> _Contents:
    """Write the frames of a video; return the contents of ``video.json``."""
    files, still, number, end, holes = list[Path](), 0, 0, 0.0, 0.0
    last = None
    with _opened(video) as capture:
        stated = _Stated(capture)
        step = max(extraction.every, stated.seconds / extraction.most)
        due = 0.0
        for number, seconds in enumerate(_times(capture, stated.pace), 1):
            hole = seconds - end if number > 1 else 0.0
            holes += hole if hole > _HOLE else 0.0
            end = seconds + stated.pace
            if seconds + _EARLY < due:
                continue
            due = ((seconds + _EARLY) // step + 1) * step
            notify(seconds)
            found, pixels = capture.retrieve()
            if not found:
                continue
            thumbnail = _thumbnail(pixels)
            if last is not None and np.abs(thumbnail - last).mean() < extraction.change:
                still += 1
                continue
            last = thumbnail
            files.append(folder / f"{number - 1:08d}.jpg")
            write_whole(files[-1], encode_jpeg(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)))
    if not files:
        raise _undecodable(video)
    kept = {
        files[place * len(files) // extraction.most] for place in range(extraction.most)
    }  # more than planned if the stated length is wrong
    for file in files:
        if file not in kept:
            file.unlink()
    shown = end - holes
    broken = number < stated.frames and stated.seconds - shown > max(_LOST[0], _LOST[1] * stated.seconds)
    problem = (
        f"{'with holes' if holes else 'broken off'}: {number} of {stated.frames} frames can be decoded, {shown:.1f} of "
        f"{stated.seconds:.1f} s"
    )
    return _Contents(
        frames=len(kept),
        still=still,
        size=sum(file.stat().st_size for file in kept),
        problem=problem if broken else "",
    )


def _thumbnail(pixels: NDArray[Any]) -> NDArray[np.float32]:
    return cv2.resize(pixels, _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)


class _Stated:
    """The metadata of a video: its number of frames (0 if unstated), seconds per frame, and length in seconds."""

    def __init__(self, capture: cv2.VideoCapture) -> None:
        rate, count = (capture.get(each) for each in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
        self.pace = 1 / rate if rate > 0 else 1 / 25
        self.frames = max(0, round(count))
        self.seconds = self.frames * self.pace


def _times(capture: cv2.VideoCapture, pace: float) -> Iterator[float]:
    """Grab the frames in turn and yield their times; a frame without one follows at the stated pace."""
    seconds = -pace
    while capture.grab():
        stated = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        seconds = stated if stated > seconds else seconds + pace
        yield seconds


@contextmanager
def _opened(video: Path) -> Iterator[cv2.VideoCapture]:
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    capture = cv2.VideoCapture(str(video.resolve()), cv2.CAP_FFMPEG)  # absolute, as FFmpeg takes "a:b" for a URL
    cv2.utils.logging.setLogLevel(level)
    try:
        if not capture.isOpened():
            raise _undecodable(video)
        yield capture
    finally:
        capture.release()


def _undecodable(video: Path) -> DatasetError:
    return DatasetError(
        f"{video}: cannot be decoded as a video: it is damaged, broken off, or its codec is unknown; "
        "repair it (ffmpeg -i ...), or leave it out with data.real_exclude",
        topic="several-folders-and-videos",
    )
