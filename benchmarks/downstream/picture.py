"""Draw the translations of the same simulated images by several rows, and the scores of their task networks.

python benchmarks/downstream/picture.py --task signs --rows patch-alone,global-alone,combined-tanh-last

The translations are those in the --work folder of run.py.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.downstream.rows import AUGMENTED, BUDGETS, COMBINED
from benchmarks.downstream.run import RESULTS, read_results
from benchmarks.downstream.tables import Result, by_row
from benchmarks.downstream.tasks import TASKS, Image

_NAMES = {"patch-alone": "patch", "global-alone": "global", COMBINED: "combined"}
_PLAIN, _AUGMENTED, _INK = "#4878a8", "#e07b39", "#222222"
_GAP = 2  # pixels between images


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--rows", default="patch-alone,global-alone,combined-tanh-last", help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed whose images are shown (%(default)s)")
    parser.add_argument("--count", type=int, default=10, help="number of images (%(default)s)")
    parser.add_argument("--budget", choices=BUDGETS, default="cpu", help="(%(default)s)")
    parser.add_argument("--work", type=Path, default=Path("runs/downstream"), help="(%(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="(%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("media/downstream.png"), help="(%(default)s)")
    options = parser.parse_args(arguments)
    names = options.rows.split(",")
    folder = options.work / options.budget / options.task / f"seed{options.seed}"
    strips = read_strips(folder, names, options.count)
    results = [line for line in read_results(options.results) if line["budget"] == options.budget]
    rows = by_row([line for line in results if line["task"] == options.task])
    draw(strips, rows, names, TASKS[options.task].metric, options.out)


def read_strips(folder: Path, names: Sequence[str], count: int) -> dict[str, Image]:
    """Return a strip of images for the simulation, each row and the real side."""
    with np.load(folder / "data.npz") as arrays:
        sim, real = arrays["arr_0"], arrays["arr_2"]
    chosen = np.random.default_rng(0).permutation(len(sim))[:count]
    others = np.random.default_rng(1).permutation(len(real))[:count]
    translated = {_NAMES.get(name, name): np.load(folder / name / "images1.npy")[chosen] for name in names}
    return {name: _strip(images) for name, images in {"sim": sim[chosen], **translated, "real": real[others]}.items()}


def _strip(images: Image) -> Image:
    edges = ((0, 0), (0, 0), (0, _GAP), (0, 0))
    return np.concatenate(np.pad(images, edges, constant_values=255), axis=1)[:, :-_GAP]


def draw(
    strips: Mapping[str, Image],
    rows: Mapping[str, Mapping[int, Result]],
    names: Sequence[str],
    metric: str,
    path: Path,
) -> None:
    """Draw the strips on the left and the scores of the rows on the right."""
    mpl.rcParams.update({"font.size": 11, "axes.edgecolor": _INK, "text.color": _INK})
    height, width = next(iter(strips.values())).shape[:2]
    figure, (left, right) = plt.subplots(
        1,
        2,
        figsize=(12, 0.6 + 6.6 * len(strips) * (height + _GAP) / width),
        width_ratios=(1.75, 1),
        layout="constrained",
    )
    between = np.full((_GAP, width, 3), 255, np.uint8)
    left.imshow(np.concatenate([part for strip in strips.values() for part in (strip, between)])[:-_GAP])
    ticks = [(height + _GAP) * index + height / 2 for index in range(len(strips))]
    left.set_yticks(ticks, list(strips))
    left.set_xticks([])
    left.tick_params(length=0)
    for spine in left.spines.values():
        spine.set_visible(False)
    _draw_figures(right, rows, ["source", *names, "real"])
    right.set_xlabel(f"{metric} on real images, %")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, facecolor="white")
    plt.close(figure)


def _draw_figures(axes: Axes, rows: Mapping[str, Mapping[int, Result]], names: Sequence[str]) -> None:
    for place, name in enumerate(names):
        series = ((name, _PLAIN, -0.19, "alone"), (name + AUGMENTED, _AUGMENTED, 0.19, "with augmentation"))
        for key, colour, offset, label in series:
            figures = [100 * result["score"] for result in rows.get(key, {}).values()]
            if figures:
                known = label if place == 0 else None
                axes.barh(place + offset, np.mean(figures), height=0.36, color=colour, alpha=0.75, label=known)
                axes.plot(figures, [place + offset] * len(figures), "o", color=_INK, markersize=3.5)
    axes.set_yticks(range(len(names)), [{"source": "sim", **_NAMES}.get(name, name) for name in names])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


if __name__ == "__main__":
    main()
