"""The command ``sim2real preview``."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sim2real.cli.checks import check_file, check_model_first
from sim2real.cli.console import out, progress
from sim2real.cli.settings import (
    AsImageOption,
    CameraOption,
    DatasetOption,
    DeviceOption,
    DirectionOption,
    ModelArgument,
    PrecisionOption,
)
from sim2real.files import write_whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Way = Literal["direct", "guided"] | None


class Transfer(StrEnum):
    """The values of ``--transfer``; Typer has no lists of literals."""

    direct = "direct"
    guided = "guided"


_WAYS: dict[Transfer, Way] = {Transfer.direct: "direct", Transfer.guided: "guided"}


def command(
    run: ModelArgument,
    src: Annotated[Path, typer.Argument(help="A dataset, any folder of images, or one image.")],
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Number of frames, evenly spaced.")] = 8,
    file: Annotated[Path, typer.Option("--out", help="The PNG file to write.")] = Path("preview.png"),
    direction: DirectionOption = None,
    dataset: DatasetOption = None,
    transfer: Annotated[
        list[Transfer] | None,
        typer.Option(help="direct or guided; repeat it to draw both; default: as in the model."),
    ] = None,
    camera: CameraOption = None,
    as_image: AsImageOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
) -> None:
    """Draw frames before and after translation, side by side, in seconds."""
    from sim2real.conversion.plan import chosen_frames
    from sim2real.imageio import encode_png, is_image
    from sim2real.model import find_model, read_info

    check_file(file, ".png")
    check_model_first("preview", run, src)
    info = read_info(find_model(run, direction))
    alone = src.is_file() and is_image(src.name)
    frames = [] if alone else chosen_frames(src, dataset, info, as_image or ())
    from sim2real.contactsheet import contact_sheet
    from sim2real.conversion.glimpse import Loose, glimpses
    from sim2real.translator import load

    columns: dict[str, list[NDArray[np.uint8]]] = {}
    with progress("frames") as report:
        ways: list[Way] = [_WAYS[each] for each in dict.fromkeys(transfer or [])] or [None]
        for number, way in enumerate(ways):
            translate = load(
                run,
                direction=direction,
                transfer=way,
                camera=camera,
                device=device or "auto",
                precision=precision or "auto",
            )
            shown = [Loose(translate, src)] if alone else glimpses(translate, frames, count)
            name = f"after ({info.direction}{f', {way}' if way else ''})"
            for done, each in enumerate(shown, 1):
                if not number:
                    columns.setdefault("before", []).append(each.before())
                columns.setdefault(name, []).append(each.after())
                report("translating", number * len(shown) + done, len(ways) * len(shown))
    write_whole(file, encode_png(contact_sheet(columns)))
    out.print(f"{len(shown)} frames before and after: {file}")
