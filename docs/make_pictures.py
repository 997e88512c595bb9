"""Make the pictures of the manual, docs/pictures/, with sim2real itself from the toy town.

python docs/make_pictures.py                 # all of them: about 40 minutes on two busy cores
python docs/make_pictures.py --only recipe-grid artefact-halo
python docs/make_pictures.py --list

Everything that takes time is kept in --work and used again. Nothing here comes from the data of others. The town is
that of `sim2real demo`. Recipes that take seconds are run as they are; those that train are cut short, and what was cut
is written to docs/pictures/captions.json, for the pages that show the pictures.
"""

import argparse
import io
import json
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

import sim2real
from sim2real.contactsheet import contact_sheet
from sim2real.datasets.base import Frame
from sim2real.datasets.labels import Boxes, Segmentation
from sim2real.engines.guided import fitted_grids, sliced
from sim2real.imageio import read_rgb
from sim2real.registry import BUILTIN, registry
from sim2real.training.importing import import_frames
from sim2real_toytown import render_dataset

Image = NDArray[np.uint8]
Settings = Mapping[str, Any]

PICTURES = Path(__file__).parent / "pictures"
CAPTIONS = "captions.json"
WORK = Path(__file__).parent / "_build" / "pictures"
LARGEST, LARGEST_OF_ALL = 750_000, 6_000_000  # bytes
SIZE = (416, 128)
_PALETTE = 256  # colours of a PNG file with a palette

SCENE, REAL_SCENE = "Scene22", "Scene22"  # what most pictures show
TAKEN = slice(64, 352)  # the columns that are shown of a frame, pixel by pixel
HERO = (0.02, 0.3, 0.7)  # of the demo's frames, what the README shows
OUTLINE, BOX = (255, 224, 64), (255, 64, 48)

WIDTH = 16
WINDOW: Settings = {"data.size": [128, 128], "data.load_size": [416, 128], "data.fit": "crop"}
NARROW: Settings = {"generator.options.width": WIDTH, "discriminator.options.width": WIDTH}
FEW: Settings = {  # for a few dozen photos, which a discriminator would memorise otherwise: as in the demo
    "data.size": [208, 64],
    "data.load_size": [208, 64],
    "generator.options.side": 64,
    "ema_decay": 0.99,
    "discriminator.regularization.augment": ["translation", "cutout"],
    "discriminator.regularization.augment_target": 0.6,
}


@dataclass(frozen=True, slots=True)
class Short:
    """A training cut short.

    Attributes:
        steps: Its number of steps.
        settings: What differs from the recipe.
        caption: The differences in words.
    """

    steps: int
    settings: Settings
    caption: str


def _narrow(steps: int, *, batch: int = 1, more: Settings | None = None, caption: str = "") -> Short:
    settings = {**WINDOW, **NARROW, "data.batch_size": batch, **(more or {})}
    told = f"After {steps} steps on windows of 128x128, {batch} at a time, with networks of width {WIDTH}{caption}"
    return Short(steps, settings, f"{told}: a short training, which shows the kind of change, not the quality.")


_FASTER: Settings = {"optim.generator_lr": 1e-3}
_BLOCKS: Settings = {"generator.options.blocks": 4}
_PUSHED: Settings = {**_BLOCKS, "optim.generator_lr": 2e-4, "optim.discriminator_lr": 2e-4}
_GRID: Settings = {**FEW, "method.options.unevenness": 100.0}
_TOLD = (
    "After 200 steps on frames of 208x64, with 48 photos: of so few, longer trainings learn what they happen to show."
)

SHORT: Mapping[str, Short] = {
    "grid": Short(200, _GRID, _TOLD),
    "default": Short(200, _GRID, _TOLD),
    "labelled": Short(200, {**_GRID, "discriminator.regularization.augment": ["color"]}, _TOLD),
    "class-distribution": Short(300, {"data.size": [208, 64]}, "After 300 steps on frames of 208x64; 48 photos."),
    "textured": Short(
        500,
        {
            **_GRID,
            "data.size": [208, 128],
            "data.load_size": [416, 128],
            "data.batch_size": 2,
            "generator.options.side": 128,
        },
        "After 500 steps on windows of 208x128, with 48 photos. It is not made for such frames: it paints skies, too.",
    ),
    "combined": _narrow(500),
    "vkitti2kitti": _narrow(1500, batch=2, more=_FASTER, caption=", at a rate of 1e-3"),
    "monet2photo": _narrow(600, batch=4, more=_FASTER, caption=", at a rate of 1e-3"),
    "resnet9-sigmoid": _narrow(
        300,
        more=_PUSHED,
        caption=" and 4 blocks, at rates of 2e-4 in place of 1e-5. Its colours came out inverted",
    ),
    "cyclegan-256": _narrow(2000, batch=2),
    "cyclegan": _narrow(400, more=_BLOCKS, caption=" and 4 blocks"),
    "cut": _narrow(400, more=_BLOCKS, caption=" and 4 blocks"),
    "fastcut": _narrow(400, more=_BLOCKS, caption=" and 4 blocks"),
}
"""Recipe -> how its training is cut short; the others are run as they are."""

