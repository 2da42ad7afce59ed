"""Look-alikes in the dashboard and the labeling tool: a group is offered, people answer some of it blind, the rest is labelled at once.

A person decides at each turn: that people are asked, that the rest gets the label, that it is taken back, that a mixed group is split. What
follows from people's answers (`tend_proposals`) and what is written into the labeling tool is done by the service, again and again until it
is done: whatever breaks off goes on from the state that is written down.

What is labelled at once is a prediction of a version of its own, or an annotation made of it that counts as the machine's.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from annotriage.advice.look_alike_words import too_few_sentence
from annotriage.errors import DataError, OutcomeUnknown, StateError, ToolError, UnknownError
from annotriage.labeling_tool import LOOK_ALIKES_VERSION, Shown, TabShows, ToolProject
from annotriage.service.delivery import accepting
from annotriage.service.delivery.rerouting import take_back, undo_rerouting
from annotriage.service.maps.likeness import LOOKS_HIDDEN, Likeness, nearest_free
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.states import EventKind, ProposalState
from annotriage.store import acceptances, deliveries, proposals, reroutings, spot_checks
from annotriage.store.browsing import is_item_hidden, item_of_id
from annotriage.store.events import note
from annotriage.store.locks import lock_items
from annotriage.store.projects import Project, get_project
from annotriage.store.proposals import Member, Proposal
from annotriage.store.references import get_reference
from annotriage.store.snapshots import groups_of

if TYPE_CHECKING:
    from annotriage.guarantee.look_alikes import Standing

COUNT = 200  # most similar to an item
MOST = 10_000  # members
SMALLEST = 20  # members of a half that is worth asking about by itself
TITLE = 40  # characters of a tab's title that say what it is


@dataclass(frozen=True)
class Answers:
    """What people said of a group. labels: what most of them said, None while nobody has answered. standing: what follows.

    rest: the members that may get the labels, as nobody has answered them. asked: the members that wait for an answer.
    """

    labels: tuple[str, ...] | None
    standing: Standing
    rest: tuple[Member, ...]
    asked: tuple[Member, ...]


# -- what a person asks for


def propose_groups(process: Process, project: Project, dataset_id: int, numbers: Sequence[int], by: str) -> int:
    """Offer an outlier group of a dataset, or several that are one thing: the proposal's number. Raises StateError, UnknownError."""
    with process.store.reading() as connection:
        found = groups_of(connection, dataset_id)
    chosen = sorted(set(numbers))
    ids = [id for id, number in found.items() if number in chosen]
    if not chosen or not ids:
        raise UnknownError(f"project {project.external_id}: there is no such group any more; look at the groups again")
    reason = f"group {chosen[0]}" if len(chosen) == 1 else f"groups {', '.join(map(str, chosen[:-1]))} and {chosen[-1]}"
    return propose_items(process, project, ids, by, reason=f"{reason} of strange items")


def propose_similar(
    process: Process, project: Project, item_id: int, by: str, count: int = COUNT, *, likeness: Likeness | None = None
) -> int:
    """Offer the `count` items most similar to one, of those that wait: the proposal's number. Raises StateError, UnknownError, Overloaded.

    likeness: who looks for them in a process of its own, where this one computes nothing.
    """
    if not 1 <= count <= MOST:
        raise DataError(f"count: {count} is not between 1 and {MOST:,}")
    with process.store.reading() as connection:
        item = item_of_id(connection, project, item_id)
        if is_item_hidden(connection, item_id):
            raise StateError(LOOKS_HIDDEN)
        if item_id not in proposals.points_of(connection, project, [item_id]):
            raise StateError(f"task {item.name}: it has no place among the others, for it could not be judged")
    nearest = nearest_free(process, project, item_id, count) if likeness is None else likeness.nearest_free(project, item_id, count)
    return propose_items(process, project, nearest, by, reason=f"the {len(nearest)} most similar to task {item.name}")


