"""The tables of a run of storms: by what happened, and by what was killed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median

from storms import Outcome

HEAD = ("fault", "times", "killed", "lost", "doubled", "not sound", "recovery s (median, longest)", "unforeseen", "told meanwhile")
KILLED_HEAD = ("process", "killed", "storms", "lost", "doubled", "not sound", "longest recovery s")
LONGEST = 90  # characters of what was told


def table(outcomes: Sequence[Outcome]) -> str:
    """One row for each kind of storm, as Markdown."""
    rows = [_row([outcome for outcome in outcomes if outcome.storm == name]) for name in dict.fromkeys(each.storm for each in outcomes)]
    return _written(HEAD, rows)


def table_of_killed(outcomes: Sequence[Outcome]) -> str:
    """One row for each kind of process that was killed, as Markdown: how the storms ended in which one was. Others may have been, too."""
    kinds = sum((outcome.killed for outcome in outcomes), Counter[str]()).most_common()
    return _written(KILLED_HEAD, [_row_of_killed(kind, times, [each for each in outcomes if each.killed[kind]]) for kind, times in kinds])


def _written(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def _row_of_killed(kind: str, times: int, some: Sequence[Outcome]) -> tuple[str, ...]:
    return (kind, str(times), str(len(some)), *_found(some), f"{max(outcome.recovery for outcome in some):.0f}")


def _row(some: Sequence[Outcome]) -> tuple[str, ...]:
    seconds = [outcome.recovery for outcome in some]
    told = next((outcome.told for outcome in some if outcome.told), "")
    return (
        some[0].storm,
        str(len(some)),
        str(sum(outcome.killed.total() for outcome in some)),
        *_found(some),
        f"{median(seconds):.0f}, {max(seconds):.0f}",
        str(sum(outcome.unforeseen for outcome in some)),
        (told if len(told) <= LONGEST else f"{told[:LONGEST]}...").replace("|", "/"),
    )


def _found(some: Sequence[Outcome]) -> tuple[str, ...]:
    """Lost, doubled, and storms after which not all became sound again."""
    return (
        str(sum(max(0, outcome.state.lost) for outcome in some)),
        str(sum(max(0, outcome.state.doubled) for outcome in some)),
        str(sum(bool(outcome.failure) for outcome in some)),
    )
