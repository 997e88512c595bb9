"""Draws the diagrams of the manual, pictures/diagram-*.svg: `python docs/draw_diagrams.py`.

The drawings have a white background of their own, so that they are readable in a light and in a dark theme. A text that
would not fit into its box is an error.
"""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Final, NamedTuple

WIDTH: Final = 736  # of the text in the manual, so that sizes of letters are those on the screen
MARGIN: Final = 20
FULL: Final = WIDTH - 2 * MARGIN
SIZE: Final = 13  # px, the smallest letters
LINE: Final = 18
INK, FAINT, PAPER, RULE = "#1f2933", "#5b6770", "#ffffff", "#8795a1"
IMAGE, LABEL, PLAIN, JUDGE, STORE = "#dcebfa", "#e3f3e3", "#f4f6f8", "#fdeed8", "#efe7f8"
_NARROW, _WIDE = frozenset("iljtfr.,:;'|!()[] "), frozenset("mwMWGOQ@%")


class Box(NamedTuple):
    """A box of a diagram: its place, its size, and where arrows reach it."""

    x: float
    y: float
    width: float
    height: float

    @property
    def top(self) -> tuple[float, float]:
        """The middle of the upper side."""
        return self.x + self.width / 2, self.y

    @property
    def bottom(self) -> tuple[float, float]:
        """The middle of the lower side."""
        return self.x + self.width / 2, self.y + self.height

    @property
    def left(self) -> tuple[float, float]:
        """The middle of the left side."""
        return self.x, self.y + self.height / 2

    @property
    def right(self) -> tuple[float, float]:
        """The middle of the right side."""
        return self.x + self.width, self.y + self.height / 2

    @property
    def end(self) -> float:
        """The lower side."""
        return self.y + self.height


class Drawing:
    """A drawing that grows part by part.

    Args:
        title: What it shows, for screen readers.
        height: Its height in pixels.
    """

    def __init__(self, title: str, height: float) -> None:
        self.title = title
        self.height = height
        self.parts: list[str] = []

    def box(
        self,
        x: float,
        y: float,
        width: float,
        title: str,
        lines: Sequence[str] = (),
        *,
        fill: str = PLAIN,
        dashed: bool = False,
        height: float = 0,
    ) -> Box:
        """Draw a box with a title and lines of text; dashed if it is optional."""
        rows = bool(title) + len(lines)
        box = Box(x, y, width, height or rows * LINE + 14)
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{box.height:g}" rx="6" fill="{fill}" '
            f'stroke="{RULE}" stroke-width="1.2"{dashes}/>'
        )
        base = y + 7 + 0.74 * LINE
        for number, line in enumerate([title, *lines] if title else lines):
            self.text(x + 10, base + number * LINE, line, bold=bool(title) and not number, room=width - 20)
        return box

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        bold: bool = False,
        fill: str = INK,
        anchor: str = "start",
        room: float = WIDTH,
        size: int = SIZE,
    ) -> None:
        """Write a line of text.

        Raises:
            ValueError: If it is longer than its room.
        """
        if (needed := length(words, size, bold=bold)) > room:
            raise ValueError(f"{self.title}: '{words}' needs {needed:.0f} px, and has {room:.0f}")
        weight = ' font-weight="bold"' if bold else ""
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{fill}" text-anchor="{anchor}"{weight}>'
            f"{escape(words, quote=False)}</text>"
        )

    def arrow(self, *points: tuple[float, float], dashed: bool = False) -> None:
        """Draw an arrow along points."""
        way = " ".join(f"{'L' if number else 'M'}{x:g} {y:g}" for number, (x, y) in enumerate(points))
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(
            f'<path d="{way}" fill="none" stroke="{FAINT}" stroke-width="1.4"{dashes} marker-end="url(#tip)"/>'
        )

    def frame(self, x: float, y: float, width: float, height: float, title: str) -> None:
        """Draw the outline of a group, with its name above on the left."""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="10" fill="none" stroke="{RULE}" '
            'stroke-width="1.2" stroke-dasharray="1.5 3"/>'
        )
        self.text(x + 10, y + 19, title, fill=FAINT, room=width - 20)

    def svg(self) -> str:
        """Return the file."""
        tip = (
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            f'orient="auto"><path d="M0 0l8 4-8 4z" fill="{FAINT}"/></marker></defs>'
        )
        size = f'viewBox="0 0 {WIDTH} {self.height:g}" width="{WIDTH}" height="{self.height:g}"'
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" role="img">',
                f"<title>{escape(self.title)}</title>",
                f'<rect width="{WIDTH}" height="{self.height:g}" rx="12" fill="{PAPER}"/>',
                tip,
                *self.parts,
                "</svg>\n",
            ]
        )


