"""The interface of engines."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSettings:
    """How to run a generator; all automatic choices are already resolved.

    Attributes:
        device: ``"cpu"``, ``"cuda"``, ``"cuda:i"`` or ``"mps"``.
        precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``.
        batch_size: Number of images in most calls.
        channels_last: Whether fp32 images lie in memory pixel by pixel instead of channel by channel; those in other
            precisions always do.
        compile: Sizes (W, H) that occur often enough for the engine to spend a minute on optimising itself for them.
        calibration: Images spread over the dataset, for engines that calibrate themselves; may be empty.
        read_inputs: Returns the labels that the generator sees for one of the ``calibration`` images, on its pixels,
            kind -> array; each call reads the files again.
    """

    device: str
    precision: str
    batch_size: int = 1
    channels_last: bool = False
    compile: tuple[tuple[int, int], ...] = ()
    calibration: tuple[Path, ...] = ()
    read_inputs: "Callable[[Path], Mapping[str, NDArray[Any]]]" = field(default=lambda _path: {})


def ways_to_compute(device: str, precisions: "Iterable[str]") -> dict[str, EngineSettings]:
    """Return how a network can be computed in some precisions, by name, in the order of the precisions."""
    ways = {}
    for precision in precisions:
        ways[precision] = EngineSettings(device=device, precision=precision)
        if precision == "fp32" and not device.startswith("mps"):
            ways["fp32 in channels-last layout"] = replace(ways[precision], channels_last=True)
    return ways


class Engine(Protocol):
    """Translates images; constructed from a generator, for images in [-1, 1], and the settings.

    The attribute ``streams: int`` (1 if absent) is the number of threads that may usefully call the engine at once, and
    ``notes: tuple[str, ...]`` (empty if absent) has messages for the user, one line each. A class with the attribute
    ``by_name_only = True`` is never selected automatically.

    Two more attributes of the class say which generators it can run. Without them, the engine is called only with
    images, and used for generators that need nothing else:

    - ``takes_seeds = True``: the engine is called with a keyword ``seeds``, uint64 (N,), one for each image; a
      generator's random choices for an image depend only on its seed.
    - ``takes_inputs = True``: the engine is called with a keyword ``inputs``, a mapping with the generator's kinds of
      labels (``sim2real.datasets.inputs``), (N, ...), on the pixels of the images. For generators with a ``context``,
      it also has ``past_images`` and ``past_outputs``, RGB uint8 (N, j, H, W, 3). For generators with a ``clip_length``
      T, images are clips, (N, T, H, W, 3), and labels (N, T, ...).
    """

    def __call__(self, images: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
        """Translate a batch of images of any size; the result for an image does not depend on the others.

        Args:
            images: RGB, (N, H, W, 3).

        Returns:
            RGB of the same shape, in newly allocated memory.

        Raises:
            OutOfMemoryError: If the batch needs more memory than there is; fewer or smaller images may fit.
            Sim2RealError: If the images cannot be translated for a reason that the user can fix.
        """
