"""Retraining: the model learns what people reviewed, is written as ONNX, and is compared on items that nobody has seen."""

import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import onnx
import pytest
from encoders import encoder_of
from page_sweep import HEIGHT, LARGEST_SHIFT, THEMES, late_jump
from waiting import PATIENCE

import annotriage
from annotriage import Plan, Reference, Settings, Wishes, load_model, train
from annotriage.advice.training_words import strange_sentence
from annotriage.data import Item
from annotriage.engine.diagnosis.labelling_next import odds_of_further
from annotriage.errors import DataError, SettingError, TrainingError
from annotriage.guarantee.gate import LimitEvidence
from annotriage.model.spec import ModelSpec
from annotriage.report.training_output import training_sentences
from annotriage.training.state import SavedState
from annotriage.training.strange_items import gain_of_strange


@pytest.fixture(scope="module")
def trained(retraining, tmp_path_factory):
    out = tmp_path_factory.mktemp("retraining") / "better"
    made = train(
        retraining.reference,
        retraining.train,
        out,
        reviewed=retraining.reviewed,
        calibration=retraining.fresh,
        plan=Plan(perplexity="kl", drop_below=0.05, readmit=2),
        wishes=Wishes(scores=True, prune=True, curve=True, strange=True, pool=retraining.reviewed[0]),
    )
    return made, out


def test_the_new_classes_are_learned_and_the_old_ones_kept(trained):
    compared = trained[0].comparison
    assert trained[0].new_classes == ("8", "9")
    assert compared.new.accuracy > compared.old.accuracy + 0.15
    assert compared.fresh.p_better < 0.001
    assert abs(compared.old_classes.difference) < 0.03


def test_where_new_classes_may_be_automatic_it_is_said_that_the_limit_is_over_all_and_what_limits_them(trained, retraining, tmp_path):
    def said(made):
        return [sentence for sentence in training_sentences(made) if "class_limits" in sentence]

    made, _ = trained
    assert made.reference.guarantee.auto
    (sentence,) = said(made)
    assert "among the labels 8 and 9 more may be wrong" in sentence
    assert "8 | 9 = " in sentence
    limited = replace(made.reference.guarantee, own_limits=(LimitEvidence("8 | 9", 0.1, 0.5, 40, 0, None, 0.08),))
    assert said(replace(made, reference=replace(made.reference, guarantee=limited))) == []
    assert said(replace(made, never_auto=("8", "9"))) == []


def test_what_the_strange_items_brought_is_measured_beside_as_many_others(trained):
    found = trained[0].strange
    assert 0 < found.strange < found.added <= 120
    assert found.compared.n == trained[0].comparison.new.n
    assert found.compared.difference > 0, "8s and 9s are what the model does not know"
    (sentence,) = [one for one in training_sentences(trained[0]) if "strange to the old model" in one]
    assert sentence.startswith(
        f"{found.strange} of {found.added} added items are strange to the old model. A head trained with them is right"
    )
    assert sentence.endswith("(mean of three).")


@pytest.mark.parametrize(("strange", "said"), [(False, "None of the 2 added items is strange"), (True, "All 2 added items are strange")])
def test_where_no_added_item_is_strange_or_all_are_that_is_said(strange, said):
    rows = np.zeros((4, 3), np.float32)
    found = gain_of_strange(rows, rows, np.full(4, strange), np.arange(4) >= 2, (rows, rows), Plan())
    assert strange_sentence(found.strange, found.added, found.compared, found.random).startswith(f"{said} to the old model")


@pytest.mark.parametrize("wish", ["prune", "curve", "strange"])
def test_a_wish_that_needs_labelled_held_out_items_is_refused_before_anything_is_trained(retraining, tmp_path, wish):
    seen = []

    @contextmanager
    def progress(what, total):
        seen.append(what)
        yield lambda n: None

    def refused(calibration):
        with pytest.raises(TrainingError, match="--prune, --learning-curve and --strange measure on labelled held-out items"):
            train(
                retraining.reference,
                retraining.train,
                tmp_path / "out",
                calibration=calibration,
                wishes=Wishes(**{wish: True}),
                progress=progress,
            )

    refused(None)
    refused(retraining.fresh[0][:3])
    assert seen == ["held-out items of array"]


