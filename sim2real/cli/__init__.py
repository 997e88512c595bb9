"""The command line: one short file per command; the only room that prints.

Commands are registered like every other component and imported when they are called: ``sim2real --help`` stays quick.
"""

import errno
import os
import signal
import sys
from difflib import get_close_matches
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from sim2real import __version__
from sim2real.cli.quiet import keep_libraries_quiet
from sim2real.errors import PluginError, Sim2RealError
from sim2real.threads import true_interrupts

if TYPE_CHECKING:
    from sim2real.registry import Entry

_OF_THE_WORLD: Final = frozenset(  # what a file system answers, rather than a bug
    {
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP),
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO),
    }
)
_ENDS: Final = tuple(  # SIGUSR1, which Windows has not, comes from schedulers that want a machine back
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)
)
_COMPLETION_OPTIONS: Final = ("install_completion", "show_completion")  # the program has them, not each command


class CommandGroup(TyperGroup):
    """The commands of the registry: mere names with summaries, imported one by one when they are called."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002  click's or Typer's own context, by version
        """Names in the order of registration."""
        return list(_commands())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401, ARG002  as above
        """What help and shell completion say of a command, without importing it."""
        entry = _commands().get(cmd_name)
        return entry and TyperCommand(cmd_name, help=entry.summary)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401  as above
        """Import the command that is called; suggest the nearest where there is none of that name."""
        from sim2real.registry import registry

        if not ctx.resilient_parsing and args[0] != "plugins":
            _report_failures()
        name, *rest = args
        entry = _commands().get(name) or ctx.fail(_no_such_command(name))
        if message := registry().clashes.get(("commands", name)):
            raise PluginError(message)
        return name, _imported(entry), rest

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  as above
        """Run a command; what pydantic says of a value, with which Typer 0.29 and later parses, is put plainly.

        Ctrl-C is told of here: Typer ends the program without a word.
        """
        try:
            with true_interrupts():
                return super().invoke(ctx)
        except typer.BadParameter as error:
            if found := getattr(error.__cause__, "errors", None):
                from sim2real.refusals import reason

                (first, *_), told = found(), error
                words = reason(first)
                told.message = words if words.startswith("'") else f"'{first['input']}' {words}"
            raise
        except KeyboardInterrupt as interrupt:
            print(str(interrupt) or "interrupted", file=sys.stderr)
            raise typer.Exit(130) from None


def _commands() -> "dict[str, Entry]":
    from sim2real.registry import registry

    return {entry.name: entry for entry in registry().offers if entry.kind == "commands"}


def _no_such_command(name: str) -> str:
    near = get_close_matches(name, _commands())
    return f"No such command '{name}'." + (f" Did you mean {' or '.join(near)}?" if near else "")


def _imported(entry: "Entry") -> Any:  # noqa: ANN401  click's or Typer's own command, by version
    target = entry.load()
    if not isinstance(target, typer.Typer):
        single = typer.Typer()
        single.command()(target)
        target = single
    command = typer.main.get_command(target)
    command.name = entry.name
    command.params = [option for option in command.params if option.name not in _COMPLETION_OPTIONS]
    return command


def _report_failures() -> None:
    from sim2real.registry import registry

    for failure in registry().failures:
        print(f"warning: plugin '{failure.plugin}' is left out: {failure.error}", file=sys.stderr)


app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Turn a labelled simulation dataset into a real-looking one, with every label still true.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"sim2real {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the program: 0 done, 1 a one-line error, 2 wrong usage, 130 interrupted, 143 told to end."""
    for number in _ENDS:
        signal.signal(number, _end)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # in the background it is ignored, and stays so
        signal.signal(signal.SIGINT, _interrupt)
    if "TORCHELASTIC_RUN_ID" in os.environ:  # torchrun ends its processes, unless it is killed itself
        from sim2real.orphans import end_with_parent

        end_with_parent()
    keep_libraries_quiet()
    # Threads that wait for each other are to sleep, not to spin; torch's library reads this when it is imported. Beside
    # busy processes on two cores a training is 3 to 6 times as fast, alone a tenth slower at most.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except Sim2RealError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if error.errno not in _OF_THE_WORLD:
            raise
        place = f"{error.filename2 or error.filename}: " if error.filename else ""
        print(f"error: {place}{error.strerror}; check the path, its permissions and the free space", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        for number in (signal.SIGINT, *_ENDS):  # nothing is left to save: one more ends it, and prints nothing
            signal.signal(number, signal.SIG_DFL)


def _end(_signal: int, _frame: FrameType | None) -> None:
    """Have the work put in order and ended; whoever asks again is waited for no less."""
    for number in _ENDS:
        signal.signal(number, signal.SIG_IGN)
    sys.exit(143)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """Have the work put in order and ended; one more Ctrl-C ends it at once."""
    signal.signal(signal.SIGINT, _give_up)
    raise KeyboardInterrupt


def _give_up(number: int, _frame: FrameType | None) -> None:
    if os.isatty(2):
        os.write(2, b"\x1b[?25h")  # a progress bar hides the cursor
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
