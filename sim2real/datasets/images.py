"""Any folder of images: the layout of last resort."""

import re
from collections.abc import Iterator
from typing import ClassVar, Final

from sim2real.datasets.base import Adapter, Frame, Match, Role, Tree
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import Label
from sim2real.errors import DatasetError
from sim2real.imageio import is_image

_METADATA: Final = r"(?:^|/)metadata\.(?:csv|jsonl|parquet)$"


class Images(Adapter):
    """Any folder of images: each photo is a frame without labels, and everything else is carried.

    :mod:`sim2real.datasets.photos` decides which images are photos.

    This includes Hugging Face's image folders: classes as folders, and ``metadata.csv`` or ``.jsonl`` with data about
    each ``file_name`` (huggingface/datasets, docs/source/image_dataset.mdx).
    """

    name: ClassVar = "images"
    counted: ClassVar = True
    ordered: ClassVar[bool] = False
    stale: ClassVar = ((_METADATA, "captions, if it has any"),)
    facts: ClassVar = Facts(
        title="Any folder of images",
        about="Each photo below the folder is a frame; everything else is carried. This layout is the last resort, "
        "when no other one fits.",
        size="Any.",
        get="Your own images.",
        tree="any/depth/name.{jpg,jpeg,jpe,jfif,png,webp,tif,tiff,bmp,tga,ppm,pgm,pnm,jp2,j2k,avif}\n"
        "metadata.{csv,jsonl,parquet}                   # of a Hugging Face image folder\n"
        "whatever/else.txt",
        licence="your own",
        irregularities=(
            (
                "As in every layout, images are carried unchanged, and reported, if their names mark them as labels "
                "of others (`depth/01.png` with `rgb/01.jpg`, `01_cs.png` with `01.png`), if they are palette "
                "images or do not have 8 bits per channel, and if their pixels are encoded depth, normals, "
                "coordinates or pictures of optical flow. A folder is judged by a sample of its files."
            ),
            (
                "Folders of images with fewer than 256 colours, or without any colour in a lossless format, are taken "
                "for labels too, if at least one other image remains for every four of them; so are images in hidden "
                "folders."
            ),
            (
                '`--as-image "depth/*"` declares images to be camera images nevertheless, and so does `--include` if '
                "it selects only such images. Masks stored as JPEG with neutral names cannot be distinguished from "
                "photos: leave them out with `--exclude`."
            ),
            (
                "Labels in a layout of your own are carried unchanged. To have them checked and shown, write an "
                "adapter: it takes about 40 lines, see CONTRIBUTING.md."
            ),
        ),
        folder="photos",
    )

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Return the match if there is at least one image file, else None."""
        images = sum(1 for path in tree if is_image(path))
        return Match("a folder with images", images) if images else None

    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Yield every image; non-photos are detected later, as for all layouts."""
        for index, path in enumerate(filter(is_image, tree)):
            yield Frame(path, sequence=path.rpartition("/")[0], index=index)

    def role(self, path: str) -> Role | None:
        """Return the role of tables about the images; None for other files."""
        return Role.AUX if re.search(_METADATA, path, re.IGNORECASE) else None

    def load_label(self, frame: Frame, kind: str) -> Label:
        """Raise an error, as this layout has no labels.

        Raises:
            DatasetError: Always.
        """
        raise DatasetError(f"{frame.image}: no label '{kind}'; folders of images alone have none")
