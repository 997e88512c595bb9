"""A folder of photos and of label images, converted as a user does it."""

import json
from pathlib import Path

import numpy as np
import pytest

from sim2real.imageio import encode_png
from tests.commands import Cli, Write, succeed


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, write_run: Write) -> Path:
    """A YOLO dataset ``in``, written once for each modality, and a run under ``runs``."""
    folder = tmp_path_factory.mktemp("work")
    rng = np.random.default_rng(0)
    for kind in ("rgb", "seg", "depth"):
        for number in range(2):
            path = folder / f"in/{kind}/images/train/{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)))
            text = folder / f"in/rgb/labels/train/{number}.txt"
            text.parent.mkdir(parents=True, exist_ok=True)
            text.write_text("0 .5 .5 .1 .1\n")
    write_run(folder / "runs/town")
    return folder


def changed(work: Path, out: str) -> set[str]:
    """Files of a conversion that differ from those of the source."""
    files = [path for path in (work / "in").rglob("*") if path.is_file()]
    names = [path.relative_to(work / "in") for path in files]
    return {name.as_posix() for name in names if (work / out / name).read_bytes() != (work / "in" / name).read_bytes()}


def test_label_images_are_carried_with_a_warning_and_translated_only_on_request(work: Path, cli: Cli) -> None:
    done = succeed(cli("convert", "in", "out", "--device", "cpu", cwd=work))
    assert changed(work, "out") == {f"rgb/images/train/{number}.png" for number in range(2)}
    assert "warning: 4 images are carried unchanged: named like labels of other images" in done
    succeed(cli("verify", "out", cwd=work))

    succeed(cli("convert", "in", "named", "--as-image", "depth/*", "--device", "cpu", cwd=work))
    both = {f"{kind}/images/train/{number}.png" for kind in ("rgb", "depth") for number in range(2)}
    assert changed(work, "named") == both
    assert json.loads((work / "named/.sim2real/conversion.json").read_text())["as_image"] == ["depth/*"]
    again = cli("convert", "in", "named", cwd=work)
    assert again.stdout.startswith("0 frames converted, 0 files carried, 8 done before"), again.stdout + again.stderr
    succeed(cli("verify", "named", cwd=work))

    picked = succeed(cli("convert", "in", "picked", "--include", "seg/*", "--device", "cpu", cwd=work))
    succeed(cli("verify", "picked", cwd=work))
    assert "2 frames converted, 0 files carried" in picked


def test_a_conversion_recorded_without_as_image_can_be_verified(work: Path, cli: Cli) -> None:
    succeed(cli("convert", "in", "before", "--as-image", "depth/*", "--as-image", "seg/*", "--device", "cpu", cwd=work))
    path = work / "before/.sim2real/conversion.json"
    record = json.loads(path.read_text())
    del record["as_image"]
    path.write_text(json.dumps(record))
    succeed(cli("verify", "before", cwd=work))
