"""All settings, section by section. The docstrings are also the texts of the manual and of the JSON schema."""

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PlainSerializer,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from sim2real.config.values import SIDES, SIZE, parse_sides, parse_size
from sim2real.errors import SettingsError

COMPONENTS = ("method", "generator", "discriminator")


def _describe(schema: dict[str, Any], section: type[BaseModel]) -> None:
    """Add the descriptions of a section's docstring to its JSON schema."""
    for base in section.__mro__:
        text, _, attributes = (inspect.getdoc(base) or "").replace("``", "").partition("\n\nAttributes:\n")
        if base is section:
            schema["description"] = " ".join(text.split())
        for name, words in re.findall(r"^    (\w+): (.*(?:\n     .*)*)", attributes, re.MULTILINE):
            if name in schema["properties"]:
                schema["properties"][name].setdefault("description", " ".join(words.split()))


class Section(BaseModel):
    """A table of settings; unknown keys are rejected."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, json_schema_extra=_describe)


_Pixels = tuple[PositiveInt, PositiveInt]
_Size = Annotated[
    _Pixels,
    BeforeValidator(
        parse_size, json_schema_input_type=_Pixels | PositiveInt | Annotated[str, Field(pattern=f"^{SIZE}$")]
    ),
]
_Sides = Annotated[
    _Pixels,
    BeforeValidator(parse_sides, json_schema_input_type=_Pixels | Annotated[str, Field(pattern=f"^{SIDES}$")]),
]


def _listed(word: Any) -> BeforeValidator:  # noqa: ANN401  a type
    """Return a validator that accepts a single word in place of a list of one."""
    return BeforeValidator(
        lambda value: [value] if isinstance(value, str) else value, json_schema_input_type=word | list[word]
    )


_Words = Annotated[list[str], _listed(str)]
_Logger = Literal["tensorboard", "wandb", "mlflow"]
_Augmentation = Literal["color", "translation", "cutout"]


class Component(Section):
    """A registered component.

    Attributes:
        name: Registered name; a name other than the recipe's drops the recipe's options.
        options: Keyword arguments of its constructor.
    """

    name: str
    options: dict[str, Any] = {}


class Regularization(Section):
    """Regularisation of the discriminators, for every kind of discriminator.

    Attributes:
        spectral_norm: Divide every weight of convolutions and linear layers by its largest singular value.
        r1: Weight of the R1 penalty, half the squared gradient of the scores of real images; 0: no penalty.
        r1_every: Number of steps from one R1 penalty to the next; its weight is multiplied by this number.
        lecam: Weight of the LeCam penalty, the distance of the scores of real images from the running mean of those of
            fakes, and vice versa; 0: no penalty.
        augment: Augmentations of all images that the discriminators see, real and fake: ``"color"``,
            ``"translation"``, ``"cutout"``.
        augment_target: Adapt the probability of these augmentations: it rises while the mean sign of the scores of real
            images is above this value, and falls otherwise (0.6: four in five real images are recognised as real);
            0: always augment.
    """

    spectral_norm: bool = False
    r1: NonNegativeFloat = 0
    r1_every: PositiveInt = 16
    lecam: NonNegativeFloat = 0
    augment: Annotated[list[_Augmentation], _listed(_Augmentation)] = []
    augment_target: float = Field(0.0, ge=0, le=1)


class Discriminator(Component):
    """The discriminator of the images of one domain.

    Attributes:
        regularization: Regularisation of the discriminators; it is kept when another ``name`` is chosen.
    """

    regularization: Regularization = Regularization()


class Data(Section):
    """The images that the networks are trained on.

    Attributes:
        size: Width and height of the images of a batch, in pixels: ``[256, 128]``, ``"256x128"``, or one number for a
            square.
        load_size: Width and height to which ``fit`` scales frames before a window of ``size`` is cut. If left out,
            frames are not scaled beforehand.
        fit: ``"crop"``: a random window of the frame, with its aspect ratio kept; ``"resize"``: the whole frame,
            stretched.
        batch_size: Images of each domain per step, over all processes of a training together.
        augment: Names of augmentations, keys of ``sim2real.augment.AUGMENTATIONS``.
        matched: Cut the windows of a simulated and a real frame at the same position, within a tenth of their sides, so
            that discriminators learn less from differences in layout. Where all frames of both sides have masks, up to
            50 positions are sampled: the first at which more than half of the pixels agree in class is used, otherwise
            the best. Both windows are mirrored, or neither, so that they stay aligned.
        workers: Worker processes that decode images; 0 decodes in the training process.
        cache: Keep the decoded and scaled images, uncompressed, in the run folder until the training ends. This helps
            with small datasets of large frames, where steps wait for decoding.
        validation: Fraction of each domain (below 1), or number of images, that is held out and never trained on.
        sim_include: Globs on the paths of the sim side; only matching images are used. If empty, all are.
        sim_exclude: Globs on the paths of the sim side; matching images are not used.
        real_include: As ``sim_include``, for the real side.
        real_exclude: As ``sim_exclude``, for the real side.
        sim_as_image: Globs of files on the sim side that are camera images, whatever their names and pixels suggest.
        real_as_image: As ``sim_as_image``, for the real side.
        translations: Run of ``sim2real import-frames``: what another program made of the simulated images, for the loss
            ``teacher``.
        video_every: Seconds between two frames that are extracted from a video of the real side.
        video_frames: Maximum number of frames that are extracted from one video; in longer videos they lie farther
            apart.
        video_change: Minimum difference of a frame from the last extracted one, as the mean difference of their
            thumbnails in levels of 255; frames below it are left out, for example while the camera stands still.
            0: no frame is left out.
    """

    size: _Size = (256, 256)
    load_size: _Size | None = None
    fit: Literal["crop", "resize"] = "crop"
    batch_size: PositiveInt = 1
    augment: _Words = ["hflip"]
    matched: bool = False
    workers: NonNegativeInt = 2
    cache: bool = False
    validation: NonNegativeFloat = 0.05
    sim_include: _Words = []
    sim_exclude: _Words = []
    real_include: _Words = []
    real_exclude: _Words = []
    sim_as_image: _Words = []
    real_as_image: _Words = []
    translations: str = ""
    video_every: PositiveFloat = 1.0
    video_frames: PositiveInt = 1000
    video_change: NonNegativeFloat = 2.0


class Term(Section):
    """A loss with options: ``myloss = { weight = 1.0, options = { ... } }``; a plain number is its weight.

    Attributes:
        weight: Factor of the loss in the sum; 0: it is not computed.
        options: Keyword arguments of its constructor.
    """

    weight: NonNegativeFloat
    options: dict[str, Any] = {}


_Weighted = Annotated[
    Term,
    BeforeValidator(
        lambda value: value if isinstance(value, Mapping | Term) else {"weight": value},
        json_schema_input_type=NonNegativeFloat | Term,
    ),
    PlainSerializer(lambda term: term.model_dump() if term.options else term.weight),
]


class Losses(Section):
    """The generators' loss: the adversarial loss, and the weights of all other terms by their registered names.

    Attributes:
        adversarial: The adversarial loss: least squares (``"lsgan"``), binary cross-entropy (``"bce"``) or the hinge
            loss (``"hinge"``).
        cycle: Weight of the cycle loss: an image translated to the other domain and back should be the same, which
            preserves its content.
        identity: Weight of the identity loss: images of the target domain should stay as they are, which preserves
            colours.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, _Weighted]
    adversarial: Literal["lsgan", "bce", "hinge"] = "lsgan"
    cycle: _Weighted = Term(weight=10)
    identity: _Weighted = Term(weight=0)

    def terms(self) -> dict[str, Term]:
        """Return the terms other than the adversarial one, without those of weight 0."""
        return {name: term for name, term in self.all_terms().items() if term.weight}

    def all_terms(self) -> dict[str, Term]:
        """Return the terms other than the adversarial one, including those of weight 0."""
        return {"cycle": self.cycle, "identity": self.identity, **self.__pydantic_extra__}


