"""Image-to-image networks in ONNX files as generators, computed by onnxruntime."""

import threading
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sim2real.errors import SettingsError, Sim2RealError
from sim2real.graphs import TYPES, open_session
from sim2real.networks.blocks import pair
from sim2real.stored import one_line

Layout = Literal["NCHW", "NHWC"]

_LEAST: Final = 32  # pixels of a side, to which smaller images are padded: networks reflect and halve them
_opening: Final = threading.Lock()


class OnnxGenerator(nn.Module):
    """A network of an ONNX file with one input and one output, images of three channels.

    The file itself is stored in a buffer, so that models are complete. It is run by onnxruntime, on a GPU if the images
    are there and onnxruntime was built for it.

    Args:
        in_channels: 3.
        out_channels: 3.
        file_size: Size of the file in bytes.
        value_range: Minimum and maximum of the values that the network takes and returns.
        layout: ``"NCHW"`` or ``"NHWC"``.
        stride: Number of which H and W of the images must be multiples.
        fixed_size: (W, H) of the images if the network takes only those.

    Attributes:
        value_range: See above.
        stride: See above.
        fixed_size: See above; None for any size.
        layout: See above.
        exportable: False: it is a graph of another kind.
        whole: Images are not translated in tiles.

    Raises:
        SettingsError: If an option is invalid.
    """

    exportable = False
    export_obstacle = "it is an ONNX file already; use the file that was imported"
    whole = True
    graph: Tensor

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        *,
        file_size: int,
        value_range: list[float],
        layout: Layout = "NCHW",
        stride: int = 1,
        fixed_size: list[int] | None = None,
    ) -> None:
        if (in_channels, out_channels) != (3, 3):
            raise SettingsError("ONNX files translate images of 3 channels")
        super().__init__()
        self.value_range = pair("value_range", value_range)
        self.stride = stride
        self.fixed_size = (fixed_size[0], fixed_size[1]) if fixed_size else None
        self.layout = layout
        self.register_buffer("graph", torch.zeros(file_size, dtype=torch.uint8))
        self._sessions: dict[str, Any] = {}

    def forward(self, images: Tensor) -> Tensor:
        """Return translations (N, 3, H, W) of images (N, 3, H, W), both in ``value_range``.

        Raises:
            SettingsError: If the network translates images of another size only.
            Sim2RealError: If onnxruntime fails.
        """
        session = self.session(images.device.type)
        [given] = session.get_inputs()
        if self.fixed_size and self.fixed_size != tuple(images.shape[:1:-1]):
            sizes = "{}x{} pixels only, not {}x{}".format(*self.fixed_size, images.shape[3], images.shape[2])
            raise SettingsError(f"this network translates images of {sizes}; use --transfer guided")
        height, width = images.shape[2:]
        least = 0 if self.fixed_size else -(-_LEAST // self.stride) * self.stride
        edges = (0, max(0, least - width), 0, max(0, least - height))
        seen = functional.pad(images.float(), edges, mode="replicate")
        if TYPES[given.type] is np.uint8:
            seen = seen.round().clamp(0, 255)
        values = seen.cpu().numpy().astype(TYPES[given.type])
        if self.layout == "NHWC":
            values = np.ascontiguousarray(values.transpose(0, 2, 3, 1))
        parts = np.split(values, len(values)) if given.shape[0] == 1 else [values]
        try:
            results = [session.run(None, {given.name: part})[0] for part in parts]
        except Exception as error:  # onnxruntime raises errors of its own, without a common base
            raise Sim2RealError(f"onnxruntime cannot run the network: {one_line(error)}") from error
        result = np.concatenate(results).astype(np.float32)
        if self.layout == "NHWC":
            result = np.ascontiguousarray(result.transpose(0, 3, 1, 2))
        return torch.from_numpy(result)[..., :height, :width].to(images.device)

    def session(self, device: str) -> Any:  # noqa: ANN401  onnxruntime ships no types
        """Return the session for a device, which is created once."""
        with _opening:
            if device not in self._sessions:
                self._sessions[device] = open_session(
                    self.graph.cpu().numpy().tobytes(), device, torch.get_num_threads()
                )
            return self._sessions[device]

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies have in common: sessions cannot be copied."""
        return self.__dict__ | {"_sessions": {}}
