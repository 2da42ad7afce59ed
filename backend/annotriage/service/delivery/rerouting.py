"""A person's word on many items at once: people shall look at them, or need not any more.

What the model judged stays as `verdict.judged`, and only what
it judged automatic becomes automatic again: nobody may guarantee more than the model shows. What it sent to people itself can be taken
out of the queue: it keeps its route and counts as an outlier all the same, and becomes no automatic label, but nobody is asked to look
at it. Spot checks are left alone, for they are answered blind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from annotriage.advice.state_words import why_paused
from annotriage.errors import StateError
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.states import UNSETTLED, EventKind
from annotriage.store import reroutings
from annotriage.store.counters import chunks
from annotriage.store.events import note
from annotriage.store.projects import Project, get_project
from annotriage.store.reroutings import HeldItem, Rerouting

TO_REVIEW, BACK = "review", "back"
LONGEST_NAME = 100

GONE = "deleted in the labeling tool"
LABELLED = "labelled by people before they came in"
UNJUDGED = "not judged yet"
ANSWERED = "answered already"
SPOT_CHECK = "spot checks, which stay as they are"
WAITS = "waiting for a person already"
AUTOMATIC = "automatic already"
OUT = "out of the queue already"
PAUSED = "automatic but for the pause of automatic labels, which came meanwhile"
CHANGED = "changed again since"
FAILED = "not judged, because they could not be read; a person has to look"


@dataclass(frozen=True)
class Rerouted:
    """What came of it. id: under which it can be undone. changed: items. left: how many others were left as they are, by why."""

    id: int
    to: str
    changed: tuple[int, ...]
    left: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Foreseen:
    """How many items would be changed. review: by sending them to review; back: by taking them out of it."""

    review: int
    back: int


def send_to_review(process: Process, project: Project, item_ids: Sequence[int], by: str) -> Rerouted:
    """Automatic items wait for people from now on, in the store and, as soon as it is delivered, in the labeling tool."""
    by = _name(by)
    return _act(process, project, item_ids, TO_REVIEW, by)


def take_back(
    process: Process, project: Project, item_ids: Sequence[int], by: str, reason: str | None = None, *, begun: int | None = None
) -> Rerouted:
    """These items need no person any more: what the model judged automatic is so again, the others are out of the queue.

    reason: why they are set aside, to be looked up later. begun: goes on with what was begun under this number.
    Raises StateError while automatic labels are paused, unless all of them are of the other kind.
    """
    by = _name(by)
    return _act(process, project, item_ids, BACK, by, reason=reason, begun=begun)


def foresee(process: Process, project: Project, item_ids: Sequence[int]) -> Foreseen:
    """How many of these items `send_to_review` and `take_back` would change now; nothing is changed."""
    review = back = 0
    for ids in chunks(sorted(set(item_ids))):
        with process.store.writing() as connection:  # `hold` locks rows
            present, rows = reroutings.hold(connection, project.id, ids)
        free = [row for row in rows if not _untouchable(row, None)]
        review += sum(not _sendable(row) for row in free)
        back += sum(not (_restorable(row) or _paused(row, present, BACK)) for row in free)
    return Foreseen(review, back)


def undo_rerouting(process: Process, project: Project, id: int, by: str) -> Rerouted:
    """Items that were changed, and not answered or changed again since, are as before. Raises UnknownError, StateError."""
    with process.store.reading() as connection:
        done = reroutings.rerouting_of(connection, project, id)
        if done.undone_at is not None:
            raise StateError("this was undone already; load the page again to see how it stands")
        item_ids = reroutings.items_of(connection, id)
    return _act(process, project, item_ids, BACK if done.to == TO_REVIEW else TO_REVIEW, _name(by), undoes=done)


def _act(
    process: Process,
    project: Project,
    item_ids: Sequence[int],
    to: str,
    by: str,
    *,
    undoes: Rerouting | None = None,
    reason: str | None = None,
    begun: int | None = None,
) -> Rerouted:
    """In chunks, a short transaction each."""
    judge = _sendable if to == TO_REVIEW else _restorable
    with process.store.writing() as connection:
        if to == BACK:
            _refuse_paused(connection, get_project(connection, project.id), item_ids)
        id = undoes.id if undoes is not None else begun or reroutings.begin(connection, project.id, to, by, reason)
    changed: list[int] = []
    left: Counter[str] = Counter()
    for ids in chunks(sorted(set(item_ids))):
        with process.store.writing() as connection:
            present, rows = reroutings.hold(connection, project.id, ids)
            chosen = []
            for row in rows:
                why = _untouchable(row, undoes) or judge(row) or _paused(row, present, to)
                if why:
                    left[why] += 1
                else:
                    chosen.append(row)
            _change(connection, present, id, to, by, chosen)
            if undoes is None:
                reroutings.grow(connection, id, len(chosen))
            changed += [row.id for row in chosen]
    with process.store.writing() as connection:
        if undoes is not None:
            reroutings.mark_undone(connection, id)
        if changed:
            said = to if undoes is None else undoes.to
            given = reason if undoes is None else undoes.reason
            undone = undoes is not None
            note(connection, project.id, EventKind.REROUTED, by=by, to=said, items=len(changed), undone=undone, reason=given)
    log("rerouted", project=project.external_id, to=to, by=by, items=len(changed), undoes=undoes and undoes.id)
    return Rerouted(id, to, tuple(changed), dict(left))


def _change(connection: Connection, project: Project, id: int, to: str, by: str, chosen: Sequence[HeldItem]) -> None:
    of_them = [row.id for row in chosen if row.judged == "auto" and not row.dismissed]
    others = [row.id for row in chosen if row.judged != "auto" or row.dismissed]
    if to == TO_REVIEW:
        reroutings.send(connection, project, id, of_them, by)
        reroutings.dismiss(connection, project, id, others, dismissed=False)
    else:
        reroutings.restore(connection, project, id, of_them)
        reroutings.dismiss(connection, project, id, others, dismissed=True)


def _untouchable(row: HeldItem, undoes: Rerouting | None) -> str:
    if undoes is not None and row.rerouting_id != undoes.id:
        return CHANGED
    if row.gone:
        return GONE
    if row.spot_check in UNSETTLED and row.answer != "resolved":
        return SPOT_CHECK  # before all that would tell a gold task from it
    if row.labelled:
        return LABELLED
    if row.route is None:
        return UNJUDGED
    if row.answer == "resolved":
        return ANSWERED
    return ""


def _sendable(row: HeldItem) -> str:
    return "" if row.route == "auto" or row.dismissed else WAITS


def _restorable(row: HeldItem) -> str:
    if row.dismissed:
        return OUT
    return {"auto": AUTOMATIC, "failed": FAILED}.get(row.route or "", "")


def _paused(row: HeldItem, project: Project, to: str) -> str:
    """A pause may have come since the first item was looked at."""
    return PAUSED if to == BACK and project.paused and row.judged == "auto" else ""


def _refuse_paused(connection: Connection, project: Project, item_ids: Sequence[int]) -> None:
    if project.paused and reroutings.any_automatic(connection, project, item_ids):
        why = why_paused(project.pause, project.alarm, project.external_id)
        raise StateError(
            f"project {project.external_id}: nothing can go back to automatic while automatic labels are paused ({why}); resume them first"
        )


def _name(by: str) -> str:
    return " ".join(by.split())[:LONGEST_NAME] or "somebody"
