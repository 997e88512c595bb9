"""The output of Unity's Perception package: SOLO, and the older layout with lists of captures.

JSON files name the photos and define the colours of the masks. Names and fields:
Unity-Technologies/com.unity.perception (SoloEndpoint.cs, SoloMessageBuilder.cs, PerceptionSchema.md) and the samples in
Unity-Technologies/pysolotools, tests/data/solo, and com.unity.perception, Documentation~/Schema/mock_data.
"""

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

from sim2real.datasets.base import Adapter, Frame, Match, PathMatch, Role, Tree
from sim2real.datasets.facts import RENDERED, Facts
from sim2real.datasets.labels import Box, Boxes, Instances, Label, Segmentation
from sim2real.datasets.readers import (
    as_id,
    errors_in,
    packed,
    per_tree,
    read_json,
    read_packed_ids,
    remembered,
    renumbered,
    whole_size,
)
from sim2real.datasets.resizing import KEEP, Resizing
from sim2real.datasets.resizing_documents import PERCEPTION, SOLO

_Record = Mapping[str, Any]
_read_again: Final = remembered(4)(read_json)


@dataclass(frozen=True, slots=True)
class _Capture:
    """A photo as described by a JSON file; its paths are relative to the root and may not exist."""

    image: str
    json: str
    sequence: str
    index: int
    labels: Mapping[str, str]


class _Unity(Adapter):
    """Base class of both layouts.

    All JSON files are read once to list the photos, and one of them again to decode a label.
    """

    knows_images: ClassVar[bool] = True
    ordered: ClassVar[bool] = False
    facts: ClassVar[Facts]
    rule: ClassVar[str]
    files: ClassVar[tuple[str, str]]
    companion: ClassVar[str] = ""
    roles: ClassVar[tuple[tuple[str, Role], ...]]

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._json: dict[str, str] = {}

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Match JSON files of these names and photos that they name."""
        images = sum(tree.has(capture.image) for capture in _captures(tree, cls))
        return Match(cls.rule, images) if images else None

    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Yield every photo that a JSON file names and that exists."""
        for capture in _captures(tree, type(self)):
            if tree.has(capture.image):
                self._json[capture.image] = capture.json
                labels = {kind: tree.at(path) for kind, path in capture.labels.items()}
                yield Frame(capture.image, sequence=capture.sequence, index=capture.index, labels=labels)

    def role(self, path: str) -> Role | None:
        """Return the role of a file by its name."""
        return next((role for pattern, role in self.roles if re.search(pattern, path, re.IGNORECASE)), None)

    def warnings(self, tree: Tree) -> Iterator[str]:
        """Warn about photos that JSON files name but that are missing."""
        missing = [capture.image for capture in _captures(tree, type(self)) if not tree.has(capture.image)]
        if missing:
            yield f"{len(missing)} photos that JSON files name are missing, e.g. {missing[0]}"

    def load_label(self, frame: Frame, kind: str) -> Label:
        """Decode one label of a frame."""
        json = self.root / self._json[frame.image]
        with errors_in(json, f"its entry for {frame.image} is damaged"):
            meaning = self._meanings(json, frame)[kind]
            if kind == "boxes":
                return Boxes(tuple(meaning))
            numbers = dict(meaning)
            ids = read_packed_ids(self.root / frame.labels[kind])
            if kind == "instance":
                return Instances(renumbered(ids, numbers))
            return Segmentation(renumbered(ids, {number: number for number in numbers}), numbers)

    @classmethod
    @abstractmethod
    def captures_of(cls, root: Path, file: PathMatch, record: _Record) -> Iterator[_Capture]:
        """Yield the photos that a JSON file describes."""

    @abstractmethod
    def _meanings(self, json: Path, frame: Frame) -> Mapping[str, Iterable[Any]]:
        """Return by kind the boxes, or pairs of a packed colour in the mask and the class name or instance id."""


@per_tree
def _captures(tree: Tree, layout: type[_Unity]) -> list[_Capture]:
    """Return the photos that all JSON files describe, in path order."""
    captures: list[_Capture] = []
    for file in tree.find(*layout.files):
        if layout.companion and not tree.has(_beside(file.path, layout.companion)):
            continue
        path = tree.root / file.path
        with errors_in(path, "its captures are not in Unity's format"):
            captures += layout.captures_of(tree.root, file, read_json(path))
    return sorted(captures, key=lambda capture: capture.image)


_facts = partial(
    Facts,
    size="As rendered.",
    get="Render it with the Perception package, <https://github.com/Unity-Technologies/com.unity.perception>.",
    licence=RENDERED,
)


