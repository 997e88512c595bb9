"""The output of the writers of NVIDIA's Replicator (Isaac Sim, Omniverse).

Names and codings: the writers of ``omni.replicator.core`` and ``isaacsim.replicator`` (Apache-2.0), the golden data of
isaac-sim/IsaacSim, and the annotators' reference, docs.omniverse.nvidia.com/py/replicator/1.11.8.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.base import Frame, Match, PathMatch, Role, Tree
from sim2real.datasets.coco import Coco
from sim2real.datasets.facts import RENDERED, Facts
from sim2real.datasets.labels import Box, Boxes, Depth, Distance, Instances, Segmentation, read_depth, read_index_mask
from sim2real.datasets.layout import Beside, Decoders, FolderLayout
from sim2real.datasets.readers import (
    errors_in,
    in_metres,
    of_shape,
    packed,
    read_array,
    read_head,
    read_ids_above,
    read_json,
    read_kitti_boxes,
    read_kitti_instances,
    read_packed_ids,
    renumbered,
)
from sim2real.datasets.resizing import KEEP, NEAREST, along_x, along_y, places
from sim2real.datasets.resizing_documents import ARRAY, ARRAY_BOXES, REPLICATOR_CAMERA
from sim2real.errors import DatasetError
from sim2real.imageio import read_header

_GET: Final = "Render it with Isaac Sim, <https://github.com/isaac-sim/IsaacSim>"
_NUMBER: Final = r"(?:\d+_)*\d+(?:\.\d+)?"  # a number or a time, after trigger counts: 0000, 2_0000, 0.066667
_NO_CLASS: Final = frozenset({"background", "unlabelled"})

_ANNOTATORS: Final = (
    r"semantic_segmentation|instance(?:_id)?_segmentation|bounding_box_(?:2d_tight|2d_loose|3d)|normals|"
    r"distance_to_(?:camera|image_plane)|motion_vectors|occlusion|pointcloud|skeleton(?:_data)?"
)
_FILE: Final = re.compile(
    rf"(?P<product>(?:.+_)?)(?P<annotator>rgb|{_ANNOTATORS})_(?P<number>{_NUMBER})\.(?P<suffix>png|jpe?g|npy)",
    re.IGNORECASE,
)
_FIELDS: Final = ("semanticId", "x_min", "y_min", "x_max", "y_max")
_NO_EDGE: Final = 2**31 - 1  # of objects that are not visible

_Found = Mapping[tuple[str, str], str]  # render product and number -> path


def _files(tree: Tree, folder: str) -> Mapping[str, _Found]:
    """Return the annotators' files in a folder: ``"rgb.png"`` -> render product and number -> path."""
    files: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
    prefix = f"{folder}/" if folder else ""
    for name in tree.names(folder):
        if found := _FILE.fullmatch(name):
            kind = f"{found['annotator']}.{found['suffix']}".lower()
            files[kind][found["product"], found["number"]] = prefix + name
    return files


def _read_classes(path: Path) -> Segmentation:
    """Read the classes named by the file of labels, by ids or packed colours."""
    names = {number: name for number, name in _names(path, "labels").items() if name.lower() not in _NO_CLASS}
    return Segmentation(renumbered(_read_ids(path), {number: number for number in names}), names)


def _read_instances(path: Path) -> Instances:
    """Read the objects named by the mapping of prims, by ids or packed colours."""
    prims = [number for number, prim in _names(path, "mapping").items() if prim.lower() not in _NO_CLASS]
    return Instances(renumbered(_read_ids(path), {number: number for number in prims}))


def _read_ids(path: Path) -> NDArray[np.int32]:
    """Read ids, or colours as numbers; without ``colorize`` a mask has one channel."""
    return read_index_mask(path).ids if read_header(path).channels == 1 else read_packed_ids(path)


def _names(path: Path, what: str) -> dict[int, str]:
    """Return the names in the JSON file next to a label; its keys are ids or colours, ``"(r, g, b, a)"``."""
    annotator = r"(?i)(.*(?:segmentation|tight|loose))_(.+)\.\w+"
    sidecar = path.with_name(re.sub(annotator, rf"\1_{what}_\2.json", path.name))
    with errors_in(sidecar, "it does not map ids or colours to names"):
        return {_key(key): _class(value) for key, value in read_json(sidecar).items()}


def _key(key: str) -> int:
    value = ast.literal_eval(key)
    return packed(value) if isinstance(value, tuple) else int(value)


def _class(value: Any) -> str:  # noqa: ANN401  a name, or names by semantic type: {"class": "car"}
    return str(value.get("class") or ", ".join(value.values())) if isinstance(value, dict) else str(value)


