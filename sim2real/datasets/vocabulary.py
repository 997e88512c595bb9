"""The classes of a run: one number for each class, however several datasets spell its name."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.labels import NOTHING, Boxes, Segmentation
from sim2real.errors import SettingsError

Ids = NDArray[np.int64]

_SAME: Final[Mapping[str, tuple[str, ...]]] = {
    "road": ("roads", "street", "road line", "road lines", "road marking", "lane marking", "drivable area"),
    "sidewalk": ("sidewalks", "side walk", "pavement", "walkway"),
    "building": ("buildings", "house", "houses"),
    "wall": ("walls",),
    "fence": ("fences",),
    "guard rail": ("guardrails", "guard rails"),
    "pole": ("poles", "column pole", "pole group"),
    "traffic light": ("traffic lights", "traffic signal"),
    "traffic sign": ("traffic signs", "sign symbol", "signs"),
    "vegetation": ("tree", "trees", "plants"),
    "terrain": ("grass", "ground"),
    "sky": (),
    "person": ("persons", "pedestrian", "pedestrians", "people", "human"),
    "car": ("cars", "vehicle", "vehicles", "automobile"),
    "truck": ("trucks", "lorry"),
    "bus": ("buses",),
    "motorcycle": ("motorcycles", "motorbike", "motorbikes"),
    "bicycle": ("bicycles", "bike", "bikes"),
}
"""Synonyms in datasets of streets; capitals, spaces, hyphens and underscores make no difference."""


class Vocabulary:
    """Numbers for the names of classes.

    Capitals, spaces, hyphens and underscores make no difference in names. A name that ``same`` lists stands for the
    class there. If no class has the name, synonyms from datasets of streets apply: ``"Vehicles"`` can mean ``"Car"``.

    Args:
        names: The classes in the order of their numbers, from 0.
        same: Name of a class -> other names for it.

    Attributes:
        names: The names as given.

    Raises:
        SettingsError: If ``same`` gives one name two meanings.
    """

    def __init__(self, names: Sequence[str], same: Mapping[str, Sequence[str]] | None = None) -> None:
        self.names = tuple(names)
        self._same = _other_names(same or {})
        self._numbers: dict[str, int] = {}
        self._by_meaning: dict[str, int] = {}
        for number, name in enumerate(names):
            self._numbers.setdefault(self._key(name), number)
            self._by_meaning.setdefault(_meaning(self._key(name)), number)

    @classmethod
    def found(cls, *sides: Iterable[str], same: Mapping[str, Sequence[str]] | None = None) -> Self:
        """Return the vocabulary of the names found in several datasets; two names of one dataset stay separate."""
        found = cls((), same)
        for side in sides:
            own: dict[str, str] = {}
            for name in side:
                if found.number(name) == NOTHING:
                    own.setdefault(found._key(name), name)
            found = cls([*found.names, *own.values()], same)
        return found

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """Return the vocabulary of a run, from the settings stored in its models."""
        classes = settings.get("classes", {})
        return cls(classes.get("names", ()), classes.get("same", {}))

    def __len__(self) -> int:
        return len(self.names)

    def number(self, name: str) -> int:
        """Return the number of a class, or :data:`~sim2real.datasets.labels.NOTHING` if the name is unknown."""
        key = self._key(name)
        return self._numbers.get(key, self._by_meaning.get(_meaning(key), NOTHING))

    def unknown(self, label: Segmentation | Boxes) -> list[str]:
        """Return the unknown names of classes in a label, each once."""
        return [name for name in dict.fromkeys(names_of(label)) if self.number(name) == NOTHING]

    def ids(self, segmentation: Segmentation) -> Ids:
        """Return the number of each pixel's class, (H, W)."""
        present = np.unique(segmentation.ids)
        numbers = [NOTHING if each == NOTHING else self.number(_name(segmentation, int(each))) for each in present]
        return np.array(numbers, np.int64)[np.searchsorted(present, segmentation.ids)]

    def rasterised(self, boxes: Boxes, width: int, height: int) -> Ids:
        """Return the class of the smallest box that covers each pixel, (H, W), ``NOTHING`` where none does."""
        ids = np.full((height, width), NOTHING, np.int64)
        by_area = sorted(boxes.boxes, key=lambda box: (box.left - box.right) * (box.bottom - box.top))
        for box in by_area:
            left, top = max(0, round(box.left)), max(0, round(box.top))
            ids[top : max(0, round(box.bottom)), left : max(0, round(box.right))] = self.number(box.label)
        return ids

    def _key(self, name: str) -> str:
        plain = _plain(name)
        return self._same.get(plain, plain)


def _other_names(same: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the plain names that the user lists as other names -> the plain name of their class."""
    meant: dict[str, str] = {}
    for name, others in same.items():
        for other in others:
            if meant.setdefault(_plain(other), name) != name:
                said = f"'{other}' means '{meant[_plain(other)]}' and '{name}'"
                raise SettingsError(f"classes.same: {said}: list it once")
    for name in same:
        if meant.get(_plain(name), name) != name:
            raise SettingsError(
                f"classes.same: '{name}' has other names and means '{meant[_plain(name)]}': list all of them there"
            )
    return {other: _plain(name) for other, name in meant.items()}


def names_of(label: Segmentation | Boxes) -> Iterator[str]:
    """Yield the names of the classes in a label: those of its boxes, its table, or else its pixels."""
    if isinstance(label, Boxes):
        yield from (box.label for box in label.boxes)
        return
    yield from label.names.values()
    if not label.names:
        yield from (_name(label, each) for each in np.unique(label.ids).tolist() if each != NOTHING)


def _name(segmentation: Segmentation, number: int) -> str:
    return segmentation.names.get(number, str(number))


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold()) or name


_MEANINGS: Final = {_plain(other): _plain(name) for name, others in _SAME.items() for other in others}


def _meaning(plain: str) -> str:
    return _MEANINGS.get(plain, plain)
