"""Draws discriminators.svg: what the patch, the global and the combined discriminator see, and what they answer.

Every number in it is read from the networks of the recipe `vkitti2kitti`; the drawing follows the architecture of
towardsautonomy/CycleGAN_improved (2020). Run it without arguments from anywhere.
"""  # noqa: INP001  a script, not a package

import math
from collections.abc import Iterator
from pathlib import Path

from torch import nn

from sim2real.config import resolve
from sim2real.networks import describe
from sim2real.networks.discriminators import Combined
from sim2real.training.setup import build_discriminator

WIDTH, HEIGHT = 1120, 450
INK, FAINT, MAP, REAL, FAKE, MARK = "#222", "#777", "#6d8fb3", "#4a9d6e", "#c9c2b4", "#e07b39"
SCALE = 4  # pixels of an image to one of the drawing
STAGES_AT, STAGE_STEP, SCORES_AT = 330, 60, 950

STREET = """
<rect width="256" height="64" fill="#bcd3e6"/>
<path d="M0 12h46v8h30v6h28v12H0zM256 8h-52v10h-32v8h-30v12h114z" fill="#b8a48f"/>
<path d="M0 36h256v28H0z" fill="#8a9a6d"/>
<path d="M116 34h20l92 30H20z" fill="#6f7278"/>
<path d="M125.5 36h1.5l1 7h-3.5zM124 47h4l2 17h-8z" fill="#eee"/>
<circle cx="88" cy="27" r="9" fill="#5f7d4b"/><path d="M87 34h2.5v7H87z" fill="#6b5138"/>
<circle cx="168" cy="25" r="10" fill="#5f7d4b"/><path d="M167 34h2.5v8H167z" fill="#6b5138"/>
<path d="M146 45l4-6h16l5 6h3v8h-31v-8z" fill="#a8433c"/><path d="M151 44l2.5-4h10l3.5 4z" fill="#dce6ee"/>
<circle cx="149" cy="53" r="2.5" fill="#222"/><circle cx="168" cy="53" r="2.5" fill="#222"/>
"""


def main() -> None:
    """Write the drawing beside this file."""
    discriminator = build_discriminator(resolve("vkitti2kitti"))
    assert isinstance(discriminator, Combined)  # noqa: S101  the recipe says so; it types the two parts
    width, height = resolve("vkitti2kitti").data.size
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        "<title>Patch, global and combined discriminators</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<defs><g id="street">{STREET}</g>',
        '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">',
        f'<path d="M0 0l8 4-8 4z" fill="{FAINT}"/></marker></defs>',
        *legend(),
        *patch_row(discriminator.patch, width, height, top=50),
        *global_row(discriminator.whole, width, height, top=200),
        *combined_row(width, height, top=350),
        "</svg>",
    ]
    Path(__file__).with_name("discriminators.svg").write_text("\n".join(parts) + "\n", "utf-8")


def legend() -> Iterator[str]:
    """What the colours of scores mean."""
    for x, colour, words in ((880, REAL, "looks real"), (990, FAKE, "looks fake")):
        yield f'<rect x="{x}" y="24" width="13" height="13" fill="{colour}"/>'
        yield text(x + 20, 36, words)


def patch_row(patch: nn.Module, width: int, height: int, top: int) -> Iterator[str]:
    """The patch discriminator: one cell and the field that its score depends on; a map of scores."""
    field = receptive_field(patch)
    _, rows, columns = describe(patch, 3, height, width)[-1].output_shape
    cell = width // columns
    yield title(
        top, "patch", patch, f"{rows}x{columns} scores, one for each {cell}x{cell} pixels, seen in {field}x{field}"
    )
    yield from picture(top, width, height)
    x, y = 37.5 * cell / SCALE, (rows - 5.5) * cell / SCALE  # the middle of a cell on the car
    yield square(20 + x, top + y, field / SCALE, fill="none")
    yield square(20 + x, top + y, cell / SCALE, fill=MARK)
    yield from stages(patch, width, height, top)
    yield from score_map(SCORES_AT, top + 13, rows, columns)


def global_row(whole: nn.Module, width: int, height: int, top: int) -> Iterator[str]:
    """The global discriminator: everything is seen, and one score is given."""
    yield title(top, "global", whole, "one score for the whole image")
    yield from picture(top, width, height)
    corner = f'x="20" y="{top}" width="{width / SCALE}" height="{height / SCALE}"'
    yield f'<rect {corner} fill="none" stroke="{MARK}" stroke-width="2.5"/>'
    yield from stages(whole, width, height, top)
    yield single_score(SCORES_AT + 56, top + 16)


