"""Look-alikes: groups of which people answer some, drawn at random, so that the rest can be labelled at once; a page for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from annotriage.advice.numbers import count
from annotriage.errors import AnnotriageError, StateError
from annotriage.service.guarantee import proposals as deeds
from annotriage.service.maps.likeness import Likeness
from annotriage.service.operations.process import Process
from annotriage.service.readings.look_alikes import ProposalNow, proposal_now, proposals_now
from annotriage.store.datasets import dataset_of_project
from annotriage.store.maps import in_sight
from annotriage.store.projects import Project
from annotriage.store.proposals import proposal_of
from annotriage.store.snapshots import groups_of
from annotriage.web.query_args import row_id, selected_ids, whole
from annotriage.web.routing import Routes
from annotriage.web.sessions import visitor_name

SHOWN = 20  # groups on a page


@dataclass(frozen=True)
class LookAlikesPage:
    """The groups of a project, the latest first. next: the last one's number, if there may be more."""

    project: Project
    groups: Sequence[ProposalNow]
    next: int | None


@dataclass(frozen=True)
class ProposalPage:
    """One group."""

    project: Project
    group: ProposalNow


def add_views(routes: Routes) -> None:
    """Add the pages, and what their buttons do."""
    process, likeness = routes.process, Likeness(routes.process)
    routes.project_page("/look-alikes", "look_alikes", _page)

    def one(connection: Connection, project: Project, proposal: str) -> ProposalPage:
        return ProposalPage(project, proposal_now(connection, project, proposal_of(connection, project, row_id(proposal))))

    routes.project_page("/look-alikes/<proposal>", "look_alike", one)

    @routes.open("/look-alikes/groups", "POST")
    def propose_groups(project: Project) -> ResponseReturnValue:
        """Outlier groups, each named by its number and its most typical item, by which it is seen that it is still the same."""
        dataset_id, numbers = row_id(request.form.get("dataset", "")), []
        with process.store.reading() as connection:
            dataset = dataset_of_project(connection, project, dataset_id)
            for chosen in request.form.getlist("group"):
                number, _, typical = chosen.partition("~")
                seen = in_sight(connection, project, groups_of(connection, dataset.id, [row_id(typical)]))
                if seen.get(row_id(typical)) != row_id(number):
                    raise StateError("the groups have changed meanwhile; look at them again")
                numbers.append(row_id(number))
        back = url_for("web.groups", project=project.external_id, dataset=dataset_id)
        return _offer(project, back, lambda: deeds.propose_groups(process, project, dataset_id, numbers, visitor_name()))

    @routes.open("/look-alikes/similar", "POST")
    def propose_similar(project: Project) -> ResponseReturnValue:
        item_id, task = row_id(request.form.get("item", "")), request.form.get("task", "")
        most = row_id(request.form.get("count", "") or str(deeds.COUNT))
        back = url_for("web.item", project=project.external_id, task=task) if task else _list(project)
        return _offer(project, back, lambda: deeds.propose_similar(process, project, item_id, visitor_name(), most, likeness=likeness))

    @routes.open("/look-alikes/selection", "POST")
    def propose_selection(project: Project) -> ResponseReturnValue:
        """Row ids of items (uint32, little-endian) in the body, as the map selects them: where the group's page is."""
        id = deeds.propose_items(process, project, selected_ids(request.get_data()), visitor_name())
        return {"address": url_for("web.look_alike", project=project.external_id, proposal=id)}

    @routes.open("/look-alikes/<int:proposal>/ask", "POST")
    def ask_look_alikes(project: Project, proposal: int) -> ResponseReturnValue:
        return _act(
            project, proposal, deeds.ask_people, process, "People are asked now: here in the queue, and in a tab of the labeling tool."
        )

    @routes.open("/look-alikes/<int:proposal>/close", "POST")
    def close_look_alikes(project: Project, proposal: int) -> ResponseReturnValue:
        return _act(project, proposal, deeds.close, process, "The group is closed: its items wait for answers one by one.")

    @routes.open("/look-alikes/<int:proposal>/split", "POST")
    def split_look_alikes(project: Project, proposal: int) -> ResponseReturnValue:
        return _act(project, proposal, deeds.split, process, "The group is being split in two; that takes a few seconds.")

    @routes.open("/look-alikes/<int:proposal>/undo", "POST")
    def undo_look_alikes(project: Project, proposal: int) -> ResponseReturnValue:
        return _act(project, proposal, deeds.undo_labels, process, "The labels are being taken back; that takes a few seconds.")

    @routes.open("/look-alikes/<int:proposal>/label", "POST")
    def label_look_alikes(project: Project, proposal: int) -> ResponseReturnValue:
        try:
            labelled = deeds.label_rest(process, project, proposal, visitor_name())
        except StateError as error:
            flash(str(error), "error")
        else:
            flash(f"{count(labelled, 'item')} {'is' if labelled == 1 else 'are'} being labelled; that takes a few seconds.", "done")
        return _to(project, proposal)


def _act(
    project: Project, proposal: int, act: Callable[[Process, Project, int, str], None], process: Process, said: str
) -> ResponseReturnValue:
    try:
        act(process, project, proposal, visitor_name())
    except StateError as error:
        flash(str(error), "error")
    else:
        flash(said, "done")
    return _to(project, proposal)


def _offer(project: Project, back: str, propose: Callable[[], int]) -> ResponseReturnValue:
    """Go to the group that is offered, or back to where it was asked for, with the reason."""
    try:
        return _to(project, propose())
    except AnnotriageError as error:
        flash(str(error), "error")
        return redirect(back, 303)


def _to(project: Project, proposal: int) -> ResponseReturnValue:
    return redirect(url_for("web.look_alike", project=project.external_id, proposal=proposal), 303)


def _list(project: Project) -> str:
    return url_for("web.look_alikes", project=project.external_id)


def _page(connection: Connection, project: Project) -> LookAlikesPage:
    found = proposals_now(connection, project, after=whole("after"), limit=SHOWN)
    return LookAlikesPage(project, found, found[-1].proposal.id if len(found) == SHOWN else None)
