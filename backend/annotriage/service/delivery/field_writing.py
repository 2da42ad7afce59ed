"""Fields of queued tasks: whoever opens one sees why it waits for a person, and the state of its dataset.

After delivery, in the jobs process: each write costs the labeling tool as much as a page, so there are few, one at a time. A spot check
is known to be one, and carries nothing of what the model says of it; an outlier says how strange it is and how many look like it, and
names no class. It alone shows the diversity of its dataset: whether it is one stray, or one of many.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from annotriage.advice.numbers import count, percent, percent_range
from annotriage.advice.verdict_words import SPOT_CHECK_REASON, blind_outlier_sentence, reason_sentence
from annotriage.errors import ToolError, ToolGone, ToolRefused, ToolUnavailable
from annotriage.service.operations.log import log
from annotriage.states import SPOT_CHECK, SPOT_CHECK_FIELD, FieldWriteState, Route
from annotriage.store import deliveries, field_writes, snapshots, work
from annotriage.store.datasets import SHOWN_FROM, dataset_of_all, datasets_named
from annotriage.store.field_writes import Judged, Taken, Write, Written
from annotriage.store.locks import lock_items
from annotriage.store.projects import find_project
from annotriage.store.references import get_reference

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from annotriage.labeling_tool import ToolProject
    from annotriage.service.operations.process import Process
    from annotriage.store.projects import Project

ROUTE, REASON, OUTLIER_SCORE, DIVERSITY = "triage_route", "triage_reason", "triage_outlier_score", "triage_diversity"
LINK = "triage_link"  # to the item's page here
CHECKED = SPOT_CHECK_FIELD  # of spot checks alone: a tab can ask whether a task has a field, not whether it lacks a word
FIELDS = (ROUTE, REASON, OUTLIER_SCORE, DIVERSITY, LINK, CHECKED)
MAY_CHANGE = (REASON, DIVERSITY, LINK)  # while the item and its verdict stay

EACH_SECONDS = 0.08  # the least for one write: about what the tool takes for it,
PEOPLE_SECONDS = 0.2  # while people answer, whose pages come later for each write beside them,
AT_WORK_SECONDS = 120.0  # that is, until so long after the last answer,
BUSY_SECONDS = 5.0  # and while predictions are made and delivered, which more people wait for
TAKEN_SECONDS = 2.0  # of writes are taken at a time
REWRITTEN_SECONDS = 600.0  # the least age of what is written again
LOOK_SECONDS = 300.0  # between two looks at what has grown stale
WAIT_SECONDS = 3.0  # for a first snapshot
ATTEMPTS = 5
AGAIN = (60.0, 300.0, 900.0, 3600.0)  # seconds until the next attempt


def fields_of(connection: Connection, project: Project, item_ids: Sequence[int], public_url: str = "") -> dict[int, dict[str, object]]:
    """The fields of those of the items that go to a person; triage_diversity is among those of outliers once its dataset has a snapshot.

    public_url: where people reach the dashboard, for triage_link; "" makes none.
    """
    shown = _shown(connection, project, item_ids, public_url)
    return {id: fields for id, each in shown.items() if (fields := {key: value for key, value in each.fields.items() if value is not None})}


class FieldWriting:
    """Writes the fields of queued tasks into the labeling tool."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._looked: dict[int, float] = {}

    def step(self, project: Project) -> bool:
        """Write some fields of one project, if any are due; whether there were any. Raises ToolUnavailable, ToolRefused."""
        if project.watch or project.problem or project.gone or not project.options.item_fields:
            return False
        if not self._look(project):
            return False
        with self._process.store.reading() as connection:
            if not field_writes.any_due(connection, project.id):
                return False
            busy = work.anything_due(connection) or not {"pending", "sending"}.isdisjoint(deliveries.waiting(connection, project.id))
            people = field_writes.people_at_work(connection, project.id, time.time() - AT_WORK_SECONDS)
        each = BUSY_SECONDS if busy else PEOPLE_SECONDS if people else EACH_SECONDS
        with self._process.store.writing() as connection:
            taken = field_writes.take(connection, project.id, self._process.owner, max(1, round(TAKEN_SECONDS / each)))
        if not taken.writes:
            return False
        with self._process.store.reading() as connection:  # after they were taken: what changes from now on queues them again
            shown = _shown(connection, project, [write.item_id for write in taken.writes], links_to(self._process, project))
        run = _Run(self._process, project, taken, each)
        try:
            for write in taken.writes:
                if self._process.stopping.is_set() or self._is_disconnected(project):
                    break
                run.write(write, shown.get(write.item_id))
        finally:
            run.finish()
        return True

    def _is_disconnected(self, project: Project) -> bool:
        """Whether the project was let go of meanwhile: what is written after that would stay behind."""
        with self._process.store.reading() as connection:
            now = find_project(connection, project.external_id)
        return now is None or now.gone

    def _look(self, project: Project) -> bool:
        """Whether there is a snapshot to show. Now and then, what was written is stale if its dataset's score is another by now."""
        now = time.monotonic()
        if now - self._looked.get(project.id, -LOOK_SECONDS) < LOOK_SECONDS:
            return True
        with self._process.store.reading() as connection:
            datasets = field_writes.shown_datasets(connection, project.id)
            found = snapshots.latest(connection, datasets, project.reference_id)
            stale = field_writes.outdated(connection, project.id, found, time.time() - REWRITTEN_SECONDS)
        if stale:
            with self._process.store.writing() as connection:
                lock_items(connection, stale)
                field_writes.make_stale(connection, stale)
        if found:
            self._looked[project.id] = now
        return bool(found)


