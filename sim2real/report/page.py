"""The pages of reports: a head, and sections that templates render."""

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
    """A fact at the top of a page: its name, its value and a remark."""

    name: str
    value: str
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a page.

    Attributes:
        template: Name of its template, ``templates/sections/NAME.html``.
        title: Its heading, also in the table of contents; unique on a page.
        content: The template's variable ``content``.
    """

    template: str
    title: str
    content: Mapping[str, object]

    @property
    def anchor(self) -> str:
        """The anchor that links to the section use."""
        return self.title.lower().replace(" ", "-")


@dataclass(frozen=True, slots=True)
class Page:
    """A whole report.

    Attributes:
        title: The subject of the report.
        subtitle: A line below the title.
        state: The state in a word or two, and its rating ``"good"``, ``"open"`` or ``"bad"``.
        headline: The reason for the state, in a line; can be empty.
        facts: The facts at the top.
        sections: The sections, in order.
    """

    title: str
    subtitle: str
    state: tuple[str, str]
    headline: str = ""
    facts: Sequence[Fact] = ()
    sections: Sequence[Section] = field(default=())


def render(page: Page, naming: Naming | None = None) -> str:
    """Render a page as one HTML file that contains its styles, scripts, plots and images.

    Args:
        page: The page.
        naming: Replaces the paths in all texts; None: a naming without known paths.
    """
    return _templates().get_template("page.html").render(page=page, naming=naming or Naming(), version=__version__)


@pass_context
def _named(context: Context, value: object) -> object:
    """Return a printed value with its paths replaced; markup consists of printed values, and images are data."""
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
