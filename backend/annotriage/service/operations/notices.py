"""Telling people elsewhere, by webhook and mail, what stopped and what goes on again.

A notice is written with its event, in one transaction, and goes once it is told. What fails is tried again with pauses that grow, for about
a day. Nobody can promise that a message arrives exactly once: where an answer was lost, it is sent again under the same id
(`Idempotency-Key`, `Message-ID`), by which receivers know it again. Nothing of an address or a password is ever logged.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import smtplib
import ssl
import time
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3

from annotriage.advice.event_words import event_sentence
from annotriage.advice.page_words import stamp
from annotriage.errors import SettingError
from annotriage.service.operations.log import log
from annotriage.service.operations.process import Process, people_address
from annotriage.settings import ServiceSettings
from annotriage.states import NoticeWay
from annotriage.store import notices
from annotriage.store.notices import Notice

TIMEOUT = 10.0  # seconds for each step of a call
HELD_SECONDS = 120.0  # in which nobody else tries what is being sent
BACK_OFF = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 28800.0)  # seconds, after each failure
PORTS = {"smtp": 25, "smtps": 465}


class NotTold(Exception):
    """A notice did not arrive, for a reason that holds no secret."""


def ways_of(settings: ServiceSettings) -> dict[NoticeWay, Callable[[Notice], None]]:
    """How people are told, by the settings. Raises SettingError if mail has recipients and no server."""
    if settings.notice_mail and not settings.mail_server:
        raise SettingError("setting notice_mail: needs mail_server, the server that takes the mails; as smtp://USER:PASSWORD@HOST:587")
    ways: dict[NoticeWay, Callable[[Notice], None]] = {}
    if settings.notice_webhook:
        ways[NoticeWay.WEBHOOK] = lambda notice: post(settings, notice)
    if settings.notice_mail:
        ways[NoticeWay.MAIL] = lambda notice: mail(settings, notice)
    return ways


def tell(process: Process, way: NoticeWay, send: Callable[[Notice], None]) -> bool:
    """Tell the next one in one way; whether there was any. What fails is put off, or given up in the end."""
    with process.store.reading() as connection:
        if not notices.any_due(connection, [way]):
            return False
    with process.store.writing() as connection:
        notice = notices.take(connection, way, time.time() + HELD_SECONDS)
    if notice is None:
        return False
    about: dict[str, Any] = {"project": notice.project, "way": way, "notice": notice.event_id}
    try:
        send(notice)
    except Exception as error:  # whatever it is: others are told all the same
        why = str(error) if isinstance(error, NotTold) else type(error).__name__
        given_up = notice.attempts >= len(BACK_OFF)
        log("notice given up" if given_up else "notice not sent", level=logging.ERROR if given_up else logging.WARNING, **about, error=why)
        with process.store.writing() as connection:
            if given_up:
                notices.done(connection, way, notice.event_id)
            else:
                notices.put_off(connection, way, notice.event_id, time.time() + BACK_OFF[notice.attempts])
        return True
    with process.store.writing() as connection:
        notices.done(connection, way, notice.event_id)
    log("notice sent", **about)
    return True


def drop_unwanted(process: Process) -> bool:
    """What is to be told in a way that the settings do not have is told to nobody, now or later."""
    with process.store.reading() as connection:
        if not notices.any_due(connection, set(NoticeWay) - set(ways_of(process.settings))):
            return False
    with process.store.writing() as connection:
        notices.drop_others(connection, ways_of(process.settings))
    return False


def post(settings: ServiceSettings, notice: Notice) -> None:
    """Tell the webhook. Raises NotTold."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": _id(notice), "User-Agent": "annotriage"}
    body = json.dumps(contents(settings, notice)).encode()
    timeout = urllib3.Timeout(connect=TIMEOUT, read=TIMEOUT)
    try:
        with urllib3.PoolManager() as pool:
            answer = pool.request(
                "POST", settings.notice_webhook, body=body, headers=headers, timeout=timeout, retries=False, preload_content=False
            )
            status = answer.status
            answer.close()
    except urllib3.exceptions.HTTPError as error:  # its text holds the address
        raise NotTold(f"the webhook could not be reached ({type(error).__name__})") from None
    if not 200 <= status < 300:
        raise NotTold(f"the webhook answered {status}")


def mail(settings: ServiceSettings, notice: Notice) -> None:
    """Send the mail. Raises NotTold."""
    server = urlsplit(settings.mail_server)
    host, port = str(server.hostname), server.port or PORTS[server.scheme]
    said = contents(settings, notice)
    message = EmailMessage()
    message["Subject"] = f"annotriage: {said['title']}: {said['kind']}"
    message["From"] = settings.mail_from or f"annotriage@{host}"
    message["To"] = ", ".join(settings.notice_mail)
    message["Message-ID"] = f"<{_id(notice)}@annotriage>"
    message.set_content(f"{said['text']}\n\nProject {said['project']}, {said['title']}, at {said['at']}\n{said['url']}\n")
    try:
        with _connected(server.scheme, host, port) as connection:
            connection.ehlo()
            if server.scheme == "smtp" and connection.has_extn("starttls"):
                connection.starttls(context=ssl.create_default_context())
                connection.ehlo()
            elif server.scheme == "smtp" and server.password and not _is_here(host):
                raise NotTold("the mail server offers no TLS, and a password is not sent without; use smtps://, or another server")
            if server.username:
                connection.login(unquote(server.username), unquote(server.password or ""))
            refused = connection.send_message(message)
    except smtplib.SMTPResponseException as error:  # its text may repeat what was sent
        raise NotTold(f"the mail server answered {error.smtp_code}") from None
    except (OSError, smtplib.SMTPException) as error:
        raise NotTold(f"the mail could not be sent ({type(error).__name__})") from None
    if refused:  # others have it: sent again, they would get it twice
        log("mail refused for some", level=logging.WARNING, notice=notice.event_id, recipients=len(refused), of=len(settings.notice_mail))


def contents(settings: ServiceSettings, notice: Notice) -> Mapping[str, Any]:
    """What is told, by name; `text` is what chats show."""
    title = " ".join(notice.title.split())[:200]
    return {
        "id": notice.event_id,
        "project": notice.project,
        "title": title,
        "kind": notice.kind.value,
        "text": f"{title}: {notice.kind.value}: {event_sentence(notice.kind, notice.facts)}",
        "at": stamp(notice.at),
        "url": f"{people_address(settings)}/projects/{notice.project}",
    }


def _connected(scheme: str, host: str, port: int) -> smtplib.SMTP:
    if scheme == "smtps":
        return smtplib.SMTP_SSL(host, port, timeout=TIMEOUT, context=ssl.create_default_context())
    return smtplib.SMTP(host, port, timeout=TIMEOUT)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _id(notice: Notice) -> str:
    """The same however often it is sent, and of no other: events count up within a database, projects differ between databases."""
    return f"annotriage-{notice.project}-{notice.event_id}-{int(notice.at)}"
