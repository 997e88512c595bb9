"""Generators on disk and from Python: weights as safetensors, with all that is needed to rebuild the network.

translate = sim2real.load("runs/town")
after = translate(before)  # RGB uint8 (H, W, 3) or (N, H, W, 3), any size
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from safetensors import SafetensorError, safe_open

from sim2real.camera import Camera
from sim2real.devices import resolve_device, resolve_precision
from sim2real.engines.base import EngineSettings
from sim2real.errors import SettingsError, Sim2RealError, UnknownNameError
from sim2real.files import write_whole
from sim2real.imageio.encoding import Encoding
from sim2real.inside import inside, is_link, require_regular
from sim2real.places import absent, is_conversion, is_run, what_is
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

DIRECTIONS = ("sim2real", "real2sim")
CameraChoice = Literal["match", "off"]
"""Whether pictures are as the model's camera takes them: ``match``, or as the generator gives them: ``off``."""
Direction = Annotated[str, Rule(" or ".join(DIRECTIONS), lambda name: name in DIRECTIONS)]
_SUFFIX = ".safetensors"
_METADATA_KEY = "sim2real"  # one key: the order of several would differ from file to file
_UNBUILT = (RuntimeError, MemoryError, ArithmeticError, ValueError, TypeError)  # of sizes that no network can have


@dataclass(frozen=True)
class GeneratorInfo:
    """What a generator file says about itself; equal trainings say the same, so no times, paths or names of runs.

    Attributes:
        name: Registered name of the generator.
        options: Keyword arguments of its constructor.
        value_range: Least and greatest value of the images that it takes and makes.
        direction: ``"sim2real"`` or ``"real2sim"``.
        recipe: Recipe that the training started from.
        settings: All settings of the training.
        fingerprint: Of the data that it was trained on.
        tool_version: Version of sim2real that wrote the file.
        real_encoding: How most JPEG files are encoded among the real images that it was trained on; empty if there are
            none, None if nobody has looked.
        camera: What makes its pictures as soft and as noisy as those of the other domain; None if nobody has looked.
        format_version: Of what a file says about itself.
        original: All that was read, if another version has written fields that this one does not know.
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
    format_version: Format = FORMAT
    original: Original = field(default_factory=dict)

    @property
    def transfer(self) -> "Transfer":
        """How what it paints becomes a frame's, by the settings of its training.

        Raises:
            MisfitError: They say what nobody understands.
        """
        from pydantic import ValidationError

        from sim2real.config import Transfer

        try:
            return Transfer.model_validate(self.settings.get("transfer", {}))
        except ValidationError as error:
            message = f"settings: transfer: {error.errors()[0]['msg']}"
            raise MisfitError(message) from error

    def guided_size(self, transfer: str | None = None) -> int:
        """Pixels of the longer side of what it sees of a frame where the transfer is guided, 0 where it is direct.

        Args:
            transfer: ``"direct"`` or ``"guided"``; None: as the settings of its training say.
        """
        own = self.transfer if transfer != "direct" else None
        return own.size if own and "guided" in {transfer, own.name} else 0

    def neighbours(self, can: "Capabilities", transfer: str | None = None, wanted: int | None = None) -> int:
        """Over how many frames before and behind it what is done to a frame is averaged.

        Args:
            can: What its generator says of itself.
            transfer: As of :meth:`guided_size`.
            wanted: So many; None: as the settings of its training say.

        Raises:
            SettingsError: There is nothing that could be.
        """
        if can.of_sequences or not (can.by_grids or self.guided_size(transfer)):
            if wanted:
                message = (
                    f"--neighbours {wanted}: nothing of the generator '{self.name}' can be averaged; leave out "
                    "--neighbours" + ("" if can.of_sequences else ", or say --transfer guided")
                )
                raise SettingsError(message)
            return 0
        return self.transfer.neighbours if wanted is None else wanted

    @property
    def camera_encoding(self) -> Encoding | None:
        """How the JPEG is written that the camera gives; None if it gives pixels."""
        return self.real_encoding[0] if self.real_encoding and self.direction == DIRECTIONS[0] else None

    def camera_of(self, choice: CameraChoice | None) -> Camera | None:
        """What takes its pictures.

        Args:
            choice: None: a camera where there is one.

        Raises:
            SettingsError: There is none, and somebody asks for it.
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
        """Names of fields that this version does not know."""
        return unknown_fields(self)

    def dump(self) -> dict[str, Any]:
        """What the file says, as JSON has it."""
        values: dict[str, Any] = json.loads(json.dumps(dumped(self)))
        return values


