"""The commands of the service: settings from everywhere but secrets on the command line, figures as JSON, errors with their fix."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from annotriage.cli import main
from annotriage.labeling_tool import Task
from annotriage.settings import SERVICE_SETTINGS
from annotriage.store import Store, items
from annotriage.store.projects import project_of


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command in a folder of its own: exit status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*words, **environment):
        result = CliRunner().invoke(main, list(words), env={"ANNOTRIAGE_LABEL_STUDIO_TOKEN": "unused", **environment})
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    return run


@pytest.fixture
def connected(connect, process):
    """The environment of commands on a database with a connected project."""
    connect("3")
    return {"ANNOTRIAGE_DATABASE": process.settings.database}


@pytest.mark.parametrize("command", ["serve", "connect"])
def test_every_setting_is_an_option_except_secrets(command):
    options = {name for parameter in main.commands[command].params for name in parameter.opts}
    for field in SERVICE_SETTINGS:
        assert (f"--{field.name.replace('_', '-')}" in options) == (not field.metadata["secret"]), field.name


def test_the_password_is_made_once_unless_it_is_set(run, connected):
    status, first, _ = run("password", **connected)
    assert status == 0
    assert len(first.strip()) >= 24
    assert run("password", **connected)[1] == first
    assert run("password", ANNOTRIAGE_PASSWORD="chosen")[1] == "chosen\n"


@pytest.mark.parametrize("words", [("people", "add", "ann"), ("people", "remove", "ann"), ("pause", "--project", "3"), ("password",)])
def test_a_full_disk_is_an_error_with_its_cause(run, connected, disk_of, words):
    assert run("people", "add", "ann", **connected)[0] == 0
    with disk_of(1000):
        status, _, err = run(*words, **connected)
    assert (status, "is there room on its disk?" in err) == (1, True), err


@pytest.mark.parametrize("words", [("password",), ("status",), ("doctor",), ("pause", "--project", "3"), ("disconnect", "--project", "3")])
def test_a_command_in_the_wrong_folder_makes_no_second_database(run, tmp_path, words):
    status, out, err = run(*words)
    assert status == 1
    assert f"there is no database {tmp_path / 'annotriage.db'}" in out + err
    assert "--config" in out + err
    assert list(tmp_path.iterdir()) == []


def test_a_command_in_another_folder_finds_the_services_database_by_its_settings(run, tmp_path, monkeypatch):
    folder, elsewhere = tmp_path / "service", tmp_path / "elsewhere"
    for made in (folder, elsewhere):
        made.mkdir()
    (folder / "annotriage.toml").write_text("port = 9091\n")
    Store(f"sqlite:///{folder / 'annotriage.db'}").close()
    monkeypatch.chdir(folder)
    _, there, _ = run("password")
    monkeypatch.chdir(elsewhere)
    assert run("password", "--config", str(folder / "annotriage.toml"))[1] == there
    assert list(elsewhere.iterdir()) == []


def test_the_file_in_the_current_folder_is_taken_and_the_environment_wins(run, tmp_path):
    (tmp_path / "annotriage.toml").write_text('password = "from the file"\n')
    assert run("password")[1] == "from the file\n"
    assert run("password", ANNOTRIAGE_PASSWORD="from outside")[1] == "from outside\n"
    (tmp_path / "other.toml").write_text('password = "from another"\n')
    assert run("password", "--config", "other.toml")[1] == "from another\n"


def test_status_says_how_projects_stand(run, connected):
    status, out, _ = run("status", **connected)
    assert status == 0
    assert "Project 3, 'Project 3'" in out
    assert "nothing judged yet" in out
    status, out, _ = run("status", "--project", "3", "--json", **connected)
    assert json.loads(out)[0]["project"]["queue"] == 0


def test_status_says_what_keeps_the_service_from_label_studio_in_a_shell_without_its_token(run, connected, process):
    process.trouble = "token: answered 401."
    process.beat()
    status, out, _ = run("status", **connected, ANNOTRIAGE_LABEL_STUDIO_TOKEN="")
    assert status == 0
    assert "The running service cannot use the labeling tool: token: answered 401." in out


def test_status_of_a_service_without_projects_says_how_to_connect_one(run, process):
    process.trouble = "token: answered 401."
    process.beat()
    said = run("status", ANNOTRIAGE_DATABASE=process.settings.database)[1].splitlines()
    assert said[0] == "The running service cannot use the labeling tool: token: answered 401."
    assert "annotriage connect" in said[1]


def test_pause_and_resume_tell_what_they_did(run, connected):
    assert "are paused" in run("pause", "--project", "3", "--reason", "new scanner", **connected)[1]
    assert "paused by a person: new scanner" in run("status", **connected)[1]
    assert "may be automatic again" in run("resume", "--project", "3", **connected)[1]


@pytest.mark.parametrize("command", ["pause", "resume", "disconnect", "status"])
def test_a_project_that_is_not_connected_is_an_error_with_its_fix(run, connected, command):
    status, _, err = run(command, "--project", "7", **connected)
    assert status == 1
    assert "annotriage connect --project 7" in err


def test_doctor_exits_with_1_if_anything_is_wrong(run, tmp_path):
    (tmp_path / "annotriage.toml").write_text("prot = 1\n")
    status, out, _ = run("doctor")
    assert status == 1
    assert "WRONG  settings: annotriage.toml, line 1: no setting is called 'prot'; did you mean port?" in out
    status, out, _ = run("doctor", "--json")
    assert status == 1
    assert json.loads(out)[0]["ok"] is False


def test_doctor_exits_with_0_if_nothing_is(run, connected, process, server, monkeypatch):
    from annotriage.store import work

    monkeypatch.setattr(process.tool, "connect_server", lambda _settings: server)
    with process.store.writing() as connection:
        for role in ("web", "worker", "jobs"):
            work.beat(connection, role, role, "elsewhere", 1)
    status, out, _ = run("doctor", **connected)
    assert "All is well." in out
    assert status == 0


def test_connect_needs_a_reference_that_is_one(run, tmp_path):
    status, _, err = run("connect", "--project", "3", "--reference", str(tmp_path))
    assert status == 1
    assert str(tmp_path) in err


def test_long_sentences_are_said_once_however_many_projects_they_hold_for(run, connect, process):
    for id in ("3", "4"):
        connect(id)
    status, out, _ = run("status", ANNOTRIAGE_DATABASE=process.settings.database)
    assert status == 0
    assert out.count("People's labels are taken as truth") == 1
    assert "  as above: At most 4 in 100 automatic labels" in out


def test_a_backup_is_put_back_by_one_command_each(run, connected, process, tmp_path):
    status, out, _ = run("backup", "kept", "--quiet", **connected)
    assert status == 0
    assert "kept: 1 projects, " in out
    elsewhere = {"ANNOTRIAGE_DATABASE": f"sqlite:///{tmp_path}/elsewhere.db"}
    status, out, _ = run("restore", "kept", "--quiet", **elsewhere)
    assert status == 0
    assert "1 projects, " in out
    assert "Project 3, 'Project 3'" in run("status", **elsewhere)[1]
    status, _, err = run("restore", "kept", "--quiet", **elsewhere)
    assert status == 1
    assert "--force" in err


def test_export_writes_every_label_with_where_it_comes_from(run, connected, process, tmp_path):
    with process.store.writing() as connection:
        items.add_tasks(connection, project_of(connection, "3"), [Task("7", "http://host/7.png")])
    status, out, _ = run("export", "--project", "3", "--out", "labels.jsonl", **connected)
    assert (status, "labels.jsonl: 1 items." in out) == (0, True)
    (line,) = (tmp_path / "labels.jsonl").read_text().splitlines()
    found = json.loads(line)
    assert (found["task"], found["source"], found["label"], found["by"]) == ("7", "nobody", None, [])
    status, _, err = run("export", "--project", "3", "--out", "labels.jsonl", **connected)
    assert (status, "--replace" in err) == (1, True)


def test_erase_says_what_remains(run, connected, process):
    with process.store.writing() as connection:
        items.add_tasks(connection, project_of(connection, "3"), [Task("7", "http://host/7.png")])
    status, out, _ = run("erase", "--project", "3", "--item", "7", "--item", "8", **connected)
    assert status == 0
    assert out.startswith("1 item erased.\nNot known here: 8\nThe labeling tool still has task 7 ")
    assert run("erase", "--project", "3", "--item", "7", **connected)[0] == 1


def test_accounts_are_given_listed_and_taken(run, connected, tmp_path):
    status, out, _ = run("people", "add", "ann", "--role", "decide", **connected)
    assert status == 0
    assert out.startswith("ann may decide.\nPassword, shown this once: ")
    assert run("people", "add", "bob", "--no-password", **connected)[1] == "bob may look.\n"
    assert run("people", "list", **connected)[1].splitlines()[1:] == ["ann: decide", "bob: look, signed in by the proxy"]
    assert run("people", "remove", "ann", **connected)[0] == 0
    assert run("people", "remove", "ann", **connected)[0] == 1
    assert run("people", "log", "--out", "deeds.csv", **connected)[0] == 0
    assert [line.split(",")[3:5] for line in (tmp_path / "deeds.csv").read_text().splitlines()[1:]] == [
        ["remove account", "ann"],
        ["set account", "bob: look"],
        ["set account", "ann: decide"],
    ]


def test_people_says_how_well_they_answer_and_sets_known_answers_aside(run, connected, process, server, monkeypatch, tmp_path):
    monkeypatch.setattr(process.tool, "connect_server", lambda _settings: server)
    status, out, _ = run("people", "--project", "3", **connected)
    assert (status, out.splitlines()[0]) == (0, "People have answered nothing here yet. What they answer is compared as it comes in.")
    with process.store.writing() as connection:
        items.add_tasks(connection, project_of(connection, "3"), [Task("7", "http://host/7.png")])
    (tmp_path / "known.csv").write_text("task,label\n7,3\n8,3\n")
    status, out, _ = run("people", "--project", "3", "--gold", "known.csv", "--json", **connected)
    told = json.loads(out)
    assert (status, told["gold"]["waiting"], told["agreement"]["alpha"], told["blind"]["n"]) == (0, 1, None, 0)
    assert told["done"] == ["1 known answer kept.", "1 left out: no task of that number is here."]
    (tmp_path / "known.csv").write_text("id,label\n7,3\n")
    status, _, err = run("people", "--project", "3", "--gold", "known.csv", **connected)
    assert status == 1
    assert "must name the columns task and label" in err
