"""Check that the paths given to a command exist, are of the right kind and in the right order.

Heavy imports are avoided, so that mistakes are reported at once.
"""

from pathlib import Path

from sim2real.errors import Sim2RealError
from sim2real.files import check_writable
from sim2real.places import absent, command_line, is_conversion, is_model, is_run


def check_file(file: Path, suffix: str) -> None:
    """Check that a file can be written.

    Raises:
        Sim2RealError: If its name has another suffix, or its folder does not exist.
    """
    if file.suffix.lower() != suffix:
        raise Sim2RealError(f"{file}: name a file that ends in {suffix}, e.g. {file.with_suffix(suffix).name}")
    if file.is_dir():
        raise Sim2RealError(f"{file}: a folder; name a file in it")
    if not file.parent.is_dir():
        raise Sim2RealError(f"{absent(file.parent)}; name a file in a folder that exists")
    check_writable(file.parent)


def check_model_first(command: str, model: Path, other: Path) -> None:
    """Check that the model and the argument after it are not swapped.

    Raises:
        Sim2RealError: If they are.
    """
    if is_model(other) and not is_model(model):
        right = command_line("sim2real", command, other, model)
        raise Sim2RealError(f"{model} and {other}: swapped arguments; run: {right}")


def check_conversion(out: Path) -> None:
    """Check that a folder may be a converted dataset.

    Raises:
        Sim2RealError: If it does not exist or is something else.
    """
    if not out.exists():
        raise Sim2RealError(f"{absent(out)}; name the OUT of sim2real convert")
    if not out.is_dir():
        raise Sim2RealError(f"{out}: a file; name the OUT of sim2real convert")
    if is_run(out) and not is_conversion(out):
        shown = command_line("sim2real", "report", out)
        raise Sim2RealError(f"{out}: a run of sim2real train; name the OUT of sim2real convert, or: {shown}")
