"""Who is told elsewhere: each transition once, whatever fails tried again, and no secret in the log. Real servers on this machine."""

from __future__ import annotations

import email
import json
import logging
import re
import socketserver
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import databases
import pytest

from annotriage.errors import SettingError
from annotriage.service.guarantee.pausing import pause, resume
from annotriage.service.operations import notices
from annotriage.service.operations.jobs import told_elsewhere
from annotriage.service.operations.process import own_address
from annotriage.settings import ServiceSettings
from annotriage.states import EventKind, NoticeWay
from annotriage.store import events
from annotriage.store.notices import Notice

SECRET = "hunter2"


class Hook:
    """A webhook. answers: statuses to give before 200; told: (headers, body) of what was taken."""

    def __init__(self):
        self.answers, self.seen, self.told = [], [], []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = hook.answers.pop(0) if hook.answers else 200
                hook.seen.append(self.headers["Idempotency-Key"])
                if status == 200:
                    hook.told.append(body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks/{SECRET}"


class MailServer:
    """A mail server without TLS.

    refusals: so many mails are refused before one is taken; unknown: a recipient that it does not have; mails: those taken; lines: all it
    was told.
    """

    def __init__(self):
        self.refusals, self.unknown, self.mails, self.lines = 0, "nobody@", [], []
        post = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                self.say("220 here")
                while line := self.rfile.readline().decode().rstrip("\r\n"):
                    post.lines.append(line)
                    word = line.split()[0].upper()
                    if word == "EHLO":
                        self.say("250-here\r\n250 AUTH PLAIN")
                    elif word == "AUTH":
                        self.say("235 fine")
                    elif word == "RCPT" and post.unknown in line:
                        self.say("550 unknown")
                    elif word == "DATA" and post.refusals:
                        post.refusals -= 1
                        self.say(f"451 {SECRET} later")
                    elif word == "DATA":
                        self.say("354 go on")
                        content = b""
                        while (part := self.rfile.readline()) != b".\r\n":
                            content += part
                        post.mails.append(email.message_from_bytes(content, policy=email.policy.default))
                        self.say("250 taken")
                    elif word == "QUIT":
                        self.say("221 bye")
                        return
                    else:
                        self.say("250 fine")

            def say(self, text):
                self.wfile.write(text.encode() + b"\r\n")

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"smtp://annotriage:{SECRET}@127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def running():
    started = []

    def running(server):
        threading.Thread(target=server.server.serve_forever, args=(0.01,), daemon=True).start()
        started.append(server.server)
        return server

    yield running
    for server in started:
        server.shutdown()
        server.server_close()


@pytest.fixture
def hook(running):
    return running(Hook())


@pytest.fixture
def post(running):
    return running(MailServer())


@pytest.fixture
def told(process, connect, hook, post, monkeypatch):
    """A project whose notices go to both servers; a function that lets all loops go round until nothing is left to do."""
    monkeypatch.setattr(notices, "BACK_OFF", (0.0,) * 3)
    connect("3")
    settings = replace(process.settings, notice_webhook=hook.url, notice_mail=("ann@example.com", "bob@example.com"), mail_server=post.url)
    process.settings = replace(settings, service_url="https://triage.example.com")
    process.beat()
    loops = told_elsewhere(process)

    def go_round():
        for loop in loops:
            while loop.round():
                pass

    return go_round


def act(process, what, *values):
    with process.store.writing() as connection:
        from annotriage.store.projects import project_of

        what(connection, project_of(connection, "3"), *values)


@databases.both
def test_notices_lead_people_to_the_address_that_people_use(process):
    settings = replace(process.settings, service_url="http://annotriage:9090", public_url="https://triage.example.com/")
    notice = Notice(1, "3", "Digits", EventKind.SOLVED, {}, at=0.0, attempts=0)
    assert notices.contents(settings, notice)["url"] == "https://triage.example.com/projects/3"


def test_each_transition_is_told_once_in_each_way(process, told, hook, post):
    for _ in range(2):
        act(process, pause, "new scanner")
        told()
    act(process, resume)
    told()
    told()
    assert [body["kind"] for body in hook.told] == ["paused", "resumed"]
    assert [mail["Subject"] for mail in post.mails] == ["annotriage: Project 3: paused", "annotriage: Project 3: resumed"]
    first = hook.told[0]
    assert "new scanner" in first["text"]
    assert (first["project"], first["url"]) == ("3", "https://triage.example.com/projects/3")
    assert post.mails[0]["To"] == "ann@example.com, bob@example.com"
    assert "new scanner" in post.mails[0].get_content()


@databases.both
def test_what_fails_is_tried_again_under_the_same_id_and_holds_up_nobody(process, told, hook, post, caplog):
    caplog.set_level(logging.DEBUG)
    hook.answers, post.refusals = [500, 302], 1
    act(process, pause, "new scanner")
    told()
    assert len(hook.told) == len(post.mails) == 1
    assert len(hook.seen) == 3
    assert len(set(hook.seen)) == 1
    assert "the webhook answered 500" in str([record.__dict__.get("fields") for record in caplog.records])
    assert SECRET not in " ".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)


