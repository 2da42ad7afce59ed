"""graph.html: the attribution graph of a class, or of two, as one file that opens offline, with the patches of every channel."""

from __future__ import annotations

from pathlib import Path

from annotriage.engine.diagnosis.attribution import AttributionGraph
from annotriage.report.graph_chart import graph_chart, view_of
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
