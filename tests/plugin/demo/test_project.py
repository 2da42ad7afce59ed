"""What the demo looks at in its Label Studio, while the service is at work there."""

from annotriage.errors import ToolGone
from annotriage_label_studio.demo.project import LabelStudioDemo
from annotriage_label_studio.server.client import Client


def test_a_tab_that_is_made_anew_while_the_demo_looks_is_left_out(monkeypatch):
    def get(client, path, **asked):
        if path == "/api/dm/views/":
            return [{"id": 1, "data": {"title": "Manual review"}}, {"id": 2, "data": {"title": "Outliers"}}]
        if asked["view"] == 1:
            raise ToolGone("No View matches the given query")
        return {"tasks": [{"id": 5, "data": {}}], "total": 1}

    monkeypatch.setattr(Client, "get", get)
    tabs = LabelStudioDemo("http://127.0.0.1:1", "token", "a@b.c", "password").tabs("3")
    assert {title: [task["id"] for task in tasks] for title, tasks in tabs.items()} == {"Outliers": ["5"]}
