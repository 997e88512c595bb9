"""What is converted, what is carried, what is refused."""

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sim2real.cli.convert import show_summary
from sim2real.conversion import ConversionSummary, ConvertOptions, make_plan, verify
from sim2real.datasets import open_dataset
from sim2real.errors import Sim2RealError
from sim2real.translator import load

Write = Callable[..., Path]
Translate = Callable[..., ConversionSummary]
ReadTree = Callable[[Path], dict[str, bytes]]

IMAGE = "Scene01/clone/frames/rgb/Camera_0/rgb_{:05}.jpg"


def noise(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def statuses(out: Path) -> dict[str, str]:
    lines = (out / ".sim2real/manifest.jsonl").read_text().splitlines()
    return {line["path"]: line["status"] for line in map(json.loads, lines)}


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (17, 33), (1242, 375)])
def test_any_size_keeps_its_size_and_is_what_the_model_makes_of_it(
    tmp_path: Path, translate: Translate, run: Path, size: tuple[int, int]
) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(noise(size[1], size[0], 3)).save(tmp_path / "in/a.png")
    translate(tmp_path / "in", tmp_path / "out")
    with Image.open(tmp_path / "out/a.png") as after, Image.open(tmp_path / "in/a.png") as before:
        assert after.size == size
        assert np.array_equal(np.array(after), load(run, device="cpu", precision="fp32")(np.array(before)))


