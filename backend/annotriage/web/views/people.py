"""How well people answer: against known answers, against each other, and beside the model; and the known answers themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from annotriage.advice.numbers import count
from annotriage.errors import DataError
from annotriage.service.operations.process import Process
from annotriage.service.quality import gold
from annotriage.service.readings.people import Cell, PeopleState, people_state
from annotriage.states import ROUTES, GoldState, Role
from annotriage.store.gold import GoldTask, KeptKnown, forget, gold_tasks, ground_truths
from annotriage.store.projects import Project
from annotriage.store.references import get_reference
from annotriage.web.routing import Routes
from annotriage.web.sessions import visitor_may, visitor_name

SHOWN = 100  # items of a list
LONGEST_LABEL = 1_000
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class PeoplePage:
    """What the page shows. manages: whether whoever looks may keep known answers; waiting: those that nobody was asked yet.
    example: a class of this project.

    truths: how many ground truths of the labeling tool could be kept as known answers, counted up to 100.
    """

    project: Project
    state: PeopleState
    manages: bool
    example: str
    waiting: Sequence[GoldTask]
    truths: int


def add_views(routes: Routes) -> None:
    """Add the page, and what its buttons do."""
    process = routes.process
    routes.project_page("/people", "people", partial(_page, process))

    @routes.open("/people/gold", "POST")
    def set_gold(project: Project) -> ResponseReturnValue:
        """Keep known answers: those that the form names, or some ground truths of the labeling tool."""
        text, most = request.form.get("answers", "").strip(), request.form.get("most", "")
        if text:
            flash(_said(gold.keep_known(process, project, known_answers(text), visitor_name())), "done")
        elif most.isascii() and most.isdigit() and len(most) <= len(str(SHOWN)) and 0 < int(most) <= SHOWN:
            flash(_said(gold.keep_ground_truths(process, project, int(most), visitor_name())), "done")
        else:
            raise DataError(f"answers: write a line for each, as 4711,label; or ask for 1 to {SHOWN} of those marked as ground truth")
        return _back(project)

    @routes.writing("/people/gold/<int:gold_id>/forget")
    def forget_gold(connection: Connection, project: Project, gold_id: int) -> ResponseReturnValue:
        forget(connection, project, gold_id)
        flash("This answer is not asked.", "done")
        return _back(project)

    @routes.open("/people/gold/take-out", "POST")
    def take_gold_out(project: Project) -> ResponseReturnValue:
        done = gold.take_gold_out(process, project)
        flash(" ".join(done) or "No answered gold task stands in the labeling tool.", "done")
        return _back(project)


def known_answers(text: str) -> dict[str, tuple[str, ...]]:
    """Lines as "4711,label", several of one task for several labels. Raises DataError."""
    known: dict[str, tuple[str, ...]] = {}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        task, comma, label = (part.strip() for part in line.partition(","))
        if not comma or not task or not label:
            raise DataError(f"answers: {line[:60]!r} is not understood; write the number of a task, a comma and its label, as 4711,label")
        known[task] = tuple(dict.fromkeys((*known.get(task, ()), label)))
    return known


def _said(done: KeptKnown) -> str:
    left = "; ".join(f"{number:,} left out: {why}" for why, number in done.left.items())
    return f"{count(done.added, 'known answer')} kept{'; ' if left else ''}{left}."


def _back(project: Project) -> ResponseReturnValue:
    return redirect(url_for("web.people", project=project.external_id, _anchor="gold"), 303)


def _page(process: Process, connection: Connection, project: Project) -> PeoplePage:
    manages = visitor_may(Role.DECIDE)
    return PeoplePage(
        project=project,
        state=people_state(process, connection, project, _cell(), managers=manages, limit=SHOWN),
        manages=manages,
        example=get_reference(connection, project.reference_id).facts["model"]["spec"]["model"]["classes"][0],
        waiting=gold_tasks(connection, project.id, GoldState.WAITING, limit=SHOWN) if manages else (),
        truths=len(ground_truths(connection, project, SHOWN)) if manages else 0,
    )


def _cell() -> Cell:
    """The blind answers that the address asks for. Raises DataError."""
    week, route = request.args.get("week") or None, request.args.get("route") or None
    if week is not None and not DAY.fullmatch(week):
        raise DataError(f"week: {week[:40]!r} is no day; give the Monday, as 2026-11-23")
    if route is not None and route not in ROUTES:
        raise DataError(f"route: {route[:40]!r} is none of {', '.join(ROUTES)}")
    said, answered = (None if name not in request.args else request.args[name][:LONGEST_LABEL] for name in ("said", "answered"))
    return Cell(week, route, said or None, answered or None)
