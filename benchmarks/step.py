"""One training step and one converted frame of the recipes vkitti2kitti and cyclegan, beside a plain eager loop."""

import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.common import (
    in_fresh_process,
    in_turns,
    make_parser,
    peak_memory,
    print_table,
    processor,
    timing_cells,
)
from benchmarks.plain import ReferenceCycleGAN, Vkitti2Kitti, generator_a, generator_e
from sim2real.config import Config, resolve
from sim2real.devices import resolve_device, resolve_precision
from sim2real.engines.base import EngineSettings
from sim2real.engines.torch import TorchEngine
from sim2real.imageio import encode_picture, encode_png, read_picture
from sim2real.methods.base import Batch
from sim2real.networks import Ranged
from sim2real.training.data import as_floats, channels_first
from sim2real.training.setup import build_generator, build_method

torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # imports the rest of torch, so that no measurement does
PLAIN, LEAN = "plain loop", "plain loop, lean"


@dataclass(frozen=True)
class Setting:
    """What is measured, and where.

    Attributes:
        recipe: ``"vkitti2kitti"`` or ``"cyclegan"``.
        size: (W, H) of the images.
        width: Channels of the networks' first stages.
        device: Where the networks are.
        threads: Of the processor.
        picture: A PNG of that size, to convert.
    """

    recipe: str
    size: tuple[int, int]
    width: int
    device: str
    threads: int
    picture: Path

    @property
    def config(self) -> Config:
        """The recipe's settings, at this scale."""
        widths = [f"{network}.options.width={self.width}" for network in ("generator", "discriminator")]
        return resolve(self.recipe, sets=[f"data.size={list(self.size)}", *widths])

    def prepare(self) -> None:
        """Set what is set for a whole process."""
        torch.set_num_threads(self.threads)
        torch.manual_seed(0)

    def plain(self) -> Vkitti2Kitti | ReferenceCycleGAN:
        """The yardstick."""
        if self.recipe == "vkitti2kitti":
            return Vkitti2Kitti(self.size, self.width, self.device)
        return ReferenceCycleGAN(self.width, self.device)

    @property
    def plain_scale(self) -> float:
        """Half the range of the images that the yardstick takes."""
        return 0.5 if self.recipe == "vkitti2kitti" else 1.0


