"""Fit the camera of a generator at the end of its training."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim2real.camera import Camera
from sim2real.datasets.base import Frame
from sim2real.datasets.inputs import cut_input
from sim2real.datasets.partners import evenly
from sim2real.engines.base import EngineSettings
from sim2real.errors import ImageError, OutOfMemoryError
from sim2real.imageio import read_rgb
from sim2real.model import load_generator
from sim2real.training.domains import Domain
from sim2real.training.fitting import fit_camera
from sim2real.translator import Translator

Image = NDArray[np.uint8]

_TRANSLATED: Final = 24  # frames
_LOOKED_AT: Final = 48  # images of the other domain
_FAINT: Final = 0.5  # grey levels; weaker noise of luminance is not visible
_PIXELS: Final = 1_500_000  # of a frame; of a larger frame only the middle is used


def match_camera(file: Path, sim: Domain, real: Domain, device: str) -> tuple[Camera | None, str]:
    """Return the camera that makes translations as soft and as noisy as images of the other domain.

    Args:
        file: The file of the generator.
        sim: The simulated images.
        real: The real images.
        device: Device that the generator runs on.

    Returns:
        The camera and a line about it; None and the reason if no camera can be fitted.
    """
    generator, info = load_generator(file)
    source, target = (sim, real) if info.direction == "sim2real" else (real, sim)
    translate = Translator(
        generator, info, EngineSettings(device=device, precision="fp32"), guided_size=info.guided_size()
    )
    try:
        translated = [_translated(translate, frame, image) for frame, image in _read(source, _TRANSLATED)]
        looked_at = list(_read(target, _LOOKED_AT))
        camera = fit_camera(translated, [image for _, image in looked_at], info.camera_encoding)
    except (ValueError, OutOfMemoryError) as error:
        return None, f"no camera is fitted for {info.direction}: {error}"
    line = f"camera of {info.direction}: {camera}"
    of_videos = _of_videos(target, [frame for frame, _ in looked_at])
    if 2 * of_videos > len(looked_at) and max(map(camera.luma.noise, (32, 128, 224))) < _FAINT:
        line += (
            f"; {of_videos} of the {len(looked_at)} images it is fitted to are frames of videos, whose compression "
            "removes noise: name photos by the same camera instead if its noise matters"
        )
    return camera, line


def _of_videos(domain: Domain, frames: Sequence[Frame]) -> int:
    """Return how many frames were extracted from videos."""
    folders = {each.folder.resolve() for origin in domain.origins for each in origin.extracted}
    return sum(frame.path.parent.resolve() in folders for frame in frames)


def _read(domain: Domain, most: int) -> Iterator[tuple[Frame, Image]]:
    """Yield up to ``most`` readable images of a domain, held-out ones first; training names the unreadable ones."""
    missing = most - len(domain.held_out)
    frames = [*evenly(domain.held_out, most), *(evenly(domain.train, missing) if missing > 0 else ())]
    return islice(_readable(frames), most)


def _readable(frames: Sequence[Frame]) -> Iterator[tuple[Frame, Image]]:
    for frame in frames:
        with suppress(ImageError):
            yield frame, read_rgb(frame.path)


def _translated(translate: Translator, frame: Frame, image: Image) -> Image:
    """Return the translation of a frame, or of the middle of a large one; a clip generator sees a still sequence."""
    rows, columns = _middle(*image.shape[:2])
    inputs = {
        kind: cut_input(values, kind, rows, columns)
        for kind, values in (translate.inputs_of(frame) if translate.can.inputs else {}).items()
    }
    shown = np.ascontiguousarray(image[rows[:, None], columns])
    length = translate.can.clip_length
    if length == 1:
        return translate.plain(shown, inputs=inputs)
    clip = {kind: np.stack([values] * length) for kind, values in inputs.items()}
    first: Image = translate.plain(np.stack([shown] * length), inputs=clip)[0]
    return first


def _middle(height: int, width: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    scale = min(1.0, (_PIXELS / (height * width)) ** 0.5)
    sides = ((side, max(1, int(side * scale))) for side in (height, width))
    rows, columns = (np.arange((side - part) // 2, (side - part) // 2 + part) for side, part in sides)
    return rows, columns
