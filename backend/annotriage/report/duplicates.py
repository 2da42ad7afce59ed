"""duplicates.csv: an item, its twin, and how near they are."""

from __future__ import annotations

from pathlib import Path

from annotriage.data import Source
from annotriage.engine.duplicates import AGAINST, Duplicates, duplicates
from annotriage.engine.reference import Reference
from annotriage.errors import OutputError
from annotriage.model import Model
from annotriage.model.spec import ModelSpec
from annotriage.progress import Progress, silent
from annotriage.report.csv_cells import csv_lines
from annotriage.report.html import write_page
from annotriage.settings import ServiceSettings, Settings

FIRST = 5  # twins on the terminal
COLUMNS = ("id", "twin", "set", "distance", "kind")


def duplicates_to_file(
    reference: Reference,
    data: Source,
    out: Path | str,
    against: Source | None = None,
    *,
    model: Model | ModelSpec | Path | str | None = None,
    settings: Settings | None = None,
    replace_existing: bool = False,
    labeling_config: Path | None = None,
    server: ServiceSettings | None = None,
    progress: Progress = silent,
) -> Duplicates:
    """As `annotriage.duplicates`, with a row for each twin in the CSV file `out`.

    The file is made whole or not at all. Raises OutputError if it is there already (unless replace_existing) or cannot be written.
    """
    out = Path(out)
    if out.is_dir() or (out.exists() and not replace_existing):
        raise OutputError(f"{out}: exists already; choose another file, or pass --replace")
    found = duplicates(
        reference, data, against, model=model, settings=settings, labeling_config=labeling_config, server=server, progress=progress
    )
    rows = ((twin.id, twin.twin, twin.set, twin.distance, twin.kind) for twin in found.twins)
    write_page(csv_lines(COLUMNS, rows), out, "table")
    return found


def duplicates_text(found: Duplicates) -> str:
    """What was found, in a few lines for the terminal."""
    first = [f"  {twin.id} = {twin.twin}{' (against)' if twin.set == AGAINST else ''}, {twin.kind}" for twin in found.twins[:FIRST]]
    return "\n".join([*found.sentences, *first, *(f"Note: {note}" for note in found.notes)])
