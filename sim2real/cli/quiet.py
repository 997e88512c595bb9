"""Libraries keep to themselves what they warn of: what is worth knowing is told by the commands, in a line.

Errors are shown as ever. Whoever asks for more gets it: with ``python -W`` or ``PYTHONWARNINGS``, or with the
variables that libraries have for it.
"""

import logging
import os
import sys
import warnings
from typing import Final

_VARIABLES: Final = {  # that libraries read when they are imported, in all processes that begin here
    "TORCH_LOGS": "-all",  # of errors alone
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "OPENCV_LOG_LEVEL": "SILENT",  # what cannot be decoded is named by who opens it; bugs are raised
    "OPENCV_FFMPEG_LOGLEVEL": "-8",  # likewise
}
_NONE: Final = "ignore"


def keep_libraries_quiet() -> None:
    """Show no warnings of libraries, in this process and in those that it begins, unless the user asks for them."""
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, value)
    if sys.warnoptions in ([], [_NONE]):  # the user's wish, or that of the command that begins this one
        warnings.showwarning = _show_nothing  # rather than a filter: libraries lay their own over it
        os.environ["PYTHONWARNINGS"] = _NONE  # of processes that begin here
    if logging.lastResort:  # prints what is logged where nobody has said what becomes of it
        logging.lastResort.setLevel(logging.ERROR)


def _show_nothing(*_: object, **__: object) -> None:
    pass
