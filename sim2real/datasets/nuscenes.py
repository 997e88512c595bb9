"""nuImages and nuScenes: photos by camera, and JSON tables that describe them.

Tables and fields: nutonomy/nuscenes-devkit, docs/schema_nuimages.md and docs/schema_nuscenes.md.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from functools import partial
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.base import Frame, PathMatch, Role, Tree
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import NOTHING, Box, Boxes, Instances, Label, Segmentation
from sim2real.datasets.largejson import Places, read_elements
from sim2real.datasets.layout import FolderLayout
from sim2real.datasets.masks import decode_runs
from sim2real.datasets.readers import errors_in, read_json, remembered, size_of
from sim2real.datasets.resizing import KEEP
from sim2real.datasets.resizing_documents import NUIMAGES_OBJECTS, NUSCENES_FILES, NUSCENES_SENSORS
from sim2real.errors import DatasetError

_VERSION: Final = r"v1\.0-\w+"
_ROW: Final = re.compile(rb"\{[^{}]*\}")
_facts = partial(
    Facts, licence="CC BY-NC-SA 4.0 under Motional's terms of use, non-commercial", binds=True, side="real"
)


class _NuScenes(FolderLayout):
    """Base class of both layouts: samples are annotated, sweeps lie between them in time."""

    images = (r"(?:samples|sweeps)/CAM_\w+", r"(?P<frame>.+)\.jpe?g")
    resizing = (
        (r"(?:^|/)v1\.0-\w+/(?:object|surface)_ann\.json$", NUIMAGES_OBJECTS),
        (r"(?:^|/)v1\.0-\w+/sample_data\.json$", NUSCENES_FILES),
        (r"(?:^|/)v1\.0-\w+/calibrated_sensor\.json$", NUSCENES_SENSORS),
        (r"(?:^|/)v1\.0-\w+/(?:attribute|category|ego_pose|instance|lidarseg|log|map|panoptic)\.json$", KEEP),
        (r"(?:^|/)v1\.0-\w+/(?:sample|sample_annotation|scene|sensor|visibility)\.json$", KEEP),
        (r"(?:^|/)(?:lidarseg|panoptic|maps|can_bus)/|(?:^|/)(?:samples|sweeps)/(?:LIDAR|RADAR)_", KEEP),
    )
    roles = (
        (r"(?:^|/)v1\.0-\w+/(?:object_ann|surface_ann|sample_annotation|lidarseg|panoptic)\.json$", Role.LABEL),
        (r"(?:^|/)(?:lidarseg|panoptic|maps)/", Role.LABEL),
        (r"(?:^|/)v1\.0-\w+/\w+\.json$|(?:^|/)(?:samples|sweeps|can_bus)/", Role.AUX),
    )


class NuImages(_NuScenes):
    """nuImages: samples/CAM_FRONT/*.jpg with v1.0-train/object_ann.json.

    The edges of boxes are in pixels, masks are run lengths as in COCO, encoded in base 64, and classes are numbered by
    their position in category.json. Like in the devkit, objects are painted over surfaces in the order of their tokens.
    """

    name = "nuimages"
    rule = "samples/CAM_*/*.jpg with v1.0-*/{sample_data,object_ann}.json"
    evidence = ((_VERSION, r"sample_data\.json"), (_VERSION, r"object_ann\.json"))
    sparse = ("boxes", "segmentation", "instance")
    facts = _facts(
        title="nuImages",
        about="Photos by six car cameras in Boston and Singapore, with boxes and masks of objects and road surface.",
        size="93,000 annotated JPEGs of 1600x900, 16 GB, and up to 12 sweeps around each.",
        get="[nuscenes.org/nuimages](https://www.nuscenes.org/nuimages), after registration.",
        tree="samples/CAM_FRONT/n003-2018-01-02-11-48-43+0800__CAM_FRONT__1514864923162549.jpg\n"
        "sweeps/CAM_FRONT/...                           # not annotated\n"
        "v1.0-train/{sample_data,object_ann,surface_ann,category,...}.json",
        labels={
            "boxes": "pixels; they may include hidden parts of the object",
            "segmentation": "positions of the classes in category.json; objects over road surface",
            "instance": "the position of the object in its image by token, from 1, as in the devkit",
        },
        irregularities=(
            "Only samples are annotated, except those of `v1.0-test`.",
            "All versions share `samples`; each image has the labels of the version that names it.",
            "Images are not undistorted; CAM_BACK has a fish-eye lens on some cars.",
            "Reading the first label takes seconds: the tables of the whole version are indexed once.",
        ),
        folder="nuimages",
    )

    def labels_of(self, tree: Tree, folder: PathMatch) -> Mapping[str, Mapping[str, str]]:
        """Return for each image the table of the version that lists it as a sample."""
        images = tree.by_frame(folder.path, self.images[1])
        tables: dict[str, str] = {}
        for table in tree.find(_VERSION, r"object_ann\.json"):
            if table.base == folder.base:
                named = _samples(tree.root / table.path)
                tables |= {number: table.path for number, image in images.items() if _name(image) in named}
        return dict.fromkeys(("boxes", "segmentation", "instance"), tables)

    def load_label(self, frame: Frame, kind: str) -> Label:
        """Decode one label."""
        table = self.root / frame.labels[kind]
        surfaces = table.with_name("surface_ann.json")
        with errors_in(table, f"the annotations of {frame.image} are damaged"):
            token = _samples(table)[_name(frame.image)]
            classes = _classes(table)
            objects = sorted(_places(table).read(token), key=lambda entry: str(entry["token"]))
            if kind == "boxes":
                return Boxes(tuple(_box(entry, classes) for entry in objects))
            size = size_of(self.root / frame.image)
            if kind == "instance":
                return Instances(_painted(enumerate(objects, start=1), size))
            regions = [*(_places(surfaces).read(token) if surfaces.exists() else ()), *objects]
            numbers = {category: number for number, category in enumerate(classes)}
            painted = _painted(((numbers[each["category_token"]], each) for each in regions), size)
            return Segmentation(painted, dict(enumerate(classes.values())))


