"""The servers that the tests stand on are what they say."""

import requests
import sqlalchemy
from waiting import PATIENCE


def test_each_test_has_its_own_project_on_the_real_label_studio(label_studio):
    first, second = label_studio.project(), label_studio.project(title="My own title")
    ids = label_studio.import_tasks(first, [{"image": "https://example.com/1.png"}, {"image": "https://example.com/2.png"}])
    label_studio.annotate(ids[0], "dog")
    assert label_studio.call("GET", f"/api/projects/{first}")["num_tasks_with_annotations"] == 1
    assert label_studio.call("GET", f"/api/projects/{second}")["task_number"] == 0


def test_an_invited_person_labels_what_the_label_button_hands_out(label_studio):
    project = label_studio.project()
    (task,) = label_studio.import_tasks(project, [{"image": "https://example.com/1.png"}])
    person = label_studio.user()
    assert person.next_task(project)["id"] == task
    label_studio.annotate(task)
    assert person.next_task(project) is None


def test_a_personal_token_is_exchanged_for_one_that_calls_the_api(label_studio):
    for token in (label_studio.personal_token(), label_studio.user().personal_token):
        access = requests.post(f"{label_studio.url}/api/token/refresh/", json={"refresh": token}, timeout=PATIENCE).json()["access"]
        who = requests.get(f"{label_studio.url}/api/current-user/whoami", headers={"Authorization": f"Bearer {access}"}, timeout=PATIENCE)
        assert who.status_code == 200


def test_each_test_has_its_own_postgresql_database(postgres):
    engine = sqlalchemy.create_engine(postgres)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE kept (x int)"))
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT count(*) FROM pg_tables WHERE tablename = 'kept'")).scalar() == 1
        assert connection.execute(sqlalchemy.text("SELECT current_database()")).scalar() in postgres
    engine.dispose()


def test_the_next_test_sees_nothing_of_it(postgres):
    engine = sqlalchemy.create_engine(postgres)
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT count(*) FROM pg_tables WHERE tablename = 'kept'")).scalar() == 0
    engine.dispose()
