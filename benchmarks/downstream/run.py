"""Does training on converted images help on real ones? Train and test the rows of one task.

python benchmarks/downstream/run.py --task signs --rows source,source+augmentation,cyclegan,real --seeds 0,1,2

Each finished row is a line of results.jsonl. Rows that have a line are skipped, so the script can be stopped at any
time, and run twice at once. The folder SIM2REAL_TEST_DATA holds the data of all tasks except toytown.
"""

import argparse
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from PIL import Image as Picture

from benchmarks.downstream.learner import METRICS, learn, predict
from benchmarks.downstream.rows import AUGMENTED, BUDGETS, LOOKS, Budget, Row, known_rows, settings
from benchmarks.downstream.tasks import IGNORED, TASKS, Data, Image, Labelled, Labels, Task
from sim2real import load
from sim2real.capabilities import seeds_of_pixels
from sim2real.config import resolve
from sim2real.datasets.classes import CITYSCAPES
from sim2real.datasets.labels import NOTHING
from sim2real.datasets.vocabulary import Vocabulary
from sim2real.devices import resolve_device
from sim2real.errors import Sim2RealError
from sim2real.files import exclusive
from sim2real.imageio import encode_png
from sim2real.training import Trainer
from sim2real.translator import Translator

RESULTS = Path(__file__).with_name("results.jsonl")
_BY_CLASS = 12  # maximum number of classes whose values are kept
_CONVERTED_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Job:
    """One row of a task, for one seed.

    Attributes:
        task: The task's name.
        row: The row's name.
        seed: Seed of all random numbers.
        budget: The budget's name.
        device: The resolved device on which networks are trained.
        work: Folder for the files of all jobs.
    """

    task: str
    row: str
    seed: int
    budget: str
    device: str
    work: Path

    @property
    def key(self) -> dict[str, Any]:
        """The key of its result."""
        return {"task": self.task, "row": self.row, "seed": self.seed, "budget": self.budget}

    @property
    def folder(self) -> Path:
        """Folder of its training, which rows with and without augmentation and with more looks share."""
        row = self.row.removesuffix(AUGMENTED)
        return self.shared / LOOKS.get(row, (row, 1))[0]

    @property
    def shared(self) -> Path:
        """Folder that all rows of a task and a seed share."""
        return self.work / (BUDGETS[self.budget].translations or self.budget) / self.task / f"seed{self.seed}"

    def is_done(self, results: Path) -> bool:
        """Return whether it has a result."""
        return any(line | self.key == line for line in read_results(results))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the missing jobs.

    Args:
        arguments: Command-line arguments; None: those of the process.
    """
    options = _parse(arguments)
    device = resolve_device(options.device)
    for seed in options.seeds:
        for row in options.rows:
            job = Job(options.task, row, seed, options.budget, device, options.work)
            if job.is_done(options.results):
                continue
            name = f"{job.task}, {row}, seed {seed}"
            try:
                with exclusive(job.folder / ".lock", "another process is at it"):
                    _say(f"{name} ...")
                    result = run(job)
            except Sim2RealError as error:
                _say(f"{name}: {error}")
                continue
            write_result(options.results, job.key | result)
            _say(f"{name}: {result['score']:.4f}")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--rows", default="all", help="rows, comma separated (%(default)s)")
    parser.add_argument("--seeds", default="0,1,2", help="seeds, comma separated (%(default)s)")
    parser.add_argument("--budget", choices=BUDGETS, default="cpu", help="(%(default)s); full is meant for a GPU")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:0 (%(default)s)")
    parser.add_argument("--work", type=Path, default=Path("runs/downstream"), help="folder for trainings (%(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file of results (%(default)s)")
    options = parser.parse_args(arguments)
    rows = known_rows()
    options.rows = list(rows) if options.rows == "all" else options.rows.split(",")
    options.seeds = [int(seed) for seed in options.seeds.split(",")]
    if unknown := [name for name in options.rows if name not in rows]:
        parser.error(f"no row is called {unknown[0]}; known: {', '.join(rows)}")
    return options


def _say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


def read_results(path: Path) -> list[dict[str, Any]]:
    """Return all results so far."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Append a line in a single write, because other processes may append at the same time."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")


