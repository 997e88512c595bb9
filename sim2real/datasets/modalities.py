"""Recognise labels by the names of images and their folders: depth, classes, normals and others."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final

_COLOUR_CODED: Final = re.compile(
    r"(.*/)?(classgt_\d+\.png|\w+_gt(Fine|Coarse)_color\.png|(semantic_rgb|viz_\w+|vkitti_[\d.]+_scenegt)/.*"
    r"|(GT/COLOR|colormaps|color_labels|SegmentationClassVisualization)/.*)",
    re.IGNORECASE,
)
WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
"""A word in a name: capitals, or letters of which at most the first is a capital; or a number."""


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


_SURE: Final = _listed(
    """
    depth depths disparity disparities flow normals semantic semantics semseg seg segs segm segment segments
    segmentation segmentations segmap instance instances panoptic mask masks label labels annotation annotations
    depthmap nocs
    """
)
"""Words that denote labels with certainty, whatever other words are in the name."""
_LABELS: Final = _SURE | _listed(
    """
    distance disp range normal sem ss cs is inst parsing silhouette matte trimap anno bev depthvis coord coords
    coordinate coordinates uv uvs xyz position positions vector vectors albedo roughness metallic cryptomatte
    classcolor classcolors classcolour classcolours classid classids
    objectid indexob indexma lidar dvs occlusion occlusions visib heatmap confidence
    """
)
_NEUTRAL: Final = _listed(
    """
    rgb rgba color colors colour colours colored coloured image images img imgs photo photos picture pictures
    frame frames jpeg jpg png lit render rendered renders final combined beauty optical opt object objects class
    classes id ids map maps raw viz vis visual visualization visualisation gt scene camera cam input orig original
    sat surface perspective planar motion forward backward rawlight coldlight warmlight meters metres encoded
    palette space world view
    """
)
_SHORTEST: Final = 3  # letters of a word in a compound
_CHECKED: Final = 64  # images of a group whose numbers are compared with others'


def is_colour_coded(path: str) -> bool:
    """Return whether a path is that of a colour-coded label of a known dataset."""
    return _COLOUR_CODED.fullmatch(path) is not None


def label_words(path: str) -> Counter[str]:
    """Return the words in a path that denote labels: ``"SegCam/f_1.png"`` has ``"seg"``."""
    return Counter(word for word in _words(path) if word in _LABELS)


def labels_by_name(groups: Mapping[str, Sequence[str]], photos: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the groups named like labels of others: same words and numbers, plus words that denote labels.

    ``depth/7.png`` is a label next to ``rgb/7.jpg``, ``segmentation/depth/7.png`` next to ``segmentation/rgb/7.png``,
    but neither is one alone. Words like rgb and image are ignored. Folders and names with a word that denotes labels
    with certainty may contain further words, as in ``masks_machine/7.png`` and ``7_seg_overlay.png``. JPEG files may
    not, since photos are also sorted into folders by what they show, and labels are stored without loss.

    Args:
        groups: Images by the shape of their paths, i.e. the path without its numbers.
        photos: Images that are known not to be labels, by the shape of their paths.
    """
    alike: dict[tuple[str, ...], list[tuple[Sequence[str], Counter[str]]]] = {}
    for shape, paths in groups.items():
        alike.setdefault(_own(shape), []).append((paths, label_words(shape)))
    for shape, paths in photos.items():
        alike.setdefault(_own(shape), []).append((paths, Counter()))
    found = []
    for shape in groups:
        words = label_words(shape)
        for own in (_own, _surely_own) if words else ():
            others = [paths for paths, fewer in alike.get(own(shape), ()) if fewer < words]
            if others and _are_of(groups[shape], own, (path for paths in others for path in paths)):
                found.append(shape)
                break
    return found


def _are_of(labels: Sequence[str], own: Callable[[str], tuple[str, ...]], photos: Iterator[str]) -> bool:
    """Return whether most images of a group share their words and numbers with photos."""
    step = -(-len(labels) // _CHECKED)
    sample = [own(path) for path in labels[::step]]
    numbers = set(map(_own, photos))
    return 2 * sum(numbers_of_one in numbers for numbers_of_one in sample) >= len(sample)


def _own(path: str) -> tuple[str, ...]:
    """Return the words and numbers in a path that neither denote labels nor are neutral."""
    return tuple(word for word in _words(path) if word not in _LABELS and word not in _NEUTRAL)


def _surely_own(path: str) -> tuple[str, ...]:
    """Return the same, but without folders and names with a word that denotes labels with certainty.

    The numbers of such a name are kept; for JPEG files nothing is.
    """
    folder, _, name = path.rpartition("/")
    if is_lossy(name):
        return ("",)
    words = list(_split(name.rpartition(".")[0]))
    if not _SURE.isdisjoint(words):
        words = [word for word in words if word.isdigit()]
    folders = (_words_of(part) for part in folder.split("/"))
    kept = (word for part in folders if _SURE.isdisjoint(part) for word in part)
    return tuple(word for word in (*kept, *words) if word not in _LABELS and word not in _NEUTRAL)


def is_lossy(path: str) -> bool:
    """Return whether the name of an image has the suffix of a JPEG file."""
    return path.lower().endswith((".jpg", ".jpeg"))


def _words(path: str) -> Iterator[str]:
    folder, _, name = path.rpartition("/")
    yield from _words_of(folder)
    yield from _split(name.rpartition(".")[0])


@lru_cache(maxsize=4096)
def _words_of(folder: str) -> tuple[str, ...]:
    return tuple(_split(folder))


def _split(text: str) -> Iterator[str]:
    """Yield words in lower case, with compounds split, and numbers without leading zeros."""
    for found in WORDS.findall(text):
        word = found.lower()
        if word[0].isdigit():
            yield word.lstrip("0") or "0"
        elif word in _LABELS or word in _NEUTRAL:
            yield word
        else:
            yield from _unglued(word)


@lru_cache(maxsize=4096)
def _unglued(word: str) -> tuple[str, ...]:
    """Split a compound like ``depthcam`` or ``flowviz`` if both parts are known words; else return the word."""
    for place in range(_SHORTEST, len(word) - _SHORTEST + 1):
        parts = word[:place], word[place:]
        if all(part in _LABELS or part in _NEUTRAL for part in parts):
            return parts
    return (word,)
