import numpy as np
import pytest

from annotriage.advice.diversity_words import diversity_sentence
from annotriage.guarantee.conformal import flagged_rank
from annotriage.guarantee.diversity import diversity


def measured(k, n, held_out=1000, **more):
    """The diversity of a batch with k outliers of n, against `held_out` items of one cluster at alpha 5%."""
    rank = flagged_rank(held_out, 0.05)
    flags, calibration = np.arange(n) < k, np.arange(held_out) < rank
    zeros = np.zeros(n, int), np.zeros(held_out, int)
    return diversity(flags, zeros[0], calibration, zeros[1], ("all",), rank=rank, **more)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            measured(124, 1000),
            "12.4% are strange, 5% expected: at least about 8 in 100 are new (likely 5 to 11 in 100); new kinds of"
            " items that look familiar are not counted.",
        ),
        (measured(51, 1000), "5.1% are strange, 5% expected: nothing unusual among 1,000 items."),
        (measured(2, 20), "too few items to be sure"),
        (measured(500, 10_000, held_out=100), "nothing unusual"),
        (measured(900, 10_000, held_out=60), "too few held-out items to be sure"),
        (measured(5, 1000), "0.5% are strange, 5% expected: 4.5 points fewer than usual (likely 3.1 to 6 points), so nothing new"),
        (measured(2, 20), "(new: likely 0 to 29 in 100)"),
        (measured(1, 1), "(new: likely 0 to 100 in 100)"),
        (measured(0, 0, failed=1), "The only item could not be scored."),
        (measured(0, 100, held_out=1), "1 held-out item is too few to say"),
        (measured(0, 0), "No items have been scored yet."),
        (measured(0, 0, failed=3), "None of 3 items could be scored."),
        (measured(124, 1000, failed=11), "11 items of 1,011 (1.1%) could not be scored."),
        (measured(3, 100, held_out=0), "without held-out items nobody knows"),
        (measured(0, 100, held_out=12), "12 held-out items are too few"),
    ],
)
def test_a_diversity_score_reads_as_a_sentence(found, words):
    assert words in diversity_sentence(found)
