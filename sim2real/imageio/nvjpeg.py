"""JPEG codecs of NVIDIA GPUs, by torchvision: frames of several threads are decoded and encoded together.

They decode plain files (:mod:`sim2real.imageio.plain_jpeg`), and encode RGB without chroma subsampling. On the device
``"cpu"``, for tests, the same calls run libjpeg-turbo, which subsamples chroma, so that nothing is encoded there.

Torchvision's nvJPEG runs on a stream of its own, which does not wait for the caller's, and its output may be allocated
where kernels of the caller's stream have yet to read. All tensors here therefore belong to a stream without other work,
which is waited for before and after.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from sim2real.devices import kind_of
from sim2real.errors import ImageError, SettingsError
from sim2real.imageio import Encoding, Header, Picture, decode_picture, encode_jpeg, encode_picture
from sim2real.imageio.encoding import USUAL_QUALITY
from sim2real.imageio.jpeg import START, fixed_body
from sim2real.imageio.pictures import ignore_warnings
from sim2real.threads import InBatches

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
R = TypeVar("R")
Image = NDArray[np.uint8]

_PIXELS: Final = 32_000_000  # in a call; the device takes some 9 bytes for each
_DEPRECATED: Final = "The image decoding and encoding capabilities of TorchVision"
_ROUNDING: Final = 3  # grey levels between two decoders


class NoCodecsError(SettingsError):
    """A device has no JPEG codecs.

    Args:
        reason: Why, in a few words.
        advice: What to do to have some.

    Attributes:
        reason: The same.
    """

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(f"--codecs gpu: {reason}; leave out --codecs, or {advice}", topic="how-jpegs-are-written")
        self.reason = reason


class JpegCodecs:
    """The JPEG codecs of a device; any number of threads may use them.

    Args:
        device: A resolved device, such as ``"cuda:0"``.
        quality: Quality of the files that are encoded, 1 to 100.

    Attributes:
        why_not_encoded: Why nothing is encoded on the device; empty if RGB pixels are.

    Raises:
        NoCodecsError: If torchvision has no codecs for the device, or they decode other pixels than a CPU.
    """

    def __init__(self, device: str, quality: int = USUAL_QUALITY) -> None:
        import torch
        import torchvision

        ignore_warnings(_DEPRECATED)
        self._device, self._quality = device, quality
        self._streams = [torch.cuda.Stream(device) for _ in range(2)] if kind_of(device) == "cuda" else [None] * 2
        self._decode = InBatches[tuple[bytes, int], Image | None](self._decode_all)
        self._encode = InBatches[Image, bytes | None](self._encode_all)
        try:
            self._check_decoding()
            self.why_not_encoded = self._check_encoding()
        except (AttributeError, ImportError, RuntimeError) as error:  # no longer there, or built without nvJPEG
            reason = str(error).partition("\n")[0]
            reason = f"torchvision {torchvision.__version__} has no JPEG codecs for {device} ({reason})"
            raise NoCodecsError(reason, "install one that has") from error

    def decode_picture(self, data: bytes, path: Path) -> tuple[Picture, bool | None]:
        """Decode the bytes of a photo as :func:`sim2real.imageio.decode_picture` does.

        Returns:
            The photo, and whether the device decoded it; None if it is not a plain JPEG.

        Raises:
            ImageError: See :func:`sim2real.imageio.decode_picture`.
        """
        done: list[bool] = []

        def decoder(plain: bytes, header: Header) -> Image | None:
            rgb = self._decode((plain, header.width * header.height))
            done.append(rgb is not None and rgb.shape == (header.height, header.width, 3))
            return rgb if done[0] else None

        return decode_picture(data, path, jpeg_decoder=decoder), done[0] if done else None

    def encode_picture(self, rgb: Image, like: Picture, encoding: Encoding) -> tuple[bytes, bool | None]:
        """Encode pixels as :func:`sim2real.imageio.encode_picture` does.

        Returns:
            The bytes, and whether the device encoded them; None if they are not RGB for a JPEG of its quality.

        Raises:
            ImageError: See :func:`sim2real.imageio.encode_picture`.
        """
        done: list[bool] = []

        def encoder(pixels: Image, quality: int) -> bytes | None:
            if self.why_not_encoded or quality != self._quality:
                return None
            body = self._body(self._encode(pixels))
            done.append(body is not None)
            return body

        return encode_picture(rgb, like, encoding, jpeg_encoder=encoder), done[0] if done else None

    def _body(self, encoded: bytes | None) -> bytes | None:
        """Return a file of the device without start and metadata; None if it is not as asked for."""
        try:
            return fixed_body(encoded, self._quality) if encoded else None
        except ImageError:
            return None

    def _decode_all(self, items: list[tuple[bytes, int]]) -> list[Image | None]:
        chunks = _chunks(items, lambda item: item[1])
        return [rgb for chunk in chunks for rgb in _or_singly(self._decoded, [data for data, _ in chunk])]

    def _encode_all(self, items: list[Image]) -> list[bytes | None]:
        chunks = _chunks(items, lambda item: item.size // 3)
        return [data for chunk in chunks for data in _or_singly(self._encoded, chunk)]

    def _decoded(self, files: list[bytes]) -> list[Image]:
        import torch
        from torchvision.io import ImageReadMode, decode_jpeg

        tensors = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in files]
        with torch.cuda.stream(self._streams[0]) if self._streams[0] else nullcontext():
            decoded = decode_jpeg(tensors, mode=ImageReadMode.RGB, device=self._device)
            return [each.permute(1, 2, 0).contiguous().cpu().numpy() for each in decoded]

    def _encoded(self, pictures: list[Image]) -> list[bytes]:
        import torch
        from torchvision.io import encode_jpeg as encode

        def on_device(rgb: Image) -> "Tensor":
            rows = torch.from_numpy(np.require(rgb, requirements=("C", "W"))).to(self._device)
            return rows.permute(2, 0, 1).contiguous()

        with torch.cuda.stream(self._streams[1]) if self._streams[1] else nullcontext():
            tensors = [on_device(rgb) for rgb in pictures]
            self._wait()
            encoded = encode(tensors, quality=self._quality)
            self._wait()  # it copies its results on yet another stream, the default one
            return [each.cpu().numpy().tobytes() for each in encoded]

    def _wait(self) -> None:
        import torch

        if kind_of(self._device) == "cuda":
            torch.cuda.synchronize(self._device)

    def _check_decoding(self) -> None:
        """Raise RuntimeError unless a test picture is decoded as on a CPU."""
        data = encode_jpeg(_test_picture())
        found = self._decoded([data])[0].astype(int)
        furthest = int(abs(found - decode_picture(data, Path("test.jpg")).rgb).max())
        if furthest > _ROUNDING:
            raise RuntimeError(f"a test picture is decoded {furthest} grey levels from a CPU's")

    def _check_encoding(self) -> str:
        """Return how a test picture is encoded otherwise than on a CPU; empty if it is not."""
        picture, jpeg = _test_picture(), Path("test.jpg")
        body = self._body(self._encoded([picture])[0])
        if body is None:
            return f"not as quality {self._quality}, baseline, 4:4:4"
        ours, theirs = (
            decode_picture(data, jpeg).rgb for data in (encode_jpeg(picture, quality=self._quality), START + body)
        )
        errors = [float(np.sqrt(np.mean((found.astype(float) - picture) ** 2))) for found in (ours, theirs)]
        return f"with an error of {errors[1]:.1f} grey levels, not {errors[0]:.1f}" if errors[1] > errors[0] + 1 else ""


def gpu_codecs(device: str, quality: int) -> JpegCodecs:
    """Return the JPEG codecs of an NVIDIA GPU.

    Args:
        device: A resolved device.
        quality: See :class:`JpegCodecs`.

    Raises:
        NoCodecsError: If the device is none, or torchvision has no codecs for it.
    """
    if kind_of(device) != "cuda":
        reason = f"only NVIDIA GPUs have JPEG codecs, and the conversion runs on {device}"
        raise NoCodecsError(reason, "name a GPU with --device cuda")
    return JpegCodecs(device, quality)


def _test_picture() -> Image:
    """Return a picture with smooth colours and an edge, RGB (40, 56, 3)."""
    rows, columns = np.mgrid[:40, :56]
    return np.stack((4 * columns, 6 * rows, np.where(columns < 28, 40, 200)), axis=-1).astype(np.uint8)


def _chunks(items: list[T], pixels_of: Callable[[T], int]) -> Iterator[list[T]]:
    """Yield consecutive items with limited pixels, at least one."""
    chunk: list[T] = []
    pixels = 0
    for item in items:
        if chunk and pixels + pixels_of(item) > _PIXELS:
            yield chunk
            chunk, pixels = [], 0
        chunk.append(item)
        pixels += pixels_of(item)
    yield chunk


def _or_singly(work: Callable[[list[T]], list[R]], items: list[T]) -> list[R | None]:
    """Return the results of work on several items; if it fails, of each alone, None where it fails again."""
    try:
        return [*work(items)]
    except RuntimeError:
        if len(items) == 1:
            return [None]
        return [result for item in items for result in _or_singly(work, [item])]
