"""Fit a camera to real images: the blur and noise that translated images lack.

Everything is measured in blocks of 16x16 px of images at their own size, in rings of the blocks' power spectra. Of
images that are wider than those of the other side, only the middle is used, as an evaluation does: towards the sides, a
wide lens is softer.

Noise is the median power of flat blocks at each brightness. Its variance is modelled as linear in brightness; values
far above the line are the texture of roads and walls. Blur is measured by how much faster the power of blocks with
strong edges falls towards high frequencies, without the noise; starting there, the blur of the luminance is refined to
minimise the metric ``spectrum``. The camera strengthens no frequency, and it does not remove noise.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim2real.camera import BLOCK, MOST_BLUR, MOST_TAIL, RINGS, Camera, Channel, Image, frequencies, to_channels
from sim2real.imageio import Encoding
from sim2real.metrics.spectrum import SpectrumMetric

Floats = NDArray[np.float64]

_STEPS: Final = ((0.02, 0.1), (0.01, 0.05), (0.005, 0.025))  # step sizes of the search for blur and tail
_CLEAR: Final = 0.03  # a smaller blur is within the differences between images
_NEARER: Final = 0.97  # a step must reduce the distance to this part; less is within the differences between images
_FURTHEST: Final = 0.05  # of the search from the blur of the edges, so that blur does not compensate for noise
_MOST: Final = 3000  # blocks of an image
_FEWEST: Final = 100  # blocks of all images that a measurement needs
_FLAT: Final = 0.1  # share of the blocks that count as flat
_EDGY: Final = 0.2  # share of the blocks that count as edges
_LEVELS: Final = np.linspace(0, 256, 13)  # borders of the bins of brightness
_LEAST_SHARE: Final = 0.01  # of the flat blocks; bins with less are left out
_LOWEST: Final = 1  # index of the first ring that measures grain; lower rings are image content
_STEADY: Final = 2  # index of the first ring that measures the amount of noise; a lower one selects the flat blocks
_BEYOND: Final = 1.5  # noise grows up to this many times the brightest level with flat blocks
_ABOVE: Final = 1.3  # times the line; more variance is texture, as in flat blocks of roads and walls
_TEXTURED: Final = 0.1  # weight factor of a textured level
_ROUNDS: Final = 20  # of the reweighting; a few usually suffice
_ROUNDING: Final = 1 / 12  # the variance that rounding to whole levels adds
_CLIPPED: Final = 0.02  # share of clipped values; blocks with more are left out
_WORTH: Final = 0.05  # squared levels; weaker noise counts as none

_WINDOW: Final = np.outer(*[np.hanning(BLOCK + 2)[1:-1]] * 2)
_RING: Final = np.rint(frequencies() * BLOCK).astype(np.intp)  # frequencies beyond the last ring count for none
_TWICE: Final = np.where(np.isin(np.arange(RINGS + 1), (0, RINGS)), 1.0, 2.0) * np.ones((BLOCK, 1))
_COUNTS: Final = np.bincount(_RING.ravel(), _TWICE.ravel())[1 : RINGS + 1]
_AREAS: Final = np.append(_COUNTS[:-1], BLOCK**2 - 1 - _COUNTS[:-1].sum()) / BLOCK**2  # corners belong to the last ring


class Blocks(NamedTuple):
    """The blocks of images, N in all.

    Attributes:
        level: Mean luminance, (N,).
        power: Power of luminance and both colour differences by rings, (N, 3, 8); for white noise its variance.
    """

    level: Floats
    power: Floats


class Noise(NamedTuple):
    """The noise of one channel, measured in flat blocks at increasing levels of luminance.

    Attributes:
        levels: Mean luminance of each level, (L,).
        power: Power by rings, (L, 8).
        counts: Number of blocks of each level, (L,).
    """

    levels: Floats
    power: Floats
    counts: Floats

    def at(self, levels: Floats) -> Floats:
        """Return the power by rings, (N, 8), interpolated at other levels (N,)."""
        return np.stack([np.interp(levels, self.levels, ring) for ring in self.power.T], axis=-1)


def fit_camera(translated: Sequence[Image], real: Sequence[Image], encoding: Encoding | None = None) -> Camera:
    """Return the camera that makes translated images as soft and as noisy as real ones.

    Args:
        translated: The translated images, RGB (H, W, 3), of any sizes; a few dozen suffice, in any order.
        real: The real images, in the same form. Of the side with the wider aspect ratio only the middle is used.
        encoding: The JPEG encoding that is used after the camera, if any; its own effect on images is accounted for.

    Raises:
        ValueError: If the images of a side are too few, too small or clipped.
    """
    translated, real = _middles(translated, real)
    goal = measure("real", real)
    start = measure("translated", translated, Camera(), encoding)
    luma, *colours = (_blur(start, goal, channel) for channel in range(3))

    @cache
    def camera(luma: Channel) -> Camera:
        soft = Camera(luma, *colours)
        return _with_noise(soft, measure("translated", translated, soft, encoding), goal)

    if luma.blur >= _CLEAR:
        metric = SpectrumMetric()
        wanted = metric.describe(real).sum(axis=0, keepdims=True)  # as one, so that no image is left over
        furthest = max(luma.blur - _FURTHEST, 0), min(luma.blur + _FURTHEST, MOST_BLUR)

        @cache
        def apart(luma: Channel) -> float:
            if not furthest[0] <= luma.blur <= furthest[1] or abs(luma.tail) > MOST_TAIL:
                return math.inf
            taken = [camera(luma).apply(image, seed, encoding) for seed, image in enumerate(translated)]
            return metric.distance(metric.describe(taken).sum(axis=0, keepdims=True), wanted)

        for step in _STEPS:
            while apart(nearer := min(_around(luma, *step), key=apart)) < _NEARER * apart(luma):
                luma = nearer
    return camera(luma)


def _around(channel: Channel, blur: float, tail: float) -> list[Channel]:
    """Return the channels that are one step of blur or of tail apart."""
    steps = ((blur, 0.0), (-blur, 0.0), (0.0, tail), (0.0, -tail))
    return [Channel(blur=round(channel.blur + more, 4), tail=round(channel.tail + far, 4)) for more, far in steps]


def _middles(*sides: Sequence[Image]) -> list[list[Image]]:
    """Return the images of both sides, cut left and right to the narrower aspect ratio, as evaluations do."""
    widths = [float(np.median([image.shape[1] / image.shape[0] for image in side])) for side in sides if len(side)]
    return [[_middle(image, min(widths)) for image in side] for side in sides]


def _middle(image: Image, width: float) -> Image:
    kept = min(image.shape[1], max(1, round(width * image.shape[0])))
    left = (image.shape[1] - kept) // 2
    return image[:, left : left + kept]


def measure(
    side: str, images: Sequence[Image], camera: Camera | None = None, encoding: Encoding | None = None
) -> Blocks:
    """Return the blocks of a side's images after a camera, without those that are clipped.

    Raises:
        ValueError: If there are fewer than 100.
    """
    camera = camera or Camera()
    large = (image for image in images if min(image.shape[:2]) >= BLOCK)
    found = [_blocks(camera.apply(image, seed, encoding)) for seed, image in enumerate(large)]
    level, power = (np.concatenate(parts) for parts in zip(*found, strict=True)) if found else (np.empty(0),) * 2
    if len(level) < _FEWEST:
        message = f"{len(level)} blocks of {BLOCK}x{BLOCK} px of the {side} images are not clipped"
        raise ValueError(f"{message}, and {_FEWEST} are needed")
    return Blocks(level, power)


def _blocks(image: Image) -> Blocks:
    down, across = (side // BLOCK for side in image.shape[:2])
    number = np.arange(down * across)
    number = number[:: -(-len(number) // _MOST)]
    tiles = np.stack(
        [
            image[row * BLOCK : (row + 1) * BLOCK, column * BLOCK : (column + 1) * BLOCK]
            for row, column in zip(*np.divmod(number, across), strict=True)
        ]
    )
    clipped = ((tiles <= 1) | (tiles >= 254)).mean(axis=(1, 2, 3))
    tiles = tiles[clipped <= _CLIPPED]
    if not len(tiles):
        return Blocks(np.empty(0), np.empty((0, 3, RINGS)))
    values = to_channels(tiles.reshape(-1, BLOCK, 3)).reshape(-1, BLOCK, BLOCK, 3).transpose(0, 3, 1, 2)
    waves = np.fft.rfft2((values - values.mean(axis=(2, 3), keepdims=True)) * _WINDOW)
    power = np.square(np.abs(waves)) / np.square(_WINDOW).sum() * _TWICE
    rings = np.stack([power[..., ring == _RING].sum(axis=-1) for ring in range(1, RINGS + 1)], axis=-1)
    return Blocks(values[:, 0].mean(axis=(1, 2)).astype(np.float64), rings / _COUNTS)


def _noise(blocks: Blocks, channel: int) -> Noise:
    """Return the noise of a channel, measured in flat blocks."""
    flat = blocks.power[:, 0, 0] <= np.quantile(blocks.power[:, 0, 0], _FLAT)
    level, power = blocks.level[flat], blocks.power[flat, channel]
    bins = [here for low, high in pairwise(_LEVELS) if (here := (low <= level) & (level < high)).mean() >= _LEAST_SHARE]
    return Noise(
        np.array([level[here].mean() for here in bins]),
        np.stack([np.median(power[here], axis=0) for here in bins]) / _MEDIANS,
        np.array([here.sum() for here in bins]),
    )


_SHARES: Final = np.where(np.arange(RINGS) < _STEADY, 0.0, _AREAS / _AREAS[_STEADY:].sum())
# median of a mean of squares (Wilson and Hilferty); 2.25, as the window correlates neighbouring frequencies
_MEDIANS: Final = (1 - 2 / (9 * _COUNTS / 2.25)) ** 3


def _line(levels: Floats, variances: Floats, weights: Floats) -> tuple[float, float, Floats]:
    """Return base and slope of a line fitted by weighted least squares, and the final weights, (L,).

    Levels far above the line get less weight: they have texture as well as noise.
    """
    if len(levels) == 1:
        return float(variances[0]), 0.0, weights
    columns, kept = np.stack([np.ones(len(levels)), levels], axis=1), weights
    for _ in range(_ROUNDS):
        line, *_ = np.linalg.lstsq(columns * kept[:, None], variances * kept, rcond=None)
        kept = np.where(variances > _ABOVE * np.maximum(columns @ line, _WORTH), _TEXTURED, 1.0) * weights
    return float(line[0]), float(line[1]), kept


def _blur(start: Blocks, goal: Blocks, channel: int) -> Channel:
    """Return the channel that makes edges as soft as in ``goal``."""
    (sharp, sharp_noise), (soft, soft_noise) = (_edges(blocks, channel) for blocks in (start, goal))
    known = (sharp > 0) & (soft > 0) & (np.arange(RINGS) >= 1)
    if not known.any():
        return Channel()
    ratio = np.log(soft[known] / sharp[known])
    weights = 1 / (1 + sharp_noise[known] / sharp[known] + soft_noise[known] / soft[known]) ** 2
    gains = np.log(_GAINS[:, known])
    apart = ratio - gains
    apart -= (apart * weights).sum(axis=1, keepdims=True) / weights.sum()
    return _BLURS[int((np.square(apart) * weights).sum(axis=1).argmin())]


def _edges(blocks: Blocks, channel: int) -> tuple[Floats, Floats]:
    """Return the power of blocks with edges without noise, and that of the noise, by rings, relative to the lowest."""
    noise = _noise(blocks, channel)
    lowest = blocks.power[:, channel, :2].sum(axis=1)
    edgy = lowest >= max(np.quantile(lowest, 1 - _EDGY), _ROUNDING)
    if not edgy.any():
        return np.zeros(RINGS), np.zeros(RINGS)
    floor = (noise.at(blocks.level[edgy]) / lowest[edgy, None]).mean(axis=0)
    whole = (blocks.power[edgy, channel] / lowest[edgy, None]).mean(axis=0)
    return whole - floor, floor


def _ring_means(values: Floats) -> Floats:
    return np.array([(values * _TWICE)[ring == _RING].sum() for ring in range(1, RINGS + 1)]) / _COUNTS


_BLURS: Final = (
    Channel(),
    *(
        Channel(blur=round(blur, 3), tail=round(tail, 3))
        for tail in sorted(np.linspace(-MOST_TAIL, MOST_TAIL, 11).tolist(), key=abs)
        for blur in np.linspace(0, MOST_BLUR, 126)[1:].tolist()
    ),
)


def _gains() -> Floats:
    """Return the share of power that each blur leaves, by rings."""
    down, across = (2 * np.pi * np.asarray(f(BLOCK), np.float64) for f in (np.fft.fftfreq, np.fft.rfftfreq))

    def left(taps: Sequence[float], waves: Floats) -> Floats:
        far, near, middle, *_ = taps
        return np.asarray(middle + 2 * near * np.cos(waves) + 2 * far * np.cos(2 * waves))

    each = (np.outer(left(channel.taps, down), left(channel.taps, across)) for channel in _BLURS)
    return np.stack([_ring_means(np.square(gains)) for gains in each])


_GAINS: Final = np.maximum(_gains(), 1e-9)


def _with_noise(camera: Camera, start: Blocks, goal: Blocks) -> Camera:
    """Return the camera with the missing noise added; colour noise is at most as strong as luminance noise."""
    channels: list[Channel] = []
    for number, channel in enumerate(camera.channels):
        has, wanted = _noise(start, number), _noise(goal, number)
        missing = wanted.power - np.maximum(has.at(wanted.levels), _ROUNDING)
        weights = np.sqrt(wanted.counts) / (wanted.power @ _SHARES + _ROUNDING)
        base, slope, kept = _line(wanted.levels, missing @ _SHARES, weights)
        grain = np.maximum((wanted.counts * np.square(kept / weights)) @ missing, 0)
        grain[:_LOWEST] = grain[_LOWEST]
        whole = float(grain @ _AREAS) / max(float(grain @ _SHARES), _WORTH)
        usual = float(np.average(wanted.levels, weights=wanted.counts))
        variance = whole * (base + slope * usual)
        most = channels[0].noise(usual) ** 2 if channels else variance
        if min(variance, most) > _WORTH:
            share = whole * min(1.0, most / variance)
            powers = tuple((grain / (grain @ _AREAS)).round(4).tolist())
            line = {"base": round(share * base, 4), "slope": round(share * slope, 6)}
            channels.append(
                replace(channel, **line, until=round(min(_BEYOND * float(wanted.levels[-1]), 255.0), 1), grain=powers)
            )
        else:
            channels.append(channel)
    return Camera(*channels)
