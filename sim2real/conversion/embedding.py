"""Photos that lie inside of label files, as in LabelMe's: what becomes of them, as ``--labelme-image`` says.

Of such a file nothing else changes. It is written after the image that it is about, in the same process, and is done as
long as the manifest says that it holds the very bytes that are there now.
"""

import hashlib
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sim2real.conversion.resized_files import DamageError
from sim2real.errors import DatasetError, ImageError
from sim2real.imageio import read_orientation

if TYPE_CHECKING:
    from sim2real.datasets import Dataset

Inside = Literal["embed", "drop", "keep"]
"""The translated photo takes the place of the old one; or nothing does; or the file stays as it is."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """What becomes of the photo in one file.

    Attributes:
        image: The image whose bytes, as converted, take its place; empty: none do.
        replace: The bytes of the file, and of a picture or None -> its bytes with that inside.
    """

    image: str
    replace: Callable[[bytes, bytes | None], bytes]

    def __call__(self, data: bytes, out: Path) -> tuple[bytes, str | None]:
        """The bytes of the file, and the SHA-256 of what is embedded.

        Args:
            data: Its bytes.
            out: The converted dataset, which has the image.

        Raises:
            DamageError: It is no such file.
            OSError: The image cannot be read.
        """
        picture = (out / self.image).read_bytes() if self.image else None
        try:
            edited = self.replace(data, picture)
        except (RecursionError, ValueError) as error:
            raise DamageError(str(error)) from error
        return edited, None if picture is None else hashlib.sha256(picture).hexdigest()


def embeddings(dataset: "Dataset", translated: Collection[str], inside: str) -> dict[str, Embedding]:
    """The files that change because they hold photos that are translated.

    Args:
        dataset: The dataset.
        translated: The images that are translated.
        inside: What becomes of the photos, see :data:`Inside`.

    Raises:
        DatasetError: A photo that is to be embedded would be shown turned.
    """
    if inside == "keep":
        return {}
    if inside == "embed":
        _require_upright(dataset, translated)
    return {
        path: Embedding(image if inside == "embed" else "", dataset.adapter.embed)
        for path, image in dataset.embedded().items()
        if image in translated
    }


def _require_upright(dataset: "Dataset", translated: Collection[str]) -> None:
    """Make sure that no photo is embedded which tools turn only if it is a file of its own."""
    turned = []
    for image in dataset.embedded().values():
        with suppress(ImageError):  # whoever decodes it will say so
            if image in translated and read_orientation(dataset.root / image) != 1:
                turned.append(image)
    if turned:
        raise DatasetError(
            f"{dataset.root}: --labelme-image embed: EXIF shows {len(turned)} photos turned, e.g. {turned[0]}, and "
            "tools show what is inside of label files as it is stored: say drop, or store such photos upright"
        )


def check_sizes(dataset: "Dataset", resized: Collection[str], changed: Collection[str], inside: str) -> None:
    """Make sure that no file is brought to another size whose photo is not.

    Args:
        dataset: The dataset.
        resized: The files that are.
        changed: Those whose photo is replaced or dropped.
        inside: What becomes of the photos.

    Raises:
        DatasetError: There is one.
    """
    left = sorted(path for path in dataset.embedded() if path in resized and path not in changed)
    if left:
        hint = (
            "say --labelme-image embed or drop"
            if inside == "keep"
            else "their images are not translated; leave them out with --exclude"
        )
        raise DatasetError(
            f"{dataset.root}: --resize cannot bring the photos inside of {len(left)} files to another size, "
            f"e.g. {left[0]}: {hint}"
        )
