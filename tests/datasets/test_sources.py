"""Several folders and videos as one side."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from sim2real.datasets.sources import Source, find_pictures, open_sources
from sim2real.datasets.video import Extraction
from sim2real.errors import DatasetError

Paint = Callable[..., Path]


def write_video(path: Path, seconds: int, blue: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 5, (64, 48))
    for number in range(5 * seconds):
        writer.write(np.full((48, 64, 3), (blue, 100, number % 50 * 5), np.uint8))
    writer.release()
    return path


@pytest.fixture
def kitti(tmp_path: Path, paint: Paint) -> Path:
    """A dataset whose videos show who knows what."""
    root = tmp_path / "kitti"
    paint(root / "training/image_2", 3)
    for number, path in enumerate(sorted((root / "training/image_2").iterdir())):
        path.rename(path.with_name(f"{number:06d}.png"))
    (root / "training/label_2").mkdir()
    for number in range(3):
        (root / f"training/label_2/{number:06d}.txt").write_text("")
    write_video(root / "overview.mp4", 2)
    return root


def opened(tmp_path: Path, *paths: Path, **options: object) -> list[Source]:
    return open_sources(paths, tmp_path / "frames", **options)  # type: ignore[arg-type]  # as the caller has them


def test_folders_of_other_layouts_and_videos_are_one_side(tmp_path: Path, paint: Paint, kitti: Path) -> None:
    plain, video = paint(tmp_path / "photos", 4), write_video(tmp_path / "drive.mp4", 5)
    sources = opened(tmp_path, plain, kitti, video)
    assert [(source.path, source.layout, len(source.frames)) for source in sources] == [
        (plain, "images", 4), (kitti, "kitti-object", 3), (video, "video", 5),
    ]  # fmt: skip
    for source in sources:
        assert all(frame.path.is_file() and frame.load_image().shape[2] == 3 for frame in source.frames)
    assert {frame.sequence for frame in sources[2].frames} == {sources[2].extracted[0].folder.name}
    (note,) = sources[1].notes
    assert note.startswith(
        f"{kitti}: recognised as kitti-object, so no frames are extracted from its videos (1); name "
    )
    assert note.endswith("e.g. overview.mp4")
    assert len(opened(tmp_path, kitti, kitti / "overview.mp4")[1].frames) == 2


def test_videos_among_images_are_drawn_from_too(tmp_path: Path, paint: Paint) -> None:
    root = paint(tmp_path / "trip", 4)
    write_video(root / "day/a.mp4", 3)
    write_video(root / "night/a.mp4", 2, blue=200)
    (source,) = opened(tmp_path, root)
    assert source.layout == "images"
    assert Counter(frame.sequence.partition("-")[0] for frame in source.frames) == {"": 4, "a": 5}
    assert sorted(each.frames for each in source.extracted) == [2, 3]


def test_a_folder_of_videos_alone_needs_no_image(tmp_path: Path) -> None:
    write_video(tmp_path / "trip/day/a.mp4", 3)
    place = find_pictures(tmp_path / "trip")
    assert (place.dataset, place.videos) == (None, ("day/a.mp4",))
    assert [(source.layout, len(source.frames)) for source in opened(tmp_path, place.path)] == [("video", 3)]


@pytest.mark.parametrize(
    ("globs", "images", "videos"),
    [
        ({"include": ["*.png"]}, 4, 0),
        ({"include": ["day/*"]}, 0, 3),
        ({"exclude": ["night/*"]}, 4, 3),
        ({"include": ["*.mp4"], "exclude": ["day/*"]}, 0, 2),
        ({}, 4, 5),
    ],
)
def test_globs_choose_images_and_videos_by_their_paths(
    tmp_path: Path, paint: Paint, globs: dict[str, list[str]], images: int, videos: int
) -> None:
    root = paint(tmp_path / "trip", 4)
    write_video(root / "day/a.mp4", 3)
    write_video(root / "night/b.mp4", 2)
    (source,) = opened(tmp_path, root, **globs)
    assert (len(source.frames), sum(each.frames for each in source.extracted)) == (images + videos, videos)
    extracted = tmp_path / "frames"
    assert len(list(extracted.iterdir()) if extracted.is_dir() else []) == len(source.extracted)  # no others were drawn


def test_copies_of_a_video_count_once(tmp_path: Path) -> None:
    first = write_video(tmp_path / "trip/day/a.mp4", 3)
    (tmp_path / "trip/backup").mkdir()
    (tmp_path / "trip/backup/a.mp4").write_bytes(first.read_bytes())
    assert len(opened(tmp_path, tmp_path / "trip")[0].frames) == 3


@pytest.mark.parametrize(
    "twice",
    [
        ("photos", "photos"),
        ("photos", "link"),
        ("a.mp4", "a.mp4"),
        ("a.mp4", "link.mp4"),
        ("trip", "trip/b.mp4"),
    ],
)
def test_a_picture_that_two_places_have_is_refused(tmp_path: Path, paint: Paint, twice: tuple[str, str]) -> None:
    paint(tmp_path / "photos", 2)
    write_video(tmp_path / "a.mp4", 2)
    write_video(tmp_path / "trip/b.mp4", 2)
    (tmp_path / "link").symlink_to("photos")
    (tmp_path / "link.mp4").symlink_to("a.mp4")
    with pytest.raises(DatasetError, match=f"{twice[1]}: .* is also one of .*{twice[0]}; name each place once"):
        opened(tmp_path, *(tmp_path / name for name in twice))


@pytest.mark.parametrize(
    ("name", "words"), [("absent", "no such folder"), ("absent.mp4", "no such"), ("empty", "no image")]
)
def test_an_error_names_the_place_that_it_is_about(tmp_path: Path, paint: Paint, name: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=f"{name}: {words}"):
        opened(tmp_path, paint(tmp_path / "photos", 2), tmp_path / name)


def test_drawing_is_as_it_is_set(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", 4)
    assert len(opened(tmp_path, video, extraction=Extraction(every=2))[0].frames) == 2
    assert len(opened(tmp_path, video, extraction=Extraction(every=0.2, most=10))[0].frames) == 10
