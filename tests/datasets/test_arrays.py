"""Arrays in .npy, .npz and HDF5 files: read if they hold numbers, refused at once if they claim too many."""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sim2real.datasets.hypersim import read_hdf5
from sim2real.datasets.readers import read_array
from sim2real.errors import DatasetError


def npy(shape: tuple[int, ...], body: bytes = b"") -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + body


def npz(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("depth.npy", content)
    return file.getvalue()


def saved(save: Callable[..., None], values: object) -> bytes:
    file = io.BytesIO()
    save(file, values)
    return file.getvalue()


VALUES = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize("data", [saved(np.save, VALUES), saved(np.savez, VALUES), saved(np.savez_compressed, VALUES)])
def test_the_first_array_of_a_file_is_read(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(data)
    assert np.array_equal(read_array(path), VALUES)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (npy((1 << 20, 1 << 20)), "claims 1048576x1048576 values, more than .* SIM2REAL_MAX_PIXELS="),
        (npz(npy((1 << 20, 1 << 20))), "claims 1048576x1048576 values, more than .* SIM2REAL_MAX_PIXELS="),
        (npy((100, 100), bytes(8)), "cannot be read as an array"),
        (npz(npy((100, 100), bytes(8))), "cannot be read as an array"),
        (saved(np.save, np.array([{}])), "holds no array of numbers"),
        (b"no array", "holds no array of numbers"),
        (npz(b""), "cannot be read as an array"),
        (b"PK\5\6" + bytes(18), "cannot be read as an array"),
        (b"", "cannot be read as an array"),
    ],
)
def test_what_is_none_or_claims_too_much_is_told(data: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=rf"a\.npy: .*{told}"):
        read_array(path)


def test_hdf5_is_held_to_the_same(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    large, elsewhere, linked = (tmp_path / name for name in ("large.hdf5", "elsewhere.hdf5", "linked.hdf5"))
    with h5py.File(large, "w") as file:
        file.create_dataset("dataset", (1 << 20, 1 << 20), "f4", chunks=(64, 64))
    with h5py.File(elsewhere, "w") as file:
        file.create_dataset("dataset", (2, 2), "f4", external=[(str(tmp_path / "secret"), 0, 16)])
    with h5py.File(tmp_path / "good.hdf5", "w") as file:
        file["dataset"] = VALUES
    with h5py.File(linked, "w") as file:
        file["dataset"] = h5py.ExternalLink("good.hdf5", "dataset")
    (tmp_path / "secret").write_bytes(bytes(16))
    assert np.array_equal(read_hdf5(tmp_path / "good.hdf5"), VALUES)
    with pytest.raises(DatasetError, match=r"large\.hdf5: .* claims 1048576x1048576 values"):
        read_hdf5(large)
    for path in (elsewhere, linked):
        with pytest.raises(DatasetError, match=rf"{path.name}: .* its values are in another file"):
            read_hdf5(path)
