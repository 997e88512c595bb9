"""Measure training steps of vkitti2kitti and cyclegan, compared with plain eager loops in float32, and their losses.

cut and fastcut, which have no plain loop of their own, are compared with cyclegan at its size, width and batch.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import (
    in_fresh_process,
    in_turns,
    make_parser,
    peak_memory,
    print_table,
    print_verdict,
    processor,
    timing_cells,
)
from benchmarks.plain import ReferenceCycleGAN, Vkitti2Kitti, make_picture
from sim2real.config import Config, resolve
from sim2real.devices import resolve_device, resolve_precision
from sim2real.methods.base import Batch, Method
from sim2real.training.data import as_floats, channels_first
from sim2real.training.precision import choose_compilation, choose_precision
from sim2real.training.setup import build_method

torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # imports the rest of torch before the measurements
PLAIN, LEAN, COMPILED = "plain loop", "plain loop, lean", "compiled"
LONG = 100_000  # steps
ONE_WAY = ("cut", "fastcut")


@dataclass(frozen=True)
class Setting:
    """The setting of a measurement.

    Attributes:
        recipe: ``"vkitti2kitti"`` or ``"cyclegan"``.
        size: (W, H) of the images.
        width: Channels of the networks' first stages.
        batch_size: Images of each domain in a step.
        device: Device of the networks.
        threads: Number of CPU threads.
    """

    recipe: str
    size: tuple[int, int]
    width: int
    batch_size: int
    device: str
    threads: int

    def config(self, *, compiled: bool) -> Config:
        """The recipe's settings, at this scale."""
        widths = [f"{network}.options.width={self.width}" for network in ("generator", "discriminator")]
        scale = [f"data.size={list(self.size)}", f"data.batch_size={self.batch_size}"]
        return resolve(self.recipe, sets=[*scale, *widths, f"compile={str(compiled).lower()}"])

    def prepare(self) -> None:
        """Apply the settings of the process."""
        torch.set_num_threads(self.threads)
        torch.manual_seed(0)

    def plain(self) -> Vkitti2Kitti | ReferenceCycleGAN:
        """Return the plain baseline."""
        if self.recipe == "vkitti2kitti":
            return Vkitti2Kitti(self.size, self.width, self.device)
        return ReferenceCycleGAN(self.width, self.device)

    @property
    def plain_scale(self) -> float:
        """Half the value range of the baseline's images."""
        return 0.5 if self.recipe == "vkitti2kitti" else 1.0

    def ours(self, contender: str) -> Method:
        """Return sim2real's method for ``"bf16"``, ``"bf16, compiled"`` or ``"bf16, cut"``, in any precision."""
        precision, _, how = contender.partition(", ")
        setting = replace(self, recipe=how) if how in ONE_WAY else self
        return build_method(setting.config(compiled=how == COMPILED), self.device, precision)

    def batches(self, count: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Return images of both domains in [-1, 1], as a training gets them."""
        for step in range(count):
            seeds = [2 * (step * self.batch_size + place) for place in range(self.batch_size)]
            sim = np.stack([make_picture(self.size, seed) for seed in seeds])
            real = np.stack([255 - make_picture(self.size, seed + 1) // 2 for seed in seeds])
            yield as_floats(channels_first(sim), self.device), as_floats(channels_first(real), self.device)


def training_step(setting: Setting, contender: str) -> Callable[[], object]:
    """Return the step of a contender: ``PLAIN``, ``LEAN`` or a precision of sim2real, compiled or not."""
    setting.prepare()
    sim, real = next(setting.batches(1))
    if contender in {PLAIN, LEAN}:
        sim, real = setting.plain_scale * sim, setting.plain_scale * real
        plain = setting.plain()
        if contender == LEAN and isinstance(plain, Vkitti2Kitti):
            return partial(plain.lean_step, sim, real)
        return partial(plain.step, sim, real)
    return partial(setting.ours(contender).step, Batch(sim, real))


def peak_of(setting: Setting, contender: str) -> float:
    """Return the memory of two steps in MB, on the GPU if they run there.

    On a CPU the memory of the imports is not counted; the process must be fresh.
    """
    imports = peak_memory()
    step = training_step(setting, contender)
    step()
    step()
    return torch.cuda.max_memory_allocated() / 1e6 if setting.device != "cpu" else peak_memory() - imports


def contenders(setting: Setting) -> list[str]:
    """Return the contenders: plain loops, sim2real in float32 and in the ``auto`` precision, and one-way methods."""
    plain = [PLAIN, LEAN] if setting.recipe == "vkitti2kitti" else [PLAIN]
    auto = resolve_precision("auto", setting.device)
    one_way = [f"{auto}, {recipe}" for recipe in ONE_WAY] if setting.recipe == "cyclegan" else []
    return [*plain, *dict.fromkeys(("fp32", auto)), f"{auto}, {COMPILED}", *one_way]


def chosen(setting: Setting) -> str:
    """Return the contender that a long training of this setting would choose."""
    setting.prepare()
    config = setting.config(compiled=False).model_copy(update={"precision": "auto", "compile": "auto"})
    precision, why = choose_precision(config, setting.device, LONG)
    config = config.model_copy(update={"precision": precision})
    compiled, why_compiled = choose_compilation(config, setting.device, precision, LONG)
    print(f"{setting.recipe}: {why or precision}; {why_compiled or 'not compiled'}")
    return f"{precision}, {COMPILED}" if compiled else precision


def losses(setting: Setting, contender: str, steps: int) -> dict[str, list[float]]:
    """Return the losses of every step, by name; all contenders start with the same weights and see the same images."""
    setting.prepare()
    ours = setting.ours("fp32" if contender == PLAIN else contender)
    plain = setting.plain()
    for name, network in ours.networks.items():
        for theirs, own in zip(getattr(plain, name).parameters(), network.parameters(), strict=True):
            theirs.data.copy_(own.data)
    curves: dict[str, list[float]] = {}
    for sim, real in setting.batches(steps):
        if contender == PLAIN:
            logged = plain.step(setting.plain_scale * sim, setting.plain_scale * real)
        else:
            logged = dict(ours.step(Batch(sim, real)).losses)
        for name, loss in logged.items():
            curves.setdefault(name, []).append(float(loss))
    return curves


def draw(curves: dict[str, dict[str, list[float]]], title: str, path: Path) -> None:
    """Return a plot of the losses of several contenders, with one panel per loss."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names = list(curves[PLAIN])
    figure, fields = plt.subplots(1, len(names), figsize=(3.2 * len(names), 2.8), layout="constrained")
    for field, name in zip(fields, names, strict=True):
        for contender, style in zip(curves, ("-", "--", ":"), strict=False):
            field.plot(smooth(curves[contender][name]), style, label=contender, linewidth=1.5)
        field.set_title(name, fontsize=10)
        field.set_xlabel("step")
        field.set_ylim(bottom=0)
    fields[0].legend(fontsize=8)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=110)


