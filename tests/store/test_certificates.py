"""Certificates: what is fixed of a dataset's automatic labels, and the checks that are drawn for it."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import select
from stores import verdict_of

from annotriage.errors import UnknownError
from annotriage.labeling_tool import Review
from annotriage.service.guarantee.spot_checks import settle
from annotriage.store import certificates, deliveries
from annotriage.store.datasets import dataset_of_all
from annotriage.store.reviews import keep_reviews
from annotriage.store.schema import delivery


class TestCertificates:
    def test_the_labels_are_those_that_the_reference_judged_automatic(self, store, filled):
        ids = filled.judged(3)
        filled.judged(2, "outlier")
        filled.judge(ids[:1], "uncertain", reference_id=filled.references[1])
        with store.writing() as connection:
            every = dataset_of_all(connection, filled.project)
            keep_reviews(connection, filled.project.id, {ids[0]: [Review("1", "ann", ("cat",), updated_at=1.0)]})
            found = certificates.automatic_labels(connection, filled.project, every.id, time.time() + 1)
            assert [(label.id, label.seen, label.gone) for label in found] == [
                (ids[0], True, False),
                (ids[1], False, False),
                (ids[2], False, False),
            ]
            assert certificates.automatic_labels(connection, filled.project, every.id, 1.0) == []

    def test_what_is_drawn_later_is_hidden_and_waits_like_any_spot_check(self, store, filled):
        first, second, third = filled.judged(3)
        with store.writing() as connection:
            keep_reviews(connection, filled.project.id, {third: [Review("1", "ann", ("cat",), updated_at=1.0)]})
            assert certificates.still_unseen(connection, [first, second, third]) == [first, second]
            certificates.draw(connection, filled.project, {first: 0.25})
            assert certificates.still_unseen(connection, [first, second, third]) == [second]
        with store.reading() as connection:
            (row,) = connection.execute(select(delivery.c.labels, delivery.c.trust).where(delivery.c.item_id == first))
            assert (row.labels, row.trust) == (None, 0.25)
            assert verdict_of(connection, first, filled.project.reference_id).shown_trust == 0.25
            every = dataset_of_all(connection, filled.project)
            (check,) = certificates.checks_among(connection, filled.project, every.id).values()
            assert (check.item_id, check.state, check.whole, check.right) == (first, "open", False, False)
            assert deliveries.waiting(connection, filled.project.id)

    def test_a_certificate_keeps_its_checks_and_reads_how_they_stand(self, store, filled):
        ids = filled.judged(4, spot_check="audit")
        with store.writing() as connection:
            every = dataset_of_all(connection, filled.project)
            facts = {
                "dataset_id": every.id,
                "until": 9e9,
                "labels": 4,
                "gone": 0,
                "wanted": None,
                "fixed": True,
                "data_hash": "",
                "by": "ada",
            }
            id = certificates.add_certificate(connection, filled.project, facts, ids[:3], ids[3:])
            found = certificates.certificate_of(connection, filled.project, id)
            for item_id, label in ((ids[0], "cat"), (ids[1], "dog"), (ids[3], "cat")):
                keep_reviews(connection, filled.project.id, {item_id: [Review(f"r{item_id}", "ann", (label,), updated_at=1e12)]})
                settle(connection, filled.project, [item_id])
            checks = {check.item_id: check for check in certificates.checks_of(connection, found)}
        assert [checks[item_id].right for item_id in ids] == [True, False, False, True]
        assert [checks[item_id].state for item_id in ids] == ["right", "disagreed", "open", "right"]
        assert [checks[item_id].whole for item_id in ids] == [False, False, False, True]
        with store.reading() as connection:
            assert certificates.certificates_page(connection, filled.project, dataset_id=every.id, limit=5) == [found]
            assert certificates.certificates_page(connection, filled.project, after=id, limit=5) == []
            with pytest.raises(UnknownError, match="no certificate 99"):
                certificates.certificate_of(connection, filled.project, 99)
