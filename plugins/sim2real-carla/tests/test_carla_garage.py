import pkgutil
from pathlib import Path

import numpy as np
import pytest
from sim2real_carla import plugin
from sim2real_carla.layout import CarlaGarage

from sim2real import Sim2RealError
from sim2real.datasets.base import Match, Role, Tree
from sim2real.datasets.labels import Depth, Segmentation
from sim2real.imageio import encode_jpeg, encode_png

SIZE = (8, 12)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Two routes of two frames, the second without labels, and a debug view."""
    for route in (tmp_path / "Town01/route_a", tmp_path / "Town02/route_b"):
        for number in ("0000", "0001"):
            for camera in ("rgb", "rgb_augmented"):
                write(route / camera / f"{number}.jpg", encode_jpeg(np.full((*SIZE, 3), 90, np.uint8)))
            write(route / "boxes" / f"{number}.json.gz", b"boxes")
            write(route / "measurements" / f"{number}.json.gz", b"measurements")
            write(route / "bev_semantics" / f"{number}.png", encode_png(np.zeros((4, 4), np.uint8)))
            write(route / "lidar" / f"{number}.laz", b"lidar")
        write(route / "results.json.gz", b"results")
    route = tmp_path / "Town01/route_a"
    for number in ("0000", "0001"):
        write(route / "semantics" / f"{number}.png", encode_png(np.full(SIZE, 7, np.uint8)))
        write(route / "depth" / f"{number}.png", encode_png(np.full(SIZE, 51, np.uint8)))
    write(route / "semantics_augmented" / "0000.png", encode_png(np.full(SIZE, 10, np.uint8)))
    write(route / "0000.jpg", encode_jpeg(np.zeros((*SIZE, 3), np.uint8)))
    return tmp_path


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def test_what_it_offers_can_be_imported() -> None:
    offered: dict[str, str] = {}
    plugin.register_datasets(lambda name, target, **_: offered.update({name: target}))
    assert {name: pkgutil.resolve_name(target) for name, target in offered.items()} == {"carla-garage": CarlaGarage}
    assert CarlaGarage.name in offered


def test_two_facts_are_needed_to_recognise_it(recording: Path) -> None:
    match = CarlaGarage.recognise(Tree(recording))
    assert match is not None
    assert (match.images, match.rule) == (8, "rgb/<number>.jpg and boxes/<number>.json.gz")
    assert CarlaGarage.recognise(Tree(recording / "Town01/route_a")) == Match(match.rule, 4)
    for facts in recording.rglob("*.json.gz"):
        facts.unlink()
    assert CarlaGarage.recognise(Tree(recording)) is None


def test_measurements_alone_will_do(recording: Path) -> None:
    for boxes in recording.rglob("boxes/*"):
        boxes.unlink()
    assert CarlaGarage.recognise(Tree(recording)) == Match("rgb/<number>.jpg and measurements/<number>.json.gz", 8)


def test_frames_have_the_labels_of_their_own_camera(recording: Path) -> None:
    frames = {frame.image: frame for frame in CarlaGarage(recording).frames(Tree(recording))}
    assert len(frames) == 8
    first = frames["Town01/route_a/rgb/0001.jpg"]
    assert (first.sequence, first.index) == ("Town01/route_a/rgb", 1)
    assert first.labels == {
        "segmentation": "Town01/route_a/semantics/0001.png",
        "depth": "Town01/route_a/depth/0001.png",
    }
    moved = frames["Town01/route_a/rgb_augmented/0000.jpg"]
    assert moved.labels == {"segmentation": "Town01/route_a/semantics_augmented/0000.png"}
    assert frames["Town02/route_b/rgb/0000.jpg"].labels == {}


def test_what_is_no_camera_image_has_a_role_of_its_own(recording: Path) -> None:
    role = CarlaGarage(recording).role
    for path in ("bev_semantics/0000.png", "a/boxes/0000.json.gz", "lidar/0000.laz", "a/depth_augmented/0000.png"):
        assert role(path) is Role.LABEL
    assert role("Town01/route_a/0000.jpg") is Role.PSEUDO
    assert role("Town01/route_a/measurements/0000.json.gz") is None
    assert role("results.json.gz") is None


def test_depth_is_in_metres_and_ends_at_fifty(recording: Path) -> None:
    write(recording / "Town01/route_a/depth/0000.png", encode_png(np.array([[0, 51, 254, 255]], np.uint8)))
    adapter = CarlaGarage(recording)
    frame = next(adapter.frames(Tree(recording)))
    depth = adapter.load_label(frame, "depth")
    assert isinstance(depth, Depth)
    assert depth.metres.dtype == np.float32
    np.testing.assert_allclose(depth.metres, [[0, 10, 50 * 254 / 255, np.nan]], rtol=1e-6)


def test_names_follow_the_release_that_the_masks_show(recording: Path) -> None:
    adapter = CarlaGarage(recording)
    frame = next(adapter.frames(Tree(recording)))
    old = adapter.load_label(frame, "segmentation")
    assert isinstance(old, Segmentation)
    assert (old.ids == 7).all()
    assert (old.names[7], old.names[10]) == ("Road", "Vehicles")

    route = recording / "Town02/route_b/semantics"
    write(route / "0000.png", encode_png(np.full(SIZE, 1, np.uint8)))
    write(route / "0001.png", encode_png(np.full(SIZE, 24, np.uint8)))
    frames = [frame for frame in adapter.frames(Tree(recording)) if frame.sequence == "Town02/route_b/rgb"]
    new = adapter.load_label(frames[0], "segmentation")
    assert isinstance(new, Segmentation)
    assert (new.ids == 1).all()
    assert (new.names[1], new.names[24]) == ("Roads", "RoadLine")


def test_labels_that_are_not_there_or_not_depth_are_refused_by_name(recording: Path) -> None:
    adapter = CarlaGarage(recording)
    frame = next(adapter.frames(Tree(recording)))
    with pytest.raises(Sim2RealError, match="no label 'flow'; it has segmentation, depth"):
        adapter.load_label(frame, "flow")
    write(recording / frame.labels["depth"], encode_png(np.zeros((*SIZE, 3), np.uint8)))
    with pytest.raises(Sim2RealError, match="8-bit grey"):
        adapter.load_label(frame, "depth")
