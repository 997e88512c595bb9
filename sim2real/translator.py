"""Trained generators as Python functions.

translate = sim2real.load("runs/town")
after = translate(before)  # RGB uint8 (H, W, 3) or (N, H, W, 3), any size
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from sim2real.camera import Camera
from sim2real.devices import resolve_device, resolve_precision
from sim2real.engines.base import EngineSettings, ways_to_compute
from sim2real.model import CameraChoice, GeneratorInfo, find_model, load_generator

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import nn

    from sim2real.datasets.base import Frame
    from sim2real.datasets.inputs import Inputs

_SIDE: Final = 256  # of the images on which precisions are timed
_FAST: Final = 0.05  # seconds for such an image below which fp32 is fast enough


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
            raise ValueError(
                f"expected RGB uint8 ({clip}H, W, 3) or (N, {clip}H, W, 3), not {images.dtype} {images.shape}"
            )
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
            raise ValueError(f"the generator '{self.info.name}' needs inputs['{missing[0]}'], which is missing")
        height, width = images.shape[-3:-1]
        found = {}
        for kind, blank in blank_inputs(self.can, height, width, len(images)).items():
            values = given.get(kind, blank[:, :0])
            frames = min(values.shape[1], self.can.context) if kind in PAST and values.ndim == 5 else None
            wanted = blank.shape if frames is None else blank[:, :frames].shape
            if values.shape != wanted or values.dtype.kind not in ("iu" if blank.dtype.kind in "iu" else "f"):
                raise ValueError(
                    f"inputs['{kind}']: expected {blank.dtype} {wanted}, not {values.dtype} {values.shape}"
                )
            found[kind] = values.astype(blank.dtype, copy=False)
        if len({found[kind].shape for kind in PAST if kind in found}) > 1:
            raise ValueError("inputs['past_images'] and inputs['past_outputs'] have different numbers of frames")
        return found

    def inputs_of(self, frame: "Frame") -> "Inputs":
        """Read the labels that the generator uses for a frame of a dataset, mapped to the classes of its training.

        Raises:
            DatasetError: If a label of the frame is missing, damaged, or not of the size of the image.
        """
        from sim2real.datasets.inputs import read_input
        from sim2real.datasets.translated import with_translations
        from sim2real.datasets.vocabulary import Vocabulary

        [frame] = with_translations([frame], self.info.name, self.info.options)
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
        precision: ``"fp32"``, ``"bf16"``, ``"fp16"``, or ``"auto"`` for the faster one of the first two on
            this machine.

    Raises:
        Sim2RealError: If there is no such model, or if it cannot be rebuilt.
    """
    generator, info = load_generator(find_model(Path(run_or_file), direction))
    device = resolve_device(device)
    found = resolve_precision(precision, device)
    ways = ways_to_compute(device, dict.fromkeys(["fp32", found]) if precision == "auto" else [found])
    settings = _fastest(generator, ways)
    return Translator(generator, info, settings, guided_size=info.guided_size(transfer), camera=info.camera_of(camera))


def _fastest(generator: "nn.Module", ways: Mapping[str, EngineSettings]) -> EngineSettings:
    """Return the settings with which a generator is fastest on a small image, of which the first are the most exact.

    Those are taken for generators that are fast anyway, so that their images are the same whenever they are loaded.
    """
    from sim2real.capabilities import blank_inputs, capabilities
    from sim2real.engines.torch import TorchEngine
    from sim2real.timing import fastest

    exact, *others = ways
    can = capabilities(generator)
    if can.cpu_only or not others:
        return ways[exact]
    width, height = can.fixed_size or (_SIDE, _SIDE)
    images = np.zeros((1, *([can.clip_length] if can.clip_length > 1 else []), height, width, 3), np.uint8)
    inputs, seeds = blank_inputs(can, height, width), np.zeros(1, np.uint64)
    calls = {
        name: partial(TorchEngine(generator, settings), images, inputs=inputs, seeds=seeds)
        for name, settings in ways.items()
    }
    choice = fastest(calls)
    return ways[exact if choice.seconds[exact] < _FAST else choice.name]
