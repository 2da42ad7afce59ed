"""Labeling configs: which control is taken, and how classes find their choices."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotriage.errors import DataError
from annotriage_label_studio.editor.answers import chosen_labels
from annotriage_label_studio.editor.labeling_config import DEFAULT_CONTROL, answer_names, choices_control, match_classes, read_control
from annotriage_label_studio.editor.predictions import choices_result

CONFIG = """<View>
  <Text name="report" value="$report"/>
  <Image name="img" value="$scan"/>
  <Choices name="finding" toName="report"><Choice value="healthy"/></Choices>
  <Choices name="region" toName="img" perRegion="true"><Choice value="edge"/></Choices>
  <Choices name="view" toName="img" choice="multiple">
    <Choice value="Tibia"/>
    <Choice value="Femoral side" alias="femoral" predicted_values="femur, FEM"/>
    <Choice value="None of these" alias="none-of-these"/>
  </Choices>
</View>"""


def config_of(choices):
    """A config with these choices."""
    return f'<View><Image name="i" value="$i"/><Choices name="c" toName="i">{choices}</Choices></View>'


def nested(depth):
    """A config whose choices are one within the other."""
    choices = "".join(f'<Choice value="{level}">' for level in range(depth)) + "</Choice>" * depth
    return f'<View><Image name="i" value="$i"/><Choices name="c" toName="i" allownested="true">{choices}</Choices></View>'


def test_the_first_choices_on_an_image_are_taken():
    control = choices_control(CONFIG)
    assert (control.name, control.to_name, control.object_tag, control.field, control.multiple) == ("view", "img", "Image", "scan", True)
    assert [choice.result for choice in control.choices] == ["Tibia", "femoral", "none-of-these"]


def test_choices_can_be_taken_by_name():
    control = choices_control(CONFIG, ["Tibia"], ["of another project", "finding"])
    assert (control.name, control.field, control.multiple) == ("finding", "report", False)


@pytest.mark.parametrize(("classes", "name"), [(["usable", "blurred"], "quality"), (["Tibia", "Femur"], "bone"), (["else"], "quality")])
def test_of_several_choices_that_with_the_models_classes_is_taken(classes, name):
    config = """<View><Image name="i" value="$image"/>
      <Choices name="quality" toName="i"><Choice value="usable"/><Choice value="blurred"/></Choices>
      <Choices name="bone" toName="i" visibleWhen="choice-selected" whenTagName="quality" whenChoiceValue="usable">
        <Choice value="Tibia"/><Choice value="Femur"/></Choices></View>"""
    assert choices_control(config, classes).name == name


def test_names_are_compared_composed_and_written_as_the_config_has_them():
    config = CONFIG.replace("Tibia", "Ti\u0301bia")
    control = choices_control(config)
    assert match_classes(["T\u00edbia"], control) == {"T\u00edbia": "Ti\u0301bia"}
    assert answer_names(control, ["T\u00edbia"])["T\u00edbia"] == "T\u00edbia"


@pytest.mark.parametrize("name", ["Femoral side", "femoral", "femur", "FEM", "fem", "FEMORAL"])
def test_a_class_means_a_choice_by_value_alias_or_predicted_value(name):
    assert match_classes(["Tibia", name], choices_control(CONFIG)) == {"Tibia": "Tibia", name: "femoral"}


def test_exact_case_goes_before_any_case():
    config = CONFIG.replace('"Tibia"', '"fem"')
    assert match_classes(["fem", "FEM"], choices_control(config)) == {"fem": "fem", "FEM": "femoral"}


def test_of_choices_with_one_name_the_first_is_meant():
    config = config_of('<Choice value="one" alias="femur"/><Choice value="two" alias="Femur"/><Choice value="femur"/>')
    control = choices_control(config)
    assert [control.choice_of(name).value for name in ("femur", "Femur", "FEMUR")] == ["one", "two", "one"]


def test_a_mismatch_of_very_many_names_lists_the_first_of_them():
    control = choices_control(config_of("".join(f'<Choice value="kind {number}"/>' for number in range(5_000))))
    with pytest.raises(DataError, match="'class 99' and 100 more") as refused:
        match_classes([f"class {number}" for number in range(200)], control)
    assert "'kind 99' and 4,900 more" in str(refused.value)
    assert len(str(refused.value)) < 6_000


def test_a_mismatch_is_refused_with_both_lists_and_the_fix():
    with pytest.raises(DataError, match=r"no choice for 'Sagittal'\. Classes .*'Tibia', 'Sagittal'\. Choices: 'Tibia', .*Add <Choice"):
        match_classes(["Tibia", "Sagittal"], choices_control(CONFIG))
    with pytest.raises(DataError, match=r"both mean the choice 'femoral'.*Classes .* Choices"):
        match_classes(["femur", "femoral"], choices_control(CONFIG))


def test_the_default_control_takes_every_class():
    assert match_classes(["a", "b"], DEFAULT_CONTROL) == {"a": "a", "b": "b"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("<View>", "not valid XML"),
        (nested(500), "not valid XML .*depth"),
        ("", "not valid XML"),
        ('<!DOCTYPE v [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><View>&b;</View>', "declares a DTD or entities"),
        ('<View><Image name="image" value="$image"/></View>', r"\(Choices found: none\)\. It needs <Image"),
        ('<View><Choices name="a" toName="gone"><Choice value="b"/></Choices></View>', "'a' on nothing"),
        ('<View><Image name="i" value="$i"/><Choices name="a" toName="i" value="$options"/></View>', "Choices found: none"),
    ],
)
def test_a_config_without_a_control_for_images_is_refused(config, message):
    with pytest.raises(DataError, match=message):
        choices_control(config)


def test_a_config_file_is_named_in_its_errors(tmp_path):
    file = tmp_path / "config.xml"
    with pytest.raises(DataError, match=r"config\.xml: cannot be read \(No such file"):
        read_control(file)
    file.write_text("<View/>")
    with pytest.raises(DataError, match=r"config\.xml: the labeling config has no <Choices>"):
        read_control(file)
    file.write_text(CONFIG, encoding="utf-8-sig")
    assert read_control(file).name == "view"


def test_a_config_with_an_xml_declaration_and_comments_is_read():
    config = f'<?xml version="1.0" encoding="utf-8"?>\n{CONFIG.replace("<Image", "<!-- the knee --><Image")}'
    assert choices_control(config) == choices_control(CONFIG)


def test_a_choice_within_another_is_a_choice_of_the_control():
    config = CONFIG.replace('<Choice value="Tibia"/>', '<View><Choice value="Tibia"><Choice value="left" alias="l"/></Choice></View>')
    assert [choice.value for choice in choices_control(config).choices] == ["Tibia", "Femoral side", "None of these"]
    with pytest.raises(DataError, match='Choices within choices count only with allownested="true"'):
        match_classes(["left"], choices_control(config))
    control = choices_control(config.replace('choice="multiple"', 'choice="multiple" allownested="true"'))
    assert [choice.value for choice in control.choices] == ["Tibia", "Tibia/left", "Femoral side", "None of these"]
    assert match_classes(["Tibia", "Tibia/left"], control) == {"Tibia": "Tibia", "Tibia/left": "Tibia/l"}
    assert match_classes(["left"], control) == {"left": "Tibia/l"}


def test_a_choice_within_another_is_written_and_read_as_its_path():
    config = """<View><Image name="i" value="$image"/><Choices name="c" toName="i" allownested="true">
      <Choice value="cat/dog"/><Choice value="bird"><Choice value="owl" alias="o"/></Choice></Choices></View>"""
    control = choices_control(config)
    choices = match_classes(["cat/dog", "owl"], control)
    (region,) = choices_result([choices["owl"]], control)
    assert region["value"] == {"choices": [["bird", "o"]]}
    assert choices_result([choices["cat/dog"]], control)[0]["value"] == {"choices": [["cat/dog"]]}
    (label,) = chosen_labels([region], "c")
    assert answer_names(control, ["cat/dog", "owl"])[label] == "owl"


def test_other_controls_are_left_alone():
    others = '<RectangleLabels name="box" toName="img"><Label value="bone"/></RectangleLabels><Unknown name="u" toName="img"/><Number/>'
    assert choices_control(CONFIG.replace("<Choices", f"{others}<Choices", 1)) == choices_control(CONFIG)


def test_choices_within_choices_are_read_as_deep_as_anybody_writes_them():
    assert len(choices_control(nested(40)).choices) == 40


@given(st.text())
def test_text_that_is_no_config_is_refused(text):
    with pytest.raises(DataError):
        choices_control(text)
