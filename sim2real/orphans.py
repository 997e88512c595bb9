"""Processes that end with the one that began them, however that ended."""

import multiprocessing
import os
import sys
import threading
import time

_OFTEN = 0.1  # seconds


def end_with_parent() -> None:
    """End this process, as a kill would, as soon as the one that began it has ended.

    The kernel of Linux could see to that (``prctl(PR_SET_PDEATHSIG)``), but would also when merely the thread ends
    that began this process.
    """
    threading.Thread(target=_end_after, args=(os.getppid(),), name="end with parent", daemon=True).start()


def _end_after(parent: int) -> None:
    if process := multiprocessing.parent_process():  # behind a fork server, too, the one that wanted this process
        process.join()
    elif sys.platform == "win32":
        import psutil  # noqa: PLC0415  of Windows alone

        psutil.Process(parent).wait()
    else:
        while os.getppid() == parent:
            time.sleep(_OFTEN)
    os._exit(1)
