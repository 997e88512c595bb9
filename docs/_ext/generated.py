"""The pages of the manual that are made from the program itself, and from documents outside of this folder.

They are written beside the other pages before Sphinx reads them; git ignores them.
"""

import inspect
import json
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import typer
from sphinx.application import Sphinx

from sim2real.cli import app as program
from sim2real.cli.overview import EXAMPLES, GROUPS
from sim2real.cli.recipes import networks_of
from sim2real.config import json_schema, resolve
from sim2real.registry import BUILTIN, Entry, registry

DOCS: Final = Path(__file__).resolve().parent.parent
ROOT: Final = DOCS.parent
KINDS: Final = {  # the order of the page on components -> what a kind is for
    "generators": "Networks that translate images, and untrained transfers: `generator.name`.",
    "discriminators": "Critics of one side's images: `discriminator.name`.",
    "losses": "Further losses, each with a weight: `losses.NAME`.",
    "methods": "What a training step does: `method.name`.",
    "metrics": "What `evaluate`, the monitor of a training and the gate measure.",
    "engines": "What computes generators in a conversion: `convert --engine`.",
}
RECIPES_OF: Final = {  # generators -> a recipe whose picture shows what they do
    "encoder-decoder": "combined",
    "resnet": "cyclegan",
    "identity": "camera",
    "frames": "distil",
}
OWN_OF_RECIPES: Final = frozenset({"summary", "source"})
NO_OPTIONS: Final = frozenset({"metrics", "engines"})  # kinds whose constructors the program calls
DEFAULT_WIDTH: Final = 1000  # characters in a cell

COMMANDS: Final = """\
Each command takes `--help`, and `sim2real help TOPIC` prints a page of this manual. Results go to stdout, progress
and messages to stderr. Exit codes: 0 done, 1 a failed check or an error, 2 wrong usage, 130 interrupted and 143
terminated, both after saving."""
SETTINGS: Final = """\
What `sim2real.toml`, `--set KEY=VALUE` and `sim2real.train(settings=...)` take. Each value comes from the recipe,
then `sim2real.toml`, then `--set`, then the other options; later ones override earlier ones. Defaults are those of
the recipe `default`. `sim2real recipes --schema` prints the JSON schema of this page for editors."""
RECIPES: Final = """\
A recipe is a named set of settings: `sim2real train SIM REAL --recipe NAME`. `sim2real recipes NAME` prints one in
the terminal. The pictures show a frame of the rendered town, the same frame translated, and another street as the
real camera of that town sees it. Networks that paint pixels were trained for minutes only, at a fraction of their
width, so their pictures show the kind of fault to expect from short trainings."""
COMPONENTS: Final = """\
What a setting or an option can name, with its own options: `--set generator.name=resnet --set
generator.options.blocks=9`. Packages add their own: see [Write plugins](../guides/write-plugins.md)."""
LAYOUTS: Final = """\
Layouts are recognised by their files; `--dataset NAME` of `inspect`, `convert` and `preview` overrides this. `images`
is used if no other fits. Each layout has a card: where to get the dataset, its tree, labels, licence and commands."""


def main() -> None:
    """Write all generated pages."""
    pages = {
        "reference/command-line.md": command_line(),
        "reference/settings.md": settings(),
        "reference/recipes.md": recipes(),
        "reference/networks.md": components(),
        "reference/datasets.md": datasets(),
        "benchmarks.md": benchmarks(),
        "changelog.md": adapted(ROOT / "CHANGELOG.md", DOCS),
    }
    for card in sorted((ROOT / "datasets").glob("*.md")):
        pages[f"reference/datasets/{card.name}"] = adapted(card, DOCS / "reference" / "datasets")
    for name, text in pages.items():
        write(DOCS / name, text)