def _read_boxes(path: Path) -> Boxes:
    """Read boxes as Replicator's own CocoWriter does: the width of a box is x_max - x_min."""
    rows, names = read_array(path), _names(path, "labels")
    try:
        return Boxes(
            tuple(
                Box(names.get(number, ""), float(left), float(top), float(right), float(bottom))
                for number, left, top, right, bottom in rows[list(_FIELDS)].tolist()
                if left < _NO_EDGE
            )
        )
    except (IndexError, KeyError, TypeError, ValueError) as error:
        message = f"{path}: rows with the fields {', '.join(_FIELDS)} are expected, these are {rows.dtype}"
        raise DatasetError(message) from error


def _read_metres(path: Path) -> NDArray[np.float32]:
    return in_metres(of_shape(read_array(path).squeeze(), (None, None), path))


def _read_quoted_boxes(path: Path) -> Boxes:
    """Read boxes whose class may be a dictionary; their truncation is constant and dropped."""
    boxes = read_kitti_boxes(path).boxes
    with errors_in(path, "the class of a box is not a dictionary"):
        return Boxes(tuple(replace(box, label=_kitti_class(box.label), truncated=None) for box in boxes))


def _kitti_class(label: str) -> str:
    return _class(ast.literal_eval(label)) if label.startswith("{") else label


def _read_inverse(path: Path) -> Distance:
    """Read distance stored as ``65535 / (1 + metres)`` in 16 bits (isaacsim.replicator.mobility_gen, writer.py)."""
    return Distance((65535 / read_depth(path, per_metre=1, nothing=0).metres - 1).astype(np.float32))


_facts = partial(Facts, size="As rendered.", licence=RENDERED)


