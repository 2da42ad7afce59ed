"""The alert rules name figures, labels and values that /metrics has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from triaged import import_tasks, judge

from annotriage.cli import main
from annotriage.service.operations.metrics import Metrics

FILE = Path(__file__).parents[3] / "docker" / "alerts.yml"
RULES = [rule for group in yaml.safe_load(FILE.read_text("utf-8"))["groups"] for rule in group["rules"]]
WORDS = {"and", "on", "by", "sum", "rate", "delta", "histogram_quantile", "le", "project"}


@pytest.fixture
def shown(process, connect, digits):
    project, tool = connect("3")
    import_tasks(process, project, tool, digits.incoming[0][:5])
    judge(process)
    process.beat()
    with process.store.writing() as connection:
        from annotriage.store.projects import change_project

        change_project(connection, project.id, read_until=1.0)
    metrics = Metrics(process)
    metrics.count("POST", "/webhook", 200, 0.1)
    return metrics.text().decode()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_figure_of_a_rule_is_at_metrics(rule, shown):
    plain = re.sub(r"{[^}]*}|\[[^]]*]", "", rule["expr"])
    names = set(re.findall(r"[a-z_]\w*", plain)) - WORDS
    assert names
    for name in names:
        assert re.search(rf"^{name}(?:{{| )", shown, re.MULTILINE), name
    for name, labels in re.findall(r"(annotriage_\w+){([^}]*)}", rule["expr"]):
        lines = [line for line in shown.splitlines() if line.startswith(f"{name}{{")]
        for label, is_pattern, values in re.findall(r'(\w+)=(~?)"([^"]*)"', labels):
            seen = {value for line in lines for value in re.findall(rf'{label}="([^"]*)"', line)}
            if label == "state":  # shown where there are any
                continue
            wanted = values.split("|") if is_pattern and "." not in values else [values]
            assert all(any(re.fullmatch(value, text_seen) for text_seen in seen) for value in wanted), (name, label, seen)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_says_what_is_wrong_and_what_to_do(rule):
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert {"summary", "action"} == set(rule["annotations"])
    assert re.fullmatch(r"\d+[mhd]", rule.get("for", "1m"))
    for command in re.findall(r"annotriage (\w+) --project", rule["annotations"]["action"]):
        assert command in main.commands
