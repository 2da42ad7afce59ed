"""What the README and docs/ say is what the product does."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
from commands import Command
from waiting import PATIENCE

from annotriage.cli import main
from annotriage.demo import DIGITS
from annotriage.demo.digits import write_digits
from annotriage.model.spec import ModelSpec, spec_table
from annotriage.settings import SERVICE_SETTINGS, SETTINGS, settings_table

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
DOCS = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    write_digits(folder / ".demo" / DIGITS)
    return folder


def test_the_tables_of_settings_are_those_in_docs():
    text = DOCS["docs/settings.md"]
    assert f"<!-- settings -->\n{settings_table()}\n<!-- /settings -->" in text
    assert f"<!-- service settings -->\n{settings_table(SERVICE_SETTINGS)}\n<!-- /service settings -->" in text


def test_the_few_settings_of_the_readme_are_settings_with_these_defaults():
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \|", README.split("## Settings")[1], re.MULTILINE)
    defaults = {field.name: str(field.default) if field.default else "none" for field in (*SETTINGS, *SERVICE_SETTINGS)}
    assert len(rows) >= 5
    assert [row for row in rows if defaults[row[0]] != row[1]] == []


def test_the_table_of_the_model_spec_is_the_one_in_docs():
    assert f"<!-- spec -->\n{spec_table()}\n<!-- /spec -->" in DOCS["docs/model_spec.md"]


@pytest.mark.parametrize("file", ["README.md", "docs/model_spec.md"])
@pytest.mark.parametrize("input", [None, {"kind": "array", "size": [6]}])
def test_the_model_spec_of_the_docs_is_one(file, input):
    (text,) = re.findall(r"```toml\n(\[model\].*?)```", DOCS[file], re.DOTALL)
    spec = ModelSpec.from_dict(tomllib.loads(text) | ({"input": input} if input else {}), Path("model.toml"))
    assert spec.input.shape == ((6,) if input else (3, 224, 224))


def test_every_setting_says_what_it_is_for():
    assert all(len(field.metadata["help"]) > 20 for field in (*SETTINGS, *SERVICE_SETTINGS))


MEASURED = dict(re.findall(r"<!-- figures of (\w+) -->\n(.*?)<!-- /figures of \1 -->", DOCS["docs/scale.md"], re.DOTALL))


@pytest.fixture
def benchmark_run(monkeypatch):
    """The program that measures."""
    monkeypatch.syspath_prepend(ROOT / "tests" / "benchmarks")
    return importlib.import_module("run")


@pytest.mark.parametrize("theme", MEASURED)
def test_the_tables_of_figures_have_the_rows_that_the_benchmark_prints(theme, benchmark_run):
    rows = [line.split(" | ") for line in MEASURED[theme].splitlines() if line.startswith("| ")][2:]
    assert [row[0].removeprefix("| ") for row in rows] == list(benchmark_run.names(theme))
    assert all(len(row) == 4 and row[2].strip() for row in rows)


def test_readme_shows_the_figures_of_the_docs(benchmark_run):
    assert f"<!-- figures at a glance -->\n{benchmark_run.at_a_glance(DOCS['docs/scale.md'])}<!-- /figures at a glance -->" in README


COMMANDS = re.findall(r"^annotriage .*$", README, re.MULTILINE)
# The others need a running Label Studio, and are run end to end.
ON_FILES = ("fit", "triage", "compare", "layers", "audit-labels", "duplicates", "sample", "diagnose", "atlas", "dissect", "train")


@pytest.mark.parametrize("file", DOCS)
def test_the_commands_of_the_docs_are_understood(file):
    for line in re.findall(r"^annotriage .*$", DOCS[file].replace("\\\n", " "), re.MULTILINE):
        _, name, *words = [word for word in shlex.split(line, comments=True) if word != "&"]
        main.commands[name].make_context(name, words)


@pytest.mark.parametrize("file", DOCS)
def test_what_the_docs_link_to_is_there(file):
    targets = re.findall(r"\]\(([^)#:]+)[^):]*\)", DOCS[file])
    assert [target for target in targets if not ((ROOT / file).parent / target).exists()] == []


def test_the_commands_of_the_readme_run(demo_folder):
    commands = [line for line in COMMANDS if shlex.split(line)[1] in ON_FILES and "--project" not in line]
    assert {shlex.split(command)[1] for command in commands} == set(ON_FILES)
    for command in commands:
        done = Command(shlex.split(command, comments=True)[1:], demo_folder, os.environ)
        said, _ = done.communicate(timeout=2 * PATIENCE)
        assert done.returncode == 0, f"{command}\n{said}"
    assert sorted(path.name for path in (demo_folder / "results").iterdir()) == [
        "predictions.json",
        "report.html",
        "summary.json",
        "verdicts.csv",
    ]


def test_the_python_of_the_readme_runs(demo_folder):
    program = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    done = subprocess.run([sys.executable, "-c", program], cwd=demo_folder, capture_output=True, text=True, timeout=2 * PATIENCE)
    assert done.returncode == 0, done.stderr
    assert "strange" in done.stdout


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_has_help_with_an_example(name):
    command = main.commands[name]
    text = command.get_help(click.Context(command, info_name=f"annotriage {name}"))
    assert f"annotriage {name}" in text.split("Example:")[1]


def test_make_targets_of_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in set(re.findall(r"(?:`|^)make ([a-z]+)", README, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text("utf-8")


@pytest.mark.parametrize("package", ["backend/annotriage", "plugin/annotriage_label_studio"])
def test_every_room_is_in_the_plan_of_the_house(package):
    rooms = [path.parent.name for path in (ROOT / package).glob("*/__init__.py")]
    assert rooms
    assert [room for room in rooms if f"`{room}/`" not in ARCHITECTURE] == []


def test_every_file_that_the_plan_names_is_there():
    named = re.findall(r"`([a-z_/]+\.py)`", ARCHITECTURE)
    assert len(named) > 10
    places = [ROOT, ROOT / "backend" / "annotriage", ROOT / "plugin" / "annotriage_label_studio"]
    assert [name for name in named if not any((place / name).exists() for place in places)] == []
