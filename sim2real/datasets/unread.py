"""Find files that look like labels in folders where no image has any, and say why they are not read."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from sim2real.datasets.coco import images_named
from sim2real.datasets.findings import ABOUT
from sim2real.datasets.labels import decode_text
from sim2real.datasets.partners import evenly
from sim2real.datasets.readers import read_head
from sim2real.datasets.voc import is_annotation
from sim2real.datasets.yolo import is_row
from sim2real.errors import DatasetError

_HEAD: Final = 1 << 14
_GROUPS: Final = 256  # files of one suffix in one folder
_LOOKED_AT: Final = 8  # of a group
_NO_LABELS: Final = re.compile(
    r"metadata\.(?:csv|jsonl|parquet)|requirements.*\.txt|(?:package(?:-lock)?|tsconfig|settings)\.json", re.IGNORECASE
)
_NUMBER: Final = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?(?:nan|inf)"
_NUMBERS: Final = re.compile(rf"(?:{_NUMBER})(?:[\s,;]+(?:{_NUMBER}))+", re.IGNORECASE)
_KITTI: Final = re.compile(rf"\S+(?:\s+(?:{_NUMBER})){{14,15}}", re.IGNORECASE)
_CORNERS: Final = re.compile(rf"(?:(?:{_NUMBER})[\s,]+){{8}}[^\d\s]\S*(?:\s+\d)?", re.IGNORECASE)
_TABLE: Final = re.compile(
    r"\b(?:x_?min|xtl|x1|bbox\w*|class(?:_?(?:id|name))?|label\w*|categor\w+|steering|angle|(?:file|image)_?(?:name|path)?)\b",
    re.IGNORECASE,
)


class _Guess(NamedTuple):
    """The probable kind of a file, the layout that reads such files, and why it does not apply here."""

    what: str
    layout: str = ""
    lacks: str = ""

    def line(self, count: int, example: str) -> str:
        needs = f", which the layout '{self.layout}' reads, but {self.lacks}" if self.layout else ""
        shows = f"`sim2real datasets {self.layout}`" if self.layout else "`sim2real datasets`"
        return (
            f"{count} files look like labels and are only carried, e.g. {example}: {self.what}{needs} (see {shows}; "
            "--dataset chooses a layout)"
        )


def _in_xml(head: str, path: Path) -> _Guess:  # noqa: ARG001  one signature for all
    if is_annotation(head.encode()):
        return _Guess("Pascal VOC boxes", "voc", "no image has the name of such a file, or the name that it declares")
    return _Guess("XML")


def _in_text(head: str, path: Path) -> _Guess | None:  # noqa: ARG001  one signature for all
    first = head.strip().partition("\n")[0].strip()
    if is_row(first):
        return _Guess(
            "YOLO rows", "yolo", "they are neither next to images of their names nor in `labels` for `images`"
        )
    if _KITTI.fullmatch(first):
        return _Guess("KITTI boxes", "kitti-object", "they are not in `label_2` next to images in `image_2`")
    if _CORNERS.fullmatch(first):
        return _Guess("corners and classes of rotated boxes, as in DOTA")
    return _Guess("rows of numbers") if _NUMBERS.fullmatch(first) else None


_JSON: Final[tuple[tuple[str, _Guess], ...]] = (
    (r'"shapes"\s*:', _Guess("LabelMe outlines")),
    (r'"captures"\s*:', _Guess("Unity Perception captures", "unity-solo", "it names no image that exists")),
    (r'"imgHeight"\s*:', _Guess("Cityscapes outlines", "cityscapes", "they are not in `gtFine` next to `leftImg8bit`")),
    (r'"(?:regions|_via_img_metadata)"\s*:', _Guess("VGG Image Annotator regions")),
    (r'"(?:box2d|poly2d|videoName)"\s*:', _Guess("Scalabel labels", "bdd100k", "the folders are not those of BDD100K")),
    (r'"coordinates"\s*:', _Guess("CreateML boxes")),
    (r'"(?:camera_angle_x|transform_matrix)"\s*:', _Guess("camera poses")),
)


def _in_json(head: str, path: Path) -> _Guess:
    try:
        named = images_named(path)
    except DatasetError:
        return _Guess("JSON that is damaged, or not in UTF-8")
    if named:
        lacks = f"none of the {len(named)} images that this one names exists, e.g. {named[0]}"
        return _Guess("COCO annotations", "coco", lacks)
    return next((guess for pattern, guess in _JSON if re.search(pattern, head)), _Guess("JSON"))


def _in_yaml(head: str, path: Path) -> _Guess:  # noqa: ARG001  one signature for all
    if re.search(r"^names\s*:", head, re.MULTILINE):
        return _Guess("YOLO class names", "yolo", "no image has a text file of rows")
    return _Guess("YAML")


def _in_table(head: str, path: Path) -> _Guess | None:  # noqa: ARG001  one signature for all
    first = head.partition("\n")[0]
    if _TABLE.search(first) or _NUMBERS.search(first):
        return _Guess("a table of labels")
    return None


def _array(head: str, path: Path) -> _Guess:  # noqa: ARG001  one signature for all
    return _Guess(f"{path.suffix.lower()} arrays, such as depth")


_BY_SUFFIX: Final[dict[str, Callable[[str, Path], _Guess | None]]] = {
    ".xml": _in_xml,
    ".txt": _in_text,
    ".json": _in_json,
    ".jsonl": _in_json,
    ".yaml": _in_yaml,
    ".yml": _in_yaml,
    ".csv": _in_table,
    ".tsv": _in_table,
    **dict.fromkeys((".npy", ".npz", ".exr", ".pfm", ".flo", ".h5", ".hdf5", ".mat"), _array),
}


def unread(root: Path, paths: Iterable[str]) -> Iterator[str]:
    """Yield one warning per kind of files of unknown purpose that look like labels."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in paths:
        folder, _, name = path.rpartition("/")
        suffix = name[name.rfind(".") :].lower()
        if suffix in _BY_SUFFIX and not ABOUT.fullmatch(name) and not _NO_LABELS.fullmatch(name):
            groups[folder, suffix].append(path)
    counts: Counter[_Guess] = Counter()
    examples: dict[_Guess, str] = {}
    for (_, suffix), files in sorted(groups.items(), key=lambda group: -len(group[1]))[:_GROUPS]:
        looked_at = evenly(files, _LOOKED_AT)
        guesses = [(guess, path) for path in looked_at if (guess := _guess(root / path, suffix))]
        for guess, path in guesses:
            examples.setdefault(guess, path)
        for guess, seen in Counter(guess for guess, _ in guesses).items():
            counts[guess] += round(len(files) * seen / len(looked_at))
    for guess, count in counts.most_common():
        yield guess.line(count, examples[guess])


def _guess(path: Path, suffix: str) -> _Guess | None:
    try:
        head = read_head(path, _HEAD)
    except DatasetError:  # reported when it is carried
        return None
    try:
        text = decode_text(head)
    except ValueError:
        text = head.decode("latin-1")
    return _BY_SUFFIX[suffix](text, path) if head.strip() else None
