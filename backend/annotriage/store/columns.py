"""Verdicts as columns: what the statistics of a dataset take, streamed into arrays, however many items there are."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sqlalchemy import Connection, bindparam, exists, func, select

from annotriage.states import SpotCheckKind
from annotriage.store.blindness import is_hidden
from annotriage.store.counters import chunks
from annotriage.store.database import among, labels_of, stored
from annotriage.store.projects import Project
from annotriage.store.schema import item, item_dataset, point, spot_check, twin, verdict

Array = NDArray[Any]

AT_ONCE = 20_000  # rows in memory


@dataclass(frozen=True)
class Scored:
    """The judged items of a dataset. counts: of all, per route. The columns are of those that have a score, in the order of their ids.

    ids, outliers, clusters, scores: (N,) row ids of items, flag, index of the nearest cluster, deciding score. groups: (N,) numbers of
    what belongs together, near duplicates among it; None where nothing does.
    """

    counts: Counter[str]
    ids: Array
    outliers: Array
    clusters: Array
    scores: Array
    groups: Array | None


def of_dataset(connection: Connection, dataset_id: int, reference_id: int, cluster_names: Sequence[str]) -> Scored:
    """The judged items of a dataset under a reference; those labelled at first sight and those gone take no part."""
    query = (
        select(verdict.c.item_id, verdict.c.route, verdict.c.cluster, verdict.c.score, item.c.group, twin.c.twin_id)
        .join(item, item.c.id == verdict.c.item_id)
        .outerjoin(twin, twin.c.item_id == item.c.id)
        .join(item_dataset, item_dataset.c.item_id == verdict.c.item_id)
        .where(item_dataset.c.dataset_id == dataset_id, verdict.c.reference_id == reference_id, ~item.c.labelled, ~item.c.gone)
        .order_by(item_dataset.c.item_id)
    )
    places = {name: place for place, name in enumerate(cluster_names)}
    counts: Counter[str] = Counter()
    ids, outliers, clusters, scores = array("q"), array("b"), array("i"), array("f")
    groups, roots = array("q"), array("q")  # an item's own group, as a number below zero, and the item that it repeats; 0 for neither
    numbers: dict[str, int] = {}
    for item_id, route, cluster, score, group, root in connection.execute(query.execution_options(yield_per=AT_ONCE)):
        counts[route] += 1
        if score is None:
            continue
        ids.append(item_id)
        outliers.append(route == "outlier")
        clusters.append(places[cluster])
        scores.append(score)
        groups.append(numbers.setdefault(group, -len(numbers) - 1) if group else 0)
        roots.append(root or 0)
    own = np.array(ids, dtype=np.int64)
    return Scored(
        counts=counts,
        ids=own,
        outliers=np.array(outliers, dtype=bool),
        clusters=np.array(clusters, dtype=np.intp),
        scores=np.array(scores, dtype=np.float64),
        groups=_groups(own, np.array(groups, dtype=np.int64), np.array(roots, dtype=np.int64)),
    )


def _groups(ids: Array, groups: Array, roots: Array) -> Array | None:
    """What belongs together: items of one group, and what repeats one of them with its own group. None where nothing does."""
    repeats = np.flatnonzero(roots)
    if not (repeats.size or groups.any()):
        return None
    own = np.where(groups < 0, groups, ids)
    there = np.minimum(np.searchsorted(ids, roots[repeats]), len(ids) - 1)
    repeated = np.where(ids[there] == roots[repeats], own[there], roots[repeats])
    names, places = np.unique(np.concatenate([own, repeated]), return_inverse=True)
    alike = coo_array((np.ones(repeats.size, np.int8), (places[repeats], places[len(ids) :])), shape=(len(names), len(names)))
    return np.asarray(connected_components(alike, directed=False)[1][places[: len(ids)]])


@dataclass(frozen=True, slots=True)
class Point:
    """Where an item lies. compressed: (n,) float16 as bytes. labels: the model's. name: the task, or the marker of what has none yet."""

    item_id: int
    compressed: bytes
    labels: list[str]
    name: str


def recent_points(connection: Connection, project: Project, most: int) -> list[bytes]:
    """Where the project's latest items lie, (n,) float16 each: without the sample, which becomes held-out data, and what is gone."""
    sampled = exists(select(spot_check.c.item_id).where(spot_check.c.item_id == item.c.id, spot_check.c.kind == SpotCheckKind.SAMPLE))
    query = (
        select(point.c.compressed)
        .join(item, item.c.id == point.c.item_id)
        .where(item.c.project_id == project.id, point.c.reference_id == project.reference_id, ~item.c.labelled, ~item.c.gone, ~sampled)
        .order_by(item.c.id.desc())
        .limit(most)
    )
    return list(connection.execute(query).scalars())


def points_of(connection: Connection, reference_id: int, item_ids: Sequence[int]) -> dict[int, Point]:
    """The points of these items, by id."""
    found: dict[int, Point] = {}
    for ids in chunks(item_ids):
        for id, compressed, labels, name in connection.execute(_POINTS, {"of_reference": reference_id, "these": ids}):
            found[id] = Point(id, compressed, list(labels_of(labels) or ()), name)
    return found


_POINTS = (
    select(point.c.item_id, point.c.compressed, stored(verdict.c.labels), func.coalesce(item.c.external_id, item.c.marker))
    .select_from(point)
    .join(verdict, (verdict.c.item_id == point.c.item_id) & (verdict.c.reference_id == point.c.reference_id))
    .join(item, item.c.id == point.c.item_id)
    .where(point.c.reference_id == bindparam("of_reference"), point.c.item_id.in_(among("these")))
)


def points_to_search(connection: Connection, project: Project) -> Iterator[tuple[list[int], list[bytes]]]:
    """The ids of a project's items and where they lie, (n,) float16 each, some at a time. What looks like a spot check is not told:
    open ones are left out, as are items that are gone."""
    query = (
        select(point.c.item_id, point.c.compressed)
        .join(item, item.c.id == point.c.item_id)
        .where(item.c.project_id == project.id, point.c.reference_id == project.reference_id)
        .where(~item.c.labelled, ~item.c.gone, ~is_hidden(item.c.id))
    )
    for rows in connection.execute(query.execution_options(yield_per=AT_ONCE)).partitions():
        yield [row.item_id for row in rows], [row.compressed for row in rows]
