"""What a method trains a critic with, whichever method and whichever critic."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sim2real.methods.base import MethodSettings
from sim2real.methods.pool import ImagePool
from sim2real.networks import Ranged


class Opponent:
    """A critic of one domain, with the pool of fakes that it is shown.

    Args:
        network: The critic: images in [-1, 1] -> scores.
        settings: Of the method.
        scale: Factor of its adversarial loss.
        seed: Seeds what it draws.
    """

    def __init__(self, network: Ranged, settings: MethodSettings, *, scale: float, seed: int) -> None:
        self.network = network
        self.settings = settings
        self.scale = scale
        self.weights: tuple[float, ...] | None = getattr(network, "score_weights", None)
        self.pool = ImagePool(settings.pool, seed=seed)

    def fooled(self, fakes: Tensor) -> Tensor:
        """What the generator of the fakes loses."""
        with self.settings.autocast():
            scores = self.network(fakes)
        return self.settings.adversarial.generator(scores, self.weights)

    def loss(self, images: Tensor, fakes: Tensor) -> Tensor:
        """What the critic loses by images of its domain, and by fakes, of which some are exchanged for older ones."""
        fakes = self.pool(fakes.detach())
        with self.settings.autocast():
            judged_images, judged_fakes = self.network(images), self.network(fakes)
        return self.scale * self.settings.adversarial.discriminator(judged_images, judged_fakes, self.weights)

    def own_state_dict(self) -> dict[str, Any]:
        """What it drew at random."""
        return {"pool": self.pool.state_dict()}

    def load_own_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``own_state_dict`` gave."""
        self.pool.load_state_dict(state["pool"])
