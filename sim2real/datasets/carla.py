"""Recordings of CARLA: each exporter has its own layout, the codings are those of the simulator.

Codings: carla.readthedocs.io, ref_sensors. A depth camera stores ``R + 256 G + 65536 B`` over a range of 1000 m, along
its optical axis (carla-simulator/carla, issues 2494 and 2522); a semantic camera stores the tag in R; an instance
camera stores the tag in R and the number of the engine's object in G and B (InstanceSegmentationCamera). Optical flow
is not decoded: it is disputed whether CARLA's flow points to the next or to the previous frame, and which direction is
up (carla-simulator/carla, issue 4795).
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

import numpy as np

from sim2real.datasets.base import Frame, PathMatch, Role, Tree
from sim2real.datasets.classes import CARLA_FROM_0_9_14, CARLA_TO_0_9_13
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import NOTHING, Depth, Instances, Label, Segmentation
from sim2real.datasets.layout import Beside, Decoders, FolderLayout
from sim2real.datasets.readers import (
    in_metres,
    packed,
    read_channels,
    read_map,
    read_packed_ids,
    read_scalabel_boxes,
    read_scalabel_instances,
    read_tags,
    remembered,
    renumbered,
    size_of,
)
from sim2real.datasets.resizing import KEEP, NEAREST, PHOTO
from sim2real.datasets.resizing_documents import BENCH2DRIVE, OPV2V, SCALABEL
from sim2real.errors import ImageError
from sim2real.imageio import read_label

_OLD: Final = tuple(CARLA_TO_0_9_13)
_NUMBERS_OF_COLOURS: Final = {packed(colour): tag for tag, colour in enumerate(CARLA_TO_0_9_13.values())}
_FAR: Final = 1000.0  # metres to the far plane, where the sky is
_LARGEST: Final = 2**24 - 1


def _read_depth(path: Path) -> Depth:
    """Read the 24-bit depth of CARLA's depth camera; the largest value stands for the sky."""
    return Depth(in_metres(read_packed_ids(path) * (_FAR / _LARGEST), _FAR))


def _read_grey_depth(path: Path, *, reach: float) -> Depth:
    """Read 8-bit depth in equal steps up to a reach in metres; the largest value stands for no depth."""
    stored = read_label(path)
    if stored.ndim != 2 or stored.dtype != np.uint8:
        raise ImageError(f"{path}: this depth is stored as grey of 8 bits; this is {stored.dtype} {stored.shape}")
    return Depth(in_metres(stored * (reach / 255), reach))


_OLD_DECODERS: Final[Decoders] = {"segmentation": partial(read_tags, names=_OLD), "depth": _read_depth}


def _read_instances(path: Path) -> Instances:
    """Read ids packed from the tag (R) and the number of the object (G and B); number 0 is no object."""
    ids = read_packed_ids(path)
    return Instances(np.where(ids > 0xFF, ids, np.int32(NOTHING)))


def _read_palette(path: Path) -> Segmentation:
    """Read tags stored as colours of CARLA's Cityscapes palette; the ids are the tags."""
    return Segmentation(renumbered(read_packed_ids(path), _NUMBERS_OF_COLOURS), dict(enumerate(_OLD)))