def test_strange_items_of_an_encoder_without_a_reference_are_refused_before_anything_is_trained(retraining, tmp_path):
    seen = []
    with pytest.raises(TrainingError, match="leave --strange out"):
        train(
            encoder_of(ModelSpec.load(retraining.reference.spec_path), tmp_path),
            retraining.train,
            tmp_path / "out",
            calibration=retraining.fresh,
            wishes=Wishes(strange=True),
            progress=lambda what, total: seen.append(what),
        )
    assert seen == []


@pytest.mark.browser
def test_the_report_of_a_training_has_no_barrier_and_does_not_jump(trained, open_page, barriers, browser):
    report = trained[1] / "report.html"
    assert barriers(open_page(report.as_uri(), viewport={"width": 390, "height": HEIGHT})) == []
    jumps = {theme: late_jump(browser, report, 390, theme) for theme in THEMES}
    assert max(jumps.values()) <= LARGEST_SHIFT, jumps


def test_what_is_written_is_a_valid_model_and_its_reference(trained, retraining):
    made, out = trained
    onnx.checker.check_model(str(out / "model.onnx"))
    reference = Reference.load(out / "reference")
    result = annotriage.triage(reference, retraining.fresh)
    said = [verdict.labels[0] for verdict in result.verdicts]
    assert np.mean(np.array(said) == retraining.fresh[1]) == pytest.approx(made.comparison.new.accuracy)
    assert {path.name for path in out.iterdir()} == {
        *("model.onnx", "model.toml", "reference", "report.html", "training.json", "samples.csv", "regions.csv", "collect.csv"),
    }


def test_a_pool_may_be_ranked_by_how_near_its_items_are_to_a_boundary(trained, retraining):
    made, _ = trained
    odds = odds_of_further(made.reference, made.reference.sample.compressed[:50], "max-margin", 0)
    assert odds.shape == (50,)
    assert ((odds > 0) & (odds <= 1000)).all()
    for wishes, named in ((Wishes(collect="max-margin"), "--pool"), (Wishes(collect="horoscope"), "horoscope")):
        with pytest.raises(SettingError, match=named):
            train(retraining.reference, retraining.train, trained[1], wishes=wishes, replace_existing=True)


def test_what_memory_does_not_suffice_for_afterwards_costs_nobody_the_model(retraining, tmp_path, monkeypatch):
    def too_large(*arguments, **options):
        raise MemoryError

    for name in ("pruning", "learning_curve", "gain_of_strange"):
        monkeypatch.setattr(f"annotriage.training.retraining.{name}", too_large)
    wishes = Wishes(scores=True, prune=True, curve=True, strange=True)
    made = train(retraining.reference, retraining.train, tmp_path / "out", calibration=retraining.fresh, wishes=wishes)
    assert made.spec.model_path.is_file()
    assert made.importance is not None
    assert (made.proposal, made.curve, made.strange) == (None, None, None)
    assert made.notes[-3:] == (
        "What can be left out is not known: memory ran out",
        "What more labels would gain is not known: memory ran out",
        "What the strange items bring is not known: memory ran out",
    )


