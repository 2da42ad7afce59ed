"""Datasets from a folder of images: `class/name.png`, the first folder being the label, or flat when unlabelled.

Every file is an item, whatever its ending: what cannot be read as a picture fails by itself. Only hidden files are left out, and kinds
that lie beside pictures and are none. A folder of any length is read in flat memory: its names are taken in order, some at a time.
"""

from __future__ import annotations

import heapq
import os
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from annotriage.data.items import Dataset, Item, Problem
from annotriage.errors import DataError
from annotriage.states import Failure
from annotriage.text import storable

BESIDE = frozenset(  # endings of notes, tables, scripts, archives, models and what systems leave
    (
        *(".txt", ".md", ".rst", ".log", ".csv", ".tsv", ".xls", ".xlsx", ".parquet", ".json", ".jsonl", ".ndjson", ".xml", ".html"),
        *(".htm", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".py", ".ipynb", ".sh", ".zip", ".tar", ".gz", ".db", ".sqlite", ".lnk"),
        *(".url", ".npy", ".npz", ".onnx", ".onnx_data", ".pt", ".pt2", ".pth", ".safetensors"),
    )
)
NAMES_HELD = 20_000  # about 3 MB; a longer folder is listed once more for each further 20,000 names, 0.1 s per 100,000

_Listing = Callable[[str], Iterator[str]]


def open_image_folder(folder: Path, name: str) -> Dataset:
    """The images below a folder, sorted by path; id = the path relative to the folder.

    Lists the folder once to count, so the dataset's `notes` say at once what is left out (files of the kinds in BESIDE, hidden ones,
    links that lead back). Raises DataError if nothing is left or it cannot be listed.
    """
    left_out: Counter[str] = Counter()
    count = sum(1 for _ in _image_paths(folder, _names, left_out))
    if not count:
        found = f"; found only {_counted(left_out)}" if left_out else ""
        raise DataError(
            f"{folder}: no images in this folder{found}. Expected class/name.png, or images directly in it, whatever their ending"
        )
    notes = (f"{folder}: left out {_counted(left_out)}",) if left_out else ()
    return Dataset(name, count, lambda: _read(folder), notes, lambda start, stop: _read(folder, start, stop))


def _read(folder: Path, start: int = 0, stop: int | None = None) -> Iterator[Item]:
    for path in islice(_image_paths(folder, _names_in_order, Counter()), start, stop):
        file = folder / path
        id = storable(path)
        label = (id.split("/")[0],) if "/" in id.rstrip("/") else None
        if path.endswith("/"):
            found = f"{file}: this folder cannot be listed, its images are missing; give yourself the right to read it"
            problem = Problem(Failure.REFUSED, found)
        elif not file.is_file():
            problem = Problem(Failure.GONE, f"{file}: not a file (a broken link or a device); remove it or mend the link")
        else:
            yield Item(id, file, label, path=str(file))
            continue
        yield Item(id, None, label, path=str(file), problem=problem)


def _image_paths(folder: Path, listing: _Listing, left_out: Counter[str]) -> Iterator[str]:
    """Paths of images relative to the folder; one of a sub-folder that cannot be listed ends with a slash."""
    levels = [("", _listed(folder, "", listing), _identity(folder))]
    while levels:
        above, names, _ = levels[-1]
        name = next(names, None)
        if name is None:
            levels.pop()
        elif name.startswith("."):
            left_out["hidden"] += 1
        elif name.endswith("/"):
            identity = _identity(folder / above / name)
            if identity in (seen for _, _, seen in levels):
                left_out["a link back to a folder above"] += 1
            else:
                levels.append((above + name, _listed(folder, above + name, listing), identity))
        elif name == _UNLISTED:
            yield above
        elif _extension(name) in BESIDE:
            left_out[_extension(name)] += 1
        else:
            yield above + name


_UNLISTED = ""  # no file has an empty name


def _listed(folder: Path, below: str, listing: _Listing) -> Iterator[str]:
    try:
        yield from listing(f"{folder}/{below}")
    except OSError as error:
        if not below:
            raise DataError(f"{folder}: cannot be listed ({error.strerror}); check the path and your right to read it") from error
        yield _UNLISTED


def _names(folder: str) -> Iterator[str]:
    """The names in a folder as the file system gives them; those of folders end with a slash."""
    with os.scandir(folder) as entries:
        for entry in entries:
            yield entry.name + "/" if _is_folder(entry) else entry.name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself: what is behind it is asked of the item
        return False


def _names_in_order(folder: str) -> Iterator[str]:
    last = ""
    while True:
        names = heapq.nsmallest(NAMES_HELD, (name for name in _names(folder) if name > last))
        yield from names
        if len(names) < NAMES_HELD:
            return
        last = names[-1]


def _extension(name: str) -> str:
    stem, dot, end = name.rpartition(".")
    return dot + end.lower() if stem else ""


def _identity(folder: Path) -> tuple[int, int]:
    try:
        status = folder.stat()
    except OSError:
        return (-1, -1)
    return status.st_dev, status.st_ino


def _counted(left_out: Counter[str]) -> str:
    total = left_out.total()
    return f"{total} {'entry' if total == 1 else 'entries'} ({', '.join(f'{kind}: {n}' for kind, n in left_out.most_common(8))})"
