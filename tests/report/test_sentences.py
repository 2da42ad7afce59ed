"""The headline of a report and its hint rest on the same figures, and say the same."""

import numpy as np
import pytest

from annotriage.advice.diversity_words import diversity_sentence
from annotriage.guarantee.conformal import flagged_rank
from annotriage.guarantee.diversity import diversity
from annotriage.report.sentences import reading_of


@pytest.mark.parametrize(
    ("strange", "items", "held_out", "headline", "hint"),
    [
        (4, 20, 200, "of this is new.", "are new"),
        (50, 500, 200, "of this is new.", "are new"),
        (3, 20, 200, "too little data to be sure.", "too few items to be sure"),
        (0, 10, 200, "too little data to be sure.", "too few items to be sure"),
        (900, 10_000, 60, "too little data to be sure.", "too few held-out items to be sure"),
        (51, 1_000, 1_000, "this looks like normal data.", "nothing unusual"),
        (5, 1_000, 1_000, "this looks like normal data.", "so nothing new"),
        (3, 20, 5, "5 held-out items are too few to say what normal data would give.", "5 held-out items are too few"),
        (3, 20, 0, "Without held-out items nobody knows what normal data would give.", "without held-out items nobody knows"),
        (0, 0, 200, "Nothing could be scored yet.", "No items have been scored yet."),
    ],
)
def test_the_headline_never_contradicts_its_hint(strange, items, held_out, headline, hint):
    rank = flagged_rank(held_out, 0.05)
    clusters = np.zeros(items, int), np.zeros(held_out, int)
    found = diversity(np.arange(items) < strange, clusters[0], np.arange(held_out) < rank, clusters[1], ("all",), rank=rank)
    assert reading_of(found).endswith(headline)
    assert hint in diversity_sentence(found)
