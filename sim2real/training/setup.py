"""Build the parts of a training from its settings."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from sim2real.augment import Augment
from sim2real.capabilities import capabilities, inputs_of, names_of
from sim2real.config import Component, Config, Schedule
from sim2real.errors import PluginError, SettingsError
from sim2real.losses import adversarial
from sim2real.methods.base import Batch, Method, MethodSettings, Networks, StepLog, alone
from sim2real.networks import RangeAdapter, initialise
from sim2real.networks.range_adapter import Guided
from sim2real.registry import registry
from sim2real.training.speed import can_compile, compile_network, in_fastest_layout


def guidance(config: Config) -> Guided:
    """Return when the generators' output is only used as a guide for the final images."""
    if config.transfer.name != "guided":
        return "never"
    return "always" if config.transfer.train else "evaluating"


def build_augment(config: Config) -> Augment:
    """Return the augmentation that brings images to the size of a batch."""
    data = config.data
    return Augment(data.size, fit=data.fit, load_size=data.load_size, names=data.augment)


def build_generator(config: Config) -> nn.Module:
    """Return a generator with the initial weights of its constructor."""
    network = _build("generator", config.generator, 3, 3)
    name_classes: Callable[[Sequence[str]], None] | None = getattr(network, "name_classes", None)
    if name_classes:
        name_classes(tuple(config.classes.names))
    return network


def build_discriminator(config: Config) -> nn.Module:
    """Return a discriminator for the images of a batch, with the initial weights of its constructor."""
    width, height = config.data.size
    return _build("discriminator", config.discriminator, 3, (height, width))


def _build(kind: str, component: Component, *sizes: object, place: str = "") -> nn.Module:
    network: nn.Module = registry().create(
        f"{kind}s", component.name, *sizes, options=component.options, place=f"{place or kind}.options"
    )
    if kind == "generator":
        capabilities(network, component.name)
    else:
        inputs_of(network, f"the discriminator '{component.name}'")
    return network


def _build_other(config: Config, name: str) -> tuple[nn.Module, bool]:
    """Return the network of ``[networks.NAME]``, and whether it is a generator."""
    if name not in config.networks:
        named = ", ".join(config.networks) or "none"
        message = f"networks.{name}: the method '{config.method.name}' needs this network; those set are: {named}"
        raise SettingsError(f"{message}; set networks.{name}.name")
    component, (width, height), place = config.networks[name], config.data.size, f"networks.{name}"
    if any(entry.name == component.name for entry in registry().entries("discriminators")):
        return _build("discriminator", component, 3, (height, width), place=place), False
    return _build("generator", component, 3, 3, place=place), True


def lengths(config: Config, images: int) -> tuple[int, int]:
    """Return the steps of the whole training and of an epoch; ``images`` are those of the larger domain."""
    epoch = math.ceil(images / config.data.batch_size)
    return config.train.steps or (config.train.epochs or 1) * epoch, epoch


def require_equal_shares(config: Config, processes: int) -> None:
    """Make sure that a batch can be divided into equal parts.

    Raises:
        SettingsError: If it cannot; the message names the next batch size that can.
    """
    size, parts = config.data.batch_size, processes * config.train.gradient_accumulation_steps
    if size % parts:
        message = (
            f"data.batch_size = {size}: {processes} processes x train.gradient_accumulation_steps = "
            f"{parts // processes} need a multiple of {parts}; the next is {math.ceil(size / parts) * parts}"
        )
        raise SettingsError(message, topic="many-machines")


def rate(schedule: Schedule, step: int, total: int) -> float:
    """Return the factor of the learning rates in a step, counted from 0: linear warm-up, constant, linear decay."""
    warm = (step + 1) / schedule.warmup if schedule.warmup else 1.0
    if not schedule.decay:
        return min(1.0, warm)
    decaying = total * schedule.decay / (schedule.constant + schedule.decay)
    return min(1.0, warm, (total - step) / decaying)


def build_method(
    config: Config,
    device: str,
    precision: str,
    *,
    average: Callable[[Sequence[Tensor]], None] = alone,
    rank: int = 0,
) -> Method:
    """Return the training method with its networks on the device, initialised from torch's global random state.

    Args:
        config: All settings.
        device: The resolved device.
        precision: The resolved precision.
        average: Replaces tensors by their means over all processes of the training, in place.
        rank: Number of this process.

    Raises:
        Sim2RealError: If a component does not exist or does not fit the settings.
    """
    compiled = config.compile is True  # ``"auto"`` is resolved before, see sim2real.training.precision

    def ready(network: nn.Module, *, returns_images: bool) -> RangeAdapter:
        initialise(network, config.init)
        ranged = RangeAdapter(network, returns_images=returns_images, guided=guidance(config))
        if device != "cpu":  # it is there already; meta tensors cannot be moved, see sim2real.training.foresight
            ranged.to(device)
        in_fastest_layout(network, device)
        if compiled and can_compile(ranged, config):
            compile_network(ranged)
        return ranged

    settings = MethodSettings(
        adversarial=adversarial(config.losses.adversarial),
        terms={
            name: (term.weight, registry().create("losses", name, options=term.options, place=f"losses.{name}.options"))
            for name, term in config.losses.terms().items()
        },
        generator_lr=config.optim.generator_lr,
        discriminator_lr=config.optim.discriminator_lr,
        betas=config.optim.betas,
        image_pool_size=config.image_pool_size,
        device=device,
        precision=precision,
        seed=config.seed,
        regularization=config.discriminator.regularization,
        max_grad_norm=config.optim.max_grad_norm,
        gradient_accumulation_steps=config.train.gradient_accumulation_steps,
        average=average,
        rank=rank,
        classes=tuple(config.classes.names),
    )

    def other(name: str) -> RangeAdapter:
        network, returns_images = _build_other(config, name)
        return ready(network, returns_images=returns_images)

    networks = Networks(
        generator=lambda: ready(build_generator(config), returns_images=True),
        discriminator=lambda: ready(build_discriminator(config), returns_images=False),
        build=other,
    )
    name = config.method.name
    target = registry().load("methods", name)
    _require_child(name, of=target if isinstance(target, type) else Method)
    method: Method = registry().create(
        "methods", name, networks, settings, options=config.method.options, place="method.options"
    )
    _require_child(name, of=type(method))
    _require_whole(name, method)
    _require_computed(name, method)
    for generator in method.generators.values():
        stride = getattr(generator, "stride", 1)
        if any(side % stride for side in config.data.size):
            size = list(config.data.size)
            message = f"data.size = {size}: the generator '{config.generator.name}' needs multiples of {stride}"
            raise SettingsError(message)
    return method


