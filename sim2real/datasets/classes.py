"""Names of class ids that several datasets share."""

from typing import Final

CITYSCAPES: Final = (
    *("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road"),
    *("sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole"),
    *("polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car", "truck"),
    *("bus", "caravan", "trailer", "train", "motorcycle", "bicycle"),
)
"""Names of the class ids 0 to 33 of Cityscapes (cityscapesScripts, labels.py), which KITTI's semantics share."""
