"""What a training method is to the loop that runs it, and what methods share."""

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
"""What a loss is."""
Losses = dict[str, Tensor]
"""Scalars by name."""
Inputs = Mapping[str, Tensor]
"""Labels of images by kind, (N, ...) or of clips (N, T, ...), as :mod:`sim2real.datasets.inputs` has them."""

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Batch:
    """Images of both domains, drawn independently, with the labels that somebody asked for.

    Attributes:
        sim: Simulated images, (N, 3, H, W) float32 in [-1, 1]; of a run that trains on clips (N, T, 3, H, W), T
            consecutive frames each.
        real: Real images, likewise.
        sim_inputs: Labels of the simulated images on the same pixels, kind -> (N, ...) or (N, T, ...): shapes, types
            and units are those of :mod:`sim2real.datasets.inputs`. Only kinds that a component asks for.
        real_inputs: Labels of the real images, likewise; empty where they have none, or nobody asks for them.
    """

    sim: Tensor
    real: Tensor
    sim_inputs: Inputs = field(default_factory=dict)
    real_inputs: Inputs = field(default_factory=dict)

    def split(self, count: int) -> "list[Batch]":
        """So many batches of equally many images of each domain.

        Raises:
            ValueError: The images cannot be shared out equally.
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
    """The losses of one step by name: detached scalars, left on the device until somebody prints them."""

    losses: Mapping[str, Tensor]


def _no_other(name: str) -> RangeAdapter:
    raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Networks:
    """Makes the networks of a method: each call a new one, initialised, on the device, in the program's [-1, 1].

    Attributes:
        generator: Makes that of ``[generator]``.
        discriminator: Makes that of ``[discriminator]``.
        build: Makes that of ``[networks.NAME]``, by its name.
    """

    generator: Callable[[], RangeAdapter]
    discriminator: Callable[[], RangeAdapter]
    build: Callable[[str], RangeAdapter] = _no_other


def alone(_tensors: Sequence[Tensor]) -> None:
    """The mean over all processes of a training that has only one."""


@dataclass(frozen=True, slots=True)
class MethodSettings:
    """What every method is told.

    Attributes:
        adversarial: The two sides of the adversarial loss.
        terms: The other terms of the generators' loss: name -> (weight, loss).
        generator_lr: Adam's step size for generators; likewise ``discriminator_lr``.
        betas: Adam's decay rates.
        image_pool_size: Fakes that each discriminator's pool holds; 0 shows it the newest ones only.
        device: Where the networks are, e.g. ``"cpu"`` or ``"cuda:0"``.
        precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``: what convolutions compute in; weights are always float32.
        seed: Seeds what the method itself samples at random.
        regularization: What keeps the discriminators in check.
        max_grad_norm: Greatest norm of the gradients that one optimiser follows; 0: any.
        gradient_accumulation_steps: Equal parts in which a batch goes through the networks, their gradients averaged
            before the update.
        average: Turns tensors into their means over all processes of the training, in place. ``Optimization`` does so
            with gradients; a method with whatever else must be equal in all.
        rank: Number of this process, from 0: others draw other random numbers.
        classes: Names of the classes of the run, where something sees masks or boxes and they are known yet.
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
        """The fields of ``LossInputs`` that the terms need."""
        return frozenset(name for _, loss in self.terms.values() for name in getattr(loss, "needs", ()))

    def autocast(self) -> AbstractContextManager[Any]:
        """The context in which networks compute in the wanted precision."""
        kind = torch.device(self.device).type
        return torch.autocast(kind, _AUTOCAST.get(self.precision, torch.bfloat16), enabled=self.precision in _AUTOCAST)

    def weighted(self, images: LossInputs) -> Losses:
        """The terms of the generators' loss, each with its weight.

        Raises:
            PluginError: A loss gives no tensor of a single number.
        """
        return {name: weight * _scalar(name, loss(images)) for name, (weight, loss) in self.terms.items()}


def _scalar(name: str, loss: object) -> Tensor:
    if not isinstance(loss, Tensor) or loss.shape != ():
        what = f"a tensor {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
        raise PluginError(f"the loss '{name}' gives {what}, not a tensor of a single number")
    return loss


