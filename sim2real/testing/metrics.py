"""Check the contract of a metric, and its direction, on images before and after damage."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import cv2
import numpy as np

from sim2real.metrics.base import About, FrameMetric, Image, Metric, SetMetric
from sim2real.testing.samples import Sample, sample_pictures

_MOST: Final = 24
_CLOSE: Final = 1e-3


def check_metric(
    target: Callable[..., Metric],
    *,
    pictures: Sequence[Sample] = (),
    damage: Callable[[Image], Image] | None = None,
    **options: Any,  # noqa: ANN401  the target's
) -> None:
    """Make sure that a metric keeps the contract of ``register_metrics``, and gets worse with damage.

    Args:
        target: The object that the plugin registers.
        pictures: Images of one size, with labels; a set metric compares those at even places with those at odd ones.
            Default: synthetic images.
        damage: Damages an image in the way that the metric measures; default: noise, blur and wrong colours.
        options: Options of the target.

    Raises:
        AssertionError: If it does not; the message says why.
    """
    who = getattr(target, "__name__", repr(target))
    metric = target(**options)
    damaged = damage or _damaged
    if hasattr(metric, "distance"):
        _check_set(who, cast("SetMetric", metric), pictures, damaged)
    elif hasattr(metric, "compare"):
        _check_frames(who, metric, pictures or sample_pictures(4), damaged)
    else:
        raise AssertionError(f"{who}: has neither distance nor compare, see sim2real.metrics.base")


def _check_set(who: str, metric: SetMetric, pictures: Sequence[Sample], damage: Callable[[Image], Image]) -> None:
    _require_about(who, metric.about)
    if not isinstance(metric.resamples, int) or metric.resamples < 1:
        raise AssertionError(f"{who}: resamples = {metric.resamples!r} is not an integer of at least 1")
    pictures = pictures or sample_pictures(2 * max(8, min(metric.about.least, _MOST)))
    own, real = ([sample.picture for sample in pictures[start::2]] for start in (0, 1))
    rows, others = metric.describe(own), metric.describe(real)
    if len(rows) != len(own):
        raise AssertionError(f"{who}: describes {len(own)} pictures by {len(rows)} rows")
    if not np.allclose(metric.describe(own[:1]), rows[:1], atol=_CLOSE, rtol=_CLOSE):
        raise AssertionError(f"{who}: its description of a picture depends on the others")
    well = metric.distance(rows, others)
    badly = metric.distance(metric.describe([damage(picture) for picture in own]), others)
    if not (math.isfinite(well) and math.isfinite(badly)):
        raise AssertionError(f"{who}: a distance is not a finite number: {well}, {badly}")
    if metric.about.better is None:
        return
    sign = 1 if metric.about.better == "lower" else -1
    if sign * badly <= sign * well:
        raise AssertionError(
            f"{who}: {metric.about.better} is better, but it returns {badly:.4g} for damaged pictures and {well:.4g} "
            "for untouched ones"
        )


def _check_frames(who: str, metric: FrameMetric, samples: Sequence[Sample], damage: Callable[[Image], Image]) -> None:
    for about in metric.abouts.values():
        _require_about(who, about)
    worse = set[str]()
    for picture, labels in samples:
        well = metric.compare(picture, picture.copy(), labels)
        badly = metric.compare(picture, damage(picture), labels)
        metric.compare(picture, picture.copy(), {})  # a frame may have no labels
        for name, change in badly.items():
            if name.partition("/")[0] not in metric.abouts:
                raise AssertionError(f"{who}: abouts has no entry for its value '{name}'")
            about = metric.abouts[name.partition("/")[0]]
            if name not in well or about.better is None:
                continue
            before, after = well[name].after, change.after
            if not (math.isfinite(before) and math.isfinite(after)):
                raise AssertionError(f"{who}: '{name}' is not a finite number: {before}, {after}")
            sign = 1 if about.better == "lower" else -1
            if sign * after > sign * before + _CLOSE:
                worse.add(name)
            elif sign * after < sign * before - _CLOSE and "/" not in name:
                raise AssertionError(
                    f"{who}: of '{name}' {about.better} is better, but it is {after:.4g} for a damaged picture "
                    f"and {before:.4g} for an untouched one"
                )
    if not worse and any(about.better for about in metric.abouts.values()):
        raise AssertionError(f"{who}: no value gets worse in damaged pictures: pass the damage that it measures")


def _require_about(who: str, about: About) -> None:
    if not isinstance(about, About) or about.better not in {"lower", "higher", None} or not about.title:
        raise AssertionError(f"{who}: {about!r} is not a sim2real.metrics.base.About with a title and a direction")


def _damaged(picture: Image) -> Image:
    """Return the image blurred, noisy, too bright and with wrong colours."""
    random = np.random.default_rng(0)
    blurred = cv2.GaussianBlur(picture, (0, 0), 4)[..., ::-1].astype(np.float32)
    noise = np.kron(random.normal(0, 40, (-(-picture.shape[0] // 4), -(-picture.shape[1] // 4), 3)), np.ones((4, 4, 1)))
    changed = blurred + noise[: picture.shape[0], : picture.shape[1]] + 40
    return np.asarray(np.clip(changed, 0, 255), np.uint8)
