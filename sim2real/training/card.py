"""The model card of a run: ``README.md`` in its folder, in the format of the Hugging Face hub.

It consists of YAML between lines ``---`` and of Markdown. Cards are passed on with the run: they name folders by their
last part only, and hold no times, so that equal trainings give equal cards.
"""

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, Final

import tomli_w
from torch import nn

from sim2real import __version__
from sim2real.capabilities import LICENCE, Capabilities, capabilities
from sim2real.config import Config, resolve
from sim2real.datasets.contract import adapter_of
from sim2real.files import write_whole
from sim2real.inside import is_link
from sim2real.model import DIRECTIONS, GeneratorInfo
from sim2real.registry import BUILTIN, registry
from sim2real.training.domains import Domain, Origin
from sim2real.training.results import BOOKS, file_name
from sim2real.training.validation import CHOICE, MEANINGS

CARD: Final = "README.md"
_MARK: Final = "<!-- model card of sim2real:"
_MARKER: Final = f"{_MARK} replaced when the run is extended; remove this line to keep a text of your own -->"
_DOES: Final = dict(
    zip(DIRECTIONS, ("makes simulated images look real", "makes real images look simulated"), strict=True)
)
_VALIDATION: Final = "evaluation/"
_FOLDERS: Final = {"folder", "model"}  # options of generators whose weights or images are elsewhere
_OWN: Final = "your own"  # how the cards of layouts begin that know no licence, see sim2real.datasets.facts
_VIDEO: Final = "video"  # the layout of an origin that is no folder of images
_CHOSEN_BY: Final = "the value that steps are compared by (`evaluate.score`)"
_NOT_OF_THE_RECIPE: Final = {"recipe", "summary", "source"}


@dataclass(frozen=True, slots=True)
class Generator:
    """A generator of the run.

    Attributes:
        info: The metadata of its file.
        can: Its capabilities.
        parameters: Number of its parameters.
    """

    info: GeneratorInfo
    can: Capabilities
    parameters: int

    @classmethod
    def of(cls, network: nn.Module, info: GeneratorInfo) -> "Generator":
        """Describe a network, wrapped or not."""
        return cls(info, capabilities(network, info.name), sum(weights.numel() for weights in network.parameters()))


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """What is known at the end of a training.

    Attributes:
        sim: The simulated images.
        real: The real images.
        steps: Number of steps of the whole run.
        used_step: The step that the generators come from.
        device: Resolved device.
        precision: Resolved precision.
        processes: Number of processes.
        figures: The values of ``used_step`` in metrics.jsonl.
        assessment: The text of the training's :class:`sim2real.training.validation.Standing`.
    """

    sim: Domain
    real: Domain
    steps: int
    used_step: int
    device: str
    precision: str
    processes: int
    figures: Mapping[str, float]
    assessment: str


def write_card(
    folder: Path, config: Config, generators: Mapping[str, Generator], training: Training | None = None
) -> list[str]:
    """Write the card of a run, unless its folder has a ``README.md`` that sim2real did not write.

    Args:
        folder: The run folder.
        config: All settings.
        generators: The generators by direction.
        training: The training; None for a run that was imported.

    Returns:
        A note for the user if a file of the same name was left alone, else none.
    """
    file = folder / CARD
    if (file.exists() or is_link(file)) and not _is_own(file):
        return [f"{file}: kept, as sim2real did not write it; rename it if you want a model card"]
    write_whole(file, render(folder.resolve().name, config, generators, training).encode())
    return []


def _is_own(file: Path) -> bool:
    """Return whether sim2real wrote a card, and nobody has removed its mark since."""
    if is_link(file) or not file.is_file():
        return False
    return any(line.startswith(_MARK.encode()) for line in file.read_bytes().splitlines())


