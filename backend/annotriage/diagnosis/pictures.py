"""What an answer shows, as numbers with their names; drawing them is the report's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Bars:
    """Values side by side. rows: (r,) names. series: names of the s bars of each row. values: (r, s), NaN where not known."""

    title: str
    rows: tuple[str, ...]
    series: tuple[str, ...]
    values: Array


@dataclass(frozen=True)
class Heat:
    """A table of values as colours. values: (r, c), NaN where not known. axis: what the columns are."""

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: Array
    axis: str = ""


@dataclass(frozen=True)
class Lines:
    """Values over places in order. places: (p,) names. series: (s,) names of the lines. values: (s, p), NaN where not known."""

    title: str
    places: tuple[str, ...]
    series: tuple[str, ...]
    values: Array


Picture = Bars | Heat | Lines
