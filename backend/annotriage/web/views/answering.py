"""Answering in the queue: what a visitor may choose, their answer, and taking it back. For the queue's script, as JSON alone."""

from __future__ import annotations

from dataclasses import asdict

from flask import request
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from annotriage.errors import DataError
from annotriage.service.intake.answering import answering, give_answer, take_answer_back
from annotriage.states import Standing
from annotriage.store.projects import Project
from annotriage.store.queue import still_waiting
from annotriage.web.query_args import row_id, row_ids
from annotriage.web.routing import Routes
from annotriage.web.sessions import visitor_name

LONGEST_LABEL = 200


def add_views(routes: Routes) -> None:
    """Add the addresses."""
    process = routes.process

    @routes.open("/queue/answering")
    def answering_here(project: Project) -> ResponseReturnValue:
        return asdict(answering(process, project, visitor_name()))

    @routes.reading("/queue/waiting")
    def waiting(connection: Connection, project: Project) -> ResponseReturnValue:
        """Which of these items wait for a person still."""
        ids, out = row_ids(request.args.getlist("item")), request.args.get("state") == Standing.OUT
        return {"waiting": still_waiting(connection, project, ids, out=out)}

    @routes.open("/queue/answer", "POST")
    def answer(project: Project) -> ResponseReturnValue:
        labels = [label[:LONGEST_LABEL] for label in request.form.getlist("label")]
        given = give_answer(process, project, row_id(request.form.get("item", "")), labels, visitor_name(), _seconds())
        return {**asdict(given), "said": f"Task {given.task}: {' + '.join(given.labels)}."}

    @routes.open("/queue/answer/undo", "POST")
    def take_back_answer(project: Project) -> ResponseReturnValue:
        item_id, review = row_id(request.form.get("item", "")), row_id(request.form.get("review", ""))
        task = take_answer_back(process, project, item_id, str(review), visitor_name())
        return {"said": f"Undone: task {task} waits again."}


def _seconds() -> float:
    try:
        seconds = float(request.form.get("seconds", "0"))
    except ValueError:
        seconds = float("nan")
    if not 0 <= seconds < float("inf"):
        raise DataError("seconds: how long the answer took is no number")
    return seconds
