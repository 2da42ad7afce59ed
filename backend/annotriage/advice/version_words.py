"""Where two versions of a model differ on the same items, in sentences."""

from __future__ import annotations

from annotriage.advice.numbers import count, percent, percent_range, points, points_range

USES = {"present": "in use", "next": "takes over now", "former": "used before", "trained": "trained, not in use"}


def compared_sentence(items: int) -> str:
    """What came of a comparison: where they differ stands on the page alone, which leaves blind items out as long as they are."""
    return f"{count(items, 'item')} compared. The page Two versions says where they differ."


def changed_sentence(items: int, changed: int, low: float, high: float) -> str:
    """How many items take another route. low, high: 95% limits of their share."""
    if not items:
        return "None of the items that were drawn exists any more."
    if not changed:
        return f"All {items:,} items keep their route; of all items at most {percent(high)} would change it."
    return (
        f"{percent(changed / items)} of the items take another route: {changed:,} of {items:,} (likely range {percent_range(low, high)})."
    )


def automatic_sentence(items: int, before: int, after: int, low: float, high: float) -> str:
    """How many labels each version would leave to the model. low, high: 95% limits of the difference of the shares."""
    if not items or not (before or after):
        return "No label would be automatic under either."
    shares = f"{percent(before / items)} of the labels are automatic under the first version, {percent(after / items)} under the second"
    if low <= 0 <= high:
        return f"{shares}: no clear difference."
    gain = (after - before) / items
    near, far = sorted((abs(low), abs(high)))
    return f"{shares}: {points(abs(gain))} {'more' if gain > 0 else 'fewer'} (likely {points_range(near, far)})."


def answered_sentence(items: int, before: int, after: int, low: float, high: float) -> str:
    """How often each version is right where people have answered. low, high: 95% limits of the difference of the shares."""
    shares = (
        f"Where people have answered ({count(items, 'item')}), the first version is right on {percent(before / items)},"
        f" the second on {percent(after / items)}"
    )
    if low <= 0 <= high:
        return f"{shares}: no clear difference."
    gain = (after - before) / items
    near, far = sorted((abs(low), abs(high)))
    return f"{shares}: the second is {'better' if gain > 0 else 'worse'} by {points(abs(gain))} (likely {points_range(near, far)})."
