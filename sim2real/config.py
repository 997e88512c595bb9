"""What a recipe or sim2real.toml may say, and how the layers of settings become one.

The layers, each over the one before: the recipe, sim2real.toml, ``--set key=value``, the flags of a command.
"""

import copy
import difflib
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin

import tomli_w
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PlainSerializer,
    PositiveInt,
    ValidationError,
    model_validator,
)

from sim2real.errors import SettingsError, UnknownNameError
from sim2real.registry import registry

Layer = Mapping[str, Any]
SETTINGS_FILE = "sim2real.toml"
_COMPONENTS = ("method", "generator", "discriminator")
_MAY_CHANGE = (
    "summary", "source", "sim", "real", "run", "device", "convert", "data.workers", "train.", "checkpoint.", "sample.",
    "evaluate.", "log.",
)  # fmt: skip
_LENGTHS = {"steps", "epochs"}


class Section(BaseModel):
    """A table of settings; a key that it does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Component(Section):
    """A registered component and the keyword arguments of its constructor."""

    name: str
    options: dict[str, Any] = {}


class Data(Section):
    """What the networks see.

    Attributes:
        size: (W, H) of the images of a batch.
        load_size: What ``fit`` scales to before a window of ``size`` is cut, (W, H); None: no scaling beforehand.
        fit: ``"crop"``: a random window of the frame, its aspect kept; ``"resize"``: the whole frame squeezed.
        batch_size: Images of each domain in a step, over all processes of a training together.
        augment: Names of augmentations, see :mod:`sim2real.augment`.
        workers: Processes that decode; 0 decodes in the training process.
        cache: Keep the images decoded, scaled and uncompressed, in the run folder until the training ends: for small
            datasets of large frames, where decoding is what a step waits for.
        validation: Part of each domain (below 1) or number of images that is held out and never trained on.
        sim_include: Globs on the paths of the sim side; only what fits one is used. Likewise the other three.
    """

    size: tuple[PositiveInt, PositiveInt] = (256, 256)
    load_size: tuple[PositiveInt, PositiveInt] | None = None
    fit: Literal["crop", "resize"] = "crop"
    batch_size: PositiveInt = 1
    augment: list[str] = ["hflip"]
    workers: NonNegativeInt = 2
    cache: bool = False
    validation: NonNegativeFloat = 0.05
    sim_include: list[str] = []
    sim_exclude: list[str] = []
    real_include: list[str] = []
    real_exclude: list[str] = []


class Term(Section):
    """A loss with options: ``myloss = { weight = 1.0, options = { ... } }``; a mere number is its weight."""

    weight: NonNegativeFloat
    options: dict[str, Any] = {}


_Weighted = Annotated[
    Term,
    BeforeValidator(lambda value: value if isinstance(value, Mapping | Term) else {"weight": value}),
    PlainSerializer(lambda term: term.model_dump() if term.options else term.weight),
]


class Losses(BaseModel):
    """The generators' loss: how critics are fooled, and the weights of all other terms by their registered names."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, _Weighted]
    adversarial: Literal["lsgan", "bce", "hinge"] = "lsgan"
    cycle: _Weighted = Term(weight=10)
    identity: _Weighted = Term(weight=0)

    @model_validator(mode="after")
    def _extra_are_registered(self) -> Self:
        for name in self.__pydantic_extra__:
            registry().entry("losses", name)
        return self

    def terms(self) -> dict[str, Term]:
        """The weighted terms besides the adversarial one; those of weight 0 are left out."""
        named = {"cycle": self.cycle, "identity": self.identity, **self.__pydantic_extra__}
        return {name: term for name, term in named.items() if term.weight}


_Decay = Annotated[float, Field(ge=0, lt=1)]


class Critic(Section):
    """What keeps the discriminators in check, whichever they are.

    Attributes:
        spectral_norm: Divide every weight of convolutions and linear layers by its largest singular value.
        r1: Weight of the squared gradient of the scores of real images; 0: none.
        r1_every: It is computed every so many steps, weighted by as much more.
        lecam: Weight of the distance of scores from running means of those of the other kind; 0: none.
        augment: What is done alike to all that they see: ``"color"``, ``"translation"``, ``"cutout"``.
        augment_target: The probability of those adapts until this part of real images is scored as real; 0: always.
    """

    spectral_norm: bool = False
    r1: NonNegativeFloat = 0
    r1_every: PositiveInt = 16
    lecam: NonNegativeFloat = 0
    augment: list[Literal["color", "translation", "cutout"]] = []
    augment_target: float = Field(0.0, ge=0, le=1)


