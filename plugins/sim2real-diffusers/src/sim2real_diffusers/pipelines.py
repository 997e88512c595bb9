"""Pipelines in local folders: which class runs them, whether they are complete, and how they are loaded.

Nothing is downloaded, and no file that could run code is read: weights are safetensors files.
"""

import hashlib
import inspect
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
import transformers
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open

from sim2real import SettingsError

_INDEX: Final = "model_index.json"
_CONFIG: Final = "config.json"
_WEIGHTS: Final = ".safetensors"
_HUB_NAME: Final = re.compile(r"[\w.-]+/[\w.-]+")
_ENTRY: Final = re.compile(r"^(license|license_name): *[\"']?([^\s\"'#]+)", re.MULTILINE)
_ENDS: Final = 2**20  # bytes at both ends of a file of weights that its digest is made of
_VARIANT: Final = "fp16"
# An image that a checker replaces by a black one, or that has a watermark in it, is no translation of a frame.
_WITHOUT: Final[Mapping[str, Any]] = {
    "safety_checker": None,
    "requires_safety_checker": False,
    "add_watermarker": False,
}


def folder_of(setting: str, name: str) -> Path:
    """Return the folder of a model.

    Args:
        setting: The setting that names it, for messages.
        name: A folder, or the name of a repository that is complete in the cache of the hub.

    Raises:
        SettingsError: If there is no such folder or repository here.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if not _HUB_NAME.fullmatch(name):
        raise SettingsError(f"{setting} = '{name}': there is no such folder; name the folder of the model")
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise SettingsError(
            f"{setting} = '{name}': there is no such folder, and it is not in the cache of the hub; where there is a "
            f"network: hf download {name} --local-dir FOLDER; then name that FOLDER"
        ) from error


def pipeline_class(setting: str, folder: Path, *, controlled: bool) -> type[Any]:
    """Return the class of diffusers that translates images with the pipeline in a folder.

    Args:
        setting: The setting that names the folder, for messages.
        folder: The folder of a pipeline, whose own class may be another one of the same family.
        controlled: Whether it is run with ControlNets.

    Raises:
        SettingsError: If the folder holds no pipeline, or no such class exists.
    """
    own = str(_read_json(setting, folder, _INDEX).get("_class_name", ""))
    family = own.removesuffix("Pipeline").removesuffix("Img2Img").removesuffix("ControlNet")
    names = [f"{family}{'ControlNet' if controlled else ''}Img2ImgPipeline"]
    if not controlled:
        names.append(own)
    for name in names:
        found = getattr(diffusers, name, None)
        if isinstance(found, type) and "image" in inspect.signature(found.__call__).parameters:
            return found
    what = "image-to-image pipeline with ControlNets" if controlled else "pipeline that takes images"
    raise SettingsError(f"{setting}: {folder}: diffusers {diffusers.__version__} has no {what} for '{own}'")


def require_complete(setting: str, folder: Path) -> None:
    """Check that all networks of a pipeline or a ControlNet have whole weights in safetensors files.

    Raises:
        SettingsError: If some have none, or a file is cut off or missing.
    """
    for config in [folder / _CONFIG, *sorted(folder.glob(f"*/{_CONFIG}"))]:
        part = config.parent
        if not config.is_file() or _without_weights(part):
            continue
        files = {path.name: path for path in part.glob(f"*{_WEIGHTS}")}
        if not files:
            raise SettingsError(
                f"{setting}: {part}: has no {_WEIGHTS} file; download the folder whole, or convert its weights: other "
                "files could run code and are not read"
            )
        for index in part.glob(f"*{_WEIGHTS}.index.json"):
            shards = _read_json(setting, part, index.name).get("weight_map", {}).values()
            if missing := sorted(set(shards) - files.keys()):
                raise SettingsError(f"{setting}: {part / missing[0]}: is missing; download the folder whole")
        for path in files.values():
            try:
                with safe_open(path, framework="np"):
                    pass
            except (OSError, SafetensorError) as error:
                raise SettingsError(f"{setting}: {path}: is damaged ({error}); download it again") from error


def _without_weights(part: Path) -> bool:
    """Return whether a part of a pipeline is not loaded, or is no network."""
    return part.name in _WITHOUT or part.name.startswith(("scheduler", "tokenizer", "feature_extractor", "processor"))


def _read_json(setting: str, folder: Path, name: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = dict(json.loads((folder / name).read_bytes()))
    except FileNotFoundError:
        what = "a pipeline" if name == _INDEX else "a ControlNet"
        raise SettingsError(f"{setting}: {folder}: has no {name}, so it is not the folder of {what}") from None
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(f"{setting}: {folder / name}: cannot be read: {error}") from error
    return found


def digest_of(folder: Path) -> str:
    """Return a digest of a model: of the names and sizes of its files, of small files, and of the ends of large ones.

    Returns:
        12 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix not in {".json", ".txt", ".model", _WEIGHTS} or not path.is_file():
            continue
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()}\0{size}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(_ENDS))
            file.seek(max(_ENDS, size - _ENDS))
            digest.update(file.read(_ENDS))
    return digest.hexdigest()[:12]


