"""A new model from what people answered: train it, see whether it is better, let it take over, go back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flask import Response, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from annotriage.advice import training_words as words
from annotriage.errors import SettingError, UnknownError
from annotriage.service.guarantee import model_choice
from annotriage.service.readings.training import MOST_COUNTED, TrainingState, training_state
from annotriage.store import trainings
from annotriage.store.files import pieces_of
from annotriage.store.projects import Project
from annotriage.web.query_args import number_in
from annotriage.web.routing import Routes
from annotriage.web.sessions import visitor_name

LONGEST = 1_000  # epochs that can be asked for


@dataclass(frozen=True)
class TrainingPage:
    """What the page shows."""

    project: Project
    training: TrainingState


def add_views(routes: Routes) -> None:
    """Add the page, and what it asks for."""
    process = routes.process
    routes.project_page(
        "/training",
        "training",
        _page,
        MEASURES=model_choice.MEASURES,
        EPOCHS=model_choice.EPOCHS,
        MOST_COUNTED=MOST_COUNTED,
        model_headline=words.model_headline,
        what_decides=words.what_decides,
        at_first=words.at_first,
    )

    def back_to_page(project: Project) -> ResponseReturnValue:
        return redirect(url_for("web.training", project=project.external_id), 303)

    @routes.writing("/training/start")
    def start_training(connection: Connection, project: Project) -> ResponseReturnValue:
        perplexity, whole = request.form.get("perplexity") or "off", request.form.get("whole") == "on"
        model_choice.ask_training(connection, project, visitor_name(), epochs=_epochs(), perplexity=perplexity, whole=whole)
        flash("A new model is being trained; its progress shows here. The current one goes on meanwhile.", "done")
        return back_to_page(project)

    @routes.open("/training/cancel", "POST")
    def cancel_training(project: Project) -> ResponseReturnValue:
        cancelled = model_choice.cancel_training(process, project)
        flash("The training was cancelled; nothing has changed." if cancelled else "The training had ended already.", "done")
        return back_to_page(project)

    @routes.open("/training/<int:trained>/take-over", "POST")
    def take_over(project: Project, trained: int) -> ResponseReturnValue:
        model_choice.let_take_over(process, project, trained, visitor_name())
        flash("The new model is taking over: every item is judged again first. The current one holds until then.", "done")
        return back_to_page(project)

    @routes.open("/training/<int:trained>/go-back", "POST")
    def go_back(project: Project, trained: int) -> ResponseReturnValue:
        model_choice.go_back(process, project, trained, visitor_name())
        flash("The old model is taking over again: every item is judged again first.", "done")
        return back_to_page(project)

    @routes.open("/training/<int:trained>/report.html")
    def training_report(project: Project, trained: int) -> ResponseReturnValue:
        with process.store.reading() as connection:
            found = trainings.trained_of(connection, project, trained)
        file_id = found.stored_file_id
        if file_id is None:
            raise UnknownError("this report is gone, because an item was erased whose picture may have been in it")

        def pieces() -> Iterator[bytes]:
            with process.store.reading() as connection:
                yield from pieces_of(connection, file_id)

        headers = {"Content-Disposition": f'attachment; filename="training-{trained}.html"', "Content-Length": str(found.size)}
        return Response(pieces(), mimetype="text/html", headers=headers)


def _epochs() -> int:
    """The passes over the items that the form asks for. Raises SettingError."""
    text = request.form.get("epochs", "").strip() or str(model_choice.EPOCHS)
    epochs = number_in(text, 1, LONGEST)
    if epochs is None:
        raise SettingError(f"passes over the items: {text[:20]!r} is no whole number from 1 to {LONGEST:,}")
    return epochs


def _page(connection: Connection, project: Project) -> TrainingPage:
    return TrainingPage(project, training_state(connection, project))
