"""Processes that exit when their parent exits, however it does."""

import multiprocessing
import os
import sys
import threading
import time

_OFTEN = 0.1  # seconds


def end_with_parent() -> None:
    """Exit this process immediately, without cleanup, when its parent process exits.

    Linux offers ``prctl(PR_SET_PDEATHSIG)``, but that would also fire when only the thread exits that started this
    process.
    """
    threading.Thread(target=_end_after, args=(os.getppid(),), name="end with parent", daemon=True).start()


def _end_after(parent: int) -> None:
    if process := multiprocessing.parent_process():  # the true parent, even with a fork server
        process.join()
    elif sys.platform == "win32":
        import psutil  # noqa: PLC0415  only on Windows

        psutil.Process(parent).wait()
    else:
        while os.getppid() == parent:
            time.sleep(_OFTEN)
    os._exit(1)
