"""Datasets from Parquet: a file, or a folder of parts as Spark, Ray and Hugging Face write them, here or in an object store.

A part that cannot be read, or whose columns are of other types than the first one's, becomes an item that says so; the others go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from annotriage.data.items import Dataset, Item, Media, Problem
from annotriage.data.remote_media import MediaReader, ahead, beside
from annotriage.data.unique_ids import mark_repeats, repeated_ids
from annotriage.errors import DataError, MediaError
from annotriage.media.object_store import addresses, is_stored, listed, opened
from annotriage.settings import ServiceSettings
from annotriage.states import Failure

ENDING = ".parquet"
MEDIA = ("path", "image", "x")
COLUMNS = (*MEDIA, "label", "id", "group")
ROWS_AT_ONCE = 256  # pictures may lie in the rows


@dataclass(frozen=True)
class Part:
    """One file. rows: in each of its row groups; for a part that cannot be read `problem` says why, and it counts as one row."""

    file: str
    rows: tuple[int, ...]
    problem: str | None = None

    @property
    def count(self) -> int:
        """The items that it gives."""
        return 1 if self.problem else sum(self.rows)


@dataclass(frozen=True)
class Manifest:
    """Parts in order, and which of their columns are read. media: the column that holds or names the media. Plain values alone: another
    process or machine reads from where one opened it."""

    place: str
    parts: tuple[Part, ...]
    media: str
    columns: tuple[str, ...]
    repeats: Mapping[int, int]
    settings: ServiceSettings

    @property
    def count(self) -> int:
        """All items."""
        return sum(part.count for part in self.parts)

    def between(self, start: int, stop: int) -> Iterator[Item]:
        """The items from one place up to another; only the row groups that hold them are read."""
        reader = MediaReader(self.settings, self.parts[0].file)
        rows = self._rows(start, stop)
        where = f"{self.place}: row"
        if self.media == "path":
            return mark_repeats((_named(row, found) for row, found in ahead(rows, lambda row: row.written, reader)), self.repeats, where)
        return mark_repeats(((row.number, row.item) for row in rows), self.repeats, where)

    def _rows(self, start: int, stop: int) -> Iterator[_Row]:
        first = 0
        for part in self.parts:
            if first < stop and first + part.count > start:
                yield from self._of_part(part, first, max(start - first, 0), min(stop - first, part.count))
            first += part.count

    def _of_part(self, part: Part, first: int, start: int, stop: int) -> Iterator[_Row]:
        """The rows of a part from `start` up to `stop`, counted from its beginning; `first` is the place of its first row in all."""
        if part.problem:
            yield _Row(first, Item(part.file, None, path=part.file, problem=Problem(Failure.UNREADABLE, part.problem)))
            return
        end = 0
        for group, rows in enumerate(part.rows):
            begin, end = end, end + rows
            if begin < stop and end > start:
                yield from self._of_group(part.file, group, first, begin, range(max(begin, start), min(end, stop)))

    def _of_group(self, path: str, group: int, first: int, begin: int, wanted: range) -> Iterator[_Row]:
        """The wanted rows of a row group whose first row is `begin`; what cannot be read of it fails, the other groups go on."""
        name, place = path.rpartition("/")[2], begin
        try:
            with _file(path) as file:
                for batch in file.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=list(self.columns)):
                    for values in batch.to_pylist():
                        if place in wanted:
                            found = _Row.of(values, self.media, first + place, f"{name}:{place}", f"{path} row {place}")
                            yield found if found.written is None else replace(found, written=beside(path, found.written))
                        place += 1
        except (OSError, ValueError) as error:
            told = f"{path}: damaged in rows {place} to {wanted.stop - 1} ({_said(error)}); write this part again"
            for row in range(max(place, wanted.start), wanted.stop):
                item = Item(f"{name}:{row}", None, path=f"{path} row {row}", problem=Problem(Failure.UNREADABLE, told))
                yield _Row(first + row, item)


@dataclass(frozen=True, slots=True)
class _Row:
    """number: its place in all parts. written: the cell that names its media, where that is another file."""

    number: int
    item: Item
    written: str | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any], media: str, number: int, name: str, path: str) -> _Row:
        """A row from its cells. name: its id where the column `id` names none."""
        cell = values[media]
        labels, group = _labels(values.get("label")), values.get("group")
        given = values.get("id")
        id = str(given) if given not in (None, "") else (cell if media == "path" and cell and not cell.startswith("data:") else name)
        item = Item(id, None, labels, None if group in (None, "") else str(group), path=path)
        try:
            if media == "path":
                if not cell:
                    raise MediaError(Failure.ADDRESS, "the column 'path' is empty; name the item's file")
                return cls(number, item, cell)
            return cls(number, replace(item, media=_held(cell, media)))
        except MediaError as error:
            return cls(number, replace(item, problem=Problem(error.failure, f"{path}: {error}")))


def open_parquet(place: str, name: str, settings: ServiceSettings) -> Dataset:
    """The items of a Parquet file or of all parts below a folder, sorted by name. place: a path, or an address in an object store.

    Columns: `path`, which names a file as in a CSV manifest; or `image`, a picture's bytes (or Hugging Face's pair of bytes and path); or
    `x`, rows of numbers or of pixels. And optionally `label` (a class name, an index from 0 with -1 for none, or a list for several), `id`,
    `group`. Without an id it is the path, else "part:row". Reads the ends of all parts and the ids, to count and to find repeated ones.
    Raises DataError if pyarrow is missing, nothing can be read, or no column holds media.
    """
    files = _files(place)
    first: Any = None
    parts: list[Part] = []
    for path in files:
        try:
            with _file(path) as file:
                schema = file.schema_arrow
                rows = tuple(file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups))
        except (OSError, ValueError) as error:
            parts.append(Part(path, (), f"{path}: cannot be read as Parquet ({_said(error)}), its items are missing; write it again"))
            continue
        first = schema if first is None else first
        parts.append(Part(path, rows, _differs(path, schema, first)))
    if first is None:
        raise DataError(parts[0].problem or f"{place}: no Parquet file can be read")
    media = next((column for column in MEDIA if column in first.names), None)
    if media is None:
        raise DataError(
            f"{place}: has the columns {', '.join(map(repr, first.names))[:300]}; one must be 'path' (the file of each item), 'image' (its"
            " bytes) or 'x' (numbers)"
        )
    if media == "path" and not _is_text(first.field("path").type):
        raise DataError(f"{place}: its column 'path' is of type {first.field('path').type}; it must be text, the file of each item")
    columns = tuple(column for column in (media, "label", "id", "group") if column in first.names)
    manifest = Manifest(place, tuple(part for part in parts if part.count), media, columns, {}, settings)
    if not manifest.count:
        raise DataError(f"{place}: no rows; add one row per item")
    if named := next((column for column in ("id", "path") if column in columns), None):
        _, repeats = repeated_ids(_ids(manifest, named))
        manifest = replace(manifest, repeats=repeats)
    unused = [column for column in first.names if column not in columns]
    notes = [f"{place}: columns that are not used: {', '.join(map(repr, unused))}"] if unused else []
    notes += [part.problem for part in parts if part.problem]
    return Dataset(name, manifest.count, lambda: manifest.between(0, manifest.count), tuple(notes), manifest.between)


def holds_parts(folder: Path) -> bool:
    """Whether a folder holds Parquet parts and nothing else that is meant: names that begin with _ or . are marks of who wrote them."""
    names = [path.name for path in folder.iterdir() if not path.name.startswith(("_", "."))]
    return bool(names) and all(name.endswith(ENDING) for name in names)


def _files(place: str) -> list[str]:
    if is_stored(place):
        paths = [path for path, _ in listed(place) if path.endswith(ENDING) or not path]
        return list(addresses(place, paths))
    path = Path(place)
    return [str(path)] if path.is_file() else [str(file) for file in sorted(path.glob(f"*{ENDING}")) if file.name[0] not in "_."]


def _file(path: str) -> Any:
    """The open file. Raises OSError or ValueError (pyarrow's errors) if it is damaged, DataError without pyarrow."""
    try:
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise DataError(f'{path}: needs pyarrow; pip install "annotriage[parquet]", or write the manifest as CSV') from error
    if is_stored(path):
        system, inside = opened(path)
        return parquet.ParquetFile(inside, filesystem=system)
    return parquet.ParquetFile(path)


def _differs(path: str, schema: Any, first: Any) -> str | None:
    """What is wrong with a part whose columns are not those of the first one."""
    for column in COLUMNS:
        if (column in schema.names) != (column in first.names):
            has, lacks = ("has", "lack") if column in schema.names else ("lacks", "have")
            return f"{path}: {has} the column {column!r}, which the parts before {lacks}; write all parts with the same columns"
        if column in schema.names and schema.field(column).type != first.field(column).type:
            return (
                f"{path}: its column {column!r} is of type {schema.field(column).type}, in the parts before of {first.field(column).type};"
                " write all parts with the same types"
            )
    return None


def _ids(manifest: Manifest, column: str) -> Iterator[tuple[int, str]]:
    """The ids that the rows name, with their places; a damaged part's are left out, as are rows without one."""
    first = 0
    for part in manifest.parts:
        if not part.problem:
            place = first
            try:
                with _file(part.file) as file:
                    for batch in file.iter_batches(2**16, columns=[column]):
                        for value in batch.column(0).to_pylist():
                            if value not in (None, "") and not str(value).startswith("data:"):
                                yield place, str(value)
                            place += 1
            except (OSError, ValueError):
                pass  # said when the part is read
        first += part.count


def _named(row: _Row, found: Media | MediaError | None) -> tuple[int, Item]:
    """An item with the media that its row names."""
    if isinstance(found, MediaError):
        return row.number, replace(row.item, problem=Problem(found.failure, f"{row.item.path}: {found}"))
    path = str(found) if isinstance(found, Path) else row.item.path
    return row.number, row.item if found is None else replace(row.item, media=found, path=path)


def _held(cell: Any, column: str) -> Media:
    """The media in a cell of `image` or `x`. Raises MediaError if there are none."""
    if column == "image":
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(content, bytes) or not content:
            raise MediaError(Failure.UNREADABLE, "the column 'image' holds no bytes; put the picture into it, or its path into 'path'")
        return content
    try:
        values = np.array(cell)
    except ValueError:
        values = np.empty(0)
    if values.size == 0 or values.dtype.kind not in "biuf":
        raise MediaError(Failure.UNREADABLE, "the column 'x' holds no row of numbers, or lists of unequal lengths")
    if values.ndim > 1 and values.dtype.kind in "iu" and values.min() >= 0 and values.max() <= 255:
        return values.astype(np.uint8)
    return values.astype(np.float32) if values.ndim == 1 or values.dtype.kind == "f" else values


def _labels(cell: Any) -> tuple[str | int, ...] | None:
    if cell is None or cell == "":
        return None
    if isinstance(cell, list):
        return tuple(value for value in cell if value is not None)
    if isinstance(cell, float):  # whole numbers with gaps, as pandas writes them
        if cell != cell:
            return None
        cell = int(cell) if cell.is_integer() else str(cell)
    if isinstance(cell, int):
        return (cell,) if cell >= 0 else None
    return (str(cell),)


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _said(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:300]