def length(words: str, size: int, *, bold: bool) -> float:
    """Return how wide a text is in a wide font, in pixels."""
    widths = (0.36 if sign in _NARROW else 0.95 if sign in _WIDE else 0.64 for sign in words)
    return sum(widths) * size * (1.09 if bold else 1)


def a_frame() -> Drawing:
    """The way of a dataset's files through `convert`."""
    drawing = Drawing("A frame's way through sim2real convert", 1000)
    source = drawing.box(MARGIN, 16, FULL, "SRC, a labelled dataset", ["read, never written to"], fill=STORE)
    roles = drawing.box(
        MARGIN,
        source.end + 26,
        FULL,
        "Recognise the layout; give every file one role",
        ["by paths, names, headers and a sample of pixels: IMAGE, LABEL, AUX, PSEUDO or STALE"],
    )
    plan = drawing.box(
        MARGIN,
        roles.end + 26,
        FULL,
        "Plan: choose once, refuse early",
        ["engine, precision, tiles, neighbours, encoding, gate: written to conversion.json,", "kept by every rerun"],
        fill=STORE,
    )
    drawing.arrow(source.bottom, roles.top)
    drawing.arrow(roles.bottom, plan.top)
    left, right = 452, FULL - 452 - 24
    start = plan.end + 40
    drawing.text(MARGIN + left / 2, start - 10, "IMAGE", bold=True, anchor="middle")
    drawing.text(WIDTH - MARGIN - right / 2, start - 10, "all other roles", bold=True, anchor="middle")
    last = _image_lane(drawing, MARGIN, start, left)
    _carry_lane(drawing, WIDTH - MARGIN - right, start, right, last)
    for x in (MARGIN + left / 2, WIDTH - MARGIN - right / 2):
        drawing.arrow((x, plan.end), (x, start - 24))
    out = drawing.box(
        MARGIN,
        last.end + 28,
        FULL,
        "OUT: the same tree, names, sizes and formats",
        ["and .sim2real/manifest.jsonl: for each file role, status, sizes and SHA-256, before and after"],
        fill=STORE,
    )
    drawing.arrow((MARGIN + left / 2, last.end), (MARGIN + left / 2, out.y))
    drawing.arrow((WIDTH - MARGIN - right / 2, last.end), (WIDTH - MARGIN - right / 2, out.y))
    check = drawing.box(
        MARGIN, out.end + 26, FULL, "verify: reads every file again and compares it with SRC", fill=JUDGE
    )
    drawing.arrow(out.bottom, check.top)
    drawing.height = check.end + 16
    return drawing