def told(name: str, folder: Path) -> str:
    """Return the name of a model without the folders that lead to it, and its digest."""
    shown = folder.name if Path(name).expanduser().is_dir() else name
    return f"{shown} ({digest_of(folder)})"


def licences_of(folders: Sequence[Path]) -> dict[str, str]:
    """Return the licences of models, as their model cards say, under the name that sim2real gives them."""
    found: dict[str, None] = {}
    for folder in folders:
        with suppress(OSError, UnicodeDecodeError):
            card = (folder / "README.md").read_text("utf-8").split("---")
            header = dict(_ENTRY.findall(card[1])) if len(card) > 2 and not card[0].strip() else {}
            found[header.get("license_name") or header.get("license", "")] = None
    names = ", ".join(filter(None, found))
    return {"licence": names} if names else {}


@dataclass(frozen=True, slots=True)
class Source:
    """A pipeline on the disk, and how it is loaded.

    Attributes:
        kind: Its class.
        folder: Its folder.
        controlnets: Kind of control -> the folder of its ControlNet.
        offload: ``"none"``, ``"model"`` or ``"layers"``: what is moved to the GPU at once.
        slicing: Whether attention and images are processed in slices, which needs less memory and takes longer.
    """

    kind: type[Any]
    folder: Path
    controlnets: Mapping[str, Path]
    offload: str
    slicing: bool

    def load(self, device: torch.device, dtype: torch.dtype) -> Any:  # noqa: ANN401  a class of diffusers
        """Return the pipeline on a device.

        Raises:
            SettingsError: If its files are damaged or do not fit together.
        """
        for library in (diffusers, transformers):  # what they say is for programmers
            library.utils.logging.set_verbosity_error()
            library.utils.logging.disable_progress_bar()
        try:
            networks = [self._controlnet(kind, folder, dtype) for kind, folder in self.controlnets.items()]
            more = {"controlnet": networks[0] if len(networks) == 1 else networks} if networks else {}
            accepted = inspect.signature(self.kind.__init__).parameters
            more |= {name: value for name, value in _WITHOUT.items() if name in accepted}
            pipeline = self.kind.from_pretrained(self.folder, **_options(self.folder, dtype), **more)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise SettingsError(f"{self.folder}: diffusers cannot load this pipeline: {reason}") from error
        pipeline.set_progress_bar_config(disable=True)
        if self.slicing:
            pipeline.enable_attention_slicing()
            pipeline.vae.enable_slicing()
        if device.type == "cpu" or self.offload == "none":
            return pipeline.to(device)
        if self.offload == "model":
            pipeline.enable_model_cpu_offload(device=device)
        else:
            pipeline.enable_sequential_cpu_offload(device=device)
        return pipeline

    def _controlnet(self, kind: str, folder: Path, dtype: torch.dtype) -> Any:  # noqa: ANN401  as above
        return controlnet_class(kind, folder).from_pretrained(folder, **_options(folder, dtype))


def controlnet_class(kind: str, folder: Path) -> type[Any]:
    """Return the class of the ControlNet in a folder.

    Raises:
        SettingsError: If it holds none.
    """
    setting = f"generator.options.controlnets.{kind}"
    name = str(_read_json(setting, folder, _CONFIG).get("_class_name", ""))
    found = getattr(diffusers, name, None) if "ControlNet" in name else None
    if not isinstance(found, type):
        raise SettingsError(f"{setting}: {folder}: holds '{name}', which is not a ControlNet of diffusers")
    return found


def _options(folder: Path, dtype: torch.dtype) -> dict[str, Any]:
    """Return the arguments with which a model in a folder is loaded."""
    return {
        "dtype": dtype,
        "variant": _VARIANT if any(map(_is_reduced, {path.parent for path in folder.rglob(f"*{_WEIGHTS}")})) else None,
        "local_files_only": True,
        "use_safetensors": True,
    }


def _is_reduced(part: Path) -> bool:
    """Return whether all weights in a folder are in half precision; whole ones are read where there are any."""
    return all(f".{_VARIANT}" in path.name for path in part.glob(f"*{_WEIGHTS}"))


def multiple_of(pipeline: Any) -> int:  # noqa: ANN401  a class of diffusers
    """Return what the sides of a pipeline's images must be multiples of."""
    unet = getattr(pipeline, "unet", None)
    halvings = len(unet.config.block_out_channels) - 1 if unet else 1
    return int(pipeline.vae_scale_factor) << halvings
