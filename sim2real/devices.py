"""Where networks run and with which numbers: what ``auto`` means, decided in one place.

Torch is imported when a device is asked about, not before: what is refused for other reasons is refused at once.
"""

import os
import re
import sys
from pathlib import Path
from typing import Literal, cast

import psutil

if sys.platform != "win32":
    import resource

from sim2real.errors import SettingsError

Precision = Literal["fp32", "bf16", "fp16"]


def resolve_device(device: str) -> str:
    """``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:i"`` -> the device to use; auto is the GPU where there is one.

    Raises:
        SettingsError: There is no such device.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        message = f"no device is called '{device}'; known: auto, cpu, cuda, cuda:0, cuda:1 ..."
        raise SettingsError(message)
    kind, _, index = device.partition(":")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        message = f"device '{device}': this machine offers {torch.cuda.device_count()} CUDA devices; use auto or cpu"
        raise SettingsError(message)
    return device


def resolve_precision(precision: str, device: str) -> Precision:
    """``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp16"`` -> the numbers to compute with on a resolved device.

    ``auto`` is bf16 on every device that multiplies it natively, else fp32.

    Raises:
        SettingsError: There is no such precision, or not on that device.
    """
    if precision == "auto":
        return "bf16" if _native_bf16(device) else "fp32"
    if precision not in {"fp32", "bf16", "fp16"}:
        message = f"no precision is called '{precision}'; known: auto, fp32, bf16, fp16"
        raise SettingsError(message)
    if precision == "fp16" and device == "cpu":
        raise SettingsError("precision fp16 needs a GPU; on a CPU use auto, bf16 or fp32")
    return cast("Precision", precision)


def _native_bf16(device: str) -> bool:
    import torch

    if device != "cpu":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if not hasattr(torch.cpu, "get_capabilities"):  # an older torch cannot tell
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def usable_cores() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_memory(device: str) -> int:
    """Bytes that a resolved device has free; for the CPU, within the limits that its container sets."""
    if device != "cpu":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    return min([int(psutil.virtual_memory().available), *_container_memory()])


def peak_memory(device: str) -> int:
    """The most bytes that this process has held so far, in main memory and on a resolved device together."""
    if sys.platform == "win32":
        main = int(psutil.Process().memory_info().peak_wset)
    else:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        main = most if sys.platform == "darwin" else most * 1024
    if device == "cpu":
        return main
    import torch

    return main + torch.cuda.max_memory_allocated(device)


def _container_memory() -> list[int]:
    """What the control group of this process leaves; files that it caches do not count."""
    names = {
        Path("/sys/fs/cgroup"): ("memory.max", "memory.current", "inactive_file"),
        Path("/sys/fs/cgroup/memory"): ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    }
    left = []
    for folder, (limit, usage, cache) in names.items():
        try:
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            used = int((folder / usage).read_text()) - int(stat[cache])
            left.append(int((folder / limit).read_text()) - used)
        except (OSError, ValueError, KeyError):  # no such group, or one without a limit
            continue
    return left
