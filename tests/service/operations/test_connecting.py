"""Connecting a project, again and otherwise, and taking everything back."""

from __future__ import annotations

import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, replace

import databases
import pytest
from delivery_states import set_state
from sqlalchemy import func, select

from annotriage.advice.event_words import event_sentence
from annotriage.errors import MismatchError, SettingError, StateError, ToolError, ToolGone, ToolUnavailable, UnknownError
from annotriage.labeling_tool import Check
from annotriage.service.delivery.field_writing import FieldWriting
from annotriage.service.delivery.rerouting import take_back
from annotriage.service.judging.predicting import StorePredictor
from annotriage.service.judging.trying import TRIED
from annotriage.service.operations.connecting import Change, connect, disconnect
from annotriage.service.operations.doctor import checks_of
from annotriage.service.operations.jobs import Snapshots
from annotriage.service.operations.process import Process
from annotriage.states import EventKind
from annotriage.store import items, work
from annotriage.store.datasets import routes_of
from annotriage.store.events import history, note
from annotriage.store.projects import change_project, find_project
from annotriage.store.schema import metadata
from annotriage.store.spot_checks import spot_check_counts


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


@pytest.mark.parametrize("accept", ["suggest", "annotate"])
def test_a_dry_run_foretells_the_routes_and_the_spot_checks(process, server, digits_reference, worker, digits, picture, accept):
    tool = server.project("3", [])
    for image in (*digits.incoming[0][:60], *digits.strangers[0][:20]):
        tool.add(picture(image))
    tool.add("nonsense")
    process.settings = replace(process.settings, accept=accept)
    said = " ".join(connect(process, "3", digits_reference, dry_run=True).done)
    connect(process, "3", digits_reference)
    worker.settle()
    with process.store.reading() as connection:
        routes = {count.route: count.items for count in routes_of(connection, row(process))}
        checks = sum(found.n for found in spot_check_counts(connection, row(process)))
    assert sum(routes.values()) == 81
    ways = f"{routes['auto']} automatic, {routes['uncertain']} unsure, {routes['outlier']} strange, {routes['failed']} unreadable"
    assert f"Tried on all 81 tasks: {ways}." in said
    assert f"People would answer about {checks} of them blind" in said


def test_a_dry_run_on_a_large_project_tries_a_random_part(process, server, digits_reference, digits, picture):
    tool = server.project("3", [])
    for image in digits.incoming[0].repeat(3, axis=0)[: TRIED + 100]:
        tool.add(picture(image))
    said = connect(process, "3", digits_reference, dry_run=True).done[1]
    assert said.startswith(f"Tried on {TRIED} of the {TRIED + 100} tasks, drawn at random: about ")


def test_connecting_sets_the_tool_up_and_triage_begins(process, tool, digits_reference, worker):
    change = connect(process, "3", digits_reference)
    assert "memory://3/" in change.next[0]
    assert "connect" in tool.calls
    worker.settle()
    shown = [id for id in tool.tasks_by_id if tool.shown(id, digits_reference.prediction_version)]
    assert shown == [str(number) for number in range(2, 11)]
    assert row(process).title == "In memory"
    with process.store.reading() as connection:
        assert [event.kind for event in history(connection, row(process).id)][-1] == "connected"


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


def test_what_was_set_on_the_settings_page_stays_where_a_project_is_connected_again(process, tool, digits_reference):
    connect(process, "3", digits_reference)
    with process.store.writing() as connection:
        options = replace(row(process).options, accept="annotate", set_here=("accept",))
        change_project(connection, row(process).id, options=asdict(options))
    process.settings = replace(process.settings, accept="suggest", audit_share=0.2, item_fields="off")
    for dry_run in (True, False):
        said = " ".join(connect(process, "3", digits_reference, dry_run=dry_run).done)
        assert "Setting accept stays annotate, as it was set on the Settings page; the settings say suggest." in said
        assert "Setting audit_share: 5% -> 20%, as the settings say now." in said
        assert "Setting item_fields: on -> off" in said
    options = row(process).options
    assert (options.accept, options.audit_share, options.item_fields, options.set_here) == ("annotate", 0.2, False, ("accept",))
    with process.store.reading() as connection:
        (changed,) = [event for event in history(connection, row(process).id) if event.kind == "settings"]
    assert "audit_share 5% -> 20%" in event_sentence(changed.kind, changed.facts)
    assert "Setting accept stays" in " ".join(connect(process, "3", digits_reference).done), "each time"