def save_generator(path: Path, network: "nn.Module", info: GeneratorInfo) -> None:
    """Write a generator's weights and what rebuilds it; equal ones give equal bytes.

    Args:
        path: File to write, ``*.safetensors``; replaced as a whole or not at all.
        network: The generator itself, not wrapped in ``RangeAdapter``.
        info: What rebuilds it.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    write_whole(path, _file_of(weights, info))


def _file_of(weights: "dict[str, Tensor]", info: GeneratorInfo) -> bytes:
    from safetensors.torch import save

    return save(weights, metadata={_METADATA_KEY: json.dumps(info.dump(), sort_keys=True)})


def with_camera(path: Path, camera: Camera | None) -> bytes:
    """A generator's file as it is with a camera.

    Raises:
        Sim2RealError: It is no generator file of sim2real.
    """
    info = read_info(path)
    from safetensors.torch import load_file

    return _file_of(load_file(path), replace(info, camera=camera))


def read_info(path: Path) -> GeneratorInfo:
    """What a generator file says about itself, without its weights.

    Raises:
        Sim2RealError: It is no generator file of sim2real.
    """
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
        message = f"{path}: these weights do not say which generator they are of; use a file that sim2real train wrote"
        raise Sim2RealError(message)
    try:
        info = parse(GeneratorInfo, metadata[_METADATA_KEY].encode())
        if "transfer" in info.settings:
            _ = info.transfer  # understood here or nowhere
    except NewerFormatError as error:
        raise Sim2RealError(f"{path}: {error}") from error
    except MisfitError as error:
        message = (
            f"{path}: what these weights say of their generator is damaged ({error}); use a file that sim2real train "
            "wrote"
        )
        raise Sim2RealError(message) from error
    return info


def _no_model(path: Path) -> str:
    """What a file is that is no safetensors file, and what to do."""
    thing = what_is(path)
    if thing.kind in {"pointer", "page", "empty"}:
        return f"{path}: {thing.name}, not a model: {thing.advice}"
    if path.suffix == _SUFFIX:
        return f"{path}: damaged, no readable safetensors file; copy it again, or name the run folder that it is from"
    return (
        f"{path}: {thing.name}, not a model of sim2real; name a run folder that sim2real train wrote, or one of its "
        f"{_SUFFIX} files"
    )


def load_generator(path: Path) -> "tuple[nn.Module, GeneratorInfo]":
    """Rebuild a generator.

    Returns:
        The network for images in [-1, 1], in evaluation mode on the CPU, and what the file says about it.

    Raises:
        Sim2RealError: No generator file, no generator of that name, or weights that do not fit it.
        PluginError: What the generator says of itself is not understood.
    """
    info = read_info(path)
    from safetensors.torch import load_file

    from sim2real.capabilities import capabilities
    from sim2real.networks.range_adapter import RangeAdapter

    try:
        network: nn.Module = registry().create(
            "generators", info.name, 3, 3, options=info.options, place=f"{path}: options"
        )
    except UnknownNameError as error:
        message = f"{path}: {error}; install the plugin that it came from, `sim2real plugins` lists what is installed"
        raise UnknownNameError(message) from error
    except _UNBUILT as error:
        message = f"{path}: the generator '{info.name}' cannot be built with the options that the file tells"
        raise Sim2RealError(f"{message} ({one_line(error)}); use a file that sim2real train wrote") from error
    try:
        network.load_state_dict(load_file(path))
    except (RuntimeError, SafetensorError) as error:
        message = (
            f"{path}: its weights do not fit the generator '{info.name}' that is installed; they were written with "
            f"sim2real {info.tool_version}: install that version, or the plugin's of that time"
        )
        raise Sim2RealError(message) from error
    capabilities(network, info.name)
    return RangeAdapter(network, returns_images=True).eval(), info


def find_model(model: Path | None, direction: str | None, runs: Path = Path("runs")) -> Path:
    """The generator file that is meant.

    Args:
        model: Run folder, generator file, or None for the newest run.
        direction: ``"sim2real"``, ``"real2sim"``, or None for what the file says, sim2real where that is open.
        runs: Folder of the runs.

    Raises:
        Sim2RealError: There is none, or it is of another direction.
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
            message = (
                f"{model}: a model of another kind: it translates {actual}, not {direction}; leave out --direction"
            )
            raise Sim2RealError(message)
        return model
    if not (file := inside(model, name)).is_file():
        raise Sim2RealError(_without(model, name))
    return file


