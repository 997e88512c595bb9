"""The blur and noise of a real camera, applied to translations that look too clean.

A translated rendering is as sharp as it was rendered, and its plain walls have no grain. A :class:`Camera` is fitted to
real images (:func:`sim2real.training.fitting.fit_camera`) in seconds, without weights. It consists of a few numbers,
which are stored in the file of the generator whose output it was fitted on. It models a sensor and a lens (Carlson et
al. 2018, arXiv 1803.07721): luminance and both colour differences are blurred by three or five taps across and down, no
frequency is strengthened, and they get noise that grows with brightness and has the grain of real images. No pixels
move.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import pairwise
from statistics import NormalDist
from typing import Annotated, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from sim2real.imageio import Encoding, after_jpeg
from sim2real.stored import Rule

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

BLOCK: Final = 16  # px, side of the blocks for measuring spectra
RINGS: Final = BLOCK // 2  # frequencies of a block: 1/16, 2/16 ... 1/2 cycles per pixel
MOST_BLUR: Final = 0.25  # removes half a cycle per pixel entirely
MOST_TAIL: Final = 0.25  # no frequency is strengthened or turned around, whatever the blur
_ROWS: Final = 128  # of a strip; part of the result, as each strip has its own noise
_REACH: Final = 3  # px, radius of the grain filter
_TAPS: Final = 2  # px, radius of the blur
_DIFFERENCES: Final = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
"""Matrix from RGB to luminance and the differences of blue and of red from it, as in JPEG."""

Share = Annotated[float, Rule(f"0 to {MOST_BLUR}", lambda share: 0 <= share <= MOST_BLUR)]
Tail = Annotated[float, Rule(f"-{MOST_TAIL} to {MOST_TAIL}", lambda tail: abs(tail) <= MOST_TAIL)]
Variance = Annotated[float, Rule(f"-{255**2} to {255**2}", lambda variance: abs(variance) <= 255**2)]
Level = Annotated[float, Rule("0 to 255", lambda level: 0 <= level <= 255)]
Grain = Annotated[
    tuple[float, ...],
    Rule(
        f"{RINGS} numbers from 0 to {BLOCK**2}, not all 0",
        lambda powers: len(powers) == RINGS and 0 <= min(powers) <= max(powers) <= BLOCK**2 and max(powers) > 1e-3,
    ),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Channel:
    """The blur and noise of one channel.

    Attributes:
        blur: Weight of each neighbour across and down; 0 for no blur.
        tail: Weight of the pixels next to the neighbours, as a share of ``blur``. A lens has none or a little. A
            camera that sharpens what its lens and its colour filters have blurred has a negative one: only the highest
            frequencies are then weakened.
        base: Variance of the noise in black, in squared grey levels.
        slope: Increase of the variance for each grey level of luminance.
        until: The luminance above which the variance is constant, because no flat blocks were much brighter.
        grain: Relative power of the noise at 1/16, 2/16 ... 1/2 cycles per pixel. If all are equal, the noise is
            independent in each pixel.
    """

    blur: Share = 0.0
    tail: Tail = 0.0
    base: Variance = 0.0
    slope: Variance = 0.0
    until: Level = 255.0
    grain: Grain = (1.0,) * RINGS

    @property
    def sigma(self) -> float:
        """The standard deviation in pixels of the Gaussian that weakens a quarter of a cycle per pixel as much."""
        lost = 2 * self.blur * (1 + 2 * self.tail)
        return float(np.sqrt(2 * np.log(1 / (1 - lost))) / (np.pi / 2))

    @property
    def taps(self) -> tuple[float, ...]:
        """The weights of five pixels in a row, whose sum is 1."""
        far = self.tail * self.blur
        return far, self.blur, 1 - 2 * (self.blur + far), self.blur, far

    @property
    def noisy(self) -> bool:
        """Whether there is noise at any brightness."""
        return self.base > 0 or self.base + self.until * self.slope > 0

    def noise(self, level: float) -> float:
        """Return the standard deviation of the noise at a luminance, in grey levels."""
        return float(max(0.0, self.base + self.slope * min(level, self.until)) ** 0.5)


@dataclass(frozen=True, slots=True)
class Camera:
    """The blur and noise of luminance and of the differences of blue and red from it.

    Attributes:
        luma: Luminance, 0 to 255.
        blue: The difference of blue from luminance, times 0.564.
        red: The difference of red from luminance, times 0.713.
    """

    luma: Channel = field(default_factory=Channel)
    blue: Channel = field(default_factory=Channel)
    red: Channel = field(default_factory=Channel)

    @property
    def channels(self) -> tuple[Channel, Channel, Channel]:
        """All three channels."""
        return self.luma, self.blue, self.red

    @property
    def changes(self) -> bool:
        """Whether the camera changes images at all."""
        return any(channel.blur or channel.noisy for channel in self.channels)

    def apply(self, image: Image, seed: int, encoding: Encoding | None = None) -> Image:
        """Return an image with the blur and noise of this camera.

        Args:
            image: RGB (H, W, 3).
            seed: Its lower 32 bits and the size of the image determine the noise. The upper bits, which may be
                the same for a whole sequence, are ignored.
            encoding: Encoding of the simulated JPEG; None for no compression.
        """
        if self.changes:
            taken, top = np.empty_like(image), 0
            for strip in self._strips(image, seed):
                taken[top : top + len(strip)] = strip
                top += len(strip)
            image = taken
        return after_jpeg(image, encoding) if encoding else image

    def _strips(self, image: Image, seed: int) -> Iterator[Image]:
        height, own = len(image), seed & 0xFFFFFFFF
        starts = [*range(0, height, _ROWS), height]
        back = np.linalg.inv(_DIFFERENCES).astype(np.float32)
        for number, (top, bottom) in enumerate(pairwise(starts)):
            above, below = max(0, top - _TAPS), min(height, bottom + _TAPS)  # rows that the blur needs
            values = to_channels(image[above:below])
            pairs = zip(cv2.split(values), self.channels, strict=True)
            planes = [_blurred(np.asarray(plane, np.float32), channel) for plane, channel in pairs]
            planes = [plane[top - above : len(plane) - (below - bottom)] for plane in planes]
            level = planes[0].copy()
            for place, channel in enumerate(self.channels):
                if channel.noisy:
                    grain = _grain(channel.grain, planes[place].shape, np.random.default_rng([own, number, place]))
                    variance = np.maximum(channel.base + channel.slope * np.minimum(level, channel.until), 0)
                    planes[place] += np.sqrt(variance, out=variance) * grain
            rgb = cv2.transform(cv2.merge(planes), back)
            yield np.asarray(cv2.add(rgb, np.zeros(4), dtype=cv2.CV_8U), np.uint8)  # rounded, within 0 and 255

    def __str__(self) -> str:
        """Return a short description."""
        if not self.changes:
            return "no blur, no noise"
        luma, chroma = self.luma, max((self.blue, self.red), key=lambda channel: channel.noise(128))
        return (
            f"blur {luma.sigma:.2f} px, noise {luma.noise(32):.1f} to {luma.noise(224):.1f} grey levels; "
            f"of colours {chroma.sigma:.2f} px, {chroma.noise(32):.1f} to {chroma.noise(224):.1f}"
        )


def to_channels(image: Image) -> Floats:
    """Convert RGB (H, W, 3) to luminance and the differences of blue and red from it."""
    return np.asarray(cv2.transform(image.astype(np.float32), _DIFFERENCES.astype(np.float32)), np.float32)


def _blurred(plane: Floats, channel: Channel) -> Floats:
    if not channel.blur:
        return plane
    taps = np.array(channel.taps if channel.tail else channel.taps[1:-1], np.float32)
    return np.asarray(cv2.sepFilter2D(plane, -1, taps, taps, borderType=cv2.BORDER_REFLECT_101), np.float32)


def _grain(powers: tuple[float, ...], shape: tuple[int, ...], random: np.random.Generator) -> Floats:
    """Return noise of variance 1."""
    height, width = shape
    filtered = len({*powers}) > 1
    around = 2 * _REACH * filtered
    size = height + around, width + around
    sampled = np.frombuffer(random.bytes(2 * size[0] * size[1]), "<u2")
    white = _normal().take(sampled).reshape(size)
    if not filtered:
        return white
    noise = cv2.filter2D(white, -1, _kernel(powers))
    return np.asarray(noise[_REACH:-_REACH, _REACH:-_REACH], np.float32)


@cache
def _normal() -> Floats:
    """Return a table of normal quantiles; uniform indexing is several times as fast as other sampling."""
    quantile = NormalDist().inv_cdf
    return np.array([quantile((place + 0.5) / 65536) for place in range(65536)], np.float32)


@lru_cache(maxsize=16)
def _kernel(powers: tuple[float, ...]) -> Floats:
    """Return the filter that gives white noise these powers without changing its variance."""
    amplitude = np.sqrt(np.interp(frequencies() * BLOCK, np.arange(1, RINGS + 1), powers))
    taps = np.fft.fftshift(np.fft.irfft2(amplitude, s=(BLOCK, BLOCK)))
    middle = slice(RINGS - _REACH, RINGS + _REACH + 1)
    taps = taps[middle, middle]
    return np.asarray(taps / np.sqrt(np.square(taps).sum()), np.float32)


def frequencies() -> NDArray[np.float64]:
    """Return the radial frequencies of a block in the order of ``numpy.fft.rfft2``, in cycles per pixel."""
    return np.asarray(np.hypot(np.fft.fftfreq(BLOCK)[:, None], np.fft.rfftfreq(BLOCK)), np.float64)
