"""What waits for people, how much work it is, and when they are through."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import Connection

from annotriage.advice import waiting_words
from annotriage.store.database import read_once
from annotriage.store.projects import Project
from annotriage.store.queue import Waiting, waiting_by_kind
from annotriage.store.reviews import answers_per_day, seconds_per_answer


@dataclass(frozen=True, slots=True)
class WaitingWork:
    """What waits for people. total: of all kinds. sentence: the figures in words; effort, pace: how much work that is and when it is done,
    "" where nobody can know. seconds_per_answer, per_day: as measured lately, null before."""

    total: int
    kinds: Waiting
    sentence: str
    effort: str
    pace: str
    seconds_per_answer: float | None
    per_day: float | None


@read_once
def waiting_work(connection: Connection, project: Project) -> WaitingWork:
    """What waits for people in a project."""
    kinds, seconds, per_day = (
        waiting_by_kind(connection, project),
        seconds_per_answer(connection, project),
        answers_per_day(connection, project),
    )
    total = kinds.total
    return WaitingWork(
        total=total,
        kinds=kinds,
        sentence=waiting_words.waiting_sentence(total, waiting_words.kinds_in_words(**asdict(kinds))),
        effort=waiting_words.effort(total, seconds),
        pace=waiting_words.pace(total, per_day),
        seconds_per_answer=seconds,
        per_day=per_day,
    )
