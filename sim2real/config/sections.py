"""What can be set, section by section. The words of the docstrings are also the manual's and the schema's."""

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
    """Put the words of a section's docstring into its JSON schema."""
    for base in section.__mro__:
        text, _, attributes = (inspect.getdoc(base) or "").replace("``", "").partition("\n\nAttributes:\n")
        if base is section:
            schema["description"] = " ".join(text.split())
        for name, words in re.findall(r"^    (\w+): (.*(?:\n     .*)*)", attributes, re.MULTILINE):
            if name in schema["properties"]:
                schema["properties"][name].setdefault("description", " ".join(words.split()))


class Section(BaseModel):
    """A table of settings; a key that it does not know is refused."""

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
    """Takes a word alone for a list of one."""
    return BeforeValidator(
        lambda value: [value] if isinstance(value, str) else value, json_schema_input_type=word | list[word]
    )


_Words = Annotated[list[str], _listed(str)]
_Logger = Literal["tensorboard", "wandb", "mlflow"]
_Augmentation = Literal["color", "translation", "cutout"]


class Component(Section):
    """A registered component.

    Attributes:
        name: Its registered name; another than the recipe's drops the recipe's options.
        options: Keyword arguments of its constructor.
    """

    name: str
    options: dict[str, Any] = {}


class Regularization(Section):
    """What keeps the discriminators in check, whichever they are.

    Attributes:
        spectral_norm: Divide every weight of convolutions and linear layers by its largest singular value.
        r1: Weight of half the squared gradient of the scores of real images; 0: none.
        r1_every: It is computed every so many steps, weighted by as much more.
        lecam: Weight of the distance of scores from running means of those of the other kind; 0: none.
        augment: What is done alike to all that they see: ``"color"``, ``"translation"``, ``"cutout"``.
        augment_target: Those are done with a probability that rises while the mean sign of the scores of real images
            is above this, and else falls (0.6: four in five are told for what they are); 0: always.
    """

    spectral_norm: bool = False
    r1: NonNegativeFloat = 0
    r1_every: PositiveInt = 16
    lecam: NonNegativeFloat = 0
    augment: Annotated[list[_Augmentation], _listed(_Augmentation)] = []
    augment_target: float = Field(0.0, ge=0, le=1)


class Discriminator(Component):
    """What judges the images of one domain.

    Attributes:
        regularization: What keeps it in check; stays as it is when another name is chosen.
    """

    regularization: Regularization = Regularization()


