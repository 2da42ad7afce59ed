"""Judging: what changes, goes or fails between a claim and its verdicts."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import databases
import outages
import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from triaged import data_uri, import_tasks
from waiting import PATIENCE, wait_until

from annotriage.errors import MediaUnavailable
from annotriage.service.intake.reviewing import take_reviews
from annotriage.service.judging import judge as judging
from annotriage.service.judging.check_assignment import DrawState
from annotriage.service.judging.judge import Judge
from annotriage.service.operations.connecting import disconnect
from annotriage.service.operations.loops import Loop
from annotriage.store import work
from annotriage.store.projects import get_project
from annotriage.store.schema import event, spot_check, verdict
from annotriage.store.schema import work as work_table


@pytest.fixture
def judge(process):
    """A judge, stepped by hand: the next claim, then what becomes of it."""
    judge = Judge(process)
    yield judge
    judge.close()


def count(process, table):
    with process.store.reading() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def waiting(process, project):
    with process.store.reading() as connection:
        return work.waiting(connection, project.id, project.reference_id)


def due_now(process):
    with process.store.writing() as connection:
        connection.execute(work_table.update().values(not_before=0.0))


@databases.both
def test_a_medium_that_changed_while_it_was_judged_leaves_no_verdict_and_no_spot_check_of_the_old_one(process, connect, digits, judge):
    project, tool = connect(sample_share=1.0)
    first, second = import_tasks(process, project, tool, digits.incoming[0][:2])
    assert judge.claim_ahead()
    with process.store.writing() as connection:
        take_reviews(connection, project, [replace(first, media=data_uri(digits.strangers[0][0]))])
    assert judge.judge_ahead()
    with process.store.reading() as connection:
        judged = list(connection.execute(select(verdict.c.item_id)).scalars())
        drawn = list(connection.execute(select(spot_check.c.item_id)).scalars())
    assert judged == drawn
    assert len(judged) == 1
    assert waiting(process, project) == 1, "what it shows now is still to be judged"
    assert judge.step()
    assert (count(process, verdict), count(process, spot_check), waiting(process, project)) == (2, 2, 0)
    assert second.id != first.id


@databases.both
def test_a_project_that_was_disconnected_while_it_was_judged_ends_nothing(process, connect, digits, judge):
    project, tool = connect("3")
    import_tasks(process, project, tool, digits.incoming[0][:2])
    assert judge.claim_ahead()
    disconnect(process, "3")
    assert judge.judge_ahead()
    assert (count(process, verdict), count(process, work_table), count(process, event)) == (0, 0, 0)
    other, tool = connect("4")
    import_tasks(process, other, tool, digits.incoming[0][:1])
    assert judge.step()
    assert count(process, verdict) == 1


def test_who_waits_for_an_item_has_it_claimed_at_once(process, connect, digits, judge, monkeypatch):
    paused = threading.Event()

    class Called(threading.Event):
        def wait(self, timeout=None):
            paused.set()
            return super().wait(timeout)

    process.called = Called()
    with monkeypatch.context() as patient:
        patient.setattr(judging, "IDLE_SECONDS", 1e6)  # by itself it would never look again
        claims, *_ = judge.loops()
    claiming = threading.Thread(target=claims.run, daemon=True)
    claiming.start()
    assert paused.wait(PATIENCE)
    project, tool = connect()
    import_tasks(process, project, tool, digits.incoming[0][:1])
    process.called.set()
    wait_until(judge.judge_ahead, what="for the item to be claimed")
    assert count(process, verdict) == 1
    process.stopping.set()
    process.called.set()
    claiming.join()


def test_an_error_that_nobody_foresaw_ends_no_thread_and_keeps_no_claim(process, connect, digits, judge, monkeypatch):
    project, tool = connect()
    import_tasks(process, project, tool, digits.incoming[0][:2])
    claims, judges, *_ = judge.loops()
    assert isinstance(judges, Loop)
    real, failing = judging.current_draw, [True]

    def draw(*given):
        if failing.pop() if failing else False:
            raise KeyError("nobody foresaw this")
        return real(*given)

    monkeypatch.setattr(judging, "current_draw", draw)
    assert claims.round()
    judges.round()
    assert waiting(process, project) == 2
    due_now(process)
    claims, judges, *_ = judge.loops()
    assert claims.round()
    judges.round()
    assert waiting(process, project) == 0


def test_an_item_on_which_judging_always_fails_fails_alone_in_the_end(process, connect, digits, judge, monkeypatch):
    project, tool = connect(sample_share=0.0, audit_share=0.0)
    import_tasks(process, project, tool, digits.incoming[0][:3])
    real = judging.verdicts_of

    def verdicts(reference, items, judged, seconds):
        if any(item.id == "2" for item in items):
            raise KeyError("nobody foresaw this")
        return real(reference, items, judged, seconds)

    monkeypatch.setattr(judging, "verdicts_of", verdicts)
    for _ in range(20):
        for loop in judge.loops():
            loop.round()
        due_now(process)
    assert waiting(process, project) == 0
    with process.store.reading() as connection:
        routes = {row.item_id: row.route for row in connection.execute(select(verdict.c.item_id, verdict.c.route))}
    assert [id for id, route in routes.items() if route == "failed"] == [2]
    assert len(routes) == 3


class Killed(BaseException):
    """What no code may handle: the worker is gone."""


def work_until_killed(process):
    """A worker from its start to its end, killed or with nothing left to do: whether it was killed. Others take back what it held."""
    judge = Judge(process)
    try:
        while judge.claim_ahead() or judge.judge_ahead():
            pass
    except Killed:
        return True
    finally:
        with process.store.writing() as connection:
            work.bury(connection, [process.owner])
        judge.close()
    return False


def routes(process):
    with process.store.reading() as connection:
        return {row.item_id: row.route for row in connection.execute(select(verdict.c.item_id, verdict.c.route))}


@databases.both
def test_an_item_that_kills_the_worker_takes_no_others_along(process, connect, digits, monkeypatch):
    project, tool = connect(sample_share=0.0, audit_share=0.0)
    import_tasks(process, project, tool, digits.incoming[0][:6])
    real = judging.verdicts_of

    def verdicts(reference, items, judged, seconds):
        if any(item.id == "2" for item in items):
            raise Killed
        return real(reference, items, judged, seconds)

    monkeypatch.setattr(judging, "verdicts_of", verdicts)
    deaths = 0
    while work_until_killed(process):
        deaths += 1
        assert deaths < 20, "that item is tried for ever"
    assert waiting(process, project) == 0
    assert [id for id, route in routes(process).items() if route == "failed"] == [2]
    with process.store.reading() as connection:
        reason = connection.execute(select(verdict.c.reason).where(verdict.c.item_id == 2)).scalar_one()
    assert f"died on it {deaths} times" in reason


@databases.both
def test_a_worker_that_is_killed_as_it_loads_the_model_holds_no_item_at_fault(process, connect, digits, monkeypatch):
    project, tool = connect(sample_share=0.0, audit_share=0.0)
    import_tasks(process, project, tool, digits.incoming[0][:3])

    def load(*_given):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(judging, "load_kept_model", load)
        for _ in range(10):
            assert work_until_killed(process)
    assert not work_until_killed(process)
    assert "failed" not in routes(process).values()
    assert len(routes(process)) == 3


def test_an_item_during_which_the_worker_happened_to_be_killed_twice_is_judged(process, connect, digits, monkeypatch):
    project, tool = connect(sample_share=0.0, audit_share=0.0)
    import_tasks(process, project, tool, digits.incoming[0][:3])
    real, deaths = judging.verdicts_of, 0

    def verdicts(reference, items, judged, seconds):
        nonlocal deaths
        if deaths < 2 + work.SUSPECT:
            deaths += 1
            raise Killed
        return real(reference, items, judged, seconds)

    monkeypatch.setattr(judging, "verdicts_of", verdicts)
    for _ in range(2 + work.SUSPECT):
        assert work_until_killed(process)
    assert not work_until_killed(process)
    assert "failed" not in routes(process).values()
    assert len(routes(process)) == 3


@databases.both
def test_what_could_not_be_written_down_is_judged_again_once_the_database_is_back(process, connect, digits, judge, monkeypatch):
    monkeypatch.setattr("annotriage.store.database.BUSY_SECONDS", 0.0)
    project, tool = connect()
    import_tasks(process, project, tool, digits.incoming[0][:3])
    for _ in range(work.GIVEN_UP + 1):  # nothing is held against the items
        claims, judging, *_ = judge.loops()
        assert claims.round()
        with outages.unusable(process.settings.database):
            assert not judging.round()
            assert not claims.round()
        claims.round()
        due_now(process)
    assert judge.step()
    with process.store.reading() as connection:
        routes = list(connection.execute(select(verdict.c.route)).scalars())
    assert len(routes) == 3
    assert "failed" not in routes
    assert waiting(process, project) == 0
    with process.store.reading() as connection:
        assert get_project(connection, project.id).trouble is None


def test_a_claim_that_was_written_down_as_the_database_went_away_is_given_back(process, connect, digits, judge, monkeypatch):
    project, tool = connect()
    import_tasks(process, project, tool, digits.incoming[0][:3])
    writing, falls_silent = process.store.writing, [True]

    @contextmanager
    def losing():
        with writing() as connection:
            yield connection
        if falls_silent and falls_silent.pop():
            raise OperationalError("COMMIT", {}, ConnectionError("it was written down, and nobody heard of it"))

    monkeypatch.setattr(process.store, "writing", losing)
    claims, judges, *_ = judge.loops()
    assert not claims.round()
    due_now(process)
    claims, judges, *_ = judge.loops()  # what failed is tried again
    assert claims.round()
    judges.round()
    assert waiting(process, project) == 0


def test_what_is_claimed_again_as_soon_as_it_was_given_back_is_judged_once_more_alone(process, connect, digits, judge, monkeypatch):
    project, tool = connect()
    import_tasks(process, project, tool, digits.incoming[0][:2])
    tell_judged, writing, record, verdicts_of = process.tell_judged, process.store.writing, judging.record, judging.verdicts_of
    judged, falls_silent = [], []

    @contextmanager
    def losing():
        with writing() as connection:
            yield connection
        if falls_silent and falls_silent.pop():
            raise OperationalError("COMMIT", {}, ConnectionError("it was written down, and nobody heard of it"))

    def verdicts(reference, items, *others):
        judged.extend(int(item.id) for item in items)
        return verdicts_of(reference, items, *others)

    def all_but_one(connection, project, reference_id, some):
        """One cannot be written as it was drawn: an answer is on its way to it."""
        monkeypatch.setattr(judging, "record", record)
        return record(connection, project, reference_id, [judgement for judgement in some if judgement.item_id != 1])

    def claim_at_once():
        monkeypatch.setattr(process, "tell_judged", tell_judged)
        assert judge.claim_ahead(), "it waits again as soon as the others are written down"

    monkeypatch.setattr(judging, "verdicts_of", verdicts)
    monkeypatch.setattr(judging, "record", all_but_one)
    monkeypatch.setattr(process.store, "writing", losing)
    monkeypatch.setattr(process, "tell_judged", claim_at_once)
    assert judge.step()
    import_tasks(process, project, tool, digits.incoming[0][2:3])
    falls_silent.append(True)
    with pytest.raises(OperationalError):
        judge.claim_ahead()  # it no longer knows what it has claimed
    assert judge.claim_ahead()
    while judge.judge_ahead():
        pass
    assert sorted(judged) == [1, 1, 2, 3]
    assert waiting(process, project) == 0


def test_claiming_goes_on_after_an_error_that_nobody_foresaw(process, connect, digits, judge, monkeypatch):
    project, tool = connect()
    import_tasks(process, project, tool, digits.incoming[0][:2])
    real, failing = process.tool_project, [True]

    def tool_project(project):
        if failing.pop() if failing else False:
            raise KeyError("nobody foresaw this")
        return real(project)

    monkeypatch.setattr(process, "tool_project", tool_project)
    claims, *_ = judge.loops()
    assert not claims.round()
    due_now(process)
    claims, judges, *_ = judge.loops()
    assert claims.round()
    judges.round()
    assert waiting(process, project) == 0


def test_no_more_is_claimed_than_can_be_used_soon(process, connect, digits, judge, monkeypatch):
    monkeypatch.setattr(judging, "CLAIMED", 1)
    project, tool = connect()
    import_tasks(process, project, tool, digits.incoming[0][:5])
    assert [judge.claim_ahead() for _ in range(judging.AHEAD + 1)] == [True] * judging.AHEAD + [False]
    for _ in range(judging.AHEAD):
        assert judge.judge_ahead()
    assert not judge.judge_ahead()


class Short:
    """A model with memory for so many items at a time."""

    def __init__(self, model, most):
        self._model, self._most, self.asked, self.notes = model, most, [], ()

    def __getattr__(self, name):
        return getattr(self._model, name)

    def run(self, batch, beside=False):
        self.asked.append(len(batch))
        if len(batch) > self._most:
            raise MemoryError("no room")
        return self._model.run(batch, beside)


def test_memory_that_was_short_for_one_claim_is_remembered_for_the_next(process, connect, digits, judge, monkeypatch):
    project, tool = connect(sample_share=0.0, audit_share=0.0)
    import_tasks(process, project, tool, digits.incoming[0][:70])
    load, opened = judging.load_kept_model, []

    def short(*given):
        opened.append(Short(load(*given), 20))
        return opened[-1]

    monkeypatch.setattr(judging, "load_kept_model", short)
    while judge.step():
        pass
    (model,) = opened
    assert count(process, verdict) == 70
    assert [asked for asked in model.asked if asked > 20] == [32]


@pytest.fixture
def one_at_a_time(judge, monkeypatch):
    """Claims of one item each, judged by the judge's own threads from `start` on; the worker is stopped when the test ends."""
    monkeypatch.setattr(judging, "CLAIMED", 1)
    _, *loops = judge.loops()
    threads = [threading.Thread(target=loop.run) for loop in loops]

    def start():
        while judge.claim_ahead():
            pass
        for thread in threads:
            thread.start()

    yield start
    judge._process.stopping.set()
    for thread in threads:
        thread.join()