def smooth(values: list[float], width: int = 9) -> list[float]:
    """Return the moving average, over a shorter window at the ends."""
    half = width // 2
    return [float(np.mean(values[max(0, at - half) : at + half + 1])) for at in range(len(values))]


def main() -> None:
    """Measure memory in fresh processes, time the contenders in turn in this one, and print the table."""
    parser = make_parser(__doc__, repeats=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=1, help="images of each domain in a step (%(default)s)")
    parser.add_argument("--recipe", choices=("vkitti2kitti", "cyclegan"), help="only this recipe instead of both")
    parser.add_argument("--curves", type=Path, help="draw the losses of the plain and the fastest loop to this PNG")
    parser.add_argument("--steps", type=int, default=200, help="steps of the curves (%(default)s)")
    options = parser.parse_args()
    device = resolve_device("auto")
    wide, square, width = ((256, 64), (64, 64), 8) if options.quick else ((1024, 256), (256, 256), 64)
    settings = [
        Setting(recipe, size, width, options.batch_size, device, options.threads)
        for recipe, size in (("vkitti2kitti", wide), ("cyclegan", square))
        if options.recipe in {None, recipe}
    ]
    machine = f"{processor()}, torch {torch.__version__}, {options.threads} threads"
    print(machine if device == "cpu" else f"{machine}, {torch.cuda.get_device_name()}")
    if options.curves:
        setting = Setting("vkitti2kitti", (256, 64), 16, 2, device, options.threads)
        fast = f"{resolve_precision('auto', device)}, {COMPILED}"
        curves = {name: losses(setting, name, options.steps) for name in (PLAIN, fast)}
        draw(curves, "vkitti2kitti at 256x64, width 16, batches of 2, from equal weights", options.curves)
        print(options.curves)
        return
    rows, verdicts = [], []
    for setting in settings:
        names = contenders(setting)
        taken = chosen(setting)
        peaks = [in_fresh_process(peak_of, setting, name, imports="benchmarks.train") for name in names]
        seconds = in_turns(
            {name: training_step(setting, name) for name in names},
            repeats=1 if options.quick else options.repeats,
            wait=torch.cuda.synchronize if device != "cpu" else None,
        )
        what = f"{setting.recipe} {setting.size[0]}x{setting.size[1]}"
        for name, peak in zip(names, peaks, strict=True):
            median, spread, ratio = timing_cells(seconds[name], seconds[PLAIN])
            images = 2 * setting.batch_size / float(median.split()[0])
            by = name if name in {PLAIN, LEAN} else f"sim2real {name}"
            if name == taken:
                verdicts.append((f"{what}, {name} by measurement", 1 / float(ratio)))
            rows.append([what, by, median, spread, f"{images:.2f}", f"{1 / float(ratio):.2f}", f"{peak:.0f} MB"])
    columns = ["recipe", "by", "median", "range", "images/s", "times plain", "peak memory"]
    print_table("One training step", columns, rows)
    for what, times in verdicts:
        print_verdict(what, times)


if __name__ == "__main__":
    main()
