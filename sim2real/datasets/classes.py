"""Names of class ids that several datasets share."""

from typing import Final

CITYSCAPES: Final = (
    *("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road"),
    *("sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole"),
    *("polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car", "truck"),
    *("bus", "caravan", "trailer", "train", "motorcycle", "bicycle"),
)
"""Names of the class ids 0 to 33 of Cityscapes (cityscapesScripts, labels.py), which KITTI's semantics share."""

NYU40: Final = (
    *("wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture", "counter"),
    *("blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floormat", "clothes", "ceiling", "books"),
    *("refrigerator", "television", "paper", "towel", "showercurtain", "box", "whiteboard", "person", "nightstand"),
    *("toilet", "sink", "lamp", "bathtub", "bag", "otherstructure", "otherfurniture", "otherprop"),
)
"""Names of the class ids 1 to 40 of NYU Depth V2 (apple/ml-hypersim, semantic_label_descs.csv)."""

CARLA_TO_0_9_13: Final = {
    "Unlabeled": (0, 0, 0),
    "Building": (70, 70, 70),
    "Fence": (100, 40, 40),
    "Other": (55, 90, 80),
    "Pedestrian": (220, 20, 60),
    "Pole": (153, 153, 153),
    "RoadLine": (157, 234, 50),
    "Road": (128, 64, 128),
    "SideWalk": (244, 35, 232),
    "Vegetation": (107, 142, 35),
    "Vehicles": (0, 0, 142),
    "Wall": (102, 102, 156),
    "TrafficSign": (220, 220, 0),
    "Sky": (70, 130, 180),
    "Ground": (81, 0, 81),
    "Bridge": (150, 100, 100),
    "RailTrack": (230, 150, 140),
    "GuardRail": (180, 165, 180),
    "TrafficLight": (250, 170, 30),
    "Static": (110, 190, 160),
    "Dynamic": (170, 120, 50),
    "Water": (45, 60, 150),
    "Terrain": (145, 170, 100),
}
"""Names of CARLA's tags 0 to 22, up to release 0.9.13, with the colours of its Cityscapes palette.

13 and later came with 0.9.10 (carla-simulator/carla, pull request 3251).
"""

CARLA_FROM_0_9_14: Final = (
    *("Unlabeled", "Roads", "SideWalks", "Building", "Wall", "Fence", "Pole", "TrafficLight", "TrafficSign"),
    *("Vegetation", "Terrain", "Sky", "Pedestrian", "Rider", "Car", "Truck", "Bus", "Train", "Motorcycle", "Bicycle"),
    *("Static", "Dynamic", "Other", "Water", "RoadLine", "Ground", "Bridge", "RailTrack", "GuardRail"),
)
"""Names of CARLA's tags 0 to 28 since release 0.9.14 (carla-simulator/carla, CityScapesPalette.h and issue 6216)."""
