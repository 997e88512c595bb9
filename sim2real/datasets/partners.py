"""Match label files to images where neither lies in a folder with a known name."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

from sim2real.datasets.base import Tree, shared_start
from sim2real.datasets.modalities import label_words
from sim2real.imageio import is_image

T = TypeVar("T")
_ROOT: Final = re.compile(
    r"(?P<root>(?:.*/)?(?:images?|imgs?|jpegimages|photos?|pictures|rgb|frames))(?:/.*)?", re.IGNORECASE
)


def partners(
    images: Iterable[str], files: Iterable[str], declared: Callable[[str], str] = lambda _: ""
) -> dict[str, str]:
    """Return the label file of each image that has one: a file with the same stem in the closest folder.

    The image's own folder comes first, then the folder with the most trailing names in common (``images/train``,
    ``labels/train``), then the one with the most leading folders in common. Images whose paths contain words for labels
    come after images without, as they may be masks. A file that fits several images equally belongs to none, unless
    these have one stem in one folder.

    Args:
        images: Paths of images, possibly including masks with the same names.
        files: Paths of label files.
        declared: Returns the name of the image that a file declares; called if no image has the file's stem.
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
    """Yield labelled images and all others in their folders, or below the ``images`` folder around them, in order."""
    roots = {match["root"] if (match := _ROOT.fullmatch(folder)) else folder for folder in map(_folder, labelled)}
    own = {_folder(image) for image in labelled}
    for folder in ("", *tree.folders):
        match = _ROOT.fullmatch(folder)
        if folder in own or (match and match["root"] in roots):
            yield from filter(is_image, tree.paths(folder))


def evenly(values: Sequence[T], most: int) -> Sequence[T]:
    """Return at most ``most`` of the values, spread evenly."""
    return values[:: max(1, -(-len(values) // most))]


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _stem(path: str) -> str:
    name = path.rpartition("/")[2].lower()
    return name.rpartition(".")[0] or name


def _likeness(image: str, file: str) -> tuple[int, ...]:
    one, other = (_folder(path).lower().split("/") for path in (image, file))
    words = label_words(image).total()
    return one == other, -words, shared_start(reversed(one), reversed(other)), shared_start(one, other)
