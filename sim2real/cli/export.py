"""The command ``sim2real export``."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim2real.cli.checks import check_file, check_model_first
from sim2real.cli.console import byte_size, err, out
from sim2real.cli.settings import DirectionOption, JsonOption, ModelArgument, size_of

if TYPE_CHECKING:
    from sim2real.export import Export
    from sim2real.model import GeneratorInfo


def command(
    run: ModelArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE.onnx", help="The file to write.")],
    direction: DirectionOption = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Fixed size of all images, in pixels; default: any size.")
    ] = None,
    opset: Annotated[int, typer.Option(min=14, max=20, help="ONNX opset version.")] = 17,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Maximum difference from torch, in grey levels of 255.")
    ] = 0.5,
    as_json: JsonOption = False,
) -> None:
    """Write a generator as ONNX, for programs without torch, after comparing it with torch.

    The model takes batches of RGB images in [-1, 1] of any size and returns translations of the same shape.
    """
    from sim2real.model import find_model, read_info

    check_model_first("export", run, file)
    check_file(file, ".onnx")
    sides = size_of(size, "--size") if size else None
    model = find_model(run, direction)
    info = read_info(model)
    from sim2real.export import export_onnx

    export = export_onnx(model, file, size=sides, opset=opset, tolerance=tolerance)
    if as_json:
        print(json.dumps(_as_json(export, _left_out(info)), indent=2))
    else:
        _print(export, _left_out(info))


def _left_out(info: "GeneratorInfo") -> list[str]:
    """Return warnings on the steps of a conversion that are not part of the graph."""
    found = []
    if info.guided_size():
        found.append(
            "the model uses guided transfer, but the graph contains only the generator and returns its own pixels; see "
            "sim2real convert and sim2real.load"
        )
    if info.camera:
        found.append(f"the model's camera is not in the graph ({info.camera}), see sim2real convert and sim2real.load")
    return found


def _print(export: "Export", left_out: list[str]) -> None:

    size = "{}x{}".format(*export.size) if export.size else "any size"
    weight = byte_size(export.file.stat().st_size)
    parity = export.parity
    shapes = ", ".join(f"{count} of {width}x{height}" for count, height, width in parity.shapes)
    out.print(f"{export.file}: {export.metadata['sim2real.direction']}, {weight}, opset {export.opset}")
    out.print(f"images of {size}; dynamic axes: {', '.join(export.dynamic) or 'none'}")
    if export.obstacle:
        err.print(f"warning: fixed batch size of 1, a free one cannot be exported: {export.obstacle}")
    for line in left_out:
        err.print(f"warning: {line}")
    out.print(
        f"onnxruntime and torch are up to {parity.difference:.2g} grey levels apart ({parity.tolerance:g} allowed), "
        f"PSNR {parity.psnr:.1f} dB, on {shapes}"
    )
    images = f"RGB float32 ({'N' if 'batch' in export.dynamic else 1}, 3, H, W) in [-1, 1]"
    out.print(f'use: [translated] = onnxruntime.InferenceSession("{export.file}").run(None, {{"images": images}})')
    out.print(f"     images and translated: {images}")
    if inputs := export.metadata.get("sim2real.inputs"):
        out.print(f"     further inputs, aligned with the images: {inputs.replace(' ', ', ')}")


def _as_json(export: "Export", left_out: list[str]) -> dict[str, Any]:

    parity = export.parity
    return {
        "file": str(export.file),
        "bytes": export.file.stat().st_size,
        "opset": export.opset,
        "size": export.size,
        "dynamic": export.dynamic,
        "warnings": [*([export.obstacle] if export.obstacle else []), *left_out],
        "parity": asdict(parity) | {"psnr": parity.psnr if parity.difference else None},
        "metadata": export.metadata,
    }
