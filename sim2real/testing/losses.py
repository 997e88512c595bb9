"""Check the contract of a term of the generators' loss on random images."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from sim2real.errors import PluginError
from sim2real.losses import LossInputs
from sim2real.testing.samples import sample_inputs

_SIZE = (64, 64)
_LABELS = ("sim_inputs", "real_inputs")
_FIELDS = tuple(name for name in LossInputs.__annotations__ if name not in _LABELS)


def check_loss(target: Callable[..., Callable[[LossInputs], Tensor]], **options: Any) -> None:  # noqa: ANN401  the target's
    """Make sure that a loss keeps the contract of ``register_losses``.

    Args:
        target: The object that the plugin registers.
        options: Options of the target.

    Raises:
        AssertionError: If it does not; the message says why.
    """
    who = getattr(target, "__name__", repr(target))
    loss = target(**options)
    needs, kinds = getattr(loss, "needs", ()), getattr(loss, "inputs", ())
    length: int = getattr(loss, "clip_length", 1)
    if hasattr(loss, "needs_identity"):
        raise AssertionError(f"{who}: needs_identity is now needs = ('identity_sim', 'identity_real')")
    if unknown := [name for name in needs if name not in (*_FIELDS, *_LABELS)]:
        raise AssertionError(f"{who}: needs names '{unknown[0]}'; LossInputs has {', '.join((*_FIELDS, *_LABELS))}")
    lead = (2,) if length == 1 else (2, length)
    images = {name: _image(lead, seed) for seed, name in enumerate(_FIELDS) if name == "sim" or name in needs}
    sides = [name for name in _LABELS if name == "sim_inputs" or name in needs]
    labels: dict[str, Any] = {name: sample_inputs(kinds, lead, _SIZE) for name in sides}

    def measured(given: Mapping[str, Tensor]) -> Tensor:
        return loss(LossInputs(**{**given, **labels}))

    try:
        found = measured(images)
    except PluginError as error:
        raise AssertionError(f"{who}: {error}") from error
    if not isinstance(found, Tensor) or found.shape != ():
        what = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise AssertionError(f"{who}: returns {what}, not a tensor of a single number")
    if found.dtype != torch.float32:
        raise AssertionError(f"{who}: returns {found.dtype}, not float32")
    if not found.isfinite():
        raise AssertionError(f"{who}: returns {found.item()} for images in [-1, 1]")
    _require_gradient(who, found, images)
    if not torch.equal(found, measured(images)):
        raise AssertionError(f"{who}: returns another number for the same images")
    half = {name: image.to(torch.bfloat16) for name, image in images.items()}
    if (kind := measured(half).dtype) != torch.float32:
        raise AssertionError(f"{who}: returns {kind} for images in bfloat16; compute losses in float32")


def _image(lead: tuple[int, ...], seed: int) -> Tensor:
    values = torch.rand(*lead, 3, *_SIZE, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return values.requires_grad_()


def _require_gradient(who: str, found: Tensor, images: Mapping[str, Tensor]) -> None:
    made = {name: image for name, image in images.items() if name not in {"sim", "real"}}
    gradients: tuple[Tensor | None, ...] = ()
    if found.requires_grad and made:
        gradients = torch.autograd.grad(found, list(made.values()), allow_unused=True)
    if not any(gradient is not None and gradient.any() for gradient in gradients):
        raise AssertionError(
            f"{who}: no gradient reaches what the generators make ({', '.join(made) or 'none needed'})"
        )