def first_held_up(monkeypatch, until, happened):
    """Let the first verdicts be written down only once `until` holds; what is written and drawn is noted."""
    record, draw = judging.record, judging.current_draw

    def recording(*given):
        if not happened:
            wait_until(until, what="for the next claim")
        happened.append("written")
        return record(*given)

    def drawing(*given):
        happened.append("drawn") if happened else None
        return draw(*given)

    monkeypatch.setattr(judging, "record", recording)
    monkeypatch.setattr(judging, "current_draw", drawing)


def test_the_model_runs_the_next_claim_while_the_last_one_is_written_down(process, connect, digits, judge, one_at_a_time, monkeypatch):
    project, tool = connect(sample_share=0.0, audit_share=0.0)
    import_tasks(process, project, tool, digits.incoming[0][:2])
    load, ran, happened = judging.load_kept_model, [], []

    def counted(*given):
        ran.append(Short(load(*given), 20))
        return ran[-1]

    monkeypatch.setattr(judging, "load_kept_model", counted)
    first_held_up(monkeypatch, lambda: ran[0].asked == [1, 1], happened)
    one_at_a_time()
    wait_until(lambda: waiting(process, project) == 0, what="for both to be judged")
    assert happened == ["written", "drawn", "written"], "spot checks are drawn from what is written down of the claim before"


