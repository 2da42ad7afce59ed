"""How items stand: in a line, in the queue, and one with all that is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from annotriage.advice.numbers import percent
from annotriage.advice.page_words import about_one_in, are_many
from annotriage.advice.route_words import route_name
from annotriage.labeling_tool import Review, ToolProject
from annotriage.service.readings.dataset import AssessedDataset, assessed
from annotriage.service.readings.names import Names
from annotriage.states import SPOT_CHECK, UNSETTLED, Time
from annotriage.store.browsing import Item
from annotriage.store.datasets import datasets_named, datasets_of_item, id_of_all
from annotriage.store.deliveries import Delivery, deliveries_of_item
from annotriage.store.gold import source_of
from annotriage.store.maps import TrainingItem, nearest_of
from annotriage.store.projects import Project
from annotriage.store.proposals import group_of_item
from annotriage.store.references import edges_of, get_reference
from annotriage.store.reroutings import rerouting_of
from annotriage.store.reviews import reviews_of
from annotriage.store.snapshots import groups_of
from annotriage.store.twins import NearDuplicate, near_duplicates

STATES = {
    "pending": "is to be delivered",
    "sending": "is being delivered",
    "unknown": "was sent, and is looked for in the labeling tool",
    "answered": "was taken by the labeling tool, and is looked for there",
    "stale": "is out of date: it is withdrawn, and another one follows",
    "confirmed": "is in the labeling tool",
    "refused": "was refused by the labeling tool",
}


@dataclass(frozen=True, slots=True)
class ItemLine:
    """An item, and where its task is in the labeling tool; null without one."""

    item: Item
    address: str | None


@dataclass(frozen=True, slots=True)
class QueueLine(ItemLine):
    """An item of the queue. dataset: whose diversity its task shows. outlier_group: the number of the one that it belongs to.
    twin: the item that it repeats, exactly or nearly."""

    dataset: AssessedDataset | None
    outlier_group: int | None
    twin: NearDuplicate | None


@dataclass(frozen=True, slots=True)
class Member:
    """One score. place: on a scale from its median, 0, to twice the way to the edge of the normal range, 1; null where that is unknown."""

    name: str
    value: float
    edge: float | None
    place: float | None


@dataclass(frozen=True, slots=True)
class Happened:
    """Something that happened to an item."""

    at: Time
    text: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class InGroup:
    """The group of look-alikes that an item is in. at_once: it got the group's labels without an answer of its own."""

    id: int
    at_once: bool
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ItemDetail(QueueLine):
    """An item in full. datasets: that it belongs to. members: its scores; usual: its p-value in words. nearest: the training items most
    like it. can: what a person may do with it: "back" (out of the queue), "review" or nothing. look_alikes: the group that it is in."""

    datasets: tuple[AssessedDataset, ...]
    deliveries: tuple[Delivery, ...]
    reviews: tuple[Review, ...]
    members: tuple[Member, ...]
    usual: str
    nearest: tuple[TrainingItem, ...]
    history: tuple[Happened, ...]
    can: str
    look_alikes: InGroup | None


def item_lines(tool: ToolProject, items: Sequence[Item]) -> tuple[ItemLine, ...]:
    """Items of a project. tool: the project in the labeling tool."""
    return tuple(ItemLine(item, task_address(tool, item)) for item in items)


def queue_lines(
    connection: Connection, tool: ToolProject, project: Project, items: Sequence[Item], dataset_id: int | None = None
) -> tuple[QueueLine, ...]:
    """Items of the queue. dataset_id: whose groups are told, by default those of all items."""
    shown = {item.shown_dataset_id for item in items if item.shown_dataset_id is not None}
    datasets = assessed(connection, project, list(datasets_named(connection, project, shown).values()))
    by_id = {found.dataset.id: found for found in datasets}
    groups = _groups_of(connection, project, items, dataset_id)
    twins = near_duplicates(connection, [item.id for item in items])
    return tuple(
        QueueLine(item, task_address(tool, item), by_id.get(item.shown_dataset_id or 0), groups.get(item.id), twins.get(item.id))
        for item in items
    )


def item_detail(
    connection: Connection, tool: ToolProject, project: Project, item: Item, dataset_id: int | None = None, *, names: Names | None
) -> ItemDetail:
    """An item with all that is known of it. tool, dataset_id: as for `queue_lines`. names: of annotators; None names nobody."""
    datasets = assessed(connection, project, datasets_of_item(connection, source_of(connection, item.id) or item.id))
    deliveries, reviews = deliveries_of_item(connection, item.id), reviews_of(connection, [item.id]).get(item.id, [])
    groups = _groups_of(connection, project, [item], dataset_id)
    return ItemDetail(
        item,
        task_address(tool, item),
        next((found for found in datasets if found.dataset.id == item.shown_dataset_id), None),
        groups.get(item.id),
        near_duplicates(connection, [item.id]).get(item.id),
        datasets,
        tuple(deliveries),
        tuple(reviews if names is not None else (replace(review, annotator="") for review in reviews)),
        _members(connection, project, item),
        _usual(connection, project, item),
        nearest_shown(connection, project, item),
        _history(connection, project, item, deliveries, reviews, names),
        _can(item),
        _group(connection, project, item),
    )


