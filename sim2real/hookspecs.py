"""The plugin contract: one hook for each kind of component, all with the same signature.

A plugin is a module named by an entry point of the group ``sim2real``. It implements any of the hooks below
with ``@sim2real.hookimpl`` and registers components by name and import path. Components are imported when they are
used, so a plugin module itself should be quick to import: import torch and other heavy packages only in the modules
that the targets name.
"""

from typing import Protocol

import pluggy

PROJECT = "sim2real"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Register(Protocol):
    """The function that registers one component of the hook's kind."""

    def __call__(self, name: str, target: str, *, summary: str) -> None:
        """Register a component.

        Args:
            name: The name that users write, lower case with hyphens, e.g. ``"multiscale"``.
            target: Import path, ``"package.module:attribute"``; for a recipe ``"package:file.toml"``.
            summary: One line for the listings.

        Raises:
            PluginError: If the name or the target has another form.
        """


@hookspec
def register_generators(register: Register) -> None:
    """Register networks that translate images: ``target(in_channels, out_channels, **options)`` -> ``nn.Module``.

    ``forward`` maps (N, C, H, W) to (N, C, H, W), where H and W are multiples of the attribute ``stride: int`` (1 if
    absent). Input and output values lie in the attribute ``value_range: tuple[float, float]`` ((-1, 1) if absent).

    A generator that uses labels names their kinds in the attribute ``inputs: tuple[str, ...]``, and its ``forward``
    takes the argument ``inputs``, a mapping from kind to tensor; ``sim2real.datasets.inputs`` lists the kinds, their
    shapes and units. A generator with ``clip_length: int`` above 1 translates that many consecutive frames at once,
    (N, T, C, H, W). The method ``cut`` requires ``features(images)``, which returns the intermediate feature maps.

    An untrained generator has a method ``observe(source, target)``, which the method ``fit`` calls with images of both
    domains. If it needs the classes in the images that it stores, it has ``observe(source, target, masks)`` and
    ``label(labelled_by, again=...)``, which the method ``pseudo-labels`` calls. A method ``name_classes(names)`` is
    called with the classes of the run whenever the generator is built. The method ``one-sided`` calls ``reach(share)``
    before each step with the completed share of the training, if the generator has this method. ``sim2real import
    FOLDER`` sets the option ``model`` of a generator to that folder. Further optional attributes:

    - ``stochastic = True``: It samples at random. ``forward`` takes ``seeds``, one uint64 for each image, derived from
      its path, or None. Equal seeds must give equal images on every device. It is not compiled, and it is exported only
      if it gives the same result each time when called without seeds.
    - ``steady = True``, in addition: The upper 32 bits of a seed are derived from the name of the frame's sequence, the
      lower 32 bits from its path. Whatever the upper bits determine, such as a style, is constant within a sequence.
    - ``exportable = False``: Its graph cannot be exported or compiled, and it cannot be run in tiles.
      ``export_obstacle`` is what `sim2real export` says: which step stands in the way, and what to do instead.
    - ``whole = True``: It shrinks images before it analyses them, and is never run in tiles.
    - ``by_grids = True``: It predicts and applies bilateral grids in two separate steps, ``grids(images, seeds)`` ->
      (N, 12, D, h, w), and ``apply_grids(images, grids, seeds)``; grids of neighbouring frames are averaged.
    - ``cpu_only = True``: It runs on the CPU, whatever the device; several threads may call it at once.
    - ``any_precision = True``: Its images in reduced precision are as good as in fp32 although they differ from them,
      so that the precision ``auto`` is not compared with fp32.
    - ``provenance = {"library": "1.2.3"}``: What its images depend on besides its file; recorded in
      ``conversion.json``, and a conversion is continued only if it is the same.
    - ``inputs = ("depth", ...)``: The kinds of labels that it uses. ``forward`` takes ``inputs``, a mapping with one
      tensor of each kind, (N, ...), aligned with the pixels of the images; ``sim2real.datasets.inputs`` lists the kinds
      and their shapes. It is run on whole images, and a dataset whose frames lack one of the labels is refused.
    - ``clip_length = T``: It translates T consecutive frames of a sequence together, (N, T, C, H, W) -> the same shape,
      with inputs (N, T, ...).
    - ``context = K``: It uses up to K earlier frames of the sequence and their translations, ``past_images`` and
      ``past_outputs`` in ``inputs``, (N, j, C, H, W); j is 0 at the beginning of a sequence.
    """


