"""The comparison of scores and thresholds on one's own data."""

import pytest

from annotriage.data import Item
from annotriage.engine.compare import compare
from annotriage.errors import DataError
from annotriage.latent.scores import SCORES


@pytest.fixture(scope="module")
def comparison(digits_reference, mixed):
    return compare(digits_reference, mixed, compressions=("none", "pca", "tsne"))


def test_every_score_has_a_row_and_those_of_distances_one_for_each_compression(comparison):
    found = sorted((row.score, row.compression) for row in comparison.rows)
    by_distance = [(score, compression) for score in ("knn", "mean-sigma") for compression in ("none", "pca", "tsne")]
    assert found == sorted([(score, "") for score in ("two-axes", "combined", *SCORES) if score not in ("knn", "mean-sigma")] + by_distance)


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
    rows = compare(digits_reference, digits.incoming[0], compressions=("pca",)).rows
    assert {row.auroc for row in rows} == {row.foreign_flagged for row in rows} == {None}
    assert all(0 <= row.known_flagged <= 0.12 for row in rows)


def test_the_comparison_leaves_the_reference_as_it_was(digits_reference, digits):
    before = digits_reference.content_hash()
    compare(digits_reference, digits.incoming, compressions=("pca",))
    assert digits_reference.content_hash() == before


def test_a_dataset_that_cannot_be_scored_is_refused(digits_reference):
    with pytest.raises(DataError, match="no item could be scored, so that there is nothing to compare"):
        compare(digits_reference, [Item("broken", b"", ("1",))])


def test_a_broken_item_is_left_out(digits_reference, digits):
    items = [Item(str(number), image, ("1",)) for number, image in enumerate(digits.incoming[0][:50])]
    assert compare(digits_reference, [*items, Item("broken", b"")], compressions=("pca",)).items == 50
