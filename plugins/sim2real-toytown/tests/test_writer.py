"""The layout of Virtual KITTI 2, determinism, and what is refused."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile, get_sampling

from sim2real import Sim2RealError
from sim2real_toytown import render_dataset

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Scene

SMALL: dict[str, Any] = {"size": (64, 32), "frames": 2, "seed": 5}
HEADERS = {
    "bbox": "frame cameraID trackID left right top bottom number_pixels truncation_ratio occupancy_ratio isMoving",
    "colors": "Category r g b",
    "extrinsic": "frame cameraID r1,1 r1,2 r1,3 t1 r2,1 r2,2 r2,3 t2 r3,1 r3,2 r3,3 t3 0 0 0 1",
    "info": "trackID label model color",
    "intrinsic": "frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]",
    "pose": "frame cameraID trackID alpha width height length world_space_X world_space_Y world_space_Z "
    "rotation_world_space_y rotation_world_space_x rotation_world_space_z camera_space_X camera_space_Y "
    "camera_space_Z rotation_camera_space_y rotation_camera_space_x rotation_camera_space_z",
}
COLOURS = """Terrain 210 0 200
Sky 90 200 255
Tree 0 199 0
Vegetation 90 240 0
Building 140 140 140
Road 100 60 100
GuardRail 250 100 255
TrafficSign 255 255 0
TrafficLight 200 200 0
Pole 255 130 0
Misc 80 80 80
Truck 160 60 60
Car 255 127 80
Van 0 139 139
Undefined 0 0 0
"""


def hashes(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_every_kind_of_file_is_there_as_often_as_in_virtual_kitti(town: Path) -> None:
    names = Counter(
        "/".join(part for part in path.relative_to(town).parts[:-1]) + "/" + path.name.rsplit("_", 1)[0] + path.suffix
        for path in town.rglob("*")
        if path.is_file()
    )
    expected: Counter[str] = Counter()
    for scene in ("Scene01", "Scene02"):
        for name in HEADERS:
            expected[f"{scene}/clone/{name}.txt.txt"] = 1
        for camera in (0, 1):
            for kind, stem, count in (
                ("rgb", "rgb.jpg", 3),
                ("depth", "depth.png", 3),
                ("classSegmentation", "classgt.png", 3),
                ("instanceSegmentation", "instancegt.png", 3),
                ("forwardFlow", "flow.png", 2),
                ("backwardFlow", "backwardFlow.png", 2),
                ("forwardSceneFlow", "sceneFlow.png", 2),
                ("backwardSceneFlow", "backwardSceneFlow.png", 2),
            ):
                expected[f"{scene}/clone/frames/{kind}/Camera_{camera}/{stem}"] = count
    assert names == expected


def test_forward_flow_ends_a_frame_early_and_backward_begins_a_frame_late(scene: Scene) -> None:
    numbers = {
        way: [path.stem[-5:] for path in sorted((scene.root / "frames" / way / "Camera_1").iterdir())]
        for way in ("forwardFlow", "backwardFlow", "forwardSceneFlow", "backwardSceneFlow")
    }
    first, last = ["00000", "00001"], ["00001", "00002"]
    assert numbers == {
        "forwardFlow": first,
        "backwardFlow": last,
        "forwardSceneFlow": first,
        "backwardSceneFlow": last,
    }


@pytest.mark.parametrize("name", HEADERS)
def test_text_files_have_the_headers_and_as_many_columns(scene: Scene, name: str) -> None:
    assert scene.header(name) == HEADERS[name]
    columns = len(HEADERS[name].split(" "))
    rows = scene.rows(name)
    assert rows
    assert {len(row) for row in rows} == {columns}


@pytest.mark.parametrize("name", ["intrinsic", "extrinsic"])
def test_both_cameras_rows_are_interleaved(scene: Scene, name: str) -> None:
    assert [(row[0], row[1]) for row in scene.rows(name)] == [(str(t), str(c)) for t in range(3) for c in (0, 1)]


def test_class_images_hold_the_published_colours_only(scene: Scene) -> None:
    assert (scene.root / "colors.txt").read_text() == "Category r g b\n" + COLOURS
    published = {tuple(map(int, line.split(" ")[1:])) for line in COLOURS.splitlines()}
    used = {colour for time in range(3) for colour in map(tuple, scene.classes(time).reshape(-1, 3).tolist())}
    assert used <= published
    assert {(100, 60, 100), (90, 200, 255), (210, 0, 200)} <= used


def test_rgb_is_full_chroma_jpeg(scene: Scene) -> None:
    with Image.open(scene.path("rgb", "rgb", 0, 0, "jpg")) as image:
        image.load()
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (160, 48))
    assert isinstance(image, JpegImageFile)
    assert get_sampling(image) == 0  # 4:4:4
    assert max(image.quantization[0]) < 15  # quality 95


def test_equal_arguments_give_equal_bytes_whatever_the_number_of_workers(tmp_path: Path) -> None:
    for name, workers in (("a", 1), ("b", 1), ("c", 2)):
        render_dataset(tmp_path / name, look="real", workers=workers, frames=6, size=(48, 20), seed=5)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b") == hashes(tmp_path / "c")


def test_looks_share_every_label_and_no_picture(tmp_path: Path) -> None:
    for look in ("sim", "real"):
        render_dataset(tmp_path / look, look=look, **SMALL)
    sim, real = hashes(tmp_path / "sim"), hashes(tmp_path / "real")
    assert set(sim) == set(real)
    for name in sim:
        assert (sim[name] == real[name]) == (not name.endswith(".jpg")), name


def test_seeds_and_sequences_are_different_streets(tmp_path: Path) -> None:
    render_dataset(tmp_path / "a", sequences=2, **SMALL)
    render_dataset(tmp_path / "b", **SMALL | {"seed": 6})
    a, b = hashes(tmp_path / "a"), hashes(tmp_path / "b")
    for kind in ("rgb/Camera_0/rgb_00000.jpg", "depth/Camera_0/depth_00000.png"):
        first, second = f"Scene01/clone/frames/{kind}", f"Scene02/clone/frames/{kind}"
        assert len({a[first], a[second], b[first]}) == 3


def test_sequences_have_virtual_kittis_names(tmp_path: Path) -> None:
    render_dataset(tmp_path / "out", sequences=7, frames=1, size=(16, 16), labels=False, cameras=(1,))
    names = [f"Scene{number:02d}" for number in (1, 2, 6, 18, 20, 21, 22)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert list(hashes(tmp_path / "out")) == [f"{name}/clone/frames/rgb/Camera_1/rgb_00000.jpg" for name in names]


def test_archives_have_an_outer_folder_each_and_the_same_files(tmp_path: Path) -> None:
    render_dataset(tmp_path / "one", **SMALL)
    render_dataset(tmp_path / "many", archives=True, **SMALL)
    one, many = hashes(tmp_path / "one"), hashes(tmp_path / "many")
    assert {name.split("/", 1)[1]: digest for name, digest in many.items()} == one
    outer = {name.split("/")[0]: name for name in many}
    assert outer.keys() == {
        f"vkitti_2.0.3_{kind}"
        for kind in (
            *("rgb", "depth", "classSegmentation", "instanceSegmentation", "textgt"),
            *("forwardFlow", "backwardFlow", "forwardSceneFlow", "backwardSceneFlow"),
        )
    }
    assert "vkitti_2.0.3_textgt/Scene01/clone/bbox.txt" in many
    assert "vkitti_2.0.3_rgb/Scene01/clone/frames/rgb/Camera_0/rgb_00000.jpg" in many


def test_frames_do_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    render_dataset(tmp_path / "few", **SMALL)
    render_dataset(tmp_path / "more", **SMALL | {"frames": 3})
    few, more = hashes(tmp_path / "few"), hashes(tmp_path / "more")
    assert {name for name in few if name.endswith((".jpg", ".png"))} <= set(more)
    assert all(few[name] == more[name] for name in few if name.endswith((".jpg", ".png")))


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (33, 129), (201, 31)])
def test_any_size_is_rendered_with_square_pixels(tmp_path: Path, size: tuple[int, int]) -> None:
    render_dataset(tmp_path / "out", size=size, frames=2, look="real", cameras=(0,))
    images = [path for path in (tmp_path / "out").rglob("*") if path.suffix in {".jpg", ".png"}]
    assert {np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)).shape[:2] for path in images} == {size[::-1]}
    row = (tmp_path / "out/Scene01/clone/intrinsic.txt").read_text().splitlines()[1]
    fx, fy, cx, cy = map(float, row.split(" ")[2:])
    assert fx == fy == pytest.approx(725.0087 * size[0] / 1242)
    assert (cx, cy) == ((size[0] - 1) / 2, (size[1] - 1) / 2)


def test_progress_counts_every_image(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    done = render_dataset(
        tmp_path / "out", progress=lambda *call: calls.append(call), sequences=2, labels=False, **SMALL
    )
    assert calls == [(i + 1, 8) for i in range(8)]
    assert done == 8


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    assert render_dataset(tmp_path, frames=1, size=(16, 16), labels=False) == 2
    assert len(hashes(tmp_path)) == 2


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"look": "anime"}, "unknown look 'anime'"),
        ({"size": (15, 100)}, "15x100 is too small"),
        ({"frames": 0}, "frames is 0"),
        ({"sequences": 0}, "sequences is 0"),
        ({"workers": 0}, "workers is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"cameras": ()}, "cameras are ()"),
        ({"cameras": (0, 2)}, "cameras are (0, 2)"),
        ({"cameras": (1, 1)}, "cameras are (1, 1)"),
    ],
)
def test_senseless_arguments_are_refused_at_once(tmp_path: Path, wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(Sim2RealError) as error:
        render_dataset(tmp_path / "out", **SMALL | wrong)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(Sim2RealError, match="not an empty folder"):
        render_dataset(tmp_path, **SMALL)
    with pytest.raises(Sim2RealError, match="not an empty folder"):
        render_dataset(tmp_path / "mine.txt", **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_interruption_leaves_nothing_that_could_be_taken_for_a_dataset(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_dataset(tmp_path / "out", progress=interrupt, **SMALL)
    assert not list(tmp_path.iterdir())


def test_a_track_id_is_the_same_vehicle_wherever_it_is_seen(town: Path) -> None:
    infos = [(town / scene / "clone/info.txt").read_text() for scene in ("Scene01", "Scene02")]
    assert infos[0] != infos[1]
    for info in infos:
        ids = [int(line.split(" ")[0]) for line in info.splitlines()[1:]]
        assert len(ids) == len(set(ids))
        assert all(0 <= track_id <= 254 for track_id in ids)


def test_look_of_sim_is_flat_and_of_real_is_not(tmp_path: Path) -> None:
    colours = {}
    for look in ("sim", "real"):
        render_dataset(tmp_path / look, look=look, frames=1, size=(160, 48), labels=False, cameras=(0,))
        (path,) = (tmp_path / look).rglob("*.jpg")
        image = np.asarray(cv2.imread(str(path)), np.float64)
        colours[look] = (image.max(axis=-1) - image.min(axis=-1)).mean()
    assert colours["sim"] > 1.5 * colours["real"]  # saturated against greyish
