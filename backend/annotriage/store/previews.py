"""Previews: how many items would be automatic and how many would wait for people under other limits. Counted, and not guaranteed.

The limits come from a grid that was computed when the reference was kept (`whatif`); the counts are one pass along an index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, false, func, or_, select

from annotriage.errors import SettingError, StateError
from annotriage.store.projects import Project
from annotriage.store.references import get_reference
from annotriage.store.schema import item, reference_grid, verdict

LIMITS = ("max_error", "confidence", "alpha")  # what can be previewed, and changed (service.guarantee.changing_limits)
TABLES = ("class_limits", "costs")  # can be changed too; the same module previews them, on the held-out items themselves
CHANGED = (*LIMITS, *TABLES)
NOT_GUARANTEED = (
    "A preview guarantees nothing: limits that were chosen after looking at it are tested again, more strictly, before labels are automatic"
    " under them."
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a preview can be asked for: the values of its grid, ascending. now: those of the reference. alphas has one value where alpha
    decides nothing."""

    alphas: tuple[float, ...]
    max_errors: tuple[float, ...]
    confidences: tuple[float, ...]
    now: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Preview:
    """What would become of the items judged so far. alpha, max_error, confidence: those that were counted with: of the grid, never less
    strict than those asked for. tau: the least sureness of an automatic item, None if nothing would be automatic."""

    alpha: float
    max_error: float
    confidence: float
    tau: float | None
    auto: int
    uncertain: int
    outlier: int
    failed: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.auto + self.waiting

    @property
    def waiting(self) -> int:
        """Those that would go to people."""
        return self.uncertain + self.outlier + self.failed


def limits_of(connection: Connection, project: Project) -> Limits | None:
    """The limits that can be previewed; None if the reference has no labelled held-out items to try them on."""
    query = select(reference_grid.c.alpha, reference_grid.c.taus).where(reference_grid.c.reference_id == project.reference_id)
    rows = connection.execute(query.order_by(reference_grid.c.alpha)).all()
    if not rows:
        return None
    cells = rows[0].taus["limits"]
    settings = get_reference(connection, project.reference_id).facts["settings"]
    return Limits(
        alphas=tuple(float(row.alpha) for row in rows),
        max_errors=tuple(sorted({float(cell["max_error"]) for cell in cells})),
        confidences=tuple(sorted({float(cell["confidence"]) for cell in cells})),
        now=(settings["alpha"], settings["max_error"], settings["confidence"]),
    )


def preview(
    connection: Connection,
    project: Project,
    *,
    max_error: float | None = None,
    confidence: float | None = None,
    alpha: float | None = None,
) -> Preview:
    """How many of the items judged so far would be automatic, and how many would wait. What is not given stays as it is.

    Raises StateError if there are no labelled held-out items to try limits on, SettingError for a limit stricter than all of the grid.
    """
    limits = limits_of(connection, project)
    if limits is None:
        raise StateError(
            f"project {project.external_id}: other limits cannot be tried, because its reference has no labelled held-out items;"
            " answer the spot checks, then recalibrate"
        )
    asked = [given if given is not None else present for given, present in zip((alpha, max_error, confidence), limits.now, strict=True)]
    alpha = asked[0] if len(limits.alphas) == 1 else _stricter("alpha", asked[0], limits.alphas, up=True)
    max_error = _stricter("max_error", asked[1], limits.max_errors, up=False)
    confidence = _stricter("confidence", asked[2], limits.confidences, up=True)
    line = limits.alphas[0] if len(limits.alphas) == 1 else alpha
    chosen = (reference_grid.c.reference_id == project.reference_id, reference_grid.c.alpha == line)
    threshold, grid = connection.execute(select(reference_grid.c.threshold, reference_grid.c.taus).where(*chosen)).one()
    taus = next(cell["taus"] for cell in grid["limits"] if (cell["max_error"], cell["confidence"]) == (max_error, confidence))
    return counted(connection, project, (alpha, max_error, confidence), threshold, taus, grid["names"], grid["rest"])


def counted(
    connection: Connection,
    project: Project,
    limits: tuple[float, float, float],
    threshold: float | None,
    taus: Mapping[str, float],
    names: Sequence[str],
    rest: str | None,
) -> Preview:
    """What would become of the items judged so far. limits: alpha, max_error, confidence; the rest as in `engine.what_if.WhatIf`."""
    auto, uncertain, outlier, failed = _count(connection, project, threshold, _sure(taus, names, rest))
    return Preview(*limits, min(taus.values(), default=None), auto, uncertain, outlier, failed)


def _stricter(name: str, asked: float, values: tuple[float, ...], *, up: bool) -> float:
    """The value itself if it is of the grid, else the next stricter one."""
    fitting = [value for value in values if (value >= asked - 1e-9 if up else value <= asked + 1e-9)]
    if not fitting:
        raise SettingError(f"{name} = {asked:g}: previews go from {values[0]:g} to {values[-1]:g}; choose one of these or in between")
    return fitting[0] if up else fitting[-1]


def _count(connection: Connection, project: Project, threshold: float | None, sure: ColumnElement[bool]) -> tuple[int, int, int, int]:
    """Items by route: auto, uncertain, outlier, failed; those that are gone are left out."""
    score = verdict.c.score
    outlier = verdict.c.judged == "outlier" if threshold is None else score > threshold
    sums = (
        func.count(),
        func.sum(case((score.is_(None), 1), else_=0)),
        func.sum(case((and_(score.is_not(None), outlier), 1), else_=0)),
        func.sum(case((and_(score.is_not(None), ~outlier, sure), 1), else_=0)),
    )
    mine = (verdict.c.project_id == project.id, verdict.c.reference_id == project.reference_id)
    every = connection.execute(select(*sums).where(*mine)).one()
    gone = select(item.c.id).where(item.c.project_id == project.id, item.c.gone)
    lost = connection.execute(select(*sums).where(*mine, verdict.c.item_id.in_(gone))).one()
    total, failed, outliers, auto = (int(whole or 0) - int(part or 0) for whole, part in zip(every, lost, strict=True))
    return auto, total - failed - outliers - auto, outliers, failed


def _sure(taus: Mapping[str, float], names: Sequence[str], rest: str | None) -> ColumnElement[bool]:
    """Whether an item is sure enough for its class: classes with the same limit are tested together."""
    by_tau: dict[float, list[str]] = {}
    for name, tau in taus.items():
        by_tau.setdefault(tau, []).append(name)
    tests: list[Any] = []
    for tau, classes in by_tau.items():
        of_them: ColumnElement[bool] = verdict.c.label.in_(classes)
        if rest in classes:
            of_them = or_(of_them, verdict.c.label.not_in(names))
        tests.append(and_(of_them, verdict.c.sureness >= tau))
    return or_(false(), *tests)
