"""The gate of a running project becomes stricter by people's blind answers, and only a recalibration sets it anew."""

from __future__ import annotations

import numpy as np
import outages
import pytest
from answered_checks import MODEL_SAYS, SpotChecks

from annotriage.advice.event_words import event_sentence
from annotriage.advice.guarantee_words import TOO_STRICT
from annotriage.engine.what_if import what_if
from annotriage.service.guarantee.changing_limits import with_limits
from annotriage.service.guarantee.tightening import Tightening, with_stricter_gate
from annotriage.service.readings.guarantee import guarantee_state
from annotriage.store import DATABASE_TROUBLE
from annotriage.store.events import history
from annotriage.store.references import get_reference


def answered(process, connect, wrong):
    """60 automatic labels at each of three places of the gate, so many of the least sure ones wrong, one now and then."""
    drawn = SpotChecks(process, connect()[0])
    reference = process.reference(drawn.project.reference_id)
    automatic = np.sort(reference.answered.sureness[reference.answered.sureness >= reference.guarantee.tau])
    ids = [drawn.draw(60, sureness=float(automatic[round(place * (automatic.size - 1))])) for place in (0.0, 0.2, 0.4)]
    bad = set(ids[0][:: 60 // wrong][:wrong])
    answers = [(id, who, "5" if id in bad else MODEL_SAYS) for row in zip(*ids, strict=True) for id in row for who in ("ann", "bob")]
    drawn.answer(answers)
    return drawn, reference


def test_wrong_answers_near_the_gate_let_a_stricter_one_take_over(process, connect, monkeypatch):
    drawn, reference = answered(process, connect, 15)
    assert drawn.present().alarm is None
    tightening = Tightening(process)
    monkeypatch.setattr("annotriage.store.database.BUSY_SECONDS", 0.0)
    with outages.unusable(process.settings.database), pytest.raises(DATABASE_TROUBLE):
        tightening.step(drawn.present())
    assert tightening.step(drawn.present()), "what the database did not take is tried again"
    now = drawn.present()
    assert now.next_reference_id not in (None, now.reference_id)
    with process.store.reading() as connection:
        facts = get_reference(connection, now.next_reference_id).facts["guarantee"]
        event = next(row for row in history(connection, now.id) if row.kind == "stricter")
    assert facts["tau"] > reference.guarantee.tau
    assert (facts["times_stricter"], facts["attempt"]) == (1, reference.guarantee.attempt)
    said = event_sentence(event.kind, event.facts)
    assert said.startswith("15 of 180 automatic labels that people checked blind were wrong, more than the limit allows")
    assert said.endswith("Spot checks have made the gate stricter since; a recalibration sets it again.")
    assert not tightening.step(now), "one change at a time"


def test_answers_within_the_limit_change_nothing(process, connect):
    drawn, _ = answered(process, connect, 2)
    assert not Tightening(process).step(drawn.present())
    assert drawn.present().next_reference_id is None


def test_other_limits_and_previews_keep_the_gate_as_strict(digits_reference):
    tau = digits_reference.guarantee.tau
    ranked = np.sort(digits_reference.answered.sureness[digits_reference.answered.sureness > tau])
    stricter = with_stricter_gate(digits_reference, float(ranked[len(ranked) // 4]))
    assert stricter.guarantee.tau > tau
    assert with_limits(stricter, {"max_error": 0.2}).guarantee.tau >= stricter.guarantee.tau
    assert all(min(cell["taus"].values(), default=np.inf) >= stricter.guarantee.tau for grid in what_if(stricter) for cell in grid.limits)
    assert stricter.version != digits_reference.version


def test_a_gate_beyond_what_was_tested_is_left_to_the_alarm(digits_reference):
    assert with_stricter_gate(digits_reference, 2.0) is None
    assert with_stricter_gate(digits_reference, 0.0) is None, "never less strict"


def test_where_the_stricter_gate_alone_keeps_labels_from_being_automatic_a_recalibration_is_asked_for(connect):
    evidence = {"auto": False, "needed": None, "stricter": 1.9, "labelled": 900}
    state = guarantee_state(connect()[0], evidence, {"sample_answers": 3, "sample_needed": 40})
    assert (state.word, state.headline) == ("off", TOO_STRICT)
    assert state.todo.startswith("Automatic labels go on after a new calibration on what people answered.")
