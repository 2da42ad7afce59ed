"""The picture of a model's layers: boxes from above to below, branches side by side, the layers that are compared marked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from markupsafe import Markup

from annotriage.report import svg

WIDTH, HEIGHT, BETWEEN, BESIDE, LEFT, NAMES = 250.0, 34.0, 18.0, 26.0, 90.0, 260.0


@dataclass(frozen=True)
class DrawnBox:
    """A box as it is drawn. title: its steps. shape: of what leaves it. layers: compared ones that end in it."""

    title: str
    shape: str
    layers: tuple[str, ...]
    deciding: bool


@dataclass(frozen=True)
class DrawnLayers:
    """A graph of layers as plain values, of which a page can be made later, too."""

    boxes: tuple[DrawnBox, ...]
    arrows: tuple[tuple[int, int], ...]
    exact: bool

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> DrawnLayers:
        """What `plain` made of one."""
        boxes = (DrawnBox(**{**box, "layers": tuple(box["layers"])}) for box in plain["boxes"])
        return cls(tuple(boxes), tuple((start, end) for start, end in plain["arrows"]), bool(plain["exact"]))

    def plain(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def layers_chart(graph: DrawnLayers) -> Markup:
    """The picture. A layer that is compared has its name beside it; the deciding one stands out."""
    depth, column = _places(graph)
    widest = max(column) + 1

    def corner(place: int) -> tuple[float, float]:
        return LEFT + column[place] * (WIDTH + BESIDE), 8 + depth[place] * (HEIGHT + BETWEEN)

    parts = [_arrow(corner(start), corner(end), depth[end] - depth[start], column[start] == column[end]) for start, end in graph.arrows]
    for place, box in enumerate(graph.boxes):
        x, y = corner(place)
        kind = "l-deciding" if box.deciding else "l-compared" if box.layers else "l-box"
        said = f"{box.title}{f', gives {box.shape}' if box.shape else ''}{', compared: ' + ', '.join(box.layers) if box.layers else ''}"
        drawn = '<g><title>{}</title><rect class="{}" x="{:.0f}" y="{:.0f}" width="{:.0f}" height="{:.0f}" rx="5"/></g>'
        parts.append(Markup(drawn).format(said, kind, x, y, WIDTH, HEIGHT))
        parts.append(svg.text(x + 10, y + 21, _short(box.title, 27 if box.shape else 36), "c-name c-start"))
        parts.append(svg.text(x + WIDTH - 8, y + 21, box.shape if len(box.shape) < 20 else "", "c-tick c-end"))
        if box.layers:
            name = _short(", ".join(box.layers), 34) + (" (deciding)" if box.deciding else "")
            parts.append(svg.text(LEFT + widest * (WIDTH + BESIDE), y + 21, name, "c-name c-start l-name"))
    compared = sum(len(box.layers) for box in graph.boxes)
    described = f"{len(graph.boxes)} boxes from the input to the answer; {compared} layers are compared."
    height = 8 + (max(depth) + 1) * (HEIGHT + BETWEEN)
    return svg.frame("Layers of the model", described, LEFT + widest * (WIDTH + BESIDE) + NAMES, height, parts)


def _places(graph: DrawnLayers) -> tuple[list[int], list[int]]:
    """How deep each box lies, by the longest way to it, and how far to the right among those of its depth."""
    depth = [0] * len(graph.boxes)
    for start, end in sorted(graph.arrows):  # boxes stand in order of execution
        depth[end] = max(depth[end], depth[start] + 1)
    used: dict[int, int] = {}
    column = []
    for place in range(len(graph.boxes)):
        column.append(used.get(depth[place], 0))
        used[depth[place]] = column[-1] + 1
    return depth, column


def _arrow(start: tuple[float, float], end: tuple[float, float], steps: int, straight: bool) -> Markup:
    (x1, y1), (x2, y2) = start, end
    if steps > 1 and straight:  # around the boxes between
        out = x1 - 14 - min(60.0, 6.0 * steps)
        y1, y2 = y1 + HEIGHT / 2, y2 + HEIGHT / 2
        path = f"M{x1:.0f} {y1:.0f} C{out:.0f} {y1:.0f} {out:.0f} {y2:.0f} {x2:.0f} {y2:.0f}"
    else:
        y1 += HEIGHT
        path = f"M{x1 + WIDTH / 2:.0f} {y1:.0f} L{x2 + WIDTH / 2:.0f} {y2:.0f}"
    return Markup(f'<path class="l-arrow" d="{path}"/>')  # numbers alone


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
