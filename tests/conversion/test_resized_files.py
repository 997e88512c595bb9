"""A dataset at another size is what would have been rendered at that size."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from sim2real import Sim2RealError, open_dataset
from sim2real.conversion import ConversionSummary, verify
from sim2real.conversion.resized_files import DamageError, Resize
from sim2real.datasets.labels import Boxes, Depth, Flow, Instances, SceneFlow, Segmentation
from sim2real.datasets.resizing import KITTI_CALIBRATION, MATRIX, Rule, Scale, kitti_boxes
from sim2real.datasets.resizing_documents import COCO, OPV2V
from sim2real.evaluation.frames import open_converted
from sim2real_toytown import render_dataset
from tests.commands import manifest

Write = Callable[..., Path]
Translate = Callable[..., ConversionSummary]
ReadTree = Callable[[Path], dict[str, bytes]]
Cli = Callable[..., subprocess.CompletedProcess[str]]
Floats = NDArray[np.floating[Any]]

SIZE = (320, 96)
IMAGE = "Scene01/clone/frames/rgb/Camera_0/rgb_00000.jpg"
DEPTH = "Scene01/clone/frames/depth/Camera_0/depth_00000.png"


def render(folder: Path, size: tuple[int, int]) -> Path:
    render_dataset(folder, frames=2, size=size, seed=6, cameras=(0,))
    return folder


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("town") / "in", SIZE)


@pytest.fixture(scope="module")
def smaller(town: Path, translate: Translate) -> Path:
    """The town at 200x48."""
    out = town.parent / "smaller"
    translate(town, out, resize=(200, 48))
    return out


# against a rendering


@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(part=st.integers(12, 42))
def test_labels_are_those_of_a_rendering_at_that_size(
    town: Path, translate: Translate, tmp_path_factory: pytest.TempPathFactory, part: int
) -> None:
    folder = tmp_path_factory.mktemp("rendered")
    size = 10 * part, 3 * part  # the camera of the town has one focal length for both axes
    translate(town, folder / "resized", resize=size)
    rendered = open_dataset(render(folder / "rendered", size))
    for frame, wanted in zip(open_dataset(folder / "resized").frames(), rendered.frames(), strict=True):
        assert frame.labels.keys() == wanted.labels.keys()
        assert frame.load_image().shape == wanted.load_image().shape
        for kind in frame.labels:
            agree(frame.load_label(kind), wanted.load_label(kind), size[0] / SIZE[0])


def agree(found: object, wanted: object, scale: float) -> None:
    match found, wanted:
        case (Segmentation(ids), Segmentation(others)) | (Instances(ids), Instances(others)):
            inside = np.ptp(around(others.astype(float)), axis=-1) == 0
            assert (ids == others)[inside].mean() > 0.98
        case Depth(metres), Depth(others):
            within(metres, others, 0.011)
        case Flow(uv, valid), Flow(others, known):
            assert (valid == known).mean() > 0.95
            for axis, length in enumerate(uv.shape[1::-1]):  # two steps of 16 bits, and W - 1 is not quite W
                told = [np.where(mask, each[..., axis], np.nan) for each, mask in ((uv, valid), (others, known))]
                within(told[0], told[1], 4 * length / 65535 + 0.02)
        case SceneFlow(xyz), SceneFlow(others):
            for axis in range(3):
                within(xyz[..., axis], others[..., axis], 0.001)
        case Boxes(boxes), Boxes(others):
            by_track = {box.track: box for box in boxes}
            seen = [(by_track[box.track], box) for box in others if min(box.right - box.left, box.bottom - box.top) > 2]
            assert all(same.label == box.label for same, box in seen)
            edges = [
                abs(getattr(same, name) - getattr(box, name))
                for same, box in seen
                for name in ("left", "top", "right", "bottom")
            ]
            # half a pixel of each rendering, and one so that it covers what it did; slits are seen in one of them alone
            assert np.mean(np.array(edges) < 1.5 + scale / 2) > 0.9
        case _:
            raise AssertionError(f"{type(found)} is no {type(wanted)}")


def around(values: Floats) -> Floats:
    """(H, W, 9): a pixel and its neighbours."""
    padded = np.pad(values, 1, mode="edge")
    height, width = values.shape
    return np.stack([padded[y : y + height, x : x + width] for y in range(3) for x in range(3)], axis=-1)


def within(found: Floats, wanted: Floats, tolerance: float) -> None:
    """Away from edges a value is between those of the neighbours: the centres of pixels are less than one away."""
    near = around(wanted.astype(float))
    spread = np.ptp(near, axis=-1)
    inside = np.isfinite(spread) & np.isfinite(found) & (spread < 0.1 * np.abs(wanted).clip(min=10))
    assert inside.mean() > 0.1
    margin = tolerance + 0.01 * np.abs(wanted)
    low, high = near.min(axis=-1) - margin, near.max(axis=-1) + margin
    assert ((low <= found) & (found <= high))[inside].mean() > 0.97


def test_intrinsics_are_those_of_a_rendering_at_that_size(town: Path, translate: Translate, tmp_path: Path) -> None:
    translate(town, tmp_path / "resized", resize=(160, 48))
    render(tmp_path / "rendered", (160, 48))
    tables = [
        np.loadtxt(tmp_path / name / "Scene01/clone/intrinsic.txt", skiprows=1) for name in ("resized", "rendered")
    ]
    assert tables[0] == pytest.approx(tables[1], rel=1e-8)


# what becomes of which file


def test_each_file_is_told_what_became_of_it(town: Path, smaller: Path, tree: ReadTree) -> None:
    found, before, after = manifest(smaller), tree(town), tree(smaller)
    assert found.keys() == before.keys() == after.keys()
    kept = {f"Scene01/clone/{name}.txt" for name in ("colors", "info", "pose", "extrinsic")}
    assert {path for path, line in found.items() if line["status"] == "carried"} == kept
    assert {path for path in before if before[path] == after[path]} == kept
    assert {path for path, line in found.items() if line["status"] == "converted"} == {
        path for path in before if path.endswith(".jpg")
    }
    assert {line["resized_from"] for path, line in found.items() if path not in kept} == {"320x96"}
    for path, data in after.items():
        assert found[path]["sha256"] == hashlib.sha256(data).hexdigest()
        assert found[path]["source_sha256"] == hashlib.sha256(before[path]).hexdigest()
        if path.endswith(("png", "jpg")):
            with Image.open(smaller / path) as image, Image.open(town / path) as original:
                assert image.size == (200, 48)
                assert (image.mode, image.format) == (original.mode, original.format)
    assert json.loads((smaller / ".sim2real/conversion.json").read_text())["resize"] == [200, 48]


def test_images_are_the_translations_averaged(tmp_path: Path, town: Path, translate: Translate, tree: ReadTree) -> None:
    (tmp_path / "in").mkdir()
    with Image.open(town / IMAGE) as image:
        image.save(tmp_path / "in/a.png")
    translate(tmp_path / "in", tmp_path / "full")
    translate(tmp_path / "in", tmp_path / "half", resize=(160, 48))
    with Image.open(tmp_path / "full/a.png") as image:
        full = np.array(image, float)
    with Image.open(tmp_path / "half/a.png") as image:
        half = np.array(image, float)
    assert np.abs(full.reshape(48, 2, 160, 2, 3).mean(axis=(1, 3)) - half).max() <= 1


def test_what_has_that_size_already_is_as_without(
    tmp_path: Path, town: Path, translate: Translate, tree: ReadTree
) -> None:
    translate(town, tmp_path / "as it is")
    translate(town, tmp_path / "same", resize=SIZE)
    assert tree(tmp_path / "same") == tree(tmp_path / "as it is")
    assert "resized" not in {line["status"] for line in manifest(tmp_path / "same").values()}
    assert verify(tmp_path / "same").ok


def test_links_are_made_of_what_stays_alone(tmp_path: Path, town: Path, translate: Translate, tree: ReadTree) -> None:
    before = tree(town)
    translate(town, tmp_path / "out", resize=(160, 48), carry="hardlink")
    assert (tmp_path / "out/Scene01/clone/pose.txt").samefile(town / "Scene01/clone/pose.txt")
    assert (tmp_path / "out" / DEPTH).stat().st_nlink == 1
    assert tree(town) == before


def test_images_of_the_other_side_are_resized_but_not_translated(
    tmp_path: Path, translate: Translate, paint: Write
) -> None:
    for seed, folder in enumerate(("trainA", "trainB")):
        paint(tmp_path / "in" / folder, 2, seed=seed)
    translate(tmp_path / "in", tmp_path / "out", resize=(10, 14))
    found = manifest(tmp_path / "out")
    assert {path[:6]: line["status"] for path, line in found.items()} == {"trainA": "converted", "trainB": "resized"}
    for path in found:
        with Image.open(tmp_path / "out" / path) as image:
            assert image.size == (10, 14)
    assert verify(tmp_path / "out").ok


def test_what_the_gate_rejects_has_the_new_size_too(tmp_path: Path, town: Path, translate: Translate) -> None:
    (tmp_path / "in").mkdir()
    with Image.open(town / IMAGE) as image:
        image.save(tmp_path / "in/a.png")
        wanted = np.array(image, float).reshape(48, 2, 160, 2, 3).mean(axis=(1, 3))
    summary = translate(tmp_path / "in", tmp_path / "out", resize=(160, 48), gate=("preservation>=1",))
    assert summary.rejected == {"source": 1}
    with Image.open(tmp_path / "out/a.png") as image:
        assert np.abs(np.array(image, float) - wanted).max() <= 1
    with Image.open(tmp_path / "out/.sim2real/rejected/a.png") as image:
        assert image.size == (160, 48)
    assert verify(tmp_path / "out").ok


# of which size are the images that a file tells of?


BOX = "Car 0.00 0 1.85 10 5 20 15 1.67 1.87 3.69 -16.53 2.39 58.49 1.57\n"


def write_kitti(root: Path, sizes: dict[str, tuple[int, int]]) -> Path:
    """KITTI's objects, each frame of a size of its own."""
    for number, size in sizes.items():
        for folder in ("image_2", "image_3", "calib", "label_2", "velodyne"):
            (root / "training" / folder).mkdir(parents=True, exist_ok=True)
        for camera in (2, 3):
            Image.new("RGB", size, (9, 99, 199)).save(root / f"training/image_{camera}/{number}.png")
        (root / f"training/label_2/{number}.txt").write_text(BOX)
        (root / f"training/velodyne/{number}.bin").write_bytes(bytes(16))
        (root / f"training/calib/{number}.txt").write_text("P2: 10 0 5 1 0 10 5 1 0 0 1 0\nTr_velo_to_cam: 1 2\n")
    return root


