"""Labels of a project that look wrong: a queue for people to decide on. Nothing is changed but by a person, in the labeling tool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flask import flash, redirect, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from annotriage.advice.label_words import ASSUMPTIONS, MEANINGS, SEVERAL
from annotriage.advice.numbers import count
from annotriage.service.quality.inheriting import take_inherited_back
from annotriage.service.readings.label_audit import LabelAuditState, label_audit_state
from annotriage.store import jobs, label_audits
from annotriage.store.jobs import Job
from annotriage.store.projects import Project
from annotriage.store.twins import Repeat, latest_repeats, twin_counts
from annotriage.web.routing import Routes
from annotriage.web.sessions import visitor_name

SHOWN = 100  # findings on the page, and duplicates


@dataclass(frozen=True)
class LabelAuditPage:
    """What the page shows. job: the latest audit that was asked for. twins: how many items repeat another one, by states.TwinState;
    repeats: the latest of them."""

    project: Project
    audit: LabelAuditState
    job: Job | None
    twins: Mapping[str, int]
    repeats: Sequence[Repeat]


def add_views(routes: Routes) -> None:
    """Add the page, and what it asks for."""
    meanings = {kind.value: words for kind, words in MEANINGS.items()}
    routes.project_page("/label-audit", "label_audit", _page, MEANINGS=meanings, ASSUMED=(ASSUMPTIONS, SEVERAL))

    @routes.writing("/label-audit/start")
    def start_label_audit(connection: Connection, project: Project) -> ResponseReturnValue:
        jobs.queue(connection, project.id, jobs.LABEL_AUDIT)
        flash("The labels are being checked; the findings show here once that is done.", "done")
        return redirect(url_for("web.label_audit", project=project.external_id), 303)

    @routes.writing("/label-audit/<int:item_id>/keep")
    def keep_label(connection: Connection, project: Project, item_id: int) -> ResponseReturnValue:
        label_audits.keep_label(connection, project, item_id, visitor_name())
        return redirect(url_for("web.label_audit", project=project.external_id, _anchor="findings"), 303)

    @routes.open("/label-audit/inherited/undo", "POST")
    def undo_inherited(project: Project) -> ResponseReturnValue:
        taken = take_inherited_back(routes.process, project, visitor_name())
        flash(f"{count(taken, 'inherited answer')} {'was' if taken == 1 else 'were'} taken back.", "done")
        return redirect(url_for("web.label_audit", project=project.external_id, _anchor="duplicates"), 303)


def _page(connection: Connection, project: Project) -> LabelAuditPage:
    asked = jobs.latest_of(connection, project.id, jobs.LABEL_AUDIT)
    twins = twin_counts(connection, project)
    repeats = latest_repeats(connection, project, SHOWN) if twins else ()
    return LabelAuditPage(project, label_audit_state(connection, project, SHOWN), asked, twins, repeats)
