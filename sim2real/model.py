"""Generators as files and as Python functions. The files are safetensors with the metadata to rebuild the network.

translate = sim2real.load("runs/town")
after = translate(before)  # RGB uint8 (H, W, 3) or (N, H, W, 3), any size
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from safetensors import SafetensorError, safe_open

from sim2real import __version__
from sim2real.camera import Camera
from sim2real.devices import resolve_device, resolve_precision
from sim2real.engines.base import EngineSettings
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
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from sim2real.capabilities import Capabilities
    from sim2real.config import Transfer
    from sim2real.datasets.base import Frame
    from sim2real.datasets.inputs import Inputs
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
        fingerprint: Fingerprint of the training data; of an imported generator, the SHA-256 of its file.
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
            message = f"settings: transfer: {error.errors()[0]['msg']}"
            raise MisfitError(message) from error

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
                message = (
                    f"--neighbours {wanted}: the output of the generator '{self.name}' cannot be averaged; leave out "
                    "--neighbours" + ("" if can.of_sequences else ", or add --transfer guided")
                )
                raise SettingsError(message)
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
            message = (
                f"--camera match: no camera was fitted for this model of '{self.name}'; train one with --set "
                "camera.match=true, or leave out --camera"
            )
            raise SettingsError(message)
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
        from sim2real.foreign import generator_of

        return info_of(path, *generator_of(path), DIRECTIONS[0])
    try:
        require_regular(path)
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
    except FileNotFoundError:
        message = f"{absent(path, 'model')}; name a run folder or one of its {_SUFFIX} files"
        raise Sim2RealError(message) from None
    except OSError as error:
        raise Sim2RealError(f"{path}: cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise Sim2RealError(_no_model(path)) from error
    if _METADATA_KEY not in metadata:
        message = f"{path}: these weights lack the metadata of a generator; use a file that sim2real train wrote"
        raise Sim2RealError(message)
    try:
        info = parse(GeneratorInfo, metadata[_METADATA_KEY].encode())
        if "transfer" in info.settings:
            _ = info.transfer  # validate it now
    except NewerFormatError as error:
        raise Sim2RealError(f"{path}: {error}") from error
    except MisfitError as error:
        message = f"{path}: the metadata of the generator is damaged ({error}); use a file that sim2real train wrote"
        raise Sim2RealError(message) from error
    return info


def info_of(file: Path, network: "nn.Module", found: "Recognised", direction: str) -> GeneratorInfo:
    """Return the metadata of a generator of another program.

    Args:
        file: The file that it was read from.
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
        fingerprint=sha256_of(file),
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
        message = f"{path}: {error}; install the plugin that provides it; `sim2real plugins` lists the installed ones"
        raise UnknownNameError(message) from error
    except _UNBUILT as error:
        message = f"{path}: the generator '{info.name}' cannot be built with the options in the file"
        raise Sim2RealError(f"{message} ({one_line(error)}); use a file that sim2real train wrote") from error
    try:
        network.load_state_dict(load_file(path))
    except (RuntimeError, SafetensorError) as error:
        message = (
            f"{path}: its weights do not fit the installed generator '{info.name}'; they were written with "
            f"sim2real {info.tool_version}: install that version, or the matching version of the plugin"
        )
        raise Sim2RealError(message) from error
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
        message = f"no direction is called '{direction}'; known: {', '.join(DIRECTIONS)}"
        raise Sim2RealError(message)
    name = f"{direction or DIRECTIONS[0]}{_SUFFIX}"
    if model is None:
        files = (path for path in runs.glob(f"*/{name}") if path.is_file() and not is_link(path))
        found = sorted(files, key=lambda path: path.stat().st_mtime)
        if not found:
            message = (
                f"no model: {runs}/ has no run with {name}; train one (sim2real train SIM REAL) or name one (--model)"
            )
            raise Sim2RealError(message)
        return found[-1]
    if not model.is_dir():
        actual = read_info(model).direction
        if direction not in (None, actual):
            message = f"{model}: this model translates {actual}, not {direction}; leave out --direction"
            raise Sim2RealError(message)
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
    if is_conversion(folder):
        return f"{folder}: a converted dataset, not a run; name the run folder of its model, such as runs/NAME"
    runs = [path for path in sorted(folder.iterdir()) if is_run(path)]
    hint = f"did you mean {runs[-1]}/?" if runs else f"name a run folder, such as runs/NAME, or a {_SUFFIX} file"
    return f"{folder}: not a run: sim2real train has written nothing to it; {hint}"


