"""The handling of gradients that all methods share, from the parts of a batch to the step of an optimiser."""

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
    """The Adam optimisers of a method, with gradient scaling, accumulation and clipping.

    A method calls :meth:`add` once for each group of networks. In each step it calls :meth:`zero_grad`, then
    :meth:`backward` for the losses of each part of the batch, :meth:`step` for the optimisers to update, and finally
    :meth:`finish`. Only :meth:`step` updates weights; it averages gradients over all processes of the training.

    Args:
        settings: Settings of the method; used are ``betas``, ``max_grad_norm``, ``gradient_accumulation_steps``,
            ``precision``, ``average`` and ``device``.
    """

    def __init__(self, settings: "MethodSettings") -> None:
        self.settings = settings
        self.scaler = torch.amp.GradScaler(torch.device(settings.device).type, enabled=settings.precision == "fp16")
        self.optimisers: dict[str, torch.optim.Adam] = {}
        self._rates: dict[str, float] = {}

    def add(self, name: str, *networks: nn.Module, lr: float) -> None:
        """Add an Adam optimiser for networks, with this learning rate; their gradients are clipped together.

        Raises:
            PluginError: If the networks have no weights.
        """
        weights = [*chain.from_iterable(network.parameters() for network in networks)]
        if not weights:
            named = ", ".join(type(getattr(network, "network", network)).__name__ for network in networks)
            raise PluginError(f"{named}: no weights to train; use another network, or set method.name = 'fit'")
        fused = not any(weight.is_meta for weight in weights)
        self.optimisers[name] = torch.optim.Adam(weights, lr=lr, betas=self.settings.betas, fused=fused)
        self._rates[name] = lr

    def zero_grad(self) -> None:
        """Delete the gradients of the previous step."""
        for optimiser in self.optimisers.values():
            optimiser.zero_grad(set_to_none=True)

    def backward(self, loss: Tensor) -> None:
        """Accumulate the gradients of a part's loss, divided by the number of parts."""
        self.scaler.scale(loss / self.settings.gradient_accumulation_steps).backward()

    def step(self, *names: str) -> None:
        """Update the networks of the named optimisers with the gradients of all parts and processes."""
        optimisers = [self.optimisers[name] for name in names]
        trained = [[*chain(*(group["params"] for group in optimiser.param_groups))] for optimiser in optimisers]
        self.settings.average([weights.grad for weights in chain(*trained) if weights.grad is not None])
        for optimiser, weights in zip(optimisers, trained, strict=True):
            if self.settings.max_grad_norm:
                self.scaler.unscale_(optimiser)
                nn.utils.clip_grad_norm_(weights, self.settings.max_grad_norm)
            self.scaler.step(optimiser)

    def finish(self) -> None:
        """Finish a training step: update the gradient scaler."""
        self.scaler.update()

    def scale_learning_rates(self, factor: float) -> None:
        """Set every learning rate to its configured value times a factor in [0, 1]."""
        for name, optimiser in self.optimisers.items():
            for group in optimiser.param_groups:
                group["lr"] = self._rates[name] * factor

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the optimisers and of the gradient scaler."""
        states = {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()}
        return {"optimisers": states, "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that ``state_dict`` returned.

        Raises:
            MisfitError: If the state belongs to other networks.
        """
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
            _require_fitting(optimiser)
        self.scaler.load_state_dict(state["scaler"])


def _require_fitting(optimiser: torch.optim.Optimizer) -> None:
    """Check that an optimiser's restored state has the shapes of its weights, which torch does not verify."""
    for weights, moments in optimiser.state.items():
        wanted = {"step": torch.Size([]), "exp_avg": weights.shape, "exp_avg_sq": weights.shape}
        found = {name: moment.shape for name, moment in moments.items() if isinstance(moment, Tensor)}
        if moments and found != wanted:
            raise MisfitError("an optimiser's moments belong to other weights")
