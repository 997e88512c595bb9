"""Check the contract of a training method, above all that a resumed training continues with equal numbers."""

import copy
import io
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor, nn

from sim2real.config.layers import OF_METHODS
from sim2real.errors import SettingsError
from sim2real.losses import Cycle, LossInputs, adversarial
from sim2real.methods.base import Batch, Method, MethodSettings, Networks
from sim2real.networks import RangeAdapter, initialise
from sim2real.networks.discriminators import Patch
from sim2real.networks.generators import ResNet
from sim2real.testing.samples import CLASSES, sample_inputs

_SIZE: Final = (32, 32)
_NO_MORE: Final[Mapping[str, Callable[[], nn.Module]]] = MappingProxyType({})
_FIELDS: Final = frozenset(LossInputs.__annotations__)


def check_method(
    target: Callable[..., Method],
    *,
    generator: Callable[[], nn.Module] | None = None,
    discriminator: Callable[[], nn.Module] | None = None,
    networks: Mapping[str, Callable[[], nn.Module]] = _NO_MORE,
    **options: Any,  # noqa: ANN401  the target's
) -> None:
    """Make sure that a method keeps the contract of ``register_methods``, on images of 32x32 pixels.

    Args:
        target: The object that the plugin registers.
        generator: Makes a generator; default: a small ``resnet``.
        discriminator: Makes a discriminator; default: a small ``patch``.
        networks: Make the networks of ``[networks.NAME]``, by name.
        options: Options of the target.

    Raises:
        AssertionError: If it does not; the message says why.
    """
    who = getattr(target, "__name__", repr(target))
    made = _networks(generator or _resnet, discriminator or _patch, networks)
    first = _method(target, made, options, seed=0)
    _require_names(who, first)
    batches = [_batch(first, seed) for seed in range(5)]
    before = _weights(first)
    for batch in batches[:2]:
        _require_losses(who, "step", first.step(batch).losses)
    if before.numel() and torch.equal(before, _weights(first)):
        raise AssertionError(f"{who}: two steps change no weight of its generators")
    _require_idle_evaluation(who, first, batches[2])
    second = _method(target, made, options, seed=1)
    second.load_state_dict(_saved(who, first.state_dict()))
    second.load_rank_state_dict(_saved(who, first.rank_state_dict()))
    random = torch.get_rng_state()
    wanted = [first.step(batch).losses for batch in batches[2:4]]
    torch.set_rng_state(random)
    found = [second.step(batch).losses for batch in batches[2:4]]
    for number, (one, other) in enumerate(zip(wanted, found, strict=True), 1):
        if differing := [name for name, loss in one.items() if name not in other or not torch.equal(loss, other[name])]:
            raise AssertionError(
                f"{who}: step {number} after its states were restored has another '{differing[0]}' "
                f"({float(one[differing[0]]):.6g}, {_number(other.get(differing[0]))}): a part of it is in neither "
                "state_dict nor rank_state_dict"
            )
    if not torch.equal(_weights(first), _weights(second)):
        raise AssertionError(f"{who}: a resumed training has other weights than an uninterrupted one")
    first.scale_learning_rates(0.0)
    before = _weights(first)
    first.step(batches[4])
    if not torch.equal(before, _weights(first)):
        raise AssertionError(f"{who}: its generators still learn after scale_learning_rates(0)")
    _require_samples(who, first, batches[4])


def _networks(
    generator: Callable[[], nn.Module],
    discriminator: Callable[[], nn.Module],
    more: Mapping[str, Callable[[], nn.Module]],
) -> Networks:
    def further(name: str) -> RangeAdapter:
        if name not in more:
            raise SettingsError(f"networks.{name}: the method needs it: check_method(..., networks={{'{name}': ...}})")
        return _ready(more[name](), images=True)

    return Networks(lambda: _ready(generator(), images=True), lambda: _ready(discriminator(), images=False), further)


def _method(target: Callable[..., Method], networks: Networks, options: Mapping[str, Any], *, seed: int) -> Method:
    """Return a new method whose weights depend on the seed."""
    torch.manual_seed(seed)
    computes: frozenset[str] = getattr(target, "computes", frozenset())
    settings = MethodSettings(
        adversarial=adversarial("lsgan"),
        terms={"cycle": (10.0, Cycle())} if {"cycled_sim", "cycled_real"} <= computes else {},
        generator_lr=1e-3,
        discriminator_lr=1e-3,
        betas=(0.5, 0.999),
        image_pool_size=2,
        device="cpu",
        precision="fp32",
        seed=0,
        classes=tuple(map(str, range(CLASSES))),
    )
    return target(networks, settings, **options)


