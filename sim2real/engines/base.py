"""The contract of an engine."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
        read_inputs: The labels of one of these that the generator sees, on its pixels, kind -> array; they are read
            anew in each call.
    """

    device: str
    precision: str
    batch_size: int = 1
    compile: tuple[tuple[int, int], ...] = ()
    calibration: tuple[Path, ...] = ()
    read_inputs: "Callable[[Path], Mapping[str, NDArray[Any]]]" = field(default=lambda _path: {})


class Engine(Protocol):
    """Translates pictures; made from a generator, which takes and makes images in [-1, 1], and the settings.

    Its attribute ``streams: int`` (1 if absent) says how many threads may call it at once to their advantage, and
    ``notes: tuple[str, ...]`` (none if absent) what the user is to know of it, a line each. A class with the attribute
    ``by_name_only = True`` is never chosen automatically.

    Two more attributes of a class say which generators it runs; where they are absent it is called with the images
    alone, and runs those that need nothing else:

    - ``takes_seeds = True``: it is called with a keyword ``seeds``, uint64 (N,), a number for each picture, which alone
      decides what a generator samples at random for it.
    - ``takes_inputs = True``: it is called with a keyword ``inputs``, a mapping that has the generator's kinds of
      labels (``sim2real.datasets.inputs``), (N, ...), on the pixels of the images. Of generators with a ``context``
      there are ``past_images`` and ``past_outputs`` too, RGB uint8 (N, j, H, W, 3); those with a ``clip_length`` T are
      given clips, (N, T, H, W, 3), with labels (N, T, ...).
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
