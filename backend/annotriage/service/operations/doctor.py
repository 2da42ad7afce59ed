"""What is wrong with a set-up, line by line, each with what to change.

Looks at the settings, the database, the running processes, the labeling tool's server, and at everything about each project.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Connection

from annotriage.advice.guarantee_words import awaited
from annotriage.advice.numbers import count
from annotriage.advice.state_words import why_paused
from annotriage.errors import AnnotriageError, SettingError, StoreError
from annotriage.labeling_tool import Check
from annotriage.service.guarantee.decisions import is_alone
from annotriage.service.guarantee.spot_checks import DAY, OLDEST_DAYS, SKEW_SECONDS, standing
from annotriage.service.operations.process import VISITORS, Process
from annotriage.settings import ServiceSettings
from annotriage.states import Failure, SpotCheckState
from annotriage.store import DATABASE_TROUBLE, browsing, deliveries, inbox, jobs, spot_checks, work
from annotriage.store.database import cause
from annotriage.store.projects import Project, projects

LOOKED_AT = 500  # failed items, of which kinds are told apart
UNLISTED = 50  # tasks that the labeling tool fails to show, which are all named: lists stay empty while one of them is there
KINDS = 3  # of failures that are shown
PILED_UP = 100  # webhooks that nobody has read: somebody should have
UNTOLD_SECONDS = 60.0  # after an import its webhook is there, even if the clocks differ
LATE_BEAT_SECONDS = 15.0  # since a process gave its last sign of life
LATE_SECONDS = 120.0  # since the labeling tool was last read
NOTED_SECONDS = 60.0  # the same, from which on it is said, though it may go on by itself
LATE_POLLS = 10  # that are missed at least, where it is seldom read
LISTED = 5  # tasks in a line
TOLD_DAYS = 7.0  # for which a job that failed is told
NAME = 60  # characters of a project's name
RESTART = "It has its token and address from where annotriage serve is started, not from this shell; changed ones hold from its next start."


def examine(load: Callable[[], ServiceSettings], config: Path | None = None) -> Iterator[tuple[str, Check]]:
    """All checks, each with the part that it belongs to: "service", or a project's id. load: reads the settings."""
    try:
        settings = load()
    except SettingError as error:
        yield "service", Check("settings", False, str(error), "Correct it there; docs/settings.md lists all settings.")
        return
    yield "service", Check("settings", True, "read" if config is None else f"read from {config}")
    try:
        process = Process(settings, "doctor", config)
    except StoreError as error:
        yield "service", Check("database", False, str(error))
        return
    except SettingError as error:
        yield "service", Check("labeling tool", False, str(error))
        return
    try:
        yield from checks_of(process)
    finally:
        process.leave()


def checks_of(process: Process, *, hides_checks: bool = False) -> Iterator[tuple[str, Check]]:
    """All checks but those of the settings, which the process has read. hides_checks: as of a project, for whoever asks."""
    server = list(_server(process))
    for check in _service(process, reached=all(check.ok is not False for check in server if check.name == "server")):
        yield "service", check
    for check in server:
        yield "service", check
    for check in _clocks(process):
        yield "service", check
    with process.store.reading() as connection:
        found = projects(connection, gone=True)
    if not found:
        yield "service", Check("projects", None, "none is connected", "annotriage connect --project NUMBER --reference DIR")
    for project in found:
        for check in _project(process, replace(project, hides_checks=hides_checks)):
            yield project.external_id, check