class NuScenes(_NuScenes):
    """nuScenes: samples/CAM_FRONT/*.jpg with v1.0-trainval/{scene,sample_data,sample_annotation}.json.

    Boxes are 3D, in world coordinates; they are carried, as are LiDAR, radar and maps.
    """

    name = "nuscenes"
    rule = "samples/CAM_*/*.jpg with v1.0-*/{sample_data,scene}.json"
    evidence = ((_VERSION, r"sample_data\.json"), (_VERSION, r"scene\.json"))
    stale = ((r"(?:^|/)v1\.0-\w+/scene\.json$", "descriptions that mention rain and night"),)
    facts = _facts(
        title="nuScenes",
        about="1000 scenes of 20 s in Boston and Singapore: six cameras, LiDAR, radar and 3D boxes.",
        size="1.4 million JPEGs of 1600x900, including 204,000 samples.",
        get="[nuscenes.org](https://www.nuscenes.org/nuscenes), after registration.",
        tree="samples/CAM_FRONT/n015-2018-07-24-11-22-45+0800__CAM_FRONT__1532402927612460.jpg\n"
        "samples/LIDAR_TOP/...pcd.bin\n"
        "sweeps/CAM_FRONT/...\n"
        "maps/*.png                                     # seen from above, never translated\n"
        "v1.0-trainval/{scene,sample,sample_data,sample_annotation,...}.json",
        irregularities=("3D boxes are not projected into the images, as their occlusion there is unknown.",),
        folder="nuscenes",
    )


def _name(image: str) -> str:
    """Return the name of a file in ``sample_data``: its path from the folder of the dataset."""
    return "/".join(image.split("/")[-3:])


@remembered(8)
def _samples(table: Path) -> Mapping[str, str]:
    """Return the tokens of the cameras' samples by name, from ``sample_data.json`` next to a table.

    Most rows describe other files and are skipped without parsing.
    """
    path = table.with_name("sample_data.json")
    samples: dict[str, str] = {}
    try:
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            for row in _ROW.finditer(data):
                if b"samples/CAM_" in row[0]:
                    entry = json.loads(row[0])
                    samples[entry["filename"]] = entry["token"]
    except (OSError, ValueError, LookupError) as error:
        raise DatasetError(f"{path}: cannot be read as a table of files: {error}") from error
    return samples


@remembered(8)
def _places(table: Path) -> Places:
    places = Places(table)
    for element in read_elements(table):
        places.add(element.value["sample_data_token"], element)
    return places


def _classes(table: Path) -> dict[str, str]:
    """Return the names of the classes by token."""
    return {entry["token"]: str(entry["name"]) for entry in read_json(table.with_name("category.json"))}


def _box(entry: Mapping[str, Any], classes: Mapping[str, str]) -> Box:
    """Return a box; its width is the difference of its edges (open-mmlab/mmdetection3d, nuimage_converter.py)."""
    left, top, right, bottom = map(float, entry["bbox"])
    return Box(classes[entry["category_token"]], left, top, right, bottom)


def _painted(regions: Iterable[tuple[int, Mapping[str, Any]]], size: tuple[int, int]) -> NDArray[np.int32]:
    """Return the ids (H, W) of masks, later ones over earlier ones; not every object has a mask."""
    ids = np.full(size[::-1], NOTHING, np.int32)
    for number, entry in regions:
        if mask := entry["mask"]:
            if tuple(mask["size"]) != ids.shape:
                raise ValueError(
                    f"a mask has {mask['size'][1]}x{mask['size'][0]} pixels, the image {size[0]}x{size[1]}"
                )
            ids[decode_runs(base64.b64decode(mask["counts"]), size)] = number
    return ids
