"""Time the engines on the CPU in turn: python plugins/sim2real-openvino/benchmark.py PICTURE PICTURE ...

The images, all of one size, are translated by a generator with random weights, one per core at a time, and also
calibrate int8. Medians over the rounds; CPU time is more reliable if the machine is doing other work.
"""
# ruff: noqa: INP001, T201  a script that prints

import math
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from sim2real_openvino.engine import OpenVinoEngine
from sim2real_openvino.int8 import Int8Engine

from sim2real.engines.base import Engine, EngineSettings
from sim2real.engines.torch import TorchEngine
from sim2real.imageio import read_rgb
from sim2real.networks import RangeAdapter, initialise
from sim2real.networks.generators import EncoderDecoder, ResNet

ROUNDS = 3


def main() -> None:
    """Print a table for each generator."""
    paths = tuple(map(Path, sys.argv[1:]))
    images = np.stack([read_rgb(path) for path in paths[: torch.get_num_threads()]])
    fp32 = EngineSettings(device="cpu", precision="fp32")
    bf16 = EngineSettings(device="cpu", precision="bf16", calibration=paths)
    print(f"{images.shape[2]}x{images.shape[1]}, {torch.get_num_threads()} cores")
    for name, network in (("encoder-decoder", EncoderDecoder()), ("resnet", ResNet())):
        torch.manual_seed(0)
        initialise(network, "normal")
        generator = RangeAdapter(network, returns_images=True)
        engines: dict[str, Engine] = {
            "torch fp32": TorchEngine(generator, fp32),
            "torch bf16": TorchEngine(generator, bf16),
            "openvino fp32": OpenVinoEngine(generator, fp32),
            "openvino bf16": OpenVinoEngine(generator, bf16),
            "openvino-int8 bf16": Int8Engine(generator, bf16),
        }
        exact = engines["torch fp32"](images).astype(float)
        errors = {engine: float(np.mean((run(images) - exact) ** 2)) for engine, run in engines.items()}
        walls: dict[str, list[float]] = {engine: [] for engine in engines}
        works: dict[str, list[float]] = {engine: [] for engine in engines}
        for _ in range(ROUNDS):
            for engine, run in engines.items():
                wall, work = time.perf_counter(), time.process_time()
                run(images)
                walls[engine].append((time.perf_counter() - wall) / len(images) * 1000)
                works[engine].append((time.process_time() - work) / len(images) * 1000)
        print(f"\n| {name} | ms/frame | x torch fp32 | CPU ms/frame | x torch fp32 | dB |\n|---|---|---|---|---|---|")
        for engine in engines:
            wall, work = median(walls[engine]), median(works[engine])
            gain, gain_work = median(walls["torch fp32"]) / wall, median(works["torch fp32"]) / work
            distance = f"{10 * math.log10(255**2 / errors[engine]):.1f}" if errors[engine] else "the same"
            print(f"| {engine} | {wall:.0f} | {gain:.2f} | {work:.0f} | {gain_work:.2f} | {distance} |")


if __name__ == "__main__":
    main()
