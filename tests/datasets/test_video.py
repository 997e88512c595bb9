"""Frames of videos: evenly in time, each as it was, and none lost without a word."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sim2real.datasets.video import Extracted, Extraction, extract_frames, holds_only_extracted, is_video, video_seconds
from sim2real.errors import DatasetError
from sim2real.imageio import read_rgb

Write = Callable[..., Path]

RATE = 10


def numbered(number: int) -> NDArray[np.uint8]:
    """A frame (48, 64, 3) whose eight columns say its number in black and white."""
    bits = [255 * (number >> place & 1) for place in range(8)]
    return np.repeat(np.repeat(np.array(bits, np.uint8)[None], 48, 0), 8, 1)[..., None].repeat(3, 2)


def number_of(image: NDArray[np.uint8]) -> int:
    return sum(int(image[24, 8 * place + 4].mean() > 127) << place for place in range(8))


def write_video(path: Path, frames: int = 40, codec: str = "mp4v", shown: Callable[[int], int] = int) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), RATE, (64, 48))
    assert writer.isOpened()
    for number in range(frames):
        writer.write(numbered(shown(number)))
    writer.release()
    return path


def shown_in(extracted: Extracted) -> list[int]:
    """The numbers of the frames that were drawn, as they say themselves."""
    return [number_of(read_rgb(path)) for path in sorted(extracted.folder.glob("*.jpg"))]


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "mp4v"),
        ("a.MOV", "mp4v"),
        ("a b.avi", "MJPG"),
        ("ü.mkv", "mp4v"),
        ("a.webm", "VP80"),
        ("é" * 120 + ".mp4", "mp4v"),
    ],
)
def test_a_frame_a_second_is_drawn_from_every_kind_of_video(tmp_path: Path, name: str, codec: str) -> None:
    video = write_video(tmp_path / name, 40, codec)
    assert is_video(name)
    assert video_seconds(video) == pytest.approx(4)
    (extracted,) = extract_frames([video], tmp_path / "frames", Extraction())
    assert shown_in(extracted) == [0, 10, 20, 30]
    assert [path.name for path in sorted(extracted.folder.glob("*.jpg"))] == [
        f"{number:08d}.jpg" for number in (0, 10, 20, 30)
    ]
    assert (extracted.frames, extracted.still, extracted.problem) == (4, 0, "")
    assert extracted.size == sum(path.stat().st_size for path in extracted.folder.glob("*.jpg"))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 60 frames."""
    return write_video(tmp_path_factory.mktemp("video") / "drive.mp4", 60)


@given(every=st.floats(0.05, 10), most=st.integers(1, 80))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_frames_lie_evenly_and_are_as_many_as_wanted_at_most(
    video: Path, tmp_path: Path, every: float, most: int
) -> None:
    (extracted,) = extract_frames([video], tmp_path, Extraction(every=every, most=most, change=0))
    numbers = shown_in(extracted)
    step = max(every * RATE, 60 / most)
    assert numbers[0] == 0
    assert extracted.frames == len(numbers) <= most
    assert all(abs(number - place * step) <= 1 for place, number in enumerate(numbers) if step >= 1)
    assert 60 - numbers[-1] <= max(step, 1) + 1


def test_a_camera_that_stands_still_gives_one_frame_until_it_moves(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", 60, shown=lambda number: 0 if number < 35 else number)
    (extracted,) = extract_frames([video], tmp_path / "frames", Extraction())
    assert shown_in(extracted) == [0, 40, 50]
    assert extracted.still == 3
    (every,) = extract_frames([video], tmp_path / "frames", Extraction(change=0))
    assert shown_in(every) == [0, 0, 0, 0, 40, 50]


def test_a_video_taken_upright_gives_upright_frames(tmp_path: Path) -> None:
    video = tmp_path / "a.mp4"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mp4v"), RATE, (64, 48))
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:24, :32] = (0, 0, 255)  # red, at the top left
    for _ in range(4):
        writer.write(pixels)
    writer.release()
    data = bytearray(video.read_bytes())
    matrix = data.index(b"tkhd") + 44  # of the track header, ISO/IEC 14496-12: as phones say that they are held upright
    data[matrix : matrix + 36] = np.array([0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30], ">i4").tobytes()
    video.write_bytes(data)
    (extracted,) = extract_frames([video], tmp_path / "frames", Extraction())
    image = read_rgb(extracted.folder / "00000000.jpg")
    assert image.shape == (64, 48, 3)
    assert image[5, -5, 0] > 200  # a quarter turn clockwise takes red to the top right
    assert image[5, 5, 0] < 50


