"""What can go wrong in a way that the user can mend.

    Sim2RealError          one line for the user: what is wrong, where, what to do
    ├── UnknownNameError   a name that nothing is registered under
    ├── PluginError        a plugin that cannot be used
    ├── SettingsError      a recipe, sim2real.toml or option that says something wrong
    ├── DatasetError       a dataset that is not there, not recognised or not complete
    ├── ImageError         a picture that cannot be decoded or encoded without loss
    ├── OutOfMemoryError   pictures that are too many or too large for a device
    └── CannotCompileError a generator that cannot be compiled here

Everything else that is raised is a bug in sim2real and keeps its traceback.
"""


class Sim2RealError(Exception):
    """A mistake or a state of the world that the user can mend; its message is one line."""


class UnknownNameError(Sim2RealError):
    """A name that nothing is registered under; the message suggests the nearest ones."""


class PluginError(Sim2RealError):
    """A plugin that fails to import, offers what is offered already, or does not keep its contract."""


class SettingsError(Sim2RealError):
    """A recipe, a sim2real.toml or an option that says something wrong."""


class DatasetError(Sim2RealError):
    """A dataset that is not there, not recognised or not complete."""


class ImageError(Sim2RealError):
    """A picture that cannot be decoded or encoded without loss."""


class OutOfMemoryError(Sim2RealError):
    """Pictures that are too many or too large for the memory of a device."""


class CannotCompileError(Sim2RealError):
    """A generator that cannot be compiled here; it runs without."""
