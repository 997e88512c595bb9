"""Hypersim as its archives unpack, and as prepared by Marigold's script.

Layout, codings and tone mapping: apple/ml-hypersim, README.md, code/python/tools/scene_generate_images_tonemap.py and
contrib/mikeroberts3000; prs-eth/Marigold, script/depth/dataset_preprocess/hypersim.
"""

import csv
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.base import Frame, Match, PathMatch, Role, Tree
from sim2real.datasets.classes import NYU40
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import Depth, Distance, Instances, Label, Segmentation, read_depth
from sim2real.datasets.layout import Beside, Decoders, FolderLayout
from sim2real.datasets.readers import find_above, in_metres, of_shape, remembered
from sim2real.errors import DatasetError, ImageError, Sim2RealError
from sim2real.files import replacing
from sim2real.imageio import check_array, encode_jpeg

CAMERAS: Final = "metadata_camera_parameters.csv"

_SCENE: Final = r"(?P<scene>ai_\d{3}_\d{3})"
_COLOURS: Final = (rf"{_SCENE}/images/scene_(?P<camera>cam_\d\d)_final_hdf5", r"frame\.(?P<frame>\d{4})\.color\.hdf5")
_facts = partial(Facts, licence="CC BY-SA 3.0", binds=True, folder="hypersim")


def read_hdf5(path: Path, *channels: int) -> NDArray[Any]:
    """Read the array of one of Hypersim's HDF5 files: (H, W), or with channels (H, W, C).

    Raises:
        DatasetError: If the file cannot be read or has no array of this shape under the name ``dataset``.
        Sim2RealError: If h5py is not installed.
    """
    try:
        import h5py  # noqa: PLC0415  it is an extra
    except ImportError as error:
        message = f'{path}: HDF5 files need h5py, not installed here: pip install "sim2real[hypersim]"'
        raise Sim2RealError(message) from error
    try:
        with h5py.File(path, "r", locking=False) as file:
            values = _values_of(file["dataset"], path)
    except (OSError, AttributeError, LookupError, RuntimeError, TypeError, ValueError, ImageError) as error:
        raise DatasetError(f"{path}: cannot be read as an HDF5 file of Hypersim: {error}") from error
    return of_shape(values, (None, None, *channels), path)


def _values_of(stored: Any, path: Path) -> NDArray[Any]:  # noqa: ANN401  a type of h5py, which is an extra
    """Return the values of a dataset of an HDF5 file; values in other files are refused."""
    if stored.external or stored.is_virtual or not path.samefile(stored.file.filename):
        raise OSError("its values are in another file")
    check_array(stored.shape)
    return np.asarray(stored[()])


