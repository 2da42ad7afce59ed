"""Setting up a project for the service, and taking it back: webhook, ML backend, order of labeling, tabs, a line in the description.

Everything may be done again: what is there is found and mended, nothing is doubled, nothing that people chose is touched but the
order of labeling. What that was before lies in the ML backend's parameters, too, for whoever has lost the service's database.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from annotriage.errors import ToolError
from annotriage.labeling_tool import SECRET_HEADER, Before
from annotriage_label_studio.editor.labeling_config import ChoicesControl
from annotriage_label_studio.server import delivery, listing
from annotriage_label_studio.server.client import Client
from annotriage_label_studio.server.review_queue import remove_tabs, sentence, set_up_tabs
from annotriage_label_studio.webhooks import ACTIONS

if TYPE_CHECKING:
    from label_studio_sdk.types import LseProjectResponse as Project
    from label_studio_sdk.types import MlBackend, Webhook

TITLE = "annotriage"  # of the ML backend; with the version as title, every next task would wait for /health and /setup
SAMPLING = "Uncertainty sampling"  # by ascending score of the version shown; it honours locks
DEFAULT_SAMPLING = "Sequential sampling"
REMEMBERED = "annotriage"  # key in the ML backend's extra parameters
NONE_OF_THESE = "none-of-these"
PROGRESS = 200  # tasks between two lines in the log
LINE = "[annotriage] Why tasks wait, and how the queue stands:"  # begins our line in the project's description
PARAGRAPH = "\n\n"
OUR_LINE = re.compile(rf"(?:\A|{PARAGRAPH}|^){re.escape(LINE)}[^\n]*", re.MULTILINE)

T = TypeVar("T")
log = logging.getLogger(__name__)


def connect(
    client: Client,
    project: Project,
    control: ChoicesControl,
    url: str | None,
    user: str,
    password: str,
    secret: str,
    page: str,
    *,
    dry_run: bool,
) -> list[str]:
    """Set up a project, or mend it: what was (dry_run: is to be) done, in sentences.

    url: of the service; None where Label Studio is not to call it: then there is neither webhook nor ML backend. page: as of
    ToolProject.connect. The webhook comes first: the server then adds none of its own, without credentials, for the ML backend. Raises
    ToolError with the fix if the server refuses the service's address or does not reach it.
    """
    id = str(project.id)
    if url is None:
        done = _stop_calls(client, id, dry_run)
    else:
        url = url.rstrip("/")
        done = _connect_webhook(client, id, url, secret, dry_run)
        done += _connect_backend(client, project, url, user, password, dry_run)
    done += _order_by_trust(client, project, dry_run)
    done += _describe(client, project, page, dry_run)
    done += set_up_tabs(client, project, control.field, opening=True, dry_run=dry_run)
    return done + advice(client, project, control)


def disconnect(
    client: Client, project: Project, url: str, versions: Sequence[str], fields: Sequence[str], before: Before | None
) -> list[str]:
    """Take back what `connect` and the service did: what was done, in sentences. Labels that people gave stay.

    What says how the project was goes last, so that this may break off anywhere and be done again. before: as of ToolProject.disconnect.
    """
    id = str(project.id)
    url = url.rstrip("/")
    webhooks, backends = our_webhooks(client, id, url), our_backends(client, id, url)
    kept = [found for found in (before, *map(_remembered, backends)) if found is not None]
    ours = bool(kept or webhooks or backends)
    done = []
    for webhook in webhooks:
        client.sdk.webhooks.delete(_id(webhook))
        done.append(sentence(f"Webhook at {webhook.url}", "removed"))
    done += remove_tabs(client, id, changed=ours)
    done += _describe(client, project, "", False)
    if ours and project.sampling == SAMPLING:
        sampling = next((found.order for found in kept if found.order), DEFAULT_SAMPLING)
        if sampling != SAMPLING:
            client.sdk.projects.update(int(id), sampling=sampling)
            done.append(sentence("Order of labeling", f"set back to {sampling!r}"))
    existing = delivery.versions(client, id)
    for version in versions:
        if existing.pop(version, 0):
            delivery.delete_version(client, id, version)
            done.append(sentence(f"Predictions of {version!r}", "removed"))
    done += _remove_fields(client, id, fields)
    done += _remove_backends(client, backends)
    shown = next((version for version in (project.model_version, *(found.version for found in kept)) if version in existing), "")
    if ours and (client.sdk.projects.get(int(id)).model_version or "") != shown:
        client.sdk.projects.update(int(id), model_version=shown)
        done.append(sentence("Predictions shown", f"set back to {shown!r}" if shown else "set back to none"))
    return done


def repair(client: Client, project: Project, control: ChoicesControl) -> list[str]:
    """Set the tabs and the order of labeling right again: what was done, in sentences."""
    tabs = set_up_tabs(client, project, control.field, opening=False)
    return _order_by_trust(client, project, False) + tabs


def advice(client: Client, project: Project, control: ChoicesControl) -> list[str]:
    """What the service does not change and people might want to, in sentences."""
    notes = []
    if not project.task_number:
        notes.append("Note: the tabs are made by the running service as soon as the project has tasks; without any, they cannot be opened.")
    if "$triage_" in (project.label_config or ""):
        notes.append(
            "Note: the labeling config refers to a field $triage_...: Label Studio then refuses every import of tasks that lack it."
            " Take it out; the fields stand in the tabs and beside the task."
        )
    if NONE_OF_THESE not in {name for choice in control.choices for name in choice.names}:
        notes.append(
            f"Note: no choice says that none of them fits. For what fits nowhere add, for example,"
            f' <Choice value="None of these" alias="{NONE_OF_THESE}"/> to the control {control.name!r}.'
        )
    others = [backend for backend in _backends(client, str(project.id)) if backend.title != TITLE]
    if others:
        notes.append(
            f"Note: the project has another ML backend, {others[0].title!r} at {others[0].url}; Label Studio asks only the one that"
            " was connected first. Predictions are delivered all the same; delete it in the project's Settings, Model, if it is not needed."
        )
    return notes


def our_webhooks(client: Client, project: str, url: str) -> list[Webhook]:
    """The project's webhooks that call the service, ours first; one without our header was made by the server for an ML backend."""
    webhooks: list[Webhook] = client.sdk.webhooks.list(project=project)
    ours = [webhook for webhook in webhooks if _has_secret(webhook) or webhook.url == f"{url}/webhook"]
    return sorted(ours, key=lambda webhook: not _has_secret(webhook))


