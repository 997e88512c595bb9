"""Which image a file means that names images: labelling tools write the names of what was uploaded to them."""

from collections.abc import Iterable, Iterator

from sim2real.datasets.base import Tree
from sim2real.imageio import is_image


def find_images(tree: Tree, file: str, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The images that a file names: below its folder, or below ``images`` in it, or else the only one of that name.

    Args:
        tree: The dataset.
        file: The file that names them.
        names: The names, with folders or without, with slashes of any system.

    Yields:
        Name and path, which is empty where none, or no single one, is meant.
    """
    folder = file.rpartition("/")[0]
    bases = [f"{folder}/" if folder else "", f"{tree.folder(f'{folder}/images'.strip('/'))}/"]
    by_name: dict[str, list[str]] = {}
    for name in names:
        path = "/".join(part for part in name.replace("\\", "/").split("/") if part not in {"", ".", ".."})
        found = next((base + path for base in bases if tree.has(base + path)), "")
        if not found:
            if not by_name:
                for each in filter(is_image, tree):
                    by_name.setdefault(each.rpartition("/")[2].lower(), []).append(each)
            same = by_name.get(path.rpartition("/")[2].lower(), [])
            ends = [each for each in same if f"/{each}".lower().endswith(f"/{path}".lower())] or same
            found = ends[0] if len(ends) == 1 else ""
        yield name, found if is_image(found) else ""
