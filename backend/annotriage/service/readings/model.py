"""What is known of the model of a project: what it is, and what jobs found inside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from annotriage.states import InsightKind
from annotriage.store import jobs, references
from annotriage.store.insights import Insight, insight_of, job_kind
from annotriage.store.jobs import Job
from annotriage.store.projects import Project


@dataclass(frozen=True, slots=True)
class ModelState:
    """The model of a project's reference.

    version: of the reference. hash: sha256 over the model's files. runs_on: "torch" or "onnxruntime". files: sizes in bytes by name.
    input: the table [input] of its spec; choice: whether one class applies to an item or several; layers: those that are compared, the
    deciding one first. accuracy: on the training items and the labelled held-out ones, None where nobody knows.
    """

    name: str
    reference: str
    version: str
    hash: str
    runs_on: str
    files: Mapping[str, int]
    classes: tuple[str, ...]
    choice: str
    input: Mapping[str, Any]
    layers: tuple[str, ...]
    accuracy: Mapping[str, float | None]
    training_items: int

    @property
    def pictures(self) -> bool:
        """Whether it looks at images."""
        return bool(self.input["kind"] == "image")


@dataclass(frozen=True, slots=True)
class InsightState:
    """What a job found. current: whether it was found with the reference in use. job: the latest, without its payload."""

    insight: Insight | None
    current: bool
    job: Job | None

    @property
    def running(self) -> bool:
        """Whether it is being found anew."""
        return self.job is not None and self.job.open


def model_state(connection: Connection, project: Project) -> ModelState:
    """The model of a project."""
    row = references.get_reference(connection, project.reference_id)
    facts, files = row.facts, references.model_files_of(connection, project.reference_id)
    spec = facts["model"]["spec"]
    torch = bool(spec["model"].get("factory")) or any(name.endswith(".pt2") for name in files)
    return ModelState(
        facts["model"]["name"],
        row.name,
        row.version,
        facts["model"]["hash"],
        "torch" if torch else "onnxruntime",
        files,
        tuple(spec["model"]["classes"]),
        spec["model"].get("choice", "single"),
        spec["input"],
        tuple(facts["model"]["layers"]),
        facts["accuracy"],
        int(facts["counts"]["training"]),
    )


def insight_state(connection: Connection, project: Project, kind: InsightKind) -> InsightState:
    """What was found of this kind, and whether it is being found anew."""
    found = insight_of(connection, project.id, kind)
    version = references.version_of(connection, project.reference_id)
    return InsightState(found, found is not None and found.version == version, jobs.latest_of(connection, project.id, job_kind(kind)))