class Stateful(Protocol):
    """Something that can be saved."""

    def state_dict(self) -> Mapping[str, Any]:
        """All of it, as tensors and plain values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> object:
        """Take back what ``state_dict`` gave."""


class RankState(Protocol):
    """Something of which a part is another one in each process."""

    def rank_state_dict(self) -> Mapping[str, Any]:
        """That part, as tensors and plain values."""

    def load_rank_state_dict(self, state: Mapping[str, Any]) -> object:
        """Take back what ``rank_state_dict`` gave."""


class Method:
    """One way to train translators. A subclass sets the networks, makes its optimisers and defines :meth:`step`.

    Attributes:
        computes: Names of the fields of ``LossInputs`` that it can give to losses, besides ``sim`` and the labels.
        reads: Settings that it has a use for, of those that not every method has: sections or dotted keys of ``pool``,
            ``discriminator``, ``discriminator``, ``losses``, ``optim``, ``schedule``,
            ``train.gradient_accumulation_steps``, ``networks``. A user who sets another one is told so. None: it may
            have a use for all of them.
        inputs: Kinds of labels that it asks for itself: of the simulated images, which must have them, and of the real
            ones where these have them.
        clip_length: How many consecutive frames it asks for.
        sides: Name of a network -> the sides whose images it sees (``"sim"``, ``"real"``); both where it is not told.
            A network that has ``inputs`` needs the labels of these.
        generators: ``"sim2real"`` and, where the method trains it, ``"real2sim"`` -> network.
        networks: Every network by its name (``G_sim2real``, ``D_real``, ...).
        discriminators: Names of those networks that judge images; its log has their losses under the same names.
        optimization: Its optimisers.
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
        """The generators' losses on a batch, nothing updated and nothing drawn from the training's random numbers."""
        raise NotImplementedError

    def samples(self, generators: Mapping[str, nn.Module], batch: Batch) -> list[Tensor]:
        """What a sample picture shows of a batch, from left to right.

        Args:
            generators: Those that the training is for, as ``self.generators``.
            batch: Held-out images.
        """
        return [batch.sim, generators["sim2real"](batch.sim, batch.sim_inputs), batch.real]

    def scale_learning_rates(self, factor: float) -> None:
        """Set every learning rate to its setting times a factor in [0, 1]."""
        self.optimization.scale_learning_rates(factor)

    def reach(self, share: float) -> None:
        """Learn how much of the training is over, from 0 to below 1; called before each step."""

    def stateful(self) -> Mapping[str, Stateful]:
        """What is saved of it and is equal in all processes, besides networks and optimisers, by name."""
        return {}

    def own(self) -> Mapping[str, RankState]:
        """What is saved of it and is another one in each process, by name."""
        return {}

    def _parts(self) -> dict[str, Stateful]:
        return {**self.networks, **self.stateful(), "optimization": self.optimization}

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs and is equal in all its processes, as tensors and plain values."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state_dict`` gave."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def rank_state_dict(self) -> dict[str, Any]:
        """The rest, which is another one in each process: the newest losses, and what was sampled at random."""
        return {"latest": self.latest.copy(), **{name: part.rank_state_dict() for name, part in self.own().items()}}

    def load_rank_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``rank_state_dict`` gave."""
        latest = fit(dict[str, Scalar], state["latest"])
        self.latest = {name: loss.to(self.settings.device) for name, loss in latest.items()}
        for name, part in self.own().items():
            part.load_rank_state_dict(state[name])


def frozen(*networks: nn.Module) -> AbstractContextManager[None]:
    """Networks through which gradients flow but which collect none; what was frozen before stays so."""
    return at_rest(weights for network in networks for weights in network.parameters())


def sum_of(terms: Losses) -> Tensor:
    """The sum of scalar terms."""
    return torch.stack([*terms.values()]).sum()


def detached(terms: Losses) -> Losses:
    """Their values alone."""
    return {name: term.detach() for name, term in terms.items()}


def means(parts: Sequence[Losses]) -> Losses:
    """The mean of each of the losses over parts of a batch."""
    return {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
