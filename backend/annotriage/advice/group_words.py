"""A group of strange items in words: how its members stand."""

from __future__ import annotations

from collections.abc import Mapping

from annotriage.advice.numbers import count

NAMED = 3  # answers in a sentence


def members_sentence(size: int, waiting: int, answers: Mapping[tuple[str, ...], int], aside: int = 0) -> str:
    """How the members of a group stand; the parts add up to its size. answers: how often people gave which labels; aside: how many were
    taken out of the queue. Of the rest nobody is told how it stands (open spot checks), or it left the group since that was found."""
    answered = sum(answers.values())
    parts = [f"{waiting:,} {'waits' if waiting == 1 else 'wait'} for a person"] if waiting else []
    if answered:
        most = sorted(answers.items(), key=lambda answer: -answer[1])
        said = [f"{n:,} as {' + '.join(labels)[:60] or 'none of the classes'}" for labels, n in most[:NAMED]]
        parts.append(f"{answered:,} answered by people ({', '.join(said)}{', ...' if len(most) > NAMED else ''})")
    if aside:
        parts.append(f"{aside:,} set aside")
    others = size - waiting - answered - aside
    if others > 0:
        parts.append(f"{count(others, 'other')}: open spot checks, deleted tasks, or no longer strange")
    return "; ".join(parts)
