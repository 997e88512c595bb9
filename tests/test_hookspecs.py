import inspect

import pytest

from sim2real import hookspecs
from sim2real.registry import KINDS

HOOKS = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("register_")}


def test_there_is_a_hook_for_every_kind() -> None:
    kinds = "generators discriminators losses methods datasets metrics engines recipes commands"
    assert set(KINDS) == set(kinds.split())
    assert [f"register_{kind}" for kind in KINDS] == list(HOOKS)


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_documented_with_what_its_target_is(name: str) -> None:
    summary, *_ = (inspect.getdoc(HOOKS[name]) or "undocumented").splitlines()
    assert summary.startswith("Register ")
    assert "target" in summary
    if name not in {"register_datasets", "register_recipes", "register_commands"}:  # classes, files and functions
        assert "``target(" in summary
        assert "->" in summary


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_has_one_shape(name: str) -> None:
    signature = inspect.signature(HOOKS[name])
    assert list(signature.parameters) == ["register"]
    assert signature.parameters["register"].annotation is hookspecs.Register
    assert signature.return_annotation is None
    assert hasattr(HOOKS[name], f"{hookspecs.PROJECT}_spec")
