"""Measure how many images per second reach a training: PNG and JPEG, small and large, with workers, with a cache.

Each row is compared with a plain dataset that has the same number of workers.
"""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from benchmarks.common import in_turns, make_parser, print_table, processor
from benchmarks.plain import make_picture
from sim2real.augment import Augment
from sim2real.imageio import encode_jpeg, encode_png
from sim2real.training.data import UnpairedImages, build_loader

_WINDOW = (256, 256)
_SCALES: dict[str, tuple[int, int] | None] = {"a window": None, "scaled to 286, a window": (286, 286)}
_FRAMES = {(1242, 375): 300, (3840, 2160): 32}  # images per measurement, with newly started workers
_QUICK_FRAMES = {(320, 280): 4}
_DIFFERENT = 8  # files of each kind
_WORKERS = (0, 1, 2)
_PLAIN = "Pillow and torchvision"
_KEPT = 10  # a cache is fast: load this many times as many images


def write_frames(folder: Path, size: tuple[int, int], suffix: str, count: int) -> list[Path]:
    """Write images as ``.png`` or ``.jpg`` of quality 90, and return their paths."""
    folder.mkdir(parents=True)
    paths = [folder / f"{number:03d}{suffix}" for number in range(count)]
    for number, path in enumerate(paths):
        picture = make_picture(size, number)
        path.write_bytes(encode_png(picture) if suffix == ".png" else encode_jpeg(picture, quality=90))
    return paths


class PlainImages(Dataset[Tensor]):
    """A dataset as in most training scripts: Pillow decodes, torchvision scales, crops and flips."""

    def __init__(self, paths: Sequence[Path], load_size: tuple[int, int] | None) -> None:
        self.paths = paths
        steps = [v2.Resize(min(load_size))] if load_size else []
        self.transform = v2.Compose([*steps, v2.RandomCrop(_WINDOW), v2.RandomHorizontalFlip(), v2.ToImage()])

    def __getitem__(self, number: int) -> Tensor:
        with Image.open(self.paths[number % len(self.paths)]) as image:
            tensor: Tensor = self.transform(image.convert("RGB"))
        return tensor


def load_plainly(images: PlainImages, count: int, workers: int) -> None:
    """Load a number of images as PyTorch's loader does by default."""
    for _ in DataLoader(images, batch_size=None, sampler=range(count), num_workers=workers):
        pass


def load(images: UnpairedImages, count: int, workers: int) -> None:
    """Load a number of images, half of them from each side."""
    for raw in build_loader(images, range(count // 2), workers, "cpu", 0):
        if isinstance(raw, Exception):
            raise raw


def measure(paths: list[Path], scale: str, count: int, cache: Path, repeats: int) -> list[list[str]]:
    """Return the rows of the table: every way to load the images of these files."""
    load_size = _SCALES[scale]
    unpaired: Any = partial(UnpairedImages, paths, paths, Augment(_WINDOW, load_size=load_size, names=["hflip"]))
    decoding, cached = (unpaired(batch_size=1, seed=0, cache=folder) for folder in (None, cache))
    plain = PlainImages(paths, load_size)
    ways: dict[str, tuple[int, Callable[[], object]]] = {}
    for workers in _WORKERS:
        by = f"{workers} worker{'' if workers == 1 else 's'}"
        ways[f"{_PLAIN}, {by}"] = count, partial(load_plainly, plain, count, workers)
        for name, images, times in (("sim2real", decoding, 1), ("sim2real, cache", cached, _KEPT)):
            ways[f"{name}, {by}"] = times * count, partial(load, images, times * count, workers)
    seconds = in_turns({name: work for name, (_, work) in ways.items()}, repeats=repeats)
    rates = {name: [total / time for time in seconds[name]] for name, (total, _) in ways.items()}
    rows = []
    for name, rate in rates.items():
        yardstick = statistics.median(rates[f"{_PLAIN}, {name.rpartition(', ')[2]}"])
        median = statistics.median(rate)
        rows.append([name, f"{median:.1f}", f"{min(rate):.1f} to {max(rate):.1f}", f"{median / yardstick:.2f}"])
    return rows


def main() -> None:
    """Write the frames, load them in turn, and print a table for each kind."""
    options = make_parser(__doc__, repeats=3).parse_args()
    torch.set_num_threads(1)
    print(processor())
    repeats = 1 if options.quick else options.repeats
    with tempfile.TemporaryDirectory(prefix="sim2real-loading-") as folder:
        for size, count in (_QUICK_FRAMES if options.quick else _FRAMES).items():
            for suffix in (".png", ".jpg"):
                name = f"{size[0]}x{size[1]} {suffix[1:].upper()}"
                paths = write_frames(Path(folder, name), size, suffix, min(count, _DIFFERENT))
                for scale in _SCALES:
                    rows = measure(paths, scale, count, Path(folder, "cache"), repeats)
                    title = f"{name}, {scale} of {_WINDOW[0]}x{_WINDOW[1]}"
                    print_table(title, ["by", "images/s", "range", "times plain"], rows)


if __name__ == "__main__":
    main()
