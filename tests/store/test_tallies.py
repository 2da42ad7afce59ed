"""What lists can be narrowed to is counted as the lists themselves have it, and tells nothing of what is hidden."""

from __future__ import annotations

import itertools
import time

import pytest
from sqlalchemy import insert, update

from annotriage.states import ROUTES, SPOT_CHECK, Standing
from annotriage.store.datasets import dataset_of
from annotriage.store.filters import SCORE_STEPS, SINCE, Filters
from annotriage.store.queue import ids_of, queue_page
from annotriage.store.reviews import Answer, set_answers
from annotriage.store.schema import group_member, item, spot_check, verdict
from annotriage.store.tallies import tally

DAY = 86_400.0
WANTED = {
    "route": (None, *ROUTES, SPOT_CHECK),
    "state": (None, *Standing),
    "label": (None, "cat", "dog"),
    "score": (None, *SCORE_STEPS),
    "since": (None, *SINCE),
    "group": (None, 1),
}


class TestTallies:
    @pytest.fixture
    def mixed(self, store, filled):
        """Items of all kinds: their ids by what they are."""
        kinds = {
            "strange": filled.judged(3, "outlier", labels=("dog",)),
            "unsure": filled.judged(2, "uncertain", labels=("dog",)),
            "automatic": filled.judged(3, labels=("cat",)),
            "unreadable": filled.judged(1, "failed"),
            "blind": filled.judged(2, spot_check="audit", labels=("dog",)),
            "out": filled.judged(1, "outlier", labels=("cat",)),
            "answered": filled.judged(2, "outlier", labels=("dog",)),
            "labelled": filled.add(1, labelled=True),
            "new": filled.add(1),
        }
        ages, now = itertools.cycle((0.0, 2 * DAY, 20 * DAY, 200 * DAY)), time.time()
        scores = itertools.cycle((0.2, 0.995, 0.9, 0.97, 0.6))
        with store.writing() as connection:
            for id in itertools.chain(*kinds.values()):
                connection.execute(update(item).where(item.c.id == id).values(at=now - next(ages) - 60))
                connection.execute(
                    update(verdict).where(verdict.c.item_id == id, verdict.c.route != "failed").values(outlier_score=next(scores))
                )
            connection.execute(update(item).where(item.c.id.in_(kinds["out"])).values(dismissed=True))
            set_answers(connection, {id: Answer("resolved", ("dog",), at=1.0) for id in kinds["answered"]})
            every = dataset_of(connection, filled.project.id, "all", "all", now)
            members = [kinds["strange"][0], kinds["answered"][0], kinds["out"][0], kinds["blind"][0]]
            connection.execute(insert(group_member), [{"dataset_id": every, "item_id": id, "number": 1} for id in members])
        return kinds

    def test_every_choice_leaves_as_many_as_were_counted(self, store, filled, mixed):
        pairs = [
            dict(zip((first, second), values, strict=True))
            for first, second in itertools.combinations(WANTED, 2)
            for values in itertools.product(WANTED[first], WANTED[second])
        ]
        with store.reading() as connection:
            found = tally(connection, filled.project)
            for pair in pairs:
                filters = Filters(**{"state": None, **pair})
                counted = sum(alike.n for alike in found if alike.passes(filters))
                ids = ids_of(connection, filled.project, filters)
                listed = [row.id for row in queue_page(connection, filled.project, filters=filters, limit=100).rows]
                assert (counted, sorted(listed)) == (len(ids), ids), pair
            assert ids_of(connection, filled.project, Filters(state=None, dataset=1)) == ids_of(
                connection, filled.project, Filters(state=None)
            )

    def test_what_is_hidden_is_counted_under_no_class_and_no_score(self, store, filled, mixed):
        with store.reading() as connection:
            found = tally(connection, filled.project)
        dogs = sum(alike.n for alike in found if alike.label == "dog")
        assert dogs == len(mixed["unsure"]) + len(mixed["answered"]), "neither spot checks nor outliers that nobody answered"
        blind = [alike for alike in found if alike.route == SPOT_CHECK]
        assert [(alike.label, alike.score, alike.group) for alike in blind] == [("", None, None)] * len(blind)
        with store.writing() as connection:
            connection.execute(update(spot_check).values(state="right"))
            found = tally(connection, filled.project)
        assert sum(alike.n for alike in found if alike.label == "dog") == dogs + len(mixed["blind"])

    def test_of_groups_alone_their_members_are_counted_without_spot_checks(self, store, filled, mixed):
        with store.reading() as connection:
            found = tally(connection, filled.project, grouped=True)
        assert sum(alike.n for alike in found) == 3
        assert {alike.group for alike in found} == {1}
