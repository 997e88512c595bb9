"""Folders that hold both domains: A is the simulation (or the paintings), B is real."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import ClassVar, Final, Literal

from sim2real.datasets.base import Adapter, Frame, Match, Role, Tree
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import Label
from sim2real.errors import DatasetError
from sim2real.imageio import ANY_SUFFIX

_IMAGE: Final = rf"[^/]+{ANY_SUFFIX}"
_SPLITS: Final[Mapping[str, Literal["train", "test"] | None]] = {"train": "train", "test": "test", "": None}


class _TwoSides(Adapter):
    """Base class of both layouts: folders of images of one side each, without labels.

    Attributes:
        folders: Pattern of these folders, with groups ``domain`` and ``split``, which may be empty.
        sim: The domain, in lower case, that is the simulation.
    """

    counted: ClassVar = True
    ordered: ClassVar[bool] = False
    knows_images: ClassVar = True
    folders: ClassVar[str]
    sim: ClassVar[str]

    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Yield every image with its side and, where the folder states it, its split."""
        for index, image in enumerate(tree.find(self.folders, _IMAGE)):
            yield Frame(
                image.path,
                sequence=image.path.rpartition("/")[0],
                index=index,
                side="sim" if image["domain"].lower() == self.sim else "real",
                split=_SPLITS[image["split"].lower()],
            )

    def load_label(self, frame: Frame, kind: str) -> Label:
        """Raise an error: this layout has no labels."""
        raise DatasetError(f"{frame.image}: no label '{kind}'; this layout has images only")


class CycleGAN(_TwoSides):
    """CycleGAN folders: trainA, trainB and optionally testA, testB.

    This is the layout of the datasets of junyanz/pytorch-CycleGAN-and-pix2pix. A is the simulation, B is real.
    """

    name: ClassVar = "cyclegan"
    facts: ClassVar = Facts(
        title="CycleGAN folders",
        about="Two unpaired sets of images in one folder: A is the simulation (or the paintings), B is real.",
        size="It depends on the dataset; those of the paper have a few thousand images of 256x256.",
        get="`bash ./datasets/download_cyclegan_dataset.sh monet2photo` in "
        "<https://github.com/junyanz/pytorch-CycleGAN-and-pix2pix> fetches one of apple2orange, horse2zebra, "
        "summer2winter_yosemite, monet2photo, cezanne2photo, ukiyoe2photo, vangogh2photo, maps, cityscapes, "
        "facades, iphone2dslr_flower, ae_photos. Put your own images into the same four folders.",
        tree="trainA/*.jpg\ntrainB/*.jpg\ntestA/*.jpg\ntestB/*.jpg",
        licence="that of the images; see the page of the dataset",
        irregularities=(
            "`testA` and `testB` may be missing; subfolders of the four are searched, and case is ignored.",
            (
                "One folder holds both sides of a training: `--swap` makes B the simulation, and `convert --direction "
                "real2sim` translates from B to A."
            ),
            "The published counts of monet2photo are inconsistent; no count is checked.",
        ),
        side=None,
        folder="monet2photo",
        recipe="monet2photo",
    )

    folders = r"(?P<split>train|test)(?P<domain>[AB])(?:/.*)?"
    sim = "a"

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Match at least two of the four folders, next to each other, with images."""
        found = list(tree.find(cls.folders, _IMAGE))
        sides: dict[str, set[str]] = defaultdict(set)
        for image in found:
            sides[image.base].add(image["split"].lower() + image["domain"].upper())
        best = max(sides.values(), key=len, default=set())
        return Match(" and ".join(sorted(best)), len(found)) if len(best) >= 2 else None


class KaggleMonet(_TwoSides):
    """Kaggle's gan-getting-started: monet_jpg and photo_jpg; TFRecords of the same images are carried unread.

    Monet's paintings are side A, as in monet2photo, and take the place of the simulation.
    """

    name: ClassVar = "kaggle-monet"
    facts: ClassVar = Facts(
        title="Kaggle: I'm Something of a Painter Myself",
        about="Paintings by Monet and photos.",
        size="300 paintings and about 7,000 photos of 256x256.",
        get="`kaggle competitions download -c gan-getting-started`, see "
        "<https://www.kaggle.com/competitions/gan-getting-started>.",
        tree="monet_jpg/*.jpg\nphoto_jpg/*.jpg\n{monet_tfrec,photo_tfrec}/*.tfrec",
        licence="the rules of the competition",
        irregularities=(
            (
                "The paintings are side A, as in monet2photo, and take the place of the simulation. Photos become "
                "paintings with `convert --direction real2sim`."
            ),
            "The TFRecords hold the same images; they are carried unread.",
            "The folder has 7,038 photos, whereas the competition's page says 7,028.",
        ),
        side=None,
        folder="gan-getting-started",
        recipe="monet2photo",
    )

    folders = r"(?P<domain>monet|photo)_jpg(?P<split>)"
    sim = "monet"

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Match both folders if they have images."""
        found = list(tree.find(cls.folders, _IMAGE))
        if len({image["domain"].lower() for image in found}) < 2:
            return None
        return Match("monet_jpg and photo_jpg", len(found))

    def role(self, path: str) -> Role | None:
        """Return STALE for the records, which duplicate the old images."""
        return Role.STALE if path.lower().endswith(".tfrec") else None
