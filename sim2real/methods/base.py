"""The interface between training methods and the training loop, and code that the methods share."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from sim2real.config import Regularization
from sim2real.errors import PluginError
from sim2real.losses import Adversarial, LossInputs
from sim2real.methods.optimization import Optimization
from sim2real.networks import RangeAdapter
from sim2real.networks.blocks import at_rest
from sim2real.stored import Rule, fit

Scalar = Annotated[Tensor, Rule("a single number", lambda tensor: tensor.shape == () and tensor.is_floating_point())]
"""The value of a loss: a floating-point tensor without dimensions."""
Losses = dict[str, Tensor]
"""Scalars by name."""
Inputs = Mapping[str, Tensor]
"""Labels of images (N, ...) or clips (N, T, ...) by kind, as defined in :mod:`sim2real.datasets.inputs`."""

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Batch:
    """Independently sampled images of both domains, with the labels that components request.

    Attributes:
        sim: Simulated images, (N, 3, H, W) float32 in [-1, 1]; (N, T, 3, H, W) in runs that train on clips, with T
            consecutive frames each.
        real: Real images, in the same format.
        sim_inputs: Labels of the simulated images on the same pixels, kind -> (N, ...) or (N, T, ...), with the shapes,
            types and units of :mod:`sim2real.datasets.inputs`. Contains only the kinds that a component requests.
        real_inputs: Labels of the real images, in the same format; empty if there are none or no component requests
            them.
    """

    sim: Tensor
    real: Tensor
    sim_inputs: Inputs = field(default_factory=dict)
    real_inputs: Inputs = field(default_factory=dict)

    def split(self, count: int) -> "list[Batch]":
        """Split the batch into ``count`` batches of equal size.

        Raises:
            ValueError: If the images cannot be split into equal parts.
        """
        size, rest = divmod(len(self.sim), count)
        if rest:
            message = f"{len(self.sim)} images cannot be split into {count} equal parts"
            raise ValueError(message)
        return [self._part(slice(first, first + size)) for first in range(0, len(self.sim), size)]

    def _part(self, part: slice) -> "Batch":
        sims, reals = (
            {kind: values[part] for kind, values in each.items()} for each in (self.sim_inputs, self.real_inputs)
        )
        return Batch(self.sim[part], self.real[part], sims, reals)


@dataclass(frozen=True, slots=True)
class StepLog:
    """The losses of one step by name: detached scalars, which stay on the device until they are printed."""

    losses: Mapping[str, Tensor]


def _no_other(name: str) -> RangeAdapter:
    raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Networks:
    """Factories for the networks of a method.

    Every call returns a new, initialised network on the device, for images in [-1, 1].

    Attributes:
        generator: Builds the network of ``[generator]``.
        discriminator: Builds the network of ``[discriminator]``.
        build: Builds the network of ``[networks.NAME]``, by its name.
    """

    generator: Callable[[], RangeAdapter]
    discriminator: Callable[[], RangeAdapter]
    build: Callable[[str], RangeAdapter] = _no_other


def alone(_tensors: Sequence[Tensor]) -> None:
    """Do nothing: the mean over all processes in a training with a single process."""


@dataclass(frozen=True, slots=True)
class MethodSettings:
    """The settings that every method receives.

    Attributes:
        adversarial: The two sides of the adversarial loss.
        terms: The other terms of the generators' loss: name -> (weight, loss).
        generator_lr: Learning rate of the generators.
        discriminator_lr: Learning rate of the discriminators.
        betas: Adam's decay rates.
        image_pool_size: Number of fakes in each discriminator's pool; 0 shows it only the newest ones.
        device: Device of the networks, e.g. ``"cpu"`` or ``"cuda:0"``.
        precision: Type in which convolutions are computed: ``"fp32"``, ``"bf16"`` or ``"fp16"``; weights are always
            float32.
        seed: Seed of the method's own random numbers.
        regularization: Regularisation of the discriminators.
        max_grad_norm: Maximum norm of the gradients of one optimiser; 0: no limit.
        gradient_accumulation_steps: Number of equal parts in which a batch goes through the networks; their gradients
            are averaged before the update.
        average: Replaces tensors by their means over all processes of the training, in place. ``Optimization`` calls it
            for gradients; methods call it for everything else that must be equal in all processes.
        rank: Number of this process, from 0; it selects the random numbers of the process.
        classes: Names of the classes of the run, if a component sees masks or boxes and they are already known.
    """

    adversarial: Adversarial
    terms: Mapping[str, tuple[float, Callable[[LossInputs], Tensor]]]
    generator_lr: float
    discriminator_lr: float
    betas: tuple[float, float]
    image_pool_size: int
    device: str
    precision: str
    seed: int
    regularization: Regularization = field(default_factory=Regularization)
    max_grad_norm: float = 0.0
    gradient_accumulation_steps: int = 1
    average: Callable[[Sequence[Tensor]], None] = alone
    rank: int = 0
    classes: tuple[str, ...] = ()

    @property
    def needs(self) -> frozenset[str]:
        """Fields of ``LossInputs`` that the terms need."""
        return frozenset(name for _, loss in self.terms.values() for name in getattr(loss, "needs", ()))

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which networks compute in the configured precision."""
        kind = torch.device(self.device).type
        return torch.autocast(kind, _AUTOCAST.get(self.precision, torch.bfloat16), enabled=self.precision in _AUTOCAST)

    def weighted(self, images: LossInputs) -> Losses:
        """Return the weighted terms of the generators' loss.

        Raises:
            PluginError: If a loss does not return a scalar tensor.
        """
        return {name: weight * _scalar(name, loss(images)) for name, (weight, loss) in self.terms.items()}


