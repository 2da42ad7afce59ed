"""The review queue inside Label Studio: tabs of the Data Manager, one per question that an annotator or a manager has.

Each tab is a filter on the place in the queue (Label Studio's prediction score), strangest first. That a task is a spot check is
told by its fields alone: until the first of them has these, and where tasks get none, spot checks are mixed in with the others.
Label Studio takes any filter and then answers 500 to whoever opens the tab, so each one is opened once when it is made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from annotriage.errors import ToolError, ToolUnavailable
from annotriage.labeling_tool import AUDIT_VERSION, TabShows
from annotriage.states import AUTOMATIC_FROM, FAMILIAR_FROM, OUT_FROM
from annotriage_label_studio.editor.tasks import MARKER
from annotriage_label_studio.server import delivery
from annotriage_label_studio.server.client import Client
from annotriage_label_studio.server.listing import condition

if TYPE_CHECKING:
    from label_studio_sdk.types import LseProjectResponse as Project
    from label_studio_sdk.types import View

MARK = "annotriage"  # key in a tab's data that says which of ours it is; Label Studio's pages drop it when somebody changes the tab
ASSIGNED = "annotriage_assigned"  # in a tab of tasks that were given to a person: its title; it is dropped as the mark is,
GIVEN = re.compile(r"For .+: group \d+|Look-alikes \d+: .+")  # so that the dashboard's titles tell such tabs, too
CHECKED = "data.triage_spot_check"  # only spot checks have it
REASONS = ("data.triage_route", "data.triage_reason", "data.triage_outlier_score", "data.triage_diversity", "data.triage_link")
ANSWER = ("predictions_results", "predictions_score")
WIDTHS = {
    "tasks:data.triage_reason": 420,
    "tasks:data.triage_diversity": 260,
    "tasks:data.triage_link": 220,
    "tasks:predictions_results": 420,
}  # pixels


@dataclass(frozen=True)
class Tab:
    """One tab: the open tasks whose place in the queue lies between `above` and `below`, by `order`.

    version: instead of these, the tasks with a prediction of that version, answered or not. checks: of them the spot checks alone (True),
    or all others (False); None: whether or not they are. columns: shown beside id and picture; None leaves it to Label Studio, which shows
    most of them.
    """

    title: str
    above: float | None = None
    below: float | None = None
    version: str | None = None
    checks: bool | None = None
    order: str = "tasks:predictions_score"
    columns: tuple[str, ...] | None = REASONS


REVIEW_TABS = (
    Tab("Manual review", below=AUTOMATIC_FROM, checks=False),
    Tab("Outliers", below=FAMILIAR_FROM, checks=False),
    Tab("Unsure", above=FAMILIAR_FROM, below=AUTOMATIC_FROM, checks=False, columns=(*REASONS, *ANSWER)),
    Tab("Pre-annotated", above=AUTOMATIC_FROM, below=OUT_FROM, columns=ANSWER),
)
CHECKS_TAB = Tab("Spot checks", checks=True)  # also what calibrates a project that has no guarantee yet
AUDIT_TAB = Tab("Label audit", version=AUDIT_VERSION, order="tasks:id", columns=("annotations_results", "predictions_results"))
EVERYTHING = Tab("Default", order="tasks:id", columns=None)  # Label Studio makes this one itself where there is no other


def set_up_tabs(client: Client, project: Project, media_field: str, *, opening: bool, dry_run: bool = False) -> list[str]:
    """Make the tabs that are missing, make those anew that are out of date, remove those of ours that nobody wants or that stand twice.

    opening: open each tab, and make those anew that cannot be. A tab of ours that somebody has changed stays as they want it. Nothing is
    done in a project without tasks: Label Studio answers 500 to a filter on the score there. Returns what was (dry_run: is to be) done,
    in sentences.
    """
    if not project.task_number:
        return []
    id = str(project.id)
    views: list[View] = client.sdk.views.list(project=project.id)
    columns = _columns(client, id)
    knows_checks = f"tasks:{CHECKED}" in columns
    audited = [AUDIT_TAB] if AUDIT_VERSION in delivery.versions(client, id) else []
    wanted = [*REVIEW_TABS, *([CHECKS_TAB] if knows_checks else []), *audited, *([] if views else [EVERYTHING])]
    done, order = [], [int(view.id) for view in views if view.id is not None]
    ours = {int(view.id) for view in views if view.id is not None and _look(view).get(MARK, EVERYTHING.title) != EVERYTHING.title}
    for tab in wanted:
        found, question = _found(tab, views), _question(tab, knows_checks)
        if found is None:
            done.append(sentence(f"Tab {tab.title!r}", "made", dry_run))
        elif _look(found).get(MARK) and not _same(_look(found), question):
            done.append(sentence(f"Tab {tab.title!r}, which was out of date", "made again", dry_run))
        elif opening and not _opens(client, id, found):
            done.append(sentence(f"Tab {tab.title!r}, which could not be opened", "made again", dry_run))
        else:
            continue
        if dry_run:
            continue
        made = _make(client, id, question | _appearance(tab, columns, media_field))
        if found is not None and found.id is not None:
            client.sdk.views.delete(str(found.id))
            order[order.index(int(found.id))] = made
        else:
            order.insert(max((place + 1 for place, known in enumerate(order) if known in ours), default=len(order)), made)
        if tab is not EVERYTHING:
            ours.add(made)
    if done and not dry_run:  # two commands, or a command and the service, can be at it at the same moment: whoever is last sees both
        client.sdk.views.update_order(project=project.id, ids=order)  # the first one is what the project opens with
        views = client.sdk.views.list(project=project.id)
    kept = {tab.title: _found(tab, views) for tab in (*REVIEW_TABS, CHECKS_TAB, *audited, EVERYTHING)}
    for view in views:
        mark = _look(view).get(MARK)
        if mark is not None and view is not kept.get(mark):
            done.append(sentence(f"Tab {_title(view)!r}{', which was there twice' if mark in kept else ''}", "removed", dry_run))
            if not dry_run:
                delivery.remove(client.sdk.views.delete, [str(view.id)])
    return done


SHOWN_IN_TABS = {TabShows.REASONS: REASONS, TabShows.NOTHING: (), TabShows.ANSWERS: ("annotations_results", "predictions_results")}


def assign(client: Client, project: str, title: str, tasks: Sequence[str], media_field: str, shows: TabShows) -> int | None:
    """Make a tab of these tasks, as long as they are not answered (with ANSWERS for good), the strangest first; one of that title is
    replaced. Its id; None if there are no tasks, and so no tab.

    Raises ToolError if it does not open.
    """
    before = [view for view in client.sdk.views.list(project=int(project)) if title in (_look(view).get(ASSIGNED), _title(view))]
    made = None
    if tasks:
        items = [condition("id", "in_list", "Number", [int(task) for task in tasks])]
        if shows != TabShows.ANSWERS:
            items.append(condition("completed_at", "empty", "Datetime", True))
        tab = Tab(title, columns=SHOWN_IN_TABS[shows])
        look = {key: value for key, value in _appearance(tab, _columns(client, project), media_field).items() if key != MARK}
        filters = {"conjunction": "and", "items": items}
        made = _make(client, project, {"title": title, "filters": filters, "ordering": [tab.order], **look, ASSIGNED: title})
    delivery.remove(client.sdk.views.delete, [str(view.id) for view in before])
    return made


def remove_tabs(client: Client, project: str, *, changed: bool) -> list[str]:
    """Delete our tabs: what was done, in sentences. changed: those too that only their titles tell, as somebody has changed them."""
    views: list[View] = client.sdk.views.list(project=int(project))
    titles = {tab.title for tab in (*REVIEW_TABS, CHECKS_TAB, AUDIT_TAB)} if changed else set()
    ours = [
        view
        for view in views
        if _look(view).get(MARK)
        or _look(view).get(ASSIGNED)
        or _title(view) in titles
        or (changed and GIVEN.fullmatch(_title(view)) is not None)
    ]
    for view in ours:
        client.sdk.views.delete(str(view.id))
    return [sentence(f"Tab {_title(view)!r}", "removed") for view in ours]


def sentence(what: str, done: str, dry_run: bool = False) -> str:
    """One line of what setting up did, or is to do."""
    return f"{what}: {'to be ' if dry_run else ''}{done}."


def missing_tabs(client: Client, project: str) -> tuple[list[str], list[str]]:
    """The titles of our tabs that are not there, and of those that do not open."""
    views: list[View] = client.sdk.views.list(project=int(project))
    found = {tab.title: _found(tab, views) for tab in REVIEW_TABS}
    return (
        [title for title, view in found.items() if view is None],
        [title for title, view in found.items() if view is not None and not _opens(client, project, view)],
    )


def _found(tab: Tab, views: Sequence[View]) -> View | None:
    """The tab as it is now: by our mark, else by its title."""
    marked = (view for view in views if _look(view).get(MARK) == tab.title)
    named = (view for view in views if _title(view) == tab.title)
    return next(marked, None) or next(named, None)


def _look(view: View) -> Mapping[str, Any]:
    """What a tab asks for and how it looks."""
    return view.data if isinstance(view.data, dict) else {}


def _title(view: View) -> str:
    return str(_look(view).get("title", ""))


def _make(client: Client, project: str, data: Any) -> int:
    """A new tab, opened once: its id. Raises ToolError, and leaves no tab, if it does not open."""
    view = client.sdk.views.create(project=int(project), data=data)
    if not _opens(client, project, view):
        client.sdk.views.delete(str(view.id))
        raise ToolError(f"project {project}: Label Studio cannot show the tab {data['title']!r}; its version may be too new or too old")
    assert view.id is not None
    return int(view.id)


def _opens(client: Client, project: str, view: View) -> bool:
    """Whether Label Studio can list the tab's tasks; it answers 500 where a filter makes no sense to it."""
    try:
        client.get("/api/tasks/", project=project, view=view.id, page_size=1, include="id")
    except ToolUnavailable:
        client.get("/api/tasks/", project=project, page_size=1, include="id")  # raises if it is not the tab that is at fault
        return False
    except ToolError:
        return False
    return True


