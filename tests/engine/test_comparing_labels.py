"""Where incoming data carry labels, triage says how right the automatic ones are and how many strangers were seen."""

from __future__ import annotations

import numpy as np
import pytest

from annotriage.data import Item
from annotriage.engine.comparing_labels import ClassErrors, LabelTally
from annotriage.engine.labels import LabelSpace
from annotriage.engine.triage import triage
from annotriage.engine.verdict import Verdict
from annotriage.report.label_sentences import comparison_sentences
from annotriage.report.output import summary_text

SPACE = LabelSpace.of(("cat", "dog"), multiple=False)


def counted(*rows, max_error=0.1, alike=True):
    """Rows of (the data's label, the model's, route)."""
    tally = LabelTally(SPACE, max_error, alike=alike)
    for label, said, route in rows:
        tally.add(Item("1", None, None if label is None else (label,)), Verdict("1", "", (said,), 0.9, said, route=route))
    return tally.comparison()


def test_labels_are_compared_by_class_and_strangers_are_counted():
    found = counted(
        ("cat", "cat", "auto"), ("cat", "dog", "auto"), (1, "dog", "auto"), ("cow", "dog", "auto"), ("cow", "cat", "outlier"),
        ("cat", "cat", "uncertain"), ("dog", "dog", "failed"), (None, "cat", "auto"),
    )  # fmt: skip
    assert (found.labelled, found.auto, found.wrong, found.foreign, found.foreign_auto, found.foreign_seen) == (6, 4, 2, 2, 1, 1)
    assert found.classes == (ClassErrors("dog", 3, 2), ClassErrors("cat", 1, 0))


def test_without_labels_there_is_nothing_to_say():
    assert counted((None, "cat", "auto")) is None


@pytest.mark.parametrize(("wrong", "held"), [(5, True), (12, None), (30, False)])
def test_whether_the_limit_held_is_said_with_its_limits(wrong, held):
    found = counted(*[("cat", "dog", "auto")] * wrong, *[("cat", "cat", "auto")] * (100 - wrong))
    assert found.held is held
    assert comparison_sentences(found)[0].startswith(f"By the labels in the data {wrong} of 100 automatic labels are wrong ({wrong}%")


def test_with_costs_or_limits_of_classes_few_wrong_labels_do_not_show_that_they_hold():
    rows = [("cat", "dog", "auto")] * 5 + [("cat", "cat", "auto")] * 95
    assert comparison_sentences(counted(*rows))[0].endswith(": the limit holds here.")
    assert ": together no more than is allowed; the limits of single classes" in comparison_sentences(counted(*rows, alike=False))[0]
    broken = comparison_sentences(counted(*rows, max_error=0.01, alike=False))[0]
    assert broken.endswith(": the limit does not hold here."), "more wrong than any limit allows"


def test_on_digits_the_terminal_tells_the_limit_and_the_strangers_in_the_same_breath(digits_reference, digits_model, mixed):
    found = triage(digits_reference, mixed, model=digits_model)
    compared, (_, labels) = found.compared, mixed
    truth = dict(zip((verdict.id for verdict in found.verdicts), labels, strict=True))
    wrong = sum(verdict.route == "auto" and verdict.labels != (truth[verdict.id],) for verdict in found.verdicts)
    assert (compared.auto, compared.wrong) == (found.counts["auto"], wrong)
    assert compared.foreign == int(np.isin(labels, ["8", "9"]).sum())
    assert compared.foreign_seen > compared.foreign / 3
    limit = next(line for line in summary_text(found).splitlines() if line.startswith("At most 4 in 100"))
    assert "new kinds of items that look familiar may be labelled wrongly" in limit
    seen = f"Of {compared.foreign} items here that are of no known class, {compared.foreign_auto} were labelled automatically."
    assert f"may be labelled wrongly. {seen}" in limit
    assert limit.endswith("Have people check some automatic labels blind before you rely on them."), "there are no spot checks of files"
    assert found.summary()["compared"]["wrong"] == wrong


def test_on_usual_digits_the_limit_stands_by_itself(digits_reference, digits_model, digits):
    found = triage(digits_reference, digits.incoming, model=digits_model)
    assert "look familiar" not in summary_text(found)
