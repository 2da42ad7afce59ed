"""Groups among the outliers of a dataset: each a candidate for a new class, or for a broken source; given to a person, or set aside.

Groups are found anew with each snapshot: a form names the most typical item too, by which it is seen that the group is still the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection
from werkzeug.wrappers import Response

from annotriage.advice.group_words import members_sentence
from annotriage.advice.numbers import count
from annotriage.errors import DataError, StateError
from annotriage.service.delivery.rerouting import take_back, undo_rerouting
from annotriage.service.guarantee.proposals import worth_groups
from annotriage.service.intake.new_class import AddedClass, added_classes
from annotriage.service.operations.process import Process
from annotriage.service.readings.facets import Facet, facets_of, group_sizes
from annotriage.service.readings.groups import Groups, groups_page
from annotriage.service.readings.item import task_address
from annotriage.store.browsing import Item, items_of
from annotriage.store.datasets import Dataset, dataset_of_project
from annotriage.store.filters import Filters
from annotriage.store.maps import in_sight
from annotriage.store.projects import Project
from annotriage.store.queue import GroupStands, groups_stand, queue_page
from annotriage.store.reroutings import Rerouting, set_aside
from annotriage.store.saved_views import SavedView, saved_views
from annotriage.store.snapshots import groups_of
from annotriage.web.query_args import AT_ONCE, Walk, dataset_asked, item_asked, row_id, walk_asked, whole
from annotriage.web.routing import Routes
from annotriage.web.sessions import visitor_name
from annotriage.web.views.queue import place_of_item

SHOWN = 20  # groups on a page
ASIDE = 10  # of what was set aside that are listed
LONGEST_REASON, LONGEST_PERSON = 200, 60


@dataclass(frozen=True)
class GroupsPage:
    """The groups of a dataset, those that are asked for. matching: by number, how many members pass the filters; null where there are
    none. addresses: by number, where the most typical task of a group is in the labeling tool; of those that have one. waiting: by number,
    how many members wait; offered: which of them may be labelled at once, together: all of them as one. members: how all of them stand, in
    words. aside: what was set aside, added: classes that were added from here,
    the latest first."""

    project: Project
    walk: Walk
    dataset: Dataset | None
    groups: Groups
    matching: Mapping[int, int] | None
    addresses: Mapping[int, str]
    waiting: Mapping[int, int]
    offered: frozenset[int]
    together: bool
    members: Mapping[int, str]
    aside: Sequence[Rerouting]
    added: Sequence[AddedClass]
    facets: Sequence[Facet]
    views: Sequence[SavedView]
    missing: str | None


def add_views(routes: Routes) -> None:
    """Add the page, and what its buttons do."""
    process = routes.process
    routes.project_page("/groups", "groups", partial(_page, process))

    @routes.open("/groups/aside", "POST")
    def set_group_aside(project: Project) -> ResponseReturnValue:
        """What waits of a group comes from a broken source: nobody is asked about it any more."""
        reason = " ".join(request.form.get("reason", "").split())[:LONGEST_REASON]
        if not reason:
            raise DataError("reason: say what is wrong with the source, for whoever looks later")
        with process.store.reading() as connection:
            group = _group_asked(connection, project)
        done = take_back(process, project, [item.id for item in group.items], visitor_name(), f"broken source, {reason}")
        flash(
            f"{count(len(done.changed), 'item')} of group {group.number} set aside: {reason}. Nobody is asked about them any more.", "done"
        )
        return _back(project, group.dataset_id)

    @routes.open("/groups/assign", "POST")
    def assign_group(project: Project) -> ResponseReturnValue:
        """Give what waits of a group to a person, as a tab in the labeling tool."""
        person = " ".join(request.form.get("person", "").split())[:LONGEST_PERSON]
        if not person:
            raise DataError("person: say for whom the tab is")
        if project.watch or project.gone:
            raise StateError("nothing is written into this project, so it gets no tab")
        with process.store.reading() as connection:
            group = _group_asked(connection, project)
        tasks = [item.task for item in group.items if item.task is not None]
        if not tasks:
            raise StateError(f"nothing of group {group.number} waits for a person any more")
        title = f"For {person}: group {group.number}"  # the plugin knows such tabs again by that
        process.tool_project(project).assign(title, tasks)
        flash(f"{process.tool.title} has a tab “{title}” now, with {count(len(tasks), 'task')}.", "done")
        return _back(project, group.dataset_id)

    @routes.open("/groups/undo", "POST")
    def undo_aside(project: Project) -> ResponseReturnValue:
        done = undo_rerouting(process, project, row_id(request.form.get("id", "")), visitor_name())
        flash(f"Undone: {count(len(done.changed), 'item')} {'waits' if len(done.changed) == 1 else 'wait'} again.", "done")
        return _back(project, row_id(request.form.get("dataset", "")))


@dataclass(frozen=True)
class _Asked:
    """The group that a form is about, and what of it waits, the strangest first."""

    dataset_id: int
    number: int
    items: Sequence[Item]


def _group_asked(connection: Connection, project: Project) -> _Asked:
    """Raises StateError if the groups were found anew since the page was made."""
    dataset_id, number, typical = (row_id(request.form.get(name, "")) for name in ("dataset", "group", "typical"))
    dataset = dataset_of_project(connection, project, dataset_id)
    if in_sight(connection, project, groups_of(connection, dataset.id, [typical])).get(typical) != number:
        raise StateError("the groups have changed meanwhile; look at them again")
    rows = queue_page(connection, project, filters=Filters(dataset=dataset.id, group=number), limit=AT_ONCE).rows
    return _Asked(dataset.id, number, rows)


def _back(project: Project, dataset_id: int) -> ResponseReturnValue:
    return redirect(url_for("web.groups", project=project.external_id, dataset=dataset_id), 303)


def _page(process: Process, connection: Connection, project: Project) -> GroupsPage | Response:
    walk, (searched, missing) = walk_asked("groups"), item_asked(connection, project)
    if searched is not None:
        return redirect(place_of_item(project, searched, walk))
    dataset = dataset_asked(connection, project)
    if dataset is not None and dataset.kind == "all":
        walk = replace(walk, filters=replace(walk.filters, dataset=None))
    filters = walk.filters
    matching = group_sizes(connection, project, filters) if replace(filters, dataset=None) != Filters(state=None) else None
    groups = groups_page(connection, project, dataset, only=matching, after=whole("after") or 0, limit=SHOWN)
    typical = {group.number: group.faces[0].item_id for group in groups.groups if group.faces}
    items = {item.id: item for item in items_of(connection, project, [id for id in typical.values() if id is not None])}
    tool = process.tool_project(project)
    found = {number: task_address(tool, items[id]) for number, id in typical.items() if id in items}
    numbers, one = [group.number for group in groups.groups], None if dataset is None else dataset.id
    stand = groups_stand(connection, numbers, project, filters.dataset)  # as the facets ask, so that it is counted once
    offered, together = worth_groups(connection, project, one, numbers) if one is not None else (frozenset[int](), False)
    return GroupsPage(
        project=project,
        walk=walk,
        dataset=dataset,
        groups=groups,
        matching=matching,
        addresses={number: address for number, address in found.items() if address},
        waiting={number: some.waiting for number, some in stand.items() if some.waiting},
        offered=offered,
        together=together,
        members={
            group.number: members_sentence(group.size, some.waiting, some.answers, some.aside)
            for group in groups.groups
            for some in [stand.get(group.number, GroupStands(0, 0, {}))]
        },
        aside=set_aside(connection, project, ASIDE),
        added=added_classes(connection, project),
        facets=facets_of(connection, project, filters, grouped=True),
        views=saved_views(connection, project, "groups"),
        missing=missing,
    )
