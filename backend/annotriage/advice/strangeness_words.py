"""What makes an outlier strange, in words: it is like no class, or it looks unlike the training items, or both.

The second axis sees how an item looks, whatever its class. Another source looks so, and so does a shape that the training items do not
have: the axis cannot tell the two apart, and no sentence does.
"""

from __future__ import annotations

from math import exp

from annotriage.advice.numbers import percent

ALONE = 3.0  # the surprise of one held-out item in twenty: strange on this axis alone
DEPTHS = (
    ("an early layer", "noise, sharpness or colour"),
    ("a middle layer", "texture or parts"),
    ("a late layer", "shape or arrangement"),
)


def strangeness_sentence(
    class_score: float | None, source_score: float | None, depth: float | None = None, *, pictures: bool = False
) -> str:
    """Which axis makes an outlier strange; "" where the rule has no axes.

    class_score, source_score: how rare it is on each axis, 3 = stranger than 95% of the held-out items; None = no such axis. depth: how
    deep in the model it differs most from training items, from 0 = first to 1 = last; None leaves it unsaid. pictures: the items are
    such.
    """
    if class_score is None:
        return ""
    if source_score is None:
        return "It is like no class."
    unlike = "looks unlike the training items, as another source or a new shape does"
    if depth is not None:
        where, shows = DEPTHS[min(int(depth * len(DEPTHS)), len(DEPTHS) - 1)]
        unlike += f": most in {where}{f', which mostly sees {shows}' if pictures else ''}"
    if max(class_score, source_score) < ALONE:
        return "Both what it is and how it looks are a little unusual."
    if source_score < ALONE:
        return "It is like no class."
    if class_score < ALONE:
        return f"It {unlike}."
    return f"It is like no class, and {unlike}."


def surprise_words(score: float) -> str:
    """How many held-out items are less strange on an axis: 3.0 -> "95%"."""
    return "all" if exp(-score) < 0.0006 else percent(1 - exp(-score))
