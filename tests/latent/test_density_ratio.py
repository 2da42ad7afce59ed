"""The rule that tells incoming items from held-out ones without a label."""

import numpy as np
import pytest

from annotriage.errors import FitError
from annotriage.latent.density_ratio import fit_density_ratio


def clouds(seed, strangers):
    """Held-out and incoming points of one kind, and among the incoming ones strangers who sit aside; all at odd scales."""
    rng = np.random.default_rng(seed)
    scales = 10.0 ** np.arange(-2, 3)
    usual = rng.normal(size=(1_300, 5))
    strange = rng.normal(size=(strangers, 5)) + np.eye(1, 5) * 2
    return tuple(part * scales + 7 * scales for part in (usual[:300], np.vstack([usual[300:800], strange]), usual[800:], strange))


def test_strangers_that_come_in_numbers_stand_out():
    held_out, incoming, fresh, strange = clouds(0, 120)
    ratio = fit_density_ratio(held_out, incoming, seed=0)
    assert (ratio.held_out, ratio.incoming) == (300, 620)
    assert ratio.rarity(strange).mean() > 2.5 * ratio.rarity(fresh).mean()


def test_items_like_the_held_out_ones_are_as_rare_as_those_were():
    """A share of 1 / e is a rarity of 1 or more, if the rule was not judged by what it had learned from."""
    shares = []
    for seed in range(20):
        held_out, incoming, fresh, _ = clouds(seed, 60)
        shares.append(np.mean(fit_density_ratio(held_out, incoming, seed).rarity(fresh) >= 1))
    assert np.mean(shares) == pytest.approx(np.exp(-1), abs=0.03)


def test_it_counts_for_more_the_better_both_sets_are_told_apart():
    weights = [fit_density_ratio(*clouds(0, strangers)[:2], seed=0).weight for strangers in (0, 40, 400)]
    assert 0.05 <= weights[0] < weights[1] < weights[2] <= 0.2


def test_nothing_is_new_where_both_sets_are_alike():
    held_out, incoming, fresh, _ = clouds(1, 0)
    ratio = fit_density_ratio(held_out, incoming, seed=0)
    assert np.corrcoef(ratio.values(fresh), fresh[:, 0])[0, 1] < 0.9
    assert np.ptp(ratio.values(fresh)) < 0.5


def test_a_value_that_never_changes_says_nothing():
    held_out, incoming, fresh, _ = (np.column_stack([part, np.full(len(part), 3.0)]) for part in clouds(2, 60))
    ratio = fit_density_ratio(held_out, incoming, seed=0)
    assert ratio.weights[-1] == 0
    assert np.isfinite(ratio.rarity(fresh)).all()


@pytest.mark.parametrize("sizes", [(49, 600), (300, 49)])
def test_few_items_are_refused(sizes):
    held_out, incoming, *_ = clouds(0, 0)
    with pytest.raises(FitError, match=f"{sizes[0]} held-out and {sizes[1]} incoming items are too few to compare: it takes 50 of each"):
        fit_density_ratio(held_out[: sizes[0]], np.tile(incoming, (2, 1))[: sizes[1]], seed=0)