def write(path: Path, text: str) -> None:
    """Write a page unless it is the same already, so that Sphinx reads only what has changed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")


def command_line() -> str:
    """Return the page on all commands: an example, the description and every option of each."""
    group: Any = typer.main.get_command(program)
    parts = [
        "# Command line",
        COMMANDS,
    ]
    with group.make_context("sim2real", ["recipes"]) as context:
        for title, names in GROUPS.items():
            parts.append(f"## {title}")
            for name in names:
                command = group.resolve_command(context, [name])[1]
                parts += one_command(command, f"sim2real {name}", context)
    return "\n\n".join(parts) + "\n"


def one_command(command: Any, name: str, context: Any) -> Iterator[str]:  # noqa: ANN401  click's or Typer's own
    """Yield the paragraphs on a command, and on the commands below it."""
    yield f"### {name}"
    if example := EXAMPLES.get(name.removeprefix("sim2real ")):
        yield f"```sh\n{example}\n```"
    yield inspect.cleandoc(described(command))
    rows = []
    for parameter in command.params:
        if "--help" in parameter.opts:
            continue
        is_argument = parameter.param_type_name == "argument"
        names = [parameter.display_name_raw.upper()] if is_argument else [*parameter.opts, *parameter.secondary_opts]
        term = ", ".join(f"`{each.strip('[]')}`" for each in names)
        rows.append((f"{term} {value_of(parameter, context)}", parameter.help or ""))
    yield definitions(rows)
    for below in getattr(command, "commands", {}).values():
        yield from one_command(below, f"{name} {below.name}", context)


def described(command: Any) -> str:  # noqa: ANN401  click's or Typer's own
    """Return a command's own description, without the example above it."""
    return (
        str(command.help or "").partition("\n\n")[2] if str(command.help).startswith("Example:") else command.help or ""
    )


def value_of(parameter: Any, context: Any) -> str:  # noqa: ANN401  click's or Typer's own
    """Return what an option takes."""
    if getattr(parameter, "is_flag", False) or parameter.param_type_name == "argument":
        return ""
    shown = str(parameter.metavar or parameter.display_type(context)).strip("<>").replace("list[str]", "TEXT")
    text = {
        "path": "PATH",
        "str": "TEXT",
        "int": "NUMBER",
        "float": "NUMBER",
        "int range": "NUMBER",
        "float range": "NUMBER",
    }.get(shown, shown)
    return f"{text.replace('|', ' | ')}" + (" (repeatable)" if parameter.multiple else "")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table; empty without rows."""
    lines = [" | ".join(cell(each) for each in row) for row in rows]
    if not lines:
        return ""
    head = list(head)
    return "\n".join(f"| {line} |" for line in [" | ".join(head), " | ".join("---" for _ in head), *lines])


def definitions(rows: Iterable[tuple[str, str]]) -> str:
    """Return a list of terms and what they mean."""
    return "\n\n".join(f"{term}\n: {' '.join(text.split()).replace('<', '&lt;') or '...'}" for term, text in rows)


def cell(text: str) -> str:
    """Return text for a cell of a table."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")[:DEFAULT_WIDTH]


def settings() -> str:
    """Return the page on all settings, from the schema that checks them."""
    schema = json_schema()
    defaults = resolve("default").model_dump(mode="json")
    parts = [
        "# Settings",
        SETTINGS,
        "## General",
        definitions(rows_of(schema, schema["properties"], defaults, "")),
    ]
    for name, section in schema["properties"].items():
        found = resolved(schema, section)
        if "properties" not in found:
            continue
        parts += [f"## {name}", found.get("description", "")]
        parts.append(definitions(rows_of(schema, found["properties"], defaults.get(name) or {}, f"{name}.")))
    return "\n\n".join(part for part in parts if part) + "\n"