class ReplicatorBasic(FolderLayout):
    """BasicWriter: rgb_0000.png, semantic_segmentation_0000.png, ... with metadata.txt.

    The files of a single render product lie in one folder, those of several are named
    ``<product>/<annotator>/<annotator>_0000.png`` or, as an option, ``<annotator>/<product>_<annotator>_0000.png``. The
    name of a product may be the path of a prim.
    """

    name = "replicator-basic"
    rule = "rgb_<number>.png with metadata.txt or files of other annotators"
    ordered: ClassVar[bool] = False
    decoders: ClassVar[Decoders] = {
        "segmentation": _read_classes,
        "instance": _read_instances,
        "depth": lambda path: Depth(_read_metres(path)),
        "distance": lambda path: Distance(_read_metres(path)),
        "boxes": _read_boxes,
    }
    resizing = (
        (r"(?:^|[/_])bounding_box_2d_(?:tight|loose)_[\d_.]+\.npy$", ARRAY_BOXES),
        (r"(?:^|[/_])distance_to_(?:camera|image_plane)_[\d_.]+\.npy$", ARRAY),
        (r"(?:^|[/_])(?:\w+_segmentation|normals|distance_to_\w+?)_[\d_.]+\.png$", NEAREST),
        (r"(?:^|[/_])camera_params_[^/]+\.json$", REPLICATOR_CAMERA),
        (r"_(?:labels|mapping|prim_paths)_[\d_.]+\.json$|(?:^|/)metadata\.txt$", KEEP),
        (r"(?:^|[/_])(?:bounding_box_3d|pointcloud|occlusion)_[^/]+\.npy$", KEEP),
    )
    roles = (
        (r"(?:^|[/_])(?:normals|distance_to_\w+?)_[\d_.]+\.png$", Role.PSEUDO),
        (r"(?:^|[/_])pointcloud_rgb_[^/]+\.npy$", Role.STALE),
        (rf"(?:^|[/_])(?:{_ANNOTATORS})_[^/]+\.(?:png|npy|json)$", Role.LABEL),
        (r"(?:^|/)metadata\.txt$|(?:^|[/_])camera_params_[^/]+\.json$", Role.AUX),
    )
    stale = ((r"(?:^|[/_])pointcloud_rgb_", "the colours of the points"),)
    facts = _facts(
        title="Replicator BasicWriter",
        about="The default writer of synthetic data in Isaac Sim and Omniverse: a file for each annotator and frame.",
        get=f"{_GET}, and its `BasicWriter` with `rgb=True` and the annotators that you need.",
        tree="data/metadata.txt\n"
        "data/rgb_0000.png\n"
        "data/{semantic_segmentation,instance_segmentation}_0000.png, ..._{labels,mapping}_0000.json\n"
        "data/bounding_box_2d_tight_0000.npy, ..._labels_0000.json, ..._prim_paths_0000.json\n"
        "data/distance_to_{image_plane,camera}_0000.npy\n"
        "data/<product>/<annotator>/<annotator>_0000.png, data/<annotator>/<product>_<annotator>_0000.png",
        labels={
            "segmentation": "classes, by the colours or ids in the file of labels next to the mask",
            "instance": "`instance_segmentation` or `instance_id_segmentation`, without background and unlabelled",
            "depth": "`distance_to_image_plane`",
            "distance": "`distance_to_camera`, along the ray",
            "boxes": "`bounding_box_2d_tight` or, if that is missing, `bounding_box_2d_loose`",
        },
        irregularities=(
            "Images are RGBA; their alpha channel is kept.",
            "The number in a name may follow a trigger count (`rgb_2_0000.png`) or be a time (`rgb_0.066667.png`).",
            "Folders of several render products may be named after the paths of their prims.",
            "Ids and colours are specific to a frame: the same class may have different ones in the next frame.",
            "`normals` and colourised distances (`.png` next to `.npy`) are visualisations of labels.",
            "`pointcloud_rgb` holds the colours of the old pixels.",
            "Motion vectors, 3D boxes, skeletons and point clouds are carried, not decoded.",
        ),
    )

    _READ: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "segmentation": ("semantic_segmentation.png",),
        "instance": ("instance_segmentation.png", "instance_id_segmentation.png"),
        "depth": ("distance_to_image_plane.npy",),
        "distance": ("distance_to_camera.npy",),
        "boxes": ("bounding_box_2d_tight.npy", "bounding_box_2d_loose.npy"),
    }
    _EVIDENCE: ClassVar = rf"metadata\.txt|(?:.+_)?(?:{_ANNOTATORS}|camera_params)_{_NUMBER}\.(?:png|npy|json)"

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Match images and at least one other file of the writer."""
        images = sum(len(photos) for _, photos, _ in cls._folders(tree))
        evidence = images and next(tree.find(r"[^/]+", cls._EVIDENCE), None)
        return Match(cls.rule, images) if evidence else None

    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Yield every image with the annotators' files of the same render product and number."""
        for folder, photos, beside in self._folders(tree):
            labels = {kind: self._labels(tree, folder, beside, files) for kind, files in self._READ.items()}
            for (product, number), image in photos.items():
                yield Frame(
                    image,
                    sequence="/".join(filter(None, (folder.path, product.rstrip("_")))),
                    index=int(re.sub(r"\D", "", number)),
                    labels={kind: paths.get((product, number), "") for kind, paths in labels.items()},
                )

    @classmethod
    def _folders(cls, tree: Tree) -> Iterator[tuple[PathMatch, _Found, Mapping[str, _Found]]]:
        """Yield each folder with images, its images, and the files of all annotators in it."""
        for folder in tree.find_folders(r"(?P<common>rgb)|[^/]+"):
            files = _files(tree, folder.path)
            photos = {
                key: path
                for suffix in ("png", "jpg", "jpeg")
                for key, path in files.get(f"rgb.{suffix}", {}).items()
                if folder["common"] or not key[0]
            }
            if photos:
                yield folder, photos, files

    def _labels(
        self, tree: Tree, folder: PathMatch, beside: Mapping[str, _Found], annotators: tuple[str, ...]
    ) -> _Found:
        """Return for each product and number the file of the first annotator that has one."""
        found: dict[tuple[str, str], str] = {}
        for annotator in reversed(annotators):
            own = tree.folder(folder.base + annotator.partition(".")[0])
            found |= {**_files(tree, own).get(annotator, {}), **beside.get(annotator, {})}
        return found


class ReplicatorCoco(Coco):
    """CocoWriter: coco_annotations_<letters>.json with the boxes of <product>/rgb_<camera>_<id>.0000.png, ..."""

    name = "replicator-coco"
    rule = "coco_annotations_<letters>.json by Omniverse Replicator and the images that it names"
    by_replicator = True
    sparse = ("boxes",)
    stale = ()
    facts = _facts(
        title="Replicator CocoWriter",
        about="The writer of Isaac Sim and Omniverse in a format similar to COCO's.",
        get=f"{_GET}, and `CocoWriter`.",
        tree="data/coco_annotations_<letters>.json\n"
        "data/<product>/rgb_<camera>_<id>.0000.png\n"
        "data/<product>/panoptic_<camera>_<id>.0000.png",
        labels={"boxes": "pixels, the right edge at x_max"},
        irregularities=(
            "The outlines of objects are empty; `panoptic` pictures are carried, not decoded.",
            "Each run writes its own annotation file; an image named by several has the boxes of one of them.",
        ),
    )

    def role(self, path: str) -> Role | None:
        """Return LABEL for panoptic pictures, and the role in COCO for other files."""
        panoptic = re.search(r"(?:^|/)panoptic_[^/]+\.png$", path, re.IGNORECASE)
        return Role.LABEL if panoptic else super().role(path)


