"""Datasets from pictures in an object store: everything below an address, `class/name.png` or flat, as in a folder on this machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from annotriage.data.image_folder import BESIDE
from annotriage.data.items import Dataset, Item, Problem
from annotriage.data.remote_media import MediaReader, ahead
from annotriage.errors import DataError, MediaError
from annotriage.media.object_store import listed
from annotriage.settings import ServiceSettings
from annotriage.text import storable


@dataclass(frozen=True)
class Listing:
    """What is below an address. paths: relative to it, sorted. Plain values alone: another machine reads from where one listed."""

    place: str
    paths: tuple[str, ...]
    settings: ServiceSettings

    def between(self, start: int, stop: int) -> Iterator[Item]:
        """The items from one place up to another."""
        reader = MediaReader(self.settings, f"{self.place}/")
        for path, found in ahead(self.paths[start:stop], lambda path: f"{self.place}/{path}", reader):
            id, address = storable(path), f"{self.place}/{path}"
            item = Item(id, None, (id.split("/")[0],) if "/" in id else None, path=address)
            if isinstance(found, MediaError):
                yield replace(item, problem=Problem(found.failure, str(found)))
            else:
                yield replace(item, media=found)


def open_listing(place: str, name: str, settings: ServiceSettings) -> Dataset:
    """The pictures below an address in an object store; id = the path relative to it. Lists all once; reads none.

    Raises DataError if none is there, or it cannot be listed.
    """
    left_out: Counter[str] = Counter()
    paths = []
    for path, _ in listed(place):
        stem, dot, end = path.rpartition("/")[2].rpartition(".")
        if path.rpartition("/")[2].startswith("."):
            left_out["hidden"] += 1
        elif stem and f"{dot}{end.lower()}" in BESIDE:
            left_out[f".{end.lower()}"] += 1
        else:
            paths.append(path)
    if not any(paths):
        found = f"; found only {', '.join(f'{kind}: {n}' for kind, n in left_out.most_common(8))}" if left_out else ""
        raise DataError(f"{place}: no pictures below it{found}. Expected class/name.png, or pictures directly in it, or Parquet files")
    listing = Listing(place, tuple(paths), settings)
    notes = (f"{place}: left out {', '.join(f'{kind}: {n}' for kind, n in left_out.most_common(8))}",) if left_out else ()
    return Dataset(name, len(paths), lambda: listing.between(0, len(paths)), notes, listing.between)
