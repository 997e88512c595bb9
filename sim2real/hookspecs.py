"""The plugin contract: one hook per kind of component, all of one shape.

A plugin is a module named by an entry point of the group ``sim2real``. It implements any of the hooks below
with ``@sim2real.hookimpl`` and offers components by name and import path. Nothing is imported until it is used,
so a plugin module is quick to import: keep torch and the like in the modules that its targets name.
"""

from typing import Protocol

import pluggy

PROJECT = "sim2real"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Register(Protocol):
    """Offers one component of the hook's kind."""

    def __call__(self, name: str, target: str, *, summary: str) -> None:
        """Offer a component.

        Args:
            name: What users write, lower case with hyphens, e.g. ``"multiscale"``.
            target: Where it stands, ``"package.module:attribute"``; for a recipe ``"package:file.toml"``.
            summary: One line that the listings show.

        Raises:
            PluginError: The name or the target is not of that form.
        """


@hookspec
def register_generators(register: Register) -> None:
    """Offer networks that translate images: ``target(in_channels, out_channels, **options)`` -> ``nn.Module``.

    Forward (N, C, H, W) -> (N, C, H, W), for H and W that are multiples of the attribute ``stride: int`` (1 if absent).
    Values of input and output lie in the attribute ``value_range: tuple[float, float]`` ((-1, 1) if absent).

    One that sees labels names their kinds in the attribute ``inputs: tuple[str, ...]`` and takes ``inputs``, a mapping
    kind -> tensor, beside the images; ``sim2real.datasets.inputs`` has the kinds, their shapes and units. One with
    ``clip_length: int`` above 1 takes and gives so many consecutive frames, (N, T, C, H, W). The method ``cut`` needs
    ``features(images)``, the maps that it makes of images on its way.

    One that is not trained has a method ``observe(source, target)``, which the method ``fit`` calls with images of both
    domains. One that wants to know the classes in the images that it keeps has ``observe(source, target, masks)`` and
    ``label(labelled_by, again=...)``, which the method ``pseudo-labels`` calls. The method ``one-sided`` tells one that
    has ``name_classes(names)`` the classes of the run, and one that has ``reach(share)`` before each step how much of
    the training is over. What else it may say in attributes:

    - ``stochastic = True``: it samples at random. Its forward takes ``seeds``, a uint64 for each picture made from its
      path, or None, and equal seeds give equal pictures, on whatever device. It is not compiled, and exported only if
      it makes the same of an image each time that it is given no seeds.
    - ``steady = True``, besides: the upper 32 bits of seeds are made from the name of the frame's sequence, the lower
      ones from its path. What they decide, a style for one, is the same in all of a video.
    - ``exportable = False``: no graph of it can be written or compiled, and it cannot be run in tiles.
    - ``whole = True``: it shrinks pictures before it looks at them, and is never run in tiles.
    - ``by_grids = True``: it paints by bilateral grids and offers both halves of that, ``grids(images, seeds)``,
      (N, 12, D, h, w), and ``apply_grids(images, grids, seeds)``; of neighbouring frames they are averaged.
    - ``cpu_only = True``: it works on the CPU, whatever the device; several threads may call it at once.
    - ``inputs = ("depth", ...)``: kinds of labels that it sees. Its forward takes ``inputs``, a mapping that has a
      tensor of each, (N, ...) on the pixels of the images; ``sim2real.datasets.inputs`` has the kinds and their forms.
      It is run on whole pictures, and a dataset whose frames lack one is refused.
    - ``clip_length = T``: it translates T consecutive frames of a sequence together, (N, T, C, H, W) -> the same, its
      inputs (N, T, ...).
    - ``context = K``: it looks at up to K earlier frames of the sequence and at what it made of them, ``past_images``
      and ``past_outputs`` in ``inputs``, (N, j, C, H, W); j is 0 at the beginning of a sequence.
    """


@hookspec
def register_discriminators(register: Register) -> None:
    """Offer discriminators of one domain: ``target(in_channels, image_size, **options)`` -> ``nn.Module``.

    ``image_size`` is (H, W). Forward (N, C, H, W) in ``value_range`` ((-1, 1) if absent) -> a tensor of scores of any
    shape (N, ...), or a tuple of such tensors, each judged by the adversarial loss on its own and added up with the
    attribute ``score_weights: tuple[float, ...]`` (all 1 if absent). ``inputs`` and ``clip_length`` as of generators: a
    fake comes with the labels of the image that it was made of.
    """


@hookspec
def register_losses(register: Register) -> None:
    """Offer terms of the generators' loss: ``target(**options)`` -> ``callable(LossInputs)`` -> scalar tensor.

    The recipe's ``[losses]`` names it with its weight. ``sim2real.losses.LossInputs`` holds the images of a step; the
    attribute ``needs: tuple[str, ...]`` names its fields that the loss uses, of which a method may not compute all.
    ``inputs`` names the labels of simulated images that it uses, found in ``LossInputs.sim_inputs``; if it needs
    ``"real_inputs"``, those of real images, too. ``clip_length`` asks for so many consecutive frames, of which the
    last one of a sequence may lack flow, and the first one backward flow: it is known nowhere then.
    """


@hookspec
def register_methods(register: Register) -> None:
    """Offer training methods: ``target(networks, settings, **options)`` -> a ``Method``.

    The target is a child of ``sim2real.methods.base.Method``. That module has ``Networks`` and ``MethodSettings``, too,
    which it is given; its ``optimization`` (``sim2real.methods.optimization``) has all that methods do alike with their
    gradients. A method does no input or output and prints nothing.
    """


@hookspec
def register_datasets(register: Register) -> None:
    """Offer dataset layouts: ``target`` is a child of ``sim2real.datasets.base.Adapter``, or a class that is like one.

    What it leaves out has the defaults of ``Adapter``. A public name that is nearly one of the contract's is refused.
    Installed plugins are asked before what ships with sim2real whether they recognise a folder, so ask for two
    independent facts. ``sim2real.datasets.labels`` has the kinds of labels, ``sim2real.imageio`` the decoders.
    """


@hookspec
def register_metrics(register: Register) -> None:
    """Offer what ``sim2real evaluate`` measures: ``target(**options)`` -> a ``SetMetric`` or a ``FrameMetric``.

    ``sim2real.metrics.base`` has both protocols. A ``SetMetric`` tells how far a set of pictures is from real ones, by
    a description of each; a ``FrameMetric`` what became of a frame, by the frame, its translation and its labels.
    Pictures are RGB uint8 arrays (H, W, 3). Of a metric that needs weights, ``weights`` is the option for their file;
    it fetches nothing.
    """


@hookspec
def register_engines(register: Register) -> None:
    """Offer what runs a trained generator during conversion: ``target(generator, settings)`` -> an ``Engine``.

    ``sim2real.engines.base.Engine`` is the protocol: RGB uint8 batches (N, H, W, 3) in, the same out.
    """


@hookspec
def register_recipes(register: Register) -> None:
    """Offer named settings for training: ``target`` is ``"package:file.toml"``, of the schema of sim2real.toml."""


@hookspec
def register_commands(register: Register) -> None:
    """Offer commands of the program: ``target`` is a function with Typer annotations, or a ``typer.Typer``.

    It is imported when it is called; ``summary`` is its line in ``sim2real --help``. User mistakes are raised as
    ``sim2real.Sim2RealError`` and become one line.
    """
