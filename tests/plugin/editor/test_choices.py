"""One more choice in a labeling config: it is there for the SDK, and nothing else has changed by a single character."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotriage.errors import DataError
from annotriage_label_studio.editor.choices import with_choice, without_choice
from annotriage_label_studio.editor.labeling_config import choices_control, match_classes

LINES = """<?xml version="1.0" encoding="utf-8"?>
<View>
  <!-- <Choices name="label"> once stood here -->
  <Header value="Ä, ß and 骨?"/>
  <Image name="image" value="$image" zoom="true"/>
  <Choices name="quality" toName="image"><Choice value="good"/><Choice value="bad"/></Choices>
  <Choices name="label" toName="image" choice="single">
    <Choice value="Tibia" alias="tibia" hotkey="1"/>
    <Choice value="Femur &amp; hip" background="#123456"></Choice>
  </Choices>
  <Style>.a > .b { color: red }</Style>
</View>
"""
NONE = LINES.replace("  </Choices>\n  <Style>", '    <Choice value="something else" alias="none-of-these"/>\n  </Choices>\n  <Style>')
ONE_LINE = '<View><Image name="image" value="$image"/><Choices name="label" toName="image"><Choice value="a"/></Choices></View>'
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="|/"), min_size=1, max_size=40)


def control_of(config):
    return choices_control(config, names=["label"])


@pytest.mark.parametrize("config", [LINES, LINES.replace("\n", "\r\n"), NONE, ONE_LINE], ids=["lines", "windows", "none", "one line"])
@given(name=NAMES)
def test_a_choice_is_added_and_taken_back_and_all_else_stays_to_the_letter(config, name):
    control = control_of(config)
    if name.casefold() in {other.casefold() for choice in control.choices for other in choice.names}:
        return
    added = with_choice(config, control, name)
    found = control_of(added)
    assert {choice.value for choice in found.choices} == {*(choice.value for choice in control.choices), name}
    assert match_classes([control.choices[0].value], found) == match_classes([control.choices[0].value], control)
    assert len(added) - len(config) == len(added.replace("<Choice", "")) - len(config.replace("<Choice", "")) + len("<Choice")
    assert without_choice(added, found, name) == config


def test_it_stands_in_a_line_of_its_own_behind_the_others_but_before_the_one_that_fits_nowhere():
    assert '    <Choice value="Femur &amp; hip" background="#123456"></Choice>\n    <Choice value="stripes"/>\n  </Choices>' in with_choice(
        LINES, control_of(LINES), " stripes "
    )
    assert '    <Choice value="stripes"/>\n    <Choice value="something else" alias="none-of-these"/>\n' in with_choice(
        NONE, control_of(NONE), "stripes"
    )
    assert '<Choice value="a"/><Choice value="b &amp; &quot;c&quot;"/></Choices>' in with_choice(
        ONE_LINE, control_of(ONE_LINE), 'b & "c"'
    ).replace("'b &amp; \"c\"'", '"b &amp; &quot;c&quot;"')


@pytest.mark.parametrize("name", ["", "  ", "a/b", "a|b", "x" * 101, "\x07", "Tibia", "TIBIA", "femur & hip"])
def test_what_is_no_new_name_is_refused(name):
    with pytest.raises(DataError):
        with_choice(LINES, control_of(LINES), name)


def test_what_cannot_be_changed_safely_says_what_to_do():
    nested = ONE_LINE.replace('toName="image">', 'toName="image" allownested="true">')
    wrapped = ONE_LINE.replace('<Choice value="a"/>', '<View><Choice value="a"/></View>')
    for config in (nested, wrapped):
        with pytest.raises(DataError, match=r'Settings, Labeling Interface, Code, and add <Choice value="b"/>'):
            with_choice(config, control_of(config), "b")


def test_a_choice_that_somebody_has_changed_since_is_left_alone():
    added = with_choice(LINES, control_of(LINES), "stripes").replace('"stripes"/>', '"stripes" hotkey="9"/>')
    with pytest.raises(DataError, match="by hand"):
        without_choice(added, control_of(added), "stripes")
