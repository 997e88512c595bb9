import json
from pathlib import Path

import numpy as np
import pytest

from sim2real.imageio import encode_jpeg, encode_png
from tests.commands import Cli, refused, succeed


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def photo(height: int, width: int) -> bytes:
    return encode_jpeg(np.random.default_rng(height).integers(0, 255, (height, width, 3), np.uint8))


@pytest.fixture
def monet(tmp_path: Path) -> Path:
    """A CycleGAN folder: 3 + 1 paintings, 2 photos of two sizes."""
    for index in range(3):
        write(tmp_path / "trainA" / f"{index}.jpg", photo(24, 32))
    write(tmp_path / "testA" / "0.jpg", photo(24, 32))
    write(tmp_path / "trainB" / "0.jpg", photo(24, 32))
    write(tmp_path / "trainB" / "1.jpg", photo(40, 20))
    write(tmp_path / "README.txt", b"paintings")
    return tmp_path


def test_a_cyclegan_folder_in_json(cli: Cli, monet: Path) -> None:
    facts = json.loads(succeed(cli("inspect", monet, "--json")))
    assert facts["dataset"] == "cyclegan"
    assert "trainA" in facts["rule"]
    assert facts["frames"] == 6
    assert facts["sizes"] == {"32x24": 5, "20x40": 1}
    assert facts["roles"] == {"IMAGE": 6, "LABEL": 0, "AUX": 1, "PSEUDO": 0, "STALE": 0}
    assert facts["sides"] == {"sim": 4, "real": 2}
    assert facts["splits"] == {"train": 5, "test": 1}
    assert facts["labels"] == {}
    assert (monet / facts["example"]["image"]).is_file()


def test_a_cyclegan_folder_in_text(cli: Cli, monet: Path) -> None:
    done = cli("inspect", monet)
    assert done.returncode == 0, done.stderr
    rows = dict(line.split(maxsplit=1) for line in done.stdout.splitlines()[1:])
    assert rows["dataset"] == "cyclegan"
    assert rows["frames"].startswith("6 in ")
    assert rows["sizes"] == "32x24: 5, 20x40: 1"
    assert rows["roles"] == "IMAGE: 6, AUX: 1"
    assert rows["sides"] == "sim: 4, real: 2"
    assert rows["labels"] == "none"
    assert done.stderr == ""


def test_labels_are_counted_by_kind_and_shown_with_an_example(cli: Cli, tmp_path: Path) -> None:
    base = tmp_path / "Scene01/clone/frames"
    for index in range(3):
        write(base / f"rgb/Camera_0/rgb_{index:05}.jpg", photo(16, 24))
        write(base / f"depth/Camera_0/depth_{index:05}.png", encode_png(np.zeros((16, 24), np.uint16)))
    facts = json.loads(cli("inspect", tmp_path, "--json").stdout)
    assert facts["dataset"] == "vkitti2"
    assert facts["labels"] == {"depth": 3}
    assert facts["example"]["labels"] == {"depth": "Scene01/clone/frames/depth/Camera_0/depth_00000.png"}
    assert any("CC BY-NC-SA" in warning for warning in facts["warnings"])
    text = cli("inspect", tmp_path).stdout
    assert "  depth               Scene01/clone/frames/depth/Camera_0/depth_00000.png\n" in text


def test_unmatched_and_stale_files_are_listed(cli: Cli, tmp_path: Path) -> None:
    video = tmp_path / "Scene01/fog"
    write(video / "frames/rgb/Camera_0/rgb_00000.jpg", photo(16, 24))
    write(video / "info.txt", b"trackID label model color\n")
    for index in range(8):
        write(tmp_path / f"notes{index}" / "some.text", b"")
    facts = json.loads(cli("inspect", tmp_path, "--json").stdout)
    assert facts["unmatched"][0] == {
        "folder": "notes0",
        "suffix": ".text",
        "files": 1,
        "example": "notes0/some.text",
    }
    assert [(row["files"], row["example"]) for row in facts["stale"]] == [
        (1, "Scene01/fog/frames/rgb/Camera_0/rgb_00000.jpg"),
        (1, "Scene01/fog/info.txt"),
    ]
    assert (facts["title"], facts["licence"]) == ("Virtual KITTI 2", "CC BY-NC-SA 3.0, non-commercial")
    text = cli("inspect", tmp_path).stdout
    assert "licence   CC BY-NC-SA 3.0, non-commercial\n" in text
    assert "unmatched .text in notes0: 1, e.g. notes0/some.text\n" in text
    assert "unmatched 2 others; --json lists them by folder and suffix\n" in text
    assert f"stale     {facts['stale'][1]['what']}: 1, e.g. Scene01/fog/info.txt\n" in text