def _without(folder: Path, name: str) -> str:
    """Why a folder has no generator file of a name, and what to do."""
    if written := ", ".join(sorted(path.name for path in folder.glob(f"*{_SUFFIX}"))):
        return f"{folder}: this run has no {name}; it has {written}"
    if is_run(folder):
        return f"{folder}: this run has no {name} yet; finish its training first: sim2real train --run ... --resume"
    if is_conversion(folder):
        return (
            f"{folder}: a converted dataset, not a run; name the run folder that its model is from, such as runs/NAME"
        )
    runs = [path for path in sorted(folder.iterdir()) if is_run(path)]
    hint = f"did you mean {runs[-1]}/?" if runs else f"name a run folder, such as runs/NAME, or a {_SUFFIX} file"
    return f"{folder}: not a run: sim2real train has written nothing in it; {hint}"


class Translator:
    """A trained generator as a function on pictures.

    Attributes:
        info: What its file says about it.
        can: What the generator says of itself: the labels that it sees, for example.
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
        """Translate pictures, and take them with the camera of the model, if there is one.

        Args:
            images: RGB uint8 (H, W, 3), or a batch (N, H, W, 3), of any size; for a generator of clips of T frames
                (T, H, W, 3) or (N, T, H, W, 3).
            inputs: For a generator that sees labels, kind -> array on the pixels of these images, (..., H, W) as
                :meth:`inputs_of` gives them, (N, ...) of a batch, (T, ...) or (N, T, ...) of clips. For one that looks
                back, ``past_images`` and ``past_outputs``, RGB uint8 (j, H, W, 3) or (N, j, H, W, 3); without them the
                images begin a sequence. What else is in it is left unread.
            seeds: What a generator and a camera sample at random is decided by a number for each picture, or for each
                clip, uint64 (N,); None: made from its own pixels.

        Returns:
            The same shape as the images.

        Raises:
            ValueError: An array is of another shape or type, or a kind of input is missing.
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
        """A translated picture, RGB (H, W, 3), as the camera takes it; without one, as it is."""
        return self._camera.apply(picture, seed, self.info.camera_encoding) if self._camera else picture

    def plain(
        self,
        images: "NDArray[np.uint8]",
        *,
        inputs: "Inputs | None" = None,
        seeds: "NDArray[np.uint64] | None" = None,
    ) -> "NDArray[np.uint8]":
        """Translate pictures as when called, without a camera."""
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
        """What the generator sees besides these images, (N, ...)."""
        from sim2real.capabilities import PAST, blank_inputs

        if missing := [kind for kind in self.can.inputs if kind not in given]:
            message = f"the generator '{self.info.name}' needs inputs['{missing[0]}'], and there is none"
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
            message = "inputs['past_images'] and inputs['past_outputs'] are not as many"
            raise ValueError(message)
        return found

    def inputs_of(self, frame: "Frame") -> "Inputs":
        """The labels of a frame of an open dataset that the generator sees, by the classes that it was trained with.

        Raises:
            DatasetError: The frame has no such label, it is damaged, or of another size than the image.
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
        direction: ``"sim2real"`` or ``"real2sim"``; None: what the file says, sim2real for a run.
        transfer: ``"direct"``: the generator's own pixels; ``"guided"``: the frames with their light and colours; None:
            as the model says.
        camera: ``"match"``: pictures are as soft and as noisy as real ones; ``"off"``: as the generator gives them;
            None: as the model says.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:i"`` or ``"mps"``.
        precision: ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp16"``.

    Raises:
        Sim2RealError: No such model, or it cannot be rebuilt here.
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
