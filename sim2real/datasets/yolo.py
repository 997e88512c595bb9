"""YOLO: a text file of boxes, outlines or keypoints for each image."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray

from sim2real.datasets.base import Frame, Match, Role, Tree
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import Box, Boxes, Instances, Label, Segmentation, decode_text, read_rows, read_text
from sim2real.datasets.layout import FolderLayout
from sim2real.datasets.masks import fill_polygon, paint
from sim2real.datasets.partners import evenly
from sim2real.datasets.readers import errors_in, is_elsewhere, per_tree, read_head, remembered, size_of
from sim2real.datasets.resizing import KEEP
from sim2real.errors import DatasetError
from sim2real.imageio import is_image

_LOOKED_AT: Final = 256
_READ: Final = 64
_CHECKED: Final = 20_000
_SLACK: Final = 0.01  # the tolerance of ultralytics
_LONGEST: Final = 1 << 24
_LAST_CLASS: Final = 2**31 - 1
_PLACES: Final = frozenset({"path", "train", "val", "test", "nc"})
_IN_IMAGES: Final = re.compile(r"(?P<above>(?:.*/)?)images(?P<below>(?:/.*)?)", re.IGNORECASE)
_SHEET: Final = re.compile(r"[^.].*\.ya?ml", re.IGNORECASE)
_LIST: Final = re.compile(r"[^.].*\.names|classes\.txt|labels\.txt|_darknet\.labels", re.IGNORECASE)


class Yolo(FolderLayout):
    """YOLO: images/train/0001.jpg with labels/train/0001.txt, train/images with train/labels, or both in one folder.

    The path of a label is that of its image with the last ``images`` replaced by ``labels``; if there is no ``images``,
    the label lies next to the image. A row is ``class x y w h`` (centre and size), ``class x1 y1 x2 y2 ...`` (an
    outline), or a box followed by keypoints, all as fractions of the width and the height (ultralytics/ultralytics,
    data/utils.py, and its documentation of dataset formats).
    """

    name = "yolo"
    rule = "images with text files of the same names that have rows in YOLO's format"
    ordered = False
    resizing = ((r"\.(?:txt|ya?ml|names|data)$|_darknet\.labels$", KEEP),)  # numbers are fractions of the image size
    roles = (
        (r"\.cache$|\.npy$|(?:^|/)(?:train|val)_batch\d+(?:_labels|_pred)?\.jpg$", Role.STALE),
        (r"(?:^|/)(?:classes|labels|train|val|valid|test)\.txt$|\.ya?ml$|\.names$|\.data$|_darknet\.labels$", Role.AUX),
        (r"(?:^|/)labels/.+\.txt$", Role.LABEL),
    )
    stale = (
        (r"\.cache$", "a loader's cache of files and their sizes"),
        (r"\.npy$", "decoded pixels that ultralytics caches next to the images"),
    )
    knows_images = False
    sparse = ("boxes", "segmentation", "instance")  # an image without a file shows only background
    facts = Facts(
        title="YOLO",
        about="The layout in which ultralytics, Darknet and most labelling tools (CVAT, Roboflow, Label Studio) store "
        "objects: a text file for each image, with coordinates as fractions of the image size.",
        size="Any; an image without a text file shows only background.",
        get="An export as *YOLO* from your labelling tool, or the output of your rendering script.",
        tree="data.yaml                                      # names of the classes\n"
        "images/train/0001.jpg                          # or train/images/0001.jpg\n"
        "labels/train/0001.txt                          # or train/labels/0001.txt\n"
        "obj_train_data/0001.{jpg,txt}                  # Darknet: side by side, with obj.names",
        labels={
            "boxes": "pixels; for outlines, the boxes around them",
            "segmentation": "masks of the outlines, smaller ones over larger ones",
            "instance": "masks of the outlines; the id is the number of the row, from 0",
        },
        licence="your own",
        irregularities=(
            "If `data.yaml` has an absolute `path:`, a training on the copy reads the old images: edit it in the copy.",
            "`.npy` files next to images cache the old pixels, and ultralytics prefers them: delete the copies.",
            "ultralytics repairs damaged JPEGs in place: never link images of two folders to each other.",
            "Of several YAML files with class names, `data.yaml` takes precedence, then one with image folders.",
            "Coordinates outside of 0 to 1 are read unchanged and reported; many loaders skip these images.",
            "Keypoints are recognised by `kpt_shape`, or by a mark 0, 1 or 2 after each; only boxes are decoded.",
            "Rows of 9 numbers are rotated boxes or outlines of 4 corners: if all rows have 9, no masks are made.",
        ),
    )

    _shape: Literal["boxes", "points", "outlines"] = "boxes"

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Match text files with the names of images; half of a sample or more must begin with a valid row."""
        lines = list(filter(None, map(partial(_first_line, tree), _sample(tree, _LOOKED_AT))))
        if not lines or 2 * sum(map(is_row, lines)) < len(lines):
            return None
        return Match(cls.rule, len(_pairs(tree)))

    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Yield every image below a folder ``images``, or in a folder with text files, with the file of its name."""
        self._shape = _shape_of(tree)
        kinds = ("boxes", "segmentation", "instance") if self._shape == "outlines" else ("boxes",)
        for image, text in _pairs(tree):
            folder, _, name = image.rpartition("/")
            number = int(re.sub(r"\D", "", name.rpartition(".")[0]) or 0)
            yield Frame(image, sequence=folder, index=number, labels=dict.fromkeys(kinds, text))

    def warnings(self, tree: Tree) -> Iterator[str]:
        """Warn about paths and caches that lead back to the old pixels, conflicting class names, and odd rows."""
        for path in _sheets(tree):
            sheet = _read_sheet(tree.root / path)
            for place in (sheet.get(key) for key in ("path", "train", "val", "test")):
                if isinstance(place, str) and is_elsewhere(place):
                    yield f"{path} names {place}: a training with the copy would read that; edit it in the copy"
        yield from _rivals(tree)
        yield from _odd_rows(tree, _shape_of(tree))
        if pixels := [path for image, _ in _pairs(tree) if (path := tree.at(f"{image.rpartition('.')[0]}.npy"))]:
            yield (
                f"{len(pixels)} .npy files next to images hold the old pixels, which ultralytics reads instead: "
                f"delete them in the copy, e.g. {pixels[0]}"
            )

    def load_label(self, frame: Frame, kind: str) -> Label:
        """Decode one label."""
        image, path = self.root / frame.image, self.root / frame.labels[kind]
        names, pointed = _classes(image.parent, path.parent, self.root)
        size = size_of(image)
        objects = _read_objects(path, size, pointed=pointed or self._shape == "points")
        if kind == "boxes":
            return Boxes(tuple(thing.box(names) for thing in objects))
        outlines = [(n, thing, fill_polygon(thing.corners, size)) for n, thing in enumerate(objects) if thing.outlined]
        if kind == "instance":
            return Instances(paint(((n, mask) for n, _, mask in outlines), size))
        return Segmentation(paint(((thing.label, mask) for _, thing, mask in outlines), size), names)


class _Object(NamedTuple):
    """One row: the class, the corners (N, 2) in pixels, and whether they are an outline or two corners of a box."""

    label: int
    corners: NDArray[np.float64]
    outlined: bool

    def box(self, names: Mapping[int, str]) -> Box:
        (left, top), (right, bottom) = self.corners.min(axis=0).tolist(), self.corners.max(axis=0).tolist()
        return Box(names.get(self.label, str(self.label)), left, top, right, bottom)


def _read_objects(path: Path, size: tuple[int, int], *, pointed: bool) -> list[_Object]:
    objects = []
    for number, row in read_rows(path):
        with errors_in(path, f"line {number} does not describe an object"), np.errstate(over="ignore"):
            label, corners = int(float(row[0])), _corners(row[1:], pointed=pointed)
            if not 0 <= label <= _LAST_CLASS:
                raise ValueError(f"{row[0]} is not a class number")
            objects.append(_Object(label, corners * size, outlined=len(corners) > 2))
    return objects


def _corners(row: list[str], *, pointed: bool) -> NDArray[np.float64]:
    """Return the corners (N, 2) of an outline, or two corners of a box, as fractions."""
    values = np.array(row, np.float64)
    if len(values) > 5 and not pointed:
        return values.reshape(-1, 2)
    x, y, width, height = values[:4].tolist()
    return np.array([(x - width / 2, y - height / 2), (x + width / 2, y + height / 2)])


@per_tree
def _pairs(tree: Tree) -> list[tuple[str, str]]:
    """Return the paths of the images and of their text files, empty if missing."""
    pairs: list[tuple[str, str]] = []
    for folder in ("", *tree.folders):
        images = list(filter(is_image, tree.paths(folder)))
        if not images:
            continue
        inside = _IN_IMAGES.fullmatch(folder)
        rows = tree.by_frame(
            tree.folder(f"{inside['above']}labels{inside['below']}") if inside else folder, r"(?P<frame>.+)\.txt"
        )
        texts = [rows.get(image.rpartition("/")[2].rpartition(".")[0], "") for image in images]
        if inside or any(texts):
            pairs += zip(images, texts, strict=True)
    return pairs


def _sample(tree: Tree, most: int) -> Sequence[str]:
    """Return a sample of the text files, spread over the dataset."""
    return evenly([text for _, text in _pairs(tree) if text], most)


def _first_line(tree: Tree, text: str) -> str:
    head = read_head(tree.root / text).decode("utf-8-sig", errors="replace")
    return head.strip().partition("\n")[0]


def is_row(line: str) -> bool:
    """Return whether a line is a class and at least four fractions, possibly with visibility marks of keypoints.

    Some tools let boxes and outlines extend slightly beyond the image; pixel coordinates are larger.
    """
    try:
        label, *shares = map(float, line.split())
    except ValueError:
        return False
    if not _are_marks(marks := shares[6::3]) or (len(shares) - 4) % 3:
        marks = []
    places = [share for n, share in enumerate(shares) if not marks or n < 4 or n % 3 != 0]
    return label >= 0 and label.is_integer() and len(shares) >= 4 and all(-0.5 <= share <= 1.5 for share in places)


def _are_marks(marks: Iterable[float]) -> bool:
    """Return whether all numbers are visibility marks of keypoints: not labelled, hidden or visible."""
    return {0.0, 1.0, 2.0}.issuperset(marks)


def _shape_of(tree: Tree) -> Literal["boxes", "points", "outlines"]:
    """Return the kind of rows, judged by a sample: outlines, or boxes, which may be rotated or have keypoints."""
    if any("kpt_shape" in _read_sheet(tree.root / path) for path in _sheets(tree)):
        return "points"
    rows = [row[1:] for text in _sample(tree, _READ) for _, row in _readable(tree.root / text)]
    lengths = {len(row) for row in rows}
    if max(lengths, default=0) <= 5 or lengths == {8}:
        return "boxes"
    if len(lengths) == 1 and (max(lengths) - 4) % 3 == 0:
        marks = {mark for row in rows for mark in map(_number, row[6::3])}
        if _are_marks(marks) and (2 in marks or max(lengths) % 2):  # an outline has neither
            return "points"
    return "outlines"


def _readable(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        yield from read_rows(path)
    except DatasetError:  # reported when the label is loaded
        return


def _number(word: str) -> float:
    """Parse a number; return NaN if that fails."""
    try:
        return float(word)
    except ValueError:
        return math.nan


def _odd_rows(tree: Tree, shape: str) -> Iterator[str]:
    """Warn about rows that extend beyond the image and lines that are not rows."""
    texts = _sample(tree, _CHECKED)
    outside, files, damaged = list[str](), set[str](), dict[str, str]()
    for text in texts:
        try:
            for number, (label, *words) in read_rows(tree.root / text):
                shares = list(map(_number, words))
                if math.isnan(_number(label)) or len(shares) < 4 or any(map(math.isnan, shares)):
                    damaged.setdefault(text, f"{text}, line {number}")
                places = [share for n, share in enumerate(shares) if shape != "points" or n < 4 or n % 3]
                if far := [share for share in places if not -_SLACK <= share <= 1 + _SLACK and math.isfinite(share)]:
                    outside.append(f"{text}, line {number}: {far[0]:g}")
                    files.add(text)
        except DatasetError:
            damaged.setdefault(text, text)
    if outside:
        yield (
            f"{len(outside)} rows in {len(files)} of {len(texts)} text files have numbers outside of 0 to 1, e.g. "
            f"{outside[0]}; they are read unchanged, but many loaders skip these images"
        )
    if damaged:
        yield (
            f"{len(damaged)} of {len(texts)} text files have lines that are not YOLO rows, e.g. "
            f"{next(iter(damaged.values()))}"
        )


def _sheets(tree: Tree) -> list[str]:
    """Return the dataset descriptions, e.g. ``data.yaml``, in the folders of the images and their parents."""
    folders = {image.rpartition("/")[0] for image, _ in _pairs(tree)}
    around = {
        parent.as_posix() for folder in folders for parent in (PurePosixPath(folder), *PurePosixPath(folder).parents)
    }
    prefixes = sorted("" if folder == "." else f"{folder}/" for folder in around)
    return [prefix + name for prefix in prefixes for name in tree.names(prefix[:-1]) if _SHEET.fullmatch(name)]


def _rivals(tree: Tree) -> Iterator[str]:
    """Warn about descriptions that name other classes than the one that takes precedence in their folder."""
    by_folder: dict[str, list[str]] = defaultdict(list)
    for path in _sheets(tree):
        by_folder[path.rpartition("/")[0]].append(path)
    for paths in by_folder.values():
        first, *others = sorted((tree.root / path for path in paths), key=_rank)
        names = _read_sheet(first).get("names")
        if different := [path for path in others if _read_sheet(path).get("names", names) != names]:
            yield (
                f"{different[0].relative_to(tree.root).as_posix()} names other classes than "
                f"{first.relative_to(tree.root).as_posix()}, which takes precedence"
            )


def _rank(path: Path) -> tuple[int, str]:
    """Return the sort key of a description: usual names come first, then descriptions with image folders."""
    sheet = _read_sheet(path)
    usual = path.stem.lower() in {"data", "dataset"}
    return (3 if not sheet else 0 if usual else 1 if _PLACES & sheet.keys() else 2), path.name


@remembered(64)
def _read_sheet(path: Path) -> Mapping[str, Any]:
    """Return the contents of a description; empty without class names, as it then describes something else."""
    if not re.search(rb"^\s*names\s*:", data := read_head(path, _LONGEST), re.MULTILINE):
        return {}
    with errors_in(path, "cannot be read as YAML"):
        text = decode_text(data)
        try:
            sheet = yaml.safe_load(text) if re.search(r"^names\s*:", text, re.MULTILINE) else {}
        except yaml.YAMLError as error:
            raise ValueError(" ".join(str(error).split())) from error
    return sheet if isinstance(sheet, dict) and "names" in sheet else {}


@lru_cache(maxsize=64)
def _classes(images: Path, labels: Path, root: Path) -> tuple[Mapping[int, str], bool]:
    """Return the class names from the nearest file that lists them, and whether rows end in keypoints."""
    for folder in (labels, images, *images.parents):
        files = sorted(folder.iterdir())
        for path in sorted((path for path in files if _SHEET.fullmatch(path.name)), key=_rank):
            if sheet := _read_sheet(path):
                with errors_in(path, "cannot be read as a list of classes"):
                    names = sheet["names"]
                    numbered = names.items() if isinstance(names, dict) else enumerate(names)
                    return {int(number): str(name) for number, name in numbered}, "kpt_shape" in sheet
        for path in (path for path in files if _LIST.fullmatch(path.name)):
            return dict(enumerate(read_text(path).splitlines())), False
        if folder == root:
            break
    return {}, False
