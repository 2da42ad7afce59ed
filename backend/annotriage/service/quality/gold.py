"""Gold tasks: how known answers come before people, so that nobody can tell their tasks from spot checks.

A copy of the task is made in the labeling tool, with the fields, the empty prediction and the random place of a spot check. One comes as
often as the setting says, in random order, no class or group twice in a row where others are there: whoever sees runs of one kind expects
the next to break them (the gambler's fallacy). What people answer is compared with the known answer alone.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from annotriage.advice.numbers import count
from annotriage.advice.verdict_words import SPOT_CHECK_REASON
from annotriage.errors import OutcomeUnknown, StateError, ToolGone
from annotriage.service.delivery.field_writing import CHECKED, LINK, REASON, ROUTE, links_to, project_page
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.states import AUTOMATIC_FROM, MARGIN, SPOT_CHECK, GoldState
from annotriage.store import gold, items
from annotriage.store.gold import GoldTask, KeptKnown
from annotriage.store.items import media_hash
from annotriage.store.projects import Project
from annotriage.store.queue import front_of_queue, places_of_checks

DAY = 86_400.0
COUNTED_DAYS = 30.0  # over which the share is kept
LOST_SECONDS = 900.0  # after which a copy that nobody has seen was never made
FRONT = 100  # tasks for which gold is mixed in at once


def tend_gold(process: Process, project: Project, rng: random.Random | None = None) -> None:
    """Bring the next known answer before people, if one is due. Raises ToolError. rng: of the order and the places."""
    if project.watch or project.gone:
        return
    with process.store.reading() as connection:
        there = gold.gold_counts(connection, project.id)
    if not there:
        return
    _compare_with_config(process, project)
    if there.get(GoldState.WITHDRAWN):
        _delete(process, project, GoldState.WITHDRAWN)  # nobody is to be asked what no longer counts
    if project.problem is not None:
        return
    with process.store.reading() as connection:
        lacking = gold.undelivered(connection, project)
        sent = gold.gold_tasks(connection, project.id, GoldState.SENDING)
    lost = [known for known in sent if time.time() - (known.sent_at or 0.0) > LOST_SECONDS]
    if lacking or lost:
        with process.store.writing() as connection:
            gold.deliver(connection, project, lacking)
            for known in lost:
                gold.put_back(connection, known.id)
    if project.options.gold_share and there.get(GoldState.WAITING) and project.shown_version:
        _bring_next(process, project, rng or random.Random())
    _link(process, project)


def _compare_with_config(process: Process, project: Project) -> None:
    """Mark the known answers that the labeling config does not offer any more, or offers again."""
    offered = process.tool_project(project).choices().labels
    with process.store.reading() as connection:
        changed = gold.changed_fits(connection, project.id, offered)
    if changed:
        with process.store.writing() as connection:
            gold.set_fits(connection, changed)


def _bring_next(process: Process, project: Project, rng: random.Random) -> None:
    share = project.options.gold_share
    with process.store.reading() as connection:
        checks = places_of_checks(connection, project)
        out = gold.gold_tasks(connection, project.id, GoldState.OPEN, GoldState.SENDING)
        most = max(1, round(share * min(len(checks), FRONT)))
        if len(out) >= most:
            return
        brought = gold.brought_since(connection, project.id, time.time() - COUNTED_DAYS * DAY)
        if brought and len(brought) >= 1 + share * gold.answers_since(connection, project.id, brought[-1][0]):
            return
        waiting = [known for known in gold.gold_tasks(connection, project.id, GoldState.WAITING) if known.fits]
        places = sorted([*front_of_queue(connection, project), *checks])
    if not waiting or not places:
        return
    known = next_known(waiting, brought[0][1:] if brought else None, rng)
    trust = place_among(places, most, share, rng)
    with process.store.writing() as connection:
        if not gold.send(connection, known.id, trust):
            return
    _copy(process, project, known)


def next_known(waiting: Sequence[GoldTask], last: tuple[tuple[str, ...], str | None] | None, rng: random.Random) -> GoldTask:
    """The known answer to be asked next, at random: each class as likely as any other, so that rare ones are asked, too.

    last: answer and group of the one before, neither of which comes twice in a row where there are others.
    """
    others = [known for known in waiting if last is None or known.labels != last[0]] or list(waiting)
    apart = [known for known in others if last is None or last[1] is None or known.group != last[1]] or others
    labels = rng.choice(sorted({known.labels for known in apart}))
    return rng.choice([known for known in apart if known.labels == labels])


def place_among(places: Sequence[float], most: int, share: float, rng: random.Random) -> float:
    """A random place among those of the tasks that wait, ascending: on average one comes in 1 / share tasks.

    most: so many are among them at once.
    """
    within = min(len(places), math.ceil(2 * most / share))
    before = rng.randrange(within + 1)
    low = places[before - 1] if before else 0.0
    high = places[before] if before < len(places) else AUTOMATIC_FROM
    return min(max(rng.uniform(low, high), MARGIN), AUTOMATIC_FROM - MARGIN)


def _copy(process: Process, project: Project, known: GoldTask) -> None:
    """Have the copy made. What may have been made all the same is known again when it is read."""
    tool = process.tool_project(project)
    fields = {ROUTE: SPOT_CHECK, REASON: SPOT_CHECK_REASON, CHECKED: "yes"} if project.options.item_fields else {}
    try:
        copy = tool.copy_task(known.task, fields)
    except OutcomeUnknown:
        raise
    except ToolGone:
        with process.store.writing() as connection:
            gold.withdraw(connection, known.id)
        return
    except Exception:
        with process.store.writing() as connection:
            gold.put_back(connection, known.id)
        raise
    for task in tool.tasks([copy]):
        with process.store.writing() as connection:
            gold.adopt(connection, project, [task], {task.id: media_hash(task.media)})
    log("task brought", project=project.external_id)


def _link(process: Process, project: Project) -> None:
    """Give the copies the link of spot checks, which holds their number: whoever made them could not write it yet, or broke off."""
    page = project_page(links_to(process, project), project.external_id)
    if not page or not project.options.item_fields:
        return
    with process.store.reading() as connection:
        lacking = gold.unlinked(connection, project.id)
    for copy in lacking:
        with suppress(ToolGone):
            process.tool_project(project).write_fields(copy, {LINK: f"{page}/items/{copy}"})
        with process.store.writing() as connection:
            gold.set_linked(connection, project.id, copy)


# -- what managers do


def keep_known(process: Process, project: Project, known: Mapping[str, Sequence[str]], by: str) -> KeptKnown:
    """Keep known answers, by task. Raises StateError where the labeling config offers none of a known answer's labels."""
    offered = set(process.tool_project(project).choices().labels)
    for task, labels in known.items():
        if unknown := sorted(set(labels) - offered):
            raise StateError(f"task {task}: {unknown[0][:60]!r} is none of the labels that people may choose: {', '.join(sorted(offered))}")
    with process.store.writing() as connection:
        return gold.keep_known(connection, project, known, by)


