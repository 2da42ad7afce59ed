"""Datasets from a CSV manifest: a header with `path` and optionally `label`, `id`, `group`, then one row per item.

A bad row becomes an item that says what is wrong with it; a bad file is refused when it is opened.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

from annotriage.data.items import Dataset, Item, Media, Problem
from annotriage.data.remote_media import MediaReader, ahead
from annotriage.data.unique_ids import mark_repeats, repeated_ids
from annotriage.errors import DataError, MediaError
from annotriage.media.data_uri import is_data_uri
from annotriage.settings import ServiceSettings
from annotriage.states import Failure
from annotriage.text import name_of

COLUMNS = ("path", "label", "id", "group")
LONGEST_FIELD = 64 * 2**20  # room for a picture in a data: URI; a quote that is never closed is found here
LONGEST_HEADER = 2**16

_BAR = re.compile(r"(?<!\\)\|")


def open_manifest(manifest: Path, name: str, classes: Sequence[str] = (), settings: ServiceSettings | None = None) -> Dataset:
    """The items of a CSV manifest, in the file's order.

    UTF-8 with or without a byte order mark; separated by comma, semicolon or tab, as the header shows. Paths are
    relative to the manifest's folder. Several labels are separated by `|`, a bar within a name is written `\\|`; a cell that is one of
    the model's `classes` is that class. An empty cell means unlabelled, and `|` alone that none of the classes applies. Without an id
    the path is the id. Addresses are fetched from the hosts and buckets that the `settings` allow, by default the environment's. Reads the
    file once to count its rows and to find repeated ids.
    Raises DataError if the file cannot be read, is not UTF-8, has no column `path` or no rows.
    """
    header = _read_header(manifest)
    count, repeats = repeated_ids((row.line, row.id) for row in _rows(manifest, header))
    if not count:
        raise DataError(f"{manifest}: no rows below the header; add one row per item")
    unused = [column for column in header.columns if column not in COLUMNS]
    notes = (f"{manifest}: columns that are not used: {', '.join(map(repr, unused))}",) if unused else ()

    def part(start: int, stop: int) -> Iterator[Item]:
        reader = MediaReader(settings or ServiceSettings.load(), str(manifest))
        wanted = islice(_rows(manifest, header), start, stop)
        rows = ahead(wanted, lambda row: None if row.problem else row.path, reader)
        items = ((row.line, _item(row, found, manifest, classes)) for row, found in rows)
        return mark_repeats(items, repeats, f"{manifest}: row")

    return Dataset(name, count, lambda: part(0, count), notes, part)


@dataclass(frozen=True)
class _Header:
    columns: tuple[str, ...]
    delimiter: str


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    id: str
    path: str = ""
    label: str = ""
    group: str = ""
    problem: str | None = None


def _read_header(manifest: Path) -> _Header:
    with _reading(manifest) as file:
        line = file.readline(LONGEST_HEADER)
        readings = [_Header(_column_names(line, delimiter), delimiter) for delimiter in ",;\t"]
    header = max(readings, key=lambda header: ("path" in header.columns, len(header.columns)))
    found = ", ".join(map(repr, header.columns)) or "nothing"
    if "path" not in header.columns:
        raise DataError(
            f"{manifest}: the first line names {found[:300]}; it must name a column 'path', and may name"
            f" {', '.join(map(repr, COLUMNS[1:]))}, separated by comma, semicolon or tab"
        )
    twice = [column for column in COLUMNS if header.columns.count(column) > 1]
    if twice:
        raise DataError(f"{manifest}: the first line names {twice[0]!r} more than once ({found[:300]}); keep one")
    return header


def _column_names(line: str, delimiter: str) -> tuple[str, ...]:
    return tuple(column.strip().lower() for column in next(csv.reader([line], delimiter=delimiter), []))


def _rows(manifest: Path, header: _Header) -> Iterator[_Row]:
    """The rows below the header, empty ones left out; `line` is the first line of the row as an editor counts."""
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_FIELD))
    with _reading(manifest) as file:
        reader = csv.reader(file, delimiter=header.delimiter)
        next(reader)
        line = reader.line_num + 1
        for values in reader:
            if any(value.strip() for value in values):
                yield _row(values, header, line)
            line = reader.line_num + 1


def _row(values: Sequence[str], header: _Header, line: int) -> _Row:
    row = {column: value.strip() for column, value in zip(header.columns, values, strict=False) if column in COLUMNS}
    path = row.get("path", "")
    id = row.get("id") or (f"row-{line}" if is_data_uri(path) else path) or f"row-{line}"
    row |= {"path": path, "id": id}
    if len(values) < len(header.columns):
        problem = f"has {len(values)} columns where the header has {len(header.columns)}; add the missing ones, empty if need be"
    elif any(values[len(header.columns) :]):
        problem = f"has {len(values)} columns where the header has {len(header.columns)}; put values with {header.delimiter!r} in quotes"
    elif not path:
        problem = "the column 'path' is empty; name the item's file"
    else:
        return _Row(line, **row)
    return _Row(line, **row, problem=problem)


def _item(row: _Row, found: Media | MediaError | None, manifest: Path, classes: Sequence[str]) -> Item:
    failure, problem = (found.failure, str(found)) if isinstance(found, MediaError) else (Failure.ADDRESS, row.problem)
    media = None if isinstance(found, MediaError) else found
    path = f"{manifest.name} row {row.line}" if is_data_uri(row.path) else row.path
    return Item(
        row.id,
        media,
        labels=_labels(row.label, classes) if row.label else None,
        group=row.group or None,
        path=str(media) if isinstance(media, Path) else path,
        problem=Problem(failure, f"{manifest}: row {row.line}: {problem}") if problem else None,
    )


def _labels(cell: str, classes: Sequence[str]) -> tuple[str, ...]:
    if name_of(cell) in classes:
        return (cell,)
    return tuple(label.replace("\\|", "|").strip() for label in _BAR.split(cell) if label.strip())


@contextmanager
def _reading(manifest: Path) -> Iterator[TextIO]:
    """The open manifest; what goes wrong while reading becomes a DataError with the fix."""
    try:
        with manifest.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except OSError as error:
        raise DataError(f"{manifest}: cannot be read ({error.strerror}); check the path and your right to read it") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{manifest}: not UTF-8 ({error.reason}); save it as 'CSV UTF-8'") from error
    except csv.Error as error:
        raise DataError(f"{manifest}: not valid CSV ({error}); look for a quote that is opened and not closed") from error
