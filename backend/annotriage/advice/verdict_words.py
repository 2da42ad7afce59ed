"""Why an item was judged as it was, in words."""

from __future__ import annotations

from annotriage.advice.numbers import percent


def outlier_sentence(outlier_score: float, compared: str, nearest: str = "") -> str:
    """How strange an outlier is. compared: "held-out" | "training" items; nearest: to what it is, where a class may be named."""
    share = "all" if outlier_score > 0.9994 else percent(outlier_score)
    return f"Stranger than {share} of the {compared} items{f'; nearest to {nearest}' if nearest else ''}."
