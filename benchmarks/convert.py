"""Measure ``sim2real convert`` end to end, compared with a plain loop, the engine alone and the codecs alone."""

import argparse
import math
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks import plain
from benchmarks.common import in_fresh_process, make_parser, peak_memory, print_table, print_verdict, processor
from sim2real import __version__
from sim2real.config import resolve
from sim2real.conversion import ConvertOptions, convert, survey
from sim2real.conversion.manifest import Record, record_path, write_record
from sim2real.conversion.resolved_settings import resolve_settings
from sim2real.conversion.trial import fastest_engine, frames_per_second, make_engine, middle_frame
from sim2real.engines.base import Engine, EngineSettings
from sim2real.imageio import encode_jpeg, encode_picture, encode_png, read_picture, read_rgb
from sim2real.model import GeneratorInfo, load_generator, save_generator
from sim2real.networks import initialise
from sim2real.training.setup import build_generator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LARGE = 20_000  # frames of the dataset that is simulated: about one camera of Virtual KITTI 2
PLAIN_SHARE = 4  # the plain loop gets one in this many frames
PLAIN, CONVERT, BARE, CODECS = "plain", "convert", "bare", "codecs"
RECIPE_WIDTHS = {"default": 16, "combined": 32, "cyclegan": 64}
AIMS = "aims: 3 times the plain loop on a CPU with native bf16, 10 times on a GPU; 90 % of the slower of both limits"


@dataclass(frozen=True)
class Case:
    """A conversion to measure.

    Attributes:
        recipe: ``"vkitti2kitti"`` or ``"cyclegan"``.
        width: Channels of the generator's first stage.
        source: Folder of images of equal size and one format.
        model: The generator file.
        record: The choices of the conversion.
        threads: Number of CPU threads.
    """

    recipe: str
    width: int
    source: Path
    model: Path
    record: Record
    threads: int

    @property
    def pictures(self) -> list[Path]:
        """The files to translate."""
        return sorted(self.source.iterdir())

    @property
    def settings(self) -> EngineSettings:
        """The settings of its engine."""
        return engine_settings(self.record)


@dataclass(frozen=True)
class Conversion:
    """Measurements of one conversion in a fresh process.

    Attributes:
        speed: Frames per second, from the moment when all is ready until the last frame is on the disk.
        others: Seconds before and after that.
        peak: Peak memory of the process in bytes, including the GPU.
        limit: The reported bottleneck.
    """

    speed: float
    others: float
    peak: int
    limit: str


def engine_settings(record: Record) -> EngineSettings:
    """Return the settings of an engine."""
    compiled = tuple((width, height) for width, height in record.compile)
    return EngineSettings(
        device=record.device, precision=record.precision, batch_size=record.batch_size, compile=compiled
    )


def write_pictures(folder: Path, size: tuple[int, int], number: int) -> Path:
    """Fill a folder with images in the format of its name."""
    encode: Callable[[NDArray[np.uint8]], bytes] = encode_png if folder.name == "png" else encode_jpeg
    folder.mkdir(parents=True)
    for seed in range(number):
        (folder / f"{seed:04d}.{folder.name}").write_bytes(encode(plain.make_picture(size, seed)))
    return folder


def write_model(path: Path, recipe: str, width: int | None) -> Path:
    """Write a recipe's untrained generator."""
    torch.manual_seed(0)
    config = resolve(recipe, sets=[f"generator.options.width={width}"] if width else [])
    network = build_generator(config)
    initialise(network, config.init)
    info = GeneratorInfo(
        name=config.generator.name,
        options=config.generator.options,
        value_range=getattr(network, "value_range", (-1.0, 1.0)),
        direction="sim2real",
        recipe=recipe,
        settings={},
        fingerprint="none",
        tool_version=__version__,
    )
    save_generator(path, network, info)
    return path


