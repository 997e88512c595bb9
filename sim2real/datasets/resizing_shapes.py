"""Resizing rules for the files of labelling tools; see :mod:`sim2real.datasets.resizing`."""

import base64
import re
from pathlib import Path
from typing import Any, Final

import numpy as np

from sim2real.datasets.masks import Mask, decode_runs, encode_runs
from sim2real.datasets.resizing import (
    Change,
    Rule,
    Scale,
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
from sim2real.datasets.resizing_documents import change, document, moved_points, scale_of
from sim2real.datasets.shapes import outline_of_circle
from sim2real.imageio import decode_label, encode_png

_Entry = dict[str, Any]


def require_same_shape(scale: Scale, what: str) -> None:
    """Make sure that widths and heights are scaled by the same factor.

    Raises:
        ValueError: If they are not, so that the format cannot describe the scaled shape.
    """
    if scale.x != scale.y:
        raise ValueError(f"{what} cannot be described if widths and heights are scaled differently")


def moved_mask(mask: Mask, left: int, top: int, scale: Scale) -> tuple[Mask, int, int]:
    """Resize a mask (h, w) whose upper left corner lies at a pixel, and crop it; at least one pixel remains.

    Returns:
        The mask, and the x and y of its upper left corner.
    """
    width, height = scale.source
    whole = np.zeros((height, width), bool)
    rows, columns = np.nonzero(mask)
    inside = (rows + top >= 0) & (rows + top < height) & (columns + left >= 0) & (columns + left < width)
    whole[rows[inside] + top, columns[inside] + left] = True
    if not whole.any():
        raise ValueError("a mask has no pixel inside the image")
    resized = scale.nearest(whole)
    if not resized.any():
        y, x = (places.mean() for places in np.nonzero(whole))
        resized[int((y + 0.5) * scale.y), int((x + 0.5) * scale.x)] = True
    rows, columns = np.nonzero(resized)
    first, last = (rows.min(), columns.min()), (rows.max() + 1, columns.max() + 1)
    return resized[first[0] : last[0], first[1] : last[1]], int(first[1]), int(first[0])


def _labelme(content: Any, scale: Scale) -> None:  # noqa: ANN401  the contents of a file
    own = scale_of(content, "imageWidth", "imageHeight", scale)
    for shape in content["shapes"]:
        if shape.get("shape_type") == "circle" and own.x != own.y:
            shape["points"] = outline_of_circle(shape["points"]).tolist()
            shape["shape_type"] = "polygon"
        if shape.get("mask"):
            _labelme_mask(shape, own)
        else:
            shape["points"] = moved_points(shape["points"], own)


def _labelme_mask(shape: _Entry, scale: Scale) -> None:
    """Resize a mask of LabelMe: a PNG, and the pixels of its first and last corner, inclusive."""
    (left, top), _ = np.floor(np.array(shape["points"], np.float64)).astype(int).tolist()
    mask = decode_label(base64.b64decode(shape["mask"]), Path("a mask")) > 0
    mask, left, top = moved_mask(mask, left, top, scale)
    shape["mask"] = base64.b64encode(encode_png(mask.astype(np.uint8) * np.uint8(255))).decode()
    shape["points"] = [[left, top], [left + mask.shape[1] - 1, top + mask.shape[0] - 1]]


LABELME: Final = document(_labelme)
"""A JSON file of LabelMe: a circle that would become an ellipse becomes a polygon, as LabelMe has no ellipses.

The picture that the file may embed is handled elsewhere.
"""


def _ndds(content: Any, scale: Scale) -> None:  # noqa: ANN401
    """Scale corners of boxes (row, column) and points of cuboids (column, row); all else is in 3D space."""
    for thing in content["objects"]:
        for corner, (y, x) in (thing.get("bounding_box") or {}).items():
            thing["bounding_box"][corner] = [along_y(y, scale), along_x(x, scale)]
        if thing.get("projected_cuboid"):
            thing["projected_cuboid"] = moved_points(thing["projected_cuboid"], scale)
        if thing.get("projected_cuboid_centroid"):
            thing["projected_cuboid_centroid"] = moved_points([thing["projected_cuboid_centroid"]], scale)[0]


def _ndds_cameras(content: Any, scale: Scale) -> None:  # noqa: ANN401
    for camera in content["camera_settings"]:
        own = scale_of(camera["captured_image_size"], "width", "height", scale)
        intrinsics = camera["intrinsic_settings"]
        change(intrinsics, _NDDS_INTRINSICS, own)


_NDDS_INTRINSICS: Final[dict[str, Change]] = {
    "resX": lambda _, scale: scale.target[0],
    "resY": lambda _, scale: scale.target[1],
    **dict.fromkeys(("fx", "cx", "s"), along_x),
    **dict.fromkeys(("fy", "cy"), along_y),
}

NDDS: Final = document(_ndds)
"""000000.json of NDDS and Falling Things."""

NDDS_CAMERAS: Final = document(_ndds_cameras, mixed=True)
"""_camera_settings.json: the principal point, e.g. 480 of 960, is the middle of the image, at a pixel's edge."""


def _bop_cameras(content: Any, scale: Scale) -> None:  # noqa: ANN401
    for camera in content.values():
        rows = scaled_projection(np.array(camera["cam_K"], float).reshape(3, 3), scale)
        camera["cam_K"] = rows.ravel().tolist()


def _bop_camera(content: Any, scale: Scale) -> None:  # noqa: ANN401
    own = scale_of(content, "width", "height", scale)
    change(content, {"fx": along_x, "fy": along_y, "cx": centre_x, "cy": centre_y}, own)


def _bop_objects(content: Any, scale: Scale) -> None:  # noqa: ANN401
    for entry in (each for entries in content.values() for each in entries):
        for name in ("bbox_obj", "bbox_visib"):
            left, top, width, height = entry[name]
            if width >= 0 and height >= 0:  # -1: not visible
                x, y = first_x(left, scale), first_y(top, scale)
                entry[name] = [x, y, last_x(left + width, scale) - x, last_y(top + height, scale) - y]
        change(entry, dict.fromkeys(("px_count_all", "px_count_valid", "px_count_visib"), pixels), scale)


BOP_CAMERAS: Final = document(_bop_cameras)
"""scene_camera.json of BOP: a matrix for each image; the depth factor is kept."""

BOP_CAMERA: Final = document(_bop_camera, mixed=True)
"""camera.json of BOP."""

BOP_OBJECTS: Final = document(_bop_objects)
"""scene_gt_info.json of BOP: boxes whose widths do not count the last pixel, and pixel counts."""


def _createml(content: Any, scale: Scale) -> None:  # noqa: ANN401
    for entry in content:
        for annotation in entry.get("annotations") or entry.get("annotation") or ():
            change(annotation["coordinates"], _MIDDLE, scale)


_MIDDLE: Final[dict[str, Change]] = {"x": along_x, "y": along_y, "width": along_x, "height": along_y}

CREATEML: Final = document(_createml)
"""A JSON file of CreateML."""


_CVAT_TAG: Final = re.compile(r"<(image|box|polygon|polyline|points|mask|ellipse|cuboid|track)\b[^>]*>")
_CVAT_VALUE: Final = re.compile(r'(?<=\s)([\w-]+)="([^"]*)"')


def _cvat(data: bytes, scale: Scale) -> bytes:
    own = scale

    def tag(found: re.Match[str]) -> str:
        nonlocal own
        kind, values = found[1], dict(_CVAT_VALUE.findall(found[0]))
        if kind == "track":
            raise ValueError("it annotates a video, not images")
        if kind == "image":
            own = scale.of(float(values["width"]), float(values["height"]))
            changed = dict(zip(("width", "height"), map(str, scale.target), strict=True))
        else:
            changed = _cvat_shape(kind, values, own)
        return _CVAT_VALUE.sub(lambda each: f'{each[1]}="{changed.get(each[1], each[2])}"', found[0])

    return _CVAT_TAG.sub(tag, data.decode("utf-8")).encode("utf-8")


def _cvat_shape(kind: str, values: dict[str, str], scale: Scale) -> dict[str, str]:
    """Return the changed attributes of a shape."""
    if float(values.get("rotation") or 0):
        require_same_shape(scale, f"a turned {kind}")
    if kind == "mask":
        left, top, width, height = (int(float(values[name])) for name in ("left", "top", "width", "height"))
        mask = decode_runs([int(run) for run in values["rle"].split(",")], (height, width)).T
        mask, left, top = moved_mask(mask, left, top, scale)
        runs = ", ".join(map(str, encode_runs(mask.T)))
        height, width = mask.shape
        return {"rle": runs, "left": f"{left}", "top": f"{top}", "width": f"{width}", "height": f"{height}"}
    changed = {name: _cvat_number(name, value, scale) for name, value in values.items() if _CVAT_PLACE.fullmatch(name)}
    if "points" in values:
        places = [map(float, point.split(",")) for point in values["points"].split(";")]
        changed["points"] = ";".join(f"{along_x(x, scale):.12g},{along_y(y, scale):.12g}" for x, y in places)
    return changed


_CVAT_PLACE: Final = re.compile(r"[xy][tb][lr]\d?|[cr][xy]")


def _cvat_number(name: str, value: str, scale: Scale) -> str:
    along = along_x if "x" in name else along_y
    return f"{along(float(value), scale):.12g}"


CVAT: Final = Rule(_cvat, mixed=True)
"""An XML file of CVAT for images."""
