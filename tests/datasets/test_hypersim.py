"""Hypersim: previews are the images, HDF5 files the labels; rays become depth where the camera is known."""

import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

from sim2real.datasets import Frame, Role, open_dataset
from sim2real.datasets.hypersim import tone_mapped
from sim2real.datasets.labels import Depth, Distance, Instances, Segmentation
from sim2real.errors import DatasetError, Sim2RealError
from sim2real.imageio import read_rgb
from tests.datasets.trees.hypersim import COLOUR, ENTITIES, MATRICES, METRES, hdf5

Grow = Callable[..., Path]
Plant = Callable[..., None]
Cli = Callable[..., CompletedProcess[str]]
PREVIEWS = "ai_001_001/images/scene_cam_00_final_preview"
GEOMETRY = "ai_001_001/images/scene_cam_00_geometry_hdf5"


def first(root: Path, scene: str = "ai_001_001") -> Frame:
    return next(frame for frame in open_dataset(root).frames() if scene in frame.image)


def test_previews_are_images_with_the_labels_of_their_number(grow: Grow) -> None:
    dataset = open_dataset(grow("hypersim"))
    frames = list(dataset.frames())
    assert [frame.index for frame in frames] == [0, 3] * 3
    assert frames[1].labels == {
        "depth": f"{GEOMETRY}/frame.0003.depth_meters.hdf5",
        "segmentation": f"{GEOMETRY}/frame.0003.semantic.hdf5",
        "instance": f"{GEOMETRY}/frame.0003.semantic_instance.hdf5",
    }
    segmentation, instances = frames[1].load_label("segmentation"), frames[1].load_label("instance")
    assert isinstance(segmentation, Segmentation)
    assert [segmentation.names.get(int(segmentation.ids[row, 0])) for row in (0, 1, 23)] == [None, "ceiling", "floor"]
    assert isinstance(instances, Instances)
    assert (instances.ids[0, 0], instances.ids[1, 0]) == (-1, 300)


@pytest.mark.parametrize("scene", MATRICES)
def test_length_of_the_ray_becomes_depth_by_the_camera_of_the_scene(scene: str, grow: Grow) -> None:
    depth = first(grow("hypersim"), scene).load_label("depth")
    assert isinstance(depth, Depth)
    assert np.isnan(depth.metres[0, 0])
    matrix = MATRICES[scene]
    for x, y in ((31, 0), (0, 23), (16, 12), (5, 20)):
        u, v = (x + 0.5) / 16 - 1, 1 - (y + 0.5) / 12
        right, up, back = (row[0] * u + row[1] * v + row[2] for row in matrix)
        expected = float(METRES[y, x]) * -back / (right**2 + up**2 + back**2) ** 0.5
        assert depth.metres[y, x] == pytest.approx(expected, rel=1e-5)


def test_depth_of_the_plain_camera_is_that_of_its_focal_length(grow: Grow) -> None:
    depth = first(grow("hypersim")).load_label("depth")
    focal = 16 / np.tan(np.radians(30))
    x, y = np.meshgrid(np.arange(32) - 15.5, np.arange(24) - 11.5)
    assert isinstance(depth, Depth)
    np.testing.assert_allclose(depth.metres, METRES * focal / np.sqrt(x**2 + y**2 + focal**2), rtol=1e-4)


def test_without_the_table_of_cameras_there_are_distances(grow: Grow) -> None:
    frame = first(grow("hypersim", table=False))
    assert "depth" not in frame.labels
    distance = frame.load_label("distance")
    assert isinstance(distance, Distance)
    np.testing.assert_array_equal(distance.metres, METRES.astype(np.float32))


@pytest.mark.parametrize("table", ["scene_name\nai_001_001\n", "scene_name,M_cam_from_uv_00\nai_001_001,wide\n", ""])
def test_a_table_that_does_not_tell_the_camera_is_an_error_that_names_it(table: str, grow: Grow, plant: Plant) -> None:
    root = grow("hypersim")
    plant(root, {"metadata_camera_parameters.csv": table})
    with pytest.raises(DatasetError, match=r"metadata_camera_parameters\.csv"):
        first(root).load_label("depth")


@pytest.mark.parametrize("part", ["ai_001_001", "ai_001_001/images", PREVIEWS])
def test_a_scene_is_known_from_inside(part: str, grow: Grow) -> None:
    dataset = open_dataset(grow("hypersim") / part)
    frame = next(dataset.frames())
    assert dataset.name == "hypersim"
    assert sorted(frame.labels) == ([] if part == PREVIEWS else ["distance", "instance", "segmentation"])


def test_roles_tell_labels_from_pictures_of_them_and_from_old_looks(grow: Grow) -> None:
    roles = dict(open_dataset(grow("hypersim")).files())
    images = "ai_001_001/images/scene_cam_00"
    assert roles[f"{images}_geometry_hdf5/frame.0000.render_entity_id.hdf5"] is Role.LABEL
    assert roles[f"{images}_geometry_preview/frame.0000.normal_cam.png"] is Role.PSEUDO
    assert roles[f"{images}_final_preview/frame.0000.color.jpg"] is Role.STALE
    assert roles[f"{images}_final_hdf5/frame.0000.color.hdf5"] is Role.STALE
    assert roles["ai_001_001/_detail/mesh/mesh_objects_si.hdf5"] is Role.LABEL
    assert roles["ai_001_001/_detail/metadata_scene.csv"] is Role.AUX


