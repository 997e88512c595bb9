"""Devices and precisions, and the meaning of ``auto`` for both.

Torch is imported only when a device is queried, so that other errors are reported at once.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import psutil

if sys.platform != "win32":
    import resource

from sim2real.errors import SettingsError

if TYPE_CHECKING:
    from torch import Tensor

Precision = Literal["fp32", "bf16", "fp16"]


def resolve_device(device: str) -> str:
    """Resolve ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:i"`` or ``"mps"`` to a device; ``"auto"`` prefers a GPU.

    Raises:
        SettingsError: If there is no such device; the message lists the available ones.
    """
    there = devices()
    if device == "auto":
        return next((kind for kind in ("cuda", "mps") if kind in map(kind_of, there)), "cpu")
    if device in there or (device == "cuda" and "cuda:0" in there):
        return device
    raise SettingsError(
        f"device '{device}': no such device; available: {', '.join(map(_introduced, there))}", topic="no-gpu-is-found"
    )


def devices() -> list[str]:
    """Return the devices of this machine: ``"cpu"``, ``"cuda:0"``, ``"cuda:1"`` ... and ``"mps"`` (Apple GPU)."""
    import torch

    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return ["cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]


def _introduced(device: str) -> str:
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})" if kind_of(device) == "cuda" else device


def kind_of(device: str) -> str:
    """Return the type of a device: ``"cpu"``, ``"cuda"`` or ``"mps"``."""
    return device.partition(":")[0]


def resolve_precision(precision: str, device: str) -> Precision:
    """Resolve ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp16"`` to the precision on a resolved device.

    ``"auto"`` is bf16 on devices with native bf16 multiplication, else fp32. Trainings and conversions only
    try it: they take the precision that is faster on their own networks.

    Raises:
        SettingsError: If there is no such precision, or the device does not support it.
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

    if kind_of(device) == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device == "mps":  # bf16 matrix products are no faster
        return False
    if not hasattr(torch.cpu, "get_capabilities"):  # an older torch does not report them
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def free_memory(device: str) -> int:
    """Return the free bytes of a resolved device; for the CPU, within the limits of its container."""
    import torch

    main = min([int(psutil.virtual_memory().available), *_container_memory()])
    match kind_of(device):
        case "cuda":
            return int(torch.cuda.mem_get_info(device)[0])
        case "mps":  # shares the main memory, with a limit
            return min(main, torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return main


def peak_memory(device: str) -> int:
    """Return the peak memory of this process in bytes, main memory and a resolved device together."""
    if sys.platform == "win32":
        main = int(psutil.Process().memory_info().peak_wset)
    else:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        main = most if sys.platform == "darwin" else most * 1024
    return main + (_peak(device) if device != "cpu" else 0)


def peak_memory_of_networks(device: str) -> int:
    """Return the peak bytes reserved for networks on a resolved device; on the CPU, of the whole process."""
    return peak_memory(device) if device == "cpu" else _peak(device, reserved=True)


def _peak(device: str, *, reserved: bool = False) -> int:
    """Return the peak bytes of a GPU; for Apple GPUs, which record no peak, the current ones."""
    import torch

    if kind_of(device) == "mps":
        return torch.mps.driver_allocated_memory() if reserved else torch.mps.current_allocated_memory()
    return torch.cuda.max_memory_reserved(device) if reserved else torch.cuda.max_memory_allocated(device)


def release_memory(device: str) -> None:
    """Release the device memory that PyTorch has cached."""
    import torch

    match kind_of(device):
        case "cuda":
            torch.cuda.empty_cache()
        case "mps":
            torch.mps.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means out of memory; PyTorch has a special exception only for some devices."""
    import torch

    messages = ("DefaultCPUAllocator", "can't allocate memory", "MPS backend out of memory", "Invalid buffer size")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in str(error) for words in messages)


def random_state(device: str) -> "Tensor | None":
    """Return the state of a GPU's random number generator; None for the CPU."""
    import torch

    match kind_of(device):
        case "cuda":
            return torch.cuda.get_rng_state(device)
        case "mps":
            return torch.mps.get_rng_state()
    return None


def set_random_state(device: str, state: "Tensor") -> None:
    """Restore a state returned by :func:`random_state`."""
    import torch

    match kind_of(device):
        case "cuda":
            torch.cuda.set_rng_state(state, device)
        case "mps":
            torch.mps.set_rng_state(state)


def _container_memory() -> list[int]:
    """Return the free bytes in the control groups of this process; cached files count as free."""
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