class Data(Section):
    """What the networks see.

    Attributes:
        size: (W, H) of the images of a batch; also ``"256x128"``, or one number for a square.
        load_size: What ``fit`` scales to before a window of ``size`` is cut, (W, H); left out: no scaling beforehand.
        fit: ``"crop"``: a random window of the frame, its aspect kept; ``"resize"``: the whole frame squeezed.
        batch_size: Images of each domain in a step, over all processes of a training together.
        augment: Names of augmentations, keys of ``sim2real.augment.AUGMENTATIONS``.
        matched: Cut the windows of a simulated and of a real frame at the same place of both, within a tenth of their
            sides, so that discriminators learn less of the layout; where all frames of both sides have masks, take of
            50 places the first where more than half of the pixels agree in class, or else the best. Both windows are
            mirrored, or neither, so that what agrees stays in the same place.
        workers: Processes that decode; 0 decodes in the training process.
        cache: Keep the images decoded, scaled and uncompressed, in the run folder until the training ends: for small
            datasets of large frames, where decoding is what a step waits for.
        validation: Part of each domain (below 1) or number of images that is held out and never trained on.
        sim_include: Globs on the paths of the sim side; only what fits one is used. None: all.
        sim_exclude: What fits one of these is not used.
        real_include: As ``sim_include``, of the real side.
        real_exclude: As ``sim_exclude``, of the real side.
        sim_as_image: Globs of images of the sim side that are a camera's, whatever their names and pixels tell.
        real_as_image: As ``sim_as_image``, of the real side.
        video_every: Seconds from one frame to the next that is extracted from a video of the real side.
        video_frames: So many of one video at most; of a longer one they lie farther apart.
        video_change: A frame that differs less from the last one extracted is left out, as of a camera that stands
            still: mean difference of thumbnails, in levels of 255; 0: none is.
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
    video_every: PositiveFloat = 1.0
    video_frames: PositiveInt = 1000
    video_change: NonNegativeFloat = 2.0


class Term(Section):
    """A loss with options: ``myloss = { weight = 1.0, options = { ... } }``; a mere number is its weight.

    Attributes:
        weight: What it is multiplied with in the sum; 0: it is not computed.
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
    """The generators' loss: the adversarial one, and the weights of all other terms by their registered names.

    Attributes:
        adversarial: The adversarial loss: least squares, binary cross-entropy or the hinge.
        cycle: Weight of the way there and back, which keeps what is in the picture.
        identity: Weight of leaving images of the target domain as they are, which keeps colours.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, _Weighted]
    adversarial: Literal["lsgan", "bce", "hinge"] = "lsgan"
    cycle: _Weighted = Term(weight=10)
    identity: _Weighted = Term(weight=0)

    def terms(self) -> dict[str, Term]:
        """The weighted terms besides the adversarial one; those of weight 0 are left out."""
        return {name: term for name, term in self.all_terms().items() if term.weight}

    def all_terms(self) -> dict[str, Term]:
        """Those of weight 0 too."""
        return {"cycle": self.cycle, "identity": self.identity, **self.__pydantic_extra__}


_Neighbours = Annotated[int, Field(ge=0, le=8)]
_Decay = Annotated[float, Field(ge=0, lt=1)]


class Transfer(Section):
    """How what the generator paints becomes the frame's.

    Attributes:
        name: ``"direct"``: its pixels are the frame's; ``"guided"``: the frame takes light and colours of them, by
            place and brightness, and keeps every edge of its own.
        size: Pixels of the longer side of what the generator sees of a frame where the transfer is guided.
        train: Whether discriminators and losses see guided pictures, too, where the transfer is guided.
        neighbours: Over so many frames before and behind it what is done to a frame of a sequence is averaged, where it
            is a bilateral grid: where the transfer is guided, or the generator paints by grids. 0: over none.
    """

    name: Literal["direct", "guided"] = "direct"
    size: int = Field(448, ge=64)
    train: bool = True
    neighbours: _Neighbours = 2


class Camera(Section):
    """What is left after colour: how soft and how noisy the pictures of a real camera are.

    Attributes:
        match: Fit a camera to the real images when the training is over; frames are converted as it takes them: blurred
            by less than a pixel and noisy, written as the JPEG files that real images are.
    """

    match: bool = False


class Classes(Section):
    """The classes of things, where something sees masks or boxes: numbered alike whichever dataset they are of.

    Attributes:
        names: In the order of their numbers; found in both datasets when the run begins, if left out.
        same: Name of a class -> other names that mean it: ``{ Car = ["Van", "Truck"] }``. Beside these, names that
            differ in capitals, spaces and hyphens, and common ones of datasets of streets, meet by themselves.
    """

    names: _Words = []
    same: dict[str, _Words] = {}


class Optim(Section):
    """Adam's settings.

    Attributes:
        generator_lr: Learning rate of the generators.
        discriminator_lr: Learning rate of the discriminators.
        betas: Decay of the running means of gradients and of their squares.
        max_grad_norm: The greatest norm of the gradients of all that one optimiser trains; 0: no limit.
    """

    generator_lr: NonNegativeFloat = 2e-4
    discriminator_lr: NonNegativeFloat = 2e-4
    betas: tuple[_Decay, _Decay] = (0.5, 0.999)
    max_grad_norm: NonNegativeFloat = 0


class Schedule(Section):
    """The learning rate over the run: constant, then linearly to zero.

    Attributes:
        constant: Share of the run at the full rate, in proportion to ``decay``.
        decay: Share of the run in which the rate falls to zero; 0: it stays.
        warmup: Before that the rate rises linearly from zero in so many steps.
    """

    constant: NonNegativeFloat = 1
    decay: NonNegativeFloat = 0
    warmup: NonNegativeInt = 0


class Train(Section):
    """How long: ``steps`` or ``epochs``, whichever was set last.

    Attributes:
        steps: Updates of every network.
        epochs: Times through as many images as the larger domain has.
        patience: Stop when the score of held-out images has not improved for so many epochs; 0 never stops.
        gradient_accumulation_steps: A step's images go through the networks in so many parts, for batches that memory
            does not hold.
    """

    steps: PositiveInt | None = None
    epochs: PositiveInt | None = None
    patience: NonNegativeInt = 0
    gradient_accumulation_steps: PositiveInt = 1

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            message = "set train.steps or train.epochs, one of them"
            raise ValueError(message)
        return self


class Every(Section):
    """Something that is done again and again.

    Attributes:
        every: It is done every so many steps; 0: at the end only.
    """

    every: NonNegativeInt = 500


class Checkpoint(Every):
    """Checkpoints, from which a run is resumed.

    Attributes:
        keep: The newest so many stay, and the best.
        use: Whose generators the run gives: those of the ``"best"`` evaluation on held-out images, or the ``"last"``.
    """

    keep: PositiveInt = 2
    use: Literal["best", "last"] = "best"


class Evaluate(Every):
    """How the generators do on held-out images.

    Attributes:
        count: Images of each domain.
        score: The figure that the best checkpoint is chosen by: a metric of sets by its name (``"colour"``), or a
            figure of one that compares frames without labels (``"edges.preservation"``), see ``sim2real evaluate``.
            Empty: distance to the real images over what is preserved.
    """

    count: PositiveInt = 32
    score: str = ""


class Log(Every):
    """Losses in metrics.jsonl and on the terminal.

    Attributes:
        to: Loggers that get them too; each needs its extra, ``pip install "sim2real[tensorboard]"``.
    """

    every: NonNegativeInt = 10
    to: Annotated[list[_Logger], _listed(_Logger)] = []


class Sample(Every):
    """Sample grids, as pictures in the run folder.

    Attributes:
        count: Held-out images of each domain.
    """

    count: PositiveInt = 4


class Conversion(Section):
    """One dataset that ``convert`` and ``batch`` convert; the fields are options of ``sim2real convert``.

    Attributes:
        source: Folder of the dataset.
        out: Folder that it is converted into.
        dataset: Name of its layout; it is recognised if left out.
        direction: Which of the run's generators; ``"sim2real"`` if left out.
        include: Globs; only frames that fit one are converted. None: all.
        exclude: Frames that fit one of these are not converted.
        as_image: Globs of images that are the camera's, whatever their names and pixels tell.
        carry: How labels and all other files come over.
        encoding: How JPEG files are written: ``"fixed"``: all with one ``quality``, baseline, chroma not subsampled;
            ``"source"``: each with the quantisation tables, the sampling of chroma and the mode of its own source file;
            ``"real"``: with those of most of the real images that the model was trained on.
        quality: Of JPEG files, where ``encoding`` is ``"fixed"``; 95 if left out.
        resize: ``[W, H]`` in pixels: images are brought to this size, and labels and calibrations with them. None: all
            sizes stay.
        transfer: ``"direct"`` or ``"guided"``; as the model's settings say if left out.
        neighbours: Over how many frames before and behind it what is done to a frame of a sequence is averaged; as the
            model's settings say if left out.
        camera: ``"match"``: frames are as the model's camera takes them; ``"off"``: as the generator gives them; the
            camera's if left out, where there is one.
        labelme_image: What becomes of the photos inside of LabelMe's JSON files: ``"embed"``: the translated ones take
            their place; ``"drop"``: none is inside; ``"keep"``: the files stay as they are.
        gate: What every translation must fulfil, for example ``"preservation>=0.9"``; also ``"new_edges<=0.1"``,
            ``"lost_edges<=0.1"``, and any figure of a metric that compares frames, ``"contrast.contrast/Car>=0.2"``.
            Empty: nothing.
        rejected: What takes the place of those that do not: ``"quarantine"``: the frame as it was; ``"blend"``: a
            mixture of both; ``"guided"``: the frame with the light and the colours of its translation by place and
            brightness; ``"colour"``: the frame in the colours of its translation as a whole; ``"pass"``: the
            translation all the same, marked in the manifest. Where these do not pass either, the frame as it was.
        looks: How many times the dataset is converted, into ``look_00``, ``look_01`` ... of ``out``: what the generator
            samples at random is sampled anew for each. 1: once, into ``out`` itself.
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
            message = f"quality = {self.quality} does not go with encoding = '{self.encoding}', which takes tables over"
            raise ValueError(message)
        return self