def _image_lane(drawing: Drawing, x: float, y: float, width: float) -> Box:
    """Draw what is done with a camera image, and return the last box."""
    half = (width - 16) / 2
    decode = drawing.box(x, y, half, "Decode", ["pixels and metadata"], fill=IMAGE)
    inputs = drawing.box(x + half + 16, y, half, "Inputs", ["labels the generator sees"], fill=IMAGE, dashed=True)
    top = decode.end + 26
    ways: list[tuple[str, list[str], bool]] = [
        ("direct", ["the network paints", "the whole frame"], False),
        ("tiles", ["layer by layer, if", "memory is short"], True),
        ("guided", ["the frame takes light and", "colours from the output"], True),
        ("sequences", ["clips, or with earlier", "frames, in order"], True),
    ]
    inner, high = (width - 36) / 2, 3 * LINE + 14
    drawing.frame(x, top, width, 2 * high + 52, "Inference: one of these")
    for number, (name, lines, dashed) in enumerate(ways):
        column, row = number % 2, number // 2
        drawing.box(
            x + 12 + column * (inner + 12),
            top + 30 + row * (high + 10),
            inner,
            name,
            lines,
            fill=IMAGE,
            dashed=dashed,
        )
    for box in (decode, inputs):
        drawing.arrow(box.bottom, (box.bottom[0], top))
    end = top + 2 * high + 52
    steps: list[tuple[str, list[str], bool, str]] = [
        ("Neighbours: grids averaged over up to 5 frames", [], True, IMAGE),
        ("Resize, with --resize", [], True, IMAGE),
        ("Camera: blur, noise and JPEG of the real camera", [], True, IMAGE),
        ("Encode: format, size, metadata of the source's file", [], False, IMAGE),
        ("Gate: measured on the encoded file;", ["a substitute replaces what is rejected"], True, JUDGE),
        ("Write whole or not at all, then a manifest line", [], False, STORE),
    ]
    before = (x + width / 2, end)
    for name, lines, dashed, fill in steps:
        box = drawing.box(x, before[1] + 20, width, name, lines, fill=fill, dashed=dashed)
        drawing.arrow(before, box.top)
        before = box.bottom
    return box


def _carry_lane(drawing: Drawing, x: float, y: float, width: float, last: Box) -> None:
    """Draw what is done with the other files, down to the height of the last box of images."""
    carry = drawing.box(
        x + 10,
        y + 28,
        width - 20,
        "carry byte for byte",
        ["copies that share", "blocks where the disk", "can, or links"],
        fill=LABEL,
    )
    update = drawing.box(
        x + 10,
        carry.end + 10,
        width - 20,
        "update, only if asked",
        ["--resize: masks, depth,", "flow, boxes, cameras", "--labelme-image: the", "photo in a label file"],
        fill=LABEL,
        dashed=True,
    )
    end = update.end + 12
    drawing.frame(x, y, width, end - y, "One of these")
    write = drawing.box(x, last.y, width, "Write, then a line", fill=STORE, height=last.height)
    drawing.arrow((x + width / 2, end), write.top)


def a_training() -> Drawing:
    """The way of a batch through `train`."""
    drawing = Drawing("A batch's way through sim2real train", 1000)
    half = (FULL - 24) / 2
    sides = []
    for number, (name, what, hue) in enumerate(
        [("SIM", "frames of a labelled dataset", IMAGE), ("REAL", "photos, folders, frames of videos", LABEL)]
    ):
        x = MARGIN + number * (half + 24)
        side = drawing.box(x, 16, half, name, [what], fill=hue)
        order = drawing.box(x, side.end + 22, half, "Hold out, then shuffle", ["an order of its own, new each round"])
        cut = drawing.box(x, order.end + 22, half, "Decode, scale, cut a window", ["labels, if any, cut alike"])
        drawing.arrow(side.bottom, order.top)
        drawing.arrow(order.bottom, cut.top)
        sides.append(cut)
    batch = drawing.box(
        MARGIN,
        sides[0].end + 26,
        FULL,
        "Batch: as many simulated as real images, not paired",
        ["fixed by the seed and the step, whatever the number of worker processes"],
        fill=STORE,
    )
    for cut in sides:
        drawing.arrow(cut.bottom, (cut.bottom[0], batch.y))
    step = _step(drawing, batch)
    mean = drawing.box(
        MARGIN, step + 26, FULL, "Average of the generator's weights (ema_decay): what is judged and exported"
    )
    drawing.arrow((WIDTH / 2, step), mean.top)
    drawing.height = _ends(drawing, mean) + 16
    return drawing