GENERATORS: Mapping[str, tuple[str, Short]] = {
    "unet": (
        "cyclegan",
        _narrow(400, more={"generator.name": "unet", "generator.options.stages": 7}),
    ),
    "textured-grid": (
        "grid",
        Short(
            300,
            {
                **_GRID,
                "data.size": [208, 128],
                "data.load_size": [416, 128],
                "data.batch_size": 2,
                "generator.name": "textured-grid",
                "generator.options.side": 128,
                "generator.options.camera": False,
            },
            "After 300 steps on windows of 208x128, with 48 photos.",
        ),
    ),
}
"""Generator that no recipe uses -> the recipe that it is trained with, and how that is cut short."""

AS_IT_IS, NO_PHOTOS = "The recipe as it is; 48 photos.", "The recipe as it is; it uses no photos."


@dataclass
class Studio:
    """What pictures are made from, made when it is first needed and kept in a folder.

    Attributes:
        work: The folder.
        captions: What was cut short for a picture, by its name.
    """

    work: Path
    captions: dict[str, str] = field(default_factory=dict)

    @cached_property
    def demo(self) -> Path:
        """The folder of `sim2real demo`, which has both towns, a run, a conversion and its report."""
        folder = self.work / "demo"
        if not (folder / "converted" / ".sim2real" / "report.html").is_file():
            subprocess.run([sys.executable, "-m", "sim2real", "demo", folder], check=True)
        return folder

    @property
    def sim(self) -> Path:
        """The simulated town, with labels."""
        return self.demo / "sim"

    @property
    def real(self) -> Path:
        """Other streets in the real look."""
        return self.demo / "real"

    @cached_property
    def same_streets(self) -> Path:
        """The simulated town's own streets in the real look."""
        folder = self.work / "same-streets"
        if not folder.is_dir():
            render_dataset(
                folder, look="real", frames=4, sequences=12, size=SIZE, seed=0, cameras=(0,), labels=False, workers=2
            )
        return folder

    def run(self, name: str, recipe: str, short: Short | None = None, *sides: Path) -> Path:
        """Return a trained run; one that was interrupted is resumed."""
        run = self.work / "runs" / name
        if (run / "README.md").is_file():  # the model card: it is finished
            return run
        begin = time.monotonic()
        if any((run / "checkpoints").glob("*")):
            done = sim2real.train(run=run, resume=True)
        else:
            for old in (run, *self.work.glob(f"converted/{name}"), *self.work.glob(f"converted/{name}-guided")):
                shutil.rmtree(old, ignore_errors=True)
            steps, settings = (short.steps, short.settings) if short else (None, {})
            sim, real = sides or (self.sim, self.real)
            done = sim2real.train(sim, real, run=run, recipe=recipe, steps=steps, settings=settings, seed=0)
        tell(f"trained {name} for {done.step} steps in {time.monotonic() - begin:.0f} s: {done.standing.text}")
        return run

    def converted(self, run: Path, transfer: Literal["direct", "guided"] | None = None) -> Path:
        """Return the shown scene, converted by a run."""
        out = self.work / "converted" / "-".join([run.name, *([transfer] if transfer else [])])
        sim2real.convert(self.sim, out, model=run, include=[f"{SCENE}/*"], carry="hardlink", transfer=transfer)
        return out

    def taught(self, name: str, images: Mapping[str, Image]) -> Path:
        """Return a run of frames that another program translated, in place of which they are given here."""
        folder, run = self.work / "translated" / name, self.work / "runs" / name
        for old in (folder, run, self.work / "converted" / name):
            shutil.rmtree(old, ignore_errors=True)
        for path, image in images.items():
            file = (folder / path).with_suffix(".png")
            file.parent.mkdir(parents=True, exist_ok=True)
            Picture.fromarray(image).save(file)
        import_frames(self.sim, folder, run)
        return run

    def frames(self, folder: Path, scene: str) -> list[Frame]:
        """Return the frames of a scene."""
        return [frame for frame in sim2real.open_dataset(folder).frames() if frame.image.startswith(f"{scene}/")]

    @cached_property
    def frame(self) -> Frame:
        """The frame that most pictures show."""
        return self.frames(self.sim, SCENE)[1]

    @cached_property
    def photo(self) -> Image:
        """The real one beside it."""
        return self.frames(self.real, REAL_SCENE)[1].load_image()

    def short(self, recipe: str) -> Path:
        """Return the run of a recipe, cut short if it takes more than seconds."""
        return self.run(recipe, recipe, SHORT.get(recipe))

    def shown(self, run: Path, frame: Frame | None = None) -> Image:
        """Return a frame as a run translates it."""
        return read_rgb(self.converted(run) / (frame or self.frame).image)


