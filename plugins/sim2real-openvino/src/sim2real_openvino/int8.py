"""The engine ``openvino-int8``: convolutions in 8-bit integers, calibrated on the user's own frames."""

import contextlib
import io
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from sim2real import ImageError, Sim2RealError
from sim2real.engines.base import EngineSettings
from sim2real.imageio import read_rgb
from sim2real_openvino.engine import OpenVinoEngine

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_PSNR = 30.0  # dB
_PICTURES = 32  # every fourth one measures the quality, the others calibrate
_SIDE = 512  # pixels of the part of an image that is used


class Int8Engine(OpenVinoEngine):
    """An engine that runs a generator with quantised convolutions and is like ``openvino`` otherwise.

    NNCF quantises the convolutions after training: weights per channel, inputs per tensor. The first and the last
    convolution, which lose the most, transposed convolutions, which OpenVINO does not speed up, norms and sums are not
    quantised. Images with a side below ``usual`` pixels are translated as by ``openvino``.

    The same images give the same engine in every run. The loss of quality is measured on images that are not used for
    calibration (if there are several), and reported in ``notes``.

    Args:
        generator: As for ``openvino``.
        settings: ``calibration`` names the images; ``precision`` applies to everything that is not quantised.

    Raises:
        SettingsError: As for ``openvino``.
        Sim2RealError: If there is nothing to calibrate on, NNCF is not installed, or int8 loses too much quality.
    """

    by_name_only = True  # too far from fp32 to be selected automatically

    def __init__(self, generator: nn.Module, settings: EngineSettings) -> None:
        super().__init__(generator, settings)
        exact = OpenVinoEngine(generator, replace(settings, precision="fp32"))
        parts = _parts(settings.calibration, self.usual)
        held_out = parts[::4]
        calibrating = [part for index, part in enumerate(parts) if index % 4] or held_out
        model = self._record(self.usual, self.usual)
        self._compiled = self._compile(_quantise(model, [self._inputs(part) for part in calibrating]))
        psnr = min(_psnr(self(part[None]), exact(part[None])) for part in held_out)
        figure = f"{psnr:.1f} dB to fp32 at worst, on {len(held_out)} of your pictures"
        if psnr < LEAST_PSNR:
            raise Sim2RealError(
                f"int8 degrades this model too much: {figure}, {LEAST_PSNR:g} dB is the least; use --engine openvino"
            )
        self.notes = (f"int8: {figure}",)


def _parts(paths: Sequence[Path], smallest: int) -> "list[NDArray[np.uint8]]":
    """Return a random part of each image, of at least ``smallest`` pixels a side; skip damaged images.

    Raises:
        Sim2RealError: If no image is large enough.
    """
    random = np.random.default_rng(0)
    parts = []
    for path in paths[:: math.ceil(len(paths) / _PICTURES) or 1]:
        with contextlib.suppress(ImageError):  # the conversion will report it
            rgb = read_rgb(path)
            top, left = (random.integers(max(1, side - _SIDE + 1)) for side in rgb.shape[:2])
            part = rgb[top : top + _SIDE, left : left + _SIDE]
            if min(part.shape[:2]) >= smallest:
                parts.append(part)
    if not parts:
        raise Sim2RealError(
            f"int8 is calibrated on your own pictures, and there is none of {smallest}x{smallest} pixels or more; "
            "use --engine openvino"
        )
    return parts


def _quantise(model: Any, inputs: "list[NDArray[np.float32]]") -> Any:  # noqa: ANN401  openvino.Model, without types
    with contextlib.redirect_stdout(io.StringIO()):  # NNCF prints a greeting and progress bars
        try:
            import nncf  # type: ignore[import-untyped]  # noqa: PLC0415  it ships no types; an extra, heavy
        except ModuleNotFoundError as error:
            message = 'the engine openvino-int8 needs NNCF: pip install "sim2real-openvino[int8]"'
            raise Sim2RealError(message) from error
        convolutions = [
            node.get_friendly_name() for node in model.get_ordered_ops() if node.get_type_name() == "Convolution"
        ]
        ignored = nncf.IgnoredScope(
            names=[*convolutions[:1], *convolutions[-1:]],
            types=["ConvolutionBackpropData", "MVN", "Add"],
            validate=False,  # a network without one of these is fine
        )
        return nncf.quantize(
            model,
            nncf.Dataset(inputs),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(inputs),
            ignored_scope=ignored,
        )


def _psnr(one: "NDArray[np.uint8]", other: "NDArray[np.uint8]") -> float:
    error = float(np.mean((one.astype(np.float64) - other) ** 2))
    return 10 * math.log10(255**2 / max(error, 1e-9))