def test_each_frame_has_the_scale_of_its_own_image(tmp_path: Path, translate: Translate) -> None:
    source = write_kitti(tmp_path / "in", {"000000": (40, 24), "000001": (80, 24)})
    out = tmp_path / "out"
    translate(source, out, resize=(20, 24))
    assert verify(out).ok
    found = manifest(out)
    for number, factor in (("000000", 0.5), ("000001", 0.25)):
        box = [float(word) for word in (out / f"training/label_2/{number}.txt").read_text().split()[4:8]]
        assert box == [10 * factor, 5, 20 * factor, 15]
        focal = (out / f"training/calib/{number}.txt").read_text().split()[1]
        assert float(focal) == 10 * factor
        assert found[f"training/velodyne/{number}.bin"]["status"] == "carried"
        assert found[f"training/calib/{number}.txt"]["resized_from"] == f"{20 / factor:.0f}x24"


def test_a_file_about_images_of_several_sizes_is_refused(tmp_path: Path, translate: Translate) -> None:
    source = write_kitti(tmp_path / "in", {"000000": (40, 24), "000001": (80, 24)})
    (source / "training/calib.txt").write_text("P2: 1 0 0 0 0 1 0 0 0 0 1 0\n")
    with pytest.raises(Sim2RealError, match=r"calib\.txt: its images have several sizes \(.* 40x24, .* 80x24\)"):
        translate(source, tmp_path / "out", resize=(20, 24))
    assert not (tmp_path / "out").exists()
    assert translate(source, tmp_path / "out", resize=(20, 24), exclude=("*/calib.txt",)).resized == 4


