"""layers.html: a model's layers as a picture in a file, those that are compared marked."""

from __future__ import annotations

from pathlib import Path

from annotriage.model import candidate_layers
from annotriage.model.layer_graph import LayerGraph, layer_graph
from annotriage.model.spec import ModelSpec
from annotriage.report.html import bundle, frame, template, write_page
from annotriage.report.layers_chart import DrawnBox, DrawnLayers, layers_chart

SHOWN = 3  # kinds of steps that are named in a box


def write_layers(spec: ModelSpec, path: Path) -> None:
    """Write the page, whole or not at all. Raises ModelError, OutputError."""
    drawn = drawn_layers(layer_graph(spec, compared_layers(spec)))
    program = bundle("elements.js", "theme_button.js", "theme_alone.js")
    values = {"spec": spec, "chart": layers_chart(drawn), "exact": drawn.exact}
    write_page(template("layers.html").generate(**values, **frame(program, "layers.css")), path)


def compared_layers(spec: ModelSpec) -> list[str]:
    """The layers that are compared, the deciding one first."""
    found = candidate_layers(spec)
    return [layer.name for part in ("deciding", "further") for layer in found if layer.chosen == part]


def drawn_layers(graph: LayerGraph) -> DrawnLayers:
    """What is drawn of a graph of layers."""
    boxes = []
    for box in graph.boxes:
        named = [f"{count} × {kind}" if count > 1 else kind for kind, count in box.kinds[:SHOWN]]
        rest = sum(count for _, count in box.kinds[SHOWN:])
        title = ", ".join(named) + (f" and {rest} more" if rest else "")
        shape = "" if box.shape is None else " × ".join("?" if size is None else f"{size:,}" for size in box.shape)
        boxes.append(DrawnBox(title, shape, box.layers, box.deciding))
    return DrawnLayers(tuple(boxes), graph.arrows, graph.exact)
