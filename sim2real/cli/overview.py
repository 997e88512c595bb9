"""The order of the commands in the help, in groups, and an example of each that works."""

from collections.abc import Mapping
from typing import Final

EXAMPLES: Final[Mapping[str, str]] = {
    "demo": "sim2real demo",
    "init": "sim2real init vkitti/ kitti/",
    "inspect": "sim2real inspect vkitti/ --against kitti/",
    "compare": "sim2real compare vkitti/ kitti/",
    "batch": "sim2real batch vkitti/ kitti/ converted/",
    "help": "sim2real help halos",
    "train": "sim2real train vkitti/ kitti/ --run runs/vkitti",
    "recipes": "sim2real recipes default",
    "import": "sim2real import checkpoints/gta2city/latest_net_G_A.pth",
    "import-frames": "sim2real import-frames vkitti/ translated/ --run runs/teacher",
    "preview": "sim2real preview runs/vkitti vkitti/ -n 8",
    "convert": "sim2real convert vkitti/ converted/ --model runs/vkitti",
    "export": "sim2real export runs/vkitti model.onnx",
    "datasets": "sim2real datasets vkitti2",
    "hypersim-previews": "sim2real hypersim-previews hypersim/",
    "verify": "sim2real verify converted/",
    "evaluate": "sim2real evaluate converted/ --real kitti/",
    "report": "sim2real report converted/",
    "plugins": "sim2real plugins new spectral",
}

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "Start": ("demo", "init", "inspect", "compare", "batch", "help"),
    "Train": ("train", "recipes", "import", "import-frames"),
    "Convert": ("preview", "convert", "export", "datasets", "hypersim-previews"),
    "Judge": ("verify", "evaluate", "report"),
    "Extend": ("plugins",),
}
OTHERS: Final = "From plugins"
"""The group of commands that plugins add."""


def group_of(name: str) -> str:
    """Return the group of a command."""
    return next((title for title, names in GROUPS.items() if name in names), OTHERS)
