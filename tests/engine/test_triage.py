"""Triage: counts in = counts out, a reason for every failure, the same answer every time, and the limits that were guaranteed."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import helper
from PIL import Image

from annotriage import triage
from annotriage.advice.diversity_words import diversity_sentence
from annotriage.data import Item
from annotriage.engine.fitting import fit

BANDS = {"failed": (0, 0), "outlier": (1e-4, 1 / 3 - 1e-4), "uncertain": (1 / 3 + 1e-4, 2 / 3 - 1e-4), "auto": (2 / 3 + 1e-4, 1 - 1e-4)}


def png(image, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, "PNG")


# broken items


@pytest.fixture
def folder(digits, tmp_path):
    """A folder of images in which nearly every file is broken in its own way, and the word that its reason must hold."""
    images, _ = digits.incoming
    for number in range(3):
        png(images[number], tmp_path / f"good {number}.png")
    png(images[3], tmp_path / "really a png.jpg")
    whole = (tmp_path / "good 0.png").read_bytes()
    (tmp_path / "zero.png").write_bytes(b"")
    (tmp_path / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no image at all")
    (tmp_path / "login.png").write_text("<html>please log in</html>")
    png(np.zeros((2000, 2000), np.uint8), tmp_path / "bomb.png")
    (tmp_path / "lost.png").symlink_to(tmp_path / "nowhere.png")
    reasons = {"zero": "upload or export it again", "truncated": "export or upload it again", "text": "convert it to PNG"}
    return tmp_path, reasons | {"login": "perhaps a login page", "bomb": "raise the setting", "lost": "mend the link"}


def test_every_broken_file_is_a_failed_verdict_that_names_it_and_the_fix(digits_reference, folder, quick):
    path, reasons = folder
    result = triage(digits_reference, path, settings=replace(quick, max_pixels=1_000_000))
    failed = {verdict.id.removesuffix(".png"): verdict.reason for verdict in result.verdicts if verdict.route == "failed"}
    assert failed.keys() == reasons.keys()
    for name, fix in reasons.items():
        assert str(path / f"{name}.png") in failed[name]
        assert fix in failed[name]


def test_as_many_verdicts_come_out_as_items_went_in(digits_reference, folder, quick):
    result = triage(digits_reference, folder[0], settings=replace(quick, max_pixels=1_000_000, batch_size=2))
    assert len(result.verdicts) == sum(result.counts.values()) == 10
    assert [verdict.id for verdict in result.verdicts] == sorted(path.name for path in folder[0].iterdir())


def test_a_file_with_the_wrong_extension_is_what_its_content_says(digits_reference, folder):
    verdicts = {verdict.id: verdict for verdict in triage(digits_reference, folder[0]).verdicts}
    assert verdicts["really a png.jpg"].route != "failed"


def test_a_repeated_id_fails_and_the_first_one_does_not(digits_reference, digits, tmp_path):
    png(digits.incoming[0][0], tmp_path / "a.png")
    (tmp_path / "items.csv").write_text("path,id\na.png,one\na.png,two\na.png,one\n")
    first, second, third = triage(digits_reference, tmp_path / "items.csv").verdicts
    assert "failed" not in (first.route, second.route)
    assert third.route == "failed"
    assert "id 'one' was used" in third.reason


def test_an_item_without_a_file_fails_with_what_to_do(digits_reference):
    (verdict,) = triage(digits_reference, [Item("7", None)]).verdicts
    assert (verdict.route, verdict.trust, verdict.reason) == ("failed", 0.0, "7: there is nothing to look at; give the item a file")


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    return (rng.normal(0, 0.3, (300, 3)) + 2 * np.eye(3)[labels]).astype(np.float32), np.array(["a", "b", "c"])[labels]


@pytest.fixture(scope="module")
def rows_model(network, tmp_path_factory):
    first = np.hstack([np.eye(3), -np.eye(3)])
    second = np.vstack([np.eye(3), -np.eye(3)]) * 3
    spec = {"classes": "abc", "size": [3], "kind": "array"}
    return network(tmp_path_factory.mktemp("rows"), [first, second], [np.zeros(6), np.zeros(3)], **spec)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (np.array([1, np.nan, 2], np.float32), "or absurdly large; look for broken pixels or values"),
        (np.array([1, np.inf, 2], np.float32), "not finite"),
        (np.array([1, 1e30, 2], np.float32), "absurdly large"),
        (np.zeros(4, np.float32), "has the shape [4], but the model takes [3] ([input] size)"),
        (np.array(["x", "y", "z"]), "the model takes numbers"),
        (b"a file", 'the model takes rows of numbers (kind = "array")'),
    ],
    ids=["nan", "inf", "huge", "shape", "text", "file"],
)
def test_a_broken_row_fails_alone(rows_model, rows, quick, row, reason):
    reference = fit(rows_model, rows, settings=quick)
    items = [Item(str(place), media, path=f"rows[{place}]") for place, media in enumerate([rows[0][0], row, rows[0][1]])]
    verdicts = list(triage(reference, items).verdicts)
    assert [verdict.route == "failed" for verdict in verdicts] == [False, True, False]
    assert verdicts[1].reason.startswith("rows[1]: ")
    assert reason in verdicts[1].reason


@pytest.fixture(scope="module")
def poisoned_model(rows_model, tmp_path_factory):
    """A real model that cannot run where the first number is above 50: an index beyond its table."""
    model = onnx.load(rows_model.parent / "model.onnx")
    graph = model.graph
    numbers = {"fifty": np.float32(50), "zero": np.zeros(1, np.int64), "one": np.ones(1, np.int64), "flat_axis": np.array([1], np.int64)}
    graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in numbers.items())
    graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(3, np.float32), "table"))
    first = graph.node[0]
    first.output[0] = "clean"
    steps = [
        helper.make_node("Slice", ["clean", "zero", "one", "flat_axis"], ["number"]),
        helper.make_node("Div", ["number", "fifty"], ["many"]),
        helper.make_node("Abs", ["many"], ["size"]),
        helper.make_node("Cast", ["size"], ["place"], to=onnx.TensorProto.INT64),
        helper.make_node("Mul", ["place", "hundred"], ["beyond"]),
        helper.make_node("Gather", ["table", "beyond"], ["found"]),
        helper.make_node("Add", ["clean", "found"], ["flat"]),
    ]
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(100, np.int64), "hundred"))
    for place, step in enumerate(steps, start=1):
        graph.node.insert(place, step)
    folder = tmp_path_factory.mktemp("poisoned")
    onnx.save(model, folder / "model.onnx")
    (folder / "model.toml").write_text((rows_model.parent / "model.toml").read_text())
    return folder / "model.toml"


def test_an_item_that_the_model_cannot_run_fails_alone(poisoned_model, rows, quick):
    reference = fit(poisoned_model, rows, settings=quick)
    poison = np.array([60, 0, 0], np.float32)
    verdicts = list(triage(reference, np.stack([*rows[0][:5], poison, *rows[0][5:9]])).verdicts)
    assert [verdict.id for verdict in verdicts if verdict.route == "failed"] == ["5"]
    assert verdicts[5].reason.startswith("array[5]: the model failed on it; compare its size and values with items that work (")


def test_a_dataset_of_broken_items_alone_is_a_result_too(digits_reference):
    result = triage(digits_reference, [Item(str(n), b"") for n in range(5)])
    assert result.counts == {"auto": 0, "uncertain": 0, "outlier": 0, "failed": 5}
    assert diversity_sentence(result.diversity) == "None of 5 items could be scored."


# the same answer every time


def figures(result):
    return [(v.id, v.labels, v.score, v.p_value, v.trust, v.route, v.reason) for v in result.verdicts]


def test_every_verdict_is_handed_over_with_its_item_in_order(digits_reference, digits):
    items = [*(Item(str(number), image) for number, image in enumerate(digits.incoming[0][:5])), Item("broken", b"")]
    handed = []
    result = triage(digits_reference, items, each=lambda verdict, item: handed.append((verdict, item.id)))
    assert handed == [(verdict, verdict.id) for verdict in result.verdicts]
    assert [id for _, id in handed] == [item.id for item in items]


def test_the_same_seed_gives_the_same_verdicts_and_groups(digits_reference, mixed):
    one, other = (triage(digits_reference, mixed[0]) for _ in range(2))
    assert figures(one) == figures(other)
    assert one.groups == other.groups
    assert one.diversity == other.diversity


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_batch_size_does_not_change_verdicts(digits_reference, mixed, quick, size):
    usual = list(triage(digits_reference, mixed[0]).verdicts)
    batched = list(triage(digits_reference, mixed[0], settings=replace(quick, batch_size=size)).verdicts)
    assert [v.id for v in batched] == [v.id for v in usual]
    assert [v.labels for v in batched] == [v.labels for v in usual]
    assert np.allclose([v.score for v in batched], [v.score for v in usual], rtol=1e-3, atol=1e-3)


def test_verdicts_can_be_read_by_two_readers_at_once(digits_reference, mixed):
    verdicts = triage(digits_reference, mixed[0]).verdicts
    pairs = list(zip(verdicts, verdicts, strict=True))
    assert len(pairs) == len(verdicts) == len(mixed[0])
    assert all(one == other for one, other in pairs)


# what was guaranteed


def test_about_alpha_of_known_digits_are_outliers(digits_reference, digits):
    result = triage(digits_reference, digits.incoming)
    assert 0.02 < result.diversity.share < 0.09
    assert result.diversity.p_value > 0.05


def test_most_unseen_digits_are_outliers(digits_reference, digits):
    result = triage(digits_reference, digits.strangers)
    assert result.diversity.share > 0.6
    assert result.diversity.excess_low > 0.5


def test_automatic_labels_of_known_digits_keep_the_limit(digits_reference, digits):
    _, truth = digits.incoming
    pairs = zip(triage(digits_reference, digits.incoming).verdicts, truth, strict=True)
    automatic = [(verdict.labels[0], label) for verdict, label in pairs if verdict.route == "auto"]
    assert len(automatic) > 250
    assert sum(said != true for said, true in automatic) <= 0.04 * len(automatic)


def test_trust_lies_in_the_band_of_its_route(digits_reference, mixed):
    verdicts = list(triage(digits_reference, [*map(Item, map(str, range(677)), mixed[0]), Item("broken", b"")]).verdicts)
    assert {verdict.route for verdict in verdicts} == set(BANDS)
    for verdict in verdicts:
        low, high = BANDS[verdict.route]
        assert low - 1e-9 <= verdict.trust <= high + 1e-9


def test_verdicts_are_read_at_any_place(digits_reference, mixed):
    kept = triage(digits_reference, mixed[0]).verdicts
    every = list(kept)
    assert [kept[place] for place in (0, 31, 32, 33, 100, -1, -len(every))] == [every[place] for place in (0, 31, 32, 33, 100, -1, 0)]
    assert kept[30:100:7] == every[30:100:7]
    with pytest.raises(IndexError):
        kept[len(every)]


def test_the_strangest_outlier_has_the_least_trust(digits_reference, mixed):
    outliers = [verdict for verdict in triage(digits_reference, mixed[0]).verdicts if verdict.route == "outlier"]
    by_score = sorted(outliers, key=lambda verdict: -verdict.score)
    trusts = [verdict.trust for verdict in by_score]
    assert trusts == sorted(trusts)
    for one, next in pairwise(by_score):  # two scores may be as near to each other as numbers can be, their trusts no nearer
        assert one.trust < next.trust or one.score == pytest.approx(next.score, rel=1e-15, abs=0)


def test_an_outlier_is_an_item_with_p_value_up_to_alpha(digits_reference, mixed):
    verdicts = list(triage(digits_reference, mixed[0]).verdicts)
    assert all((verdict.p_value <= 0.05) == (verdict.route == "outlier") for verdict in verdicts)
    assert all(verdict.outlier_score == pytest.approx(1 - verdict.p_value) for verdict in verdicts)


def test_an_outlier_says_on_which_axis_it_is_strange(digits_reference, mixed):
    outliers = [verdict for verdict in triage(digits_reference, mixed[0]).verdicts if verdict.route == "outlier"]
    for verdict in outliers:
        assert ("It is like no class" in verdict.reason) == (verdict.class_score >= 3)
        assert ("looks unlike the training items, as another source or a new shape does: most in" in verdict.reason) == (
            verdict.source_score >= 3
        )
    assert np.mean(["It is like no class" in verdict.reason for verdict in outliers]) > 0.5  # digits 8 and 9 are


def test_a_reason_names_cluster_and_label_where_they_differ(digits_reference, mixed):
    verdicts = [verdict for verdict in triage(digits_reference, mixed[0]).verdicts if verdict.labels != (verdict.cluster,)]
    assert verdicts
    assert all(f"{verdict.cluster}, though the model says {verdict.labels[0]}" in verdict.reason for verdict in verdicts)


def test_items_that_wait_for_a_person_are_kept_strangest_first(digits_reference, digits):
    items = [*map(Item, map(str, range(354)), digits.strangers[0]), Item("broken", b"")]
    waiting = [seen.verdict for seen in triage(digits_reference, items).waiting]
    assert waiting[0].id == "broken"
    assert [verdict.trust for verdict in waiting] == sorted(verdict.trust for verdict in waiting)
    assert "auto" not in {verdict.route for verdict in waiting}


def test_items_of_one_group_count_as_fewer(digits_reference, digits):
    images, _ = digits.incoming
    grouped = [Item(str(n), image, group=f"video {n // 40}") for n, image in enumerate(images)]
    together, apart = triage(digits_reference, grouped), triage(digits_reference, images)
    assert together.diversity.grouped
    assert together.diversity.effective_n <= apart.diversity.effective_n
    assert any("No groups (patient, series, video) are named" in note for note in apart.notes)
    assert not any("No groups" in note for note in together.notes)


def test_groups_hold_outliers_of_one_kind(digits_reference, digits):
    result = triage(digits_reference, digits.strangers)
    kinds = Counter(digits.strangers[1][int(id)] for id in result.groups[0].ids)
    assert kinds.most_common(1)[0][1] >= 0.9 * result.groups[0].size


def test_samples_that_are_smaller_than_the_dataset_are_noted(digits_reference, mixed, quick):
    notes = triage(digits_reference, mixed[0], settings=replace(quick, map_sample=50, group_sample=40)).notes
    assert any("sample of 50 of 677 scored items (setting map_sample)" in note for note in notes)
    assert any("sample of 40 of" in note and "(setting group_sample)" in note for note in notes)


@pytest.mark.parametrize("score", ["mahalanobis", "relative-mahalanobis", "knn", "vim", "energy", "mean-sigma"])
def test_every_score_tells_unseen_digits_from_known_ones(digits_model, digits, mixed, quick, score):
    reference = fit(digits_model, digits.train, digits.held_out, settings=replace(quick, score=score))
    known, strange = flagged(reference, mixed)
    assert reference.member_names == (score,)
    assert known < 0.1
    assert strange > 0.3


@pytest.mark.parametrize("score", ["combined", "mean-sigma"])
def test_mean_and_sigma_can_decide_instead_of_alpha(digits_model, digits, mixed, quick, score):
    reference = fit(digits_model, digits.train, digits.held_out, settings=replace(quick, score=score, threshold="mean-sigma"))
    known, strange = flagged(reference, mixed)
    assert known < 0.12
    assert strange > 0.3
    stricter = fit(digits_model, digits.train, digits.held_out, settings=replace(reference.settings, k_sigma=6))
    assert flagged(stricter, mixed) < (known, strange)


def flagged(reference, mixed):
    """Shares of outliers among known and among unseen digits."""
    outlier = np.array([verdict.route == "outlier" for verdict in triage(reference, mixed[0]).verdicts])
    unseen = np.isin(mixed[1], ["8", "9"])
    return outlier[~unseen].mean(), outlier[unseen].mean()


@pytest.mark.parametrize(("score", "further"), [("two-axes", "source"), ("combined", "mahalanobis@hidden0")])
def test_several_layers_are_compared(digits_model, digits, quick, score, further):
    text = digits_model.read_text().replace("[input]", 'layer = ["hidden1", "hidden0"]\n[input]')
    spec = digits_model.with_name("two_layers.toml")
    spec.write_text(text)
    reference = fit(spec, digits.train, digits.held_out, settings=replace(quick, score=score))
    (verdict, *_) = triage(reference, digits.incoming).verdicts
    assert reference.member_names[-1] == further
    assert verdict.members.keys() == set(reference.member_names)
    assert triage(reference, digits.strangers).diversity.share > 0.6


# several answers at once


@pytest.fixture(scope="module")
def choices():
    """Numbers with the classes that apply to them: sets of 20 and more, and rarer ones."""
    rng = np.random.default_rng(3)
    sets = [(), ("low",), ("middle",), ("high",), ("low", "high"), ("low", "middle", "high")]

    def drawn(count, start):
        chosen = rng.choice(len(sets), count, p=[0.2, 0.25, 0.2, 0.2, 0.13, 0.02])
        items = []
        for number, place in enumerate(chosen):
            wanted = np.array([name in sets[place] for name in ("low", "middle", "high")])
            row = np.where(wanted, 2.0, 0.2) * rng.choice([-1, 1], 3) + rng.normal(0, 0.1, 3)
            items.append(Item(f"{start}{number}", row.astype(np.float32), sets[place]))
        return items

    return drawn(400, "t"), drawn(400, "h"), drawn(200, "n")


@pytest.fixture(scope="module")
def choices_reference(choices_model, choices, quick):
    return fit(choices_model, choices[0], choices[1], settings=quick)


def test_label_sets_are_the_clusters_and_rare_ones_share_one(choices_reference):
    assert set(choices_reference.detector.clusters.names) == {"none of them", "low", "middle", "high", "low + high", "other combinations"}


def test_several_answers_are_given_at_once(choices_reference, choices):
    pairs = zip(triage(choices_reference, choices[2]).verdicts, choices[2], strict=True)
    right = [verdict.labels == item.labels for verdict, item in pairs if verdict.route == "auto"]
    assert len(right) > 100
    assert np.mean(right) >= 0.96


def test_the_confidence_is_that_of_the_least_certain_class(choices_reference, choices):
    logits = choices_reference.open_model().run(np.stack([item.media for item in choices[2]])).logits.astype(np.float64)
    p = 1 / (1 + np.exp(-logits))
    verdicts = triage(choices_reference, choices[2]).verdicts
    assert [v.confidence for v in verdicts] == pytest.approx(np.maximum(p, 1 - p).min(axis=1).tolist())


def test_no_set_with_a_class_that_is_never_auto_is_automatic(choices_model, choices, quick):
    reference = fit(choices_model, choices[0], choices[1], settings=replace(quick, never_auto=("high",)))
    verdicts = list(triage(reference, choices[2]).verdicts)
    held_back = [verdict for verdict in verdicts if "high" in verdict.labels]
    assert any(len(verdict.labels) == 3 for verdict in held_back)
    assert "auto" not in {verdict.route for verdict in held_back}
    assert any("because high is in never_auto" in verdict.reason for verdict in held_back if verdict.labels == ("low", "high"))
    assert "auto" in {verdict.route for verdict in verdicts}