def our_backends(client: Client, project: str, url: str) -> list[MlBackend]:
    """The project's ML backends that are the service."""
    return [backend for backend in _backends(client, project) if backend.title == TITLE or backend.url.rstrip("/") == url]


def _backends(client: Client, project: str) -> list[MlBackend]:
    backends: list[MlBackend] = client.sdk.ml.list(project=int(project))
    return backends


def webhook_settings(url: str, secret: str) -> dict[str, Any]:
    """Our webhook as the server keeps it. Every change must repeat all of it: the server forgets actions that are not repeated."""
    return {
        "url": f"{url}/webhook",
        "send_payload": True,
        "send_for_all_actions": False,
        "is_active": True,
        "headers": {SECRET_HEADER: secret},
        "actions": sorted(ACTIONS),
    }


def differs(found: Webhook | MlBackend, wanted: Mapping[str, Any]) -> list[str]:
    """The settings in which what was found is not as wanted."""
    there = {name: getattr(found, name) for name in wanted}
    return [name for name, value in wanted.items() if (sorted(there[name] or ()) if name == "actions" else there[name]) != value]


def _stop_calls(client: Client, project: str, dry_run: bool) -> list[str]:
    done = []
    for webhook in our_webhooks(client, project, ""):
        done.append(sentence(f"Webhook at {webhook.url}", "removed", dry_run))
        if not dry_run:
            client.sdk.webhooks.delete(_id(webhook))
    return done + _remove_backends(client, our_backends(client, project, ""), dry_run)


def _remove_backends(client: Client, backends: Sequence[MlBackend], dry_run: bool = False) -> list[str]:
    for backend in [] if dry_run else backends:
        client.sdk.ml.delete(_id(backend))
    return [sentence(f"ML backend at {backend.url}", "removed", dry_run) for backend in backends]


def _connect_webhook(client: Client, project: str, url: str, secret: str, dry_run: bool) -> list[str]:
    wanted = webhook_settings(url, secret)
    found = our_webhooks(client, project, url)
    done = []
    if not found:
        done.append(sentence(f"Webhook at {wanted['url']}", "added", dry_run))
        if not dry_run:
            _calling(url, lambda: client.sdk.webhooks.create(project=int(project), **wanted))
    elif wrong := differs(found[0], wanted):
        done.append(sentence(f"Webhook at {wanted['url']}", f"mended ({', '.join(wrong)})", dry_run))
        if not dry_run:
            _calling(url, lambda: client.sdk.webhooks.update(_id(found[0]), **wanted))
    for other in found[1:]:
        done.append(sentence(f"Another webhook at {other.url}, which would tell everything twice", "removed", dry_run))
        if not dry_run:
            client.sdk.webhooks.delete(_id(other))
    return done


