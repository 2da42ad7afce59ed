"""Text in the CSV files that people open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # at the beginning of a text, spreadsheets calculate

Cell = str | int | float | None


def text_cell(text: str) -> str:
    """Text from data, with a quote in front where a spreadsheet would take it for a formula and run it."""
    return f"'{text}" if text.startswith(FORMULA) else text


def plain_text(cell: str) -> str:
    """The text of which `text_cell` made this cell."""
    return cell[1:] if cell[:1] == "'" and text_cell(cell[1:]) == cell else cell


def csv_lines(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    """A CSV file line by line: texts as `text_cell` has them, numbers to six digits, nothing for None."""
    line = io.StringIO()
    writer = csv.writer(line)
    for row in itertools.chain([columns], rows):
        writer.writerow([_cell(value) for value in row])
        yield line.getvalue()
        line.seek(0)
        line.truncate()


def _cell(value: Cell) -> str | int:
    if isinstance(value, str):
        return text_cell(value)
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else value