def _scalar(name: str, loss: object) -> Tensor:
    if not isinstance(loss, Tensor) or loss.shape != ():
        what = f"a tensor {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
        raise PluginError(f"the loss '{name}' gives {what}, not a tensor of a single number")
    return loss


class Stateful(Protocol):
    """An object whose state can be saved."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return the whole state as tensors and plain values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> object:
        """Restore the state that ``state_dict`` returned."""


class RankState(Protocol):
    """An object with a state that differs between processes."""

    def rank_state_dict(self) -> Mapping[str, Any]:
        """Return the state of this process as tensors and plain values."""

    def load_rank_state_dict(self, state: Mapping[str, Any]) -> object:
        """Restore the state that ``rank_state_dict`` returned."""


class Method:
    """Base class of training methods.

    A subclass sets ``generators`` and ``networks``, adds its optimisers to ``optimization`` and defines :meth:`step`
    and :meth:`evaluate`.

    Attributes:
        computes: Fields of ``LossInputs`` that the method can provide to losses, besides ``sim`` and the labels.
        reads: Settings that the method uses, among those that not every method uses: sections or dotted keys of
            ``image_pool_size``, ``discriminator``, ``losses``, ``optim``, ``schedule``,
            ``train.gradient_accumulation_steps``, ``networks``. Setting any other of them is an error. None: the method
            may use all of them.
        inputs: Kinds of labels that the method itself requests: of the simulated images, which must have them, and of
            the real images if these have them.
        clip_length: Number of consecutive frames that the method requests.
        sides: Name of a network -> the sides whose images it sees (``"sim"``, ``"real"``); both if it is missing here.
            A network with ``inputs`` needs the labels of these sides.
        generators: ``"sim2real"`` and, if the method trains it, ``"real2sim"`` -> network.
        networks: Every network by its name (``G_sim2real``, ``D_real``, ...).
        discriminators: Names of the networks that judge images; their losses are logged under the same names.
        optimization: The optimisers.
        latest: The newest losses by name.
    """

    computes: ClassVar[frozenset[str]] = frozenset()
    reads: ClassVar[frozenset[str] | None] = None
    inputs: tuple[str, ...] = ()
    clip_length: int = 1
    sides: Mapping[str, tuple[str, ...]] = {}
    discriminators: tuple[str, ...] = ()
    generators: Mapping[str, RangeAdapter]
    networks: Mapping[str, nn.Module]

    def __init__(self, settings: MethodSettings) -> None:
        self.settings = settings
        self.optimization = Optimization(settings)
        self.latest: Losses = {}

    def step(self, batch: Batch) -> StepLog:
        """Update all networks once."""
        raise NotImplementedError

    def evaluate(self, batch: Batch) -> StepLog:
        """Return the generators' losses on a batch, without updates and without using the training's random numbers."""
        raise NotImplementedError

    def samples(self, generators: Mapping[str, nn.Module], batch: Batch) -> list[Tensor]:
        """Return the images of a sample grid for a batch, from left to right.

        Args:
            generators: The generators to show, in the form of ``self.generators``.
            batch: Held-out images.
        """
        return [batch.sim, generators["sim2real"](batch.sim, batch.sim_inputs), batch.real]

    def scale_learning_rates(self, factor: float) -> None:
        """Set every learning rate to its configured value times a factor in [0, 1]."""
        self.optimization.scale_learning_rates(factor)

    def reach(self, share: float) -> None:
        """Receive the completed share of the training, from 0 to below 1; called before each step."""

    def stateful(self) -> Mapping[str, Stateful]:
        """Return the saved objects that are equal in all processes, by name, without networks and optimisers."""
        return {}

    def own(self) -> Mapping[str, RankState]:
        """Return the saved objects that differ between processes, by name."""
        return {}

    def _parts(self) -> dict[str, Stateful]:
        return {**self.networks, **self.stateful(), "optimization": self.optimization}

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a resumed training needs and that is equal in all processes."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that ``state_dict`` returned."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def rank_state_dict(self) -> dict[str, Any]:
        """Return the state that differs between processes: the newest losses, and the objects of :meth:`own`."""
        return {"latest": self.latest.copy(), **{name: part.rank_state_dict() for name, part in self.own().items()}}

    def load_rank_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that ``rank_state_dict`` returned."""
        latest = fit(dict[str, Scalar], state["latest"])
        self.latest = {name: loss.to(self.settings.device) for name, loss in latest.items()}
        for name, part in self.own().items():
            part.load_rank_state_dict(state[name])


def frozen(*networks: nn.Module) -> AbstractContextManager[None]:
    """Return a context in which gradients flow through networks but are not accumulated in them.

    Weights that were frozen before stay frozen afterwards.
    """
    return at_rest(weights for network in networks for weights in network.parameters())


def sum_of(terms: Losses) -> Tensor:
    """Return the sum of scalar terms."""
    return torch.stack([*terms.values()]).sum()


def detached(terms: Losses) -> Losses:
    """Return the terms detached from the graph."""
    return {name: term.detach() for name, term in terms.items()}


def means(parts: Sequence[Losses]) -> Losses:
    """Return the mean of each loss over the parts of a batch."""
    return {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
