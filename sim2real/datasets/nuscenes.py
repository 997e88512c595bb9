"""nuImages and nuScenes: photos by camera, and tables in JSON that tell of them.

Tables and fields: nutonomy/nuscenes-devkit, docs/schema_nuimages.md and docs/schema_nuscenes.md.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping
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
from sim2real.datasets.readers import read_json, remembered, telling
from sim2real.datasets.resizing import KEEP
from sim2real.datasets.resizing_documents import NUIMAGES_OBJECTS, NUSCENES_FILES, NUSCENES_SENSORS
from sim2real.errors import DatasetError
from sim2real.imageio import read_header

_VERSION: Final = r"v1\.0-\w+"
_LICENCE: Final = "CC BY-NC-SA 4.0 under Motional's terms of use, non-commercial"
_ROW: Final = re.compile(rb"\{[^{}]*\}")


class _NuScenes(FolderLayout):
    """What both share: samples are annotated, sweeps lie between them in time."""

    images = (r"(?:samples|sweeps)/CAM_\w+", r"(?P<frame>.+)\.jpe?g")
    resizing = (
        (r"(?:^|/)v1\.0-\w+/(?:object|surface)_ann\.json$", NUIMAGES_OBJECTS),
        (r"(?:^|/)v1\.0-\w+/sample_data\.json$", NUSCENES_FILES),
        (r"(?:^|/)v1\.0-\w+/calibrated_sensor\.json$", NUSCENES_SENSORS),
        (
            (
                r"(?:^|/)v1\.0-\w+/(?:attribute|category|ego_pose|instance|lidarseg|log|map|panoptic|sample|"
                r"sample_annotation|scene|sensor|visibility)\.json$"
            ),
            KEEP,
        ),
        (r"(?:^|/)(?:lidarseg|panoptic|maps|can_bus)/|(?:^|/)(?:samples|sweeps)/(?:LIDAR|RADAR)_", KEEP),
    )
    roles = (
        (r"(?:^|/)v1\.0-\w+/(?:object_ann|surface_ann|sample_annotation|lidarseg|panoptic)\.json$", Role.LABEL),
        (r"(?:^|/)(?:lidarseg|panoptic|maps)/", Role.LABEL),
        (r"(?:^|/)v1\.0-\w+/\w+\.json$|(?:^|/)(?:samples|sweeps|can_bus)/", Role.AUX),
    )


class NuImages(_NuScenes):
    """nuImages: samples/CAM_FRONT/*.jpg with v1.0-train/object_ann.json.

    Edges of boxes are pixels, the masks run lengths as of COCO in base 64; classes are numbered by their place in
    category.json. Objects are drawn over surfaces, in the order of their tokens, as the devkit does.
    """

    name = "nuimages"
    rule = "samples/CAM_*/*.jpg with v1.0-*/{sample_data,object_ann}.json"
    evidence = ((_VERSION, r"sample_data\.json"), (_VERSION, r"object_ann\.json"))
    sparse = ("boxes", "segmentation", "instance")
    facts = Facts(
        title="nuImages",
        about="Photos of cars' six cameras in Boston and Singapore with boxes, masks of objects and of road surface.",
        size="93,000 annotated JPEGs of 1600x900, 16 GB, and up to 12 sweeps around each.",
        get="[nuscenes.org/nuimages](https://www.nuscenes.org/nuimages), after registration.",
        tree="samples/CAM_FRONT/n003-2018-01-02-11-48-43+0800__CAM_FRONT__1514864923162549.jpg\n"
        "sweeps/CAM_FRONT/...                           # not annotated\n"
        "v1.0-train/{sample_data,object_ann,surface_ann,category,...}.json",
        labels={
            "boxes": "pixels; they may reach behind what hides the object",
            "segmentation": "places of the classes in category.json; objects over road surface",
            "instance": "the object's place in its image by token, from 1, as the devkit numbers them",
        },
        licence=_LICENCE,
        binds=True,
        irregularities=(
            "Only samples are annotated, and not those of `v1.0-test`.",
            "All versions share `samples`; each image has the labels of the version that names it.",
            "Images are not undistorted; CAM_BACK has a fish-eye lens in some cars.",
            "The first label takes seconds: the tables of the whole version are searched once.",
        ),
        side="real",
        folder="nuimages",
    )

    def labels_of(self, tree: Tree, folder: PathMatch) -> Mapping[str, Mapping[str, str]]:
        """The table of the version that names an image as annotated."""
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
        with telling(table, f"the annotations of {frame.image} are damaged"):
            token = _samples(table)[_name(frame.image)]
            classes = _classes(table)
            objects = sorted(_places(table).read(token), key=lambda entry: str(entry["token"]))
            if kind == "boxes":
                return Boxes(tuple(_box(entry, classes) for entry in objects))
            header = read_header(self.root / frame.image)
            size = (header.width, header.height)
            if kind == "instance":
                return Instances(_painted(enumerate(objects, start=1), size))
            regions = [*(_places(surfaces).read(token) if surfaces.exists() else ()), *objects]
            numbers = {category: number for number, category in enumerate(classes)}
            painted = _painted(((numbers[each["category_token"]], each) for each in regions), size)
            return Segmentation(painted, dict(enumerate(classes.values())))


