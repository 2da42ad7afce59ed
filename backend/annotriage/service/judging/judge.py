"""The worker's main part: claims items, reads their media, lets the model judge them and writes down the verdicts.

Items of one project and reference at a time, in one stream: media of the next ones are fetched while the model runs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from queue import Empty, Queue

from annotriage.data import Item, Problem
from annotriage.engine.gathering import gathered
from annotriage.engine.reference import Reference
from annotriage.engine.verdict import failed_verdict, verdicts_of
from annotriage.errors import AnnotriageError, MismatchError, ModelError, UnknownError
from annotriage.labeling_tool import ToolProject
from annotriage.model import Model
from annotriage.model.batch_size import BatchSize
from annotriage.model.stream import Batch, decoding_threads, stream
from annotriage.service.judging.check_assignment import Draw, DrawState, current_draw, failed, judgements
from annotriage.service.judging.kept_model import load_kept_model, refuse_changed
from annotriage.service.judging.media import MediaReader, Reading
from annotriage.service.operations.calls import Foretold
from annotriage.service.operations.log import log
from annotriage.service.operations.loops import SOON, Loop, Step
from annotriage.service.operations.process import Process
from annotriage.settings import Settings
from annotriage.states import EventKind, Failure
from annotriage.store import DATABASE_TROUBLE, deliveries, work
from annotriage.store.counters import chunks
from annotriage.store.events import note
from annotriage.store.projects import Project, change_project, get_project
from annotriage.store.verdicts import Judgement, record
from annotriage.store.work import ClaimedItem

FEWEST, CLAIMED = 32, 256  # items at a time, at first and at most, unless the model takes more at once:
CLAIM_SECONDS = 1.0  # about so much work, since what one worker has claimed no other can take
RECORDED = 128  # verdicts in one transaction: some 20 ms
IDLE_SECONDS = 0.1
MOST_AWAITED = 1_000  # tasks that somebody is known to wait for
AHEAD = 2  # claims whose media are being fetched while another one is judged
TROUBLE_SECONDS = 30.0
AGAIN_SECONDS = 2.0  # after a failure that nobody foresaw
TRY_AGAIN = (2.0, 10.0, 60.0, 900.0, 3600.0, 6 * 3600.0)  # seconds, for media that may come back
FAILED_AFTER = 3  # tries after which an item goes to a person, while it is tried on


@dataclass(frozen=True)
class _Claimed:
    """Claimed items on their way: their media are being fetched already. suspect: as of `Claim`."""

    project: Project
    tool: ToolProject
    reference_id: int
    rows: dict[int, ClaimedItem]
    suspect: bool
    media: Reading[ClaimedItem]


@dataclass(frozen=True)
class _Opened:
    """A reference with its model, ready to run. size: of the model's batches, as found so far."""

    reference: Reference
    model: Model
    settings: Settings
    size: BatchSize


