"""Kubric: frames and all their layers in one folder.

Names and codings: google-research/kubric, kubric/file_io.py.
"""

from typing import ClassVar, Final

from sim2real.datasets.base import Role
from sim2real.datasets.facts import RENDERED, Facts
from sim2real.datasets.labels import Instances
from sim2real.datasets.layout import Beside, Decoders, FolderLayout
from sim2real.datasets.readers import read_ids_above
from sim2real.datasets.resizing import KEEP, NEAREST

_LAYERS: Final = r"(?:segmentation|normal|object_coordinates|uv|depth|palette|(?:forward_|backward_)?flow)"


class Kubric(FolderLayout):
    """Kubric: rgba_00000.png with segmentation_00000.png, depth_00000.tiff, forward_flow_00000.png, metadata.json."""

    name = "kubric"
    rule = "rgba_<nnnnn>.png with segmentation_<nnnnn>.png, depth_<nnnnn>.tiff or other layers"
    images = (r"(?P<scene>[^/]*)", r"rgba?_(?P<frame>\d{5})\.(?:png|jpe?g)")
    evidence = (
        (
            r"[^/]*",
            r"(?:segmentation|normal|object_coordinates|(?:forward|backward)_flow)_\d{5}\.png|depth_\d{5}\.tiff?",
        ),
    )
    labels: ClassVar[Beside] = {"instance": ("{scene}", r"segmentation_(?P<frame>\d{5})\.png")}
    decoders: ClassVar[Decoders] = {"instance": lambda path: Instances(read_ids_above(path, 0))}
    roles = (
        (rf"(?:^|/){_LAYERS}_\d{{5}}\.\w+$", Role.LABEL),
        (r"(?:^|/)(?:metadata|data_ranges|events)\.json$", Role.LABEL),
    )
    resizing = (
        (r"(?:^|/)(?:segmentation|normal|object_coordinates|uv)_\d{5}\.png$", NEAREST),
        (r"(?:^|/)(?:data_ranges|events)\.json$|\.blend$|\.bullet$", KEEP),
    )
    consecutive = True
    facts = Facts(
        title="Kubric",
        about="Renderings by Kubric with Blender and PyBullet: a folder for each video, with depth, flow, normals, "
        "object coordinates and segmentation.",
        size="As rendered; 256x256 in the MOVi datasets.",
        get="Render it with Kubric, <https://github.com/google-research/kubric>.",
        tree="0/rgba_00000.png\n"
        "0/{segmentation,normal,object_coordinates,forward_flow,backward_flow}_00000.png\n"
        "0/depth_00000.tiff\n"
        "0/{metadata,data_ranges,events}.json",
        labels={"instance": "the number of the object in the list of metadata.json, from 1"},
        licence=RENDERED,
        irregularities=(
            "Photos are RGBA; the alpha channel is kept.",
            (
                "Depth (float TIFF), normals, coordinates and flow (16 bits, between the limits in data_ranges.json) "
                "are carried, not decoded."
            ),
            "`--resize` refuses depth, flow, and the boxes of metadata.json; omit them with `--exclude`.",
        ),
        folder="movi",
    )
