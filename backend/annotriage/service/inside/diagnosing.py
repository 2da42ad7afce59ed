"""The seven questions, answered on the items of a project that people have answered, or on its training set; kept for its page."""

from __future__ import annotations

import json
from typing import Any

from annotriage.engine.diagnosis.diagnose import Answered, Diagnosis, diagnose
from annotriage.progress import Progress, silent
from annotriage.report.output import json_text
from annotriage.service.inside.items import Which, labelled_items
from annotriage.service.inside.keeping import keeping
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.states import InsightKind
from annotriage.store.insights import keep_insight
from annotriage.store.jobs import Job
from annotriage.store.projects import Project


def diagnose_project(process: Process, project: Project, job: Job, progress: Progress = silent) -> str:
    """Answer the questions that need no further model, and keep the answers: a sentence on them.

    job: its payload says which items, as `Which`, and may name a bank. Raises DataError, StateError, FitError, ModelError, MismatchError,
    ToolUnavailable.
    """
    which = Which(job.payload.get("items", Which.ANSWERS))
    bank = job.payload.get("bank") if which is Which.TRAINING else None  # answers hold held-out items
    reference = process.reference(project.reference_id)
    source = labelled_items(process, project, which)
    found = diagnose(reference, source, bank=bank, settings=process.run_settings(reference), progress=progress)
    facts, pieces = _plain(found, which)
    with keeping(process, job) as connection:
        keep_insight(connection, project.id, InsightKind.DIAGNOSIS, reference.version, facts, pieces)
    log("model diagnosed", project=project.external_id, items=found.items, wrong=found.wrong)
    return f"The questions are answered on {found.items:,} items, {found.wrong:,} of which the model gets wrong."


def _plain(found: Diagnosis, which: Which) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What is kept: of answered items the ids alone, since what may be shown of them can change; of others their names and pictures."""
    facts = json.loads(json_text(found.summary())) | {"which": which}
    pieces: dict[str, bytes] = {}
    for plain, answer in zip(facts["answers"], found.answers, strict=True):
        plain["items"] = [_face(answer, place, which, pieces) for place in range(len(answer.faces))]
    return facts, pieces


def _face(answer: Answered, place: int, which: Which, pieces: dict[str, bytes]) -> dict[str, Any]:
    face = answer.faces[place]
    said = {"label": face.label, "predicted": face.predicted}
    if which is Which.ANSWERS:
        return {"item_id": int(face.id), **said}
    name = f"{answer.query}-{place}"
    if face.picture:
        pieces[name] = face.picture
    return {"name": face.id, "piece": name if face.picture else None, **said}
