"""The verdicts of a run as a file for other programs: CSV, or Parquet where millions are read by tables of their own."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from annotriage.engine.verdict import Verdict
from annotriage.errors import OutputError
from annotriage.report.csv_cells import text_cell
from annotriage.report.tables import write_parquet
from annotriage.states import Failure

FIGURES = ("confidence", "cluster", "score", "class_score", "source_score", "p_value", "outlier_score", "trust")
COLUMNS = ("id", "path", "label", *FIGURES, "route", "reason")
CSV, PARQUET = "verdicts.csv", "verdicts.parquet"
FILES = {"csv": CSV, "parquet": PARQUET}
# Parquet's columns: the CSV's, with labels as a list, and what failed items failed of.
TYPES: dict[str, type] = {
    **dict.fromkeys(COLUMNS, str),
    "label": list,
    **{name: float for name in FIGURES if name != "cluster"},
    "failure": str,
}
ROWS = 10_000  # in a row group of Parquet


@contextmanager
def verdict_file(folder: Path, kind: str) -> Iterator[Callable[[Verdict], None]]:
    """A function that writes a verdict into the file in the making. kind: "csv" or "parquet".

    Raises OutputError if pyarrow is missing for Parquet.
    """
    with ExitStack() as stack:
        if kind == "parquet":
            table = stack.enter_context(write_parquet(folder / PARQUET, TYPES))
            rows: list[dict[str, Any]] = []

            def add(verdict: Verdict) -> None:
                rows.append(verdict_row(verdict))
                if len(rows) == ROWS:
                    table(rows)
                    rows.clear()

            yield add
            table(rows)
            return
        file = stack.enter_context((folder / CSV).open("w", encoding="utf-8", errors="backslashreplace", newline=""))
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        yield lambda verdict: writer.writerow(_cells(verdict))


def verdict_row(verdict: Verdict) -> dict[str, Any]:
    """A row of Parquet."""
    row = {name: getattr(verdict, name) for name in TYPES if name != "label"}
    return {**row, "label": list(verdict.labels), "failure": None if verdict.failure is None else str(verdict.failure)}


def read_verdicts(file: Path) -> Iterator[Verdict]:
    """The verdicts in a Parquet file that `verdict_file` made, in order, some at a time. Raises OutputError if it cannot be read."""
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file) as table:
            for batch in table.iter_batches(ROWS):
                for row in batch.to_pylist():
                    labels, failure = tuple(row.pop("label")), row.pop("failure")
                    yield Verdict(**row, labels=labels, failure=None if failure is None else Failure(failure))
    except (OSError, ValueError) as error:
        raise OutputError(f"{file}: cannot be read ({error}); the results were changed, make them again") from error


def _cells(verdict: Verdict) -> list[Any]:
    values = [getattr(verdict, name) for name in FIGURES]
    figures = ["" if value is None else text_cell(value) if isinstance(value, str) else f"{value:.6g}" for value in values]
    labels = "|".join(label.replace("|", "\\|") for label in verdict.labels)
    return [text_cell(verdict.id), text_cell(verdict.path), text_cell(labels), *figures, verdict.route, text_cell(verdict.reason)]
