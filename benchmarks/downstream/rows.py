"""The rows of the tables: what a task network is trained on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

from benchmarks.downstream.learner import batch_of
from sim2real.registry import registry

AUGMENTED = "+augmentation"


@dataclass(frozen=True, slots=True)
class Budget:
    """The sizes of data, trainings and networks.

    Attributes:
        images: Maximum number of simulated images.
        real: Maximum number of real images for training and for testing, each; 0: all.
        steps: Steps of a GAN's training.
        batch: Images of 48x48 of each domain per step, fewer if they are larger; 0: as published.
        width: Channels of the first layer of encoder-decoders and discriminators; 0: as published.
        resnet: Width and blocks of ResNet generators; zeros: as published.
        evaluate: Steps between evaluations on held-out images, and number of images of each domain.
        task_steps: Steps of a task network's training.
        networks: Number of task networks that are trained and tested on the same images; their mean is the score.
        averaged: Share of a task network's last steps whose weights are averaged; 0: the last step's are used.
        translations: Name of the budget whose translations are used; empty: this one's.
    """

    images: int
    real: int
    steps: int
    batch: int
    width: int
    resnet: tuple[int, int]
    evaluate: tuple[int, int]
    task_steps: int
    networks: int = 1
    averaged: float = 0.0
    translations: str = ""

    def scaled(self, effort: float) -> "Budget":
        """Return the budget with this share of the steps."""
        return replace(
            self, steps=max(1, round(self.steps * effort)), task_steps=max(1, round(self.task_steps * effort))
        )


_CPU = Budget(6000, real=0, steps=1000, batch=8, width=32, resnet=(16, 6), evaluate=(200, 128), task_steps=700)
BUDGETS: Mapping[str, Budget] = {
    "quick": Budget(
        12,
        real=40,
        steps=2,
        batch=2,
        width=4,
        resnet=(4, 1),
        evaluate=(1, 4),
        task_steps=2,
        networks=2,
        averaged=0.5,
    ),
    "cpu": _CPU,
    "steady": replace(_CPU, networks=5, averaged=0.25, translations="cpu"),
    "full": Budget(20000, real=0, steps=30000, batch=0, width=0, resnet=(0, 0), evaluate=(1000, 256), task_steps=5000),
}


@dataclass(frozen=True, slots=True)
class Row:
    """The training data of a task network.

    Attributes:
        recipe: Recipe that translates the simulated images; empty: they are used as they are.
        sets: Settings that override those of the recipe.
        real: Use the real training images with their labels instead: the upper bound.
        augmented: Augment the appearance of the images while the task network is trained.
        masks: Whether the translation sees the simulation's masks.
        looks: Number of translations of each image, each sampled anew; the task network's steps stay equal.
    """

    recipe: str = ""
    sets: tuple[str, ...] = ()
    real: bool = False
    augmented: bool = False
    looks: int = 1
    masks: bool = False


_HALF = "data.size=[96, 64]"  # half the width of the town's frames: windows that can be matched
LABELLED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "class-distribution": ("class-distribution", ()),
    "grid-moments": ("grid", ("method.options.class_moments=0.5",)),
    "grid-consistency": ("grid", ("method.options.consistency=0.5",)),
    "grid-moments-consistency": ("grid", ("method.options.class_moments=0.5", "method.options.consistency=0.5")),
    "labelled": ("labelled", ()),
    "grid-masked": ("grid", ("method.options.masked=true",)),
    "grid-texture": ("grid", ("generator.name=textured-grid", "generator.options.camera=false")),
    "grid-windows": ("grid", (_HALF,)),
    "grid-matched": ("grid", (_HALF, "data.matched=true")),
    "grid-new-edges": ("grid", ("losses.new-edges=1",)),
}
"""Rows that see the simulation's masks, of tasks whose labels are masks -> their recipe, and settings over it."""