def render(name: str, config: Config, generators: Mapping[str, Generator], training: Training | None = None) -> str:
    """Return the text of a card.

    Args:
        name: Name of the run.
        config: As for :func:`write_card`.
        generators: As for :func:`write_card`.
        training: As for :func:`write_card`.
    """
    of_training = [*_data(config, generators, training), *_figures(config, training)] if training else []
    parts = [
        _front_matter(config, generators, trained=training is not None),
        _MARKER,
        f"# {_escaped(name)}",
        *_about(config, generators, training),
        *of_training,
        "## Use",
        *_use(name, generators),
        "## Limits",
        _listed(_limits(generators, trained=training is not None)),
        "## Licences",
        *_licences(config, generators, training),
        "## Settings",
        *_settings(config),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(config: Config, generators: Mapping[str, Generator], *, trained: bool) -> str:
    own = [config.recipe, config.method.name] if trained else ["imported"]
    tags = dict.fromkeys(["sim2real", *own, *(generator.info.name for generator in generators.values())])
    quoted = [f"- {json.dumps(tag)}" for tag in tags]  # names of plugins may mean something else in YAML
    return "\n".join(["---", "library_name: sim2real", "pipeline_tag: image-to-image", "tags:", *quoted, "---"])


def _about(config: Config, generators: Mapping[str, Generator], training: Training | None) -> Iterator[str]:
    single = len(generators) == 1
    what = "An image-to-image generator" if single else "Two image-to-image generators"
    if training:
        which = "the last" if training.used_step == training.steps else "the best on held-out images"
        facts = {"The recipe": _line(config.summary), "Its source": _line(config.source)}
        start = f" The training started with the weights of {_place(config.start_from)}." if config.start_from else ""
        yield (
            f"{what}, trained with sim2real on unpaired simulated and real images, by the recipe "
            f"{_code(config.recipe)} and the method {_code(config.method.name)}; "
            f"{'it is that' if single else 'they are those'} of step {training.used_step} of {training.steps}, {which}."
            + "".join(f" {word}: {text}." for word, text in facts.items() if text)
            + start
        )
    else:
        them = "it was" if single else "they were"
        yield f"{what} of another program, imported into sim2real. How {them} trained is not recorded."
    yield _listed(_file(direction, generator) for direction, generator in generators.items())


def _file(direction: str, generator: Generator) -> str:
    """Return a line on the file of a generator."""
    info = generator.info
    own = {key: value for key, value in _without_paths(info.options).items() if not isinstance(value, dict)}
    options = ", ".join(f"{key} = {json.dumps(value)}" for key, value in own.items())
    parts = [f"{_code(file_name(direction))} {_DOES[direction]}: {_code(info.name)}"]
    parts += [f"({_code(options)})"] * bool(options)
    count = [f"{generator.parameters:,} parameters"] * bool(generator.parameters)
    origin = [f"imported from {_code(info.imported)}"] if info.imported else []
    if info.imported and not _FOLDERS & info.options.keys():
        origin.append(f"SHA-256 {_code(info.fingerprint)}")
    facts = [f"{name} {_code(text)}" for name, text in generator.can.provenance.items()]
    return ", ".join([" ".join(parts), *count, *origin, *facts])


def _data(config: Config, generators: Mapping[str, Generator], training: Training) -> Iterator[str]:
    data = config.data
    if data.load_size:
        shown = f"windows of frames scaled to {_size(data.load_size)} pixels"
    else:
        shown = "windows of the frames" if data.fit == "crop" else "whole frames"
    images = f"{data.batch_size} image{'s' * (data.batch_size > 1)}"
    several = f", by {training.processes} processes" if training.processes > 1 else ""
    fingerprints = dict.fromkeys(_code(generator.info.fingerprint) for generator in generators.values())
    yield "## Training"
    yield _listed(
        [
            _side("simulated", training.sim),
            _side("real", training.real),
            f"size: {_size(data.size)} pixels, {shown}",
            f"length: {training.steps} steps with {images} of each side{several}",
            f"device: {training.device}, in {training.precision}, at the end of the training",
            f"version: sim2real {__version__}",
            f"fingerprint of the names and sizes of the images and of the labels used: {', '.join(fingerprints)}",
        ]
    )


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _side(word: str, domain: Domain) -> str:
    """Return a line on the images of a side."""
    several = len(domain.origins) > 1
    places = ", ".join(_origin(origin, counted=several) for origin in domain.origins)
    return f"{word}: {len(domain.train)} images trained on, {len(domain.held_out)} held out; from {places}"


def _origin(origin: Origin, *, counted: bool) -> str:
    layout = "video" if origin.layout == _VIDEO else f"layout {_code(origin.layout)}"
    frames = sum(each.frames for each in origin.extracted)
    videos = [f"{frames} frames of videos"] * bool(frames and origin.layout != _VIDEO)
    count = [f"{origin.images} images"] * counted
    return f"{_place(origin.path)} ({', '.join([layout, *count, *videos])})"


def _figures(config: Config, training: Training) -> Iterator[str]:
    assessment = f"{training.assessment[:1].upper()}{training.assessment[1:]}."
    yield "## Figures on held-out images"
    figures = {
        name.removeprefix(_VALIDATION): value
        for name, value in training.figures.items()
        if name.startswith(_VALIDATION) and name != CHOICE
    }
    if not figures:
        yield assessment
        return
    yield (
        f"{assessment} The figures are of the direction {DIRECTIONS[0]}, of frames of {_size(config.data.size)} pixels "
        f"and of step {training.used_step}; `metrics.jsonl` has those of all steps."
    )
    rows = [f"| {_code(name)} | {value:.4g} | {MEANINGS.get(name, _CHOSEN_BY)} |" for name, value in figures.items()]
    yield "\n".join(["| figure | value | meaning |", "|---|---:|---|", *rows])


def _use(name: str, generators: Mapping[str, Generator]) -> Iterator[str]:
    only = next(iter(generators))
    words = [] if only == DIRECTIONS[0] else ["--direction", only]
    argument = "" if only == DIRECTIONS[0] else f', direction="{only}"'
    folder = name if name.isprintable() and not name.startswith("-") else "FOLDER"
    yield (
        f"{_code(folder)} stands for this folder, `SIM` for a folder of simulated images, `REAL` for one of real "
        "images, and `OUT` for a new folder:"
    )
    source = "SIM" if only == DIRECTIONS[0] else "REAL"
    commands = [["sim2real", "convert", source, "OUT", "--model", folder, *words]]
    if any(generator.info.imported and generator.parameters for generator in generators.values()):
        commands.append(["sim2real", "train", "SIM", "REAL", "--from", folder, "--run", "NEW"])
    yield _fenced("sh", "\n".join(map(shlex.join, commands)))
    yield _fenced("python", "\n".join(_python(json.dumps(folder) + argument, source, generators[only].can)))
    if len(generators) > 1:
        other = next(direction for direction in generators if direction != only)
        yield f'The other direction: `--direction {other}`, or `direction="{other}"` in Python.'


def _python(arguments: str, source: str, can: Capabilities) -> Iterator[str]:
    yield from ("import sim2real", "", f"translate = sim2real.load({arguments})")
    if can.clip_length > 1:
        shape, inputs = f"({can.clip_length}, H, W, 3)", ", inputs=inputs" * bool(can.inputs)
        yield f"after = translate(before{inputs})  # {can.clip_length} frames, RGB uint8 {shape}"
    elif can.inputs:
        yield f'frame = next(sim2real.open_dataset("{source}").frames())'
        yield "after = translate(frame.load_image(), inputs=translate.inputs_of(frame))  # RGB uint8 (H, W, 3)"
    else:
        yield "after = translate(before)  # RGB uint8 (H, W, 3) or (N, H, W, 3)"


def _limits(generators: Mapping[str, Generator], *, trained: bool) -> Iterator[str]:
    yield from (
        f"There is no {_code(file_name(direction))}: nothing here {_DOES[direction]}."
        for direction in DIRECTIONS
        if direction not in generators
    )
    yield from dict.fromkeys(text for generator in generators.values() for text in _needs(generator))
    yield from dict.fromkeys(_camera(direction, generator.info) for direction, generator in generators.items())
    if trained:
        yield "How images that differ from those of the training are translated is not known."
    else:
        yield "How well it translates is not recorded."
    if DIRECTIONS[0] in generators:
        yield "Evaluate each converted dataset: `sim2real evaluate OUT --real REAL`."


def _needs(generator: Generator) -> Iterator[str]:
    """Yield sentences on what a generator needs and cannot do."""
    info, can = generator.info, generator.can
    entry = registry().entry("generators", info.name)
    if entry.owner != BUILTIN:
        yield f"The generator {_code(info.name)} is of the plugin {_code(entry.owner)}, which has to be installed."
    if info.name == "onnx":
        yield 'The network is an ONNX graph, which needs `pip install "sim2real[export]"`.'
    yield from _sees(can)
    if size := info.guided_size():
        yield (
            f"Its output is not used itself: frames take over its light and colours, as it paints them at up to {size} "
            "pixels, and keep their own edges (guided transfer)."
        )
    if can.cpu_only:
        yield "It runs on the CPU only."
    if not can.exportable and info.name != "onnx":
        yield "It cannot be exported as ONNX."


def _sees(can: Capabilities) -> Iterator[str]:
    """Yield sentences on what a generator sees besides the pixels of one image."""
    if can.inputs:
        yield f"It needs labels of every image that it translates: {', '.join(map(_code, can.inputs))}."
    if can.fixed_size:
        yield f"It translates images of {_size(can.fixed_size)} pixels only; a guided transfer scales frames to that."
    if can.clip_length > 1:
        yield f"It translates {can.clip_length} consecutive frames together."
    if can.context:
        yield f"It looks at up to {can.context} earlier frames of a sequence and their translations."
    if can.stochastic:
        yield "It samples at random; equal seeds give equal images (`convert --looks N` samples several times)."


def _camera(direction: str, info: GeneratorInfo) -> str:
    if info.camera:
        return f"A camera is fitted for {direction} and applied to translations: {info.camera}."
    return "No camera is fitted: blur and noise are those of the generator's output."


def _licences(config: Config, generators: Mapping[str, Generator], training: Training | None) -> Iterator[str]:
    known = dict.fromkeys(
        _code(each.can.provenance[LICENCE]) for each in generators.values() if LICENCE in each.can.provenance
    )
    if known:
        yield f"The weights are licensed {', '.join(known)}, as their folder says."
    if training is None:
        yield (
            "The licence of the original weights applies, and those of the images that they were trained on. They are "
            f"{'not all' if known else 'not'} recorded: look them up where the weights come from before you pass on "
            "this folder or translations."
        )
        return
    origins = dict.fromkeys(
        (origin.path, origin.layout) for side in (training.sim, training.real) for origin in side.origins
    )
    yield _listed(_licence(path, layout) for path, layout in origins)
    pictures = ["`samples/` shows some of them"] * bool(training.sim.held_out and training.real.held_out)
    frames = any(origin.extracted for side in (training.sim, training.real) for origin in side.origins)
    pictures += ["`frames/` holds frames of the videos"] * frames
    shown = f" ({', '.join(pictures)})" if pictures else ""
    start = f" and of the weights of {_place(config.start_from)}" if config.start_from else ""
    yield (
        f"The licences of the training images{shown}{start} apply. Check them before you pass on this folder or "
        f"translated images.{'' if known else ' No licence of the generators themselves is recorded.'}"
    )


def _licence(path: Path, layout: str) -> str:
    """Return a line on the licence of the images in a place, as far as its layout tells."""
    entry = next((entry for entry in registry().entries("datasets") if entry.name == layout), None)
    facts = adapter_of(entry).facts if entry else None
    terms = facts.licence if facts else _OWN
    if facts is None or terms.startswith(_OWN):
        more = terms.removeprefix(_OWN).removeprefix(": ")
        return f"{_place(path)}: no licence is recorded{more and f'; {more}'}"
    copies = "; translated copies stay under it" * facts.binds
    return (
        f"{_place(path)} has the layout of {facts.title}. If its images are of that dataset, their licence applies: "
        f"{terms.rstrip('.')}{copies}; see `sim2real datasets {layout}`"
    )


def _settings(config: Config) -> Iterator[str]:
    own, recipe = (each.model_dump(mode="json", exclude=BOOKS) for each in (config, resolve(config.recipe)))
    changed = {key: value for key, value in _differing(own, recipe).items() if key not in _NOT_OF_THE_RECIPE}
    if not changed:
        yield f"Those of the recipe {_code(config.recipe)}."
        return
    yield f"Those that differ from the recipe {_code(config.recipe)}; `config.toml` has all."
    yield _fenced("toml", tomli_w.dumps(changed).rstrip())


def _differing(own: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that another table has not or has differently, without paths and unset ones."""
    found = {}
    for key, value in _without_paths(own).items():
        if isinstance(value, Mapping) and isinstance(other.get(key), Mapping):
            if part := _differing(value, other[key]):
                found[key] = part
        elif value != other.get(key):
            found[key] = value
    return found


def _without_paths(value: Any) -> Any:  # noqa: ANN401  whatever settings hold
    """Return nested settings by key, without those that are paths, and without None, which TOML lacks."""
    if isinstance(value, Mapping):
        kept = {key: _without_paths(value[key]) for key in sorted(value) if not _is_path(value[key])}
        return {key: part for key, part in kept.items() if part is not None and (part != {} or not value[key])}
    return [_without_paths(part) for part in value] if isinstance(value, list | tuple) else value


def _is_path(value: object) -> bool:
    """Return whether a setting is a path that leads out of the working folder, or a list with one."""
    if isinstance(value, list | tuple):
        return any(map(_is_path, value))
    if not isinstance(value, str):
        return False
    path = PureWindowsPath(value)
    return bool(path.root or path.drive or ".." in path.parts or value.startswith("~"))


def _place(path: str | Path) -> str:
    """Return the name of a place, without the folders that lead to it."""
    resolved = Path(path).resolve()
    return _code("~" if resolved == Path.home().resolve() else resolved.name or "?")


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", _printable(text))


def _code(text: str) -> str:
    """Return a text as code within a paragraph."""
    shown = _printable(text)
    ticks = "`" * (1 + _longest_run(shown))
    space = " " * (shown[:1] == "`" or shown[-1:] == "`")
    return f"{ticks}{space}{shown}{space}{ticks}"


def _fenced(language: str, text: str) -> str:
    fence = "`" * max(3, 1 + _longest_run(text))
    return f"{fence}{language}\n{text}\n{fence}"


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