def combined_row(width: int, height: int, top: int) -> Iterator[str]:
    """Both on one image; their losses are added."""
    yield title(top, "combined", None, "both look at the same image; their adversarial losses are added")
    yield from picture(top, width, height)
    for name, offset in (("patch", 2), ("global", 36)):
        middle = top + offset + 13
        yield arrow(20 + width / SCALE, top + 32, 420, middle)
        yield f'<rect x="424" y="{middle - 13}" width="150" height="26" rx="4" fill="{MAP}"/>'
        yield text(499, middle + 4.5, name, fill="#fff", anchor="middle")
        yield arrow(574, middle, 636, middle)
        yield arrow(706, middle, 826, top + 32 + (middle - top - 32) / 3)
    yield from score_map(640, top + 2, 8, 18)
    yield single_score(656, top + 36, side=26)
    yield f'<circle cx="842" cy="{top + 32}" r="15" fill="none" stroke="{INK}" stroke-width="1.5"/>'
    yield text(842, top + 37.5, "+", size=18, anchor="middle")
    yield arrow(857, top + 32, 920, top + 32)
    yield text(930, top + 37, "adversarial loss")


def title(top: float, name: str, network: nn.Module | None, words: str) -> str:
    """The name of a row, what it does, and its size."""
    size = f" · {sum(weights.numel() for weights in network.parameters()):,} parameters" if network else ""
    return text(20, top - 14, f'<tspan font-weight="bold">{name}</tspan> · {words}{size}', size=15)


def picture(top: float, width: int, height: int) -> Iterator[str]:
    """The image that is judged."""
    yield f'<use href="#street" x="20" y="{top}"/>'
    yield text(20, top + height / SCALE + 15, f"3 x {height}x{width}", size=11, fill=FAINT)


def stages(network: nn.Module, width: int, height: int, top: float) -> Iterator[str]:
    """A block for every convolution and linear layer, as high as its map is, on a logarithmic scale."""
    layers = [layer for layer in describe(network, 3, height, width) if layer.kind.startswith(("Conv", "Linear"))]
    middle = top + height / SCALE / 2
    yield arrow(20 + width / SCALE, middle, STAGES_AT - 6, middle)
    yield arrow(STAGES_AT, middle, SCORES_AT - 8, middle)
    for place, layer in enumerate(layers[:-1]):
        x = STAGES_AT + place * STAGE_STEP
        channels, *sides = layer.output_shape
        tall = 12 + 7 * (sides[0].bit_length() if sides else 0)
        yield f'<rect x="{x}" y="{middle - tall / 2}" width="22" height="{tall}" rx="2" fill="{MAP}"/>'
        label = f"{channels} x" if sides else f"{channels}"
        yield text(x + 11, top + 79, label, size=11, fill=FAINT, anchor="middle")
        if sides:
            yield text(x + 11, top + 91, "x".join(map(str, sides)), size=11, fill=FAINT, anchor="middle")
    yield text(
        SCORES_AT + 72, top + 79, "x".join(map(str, layers[-1].output_shape)), size=11, fill=FAINT, anchor="middle"
    )


def score_map(x: float, y: float, rows: int, columns: int) -> Iterator[str]:
    """A map of scores, some of them of what looks fake."""
    side = 2.25 if rows > 8 else 3.25
    yield f'<rect x="{x}" y="{y}" width="{columns * side}" height="{rows * side}" fill="{REAL}"/>'
    for row in range(rows):
        fakes = (math.sin(column / 3.1) + math.cos(row / 1.7 + column / 9) > 0.7 for column in range(columns))
        cells = "".join(
            f"M{x + column * side:g} {y + row * side:g}h{side}v{side}h-{side}z"
            for column, fake in enumerate(fakes)
            if fake
        )
        yield f'<path d="{cells}" fill="{FAKE}" shape-rendering="crispEdges"/>'


def single_score(x: float, y: float, side: float = 32) -> str:
    """One score."""
    return f'<rect x="{x}" y="{y}" width="{side}" height="{side}" fill="{REAL}"/>'


def square(x: float, y: float, side: float, fill: str) -> str:
    """A marked square around a point."""
    corner = f'x="{x - side / 2:g}" y="{y - side / 2:g}" width="{side:g}" height="{side:g}"'
    return f'<rect {corner} fill="{fill}" stroke="{MARK}" stroke-width="1.5"/>'


def arrow(x0: float, y0: float, x1: float, y1: float) -> str:
    """A thin arrow."""
    return f'<path d="M{x0:g} {y0:g}L{x1:g} {y1:g}" stroke="{FAINT}" fill="none" marker-end="url(#tip)"/>'


def text(x: float, y: float, words: str, *, size: int = 14, fill: str = INK, anchor: str = "start") -> str:
    """A line of text."""
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{fill}" text-anchor="{anchor}">{words}</text>'


def receptive_field(network: nn.Module) -> int:
    """Side of the square of pixels on which one score of a chain of convolutions depends."""
    side, step = 1, 1
    for conv in (module for module in network.modules() if isinstance(module, nn.Conv2d)):
        side += (conv.kernel_size[0] - 1) * step
        step *= conv.stride[0]
    return side


if __name__ == "__main__":
    main()
