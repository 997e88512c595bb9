"""convert, verify and preview, as a user runs them."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from tests.commands import Cli, Program, Write, digests, json_lines, succeed

IMAGES = "/rgb/"


@pytest.fixture(scope="module")
def work(make_work: Write) -> Path:
    return make_work(20, size=(160, 96))


@pytest.fixture(scope="module")
def undisturbed(work: Path, cli: Cli) -> dict[str, str]:
    succeed(cli("convert", "in", "undisturbed", "--device", "cpu", cwd=work))
    return digests(work / "undisturbed")


def test_convert_translates_all_images_and_copies_all_other_files(
    work: Path, undisturbed: dict[str, str], cli: Cli
) -> None:
    source, out = work / "in", work / "undisturbed"
    before = digests(source)
    state = {".sim2real/conversion.json", ".sim2real/manifest.jsonl", ".sim2real/lock"}
    assert undisturbed.keys() == before.keys() | state
    assert {name for name in before if before[name] != undisturbed[name]} == {name for name in before if IMAGES in name}
    for name in before:
        if IMAGES in name:
            with Image.open(out / name) as after:
                after.load()
                assert (after.format, after.mode, after.size) == ("JPEG", "RGB", (160, 96))
                assert JpegImagePlugin.get_sampling(after) == 0  # 4:4:4
                with Image.open(source / name) as original:
                    assert not np.array_equal(np.array(after), np.array(original))
        else:
            assert (out / name).stat().st_mtime_ns == (source / name).stat().st_mtime_ns
    assert (out / "nothing here").is_dir()

    record = json.loads((out / ".sim2real/conversion.json").read_text())
    assert record["model_sha256"] == digests(work / "runs/town")["sim2real.safetensors"]
    assert (record["dataset"], record["device"], record["frames"]) == ("vkitti2", "cpu", 40)
    lines = json_lines(out / ".sim2real/manifest.jsonl")
    assert {line["path"]: line["sha256"] for line in lines} == {name: undisturbed[name] for name in before}
    assert {line["path"]: line["source_sha256"] for line in lines} == before
    assert {line["status"] for line in lines if IMAGES in line["path"]} == {"converted"}

    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    again = succeed(cli("convert", "in", "undisturbed", cwd=work))
    assert again.startswith(f"0 frames converted, 0 files carried, {len(before)} done before, 0 failed")
    assert "warning: Virtual KITTI 2's own frames are licensed" in again
    assert digests(out) == undisturbed
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items() if path.parent.name != ".sim2real")

    verified = succeed(cli("verify", "undisturbed", cwd=work))
    assert verified.startswith(f"ok: undisturbed: {len(before)} files, 40 of them translated images")


@pytest.fixture
def program(program: Program, work: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Run the program in the folder ``work``."""
    monkeypatch.chdir(work)
    return program


def test_wrong_arguments_are_refused_before_anything_is_written(
    work: Path, program: Program, write_run: Write, tmp_path: Path
) -> None:
    (work / "file").write_text("")
    (work / "not ours").mkdir(exist_ok=True)
    (work / "not ours/x").write_text("")
    (work / "no images").mkdir(exist_ok=True)
    (work / "link").symlink_to("in")
    write_run(work / "back", "real2sim")
    before = digests(work)
    for message, args in [
        ("the same", ["in", "in"]),
        ("the same", ["in", "link"]),
        ("inside", ["in", "in/out"]),
        ("inside", ["in", "link/new/out"]),
        ("inside", ["in/Scene01", "in"]),
        ("not empty, and not a conversion by sim2real", ["in", "not ours"]),
        ("not empty, and not a conversion by sim2real", ["in", "not ours", "--overwrite"]),
        ("a file; name a new or empty folder", ["in", "file"]),
        ("no such folder", ["nowhere", "new"]),
        ("is a file, not a folder: an empty file", ["file", "new"]),
        ("no image found", ["no images", "new"]),
        ("--include and --exclude leave none of its 40 frames", ["in", "new", "--include", "*.webp"]),
        ("did you mean vkitti2", ["in", "new", "--dataset", "vkiti2"]),
        ("no engine is called 'torhc'; did you mean torch", ["in", "new", "--engine", "torhc"]),
        ("no such model", ["in", "new", "--model", "gone.safetensors"]),
        ("file: an empty file, not a model", ["in", "new", "--model", "file"]),
        ("this run has no sim2real.safetensors; it has real2sim.safetensors", ["in", "new", "--model", "back"]),
        ("this model translates", ["in", "new", "--model", "back/real2sim.safetensors", "--direction", "sim2real"]),
        ("no run with real2sim.safetensors", ["in", "new", "--direction", "real2sim"]),
        ("device", ["in", "new", "--device", "cuda:99"]),
    ]:
        code, output, errors = program("convert", *args)
        assert (code, output) == (1, ""), args
        assert errors.startswith("error: "), args
        assert message in errors, args
        assert errors.count("\n") == 1, args
    assert digests(work) == before
    assert program("convert", "in")[0] == 2
    os.chdir(tmp_path)
    assert "no model: runs/ has no run" in program("convert", work / "in", "new")[2]


