"""What to do next in a project: of all that would help, what frees most items for each answer that it takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from math import inf
from typing import Any

from sqlalchemy import Connection

from annotriage.advice import next_words, waiting_words
from annotriage.service.guarantee.decisions import decisions
from annotriage.service.guarantee.spot_checks import MOST_OUTSTANDING
from annotriage.service.readings.dataset import snapshot_of
from annotriage.service.readings.groups import FACES
from annotriage.states import SPOT_CHECK
from annotriage.store import snapshots, work
from annotriage.store.database import read_once
from annotriage.store.datasets import dataset_of_all, datasets_page, routes_of
from annotriage.store.projects import Project, standing_of
from annotriage.store.queue import Waiting, waiting_by_kind, waiting_in_groups
from annotriage.store.references import get_reference

FIELDS = 100  # of the latest datasets of fields, among which two are looked for that differ
AUTOMATIC_SHARE = 0.5  # of items, while no guarantee tells
LEAST_ITEMS = 20  # of a dataset that is compared


@dataclass(frozen=True, slots=True)
class NextStep:
    """Something useful to do. page: where, with these parameters of its address; "" leads to the project in the labeling tool.

    gain: items that are freed for each answer that it takes, the answered one included; infinite where it takes none.
    """

    sentence: str
    button: str
    page: str
    args: Mapping[str, Any]
    gain: float


@read_once
def next_step(connection: Connection, project: Project) -> NextStep:
    """The most useful thing to do in a project."""
    return max(next_steps(connection, project), key=lambda step: step.gain)


def next_steps(connection: Connection, project: Project) -> Iterator[NextStep]:
    """All that would help; there is always something."""
    waits = waiting_by_kind(connection, project)
    judged = {count.route: count.items for count in routes_of(connection, project)}
    if not judged:
        coming = work.waiting(connection, project.id, project.reference_id)
        yield _step(next_words.judging(coming), "system", inf) if coming else _step(next_words.import_tasks(), "", inf)
        return
    yield from _for_the_guarantee(connection, project, sum(judged.values()))
    yield from _among_outliers(connection, project, waits.strange)
    yield _in_the_queue(project, waits)


def steps_for_guarantee(connection: Connection, project: Project) -> list[NextStep]:
    """What lets labels be automatic, or keeps them so; nothing before items were judged."""
    judged = sum(count.items for count in routes_of(connection, project))
    return list(_for_the_guarantee(connection, project, judged)) if judged else []


def _for_the_guarantee(connection: Connection, project: Project, judged: int) -> Iterator[NextStep]:
    evidence, standing = get_reference(connection, project.reference_id).facts["guarantee"], standing_of(connection, project) or {}
    answers, wanted = standing.get("sample_answers", 0), standing.get("sample_needed")
    freed = AUTOMATIC_SHARE * judged  # as many again may come
    if project.alarm is not None and project.alarm.unconfirmed:
        yield _checks(project, next_words.confirm(project.alarm.unconfirmed), 1 + freed / project.alarm.unconfirmed)
    elif project.alarm is not None or not evidence["auto"]:
        if wanted and answers >= wanted:
            yield _step(next_words.recalibrate(answers), "guarantee", inf)
        elif wanted and (project.alarm is not None or evidence["needed"] is not None or evidence.get("stricter") is not None):
            yield _checks(project, next_words.calibrate(wanted - answers, answers), 1 + freed / (wanted - answers))
    to_decide = len(decisions(connection, project))
    if to_decide:
        yield _step(next_words.decide(to_decide), "guarantee", 1 + freed / to_decide, _anchor="decisions")
    outstanding = standing.get("outstanding", 0) - standing.get("contradicted", 0)
    if project.options.accept == "annotate" and outstanding > MOST_OUTSTANDING:
        gain = 1 + freed / (outstanding - MOST_OUTSTANDING)
        yield _checks(project, next_words.answer_checks(outstanding, MOST_OUTSTANDING), gain)


def _among_outliers(connection: Connection, project: Project, strange: int) -> Iterator[NextStep]:
    """Outliers that one look at a few faces settles: a large group, or a source that differs from its like. strange: how many wait."""
    snapshot = snapshot_of(connection, project, dataset_of_all(connection, project))
    if snapshot is not None and snapshot.facts["groups"]:
        largest = snapshot.facts["groups"][0]
        waiting = waiting_in_groups(connection, [largest["number"]], project).get(largest["number"], 0)
        if waiting >= next_words.LEAST_GROUP:
            words = next_words.look_alikes(waiting, strange)
            yield _step(words, "queue", waiting / FACES, group=largest["number"])
    fields = datasets_page(connection, project, kind="field", limit=FIELDS)
    found = snapshots.latest_moments(connection, [field.id for field in fields], project.reference_id)
    known = [(field, found[field.id]) for field in fields if field.id in found and found[field.id].n >= LEAST_ITEMS]
    best: NextStep | None = None
    for stranger, most in known:
        for other, least in known:
            same = stranger.name.partition("=")[0] == other.name.partition("=")[0]
            if not same or most.share is None or least.share is None or (most.low or 0.0) <= (least.high or 1.0):
                continue
            gain = (most.share - least.share) * most.n / FACES
            if best is None or gain > best.gain:
                words = next_words.differing(stranger.name, most.share, other.name, least.share)
                first, second = sorted((stranger, other), key=lambda dataset: dataset.name)  # so that scanner A is not called B
                best = _step(words, "compare", gain, a=f"d{first.id}", b=f"d{second.id}")
    if best is not None:
        yield best


def _in_the_queue(project: Project, waits: Waiting) -> NextStep:
    if waits.total > waits.spot_checks:
        said = waiting_words.waiting_sentence(waits.total, waiting_words.kinds_in_words(**asdict(waits)))
        return _step(next_words.work_off(said), "queue", 1.0)
    if waits.spot_checks and not project.hides_checks:
        return _checks(project, next_words.spot_checks_left(waits.spot_checks), 0.5)
    return _step(next_words.nothing(), "diversity", 0.0)


def _checks(project: Project, words: next_words.Words, gain: float) -> NextStep:
    """Spot checks are to be answered: in the queue, or in the labeling tool by whom no list here shows them."""
    return _step(words, "", gain) if project.hides_checks else _step(words, "queue", gain, route=SPOT_CHECK)


def _step(words: next_words.Words, page: str, gain: float, **args: Any) -> NextStep:
    return NextStep(*words, page, args, gain)
