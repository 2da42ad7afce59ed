"""The detector on made-up activations: what it calls strange, and that nothing in training data can break it."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from annotriage.errors import FitError, SettingError
from annotriage.latent.detector import fit_detector
from annotriage.latent.products import least_rows, rounds_alike
from annotriage.latent.scores import SCORES
from annotriage.settings import Settings

NAMES = ("a", "b", "c")


def world(seed, count, width=16, shift=0.0):
    """Activations like those of a trained model's last hidden layer (three classes, not negative), logits and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    centers = 6 * np.repeat(np.eye(3), -(-width // 3), axis=1)[:, :width]
    activations = np.maximum(centers[labels] + rng.standard_normal((count, width)) + shift, 0).astype(np.float32)
    logits = activations @ (centers.T / 10).astype(np.float32)
    return activations, logits.astype(np.float32), labels


def strangers(count, width=16):
    """Between the classes, where no training item lies."""
    rng = np.random.default_rng(9)
    activations = np.maximum(2 + 2 * rng.standard_normal((count, width)), 0).astype(np.float32)
    centers = 6 * np.repeat(np.eye(3), -(-width // 3), axis=1)[:, :width]
    return activations, (activations @ (centers.T / 10)).astype(np.float32)


def auroc(detector, width=16):
    known, logits, _ = world(1, 300, width)
    strange, strange_logits = strangers(300, width)
    scores = np.concatenate([detector.measure([known], logits).score, detector.measure([strange], strange_logits).score])
    return roc_auc_score(np.repeat([0, 1], 300), scores)


def fitted(activations, logits, labels, names=NAMES, **changed):
    return fit_detector([activations] if isinstance(activations, np.ndarray) else activations, logits, labels, names, Settings(**changed))


@pytest.mark.parametrize("compression", ["pca", "none"])
@pytest.mark.parametrize("score", ["two-axes", "combined", *SCORES])
def test_strangers_are_stranger_by_every_score(score, compression):
    detector = fitted(*world(0, 600), score=score, compression=compression)
    assert auroc(detector) > 0.9


def test_training_items_are_as_strange_as_new_ones_of_their_kind():
    detector = fitted(*world(0, 600))
    activations, logits, _ = world(2, 5_000)
    new = detector.measure([activations], logits).score
    assert np.mean(new > np.quantile(detector.training_scores, 0.95)) == pytest.approx(0.05, abs=0.03)


def test_every_cluster_is_brought_to_the_same_scale():
    def wider(seed, count):
        activations, logits, labels = world(seed, count)
        activations[labels == 2] += np.random.default_rng(seed).standard_normal((int((labels == 2).sum()), 16)).astype(np.float32)
        return activations, logits, labels

    detector = fitted(*wider(0, 3_000), score="mahalanobis")
    activations, logits, labels = wider(1, 3_000)
    raw = detector.measure([activations], logits)
    wide = np.median(raw.members[labels == 2]) / np.median(raw.members[labels == 0])
    beyond = [np.mean(raw.score[labels == cluster] > 1) for cluster in range(3)]
    assert wide > 1.5
    assert beyond == pytest.approx([0.05] * 3, abs=0.025)


def test_the_nearest_cluster_is_that_of_the_class():
    detector = fitted(*world(0, 600))
    activations, logits, labels = world(1, 300)
    assert np.mean(detector.measure([activations], logits).cluster == labels) > 0.99


def test_items_are_measured_independently_of_each_other():
    detector = fitted(*world(0, 600))
    activations, logits, _ = world(1, 20)
    together = detector.measure([activations], logits).score
    alone = [detector.measure([activations[row : row + 1]], logits[row : row + 1]).score[0] for row in range(20)]
    assert together == pytest.approx(alone, rel=1e-3, abs=1e-3)


@pytest.fixture(scope="module")
def wide():
    """A detector of wide layers, and 300 items for it."""
    rng = np.random.default_rng(0)
    mixing, labels = rng.standard_normal((700, 700)).astype(np.float32), rng.integers(0, 3, 1_200)
    layers = [(rng.standard_normal((1_200, 700)) + 2 * labels[:, None]).astype(np.float32) @ mixing / 30]
    layers.append(np.maximum(layers[0][:, :300] @ mixing[:300, :300], 0))  # a feature map
    logits = np.eye(3, dtype=np.float32)[labels] + rng.standard_normal((1_200, 3)).astype(np.float32) / 5
    detector = fitted(layers, logits, labels)
    return detector, [layer[:300] for layer in layers], logits[:300]


def alike(wide, few, many, start=0):
    """Whether some items are measured as they are among many, to the last digit."""
    detector, layers, logits = wide
    all_of_them = detector.measure([layer[:many] for layer in layers], logits[:many])
    rows = slice(start, start + few)
    some = detector.measure([layer[rows] for layer in layers], logits[rows])
    assert some.members.shape == (few, all_of_them.members.shape[1])
    for name in ("members", "axes", "score", "compressed"):
        assert np.array_equal(getattr(some, name), getattr(all_of_them, name)[rows]), name
    assert np.array_equal(detector.placed([layer[rows] for layer in layers]), all_of_them.compressed[rows])


@pytest.mark.parametrize("few", [1, 2, 5, 31])
def test_few_items_are_measured_as_they_are_among_many(wide, few):
    alike(wide, few, max(few, least_rows()))


@pytest.mark.skipif(not rounds_alike(), reason="on this processor the digits of a product depend on a row's place")
@pytest.mark.parametrize("start", [0, 7])
@pytest.mark.parametrize("few", [1, 2, 5, 31, 32, 33, 100, 256])
def test_items_are_measured_alike_whatever_their_place_and_however_many_there_are(wide, few, start):
    alike(wide, few, 300, start)


def test_the_same_seed_gives_the_same_detector():
    first, second = (fitted(*world(0, 600), seed=4).training_scores for _ in range(2))
    assert np.array_equal(first, second)


def test_a_further_layer_adds_what_it_sees_and_costs_nothing_where_it_sees_nothing():
    activations, logits, labels = world(0, 600)
    texture = np.random.default_rng(5).standard_normal((600, 6)).astype(np.float32) + 4
    detector = fitted([activations, texture], logits, labels, score="combined")
    alone = fitted(activations, logits, labels, score="combined")
    usual = np.random.default_rng(6).standard_normal((300, 6)).astype(np.float32) + 4
    known, known_logits, _ = world(1, 300)
    seen = detector.measure([known, usual], known_logits).score
    foreign = detector.measure([known, usual * [1, 1, 1, 3, 3, 3]], known_logits).score
    assert np.median(foreign - seen) > 1
    assert np.median(seen - alone.measure([known], known_logits).score) == pytest.approx(0, abs=0.3)


def textured(seed, count, foreign=False):
    """Items of the world with a feature map beside them. foreign: the map looks different, the deciding layer does not."""
    activations, logits, labels = world(seed, count)
    texture = np.random.default_rng(seed + 100).standard_normal((count, 6)) + 4
    return [activations, (texture * [1, 1, 1, 3, 3, 3] if foreign else texture).astype(np.float32)], logits, labels


def test_each_axis_is_high_for_its_own_kind_of_stranger():
    detector, _ = fitted(*textured(0, 600)).calibrated(*textured(1, 400)[:2])
    threshold = np.quantile(detector.measure(*textured(2, 600)[:2]).score, 0.95)
    activations, logits = strangers(300)
    of_no_class = detector.measure([activations, textured(3, 300)[0][1]], logits)
    from_elsewhere = detector.measure(*textured(4, 300, foreign=True)[:2])
    assert np.median(of_no_class.surprise[:, 0]) > 3 > np.median(of_no_class.surprise[:, 1])
    assert np.median(from_elsewhere.surprise[:, 1]) > 3 > np.median(from_elsewhere.surprise[:, 0])
    assert min(np.median(of_no_class.score), np.median(from_elsewhere.score)) > threshold
    assert detector.most_unlike(from_elsewhere, np.arange(300) < 200).tolist() == [1] * 200


def test_where_items_lie_is_the_same_with_and_without_scoring_them():
    for (activations, logits, labels), seen in ((textured(0, 600), textured(1, 30)), (world(0, 600), world(1, 30))):
        layers = seen[0] if isinstance(seen[0], list) else [seen[0]]
        detector = fitted(activations, logits, labels)
        assert np.array_equal(detector.placed(layers), detector.measure(layers, seen[1]).compressed)


def test_held_out_items_stand_at_their_own_places():
    held_out = textured(1, 400)[:2]
    detector, measured = fitted(*textured(0, 600)).calibrated(*held_out)
    new = detector.measure(*textured(2, 2_000)[:2]).score
    assert measured.score.shape == (400,)
    assert np.mean(new > np.quantile(measured.score, 0.95)) == pytest.approx(0.05, abs=0.02)


def test_without_feature_maps_the_axis_of_the_source_is_not_there():
    measured = fitted(*world(0, 600)).measure([world(1, 30)[0]], world(1, 30)[1])
    assert measured.axes.shape == (30, 1)
    assert np.isfinite(measured.surprise[:, 0]).all()
    assert np.isnan(measured.surprise[:, 1]).all()


def test_one_score_alone_has_no_axes():
    measured = fitted(*textured(0, 600), score="knn").measure(*textured(1, 30)[:2])
    assert np.isnan(measured.surprise).all()


def test_a_single_item_is_measured():
    detector, _ = fitted(*textured(0, 600)).calibrated(*textured(1, 1)[:2])
    assert detector.measure(*textured(2, 1)[:2]).score.shape == (1,)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda a: np.where(np.arange(16) < 8, 0, a),  # dead units
        lambda a: a * 0 + 3,  # constant
        lambda a: np.repeat(a[:, :2], 8, axis=1),  # rank 2
        lambda a: a * np.float32(1e-12),
        lambda a: a * np.float32(1e12),
        lambda a: a + np.float32(1e4),
    ],
    ids=["dead", "constant", "rank", "tiny", "huge", "offset"],
)
@pytest.mark.parametrize("score", ["two-axes", "combined", *SCORES])
def test_odd_training_activations_give_finite_scores(score, spoil):
    activations, logits, labels = world(0, 200)
    detector = fitted(spoil(activations).astype(np.float32), logits, labels, score=score)
    known = detector.measure([spoil(world(1, 50)[0]).astype(np.float32)], world(1, 50)[1])
    strange = detector.measure([strangers(50)[0]], strangers(50)[1])
    assert np.isfinite(known.score).all()
    assert np.isfinite(strange.score).all()
    assert np.isfinite(strange.compressed.astype(np.float16)).all()


