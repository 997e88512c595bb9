"""The networks: generators translate images, discriminators judge them.

A network is built by its class (``generators``, ``discriminators``, or a plugin's), its weights are drawn by
``initialise``, and the program speaks to it through ``RangeAdapter``. ``describe`` lists its layers.
"""

from sim2real.networks.blocks import initialise
from sim2real.networks.describe import Layer, describe
from sim2real.networks.range_adapter import RangeAdapter

__all__ = ["Layer", "RangeAdapter", "describe", "initialise"]
