"""Look-alikes in the dashboard: proposed, answered by keyboard, labelled at once and taken back, for people and for programs."""

from __future__ import annotations

import pytest
from browsers import follow
from browsers import text as shown
from sqlalchemy import select, update
from web import token

from annotriage.guarantee.look_alikes import looks
from annotriage.labeling_tool import Account
from annotriage.service.guarantee import proposals as deeds
from annotriage.store import proposals
from annotriage.store.projects import project_of
from annotriage.store.proposals import free_items
from annotriage.store.queue import Filters, queue_page
from annotriage.store.schema import project as project_table
from annotriage.store.schema import proposal

ERROR = 0.3
HEADERS = {"Accept": "text/html"}


@pytest.fixture
def dashboard(dashboard):
    """The dashboard, whose project allows small groups; its visitor has an account in the labeling tool."""
    with dashboard.process.store.writing() as connection:
        options = connection.execute(select(project_table.c.options).where(project_table.c.id == 1)).scalar_one()
        changed = options | {"group_error": ERROR}
        connection.execute(update(project_table).where(project_table.c.id == 1).values(options=changed))
    dashboard.tool.people = [Account("7", "Ann Lee", (dashboard.user,))]
    return dashboard


@pytest.fixture
def auth(dashboard):
    return dashboard.user, dashboard.password


def present(dashboard):
    with dashboard.process.store.reading() as connection:
        return project_of(connection, "1")


def tend(dashboard):
    deeds.tend_proposals(dashboard.process, present(dashboard))


def grouped(dashboard):
    """What waits of the groups among the outliers of all items, by group."""
    with dashboard.process.store.reading() as connection:
        numbers = range(1, 4)
        return [len(queue_page(connection, present(dashboard), filters=Filters(group=number), limit=1000).rows) for number in numbers]


@pytest.mark.browser
def test_groups_are_proposed_answered_by_keyboard_labelled_at_once_and_taken_back(signed_in, dashboard):
    members = sum(grouped(dashboard))
    first = looks(members, ERROR, 0.95)[0].size
    page = signed_in("/projects/1/groups")
    page.get_by_text("Several groups show the same thing").click()
    for box in page.locator("details input[type=checkbox]").all():
        box.check()
    follow(page, page.get_by_role("button", name="Label them at once together"))
    assert f"{members} items: answer {first} of them, drawn at random." in shown(page)
    page.set_viewport_size({"width": 390, "height": 800})
    said = page.locator(".headline bdi")
    assert said.evaluate("said => said.scrollHeight <= said.clientHeight || getComputedStyle(said).webkitLineClamp === 'none'"), "cut off"
    page.set_viewport_size({"width": 1280, "height": 900})
    follow(page, page.get_by_role("button", name="Ask people"))
    follow(page, page.get_by_role("link", name="Answer them here"))
    page.locator("#answering[data-ready]").wait_for()
    rows = page.locator("table.queue tbody tr")
    assert rows.count() == first
    assert "The model’s answer stays hidden" in rows.first.inner_text()
    page.keyboard.press("j")
    for left in reversed(range(first)):
        page.keyboard.press("9")  # something else, which is no class of the model
        with page.expect_response("**/queue/answer"):
            page.keyboard.press("Enter")
        if left:
            rows.nth(left).wait_for(state="detached")
    page.get_by_role("link", name="look-alikes 1").click()
    page.get_by_text("of them not something else").first.wait_for()
    tend(dashboard)
    page.get_by_role("button", name="Label the rest at once").wait_for()
    follow(page, page.get_by_role("button", name="Label the rest at once"))
    tend(dashboard)
    page.get_by_text(f"{members - first} items were labelled something else at once").wait_for()
    assert sum(grouped(dashboard)) == 0, "nobody is asked about them any more"
    follow(page, page.get_by_role("button", name="Undo"))
    tend(dashboard)
    page.get_by_text("What was labelled at once was taken back").wait_for()
    assert sum(grouped(dashboard)) == members - first


def test_what_saves_too_little_is_not_offered_and_says_what_would(dashboard, auth):
    client = dashboard.app.test_client()
    form = {"csrf": token(client, "/projects/1/groups", auth=auth)}
    page = client.get("/projects/1/groups.json", auth=auth).json
    groups = page["groups"]["groups"]
    few = {**form, "dataset": page["dataset"]["id"], "group": f"{groups[-1]['number']}~{groups[-1]['faces'][0]['item_id']}"}
    answer = client.post("/projects/1/look-alikes/groups", data=few, auth=auth, headers=HEADERS, follow_redirects=True)
    assert "are too few to label at once" in answer.text
    other = {**few, "group": f"{groups[0]['number']}~{groups[-1]['faces'][0]['item_id']}"}
    assert client.post("/projects/1/look-alikes/groups", data=other, auth=auth).status_code == 409
    selected = client.post("/projects/1/look-alikes/selection", data=b"\1\0\0\0", auth=auth, headers={"X-CSRF-Token": form["csrf"]})
    assert (selected.status_code, "too few" in selected.json["detail"]) == (409, True)
    assert client.get("/projects/1/look-alikes.json", auth=auth).json["groups"] == []


