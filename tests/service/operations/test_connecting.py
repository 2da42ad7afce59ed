"""Connecting a project, again and otherwise, and taking everything back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import func, select

from annotriage.errors import MismatchError, SettingError, StateError, ToolError, ToolGone, ToolUnavailable, UnknownError
from annotriage.labeling_tool import Check
from annotriage.service.delivery.rerouting import take_back
from annotriage.service.operations.connecting import connect, disconnect
from annotriage.store import work
from annotriage.store.events import history
from annotriage.store.projects import change_project, find_project
from annotriage.store.schema import metadata


@pytest.fixture
def tool(server, picture, digits):
    """A project of the tool with ten digits, one of them labelled."""
    tool = server.project("3", [])
    for image in digits.incoming[0][:10]:
        tool.add(picture(image))
    tool.annotate("1", "7")
    return tool


def row(process, id="3"):
    with process.store.reading() as connection:
        return find_project(connection, id)


KEPT = ("secret", "needed_migration", "reference", "stored_file", "file_piece")  # how tables begin whose rows may stay when a project goes


def rows(process):
    """How many rows there are in each table of projects that has any."""
    with process.store.reading() as connection:
        counts = {table.name: connection.execute(select(func.count()).select_from(table)).scalar_one() for table in metadata.sorted_tables}
    return {name: count for name, count in counts.items() if count and not name.startswith(KEPT)}


def test_a_dry_run_says_what_would_change_and_changes_nothing(process, tool, digits_reference):
    before = rows(process)
    change = connect(process, "3", digits_reference, dry_run=True)
    assert change.dry_run
    assert change.done[0].startswith(f"9 tasks of 'In memory' are judged with {digits_reference.prediction_version}; 1 that people")
    assert any("would send webhooks to http://127.0.0.1:9090/webhook" in sentence for sentence in change.done)
    assert rows(process) == before


def test_connecting_sets_the_tool_up_and_triage_begins(process, tool, digits_reference, worker):
    change = connect(process, "3", digits_reference)
    assert "memory://3/" in change.next[0]
    assert "connect" in tool.calls
    worker.settle()
    shown = [id for id in tool.tasks_by_id if tool.shown(id, digits_reference.prediction_version)]
    assert shown == [str(number) for number in range(2, 11)]
    assert row(process).title == "In memory"
    with process.store.reading() as connection:
        assert [one.kind for one in history(connection, row(process).id)][-1] == "connected"


def test_connecting_again_repairs_and_takes_over_the_settings(process, tool, digits_reference, worker):
    connect(process, "3", digits_reference)
    worker.settle()
    process.settings = replace(process.settings, sample_share=0.25, item_fields="off")
    change = connect(process, "3", digits_reference)
    assert "looked through" in change.done[0]
    assert (row(process).options.sample_share, row(process).options.item_fields) == (0.25, False)
    assert row(process).next_reference_id is None
    worker.settle()
    assert all(len(tool.shown(id)) == 1 for id in tool.tasks_by_id if id != "1")


def test_another_reference_takes_over_step_by_step(process, tool, digits_reference, other_reference, worker):
    connect(process, "3", digits_reference)
    worker.settle()
    change = connect(process, "3", other_reference)
    assert change.done[0].startswith(f"9 items are judged again with {other_reference.prediction_version}")
    assert row(process).version == digits_reference.prediction_version
    next_id = row(process).next_reference_id
    assert next_id not in (None, row(process).reference_id)
    connect(process, "3", other_reference)
    assert row(process).next_reference_id == next_id


def test_a_third_reference_waits_until_the_second_has_taken_over(process, tool, digits_reference, other_reference):
    connect(process, "3", digits_reference)
    connect(process, "3", other_reference)
    third = replace(other_reference, version="f" * 64)
    with pytest.raises(StateError, match="another reference is taking over"):
        connect(process, "3", third)


def test_classes_that_do_not_fit_are_refused_before_anything_is_written(process, tool, digits_reference):
    before = rows(process)
    tool.problem = "the model's classes 0, 1 have no choice; the choices are cat, dog"
    with pytest.raises(MismatchError, match="project 3: the model's classes 0, 1 have no choice; the choices are cat, dog"):
        connect(process, "3", digits_reference)
    assert rows(process) == before


def test_a_server_that_cannot_be_used_is_named_with_its_fix(process, server, digits_reference):
    server.checks = lambda: [Check("server", True, "there"), Check("token", False, "is refused", "Copy another.")]
    with pytest.raises(ToolError, match=r"token: is refused\. Copy another\."):
        connect(process, "3", digits_reference)


def test_a_project_that_cannot_be_set_up_is_not_connected(process, tool, digits_reference):
    def fail(name):
        if name == "connect":
            raise ToolError("Label Studio refuses to call http://127.0.0.1:9090")

    before = rows(process)
    tool.faults = fail
    with pytest.raises(ToolError, match="refuses to call"):
        connect(process, "3", digits_reference)
    assert row(process) is None
    assert rows(process) == before
    tool.faults = lambda name: None
    connect(process, "3", digits_reference)
    assert row(process) is not None


def test_a_port_that_is_not_known_beforehand_cannot_be_given_to_the_tool(process, tool, digits_reference):
    process.settings = replace(process.settings, port=0)
    with pytest.raises(SettingError, match="service_url"):
        connect(process, "3", digits_reference)


def test_watching_writes_nothing_and_going_on_delivers_what_was_found(process, tool, digits_reference, worker, digits, picture):
    for image in digits.strangers[0][:6]:
        tool.add(picture(image))
    process.settings = replace(process.settings, sample_share=0.5, audit_share=0.0)
    change = connect(process, "3", digits_reference, watch=True)
    assert "Nothing is written" in change.done[1]
    worker.settle()
    assert {"connect", "deliver", "write_fields", "name_version", "repair"} & set(tool.calls) == set()
    assert rows(process)["verdict"] == 15
    connect(process, "3", digits_reference)
    worker.settle()
    assert all(len(tool.shown(id)) == 1 for id in tool.tasks_by_id if id != "1")
    with process.store.reading() as connection:
        tables = metadata.tables
        found = connection.execute(
            select(tables["item"].c.external_id, tables["item"].c.route, tables["spot_check"].c.kind).outerjoin(
                tables["spot_check"], tables["spot_check"].c.item_id == tables["item"].c.id
            )
        ).all()
    hidden = {one.external_id for one in found if one.route in ("outlier", "failed") or one.kind}
    assert {id for id in tool.tasks_by_id if id != "1" and tool.shown(id)[0].labels is None} == hidden
    assert hidden
    assert rows(process)["field_write"] >= 5


def test_what_people_took_out_of_the_queue_while_it_was_watched_is_delivered_as_they_left_it(
    process, tool, digits_reference, worker, digits, picture
):
    for image in digits.strangers[0][:6]:
        tool.add(picture(image))
    process.settings = replace(process.settings, sample_share=0.0, audit_share=0.0)
    connect(process, "3", digits_reference, watch=True)
    worker.settle()
    with process.store.reading() as connection:
        items = metadata.tables["item"]
        outliers = connection.execute(select(items.c.id, items.c.external_id).where(items.c.route == "outlier")).all()
    assert len(outliers) > 1
    taken_out, left = outliers[0], outliers[1:]
    take_back(process, row(process), [taken_out.id], "ada")
    connect(process, "3", digits_reference)
    worker.settle()
    (shown,) = tool.shown(taken_out.external_id)
    assert shown.labels is not None
    assert shown.trust > 2 / 3
    assert all(tool.shown(one.external_id)[0].labels is None for one in left)


def test_a_connected_project_is_not_turned_into_a_watched_one(process, tool, digits_reference):
    connect(process, "3", digits_reference)
    with pytest.raises(StateError, match="annotriage pause"):
        connect(process, "3", digits_reference, watch=True)


def test_disconnecting_takes_everything_back_and_forgets_the_project(process, tool, digits_reference, worker):
    connect(process, "3", digits_reference)
    worker.settle()
    assert tool.predictions
    change = disconnect(process, "3")
    assert "forgotten" in change.done[-1]
    assert tool.predictions == []
    assert "disconnect" in tool.calls
    assert rows(process) == {}
    with pytest.raises(UnknownError):
        disconnect(process, "3")


def test_disconnecting_a_watched_project_touches_nothing_in_the_tool(process, tool, digits_reference):
    connect(process, "3", digits_reference, watch=True)
    disconnect(process, "3")
    assert "disconnect" not in tool.calls
    assert row(process) is None


def test_a_tool_that_is_away_while_disconnecting_leaves_the_project_as_it_was(process, tool, digits_reference, worker):
    def away(name):
        raise ToolUnavailable("no answer")

    connect(process, "3", digits_reference)
    tool.faults = away
    with pytest.raises(ToolUnavailable):
        disconnect(process, "3")
    assert (row(process).gone, row(process).watch) == (False, False)
    tool.faults = lambda name: None
    worker.settle()
    assert tool.predictions
    disconnect(process, "3")
    assert row(process) is None


def test_a_project_that_was_deleted_in_the_tool_is_forgotten(process, tool, digits_reference):
    connect(process, "3", digits_reference)
    tool.exists = False
    assert "deleted in the labeling tool" in disconnect(process, "3").done[0]
    assert row(process) is None
    with pytest.raises(ToolGone):
        connect(process, "3", digits_reference)


def test_a_project_held_for_deleted_is_forgotten_before_it_is_connected_again(process, tool, digits_reference):
    connect(process, "3", digits_reference)
    with process.store.writing() as connection:
        change_project(connection, row(process).id, gone=True)
        assert work.claim(connection, "me", 5) is None
    with pytest.raises(StateError, match="annotriage disconnect --project 3"):
        connect(process, "3", digits_reference)
