"""What the API answers: one dataclass per thing, made from the store's rows. `openapi` makes the schemas from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotriage.service.openapi import Time, time_text
from annotriage.store.browsing import RouteCount
from annotriage.store.database import AnyRow


@dataclass(frozen=True, slots=True)
class Route:
    """Items of one route (auto, uncertain, outlier or failed). open: those that are not answered yet."""

    route: str
    items: int
    open: int


@dataclass(frozen=True, slots=True)
class ProjectLine:
    """A connected project. queue: items that wait for a person; waiting: items still to be judged.

    paused: why nothing is automatic; trouble: why nothing is judged; problem: why nothing is delivered; null where all is well.
    gone: it was deleted in the labeling tool. watch: nothing is written into the labeling tool.
    """

    project: str
    title: str
    address: str
    version: str
    watch: bool
    gone: bool
    paused: str | None
    trouble: str | None
    problem: str | None
    queue: int
    waiting: int
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class ProjectList:
    """All connected projects."""

    projects: tuple[ProjectLine, ...]


@dataclass(frozen=True, slots=True)
class Rescoring:
    """A new reference that takes over once every item has its prediction. waiting: items still to be judged under it;
    undelivered: predictions that are not confirmed yet."""

    version: str
    waiting: int
    undelivered: int


@dataclass(frozen=True, slots=True)
class ProjectDetail:
    """A project in full. promise: in a sentence. undelivered: predictions not confirmed yet, by state. options: how it is triaged."""

    project: ProjectLine
    promise: str
    classes: tuple[str, ...]
    options: dict[str, Any]
    undelivered: dict[str, int]
    rescoring: Rescoring | None


@dataclass(frozen=True, slots=True)
class DatasetLine:
    """A dataset of a project. kind: all, batch (an import), field (a value of a data field) or pushed."""

    dataset: int
    kind: str
    name: str
    first_at: Time
    last_at: Time
    items: int
    open: int
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class DatasetPage:
    """Datasets, the latest first. next: give it as `after` for the next page; null on the last."""

    datasets: tuple[DatasetLine, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class ItemLine:
    """An item. task: its id in the labeling tool, pushed: the id that it got when it was pushed; either may be null.

    route: null until it is judged; trust: by which annotators' tasks are sorted (another one than the verdict's for a probe).
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
    probe: str | None
    answer: str
    answered: tuple[str, ...] | None
    machine: bool
    dismissed: bool


