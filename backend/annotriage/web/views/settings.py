"""What a project is triaged with: limits, shown before they are saved, shares of spot checks, and what becomes of automatic labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from annotriage.advice.guarantee_words import meaning_of_limits
from annotriage.advice.numbers import percent
from annotriage.errors import SettingError, StateError
from annotriage.service.operations.process import Process
from annotriage.service.readings.waiting import WaitingWork, waiting_work
from annotriage.settings import ServiceSettings, Settings
from annotriage.states import EventKind, JobState, Route
from annotriage.store import jobs, spot_checks
from annotriage.store.datasets import routes_of
from annotriage.store.events import note
from annotriage.store.previews import CHANGED, LIMITS, NOT_GUARANTEED, TABLES, Limits, Preview, limits_of, preview
from annotriage.store.projects import Project, change_project, hold_project, standing_of
from annotriage.store.references import get_reference
from annotriage.web.routing import Routes
from annotriage.web.sessions import visitor_name

INSTEAD = {  # of limits that somebody asked for before
    JobState.QUEUED: "They replace those that were asked for before and had not been tested yet.",
    JobState.RUNNING: "They are tested after those that are being tested now, once these have taken over.",
}
SHARES = ("sample_share", "audit_share", "checks_handed_out", "gold_share")
TITLES = {
    "max_error": "Largest share of wrong automatic labels",
    "confidence": "How sure the guarantee is",
    "alpha": "Normal items that may be called strange",
    "class_limits": "Limits of single classes",
    "costs": "What errors cost",
    "sample_share": "Spot checks drawn from all items",
    "audit_share": "Spot checks of automatic labels, at least",
    "checks_handed_out": "Spot checks among what the Label button hands out",
    "gold_share": "Tasks with a known answer among what people are handed",
    "accept": "What becomes of automatic labels",
}
HINTS = {  # what the title does not say; {one} and {other} are classes of the project
    "max_error": "Lower it and fewer items are automatic.",
    "confidence": "At 95% the guarantee fails in 1 project of 20. Raise it where that is costly.",
    "alpha": "Raise it to see more strange items, at the price of more false alarms.",
    "class_limits": (
        "For classes whose errors weigh more, one a line: `{one} = 0.5%` for one class, `{one} | {other} = 1%` for two together. Each needs"
        " held-out items of its own."
    ),
    "costs": (
        "Where errors weigh unlike, one a line: `{one} > {other} = 10` says that a true {one} called {other} costs 10, `* > {other} = 10`"
        " that anything called so does. All others cost 1, and the first limit is then of the expected cost of an automatic label."
    ),
    "sample_share": "Drawn before they are judged: the new held-out items.",
    "audit_share": "And at least 20 a week, so many of the first ones. Raise it to find a rising error sooner.",
    "checks_handed_out": "As long as some of them are open.",
    "gold_share": (
        "To learn how often people are wrong. They look like spot checks; 2 to 5% is usual. Keep known answers on the People page first."
    ),
    "accept": (
        "`suggest` leaves each to a person who submits it; `annotate` makes annotations of them once their dataset passed its probation."
    ),
}


@dataclass(frozen=True)
class SettingsPage:
    """What the page shows. The preview is counted only where it is asked for: settings.js does so at once.

    now: the values that hold; asked: those in the form. preview: of the asked, before: of those that hold. checked: automatic items that
    are drawn to be checked blind, or would be; answered: of those that are. hints: on each setting; examples: two classes. waiting:
    what waits for people now, as everywhere. held: items that the limits would let be automatic, but that were judged while labels were
    stopped, or that a person sent to people. trouble: why there is no preview, or what is wrong with a value. meant: what the limit is
    of, where it is not of the share of wrong labels alone. one_class: whether the model gives one class per item: only then there are
    costs and limits of single classes.
    """

    project: Project
    now: Mapping[str, Any]
    asked: Mapping[str, Any]
    limits: Limits | None
    before: Preview | None
    preview: Preview | None
    checked: int
    answered: int
    hints: Mapping[str, str]
    examples: tuple[str, str]
    waiting: WaitingWork
    held: int
    trouble: str
    meant: str
    one_class: bool


def add_views(routes: Routes) -> None:
    """Add the page."""

    def build(connection: Connection, project: Project) -> SettingsPage:
        return _page(routes.process, connection, project)

    routes.project_page("/settings", "settings", build, TITLES=TITLES, NOT_GUARANTEED=NOT_GUARANTEED)

    @routes.writing("/settings")
    def save_settings(connection: Connection, project: Project) -> ResponseReturnValue:
        project = hold_project(connection, project.id)  # who saves another one at the same moment waits, and keeps this one
        now = _now(connection, project)
        asked = _checked(_given(now, request.form))
        _refuse_unknown(connection, project, now, asked)
        said = [*_save_options(connection, project, now, asked), *_queue_limits(connection, project, now, asked)]
        flash(" ".join(said) or "Nothing was changed.", "done")
        return redirect(url_for("web.settings", project=project.external_id), 303)


def _page(process: Process, connection: Connection, project: Project) -> SettingsPage:
    now, trouble = _now(connection, project), ""
    asked, limits = dict(now), limits_of(connection, project)
    shown: Preview | None = None
    before: Preview | None = None
    try:
        asked = _given(now, request.args)
        _checked(asked)
        _refuse_unknown(connection, project, now, asked)
        if limits is not None and request.args:
            before = preview(connection, project)
            shown = _preview(process, connection, project, before, {name: asked[name] for name in CHANGED if asked[name] != now[name]})
    except (SettingError, StateError) as error:
        trouble = str(error)
    drawn = spot_checks.automatic_drawn(connection, project.id, project.reference_id)
    checked = drawn if shown is None or before is None or not before.auto else _checks_foreseen(connection, project, drawn, before, shown)
    facts = get_reference(connection, project.reference_id).facts
    examples = _examples(_spec(facts)["classes"])
    automatic = sum(count.items for count in routes_of(connection, project) if count.route == Route.AUTO)
    return SettingsPage(
        project=project,
        now=now,
        asked=asked,
        limits=limits,
        before=before,
        preview=shown,
        checked=checked,
        answered=int((standing_of(connection, project) or {}).get("answers", 0)),
        hints={name: hint.replace("{one}", examples[0]).replace("{other}", examples[1]) for name, hint in HINTS.items()},
        examples=examples,
        waiting=waiting_work(connection, project),
        held=0 if before is None else max(0, before.auto - automatic),
        trouble=trouble,
        meant=meaning_of_limits(facts["guarantee"]),
        one_class=_spec(facts).get("choice") != "multiple",
    )


def _preview(process: Process, connection: Connection, project: Project, before: Preview, changed: Mapping[str, Any]) -> Preview:
    """What the values would do: by the reference's grid, or where it does not hold them on its held-out items."""
    if not changed:
        return before
    if not set(changed) & set(TABLES):
        return preview(connection, project, **changed)
    from annotriage.service.guarantee.changing_limits import preview_with  # only whoever changes limits loads what computes

    return preview_with(process, connection, project, changed)


