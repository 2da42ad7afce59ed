"""sample.csv: the items of a sample with the reason of each, as `annotriage sample` writes and `annotriage diagnose` reads it."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

from annotriage.data import Source
from annotriage.engine.diagnosis_sample import DiagnosisSample, sample
from annotriage.engine.reference import Reference
from annotriage.errors import DataError, OutputError
from annotriage.report.csv_cells import text_cell

COLUMNS = ("id", "label", "predicted", "correct", "cluster", "ratio", "weight", "why")
_CORRECT = {True: "yes", False: "no", None: ""}


def sample_to_file(reference: Reference, data: Source, file: Path | str, **options: Any) -> DiagnosisSample:
    """As `annotriage.sample`, which takes the same options, with sample.csv written to `file`.

    Raises OutputError if the file exists already or cannot be written.
    """
    place = Path(file)
    _refuse_existing(place)
    found = sample(reference, data, **options)
    write_sample(found, place)
    return found


def write_sample(sample: DiagnosisSample, file: Path) -> None:
    """Write a sample, whole or not at all. Raises OutputError if the file exists already or cannot be written."""
    _refuse_existing(file)
    partial = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as opened:
            table = csv.writer(opened)
            table.writerow(COLUMNS)
            for item in sample.items:
                figures = ["" if figure is None else f"{figure:.6g}" for figure in (item.ratio, item.weight)]
                words = [text_cell(word) for word in (item.id, item.label, item.predicted)]
                table.writerow([*words, _CORRECT[item.correct], text_cell(item.cluster), *figures, text_cell(item.why)])
        partial.replace(file)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"{file}: the sample could not be written ({error.strerror}); choose another place with --out") from error


def read_sample(file: Path) -> frozenset[str]:
    """The ids of a sample. Any CSV file with a column `id` will do. Raises DataError if it is none."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            table = csv.DictReader(opened)
            if "id" not in (table.fieldnames or ()):
                raise DataError(f"{file}: has no column id; give a file that `annotriage sample` wrote, or a CSV file with the items' ids")
            found = frozenset(_plain(row["id"]) for row in table if row["id"])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: cannot be read as a sample ({error}); give a file that `annotriage sample` wrote") from error
    if not found:
        raise DataError(f"{file}: names no items; draw a larger sample")
    return found


def _refuse_existing(file: Path) -> None:
    if file.exists():
        raise OutputError(f"{file}: exists already; choose another name for the sample")


def _plain(cell: str) -> str:
    """The text of which `text_cell` made this cell."""
    return cell[1:] if cell[:1] == "'" and text_cell(cell[1:]) == cell else cell
