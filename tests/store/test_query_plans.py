"""No query that pages or idle loops ask all the time reads a table from end to end."""

from __future__ import annotations

import re
import time

import pytest
from sqlalchemy import event
from stores import on_sqlite

from annotriage.states import EventKind, Failure
from annotriage.store import (
    blind_answers,
    browsing,
    datasets,
    deliveries,
    field_writes,
    jobs,
    maps,
    previews,
    proposals,
    queue,
    reviews,
    snapshots,
    spot_checks,
    tallies,
    work,
)
from annotriage.store.events import history, note
from annotriage.store.filters import Filters
from annotriage.store.projects import mark_of

# Few rows, whatever the number of items: reading all of them is as good as an index.
SMALL = {"project", "reference", "dataset", "inbox", "job", "heartbeat", "reference_grid", "map", "rerouting", "acceptance", "proposal"}
# Along an index in its order is as good, for whoever stops after a few rows.
OWN_VERDICT = "SEARCH verdict USING INDEX sqlite_autoindex_verdict_1 (item_id=? AND reference_id=?)"
WHOLE = re.compile(r"^SCAN (\w+)(?! USING INDEX)")

HOT = {
    "queue, strangest first": lambda c, p: queue.queue_page(c, p, limit=5),
    "queue, newest first": lambda c, p: queue.queue_page(c, p, order="newest", limit=5),
    "queue, groups first": lambda c, p: queue.queue_page(c, p, order="groups", limit=5),
    "queue, of a dataset": lambda c, p: queue.queue_page(c, p, filters=Filters(dataset=1), limit=5),
    "queue, by label": lambda c, p: queue.queue_page(c, p, filters=Filters(label="cat"), limit=5),
    "items that pass": lambda c, p: queue.ids_of(c, p, Filters(state=None, label="cat", score=0.5, since="week")),
    "items of a group": lambda c, p: queue.ids_of(c, p, Filters(state=None, group=1)),
    "all items, strangest first": lambda c, p: queue.queue_page(c, p, filters=Filters(state=None), limit=5),
    "a tally": tallies.tally,
    "a tally of a dataset": lambda c, p: tallies.tally(c, p, 1),
    "open spot checks by route": lambda c, p: queue.checks_by_route(c, p, 1, answered=True),
    "queue, of look-alikes": lambda c, p: queue.queue_page(c, p, filters=Filters(proposal=1), limit=5),
    "look-alikes to go on with": lambda c, p: proposals.at_work(c, p.id),
    "look-alikes of an item": lambda c, p: proposals.group_of_item(c, p, 1),
    "queue's length": queue.queue_length,
    "what waits, by kind": queue.waiting_by_kind,
    "how groups stand": lambda c, p: queue.groups_stand(c, [1, 2], p, None),
    "what is free of groups": lambda c, p: proposals.free_in_groups(c, p, 1, [1, 2]),
    "what waits of datasets": lambda c, p: queue.waiting_in_datasets(c, p, [1, 2]),
    "routes": datasets.routes_of,
    "routes between": lambda c, p: datasets.routes_between(c, p, 0.0, 1.0),
    "items": lambda c, p: browsing.items_page(c, p, after=3, limit=5),
    "items of a dataset": lambda c, p: browsing.items_page(c, p, dataset_id=1, after=3, limit=5),
    "items of a route": lambda c, p: browsing.items_page(c, p, route="uncertain", limit=5),
    "items that were labelled before": lambda c, p: browsing.items_page(c, p, answer="labelled", limit=5),
    "an item": lambda c, p: browsing.item_of_task(c, p, "3"),
    "waiting": lambda c, p: work.waiting(c, p.id, p.reference_id),
    "undelivered": lambda c, p: deliveries.undelivered(c, p.id),
    "last import": browsing.last_import,
    "failures": lambda c, p: browsing.failures(c, p, 5),
    "failures of a kind": lambda c, p: browsing.failures(c, p, 5, Failure.UNLISTED),
    "what a process gives back": lambda c, p: deliveries.release(c, ["me"]),
    "empty answers": lambda c, p: reviews.empty_answers(c, p, 5),
    "spot checks": lambda c, p: spot_checks.spot_checks_page(c, p, state="open", after=None, limit=5),
    "contradicted spot checks": lambda c, p: spot_checks.contradicted(c, p.id, 1e12),
    "places of spot checks": lambda c, p: queue.places_of_checks(c, p),
    "front of the queue": lambda c, p: queue.front_of_queue(c, p),
    "spot checks that wait": lambda c, p: spot_checks.outstanding(c, p.id, p.reference_id),
    "spot checks answered meanwhile": lambda c, p: spot_checks.answered_meanwhile(c, p.id),
    "spot checks to be confirmed": lambda c, p: spot_checks.unconfirmed(c, p.id),
    "spot checks by state": lambda c, p: spot_checks.automatic_counts(c, p.id, p.reference_id),
    "late spot checks": lambda c, p: spot_checks.open_since(c, p.id, p.reference_id, 1e12),
    "answers on automatic labels": lambda c, p: spot_checks.settled_sureness(c, p.id, p.reference_id),
    "what may be learned": lambda c, p: spot_checks.learnable(c, p.id, 5),
    "what still waits": lambda c, p: queue.still_waiting(c, p, [1, 2]),
    "what fields say": lambda c, p: field_writes.verdicts_shown(c, p, [1, 2]),
    "spot checks of items": lambda c, p: spot_checks.spot_checks_of(c, [1, 2]),
    "automatic ones a week": lambda c, p: spot_checks.automatic_per_week(c, p.id, p.reference_id),
    "the mark": lambda c, p: mark_of(c, [p]),
    "answers a day": reviews.answers_per_day,
    "time of an answer": reviews.seconds_per_answer,
    "answers by person": reviews.answers_by_person,
    "moments": lambda c, p: snapshots.moments(c, 1, 0.0, 1.0),
    "snapshots": lambda c, p: snapshots.latest(c, [1], p.reference_id),
    "what changed": snapshots.changed,
    "what a task's reviews are": lambda c, p: reviews.known(c, p.id, ["1", "2"]),
    "items on a map since": lambda c, p: maps.judged_since(c, p, time.time()),
    "spot checks on a map since": lambda c, p: maps.checked_since(c, p, time.time()),
    "strangest of a dataset": lambda c, p: browsing.strangest_of(c, p, 1, 5),
    "strangest between": lambda c, p: browsing.strangest_between(c, p, 0.0, 1e12, 5),
    "groups": lambda c, p: snapshots.groups_of(c, datasets.id_of_all(p.id), [1, 2]),
    "latest verdict": maps.latest_verdict,
    "work due": lambda c, p: work.anything_due(c),
    "a claim": lambda c, p: work.claim(c, "me", 5),
    "deliveries due": lambda c, p: deliveries.take(c, p.id, "pending", "me", 5),
    "a job": lambda c, p: jobs.take(c, "me", ["recalibrate"]),
    "history": lambda c, p: history(c, p.id),
    "a note": lambda c, p: note(c, p.id, EventKind.PROBLEM, error="x"),
    "counts of a dataset": lambda c, p: datasets.routes_of_datasets(c, p, [1]),
    "the limits of a preview": previews.limits_of,
    "what was answered blind": blind_answers.blind_answers,
    "what was answered blind, counted": blind_answers.alike_answers,
    "what several people answered": blind_answers.several_answers,
    "first answers": blind_answers.first_answers,
    "answers of each person": blind_answers.answers_of,
}