def test_linear_colours_alone_are_an_error_that_says_what_to_do(grow: Grow) -> None:
    root = grow("hypersim", previews=False)
    with pytest.raises(DatasetError, match=r"6 images are linear colours .* sim2real hypersim-previews .*data"):
        list(open_dataset(root).frames())


def test_previews_are_made_where_they_are_missing_and_only_there(grow: Grow, cli: Cli) -> None:
    root = grow("hypersim")
    kept, missing = (root / PREVIEWS / f"frame.000{frame}.tonemap.jpg" for frame in (0, 3))
    missing.unlink()
    assert any("1 images have no preview" in line for line in open_dataset(root).warnings())
    before = kept.read_bytes()
    done = cli("hypersim-previews", root)
    assert done.returncode == 0, done.stderr
    assert "1 previews written" in done.stdout
    assert kept.read_bytes() == before
    difference = read_rgb(missing).astype(int) - tone_mapped(COLOUR, ENTITIES)
    assert np.abs(difference).mean() < 8
    assert open_dataset(root).match.images == 6


def test_previews_of_a_dataset_that_has_none_make_it_whole(grow: Grow, cli: Cli) -> None:
    root = grow("hypersim", previews=False)
    assert "6 previews written" in cli("hypersim-previews", root).stdout
    assert [frame.load_image().shape for frame in open_dataset(root).frames()] == [(24, 32, 3)] * 6
    assert "no ai_VVV_NNN" in cli("hypersim-previews", root / "ai_001_001/_detail").stderr


def test_previews_need_to_know_what_is_seen(grow: Grow, plant: Plant, cli: Cli) -> None:
    root = grow("hypersim", previews=False)
    seen = f"{GEOMETRY}/frame.0000.render_entity_id.hdf5"
    plant(root, {seen: hdf5(ENTITIES[:-1])})
    assert "frame.0000.render_entity_id.hdf5: int32 of shape (23, 32)" in cli("hypersim-previews", root).stderr
    (root / seen).unlink()
    done = cli("hypersim-previews", root)
    assert (done.returncode, "frame.0000.render_entity_id.hdf5: cannot be read" in done.stderr) == (1, True)
    assert not list(root.rglob("*.jpg"))


def test_tone_mapping_brings_the_90th_percentile_of_what_is_seen_to_four_fifths() -> None:
    grey = np.repeat(np.linspace(0, 10, 1001, dtype=np.float32)[None, :, None], 3, axis=2)
    entities = np.ones((1, 1001), np.int32)
    mapped = tone_mapped(grey, entities)
    assert mapped[0, 900].tolist() == [int(0.8 * 255)] * 3
    assert mapped[0, 450, 0] == int((0.8**2.2 / 2) ** (1 / 2.2) * 255)
    assert (mapped[0, 0, 0], mapped[0, 1000, 0]) == (0, int(0.8 * (10 / 9) ** (1 / 2.2) * 255))
    entities[0, 501:] = -1
    assert tone_mapped(grey, entities)[0, 450, 0] == int(0.8 * 255)
    assert tone_mapped(np.array([[[np.nan, np.inf, -1]]]), np.array([[-1]])).tolist() == [[[0, 255, 0]]]
    assert not tone_mapped(np.full((1, 1, 3), 1e-6), np.array([[1]])).any()


@pytest.mark.parametrize("content", [b"", b"no HDF5", hdf5(METRES)[:-100], hdf5(METRES, "data"), hdf5(METRES[0])])
def test_a_damaged_file_is_an_error_that_names_it(content: bytes, grow: Grow, plant: Plant) -> None:
    root = grow("hypersim", table=False)
    plant(root, {f"{GEOMETRY}/frame.0000.depth_meters.hdf5": content})
    with pytest.raises(DatasetError, match=r"frame\.0000\.depth_meters\.hdf5"):
        first(root).load_label("distance")


def test_without_h5py_the_message_says_what_to_install(grow: Grow, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = first(grow("hypersim"))
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert frame.load_image().shape == (24, 32, 3)
    with pytest.raises(Sim2RealError, match=r'need h5py, not installed here: pip install "sim2real\[hypersim\]"'):
        frame.load_label("segmentation")


def test_the_prepared_form_has_depth_in_millimetres(grow: Grow) -> None:
    root = grow("hypersim-marigold")
    dataset = open_dataset(root / "val")
    assert (dataset.name, dataset.match.images) == ("hypersim-marigold", 4)
    frame = next(open_dataset(root / "train/ai_001_001").frames())
    assert frame.labels == {"depth": "depth_plane_cam_00_fr0000.png"}
    depth = frame.load_label("depth")
    assert isinstance(depth, Depth)
    assert np.isnan(depth.metres[0]).all()
    assert (depth.metres[1:] == 2.5).all()