def _checks_foreseen(connection: Connection, project: Project, drawn: int, before: Preview, shown: Preview) -> int:
    """How many automatic items people would check blind under other limits, by the rules of the draw: at least so many a week."""
    from annotriage.guarantee.audit import audit_share  # only whoever changes limits loads what computes

    per_week = spot_checks.automatic_per_week(connection, project.id, project.reference_id)
    share = project.options.audit_share
    now, then = (max(share, audit_share(weekly)) if share else 0.0 for weekly in (per_week, per_week * shown.auto / before.auto))
    of_sample = project.options.sample_share
    return round(drawn * shown.auto * (then + of_sample) / (before.auto * (now + of_sample))) if now + of_sample else 0


def _now(connection: Connection, project: Project) -> dict[str, Any]:
    """The values that hold for the project."""
    fitted = get_reference(connection, project.reference_id).facts["settings"]
    of_options = {name: getattr(project.options, name) for name in (*SHARES, "accept")}
    tables = {name: tuple((key, float(number)) for key, number in fitted.get(name) or ()) for name in TABLES}
    return {**{name: fitted[name] for name in LIMITS}, **tables, **of_options}


def _given(now: Mapping[str, Any], form: Mapping[str, str]) -> dict[str, Any]:
    """The values in the form, shares in percent, tables a line each; what is left out stays. Raises SettingError."""
    values = dict(now)
    for name in (*LIMITS, *SHARES):
        text = form.get(name, "").strip().replace(",", ".")
        if not text:
            continue
        try:
            given = float(text) / 100
        except ValueError:
            raise SettingError(f"{TITLES[name].lower()}: {text[:40]!r} is not a number of percent") from None
        # What the form showed of a value that has more digits is that value.
        values[name] = now[name] if f"{given:.6g}" == f"{now[name]:.6g}" else given
    tables = {name: _table(name, form[name]) for name in TABLES if name in form}
    return values | tables | ({"accept": form["accept"]} if form.get("accept") else {})


