"""Checks of the plugin contract, for the tests of whoever writes a plugin: ``check_discriminator(MyCritic, width=8)``.

Each is a plain function that builds the thing, uses it as the program does, and raises an AssertionError that says what
is not kept. What they take besides the thing are its options, by name. ``sim2real plugins check`` runs those that need
no data on all that plugins offer; those of what ships are tested in the same way.

networks.py   generators and discriminators
methods.py    a training that is resumed goes on with equal numbers
losses.py     terms of the generators' loss
metrics.py    which way the figures of a metric go
engines.py    an engine beside PyTorch
layouts.py    the laws of a layout, on a folder of it
samples.py    pictures and labels to try them on
entries.py    what is offered under a name
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim2real.testing.engines import check_engine
    from sim2real.testing.layouts import check_layout
    from sim2real.testing.losses import check_loss
    from sim2real.testing.methods import check_method
    from sim2real.testing.metrics import check_metric
    from sim2real.testing.networks import check_discriminator, check_generator
    from sim2real.testing.samples import sample_inputs, sample_pictures

__all__ = [
    "check_discriminator",
    "check_engine",
    "check_generator",
    "check_layout",
    "check_loss",
    "check_method",
    "check_metric",
    "sample_inputs",
    "sample_pictures",
]

_WHERE = {
    "check_discriminator": "networks",
    "check_engine": "engines",
    "check_generator": "networks",
    "check_layout": "layouts",
    "check_loss": "losses",
    "check_method": "methods",
    "check_metric": "metrics",
    "sample_inputs": "samples",
    "sample_pictures": "samples",
}


def __getattr__(name: str) -> object:
    if name in _WHERE:  # a test of a layout needs no torch
        return getattr(import_module(f"sim2real.testing.{_WHERE[name]}"), name)
    message = f"module '{__name__}' has no attribute '{name}'"
    raise AttributeError(message)
