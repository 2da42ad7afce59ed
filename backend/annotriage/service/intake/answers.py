"""What several people's answers come to: on an item, and on a spot check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from annotriage.labeling_tool import Review, Task
from annotriage.store.reviews import Answer


def answer_of(task: Task) -> Answer:
    """What a task's reviews come to.

    Ground truth wins at once. Otherwise the labeling tool must hold the task for labelled, and more than half of the people must
    say the same. A skip and an empty annotation are no answers; each person's last one counts; a machine's only if no person answered.
    """
    given = latest(task.reviews or ())
    truth = [review for review in given if review.ground_truth]
    counted = truth or [review for review in given if not review.machine] or given
    if not counted or not (truth or task.labelled):
        return Answer("open")
    at = max(review.updated_at for review in counted)
    labels, votes = Counter(same(review.labels) for review in counted).most_common(1)[0]
    if 2 * votes <= len(counted):
        return Answer("disputed", at=at)
    return Answer("resolved", labels, all(review.machine for review in counted), at)


@dataclass(frozen=True, slots=True)
class Checked:
    """What people's blind answers say of the model's. state: open | disagreed | right | wrong. labels: theirs, once right or wrong."""

    state: str
    labels: tuple[str, ...] | None = None
    at: float | None = None


def checked(given: Iterable[Review], labels: Sequence[str], *, confirmed: bool) -> Checked:
    """Whether the model was right with `labels`, as far as people have answered.

    Ground truth decides. Otherwise an answer that agrees makes it right, and two different people who say something else make it
    wrong; more answers are counted against each other. confirmed: whether a disagreement needs that second person.
    """
    people = [review for review in latest(given) if not review.machine]
    people = [review for review in people if review.ground_truth] or people
    if not people:
        return Checked("open")
    at = max(review.updated_at for review in people)
    others = [same(review.labels) for review in people if same(review.labels) != same(labels)]
    if 2 * len(others) <= len(people):
        return Checked("right", same(labels), at)
    if confirmed and len(people) < 2 and not people[0].ground_truth:
        return Checked("disagreed", at=at)
    return Checked("wrong", Counter(others).most_common(1)[0][0], at)


def latest(given: Iterable[Review]) -> list[Review]:
    """The last answer of each person, and of the machine, the earliest first; skips and empty annotations are none."""
    last: dict[tuple[str, bool], Review] = {}
    for review in sorted(given, key=lambda review: review.updated_at):
        if review.labels is not None:
            last[review.annotator, review.machine] = review
    return list(last.values())


def same(labels: Iterable[str] | None) -> tuple[str, ...]:
    """Labels in one order, so that equal answers compare equal."""
    return tuple(sorted(labels or ()))
