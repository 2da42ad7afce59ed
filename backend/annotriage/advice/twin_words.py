"""What is there twice, in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

from annotriage.advice.numbers import count

NAMED = 3  # examples in a sentence


def within_sentence(items: int, exact: int, near: int) -> str:
    """Items of a dataset that have an earlier twin in it."""
    if not exact + near:
        return f"None of {count(items, 'item')} appears twice."
    return f"{count(exact + near, 'item repeats', 'items repeat')} an earlier one of {items:,}: {exact:,} exactly, {near:,} nearly."


def between_sentence(items: int, exact: int, near: int, against: str) -> str:
    """Items that another dataset has, too."""
    if not exact + near:
        return f"None of {count(items, 'item')} is in {against}."
    return f"{count(exact + near, 'item is', 'items are')} in {against}, too: {exact:,} exactly, {near:,} nearly."


def threshold_sentence(threshold: float, usual: float, halved: bool) -> str:
    """How near is near. usual: distance to the nearest item, NaN if there is no other. halved: the threshold is half of that, not more."""
    if not threshold:
        return "Only items with equal activations count as near: how near their copies lie could not be measured."
    if halved:
        return (
            f"Near is within {threshold:.3g}, half of the usual distance to the nearest item ({usual:.3g}): copies of these items, lightly"
            " changed in brightness, noise and compression, may lie further away, so some are missed."
        )
    told = f" That is less than half of the usual distance to the nearest item ({usual:.3g})." if math.isfinite(usual) else ""
    return (
        f"Near is within {threshold:.3g}: so are 99% of copies of these items, lightly changed in brightness, noise and compression.{told}"
    )


def failed_sentence(failures: Sequence[str]) -> str:
    """Items that were left out."""
    return f"{count(len(failures), 'item')} could not be used and left out: {'; '.join(failures[:NAMED])}"


def leak_sentence(pairs: Sequence[tuple[str, str]]) -> str:
    """Held-out items that are near twins of training items. pairs: (held-out id, training id)."""
    named = ", ".join(f"{mine} = {theirs}" for mine, theirs in pairs[:NAMED])
    more = ", ..." if len(pairs) > NAMED else ""
    return (
        f"{count(len(pairs), 'held-out item is', 'held-out items are')} nearly a training item ({named}{more}): the guarantee looks better"
        " than it is. Take them out, and fit again. To see all: annotriage duplicates --reference REFERENCE --data HELD_OUT --against TRAIN"
        " --out duplicates.csv."
    )