class NuScenes(_NuScenes):
    """nuScenes: samples/CAM_FRONT/*.jpg with v1.0-trainval/{scene,sample_data,sample_annotation}.json.

    Boxes are 3D, in the world: they are carried, and so are LiDAR, radar and maps.
    """

    name = "nuscenes"
    rule = "samples/CAM_*/*.jpg with v1.0-*/{sample_data,scene}.json"
    evidence = ((_VERSION, r"sample_data\.json"), (_VERSION, r"scene\.json"))
    stale = ((r"(?:^|/)v1\.0-\w+/scene\.json$", "descriptions that tell of rain and night"),)
    facts = Facts(
        title="nuScenes",
        about="1000 scenes of 20 s in Boston and Singapore: six cameras, LiDAR, radar and 3D boxes.",
        size="1.4 million JPEGs of 1600x900, of which 204,000 are samples.",
        get="[nuscenes.org](https://www.nuscenes.org/nuscenes), after registration.",
        tree="samples/CAM_FRONT/n015-2018-07-24-11-22-45+0800__CAM_FRONT__1532402927612460.jpg\n"
        "samples/LIDAR_TOP/...pcd.bin\n"
        "sweeps/CAM_FRONT/...\n"
        "maps/*.png                                     # seen from above, never translated\n"
        "v1.0-trainval/{scene,sample,sample_data,sample_annotation,...}.json",
        licence=_LICENCE,
        binds=True,
        irregularities=("3D boxes are not projected into the images, where nothing tells what hides them.",),
        side="real",
        folder="nuscenes",
    )


def _name(image: str) -> str:
    """What ``sample_data`` calls a file: its path from the folder of the dataset."""
    return "/".join(image.split("/")[-3:])


@remembered(8)
def _samples(table: Path) -> Mapping[str, str]:
    """The tokens of the cameras' samples by name, from a table beside this one; others, the most, are passed over."""
    path = table.with_name("sample_data.json")
    samples: dict[str, str] = {}
    try:
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            for row in _ROW.finditer(data):
                if b"samples/CAM_" in row[0]:
                    entry = json.loads(row[0])
                    samples[entry["filename"]] = entry["token"]
    except (OSError, ValueError, LookupError) as error:
        message = f"{path}: cannot be read as a table of files: {error}"
        raise DatasetError(message) from error
    return samples


@remembered(8)
def _places(table: Path) -> Places:
    places = Places(table)
    for element in read_elements(table):
        places.add(element.value["sample_data_token"], element)
    return places


def _classes(table: Path) -> dict[str, str]:
    """The names of the classes by token."""
    return {entry["token"]: str(entry["name"]) for entry in read_json(table.with_name("category.json"))}


def _box(entry: Mapping[str, Any], classes: Mapping[str, str]) -> Box:
    """Edges as open-mmlab/mmdetection3d, nuimage_converter.py, takes them: the width is their difference."""
    left, top, right, bottom = map(float, entry["bbox"])
    return Box(classes[entry["category_token"]], left, top, right, bottom)


def _painted(regions: Iterable[tuple[int, Mapping[str, Any]]], size: tuple[int, int]) -> NDArray[np.int32]:
    """Ids (H, W) of the masks, later ones over earlier ones; not all objects have a mask."""
    ids = np.full(size[::-1], NOTHING, np.int32)
    for number, entry in regions:
        if mask := entry["mask"]:
            if tuple(mask["size"]) != ids.shape:
                raise ValueError(
                    f"a mask has {mask['size'][1]}x{mask['size'][0]} pixels, the image {size[0]}x{size[1]}"
                )
            ids[decode_runs(base64.b64decode(mask["counts"]), size)] = number
    return ids
