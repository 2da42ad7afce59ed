"""A process of the service on a database of its own, with a labeling tool in memory."""

from __future__ import annotations

import copy
import io
import time
import weakref
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

import beginnings
import pytest
from memory_tool import MemoryProject, MemoryServer
from PIL import Image
from waiting import PATIENCE

from annotriage.engine import what_if
from annotriage.engine.fitting import fit
from annotriage.media.data_uri import encode_data_uri
from annotriage.service.delivery.outbox import Delivery
from annotriage.service.intake.following import Follower
from annotriage.service.judging.judge import Judge
from annotriage.service.maps import map_making
from annotriage.service.operations.process import Process
from annotriage.service.operations.references import keep_reference
from annotriage.service.readings import names
from annotriage.store import Store
from annotriage.store.projects import Project, ProjectOptions, add_project, change_project


@pytest.fixture(scope="session", autouse=True)
def previewed_once():
    """What a reference would decide under other limits is found once: the databases of hundreds of tests keep the same one."""
    found, plain = {}, what_if.what_if

    def once(reference, *others):
        if others:
            return plain(reference, *others)
        known, grid = found.get(id(reference), (None, None))
        if known is None or known() is not reference:
            known, grid = found[id(reference)] = weakref.ref(reference), plain(reference)
        return grid

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(what_if, "what_if", once)
        yield


@pytest.fixture(scope="session", autouse=True)
def laid_out_once():
    """Maps of the same points are laid out once, and in this process: dozens of tests make the same map, which takes a second and comes
    out the same."""
    found, plain = {}, map_making.lay_out

    def once(points, method, seed, former=None, dimensions=2):
        parts = [points] if former is None else [points, former]
        asked = (method, seed, dimensions, *((part.shape, part.dtype, part.tobytes()) for part in parts))
        if asked not in found:
            found[asked] = plain(points, method, seed, former, dimensions)
        return found[asked].copy()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(map_making, "lay_out", once)
        patched.setattr(map_making, "apart", lambda _what, function, *given, **_: function(*given))
        yield


@pytest.fixture(scope="session", autouse=True)
def names_waited_for():
    """Pages wait for the names of people until they are there: on a busy machine a thread may take longer than they would otherwise."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(names, "PATIENCE", PATIENCE)
        yield


@pytest.fixture
def server():
    return MemoryServer()


@pytest.fixture
def process(request, server, alone):
    """A worker process that is not running: tests call its steps. On both databases where they are marked with `databases.both`, else
    on the one that the option --database names.
    """
    database = request.getfixturevalue(getattr(request, "param", request.config.getoption("--database")))
    with beginnings.service(database, server) as process:
        yield process


@pytest.fixture
def connect(request, process, digits_reference):
    """Connect a project with a reference of real digits: the project's row and the project in the tool."""
    return partial(connected, request, process, digits_reference)


def connected(request, process, usual, id="1", reference=None, *, watch=False, **options):
    """A project with a reference, by default the usual one."""
    reference_id = kept(request, process.store, usual if reference is None else reference)
    with process.store.writing() as connection:
        project = add_project(connection, id, f"Project {id}", reference_id, ProjectOptions(**options), watch=watch)
    return project, process.tool_project(project)


def kept(request, store, reference):
    """The row of a reference that is kept in the store. Hundreds of tests keep the same one in an empty store: that is copied."""
    if not beginnings.is_empty(request, store):
        return keep_reference(store, reference)
    scenes, name = request.getfixturevalue("scenes"), (reference.version, reference.spec_path)
    if name not in scenes:
        database = beginnings.new(request, "sqlite://")
        with closing(Store(database)) as own:
            scenes[name] = database, keep_reference(own, reference)
    database, id = scenes[name]
    beginnings.put(request, database, store)
    return id


@pytest.fixture(scope="session")
def scenes():
    """What `scene` and `kept` made."""
    return {}


@pytest.fixture
def scene(request, process, scenes, digits_reference):
    """Begin with what many tests begin with, made once: scene(name, begin), where begin(scene) makes it with the process, `connect` and
    `worker` of a service of its own, which then ends. The test's process finds its database and its labeling tool, as it would if it had
    been started again, and gets what `begin` returned.
    """

    def scene(name, begin):
        names = (process.store.engine.dialect.name, request.node.path, *name)
        if names not in scenes:
            database = beginnings.new(request, process.settings.database)
            with beginnings.service(database) as own:
                scenes[names] = database, begin(Scene(own, partial(connected, request, own, digits_reference), Steps(own))), own.server
        database, value, server = scenes[names]
        beginnings.put(request, database, process.store)
        vars(process.server).update(copy.deepcopy(vars(server)))
        return value

    return scene


@dataclass(frozen=True)
class Scene:
    """A service in which what tests begin with is made."""

    process: Process
    connect: Callable[..., tuple[Project, MemoryProject]]
    worker: Steps


@pytest.fixture(scope="session")
def other_reference(digits_model, digits, quick):
    """Another reference of the same digits: fewer held-out items, another threshold."""
    images, labels = digits.held_out
    return fit(digits_model, digits.train, (images[:300], labels[:300]), settings=replace(quick, alpha=0.1), name="digits")


@pytest.fixture(scope="session")
def picture():
    """An 8 x 8 digit as a data: URI."""
    known = {}

    def picture(image):
        return known.get(image.tobytes()) or known.setdefault(image.tobytes(), encoded(image))

    def encoded(image):
        content = io.BytesIO()
        Image.fromarray(image).save(content, "PNG")
        return encode_data_uri(content.getvalue(), "image/png")

    return picture


@pytest.fixture
def worker(process):
    """The parts of a worker, stepped until nothing is left to do."""
    return Steps(process)


class Steps:
    """Follows, judges and delivers in turns, as the threads of a worker do at the same time."""

    def __init__(self, process):
        self.process = process
        self.follower, self.judge, self.delivery = Follower(process), Judge(process), Delivery(process)

    def follow(self):
        """Read what webhooks told, and ask for what they did not."""
        for state in self.follower._followed.values():
            state.next_poll = 0.0
        for loop in self.follower.loops():  # new ones: what failed before is tried again
            loop.round()

    def sweep(self, project):
        """Compare all tasks with the store."""
        self.follow()
        self.follow()
        with self.process.store.writing() as connection:
            change_project(connection, project.id, swept_at=0.0)
        self.follow()
        self.follow()

    def settle(self):
        """Work until all parts are idle."""
        end = time.monotonic() + PATIENCE
        self.follow()
        while self.judge.step() or self.delivery.step():
            assert time.monotonic() < end, "still busy"
