"""Answers that people give here, in the queue: each becomes a review in the labeling tool, in the name of its person's own account there.

Whoever signs in under a name or address by which the labeling tool knows one account is that account; others answer in the tool itself.
The task is read before and after: nobody answers twice, or what somebody else has answered meanwhile, and the store follows at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from annotriage.errors import DataError, StateError, ToolError, ToolGone
from annotriage.labeling_tool import Account, Review, Task, ToolProject
from annotriage.service.intake.reviewing import take_reviews
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process
from annotriage.store.browsing import Item, item_of_id
from annotriage.store.projects import Project

LONGEST = 600.0  # seconds that an answer may have taken; who took longer was elsewhere


@dataclass(frozen=True, slots=True)
class Answering:
    """What somebody may answer here. account: their name in the labeling tool, null where it knows nobody like them: then nothing, and
    `why` says so. labels: what they may choose from; several: more than one at once."""

    account: str | None
    why: str
    labels: tuple[str, ...] = ()
    several: bool = False


@dataclass(frozen=True, slots=True)
class Given:
    """An answer. review: its id in the labeling tool, under which its person can take it back."""

    item: int
    task: str
    review: str
    labels: tuple[str, ...]


def answering(process: Process, project: Project, visitor: str) -> Answering:
    """What a visitor of the dashboard may answer. Raises ToolError where the labeling tool cannot be asked."""
    if project.watch or project.problem or project.gone:
        return Answering(None, "Nothing is written into this project at the moment, so answer tasks in the labeling tool.")
    account = _account(process, visitor)
    if account is None:
        title = process.tool.title
        why = (
            f"No account of {title} is called {visitor[:60]}: answer there (Enter opens a task), or sign in here with the email"
            " address that you have there."
        )
        return Answering(None, why)
    choices = process.tool_project(project).choices()
    return Answering(account.name, "", choices.labels, choices.several)


def give_answer(process: Process, project: Project, item_id: int, labels: Sequence[str], visitor: str, seconds: float) -> Given:
    """Answer an item's task as this visitor. seconds: that they took.

    Raises DataError for labels that cannot be chosen, StateError if there is nothing to answer any more, or no account of theirs.
    """
    account, tool = _known(process, project, visitor), process.tool_project(project)
    choices = tool.choices()
    chosen = tuple(dict.fromkeys(labels))
    if not chosen or not set(chosen) <= set(choices.labels) or (len(chosen) > 1 and not choices.several):
        raise DataError(f"label: choose {'some' if choices.several else 'one'} of {', '.join(choices.labels)}")
    _, name = _open(process, project, item_id)
    # of two clicks on one task, on two replicas perhaps, the second would not see the first one's answer in the labeling tool yet
    busy = f"task {name}: somebody is answering it at this moment; look at it again in a few seconds"
    with process.alone(f"answering item {item_id} of project {project.id}", busy):
        before = _read(tool, name)
        if any(review.annotator == account.id and not review.skipped for review in before.reviews or ()):
            raise StateError(f"task {name}: you have answered it already; the next answer must be somebody else's")
        if before.labelled:
            raise StateError(f"task {name}: somebody has answered it meanwhile")
        review = tool.answer(name, chosen, account.id, min(max(seconds, 0.0), LONGEST))
        _follow(process, project, tool, name)
    log("answered here", project=project.external_id, task=name, by=visitor)
    return Given(item_id, name, review, chosen)


def take_answer_back(process: Process, project: Project, item_id: int, review_id: str, visitor: str) -> str:
    """Take back an answer that this visitor gave: the task. Raises StateError if it is not theirs, or there no more."""
    account, tool = _known(process, project, visitor), process.tool_project(project)
    with process.store.reading() as connection:
        task = item_of_id(connection, project, item_id).task
    theirs = [] if task is None else [review for review in _read(tool, task).reviews or () if _is(review, review_id, account)]
    if task is None or not theirs:
        raise StateError("there is no such answer of yours any more")
    tool.retract([review_id])
    _follow(process, project, tool, task)
    log("answer taken back", project=project.external_id, task=task, by=visitor)
    return task


def _is(review: Review, id: str, account: Account) -> bool:
    return review.id == id and review.annotator == account.id and not review.machine


def _account(process: Process, visitor: str) -> Account | None:
    """The one account that is known by a visitor's name; None if there is none, or several."""
    name = visitor.casefold()
    found = [account for account in process.server.accounts() if name in {known.casefold() for known in account.signs_in_as}]
    return found[0] if len(found) == 1 else None


def _known(process: Process, project: Project, visitor: str) -> Account:
    account = None if project.watch or project.problem or project.gone else _account(process, visitor)
    if account is None:
        raise StateError(answering(process, project, visitor).why)
    return account


def _open(process: Process, project: Project, item_id: int) -> tuple[Item, str]:
    """An item that waits for an answer, and its task."""
    with process.store.reading() as connection:
        item = item_of_id(connection, project, item_id)
    if item.task is None or item.gone or item.answer in ("resolved", "labelled"):
        raise StateError(f"task {item.name}: there is nothing to answer any more")
    return item, item.task


def _read(tool: ToolProject, task_id: str) -> Task:
    found = tool.tasks([task_id])
    if not found:
        raise ToolGone(f"task {task_id} was deleted")
    return found[0]


def _follow(process: Process, project: Project, tool: ToolProject, task_id: str) -> None:
    """Bring the store up to what was done just now; where the tool does not answer, the next poll does."""
    try:
        tasks = tool.tasks([task_id])
    except ToolError:
        return
    with process.store.writing() as connection:
        take_reviews(connection, project, tasks)