_Neighbours = Annotated[int, Field(ge=0, le=8)]
_Decay = Annotated[float, Field(ge=0, lt=1)]


class Transfer(Section):
    """How the generator's output is transferred to the frame.

    Attributes:
        name: ``"direct"``: the generator's pixels replace the frame's; ``"guided"``: the frame takes over their light
            and colours, by position and brightness, and keeps all of its own edges.
        size: Longer side, in pixels, of the image that the generator sees of a frame in a guided transfer.
        train: Whether discriminators and losses also see guided images if the transfer is guided.
        neighbours: Number of frames before and after a frame of a sequence over which its bilateral grid is averaged:
            in a guided transfer, or if the generator predicts grids. 0: no averaging.
    """

    name: Literal["direct", "guided"] = "direct"
    size: int = Field(448, ge=64)
    train: bool = True
    neighbours: _Neighbours = 2


class Camera(Section):
    """The sharpness and the noise of the real camera, which colours do not cover.

    Attributes:
        match: Fit a camera model to the real images at the end of the training. Converted frames then look as if taken
            by it: blurred by less than a pixel, noisy, and compressed like the JPEG files of the real images.
    """

    match: bool = False


class Classes(Section):
    """The classes of masks and boxes, numbered alike for all datasets of a run; used by components that see labels.

    Attributes:
        names: Names of the classes in the order of their numbers; if left out, they are found in both datasets when
            the run begins.
        same: Name of a class -> other names for it: ``{ Car = ["Van", "Truck"] }``. Names that differ only in case,
            spaces and hyphens, and common names of street datasets, are matched without it.
    """

    names: _Words = []
    same: dict[str, _Words] = {}


