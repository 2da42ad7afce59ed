"""A person's word on many items at once: people shall look at them, or need not any more.

Beside the walk data -> model -> latent -> triage -> store -> delivery. What the model judged stays as `verdict.judged`, and only what
it judged automatic can come back: nobody may promise more than the model shows. Probes are left alone, for they are answered blind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from annotriage.errors import StateError
from annotriage.service.log import log
from annotriage.service.pausing import PAUSED_REASON
from annotriage.service.process import Process
from annotriage.store import reroutings
from annotriage.store.counters import chunks
from annotriage.store.database import AnyRow
from annotriage.store.projects import Project, get_project, note

TO_REVIEW, BACK = "review", "back"
LONGEST_NAME = 100
UNSETTLED = ("open", "disagreed")

GONE = "deleted in the labeling tool"
LABELLED = "labelled by people before they came in"
UNJUDGED = "not judged yet"
ANSWERED = "answered already"
PROBE = "random checks, which stay as they are"
WAITS = "waiting for a person already"
AUTOMATIC = "automatic already"
MODEL_ASKS = "sent to people by the model itself: it is not sure of them, or they are unlike its training items"


@dataclass(frozen=True)
class Rerouted:
    """What came of it. id: under which it can be undone. changed: items. left: how many others were left as they are, by why."""

    id: int
    to: str
    changed: tuple[int, ...]
    left: dict[str, int] = field(default_factory=dict)


def send_to_review(process: Process, project: Project, item_ids: Sequence[int], by: str) -> Rerouted:
    """Automatic items wait for people from now on, in the store and, as soon as it is delivered, in the labeling tool."""
    by = _name(by)
    return _act(process, project, item_ids, TO_REVIEW, by, f"{by} sent {{}} to review on the map")


def take_back(process: Process, project: Project, item_ids: Sequence[int], by: str) -> Rerouted:
    """Items that the model judged automatic, and that wait for people all the same, need no person any more.

    Raises StateError while automatic labels are paused.
    """
    by = _name(by)
    return _act(process, project, item_ids, BACK, by, f"{by} took {{}} out of review on the map")


def undo_rerouting(process: Process, project: Project, id: int, by: str) -> Rerouted:
    """Items that were changed, and not answered or changed again since, are as before. Raises UnknownError, StateError."""
    with process.store.reading() as connection:
        done = reroutings.rerouting_of(connection, project, id)
        if done.undone_at is not None:
            raise StateError("this was undone already; load the page again to see how it stands")
        item_ids = reroutings.items_of(connection, id)
    by = _name(by)
    what = "sending" if done.to == TO_REVIEW else "taking"
    where = "to review" if done.to == TO_REVIEW else "out of review"
    return _act(process, project, item_ids, BACK if done.to == TO_REVIEW else TO_REVIEW, by, f"{by} undid {what} {{}} {where}", undoes=id)


def sent_reason(by: str) -> str:
    """How the reason of an item ends that a person sent to review."""
    return f"; sent to review by {by} on the map."


def _act(
    process: Process, project: Project, item_ids: Sequence[int], to: str, by: str, event: str, *, undoes: int | None = None
) -> Rerouted:
    """In chunks, a short transaction each; event: the sentence of the project's history, with a place for how many."""
    judge, store = (_sendable, process.store) if to == TO_REVIEW else (_restorable, process.store)
    with store.writing() as connection:
        _refuse_paused(get_project(connection, project.id), to)
        id = reroutings.begin(connection, project.id, to, by) if undoes is None else undoes
    changed: list[int] = []
    left: Counter[str] = Counter()
    for ids in chunks(sorted(set(item_ids))):
        with store.writing() as connection:
            present = get_project(connection, project.id)
            rows = reroutings.standing(connection, present, ids)
            chosen = _sort_out(rows, judge, left)
            if not chosen or (to == BACK and present.paused is not None):
                continue
            of_them = [row.id for row in chosen]
            if to == TO_REVIEW:
                reroutings.send(connection, present, id, of_them, by, sent_reason(by))
            else:
                suffixes = [sent_reason(name) for name in sorted({row.sent_by for row in chosen if row.sent_by})]
                reroutings.restore(connection, present, id, of_them, [*suffixes, PAUSED_REASON])
            changed += of_them
    with store.writing() as connection:
        reroutings.end(connection, id, len(changed), undone=undoes is not None)
        if changed:
            note(connection, project.id, "rerouted", event.format(f"{len(changed):,} item{'' if len(changed) == 1 else 's'}"))
    log("rerouted", project=project.external_id, to=to, by=by, items=len(changed), undoes=undoes)
    return Rerouted(id, to, tuple(changed), dict(left))


def _sort_out(rows: Sequence[AnyRow], judge: Callable[[AnyRow], str], left: Counter[str]) -> list[AnyRow]:
    chosen = []
    for row in rows:
        why = _untouchable(row) or judge(row)
        if why:
            left[why] += 1
        else:
            chosen.append(row)
    return chosen


def _untouchable(row: AnyRow) -> str:
    if row.gone:
        return GONE
    if row.labelled:
        return LABELLED
    if row.route is None:
        return UNJUDGED
    if row.answer == "resolved":
        return ANSWERED
    return PROBE if row.probe in UNSETTLED else ""


def _sendable(row: AnyRow) -> str:
    return "" if row.route == "auto" else WAITS


def _restorable(row: AnyRow) -> str:
    if row.route == "auto":
        return AUTOMATIC
    return "" if row.judged == "auto" else MODEL_ASKS


def _refuse_paused(project: Project, to: str) -> None:
    if to == BACK and project.paused is not None:
        raise StateError(
            f"project {project.external_id}: nothing can go back to automatic while automatic labels are paused ({project.paused});"
            " resume them first"
        )


def _name(by: str) -> str:
    return " ".join(by.split())[:LONGEST_NAME] or "somebody"
