"""Maps: begun, finished, kept for a while, and sent in pieces as they are stored."""

from __future__ import annotations

import time

import pytest

from annotriage.errors import UnknownError
from annotriage.states import ProposalState
from annotriage.store import maps, proposals
from annotriage.store.schema import map_, spot_check, verdict


def made(connection, project, method="umap"):
    id = maps.begin(connection, project, method, seed=0)
    maps.finish(connection, id, frame=[0.0, 0.0, 1.0], names={"class": ["cat"], "dataset": [1]}, total=3)
    return id


class TestMaps:
    def test_a_map_is_there_once_it_is_finished(self, store, filled):
        project = filled.project
        with store.writing() as connection:
            id = maps.begin(connection, project, "umap", seed=7)
            making = maps.latest_attempt(connection, project.id, "umap")
            assert (making.id, making.state, making.frame, making.names, making.finished_at) == (id, "making", [], {}, 0.0)
            assert maps.newest(connection, project.id, "umap") is None
            maps.finish(connection, id, frame=[0.0, 0.0, 1.0], names={"class": [], "dataset": []}, total=3)
            ready = maps.newest(connection, project.id, "umap")
            assert (ready.id, ready.seed, ready.total, ready.frame) == (id, 7, 3, [0.0, 0.0, 1.0])
            assert maps.newest(connection, project.id, "tsne") is None

    def test_the_last_few_of_each_method_stay_and_what_was_left_half_made_does_not(self, store, filled):
        project = filled.project
        with store.writing() as connection:
            ids = [made(connection, project) for _ in range(maps.KEPT + 2)]
            other = made(connection, project, "tsne")
            assert [drawn.id for drawn in maps.ready_maps(connection, project.id, "umap")] == ids[:1:-1]
            assert maps.map_of(connection, project, other).method == "tsne"
            with pytest.raises(UnknownError, match="has no map"):
                maps.map_of(connection, project, ids[0])
            maps.begin(connection, project, "umap", seed=1)
            maps.begin(connection, project, "umap", seed=2)
            making = map_.select().where(map_.c.state == "making")
            assert [row.seed for row in connection.execute(making)] == [2]

    def test_a_map_that_is_asked_for_is_asked_for_once_until_it_is_begun(self, store, filled):
        project = filled.project
        with store.writing() as connection:
            assert not maps.is_asked_for(connection, project.id, "umap-3d")
            for _ in range(2):
                maps.ask_for(connection, project, "umap-3d")
            assert maps.is_asked_for(connection, project.id, "umap-3d")
            assert maps.latest_attempt(connection, project.id, "umap-3d") is None, "nothing is being made yet"
            assert maps.newest(connection, project.id, "umap-3d") is None
            assert len(connection.execute(map_.select()).all()) == 1
            made(connection, project, "umap-3d")
            assert not maps.is_asked_for(connection, project.id, "umap-3d")
            assert maps.newest(connection, project.id, "umap") is None

    def test_what_is_drawn_of_items_is_what_was_judged_of_them(self, store, filled):
        ids = filled.judged(2)
        filled.judged(1, "failed")
        filled.judge(filled.add(1, labelled=True))
        with store.writing() as connection:
            assert maps.scored_ids(connection, filled.project) == ids
            drawn = maps.rows_of(connection, filled.project, ids)
            assert [(row.item_id, row.route, row.labels, row.compressed, row.nearest) for row in drawn] == [
                (id, "auto", ["cat"], b"\0\0", None) for id in ids
            ]
            assert [id for id, _ in maps.judged_since(connection, filled.project, drawn[0].at)] == ids

    def test_of_a_spot_check_that_is_not_answered_neither_route_nor_class_nor_scores_are_drawn(self, store, filled):
        (check,), (known,) = filled.judged(1, spot_check="audit"), filled.judged(1)
        with store.writing() as connection:
            connection.execute(verdict.update().values(outlier_score=0.4, class_score=2.0, source_score=1.0))
            hidden, told = maps.rows_of(connection, filled.project, [check, known])
            assert (hidden.route, told.route) == ("spot check", "auto")
            assert (hidden.labels, hidden.outlier_score, hidden.class_score, hidden.source_score) == ([], None, None, None)
            assert (told.labels, told.outlier_score, told.class_score, told.source_score) == (["cat"], 0.4, 2.0, 1.0)

    def test_a_spot_check_that_is_open_is_told_whenever_it_was_drawn_and_of_settled_ones_the_latest(self, store, filled):
        again, settled = filled.judged(2, spot_check="audit")
        later = time.time() + 1e6  # whenever the map was made
        with store.writing() as connection:
            connection.execute(spot_check.update().values(state="right", answered_at=5.0))
            assert maps.checked_since(connection, filled.project, later) == set()
            for state, at in (("open", None), ("disagreed", 5.0)):  # the answer was taken back, or is another one now
                connection.execute(spot_check.update().where(spot_check.c.item_id == again).values(state=state, answered_at=at))
                assert maps.checked_since(connection, filled.project, later) == {(again, state)}
            assert maps.checked_since(connection, filled.project, 1.0) == {(again, "disagreed"), (settled, "right")}

    def test_who_is_asked_about_look_alikes_is_drawn_anew_and_again_when_that_is_over(self, store, filled):
        asked, other = filled.judged(2, "uncertain")
        later = time.time() + 1e6  # whenever the map was made
        with store.writing() as connection:
            limits = {"group_error": 0.05, "confidence": 0.95}
            group = proposals.add_proposal(connection, filled.project, [asked, other], "some", "ann", **limits)
            assert maps.checked_since(connection, filled.project, later) == set()
            proposals.move(connection, group, ProposalState.OFFERED, ProposalState.ASKING, asked=1)
            assert maps.checked_since(connection, filled.project, later) == {(asked, "asked")}
            assert maps.rows_of(connection, filled.project, [asked])[0].labels == []
            proposals.move(connection, group, ProposalState.ASKING, ProposalState.CLOSED)
            assert maps.checked_since(connection, filled.project, later) == {(asked, "not asked")}

    def test_the_training_items_nearest_to_an_item_come_nearest_first(self, store, filled):
        (id,) = filled.judged(1)
        reference = filled.references[0]
        with store.writing() as connection:
            maps.keep_training_items(connection, reference, [(0, "a.png", "cat", b"a"), (1, "b.png", "dog", b"")])
            assert maps.nearest_of(connection, id, reference) == []
            maps.keep_nearest(connection, reference, {id: b"\1\0\0\0"})
            assert [row.name for row in maps.nearest_of(connection, id, reference)] == ["b.png", "a.png"]
            assert maps.training_thumbnail(connection, reference, 0) == b"a"
            assert maps.training_thumbnail(connection, reference, 1) is None
