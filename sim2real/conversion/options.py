"""What may be said about a conversion."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sim2real.conversion.embedding import Inside
from sim2real.conversion.gate import Rejected
from sim2real.devices import usable_cores
from sim2real.errors import SettingsError
from sim2real.model import CameraChoice

Carry = Literal["copy", "hardlink", "symlink"]
EncodingChoice = Literal["fixed", "source", "real"]
"""How JPEG files are written.

``fixed``: all with one quality, baseline, chroma not subsampled. ``source``: each with the quantisation tables, the
sampling of chroma and the mode of its own source file. ``real``: with those of most of the real images that the model
was trained on.
"""


TransferChoice = Literal["direct", "guided"]
"""How what the generator paints becomes the frame's, see :class:`sim2real.config.Transfer`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvertOptions:
    """What the user may say about a conversion; the defaults convert everything.

    Attributes:
        model: Run folder or generator file; None for the newest run.
        runs: Folder of the runs.
        direction: ``"sim2real"`` or ``"real2sim"``; None for what the model does, sim2real for a run.
        dataset: Registered layout of the source; None to recognise it.
        include: Globs of paths; if there are any, only files that fit one, of whatever role, are converted or carried.
        exclude: Globs of paths that are left out.
        as_image: Globs of images that are a camera's, whatever their names and pixels tell; what an earlier conversion
            into the same folder was told is not forgotten.
        limit: Translate only so many frames, the first ones, and leave out the images of the others.
        carry: ``"copy"``, ``"hardlink"`` or ``"symlink"`` for all files but those that change.
        resize: Bring images to this size (W, H) in pixels, and with them all that depends on it; None: as they are.
        transfer: How what the generator paints becomes the frame's; None: as the model says.
        neighbours: Over how many frames before and behind it what is done to a frame of a sequence is averaged, where
            the transfer is guided or the generator paints by grids; None: as the model says.
        camera: Whether frames are as the model's camera takes them; None: where it has one.
        labelme_image: What becomes of photos inside of label files, see :data:`sim2real.conversion.embedding.Inside`.
        encoding: How JPEG files are written, see :data:`EncodingChoice`.
        quality: Of JPEG, 1 to 100, where the encoding is ``"fixed"``; None: 95.
        batch_size: Frames at once; None for what suits the device.
        engine: Registered engine; ``"auto"`` is the fastest that makes torch's picture.
        device: See ``sim2real.devices``.
        precision: See ``sim2real.devices``.
        tile: ``"auto"``: frames that memory does not suffice for are translated in tiles; ``"off"``: none; or the side
            of the tiles in pixels, for all frames.
        shard: This process's number, from 0, and how many processes share the work; None for a process of its own.
        workers: Threads that decode and encode, and as many that carry; None for what suits the machine.
        overwrite: Convert anew what an earlier conversion left in the folder.
        keep_going: Go on after a file that cannot be converted or carried.
        gate: What every translation must fulfil, see :func:`sim2real.conversion.gate.parse_gate`
            and :func:`sim2real.conversion.gate.find_metrics`; nothing if empty.
        rejected: What becomes of those that do not, see :data:`sim2real.conversion.gate.Rejected`.
        look: Which of several looks is made, from 0: what a generator samples at random is sampled anew for each.
        looks: How many there are to be.
    """

    model: Path | None = None
    runs: Path = Path("runs")
    direction: str | None = None
    dataset: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    as_image: tuple[str, ...] = ()
    limit: int | None = None
    carry: Carry = "copy"
    resize: tuple[int, int] | None = None
    transfer: TransferChoice | None = None
    neighbours: int | None = None
    camera: CameraChoice | None = None
    labelme_image: Inside = "keep"
    encoding: EncodingChoice = "fixed"
    quality: int | None = None
    batch_size: int | None = None
    engine: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    tile: str = "auto"
    shard: tuple[int, int] | None = None
    workers: int | None = None
    overwrite: bool = False
    keep_going: bool = False
    gate: tuple[str, ...] = ()
    rejected: Rejected = "quarantine"
    look: int = 0
    looks: int = 1

    @property
    def tile_side(self) -> int:
        """The side of tiles that the user names; 0 if none.

        Raises:
            SettingsError: It is none.
        """
        if self.tile in {"auto", "off"}:
            return 0
        if not self.tile.isdecimal() or int(self.tile) < 16:
            raise SettingsError(f"--tile {self.tile}: say auto, off, or the side of the tiles in pixels, 16 or more")
        return int(self.tile)

    @property
    def threads(self) -> int:
        """How many threads decode and encode, and as many carry."""
        return self.workers or min(usable_cores(), 16)
