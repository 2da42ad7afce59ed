"""How datasets stand: their counts, how foreign they are and got so, what to do about them; and time windows, which are queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from annotriage.service.readings.times import Time, time_text
from annotriage.store import browsing
from annotriage.store.browsing import RouteCount
from annotriage.store.database import AnyRow
from annotriage.store.projects import Project


@dataclass(frozen=True, slots=True)
class DatasetName:
    """A dataset, by its id, kind and name."""

    dataset: int
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class DatasetLine:
    """A dataset of a project. kind: all, batch (an import), field (a value of a data field) or pushed."""

    dataset: int
    kind: str
    name: str
    first_at: Time
    last_at: Time
    items: int
    open: int
    routes: tuple[RouteCount, ...]


@dataclass(frozen=True, slots=True)
class DiversityLine:
    """How foreign a dataset was at a time. share: of outliers among its `items` that could be scored; low, high: its limits."""

    at: Time
    items: int
    outliers: int
    failed: int
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class DatasetDiversity:
    """A dataset's diversity score. sentence: it in words; facts: all figures of it; groups: of outliers that lie close together."""

    dataset: DatasetName
    latest: DiversityLine
    sentence: str
    facts: dict[str, Any]
    groups: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do about a dataset. questions: train, deploy, augmentation, annotate, each with answer, headline and reason."""

    dataset: DatasetName
    at: Time
    questions: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Window:
    """The items judged from `start` until before `end`. share: of outliers among those that could be scored; low, high: its 95 % limits,
    counted by item, whatever groups they belong to. Null where nothing was scored."""

    start: Time
    end: Time
    items: int
    routes: tuple[RouteCount, ...]
    share: float | None
    low: float | None
    high: float | None


def dataset_name(row: AnyRow) -> DatasetName:
    """A row of `dataset`: its id, kind and name."""
    return DatasetName(row.id, row.kind, row.name)


def dataset_line(row: AnyRow, counts: Sequence[RouteCount]) -> DatasetLine:
    """A row of `dataset` with its counts."""
    items, open_ = sum(count.items for count in counts), sum(count.open for count in counts)
    return DatasetLine(row.id, row.kind, row.name, time_text(row.first_at), time_text(row.last_at), items, open_, tuple(counts))


def diversity_line(snapshot: AnyRow) -> DiversityLine:
    """A row of `snapshot`."""
    limits = (snapshot.low, snapshot.high)
    return DiversityLine(time_text(snapshot.at), snapshot.n, snapshot.outliers, snapshot.failed, share_of(snapshot), *limits)


def share_of(snapshot: AnyRow | None) -> float | None:
    """The share of outliers in a snapshot, None where nothing is scored."""
    return snapshot.outliers / snapshot.n if snapshot is not None and snapshot.n else None


def dataset_diversity(row: AnyRow, snapshot: AnyRow) -> DatasetDiversity:
    """A row of `dataset` with its latest snapshot."""
    facts, groups = snapshot.facts["diversity"], snapshot.facts["groups"]
    return DatasetDiversity(dataset_name(row), diversity_line(snapshot), facts["sentence"], facts, tuple(groups))


def dataset_advice(row: AnyRow, snapshot: AnyRow) -> Advice:
    """The advice in a dataset's latest snapshot."""
    return Advice(dataset_name(row), time_text(snapshot.at), tuple(snapshot.facts["advice"]))


def window(connection: Connection, project: Project, start: float, end: float) -> Window:
    """The items judged from `start` on and before `end`, seconds since 1970."""
    routes = browsing.routes_between(connection, project, start, end)
    scored = sum(count.items for count in routes if count.route != "failed")
    outliers = sum(count.items for count in routes if count.route == "outlier")
    low, high = share_limits(outliers, scored) if scored else (None, None)
    share = outliers / scored if scored else None
    items = sum(count.items for count in routes)
    return Window(time_text(start), time_text(end), items, tuple(routes), share, low, high)


def share_limits(k: int, n: int) -> tuple[float, float]:
    """The 95 % limits of a share of which k of n were seen. n > 0."""
    from annotriage.guarantee.binomial import clopper_pearson  # loads scipy: only for whoever asks

    return clopper_pearson(k, n)
