"""The label audit of a project: the labels that people gave to its tasks, looked through by its reference.

The media are fetched again and pass through the model once more. Annotations are never changed: people decide on each finding, on the
page or in the labeling tool.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence

from annotriage.data import Dataset, Item, Problem
from annotriage.engine.label_audit.audit import audit_dataset
from annotriage.errors import DataError, MediaUnavailable
from annotriage.labeling_tool import AUDIT_VERSION, Shown
from annotriage.progress import Progress, silent
from annotriage.report.output import json_text
from annotriage.service.judging.kept_model import load_kept_model
from annotriage.service.judging.media import MediaReader
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.states import FindingState
from annotriage.store import label_audits
from annotriage.store.items import AnsweredItem
from annotriage.store.label_audits import Finding
from annotriage.store.projects import Project

MOST_ITEMS = 20_000  # of the latest answers


def audit_project(process: Process, project: Project, progress: Progress = silent) -> str:
    """Audit the labels of a project's answered items and keep what was found: its headline.

    Raises DataError if there is nothing to check, ToolUnavailable if the labeling tool cannot be read.
    """
    reference = process.reference(project.reference_id)
    with process.store.reading() as connection:
        rows = label_audits.answered_items(connection, project.id, MOST_ITEMS)
    if not rows:
        raise DataError(
            f"project {project.external_id}: people have answered no items besides spot checks, which take no part; audit again later"
        )
    settings = process.run_settings(reference)
    model = load_kept_model(reference, settings)
    dataset = Dataset(f"answers of {project.title}", len(rows), lambda: _items(process, project, rows))
    audit = audit_dataset(reference, model, dataset, settings=settings, progress=progress)
    names = {str(row.id): row.external_id or row.marker or "" for row in rows}
    findings = []
    for place, found in enumerate(audit.findings):
        doubted = (found.kind, found.given, found.likely, found.score, found.reason, found.agree)
        findings.append(Finding(int(found.id), names[found.id], place, *doubted, FindingState.OPEN))
    with process.store.writing() as connection:
        label_audits.keep_audit(connection, project.id, json.loads(json_text(audit.summary())), findings)
    show_findings(process, project)
    log("labels audited", project=project.external_id, items=audit.items, findings=len(findings))
    return audit.headline


def show_findings(process: Process, project: Project) -> None:
    """Show the findings in the labeling tool: their likely labels as predictions of a version of its own, and a tab that lists them.

    What an earlier audit showed goes. Nothing is written where a project is only watched, or before the tool shows a version. A finding
    without a likely label gets an empty prediction.
    """
    if project.watch or not project.shown_version:
        return
    tool = process.tool_project(project)
    if AUDIT_VERSION in tool.versions():
        tool.drop_version(AUDIT_VERSION, keep=project.shown_version)
    with process.store.reading() as connection:
        open_ones = {found.name: found for found in label_audits.findings_of(connection, project.id) if found.waits}
    if open_ones:
        shown = [Shown(name, found.likely or None, max(0.0, 1 - found.score)) for name, found in open_ones.items()]
        outcomes = tool.deliver(shown, AUDIT_VERSION)
        if outcomes.error is not None:
            raise outcomes.error
        with process.store.writing() as connection:
            label_audits.set_shown(connection, [open_ones[name].item_id for name in outcomes.done], True)
    tool.repair()


def withdraw_decided(process: Process, project: Project) -> bool:
    """Take the predictions of findings that people decided, or that have no answer any more, out of the labeling tool; whether there were
    any."""
    if project.watch:
        return False
    with process.store.reading() as connection:
        if not label_audits.any_shown(connection, project.id):
            return False
        found = label_audits.findings_of(connection, project.id)
    decided = {finding.name: finding.item_id for finding in found if finding.shown and not finding.waits}
    if not decided:
        return False
    tool = process.tool_project(project)
    tool.withdraw([id for ids in tool.delivered(list(decided), AUDIT_VERSION).values() for id in ids])
    with process.store.writing() as connection:
        label_audits.set_shown(connection, list(decided.values()), False)
    return True


def _items(process: Process, project: Project, rows: Sequence[AnsweredItem]) -> Iterator[Item]:
    """The items with people's labels, their media fetched again; what cannot be had now is left out and counted."""
    reader = MediaReader(process.settings, process.server)
    try:
        for row, item in reader.read(process.tool_project(project), rows):
            if isinstance(item, MediaUnavailable):
                item = Item(str(row.id), None, group=row.group, problem=Problem(item.failure, str(item)))
            yield dataclasses.replace(item, labels=row.given)
    finally:
        reader.close()
