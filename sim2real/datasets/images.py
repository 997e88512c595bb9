"""Any folder of images, as the last resort."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

import numpy as np

from sim2real.datasets.base import Frame, Match, Role, Tree
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import Label
from sim2real.errors import DatasetError, ImageError
from sim2real.imageio import Header, is_image, read_header, read_rgb

_COLOUR_CODED: Final = re.compile(
    r"(.*/)?(classgt_\d+\.png|\w+_gt(Fine|Coarse)_color\.png|(semantic_rgb|viz_\w+|vkitti_[\d.]+_scenegt)/.*"
    r"|(GT/COLOR|colormaps|color_labels|SegmentationClassVisualization)/.*)",
    re.IGNORECASE,
)
_METADATA: Final = r"(?:^|/)metadata\.(?:csv|jsonl|parquet)$"
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_LABEL_WORDS: Final = frozenset(
    (
        *("depth", "depths", "distance", "disparity", "disp", "flow", "normal", "normals", "semantic", "semantics"),
        *("semseg", "seg", "segs", "segmentation", "segmentations", "ss", "instance", "instances", "panoptic"),
        *("mask", "masks", "label", "labels", "annotation", "annotations", "bev", "depthvis", "depthmap", "segmap"),
    )
)
_OTHER_WORDS: Final = frozenset(
    (
        *("rgb", "color", "colors", "colour", "image", "images", "img", "imgs", "photo", "photos", "picture", "frame"),
        *(
            "frames",
            "jpeg",
            "jpg",
            "png",
            "lit",
            "render",
            "rendered",
            "renders",
            "final",
            "optical",
            "object",
            "class",
        ),
        *("id", "ids", "map", "maps", "raw", "vis", "gt", "scene", "camera", "cam", "input", "orig", "original", "sat"),
    )
)
_COPIES: Final = re.compile(r"(?:^|/)(?:\.[^/]+|@eaDir)/")
_FEW_COLOURS: Final = 256
_GROUPS: Final = 64
_SAMPLED_PIXELS: Final = 2**16


class Images:
    """Any folder of images: each photo is a frame without labels, and everything else is carried.

    Images that are no photos are set aside. An image whose path has a word such as depth or mask is a label if another
    one has the same path but for that word, and such as rgb or image: ``depth/01.png`` beside ``rgb/01.jpg``. Images in
    hidden folders are thumbnails and the like. Those named as the colour-coded labels of known datasets are never taken
    for photos. The header of each other PNG is read: palette images, and those that have not 8 bits a
    channel, are labels. Of PNGs whose paths differ in digits alone, two are decoded, for the 64 largest such groups:
    one with fewer than 256 colours is a colour-coded label, one of a single channel is a label. These last two are only
    guesses, so they count only if images remain without them.

    Hugging Face's image folders are such: classes by folder, ``metadata.csv`` or ``.jsonl`` with what is told of
    each ``file_name`` (huggingface/datasets, docs/source/image_dataset.mdx).
    """

    name: ClassVar = "images"
    stale: ClassVar = ((_METADATA, "captions, if it has any"),)
    facts: ClassVar = Facts(
        title="Any folder of images",
        about=(
            "Each photo below the folder is a frame; everything else is carried. It is the last resort, when no other "
            "layout fits."
        ),
        size="Any.",
        get="One's own.",
        tree=(
            "any/depth/name.{jpg,jpeg,png,bmp,tif,tiff,webp,ppm}\n"
            "metadata.{csv,jsonl,parquet}                   # of a Hugging Face image folder\n"
            "whatever/else.txt"
        ),
        licence="your own",
        irregularities=(
            (
                "An image is a label if its name or its folder's says so (depth, mask, ...) and there is another one "
                "of the same name without that word: `depth/01.png` beside `rgb/01.jpg`. Images in hidden folders are "
                "carried unchanged."
            ),
            (
                "PNGs that are palette images, or have not 8 bits a channel, are labels. PNGs of one channel, or of "
                "fewer than 256 colours, are taken for labels too if other images remain; `inspect` tells how many, "
                "and why."
            ),
            "Other JPEG masks cannot be told from photos: leave their folder out with `--exclude`.",
            (
                "Labels in a layout of one's own come along unchanged. To have them checked and shown, write an "
                "adapter: it takes about 40 lines, see CONTRIBUTING.md."
            ),
        ),
        folder="photos",
    )

    def __init__(self, root: Path) -> None:
        self.root = root
        self._aside: _SetAside | None = None

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """One image file is enough."""
        images = sum(1 for path in tree if is_image(path))
        return Match("a folder with images", images) if images else None

    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Every image that is not set aside."""
        aside = self._look(tree)
        images = (path for path in tree if is_image(path) and path not in aside.roles)
        for index, path in enumerate(images):
            yield Frame(path, sequence=path.rpartition("/")[0], index=index)

    def role(self, path: str) -> Role | None:
        """Role of what :meth:`frames` has set aside, and of tables about the images."""
        if re.search(_METADATA, path, re.IGNORECASE):
            return Role.AUX
        return self._aside.roles.get(path) if self._aside else None

    def warnings(self, tree: Tree) -> Iterator[str]:
        """How many images were set aside, and why; what looks like labels all the same."""
        aside = self._look(tree)
        for reason, count in aside.reasons.items():
            yield f"{count} images are carried unchanged: {reason}"
        if named := [frame.image for frame in self.frames(tree) if _has_label_word(frame.image)]:
            yield (
                f"{len(named)} images are taken for photos, though their names tell of labels, e.g. {named[0]}; if "
                "they are, leave them out with --exclude"
            )
        if aside.doubtful:
            yield f"all images have {aside.doubtful}; if they are labels, do not convert them"

    def load_label(self, frame: Frame, kind: str) -> Label:
        """There are no labels in this layout."""
        message = f"{frame.image}: no label '{kind}'; folders of images alone have none"
        raise DatasetError(message)

    def _look(self, tree: Tree) -> "_SetAside":
        if self._aside is None:
            self._aside = _set_aside(tree)
        return self._aside


