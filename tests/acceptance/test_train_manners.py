"""How ``train`` and its kin behave towards those who run them, and towards what runs them."""

import json
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

Cli = Callable[..., subprocess.CompletedProcess[str]]
Paint = Callable[..., Path]


def succeed(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_schema_that_editors_are_given_fits_what_init_writes(cli: Cli, paint: Paint, tmp_path: Path) -> None:
    import jsonschema  # type: ignore[import-untyped]  # it ships no types

    paint(tmp_path / "sim", 2)
    paint(tmp_path / "real", 2)
    succeed(cli("init", "sim", "real", cwd=tmp_path))
    schema = json.loads(succeed(cli("recipes", "--schema")))
    text = (tmp_path / "sim2real.toml").read_text()
    jsonschema.validate(tomllib.loads(text), schema)
    uncommented = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ") and " = " in line]
    assert len(uncommented) > 5
    known = {name for section in (schema, *schema["$defs"].values()) for name in section["properties"]} | {
        "name",
        "width",
    }
    assert {line.split(" = ")[0] for line in uncommented} <= known