class Solo(_Unity):
    """SOLO: sequence.0/step0.frame_data.json names step0.camera.png and step0.camera.semantic segmentation.png."""

    name = "unity-solo"
    rule = "sequence.<n>/step<n>.frame_data.json with the photos of its RGB cameras"
    files = (r"sequence\.\d+", r"step(?P<step>\d+)\.frame_data\.json")
    resizing: ClassVar[Resizing] = (
        (r"(?:^|/)step\d+\.frame_data\.json$", SOLO),
        (r"(?:^|/)(?:metadata|(?:sensor|annotation|metric)_definitions)\.json$", KEEP),
    )
    roles = (
        (r"(?:^|/)step\d+\.frame_data\.json$", Role.LABEL),
        (r"(?:^|/)step\d+\.[^/]+\.[^/]+\.(?:png|exr|jpe?g)$", Role.LABEL),
        (r"(?:^|/)(?:metadata|(?:sensor|annotation|metric)_definitions)\.json$", Role.AUX),
    )
    facts = _facts(
        title="Unity Perception, SOLO",
        about="The output of Unity's Perception package (from 0.10, discontinued): a JSON file for each step.",
        tree="solo/{metadata,sensor_definitions,annotation_definitions,metric_definitions}.json\n"
        "solo/sequence.0/step0.frame_data.json\n"
        "solo/sequence.0/step0.camera.png\n"
        "solo/sequence.0/step0.camera.{semantic segmentation,instance segmentation}.png",
        labels={
            "segmentation": "from the first semantic annotator; colours as 24-bit ids",
            "instance": "the track numbers of the boxes",
            "boxes": "2D, from the first annotator",
        },
        irregularities=(
            "Photos and masks are RGBA; the alpha channel of photos is kept.",
            "File names contain spaces, like the ids of the annotators.",
            "Steps may have no photo; photos that are named but missing are reported.",
            "The names in the package's schema differ from those that it writes; the latter are read.",
            "Depth and normals (EXR), 3D boxes and keypoints are carried, not decoded.",
        ),
        folder="solo",
    )

    _TYPES: ClassVar[Mapping[str, str]] = {
        "SemanticSegmentationAnnotation": "segmentation",
        "InstanceSegmentationAnnotation": "instance",
        "BoundingBox2DAnnotation": "boxes",
    }

    @classmethod
    def captures_of(cls, root: Path, file: PathMatch, record: _Record) -> Iterator[_Capture]:  # noqa: ARG003  unused
        """Yield the photos of the RGB cameras of a step."""
        for capture in record["captures"]:
            if capture["@type"].endswith("RGBCamera") and capture.get("filename"):
                labels = {
                    kind: file.path if kind == "boxes" else _beside(file.path, annotation.get("filename") or "")
                    for kind, annotation in cls._annotations(capture).items()
                }
                image, sequence = (_beside(file.path, str(capture.get(name, ""))) for name in ("filename", "id"))
                step = record.get("step")
                yield _Capture(image, file.path, sequence, int(file["step"] if step is None else step), labels)

    def _meanings(self, json: Path, frame: Frame) -> Mapping[str, Iterable[Any]]:
        record = self._annotations(self._capture(json, frame))
        masks = {kind: record.get(kind, {}).get("instances") or () for kind in ("segmentation", "instance")}
        return {
            "segmentation": ((_colour(each["pixelValue"]), _text(each, "labelName")) for each in masks["segmentation"]),
            "instance": ((_colour(each["color"]), each["instanceId"]) for each in masks["instance"]),
            "boxes": (
                _box(_text(each, "labelName"), each.get("instanceId"), each["origin"], each["dimension"])
                for each in record.get("boxes", {}).get("values") or ()
            ),
        }

    def declared_size(self, frame: Frame, kind: str) -> tuple[int, int] | None:
        """Return the size of the photo that its JSON file states; None for masks, which have their own."""
        json = self.root / self._json[frame.image]
        with errors_in(json, f"its entry for {frame.image} is damaged"):
            return whole_size(*(self._capture(json, frame).get("dimension") or (0, 0))) if kind == "boxes" else None

    @staticmethod
    def _capture(json: Path, frame: Frame) -> _Record:
        name = frame.image.rpartition("/")[2]
        found: _Record = next(each for each in _read_again(json)["captures"] if each.get("filename") == name)
        return found

    @classmethod
    def _annotations(cls, capture: _Record) -> Mapping[str, _Record]:
        """Return the first annotation of each kind."""
        found = {
            cls._TYPES.get(annotation["@type"].rpartition(".")[2]): annotation
            for annotation in reversed(capture.get("annotations") or ())
        }
        return {kind: found[kind] for kind in cls._TYPES.values() if kind in found}


