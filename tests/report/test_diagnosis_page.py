"""`annotriage diagnose` on real digits: every question answered, in a page that opens from a file."""

from __future__ import annotations

import json

import numpy as np
import pytest
from browsers import pixels
from click.testing import CliRunner
from sklearn.neural_network import MLPClassifier

from annotriage import diagnose, diagnose_to_folder, fit, sample
from annotriage.cli import main
from annotriage.cli.diagnosis import QUERIES
from annotriage.diagnosis.questions import Query
from annotriage.errors import DataError, OutputError, SettingError


@pytest.fixture(scope="module")
def earlier(digits, network, tmp_path_factory):
    """The specs of two states of a network in training, the first after a single pass."""
    images, labels = digits.train
    learner = MLPClassifier((48, 32), random_state=0)
    specs = []
    for passes in (1, 9):
        for _ in range(passes):
            learner.partial_fit(images.reshape(len(images), -1) / 255, labels, classes=[str(digit) for digit in range(8)])
        folder = tmp_path_factory.mktemp("checkpoint")
        specs.append(network(folder, learner.coefs_, learner.intercepts_, classes=[str(digit) for digit in range(8)], size=(8, 8)))
    return specs


@pytest.fixture(scope="module")
def everything(digits_reference, digits, earlier, tmp_path_factory):
    """Every question, on a sample, in a folder; and what was found."""
    ids = [item.id for item in sample(digits_reference, digits.held_out, "errors-first", 0.2).items]
    out = tmp_path_factory.mktemp("inside") / "out"
    return out, diagnose_to_folder(digits_reference, digits.held_out, out, sample=ids, checkpoints=earlier, other=earlier[0])


def test_the_command_knows_every_question():
    assert tuple(Query) == QUERIES


def test_every_question_is_answered_with_its_accuracy(everything):
    _, found = everything
    assert [answer.query for answer in found.answers] == list(Query)
    assert all(answer.sentence and answer.pictures and answer.expected.startswith("Expected accuracy: ") for answer in found.answers)
    assert found.items == 96
    assert found.pilot == 480
    assert found.accuracy.missing == 0


def test_what_is_learned_grows_with_training(everything):
    right, alike = (picture.values for picture in everything[1].answers[5].pictures)
    assert right[:, 1].mean() > right[:, 0].mean()
    assert alike[:, 1].mean() > alike[:, 0].mean()


def test_another_model_is_alike_and_not_the_same(everything):
    similarity = everything[1].answers[6].pictures[0].values
    assert 0 < similarity[-2, -2] < 0.99


def test_the_figures_lie_beside_the_page(everything):
    out, found = everything
    figures = json.loads((out / "diagnosis.json").read_text("utf-8"))
    assert [answer["query"] for answer in figures["answers"]] == list(Query)
    assert figures["answers"][4]["items"] == [face.id for face in found.answers[4].faces]
    assert figures["wrong"] == found.wrong > 0


def test_the_page_needs_nothing_from_anywhere(everything):
    page = (everything[0] / "diagnosis.html").read_text("utf-8")
    assert "default-src &#39;none&#39;" in page
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_people_can_read_the_page(everything, open_page, barriers, theme):
    page = open_page((everything[0] / "diagnosis.html").as_uri())
    if theme == "dark":
        page.get_by_role("button", name="Change to dark").click()
    assert page.get_attribute("html", "data-theme") == theme
    assert page.locator("section").count() >= 7
    assert pixels(page.locator("#taken-for img").first) > [0, 0]
    assert barriers(page) == []


def test_all_items_are_used_without_a_sample(digits_reference, digits):
    found = diagnose(digits_reference, digits.held_out, ["layer-means"])
    assert (found.items, found.pilot, found.accuracy) == (480, 0, None)
    assert found.answers[0].expected == ""


def test_a_large_dataset_is_compared_with_a_part_of_it(digits_reference, digits, monkeypatch):
    monkeypatch.setattr("annotriage.engine.diagnosis.diagnose.PILOT", 100)
    ids = [str(place) for place in range(0, 480, 5)]
    found = diagnose(digits_reference, digits.held_out, ["layer-means"], sample=ids)
    assert found.items == 96
    assert 60 < found.pilot < 150
    assert 0 <= found.accuracy.means <= 1


def test_a_model_without_errors_has_nothing_to_say_about_them(digits_reference, digits):
    found = diagnose(digits_reference, digits.train, ["top-neurons-of-errors", "errors-against-correct", "taken-for"])
    assert all("no labelled item wrong" in answer.sentence for answer in found.answers)


