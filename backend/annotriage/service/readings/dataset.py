"""How datasets stand: their counts, how foreign they are, what to do about them; and time windows, which are queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from annotriage.advice import page_words
from annotriage.advice.diversity_words import excess_of, would_change
from annotriage.advice.numbers import percent, percent_range
from annotriage.states import Time
from annotriage.store import snapshots
from annotriage.store.browsing import blind_among
from annotriage.store.database import read_once
from annotriage.store.datasets import Dataset, RouteCount, routes_between, routes_of_datasets
from annotriage.store.projects import Project
from annotriage.store.references import get_reference
from annotriage.store.snapshots import Moment, Snapshot

THRESHOLDS = {"train": "train_above", "deploy": "deploy_below", "augmentation": "augmentation_above"}  # settings that advice turns on


@dataclass(frozen=True, slots=True)
class DatasetLine:
    """A dataset and its items by route; open: those that are not answered yet."""

    dataset: Dataset
    items: int
    open: int
    routes: tuple[RouteCount, ...]


@dataclass(frozen=True, slots=True)
class AssessedDataset:
    """A dataset and how foreign it is: its latest figures, and in a few words; null and "" before the first."""

    dataset: Dataset
    latest: Moment | None
    diversity: str


@dataclass(frozen=True, slots=True)
class DatasetDiversity:
    """A dataset and its latest snapshot."""

    dataset: Dataset
    latest: Snapshot


@dataclass(frozen=True, slots=True)
class DatasetAdvice:
    """What to do about a dataset. questions: train, deploy, augmentation (of an augmented one), annotate, each with answer, headline
    and reason, and what would decide or change it."""

    dataset: Dataset
    at: Time
    questions: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Window:
    """The items judged from `start` until before `end`. share: of outliers among those that could be scored; low, high: its 95% limits,
    counted by item, whatever groups they belong to. Null where nothing was scored."""

    start: Time
    end: Time
    items: int
    routes: tuple[RouteCount, ...]
    share: float | None
    low: float | None
    high: float | None


def dataset_lines(connection: Connection, project: Project, datasets: Sequence[Dataset]) -> tuple[DatasetLine, ...]:
    """Datasets with their counts."""
    found = routes_of_datasets(connection, project, [dataset.id for dataset in datasets])
    counts = [(dataset, found.get(dataset.id, [])) for dataset in datasets]
    return tuple(
        DatasetLine(dataset, sum(count.items for count in of_it), sum(count.open for count in of_it), tuple(of_it))
        for dataset, of_it in counts
    )


def assessed(connection: Connection, project: Project, datasets: Sequence[Dataset]) -> tuple[AssessedDataset, ...]:
    """Datasets with their latest figures."""
    found = snapshots.latest_moments(connection, [dataset.id for dataset in datasets], project.reference_id)
    latest = ((dataset, found.get(dataset.id)) for dataset in datasets)
    return tuple(AssessedDataset(dataset, moment, _in_short(moment)) for dataset, moment in latest)


def diversity_of(connection: Connection, project: Project, datasets: Sequence[Dataset]) -> tuple[DatasetDiversity, ...]:
    """Datasets with their latest snapshots; those not assessed yet are left out."""
    found = snapshots.latest(connection, [dataset.id for dataset in datasets], project.reference_id)
    return tuple(
        DatasetDiversity(dataset, _in_sight(connection, project, found[dataset.id])) for dataset in datasets if dataset.id in found
    )


@read_once
def snapshot_of(connection: Connection, project: Project, dataset: Dataset | None) -> Snapshot | None:
    """The latest snapshot of a dataset; None before the first."""
    found = None if dataset is None else snapshots.latest(connection, [dataset.id], project.reference_id).get(dataset.id)
    return None if found is None else _in_sight(connection, project, found)


def advice_on(connection: Connection, project: Project, found: Sequence[DatasetDiversity]) -> tuple[DatasetAdvice, ...]:
    """What to do about datasets."""
    settings = get_reference(connection, project.reference_id).facts["settings"]
    return tuple(DatasetAdvice(line.dataset, line.latest.at, _questions(settings, line)) for line in found)


def sentence_of(snapshot: Snapshot | None) -> str:
    """What a snapshot says, in a sentence for everybody."""
    if snapshot is None or snapshot.share is None or snapshot.low is None:
        return "Nothing is assessed yet: the first figures follow a few seconds after the first items."
    facts = snapshot.facts["diversity"]
    excess = excess_of(facts["calibrated"], facts["excess_low"], facts["excess_high"], facts["p_value"])
    return page_words.reading(snapshot.share, facts["expected"] if facts["calibrated"] else None, excess, facts["held_out"])


def window(connection: Connection, project: Project, start: float, end: float) -> Window:
    """The items judged from `start` on and before `end`, seconds since 1970."""
    from annotriage.guarantee.binomial import clopper_pearson  # loads scipy: only for whoever asks

    routes = routes_between(connection, project, start, end)
    scored = sum(count.items for count in routes if count.route != "failed")
    outliers = sum(count.items for count in routes if count.route == "outlier")
    low, high = clopper_pearson(outliers, scored) if scored else (None, None)
    share = outliers / scored if scored else None
    return Window(start, end, sum(count.items for count in routes), tuple(routes), share, low, high)


def _in_sight(connection: Connection, project: Project, found: Snapshot) -> Snapshot:
    """A snapshot whose groups name no open spot check, for that would say that it is strange: their most typical member is null then."""
    groups = found.facts["groups"]
    blind = blind_among(connection, project, [name for group in groups for name in (group["medoid"], *group["ids"]) if name is not None])
    seen = [
        group
        | {"medoid": None if group["medoid"] in blind else group["medoid"], "ids": [name for name in group["ids"] if name not in blind]}
        for group in groups
    ]
    return replace(found, facts=found.facts | {"groups": seen})


def _in_short(moment: Moment | None) -> str:
    if moment is None or moment.share is None:
        return ""
    return f"{percent(moment.share)} strange ({percent_range(moment.low, moment.high)})"


def _questions(settings: Mapping[str, Any], line: DatasetDiversity) -> tuple[dict[str, Any], ...]:
    """The questions that the dataset raises: whether augmentation is useful only where a person said that it was augmented."""
    diversity = line.latest.facts["diversity"]
    found = []
    for question in line.latest.facts["advice"]:
        if question["question"] == "augmentation" and not line.dataset.augmented:
            continue
        threshold = settings.get(THRESHOLDS.get(question["question"], ""))
        turns = question["would_decide"]
        if not turns and threshold is not None and diversity["excess_low"] is not None:
            turns = would_change(threshold, diversity["excess_low"], diversity["excess_high"])
        found.append({**question, "would_decide": turns})
    return tuple(found)
