"""The queue's pages: orders, filters, keys; what waits, what does not; and that no page reads more than it shows."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import event, insert, select, update

from annotriage.engine.verdict import Verdict
from annotriage.errors import UnknownError
from annotriage.labeling_tool import Task
from annotriage.states import SPOT_CHECK as BLIND
from annotriage.states import InsightKind, Standing
from annotriage.store import items, queue, spot_checks
from annotriage.store.browsing import item_of_task, items_of
from annotriage.store.counters import recounted
from annotriage.store.datasets import dataset_of
from annotriage.store.insights import keep_insight
from annotriage.store.projects import ProjectOptions, add_project
from annotriage.store.queue import (
    Filters,
    groups_stand,
    neighbours,
    queue_length,
    queue_page,
    waiting_by_kind,
    waiting_in_datasets,
    waiting_in_groups,
)
from annotriage.store.reviews import Answer, set_answers
from annotriage.store.schema import dataset, group_member, item, spot_check, verdict
from annotriage.store.verdicts import Judgement, record

# route, trust and label of task 1, 2, ...; the place of a spot check is a random one
ITEMS = (
    ("outlier", 0.20, "cat"),
    ("auto", 0.90, "cat"),
    ("uncertain", 0.60, "dog"),
    ("failed", 0.00, ""),
    ("outlier", 0.05, "dog"),
    ("auto", 0.10, "dog"),  # a spot check
    ("uncertain", 0.40, "cat"),
    ("outlier", 0.20, "dog"),
    ("auto", 0.70, "dog"),
)
SPOT_CHECK = 6
STRANGEST = [4, 5, 1, 8, 7, 3]


def _judgement(id, route, trust, label):
    found = Verdict(
        str(id), "", (label,) if label else (), 0.9, "cat", outlier_score=0.5, trust=0.9 if id == SPOT_CHECK else trust, route=route
    )
    return Judgement(id, found, route, None, trust, "sample" if id == SPOT_CHECK else None, b"", b"")


def _answer(store, id, **values):
    with store.writing() as connection, recounted(connection, [id]):
        connection.execute(update(item).where(item.c.id == id).values(**(values or {"answer": "resolved"})))


def _plan(store, act):
    """How SQLite carries out the statements of an act."""
    seen = []

    def keep(connection, cursor, statement, parameters, context, many):
        if statement.startswith("SELECT"):
            seen.append((statement, parameters))

    event.listen(store.engine, "before_cursor_execute", keep)
    with store.reading() as connection:
        act(connection)
    event.remove(store.engine, "before_cursor_execute", keep)
    with store.reading() as connection:
        return [row[3] for sql, given in seen for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", given)]


class TestQueue:
    @pytest.fixture
    def project(self, store, references):
        """Items 1 to 9 as `ITEMS` has them; 1 to 4 come from scanner A, the others from B."""
        with store.writing() as connection:
            project = add_project(connection, "3", "Pets", references[0], ProjectOptions(dataset_fields=("scanner",)), watch=True)
            tasks = [Task(str(n), f"http://host/{n}.png", fields={"scanner": "A" if n < 5 else "B"}) for n in range(1, len(ITEMS) + 1)]
            items.add_tasks(connection, project, tasks)
            record(connection, project, references[0], [_judgement(n, *values) for n, values in enumerate(ITEMS, start=1)])
        return project

    @pytest.fixture
    def walk(self, store, project):
        """The ids of the whole queue, read in pages of that many rows."""

        def walk(order="strangest", limit=2, **filters):
            found, after, pages = [], None, 0
            while True:
                with store.reading() as connection:
                    page = queue_page(connection, project, order=order, filters=Filters(**filters), after=after, limit=limit)
                found += [row.id for row in page.rows]
                pages += 1
                assert pages < 50, "no end"
                if page.next is None:
                    return found
                after = page.next

        return walk

    @pytest.mark.parametrize(
        ("order", "expected"),
        [("strangest", STRANGEST), ("boundary", STRANGEST[::-1]), ("newest", [8, 7, 5, 4, 3, 1])],
    )
    @pytest.mark.parametrize("limit", [1, 2, 3, 100])
    def test_each_order_shows_everything_that_waits_once(self, walk, order, expected, limit):
        assert walk(order, limit) == expected

    def test_its_length_is_that_of_the_walk_whatever_is_answered(self, store, project, walk):
        for answered in (None, SPOT_CHECK, 5):
            if answered:
                _answer(store, answered)
            with store.reading() as connection:
                assert queue_length(connection, project) == len(walk())

    def test_what_people_sent_to_review_is_told_apart_from_what_the_model_is_unsure_of(self, store, project):
        with store.reading() as connection:
            before = waiting_by_kind(connection, project)
        with store.writing() as connection:
            waits = select(item.c.id).where(item.c.project_id == project.id, item.c.route == "uncertain", item.c.answer == "open")
            id = connection.execute(waits.where(~item.c.dismissed, ~item.c.labelled, ~item.c.gone)).scalars().first()
            connection.execute(update(item).where(item.c.id == id).values(sent_by="ada"))
            after = waiting_by_kind(connection, project)
        assert (after.unsure, after.sent, after.total) == (before.unsure - 1, before.sent + 1, before.total)

    def test_spot_checks_wait_apart(self, store, project, walk):
        assert walk(route="spot check") == [SPOT_CHECK]
        with store.reading() as connection:
            assert queue_length(connection, project) == len(STRANGEST)
            kinds = waiting_by_kind(connection, project)
            assert (kinds.spot_checks, kinds.total) == (1, 1 + len(STRANGEST))
        _answer(store, SPOT_CHECK)
        with store.reading() as connection:
            assert waiting_by_kind(connection, project).spot_checks == 0

    def test_an_outlier_that_is_a_spot_check_waits_among_those_alone(self, store, project, walk):
        with store.writing() as connection:
            drawn = {"project_id": project.id, "reference_id": project.reference_id, "kind": "sample", "state": "open", "drawn_at": 1.0}
            with recounted(connection, [5]):
                connection.execute(spot_check.insert().values(item_id=5, route="outlier", **drawn))
        assert walk() == [id for id in STRANGEST if id != 5]
        assert walk(route="spot check") == [5, SPOT_CHECK]
        with store.reading() as connection:
            assert (waiting_by_kind(connection, project).spot_checks, queue_length(connection, project)) == (2, len(STRANGEST) - 1)

    @pytest.mark.parametrize("order", ["strangest", "newest"])
    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ({"route": "outlier"}, {1, 5, 8}),
            ({"route": "spot check"}, {SPOT_CHECK}),
            ({"label": "dog"}, {3}),
            ({"label": "dog", "route": "outlier"}, set()),
            ({"label": "axolotl"}, set()),
        ],
    )
    def test_filters_show_what_they_name(self, walk, order, filters, expected):
        assert set(walk(order, **filters)) == expected

    @pytest.mark.parametrize("few", [0, 1000])
    def test_a_dataset_is_shown_whether_it_is_read_whole_or_searched(self, store, walk, monkeypatch, few):
        monkeypatch.setattr(queue, "FEW", few)
        with store.reading() as connection:
            ids = {row.name: row.id for row in connection.execute(dataset.select().where(dataset.c.kind == "field"))}
        assert walk(dataset=ids["scanner=A"]) == [4, 1, 3]
        assert walk("newest", dataset=ids["scanner=B"]) == [8, 7, 5]
        assert walk(dataset=ids["scanner=B"], label="cat", route="uncertain") == [7]

    def test_what_waits_of_datasets_and_groups_is_what_their_filters_show(self, store, project, walk):
        with store.writing() as connection:
            drawn = {"project_id": project.id, "reference_id": project.reference_id, "kind": "sample", "state": "open", "drawn_at": 1.0}
            with recounted(connection, [5]):
                connection.execute(spot_check.insert().values(item_id=5, route="outlier", **drawn))
            every = dataset_of(connection, project.id, "all", "all", 0.0)
            members = [(1, 1), (5, 1), (8, 2)]
            connection.execute(insert(group_member), [{"dataset_id": every, "item_id": id, "number": number} for id, number in members])
        _answer(store, 8)
        with store.reading() as connection:
            ids = list(connection.execute(select(dataset.c.id)).scalars())
            waits, groups = waiting_in_datasets(connection, project, ids), waiting_in_groups(connection, [1, 2], project)
        assert {id: waits.get(id, 0) for id in ids} == {id: len(walk(dataset=id)) for id in ids}
        assert groups == {1: 1}
        with store.reading() as connection:
            told = groups_stand(connection, [1, 2], project, None)
        assert {number: sum(some.answers.values()) for number, some in told.items()} == {1: 0, 2: 1}
        assert (walk(group=1), walk(group=2)) == ([1], [])

    def test_how_the_members_of_groups_stand_is_what_their_filters_show(self, store, project, walk):
        with store.writing() as connection:
            every = dataset_of(connection, project.id, "all", "all", 0.0)
            members = [{"dataset_id": every, "item_id": id, "number": 2 if id == 9 else 1} for id in range(1, 10)]
            connection.execute(insert(group_member), members)
        _answer(store, 1, answer="resolved", labels=["cat"])
        _answer(store, 2, answer="resolved", labels=["cat"], dismissed=True)
        _answer(store, 3, answer="resolved", labels=["cat", "dog"])
        _answer(store, 4, dismissed=True)
        _answer(store, 5, answer="disputed", labels=["cat"])
        _answer(store, 7, gone=True)
        with store.reading() as connection:
            found = groups_stand(connection, [1, 2, 3], project, None)
            assert waiting_in_groups(connection, [1, 2, 3], project) == {1: 2}
        assert {number: (some.waiting, some.aside) for number, some in found.items()} == {1: (2, 1), 2: (0, 0)}
        assert (found[1].answers, found[2].answers) == ({("cat",): 2, ("cat", "dog"): 1}, {})
        assert set(walk(group=1)) == {5, 8}
        assert [walk(group=1, state=state) for state in (Standing.OUT, Standing.UNASKED)] == [[4], []]
        assert len(walk(group=1, state=Standing.ANSWERED)) == sum(found[1].answers.values())

    def test_the_items_of_groups_are_read_once_for_all_that_is_told_of_them(self, store, project):
        asked = []
        event.listen(store.engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
        with store.reading() as connection:
            groups_stand(connection, [1, 2], project, None)
            waiting_in_groups(connection, [1], project)
            waiting_in_groups(connection, [2], project)
        assert sum("group_member" in statement for statement in asked) == 1

    @pytest.mark.parametrize("order", ["strangest", "boundary"])
    @pytest.mark.parametrize(
        ("wanted", "n"),
        [
            ({"state": None}, 18),
            ({"state": Standing.ANSWERED}, 8),
            ({"state": Standing.UNASKED}, 2),
            ({"state": None, "route": BLIND}, 6),
            ({"route": BLIND}, 6),
        ],
    )
    def test_many_spot_checks_stand_in_the_order_in_which_few_do(self, store, filled, monkeypatch, wanted, n, order):
        def walk(limit, **narrowed):  # few of them are looked for along all items, many are sorted
            found, after = [], None
            filters = Filters(**wanted, **narrowed)
            with store.reading() as connection:
                for _ in range(100):
                    page = queue_page(connection, filled.project, order=order, filters=filters, after=after, limit=limit)
                    found, after = found + [row.id for row in page.rows], page.next
                    if after is None:
                        return found
            raise AssertionError("no end")

        before = walk(100)
        ids = [filled.judged(1, ("auto", "outlier")[k % 2], trust=0.9 - k / 20, spot_check="sample")[0] for k in range(14)]
        filled.judged(2)
        filled.judged(2, "outlier")
        with store.writing() as connection:
            set_answers(connection, {id: Answer("resolved", ("cat",), at=1.0) for id in ids[:8]})
            spot_checks.move(connection, [spot_checks.Move(id, "open", "right", ("cat",), 1.0) for id in ids[:8]])
            # some were taken out of the queue and came back: the tool shows their own trust
            connection.execute(update(verdict).where(verdict.c.item_id.in_(ids[:3])).values(shown_trust=verdict.c.trust))
            own = select(verdict.c.trust).where(verdict.c.item_id == item.c.id).scalar_subquery()
            connection.execute(update(item).where(item.c.id.in_(ids[:3])).values(trust=own))
        found = walk(100)
        with store.reading() as connection:
            ranks = dict(connection.execute(select(verdict.c.item_id, verdict.c.trust)).all()) | dict.fromkeys([SPOT_CHECK, *ids[8:]], 0.1)
        assert [ranks[id] for id in found] == sorted((ranks[id] for id in found), reverse=order == "boundary")
        assert walk(1) == walk(2) == found
        assert len(found) == len(before) + n
        of_class = walk(100, label="cat")
        for most in (2, 5):  # rows that the filter looks at for a page
            monkeypatch.setattr(queue, "LOOKED_AT", most)
            assert walk(3, label="cat") == of_class

    def test_one_of_each_group_comes_first_then_the_strangest(self, store, project, walk):
        with store.writing() as connection:
            every = dataset_of(connection, project.id, "all", "all", 0.0)
            members = [(1, 1), (8, 1), (5, 2), (2, 2)]  # 2 is automatic by now: no face
            rows = [{"dataset_id": every, "item_id": id, "number": number} for id, number in members]
            connection.execute(insert(group_member), rows)
        assert walk("groups") == [1, 5, 4, 8, 7, 3]
        assert walk(group=1) == [1, 8]
        assert walk("groups", proposal=1) == [], "members of this group alone, and it has none"
        _answer(store, 1)
        assert walk("groups")[:2] == [8, 5]
        with store.reading() as connection:
            assert neighbours(connection, project, 8, order="groups") == (None, 5)
            assert neighbours(connection, project, 5, order="groups") == (8, 4)
            assert neighbours(connection, project, 4, order="groups") == (5, 7)

    def test_what_a_sampler_chose_comes_first_as_it_put_it_and_never_what_is_blind(self, store, project, walk):
        with store.writing() as connection:
            chosen = [{"item_id": id} for id in (7, SPOT_CHECK, 2, 3)]  # 2 is automatic by now
            keep_insight(connection, project.id, InsightKind.SAMPLE, "v1", {"chosen": chosen})
        assert walk("chosen") == [7, 3, *(id for id in STRANGEST if id not in (7, 3))]
        assert walk("chosen", label="cat") == [7]
        with store.writing() as connection:
            every = dataset_of(connection, project.id, "all", "all", 0.0)
            connection.execute(insert(group_member), [{"dataset_id": every, "item_id": id, "number": 1 + (id == 7)} for id in (1, 3, 7, 8)])
        assert walk("chosen", group=1) == [3, 1, 8], "of this group alone"
        assert walk("chosen", proposal=1) == []
        with store.reading() as connection:
            assert neighbours(connection, project, 3, order="chosen") == (7, STRANGEST[0])
            assert neighbours(connection, project, 3, order="chosen", filters=Filters(group=1)) == (None, 1)
            assert queue_page(connection, project, order="chosen", filters=Filters(group=1)).front == 1
            assert queue_page(connection, project).front == 0

    @pytest.mark.parametrize("values", [{"answer": "resolved"}, {"gone": True}, {"labelled": True}, {"dismissed": True}])
    @pytest.mark.parametrize("order", queue.ORDERS)
    def test_what_is_answered_deleted_or_taken_out_waits_no_more(self, store, walk, order, values):
        _answer(store, 5, **values)
        assert 5 not in walk(order)
        assert len(walk(order)) == len(STRANGEST) - 1

    def test_what_was_taken_out_can_be_looked_at(self, store, walk):
        _answer(store, 5, dismissed=True)
        _answer(store, 3, dismissed=True)
        assert walk(state=Standing.OUT) == [5, 3]
        assert walk("newest", state=Standing.OUT, label="dog") == [3], "the class of an outlier is hidden"

    def test_a_list_of_all_items_has_each_once_whatever_its_state_and_leads_from_one_to_the_next(self, store, project, walk):
        _answer(store, 5)
        _answer(store, 3, dismissed=True)
        every = walk(state=None)
        assert sorted(every) == list(range(1, len(ITEMS) + 1))
        parts = {state: walk(state=state) for state in Standing}
        assert parts == {"waiting": [4, 1, 8, 7], "out": [3], "answered": [5], "unasked": [9, 2]}
        assert walk(state=None, route="spot check") == [SPOT_CHECK]
        for place, id in enumerate(every):
            with store.reading() as connection:
                found = neighbours(connection, project, id, filters=Filters(state=None))
            assert found == (every[place - 1] if place else None, every[place + 1] if place + 1 < len(every) else None)

    def test_a_spot_check_that_is_answered_has_its_true_place_among_all_items(self, store, project, walk):
        _answer(store, SPOT_CHECK)
        assert walk(state=None)[:3] == [4, 5, SPOT_CHECK], "while it is open, a random one"
        with store.writing() as connection:
            spot_checks.move(connection, [spot_checks.Move(SPOT_CHECK, "open", "right", ("cat",), 1.0)])
        assert walk(state=None)[-1] == SPOT_CHECK or walk(state=None)[-2] == SPOT_CHECK
        assert sorted(walk(state=None)) == list(range(1, len(ITEMS) + 1))
        for place, id in enumerate(whole := walk(state=None)):
            with store.reading() as connection:
                found = neighbours(connection, project, id, filters=Filters(state=None))
            assert found == (whole[place - 1] if place else None, whole[place + 1] if place + 1 < len(whole) else None)

    def test_a_route_that_never_waits_has_nothing_in_the_queue(self, walk):
        assert walk(route="auto") == []

    def test_disputed_items_wait(self, store, walk):
        _answer(store, 5, answer="disputed")
        assert walk() == STRANGEST

    @pytest.mark.parametrize("order", ["strangest", "boundary", "newest"])
    def test_the_neighbours_of_each_item_are_those_of_the_walk(self, store, project, walk, order):
        whole = walk(order)
        for place, id in enumerate(whole):
            with store.reading() as connection:
                found = neighbours(connection, project, id, order=order)
            assert found == (whole[place - 1] if place else None, whole[place + 1] if place + 1 < len(whole) else None)

    def test_an_item_that_was_answered_still_has_the_neighbours_of_its_place(self, store, project):
        _answer(store, 1)
        with store.reading() as connection:
            assert neighbours(connection, project, 1) == (5, 8)

    def test_a_filter_stops_where_a_page_ends_and_says_so(self, store, project, walk, monkeypatch):
        monkeypatch.setattr(queue, "LOOKED_AT", 2)
        with store.reading() as connection:
            page = queue_page(connection, project, filters=Filters(label="cat"))
        assert ([row.id for row in page.rows], page.stopped) == ([], True)
        assert walk(label="cat") == [7]

    def test_no_page_reads_the_items_along_a_table(self, store, project):
        """Neither database scans the items: every range of the queue is one of an index."""
        if not store.is_sqlite:
            pytest.skip("on a table of nine rows PostgreSQL rightly scans; see benchmarks/pages.py")
        for order in queue.ORDERS:
            for filters in (
                Filters(),
                Filters(label="cat"),
                Filters(route="spot check"),
                Filters(state=Standing.OUT),
                Filters(state=None),
                Filters(state=None, score=0.5, since="day"),
            ):
                plan = _plan(
                    store, lambda connection, order=order, filters=filters: queue_page(connection, project, order=order, filters=filters)
                )
                assert not [line for line in plan if re.match(r"SCAN (item|verdict|spot_check)\b", line)], plan

    def test_a_task_is_found_without_looking_along_all(self, store, project):
        if store.is_sqlite:
            plan = _plan(store, lambda connection: item_of_task(connection, project, "3"))
            assert re.search(r"\(project_id=\? AND external_id=\?\)", plan[0]), plan

    def test_the_order_of_rows_is_that_of_the_ids(self, store, project):
        with store.reading() as connection:
            assert [row.id for row in items_of(connection, project, [7, 1, 4711, 5])] == [7, 1, 5]

    def test_items_of_other_projects_are_not_in_it(self, store, project):
        with store.writing() as connection:
            other = add_project(connection, "4", "Others", project.reference_id, ProjectOptions(), watch=True)
            items.add_tasks(connection, other, [Task("1", "http://host/1.png")])
            assert queue_page(connection, other).rows == []
            assert item_of_task(connection, other, "1").id != item_of_task(connection, project, "1").id
            with pytest.raises(UnknownError):
                item_of_task(connection, other, "2")

    def test_the_label_of_a_verdict_is_one_text(self, store, project):
        with store.reading() as connection:
            assert connection.execute(verdict.select().where(verdict.c.item_id == 5)).one().label == "dog"
