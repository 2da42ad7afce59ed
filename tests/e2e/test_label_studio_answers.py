"""Answers, spot checks, acceptance and recalibration with a real Label Studio; the worker's parts are stepped, so nothing waits."""

from __future__ import annotations

import dataclasses

import pytest
from running import RunningService
from sqlalchemy import select
from triaged_project import CONFIG, Triaged, answer, picture
from waiting import wait_until

from annotriage.engine.fitting import fit
from annotriage.service.delivery import accepting
from annotriage.service.delivery.accepting import accept_batch, undo
from annotriage.service.delivery.rescoring import advance_rescoring
from annotriage.service.guarantee.recalibrating import recalibrate
from annotriage.service.guarantee.spot_checks import standing, tend_spot_checks
from annotriage.service.intake.answering import answering, give_answer, take_answer_back
from annotriage.service.quality.gold import keep_known, take_gold_out, tend_gold
from annotriage.service.readings.people import people_error, people_state
from annotriage.store import acceptances
from annotriage.store.schema import item


@pytest.fixture(scope="module")
def lenient(digits_model, digits, quick):
    """A reference with a limit that a few dozen answers can show."""
    return fit(digits_model, digits.train, digits.held_out, settings=dataclasses.replace(quick, max_error=0.1), name="digits")


@pytest.fixture
def triaged(tmp_path, label_studio, lenient):
    made = []

    def triaged(images, **options):
        made.append(Triaged(tmp_path, label_studio, lenient, images, **options))
        return made[-1]

    yield triaged
    for started in made:
        started.process.leave()


def test_a_known_answer_is_handed_out_as_a_spot_check_compared_and_taken_out(triaged, label_studio, digits):
    options = {"sample_share": 0.3, "audit_share": 0.0, "gold_share": 0.4, "item_fields": True}
    project = triaged(digits.incoming[0][:14], **options)
    truth = {id: str(label) for id, label in zip(sorted(project.items(), key=int), digits.incoming[1][:14], strict=True)}
    checks = project.spot_checks()
    known = next(id for id in truth if id not in checks)
    label_studio.annotate(int(known), truth[known])
    project.follow()
    assert keep_known(project.process, project.project, {known: (truth[known],)}, "boss").added == 1
    before = project.items()
    tend_gold(project.process, project.project)
    project.settle()
    (copy,) = project.items().keys() - before.keys()
    task = project.tasks()[copy]
    assert task["data"]["image"] == project.tasks()[known]["data"]["image"]
    assert (task["data"]["triage_route"], task["data"]["triage_spot_check"]) == ("spot check", "yes")
    assert (task["annotations"], task["meta"]) == ([], project.tasks()[known]["meta"])
    (shown,), (drawn,) = project.predictions()[copy], project.predictions()[next(iter(checks))]
    assert (shown["result"], shown["model_version"]) == (drawn["result"], drawn["model_version"]) == ([], project.version())
    person, handed = label_studio.user(), []
    while (task := person.next_task(project.id)) is not None:
        handed.append(str(task["id"]))
        wrong = str((int(truth[known]) + 1) % 8)
        answer(person, handed[-1], wrong if handed[-1] == copy else truth[handed[-1]])
    assert copy in handed
    project.follow()
    with project.process.store.reading() as connection:
        assert people_error(connection, project.project).startswith("People were wrong on 1 of 1 task")
    assert take_gold_out(project.process, project.project)
    assert copy not in project.tasks()
    with project.process.store.reading() as connection:
        (told,) = people_state(project.process, connection, project.project, managers=True).answered_gold
    assert (told.of, told.known, told.right) == (known, truth[known], False)
    assert told.person == person.email  # as show_people says


def test_an_answer_given_here_is_its_persons_own_in_label_studio(tmp_path, label_studio, digits_reference, digits):
    triaged = Triaged(tmp_path, label_studio, digits_reference, digits.strangers[0][:2], sample_share=0.0, audit_share=0.0)
    person = label_studio.user()
    process, project = triaged.process, triaged.project
    may = answering(process, project, person.email.upper())
    assert (may.labels, may.several) == ((*"01234567", "None of these"), False)
    with process.store.reading() as connection:
        first, second = connection.execute(select(item.c.id, item.c.external_id).order_by(item.c.id)).all()
    given = give_answer(process, project, first.id, ["None of these"], person.email, 2.5)
    (task,) = [
        one for one in label_studio.call("GET", "/api/tasks/", project=triaged.id, fields="all")["tasks"] if str(one["id"]) == given.task
    ]
    (annotation,) = task["annotations"]
    assert (annotation["completed_by"], annotation["lead_time"], task["is_labeled"]) == (person.id, 2.5, True)
    assert annotation["result"][0]["value"] == {"choices": ["none-of-these"]}
    with process.store.reading() as connection:
        assert connection.execute(select(item.c.labels).where(item.c.id == first.id)).scalar_one() == ["None of these"]
    assert str(person.next_task(triaged.id)["id"]) == second.external_id
    take_answer_back(process, project, first.id, given.review, person.email)
    with process.store.reading() as connection:
        assert connection.execute(select(item.c.answer).where(item.c.id == first.id)).scalar_one() == "open"


