"""The groups among the outliers of a dataset: each a candidate for a new class, or for a broken source."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from sqlalchemy import Connection

from annotriage.service.readings.dataset import snapshot_of
from annotriage.store.browsing import Face, items_named
from annotriage.store.datasets import Dataset
from annotriage.store.projects import Project

FACES = 10
NEARLY_ONE = 0.5  # share of all outliers in one group from which on something is wrong with the source, or a class is missing


@dataclass(frozen=True, slots=True)
class Group:
    """A group. share: of the outliers that were searched. large: nearly all are in it."""

    number: int
    size: int
    share: float
    faces: tuple[Face, ...]
    large: bool


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of a dataset, the largest first, or some of them. searched: outliers that were looked through, None before the first
    time; grouped: those that belong to a group. found: groups there are. next: give it as `after` for more; null on the last page."""

    searched: int | None
    grouped: int
    found: int
    groups: tuple[Group, ...]
    next: int | None


def groups_page(
    connection: Connection, project: Project, dataset: Dataset | None, *, only: Container[int] | None = None, after: int = 0, limit: int
) -> Groups:
    """The groups of a dataset. only: the numbers of those that are wanted; after: the number of the last one seen."""
    snapshot = snapshot_of(connection, project, dataset)
    if snapshot is None:
        return Groups(None, 0, 0, (), None)
    found, searched = snapshot.facts["groups"], int(snapshot.facts["searched"])
    wanted = [group for group in found if only is None or group["number"] in only]
    shown = [group for group in wanted if group["number"] > after][:limit]
    names = [tuple(dict.fromkeys(name for name in (group["medoid"], *group["ids"][:FACES]) if name is not None)) for group in shown]
    items = items_named(connection, project, [name for of_group in names for name in of_group])
    groups = []
    for group, of_group in zip(shown, names, strict=True):
        share = group["size"] / searched if searched else 0.0
        faces = tuple(Face(name, items.get(name)) for name in of_group)
        groups.append(Group(group["number"], group["size"], share, faces, share >= NEARLY_ONE))
    more = bool(shown) and shown[-1]["number"] < wanted[-1]["number"]
    grouped = sum(group["size"] for group in found)
    return Groups(searched, grouped, len(found), tuple(groups), shown[-1]["number"] if more else None)