class _Run:
    """A few writes that were taken together, and what became of each."""

    def __init__(self, process: Process, project: Project, taken: Taken, each: float) -> None:
        self._process, self._project, self._taken, self._each = process, project, taken, each
        self._tool: ToolProject = process.tool_project(project)
        self._written: list[tuple[int, _Shown]] = []
        self._over: list[int] = []
        self._put_off: list[_PutOff] = []

    def write(self, write: Write, shown: _Shown | None) -> None:
        """Write one task's fields. Raises ToolUnavailable or ToolRefused if it is not this task's fault."""
        if shown is None:
            self._over.append(write.item_id)
            return
        if shown.waits:
            self._put_off.append(_PutOff(write.item_id, write.attempts, time.time() + WAIT_SECONDS))
            return
        fields = shown.fields
        if write.state == FieldWriteState.STALE:
            fields = {name: fields[name] for name in MAY_CHANGE if fields[name] is not None}
            if fields.keys() == {REASON}:  # nothing that the task was created with has changed
                self._written.append((write.item_id, shown))
                return
        started = time.monotonic()
        try:
            self._tool.write_fields(write.external_id, fields)
        except ToolGone:  # whoever follows the tool marks the item
            self._over.append(write.item_id)
            return
        except (ToolUnavailable, ToolRefused):
            raise
        except ToolError as error:
            self._put_off.append(self._after(write, error))
        except Exception as error:  # nobody foresaw it: this task's alone, until another shows it, too
            logging.getLogger(__name__).error("task %s: nobody foresaw this", write.external_id, exc_info=error)
            self._put_off.append(self._after(write, error))
        else:
            self._written.append((write.item_id, shown))
        self._process.stopping.wait(max(0.0, self._each - (time.monotonic() - started)))

    def finish(self) -> None:
        """Keep what became of all that were taken; those that were not tried are free again."""
        taken = self._taken
        with self._process.store.writing() as connection:
            lock_items(connection, [write.item_id for write in taken.writes])
            for id, shown in self._written:
                if shown.fields[ROUTE] is None:
                    self._over.append(id)
                else:
                    field_writes.finish(connection, taken, [id], FieldWriteState.WRITTEN, shown=shown.written)
            for late in self._put_off:
                state = FieldWriteState.FAILED if late.failed else None
                field_writes.finish(connection, taken, [late.item_id], state, attempts=late.attempts, not_before=late.not_before)
            field_writes.drop(connection, taken, self._over)
            field_writes.let_go(connection, taken)
        log("fields written", project=self._project.external_id, tasks=len(self._written))

    def _after(self, write: Write, error: Exception) -> _PutOff:
        attempts = write.attempts + 1
        about: dict[str, object] = {"project": self._project.external_id, "item": write.external_id, "error": error}
        if attempts >= ATTEMPTS:
            log("fields cannot be written", level=logging.ERROR, **about)
            return _PutOff(write.item_id, attempts, failed=True)
        wait = AGAIN[min(attempts, len(AGAIN)) - 1]
        log("fields were not taken", level=logging.WARNING, again_in=wait, **about)
        return _PutOff(write.item_id, attempts, time.time() + wait)


