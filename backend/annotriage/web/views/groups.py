"""Groups among the outliers of a dataset: each a candidate for a new class, or for a broken source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from annotriage.store import browsing, dashboard, snapshots
from annotriage.store.database import AnyRow
from annotriage.store.projects import Project
from annotriage.web.query_args import dataset_asked, whole
from annotriage.web.routing import Routes

LISTED = 100  # datasets to choose from
SHOWN = 20  # groups on a page
FACES = 10
NEARLY_ONE = 0.5  # share of all outliers in one group from which on something is wrong with the source, or a class is missing


@dataclass(frozen=True)
class Face:
    """A member of a group: its name, and the row of its item if it is still there."""

    name: str
    item_id: int | None


@dataclass(frozen=True)
class Group:
    """A group. share: of the outliers that were searched. label: what the model calls most of them."""

    number: int
    size: int
    share: float
    label: str
    faces: Sequence[Face]
    large: bool


@dataclass(frozen=True)
class GroupsPage:
    """The groups of a dataset, the largest first. searched: outliers that were looked through; score: None before the first.
    found: groups there are; groups: those of this page."""

    project: Project
    dataset: AnyRow | None
    datasets: Sequence[AnyRow]
    score: AnyRow | None
    searched: int
    grouped: int
    found: int
    groups: Sequence[Group]
    next: int | None


def add_views(routes: Routes) -> None:
    """Add the page."""
    routes.project_page("/groups", "groups", _page)


def _page(connection: Connection, project: Project) -> GroupsPage:
    dataset = dataset_asked(connection, project)
    score = None if dataset is None else snapshots.latest(connection, [dataset.id], project.reference_id).get(dataset.id)
    found = [] if score is None else score.facts["groups"]
    searched = 0 if score is None else int(score.facts["searched"])
    first = (whole("after") or 0) if score is not None else 0
    shown = [one for one in found if one["number"] > first][:SHOWN]
    rows = dashboard.items_named(connection, project, [name for one in shown for name in one["ids"][:FACES]])
    return GroupsPage(
        project=project,
        dataset=dataset,
        datasets=browsing.datasets_page(connection, project, kind=None, after=None, limit=LISTED),
        score=score,
        searched=searched,
        grouped=sum(one["size"] for one in found),
        found=len(found),
        groups=[_group(one, searched, rows) for one in shown],
        next=shown[-1]["number"] if shown and shown[-1]["number"] < found[-1]["number"] else None,
    )


def _group(facts: dict[str, Any], searched: int, rows: dict[str, int]) -> Group:
    share = facts["size"] / searched if searched else 0.0
    faces = [Face(name, rows.get(name)) for name in dict.fromkeys([facts["medoid"], *facts["ids"][:FACES]])]
    return Group(facts["number"], facts["size"], share, facts["label"], faces, share >= NEARLY_ONE)