class Perception(_Unity):
    """The layout before SOLO: Dataset<id>/captures_000.json names RGB<id>/rgb_2.png and its labels."""

    name = "unity-perception"
    rule = "captures_<nnn>.json with annotation_definitions.json and the photos that they name"
    files = (r"[^/]+", r"captures_\d+\.json")
    companion = "annotation_definitions.json"
    resizing: ClassVar[Resizing] = (
        (r"(?:^|/)(?:captures|metrics)_\d+\.json$", PERCEPTION),
        (r"(?:^|/)(?:egos|sensors|(?:annotation|metric)_definitions)\.json$", KEEP),
    )
    roles = (
        (r"(?:^|/)captures_\d+\.json$", Role.LABEL),
        (r"(?:^|/)(?:semantic|instance)_?segmentation[^/]*/[^/]+\.png$", Role.LABEL),
        (r"(?:^|/)(?:metrics_\d+|egos|sensors|(?:annotation|metric)_definitions)\.json$", Role.AUX),
    )
    facts = _facts(
        title="Unity Perception, before SOLO",
        about="The output of Unity's Perception package up to 0.9: lists of captures in JSON files.",
        tree="data/Dataset<id>/{captures_000,metrics_000,annotation_definitions,sensors,egos}.json\n"
        "data/RGB<id>/rgb_2.png\n"
        "data/SemanticSegmentation<id>/segmentation_2.png\n"
        "data/InstanceSegmentation<id>/Instance_2.png",
        labels={
            "segmentation": "colours as 24-bit ids, by annotation_definitions.json",
            "instance": "the track numbers of the boxes",
            "boxes": "2D",
        },
        irregularities=(
            "Photos and masks are RGBA; the alpha channel of photos is kept.",
            "Photos that are named but missing are reported.",
            "3D boxes and masks that are defined by numbers instead of colours are carried, not decoded.",
        ),
    )

    @classmethod
    def captures_of(cls, root: Path, file: PathMatch, record: _Record) -> Iterator[_Capture]:
        """Yield the photos of the cameras in a list of captures."""
        kinds = {number: kind for number, (kind, _) in _definitions(root / file.path).items()}
        for capture in record["captures"]:
            sensor = capture["sensor"]
            if sensor.get("modality") == "camera" and capture.get("filename"):
                labels = {
                    kind: file.path if kind == "boxes" else file.base + (annotation.get("filename") or "")
                    for annotation in capture.get("annotations") or ()
                    if (kind := kinds.get(annotation.get("annotation_definition")))
                }
                sequence = f"{_text(capture, 'sequence_id')}/{_text(sensor, 'sensor_id')}"
                yield _Capture(
                    file.base + capture["filename"], file.path, sequence, int(capture.get("step") or 0), labels
                )

    def _meanings(self, json: Path, frame: Frame) -> Mapping[str, Iterable[Any]]:
        definitions = _definitions(json)
        captures = _read_again(json)["captures"]
        capture = next(each for each in captures if frame.image.endswith(each.get("filename") or "?"))
        record = {
            definitions[annotation["annotation_definition"]][0]: annotation.get("values") or ()
            for annotation in capture.get("annotations") or ()
            if annotation.get("annotation_definition") in definitions
        }
        return {
            "segmentation": (pair for kind, spec in definitions.values() if kind == "segmentation" for pair in spec),
            "instance": ((_colour(each["color"]), each["instance_id"]) for each in record.get("instance", ())),
            "boxes": (
                _box(
                    _text(each, "label_name"),
                    each.get("instance_id"),
                    (each["x"], each["y"]),
                    (each["width"], each["height"]),
                )
                for each in record.get("boxes", ())
            ),
        }


def _definitions(captures: Path) -> Mapping[Any, tuple[str, Sequence[tuple[int, str]]]]:
    """Return by the number of each decodable annotation its kind and the class names of packed colours."""
    found: dict[Any, tuple[str, Sequence[tuple[int, str]]]] = {}
    for each in _read_again(captures.with_name(Perception.companion))["annotation_definitions"]:
        name, spec = each["name"].lower(), each.get("spec") or ()
        record = [entry for entry in spec if entry.get("pixel_value") is not None]
        if name == "semantic segmentation" and all(isinstance(entry["pixel_value"], dict) for entry in record):
            found[each["id"]] = (
                "segmentation",
                [(_colour(entry["pixel_value"]), _text(entry, "label_name")) for entry in record],
            )
        elif name == "instance segmentation":
            found[each["id"]] = ("instance", ())
        elif name in {"bounding box", "2d bounding box"}:
            found[each["id"]] = ("boxes", ())
    return found


def _colour(record: _Record | Sequence[float]) -> int:
    """Return the packed number of a colour, given as a list or by channel names, in levels or as fractions.

    Missing channels are 0, except alpha, which is at its maximum.
    """
    channels = [record.get(name, 0) for name in "rgb"] if isinstance(record, Mapping) else list(record[:3])
    alpha = record.get("a") if isinstance(record, Mapping) else record[3] if len(record) > 3 else None
    in_shares = alpha == 1 or (alpha is None and any(isinstance(channel, float) for channel in channels))
    if in_shares and max(channels) <= 1:
        channels = [255 * channel for channel in channels]
    return packed([round(channel) for channel in channels])


def _text(entry: _Record, name: str) -> str:
    """Return the text under a key; null texts are omitted in the files."""
    return str(entry.get(name) or "")


def _box(label: str, track: object, corner: Sequence[float], size: Sequence[float]) -> Box:
    (left, top), (width, height) = map(float, corner), map(float, size)
    number = as_id(track)
    return Box(label, left, top, left + width, top + height, track=number if isinstance(number, int) else None)


def _beside(path: str, name: str) -> str:
    folder, slash, _ = path.rpartition("/")
    return folder + slash + name