def resolved(schema: Mapping[str, Any], section: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a part of the schema with its reference followed."""
    if "$ref" in section:
        return {
            **schema["$defs"][section["$ref"].rpartition("/")[2]],
            **{k: v for k, v in section.items() if k != "$ref"},
        }
    return section


def rows_of(
    schema: Mapping[str, Any], properties: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str
) -> Iterator[tuple[str, str]]:
    """Yield terms and texts on settings; tables within a table are listed with dots."""
    for name, part in properties.items():
        if f"{prefix}{name}" in OWN_OF_RECIPES:
            continue
        found = resolved(schema, part)
        default = defaults.get(name) if isinstance(defaults, Mapping) else None
        if "properties" in found:
            if prefix:
                yield from rows_of(schema, found["properties"], default or {}, f"{prefix}{name}.")
            continue
        shown = "" if default in (None, "", {}) else f"; default `{json.dumps(default)}`"
        yield f"`{prefix}{name}` — {values_of(schema, found)}{shown}", found.get("description", "")


def values_of(schema: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Return what a setting takes, in words."""
    found = resolved(schema, found)
    if "enum" in found:
        values = found["enum"]
        return ", ".join(f"`{json.dumps(each)}`" for each in values) if len(values) < 8 else "a registered name"
    if "const" in found:
        return f"`{json.dumps(found['const'])}`"
    if "anyOf" in found:
        return " or ".join(dict.fromkeys(values_of(schema, each) for each in found["anyOf"]))
    bounds = []
    for key, words in {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }.items():
        if key in found and abs(found[key]) < 2**31:
            bounds.append(f"{words} {found[key]:g}")
    kind = {"array": "list", "object": "table", "boolean": "`true`, `false`"}.get(
        found.get("type", ""), found.get("type", "")
    )
    return " ".join([kind, ", ".join(bounds)]).strip()


def recipes() -> str:
    """Return the page on recipes: when to use each, a picture, its settings and its networks."""
    entries = [entry for entry in registry().entries("recipes") if entry.owner == BUILTIN]
    parts = [
        "# Recipes",
        RECIPES,
        table(["recipe", "what for"], ([f"[`{entry.name}`](#{entry.name})", entry.summary] for entry in entries)),
    ]
    for entry in entries:
        text = registry().load("recipes", entry.name)
        comments = [line[1:].removeprefix(" ") for line in text.splitlines() if line.startswith("#")]
        config = resolve(entry.name)
        parts += [f"## {entry.name}", entry.summary[0].upper() + entry.summary[1:] + "."]
        parts += picture(f"recipe-{entry.name}", entry.name)
        parts.append(re.sub(r"(?<!\n)\n- ", "\n\n- ", "\n".join(comments), count=1))
        if config.source:
            parts.append(f"Source: {config.source}.")
        rows = [
            [f"`{network}`", f"{sum(layer.parameters for layer in layers):,}", str(len(layers))]
            for network, layers in networks_of(config).items()
        ]
        parts.append(table(["network", "parameters", "layers"], rows))
        parts.append(f"```toml\n{text[text.index('summary') :] if 'summary' in text else text}```")
    return "\n\n".join(part for part in parts if part) + "\n"


def picture(name: str, by: str) -> Iterator[str]:
    """Yield a picture of docs/pictures/ and its caption; nothing if there is none."""
    if (DOCS / "pictures" / f"{name}.png").is_file():
        captions = json.loads((DOCS / "pictures" / "captions.json").read_text("utf-8"))
        yield f"![A frame, its translation by {by}, and a real one](../pictures/{name}.png)"
        if name in captions:
            yield f"*{captions[name]}*"


def components() -> str:
    """Return the page on generators, discriminators, losses, methods, metrics and engines with their options."""
    parts = [
        "# Networks and other components",
        COMPONENTS,
    ]
    for kind, purpose in KINDS.items():
        entries = [entry for entry in registry().entries(kind) if entry.owner == BUILTIN]
        parts += [f"## {kind.capitalize()}", purpose]
        for entry in entries:
            parts += component(entry)
    return "\n\n".join(part for part in parts if part) + "\n"


def component(entry: Entry) -> Iterator[str]:
    """Yield the paragraphs on one component."""
    yield f"### {entry.name}"
    yield entry.summary[0].upper() + entry.summary[1:] + "."
    if entry.kind == "generators":
        recipe = RECIPES_OF.get(entry.name, entry.name)
        yield from picture(f"generator-{entry.name}", entry.name)
        yield from picture(f"recipe-{recipe}", f"the recipe {recipe}")
    target = entry.load()
    options = [
        (name, option)
        for name, option in inspect.signature(target).parameters.items()
        if option.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    if entry.kind not in NO_OPTIONS and options:
        meaning = meanings(target)
        yield definitions(
            (
                f"`{name}` — " + ("required" if option.default is option.empty else f"default `{option.default!r}`"),
                plain(meaning.get(name, "")),
            )
            for name, option in options
        )


def meanings(target: Any) -> dict[str, str]:  # noqa: ANN401  a class or a function
    """Return what the options of a component mean, from its docstring and those of classes that it refers to."""
    found = {}
    text = inspect.cleandoc(target.__doc__ or "").partition("\nAttributes:")[0]
    for name, words in re.findall(r"^    (\w+): (.*(?:\n      .*)*)", text, re.MULTILINE):
        told = " ".join(words.split())
        if reference := re.match(r"See (?:``|:class:`)(\w+)`+\.\s*", told):
            other = getattr(sys.modules[target.__module__], reference[1])
            told = f"{meanings(other).get(name, '')} {told[reference.end() :]}".strip()
        found[name] = told
    return found


def plain(text: str) -> str:
    """Return text of a docstring without the markup of reStructuredText."""
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("``", "`")


def datasets() -> str:
    """Return the page on layouts, with a card for each."""
    entries = [entry for entry in registry().entries("datasets") if entry.owner == BUILTIN]
    rows = ([f"[`{entry.name}`](datasets/{entry.name}.md)", entry.summary] for entry in entries)
    return (
        "\n\n".join(
            [
                "# Datasets",
                LAYOUTS,
                table(["dataset", "layout"], rows),
                "```{toctree}\n:hidden:\n:glob:\n\ndatasets/*\n```",
            ]
        )
        + "\n"
    )


def benchmarks() -> str:
    """Return the page on measurements, with the tables of the files that the benchmarks write."""
    return (
        adapted(ROOT / "benchmarks" / "README.md", DOCS)
        + "\n"
        + lowered(adapted(ROOT / "benchmarks" / "downstream" / "README.md", DOCS))
    )


def lowered(text: str) -> str:
    """Return a page whose headings are one level lower."""
    return re.sub(r"^(#+ )", r"#\1", text, flags=re.MULTILINE)


def adapted(source: Path, folder: Path) -> str:
    """Return a document outside of the manual as a page in a folder of it.

    Links to documents that are pages become links to them, pictures are copied, and other links become plain text.
    """

    def link(match: re.Match[str]) -> str:
        bang, words, target = match.groups()
        name, hashed, anchor = target.partition("#")
        if "://" in target or not name:
            return match[0]
        place = (source.parent / name).resolve()
        if bang:
            shutil.copyfile(place, DOCS / "pictures" / "copied" / place.name)
            return f"![{words}]({up(folder)}pictures/copied/{place.name})"
        page = page_of(place)
        return f"[{words}]({up(folder)}{page}{hashed}{anchor})" if page else words

    (DOCS / "pictures" / "copied").mkdir(parents=True, exist_ok=True)
    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", link, source.read_text("utf-8"))


def page_of(place: Path) -> str | None:
    """Return the page that shows a document, relative to the manual; None if none does."""
    if place.parent == ROOT / "datasets":
        return f"reference/datasets/{place.name}"
    if place in {ROOT / "benchmarks" / "README.md", ROOT / "benchmarks" / "downstream" / "README.md"}:
        return "benchmarks.md"
    if place.is_relative_to(DOCS) and place.suffix == ".md":
        return str(place.relative_to(DOCS))
    return {ROOT / "CHANGELOG.md": "changelog.md", ROOT / "README.md": "index.md"}.get(place)


def up(folder: Path) -> str:
    """Return the way from a folder of the manual to its root."""
    return "../" * len(folder.relative_to(DOCS).parts)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("builder-inited", lambda _app: main())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
