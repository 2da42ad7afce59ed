"""Records of Label Studio's API and webhooks as tasks and reviews."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotriage_label_studio.editor.labeling_config import answer_names, choices_control
from annotriage_label_studio.editor.tasks import review_of, seconds, task_of

CONFIG = """<View><Image name="img" value="$scan"/><Choices name="view" toName="img" choice="single">
<Choice value="Tibia"/><Choice value="Femoral side" alias="femoral"/>
<Choice value="None of these" alias="none-of-these"/></Choices></View>"""
CONTROL = choices_control(CONFIG)
MULTIPLE = choices_control(CONFIG.replace("single", "multiple"))
NAMES = answer_names(CONTROL, ["Tibia", "Femoral side"])


def task(data, **others):
    return task_of({"id": 7, "data": data} | others, CONTROL, NAMES, reviews=False)


def review(*labels, control="view", **others):
    region = {"from_name": control, "to_name": "img", "type": "choices", "value": {"choices": list(labels)}}
    return review_of({"id": 1, "result": [region] if labels else []} | others, CONTROL, NAMES)


def test_fields_are_the_short_values_that_are_not_ours():
    data = {"scan": "a.png", "site": "north", "dose": 1.5, "note": "x" * 201, "boxes": [1], "triage_route": "review", "triage_item": "m1"}
    assert task(data).fields == {"site": "north", "dose": "1.5"}
    assert task(data).marker == "m1"


@pytest.mark.parametrize(
    ("data", "meta", "group"),
    [
        ({"group": "p1"}, {}, "p1"),
        ({"group": 4}, {}, "4"),
        ({}, {"group": "m"}, "m"),
        ({"group": ""}, {"group": ["x"]}, None),
        ({}, None, None),
    ],
)
def test_a_group_is_named_in_the_data_or_the_meta(data, meta, group):
    assert task({"scan": "a.png", **data}, meta=meta).group == group


def test_a_task_without_one_picture_has_a_problem():
    assert task({"scan": "a.png"}).problem is None
    assert (
        "nothing in its data field 'scan', where the labeling config looks for the picture (its fields are 'image')"
        in task({"image": "a"}).problem
    )
    assert "several pictures" in task({"scan": ["a.png"]}).problem
    assert "a int" in task({"scan": 5}).problem


def test_labels_are_named_as_the_model_has_them_and_else_as_the_tool():
    assert review("femoral").labels == ("Femoral side",)
    assert review("none-of-these").labels == ("None of these",)
    assert review("gone since").labels == ("gone since",)


def test_an_answer_to_another_control_is_none_to_ours():
    assert (review("yes", control="other").labels, review("yes", control="other").empty) == (None, True)
    region = {"from_name": "other", "to_name": "img", "type": "choices", "value": {"choices": ["yes"]}}
    several = review_of({"id": 1, "result": [region]}, MULTIPLE, NAMES)
    assert (several.labels, several.empty) == ((), False)


@pytest.mark.parametrize(
    ("fields", "machine"),
    [
        ({"parent_prediction": 5, "updated_by": None, "lead_time": None}, True),
        ({"parent_prediction": 5, "updated_by": 2, "lead_time": 4.0}, False),
        ({"parent_prediction": 5, "updated_by": 2, "lead_time": None}, False),
        ({"parent_prediction": None, "updated_by": None, "lead_time": None}, False),
    ],
)
def test_only_what_nobody_looked_at_is_made_by_a_machine(fields, machine):
    assert review("Tibia", **fields).machine is machine


def test_times_are_seconds_since_1970():
    assert seconds("1970-01-01T00:01:00.500000Z") == 60.5
    assert seconds(None) == seconds("yesterday") == 0.0


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["scan", "group", "triage_item", "$undefined$", "x"]), values), values, values, values)
def test_any_task_of_an_event_can_be_read(data, meta, overlap, created_at):
    read = task(data, meta=meta, overlap=overlap, created_at=created_at)
    assert isinstance(read.media, str)
    assert read.wanted >= 1
    assert (read.problem is None) == bool(read.media.strip())
    assert all(len(value) <= 200 for value in read.fields.values())
