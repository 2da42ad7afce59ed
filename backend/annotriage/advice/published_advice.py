"""The advice of the published method: each question against a plain threshold on its diversity score (US 2025/0259083).

The source leaves the threshold open; 20% is our own choice, well above the few percent that mean + 2 sigma flags of normal items.
"""

from __future__ import annotations

from annotriage.advice.advice import TITLES, Advice
from annotriage.advice.numbers import percent

THRESHOLD = 0.2
WHY_OURS_DIFFERS = (
    "The published rule takes the score as exact and says train, however strange the data; ours asks for a person above an excess of 50"
    " points, because no training mends a broken source or a class that the model does not have, and says nothing without held-out items,"
    " because nobody then knows how many normal items would be flagged."
)


def published_advice(diversity: float, threshold: float = THRESHOLD) -> tuple[Advice, ...]:
    """Advice on a dataset by its published diversity score, in [0, 1]: train, deploy, augmentation, annotate, in this order.

    threshold: above it the data counts as different. Raise it where normal data already reaches it.
    """
    above = diversity > threshold
    reason = f"The diversity score of {percent(diversity)} is {'above' if above else 'not above'} the threshold of {percent(threshold)}."
    answers = {
        "train": ("yes", "yes: it differs enough to learn from") if above else ("no", "no: it repeats what the model knows"),
        "deploy": ("no", "no: expect lower accuracy here") if above else ("yes", "yes: it looks like the training data"),
        "augmentation": ("yes", "yes: it fills gaps") if above else ("no", "no: it adds nothing new"),
        "annotate": ("people", "no: by people") if above else ("machine", "yes: strange items by people"),
    }
    return tuple(Advice(question, TITLES[question], answer, headline, reason, "") for question, (answer, headline) in answers.items())
