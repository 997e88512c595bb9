"""COCO: JSON files that name images and contain their labels or name the files of their labels."""

import re
import sys
import unicodedata
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import unquote

import numpy as np

from sim2real.datasets.base import Adapter, Frame, Match, Role, Tree, shared_start
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import NOTHING, Box, Boxes, Instances, Label, Segmentation
from sim2real.datasets.largejson import Places, read_elements
from sim2real.datasets.masks import Mask, decode_runs, fill_polygon, paint
from sim2real.datasets.readers import (
    as_id,
    errors_in,
    per_tree,
    read_head,
    read_packed_ids,
    remembered,
    renumbered,
    size_of,
    whole_size,
)
from sim2real.datasets.resizing import NEAREST, Resizing
from sim2real.datasets.resizing_documents import COCO
from sim2real.imageio import is_image

_FEW: Final = 64
_SURE: Final = (1 << 30,)
_UNSURE: Final = -1
_NAMED: Final = re.compile(r"coco|instances|panoptic|keypoints|stuff|captions|image_info", re.IGNORECASE)
_OWN: Final = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{.*?"(?:images|annotations|categories|licenses)"\s*:\s*\[', re.DOTALL)
_MASKS: Final = re.compile(
    r"(?:^|[/_-])(?:panoptic|pixelmaps?|stuff|masks?|labels?|seg\w*|instances?|depth|(?:normals?|flow)(?![a-z]))",
    re.IGNORECASE,
)

_Id = int | str
_Categories = Mapping[_Id, Mapping[str, Any]]


class Coco(Adapter):
    """COCO: annotations/instances_train2017.json with train2017/000000000009.jpg, or all in one folder.

    Boxes are x, y, width and height in pixels, from the outer corner of the top left pixel. Masks are polygons or run
    lengths. A panoptic PNG holds ids as R + 256 G + 65536 B (cocodataset.org, format-data). The images are those that
    the JSON file names: first relative to its parent folders, then by the ends of their paths. Of several candidates,
    the one that matches the folders and the name of the JSON file best is taken.
    """

    name: ClassVar[str] = "coco"
    counted: ClassVar[bool] = True
    ordered: ClassVar[bool] = False
    rule: ClassVar[str] = "a JSON file in COCO's format, and the images that it names"
    by_replicator: ClassVar[bool] = False
    resizing: ClassVar[Resizing] = (
        (r"\.json$", COCO),
        (r"(?:^|[/_-])(?:panoptic|pixelmaps?|stuff|masks?|labels?|seg\w*|instances?)[^/]*(?:/.*)?\.png$", NEAREST),
    )
    sparse: ClassVar[Collection[str]] = ("boxes", "segmentation", "instance")
    stale: ClassVar[Sequence[tuple[str, str]]] = ((r"(?:^|/)captions_[^/]*\.json$", "captions of the old images"),)
    facts: ClassVar[Facts] = Facts(
        title="COCO",
        about="The layout of Common Objects in Context, also exported by labelling tools (CVAT, Label Studio, "
        "Roboflow) and simulators (BlenderProc, BOP): JSON files that name the images and hold their boxes and masks.",
        size="COCO 2017: 118,287 + 5000 + 40,670 JPEGs of about 640x480, 25 GB.",
        get="[cocodataset.org](https://cocodataset.org/#download), or an export as *COCO* from your labelling tool.",
        tree="annotations/instances_train2017.json\n"
        "annotations/panoptic_train2017.json\n"
        "annotations/panoptic_train2017/000000000009.png\n"
        "train2017/000000000009.jpg\n"
        "train/_annotations.coco.json                   # Roboflow: next to the images",
        labels={
            "boxes": "pixels; without crowds, which are not single objects",
            "segmentation": "category ids from panoptic PNGs, polygons or run lengths, smaller ones over larger ones",
            "instance": "the position of the object in the annotations of its image, or its id in a panoptic PNG",
        },
        licence="COCO's annotations: CC BY 4.0; its photos came from Flickr, and the JSON names the licence of each; "
        "your own data keeps its own licence",
        irregularities=(
            "Captions (`captions_*.json`) describe the old appearance.",
            "Of several files of one name, the folders decide, then the JSON's name: `instances_val.json`, `val/`.",
            "Names may be URL-quoted or in another Unicode form; if most differ in suffix, the suffix is ignored.",
            "If the JSON states another size of an image, its labels are read and resized as pixels of that size.",
            "If a name fits several files equally well, it is reported, and its labels belong to no frame.",
            "Reading the first label of COCO's own `instances_train2017.json` takes seconds: the file is indexed once.",
        ),
        folder="coco",
    )

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._files: frozenset[str] = frozenset()
        self._claims: Mapping[str, Mapping[str, _Claim]] = {}

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Match a JSON file with the arrays of COCO and images that it names."""
        images = len(_listed(tree, by_replicator=cls.by_replicator).claims)
        return Match(cls.rule, images) if images else None

    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Yield every image that a file names, with the kinds of labels that the file has."""
        listed = _listed(tree, by_replicator=self.by_replicator)
        self._files, self._claims = listed.files, listed.claims
        for index, (image, claims) in enumerate(self._claims.items()):
            labels = {kind: claim.path for kind, claim in claims.items()}
            yield Frame(image, sequence=image.rpartition("/")[0], index=index, labels=labels)

    def role(self, path: str) -> Role | None:
        """Return STALE for captions, and LABEL for other files of the format and for PNGs in folders of masks."""
        if path in self._files:
            tells_looks = any(re.search(pattern, path, re.IGNORECASE) for pattern, _ in self.stale)
            return Role.STALE if tells_looks else Role.LABEL
        return Role.LABEL if path.lower().endswith(".png") and _MASKS.search(path.rpartition("/")[0]) else None

    def declared_size(self, frame: Frame, kind: str) -> tuple[int, int] | None:
        """Return the size that the file states for the image; None for panoptic PNGs, which have their own."""
        claim = self._claims[frame.image][kind]
        return claim.size if claim.path == claim.file else None

    def warnings(self, tree: Tree) -> Iterator[str]:
        """Warn about images that the files name but that are not found."""
        for file, (count, missing) in _listed(tree, by_replicator=self.by_replicator).missing.items():
            if missing:
                yield (
                    f"{len(missing)} of {count} images that {file} names are missing or ambiguous, "
                    f"e.g. {missing[0]}: their labels belong to no frame"
                )

    def load_label(self, frame: Frame, kind: str) -> Label:
        """Decode one label."""
        claim = self._claims[frame.image][kind]
        path = self.root / claim.file
        with errors_in(path, f"the annotations of {frame.image} are damaged"):
            categories, places = _annotations(path)
            objects = places.read(claim.image)
            if objects and "segments_info" in objects[0]:
                objects = objects[0]["segments_info"]
            if kind == "boxes":
                return Boxes(tuple(_boxes(objects, categories)))
            if claim.path != claim.file:
                return _panoptic(self.root / claim.path, kind, objects, categories)
            return _painted(kind, objects, categories, claim.size or size_of(self.root / frame.image))


@dataclass(frozen=True, slots=True)
class _Claim:
    """The place of a label: the COCO file, the image's id and size in it, the file with the label, and a rank."""

    file: str
    image: _Id
    size: tuple[int, int] | None
    path: str
    rank: tuple[Any, ...] = field(compare=False)


_Claims = Mapping[str, Mapping[str, _Claim]]


@dataclass(frozen=True, slots=True)
class _Listed:
    """The files in COCO's format, the labels of the images, and per file the number of named and the missing images."""

    files: frozenset[str]
    claims: _Claims
    missing: Mapping[str, tuple[int, list[str]]]


@per_tree
def _listed(tree: Tree, *, by_replicator: bool) -> _Listed:
    files = _files(tree, by_replicator=by_replicator)
    return _Listed(frozenset(files), *_claims(tree, files))


def _files(tree: Tree, *, by_replicator: bool) -> list[str]:
    """Return the files in COCO's format, judged by their heads.

    In folders with many JSON files, only those with typical names are read: the others are probably one per image.
    """
    named, others = [], []
    for folder in ("", *tree.folders):
        paths = [path for path in tree.paths(folder) if path.lower().endswith(".json")]
        typical = [path for path in paths if _NAMED.search(path.rpartition("/")[2])]
        if len(typical) <= _FEW:
            named += typical
        if len(paths) <= _FEW:
            others += [path for path in paths if path not in typical]
    return [path for path in (*named, *others[:_FEW]) if _is_coco(tree.root / path, by_replicator=by_replicator)]


def _is_coco(path: Path, *, by_replicator: bool) -> bool:
    """Return whether a file is in COCO's format, written by Omniverse Replicator or by another tool as requested."""
    head = read_head(path)
    replicator = path.name.lower().startswith("coco_annotations_") and b"Omniverse Replicator" in head
    return _OWN.match(head) is not None and replicator == by_replicator


@dataclass(frozen=True, slots=True)
class _Listing:
    """The images that a file describes.

    Attributes:
        images: Name, id and size of each; a size of None is not stated.
        kinds: Kinds of labels in its annotations, judged by some of them.
        masks: Names of panoptic PNGs by the id of the image.
    """

    images: list[tuple[str, _Id, tuple[int, int] | None]]
    kinds: set[str]
    masks: Mapping[_Id, str]


@remembered(_FEW)
def _listing(path: Path) -> _Listing:
    images: list[tuple[str, _Id, tuple[int, int] | None]] = []
    kinds: set[str] = set()
    masks: dict[_Id, str] = {}
    annotations = 0
    for key, value, *_ in read_elements(path):
        if key == "images" and isinstance(value, dict) and "id" in value:
            name = str(value.get("file_name") or value.get("coco_url") or "")
            images.append((name, as_id(value["id"]), whole_size(value.get("width"), value.get("height"))))
        elif key == "annotations" and isinstance(value, dict):
            annotations += 1
            if isinstance(segments := value.get("segments_info"), list):
                masks[as_id(value.get("image_id", ""))] = str(value.get("file_name"))
                kinds |= {"segmentation", "instance"}
                kinds |= {"boxes" for segment in segments if isinstance(segment, dict) and segment.get("bbox")}
            elif annotations > _FEW and images:
                break
            else:
                kinds |= {"boxes"} if value.get("bbox") else set()
                kinds |= {"segmentation", "instance"} if value.get("segmentation") else set()
    return _Listing(images, kinds, masks)


def images_named(path: Path) -> list[str]:
    """Return the names of the images in a file in COCO's format; an empty list for any other file.

    Raises:
        DatasetError: If the file begins like COCO's but is damaged.
    """
    return [name for name, *_ in _listing(path).images] if _OWN.match(read_head(path)) else []


def _claims(tree: Tree, files: list[str]) -> tuple[_Claims, dict[str, tuple[int, list[str]]]]:
    """Return the labels of each image, ordered by path, and per file the number of named and the missing images."""
    masks = {file: _mask_paths(tree, file, _listing(tree.root / file).masks) for file in files}
    taken = {path for paths in masks.values() for path in paths.values()}
    pictures = _Pictures(path for path in tree if is_image(path) and path not in taken) if files else _Pictures(())
    claims: dict[str, dict[str, _Claim]] = defaultdict(dict)
    missing: dict[str, tuple[int, list[str]]] = {}
    for file in files:
        listing = _listing(tree.root / file)
        found = _images(file, {name for name, *_ in listing.images}, pictures)
        missing[file] = len(found), sorted(name for name, (image, _) in found.items() if not image)
        for name, number, size in listing.images:
            image, score = found[name]
            if not image:
                continue
            claimed = claims[image]
            mask = masks[file].get(number, "")
            fit = (score, not listing.masks, "instances" in file.lower())
            in_file = _Claim(file, number, size, file, (False, fit))
            in_mask = _Claim(file, number, size, mask, (True, fit)) if mask else None if listing.masks else in_file
            for kind in sorted(listing.kinds):
                claim = in_file if kind == "boxes" else in_mask
                if claim and (kind not in claimed or claim.rank > claimed[kind].rank):
                    claimed[kind] = claim
    return dict(sorted(claims.items())), missing


def _mask_paths(tree: Tree, file: str, masks: Mapping[_Id, str]) -> dict[_Id, str]:
    """Return the panoptic PNGs from a folder with the name of the file, next to it or elsewhere."""
    if not masks:
        return {}
    stem = file.rpartition(".")[0]
    named = [folder for folder in tree.folders if f"/{folder}".lower().endswith(f"/{stem.rpartition('/')[2]}".lower())]
    folders = [tree.folder(stem), *named]
    found = {
        number: [path for folder in folders if (path := tree.at(f"{folder}/{name}"))] for number, name in masks.items()
    }
    return {number: paths[0] for number, paths in found.items() if paths}


class _Pictures:
    """The candidate images, indexed by the ends of their paths in composed Unicode (NFC)."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._paths: dict[str, str] = {}
        for path in paths:
            composed = _composed(path)
            self._paths.setdefault(composed, path)
            self._paths[path] = path
            self._by_name[composed.rpartition("/")[2].lower()].append(path)
        self._backwards = sorted(_backwards(composed.split("/")) for composed in set(map(_composed, self._paths)))

    def at(self, path: str) -> str:
        """Return the image of a path, or an empty string."""
        return self._paths.get(path) or self._paths.get(_composed(path), "")

    def named(self, parts: Sequence[str]) -> list[str]:
        """Return the images that share the most folders with a path; if none shares any, those of its name.

        Names are then compared regardless of case. Images in folders of masks are only used as a last resort.
        """
        parts = [_composed(part) for part in parts]
        for depth in range(len(parts), 1, -1):
            end = _backwards(parts[-depth:])
            first, last = (bisect_left(self._backwards, bound) for bound in (end, end + chr(sys.maxunicode)))
            paths = ["/".join(reversed(found.split("/")[:-1])) for found in self._backwards[first:last]]
            if photos := _no_masks([self._paths[path] for path in paths]):
                return photos
        paths = self._by_name.get(parts[-1].lower(), []) if parts else []
        return _no_masks(paths) or paths

    def of_other_suffix(self, parts: Sequence[str]) -> list[str]:
        """Return the images of a name with any suffix, without those in folders of masks."""
        stem = _composed(parts[-1]).lower().rpartition(".")[0] if parts else ""
        return _no_masks(self._by_stem.get(stem, []))

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        by_stem: dict[str, list[str]] = defaultdict(list)
        for name, paths in self._by_name.items():
            by_stem[name.rpartition(".")[0]] += paths
        return by_stem


def _composed(path: str) -> str:
    return path if path.isascii() else unicodedata.normalize("NFC", path)


def _backwards(parts: Sequence[str]) -> str:
    return "/".join([*reversed(parts), ""])


def _no_masks(paths: list[str]) -> list[str]:
    return [path for path in paths if not _MASKS.search(path.rpartition("/")[0])]


_Found = tuple[str, tuple[int, ...]]
_NOT_FOUND: Final[_Found] = ("", ())


def _images(file: str, names: Collection[str], pictures: _Pictures) -> dict[str, _Found]:
    """Return the image of each name in a file and how well it fits, by the name as it is or with URL quoting removed.

    If most images are missing, the photos were probably converted to another format: suffixes are then ignored.
    """
    found = {name: _image(file, name, pictures) for name in names}
    if 2 * sum(not image for image, _ in found.values()) > len(found):
        for name, (image, _) in found.items():
            if not image:
                path, score = _best(file, parts := _parts(name), pictures.of_other_suffix(parts))
                found[name] = path, (_UNSURE, *score)
    return found


def _image(file: str, name: str, pictures: _Pictures) -> _Found:
    """Return the image that a file names and how well it fits; no image if several fit equally well."""
    folder = file.rpartition("/")[0]
    for form in dict.fromkeys((name, unquote(name))):
        parts = _parts(form)
        for depth in range(folder.count("/") + bool(folder), -1, -1):
            if path := pictures.at("/".join([*folder.split("/")[:depth], *parts])):
                return path, _SURE
        if candidates := pictures.named(parts):
            return _best(file, parts, candidates)
    return _NOT_FOUND


def _parts(name: str) -> list[str]:
    return [part for part in name.replace("\\", "/").split("/") if part not in {"", ".", ".."}]


def _best(file: str, parts: Sequence[str], candidates: Iterable[str]) -> _Found:
    """Return the candidate that fits a name in a file best, by the folders of both; none if several fit equally."""
    wanted = [_composed(part) for part in reversed(parts)]
    folder = file.rpartition("/")[0].split("/")
    words = set(re.findall(r"[a-z]+\d*", file.rpartition("/")[2].lower()))

    def fit(path: str) -> tuple[int, ...]:
        folders = path.split("/")
        has_word_of_file = not words.isdisjoint(part.lower() for part in folders[:-1])
        ends = shared_start(map(_composed, reversed(folders)), wanted)
        return ends, has_word_of_file, shared_start(folders, folder)

    scores = sorted(((fit(path), path) for path in candidates), reverse=True)
    if not scores or (len(scores) > 1 and scores[0][0] == scores[1][0]):
        return _NOT_FOUND
    return scores[0][1], scores[0][0]


@remembered(8)
def _annotations(path: Path) -> tuple[_Categories, Places]:
    """Return the categories by id and the places of the annotations of the images."""
    categories: dict[_Id, Mapping[str, Any]] = {}
    places = Places(path)
    for element in read_elements(path):
        if element.key == "categories":
            categories[as_id(element.value["id"])] = element.value
        elif element.key == "annotations":
            places.add(as_id(element.value["image_id"]), element)
    return categories, places


def _names(categories: _Categories) -> dict[_Id, str]:
    return {number: str(category.get("name", number)) for number, category in categories.items()}


def _numbers(categories: _Categories) -> Mapping[_Id, int]:
    """Return a number for each category id: the id itself, or its position if some ids are not integers."""
    numbers: dict[_Id, int] = {number: number for number in categories if isinstance(number, int)}
    return numbers if len(numbers) == len(categories) else {each: place for place, each in enumerate(categories)}


def _classes(things: Sequence[Mapping[str, Any]], categories: _Categories) -> tuple[list[int], dict[int, str]]:
    """Return the class number of each object, and the names of the numbers."""
    numbers, names = _numbers(categories), _names(categories)
    ids = [as_id(thing["category_id"]) for thing in things]
    known = {number: names[each] for each, number in numbers.items()}
    return [numbers.get(each, each if isinstance(each, int) else NOTHING) for each in ids], known


def _boxes(objects: list[dict[str, Any]], categories: _Categories) -> Iterator[Box]:
    """Yield the boxes of single objects; for panoptic segments, only those of things."""
    names = _names(categories)
    for thing in objects:
        number = as_id(thing["category_id"])
        if thing.get("bbox") and _single(thing, categories):
            left, top, width, height = map(float, thing["bbox"])
            yield Box(names.get(number, str(number)), left, top, left + width, top + height)


def _single(thing: Mapping[str, Any], categories: _Categories) -> bool:
    return not thing.get("iscrowd") and bool(categories.get(as_id(thing["category_id"]), {}).get("isthing", True))


def _painted(
    kind: str, objects: list[dict[str, Any]], categories: _Categories, size: tuple[int, int]
) -> Segmentation | Instances:
    masks = [
        (n, thing, _mask(thing["segmentation"], size)) for n, thing in enumerate(objects) if thing.get("segmentation")
    ]
    if kind == "instance":
        return Instances(paint(((n, mask) for n, thing, mask in masks if _single(thing, categories)), size))
    classes, names = _classes([thing for _, thing, _ in masks], categories)
    return Segmentation(paint(zip(classes, (mask for *_, mask in masks), strict=True), size), names)


def _mask(outlines: Any, size: tuple[int, int]) -> Mask:  # noqa: ANN401  polygons, or an object of run lengths
    if isinstance(outlines, dict):
        if list(outlines["size"]) != [size[1], size[0]]:
            raise ValueError(
                f"run lengths of {outlines['size'][1]}x{outlines['size'][0]} pixels, the image has {size[0]}x{size[1]}"
            )
        counts = outlines["counts"]
        return decode_runs(counts.encode() if isinstance(counts, str) else counts, size)
    polygons = [fill_polygon(np.array(corners, np.float64).reshape(-1, 2), size) for corners in outlines]
    return np.asarray(np.any(polygons, axis=0))


def _panoptic(
    path: Path, kind: str, segments: list[dict[str, Any]], categories: _Categories
) -> Segmentation | Instances:
    ids = read_packed_ids(path)
    if kind == "instance":
        return Instances(renumbered(ids, {each["id"]: each["id"] for each in segments if _single(each, categories)}))
    classes, names = _classes(segments, categories)
    return Segmentation(renumbered(ids, {each["id"]: n for each, n in zip(segments, classes, strict=True)}), names)
