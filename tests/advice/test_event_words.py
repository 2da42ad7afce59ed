"""What happened to a project, in sentences."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import annotriage
from annotriage.advice.event_words import SENTENCES, event_sentence
from annotriage.states import EventKind

PACKAGE = Path(annotriage.__file__).parent
EVIDENCE = {
    "auto": True,
    "max_error": 0.02,
    "max_error_per": "all",
    "confidence": 0.95,
    "labelled": 400,
    "n": 300,
    "errors": 1,
    "needed": None,
    "classes": 5,
    "able": 5,
    "least": 160,
}


@pytest.mark.parametrize(
    ("kind", "facts", "sentence"),
    [
        ("connected", {"version": "annotriage pets 1a2b", "watch": False}, "connected with annotriage pets 1a2b"),
        ("connected", {"version": "annotriage pets 1a2b", "watch": True}, "connected with annotriage pets 1a2b, only watched"),
        ("trouble", {"error": "the model is not there"}, "the model is not there"),
        ("paused", {"reason": ""}, "paused by a person"),
        ("paused", {"reason": "scanner B"}, "paused by a person: scanner B"),
        ("retried", {"predictions": 1}, "1 prediction that could not be delivered: sent again"),
        (
            "settings",
            {"changes": {"sample_share": [0.1, 0.05], "accept": ["suggest", "annotate"]}, "by": "ada"},
            "sample_share 10% -> 5%, accept suggest -> annotate by ada",
        ),
        ("rerouted", {"by": "Ann", "to": "review", "items": 1, "undone": False}, "Ann sent 1 item to review"),
        ("rerouted", {"by": "Ann", "to": "back", "items": 1200, "undone": False}, "Ann took 1,200 items out of review"),
        ("rerouted", {"by": "Bob", "to": "review", "items": 3, "undone": True}, "Bob undid sending 3 items to review"),
        ("rerouted", {"by": "Bob", "to": "back", "items": 3, "undone": True}, "Bob undid taking 3 items out of review"),
        (
            "look-alikes",
            {"proposal": 3, "reason": "outlier group 1", "step": "asked", "by": "Ann", "answers": 73},
            "look-alikes 3, outlier group 1: Ann asks for 73 answers",
        ),
        (
            "look-alikes",
            {"proposal": 3, "reason": "outlier group 1", "step": "labelled", "by": "Ann", "items": 127, "labels": ["9"]},
            "look-alikes 3, outlier group 1: Ann let 127 items be labelled 9 at once",
        ),
        ("accepted", {"batch": 4, "labels": 30}, "batch 4: 30 automatic labels became annotations"),
    ],
)
def test_an_event_says_what_happened(kind, facts, sentence):
    assert event_sentence(EventKind(kind), facts) == sentence


def test_new_limits_are_told_with_what_they_guarantee():
    facts = {"changes": {"max_error": [0.04, 0.02]}, "by": "ada", "guarantee": EVIDENCE}
    assert event_sentence(EventKind.LIMITS, facts).startswith("max_error 0.04 -> 0.02 by ada: At most 2 in 100 automatic labels are wrong")
    same = {"changes": {}, "by": None, "guarantee": EVIDENCE | {"auto": False}}
    assert event_sentence(EventKind.LIMITS, same).startswith("nothing changed: No label is automatic: the model is wrong too often")
    few = EVIDENCE | {"auto": False, "labelled": 100, "needed": 320}
    wanted = "on 100 answers of the sample: No label is automatic: 160 labelled held-out items needed at least, 100 there"
    assert event_sentence(EventKind.RECALIBRATED, {"answers": 100, "guarantee": few}).startswith(wanted)


def test_every_kind_of_event_has_a_sentence():
    assert {*SENTENCES} == {*EventKind}


def test_every_event_is_written_with_the_facts_that_its_sentence_takes():
    """Names alone: a fact that is missing, or that no sentence knows, would fail whoever reads the history."""
    seen = set()
    for file in sorted(PACKAGE.rglob("*.py")):
        module = ast.parse(file.read_text("utf-8"))
        tables = {ast.unparse(line.targets[0]): line.value for line in module.body if isinstance(line, ast.Assign)}
        for call in ast.walk(module):
            if not isinstance(call, ast.Call) or getattr(call.func, "id", "") != "note":
                continue
            facts = {fact.arg for fact in call.keywords}  # None of what is handed on as a whole
            kinds = call.args[2]
            for named in ast.walk(tables[ast.unparse(kinds.value)] if isinstance(kinds, ast.Subscript) else kinds):
                if isinstance(named, ast.Attribute) and ast.unparse(named.value) == "EventKind":
                    kind = EventKind[named.attr]
                    parameters = inspect.signature(SENTENCES[kind]).parameters.values()
                    wanted = {None if fact.kind is fact.VAR_KEYWORD else fact.name for fact in parameters}
                    assert facts == wanted, f"{file}:{call.lineno}: {kind}"
                    seen.add(kind)
    assert seen == {*EventKind}
