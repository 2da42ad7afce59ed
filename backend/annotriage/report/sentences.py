"""The sentences of report.html about items, classes, the map, groups and clusters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from annotriage.advice import next_words
from annotriage.advice.diversity_words import excess_of
from annotriage.advice.numbers import count, percent
from annotriage.advice.page_words import reading
from annotriage.advice.route_words import FAILURES
from annotriage.guarantee.diversity import ClusterDiversity, Diversity
from annotriage.guarantee.gate import ClassEvidence
from annotriage.report.contents import Report, Waiting
from annotriage.states import Route


@dataclass(frozen=True, slots=True)
class NextStep:
    """What to do first with a report. place: the section where it is done, "" if nothing is to be done."""

    sentence: str
    button: str
    place: str


def next_step(report: Report) -> NextStep | None:
    """The most useful thing to do with a dataset: a large group first, else what waits, in the order in which it is listed; None where
    nothing was read."""
    if not sum(report.counts.values()):
        return None
    strange, unreadable = report.counts.get(Route.OUTLIER, 0), report.counts.get(Route.FAILED, 0)
    largest = max((group.size for group in report.groups), default=0)
    if largest >= next_words.LEAST_GROUP:
        return NextStep(*next_words.look_alikes(largest, strange), "groups")
    if not report.waiting_total:
        return NextStep("Nothing waits for people.", "", "")
    return NextStep(*next_words.listed(report.waiting_total, strange, unreadable), "waiting")


def reading_of(diversity: Diversity) -> str:
    """What the share of strange items means, as on the dashboard."""
    excess = excess_of(diversity.calibrated, diversity.excess_low, diversity.excess_high, diversity.p_value)
    expected = diversity.expected if diversity.calibrated else None
    return reading(diversity.share if diversity.n else None, expected, excess, diversity.held_out)


def items_sentence(report: Report) -> str:
    """What becomes of the items: labelled by the model, or looked at by people, and why."""
    total = sum(report.counts.values())
    auto, failed = report.counts.get("auto", 0), report.counts.get("failed", 0)
    if total == 0:
        return "There were no items. Check the path given to --data."
    if failed == total:
        none = "The only item" if total == 1 else f"None of the {count(total, 'item')}"
        scored = "could not be scored" if total == 1 else "could be scored"
        return f"{none} {scored}, so nothing is known about this dataset.{_most_frequent_reason(report.waiting)}"
    if auto == 0:
        off = " because automatic labels are off (see the guarantee below)" if not report.guarantee.auto else ""
        return f"{'The only item goes' if total == 1 else f'All {total:,} items go'} to a person{off}."
    share = f"{auto:,} of {count(total, 'item')} ({percent(auto / total, 0)})"
    labelled = f"{share} {'gets' if auto == 1 else 'get'} an automatic label"
    people = f"; {count(total - auto, 'item goes', 'items go')} to a person" if total > auto else ""
    return f"{labelled}{people}."


def _most_frequent_reason(waiting: Sequence[Waiting]) -> str:
    """What the failed ones among these mostly have in common, and the first of those."""
    kinds = Counter(item.verdict.failure for item in waiting if item.verdict.failure is not None)
    if not kinds:
        return ""
    kind, times = kinds.most_common(1)[0]
    first = next(item.verdict.reason for item in waiting if item.verdict.failure == kind)[:300]
    if kinds.total() == 1:
        return f" The reason: {first}"
    return f" The most frequent reason ({times:,} of the {kinds.total():,} listed): {FAILURES[kind]}. The first: {first}"


def classes_sentence(classes: Sequence[ClassEvidence], max_error: float) -> str:
    """Whether single classes keep the limit: seen not to, shown to, or neither; "" without any automatic item."""
    tested = [row for row in classes if row.n]
    if not tested:
        return ""
    worse_rows = [row for row in tested if row.above_limit]
    worse = list(dict.fromkeys(row.name for row in worse_rows))
    if worse:
        names = ", ".join(name[:60] for name in worse[:5]) + (f" and {len(worse) - 5:,} more" if len(worse) > 5 else "")
        priced = any(row.cost is not None for row in worse_rows)
        verb = "more costly" if priced else "more often wrong"
        more = count(len(worse), f"class is {verb} than the limit", f"classes are {verb} than the limit")
        return f"{more}: {names}. A limit that is kept overall can hide a weak class; few items can also make one look weak."
    shown = sum(row.bound <= (max_error if row.limit is None else row.limit) for row in tested)
    if not shown:
        return "No class is seen to exceed the limit; no single class is shown to keep it by itself either: too few items each."
    if shown < len(tested):
        return (
            f"No class is seen to exceed the limit; {shown:,} of the {len(tested):,} rows below show by themselves that it is kept,"
            " the others hold too few items to tell."
        )
    return "Every class is shown to keep the limit by itself: all upper bounds are below it."


def map_sentence(report: Report) -> str:
    """The text alternative of the map: what a person sees at a glance."""
    kinds = Counter(point.kind for point in report.drawn)
    strange = [point for point in report.drawn if point.route == "outlier"]
    both = " and ".join(count(kinds[kind], f"{kind} item") for kind in ("training", "incoming") if kinds[kind])
    sentence = f"{both} {'is' if len(report.drawn) == 1 else 'are'} drawn; items that the model sees alike lie near each other."
    if strange:
        near = Counter(point.cluster for point in strange).most_common(3)
        names = ", ".join(f"{name[:60] or 'no cluster'} ({number:,})" for name, number in near)
        who = (
            "The only strange item among them lies" if len(strange) == 1 else f"Of the {len(strange):,} strange items among them, most lie"
        )
        sentence += f" {who} nearest to: {names}."
    return sentence


def groups_sentence(report: Report) -> str:
    """Whether the outliers form groups, and what that may mean."""
    outliers = report.counts.get("outlier", 0)
    if not report.diversity.n:
        return "No item was scored, so there is nothing to group."
    if not outliers:
        return "No item is strange, so there is nothing to group."
    if outliers == 1:
        return "No groups: there is only one strange item."
    if not report.groups:
        return f"No groups: {count(outliers, 'strange item')}, too few or too unlike each other to form one."
    largest = max(report.groups, key=lambda group: group.size)
    more = f"; {count(len(report.groups), 'group')} in all" if len(report.groups) > 1 else ""
    return f"{largest.size:,} of {count(outliers, 'strange item')} are one group{more}. A group may be a new class or a broken source."


def clusters_sentence(clusters: Sequence[ClusterDiversity], calibrated: bool) -> str:
    """Which clusters hold more outliers than their held-out items let expect."""
    if not any(cluster.n for cluster in clusters):
        return "No cluster was compared, because no item was scored."
    if not calibrated:
        return "Without held-out items no cluster can be compared with what is normal; the shares alone are shown."
    changed = [cluster.name[:60] for cluster in clusters if cluster.p_value <= 0.05]
    if not changed:
        return "No single cluster holds more strange items than its held-out items suggest."
    names = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
    return f"{count(len(changed), 'cluster holds', 'clusters hold')} more strange items than expected: {names}."
