"""Tables as files for other programs: CSV, JSON Lines and Parquet, written while their rows are read, whole or not at all."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from annotriage.errors import OutputError
from annotriage.report.csv_cells import text_cell

Row = Mapping[str, Any]  # plain values by column; lists of texts
JOINT = " + "  # between the texts of a list in a CSV's cell
ENDINGS = (".csv", ".jsonl", ".parquet")


def write_table(file: Path, columns: Mapping[str, type], pages: Iterable[Sequence[Row]], *, replace: bool = False) -> int:
    """Write rows into a file whose ending says how; how many there were.

    columns: their names in order, each with its type: str, float, bool, or list for texts. pages: some rows at a time; no more than one of
    them is held in memory. Raises OutputError if the file is there already or cannot be written, or its ending is unknown.
    """
    if file.suffix not in ENDINGS:
        raise OutputError(f"{file}: its ending says how it is written; choose one of {', '.join(ENDINGS)}")
    if file.exists() and not replace:
        raise OutputError(f"{file}: exists already; choose another name, or pass --replace")
    partial = file.with_name(f".{file.name}.{uuid4().hex}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".parquet":
            with write_parquet(partial, columns) as write:
                count = 0
                for rows in pages:
                    write(rows)
                    count += len(rows)
        else:
            lines = csv_texts if file.suffix == ".csv" else json_lines
            with partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
                count = _write_text(stream, lambda counted: lines(list(columns), counted), pages)
        partial.replace(file)
    except OSError as error:
        raise OutputError(f"{file}: cannot be written ({error.strerror or error}); is there room, and may you write there?") from error
    finally:
        with suppress(OSError):
            partial.unlink()
    return count


def csv_texts(columns: Sequence[str], pages: Iterable[Sequence[Row]]) -> Iterator[str]:
    """The text of a CSV, page after page; what a spreadsheet would take for a formula has a quote in front."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for rows in pages:
        writer.writerows([_cell(row[name]) for name in columns] for row in rows)
        yield text.getvalue()
        text.seek(0)
        text.truncate()


def json_lines(columns: Sequence[str], pages: Iterable[Sequence[Row]]) -> Iterator[str]:
    """A line of JSON per row, page after page."""
    for rows in pages:
        yield "".join(json.dumps({name: row[name] for name in columns}, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


def _write_text(stream: IO[str], texts: Callable[[Iterable[Sequence[Row]]], Iterator[str]], pages: Iterable[Sequence[Row]]) -> int:
    count = 0

    def counted() -> Iterator[Sequence[Row]]:
        nonlocal count
        for rows in pages:
            count += len(rows)
            yield rows

    for text in texts(counted()):
        stream.write(text)
    return count


@contextmanager
def write_parquet(file: Path, columns: Mapping[str, type]) -> Iterator[Callable[[Sequence[Row]], None]]:
    """A function that writes rows into a Parquet file in the making. columns: as of `write_table`. Raises OutputError without pyarrow."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise OutputError(f'{file.name}: needs pyarrow; pip install "annotriage[parquet]", or choose another kind of file') from error
    kinds = {
        str: pyarrow.string(),
        float: pyarrow.float64(),
        int: pyarrow.int64(),
        bool: pyarrow.bool_(),
        list: pyarrow.list_(pyarrow.string()),
    }
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        yield lambda rows: writer.write_table(pyarrow.Table.from_pylist([dict(row) for row in rows], schema=schema))


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return text_cell(JOINT.join(value))
    return text_cell(value) if isinstance(value, str) else value