def test_what_a_worker_may_have_died_of_is_judged_while_nothing_else_is(process, connect, digits, judge, one_at_a_time, monkeypatch):
    project, tool = connect(sample_share=0.0, audit_share=0.0)
    import_tasks(process, project, tool, digits.incoming[0][:2])
    with process.store.writing() as connection:
        suspect = work_table.update().where(work_table.c.id == select(func.max(work_table.c.id)).scalar_subquery())
        connection.execute(suspect.values(attempts=work.SUSPECT))
    begin, happened = work.begin, []

    def beginning(*given):
        happened.append("begun")
        return begin(*given)

    monkeypatch.setattr(work, "begin", beginning)
    taken_at = []

    def taken_a_moment_ago():
        if judge._ahead.empty():
            taken_at.append(time.monotonic())
        return taken_at and time.monotonic() > taken_at[0] + 0.3

    first_held_up(monkeypatch, taken_a_moment_ago, happened)
    one_at_a_time()
    wait_until(lambda: waiting(process, project) == 0, what="for both to be judged")
    assert happened == ["written", "begun", "drawn", "written"]


def test_a_claim_that_ends_without_a_verdict_is_not_ahead_of_one_that_is_still_written_down(
    process, connect, digits, judge, one_at_a_time, monkeypatch
):
    project, tool = connect(sample_share=0.0, audit_share=0.0)
    _, away, _ = import_tasks(process, project, tool, digits.incoming[0][:3])
    with process.store.writing() as connection:
        suspect = work_table.update().where(work_table.c.id == select(func.max(work_table.c.id)).scalar_subquery())
        connection.execute(suspect.values(attempts=work.SUSPECT))
    content, begin, happened, looked_at = judge._reader._content, work.begin, [], []

    def fetched(tool, task, media, where):
        if task == away.id:
            raise MediaUnavailable("nobody answers")
        return content(tool, task, media, where)

    def beginning(*given):
        happened.append("begun")
        return begin(*given)

    def the_suspect_may_have_been_begun():
        if judge._ahead.qsize() < 2:
            looked_at.append(time.monotonic())
        return looked_at and time.monotonic() > looked_at[0] + 0.3

    monkeypatch.setattr(judge._reader, "_content", fetched)
    monkeypatch.setattr(work, "begin", beginning)
    judge._ahead.maxsize = 3  # all are claimed before the first is judged
    first_held_up(monkeypatch, the_suspect_may_have_been_begun, happened)
    one_at_a_time()
    wait_until(lambda: happened.count("written") == 2, what="for the suspect to be judged")
    assert happened.index("begun") > happened.index("written")


