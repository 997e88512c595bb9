"""What Unity's Perception package leaves: names with spaces, RGBA, photos that only JSON files tell of."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.datasets.trees.common import Grow, halves, raw_png, write
from tests.datasets.trees.replicator import rgba

CRATE, CHARACTER = [149, 255, 0, 255], [255, 0, 0, 255]
_TYPE = "type.unity.com/unity.solo."


def annotations(stem: str) -> list[dict[str, Any]]:
    return [
        {"@type": f"{_TYPE}BoundingBox3DAnnotation", "id": "bounding box 3D", "values": []},
        {
            "@type": f"{_TYPE}BoundingBox2DAnnotation",
            "id": "bounding box",
            "values": [
                {"instanceId": 3, "labelId": 1, "labelName": "Crate", "origin": [1.0, 2.0], "dimension": [30.0, 20.0]}
            ],
        },
        {
            "@type": f"{_TYPE}InstanceSegmentationAnnotation",
            "id": "instance segmentation",
            "filename": f"{stem}.instance segmentation.png",
            "instances": [
                {"instanceId": 3, "labelId": 1, "labelName": "Crate", "color": CRATE},
                {"instanceId": 1, "labelId": 5, "labelName": "Character", "color": CHARACTER},
            ],
        },
        {
            "@type": f"{_TYPE}SemanticSegmentationAnnotation",
            "id": "semantic segmentation",
            "filename": f"{stem}.semantic segmentation.png",
            "instances": [{"labelName": "Crate", "pixelValue": CRATE}],
        },
    ]


def unity_solo(root: Path, *, frames: int = 2) -> Path:
    """A sequence for each two steps; a step without a photo, and a sensor that is no RGB camera."""
    folder = root / "solo_2"
    for n in range(frames):
        sequence, step = folder / f"sequence.{n // 2}", n % 2
        stem = f"step{step}.Main Camera"
        camera = {"@type": f"{_TYPE}RGBCamera", "id": "Main Camera", "dimension": [32.0, 24.0]}
        captures = [
            {**camera, "filename": f"{stem}.png", "annotations": annotations(stem)},
            {"@type": f"{_TYPE}Lidar", "id": "lidar", "filename": f"step{step}.lidar.png", "annotations": []},
            {**camera, "id": "off", "filename": None, "annotations": []},
        ]
        told = {"frame": n, "sequence": n // 2, "step": step, "captures": captures, "metrics": []}
        write(sequence / f"step{step}.frame_data.json", json.dumps(told, indent=2))
        write(sequence / f"{stem}.png", rgba(n))
        write(sequence / f"{stem}.instance segmentation.png", raw_png(halves(CHARACTER, CRATE)))
        write(sequence / f"{stem}.semantic segmentation.png", raw_png(halves([0, 0, 0, 255], CRATE)))
        write(sequence / f"step{step}.lidar.png", raw_png(np.zeros((4, 4), np.uint16)))
    write(folder / "metadata.json", json.dumps({"perceptionVersion": "1.0.0-preview.1"}))
    for name in ("annotation", "metric", "sensor"):
        write(folder / f"{name}_definitions.json", "{}")
    return root


def unity_perception(root: Path, *, frames: int = 2) -> Path:
    """Captures in one list, whose names are relative to the folder above the list's."""
    crate, character = ({"r": r, "g": g, "b": b, "a": a} for r, g, b, a in (CRATE, CHARACTER))
    boxes = [{"label_id": 1, "label_name": "Crate", "instance_id": 3, "x": 1, "y": 2, "width": 30, "height": 20}]
    instances = [{"instance_id": 3, "color": crate}, {"instance_id": 1, "color": character}]
    captures = []
    for n in range(frames):
        masks = [
            (f"SemanticSegmentation1f/segmentation_{n}.png", None),
            (f"InstanceSegmentation2e/Instance_{n}.png", instances),
        ]
        write(root / f"RGB0a/rgb_{n}.png", rgba(n))
        write(root / masks[0][0], raw_png(halves([0, 0, 0, 255], CRATE)))
        write(root / masks[1][0], raw_png(halves(CHARACTER, CRATE)))
        captures.append(
            {
                "id": f"e8b4{n}",
                "sequence_id": "e96b",
                "step": n,
                "sensor": {"sensor_id": "camera", "modality": "camera"},
                "filename": f"RGB0a/rgb_{n}.png",
                "format": "PNG",
                "annotations": [
                    {"annotation_definition": "box", "filename": None, "values": boxes},
                    *(
                        {"annotation_definition": kind, "filename": name, "values": values}
                        for kind, (name, values) in zip(("class", "object"), masks, strict=True)
                    ),
                ],
            }
        )
    definitions = [
        {"id": "box", "name": "bounding box", "format": "json", "spec": [{"label_id": 1, "label_name": "Crate"}]},
        {"id": "class", "name": "semantic segmentation", "spec": [{"label_name": "Crate", "pixel_value": crate}]},
        {"id": "object", "name": "instance segmentation", "spec": [{"label_id": 1, "label_name": "Crate"}]},
    ]
    write(root / "Dataset77/captures_000.json", json.dumps({"version": "0.0.1", "captures": captures}))
    write(root / "Dataset77/annotation_definitions.json", json.dumps({"annotation_definitions": definitions}))
    for name in ("egos", "sensors", "metric_definitions", "metrics_000"):
        write(root / f"Dataset77/{name}.json", "{}")
    return root


LAYOUTS: dict[str, Grow] = {"unity-solo": unity_solo, "unity-perception": unity_perception}
