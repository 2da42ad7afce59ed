"""The routes that Label Studio calls, in front of a small service of this test's own."""

import base64
import json
import subprocess
import sys
import time

import pytest
from flask import Flask, request

from annotriage.errors import UnknownError
from annotriage.labeling_tool import SECRET_HEADER, Shown
from annotriage_label_studio import blueprint

CONFIG = """<View><Image name="img" value="$scan"/><Choices name="view" toName="img">
  <Choice value="Tibia"/><Choice value="Femoral side" alias="femoral"/></Choices></View>"""
BASIC = {"Authorization": "Basic " + base64.b64encode(b"annotriage:pw").decode()}
SECRET = {SECRET_HEADER: "s3cret"}


class Service:
    """A service that knows project 3: odd tasks are Tibia, even ones strangers; task 99 is not there yet."""

    def __init__(self):
        self.events, self.trained = [], []

    control = ()

    def classes_of(self, project, version):
        return ("Tibia", "Femoral side")

    def version_of(self, project):
        return "annotriage knees 1a2b" if project == "3" else None

    def predictions(self, project, records):
        if project != "3":
            raise UnknownError(f"project {project} is not connected to this service; run annotriage connect --project {project}")
        if any(record["id"] == 99 for record in records):
            return None
        names = [("Tibia",) if record["id"] % 2 else None for record in records]
        return "annotriage knees 1a2b", [Shown(str(record["id"]), labels, 0.25) for record, labels in zip(records, names, strict=True)]

    def take_event(self, body):
        self.events.append(body)

    def train(self, project):
        self.trained.append(project)


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def client(service):
    app = Flask("test")
    app.register_blueprint(
        blueprint(
            service,
            lambda: request.authorization is not None and request.authorization.password == "pw",
            lambda: request.headers.get(SECRET_HEADER) == "s3cret",
        )
    )
    return app.test_client()


def predict(client, *ids, **others):
    tasks = [{"id": id, "data": {"scan": "a.png"}} for id in ids]
    return client.post("/predict", json={"tasks": tasks, "project": "3.1795319246", "label_config": CONFIG} | others, headers=BASIC)


def test_health_is_open(client):
    assert client.get("/health").json["status"] == "UP"


@pytest.mark.parametrize("route", ["/setup", "/predict", "/webhook", "/train"])
def test_strangers_are_asked_for_credentials(client, service, route):
    for headers in ({}, {"Authorization": "Basic " + base64.b64encode(b"annotriage:no").decode()}, {SECRET_HEADER: "no"}):
        answer = client.post(route, json={"project": "3.1"}, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
        assert answer.json["status"] == 401
    assert (service.events, service.trained) == ([], [])


def test_the_secret_of_the_webhook_opens_the_webhook_alone(client):
    assert client.post("/webhook", data=b"{}", headers=SECRET).status_code == 200
    assert client.post("/setup", json={"project": "3.1"}, headers=SECRET).status_code == 401


def test_setup_names_the_version_that_the_project_shows(client):
    sent = {"project": "3.1795319246", "schema": CONFIG, "hostname": "http://x", "access_token": "t0ken", "extra_params": {}}
    assert client.post("/setup", json=sent, headers=BASIC).json == {"model_version": "annotriage knees 1a2b"}
    assert client.get("/versions", json=sent, headers=BASIC).json["versions"] == ["annotriage knees 1a2b"]


def test_an_unknown_project_is_a_problem_that_says_what_to_do(client):
    for route in ("/setup", "/predict"):
        answer = client.post(route, json={"project": "4.1", "tasks": [], "access_token": "t0ken"}, headers=BASIC)
        assert answer.status_code == 404
        assert answer.mimetype == "application/problem+json"
        assert "annotriage connect --project 4" in answer.json["detail"]
        assert "t0ken" not in answer.text


def test_every_task_gets_one_result_in_order(client):
    answer = predict(client, 7, 8, 9).json
    assert [prediction["score"] for prediction in answer["results"]] == [0.25] * 3
    assert {prediction["model_version"] for prediction in answer["results"]} == {"annotriage knees 1a2b"}
    tibia = [{"from_name": "view", "to_name": "img", "type": "choices", "value": {"choices": ["Tibia"]}}]
    assert [prediction["result"] for prediction in answer["results"]] == [tibia, [], tibia]


def test_results_follow_the_labeling_config_of_the_request(client):
    renamed = CONFIG.replace('name="view"', 'name="part"').replace('value="Tibia"', 'value="Schienbein" alias="tibia"')
    (region,) = predict(client, 7, label_config=renamed).json["results"][0]["result"]
    assert (region["from_name"], region["value"]) == ("part", {"choices": ["tibia"]})
    assert predict(client, 7).json["results"][0]["result"][0]["from_name"] == "view"


def test_of_several_controls_that_with_the_models_classes_is_answered_unless_another_is_named(client, service):
    first = '<Choices name="first" toName="img"><Choice value="Tibia"/></Choices>'
    config = CONFIG.replace("<Choices", f"{first}<Choices")
    for named, control in ((), "view"), (("first",), "first"):
        service.control = named
        (found,) = predict(client, 7, label_config=config).json["results"]
        assert found["result"][0]["from_name"] == control


def test_a_config_without_a_choice_for_a_class_gets_no_results(client):
    answer = predict(client, 7, label_config=CONFIG.replace("Tibia", "Wrist"))
    assert answer.status_code == 422
    assert "has no choice for 'Tibia'" in answer.json["detail"]


def test_predictions_that_are_not_there_yet_are_put_off(client):
    answer = predict(client, 7, 99)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    "sent", [b"", b'{"tasks"', b"[]", b"{}", b'{"project": 3, "tasks": []}', b'{"project": "3.1", "tasks": [1]}', b'{"project": "3.1"}']
)
def test_a_malformed_request_is_refused(client, sent):
    answer = client.post("/predict", data=sent, headers=BASIC)
    assert answer.status_code == 422
    assert answer.json["detail"]


def test_a_webhook_is_kept_as_it_came(client, service):
    for sent in (b'{"action": "TASKS_CREATED"', b'{"action": "TASKS_DELETED", "tasks": []}'):
        assert client.post("/webhook", data=sent, headers=SECRET).status_code == 200
    assert service.events == [b'{"action": "TASKS_CREATED"', b'{"action": "TASKS_DELETED", "tasks": []}']


def test_training_is_queued_however_it_is_asked_for(client, service):
    started = {"action": "START_TRAINING", "project": {"id": 3, "token": "t0ken"}}
    assert client.post("/webhook", json=started, headers=BASIC).status_code == 200
    assert client.post("/train", json={"project": "3.1"}, headers=BASIC).status_code == 200
    assert (service.trained, service.events) == (["3", "3"], [])


def test_one_known_task_costs_at_most_three_times_an_empty_route(client):
    client.application.add_url_rule("/empty", view_func=lambda: request.get_json() and {"results": []}, methods=["POST"])
    sent = json.dumps({"tasks": [{"id": 7, "data": {"scan": "a.png"}}], "project": "3.1", "label_config": CONFIG})

    def seconds(route):
        def once():
            start = time.thread_time()
            assert client.post(route, data=sent, content_type="application/json", headers=BASIC).status_code == 200
            return time.thread_time() - start

        return min(once() for _ in range(200))

    assert seconds("/predict") <= 3 * seconds("/empty")


def test_the_plugin_is_loaded_without_what_only_a_server_needs():
    program = "import sys, annotriage_label_studio; print(sorted({'flask', 'requests', 'urllib3'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