def propose_items(process: Process, project: Project, item_ids: Sequence[int], by: str, *, reason: str = "chosen on the map") -> int:
    """Offer these items, of those that wait for a person and were not drawn at random: the proposal's number.

    Raises StateError where more than half of them would have to be answered, with the number of items from which on it is worth it.
    """
    from annotriage.guarantee.look_alikes import least_members, looks

    if len(item_ids) > 10 * MOST:
        raise DataError(f"choose at most {10 * MOST:,} items")
    with process.store.writing() as connection:
        free = proposals.free_items(connection, project, item_ids)
        if len(free) > MOST:
            raise StateError(f"{len(free):,} items are too many for one group; choose at most {MOST:,} that look alike")
        lock_items(connection, free)
        free = proposals.free_items(connection, project, free)  # what others have done of them meanwhile
        confidence = _confidence(connection, project, proposals.attempts(connection, free))
        if not looks(len(free), project.options.group_error, confidence):
            enough = least_members(project.options.group_error, confidence)
            raise StateError(too_few_sentence(reason, len(set(item_ids)), len(free), enough))
        random.SystemRandom().shuffle(free)
        try:
            return proposals.add_proposal(
                connection, project, free, reason, by, group_error=project.options.group_error, confidence=confidence
            )
        except IntegrityError:
            raise StateError("some of these items were proposed at this moment by somebody else; look again") from None


def least_of(connection: Connection, project: Project) -> int | None:
    """How many items a group needs that were never in one before; None if more than anybody has."""
    from annotriage.guarantee.look_alikes import least_members

    return least_members(project.options.group_error, _confidence(connection, project, 0))


def worth_groups(connection: Connection, project: Project, dataset_id: int, numbers: Sequence[int]) -> tuple[frozenset[int], bool]:
    """Which of these groups among a dataset's outliers `propose_groups` would take by themselves; and whether all of them together."""
    from annotriage.guarantee.look_alikes import looks

    free = proposals.free_in_groups(connection, project, dataset_id, numbers)

    def is_worth_asking(items: int, attempts: int) -> bool:
        """Whether answering at most half of so many items, all of which may become members, can be enough."""
        return items <= MOST and bool(looks(items, project.options.group_error, _confidence(connection, project, attempts)))

    alone = frozenset(number for number, some in free.items() if is_worth_asking(some.items, some.attempts))
    every, tried = sum(some.items for some in free.values()), max((some.attempts for some in free.values()), default=0)
    return alone, len(free) > 1 and is_worth_asking(every, tried)


def _confidence(connection: Connection, project: Project, attempts: int) -> float:
    """Of the statement about items that were in so many groups before: so that however often it is tried, all attempts together fail twice
    as often at most."""
    base = get_reference(connection, project.reference_id).facts["guarantee"].get("confidence") or 0.95
    return float(1 - (1 - base) / 2**attempts)


def ask_people(process: Process, project: Project, id: int, by: str) -> None:
    """People are asked, blind, about the first members of the draw: in the queue at once, in the labeling tool's tab a few seconds later.

    Raises StateError, UnknownError.
    """
    from annotriage.guarantee.look_alikes import looks

    with process.store.writing() as connection:
        found, members = _hold(connection, project, id)
        if project.next_reference_id is not None or project.old_reference_id is not None:
            raise StateError("a new reference is taking over; ask when that is done")
        first = looks(found.members, found.group_error, found.confidence)[0].size
        _move(connection, found, (ProposalState.OFFERED,), ProposalState.ASKING, asked=first)
        _hide(connection, project, [member.item_id for member in members[:first]])
        _note(connection, project, found, "asked", by=by, answers=first)


def close(process: Process, project: Project, id: int, by: str) -> None:
    """Nobody is asked any more, and nothing is labelled. Raises StateError, UnknownError."""
    with process.store.writing() as connection:
        found, members = _hold(connection, project, id)
        open_states = (ProposalState.OFFERED, ProposalState.ASKING, ProposalState.SHOWN, ProposalState.MIXED)
        _move(connection, found, open_states, ProposalState.CLOSED)
        _leave_asking(connection, project, found, members)
        _note(connection, project, found, "closed", by=by)
    _try_tab(process, project, found, ())


