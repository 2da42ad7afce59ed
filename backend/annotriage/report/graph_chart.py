"""The picture of an attribution graph: layers from left to right, channels as boxes with the patch that excites each most.

What is drawn is plain values, so that a page can be made of it later, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from annotriage.report import svg

WIDTH, HEIGHT, GAP, BETWEEN, TOP, LEFT = 76.0, 76.0, 24.0, 110.0, 48.0, 12.0


@dataclass(frozen=True)
class Shown:
    """What excites a channel. piece: the name of its picture, "" without one."""

    id: str
    label: str
    piece: str


@dataclass(frozen=True)
class Node:
    """A vertex. key: of its layer and channel. of: "one", "other" or "both" of the classes. shares: of each class's items; None where it is
    not drawn for that class. patches: what excites it, most first."""

    key: str
    layer: int
    name: str
    of: str
    shares: tuple[float | None, ...]
    patches: tuple[Shown, ...]


@dataclass(frozen=True)
class Line:
    """A connection between two vertices, by their keys. shares: as of a node."""

    start: str
    end: str
    shares: tuple[float | None, ...]


@dataclass(frozen=True)
class GraphView:
    """An attribution graph as it is drawn. layers: name, number of channels, how it is connected to the one before.

    nodes: layer by layer, from above.
    """

    classes: tuple[str, ...]
    layers: tuple[tuple[str, int, str], ...]
    nodes: tuple[Node, ...]
    lines: tuple[Line, ...]
    sentences: tuple[str, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> GraphView:
        """The view that `dataclasses.asdict` made these plain values of."""
        nodes = (Node(**{**node, "shares": tuple(node["shares"]), "patches": _shown(node)}) for node in plain["nodes"])
        lines = (Line(line["start"], line["end"], tuple(line["shares"])) for line in plain["lines"])
        layers = ((name, channels, how) for name, channels, how in plain["layers"])
        texts = (tuple(plain[key]) for key in ("classes", "sentences", "notes"))
        classes, sentences, notes = texts
        return cls(classes, tuple(layers), tuple(nodes), tuple(lines), sentences, notes)

    def leads(self, node: Node) -> list[tuple[str, tuple[float | None, ...]]]:
        """To which channels of the next layer a vertex leads, by their names, and how often."""
        names = {other.key: other.name for other in self.nodes}
        return [(names[line.end], line.shares) for line in self.lines if line.start == node.key]


def _shown(node: Mapping[str, Any]) -> tuple[Shown, ...]:
    return tuple(Shown(**patch) for patch in node["patches"])


def graph_chart(view: GraphView, source: Callable[[str], str]) -> Markup:
    """The graph as SVG. Vertices answer to the keyboard too; the script of the page isolates paths. source: a piece's address."""
    places = _places(view)
    parts: list[Markup] = []
    for layer, (name, channels, _) in enumerate(view.layers):
        x = LEFT + layer * (WIDTH + BETWEEN) + WIDTH / 2
        parts.append(svg.text(x, 16, name if len(name) <= 22 else f"…{name[-21:]}", "g-layer"))
        parts.append(svg.text(x, 33, "" if layer == len(view.layers) - 1 else f"{channels:,} channels", "c-tick"))
    nodes = {node.key: node for node in view.nodes}
    parts += [_edge(view, line, nodes[line.start], nodes[line.end], places) for line in sorted(view.lines, key=_strength)]
    parts += [_vertex(view, node, places[node.key], source) for node in view.nodes]
    width = LEFT * 2 + len(view.layers) * WIDTH + (len(view.layers) - 1) * BETWEEN
    height = max(y for _, y in places.values()) + HEIGHT + 30
    title = f"Attribution graph of {' and '.join(view.classes)}"
    said = f"{len(view.nodes)} channels in {len(view.layers)} layers, {len(view.lines)} connections; the table below has all of them."
    drawn = '<svg class="graph" role="group" aria-label="{}" viewBox="0 0 {:.0f} {:.0f}" width="{:.0f}" height="{:.0f}">{}</svg>'
    return Markup(drawn).format(f"{title}. {said}", width, height, width, height, Markup("").join(parts))


