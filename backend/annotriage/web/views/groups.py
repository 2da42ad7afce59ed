"""Groups among the outliers of a dataset: each a candidate for a new class, or for a broken source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from annotriage.service.readings.groups import Groups, groups_page
from annotriage.store.datasets import Dataset, datasets_page
from annotriage.store.projects import Project
from annotriage.web.query_args import dataset_asked, whole
from annotriage.web.routing import Routes

LISTED = 100  # datasets to choose from
SHOWN = 20  # groups on a page


@dataclass(frozen=True)
class GroupsPage:
    """The groups of a dataset, and which others there are to choose from."""

    project: Project
    dataset: Dataset | None
    datasets: Sequence[Dataset]
    groups: Groups


def add_views(routes: Routes) -> None:
    """Add the page."""
    routes.project_page("/groups", "groups", _page)


def _page(connection: Connection, project: Project) -> GroupsPage:
    dataset = dataset_asked(connection, project)
    groups = groups_page(connection, project, dataset, after=whole("after") or 0, limit=SHOWN)
    return GroupsPage(project, dataset, datasets_page(connection, project, limit=LISTED), groups)
