"""What lies below a folder and nowhere else."""

import os
import socket
from pathlib import Path

import pytest

from sim2real.errors import Sim2RealError
from sim2real.files import replacing, sha256_of, write_whole
from sim2real.inside import inside, is_link, open_regular, read_regular

needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")


def test_a_folder_may_be_a_link_and_what_is_below_it_may_not(tmp_path: Path) -> None:
    (tmp_path / "disk/run/samples").mkdir(parents=True)
    (tmp_path / "run").symlink_to("disk/run", target_is_directory=True)
    run = tmp_path / "run"
    assert inside(run) == run
    assert inside(run, "samples/a.png") == run / "samples/a.png"
    assert inside(tmp_path / "not there", "a/b") == tmp_path / "not there/a/b"
    for target in ("../../elsewhere", "samples", str(tmp_path), "nowhere"):
        (run / "link").unlink(missing_ok=True)
        (run / "link").symlink_to(target)
        for path in ("link", "link/a.png", "link/a/b"):
            with pytest.raises(Sim2RealError, match=r"run/link: a link; links inside .*run are not .*: remove it"):
                inside(run, path)
    assert is_link(run / "link")
    assert not is_link(run / "samples")
    assert not is_link(run / "not there")


@needs_pipes
def test_pipes_sockets_and_devices_are_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    for name, kind in (("pipe", "a named pipe"), ("socket", "a socket"), ("zero", "a device"), (".", "a folder")):
        for read in (open_regular, read_regular, sha256_of):
            with pytest.raises(Sim2RealError, match=f"{kind}, not a file"):
                read(tmp_path / name)
    with pytest.raises(Sim2RealError, match="a named pipe"):
        inside(tmp_path, "pipe")
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "not there")


@needs_pipes
def test_pipes_and_devices_are_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    for name in ("pipe", "null"):
        with pytest.raises(Sim2RealError, match="not a file"):
            write_whole(tmp_path / name, b"data")
        with pytest.raises(Sim2RealError, match="not a file"), replacing(tmp_path / name):
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["null", "pipe"]
