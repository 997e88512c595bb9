"""Trial of engines on a frame of the dataset, their speed and agreement with torch, and of JPEG codecs on some."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sim2real.capabilities import PAST, Capabilities, blank_inputs, capabilities
from sim2real.conversion.carry import SourceError
from sim2real.conversion.options import CodecsChoice
from sim2real.datasets.inputs import Inputs
from sim2real.engines.base import Engine, EngineSettings
from sim2real.engines.guided import seen_size, shrunk, shrunk_inputs
from sim2real.errors import (
    CannotCompileError,
    DatasetError,
    ImageError,
    OutOfMemoryError,
    SettingsError,
    Sim2RealError,
)
from sim2real.imageio import Encoding, decode_picture, encode_picture, read_header, read_rgb
from sim2real.registry import registry
from sim2real.timing import Choice, fastest

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from sim2real.imageio.nvjpeg import JpegCodecs

Fastest = Callable[[Mapping[str, Callable[[], object]]], Choice]

_AGREEMENT = 45.0  # dB, least PSNR to torch's picture in fp32
_PATCH = 256  # side in pixels of the patch that precisions are compared on
_SHORT = 10.0  # seconds of a whole conversion below which the most exact precision is taken
_AHEAD = 1.05  # least speed of another engine relative to torch
_CALLS = 3  # timed calls per stream
_CODED_AT_ONCE = 64_000_000  # pixels of the frames that codecs are compared on


def make_engine(name: str, generator: "nn.Module", settings: EngineSettings) -> Engine:
    """Create an engine by name.

    Raises:
        SettingsError: If the engine does not support what the generator needs.
    """
    target = registry().load("engines", name)
    can = capabilities(generator)
    if can.stochastic and not getattr(target, "takes_seeds", False):
        raise SettingsError(
            f"--engine {name}: it takes no seeds, and this generator samples at random; leave out --engine",
            topic="as-fast-as-the-machine",
        )
    if (can.takes_inputs or can.of_sequences) and not getattr(target, "takes_inputs", False):
        raise SettingsError(
            f"--engine {name}: it takes only images, and this generator needs more; leave out --engine",
            topic="as-fast-as-the-machine",
        )
    engine: Engine = target(generator, settings)
    return engine


def extras(engine: object, inputs: Inputs, seeds: "NDArray[np.uint64]") -> dict[str, Any]:
    """Return the keyword arguments that an engine accepts in addition to the pictures."""
    taken: dict[str, Any] = {"inputs": inputs} if getattr(engine, "takes_inputs", False) else {}
    return taken | ({"seeds": seeds} if getattr(engine, "takes_seeds", False) else {})


@dataclass(frozen=True)
class Sample:
    """A frame as input of an engine.

    A clip repeats the frame; earlier frames, if the generator sees any, are also the frame itself.

    Attributes:
        images: RGB (1, H, W, 3), or (1, T, H, W, 3) for a clip.
        inputs: Other inputs of the generator, (1, ...).
    """

    images: "NDArray[np.uint8]"
    inputs: Inputs

    @classmethod
    def of(cls, can: Capabilities, rgb: "NDArray[np.uint8]", inputs: Inputs) -> "Sample":
        """Return a frame (H, W, 3) and its labels as a generator takes them."""

        def clip(values: "NDArray[Any]") -> "NDArray[Any]":
            return np.repeat(values[None, None], can.clip_length, 1) if can.clip_length > 1 else values[None]

        found = {kind: clip(values) for kind, values in inputs.items()}
        if can.context:
            found |= dict.fromkeys(PAST, np.repeat(rgb[None, None], can.context, 1))
        return cls(clip(rgb), found)

    def patch(self, side: int) -> "Sample":
        """Return the centre of the sample, with at most ``side`` pixels per side."""
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
        """Return the arguments of an engine call other than the images."""
        return extras(engine, self.inputs, np.zeros(1, np.uint64))

    def through(self, engine: Callable[..., "NDArray[np.uint8]"]) -> "NDArray[np.uint8]":
        """Return the output of an engine for the sample."""
        return engine(self.images, **self.extras(engine))


def fastest_engine(
    generator: "nn.Module",
    settings: EngineSettings,
    sample: Callable[[], Sample | None],
    notify: Callable[[str], None],
) -> str:
    """Return the name of the fastest installed engine whose picture agrees with torch's.

    Args:
        generator: The generator to run.
        settings: Settings of the engine.
        sample: Returns the frame to compare them on; None if there is none.
        notify: Called with a line on the engine chosen and on why others were not.
    """
    others = [entry.name for entry in registry().entries("engines") if entry.name != "torch"]
    frame = sample() if others else None
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


def fastest_way(
    generator: "nn.Module",
    ways: Mapping[str, EngineSettings],
    sample: Callable[[], Sample | None],
    notify: Callable[[str], None],
    *,
    frames: int = 1,
    fastest: Fastest = fastest,
) -> EngineSettings:
    """Return the settings with which the engine torch is fastest and its picture of a frame agrees.

    Short conversions are computed in the first way.

    Args:
        generator: The generator to run.
        ways: Name -> settings, the most exact ones first; see :func:`sim2real.engines.base.ways_to_compute`.
        sample: Returns the frame; None if there is none.
        notify: Called with a line on the choice.
        frames: Number of frames to translate.
        fastest: Times the ways.
    """
    exact, *others = ways
    frame = sample() if others else None
    if frame is None:
        return ways[[*ways][-1]]
    patch = frame.patch(_PATCH)
    engines = {name: make_engine("torch", generator, settings) for name, settings in ways.items()}
    try:
        choice = fastest({name: partial(patch.through, engine) for name, engine in engines.items()})
    except OutOfMemoryError:
        return ways[[*ways][-1]]  # the smallest
    if choice.seconds[exact] * frames * frame.images.size / patch.images.size < _SHORT:
        return ways[exact]
    if choice.name != exact and not capabilities(generator).any_precision:
        agreement = psnr(patch.through(engines[exact]), patch.through(engines[choice.name]))
        if agreement < _AGREEMENT:
            notify(
                f"{choice.name} is not used: its picture is {agreement:.0f} dB from that of {exact}, "
                f"not {_AGREEMENT:.0f}"
            )
            rest = {name: settings for name, settings in ways.items() if name != choice.name}
            return fastest_way(generator, rest, sample, notify, frames=frames, fastest=fastest)
    notify(f"precision {choice.told}")
    return ways[choice.name]


def repays_compiling(
    generator: "nn.Module",
    settings: EngineSettings,
    sample: Callable[[], Sample | None],
    notify: Callable[[str], None],
    fastest: Fastest = fastest,
) -> bool:
    """Return whether the engine torch is faster on a frame if it is compiled as the settings say; this takes a minute.

    Args:
        generator: The generator to run.
        settings: Settings of the engine, with the sizes to compile for.
        sample: Returns the frame; None if there is none.
        notify: Called with a line on the choice.
        fastest: Times the two engines.
    """
    frame = sample()
    if frame is None:
        return False
    height, width = frame.images.shape[-3:-1]
    sizes = ((width, height),) if (width, height) in settings.compile else settings.compile[:1]
    (width, height), can = sizes[0], capabilities(generator)
    images = np.resize(frame.images, (settings.batch_size, height, width, 3))
    inputs = blank_inputs(can, height, width, settings.batch_size)
    seeds = np.zeros(settings.batch_size, np.uint64)
    try:
        engines = {
            name: make_engine("torch", generator, replace(settings, compile=compiled))
            for name, compiled in (("uncompiled", ()), ("compiled", sizes))
        }
        calls = {name: partial(engine, images, **extras(engine, inputs, seeds)) for name, engine in engines.items()}
        choice = fastest(calls)
    except CannotCompileError as error:
        notify(f"continuing without compilation: {error}")
        return False
    except OutOfMemoryError:
        return False
    notify(choice.told)
    return choice.name == "compiled"


def fastest_codecs(
    codecs: "JpegCodecs",
    images: Sequence[Path],
    encoding: Encoding,
    *,
    threads: int,
    notify: Callable[[str], None],
    fastest: Fastest = fastest,
) -> tuple[CodecsChoice, dict[str, float]]:
    """Return whether the CPU or a GPU is faster to decode and encode some frames, and the frames per second of both.

    Args:
        codecs: The codecs of the GPU.
        images: The images to translate.
        encoding: How files are written.
        threads: Number of threads that decode and encode.
        notify: Called with a line on the choice.
        fastest: Times the two ways.
    """
    files = _some_jpegs(images, 2 * threads)
    if not files:
        notify("codecs cpu: none of the frames that were tried is a JPEG")
        return "cpu", {}

    def on_cpu(path: Path) -> None:
        with suppress(ImageError):
            picture = decode_picture(files[path], path)
            encode_picture(picture.rgb, picture, encoding)

    def on_gpu(path: Path) -> None:
        with suppress(ImageError):
            picture, _ = codecs.decode_picture(files[path], path)
            codecs.encode_picture(picture.rgb, picture, encoding)

    paths = [*files] * -(-2 * threads // len(files))
    with ThreadPoolExecutor(threads) as pool:
        ways = {"cpu": lambda: list(pool.map(on_cpu, paths)), "gpu": lambda: list(pool.map(on_gpu, paths))}
        choice = fastest(ways)
    speeds = {name: float(f"{len(paths) / seconds:.3g}") for name, seconds in choice.seconds.items()}
    notify(f"codecs {choice.told} ({', '.join(f'{name} {speed:g} frames/s' for name, speed in speeds.items())})")
    return ("gpu" if choice.name == "gpu" else "cpu"), speeds


def _some_jpegs(images: Sequence[Path], count: int) -> dict[Path, bytes]:
    """Return the bytes of some of the images that are JPEG files, spread evenly."""
    files: dict[Path, bytes] = {}
    pixels = 0
    for path in images[:: -(-len(images) // count)]:
        with suppress(ImageError, OSError):
            header = read_header(path)
            pixels += header.width * header.height
            if files and pixels > _CODED_AT_ONCE:
                break
            if header.format == "JPEG":
                files[path] = path.read_bytes()
    return files


def middle_frame(
    can: Capabilities, images: Sequence[Path], read_inputs: Callable[[Path], Inputs], guided_size: int
) -> Sample | None:
    """Return a frame from the middle of a dataset as a generator sees it; None if no frame there can be read.

    Args:
        can: The capabilities of the generator.
        images: The images to translate.
        read_inputs: Reads the labels of an image that the generator sees.
        guided_size: Longer side, in pixels, of the shrunk frame that the generator sees if the transfer is guided; else
            0.
    """
    for image in images[len(images) // 2 :][:10]:
        try:
            rgb, labels = read_rgb(image), read_inputs(image)
            if guided_size:
                size = seen_size(rgb.shape[1::-1], guided_size, can.fixed_size)
                rgb, labels = shrunk(rgb, size), shrunk_inputs(labels, rgb.shape[1::-1], size)
            return Sample.of(can, rgb, labels)
        except (ImageError, DatasetError, SourceError):
            continue
    return None


def frames_per_second(engine: Callable[..., object], frames: "NDArray[np.uint8]", **more: object) -> float:
    """Return the speed of an engine, called from as many threads as it supports; the first calls are not timed.

    Args:
        engine: Called with the frames and ``more``.
        frames: A batch, RGB (N, ..., H, W, 3).
        more: Further keyword arguments.
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
    """Return the peak signal-to-noise ratio of two pictures in dB; infinity for equal pictures."""
    error = np.mean((picture.astype(np.float64) - other) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")