class Optim(Section):
    """Adam's settings.

    ``clip``: the greatest norm of the gradients of all that one optimiser trains; 0: no limit.
    """

    generator_lr: NonNegativeFloat = 2e-4
    discriminator_lr: NonNegativeFloat = 2e-4
    betas: tuple[_Decay, _Decay] = (0.5, 0.999)
    clip: NonNegativeFloat = 0


class Schedule(Section):
    """The learning rate over the run: constant, then linearly to zero, in these proportions of its length.

    ``warmup``: before that, linearly from zero in so many steps.
    """

    constant: NonNegativeFloat = 1
    decay: NonNegativeFloat = 0
    warmup: NonNegativeInt = 0


class Train(Section):
    """How long: ``steps`` or ``epochs``, whichever was set last; an epoch is as many images as the larger domain has.

    ``patience``: stop when the score of held-out images has not improved for so many epochs; 0 never stops.
    ``accumulate``: a step's images go through the networks in so many parts, for batches that memory does not hold.
    """

    steps: PositiveInt | None = None
    epochs: PositiveInt | None = None
    patience: NonNegativeInt = 0
    accumulate: PositiveInt = 1

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            message = "set train.steps or train.epochs, one of them"
            raise ValueError(message)
        return self


class Every(Section):
    """Something that is done every so many steps; 0: at the end only."""

    every: NonNegativeInt = 500


class Checkpoint(Every):
    """Checkpoints; the newest ``keep`` stay, and the best.

    ``use``: Whose generators the run gives: those of the ``"best"`` evaluation on held-out images, or the ``"last"``.
    """

    keep: PositiveInt = 2
    use: Literal["best", "last"] = "best"


class Evaluate(Every):
    """How the generators do on ``count`` held-out images of each domain."""

    count: PositiveInt = 32


class Log(Every):
    """Losses in metrics.jsonl and on the terminal; ``to``: loggers that get them too, which need their extras."""

    every: NonNegativeInt = 10
    to: list[Literal["tensorboard", "wandb", "mlflow"]] = []


class Sample(Every):
    """Sample grids of ``count`` held-out images of each domain."""

    count: PositiveInt = 4


class Conversion(Section):
    """One dataset that ``convert`` and ``batch`` convert; the fields are options of ``sim2real convert``."""

    source: str
    out: str
    dataset: str | None = None
    direction: Literal["sim2real", "real2sim"] | None = None
    include: list[str] = []
    exclude: list[str] = []
    carry: Literal["copy", "hardlink", "symlink"] = "copy"
    quality: int = Field(95, ge=1, le=100)