def make_picture(size: tuple[int, int], seed: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """A picture (H, W, 3) of soft shapes with a little noise, which a PNG compresses about as well as a photo."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (max(2, size[1] // 16), max(2, size[0] // 16), 3), np.uint8)
    soft = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), np.int16)
    return (soft + random.integers(-3, 4, soft.shape)).clip(0, 255).astype(np.uint8)


def make_batch(setting: Setting) -> tuple[Tensor, Tensor]:
    """Images of both domains in [-1, 1] as training gets them: channels last in memory."""
    count = setting.config.data.batch_size
    sides = [[make_picture(setting.size, side * count + place) for place in range(count)] for side in range(2)]
    sim, real = (as_floats(channels_first(np.stack(images)), setting.device) for images in sides)
    return sim, real


def training_step(setting: Setting, contender: str) -> Callable[[], object]:
    """One step of a contender: ``PLAIN``, ``LEAN`` or the precision of sim2real."""
    setting.prepare()
    sim, real = make_batch(setting)
    if contender in {PLAIN, LEAN}:
        sim, real = ((setting.plain_scale * images).contiguous() for images in (sim, real))
        plain = setting.plain()
        if contender == LEAN and isinstance(plain, Vkitti2Kitti):
            return partial(plain.lean_step, sim, real)
        return partial(plain.step, sim, real)
    return partial(build_method(setting.config, setting.device, contender).step, Batch(sim, real))


def converted_frame(setting: Setting, contender: str) -> Callable[[], object]:
    """Decode, translate and encode one PNG: the bytes of another one."""
    setting.prepare()
    if contender == PLAIN:
        make = generator_a if setting.recipe == "vkitti2kitti" else generator_e
        generator = make(setting.width).to(setting.device).eval()
        return partial(plain_frame, generator, setting)
    network = Ranged(build_generator(setting.config), returns_images=True)
    engine = TorchEngine(network, EngineSettings(device=setting.device, precision=contender))
    return partial(our_frame, engine, setting.picture)


@torch.no_grad()
def plain_frame(generator: torch.nn.Module, setting: Setting) -> bytes:
    """As a test script does it: Pillow, a tensor, the network, Pillow."""
    pixels = np.array(Image.open(setting.picture).convert("RGB"))
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(setting.device).float().div(127.5).sub(1)
    made = generator(images * setting.plain_scale)[0] / setting.plain_scale
    result = made.add(1).mul(127.5).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
    encoded = io.BytesIO()
    Image.fromarray(result).save(encoded, "PNG")
    return encoded.getvalue()


def our_frame(engine: TorchEngine, file: Path) -> bytes:
    """As a conversion does it."""
    picture = read_picture(file)
    return encode_picture(engine(picture.rgb[None])[0], picture)


Build = Callable[[Setting, str], Callable[[], object]]


def peak_of(build: Build, setting: Setting, contender: str) -> float:
    """Build something and run it once: the memory that it takes, in MB, on the GPU if it runs there.

    On the processor what the imports take is not counted; the process must be fresh.
    """
    imports = peak_memory()
    build(setting, contender)()
    return torch.cuda.max_memory_allocated() / 1e6 if setting.device != "cpu" else peak_memory() - imports


def contenders(build: Build, setting: Setting) -> list[str]:
    """What is compared: the plain loops, then sim2real in float32 and in what ``auto`` stands for."""
    plain = [PLAIN, LEAN] if build is training_step and setting.recipe == "vkitti2kitti" else [PLAIN]
    return [*plain, *dict.fromkeys(("fp32", resolve_precision("auto", setting.device)))]


def label(setting: Setting, contender: str) -> str:
    """How a contender is called in the table."""
    auto = " (auto)" if contender == resolve_precision("auto", setting.device) else ""
    return contender if contender in {PLAIN, LEAN} else f"sim2real {contender}{auto}"


def main() -> None:
    """Measure memory in fresh processes, then time the contenders in turns in this one, and print the tables."""
    parser = make_parser(__doc__, repeats=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the processor (%(default)s)")
    options = parser.parse_args()
    device = resolve_device("auto")
    wide, square, width = ((256, 64), (64, 64), 8) if options.quick else ((1024, 256), (256, 256), 64)
    titles: dict[Build, str] = {
        training_step: "One training step",
        converted_frame: "One converted frame: decode, translate, encode a PNG",
    }
    with tempfile.TemporaryDirectory(prefix="sim2real-step-") as folder:
        settings = [
            Setting(recipe, size, width, device, options.threads, Path(folder, f"{recipe}.png"))
            for recipe, size in (("vkitti2kitti", wide), ("cyclegan", square))
        ]
        for setting in settings:
            setting.picture.write_bytes(encode_png(make_picture(setting.size, seed=9)))
        cases = [(build, setting, contenders(build, setting)) for build in titles for setting in settings]
        peaks = [
            [in_fresh_process(peak_of, build, setting, name, imports="benchmarks.step") for name in names]
            for build, setting, names in cases
        ]
        rows: dict[Build, list[list[str]]] = {build: [] for build in titles}
        for (build, setting, names), memory in zip(cases, peaks, strict=True):
            seconds = in_turns(
                {name: build(setting, name) for name in names},
                repeats=1 if options.quick else options.repeats,
                warm_up=build is converted_frame or device != "cpu",  # seconds of work on a processor need none
                wait=torch.cuda.synchronize if device != "cpu" else None,
            )
            what = f"{setting.recipe} {setting.size[0]}x{setting.size[1]}"
            for name, peak in zip(names, memory, strict=True):
                cells = timing_cells(seconds[name], seconds[PLAIN])
                rows[build].append([what, label(setting, name), *cells, f"{peak:.0f} MB"])
    machine = f"{processor()}, torch {torch.__version__}, {options.threads} threads"
    print(machine if device == "cpu" else f"{machine}, {torch.cuda.get_device_name()}")
    for build, title in titles.items():
        print_table(title, ["recipe", "by", "median", "range", "times plain", "peak memory"], rows[build])


if __name__ == "__main__":
    main()
