"""What a layout of a plugin has to have, and what it need not say."""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from sim2real.datasets import Dataset
from sim2real.datasets.base import Adapter, Frame, Match, Tree
from sim2real.datasets.contract import adapter_of, adopted
from sim2real.datasets.labels import Label
from sim2real.datasets.layout import FolderLayout
from sim2real.errors import PluginError
from sim2real.registry import registry

SHIPPED = [entry for entry in registry().entries("datasets") if entry.owner == "sim2real"]


class Duck:
    """A layout that inherits from nothing."""

    name = "duck"

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        return Match("one.jpg", 1) if tree.has("one.jpg") else None

    def frames(self, tree: Tree) -> Iterator[Frame]:
        yield Frame(tree.at("one.jpg"))

    def load_label(self, frame: Frame, kind: str) -> Label:
        raise NotImplementedError


class Small(Adapter):
    name = "small"

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        return Duck.recognise(tree)

    def frames(self, tree: Tree) -> Iterator[Frame]:
        yield Frame(tree.at("one.jpg"))

    def load_label(self, frame: Frame, kind: str) -> Label:
        raise NotImplementedError


@pytest.mark.parametrize("layout", [Duck, Small])
def test_what_a_layout_leaves_out_has_a_default(layout: Any, plant: Any, tmp_path: Path) -> None:
    plant(tmp_path / "data", "one.jpg", {"notes.txt": "x"})
    tree = Tree(tmp_path / "data")
    adapter = adopted(layout, "acme")(tree.root)
    assert isinstance(adapter, layout)
    assert isinstance(adapter, Adapter)
    assert adapter.root == tree.root
    assert adapter.facts is None
    assert not any([adapter.stale, adapter.sparse, adapter.resizing, adapter.intrinsics])
    assert (adapter.consecutive, adapter.counted, adapter.knows_images) == (False, False, False)
    assert adapter.role("notes.txt") is None
    assert (list(adapter.warnings(tree)), adapter.embedded(tree)) == ([], {})
    assert adapter.declared_size(Frame("one.jpg"), "depth") is None
    dataset = Dataset("acme", Match("one.jpg", 1), tree, adapter)
    assert [frame.image for frame in dataset.frames()] == ["one.jpg"]
    assert dataset.stale() == {}


def test_a_layout_is_adopted_once() -> None:
    assert adopted(Duck, "acme") is adopted(Duck, "acme")
    assert adopted(Small, "acme") is Small


class Slotted(Duck):
    __slots__ = ("more",)


@pytest.mark.parametrize("layout", [Duck, Slotted, Small])
def test_frames_of_any_layout_can_be_sent_to_other_processes(layout: Any, plant: Any, tmp_path: Path) -> None:
    plant(tmp_path / "data", "one.jpg")
    tree = Tree(tmp_path / "data")
    [frame] = Dataset("acme", Match("one.jpg", 1), tree, adopted(layout, "acme")(tree.root)).frames()
    again = pickle.loads(pickle.dumps(frame))
    assert type(again.dataset.adapter) is adopted(layout, "acme")
    assert again.dataset.adapter.root == tree.root
    assert again.load_image().shape == frame.load_image().shape


@pytest.mark.parametrize("base", [Duck, Small, FolderLayout])
@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("stales", "stale"),
        ("resizeing", "resizing"),
        ("knows_image", "knows_images"),
        ("warning", "warnings"),
        ("declaredsize", "declared_size"),
        ("fact", "facts"),
        ("consecutiv", "consecutive"),
    ],
)
def test_a_misspelt_attribute_is_refused_by_name(base: type, wrong: str, right: str) -> None:
    layout = type("Acme", (base,), {wrong: ()})
    with pytest.raises(PluginError, match=rf"^dataset 'acme': Acme has '{wrong}'; did you mean '{right}'\? \S.*'_'$"):
        adopted(layout, "dataset 'acme'")


@pytest.mark.parametrize("base", [Duck, Small])
@pytest.mark.parametrize("own", ["frame", "load_labels", "_stales", "palette", "names", "camera_of", "images"])
def test_names_of_its_own_are_let_through(base: type, own: str) -> None:
    assert issubclass(adopted(type("Acme", (base,), {own: ()}), "acme"), base)


def test_an_old_and_a_new_spelling_at_once_are_names_of_its_own() -> None:
    assert adopted(type("Acme", (Small,), {"stale": (), "stales": ()}), "acme")


@pytest.mark.parametrize("missing", ["recognise", "frames", "load_label"])
def test_what_every_layout_needs_is_named(missing: str) -> None:
    body = {name: value for name, value in vars(Duck).items() if name != missing and not name.startswith("__")}
    with pytest.raises(PluginError, match=rf"^acme: Bare has no '{missing}', see sim2real\.datasets\.base\.Adapter$"):
        adopted(type("Bare", (), body), "acme")
    with pytest.raises(PluginError, match=f"has no '{missing}'"):
        adopted(type("Bare", (Adapter,), body), "acme")


def test_photos_in_files_need_both_halves() -> None:
    layout = type("Half", (Small,), {"embedded": lambda *_: {}})
    with pytest.raises(PluginError, match=r"^acme: Half has 'embedded' and no 'embed', which go together$"):
        adopted(layout, "acme")


@pytest.mark.parametrize("target", [None, "text", len])
def test_what_is_no_class_is_refused(target: object) -> None:
    with pytest.raises(PluginError, match=r"^acme: .* is not a class, see sim2real\.datasets\.base\.Adapter$"):
        adopted(target, "acme")


@pytest.mark.parametrize("entry", SHIPPED, ids=lambda entry: entry.name)
def test_what_ships_inherits_and_keeps_the_contract(entry: Any) -> None:
    layout = entry.load()
    assert issubclass(layout, Adapter)
    assert adapter_of(entry) is layout
    assert layout.facts is not None
    assert not cast("Any", layout).__abstractmethods__


MISSPELT = """
from sim2real import hookimpl
from sim2real.datasets.base import Adapter, Frame, Match

@hookimpl
def register_datasets(register):
    register("acme", "plugin_acme:Acme", summary="Acme")

class Acme(Adapter):
    name = "acme"
    stales = ((r"x", "y"),)
    @classmethod
    def recognise(cls, tree):
        return Match("any.jpg", 1)
    def frames(self, tree):
        yield Frame("0.jpg")
    def load_label(self, frame, kind):
        raise NotImplementedError
"""


def test_check_and_open_name_what_is_misspelt(grow: Any, install: Any, site: Path, cli: Any) -> None:
    install("acme", MISSPELT)
    told = "dataset 'acme' of plugin 'acme': Acme has 'stales'; did you mean 'stale'?"
    checked = cli("plugins", "check", path=site)
    assert (checked.returncode, told in checked.stdout) == (1, True)
    folder = grow("images")
    named = cli("inspect", folder, "--dataset", "acme", path=site)
    assert (named.returncode, named.stderr.count("\n"), told in named.stderr) == (1, 1, True)
