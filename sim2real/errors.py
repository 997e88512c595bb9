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

from typing import Literal

TopicName = Literal[
    # what is wrong: troubleshooting
    "checkerboards",
    "halos",
    "nothing-changes",
    "colours-are-inverted",
    "trees-in-the-sky",
    "flicker",
    "one-side-is-empty",
    "out-of-memory",
    "a-training-diverges-or-a-discriminator-wins",
    "which-checkpoint",
    "slow",
    "steps-wait-for-decoding",
    "no-gpu-is-found",
    "damaged-images",
    "a-conversion-is-refused",
    "verify-finds-problems",
    "a-plugin-fails",
    # how to do it: the guides
    "what-must-be-alike",
    "several-folders-and-videos",
    "bring-a-model",
    "which-recipe",
    "judged-on-held-out-images",
    "watch-a-run",
    "stop-and-resume",
    "labels-of-the-simulation",
    "speed-and-memory",
    "frames-that-another-program-translated",
    "a-student-of-a-slow-translator",
    "interruptions",
    "disk-space",
    "as-fast-as-the-machine",
    "large-frames",
    "what-the-frames-look-like",
    "how-jpegs-are-written",
    "another-size",
    "generators-that-see-labels-or-videos",
    "labels-that-hold-or-describe-the-old-image",
    "many-machines",
    "kills-and-reruns",
    "the-verdict",
    "does-it-look-more-real",
    "do-the-labels-hold",
    "are-there-artefacts",
    "more-figures",
    "reject-bad-frames-while-converting",
]
"""Pages and sections of the manual that messages lead to, as ``sim2real help`` takes them."""


class Sim2RealError(Exception):
    """An error that the user can fix; its message is one line.

    Args:
        message: What is wrong, where, and what to do.
        topic: The section of the manual on it; the program prints where it is after the message. By default that of
            the kind of error, which can be None.
    """

    topic: TopicName | None = None

    def __init__(self, message: str, *, topic: TopicName | None = None) -> None:
        super().__init__(message)
        if topic:
            self.topic = topic


class UnknownNameError(Sim2RealError):
    """No component is registered under this name; the message suggests the closest names."""


class PluginError(Sim2RealError):
    """A plugin fails to import, registers a name that is taken, or violates the contract."""

    topic = "a-plugin-fails"


class SettingsError(Sim2RealError):
    """A recipe, a sim2real.toml or an option contains an error."""


class DatasetError(Sim2RealError):
    """A dataset is missing, not recognised or incomplete."""


class ImageError(Sim2RealError):
    """An image cannot be decoded, or not encoded without loss."""

    topic = "damaged-images"


class OutOfMemoryError(Sim2RealError):
    """Images are too many or too large for the memory of a device."""

    topic = "out-of-memory"


class CannotCompileError(Sim2RealError):
    """A generator cannot be compiled on this machine; it runs uncompiled."""
