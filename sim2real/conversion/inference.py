"""The generator at work on frames of any size, with what is done when memory does not suffice."""

from typing import TYPE_CHECKING

from sim2real.engines.base import Engine, EngineSettings
from sim2real.model import load_generator
from sim2real.registry import registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sim2real.conversion.plan import Plan


class Inference:
    """Translates batches of frames as a plan's record says.

    Attributes:
        streams: How many threads may call it at once to their advantage.
    """

    def __init__(self, plan: "Plan") -> None:
        generator, _ = load_generator(plan.model)
        settings = EngineSettings(device=plan.device, precision=plan.record.precision)
        self._engine: Engine = registry().load("engines", plan.record.engine)(generator, settings)
        self.streams: int = getattr(self._engine, "streams", 1)

    def __call__(self, images: "NDArray[np.uint8]") -> "tuple[NDArray[np.uint8], tuple[str, ...]]":
        """Translate frames of one size, RGB (N, H, W, 3).

        Returns:
            RGB of the same shape, and what the manifest is to note of these frames, one phrase each.

        Raises:
            Sim2RealError: It cannot be done.
        """
        return self._engine(images), ()
