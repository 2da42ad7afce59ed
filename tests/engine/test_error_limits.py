"""Costs and limits of classes, from the settings to the guarantee of a reference."""

import dataclasses

import numpy as np
import pytest

from annotriage import Settings, fit
from annotriage.engine.error_limits import cost_table, refuse_unknown
from annotriage.engine.labels import LabelSpace
from annotriage.engine.reference import Reference
from annotriage.errors import SettingError
from annotriage.service.guarantee.changing_limits import with_limits

SPACE = LabelSpace.of(("fracture", "healthy", "cyst > 1 cm"), False)


def test_a_pair_goes_before_one_class_and_one_class_before_any():
    given = {"costs": "* > * = 2, * > healthy = 5, fracture > healthy = 10, cyst > 1 cm > fracture = 3"}
    table = cost_table(SPACE, Settings(**given))
    assert table.tolist() == [[0, 10, 2], [2, 0, 2], [3, 5, 0], [2, 5, 2]]
    assert cost_table(SPACE, Settings(costs={"fracture": {"healthy": 1}})) is None, "that is what it costs anyway"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"costs": {"Fracture": {"healthy": 10}}}, "(fracture, healthy, cyst > 1 cm); did you mean 'fracture'?"),
        ({"costs": {"fracture": {"helthy": 10}}}, "did you mean 'healthy'?"),
        ({"costs": "fracture = 10"}, "setting costs: 'fracture' names one class; say which is called what, as fracture > cyst > 1 cm"),
        ({"costs": "healthy > healthy = 1"}, "setting costs: 'healthy > healthy' is no error; what is called right costs nothing"),
        ({"costs": "* > * = 0"}, "setting costs: no error costs anything; at least one has to"),
        ({"class_limits": {"fractures": 0.01}}, "setting class_limits: 'fractures' is none of the model's classes"),
        ({"class_limits": "fracture | healthy = 0.01, healthy = 0.02"}, "setting class_limits: 'healthy' is in two of the limits"),
    ],
)  # fmt: skip
def test_what_names_no_class_is_refused_with_the_one_that_may_be_meant(given, said):
    with pytest.raises(SettingError) as refused:
        refuse_unknown(SPACE, Settings(**given))
    assert said in str(refused.value)


def test_a_model_that_gives_several_classes_has_neither():
    several = LabelSpace.of(("a", "b"), True)
    with pytest.raises(SettingError, match="setting costs: the model gives several classes at once"):
        cost_table(several, Settings(costs="a > b = 2"))


@pytest.fixture(scope="module")
def priced(digits_model, digits, quick):
    settings = dataclasses.replace(quick, max_error=0.2, costs={"3": {"5": 4}}, class_limits={"1": 0.3})
    return fit(digits_model, digits.train, digits.held_out, settings=settings, name="priced")


def test_a_reference_with_costs_guarantees_what_labels_cost_and_is_read_again(priced, tmp_path):
    assert priced.guarantee.auto
    assert priced.guarantee.dearest == 4
    assert [row.name for row in priced.guarantee.own_limits] == ["1"]
    priced.save(tmp_path / "priced")
    read = Reference.load(tmp_path / "priced")
    assert read.version == priced.version
    assert read.facts()["guarantee"]["sentence"].startswith(
        "The expected cost of automatic labels of the other classes is at most 0.2 per item"
    )
    assert read.settings == priced.settings


def test_other_limits_keep_the_costs(priced):
    changed = with_limits(priced, {"max_error": 0.3})
    assert (changed.guarantee.dearest, changed.guarantee.max_error, changed.guarantee.attempt) == (4, 0.3, 2)
    assert changed.settings.costs == priced.settings.costs


def test_a_class_that_is_none_is_refused_before_anything_is_fitted(digits_model, digits, quick):
    with pytest.raises(SettingError, match=r"setting costs: '33' is none of the model's classes"):
        fit(digits_model, digits.train, settings=dataclasses.replace(quick, costs={"33": {"5": 4}}))


def test_a_reference_without_costs_keeps_the_version_that_it_had_before_there_were_any(digits_reference):
    from annotriage.engine.storage import to_tree

    tree = to_tree(digits_reference, {})
    assert not {"costs", "class_limits"} & set(tree["settings"])
    assert not {"cost", "dearest", "own_limits", "most_wrong"} & set(tree["guarantee"])
    assert np.isfinite(digits_reference.guarantee.tau)
