"""After a real conversion, readers that know nothing of this project open the copy, and read what it reads."""

import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sim2real.conversion import ConvertOptions, convert
from sim2real.datasets import Frame, open_dataset
from sim2real.datasets.labels import Box, Boxes, Depth, Flow, Instances, Label, Segmentation
from tests.datasets.reading import load

Grow = Callable[..., Path]
Convert = Callable[[Path], tuple[dict[str, Frame], Path]]
L = TypeVar("L", bound=Label)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, write_run: Callable[..., Path]) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def converted(run: Path, tmp_path: Path) -> Convert:
    """Convert a folder: the frames of the source by image, and the copy."""

    def change(source: Path) -> tuple[dict[str, Frame], Path]:
        options = ConvertOptions(model=run, device="cpu", precision="fp32", workers=1)
        out = tmp_path / "converted"
        convert(source, out, options)
        frames = {frame.image: frame for frame in open_dataset(source).frames()}
        assert frames
        for image in frames:
            assert not np.array_equal(pixels(source / image), pixels(out / image))
        return frames, out

    return change


def pixels(path: Path) -> NDArray[Any]:
    with Image.open(path) as image:
        return np.array(image)


def edges(box: Box) -> list[float]:
    return [box.left, box.top, box.right, box.bottom]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
def test_coco_by_pycocotools(grow: Grow, converted: Convert) -> None:
    from pycocotools.coco import COCO

    frames, out = converted(grow("coco"))
    for split in ("train", "val"):
        api = COCO(str(out / f"annotations/instances_{split}2017.json"))
        for entry in api.loadImgs(api.getImgIds()):
            image = f"{split}2017/{entry['file_name']}"
            assert pixels(out / image).shape == (entry["height"], entry["width"], 3)
            annotations = api.loadAnns(api.getAnnIds(imgIds=[entry["id"]], iscrowd=False))
            found = [
                (
                    api.loadCats([each["category_id"]])[0]["name"],
                    *each["bbox"][:2],
                    *np.add(each["bbox"][:2], each["bbox"][2:]),
                )
                for each in annotations
            ]
            boxes = load(frames[image], "boxes", Boxes).boxes
            assert found == [(box.label, *edges(box)) for box in boxes]
            if split == "train":
                ids = load(frames[image], "instance", Instances).ids
                whole, part = (api.annToMask(each).astype(bool) for each in annotations)
                assert np.mean(part == (ids == 1)) > 0.98  # it may draw edges otherwise
                assert np.mean((whole & ~part) == (ids == 0)) > 0.98
                (crowd,) = api.loadAnns(api.getAnnIds(imgIds=[entry["id"]], iscrowd=True))
                crowded = api.annToMask(crowd).astype(bool) & ~whole & ~part
                classes = load(frames[image], "segmentation", Segmentation).ids
                assert (classes[crowded] == crowd["category_id"]).mean() > 0.95
    panoptic = json.loads((out / "annotations/panoptic_val2017.json").read_text("utf-8"))
    for annotation in panoptic["annotations"]:
        red, green, blue = np.moveaxis(
            pixels(out / "annotations/panoptic_val2017" / annotation["file_name"]).astype(int), 2, 0
        )
        number = red + 256 * green + 256**2 * blue
        image = annotation["file_name"].replace(".png", ".jpg")
        ids = load(frames[f"val2017/{image}"], "segmentation", Segmentation).ids
        for segment in annotation["segments_info"]:
            assert np.array_equal(number == segment["id"], ids == segment["category_id"])


