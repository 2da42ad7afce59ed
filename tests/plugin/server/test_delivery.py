"""Writing to a server that fails in the middle: each part of a bulk write is told apart, so that only what is in doubt is read back."""

from __future__ import annotations

import pytest
from faulty_server import faulty

from annotriage.errors import OutcomeUnknown, ToolUnavailable
from annotriage_label_studio.server import delivery
from annotriage_label_studio.server.client import Client

__all__ = ["faulty"]  # a fixture

VERSION = "annotriage pets 1a2b"
ROWS = [{"task": number, "result": [], "score": 0.5, "model_version": VERSION} for number in (1, 2, 3)]


@pytest.fixture
def client(faulty):
    return Client(faulty.url, "0123456789abcdef0123456789abcdef01234567")


def one_by_one(*answers):
    """A large project, so that predictions go one by one; these are the answers to them."""
    given = iter(answers)
    return lambda request: next(given) if request[0] == "POST" else (200, {}, {"task_number": 100_000})


def test_predictions_that_were_stored_before_a_refusal_count(client, faulty):
    faulty.answers = [one_by_one((201, {}, {"id": 1}), (429, {}, {}))]
    outcomes = delivery.import_predictions(client, "1", ROWS)
    assert (outcomes.done, outcomes.unknown) == ({"1": "1"}, frozenset())
    assert isinstance(outcomes.error, ToolUnavailable)


def test_a_refusal_of_the_first_prediction_leaves_nothing_unknown(client, faulty):
    faulty.answers = [one_by_one((429, {}, {}))]
    outcomes = delivery.import_predictions(client, "1", ROWS)
    assert (outcomes.done, outcomes.unknown) == ({}, frozenset())
    assert not isinstance(outcomes.error, OutcomeUnknown)


def test_a_prediction_on_a_task_that_is_gone_is_not_counted(client, faulty):
    faulty.answers = [one_by_one((201, {}, {"id": 1}), (400, {}, {"task": "does not exist"}), (201, {}, {"id": 2}))]
    outcomes = delivery.import_predictions(client, "1", ROWS)
    assert outcomes.done == {"1": "1", "3": "2"}
    assert list(outcomes.refused) == ["2"]


def test_annotations_that_were_made_and_could_not_be_read_back_are_unknown(client, faulty):
    task = {"id": 1, "is_labeled": False, "overlap": 1, "draft_exists": False, "annotations": []}
    prediction = {"id": 7, "task": 1, "model_version": VERSION, "result": [{}]}
    made = []

    def answer(request):
        method, path, _, _ = request
        if method == "POST":
            made.append(path)
            return 200, {}, {}
        if made:
            return 503, {"Retry-After": "60"}, {}
        if "model-versions" in path:
            return 200, {}, {"static": [{"model_version": VERSION, "count": 1}]}
        return (
            (200, {}, [prediction])
            if "/api/predictions/" in path
            else (200, {}, {"tasks": [{**task, "predictions": [prediction]}], "total": 1})
        )

    faulty.answers = [answer]
    outcomes = delivery.accept(client, "1", ["1"], VERSION)
    assert (outcomes.done, outcomes.unknown) == ({}, {"1"})
    assert len(made) == 1
