"""Doctor names what is wrong, and what to change."""

from __future__ import annotations

import json
import re
import time
from dataclasses import asdict, replace

import databases
import outages
import pytest
from delivery_states import set_state
from sqlalchemy import select, update

from annotriage.errors import MediaUnavailable, SettingError
from annotriage.labeling_tool import Check
from annotriage.media.data_uri import encode_data_uri
from annotriage.service.operations.doctor import LATE_BEAT_SECONDS, PILED_UP, checks_of, examine
from annotriage.settings import ServiceSettings
from annotriage.states import Alarm, Failure
from annotriage.store import erasing, inbox, items, jobs, work
from annotriage.store.projects import change_project
from annotriage.store.schema import heartbeat, item, job, spot_check, verdict
from annotriage.store.schema import project as project_table


@pytest.fixture
def checks(process, server, monkeypatch):
    """What doctor finds of a service whose labeling tool is the one in memory: by name, of several the one that is not all right."""

    monkeypatch.setattr(process.tool, "connect_server", lambda _settings: server)

    def checks(part="service"):
        found = [check for of, check in examine(lambda: process.settings) if of == part]
        return {check.name: check for check in sorted(found, key=lambda check: check.ok is not True)}

    return checks


def alive(process, *roles):
    with process.store.writing() as connection:
        for role in roles:
            work.beat(connection, f"{role}@elsewhere", role, "elsewhere", 1)


@databases.both
def test_a_database_that_cannot_be_written_to_is_told(process, checks, monkeypatch):
    monkeypatch.setattr("annotriage.store.database.BUSY_SECONDS", 0.0)
    assert checks()["database"].ok
    with outages.unusable(process.settings.database):
        assert checks()["database"].ok is False
    assert checks()["database"].ok


def test_a_process_that_is_late_with_its_sign_of_life_is_told(process, checks):
    alive(process, "web", "worker", "jobs")
    assert checks()["running"].ok
    with process.store.writing() as connection:
        connection.execute(update(heartbeat).where(heartbeat.c.role == "worker").values(at=time.time() - LATE_BEAT_SECONDS - 1))
    assert "worker process gave its last sign of life" in checks()["running"].found


def test_a_setting_that_cannot_be_read_is_the_one_thing_that_is_said():
    def load():
        raise SettingError("annotriage.toml: no setting is called 'prot'; did you mean port?")

    ((part, check),) = examine(load)
    assert (part, check.ok) == ("service", False)
    assert "did you mean port?" in check.found


def test_a_database_that_cannot_be_opened_is_named_without_its_password():
    found = list(examine(lambda: ServiceSettings(database="postgresql://me:s3cret@127.0.0.1:1/none", label_studio_token="t")))
    _, check = found[-1]
    assert (check.name, check.ok) == ("database", False)
    assert "127.0.0.1" in check.found
    assert "s3cret" not in check.found


def test_a_missing_token_is_said_with_where_to_get_one(process):
    token = shell_checks(process)["token"]
    assert token.ok is False
    assert "setting label_studio_token is empty" in token.found


def shell_checks(process):
    """What doctor finds in a shell without a token."""
    return {check.name: check for _, check in examine(lambda: replace(process.settings, label_studio_token=""))}


def test_the_running_services_token_counts_not_the_shells(process):
    alive(process, "web", "worker", "jobs")
    found = shell_checks(process)
    assert "token" not in found
    assert found["this shell's token"].ok is None
    assert found["the service's access"].ok
    with process.store.writing() as connection:
        work.beat(connection, "web@elsewhere", "web", "elsewhere", 1, "token: answered 401. Make another one.")
    check = shell_checks(process)["the service's access"]
    assert check.ok is False
    assert check.found == "token: answered 401. Make another one."
    assert "annotriage serve" in check.fix


def test_a_good_token_in_the_shell_hides_no_bad_one_of_the_service(checks, process, server):
    server.checks = lambda: [Check("token", True, "accepted")]
    with process.store.writing() as connection:
        work.beat(connection, "web@elsewhere", "web", "elsewhere", 1, "token: answered 401.")
    found = checks()
    assert found["the service's access"].ok is False
    assert found["this shell's token"].ok


