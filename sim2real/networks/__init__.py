"""The networks: generators translate images, discriminators judge them.

Networks are built by their classes (in ``generators``, ``discriminators``, or plugins), ``initialise`` sets their
weights, and the program calls them through ``RangeAdapter``. ``describe`` lists their layers.
"""

from sim2real.networks.blocks import initialise
from sim2real.networks.describe import Layer, describe
from sim2real.networks.range_adapter import RangeAdapter

__all__ = ["Layer", "RangeAdapter", "describe", "initialise"]
