"""Errors that the user can fix.

    Sim2RealError          one line for the user: what is wrong, where, what to do
    ├── UnknownNameError   no component is registered under a name
    ├── PluginError        a plugin cannot be used
    ├── SettingsError      a recipe, sim2real.toml or option contains an error
    ├── DatasetError       a dataset is missing, not recognised or incomplete
    ├── ImageError         an image cannot be decoded, or not encoded without loss
    ├── OutOfMemoryError   images are too many or too large for a device
    └── CannotCompileError a generator cannot be compiled on this machine

Any other exception is a bug in sim2real and keeps its traceback.
"""


class Sim2RealError(Exception):
    """An error that the user can fix; its message is one line."""


class UnknownNameError(Sim2RealError):
    """No component is registered under this name; the message suggests the closest names."""


class PluginError(Sim2RealError):
    """A plugin fails to import, registers a name that is taken, or violates the contract."""


class SettingsError(Sim2RealError):
    """A recipe, a sim2real.toml or an option contains an error."""


class DatasetError(Sim2RealError):
    """A dataset is missing, not recognised or incomplete."""


class ImageError(Sim2RealError):
    """An image cannot be decoded, or not encoded without loss."""


class OutOfMemoryError(Sim2RealError):
    """Images are too many or too large for the memory of a device."""


class CannotCompileError(Sim2RealError):
    """A generator cannot be compiled on this machine; it runs uncompiled."""
