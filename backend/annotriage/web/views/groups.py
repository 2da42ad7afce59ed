"""Groups among the outliers of a dataset: each a candidate for a new class, or for a broken source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from annotriage.service.operations.process import Process
from annotriage.service.readings.groups import Groups, groups_page
from annotriage.service.readings.item import task_address
from annotriage.store.browsing import items_of
from annotriage.store.datasets import Dataset, datasets_page
from annotriage.store.projects import Project
from annotriage.web.query_args import dataset_asked, whole
from annotriage.web.routing import Routes

LISTED = 100  # datasets to choose from
SHOWN = 20  # groups on a page


@dataclass(frozen=True)
class GroupsPage:
    """The groups of a dataset, and which others there are to choose from. addresses: by number, where the most typical task of a group is
    in the labeling tool; of those that have one."""

    project: Project
    dataset: Dataset | None
    datasets: Sequence[Dataset]
    groups: Groups
    addresses: Mapping[int, str]


def add_views(routes: Routes) -> None:
    """Add the page."""
    routes.project_page("/groups", "groups", partial(_page, routes.process))


def _page(process: Process, connection: Connection, project: Project) -> GroupsPage:
    dataset = dataset_asked(connection, project)
    groups = groups_page(connection, project, dataset, after=whole("after") or 0, limit=SHOWN)
    typical = {group.number: group.faces[0].item_id for group in groups.groups if group.faces}
    items = {item.id: item for item in items_of(connection, project, [id for id in typical.values() if id is not None])}
    tool = process.tool_project(project)
    found = {number: task_address(tool, items[id]) for number, id in typical.items() if id in items}
    addresses = {number: address for number, address in found.items() if address}
    return GroupsPage(project, dataset, datasets_page(connection, project, limit=LISTED), groups, addresses)