def test_the_layout_can_be_named(cli: Cli, monet: Path) -> None:
    facts = json.loads(cli("inspect", monet, "--dataset", "images", "--json").stdout)
    assert facts["dataset"] == "images"
    assert facts["frames"] == 6
    assert facts["sides"] == {}
    wrong = refused(cli("inspect", monet, "--dataset", "imges"))
    assert wrong.startswith("error: no dataset is called 'imges'; did you mean images")


def test_an_unreadable_image_is_a_warning(cli: Cli, monet: Path) -> None:
    (monet / "trainA" / "1.jpg").write_bytes(b"no image at all")
    facts = json.loads(cli("inspect", monet, "--json").stdout)
    assert sum(facts["sizes"].values()) == 5
    assert any("1.jpg" in warning for warning in facts["warnings"])


def test_sizes_of_a_large_dataset_come_from_a_sample(cli: Cli, tmp_path: Path) -> None:
    data = photo(16, 16)
    for index in range(1200):
        write(tmp_path / f"{index:04}.jpg", data)
    facts = json.loads(cli("inspect", tmp_path, "--json").stdout)
    assert facts["frames"] == 1200
    assert 250 < facts["sizes"]["16x16"] < 1200
    assert f"16x16: {facts['sizes']['16x16']} (in a sample of" in cli("inspect", tmp_path).stdout


def test_two_sides_are_compared_before_a_training(cli: Cli, tmp_path: Path) -> None:
    for index in range(4):
        write(tmp_path / "sim" / f"{index}.jpg", photo(64, 96))
        write(tmp_path / "real" / f"{index}.jpg", photo(128, 192))
    facts = json.loads(cli("inspect", tmp_path / "sim", "--against", tmp_path / "real", "--json").stdout)
    assert facts["frames"] == 4
    against = facts["against"]
    assert against["root"] == str(tmp_path / "real")
    assert (against["sim"]["size"], against["real"]["size"]) == ([96, 64], [192, 128])
    (warning,) = against["warnings"]
    assert warning.startswith("sim images are 64 px high, real ones 128")
    text = succeed(cli("inspect", tmp_path / "sim", "--against", tmp_path / "real"))
    assert "  size       sim 96x64; real 192x128\n" in text
    assert f"warning   {warning}\n" in text
    same = cli("inspect", tmp_path / "sim", "--against", tmp_path / "sim")
    assert "no content found that a translation would have to invent" in same.stdout
    missing = cli("inspect", tmp_path / "sim", "--against", tmp_path / "none")
    assert refused(missing) == f"error: {tmp_path / 'none'}: no such folder\n"


@pytest.mark.parametrize("make", [None, "empty", "file"])
def test_a_folder_that_is_missing_or_empty_is_an_error_of_one_line(cli: Cli, tmp_path: Path, make: str | None) -> None:
    place = tmp_path / "place"
    if make == "empty":
        place.mkdir()
    elif make == "file":
        place.write_text("text")
    assert refused(cli("inspect", place)).startswith(f"error: {place}: ")


def test_datasets_lists_every_layout(cli: Cli) -> None:
    entries = json.loads(cli("datasets", "--json").stdout)
    names = [entry["name"] for entry in entries]
    promised = """vkitti2 vkitti1 kitti-object kitti-raw kitti-semantics kitti-flow2015 kitti-odometry kitti-tracking
        cyclegan kaggle-monet images"""
    assert set(promised.split()) <= set(names)
    assert all(entry["summary"] and entry["plugin"] for entry in entries)
    lines = cli("datasets").stdout.splitlines()
    assert [line.split()[0] for line in lines] == names
    assert lines[names.index("kitti-object")].split("  ")[-1].strip() == "boxes"
    assert entries[names.index("kitti-object")]["licence"] == "CC BY-NC-SA 3.0, non-commercial"


def test_datasets_prints_the_card_of_one(cli: Cli) -> None:
    card = Path(__file__).parents[2] / "datasets/kitti-object.md"
    assert cli("datasets", "kitti-object").stdout == card.read_text("utf-8")
    facts = json.loads(cli("datasets", "kitti-object", "--json").stdout)
    assert (facts["name"], list(facts["labels"])) == ("kitti-object", ["boxes"])
    assert facts["commands"][0] == "sim2real inspect kitti/"
    wrong = refused(cli("datasets", "kitti-objects"))
    assert wrong.startswith("error: no dataset is called 'kitti-objects'; did you mean kitti-object or ")
