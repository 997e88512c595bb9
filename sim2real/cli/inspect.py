"""The command ``sim2real inspect``, which describes a dataset."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from sim2real.cli.console import progress
from sim2real.cli.settings import AsImageOption, DatasetOption, JsonOption, VideoEveryOption, extraction_here
from sim2real.errors import ImageError
from sim2real.manual import where

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim2real.datasets import Dataset
    from sim2real.datasets.video import Extraction
    from sim2real.evaluation.layout import Layout, LayoutReport
    from sim2real.evaluation.supervision import Supervision

CLASSES: Final = 5  # number of the largest classes shown
GROUPS: Final = 6  # number of groups of unknown files shown
SAMPLE: Final = 500  # images over all frames whose headers are read for the sizes


def command(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="The dataset's folder.")],
    dataset: DatasetOption = None,
    as_image: AsImageOption = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="REAL",
            help="Before a training on both, compare the layout of scenes with these images (a folder or a video); "
            "repeatable.",
        ),
    ] = None,
    video_every: VideoEveryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Describe a dataset: layout and why, frames, sizes, roles of its files, kinds of labels, licence, warnings.

    Unknown files and files that describe the old pixels are listed too: both are carried unchanged.

    With --against, also check whether a translation to the appearance of REAL would have to invent content: a sample
    of both sides is compared by size, horizon, light, and the positions of edges, masks and boxes.
    """
    from sim2real.datasets import open_dataset

    opened = open_dataset(source, dataset, as_image or ())
    facts, report = _facts(opened), None
    if against:
        report, allowed, videos = _compared(opened, against, extraction_here(video_every))
        root = ", ".join(map(str, against))
        facts["against"] = {"root": root, "videos": videos, **report.dump(), "supervision": asdict(allowed)}
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    _print(facts)
    if report is not None:
        _print_comparison(facts["against"], report)
        _print_allowed(allowed)


def _compared(
    opened: "Dataset", against: list[Path], extraction: "Extraction"
) -> "tuple[LayoutReport, Supervision, str]":
    """Return the comparison with real images, what the labels allow, and a line on the frames of videos."""
    from sim2real.datasets.sources import frames_of_videos, open_sources
    from sim2real.evaluation.layout import compare_layout
    from sim2real.evaluation.supervision import supervision

    with TemporaryDirectory() as extracted, progress("seconds of video") as show:
        sources = open_sources(against, Path(extracted), extraction=extraction, progress=show)
        photos = [frame for source in sources for frame in source.frames if frame.side in {None, "real"}]
        report = compare_layout(opened, photos)
    frames = [frame for frame in opened.frames() if frame.side in {None, "sim"}]
    allowed = supervision(frames, photos, [*report.sim.classes], [*report.real.classes])
    return report, allowed, frames_of_videos(sources, extraction)


def _facts(dataset: "Dataset") -> dict[str, Any]:
    """Return all facts on a dataset that can be found without decoding images."""
    counted: dict[str, Counter[str]] = {name: Counter() for name in ("sequences", "labels", "sides", "splits")}
    images, example = [], None
    for frame in dataset.frames():
        example = example or frame
        images.append(frame.image)
        counted["sequences"][frame.sequence] += 1
        counted["labels"].update(frame.labels.keys())
        counted["sides"][frame.side or ""] += 1
        counted["splits"][frame.split or ""] += 1
    sizes, unreadable = _sizes(dataset.root, images)
    return {
        "root": str(dataset.root),
        "dataset": dataset.name,
        "title": dataset.facts.title if dataset.facts else None,
        "licence": dataset.facts.licence if dataset.facts else None,
        "rule": dataset.match.rule,
        "frames": len(images),
        "sequences": len(counted["sequences"]),
        "sizes": sizes,
        "roles": dataset.roles(),
        "labels": dict(counted["labels"]),
        "sides": {side: count for side, count in counted["sides"].items() if side},
        "splits": {split: count for split, count in counted["splits"].items() if split},
        "example": {"image": example.image, "labels": dict(example.labels)} if example else None,
        "unmatched": [asdict(group) for group in dataset.unmatched()],
        "stale": [{"what": what, "files": len(paths), "example": paths[0]} for what, paths in dataset.stale().items()],
        "warnings": [*dataset.warnings(), *unreadable],
    }


