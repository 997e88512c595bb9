"""Recordings for behaviour cloning: images of a car's cameras, and its steering.

Names and columns: udacity/self-driving-car-sim, Assets/1_SelfDrivingCar/Scripts/CarController.cs; autorope/donkeycar,
donkeycar/parts/datastore.py (tubs of version 3 and before), parts/tub_v2.py and parts/datastore_v2.py (from version 4).
"""

from collections.abc import Iterator
from functools import partial

from sim2real.datasets.base import Role, Tree
from sim2real.datasets.facts import Facts
from sim2real.datasets.layout import FolderLayout
from sim2real.datasets.readers import is_elsewhere, read_head
from sim2real.datasets.resizing import KEEP, NEAREST

_TRUE = "Nothing in the tables depends on the pixels: they stay valid at any size."


class Udacity(FolderLayout):
    """Udacity's simulator: driving_log.csv with IMG/center_2016_12_01_13_30_48_287.jpg, left_ and right_."""

    name = "udacity"
    rule = "IMG/center_<time>.jpg with driving_log.csv"
    images = (r"IMG", r"(?P<camera>center|left|right)_(?P<frame>\d[\d_]*)\.(?:jpe?g|png)")
    evidence = ((r"[^/]*", r"driving_log\w*\.csv"),)
    roles = ((r"(?:^|/)driving_log\w*\.csv$", Role.LABEL),)
    resizing = ((r"(?:^|/)driving_log\w*\.csv$", KEEP),)
    facts = Facts(
        title="Udacity's driving simulator",
        about="Recordings of Udacity's simulator for behaviour cloning: three cameras, and a table of steering, "
        "throttle, brake and speed.",
        size="As long as you drive; 320x160.",
        get="Record with the simulator, <https://github.com/udacity/self-driving-car-sim>.",
        tree="driving_log.csv\nIMG/center_2016_12_01_13_30_48_287.jpg\nIMG/{left,right}_2016_12_01_13_30_48_287.jpg",
        licence="that of the person who recorded it; the simulator itself is MIT",
        irregularities=(
            (
                "The table names photos by their paths at the time of recording, mostly absolute ones: a training "
                "with the copy that follows them reads the old photos. `inspect` warns of this."
            ),
            _TRUE,
        ),
        folder="track",
    )

    def warnings(self, tree: Tree) -> Iterator[str]:
        """Warn of tables whose paths lead a training with the converted copy back to the old photos."""
        for table in tree.find(r"[^/]*", self.evidence[0][1]):
            lines = read_head(tree.root / table.path).decode("utf-8", errors="replace").splitlines()
            places = [line.partition(",")[0].strip() for line in lines[:2]]
            if place := next(filter(is_elsewhere, places), ""):
                yield f"{table.path} names {place}: a training with the copy would read it; edit the path in the copy"


_donkeycar_facts = partial(
    Facts,
    size="As long as you drive; 160x120 by default.",
    get="Drive a car or its simulator, <https://docs.donkeycar.com>.",
    licence="your own data",
)


class DonkeyCar(FolderLayout):
    """donkeycar: tub/catalog_0.catalog with tub/images/0_cam_image_array_.jpg."""

    name = "donkeycar"
    rule = "images/<n>_cam_image_array_.jpg with catalog_<n>.catalog"
    images = (r"images", r"(?P<frame>\d+)_(?P<camera>cam\w*)[/_-]image_array_\.(?:jpe?g|png)")
    evidence = ((r"[^/]*", r"catalog_\d+\.catalog"),)
    roles = (
        (r"(?:^|/)catalog_\d+\.catalog$|_array_\.png$|_array_\.npy$", Role.LABEL),
        (r"(?:^|/)(?:manifest\.json|catalog_\d+\.catalog_manifest)$", Role.AUX),
    )
    resizing = (
        (r"(?:^|/)(?:catalog_\d+\.catalog(?:_manifest)?|manifest\.json)$", KEEP),
        (r"\d+_\w*depth_array_\.png$", NEAREST),
    )
    facts = _donkeycar_facts(
        title="donkeycar",
        about="A tub of donkeycar from version 4 on: the images and controls of a small car, or of its simulator.",
        tree="data/manifest.json\ndata/catalog_0.{catalog,catalog_manifest}\ndata/images/0_cam_image_array_.jpg",
        irregularities=(_TRUE, "Images of records that are marked as deleted in `manifest.json` are still translated."),
    )


class DonkeyCarRecords(FolderLayout):
    """donkeycar before version 4: tub/record_0.json with tub/0_cam-image_array_.jpg."""

    name = "donkeycar-v1"
    rule = "<n>_cam-image_array_.jpg with record_<n>.json"
    images = (r"[^/]*", r"(?P<frame>\d+)_(?P<camera>cam\w*)-image_array_\.(?:jpe?g|png)")
    evidence = ((r"[^/]*", r"record_\d+\.json"),)
    roles = (
        (r"(?:^|/)record_\d+\.json$|_array_\.png$|_array_\.npy$", Role.LABEL),
        (r"(?:^|/)meta\.json$", Role.AUX),
    )
    resizing = (
        (r"(?:^|/)(?:record_\d+|meta)\.json$", KEEP),
        (r"\d+_\w*-?depth_array_\.png$", NEAREST),
    )
    facts = _donkeycar_facts(
        title="donkeycar before version 4",
        about="A tub of donkeycar up to version 3: a JSON file with steering and throttle for each photo.",
        tree="tub/meta.json\ntub/record_0.json\ntub/0_cam-image_array_.jpg",
        irregularities=(_TRUE,),
        folder="tub",
    )
