"""Fixtures that every part of the tests may use."""

from __future__ import annotations

import fcntl
import gc
import importlib
import itertools
import json
import os
import resource
import shutil
import ssl
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
import postgresql
import pytest
from browsers import axe_source, barriers, browser, missing, open_page
from hypothesis import settings as hypothesis
from kept_code import kept_code
from label_studio import LabelStudio, Person
from onnx import TensorProto, helper, numpy_helper
from running import free_port
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from annotriage.engine.fitting import fit
from annotriage.settings import Settings
from annotriage.store import Store, database
from annotriage_label_studio.demo import server as label_studio_server

pytest_plugins = ["service_fixtures"]

# A busy machine takes longer for an example; the same examples each time, so that no run fails by chance: the long one hunts for others.
hypothesis.register_profile("any machine", deadline=None, derandomize=True)
hypothesis.register_profile("long", deadline=None, max_examples=10_000)
hypothesis.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "any machine"))

__all__ = ["axe_source", "barriers", "browser", "open_page"]  # fixtures: one browser for all

SHARED = {
    "own_server": "outages",
    "label_studio_executable": "label-studio",
}  # by fixture: the group of the tests that use it
LONGEST = (
    "tests/e2e/test_live_triage.py",  # a group for itself, or all that uses a Label Studio would take longer than all else
    "label-studio",
    "outages",
    "tests/faults/test_storms.py",
    "tests/web/test_map.py",
    "tests/web/test_pages.py",
    "tests/web/test_queue.py",
    "tests/web/test_model.py",
    "tests/web/test_sweep.py",
    "tests/test_docs.py",
    "tests/model/test_transformers.py",
    "tests/service/maps/test_map_making.py",
    "tests/engine/test_reference.py",
    "tests/demo/test_story.py",
    "tests/model/test_torch_model.py",
    "tests/training/test_retraining.py",
    "tests/test_parsers.py",
    "tests/test_wheel.py",
)  # groups and files that begin, the longest first: no process shall be left with one of them when the others have ended
LABEL_STUDIO = Path(__file__).parent.parent / ".venv-label-studio" / "bin" / "label-studio"


def pytest_addoption(parser):
    """The whole service on the other database: pytest tests/service --database postgres."""
    choices = ("sqlite", "postgres")
    parser.addoption("--database", choices=choices, default="sqlite", help="Where the service's tests run that name no database.")


@pytest.hookimpl(optionalhook=True)  # of xdist
def pytest_xdist_auto_num_workers():
    """One process more than there are cores: tests that wait for a browser, a server or a clock leave theirs to others."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    """Spread tests over cores file by file; those that share what takes long to make stay together, and what takes longest begins."""

    def group(item):
        shared = (name for fixture, name in SHARED.items() if fixture in item.fixturenames)
        file = Path(item.location[0]).as_posix()
        return file if file in LONGEST else next(shared, file)

    first = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(group(item), len(first)))
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group(item)))


def pytest_collection_finish():
    """What is loaded by now stays: it need not be looked through again whenever memory is tidied up."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """What a test wrote and logged may hold halves of characters, which no process can send to another."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(scope="session", autouse=True)
def compiled_umap(pytestconfig):
    """What is compiled of UMAP is kept, for the other processes and the next run."""
    with kept_code(pytestconfig.rootpath / ".pytest_cache" / "compiled"):
        yield


@pytest.fixture(scope="session")
def label_studio_executable():
    """The command label-studio of the environment that the Makefile makes."""
    if not LABEL_STUDIO.exists():
        missing("no Label Studio: run `make .venv-label-studio/stamp`")
    return LABEL_STUDIO