def _service(process: Process, *, reached: bool) -> Iterator[Check]:
    """reached: whether the labeling tool answers; else its own check says so, and this one not once more."""
    yield _database(process)
    with process.store.reading() as connection:
        living, known = work.living(connection), work.registered(connection)
        roles = Counter(row.role for row in living)
    with process.store.inbox.reading() as connection:
        states = inbox.states(connection)
        troubles = inbox.troubles(connection, 1)
    roles[process.role] += not roles[process.role]  # who asks is there, whatever became of its last sign of life
    missing = [role for role in ("web", "worker", "jobs") if not roles[role]]
    silent = [row for row in known if row.role in missing]
    late = [row for row in living if row.role not in (*VISITORS, work.STANDS_BACK) and time.time() - row.at > LATE_BEAT_SECONDS]
    if missing:
        since = "" if not silent else f" for {time.time() - max(row.at for row in silent):.0f}\u00a0s"
        means = "nothing is judged or delivered" if "worker" in missing else "not all is done"
        fix = "Start annotriage serve, or look into its log."
        if silent:
            fix = f"It ended, hangs, or its machine is overloaded. {fix}"
        yield Check("running", False, f"no sign of life from {', '.join(missing)}{since}: {means}", fix)
    elif late:
        found = (
            f"the {late[0].role} process gave its last sign of life {time.time() - late[0].at:.0f}\u00a0s ago, and should give one every"
            " 5\u00a0s"
        )
        fix = "It hangs, or cannot write to the database; its log says more. One that hangs for three minutes is restarted."
        yield Check("running", False, found, fix)
    else:
        yield Check("running", True, ", ".join(f"{roles[role]} {role}" for role in ("web", "worker", "jobs")))
    if roles["web"] and reached:
        trouble = work.trouble(living)
        found = trouble or "the labeling tool takes the running service's token"
        yield Check("the service's access", not trouble, found, RESTART if trouble else "")
    if states["new"] > PILED_UP:
        yield Check("webhooks", False, f"{states['new']:,} were not read yet", "The worker is held up; its log says by what.")
    if troubles:
        found = f"{states['failed']:,} could not be read; the latest: {troubles[0].error}"
        fix = "Nothing is lost, the polls bring what they told; if they are not Label Studio's, change the password."
        yield Check("webhooks", False, found, fix)


def _database(process: Process) -> Check:
    """Whether something can be written: what is read may be there while its disk is full."""
    kind = "SQLite" if process.store.is_sqlite else "PostgreSQL"
    try:
        with process.store.writing() as connection:
            work.hold(connection, process.owner, process.role, process.host, process.pid)
            work.bury(connection, [process.owner])
    except DATABASE_TROUBLE as error:
        fix = "Make room on its disk, and see that this account may write there and that no other program holds it; all goes on by itself."
        return Check("database", False, f"{kind} cannot be written to: {cause(error)}", fix)
    return Check("database", True, f"{kind}, answers")


def _server(process: Process) -> Iterator[Check]:
    """The labeling tool as this process finds it. Beside a running service, a command's token is of no account to it."""
    with process.store.reading() as connection:
        served = any(row.role == "web" for row in work.living(connection))
    for check in process.server.checks():
        if check.name != "token" or process.role not in VISITORS or not served:
            yield check
        elif check.ok is False:
            yield Check("this shell's token", None, check.found, f"Commands given here use it, the running service does not. {check.fix}")
        else:
            yield replace(check, name="this shell's token")


def _clocks(process: Process) -> Iterator[Check]:
    """Whether the labeling tool's clock shows the time that this machine's does: answers are compared with when checks were drawn."""
    before = time.time()
    try:
        there = process.server.now()
    except AnnotriageError:  # the checks of the server say why
        return
    ahead, behind = there - time.time(), before - there - 1.0  # its time is told to the second
    if max(ahead, behind) <= SKEW_SECONDS:
        yield Check("clocks", True, "the labeling tool's and this machine's agree")
        return
    found = f"the labeling tool's is {max(ahead, behind):,.0f}\u00a0s {'ahead of' if ahead > behind else 'behind'} this machine's"
    yield Check("clocks", False, found, "Set both by a time server (NTP): answers are compared with when their checks were drawn.")


