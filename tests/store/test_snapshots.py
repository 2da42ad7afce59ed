"""Snapshots: the state of each dataset as it was assessed, the latest and how it got there."""

from __future__ import annotations

import time

import pytest

from annotriage.store import snapshots
from annotriage.store.datasets import dataset_of_all, id_of_all
from annotriage.store.schema import snapshot

VALUES = {"failed": 0, "low": 0.1, "high": 0.4, "facts": {"groups": []}}


class TestSnapshots:
    def test_a_dataset_has_changed_until_its_state_is_assessed(self, store, filled):
        filled.judged(3)
        filled.judged(1, "outlier")
        with store.writing() as connection:
            every = next(line for line in snapshots.changed(connection, filled.project) if line.id == 1)
            assert (every.total, every.outliers, every.failed, every.answers) == (4, 1, 0, 0)
            snapshots.save(connection, 1, filled.project.reference_id, n=4, outliers=1, **VALUES)
            assert 1 not in {line.id for line in snapshots.changed(connection, filled.project)}
        filled.judged(1)
        with store.reading() as connection:
            assert 1 in {line.id for line in snapshots.changed(connection, filled.project)}

    def test_the_latest_is_that_of_the_reference(self, store, filled):
        filled.judged(1)
        first, second = filled.references
        with store.writing() as connection:
            snapshots.save(connection, 1, first, n=1, outliers=0, **VALUES)
            snapshots.save(connection, 1, second, n=1, outliers=1, **VALUES)
            assert snapshots.latest(connection, [1, 2, 99], first)[1].outliers == 0
            assert snapshots.latest(connection, [1], second)[1].outliers == 1
            assert [row.reference_id for row in snapshots.history(connection, 1)] == [second, first]

    def test_one_snapshot_stands_for_five_minutes_and_old_ones_are_thinned_out(self, store, filled, monkeypatch):
        filled.judged(1)
        now = time.time() // 86_400 * 86_400 + 43_200
        with store.writing() as connection:
            for minutes in (0, 1, 6):
                monkeypatch.setattr(time, "time", lambda minutes=minutes: now + 60 * minutes)
                snapshots.save(connection, 1, filled.project.reference_id, n=minutes, outliers=0, **VALUES)
            assert [row.n for row in snapshots.history(connection, 1)] == [6, 1]
            connection.execute(snapshot.delete())
            old = {"dataset_id": 1, "reference_id": filled.project.reference_id, "n": 1, "outliers": 0, **VALUES}
            start = now - 2 * 86_400
            connection.execute(snapshot.insert(), [{**old, "at": start + 600 * step} for step in range(12)])
            assert snapshots.thin_out(connection) == 10
            assert [row.at for row in snapshots.history(connection, 1)] == pytest.approx([start + 6_600, start + 3_000])

    def test_the_share_is_of_what_could_be_scored(self, store, filled):
        filled.judged(1)
        with store.writing() as connection:
            snapshots.save(connection, 1, filled.references[0], n=3, outliers=1, **VALUES)
            snapshots.save(connection, 1, filled.references[1], n=0, outliers=0, **VALUES)
            assert snapshots.latest(connection, [1], filled.references[0])[1].share == 1 / 3
            assert snapshots.latest(connection, [1], filled.references[1])[1].share is None
            shares = {reference: snapshots.latest_moments(connection, [1, 2], reference)[1].share for reference in filled.references}
            assert shares == dict(zip(filled.references, (1 / 3, None), strict=True))

    def test_moments_are_thinned_out_and_in_order(self, store, filled):
        filled.judged(1)
        now = time.time()
        row = {"dataset_id": 1, "reference_id": filled.references[0], "n": 1, "outliers": 0, **VALUES}
        with store.writing() as connection:
            assert snapshots.first_moment(connection, 1) is None
            connection.execute(snapshot.insert(), [{**row, "at": now - 3600 + second} for second in range(0, 3000, 3)])
            found = snapshots.moments(connection, 1, now - 3600, now + 60)
            assert 150 < len(found) <= snapshots.STEPS + 1
            assert [moment.at for moment in found] == sorted(moment.at for moment in found)
            assert snapshots.first_moment(connection, 1) == pytest.approx(now - 3600)
            assert snapshots.snapshot_before(connection, 1, filled.references[0], now - 1800).at <= now - 1800
            assert snapshots.snapshot_before(connection, 1, filled.references[0], now - 4000) is None
            assert snapshots.snapshot_before(connection, 1, filled.references[1], now) is None

    def test_groups_are_those_of_the_latest_assessment(self, store, filled):
        first, second, third = filled.judged(3, "outlier")
        with store.writing() as connection:
            every = dataset_of_all(connection, filled.project).id
            snapshots.keep_groups(connection, every, {first: 1, second: 1})
            snapshots.keep_groups(connection, every, {second: 2, third: 2})
            assert snapshots.groups_of(connection, every) == {second: 2, third: 2}
            assert snapshots.groups_of(connection, id_of_all(filled.project.id), [first, second]) == {second: 2}