def test_processes_that_give_no_sign_of_life_are_named(checks, process):
    alive(process, "web", "jobs")
    assert "worker" in checks()["running"].found
    assert "annotriage serve" in checks()["running"].fix
    alive(process, "worker")
    assert checks()["running"].ok


def test_a_process_that_fell_silent_is_told_with_since_when_and_not_as_one_that_was_never_started(checks, process):
    alive(process, "web", "worker", "jobs")
    with process.store.writing() as connection:
        connection.execute(update(heartbeat).where(heartbeat.c.role == "jobs").values(at=time.time() - 45))
    assert re.search(r"no sign of life from jobs for 4\d\ss", checks()["running"].found)
    assert "overloaded" in checks()["running"].fix


def test_the_web_process_does_not_miss_itself(process):
    alive(process, "worker", "jobs")
    process.role = "web"
    found = {check.name: check for _, check in checks_of(process)}
    assert found["running"].ok


def test_a_labeling_tool_that_is_not_reached_is_told_once(checks, process, server):
    alive(process, "worker", "jobs")
    with process.store.writing() as connection:
        work.beat(connection, "web@elsewhere", "web", "elsewhere", 1, text="the labeling tool is not reached")
    assert checks()["the service's access"].ok is False
    server.checks = lambda: [Check("server", False, "is not reached", "Start it.")]
    assert "the service's access" not in checks()
    assert checks()["server"].ok is False


def test_polls_that_were_missed_are_noted_before_they_are_held_for_wrong(checks, process, connect):
    project, _ = connect("3")
    for ago, ok in ((5, True), (100, None), (3_000, False)):
        with process.store.writing() as connection:
            change_project(connection, project.id, read_until=time.time() - ago)
        assert checks("3")["reading the labeling tool"].ok is ok
    process.settings = replace(process.settings, poll_seconds=3_600.0)
    assert checks("3")["reading the labeling tool"].ok


@pytest.mark.parametrize(
    ("off", "said"), [(0.0, "agree"), (3.0, "agree"), (90.0, "(89|90)\\ss ahead of"), (-90.0, "(88|89|90)\\ss behind")]
)
def test_clocks_that_differ_are_told_with_the_difference(checks, server, off, said, monkeypatch):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)  # however long it takes to look at two clocks
    server.clock = lambda: now + off
    check = checks()["clocks"]
    assert re.search(said, check.found)
    assert check.ok == (abs(off) < 5)


def test_without_a_project_it_says_how_to_connect_one(checks):
    assert "annotriage connect" in checks()["projects"].fix


def test_webhooks_that_nobody_reads_or_can_read_are_told(checks, process):
    with process.store.inbox.writing() as connection:
        for _ in range(PILED_UP + 1):
            inbox.put(connection, b"{}")
    assert f"{PILED_UP + 1:,} were not read" in checks()["webhooks"].found
    with process.store.inbox.writing() as connection:
        for row in inbox.unread(connection, PILED_UP + 1):
            inbox.done(connection, [row.id])
        inbox.put(connection, b"?")
        inbox.failed(connection, inbox.unread(connection, 1)[0].id, "a webhook whose body is not JSON")
    assert "not JSON" in checks()["webhooks"].found


def test_a_project_that_is_well_has_nothing_wrong(checks, connect, worker, picture, digits):
    _, tool = connect("3", sample_share=0.0)
    for image in digits.incoming[0][:5]:
        tool.add(picture(image))
    worker.settle()
    assert [check for check in checks("3").values() if check.ok is not True] == []


@pytest.mark.parametrize(
    ("values", "name", "said", "fix"),
    [
        ({"paused_at": 1.0, "pause_reason": "holiday"}, "automatic labels", "holiday", "annotriage resume --project 3"),
        ({"alarm": asdict(Alarm(9, 20, 0.2, 0.7, 0.04, 1.0))}, "automatic labels", "9 of 20", "annotriage recalibrate --project 3"),
        ({"problem": "choice 'cat' is gone"}, "delivery", "choice 'cat' is gone", "by itself"),
        ({"trouble": "the model file is damaged"}, "judging", "damaged", ""),
        ({"gone": True}, "project", "deleted", "annotriage disconnect --project 3"),
        ({"read_until": 1.0}, "reading the labeling tool", "minutes ago", "events"),
    ],
)
def test_what_is_stopped_is_told_with_the_reason(checks, process, connect, values, name, said, fix):
    project, _ = connect("3")
    with process.store.writing() as connection:
        change_project(connection, project.id, **values)
    check = checks("3")[name]
    assert check.ok is False
    assert said in check.found
    assert fix in check.fix