def label_rest(process: Process, project: Project, id: int, by: str) -> int:
    """Let the members that nobody answered get the group's label: how many. The service writes them into the labeling tool.

    Raises StateError if the answers do not, or no longer, allow it; UnknownError.
    """
    if project.watch or project.gone or project.problem or not project.shown_version:
        raise StateError("nothing is written into this project at the moment, so nothing can be labelled at once")
    with process.store.writing() as connection:
        found, members = _hold(connection, project, id)
        answers = answers_of(found, members)
        if found.state == ProposalState.SHOWN and (not answers.standing.shown or answers.labels != found.labels):
            proposals.move(connection, id, ProposalState.SHOWN, ProposalState.ASKING)
            changed = True
        else:
            changed = False
            annotates = project.options.accept == "annotate"
            # What the model judged automatic itself would go back to its own label: that stays with a person.
            rest = [member.item_id for member in answers.rest if annotates or member.judged not in ("auto", None)]
            checks = spot_checks.unsettled(connection, rest)  # drawn since the group was made: they are answered blind
            rest = [id for id in rest if id not in checks]
            if found.state == ProposalState.SHOWN and not found.labels:
                raise StateError("people say that none of the classes applies, and there is no label for that; answer the rest one by one")
            if found.state == ProposalState.SHOWN and not rest:
                raise StateError("nothing is left to be labelled: all of it was answered meanwhile")
            begun = None if annotates else reroutings.begin(connection, project.id, "back", by)
            values = {"labelled_by": by, "labelled_at": time.time(), "rerouting_id": begun, "note": ""}
            _move(connection, found, (ProposalState.SHOWN,), ProposalState.LABELLING, **values)
            proposals.set_at_once(connection, id, rest)
            _note(connection, project, found, "labelled", by=by, items=len(rest), labels=list(found.labels or ()))
    if changed:
        raise StateError("answers were changed meanwhile, and allow it no longer; people are asked again")
    return len(rest)


def split(process: Process, project: Project, id: int, by: str) -> None:
    """Let the members that nobody answered become two groups, by where they lie. Raises StateError, UnknownError."""
    with process.store.writing() as connection:
        found, members = _hold(connection, project, id)
        answers = answers_of(found, members)
        if found.state == ProposalState.ASKING and not answers.standing.disagreements:
            raise StateError("all answers agree so far, so there is nothing to split; answer what is asked")
        _move(connection, found, (ProposalState.MIXED, ProposalState.ASKING), ProposalState.SPLITTING, note="")
        _leave_asking(connection, project, found, members)
        _note(connection, project, found, "split", by=by)
    _try_tab(process, project, found, ())


def undo_labels(process: Process, project: Project, id: int, by: str) -> None:
    """Take back what was labelled at once; what people changed since stays. The service does it. Raises StateError, UnknownError."""
    with process.store.writing() as connection:
        found = proposals.proposal_of(connection, project, id)
        _move(connection, found, (ProposalState.LABELLED,), ProposalState.UNDOING)
        _note(connection, project, found, "undone", by=by)


# -- what follows by itself


def tend_proposals(process: Process, project: Project) -> None:
    """Go on with a project's groups; called every few seconds. Raises ToolError."""
    with process.store.reading() as connection:
        found = proposals.at_work(connection, project.id)
    errors = []
    for proposal in found:
        try:
            tend_proposal(process, project, proposal.id)
        except ToolError as error:  # the others go on
            errors.append(error)
    if errors:
        raise errors[0]


def tend_proposal(process: Process, project: Project, id: int) -> None:
    """Go on with one group, from the state in which it is. Raises ToolError."""
    with process.store.reading() as connection:
        project = get_project(connection, project.id)
        found = proposals.proposal_of(connection, project, id)
    act = _ACTS.get(found.state)
    if act is not None and not project.gone:
        act(process, project, found)


def answers_of(found: Proposal, members: Sequence[Member]) -> Answers:
    """What people's answers on a group come to: those on the first members of the draw, up to the first that waits.

    A member that nobody can answer any more, as its task was deleted or erased, counts as a disagreement.
    """
    from annotriage.guarantee.look_alikes import standing

    by_place = {member.place: member for member in members}
    given: list[tuple[str, ...] | None] = []
    for place in range(found.asked):
        member = by_place.get(place)
        if member is not None and member.labels is None and not (member.gone or member.machine):
            break
        given.append(None if member is None or member.labels is None else tuple(sorted(member.labels)))
    said = Counter(labels for labels in given if labels is not None)
    labels = said.most_common(1)[0][0] if said else None
    state = standing(found.members, [labels is not None and one == labels for one in given], found.group_error, found.confidence)
    waiting = [member for member in members if member.labels is None and not member.gone and not member.machine]
    asked = tuple(member for member in waiting if member.place < found.asked)
    rest = tuple(member for member in waiting if member.place >= len(given) and not member.disputed)
    return Answers(labels, state, rest, asked)


