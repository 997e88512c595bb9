"""Resizing rules for JSON, XML and YAML documents, and for arrays; see :mod:`sim2real.datasets.resizing`."""

import base64
import gzip
import io
import json
import math
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import yaml

from sim2real.datasets.masks import decode_runs, encode_runs, pack_runs
from sim2real.datasets.readers import as_id, load_array, whole_size
from sim2real.datasets.resizing import (
    Change,
    Rule,
    Scale,
    Size,
    Values,
    along_x,
    along_y,
    centre_x,
    centre_y,
    first_x,
    first_y,
    last_x,
    last_y,
    pixels,
    scaled_projection,
)
from sim2real.datasets.xmlfiles import decode_xml, parse_xml, voc_size

_Entry = dict[str, Any]
_GZIP: Final = b"\x1f\x8b"


def document(edit: Callable[[Any, Scale], None], *, mixed: bool = False) -> Rule:
    """Return the rule for a JSON file, possibly gzipped, whose contents ``edit`` changes in place."""

    def update(data: bytes, scale: Scale) -> bytes:
        try:
            text = (gzip.decompress(data) if data.startswith(_GZIP) else data).decode("utf-8-sig")
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"it cannot be unpacked: {error}") from error
        try:
            content = json.loads(text)
        except ValueError as error:
            raise ValueError(f"no JSON: {error}") from error
        edit(content, scale)
        written = _dumped(content, text).encode()
        return gzip.compress(written, mtime=0) if data.startswith(_GZIP) else written

    return Rule(update, mixed)


def _dumped(content: object, like: str) -> str:
    """Return JSON text with the indentation, spaces and escapes of another text."""
    indented = re.match(r"\s*[\[{]\s*?\n([ \t]+)", like)
    spaced = indented or re.search(r'":\s', like[:4096])
    text = json.dumps(
        content,
        indent=indented[1] if indented else None,
        separators=None if spaced else (",", ":"),
        ensure_ascii=like.isascii(),
    )
    return text + "\n" * like.endswith("\n")


def change(entry: _Entry, changes: Mapping[str, Change], scale: Scale) -> None:
    """Change the named numbers of an object, where present."""
    for name, how in changes.items():
        if entry.get(name) is not None:
            entry[name] = how(entry[name], scale)


def moved_points(places: Iterable[Sequence[float]], scale: Scale) -> list[list[float]]:
    """Return scaled points x, y; further values of a point are kept."""
    return [[along_x(x, scale), along_y(y, scale), *rest] for x, y, *rest in places]


def _along(values: Sequence[float], scale: Scale) -> list[float]:
    """Scale alternating x and y values: the edges of a box, its corner and size, or an outline."""
    return [(along_y if place % 2 else along_x)(value, scale) for place, value in enumerate(values)]


def scale_of(entry: _Entry, width: str, height: str, scale: Scale) -> Scale:
    """Return the scale for the image size that an entry declares, and update it; without one, the given scale."""
    if not (declared := whole_size(entry.get(width), entry.get(height))):
        if not all(scale.source):
            raise ValueError("it does not declare the size of an image, and its images have several sizes")
        return scale
    entry[width], entry[height] = (
        type(entry[name])(length) for name, length in zip((width, height), scale.target, strict=True)
    )
    return scale.of(*declared)


def _runs(declared: _Entry, scale: Scale) -> int:
    """Resize a mask of run lengths, packed or not, in place; return its number of pixels."""
    height, width = declared["size"]
    counts = declared["counts"]
    mask = scale.nearest(decode_runs(counts.encode() if isinstance(counts, str) else counts, (width, height)))
    runs = encode_runs(mask)
    declared["size"] = [scale.target[1], scale.target[0]]
    declared["counts"] = pack_runs(runs).decode() if isinstance(counts, str) else runs
    return int(mask.sum())


# COCO


def _coco(content: Any, scale: Scale) -> None:  # noqa: ANN401  the contents of a file
    scales = {as_id(image["id"]): scale_of(image, "width", "height", scale) for image in content["images"]}
    for annotation in content.get("annotations", ()):
        own = scales.get(as_id(annotation.get("image_id")), scale)
        for entry in (annotation, *annotation.get("segments_info", ())):
            _coco_object(entry, own)