def _step(drawing: Drawing, batch: Box) -> float:
    """Draw a training step on a batch, and return its lower end."""
    third = (FULL - 24 - 2 * 40) / 3
    top = batch.end + 26
    y = top + 36
    xs = [MARGIN + 12 + number * (third + 40) for number in range(3)]
    generator = drawing.box(xs[0], y, third, "Generator", ["sim in, fake out"], fill=IMAGE)
    critic = drawing.box(xs[1], y, third, "Discriminator", ["scores: real or fake"], fill=JUDGE)
    losses = drawing.box(xs[2], y, third, "Losses", ["adversarial, others"], fill=JUDGE)
    drawing.arrow(generator.right, critic.left)
    drawing.arrow(critic.right, losses.left)
    drawing.text(generator.right[0] + 20, generator.right[1] - 7, "fake", anchor="middle", fill=FAINT)
    for box, name in ((generator, "simulated"), (critic, "real")):
        drawing.arrow((box.top[0], batch.end), box.top)
        drawing.text(box.top[0] + 9, box.y - 11, name, fill=FAINT)
    terms = drawing.box(
        xs[0],
        generator.end + 30,
        xs[2] + third - xs[0],
        "Gradients: parts of the batch and processes averaged, clipped",
        ["update the discriminator's weights, then the generator's (cyclegan: together)"],
    )
    drawing.arrow(losses.bottom, (losses.bottom[0], terms.y))
    drawing.arrow((generator.bottom[0], terms.y), generator.bottom)
    drawing.arrow((critic.bottom[0], terms.y), critic.bottom)
    back = drawing.box(
        xs[0],
        terms.end + 12,
        xs[2] + third - xs[0],
        "The same from real to sim: default, cyclegan",
        dashed=True,
    )
    end = back.end + 12
    drawing.frame(MARGIN, top, FULL, end - top, "Step")
    return end


def _ends(drawing: Drawing, mean: Box) -> float:
    """Draw what happens beside and after the steps, and return the lower end."""
    third = (FULL - 32) / 3
    parts = [
        (
            "Validation",
            ["every evaluate.every", "steps: held-out frames", "are translated; score", "and warnings"],
            JUDGE,
        ),
        (
            "Checkpoint",
            ["every checkpoint.every", "steps: all states, with", "SHA-256; the newest two", "and the best are kept"],
            STORE,
        ),
        (
            "Export, at the end",
            ["last or best generators;", "camera fitted if asked;", "sim2real.safetensors", "and the model card"],
            STORE,
        ),
    ]
    end = 0.0
    for number, (name, lines, fill) in enumerate(parts):
        box = drawing.box(MARGIN + number * (third + 16), mean.end + 26, third, name, lines, fill=fill)
        drawing.arrow((box.top[0], mean.end), box.top)
        end = box.end
    return end