class ReplicatorKitti(FolderLayout):
    """KittiWriter: <camera>/rgb/0.png with object_detection/0.txt, or image_02/0.png with label_02/0.txt."""

    name = "replicator-kitti"
    rule = "rgb/<n>.png with object_detection/<n>.txt, or image_02/<n>.png with label_02/<n>.txt, n not padded"
    ordered: ClassVar[bool] = False
    images = (r"rgb|image_02", r"(?P<frame>0|[1-9]\d*)\.(?:png|jpe?g)")
    evidence = ((r"object_detection|label_02", r"(?:0|[1-9]\d*)\.txt"),)
    decoders: ClassVar[Decoders] = {
        "segmentation": lambda path: Segmentation(read_ids_above(path, 0), {}),
        "instance": read_kitti_instances,
        "distance": lambda path: Distance(read_depth(path, per_metre=256, nothing=0).metres),
        "boxes": _read_quoted_boxes,
    }
    resizing = (
        (r"(?:^|/)(?:semantic\w*|instance\w*|depth)/\d+\.png$", NEAREST),
        # the class, the first of 15 words, may be a dictionary with spaces
        (
            r"(?:^|/)(?:object_detection|label_02)/\d+\.txt$",
            places({-11: along_x, -10: along_y, -9: along_x, -8: along_y}),
        ),
        (r"(?:^|/)metadata\.txt$", KEEP),
    )
    roles = (
        (r"(?:^|/)(?:semantic_segmentation|semantic_rgb|instance_rgb)/\d+\.png$", Role.PSEUDO),
        (r"(?:^|/)(?:object_detection|label_02)/\d+\.(?:png|txt)$", Role.LABEL),
        (r"(?:^|/)(?:semantic|instance|instance_segmentation|depth)/\d+\.(?:png|txt)$", Role.LABEL),
        (r"(?:^|/)(?:metadata\.txt|camera_params?/[^/]+\.json)$", Role.AUX),
    )
    facts = _facts(
        title="Replicator KittiWriter",
        about="The writer of Isaac Sim and Omniverse in a format similar to KITTI's, with its own names.",
        get=f"{_GET}, and `KittiWriter`, with or without `use_kitti_dir_names`.",
        tree="data/[<product>/]<camera>/rgb/0.png\n"
        "data/[<product>/]<camera>/{semantic,instance_segmentation,depth}/0.png\n"
        "data/[<product>/]<camera>/object_detection/0.txt\n"
        "data/[<product>/]<camera>/{image_02,semantic,instance,label_02}/...",
        labels={
            "segmentation": "positions of the classes in the writer's mapping, which is not saved; 0 is unlabelled",
            "instance": "class and number",
            "distance": "along the ray, in 1/256 m",
            "boxes": "including occluded objects",
        },
        irregularities=(
            "Numbers are not padded: sorted by name, `10.png` comes before `2.png`.",
            "The class in a file of boxes may be a quoted dictionary; its `class` is read.",
            "Boxes lower than 25 pixels are omitted; truncation is not provided: the column is always 0.",
            "`depth` is measured along the ray and wraps around at 256 m.",
            "`semantic_segmentation` (`semantic_rgb`) and `instance_rgb` are visualisations of labels.",
        ),
    )

    def labels_of(self, tree: Tree, folder: PathMatch) -> Mapping[str, Mapping[str, str]]:
        """Return the labels next to the images, under either set of names."""

        def found(names: str, *places: str) -> Mapping[str, str]:
            return {
                number: path
                for place in places
                for number, path in tree.by_frame(tree.folder(folder.base + place), names).items()
            }

        png = r"(?P<frame>\d+)\.png"
        return {
            "segmentation": found(png, "semantic"),
            "instance": found(png, "instance", "instance_segmentation"),
            "distance": found(png, "depth"),
            "boxes": found(r"(?P<frame>\d+)\.txt", "label_02", "object_detection"),
        }