def test_only_a_long_conversion_says_where_to_read_about_its_speed(
    tmp_path: Path, translate: Translate, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(noise(8, 8, 3)).save(tmp_path / "in/a.png")
    summary = translate(tmp_path / "in", tmp_path / "out")
    for seconds in (59.0, 60.0):
        show_summary(replace(summary, seconds=seconds, limit="decoding"))
        printed = " ".join(capsys.readouterr().out.split())
        assert "limited by decoding" in printed
        assert ("sim2real help slow" in printed) == (seconds >= 60)


def test_the_longest_names_are_converted_and_carried(tmp_path: Path, translate: Translate, tree: ReadTree) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    names = [letter * 251 + ".png" for letter in "ab"] + ["c" * 254 + letter for letter in "de"]
    for name in names[:2]:
        Image.fromarray(noise(8, 8, 3)).save(source / name)
    for name in names[2:]:
        (source / name).write_text(name)
    translate(source, out)
    assert list(tree(out)) == names
    assert verify(out).ok


def test_encodings_come_back_as_they_were(tmp_path: Path, translate: Translate) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    rgb = noise(24, 40, 3)
    alpha = noise(24, 40, seed=1)
    Image.fromarray(np.dstack((rgb, alpha))).save(source / "rgba.png")
    Image.fromarray(rgb[..., 0]).save(source / "grey.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    icc = b"not a profile at all"
    Image.fromarray(rgb).save(source / "turned.jpg", exif=exif, icc_profile=icc)
    Image.fromarray(rgb).quantize(8).save(source / "palette.png")
    Image.fromarray(rgb[..., 0].astype(np.uint16) * 255).save(source / "deep.png")
    Image.fromarray(rgb).save(source / "UPPER.JPG", quality=90)
    translate(source, out)
    with Image.open(out / "rgba.png") as image:
        assert image.mode == "RGBA"
        assert np.array_equal(np.array(image)[..., 3], alpha)
        assert not np.array_equal(np.array(image)[..., :3], rgb)
    with Image.open(out / "grey.jpg") as image:
        assert (image.mode, image.size) == ("L", (40, 24))
    with Image.open(out / "turned.jpg") as image:
        assert image.size == (40, 24)
        assert image.getexif()[0x0112] == 6
        assert image.info["icc_profile"] == icc
    with Image.open(out / "UPPER.JPG") as image:
        assert image.format == "JPEG"
    for label in ("palette.png", "deep.png"):
        assert (out / label).read_bytes() == (source / label).read_bytes()
    assert {path for path, status in statuses(out).items() if status == "carried"} == {"palette.png", "deep.png"}
    assert verify(out).ok


def test_a_colour_profile_that_is_converted_is_named_in_the_manifest(tmp_path: Path, translate: Translate) -> None:
    from PIL import ImageCms

    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {bytes(profile[place : place + 4]): place for place in range(132, 132 + 12 * profile[131], 12)}
    profile[tags[b"rXYZ"]], profile[tags[b"bXYZ"]] = ord("b"), ord("r")  # red and blue exchanged
    Image.fromarray(noise(24, 40, 3)).save(source / "swapped.png", icc_profile=bytes(profile))
    Image.fromarray(noise(24, 40, 3)).save(source / "usual.png")
    summary = translate(source, out)
    lines = [json.loads(line) for line in (out / ".sim2real/manifest.jsonl").read_text().splitlines()]
    notes = {line["path"]: line.get("notes", []) for line in lines}
    assert notes["usual.png"] == []
    assert len(notes["swapped.png"]) == 1
    assert notes["swapped.png"][0].startswith("ICC profile 'sRGB")
    assert notes["swapped.png"][0].endswith("converted to sRGB")
    assert f"{notes['swapped.png'][0]} (1 images)" in summary.warnings


def test_a_camera_of_16_bits_is_refused_by_name(tmp_path: Path, translate: Translate, write_vkitti: Write) -> None:
    source = write_vkitti(tmp_path / "in")
    deep = source / IMAGE.format(1)
    import cv2

    assert cv2.imwrite(str(deep.with_suffix(".png")), noise(24, 40, 3).astype(np.uint16) * 257)
    deep.with_suffix(".png").rename(deep)
    with pytest.raises(Sim2RealError, match=r"rgb_00001\.jpg: .*16 bits.*--keep-going"):
        translate(source, tmp_path / "out")


def test_one_folder_with_both_domains(
    tmp_path: Path, translate: Translate, write_run: Write, paint: Write, tree: ReadTree
) -> None:
    source = tmp_path / "in"
    for seed, folder in enumerate(("trainA", "testA", "trainB", "testB")):
        paint(source / folder, 2, seed=seed)
    translate(source, tmp_path / "forth")
    back = write_run(tmp_path / "back", "real2sim")
    translate(source, tmp_path / "back_out", model=back, direction="real2sim")
    swapped = write_run(tmp_path / "swapped", settings={"swap": True})
    translate(source, tmp_path / "swapped_out", model=swapped)
    before = tree(source)
    for out, side in (("forth", "A/"), ("back_out", "B/"), ("swapped_out", "B/")):
        after = tree(tmp_path / out)
        assert after.keys() == before.keys()
        assert {path for path in after if after[path] != before[path]} == {path for path in before if side in path}
        assert verify(tmp_path / out).ok


def test_images_are_never_linked(tmp_path: Path, translate: Translate, paint: Write) -> None:
    paint(tmp_path / "in/trainA", 1)
    paint(tmp_path / "in/trainB", 1)
    translate(tmp_path / "in", tmp_path / "out", carry="hardlink")
    assert (tmp_path / "out/trainB/0000.png").read_bytes() == (tmp_path / "in/trainB/0000.png").read_bytes()
    assert not (tmp_path / "out/trainB/0000.png").samefile(tmp_path / "in/trainB/0000.png")


def test_include_and_exclude_select_files_of_every_role(
    tmp_path: Path, translate: Translate, write_vkitti: Write, tree: ReadTree
) -> None:
    source = write_vkitti(tmp_path / "in")
    summary = translate(source, tmp_path / "out", include=("*/clone/*",), exclude=("*/depth/*", "*_00001*"))
    wanted = {path for path in tree(source) if "/clone/" in path and "depth" not in path and "_00001" not in path}
    assert tree(tmp_path / "out").keys() == wanted
    assert summary.converted == 2
    record = json.loads((tmp_path / "out/.sim2real/conversion.json").read_text())
    assert (record["include"], record["exclude"]) == (["*/clone/*"], ["*/depth/*", "*_00001*"])
    assert verify(tmp_path / "out").ok


def test_a_limit_leaves_out_the_other_images_alone_and_can_be_raised(
    tmp_path: Path, translate: Translate, write_vkitti: Write, tree: ReadTree
) -> None:
    source, out = write_vkitti(tmp_path / "in"), tmp_path / "out"
    translate(source, out, limit=2)
    images = {path for path in tree(source) if "/rgb/" in path}
    assert tree(source).keys() - tree(out).keys() == images - {IMAGE.format(0), IMAGE.format(1)}
    assert verify(out).ok
    summary = translate(source, out)
    assert (summary.converted, summary.carried) == (4, 0)
    assert verify(out).ok
    with pytest.raises(Sim2RealError, match="holds 4 files that this conversion does not make"):
        translate(source, out, limit=2)
    translate(source, out, limit=2, overwrite=True)
    assert len(tree(out)) == len(tree(source)) - 4
    assert verify(out).ok


def test_frames_do_not_depend_on_their_company(
    tmp_path: Path, translate: Translate, write_vkitti: Write, paint: Write, tree: ReadTree
) -> None:
    source = paint(tmp_path / "in", 5)
    for index, size in enumerate([(64, 48), (32, 80), (64, 48)]):
        paint(source / "others", index + 1, size=size, seed=index)
    whole, part = tmp_path / "whole", tmp_path / "part"
    translate(source, whole, batch_size=3)
    translate(source, part, batch_size=3, exclude=("0001*", "others/0000*"))
    assert tree(part).items() <= tree(whole).items()


@pytest.mark.parametrize("mode", ["hardlink", "symlink"])
def test_links_never_lead_back_into_the_source(
    tmp_path: Path, translate: Translate, write_vkitti: Write, tree: ReadTree, mode: str
) -> None:
    source, out = write_vkitti(tmp_path / "in"), tmp_path / "out"
    before = tree(source)
    translate(source, out, carry=mode)
    label, image = out / "Scene01/clone/bbox.txt", out / IMAGE.format(0)
    assert label.samefile(source / "Scene01/clone/bbox.txt")
    assert label.is_symlink() == (mode == "symlink")
    assert not image.is_symlink()
    assert image.stat().st_nlink == 1
    assert verify(out).ok
    translate(source, out, carry="hardlink", overwrite=True)
    translate(source, out, carry="copy", overwrite=True)
    assert not label.samefile(source / "Scene01/clone/bbox.txt")
    assert tree(source) == before
    assert verify(out).ok
    assert not list(out.rglob("*.tmp-*"))


def test_a_file_that_cannot_be_done_is_named_and_done_later(
    tmp_path: Path, translate: Translate, write_vkitti: Write, tree: ReadTree
) -> None:
    source, out = write_vkitti(tmp_path / "in", 4), tmp_path / "out"
    broken = source / IMAGE.format(1)
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    (source / "gone").symlink_to("nowhere")
    os.mkfifo(source / "pipe")
    with pytest.raises(Sim2RealError, match="what is finished is kept"):
        translate(source, out)
    summary = translate(source, out, keep_going=True)
    assert [path for path, _ in summary.failed] == [IMAGE.format(1), "gone", "pipe"]
    assert summary.converted + summary.carried + summary.skipped == summary.record.files - 3
    assert {(problem.kind, problem.path) for problem in verify(out).problems} == {
        ("failed", path) for path in (IMAGE.format(1), "gone", "pipe")
    }
    broken.write_bytes(whole)
    for name in ("gone", "pipe"):
        (source / name).unlink()
    assert translate(source, out).converted == 1
    assert verify(out).ok
    assert tree(out).keys() == tree(source).keys()


def test_a_source_that_changes_meanwhile_is_noticed(tmp_path: Path, translate: Translate, write_vkitti: Write) -> None:
    source, out = write_vkitti(tmp_path / "in", 12), tmp_path / "out"
    late = ["Scene01/fog/frames/rgb/Camera_0/rgb_00011.jpg", "Scene01/fog/frames/rgb/Camera_0/rgb_00010.jpg"]

    def meddle(stage: str, done: int, _total: int, _limit: str = "") -> None:
        if (stage, done) == ("converting", 1):
            (source / late[0]).write_bytes((source / IMAGE.format(0)).read_bytes())
            (source / late[1]).unlink()

    summary = translate(source, out, meddle, keep_going=True, workers=1)
    assert dict(summary.failed).keys() == set(late)
    assert "changed during the conversion" in dict(summary.failed)[late[0]]
    assert not (out / late[0]).exists()
    again = translate(source, out, workers=1)
    assert (again.converted, again.failed) == (1, [])


def test_what_a_rerun_may_not_change(
    tmp_path: Path, translate: Translate, write_run: Write, write_vkitti: Write, tree: ReadTree
) -> None:
    source, out = write_vkitti(tmp_path / "in"), tmp_path / "out"
    translate(source, out)
    before = tree(out)
    other = write_run(tmp_path / "other", seed=1)
    differences: dict[str, dict[str, object]] = {
        r"quality was 95, is 80": {"quality": 80},
        r"model_sha256 was [0-9a-f]{12}\.\.\., is": {"model": other},
        r"precision was fp32, is bf16": {"precision": "bf16"},
        r"batch_size was 1, is 2": {"batch_size": 2},
        r"dataset was vkitti2, is images": {"dataset": "images"},
    }
    for difference, options in differences.items():
        with pytest.raises(Sim2RealError, match=difference):
            translate(source, out, **options)
    assert tree(out) == before
    assert translate(source, out, precision="auto", device="auto").skipped == len(before)
    told = out / ".sim2real/evaluation.json"
    told.write_text("of the earlier conversion")
    summary = translate(source, out, model=other, overwrite=True)
    assert (summary.converted, summary.skipped) == (6, 0)
    assert not told.exists()
    assert {path for path, data in tree(out).items() if data != before[path]} == {p for p in before if "/rgb/" in p}
    assert verify(out).ok


def test_a_source_changed_since_is_converted_again(tmp_path: Path, translate: Translate, write_vkitti: Write) -> None:
    source, out = write_vkitti(tmp_path / "in"), tmp_path / "out"
    translate(source, out)
    (source / "Scene01/clone/bbox.txt").write_text("other\n")
    Image.fromarray(noise(24, 40, 3, seed=9)).save(source / IMAGE.format(0))
    (out / IMAGE.format(1)).unlink()
    (out / "Scene01/fog/pose.txt").write_text("")
    summary = translate(source, out)
    assert (summary.converted, summary.carried) == (2, 2)
    assert verify(out).ok


def test_files_that_somebody_changed_are_converted_again(
    tmp_path: Path, translate: Translate, tree: ReadTree, write_vkitti: Write
) -> None:
    out = tmp_path / "out"
    translate(write_vkitti(tmp_path / "in"), out)
    before = tree(out)
    images, texts = sorted(out.rglob("rgb_*.jpg")), sorted(out.rglob("*.txt"))
    for path in (images[0], texts[0]):
        path.write_bytes(path.read_bytes()[:-1] + b"!")  # of equal size
        os.utime(path, (time.time() + 9,) * 2)
    os.utime(images[1], (time.time() + 9,) * 2)  # only touched
    told: list[str] = []
    again = translate(tmp_path / "in", out, notify=told.append)
    assert (again.converted, again.carried) == (1, 1)
    assert told == [
        f"{out}: 3 files are newer than the manifest: their bytes are compared with it",
        f"{out}: 2 of them were changed ({min(images[0], texts[0]).relative_to(out)} ...) and are converted again",
    ]
    assert tree(out) == before
    assert verify(out).ok


def test_a_run_that_converts_some_of_the_changed_files_leaves_the_others_to_the_next_one(
    tmp_path: Path, translate: Translate, tree: ReadTree, write_vkitti: Write
) -> None:
    out = tmp_path / "out"
    translate(write_vkitti(tmp_path / "in"), out)
    before = tree(out)
    images = sorted(out.rglob("rgb_*.jpg"))
    for path in images:
        path.write_bytes(path.read_bytes()[:-1] + b"!")  # of equal size
        os.utime(path, (time.time() + 0.1,) * 2)
    time.sleep(0.2)  # so that whatever the first run writes is newer
    half = len(images) // 2
    summaries = [translate(tmp_path / "in", out, shard=(index, 2)) for index in range(2)]
    assert [(summary.converted, summary.left) for summary in summaries] == [(half, half), (half, 0)]
    assert tree(out) == before
    written = (out / ".sim2real/manifest.jsonl").stat().st_mtime_ns
    translate(tmp_path / "in", out)
    assert (out / ".sim2real/manifest.jsonl").stat().st_mtime_ns == written


def test_a_copy_of_a_conversion_with_other_times_is_compared_once(
    tmp_path: Path, translate: Translate, write_vkitti: Write
) -> None:
    first = translate(write_vkitti(tmp_path / "in"), tmp_path / "out")
    shutil.copytree(tmp_path / "out", tmp_path / "copy", copy_function=shutil.copyfile)
    os.utime(tmp_path / "copy/.sim2real/manifest.jsonl", (1, 1))  # copied first
    told: list[str] = []
    for _ in range(2):
        again = translate(tmp_path / "in", tmp_path / "copy", notify=told.append)
        assert again.skipped == first.record.files
    assert told == [
        f"{tmp_path / 'copy'}: {first.record.files} files are newer than the manifest: their bytes are compared with it"
    ]


def test_a_torn_manifest_and_leftovers_do_no_harm(
    tmp_path: Path, translate: Translate, write_vkitti: Write, tree: ReadTree
) -> None:
    source, out = write_vkitti(tmp_path / "in"), tmp_path / "out"
    translate(source, out)
    manifest = out / ".sim2real/manifest.jsonl"
    before, tidy = tree(out), manifest.read_bytes()
    lines = tidy.splitlines(keepends=True)
    leftovers = [out / "Scene01/.rgb.jpg.tmp-123", out / ".sim2real/.conversion.json.tmp-9"]
    for torn in (tidy[:-20], b"".join(lines[:4]) + b"\0" * 5000, b"\n".join([lines[0], b"\xff{", *lines[2:]]), b"{"):
        manifest.write_bytes(torn)
        for path in leftovers:
            path.write_bytes(b"half")
        assert 0 < translate(source, out).skipped + 1 <= len(lines)
        assert tree(out) == before
        assert manifest.read_bytes() == tidy
        assert not any(path.exists() for path in leftovers)
    (out / ".sim2real/conversion.json").write_text("{}")
    with pytest.raises(Sim2RealError, match="damaged"):
        translate(source, out)


def test_a_model_that_cannot_be_used_leaves_an_earlier_conversion_as_it_is(
    tmp_path: Path, translate: Translate, write_run: Write, paint: Write, tree: ReadTree
) -> None:
    source, out = paint(tmp_path / "in", 1), tmp_path / "out"
    gone = write_run(tmp_path / "gone", name="gone")
    with pytest.raises(Sim2RealError, match="no generator is called 'gone'"):
        translate(source, out, model=gone)
    translate(source, out)  # no trace of the first stands in the way
    before = tree(out)
    with pytest.raises(Sim2RealError, match="no generator is called 'gone'"):
        translate(source, out, model=gone, overwrite=True)
    assert tree(out) == before
    assert verify(out).ok


def test_weights_that_make_nonsense_are_refused(tmp_path: Path, translate: Translate, run: Path, paint: Write) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    file = run / "sim2real.safetensors"
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    weights = {name: tensor * float("nan") for name, tensor in load_file(file).items()}
    save_file(weights, tmp_path / "nan.safetensors", metadata)
    with pytest.raises(Sim2RealError, match="not finite"):
        translate(paint(tmp_path / "in", 1), tmp_path / "out", model=tmp_path / "nan.safetensors")


def test_the_plan_writes_nothing(tmp_path: Path, run: Path, write_vkitti: Write) -> None:
    source = write_vkitti(tmp_path / "in")
    plan = make_plan(source, tmp_path / "out", ConvertOptions(model=run))
    assert (plan.record.frames, plan.record.files, len(plan.todo)) == (6, 25, 25)
    assert sum(job.size for job in plan.todo) == sum(p.stat().st_size for p in source.rglob("*") if p.is_file())
    assert not (tmp_path / "out").exists()


def test_a_folder_that_another_tool_filled_is_not_converted_into_though_it_was_evaluated(
    tmp_path: Path, translate: Translate, write_vkitti: Write
) -> None:
    source, out = write_vkitti(tmp_path / "source"), tmp_path / "out"
    (out / ".sim2real").mkdir(parents=True)
    (out / ".sim2real/evaluation.json").write_text("{}")
    (out / "precious.png").write_text("another tool's")
    with pytest.raises(Sim2RealError, match="not empty, and not a conversion"):
        translate(source, out)
    assert (out / "precious.png").read_text() == "another tool's"


def test_a_conversion_inside_of_another_dataset_is_no_part_of_it(
    tmp_path: Path, translate: Translate, write_vkitti: Write, paint: Write, tree: ReadTree
) -> None:
    paint(tmp_path / "in", 1)
    other = write_vkitti(tmp_path / "other", 1)
    before = open_dataset(other)
    paths, roles = [*before.tree], before.roles()
    for inner in ("converted", "Scene01/clone/frames/rgb/Camera_1"):
        translate(tmp_path / "in", other / inner, gate=("preservation>=1",))  # .sim2real holds the rejected one
    after = open_dataset(other)
    assert ([*after.tree], after.roles(), len(list(after.frames()))) == (paths, roles, len(list(before.frames())))
    assert "2 converted datasets inside are left out and not carried" in "\n".join(after.warnings())
    assert [path for path in tree(translate(other, tmp_path / "out").out) if "converted" in path] == []

    translate(tmp_path / "in", tmp_path / "out/later")
    assert verify(tmp_path / "out").ok
    assert translate(other, tmp_path / "out").converted == 0


def test_conversions_beside_each_other_are_one_dataset(tmp_path: Path, translate: Translate, paint: Write) -> None:
    paint(tmp_path / "in", 2)
    for name in ("a", "b"):
        translate(tmp_path / "in", tmp_path / "all" / name, gate=("preservation>=1",))
    (tmp_path / "all/README.txt").write_text("both")
    together = open_dataset(tmp_path / "all")
    assert together.roles() == {"IMAGE": 4, "LABEL": 0, "AUX": 1, "PSEUDO": 0, "STALE": 0}
    assert [line for line in together.warnings() if "converted" in line] == []
