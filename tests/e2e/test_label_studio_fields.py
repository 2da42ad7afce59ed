"""The jobs process against a real Label Studio: queued tasks carry why they wait and the state of their dataset."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy import select, update
from triaged import data_uri, judge
from waiting import wait_until

from annotriage.service.delivery.field_writing import FIELDS
from annotriage.service.operations.jobs import run_jobs
from annotriage.service.operations.process import Process
from annotriage.service.operations.references import keep_reference
from annotriage.settings import ServiceSettings
from annotriage.store import items
from annotriage.store.projects import ProjectOptions, add_project
from annotriage.store.schema import delivery, field_write

CONFIG = """<View><Image name="image" value="$image"/><Choices name="label" toName="image">
{}</Choices></View>""".format("".join(f'<Choice value="{digit}"/>' for digit in range(8)))


@pytest.fixture
def process(label_studio, tmp_path):
    settings = ServiceSettings(
        label_studio_url=label_studio.url, label_studio_token=label_studio.token, database=f"sqlite:///{tmp_path}/store.db"
    )
    return Process(settings, "jobs")


@pytest.fixture
def running(process):
    """Start the jobs process in a thread; at the end it is stopped, and must have ended well."""
    thread = threading.Thread(target=run_jobs, args=[process])
    yield thread.start
    process.stopping.set()
    thread.join()


def test_queued_tasks_say_why_and_keep_what_people_wrote_into_them(process, running, label_studio, digits, digits_reference):
    number = label_studio.project(CONFIG)
    pictures = [data_uri(image) for image in (*digits.strangers[0][:12], *digits.incoming[0][:48])]
    ids = label_studio.import_tasks(number, [{"image": picture, "scanner": "A"} for picture in pictures])
    label_studio.call("PATCH", f"/api/tasks/{ids[0]}/", {"data": {"image": pictures[0], "scanner": "A", "comment": "look twice"}})
    options = ProjectOptions(sample_share=0.0, audit_share=0.0)
    reference_id = keep_reference(process.store, digits_reference)
    with process.store.writing() as connection:
        project = add_project(connection, str(number), "Digits", reference_id, options, watch=False)
    tool = process.tool_project(project)
    for page in tool.tasks_after(""):
        with process.store.writing() as connection:
            items.add_tasks(connection, project, page)
    judge(process)
    with process.store.reading() as connection:
        waiting = len(connection.execute(select(field_write.c.item_id)).all())
    with process.store.writing() as connection:
        connection.execute(update(delivery).values(state="confirmed"))
    started = time.monotonic()
    running()
    wait_until(lambda: _written(process, waiting), what="for the fields")
    assert time.monotonic() - started > (waiting - 1) / 5, "at most five a second"
    found = [label_studio.call("GET", f"/api/tasks/{id}/")["data"] for id in ids]
    for_all = {"triage_route", "triage_reason", "triage_outlier_score"}
    queued = [data for data in found if for_all <= set(data)]
    assert len(queued) == waiting >= 8
    assert all(("triage_diversity" in data) == (data["triage_route"] == "outlier") for data in queued), "it speaks of strange ones alone"
    assert all(not set(FIELDS) & set(data) for data in found if data not in queued)
    assert all(data["scanner"] == "A" for data in found)
    assert [data["image"] for data in found] == pictures
    first = found[0]
    assert (first["triage_route"], first["comment"]) == ("outlier", "look twice")
    assert first["triage_outlier_score"] >= 0.95
    assert first["triage_diversity"].endswith("5% expected")


def _written(process, number):
    with process.store.reading() as connection:
        states = connection.execute(select(field_write.c.state)).scalars().all()
    return states == ["written"] * number