def _coco_object(entry: _Entry, scale: Scale) -> None:
    if entry.get("bbox"):
        entry["bbox"] = _along(entry["bbox"], scale)
    if entry.get("area"):
        entry["area"] = float(entry["area"] * scale.x * scale.y)
    match entry.get("segmentation"):
        case {"counts": _}:
            area = _runs(entry["segmentation"], scale)
            if "area" in entry:
                entry["area"] = area
        case [*outlines]:
            entry["segmentation"] = [_along(outline, scale) for outline in outlines]
        case _:
            pass
    for name in [name for name in entry if name.endswith("keypoints") and isinstance(entry[name], list)]:
        triples = zip(*(iter(entry[name]),) * 3, strict=True)
        entry[name] = [value for point in moved_points(triples, scale) for value in point]


COCO: Final = document(_coco, mixed=True)
"""A file in COCO's format: image sizes, boxes, areas, outlines, run lengths and keypoints."""


# Scalabel, nuImages


_INSIDE: Final = {  # corners are pixels inside the box
    "x1": along_x,
    "y1": along_y,
    "x2": lambda value, scale: along_x(value + 1, scale) - 1,
    "y2": lambda value, scale: along_y(value + 1, scale) - 1,
}


def _scalabel(content: Any, scale: Scale) -> None:  # noqa: ANN401
    frames = content if isinstance(content, list) else content["frames"]
    sizes = [content.get("config") or {}] if isinstance(content, dict) else []
    for entry in (each for holder in (*sizes, *frames) for each in [holder.get("imageSize") or holder.get("size")]):
        if entry:
            scale_of(entry, "width", "height", scale)
    for frame in frames:
        if intrinsics := frame.get("intrinsics"):
            _focal_and_centre(intrinsics, scale)
        for label in frame.get("labels") or ():
            _scalabel_label(label, scale)


def _focal_and_centre(intrinsics: _Entry, scale: Scale) -> None:
    intrinsics["focal"] = _along(intrinsics["focal"], scale)
    x, y = intrinsics["center"]
    intrinsics["center"] = [centre_x(x, scale), centre_y(y, scale)]
    change(intrinsics, {"skew": along_x}, scale)


def _scalabel_label(label: _Entry, scale: Scale) -> None:
    if label.get("box2d"):
        change(label["box2d"], _INSIDE, scale)
    if label.get("rle"):
        _runs(label["rle"], scale)
    for outline in label.get("poly2d") or ():
        outline["vertices"] = moved_points(outline["vertices"], scale)
    for node in (label.get("graph") or {}).get("nodes", ()):
        node["location"] = _along(node["location"], scale)


SCALABEL: Final = document(_scalabel)
"""A file in Scalabel's format: boxes, outlines, run lengths, keypoints, intrinsics."""


def _packed_masks(content: Any, scale: Scale) -> None:  # noqa: ANN401
    for row in content:
        if row.get("bbox"):
            row["bbox"] = _along(row["bbox"], scale)
        if mask := row.get("mask"):
            mask["counts"] = base64.b64decode(mask["counts"]).decode()
            _runs(mask, scale)
            mask["counts"] = base64.b64encode(mask["counts"].encode()).decode()


def _sizes_of_files(content: Any, scale: Scale) -> None:  # noqa: ANN401
    for row in content:
        if row.get("width"):
            scale_of(row, "width", "height", scale)


def _cameras_of_sensors(content: Any, scale: Scale) -> None:  # noqa: ANN401
    for row in content:
        if row.get("camera_intrinsic"):
            row["camera_intrinsic"] = scaled_projection(np.array(row["camera_intrinsic"], float), scale).tolist()


NUIMAGES_OBJECTS: Final = document(_packed_masks)
"""object_ann.json and surface_ann.json of nuImages."""

NUSCENES_FILES: Final = document(_sizes_of_files)
"""sample_data.json of nuImages and nuScenes."""

NUSCENES_SENSORS: Final = document(_cameras_of_sensors)
"""calibrated_sensor.json of nuImages and nuScenes."""


# a document for each image


