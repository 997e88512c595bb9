"""Makes the README's pictures from what `sim2real demo` left: before_after_real.png and labels_hold.png.

sim2real demo
python media/make_pictures.py demo
"""  # noqa: INP001  a script, not a package

import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sim2real import open_dataset
from sim2real.contactsheet import contact_sheet
from sim2real.datasets import Frame
from sim2real.datasets.labels import Boxes, Segmentation
from sim2real.imageio import encode_png

MEDIA = Path(__file__).parent
OUTLINE, BOX = (255, 224, 64), (255, 64, 48)
PLACES = (0.3, 0.7)  # of the shown frames in the sequence


def main(demo: Path) -> None:
    """Write both pictures beside this file."""
    shutil.copyfile(demo / "before_after_real.png", MEDIA / "before_after_real.png")
    sides = {"before": demo / "sim", "after, with the labels that were carried over": demo / "converted"}
    sheet = contact_sheet({title: list(map(labelled, shown(folder))) for title, folder in sides.items()})
    (MEDIA / "labels_hold.png").write_bytes(encode_png(sheet))


def shown(folder: Path) -> list[Frame]:
    """The same frames of either dataset."""
    frames = list(open_dataset(folder).frames())
    return [frames[round(place * (len(frames) - 1))] for place in PLACES]


def labelled(frame: Frame) -> NDArray[np.uint8]:
    """A frame with its boxes and the outlines of its classes, twice as large."""
    boxes, classes = frame.load_label("boxes"), frame.load_label("segmentation")
    assert isinstance(boxes, Boxes)  # noqa: S101  the kinds of label say so; it types them
    assert isinstance(classes, Segmentation)  # noqa: S101  as above
    large = cv2.resize(frame.load_image(), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    ids = cv2.resize(classes.ids, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    large[(ids != np.roll(ids, 1, axis=0)) | (ids != np.roll(ids, 1, axis=1))] = OUTLINE
    picture = Image.fromarray(large.astype(np.uint8))
    for box in boxes.boxes:
        ImageDraw.Draw(picture).rectangle(
            [2 * box.left, 2 * box.top, 2 * box.right, 2 * box.bottom], outline=BOX, width=2
        )
    return np.array(picture)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
