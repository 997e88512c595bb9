"""What a new user types wrong, and what is answered: in one process in which importing torch is an error."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from safetensors.numpy import save_file

from sim2real.config import resolve
from sim2real.conversion.manifest import Record, write_record
from sim2real.model import GeneratorInfo

ROOT = Path(__file__).parents[2]
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


class Answer(NamedTuple):
    code: int
    out: str
    err: str
    changed: list[str]


# Command, exit code, what stderr says. Torch must not be imported, nothing be printed to stdout or left behind.
TABLE: list[tuple[str, int, str]] = [
    # no command, or none of that name
    ("trian", 2, "Did you mean train?"),
    ("convrt vkitti out", 2, "Did you mean convert?"),
    ("--vesion", 2, "--version"),
    ("train --stpes 4", 2, "--steps"),
    ("train vkitti kitti --batch-size 4", 2, "No such option"),
    ("convert vkitti out --modle run", 2, "--model"),
    ("export", 2, "Missing argument"),
    ("verify", 2, "Missing argument"),
    ("verify out extra", 2, "extra"),
    ("inspect", 2, "Missing argument"),
    ("plugins chek", 2, "check"),
    # values of a wrong type
    ("train vkitti kitti --steps 20q", 2, "20000, 20k or 1e4"),
    ("train vkitti kitti --steps 0", 2, "at least 1"),
    ("train vkitti kitti --seed -1", 2, "'-1' must be at least 0"),
    ("train vkitti kitti --seed x", 2, "'x' must be a whole number"),
    ("convert vkitti out --model done --resize big", 2, "640x192"),
    ("convert vkitti out --model done --resize 320", 2, "640x192"),
    ("convert vkitti out --model done --resize 64x0", 2, "640x192"),
    ("convert vkitti out --model done --carry cpoy", 2, "'copy', 'hardlink', 'symlink'; did you mean copy?"),
    ("convert vkitti out --model done --limit x", 2, "'--limit': 'x' must be a whole number"),
    ("convert vkitti out --model done --workers 0", 2, "'0' must be at least 1"),
    ("convert vkitti out --model done --direction simreal", 2, "did you mean sim2real?"),
    ("export done x.onnx --tolerance x", 2, "'x' must be a number"),
    ("convert vkitti out --model done --quality 200", 2, "'200' must be at most 100"),
    ("convert vkitti new --model done --encoding rael", 2, "'fixed', 'source', 'real'; did you mean real?"),
    ("convert vkitti new --model done --encoding source --quality 80", 1, "--quality 80: --encoding source copies"),
    ("convert vkitti new --model done --encoding real", 1, "lacks the encoding of its real images"),
    ("convert vkitti out --model done --tile x", 1, "use auto, off, or the side"),
    ("convert vkitti out --model done --shard 3/2", 1, "no shard 3 of 2"),
    ("convert vkitti out --model done --gate x", 1, "preservation>=0.9"),
    ("convert vkitti out --model done --rejected blend", 2, "name one: --gate"),
    ("convert vkitti", 2, "sim2real convert SRC OUT"),
    ("convert", 2, "sim2real convert SRC OUT"),
    ("export done x.onnx --size 64x0", 2, "640x192"),
    ("export done x.onnx --opset 3", 2, "--opset"),
    ("toytown town --size x", 2, "640x192"),
    ("toytown town --look cartoon", 1, "unknown look"),
    ("toytown town --cameras left", 1, "write 0, 1 or 0,1"),
    ("preview done vkitti -n 0", 2, "--count"),
    ("evaluate out --real kitti --fail-on fial", 2, "'fial' is not one of 'FAIL', 'WARN'; did you mean FAIL?"),
    ("evaluate out --real kitti --weights x", 2, "NAME=FILE"),
    ("evaluate out --real kitti --set edges=1", 2, "METRIC.OPTION=VALUE"),
    # settings
    ("train vkitti kitti --set batch_size=4", 1, "no such setting; did you mean data.batch_size?"),
    ("train vkitti kitti --set data.sise=4", 1, "did you mean data.size?"),
    ("train vkitti kitti --set steps=4", 1, "did you mean train.steps?"),
    ("train vkitti kitti --set lr=4", 1, "no such setting; accepted:"),
    ("train vkitti kitti --set width=4", 1, "generator.options.width"),
    ("train vkitti kitti --set data.size=256x", 1, 'for example 256, "256x128" or [256, 128]'),
    ("train vkitti kitti --set data.batch_size=four", 1, "must be a whole number, for example 1"),
    ("train vkitti kitti --set data.batch_size", 1, "write key=value"),
    ("train vkitti kitti --set data.augment=3", 1, "must be a list, for example [3]"),
    ("train vkitti kitti --steps -5", 2, "'-5' must be at least 1, for example 20000, 20k or 1e4"),
    ("train vkitti kitti --steps -20k", 2, "'-20k' must be at least 1"),
    ("train vkitti kitti --set train.steps=20k", 1, "write 20000"),
    ("train vkitti kitti --set compile=True", 1, "write compile=true"),
    ("train vkitti kitti --set generator.name=rsnet", 1, "did you mean resnet or unet?"),
    ("train vkitti kitti --set losses.cycl=3", 1, "did you mean cycle?"),
    ("train vkitti kitti --precision fp8", 1, "'fp16'"),
    ("train vkitti kitti --recipe defualt", 1, "did you mean default?"),
    ("train vkitti kitti --recipe recipe.toml", 1, "no recipe is called 'recipe.toml'"),
    ("recipes defualt", 1, "did you mean default?"),
    ("datasets vkiti2", 1, "did you mean vkitti2"),
    ("inspect vkitti --dataset vkiti2", 1, "did you mean vkitti2"),
    ("convert vkitti out --model done --dataset vkiti2", 1, "did you mean vkitti2"),
    ("convert vkitti out --model done --engine torhc", 1, "did you mean torch?"),
    ("evaluate out --real kitti --metrics colur", 1, "did you mean colour?"),
    ("train vkitti kitti --plan --resume", 2, "--plan"),
    ("train vkitti kitti --json", 2, "--plan"),
    # paths that are not there
    ("inspect vkiti", 1, "vkiti: no such folder; did you mean vkitti/?"),
    ("inspect nowhere", 1, "nowhere: no such folder"),
    ("train", 1, "give SIM and REAL"),
    ("train vkitti", 1, "give the real images too: SIM REAL"),
    ("train vkiti kitti", 1, "did you mean vkitti/?"),
    ("train vkitti vkitti", 1, "which holds one domain; give the real images too"),
    ("train vkitti kiti", 1, "did you mean kitti/?"),
    ("train vkitti drive.mpg4", 1, "drive.mpg4: no such folder"),
    ("train vkitti dirve.mp4", 1, "dirve.mp4: no such file; did you mean drive.mp4?"),
    ("train vkitti kitti --run done", 1, "done: exists already; add --resume"),
    ("train vkitti kitti --run file.txt", 1, "exists already"),
    ("train vkitti kitti --run file.txt/run", 1, "file.txt is no folder"),
    ("train vkitti kitti --run new --resume", 1, "no run to resume here"),
    ("convert vkiti out --model done", 1, "did you mean vkitti/?"),
    ("convert vkitti new --model dnoe", 1, "dnoe: no such model; did you mean done/?"),
    ("convert vkitti new --model done/sim2rael.safetensors", 1, "did you mean done/sim2real.safetensors?"),
    ("convert vkitti new", 1, "no model: runs/ has no run"),
    ("preview dnoe vkitti", 1, "did you mean done/?"),
    ("preview done vkiti", 1, "did you mean vkitti/?"),
    ("preview done vkitti --out nowhere/x.png", 1, "nowhere: no such folder"),
    ("preview done vkitti --out x.jpg", 1, "x.jpg: name a file that ends in .png, e.g. x.png"),
    ("export dnoe x.onnx", 1, "did you mean done/?"),
    ("export done x.pt", 1, "x.pt: name a file that ends in .onnx, e.g. x.onnx"),
    ("export done nowhere/x.onnx", 1, "nowhere: no such folder"),
    ("verify otu", 1, "otu: no such folder; did you mean out/?"),
    ("evaluate otu --real kitti", 1, "did you mean out/?"),
    ("evaluate out --real kiti", 1, "did you mean kitti/?"),
    ("evaluate out", 2, "name the real images"),
    ("evaluate out --real kitti --detector nothing.onnx", 1, "nothing.onnx: no such file"),
    ("evaluate out --real kitti --weights lpips=nothing.pth", 1, "nothing.pth: no such file"),
    ("evaluate out --real kitti --frames x.xlsx", 1, ".csv or .parquet"),
    ("evaluate out kitti", 2, "--json kitti"),
    ("report otu", 1, "did you mean out/?"),
    ("report done --out nowhere/x.html", 1, "nowhere"),
    ("batch vkiti kitti new", 1, "did you mean vkitti/?"),
    ("batch vkitti kiti new", 1, "did you mean kitti/?"),
    ("batch", 1, "give SIM and REAL"),
    ("init vkiti kitti", 1, "did you mean vkitti/?"),
    ("init vkitti kiti", 1, "did you mean kitti/?"),
    ("hypersim-previews vkiti", 1, "did you mean vkitti/?"),
    # one thing where another belongs
    ("preview vkitti done", 1, "vkitti and done: swapped arguments; run: sim2real preview done vkitti"),
    ("export x.onnx done", 1, "swapped arguments; run: sim2real export done x.onnx"),
    ("train done kitti", 1, "done: a run of sim2real train, not a dataset"),
    ("train vkitti done", 1, "done: a run of sim2real train, not a dataset"),
    ("convert done new", 1, "give the model with --model: sim2real convert SRC OUT --model done"),
    ("convert vkitti done --model done", 1, "sim2real convert vkitti OUT --model done"),
    ("convert out kitti --model done", 1, "the other way round? sim2real convert kitti out"),
    ("convert vkitti vkitti --model done", 1, "they are the same"),
    ("convert vkitti vkitti/out --model done", 1, "one is inside the other"),
    ("convert vkitti kitti --model done", 1, "not empty, and not a conversion"),
    ("convert vkitti file.txt --model done", 1, "file.txt: a file"),
    ("convert vkitti new --model vkitti", 1, "vkitti: not a run: sim2real train has written nothing to it"),
    ("convert vkitti new --model out", 1, "out: a converted dataset, not a run"),
    ("convert vkitti new --model begun", 1, "begun: this run has no sim2real.safetensors yet; finish its training"),
    ("convert vkitti new --model .", 1, "did you mean done/?"),
    ("inspect done", 1, "done: a run of sim2real train, not a dataset"),
    ("verify done", 1, "done: a run of sim2real train; name the OUT of sim2real convert"),
    ("verify vkitti", 1, "vkitti: holds no conversion"),
    ("verify file.txt", 1, "file.txt: a file"),
    ("evaluate done --real kitti", 1, "done: a run of sim2real train"),
    ("evaluate vkitti --real kitti", 1, "vkitti: holds no conversion of sim2real; name its source dataset"),
    ("report vkitti", 1, "vkitti: neither run nor conversion"),
    ("report out --run vkitti", 1, "vkitti: no run here"),
    ("init done kitti", 1, "done: a run of sim2real train, not a dataset"),
    ("demo file.txt", 1, "file.txt: a file"),
    ("demo vkitti", 1, "vkitti: contains other files"),
    # files of other programs
    ("convert vkitti new --model x.pth", 1, "x.pth: a checkpoint of PyTorch (pickle), not a model of sim2real"),
    ("convert vkitti new --model x.onnx", 1, "x.onnx: the network has no output"),
    ("convert vkitti new --model models/page.safetensors", 1, "a web page, not a model: a download that failed"),
    ("convert vkitti new --model models/lfs.safetensors", 1, "a Git LFS pointer, not a model: .* git lfs pull"),
    (
        "convert vkitti new --model models/torn.safetensors",
        1,
        "torn.safetensors: a damaged safetensors file",
    ),
    ("convert vkitti new --model models/other.safetensors", 1, "lack the metadata of a generator"),
    ("preview x.pth vkitti", 1, "x.pth: a checkpoint of PyTorch"),
    ("export x.pth x.onnx", 1, "x.pth: a checkpoint of PyTorch"),
    ("inspect a.zip", 1, "a.zip: is a file, not a folder: a .*ZIP archive; unpack it and name the folder"),
    ("train a.zip kitti", 1, "a .*ZIP archive; unpack it"),
    ("train vkitti a.zip", 1, "a .*ZIP archive; unpack it"),
    ("convert a.zip new --model done", 1, "a .*ZIP archive; unpack it"),
    ("convert drive.mp4 new --model done", 1, "a video; .*ffmpeg -i VIDEO FOLDER/%06d.png"),
    ("train drive.mp4 kitti", 1, "a video; the real side takes videos as they are"),
    ("inspect drive.mp4", 1, "a video"),
    ("convert videos new --model done", 1, "videos: no image found; .*a video; the real side takes videos"),
    ("inspect videos", 1, "videos: no image found; .*a video"),
    ("inspect shards", 1, "shards: no image found; .*a WebDataset shard"),
    ("train shards kitti", 1, "a WebDataset shard"),
    ("train vkitti records", 1, "2 files such as .*a TFRecord file"),
    ("inspect hdf", 1, "an HDF5 file; export its images and labels as files"),
    ("inspect unfetched", 1, "a Git LFS pointer in place of the image; fetch the files: git lfs pull"),
    ("convert unfetched new --model done", 1, "git lfs pull"),
    ("inspect vkitti/0000.png", 1, "a PNG image; name the folder that contains it"),
    ("inspect empty", 1, "empty: no image found; name the folder that holds the dataset"),
    ("train empty kitti", 1, "empty: no image found"),
    ("train vkitti empty", 1, "empty: no image found"),
    ("convert empty new --model done", 1, "empty: no image found"),
    ("preview done file.txt", 1, "file.txt: is a file, not a folder: a text file"),
    # names
    ("inspect 'no such\nfolder'", 1, "no such folder: no such folder"),
    ("inspect \U0001f697", 1, "no such folder"),
    ("inspect -- -x", 1, "-x: no such folder"),
]

DRIVER = """
import contextlib, io, json, os, shlex, shutil, signal, sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise RuntimeError("torch is imported")

