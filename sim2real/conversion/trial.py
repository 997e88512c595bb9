"""Engines tried on a frame of the dataset: which is the fastest, and how long will it take?"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sim2real.capabilities import PAST, Capabilities, capabilities
from sim2real.conversion.carry import SourceError
from sim2real.datasets.inputs import Inputs
from sim2real.engines.base import Engine, EngineSettings
from sim2real.engines.guided import shrunk, shrunk_inputs, shrunk_size
from sim2real.errors import DatasetError, ImageError, SettingsError, Sim2RealError
from sim2real.imageio import read_rgb
from sim2real.registry import registry

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

ReadInputs = Callable[[Path], Inputs]

_AGREEMENT = 45.0  # dB that a picture must be near to torch's in fp32
_PATCH = 384  # side of what is tried in fp32, pixels
_AHEAD = 1.05  # times that another engine must be as fast as torch
_CALLS = 3  # of each stream


def no_inputs(_image: Path) -> Inputs:
    """Of generators that see nothing but the image."""
    return {}


def make_engine(name: str, generator: "nn.Module", settings: EngineSettings) -> Engine:
    """The engine of a name.

    Raises:
        SettingsError: It cannot give the generator what that takes.
    """
    target = registry().load("engines", name)
    can = capabilities(generator)
    if can.stochastic and not getattr(target, "takes_seeds", False):
        raise SettingsError(
            f"--engine {name}: it takes no seeds, and this generator samples at random; leave out --engine"
        )
    if (can.takes_inputs or can.of_sequences) and not getattr(target, "takes_inputs", False):
        raise SettingsError(f"--engine {name}: it takes images alone, and this generator sees more; leave out --engine")
    engine: Engine = target(generator, settings)
    return engine


def extras(engine: object, inputs: Inputs, seeds: "NDArray[np.uint64]") -> dict[str, Any]:
    """What an engine is called with besides the pictures, by keyword: what it takes of this."""
    taken: dict[str, Any] = {"inputs": inputs} if getattr(engine, "takes_inputs", False) else {}
    return taken | ({"seeds": seeds} if getattr(engine, "takes_seeds", False) else {})


@dataclass(frozen=True)
class Sample:
    """A frame as an engine is called with it: a clip has it as each of its frames, and it is what was before, too.

    Attributes:
        images: RGB (1, H, W, 3), or (1, T, H, W, 3) of a clip.
        inputs: What the generator sees besides, (1, ...).
    """

    images: "NDArray[np.uint8]"
    inputs: Inputs

    @classmethod
    def of(cls, can: Capabilities, rgb: "NDArray[np.uint8]", inputs: Inputs) -> "Sample":
        """A frame (H, W, 3) with its labels as a generator takes it."""

        def clip(values: "NDArray[Any]") -> "NDArray[Any]":
            return np.repeat(values[None, None], can.clip_length, 1) if can.clip_length > 1 else values[None]

        found = {kind: clip(values) for kind, values in inputs.items()}
        if can.context:
            found |= dict.fromkeys(PAST, np.repeat(rgb[None, None], can.context, 1))
        return cls(clip(rgb), found)

    def patch(self, side: int) -> "Sample":
        """Its middle."""
        height, width = self.images.shape[-3:-1]
        top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
        rows, columns = slice(top, top + side), slice(left, left + side)
        return Sample(
            self.images[..., rows, columns, :],
            {
                kind: values[..., rows, columns, :] if kind in PAST else values[..., rows, columns]
                for kind, values in self.inputs.items()
            },
        )

    def extras(self, engine: object) -> dict[str, Any]:
        """What an engine is called with besides the images."""
        return extras(engine, self.inputs, np.zeros(1, np.uint64))

    def through(self, engine: Callable[..., "NDArray[np.uint8]"]) -> "NDArray[np.uint8]":
        """What an engine makes of it."""
        return engine(self.images, **self.extras(engine))


def fastest_engine(  # noqa: PLR0917  as below
    generator: "nn.Module",
    settings: EngineSettings,
    images: Sequence[Path],
    notify: Callable[[str], None],
    read: ReadInputs = no_inputs,
    guided_size: int = 0,
) -> str:
    """The name of the fastest engine that is installed and makes the picture that torch makes.

    Args:
        generator: What it is to run.
        settings: How.
        images: The images that there are to translate.
        notify: Called with a line on which one was chosen and why others were not.
        read: The labels of an image that the generator sees.
        guided_size: Pixels of the longer side of what it sees of a frame where the transfer is guided, else 0.
    """
    others = [entry.name for entry in registry().entries("engines") if entry.name != "torch"]
    frame = middle_frame(capabilities(generator), images, read, guided_size) if others else None
    if frame is None:
        return "torch"
    torch = make_engine("torch", generator, settings)
    exact = frame.through(make_engine("torch", generator, replace(settings, precision="fp32", compile=())))
    yardstick = frames_per_second(torch, frame.images, **frame.extras(torch))
    best, best_speed = "torch", yardstick * _AHEAD
    for name in others:
        try:
            if getattr(registry().load("engines", name), "by_name_only", False):
                continue
            engine = make_engine(name, generator, settings)
            agreement = psnr(frame.through(engine), exact)
            speed = frames_per_second(engine, frame.images, **frame.extras(engine))
        except Sim2RealError as error:
            notify(f"engine {name} is not used: {error}")
            continue
        if agreement < _AGREEMENT:
            notify(f"engine {name} is not used: its picture is {agreement:.0f} dB from torch's, not {_AGREEMENT:.0f}")
        elif speed > best_speed:
            best, best_speed = name, speed
            notify(
                f"engine {name}: {speed / yardstick:.2f} times as fast as torch on a frame, {agreement:.0f} dB from it"
            )
    return best


def safe_precision(  # noqa: PLR0917  what is to be run, and on what
    generator: "nn.Module",
    device: str,
    precision: str,
    images: Sequence[Path],
    notify: Callable[[str], None],
    read: ReadInputs = no_inputs,
    guided_size: int = 0,
) -> str:
    """A precision if its picture of a frame is near enough to that of fp32, else ``"fp32"``.

    Args:
        generator: What is to be run.
        device: Where.
        precision: With which numbers, if they will do.
        images: The images that there are to translate.
        notify: Called with a line if they will not do.
        read: The labels of an image that the generator sees.
        guided_size: As of :func:`fastest_engine`.
    """
    frame = middle_frame(capabilities(generator), images, read, guided_size) if precision != "fp32" else None
    if frame is None:
        return precision
    patch = frame.patch(_PATCH)
    reduced, exact = (
        patch.through(make_engine("torch", generator, EngineSettings(device=device, precision=numbers)))
        for numbers in (precision, "fp32")
    )
    if (agreement := psnr(reduced, exact)) >= _AGREEMENT:
        return precision
    notify(f"{precision} is not used: its picture is {agreement:.0f} dB from that of fp32, not {_AGREEMENT:.0f}")
    return "fp32"


def middle_frame(
    can: Capabilities, images: Sequence[Path], read: ReadInputs = no_inputs, guided_size: int = 0
) -> Sample | None:
    """A frame from the middle of a dataset as a generator sees it; None if those there cannot be read."""
    for image in images[len(images) // 2 :][:10]:
        try:
            rgb, labels = read_rgb(image), read(image)
            if guided_size:
                size = shrunk_size(rgb.shape[1::-1], guided_size)
                rgb, labels = shrunk(rgb, size), shrunk_inputs(labels, rgb.shape[1::-1], size)
            return Sample.of(can, rgb, labels)
        except (ImageError, DatasetError, SourceError):
            continue
    return None


def frames_per_second(engine: Callable[..., object], frames: "NDArray[np.uint8]", **more: object) -> float:
    """How fast an engine translates, called from as many threads as it likes; the first calls do not count.

    Args:
        engine: Takes the frames, and what more there is.
        frames: A batch, RGB (N, ..., H, W, 3).
        more: What else it is called with.
    """
    streams = getattr(engine, "streams", 1)

    def call(_: int) -> None:
        engine(frames, **more)

    with ThreadPoolExecutor(streams) as pool:
        list(pool.map(call, range(streams)))
        begin = time.perf_counter()
        list(pool.map(call, range(streams * _CALLS)))
        return len(frames) * streams * _CALLS / (time.perf_counter() - begin)


def psnr(picture: "NDArray[np.uint8]", other: "NDArray[np.uint8]") -> float:
    """Peak signal-to-noise ratio of two pictures in dB; equal ones are infinitely near."""
    error = np.mean((picture.astype(np.float64) - other) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")
