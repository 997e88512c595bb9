"""The command line, with one module for each command. No other package prints.

Commands are registered like other components and imported when they are called, so ``sim2real --help`` is fast.
"""

import errno
import os
import signal
import sys
from difflib import get_close_matches
from types import FrameType
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from sim2real import __version__
from sim2real.cli.overview import EXAMPLES, group_of
from sim2real.cli.quiet import keep_libraries_quiet
from sim2real.errors import PluginError, Sim2RealError
from sim2real.manual import more
from sim2real.refusals import reason
from sim2real.registry import Entry, registry
from sim2real.threads import limit_threads, true_interrupts

_FILE_SYSTEM_ERRORS: Final = frozenset(  # not bugs
    {
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP),
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO),
    }
)
_ENDS: Final = tuple(  # schedulers send SIGUSR1 before they reclaim a machine; Windows lacks it
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)
)
_COMPLETION_OPTIONS: Final = ("install_completion", "show_completion")  # options of the program, not of each command


class CommandGroup(TyperGroup):
    """The commands of the registry; listed by name and summary, and imported when they are called."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002  click's or Typer's own context, by version
        """Return the names in order of registration."""
        return list(_commands())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401, ARG002  as above
        """Return a command for help and shell completion, without importing it."""
        entry = _commands().get(cmd_name)
        return entry and TyperCommand(cmd_name, help=entry.summary, rich_help_panel=group_of(cmd_name))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401  as above
        """Import the called command; suggest similar names if it does not exist."""
        if not ctx.resilient_parsing and args[0] != "plugins":
            _report_failures()
        name, *rest = args
        entry = _commands().get(name) or ctx.fail(_no_such_command(name))
        if message := registry().clashes.get(("commands", name)):
            raise PluginError(message)
        return name, _imported(entry), rest

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  as above
        """Run a command, and report bad values and Ctrl-C in plain words.

        Typer 0.29 and later parses with pydantic, whose messages are rewritten here. Typer itself exits silently on
        Ctrl-C.
        """
        try:
            with true_interrupts():
                return super().invoke(ctx)
        except typer.BadParameter as error:
            if found := getattr(error.__cause__, "errors", None):
                (first, *_), shown = found(), error
                words = reason(first)
                shown.message = words if words.startswith("'") else f"'{first['input']}' {words}"
            raise
        except KeyboardInterrupt as interrupt:
            print(str(interrupt) or "interrupted", file=sys.stderr)
            raise typer.Exit(130) from None


def _commands() -> dict[str, Entry]:
    return {entry.name: entry for entry in registry().offers if entry.kind == "commands"}


def _no_such_command(name: str) -> str:
    near = get_close_matches(name, _commands())
    return f"No such command '{name}'." + (f" Did you mean {' or '.join(near)}?" if near else "")


def _imported(entry: Entry) -> Any:  # noqa: ANN401  click's or Typer's own command, by version
    target = entry.load()
    if not isinstance(target, typer.Typer):
        single = typer.Typer()
        single.command()(target)
        target = single
    command = typer.main.get_command(target)
    command.name = entry.name
    if example := EXAMPLES.get(entry.name):
        command.help = f"Example: {example}\n\n{command.help}"
    command.params = [option for option in command.params if option.name not in _COMPLETION_OPTIONS]
    return command


def _report_failures() -> None:
    for failure in registry().failures:
        print(
            f"warning: plugin '{failure.plugin}' is left out: {failure.error}{more('a-plugin-fails')}", file=sys.stderr
        )


app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Examples: sim2real demo; with your own folders: sim2real init SIM REAL, then sim2real batch\n\n"
        "Turn a labelled simulation dataset into a real-looking one, with every label still true."
    ),
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
    """Run the program and exit with 0 (success), 1 (error), 2 (wrong usage), 130 (interrupted) or 143 (terminated)."""
    for number in _ENDS:
        signal.signal(number, _end)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # keep ignoring it in the background
        signal.signal(signal.SIGINT, _interrupt)
    if "TORCHELASTIC_RUN_ID" in os.environ:  # torchrun stops its processes, unless it is killed itself
        from sim2real.orphans import end_with_parent

        end_with_parent()
    keep_libraries_quiet()
    limit_threads()
    # Waiting threads should sleep instead of spin; torch reads this variable on import. On two cores shared with busy
    # processes, training is 3 to 6 times as fast; alone it is at most a tenth slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except Sim2RealError as error:
        line = "".join(sign if sign.isprintable() else "?" for sign in " ".join(str(error).split()))
        print(f"error: {line}{more(error.topic)}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if error.errno not in _FILE_SYSTEM_ERRORS:
            raise
        place = f"{error.filename2 or error.filename}: " if error.filename else ""
        print(f"error: {place}{error.strerror}; check the path, its permissions and the free space", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        for number in (signal.SIGINT, *_ENDS):  # nothing is left to save: another signal exits silently
            signal.signal(number, signal.SIG_DFL)


def _end(_signal: int, _frame: FrameType | None) -> None:
    """Exit after the cleanup, and ignore further signals of this kind."""
    for number in _ENDS:
        signal.signal(number, signal.SIG_IGN)
    sys.exit(143)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """Interrupt the work and let it clean up; another Ctrl-C exits at once."""
    signal.signal(signal.SIGINT, _give_up)
    raise KeyboardInterrupt


def _give_up(number: int, _frame: FrameType | None) -> None:
    if os.isatty(2):
        os.write(2, b"\x1b[?25h")  # show the cursor, which a progress bar hides
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