def _follow_answers(process: Process, project: Project, found: Proposal) -> None:
    """People are asked: what their answers allow, and whom to ask next."""
    with process.store.reading() as connection:
        members = proposals.members_of(connection, project, found.id)
        open_ones = [member.item_id for member in members if member.place < found.asked and member.labels is None]
        seen = [] if project.watch else proposals.seen_labels(connection, project, open_ones)
    state = answers_of(found, members).standing
    if state.shown or state.next_at is None or state.next_at > found.asked or seen:
        with process.store.writing() as connection:
            found, members = _hold(connection, project, found.id)
            if found.state != ProposalState.ASKING:
                return
            if _step(connection, project, found, members):
                _leave_asking(connection, project, found, members)
            found = proposals.proposal_of(connection, project, found.id)
    if found.state != ProposalState.ASKING:
        _try_tab(process, project, found, ())
        return
    tasks = [member.task for member in members if member.place < found.asked and not member.gone]
    if found.in_tab != len(tasks):
        _tab(process, project, found, tasks)


def _step(connection: Connection, project: Project, found: Proposal, members: Sequence[Member]) -> bool:
    """Let a group go on as people's answers allow; whether people are asked no more."""
    answers = answers_of(found, members)
    state, labels = answers.standing, list(answers.labels or ())
    if state.shown:
        _note(connection, project, found, "shown", items=len(answers.rest), labels=labels)
        return proposals.move(connection, found.id, ProposalState.ASKING, ProposalState.SHOWN, labels=labels)
    if state.next_at is None:
        _note(connection, project, found, "mixed", answers=state.answers, disagreements=state.disagreements)
        return proposals.move(connection, found.id, ProposalState.ASKING, ProposalState.MIXED)
    asked = max(found.asked, state.next_at)
    proposals.change(connection, found.id, asked=asked)
    _hide(connection, project, [member.item_id for member in members if member.place < asked and member.labels is None])
    return False


def _halve(process: Process, project: Project, found: Proposal) -> None:
    """Two groups of the members that nobody answered, by where they lie, each with fresh answers and its share of the level."""
    import numpy as np
    from sklearn.cluster import KMeans

    from annotriage.guarantee.look_alikes import confidence_of_half, looks

    with process.store.reading() as connection:
        members = proposals.members_of(connection, project, found.id)
        rest = [member.item_id for member in members if member.untouched]
        points = proposals.points_of(connection, project, rest)
    answers = answers_of(found, members)
    rest = [id for id in rest if id in points]
    sides = np.zeros(len(rest), dtype=int)
    placed = np.array([np.frombuffer(points[id], np.float16) for id in rest], dtype=np.float32)
    if len(rest) > 1 and np.ptp(placed, axis=0).any():
        sides = KMeans(2, n_init=4, random_state=found.id).fit_predict(placed)
    halves = [[id for id, side in zip(rest, sides, strict=True) if side == which] for which in (0, 1)]
    taken = sum(look.size <= answers.standing.answers for look in looks(found.members, found.group_error, found.confidence))
    confidence = confidence_of_half(found.confidence, max(taken, 1))
    worth = [half for half in halves if len(half) >= SMALLEST and looks(len(half), found.group_error, confidence)]
    with process.store.writing() as connection:
        if not worth or min(map(len, halves)) < SMALLEST:
            sizes = f"{len(halves[0])} and {len(halves[1])} items"
            why = f"its points do not part in two groups that are worth asking about: they are {sizes}"
            proposals.move(connection, found.id, ProposalState.SPLITTING, ProposalState.MIXED, note=why)
            return
        if not proposals.move(connection, found.id, ProposalState.SPLITTING, ProposalState.SPLIT):
            return
        proposals.let_go(connection, found.id)
        for number, half in enumerate(halves, start=1):
            if half in worth:
                random.SystemRandom().shuffle(half)
                proposals.add_proposal(
                    connection,
                    project,
                    half,
                    f"half {number} of {found.reason}",
                    found.by,
                    group_error=found.group_error,
                    confidence=confidence,
                    parent_id=found.id,
                )


