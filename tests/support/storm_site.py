"""A service, a Label Studio, and between them all that a storm may break; and what must be true again after each."""

from __future__ import annotations

import base64
import io
import os
import re
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Protocol

import psutil
import requests
from faulty_proxy import FaultyProxy
from newer_versions import NewerVersion
from PIL import Image
from postgresql import Running
from running import RunningService
from sqlalchemy import Connection, NullPool, create_engine, func, select, text
from sqlalchemy.exc import SQLAlchemyError
from waiting import PATIENCE

from annotriage.engine.reference import Reference
from annotriage.engine.triage import triage
from annotriage.errors import AnnotriageError
from annotriage.service.guarantee.spot_checks import passed_probation
from annotriage.store import Store, work
from annotriage.store.projects import Project, find_project
from annotriage.store.schema import delivery, item, spot_check, verdict
from annotriage.store.schema import work as work_table

CLASSES = [str(digit) for digit in range(8)]
CONFIG = (
    '<View><Image name="image" value="$image"/><Choices name="label" toName="image">'
    + "".join(f'<Choice value="{name}"/>' for name in CLASSES)
    + '<Choice value="None of these" alias="none-of-these"/></Choices></View>'
)
TASKS = 40  # in a storm
EARNING = 120  # automatic labels of a batch, of which people check 79: so many right ones show a limit of 4%
MOST_TASKS = 1_500  # in a project, before storms go on in a new one
POLLS = {"poll_seconds": 0.5, "sweep_seconds": 10.0, "predict_seconds": 2.0}  # far more often than as it ships: storms last seconds
TRACKER = "multiprocessing.resource_tracker"  # in the command line of a process that Python adds to those that have children
UNFORESEEN = "nobody foresaw this"  # in the log: the service went on, but not as anybody meant it to


class Studio(Protocol):
    """A Label Studio, real or not."""

    url: str
    token: str

    def project(self, config: str) -> int:
        """A new project."""

    def import_tasks(self, project: int, data: list[dict[str, Any]]) -> list[int]:
        """New tasks; their ids."""

    def predictions(self, project: int) -> dict[int, list[str]]:
        """The versions of each task's predictions."""

    def annotate(self, task: int, label: str) -> int:
        """A person's answer."""

    def annotated(self, project: int) -> dict[int, int]:
        """How many annotations each task has."""


@dataclass(frozen=True)
class Pictures:
    """What is sent: data URIs, what they show, whether the reference calls each an outlier when nothing disturbs it, and whether it names
    it rightly."""

    uris: Sequence[str]
    labels: Sequence[str]
    strange: Sequence[bool]
    right: Sequence[bool]


def pictures(reference: Reference, images: Any, labels: Sequence[str]) -> Pictures:
    """Digits as they are sent. images: (N, 8, 8) uint8. The undisturbed run is this one: the reference alone, without a service."""
    uris = []
    for image in images:
        content = io.BytesIO()
        Image.fromarray(image).save(content, "PNG")
        uris.append("data:image/png;base64," + base64.b64encode(content.getvalue()).decode())
    verdicts = list(triage(reference, (images, None)).verdicts)
    right = [one.labels == (label,) for one, label in zip(verdicts, labels, strict=True)]
    return Pictures(uris, list(labels), [one.route == "outlier" for one in verdicts], right)


@dataclass
class Sent:
    """A project, which picture each of its tasks shows, and whether it must be an outlier, by task."""

    id: int
    strange: dict[int, bool] = field(default_factory=dict)
    rows: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class State:
    """A project after a storm. lost: tasks without a verdict, or without a prediction. doubled: tasks with several, or with several
    annotations. wrong: tasks that failed, or are outliers where they are none in the undisturbed run, or the reverse. share: of outliers,
    as the counters of the service say. open: deliveries and judgements that are not finished."""

    lost: int
    doubled: int
    wrong: int
    share: float
    expected: float
    open: int

    @property
    def is_sound(self) -> bool:
        return not (self.lost or self.doubled or self.wrong or self.open) and self.share == self.expected


