"""Datasets from a folder of images: `class/name.png`, the first folder being the label, or flat when unlabelled.

A folder of any length is read in flat memory: its names are taken in order, a fixed number at a time.
"""

from __future__ import annotations

import heapq
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from annotriage.data.items import Dataset, Item
from annotriage.errors import DataError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
NAMES_HELD = 20_000  # about 3 MB; a longer folder is listed once more for each further 20,000 names, 0.1 s per 100,000

_Listing = Callable[[str], Iterator[str]]


def open_image_folder(folder: Path, name: str) -> Dataset:
    """The images below a folder, sorted by path; id = the path relative to the folder.

    Lists the folder once to count, so the dataset's `notes` say at once what is left out (files that are not images,
    hidden ones, links that lead back). Raises DataError if it holds no image or cannot be listed.
    """
    left_out: Counter[str] = Counter()
    count = sum(1 for _ in _image_paths(folder, _names, left_out))
    if not count:
        found = f"; found only {_counted(left_out)}" if left_out else ""
        raise DataError(
            f"{folder}: no images in this folder{found}. Expected class/name.png, or images directly in it, with one of the"
            f" extensions {' '.join(EXTENSIONS)}"
        )
    notes = (f"{folder}: left out {_counted(left_out)}",) if left_out else ()
    return Dataset(name, count, lambda: _read(folder), notes)


def _read(folder: Path) -> Iterator[Item]:
    for path in _image_paths(folder, _names_in_order, Counter()):
        file = folder / path
        id = _text(path)
        label = (id.split("/")[0],) if "/" in id.rstrip("/") else None
        if path.endswith("/"):
            problem = f"{_text(str(file))}: this folder cannot be listed, its images are missing; give yourself the right to read it"
        elif not file.is_file():
            problem = f"{_text(str(file))}: not a file (a broken link or a device); remove it or mend the link"
        else:
            yield Item(id, file, label, path=_text(str(file)))
            continue
        yield Item(id, None, label, path=_text(str(file)), problem=problem)


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
        elif _extension(name) in EXTENSIONS:
            yield above + name
        else:
            left_out[_extension(name) or "no extension"] += 1


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
            yield entry.name + "/" if entry.is_dir() else entry.name


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


def _text(path: str) -> str:
    """The path as text that every file format can hold: bytes that are not UTF-8 are written as \\udc.. escapes."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")


def _counted(left_out: Counter[str]) -> str:
    total = left_out.total()
    return f"{total} {'entry' if total == 1 else 'entries'} ({', '.join(f'{kind}: {n}' for kind, n in left_out.most_common(8))})"
