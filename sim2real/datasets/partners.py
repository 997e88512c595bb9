"""Which label file belongs to which image where neither lies in a folder of a known name."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Final, TypeVar

from sim2real.datasets.base import Tree
from sim2real.datasets.modalities import label_words
from sim2real.imageio import is_image

T = TypeVar("T")
_ROOT: Final = re.compile(
    r"(?P<root>(?:.*/)?(?:images?|imgs?|jpegimages|photos?|pictures|rgb|frames))(?:/.*)?", re.IGNORECASE
)


def partners(
    images: Iterable[str], files: Iterable[str], declared: Callable[[str], str] = lambda _: ""
) -> dict[str, str]:
    """The label file of each image that has one: of its stem, in the folder that is nearest or most alike.

    That is the image's own folder, else the one whose last names are the same (``images/train``, ``labels/train``),
    else the one with which it shares most of the outer folders; an image whose path has words of labels, as masks have,
    comes behind one without. Files that fit several images alike belong to none, but if these are of one stem in one
    folder.

    Args:
        images: Paths of images, perhaps with masks of the same names among them.
        files: Paths of label files.
        declared: What a file says that its image is called; asked if none has the file's stem.
    """
    by_stem: dict[str, list[str]] = defaultdict(list)
    for image in images:
        by_stem[_stem(image)].append(image)
    found: dict[str, tuple[tuple[int, ...], str]] = {}
    for file in files:
        candidates = by_stem.get(_stem(file)) or by_stem.get(_stem(declared(file).replace("\\", "/")), [])
        scores = {image: _likeness(image, file) for image in candidates}
        best = [image for image in candidates if scores[image] == max(scores.values())]
        if len({image.rpartition(".")[0] for image in best}) == 1:
            for image in best:
                if image not in found or scores[image] > found[image][0]:
                    found[image] = (scores[image], file)
    return {image: file for image, (_, file) in found.items()}


def images_around(tree: Tree, labelled: Mapping[str, str]) -> Iterator[str]:
    """Labelled images, and all others in their folders, or below the folder ``images`` that they lie in, in order."""
    roots = {match["root"] if (match := _ROOT.fullmatch(folder)) else folder for folder in map(_folder, labelled)}
    own = {_folder(image) for image in labelled}
    for folder in ("", *tree.folders):
        match = _ROOT.fullmatch(folder)
        if folder in own or (match and match["root"] in roots):
            prefix = f"{folder}/" if folder else ""
            yield from (prefix + name for name in tree.names(folder) if is_image(name))


def evenly(values: Sequence[T], most: int) -> Sequence[T]:
    """At most so many of the values, from the whole of them."""
    return values[:: max(1, -(-len(values) // most))]


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _stem(path: str) -> str:
    name = path.rpartition("/")[2].lower()
    return name.rpartition(".")[0] or name


def _likeness(image: str, file: str) -> tuple[int, ...]:
    one, other = (_folder(path).lower().split("/") for path in (image, file))
    words = label_words(image).total()
    return one == other, -words, _shared(reversed(one), reversed(other)), _shared(one, other)


def _shared(one: Iterable[str], other: Iterable[str]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
