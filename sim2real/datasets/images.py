"""Any folder of images, as the last resort."""

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

    What is a photo is told by :mod:`sim2real.datasets.photos`.

    Hugging Face's image folders are such: classes by folder, ``metadata.csv`` or ``.jsonl`` with what is told of
    each ``file_name`` (huggingface/datasets, docs/source/image_dataset.mdx).
    """

    name: ClassVar = "images"
    counted: ClassVar = True
    stale: ClassVar = ((_METADATA, "captions, if it has any"),)
    facts: ClassVar = Facts(
        title="Any folder of images",
        about=(
            "Each photo below the folder is a frame; everything else is carried. It is the last resort, when no other "
            "layout fits."
        ),
        size="Any.",
        get="One's own.",
        tree=(
            "any/depth/name.{jpg,jpeg,jpe,jfif,png,webp,tif,tiff,bmp,tga,ppm,pgm,pnm,jp2,j2k,avif}\n"
            "metadata.{csv,jsonl,parquet}                   # of a Hugging Face image folder\n"
            "whatever/else.txt"
        ),
        licence="your own",
        irregularities=(
            (
                "As in every layout, images are carried unchanged, and told, if their names say that they are "
                "labels of others (`depth/01.png` beside `rgb/01.jpg`, `01_cs.png` beside `01.png`), if they are "
                "palette images or have not 8 bits a channel, and if their pixels are coded depth, normals, "
                "coordinates or pictures of optical flow. A folder is judged by a sample of its files."
            ),
            (
                "Folders of fewer than 256 colours, or without any colour in a lossless container, are taken for "
                "labels too, if at least one other image remains for four of them; so are images in hidden "
                "folders."
            ),
            (
                '`--as-image "depth/*"` says that images are a camera\'s all the same, and so does `--include` if '
                "it picks such images alone. Masks as JPEG whose names tell nothing cannot be told from photos: "
                "leave them out with `--exclude`."
            ),
            (
                "Labels in a layout of one's own come along unchanged. To have them checked and shown, write an "
                "adapter: it takes about 40 lines, see CONTRIBUTING.md."
            ),
        ),
        folder="photos",
    )

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """One image file is enough."""
        images = sum(1 for path in tree if is_image(path))
        return Match("a folder with images", images) if images else None

    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Every image: which of them are no photos is found out for all layouts alike."""
        for index, path in enumerate(filter(is_image, tree)):
            yield Frame(path, sequence=path.rpartition("/")[0], index=index)

    def role(self, path: str) -> Role | None:
        """Tables about the images are known."""
        return Role.AUX if re.search(_METADATA, path, re.IGNORECASE) else None

    def load_label(self, frame: Frame, kind: str) -> Label:
        """There are no labels in this layout."""
        message = f"{frame.image}: no label '{kind}'; folders of images alone have none"
        raise DatasetError(message)
