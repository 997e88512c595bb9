"""Writes a plugin package to start from: the templates beside this file, with the plugin's name filled in."""

import re
from pathlib import Path
from string import Template

from sim2real.errors import PluginError
from sim2real.registry import registry

TEMPLATES = Path(__file__).parent / "templates"

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def write_plugin(name: str, folder: Path) -> Path:
    """Write the package ``sim2real-NAME`` with one discriminator, and say where.

    Args:
        name: What users will write; with or without the package's prefix ``sim2real-``.
        folder: Where to make the package's folder.

    Raises:
        PluginError: The name is of another form or taken, or the folder is there already.
    """
    name = name.removeprefix("sim2real-")
    if not _NAME.fullmatch(name):
        raise PluginError(
            f"'{name}' is no name for a plugin: lower-case words and digits joined by '-', e.g. my-discriminator"
        )
    if taken := [entry.owner for entry in registry().offers if (entry.kind, entry.name) == ("discriminators", name)]:
        raise PluginError(f"plugin '{taken[0]}' offers a discriminator '{name}' already; choose another name")
    package = folder / f"sim2real-{name}"
    if package.exists():
        raise PluginError(f"{package} is there already; choose another name or another --dir")
    words = {
        "name": name,
        "module": f"sim2real_{name.replace('-', '_')}",
        "class_name": "".join(word.capitalize() for word in name.split("-")) + "Discriminator",
    }
    for template in sorted(path for path in TEMPLATES.rglob("*") if path.is_file()):
        place = template.relative_to(TEMPLATES).as_posix().removesuffix(".tmpl").replace("MODULE", words["module"])
        target = package / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(Template(template.read_text("utf-8")).substitute(words), "utf-8")
    return package
