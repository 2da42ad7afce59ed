"""Schemathesis makes requests out of the OpenAPI document, right ones and wrong ones: no answer is other than the document says.

`HYPOTHESIS_PROFILE=long python -m pytest tests/web/api/test_openapi.py` makes 10,000 of them.
"""

from __future__ import annotations

import base64

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.config._checks import NEGATIVE_DATA_REJECTION_EXPECTED_STATUSES
from schemathesis.specs.openapi.checks import positive_data_acceptance

from annotriage.service.operations.process import Process
from annotriage.settings import ServiceSettings
from annotriage.store.projects import projects
from annotriage.web.app import create_app

KNOWN = {"project": ["1", "2"], "task": ["1", "7", "250"], "name": ["camera"], "version": ["1"], "batch": ["1"], "proposal": ["1"]}
PUSHED = [{"project": "1", "items": [{"id": "a", "media": "https://host/a.png"}]}]


@pytest.fixture
def api(copied):
    """The API's document on a service with a history, and the app itself."""
    database, tool = copied
    process = Process(ServiceSettings(database=database, label_studio_token="unused", password="right"), "web")
    process.server = tool
    app = create_app(process)
    credentials = {"Authorization": f"Basic {base64.b64encode(b'annotriage:right').decode()}", "Accept-Encoding": "identity"}
    schema = schemathesis.openapi.from_wsgi("/api/openapi.json", app, headers=credentials)
    schema.config.checks.negative_data_rejection.expected_statuses = [*NEGATIVE_DATA_REJECTION_EXPECTED_STATUSES, 413]
    yield schema, credentials, process
    process.leave()


def requests_of(schema):
    """Requests to each operation: by the document's letter or against it, half of them to things that there are."""
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == sum(len(methods) for methods in schema.raw_schema["paths"].values())

    @st.composite
    def requests(draw):
        operation = draw(st.sampled_from(operations))
        mode = draw(st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE]))
        case = draw(operation.as_strategy(generation_mode=mode))
        if draw(st.booleans()):
            for part in case.path_parameters:
                case.path_parameters[part] = draw(st.sampled_from(KNOWN.get(part, ["1"])))
        return case

    return requests()


def test_whatever_the_document_allows_or_forbids_is_answered_as_it_says(api):
    schema, credentials, process = api

    @settings(suppress_health_check=list(HealthCheck))
    @given(case=requests_of(schema))
    def ask(case):
        case.call_and_validate(headers=credentials, excluded_checks=[positive_data_acceptance])

    ask()
    with process.store.reading() as connection:
        assert {project.external_id for project in projects(connection)} == {"1", "2"}
