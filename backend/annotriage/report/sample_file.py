"""sample.csv: the items of a sample with the reason of each, as `annotriage sample` writes and `annotriage diagnose` reads it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from annotriage.data import Source
from annotriage.engine.diagnosis.sample import DiagnosisSample, SampledItem, sample
from annotriage.engine.reference import Reference
from annotriage.errors import DataError, OutputError
from annotriage.report.csv_cells import Cell, csv_lines, plain_text
from annotriage.report.html import write_page

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
    write_page(csv_lines(COLUMNS, map(_row, sample.items)), file, "sample")


def read_sample(file: Path) -> frozenset[str]:
    """The ids of a sample. Any CSV file with a column `id` will do. Raises DataError if it is none."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            table = csv.DictReader(opened)
            if "id" not in (table.fieldnames or ()):
                raise DataError(f"{file}: has no column id; give a file that `annotriage sample` wrote, or a CSV file with the items' ids")
            found = frozenset(plain_text(row["id"]) for row in table if row["id"])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: cannot be read as a sample ({error}); give a file that `annotriage sample` wrote") from error
    if not found:
        raise DataError(f"{file}: names no items; draw a larger sample")
    return found


def _refuse_existing(file: Path) -> None:
    if file.exists():
        raise OutputError(f"{file}: exists already; choose another name for the sample")


def _row(item: SampledItem) -> list[Cell]:
    return [item.id, item.label, item.predicted, _CORRECT[item.correct], item.cluster, item.ratio, item.weight, item.why]