@pytest.fixture(scope="session")
def start_label_studio(label_studio_executable, tmp_path_factory):
    """Start the Label Studio of a folder, which `demo.server.stop` ends; one process at a time, since the first start of all makes a
    database for half a minute that the others copy."""

    def start_label_studio(folder, port):
        with (tmp_path_factory.getbasetemp().parent / "label-studio.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return label_studio_server.start(label_studio_executable, folder, port=port)

    return start_label_studio


@pytest.fixture(scope="session")
def label_studio(start_label_studio, tmp_path_factory):
    """A real Label Studio, one for the session; each test makes its own project in it."""
    folder = tmp_path_factory.mktemp("label-studio")
    try:
        server = start_label_studio(folder, free_port())
        yield LabelStudio(server.url, server.token, Person(server.url, server.email, server.password), folder / label_studio_server.FILES)
    finally:
        label_studio_server.stop(folder)


@pytest.fixture(scope="session")
def postgres_server():
    """The address of a real PostgreSQL, one for the session."""
    programs = postgresql.programs()
    if programs is None:
        missing("no PostgreSQL: install the package `postgresql`")
    with postgresql.server(programs) as address:
        yield address


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    """An empty store on SQLite. Tests get copies: to migrate one takes six times as long."""
    file = tmp_path_factory.mktemp("migrated") / "store.db"
    Store(f"sqlite:///{file}").close()
    return file


@pytest.fixture
def sqlite(migrated, tmp_path):
    """The address of an empty store on SQLite, in the test's folder."""
    shutil.copyfile(migrated, tmp_path / "store.db")
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture(scope="session", autouse=True)
def compiled_once():
    """What one store compiled serves the stores of all later tests: each would compile the same statements anew, a quarter of its time."""
    from sqlalchemy.util import LRUCache

    with pytest.MonkeyPatch.context() as patched:
        kept, plain = {}, database.create_engine

        def create_engine(*arguments, **options):
            engine = plain(*arguments, **options)
            kind = type(engine.dialect)
            if kind not in kept:
                kept[kind] = LRUCache(5000)
                # A compiled statement is known by its dialect, too: those of one kind are one.
                patched.setattr(kind, "__eq__", lambda one, other: type(one) is type(other))
                patched.setattr(kind, "__hash__", lambda one: hash(type(one)))
            engine._compiled_cache = kept[kind]
            return engine

        patched.setattr(database, "create_engine", create_engine)
        yield


@pytest.fixture(scope="session", autouse=True)
def trusted_once():
    """A file of certificates is read once, not for each process of the service that a test makes: it holds hundreds."""
    plain, kept = ssl.create_default_context, {}

    def create_default_context(purpose=ssl.Purpose.SERVER_AUTH, **named):
        file = named.get("cafile")
        if file is None or len(named) > 1:
            return plain(purpose, **named)
        there = Path(file).stat()
        key = purpose, str(file), there.st_mtime_ns, there.st_size
        return kept.get(key) or kept.setdefault(key, plain(purpose, **named))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ssl, "create_default_context", create_default_context)
        yield


@pytest.fixture(scope="session", autouse=True)
def dressed_once():
    """The templates and the addresses of the pages are compiled once, not for each app that a test makes."""
    from flask import Flask
    from jinja2 import BytecodeCache
    from werkzeug.routing import Rule

    class Kept(BytecodeCache):
        codes: ClassVar[dict] = {}

        def load_bytecode(self, bucket):
            bucket.code = self.codes.get((bucket.key, bucket.checksum))

        def dump_bytecode(self, bucket):
            self.codes[bucket.key, bucket.checksum] = bucket.code

    builders, plain = {}, Rule._compile_builder

    def compile_builder(rule, append_unknown=True):
        key = rule.rule, rule.merge_slashes, rule.subdomain, rule.host, rule.map.host_matching, str(rule.defaults), append_unknown
        if key not in builders:
            builders[key] = plain(rule, append_unknown)
        return builders[key]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Flask, "jinja_options", {"bytecode_cache": Kept()})
        patched.setattr(Rule, "_compile_builder", compile_builder)
        yield


@pytest.fixture
def alone(monkeypatch):
    """This process is the only one on its database: it leaves no gaps between its writes for others."""
    monkeypatch.setattr(database, "GAP_SECONDS", 0.0)


_databases = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_admin(postgres_server):
    """A connection that makes and drops databases, and the database `migrated`, of which each test gets a copy."""
    import psycopg

    with psycopg.connect(postgres_server.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE DATABASE migrated")
        Store(f"{postgres_server.rpartition('/')[0]}/migrated").close()
        yield connection


@pytest.fixture
def postgres(postgres_server, postgres_admin):
    """The address, as SQLAlchemy takes it, of an empty store on PostgreSQL; dropped afterwards, whoever still uses it."""
    name = f"test_{next(_databases)}"
    postgresql.copy(postgres_admin, "migrated", name)
    yield f"{postgres_server.rpartition('/')[0]}/{name}"
    postgres_admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def samples():
    """Reports made from real digits, loaded where a test needs them."""
    return importlib.import_module("report_samples")


@pytest.fixture(scope="session")
def sample_report(samples):
    return samples.digits_report()


@dataclass(frozen=True)
class Digits:
    """Real handwritten digits, 8 x 8 uint8: (x, y) pairs, y as class names. The model knows 0 to 7; strangers are 8 and 9."""

    train: tuple[np.ndarray, np.ndarray]
    held_out: tuple[np.ndarray, np.ndarray]
    incoming: tuple[np.ndarray, np.ndarray]
    strangers: tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="session")
def digits():
    images, labels = load_digits(return_X_y=True)
    images, labels = (images * 15).astype(np.uint8).reshape(-1, 8, 8), labels.astype(str)
    known = np.random.default_rng(0).permutation(np.flatnonzero(labels.astype(int) < 8))
    strange = np.flatnonzero(labels.astype(int) >= 8)
    parts = known[:640], known[640:1120], known[1120:], strange
    return Digits(*((images[rows], labels[rows]) for rows in parts))


