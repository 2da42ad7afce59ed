"""A certificate in sentences."""

from __future__ import annotations

import pytest

from annotriage.advice.certificate_words import certified, gone, step


@pytest.mark.parametrize(
    ("figures", "sentence"),
    [
        (
            (12, 1840, 0.95, 378, 0, 0),
            "At most 12 of these 1,840 automatic labels are wrong (95% sure), strange items included: of 378 labels that people checked"
            " blind none was wrong.",
        ),
        (
            (30, 200, 0.95, 40, 2, 5),
            "At most 30 of these 200 automatic labels are wrong (95% sure), strange items included: of 35 labels that people checked blind"
            " 2 were wrong; 5 more are not answered yet, and counted as wrong.",
        ),
        (
            (200, 200, 0.95, 1, 0, 1),
            "Nothing can be said of these 200 automatic labels yet: 1 spot check waits for people in the tab Spot checks.",
        ),
        (
            (1, 1, 0.95, 0, 0, 0),
            "Nothing can be said of this one automatic label yet: none of them was drawn to be checked. Ask for a certificate with a number"
            " of wrong labels that you can allow.",
        ),
        (
            (200, 200, 0.95, 3, 0, 0, 3),
            "Nothing can be said of these 200 automatic labels yet: all 3 checks can be answered blind no longer. Certify the next dataset"
            " earlier.",
        ),
        (
            (30, 200, 0.95, 40, 1, 0, 1),
            "At most 30 of these 200 automatic labels are wrong (95% sure), strange items included: of 39 labels that people checked blind"
            " one was wrong; 1 more can be checked blind no longer, and counts as wrong.",
        ),
    ],
)
def test_a_certificate_says_what_is_known_and_by_what(figures, sentence):
    assert certified(*figures) == sentence


def test_steps_and_deleted_tasks():
    assert step(6, 5, 5) == "5 more right answers: at most 6 wrong."
    assert step(3, 39, 5) == "39 more right answers, 34 further checks among them: at most 3 wrong."
    assert gone(0) == ""
    assert gone(2) == "2 tasks of them are deleted by now; they count all the same."
