"""One item: its picture, why it was judged as it was, what became of it; and the pictures of items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from flask import Response
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from annotriage.advice.numbers import percent
from annotriage.advice.page_words import about_one_in
from annotriage.advice.verdict_words import reason_sentence
from annotriage.service.operations.process import Process
from annotriage.states import UNSETTLED
from annotriage.store import browsing, maps, snapshots
from annotriage.store.database import AnyRow
from annotriage.store.maps import TrainingItem
from annotriage.store.pictures import pictured, thumbnail_of
from annotriage.store.projects import Project
from annotriage.store.queue import group_numbers, neighbours, rows_of
from annotriage.store.references import edges_of, get_reference
from annotriage.store.reroutings import rerouting_of
from annotriage.web.full_pictures import FullPictures
from annotriage.web.query_args import Walk, walk_asked
from annotriage.web.routing import Routes
from annotriage.web.views.queue import diversity_in_short, web_address

STATES = {
    "pending": "is to be delivered",
    "sending": "is being delivered",
    "unknown": "was sent, and is looked for in the labeling tool",
    "answered": "was taken by the labeling tool, and is looked for there",
    "stale": "is out of date: it is withdrawn, and another one follows",
    "confirmed": "is in the labeling tool",
    "refused": "was refused by the labeling tool",
}


@dataclass(frozen=True)
class Member:
    """One score. place: on a scale from its median, 0, to twice the way to the edge of the normal range, 1; None where that is unknown."""

    name: str
    value: float
    edge: float | None
    place: float | None


@dataclass(frozen=True)
class Moment:
    """Something that happened to the item."""

    at: float
    text: str
    detail: str = ""


@dataclass(frozen=True)
class ItemPage:
    """What the page shows. row: of `browsing`; before, behind: the names of the items beside it in the walk.

    reason: of its route, in a sentence. usual: its p-value in words. can: what a person may do with it: "back", "review" or nothing.
    """

    project: Project
    walk: Walk
    row: AnyRow
    reason: str | None
    name: str
    address: str | None
    picture: bool
    members: Sequence[Member]
    usual: str
    nearest: Sequence[TrainingItem]
    group: int | None
    datasets: Sequence[tuple[AnyRow, str]]
    history: Sequence[Moment]
    before: str | None
    behind: str | None
    can: str


def add_views(routes: Routes) -> None:
    """Add the page and the pictures."""
    process, pictures = routes.process, FullPictures(routes.process)

    routes.project_page("/items/<task>", "item", partial(_page, process))

    @routes.open("/items/<int:item_id>/media")
    def media(project: Project, item_id: int) -> ResponseReturnValue:
        with process.store.reading() as connection:
            row = browsing.item_of_id(connection, project, item_id)
        return pictures.response(project, row)

    @routes.reading("/items/<int:item_id>/thumbnail")
    def thumbnail(connection: Connection, project: Project, item_id: int) -> ResponseReturnValue:
        content = thumbnail_of(connection, project, item_id)
        if content is None:
            return routes.pages.send_static_file("no-picture.svg")
        return Response(
            content,
            mimetype="image/png" if content.startswith(b"\x89PNG") else "image/jpeg",
            headers={"Cache-Control": "private, max-age=3600"},
        )


def _page(process: Process, connection: Connection, project: Project, task: str) -> ItemPage:
    row = browsing.item_of_task(connection, project, task)
    walk = walk_asked()
    facts = get_reference(connection, project.reference_id).facts
    datasets = browsing.datasets_of_item(connection, row.id)
    scores = snapshots.latest(connection, [one.id for one in datasets], project.reference_id)
    before, behind = _names(connection, project, neighbours(connection, project, row.id, order=walk.order, filters=walk.filters))
    return ItemPage(
        project=project,
        walk=walk,
        row=row,
        reason=reason_sentence(row.reason, row.held_back, row.sent_by),
        name=row.external_id or row.marker,
        address=_address(process, project, row),
        picture=bool(pictured(connection, [row.id])),
        members=_members(row, edges_of(connection, project.reference_id, row.cluster)),
        usual=_usual(row.p_value, row.outlier_score, facts["settings"]["alpha"], facts["counts"].get("held_out", 0)),
        nearest=maps.nearest_of(connection, row.id, project.reference_id),
        group=group_numbers(connection, walk.filters.dataset, [row.id], project).get(row.id),
        datasets=[(one, diversity_in_short(scores.get(one.id))) for one in datasets],
        history=_history(connection, project, row),
        before=before,
        behind=behind,
        can=_can(row),
    )


def _names(connection: Connection, project: Project, ids: tuple[int | None, int | None]) -> tuple[str | None, str | None]:
    found = {row.id: row.external_id or row.marker for row in rows_of(connection, project, [id for id in ids if id is not None])}
    return (None if ids[0] is None else found.get(ids[0])), (None if ids[1] is None else found.get(ids[1]))


def _address(process: Process, project: Project, row: AnyRow) -> str | None:
    if row.external_id is None or row.gone:
        return None
    return web_address(process.tool_project(project).address(row.external_id))


def _can(row: AnyRow) -> str:
    """What a person may do with it, as `rerouting` allows it."""
    if row.gone or row.labelled or row.route is None or row.answer == "resolved" or row.spot_check_state in UNSETTLED:
        return ""
    if row.dismissed or row.route == "auto":
        return "review"
    return "" if row.route == "failed" else "back"


def _members(row: AnyRow, edges: dict[str, tuple[float, float]]) -> list[Member]:
    members = []
    for name, value in (row.members or {}).items():
        if value is None:
            continue
        median, edge = edges.get(name, (None, None))
        known = median is not None and edge is not None and edge > median
        place = max(0.0, min(2.0, (value - median) / (edge - median))) / 2 if known else None  # type: ignore[operator]
        members.append(Member(name, value, edge, place))
    return members


def _usual(p_value: float | None, outlier_score: float | None, alpha: float, held_out: int) -> str:
    """A p-value in words."""
    if outlier_score is None:
        return ""
    if p_value is None:
        return "How usual that is cannot be said: there are no held-out items to compare it with."
    if p_value <= 1.5 / (held_out + 1):
        return f"None of the {held_out:,} held-out items looks as strange as this one."
    share = about_one_in(p_value)
    said = f"Of usual items {share} {'look' if ' in 10' in share or 'every' in share else 'looks'} at least as strange as this one."
    return said + (f" That is no more than {percent(alpha)}, so it counts as an outlier." if p_value <= alpha else "")


def _history(connection: Connection, project: Project, row: AnyRow) -> list[Moment]:
    """What happened to the item, the latest first."""
    moments = [Moment(row.at, "came in" if row.external_id or not row.marker else "was pushed by another system")]
    if row.judged is not None:
        judged = f"was judged {row.judged}" if row.judged != "failed" else "could not be judged"
        why = reason_sentence(row.reason, row.held_back, row.sent_by)
        moments.append(Moment(row.judged_at, f"{judged} in {1000 * row.seconds:.0f} ms", why))
    for one in browsing.deliveries_of_item(connection, row.id):
        what = "with an empty answer" if one.labels is None else f"that says {' + '.join(one.labels) or 'none of the classes'}"
        moments.append(Moment(one.at, f"prediction {what} {STATES.get(one.state, one.state)} ({one.version})", one.error or ""))
    moments += [Moment(one.updated_at, _answered(one)) for one in browsing.reviews_of_item(connection, row.id)]
    if row.spot_check is not None:
        drawn = {"sample": "of all items", "audit": "of the automatic ones"}.get(row.spot_check, "")
        moments.append(Moment(row.drawn_at, f"was drawn at random {drawn} for a blind check"))
        if row.spot_check_answered_at is not None:
            said = "people agree with the model" if row.spot_check_state == "right" else "people say that the model is wrong"
            moments.append(Moment(row.spot_check_answered_at, f"blind check: {said}"))
    if row.rerouting_id is not None:
        word = rerouting_of(connection, project, row.rerouting_id)
        done = "sent to review" if word.to == "review" else "taken out of review"
        moments.append(Moment(word.at, f"was {done} by {word.by}" + (", which was undone" if word.undone_at else "")))
    return sorted(moments, key=lambda one: -one.at)


def _answered(one: AnyRow) -> str:
    if one.machine:
        return f"the model's label {' + '.join(one.labels or ())} was accepted"
    if one.skipped:
        return f"{one.annotator} skipped it"
    if one.empty:
        return f"{one.annotator} submitted it without an answer"
    return f"{one.annotator} answered {' + '.join(one.labels or ())}" + (" (ground truth)" if one.ground_truth else "")
