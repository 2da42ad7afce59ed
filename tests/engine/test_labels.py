"""Labels: names and indices to label sets, label sets to clusters."""

import numpy as np
import pytest

from annotriage.data import Item
from annotriage.engine.labels import LabelSpace
from annotriage.errors import DataError

CLASSES = ("cat", "dog", "owl")
SINGLE = LabelSpace.of(CLASSES, multiple=False)
MULTIPLE = LabelSpace.of(CLASSES, multiple=True, training=[(0,)] * 20 + [(0, 1)] * 25 + [()] * 30 + [(2,)] * 19)


def item(*labels):
    return Item("7", None, labels, path="scans/7.png")


def test_names_and_indices_mean_the_same_class():
    assert SINGLE.known(item("dog")) == SINGLE.known(item(1)) == (1,)
    assert MULTIPLE.known(item("owl", 0, "owl")) == (0, 2)


def test_an_item_that_nobody_labelled_has_no_label_set():
    assert SINGLE.known(Item("7", None)) is None


def test_no_class_at_all_is_an_answer_where_several_may_apply():
    assert MULTIPLE.known(item()) == ()


@pytest.mark.parametrize("label", ["cow", "Cat", 3, -1])
def test_a_label_that_the_model_does_not_know_names_item_label_and_classes(label):
    with pytest.raises(DataError) as refused:
        SINGLE.known(item(label))
    said = f"scans/7.png: label {label!r} is none of the model's classes (cat, dog, owl)"
    meant = """; did you mean 'cat'? The model spec can say so: [model] aliases = { "Cat" = "cat" }"""
    assert str(refused.value) == said + (meant if label == "Cat" else "")


@pytest.mark.parametrize(
    ("label", "meant"), [("CAT", "cat"), ("cats", "cat"), (" Dog_", "dog"), ("owel", "owl"), ("cow", None), ("x", None)]
)
def test_a_near_miss_is_told_from_another_name(label, meant):
    assert SINGLE.meant(label) == meant


def test_several_labels_are_refused_where_one_is_known():
    with pytest.raises(DataError, match=r"scans/7\.png: has 2 labels, but the model knows one per item; leave one"):
        SINGLE.known(item("cat", "dog"))


def test_rare_label_sets_share_one_cluster():
    assert MULTIPLE.names == ("none of them", "cat", "cat + dog", "other combinations")
    assert MULTIPLE.indices([(0, 1), (), (2,), (0, 1, 2)]).tolist() == [2, 0, 3, 3]


def test_a_label_set_that_may_hold_a_class_is_named_with_it():
    assert SINGLE.names_with(["owl"]) == {"owl"}
    assert MULTIPLE.names_with(["dog"]) == {"cat + dog", "other combinations"}
    assert MULTIPLE.names_with([]) == set()


def test_the_model_says_the_largest_class_or_all_positive_ones():
    logits = np.array([[1.0, 3.0, 2.0], [-1.0, -3.0, -2.0]])
    assert SINGLE.predicted(logits) == [(1,), (0,)]
    assert MULTIPLE.predicted(logits) == [(0, 1, 2), ()]