def run(job: Job) -> dict[str, Any]:
    """Translate, train the task network and test it.

    Returns:
        The score, its origin, and the time it took.
    """
    task, row = TASKS[job.task], known_rows()[job.row]
    budget = BUDGETS[job.budget].scaled(task.effort)
    data = load_data(job.task, budget, job.seed, job.shared / "data.npz")
    translation: dict[str, Any] = {}
    trained_on = data.real if row.real else data.sim
    if row.recipe:
        images, translation = translated(job, row, budget, data)
        trained_on = Labelled(images, np.concatenate([data.sim.labels] * row.looks))
    began = time.perf_counter()
    found = []
    for number in range(budget.networks):
        seed = job.seed + 1000 * number
        network = learn(
            task,
            trained_on,
            steps=budget.task_steps,
            seed=seed,
            augmented=row.augmented,
            device=job.device,
            averaged=budget.averaged,
        )
        found.append(METRICS[task.metric](predict(network, data.test.images, job.device), data.test.labels))
    scores = [score for score, _ in found]
    named = {task.classes[label]: round(mean([of[label] for _, of in found]), 4) for label in found[0][1]}
    return {
        "score": round(mean(scores), 5),
        **({"scores": [round(score, 5) for score in scores]} if budget.networks > 1 else {}),
        "metric": task.metric,
        **({"by_class": named} if 0 < len(named) <= _BY_CLASS else {}),
        "images": len(trained_on.images),
        "tested": len(data.test.images),
        "task_steps": budget.task_steps,
        "seconds": round(time.perf_counter() - began, 1),
        **({"translation": translation} if translation else {}),
    }


@cache
def load_data(task: str, budget: Budget, seed: int, kept: Path) -> Data:
    """Return the data of a task, which are made once and kept in a file."""
    with exclusive(kept.with_name(".data.lock"), f"{kept}: another process does not come to its end", patience=3600):
        if not kept.exists():
            data = TASKS[task].load(budget.images, seed)
            sides = data.sim, _some(data.real, budget.real), _some(data.test, budget.real)
            part = kept.with_name("part.npz")
            np.savez(part, *(array for side in sides for array in (side.images, side.labels)))
            part.replace(kept)
    with np.load(kept) as arrays:
        sim, real, test = (Labelled(arrays[f"arr_{index}"], arrays[f"arr_{index + 1}"]) for index in (0, 2, 4))
    return Data(sim, real, test)


