"""Two versions of a model on the same items: a comparison is asked for by a click, and shows what changed and with which items."""

from __future__ import annotations

from collections import Counter

import pytest
from browsers import follow, text
from sqlalchemy import select
from sqlalchemy import text as sql
from web import sign_in, token

from annotriage.service.guarantee.changing_limits import with_limits
from annotriage.service.operations.references import keep_reference
from annotriage.store import jobs, versions
from annotriage.store.projects import change_project, project_of
from annotriage.store.schema import compared_item, item, spot_check, verdict
from annotriage.store.versions import Said

PAGE = "/projects/1/versions"
AUTH = ("annotriage", "right")


@pytest.fixture
def two(copied, serve_dashboard, digits_reference):
    """A dashboard whose project has a second version, stricter about what is strange, that is to take over."""
    dashboard = serve_dashboard(*copied, password=AUTH[1])
    other = with_limits(digits_reference, {"alpha": 0.3})
    kept = keep_reference(dashboard.process.store, other)
    with dashboard.process.store.writing() as connection:
        change_project(connection, project_of(connection, "1").id, next_reference_id=kept)
    return dashboard


def run(dashboard):
    service = dashboard.service()
    service.run_jobs()
    service.close()


def ask(dashboard, **values):
    """Ask for the comparison through the API, and let it be made: what the API says then."""
    client = dashboard.app.test_client()
    found = client.get(f"/api{PAGE}", auth=AUTH).json
    chosen = {"before": found["before"]["id"], "after": found["after"]["id"], "items": 5_000, **values}
    asked = client.post(f"/api{PAGE}", query_string=chosen, auth=AUTH)
    assert asked.status_code == 202, asked.text
    run(dashboard)
    return client.get(f"/api{PAGE}", query_string={"limit": 500}, auth=AUTH).json


def test_what_would_change_is_counted_on_the_very_items(two):
    now = ask(two)
    found = now["differences"]
    assert (now["before"]["use"], now["after"]["use"], now["job"]["state"]) == ("present", "next", "done")
    with two.process.store.reading() as connection:
        project = project_of(connection, "1")
        every = versions.comparable_items(connection, project)
        blind = set(connection.execute(select(spot_check.c.item_id).where(spot_check.c.state.in_(("open", "disagreed")))).scalars())
        present = versions.said_by(connection, project.reference_id, every)
        rows = connection.execute(select(compared_item)).all()
    assert (found["items"], found["blind"], found["total"]) == (len(set(every) - blind), len(set(every) & blind), len(every))
    assert {row.item_id: Said(row.before_route, tuple(row.before_labels)) for row in rows} == present
    seen = [row for row in rows if row.item_id not in blind]
    changed = [row for row in seen if row.before_route != row.after_route]
    assert found["changed"] == len(changed) == now["matching"] > 20
    cells = {(cell["before"], cell["after"]): cell["items"] for cell in found["routes"]}
    assert cells == Counter((row.before_route, row.after_route) for row in seen)
    assert cells["auto", "outlier"] > 20, "it holds more for strange"
    assert not any(before == "outlier" != after for before, after in cells)
    assert found["low"] < found["changed"] / found["items"] < found["high"]
    for side in ("before", "after"):
        assert found["automatic"][side] == sum(getattr(row, f"{side}_route") == "auto" for row in seen)
    assert f"{len(changed)} of {len(seen)}" in found["sentences"][0]
    assert "fewer (likely" in found["sentences"][1]
    assert found["answered"]["before"] == found["answered"]["after"] > 100, "the same model says the same class"
    assert {row["item_id"] for row in now["examples"]} == {row.item_id for row in changed}


def test_nothing_but_the_comparison_changes(two):
    def state():
        with two.process.store.reading() as connection:
            return {
                table: connection.execute(sql(f"SELECT * FROM {table} ORDER BY 1, 2")).all()
                for table in ("item", "verdict", "spot_check", "delivery", "counter", "work", "event")
            }

    before = state()
    ask(two)
    assert state() == before


def test_no_class_is_told_that_either_version_would_hide(two):
    now = ask(two)
    with two.process.store.reading() as connection:
        answers = dict(connection.execute(select(item.c.id, item.c.answer)).all())
    shown = [row for row in now["examples"] if row["after"] == "outlier"]
    hidden = [row for row in shown if answers[row["item_id"]] in ("open", "disputed")]
    assert hidden
    assert {(row["before_class"], row["after_class"]) for row in hidden} == {(None, None)}
    answered = [row for row in shown if answers[row["item_id"]] == "resolved"]
    assert all(row["before_class"] for row in answered)
    assert now["differences"]["hidden"] >= len(hidden)