def _require_child(name: str, *, of: type) -> None:
    """Make sure that the class of a method is a subclass of ``Method``.

    Raises:
        PluginError: If it is not.
    """
    if not issubclass(of, Method):
        message = f"the method '{name}' must be a subclass of sim2real.methods.base.Method"
        raise PluginError(f"{message}, create its optimisers with self.optimization.add, and define step and evaluate")


def _require_whole(name: str, method: Method) -> None:
    """Make sure that a method has everything it needs.

    Raises:
        PluginError: If something is missing.
    """
    if not hasattr(method, "settings"):
        raise PluginError(f"the method '{name}' does not call super().__init__(settings)")
    for attribute in ("generators", "networks"):
        if not getattr(method, attribute, None):
            raise PluginError(f"the method '{name}' has no {attribute}, see sim2real.methods.base.Method")
    if "sim2real" not in method.generators:
        raise PluginError(f"the method '{name}' has no generators['sim2real'], which a training must produce")
    for own in ("step", "evaluate"):
        if getattr(type(method), own) is getattr(Method, own):
            raise PluginError(f"the method '{name}' does not define {own}, see sim2real.methods.base.Method")


def require_scalars(name: str, log: object) -> None:
    """Make sure that a method's step returned a ``StepLog`` of scalar losses.

    Raises:
        PluginError: If it did not.
    """
    if not isinstance(log, StepLog):
        raise PluginError(f"the method '{name}' returns a {type(log).__name__} from step, not a StepLog")
    for loss, value in log.losses.items():
        if not isinstance(value, Tensor) or value.shape != ():
            what = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise PluginError(f"the method '{name}' logs {what} as '{loss}', not a tensor of a single number")


def _require_computed(name: str, method: Method) -> None:
    """Make sure that the method computes what the losses need.

    Raises:
        SettingsError: If it does not.
        PluginError: If a loss declares its needs as in earlier versions.
    """
    if method.reads is not None and "losses" not in method.reads:
        return
    for term, (_, loss) in method.settings.terms.items():
        if hasattr(loss, "needs_identity"):
            message = f"the loss '{term}' has needs_identity, which is now needs = ('identity_sim', 'identity_real')"
            raise PluginError(f"{message}: the fields of sim2real.losses.LossInputs that it uses")
        needs = names_of(loss, f"the loss '{term}'", "needs")
        missing = [each for each in needs if each not in method.computes | _ALWAYS]
        if missing:
            raise SettingsError(
                f"losses.{term}: it needs '{missing[0]}', which the method '{name}' does not compute; turn it off: "
                f"losses.{term} = 0"
            )


_ALWAYS = frozenset({"sim", "sim_inputs", "real_inputs"})


class Average(AveragedModel):
    """The exponential moving average of a network's weights and buffers: ``decay * average + (1 - decay) * network``.

    It starts as the network after its first step. Torch's own update gives the same result, but copies a counter to the
    device in each step, which waits for a GPU.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Update the average after a step of the network."""
        averages, newest = [], []
        for average, new in zip(_tensors(self.module), _tensors(model), strict=True):
            if average.is_floating_point():
                averages.append(average)
                newest.append(new)
            else:  # a batch norm's count of batches
                average.copy_(new)
        torch._foreach_lerp_(averages, newest, 1 - self.decay if self.n_averaged else 1.0)
        self.n_averaged += 1


def take_step(method: Method, averages: Mapping[str, AveragedModel], batch: Batch) -> StepLog:
    """Train on a batch: update the networks and then the averages of the generators."""
    log = method.step(batch)
    for direction, average in averages.items():
        average.update_parameters(method.generators[direction].network)
    return log


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    return chain(network.parameters(), network.buffers())


def build_averages(config: Config, method: Method) -> dict[str, Average]:
    """Return the exponential moving averages of the generators by direction; empty if ``ema_decay`` is 0."""
    if not config.ema_decay:
        return {}
    return {
        direction: Average(generator.network, config.ema_decay) for direction, generator in method.generators.items()
    }