def _question(tab: Tab, knows_checks: bool) -> dict[str, Any]:
    """What the tab lists, in which order. knows_checks: whether tasks say that they are spot checks."""
    filters = []
    if tab.above is not None:
        filters.append(condition("predictions_score", "greater_or_equal", "Number", tab.above))
    if tab.below is not None:
        filters.append(condition("predictions_score", "less", "Number", tab.below))
    if tab.checks is not None and knows_checks:
        filters.append(condition(CHECKED, "empty", "String", not tab.checks))
    if tab.version is not None:
        filters.append(condition("predictions_model_versions", "contains", "List", [tab.version]))
    elif filters:
        filters.append(condition("completed_at", "empty", "Datetime", True))  # a task stays until all have answered who were asked
    return {"title": tab.title, "filters": {"conjunction": "and", "items": filters}, "ordering": [tab.order]}


def _appearance(tab: Tab, columns: Mapping[str, Mapping[str, bool]], media_field: str) -> dict[str, Any]:
    """How the tab looks: of the columns that there are, all are hidden but ours. Those that will come, as the triage fields, are shown."""
    hidden = {mode: [column for column, visible in columns.items() if not visible.get(mode, True)] for mode in ("explore", "labeling")}
    if tab.columns is not None:
        shown = {f"tasks:{column}" for column in ("id", f"data.{media_field}", *tab.columns)}
        hidden = dict.fromkeys(hidden, sorted({*columns, *(f"tasks:{column}" for column in (f"data.{MARKER}", CHECKED, *REASONS))} - shown))
    look = {"type": "list", "target": "tasks", "columnsWidth": WIDTHS, "columnsDisplayType": {}, "gridWidth": 4}
    return look | {MARK: tab.title, "hiddenColumns": hidden}


def _columns(client: Client, project: str) -> dict[str, Mapping[str, bool]]:
    """The columns that the Data Manager can show, but for the one that holds the data columns, and where it shows them by itself."""
    columns = client.get("/api/dm/columns/", project=project)["columns"]
    return {
        f"tasks:{'data.' if column.get('parent') == 'data' else ''}{column['id']}": column.get("visibility_defaults") or {}
        for column in columns
        if column["id"] != "data"
    }


def _same(found: Mapping[str, Any], question: dict[str, Any]) -> bool:
    return all(found.get(key) == value for key, value in question.items())
