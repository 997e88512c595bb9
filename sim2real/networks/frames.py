"""Translations that another program made, as a generator."""

from torch import Tensor, nn

from sim2real.capabilities import STUDENT
from sim2real.errors import SettingsError
from sim2real.networks.range_adapter import Inputs


class Frames(nn.Module):
    """Shows the images that another program made of frames, see :mod:`sim2real.datasets.translated`.

    Args:
        in_channels: 3.
        out_channels: 3.
        folder: The folder of these images.
        frames: Image of a frame -> path of its translation within the folder.

    Attributes:
        inputs: The translations.
        exportable: False: they are files.
        whole: Translations are not read in tiles.

    Raises:
        SettingsError: If there are other than 3 channels.
    """

    inputs = ("translation",)
    exportable = False
    export_obstacle = f"it consists of translated frames and has no network; {STUDENT}"
    whole = True

    def __init__(self, in_channels: int = 3, out_channels: int = 3, *, folder: str, frames: dict[str, str]) -> None:
        if (in_channels, out_channels) != (3, 3):
            raise SettingsError("translated frames have 3 channels")
        super().__init__()
        self.folder = folder
        self.frames = frames

    def forward(self, images: Tensor, inputs: Inputs) -> Tensor:
        """Return the translations (N, 3, H, W), in [-1, 1]."""
        return inputs["translation"].to(images.dtype)