def test_one_recipient_that_is_refused_is_logged_and_the_others_get_one_mail(process, told, post, caplog):
    caplog.set_level(logging.DEBUG)
    post.unknown = "bob@"
    act(process, pause, "new scanner")
    told()
    assert len(post.mails) == 1
    said = " ".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert "mail refused for some" in said
    assert "bob@" not in said


@pytest.mark.parametrize(("host", "address"), [("0.0.0.0", "http://127.0.0.1:1"), ("::1", "http://[::1]:1"), ("host", "http://host:1")])
def test_the_address_that_is_told_can_be_opened(host, address):
    assert own_address(ServiceSettings(host=host, port=1)) == address


def test_one_that_never_arrives_is_given_up_and_others_arrive(process, told, hook, post):
    hook.answers = [500] * 99
    act(process, pause, "new scanner")
    told()
    assert len(hook.seen) == 4  # at once, and after each of three pauses
    hook.answers = []
    act(process, resume)
    told()
    assert [body["kind"] for body in hook.told] == ["resumed"]
    assert len(post.mails) == 2


def test_a_server_that_is_not_there_tells_no_secret(process, told, hook, caplog):
    caplog.set_level(logging.DEBUG)
    hook.server.shutdown()
    hook.server.server_close()
    act(process, pause, "new scanner")
    told()
    said = " ".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert "could not be reached" in said
    assert SECRET not in said


def test_a_password_is_not_sent_without_tls_to_another_machine(process, told, post, monkeypatch):
    monkeypatch.setattr(notices, "_is_here", lambda host: False)
    act(process, pause, "new scanner")
    told()
    assert post.mails == []
    assert not any(line.startswith("AUTH") for line in post.lines)


def test_nobody_is_told_of_what_is_no_matter_or_where_the_settings_name_nobody(process, connect, hook):
    project, _ = connect("3")
    process.beat()
    with process.store.writing() as connection:
        events.note(connection, project.id, EventKind.REPAIRED, what="a webhook")
        assert notices.notices.any_due(connection, list(NoticeWay)) is False
        events.note(connection, project.id, EventKind.RESUMED)
    for loop in told_elsewhere(process):
        loop.round()
    with process.store.reading() as connection:
        assert notices.notices.any_due(connection, list(NoticeWay)) is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("notice_webhook", "javascript:x"),
        ("notice_webhook", "https://"),
        ("notice_mail", "ann"),
        ("notice_mail", "ann@example.com,bob@example.com>\nBcc: eve"),
        ("mail_server", "mail.example.com"),
        ("mail_server", f"http://u:{SECRET}@mail.example.com"),
        ("mail_from", "a b@example.com"),
    ],
)
def test_settings_that_cannot_work_are_refused_and_secrets_not_shown(name, value):
    with pytest.raises(SettingError, match=name) as raised:
        ServiceSettings(**{name: value})
    assert SECRET not in str(raised.value)


def test_mail_needs_a_server():
    with pytest.raises(SettingError, match="mail_server"):
        notices.ways_of(ServiceSettings(notice_mail=("ann@example.com",)))


def test_an_id_is_of_one_notice(process, told, hook):
    act(process, pause, "new scanner")
    act(process, resume)
    told()
    assert len(set(hook.seen)) == 2
    assert all(re.fullmatch(r"annotriage-3-\d+-\d+", id) for id in hook.seen)
