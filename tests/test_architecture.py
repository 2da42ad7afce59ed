"""The house: imports point inward, and the package starts without its heavy libraries."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import annotriage
import annotriage_label_studio

BACKEND = Path(annotriage.__file__).parent
HEAVY = {"torch", "onnxruntime", "sklearn", "umap", "openTSNE", "scipy", "numpy"}
NUMERICAL = {"numpy", "scipy", "sklearn", "umap", "openTSNE"}
HOUSE_OF_LATENT = ("annotriage.latent", "annotriage.errors", "annotriage.settings")


def imported(file):
    """Every module that a file imports, lazily or for types too."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield node.module


def breaches(folder, allowed):
    files = sorted(folder.rglob("*.py"))
    assert files, folder
    return [f"{file.relative_to(folder)}: {name}" for file in files for name in imported(file) if not allowed(name)]


def within(name, *modules):
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def test_latent_is_numbers_in_and_numbers_out():
    def allowed(name):
        return name.split(".")[0] in NUMERICAL | sys.stdlib_module_names or within(name, *HOUSE_OF_LATENT)

    assert breaches(BACKEND / "latent", allowed) == []


@pytest.mark.parametrize("module", ["os", "pathlib", "logging", "random", "socket", "subprocess", "json"])
def test_latent_touches_nothing_outside(module):
    assert breaches(BACKEND / "latent", lambda name: not within(name, module)) == []


def test_the_backend_knows_no_labeling_tool():
    assert breaches(BACKEND, lambda name: not within(name, "annotriage_label_studio", "label_studio_sdk")) == []


@pytest.mark.parametrize(
    ("inner", "outer"),
    [
        ("data", ("model", "latent", "fitting", "reference", "triage", "verdict", "output", "report", "compare", "cli", "demo")),
        ("model", ("latent", "fitting", "reference", "triage", "verdict", "output", "report", "compare", "cli", "demo")),
    ],
)
def test_imports_point_inward(inner, outer):
    assert breaches(BACKEND / inner, lambda name: not within(name, *(f"annotriage.{module}" for module in outer))) == []


def test_nothing_can_unpickle():
    plugin = Path(annotriage_label_studio.__file__).parent
    assert [breaches(folder, lambda name: not within(name, "pickle", "joblib", "dill", "shelve")) for folder in (BACKEND, plugin)] == [
        [],
        [],
    ]


@pytest.mark.parametrize("line", ["import annotriage", "import annotriage.cli; annotriage.cli.main(['--help'], standalone_mode=False)"])
def test_starting_loads_no_heavy_library(line):
    code = f"import sys\n{line}\nprint('loaded:', *sorted({HEAVY!r} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1].strip() == "loaded:"


def test_public_names_are_found_by_completion():
    program = "import annotriage; print(*dir(annotriage))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert {name for name in ran.stdout.split() if not name.startswith("_")} == set(annotriage.__all__)


def test_every_public_name_is_what_it_says_however_often_it_is_used():
    for _ in range(2):
        assert [name for name in annotriage.__all__ if not callable(getattr(annotriage, name))] == []


def test_the_web_process_loads_nothing_that_computes():
    code = (
        "import sys, annotriage.web.app, annotriage.web, annotriage_label_studio.ml_backend, annotriage_label_studio.server.connection\n"
        f"print('loaded:', *sorted({HEAVY!r} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "loaded:"