def outlines(width: str, height: str) -> Rule:
    """Return the rule for JSON with outlines and boxes of objects, and the image size under the given names."""

    def edit(content: Any, scale: Scale) -> None:  # noqa: ANN401
        own = scale_of(content, width, height, scale)
        if sensor := content.get("sensor"):
            change(sensor, _INTRINSICS, own)
        for entry in content["objects"]:
            if entry.get("polygon"):
                entry["polygon"] = moved_points(entry["polygon"], own)
            for holder, name in ((entry, "bbox"), (entry, "bboxVis"), *((entry.get("2d", {}), at) for at in _BOXES)):
                if holder.get(name):
                    holder[name] = _along(holder[name], own)

    return document(edit)


_BOXES: Final = ("modal", "amodal")
_INTRINSICS: Final = {"fx": along_x, "fy": along_y, "u0": centre_x, "v0": centre_y}


def _cityscapes_camera(content: Any, scale: Scale) -> None:  # noqa: ANN401
    change(content.get("intrinsic", {}), _INTRINSICS, scale)


CITYSCAPES_CAMERA: Final = document(_cityscapes_camera)
"""_camera.json of Cityscapes."""


def _solo(content: Any, scale: Scale) -> None:  # noqa: ANN401
    for capture in content["captures"]:
        declared = whole_size(*(capture.get("dimension") or (0, 0)))
        own = scale.of(*declared) if declared else scale
        capture.update({"dimension": [float(length) for length in scale.target]} if declared else {})
        for annotation in capture.get("annotations") or ():
            _solo_annotation(annotation, own)
    _metrics(content, scale)


def _metrics(content: _Entry, scale: Scale) -> None:
    for metric in content.get("metrics") or ():
        for value in metric.get("values") or ():
            if isinstance(value, dict):
                change(value, {"visiblePixels": pixels, "visible_pixels": pixels}, scale)


def _solo_annotation(annotation: _Entry, scale: Scale) -> None:
    if annotation.get("dimension"):
        annotation["dimension"] = [float(length) for length in scale.target]
    for value in annotation.get("values") or ():
        for name in ("origin", "dimension") if annotation["@type"].endswith("BoundingBox2DAnnotation") else ():
            if value.get(name):
                value[name] = _along(value[name], scale)
        for point in value.get("keypoints") or () if isinstance(value, dict) else ():
            point["location"] = _along(point["location"], scale)


SOLO: Final = document(_solo, mixed=True)
"""step0.frame_data.json of Unity's SOLO; its matrix projects onto relative image coordinates."""


def _captures(content: Any, scale: Scale) -> None:  # noqa: ANN401
    _metrics(content, scale)
    for capture in content.get("captures") or ():
        for annotation in capture.get("annotations") or ():
            for value in annotation.get("values") or ():
                if "translation" not in value:  # of a 3D box
                    change(value, {"x": along_x, "y": along_y, "width": along_x, "height": along_y}, scale)
                for point in value.get("keypoints") or ():
                    change(point, {"x": along_x, "y": along_y}, scale)


PERCEPTION: Final = document(_captures)
"""captures_000.json and metrics_000.json of Unity's Perception before SOLO."""


def _replicator_camera(content: Any, scale: Scale) -> None:  # noqa: ANN401
    if (model := content.get("cameraModel", "pinhole")) != "pinhole":
        raise ValueError(f"scaling is not supported for a camera of the model {model}")
    if content.get("renderProductResolution"):
        content["renderProductResolution"] = list(scale.target)


REPLICATOR_CAMERA: Final = document(_replicator_camera)
"""camera_params of Replicator's BasicWriter; its projection is onto relative image coordinates."""


def _bench2drive(content: Any, scale: Scale) -> None:  # noqa: ANN401
    for name, sensor in content.get("sensors", {}).items():
        if "TOP_DOWN" not in name and "image_size_x" in sensor:
            own = scale_of(sensor, "image_size_x", "image_size_y", scale)
            sensor["intrinsic"] = scaled_projection(np.array(sensor["intrinsic"], float), own).tolist()


BENCH2DRIVE: Final = document(_bench2drive)
"""anno of Bench2Drive, except for the top-down camera, whose images are not resized."""


def _opv2v(data: bytes, scale: Scale) -> bytes:
    try:
        content = yaml.safe_load(data)
    except yaml.YAMLError as error:
        raise ValueError(f"no YAML: {' '.join(str(error).split())}") from error
    for name, camera in content.items():
        if re.fullmatch(r"camera\d+", name):
            camera["intrinsic"] = scaled_projection(np.array(camera["intrinsic"], float), scale).tolist()
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return text.encode()