def test_what_nobody_knows_is_refused_by_name_before_anything_is_written(
    tmp_path: Path, town: Path, translate: Translate
) -> None:
    source = shutil.copytree(town, tmp_path / "in")
    (source / "README.txt").write_text("about all of it")
    (source / "boxes.bin").write_bytes(b"12")
    (source / "Scene01/more.csv").write_text("1,2")
    with pytest.raises(
        Sim2RealError, match=r"cannot resize 2 files .* 160x48 \(Scene01/more\.csv: .*; boxes\.bin: "
    ) as error:
        translate(source, tmp_path / "out", resize=(160, 48))
    assert "--exclude" in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
    translate(source, tmp_path / "out", resize=(160, 48), exclude=("*.bin", "*.csv"))
    assert (tmp_path / "out/README.txt").read_text() == "about all of it"


def test_a_label_that_does_not_fit_its_image_fails_by_name(tmp_path: Path, town: Path, translate: Translate) -> None:
    source = shutil.copytree(town, tmp_path / "in")
    Image.new("L", (319, 96)).save(source / DEPTH)
    with pytest.raises(
        Sim2RealError, match=r"depth_00000\.png: cannot be resized: it is 319x96, its images are 320x96"
    ):
        translate(source, tmp_path / "out", resize=(160, 48))
    summary = translate(source, tmp_path / "out", resize=(160, 48), keep_going=True)
    assert [path for path, _ in summary.failed] == [DEPTH]
    assert [(problem.kind, problem.path) for problem in verify(tmp_path / "out").problems] == [("failed", DEPTH)]


