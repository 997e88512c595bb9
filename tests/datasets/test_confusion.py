"""Every tree against every rule."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sim2real.datasets import open_dataset
from sim2real.datasets.base import Tree
from sim2real.registry import BUILTIN, registry

Grow = Callable[..., Path]
LAST_RESORT = "images"


def test_no_rule_takes_the_tree_of_another(grow: Grow, layouts: list[str]) -> None:
    rules = {
        entry.name: entry.load().recognise
        for entry in registry().entries("datasets")
        if entry.owner == BUILTIN and entry.name != LAST_RESORT
    }
    matrix = {name: [rule for rule in rules if rules[rule](tree)] for name, tree in _trees(grow, layouts)}
    print(_draw(matrix, list(rules)))  # noqa: T201  for `pytest -s`
    assert matrix == {name: [] if name == LAST_RESORT else [name] for name in layouts}


def _trees(grow: Grow, layouts: list[str]) -> list[tuple[str, Tree]]:
    return [(name, Tree(grow(name, into=name))) for name in layouts]


def _draw(matrix: dict[str, list[str]], rules: list[str]) -> str:
    """A row for each tree, a column for each rule in the order of the rules: X where the rule takes the tree."""
    width = max(map(len, matrix))
    rows = [
        f"{tree:>{width}} {''.join('X' if rule in found else '.' for rule in rules)} {' '.join(found)}"
        for tree, found in sorted(matrix.items(), key=lambda row: [rules.index(rule) for rule in row[1]])
    ]
    return "\n".join(["", *rows])


STRAY: dict[str, dict[str, str]] = {
    "labelme": {
        "shot.json": '{"version": "5.0.1", "flags": {}, "shapes": [{"label": "a", "points": [[1, 1], [5, 5]], '
        '"shape_type": "rectangle"}], "imagePath": "shot.jpg", "imageData": null, "imageHeight": 24, "imageWidth": 32}'
    },
    "cvat": {
        "annotations.xml": '<annotations><version>1.1</version><image id="0" name="shot.jpg" width="32" height="24">'
        '<box label="a" xtl="1" ytl="1" xbr="5" ybr="5" occluded="0"/></image></annotations>'
    },
    "createml": {
        "_annotations.createml.json": '[{"image": "shot.jpg", "annotations": [{"label": "a", "coordinates": '
        '{"x": 4, "y": 4, "width": 3, "height": 3}}]}]'
    },
    "voc": {
        "shot.xml": "<annotation><object><name>car</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax>"
        "<ymax>9</ymax></bndbox></object></annotation>"
    },
    "coco": {
        "shot.json": '{"images": [{"id": 1, "file_name": "shot.jpg"}], "categories": [{"id": 1, "name": "car"}], '
        '"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}]}'
    },
    "yolo": {"shot.txt": "0 .5 .5 .1 .1\n"},
}


@pytest.mark.parametrize("stray", STRAY)
@pytest.mark.parametrize("name", ["vkitti2", "hypersim", "ndds", "createml", "voc", "coco", "yolo", "cyclegan"])
def test_one_labelled_image_that_lies_about_gives_no_dataset_away(
    name: str, stray: str, grow: Grow, plant: Callable[..., None]
) -> None:
    root = grow(name, frames=9)
    labels = [(frame.image, frame.labels) for frame in open_dataset(root).frames()]
    plant(root, "extra/shot.jpg", {f"extra/{path}": text for path, text in STRAY[stray].items()})
    after = open_dataset(root)
    assert after.name == name
    assert [known for frame in after.frames() if (known := (frame.image, frame.labels)) in labels] == labels
    if name != stray:
        assert f"the layout '{stray}' fits, too, with " in " ".join(after.warnings())


DAMAGED = ["{", "[" * 100_000, '{"images": 3, "shapes": "\\ud800", "annotations": null}', "<a"]


@pytest.mark.parametrize("text", DAMAGED, ids=["cut", "deep", "of other types", "tag"])
def test_damaged_files_that_lie_about_keep_no_dataset_from_being_read(
    text: str, layout: tuple[str, Path], plant: Callable[..., None]
) -> None:
    name, root = layout
    names = ("a.json", "a.xml", "a.txt", "annotations.xml", "_annotations.createml.json", "driving_log.csv", "b.yaml")
    plant(root, {f"extra/{file}": text for file in names}, "extra/a.jpg")
    assert open_dataset(root).name == name
