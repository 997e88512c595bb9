"""TartanAir and its successors: arrays and packed PNGs decode to metres, pixels and names."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim2real.datasets import Frame, Role, open_dataset
from sim2real.datasets.labels import Depth, Distance, Flow, Segmentation
from sim2real.datasets.tartanair import TartanAirV2
from sim2real.errors import DatasetError, ImageError
from tests.datasets.trees.common import npy, raw_png
from tests.datasets.trees.tartanair import HIDDEN, IDS, METRES, MOTION, floats_as_png

Grow = Callable[..., Path]
Plant = Callable[..., None]
V1 = "seasonsforest_winter/seasonsforest_winter/Easy/P000"
V2 = "OldTownNight/Data_easy/P000"


def frame_of(root: Path, image: str) -> Frame:
    return next(frame for frame in open_dataset(root).frames() if frame.image.endswith(image))


@pytest.mark.parametrize(
    ("layout", "image"), [("tartanair", "000000_left.png"), ("tartanair-v2", "000000_lcam_front.png")]
)
def test_labels_are_metres_pixels_and_numbers(layout: str, image: str, grow: Grow) -> None:
    frame = frame_of(grow(layout), image)
    assert sorted(frame.labels) == ["depth", "flow", "segmentation"]
    depth, flow, segmentation = (frame.load_label(kind) for kind in sorted(frame.labels))
    assert isinstance(depth, Depth)
    assert np.isnan(depth.metres[0]).all()
    np.testing.assert_array_equal(depth.metres[1:], METRES[1:])
    assert isinstance(flow, Flow)
    np.testing.assert_array_equal(flow.valid, HIDDEN == 0)
    np.testing.assert_allclose(flow.uv[2:], MOTION[2:], atol=0.01)
    assert not flow.uv[:2].any()
    assert isinstance(segmentation, Segmentation)
    np.testing.assert_array_equal(segmentation.ids, IDS)


def test_only_the_left_camera_has_flow_and_the_last_image_has_none(grow: Grow) -> None:
    frames = {frame.image.removeprefix(f"{V1}/"): frame for frame in open_dataset(grow("tartanair")).frames()}
    flows = [name for name, frame in frames.items() if "flow" in frame.labels]
    assert flows == ["image_left/000000_left.png"]
    assert sorted(frames["image_right/000000_right.png"].labels) == ["depth", "segmentation"]


def test_flow_without_its_mask_is_valid_everywhere(grow: Grow) -> None:
    root = grow("tartanair")
    (root / V1 / "flow/000000_000001_mask.npy").unlink()
    flow = frame_of(root, "Easy/P000/image_left/000000_left.png").load_label("flow")
    assert isinstance(flow, Flow)
    assert flow.valid.all()
    np.testing.assert_allclose(flow.uv, MOTION, rtol=1e-6)


@pytest.mark.parametrize(
    ("layout", "part", "images"),
    [
        ("tartanair", V1, 4),
        ("tartanair", f"{V1}/image_left", 2),
        ("tartanair-v2", V2, 6),
        ("tartanair-v2", "OldTownNight/Data_easy", 6),
    ],
)
def test_a_flight_is_known_from_inside(layout: str, part: str, images: int, grow: Grow) -> None:
    dataset = open_dataset(grow(layout) / part)
    assert (dataset.name, dataset.match.images) == (layout, images)
    assert part.endswith("image_left") or all("segmentation" in frame.labels for frame in dataset.frames())


def test_names_count_without_regard_to_case_and_are_kept(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "p000/Image_Left/000000_LEFT.png", {"p000/DEPTH_left/000000_left_Depth.NPY": npy(METRES)})
    (frame,) = open_dataset(tmp_path).frames()
    assert (frame.image, frame.labels) == (
        "p000/Image_Left/000000_LEFT.png",
        {"depth": "p000/DEPTH_left/000000_left_Depth.NPY"},
    )
    assert isinstance(frame.load_label("depth"), Depth)


def test_tracks_of_the_stereo_challenge_are_known(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "stereo/SE000/image_left/000000_left.png", "stereo/SE000/image_right/000000_right.png")
    dataset = open_dataset(tmp_path)
    assert (dataset.name, dataset.match.images) == ("tartanair", 2)


@pytest.mark.parametrize(
    "array", [b"", npy(METRES)[:-5], npy(METRES[0]), npy(np.array({})), npy(np.full((24, 32), "?"))]
)
def test_a_damaged_array_is_an_error_that_names_it(array: bytes, grow: Grow, plant: Plant) -> None:
    root = grow("tartanair")
    plant(root, {f"{V1}/depth_left/000000_left_depth.npy": array})
    with pytest.raises(DatasetError, match=r"000000_left_depth\.npy"):
        frame_of(root, "000000_left.png").load_label("depth")


@given(values=st.lists(st.floats(0, 9_999, width=32), min_size=4, max_size=4))
def test_any_float_comes_out_of_the_channels_of_a_png(
    values: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    metres = np.array(values, np.float32).reshape(2, 2)
    root = tmp_path_factory.mktemp("floats")
    (root / "depth.png").write_bytes(floats_as_png(metres))
    label = TartanAirV2(root).load_label(Frame("x.png", labels={"depth": "depth.png"}), "depth")
    assert isinstance(label, Depth)
    np.testing.assert_array_equal(label.metres, metres)


def test_other_projections_have_distances_and_a_warning(grow: Grow) -> None:
    root = grow("tartanair-v2")
    frame = frame_of(root, "000001_lcam_fish.png")
    assert sorted(frame.labels) == ["distance", "segmentation"]
    distance = frame.load_label("distance")
    assert isinstance(distance, Distance)
    np.testing.assert_array_equal(distance.metres[1:], METRES[1:])
    assert any(line.startswith("fish: other projections") for line in open_dataset(root).warnings())


def test_classes_are_named_by_the_table_of_their_environment(grow: Grow, plant: Plant) -> None:
    root = grow("tartanair-v2")
    segmentation = frame_of(root, "000000_rcam_front.png").load_label("segmentation")
    assert isinstance(segmentation, Segmentation)
    assert segmentation.names == {3: "sky", 250: "brick wall"}
    inside = next(open_dataset(root / V2).frames()).load_label("segmentation")
    assert isinstance(inside, Segmentation)
    assert not inside.names
    other = grow("tartanair-v2", "other")
    plant(other, {"OldTownNight/seg_label_map.json": '{"name_map": ["sky"]}'})
    with pytest.raises(DatasetError, match=r"seg_label_map\.json: has no table 'name_map'"):
        frame_of(other, "000000_rcam_front.png").load_label("segmentation")


def test_a_depth_that_lost_its_alpha_is_an_error(grow: Grow, plant: Plant) -> None:
    root = grow("tartanair-v2")
    plant(root, {f"{V2}/depth_lcam_front/000000_lcam_front_depth.png": raw_png(np.zeros((24, 32, 3), np.uint8))})
    plant(root, {f"{V2}/flow_lcam_front/000000_000001_flow.png": raw_png(np.zeros((24, 32, 3), np.uint8))})
    frame = frame_of(root, f"{V2}/image_lcam_front/000000_lcam_front.png")
    with pytest.raises(ImageError, match="floats are stored as RGBA of 8 bits"):
        frame.load_label("depth")
    with pytest.raises(ImageError, match="flow is stored as RGB of 16 bits"):
        frame.load_label("flow")


def test_what_shows_the_old_pixels_is_stale(grow: Grow) -> None:
    roles = dict(open_dataset(grow("tartanair-v2")).files())
    assert {path.rpartition("/")[2] for path, role in roles.items() if role is Role.STALE} == {
        *("image_lcam_front.mp4", "events.h5", "OldTownNight_rgb.pcd")
    }
    assert roles["OldTownNight/OldTownNight_sem.pcd"] is Role.LABEL


@pytest.mark.parametrize("evidence", ["depth_left/000000_left_depth.npy", "pose_left.txt"])
def test_a_flight_is_known_without_a_name(evidence: str, tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "flight/image_left/000000_left.png")
    assert open_dataset(tmp_path).name == "images"
    plant(tmp_path, {f"flight/{evidence}": npy(METRES)})
    dataset = open_dataset(tmp_path / "flight")
    assert dataset.name == open_dataset(tmp_path).name == "tartanair"
    assert [list(frame.labels) for frame in dataset.frames()] == [["depth"] * evidence.startswith("depth")]


def test_a_flight_of_its_successor_is_known_without_a_name(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "image_lcam_front/000000_lcam_front.png")
    plant(tmp_path, {"depth_lcam_front/000000_lcam_front_depth.png": floats_as_png(METRES)})
    dataset = open_dataset(tmp_path)
    assert (dataset.name, [list(frame.labels) for frame in dataset.frames()]) == ("tartanair-v2", [["depth"]])
