"""Estimate of the duration and the output size of a conversion, from a trial on a few of its frames."""

import time
from collections.abc import Callable

import numpy as np

from sim2real.conversion.carry import SourceError
from sim2real.conversion.inference import Inference, without_compilation
from sim2real.conversion.options import ConvertOptions
from sim2real.conversion.plan import Plan
from sim2real.conversion.space import encoded, samples
from sim2real.conversion.trial import Sample, frames_per_second
from sim2real.errors import DatasetError, ImageError


def forecast(plan: Plan, options: ConvertOptions, notify: Callable[[str], None]) -> tuple[float, float] | None:
    """Estimate the size of translations relative to their sources, and the seconds until all are done.

    Args:
        plan: The plan of the conversion.
        options: The options that the plan was made from.
        notify: Called with a line for each notable event.

    Returns:
        The size ratio and the seconds, both without compilation; None if none of a few frames can be read.
    """
    before = after = frames = 0
    coding = translating = 0.0
    inference = None
    begin = time.perf_counter()
    for job, picture in samples(plan):
        coding += time.perf_counter() - begin
        inference = inference or Inference(without_compilation(plan), notify)
        try:
            sample = Sample.of(plan.can, picture.rgb, plan.read_inputs(plan.source / job.path))
        except (DatasetError, ImageError, SourceError):
            continue
        if not frames:
            many = plan.record.batch_size
            batch = {kind: np.repeat(values, many, 0) for kind, values in sample.inputs.items()}
            images = np.repeat(sample.images, many, 0)
            speed = frames_per_second(inference, images, paths=[job.path] * many, inputs=batch)
            translating = 1 / (speed * plan.can.clip_length)
        found, _ = inference(sample.images, [job.path], sample.inputs)
        translated = found[0, 0] if plan.can.clip_length > 1 else found[0]
        encoding = time.perf_counter()
        before, after, frames = before + job.size, after + len(encoded(plan, picture, translated)), frames + 1
        begin = time.perf_counter()
        coding += begin - encoding
    if not inference or not frames:
        return None
    coding /= frames * options.threads
    busy = translating + coding if plan.device == "cpu" else max(translating, coding)  # the CPU does both
    return after / before, busy * sum(job.translate for job in plan.todo)