@hookspec
def register_discriminators(register: Register) -> None:
    """Register discriminators of one domain: ``target(in_channels, image_size, **options)`` -> ``nn.Module``.

    ``image_size`` is (H, W). ``forward`` maps (N, C, H, W) in ``value_range`` ((-1, 1) if absent) to a tensor of scores
    of any shape (N, ...), or to a tuple of tensors. The adversarial loss is computed for each tensor separately; the
    losses are summed with the attribute ``score_weights: tuple[float, ...]`` (all 1 if absent). ``inputs`` and
    ``clip_length`` have the same meaning as for generators; a fake image comes with the labels of its source image.
    """


@hookspec
def register_losses(register: Register) -> None:
    """Register terms of the generators' loss: ``target(**options)`` -> ``callable(LossInputs)`` -> scalar tensor.

    The table ``[losses]`` of a recipe sets the weight of each term. ``sim2real.losses.LossInputs`` holds the images of
    a step; the attribute ``needs: tuple[str, ...]`` names the fields that the loss uses, because not every method
    computes all of them. ``inputs`` names the kinds of labels of simulated images that it uses, available in
    ``LossInputs.sim_inputs``; if ``needs`` contains ``"real_inputs"``, those of real images are available too.
    ``clip_length`` requests that many consecutive frames. The last frame of a sequence may lack flow and the first one
    backward flow, which is then marked as unknown everywhere.
    """


@hookspec
def register_methods(register: Register) -> None:
    """Register training methods: ``target(networks, settings, **options)`` -> a ``Method``.

    The target is a subclass of ``sim2real.methods.base.Method``. The same module defines its arguments, ``Networks``
    and ``MethodSettings``. The attribute ``optimization`` (``sim2real.methods.optimization``) provides the optimiser
    steps that all methods share. A method performs no input or output and prints nothing.
    """


@hookspec
def register_datasets(register: Register) -> None:
    """Register dataset layouts: ``target`` is a subclass of ``sim2real.datasets.base.Adapter``, or a similar class.

    Members that it does not define have the defaults of ``Adapter``. A public name that looks like a misspelt member of
    the contract is refused. Layouts of plugins are tried before the built-in ones when a folder is recognised, so they
    should require two independent facts. ``sim2real.datasets.labels`` defines the kinds of labels, and
    ``sim2real.imageio`` the image decoders.
    """


@hookspec
def register_metrics(register: Register) -> None:
    """Register metrics of ``sim2real evaluate``: ``target(**options)`` -> a ``SetMetric`` or a ``FrameMetric``.

    ``sim2real.metrics.base`` defines both protocols. A ``SetMetric`` measures the distance of a set of images from real
    ones, using a description of each image; a ``FrameMetric`` compares a frame with its translation, using its labels.
    Images are RGB uint8 arrays (H, W, 3). A metric that needs weights takes their file in the option ``weights`` and
    downloads nothing.
    """


@hookspec
def register_engines(register: Register) -> None:
    """Register engines, which run a generator during conversion: ``target(generator, settings)`` -> an ``Engine``.

    ``sim2real.engines.base.Engine`` is the protocol: it maps RGB uint8 batches (N, H, W, 3) to batches of this shape.
    """


@hookspec
def register_recipes(register: Register) -> None:
    """Register named training settings: ``target`` is ``"package:file.toml"`` with the schema of sim2real.toml."""


@hookspec
def register_commands(register: Register) -> None:
    """Register commands of the program: ``target`` is a function with Typer annotations, or a ``typer.Typer``.

    A command is imported when it is called; ``summary`` is its line in ``sim2real --help``. Raise
    ``sim2real.Sim2RealError`` for user errors: it is printed as one line.
    """
