"""The command ``demo`` without the package that renders its town."""

import sys
from pathlib import Path

import pytest

from sim2real.cli.demo import command
from sim2real.errors import Sim2RealError


def test_the_missing_package_is_named_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sim2real_toytown", None)
    with pytest.raises(Sim2RealError, match=r"sim2real-toytown, .* plugins/sim2real-toytown"):
        command(tmp_path / "demo")
    assert list(tmp_path.iterdir()) == []
