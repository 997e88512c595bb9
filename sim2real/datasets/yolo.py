"""YOLO: a text file of boxes, outlines or key points for each image."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final, NamedTuple

import numpy as np
import yaml
from numpy.typing import NDArray

from sim2real.datasets.base import Frame, Match, Role, Tree
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import Box, Boxes, Instances, Label, Segmentation, read_rows
from sim2real.datasets.layout import FolderLayout
from sim2real.datasets.masks import draw, fill_polygon
from sim2real.datasets.readers import read_head, remembered, telling
from sim2real.datasets.resizing import KEEP
from sim2real.errors import DatasetError
from sim2real.imageio import is_image, read_header

_LOOKED_AT: Final = 256
_READ: Final = 16
_IN_IMAGES: Final = re.compile(r"(?P<above>(?:.*/)?)images(?P<below>(?:/.*)?)", re.IGNORECASE)
_SHEET: Final = re.compile(r"[^.].*\.ya?ml", re.IGNORECASE)
_LIST: Final = re.compile(r"[^.].*\.names|classes\.txt|labels\.txt|_darknet\.labels", re.IGNORECASE)


class Yolo(FolderLayout):
    """YOLO: images/train/0001.jpg with labels/train/0001.txt, train/images with train/labels, or both in one folder.

    The label of an image lies where the last ``images`` in its path reads ``labels``, or beside it if there is none. A
    row is ``class x y w h`` (centre and size), ``class x1 y1 x2 y2 ...`` (an outline), or a box and key points, all as
    shares of the width and the height (ultralytics/ultralytics, data/utils.py, and its pages on dataset formats).
    """

    name = "yolo"
    rule = "images with text files of their names, whose rows are those of YOLO"
    resizing = ((r"\.(?:txt|ya?ml|names|data)$|_darknet\.labels$", KEEP),)  # numbers are shares of the image's size
    roles = (
        (r"\.cache$|\.npy$|(?:^|/)(?:train|val)_batch\d+(?:_labels|_pred)?\.jpg$", Role.STALE),
        (r"(?:^|/)(?:classes|labels|train|val|valid|test)\.txt$|\.ya?ml$|\.names$|\.data$|_darknet\.labels$", Role.AUX),
        (r"(?:^|/)labels/.+\.txt$", Role.LABEL),
    )
    stale = (
        (r"\.cache$", "what a loader remembers of files and their sizes"),
        (r"\.npy$", "decoded pixels that ultralytics keeps beside the images"),
    )
    knows_images = False
    sparse = ("boxes", "segmentation", "instance")  # an image without a file shows background alone
    facts = Facts(
        title="YOLO",
        about="The layout in which ultralytics, Darknet and most labelling tools (CVAT, Roboflow, Label Studio) keep "
        "objects: a text file for each image, whose numbers are shares of the image's size.",
        size="Any; an image without a text file shows background alone.",
        get="As *YOLO* from the tool in which your data was labelled, or from the script that renders it.",
        tree="data.yaml                                      # names of the classes\n"
        "images/train/0001.jpg                          # or train/images/0001.jpg\n"
        "labels/train/0001.txt                          # or train/labels/0001.txt\n"
        "obj_train_data/0001.{jpg,txt}                  # Darknet: side by side, with obj.names",
        labels={
            "boxes": "pixels; those around an outline where the rows tell outlines",
            "segmentation": "of rows that tell outlines, the smaller over the larger",
            "instance": "of rows that tell outlines: the number of the row, from 0",
        },
        licence="that of your own data",
        irregularities=(
            "An absolute `path:` in `data.yaml` leads a training with the copy back to the old images: edit it there.",
            "`.npy` files beside images cache the old pixels, and ultralytics reads them first: delete the copies.",
            "ultralytics repairs damaged JPEGs in place: never link images of two folders to each other.",
            "Rows of 9 numbers tell rotated boxes or outlines of 4 corners: if all rows are such, no masks are drawn.",
        ),
    )

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Text files of the images' names, and a class and shares in the first of them that is not empty."""
        if next(_filled(tree), None) is None:
            return None
        return Match(cls.rule, sum(1 for _ in _pairs(tree)))

    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Every image in or below a folder ``images``, or in a folder with text files, with the rows of its name."""
        kinds = ("boxes", "segmentation", "instance") if _has_outlines(tree) else ("boxes",)
        for image, text in _pairs(tree):
            folder, _, name = image.rpartition("/")
            number = int(re.sub(r"\D", "", name.rpartition(".")[0]) or 0)
            yield Frame(image, sequence=folder, index=number, labels=dict.fromkeys(kinds, text))

    def warnings(self, tree: Tree) -> Iterator[str]:
        """What leads a training with the copy back to the old pixels."""
        for path in _sheets(tree):
            sheet = _read_sheet(tree.root / path)
            for place in (sheet.get(key) for key in ("path", "train", "val", "test")):
                if isinstance(place, str) and (PurePosixPath(place).is_absolute() or PureWindowsPath(place).drive):
                    yield f"{path} names {place}: a training with the copy would read that; edit it in the copy"
        if pixels := [path for image, _ in _pairs(tree) if (path := tree.at(f"{image.rpartition('.')[0]}.npy"))]:
            yield (
                f"{len(pixels)} .npy files beside images hold the old pixels, which ultralytics reads in their place: "
                f"delete them in the copy, e.g. {pixels[0]}"
            )

    def load_label(self, frame: Frame, kind: str) -> Label:
        """Decode one label."""
        image, path = self.root / frame.image, self.root / frame.labels[kind]
        names, pointed = _classes(image.parent, path.parent, self.root)
        header = read_header(image)
        size = (header.width, header.height)
        objects = _read_objects(path, size, pointed=pointed)
        if kind == "boxes":
            return Boxes(tuple(thing.box(names) for thing in objects))
        outlines = [(n, thing, fill_polygon(thing.corners, size)) for n, thing in enumerate(objects) if thing.outlined]
        if kind == "instance":
            return Instances(draw(((n, mask) for n, _, mask in outlines), size))
        return Segmentation(draw(((thing.label, mask) for _, thing, mask in outlines), size), names)


class _Object(NamedTuple):
    """One row: the class, corners (N, 2) in pixels, and whether these are an outline, or two corners of a box."""

    label: int
    corners: NDArray[np.float64]
    outlined: bool

    def box(self, names: Mapping[int, str]) -> Box:
        (left, top), (right, bottom) = self.corners.min(axis=0).tolist(), self.corners.max(axis=0).tolist()
        return Box(names.get(self.label, str(self.label)), left, top, right, bottom)


def _read_objects(path: Path, size: tuple[int, int], *, pointed: bool) -> list[_Object]:
    objects = []
    for number, row in read_rows(path):
        with telling(path, f"line {number} tells of no object"):
            label, corners = int(float(row[0])), _corners(row[1:], pointed=pointed)
            objects.append(_Object(label, corners * size, outlined=len(corners) > 2))
    return objects


def _corners(row: list[str], *, pointed: bool) -> NDArray[np.float64]:
    """The corners (N, 2) of an outline, or two of a box, as shares."""
    values = np.array(row, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("its numbers are not finite")
    if len(values) > 5 and not pointed:
        return values.reshape(-1, 2)
    x, y, width, height = values[:4].tolist()
    return np.array([(x - width / 2, y - height / 2), (x + width / 2, y + height / 2)])


def _pairs(tree: Tree) -> Iterator[tuple[str, str]]:
    """The paths of the images, and of their rows, empty where there are none."""
    for folder in ("", *tree.folders):
        images = [name for name in tree.names(folder) if is_image(name)]
        if not images:
            continue
        inside = _IN_IMAGES.fullmatch(folder)
        rows = tree.by_frame(
            tree.folder(f"{inside['above']}labels{inside['below']}") if inside else folder, r"(?P<frame>.+)\.txt"
        )
        texts = [rows.get(name.rpartition(".")[0], "") for name in images]
        if inside or any(texts):
            prefix = f"{folder}/" if folder else ""
            yield from zip((prefix + name for name in images), texts, strict=True)


def _filled(tree: Tree) -> Iterator[str]:
    """The first files of rows that are not empty, up to one that holds something else."""
    for text in islice((text for _, text in _pairs(tree) if text), _LOOKED_AT):
        first = read_head(tree.root / text).decode("utf-8-sig", errors="replace").strip().partition("\n")[0]
        if first and not _is_row(first):
            return
        if first:
            yield text


def _is_row(line: str) -> bool:
    """Whether a line is a class and four shares or more; ultralytics allows for 1 % outside of the image."""
    try:
        label, *shares = map(float, line.split())
    except ValueError:
        return False
    return label >= 0 and label.is_integer() and len(shares) >= 4 and all(-0.01 <= share <= 1.01 for share in shares)


def _has_outlines(tree: Tree) -> bool:
    """Whether the rows tell outlines, as far as some of them show: no boxes alone, no key points, no rotated boxes."""
    if any("kpt_shape" in _read_sheet(tree.root / path) for path in _sheets(tree)):
        return False
    lengths = {len(row) for text in islice(_filled(tree), _READ) for _, row in read_rows(tree.root / text)}
    return any(length > 6 for length in lengths) and lengths != {9}


def _sheets(tree: Tree) -> list[str]:
    """The descriptions, such as ``data.yaml``, in the folders around the images."""
    folders = {image.rpartition("/")[0] for image, _ in _pairs(tree)}
    around = {
        parent.as_posix() for folder in folders for parent in (PurePosixPath(folder), *PurePosixPath(folder).parents)
    }
    prefixes = sorted("" if folder == "." else f"{folder}/" for folder in around)
    return [prefix + name for prefix in prefixes for name in tree.names(prefix[:-1]) if _SHEET.fullmatch(name)]


@remembered(16)
def _read_sheet(path: Path) -> Mapping[str, Any]:
    """What a description says; nothing if it has no names of classes, so that it is that of something else."""
    try:
        text = path.read_text("utf-8-sig")
        sheet = yaml.safe_load(text) if re.search(r"^names\s*:", text, re.MULTILINE) else {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        message = f"{path}: cannot be read as YAML: {' '.join(str(error).split())}"
        raise DatasetError(message) from error
    return sheet if isinstance(sheet, dict) else {}


@lru_cache(maxsize=64)
def _classes(images: Path, labels: Path, root: Path) -> tuple[Mapping[int, str], bool]:
    """The names of the classes, from the nearest file around images that tells them, and whether rows end in points."""
    for folder in (labels, images, *images.parents):
        for path in sorted(folder.iterdir()):
            with telling(path, "cannot be read as a list of classes"):
                if _SHEET.fullmatch(path.name) and (sheet := _read_sheet(path)):
                    names = sheet["names"]
                    numbered = names.items() if isinstance(names, dict) else enumerate(names)
                    return {int(number): str(name) for number, name in numbered}, "kpt_shape" in sheet
                if _LIST.fullmatch(path.name):
                    return dict(enumerate(path.read_text("utf-8-sig").splitlines())), False
        if folder == root:
            break
    return {}, False