@dataclass(slots=True)
class _SetAside:
    """Images that are no photos: their roles, how many for which reason, and a doubt that was not followed."""

    roles: dict[str, Role] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    doubtful: str = ""

    def add(self, paths: list[str], role: Role, reason: str) -> None:
        if paths:
            self.roles.update(dict.fromkeys(paths, role))
            self.reasons[reason] += len(paths)


def _set_aside(tree: Tree) -> _SetAside:
    aside = _SetAside()
    images = list(filter(is_image, tree))
    aside.add(list(filter(_COPIES.search, images)), Role.STALE, "in hidden folders, as thumbnails are")
    coded = list(filter(_COLOUR_CODED.fullmatch, images))
    aside.add(coded, Role.PSEUDO, "named as the colour-coded labels of known datasets are")
    images = [path for path in images if path not in aside.roles]
    aside.add(labels_by_name(images), Role.LABEL, "named as labels of other images are")
    groups: dict[tuple[str, bool], list[str]] = {}
    others = 0
    for path in (path for path in images if path not in aside.roles):
        header = _png_header(tree.root / path) if path.lower().endswith(".png") else None
        if header is None:
            others += 1
        elif header.palette:
            aside.add([path], Role.LABEL, "palette images")
        elif header.bits != 8:
            aside.add([path], Role.LABEL, f"{header.bits} bits a channel")
        else:
            groups.setdefault((re.sub(r"\d+", "#", path), header.channels < 3), []).append(path)
    doubts = list(_doubts(tree.root, groups))
    if others or len(doubts) < len(groups):
        for doubt in doubts:
            aside.add(*doubt)
    elif doubts and all(role is Role.PSEUDO for _, role, _ in doubts):
        aside.doubtful = doubts[0][2]
    return aside


def _words(path: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(path.rpartition(".")[0])]


def _has_label_word(path: str) -> bool:
    return not _LABEL_WORDS.isdisjoint(_words(path))


def labels_by_name(paths: Iterable[str]) -> list[str]:
    """The images named as labels of others: with a word of labels, beside one of the same words but for such words."""
    labels: dict[str, str] = {}
    photos = set()
    for path in paths:
        words = _words(path)
        own = " ".join(word for word in words if word not in _LABEL_WORDS and word not in _OTHER_WORDS)
        if _LABEL_WORDS.isdisjoint(words):
            photos.add(own)
        else:
            labels[path] = own
    return [path for path, own in labels.items() if own in photos]


def _png_header(path: Path) -> Header | None:
    """The header of a PNG; None of a damaged one: whoever decodes it will say so."""
    try:
        return read_header(path)
    except ImageError:
        return None


def _doubts(root: Path, groups: Mapping[tuple[str, bool], list[str]]) -> Iterator[tuple[list[str], Role, str]]:
    """The groups, by shape of path and whether they are grey, that may be labels, and why."""
    for rank, ((_, grey), paths) in enumerate(sorted(groups.items(), key=lambda group: -len(group[1]))):
        if rank < _GROUPS and _has_few_colours(root, paths):
            yield paths, Role.PSEUDO, f"fewer than {_FEW_COLOURS} colours"
        elif grey:
            yield paths, Role.LABEL, "one channel"


def _has_few_colours(root: Path, paths: list[str]) -> bool:
    return all(_is_flat(root / path) for path in {paths[0], paths[len(paths) // 2]})


def _is_flat(path: Path) -> bool:
    try:
        rgb = read_rgb(path)
    except ImageError:
        return False
    step = max(1, round((rgb.shape[0] * rgb.shape[1] / _SAMPLED_PIXELS) ** 0.5))
    sample = rgb[::step, ::step].reshape(-1, 3).astype(np.int32)
    colours = np.unique(sample @ np.array([1 << 16, 1 << 8, 1], dtype=np.int32))
    return len(colours) < min(_FEW_COLOURS, len(sample) / 16)
