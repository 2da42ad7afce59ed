"""What the page of the map asks of one item, and of the project as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import Connection, select

from annotriage.errors import UnknownError
from annotriage.store.blindness import shown_verdict
from annotriage.store.counters import counts_of
from annotriage.store.database import AnyRow
from annotriage.store.projects import Project
from annotriage.store.schema import dataset, item, snapshot, spot_check, verdict


def item_on_map(connection: Connection, project: Project, item_id: int) -> AnyRow:
    """An item with its verdict under the project's reference, and its spot check. Raises UnknownError."""
    of_verdict = [column for column in verdict.c if column.name not in ("item_id", "project_id", "labels", "at", "trust", "route")]
    query = (
        select(
            item,
            *of_verdict,
            verdict.c.labels.label("model_labels"),
            verdict.c.route.label("true_route"),
            verdict.c.trust.label("true_trust"),
            spot_check.c.state.label("spot_check_state"),
            dataset.c.name.label("dataset_name"),
        )
        .select_from(item)
        .outerjoin(verdict, shown_verdict(project.reference_id))
        .outerjoin(spot_check, spot_check.c.item_id == item.c.id)
        .outerjoin(dataset, dataset.c.id == item.c.shown_dataset_id)
        .where(item.c.project_id == project.id, item.c.id == item_id)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        raise UnknownError(f"project {project.external_id} has no such item any more; load the page again")
    return row


def all_items(connection: Connection, project: Project) -> int | None:
    """The dataset of all items of a project; None before the first."""
    query = select(dataset.c.id).where(dataset.c.project_id == project.id, dataset.c.kind == "all")
    return connection.execute(query).scalar_one_or_none()


def strange_clusters(connection: Connection, project: Project, limit: int = 3) -> list[tuple[str, int]]:
    """The clusters next to which most outliers lie, with how many."""
    every = all_items(connection, project)
    rows: Sequence[AnyRow] = [] if every is None else counts_of(connection, every, project.reference_id)
    near = Counter({row.cluster: row.n for row in rows if row.route == "outlier"})
    return [(name, n) for name, n in near.most_common(limit) if n]


def latest_groups(connection: Connection, project: Project) -> Sequence[dict[str, object]]:
    """The groups among all outliers of a project as they were assessed last: number, size, label, medoid, ids."""
    query = (
        select(snapshot.c.facts)
        .join(dataset, dataset.c.id == snapshot.c.dataset_id)
        .where(dataset.c.project_id == project.id, dataset.c.kind == "all", snapshot.c.reference_id == project.reference_id)
        .order_by(snapshot.c.at.desc())
        .limit(1)
    )
    facts = connection.execute(query).scalar_one_or_none()
    return [] if facts is None else facts["groups"]