# ----------------------------------------------------------------------------------------------- what goes wrong


def test_a_video_that_was_broken_off_is_told(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mkv", 60)
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    (extracted,) = extract_frames([video], tmp_path / "frames", Extraction(every=0.1))
    assert extracted.problem.startswith(f"broken off: {extracted.frames} of 60 frames can be decoded, ")
    assert extracted.problem.endswith(f"{extracted.frames / 10:.1f} of 6.0 s")
    assert shown_in(extracted) == list(range(extracted.frames))
    assert 10 < extracted.frames < 50


def test_a_video_that_is_damaged_in_the_middle_is_told(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mkv", 60)
    data = video.read_bytes()
    third = len(data) // 3
    video.write_bytes(data[:third] + bytes(third) + data[2 * third :])
    (extracted,) = extract_frames([video], tmp_path / "frames", Extraction(every=0.1))
    assert extracted.problem.startswith(f"with holes: {extracted.frames} of 60 frames can be decoded, ")
    assert extracted.problem.endswith(f"{extracted.frames / 10:.1f} of 6.0 s")
    assert 10 < extracted.frames < 55


@pytest.mark.parametrize("kept", [0, 100, 2000])
def test_a_video_that_cannot_be_decoded_is_an_error_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], kept: int
) -> None:
    video = write_video(tmp_path / "a.mp4")  # its table of frames stands at the end
    video.write_bytes(video.read_bytes()[:kept])
    with pytest.raises(
        DatasetError, match=r"a\.mp4: cannot be decoded as a video: it is damaged, broken off"
    ) as raised:
        extract_frames([video], tmp_path / "frames", Extraction())
    assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")  # FFmpeg and OpenCV keep quiet
    assert not list(tmp_path.glob("frames/*"))


# --------------------------------------------------------------------------------------------- what is there already


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_frames_are_drawn_once_wherever_the_video_lies(tmp_path: Path, video: Path) -> None:
    told = list[tuple[str, int, int]]()
    (extracted,) = extract_frames([video], tmp_path / "frames", Extraction(), lambda *all_: told.append(all_))
    assert told[-1] == ("extracting", 6, 6)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    before, told = times(extracted.folder), []
    moved = tmp_path / video.name
    moved.write_bytes(video.read_bytes())
    assert extract_frames([moved], tmp_path / "frames", Extraction(), lambda *all_: told.append(all_)) == [extracted]
    assert times(extracted.folder) == before
    assert told == []


def test_other_frames_and_other_videos_of_the_same_name_have_folders_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    videos = [write_video(tmp_path / "a.mp4", 20), write_video(tmp_path / "b/a.mp4", 30)]
    frames = tmp_path / "frames"
    first, second = extract_frames(videos, frames, Extraction())
    (closer,) = extract_frames(videos[:1], frames, Extraction(every=0.5))
    assert len({first.folder, second.folder, closer.folder}) == 3
    assert (first.frames, second.frames, closer.frames) == (2, 3, 4)


@pytest.mark.parametrize("lost", ["00000010.jpg", "video.json"])
def test_what_is_not_all_there_is_drawn_again(tmp_path: Path, video: Path, lost: str) -> None:
    frames = tmp_path / "frames"
    (extracted,) = extract_frames([video], frames, Extraction())
    (extracted.folder / lost).unlink()
    (frames / f".{extracted.folder.name}.tmp-1").mkdir()  # of a writer that was killed
    assert extract_frames([video], frames, Extraction()) == [extracted]
    assert shown_in(extracted) == [0, 10, 20, 30, 40, 50]


def test_an_interrupted_drawing_leaves_nothing_that_could_be_taken_for_done(tmp_path: Path, video: Path) -> None:
    def interrupt(_stage: str, done: int, _total: int, _limit: str = "", /) -> None:
        if done >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_frames([video], tmp_path / "frames", Extraction(), interrupt)
    assert list((tmp_path / "frames").iterdir()) == []


def test_a_folder_of_drawn_frames_is_told_from_others(tmp_path: Path, video: Path) -> None:
    frames = tmp_path / "frames"
    assert not holds_only_extracted(frames)
    extract_frames([video], frames, Extraction())
    (frames / ".a.tmp-1").mkdir()
    assert holds_only_extracted(frames)
    (frames / "mine").mkdir()
    assert not holds_only_extracted(frames)