def test_another_model_is_loaded_only_once_the_claim_before_is_written_down(
    process, connect, digits, other_reference, judge, one_at_a_time, monkeypatch
):
    """It takes the place of one in memory, which must not be at work then."""
    second, tool = connect("2", other_reference, sample_share=0.0, audit_share=0.0)
    first, other = connect("1", sample_share=0.0, audit_share=0.0)
    import_tasks(process, first, other, digits.incoming[0][:1])
    import_tasks(process, second, tool, digits.incoming[0][:1])
    opened, happened, taken_at = judge.open, [], []

    def opening(reference_id):
        if reference_id == second.reference_id:
            happened.append("opened")
        return opened(reference_id)

    def the_second_may_have_been_opened():
        if judge._ahead.empty():
            taken_at.append(time.monotonic())
        return taken_at and time.monotonic() > taken_at[0] + 0.3

    monkeypatch.setattr(judge, "open", opening)
    first_held_up(monkeypatch, the_second_may_have_been_opened, happened)
    one_at_a_time()
    wait_until(lambda: not waiting(process, first) and not waiting(process, second), what="for both to be judged")
    assert happened == ["written", "opened", "drawn", "written"]


def share_for(process, project, count, state):
    """The share of automatic labels checked blind that the next so many items get."""
    with process.store.reading() as connection:
        ids = connection.execute(select(work_table.c.item_id).order_by(work_table.c.id).limit(count)).scalars().all()
        return judging.current_draw(connection, project, project.reference_id, ids, state).audit


def test_how_many_are_claimed_at_a_time_changes_no_share_of_spot_checks(process, connect, digits):
    project, tool = connect()
    import_tasks(process, project, tool, digits.incoming[0][:60])
    state = DrawState()
    assert [share_for(process, project, count, state) for count in (10, 30, 20)] == [pytest.approx(20 / 60)] * 3
    assert share_for(process, project, 60, DrawState()) == pytest.approx(20 / 60)


def test_a_share_ends_with_what_waited_together_whoever_judged_it(process, connect, digits, judge):
    project, tool = connect()
    import_tasks(process, project, tool, digits.incoming[0][:60])
    state = DrawState()
    first = share_for(process, project, 20, state)
    while judge.step():  # another worker
        pass
    import_tasks(process, project, tool, digits.incoming[0][60:70])
    assert share_for(process, project, 10, state) == first
    assert share_for(process, project, 10, state) < first
