"""Identify files and folders that the user names, by names and first bytes only, without heavy imports."""

import difflib
import io
import os
import re
import shlex
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Final, Literal, NamedTuple

from sim2real.errors import Sim2RealError
from sim2real.inside import open_regular

Kind = Literal["archive", "video", "container", "weights", "image", "page", "pointer", "empty", "text", "unknown"]
STATE_FOLDER: Final = ".sim2real"
POINTER: Final = b"version https://git-lfs.github.com/spec/v1"
_START: Final = 512  # bytes; the tar signature is at 257
_SIMILAR: Final = 0.6
_TAR: Final = "a tar archive"
_ZIP: Final = "a ZIP archive"
TORCH: Final = "a checkpoint of PyTorch (pickle)"
"""The name that files of torch.save get from :func:`what_is`."""

_ADVICE: Final[dict[Kind, str]] = {
    "archive": "unpack it and name the folder",
    "video": "the real side takes videos as they are (sim2real train SIM VIDEO); elsewhere extract the frames: "
    "ffmpeg -i VIDEO FOLDER/%06d.png",
    "container": "export its images and labels as files with the program that it is from, and name their folder",
    "weights": "a model, not images; name a folder of images",
    "image": "name the folder that contains it",
    "page": "a download that failed; download it again",
    "pointer": "the file itself is missing; fetch it: git lfs pull",
    "empty": "copy or download it again",
    "text": "name the folder of the dataset",
    "unknown": "name the folder of the dataset",
}


class Thing(NamedTuple):
    """The type of a file: a description, such as "a ZIP archive", and its kind."""

    name: str
    kind: Kind

    @property
    def advice(self) -> str:
        """Advice to the user if images were expected."""
        return _ADVICE[self.kind]