class Config(Section):
    """All settings of a training and of the conversions that follow it."""

    recipe: str = "default"
    summary: str = ""
    source: str = ""
    sim: str = ""
    real: str = ""
    swap: bool = False
    run: str = ""
    seed: int = Field(0, ge=0, lt=2**63)
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    compile: bool = False
    deterministic: bool = False
    init: Literal["xavier", "normal"] = "normal"
    ema: float = Field(0.0, ge=0, lt=1)
    pool: NonNegativeInt = 0
    data: Data = Data()
    method: Component = Component(name="cyclegan")
    generator: Component = Component(name="resnet")
    discriminator: Component = Component(name="patchgan70")
    critic: Critic = Critic()
    losses: Losses = Losses()
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

    def dump(self) -> str:
        """The settings as TOML, which :func:`resolve` reads back to an equal object."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def resolve(
    recipe: str | None = None,
    file: Layer | None = None,
    sets: Iterable[str] = (),
    base: Layer | None = None,
    **flags: object,
) -> Config:
    """Put the layers of settings together.

    Args:
        recipe: Name of the recipe; None: what the file or the sets name, else ``"default"``.
        file: What sim2real.toml says, see :func:`read_settings`.
        base: The settings of a run that is resumed, which stand in the place of the recipe's.
        sets: ``key=value`` of dotted keys; a value is TOML, or else a plain string.
        flags: Top-level settings that override all, where they are not None; ``a__b`` stands for ``a.b``.

    Raises:
        SettingsError: A key is unknown or a value does not fit; the message names the place and what is accepted.
        UnknownNameError: There is no such recipe.
    """
    layers: list[tuple[str, Layer]] = [(SETTINGS_FILE, file or {})]
    layers += [(f"--set {text}", _parse_set(text)) for text in sets]
    layers.append(("options", _nest((key.split("__"), value) for key, value in flags.items() if value is not None)))
    named = [layer["recipe"] for _, layer in [("", base or {}), *layers] if "recipe" in layer]
    name = recipe or (named[-1] if named else "default")
    entry = registry().entry("recipes", str(name))
    merged = Config().model_dump(mode="json", exclude_none=True)
    for place, layer in [(f"recipe {name}", base or _parse_toml(entry.load(), entry.target)), *layers]:
        _merge(merged, layer)
        _validate(merged, place)
    merged["recipe"] = name
    return _validate(merged, "options")


def differences(old: Config, new: Config) -> list[str]:
    """What a resumed run may not change, a line each: all settings but those of length, place, device and books."""
    before, after = (dict(_flat(config.model_dump(mode="json"))) for config in (old, new))
    return [
        f"{key} was {before.get(key)!r} and is now {after.get(key)!r}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key) and not key.startswith(_MAY_CHANGE)
    ]


def _flat(table: Layer, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def read_settings(path: Path) -> dict[str, Any]:
    """Read a sim2real.toml.

    Raises:
        SettingsError: It is not there or is not TOML.
    """
    try:
        return _parse_toml(path.read_text("utf-8"), str(path))
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror}); `sim2real init SIM REAL` writes one"
        raise SettingsError(message) from error
    except UnicodeDecodeError as error:
        message = f"{path}: not TOML: byte {error.start} is not UTF-8; save it as UTF-8"
        raise SettingsError(message) from error


def read_config(path: Path) -> Config:
    """Read the complete settings that a run keeps in its config.toml.

    Raises:
        SettingsError: It is not there, is not TOML or says something that this version does not know.
    """
    return _validate(read_settings(path), str(path))


def _parse_toml(text: str, place: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = f"{place}: not TOML: {error}"
        raise SettingsError(message) from error


def _parse_set(text: str) -> Layer:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        message = f"--set {text}: write key=value, for example --set data.batch_size=4"
        raise SettingsError(message)
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        if value in {"True", "False"}:
            message = f"--set {text}: write {key}={value.lower()}"
            raise SettingsError(message) from None
        parsed = value
    return _nest([(key.strip().split("."), parsed)])


def _nest(items: Iterable[tuple[list[str], object]]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for keys, value in items:
        table = nested
        for key in keys[:-1]:
            table = table.setdefault(key, {})
        table[keys[-1]] = value
    return nested


def _merge(into: dict[str, Any], layer: Layer) -> None:
    """Lay one layer over the others.

    Another component's name drops the options of the one that it replaces; one length of the training drops the other.
    """
    for key, value in layer.items():
        table = into.get(key)
        if isinstance(value, Mapping) and isinstance(table, dict):
            if key in _COMPONENTS and value.get("name", table.get("name")) != table.get("name"):
                table.pop("options", None)
            if key == "train" and len(_LENGTHS & value.keys()) == 1:
                for length in _LENGTHS - value.keys():
                    table.pop(length, None)
            _lay(table, value)
        else:
            into[key] = copy.deepcopy(value)


def _lay(into: dict[str, Any], layer: Layer) -> None:
    for key, value in layer.items():
        table = into.get(key)
        if isinstance(value, Mapping) and isinstance(table, dict):
            _lay(table, value)
        else:
            into[key] = copy.deepcopy(value)


def _validate(settings: Layer, place: str) -> Config:
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        path = [str(part) for part in first["loc"]]
        message = f"{place}: {'.'.join(path)}: {_explain(path, first['type'], first['msg'])}"
        raise SettingsError(message) from error
    except UnknownNameError as error:  # of a loss, the only names that are looked up here
        raise UnknownNameError(f"{place}: losses: {error}") from error


def _explain(path: list[str], kind: str, reason: str) -> str:
    if kind in {"model_type", "dict_type"}:
        return f"must be a table of {', '.join(_keys(Config, path)) if kind == 'model_type' else 'options'}"
    if kind != "extra_forbidden":
        reason = reason.removeprefix("Value error, ")
        return reason[0].lower() + reason[1:]
    known = _keys(Config, path[:-1])
    near = difflib.get_close_matches(path[-1], known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"accepted: {', '.join(known)}"
    return f"no such setting; {hint}"


def _keys(section: type[BaseModel], path: list[str]) -> list[str]:
    """The accepted keys of the table at a path."""
    for part in path:
        annotation = section.model_fields[part].annotation if part in section.model_fields else None
        if get_origin(annotation) is list:
            annotation = get_args(annotation)[0]
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            section = annotation
    return list(section.model_fields)
