"""Several folders and videos as the real side, as a user names them."""

import json
import re
import signal
import tomllib
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.commands import Cli, Write, flags, refused, start, succeed


def write_video(path: Path, seconds: int, size: tuple[int, int] = (64, 48)) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, size)
    scene = np.random.default_rng(0).integers(0, 255, (6, 40, 3), np.uint8)
    for number in range(10 * seconds):
        seen = np.roll(scene, number, axis=1)[:, :8]
        writer.write(cv2.resize(seen, size, interpolation=cv2.INTER_NEAREST))
    writer.release()
    return path


@pytest.fixture
def project(tmp_path: Path, paint: Write) -> Path:
    """``sim``, ``day`` and ``night`` with 6, 5 and 4 images, and ``drive.mp4`` of 7 seconds."""
    for seed, (name, count) in enumerate({"sim": 6, "day": 5, "night": 4}.items()):
        paint(tmp_path / name, count, seed=seed)
    write_video(tmp_path / "drive.mp4", 7)
    return tmp_path


def test_a_training_uses_all_places_and_keeps_video_frames_in_its_run(cli: Cli, project: Path, tiny: list[str]) -> None:
    places = ("sim", "day", "night", "drive.mp4")
    done = cli("train", *places, "--run", "run", *flags(tiny), cwd=project)
    assert done.returncode == 0, done.stderr
    assert "5 simulated and 15 real images to train on, 1 and 1 held out" in done.stderr
    assert re.search(r"7 of the real images are frames of videos \(1\), [\d.]+ kB in run/frames", done.stderr)
    assert "all with equal weight: 5 of day (images), 4 of night (images), 7 of drive.mp4 (video)" in done.stderr
    config = tomllib.loads((project / "run/config.toml").read_text())
    assert config["real"] == ["day", "night", "drive.mp4"]
    frames = sorted((project / "run/frames").glob("drive-*/*.jpg"))
    assert len(frames) == 7

    frames[2].unlink()  # a lost frame is extracted again, and the run continues
    longer = cli("train", "--resume", "--run", "run", "--steps", 8, cwd=project)
    assert longer.returncode == 0, longer.stderr
    assert sorted((project / "run/frames").glob("drive-*/*.jpg")) == frames
    other = cli("train", *places, "--resume", "--run", "run", "--set", "data.video_every=2", *flags(tiny), cwd=project)
    assert (other.returncode, other.stdout) == (1, "")
    assert "data.video_every was 1.0 and is now 2" in other.stderr
    (project / "night/0000.png").unlink()
    fewer = cli("train", "--resume", "--run", "run", "--steps", 9, cwd=project)
    assert fewer.returncode == 1
    assert fewer.stderr.startswith("error: ")

    page = cli("report", "run", cwd=project)
    assert page.returncode == 0, page.stderr
    assert "day, night, drive.mp4" in (project / "run/report.html").read_text()


@pytest.mark.slow
def test_a_training_that_is_killed_while_it_extracts_frames_starts_again(
    cli: Cli, project: Path, tiny: list[str]
) -> None:
    write_video(project / "long.mp4", 120, (640, 480))
    args = ["train", "sim", "long.mp4", "--run", "run", *flags(tiny)]
    with start(*args, cwd=project) as process:
        while process.poll() is None and not list(project.glob("run/frames/.long-*/*.jpg")):
            pass
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert [path.name[:6] for path in (project / "run/frames").iterdir()] == [".long-"]
    again = cli(*args, cwd=project)
    assert again.returncode == 0, again.stderr
    assert len(list((project / "run/frames").glob("long-*/*.jpg"))) == 120
    assert not list((project / "run/frames").glob(".*"))
    assert cli(*args, cwd=project).returncode == 1  # now there is a run


def test_a_plan_writes_nothing(cli: Cli, project: Path, tiny: list[str]) -> None:
    before = sorted(project.iterdir())
    done = cli("train", "sim", "day", "drive.mp4", "--plan", "--json", *flags(tiny), cwd=project)
    assert json.loads(done.stdout)["images"]["real"] == {"train": 11, "held_out": 1}
    assert sorted(project.iterdir()) == before


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["train", "sim", "day", "absent.mp4"], "absent.mp4: no such file"),
        (["train", "sim", "day", "broken.mp4"], "broken.mp4: cannot be decoded as a video"),
        (["train", "sim", "day", "./day"], "is also one of day; name each place once"),
        (["train", "drive.mp4", "day"], "drive.mp4: is a file, not a folder"),
        (["inspect", "sim", "--against", "broken.mp4"], "broken.mp4: cannot be decoded as a video"),
    ],
)
def test_wrong_places_are_an_error_of_one_line(cli: Cli, project: Path, args: list[str], message: str) -> None:
    (project / "broken.mp4").write_bytes((project / "drive.mp4").read_bytes()[:1000])
    refused(cli(*args, cwd=project), message)
    assert not (project / "runs").exists()