@pytest.mark.parametrize(
    ("rule", "data", "said"),
    [
        (COCO, b"[]", "it does not have the expected structure"),
        (COCO, b"{}", "it has no 'images'"),
        (COCO, b'{"images": [', "no JSON: "),
        (COCO, b"[" * 100_000, "it does not have the expected structure"),
        (OPV2V, b"camera0: [1, {", "no YAML: "),
        (OPV2V, b"\x80\xff", "no YAML: "),
        (KITTI_CALIBRATION, b"P0: 1 0 0 0 1\n", "a projection has 9 or 12 numbers, not 5"),
        (MATRIX, b"", "a projection has 9 or 12 numbers, not 0"),
        (kitti_boxes(), b"Car 0 0 0 1\n", "it does not have the expected structure"),
    ],
)
def test_damage_is_told_in_a_line(rule: Rule, data: bytes, said: str) -> None:
    with pytest.raises(DamageError) as error:
        Resize(rule, Scale((40, 24), (20, 12)))(data)
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


# again, and afterwards


def test_an_evaluation_sees_both_sides_at_the_new_size(town: Path, smaller: Path) -> None:
    found = open_converted(smaller)
    assert [pair.path for pair in found.pairs] == [IMAGE, IMAGE.replace("00000", "00001")]
    for pair, frame in zip(found.pairs, open_dataset(town).frames(), strict=True):
        before, after = pair.both()
        assert before.shape == after.shape == (48, 200, 3)
        assert np.abs(before.mean(axis=(0, 1)) - frame.load_image().mean(axis=(0, 1))).max() < 1
        depth = pair.label("depth")
        assert isinstance(depth, Depth)
        assert depth.metres.shape == (48, 200)


def test_an_evaluation_has_no_labels_of_the_old_size(tmp_path: Path, translate: Translate) -> None:
    sizes = {"000000": (40, 24)}
    source, out = write_kitti(tmp_path / "in", sizes), tmp_path / "out"
    translate(source, out, resize=(20, 12), include=("*.png",))
    pair = open_converted(out).pairs[0]
    assert pair.label("boxes") is None
    assert [image.shape for image in pair.both()] == [(12, 20, 3)] * 2


def test_an_interrupted_conversion_goes_on_to_the_same_bytes(
    tmp_path: Path, town: Path, smaller: Path, translate: Translate, tree: ReadTree
) -> None:
    out = tmp_path / "out"

    def give_up(stage: str, done: int, _total: int, _limit: str = "", /) -> None:
        if stage == "carrying" and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        translate(town, out, give_up, resize=(200, 48))
    assert set(manifest(out)) < set(manifest(smaller))
    translate(town, out, resize=(200, 48))
    assert tree(out) == tree(smaller)
    manifests = [(folder / ".sim2real/manifest.jsonl").read_text() for folder in (out, smaller)]
    assert manifests[0] == manifests[1]
    again = translate(town, out, resize=(200, 48))
    assert (again.converted, again.resized, again.carried) == (0, 0, 0)


def test_shares_make_the_same(tmp_path: Path, town: Path, smaller: Path, translate: Translate, tree: ReadTree) -> None:
    for index in range(3):
        translate(town, tmp_path / "out", resize=(200, 48), shard=(index, 3))
    assert tree(tmp_path / "out") == tree(smaller)
    assert manifest(tmp_path / "out") == manifest(smaller)


def test_another_size_is_another_conversion(tmp_path: Path, town: Path, translate: Translate) -> None:
    translate(town, tmp_path / "out", resize=(160, 48))
    for size, said in (((80, 24), r"\(80, 24\)|\[80, 24\]"), (None, "None")):
        with pytest.raises(Sim2RealError, match=rf"resize was \[160, 48\], is {said}"):
            translate(town, tmp_path / "out", resize=size)
    translate(town, tmp_path / "out", resize=(80, 24), overwrite=True)
    assert verify(tmp_path / "out").ok


