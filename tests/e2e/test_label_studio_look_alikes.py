"""Look-alikes in a real Label Studio: people answer some in a tab of their own, the rest is labelled at once, and all is taken back."""

from __future__ import annotations

import pytest
from service_fixtures import Steps
from sqlalchemy import select
from stores import Filled

from annotriage.guarantee.look_alikes import looks
from annotriage.service.guarantee import proposals as deeds
from annotriage.service.operations.references import keep_reference
from annotriage.settings import ServiceSettings
from annotriage.states import ProposalState
from annotriage.store import proposals, spot_checks
from annotriage.store.projects import ProjectOptions, add_project, get_project
from annotriage.store.schema import item
from annotriage_label_studio import connect_server

CHOICES = "".join(f'<Choice value="{digit}"/>' for digit in range(9))
CONFIG = f'<View><Image name="image" value="$image"/><Choices name="label" toName="image">{CHOICES}</Choices></View>'
NEW = "8"  # can be chosen, and is no class of the model
SIZE, ERROR = 30, 0.3
FIRST = looks(SIZE, ERROR, 0.95)[0].size


@pytest.mark.parametrize("accept", ["suggest", "annotate"])
def test_the_rest_of_a_group_is_labelled_at_once_and_taken_back(label_studio, process, digits_reference, accept):
    there = label_studio.project(CONFIG, title=f"Look-alikes, {accept}")
    tasks = label_studio.import_tasks(there, [{"image": f"http://127.0.0.1:1/{place}.png"} for place in range(SIZE)])
    process.server = connect_server(ServiceSettings(label_studio_url=label_studio.url, label_studio_token=label_studio.token))
    worker, reference = Steps(process), keep_reference(process.store, digits_reference)
    options = ProjectOptions(accept=accept, group_error=ERROR, item_fields=False)
    with process.store.writing() as connection:
        project = add_project(connection, str(there), "Look-alikes", reference, options, watch=False)
    worker.follow()
    with process.store.reading() as connection:
        ids = list(connection.execute(select(item.c.id).where(item.c.project_id == project.id)).scalars())
    assert len(ids) == SIZE
    Filled(process.store, project, [reference]).judge(ids, "uncertain", labels=("3",))
    worker.settle()
    worker.follow()  # which version the project shows

    def present():
        with process.store.reading() as connection:
            return get_project(connection, project.id)

    def state():
        with process.store.reading() as connection:
            return proposals.proposal_of(connection, present(), group).state

    def tend():
        deeds.tend_proposals(process, present())
        worker.settle()

    def predictions():
        """What each task's predictions say, by version."""
        found = {}
        for row in label_studio.call("GET", "/api/predictions/", project=there):
            said = row["result"][0]["value"]["choices"][0] if row["result"] else None
            found.setdefault(row["model_version"], {})[row["task"]] = said
        return found

    (shown,) = predictions()
    group = deeds.propose_items(process, present(), ids, "ann")
    deeds.ask_people(process, present(), group, "ann")
    tend()
    asked = tab(label_studio, there, f"Look-alikes {group}: chosen on the map")
    assert len(asked) == FIRST
    assert {task: said for task, said in predictions()[shown].items() if task in asked} == dict.fromkeys(asked), "they are answered blind"
    for task in asked:
        label_studio.annotate(task, NEW)
    worker.follow()
    tend()
    assert state() == ProposalState.SHOWN
    deeds.label_rest(process, present(), group, "boss")
    tend()
    worker.follow()
    rest = set(tasks) - set(asked)
    version = f"annotriage look-alikes {group}"
    assert state() == ProposalState.LABELLED
    assert predictions()[version] == dict.fromkeys(rest, NEW)
    assert set(tab(label_studio, there, f"Look-alikes {group}: chosen on the map")) == rest
    labelled = {task: answers for task, answers in annotations(label_studio, there).items() if task in rest}
    assert labelled == ({task: [NEW] for task in rest} if accept == "annotate" else {})
    with process.store.reading() as connection:
        assert spot_checks.learnable(connection, project.id, 100) == FIRST, "the machine's labels are nobody's answers"
    deeds.undo_labels(process, present(), group, "boss")
    tend()
    worker.follow()
    assert state() == ProposalState.UNDONE
    assert set(predictions()) == {shown}
    assert set(annotations(label_studio, there)) == set(asked)
    assert f"Look-alikes {group}: chosen on the map" not in tabs(label_studio, there)
    assert present().shown_version == shown


def tabs(label_studio, project):
    return {view["data"]["title"]: view["id"] for view in label_studio.call("GET", "/api/dm/views/", project=project)}


def tab(label_studio, project, title):
    """The tasks that people see in a tab."""
    view = tabs(label_studio, project)[title]
    return [task["id"] for task in label_studio.call("GET", "/api/tasks/", project=project, view=view, page_size=100)["tasks"]]


def annotations(label_studio, project):
    """The labels of each task that has an annotation."""
    exported = label_studio.call("GET", f"/api/projects/{project}/export", exportType="JSON")
    return {task["id"]: [answer["result"][0]["value"]["choices"][0] for answer in task["annotations"]] for task in exported}
