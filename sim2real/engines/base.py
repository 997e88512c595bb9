"""The contract of an engine."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSettings:
    """How to run a generator; nothing is left to choose.

    Attributes:
        device: ``"cpu"``, ``"cuda"``, ``"cuda:i"`` or ``"mps"``.
        precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``.
        batch_size: How many pictures most calls bring.
        compile: Sizes (W, H) of pictures that are many enough for the engine to spend a minute on making itself faster.
        calibration: Pictures spread over the dataset, for engines that calibrate themselves; may be empty.
    """

    device: str
    precision: str
    batch_size: int = 1
    compile: tuple[tuple[int, int], ...] = ()
    calibration: tuple[Path, ...] = ()


class Engine(Protocol):
    """Translates pictures; made from a generator, which takes and makes images in [-1, 1], and the settings.

    Its attribute ``streams: int`` (1 if absent) says how many threads may call it at once to their advantage, and
    ``notes: tuple[str, ...]`` (none if absent) what the user is to know of it, a line each. A class with the attribute
    ``by_name_only = True`` is never chosen automatically.

    A class with the attribute ``takes_seeds = True`` (False if absent) runs generators that draw at random, too: it is
    called with a keyword ``seeds``, uint64 (N,), a number for each picture, which alone decides what is drawn for it.
    One without is called with the images alone, and runs no such generator.
    """

    def __call__(self, images: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
        """Translate a batch of any size of picture; what becomes of one does not depend on the others.

        Args:
            images: RGB, (N, H, W, 3).

        Returns:
            RGB of the same shape, in memory of its own.

        Raises:
            OutOfMemoryError: So many pictures of this size need more memory than there is; fewer or smaller may not.
            Sim2RealError: It cannot be done, and the user can mend it.
        """
