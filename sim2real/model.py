"""Generators as files: safetensors with the metadata to rebuild the network."""

import json
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from safetensors import SafetensorError, safe_open

from sim2real import __version__
from sim2real.camera import Camera
from sim2real.errors import SettingsError, Sim2RealError, UnknownNameError
from sim2real.files import sha256_of, write_whole
from sim2real.imageio.encoding import Encoding
from sim2real.inside import inside, is_link, require_regular
from sim2real.places import absent, command_line, is_conversion, is_onnx, is_run, what_is
from sim2real.registry import registry
from sim2real.stored import (
    FORMAT,
    Format,
    MisfitError,
    NewerFormatError,
    Original,
    Rule,
    dumped,
    one_line,
    parse,
    unknown_fields,
)

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sim2real.capabilities import Capabilities
    from sim2real.config import Transfer
    from sim2real.foreign import Recognised

DIRECTIONS = ("sim2real", "real2sim")
CameraChoice = Literal["match", "off"]
"""``match`` applies the model's camera to translations; ``off`` leaves the generator's output as it is."""
Direction = Annotated[str, Rule(" or ".join(DIRECTIONS), lambda name: name in DIRECTIONS)]
_SUFFIX = ".safetensors"
_METADATA_KEY = "sim2real"  # one key: the order of several would differ from file to file
_UNBUILT = (RuntimeError, MemoryError, ArithmeticError, ValueError, TypeError)  # for options with impossible sizes


@dataclass(frozen=True)
class GeneratorInfo:
    """The metadata of a generator file.

    It contains no times, paths or names of runs, so equal trainings give equal metadata.

    Attributes:
        name: Registered name of the generator.
        options: Keyword arguments of its constructor.
        value_range: Minimum and maximum of the input and output values.
        direction: ``"sim2real"`` or ``"real2sim"``.
        recipe: Recipe that the training started from.
        settings: All settings of the training.
        fingerprint: Fingerprint of the training data; of an imported generator, the SHA-256 of its file or options.
        tool_version: Version of sim2real that wrote the file.
        real_encoding: The most common JPEG encoding of the real training images; empty if none are JPEG files, None if
            unknown.
        camera: The blur and noise that were fitted to images of the other domain; None if none were fitted.
        format_version: Version of the metadata format.
        imported: Name of the file that the generator was imported from, and its network; None if it was trained here.
        original: The metadata as read, if it has fields that this version does not know; else empty.
    """

    name: str
    options: dict[str, Any]
    value_range: Annotated[tuple[float, float], Rule("a smaller and a larger number", lambda ends: ends[0] < ends[1])]
    direction: Direction
    recipe: str
    settings: dict[str, Any]
    fingerprint: str
    tool_version: str
    real_encoding: tuple[Encoding, ...] | None = None
    camera: Camera | None = None
    imported: str | None = None
    format_version: Format = FORMAT
    original: Original = field(default_factory=dict)

    @property
    def transfer(self) -> "Transfer":
        """The transfer settings of the training: how the generator's output is applied to a frame.

        Raises:
            MisfitError: If the settings are invalid.
        """
        from pydantic import ValidationError

        from sim2real.config import Transfer

        try:
            return Transfer.model_validate(self.settings.get("transfer", {}))
        except ValidationError as error:
            raise MisfitError(f"settings: transfer: {error.errors()[0]['msg']}") from error

    def guided_size(self, transfer: str | None = None) -> int:
        """Return the longer side, in pixels, of the input for guided transfer, or 0 for direct transfer.

        Args:
            transfer: ``"direct"`` or ``"guided"``; None follows the settings of the training.
        """
        own = self.transfer if transfer != "direct" else None
        return own.size if own and "guided" in {transfer, own.name} else 0

    def neighbours(self, can: "Capabilities", transfer: str | None = None, wanted: int | None = None) -> int:
        """Return over how many frames before and after each frame its change is averaged.

        Args:
            can: The capabilities of the generator.
            transfer: As in :meth:`guided_size`.
            wanted: The requested number; None follows the settings of the training.

        Raises:
            SettingsError: If averaging is requested but neither the generator nor the transfer supports it.
        """
        if can.of_sequences or not (can.by_grids or self.guided_size(transfer)):
            if wanted:
                raise SettingsError(
                    f"--neighbours {wanted}: the output of the generator '{self.name}' cannot be averaged; leave out "
                    "--neighbours" + ("" if can.of_sequences else ", or add --transfer guided")
                )
            return 0
        return self.transfer.neighbours if wanted is None else wanted

    @property
    def camera_encoding(self) -> Encoding | None:
        """The encoding of the camera's simulated JPEG; None if the camera applies no compression."""
        return self.real_encoding[0] if self.real_encoding and self.direction == DIRECTIONS[0] else None

    def camera_of(self, choice: CameraChoice | None) -> Camera | None:
        """Return the camera to apply to translations, if any.

        Args:
            choice: None selects the model's camera if it has one.

        Raises:
            SettingsError: If ``choice`` is ``"match"`` and the model has no camera.
        """
        if choice == "match" and not self.camera:
            raise SettingsError(
                f"--camera match: no camera was fitted for this model of '{self.name}'; train one with --set "
                "camera.match=true, or leave out --camera"
            )
        return None if choice == "off" else self.camera

    @property
    def unknown(self) -> list[str]:
        """The names of fields that this version does not know."""
        return unknown_fields(self)

    def dump(self) -> dict[str, Any]:
        """Return the metadata as JSON values."""
        values: dict[str, Any] = json.loads(json.dumps(dumped(self)))
        return values


