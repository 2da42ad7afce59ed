"""The Dockerfile and the compose file name what exists: files, settings, ports, variables. Nothing here starts a container."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from annotriage.cli import main
from annotriage.settings import ServiceSettings

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "docker"
COMPOSE = (DOCKER / "compose.yaml").read_text("utf-8")


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load(COMPOSE)["services"]


@pytest.fixture(scope="module")
def image():
    """The Dockerfile's instructions: (word, rest), in order."""
    text = re.sub(r"\\\n\s*", " ", (DOCKER / "Dockerfile").read_text("utf-8"))
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line and not line.startswith("#")]


def environment(image):
    words = [word for name, rest in image if name == "ENV" for word in shlex.split(rest)]
    return dict(word.split("=", 1) for word in words)


def ours(variables):
    """Annotriage's own settings, with something in the place of secrets."""
    return {name: re.sub(r"\$\{[^}]*\}", "secret", text) for name, text in variables.items() if name.startswith("ANNOTRIAGE_")}


def last(image, word):
    return [rest for name, rest in image if name == word][-1]


def test_the_image_is_built_from_files_that_are_sent_to_the_build(image):
    sent = [line.removeprefix("!") for line in (DOCKER / "Dockerfile.dockerignore").read_text("utf-8").splitlines() if line.startswith("!")]
    copied = [path for name, rest in image if name == "COPY" and "--from" not in rest for path in rest.split()[:-1]]
    assert {*copied} == {*sent}
    assert all((ROOT / path).exists() for path in copied)


def test_the_image_runs_the_service_as_an_ordinary_user(image):
    assert last(image, "USER") == "annotriage"
    command = [*json.loads(last(image, "ENTRYPOINT")), *json.loads(last(image, "CMD"))]
    assert command[0] == "annotriage"
    assert command[1] in main.commands


def test_the_settings_in_the_image_and_in_the_compose_file_are_understood(image, services):
    variables = ours(environment(image)) | ours(services["annotriage"]["environment"])
    settings = ServiceSettings.load(None, variables)
    assert settings.label_studio_url == "http://label-studio:8080"
    assert settings.database == "postgresql://annotriage:secret@postgres/annotriage"
    assert settings.host == "0.0.0.0"


def test_the_ports_agree(image, services):
    settings = ServiceSettings.load(None, ours(environment(image)) | ours(services["annotriage"]["environment"]))
    assert last(image, "EXPOSE") == str(settings.port)
    assert f"127.0.0.1:{settings.port}/health" in last(image, "HEALTHCHECK")
    assert settings.service_url == f"http://annotriage:{settings.port}"
    assert services["annotriage"]["ports"] == [f"127.0.0.1:{settings.port}:{settings.port}"]
    assert services["label-studio"]["ports"] == ["127.0.0.1:8080:8080"]


def test_services_wait_for_those_that_they_need_to_be_healthy(services):
    for service in services.values():
        for name, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            assert "healthcheck" in services[name]


def test_the_label_studio_is_the_one_that_the_tests_run(services):
    constraints = (ROOT / ".ci" / "constraints-label-studio.txt").read_text("utf-8")
    version = services["label-studio"]["image"].partition(":")[2]
    assert f"label-studio=={version}" in constraints.splitlines()


def test_both_databases_are_there(services):
    variables = services["postgres"]["environment"]
    assert services["label-studio"]["environment"]["POSTGRE_NAME"] in (DOCKER / "label-studio.sql").read_text("utf-8")
    assert services["label-studio"]["environment"]["POSTGRE_USER"] == variables["POSTGRES_USER"] == "annotriage"
    assert variables["POSTGRES_DB"] == "annotriage"
    assert "./label-studio.sql" in {place.split(":")[0] for place in services["postgres"]["volumes"]}


def test_every_variable_is_explained_and_no_secret_has_a_default(services):
    named = set(re.findall(r"^#   ([A-Z_]+)=", COMPOSE, re.MULTILINE))
    assert set(re.findall(r"\$\{([A-Z_]+):\?", COMPOSE)) == named
    assert set(re.findall(r"\$\{([A-Z_]+):-", COMPOSE)) == {"REFERENCES"}