class Site:
    """One service for one Label Studio. tool: what the service sees of Label Studio; hooks: what Label Studio sees of the service.

    Everything random comes from `rng`. postgres: the server that the database is on, if it is one. polls: the settings that say how
    often Label Studio is asked. killed: SIGKILLs so far, by what they ended.
    """

    def __init__(
        self,
        folder: Path,
        studio: Studio,
        reference: Path,
        sent: Pictures,
        rng: Random,
        *,
        database: str,
        postgres: Running | None = None,
        polls: Mapping[str, float] = POLLS,
    ) -> None:
        self.studio, self.reference, self.pictures, self.rng = studio, reference, sent, rng
        self.folder, self.postgres, self._polls = folder, postgres, polls
        self.tool = FaultyProxy(studio.url)
        self.service = RunningService(
            folder,
            self.tool.url,
            studio.token,
            database=database,
            **polls,
        )
        self.hooks = FaultyProxy(self.service.url)
        with self.service.config.open("a", encoding="utf-8") as config:
            config.write(f'service_url = "{self.hooks.url}"\n')
        self.project, self.accepting = Sent(0), Sent(0)
        self.killed: Counter[str] = Counter()
        self._given: set[int] = set()  # tasks whose spot checks somebody has answered
        self._store: Store | None = None

    # -- the service

    def start(self) -> None:
        """Start the service, and wait until it is whole."""
        self.service.start()
        self.wait(self.is_whole, "for the web process, a worker and a jobs process")

    def close(self) -> None:
        """End everything."""
        self.service.stop()
        self.tool.stop()
        self.hooks.stop()
        self.forget_store()

    def forget_store(self) -> None:
        """Let go of the database, which may be another one from now on."""
        if self._store is not None:
            self._store.close()
            self._store = None

    @property
    def store(self) -> Store:
        """The database, to look into."""
        if self._store is None:
            self._store = Store(self.service.settings.database, checkpoints=False)
        return self._store

    def replica(self, name: str) -> RunningService:
        """Another service on the same database, which was started."""
        settings = {"database": self.service.settings.database, **self._polls, "service_url": self.hooks.url}
        other = RunningService(self.folder / name, self.tool.url, self.studio.token, **settings)
        other.start()
        return other

    def newer(self, migrations: int, *, slow: bool = False) -> RunningService:
        """A service on the same database whose code has so many more migrations, not started. slow: it pauses within them."""
        folder = Path(tempfile.mkdtemp(prefix="newer-", dir=self.folder))
        path = NewerVersion(folder / "code", migrations, slow=slow).path
        settings = {"database": self.service.settings.database, **self._polls, "service_url": self.hooks.url}
        return RunningService(folder, self.tool.url, self.studio.token, python_path=path, **settings)

    def is_opened(self) -> bool:
        """Whether some service has begun to make the database, which was empty."""
        if self.service.settings.database.startswith("sqlite"):
            with suppress(FileNotFoundError):  # SQLite's journal comes and goes
                return any(file.stat().st_size for file in self.folder.glob("annotriage.db*"))
            return False
        engine = create_engine(self.service.settings.database, poolclass=NullPool)
        with engine.connect() as connection:
            return bool(connection.execute(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")).scalar_one())

    def pids(self) -> dict[str, int]:
        """The service's living processes by role, as they say themselves."""
        ours = {one.pid for one in self.processes()}
        with self.store.reading() as connection:
            return {row.role: row.pid for row in work.living(connection) if row.pid in ours and _lives(row.pid)}

    def is_whole(self) -> bool:
        """Whether all three processes run."""
        with suppress(SQLAlchemyError, AnnotriageError, psutil.Error):
            return {"web", "worker", "jobs"} <= set(self.pids())
        return False

    def processes(self) -> list[psutil.Process]:
        """The web process and its children."""
        parent = psutil.Process(self.service.pid)  # of the service itself, not of its replicas
        return [parent, *parent.children(recursive=True)]

    def kill(self, role: str, *, again: bool = True) -> None:
        """SIGKILL one process; "all": the whole service, as a power cut. again: without its web process the service is started again."""
        if role == "all":
            self.service.kill()
        else:
            found = dict[str, int]()
            self.wait(
                lambda: found.update(self.pids()) or role in found, f"for a {role} process to kill"
            )  # the last one may just have died
            children = psutil.Process(self.service.pid).children()
            os.kill(found[role], signal.SIGKILL)
            if role == "web":
                self.service.wait()
                self.wait(lambda: not any(map(_runs, children)), "for the children of a killed web process to end")
        self.killed[role] += 1
        if again and role in ("all", "web"):
            self.start()

    def kill_any(self) -> None:
        """SIGKILL any process there is, also one that has just been started. Without its web process the service is started again at
        once, as whoever watches over it would: its other processes may not have ended yet.
        """
        if self.rng.random() < 0.2:
            self.service.kill()
            self.killed["all"] += 1
            self.service.start()
            return
        roles = {self.service.pid: "web"}
        with suppress(SQLAlchemyError, AnnotriageError, psutil.Error):
            roles |= {pid: role for role, pid in self.pids().items()}
        process = self.rng.choice([one for one in self.processes() if _runs(one)])
        with suppress(psutil.NoSuchProcess):
            what = roles.get(process.pid) or ("resource tracker" if TRACKER in " ".join(process.cmdline()) else "one that starts or ends")
            process.kill()
            self.killed[what] += 1
        if process.pid == self.service.pid:
            self.service.wait()
            self.service.start()

    @contextmanager
    def stopped(self, role: str) -> Iterator[Callable[[], bool]]:
        """A process that does nothing for a block, and does not know. The value: whether it is still there, since it may be replaced."""
        pid = self.pids()[role]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield lambda: _lives(pid)
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    # -- tasks

    def connect(self, *options: object) -> Sent:
        """A new project, connected."""
        found = Sent(self.studio.project(CONFIG))
        self.service.command("connect", "--project", found.id, "--reference", self.reference, *options)
        return found

    def choose_project(self) -> None:
        """Go on in a project that tasks may be sent into; a new one if it has many."""
        if self.project.id in (0, self.accepting.id) or len(self.project.strange) > MOST_TASKS:
            self.project = self.connect()

    def choose_accepting(self) -> None:
        """Go on in a project whose automatic labels become annotations, of batches that have earned it."""
        if not self.accepting.id:
            self.accepting = self.connect("--accept", "annotate", "--sample-share", 0)
        self.project = self.accepting

    def earn_acceptance(self, begun: Callable[[], bool]) -> None:
        """Send tasks, and answer their spot checks as people do, until automatic labels become annotations.

        Each batch must earn that for itself, and where no task comes for a minute the next one begins another: one import alone has enough
        for it, since a real Label Studio may take a minute for the answers.
        """
        end = time.monotonic() + 4 * PATIENCE
        while not begun():
            assert time.monotonic() < end, f"no automatic label of project {self.project.id} became an annotation\n{self.service.tail()}"
            self.send(EARNING, familiar=True)
            self.wait(lambda: begun() or self.counts()["judged"] >= len(self.project.strange), "for tasks to be judged")
            self.wait(lambda: begun() or self._answered(), "for answers to be read")

    def _answered(self) -> bool:
        """Answer the spot checks that nobody has answered yet, each once; whether all answers were read."""
        waiting = self._open_checks()
        for task in set(waiting) - self._given:
            self._given.add(task)
            self.studio.annotate(task, self.pictures.labels[self.project.rows[task]])
        return not waiting

    def send(self, count: int, *, familiar: bool = False) -> list[int]:
        """Import so many tasks into the present project; their ids. familiar: no strangers, and none that the model takes for another."""
        fit = [row for row, right in enumerate(self.pictures.right) if not familiar or (right and not self.pictures.strange[row])]
        rows = self.rng.choices(fit, k=count)
        ids = self.studio.import_tasks(self.project.id, [{"image": self.pictures.uris[row]} for row in rows])
        self.project.rows |= dict(zip(ids, rows, strict=True))
        self.project.strange |= {id: self.pictures.strange[row] for id, row in zip(ids, rows, strict=True)}
        return ids

    def all_accepted(self) -> bool:
        """Whether every automatic label of the batches that have earned it, unless it is a spot check, is an annotation."""
        with self.store.reading() as connection:
            project = self._row(connection)
            open_ = (item.c.project_id == project.id, item.c.route == "auto", item.c.answer == "open")
            earned = item.c.shown_dataset_id.in_(passed_probation(connection, project))
            checked = select(spot_check.c.item_id)
            return connection.execute(select(item.c.id).where(*open_, earned, item.c.id.not_in(checked)).limit(1)).first() is None

    def _open_checks(self) -> list[int]:
        """The tasks that are spot checks without an answer."""
        with self.store.reading() as connection:
            project = self._row(connection)
            query = select(item.c.external_id).join(spot_check, spot_check.c.item_id == item.c.id)
            query = query.where(item.c.project_id == project.id, spot_check.c.state == "open", item.c.answer == "open")
            return [int(id) for id in connection.execute(query).scalars()]

    def _row(self, connection: Connection) -> Project:
        found = find_project(connection, str(self.project.id))
        assert found is not None
        return found

    def begin_anew(self) -> None:
        """After a storm that was not survived: end what is left, and start on an empty database."""
        with suppress(Exception):
            self.service.kill()
        self.empty_database()
        self.start()

    def empty_database(self) -> None:
        """Take away all that the service, which does not run, knows."""
        if self.store.is_sqlite:
            self.forget_store()
            for file in self.folder.glob("annotriage.db*"):
                file.unlink()
        else:
            with self.store.engine.begin() as connection:
                connection.execute(text("DROP SCHEMA public CASCADE"))
                connection.execute(text("CREATE SCHEMA public"))
            self.forget_store()
        self.project, self.accepting = Sent(0), Sent(0)

    # -- waiting and looking

    def wait(self, condition: Callable[[], object], what: str = "", seconds: float = 2 * PATIENCE, every: float = 0.1) -> None:
        """Wait until something holds, whatever goes wrong meanwhile."""
        end = time.monotonic() + seconds
        while True:
            with suppress(SQLAlchemyError, AnnotriageError, requests.RequestException, AssertionError):
                if condition():
                    return
            if time.monotonic() > end:
                raise AssertionError(f"waited {seconds:g} s in vain {what}; {self.state()}\n{self.service.tail()}")
            time.sleep(every)

    def moment(self, stage: str) -> None:
        """Wait until the present project's tasks are somewhere: intake, inference, verdict. Busy machines may be past it already."""
        reached = {
            "intake": lambda counts: counts["items"] > 0,
            "inference": lambda counts: counts["claimed"] > 0,
            "verdict": lambda counts: counts["judged"] > 0,
        }[stage]
        before, end = self.counts(), time.monotonic() + PATIENCE
        while time.monotonic() < end:
            now = self.counts()
            if reached(now - before if stage != "inference" else now) or now["judged"] >= len(self.project.strange):
                return
            time.sleep(0.001)

    def counts(self) -> Counter[str]:
        """Rows of the present project: items, judged, claimed."""
        with self.store.reading() as connection:
            found = find_project(connection, str(self.project.id))
            of_it = -1 if found is None else found.id

            def number(table: Any, *where: Any) -> int:
                return int(
                    connection.execute(select(func.count()).select_from(table).where(table.c.project_id == of_it, *where)).scalar_one()
                )

            claimed = number(work_table, work_table.c.owner.is_not(None))
            return Counter(items=number(item), judged=number(verdict), claimed=claimed)

    def state(self) -> State:
        """The present project, in the store and in Label Studio."""
        sent = self.project
        shown, annotated = self.studio.predictions(sent.id), self.studio.annotated(sent.id)
        with self.store.reading() as connection:
            project = self._row(connection)
            mine = (verdict.c.project_id == project.id, verdict.c.reference_id == project.reference_id, ~item.c.gone)
            query = select(item.c.external_id, verdict.c.judged).join(item, item.c.id == verdict.c.item_id).where(*mine)
            judged = [(int(id), route) for id, route in connection.execute(query)]
            open_ = select(func.count()).select_from(delivery).where(delivery.c.project_id == project.id, delivery.c.state != "confirmed")
            undelivered = int(connection.execute(open_).scalar_one())
            waits = work.waiting(connection, project.id, project.reference_id)
        routes = self.service.get(f"/api/projects/{sent.id}")["project"]["routes"]
        counted = Counter({one["route"]: one["items"] for one in routes})
        times = Counter(id for id, _ in judged)
        versions = {id: shown.get(id, []).count(project.version) for id in sent.strange}
        return State(
            lost=sum(not (times[id] and versions[id]) for id in sent.strange),
            doubled=sum(times[id] > 1 or versions[id] > 1 or annotated.get(id, 0) > 1 for id in sent.strange),
            wrong=sum(route == "failed" or id not in sent.strange or (route == "outlier") != sent.strange[id] for id, route in judged),
            share=counted["outlier"] / max(1, counted.total()),
            expected=sum(sent.strange.values()) / max(1, len(sent.strange)),
            open=undelivered + waits,
        )

    def settle(self) -> State:
        """Wait until everything that was sent is judged and delivered, once each, and all processes run: how it stands then."""
        self.wait(lambda: self.is_whole() and self.state().is_sound, f"for project {self.project.id} to be sound", every=0.25)
        self.wait(self.is_scored, f"for the diversity score of project {self.project.id}", every=0.25)
        return self.state()

    def is_scored(self) -> bool:
        """Whether the diversity score that people read is that of an undisturbed run."""
        expected = sum(self.project.strange.values()) / max(1, len(self.project.strange))
        datasets = self.service.get(f"/api/projects/{self.project.id}/diversity", limit=100)["datasets"]
        return any(one["dataset"]["kind"] == "all" and abs(one["latest"]["share"] - expected) < 1e-9 for one in datasets)

    def told(self, doctor: str = "", ready: str = "", *, unless: Callable[[], bool] = bool) -> str:
        """What doctor and /ready say is wrong. doctor, ready: patterns of what they must say before long, unless something comes about.

        Raises AssertionError if they do not.
        """
        end = time.monotonic() + PATIENCE
        while True:
            said = self.service.command("doctor", check=False)
            lines = re.findall(r"^\s*WRONG\s+(.*)", said, re.MULTILINE) or re.findall(r"^Error: .*", said, re.MULTILINE)
            answer = self._ready()
            told = "; ".join([*lines, answer] if answer else lines)
            if (re.search(doctor, "; ".join(lines)) and re.search(ready, answer)) or unless():
                return told
            assert time.monotonic() < end, f"doctor and /ready must say {doctor!r} and {ready!r}, and say {told!r}"
            time.sleep(0.2)

    def _ready(self) -> str:
        """What /ready says is wrong; "" if it is ready."""
        try:
            answer = requests.get(f"{self.service.url}/ready", auth=(self.service.settings.user, self.service.password), timeout=15)
            return "" if answer.ok else f"/ready {answer.status_code}: {answer.json()['detail']}"
        except requests.RequestException as error:
            return f"/ready: {type(error).__name__}"

    def unforeseen(self) -> int:
        """Failures in the service's log that nobody foresaw."""
        return self.service.log.read_text("utf-8", "replace").count(UNFORESEEN) if self.service.log.exists() else 0


def _lives(pid: int) -> bool:
    with suppress(psutil.Error):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
