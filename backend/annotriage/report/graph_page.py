"""graph.html: the attribution graph of a class, or of two, as one file that opens offline, with the patches of every channel."""

from __future__ import annotations

from pathlib import Path

from annotriage.engine.diagnosis.attribution import AttributionGraph
from annotriage.report.graph_chart import GraphView, Line, Node, Shown, graph_chart, owner
from annotriage.report.html import bundle, frame, picture, template, write_page

PAGE = "graph.html"


def write_graph(found: AttributionGraph, path: Path) -> None:
    """Write the page, whole or not at all. Raises OutputError if it cannot be written."""
    view, pieces = view_of(found)

    def source(piece: str) -> str:
        return picture(pieces[piece])

    program = bundle("elements.js", "theme_button.js", "graph.js", "graph_alone.js")
    values = {"found": found, "view": view, "source": source, "chart": graph_chart(view, source)}
    write_page(template("graph.html").generate(**values, **frame(program, "graph.css")), path)


def view_of(graph: AttributionGraph) -> tuple[GraphView, dict[str, bytes]]:
    """What is drawn of a graph, and the pictures by the names of their pieces.

    In each layer the first class's channels lie above, those of both between, the other's below.
    """
    drawn: dict[tuple[int, int], list[float | None]] = {}
    ranks: dict[tuple[int, int], float] = {}
    for place, one in enumerate(graph.graphs):
        for vertex in one.vertices:
            key = vertex.layer, vertex.channel
            drawn.setdefault(key, [None] * len(graph.graphs))[place] = vertex.share
            ranks[key] = max(ranks.get(key, 0.0), vertex.rank)
    order = {"one": 0, "both": 1, "other": 2}
    keys = sorted(drawn, key=lambda key: (key[0], order[owner(drawn[key])], -ranks[key], key[1]))
    pieces: dict[str, bytes] = {}
    nodes = []
    for layer, channel in keys:
        shown = []
        for place, patch in enumerate(graph.patches[layer, channel]):
            piece = f"{layer}-{channel}-{place}" if patch.picture else ""
            if piece:
                pieces[piece] = patch.picture
            shown.append(Shown(patch.id, patch.label, piece))
        shares = tuple(drawn[layer, channel])
        nodes.append(Node(f"{layer}-{channel}", layer, graph.name_of(layer, channel), owner(shares), shares, tuple(shown)))
    lines: dict[tuple[str, str], list[float | None]] = {}
    for place, one in enumerate(graph.graphs):
        for edge in one.edges:
            ends = f"{edge.layer}-{edge.channel}", f"{edge.layer + 1}-{edge.to}"
            lines.setdefault(ends, [None] * len(graph.graphs))[place] = edge.share
    view = GraphView(
        graph.classes,
        tuple((layer.name, layer.channels, layer.connected) for layer in graph.layers),
        tuple(nodes),
        tuple(Line(start, end, tuple(shares)) for (start, end), shares in lines.items()),
        tuple(graph.sentences),
        graph.notes,
    )
    return view, pieces
