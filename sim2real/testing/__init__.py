"""Checks of the plugin contract, for the tests of plugins: ``check_discriminator(MyDiscriminator, width=8)``.

Each is a plain function that builds the object, uses it as the program does, and raises an AssertionError that says
which part of the contract is violated. Further keyword arguments are the object's options. ``sim2real plugins check``
runs the checks that need no data on everything that plugins register; built-in objects are tested in the same way.

networks.py   generators and discriminators
methods.py    methods: a resumed training continues with equal numbers
losses.py     terms of the generators' loss
metrics.py    metrics: the direction of their values
engines.py    engines, compared with PyTorch
layouts.py    the laws of a layout, on a folder of it
samples.py    synthetic images and labels for the checks
entries.py    registered objects, by name
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