def save_generator(path: Path, network: "nn.Module", info: GeneratorInfo) -> None:
    """Write a generator's weights and metadata; equal content gives equal bytes.

    Args:
        path: File to write, ``*.safetensors``; replaced atomically.
        network: The generator itself, not wrapped in ``RangeAdapter``.
        info: The metadata.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    write_whole(path, _file_of(weights, info))


def _file_of(weights: "dict[str, Tensor]", info: GeneratorInfo) -> bytes:
    from safetensors.torch import save

    return save(weights, metadata={_METADATA_KEY: json.dumps(info.dump(), sort_keys=True)})


def with_camera(path: Path, camera: Camera | None) -> bytes:
    """Return the bytes of a generator file with its camera replaced.

    Raises:
        Sim2RealError: If the file is no generator file of sim2real.
    """
    info = read_info(path)
    from safetensors.torch import load_file

    return _file_of(load_file(path), replace(info, camera=camera))


def read_info(path: Path) -> GeneratorInfo:
    """Read the metadata of a generator file without its weights.

    Raises:
        Sim2RealError: If the file is no generator file of sim2real.
    """
    if is_onnx(path):
        from sim2real.graphs import check_onnx

        check_onnx(path)
        from sim2real.foreign import generator_of

        return info_of(path, *generator_of(path), DIRECTIONS[0])
    try:
        require_regular(path)
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
    except FileNotFoundError:
        raise Sim2RealError(f"{absent(path, 'model')}; name a run folder or one of its {_SUFFIX} files") from None
    except OSError as error:
        raise Sim2RealError(f"{path}: cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise Sim2RealError(_no_model(path)) from error
    if _METADATA_KEY not in metadata:
        raise Sim2RealError(
            f"{path}: these weights lack the metadata of a generator; use a file that sim2real train wrote"
        )
    try:
        info = parse(GeneratorInfo, metadata[_METADATA_KEY].encode())
        if "transfer" in info.settings:
            _ = info.transfer  # validate it now
    except NewerFormatError as error:
        raise Sim2RealError(f"{path}: {error}") from error
    except MisfitError as error:
        raise Sim2RealError(
            f"{path}: the metadata of the generator is damaged ({error}); use a file that sim2real train wrote"
        ) from error
    return info


def info_of(file: Path, network: "nn.Module", found: "Recognised", direction: str) -> GeneratorInfo:
    """Return the metadata of a generator of another program.

    Args:
        file: The file that it was read from, or the folder of its images.
        network: The generator.
        found: What is known of it.
        direction: ``"sim2real"`` or ``"real2sim"``.
    """
    return GeneratorInfo(
        name=found.generator,
        options=found.options,
        value_range=getattr(network, "value_range", (-1.0, 1.0)),
        direction=direction,
        recipe=found.recipe,
        settings=found.settings().model_dump(mode="json", exclude={"sim", "real", "run", "start_from"}),
        fingerprint=sha256_of(file) if file.is_file() else sha256(json.dumps(found.options).encode()).hexdigest(),
        tool_version=__version__,
        imported=f"{file.name}: {found.description}",
    )


def is_generator_file(path: Path) -> bool:
    """Return whether a file holds a generator of sim2real; other programs also write safetensors files."""
    try:
        with safe_open(path, framework="np") as file:
            return _METADATA_KEY in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False


def _no_model(path: Path) -> str:
    """Return a message on a file that is not a safetensors file."""
    thing = what_is(path)
    if thing.kind in {"pointer", "page", "empty"}:
        return f"{path}: {thing.name}, not a model: {thing.advice}"
    if path.suffix == _SUFFIX:
        return f"{path}: a damaged safetensors file; copy it again, or name the run folder that it comes from"
    hint = f"import it first: {command_line('sim2real', 'import', path)}; or" if path.suffix == ".pth" else ""
    return (
        f"{path}: {thing.name}, not a model of sim2real; {hint}{' ' * bool(hint)}name a run folder that sim2real train "
        f"wrote, or one of its {_SUFFIX} files"
    )


def load_generator(path: Path) -> "tuple[nn.Module, GeneratorInfo]":
    """Rebuild a generator.

    Returns:
        The network for images in [-1, 1], in evaluation mode on the CPU, and the metadata of the file.

    Raises:
        Sim2RealError: If the file is no generator file, its generator is not installed, or its weights do not fit.
        PluginError: If the generator has an invalid attribute.
    """
    from safetensors.torch import load_file

    from sim2real.capabilities import capabilities
    from sim2real.networks.range_adapter import RangeAdapter

    if is_onnx(path):
        from sim2real.foreign import generator_of

        foreign, found = generator_of(path)
        return RangeAdapter(foreign, returns_images=True).eval(), info_of(path, foreign, found, DIRECTIONS[0])
    info = read_info(path)
    try:
        network: nn.Module = registry().create(
            "generators", info.name, 3, 3, options=info.options, place=f"{path}: options"
        )
    except UnknownNameError as error:
        raise UnknownNameError(
            f"{path}: {error}; install the plugin that provides it; `sim2real plugins` lists the installed ones",
            topic="a-plugin-fails",
        ) from error
    except _UNBUILT as error:
        message = f"{path}: the generator '{info.name}' cannot be built with the options in the file"
        raise Sim2RealError(f"{message} ({one_line(error)}); use a file that sim2real train wrote") from error
    if name_classes := getattr(network, "name_classes", None):
        name_classes(info.settings.get("classes", {}).get("names", ()))
    try:
        network.load_state_dict(load_file(path))
    except (RuntimeError, SafetensorError) as error:
        raise Sim2RealError(
            f"{path}: its weights do not fit the installed generator '{info.name}'; they were written with "
            f"sim2real {info.tool_version}: install that version, or the matching version of the plugin"
        ) from error
    capabilities(network, info.name)
    return RangeAdapter(network, returns_images=True).eval(), info


def find_model(model: Path | None, direction: str | None, runs: Path = Path("runs")) -> Path:
    """Return the path of a generator file.

    Args:
        model: Run folder, generator file, or None for the newest run.
        direction: ``"sim2real"``, ``"real2sim"``, or None for the direction of the file; for a run, sim2real.
        runs: Folder of the runs.

    Raises:
        Sim2RealError: If there is none, or if it has another direction.
    """
    if direction not in (None, *DIRECTIONS):
        raise Sim2RealError(f"no direction is called '{direction}'; known: {', '.join(DIRECTIONS)}")
    name = f"{direction or DIRECTIONS[0]}{_SUFFIX}"
    if model is None:
        files = (path for path in runs.glob(f"*/{name}") if path.is_file() and not is_link(path))
        found = sorted(files, key=lambda path: path.stat().st_mtime)
        if not found:
            raise Sim2RealError(
                f"no model: {runs}/ has no run with {name}; train one (sim2real train SIM REAL) or name one (--model)"
            )
        return found[-1]
    if not model.is_dir():
        actual = read_info(model).direction
        if direction not in (None, actual):
            raise Sim2RealError(f"{model}: this model translates {actual}, not {direction}; leave out --direction")
        return model
    if not (file := inside(model, name)).is_file():
        raise Sim2RealError(_without(model, name))
    return file


def _without(folder: Path, name: str) -> str:
    """Return a message on a folder that lacks a generator file."""
    if written := ", ".join(sorted(path.name for path in folder.glob(f"*{_SUFFIX}"))):
        return f"{folder}: this run has no {name}; it has {written}"
    if is_run(folder):
        return f"{folder}: this run has no {name} yet; finish its training first: sim2real train --run ... --resume"
    if (folder / "model_index.json").is_file():
        hint = command_line("sim2real", "import", folder, "--recipe", "diffusers")
        return f"{folder}: a pipeline of diffusers, not a run; import it first, with sim2real-diffusers: {hint}"
    if is_conversion(folder):
        return f"{folder}: a converted dataset, not a run; name the run folder of its model, such as runs/NAME"
    runs = [path for path in sorted(folder.iterdir()) if is_run(path)]
    hint = f"did you mean {runs[-1]}/?" if runs else f"name a run folder, such as runs/NAME, or a {_SUFFIX} file"
    return f"{folder}: not a run: sim2real train has written nothing to it; {hint}"
