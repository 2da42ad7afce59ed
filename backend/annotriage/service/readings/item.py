"""How items stand: in a line, and one with all that is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from annotriage.labeling_tool import ToolProject
from annotriage.service.readings.dataset import DatasetName, dataset_name
from annotriage.service.readings.times import Time, time_text
from annotriage.store import browsing
from annotriage.store.database import AnyRow


@dataclass(frozen=True, slots=True)
class ItemLine:
    """An item. task: its id in the labeling tool, pushed: the id that it got when it was pushed; either may be null.

    route: null until it is judged; trust: by which annotators' tasks are sorted (another one than the verdict's for a spot check).
    labels: what the model says; answer: open, resolved, disputed or labelled (before triage saw it); answered: people's labels.
    dismissed: a person took it out of the queue without an answer.
    """

    task: str | None
    pushed: str | None
    address: str | None
    at: Time
    route: str | None
    trust: float | None
    labels: tuple[str, ...] | None
    confidence: float | None
    outlier_score: float | None
    reason: str | None
    spot_check: str | None
    answer: str
    answered: tuple[str, ...] | None
    machine: bool
    dismissed: bool


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict. judged: the model's own route, before a pause took `auto` away; trust: the true one. members: score of each member."""

    judged: str
    trust: float
    cluster: str | None
    score: float | None
    class_score: float | None
    source_score: float | None
    members: dict[str, float | None]
    p_value: float | None
    sureness: float | None
    seconds: float
    at: Time


@dataclass(frozen=True, slots=True)
class DeliveryLine:
    """A prediction on its way. labels: what annotators see, null hides the model's answer. error: what the last attempt met."""

    version: str
    state: str
    labels: tuple[str, ...] | None
    trust: float
    attempts: int
    error: str | None
    at: Time


@dataclass(frozen=True, slots=True)
class ReviewLine:
    """What one person (or, with `machine`, an accepted machine label) answered."""

    review: str
    annotator: str
    labels: tuple[str, ...] | None
    skipped: bool
    empty: bool
    ground_truth: bool
    machine: bool
    updated_at: Time


@dataclass(frozen=True, slots=True)
class ItemDetail:
    """An item in full. judged: null until it is. spot_check_state: open, disagreed, right or wrong."""

    item: ItemLine
    judged: Judged | None
    group: str | None
    gone: bool
    spot_check_state: str | None
    datasets: tuple[DatasetName, ...]
    deliveries: tuple[DeliveryLine, ...]
    reviews: tuple[ReviewLine, ...]


def item_detail(connection: Connection, tool: ToolProject, row: AnyRow) -> ItemDetail:
    """A row of `browsing`'s items with all that is known of it. tool: its project in the labeling tool."""
    return ItemDetail(
        item_line(row, tool),
        judged_of(row),
        row.group,
        row.gone,
        row.spot_check_state,
        tuple(map(dataset_name, browsing.datasets_of_item(connection, row.id))),
        tuple(map(delivery_line, browsing.deliveries_of_item(connection, row.id))),
        tuple(map(review_line, browsing.reviews_of_item(connection, row.id))),
    )


def item_line(row: AnyRow, tool: ToolProject) -> ItemLine:
    """A row of `browsing`'s items."""
    return ItemLine(
        task=row.external_id,
        pushed=row.marker,
        address=task_address(tool, row),
        at=time_text(row.at),
        route=row.route,
        trust=row.trust,
        labels=texts(row.model_labels) if row.judged is not None and row.route != "failed" else None,
        confidence=row.confidence,
        outlier_score=row.outlier_score,
        reason=row.reason,
        spot_check=row.spot_check,
        answer="labelled" if row.labelled else row.answer,
        answered=texts(row.labels),
        machine=row.machine,
        dismissed=row.dismissed,
    )


def judged_of(row: AnyRow) -> Judged | None:
    """The verdict in a row of `browsing`'s items."""
    if row.judged is None:
        return None
    numbers = (row.cluster, row.score, row.class_score, row.source_score, row.members, row.p_value, row.sureness, row.seconds)
    return Judged(row.judged, row.true_trust, *numbers, time_text(row.judged_at))


def delivery_line(row: AnyRow) -> DeliveryLine:
    """A row of `delivery` with its version."""
    return DeliveryLine(row.version, row.state, texts(row.labels), row.trust, row.attempts, row.error, time_text(row.at))


def review_line(row: AnyRow) -> ReviewLine:
    """A row of `review`."""
    flags = (row.skipped, row.empty, row.ground_truth, row.machine)
    return ReviewLine(row.external_id, row.annotator, texts(row.labels), *flags, time_text(row.updated_at))


def texts(labels: Sequence[str] | None) -> tuple[str, ...] | None:
    """Labels out of a JSON column."""
    return None if labels is None else tuple(labels)


def task_address(tool: ToolProject, row: AnyRow) -> str | None:
    """Where an item's task is in the labeling tool; None for an item without one."""
    return None if row.external_id is None or row.gone else tool.address(row.external_id)
