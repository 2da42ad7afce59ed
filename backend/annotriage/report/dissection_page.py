"""The folder that `annotriage dissect` writes: dissection.html, one file that opens offline, and its figures as dissection.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from annotriage.data import Source
from annotriage.engine.diagnosis.concepts import Concept, DissectedLayer
from annotriage.engine.diagnosis.dissection import Dissection, dissect
from annotriage.engine.folders import refuse_existing, whole_folder
from annotriage.engine.reference import Reference
from annotriage.report import inside_charts
from annotriage.report.html import bundle, frame, template, write_page
from annotriage.report.output import json_text

PAGE, FIGURES = "dissection.html", "dissection.json"


def dissect_to_folder(reference: Reference, data: Source, out: Path | str, *, replace_existing: bool = False, **options: Any) -> Dissection:
    """As `annotriage.dissect`, which takes the same options, with dissection.html and dissection.json in the folder `out`.

    Raises OutputError if the folder exists already (unless it holds a dissection that may be replaced) or cannot be written.
    """
    refuse_existing(Path(out), what="results", mark=FIGURES, replaceable=replace_existing)
    found = dissect(reference, data, **options)
    with whole_folder(Path(out), what="results", mark=FIGURES, replaceable=replace_existing) as folder:
        write_dissection(found, folder / PAGE)
        (folder / FIGURES).write_text(json_text(found.summary()), "utf-8", "backslashreplace")
    return found


def write_dissection(found: Dissection, path: Path) -> None:
    """Write the page, whole or not at all. Raises OutputError if it cannot be written."""
    program = bundle("elements.js", "theme_button.js", "theme_alone.js")
    values = {"found": found, "chart": concepts_chart(found.concepts, found.layers, found.by)}
    write_page(template("dissection.html").generate(**values, **frame(program, "dissection.css")), path)


def concepts_chart(concepts: Sequence[Concept], layers: Sequence[DissectedLayer], by: str) -> Markup:
    """Layers by concepts: how many units detect each, or how far the best unit's AUROC lies from chance."""
    names = [concept.name for concept in concepts]
    if by == "masks":
        counts = [[float(sum(unit.concept == name for unit in layer.detectors)) for name in names] for layer in layers]
        return inside_charts.heat_chart("Detectors of each concept", [layer.name for layer in layers], names, counts, "", "concepts")
    best = [[_best(layer, name) for name in names] for layer in layers]
    return inside_charts.heat_chart("AUROC of the best unit", [layer.name for layer in layers], names, best, "", "concepts")


def _best(layer: DissectedLayer, concept: str) -> float:
    values = [max(unit.value, 1 - unit.value) for unit in layer.found if unit.concept == concept]
    return max(values, default=float("nan"))