class Optim(Section):
    """The settings of the Adam optimisers.

    Attributes:
        generator_lr: Learning rate of the generators.
        discriminator_lr: Learning rate of the discriminators.
        betas: Decay rates of the running means of gradients and of squared gradients.
        max_grad_norm: Maximum norm of all gradients of one optimiser together, which are scaled down to it; 0: no
            limit.
    """

    generator_lr: NonNegativeFloat = 2e-4
    discriminator_lr: NonNegativeFloat = 2e-4
    betas: tuple[_Decay, _Decay] = (0.5, 0.999)
    max_grad_norm: NonNegativeFloat = 0


class Schedule(Section):
    """The learning rate over the run: constant, then falling linearly to zero.

    Attributes:
        constant: Share of the run at the full rate, relative to ``decay``.
        decay: Share of the run in which the rate falls to zero, relative to ``constant``; 0: the rate does not fall.
        warmup: Number of steps in which the rate first rises linearly from zero.
    """

    constant: NonNegativeFloat = 1
    decay: NonNegativeFloat = 0
    warmup: NonNegativeInt = 0


class Train(Section):
    """The length of the training: ``steps`` or ``epochs``, whichever was set last.

    Attributes:
        steps: Number of updates of every network.
        epochs: Number of epochs; an epoch has as many images as the larger domain.
        patience: Stop after this number of epochs without a better score on held-out images; 0: never stop early.
        gradient_accumulation_steps: Number of equal parts in which the images of a step go through the networks, for
            batches that do not fit into memory.
    """

    steps: PositiveInt | None = None
    epochs: PositiveInt | None = None
    patience: NonNegativeInt = 0
    gradient_accumulation_steps: PositiveInt = 1

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("set either train.steps or train.epochs")
        return self


class Every(Section):
    """Something that is done at regular intervals.

    Attributes:
        every: Number of steps from one time to the next; 0: only at the end.
    """

    every: NonNegativeInt = 500


class Checkpoint(Every):
    """Checkpoints, from which a run is resumed.

    Attributes:
        keep: Number of newest checkpoints that are kept, in addition to the best one.
        use: Checkpoint whose generators the run uses: the one with the ``"best"`` evaluation on held-out images, or the
            ``"last"`` one.
    """

    keep: PositiveInt = 2
    use: Literal["best", "last"] = "best"


class Evaluate(Every):
    """Periodic evaluation of the generators on held-out images.

    Attributes:
        count: Number of images of each domain.
        score: Value by which the best checkpoint is selected: a metric of sets by its name (``"colour"``), or a value
            of a metric that compares frames without labels (``"edges.preservation"``), see ``sim2real evaluate``.
            Empty: the distance to the real images, penalised by new and lost edges.
    """

    count: PositiveInt = 32
    score: str = ""


class Log(Every):
    """Losses in metrics.jsonl and on the terminal.

    Attributes:
        to: Loggers that also receive the losses; each needs its extra, for example
            ``pip install "sim2real[tensorboard]"``.
    """

    every: NonNegativeInt = 10
    to: Annotated[list[_Logger], _listed(_Logger)] = []


class Sample(Every):
    """Sample grids, written as images to the run folder.

    Attributes:
        count: Number of held-out images of each domain.
    """

    count: PositiveInt = 4