def chosen(source: Path, model: Path, options: argparse.Namespace) -> Record:
    """Return the choices of ``convert`` for ``LARGE`` frames of this kind."""
    requested = ConvertOptions(model=model, engine="torch" if options.engine == "auto" else options.engine)
    found = survey(source, source.with_name("nowhere"), requested)
    pictures = sorted(source.iterdir())
    times = -(-LARGE // len(pictures)) if options.compile == "auto" else 1
    plan = resolve_settings(replace(found, jobs=found.jobs * times), requested, None, print)
    record = replace(plan.record, compile=[] if options.compile == "off" else plan.record.compile)
    if options.engine == "auto":
        generator, _ = load_generator(model)
        frame = partial(middle_frame, found.can, pictures, found.read_inputs, record.transfer_size)
        engine = fastest_engine(generator, engine_settings(record), frame, print)
        record = replace(record, engine=engine, compile=record.compile if engine == "torch" else [])
    return record


def conversion(case: Case, out: Path) -> Conversion:
    """Convert a dataset with the choices of the case; called in a fresh process."""
    torch.set_num_threads(case.threads)
    record_path(out).parent.mkdir(parents=True)
    write_record(out, case.record)  # like a conversion that was killed at its start, whose choices are kept
    times = []

    def note(stage: str, _done: int, _total: int, _limit: str = "") -> None:
        if stage == "converting":
            times.append(time.monotonic())

    began = time.monotonic()
    summary = convert(case.source, out, ConvertOptions(model=case.model), note)
    seconds = times[-1] - times[0]
    others = time.monotonic() - began - seconds
    return Conversion(summary.converted / seconds, others, summary.peak_memory, summary.limit)


def plain_generator(recipe: str, width: int, model: Path) -> nn.Module:
    """Return the published network of a recipe, with the weights of a model."""
    generator = (plain.generator_a if recipe == "vkitti2kitti" else plain.generator_e)(width)
    weights = load_generator(model)[0].parameters()
    with torch.no_grad():
        for theirs, ours in zip(generator.parameters(), weights, strict=True):
            theirs.copy_(ours)
    return generator.eval()


def convert_plainly(recipe: str, generator: nn.Module, pictures: "Sequence[Path]", out: Path) -> None:
    """Run the plain loop over images, into a folder."""
    scale, multiple = (0.5, 16) if recipe == "vkitti2kitti" else (1.0, 4)
    plain.convert(generator, pictures, out, scale=scale, multiple=multiple)


def plain_speed(case: Case, generator: nn.Module, out: Path) -> float:
    """Return the frames per second of the plain loop."""
    pictures = case.pictures[::PLAIN_SHARE]
    out.mkdir()
    began = time.perf_counter()
    convert_plainly(case.recipe, generator, pictures, out)
    return len(pictures) / (time.perf_counter() - began)


def codec_speed(case: Case, translated: NDArray[np.uint8]) -> float:
    """Return the frames per second if all cores decode images and encode a translated one for each."""
    pictures = case.pictures
    with ThreadPoolExecutor(case.threads) as pool:
        began = time.perf_counter()
        list(pool.map(lambda picture: encode_picture(translated, read_picture(picture)), pictures))
        return len(pictures) / (time.perf_counter() - began)


def measure(case: Case, engine: Engine, *, repeats: int) -> list[str]:
    """Measure all contenders in turn, and return the cells of a row."""
    conversions: list[Conversion] = []
    generator = plain_generator(case.recipe, case.width, case.model).to(case.record.device)
    frames = np.stack([read_rgb(case.pictures[0])] * case.record.batch_size)
    translated = engine(frames)[0]

    def convert_into(out: Path) -> float:
        conversions.append(in_fresh_process(conversion, case, out, imports="benchmarks.convert"))
        return conversions[-1].speed

    contenders: Mapping[str, Callable[[Path], float]] = {
        PLAIN: partial(plain_speed, case, generator),
        CONVERT: convert_into,
        BARE: lambda _out: frames_per_second(engine, frames),
        CODECS: lambda _out: codec_speed(case, translated),
    }
    rounds = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(dir=case.source.parent) as place:
            rounds.append({name: speed(Path(place, name)) for name, speed in contenders.items()})
    median = {name: statistics.median(speeds[name] for speeds in rounds) for name in contenders}
    slowest, fastest = (extreme(conversion.speed for conversion in conversions) for extreme in (min, max))
    return [
        f"{median[PLAIN]:.2f}",
        f"{median[CONVERT]:.2f}",
        f"{slowest:.2f} to {fastest:.2f}",
        f"{median[CONVERT] / median[PLAIN]:.2f}",
        f"{median[BARE]:.2f}",
        f"{median[CODECS]:.1f}",
        f"{1 / (1 / median[BARE] + 1 / median[CODECS]):.2f}" if case.record.device == "cpu" else "-",
        f"{median[CONVERT] / min(median[BARE], median[CODECS]):.0%}",
        f"{statistics.median(conversion.others for conversion in conversions):.1f} s",
        f"{max(conversion.peak for conversion in conversions) / 1e6:.0f} MB",
    ]


@dataclass(frozen=True)
class Way:
    """A way to run a recipe's generator on frames of several sizes.

    Attributes:
        recipe: Name of the recipe.
        transfer: As in ``sim2real convert --transfer``; None: the plain loop with the same weights.
        seldom: Measured on one in this many frames.
        largest: Pixels of the largest frames to measure, because larger ones take minutes.
    """

    recipe: str
    transfer: Literal["direct", "guided"] | None
    seldom: int = 1
    largest: float = math.inf

    def __str__(self) -> str:
        return f"{self.recipe}, {self.transfer or PLAIN}"


WAYS = (
    Way("default", "direct"),
    Way("combined", "guided"),
    Way("cyclegan", "guided"),
    Way("cyclegan", "direct", seldom=12, largest=1920 * 1080),
    Way("cyclegan", None, seldom=12, largest=1920 * 1080),
)
SIZES = {(1242, 375): 24, (1920, 1080): 12, (3840, 2160): 8}
SIZE_AIMS = (
    "aims on two cores: default 5 at 1920x1080 and 1.2 at 3840x2160, in less than 1 GB above the imports; cyclegan "
    "guided 20 times its plain loop at 1920x1080"
)


def at_size(  # noqa: PLR0917  called in a fresh process
    way: Way, width: int, model: Path, source: Path, out: Path, threads: int
) -> tuple[float, float]:
    """Return frames per second from first to last, and MB above the imports; called in a fresh process."""
    torch.set_num_threads(threads)
    pictures = sorted(source.iterdir())[:: way.seldom]
    held = peak_memory()
    began = time.perf_counter()
    if way.transfer is None:
        out.mkdir()
        convert_plainly(way.recipe, plain_generator(way.recipe, width, model), pictures, out)
        return len(pictures) / (time.perf_counter() - began), peak_memory() - held
    times = []

    def note(stage: str, _done: int, _total: int, _limit: str = "") -> None:
        if stage == "converting":
            times.append(time.perf_counter())

    options = ConvertOptions(model=model, transfer=way.transfer, engine="torch", precision="fp32", limit=len(pictures))
    summary = convert(source, out, options, note)
    return summary.converted / (times[-1] - times[0]), peak_memory() - held


def by_size(folder: Path, options: argparse.Namespace) -> None:
    """Print the frames per second of each way at each size, measured in turn."""
    sizes = {(128, 64): 8, (96, 96): 8} if options.quick else SIZES
    rows: dict[str, list[str]] = {}
    widths = {name: width // (8 if options.quick else 1) for name, width in RECIPE_WIDTHS.items()}
    models = {name: write_model(folder / f"{name}.safetensors", name, width) for name, width in widths.items()}
    for size, count in sizes.items():
        source = write_pictures(folder / "x".join(map(str, size)) / "jpg", size, count)
        found: dict[Way, list[tuple[float, float]]] = {}
        for turn in range(options.repeats):
            for way in [way for way in WAYS if math.prod(size) <= way.largest]:
                out = folder / f"out {turn} {way} {size}"
                job = (way, widths[way.recipe], models[way.recipe], source, out, options.threads)
                found.setdefault(way, []).append(in_fresh_process(at_size, *job, imports="benchmarks.convert"))
        for way, results in found.items():
            speed, most = statistics.median(speed for speed, _ in results), max(memory for _, memory in results)
            rows.setdefault(str(way), []).append(f"{speed:.3g} ({most:.0f} MB)")
    print(SIZE_AIMS)
    columns = ["recipe and transfer", *(f"{width}x{height}" for width, height in sizes)]
    cells = [[name, *found, *["-"] * (len(sizes) - len(found))] for name, found in rows.items()]
    print_table("Frames a second, end to end, fp32", columns, cells)


def main() -> None:
    """Measure each recipe on each format, and print the table."""
    parser = make_parser(__doc__, repeats=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads (%(default)s)")
    parser.add_argument("--frames", type=int, default=40, help="frames of each conversion (%(default)s)")
    parser.add_argument("--engine", default="auto", help="as in sim2real convert (%(default)s)")
    parser.add_argument(
        "--compile", choices=("off", "auto"), default="auto", help=f"auto: as for {LARGE:,} frames (%(default)s)"
    )
    parser.add_argument("--sizes", action="store_true", help="only measure direct and guided transfer by frame size")
    options = parser.parse_args()
    if options.sizes:
        options.repeats = 1 if options.quick else options.repeats
        print(f"{processor()}, torch {torch.__version__}, {options.threads} threads")
        with tempfile.TemporaryDirectory(prefix="sim2real-convert-") as place:
            by_size(Path(place), options)
        return
    size, width, repeats = ((1242, 375), 64, options.repeats)
    if options.quick:
        size, width, repeats, options.frames, options.compile = (128, 64), 8, 1, 8, "off"
    torch.set_num_threads(options.threads)
    rows = []
    with tempfile.TemporaryDirectory(prefix="sim2real-convert-") as place:
        folder = Path(place)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "compiled")  # ignore the cache of earlier runs
        sources = [write_pictures(folder / form, size, options.frames) for form in ("jpg", "png")]
        print(f"{processor()}, torch {torch.__version__}, {options.threads} threads")
        for recipe in ("vkitti2kitti", "cyclegan"):
            model = write_model(folder / f"{recipe}.safetensors", recipe, width)
            cases = [
                Case(recipe, width, source, model, chosen(source, model, options), options.threads)
                for source in sources
            ]
            began = time.perf_counter()
            record = cases[0].record
            engine = make_engine(record.engine, load_generator(model)[0], cases[0].settings)
            how = f"{record.precision}{', compiled' if record.compile else ''}, {record.batch_size} at once"
            where = torch.cuda.get_device_name() if record.device == "cuda" else record.device
            print(f"{recipe}: {record.engine} on {where}, {how}, ready after {time.perf_counter() - began:.1f} s")
            for case in cases:
                cells = measure(case, engine, repeats=repeats)
                rows.append([f"{recipe}, {case.source.name.upper()}", *cells])
    print(AIMS)
    columns = [PLAIN, CONVERT, "range", "times", BARE, CODECS, "both", "share", "set-up", "memory"]
    print_table(f"Frames of {size[0]}x{size[1]} a second", ["recipe and format", *columns], rows)
    for name, *cells in rows:
        print_verdict(name, float(cells[columns.index("times")]))


if __name__ == "__main__":
    main()
