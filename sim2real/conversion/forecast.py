"""How much a conversion will write and how long it will take, tried on a few of its frames."""

import time
from collections.abc import Callable

import numpy as np

from sim2real.conversion.inference import Inference, without_compilation
from sim2real.conversion.options import ConvertOptions
from sim2real.conversion.plan import Plan
from sim2real.conversion.space import encoded, samples
from sim2real.conversion.trial import frames_per_second


def forecast(plan: Plan, options: ConvertOptions, tell: Callable[[str], None]) -> tuple[float, float] | None:
    """How many times as large as their sources translations will be, and the seconds until all are there.

    Args:
        plan: What is to be done.
        options: What it was made from.
        tell: Told in a line what the user would wonder at.

    Returns:
        Both, not compiled; None if none of a few frames can be read.
    """
    before = after = frames = 0
    coding = translating = 0.0
    inference = None
    begin = time.perf_counter()
    for job, picture in samples(plan):
        coding += time.perf_counter() - begin
        rgb = picture.rgb
        if inference is None:
            inference = Inference(without_compilation(plan), tell)
            batch = np.stack([rgb] * plan.record.batch_size)
            translating = 1 / frames_per_second(inference, batch, paths=[job.path] * len(batch))
        translated, _ = inference(rgb[None], [job.path])
        encoding = time.perf_counter()
        before, after, frames = before + job.size, after + len(encoded(plan, picture, translated[0])), frames + 1
        begin = time.perf_counter()
        coding += begin - encoding
    if not inference:
        return None
    coding /= frames * options.threads
    busy = translating + coding if plan.device == "cpu" else max(translating, coding)  # one processor does both
    return after / before, busy * sum(job.translate for job in plan.todo)
