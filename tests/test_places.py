"""What files are, told by their bytes, and the nearest names."""

import io
import os
import pickle
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from sim2real.places import absent, command_line, foreign, is_pointer, nearest, not_a_folder, what_is

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


def zipped(*names: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return data.getvalue()


def tarred(*names: str) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    return data.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "words", "kind"),
    [
        ("a.zip", zipped("a/0.png"), "a ZIP archive", "archive"),
        ("a.zip", b"PK\x03\x04 broken off", "a damaged ZIP archive", "archive"),
        ("a.rar", b"Rar!\x1a\x07\x01\x00", "a RAR archive", "archive"),
        ("a.7z", b"7z\xbc\xaf\x27\x1c\x00\x04", "a 7z archive", "archive"),
        ("a.tar.gz", b"\x1f\x8b\x08\x00", "a gzip archive", "archive"),
        ("a.tar", tarred("rgb/", "rgb/0.png", "rgb/1.png"), "a tar archive", "archive"),
        ("000.tar", tarred("0001.jpg", "0001.json", "0002.jpg"), "a WebDataset shard (tar)", "archive"),
        ("a.tar", tarred(), "an archive", "archive"),
        ("a.h5", b"\x89HDF\r\n\x1a\n\0\0", "an HDF5 file", "container"),
        ("a.parquet", b"PAR1\x15\x04", "a Parquet file", "container"),
        ("a.tfrecord-00000-of-00008", b"\x08\0\0\0\0\0\0\0", "a TFRecord file", "container"),
        ("data.mdb", bytes(16) + b"\xde\xc0\xef\xbe" + bytes(20), "an LMDB database", "container"),
        ("a.bag", b"#ROSBAG V2.0\n", "a ROS bag", "container"),
        ("a.npz", zipped("image.npy"), "NumPy arrays (.npz)", "container"),
        ("a.mp4", b"\0\0\0\x18ftypisom", "a video", "video"),
        ("clip", b"\x1aE\xdf\xa3", "a video", "video"),
        ("x.pth", pickle.dumps({"w": 1}, protocol=2), "a checkpoint of PyTorch (pickle)", "weights"),
        ("x.pth", zipped("x/data.pkl", "x/data/0"), "a checkpoint of PyTorch (pickle)", "weights"),
        ("x.pt", zipped("x/data.pkl", "x/constants.pkl"), "a TorchScript model", "weights"),
        ("x", b"\x08\x08\x12\x07pytorch", "an ONNX model", "weights"),
        ("x.safetensors", b"\x10\0\0\0\0\0\0\0{}              ", "a safetensors file", "weights"),
        ("x.safetensors", b"<!DOCTYPE html><html>", "a web page", "page"),
        ("x.png", LFS.encode(), "a Git LFS pointer", "pointer"),
        ("x.png", b"\x89PNG\r\n\x1a\n", "a PNG image", "image"),
        ("x.jpg", b"", "an empty file", "empty"),
        ("x.yaml", b"a: 1\n", "a text file", "text"),
        ("x.dat", b"\x00\x01\x02", "of an unknown kind", "unknown"),
    ],
)
def test_a_file_is_told_by_its_bytes(tmp_path: Path, name: str, data: bytes, words: str, kind: str) -> None:
    (tmp_path / name).write_bytes(data)
    thing = what_is(tmp_path / name)
    assert (thing.name, thing.kind) == (words, kind)
    assert thing.advice
    assert is_pointer(tmp_path / name) == (kind == "pointer")


def test_what_pytorch_saves_is_known(tmp_path: Path) -> None:
    import torch

    for zip_format in (True, False):
        torch.save({"w": torch.zeros(2)}, tmp_path / "x", _use_new_zipfile_serialization=zip_format)
        assert what_is(tmp_path / "x").name == "a checkpoint of PyTorch (pickle)"


def test_what_onnx_saves_is_known(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    graph = onnx.helper.make_graph([], "g", [], [])
    for more in ({}, {"producer_name": "somebody"}):
        onnx.save(onnx.helper.make_model(graph, **more), tmp_path / "x")
        assert what_is(tmp_path / "x").name == "an ONNX model"


def test_the_nearest_name_is_found_along_the_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Data/vkitti/Scene01").mkdir(parents=True)
    (tmp_path / "Data/kitti.zip").touch()
    monkeypatch.chdir(tmp_path)
    assert nearest(Path("data/vkiti/Scene1")) == Path("Data/vkitti/Scene01")
    assert nearest(tmp_path / "Data" / "vkiti") == tmp_path / "Data" / "vkitti"
    assert nearest(Path("../" + tmp_path.name + "/Dta")) == Path("../" + tmp_path.name + "/Data")
    assert absent(Path("Data/vkiti")) == f"{Path('Data/vkiti')}: no such folder; did you mean {Path('Data/vkitti')}/?"
    assert absent(Path("Data/kiti.zip"), "file").endswith(f"no such file; did you mean {Path('Data/kitti.zip')}?")
    assert absent(Path("nowhere/at/all")) == f"{Path('nowhere/at/all')}: no such folder"
    assert nearest(Path("Data/kitti.zip/x")) is None


@pytest.mark.skipif(os.name == "nt", reason="a link and a name that Windows does not have")
def test_odd_paths_are_no_bug(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("link", "a\nb", "", "~", "a" * 300, "\udcff", "-x", "\U0001f697"):
        assert not_a_folder(tmp_path / "sub" / name)
    assert "no such folder" in str(not_a_folder(tmp_path / "link"))


def test_what_is_there_in_place_of_images_is_named(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.tfrec").write_bytes(b"\x08\0\0\0\0\0\0\0")
    (tmp_path / "notes.txt").write_text("x")
    said = foreign(tmp_path, sorted(path.name for path in tmp_path.iterdir()))
    assert said.startswith("3 files such as 0.tfrec: a TFRecord file; export its images and labels as files")
    assert foreign(tmp_path, ["notes.txt"]) == ""


def test_commands_are_quoted_for_the_shell_of_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert command_line("sim2real", "verify", Path("a b/it's")) == """sim2real verify 'a b/it'"'"'s'"""
    monkeypatch.setattr(sys, "platform", "win32")
    assert command_line("sim2real", "verify", "a b", "c") == 'sim2real verify "a b" c'