def write_network(folder, weights, biases, *, classes, size, kind="image", **model):
    """Dense layers with Relu between them as model.onnx, and the model spec beside it, whose path is returned.

    model: further keys of its table [model].
    """
    image = kind == "image"
    nodes, tensors, last = [helper.make_node("Flatten", ["input"], ["flat"])], [], "flat"
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        tensors += [numpy_helper.from_array(np.asarray(weight, np.float32), f"w{number}")]
        tensors += [numpy_helper.from_array(np.asarray(bias, np.float32), f"b{number}")]
        final = number == len(weights) - 1
        nodes.append(helper.make_node("Gemm", [last, f"w{number}", f"b{number}"], ["logits" if final else f"dense{number}"]))
        if not final:
            nodes.append(helper.make_node("Relu", [f"dense{number}"], [f"hidden{number}"]))
            last = f"hidden{number}"
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", *([1] if image else []), *size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(classes)])],
        tensors,
    )
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "model.onnx")
    tables = {
        "model": {"file": "model.onnx", "classes": list(classes), **model},
        "input": {"kind": kind, "size": list(size), **({"mode": "L"} if image else {})},
    }
    lines = [line for name, table in tables.items() for line in (f"[{name}]", *(f"{key} = {json.dumps(table[key])}" for key in table))]
    (folder / "model.toml").write_text("\n".join(lines), "utf-8")
    return folder / "model.toml"


@pytest.fixture(scope="session")
def network():
    """`write_network`, for tests that need a model of their own."""
    return write_network


@pytest.fixture(scope="session")
def digits_network(digits):
    """Weights and biases of a network that was really trained on the digits 0 to 7."""
    images, labels = digits.train
    trained = MLPClassifier((48, 32), max_iter=300, random_state=0).fit(images.reshape(len(images), -1) / 255, labels)
    return trained.coefs_, trained.intercepts_


@pytest.fixture(scope="session")
def digits_model(digits_network, tmp_path_factory):
    """The path of the spec of that network."""
    return write_network(tmp_path_factory.mktemp("digits"), *digits_network, classes=[str(digit) for digit in range(8)], size=(8, 8))


@pytest.fixture(scope="session")
def quick():
    """Settings for tests: a limit that a few hundred held-out items can show, and a map that is there at once."""
    return Settings(max_error=0.04, map="pca")


@pytest.fixture(scope="session")
def digits_reference(digits_model, digits, quick):
    """A reference of real digits with a guarantee that holds."""
    return fit(digits_model, digits.train, digits.held_out, settings=quick, name="digits")


@pytest.fixture(scope="session")
def convolutional_reference(digits, quick, tmp_path_factory):
    """A reference of a convolutional ONNX model whose head was really trained on the digits 0 to 7."""
    write = importlib.import_module("convolutional_digits").write_convolutional_digits
    spec = write(tmp_path_factory.mktemp("convolutions"), *digits.train)
    return fit(spec, digits.train, digits.held_out, settings=quick, name="convolutions")


@pytest.fixture(scope="session")
def torch_reference(digits, quick, tmp_path_factory):
    """A reference of a convolutional torch model that was really trained on the digits 0 to 7."""
    pytest.importorskip("torch")
    write = importlib.import_module("torch_digits").write_torch_digits
    spec = write(tmp_path_factory.mktemp("torch digits"), *digits.train)
    return fit(spec, digits.train, digits.held_out, settings=quick, name="torch digits")


@pytest.fixture(scope="session")
def choices_model(tmp_path_factory):
    """A model of numbers with three answers that do not exclude each other: a number beyond 1 in size is "low", "middle" or "high"."""
    first = np.zeros((3, 6))
    first[[0, 0, 1, 1, 2, 2], range(6)] = [1, -1] * 3
    second = np.repeat(np.eye(3), 2, axis=0) * 4
    spec = {"classes": ["low", "middle", "high"], "size": [3], "kind": "array", "choice": "multiple"}
    return write_network(tmp_path_factory.mktemp("choices"), [first, second], [np.zeros(6), np.full(3, -4)], **spec)


@pytest.fixture
def disk_of():
    """A block in which no file can grow beyond so many bytes; not the whole test, whose report may go to a file, too."""

    @contextmanager
    def disk_of(size):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return disk_of


@pytest.fixture(scope="session")
def mixed(digits):
    """What comes in: known digits and unseen ones, with their true names."""
    images, labels = (np.concatenate(part) for part in zip(digits.incoming, digits.strangers, strict=True))
    return images, labels
