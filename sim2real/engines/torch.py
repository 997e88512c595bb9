"""The built-in engine: PyTorch on the CPU or a GPU."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sim2real.capabilities import PAST, Capabilities, blank_inputs, capabilities
from sim2real.datasets.inputs import Inputs
from sim2real.devices import is_out_of_memory, release_memory
from sim2real.engines.base import EngineSettings
from sim2real.engines.numerics import prepared
from sim2real.errors import CannotCompileError, OutOfMemoryError, Sim2RealError
from sim2real.networks.bilateral import exact, shrink, slice_pictures
from sim2real.threads import usable_cores

_MOST_STREAMS = 16
_KEPT_TONES = 4  # sizes of images for which tones are cached
_NOT_FINITE = "the generator returns values that are not finite; use --precision fp32 or another model"
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchEngine:
    """Runs a generator on whole images, which are padded by reflection to its stride, cropped again, never resized.

    Labels are padded like their images.

    Args:
        generator: Generator of images in [-1, 1], with sides that its attribute ``stride`` (1 if absent) divides. For
            its other attributes see :mod:`sim2real.capabilities`.
        settings: Device, precision and sizes to compile for; equal settings give equal bytes in every run.

    Attributes:
        streams: 2 on CUDA GPUs, so that one thread copies while the other computes; the number of usable cores, at most
            16, if the generator works on the CPU, whatever the device; otherwise 1.
        fixed_size: That of the generator's capabilities.

    Raises:
        CannotCompileError: If the generator cannot be compiled for the sizes in the settings.
    """

    takes_seeds = True
    takes_inputs = True

    def __init__(self, generator: nn.Module, settings: EngineSettings) -> None:
        self._can = capabilities(generator)
        self.fixed_size = self._can.fixed_size
        self._device = torch.device("cpu" if self._can.cpu_only else settings.device)
        self._type = _TYPES[settings.precision]
        channels_last = settings.channels_last or (settings.precision != "fp32" and self._device.type != "mps")
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        self._stride: int = getattr(generator, "stride", 1)
        self._generator = prepared(generator).to(self._device).to(memory_format=self._layout)
        if self._can.cpu_only:
            self.streams = min(usable_cores(), _MOST_STREAMS)
        else:
            self.streams = 2 if self._device.type == "cuda" else 1
        tones: Callable[[int, int], Tensor | None] | None = getattr(self._generator, "tones", None)
        self._tones = tones and lru_cache(_KEPT_TONES)(tones)
        self._own = threading.local()
        self._compiled: dict[tuple[int, int], Callable[..., Tensor]] = {}
        for width, height in settings.compile:
            self._compiled[width, height] = torch.compile(self._generator, dynamic=False)
            try:
                blank = blank_inputs(self._can, height, width, settings.batch_size)
                self(np.zeros((settings.batch_size, height, width, 3), np.uint8), inputs=blank)
            except OutOfMemoryError:
                raise
            except Exception as error:  # compilers raise all kinds of errors
                reason = (str(error).strip().splitlines() or [""])[0]
                message = f"the generator cannot be compiled here: {type(error).__name__}: {reason}"
                raise CannotCompileError(message) from error

    @torch.inference_mode()
    def __call__(
        self,
        images: NDArray[np.uint8],
        *,
        inputs: Inputs = MappingProxyType({}),
        seeds: NDArray[np.uint64] | None = None,
    ) -> NDArray[np.uint8]:
        """Translate RGB images.

        Args:
            images: (N, H, W, 3), or clips, (N, T, H, W, 3), for a generator of clips.
            inputs: Labels and earlier frames for the generator, see :class:`sim2real.engines.base.Engine`.
            seeds: A seed for each image, (N,); not passed on to generators without random choices.

        Returns:
            RGB of the same shape.

        Raises:
            OutOfMemoryError: If the device has too little memory.
            Sim2RealError: If the network returns values that are not finite.
        """
        height, width = images.shape[-3:-1]
        if self._can.by_grids and (width, height) not in self._compiled:
            return self.apply_grids(images, self.grids(images, seeds=seeds), seeds=seeds)
        padded = torch.from_numpy(_padded(images, self._stride, -3)).movedim(-1, -3)
        more: dict[str, Any] = {"seeds": seeds} if self._can.stochastic else {}
        with self._at_work(images):
            if self._can.takes_inputs:
                more["inputs"] = as_tensors(self._can, inputs, self._device, self._stride)
            pixels = self._translate(padded, height, width, **more)
        return pixels.movedim(-3, -1).contiguous().numpy()

    @torch.inference_mode()
    def grids(
        self,
        images: NDArray[np.uint8],
        *,
        inputs: Inputs = MappingProxyType({}),  # noqa: ARG002  same interface as GuidedEngine
        seeds: NDArray[np.uint64] | None = None,
    ) -> NDArray[np.float32]:
        """Return the grids that a generator predicts for images; see ``by_grids`` of its capabilities.

        Args:
            images: (N, H, W, 3).
            inputs: Not used.
            seeds: A seed for each image, (N,).

        Returns:
            Grids (N, 12, D, h, w).
        """
        with self._at_work(images):
            pictures = torch.from_numpy(images).movedim(-1, -3).to(self._device)
            if seen_size := getattr(self._generator, "seen_size", None):
                with exact(pictures):
                    pictures = shrink(pictures, torch.tensor(seen_size(*images.shape[1:3])))
            grids: Callable[..., Tensor] = self._generator.grids  # type: ignore[assignment]
            found: NDArray[np.float32] = grids(self._as_input(pictures), seeds).float().cpu().numpy()
        return found

    @torch.inference_mode()
    def apply_grids(
        self, images: NDArray[np.uint8], grids: NDArray[np.float32], *, seeds: NDArray[np.uint64] | None = None
    ) -> NDArray[np.uint8]:
        """Apply grids to images (N, H, W, 3); with the grids of :meth:`grids`, the result equals that of a call."""
        with self._at_work(images):
            pictures, made = torch.from_numpy(images).to(self._device), torch.from_numpy(grids).to(self._device)
            if not torch.isfinite(made).all():
                raise Sim2RealError(_NOT_FINITE)
            tones = self._tones(*images.shape[1:3]) if self._tones else None
            if tones is not None:
                with exact(pictures):
                    sliced: NDArray[np.uint8] = slice_pictures(made, pictures, tones).cpu().numpy()
                return sliced
            apply_grids: Callable[..., Tensor] = self._generator.apply_grids  # type: ignore[assignment]
            pixels = self._as_pixels(apply_grids(self._as_input(pictures.movedim(-1, -3)), made, seeds)).cpu()
        return pixels.movedim(-3, -1).contiguous().numpy()

    @contextmanager
    def _at_work(self, images: NDArray[np.uint8]) -> Iterator[None]:
        """Return the context for computations, which reports a lack of memory as ``OutOfMemoryError``."""
        try:
            with (
                torch.autocast(self._device.type, self._type, enabled=self._type != torch.float32),
                torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
                self._stream(),
            ):
                yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            release_memory(str(self._device))
            height, width = images.shape[-3:-1]
            message = (
                f"{len(images)} images of {width}x{height} at once need more memory than {self._device} has; "
                "use a smaller --batch-size, --tile, or --device cpu"
            )
            raise OutOfMemoryError(message) from error

    def _translate(self, images: Tensor, height: int, width: int, **more: Any) -> Tensor:  # noqa: ANN401  passed on
        """Return translations of padded images, uint8 (N, 3, H, W), cropped to this size, on the host."""
        network = self._compiled.get((width, height), self._generator)
        outputs: Tensor = network(self._as_input(images.to(self._device)), **more)
        return self._as_pixels(outputs[..., :height, :width]).cpu()

    def _as_input(self, images: Tensor) -> Tensor:
        layout = self._layout if images.dim() == 4 else torch.contiguous_format
        return images.to(torch.float32, memory_format=layout).div_(127.5).sub_(1)

    def _as_pixels(self, outputs: Tensor) -> Tensor:
        values = outputs.float()
        if not torch.isfinite(torch.stack(values.aminmax())).all():
            raise Sim2RealError(_NOT_FINITE)
        return values.add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)

    def _stream(self) -> AbstractContextManager[object]:
        """Return the context of the thread's own stream on a CUDA GPU, an empty context on other devices."""
        if self._device.type != "cuda":
            return nullcontext()
        if not hasattr(self._own, "stream"):
            self._own.stream = torch.cuda.Stream(self._device)
        return torch.cuda.stream(self._own.stream)


def as_tensors(can: Capabilities, inputs: Inputs, device: torch.device, stride: int = 1) -> dict[str, Tensor]:
    """Convert an engine's inputs to those of a generator.

    Args:
        can: Capabilities of the generator, which name its inputs.
        inputs: Labels and earlier frames; others than the generator's are ignored.
        device: Device of the tensors.
        stride: Number to whose multiples height and width are padded, by reflection.
    """
    found = {
        kind: torch.from_numpy(np.ascontiguousarray(_padded(inputs[kind], stride, -2))).to(device)
        for kind in can.inputs
    }
    for kind in PAST if can.context else ():
        frames = torch.from_numpy(_padded(inputs[kind], stride, -3)).to(device)
        found[kind] = frames.movedim(-1, -3).float().div(127.5).sub(1).contiguous()
    return found


def _padded(values: NDArray[Any], stride: int, axis: int) -> NDArray[Any]:
    """Pad by reflection until the stride divides both sides; ``axis`` is that of the height."""
    edges = [(0, 0)] * values.ndim
    for place in (axis, axis + 1):
        edges[place] = (0, -values.shape[place] % stride)
    return np.pad(values, edges, mode="reflect")