def test_what_was_to_be_erased_and_is_not_is_told_with_the_reason(checks, process, connect):
    project, _ = connect("3")
    with process.store.writing() as connection:
        erasing.ask(connection, project, ["7"], "ann")
    assert "erasing" not in checks("3")
    with process.store.writing() as connection:
        asked = jobs.take(connection, process.owner, [jobs.ERASURE])
        erasing.put_off(connection, asked, process.owner, "reference pets: a file is missing.", time.time() + 60)
    found = checks("3")["erasing"]
    assert found.ok is False
    assert found.found == "what was asked for is not erased yet: reference pets: a file is missing."


def test_a_job_that_failed_is_told_until_another_one_of_its_kind_did_not(checks, process, connect):
    project, _ = connect("3")

    def ended(text, *, failed):
        with process.store.writing() as connection:
            jobs.queue(connection, project.id, "report")
            jobs.finish(connection, jobs.take(connection, process.owner, ["report"]).id, text, failed=failed)

    assert "jobs" not in checks("3")
    ended("KeyError: nobody foresaw this", failed=True)
    found = checks("3")["jobs"]
    assert (found.ok, found.found) == (None, "the last of the kind 'report' failed: KeyError: nobody foresaw this")
    ended("made", failed=False)
    assert "jobs" not in checks("3")


def test_a_job_that_failed_is_told_however_many_of_other_kinds_came_since(checks, process, connect):
    project, _ = connect("3")

    def ended(kind, **of_it):
        with process.store.writing() as connection:
            jobs.queue(connection, project.id, kind)
            jobs.finish(connection, jobs.take(connection, process.owner, [kind]).id, "its end", **of_it)

    ended("recalibrate", failed=True)
    for _ in range(25):
        ended("report")
    assert checks("3")["jobs"].found == "the last of the kind 'recalibrate' failed: its end"
    with process.store.writing() as connection:
        connection.execute(update(job).values(finished_at=time.time() - 8 * 86_400))
    assert "jobs" not in checks("3")


def test_webhooks_that_do_not_arrive_are_told(checks, process, connect, worker, picture, digits):
    _, tool = connect("3", sample_share=0.0)
    task = tool.add(picture(digits.incoming[0][0]))
    worker.settle()
    assert "webhooks arrive" not in checks("3")
    with process.store.writing() as connection:
        connection.execute(update(project_table).values(at=time.time() - 7200))
        connection.execute(update(item).values(at=time.time() - 3600))
    assert checks("3")["webhooks arrive"].ok is False
    body = json.dumps({"action": "TASKS_CREATED", "project": {"id": 3}, "tasks": [{"id": int(task.id), "data": {}}]})
    with process.store.inbox.writing() as connection:
        inbox.put(connection, body.encode())
    worker.settle()
    assert checks("3")["webhooks arrive"].ok


def test_media_that_failed_are_grouped_by_what_was_wrong_and_by_host(checks, process, connect, worker):
    _, tool = connect("3")
    addresses = [*(f"http://cdn.example.com/{number}.png" for number in range(3)), "http://images.example.com/a.png"]
    texts = [encode_data_uri(content, "text/plain") for content in (b"not a picture", b"<html>")]
    for media in (*addresses, *texts):
        tool.add(media)
    worker.settle()
    hosts, pictures, other = (check.found for of, check in examine(lambda: process.settings) if check.name == "media")
    assert hosts.startswith("3 items could not be judged, as task 3: http://cdn.example.com/2.png"), "each task is named once"
    assert "add cdn.example.com to the setting media_hosts" in hosts
    assert pictures.startswith("2 items")
    assert "add images.example.com to the setting media_hosts" in other


