"""The files of a label audit: label_issues.csv, summary.json and report.html, complete or not there at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from annotriage.advice.label_words import MEANINGS
from annotriage.data import Source
from annotriage.engine.folders import whole_folder
from annotriage.engine.label_audit.audit import audit_labels
from annotriage.engine.label_audit.findings import LabelAudit, LabelFinding
from annotriage.engine.reference import Reference
from annotriage.model import Model
from annotriage.model.spec import ModelSpec
from annotriage.progress import Progress, silent
from annotriage.report.csv_cells import Cell, csv_lines
from annotriage.report.html import bundle, frame, template, write_page
from annotriage.report.output import REPORT, SUMMARY, json_text
from annotriage.settings import ServiceSettings, Settings

ISSUES = "label_issues.csv"
QUALITY = ("self-confidence", "margin", "entropy", "loss")
COLUMNS = ("id", "given", "likely", "kind", "score", "reason", "path", "outlier_score", *QUALITY, "agree")
FIRST = 5  # findings on the terminal
SHOWN = 500  # findings with their faces
MATRIX_CLASSES = 30  # more do not fit a page: then the frequent pairs alone
PAIRS_SHOWN = 60


def audit_labels_to_folder(
    reference: Reference,
    data: Source,
    out: Path | str,
    *,
    folds: int | None = None,
    order: str = "self-confidence",
    rules: Sequence[str] = (),
    model: Model | ModelSpec | Path | str | None = None,
    settings: Settings | None = None,
    replace_existing: bool = False,
    labeling_config: Path | None = None,
    server: ServiceSettings | None = None,
    progress: Progress = silent,
) -> LabelAudit:
    """As `annotriage.audit_labels`, with label_issues.csv, summary.json and report.html in the folder `out`.

    The folder is made whole or not at all. replace_existing: whether it may hold results already.
    Raises OutputError if the folder exists already (unless it holds results that may be replaced) or cannot be written.
    """
    with whole_folder(Path(out), what="results", mark=SUMMARY, replaceable=replace_existing) as folder:
        found = audit_labels(
            reference,
            data,
            folds=folds,
            order=order,
            rules=rules,
            model=model,
            settings=settings,
            labeling_config=labeling_config,
            server=server,
            progress=progress,
        )
        write_page(csv_lines(COLUMNS, map(_row, found.findings)), folder / ISSUES, "table")
        (folder / SUMMARY).write_text(json_text(found.summary()), "utf-8", "backslashreplace")
        write_page(_page(found), folder / REPORT)
        return found


def audit_text(audit: LabelAudit) -> str:
    """What the audit found, in a few lines for the terminal."""
    kinds = [f"{number:,} {kind}" for kind, number in audit.counts().items() if number]
    lines = [audit.headline, *audit.sentences]
    if kinds:
        lines.insert(1, f"Of them {', '.join(kinds)}.")
    first = [f"  {finding.id}: {finding.reason}" for finding in audit.findings[:FIRST]]
    return "\n".join([*lines, *first, *(f"Note: {note}" for note in audit.notes)])


def _row(finding: LabelFinding) -> list[Cell]:
    given, likely = ("|".join(label.replace("|", "\\|") for label in labels) for labels in (finding.given, finding.likely))
    why = finding.kind.value, finding.score, finding.reason
    quality = [finding.quality.get(name) for name in QUALITY]
    return [finding.id, given, likely, *why, finding.path, finding.outlier_score, *quality, "yes" if finding.agree else "no"]


def _page(audit: LabelAudit) -> Iterator[str]:
    """The page in pieces."""
    names = [row.name for row in audit.classes]
    pairs: list[tuple[float, str, str]] = []
    largest = 0.0
    if audit.matrix is not None:
        off = audit.matrix - np.diag(audit.matrix.diagonal())
        largest = float(off.max(initial=0.0))
        given, likely = np.unravel_index(np.argsort(-off, axis=None)[:PAIRS_SHOWN], off.shape)
        pairs = [(float(off[row, column]), names[row], names[column]) for row, column in zip(given, likely, strict=True)]
    return template("label_audit.html").generate(
        audit=audit,
        created=datetime.now(UTC).astimezone(),
        counts=audit.counts(),
        meanings={kind.value: meaning for kind, meaning in MEANINGS.items()},
        names=names,
        matrix=audit.matrix if len(names) <= MATRIX_CLASSES else None,
        largest=largest,
        pairs=[pair for pair in pairs if pair[0] >= 0.5],
        shown=audit.findings[:SHOWN],
        **frame(bundle("elements.js", "theme_button.js", "label_audit.js")),
    )