def tell(line: str) -> None:
    """Print a line of progress."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


# ----------------------------------------------------------------------------------------------- recipes


def recipe(studio: Studio, name: str) -> Image:
    """Before | after | a real one."""
    after = studio.shown(studio.short(name))
    as_it_is = NO_PHOTOS if name == "augment" else AS_IT_IS
    studio.captions[f"recipe-{name}"] = SHORT[name].caption if name in SHORT else as_it_is
    sides = {"before": studio.frame.load_image(), f"after: {name}": after, "a real one": studio.photo}
    return contact_sheet({title: [image[:, TAKEN]] for title, image in sides.items()})


def generator(studio: Studio, name: str) -> Image:
    """Before | after | a real one, for a generator that no recipe uses."""
    base, short = GENERATORS[name]
    after = studio.shown(studio.run(name, base, short))
    studio.captions[f"generator-{name}"] = f"The recipe `{base}` with this generator. {short.caption}"
    sides = {"before": studio.frame.load_image(), f"after: {name}": after, "a real one": studio.photo}
    return contact_sheet({title: [image[:, TAKEN]] for title, image in sides.items()})


def distil(studio: Studio) -> Image:
    """Before | another program's | after; the shown scene was not in the training."""
    steps = 600
    teacher = studio.taught(
        "teacher",
        {
            frame.image: read_rgb(other.path)
            for frame, other in zip(
                *(list(sim2real.open_dataset(each).frames()) for each in (studio.sim, studio.same_streets)), strict=True
            )
        },
    )
    settings = {
        "data.size": [208, 64],
        "data.load_size": [208, 64],
        "generator.options.side": 64,
        "ema_decay": 0.99,
        "data.translations": str(teacher),
        "data.sim_exclude": [f"{SCENE}/*"],
    }
    run = studio.run("distil", "distil", Short(steps, settings, ""), studio.sim, studio.same_streets)
    studio.captions["recipe-distil"] = (
        f"After {steps} steps on frames of 208x64. In place of another program, the town's own real look of the same "
        "streets is the teacher; the shown street was left out of the training."
    )
    others = studio.frames(studio.same_streets, SCENE)
    sides = {
        "before": studio.frame.load_image(),
        "after: distil": studio.shown(run),
        "what the other program made": others[1].load_image(),
    }
    return contact_sheet({title: [image[:, TAKEN]] for title, image in sides.items()})


# ------------------------------------------------------------------------------- the README's and the report


def hero(studio: Studio) -> Image:
    """The README's: frames before, after, with their labels over the right half, and real ones."""

    def half_labelled(frame: Frame) -> Image:
        image, middle = frame.load_image().copy(), SIZE[0] // 2
        image[:, middle:] = labelled(frame)[:, middle:]
        return image

    columns = {}
    sides = {
        "before": (studio.sim, Frame.load_image),
        "after; right half: with its labels": (studio.demo / "converted", half_labelled),
        "a real camera": (studio.real, Frame.load_image),
    }
    for title, (folder, drawn) in sides.items():
        frames = list(sim2real.open_dataset(folder).frames())
        columns[title] = [drawn(frames[round(place * (len(frames) - 1))]) for place in HERO]
    return contact_sheet(columns)


