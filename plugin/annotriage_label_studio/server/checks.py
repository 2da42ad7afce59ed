"""What `annotriage doctor` looks at in Label Studio: the server, the token, and all that `connect` sets up in a project."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from annotriage.errors import SettingError, ToolError, ToolRefused
from annotriage.labeling_tool import Check
from annotriage_label_studio.server import connect, delivery, listing
from annotriage_label_studio.server.client import Client
from annotriage_label_studio.server.review_queue import missing_tabs

if TYPE_CHECKING:
    from label_studio_sdk.types import LseProjectResponse as Project

NEW_TOKEN = "Copy a personal access token of annotriage's own account into label_studio_token."
AGAIN = "Run annotriage connect --project {id} again."
LISTED = 5  # ids in a line


def server_checks(client: Client) -> list[Check]:
    """Whether the server is there, of a version that was tried, and takes the token."""
    try:
        version = client.sdk.versions.get().release
    except SettingError as error:  # there is no token to ask with
        return [Check("server", None, "not looked at"), Check("token", False, str(error))]
    except ToolRefused as error:
        return [Check("server", True, f"Label Studio answers at {client.url}"), Check("token", False, str(error), NEW_TOKEN)]
    except ToolError as error:
        return [Check("server", False, str(error), "Set label_studio_url, and start Label Studio."), Check("token", None, "not looked at")]
    checks = [Check("server", True, f"Label Studio {version} at {client.url}")]
    return [*checks, _checked("token", lambda: _token(client))]


def project_checks(client: Client, project: Project, problem: str | None, url: str | None, secret: str) -> list[Check]:
    """A project's set-up. problem: why the model's classes do not fit its labeling config. url: None where Label Studio calls nobody."""
    calls: list[tuple[str, Callable[[], Check]]] = [("calls", lambda: _no_calls(client, project))]
    if url is not None:
        here = url.rstrip("/")
        calls = [("webhook", lambda: _webhook(client, project, here, secret)), ("ML backend", lambda: _backend(client, project, here))]
    looks: list[tuple[str, Callable[[], Check]]] = [
        ("labeling config", lambda: _config(project, problem)),
        *calls,
        ("version shown", lambda: _version(client, project)),
        ("order of labeling", lambda: _order(project)),
        ("tabs", lambda: _tabs(client, project)),
        ("empty annotations", lambda: _empty_annotations(client, project)),
    ]
    return [_checked(name, look) for name, look in looks] + list(_settings(project))


def _checked(name: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except ToolError as error:
        return Check(name, None, f"could not be looked at: {error}")


def _token(client: Client) -> Check:
    try:
        user = client.sdk.users.whoami()
    except ToolRefused as error:
        return Check("token", False, str(error), NEW_TOKEN)
    return Check("token", True, f"accepted; annotriage works as {user.email}")


def _config(project: Project, problem: str | None) -> Check:
    name = "labeling config"
    if problem is not None:
        return Check(
            name,
            False,
            problem,
            f"Change it in Label Studio under {_place(project, 'Labeling Interface')}; deliveries go on by themselves.",
        )
    if "$triage_" in (project.label_config or ""):
        found = "it refers to a field $triage_...: every import of tasks without that field is refused"
        return Check(name, False, found, f"Take it out under {_place(project, 'Labeling Interface')}; the fields stand in the tabs.")
    return Check(name, True, "every class of the model has its choice")


def _webhook(client: Client, project: Project, url: str, secret: str) -> Check:
    found = connect.our_webhooks(client, str(project.id), url)
    fix = AGAIN.format(id=project.id)
    if not found:
        return Check("webhook", False, "none that calls this service: new tasks are seen by polling only, a few seconds later", fix)
    wrong = connect.differs(found[0], connect.webhook_settings(url, secret))
    if wrong:
        return Check("webhook", False, f"at {found[0].url}, with {', '.join(wrong)} not as set up", fix)
    if len(found) > 1:
        return Check("webhook", False, f"{len(found)} of them tell this service everything several times", fix)
    return Check("webhook", True, f"at {found[0].url}, all actions")


def _no_calls(client: Client, project: Project) -> Check:
    left = [webhook.url for webhook in connect.our_webhooks(client, str(project.id), "")]
    left += [backend.url for backend in connect.our_backends(client, str(project.id), "")]
    if left:
        return Check("calls", False, f"Label Studio is not to call this service, but does: {left[0]}", AGAIN.format(id=project.id))
    return Check("calls", True, "none: everything is polled, and a task that is opened before it is triaged shows no prediction")


def _backend(client: Client, project: Project, url: str) -> Check:
    found = connect.our_backends(client, str(project.id), url)
    fix = AGAIN.format(id=project.id)
    if not found:
        return Check("ML backend", False, "none that is this service: tasks opened before they are triaged have no prediction", fix)
    backend = found[0]
    if backend.url.rstrip("/") != url:
        return Check("ML backend", False, f"it is at {backend.url}, but this service at {url}", fix)
    if backend.state != "CO":
        trouble = backend.error_message or ""
        if "reserved" in trouble or "resolves to" in trouble:
            return Check("ML backend", False, "Label Studio takes no loopback or private address", connect.refused_address(url) + ".")
        return Check("ML backend", False, f"{backend.readable_state}: {trouble[:300]}", f"Is `annotriage serve` running at {url}? {fix}")
    return Check("ML backend", True, f"connected, at {url}")


def _version(client: Client, project: Project) -> Check:
    """Scores, tabs and order of labeling go by predictions of the version shown alone."""
    shown, existing = project.model_version or "", delivery.versions(client, str(project.id))
    if not existing:
        return Check("version shown", True, "no predictions yet")
    if shown in existing:
        return Check("version shown", True, f"{shown!r}, of which there are {existing[shown]:,} predictions")
    found = (
        f"the project shows {shown!r}, but predictions are of {', '.join(map(repr, list(existing)[:LISTED]))}: scores and tabs stay empty"
    )
    fix = f"The running service sets it right within a minute; otherwise choose the version under {_place(project, 'Annotation')}."
    return Check("version shown", False, found, fix)


def _order(project: Project) -> Check:
    if project.sampling == connect.SAMPLING:
        hint = (
            "several people: use the Label button, which gives each another task; `Label Tasks As Displayed` in a tab is for one at a time"
        )
        return Check("order of labeling", True, f"the strangest first ({hint})")
    found = f"{project.sampling!r}: the Label button does not begin with the strangest"
    return Check("order of labeling", False, found, AGAIN.format(id=project.id))


def _tabs(client: Client, project: Project) -> Check:
    if not project.task_number:
        return Check("tabs", True, "made by the running service as soon as the project has tasks")
    missing, broken = missing_tabs(client, str(project.id))
    if missing or broken:
        states = [*(f"{title!r} is missing" for title in missing), *(f"{title!r} does not open" for title in broken)]
        return Check("tabs", False, ", ".join(states), AGAIN.format(id=project.id))
    return Check("tabs", True, "all there, and they open")


def _empty_annotations(client: Client, project: Project) -> Check:
    """Submitted without an answer, or made in bulk of empty predictions: the task counts as labelled, with nothing."""
    found = listing.tasks_answered_empty(client, str(project.id))
    if not found:
        return Check("empty annotations", True, "none")
    tasks = ", ".join(str(task["id"]) for task in found[:LISTED]) + (", ..." if len(found) > LISTED else "")
    text = f"{len(found):,} tasks count as labelled, but with an empty answer (tasks {tasks}): they resolve nothing"
    return Check(
        "empty annotations", False, text, "Delete these annotations in Label Studio, or answer the tasks; the dashboard lists them."
    )


def _settings(project: Project) -> Iterator[Check]:
    """Settings of the project that work against the service; nothing is said where they do not."""
    if not project.show_collab_predictions:
        found = "predictions are hidden from annotators, so nothing is pre-annotated"
        yield Check("predictions", False, found, f"Switch on `Use predictions to prelabel tasks` under {_place(project, 'Annotation')}.")
    if project.evaluate_predictions_automatically:
        found = "every page of the task list waits for predictions of the tasks on it"
        fix = f'PATCH {{"evaluate_predictions_automatically": false}} to /api/projects/{project.id}/; predictions are delivered anyway.'
        yield Check("automatic evaluation", False, found, fix)


def _place(project: Project, page: str) -> str:
    return f"the project's Settings, {page} (project {project.id})"
