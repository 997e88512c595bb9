"""Labelling tools: CVAT and CreateML."""

import json
from pathlib import Path
from typing import Any

from tests.datasets.trees.common import Grow, jpegs, write

SHAPES = """    <box label="car" source="manual" occluded="0" xtl="4.00" ytl="6.50" xbr="14.00" ybr="10.00" z_order="1">
      <attribute name="colour">a &lt;b&gt;</attribute>
    </box>
    <polygon label="street" occluded="0" points="0.00,12.00;32.00,12.00;32.00,24.00;0.00,24.00" z_order="0">
    </polygon>
    <ellipse label="sun" source="manual" occluded="0" cx="24.00" cy="6.00" rx="4.00" ry="2.00" z_order="0">
    </ellipse>
    <mask label="car" source="manual" occluded="0" rle="1, 2, 3" left="10" top="15" width="3" height="2" z_order="1">
    </mask>
    <polyline label="wire" source="manual" occluded="0" points="0.00,1.00;32.00,1.00" z_order="0">
    </polyline>
    <points label="wire" source="manual" occluded="0" points="3.00,3.00" z_order="0">
    </points>
"""
IMAGE = '  <image id="{number}" name="{name}" width="{width}" height="24">\n{shapes}  </image>\n'
DOCUMENT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <task>
      <name>stra\N{LATIN SMALL LETTER SHARP S}e</name>
      <labels>
        <label>
          <name>street</name>
          <attributes>
            <attribute>
              <name>colour</name>
            </attribute>
          </attributes>
        </label>
        <label>
          <name>car</name>
        </label>
      </labels>
    </task>
  </meta>
{images}</annotations>
"""


def cvat_document(names: list[str], shapes: str = SHAPES, width: int = 32) -> str:
    images = (IMAGE.format(number=number, name=name, shapes=shapes, width=width) for number, name in enumerate(names))
    return DOCUMENT.format(images="".join(images))


def cvat(root: Path, *, frames: int = 2, shapes: str = SHAPES, place: str = "images/") -> Path:
    names = [f"town/{number:04d}.jpg" for number in range(frames)]
    jpegs(root, [place + name for name in names])
    write(root / "annotations.xml", cvat_document(names, shapes))
    return root


def boxes(name: str, key: str = "image", many: str = "annotations") -> dict[str, Any]:
    places = [{"x": 8, "y": 6.5, "width": 4, "height": 3}, {"x": 16, "y": 12, "width": 32, "height": 24}]
    return {key: name, many: [{"label": label, "coordinates": at} for label, at in zip("ab", places, strict=True)]}


def createml(root: Path, *, frames: int = 2) -> Path:
    for split in ("train", "valid"):
        names = [f"{split}_{number}_jpg.rf.0a1b2c.jpg" for number in range(frames)]
        jpegs(root, [f"{split}/{name}" for name in names])
        write(root / f"{split}/_annotations.createml.json", json.dumps([boxes(name) for name in names]))
    write(root / "README.roboflow.txt", "exported")
    return root


LAYOUTS: dict[str, Grow] = {"cvat": cvat, "createml": createml}