class Conversion(Section):
    """One dataset that ``convert`` and ``batch`` convert; the fields are options of ``sim2real convert``.

    Attributes:
        source: Folder of the dataset.
        out: Folder for the converted dataset.
        dataset: Name of the dataset's layout; it is recognised if left out.
        direction: Generator of the run that is used; ``"sim2real"`` if left out.
        include: Globs; only matching frames are converted. If empty, all are.
        exclude: Globs; matching frames are not converted.
        as_image: Globs of files that are camera images, whatever their names and pixels suggest.
        carry: How labels and all other files are carried over: copied, or linked with hard or symbolic links.
        encoding: How JPEG files are written. ``"fixed"``: all with one ``quality``, baseline, without chroma
            subsampling; ``"source"``: each with the quantisation tables, the chroma subsampling and the mode of its own
            source file; ``"real"``: with those that are most common among the real images of the training.
        quality: Quality of JPEG files if ``encoding`` is ``"fixed"``; 95 if left out.
        codecs: What decodes and encodes JPEG files. ``"cpu"``; ``"gpu"``: an NVIDIA GPU where it can, which writes
            other bytes; ``"auto"``: the faster one on some frames of the dataset.
        resize: ``[W, H]`` in pixels: images are scaled to this size, and their labels and calibrations are adjusted. If
            left out, all sizes stay.
        transfer: ``"direct"`` or ``"guided"``; the model's setting if left out.
        neighbours: Number of frames before and after a frame of a sequence over which its bilateral grid is averaged;
            the model's setting if left out.
        camera: ``"match"``: frames look as if taken by the model's camera; ``"off"``: frames stay as the generator
            returns them. If left out, the model's camera is used if it has one.
        labelme_image: What is done with the photos embedded in LabelMe's JSON files. ``"embed"``: replace them by the
            translated images; ``"drop"``: remove them; ``"keep"``: leave the files as they are.
        gate: Conditions that every translation must meet, for example ``"preservation>=0.9"``; also
            ``"new_edges<=0.1"``, ``"lost_edges<=0.1"``, and any value of a metric that compares frames, such as
            ``"contrast.contrast/Car>=0.2"``. Empty: no conditions.
        rejected: What replaces translations that do not pass the gate. ``"quarantine"``: the original frame;
            ``"blend"``: a mixture of both; ``"guided"``: the frame with the light and the colours of its translation,
            by position and brightness; ``"colour"``: the frame with the overall colours of its translation; ``"pass"``:
            the translation nevertheless, marked in the manifest. If the replacement does not pass either, the original
            frame is used.
        looks: Number of conversions of the dataset, written to ``look_00``, ``look_01`` ... in ``out``; the generator's
            random choices are sampled anew for each. 1: one conversion, written to ``out`` itself.
    """

    source: str
    out: str
    dataset: str | None = None
    direction: Literal["sim2real", "real2sim"] | None = None
    include: _Words = []
    exclude: _Words = []
    as_image: _Words = []
    carry: Literal["copy", "hardlink", "symlink"] = "copy"
    encoding: Literal["fixed", "source", "real"] = "fixed"
    quality: int | None = Field(None, ge=1, le=100)
    codecs: Literal["cpu", "gpu", "auto"] = "cpu"
    resize: _Sides | None = None
    transfer: Literal["direct", "guided"] | None = None
    neighbours: _Neighbours | None = None
    camera: Literal["match", "off"] | None = None
    labelme_image: Literal["embed", "drop", "keep"] = "keep"
    gate: _Words = []
    rejected: Literal["quarantine", "blend", "colour", "guided", "pass"] = "quarantine"
    looks: int = Field(1, ge=1, le=100)

    @model_validator(mode="after")
    def _has_one_encoding(self) -> Self:
        if self.quality is not None and self.encoding != "fixed":
            raise ValueError(
                f"quality = {self.quality} does not go with encoding = '{self.encoding}', which copies its tables"
            )
        return self


def _require_places(value: object) -> object:
    if isinstance(value, str) or (isinstance(value, list) and all(isinstance(each, str) and each for each in value)):
        return value
    raise ValueError("must be a folder or a video, or a list of them")


_Places = Annotated[str | list[str], BeforeValidator(_require_places)]


