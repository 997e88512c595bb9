"""The manual: its pages, as files of this package, and where an advice leads."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from sim2real.errors import Sim2RealError, TopicName

ADDRESS_VARIABLE: Final = "SIM2REAL_MANUAL"
"""Environment variable with the address of the manual's web pages, if a team hosts them."""
_PAGES: Final = (  # the others are made from the program, which has commands for what they show
    *("tutorials/*.md", "guides/*.md", "troubleshooting.md", "coming-from.md", "how-it-works/*.md"),
    "reference/formats.md",
)
_PACKAGED: Final = Path(__file__).parent / "docs"
_SOURCE: Final = Path(__file__).parent.parent / "docs"  # of an editable installation
_FENCE: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Topic:
    """A page of the manual, or a section of one.

    Attributes:
        page: Path of the page without its suffix, ``"guides/train"``.
        title: The heading.
        text: The Markdown text, with the heading.
        anchor: Name of the section in addresses; empty for whole pages.
    """

    page: str
    title: str
    text: str
    anchor: str = ""

    @property
    def name(self) -> str:
        """What ``sim2real help`` takes to print it."""
        return self.anchor or self.page.rpartition("/")[2]


def pages() -> list[Topic]:
    """Return all pages in the order of the manual.

    Raises:
        Sim2RealError: If they are not installed.
    """
    root = _PACKAGED if _PACKAGED.is_dir() else _SOURCE
    found = []
    for pattern in _PAGES:
        for path in sorted(root.glob(pattern)):
            if path.stem != "index":
                text = path.read_text("utf-8")
                found.append(Topic(path.relative_to(root).with_suffix("").as_posix(), _title(text), text))
    if not found:
        raise Sim2RealError(f"{root}: the pages of the manual are not installed; reinstall sim2real")
    return found


def find(words: str) -> Topic:
    """Return the page with a name or title, or the section with a heading.

    Args:
        words: A name, a title, or words of a heading, in any case.

    Raises:
        Sim2RealError: If there is none; the message suggests similar ones.
    """
    wanted = slug(words)
    whole = pages()
    topics = [*whole, *(section for page in whole for section in _sections(page))]
    for matches in (
        lambda topic: wanted in {topic.name, topic.page, slug(topic.title)},
        lambda topic: wanted in slug(topic.title),
        lambda topic: wanted in topic.name,
    ):
        if found := next(filter(matches, topics), None):
            return found
    near = get_close_matches(wanted, [topic.name for topic in topics], n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "`sim2real help` lists the pages"
    raise Sim2RealError(f"no page or section of the manual is called '{words}'; {hint}")


def where(topic: str) -> str:
    """Return where an advice on a topic is: an address if the team hosts the manual, else a command."""
    if base := os.environ.get(ADDRESS_VARIABLE, "").rstrip("/"):
        found = find(topic)
        return f"{base}/{found.page}.html" + (f"#{found.anchor}" if found.anchor else "")
    return f"sim2real help {topic}"


def more(topic: TopicName | None) -> str:
    """Return the end of a message that says where the manual has more on it; empty without a topic."""
    return f"; more: {where(topic)}" if topic else ""


def readable(text: str) -> str:
    """Return the Markdown of a page as a terminal shows it: without directives, comments and relative links."""
    text = re.sub(r"^```\{.*?^```\n?|^:::.*?^:::\n?|<!--.*?-->\n?", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^</?details>\n|</?summary>", "", text, flags=re.MULTILINE)
    text = re.sub(r"^\([\w-]+\)=\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"!\[([^\]]*)\]\([^)]*\)", r"*Picture: \1*", text)
    names = {topic.page.rpartition("/")[2] for topic in pages()}

    def as_topic(link: re.Match[str]) -> str:
        page, _, anchor = link[2].partition("#")
        is_here = not page or (page.endswith(".md") and Path(page).stem in names)
        return f"{link[1]} (`sim2real help {anchor or Path(page).stem}`)" if is_here else link[1]

    return re.sub(r"\[([^\]]+)\]\(([^)\s:]+)\)", as_topic, text)


def _title(text: str) -> str:
    return next((line[2:].strip() for line in text.splitlines() if line.startswith("# ")), "")


def _sections(page: Topic) -> Iterator[Topic]:
    """Yield the sections of a page, each with the ones below it."""
    bare = _FENCE.sub(lambda block: re.sub(r"[^\n]", " ", block[0]), page.text)
    headings = [(match.start(), len(match[1]), match[2]) for match in re.finditer(r"^(##+) (.*)$", bare, re.MULTILINE)]
    for number, (start, level, title) in enumerate(headings):
        end = next((place for place, other, _ in headings[number + 1 :] if other <= level), len(page.text))
        yield Topic(page.page, title, page.text[start:end], slug(title))


def slug(heading: str) -> str:
    """Return the name of a heading in addresses."""
    return re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")
