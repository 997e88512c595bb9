"""A small street world, rendered with complete labels in the layout of Virtual KITTI 2.

The same geometry is rendered in two looks, `sim` and `real`, so that a translation that is learnt from unpaired images
can be measured against paired ground truth.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim2real_toytown.render import Frame, render_frame
    from sim2real_toytown.writer import render_dataset

__all__ = ["Frame", "render_dataset", "render_frame"]

_LAZY = {
    "Frame": "sim2real_toytown.render",
    "render_dataset": "sim2real_toytown.writer",
    "render_frame": "sim2real_toytown.render",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    message = f"module 'sim2real_toytown' has no attribute '{name}'"
    raise AttributeError(message)
