"""What people answered comes back: reviews are compared with the store, resolve the queue, and are answers on spot checks.

The same tasks are read again and again, from webhooks' hints and by the poll: what has not changed costs three queries for hundreds of
tasks, and writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from annotriage.labeling_tool import Review, Task
from annotriage.service.guarantee.spot_checks import settle
from annotriage.service.intake.answers import answer_of, latest, same
from annotriage.store import gold, items, reviews
from annotriage.store.locks import lock_items
from annotriage.store.projects import Project
from annotriage.store.reviews import Answer, Known
from annotriage.store.spot_checks import forget_spot_checks
from annotriage.store.twins import repeats_of


def take_reviews(connection: Connection, project: Project, tasks: Sequence[Task]) -> None:
    """Bring the store up to tasks as they were just read; tasks that have no item are passed over. A repeat changes nothing.

    Reviews are compared by id and time, and with them the item's answer, how many answers it asks for, and what it shows: an item whose
    media field changed is judged anew. Readings overlap: one that is older than what is known, by the tool's clock, takes nothing of that
    back. Tasks read without reviews (None) keep those that are known. Of a gold task the reviews alone are kept: its item is never
    answered, so that nothing is learned, drawn or counted of it.
    """
    known = reviews.known(connection, project.id, [task.id for task in tasks])
    late = {task.id for task in tasks if task.id in known and 0 < task.changed_at < known[task.id].changed_at}
    read = {task.id: _merged(task, known[task.id]) if task.id in late else task for task in tasks if task.id in known}
    others = {id: read[id].media for id, before in known.items() if items.media_hash(read[id].media) != before.media_hash}
    media = {known[id].id: shows for id, shows in others.items() if id not in late}
    wanted = {before.id: read[id].wanted for id, before in known.items() if read[id].wanted != before.wanted}
    gone: list[str] = []
    changed: dict[int, list[Review]] = {}
    answers: dict[int, Answer] = {}
    ordinary: list[int] = []
    golden = gold.copies_among(connection, [before.id for before in known.values()])
    for task_id, before in known.items():
        task = read[task_id] = _latest(read[task_id], before)
        if task.reviews is None:
            continue
        if before.labelled and not task.labelled and before.id not in golden:
            ordinary.append(before.id)
        now = {review.id: review for review in task.reviews}
        missing = [id for id in before.reviews if id not in now]
        different = [review for id, review in now.items() if before.reviews.get(id) != review]
        if missing or different:
            gone += missing
            changed[before.id] = different
        answer = answer_of(task)
        if before.id not in golden and (answer.state, answer.labels, answer.machine) != (before.answer, before.labels, before.machine):
            answers[before.id] = answer
    touched = {*wanted, *media, *changed, *answers, *ordinary}
    lock_items(connection, sorted(touched | repeats_of(connection, list(media))))  # which repeat these no more
    reviews.set_changed(connection, {before.id: read[id].changed_at for id, before in known.items() if before.id in touched})
    reviews.set_wanted(connection, wanted)
    gold.withdraw_changed(connection, list(media))
    forget_spot_checks(connection, list(media))  # drawn, and perhaps answered, for what the tasks showed then
    for item_id, shown in media.items():
        items.change_media(connection, project, item_id, shown)
    reviews.drop_reviews(connection, project.id, gone)
    reviews.keep_reviews(connection, project.id, changed)
    reviews.set_answers(connection, answers, ordinary)
    items.add_work(connection, project, ordinary)
    settle(connection, project, list(changed))
    gold.settle(
        connection, {before.id: _said(read[task]) for task, before in known.items() if before.id in golden and before.id in changed}
    )


def _merged(late: Task, known: Known) -> Task:
    """What a reading from before the known one adds to it: reviews alone, as what two people do at one moment may end in another order."""
    reviews = None if late.reviews is None else tuple((known.reviews | {review.id: review for review in late.reviews}).values())
    labelled = late.labelled or known.labelled or known.answer != "open"
    return replace(late, wanted=known.wanted, labelled=labelled, reviews=reviews, changed_at=known.changed_at)


def _latest(task: Task, known: Known) -> Task:
    """The task with the later state of each of its reviews: a reading that took longer than a later one does not undo that."""
    if task.reviews is None:
        return task
    before = ((known.reviews.get(review.id), review) for review in task.reviews)
    return replace(task, reviews=tuple(old if old is not None and old.updated_at > new.updated_at else new for old, new in before))


def _said(task: Task) -> tuple[tuple[str, ...], float] | None:
    """What the last person said on a gold task, and when; None as long as nobody has."""
    given = [review for review in latest(task.reviews or ()) if not review.machine]
    return (same(given[-1].labels), given[-1].updated_at) if given else None
