"""What a report shows of a run, whatever is missing of it."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from sim2real.config import resolve
from sim2real.errors import Sim2RealError
from sim2real.imageio import encode_png
from sim2real.report import write_report
from sim2real.report.run import read_run

WriteRun = Callable[..., Path]
NOTE = 'skipped: a<b>"&c.png: cannot be decoded'


@pytest.fixture
def run(tmp_path: Path, write_run: WriteRun) -> Path:
    """A finished run of 80 steps; the best of its four evaluations was at step 40."""
    folder = tmp_path / "town & <country>"
    for place in (folder, folder / "checkpoints/step_00000080", folder / "checkpoints/step_00000040"):
        write_run(place)
    sets = ["data.size=[32, 24]", "train.steps=80", "image_pool_size=7"]
    settings = resolve("combined", sim="/data/a sim", real="/data/photos", sets=sets)
    (folder / "config.toml").write_text(settings.dump())
    lines: list[dict[str, object]] = []
    for step in range(1, 81):
        figures = {"epoch": step / 40, "rate": 1.0, "images_per_second": 4.0, "cycle": 1 / step}
        if step % 20 == 0:
            score = 0.5 + abs(step - 40) / 100
            figures |= {"validation/cycle": 2 / step, "evaluation/score": score, "evaluation/distance": score / 9}
        lines.append({"step": step, **figures})
    lines.insert(30, {"step": 30, "note": NOTE})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for step in (20, 40, 60, 80):
        draw(folder, step, np.full((48, 192, 3), 3 * step, np.uint8))
    return folder


def draw(folder: Path, step: int, pixels: object) -> None:
    (folder / "samples").mkdir(exist_ok=True)
    (folder / f"samples/step_{step:08d}.png").write_bytes(encode_png(pixels))  # type: ignore[arg-type]  # pixels they are


class Reader(HTMLParser):
    """What a person sees of a page, and all that it would load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.loads, self.tags, self.inside = "", list[str](), list[str](), list[str]()
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.inside.append(tag)
        self.loads += [value or "" for name, value in attributes if name in {"src", "href", "xlink:href", "data-label"}]

    def handle_endtag(self, _tag: str) -> None:
        self.inside.pop()

    def handle_data(self, data: str) -> None:
        if self.inside and self.inside[-1] not in {"style", "script"}:
            self.text = f"{self.text} {' '.join(data.split())}".strip()


def report(folder: Path) -> Reader:
    return Reader(write_report(folder).read_text("utf-8"))


def test_a_report_tells_what_was_trained_and_which_step_is_used(run: Path) -> None:
    seen = report(run)
    assert "town & <country> finished" in seen.text
    assert "by the recipe combined with sim2real 0.1.0" in seen.text
    assert "Steps 80 epoch 2" in seen.text
    assert "Best score 0.500 at step 40" in seen.text
    assert "Generators of step 40 the best on held-out images" in seen.text
    assert "Speed 4 images/s" in seen.text
    assert "Time 0:00:40" in seen.text
    assert f"step 30 {NOTE}" in seen.text
    assert "sim a sim" in seen.text
    assert "image_pool_size 7 50" in seen.text  # here, and in the recipe
    assert "sim2real convert 'a sim' OUT --model" in seen.text


@pytest.mark.parametrize(
    ("score", "state", "colour"),
    [
        (1.008, "finished: worse than the source as it is", "bad"),
        (0.97, "finished: hardly better than the source as it is", "open"),
        (13.0, "finished: harmful", "bad"),
        (0.5, "finished", "good"),
        (None, "finished: not evaluated on held-out images", "open"),
    ],
)
def test_a_training_that_is_no_good_is_not_shown_in_green(
    run: Path, score: float | None, state: str, colour: str
) -> None:
    figures = {} if score is None else {"evaluation/score": score, "evaluation/change": 9.0}
    (run / "metrics.jsonl").write_text(json.dumps({"step": 80, "epoch": 2.0, **figures}) + "\n")
    page = write_report(run).read_text("utf-8")
    assert f'<span class="state {colour}">{state}</span>' in page
    headline = re.search(r'<p class="headline \w+">(.*?)</p>', page)
    assert headline
    assert ("Next: " in headline[1]) == (colour != "good")


def test_a_report_needs_nothing_but_itself(run: Path) -> None:
    file = write_report(run)
    seen = Reader(file.read_text("utf-8"))
    assert all(re.match(r"data:|#|step ", address) for address in seen.loads)
    assert not re.search(r"url\((?!#)|@import|<link(?! rel=\"icon\")", file.read_text("utf-8"))
    assert "default-src 'none'" in file.read_text("utf-8")


def test_every_figure_has_its_plot(run: Path) -> None:
    seen = report(run)
    for name in ("Score", "Distance", "cycle", "Learning rate", "Images per second"):
        assert name in seen.text
    assert seen.tags.count("svg") == 5


def test_plots_take_their_colours_from_the_page(run: Path) -> None:
    drawings = "".join(re.findall(r"<svg.*?</svg>", write_report(run).read_text("utf-8"), re.DOTALL))
    assert "var(--first)" in drawings
    assert "var(--ink)" in drawings
    assert not re.findall(r"#[0-9a-fA-F]{6}\b", drawings)