def _groups_of(connection: Connection, project: Project, items: Sequence[Item], dataset_id: int | None) -> dict[int, int]:
    """The outlier groups that items belong to, open spot checks left out: what is in one is strange."""
    told = [item.id for item in items if item.route != SPOT_CHECK]
    return groups_of(connection, dataset_id or id_of_all(project.id), told)


def nearest_shown(connection: Connection, project: Project, item: Item) -> tuple[TrainingItem, ...]:
    """The training items most like an item; without their labels while its class is hidden."""
    found = nearest_of(connection, item.id, project.reference_id)
    return tuple(replace(training_item, label="") for training_item in found) if item.unnamed else tuple(found)


def task_address(tool: ToolProject, item: Item) -> str | None:
    """Where an item's task is in the labeling tool; None for an item without one. Only addresses that a browser may follow."""
    address = "" if item.task is None or item.gone else tool.address(item.task)
    return address if address.startswith(("http://", "https://")) else None


def _group(connection: Connection, project: Project, item: Item) -> InGroup | None:
    found = group_of_item(connection, project, item.id)
    if found is None:
        return None
    group, at_once = found
    return InGroup(group.id, at_once and (item.machine or item.answer != "resolved"), group.labels or () if at_once else ())


def _can(item: Item) -> str:
    """What a person may do with it, as `rerouting` allows it."""
    settled = item.spot_check is None or item.spot_check.state not in UNSETTLED
    if item.gone or item.route is None or item.answer in ("labelled", "resolved") or not settled:
        return ""
    if item.dismissed or item.route == "auto":
        return "review"
    return "" if item.route == "failed" else "back"


def _members(connection: Connection, project: Project, item: Item) -> tuple[Member, ...]:
    if item.verdict is None:
        return ()
    edges: Mapping[str, tuple[float, float]] = edges_of(connection, project.reference_id, item.id)
    members = []
    for name, value in item.verdict.members.items():
        if value is None:
            continue
        median, edge = edges.get(name, (None, None))
        known = median is not None and edge is not None and edge > median
        place = max(0.0, min(2.0, (value - median) / (edge - median))) / 2 if known else None  # type: ignore[operator]
        members.append(Member(name, value, edge, place))
    return tuple(members)


def _usual(connection: Connection, project: Project, item: Item) -> str:
    """Its p-value in words."""
    if item.verdict is None or item.verdict.outlier_score is None:
        return ""
    p_value = item.verdict.p_value
    if p_value is None:
        return "How usual that is cannot be said: there are no held-out items to compare it with."
    facts = get_reference(connection, project.reference_id).facts
    alpha, held_out = facts["settings"]["alpha"], facts["counts"].get("held_out", 0)
    if p_value <= 1.5 / (held_out + 1):
        return f"None of the {held_out:,} held-out items looks as strange as this one."
    share = about_one_in(p_value)
    usual = "nearly every usual item" if "every" in share else f"{share} usual items"
    said = f"{usual[:1].upper()}{usual[1:]} {'look' if are_many(share) else 'looks'} at least as strange as this one."
    return said + (f" That is no more than {percent(alpha)}, so it counts as strange." if p_value <= alpha else "")


def _history(
    connection: Connection, project: Project, item: Item, deliveries: Sequence[Delivery], reviews: Sequence[Review], names: Names | None
) -> tuple[Happened, ...]:
    """What happened to the item, the latest first."""
    moments = [Happened(item.at, "arrived" if item.task or not item.pushed else "was pushed by another system")]
    if item.verdict is not None:
        judged = f"was judged {route_name(item.verdict.judged)}" if item.verdict.judged != "failed" else "could not be judged"
        moments.append(Happened(item.verdict.at, f"{judged}, in {1000 * item.verdict.seconds:.0f} ms", item.verdict.reason))
    for sent in deliveries:
        what = "without a label to see" if sent.labels is None else f"that says {' + '.join(sent.labels) or 'none of the classes'}"
        said = f"prediction {what} {STATES.get(sent.state, sent.state)} ({sent.version})"
        moments.append(Happened(sent.at, said, sent.error or ""))
    moments += [Happened(review.updated_at, _answered(review, names)) for review in reviews]
    if item.spot_check is not None:
        drawn = {"sample": " of all items", "audit": " of the automatic ones"}.get(item.spot_check.kind or "", "")
        moments.append(Happened(item.spot_check.drawn_at, f"was drawn at random{drawn} as a spot check"))
        if item.spot_check.answered_at is not None:
            said = "people agree with the model" if item.spot_check.state == "right" else "people say that the model is wrong"
            moments.append(Happened(item.spot_check.answered_at, f"spot check: {said}"))
    if item.rerouting_id is not None:
        word = rerouting_of(connection, project, item.rerouting_id)
        done = f"set aside ({word.reason})" if word.reason else "sent to review" if word.to == "review" else "taken out of review"
        moments.append(Happened(word.at, f"was {done} by {word.by}" + (", which was undone" if word.undone_at else "")))
    return tuple(sorted(moments, key=lambda moment: -moment.at))


def _answered(review: Review, names: Names | None) -> str:
    if review.machine:
        return f"the model's label {' + '.join(review.labels or ())} was accepted"
    who = "somebody" if names is None else names(review.annotator)
    if review.skipped:
        return f"{who} skipped it"
    if review.empty:
        return f"{who} submitted it without an answer"
    return f"{who} answered {' + '.join(review.labels or ())}" + (" (ground truth)" if review.ground_truth else "")