def owner(shares: list[float | None] | tuple[float | None, ...]) -> str:
    """Whose a vertex or connection is: "one", "other" or "both" of the classes."""
    known = [share is not None for share in shares]
    return "both" if all(known) and len(known) > 1 else "one" if known[0] else "other"


def _places(view: GraphView) -> dict[str, tuple[float, float]]:
    """The upper left corner of each vertex; every layer stands in the middle of the tallest."""
    columns = [[node.key for node in view.nodes if node.layer == layer] for layer in range(len(view.layers))]
    tallest = max(map(len, columns))
    return {
        key: (LEFT + layer * (WIDTH + BETWEEN), TOP + (place + (tallest - len(column)) / 2) * (HEIGHT + GAP))
        for layer, column in enumerate(columns)
        for place, key in enumerate(column)
    }


def _strength(line: Line) -> float:
    return max(share for share in line.shares if share is not None)


def _edge(view: GraphView, line: Line, start: Node, end: Node, places: Mapping[str, tuple[float, float]]) -> Markup:
    (x1, y1), (x2, y2) = places[line.start], places[line.end]
    x1, y1, y2 = x1 + WIDTH, y1 + HEIGHT / 2, y2 + HEIGHT / 2
    bend = BETWEEN * 0.45
    loose = " g-loose" if view.layers[end.layer][2] == "correlation" else ""
    known = [(name, share) for name, share in zip(view.classes, line.shares, strict=True) if share is not None]
    said = ", ".join(f"{name} {100 * share:.0f}%" for name, share in known)
    return Markup(
        '<path class="g-edge g-{}{}" data-from="{}" data-to="{}" d="M{:.1f} {:.1f} C{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}"'
        ' stroke-width="{:.1f}"><title>{}</title></path>'
    ).format(
        *(owner(line.shares), loose, line.start, line.end, x1, y1, x1 + bend, y1, x2 - bend, y2, x2, y2),
        0.8 + 5 * _strength(line),
        f"{_called(view, start)} to {_called(view, end)}: {said} of the items",
    )


def _vertex(view: GraphView, node: Node, place: tuple[float, float], source: Callable[[str], str]) -> Markup:
    x, y = place
    known = [(name, share) for name, share in zip(view.classes, node.shares, strict=True) if share is not None]
    label = f"{_called(view, node)}: {', '.join(f'{100 * share:.0f}% of {name}' for name, share in known)}"
    address = source(node.patches[0].piece) if node.patches and node.patches[0].piece else ""
    inside = (
        Markup('<image href="{}" x="{:.1f}" y="{:.1f}" width="{:.0f}" height="{:.0f}" preserveAspectRatio="xMidYMid meet"/>').format(
            address, x + 4, y + 4, WIDTH - 8, HEIGHT - 8
        )
        if address
        else svg.text(x + WIDTH / 2, y + HEIGHT / 2 + 5, node.name if len(node.name) <= 11 else f"{node.name[:10]}…", "g-inside")
    )
    below = svg.text(x + WIDTH / 2, y + HEIGHT + 14, node.name if len(node.name) <= 13 else f"{node.name[:12]}…", "c-tick")
    return Markup(
        '<g class="g-vertex g-{}" tabindex="0" role="button" aria-pressed="false" data-key="{}" aria-label="{}"><title>{}</title>'
        '<rect x="{:.1f}" y="{:.1f}" width="{:.0f}" height="{:.0f}" rx="6"/>{}{}</g>'
    ).format(node.of, node.key, label, label, x, y, WIDTH, HEIGHT, inside, below if address else "")


def _called(view: GraphView, node: Node) -> str:
    return f"answer {node.name}" if node.layer == len(view.layers) - 1 else f"{view.layers[node.layer][0]} {node.name}"