def _project(process: Process, project: Project) -> Iterator[Check]:
    id, name = project.external_id, repr(project.title[:NAME])
    if project.gone:
        fix = f"annotriage disconnect --project {id} forgets what is known of it."
        yield Check("project", False, f"{name} was deleted in the labeling tool", fix)
        return
    yield Check("project", True, f"{name}, {project.version}{', only watched' if project.watch else ''}")
    yield from _stopped(project)
    with process.store.reading() as connection:
        yield _poll(project, process.settings.poll_seconds)
        looks = (_webhooks, _unlisted, _failures, _deliveries, _erasing, _jobs, _guarantee)
        for look in looks:
            yield from look(connection, project)
    yield from _links(process, project)
    if not project.watch:
        yield from _tool(process, project)


def _stopped(project: Project) -> Iterator[Check]:
    """What is stopped, and why; the texts say what to do."""
    if project.trouble is not None:
        yield Check("judging", False, f"stopped: {project.trouble}")
    if project.problem is not None:
        yield Check("delivery", False, f"stopped: {project.problem}", "It goes on by itself once that is put right.")
    if project.paused:
        lifted = "resume" if project.alarm is None else "recalibrate"
        why = why_paused(project.pause, project.alarm, project.external_id)
        yield Check("automatic labels", False, f"stopped: {why}", f"annotriage {lifted} --project {project.external_id}")


def _poll(project: Project, every: float) -> Check:
    """Whether it is read as often as the setting poll_seconds says."""
    since, name = time.time() - project.read_until, "reading the labeling tool"
    if not project.read_until:
        return Check(name, None, "not yet")
    if since <= max(NOTED_SECONDS, LATE_POLLS * every):
        return Check(name, True, f"{since:.0f}\u00a0s ago")
    late = since > max(LATE_SECONDS, LATE_POLLS * every)
    ago = f"{since / 60:.0f} minutes" if since > LATE_SECONDS else f"{since:.0f}\u00a0s"
    found = f"the last time was {ago} ago, and should be every {every:g}\u00a0s"
    return Check(name, False if late else None, found, f"/api/projects/{project.external_id}/events and the log say why.")


def _webhooks(connection: Connection, project: Project) -> Iterator[Check]:
    """Whether what came in last was told by a webhook, or found by polling."""
    imported = browsing.last_import(connection, project)
    if project.watch or not project.options.calls or imported is None or imported > time.time() - UNTOLD_SECONDS:
        return
    if imported > project.told_at + UNTOLD_SECONDS:
        found = "tasks came in without a webhook; polling found them, a few seconds later"
        fix = f"annotriage connect --project {project.external_id} mends the webhook; can the labeling tool reach this service?"
        yield Check("webhooks arrive", False, found, fix)
    else:
        yield Check("webhooks arrive", True, "of what came in last, one told")


def _unlisted(connection: Connection, project: Project) -> Iterator[Check]:
    """Tasks that the labeling tool itself fails to show: with each of them in it, a list shows nothing at all to anybody."""
    rows = browsing.failures(connection, project, UNLISTED, Failure.UNLISTED)
    if rows:
        tasks = ", ".join(str(row.task) for row in reversed(rows)) + (" and more" if len(rows) == UNLISTED else "")
        yield Check("tasks", False, f"the labeling tool cannot show {'task' if len(rows) == 1 else 'tasks'} {tasks}. {rows[0].reason}")


def _failures(connection: Connection, project: Project) -> Iterator[Check]:
    """Items that could not be judged, by what was wrong with them: hosts to allow, media that are gone, no pictures."""
    rows = [row for row in browsing.failures(connection, project, LOOKED_AT) if row.failure != Failure.UNLISTED]
    kinds = Counter((row.failure, row.host) for row in rows)
    latest = {(row.failure, row.host): row for row in reversed(rows)}
    for kind, items in kinds.most_common(KINDS):
        number = count(items, "item")
        more = " or more" if len(rows) == LOOKED_AT else ""
        named = f"task {latest[kind].task}: "  # as some reasons begin themselves
        yield Check("media", False, f"{number}{more} could not be judged, as {named}{latest[kind].reason.removeprefix(named)}")


