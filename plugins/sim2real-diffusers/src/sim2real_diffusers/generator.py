"""The generator ``diffusers``."""

import inspect
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import diffusers
import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image as Picture
from torch import Tensor, nn
from torch.nn import functional

from sim2real import SettingsError
from sim2real_diffusers.controls import EDGES, LABELS, Colouring, Image, control_image
from sim2real_diffusers.pipelines import (
    Source,
    controlnet_class,
    folder_of,
    licences_of,
    multiple_of,
    pipeline_class,
    require_complete,
    told,
)

_STRENGTH: Final = 0.5  # where the recipe sets none
_STEPS: Final = 30
_SEEDS: Final = "the first 4 bytes of the SHA-256 of the sequence's name, or of the frame's path if it has none"
_LEAST: Final = 64  # pixels of a side; some pipelines refuse smaller images


class DiffusersGenerator(nn.Module):
    """Translates images by a pipeline of the diffusers library: image-to-image, with ControlNets, or by editing.

    The pipeline is loaded when the first image is translated, in the precision of that moment's autocast. The noise of
    an image follows from its seed: frames of one sequence begin with the same noise, and frames do not depend on the
    others of their batch. Images are padded by reflection to a size that the pipeline takes, and cropped again.

    Args:
        in_channels: 3.
        out_channels: 3.
        model: Folder of a pipeline (with ``model_index.json``), or its name on the hub if it is in the cache.
        prompt: What the images show, or for editing pipelines what to do with them.
        negative_prompt: What they shall not show; empty for none.
        strength: Share of the noise that an image starts from, above 0 and at most 1: the larger, the freer. None: 0.5,
            and nothing for editing pipelines, which start from noise alone.
        steps: Steps of a whole denoising; an image with a strength of 0.5 takes half of them.
        guidance: How strictly prompts are followed; None: as the pipeline does.
        controlnets: Kind of control -> folder of its ControlNet, see :mod:`sim2real_diffusers.controls`.
        scales: Kind of control -> its weight; 1 where none is given.
        palette: Name of a class -> RGB, in addition to those of ADE20K.
        offload: What waits in the CPU's memory while a GPU does not need it: ``"none"``, ``"model"`` (whole networks)
            or ``"layers"`` (slow, and with the least memory).
        slicing: Whether attention and images are processed in slices: slower, with less memory.

    Attributes:
        inputs: The labels that the ControlNets need.
        provenance: The pipeline, its models and their licences, what seeds are made of, the versions of the libraries.

    Raises:
        SettingsError: If a model is not on this machine or an option does not fit it.
    """

    stochastic = True
    steady = True
    exportable = False
    export_obstacle = (
        "it samples in many steps of several networks; train a student on its translations (recipe distil), which can"
        " be exported"
    )
    whole = True
    any_precision = True

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        *,
        model: str,
        prompt: str,
        negative_prompt: str = "",
        strength: float | None = None,
        steps: int = _STEPS,
        guidance: float | None = None,
        controlnets: dict[str, str] | None = None,
        scales: dict[str, float] | None = None,
        palette: dict[str, tuple[int, int, int]] | None = None,
        offload: Literal["none", "model", "layers"] = "none",
        slicing: bool = False,
    ) -> None:
        super().__init__()
        if (in_channels, out_channels) != (3, 3):
            raise SettingsError("pipelines of diffusers translate images of 3 channels")
        self._kinds = tuple(controlnets or {})
        self._scales = [float((scales or {}).get(kind, 1.0)) for kind in self._kinds]
        _check(strength, steps, self._kinds, scales or {})
        folder = folder_of("generator.options.model", model)
        require_complete("generator.options.model", folder)
        networks = {}
        for kind, name in (controlnets or {}).items():
            setting = f"generator.options.controlnets.{kind}"
            networks[kind] = folder_of(setting, name)
            controlnet_class(kind, networks[kind])
            require_complete(setting, networks[kind])
        found = pipeline_class("generator.options.model", folder, controlled=bool(networks))
        self._source = Source(found, folder, networks, offload, slicing)
        self._accepted = frozenset(inspect.signature(found.__call__).parameters)
        self.edits = "strength" not in self._accepted
        self._arguments = self._chosen(prompt, negative_prompt, strength, steps, guidance)
        self.inputs = tuple(kind for kind in self._kinds if kind != EDGES)
        self._palette = palette or {}
        self._colouring = Colouring((), self._palette)
        self.provenance = {
            "pipeline": found.__name__,
            "model": told(model, folder),
            **{f"ControlNet {kind}": told(name, networks[kind]) for kind, name in (controlnets or {}).items()},
            **licences_of([folder, *networks.values()]),
            "seeds": _SEEDS,
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
        }
        self._loaded: tuple[tuple[torch.device, torch.dtype], Any] | None = None
        self._lock = threading.Lock()

    def _chosen(
        self, prompt: str, negative_prompt: str, strength: float | None, steps: int, guidance: float | None
    ) -> dict[str, Any]:
        """Return the arguments of the pipeline that are the same for all images."""
        share = strength if strength is not None or self.edits else _STRENGTH
        if (share or 1) * steps < 1:
            raise SettingsError(f"generator.options.steps = {steps}: no step is left with strength = {share}")
        wanted = {
            "negative_prompt": negative_prompt or None,
            "strength": share,
            "guidance_scale": guidance,
        }
        given = {name: value for name, value in wanted.items() if value is not None}
        if refused := sorted(given.keys() - self._accepted):
            option, name = refused[0].removesuffix("_scale"), self._source.kind.__name__
            advice = "leave it out, or use the recipe diffusers-edit"
            raise SettingsError(f"generator.options.{option}: the pipeline {name} takes none: {advice}")
        return {"prompt": prompt, "num_inference_steps": steps, **given}

    def observe(self, source: Tensor, target: Tensor) -> None:
        """Do nothing: the pipeline is trained already."""

    def name_classes(self, names: Sequence[str]) -> None:
        """Receive the names of the run's classes, in the order of their numbers."""
        if "segmentation" in self._kinds:
            self._colouring = Colouring(names, self._palette)

    def forward(
        self,
        images: Tensor,
        seeds: NDArray[np.uint64] | None = None,
        inputs: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return translations (N, 3, H, W) in [-1, 1].

        Args:
            images: The images to translate, (N, 3, H, W) in [-1, 1].
            seeds: A seed for each image, uint64 (N,); None: 0 for all.
            inputs: The labels that the ControlNets need.
        """
        pixels = images.detach().float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
        frames = pixels.movedim(1, -1).cpu().numpy()
        labels = {kind: values.cpu().numpy() for kind, values in (inputs or {}).items()}
        controls = [
            [
                control_image(kind, frame, labels[kind][place] if kind != EDGES else None, self._colouring)
                for kind in self._kinds
            ]
            for place, frame in enumerate(frames)
        ]
        numbers = [int(seed) >> 32 or int(seed) for seed in seeds] if seeds is not None else [0] * len(frames)
        device = images.device
        fast = torch.is_autocast_enabled(device.type)
        with self._lock, torch.no_grad():  # pipelines keep the state of a denoising
            pipeline = self._pipeline(device, torch.get_autocast_dtype(device.type) if fast else torch.float32)
            with torch.autocast(device.type, enabled=False):
                # editing pipelines, and several ControlNets, take one image at a time
                step = 1 if self.edits or len(self._kinds) > 1 else len(frames)
                parts = [slice(first, first + step) for first in range(0, len(frames), step)]
                made = [self._run(pipeline, frames[part], controls[part], numbers[part]) for part in parts]
                result = torch.cat(made)
        return result.to(device).mul(2).sub(1).clamp(-1, 1)

    def _run(self, pipeline: Any, frames: Image, controls: list[list[Image]], seeds: list[int]) -> Tensor:  # noqa: ANN401  a class of diffusers
        """Return translations (N, 3, H, W) in [0, 1] of frames (N, H, W, 3) with their control images."""
        height, width = frames.shape[1:3]
        multiple = multiple_of(pipeline)
        padded = [-(-max(side, _LEAST) // multiple) * multiple for side in (height, width)]

        def picture(image: Image) -> Picture.Image:
            edges = ((0, padded[0] - height), (0, padded[1] - width), (0, 0))
            return Picture.fromarray(np.pad(image, edges, mode="symmetric"))

        more: dict[str, Any] = {"height": padded[0], "width": padded[1], "max_area": padded[0] * padded[1]}
        more["_auto_resize"] = False
        arguments = self._arguments | {name: value for name, value in more.items() if name in self._accepted}
        images = [picture(frame) for frame in frames]
        if self._kinds:
            single = len(self._kinds) == 1
            shown = [picture(control) for controls_of_frame in controls for control in controls_of_frame]
            arguments["control_image"] = shown  # of all frames, or of all ControlNets for one frame
            arguments["controlnet_conditioning_scale"] = self._scales[0] if single else self._scales
        for name in {"prompt", "negative_prompt"} & arguments.keys():
            arguments[name] = [arguments[name]] * len(images)
        result: Tensor = pipeline(
            **arguments,
            image=images,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            output_type="pt",
        ).images
        result = result.float()
        if [*result.shape[-2:]] != padded:  # editing pipelines may choose a size of their own
            result = functional.interpolate(result, padded, mode="bilinear", antialias=True)
        return result[..., :height, :width]

    def _pipeline(self, device: torch.device, dtype: torch.dtype) -> Any:  # noqa: ANN401  a class of diffusers
        """Return the pipeline on a device in a precision; the one loaded last is kept."""
        if self._loaded is None or self._loaded[0] != (device, dtype):
            self._loaded = None
            self._loaded = (device, dtype), self._source.load(device, dtype)
        return self._loaded[1]

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies have in common: each loads its own pipeline."""
        return self.__dict__ | {"_loaded": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # torch's
        self._lock = threading.Lock()


def _check(strength: float | None, steps: int, kinds: Sequence[str], scales: Mapping[str, float]) -> None:
    """Check the options that do not depend on the pipeline.

    Raises:
        SettingsError: If one is out of range.
    """
    if strength is not None and not 0 < strength <= 1:
        raise SettingsError(f"generator.options.strength = {strength} must be above 0 and at most 1")
    if steps < 1:
        raise SettingsError(f"generator.options.steps = {steps} must be at least 1")
    known = (*LABELS, EDGES)
    if unknown := [kind for kind in kinds if kind not in known]:
        raise SettingsError(
            f"generator.options.controlnets: no control is called '{unknown[0]}'; known: {', '.join(known)}"
        )
    if unknown := sorted(scales.keys() - set(kinds)):
        raise SettingsError(
            f"generator.options.scales: '{unknown[0]}' has no ControlNet in generator.options.controlnets"
        )