def _sizes(root: Path, images: list[str]) -> tuple[dict[str, int], list[str]]:
    """Return the sizes WxH of a sample of the images with their counts, most frequent first, and read errors."""
    from sim2real.imageio import read_header

    sizes: Counter[str] = Counter()
    unreadable = []
    for image in images[:: len(images) // SAMPLE + 1]:
        try:
            header = read_header(root / image)
        except ImageError as error:
            unreadable.append(str(error))
        else:
            sizes[f"{header.width}x{header.height}"] += 1
    return dict(sizes.most_common()), unreadable


def _print(facts: dict[str, Any]) -> None:
    sampled = sum(facts["sizes"].values())
    rows = {
        "dataset": facts["dataset"],
        "rule": facts["rule"],
        "licence": facts["licence"] or "",
        "frames": f"{facts['frames']} in {facts['sequences']} sequence{'s' if facts['sequences'] != 1 else ''}",
        "sizes": _counts(facts["sizes"]) + (f" (in a sample of {sampled})" if sampled < facts["frames"] else ""),
        "roles": _counts(facts["roles"]),
        "labels": _counts(facts["labels"]) or "none",
        "sides": _counts(facts["sides"]),
        "splits": _counts(facts["splits"]),
    }
    if facts["example"]:
        labels = [f"\n  {kind:<19} {path}" for kind, path in facts["example"]["labels"].items()]
        rows["example"] = facts["example"]["image"] + "".join(labels)
    print(facts["root"])
    for name, text in rows.items():
        if text:
            print(f"{name:<10}{text}")
    groups = facts["unmatched"]
    for group in groups[:GROUPS]:
        kind = f"{group['suffix'] or 'no suffix'} in {group['folder'] or 'the top folder'}"
        print(f"{'unmatched':<10}{kind}: {group['files']}, e.g. {group['example']}")
    if more := sum(group["files"] for group in groups[GROUPS:]):
        print(f"{'unmatched':<10}{more} others; --json lists them by folder and suffix")
    for stale in facts["stale"]:
        print(f"{'stale':<10}{stale['what']}: {stale['files']}, e.g. {stale['example']}")
    for warning in facts["warnings"]:
        print(f"warning   {warning}")


def _print_comparison(against: "Mapping[str, Any]", report: "LayoutReport") -> None:
    print(f"against   {against['root']}")
    if against["videos"]:
        print(f"  {'videos':<11}{against['videos']}")
    for name in ("images", "size", "horizon", "brightness", "contrast", "colour", "softness", "classes"):
        sim, real = (_summary(side, name) for side in (report.sim, report.real))
        if sim or real:
            print(f"  {name:<11}sim {sim or 'unknown'}; real {real or 'unknown'}")
    print(f"  {'edges':<11}{report.edge_distance:.1%} of the height apart")
    for warning in report.warnings:
        print(f"warning   {warning}")
    if report.warnings:
        print(f"  more: {where('what-must-be-alike')}")
    else:
        print("  no content found that a translation would have to invent")


def _print_allowed(found: "Supervision") -> None:
    for line in found.allows:
        print(f"allows    {line}")
    if found.same:
        print(f"classes   {', '.join(sim if sim == real else f'{sim} = {real}' for sim, real in found.same)}")
        for side, names in found.apart.items():
            if names:
                print(f"          {side} only: {', '.join(names)}")


def _summary(side: "Layout", name: str) -> str:
    """Format a fact of one side; empty if it is unknown."""
    match name:
        case "images":
            return f"{side.images} examined" + (f", {side.unreadable} unreadable" if side.unreadable else "")
        case "size":
            return f"{side.size[0]}x{side.size[1]}"
        case "horizon":
            return "" if side.horizon is None else f"{side.horizon:.0%} from the top"
        case "colour":
            return f"a* {side.colour[0]:+.1f} b* {side.colour[1]:+.1f}"
        case "classes":
            covers = {label: sum(rows) / len(rows) for label, rows in side.classes.items()}
            largest = sorted(covers, key=lambda label: -covers[label])[:CLASSES]
            return ", ".join(f"{label} {covers[label]:.0%}" for label in largest)
        case _:
            return f"{getattr(side, name):.2f}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in counts.items() if count)