def test_a_corrupt_frame_ends_a_conversion_unless_keep_going_is_set(
    work: Path, program: Program, write_vkitti: Write, tmp_path: Path
) -> None:
    source, out = write_vkitti(tmp_path / "in"), tmp_path / "out"
    frame = "Scene01/fog/frames/rgb/Camera_0/rgb_00002.jpg"
    (source / frame).write_bytes((source / frame).read_bytes()[:300])
    code, output, errors = program("convert", source, out)
    assert (code, output) == (1, "")
    assert errors.splitlines()[-1].startswith(f"error: {source / frame}: ")
    code, output, errors = program("convert", source, out, "--keep-going")
    assert code == 1
    assert f"failed: {frame}: " in output
    assert "1 failed" in output
    code, output, errors = program("verify", out)
    assert code == 1
    assert f"failed: {frame}: " in output
    assert output.splitlines()[-1].startswith(f"not ok: {out}: 1 problems")
    code, output, errors = program("verify", out, "--json")
    report = json.loads(output)
    assert (code, report["ok"], [p["kind"] for p in report["problems"]]) == (1, False, ["failed"])


def test_plan_estimates_the_conversion_and_writes_nothing(work: Path, program: Program) -> None:
    code, output, _ = program("convert", "in", "planned", "--plan", "--limit", "5")
    lines = [line.split() for line in output.splitlines()]
    assert code == 0
    assert ["5", "files"] in [line[:2] for line in lines if line[-2:] == ["to", "translate"]]
    assert ["to", "write", "(estimated);"] in [line[2:5] for line in lines if line[-1] == "free"]
    assert not (work / "planned").exists()


def test_the_settings_file_names_model_source_and_target(
    work: Path, program: Program, write_run: Write, tmp_path: Path
) -> None:
    write_run(tmp_path / "mine", seed=3)
    os.chdir(tmp_path)
    toml = f'run = "mine"\n[[convert]]\nsource = "{(work / "in").as_posix()}"\nout = "there"\nexclude = ["*/fog/*"]\n'
    Path("sim2real.toml").write_text(toml)
    code, output, errors = program("convert")
    assert code == 0, errors
    assert errors.index("to write (estimated)") < errors.index("converting 20/20 files in ")
    assert "20 frames converted" in output
    assert "with mine/sim2real.safetensors" in output
    assert "fog" not in str(digests(tmp_path / "there").keys())


def test_preview_writes_frames_before_and_after(work: Path, program: Program, tmp_path: Path) -> None:
    code, output, errors = program("preview", "runs/town", "in", "-n", 3, "--out", tmp_path / "look.png")
    assert code == 0, errors
    assert output == f"3 frames before and after: {tmp_path / 'look.png'}\n"
    with Image.open(tmp_path / "look.png") as sheet:
        pixels = np.array(sheet)
    first = "in/Scene01/clone/frames/rgb/Camera_0/rgb_00006.jpg"  # the middle of the first third of 40
    with Image.open(first) as frame:
        before = np.array(frame)
    assert np.array_equal(pixels[38 : 38 + 96, 8 : 8 + 160], before)
    assert program("preview", "runs/town", first, "--out", tmp_path / "one.png")[0] == 0
    assert "ends in .png" in program("preview", "runs/town", "in", "--out", tmp_path / "look.jpg")[2]