def test_voc_by_torchvision(grow: Grow, converted: Convert) -> None:
    from torchvision.datasets import VOCDetection, VOCSegmentation

    frames, out = converted(grow("voc"))
    detection = VOCDetection(out, year="2012", image_set="train")
    assert len(detection) == len(frames) == 2
    for image, told in detection:
        annotation = told["annotation"]
        frame = frames[f"VOCdevkit/VOC2012/JPEGImages/{annotation['filename']}"]
        assert image.size == (int(annotation["size"]["width"]), int(annotation["size"]["height"]))
        found = [
            (thing["name"], *(float(thing["bndbox"][edge]) for edge in ("xmin", "ymin", "xmax", "ymax")))
            for thing in annotation["object"]
            if "bndbox" in thing
        ]
        boxes = load(frame, "boxes", Boxes).boxes
        assert found == [(box.label, box.left + 1, box.top + 1, box.right, box.bottom) for box in boxes]
    image, mask = VOCSegmentation(out, year="2012", image_set="train")[0]
    indices = np.array(mask, np.int32)
    ids = load(frames["VOCdevkit/VOC2012/JPEGImages/2007_000000.jpg"], "segmentation", Segmentation).ids
    assert np.array_equal(np.where(indices == 255, -1, indices), ids)


def test_yolo_by_the_rules_of_ultralytics(grow: Grow, converted: Convert) -> None:
    import yaml

    frames, out = converted(grow("yolo"))
    sheet = yaml.safe_load((out / "data.yaml").read_text())
    seen = 0
    for split in ("train", "val"):
        for path in sorted((out / sheet[split]).rglob("*.*")):
            before, _, after = path.as_posix().rpartition("/images/")
            text = Path(f"{before}/labels/{after}").with_suffix(".txt")
            assert path.read_bytes()[-2:] == b"\xff\xd9"  # or it would be written anew
            frame = frames[path.relative_to(out).as_posix()]
            seen += 1
            if not text.exists():
                assert not frame.labels
                continue
            rows = np.array([row.split() for row in text.read_text().splitlines()], np.float32).reshape(-1, 5)
            assert rows.min(initial=0) >= 0
            assert rows[:, 1:].max(initial=0) <= 1
            height, width, _ = pixels(path).shape
            boxes = load(frame, "boxes", Boxes).boxes
            assert [sheet["names"][int(row[0])] for row in rows] == [box.label for box in boxes]
            for (_, x, y, w, h), box in zip(rows, boxes, strict=True):
                middle = ((box.left + box.right) / 2 / width, (box.top + box.bottom) / 2 / height)
                assert middle == pytest.approx((x, y))
                assert ((box.right - box.left) / width, (box.bottom - box.top) / height) == pytest.approx((w, h))
    assert seen == len(frames) == 6


def test_cityscapes_by_torchvision(grow: Grow, converted: Convert) -> None:
    from torchvision.datasets import Cityscapes

    source = grow("cityscapes")
    for kind in ("leftImg8bit", "gtFine"):
        shutil.move(source / f"{kind}_trainvaltest" / kind, source / kind)
    frames, out = converted(source)
    dataset = Cityscapes(out, split="train", mode="fine", target_type=["instance", "semantic", "polygon"])
    assert len(dataset) == 2
    for path, (image, (instance, semantic, polygon)) in zip(dataset.images, dataset, strict=True):
        frame = frames[Path(path).relative_to(out).as_posix()]
        assert image.size == (polygon["imgWidth"], polygon["imgHeight"])
        assert np.array_equal(np.array(semantic), load(frame, "segmentation", Segmentation).ids)
        single = np.array(instance) >= 1000  # what is smaller is a class, or a group
        ids = load(frame, "instance", Instances).ids
        assert np.array_equal(single, ids >= 0)
        assert np.array_equal(np.array(instance)[single], ids[single])


def test_kitti_by_torchvision(grow: Grow, converted: Convert) -> None:
    from torchvision.datasets import Kitti

    source = grow("kitti-object", into="source/Kitti/raw").parents[1]
    frames, out = converted(source)
    dataset = Kitti(out, train=True)
    assert len(dataset) == 2
    for path, (image, target) in zip(dataset.images, dataset, strict=True):
        boxes = load(frames[Path(path).relative_to(out).as_posix()], "boxes", Boxes).boxes
        image.load()  # it is open until then
        assert image.size == (32, 24)
        assert [(each["type"], each["bbox"]) for each in target] == [(box.label, edges(box)) for box in boxes]