OPV2V: Final = Rule(_opv2v)
"""The YAML files of OPV2V's frames."""


_VOC_NUMBERS: Final[Mapping[str, Change]] = {  # pixels are counted from 1
    "xmin": lambda value, scale: first_x(value - 1, scale) + 1,
    "ymin": lambda value, scale: first_y(value - 1, scale) + 1,
    "xmax": lambda value, scale: last_x(value - 1, scale) + 1,
    "ymax": lambda value, scale: last_y(value - 1, scale) + 1,
    "x": lambda value, scale: centre_x(value - 1, scale) + 1,
    "y": lambda value, scale: centre_y(value - 1, scale) + 1,
    "width": lambda _, scale: scale.target[0],
    "height": lambda _, scale: scale.target[1],
}
_VOC_NUMBER: Final = re.compile(rf"(<({'|'.join(_VOC_NUMBERS)})>\s*)([^<]*?)(\s*</\2>)")


def _voc(data: bytes, scale: Scale) -> bytes:
    text, encoding = decode_xml(data)
    annotation = parse_xml(data)
    if annotation.tag != "annotation" or any(next(annotation.iter(tag), None) is not None for tag in _NO_VOC):
        raise ValueError("it holds other labels than VOC's boxes, such as outlines or rotated boxes")
    own = scale.of(*declared) if (declared := voc_size(annotation)) else scale
    if not all(own.source):
        raise ValueError("it does not declare the size of its image, and the images around it have several sizes")

    def new(found: re.Match[str]) -> str:
        before, name, number, after = found.groups()
        if not math.isfinite(value := float(number)):
            return found[0]
        value = _VOC_NUMBERS[name](int(value) if value.is_integer() else value, own)
        return f"{before}{value:.12g}{after}"

    return _VOC_NUMBER.sub(new, text).encode(encoding)


_NO_VOC: Final = ("polygon", "robndbox")
VOC: Final = Rule(_voc, mixed=True)
"""An XML file of Pascal VOC, whose boxes count pixels from 1 and include both ends."""


# arrays


def array(change: Callable[[Values, Scale], Values] = lambda values, _: values) -> Rule:
    """Return the rule for an array (H, W, ...) in a .npy file: the nearest pixel, then a change of the values."""
    return _npy(lambda values, scale: change(scale.nearest(values), scale))


def _npy(edit: Callable[[Values, Scale], Values]) -> Rule:
    def update(data: bytes, scale: Scale) -> bytes:
        values = load_array(io.BytesIO(data))
        file = io.BytesIO()
        np.save(file, edit(values, scale).astype(values.dtype, copy=False))
        return file.getvalue()

    return Rule(update)


def _array_boxes(rows: Values, scale: Scale) -> Values:
    rows = rows.copy()
    seen = rows["x_min"] < _NO_EDGE
    for name, factor, rounded in (
        ("x_min", scale.x, np.floor),
        ("y_min", scale.y, np.floor),
        ("x_max", scale.x, np.ceil),
        ("y_max", scale.y, np.ceil),
    ):
        exact = rows[name][seen] * factor.numerator / factor.denominator
        rows[name][seen] = rounded(exact) if np.issubdtype(rows[name].dtype, np.integer) else exact
    return rows


_NO_EDGE: Final = 2**31 - 1

ARRAY: Final = array()
"""Depth, distance, ids: values unchanged."""

ARRAY_FLOW: Final = array(lambda values, scale: values * np.array((float(scale.x), float(scale.y)), values.dtype))
"""Flow (H, W, 2) in pixels."""

ARRAY_BOXES: Final = _npy(_array_boxes)
"""The 2D boxes of Replicator's BasicWriter."""


def _pfm(data: bytes, scale: Scale) -> bytes:
    header = re.match(rb"(Pf\s+)(\d+)(\s+)(\d+)(\s+-?[\d.eE+-]+\s)", data)
    if header is None:
        raise ValueError("no PFM image of one channel")
    size: Size = int(header[2]), int(header[4])
    values = np.frombuffer(data, "V4", offset=header.end()).reshape(size[::-1])
    width, height = (b"%d" % length for length in scale.target)
    return header[1] + width + header[3] + height + header[5] + scale.nearest(values).tobytes()


PFM: Final = Rule(_pfm)
"""A PFM image of one channel, values unchanged."""