def test_a_disagreement_on_a_spot_check_gets_a_second_blind_answer_from_somebody_else(triaged, label_studio, digits):
    project = triaged(digits.incoming[0][:12], sample_share=1.0)
    one, other = label_studio.user(), label_studio.user()
    said = project.spot_checks()
    assert len(said) == 12
    task = next(id for id, label in said.items() if label != "7")
    answer(one, task, "7")
    project.follow()
    assert "disagreed" in project.states()
    tend_spot_checks(project.process, project.project)
    project.follow()
    assert project.items()[task].answer == "open", "the task wants another answer"
    given = []
    while (handed := other.next_task(project.id)) is not None and str(handed["id"]) != task:
        given.append(answer(other, handed["id"], said[str(handed["id"])]))
    assert handed is not None, "the Label button hands it to the other person"
    assert [prediction["result"] for prediction in project.predictions()[task]] == [[]]
    answer(other, task, "7")
    project.follow()
    assert project.states().count("wrong") == 1
    assert project.states().count("right") == len(given)
    assert project.items()[task].labels == ["7"]


def test_a_recalibration_takes_over_while_annotators_always_see_a_prediction(triaged, label_studio, digits):
    project = triaged(digits.incoming[0][:90], sample_share=0.8)
    truth = dict(zip(project.tasks(), digits.incoming[1][:90], strict=True))
    former = project.version()
    for task in project.spot_checks():
        answer(label_studio.admin, task, truth[task])
    project.follow()
    for _ in range(2):
        tend_spot_checks(project.process, project.project)
    with project.process.store.reading() as connection:
        now = standing(connection, project.project)
    assert now.sample_answers >= now.sample_needed, now
    reference = recalibrate(project.process, project.project)
    seen = []
    for _ in range(6):
        advance_rescoring(project.process, project.project)
        shown, predictions = project.version(), project.predictions()
        seen.append(shown)
        assert {sum(prediction["model_version"] == shown for prediction in given) for given in predictions.values()} == {1}
        project.settle()
    assert seen[0] == former
    assert seen[-1] == project.version() == reference.prediction_version == project.project.version
    assert {prediction["model_version"] for given in project.predictions().values() for prediction in given} == {
        reference.prediction_version
    }
    assert (project.project.next_reference_id, project.project.old_reference_id) == (None, None)


def test_after_its_probation_a_dataset_is_annotated_by_machine_and_a_batch_can_be_undone(triaged, label_studio, digits, monkeypatch):
    monkeypatch.setattr(accepting, "LOST_SECONDS", 0.0)
    project = triaged(digits.incoming[0][:60], sample_share=0.0, audit_share=0.01, accept="annotate")
    assert accept_batch(project.process, project.project) == 0, "on probation"
    for task, label in project.spot_checks().items():
        answer(label_studio.admin, task, label)
    project.follow()
    project.add(digits.incoming[0][60:120])
    count = accept_batch(project.process, project.project)
    assert count > 20
    assert accept_batch(project.process, project.project) == 0
    project.follow()
    machine = {id: row for id, row in project.items().items() if row.machine}
    assert len(machine) == count
    tasks = project.tasks()
    assert all(len(tasks[id]["annotations"]) == 1 and row.answer == "resolved" for id, row in machine.items())
    assert all(len(task["annotations"]) <= 1 for task in tasks.values())
    kept = next(iter(machine))
    (annotation,) = tasks[kept]["annotations"]
    value = [{**annotation["result"][0], "value": {"choices": ["None of these"]}}]
    label_studio.admin.call("PATCH", f"/api/annotations/{annotation['id']}/", {"result": value, "lead_time": 3.0})
    project.follow()
    assert (project.items()[kept].machine, project.items()[kept].labels) == (False, ["None of these"])
    with project.process.store.reading() as connection:
        (batch,) = acceptances.batches(connection, project.key)
    assert undo(project.process, project.project, batch.id) == count - 1
    tasks, items = project.tasks(), project.items()
    assert [id for id in machine if tasks[id]["annotations"]] == [kept]
    assert {items[id].answer for id in machine if id != kept} == {"open"}
    assert accept_batch(project.process, project.project) == 0, "not by itself again"


