"""A group of strange items in words: how its members stand."""

from __future__ import annotations

from collections.abc import Mapping

NAMED = 3  # answers in a sentence


def members_sentence(size: int, waiting: int, answers: Mapping[tuple[str, ...], int]) -> str:
    """How the members of a group stand; the parts add up to its size. answers: how often people gave which labels."""
    answered = sum(answers.values())
    parts = [f"{waiting:,} {'waits' if waiting == 1 else 'wait'} for a person"] if waiting else []
    if answered:
        most = sorted(answers.items(), key=lambda answer: -answer[1])
        said = [f"{n:,} as {' + '.join(labels)[:60] or 'none of the classes'}" for labels, n in most[:NAMED]]
        parts.append(f"{answered:,} answered by people ({', '.join(said)}{', ...' if len(most) > NAMED else ''})")
    others = size - waiting - answered
    if others > 0:
        parts.append(f"{others:,} {'is' if others == 1 else 'are'} open spot checks or were set aside")
    return "; ".join(parts)