@dataclass(frozen=True, slots=True)
class _PutOff:
    """A write that was not made now. failed: nor will it be."""

    item_id: int
    attempts: int
    not_before: float = 0.0
    failed: bool = False


# -- what the fields say


NOTHING = Written(None, None, None, None)


@dataclass(frozen=True)
class _Shown:
    """The fields of one item, None for those that it shall not have. written: what of them may change. waits: for the first snapshot of
    its dataset."""

    fields: dict[str, object]
    written: Written = NOTHING
    waits: bool = False


def _shown(connection: Connection, project: Project, item_ids: Sequence[int], public_url: str) -> dict[int, _Shown]:
    rows = field_writes.verdicts_shown(connection, project, item_ids)
    chosen = _datasets(connection, project, {row.shown_dataset_id for row in rows})
    found = snapshots.latest(connection, list(set(chosen.values())), project.reference_id)
    held_out = get_reference(connection, project.reference_id).facts["counts"].get("held_out")
    compared = "held-out" if held_out else "training"
    titles = {id: found.title for id, found in datasets_named(connection, project, list(found)).items()}
    shown = {}
    for row in rows:
        if (row.route == "auto" or row.dismissed) and row.spot_check is None:
            shown[row.item_id] = _Shown(dict.fromkeys(FIELDS))
            continue
        fields = _words(row, compared) | {DIVERSITY: None, LINK: _link(public_url, project, row)}
        if row.route != Route.OUTLIER or row.spot_check is not None:
            shown[row.item_id] = _Shown(fields)
            continue
        snapshot = found.get(chosen[row.shown_dataset_id])
        if snapshot is None:
            shown[row.item_id] = _Shown(fields, waits=True)
        else:
            fields[DIVERSITY] = f"{titles[snapshot.dataset_id]}: {diversity_text(snapshot.facts['diversity'])}"
            shown[row.item_id] = _Shown(fields, Written(snapshot.dataset_id, snapshot.low, snapshot.high, row.look_alikes))
    return shown


def _link(public_url: str, project: Project, row: Judged) -> str | None:
    """Where the item's page is; of a pushed item only once it has a task."""
    page = project_page(public_url, project.external_id)
    return f"{page}/items/{quote(row.external_id, safe='')}" if page and row.external_id is not None else None


def links_to(process: Process, project: Project) -> str:
    """Where links in tasks lead: as it was when the project was connected, which writes all of them anew."""
    return project.options.public_url or process.settings.public_url


def project_page(public_url: str, project_id: str) -> str:
    """Where people find a project in the dashboard; "" where nobody has said at which address they reach it."""
    return f"{public_url.rstrip('/')}/projects/{quote(project_id, safe='')}" if public_url else ""


def _words(row: Judged, compared: str) -> dict[str, object]:
    """All fields but the diversity and the link. compared: with which items the reference compares."""
    if row.spot_check is not None:
        return {ROUTE: SPOT_CHECK, REASON: SPOT_CHECK_REASON, OUTLIER_SCORE: None, CHECKED: "yes"}
    reason = reason_sentence(row.reason, row.held_back, row.sent_by)
    if row.route == Route.OUTLIER and row.outlier_score is not None:
        reason = blind_outlier_sentence(row.outlier_score, compared, row.class_score, row.source_score, row.look_alikes or 0)
    return {ROUTE: row.route, REASON: reason, OUTLIER_SCORE: _figure(row.outlier_score), CHECKED: None}


def _figure(score: float | None) -> float | None:
    return None if score is None else round(score, 4)


def _datasets(connection: Connection, project: Project, shown: set[int | None]) -> dict[int | None, int]:
    """Whose diversity is shown: the item's own dataset if it is large enough, else that of all."""
    every = dataset_of_all(connection, project)
    of_all = 0 if every is None else every.id
    return {id: id if id is not None and field_writes.holds_at_least(connection, id, SHOWN_FROM) else of_all for id in shown}


def diversity_text(diversity: Mapping[str, Any]) -> str:
    """The diversity score in a few words: "31% outliers (26.4 to 36.2%), 5% expected". diversity: as in a snapshot's facts."""
    if not diversity["n"]:
        return f"none of {count(diversity['failed'], 'item')} could be scored"
    share = f"{percent(diversity['share'])} strange ({percent_range(diversity['low'], diversity['high'])})"
    return f"{share}, {percent(diversity['expected'])} expected" if diversity["calibrated"] else f"{share}, uncalibrated"