class Translator:
    """A trained generator as a callable on images.

    Attributes:
        info: The metadata of its file.
        can: The capabilities of the generator, for example the labels that it uses.
    """

    def __init__(
        self,
        generator: "nn.Module",
        info: GeneratorInfo,
        settings: EngineSettings,
        *,
        guided_size: int = 0,
        camera: Camera | None = None,
    ) -> None:
        from sim2real.capabilities import capabilities
        from sim2real.engines.guided import GuidedEngine
        from sim2real.engines.torch import TorchEngine

        self.info = info
        self.can = capabilities(generator, info.name)
        self._camera = camera
        engine = TorchEngine(generator, settings)
        self._engine: Callable[..., NDArray[np.uint8]] = (
            GuidedEngine(engine, guided_size, settings.device) if guided_size else engine
        )

    def __call__(
        self,
        images: "NDArray[np.uint8]",
        *,
        inputs: "Inputs | None" = None,
        seeds: "NDArray[np.uint64] | None" = None,
    ) -> "NDArray[np.uint8]":
        """Translate images, and apply the model's camera if there is one.

        Args:
            images: RGB uint8 (H, W, 3), or a batch (N, H, W, 3), of any size; for a generator of clips of T frames
                (T, H, W, 3) or (N, T, H, W, 3).
            inputs: For a generator that uses labels, a mapping from kind to an array aligned with the images,
                (..., H, W) as returned by :meth:`inputs_of`, (N, ...) for a batch, (T, ...) or (N, T, ...) for clips.
                For a generator with context, also ``past_images`` and ``past_outputs``, RGB uint8 (j, H, W, 3) or
                (N, j, H, W, 3); without them the images begin a sequence. Other keys are ignored.
            seeds: Seeds of the random numbers of the generator and the camera, one for each image or clip, uint64 (N,);
                None derives them from the pixels.

        Returns:
            Translated images of the same shape.

        Raises:
            ValueError: If an array has another shape or type, or if an input is missing.
        """
        from sim2real.capabilities import seeds_of_pixels

        translated = self.plain(images, inputs=inputs, seeds=seeds)
        if not self._camera:
            return translated
        shape = images.shape[-3:]
        pictures, given = translated.reshape(-1, *shape), images.reshape(-1, *shape)
        numbers = (seeds_of_pixels(self.can, given) if seeds is None else seeds).tolist()
        each = len(pictures) // len(numbers)
        taken = [self.take(picture, numbers[place // each] + place % each) for place, picture in enumerate(pictures)]
        return np.stack(taken).reshape(translated.shape)

    def take(self, picture: "NDArray[np.uint8]", seed: int) -> "NDArray[np.uint8]":
        """Apply the camera to a translated image, RGB (H, W, 3); without a camera return it unchanged."""
        return self._camera.apply(picture, seed, self.info.camera_encoding) if self._camera else picture

    def plain(
        self,
        images: "NDArray[np.uint8]",
        *,
        inputs: "Inputs | None" = None,
        seeds: "NDArray[np.uint64] | None" = None,
    ) -> "NDArray[np.uint8]":
        """Translate images as when called, but without the camera."""
        from sim2real.capabilities import seeds_of_pixels

        clips = (self.can.clip_length,) if self.can.clip_length > 1 else ()
        one = 3 + len(clips)
        if (
            images.dtype != np.uint8
            or images.ndim not in (one, one + 1)
            or images.shape[-1] != 3
            or images.shape[-4 : -4 + len(clips)] != clips
            or 0 in images.shape
        ):
            clip = "".join(f"{frames}, " for frames in clips)
            message = f"expected RGB uint8 ({clip}H, W, 3) or (N, {clip}H, W, 3), not {images.dtype} {images.shape}"
            raise ValueError(message)
        single = images.ndim == one
        batch = images[None] if single else images
        given = {kind: values[None] if single else values for kind, values in (inputs or {}).items()}
        if seeds is None:
            seeds = seeds_of_pixels(self.can, batch)
        translated = self._engine(batch, inputs=self._checked(batch, given), seeds=seeds)
        return translated[0] if single else translated

    def _checked(self, images: "NDArray[np.uint8]", given: "Inputs") -> "Inputs":
        """Return the checked inputs of the generator, (N, ...)."""
        from sim2real.capabilities import PAST, blank_inputs

        if missing := [kind for kind in self.can.inputs if kind not in given]:
            message = f"the generator '{self.info.name}' needs inputs['{missing[0]}'], which is missing"
            raise ValueError(message)
        height, width = images.shape[-3:-1]
        found = {}
        for kind, blank in blank_inputs(self.can, height, width, len(images)).items():
            values = given.get(kind, blank[:, :0])
            frames = min(values.shape[1], self.can.context) if kind in PAST and values.ndim == 5 else None
            wanted = blank.shape if frames is None else blank[:, :frames].shape
            if values.shape != wanted or values.dtype.kind not in ("iu" if blank.dtype.kind in "iu" else "f"):
                message = f"inputs['{kind}']: expected {blank.dtype} {wanted}, not {values.dtype} {values.shape}"
                raise ValueError(message)
            found[kind] = values.astype(blank.dtype, copy=False)
        if len({found[kind].shape for kind in PAST if kind in found}) > 1:
            message = "inputs['past_images'] and inputs['past_outputs'] have different numbers of frames"
            raise ValueError(message)
        return found

    def inputs_of(self, frame: "Frame") -> "Inputs":
        """Read the labels that the generator uses for a frame of a dataset, mapped to the classes of its training.

        Raises:
            DatasetError: If a label of the frame is missing, damaged, or not of the size of the image.
        """
        from sim2real.datasets.inputs import read_input
        from sim2real.datasets.vocabulary import Vocabulary

        vocabulary = Vocabulary.of(self.info.settings)
        return {kind: read_input(frame, kind, vocabulary) for kind in self.can.inputs}


def load(
    run_or_file: str | Path,
    *,
    direction: str | None = None,
    transfer: Literal["direct", "guided"] | None = None,
    camera: CameraChoice | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> Translator:
    """Load a trained generator from a run folder or a generator file.

    Args:
        run_or_file: ``runs/NAME`` or a ``.safetensors`` file.
        direction: ``"sim2real"`` or ``"real2sim"``; None means the direction of the file; for a run, sim2real.
        transfer: ``"direct"`` keeps the generator's pixels, ``"guided"`` applies its light and colours to the images;
            None follows the model.
        camera: ``"match"`` applies the blur and noise of the real images, ``"off"`` leaves the generator's output as
            it is; None follows the model.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:i"`` or ``"mps"``.
        precision: ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp16"``.

    Raises:
        Sim2RealError: If there is no such model, or if it cannot be rebuilt.
    """
    generator, info = load_generator(find_model(Path(run_or_file), direction))
    device = resolve_device(device)
    settings = EngineSettings(device=device, precision=resolve_precision(precision, device))
    return Translator(generator, info, settings, guided_size=info.guided_size(transfer), camera=info.camera_of(camera))


__all__ = [
    "DIRECTIONS",
    "GeneratorInfo",
    "Translator",
    "find_model",
    "load",
    "load_generator",
    "read_info",
    "save_generator",
    "with_camera",
]