def _write_labels(process: Process, project: Project, found: Proposal) -> None:
    """The labels as predictions of a version of their own, and annotations made of them, or the items out of the queue."""
    if project.watch or project.problem or not project.shown_version:
        return
    with process.store.reading() as connection:
        members = [member for member in proposals.members_of(connection, project, found.id) if member.at_once and not member.gone]
    tool, version = process.tool_project(project), version_of(found)
    tasks = {member.task: member for member in members if member.labels is None and not member.disputed}
    there = tool.delivered(list(tasks), version)
    tool.withdraw([id for ids in there.values() for id in ids[1:]])  # a call whose answer was lost may have come twice
    missing = [Shown(task, found.labels, 1 - found.group_error) for task in tasks if task not in there]
    outcomes = tool.deliver(missing, version)
    if outcomes.error is not None:
        raise outcomes.error
    if outcomes.refused:
        _not_labelled(process, found, [tasks.pop(task).item_id for task in outcomes.refused], next(iter(outcomes.refused.values())))
    if found.rerouting_id is not None:
        if free := [member.item_id for member in tasks.values()]:
            take_back(process, project, free, found.labelled_by or "", begun=found.rerouting_id)
    elif not _annotate(process, project, found, tool, {task: member.item_id for task, member in tasks.items()}, version):
        return
    _tab(process, project, found, list(tasks), TabShows.ANSWERS)
    with process.store.writing() as connection:
        proposals.move(connection, found.id, ProposalState.LABELLING, ProposalState.LABELLED)
    log("labelled at once", project=project.external_id, proposal=found.id, items=len(tasks))


def _annotate(process: Process, project: Project, found: Proposal, tool: ToolProject, tasks: dict[str, int], version: str) -> bool:
    """Annotations of the predictions, as a batch that can be undone as all others can; whether it is known of each what became of it.

    One whose answer is lost is read back with all other acceptances, and asked for again if nothing came of it.
    """
    with process.store.writing() as connection:
        batch = proposals.proposal_of(connection, project, found.id).acceptance_id
        if batch is not None and acceptances.is_undecided(connection, batch):
            return False
        batch, taken = acceptances.begin_batch(connection, project, list(tasks.values()), batch)
        if taken:
            proposals.change(connection, found.id, acceptance_id=batch)
    asked = {task: id for task, id in tasks.items() if id in taken}
    if not asked:
        return True
    try:
        outcomes = tool.accept(list(asked), version)
    except OutcomeUnknown:
        raise
    except ToolError:
        with process.store.writing() as connection:
            acceptances.not_accepted(connection, asked.values())
        raise
    with process.store.writing() as connection:
        acceptances.end_batch(connection, {asked[task]: review for task, review in outcomes.done.items()})
        acceptances.not_accepted(connection, [id for task, id in asked.items() if task not in (*outcomes.done, *outcomes.unknown)])
    if outcomes.refused:
        seen = tool.delivered(list(outcomes.refused), version)
        tool.withdraw([id for ids in seen.values() for id in ids])
        _not_labelled(process, found, [asked[task] for task in outcomes.refused], next(iter(outcomes.refused.values())))
    if outcomes.error is not None:
        raise outcomes.error
    return not outcomes.unknown


def _not_labelled(process: Process, found: Proposal, item_ids: Sequence[int], why: str) -> None:
    """The labeling tool refuses these: they wait for answers of their own."""
    with process.store.writing() as connection:
        proposals.not_at_once(connection, found.id, item_ids)
        proposals.change(connection, found.id, note=why)


