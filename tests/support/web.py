"""The web process under test: requests with or without credentials, every answer of the API held against the OpenAPI document."""

from __future__ import annotations

import base64
import re

from jsonschema import Draft202012Validator

from annotriage.web.app import create_app

PAGE = {"Accept": "text/html"}


def token(client, path="/sign-in", **options):
    """The token of a client's session, out of a page's form."""
    return re.search(r'name="csrf" value="([^"]+)"', client.get(path, headers=PAGE, **options).text).group(1)


def sign_in(client, password="right", **values):
    """What the form for signing in answers. values: of further fields."""
    form = {"user": "annotriage", "password": password, "csrf": token(client), **values}
    return client.post("/sign-in", data=form, headers=PAGE)


def submit(client, path, page, **form):
    """What a form of the page at the address `page` is answered with, in the end."""
    return client.post(path, data={"csrf": token(client, page), **form}, follow_redirects=True)


class Web:
    """A client of an app on a process. covered: operations with the statuses that were seen, as (method, path, status)."""

    def __init__(self, process):
        self.process = process
        self.app = create_app(process)
        self.client = self.app.test_client()
        self.document = self.get("/api/openapi.json").json
        self.covered = set()

    def credentials(self, user=None, password=None):
        words = f"{user or self.process.settings.user}:{password or self.process.password}"
        return {"Authorization": f"Basic {base64.b64encode(words.encode()).decode()}"}

    def open(self, method, path, *, headers=None, **given):
        headers = self.credentials() if headers is None else headers
        answer = self.client.open(path, method=method, headers=headers, **given)
        if path.startswith("/api/") and hasattr(self, "document"):
            self._check(method, path.partition("?")[0], answer)
        return answer

    def get(self, path, **given):
        return self.open("GET", path, **given)

    def post(self, path, **given):
        return self.open("POST", path, **given)

    def operation(self, method, path):
        for template, methods in self.document["paths"].items():
            if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path) and method.lower() in methods:
                return template, methods[method.lower()]
        return None

    def _check(self, method, path, answer):
        found = self.operation(method, path)
        if found is None:
            return
        template, operation = found
        described = operation["responses"][str(answer.status_code)]["content"]
        assert answer.mimetype in described, f"{method} {template}: {answer.mimetype} {answer.text[:500]}"
        schema = described[answer.mimetype]["schema"] | {"components": self.document["components"]}
        errors = [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(answer.json)]
        assert errors == [], f"{method} {template}: {errors[:5]}"
        self.covered.add((method, template, answer.status_code))