def test_a_pruning_whose_scores_cannot_be_found_is_said_to_be_missing(retraining, tmp_path, monkeypatch):
    def too_large(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr("annotriage.training.retraining.early_scores", too_large)
    made = train(retraining.reference, retraining.train, tmp_path / "out", calibration=retraining.fresh, wishes=Wishes(prune=True))
    assert made.proposal is None
    assert made.notes[-1] == "What can be left out is not known: memory ran out"


def test_a_pool_that_cannot_be_ranked_costs_nobody_the_model(retraining, tmp_path):
    pool = [Item("broken", b"no picture", path="broken.png")]
    made = train(retraining.reference, retraining.train, tmp_path / "out", wishes=Wishes(pool=pool, collect="max-margin"))
    assert made.candidates is None
    assert "The pool's items could not be ranked: " in made.notes[-1]
    assert "broken.png" in made.notes[-1]
    assert made.spec.model_path.is_file()
    with pytest.raises(DataError, match="nowhere"):
        train(retraining.reference, retraining.train, tmp_path / "other", wishes=Wishes(pool=tmp_path / "nowhere"))
    assert not (tmp_path / "other").exists()


def test_the_written_model_answers_as_the_trained_head(trained, retraining):
    made, _ = trained
    model = load_model(made.spec)
    outputs = model.run(retraining.fresh[0][:, None].astype(np.float32) / np.float32(255))
    assert outputs.logits.shape == (len(retraining.fresh[0]), 10)
    assert np.mean(outputs.logits.argmax(1) == retraining.fresh[1].astype(int)) == pytest.approx(made.comparison.new.accuracy)


def test_a_model_can_be_retrained_again_and_again(trained, retraining, tmp_path):
    again = train(trained[0].reference, retraining.train, tmp_path / "again", reviewed=retraining.reviewed)
    names = [node.output[0] for node in onnx.load(tmp_path / "again" / "model.onnx").graph.node]
    assert len(names) == len(set(names))
    assert again.new_classes == ()


def test_a_new_class_without_held_out_items_is_never_automatic(retraining, tmp_path, digits):
    made = train(retraining.reference, retraining.train, tmp_path / "out", reviewed=retraining.reviewed, calibration=digits.incoming)
    assert made.never_auto == ("8", "9")
    assert made.reference.guarantee.auto or not made.reference.guarantee.coverage
    verdicts = annotriage.triage(made.reference, retraining.reviewed).verdicts
    assert not any(verdict.route == "auto" and verdict.labels[0] in made.never_auto for verdict in verdicts)


def test_looking_again_at_the_same_held_out_items_spends_an_attempt(retraining, tmp_path, digits):
    made = train(retraining.reference, retraining.train, tmp_path / "out", reviewed=retraining.reviewed, calibration=digits.held_out)
    assert made.reference.guarantee.attempt == 2
    assert made.comparison.fresh.n == 0
    assert made.comparison.takes_over == "undecided"


def test_what_a_guarantee_rests_on_is_never_trained_on(retraining, tmp_path, digits):
    spot_check = Item("s1", digits.strangers[0][200], ("8",), spot_check=True)
    held_out = Item("h1", digits.held_out[0][0], (str(digits.held_out[1][0]),))
    fresh = Item("f1", retraining.fresh[0][3], (str(retraining.fresh[1][3]),))
    nudged = retraining.fresh[0][5].copy()
    nudged[nudged > 0] -= 1
    twin = Item("t1", nudged, (str(retraining.fresh[1][5]),))
    gold = Item("g1", digits.strangers[0][210], ("8",))
    proper = [
        Item(str(row), *pair) for row, pair in enumerate(zip(retraining.reviewed[0], [(y,) for y in retraining.reviewed[1]], strict=True))
    ]
    made = train(
        retraining.reference,
        retraining.train,
        tmp_path / "out",
        reviewed=[*proper, spot_check, held_out, fresh, twin, gold],
        calibration=retraining.fresh,
        keep_out=[gold],
    )
    trained_on = set(made.examples.collected.ids)
    assert not trained_on & {"s1", "h1", "f1", "t1", "g1"}
    assert sum(made.examples.left_out.values()) >= 5
    assert any("spot check" in note for note in made.notes)


def test_perplexity_lets_samples_sit_out_and_come_back(trained):
    course = trained[0].course
    shares = course.took_part.mean(axis=1)
    assert shares[0] == 1
    assert all(shares[epoch] == 1 for epoch in range(0, course.epochs, 2))
    assert shares[-1] < 0.7
    assert course.visits < 0.85 * course.took_part.size


@pytest.mark.parametrize("kind", ["gaussian", "gmm"])
def test_a_density_may_decide_who_sits_out(retraining, tmp_path, kind):
    made = train(retraining.reference, retraining.train, tmp_path / kind, plan=Plan(perplexity=kind, epochs=6, readmit=0))
    assert made.course.took_part[-1].mean() < 0.6
    assert np.isfinite(made.course.below)


def test_the_report_shows_who_took_part_and_reads_offline(trained):
    page = (trained[1] / "report.html").read_text("utf-8")
    assert "Who took part in which epoch" in page
    assert "Collect more like these" in page
    assert "http://" not in page
    assert "https://" not in page


def test_candidates_are_ranked_by_their_rarity(trained):
    surprises = [candidate.surprise for candidate in trained[0].candidates]
    assert surprises == sorted(surprises, reverse=True)
    assert len(surprises) == 120


def test_a_killed_run_goes_on_where_it_was(retraining, tmp_path):
    retraining.reference.save(tmp_path / "reference")
    for name, (images, labels) in (("train", retraining.train), ("reviewed", retraining.reviewed)):
        np.savez(tmp_path / f"{name}.npz", x=images, y=labels)
    program = (
        "import os, signal, annotriage.training.state as state, annotriage\n"
        "write, written = state.SavedState.write, []\n"
        "def write_and_die(self, learner, course, **options):\n"
        "    write(self, learner, course, at_once=True)\n"
        "    written.append(course)\n"
        "    if len(written) == 3:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "state.SavedState.write = write_and_die\n"
        "annotriage.train(annotriage.Reference.load('reference'), 'train.npz', 'out', reviewed='reviewed.npz',"
        " plan=annotriage.Plan(epochs=40))\n"
    )
    command = [sys.executable, "-c", program]
    killed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=2 * PATIENCE)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    state = SavedState.folder_of(tmp_path / "out") / "state.npz"
    assert state.exists()
    assert not (tmp_path / "out").exists()
    made = train(
        Reference.load(tmp_path / "reference"),
        str(tmp_path / "train.npz"),
        tmp_path / "out",
        reviewed=str(tmp_path / "reviewed.npz"),
        plan=Plan(epochs=40),
    )
    assert made.resumed == 3
    assert made.course.epochs == 40
    straight = train(retraining.reference, retraining.train, tmp_path / "straight", reviewed=retraining.reviewed, plan=Plan(epochs=40))
    assert np.array_equal(made.course.losses, straight.course.losses)
    assert not state.exists()


