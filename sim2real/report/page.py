"""A page: what stands at its top, and sections, each of which a template draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import PurePath

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from sim2real import __version__
from sim2real.report.naming import Naming


@dataclass(frozen=True, slots=True)
class Fact:
    """One of the few things to know at a glance: what, its value, and a word on it."""

    name: str
    value: str
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page.

    Attributes:
        template: Name of what draws it, ``templates/sections/NAME.html``.
        title: Its heading, also in the table of contents; no two of a page are alike.
        content: What the template is given, under the name ``content``.
    """

    template: str
    title: str
    content: Mapping[str, object]

    @property
    def anchor(self) -> str:
        """Its place on the page, as links name it."""
        return self.title.lower().replace(" ", "-")


@dataclass(frozen=True, slots=True)
class Page:
    """A whole report.

    Attributes:
        title: What it is about.
        subtitle: A line below that.
        state: How it stands, in a word or two, and whether that is ``"good"``, ``"open"`` or ``"bad"``.
        headline: Why, in a line; empty where that says it all.
        facts: What to know at a glance.
        sections: In their order.
    """

    title: str
    subtitle: str
    state: tuple[str, str]
    headline: str = ""
    facts: Sequence[Fact] = ()
    sections: Sequence[Section] = field(default=())


def render(page: Page, naming: Naming | None = None) -> str:
    """The page as one HTML file: styles, scripts, plots and pictures are inside.

    Args:
        page: What it shows.
        naming: How it names paths, in whatever text; None: of no known ones.
    """
    return _templates().get_template("page.html").render(page=page, naming=naming or Naming(), version=__version__)


@pass_context
def _named(context: Context, value: object) -> object:
    """What a template prints; markup has been put together from what was printed, and pictures are long."""
    if isinstance(value, Markup) or not isinstance(value, str | PurePath) or str(value).startswith("data:"):
        return value
    return context["naming"](str(value))


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("sim2real.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_named,
        trim_blocks=True,
        lstrip_blocks=True,
    )