class CarlaBench2Drive(FolderLayout):
    """Bench2Drive: <clip>/camera/rgb_front/00000.jpg with folders of depth, semantic, instance and anno.

    Sources: Thinklab-SJTU/Bench2Drive, docs/anno.md and docs/v004_update.md. tools/data_collect.py writes depth in
    metres to an 8-bit PNG; OpenCV rounds it and clips it at 255 (issue 190). Since version 0.0.4 depth is an array in
    metres.
    """

    name = "carla-bench2drive"
    facts = Facts(
        title="Bench2Drive",
        about="Short clips of 44 driving scenarios in CARLA 0.9.15, seen by six cameras around the car.",
        size="1600x900, six cameras at 10 Hz; 10 clips (Mini, 4 GB), 1,000 clips (Base, 400 GB) or 13,638 clips (Full, "
        "4 TB); version 0.0.4 has 1,100 routes.",
        get="`huggingface-cli download --repo-type dataset rethinklab/Bench2Drive`; the addresses of all parts are at "
        "<https://github.com/Thinklab-SJTU/Bench2Drive>. Unpack the archive of each clip.",
        tree="Accident_Town03_Route101_Weather23/anno/00000.json.gz\n"
        "Accident_Town03_Route101_Weather23/camera/rgb_{front,front_left,front_right,back,back_left,back_right}"
        "/00000.jpg\n"
        "Accident_Town03_Route101_Weather23/camera/{depth,semantic,instance}_{front,...}/00000.png\n"
        "Accident_Town03_Route101_Weather23/{lidar,radar,expert_assessment}/...",
        labels={
            "segmentation": "CARLA's tags since 0.9.14 and their names",
            "instance": "objects of the engine with their tags, including buildings; not the ids of `anno`",
            "depth": "metres; whole metres up to 254 in PNGs, up to 1000 in the arrays of version 0.0.4",
        },
        licence="CC BY-NC-ND according to the project's README, so that adapted copies must not be distributed (the "
        "card on Hugging Face says Apache 2.0)",
        binds=True,
        irregularities=(
            "The images are JPEGs of quality 20.",
            "`anno` has 3D boxes, but does not say which of them are hidden: they are carried, not decoded.",
            "`rgb_top_down` is a view from 50 m above; it is carried unchanged.",
            "Depth in PNGs is clipped at 255 m by a bug of the recorder.",
        ),
        folder="Bench2Drive-Base",
    )
    rule = "camera/rgb_<view>/<frame>.jpg with anno/<frame>.json.gz"
    images = (r"camera/rgb_(?P<view>(?:front|back)(?:_left|_right)?)", r"(?P<frame>\d{5,})\.(?:jpe?g|png)")
    evidence = ((r"anno", r"\d{5,}\.json\.gz"),)
    labels: ClassVar[Beside] = {
        "segmentation": ("camera/semantic_{view}", r"(?P<frame>\d{5,})\.png"),
        "instance": ("camera/instance_{view}", r"(?P<frame>\d{5,})\.png"),
        "depth": ("camera/depth_{view}", r"(?P<frame>\d{5,})\.(?:png|npz)"),
    }
    decoders: ClassVar[Decoders] = {
        "segmentation": partial(read_tags, names=CARLA_FROM_0_9_14),
        "instance": _read_instances,
        "depth": lambda path: (
            Depth(in_metres(read_map(path), _FAR))
            if path.suffix.lower() == ".npz"
            else _read_grey_depth(path, reach=255)
        ),
    }
    resizing = (
        (r"(?:^|/)anno/\d{5,}\.json\.gz$", BENCH2DRIVE),
        (r"(?:^|/)(?:depth|semantic|instance)_(?:front|back)(?:_left|_right)?/\d{5,}\.png$", NEAREST),
        (r"(?:^|/)(?:lidar|radar|birdview|rgb_top_down|expert_assessment)/", KEEP),
    )
    roles = (
        (r"(?:^|/)(?:rgb_top_down|rgb_\w+_(?:3d_bbox|landmark)|rendered)/[^/]+\.(?:jpe?g|png)$", Role.PSEUDO),
        (r"(?:^|/)(?:anno|lidar|radar|birdview|(?:depth|semantic|instance)_\w+)/", Role.LABEL),
        (r"(?:^|/)expert_assessment/", Role.AUX),
    )
    stale = (
        (r"(?:^|/)anno/", "the weather, the colours of vehicles, the states of lights"),
        (r"(?:^|/)rgb_top_down/", "the simulated scene from above, not translated"),
        (r"(?:^|/)rgb_\w+_(?:3d_bbox|landmark)/", "boxes and lanes, drawn on simulated images"),
        (r"_Weather\d+", "the weather's number, in the name"),
    )
    consecutive = True


