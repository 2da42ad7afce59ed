"""The guarantee in a sentence: what holds, or why nothing does and what to do about it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from annotriage.advice.numbers import about, count, limit, one_in, percent

if TYPE_CHECKING:
    from annotriage.guarantee.gate import Guarantee


def guarantee_sentence(guarantee: Guarantee) -> str:
    """The guarantee, or why there is none."""
    if guarantee.auto:
        return given_sentence(guarantee)
    return hopeless_sentence(guarantee) if guarantee.needed is None else shortage_sentence(guarantee, guarantee.needed)


def given_sentence(guarantee: Guarantee) -> str:
    """The error limit of automatic labels, and what it rests on."""
    scope, which = "automatic labels", "such a guarantee"
    if guarantee.max_error_per == "class":
        able = sum(row.tau < math.inf for row in guarantee.classes if row.side == "predicted")
        scope = f"automatic labels of each of {able:,} (out of {len(guarantee.classes) // 2:,}) classes"
        which = "the guarantee of each class by itself"
    return (
        f"At most {limit(guarantee.max_error)} {scope} are wrong in the long run, for items like the held-out ones;"
        f" {which} is wrong for {one_in(1 - guarantee.confidence, 'project')}."
        f" Shown on {count(guarantee.n, 'automatic item')} out of {guarantee.labelled:,} labelled held-out ones,"
        f" {guarantee.errors:,} of them wrong; people's labels are taken as truth."
    )


def shortage_sentence(guarantee: Guarantee, needed: int) -> str:
    """Why nothing is automatic yet, and how many labelled held-out items are likely to change that."""
    from annotriage.guarantee.binomial import first_size

    least = first_size(guarantee.max_error, guarantee.tested_confidence)
    if guarantee.labelled < least:
        shortage = f"{count(least, 'labelled held-out item')} needed at least, {guarantee.labelled:,} there"
    else:
        shortage = (
            f"an error of at most {percent(guarantee.max_error)} is not shown for any share of the"
            f" {count(guarantee.labelled, 'labelled held-out item')}"
        )
    return f"auto is off: {shortage}; {about(needed)} in all are likely to be enough."


def hopeless_sentence(guarantee: Guarantee) -> str:
    """Why nothing is automatic, where more labels would not help."""
    return (
        f"auto is off: the model is wrong too often for a limit of {percent(guarantee.max_error)}, and more labels alone will not"
        " help; train it further or raise max_error."
    )