def tone_mapped(colour: NDArray[np.floating], entities: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Tone-map linear colours like Hypersim's own previews.

    They are scaled so that the 90th percentile of the brightness becomes 0.8 after a gamma of 1 / 2.2.

    Args:
        colour: Linear RGB (H, W, 3).
        entities: Id of the entity at each pixel (H, W); -1 is none and excluded from the brightness.

    Returns:
        RGB (H, W, 3).
    """
    linear = np.nan_to_num(np.asarray(colour, np.float32), posinf=65504.0, neginf=0.0)
    brightness = linear[entities != -1] @ np.array([0.3, 0.59, 0.11], np.float32)
    bright = float(np.percentile(brightness, 90)) if brightness.size else 0.8**2.2
    scale = 0.8**2.2 / bright if bright >= 1e-4 else 0.0
    return (np.clip(linear * scale, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8)


def write_previews(root: Path, report: Callable[[int, int], None]) -> int:
    """Write the missing tone-mapped previews of linear colours, as JPEG at quality 95 under Hypersim's names.

    Args:
        root: The folder of the dataset, or of a part of it.
        report: Called with the number of finished previews and their total.

    Returns:
        The number of previews written.

    Raises:
        DatasetError: If there are no linear colours, or a file is missing or damaged.
    """
    tree = Tree(root)
    missing = [(colour, preview) for colour in tree.find(*_COLOURS) if not tree.has(preview := _preview(colour))]
    if not missing and next(tree.find(*_COLOURS), None) is None:
        raise DatasetError(f"{root}: no ai_VVV_NNN/images/scene_cam_XX_final_hdf5/frame.IIII.color.hdf5 in it")
    for done, (colour, preview) in enumerate(missing):
        report(done, len(missing))
        linear = read_hdf5(root / colour.path, 3)
        seen = root / colour.beside("{scene}/images/scene_{camera}_geometry_hdf5/frame.{frame}.render_entity_id.hdf5")
        jpeg = encode_jpeg(tone_mapped(linear, of_shape(read_hdf5(seen), linear.shape[:2], seen)))
        (root / preview).parent.mkdir(exist_ok=True)
        with replacing(root / preview) as file:
            file.write_bytes(jpeg)
    report(len(missing), len(missing))
    return len(missing)


def _preview(colour: PathMatch) -> str:
    return colour.beside("{scene}/images/scene_{camera}_final_preview/frame.{frame}.tonemap.jpg")


class Hypersim(FolderLayout):
    """Hypersim: ai_001_001/images/scene_cam_00_final_preview/frame.0000.tonemap.jpg.

    The images are the tone-mapped previews; the original colours are linear and in HDF5 files.
    """

    name = "hypersim"
    facts = _facts(
        title="Hypersim",
        about="Photorealistic renderings of 461 indoor scenes with dense labels. The images are the tone-mapped "
        "previews; the original colours are linear, in HDF5, and are carried.",
        size="74,619 images of 1024x768, about 1.9 TB with everything.",
        get="`dataset_download_images.py` of <https://github.com/apple/ml-hypersim>, or its contrib/99991/download.py "
        "for a part: `.tonemap.jpg`, `.depth_meters.hdf5`, `.semantic.hdf5`, `.semantic_instance.hdf5`. For "
        f'depth, put contrib/mikeroberts3000/{CAMERAS} into the folder. `pip install "sim2real[hypersim]"`.',
        tree=f"{CAMERAS}\n"
        "ai_001_001/images/scene_cam_00_final_preview/frame.0000.tonemap.jpg\n"
        "ai_001_001/images/scene_cam_00_geometry_hdf5/frame.0000.depth_meters.hdf5\n"
        "ai_001_001/images/scene_cam_00_geometry_hdf5/frame.0000.{semantic,semantic_instance}.hdf5\n"
        "ai_001_001/images/scene_cam_00_{final_hdf5,geometry_preview}/...\n"
        "ai_001_001/_detail/...\n"
        "...",
        labels={
            "depth": f"metres to the camera's plane, if {CAMERAS} is in the folder",
            "distance": "metres to the camera's centre, otherwise",
            "segmentation": "the 40 classes of NYU",
            "instance": "",
        },
        irregularities=(
            "depth_meters is the length of the ray, not depth, and the cameras of some scenes are shifted.",
            "`sim2real hypersim-previews` makes missing previews with the official tone mapping.",
            "Illumination, reflectance, residual and linear colours are still those of the old images.",
            "Images with people and logos were removed, so that frame numbers have gaps.",
        ),
    )
    rule = "ai_<vvv>_<nnn>/images/scene_cam_<xx>_final_preview/frame.<iiii>.tonemap.jpg"
    images = (rf"{_SCENE}/images/scene_(?P<camera>cam_\d\d)_final_preview", r"frame\.(?P<frame>\d{4})\.tonemap\.jpg")
    labels: ClassVar[Beside] = {
        kind: ("{scene}/images/scene_{camera}_geometry_hdf5", rf"frame\.(?P<frame>\d{{4}})\.{name}\.hdf5")
        for kind, name in {
            "depth": "depth_meters",
            "distance": "depth_meters",
            "segmentation": "semantic",
            "instance": "semantic_instance",
        }.items()
    }
    roles = (
        (r"(?:^|/)scene_cam_\d\d_geometry_hdf5/|(?:^|/)_detail/mesh/", Role.LABEL),
        (r"(?:^|/)scene_cam_\d\d_geometry_preview/", Role.PSEUDO),
        (r"(?:^|/)scene_cam_\d\d_final_(?:hdf5|preview)/", Role.STALE),
        (r"(?:^|/)_detail/|(?:^|/)metadata_\w+\.csv$", Role.AUX),
    )

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Match the previews, or the linear colours from which previews can be made."""
        found = super().recognise(tree)
        return found or (Match(cls.rule, 0) if next(tree.find(*_COLOURS), None) else None)

    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Yield every preview with the labels of its camera and number.

        Raises:
            DatasetError: If there are linear colours but no previews.
        """
        empty = True
        for frame in super().frames(tree):
            empty = False
            yield frame
        if empty and (colours := sum(1 for _ in tree.find(*_COLOURS))):
            message = f"{self.root}: {colours} images are linear colours in HDF5 files only; make previews first"
            raise DatasetError(f"{message}: sim2real hypersim-previews {self.root}")

    def labels_of(self, tree: Tree, folder: PathMatch) -> Mapping[str, Mapping[str, str]]:
        """Return the labels of a folder: depth if the table of cameras is available, otherwise distance."""
        labels = super().labels_of(tree, folder)
        known = any(tree.has((around / CAMERAS).as_posix()) for around in PurePosixPath(folder.path, "x").parents)
        other = "distance" if known else "depth"
        return {kind: paths for kind, paths in labels.items() if kind != other}

    def warnings(self, tree: Tree) -> Iterator[str]:
        """Warn about linear colours without a preview."""
        missing = [colour.path for colour in tree.find(*_COLOURS) if not tree.has(_preview(colour))]
        if missing:
            yield (
                f"{len(missing)} images have no preview and are not translated, e.g. {missing[0]}; "
                "`sim2real hypersim-previews` makes the missing previews"
            )

    def load_label(self, frame: Frame, kind: str) -> Label:
        """Decode one label from its HDF5 file."""
        path = self.root / frame.labels[kind]
        values = read_hdf5(path)
        match kind:
            case "segmentation":
                return Segmentation(values.astype(np.int32), dict(enumerate(NYU40, start=1)))
            case "instance":
                return Instances(values.astype(np.int32))
        distance = in_metres(values)
        return Distance(distance) if kind == "distance" else Depth(distance * self._planes(path, values.shape))

    def _planes(self, path: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return for each pixel the depth of a point at a distance of one metre, by the nearest table of cameras."""
        table = find_above(path, CAMERAS, self.root)
        matrix = _rays(table).get(path.absolute().parts[-4].lower()) if table else None
        if matrix is None:
            raise DatasetError(f"{path}: no row of {table or CAMERAS} describes the camera of the scene")
        height, width = shape
        u = (2 * np.arange(width) + 1) / width - 1
        v = 1 - (2 * np.arange(height) + 1) / height
        rays = np.stack([*np.meshgrid(u, v), np.ones(shape)], axis=-1) @ matrix.T
        planes: NDArray[np.float32] = (-rays[..., 2] / np.linalg.norm(rays, axis=-1)).astype(np.float32)
        return planes


@remembered(1)
def _rays(table: Path) -> Mapping[str, NDArray[np.float64]]:
    """Return for each scene the matrix (3, 3) from image coordinates to rays of the camera.

    Image coordinates go from -1 to 1, rightwards and upwards. The camera looks along the negative z axis.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as lines:
            return {
                row["scene_name"]: np.array(
                    [[float(row[f"M_cam_from_uv_{i}{j}"]) for j in range(3)] for i in range(3)], np.float64
                )
                for row in csv.DictReader(lines)
            }
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise DatasetError(f"{table}: not Hypersim's table of cameras: {error!r}") from error


class HypersimMarigold(FolderLayout):
    """Hypersim as prepared by Marigold's script: train/ai_001_001/rgb_cam_00_fr0000.png with depth_plane."""

    name = "hypersim-marigold"
    facts = _facts(
        title="Hypersim for Marigold",
        about="Hypersim as written by Marigold's `preprocess_hypersim.py`, a common form for training depth: "
        "tone-mapped PNGs, and depth to the camera's plane.",
        size="About 74,600 images of 1024x768 in three splits.",
        get="Download Hypersim, then run script/depth/dataset_preprocess/hypersim/preprocess_hypersim.py of "
        "<https://github.com/prs-eth/Marigold>.",
        tree="train/ai_001_001/rgb_cam_00_fr0000.png\n"
        "train/ai_001_001/depth_plane_cam_00_fr0000.png\n"
        "train/{filename_list,filename_meta}_train...\n"
        "{val,test}/...",
        labels={"depth": "metres to the camera's plane, stored in millimetres"},
        irregularities=(
            "Depth was computed with one focal length for all scenes, which is wrong for those with a shifted camera.",
            "16-bit millimetres end at 65.5 m; larger depths have wrapped around.",
        ),
    )
    rule = "ai_<vvv>_<nnn>/rgb_cam_<xx>_fr<iiii>.png with depth_plane"
    images = (_SCENE, r"rgb_(?P<frame>cam_\d\d_fr\d{4})\.(?:png|jpe?g)")
    evidence = ((_SCENE, r"depth_plane_cam_\d\d_fr\d{4}\.png"),)
    labels: ClassVar[Beside] = {"depth": ("{scene}", r"depth_plane_(?P<frame>cam_\d\d_fr\d{4})\.png")}
    decoders: ClassVar[Decoders] = {"depth": partial(read_depth, per_metre=1000, nothing=0)}
    roles = (
        (r"(?:^|/)depth_plane_cam_\d\d_fr\d{4}\.png$", Role.LABEL),
        (r"(?:^|/)filename_(?:list|meta)_\w+\.(?:txt|csv)$", Role.AUX),
    )
    stale = ((r"(?:^|/)filename_meta_\w+\.csv$", "mean, spread and range of the old pixels, columns 'rgb_*'"),)