def _resnet() -> nn.Module:
    return ResNet(3, 3, width=4, blocks=1)


def _patch() -> nn.Module:
    return Patch(3, _SIZE, width=4)


def _ready(network: nn.Module, *, images: bool) -> RangeAdapter:
    initialise(network, "normal")
    return RangeAdapter(network, returns_images=images)


def _batch(method: Method, seed: int) -> Batch:
    random = torch.Generator().manual_seed(seed)
    length = max(getattr(each, "clip_length", 1) for each in (method, *method.networks.values()))
    lead = (2,) if length == 1 else (2, length)
    kinds = {kind for each in (method, *method.networks.values()) for kind in getattr(each, "inputs", ())}
    sim, real = (torch.rand(*lead, 3, *_SIZE, generator=random) * 2 - 1 for _ in range(2))
    return Batch(sim, real, *(sample_inputs(sorted(kinds), lead, _SIZE, seed=2 * seed + side) for side in (0, 1)))


def _require_names(who: str, method: Method) -> None:
    if "sim2real" not in method.generators:
        raise AssertionError(f"{who}: generators has no 'sim2real'")
    known = {id(network) for network in method.networks.values()}
    if lost := [name for name, network in method.generators.items() if id(network) not in known]:
        raise AssertionError(f"{who}: the generator '{lost[0]}' is not among its networks")
    if unknown := [name for name in method.discriminators if name not in method.networks]:
        raise AssertionError(
            f"{who}: discriminators names '{unknown[0]}'; its networks are {', '.join(method.networks)}"
        )
    if unknown := sorted(method.computes - _FIELDS):
        raise AssertionError(f"{who}: computes names '{unknown[0]}'; LossInputs has {', '.join(sorted(_FIELDS))}")
    for setting in method.reads or ():
        if not any(setting == each or setting.startswith(f"{each}.") for each in OF_METHODS):
            raise AssertionError(f"{who}: reads names '{setting}', which is not one of {', '.join(OF_METHODS)}")


def _require_losses(who: str, where: str, losses: Mapping[str, Tensor]) -> None:
    for name, loss in losses.items():
        if not isinstance(loss, Tensor) or loss.shape != () or loss.requires_grad:
            raise AssertionError(f"{who}: the loss '{name}' of {where} is not a detached tensor of a single number")
        if not loss.isfinite():
            raise AssertionError(f"{who}: the loss '{name}' of {where} is {float(loss)}")


def _require_idle_evaluation(who: str, method: Method, batch: Batch) -> None:
    states = copy.deepcopy((method.state_dict(), method.rank_state_dict()))
    random = torch.get_rng_state()
    _require_losses(who, "evaluate", method.evaluate(batch).losses)
    if not torch.equal(random, torch.get_rng_state()):
        raise AssertionError(f"{who}: evaluate uses the training's random number generator")
    if not _equal((method.state_dict(), method.rank_state_dict()), states):
        raise AssertionError(f"{who}: evaluate changes its state")


def _equal(one: object, other: object) -> bool:
    """Return whether two nested states are equal."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_equal(part, other[name]) for name, part in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


def _require_samples(who: str, method: Method, batch: Batch) -> None:
    with torch.no_grad():
        samples = method.samples(method.generators, batch)
    if not samples or any(not isinstance(each, Tensor) or len(each) != len(batch.sim) for each in samples):
        raise AssertionError(f"{who}: samples must return a list of tensors with one image per image of the batch")


def _saved(who: str, state: Mapping[str, Any]) -> Any:  # noqa: ANN401  any state
    """Return the state after saving and loading a checkpoint."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    try:
        return torch.load(file, weights_only=True)
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise AssertionError(f"{who}: its state must consist of tensors and plain values: {text}") from error


def _weights(method: Method) -> Tensor:
    weights = [each.detach().flatten() for part in method.generators.values() for each in part.parameters()]
    return torch.cat(weights) if weights else torch.empty(0)


def _number(loss: Tensor | None) -> str:
    return "none" if loss is None else f"{float(loss):.6g}"
