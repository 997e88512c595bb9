"""Options of a conversion."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sim2real.conversion.embedding import Inside
from sim2real.conversion.gate import Rejected
from sim2real.errors import SettingsError
from sim2real.model import CameraChoice
from sim2real.threads import usable_cores

Carry = Literal["copy", "hardlink", "symlink"]
EncodingChoice = Literal["fixed", "source", "real"]
"""How JPEG files are written.

``fixed``: all with one quality, baseline, without chroma subsampling. ``source``: each with the quantisation tables,
chroma subsampling and mode of its source file. ``real``: with those of most of the real images that the model was
trained on.
"""


CodecsChoice = Literal["cpu", "gpu", "auto"]
"""What decodes and encodes JPEG files, see :mod:`sim2real.imageio.nvjpeg`; ``auto``: the faster one on some frames."""

TransferChoice = Literal["direct", "guided"]
"""How the output of the generator is applied to the frame, see :class:`sim2real.config.Transfer`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvertOptions:
    """The options of a conversion; the defaults convert everything.

    Attributes:
        model: Run folder or generator file; None for the newest run.
        runs: Folder of the runs.
        direction: ``"sim2real"`` or ``"real2sim"``; None for the direction of the model, sim2real for a run.
        dataset: Registered layout of the source; None to detect it.
        include: Globs of paths; if given, only files that match one of them are converted or carried.
        exclude: Globs of paths to leave out.
        as_image: Globs of images to treat as camera images, whatever their names and pixels suggest; if empty, those of
            an earlier conversion into the same folder still apply.
        limit: Translate only the first frames, this many, and leave out the images of the others.
        carry: ``"copy"``, ``"hardlink"`` or ``"symlink"`` for all files that do not change.
        resize: Size (W, H) in pixels to resize images to, together with all files that depend on it; None to keep
            sizes.
        transfer: How the output of the generator is applied to the frame; None for the setting of the model.
        neighbours: Number of frames before and after a frame of a sequence over which its changes are averaged, if the
            transfer is guided or the generator predicts grids; None for the setting of the model.
        camera: Whether frames get the blur and noise of the model's camera; None to do so if the model has one.
        labelme_image: What is done with photos inside label files, see :data:`sim2real.conversion.embedding.Inside`.
        encoding: How JPEG files are written, see :data:`EncodingChoice`.
        quality: JPEG quality, 1 to 100, if the encoding is ``"fixed"``; None for 95.
        codecs: What decodes and encodes JPEG files, see :data:`CodecsChoice`.
        batch_size: Frames per batch; None to choose it for the device.
        engine: Registered engine; ``"auto"`` for the fastest whose pictures match torch's.
        device: See ``sim2real.devices``.
        precision: See ``sim2real.devices``.
        tile: ``"auto"`` to translate frames in tiles if they do not fit in memory, ``"off"`` for no tiles, or the side
            of the tiles in pixels, for all frames.
        shard: This process's number, from 0, and the number of processes; None if the work is not shared.
        workers: Number of threads that decode and encode, and of threads that carry; None to choose it for the machine.
        overwrite: Convert again what an earlier conversion left in the folder.
        keep_going: Continue after a file that cannot be converted or carried.
        gate: Rules that every translation must meet, see :func:`sim2real.conversion.gate.parse_gate` and
            :func:`sim2real.conversion.gate.find_metrics`; empty for none.
        rejected: What replaces translations that do not meet them, see :data:`sim2real.conversion.gate.Rejected`.
        look: Number of this look, from 0; what a generator samples at random differs between looks.
        looks: Total number of looks.
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
    codecs: CodecsChoice = "cpu"
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
        """The side of the tiles that was requested, in pixels; 0 if none was.

        Raises:
            SettingsError: If the option ``tile`` is invalid.
        """
        if self.tile in {"auto", "off"}:
            return 0
        if not self.tile.isdecimal() or int(self.tile) < 16:
            raise SettingsError(f"--tile {self.tile}: use auto, off, or the side of the tiles in pixels, 16 or more")
        return int(self.tile)

    @property
    def threads(self) -> int:
        """The number of threads that decode and encode, and of threads that carry."""
        return self.workers or min(usable_cores(), 16)
