"""Combine the sample grids of a training into one animation."""

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from PIL import Image, ImageDraw, ImageFont, ImageOps

from sim2real.errors import ImageError
from sim2real.files import write_whole
from sim2real.imageio import read_rgb
from sim2real.inside import is_link

_T = TypeVar("_T")
PROGRESS_FILE = "progress.webp"
_NAME = re.compile(r"step_(\d+)\.png")
_LARGEST = 4_000_000  # bytes
_FRAMES = 60
_SIDE = 960  # pixels, the longer one
_HEADER = 28
_PAPER, _INK, _FAINT = (24, 26, 30), (236, 238, 240), (90, 96, 104)
_MILLISECONDS, _LAST_MILLISECONDS = 150, 2000


def list_samples(samples: Path) -> list[tuple[int, Path]]:
    """Return the sample grids of a run, ``step_%08d.png``, with their steps, the earliest first."""
    found = ((_NAME.fullmatch(path.name), path) for path in samples.glob("step_*.png"))
    return sorted((int(match[1]), path) for match, path in found if match and path.is_file() and not is_link(path))


def thinned(items: Sequence[_T], count: int) -> list[_T]:
    """Return at most ``count`` of the items, evenly spread, including the first and the last."""
    if len(items) <= count:
        return [*items]
    return [items[round(place * (len(items) - 1) / (count - 1))] for place in range(count)]


def write_progress(samples: Path) -> Path | None:
    """Write ``progress.webp`` into the folder of the sample grids: an animation with the step in each frame.

    Frames are left out and scaled down until the file has at most 4 MB.

    Args:
        samples: Folder of the sample grids.

    Returns:
        The path of the file; None, with nothing written, if fewer than two grids can be read.
    """
    data = animate(list_samples(samples))
    if data is None:
        return None
    write_whole(samples / PROGRESS_FILE, data)
    return samples / PROGRESS_FILE


def animate(samples: Sequence[tuple[int, Path]]) -> bytes | None:
    """Return the bytes of the animation of some steps and their grids; None if fewer than two grids can be read."""
    count, side = _FRAMES, _SIDE
    while len(frames := [*_frames(thinned(samples, count), side)]) > 1:
        data = _encoded(frames)
        if len(data) <= _LARGEST:
            return data
        count, side = max(2, count * 3 // 4), side * 3 // 4
    return None


def _frames(samples: Sequence[tuple[int, Path]], side: int) -> Iterator[Image.Image]:
    """Yield the grids, all in the size of the first, with a header that shows the step; unreadable ones are skipped."""
    size: tuple[int, int] | None = None
    for step, path in samples:
        try:
            grid = Image.fromarray(read_rgb(path))
        except ImageError:
            continue
        if size is None:
            scale = min(1.0, side / max(grid.size))
            size = max(1, round(grid.width * scale)), max(1, round(grid.height * scale))
        frame = Image.new("RGB", (size[0], size[1] + _HEADER), _PAPER)
        frame.paste(ImageOps.pad(grid, size, Image.Resampling.LANCZOS, _PAPER), (0, _HEADER))
        draw = ImageDraw.Draw(frame)
        draw.text((8, _HEADER / 2), f"step {step:,}", fill=_INK, font=ImageFont.load_default(16), anchor="lm")
        done = size[0] * step / max(1, samples[-1][0])
        draw.line([(0, _HEADER - 1), (size[0], _HEADER - 1)], fill=_FAINT)
        draw.line([(0, _HEADER - 1), (done, _HEADER - 1)], fill=_INK, width=2)
        yield frame


def _encoded(frames: Sequence[Image.Image]) -> bytes:
    file = io.BytesIO()
    durations = [*[_MILLISECONDS] * (len(frames) - 1), _LAST_MILLISECONDS]
    frames[0].save(
        file, "WEBP", save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=70, method=3
    )
    return file.getvalue()
