"""Datasets as streams of items: from an image folder, a CSV or Parquet manifest, an .npz file, arrays, an object store or a labeling tool.

Nothing here holds a whole dataset: items are read as they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from annotriage.data.arrays import open_arrays
from annotriage.data.csv_manifest import open_manifest
from annotriage.data.image_folder import open_image_folder
from annotriage.data.image_listing import open_listing
from annotriage.data.items import Dataset, Item, Media, Problem
from annotriage.data.npz import open_npz
from annotriage.data.parquet import ENDING as PARQUET
from annotriage.data.parquet import holds_parts, open_parquet
from annotriage.data.readers import installed_readers
from annotriage.errors import DataError
from annotriage.media.object_store import is_stored, listed
from annotriage.settings import ServiceSettings

__all__ = ["Dataset", "Item", "Media", "Problem", "Source", "open_dataset"]

Source = str | Path | Dataset | NDArray[Any] | tuple[NDArray[Any], ArrayLike] | Iterable[Item]


def open_dataset(
    source: Source,
    *,
    name: str | None = None,
    labeling_config: Path | None = None,
    classes: Sequence[str] = (),
    server: ServiceSettings | None = None,
) -> Dataset:
    """A dataset from whatever holds one; nothing but its beginning, its count and its ids is read now.

    source: an image folder, a CSV manifest (.csv, .tsv), a Parquet file or a folder of such parts, an .npz file, or a file of a labeling
    tool, by path; pictures or Parquet in an object store, as "s3://bucket/folder"; a project of a running
    labeling tool, as "label-studio:3"; a Dataset, returned as it is; an array x or a pair (x, y), see `arrays.open_columns`; or Items.
    name: what to call it, by default the file's or folder's name. labeling_config: for a labeling tool's file, which
    field and control to read where there are several, and which choice an alias means. classes: the model's, for labels by
    their names where a choice has several. server: where the labeling tool runs and which hosts and buckets media may be fetched from, by
    default what the environment says.
    Raises DataError saying what is wrong and what is understood, ToolError if the tool's server does not give it.
    """
    if isinstance(source, Dataset):
        return source
    if isinstance(source, str) and not source.strip():
        raise DataError('no dataset was named (an empty path); give its path, "." for the current folder')
    if isinstance(source, str | Path):
        return _open_path(source, name, labeling_config, classes, server)
    if isinstance(source, np.ndarray):
        return open_arrays(source, None, name or "array")
    if isinstance(source, tuple) and len(source) == 2 and isinstance(source[0], np.ndarray):
        return open_arrays(source[0], source[1], name or "array")
    if isinstance(source, Iterable):
        return _open_items(source, name or "items")
    raise DataError(f"a {type(source).__name__} is not a dataset; give a path, an array x, a pair (x, y), or Items")


def _open_path(
    source: str | Path, name: str | None, labeling_config: Path | None, classes: Sequence[str], server: ServiceSettings | None
) -> Dataset:
    if is_stored(str(source)):
        return _open_stored(str(source).rstrip("/"), name, server or ServiceSettings.load())
    path = Path(source)
    try:
        if path.is_dir() and holds_parts(path):
            return open_parquet(str(path), name or path.resolve().name, server or ServiceSettings.load())
        if path.is_dir():
            return open_image_folder(path, name or path.resolve().name)
        exists = path.is_file()
    except (OSError, ValueError) as error:
        raise DataError(f"{str(source)[:300]!r}: not a path that can be read ({error}); check how it is written") from error
    suffix = path.suffix.lower()
    if exists and suffix in (".csv", ".tsv"):
        return open_manifest(path, name or path.stem, classes, server)
    if exists and suffix == PARQUET:
        return open_parquet(str(path), name or path.stem, server or ServiceSettings.load())
    if exists and suffix == ".npz":
        return open_npz(path, name or path.stem)
    tools = installed_readers()
    for reader in tools.values():
        dataset = reader.read(str(source), labeling_config, classes, server)
        if dataset is not None:
            return dataset if name is None else replace(dataset, name=name)
    what = "not a kind of dataset that is known here" if exists else "no such file or folder"
    raise DataError(
        f"{source}: {what}. Understood are: a folder of images (class/name.png, or flat when unlabelled); a CSV manifest"
        " (.csv, .tsv) with a column path; Parquet (.parquet, or a folder of such parts) with path, image or x; an .npz file with x and"
        " optionally y; pictures or Parquet in an object store, as s3://bucket/folder; files of the labeling tools installed"
        f" ({', '.join(tools) or 'none'}); their projects on a running server, as label-studio:3"
    )


def _open_stored(address: str, name: str | None, settings: ServiceSettings) -> Dataset:
    """Parquet in an object store, or pictures."""
    called = name or address.rpartition("/")[2]
    if any(path.endswith(PARQUET) or (not path and address.endswith(PARQUET)) for path, _ in listed(address)):
        return open_parquet(address, called, settings)
    return open_listing(address, called, settings)


def _open_items(source: Iterable[Item], name: str) -> Dataset:
    """Items in memory, or an iterator of them, which can be read only once."""
    readings = iter([source]) if isinstance(source, Iterator) else None

    def read() -> Iterator[Item]:
        items = source if readings is None else next(readings, None)
        if items is None:
            raise DataError(f"{name}: these items came from an iterator and have been read; give a list to read them again")
        for item in items:
            if not isinstance(item, Item):
                raise DataError(f"{name}: a {type(item).__name__} among the items; each must be an annotriage.data.Item")
            yield item

    count = len(source) if isinstance(source, Sized) else None
    if count == 0:
        raise DataError(f"{name}: no items; give at least one")
    return Dataset(name, count, read)