def test_a_spot_check_that_is_drawn_afterwards_is_hidden_too(two):
    now = ask(two)
    first = now["examples"][0]
    with two.process.store.writing() as connection:
        values = {"item_id": first["item_id"], "project_id": 1, "reference_id": 1, "kind": "audit", "route": "auto", "state": "open"}
        connection.execute(spot_check.delete().where(spot_check.c.item_id == first["item_id"]))
        connection.execute(spot_check.insert().values(**values, drawn_at=0.0))
    again = two.app.test_client().get(f"/api{PAGE}?limit=500", auth=AUTH).json
    assert first["item_id"] not in {row["item_id"] for row in again["examples"]}
    assert again["differences"]["blind"] == now["differences"]["blind"] + 1


def test_what_a_former_version_said_of_another_picture_is_not_compared(two):
    service = two.service()
    with two.process.store.writing() as connection:
        project = project_of(connection, "1")
        change_project(connection, project.id, reference_id=project.next_reference_id, next_reference_id=None)
        task, id = connection.execute(select(item.c.external_id, item.c.id).where(item.c.project_id == 1).limit(1)).one()
    two.tool.projects["1"].change_media(task, "data:image/png;base64,AAAA")
    service.settle()
    service.close()
    with two.process.store.reading() as connection:
        judged = connection.execute(select(verdict.c.reference_id).where(verdict.c.item_id == id)).scalars().all()
        assert judged == [project_of(connection, "1").reference_id]


def test_a_comparison_is_cancelled_and_what_cannot_be_is_refused(two):
    client = two.app.test_client()
    sign_in(client, AUTH[1])
    known = [row["id"] for row in client.get(f"{PAGE}.json").json["now"]["versions"]]
    form = {"csrf": token(client, PAGE), "before": known[0], "after": known[1], "items": 60}
    assert client.post(f"{PAGE}/compare", data=form).status_code == 303
    assert "Comparing begins within seconds" in client.get(PAGE).text
    for values, status in (
        ({"before": known[1], "after": known[0]}, 409),
        ({"after": known[0]}, 422),
        ({"items": 7}, 422),
        ({"items": "many"}, 422),
        ({"after": 4711}, 404),
    ):
        assert client.post(f"{PAGE}/compare", data={**form, **values}).status_code == status, values
    assert "was cancelled" in client.post(f"{PAGE}/cancel", data=form, follow_redirects=True).text
    run(two)
    assert client.get(f"{PAGE}.json").json["now"]["differences"] is None
    assert "had ended already" in client.post(f"{PAGE}/cancel", data=form, follow_redirects=True).text


def test_whoever_runs_it_notices_that_it_was_cancelled(two, monkeypatch):
    from annotriage.service.operations import queued_jobs

    client = two.app.test_client()
    found = client.get(f"/api{PAGE}", auth=AUTH).json
    with two.process.store.writing() as connection:
        asked = {"before": found["before"]["id"], "after": found["after"]["id"], "items": 200, "by": "Ann"}
        jobs.queue(connection, 1, jobs.VERSIONS, asked)
        job = jobs.take(connection, two.process.owner, [jobs.VERSIONS])
        jobs.cancel(connection, 1, jobs.VERSIONS)
    queued_jobs.run_job(two.process, job)
    again = client.get(f"/api{PAGE}", auth=AUTH).json
    assert (again["job"]["state"], again["differences"]) == ("cancelled", None)


def test_one_version_alone_says_what_makes_another(copied, serve_dashboard):
    client = serve_dashboard(*copied, password=AUTH[1]).app.test_client()
    assert "There is one version so far" in client.get(PAGE, auth=AUTH, headers={"Accept": "text/html"}).text


@pytest.mark.browser
def test_the_page_leads_from_the_numbers_to_the_faces(two, open_page, barriers):
    page = open_page(f"{two.url}/projects/1/compare", storage_state=two.session())
    follow(page, page.get_by_role("link", name="two versions of the model"))
    page.get_by_label("Items to draw").fill("5000")
    follow(page, page.get_by_role("button", name="Compare these two"))
    page.locator("#notices", has_text="are being compared").wait_for()
    run(two)
    page.locator("#routes + p + .table").wait_for()
    assert "of the items take another route" in text(page, "#versions")
    cell = page.get_by_role("link", name="from auto to outlier")
    number = int(cell.inner_text().split()[0].replace(",", ""))
    follow(page, cell)
    page.locator("#changed", has_text="From automatic to strange").wait_for()
    faces = page.locator("ul.changes li")
    assert faces.count() == min(number, 48)
    assert barriers(page) == []
    follow(page, faces.first.get_by_role("link"))
    assert "/items/" in page.url
