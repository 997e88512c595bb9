"""What is said of places that do not fit together."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sim2real.config import resolve
from sim2real.errors import Sim2RealError
from sim2real.training.begin import check_training


@pytest.fixture
def trip(tmp_path: Path, paint: Callable[..., Path]) -> Path:
    """Simulated images in a folder of real ones."""
    paint(tmp_path / "trip", 3)
    paint(tmp_path / "trip/sim", 2)
    return tmp_path / "trip"


@pytest.mark.parametrize(("sim", "real"), [("sim", "."), (".", "sim"), ("sim", "../link")])
def test_images_on_both_sides_are_refused(trip: Path, sim: str, real: str) -> None:
    (trip.parent / "link").symlink_to("trip")
    config = resolve(sim=str(trip / sim), real=str(trip / real), run=str(trip.parent / "run"))
    with pytest.raises(Sim2RealError, match=r"sim/.*: an image of both SIM and REAL \(and 1 more\): .* name two sep"):
        check_training(config, begins=True)


def test_one_folder_in_the_other_is_no_fault_if_no_image_is_shared(trip: Path, paint: Callable[..., Path]) -> None:
    places = {"sim": str(trip / "sim"), "real": str(trip), "run": str(trip.parent / "run")}
    check_training(resolve(file=places, sets=["data.real_exclude=sim/*"]), begins=True)
    paint(trip / "two/trainA", 2)
    paint(trip / "two/trainB", 2)
    check_training(resolve(file={**places, "sim": str(trip / "two"), "real": str(trip / "two/trainB")}), begins=True)
