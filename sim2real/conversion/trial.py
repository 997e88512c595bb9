"""Engines tried on a frame of the dataset: which is the fastest, and how long will it take?"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sim2real.engines.base import Engine, EngineSettings
from sim2real.errors import ImageError, SettingsError, Sim2RealError
from sim2real.imageio import read_rgb
from sim2real.networks.capabilities import capabilities
from sim2real.registry import registry

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

_AGREEMENT = 45.0  # dB that a picture must be near to torch's in fp32
_PATCH = 384  # side of what is tried in fp32, pixels
_AHEAD = 1.05  # times that another engine must be as fast as torch
_CALLS = 3  # of each stream


def make_engine(name: str, generator: "nn.Module", settings: EngineSettings) -> Engine:
    """The engine of a name.

    Raises:
        SettingsError: It cannot give the generator what that takes.
    """
    target = registry().load("engines", name)
    if capabilities(generator).stochastic and not getattr(target, "takes_seeds", False):
        raise SettingsError(
            f"--engine {name}: it takes no seeds, and this generator draws at random; leave out --engine"
        )
    engine: Engine = target(generator, settings)
    return engine


def extras(engine: object, seeds: "NDArray[np.uint64]") -> dict[str, Any]:
    """What an engine is called with besides the pictures, by keyword: what it takes of this."""
    return {"seeds": seeds} if getattr(engine, "takes_seeds", False) else {}


def _alone(engine: object) -> dict[str, Any]:
    """What it is called with for a frame that is tried."""
    return extras(engine, np.zeros(1, np.uint64))


def _try(engine: Callable[..., "NDArray[np.uint8]"], frame: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
    return engine(frame, **_alone(engine))


def fastest_engine(
    generator: "nn.Module", settings: EngineSettings, images: Sequence[Path], tell: Callable[[str], None]
) -> str:
    """The name of the fastest engine that is installed and makes the picture that torch makes.

    Args:
        generator: What it is to run.
        settings: How.
        images: The images that there are to translate.
        tell: Told which one was chosen and why others were not.
    """
    others = [entry.name for entry in registry().entries("engines") if entry.name != "torch"]
    frame = middle_frame(images) if others else None
    if frame is None:
        return "torch"
    torch = make_engine("torch", generator, settings)
    exact = _try(make_engine("torch", generator, replace(settings, precision="fp32", compile=())), frame)
    yardstick = frames_per_second(torch, frame, **_alone(torch))
    best, best_speed = "torch", yardstick * _AHEAD
    for name in others:
        try:
            if getattr(registry().load("engines", name), "by_name_only", False):
                continue
            engine = make_engine(name, generator, settings)
            agreement = psnr(_try(engine, frame), exact)
            speed = frames_per_second(engine, frame, **_alone(engine))
        except Sim2RealError as error:
            tell(f"engine {name} is not used: {error}")
            continue
        if agreement < _AGREEMENT:
            tell(f"engine {name} is not used: its picture is {agreement:.0f} dB from torch's, not {_AGREEMENT:.0f}")
        elif speed > best_speed:
            best, best_speed = name, speed
            tell(
                f"engine {name}: {speed / yardstick:.2f} times as fast as torch on a frame, {agreement:.0f} dB from it"
            )
    return best


def bearable_precision(
    generator: "nn.Module", device: str, precision: str, images: Sequence[Path], tell: Callable[[str], None]
) -> str:
    """A precision if its picture of a frame is near enough to that of fp32, else ``"fp32"``.

    Args:
        generator: What is to be run.
        device: Where.
        precision: With which numbers, if they will do.
        images: The images that there are to translate.
        tell: Told if they will not do.
    """
    frame = middle_frame(images) if precision != "fp32" else None
    if frame is None:
        return precision
    top, left = (max(0, (length - _PATCH) // 2) for length in frame.shape[1:3])
    patch = frame[:, top : top + _PATCH, left : left + _PATCH]
    reduced, exact = (
        _try(make_engine("torch", generator, EngineSettings(device=device, precision=numbers)), patch)
        for numbers in (precision, "fp32")
    )
    if (agreement := psnr(reduced, exact)) >= _AGREEMENT:
        return precision
    tell(f"{precision} is not used: its picture is {agreement:.0f} dB from that of fp32, not {_AGREEMENT:.0f}")
    return "fp32"


def middle_frame(images: Sequence[Path]) -> "NDArray[np.uint8] | None":
    """A frame from the middle of a dataset, (1, H, W, 3); None if those there cannot be read."""
    for image in images[len(images) // 2 :][:10]:
        try:
            return read_rgb(image)[None]
        except ImageError:
            continue
    return None


def frames_per_second(engine: Callable[..., object], frames: "NDArray[np.uint8]", **more: object) -> float:
    """How fast an engine translates, called from as many threads as it likes; the first calls do not count.

    Args:
        engine: Takes the frames, and what more there is.
        frames: A batch, RGB (N, H, W, 3).
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