def labelled(frame: Frame) -> Image:
    """Return a frame with its boxes and the outlines of its classes."""
    boxes, classes = frame.load_label("boxes"), frame.load_label("segmentation")
    assert isinstance(boxes, Boxes)  # noqa: S101  the kinds of label say so; it types them
    assert isinstance(classes, Segmentation)  # noqa: S101  as above
    image, ids = frame.load_image().copy(), classes.ids
    outlines = np.zeros(ids.shape, bool)
    outlines[1:] |= ids[1:] != ids[:-1]
    outlines[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    image[outlines] = OUTLINE
    picture = Picture.fromarray(image)
    for box in boxes.boxes:
        ImageDraw.Draw(picture).rectangle([box.left, box.top, box.right, box.bottom], outline=BOX)
    return np.array(picture)


def report(studio: Studio) -> Image:
    """The report of the demo's conversion in a browser."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  the other pictures need no browser

    page = studio.demo / "converted" / ".sim2real" / "report.html"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        tab = browser.new_page(viewport={"width": 1000, "height": 1330})
        tab.goto(page.resolve().as_uri())
        shot = tab.screenshot()
        browser.close()
    return np.asarray(Picture.open(io.BytesIO(shot)).convert("RGB").quantize(_PALETTE).convert("RGB"))


# --------------------------------------------------------------------------------------------- artefacts


def enlarged(image: Image, left: int, top: int, size: tuple[int, int], times: int) -> Image:
    """Return a part of an image, each pixel as a square."""
    return np.repeat(np.repeat(image[top : top + size[1], left : left + size[0]], times, 0), times, 1)


def levels(values: NDArray[Any]) -> Image:
    """Return grey levels."""
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def noise(seed: int, shape: tuple[int, ...], blur: float = 0) -> NDArray[np.float64]:
    """Return noise with a spread of 1."""
    drawn = np.random.default_rng(seed).normal(size=shape)
    smooth = np.asarray(cv2.GaussianBlur(drawn, (0, 0), blur)) if blur else drawn
    return np.asarray(smooth / smooth.std(), np.float64)


def halo(image: Image) -> Image:
    """Lighten the surroundings of strong edges, fading within a dozen pixels."""
    smooth = cv2.GaussianBlur(image.mean(axis=-1), (0, 0), 1)
    slopes = [cv2.Sobel(smooth, cv2.CV_64F, x, 1 - x, scale=1 / 8) for x in (1, 0)]
    flat = (np.hypot(*slopes) < 10).astype(np.uint8)
    distance = np.asarray(cv2.distanceTransform(flat, cv2.DIST_L2, cv2.DIST_MASK_5))
    return levels(image + 45 * np.exp(-np.square(distance / 5))[..., None])


def trees(image: Image) -> Image:
    """Paint foliage into the upper part."""
    height, width = image.shape[:2]
    grown = (noise(5, (height, width), width / 32) > 0.6) & (np.arange(height) < 0.42 * height)[:, None]
    foliage = 45 + 22 * noise(2, (height, width), 1.3)[..., None] * [0.7, 1.0, 0.5] + np.array([0, 14, -8])
    return np.where(grown[..., None], levels(foliage), image)


def damaged(studio: Studio, name: str, damage: Callable[[Image], Image]) -> dict[str, Image]:
    """Return the shown frame: before; as the demo translates it, with the damage; and guided by this translation."""
    good = studio.demo / "converted"
    made = {frame.image: damage(read_rgb(good / frame.image)) for frame in studio.frames(studio.sim, SCENE)}
    guided = studio.shown(studio.taught(name, made))
    return {"before": studio.frame.load_image(), "after": made[studio.frame.image], "--transfer guided": guided}


def artefact_checkerboard(studio: Studio) -> Image:
    """What transposed convolutions paint after a short training, enlarged, and what a guided transfer keeps of it."""
    run = studio.short("cyclegan")
    studio.captions["artefact-checkerboard"] = SHORT["cyclegan"].caption
    guided = read_rgb(studio.converted(run, "guided") / studio.frame.image)
    sides = {"before": studio.frame.load_image(), "after": studio.shown(run), "--transfer guided": guided}
    return contact_sheet({title: [enlarged(image, 230, 30, (96, 48), 3)] for title, image in sides.items()})


def artefact_halo(studio: Studio) -> Image:
    """Light around objects, enlarged, and what a guided transfer keeps of it."""
    sides = damaged(studio, "halo", halo)
    return contact_sheet({title: [enlarged(image, 150, 24, (144, 72), 2)] for title, image in sides.items()})


def artefact_trees(studio: Studio) -> Image:
    """Foliage in the sky, and what a guided transfer keeps of it."""
    sides = damaged(studio, "trees", trees)
    return contact_sheet({title: [image[:, TAKEN]] for title, image in sides.items()})


def artefact_inverted(studio: Studio) -> Image:
    """A short training whose colours came out inverted, and the same one with an identity loss."""
    short = SHORT["resnet9-sigmoid"]
    held = Short(short.steps, {**short.settings, "losses.identity": 5.0}, "")
    studio.captions["artefact-inverted"] = short.caption
    sides = {
        "before": studio.frame.load_image(),
        "after": studio.shown(studio.short("resnet9-sigmoid")),
        "with losses.identity=5": studio.shown(studio.run("identity", "resnet9-sigmoid", held)),
    }
    return contact_sheet({title: [image[:, TAKEN]] for title, image in sides.items()})


def artefact_nothing_changes(studio: Studio) -> Image:
    """A training that has hardly begun."""
    steps = 30
    run = studio.run("nothing", "combined", Short(steps, {**WINDOW, **NARROW}, ""))
    studio.captions["artefact-nothing-changes"] = f"`combined`, width {WIDTH}, after {steps} steps."
    sides = {"before": studio.frame.load_image(), "after": studio.shown(run), "a real one": studio.photo}
    return contact_sheet({title: [image[:, TAKEN]] for title, image in sides.items()})


def artefact_flicker(studio: Studio) -> Image:
    """Three consecutive frames by a recipe that takes another real image for each, and by one that does not."""
    frames = studio.frames(studio.sim, SCENE)[:3]
    columns = {"before": [frame.load_image()[:, TAKEN] for frame in frames]}
    for name in ("histogram", "grid"):
        columns[f"after: {name}"] = [studio.shown(studio.short(name), frame)[:, TAKEN] for frame in frames]
    return contact_sheet(columns, largest=240)


def artefact_one_side_empty(studio: Studio) -> Image:
    """What a training sees of a folder without images."""
    empty = studio.work / "photos"
    empty.mkdir(exist_ok=True)
    (empty / "download.log").write_text("done\n")
    try:
        sim2real.train(studio.sim, empty, run=studio.work / "runs" / "empty")
    except sim2real.Sim2RealError as error:
        message = str(error).replace(str(empty), "photos/")
    image = studio.frame.load_image()[:, TAKEN]
    blank = Picture.new("RGB", image.shape[1::-1], (240, 240, 240))
    draw = ImageDraw.Draw(blank)
    for left in range(-image.shape[0], image.shape[1], 12):
        draw.line([(left, image.shape[0]), (left + image.shape[0], 0)], fill=(222, 222, 222), width=2)
    words = "\n".join(textwrap.wrap(message, 34))
    draw.multiline_text(
        (image.shape[1] / 2, image.shape[0] / 2),
        words,
        fill=(150, 30, 30),
        font=ImageFont.load_default(16),
        anchor="mm",
        align="center",
    )
    return contact_sheet({"simulated: 48 images": [image], "real: 0 images": [np.array(blank)]})


# ------------------------------------------------------------------------------------------------ others


def guided_steps(studio: Studio) -> Image:
    """A frame, what a generator painted, the grid that was fitted to it, and the guided frame, with a part of each."""
    run = studio.short("cyclegan")
    frame, painted = studio.frame.load_image(), studio.shown(run)
    cpu = torch.device("cpu")
    grids = fitted_grids(frame[None], painted[None], cpu)
    greys = [np.full_like(frame[None], grey) for grey in (64, 128, 192)]
    bands = [sliced(grey, grids, cpu)[0] for grey in greys]
    studio.captions["guided-steps"] = SHORT["cyclegan"].caption
    sides = {
        "the frame": frame,
        "painted by cyclegan": painted,
        "its grid, for mid-grey": bands[1],
        "guided": sliced(frame[None], grids, cpu)[0],
    }
    return contact_sheet(
        {title: [image[:, TAKEN], enlarged(image, 230, 30, (96, 43), 3)] for title, image in sides.items()}
    )


def monet(studio: Studio) -> Image:
    """Photos painted after a short training on stand-ins for paintings."""
    steps = 600
    folder = studio.work / "paintings"
    for domain, town in (("A", studio.sim), ("B", studio.real)):
        for number, frame in enumerate(sim2real.open_dataset(town).frames()):
            image = frame.load_image()
            painted = cv2.stylization(image, sigma_s=30, sigma_r=0.5) if domain == "A" else image
            part = folder / f"{'test' if number % 8 == 0 else 'train'}{domain}"
            part.mkdir(parents=True, exist_ok=True)
            for left in (0, 144, 288):
                file = part / f"{number}_{left}.png"
                if not file.is_file():
                    Picture.fromarray(painted[:, left : left + 128]).save(file)
    short = Short(
        steps,
        {**NARROW, "data.batch_size": 4, "optim.generator_lr": 1e-3, "losses.identity": 5.0},
        "",
    )
    run = studio.work / "runs" / "monet"
    if not (run / "README.md").is_file():
        sim2real.train(folder, run=run, recipe="monet2photo", steps=steps, settings=short.settings, seed=0)
    studio.captions["monet"] = (
        f"After {steps} steps with networks of width {WIDTH}. The photos are of the toy town, and the paintings "
        "are other streets through a filter that leaves broad strokes: stand-ins, no paintings by Monet."
    )
    paint = sim2real.load(run, direction="real2sim")
    photos = [read_rgb(folder / "testB" / f"{number}.png") for number in ("8_144", "24_0", "40_144")]
    paintings = [read_rgb(folder / "testA" / f"{number}.png") for number in ("8_144", "24_0", "40_144")]
    columns = {"photos": photos, "painted": [paint(photo) for photo in photos], "stand-ins": paintings}
    return contact_sheet(columns, smallest=128)


def pictures() -> dict[str, Callable[[Studio], Image]]:
    """Return how each picture is made, by its name, the quick ones first."""
    recipes = [entry.name for entry in registry().entries("recipes") if entry.owner == BUILTIN]
    recipes.sort(key=lambda name: name in SHORT or name == "distil")
    made: dict[str, Callable[[Studio], Image]] = {
        "hero": hero,
        "report": report,
    }
    for name in recipes:
        made[f"recipe-{name}"] = distil if name == "distil" else partial(recipe, name=name)
    made |= {f"generator-{name}": partial(generator, name=name) for name in GENERATORS}
    made |= {
        "artefact-checkerboard": artefact_checkerboard,
        "artefact-halo": artefact_halo,
        "artefact-nothing-changes": artefact_nothing_changes,
        "artefact-inverted": artefact_inverted,
        "artefact-trees-in-the-sky": artefact_trees,
        "artefact-flicker": artefact_flicker,
        "artefact-one-side-empty": artefact_one_side_empty,
        "guided-steps": guided_steps,
        "monet": monet,
    }
    return made


def save(image: Image, file: Path) -> int:
    """Write a picture as a small PNG file, and return its bytes."""
    written, picture = io.BytesIO(), Picture.fromarray(image)
    if picture.getcolors(_PALETTE):
        picture = picture.quantize(_PALETTE)
    picture.save(written, "PNG", optimize=True)
    file.write_bytes(written.getvalue())
    return len(written.getvalue())


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="make these pictures alone")
    parser.add_argument("--work", type=Path, default=WORK, help="folder for everything that is kept (%(default)s)")
    parser.add_argument("--out", type=Path, default=PICTURES, help="folder of the pictures (%(default)s)")
    parser.add_argument("--list", action="store_true", help="print the names of the pictures and stop")
    options = parser.parse_args(arguments)
    made = pictures()
    if options.list:
        sys.stdout.write("".join(f"{name}\n" for name in made))
        return
    if unknown := {*(options.only or [])} - {*made}:
        parser.error(f"no such picture: {', '.join(sorted(unknown))}; --list prints the names")
    options.work.mkdir(parents=True, exist_ok=True)
    options.out.mkdir(parents=True, exist_ok=True)
    studio = Studio(options.work.resolve())
    captions = options.out / CAPTIONS
    if captions.is_file():
        studio.captions.update(json.loads(captions.read_text()))
    too_large = []
    for name in options.only or made:
        begin = time.monotonic()
        length = save(made[name](studio), options.out / f"{name}.png")
        captions.write_text(json.dumps(dict(sorted(studio.captions.items())), indent=2) + "\n")
        tell(f"{name}.png: {length / 1000:.0f} kB in {time.monotonic() - begin:.0f} s")
        too_large += [name] * (length > LARGEST)
    total = sum(file.stat().st_size for file in options.out.glob("*.png"))
    tell(f"{total / 1e6:.1f} MB in all")
    if too_large or total > LARGEST_OF_ALL:
        sys.exit(f"too large: {', '.join(too_large) or 'all together'}")


if __name__ == "__main__":
    main()
