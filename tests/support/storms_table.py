"""The table of a run of storms."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from storms import Outcome

HEAD = ("fault", "times", "killed", "lost", "doubled", "not sound", "recovery s (median, longest)", "unforeseen", "told meanwhile")
LONGEST = 90  # characters of what was told


def table(outcomes: Sequence[Outcome]) -> str:
    """One row for each kind of storm, as Markdown."""
    rows = [_row([outcome for outcome in outcomes if outcome.storm == name]) for name in dict.fromkeys(each.storm for each in outcomes)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (HEAD, ["---"] * len(HEAD), *rows))


def _row(some: Sequence[Outcome]) -> tuple[str, ...]:
    seconds = [outcome.recovery for outcome in some]
    told = next((outcome.told for outcome in some if outcome.told), "")
    return (
        some[0].storm,
        str(len(some)),
        str(sum(outcome.killed.total() for outcome in some)),
        str(sum(max(0, outcome.state.lost) for outcome in some)),
        str(sum(max(0, outcome.state.doubled) for outcome in some)),
        str(sum(bool(outcome.failure) for outcome in some)),
        f"{median(seconds):.0f}, {max(seconds):.0f}",
        str(sum(outcome.unforeseen for outcome in some)),
        (told if len(told) <= LONGEST else f"{told[:LONGEST]}...").replace("|", "/"),
    )
