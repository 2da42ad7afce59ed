"""Ids used twice: found when a dataset is opened, so that reading it needs no memory of the ids it has met."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from annotriage.data.items import Item, Problem
from annotriage.states import Failure


def repeated_ids(ids: Iterable[tuple[int, str]]) -> tuple[int, dict[int, int]]:
    """How many ids there are, and for each row whose id was used before, the row of its first use.

    ids: (row, id). Takes 33 bytes per id while it works, whatever the ids' length: it compares 64-bit hashes, so two
    different ids among a million are taken for one with a chance of 3 in 100 million.
    """
    row_list, hash_list = array("q"), array("q")
    for row, id in ids:
        row_list.append(row)
        hash_list.append(hash(id))
    rows, hashes = np.asarray(row_list), np.asarray(hash_list)
    order = np.argsort(hashes, kind="stable")
    hashes = hashes[order]
    again = np.flatnonzero(hashes[1:] == hashes[:-1]) + 1
    firsts = np.searchsorted(hashes, hashes[again])
    return len(rows), dict(zip(rows[order[again]].tolist(), rows[order[firsts]].tolist(), strict=True))


def mark_repeats(items: Iterable[tuple[int, Item]], repeats: Mapping[int, int], where: str) -> Iterator[Item]:
    """The items, those whose id was used before turned into problems. where: file and kind of row, "items.csv: row"."""
    for row, item in items:
        if row in repeats:
            found = f"{where} {row}: id {item.id!r} was used in {where.split(': ')[-1]} {repeats[row]} already; ids must be unique"
            yield replace(item, media=None, problem=Problem(Failure.REPEATED, found))
        else:
            yield item