COLOURS = ("reinhard", "histogram", "pixel-distribution", "fda", "augment")
PUBLISHED = ("vkitti2kitti", "monet2photo", "resnet9-sigmoid", "cyclegan-256", "cyclegan", "cut", "fastcut")
GRID, TEXTURED = "grid", "textured"
_SMALL = {GRID, "labelled", "default", TEXTURED}  # small networks, which see more images in equal time
_LONGER = 3  # times the steps: the texture follows the light, and both together take as long as the painting networks
_TANH = ("generator.options.output=tanh", "losses.cycle=10", "losses.identity=1")
VARIATIONS: Mapping[str, tuple[str, ...]] = {
    "combined": (),
    "combined-loose": ("losses.cycle=1", "losses.identity=0"),
    "combined-tanh": _TANH,
    "combined-tanh-last": (*_TANH, "checkpoint.use=last"),
    "combined-steady": (
        "losses.cycle=1",
        "losses.identity=0",
        "losses.adversarial=hinge",
        "discriminator.regularization.spectral_norm=true",
        "discriminator.regularization.augment=['color', 'translation']",
        "discriminator.regularization.augment_target=0.6",
    ),
}
COMBINED = "combined-tanh-last"
DISCRIMINATORS: Mapping[str, tuple[str, ...]] = {
    f"{discriminator}-alone": (
        *VARIATIONS[COMBINED],
        f"discriminator.name={discriminator}",
        "discriminator.options.width=32",
    )
    for discriminator in ("patch", "global")
}
"""The published comparison: the discriminators of ``COMBINED``, which are those of vkitti2kitti, one by one.

All after the same number of steps: a best step of each would compare choices, too.
"""

GUIDED: Mapping[str, tuple[str, ...]] = {
    "combined-guided": ("transfer.name=guided", "transfer.train=false"),
    "combined-guided-trained": ("transfer.name=guided",),
}
"""``combined`` whose light and colours alone are taken: after its training, and within its steps as well."""


LOOKS: Mapping[str, tuple[str, int]] = {
    f"{recipe} x{looks}": (recipe, looks)
    for recipe in ("pixel-distribution", "class-distribution", GRID, "labelled", TEXTURED)
    for looks in (2, 5)
}
"""Rows of several translations of each image -> their recipe, and how many."""


@cache
def known_rows() -> Mapping[str, Row]:
    """Return every row by name, in the order of the tables; colour adaptations only if their recipes are registered."""
    registered = {entry.name for entry in registry().entries("recipes")}
    plain = {
        "source": Row(),
        **{name: Row(name) for name in COLOURS if name in registered},
        **{name: Row(recipe, sets, masks=True) for name, (recipe, sets) in LABELLED.items()},
        **{name: Row(name) for name in (*PUBLISHED, GRID, "default", TEXTURED)},
        **{name: Row(recipe, looks=looks, masks=recipe in LABELLED) for name, (recipe, looks) in LOOKS.items()},
        **{name: Row("combined", sets) for name, sets in {**DISCRIMINATORS, **VARIATIONS, **GUIDED}.items()},
    }
    rows: dict[str, Row] = {}
    for name, row in plain.items():
        rows |= {name: row, name + AUGMENTED: replace(row, augmented=True)}
    return {**rows, "real": Row(real=True)}


def settings(row: Row, size: tuple[int, int], budget: Budget) -> list[str]:
    """Return the ``--set`` values of a row's translation, for images of (W, H).

    Networks, losses, optimisers, the order of updates and the step that is used are as published. The image size, the
    number of steps and, on a small budget, widths and batch are set here. Images are only mirrored for grids, which
    have no shapes: mirrored signs and digits would be different ones.
    """
    precision = "precision=fp32"  # equal on all machines
    if row.recipe in {*COLOURS, "class-distribution"}:
        return [f"data.size={list(size)}", precision, *row.sets]
    load = [round(side * 286 / 256) for side in size]
    load_size = [f"data.load_size={load}"] if row.recipe in {"cyclegan", "cut", "fastcut"} else []
    if row.recipe in _SMALL:
        return [
            f"data.size={list(size)}",
            precision,
            f"data.load_size={list(size)}",
            *([f"data.batch_size={batch_of(5 * budget.batch // 2, size)}"] if budget.batch else []),
            f"train.steps={budget.steps * (_LONGER if row.recipe == TEXTURED else 1)}",
            "train.patience=0",
            f"evaluate.every={budget.evaluate[0]}",
            f"evaluate.count={budget.evaluate[1]}",
            *row.sets,
        ]
    is_resnet = row.recipe in {"resnet9-sigmoid", "cyclegan", "cut", "fastcut"}
    width, blocks = budget.resnet
    widths = [f"generator.options.width={width if is_resnet else budget.width}"] if budget.width else []
    widths += [f"discriminator.options.width={budget.width}"] if budget.width else []
    widths += [f"generator.options.blocks={blocks}"] if is_resnet and blocks else []
    every, count = budget.evaluate
    return [
        f"data.size={list(size)}",
        precision,
        *load_size,
        "data.augment=[]",
        *([f"data.batch_size={batch_of(budget.batch, size)}"] if budget.batch else []),
        f"train.steps={budget.steps}",
        "train.patience=0",
        f"evaluate.every={every}",
        f"evaluate.count={count}",
        *row.sets,
        *widths,
    ]