class Config(Section):
    """All settings of a training and of the conversions that follow it.

    Attributes:
        recipe: Name of the recipe, which all other settings override.
        summary: One-line description of the recipe.
        source: Where the recipe comes from.
        sim: Folder of the simulated images, a dataset of any known layout.
        real: Folder of the real images, or a video, or a list of folders and videos, whose images all count alike;
            empty if ``sim`` is a CycleGAN folder that contains both sides.
        swap: In a CycleGAN folder, use B as the simulated and A as the real side.
        run: Run folder, which the training writes and conversions read; ``runs/<recipe>`` if left out.
        start_from: Run folder, or file of a generator, whose weights the generators start with; if left out, they start
            with random ones.
        seed: Seed of all random numbers.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:0"`` or ``"mps"``.
        precision: Floating-point type of the networks' computations. ``"auto"``: bf16 if a timed step is more
            than 5 % faster in it, otherwise fp32; always fp32 for trainings of less than a minute.
        compile: Compile the networks, which takes minutes and makes most steps faster. ``"auto"``: for trainings of
            2000 steps or more on a GPU or in bf16, if a timed step is more than 5 % faster.
        deterministic: Make two runs with the same seed equal bit for bit, at some cost in speed.
        init: Distribution from which the initial weights of convolutions are sampled.
        ema_decay: Decay of the moving average of the generators' weights, which conversions use; 0: no average.
        image_pool_size: Number of earlier fakes that are kept for each discriminator and shown to it again; 0: it sees
            only the newest ones.
        data: The images that the networks are trained on.
        method: The training method, which defines a training step.
        generator: The network that translates images of one domain into the other.
        discriminator: The network that judges images of one domain.
        networks: Further networks, by names that the method defines; each is a registered generator or discriminator.
        losses: The losses of the generators.
        classes: The classes of masks and boxes, for components that see them.
        transfer: How the generators' output is transferred to the frames.
        camera: The sharpness and the noise of the real camera.
        optim: The settings of the Adam optimisers.
        schedule: The learning rate over the run.
        train: The length of the training.
        checkpoint: When checkpoints are saved, and which one is used.
        sample: When sample grids are written.
        evaluate: When the generators are evaluated on held-out images.
        log: When losses are written, and to which loggers.
        convert: The datasets that ``convert`` and ``batch`` convert.
    """

    recipe: str = "default"
    summary: str = ""
    source: str = ""
    sim: str = ""
    real: _Places = ""
    swap: bool = False
    run: str = ""
    start_from: str = ""
    seed: int = Field(0, ge=0, lt=2**63)
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    compile: Literal["auto", True, False] = "auto"
    deterministic: bool = False
    init: Literal["xavier", "normal", "xavier-0.02"] = "normal"
    ema_decay: float = Field(0.0, ge=0, lt=1)
    image_pool_size: NonNegativeInt = 0
    data: Data = Data()
    method: Component = Component(name="cyclegan")
    generator: Component = Component(name="resnet")
    discriminator: Discriminator = Discriminator(name="patchgan70")
    networks: dict[str, Component] = {}
    losses: Losses = Losses()
    classes: Classes = Classes()
    transfer: Transfer = Transfer()
    camera: Camera = Camera()
    optim: Optim = Optim()
    schedule: Schedule = Schedule()
    train: Train = Train(epochs=200)
    checkpoint: Checkpoint = Checkpoint()
    sample: Sample = Sample()
    evaluate: Evaluate = Evaluate()
    log: Log = Log()
    convert: list[Conversion] = []

    @property
    def run_folder(self) -> Path:
        """The folder of the run: ``run``, else ``runs/<recipe>``."""
        return Path(self.run or f"runs/{self.recipe}")

    @property
    def sim_place(self) -> Path:
        """The folder of the simulated images.

        Raises:
            SettingsError: If ``sim`` is not set.
        """
        if not self.sim:
            raise SettingsError("no simulated images: give SIM and REAL, or set sim and real in sim2real.toml")
        return Path(self.sim)

    @property
    def real_places(self) -> list[Path]:
        """The folders and videos of the real side: ``real``, or ``sim`` if that contains both sides."""
        named = [self.real] if isinstance(self.real, str) else self.real
        return [Path(place) for place in named if place] or [Path(self.sim)]

    def dump(self) -> str:
        """Return the settings as TOML, which :func:`resolve` reads back to an equal object."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))
