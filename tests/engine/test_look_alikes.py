"""Groups of look-alikes: found by an item, asked about at random, and labelled at once, also where the model knows no such class."""

import csv

import numpy as np
import pytest

from annotriage import look_alikes
from annotriage.engine.look_alikes import judge_answers, split
from annotriage.errors import DataError, StateError
from annotriage.report.look_alikes_folder import answer_look_alikes, read_look_alikes, split_look_alikes, write_look_alikes


@pytest.fixture(scope="module")
def many(digits):
    """Unseen digits, each also shifted by a pixel, and their names."""
    images, labels = digits.strangers
    moved = [images, np.roll(images, 1, 2), np.roll(images, 1, 1)]
    return np.concatenate(moved), np.tile(labels, 3)


@pytest.fixture(scope="module")
def group(digits_reference, many):
    return look_alikes(digits_reference, many[0], like="3", count=200)


def test_the_most_similar_items_are_asked_about_in_random_order(group):
    assert len(group.ids) == 200
    assert "3" in group.ids
    assert list(group.ids) != sorted(group.ids, key=int)


def test_agreeing_answers_label_the_rest(group):
    first = group.looks[0].size
    found = judge_answers(group, ["a new class"] * first)
    assert found.label == "a new class"
    assert found.rest == group.ids[first:]
    assert judge_answers(group, ["a new class"] * (first - 1)).rest == ()


def test_a_mixed_group_can_be_split_by_its_points(digits_reference, many):
    whole = look_alikes(digits_reference, many[0], ids=[str(row) for row in range(len(many[0]))])
    halves = split(whole, ["8", "9"] * 40)
    assert sum(len(half.ids) for half in halves) == len(whole.ids) - 80
    assert not set(halves[0].ids) & set(halves[1].ids)
    assert halves[0].confidence > whole.confidence


def test_too_few_items_are_refused_with_the_number_that_it_takes(digits_reference, many):
    with pytest.raises(StateError, match=r"50 items are too few .* it takes \d+ like these"):
        look_alikes(digits_reference, many[0], like="3", count=50)


def test_an_unknown_item_is_named(digits_reference, many):
    with pytest.raises(DataError, match="no item 'nobody'"):
        look_alikes(digits_reference, many[0], like="nobody")


def answered(folder, label_of):
    """Fill in the questions as people would."""
    with (folder / "questions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (folder / "questions.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ("id", "path", "label"))
        table.writeheader()
        table.writerows({**row, "label": label_of(row["id"])} for row in rows)


def test_questions_answered_in_a_table_become_labels(group, tmp_path):
    write_look_alikes(group, tmp_path / "group")
    answered(tmp_path / "group", lambda id: "eight")
    found = answer_look_alikes(tmp_path / "group")
    with (tmp_path / "group" / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 200
    assert {row["label"] for row in rows} == {"eight"}
    assert sum(row["how"] == "look-alike" for row in rows) == len(found.rest)


def test_a_label_that_looks_like_a_formula_stays_the_same_over_several_looks(group, tmp_path):
    write_look_alikes(group, tmp_path / "group")
    answered(tmp_path / "group", lambda id: "other" if id == group.ids[0] else "-1")
    answer_look_alikes(tmp_path / "group")  # one disagrees: further questions are written, beside the answers so far
    assert read_look_alikes(tmp_path / "group")[1][1:] == ["-1"] * (group.looks[0].size - 1)


def test_a_mixed_table_is_split_into_two(digits_reference, many, tmp_path):
    whole = look_alikes(digits_reference, many[0], ids=[str(row) for row in range(len(many[0]))])
    write_look_alikes(whole, tmp_path / "group")
    for _ in range(10):
        answered(tmp_path / "group", lambda id: many[1][int(id)])
        found = answer_look_alikes(tmp_path / "group")
        if found.standing.next_at is None:
            break
    assert not found.standing.shown
    places = split_look_alikes(tmp_path / "group")
    assert places
    assert all(read_look_alikes(place)[1] == [] for place in places)


@pytest.mark.parametrize("content", ["", "{}", "[" * 3000])
def test_a_folder_without_a_readable_group_is_none(group, tmp_path, content):
    write_look_alikes(group, tmp_path / "group")
    (tmp_path / "group" / "group.json").write_text(content)
    with pytest.raises(DataError, match="no group of look-alikes can be read there"):
        answer_look_alikes(tmp_path / "group")


def test_questions_in_another_order_are_refused(group, tmp_path):
    write_look_alikes(group, tmp_path / "group")
    lines = (tmp_path / "group" / "questions.csv").read_text().splitlines()
    (tmp_path / "group" / "questions.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]))
    with pytest.raises(DataError, match="leave the order as it is"):
        answer_look_alikes(tmp_path / "group")
