"""Write a plugin package from the templates next to this file, with the plugin's name filled in."""

import re
from pathlib import Path
from string import Template

from sim2real.errors import PluginError
from sim2real.registry import registry

TEMPLATES = Path(__file__).parent / "templates"

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def write_plugin(name: str, folder: Path) -> Path:
    """Write the package ``sim2real-NAME`` with one discriminator, and return its folder.

    Args:
        name: Name of the discriminator, with or without the package's prefix ``sim2real-``.
        folder: Folder in which the package's folder is created.

    Raises:
        PluginError: If the name is malformed or taken, or the package's folder exists.
    """
    name = name.removeprefix("sim2real-")
    if not _NAME.fullmatch(name):
        raise PluginError(
            f"'{name}' is not a valid plugin name: use lower-case words and digits joined by '-', e.g. my-plugin"
        )
    if taken := [entry.owner for entry in registry().offers if (entry.kind, entry.name) == ("discriminators", name)]:
        raise PluginError(f"plugin '{taken[0]}' already offers a discriminator '{name}'; choose another name")
    package = folder / f"sim2real-{name}"
    if package.exists():
        raise PluginError(f"{package} already exists; choose another name or another --dir")
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
