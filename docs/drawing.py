"""Boxes, arrows and words as SVG, for the diagrams that show how things fit together."""

from __future__ import annotations

from html import escape

INK, LINE, PAPER = "#1f2933", "#7b8794", "#ffffff"
FILLS = {"plain": "#f1f5f9", "light": "#e3f2fd", "torch": "#fff3e0", "store": "#e8f5e9", "loss": "#fce4ec"}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


class Drawing:
    """A picture of `width` x `height` units with a title for those who cannot see it."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"',
            f'font-family="{FONT}">',
            f"<title>{escape(title)}</title>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"',
            f' orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{LINE}"/></marker></defs>',
            f'<rect width="{width}" height="{height}" rx="10" fill="{PAPER}"/>',
        ]

    def box(self, x: float, y: float, width: float, height: float, text: str, fill: str = "plain") -> None:
        """A box with its lines of text in the middle; the first line is bold."""
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="7" fill="{FILLS[fill]}" stroke="{LINE}"/>'
        )
        lines = text.split("\n")
        top = y + height / 2 - 9 * (len(lines) - 1) + 5
        for number, line in enumerate(lines):
            self.words(x + width / 2, top + 18 * number, line, bold=number == 0, size=15 if number == 0 else 13)

    def words(
        self, x: float, y: float, text: str, *, bold: bool = False, size: int = 13, anchor: str = "middle"
    ) -> None:
        """A line of text whose middle, start or end is at (x, y)."""
        weight = ' font-weight="600"' if bold else ""
        self.parts.append(
            f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}" fill="{INK}"{weight}>'
            f"{escape(text)}</text>"
        )

    def arrow(self, *points: tuple[float, float]) -> None:
        """A line through `points` with a tip at its end."""
        path = " ".join(f"{x},{y}" for x, y in points)
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{LINE}" stroke-width="1.6" marker-end="url(#tip)"/>'
        )

    def dashed(self, x: float, y: float, width: float, height: float) -> None:
        """A dashed frame."""
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="9" fill="none" stroke="{LINE}" '
            'stroke-dasharray="5 4"/>'
        )

    def svg(self) -> str:
        """The picture as text."""
        return "\n".join([*self.parts, "</svg>"]) + "\n"


def flow() -> str:
    """A run, from its words to its tables, with the folder of pairbench/ that does each step."""
    picture = Drawing(900, 430, "How a run flows: words, settings, configs, plan, worker processes, store, tables")
    steps = [
        (20, "words", "encoder=cnn,deep_cnn\nloss=aux", "plain", "cli/"),
        (240, "settings", "one dictionary for\neach point of the grid", "light", "config/"),
        (460, "configs", "validated, with\nall defaults", "light", "config/"),
        (680, "plan", "the rounds that are\nnot in the store yet", "light", "execution/"),
    ]
    for number, (x, name, text, fill, folder) in enumerate(steps):
        picture.box(x, 50, 180, 84, f"{name}\n{text}", fill)
        picture.words(x + 90, 38, folder)
        if number:
            picture.arrow((x - 38, 92), (x - 2, 92))
    picture.dashed(470, 176, 410, 110)
    picture.words(456, 196, "worker processes", anchor="end", bold=True)
    picture.words(456, 216, "worker/, data/, model/,", anchor="end")
    picture.words(456, 236, "training/, timing/:", anchor="end")
    picture.words(456, 256, "only these import torch", anchor="end")
    for x in (490, 620, 750):
        picture.box(x, 210, 112, 62, "round\ntrain, evaluate", "torch")
        picture.arrow((770, 136), (770, 156), (x + 56, 156), (x + 56, 206))
        picture.arrow((x + 56, 274), (x + 56, 316))
    picture.box(480, 320, 400, 76, "records\none immutable JSON file per round", "store")
    picture.words(680, 414, "store/")
    picture.arrow((478, 358), (402, 358))
    picture.box(220, 320, 180, 76, "statistics\nmeans, intervals,\npaired tests", "light")
    picture.words(310, 414, "results/")
    picture.arrow((218, 358), (202, 358))
    picture.box(20, 320, 180, 76, "output\ntables, CSV, JSON,\nplots, one HTML file", "light")
    picture.words(110, 414, "results/, cli/")
    picture.arrow((880, 358), (890, 358), (890, 92), (864, 92))
    picture.words(20, 196, "Plugins provide", anchor="start", bold=True)
    picture.words(20, 216, "components, suites, metrics,", anchor="start")
    picture.words(20, 236, "executors, accelerators,", anchor="start")
    picture.words(20, 256, "trackers", anchor="start")
    return picture.svg()


def pairings() -> str:
    """The three pairings, side by side."""
    picture = Drawing(900, 400, "The three pairings: siamese, pseudo_siamese and two_channel")
    for left, name, text in (
        (0, "siamese", "one encoder, shared weights"),
        (300, "pseudo_siamese", "an encoder for each image"),
        (600, "two_channel", "one encoder sees both, stacked"),
    ):
        picture.words(left + 150, 34, name, bold=True, size=17)
        picture.words(left + 150, 56, text)
    for left, names in ((0, ("encoder", "encoder")), (300, ("encoder 1", "encoder 2"))):
        for x, name, image in ((left + 25, names[0], "first"), (left + 160, names[1], "second")):
            picture.box(x, 75, 115, 42, image)
            picture.arrow((x + 57, 119), (x + 57, 145))
            picture.box(x, 148, 115, 46, name, "torch")
            picture.arrow((x + 57, 196), (x + 57, 222))
            picture.words(x + 57, 240, "embedding (D)")
            picture.arrow((x + 57, 248), (x + 57, 276))
    picture.words(150, 176, "=", bold=True, size=18)
    picture.words(450, 176, "≠", bold=True, size=18)
    for x, image in ((625, "first"), (760, "second")):
        picture.box(x, 75, 115, 42, image)
        picture.arrow((x + 57, 119), (x + 57, 145))
    picture.box(625, 148, 250, 46, "encoder of 2 C channels", "torch")
    picture.arrow((750, 196), (750, 222))
    picture.words(750, 240, "embedding (D)")
    picture.arrow((750, 248), (750, 276))
    for left, shape in ((0, "M = 2"), (300, "M = 2"), (600, "M = 1")):
        picture.box(left + 25, 279, 250, 46, f"head\nreads (M, D), {shape}", "light")
        picture.arrow((left + 150, 327), (left + 150, 353))
        picture.words(left + 150, 374, "logits: greater, at_most")
    return picture.svg()
