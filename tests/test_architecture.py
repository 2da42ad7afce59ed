"""The plan of the house: its rooms, what each is for, and what it may import; and that it starts without its heavy libraries."""

import ast
import subprocess
import sys
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import annotriage
import annotriage_label_studio

ROOT = ("errors", "settings", "progress", "states", "text")


@dataclass(frozen=True)
class Room:
    """A folder of `backend/annotriage`, or a module that stands alone, and which rooms above it in the table it may import."""

    name: str
    purpose: str
    imports: tuple[str, ...]


BELOW_ADVICE = ("advice.numbers", "media", "data", "model", "latent", "guarantee")

# From the lowest room to the highest: each imports only rooms that stand before it.
ROOMS = (
    Room("states", "routes, what items fail of, and the states of deliveries and spot checks", ()),
    Room("errors", "one small tree of errors", ("states",)),
    Room("settings", "one table of settings", ("errors",)),
    Room("progress", "progress of long work", ("errors",)),
    Room("text", "text from outside, fit to be stored and compared", ()),
    Room("advice.numbers", "figures as people read them", ()),
    Room("media", "the guarded fetcher", ("errors", "settings", "states")),
    Room("data", "datasets as streams of items", ("errors", "settings", "states", "text", "media")),
    Room("model", "the trained model as a function: items -> logits and activations", ("errors", "settings", "states", "text", "data")),
    Room("latent", "numbers in, numbers out: activations -> scores", ("errors", "settings")),
    Room("diagnosis", "numbers in, numbers out: activations -> samples to look at, and answers about the model", ("errors", "latent")),
    Room("guarantee", "numbers in, numbers out: scores and answers -> what may be said", ("errors", "states", "advice.numbers", "latent")),
    Room("quality", "numbers in, answers out: what looks wrong, what is there twice", ("errors", "states", "guarantee")),
    Room("advice", "sentences for people", ("errors", "settings", "states", "advice.numbers", "diagnosis", "guarantee")),
    Room(
        "engine",
        "references and the triage of whole datasets; returns, and writes no results",
        (*ROOT, "advice.numbers", "data", "model", "latent", "diagnosis", "guarantee", "quality", "advice"),
    ),
    Room(
        "training",
        "retraining: labelled items -> a new model, its reference, and both models side by side",
        (*ROOT, "advice.numbers", "data", "model", "latent", "guarantee", "engine"),
    ),
    Room("labeling_tool", "the seam: what a labeling tool's plugin offers", (*ROOT, "media", "data", "engine")),
    Room(
        "report",
        "results as files for people",
        (*ROOT, "advice.numbers", "data", "model", "latent", "diagnosis", "guarantee", "advice", "engine", "training", "labeling_tool"),
    ),
    Room(
        "lake",
        "triage by many workers, of data that no single machine holds",
        (*ROOT, "data", "model", "engine", "report"),
    ),
    Room("store", "the database: every table and every query", (*ROOT, "data", "guarantee", "advice", "engine", "labeling_tool")),
    Room(
        "service",
        "what runs: intake, judging, delivery, jobs",
        (*ROOT, *BELOW_ADVICE, "quality", "advice", "engine", "training", "labeling_tool", "report", "store"),
    ),
    Room(
        "web",
        "all HTTP: API and pages",
        (*ROOT, "advice.numbers", "media", "guarantee", "advice", "engine", "labeling_tool", "report", "store", "service"),
    ),
    Room(
        "demo",
        "handwritten digits from nothing to a triaged project",
        (*ROOT, "media", "data", "model", "latent", "guarantee", "advice", "engine", "labeling_tool", "report", "store", "service", "web"),
    ),
    Room(
        "cli",
        "commands: parse, call one function, print",
        (
            *(*ROOT, "advice.numbers", "data", "model", "latent", "guarantee", "advice", "engine", "training"),
            *("report", "lake", "store", "service", "web", "demo"),
        ),
    ),
)
SAY_THE_VERSION = ("web", "cli")  # which the package itself knows
PLUGIN_IMPORTS = (*ROOT, "media", "data", "engine", "labeling_tool")

BACKEND, PLUGIN = Path(annotriage.__file__).parent, Path(annotriage_label_studio.__file__).parent
NUMERICAL = {"numpy", "scipy", "sklearn", "umap", "openTSNE", "cleanlab"}
HEAVY = NUMERICAL | {"torch", "onnxruntime"}
PLACES = {room.name: place for place, room in enumerate(ROOMS)}