def _require_places(value: object) -> object:
    if isinstance(value, str) or (isinstance(value, list) and all(isinstance(each, str) and each for each in value)):
        return value
    message = "must be a folder or a video, or a list of them"
    raise ValueError(message)


_Places = Annotated[str | list[str], BeforeValidator(_require_places)]


class Config(Section):
    """All settings of a training and of the conversions that follow it.

    Attributes:
        recipe: Name of the settings that all others are laid over.
        summary: What the recipe is for, in a line.
        source: Where the recipe comes from.
        sim: Folder of the simulated images, a dataset of any known layout.
        real: Folder of the real images, or a video, or a list of such, whose images all count alike; empty where one
            CycleGAN folder, ``sim``, holds both.
        swap: In a CycleGAN folder take B as the simulation and A as real.
        run: Run folder, where the training is written and converted from; ``runs/<recipe>`` if left out.
        seed: Decides everything that is random.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:0"`` or ``"mps"``.
        precision: ``"auto"``: bf16 where the device is fast in it, else fp32.
        compile: Compile the networks, which takes minutes and makes every step faster; ``"auto"``: where that pays.
        deterministic: Two runs with one seed are equal bit for bit, at some cost in speed.
        init: The distribution that the weights of convolutions are first drawn from.
        ema_decay: Decay of the moving average of the generators' weights, with which images are converted; 0: none.
        image_pool_size: Earlier fakes that each discriminator is shown again; 0: it sees the newest alone.
        data: What the networks see.
        method: What makes up a training step.
        generator: What turns images of one domain into the other's.
        discriminator: What judges images of one domain.
        networks: Further networks by names that the method knows, each a generator or a discriminator that is
            registered.
        losses: What the generators are trained by.
        classes: The classes of things, where something sees them.
        transfer: How what the generators paint becomes the frames'.
        camera: What is left after colour.
        optim: Adam's settings.
        schedule: The learning rate over the run.
        train: How long.
        checkpoint: When the state is saved, and which one is used.
        sample: When sample grids are drawn.
        evaluate: When held-out images are looked at.
        log: When losses are written, and where to.
        convert: Datasets that ``convert`` and ``batch`` convert.
    """

    recipe: str = "default"
    summary: str = ""
    source: str = ""
    sim: str = ""
    real: _Places = ""
    swap: bool = False
    run: str = ""
    seed: int = Field(0, ge=0, lt=2**63)
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    compile: Literal["auto", True, False] = "auto"
    deterministic: bool = False
    init: Literal["xavier", "normal"] = "normal"
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
        """Where the run is written and looked for: ``run``, else ``runs/<recipe>``."""
        return Path(self.run or f"runs/{self.recipe}")

    @property
    def sim_place(self) -> Path:
        """Where the simulated images are.

        Raises:
            SettingsError: Nobody says where.
        """
        if not self.sim:
            raise SettingsError("no images of the simulation: give SIM and REAL, or set sim and real in sim2real.toml")
        return Path(self.sim)

    @property
    def real_places(self) -> list[Path]:
        """The folders and videos of the real side: ``real``, else ``sim``, which holds both sides then."""
        named = [self.real] if isinstance(self.real, str) else self.real
        return [Path(place) for place in named if place] or [Path(self.sim)]

    def dump(self) -> str:
        """The settings as TOML, which :func:`resolve` reads back to an equal object."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))
