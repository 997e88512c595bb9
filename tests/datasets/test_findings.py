"""What a user is told of any dataset: lacking labels, gaps, other weather, old looks, files that nobody knows."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sim2real.datasets import Frame, Role, open_dataset
from sim2real.datasets.findings import incomplete, looks_in, other_looks

Grow = Callable[..., Path]
Plant = Callable[..., None]


def video(*indices: int, folder: str = "a", lacking: dict[int, str] | None = None) -> list[Frame]:
    """Frames with depth and flow both ways, but for what is lacking of an index, and flow out of the video."""
    kinds = {"depth": -1, "flow": max(indices), "backward_flow": min(indices)}
    return [
        Frame(
            f"{folder}/{index}.png",
            sequence="drive",
            index=index,
            labels={
                kind: f"{kind}/{index}.png"
                for kind, edge in kinds.items()
                if index != edge and (lacking or {}).get(index) != kind
            },
        )
        for index in indices
    ]


def told(frames: list[Frame], *, sparse: tuple[str, ...] = (), consecutive: bool = True) -> list[str]:
    return list(incomplete(lambda: frames, sparse=sparse, consecutive=consecutive))


def test_a_complete_video_is_worth_no_word() -> None:
    assert told(video(3, 4, 5)) == []
    assert told([*video(0, 1), *video(7, 8, folder="b")]) == []  # a copy elsewhere is another video
    assert told([*video(0, 1), Frame("c/0.png", sequence="unlabelled")]) == []


@pytest.mark.parametrize("kind", ["depth", "flow", "backward_flow"])
def test_a_lacking_label_is_told_with_its_image_unless_it_is_sparse_by_design(kind: str) -> None:
    frames = video(0, 1, 2, 3, lacking={2: kind})
    assert told(frames) == [f"1 of 4 images have no {kind}, which others of their sequence have, e.g. a/2.png"]
    assert told(frames, sparse=(kind,)) == []


def test_gaps_are_told_of_videos_alone() -> None:
    frames = [*video(0, 1, 4), *video(8, 10, folder="b"), *video(0, 1, folder="c")]
    assert told(frames) == ["3 frame numbers are missing inside 2 videos, drive among them"]
    assert told(frames, consecutive=False) == []


@pytest.mark.parametrize(
    ("folder", "names"),
    [
        ("Scene01/fog/frames", ["fog"]),
        ("Town01_HardRainNoon/rgb", ["Town01_HardRainNoon"]),
        ("SYNTHIA-SEQS-04-WINTERNIGHT/RGB", ["SYNTHIA-SEQS-04-WINTERNIGHT"]),
        ("abandonedfactory_night/P000/image_left", ["abandonedfactory_night"]),
        ("training/terrain/brainstorm/frog", []),
    ],
)
def test_weather_is_a_word_in_the_name_of_a_folder(folder: str, names: list[str]) -> None:
    assert list(looks_in(folder)) == names


def test_other_looks_are_counted_by_folder() -> None:
    frames = [Frame(f"{weather}/rgb/{n}.png") for weather in ("clone", "fog", "rain") for n in range(2)]
    (line,) = other_looks(frames)
    assert "fog (2), rain (2);" in line
    assert list(other_looks(frames[:2])) == list(other_looks(frames[2:4])) == []


def test_the_licence_that_a_copy_inherits_is_told(layout: tuple[str, Path]) -> None:
    dataset = open_dataset(layout[1])
    facts = dataset.facts
    assert facts
    assert (bool(facts.notice), facts.notice in dataset.warnings()) == (facts.binds, facts.binds)


def test_what_tells_the_old_looks_is_under_the_root(layout: tuple[str, Path]) -> None:
    dataset = open_dataset(layout[1])
    files = dict(dataset.files())
    stale = dataset.stale()
    listed = [path for paths in stale.values() for path in paths]
    assert len(listed) == len(set(listed))
    assert {path for path, role in files.items() if role is Role.STALE} <= set(listed) <= files.keys()
    assert all(stale)


def test_every_way_to_be_stale_has_its_reason(grow: Grow) -> None:
    root = grow("vkitti2", variation="sunset")
    stale = open_dataset(root).stale()
    assert sorted(stale) == [
        "the simulated cars' colours, column 'color'",
        "weather, light or season in the names of folders",
    ]
    assert stale["the simulated cars' colours, column 'color'"] == ["Scene01/sunset/info.txt"]
    assert open_dataset(grow("kaggle-monet", into="monet")).stale() == {
        "made from the old pixels": ["monet_tfrec/monet00-1.tfrec", "photo_tfrec/photo00-1.tfrec"]
    }


def test_files_that_nobody_knows_are_grouped_by_folder_and_suffix(grow: Grow, plant: Plant) -> None:
    root = grow("kitti-object")
    assert open_dataset(root).unmatched() == []
    plant(root, {"notes/a.TXT": "", "notes/b.txt": "", "c": "", "README.md": "", "training/.DS_Store": ""})
    groups = [(group.folder, group.suffix, group.files, group.example) for group in open_dataset(root).unmatched()]
    assert groups == [("notes", ".txt", 2, "notes/a.TXT"), ("", "", 1, "c")]


def test_labels_that_lie_where_no_image_finds_them_are_told(grow: Grow) -> None:
    root = grow("tartanair")
    for number, labels in enumerate(
        sorted(root.rglob("depth_*")) + sorted(root.rglob("seg_*")) + [*root.rglob("flow")]
    ):
        (root / f"apart {number}").mkdir()
        labels.rename(root / f"apart {number}" / labels.name)
    (warning,) = (line for line in open_dataset(root).warnings() if line.startswith("no image has labels"))
    assert "`sim2real datasets tartanair`" in warning