def _deliveries(connection: Connection, project: Project) -> Iterator[Check]:
    rows = [row for row in deliveries.troubles(connection, project.id) if row.state != "confirmed"]
    if not rows:
        return
    tasks = ", ".join(str(row.external_id) for row in rows[:LISTED]) + (", ..." if len(rows) > LISTED else "")
    refused = any(row.state == "refused" for row in rows)
    fix = f"annotriage connect --project {project.external_id} again once it is put right." if refused else "It is tried again by itself."
    yield Check("deliveries", False, f"predictions of tasks {tasks} did not arrive: {rows[0].error}", fix)


def _links(process: Process, project: Project) -> Iterator[Check]:
    """Whether the links in tasks lead to where people reach the service now."""
    before, now = project.options.public_url.rstrip("/"), process.settings.public_url.rstrip("/")
    if before != now and project.options.item_fields and not project.watch:
        found = f"they lead to {before}, and public_url is {now}" if before and now else f"public_url is {now or 'no longer set'}"
        yield Check("links in tasks", False, found, f"annotriage connect --project {project.external_id} again writes them anew.")


def _erasing(connection: Connection, project: Project) -> Iterator[Check]:
    """Items that are still here although somebody had them erased."""
    asked = jobs.latest_of(connection, project.id, jobs.ERASURE)
    if asked is not None and asked.open and asked.text:
        yield Check("erasing", False, f"what was asked for is not erased yet: {asked.text}")


def _jobs(connection: Connection, project: Project) -> Iterator[Check]:
    """Jobs that came to nothing lately, where none of their kind has come to more since; of what is to be erased `_erasing` tells."""
    for job in jobs.failed_of(connection, project.id, time.time() - TOLD_DAYS * DAY):
        if job.kind != jobs.ERASURE:
            yield Check("jobs", None, f"the last of the kind {job.kind!r} failed: {job.text}", "Ask for it again once that is put right.")


def _guarantee(connection: Connection, project: Project) -> Iterator[Check]:
    id = project.external_id
    states = spot_checks.automatic_counts(connection, project.id, project.reference_id)  # as in the whole standing, which takes longer
    answers = sum(n for state, n in states.items() if state != SpotCheckState.OPEN)
    wrong, contradicted = answers - states.get(SpotCheckState.RIGHT, 0), states.get(SpotCheckState.DISAGREED, 0)
    contradicted = 0 if project.hides_checks else contradicted
    _, oldest = spot_checks.outstanding(connection, project.id, project.reference_id)
    days = 0.0 if oldest is None else (time.time() - oldest) / DAY
    if not project.calibrated:
        now = standing(connection, project)
        found = (
            f"none yet, so no label is automatic: {now.sample_answers:,} of {now.sample_needed:,} answers on randomly drawn tasks are there"
        )
        fix = f"Answer the tab Spot checks, then annotriage recalibrate --project {id}; or fit with --calibration and connect again."
        yield Check("guarantee", None, found, fix)
    else:
        found = f"{wrong:,} of {answers:,} automatic labels that people checked blind were wrong{awaited(contradicted, wrong)}"
        yield Check("guarantee", True, found)
    if contradicted and is_alone(connection, project):
        found = f"one person alone answers: nobody else can confirm {count(contradicted, 'contradiction')}"
        fix = "Let a second person open the tab Spot checks, or decide on the page Guarantee of the dashboard, after a day."
        yield Check("second answers", None, found, fix)
    if days > OLDEST_DAYS:
        found = f"{states.get(SpotCheckState.OPEN, 0):,} have no answer yet; the oldest that is not settled has waited for {days:.0f} days"
        yield Check("spot checks", False, found, "Answer the tab Spot checks; the Label button hands them out, too.")


def _tool(process: Process, project: Project) -> Iterator[Check]:
    try:
        url = process.url if project.options.calls else None
        yield from process.tool_project(project).checks(url, process.webhook_secret)
    except AnnotriageError as error:
        yield Check("labeling tool", None, f"could not be asked: {error}")
