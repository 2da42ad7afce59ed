"""Spot checks in what people are handed: a known share of it, at places that tell nothing of the model's answer."""

from __future__ import annotations

import databases
import numpy as np
import pytest
from sqlalchemy import select, update
from triaged import import_tasks, judge

from annotriage.service.judging import check_assignment
from annotriage.service.judging import judge as judging
from annotriage.states import AUTOMATIC_FROM, UNSETTLED
from annotriage.store.schema import item, spot_check, verdict


def handed_out(process, project):
    """All open tasks in the order in which the Label button gives them: (trust, whether it is a spot check, the verdict's own trust)."""
    with process.store.reading() as connection:
        query = (
            select(verdict.c.shown_trust, spot_check.c.kind, verdict.c.trust)
            .join(item, item.c.id == verdict.c.item_id)
            .outerjoin(spot_check, (spot_check.c.item_id == item.c.id) & spot_check.c.state.in_(UNSETTLED))
            .where(item.c.project_id == project.id, item.c.answer == "open")
            .order_by(verdict.c.shown_trust)
        )
        return [(row.shown_trust, row.kind is not None, row.trust) for row in connection.execute(query)]


@pytest.mark.parametrize("kept", [False, True])  # of a large project the worker reads but now and then what waits
@databases.both
def test_the_strangest_come_first_and_one_in_four_is_a_spot_check_until_none_is_left(process, connect, mixed, kept, monkeypatch):
    if kept:
        monkeypatch.setattr(check_assignment, "READ_ANEW", -1)
        monkeypatch.setattr(check_assignment, "READING_SHARE", 1e9)
        monkeypatch.setattr(judging, "CLAIM_SECONDS", 0.0)  # few items at a time
    project, tool = connect(sample_share=0.1, audit_share=0.0)
    import_tasks(process, project, tool, mixed[0][:: -1 if kept else 1])  # kept: what is strange comes first, and stands in mind
    judge(process)
    given = handed_out(process, project)
    checks = np.array([is_check for _, is_check, _ in given])
    last = int(np.flatnonzero(checks)[-1]) + 1
    assert checks.sum() >= 30
    assert 0.2 <= checks[:last].mean() <= 0.3
    assert 0.1 <= checks[: last // 2].mean() <= 0.4, "from the first tasks on"
    assert given[last - 1][0] < AUTOMATIC_FROM, "before all that is automatic"
    others = [trust for _, is_check, trust in given if not is_check]
    assert others == sorted(others), "the others stand where their own trust puts them"


@pytest.mark.parametrize("item_fields", [True, False])  # without fields no tab tells them apart: they stand among the others all the same
def test_the_place_of_a_spot_check_tells_nothing_of_its_trust(process, connect, mixed, item_fields):
    project, tool = connect(sample_share=0.3, audit_share=0.0, item_fields=item_fields)
    import_tasks(process, project, tool, mixed[0])
    judge(process)
    places, trusts = np.array([(place, trust) for place, is_check, trust in handed_out(process, project) if is_check]).T
    order = np.argsort(np.argsort(places)), np.argsort(np.argsort(trusts))
    assert len(places) > 80
    assert abs(np.corrcoef(*order)[0, 1]) < 0.3


@pytest.mark.parametrize(("share", "front", "least"), [(0.5, 30, 0.35), (1.0, 15, 0.9)])
def test_the_share_of_what_is_handed_out_is_a_setting(process, connect, mixed, share, front, least):
    project, tool = connect(sample_share=0.1, audit_share=0.0, checks_handed_out=share)
    import_tasks(process, project, tool, mixed[0])
    judge(process)
    checks = np.array([is_check for _, is_check, _ in handed_out(process, project)])
    assert checks[:front].mean() >= least


def test_what_people_have_answered_does_not_count_when_later_spot_checks_get_their_places(process, connect, mixed):
    project, tool = connect(sample_share=0.1, audit_share=0.0)
    import_tasks(process, project, tool, mixed[0][::2])
    judge(process)
    with process.store.writing() as connection:  # all that waits is answered
        connection.execute(update(item).values(answer="resolved"))
        connection.execute(update(spot_check).values(state="right", answered_at=1.0))
    import_tasks(process, project, tool, mixed[0][1::2])
    judge(process)
    checks = np.array([is_check for _, is_check, _ in handed_out(process, project)])
    last = int(np.flatnonzero(checks)[-1]) + 1
    assert 0.15 <= checks[:last].mean() <= 0.35
