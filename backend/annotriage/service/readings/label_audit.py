"""The label audit of a project as people and programs read it: the findings to decide on, and how many were real so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from annotriage.states import FindingState, Time
from annotriage.store import label_audits
from annotriage.store.label_audits import Finding
from annotriage.store.projects import Project


@dataclass(frozen=True, slots=True)
class Precision:
    """How many of the findings that people decided were real: corrected, of those decided; share with its 95% limits."""

    corrected: int
    decided: int
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LabelAuditState:
    """The latest audit of a project.

    facts: its summary, None before the first. findings: those to decide on, the first of them; open: how many there are. precision:
    None before anybody has decided. offered: whether the next hundred are expected to hold one in ten real ones at least.
    """

    facts: Mapping[str, Any] | None
    at: Time | None
    findings: tuple[Finding, ...]
    open: int
    precision: Precision | None
    offered: bool


def label_audit_state(connection: Connection, project: Project, limit: int) -> LabelAuditState:
    """How the label audit of a project stands."""
    from annotriage.guarantee.binomial import clopper_pearson  # heavy: loaded with the first of these pages
    from annotriage.quality.label_issues import worth_offering

    audit = label_audits.audit_of(connection, project)
    found = label_audits.findings_of(connection, project.id)
    waiting = [finding for finding in found if finding.waits]
    real = [finding.state == FindingState.CORRECTED for finding in found if finding.state != FindingState.OPEN]
    return LabelAuditState(
        None if audit is None else audit.facts,
        None if audit is None else audit.at,
        tuple(waiting[:limit]),
        len(waiting),
        Precision(sum(real), len(real), sum(real) / len(real), *clopper_pearson(sum(real), len(real))) if real else None,
        worth_offering(real),
    )