def test_every_task_that_the_tool_fails_to_show_is_named_whatever_else_failed(checks, process, connect, worker, picture, digits):
    project, tool = connect("3")
    broken = [tool.add(picture(image)).id for image in digits.incoming[0][:3]]
    for host in range(3):
        for number in range(4):
            tool.add(f"http://{host}.example.com/{number}.png")
    worker.settle()
    with process.store.writing() as connection:
        for task, found in items.find_items(connection, project.id, broken).items():
            values = {"route": "failed", "failure": Failure.UNLISTED, "reason": f"task {task}: it cannot be listed"}
            connection.execute(update(verdict).where(verdict.c.item_id == found.id).values(values))
    found = checks("3")
    assert found["tasks"].ok is False
    assert f"cannot show tasks {', '.join(broken)}. task {broken[-1]}: it cannot be listed" in found["tasks"].found
    assert found["media"].found.startswith("4 items could not be judged")


def test_predictions_that_the_tool_refused_are_listed(checks, process, connect, worker, picture, digits):
    project, tool = connect("3", sample_share=0.0)
    task = tool.add(picture(digits.incoming[0][0]))
    worker.settle()
    with process.store.writing() as connection:
        ids = [row.id for row in items.find_items(connection, project.id, [task.id]).values()]
        set_state(connection, project.reference_id, ids, "refused", error="400 Bad Request: no such label")
    check = checks("3")["deliveries"]
    assert f"tasks {task.id}" in check.found
    assert "no such label" in check.found
    assert "annotriage connect --project 3" in check.fix


def test_without_a_guarantee_it_says_how_many_answers_it_takes(checks, connect, digits_model, digits, quick):
    from annotriage.engine.fitting import fit

    connect("3", fit(digits_model, digits.train, settings=quick, name="digits"))
    check = checks("3")["guarantee"]
    assert check.ok is None
    assert "0 of " in check.found
    assert "annotriage recalibrate --project 3" in check.fix


def test_blind_checks_that_wait_too_long_are_told(checks, process, connect, worker, picture, digits):
    _, tool = connect("3", sample_share=1.0)
    for image in digits.incoming[0][:20]:
        tool.add(picture(image))
    worker.settle()
    with process.store.writing() as connection:
        connection.execute(update(spot_check).values(drawn_at=time.time() - 30 * 86_400))
    assert "for 30 days" in checks("3")["spot checks"].found


def test_one_person_alone_is_told_that_nobody_can_confirm_a_contradiction(checks, process, connect, worker, picture, digits):
    _, tool = connect("3", sample_share=0.0, audit_share=1.0)
    for image in digits.incoming[0][:20]:
        tool.add(picture(image))
    worker.settle()
    assert "second answers" not in checks("3")
    with process.store.writing() as connection:
        three = connection.execute(select(spot_check.c.item_id).limit(3)).scalars().all()
        connection.execute(update(spot_check).where(spot_check.c.item_id.in_(three)).values(state="disagreed", answered_at=time.time()))
    found = checks("3")
    assert "3 of 3 automatic labels" in found["guarantee"].found
    assert "3 wrong wait for a second answer" in found["guarantee"].found
    assert "one person alone answers: nobody else can confirm 3 contradictions" in found["second answers"].found
    assert "page Guarantee" in found["second answers"].fix


def test_what_the_tool_itself_finds_is_among_it(checks, connect):
    _, tool = connect("3")
    assert checks("3")["project"].ok
    tool.checks = lambda url, secret: (_ for _ in ()).throw(MediaUnavailable("away"))
    assert checks("3")["labeling tool"].ok is None


def test_a_long_name_of_a_project_leaves_room_for_the_checks(checks, connect, process):
    project, _ = connect("3")
    with process.store.writing() as connection:
        change_project(connection, project.id, title="scan " * 400)
    assert len(checks("3")["project"].found) < 150


def test_a_watched_project_is_not_held_against_its_set_up(checks, connect):
    _, tool = connect("3", watch=True)
    tool.checks = lambda url, secret: 1 // 0
    assert "only watched" in checks("3")["project"].found
