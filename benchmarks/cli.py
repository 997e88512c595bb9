"""Measure the response time of the command line, compared with bare Python and an import of torch."""

import subprocess
import sys
from collections.abc import Callable

from benchmarks.common import in_turns, make_parser, print_table, processor, timing_cells

_COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "sim2real --help": ["-m", "sim2real", "--help"],
    "sim2real plugins": ["-m", "sim2real", "plugins"],
    "python -c 'import torch'": ["-c", "import torch"],
}


def run(arguments: list[str]) -> Callable[[], object]:
    """Return a function that runs this Python with arguments and waits for its end."""
    return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True)


def main() -> None:
    """Time the commands and print the table."""
    options = make_parser(__doc__, repeats=7).parse_args()
    contenders = {name: run(arguments) for name, arguments in _COMMANDS.items()}
    seconds = in_turns(contenders, repeats=1 if options.quick else options.repeats)
    bare = seconds["python -c pass"]
    rows = [[name, *timing_cells(times, bare)] for name, times in seconds.items()]
    print_table(f"Wall time. {processor()}", ["command", "median", "range", "times bare Python"], rows)


if __name__ == "__main__":
    main()
