"""Render the cards of the datasets: the facts of an adapter as Markdown.

``python -m sim2real.datasets.cards`` writes the cards of all layouts that ship with sim2real to the folder
``datasets``.
"""

from pathlib import Path

from sim2real.datasets.facts import Facts
from sim2real.registry import BUILTIN, registry


def render(name: str, facts: Facts) -> str:
    """Return the card of a dataset.

    Args:
        name: Registered name of the layout.
        facts: The contents of the card.
    """
    within = ("...", f"{facts.folder}/")
    tree = "\n".join(line if line.startswith(within) else f"{facts.folder}/{line}" for line in facts.tree.splitlines())
    kinds = [f"- `{kind}`{text and ': '}{text}" for kind, text in facts.labels.items()]
    licence = facts.licence[:1].upper() + facts.licence[1:]
    inherited = " A converted copy is an adaptation under the same licence." if facts.binds else ""
    parts = [
        f"# {facts.title}",
        f"`--dataset {name}`, recognised on its own. {facts.about}",
        f"**Size.** {facts.size}",
        f"**Get it.** {facts.get}",
        f"**Tree**\n\n```\n{tree}\n```",
        "**Labels**\n\n" + "\n".join(kinds) if kinds else "**Labels.** None are decoded.",
        f"**Licence.** {licence.rstrip('.')}.{inherited}",
        "**Commands**\n\n```sh\n" + "\n".join(commands(facts)) + "\n```",
    ]
    if facts.irregularities:
        parts.append("**Known irregularities**\n\n" + "\n".join(f"- {each}" for each in facts.irregularities))
    return "\n\n".join(parts) + "\n"


def commands(facts: Facts) -> list[str]:
    """Return example commands that inspect, train with, convert and verify a dataset."""
    folder, recipe = facts.folder, f" --recipe {facts.recipe} --run runs/{facts.recipe}" if facts.recipe else ""
    model = f" --model runs/{facts.recipe}" if facts.recipe else ""
    converted, back = f"{folder}-real", ""
    match facts.side:
        case "sim":
            sides = f"{folder}/ kitti/"
        case "real":
            sides, converted, back = f"vkitti/ {folder}/", f"{folder}-sim", " --direction real2sim"
        case None:
            sides = f"{folder}/"
    return [
        f"sim2real inspect {folder}/",
        f"sim2real train {sides}{recipe}",
        f"sim2real convert {folder}/ {converted}/{model}{back}",
        f"sim2real verify {converted}/ --source {folder}/",
    ]


def shipped() -> dict[str, Facts]:
    """Return the facts of the layouts that ship with sim2real, by name."""
    entries = [entry for entry in registry().entries("datasets") if entry.owner == BUILTIN]
    return {entry.name: entry.load().facts for entry in entries}


def main() -> None:
    """Write the cards of the layouts that ship with sim2real."""
    for name, facts in shipped().items():
        Path("datasets", f"{name}.md").write_text(render(name, facts), "utf-8")


if __name__ == "__main__":
    main()