_SIGNATURES: Final[tuple[tuple[bytes, str, Kind], ...]] = (  # as the formats publish them
    (re.escape(POINTER), "a Git LFS pointer", "pointer"),
    (rb"Rar!\x1a\x07", "a RAR archive", "archive"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", "archive"),
    (rb"\x1f\x8b", "a gzip archive", "archive"),
    (rb"BZh", "a bzip2 archive", "archive"),
    (rb"\xfd7zXZ\x00", "an xz archive", "archive"),
    (rb"\x28\xb5\x2f\xfd", "a Zstandard archive", "archive"),
    (rb".{257}ustar", _TAR, "archive"),
    (rb"PK\x03\x04", _ZIP, "archive"),
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file", "container"),
    (rb"PAR1", "a Parquet file", "container"),
    (rb"ARROW1", "an Arrow file", "container"),
    (rb"#ROSBAG V", "a ROS bag", "container"),
    (rb"\x89MCAP0\r\n", "an MCAP file of ROS 2", "container"),
    (rb"SQLite format 3\x00", "an SQLite database, perhaps a bag of ROS 2", "container"),
    (rb".{16}\xde\xc0\xef\xbe", "an LMDB database", "container"),
    (rb"\x93NUMPY", "a NumPy array", "container"),
    (rb"\x89PNG\r\n\x1a\n", "a PNG image", "image"),
    (rb"\xff\xd8\xff", "a JPEG image", "image"),
    (rb"RIFF.{4}WEBP", "a WebP image", "image"),
    (rb".{4}ftyp", "a video", "video"),
    (rb"\x1aE\xdf\xa3", "a video", "video"),
    (rb"RIFF.{4}AVI ", "a video", "video"),
    (rb"(?:\xef\xbb\xbf)?\s*<(?i:!doctype html|html|head)", "a web page", "page"),
    (rb"GGUF", "a GGUF model", "weights"),
    (rb"\x80[\x02-\x05][\x8a\x95c}\]()\x8cXU]", TORCH, "weights"),
    (rb".{5}\x00{3}\{", "a safetensors file", "weights"),  # the length of its header, then the header
)
_NAMES: Final[tuple[tuple[str, str, Kind], ...]] = (  # for files without a signature, or with a damaged one
    (r"\.tfrecords?(-\d+-of-\d+)?|\.tfrec", "a TFRecord file", "container"),
    (r"\.(h5|hdf5)", "an HDF5 file", "container"),
    (r"\.parquet", "a Parquet file", "container"),
    (r"\.(mdb|lmdb)", "an LMDB database", "container"),
    (r"\.(bag|db3|mcap)", "a ROS bag", "container"),
    (r"\.(zip|tar|rar|7z|tgz|gz|bz2|xz|zst)", "an archive", "archive"),
    (r"\.(mp4|m4v|mov|avi|mkv|webm)", "a video", "video"),
    (r"\.(pth|pt|ckpt|pkl)", "a file of weights", "weights"),
    (r"\.onnx", "an ONNX model", "weights"),
    (r"\.safetensors", "a damaged safetensors file", "weights"),
)
_ONNX_NAME: Final = "an ONNX model"
_ONNX: Final = re.compile(rb"\x08[\x01-\x7f](?:\x12.|\x3a|\x42)", re.DOTALL)  # ir_version, then producer, graph, opset
_BINARY: Final = re.compile(rb"[\x00-\x08\x0e-\x1f]")


def what_is(path: Path) -> Thing:
    """Identify a file.

    Args:
        path: An existing file; if it cannot be read, it is identified by its name.
    """
    try:
        with open_regular(path) as file:
            start = file.read(_START)
    except (OSError, Sim2RealError):
        start = b"\0"
    if not start:
        return Thing("an empty file", "empty")
    thing = _by_signature(start) or _by_name(path.name)
    if thing is None:
        return Thing("a text file", "text") if not _BINARY.search(start) else Thing("of an unknown kind", "unknown")
    return _INNER[thing.name](path) if thing.name in _INNER else thing


def _by_signature(start: bytes) -> Thing | None:
    kinds = (Thing(name, kind) for signature, name, kind in _SIGNATURES if re.match(signature, start, re.DOTALL))
    return next(kinds, Thing(_ONNX_NAME, "weights") if _ONNX.match(start) else None)


def _by_name(name: str) -> Thing | None:
    fits = (Thing(words, kind) for end, words, kind in _NAMES if re.search(f"(?:{end})$", name, re.IGNORECASE))
    return next(fits, None)


def _zipped(path: Path) -> Thing:
    """Identify a ZIP file, which may also be written by PyTorch or NumPy."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.rpartition("/")[2] for name in archive.namelist()}
    except Exception:  # noqa: BLE001  of a damaged archive zipfile raises errors of many kinds
        return Thing("a damaged ZIP archive", "archive")
    if "constants.pkl" in names:
        return Thing("a TorchScript model", "weights")
    if "data.pkl" in names:
        return Thing(TORCH, "weights")
    if names and all(name.endswith(".npy") for name in names):
        return Thing("NumPy arrays (.npz)", "container")
    return Thing(_ZIP, "archive")


def _of_shards(path: Path) -> Thing:
    """Identify a tar file: a WebDataset shard if its first two files have the same stem and other suffixes."""
    try:
        with path.open("rb") as file, tarfile.open(fileobj=io.BytesIO(file.read(2**20)), mode="r:") as archive:
            files = (member.name.rpartition("/")[2] for member in archive if member.isfile())
            first, second = islice(files, 2)
    except (OSError, ValueError, RecursionError, tarfile.TarError):
        return Thing(_TAR, "archive")
    sample, _, suffix = first.partition(".")
    alike = suffix and second.startswith(f"{sample}.")
    return Thing("a WebDataset shard (tar)" if alike else _TAR, "archive")


_INNER: Final[dict[str, Callable[[Path], Thing]]] = {_ZIP: _zipped, _TAR: _of_shards}


def is_pointer(path: Path) -> bool:
    """Return whether a file is a Git LFS pointer to a file that has not been fetched."""
    try:
        with open_regular(path) as file:
            return file.read(len(POINTER)) == POINTER
    except (OSError, Sim2RealError):
        return False


def is_run(folder: Path) -> bool:
    """Return whether a folder was written by `sim2real train`."""
    return (folder / "config.toml").is_file() or (folder / "metrics.jsonl").is_file()


def is_conversion(folder: Path) -> bool:
    """Return whether a folder was written by `sim2real convert`."""
    return (folder / STATE_FOLDER / "conversion.json").is_file()


def is_model(path: Path) -> bool:
    """Return whether a path is a run or a file of weights, where a generator can be expected."""
    return is_run(path) if path.is_dir() else path.suffix == ".safetensors" and path.is_file()


def is_onnx(path: Path) -> bool:
    """Return whether a path is an ONNX file, by its name or its first bytes."""
    return path.suffix.lower() == ".onnx" or (path.is_file() and what_is(path).name == _ONNX_NAME)


def command_line(*words: str | Path) -> str:
    """Return a command for display, quoted for the user's shell: cmd.exe and PowerShell, or a POSIX shell."""
    texts = [str(word) for word in words]
    return subprocess.list2cmdline(texts) if sys.platform == "win32" else shlex.join(texts)


def absent(path: Path, what: str = "folder") -> str:
    """Return a message on a missing path with a suggestion: "vkiti: no such folder; did you mean vkitti/?"."""
    found = nearest(path)
    return f"{path}: no such {what}" + (f"; did you mean {found}{'/' * found.is_dir()}?" if found else "")


def nearest(path: Path) -> Path | None:
    """Return the existing path spelt most like a missing one, or None."""
    found = Path(path.anchor)
    for part in path.parts[bool(path.anchor) :]:
        name: str | None = part
        if not os.path.lexists(found / part):
            name = _most_like(part, found)
        if name is None:
            return None
        found /= name
    return None if found == path else found


def _most_like(name: str, folder: Path) -> str | None:
    try:
        names = {entry.name.lower(): entry.name for entry in folder.iterdir()}
    except OSError:
        return None
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=_SIMILAR)
    return names[near[0]] if near else None


def not_a_folder(path: Path) -> str | None:
    """Return a message if a path is missing or a file instead of a folder, else None."""
    if path.is_dir():
        return None
    if not path.exists():
        return absent(path, "file" if _by_name(path.name) else "folder")
    thing = what_is(path)
    return f"{path}: is a file, not a folder: {thing.name}; {thing.advice}"


def foreign(root: Path, files: Iterable[str]) -> str:
    """Describe known files of other kinds in a folder without images, with advice; empty if there are none.

    Args:
        root: The folder.
        files: Paths in it; one file of each suffix is examined.
    """
    samples: dict[str, list[str]] = {}
    for path in files:
        samples.setdefault(os.path.splitext(path)[1].lower(), []).append(path)  # noqa: PTH122  faster than Path
    for paths in sorted(samples.values(), key=len, reverse=True):
        thing = what_is(root / paths[0])
        if thing.kind == "empty":
            thing = _by_name(paths[0]) or thing
        if thing.kind not in {"image", "text", "unknown", "empty"}:
            count = f"{len(paths)} files such as {paths[0]}" if len(paths) > 1 else paths[0]
            return f"{count}: {thing.name}; {thing.advice}"
    return ""


def any_file(root: Path, wanted: Callable[[str], bool]) -> bool:
    """Return whether any file name below a folder is wanted; stop at the first one."""
    for _, folders, names in os.walk(root):
        if any(map(wanted, names)):
            return True
        folders[:] = [folder for folder in folders if folder != STATE_FOLDER]
    return False
