"""Every layout that ships has a card, which is what its facts say; and the facts say what the code does."""

import re
from pathlib import Path

import pytest

from sim2real.datasets import open_dataset
from sim2real.datasets.cards import render, shipped
from sim2real.registry import registry

CARDS = Path(__file__).parents[2] / "datasets"


@pytest.mark.parametrize("name", shipped())
def test_a_card_is_what_the_facts_say(name: str) -> None:
    assert (CARDS / f"{name}.md").read_text("utf-8") == render(name, shipped()[name]), "run `make cards`"


def test_there_is_no_card_of_anything_else() -> None:
    assert {card.name for card in CARDS.iterdir()} == {f"{name}.md" for name in shipped()}


def test_a_card_names_the_labels_and_the_commands(layout: tuple[str, Path]) -> None:
    name, root = layout
    facts = shipped()[name]
    assert {kind for frame in open_dataset(root).frames() for kind in frame.labels} <= facts.labels.keys()
    card = render(name, facts)
    assert f"`--dataset {name}`" in card
    for part in ("Size", "Get it", "Tree", "Labels", "Licence", "Commands", "Known irregularities"):
        assert f"**{part}" in card
    for command in ("inspect", "train", "convert", "verify"):
        assert re.search(rf"^sim2real {command} ", card, re.MULTILINE)


def test_recipes_that_cards_name_exist() -> None:
    recipes = {entry.name for entry in registry().entries("recipes")}
    named = {facts.recipe for facts in shipped().values()} - {""}
    assert named
    assert named <= recipes
