"""Check the contract of generators and discriminators on random images."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from sim2real.capabilities import capabilities
from sim2real.datasets.inputs import KINDS
from sim2real.errors import PluginError, Sim2RealError
from sim2real.networks import RangeAdapter, initialise
from sim2real.testing.samples import sample_inputs

_SIZE: Final = (64, 96)
_CLOSE: Final = 1e-3  # for images in [-1, 1]: rounding of sums in another order
_EXTRA: Final = "depth"


def check_discriminator(target: Callable[..., nn.Module], *, size: tuple[int, int] = _SIZE, **options: Any) -> None:  # noqa: ANN401  the target's
    """Make sure that a discriminator keeps the contract of ``register_discriminators``.

    Args:
        target: What the plugin registers.
        size: (H, W) of the images.
        options: The target's.

    Raises:
        AssertionError: It does not, and why.
    """
    who = _name(target)
    discriminator = _built(target, (3, size), options, images=False)
    length = _count(who, discriminator, "clip_length", 1)
    images = _batch(2, length, size).requires_grad_()
    more = _labels(who, discriminator, images.shape[:-3], size)
    scores = _scores(who, discriminator(images, **more), 2)
    weights = getattr(discriminator, "score_weights", None)
    if weights is not None and len(weights) != len(scores):
        raise AssertionError(f"{who}: score_weights has {len(weights)} weights for {len(scores)} tensors of scores")
    for place, score in enumerate(scores):
        (gradient,) = torch.autograd.grad(score.float().square().sum(), images, retain_graph=True, allow_unused=True)
        if gradient is None or not all(map(bool, gradient.flatten(1).any(dim=1))):
            raise AssertionError(f"{who}: no gradient of its scores {place} reaches the images: nothing learns from it")
    discriminator.eval()
    with torch.no_grad():
        once, again = (_scores(who, discriminator(images, **more), 2) for _ in range(2))
        if not all(map(torch.equal, once, again)):
            raise AssertionError(f"{who}: its scores for the same images differ from call to call")
    for side in (1, 2, 4, 8, 16, 32):
        _require_refusal_or_scores(who, target, side, options)


def _require_refusal_or_scores(
    who: str, target: Callable[..., nn.Module], side: int, options: Mapping[str, Any]
) -> None:
    """Make sure that images that are too small are refused in the constructor, with a message for the user."""
    size = (side, side)
    try:
        discriminator = target(3, size, **options)
    except Sim2RealError:
        return
    except Exception as error:
        raise AssertionError(f"{who}: image_size {size}: {_in_words(error)}; raise a Sim2RealError") from error
    discriminator = RangeAdapter(discriminator.eval(), returns_images=False)
    try:
        with torch.no_grad():
            images = _batch(1, _count(who, discriminator, "clip_length", 1), size)
            discriminator(images, **_labels(who, discriminator, images.shape[:-3], size))
    except Exception as error:
        raise AssertionError(
            f"{who}: accepts an image_size of {size} and fails on such images ({_in_words(error)}): refuse it in the "
            "constructor with a Sim2RealError"
        ) from error


def check_generator(target: Callable[..., nn.Module], *, size: tuple[int, int] = _SIZE, **options: Any) -> None:  # noqa: ANN401  the target's
    """Make sure that a generator keeps the contract of ``register_generators``.

    A generator with ``observe`` is shown images first, and one with ``label`` their labels. The attributes ``inputs``,
    ``stochastic``, ``clip_length`` and ``context`` are checked as declared.

    Args:
        target: What the plugin registers.
        size: (H, W) of the images, rounded up to multiples of the stride.
        options: The target's.

    Raises:
        AssertionError: It does not, and why.
    """
    who = _name(target)
    generator = _built(target, (3, 3), options, images=True)
    _require_range(who, generator.network)
    stride = _count(who, generator, "stride", 1)
    try:
        can = capabilities(generator.network, who)
    except PluginError as error:
        raise AssertionError(str(error)) from error
    size = (-(-size[0] // stride) * stride, -(-size[1] // stride) * stride)
    images = _batch(2, can.clip_length, size)
    observe: Callable[..., None] | None = getattr(generator.network, "observe", None)
    if observe:
        for seed in (1, 2):
            observe(_images(2, size, seed), _images(2, size, seed + 2))
    label: Callable[..., None] | None = getattr(generator.network, "label", None)
    if label:
        label(lambda seen: torch.zeros(seen.shape[0], *seen.shape[-2:], dtype=torch.int64))
    generator.eval()
    call = _Call(who, generator, images, stochastic=can.stochastic)
    with torch.no_grad():
        once = call(2)
        call.require_images(once)
        if not torch.equal(once, call(2)):
            hint = (
                ", although the seeds are equal"
                if can.stochastic
                else "; declare stochastic = True if it samples at random"
            )
            raise AssertionError(f"{who}: its result for the same images differs from call to call{hint}")
        if (call(1) - once[:1]).abs().max() > _CLOSE:
            raise AssertionError(f"{who}: its result for an image depends on the others in the batch, in eval mode")
        if images.shape[-2] > stride:
            call.require_images(call(2, rows=images.shape[-2] - stride))
        twin = _built(target, (3, 3), options, images=True, seed=1).eval()
        twin.network.load_state_dict(generator.network.state_dict())
        if not torch.equal(once, _Call(who, twin, images, stochastic=can.stochastic)(2)):
            raise AssertionError(
                f"{who}: another instance with the same state_dict makes other images: its state is incomplete"
            )
    _require_gradients(who, generator, call)


class _Call:
    """A call of a generator with everything that it declares."""

    def __init__(self, who: str, generator: RangeAdapter, images: Tensor, *, stochastic: bool) -> None:
        self.who = who
        self.generator = generator
        self.images = images
        self.more: dict[str, Any] = {"seeds": np.arange(7, 7 + len(images), dtype=np.uint64)} if stochastic else {}
        self.labels = _labels(who, generator, images.shape[:-3], (images.shape[-2], images.shape[-1]))
        self.context: int = getattr(generator, "context", 0)

    def __call__(self, count: int, rows: int | None = None, past: int = 0) -> Tensor:
        """Translate the first ``count`` images, or their upper rows, after ``past`` earlier images."""
        images = self._ranged(self.images[:count, ..., :rows, :])
        more = {name: values[:count] for name, values in self.more.items()}
        if self.labels:
            more |= {"inputs": {kind: values[:count, ..., :rows, :] for kind, values in self.labels["inputs"].items()}}
        if self.context:
            earlier = images[:, None].repeat_interleave(past, dim=1)
            more["inputs"] = {**more.get("inputs", {}), "past_images": earlier, "past_outputs": earlier}
        result = self.generator.network(images, **more)
        if not isinstance(result, Tensor) or result.shape != images.shape:
            what = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
            raise AssertionError(
                f"{self.who}: returns {what} for images {tuple(images.shape)}: the shape must not change"
            )
        return (result - self.generator.shift) / self.generator.scale

    def _ranged(self, images: Tensor) -> Tensor:
        return images * self.generator.scale + self.generator.shift

    def require_images(self, made: Tensor) -> None:
        """Make sure that the results are images in the declared range."""
        if made.dtype != torch.float32:
            raise AssertionError(f"{self.who}: makes {made.dtype} from float32")
        if not made.isfinite().all():
            raise AssertionError(f"{self.who}: makes NaN or infinite values")
        if made.abs().max() > 1 + _CLOSE:
            low, high = getattr(self.generator.network, "value_range", (-1.0, 1.0))
            raise AssertionError(f"{self.who}: makes values outside its value_range, {low:g} to {high:g}")
        if self.context and not self(len(self.images), past=self.context).isfinite().all():
            raise AssertionError(f"{self.who}: after {self.context} earlier images it makes NaN or infinite values")


def _require_gradients(who: str, generator: RangeAdapter, call: _Call) -> None:
    weights = [each for each in generator.parameters() if each.requires_grad]
    if not weights:
        return
    generator.train()
    call(2).square().sum().backward()
    if not any(each.grad is not None and each.grad.any() for each in weights):
        raise AssertionError(f"{who}: no gradient of its images reaches its weights: it learns nothing")


def _require_range(who: str, network: nn.Module) -> None:
    bounds = getattr(network, "value_range", (-1.0, 1.0))
    if len(bounds) != 2 or not bounds[0] < bounds[1]:
        raise AssertionError(f"{who}: value_range = {bounds!r} is not a pair of a lower and a higher number")


def _count(who: str, network: nn.Module, name: str, least: int) -> int:
    value = getattr(network, name, least)
    if not isinstance(value, int) or value < least:
        raise AssertionError(f"{who}: {name} = {value!r} is not an integer of at least {least}")
    return value


def _built(
    target: Callable[..., nn.Module], args: tuple[Any, ...], options: Mapping[str, Any], *, images: bool, seed: int = 0
) -> RangeAdapter:
    torch.manual_seed(seed)
    network = target(*args, **options)
    if not isinstance(network, nn.Module):
        raise AssertionError(f"{_name(target)}: returns a {type(network).__name__}, not a torch.nn.Module")
    initialise(network, "xavier")
    return RangeAdapter(network, returns_images=images)


def _images(count: int, size: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def _batch(count: int, length: int, size: tuple[int, int]) -> Tensor:
    """Return images (N, 3, H, W), or clips (N, T, 3, H, W)."""
    images = _images(count * length, size)
    return images if length == 1 else images.unflatten(0, (count, length))


def _labels(who: str, network: nn.Module, lead: tuple[int, ...], size: tuple[int, int]) -> dict[str, dict[str, Tensor]]:
    """Return the inputs that a network declares, and one more, which it must ignore."""
    kinds = getattr(network, "inputs", ())
    if isinstance(kinds, str) or (unknown := [kind for kind in kinds if kind not in KINDS]):
        wrong = kinds if isinstance(kinds, str) else unknown[0]
        raise AssertionError(f"{who}: inputs names '{wrong}'; it must be a tuple of {', '.join(KINDS)}")
    return {"inputs": sample_inputs({*kinds, _EXTRA}, lead, size)} if kinds else {}


def _scores(who: str, made: object, count: int) -> list[Tensor]:
    scores = list(made) if isinstance(made, tuple | list) else [made]
    for score in scores:
        if not isinstance(score, Tensor) or not score.is_floating_point():
            raise AssertionError(
                f"{who}: scores must be a float tensor or a tuple of float tensors, not {type(score).__name__}"
            )
        if score.dim() == 0 or len(score) != count:
            raise AssertionError(
                f"{who}: scores {tuple(score.shape)} for {count} images: the first dimension must be the batch"
            )
        if not score.isfinite().all():
            raise AssertionError(f"{who}: has NaN or infinite scores")
    if not scores:
        raise AssertionError(f"{who}: has no scores")
    return scores  # type: ignore[return-value]  # all are tensors


def _name(target: Callable[..., object]) -> str:
    return getattr(target, "__name__", repr(target))


def _in_words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
