"""Photos inside label files, for example those of LabelMe; ``--labelme-image`` selects what is done with them.

Only the photo in a label file changes. The file is written after its image, by the same process, and is done as long as
the manifest says that it holds the present bytes of that image.
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
"""What is done with photos inside label files.

``embed``: the translated photo replaces the old one. ``drop``: the photo is removed. ``keep``: the file is unchanged.
"""


@dataclass(frozen=True, slots=True)
class Embedding:
    """How the photo in one label file is changed.

    Attributes:
        image: The image whose converted bytes replace the photo; empty to remove it.
        replace: A function from the bytes of the file, and those of an image or None, to the new bytes of the file.
    """

    image: str
    replace: Callable[[bytes, bytes | None], bytes]

    def __call__(self, data: bytes, out: Path) -> tuple[bytes, str | None]:
        """Return the new bytes of the file, and the SHA-256 of the embedded image.

        Args:
            data: The bytes of the file.
            out: The converted dataset, which contains the image.

        Raises:
            DamageError: If the file is not a valid label file.
            OSError: If the image cannot be read.
        """
        picture = (out / self.image).read_bytes() if self.image else None
        try:
            edited = self.replace(data, picture)
        except (RecursionError, ValueError) as error:
            raise DamageError(str(error)) from error
        return edited, None if picture is None else hashlib.sha256(picture).hexdigest()


def embeddings(dataset: "Dataset", translated: Collection[str], inside: str) -> dict[str, Embedding]:
    """Return the files that change because they hold translated photos.

    Args:
        dataset: The dataset.
        translated: The translated images.
        inside: What is done with the photos, see :data:`Inside`.

    Raises:
        DatasetError: If tools would show an embedded photo in the wrong orientation.
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
    """Check that no photo relies on its EXIF orientation, which tools ignore in embedded photos."""
    turned = []
    for image in dataset.embedded().values():
        with suppress(ImageError):  # reported when it is decoded
            if image in translated and read_orientation(dataset.root / image) != 1:
                turned.append(image)
    if turned:
        raise DatasetError(
            f"{dataset.root}: --labelme-image embed: EXIF rotates {len(turned)} photos, e.g. {turned[0]}, but "
            "tools show photos inside label files as they are stored: use drop, or store these photos upright",
            topic="labels-that-hold-or-describe-the-old-image",
        )


def check_sizes(dataset: "Dataset", resized: Collection[str], changed: Collection[str], inside: str) -> None:
    """Check that no label file is resized while the photo inside it is not.

    Args:
        dataset: The dataset.
        resized: The files that are resized.
        changed: The files whose photo is replaced or removed.
        inside: What is done with the photos.

    Raises:
        DatasetError: If there is one.
    """
    left = sorted(path for path in dataset.embedded() if path in resized and path not in changed)
    if left:
        hint = (
            "use --labelme-image embed or drop"
            if inside == "keep"
            else "their images are not translated; leave them out with --exclude"
        )
        raise DatasetError(
            f"{dataset.root}: --resize cannot resize the photos inside {len(left)} files, e.g. {left[0]}: {hint}",
            topic="another-size",
        )
