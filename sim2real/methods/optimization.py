"""What every method does alike with its gradients, from the parts of a batch to the step of an optimiser."""

from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sim2real.errors import PluginError
from sim2real.stored import MisfitError

if TYPE_CHECKING:
    from sim2real.methods.base import MethodSettings


class Optimization:
    """The Adam optimisers of a method, and all that goes with them.

    A method names what it trains by :meth:`add`, once. In each step it goes through the :meth:`parts` of the batch, of
    each loss it calls :meth:`backward`, then :meth:`step` for what is to be updated, and at the end :meth:`finish`.
    Gradients are averaged over all processes of the training in :meth:`step`, and nowhere else is anything updated.

    Args:
        settings: Of the method: ``betas``, ``max_grad_norm``, ``gradient_accumulation_steps``, ``precision``,
            ``average``.
    """

    def __init__(self, settings: "MethodSettings") -> None:
        self.settings = settings
        self.scaler = torch.amp.GradScaler(torch.device(settings.device).type, enabled=settings.precision == "fp16")
        self.optimisers: dict[str, torch.optim.Adam] = {}
        self._rates: dict[str, float] = {}

    def add(self, name: str, *networks: nn.Module, lr: float) -> None:
        """Train networks by one Adam with this learning rate; its gradients are clipped together.

        Raises:
            PluginError: They have nothing to train.
        """
        weights = [*chain.from_iterable(network.parameters() for network in networks)]
        if not weights:
            named = ", ".join(type(getattr(network, "network", network)).__name__ for network in networks)
            raise PluginError(f"{named}: no weights to train; take another network, or method.name = 'fit'")
        fused = not any(weight.is_meta for weight in weights)  # of those there is nothing to compute
        self.optimisers[name] = torch.optim.Adam(weights, lr=lr, betas=self.settings.betas, fused=fused)
        self._rates[name] = lr

    def zero_grad(self) -> None:
        """Forget the gradients of the step before."""
        for optimiser in self.optimisers.values():
            optimiser.zero_grad(set_to_none=True)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a part of the batch: of its mean over all parts."""
        self.scaler.scale(loss / self.settings.gradient_accumulation_steps).backward()

    def step(self, *names: str) -> None:
        """Update what the named optimisers train, by the gradients of all parts and processes."""
        optimisers = [self.optimisers[name] for name in names]
        trained = [[*chain(*(group["params"] for group in optimiser.param_groups))] for optimiser in optimisers]
        self.settings.average([weights.grad for weights in chain(*trained) if weights.grad is not None])
        for optimiser, weights in zip(optimisers, trained, strict=True):
            if self.settings.max_grad_norm:
                self.scaler.unscale_(optimiser)
                nn.utils.clip_grad_norm_(weights, self.settings.max_grad_norm)
            self.scaler.step(optimiser)

    def finish(self) -> None:
        """End a step of training."""
        self.scaler.update()

    def scale_learning_rates(self, factor: float) -> None:
        """Set every learning rate to its own times a factor in [0, 1]."""
        for name, optimiser in self.optimisers.items():
            for group in optimiser.param_groups:
                group["lr"] = self._rates[name] * factor

    def state_dict(self) -> dict[str, Any]:
        """The states of the optimisers and of the gradient scaler."""
        states = {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()}
        return {"optimisers": states, "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state_dict`` gave.

        Raises:
            MisfitError: It is of other networks.
        """
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
            _require_fitting(optimiser)
        self.scaler.load_state_dict(state["scaler"])


def _require_fitting(optimiser: torch.optim.Optimizer) -> None:
    """Make sure that what an optimiser has taken back is of the weights that it trains, which torch does not ask."""
    for weights, moments in optimiser.state.items():
        wanted = {"step": torch.Size([]), "exp_avg": weights.shape, "exp_avg_sq": weights.shape}
        found = {name: moment.shape for name, moment in moments.items() if isinstance(moment, Tensor)}
        if moments and found != wanted:
            raise MisfitError("an optimiser's moments are of other weights")