def _take_labels_back(process: Process, project: Project, found: Proposal) -> None:
    """The annotations, the predictions and what left the queue."""
    tool = process.tool_project(project)
    if found.acceptance_id is not None:
        accepting.undo(process, project, found.acceptance_id)
    if found.rerouting_id is not None:
        with process.store.reading() as connection:
            done = reroutings.rerouting_of(connection, project, found.rerouting_id)
        if done.undone_at is None:
            undo_rerouting(process, project, found.rerouting_id, found.labelled_by or "")
    if version_of(found) in tool.versions():
        tool.drop_version(version_of(found), keep=project.shown_version)
    _tab(process, project, found, ())
    with process.store.writing() as connection:
        if proposals.move(connection, found.id, ProposalState.UNDOING, ProposalState.UNDONE):
            proposals.let_go(connection, found.id)


_ACTS: dict[ProposalState, Callable[[Process, Project, Proposal], None]] = {
    ProposalState.ASKING: _follow_answers,
    ProposalState.SPLITTING: _halve,
    ProposalState.LABELLING: _write_labels,
    ProposalState.UNDOING: _take_labels_back,
}


def version_of(found: Proposal) -> str:
    """Of the predictions that say a group's label."""
    return f"{LOOK_ALIKES_VERSION} {found.id}"


def title_of(found: Proposal) -> str:
    """Of the group's tab in the labeling tool, whose plugin knows it again by that."""
    return f"Look-alikes {found.id}: {found.reason[:TITLE]}"


# -- inside


def _hold(connection: Connection, project: Project, id: int) -> tuple[Proposal, list[Member]]:
    """A group and its members, which nobody else changes until the transaction ends."""
    lock_items(connection, [member.item_id for member in proposals.members_of(connection, project, id)])
    return proposals.proposal_of(connection, project, id), proposals.members_of(connection, project, id)


def _move(connection: Connection, found: Proposal, from_: Sequence[ProposalState], to: ProposalState, **values: object) -> None:
    """Raises StateError if it is in none of these states (any more)."""
    if found.state not in from_ or not proposals.move(connection, found.id, found.state, to, **values):
        raise StateError(f"this group is {found.state} now, so it cannot become {to}; load the page again")
    if to == ProposalState.CLOSED:
        proposals.let_go(connection, found.id)


def _note(
    connection: Connection,
    project: Project,
    found: Proposal,
    step: str,
    *,
    by: str = "",
    items: int = 0,
    answers: int = 0,
    disagreements: int = 0,
    labels: Sequence[str] = (),
) -> None:
    """Write into the history that a group went a step further; see `advice.look_alike_words.step_sentence`."""
    note(
        connection,
        project.id,
        EventKind.LOOK_ALIKES,
        proposal=found.id,
        reason=found.reason,
        step=step,
        by=by,
        items=items,
        answers=answers,
        disagreements=disagreements,
        labels=list(labels),
    )


def _hide(connection: Connection, project: Project, item_ids: Sequence[int]) -> None:
    """Whoever answers shall not see what the model says of it."""
    seen = [] if project.watch else proposals.seen_labels(connection, project, item_ids)
    if seen:
        rows = reroutings.routed(connection, project, seen)
        deliveries.enqueue(connection, [row | {"labels": None} for row in rows])


def _leave_asking(connection: Connection, project: Project, found: Proposal, members: Sequence[Member]) -> None:
    """What was hidden of members that nobody has answered is shown again. found: as it was before."""
    if found.state == ProposalState.ASKING and not project.watch:
        waiting = [member.item_id for member in members if member.place < found.asked and member.labels is None and not member.gone]
        if waiting:
            deliveries.enqueue(connection, reroutings.routed(connection, project, waiting))


def _tab(process: Process, project: Project, found: Proposal, tasks: Sequence[str], shows: TabShows = TabShows.NOTHING) -> None:
    """The group's tab in the labeling tool; without tasks it goes."""
    if project.watch or project.gone:
        return
    process.tool_project(project).assign(title_of(found), tasks, shows)
    with process.store.writing() as connection:
        proposals.change(connection, found.id, in_tab=len(tasks))


def _try_tab(process: Process, project: Project, found: Proposal, tasks: Sequence[str]) -> None:
    """As `_tab`, where nothing hangs on it: a tab that stays lists nothing that is not answered."""
    if not found.in_tab:
        return
    try:
        _tab(process, project, found, tasks)
    except ToolError as error:
        log("a tab stays", project=project.external_id, proposal=found.id, error=error)
