"""Everything that only a GPU can show, in one command.

    python benchmarks/gpu.py --out gpu-results

Tests, training steps, conversions, codecs, exactness, memory, and a training. The script renders its own data, writes
gpu.json and gpu.md, and says what is missing. Each part runs in a process of its own and is kept once it has ended; a
second run does only the parts that failed or are missing. It is meant to take less than eight minutes. The last part
trains on the CARLA and KITTI frames in the folder SIM2REAL_TEST_DATA, if there is one.
"""

import argparse
import io
import json
import math
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torchvision
from PIL import Image

from benchmarks.common import in_turns, processor
from benchmarks.convert import RECIPE_WIDTHS, convert_plainly, plain_generator, write_model
from benchmarks.plain import make_picture
from benchmarks.train import COMPILED, PLAIN, Setting, training_step
from sim2real import OutOfMemoryError, SettingsError, Sim2RealError, load, train
from sim2real.config import resolve
from sim2real.conversion import ConvertOptions, convert
from sim2real.conversion.manifest import read_manifest
from sim2real.conversion.trial import frames_per_second, make_engine
from sim2real.engines.base import EngineSettings
from sim2real.imageio import (
    Encoding,
    Picture,
    decode_picture,
    encode_jpeg,
    encode_picture,
    encode_png,
    read_picture,
    read_rgb,
)
from sim2real.imageio.nvjpeg import JpegCodecs
from sim2real.methods.base import Batch
from sim2real.model import load_generator
from sim2real.training.setup import build_averages, build_method, take_step

ROOT: Final = Path(__file__).parents[1]
_CONVERTED: Final = ("default", "cyclegan")
LIMIT: Final = 300  # seconds of a part
AIMS: Final = (
    "Aims: vkitti2kitti and cyclegan at least 4 times the plain step; convert at least 10 times the plain loop; guided "
    "transfer at 1920x1080 limited by the codecs."
)


