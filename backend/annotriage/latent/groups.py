"""Groups among the strange items: many strangers of one kind point to a new class or a broken source, not to chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

Array = NDArray[Any]

SMALLEST = 5
WIDE = 1.5  # in noise the distances to the nearest few grow evenly
TOUCHING = 1e-9
CLEARLY = 0.8  # in noise the distances within and beyond a group differ by a tenth; two crowds give 0.7 at most


@dataclass(frozen=True)
class Group:
    """Outliers that lie close together. members: their row indices, the medoid (its face) first, then by distance to it."""

    members: NDArray[np.intp]

    @property
    def medoid(self) -> int:
        """Row index of the member that is nearest to all others."""
        return int(self.members[0])


def find_groups(points: Array) -> tuple[Group, ...]:
    """Cluster outliers with each other by density (HDBSCAN): groups by falling size; outliers in none stand alone.

    points: (K, n) compressed points of outliers. A group has at least 5 members and 2% of the outliers, and they lie
    clearly closer to each other than to the others.
    """
    if len(points) < 2 * SMALLEST:
        return ()
    size = max(SMALLEST, round(0.02 * len(points)))
    from sklearn.cluster import HDBSCAN

    # On one thread: what is searched is small, and several of them mostly wait for each other, which takes the processor all the same.
    with threadpool_limits(1):
        # The leaves of the density tree: taking larger clusters often joins all strangers into one.
        tree = HDBSCAN(min_cluster_size=size, min_samples=SMALLEST, cluster_selection_method="leaf", copy=True)
        found = np.asarray(tree.fit_predict(np.asarray(points, dtype=np.float64)))
        if found.max() < 0:  # no leaf: one crowd among scattered outliers does not branch
            found = np.asarray(tree.dbscan_clustering(_gap(points, size), min_cluster_size=size))
        members = (np.flatnonzero(found == label) for label in range(found.max() + 1))
        groups = [_group(points, rows) for rows in members if _stands_out(points, rows)]
    return tuple(sorted(groups, key=lambda group: (-len(group.members), group.medoid)))


def _gap(points: Array, size: int) -> float:
    """The distance that parts a crowd from the scattered: a wide gap among the distances to the nearest few; 0 if there is none."""
    from sklearn.neighbors import NearestNeighbors

    reach = np.sort(NearestNeighbors(n_neighbors=SMALLEST).fit(points).kneighbors(points)[0][:, -1])
    if reach[-1] < TOUCHING:  # one and the same picture, over and over
        return TOUCHING
    below, above = reach[size - 1 : -SMALLEST], reach[size : len(reach) - SMALLEST + 1]
    place = int(np.argmax(above / np.maximum(below, TOUCHING)))
    return float((below[place] + above[place]) / 2) if above[place] > WIDE * below[place] else 0.0


def _stands_out(points: Array, rows: NDArray[np.intp]) -> bool:
    """Whether a group is more than the middle of a cloud: density alone always finds a densest part, in noise too."""
    from sklearn.neighbors import NearestNeighbors

    own, others = points[rows], np.delete(points, rows, axis=0)
    if len(others) < SMALLEST:
        return True
    count = SMALLEST - 1
    within = NearestNeighbors(n_neighbors=count + 1).fit(own).kneighbors(own)[0][:, -1]  # the first neighbour is the item itself
    beyond = NearestNeighbors(n_neighbors=count).fit(others).kneighbors(own)[0][:, -1]
    return bool(np.median(within) < CLEARLY * np.median(beyond))


def _group(points: Array, rows: NDArray[np.intp]) -> Group:
    own = np.asarray(points[rows], dtype=np.float64)
    # The point nearest to the componentwise median stands in for the exact medoid, whose search is quadratic.
    medoid = np.square(own - np.median(own, axis=0)).sum(axis=1).argmin()
    return Group(rows[np.argsort(np.square(own - own[medoid]).sum(axis=1), kind="stable")])
