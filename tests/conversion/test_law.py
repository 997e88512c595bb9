"""After every conversion that ends without an error, verify says ok: of files of all kinds, and of all options."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sim2real.conversion import ConversionSummary, verify
from sim2real.errors import Sim2RealError
from tests.specimens import EXTRAS, MODES, Specimen

Translate = Callable[..., ConversionSummary]

SIDES = st.sampled_from([1, 2, 3, 7, 8, 9, 16, 17, 33, 48])


@st.composite
def specimens(draw: st.DrawFn, *, photo: bool = False) -> Specimen:
    container = draw(st.sampled_from(sorted(MODES)))
    modes = [mode for mode in MODES[container] if not photo or mode in {"L", "LA", "RGB", "RGBA"}]
    extras = [extra for extra in EXTRAS[container] if not photo or extra not in {"pages", "exif", "orientation"}]
    return Specimen(
        container=container,
        mode=draw(st.sampled_from(modes)),
        size=(draw(SIDES), draw(SIDES)),
        extras=draw(st.frozensets(st.sampled_from(extras), max_size=3)),
        seed=draw(st.integers(0, 99)),
    )


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "quality": st.integers(1, 100),
        "gate": st.just(("preservation>=0.95",)),
        "rejected": st.sampled_from(["quarantine", "blend", "colour", "pass"]),
        "carry": st.sampled_from(["copy", "hardlink", "symlink"]),
    },
)
RESIZED = st.tuples(OPTIONS, SIDES, SIDES).map(lambda drawn: drawn[0] | {"resize": drawn[1:]})
FOLDERS = st.lists(specimens(), min_size=1, max_size=12)
OF_PHOTOS = st.lists(specimens(photo=True), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def check(translate: Translate) -> Callable[[list[Specimen], dict[str, Any]], None]:
    def check(found: list[Specimen], options: dict[str, Any]) -> None:
        folder = Path(mkdtemp())
        try:
            hold_to_the_law(folder, found, options, translate)
        finally:
            shutil.rmtree(folder)

    return check


def hold_to_the_law(folder: Path, found: list[Specimen], options: dict[str, Any], translate: Translate) -> None:
    source, out = folder / "in", folder / "out"
    source.mkdir()
    for index, specimen in enumerate(found):
        (source / f"{index:02d}.{specimen.suffix}").write_bytes(specimen.data())
    try:
        summary = translate(source, out, dataset="images", keep_going=True, **options)
    except Sim2RealError as error:
        assert str(source) in str(error)  # noqa: PT017  it is allowed, not expected
        return
    refused = dict(summary.failed)
    assert all(refused.values())
    report = verify(out)
    assert {(problem.kind, problem.path) for problem in report.problems} == {("failed", path) for path in refused}
    assert report.ok == (not refused)
    for index, specimen in enumerate(found):
        assert not specimen.has_photo or f"{index:02d}.{specimen.suffix}" not in refused or is_beyond_us(specimen)


def is_beyond_us(specimen: Specimen) -> bool:
    """Photos that Pillow cannot decode, and what a WebP or AVIF cannot hold."""
    return specimen.container == "TIFF" and specimen.mode == "LA" and "planar" in specimen.extras


HERE = settings(
    deadline=None, phases=(Phase.generate, Phase.shrink), derandomize=True, suppress_health_check=list(HealthCheck)
)


@settings(HERE, max_examples=15)
@given(found=FOLDERS, options=OPTIONS)
def test_what_is_converted_is_verified(
    found: list[Specimen], options: dict[str, Any], check: Callable[[list[Specimen], dict[str, Any]], None]
) -> None:
    check(found, options)


@settings(HERE, max_examples=8)
@given(found=OF_PHOTOS, options=RESIZED)
def test_what_is_converted_to_another_size_is_verified(
    found: list[Specimen], options: dict[str, Any], check: Callable[[list[Specimen], dict[str, Any]], None]
) -> None:
    check(found, options)


def one_of_each() -> Iterator[Specimen]:
    for container, modes in MODES.items():
        yield from (Specimen(container, mode, (17, 9)) for mode in modes)
        yield from (Specimen(container, "RGB", (16, 11), frozenset({extra})) for extra in EXTRAS[container])


def test_one_file_of_each_kind_is_verified(check: Callable[[list[Specimen], dict[str, Any]], None]) -> None:
    check(list(one_of_each()), {})


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(HERE, max_examples=200)
@given(found=FOLDERS | OF_PHOTOS, options=OPTIONS | RESIZED)
def test_the_law_at_length(
    found: list[Specimen], options: dict[str, Any], check: Callable[[list[Specimen], dict[str, Any]], None]
) -> None:
    check(found, options)


def test_damaged_files_are_named_and_the_others_are_converted(tmp_path: Path, translate: Translate) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for container in MODES:
        specimen = Specimen(container, "RGB", (32, 24))
        (source / f"good {container}.{specimen.suffix}").write_bytes(specimen.data())
        (source / f"cut {container}.{specimen.suffix}").write_bytes(specimen.data()[:-600])
    (source / "empty.png").write_bytes(b"")
    (source / "text.jpg").write_text("no picture")
    with pytest.raises(Sim2RealError, match=r"/in/(?:cut|empty|text)[^/]*: .*--keep-going"):
        translate(source, tmp_path / "stopped", dataset="images")
    summary = translate(source, tmp_path / "out", dataset="images", keep_going=True)
    damaged = {path.name for path in source.iterdir() if not path.name.startswith("good")}
    assert {path for path, _ in summary.failed} == damaged
    assert summary.converted == len(MODES)
    report = verify(tmp_path / "out")
    assert {(problem.kind, problem.path) for problem in report.problems} == {("failed", path) for path in damaged}