def write_fields(process):
    Snapshots(process).step(row(process))  # fields show a dataset's diversity
    writing = FieldWriting(process)
    while writing.step(row(process)):
        pass


def test_links_in_tasks_are_written_anew_where_a_project_is_connected_at_another_address(process, tool, digits_reference, worker):
    process.settings = replace(process.settings, public_url="http://here:1")
    connect(process, "3", digits_reference)
    worker.settle()
    write_fields(process)
    linked = [id for id, data in tool.data.items() if data.get("triage_link")]
    assert linked
    process.settings = replace(process.settings, public_url="http://there:2")
    (told,) = [check for _, check in checks_of(process) if check.name == "links in tasks"]
    assert told.ok is False
    assert "they lead to http://here:1, and public_url is http://there:2" in told.found
    connect(process, "3", digits_reference)
    write_fields(process)
    assert all(str(tool.data[id]["triage_link"]).startswith("http://there:2/projects/3/items/") for id in linked)
    assert not [check for _, check in checks_of(process) if check.name == "links in tasks"]


def test_predictions_that_were_refused_are_sent_again_where_a_project_is_connected_again(process, tool, digits_reference, worker):
    connect(process, "3", digits_reference)
    worker.settle()
    task = "2"
    tool.predictions = [prediction for prediction in tool.predictions if prediction.task != task]
    with process.store.writing() as connection:
        ids = [found.id for found in items.find_items(connection, row(process).id, [task]).values()]
        set_state(connection, row(process).reference_id, ids, "refused", error="400 Bad Request: no such label")
    connect(process, "3", digits_reference)
    worker.settle()
    assert len(tool.shown(task)) == 1


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
    server.checks = lambda: [Check("server", False, "is not reached. Is the address right?", "Set it.")]
    with pytest.raises(ToolError, match=r"address right\? Set it\."):
        connect(process, "3", digits_reference)


def test_a_reference_that_makes_nothing_automatic_or_that_fitting_warned_of_says_so_before_it_is_connected(process, tool, digits_reference):
    assert not [line for line in connect(process, "3", digits_reference, dry_run=True).done if "No label is automatic" in line]
    guarantee = replace(digits_reference.guarantee, auto=False)
    doubtful = replace(digits_reference, guarantee=guarantee, training_notes=("the model is right on 33% of its training items",))
    said = connect(process, "3", doubtful, dry_run=True).done
    assert said[-1] == "Note: the model is right on 33% of its training items"
    assert said[-2].startswith("No label is automatic with this reference: ")


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


def test_a_set_up_that_fails_in_its_middle_is_taken_back(process, tool, digits_reference):
    def fail(name):
        if name == "tabs":
            raise ToolError("the tab does not open")

    before = rows(process)
    tool.faults = fail
    with pytest.raises(ToolError, match=r"the tab does not open$"):
        connect(process, "3", digits_reference)
    assert (tool.order, tool.set_up) == ("by id", [])
    assert rows(process) == before


def test_the_worker_knows_of_a_project_once_it_is_set_up(process, tool, digits_reference, worker):
    def look(name):
        if name == "connect":
            seen.append(row(process))
            assert StorePredictor(process).version_of("3") is not None  # the tool asks for it while the backend is added
            worker.settle()

    seen = []
    tool.faults = look
    connect(process, "3", digits_reference)
    assert seen == [None]
    assert StorePredictor(process).version_of("3") == digits_reference.prediction_version
    assert StorePredictor(process).version_of("4") is None


def test_a_failure_that_cannot_be_taken_back_says_how_it_will_be(process, tool, digits_reference):
    def fail(name):
        if name in ("tabs", "disconnect"):
            raise ToolUnavailable("no answer")

    tool.faults = fail
    with pytest.raises(ToolError, match="annotriage disconnect --project 3 takes back what was set up"):
        connect(process, "3", digits_reference)
    tool.faults = lambda name: None
    assert tool.order == "by trust"
    assert "interrupted" in disconnect(process, "3").done[-1]
    assert (tool.order, tool.set_up) == ("by id", [])
    assert rows(process) == {}
    with pytest.raises(UnknownError, match="project 3 is not connected"):
        disconnect(process, "3")