def keep_ground_truths(process: Process, project: Project, most: int, by: str, rng: random.Random | None = None) -> KeptKnown:
    """Keep answers that people marked as ground truth in the labeling tool: at random so many of them at most."""
    offered = set(process.tool_project(project).choices().labels)
    with process.store.reading() as connection:
        found = {task: labels for task, labels in gold.ground_truths(connection, project, 10_000).items() if set(labels) <= offered}
    chosen = (rng or random.Random()).sample(sorted(found), min(most, len(found)))
    with process.store.writing() as connection:
        return gold.keep_known(connection, project, {task: found[task] for task in chosen}, by)


def take_gold_out(process: Process, project: Project, *, unanswered: bool = False) -> list[str]:
    """Delete the copies that people have answered from the labeling tool, so that no export of it holds them: in sentences what was done.

    Their answers stay counted. unanswered: those too that nobody has answered.
    """
    states = (GoldState.ANSWERED, GoldState.OPEN, GoldState.WITHDRAWN) if unanswered else (GoldState.ANSWERED,)
    deleted = _delete(process, project, *states)
    return [f"Tasks with a known answer, copies of others: {count(deleted, 'task')} deleted."] if deleted else []


def _delete(process: Process, project: Project, *states: GoldState) -> int:
    """Delete the copies in these states from the labeling tool: how many."""
    with process.store.reading() as connection:
        tasks = gold.copies_in_tool(connection, project.id, *states)
    if not tasks:
        return 0
    process.tool_project(project).delete_tasks(tasks)
    with process.store.writing() as connection:
        items.mark_gone(connection, [found.id for found in items.find_items(connection, project.id, tasks).values()])
    return len(tasks)