class ReplicatorPose(FolderLayout):
    """PoseWriter: 000000.png with 000000.json, which holds the camera and the cuboids of the objects."""

    name = "replicator-pose"
    rule = "<number>.png with <number>.json, which has camera_data and objects"
    ordered: ClassVar[bool] = False
    images = (r"[^/]+", r"(?P<frame>\d+)\.(?:png|jpe?g)")
    roles = (
        (r"(?:^|/)\d+_overlay\.(?:png|jpe?g)$", Role.STALE),
        (r"(?:^|/)\d+\.json$", Role.LABEL),
        (r"(?:^|/)metadata\.txt$", Role.AUX),
    )
    stale = ((r"_overlay\.(?:png|jpe?g)$", "overlays on the old pixels"),)
    facts = _facts(
        title="Replicator PoseWriter",
        about="The writer of Isaac Sim for training object pose estimation (DOPE, CenterPose).",
        get=f"{_GET}, and `PoseWriter`.",
        tree="data/[<product>/]000000.png\ndata/[<product>/]000000.json\ndata/[<product>/]000000_overlay.png",
        irregularities=(
            "The JSON files hold cuboids, poses and intrinsics; they are carried, not decoded.",
            "`_overlay` pictures show the old pixels.",
            "Frames without a visible object may be missing.",
        ),
    )

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Match images with JSON files of the same number, if the first of these has a camera and objects."""
        images = [image.path for image in tree.find(*cls.images)]
        if next(tree.find(r"[^/]*", r"_(?:camera|object)_settings\.json"), None):  # NDDS
            return None
        sidecar = next((path for image in images if tree.has(path := f"{image.rpartition('.')[0]}.json")), "")
        head = read_head(tree.root / sidecar) if sidecar else b""
        return Match(cls.rule, len(images)) if b'"camera_data"' in head and b'"objects"' in head else None


class ReplicatorMobilityGen(FolderLayout):
    """A replayed recording of MobilityGen: state/rgb/<camera>.rgb_image/00000000.jpg with state/common."""

    name = "replicator-mobilitygen"
    rule = "state/rgb/<camera>/<step>.jpg with state/common"
    images = (r"state/rgb/(?P<camera>[^/]+?)(?:\.rgb_image)?", r"(?P<frame>\d{8,})\.(?:jpe?g|png)")
    evidence = ((r"state/common", r"\d{8,}\.np[yz]"),)
    labels: ClassVar[Beside] = {
        "segmentation": ("state/segmentation/{camera}.segmentation_image", r"(?P<frame>\d{8,})\.png"),
        "instance": ("state/segmentation/{camera}.instance_id_segmentation_image", r"(?P<frame>\d{8,})\.png"),
        "distance": ("state/depth/{camera}.depth_image", r"(?P<frame>\d{8,})\.png"),
    }
    decoders: ClassVar[Decoders] = {
        "segmentation": lambda path: Segmentation(read_ids_above(path, 1), {}),
        "instance": lambda path: Instances(read_ids_above(path, 1)),
        "distance": _read_inverse,
    }
    resizing = (
        (r"(?:^|/)state/(?:segmentation|depth)/.*\.png$", NEAREST),
        (r"(?:^|/)state/normals/.*\.npy$", ARRAY),
        (r"(?:^|/)(?:occupancy_map|state/common)/", KEEP),
    )
    roles = (
        (r"(?:^|/)state/(?:segmentation|depth|normals|pointcloud)/", Role.LABEL),
        (r"(?:^|/)(?:state/common/[^/]+|occupancy_map/[^/]+|config\.json|stage\.usda?)$", Role.AUX),
    )
    facts = _facts(
        title="MobilityGen",
        about="Replays of robot drives in Isaac Sim, recorded by MobilityGen.",
        size="As recorded.",
        get=f"{_GET}, record with MobilityGen, and replay the recording with rendering.",
        tree="recording/config.json\n"
        "recording/occupancy_map/{map.png,map.yaml}\n"
        "recording/state/common/00000000.npz\n"
        "recording/state/rgb/<camera>.rgb_image/00000000.jpg\n"
        "recording/state/segmentation/<camera>.{segmentation,instance_id_segmentation}_image/00000000.png\n"
        "recording/state/depth/<camera>.depth_image/00000000.png",
        labels={
            "segmentation": "ids; the names are in `state/common`, which is not read",
            "instance": "ids",
            "distance": "along the ray, from 65535 / (1 + metres)",
        },
        irregularities=(
            "`depth` holds the inverse of 1 + metres in 16 bits: it is coarse at large distances; 0 is unknown.",
            "`occupancy_map/map.png` is a map, not a photo.",
            "Steps recorded before Isaac Sim 6 are pickled `.npy` files, which are carried and never opened.",
        ),
    )
