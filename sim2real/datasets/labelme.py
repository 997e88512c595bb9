"""LabelMe: a JSON file of drawn shapes for each photo, which by default also embeds the photo.

Names and fields: wkentaro/labelme, labelme/label_file.py, labelme/utils/shape.py and labelme/cli/export_json.py.
"""

import base64
import json
import re
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np

from sim2real.datasets.base import Adapter, Frame, Match, Role, Tree
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import Label, Segmentation, read_index_mask
from sim2real.datasets.largejson import elements_of, read_elements
from sim2real.datasets.layout import Beside, FolderLayout
from sim2real.datasets.readers import (
    errors_in,
    per_tree,
    read_head,
    read_json,
    read_tail,
    remembered,
    size_of,
    whole_size,
)
from sim2real.datasets.resizing import KEEP, NEAREST, Resizing
from sim2real.datasets.resizing_shapes import LABELME
from sim2real.datasets.shapes import Shape, label_of, outline_of_circle, rectangle
from sim2real.errors import DatasetError
from sim2real.imageio import decode_label, is_image

PICTURE: Final = "imageData"
_KINDS: Final = ("boxes", "segmentation", "instance")
_LOOKED_AT: Final = 16
_OWN: Final = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{.*?(?<!\\)"shapes"\s*:\s*\[', re.DOTALL)
_ITS: Final = re.compile(rb'(?<!\\)"(?:version|flags|imagePath|imageData|lineColor)"\s*:')
_PATH: Final = re.compile(rb'(?<!\\)"imagePath"\s*:\s*("(?:[^"\\]|\\.)*"|null)')
_INSIDE: Final = re.compile(rb'(?<!\\)"imageData"\s*:\s*("|null)')
_SIZES: Final = {name: re.compile(rb'"%s"\s*:\s*(\d+)' % name.encode()) for name in ("imageWidth", "imageHeight")}
_EXPORTED: Final = r"_json/(?:img|label|label_viz)\.png$"


class LabelMe(Adapter):
    """LabelMe: 0001.jpg with 0001.json, or the JSON files in a separate folder, naming their photos."""

    name: ClassVar[str] = "labelme"
    rule: ClassVar[str] = "JSON files with LabelMe's shapes and the photos that they describe"
    resizing: ClassVar[Resizing] = ((r"\.json$", LABELME), (r"(?:^|/)labels\.txt$", KEEP))
    counted: ClassVar[bool] = True
    ordered: ClassVar[bool] = False
    sparse: ClassVar[Collection[str]] = _KINDS  # photos may not be labelled yet
    facts: ClassVar[Facts] = Facts(
        title="LabelMe",
        about="The format of wkentaro/labelme and compatible tools: a JSON file of polygons, rectangles, circles, "
        "lines and points for each photo.",
        size="Any.",
        get="Label your photos with it: <https://github.com/wkentaro/labelme>.",
        tree="0001.jpg\n0001.json                                      # may lie in a separate folder",
        labels={
            "boxes": "pixels, around all shapes of an object (`group_id`) except lines and points",
            "segmentation": "polygons, rectangles, circles and masks, later ones over earlier ones",
            "instance": "the position of the object's first shape in the file",
        },
        licence="your own",
        irregularities=(
            (
                "By default each JSON file embeds its photo (`imageData`), which LabelMe and its exporters read "
                "instead of the image file: after a conversion, this is still the old photo. `convert --labelme-image "
                "embed` replaces it by the translation, `drop` removes it, so that the image file is read; `keep` is "
                "the default."
            ),
            "Shapes on photos with an EXIF orientation refer to the photo as displayed, not as stored.",
            "Photos in the same folders without a JSON file are translated too; they have no labels.",
            "Photos that exist only inside JSON files are not translated: export them first (`labelme_export_json`).",
        ),
    )

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._listing: _Listing | None = None

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Match JSON files with LabelMe's shapes and at least one photo that they describe."""
        if not _listed(tree).photos:
            return None
        return Match(cls.rule, sum(1 for _ in _images(tree)))

    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Yield every photo in the folders of labelled photos."""
        self._listing = _listed(tree)
        photos = self._listing.photos
        for index, image in enumerate(_images(tree)):
            labels = dict.fromkeys(_KINDS, photos.get(image, ""))
            yield Frame(image, sequence=image.rpartition("/")[0], index=index, labels=labels)

    def role(self, path: str) -> Role | None:
        """Return LABEL for JSON files of the format, and the roles of the pictures that LabelMe exports."""
        if self._listing and path in self._listing.files:
            return Role.LABEL
        if found := re.search(_EXPORTED, path):
            return {"img.png": Role.STALE, "label.png": Role.LABEL}.get(found[0].rpartition("/")[2], Role.PSEUDO)
        return Role.AUX if path.rpartition("/")[2] == "labels.txt" else None

    def warnings(self, tree: Tree) -> Iterator[str]:
        """Warn about JSON files without their photos."""
        listing = _listed(tree)
        if lonely := [path for path, image in listing.files.items() if not image]:
            yield (
                f"{len(lonely)} JSON files describe photos that are missing, e.g. {lonely[0]}: photos embedded in "
                "them are not translated"
            )

    def embedded(self, tree: Tree) -> Mapping[str, str]:
        """Return the JSON files that embed a photo -> its image file, empty if it is missing."""
        return _embedded(tree)

    @staticmethod
    def embed(data: bytes, picture: bytes | None) -> bytes:
        """Return the bytes of a JSON file with its embedded picture replaced or removed.

        Args:
            data: The bytes of the JSON file.
            picture: The bytes of the new picture; None to remove it.

        Raises:
            ValueError: If the file embeds no picture.
        """
        written = b"null" if picture is None else b'"%s"' % base64.b64encode(picture)
        spans = [(each.start, each.end) for each in elements_of(data) if each.key == PICTURE]
        if not spans:
            raise ValueError(f"it embeds no picture ({PICTURE})")
        for start, end in reversed(spans):
            data = data[:start] + written + data[end:]
        return data

    def load_label(self, frame: Frame, kind: str) -> Label:
        """Decode one label."""
        path = self.root / frame.labels[kind]
        size = _size(path) or size_of(self.root / frame.image)
        with errors_in(path, "its shapes are damaged"):
            shapes = [shape for entry in _read(path)["shapes"] if (shape := _shape(entry)) is not None]
            return label_of(kind, shapes, size)

    def declared_size(self, frame: Frame, kind: str) -> tuple[int, int] | None:
        """Return the size of the photo that the file states."""
        return _size(self.root / frame.labels[kind])


class _Listing(NamedTuple):
    """The JSON files of a tree.

    Attributes:
        files: Each file and its photo, empty if that is missing; in order.
        photos: Each photo and the file that describes it.
    """

    files: dict[str, str]
    photos: dict[str, str]


@per_tree
def _listed(tree: Tree) -> _Listing:
    """Return the files of the format; of files next to a photo of the same name only a few are read."""
    files = dict(sorted(pair for folder in ("", *tree.folders) for pair in _in_folder(tree, folder)))
    photos = {image: path for path, image in reversed(files.items()) if image}
    return _Listing(files, photos)


@per_tree
def _embedded(tree: Tree) -> Mapping[str, str]:
    """Return the files that embed a photo, and that photo."""
    return {path: image for path, image in _listed(tree).files.items() if _holds_picture(tree.root / path)}


def _in_folder(tree: Tree, folder: str) -> Iterator[tuple[str, str]]:
    """Yield the files of the format in a folder and their photos."""
    paths = tree.paths(folder)
    documents = [path for path in paths if path.lower().endswith(".json")]
    if not documents or not any(_is_own(tree.root / path) for path in islice(documents, _LOOKED_AT)):
        return
    beside: dict[str, list[str]] = {}
    for image in filter(is_image, paths):
        beside.setdefault(image.rpartition(".")[0], []).append(image)
    paired = [path for path in documents if len(beside.get(path.rpartition(".")[0], ())) == 1]
    if not all(_is_own(tree.root / path) for path in islice(paired, _LOOKED_AT)):
        paired = []
    known = set(paired)
    for path in documents:
        if path in known:
            yield path, beside[path.rpartition(".")[0]][0]
        elif _is_own(tree.root / path):
            yield path, _named(tree, path)


def _images(tree: Tree) -> Iterator[str]:
    """Yield the photos in order: those with a file, and the others in their folders."""
    for folder in sorted({image.rpartition("/")[0] for image in _listed(tree).photos}):
        yield from filter(is_image, tree.paths(folder))


def _is_own(path: Path) -> bool:
    head = read_head(path)
    return _OWN.match(head) is not None and _ITS.search(head) is not None


def _value_of(path: Path, pattern: re.Pattern[bytes], key: str) -> bytes:
    """Return the beginning of a member's value, by a pattern near the start of the file or by reading all of it."""
    for size in (1 << 13, 1 << 16):
        if found := pattern.search(read_head(path, size)):
            return found[1]
    try:
        value = next((each.value for each in read_elements(path) if each.key == key), None)
    except DatasetError:  # damaged: reported when its shapes are read
        value = None
    return json.dumps(value).encode()


def _holds_picture(path: Path) -> bool:
    return _value_of(path, _INSIDE, PICTURE).startswith(b'"')


@remembered(4)
def _size(path: Path) -> tuple[int, int] | None:
    """Return the size of the photo that a file states: at its end, after the embedded photo, or anywhere."""
    end = read_tail(path, 1 << 12)
    found = {name: pattern.findall(end)[-1:] for name, pattern in _SIZES.items()}
    if all(found.values()):
        width, height = (int(found[name][0]) for name in ("imageWidth", "imageHeight"))
        return whole_size(width, height)
    content = _read(path)
    return whole_size(content.get("imageWidth"), content.get("imageHeight"))


def _named(tree: Tree, path: str) -> str:
    """Return the photo that a file names; an empty string if it is missing."""
    try:
        name = str(json.loads(_value_of(tree.root / path, _PATH, "imagePath")) or "")
    except ValueError:  # damaged: reported when its shapes are read
        return ""
    parts: list[str] = path.split("/")[:-1]
    for part in name.replace("\\", "/").split("/"):
        if part == "..":
            parts = parts[:-1] if parts else [part]
        elif part not in {"", "."}:
            parts.append(part)
    found = tree.at("/".join(parts))
    return found if is_image(found) else ""


@remembered(2)
def _read(path: Path) -> Mapping[str, Any]:
    """Read a file without its embedded picture."""
    with errors_in(path, "it is not an object in LabelMe's format"):
        return {key: value for key, value in read_json(path).items() if key != PICTURE}


def _shape(entry: Mapping[str, Any]) -> Shape | None:
    """Return a shape that encloses an area; None for lines and points."""
    points = np.array(entry["points"], np.float64).reshape(-1, 2)
    if not np.isfinite(points).all():
        raise ValueError("a number is not finite")
    label, group, mask = str(entry["label"]), entry.get("group_id"), None
    match entry.get("shape_type") or "polygon":
        case "rectangle":
            points = rectangle(*points.min(axis=0).tolist(), *points.max(axis=0).tolist())
        case "circle":
            points = outline_of_circle(points.tolist())
        case "mask":
            (left, top), _ = np.floor(points).tolist()
            mask = decode_label(base64.b64decode(entry["mask"]), Path("mask")) > 0
            points = rectangle(left, top, left + mask.shape[1], top + mask.shape[0])
        case "polygon" | "oriented_rectangle" | "rotation":  # the last is from X-AnyLabeling
            if len(points) < 3:
                raise ValueError(f"a polygon of {len(points)} points")
        case _:
            return None
    return Shape(label, points, group if isinstance(group, int) else None, mask)


class LabelMeExport(FolderLayout):
    """LabelMe's export of a JSON file: a folder with img.png, label.png, label_viz.png and label_names.txt."""

    name = "labelme-export"
    rule = "img.png with label.png and label_names.txt"
    images = (r"(?P<name>[^/]+)", r"(?P<frame>)img\.(?:png|jpe?g)")
    evidence = ((r"[^/]+", r"label\.png"), (r"[^/]+", r"label_names\.txt"))
    labels: ClassVar[Beside] = {"segmentation": ("{name}", r"(?P<frame>)label\.png")}
    resizing = ((r"(?:^|/)label(?:_viz)?\.png$", NEAREST), (r"(?:^|/)(?:label_names\.txt|info\.yaml)$", KEEP))
    roles = (
        (r"(?:^|/)label_viz\.png$", Role.PSEUDO),
        (r"(?:^|/)label\.png$", Role.LABEL),
        (r"(?:^|/)(?:label_names\.txt|info\.yaml)$", Role.AUX),
    )
    facts = Facts(
        title="LabelMe, exported",
        about="The output of `labelme_export_json` (formerly `labelme_json_to_dataset`) for JSON files of LabelMe.",
        size="Any; a folder for each photo.",
        get="Export your JSON files with <https://github.com/wkentaro/labelme>.",
        tree="0001_json/{img,label,label_viz}.png\n0001_json/label_names.txt\n...",
        labels={"segmentation": "indices, named by the lines of label_names.txt"},
        licence="your own",
        irregularities=("`label_viz.png` shows the labels over the old photo: it is never translated.",),
    )

    def load_label(self, frame: Frame, kind: str) -> Segmentation:
        """Decode one label."""
        path = self.root / frame.labels[kind]
        names = path.with_name("label_names.txt")
        try:
            lines = names.read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(f"{names}: cannot be read as text: {error}") from error
        return read_index_mask(path, names=lines)
