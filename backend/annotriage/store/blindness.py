"""What stays hidden of an item, from everybody, while it is a spot check that people have not answered yet: what the model says of it.

The class of an outlier is hidden as well until people have answered it, for whoever knows the model's guess sees it in the picture: its
scores and what makes it strange are shown, its label, its cluster and how sure the model is are not. A person may have one told, which is
written down; of a spot check nobody may.

So it is with a member of a group of look-alikes that people are asked about: they answer it blind.

That it is a spot check may be known. Whatever people or programs read of an item's verdict is joined by `shown_verdict`, so that pages,
their twins, the API, exports and reports hide the same. A failed item has no answer to hide.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, or_

from annotriage.states import UNANSWERED, UNSETTLED, ProposalState, Route, TwinState
from annotriage.store.schema import accepted, item, proposal, proposal_member, spot_check, twin, verdict

# Made once: a new alias of a wide table copies all its columns, for each question anew. So are the conditions on columns of tables.
_CHECK = spot_check.alias("open_check")
_OWN = item.alias("unnamed")
_ASKED, _MEMBER, _GROUP = item.alias("asked_item"), proposal_member.alias("asked_member"), proposal.alias("asked_group")
_TWIN, _LABELLED, _ACCEPTED = twin.alias("own_twin"), proposal_member.alias("labelled_member"), accepted.alias("own_accepted")
_KEPT = 64  # conditions


@lru_cache(_KEPT)
def is_blind(item_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether the item is a spot check that is not answered yet."""
    return exists().where(_CHECK.c.item_id == item_id, _CHECK.c.state.in_(UNSETTLED)).correlate_except(_CHECK)


@lru_cache(_KEPT)
def is_asked(item_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether people are asked to answer the item blind as a member of a group of look-alikes, and have not."""
    mine = (_MEMBER.c.item_id == item_id, _MEMBER.c.active, _ASKED.c.id == item_id, _ASKED.c.answer.in_(UNANSWERED))
    asked = (_GROUP.c.id == _MEMBER.c.proposal_id, _MEMBER.c.place < _GROUP.c.asked, _GROUP.c.state == ProposalState.ASKING)
    return exists().where(*mine, *asked).correlate_except(_ASKED, _MEMBER, _GROUP)


@lru_cache(_KEPT)
def is_hidden(item_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether nobody may see what the model says of the item."""
    return or_(is_blind(item_id), is_asked(item_id))


def shown_verdict(reference_id: Any) -> ColumnElement[bool]:
    """The condition under which a verdict is joined to its item: it is that of the reference, and not hidden."""
    seen = or_(verdict.c.judged == Route.FAILED, ~is_hidden(item.c.id))
    return and_(verdict.c.item_id == item.c.id, verdict.c.reference_id == reference_id, seen)


@lru_cache(_KEPT)
def was_told(item_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether an item has, had, or is about to get an inherited answer as a prediction, which whoever answers it has seen."""
    return exists().where(_TWIN.c.item_id == item_id, _TWIN.c.state != TwinState.FOUND).correlate_except(_TWIN)


@lru_cache(_KEPT)
def has_answer(item_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """As `was_told`, of any answer that nobody gave on the item itself: inherited, a group's, or an automatic label as an annotation.

    Such an item is drawn for no check: whoever answered it would not be blind.
    """
    at_once = exists().where(_LABELLED.c.item_id == item_id, _LABELLED.c.at_once).correlate_except(_LABELLED)
    return or_(was_told(item_id), at_once, exists().where(_ACCEPTED.c.item_id == item_id).correlate_except(_ACCEPTED))


@lru_cache(_KEPT)
def is_unnamed(item_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether the item is an outlier that nobody has answered, so that its class is hidden."""
    mine = (_OWN.c.id == item_id, _OWN.c.route == Route.OUTLIER, _OWN.c.answer.in_(UNANSWERED), ~_OWN.c.labelled)
    return exists().where(*mine).correlate_except(_OWN)


def hides_class() -> ColumnElement[bool]:
    """As `is_unnamed`, in a query that has the item already."""
    return and_(item.c.route == Route.OUTLIER, item.c.answer.in_(UNANSWERED), ~item.c.labelled)


def keeps_class(route: str | None, answer: str) -> bool:
    """As `is_unnamed`, of an item that was read."""
    return route == Route.OUTLIER and answer in UNANSWERED
