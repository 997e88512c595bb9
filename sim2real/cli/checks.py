"""What a command looks at first: that paths are there, of the right kind and in the right order.

Nothing heavy is imported for it, so that a mistake is answered at once.
"""

from collections.abc import Sequence
from pathlib import Path

from sim2real.errors import Sim2RealError
from sim2real.files import check_writable
from sim2real.places import absent, command_line, is_conversion, is_model, is_run


def check_file(file: Path, suffixes: Sequence[str]) -> None:
    """Make sure that a file can be written.

    Raises:
        Sim2RealError: Its name has another suffix, or there is no folder for it.
    """
    if suffixes and file.suffix.lower() not in suffixes:
        kinds = " or ".join(suffixes)
        raise Sim2RealError(f"{file}: name a file that ends in {kinds}, e.g. {file.with_suffix(suffixes[0]).name}")
    if file.is_dir():
        raise Sim2RealError(f"{file}: a folder; name a file in it")
    if not file.parent.is_dir():
        raise Sim2RealError(f"{absent(file.parent)}; name a file in a folder that is there")
    check_writable(file.parent)


def check_model_first(command: str, model: Path, other: Path) -> None:
    """Make sure that the model and what belongs behind it were not given the other way round.

    Raises:
        Sim2RealError: They were.
    """
    if is_model(other) and not is_model(model):
        right = command_line("sim2real", command, other, model)
        raise Sim2RealError(f"{model} and {other}: the other way round: {right}")


def check_conversion(out: Path) -> None:
    """Make sure that a folder can be a converted dataset.

    Raises:
        Sim2RealError: There is none, or it is something else.
    """
    if not out.exists():
        raise Sim2RealError(f"{absent(out)}; name the OUT of sim2real convert")
    if not out.is_dir():
        raise Sim2RealError(f"{out}: a file; name the OUT of sim2real convert")
    if is_run(out) and not is_conversion(out):
        shown = command_line("sim2real", "report", out)
        raise Sim2RealError(f"{out}: a run of sim2real train; name the OUT of sim2real convert, or: {shown}")
