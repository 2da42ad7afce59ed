"""A group of strange items in words: how its members stand."""

from __future__ import annotations

from collections.abc import Mapping

NAMED = 3  # answers in a sentence


def members_sentence(size: int, waiting: int, answers: Mapping[tuple[str, ...], int], aside: int = 0) -> str:
    """How the members of a group stand; the parts add up to its size. answers: how often people gave which labels; aside: how many were
    taken out of the queue. What is left is hidden or gone: where a spot check is open, nobody sees how it stands."""
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
        parts.append(f"{others:,} {'is an open spot check or a deleted task' if others == 1 else 'are open spot checks or deleted tasks'}")
    return "; ".join(parts)
