"""The comparison of scores and thresholds on one's own data."""

from dataclasses import replace

import numpy as np
import pytest

from annotriage.advice.published_advice import WHY_OURS_DIFFERS
from annotriage.data import Item
from annotriage.engine.compare import compare
from annotriage.errors import DataError
from annotriage.guarantee.best_rule import RESAMPLES
from annotriage.latent.scores import SCORES
from annotriage.report.comparison import comparison_text


@pytest.fixture(scope="module")
def comparison(digits_reference, mixed):
    return compare(digits_reference, mixed, compressions=("none", "pca", "tsne"))


def test_every_score_has_a_row_and_those_of_distances_one_for_each_compression(comparison):
    found = sorted((row.score, row.compression) for row in comparison.rows)
    by_distance = [(score, compression) for score in ("knn", "mean-sigma") for compression in ("none", "pca", "tsne")]
    assert found == sorted([(score, "") for score in ("two-axes", "combined", *SCORES) if score not in ("knn", "mean-sigma")] + by_distance)


def test_how_sure_it_is_that_the_best_is_best_is_said(comparison):
    assert 1 / len(comparison.rows) < comparison.sure <= 1
    best = f"{comparison.rows[0].score} {comparison.rows[0].compression}".rstrip()
    assert f"Best here: {best}, in " in comparison_text(comparison)
    assert f"of {RESAMPLES} random resamples of these items." in comparison_text(comparison)


def test_labels_tell_known_from_foreign(comparison, digits):
    assert (comparison.known, comparison.foreign) == (len(digits.incoming[0]), len(digits.strangers[0]))
    assert (comparison.training, comparison.held_out) == (640, 480)


def test_every_score_is_better_than_a_coin_and_the_best_comes_first(comparison):
    aurocs = [row.auroc for row in comparison.rows]
    assert min(aurocs) > 0.55
    assert aurocs == sorted(aurocs, reverse=True)


def test_about_alpha_of_known_items_is_flagged_by_every_score(comparison):
    assert all(0.015 < row.known_flagged < 0.1 for row in comparison.rows)


def test_foreign_items_are_flagged_more_than_known_ones(comparison):
    assert all(row.foreign_flagged > 2 * row.known_flagged for row in comparison.rows if row.compression != "tsne")


def test_the_score_that_decides_is_marked(comparison):
    assert [row.score for row in comparison.rows if row.decides] == ["two-axes"]


def test_without_labels_there_are_flag_rates_alone(digits_reference, digits):
    comparison = compare(digits_reference, digits.incoming[0], compressions=("pca",))
    rows = comparison.rows
    assert comparison.sure is None
    assert {row.auroc for row in rows} == {row.foreign_flagged for row in rows} == {None}
    assert all(0 <= row.known_flagged <= 0.12 for row in rows)


@pytest.fixture(scope="module")
def several(digits_reference, digits):
    """Known digits without labels, digits never seen, and noise."""
    noise = np.random.default_rng(0).integers(0, 256, (120, 8, 8)).astype(np.uint8)
    sets = {"unseen": digits.strangers[0], "noise": noise}
    return compare(digits_reference, digits.incoming[0], foreign=sets, compressions=("pca", "pca-joint"))


def test_several_foreign_sets_are_tried_at_once_and_the_best_rule_of_each_is_named(several, digits):
    assert several.sets == {"unseen": len(digits.strangers[0]), "noise": 120}
    assert several.assumed_known
    assert (several.known, several.foreign) == (len(digits.incoming[0]), len(digits.strangers[0]) + 120)
    assert [best.set for best in several.best] == ["", "unseen", "noise"]
    for best in several.best:
        values = [row.auroc if not best.set else {on.set: on.auroc for on in row.sets}[best.set] for row in several.rows]
        assert best.auroc == pytest.approx(max(values), abs=1e-12)
        assert values[best.rule] == max(values)
        assert best.low <= best.auroc <= best.high
        assert 0 < best.sure <= 1
    text = comparison_text(several)
    assert "known items should be near 0.5%," in comparison_text(replace(several, alpha=0.005))
    assert "Best over all sets: " in text
    assert "Best on noise: " in text


def test_the_figures_of_all_sets_are_the_mean_of_each(several):
    for row in several.rows:
        assert row.auroc == pytest.approx(np.mean([on.auroc for on in row.sets]))
        assert row.foreign_beyond_sigma == pytest.approx(np.mean([on.beyond_sigma for on in row.sets]))


def test_the_published_method_stands_beside_todays_variant_and_decides_nowhere(several):
    rows = {(row.score, row.compression): row for row in several.rows}
    published = rows["mean-sigma", "pca-joint"]
    assert not published.decides
    assert published.known_flagged is None  # it has no threshold but mean + 2 sigma
    assert published.foreign_beyond_sigma > 2 * published.known_beyond_sigma
    assert ("mean-sigma", "pca") in rows


def test_each_method_gives_a_similarity_score_and_its_own_advice(several):
    opinions = {(one.set, one.method): one for one in several.opinions}
    assert {one.set for one in several.opinions} == {several.opinions[0].set, "unseen", "noise"}
    assert all(one.similarity == pytest.approx(1 - one.diversity) for one in several.opinions)
    assert all(one.low <= one.diversity <= one.high for one in several.opinions)
    published, ours = (
        {part.question: part.answer for part in opinions["noise", method].advice} for method in ("mean-sigma pca-joint", "two-axes")
    )
    assert published == {"train": "yes", "deploy": "no", "augmentation": "yes", "annotate": "people"}
    assert ours == {"train": "undecided", "deploy": "no", "augmentation": "no", "annotate": "people"}
    assert WHY_OURS_DIFFERS in comparison_text(several)


def test_two_sets_of_one_name_are_refused(digits_reference, digits, tmp_path):
    np.savez(tmp_path / "noise.npz", x=digits.incoming[0][:5])
    with pytest.raises(DataError, match="two sets have the name"):
        compare(digits_reference, tmp_path / "noise.npz", foreign={"noise": digits.strangers[0]}, compressions=("pca",))


def test_the_comparison_leaves_the_reference_as_it_was(digits_reference, digits):
    before = digits_reference.content_hash()
    compare(digits_reference, digits.incoming, compressions=("pca",))
    assert digits_reference.content_hash() == before


def test_a_dataset_that_cannot_be_scored_is_refused(digits_reference):
    with pytest.raises(DataError, match="no item could be scored, so there is nothing to compare: item broken: "):
        compare(digits_reference, [Item("broken", b"", ("1",))])


def test_a_broken_item_is_left_out(digits_reference, digits):
    items = [Item(str(number), image, ("1",)) for number, image in enumerate(digits.incoming[0][:50])]
    assert compare(digits_reference, [*items, Item("broken", b"")], compressions=("pca",)).items == 50