class PowerCutError(BaseException):
    """What nobody can catch."""


def cut(tool, at):
    def fault(name):
        if name == at:
            raise PowerCutError

    tool.faults = fault


@databases.both
@pytest.mark.parametrize("again", [False, True])
def test_what_was_cut_off_twice_is_taken_back_to_what_it_was_at_first(process, tool, digits_reference, again):
    cut(tool, "tabs")
    for _ in range(2):
        with pytest.raises(PowerCutError):
            connect(process, "3", digits_reference)
    assert tool.order == "by trust"
    tool.faults = lambda name: None
    if again:
        connect(process, "3", digits_reference)
        cut(tool, "disconnect")
        with pytest.raises(PowerCutError):
            disconnect(process, "3")
        tool.faults = lambda name: None
    disconnect(process, "3")
    assert (tool.order, tool.set_up) == ("by id", [])
    assert rows(process) == {}


@databases.both
def test_of_six_commands_at_once_one_connects_and_five_say_why_they_do_not(process, tool, server, digits_reference):
    def attempt(_number):
        own = Process(process.settings, "command")
        own.server = server
        try:
            start.wait()
            return connect(own, "3", digits_reference)
        except StateError as error:
            return str(error)
        finally:
            own.leave()

    def let_the_others_try(name):
        if name == "connect":
            refused.wait()

    start, refused = threading.Barrier(6), threading.Event()
    tool.faults = let_the_others_try
    said = []
    with ThreadPoolExecutor(6) as threads:
        futures = [threads.submit(attempt, number) for number in range(6)]
        for future in as_completed(futures):
            said.append(future.result())
            if len(said) == 5:
                refused.set()
    assert [type(part) for part in said] == [str] * 5 + [Change]
    assert all("another command is connecting or disconnecting project 3" in sentence for sentence in said[:5])
    assert tool.calls.count("connect") == 1


def test_a_killed_command_holds_up_the_next_one_no_longer_than_it_is_known_to_live(process, tool, digits_reference):
    ended = subprocess.Popen(["true"])
    ended.wait()
    with process.store.writing() as connection:
        for name, host in (("elsewhere", "elsewhere"), ("here", process.host)):
            work.hold(connection, f"connecting or disconnecting project {name}", "command", host, ended.pid)
    with pytest.raises(StateError, match="another command"), process.alone("connecting or disconnecting project elsewhere"):
        pass
    with process.alone("connecting or disconnecting project here"):
        pass


def test_answers_that_were_asked_for_a_second_time_are_not_any_more(process, tool, digits_reference, worker):
    connect(process, "3", digits_reference)
    worker.settle()
    tool.ask_again("2", 2)
    worker.settle()
    assert "Answers that are asked for, in 1 task: set back to 1." in disconnect(process, "3").done
    assert {task.wanted for task in tool.tasks_by_id.values()} == {1}


def test_what_is_noted_of_a_project_that_is_being_forgotten_fails_nobody(process, tool, digits_reference):
    connect(process, "3", digits_reference)
    id = row(process).id
    disconnect(process, "3")
    with process.store.writing() as connection:
        note(connection, id, EventKind.UNREACHABLE, error="no answer")


def test_a_tool_that_is_not_to_call_the_service_is_only_polled(process, tool, digits_reference, worker):
    process.settings = replace(process.settings, calls="off", port=0)
    connect(process, "3", digits_reference)
    assert tool.set_up == ["tabs"]
    assert not row(process).options.calls
    worker.settle()
    assert all(len(tool.shown(id)) == 1 for id in tool.tasks_by_id if id != "1")


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
    hidden = {seen_item.external_id for seen_item in found if seen_item.route in ("outlier", "failed") or seen_item.kind}
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
    assert shown.labels is None, "nobody has said that it is what the model takes it for"
    assert shown.trust > 2 / 3, "it waits behind all others"
    assert all(tool.shown(seen_item.external_id)[0].labels is None for seen_item in left)


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
    with pytest.raises(ToolUnavailable, match=r"no answer\. Nothing is forgotten: give annotriage disconnect --project 3 again"):
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