@dataclass(frozen=True)
class Scale:
    """How large the parts are.

    Attributes:
        device: ``"cuda"``, or ``"cpu"`` to check the script.
        quick: Whether everything is tiny.
    """

    device: str
    quick: bool

    def pick(self, whole: Any, tiny: Any) -> Any:  # noqa: ANN401  either of them
        """Return the first value, or the second one if everything is tiny."""
        return tiny if self.quick else whole

    def wait(self) -> None:
        """Wait until the device has finished its work."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def peak(self) -> float:
        """Return the peak memory of the device in MB since the last call; 0 on the CPU."""
        if self.device != "cuda":
            return 0.0
        peak = torch.cuda.max_memory_allocated() / 1e6
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return peak


Row = dict[str, Any]


def machine(scale: Scale) -> list[Row]:
    """Return what the machine is."""
    found = {"processor": processor(), "torch": torch.__version__, "Python": platform.python_version()}
    if scale.device == "cuda":
        found |= {"GPU": torch.cuda.get_device_name(), "GPUs": str(torch.cuda.device_count())}
        found |= {"CUDA": str(torch.version.cuda), "cuDNN": str(torch.backends.cudnn.version())}
    return [{"what": name, "is": value} for name, value in found.items()]


def tests(scale: Scale) -> list[Row]:
    """Run the tests that are marked gpu."""
    where = ["tests/test_gpu.py"]
    where += scale.pick(
        [
            "tests/test_nvjpeg.py",
            "tests/conversion/test_codecs.py",
            "tests/training/test_deterministic.py",
            "tests/training/test_memory.py",
        ],
        [],
    )
    more = ["-o", "addopts=--import-mode=importlib", *scale.pick([], ["-k", "resumes or never_waits and default"])]
    if not find_spec("pytest_timeout"):  # some machines only have pytest, which does not know this setting
        more += ["-W", "ignore::pytest.PytestConfigWarning"]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", *where, *more]
    variables = {**os.environ, "SIM2REAL_TEST_DEVICE": scale.device, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    last = next((line for line in reversed(done.stdout.splitlines()) if re.search(r"passed|failed|error", line)), "")
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if not last:
        raise Sim2RealError(f"pytest ran no test: {(done.stderr or done.stdout).strip()[-300:]}")
    return [{"tests": last.strip("= "), "failed": "; ".join(failed) or "none"}]


def training(scale: Scale) -> list[Row]:
    """Time training steps against plain loops in fp32, and measure their memory."""
    rows = []
    for recipe, size in (("vkitti2kitti", (1024, 256)), ("cyclegan", (256, 256)), ("default", (256, 128))):
        shown, width = scale.pick((size, 64), ((size[0] // 4, size[1] // 4), 8))
        setting = Setting(recipe, shown, width, 1, scale.device, torch.get_num_threads())
        ours = ["fp32", "bf16", *scale.pick([f"bf16, {COMPILED}"], [])]
        contenders = [*([PLAIN] if recipe != "default" else []), *ours]
        make = partial(training_step, setting) if recipe != "default" else partial(_step_of_default, scale)
        steps = {name: make(name) for name in contenders}
        images = setting.batch_size if recipe != "default" else resolve("default").data.batch_size
        seconds = in_turns(steps, repeats=scale.pick(20, 1), wait=scale.wait)
        base = statistics.median(seconds[contenders[0]])
        for name, step in steps.items():
            scale.peak()
            step()
            scale.wait()
            median = statistics.median(seconds[name])
            rows.append(
                {
                    "recipe": recipe,
                    "by": name if name == PLAIN else f"sim2real {name}",
                    "ms/step": 1e3 * median,
                    "images/s": 2 * images / median,
                    f"times {contenders[0]}": base / median,
                    "peak MB": scale.peak(),
                }
            )
    return rows


def _step_of_default(scale: Scale, contender: str) -> Callable[[], object]:
    """Return a training step of the recipe ``default`` at its own size."""
    precision, _, how = contender.partition(", ")
    small = scale.pick([], ["data.size=[64,32]", "data.load_size=[64,32]", "discriminator.options.width=8"])
    config = resolve("default", sets=[f"compile={str(how == COMPILED).lower()}", *small])
    torch.manual_seed(0)
    method = build_method(config, scale.device, precision)
    width, height = config.data.size
    sim, real = (torch.rand(config.data.batch_size, 3, height, width, device=scale.device) * 2 - 1 for _ in range(2))
    return partial(method.step, Batch(sim, real))


def conversion(scale: Scale) -> list[Row]:
    """Convert end to end at several sizes, and compare with the plain loop, the bare network and the codecs."""
    sizes = scale.pick({(1242, 375): 192, (1920, 1080): 64, (3840, 2160): 24}, {(96, 64): 4})
    ways = [("default", "direct"), ("cyclegan", "guided"), ("cyclegan", "direct"), ("cyclegan", None)]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="sim2real-gpu-") as place:
        root, widths = Path(place), {name: scale.pick(width, 8) for name, width in RECIPE_WIDTHS.items()}
        models = {name: write_model(root / f"{name}.safetensors", name, widths[name]) for name in _CONVERTED}
        for size, count in sizes.items():
            for form in ("jpg", "png"):
                source = _pictures(root / f"{size[0]}x{size[1]}" / form, size, count)
                codecs = _codecs(sorted(source.iterdir()))
                for recipe, transfer in ways:
                    if form == "png" and (recipe, transfer) != ("default", "direct"):
                        continue
                    out = root / "out"
                    shutil.rmtree(out, ignore_errors=True)
                    row: Row = {"size": f"{size[0]}x{size[1]}", "format": form, "by": f"{recipe}, {transfer or PLAIN}"}
                    if transfer:
                        row |= _converted(scale, source, out, models[recipe], transfer)
                        if transfer == "direct":
                            row["bare frames/s"] = _bare(scale, models[recipe], size)
                    else:
                        row["frames/s"] = _plainly(scale, recipe, widths[recipe], models[recipe], source, out)
                    rows.append(row | {"codecs frames/s": codecs})
    return rows


def _pictures(folder: Path, size: tuple[int, int], count: int) -> Path:
    """Fill a folder with eight images, again and again."""
    encode = encode_png if folder.name == "png" else encode_jpeg
    folder.mkdir(parents=True)
    with ThreadPoolExecutor() as pool:
        files = list(pool.map(lambda seed: encode(make_picture(size, seed)), range(min(8, count))))
    for number in range(count):
        (folder / f"{number:04d}.{folder.name}").write_bytes(files[number % len(files)])
    return folder


def _codecs(pictures: list[Path]) -> float:
    """Return frames per second if all cores only decode and encode."""
    translated = read_rgb(pictures[0])
    with ThreadPoolExecutor() as pool:
        began = time.perf_counter()
        list(pool.map(lambda path: encode_picture(translated, read_picture(path)), pictures))
        return len(pictures) / (time.perf_counter() - began)


def jpeg_codecs(scale: Scale) -> list[Row]:
    """Decode and encode JPEG files by the CPU and by the GPU, and compare their pixels."""
    try:
        codecs = JpegCodecs(scale.device)
    except SettingsError as error:
        return [{"work": f"missing: {error}"}]
    rows: list[Row] = []
    for size in scale.pick([(1242, 375), (1920, 1080), (3840, 2160)], [(96, 64)]):
        with ThreadPoolExecutor() as pool:
            rows += _coded(scale, codecs, size, pool)
    return [*rows, _subsampled(scale)]


def _coded(scale: Scale, codecs: JpegCodecs, size: tuple[int, int], pool: ThreadPoolExecutor) -> Iterator[Row]:
    count = scale.pick(max(16, 64_000_000 // (size[0] * size[1])), 4)
    different = list(pool.map(lambda seed: make_picture(size, seed), range(min(8, count))))
    pictures = (different * -(-count // len(different)))[:count]
    files, name = list(pool.map(encode_jpeg, pictures)), Path("a.jpg")
    likes = list(pool.map(lambda data: decode_picture(data, name), files))

    def decode() -> list[Picture]:
        return list(pool.map(lambda data: decode_picture(data, name), files))

    def decode_on_gpu() -> list[Picture]:
        return list(pool.map(lambda data: codecs.decode_picture(data, name)[0], files))

    def encode() -> list[bytes]:
        return list(pool.map(encode_picture, pictures, likes))

    def encode_on_gpu() -> list[bytes]:
        return list(pool.map(lambda rgb, like: codecs.encode_picture(rgb, like, Encoding())[0], pictures, likes))

    def row(work: str, by_cpu: Callable[[], object], by_gpu: Callable[[], object]) -> Row:
        seconds = in_turns({"cpu": by_cpu, "gpu": by_gpu}, repeats=scale.pick(5, 1), wait=scale.wait)
        speeds = {f"{way} frames/s": count / statistics.median(times) for way, times in seconds.items()}
        return {"work": f"{work} {size[0]}x{size[1]}"} | speeds

    apart = [abs(one.rgb.astype(int) - other.rgb).max() for one, other in zip(decode_on_gpu(), likes, strict=True)]
    yield row("decode", decode, decode_on_gpu) | {"on the GPU": "yes", "grey levels apart": int(max(apart))}
    seen = [decode_picture(data, name).rgb.astype(int) for data in encode_on_gpu()[: len(different)]]
    apart = [abs(one - decode_picture(data, name).rgb).max() for one, data in zip(seen, encode(), strict=False)]
    on_gpu = f"no: {codecs.why_not_encoded}" if codecs.why_not_encoded else "yes"
    yield row("encode", encode, encode_on_gpu) | {"on the GPU": on_gpu, "grey levels apart": int(max(apart))}


def _subsampled(scale: Scale) -> Row:
    """Return how far a GPU's pixels are from a CPU's if chroma is subsampled: why such files stay with the CPU."""
    file = io.BytesIO()
    Image.fromarray(make_picture((640, 360), 0)).save(file, "JPEG", quality=95, subsampling=2)
    usual = decode_picture(file.getvalue(), Path("a.jpg")).rgb
    tensor = torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)
    found = torchvision.io.decode_jpeg(tensor, torchvision.io.ImageReadMode.RGB, device=scale.device)
    apart = abs(found.permute(1, 2, 0).cpu().numpy().astype(int) - usual)
    return {"work": "decode 4:2:0, by torchvision", "on the GPU": "never", "grey levels apart": int(apart.max())}


def _converted(scale: Scale, source: Path, out: Path, model: Path, transfer: Any) -> Row:  # noqa: ANN401  a literal
    times: list[float] = []

    def note(stage: str, _done: int, _total: int, _limit: str = "") -> None:
        if stage == "converting":
            times.append(time.perf_counter())

    options = ConvertOptions(model=model, transfer=transfer, engine="torch", device=scale.device)
    summary = convert(source, out, options, note)
    record = summary.record
    return {
        "frames/s": summary.converted / (times[-1] - times[0]),
        "limit": summary.limit,
        "precision": record.precision,
        "compiled": "yes" if record.compile else "no",
    }


def _plainly(scale: Scale, recipe: str, width: int, model: Path, source: Path, out: Path) -> float:  # noqa: PLR0917
    pictures = sorted(source.iterdir())[:: scale.pick(8, 1)]
    out.mkdir()
    generator = plain_generator(recipe, width, model).to(scale.device)
    convert_plainly(recipe, generator, pictures[:1], out)
    began = time.perf_counter()
    convert_plainly(recipe, generator, pictures, out)
    return len(pictures) / (time.perf_counter() - began)


def _bare(scale: Scale, model: Path, size: tuple[int, int]) -> float:
    generator, _ = load_generator(model)
    settings = EngineSettings(device=scale.device, precision=scale.pick("bf16", "fp32"), batch_size=1)
    frames = make_picture(size, 0)[None]
    return frames_per_second(make_engine("torch", generator, settings), frames, seeds=np.zeros(1, np.uint64))


def synchronisation(scale: Scale) -> list[Row]:
    """Train with every wait for the device being an error."""
    rows = []
    for recipe in scale.pick(("default", "labelled", "vkitti2kitti", "cyclegan", "cut"), ("default",)):
        sets = ["compile=false", "classes.names=[road,sky]", "data.batch_size=1"]
        config = resolve(recipe, sets=[*sets, *scale.pick([], ["data.size=[64,32]", "data.load_size=[64,32]"])])
        method = build_method(config, scale.device, scale.pick("bf16", "fp32"))
        averages, (width, height) = build_averages(config, method), config.data.size
        masks = {"segmentation": torch.randint(0, 2, (1, height, width), device=scale.device)}
        images = [torch.rand(1, 3, height, width, device=scale.device) * 2 - 1 for _ in range(2)]
        batch = Batch(images[0], images[1], masks if recipe == "labelled" else {})
        for number in range(8):
            if number == 3 and scale.device == "cuda":
                torch.cuda.set_sync_debug_mode("error")
            try:
                method.reach(number / 8)
                take_step(method, averages, batch)
                verdict = "never waits"
            except RuntimeError as error:
                verdict = str(error).splitlines()[0]
                break
            finally:
                if scale.device == "cuda":
                    torch.cuda.set_sync_debug_mode("default")
        rows.append({"recipe": recipe, "a step": verdict})
    return rows


def exactness(scale: Scale) -> list[Row]:
    """Compare a training with itself, with one that was resumed, and one that was not told to be deterministic."""
    with tempfile.TemporaryDirectory(prefix="sim2real-gpu-") as place:
        root = Path(place)
        sim, real = (_pictures(root / side / "png", (192, 96), 8) for side in ("sim", "real"))
        settings: dict[str, Any] = {"data.size": [128, 64], "data.load_size": [128, 64], "checkpoint.every": 4}
        settings |= {"data.workers": 0}

        def run(name: str, *, deterministic: bool, until: int = 0) -> bytes:
            done: list[None] = []

            def stop() -> bool:
                done.append(None)
                return len(done) >= until > 0

            more: dict[str, Any] = {"device": scale.device, "steps": 8, "seed": 1, "deterministic": deterministic}
            folder = root / name
            train(sim, real, run=folder, recipe="default", settings=settings, stop=stop, **more)
            if until:
                train(sim, real, run=folder, resume=True, device=scale.device)
            return (folder / "sim2real.safetensors").read_bytes()

        whole = run("whole", deterministic=True)
        same = {
            "again, deterministic": run("again", deterministic=True) == whole,
            "stopped and resumed, deterministic": run("parts", deterministic=True, until=4) == whole,
            "twice, not deterministic": run("one", deterministic=False) == run("other", deterministic=False),
        }
        return [{"training": name, "equal": str(equal)} for name, equal in same.items()]


def several(scale: Scale) -> list[Row]:
    """Train with two processes, by NCCL on GPUs."""
    if scale.device == "cuda" and torch.cuda.device_count() < 2:
        return [{"processes": "2", "result": "missing: there is one GPU"}]
    with tempfile.TemporaryDirectory(prefix="sim2real-gpu-") as place:
        root = Path(place)
        sim, real = (_pictures(root / side / "png", (192, 96), 8) for side in ("sim", "real"))
        sets = ["data.size=[128,64]", "data.load_size=[128,64]", "data.batch_size=4", "data.workers=0"]
        command: list[object] = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            "-m",
            "--",
        ]
        command += ["sim2real", "train", sim, real, "--recipe", "default", "--run", root / "run", "--steps", "8"]
        command += [word for text in sets for word in ("--set", text)] + ["--device", scale.device]
        variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([*map(str, command)], env=variables, capture_output=True, text=True, check=False)
        said = " ".join((done.stdout + done.stderr).split())
        return [{"processes": "2", "result": "trained" if done.returncode == 0 else said[-300:]}]


def memory(scale: Scale) -> list[Row]:
    """Convert with too little memory for a batch, and see that fewer frames, then tiles are tried."""
    size = scale.pick((3840, 2160), (96, 64))
    with tempfile.TemporaryDirectory(prefix="sim2real-gpu-") as place:
        root = Path(place)
        source = _pictures(root / "png", size, 4)
        model = write_model(root / "model.safetensors", "cyclegan", scale.pick(64, 8))
        options = ConvertOptions(model=model, transfer="direct", device=scale.device, precision="fp32", engine="torch")
        if scale.device == "cuda":
            total = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, scale.pick(12e9, 1e9) / total))
        try:
            summary = convert(source, root / "out", options)
        except OutOfMemoryError as error:
            return [{"4 frames with 12 GB": str(error), "how": ""}]
        lines = read_manifest(root / "out", print).values()
        how = "; ".join(sorted({note for line in lines for note in line.notes}))
        return [{"4 frames with 12 GB": f"{summary.converted} converted", "how": how or "as planned"}]


def town(scale: Scale, out: Path) -> list[Row]:
    """Train ``default`` at full width on CARLA and KITTI for a minute, and draw frames before and after."""
    data = Path(os.environ.get("SIM2REAL_TEST_DATA", ""))
    sim, real = data / "carla" / "train" / "images", data / "kitti" / "frames"
    if not (os.environ.get("SIM2REAL_TEST_DATA") and sim.is_dir() and real.is_dir()):
        return [{"training": "missing: SIM2REAL_TEST_DATA names no folder with carla/ and kitti/"}]
    with tempfile.TemporaryDirectory(prefix="sim2real-gpu-") as place:
        run = Path(place) / "run"
        settings: dict[str, Any] = scale.pick(
            {"data.size": [512, 256], "data.load_size": [512, 256]},
            {"data.size": [64, 32], "data.load_size": [64, 32], "discriminator.options.width": 8},
        )
        steps, began = scale.pick(1500, 2), time.perf_counter()
        train(sim, real, run=run, recipe="default", steps=steps, settings=settings, device=scale.device)
        seconds = time.perf_counter() - began
        translate, pictures = load(run, device=scale.device), sorted(sim.iterdir())[::97][:4]
        pairs = [np.concatenate([read_rgb(path), translate(read_rgb(path))], axis=1) for path in pictures]
        (out / "carla-kitti.png").write_bytes(encode_png(np.concatenate(pairs)))
        return [{"training": f"default, {steps} steps", "seconds": seconds, "picture": "carla-kitti.png"}]


PARTS: Final[dict[str, tuple[str, Callable[..., list[Row]]]]] = {
    "machine": ("Machine", machine),
    "tests": ("Tests marked gpu", tests),
    "training": ("Training steps; images of both sides", training),
    "conversion": ("Conversions, end to end", conversion),
    "codecs": ("JPEG codecs; all cores or the GPU", jpeg_codecs),
    "synchronisation": ("Waits for the device in a training step", synchronisation),
    "exactness": ("Exactness", exactness),
    "several": ("Two processes", several),
    "memory": ("Too little memory", memory),
    "town": ("A training on CARLA and KITTI", town),
}


@contextmanager
def _quiet_compiler(scale: Scale) -> Iterator[None]:
    """Compile into a folder of this run alone."""
    with tempfile.TemporaryDirectory(prefix="sim2real-inductor-") as place:
        if not scale.quick:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = place
        yield


def run_part(name: str, scale: Scale, out: Path) -> None:
    """Run a part in this process, and write its rows or its error."""
    began = time.perf_counter()
    result: dict[str, Any] = {}
    with _quiet_compiler(scale):
        try:
            result["rows"] = PARTS[name][1](scale, *([out] if name == "town" else []))
        except Exception as error:  # noqa: BLE001  the other parts go on
            result["error"] = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
    result |= {"seconds": time.perf_counter() - began, "scale": asdict(scale)}
    (out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")


def kept(out: Path, name: str, scale: Scale) -> dict[str, Any] | None:
    """Return what an earlier run found, if it succeeded at this scale."""
    path = out / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found if "rows" in found and not lacks(found) and found["scale"] == asdict(scale) else None


def lacks(found: dict[str, Any]) -> bool:
    """Return whether a part could not be done here."""
    return any(str(value).startswith("missing") for row in found.get("rows", ()) for value in row.values())


def report(out: Path, names: list[str]) -> str:
    """Return all parts as Markdown."""
    lines = ["# What a GPU shows", "", "Printed by `python benchmarks/gpu.py`.", "", AIMS]
    for name in names:
        path, title = out / f"{name}.json", PARTS[name][0]
        found: dict[str, Any] = json.loads(path.read_text())
        lines += ["", f"## {title}", ""]
        if "error" in found:
            lines.append(f"**{found['error']}**")
            continue
        columns = list(dict.fromkeys(column for row in found["rows"] for column in row))
        lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        lines += ["| " + " | ".join(_cell(row.get(column)) for column in columns) + " |" for row in found["rows"]]
        lines += ["", f"{found['seconds']:.0f} s"]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}" if math.isfinite(value) else "-"
    return str(value).replace("|", "/")


def main() -> None:
    """Run the parts that are missing, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu-results"), help="folder of the results (%(default)s)")
    parser.add_argument("--parts", default=",".join(PARTS), help="only these, separated by commas (%(default)s)")
    parser.add_argument("--again", action="store_true", help="also run the parts that have succeeded before")
    parser.add_argument("--quick", action="store_true", help="tiny and on the CPU, to check that the script works")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.quick and not torch.cuda.is_available():
        parser.error("there is no GPU here; --quick checks the script on the CPU")
    scale, out = Scale("cpu" if options.quick else "cuda", options.quick), options.out
    out.mkdir(parents=True, exist_ok=True)
    if options.part:
        run_part(options.part, scale, out)
        return
    if unknown := [name for name in options.parts.split(",") if name not in PARTS]:
        parser.error(f"no part is called '{unknown[0]}'; known: {', '.join(PARTS)}")
    began, failed = time.perf_counter(), []
    for name in options.parts.split(","):
        if options.again or not kept(out, name, scale):
            (out / f"{name}.json").unlink(missing_ok=True)
            command = [sys.executable, __file__, "--part", name, "--out", out, *(["--quick"] if options.quick else [])]
            variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
            try:
                subprocess.run([*map(str, command)], env=variables, check=False, timeout=LIMIT)
            except subprocess.TimeoutExpired:
                (out / f"{name}.json").write_text(json.dumps({"error": f"missing: not done in {LIMIT} s"}))
        path = out / f"{name}.json"
        ended = path.exists() and "rows" in json.loads(path.read_text())
        print(f"{name}: {'done' if ended else 'failed'}, {time.perf_counter() - began:.0f} s so far", flush=True)
        failed += [] if ended else [name]
    found = {name: json.loads((out / f"{name}.json").read_text()) for name in PARTS if (out / f"{name}.json").exists()}
    (out / "gpu.json").write_text(json.dumps(found, indent=1) + "\n")
    (out / "gpu.md").write_text(report(out, list(found)))
    missing = [name for name in PARTS if name not in found or lacks(found[name])]
    print(f"{out / 'gpu.md'}; failed: {', '.join(failed) or 'none'}; missing: {', '.join(missing) or 'none'}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