def test_samples_have_their_columns_named_and_their_best_step_marked(run: Path) -> None:
    seen = report(run)
    assert [text for text in seen.loads if text.startswith("step ")] == [
        "step 20", "step 40 (best, used)", "step 60", "step 80",
    ]  # fmt: skip
    assert "sim as real and back real as sim and back" in seen.text
    assert "4 of 4 sample grids" in seen.text
    assert sum(address.startswith("data:image/webp") for address in seen.loads) == 4 * 2 + 1  # and the animation


def test_the_last_generators_are_used_where_the_settings_say_so(run: Path) -> None:
    text = (run / "config.toml").read_text().replace('use = "best"', 'use = "last"')
    (run / "config.toml").write_text(text)
    assert 'Generators of step 80 the last; checkpoint.use = "last"' in report(run).text


def test_equal_runs_have_equal_reports(run: Path) -> None:
    assert write_report(run).read_bytes() == write_report(run, run / "again.html").read_bytes()


@pytest.mark.parametrize("missing", ["config.toml", "metrics.jsonl", "samples", "checkpoints", "sim2real.safetensors"])
def test_what_is_missing_is_left_out(run: Path, missing: str) -> None:
    place = run / missing
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    seen = report(run)
    assert ("finished" if missing != "sim2real.safetensors" else "not finished") in seen.text
    assert ("Samples" in seen.text) == (missing != "samples")
    assert ("Losses" in seen.text) == (missing != "metrics.jsonl")
    assert ("All settings" in seen.text) == (missing != "config.toml")


@pytest.mark.parametrize("torn", ["config.toml", "metrics.jsonl", "samples/step_00000080.png", "sim2real.safetensors"])
def test_what_is_torn_is_left_out(run: Path, torn: str) -> None:
    data = (run / torn).read_bytes()
    (run / torn).write_bytes(data[: len(data) // 2])
    assert "town & <country>" in report(run).text


def test_a_run_that_has_just_begun_has_a_report(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(resolve(sim="/data/sim", real="/data/real").dump())
    seen = report(tmp_path)
    assert "not finished" in seen.text
    assert "Steps 0 of 2,000" in seen.text
    assert f"sim2real train --run {tmp_path.name} --resume" in seen.text


def test_a_log_that_ends_anywhere_is_read_up_to_there(run: Path) -> None:
    whole = (run / "metrics.jsonl").read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("}")]
    for end in range(0, len(whole), 37):
        (run / "metrics.jsonl").write_bytes(whole[:end])
        read = read_run(run)
        assert len(read.records) + len(read.notes) == sum(place <= end for place in ends)


def test_figures_that_are_no_numbers_and_harmful_scores_are_bearable(run: Path) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 81, "cycle": NaN, "evaluation/score": 1e9, "D_real": null, "images_per_second": 0}\n')
    assert "Best score 0.500 at step 40" in report(run).text


def test_figures_that_are_words_are_left_out(run: Path) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 81, "epoch": "two", "cycle": "x", "rate": None}) + "\n")
    assert "81" in Reader(write_report(run).read_text()).text


def test_epochs_tell_the_length_too(run: Path) -> None:
    text = (run / "config.toml").read_text().replace("steps = 80", "epochs = 5")
    (run / "config.toml").write_text(text)
    (run / "sim2real.safetensors").unlink()
    assert "Steps 80 of 200" in report(run).text


def test_hundreds_of_samples_stay_a_small_page_with_the_first_the_best_and_the_last(run: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (240, 1920, 3), dtype=np.uint8)
    text = (run / "config.toml").read_text()
    (run / "config.toml").write_text(re.sub(r"size = \[\s*32,\s*24,?\s*\]", "size = [320, 240]", text))
    for step in range(1, 201):
        draw(run, step, np.roll(noise, step, 1))
    seen = report(run)
    assert (run / "report.html").stat().st_size < 12_000_000
    labels = [text for text in seen.loads if text.startswith("step ")]
    assert {labels[0], labels[-1]} == {"step 1", "step 200"}
    assert "step 40 (best, used)" in labels
    assert len(labels) <= 18


def test_a_folder_that_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(Sim2RealError, match="neither run nor conversion here to report on; name a folder"):
        write_report(tmp_path)
    assert not [*tmp_path.iterdir()]


def test_matplotlib_that_is_not_installed_is_told(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(Sim2RealError, match=r"matplotlib; pip install \"sim2real\[report\]\""):
        write_report(run)
    assert not (run / "report.html").exists()


TOUCHED = """<script>
const slider = document.querySelector("[type=range]");
const shown = () => [...document.querySelectorAll(".pair:not([hidden])")].map((frame) => frame.dataset.label).join();
const before = shown();
slider.value = 0;
slider.dispatchEvent(new Event("input"));
document.body.dataset.seen = `${before} > ${shown()} > ${document.querySelector("output").textContent}`;
document.body.dataset.wide = String(document.documentElement.scrollWidth > innerWidth);
</script></body>"""


@pytest.mark.skipif(not shutil.which("chromium"), reason="Chromium is not installed (Debian: apt-get install chromium)")
def test_in_a_browser_the_slider_moves_through_the_steps_and_nothing_complains(run: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(write_report(run).read_text("utf-8").replace("</body>", TOUCHED))
    command = [
        *("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"),
        *(f"--user-data-dir={tmp_path / 'profile'}", "--window-size=500,900", "--dump-dom", page.as_uri()),
    ]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert 'data-seen="step 40 (best, used) &gt; step 20 &gt; step 20"' in shown.stdout
    assert 'data-wide="false"' in shown.stdout  # nothing sticks out of a phone's screen
    assert "CONSOLE" not in shown.stderr