class Judge:
    """Judges whatever is due: one thread claims, and has media fetched ahead; two judge what is claimed, one claim after the other.

    Two, so that the model never waits: while one still judges and writes down the last of its claim, the next one's is decoded and run.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._reader = MediaReader(process.settings, process.server)
        self._drawing = ThreadPoolExecutor(1, "draw")
        self._running: dict[int, ThreadPoolExecutor] = {}  # by how many lanes their models have: these take turns
        self._turn = threading.Lock()  # whose items go into the model
        self._written = threading.Event()  # what was claimed before is judged and written down, or given back
        self._written.set()
        self._ran_until = 0.0  # when the model had run the last claim
        process.foretold = self._expect
        self._ahead: Queue[_Claimed] = Queue(maxsize=AHEAD)
        self._models: dict[int, _Opened] = {}
        self._at_hand: list[set[int]] = []  # claim by claim: what one gives back may be in the next before the first has ended
        self._size = FEWEST
        self._awaited: dict[tuple[str, str, str], float] = {}  # tasks that somebody waits for, by project, task and media; until when
        self._called = False  # whether somebody waits for what is due now
        self._at_once = 0  # items that the model takes in one run, as found so far
        self._draws = DrawState()
        self._left: dict[int, tuple[float, set[int]]] = {}  # references whose model does not run here: until when, and what was left
        self._in_doubt = False  # whether more may be claimed than is at hand: the database went away over it

    def loops(self) -> list[Loop]:
        """Claiming and judging, side by side; the judging in two threads."""
        return [
            Loop(
                self._process,
                "claims",
                [Step("claiming", self.claim_ahead)],
                IDLE_SECONDS,
                back_off=SOON,
                source=self._process.store,
                wait=self._until_called,
            ),
            *(Loop(self._process, name, [Step("judging", self.judge_ahead)], 0.0, back_off=SOON) for name in ("judge", "judge beside")),
        ]

    def _until_called(self, seconds: float) -> None:
        self._called = self._process.called.wait(seconds)
        self._process.called.clear()

    def _expect(self, foretold: Foretold) -> None:
        """Have media fetched whose item is being written down: most of the time until it is claimed they are on their way."""
        self._await(foretold)
        with suppress(AnnotriageError):  # whatever is wrong with it is told when it is claimed
            self._reader.expect(self._process.named_project(foretold.project, foretold.classes), foretold.task, foretold.media)

    def _await(self, foretold: Foretold) -> None:
        """Remember that somebody waits for the task, for as long as that may be."""
        now = time.monotonic()
        for key in [key for key, until in list(self._awaited.items()) if until < now]:
            self._awaited.pop(key, None)
        if len(self._awaited) < MOST_AWAITED:
            self._awaited[foretold.project, foretold.task, foretold.media] = now + self._process.settings.predict_seconds

    def _is_awaited(self, project: Project, row: ClaimedItem) -> bool:
        until = self._awaited.pop((project.external_id, row.external_id or "", row.media), 0.0)
        return time.monotonic() < until

    def claim_ahead(self) -> bool:
        """Claim the next items, unless enough are claimed already; whether there were any. For one thread alone."""
        self._reader.forget_unread()
        if self._ahead.full():
            return False
        called, self._called = self._called, False
        claimed = self._claim(called)
        if claimed is not None:
            self._ahead.put(claimed)
        return claimed is not None

    def judge_ahead(self) -> bool:
        """Judge what was claimed; whether anything was. For two threads: one begins as all items of the other's claim are on their way."""
        with ExitStack() as turn:
            turn.enter_context(self._turn)
            if self._process.stopping.is_set():
                return False
            try:
                claimed = self._ahead.get(timeout=IDLE_SECONDS)
            except Empty:
                return False
            self._judge(claimed, turn)
        return True

    def step(self) -> bool:
        """Judge one claim, if there is one."""
        claimed = self._claim()
        if claimed is not None:
            with ExitStack() as turn:
                turn.enter_context(self._turn)
                self._judge(claimed, turn)
        return claimed is not None

    def close(self) -> None:
        """Let go of all connections; what is claimed is given back as the process takes leave."""
        self._drawing.shutdown(wait=False, cancel_futures=True)
        for running in list(self._running.values()):
            running.shutdown(wait=False, cancel_futures=True)
        self._reader.close()

    def _claim(self, called: bool = False) -> _Claimed | None:
        """The next claim, if there is one. called: whether somebody says that there is."""
        store = self._process.store
        self._clear_doubt()
        left = [id for id, (until, _) in list(self._left.items()) if time.monotonic() < until]
        if not called:
            with store.reading() as connection:
                if not work.anything_due(connection, left):
                    return None
        try:
            with store.writing() as connection:
                claim = work.claim(connection, self._process.owner, min(self._size, max(CLAIMED, self._at_once)), left)
                if claim is None:
                    return None
                project = get_project(connection, claim.project_id)
        except DATABASE_TROUBLE:  # it may have been written down all the same
            self._in_doubt = True
            raise
        rows = {row.id: row for row in claim.rows}
        at_hand = {row.work_id for row in claim.rows}
        self._at_hand.append(at_hand)
        try:
            tool = self._process.tool_project(project)
            fetched = [row for row in claim.rows if row.attempts < work.GIVEN_UP]
            return _Claimed(project, tool, claim.reference_id, rows, claim.suspect, self._reader.read(tool, fetched))
        except Exception:
            self._at_hand.remove(at_hand)
            self._in_doubt = True
            self._release(rows.values())
            raise

    def _judge(self, claimed: _Claimed, turn: ExitStack) -> None:
        """Judge what was claimed. Whatever fails, nothing stays claimed: it is tried again.

        turn: is closed as soon as the next claim may begin.
        """
        done = False
        before, self._written = self._written, threading.Event()
        written = self._written
        try:
            if claimed.reference_id not in self._models:
                before.wait()  # the model that has to go for it may be at work
            opened = self.open(claimed.reference_id)
            self._left.pop(claimed.reference_id, None)
            if claimed.suspect:
                before.wait()  # nothing else is at hand while it is judged
                with self._process.store.writing() as connection:
                    work.begin(connection, self._process.owner, [row.work_id for row in claimed.rows.values()])
            began = time.monotonic()
            found, later = self._run(claimed, opened, before, turn)
            now = time.monotonic()
            took = now - max(began, self._ran_until)  # the model may have been at the last claim until then
            self._size, self._ran_until = max(FEWEST, int(CLAIM_SECONDS * len(claimed.rows) / max(1e-3, took))), now
            self._at_once = opened.size.size
            self._record(claimed, found, later)
            done = True
        except DATABASE_TROUBLE:  # what is still claimed is given back once the database is there again
            raise
        except AnnotriageError as error:
            if not self._leave_to_others(claimed, error):
                self._held_up(claimed, error)
        except Exception:
            self._release(claimed.rows.values())
            raise
        finally:
            self._at_hand.remove({row.work_id for row in claimed.rows.values()})
            if not done:
                self._in_doubt = True
            claimed.media.close()
            before.wait()  # one that ends without having judged anything is not ahead of the others
            written.set()

    def _clear_doubt(self) -> None:
        """Give back what this worker has claimed and is not at; no item is at fault for that."""
        if not self._in_doubt:
            return
        self._in_doubt = False  # before anything is looked at: whoever is judging may be in doubt of something else meanwhile
        try:
            with self._process.store.writing() as connection:
                left = work.held(connection, self._process.owner).difference(*self._at_hand)
                work.put_off(connection, sorted(left), time.time())
        except DATABASE_TROUBLE:
            self._in_doubt = True
            raise

    def _record(self, claimed: _Claimed, found: list[Judgement], later: Mapping[int, int]) -> None:
        """Write verdicts down, a few at a time. What was changed while it was judged has been queued anew, and stays so; what cannot be
        written as it was drawn is judged again."""
        project = claimed.project
        for some in chunks(found, RECORDED):
            with self._process.store.writing() as connection:
                present = get_project(connection, project.id)
                done = [judgement.item_id for judgement in some]
                if claimed.reference_id in present.references:  # else another one has taken over meanwhile
                    done = record(connection, present, claimed.reference_id, some)
                    if claimed.reference_id == present.reference_id:
                        # Whoever waits takes them at once, before delivery can, and need not write that down any more.
                        awaited = [id for id in done if self._is_awaited(project, claimed.rows[id])]
                        deliveries.answered(connection, claimed.reference_id, awaited)
                work.finish(connection, [claimed.rows[id].work_id for id in done if id not in later])
                left = {judgement.item_id for judgement in some}.difference(done, later)
                work.put_off(connection, [claimed.rows[id].work_id for id in sorted(left)], time.time())
            self._process.tell_judged()
        if later or project.trouble is not None:
            with self._process.store.writing() as connection:
                change_project(connection, project.id, trouble=None)
                for item_id, tries in later.items():
                    work.put_off(connection, [claimed.rows[item_id].work_id], time.time() + TRY_AGAIN[tries], tried=True)
        log("judged", project=project.external_id, items=len(found), later=len(later) or None)

    def _held_up(self, claimed: _Claimed, error: AnnotriageError) -> None:
        """Nothing of the project can be judged at the moment: people are told why."""
        project = claimed.project
        with self._process.store.writing() as connection, suppress(UnknownError):
            before = get_project(connection, project.id)  # of one that was disconnected meanwhile nothing is left
            log("judging is held up", level=logging.ERROR, project=project.external_id, error=error)
            work.put_off(connection, [row.work_id for row in claimed.rows.values()], time.time() + TROUBLE_SECONDS)
            change_project(connection, project.id, trouble=str(error))
            if before.trouble != str(error):
                note(connection, project.id, EventKind.TROUBLE, error=str(error))

    def _leave_to_others(self, claimed: _Claimed, error: AnnotriageError) -> bool:
        """Give back at once what other workers may have the model for, and claim no more of it for a while; whether that was done.

        What this worker has left before, and is there still, nobody else can judge either.
        """
        id, works = claimed.reference_id, {row.work_id for row in claimed.rows.values()}
        _, before = self._left.get(id, (0.0, set[int]()))
        unfit = isinstance(error, (ModelError, MismatchError)) and id not in self._models
        if not unfit or works & before or not self._process.others("worker"):
            return False
        log("left to other workers", level=logging.ERROR, project=claimed.project.external_id, items=len(works), error=error)
        with self._process.store.writing() as connection:
            self._left[id] = time.monotonic() + TROUBLE_SECONDS, work.there(connection, before) | works
            work.put_off(connection, sorted(works), time.time())
        return True

    def _release(self, rows: Iterable[ClaimedItem]) -> None:
        with self._process.store.writing() as connection:
            work.release(connection, [row.work_id for row in rows], time.time() + AGAIN_SECONDS)

    def _run(self, claimed: _Claimed, opened: _Opened, before: threading.Event, turn: ExitStack) -> tuple[list[Judgement], dict[int, int]]:
        """The judgements of claimed items; and those to be tried again, with how often they were tried. before, turn: as of `_judge`."""
        reference, settings = opened.reference, opened.settings
        later: dict[int, int] = {}
        found = [
            failed(row, failed_verdict(reference, Item(str(row.id), None), _deadly(row)))
            for row in claimed.rows.values()
            if row.attempts >= work.GIVEN_UP
        ]
        begun = threading.Event()
        if len(claimed.rows) == 1:
            begun.set()
        drawing = self._drawing.submit(self._draw, claimed, begun, before)
        items = self._items(claimed, reference, later, found, turn)
        lanes = opened.model.lanes
        running = self._running.setdefault(lanes, ThreadPoolExecutor(lanes, "model"))
        batches = stream(opened.model, items, settings, size=opened.size, begun=begun, running=running)
        try:
            with closing(batches):  # whatever fails: nothing of this claim is in the model when the next one takes its turn
                for batch in gathered(batches, reference):
                    found += judged_batch(claimed.project, claimed.rows, reference, drawing.result(), batch, settings)
        finally:
            begun.set()
        return found, later

    def _draw(self, claimed: _Claimed, begun: threading.Event, before: threading.Event) -> Draw:
        """The draw for what is claimed, made while the model runs: until then it would only hold up those who fetch and decode. For one
        item it is made at once, beside them: somebody may wait for it.

        What was claimed before is written down by then: it counts in how many wait, and where spot checks stand.
        """
        begun.wait()
        before.wait()
        with self._process.store.reading() as connection:
            return current_draw(connection, claimed.project, claimed.reference_id, list(claimed.rows), self._draws)

    def _items(
        self, claimed: _Claimed, reference: Reference, later: dict[int, int], found: list[Judgement], turn: ExitStack
    ) -> Iterator[Item]:
        """The items whose media are there; the others are noted for later, after a few tries as failed for the time being."""
        for row, item in claimed.media:
            if isinstance(item, Item):
                yield item
                continue
            last = row.tries + 1 >= len(TRY_AGAIN)
            if not last:
                later[row.id] = row.tries
            if row.tries + 1 == FAILED_AFTER or last:
                problem = Problem(item.failure, f"{item}" + ("" if last else " It is tried again by itself."))
                found.append(failed(row, failed_verdict(reference, Item(str(row.id), None), problem)))
        if not claimed.suspect:
            turn.close()

    def open(self, reference_id: int) -> _Opened:
        """A reference with its model, loaded once; of two at most, the present one and the next.

        Raises UnknownError, ModelError if the model cannot run here, MismatchError if it is another one here.
        """
        if reference_id not in self._models:
            reference = self._process.reference(reference_id)
            settings = self._process.run_settings(reference)
            alike = next((opened for opened in self._models.values() if opened.reference.model == reference.model), None)
            if alike is None:
                model = load_kept_model(reference, settings)
            else:
                model = alike.model
                refuse_changed(reference, model)
            size = BatchSize(model, settings)
            if alike is not None and alike.settings.batch_size == settings.batch_size:
                size = alike.size
            while len(self._models) > 1:
                self._models.pop(next(iter(self._models)))
            self._models[reference_id] = _Opened(reference, model, settings, size)
        return self._models[reference_id]


def judged_batch(
    project: Project, rows: Mapping[int, ClaimedItem], reference: Reference, draw: Draw, batch: Batch, settings: Settings
) -> list[Judgement]:
    """What is to be stored and shown of the items of a batch. rows: by id. settings: of the run."""
    own = [rows[int(item.id)] for item in batch.items]
    found = [
        failed(row, failed_verdict(reference, item, problem, batch.seconds))
        for row, item, problem in zip(own, batch.items, batch.problems, strict=True)
        if problem is not None
    ]
    if batch.outputs is not None:
        judged = reference.judge(batch.outputs, decoding_threads(settings))
        verdicts = list(verdicts_of(reference, [batch.items[row] for row in batch.rows], judged, batch.seconds))
        found += judgements(project, draw, [own[row] for row in batch.rows], verdicts, judged, batch.loaded, settings.thumbnail)
    return found


def _deadly(row: ClaimedItem) -> Problem:
    return Problem(
        Failure.MODEL,
        f"task {row.external_id or row.marker}: the worker failed or died on it {row.attempts} times, so that it is not tried again;"
        " look at the file, and at the worker's memory",
    )
