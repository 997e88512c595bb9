"""Suppress the warnings of libraries; the commands report relevant ones in a line of their own.

Errors are still shown. ``python -W``, ``PYTHONWARNINGS`` and the environment variables of the libraries restore the
warnings.
"""

import logging
import os
import sys
import warnings
from typing import Final

_VARIABLES: Final = {  # read by libraries on import, also in child processes
    "TORCH_LOGS": "-all",  # only errors
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "OPENCV_LOG_LEVEL": "SILENT",  # the caller reports files that cannot be decoded; bugs are raised
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
}
_NONE: Final = "ignore"


def keep_libraries_quiet() -> None:
    """Suppress warnings of libraries in this process and its children, unless the user has asked for them."""
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, value)
    if sys.warnoptions in ([], [_NONE]):  # the user asked for nothing; _NONE comes from a parent process
        warnings.showwarning = _show_nothing  # not a filter, since libraries override filters
        os.environ["PYTHONWARNINGS"] = _NONE  # for child processes
    if logging.lastResort:  # prints records for which no handler is configured
        logging.lastResort.setLevel(logging.ERROR)


def _show_nothing(*_: object, **__: object) -> None:
    pass
