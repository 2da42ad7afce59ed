"""Concepts that units are held against: masks, as pictures in folders by concept, or labels per item, as columns of a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from annotriage.data.image_folder import BESIDE
from annotriage.errors import DataError
from annotriage.text import name_of

MOST = 100  # concepts of a file: each is compared with every unit
YES, NO = frozenset({"1", "yes", "true", "y"}), frozenset({"0", "no", "false", "n"})


@dataclass(frozen=True)
class Masks:
    """Masks by concept, then by item: the item's id without its ending, or the last part of it.

    An item with a mask of any concept was looked at for all of them.
    """

    files: Mapping[str, Mapping[str, Path]]

    @property
    def names(self) -> tuple[str, ...]:
        """The concepts, in the order of their names."""
        return tuple(self.files)

    def of(self, id: str) -> list[Path | None] | None:
        """The mask of each concept for an item, None where there is none of it; None as a whole if it has no mask at all."""
        whole = PurePosixPath(id).with_suffix("").as_posix() if PurePosixPath(id).name else id
        found = [files.get(whole) or files.get(id) or files.get(PurePosixPath(whole).name) for files in self.files.values()]
        return found if any(found) else None


def open_masks(folder: Path) -> Masks:
    """The masks below a folder: `concept/item.png`, or deeper where the items lie in folders. What is not black is the concept.

    Raises DataError if there are none, or two for one item.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give one with a folder of masks for each concept, as concept/item.png")
    files: dict[str, dict[str, Path]] = {}
    for concept in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        found: dict[str, Path] = {}
        for file in sorted(concept.rglob("*")):
            if not file.is_file() or file.name.startswith(".") or file.suffix.lower() in BESIDE:
                continue
            key = file.relative_to(concept).with_suffix("").as_posix()
            if key in found:
                raise DataError(f"{file}: {found[key].name} is a mask of the same item; leave one of them")
            found[key] = file
        if found:
            files[name_of(concept.name)] = found
    if not files:
        raise DataError(
            f"{folder}: no masks in it; expected are a folder for each concept, and in it a picture for each item: concept/item.png"
        )
    return Masks(files)


@dataclass(frozen=True)
class ConceptLabels:
    """names: the concepts. rows: by id or path of the item, for each concept whether it is there; None where nobody looked."""

    names: tuple[str, ...]
    rows: Mapping[str, tuple[bool | None, ...]]


def open_concepts(file: Path) -> ConceptLabels:
    """Concepts per item from a CSV file: a column `id` or `path`, then one column for each of at most 100 concepts with 1 or 0; empty =
    nobody looked.

    Raises DataError naming row and column if it cannot be read so.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            return read_concepts(stream, str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read as a CSV file in UTF-8 ({error})") from error


def read_concepts(lines: Iterable[str], file: str) -> ConceptLabels:
    """As `open_concepts`, of the lines of a file. file: what errors call it. Raises DataError."""
    try:
        rows = list(csv.reader(lines))
    except csv.Error as error:
        raise DataError(f"{file}: cannot be read as a CSV file in UTF-8 ({error})") from error
    header = [name_of(cell) for cell in rows[0]] if rows else []
    key = next((place for place, name in enumerate(header) if name in ("id", "path")), None)
    columns = [place for place in range(len(header)) if place != key and header[place] not in ("", "id", "path", "label", "group")]
    if key is None or not columns:
        raise DataError(f"{file}: expected are a column id (or path) and one column for each concept, with 1 or 0 for each item")
    if len(columns) > MOST:
        raise DataError(f"{file}: {len(columns):,} concepts are too many; leave at most {MOST} columns beside id, path, label and group")
    found: dict[str, tuple[bool | None, ...]] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not any(row):
            continue
        id = row[key].strip() if key < len(row) else ""
        if not id or id in found:
            raise DataError(f"{file}: row {number} {'names an item for the second time' if id else 'names no item'}; one row per item")
        found[id] = tuple(_cell(row[place] if place < len(row) else "", f"{file}: row {number}, {header[place]!r}") for place in columns)
    if not found:
        raise DataError(f"{file}: no rows below the header; add one row per item")
    return ConceptLabels(tuple(header[place] for place in columns), found)


def _cell(text: str, where: str) -> bool | None:
    plain = text.strip().lower()
    if plain in YES or plain in NO:
        return plain in YES
    if plain:
        raise DataError(f"{where}: {text!r} is none of 1 (there), 0 (not there) and nothing (nobody looked)")
    return None
