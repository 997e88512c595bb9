"""How long a conversion will take, tried on one of its frames."""

import time
from collections.abc import Callable

from sim2real.conversion.inference import Inference, without_compilation
from sim2real.conversion.options import ConvertOptions
from sim2real.conversion.plan import Plan
from sim2real.conversion.trial import frames_per_second
from sim2real.errors import ImageError
from sim2real.imageio import encode_picture, read_picture


def seconds_to_translate(plan: Plan, options: ConvertOptions, tell: Callable[[str], None]) -> float | None:
    """About how long the frames still to be translated will take, not compiled; None if none of them can be read.

    Args:
        plan: What is to be done.
        options: What it was made from.
        tell: Told in a line what the user would wonder at.
    """
    jobs = [job for job in plan.todo if job.translate]
    for job in jobs[len(jobs) // 2 :][:10]:
        begin = time.perf_counter()
        try:
            picture = read_picture(plan.source / job.path)
        except ImageError:
            continue
        encode_picture(picture.rgb, picture, quality=plan.record.quality)
        coding = (time.perf_counter() - begin) / options.threads
        inference = Inference(without_compilation(plan), tell)
        return len(jobs) * max(coding, 1 / frames_per_second(inference, picture.rgb[None], [job.path]))
    return None