def test_unlabelled_items_are_described_by_what_the_model_says(digits_reference, digits):
    found = diagnose(digits_reference, digits.held_out[0])
    assert len(found.answers) == 5
    assert "No item is labelled" in found.answers[1].sentence
    assert found.answers[0].pictures[0].rows == tuple("01234567")


def test_one_class_alone_is_said_to_be_alone(digits_reference, digits):
    images, labels = digits.held_out
    found = diagnose(digits_reference, (images[labels == "3"], labels[labels == "3"]), ["layer-means"])
    assert "all items are of one class, 3" in found.answers[0].sentence


def test_rows_of_numbers_have_no_pictures(network, quick, tmp_path):
    rng = np.random.default_rng(0)
    labels = np.repeat(["left", "right"], 100)
    rows = rng.normal(size=(200, 3)).astype(np.float32) + np.where(labels == "left", -2, 2)[:, None]
    weights = [np.concatenate([np.eye(3), -np.eye(3)], axis=1), np.array([[-1.0, 1]] * 3 + [[1.0, -1]] * 3)]
    spec = network(tmp_path / "model", weights, [np.zeros(6), np.zeros(2)], classes=["left", "right"], size=(3,), kind="array")
    reference = fit(spec, (rows, labels), settings=quick)
    out = tmp_path / "out"
    found = diagnose_to_folder(reference, (rows, np.roll(labels, 3)), out)
    assert found.wrong == 6
    assert found.answers[1].faces[0].picture == b""
    assert "no picture" in (out / "diagnosis.html").read_text("utf-8")


def test_what_the_model_has_no_class_for_is_not_among_what_it_learns(digits_reference, digits_model, digits, mixed):
    found = diagnose(digits_reference, mixed, ["learned-first"], checkpoints=[digits_model])
    assert set(found.answers[0].pictures[0].series) == {str(digit) for digit in range(8)}


def test_a_confusion_can_be_named(digits_reference, digits):
    found = diagnose(digits_reference, digits.held_out, ["taken-for"], confusion=("0", "7"))
    assert found.answers[0].sentence == "No item of 0 is taken as 7 here."
    with pytest.raises(SettingError, match="'9' is none"):
        diagnose(digits_reference, digits.held_out, ["taken-for"], confusion=("9", "7"))


def test_questions_that_need_more_than_the_data_are_said_to_be_left_out(digits_reference, digits):
    notes = " ".join(diagnose(digits_reference, digits.held_out).notes)
    assert "learned-first was not asked: it needs earlier checkpoints of the model (--checkpoint" in notes
    assert "model-similarity was not asked: it needs a model to compare with (--other)" in notes
    assert "was not asked" not in " ".join(diagnose(digits_reference, digits.held_out, ["taken-for"]).notes)


@pytest.mark.parametrize(
    ("query", "named"), [("learned-first", "--checkpoint"), ("model-similarity", "--other"), ("colours", "none of layer-means")]
)
def test_what_cannot_be_asked_says_what_it_needs(digits_reference, digits, query, named):
    with pytest.raises(SettingError, match=named):
        diagnose(digits_reference, digits.held_out, [query])


def test_a_sample_of_other_data_is_refused(digits_reference, digits):
    with pytest.raises(DataError, match="drawn from other data"):
        diagnose(digits_reference, digits.held_out, sample=["elsewhere/1.png"])


def test_a_diagnosis_replaces_only_a_diagnosis(everything, digits_reference, digits):
    with pytest.raises(OutputError, match="exists already"):
        diagnose_to_folder(digits_reference, digits.held_out, everything[0])


def test_the_command_answers_on_a_sample(digits_reference, digits, tmp_path):
    digits_reference.save(tmp_path / "reference")
    np.savez(tmp_path / "data.npz", x=digits.held_out[0], y=digits.held_out[1])
    (tmp_path / "sample.csv").write_text("id\n" + "\n".join(map(str, range(100))))
    words = ["diagnose", "--reference", "reference", "--data", "data.npz", "--sample", "sample.csv", "--query", "taken-for", "--out", "out"]
    paths = [str(tmp_path / word) if word in ("reference", "data.npz", "sample.csv", "out") else word for word in words]
    done = CliRunner().invoke(main, [*paths, "--quiet"])
    assert done.exit_code == 0, done.output
    assert "taken as" in done.stdout
    assert "Expected accuracy" in done.stdout