def modules():
    """Every module of both packages by its full name."""
    found = {}
    for package in (BACKEND, PLUGIN):
        for file in sorted(package.rglob("*.py")):
            parts = file.relative_to(package.parent).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


MODULES = modules()


def imported(file, *, types=True):
    """Every module that a file imports, at its top or later; types: those too that only type checkers see."""
    tree = ast.parse(file.read_text("utf-8"))
    skipped = set()
    if not types:
        guarded = (node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        skipped = {part for node in guarded for statement in node.body for part in ast.walk(statement)}
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield from (f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in MODULES else node.module for alias in node.names)


def within(name, *packages):
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def room_of(module):
    """The room of a module, the innermost one; None for the package itself and for what is not of the backend."""
    return max((name for name in PLACES if within(module, f"annotriage.{name}")), key=len, default=None)


def breaches(allowed, *packages, types=True):
    """Each import in these packages or modules that is not allowed."""
    chosen = {name: file for name, file in MODULES.items() if within(name, *packages)}
    assert chosen, packages
    return [f"{name} imports {found}" for name, file in chosen.items() for found in imported(file, types=types) if not allowed(found)]


def test_no_module_imports_itself_in_a_ring():
    arrows = {name: {found for found in imported(file) if found in MODULES and found != name} for name, file in MODULES.items()}
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        pytest.fail(f"a ring: {' <- '.join(error.args[1])}")


def test_the_plan_points_down():
    assert [(room.name, name) for room in ROOMS for name in room.imports if PLACES[name] >= PLACES[room.name]] == []


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_imports_what_the_plan_says(room):
    wrong = []
    for name, file in MODULES.items():
        if room_of(name) == room.name:
            targets = [found for found in imported(file) if within(found, "annotriage")]
            targets = [found for found in targets if found != "annotriage" or room.name not in SAY_THE_VERSION]
            wrong += [f"{name} imports {found}" for found in targets if room_of(found) not in (room.name, *room.imports)]
    assert wrong == []


def test_the_plugin_sees_the_seam_and_what_stands_below_it():
    def allowed(name):  # the demo's processes are begun and ended in one place
        return not within(name, "annotriage") or room_of(name) in PLUGIN_IMPORTS or name == "annotriage.demo.daemon"

    assert breaches(allowed, "annotriage_label_studio") == []


def test_every_module_stands_in_a_room():
    assert [name for name in MODULES if within(name, "annotriage") and room_of(name) is None] == ["annotriage"]
    assert {file.stem for file in BACKEND.glob("*.py")} <= {"__init__", *ROOT}
    assert [file.name for file in (BACKEND / "service").glob("*.py")] == ["__init__.py"]


def test_every_room_says_what_it_is_for():
    packages = [(name, ast.get_docstring(ast.parse(file.read_text("utf-8")))) for name, file in MODULES.items()]
    assert [name for name, docstring in packages if docstring is None or docstring == "Room."] == []


def test_the_backend_knows_no_labeling_tool():
    assert breaches(lambda name: not within(name, "annotriage_label_studio", "label_studio_sdk"), "annotriage") == []


def test_flask_runs_in_the_web_room_and_in_the_plugin_alone():
    others = [name for name in MODULES if room_of(name) not in (None, "web")]
    assert breaches(lambda name: not within(name, "flask", "werkzeug"), *others, types=False) == []


@pytest.mark.parametrize("room", ["latent", "diagnosis", "guarantee", "quality"])
def test_numbers_in_and_numbers_out(room):
    def allowed(name):
        return within(name, "annotriage") or name.split(".")[0] in NUMERICAL | {"threadpoolctl"} | sys.stdlib_module_names

    assert breaches(allowed, f"annotriage.{room}") == []


@pytest.mark.parametrize("room", ["latent", "diagnosis", "guarantee", "quality"])
@pytest.mark.parametrize("module", ["os", "pathlib", "logging", "random", "socket", "subprocess", "json"])
def test_the_rooms_of_numbers_touch_nothing_outside(room, module):
    assert breaches(lambda name: not within(name, module), f"annotriage.{room}") == []


def test_nothing_can_unpickle():
    assert breaches(lambda name: not within(name, "pickle", "joblib", "dill", "shelve"), "annotriage", "annotriage_label_studio") == []


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