sys.meta_path.insert(0, NoTorch())
from sim2real.cli import main

def tree():
    return {os.path.join(folder, name) for folder, _, names in os.walk(".") for name in [*names, ""]}

answers, before = [], tree()
for command in json.load(sys.stdin):
    sys.argv = ["sim2real", *shlex.split(command)]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        except BaseException as error:
            code = f"{type(error).__name__}: {error}"
    answers.append([code, out.getvalue(), err.getvalue(), sorted(tree() ^ before)])
    before = tree()
print(json.dumps(answers))
"""


def write_model(run: Path) -> GeneratorInfo:
    run.mkdir()
    settings = resolve().model_dump(mode="json")
    info = GeneratorInfo("resnet", {}, (-1.0, 1.0), "sim2real", "default", settings, "0", "0")
    save_file({"w": np.zeros(2, np.float32)}, run / "sim2real.safetensors", {"sim2real": json.dumps(info.dump())})
    (run / "config.toml").write_text(resolve().dump())
    return info


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory, paint: Callable[..., Path]) -> dict[str, Answer]:
    """What each command of the table answers."""
    work = tmp_path_factory.mktemp("wrong")
    paint(work / "vkitti", 4)
    paint(work / "kitti", 4, seed=1)
    for folder in ("empty", "videos", "shards", "records", "hdf", "unfetched", "begun", "models", "out/.sim2real"):
        (work / folder).mkdir(parents=True)
    shutil.copy(work / "vkitti/0000.png", work / "out/0000.png")
    info = write_model(work / "done")
    record = Record(
        tool_version="0", source=str(work / "vkitti"), dataset="images", direction="sim2real", side="sim",
        model_sha256="0" * 64, generator=info.dump(), engine="torch", device="cpu",
        precision="fp32", batch_size=1, compile=[], tile=0, tile_above=0, quality=95, carry="copy", include=[],
        exclude=[], limit=None, frames=4, files=4,
    )  # fmt: skip
    write_record(work / "out", record)
    (work / "begun/config.toml").write_text(resolve().dump())
    (work / "file.txt").write_text("x")
    (work / "a.zip").write_bytes(b"PK\x03\x04 broken off")
    for video in ("drive.mp4", "videos/a.mp4", "videos/b.mp4"):
        (work / video).write_bytes(b"\0\0\0\x18ftypisom")
    with tarfile.open(work / "shards/000.tar", "w") as shard:
        shard.addfile(tarfile.TarInfo("1.jpg"))
        shard.addfile(tarfile.TarInfo("1.txt"))
    for number in range(2):
        (work / f"records/{number}.tfrecord").write_bytes(b"\x08")
    (work / "hdf/a.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (work / "unfetched/0.png").write_text(LFS)
    (work / "x.pth").write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")
    (work / "x.onnx").write_bytes(b"\x08\x08\x12\x07pytorch")
    (work / "models/page.safetensors").write_text("<!DOCTYPE html>")
    (work / "models/lfs.safetensors").write_text(LFS)
    (work / "models/torn.safetensors").write_bytes((work / "done/sim2real.safetensors").read_bytes()[:40])
    save_file({"w": np.zeros(2, np.float32)}, work / "models/other.safetensors")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "400", "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input=json.dumps([command for command, _, _ in TABLE]),
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return {command: Answer(*answer) for (command, _, _), answer in zip(TABLE, found, strict=True)}


@pytest.mark.parametrize(("command", "code", "said"), TABLE, ids=[repr(row[0]) for row in TABLE])
def test_a_wrong_command_is_answered_at_once(answers: dict[str, Answer], command: str, code: int, said: str) -> None:
    answer = answers[command]
    assert answer.code == code, answer
    assert re.search(re.escape(said).replace(r"\.\*", ".*").replace(r"\|", "|"), answer.err), answer
    assert answer.changed == []
    assert answer.out == "" or not command
    assert not re.search("Traceback|[Ii]nput should|Value error|pydantic", answer.err), answer
    if code == 1:
        assert answer.err.startswith("error: ")
        assert answer.err.count("\n") == 1
