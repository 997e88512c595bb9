"""Recordings of AirSim: airsim_rec.txt, and one folder with the images of all cameras and kinds.

Names and kinds of images: microsoft/AirSim, Unreal/Plugins/AirSim/Source/Recording/RecordingFile.cpp,
docs/modify_recording_data.md and docs/image_apis.md.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.base import Frame, PathMatch, Role, Tree
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import Depth, Disparity, Distance, Segmentation
from sim2real.datasets.layout import Decoders, FolderLayout
from sim2real.datasets.readers import in_metres, read_packed_ids, reading
from sim2real.datasets.resizing import KEEP, NEAREST
from sim2real.datasets.resizing_documents import PFM
from sim2real.errors import DatasetError

FAR: Final = 10_000.0
"""Metres from which a distance of AirSim is regarded as sky: its sphere, or the largest 16-bit float."""

RECORD: Final = "airsim_rec.txt"


def read_pfm(path: Path) -> NDArray[np.float32]:
    """Read a single-channel PFM image as AirSim writes it: (H, W), the top row first.

    The format specifies the bottom row first, but AirSim's writer (AirLib/include/common/common_utils/Utils.hpp) and
    its own reader (PythonClient/airsim/utils.py) use the opposite order.

    Raises:
        DatasetError: If the file cannot be read or is not a single-channel PFM image.
    """
    with reading(path):
        data = path.read_bytes()
    header = re.match(rb"Pf\s+(\d+)\s+(\d+)\s+(-?\d+\.?\d*(?:[eE][-+]?\d+)?)\s", data)
    if header is None:
        raise DatasetError(f"{path}: not a single-channel PFM image")
    width, height, scale = int(header[1]), int(header[2]), float(header[3])
    if len(data) != header.end() + 4 * width * height:
        message = f"{path}: {width}x{height} floats need {4 * width * height} bytes, it has {len(data) - header.end()}"
        raise DatasetError(message)
    values = np.frombuffer(data, "<f4" if scale < 0 else ">f4", offset=header.end())
    return values.reshape(height, width).astype(np.float32)


def _read_disparity(path: Path) -> Disparity:
    """Read disparity stored as a fraction of the image width.

    See denormalizeDisparity in Examples/DataCollection/StereoImageGenerator.hpp.
    """
    shares = read_pfm(path)
    return Disparity(np.where(np.isfinite(shares), shares * shares.shape[1], np.nan).astype(np.float32))


def _read_segmentation(path: Path) -> Segmentation:
    """Read colours, one for each of 256 mesh numbers; only the simulator knows the numbers of the meshes."""
    return Segmentation(read_packed_ids(path), {})


_FILE: Final = re.compile(
    r"(?P<camera>img_.*)_(?P<type>\d{1,2})_(?P<time>\d{18,20})(?P<suffix>\.(?:png|ppm|pfm))", re.IGNORECASE
)
_SCENE: Final = "0"
# ImageType and suffix -> kind of label
_KINDS: Final = {
    ("1", ".pfm"): "depth",
    ("2", ".pfm"): "distance",
    ("4", ".pfm"): "disparity",
    ("5", ".png"): "segmentation",
    ("5", ".ppm"): "segmentation",
}


class AirSim(FolderLayout):
    """AirSim's recordings: 2026-01-31-12-00-00/images/img_Drone1_front_0_1769860800123456789.png.

    The number before the time is the type of the image; 0 is the scene. The images of one moment have different times,
    so that only the rows of airsim_rec.txt assign depth to a scene.
    """

    name = "airsim"
    facts = Facts(
        title="AirSim recording",
        about="Recordings of AirSim and its successor Colosseum: drones or cars, any number of cameras, and any of the "
        "simulator's image types.",
        size="It depends on the recording; 256x144 unless the settings say otherwise.",
        get="Record with the button or the API of the simulator, <https://github.com/microsoft/AirSim>; in its "
        "settings.json, list the cameras and image types, and set PixelsAsFloat for depth and disparity.",
        tree="<time>/airsim_rec.txt\n"
        "<time>/images/img_<vehicle>_<camera>_0_<nanoseconds>.png\n"
        "<time>/images/img_<vehicle>_<camera>_{1,2,4}_<nanoseconds>.pfm\n"
        "<time>/images/img_<vehicle>_<camera>_5_<nanoseconds>.png\n"
        "...",
        labels={
            "depth": "metres to the camera's plane (DepthPlanar as float)",
            "distance": "metres along the ray (DepthPerspective as float)",
            "disparity": "pixels (DisparityNormalized as float, times the width)",
            "segmentation": "a colour for each of 256 mesh numbers, whose names only the simulator knows",
        },
        licence="set by the author of the recording and by the environment's assets; AirSim itself is MIT",
        irregularities=(
            "The images of one moment have different time stamps; airsim_rec.txt lists those that belong together.",
            "Names of vehicles and cameras may contain underscores; the name of the vehicle may be empty.",
            "PFM files have the top row first, contrary to the format's specification.",
            "Depth recorded as PNG is a visualisation without metres; it is carried, not decoded.",
            "Scenes recorded as float are not translated.",
        ),
    )
    rule = "images/img_<vehicle>_<camera>_0_<nanoseconds>.png"
    images = (r"images", r"img_.*_0_\d{18,20}\.(?:png|ppm)")
    resizing = (
        (r"img_.*_[124]_\d{18,20}\.pfm$", PFM),  # disparity is stored as fractions of the width
        (r"img_.*_[1-9]_\d{18,20}\.png$", NEAREST),
        (rf"(?:^|/){re.escape(RECORD)}$", KEEP),
    )
    roles = (
        (r"img_.*_(?:5|7)_\d{18,20}\.(?:png|ppm)$|img_.*_(?:[1-9]|\d\d)_\d{18,20}\.pfm$", Role.LABEL),
        (r"img_.*_(?:[1-9]|\d\d)_\d{18,20}\.(?:png|ppm)$", Role.PSEUDO),
        (rf"(?:^|/)(?:{re.escape(RECORD)}|settings\.json)$", Role.AUX),
    )
    decoders: ClassVar[Decoders] = {
        "depth": lambda path: Depth(in_metres(read_pfm(path), FAR)),
        "distance": lambda path: Distance(in_metres(read_pfm(path), FAR)),
        "disparity": _read_disparity,
        "segmentation": _read_segmentation,
    }

    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Yield every image of the scene with the labels of its camera in its row of airsim_rec.txt."""
        for folder in tree.find_folders(self.images[0]):
            moments = self._moments(tree, folder)
            counts = Counter[str]()
            prefix = f"{folder.path}/" if folder.path else ""
            for name in tree.names(folder.path):
                if (file := _FILE.fullmatch(name)) and _is_scene(file):
                    labels = {kind: tree.at(prefix + label) for kind, label in moments.get(name, {}).items()}
                    yield Frame(prefix + name, prefix + file["camera"], counts[file["camera"]], labels)
                    counts[file["camera"]] += 1

    def warnings(self, tree: Tree) -> Iterator[str]:
        """Warn about recordings without their table."""
        for folder in tree.find_folders(self.images[0]):
            files = filter(None, map(_FILE.fullmatch, tree.names(folder.path)))
            if not _record(tree, folder) and any(_kind(file) for file in files):
                yield f"{folder.path}: no {RECORD} next to it; without that, labels cannot be assigned to images"

    def _moments(self, tree: Tree, folder: PathMatch) -> Mapping[str, Mapping[str, str]]:
        """Return for the name of each image of the scene the names of its labels by kind."""
        moments = {}
        record = _record(tree, folder)
        for names in _rows(self.root / record) if record else ():
            files = [file for name in names if (file := _FILE.fullmatch(name))]
            labels: dict[str, dict[str, str]] = defaultdict(dict)
            for file in files:
                if kind := _kind(file):
                    labels[file["camera"]][kind] = file[0]
            moments.update({file[0]: labels[file["camera"]] for file in files if _is_scene(file)})
        return moments


def _is_scene(file: re.Match[str]) -> bool:
    return file["type"] == _SCENE and file["suffix"].lower() != ".pfm"


def _kind(file: re.Match[str]) -> str | None:
    return _KINDS.get((file["type"], file["suffix"].lower()))


def _record(tree: Tree, folder: PathMatch) -> str:
    """Return the path of a recording's table, next to its folder of images; an empty string if it is missing."""
    names = [] if folder.above else tree.names(folder.base.rstrip("/"))
    return next((folder.base + name for name in names if name.lower() == RECORD), "")


def _rows(record: Path) -> Iterator[list[str]]:
    """Yield the names of the images of each moment, from the last column; the file may be long."""
    with reading(record), record.open(encoding="utf-8", errors="surrogateescape") as lines:
        columns = (line.rstrip("\r\n").rpartition("\t")[2] for line in lines)
        if next(columns, "").lower() != "imagefile":
            raise DatasetError(f"{record}: its first line does not end in the column 'ImageFile'; restore it")
        yield from (column.split(";") for column in columns)
