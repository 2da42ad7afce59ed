"""The folder that `annotriage diagnose` writes: diagnosis.html, one file that opens offline, and its figures as diagnosis.json."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from markupsafe import Markup

from annotriage.data import Source
from annotriage.diagnosis.pictures import Bars, Lines, Picture
from annotriage.engine.diagnosis.diagnose import Diagnosis, diagnose
from annotriage.engine.folders import refuse_existing, whole_folder
from annotriage.engine.reference import Reference
from annotriage.report import inside_charts
from annotriage.report.html import bundle, frame, template, write_page
from annotriage.report.output import json_text
from annotriage.report.sample_file import read_sample

PAGE, FIGURES = "diagnosis.html", "diagnosis.json"


def diagnose_to_folder(
    reference: Reference,
    data: Source,
    out: Path | str,
    queries: Collection[str] = (),
    *,
    sample: Path | str | Collection[str] | None = None,
    replace_existing: bool = False,
    **options: Any,
) -> Diagnosis:
    """As `annotriage.diagnose`, which takes the same options, with diagnosis.html and diagnosis.json in the folder `out`.

    sample: also the file that `annotriage sample` wrote. Raises OutputError if the folder exists already (unless it holds a diagnosis
    that may be replaced) or cannot be written.
    """
    refuse_existing(Path(out), what="results", mark=FIGURES, replaceable=replace_existing)
    ids = read_sample(Path(sample)) if isinstance(sample, str | Path) else sample
    found = diagnose(reference, data, queries, sample=ids, **options)
    with whole_folder(Path(out), what="results", mark=FIGURES, replaceable=replace_existing) as folder:
        write_diagnosis(found, folder / PAGE)
        (folder / FIGURES).write_text(json_text(found.summary()), "utf-8", "backslashreplace")
    return found


def write_diagnosis(found: Diagnosis, path: Path) -> None:
    """Write the page, whole or not at all. Raises OutputError if it cannot be written."""
    program = bundle("elements.js", "theme_button.js", "theme_alone.js")
    write_page(template("diagnosis.html").generate(found=found, draw=_drawn, **frame(program, "diagnosis.css")), path)


def _drawn(picture: Picture) -> Markup:
    values = picture.values.tolist()
    if isinstance(picture, Bars):
        return inside_charts.bars_chart(picture.title, picture.rows, picture.series, values, "")
    if isinstance(picture, Lines):
        return inside_charts.lines_chart(picture.title, picture.places, picture.series, values, "")
    return inside_charts.heat_chart(picture.title, picture.rows, picture.columns, values, "", picture.axis)