@pytest.fixture
def service(tmp_path, label_studio):
    """The service as its users run it."""
    service = RunningService(tmp_path / "service", label_studio.url, label_studio.token)
    service.start()
    yield service
    service.stop()


def connected(label_studio, service, reference, folder, images, *options):
    """A project with pictures, triaged by the running service; its tasks."""
    reference.save(folder)
    project = label_studio.project(config=CONFIG)
    service.command("connect", "--project", project, "--reference", folder, "--item-fields", "off", *options)
    tasks = label_studio.import_tasks(project, [{"image": picture(image)} for image in images])
    wait_until(lambda: len(predictions(label_studio, project)) == len(tasks), what="for the predictions")
    return project, tasks


def predictions(label_studio, project):
    found = {}
    for prediction in label_studio.call("GET", "/api/predictions/", project=project):
        found.setdefault(prediction["task"], []).append(prediction["model_version"])
    return found


def test_the_running_service_recalibrates_and_is_killed_while_the_new_reference_takes_over(
    label_studio, service, lenient, tmp_path, digits
):
    images, labels = digits.incoming[0][:70], digits.incoming[1][:70]
    project, tasks = connected(label_studio, service, lenient, tmp_path / "digits", images, "--sample-share", 0.8, "--audit-share", 0)
    truth = dict(zip(tasks, labels, strict=True))
    sample = [int(check["task"]) for check in service.get(f"/api/projects/{project}/spot-checks", limit=200)["spot_checks"]]
    for task in sample:
        answer(label_studio.admin, task, truth[task])
    wait_until(
        lambda: service.get(f"/api/projects/{project}/guarantee")["standing"]["sample_answers"] >= 0.8 * len(sample), what="for the answers"
    )
    path = f"/api/projects/{project}/"
    former = label_studio.call("GET", path)["model_version"]
    assert service.call("POST", f"/api/projects/{project}/recalibrate").status_code == 202

    wait_until(lambda: service.get(f"/api/projects/{project}")["rescoring"], what="for the new reference to be judged under", every=0.05)
    service.kill()
    service.start()

    def taken_over():
        shown = label_studio.call("GET", path)["model_version"]
        given = predictions(label_studio, project)
        assert all(given[task].count(shown) == 1 or label_studio.call("GET", path)["model_version"] != shown for task in tasks)
        return shown != former and all(versions == [shown] for versions in given.values())

    wait_until(taken_over, 120, what="for the new reference")
    assert service.get(f"/api/projects/{project}")["project"]["version"] == label_studio.call("GET", path)["model_version"]


def test_the_alarm_stops_automatic_labels_and_says_why_everywhere(label_studio, service, lenient, tmp_path, digits):
    project, _ = connected(
        label_studio, service, lenient, tmp_path / "digits", digits.incoming[0][:25], "--sample-share", 0, "--audit-share", 1
    )
    spot_checks = service.get(f"/api/projects/{project}/spot-checks", limit=200)["spot_checks"]  # all of automatic labels here
    people = label_studio.admin, label_studio.user()
    for check in spot_checks[:10]:
        for person in people:
            answer(person, check["task"], "None of these")
    wait_until(lambda: service.get(f"/api/projects/{project}/guarantee")["paused"], what="for the alarm")
    why = service.get(f"/api/projects/{project}/guarantee")["paused"]
    assert why.startswith("alarm: ")
    assert f"annotriage recalibrate --project {project}" in why
    assert "alarm: " in service.command("doctor", check=False)
    wait_until(lambda: '"event": "alarm"' in service.log.read_text(), what="for the log, in which it stands once it is kept")
    assert service.call("POST", f"/api/projects/{project}/resume").status_code == 409
    label_studio.import_tasks(project, [{"image": picture(image)} for image in digits.incoming[0][25:35]])
    wait_until(lambda: len(predictions(label_studio, project)) == 35, what="for the predictions")
    items = [line["item"] for line in service.get(f"/api/projects/{project}/items", limit=200)["items"]]
    assert all(item["route"] != "auto" for item in items if int(item["task"]) > max(int(check["task"]) for check in spot_checks))