def test_a_truncated_video_is_used_and_reported(cli: Cli, project: Path, tiny: list[str]) -> None:
    video = write_video(project / "cut.mkv", 9)
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    done = cli("train", "sim", "cut.mkv", "--run", "run", *flags(tiny), cwd=project)
    assert done.returncode == 0, done.stderr
    assert re.search(r"cut\.mkv: broken off: \d+ of 90 frames can be decoded, [34]\.\d of 9\.0 s", done.stderr)


def test_init_writes_all_places_to_the_settings_file(cli: Cli, project: Path) -> None:
    (project / "trip").mkdir()
    for name in ("a.mp4", "b.mp4"):
        write_video(project / "trip" / name, 3)
    succeed(cli("init", "sim", "day", "drive.mp4", "trip", cwd=project))
    text = (project / "sim2real.toml").read_text()
    assert tomllib.loads(text)["real"] == ["day", "drive.mp4", "trip"]
    assert "# images, 5 images; 1 video, 0:00:07; 2 videos, 0:00:06" in text


def test_a_dataset_is_compared_with_all_places(cli: Cli, project: Path) -> None:
    against = ["--against", "day", "--against", "drive.mp4"]
    text = succeed(cli("inspect", "sim", *against, cwd=project))
    assert "against   day, drive.mp4" in text
    assert "real 12 examined" in text
    found = json.loads(cli("inspect", "sim", *against, "--json", cwd=project).stdout)["against"]
    assert (found["root"], found["real"]["images"]) == ("day, drive.mp4", 12)


def test_frames_of_a_video_are_as_far_apart_as_in_trainings(cli: Cli, project: Path) -> None:
    def videos(*args: object) -> str:
        done = cli("inspect", "sim", "--against", "drive.mp4", *args, "--json", cwd=project)
        return str(json.loads(succeed(done))["against"]["videos"])

    assert videos() == "7 frames of videos (1), at most one every 1 s (data.video_every)"
    (project / "sim2real.toml").write_text("[data]\nvideo_every = 2\n")
    assert videos().startswith("4 frames of videos (1), at most one every 2 s")
    assert videos("--video-every", "0.5").startswith("14 frames of videos (1), at most one every 0.5 s")
    refused(cli("inspect", "sim", "--against", "drive.mp4", "--video-every", "0", cwd=project), "data.video_every")


def test_an_evaluation_takes_the_real_images_of_the_settings(cli: Cli, project: Path) -> None:
    trained = ("sim", "day", "--recipe", "reinhard", "--run", "run", "--set", "device=cpu")
    succeed(cli("train", *trained, "--set", "data.video_every=2", cwd=project))
    succeed(cli("convert", "sim", "out", "--model", "run", cwd=project))
    command = ("evaluate", "out", "--metrics", "colour", "--segmenter-steps", "0", "--device", "cpu")
    done = cli(*command, "--real", "drive.mp4", cwd=project)
    assert "4 frames of videos (1), at most one every 2 s (data.video_every)" in done.stderr  # as in the run
    lines = 'sim = "sim"\nreal = ["day", "drive.mp4"]\n[data]\nvideo_every = 3.5\nreal_exclude = ["*0.png"]\n'
    (project / "sim2real.toml").write_text(lines)
    done = cli(*command, cwd=project)
    assert "2 frames of videos (1), at most one every 3.5 s (data.video_every)" in done.stderr
    assert "6 of 6 frames, 6 of 6 real images" in done.stderr
    done = cli(*command, "--real", "drive.mp4", "--video-every", "1", cwd=project)
    assert "7 frames of videos (1), at most one every 1 s (data.video_every)" in done.stderr


@pytest.mark.slow
def test_batch_with_a_folder_and_a_video(cli: Cli, project: Path, tiny: list[str]) -> None:
    args = ["batch", "sim", "day", "drive.mp4", "out", "--run", "run", *flags(tiny)]
    done = cli(*args, cwd=project)
    assert "6 of 6 frames against 12 real images" in done.stdout, done.stderr
    assert done.stderr.count("drawing 7/7 seconds of video") == 1
    assert done.stderr.count("drawing ") == 1  # the evaluation reuses the frames of the run
    kept = project / "out/.sim2real/evaluation.json"
    assert json.loads(kept.read_text())["real"] == f"{project / 'day'}, {project / 'drive.mp4'}"
    before = kept.stat().st_mtime_ns
    cli(*args, cwd=project)
    assert kept.stat().st_mtime_ns == before  # a rerun does nothing

    more = ["--real", "day", "--real", "drive.mp4", "--metrics", "colour"]
    alone = cli("evaluate", "out", *more, cwd=project)
    assert "against 12 real images" in alone.stdout, alone.stderr