@pytest.mark.parametrize("error", [0.05, 0.08, 0.15, 0.3])
def test_only_what_will_be_taken_is_offered(dashboard, auth, error):
    with dashboard.process.store.writing() as connection:
        options = connection.execute(select(project_table.c.options).where(project_table.c.id == 1)).scalar_one()
        connection.execute(update(project_table).where(project_table.c.id == 1).values(options=options | {"group_error": error}))
        project = project_of(connection, "1")
        waiting = len(free_items(connection, project))
        item = queue_page(connection, project, filters=Filters(route="outlier"), limit=1).rows[0]
    client = dashboard.app.test_client()
    page = client.get("/projects/1/groups.json", auth=auth).json
    html = client.get("/projects/1/groups", auth=auth, headers=HEADERS).text
    form = {"csrf": token(client, "/projects/1/groups", auth=auth), "dataset": page["dataset"]["id"]}
    named = {group["number"]: f"{group['number']}~{group['faces'][0]['item_id']}" for group in page["groups"]["groups"]}

    def is_taken(groups):
        answer = client.post("/projects/1/look-alikes/groups", data={**form, "group": groups}, auth=auth, headers=HEADERS)
        with dashboard.process.store.writing() as connection:
            made = proposals.proposals_page(connection, project, limit=9)
            connection.execute(proposal.delete())
        assert answer.status_code == 303
        return len(made) == 1

    taken = [number for number, group in named.items() if is_taken([group])]
    assert sorted(page["offered"]) == taken
    assert html.count("Label look-alikes at once…") == len(taken)
    assert page["together"] == ("Label them at once together" in html) == (len(named) > 1 and is_taken(list(named.values())))
    similar = client.get(f"/projects/1/items/{item.task}", auth=auth, headers=HEADERS).text
    assert ("most similar at once" in similar) == bool(looks(min(waiting, 200), error, 0.95))
    enough = client.get("/projects/1/map.json", auth=auth).json["enough"]
    assert looks(enough, error, 0.95)
    assert not looks(enough - 1, error, 0.95)


def test_the_most_similar_to_an_item_are_proposed_on_its_page_and_the_api_says_the_same(dashboard, auth):
    client = dashboard.app.test_client()
    with dashboard.process.store.reading() as connection:
        item = queue_page(connection, present(dashboard), filters=Filters(route="outlier"), limit=1).rows[0]
        free = len(free_items(connection, present(dashboard)))
    page = client.get(f"/projects/1/items/{item.task}", auth=auth, headers=HEADERS).text
    assert 0 < free < 200
    assert f"Label the {free} most similar at once" in page, "no more than there are"
    form = {"csrf": token(client, "/projects/1/groups", auth=auth), "item": item.id, "task": item.task, "count": 40}
    offered = client.post("/projects/1/look-alikes/similar", data=form, auth=auth, headers=HEADERS, follow_redirects=True)
    assert f"the 40 most similar to task {item.task}" in offered.text
    (listed,) = client.get("/api/projects/1/look-alikes", auth=auth).json["groups"]
    assert (
        listed
        == client.get("/api/projects/1/look-alikes/1", auth=auth).json
        == client.get("/projects/1/look-alikes/1.json", auth=auth).json["group"]
    )
    assert (listed["proposal"]["members"], listed["proposal"]["state"], listed["can"]) == (40, "offered", ["ask", "close"])
    again = client.post(f"/api/projects/1/look-alikes?like={item.task}&count=40", auth=auth, json={})
    assert again.status_code == 201, "of the others there are 40 more"
    asked = client.post("/api/projects/1/look-alikes/1/ask", auth=auth, json={}).json
    first = listed["looks"][0]["answers"]
    assert f"the other {40 - first} may get it, too" in listed["sentence"]
    assert (asked["proposal"]["state"], asked["waiting"]) == ("asking", first)
    assert listed["rest"] == asked["rest"] == 40 - first
    for deed, status in (("label", 409), ("undo", 409), ("split", 409), ("close", 200)):
        assert client.post(f"/api/projects/1/look-alikes/1/{deed}", auth=auth, json={}).status_code == status, deed
    assert client.get("/api/projects/1/look-alikes/99", auth=auth).status_code == 404
    hidden = client.get(f"/projects/1/items/{first_asked(dashboard)}", auth=auth, headers=HEADERS).text
    assert "look-alikes 2" in hidden


def first_asked(dashboard):
    with dashboard.process.store.reading() as connection:
        return proposals.members_of(connection, present(dashboard), 2)[0].task