def _examples(classes: Sequence[str]) -> tuple[str, str]:
    """Two classes to show by, as short as they come; ticks would end them in a hint."""
    short = [name.replace("`", "'")[:40] for name in sorted(classes, key=len)[:2]] or ["one"]
    return short[0], short[-1]


def _table(name: str, text: str) -> tuple[tuple[str, float], ...]:
    """Lines of a name and its number, limits with a percent sign as the page shows them, or as shares. Raises SettingError."""
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        key, _, number = line.rpartition("=")
        try:
            figure = number.strip().replace(",", ".")
            percents = name == "class_limits" and figure.endswith("%")
            found.append((key.strip(), float(f"{float(figure[:-1]) / 100:.12g}") if percents else float(figure)))
        except ValueError:
            found.append(("", 0.0))
        if not found[-1][0]:
            example = "fracture > healthy = 10" if name == "costs" else "fracture = 0.5%"
            raise SettingError(f"{TITLES[name]}: {line[:60]!r} is not a name and a number; write a line such as {example}")
    return tuple(found)


def _spec(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    model: Mapping[str, Any] = facts["model"]["spec"]["model"]
    return model


def _refuse_unknown(connection: Connection, project: Project, now: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Raise SettingError where costs or limits that are asked for name no class of the model."""
    changed = {name: asked[name] for name in TABLES if asked[name] != now[name]}
    if not changed:
        return
    from annotriage.engine.error_limits import refuse_unknown  # only whoever changes them loads what computes
    from annotriage.engine.labels import LabelSpace

    spec = _spec(get_reference(connection, project.reference_id).facts)
    refuse_unknown(LabelSpace.of(spec["classes"], spec.get("choice") == "multiple"), Settings(**changed))


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    """The values, if the tables of settings allow them. Raises SettingError."""
    for field in (field for table in (Settings, ServiceSettings) for field in fields(table) if field.name in (*LIMITS, *SHARES)):
        low, high, value = field.metadata["low"], field.metadata["high"], values[field.name]
        if not (low or 0.0) <= value <= (1.0 if high is None else high):
            limits = f"{percent(low or 0.0)} and {percent(1.0 if high is None else high, 2)}"
            raise SettingError(f"{TITLES[field.name]}: {percent(value)} is out of range; choose between {limits}")
    Settings(**{name: values[name] for name in CHANGED})
    ServiceSettings(**{name: values[name] for name in (*SHARES, "accept")})
    return values


def _save_options(connection: Connection, project: Project, now: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    changed = {name: asked[name] for name in (*SHARES, "accept") if asked[name] != now[name]}
    if not changed:
        return []
    set_here = tuple(sorted({*project.options.set_here, *changed}))
    change_project(connection, project.id, options=asdict(replace(project.options, **changed, set_here=set_here)))
    changes = {name: [now[name], value] for name, value in changed.items()}
    note(connection, project.id, EventKind.SETTINGS, changes=changes, by=visitor_name())
    return ["Saved: it holds for what is judged from now on."]


def _queue_limits(connection: Connection, project: Project, now: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    changed = {name: asked[name] for name in CHANGED if asked[name] != now[name]}
    if not changed:
        if not jobs.withdraw(connection, project.id, jobs.LIMITS):
            return []
        note(connection, project.id, EventKind.LIMITS_WITHDRAWN, by=visitor_name())
        return ["The limits asked for before are no longer tested; the current ones stay."]
    before = jobs.queue_last_word(connection, project.id, jobs.LIMITS, {**changed, "by": visitor_name()})
    return [
        "The new limits are being tested on the held-out items; the page Guarantee will show the result. Until then the old ones hold.",
        *([] if before is None else [INSTEAD[before]]),
    ]
