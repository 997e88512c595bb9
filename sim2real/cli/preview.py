"""``sim2real preview``."""

from pathlib import Path
from typing import Annotated

import typer

from sim2real.cli.convert import Direction
from sim2real.cli.settings import AsImageOption, DeviceOption, PrecisionOption


def command(
    run: Annotated[Path, typer.Argument(help="Run folder or .safetensors file.")],
    src: Annotated[Path, typer.Argument(help="A dataset, any folder of images, or one image.")],
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Frames, spread over the whole dataset.")] = 8,
    file: Annotated[Path, typer.Option("--out", help="The picture to write, a PNG file.")] = Path("preview.png"),
    direction: Annotated[Direction | None, typer.Option(help="Which generator of the run.")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Layout, see `sim2real datasets`; recognised if left out.")
    ] = None,
    as_image: AsImageOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
) -> None:
    """Draw frames before and after translation, side by side, in seconds."""
    from sim2real.cli.checks import check_file, check_model_first
    from sim2real.cli.console import out, progress
    from sim2real.conversion.plan import chosen_frames
    from sim2real.files import write_whole
    from sim2real.imageio import encode_png, is_image
    from sim2real.model import find_model, load, read_info

    check_file(file, [".png"])
    check_model_first("preview", run, src)
    info = read_info(find_model(run, direction))
    alone = src.is_file() and is_image(src.name)
    frames = [] if alone else chosen_frames(src, dataset, info, as_image or ())
    from sim2real.contactsheet import contact_sheet
    from sim2real.conversion.glimpse import Loose, glimpses

    translate = load(run, direction=direction, device=device or "auto", precision=precision or "auto")
    shown = [Loose(translate, src)] if alone else glimpses(translate, frames, count)
    before, after = [], []
    with progress("frames") as report:
        for done, each in enumerate(shown, 1):
            before.append(each.before())
            after.append(each.after())
            report("translating", done, len(shown))
    sheet = contact_sheet({"before": before, f"after ({info.direction})": after})
    write_whole(file, encode_png(sheet))
    out.print(f"{len(shown)} frames before and after: {file}")