def test_diverging_training_says_so_and_changes_nothing(retraining, tmp_path):
    with np.errstate(all="ignore"), pytest.raises(TrainingError, match=r"diverged in epoch \d+ .*--learning-rate"):
        train(retraining.reference, retraining.train, tmp_path / "out", plan=Plan(learning_rate=1e38, epochs=5))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda x, y: x, "nothing is labelled"),
        (lambda x, y: (x[y == "3"], y[y == "3"]), "all .* of one class"),
    ],
    ids=["no labels", "one class"],
)
def test_data_that_nothing_can_be_learned_from_is_refused(retraining, tmp_path, data, message):
    with pytest.raises(TrainingError, match=message):
        train(retraining.reference, data(*retraining.train), tmp_path / "out")


def test_rare_unknown_labels_make_no_class_but_are_named(retraining, tmp_path):
    images, labels = retraining.reviewed
    labels = np.where(np.arange(len(labels)) < 3, "typo", labels)
    made = train(retraining.reference, retraining.train, tmp_path / "out", reviewed=(images, labels))
    assert made.new_classes == ("8", "9")
    assert any("typo (3)" in note for note in made.notes)


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"drop_below": 1.0}, {"perplexity": "kl", "drop_below": 2.0, "drop_above": 1.0}])
def test_a_plan_that_cannot_work_is_refused(wrong):
    with pytest.raises(SettingError, match="--"):
        Plan(**wrong)


def test_an_encoder_gets_its_first_head(retraining, tmp_path):
    encoder = encoder_of(ModelSpec.load(retraining.reference.spec_path), tmp_path)
    images, labels = (np.concatenate(part) for part in zip(retraining.train, retraining.reviewed, strict=True))
    few = slice(400, None)
    made = train(encoder, (images[few], labels[few]), tmp_path / "out", calibration=retraining.fresh, settings=Settings(map="pca"))
    assert sorted(made.reference.space.classes) == list("0123456789")
    assert made.comparison.old is None
    assert made.comparison.new.accuracy > 0.85
    with pytest.raises(annotriage.AnnotriageError, match="annotriage train --model"):
        load_model(replace(ModelSpec.load(tmp_path / "encoder.toml"), classes=("a", "b")))