@pytest.mark.parametrize(("count", "width"), [(3, 16), (9, 64), (40, 200)])
@pytest.mark.parametrize("score", ["two-axes", "combined", *SCORES])
def test_fewer_items_than_dimensions_give_finite_scores(score, count, width):
    activations, logits, labels = world(0, count, width)
    names, labels = np.unique(labels, return_inverse=True)
    detector = fitted(activations, logits, labels, tuple(map(str, names)), score=score)
    assert np.isfinite(detector.measure([strangers(30, width)[0]], strangers(30, width)[1]).score).all()


def test_a_large_training_set_keeps_items_of_every_class():
    activations, logits, labels = world(0, 12_000, width=6)
    labels[:] = labels % 2
    labels[:30] = 2
    detector = fitted(activations, logits, labels)
    assert detector.clusters.counts[2] >= 20
    assert detector.clusters.counts.sum() < 12_000


def test_mean_sigma_flags_beyond_k_deviations():
    detector = fitted(*world(0, 600), score="mean-sigma", k_sigma=3.5)
    assert detector.sigma_limits.tolist() == [3.5] * 3


def test_two_items_are_too_few():
    with pytest.raises(FitError, match="2 training items are too few"):
        fitted(*world(0, 2))


@pytest.mark.parametrize("members", [("knn", "best"), ()])
def test_members_that_do_not_exist_are_refused(members):
    with pytest.raises(SettingError, match=r"setting members: .* is none of relative-mahalanobis, mahalanobis, energy, knn, vim"):
        fitted(*world(0, 60), score="combined", members=members)
