"""Several looks of a dataset: the same labels, with images that are sampled again for each."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sim2real.imageio import encode_png, read_rgb
from tests.acceptance.test_baselines import fit
from tests.commands import Cli, Write, contents, refused


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit("pixel-distribution", photos, tmp_path_factory.mktemp("looks") / "run")


@pytest.fixture
def source(tmp_path: Path, paint: Write) -> Path:
    folder = paint(tmp_path / "in", 4, size=(39, 21), seed=4)
    (folder / "boxes.txt").write_text("0000.png 1 2 3 4\n")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in contents(folder).items() if ".sim2real/" not in name}


def test_each_look_is_a_complete_dataset_with_its_own_sampling(
    cli: Cli, run: Path, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = cli("convert", source, out, "--model", run, "--looks", "3", "--carry", "hardlink", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("next: ") == 1
    looks = [files(out / f"look_{number:02}") for number in range(3)]
    assert sorted(path.name for path in out.iterdir()) == ["look_00", "look_01", "look_02"]
    assert [look.keys() for look in looks] == [files(source).keys()] * 3
    assert (out / "look_02/boxes.txt").samefile(source / "boxes.txt")
    for name in ("0000.png", "0003.png"):
        assert len({look[name] for look in looks}) == 3
    records = [json.loads((out / f"look_{number:02}/.sim2real/conversion.json").read_text()) for number in range(3)]
    assert [(record["look"], record["looks"]) for record in records] == [(0, 3), (1, 3), (2, 3)]

    once = tmp_path / "once"
    assert cli("convert", source, once, "--model", run, "--device", "cpu").returncode == 0
    assert files(once) == looks[0]  # a conversion of one look is the first of several

    again = cli("convert", source, out, "--model", run, "--looks", "3", "--carry", "hardlink", "--device", "cpu")
    assert "0 frames converted" in again.stdout
    more = cli("convert", source, out, "--model", run, "--looks", "4", "--carry", "hardlink", "--device", "cpu")
    assert more.returncode == 0, more.stderr
    assert [files(out / f"look_{number:02}") for number in range(3)] == looks
    assert (out / "look_03/0003.png").is_file()


def test_verify_checks_every_look(cli: Cli, run: Path, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert cli("convert", source, out, "--model", run, "--looks", "3", "--device", "cpu").returncode == 0
    assert cli("verify", out).stdout.count("ok: ") == 3
    shutil.rmtree(out / "look_02")
    found = cli("verify", out, "--json")
    assert found.returncode == 1
    report = json.loads(found.stdout)
    assert [look["ok"] for look in report["looks"]] == [True, True, False]
    (out / "look_01/0001.png").unlink()
    found = cli("verify", out)
    assert found.returncode == 1
    assert "look_01" in found.stdout
    assert "has not been converted yet" in found.stdout


def test_looks_that_do_not_fit_the_model_or_the_folder_are_refused(
    cli: Cli, run: Path, source: Path, photos: Path, tmp_path: Path
) -> None:
    out, full = tmp_path / "out", tmp_path / "full"

    def error(*args: object) -> str:
        return refused(cli(*args, "--device", "cpu"))

    fixed = fit("reinhard", photos, tmp_path / "steady")
    assert "samples nothing at random" in error("convert", source, out, "--model", fixed, "--looks", "2")
    assert not out.exists() or not files(out)
    assert cli("convert", source, full, "--model", run, "--device", "cpu").returncode == 0
    assert "holds a conversion of one look" in error("convert", source, full, "--model", run, "--looks", "2")
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    assert "not empty (mine.txt)" in error("convert", source, other, "--model", run, "--looks", "2")
    assert cli("convert", source, out, "--model", run, "--looks", "2", "--device", "cpu").returncode == 0
    assert "continue with --looks 2" in error("convert", source, out, "--model", run)
    assert "look_00" in error("evaluate", out, "--real", photos / "real")


def test_looks_in_the_python_interface(run: Path, source: Path, tmp_path: Path) -> None:
    import sim2real
    from sim2real.imageio import read_rgb

    outs = [tmp_path / f"look_{look:02}" for look in range(2)]
    for look, out in enumerate(outs):
        sim2real.convert(source, out, model=run, look=look, device="cpu")
    one, other = (read_rgb(out / "0000.png") for out in outs)
    assert not np.array_equal(one, other)


def test_plain_surfaces_get_another_texture_in_each_look(cli: Cli, paint: Write, tmp_path: Path) -> None:
    flat, rough = tmp_path / "flat", paint(tmp_path / "rough", 8, size=(32, 32))
    flat.mkdir()
    for level in (40, 90, 140, 190):
        (flat / f"{level:03}.png").write_bytes(encode_png(np.full((32, 32, 3), level, np.uint8)))
    sets = ("data.size=[32, 32]", "data.load_size=[32, 32]", "discriminator.options.width=8", "data.batch_size=2")
    options = [part for each in sets for part in ("--set", each)]
    run = ("--recipe", "textured", "--run", tmp_path / "run", "--steps", "200", "--device", "cpu")
    trained = cli("train", flat, rough, *run, *options)
    assert trained.returncode == 0, trained.stderr
    out = tmp_path / "out"
    assert cli("convert", flat, out, "--model", tmp_path / "run", "--looks", "2", "--device", "cpu").returncode == 0
    for name in ("040.png", "090.png", "140.png", "190.png"):
        one, other = (read_rgb(out / f"look_0{number}" / name).astype(float) for number in range(2))
        textures = [(image - image.mean(axis=(0, 1))).ravel() for image in (one, other)]
        assert np.std(textures, axis=1).min() > 2  # none before
        assert np.corrcoef(*textures)[0, 1] < 0.3