def _some(side: Labelled, count: int) -> Labelled:
    """Return a number of evenly spaced images; 0: all."""
    chosen = slice(None, None, max(1, len(side.images) // count) if count else 1)
    return Labelled(side.images[chosen], side.labels[chosen])


def translated(job: Job, row: Row, budget: Budget, data: Data) -> tuple[Image, dict[str, Any]]:
    """Return the simulated images translated by a training, look by look, and the facts of the training."""
    kept, facts, folder = job.folder / f"images{row.looks}.npy", job.folder / "facts.json", job.folder / "run"
    if kept.exists():
        return np.load(kept), json.loads(facts.read_text("utf-8"))
    sides = write_sides(data, job.shared / "sides")
    height, width = data.sim.images.shape[1:3]
    sets = settings(row, (width, height), budget)
    if not facts.exists():
        shutil.rmtree(folder, ignore_errors=True)  # left by a process that was stopped
        sim = write_masked(TASKS[job.task], data, job.shared / "masked") if row.masks else sides
        places = [f"sim={sim}", *([f"real={sides / 'trainB'}"] if row.masks else [])]
        config = resolve(row.recipe, sets=[*sets, *places, "data.workers=0"], seed=job.seed, device=job.device)
        began = time.perf_counter()
        trainer = Trainer.begin(config, folder)
        for _ in trainer.train():
            pass
        known = {
            "recipe": row.recipe,
            "sets": sets,
            "steps": trainer.total,
            "used_step": trainer.used_step,
            "held_out": _held_out(folder, trainer.used_step),
            "seconds": round(time.perf_counter() - began, 1),
        }
        shutil.rmtree(folder / "checkpoints")
        facts.write_text(json.dumps(known), "utf-8")
    translate = load(folder, device=job.device)
    masks = _ids(TASKS[job.task], data, translate) if translate.can.inputs else None
    looks = [_look(translate, data.sim.images, masks, number) for number in range(row.looks)]
    np.save(kept, np.concatenate(looks))
    return np.concatenate(looks), json.loads(facts.read_text("utf-8"))


def _look(translate: Translator, images: Image, masks: Labels | None, number: int) -> Image:
    """Translate all images as one look; random choices depend on the pixels and the number of the look."""
    parts = []
    for first in range(0, len(images), _CONVERTED_AT_ONCE):
        part = slice(first, first + _CONVERTED_AT_ONCE)
        seeds = seeds_of_pixels(translate.can, images[part]) + np.uint64(number * (2**32 + 1))
        inputs = {} if masks is None else {"segmentation": masks[part]}
        parts.append(translate(images[part], inputs=inputs, seeds=seeds))
    return np.concatenate(parts)


def _ids(task: Task, data: Data, translate: Translator) -> Labels:
    """Return the masks of the simulated images, numbered as the classes of a run."""
    vocabulary = Vocabulary.of(translate.info.settings)
    numbers = np.full(IGNORED + 1, NOTHING, np.int64)
    numbers[: len(task.classes)] = [vocabulary.number(name) for name in task.classes]
    return numbers[data.sim.labels]


def write_masked(task: Task, data: Data, root: Path) -> Path:
    """Write the simulated images with their masks, in the layout of GTA5 and the class ids of Cityscapes.

    Raises:
        Sim2RealError: If the task has no masks.
    """
    if task.cell != 1:
        raise Sim2RealError("the labels of this task are not masks")
    with exclusive(root.with_name(".masked.lock"), f"{root}: another process does not come to its end", patience=300):
        if not root.exists():
            vocabulary = Vocabulary(CITYSCAPES)
            ids = np.zeros(IGNORED + 1, np.uint8)
            ids[: len(task.classes)] = [vocabulary.number(name) for name in task.classes]
            staging = root.with_name("masked.part")
            for folder in ("images", "labels"):
                (staging / folder).mkdir(parents=True, exist_ok=True)
            for index, (image, label) in enumerate(zip(data.sim.images, data.sim.labels, strict=True)):
                (staging / f"images/{index:05}.png").write_bytes(encode_png(image))
                mask = Picture.fromarray(ids[label])
                mask.putpalette([*range(256)] * 3)
                mask.save(staging / f"labels/{index:05}.png")
            staging.rename(root)
    return root


def write_sides(data: Data, root: Path) -> Path:
    """Write the training images as a CycleGAN folder."""
    with exclusive(root.with_name(".sides.lock"), f"{root}: another process does not come to its end", patience=300):
        if not root.exists():
            staging = root.with_name("sides.part")
            for side, images in (("trainA", data.sim.images), ("trainB", data.real.images)):
                (staging / side).mkdir(parents=True, exist_ok=True)
                for index, image in enumerate(images):
                    (staging / side / f"{index:05}.png").write_bytes(encode_png(image))
            staging.rename(root)
    return root


def _held_out(run: Path, step: int) -> dict[str, float]:
    """Return the values on held-out images at a step."""
    lines = (json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines())
    found = [line for line in lines if line["step"] == step and "evaluation/score" in line]
    kept = ("score", "distance", "distance_of_sim", "floor", "new_edges", "lost_edges", "change", "diversity")
    return {name: round(found[-1][f"evaluation/{name}"], 4) for name in kept} if found else {}


if __name__ == "__main__":
    main()
