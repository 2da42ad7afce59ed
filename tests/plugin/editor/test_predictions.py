"""Predictions as Label Studio stores them, judged by its own reader of labeling configs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_studio_sdk.label_interface.interface import LabelInterface

from annotriage.errors import DataError
from annotriage.labeling_tool import Shown
from annotriage_label_studio.editor.labeling_config import choices_control, match_classes
from annotriage_label_studio.editor.predictions import results_of

CONFIG = """<View><Image name="scan" value="$image"/><Choices name="view" toName="scan" choice="multiple">
<Choice value="Tibia"/><Choice value="Femoral side" alias="femoral"/><Choice value="Other" predicted_values="else"/></Choices></View>"""
CLASSES = ("tibia", "femoral", "else")


@given(st.none() | st.sets(st.sampled_from(CLASSES)), st.floats(0, 1))
def test_label_studio_finds_nothing_wrong_with_a_prediction(labels, trust):
    control = choices_control(CONFIG)
    shown = Shown("1", None if labels is None else tuple(sorted(labels)), trust)
    (prediction,) = results_of([shown], control, match_classes(CLASSES, control), "v1")
    assert LabelInterface(CONFIG).validate_prediction(prediction, return_errors=True) == []
    assert [len(region["value"]["choices"]) for region in prediction["result"]] == ([len(labels)] if labels else [])


def test_several_choices_where_one_is_allowed_are_refused():
    control = choices_control(CONFIG.replace("multiple", "single"))
    with pytest.raises(DataError, match="takes one choice and the model gives 2"):
        results_of([Shown("1", ("tibia", "else"), 0.5)], control, match_classes(CLASSES, control), "v1")