def _connect_backend(client: Client, project: Project, url: str, user: str, password: str, dry_run: bool) -> list[str]:
    id = int(project.id or 0)
    wanted: dict[str, Any] = {"url": url, "title": TITLE, "auth_method": "BASIC_AUTH", "basic_auth_user": user}
    sent = wanted | {"project": id, "basic_auth_pass": password}
    found = our_backends(client, str(id), url)
    done = []
    if not found:
        done.append(sentence(f"ML backend {TITLE!r} at {url}", "added", dry_run))
        if not dry_run:
            before = {"sampling": project.sampling, "model_version": project.model_version or ""}
            described = {"description": "Triage of tasks by annotriage.", "extra_params": {REMEMBERED: before}}
            _calling(url, lambda: client.sdk.ml.create(**sent, **described))
            if before["model_version"] in delivery.versions(client, str(id)):  # the server names the backend's title instead
                client.sdk.projects.update(id, model_version=before["model_version"])
    else:
        wrong = differs(found[0], wanted)
        if wrong or found[0].state != "CO":
            done.append(sentence(f"ML backend {TITLE!r} at {url}", f"mended ({', '.join(wrong) or found[0].readable_state})", dry_run))
        if not dry_run:  # the password cannot be read, so it is sent again
            _calling(url, lambda: client.sdk.ml.update(_id(found[0]), **sent))
    for other in found[1:]:
        done.append(sentence(f"Another ML backend at {other.url}", "removed", dry_run))
        if not dry_run:
            client.sdk.ml.delete(_id(other))
    return done


def _order_by_trust(client: Client, project: Project, dry_run: bool) -> list[str]:
    if project.sampling == SAMPLING:
        return []
    if not dry_run:
        client.sdk.projects.update(int(project.id or 0), sampling=SAMPLING)
    return [sentence(f"Order of labeling, {project.sampling!r} so far", f"set to {SAMPLING!r}, the strangest first", dry_run)]


def _describe(client: Client, project: Project, page: str, dry_run: bool) -> list[str]:
    """Let one line of the description lead to the dashboard, below what people wrote; without a page, none."""
    before = project.description or ""
    after = described(before, page)
    if after == before:
        return []
    if not dry_run:
        client.sdk.projects.update(int(project.id or 0), description=after)
    had = LINE in before
    return [sentence("Line in the project's description", "removed" if not page else "renewed" if had else "added", dry_run)]


def described(description: str, page: str) -> str:
    """A description with our line as its last, or without it where page is ""; what people wrote stays as it is, to the letter."""
    theirs = OUR_LINE.sub("", description)
    if not page:
        return theirs
    return f"{theirs}{PARAGRAPH if theirs else ''}{LINE} {page}"


def _id(found: Webhook | MlBackend) -> int:
    """The id, which all that the server gives has; only the SDK's types let it be missing."""
    assert found.id is not None
    return found.id


def _has_secret(webhook: Webhook) -> bool:
    return SECRET_HEADER in (webhook.headers or {})


def _remembered(backend: MlBackend) -> Before | None:
    kept = (backend.extra_params or {}).get(REMEMBERED)
    return Before(str(kept.get("model_version", "")), str(kept.get("sampling", ""))) if isinstance(kept, dict) else None


def _calling(url: str, call: Callable[[], T]) -> T:
    """A call upon which Label Studio looks at the service's address. Raises ToolError that says what to do about it.

    Which of its reasons it was, Label Studio tells in words alone: its answers carry no code.
    """
    try:
        return call()
    except ToolError as error:
        if "reserved network address" in str(error) or "resolves to" in str(error):
            raise ToolError(refused_address(url)) from error
        if "health check failed" in str(error) or "connect to ML backend" in str(error):
            raise ToolError(
                f"Label Studio does not reach this service at {url}, or is not answered there. Start `annotriage serve` first; if it"
                " runs on another machine or in another container, set service_url to an address that Label Studio reaches"
            ) from error
        raise


def refused_address(url: str) -> str:
    """What to do when Label Studio takes no loopback or private address."""
    return (
        f"Label Studio refuses to call {url}: by default it takes no loopback or private address. Start Label Studio with"
        " ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false in its environment (docker compose: `environment` of its service), set"
        " service_url to a public address of this service, or connect with --calls off: Label Studio then calls nobody, and everything"
        " works by polling but for this: a task that is opened before it is triaged shows no prediction, and new tasks are seen some"
        " seconds later"
    )


def _remove_fields(client: Client, project: str, fields: Sequence[str]) -> list[str]:
    """Take our fields out of all tasks, one at a time: the server has no bulk call for it and takes 50 to 150 ms for each."""
    pages = listing.tasks_after(client, project, "")
    tasks = (task for page in pages for task in page) if fields else ()
    carrying = [(str(task["id"]), [name for name in fields if name in task.get("data", ())]) for task in tasks]
    carrying = [(task, names) for task, names in carrying if names]
    for number, (task, names) in enumerate(carrying, start=1):
        delivery.write_fields(client, project, task, dict.fromkeys(names))
        if number % PROGRESS == 0:
            log.info("project %s: triage fields removed from %d of %d tasks", project, number, len(carrying))
    return [sentence(f"Triage fields, in {len(carrying):,} {'task' if len(carrying) == 1 else 'tasks'}", "removed")] if carrying else []