@on_sqlite
class TestQueryPlans:
    @pytest.mark.parametrize("question", HOT)
    def test_it_is_answered_along_an_index(self, store, filled, question):
        filled.judged(20)
        filled.judged(20, "outlier")
        filled.judged(5, spot_check="sample")
        filled.add(5)
        plans = plans_of(store, filled.project, HOT[question])
        asked = " ".join(sql for _, sql in plans)
        aliases = dict(re.findall(r"(\w+) AS (\w+)", asked))
        names = {alias: table for table, alias in aliases.items()}
        tables = {table.name for table in filled.tables} - SMALL
        whole = [(step, sql) for step, sql in plans if (found := WHOLE.match(step)) and names.get(found[1], found[1]) in tables]
        assert whole == []

    @pytest.mark.parametrize("of", [None, Failure.UNLISTED])
    def test_what_could_not_be_judged_is_found_without_looking_at_what_could(self, store, filled, of):
        filled.judged(20)
        plans = plans_of(store, filled.project, lambda connection, project: browsing.failures(connection, project, 5, of))
        assert any("ix_verdict_failure" in step for step, _ in plans)
        assert not any("TEMP B-TREE" in step for step, _ in plans)

    @pytest.mark.parametrize("ask", [browsing.items_named, browsing.blind_among])
    def test_many_names_are_looked_up_and_not_searched_for_along_all_items(self, store, filled, ask):
        plans = plans_of(store, filled.project, lambda connection, project: ask(connection, project, [str(n) for n in range(200)]))
        ways = [step for step, _ in plans if re.match(r"(SEARCH|SCAN) item\b", step)]
        assert [re.search(r"\((.*)\)", way)[1] for way in ways] == ["project_id=? AND external_id=?", "marker=?"]

    def test_what_several_people_answered_is_looked_up_for_the_latest_answers_alone(self, store, filled):
        """Not the other way round: for each of all answers along ten thousand of the latest."""
        steps = [step for step, _ in plans_of(store, filled.project, blind_answers.several_answers)]
        assert steps.index("SCAN latest") < steps.index("SEARCH review USING INDEX ix_review_item_id (item_id=?)")
        assert any(step.startswith("SEARCH other USING ") and "ix_review_item_id" in step for step in steps), steps
        assert len([step for step in steps if "review" in step and "project_id=?" in step]) == 1

    def test_first_answers_are_found_where_they_are_kept_and_not_put_together(self, store, filled):
        steps = [step for step, _ in plans_of(store, filled.project, blind_answers.first_answers)]
        assert "SEARCH first_answer USING PRIMARY KEY (project_id=? AND reference_id=?)" in steps
        ways = [step for step in steps if re.match(r"(SCAN|SEARCH) (item|review|verdict)\b", step)]
        assert all(step in ("SEARCH item USING INTEGER PRIMARY KEY (rowid=?)", OWN_VERDICT) for step in ways), "of contradicted checks"

    def test_settled_checks_are_looked_up_where_first_answers_are_kept(self, store, filled):
        steps = [step for step, _ in plans_of(store, filled.project, blind_answers.alike_answers)]
        assert "SEARCH first_answer USING PRIMARY KEY (project_id=? AND reference_id=? AND item_id=?) LEFT-JOIN" in steps

    def test_strange_items_that_people_answered_are_found_without_looking_at_the_others(self, store, filled):
        steps = [step for step, _ in plans_of(store, filled.project, blind_answers.alike_answers)]
        assert "SEARCH item USING INDEX ix_item_strange (project_id=? AND answered_at>?)" in steps
        assert steps.count("SEARCH item USING COVERING INDEX ix_item_answered (project_id=? AND machine=? AND answered_at>?)") == 1

    @pytest.mark.parametrize(
        ("asked", "way"),
        [
            ({"answer": "labelled"}, "ix_item_labelled (project_id=?"),
            ({"answer": "disputed"}, "ix_item_resolved (project_id=? AND answer=?"),
            ({"answer": "resolved"}, "ix_item_resolved (project_id=? AND answer=?"),
            ({"route": "failed"}, "ix_item_newest (project_id=? AND answer=? AND dismissed=? AND labelled=? AND gone=? AND route=?"),
            ({"route": "auto", "answer": "labelled"}, "ix_item_newest (project_id=? AND answer=? AND dismissed=? AND labelled=?"),
        ],
    )
    @pytest.mark.parametrize("after", [None, 3])
    def test_few_items_of_a_kind_are_found_without_looking_at_the_others(self, store, filled, asked, way, after):
        filled.judged(3)
        plans = plans_of(store, filled.project, lambda c, p: browsing.items_page(c, p, after=after, limit=5, **asked))
        ways = [step for step, _ in plans if re.match(r"(SEARCH|SCAN) item\b", step) and "INTEGER PRIMARY KEY" not in step]
        assert ways
        assert all(way in step for step in ways), ways

    def test_sqlite_knows_how_large_the_tables_grow_in_every_index_of_theirs(self, store):
        """Of an index whose figures are not known it takes that ten rows are of one project, and would use it before all others."""
        with store.reading() as connection:
            told = connection.exec_driver_sql("SELECT tbl, idx, stat FROM sqlite_stat1").all()
            figures = {index: figures.split() for _, index, figures in told}
            for table in {table for table, _, _ in told}:
                indexes = [row[1] for row in connection.exec_driver_sql(f"PRAGMA index_list({table})")]
                keys = {index: connection.exec_driver_sql(f"PRAGMA index_info({index})").all() for index in indexes}
                own = {f"sqlite_autoindex_{table}_1": table} if table in ("item_dataset", "first_answer") else {}  # its key is the table
                assert {own.get(index, index): len(of) for index, of in keys.items()} == {
                    index: len(figures[index]) - 1 for of_table, index, _ in told if of_table == table
                }
        assert {"item", "verdict", "review", "spot_check"} <= {table for table, _, _ in told}

    def test_newest_first_spot_checks_are_read_in_their_order_and_not_sorted(self, store, filled):
        filled.judged(20)
        filled.judged(20, spot_check="sample")
        plans = plans_of(store, filled.project, lambda c, p: queue.queue_page(c, p, order="newest", filters=Filters(state=None), limit=5))
        steps = [step for step, sql in plans if "UNION ALL" in sql]
        ways = [
            steps[place + 1 :] for place, step in enumerate(steps) if step.startswith("SEARCH spot_check USING") and "INTEGER" not in step
        ]
        assert len(ways) == 2, "of each state in which a spot check is open"
        for way in ways:
            within = way[: next(place for place, step in enumerate(way) if step.startswith("SCAN"))]
            assert not any("TEMP B-TREE" in step for step in within)

    def test_what_may_be_learned_is_counted_along_peoples_answers(self, store, filled):
        """In the order of the queue all spot checks may come before the first item that counts."""
        filled.judged(20)
        plans = plans_of(store, filled.project, lambda connection, project: spot_checks.learnable(connection, project.id, 5))
        assert any("item USING INDEX ix_item_answered" in step for step, _ in plans)
        assert not any("TEMP B-TREE" in step for step, _ in plans)


def plans_of(store, project, ask):
    """The steps of each query that is asked, with the query."""
    asked = []
    with store.writing() as connection:

        def hear(_connection, _cursor, sql, values, _context, many):
            asked.append((sql, values[0] if many else values))

        listen = ("before_cursor_execute", hear)
        event.listen(connection, *listen)
        ask(connection, project)
        event.remove(connection, *listen)
        assert asked
        return [
            (row[3], sql)
            for sql, values in asked
            if not sql.startswith("INSERT")
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)
        ]