@remembered(64)
def _names_of_route(folder: Path) -> Sequence[str]:
    """Return the names of the tags of a route; a sample of its masks decides between CARLA's releases."""
    masks = sorted(path for path in folder.glob("[0-9]*") if path.suffix.lower() == ".png")
    newest = max(int(tags.max()) for mask in masks[:: len(masks) // 16 + 1] for tags in read_channels(mask, 1))
    return _OLD if newest < len(_OLD) else CARLA_FROM_0_9_14


class CarlaGarage(FolderLayout):
    """carla_garage (TransFuser): <route>/rgb/0000.jpg with folders of semantics, depth, boxes and measurements.

    Files and codings: autonomousvision/carla_garage, team_code/data_agent.py and team_code/transfuser_utils.py.
    """

    name = "carla-garage"
    facts = Facts(
        title="carla_garage",
        about="Routes through CARLA's towns, recorded by the data agent of carla_garage for TransFuser and its "
        "successors.",
        size="Two cameras per route; about 350 GB as released.",
        get="`bash tools/download_data.sh` of <https://github.com/autonomousvision/carla_garage>, or record with it.",
        tree="<route>/{rgb,rgb_augmented}/0000.jpg\n"
        "<route>/{semantics,depth,bev_semantics}{,_augmented}/0000.png\n"
        "<route>/{boxes,measurements}/0000.json.gz\n"
        "<route>/lidar/0000.laz\n"
        "<route>/results.json.gz",
        labels={
            "segmentation": "CARLA's tags; their names depend on the release, which a route's masks reveal",
            "depth": "metres up to 50, in 255 steps",
        },
        licence="CC BY 4.0 as released; name the authors",
        irregularities=(
            "The cameras of `rgb_augmented` are shifted and rotated slightly in each frame.",
            "CARLA's tags end at 22 up to release 0.9.13 and at 28 later; a sample of a route's masks decides.",
            "`boxes` are 3D boxes, and no file describes the camera: they are carried, not decoded.",
            "JPEGs next to the folders are debugging views of the agent and are carried unchanged.",
        ),
        folder="carla_garage_data",
    )
    rule = "rgb/<frame>.jpg with boxes or measurements/<frame>.json.gz"
    images = (r"rgb(?P<view>|_augmented)", r"(?P<frame>\d{4,})\.(?:jpe?g|png)")
    evidence = ((r"(?:boxes|measurements)", r"\d{4,}\.json\.gz"),)
    labels: ClassVar[Beside] = {
        "segmentation": ("semantics{view}", r"(?P<frame>\d{4,})\.png"),
        "depth": ("depth{view}", r"(?P<frame>\d{4,})\.png"),
    }
    decoders: ClassVar[Decoders] = {
        "segmentation": lambda path: read_tags(path, names=_names_of_route(path.parent)),
        "depth": partial(_read_grey_depth, reach=50),
    }
    roles = (
        (r"(?:^|/)(?:boxes|lidar|(?:semantics|depth|bev_semantics)(?:_augmented)?)/[^/]*$", Role.LABEL),
        (r"(?:^|/)measurements/[^/]*$|(?:^|/)results\.json\.gz$", Role.AUX),
        (r"(?:^|/)\d{4,5}\.jpe?g$", Role.PSEUDO),
    )
    stale = (
        (r"(?:^|/)boxes/", "the states of traffic lights"),
        (r"(?:^|/)measurements/", "the states of traffic lights, the weather"),
        (r"(?:^|/)(?<!rgb/)(?<!rgb_augmented/)\d{4,5}\.jpe?g$", "simulated images, drawn for debugging"),
    )
    resizing = (
        (r"(?:^|/)(?:semantics|depth)(?:_augmented)?/[^/]+\.png$", NEAREST),
        (r"(?:^|/)(?:boxes|lidar|measurements|bev_semantics(?:_augmented)?)/", KEEP),
        (r"(?:^|/)(?:results\.json\.gz|\d{4,5}\.jpe?g)$", KEEP),
    )
    consecutive = True


class CarlaOpv2v(FolderLayout):
    """OPV2V and V2XSet: <scenario>/<vehicle>/000069_camera0.png with 000069.yaml and 000069.pcd.

    Sources: DerrickXuNu/OpenCOOD, docs/md_files/data_intro.md, and the top-view maps of its ``additional`` archives.
    """

    name = "carla-opv2v"
    facts = Facts(
        title="OPV2V, V2XSet",
        about="Scenes in CARLA, each seen by several connected cars and, in V2XSet, by roadside units.",
        size="800x600, four cameras per car at 10 Hz; 73 scenarios (OPV2V) or 58 (V2XSet).",
        get="The addresses are at <https://opencood.readthedocs.io/en/latest/md_files/data_intro.html>; join the parts "
        "(`cat train.zip.parta* > train.zip`) and unpack them.",
        tree="{train,validate,test,test_culvercity}/2021_08_22_21_41_24/data_protocol.yaml\n"
        "{train,...}/2021_08_22_21_41_24/1732/000069_camera{0,1,2,3}.png\n"
        "{train,...}/2021_08_22_21_41_24/1732/000069.{yaml,pcd}\n"
        "additional/{train,...}/2021_08_22_21_41_24/1732/000069_bev_{dynamic,static,lane,visibility}.png",
        licence="no licence of the data is known to us; the accompanying code is for academic research only",
        irregularities=(
            "The YAML files have 3D boxes of the vehicles that the LiDAR hit: they are carried, not decoded.",
            "Frame numbers count steps of 0.05 s and increase by 2.",
            "Folders with negative numbers are roadside units (V2XSet).",
            "Scenario 2021_09_09_13_20_58 lacks camera 3.",
        ),
        folder="opv2v_data_dumping",
    )
    rule = "<vehicle>/<frame>_camera<k>.png with <frame>.yaml"
    images = (r"-?\d+", r"(?P<frame>\d{5,6})_(?P<camera>camera\d)\.(?:png|jpe?g)")
    evidence = ((r"-?\d+", r"\d{5,6}\.yaml"),)
    resizing = (
        (r"(?:^|/)\d{5,6}\.yaml$", OPV2V),
        (r"(?:^|/)\d{5,6}(?:\.pcd|_bev_\w+\.png)$|(?:^|/)data_protocol\.yaml$", KEEP),
    )
    roles = (
        (r"_bev_vis\.png$", Role.PSEUDO),
        (r"(?:^|/)\d{5,6}(?:\.yaml|\.pcd|_bev_\w+\.png)$", Role.LABEL),
        (r"(?:^|/)data_protocol\.yaml$", Role.AUX),
    )
    stale = ((r"(?:^|/)data_protocol\.yaml$", "the parameters of the simulation, including its weather"),)


_VIEWS: Final = "front|left_45|left_90|right_45|right_90|left_stereo"


class CarlaShift(FolderLayout):
    """SHIFT, unpacked: discrete/images/train/front/img/<sequence>/00000000_img_front.jpg with folders of labels.

    Sources: SysCV/shift-dev, README.md, download.py, shift_dev/dataloader/shift_dataset.py; depth: issue 63; tags:
    issues 4 and 23; flow: issues 52 and 62.
    """

    name = "carla-shift"
    facts = Facts(
        title="SHIFT",
        about="Drives in CARLA under all weathers and times of day, constant (discrete) or changing (continuous).",
        size="1280x800, six views at 1 Hz (`images`) or 10 Hz (`videos`).",
        get="`python download.py --view '[front]' --group '[img,semseg,depth,det_2d]' --split '[train,val]' "
        "--framerate '[images]' --shift discrete DIR` of <https://github.com/SysCV/shift-dev>; unpack each archive "
        "into a folder of its name (`img.zip` into `img/`), and videos with `shift_dev.io.decompress_videos`.",
        tree="discrete/images/{train,val}/{front,left_45,...}/img/003d-7aaa/00000000_img_front.jpg\n"
        "discrete/images/train/front/semseg/003d-7aaa/00000000_semseg_front.png\n"
        "discrete/images/train/front/depth/003d-7aaa/00000000_depth_front.png\n"
        "discrete/images/train/front/flow/003d-7aaa/00000000_flow_front.npz\n"
        "discrete/images/train/front/{det_2d,det_3d,det_insseg_2d}.json\n"
        "discrete/images/train/front/seq.csv",
        labels={
            "segmentation": "CARLA's tags up to 0.9.13 and their names",
            "depth": "metres up to 1000",
            "boxes": "from `det_2d.json`",
            "instance": "from `det_insseg_2d.json`, with the ids of the boxes",
        },
        licence="CC BY-NC-SA 4.0, non-commercial",
        binds=True,
        irregularities=(
            "Labels in packed archives are carried but not decoded; `inspect` lists the archives to unpack.",
            "Flow (at 10 Hz) is carried, not decoded, because the direction of CARLA's flow is disputed.",
            "3D boxes, 8-bit depth and the LiDAR of `center` are carried, not decoded.",
            "Masks unpacked from videos may have tags without a name (issue 4).",
        ),
        folder="shift",
    )
    rule = "<view>/img/<sequence>/<frame>_img_<view>.jpg"
    images = (
        rf"(?P<view>{_VIEWS})/img(?:_decompressed)?/(?P<sequence>[^/]+)",
        rf"(?P<frame>\d{{8}})_img_(?:{_VIEWS})\.(?:jpe?g|png)",
    )
    labels: ClassVar[Beside] = {
        "segmentation": ("{view}/semseg/{sequence}", r"(?P<frame>\d{8,})_semseg_\w+\.png"),
        "depth": ("{view}/depth/{sequence}", r"(?P<frame>\d{8,})_depth_\w+\.png"),
    }
    decoders = _OLD_DECODERS
    resizing = (
        (r"(?:^|/)det_\w+\.json$", SCALABEL),
        (r"(?:^|/)(?:semseg|depth|depth_8bit)/.*\.png$", NEAREST),
        (r"(?:^|/)lidar/|(?:^|/)seq\.csv$", KEEP),
    )
    roles = (
        (r"(?:^|/)img\.(?:zip|tar|hdf5)$", Role.STALE),
        (r"(?:^|/)det_\w+\.json$|(?:^|/)(?:semseg|depth|depth_8bit|flow|lidar)(?:/|\.(?:zip|hdf5)$)", Role.LABEL),
        (r"(?:^|/)seq\.csv$", Role.AUX),
    )
    stale = (
        (r"(?:^|/)det_\w+\.json$", "each frame's weather and time of day"),
        (r"(?:^|/)seq\.csv$", "each sequence's weather and time of day"),
        (r"(?:^|/)img\.(?:zip|tar|hdf5)$", "the simulated images, packed"),
    )

    def labels_of(self, tree: Tree, folder: PathMatch) -> Mapping[str, Mapping[str, str]]:
        """Return the labels; one file of boxes and one of masks hold those of all sequences of a view."""
        numbers = tree.by_frame(folder.path, self.images[1])
        files = tree.by_frame(tree.folder(folder.beside("{view}")), r"(?P<frame>det_2d|det_insseg_2d)\.json")
        kinds = {"det_2d": "boxes", "det_insseg_2d": "instance"}
        listed = {kinds[name.lower()]: dict.fromkeys(numbers, path) for name, path in files.items()}
        return {**super().labels_of(tree, folder), **listed}

    def load_label(self, frame: Frame, kind: str) -> Label:
        """Decode one label; boxes and instances are extracted from the files of the view."""
        image, path = self.root.resolve() / frame.image, self.root / frame.labels[kind]
        match kind:
            case "boxes":
                return read_scalabel_boxes(path, image.name, image.parent.name)
            case "instance":
                return read_scalabel_instances(path, image.name, image.parent.name, size_of(image))
            case _:
                return super().load_label(frame, kind)

    def warnings(self, tree: Tree) -> Iterator[str]:
        """Warn about archives that are still packed."""
        folders = {folder.lower() for folder in tree.folders}
        parts = [part.path.rpartition(".") for part in tree.find(f"{_VIEWS}|center", r"\w+\.(?:zip|tar|hdf5)")]
        if left := [(folder, suffix) for folder, _, suffix in parts if folder.lower() not in folders]:
            folder, suffix = left[0]
            yield (
                f"{len(left)} archives are still packed and carried unchanged, e.g. {folder}.{suffix}; unpack it into "
                f"{folder}/ to use its frames or labels"
            )


class CarlaDataCollector(FolderLayout):
    """CARLA's data collector (CoIL): episode_00000/CentralRGB_00000.png with measurements_00000.json.

    Sources: carla-simulator/data-collector, docs/dataset_format_description.md, modules/data_writer.py and
    tools/post_process.py.
    """

    name = "carla-data-collector"
    facts = Facts(
        title="CARLA data collector",
        about="Episodes of an expert driver in CARLA 0.8.4, recorded for conditional imitation learning (CoIL).",
        size="800x600, or 200x88 after the collector's post-processing, at 10 Hz; one or three cameras.",
        get="Record it with <https://github.com/carla-simulator/data-collector>.",
        tree="metadata.json\n"
        "episode_00000/metadata.json\n"
        "episode_00000/measurements_00000.json\n"
        "episode_00000/{Central,Left,Right}{RGB,SemanticSeg,Depth}_00000.png\n"
        "episode_00000/Lidar32_00000.ply",
        labels={
            "segmentation": "CARLA's tags 0 to 12 and their names",
            "depth": "metres up to 1000",
        },
        licence="set by the author of the recording; CARLA's own assets are CC BY",
        irregularities=(
            "Cameras may have any name; images with `RGB` in their name are translated.",
            "Post-processing resizes depth to 200x88 by interpolating its single bytes: it is wrong at edges.",
            "Measurements hold the positions of all agents but no 2D boxes: they are carried, not decoded.",
        ),
        folder="coil",
    )
    rule = "episode_<nnnnn>/<camera>RGB_<frame>.png with measurements_<frame>.json"
    images = (r"(?P<episode>episode_\d{5,})", r"(?P<camera>\w*?)RGB_(?P<frame>\d{5,})\.(?:png|jpe?g)")
    evidence = ((r"episode_\d{5,}", r"measurements_\d{5,}\.json"),)
    labels: ClassVar[Beside] = {
        "segmentation": ("{episode}", r"(?P<camera>\w*?)(?:SemanticSeg|Labels)_(?P<frame>\d{5,})\.png"),
        "depth": ("{episode}", r"(?P<camera>\w*?)Depth_(?P<frame>\d{5,})\.png"),
    }
    decoders = _OLD_DECODERS
    resizing = (
        (r"(?:Depth|SemanticSeg|Labels)_\d{5,}\.png$", NEAREST),
        (r"Lidar\w*_\d{5,}\.ply$|(?:^|/)measurements_\d{5,}\.json$|/(?:checked|processed2|bad|bad_episode)$", KEEP),
    )
    roles = (
        (r"(?:Depth|SemanticSeg|Labels|Lidar\w*)_\d{5,}\.(?:png|ply)$", Role.LABEL),
        (r"(?:^|/)(?:measurements_\d{5,}|(?:episode_|dataset_)?metadata)\.json$", Role.AUX),
        (r"(?:^|/)episode_\d{5,}/(?:checked|processed2|bad|bad_episode)$", Role.AUX),
    )
    stale = (
        (r"(?:^|/)measurements_\d{5,}\.json$", "the states of traffic lights"),
        (r"(?:^|/)(?:episode_|dataset_)?metadata\.json$", "the weather"),
    )
    consecutive = True


class CarlaKitti(FolderLayout):
    """KITTI-CARLA: Town01/generated/images_rgb/0000_0.png with images_ss/0000_10.png, images_depth/0000_20.png.

    Source: jedeschaud/kitti_carla_simulator, modules/generator_KITTI.py, for CARLA 0.9.10. Sensors are numbered from 0
    (colour), 10 (tags as colours of the palette) and 20 (depth).
    """

    name = "carla-kitti"
    facts = Facts(
        title="KITTI-CARLA",
        about="Seven towns of CARLA 0.9.10, seen by sensors that are placed as on KITTI's car.",
        size="1392x1024, two colour cameras at 10 Hz; 5,000 frames per town.",
        get="<https://npm3d.fr/kitti-carla>, or record it with "
        "<https://github.com/jedeschaud/kitti_carla_simulator>; unpack the image archives.",
        tree="Town01/generated/images_rgb/0000_{0,1}.png\n"
        "Town01/generated/images_ss/0000_{10,11}.png\n"
        "Town01/generated/images_depth/0000_{20,21}.png\n"
        "Town01/generated/frames/frame_0000.ply\n"
        "Town01/generated/{full_ts_camera,full_poses_lidar,lidar_to_cam0,lidar_to_cam1}.txt",
        labels={
            "segmentation": "CARLA's tags up to 0.9.13 and their names, decoded from their colours",
            "depth": "metres up to 1000",
        },
        licence="see the dataset's page; the generator's repository states none",
        irregularities=(
            "The second number of a name is the sensor: 0, 10 and 20 are the left camera's colours, tags and depth.",
            "CARLA may save PNGs with an alpha channel; it is kept.",
        ),
        folder="kitti-carla",
    )
    rule = "images_rgb/<frame>_<camera>.png with images_ss or images_depth"
    images = (r"images_rgb", r"(?P<frame>\d{4,})_(?P<camera>[01])\.(?:png|jpe?g)")
    evidence = ((r"images_(?:ss|depth)", r"\d{4,}_\d{1,2}\.png"),)
    labels: ClassVar[Beside] = {
        "segmentation": ("images_ss", r"(?P<frame>\d{4,})_1?(?P<camera>[01])\.png"),
        "depth": ("images_depth", r"(?P<frame>\d{4,})_2?(?P<camera>[01])\.png"),
    }
    decoders: ClassVar[Decoders] = {"segmentation": _read_palette, "depth": _read_depth}
    roles = (
        (r"(?:^|/)images_(?:ss|depth)/|\.ply$", Role.LABEL),
        (r"(?:^|/)screenshot\.png$", Role.STALE),
        (r"(?:^|/)(?:full_\w+|lidar_to_cam\w*)\.txt$", Role.AUX),
    )
    stale = ((r"(?:^|/)screenshot\.png$", "a simulated image"),)
    resizing = (
        (r"(?:^|/)images_(?:ss|depth)/[^/]+\.png$", NEAREST),
        (r"\.ply$|(?:^|/)(?:full_\w+|lidar_to_cam\w*)\.txt$", KEEP),
        (r"(?:^|/)screenshot\.png$", PHOTO),
    )
    consecutive = True