def record_again(out: Path, path: str) -> None:
    """Make the manifest agree with a file that was changed, so that only the source can tell."""
    data = (out / path).read_bytes()
    found = manifest(out)
    found[path] |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (out / ".sim2real/manifest.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in found.values()))


def test_verify_works_out_what_labels_have_to_be(tmp_path: Path, town: Path, translate: Translate) -> None:
    out = tmp_path / "out"
    translate(town, out, resize=(160, 48))
    assert verify(out).ok
    boxes = out / "Scene01/clone/bbox.txt"
    boxes.write_text(boxes.read_text().replace("\n0 0 ", "\n0 0  ", 1))
    with Image.open(out / DEPTH) as image:
        depth = np.array(image)
    Image.fromarray(depth).save(out / DEPTH, compress_level=1)  # other bytes, the same label
    instances = DEPTH.replace("depth", "instanceSegmentation", 1).replace("depth_", "instancegt_")
    with Image.open(out / instances) as image:
        changed = image.copy()
    changed.putpixel((3, 3), 77)
    changed.save(out / instances)
    Image.new("RGB", (160, 47)).save(out / IMAGE)
    for path in ("Scene01/clone/bbox.txt", DEPTH, instances, IMAGE):
        record_again(out, path)
    kinds = {(problem.kind, problem.path) for problem in verify(out).problems}
    assert kinds == {("label", "Scene01/clone/bbox.txt"), ("label", instances), ("image", IMAGE)}


def test_a_conversion_is_verified_without_its_source(tmp_path: Path, town: Path, translate: Translate) -> None:
    out = tmp_path / "out"
    (tmp_path / "in").symlink_to(town)
    translate(tmp_path / "in", out, resize=(160, 48))
    record = out / ".sim2real/conversion.json"
    record.write_text(record.read_text().replace(str(town), str(tmp_path / "gone")))
    report = verify(out)
    assert report.source is None
    assert report.ok
    assert report.images == 2
    (out / DEPTH).write_bytes(b"")
    assert [problem.kind for problem in verify(out).problems] == ["changed"]


@pytest.mark.parametrize(
    ("path", "size", "said"),
    [
        ("vkitti_1.3.1_rgb/0001/clone/00000.png", (1242, 375), "fx 362.5, fy 361.5333333, cx 310, cy 93"),
        (
            "office/Easy/P000/image_left/000000_left.png",
            (640, 480),
            "fx 310.5, fy 124.6666667, cx 310.4851562, cy 93.19479167",
        ),
    ],
)
def test_intrinsics_that_stand_in_no_file_are_told(
    tmp_path: Path, translate: Translate, path: str, size: tuple[int, int], said: str
) -> None:
    image = tmp_path / "in" / path
    image.parent.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 255, (size[1] // 5, size[0] // 2, 3), np.uint8)
    Image.fromarray(noise).resize(size).save(image)
    (tmp_path / "in/office/Easy/P000/pose_left.txt").write_text("0 0 0 0 0 0 1\n") if "office" in path else None
    summary = translate(tmp_path / "in", tmp_path / "out", resize=(621, 187))
    told = [line for line in summary.warnings if "intrinsics" in line]
    assert len(told) == 1
    assert f"of {size[0]}x{size[1]} are stored in no file; at 621x187 they are {said}" in told[0]
    assert "intrinsics" not in " ".join(translate(tmp_path / "in", tmp_path / "as it is").warnings)


# as a user says it


def test_the_command_and_the_settings_name_a_size(tmp_path: Path, town: Path, run: Path, cli: Cli) -> None:
    (tmp_path / "sim2real.toml").write_text(
        f"[[convert]]\nsource = '{town}'\nout = 'settings'\nresize = [80, 24]\n", encoding="utf-8"
    )
    options = ("--model", str(run), "--device", "cpu")
    plan = cli("convert", *options, "--plan", cwd=tmp_path)
    assert "resized to 80x24" in plan.stdout
    assert "to resize: LABEL" in plan.stdout
    assert not (tmp_path / "settings").exists()
    done = cli("convert", str(town), "command", *options, "--resize", "160x48", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert ", 12 files resized, 4 files carried, 0 done before" in " ".join(done.stdout.split())
    with Image.open(tmp_path / "command" / DEPTH) as image:
        assert image.size == (160, 48)
    for text in ("160", "0x48"):
        refused = cli("convert", str(town), "command", *options, "--resize", text, cwd=tmp_path)
        assert refused.returncode == 2
        assert "width and height" in " ".join(refused.stderr.split())
