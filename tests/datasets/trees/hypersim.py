"""Hypersim, and Marigold's form of it."""

import io
from pathlib import Path

import h5py
import numpy as np

from sim2real.imageio import encode_jpeg
from tests.datasets.trees.common import Grow, Pixels, photo, pngs, write

METRES = np.linspace(1, 6, 24 * 32).reshape(24, 32).astype(np.float16)
METRES[0, 0] = np.nan
CLASSES = np.full((24, 32), 2, np.int16)
CLASSES[:12] = 22
CLASSES[0] = -1
OBJECTS = np.full((24, 32), 300, np.int16)
OBJECTS[0] = -1
ENTITIES = np.full((24, 32), 7, np.int32)
ENTITIES[0] = -1
COLOUR = (np.random.default_rng(3).random((24, 32, 3)) * 3).astype(np.float16)
COLOUR[0] = 50  # nothing is seen there, so that it does not count
MILLIMETRES = np.full((24, 32), 2500, np.uint16)
MILLIMETRES[0] = 0

# the plain camera of 60 degrees, and one with a shifted lens
MATRICES = {
    "ai_001_001": ((0.57735, 0, 0), (0, 0.4330127, 0), (0, 0, -1)),
    "ai_037_002": ((0.5, 0.01, 0.06), (0, 0.375, -0.08), (0.02, 0, -1)),
}


def hdf5(array: Pixels, name: str = "dataset") -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as content:
        content.create_dataset(name, data=array, compression="gzip")
    return file.getvalue()


def cameras() -> str:
    columns = [f"M_cam_from_uv_{i}{j}" for i in range(3) for j in range(3)]
    rows = [[scene, "1024.0", *(str(value) for row in rows for value in row)] for scene, rows in MATRICES.items()]
    return "\n".join(map(",".join, [["scene_name", "settings_output_img_width", *columns], *rows])) + "\n"


def hypersim(root: Path, *, frames: int = 2, table: bool = True, previews: bool = True) -> Path:
    """Two scenes, one of two cameras, with all that their archives hold of labels; numbers have gaps."""
    contents = {
        "depth_meters": hdf5(METRES),
        "semantic": hdf5(CLASSES),
        "semantic_instance": hdf5(OBJECTS),
        "render_entity_id": hdf5(ENTITIES),
    }
    colour, looks = hdf5(COLOUR), encode_jpeg(photo())
    for scene, camera in (("ai_001_001", "cam_00"), ("ai_001_001", "cam_01"), ("ai_037_002", "cam_00")):
        folder = root / scene / "images"
        for frame in range(0, 3 * frames, 3):
            for kind, content in contents.items():
                write(folder / f"scene_{camera}_geometry_hdf5/frame.{frame:04d}.{kind}.hdf5", content)
            write(folder / f"scene_{camera}_geometry_preview/frame.{frame:04d}.normal_cam.png", looks)
            write(folder / f"scene_{camera}_final_hdf5/frame.{frame:04d}.color.hdf5", colour)
            if previews:
                for kind in ("tonemap", "color", "diffuse_reflectance"):
                    write(folder / f"scene_{camera}_final_preview/frame.{frame:04d}.{kind}.jpg", looks)
        write(root / scene / "_detail/metadata_scene.csv", "parameter_name,parameter_value\n")
        write(root / scene / f"_detail/{camera}/camera_keyframe_positions.hdf5", hdf5(np.zeros((frames, 3))))
        write(root / scene / "_detail/mesh/mesh_objects_si.hdf5", hdf5(np.zeros((4, 1), np.int32)))
    if table:
        write(root / "metadata_camera_parameters.csv", cameras())
    return root


def hypersim_marigold(root: Path, *, frames: int = 2) -> Path:
    for split, scene in (("train", "ai_001_001"), ("val", "ai_003_010")):
        names = [f"{split}/{scene}/{{}}cam_0{camera}_fr{frame:04d}.png" for camera in (0, 1) for frame in range(frames)]
        pngs(root, [name.format("rgb_") for name in names])
        pngs(root, [name.format("depth_plane_") for name in names], MILLIMETRES)
        write(root / split / f"filename_list_{split}.txt", "a b\n")
        write(root / split / f"filename_meta_{split}.csv", "rgb_path,rgb_mean\na,1\n")
    return root


LAYOUTS: dict[str, Grow] = {"hypersim": hypersim, "hypersim-marigold": hypersim_marigold}
