"""The command ``sim2real verify``."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim2real.cli.checks import check_conversion
from sim2real.cli.console import byte_size, out, progress
from sim2real.cli.convert import rejections
from sim2real.cli.settings import JsonOption
from sim2real.manual import more

if TYPE_CHECKING:
    from sim2real.conversion import VerifyReport

_SHOWN = 5


def command(
    out: Annotated[Path, typer.Argument(help="A folder written by sim2real convert.")],
    source: Annotated[Path | None, typer.Option(help="The source of OUT, if it has moved.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Check that a conversion is complete, its images are intact and its labels are unchanged.

    Every file is read. Exit code 0: no problems; 1: problems, which are listed.
    """
    from sim2real.conversion import verify
    from sim2real.conversion.looks import looks_in

    check_conversion(out)
    looks = looks_in(out)
    reports = []
    for place in looks or [out]:
        with progress() as report_progress:
            reports.append(verify(place, source, progress=report_progress))
        if not as_json:
            show_report(reports[-1])
    if as_json:
        import json

        found = [_fields(report) for report in reports]
        ok = all(report.ok for report in reports)
        print(json.dumps({"ok": ok, "out": str(out), "looks": found} if looks else found[0], indent=1))
    if not all(report.ok for report in reports):
        raise typer.Exit(1)


def show_report(report: "VerifyReport") -> None:
    """Print a verification report: the number of problems of each kind, and the first ones."""
    from rich.table import Table

    against = (
        f"compared with {report.source}" if report.source else "compared only with its manifest: the source is missing"
    )
    rejected = f"; the gate rejected {rejections(report.rejected)}" if report.rejected else ""
    images = f"{report.images} of them translated images{rejected}"
    scope = f"{report.files} files, {images}, {byte_size(report.bytes)}; {against}"
    for note in report.notes:
        out.print(f"note: {note}")
    if report.ok:
        out.print(f"ok: {report.out}: {scope}")
        return
    counts = Counter(problem.kind for problem in report.problems)
    table = Table("problem", box=None, pad_edge=False, header_style="bold")
    table.add_column("files", justify="right")
    for kind, count in counts.most_common():
        table.add_row(kind, str(count))
    out.print(table)
    for kind, count in counts.most_common():
        for problem in [problem for problem in report.problems if problem.kind == kind][:_SHOWN]:
            out.print(f"{kind}: {problem.path}: {problem.detail}")
        if count > _SHOWN:
            out.print(f"{kind}: {count - _SHOWN} more; --json lists all")
    out.print(f"not ok: {report.out}: {len(report.problems)} problems in {scope}{more('verify-finds-problems')}")


def _fields(report: "VerifyReport") -> dict[str, Any]:

    return asdict(report) | {"ok": report.ok, "out": str(report.out), "source": str(report.source or "") or None}