def test_solo_by_its_json(grow: Grow, converted: Convert) -> None:
    frames, out = converted(grow("unity-solo"))
    seen = set()
    for path in out.rglob("*.frame_data.json"):
        for capture in json.loads(path.read_text())["captures"]:
            if not capture["@type"].endswith("RGBCamera") or not capture["filename"]:
                continue
            image = path.parent / capture["filename"]
            frame = frames[image.relative_to(out).as_posix()]
            seen.add(frame.image)
            height, width, channels = pixels(image).shape
            assert ([width, height], channels) == (capture["dimension"], 4)
            told = {each["@type"].rpartition(".")[2]: each for each in capture["annotations"]}
            boxes = load(frame, "boxes", Boxes).boxes
            assert [
                [*each["origin"], *np.add(each["origin"], each["dimension"])]
                for each in told["BoundingBox2DAnnotation"]["values"]
            ] == [edges(box) for box in boxes]
            objects = told["InstanceSegmentationAnnotation"]
            colours = pixels(path.parent / objects["filename"])
            ids = load(frame, "instance", Instances).ids
            for each in objects["instances"]:
                of_colour = (colours == each["color"]).all(axis=2)
                assert of_colour.any()
                assert np.array_equal(of_colour, ids == each["instanceId"])
    assert seen == set(frames)


def test_virtual_kitti_by_a_reader_of_its_own(grow: Grow, converted: Convert) -> None:
    frames, out = converted(grow("vkitti2"))
    for frame in frames.values():
        assert pixels(out / frame.image).shape == (24, 32, 3)
        if "depth" in frame.labels:
            stored = png(out / frame.labels["depth"])[..., 0].astype(float)
            metres = load(frame, "depth", Depth).metres
            assert np.allclose(np.where(stored == 65535, np.nan, stored / 100), metres, equal_nan=True)
        if "flow" in frame.labels:
            stored = png(out / frame.labels["flow"]).astype(float)
            flow = load(frame, "flow", Flow)
            known = stored[..., 2] > 0
            assert np.array_equal(known, flow.valid)
            u = (2 * stored[..., 0] / 65535 - 1) * 31
            v = (2 * stored[..., 1] / 65535 - 1) * 23
            assert np.allclose(np.stack([u, v], axis=2)[known], flow.uv[known], atol=1e-4)
        if "instance" in frame.labels:
            tracks = pixels(out / frame.labels["instance"]).astype(int) - 1
            assert np.array_equal(tracks, load(frame, "instance", Instances).ids)
    kinds = {kind for frame in frames.values() for kind in frame.labels}
    assert {"depth", "flow", "instance"} <= kinds


def png(path: Path) -> NDArray[np.uint16]:
    """The values (H, W, C) of a PNG of 16 bits, which Pillow would cut to 8: chunks, zlib and the five filters."""
    data, at, packed = path.read_bytes(), 8, b""
    width = height = colours = 0
    while at < len(data):
        (size,), kind = struct.unpack_from(">I", data, at), data[at + 4 : at + 8]
        if kind == b"IHDR":
            width, height, bits, colours = struct.unpack_from(">IIBB", data, at + 8)
            assert bits == 16
        elif kind == b"IDAT":
            packed += data[at + 8 : at + 8 + size]
        at += size + 12
    step = {0: 2, 2: 6}[colours]
    raw, above, rows = zlib.decompress(packed), bytes(width * step), []
    for start in range(0, len(raw), width * step + 1):
        row = bytearray(raw[start + 1 : start + 1 + width * step])
        for i in range(len(row)):
            left, corner = (row[i - step], above[i - step]) if i >= step else (0, 0)
            row[i] = row[i] + _predicted(raw[start], left, above[i], corner) & 255
        above = bytes(row)
        rows.append(above)
    return np.frombuffer(b"".join(rows), ">u2").reshape(height, width, -1).astype(np.uint16)


def _predicted(method: int, left: int, up: int, corner: int) -> int:
    distances = [abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)]
    return (0, left, up, (left + up) // 2, (left, up, corner)[distances.index(min(distances))])[method]