def a_grid() -> Drawing:
    """How a bilateral grid changes a pixel."""
    drawing = Drawing("How a bilateral grid changes a pixel", 276)
    drawing.text(MARGIN, 32, "the frame, at full size", bold=True)
    width, height, top = 200, 76, 78
    for part in _street(MARGIN, top, width, height):
        drawing.parts.append(part)
    x, y = MARGIN + 138, top + 50
    drawing.parts.append(f'<circle cx="{x}" cy="{y}" r="4.5" fill="none" stroke="{INK}" stroke-width="2"/>')
    drawing.text(MARGIN, top + height + 24, "a pixel at (x, y),", room=210)
    drawing.text(MARGIN, top + height + 42, "its colour (r, g, b)", room=210)
    drawing.text(MARGIN, top + height + 60, "and its brightness", room=210)
    at = 262
    drawing.text(at, 32, "the grid: coarse cells, 8 levels", bold=True, room=260)
    levels, wide, high, shift = 8, 150, 58, 10
    for level in range(levels):
        left, upper = at + (levels - 1 - level) * shift, 62 + level * 13
        shade = 70 + 22 * (levels - 1 - level)
        drawing.parts += [
            *_sheet(left, upper, wide, high, f"rgb({shade},{shade},{min(255, shade + 14)})"),
        ]
    drawing.text(at, 62 + 7 * 13 + high + 24, "look up at (x, y, brightness),", room=250)
    drawing.text(at, 62 + 7 * 13 + high + 42, "interpolated between cells", room=250)
    drawing.text(at + 34, 74, "bright", fill=FAINT)
    drawing.text(at + wide + 14, 62 + 7 * 13 + high - 4, "dark", fill=FAINT)
    drawing.arrow((MARGIN + width + 6, y), (at + 14, y))
    rx = 530
    drawing.text(rx, 32, "one colour transform", bold=True, room=190)
    for row, out in enumerate("rgb"):
        drawing.text(rx, 92 + row * 26, f"{out}' =", room=60)
        for column in range(4):
            drawing.parts.append(
                f'<rect x="{rx + 40 + column * 24}" y="{77 + row * 26}" width="20" height="20" rx="3" fill="{IMAGE}" '
                f'stroke="{RULE}"/>'
            )
    for column, sign in enumerate(["r", "g", "b", "1"]):
        drawing.parts.append(
            f'<rect x="{rx + 158}" y="{69 + column * 24}" width="22" height="20" rx="3" fill="{LABEL}" '
            f'stroke="{RULE}"/>'
        )
        drawing.text(rx + 169, 84 + column * 24, sign, anchor="middle")
    drawing.text(rx + 146, 118, "·", anchor="middle", size=18)
    drawing.arrow((at + wide + 84, 118), (rx - 8, 118))
    drawing.text(rx, 196, "12 numbers give the", room=190)
    drawing.text(rx, 214, "new colour of this pixel", room=190)
    return drawing


def _sheet(x: float, y: float, width: float, height: float, fill: str) -> Iterator[str]:
    """Yield a level of the grid, seen from above at an angle."""
    slant = 26
    corners = [(x + slant, y), (x + slant + width, y), (x + width, y + height), (x, y + height)]
    path = " ".join(f"{'L' if number else 'M'}{a:g} {b:g}" for number, (a, b) in enumerate(corners))
    yield f'<path d="{path}Z" fill="{fill}" fill-opacity="0.9" stroke="{PAPER}" stroke-width="1"/>'
    for column in range(1, 8):
        a = x + width * column / 8
        yield f'<path d="M{a + slant:g} {y:g}L{a:g} {y + height:g}" stroke="{PAPER}" stroke-width="0.8"/>'
    for row in range(1, 4):
        part = row / 4
        left, upper = x + slant * (1 - part), y + height * part
        yield f'<path d="M{left:g} {upper:g}h{width:g}" stroke="{PAPER}" stroke-width="0.8"/>'


def _street(x: float, y: float, width: float, height: float) -> Iterator[str]:
    """Yield a small street."""
    yield f'<g transform="translate({x:g} {y:g}) scale({width / 256:g} {height / 96:g})">'
    yield '<rect width="256" height="96" fill="#bcd3e6"/>'
    yield '<path d="M0 14h52v12h34v10h30v20H0zM256 8h-60v14h-34v16h-30v18h124z" fill="#b8a48f"/>'
    yield '<path d="M0 54h256v42H0z" fill="#8a9a6d"/><path d="M116 50h22l104 46H8z" fill="#6f7278"/>'
    yield '<path d="M150 62l4-7h20l6 7h4v10h-40v-8z" fill="#a8433c"/></g>'


DIAGRAMS: Final = {"a-frame": a_frame, "a-training": a_training, "grid": a_grid}


def main() -> None:
    """Write all diagrams beside this script."""
    folder = Path(__file__).with_name("pictures")
    folder.mkdir(exist_ok=True)
    for name, draw in DIAGRAMS.items():
        (folder / f"diagram-{name}.svg").write_text(draw().svg(), "utf-8")


if __name__ == "__main__":
    main()