@dataclass(frozen=True, slots=True)
class ItemPage:
    """Items. next: give it as `after` for the next page; null on the last."""

    items: tuple[ItemLine, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict. judged: the model's own route, before a pause took `auto` away; trust: the true one. members: score of each member."""

    judged: str
    trust: float
    cluster: str | None
    score: float | None
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
class DatasetName:
    """A dataset, by its id, kind and name."""

    dataset: int
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class ItemDetail:
    """An item in full. judged: null until it is. probe_state: open, disagreed, right or wrong."""

    item: ItemLine
    judged: Judged | None
    group: str | None
    gone: bool
    probe_state: str | None
    datasets: tuple[DatasetName, ...]
    deliveries: tuple[DeliveryLine, ...]
    reviews: tuple[ReviewLine, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """The items judged from `start` until before `end`. share: of outliers among those that could be scored; low, high: its 95 % limits,
    counted by item, whatever groups they belong to. Null where nothing was scored."""

    start: Time
    end: Time
    items: int
    routes: tuple[Route, ...]
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class DiversityLine:
    """How foreign a dataset was at a time. share: of outliers among its `items` that could be scored; low, high: its limits."""

    at: Time
    items: int
    outliers: int
    failed: int
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class DatasetDiversity:
    """A dataset's diversity score. sentence: it in words; facts: all figures of it; groups: of outliers that lie close together."""

    dataset: DatasetName
    latest: DiversityLine
    sentence: str
    facts: dict[str, Any]
    groups: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class DiversityPage:
    """The diversity scores of datasets, the latest datasets first; those not assessed yet are left out. next: as everywhere."""

    datasets: tuple[DatasetDiversity, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class DiversityHistory:
    """How a dataset's diversity score got where it is, the latest first. next: as everywhere."""

    dataset: DatasetName
    history: tuple[DiversityLine, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do about a dataset. questions: train, deploy, augmentation, annotate, each with answer, headline and reason."""

    dataset: DatasetName
    at: Time
    questions: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class AdvicePage:
    """The advice on datasets, the latest datasets first; those not assessed yet are left out. next: as everywhere."""

    datasets: tuple[Advice, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class PromiseNow:
    """What is promised of automatic labels, and how it stands. evidence: what it rests on; standing: what blind answers
    say since, null until it was found."""

    sentence: str
    version: str
    paused: str | None
    evidence: dict[str, Any]
    standing: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class EventLine:
    """Something that happened to the project."""

    event: int
    kind: str
    text: str
    at: Time


@dataclass(frozen=True, slots=True)
class EventPage:
    """The project's history, the latest first. next: give it as `after` for the next page; null on the last."""

    events: tuple[EventLine, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class ProbeLine:
    """A task that people answer blind. kind: lot (drawn of all) or audit (of automatic ones); route: the true one.

    labels: the model's; answered: people's; state: open, disagreed (a second answer is wanted), right or wrong.
    """

    task: str | None
    kind: str
    route: str
    state: str
    labels: tuple[str, ...] | None
    answered: tuple[str, ...] | None
    drawn_at: Time
    answered_at: Time | None


@dataclass(frozen=True, slots=True)
class ProbePage:
    """Probes, the latest items first. counts: of all of them, by kind and state, as "audit right". next: as everywhere."""

    probes: tuple[ProbeLine, ...]
    counts: dict[str, int]
    next: str | None


@dataclass(frozen=True, slots=True)
class BatchLine:
    """Automatic labels that became annotations at once. undone_at: when they were taken back; null if they were not."""

    batch: int
    at: Time
    undone_at: Time | None
    items: int


@dataclass(frozen=True, slots=True)
class BatchList:
    """The latest batches of accepted labels, the latest first."""

    batches: tuple[BatchLine, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """What was done, in a sentence."""

    done: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """An item that was taken in. index: its place in the request; pushed: the id it goes by; new: false if it was there already."""

    index: int
    id: str | None
    pushed: str
    new: bool
    url: str


@dataclass(frozen=True, slots=True)
class Refused:
    """An item that was not taken in, and why. index: its place in the request."""

    index: int
    id: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Pushed:
    """What became of pushed items. They are triaged first; then their tasks are created, and `url` of each shows its task."""

    dataset: DatasetName
    accepted: tuple[Accepted, ...]
    refused: tuple[Refused, ...]


def routes_of(counts: Sequence[RouteCount]) -> tuple[Route, ...]:
    """Counts by route."""
    return tuple(Route(one.route, one.items, one.open) for one in counts)


def dataset_line(row: AnyRow, counts: Sequence[RouteCount]) -> DatasetLine:
    """A row of `dataset` with its counts."""
    items, open_ = sum(one.items for one in counts), sum(one.open for one in counts)
    return DatasetLine(row.id, row.kind, row.name, time_text(row.first_at), time_text(row.last_at), items, open_, routes_of(counts))


def diversity_line(row: AnyRow) -> DiversityLine:
    """A row of `snapshot`."""
    share = row.outliers / row.n if row.n else None
    return DiversityLine(time_text(row.at), row.n, row.outliers, row.failed, share, row.low, row.high)


def item_line(row: AnyRow, address: str | None) -> ItemLine:
    """A row of `browsing`'s items."""
    return ItemLine(
        task=row.external_id,
        pushed=row.marker,
        address=address,
        at=time_text(row.at),
        route=row.route,
        trust=row.trust,
        labels=texts(row.model_labels) if row.judged is not None and row.route != "failed" else None,
        confidence=row.confidence,
        outlier_score=row.outlier_score,
        reason=row.reason,
        probe=row.probe,
        answer="labelled" if row.labelled else row.answer,
        answered=texts(row.labels),
        machine=row.machine,
        dismissed=row.dismissed,
    )


def judged_of(row: AnyRow) -> Judged | None:
    """The verdict in a row of `browsing`'s items."""
    if row.judged is None:
        return None
    numbers = (row.cluster, row.score, row.members, row.p_value, row.sureness, row.seconds)
    return Judged(row.judged, row.true_trust, *numbers, time_text(row.judged_at))


def delivery_line(row: AnyRow) -> DeliveryLine:
    """A row of `delivery` with its version."""
    return DeliveryLine(row.version, row.state, texts(row.labels), row.trust, row.attempts, row.error, time_text(row.at))


def review_line(row: AnyRow) -> ReviewLine:
    """A row of `review`."""
    flags = (row.skipped, row.empty, row.ground_truth, row.machine)
    return ReviewLine(row.external_id, row.annotator, texts(row.labels), *flags, time_text(row.updated_at))


def probe_line(row: AnyRow) -> ProbeLine:
    """A row of `browsing`'s probes."""
    times = (time_text(row.drawn_at), None if row.answered_at is None else time_text(row.answered_at))
    return ProbeLine(row.external_id, row.kind, row.route, row.state, texts(row.labels), texts(row.answer_labels), *times)


def dataset_name(row: AnyRow | Mapping[str, Any]) -> DatasetName:
    """A row of `dataset`, its id, kind and name."""
    values = row if isinstance(row, Mapping) else row._mapping
    return DatasetName(values["id"], values["kind"], values["name"])


def texts(labels: Sequence[str] | None) -> tuple[str, ...] | None:
    """Labels out of a JSON column."""
    return None if labels is None else tuple(labels)
