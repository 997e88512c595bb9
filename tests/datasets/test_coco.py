"""COCO: images are those that the JSON names, wherever they lie; masks as the reference implementation draws them."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as reference

from sim2real.conversion.resized_files import Resizer
from sim2real.datasets import Frame, Role, open_dataset
from sim2real.datasets.labels import Box, Instances, Segmentation
from sim2real.errors import DatasetError
from tests.datasets.reading import boxes
from tests.datasets.trees.coco import instances, panoptic, panoptic_png, runs

Grow = Callable[..., Path]
Plant = Callable[..., None]

BOXES = [Box("person", 2, 2, 18, 18), Box("person", 4, 4, 28, 8)]


def frames(root: Path) -> dict[str, Frame]:
    dataset = open_dataset(root)
    assert dataset.name == "coco"
    return {frame.image: frame for frame in dataset.frames()}


def masks(frame: Frame) -> tuple[Segmentation, Instances]:
    segmentation, instance = frame.load_label("segmentation"), frame.load_label("instance")
    assert isinstance(segmentation, Segmentation)
    assert isinstance(instance, Instances)
    return segmentation, instance


def test_roles(grow: Grow) -> None:
    dataset = open_dataset(grow("coco"))
    files = dict(dataset.files())
    assert dataset.roles() == {"IMAGE": 4, "LABEL": 5, "AUX": 0, "PSEUDO": 0, "STALE": 2}
    assert files["annotations/captions_val2017.json"] is Role.STALE
    assert files["annotations/panoptic_val2017/000000000001.png"] is Role.LABEL
    train = frames(dataset.root)["train2017/000000000002.jpg"]
    assert set(train.labels.values()) == {"annotations/instances_train2017.json"}


def test_polygons_and_runs_become_boxes_and_masks(grow: Grow) -> None:
    frame = frames(grow("coco"))["train2017/000000000002.jpg"]
    assert boxes(frame) == BOXES
    segmentation, instance = masks(frame)
    assert segmentation.names == {1: "person", 90: "straße"}
    places = [(0, 0), (3, 3), (5, 5), (5, 26), (14, 3), (13, 20)]
    assert [int(segmentation.ids[place]) for place in places] == [-1, 1, 1, 1, 1, 90]
    assert [int(instance.ids[place]) for place in places] == [-1, 0, 1, 1, 0, -1]  # crowds are no instances


def test_panoptic_png_tells_classes_and_things(grow: Grow) -> None:
    frame = frames(grow("coco"))["val2017/000000000001.jpg"]
    png = "annotations/panoptic_val2017/000000000001.png"
    assert frame.labels == {
        "boxes": "annotations/instances_val2017.json",
        "segmentation": png,
        "instance": png,
    }
    segmentation, instance = masks(frame)
    assert [int(segmentation.ids[y, 0]) for y in (0, 12, 23)] == [1, 90, -1]
    assert [int(instance.ids[y, 0]) for y in (0, 12, 23)] == [70000, -1, -1]
    assert segmentation.names[90] == "straße"


def test_panoptic_alone_has_boxes_of_things_and_its_pngs_may_lie_elsewhere(tmp_path: Path, plant: Plant) -> None:
    plant(
        tmp_path,
        "images/1.png",
        {"annotations/panoptic.json": panoptic({1: "1.png"}), "PANOPTIC/1.png": panoptic_png()},
    )
    found = frames(tmp_path)
    assert list(found) == ["images/1.png"]
    assert boxes(found["images/1.png"]) == [Box("person", 0, 0, 32, 12)]
    assert found["images/1.png"].labels["instance"] == "PANOPTIC/1.png"


def test_packed_runs_are_those_of_the_reference(tmp_path: Path, plant: Plant) -> None:
    mask = np.random.default_rng(0).random((24, 32)) < 0.5
    packed = reference.encode(np.asfortranarray(mask.astype(np.uint8)))
    content = json.loads(instances({1: "0.jpg"}))
    counts = {"size": packed["size"], "counts": packed["counts"].decode()}
    content["annotations"] = [{"image_id": 1, "category_id": 90, "segmentation": counts}]
    plant(tmp_path, "0.jpg", {"labels.json": json.dumps(content)})
    segmentation, _ = masks(frames(tmp_path)["0.jpg"])
    assert np.array_equal(segmentation.ids == 90, mask)
    assert boxes_of(tmp_path) == {"0.jpg": ["segmentation", "instance"]}


def boxes_of(root: Path) -> dict[str, list[str]]:
    return {image: sorted(frame.labels, reverse=True) for image, frame in frames(root).items()}


@pytest.mark.parametrize("name", ["0.jpg", "./0.jpg", "..\\images\\0.jpg", "/home/me/set/train/0.jpg", "train/0.JPG"])
def test_images_are_found_by_the_ends_of_their_names(name: str, tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "set/train/0.jpg", "set/val/1.jpg", {"set/annotations/instances_train.json": instances({7: name})})
    found = frames(tmp_path)
    assert list(found) == ["set/train/0.jpg"]
    assert boxes(found["set/train/0.jpg"]) == BOXES


def test_images_of_one_name_belong_to_the_file_beside_them_or_called_like_their_folder(
    tmp_path: Path, plant: Plant
) -> None:
    beside, called = tmp_path / "beside", tmp_path / "called"
    for split, numbers in (("train", (0, 1)), ("valid", (1, 0))):
        content = instances({number + 1: f"{place}.jpg" for place, number in enumerate(numbers)})
        plant(beside, *(f"{split}/{n}.jpg" for n in (0, 1)), {f"{split}/_annotations.coco.json": content})
        plant(called, *(f"{split}/{n}.jpg" for n in (0, 1)), {f"annotations/instances_{split}.json": content})
    assert frames(beside)["valid/0.jpg"].labels["boxes"] == "valid/_annotations.coco.json"
    assert frames(called)["valid/0.jpg"].labels["boxes"] == "annotations/instances_valid.json"
    assert len(frames(beside)) == len(frames(called)) == 4
    assert boxes(frames(called)["train/1.jpg"]) == BOXES


def test_most_common_folders_decide_but_masks_of_the_same_names_are_never_taken(tmp_path: Path, plant: Plant) -> None:
    names = [f"{town}/{camera}/rgb.png" for town in ("town1", "town2") for camera in ("left", "right")]
    plant(tmp_path, *(f"{folder}/{name}" for folder in ("all/photos", "all/masks") for name in names))
    images = [{"id": n, "file_name": f"/old/place/{name}"} for n, name in enumerate(names)]
    plant(tmp_path, {"annotations/a.json": json.dumps({"images": images, "annotations": [], "categories": []})})
    assert list(frames(tmp_path)) == [f"all/photos/{name}" for name in names]


def test_an_image_that_several_files_could_be_is_left_alone_and_told(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "a/0.jpg", "b/0.jpg", "b/1.jpg", {"labels.json": instances({1: "0.jpg", 2: "1.jpg"})})
    dataset = open_dataset(tmp_path)
    assert [frame.image for frame in dataset.frames()] == ["b/1.jpg"]
    assert dataset.roles()["AUX"] == 2
    assert any("2" in line and "a/0.jpg" in line for line in dataset.warnings())


def test_order_of_the_members_and_size_of_the_file_do_not_matter(tmp_path: Path, plant: Plant) -> None:
    """Annotations ahead of the images, more than are sampled, and larger than what is read at once."""
    images = {number: f"ß{number}.jpg" for number in range(100)}
    filler = [{"image_id": 5, "category_id": 90, "segmentation": [[0.125] * 60]} for _ in range(5000)]
    content = json.loads(instances(images))
    text = json.dumps(
        {
            "annotations": filler + content["annotations"],
            "categories": content["categories"],
            "images": content["images"],
        },
        indent=1,
        ensure_ascii=False,
    )
    assert len(text) > 2**21
    plant(tmp_path, *images.values(), {"all.json": f"\ufeff{text}\n"})
    assert open_dataset(tmp_path).match.images == 100
    found = frames(tmp_path)
    assert boxes(found["ß99.jpg"]) == BOXES
    assert (masks(found["ß5.jpg"])[0].ids == masks(found["ß6.jpg"])[0].ids).all()


def test_images_without_annotations_are_frames_without_labels(tmp_path: Path, plant: Plant) -> None:
    content = json.loads(instances({1: "0.jpg"}))
    del content["annotations"]
    plant(tmp_path, "test2017/0.jpg", {"annotations/image_info_test2017.json": json.dumps(content)})
    assert boxes_of(tmp_path) == {"test2017/0.jpg": []}


@pytest.mark.parametrize(
    "content",
    [
        '{"images": ["0.jpg"], "annotations": []}',
        '[{"file_name": "0.jpg"}]',
        '{"frames": [{"name": "0.jpg", "annotations": [1]}]}',
        '{"images": [{"id": 1, "file_name": "other.jpg"}], "annotations": []}',
    ],
)
def test_other_json_is_not_taken_for_it(content: str, tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "0.jpg", {"instances.json": content})
    assert open_dataset(tmp_path).name == "images"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"category_id": None, "bbox": [1, 2, 3]}, "annotations of 0.jpg are damaged"),
        ({"segmentation": [[1, 2, 3]]}, "annotations of 0.jpg are damaged"),
        ({"segmentation": {**runs(12), "size": [32, 24]}}, "run lengths of 24x32 pixels, the image has 32x24"),
        ({"segmentation": {"size": [24, 32], "counts": [5]}}, "do not fill its 32x24 pixels"),
    ],
)
def test_damaged_annotations_are_an_error_that_names_file_and_image(
    change: dict[str, Any], message: str, tmp_path: Path, plant: Plant
) -> None:
    content = json.loads(instances({1: "0.jpg"}))
    content["annotations"][0] |= change
    plant(tmp_path, "0.jpg", {"instances.json": json.dumps(content)})
    frame = frames(tmp_path)["0.jpg"]
    with pytest.raises(DatasetError, match=message) as error:
        frame.load_label("segmentation" if "segmentation" in change else "boxes")
    assert str(error.value).startswith(str(tmp_path / "instances.json"))


def test_file_that_breaks_off_is_an_error_that_names_it(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "0.jpg", {"instances.json": instances({1: "0.jpg"})[:-40]})
    with pytest.raises(DatasetError, match=r"instances\.json: cannot be read as JSON"):
        open_dataset(tmp_path)


def test_photo_is_chosen_among_maps_of_its_name(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "rgb/0.png", "depth/0.png", "normal/0.png", "flow/0.png")
    tables = {"images": [{"id": 1, "file_name": "0.png"}], "annotations": [], "categories": []}
    plant(tmp_path, {"coco_annotations.json": json.dumps(tables)})
    assert list(frames(tmp_path)) == ["rgb/0.png"]
    assert dict(open_dataset(tmp_path).files())["normal/0.png"] is Role.LABEL


def one(name: str, **annotation: Any) -> str:
    told = {"image_id": 1, "category_id": 1, "bbox": [2, 2, 16, 16], **annotation}
    categories = [{"id": 1, "name": "car"}]
    return json.dumps({"images": [{"id": 1, "file_name": name}], "annotations": [told], "categories": categories})


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("caf\u00e9.jpg", "cafe\u0301.jpg"),
        ("cafe\u0301/a.jpg", "caf\u00e9/a.jpg"),
        ("a b#1.jpg", "a%20b%231.jpg"),
        ("train/\u00e9.jpg", "upload/train/e%CC%81.jpg"),
        ("a.png", "a.jpg"),
        ("images/a.jpg", "C:\\labels\\images\\a.JPEG"),
        ("images/a.b.jpg", "/data/media/upload/3/a.b.png"),
        ("100%25.jpg", "100%25.jpg"),
    ],
)
def test_names_may_be_written_in_other_ways(image: str, name: str, tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, image, f"other/{image}", {"labels.json": one(name)})
    (tmp_path / "other").rename(tmp_path / "masks")
    found = frames(tmp_path)
    assert list(found) == [image]
    assert boxes(found[image]) == [Box("car", 2, 2, 18, 18)]


def test_other_suffixes_count_only_if_most_images_have_one(tmp_path: Path, plant: Plant) -> None:
    names = {1: "a.jpg", 2: "b.jpg", 3: "c.jpg"}
    plant(tmp_path, "a.jpg", "b.jpg", "c.png", {"labels.json": instances(names)})
    assert list(frames(tmp_path)) == ["a.jpg", "b.jpg"]
    warnings = open_dataset(tmp_path).warnings()
    assert any("1 of 3 images that labels.json names are missing" in line and "c.jpg" in line for line in warnings)


@pytest.mark.parametrize("told", ["1", 1.0])
def test_ids_may_be_texts_in_one_place_and_numbers_in_another(told: object, tmp_path: Path, plant: Plant) -> None:
    outline = [[2, 2, 18, 2, 18, 18]]
    plant(tmp_path, "a.jpg", {"labels.json": one("a.jpg", image_id=told, category_id=told, segmentation=outline)})
    frame = frames(tmp_path)["a.jpg"]
    assert boxes(frame) == [Box("car", 2, 2, 18, 18)]
    segmentation, _ = masks(frame)
    assert (segmentation.names, np.unique(segmentation.ids).tolist()) == ({1: "car"}, [-1, 1])


def test_words_as_ids_of_categories_are_counted(tmp_path: Path, plant: Plant) -> None:
    content = json.loads(one("a.jpg", category_id="b", segmentation=[[2, 2, 18, 2, 18, 18]]))
    content["categories"] = [{"id": "a", "name": "car"}, {"id": "b", "name": "bus"}]
    plant(tmp_path, "a.jpg", {"labels.json": json.dumps(content)})
    segmentation, _ = masks(frames(tmp_path)["a.jpg"])
    assert (segmentation.names, np.unique(segmentation.ids).tolist()) == ({0: "car", 1: "bus"}, [-1, 1])


@pytest.mark.parametrize("box", ["[NaN, 20, 30, 40]", "[1, 2, Infinity, 4]", "[1, 2, 1e999, 4]"])
def test_boxes_without_numbers_are_left_out_told_and_kept_by_resizing(box: str, tmp_path: Path, plant: Plant) -> None:
    content = instances({1: "a.jpg"}).replace("[2, 2, 16.0, 16]", box)
    plant(tmp_path, "a.jpg", {"labels.json": content})
    dataset = open_dataset(tmp_path)
    frame = next(dataset.frames())
    assert boxes(frame) == BOXES[1:]
    assert any("1 boxes of 1 images" in line and "a.jpg in labels.json" in line for line in dataset.warnings())
    resize = Resizer(dataset, (16, 12))("labels.json", Role.LABEL)
    assert resize
    first, second, _ = json.loads(resize(content.encode()))["annotations"]
    assert [math.isfinite(number) for number in first["bbox"]] == [math.isfinite(n) for n in json.loads(box)]
    assert second["bbox"] == [2, 2, 12, 2]
