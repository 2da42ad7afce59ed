"""The page of the label audit: asked for by a click, decided on finding by finding."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import select, text
from web import sign_in

from annotriage.store import jobs
from annotriage.store.label_audits import findings_of
from annotriage.store.schema import item, spot_check, twin


@pytest.fixture
def page(copied, serve_dashboard):
    """A dashboard on whose project people gave a dozen wrong answers: a signed-in client, and the service."""
    dashboard = serve_dashboard(*copied, password="right")
    with dashboard.process.store.writing() as connection:
        checks = select(spot_check.c.item_id)
        answered = select(item.c.id).where(item.c.project_id == 1, item.c.answer == "resolved", ~item.c.machine, item.c.id.not_in(checks))
        for id in connection.execute(answered.order_by(item.c.id).limit(12)).scalars().all():
            was = connection.execute(text("SELECT labels FROM item WHERE id = :id"), {"id": id}).scalar_one()
            wrong = '["1"]' if was != '["1"]' else '["2"]'
            connection.execute(text("UPDATE item SET labels = :wrong WHERE id = :id"), {"wrong": wrong, "id": id})
    client = dashboard.app.test_client()
    sign_in(client, "right")
    return client, dashboard


def post(client, path, page):
    token = re.search(r'name="csrf" value="([^"]+)"', page).group(1)
    return client.post(path, data={"csrf": token}, follow_redirects=True)


def test_an_audit_is_asked_for_and_its_findings_are_decided(page):
    client, dashboard = page
    first = client.get("/projects/1/label-audit").text
    assert "No label was checked yet." in first
    assert "The labels are being checked" in post(client, "/projects/1/label-audit/start", first).text
    service = dashboard.service()
    service.run_jobs()
    service.close()
    found = client.get("/projects/1/label-audit").text
    assert found.count("The label is right</button>") >= 8
    with dashboard.process.store.reading() as connection:
        (job,) = [job for job in jobs.jobs_of(connection, 1) if job.kind == jobs.LABEL_AUDIT]
        doubted = findings_of(connection, 1)[0]
    assert job.state == "done"
    after = post(client, f"/projects/1/label-audit/{doubted.item_id}/keep", found).text
    assert "0 of 1 decided" in after
    assert after.count("The label is right</button>") == found.count("The label is right</button>") - 1
    assert post(client, f"/projects/1/label-audit/{doubted.item_id}/keep", after).status_code == 404


def test_duplicates_are_listed_with_what_they_repeat(page):
    client, dashboard = page
    with dashboard.process.store.writing() as connection:
        checks = select(spot_check.c.item_id)
        mine = (item.c.project_id == 1, item.c.external_id.is_not(None), ~item.c.gone, item.c.id.not_in(checks))
        first, copy = connection.execute(select(item.c.id, item.c.external_id).where(*mine).order_by(item.c.id).limit(2)).all()
        found = {"item_id": copy.id, "twin_id": first.id, "project_id": 1, "kind": "near", "distance": 0.5, "state": "found", "at": 1.0}
        connection.execute(twin.insert().values(found))
    shown = client.get("/projects/1/label-audit", headers={"Accept": "text/html"}).text
    assert "1 item repeats an earlier one" in shown
    row = re.search(r'aria-label="Duplicates".*?<tbody>(.*?)</tbody>', shown, re.DOTALL).group(1)
    assert [f'/items/{name}"' in row for name in (copy.external_id, first.external_id)] == [True, True]
    (told,) = client.get("/projects/1/label-audit.json").json["repeats"]
    assert (told["task"], told["of"]["task"], told["of"]["kind"]) == (copy.external_id, first.external_id, "near")


def test_a_failed_audit_says_why(copied, serve_dashboard):
    dashboard = serve_dashboard(*copied, password="right")
    client = dashboard.app.test_client()
    sign_in(client, "right")
    post(client, "/projects/2/label-audit/start", client.get("/projects/2/label-audit").text)
    service = dashboard.service()
    service.run_jobs()
    service.close()
    assert "The last audit failed: " in client.get("/projects/2/label-audit").text
    assert "people have answered no items" in client.get("/projects/2/label-audit").text
