"""Every layout that ships has a card, and the cards say what the code does."""

import re
from pathlib import Path

from sim2real.datasets import open_dataset
from sim2real.registry import registry

CARDS = Path(__file__).parents[2] / "datasets"


def test_cards_and_layouts_that_ship_are_the_same() -> None:
    shipped = {entry.name for entry in registry().entries("datasets") if entry.owner == "sim2real"}
    assert {card.stem for card in CARDS.iterdir() if card.suffix == ".md"} == shipped
    assert all(card.suffix == ".md" for card in CARDS.iterdir())


def test_card_names_the_labels_and_the_commands(layout: tuple[str, Path]) -> None:
    name, root = layout
    card = (CARDS / f"{name}.md").read_text("utf-8")
    assert f"`--dataset {name}`" in card
    for part in ("Get it", "Tree", "Labels", "Licence", "Commands", "Known irregularities"):
        assert f"**{part}" in card
    for command in ("inspect", "train", "convert"):
        assert re.search(rf"^sim2real {command} ", card, re.MULTILINE)
    labels = card.split("**Labels.**")[1].split("**Licence.**")[0]
    kinds = {kind for frame in open_dataset(root).frames() for kind in frame.labels}
    assert kinds <= set(re.findall(r"`(\w+)`", labels))


def test_card_tells_of_the_licence_that_the_tool_warns_of(layout: tuple[str, Path]) -> None:
    name, root = layout
    warned = any("CC BY-NC-SA 3.0" in line for line in open_dataset(root).warnings())
    assert ("CC BY-NC-SA 3.0" in (CARDS / f"{name}.md").read_text("utf-8")) == warned


def test_recipes_that_cards_name_exist() -> None:
    recipes = {entry.name for entry in registry().entries("recipes")}
    named = {name for card in CARDS.glob("*.md") for name in re.findall(r"--recipe (\S+)", card.read_text("utf-8"))}
    assert named
    assert named <= recipes
