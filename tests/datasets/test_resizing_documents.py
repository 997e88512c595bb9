"""What becomes of documents and arrays at another size, against values worked out apart."""

import base64
import gzip
import io
import json
import math
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pycocotools import mask as cocoapi

from sim2real.datasets.masks import decode_runs, encode_runs, pack_runs
from sim2real.datasets.resizing import TARTANAIR_FLOW, Rule, Scale
from sim2real.datasets.resizing_documents import (
    ARRAY,
    ARRAY_BOXES,
    ARRAY_FLOW,
    BENCH2DRIVE,
    CITYSCAPES_CAMERA,
    COCO,
    NUIMAGES_OBJECTS,
    NUSCENES_FILES,
    NUSCENES_SENSORS,
    OPV2V,
    PERCEPTION,
    PFM,
    REPLICATOR_CAMERA,
    SCALABEL,
    SOLO,
    VOC,
    outlines,
)
from tests.datasets.trees.common import npy, raw_png

HALF = Scale((8, 6), (4, 18))  # half as wide, three times as high


def edited(rule: Rule, content: object, scale: Scale = HALF) -> Any:
    return json.loads(rule.update(json.dumps(content).encode(), scale))


@given(arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_runs_are_those_of_cocos_own_encoder(mask: NDArray[np.bool_]) -> None:
    runs = encode_runs(mask)
    packed = pack_runs(runs)
    assert packed == cocoapi.encode(np.asfortranarray(mask, np.uint8))["counts"]
    assert np.array_equal(decode_runs(packed, mask.shape[::-1]), mask)
    assert np.array_equal(decode_runs(runs, mask.shape[::-1]), mask)


MASK = np.zeros((6, 8), bool)
MASK[:3, 4:] = True


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_of_cocos_changes_in_all_that_depends_on_the_size(packed: bool) -> None:
    counts: Any = pack_runs(encode_runs(MASK)).decode() if packed else encode_runs(MASK)
    common = {"image_id": 7, "iscrowd": 0, "category_id": 1}
    content = {
        "info": {"description": "straße"},
        "images": [
            {"id": 7, "file_name": "a.jpg", "width": 8, "height": 6},
            {"id": 8, "file_name": "b.jpg", "width": 16, "height": 6},
        ],
        "annotations": [
            {**common, "bbox": [2, 2, 4.0, 1], "area": 4.0, "segmentation": [[2, 2, 6, 2, 2, 3]]},
            {**common, "area": 12, "segmentation": {"size": [6, 8], "counts": counts}},
            {**common, "image_id": 8, "bbox": [8, 2, 4, 4], "num_keypoints": 1, "keypoints": [8, 2, 2, 0, 0, 0]},
            {"image_id": 7, "segments_info": [{"id": 3, "bbox": [0, 0, 8, 3], "area": 24}]},
        ],
        "categories": [{"id": 1, "keypoints": ["nose", "eye"]}],
    }
    text = json.dumps(content, ensure_ascii=False, indent=1)
    after = COCO.update(text.encode(), Scale((0, 0), (4, 18))).decode()
    assert after.splitlines()[:3] == text.splitlines()[:3]
    found = json.loads(after)
    assert [(image["width"], image["height"]) for image in found["images"]] == [(4, 18)] * 2
    outline, runs, points, panoptic = found["annotations"]
    assert (outline["bbox"], outline["area"], outline["segmentation"]) == ([1, 6, 2, 3], 6, [[1, 6, 3, 6, 1, 9]])
    mask = runs["segmentation"]
    assert type(mask["counts"]) is type(counts)
    assert mask["size"] == [18, 4]
    decoded = decode_runs(mask["counts"].encode() if packed else mask["counts"], (4, 18))
    assert np.array_equal(decoded, np.repeat(MASK[:, 1::2], 3, axis=0))
    assert runs["area"] == decoded.sum() == 18
    assert (points["bbox"], points["keypoints"]) == ([2, 6, 1, 12], [2, 6, 2, 0, 0, 0])
    assert panoptic["segments_info"] == [{"id": 3, "bbox": [0, 0, 4, 9], "area": 36}]
    assert found["categories"] == content["categories"]


def test_a_file_without_sizes_is_about_images_of_one() -> None:
    content = {"images": [{"id": 1}], "annotations": [{"image_id": 1, "bbox": [2, 2, 2, 2]}]}
    assert edited(COCO, content)["annotations"][0]["bbox"] == [1, 6, 1, 6]
    with pytest.raises(ValueError, match="does not declare the size"):
        edited(COCO, content, Scale((0, 0), (4, 18)))


def test_documents_keep_their_form() -> None:
    compact = b'{"imgWidth":8,"imgHeight":6,"objects":[{"label":"a","polygon":[[0,0],[8,6]]}]}\n'
    rule = outlines("imgWidth", "imgHeight")
    after = b'{"imgWidth":4,"imgHeight":18,"objects":[{"label":"a","polygon":[[0.0,0.0],[4.0,18.0]]}]}\n'
    assert rule.update(compact, HALF) == after
    packed = rule.update(gzip.compress(compact), HALF)
    assert gzip.decompress(packed) == after
    assert packed == rule.update(gzip.compress(compact, mtime=7), HALF)
    with pytest.raises(ValueError, match="cannot be unpacked"):
        rule.update(gzip.compress(compact)[:-9], HALF)


def test_boxes_and_cameras_of_cityscapes() -> None:
    content = {
        "imgWidth": 8,
        "imgHeight": 6,
        "sensor": {"fx": 10, "fy": 10, "u0": 3.5, "v0": 2.5, "baseline": 0.2},
        "objects": [
            {"label": "person", "bbox": [2, 2, 4, 2], "bboxVis": [2, 2, 2, 2]},
            {"label": "car", "2d": {"modal": [0, 0, 8, 6], "amodal": [0, 0, 8, 6]}, "3d": {"center": [1, 2, 3]}},
        ],
    }
    found = edited(outlines("imgWidth", "imgHeight"), content)
    assert found["sensor"] == {"fx": 5, "fy": 30, "u0": 1.5, "v0": 8.5, "baseline": 0.2}
    assert found["objects"] == [
        {"label": "person", "bbox": [1, 6, 2, 6], "bboxVis": [1, 6, 1, 6]},
        {"label": "car", "2d": {"modal": [0, 0, 4, 18], "amodal": [0, 0, 4, 18]}, "3d": {"center": [1, 2, 3]}},
    ]
    camera = {"extrinsic": {"x": 1.7}, "intrinsic": {"fx": 10, "fy": 10, "u0": 3.5, "v0": 2.5}}
    assert edited(CITYSCAPES_CAMERA, camera) == {
        "extrinsic": {"x": 1.7},
        "intrinsic": {"fx": 5, "fy": 30, "u0": 1.5, "v0": 8.5},
    }


def test_corners_of_scalabel_are_pixels_inside() -> None:
    frame = {
        "name": "a.jpg",
        "intrinsics": {"focal": [10, 10], "center": [3.5, 2.5]},
        "labels": [
            {"id": "1", "box2d": {"x1": 0, "y1": 0, "x2": 7, "y2": 5}, "box3d": {"location": [1, 2, 3]}},
            {"poly2d": [{"vertices": [[2, 2], [4, 4]], "types": "LL", "closed": False}]},
            {"rle": {"size": [6, 8], "counts": pack_runs(encode_runs(MASK)).decode()}},
            {"graph": {"nodes": [{"location": [2, 2], "category": "head"}]}},
            {"box2d": None},
        ],
    }
    for content in ([frame], {"frames": [frame], "config": {"imageSize": {"width": 8, "height": 6}}}):
        found = edited(SCALABEL, content)
        (told,) = found if isinstance(found, list) else found["frames"]
        box, outline, runs, graph, _ = told["labels"]
        assert box["box2d"] == {"x1": 0, "y1": 0, "x2": 3, "y2": 17}
        assert box["box3d"] == {"location": [1, 2, 3]}
        assert outline["poly2d"][0]["vertices"] == [[1, 6], [2, 12]]
        assert np.array_equal(decode_runs(runs["rle"]["counts"].encode(), (4, 18)), np.repeat(MASK[:, 1::2], 3, axis=0))
        assert graph["graph"]["nodes"][0]["location"] == [1, 6]
        assert told["intrinsics"] == {"focal": [5, 30], "center": [1.5, 8.5]}
    assert found["config"] == {"imageSize": {"width": 4, "height": 18}}


def test_tables_of_nuscenes() -> None:
    counts = base64.b64encode(pack_runs(encode_runs(MASK))).decode()
    rows = [{"token": "a", "bbox": [2, 2, 4, 4], "mask": {"size": [6, 8], "counts": counts}}, {"mask": None}]
    found = edited(NUIMAGES_OBJECTS, rows)
    assert found[0]["bbox"] == [1, 6, 2, 12]
    runs = base64.b64decode(found[0]["mask"]["counts"])
    assert np.array_equal(decode_runs(runs, (4, 18)), np.repeat(MASK[:, 1::2], 3, axis=0))
    assert found[0]["mask"]["size"] == [18, 4]
    files = [{"filename": "a.jpg", "width": 8, "height": 6}, {"filename": "a.pcd.bin", "width": 0, "height": 0}]
    assert [row["width"] for row in edited(NUSCENES_FILES, files)] == [4, 0]
    sensors = [{"camera_intrinsic": [[10, 0, 3.5], [0, 10, 2.5], [0, 0, 1]]}, {"camera_intrinsic": []}]
    assert edited(NUSCENES_SENSORS, sensors) == [
        {"camera_intrinsic": [[5, 0, 1.5], [0, 30, 8.5], [0, 0, 1]]},
        {"camera_intrinsic": []},
    ]


def test_captures_of_unity() -> None:
    box = {"@type": "unity.BoundingBox2DAnnotation", "values": [{"origin": [2, 2], "dimension": [4, 2]}]}
    solid = {"@type": "unity.BoundingBox3DAnnotation", "values": [{"translation": [1, 2, 3], "size": [1, 1, 1]}]}
    points = {"@type": "unity.KeypointAnnotation", "values": [{"keypoints": [{"location": [2, 2], "state": 2}]}]}
    mask = {"@type": "unity.SemanticSegmentationAnnotation", "dimension": [8.0, 6.0], "instances": []}
    capture = {"dimension": [8.0, 6.0], "matrix": [1] * 9, "annotations": [box, solid, points, mask]}
    found = edited(SOLO, {"captures": [capture, {"dimension": None}], "metrics": [{"values": [{"visiblePixels": 8}]}]})
    told = found["captures"][0]
    assert (told["dimension"], told["matrix"]) == ([4, 18], [1] * 9)
    assert told["annotations"][0]["values"] == [{"origin": [1, 6], "dimension": [2, 6]}]
    assert told["annotations"][1] == solid
    assert told["annotations"][2]["values"][0]["keypoints"] == [{"location": [1, 6], "state": 2}]
    assert told["annotations"][3]["dimension"] == [4, 18]
    assert found["metrics"][0]["values"] == [{"visiblePixels": 12}]
    old = {"captures": [{"annotations": [{"values": [{"x": 2, "y": 2, "width": 4, "height": 2}]}, {"values": None}]}]}
    assert edited(PERCEPTION, old)["captures"][0]["annotations"][0]["values"] == [
        {"x": 1, "y": 6, "width": 2, "height": 6}
    ]


def test_cameras_of_replicator() -> None:
    assert edited(REPLICATOR_CAMERA, {"cameraModel": "pinhole", "renderProductResolution": [8, 6], "a": [1]}) == {
        "cameraModel": "pinhole",
        "renderProductResolution": [4, 18],
        "a": [1],
    }
    with pytest.raises(ValueError, match="fisheyePolynomial"):
        edited(REPLICATOR_CAMERA, {"cameraModel": "fisheyePolynomial"})


def test_cameras_of_carlas_exporters() -> None:
    sensor = {"image_size_x": 8, "image_size_y": 6, "intrinsic": [[10.0, 0, 3.5], [0, 10, 2.5], [0, 0, 1]]}
    above = {"image_size_x": 512, "image_size_y": 512, "intrinsic": [[1, 0, 2], [0, 1, 2], [0, 0, 1]]}
    found = edited(BENCH2DRIVE, {"sensors": {"CAM_FRONT": sensor, "TOP_DOWN": above, "LIDAR_TOP": {"location": []}}})
    assert found["sensors"] == {
        "CAM_FRONT": {"image_size_x": 4, "image_size_y": 18, "intrinsic": [[5, 0, 1.5], [0, 30, 8.5], [0, 0, 1]]},
        "TOP_DOWN": above,
        "LIDAR_TOP": {"location": []},
    }
    text = "lidar_pose:\n- 1.5\ncamera0:\n  cords: [1, 2]\n  intrinsic: [[10, 0, 3.5], [0, 10, 2.5], [0, 0, 1]]\n"
    assert yaml.safe_load(OPV2V.update(text.encode(), HALF)) == {
        "lidar_pose": [1.5],
        "camera0": {"cords": [1, 2], "intrinsic": [[5, 0, 1.5], [0, 30, 8.5], [0, 0, 1]]},
    }


def voc(size: str, *boxes: tuple[float, ...], name: str = "dog 7") -> str:
    edges = "<xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax>"
    told = "".join(f"<object><name>{name}</name><bndbox>{edges.format(*box)}</bndbox></object>" for box in boxes)
    return f"<annotation>\n<size>{size}<depth>3</depth></size>\n{told}</annotation>"


def test_pixels_of_voc_are_counted_from_one() -> None:
    before = voc("<width>8</width><height> 6</height>", (1, 1, 8, 6), (3, 2, 3, 2))
    after = voc("<width>4</width><height> 18</height>", (1, 1, 4, 18), (2, 4, 2, 6))
    assert VOC.update(before.encode(), HALF).decode() == after
    for other in ("<polygon><x>3</x></polygon>", "<robndbox/>"):
        with pytest.raises(ValueError, match="outlines"):
            VOC.update(f"<annotation><object>{other}</object></annotation>".encode(), HALF)
    with pytest.raises(ValueError, match="other labels"):
        VOC.update(b"<settings><width>8</width></settings>", HALF)


def test_pixels_of_voc_are_those_of_the_told_size() -> None:
    before = voc("<width>16</width><height>12</height>", (1, 1, 16, 12), (5, 3, 6, 4))
    after = voc("<width>4</width><height>18</height>", (1, 1, 4, 18), (2, 4, 2, 6))
    assert VOC.update(before.encode(), HALF).decode() == after
    assert VOC.update(before.encode(), Scale((0, 0), (4, 18))).decode() == after  # of images of several sizes
    for size in ("", "<width>0</width><height>0</height>", "<width>x</width><height>8</height>"):
        with pytest.raises(ValueError, match="does not declare the size"):
            VOC.update(voc(size).encode(), Scale((0, 0), (4, 18)))


@pytest.mark.parametrize("encoding", ["gb2312", "gbk", "utf-8", "utf-8-sig", "utf-16", "iso-8859-5"])
def test_xml_keeps_its_encoding(encoding: str) -> None:
    name = "Дом" if encoding == "iso-8859-5" else "汽车"
    declared = encoding.removesuffix("-sig")
    before, after = (
        f'<?xml version="1.0" encoding="{declared}"?>{voc(size, box, name=name)}'
        for size, box in (
            ("<width>8</width><height>6</height>", (1, 1, 8, 6)),
            ("<width>4</width><height>18</height>", (1, 1, 4, 18)),
        )
    )
    assert VOC.update(before.encode(encoding), HALF) == after.encode(encoding)


def test_boxes_of_voc_without_numbers_stay_as_they_are() -> None:
    size = "<width>8</width><height>6</height>"
    after = VOC.update(voc(size, (1, math.nan, math.inf, 6)).encode(), HALF).decode()
    assert "<xmin>1</xmin><ymin>nan</ymin><xmax>inf</xmax><ymax>18</ymax>" in after


def test_arrays() -> None:
    depth = np.arange(48, dtype="<f4").reshape(6, 8)
    after = np.load(io.BytesIO(ARRAY.update(npy(depth), HALF)))
    assert after.dtype == depth.dtype
    assert np.array_equal(after, np.repeat(depth[:, 1::2], 3, axis=0))
    flow = np.full((6, 8, 2), (2, 2), "<f4")
    assert np.unique(np.load(io.BytesIO(ARRAY_FLOW.update(npy(flow), HALF))).reshape(-1, 2), axis=0).tolist() == [
        [1, 6]
    ]
    with pytest.raises(ValueError, match="allow_pickle"):
        ARRAY.update(npy(np.array([{}])), HALF)
    fields = [("semanticId", "<u4"), *((edge, "<i4") for edge in ("x_min", "y_min", "x_max", "y_max")), ("o", "<f4")]
    unseen = 2**31 - 1
    rows = np.array([(9, 1, 1, 7, 5, 0.5), (9, unseen, unseen, unseen, unseen, 1)], fields)
    boxes = np.load(io.BytesIO(ARRAY_BOXES.update(npy(rows), HALF)))
    assert boxes.dtype == rows.dtype
    assert boxes.tolist() == [(9, 0, 3, 4, 15, 0.5), (9, unseen, unseen, unseen, unseen, 1)]


@pytest.mark.parametrize("order", ["<", ">"])
def test_pfm_keeps_its_values_and_their_order(order: str) -> None:
    values = np.arange(48, dtype=f"{order}f4").reshape(6, 8)
    scale = {"<": b"-1.0", ">": b"1.0"}[order]
    after = PFM.update(b"Pf\n8 6\n" + scale + b"\n" + values.tobytes(), HALF)
    assert after == b"Pf\n4 18\n" + scale + b"\n" + np.repeat(values[:, 1::2], 3, axis=0).tobytes()


def test_flow_of_tartanair_has_u_in_blue_and_its_mask_in_red() -> None:
    stored = np.full((6, 8, 3), (10, 2**15 - 64, 2**15 + 128), np.uint16)  # 2 px to the right, 1 up, hidden
    stored[:3, :, 1] = 2**15 + 30000
    png = TARTANAIR_FLOW.update(raw_png(stored), HALF)
    found = np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED))
    assert found[-1, 0].tolist() == [2**15 + 64, 2**15 - 192, 10]  # as OpenCV reads them: blue, green, red
    assert found[0, 0].tolist() == [2**15, 2**15, 100]
