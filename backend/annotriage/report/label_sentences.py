"""What the labels that the data carry say of the verdicts, in sentences."""

from __future__ import annotations

from annotriage.advice.numbers import count, percent, percent_range
from annotriage.engine.comparing_labels import LabelComparison

HELD = {
    True: "the limit holds here",
    False: "the limit does not hold here",
    None: "more than allowed, but so few that it may be chance",
}
TOGETHER = "together no more than is allowed; the limits of single classes, and what errors cost, are not looked at here"
NAMED = 5  # classes in a sentence


def comparison_sentences(found: LabelComparison) -> list[str]:
    """Whether the limit held on this data, in which classes labels are wrong, and how many strangers were seen."""
    return [sentence for sentence in (_automatic(found), _classes(found), _strangers(found)) if sentence]


def _automatic(found: LabelComparison) -> str:
    if not found.auto:
        return f"{count(found.labelled, 'item carries a label', 'items carry labels')}, but none of them was labelled automatically."
    are = "is" if found.wrong == 1 else "are"
    wrong = f"By the labels in the data {found.wrong:,} of {count(found.auto, 'automatic label')} {are} wrong"
    limits = f"likely {percent_range(found.low, found.high)}; allowed {percent(found.max_error)}"
    held = TOGETHER if found.held and not found.alike else HELD[found.held]
    return f"{wrong} ({percent(found.wrong / found.auto)}; {limits}): {held}."


def _classes(found: LabelComparison) -> str:
    worst = [row for row in found.classes if row.wrong]
    if not worst:
        return ""
    named = ", ".join(f"{row.name[:60]} ({row.wrong:,} of {row.n:,})" for row in worst[:NAMED])
    return f"Wrong most often, by the label that the model gave: {named}{', ...' if len(worst) > NAMED else ''}."


def _strangers(found: LabelComparison) -> str:
    if not found.foreign:
        return ""
    seen = f"{found.foreign_seen:,} were seen as strange ({percent(found.foreign_seen / found.foreign, 0)})"
    return f"Of {count(found.foreign, 'item')} of classes that the model does not know {seen}, {found.foreign_auto:,} became automatic."
