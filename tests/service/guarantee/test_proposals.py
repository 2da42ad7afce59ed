"""Look-alikes in a project: people answer some of a group blind, the rest is labelled at once, and all of it can be taken back.

Items are judged at a word, so that no model runs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from memory_tool import Failure
from sqlalchemy import update
from stores import Filled

from annotriage.errors import OutcomeUnknown, StateError, ToolUnavailable, UnknownError
from annotriage.guarantee.look_alikes import looks
from annotriage.service.delivery.accepting import accept_due
from annotriage.service.guarantee import proposals as deeds
from annotriage.service.maps import likeness
from annotriage.service.readings.look_alikes import proposal_now
from annotriage.states import ProposalState
from annotriage.store import acceptances, label_audits, proposals, queue, reviews, spot_checks
from annotriage.store.browsing import items_of
from annotriage.store.items import mark_gone
from annotriage.store.projects import get_project
from annotriage.store.provenance import labels_page
from annotriage.store.schema import acceptance, group_member, item, point

SIZE, ERROR = 60, 0.2
PLANNED = looks(SIZE, ERROR, 0.95)
NEW = "something else"  # can be chosen in the labeling tool, and is no class of the model


class Group:
    """A project with items that look alike, and the group that is proposed of them."""

    def __init__(self, process, connect, worker, *, size=SIZE, route="outlier", **options):
        self.process, self.worker = process, worker
        connected, self.tool = connect(group_error=ERROR, item_fields=False, **options)
        tasks = [self.tool.add(f"http://host/{place}.png").id for place in range(size)]
        worker.follow()
        filled = Filled(process.store, connected, [connected.reference_id])
        with process.store.reading() as connection:
            self.ids = proposals_ids(connection, connected)
        filled.judge(self.ids, route, labels=("3",))
        self.task_of = dict(zip(self.ids, tasks, strict=True))
        worker.settle()
        self.id = deeds.propose_items(process, self.project, self.ids, "ann")

    @property
    def project(self):
        with self.process.store.reading() as connection:
            return get_project(connection, 1)

    def now(self, id=None):
        with self.process.store.reading() as connection:
            found = proposals.proposal_of(connection, self.project, id or self.id)
            return proposal_now(connection, self.project, found)

    def members(self, id=None):
        with self.process.store.reading() as connection:
            return proposals.members_of(connection, self.project, id or self.id)

    def tend(self):
        deeds.tend_proposals(self.process, self.project)
        self.worker.settle()

    def ask(self):
        deeds.ask_people(self.process, self.project, self.id, "ann")
        self.tend()

    def answer(self, *labels, id=None):
        """The next members of the draw are answered."""
        waiting = [member for member in self.members(id) if member.labels is None and not member.gone]
        for member, label in zip(waiting, labels, strict=False):
            self.tool.annotate(member.task, label)
        self.worker.follow()
        self.tend()

    def label(self):
        deeds.label_rest(self.process, self.project, self.id, "boss")
        self.tend()

    def of_version(self):
        return {stored.task: stored.labels for stored in self.tool.predictions if stored.version == f"annotriage look-alikes {self.id}"}

    def waiting(self):
        with self.process.store.reading() as connection:
            return queue.queue_length(connection, self.project)

    def answers_of_people(self):
        """Every place that counts or takes people's answers: how many it has."""
        with self.process.store.reading() as connection:
            id = self.project.id
            return {
                "training": len(spot_checks.other_answers(connection, id)),
                "learnable": spot_checks.learnable(connection, id, 1000),
                "label audit": len(label_audits.answered_items(connection, id, 1000)),
                "command line": len(spot_checks.labels_of_tasks(connection, id, list(self.task_of.values()))),
                "by person": sum(line.answers for line in reviews.answers_by_person(connection, self.project)),
            }

    def sample(self):
        with self.process.store.reading() as connection:
            id, reference = self.project.id, self.project.reference_id
            return (
                spot_checks.sample_answers(connection, id),
                spot_checks.automatic_answers(connection, id, reference),
                spot_checks.all_drawn(connection, id),
            )


def proposals_ids(connection, project):
    return list(connection.execute(item.select().where(item.c.project_id == project.id).order_by(item.c.id)).scalars())


@pytest.fixture
def group(process, connect, worker):
    return lambda **options: Group(process, connect, worker, **options)


def test_it_first_says_how_many_of_how_many_and_nobody_is_asked_yet(group):
    g = group()
    now = g.now()
    first = PLANNED[0].size
    assert now.sentence.startswith(f"{SIZE} items: answer {first} of them, drawn at random.")
    assert 2 * first <= SIZE
    assert (now.proposal.state, now.can, now.waiting, g.tool.assigned) == (ProposalState.OFFERED, ("ask", "close"), 0, {})
    assert sorted(member.item_id for member in g.members()) == g.ids
    assert [member.item_id for member in g.members()] != g.ids, "they are drawn at random"


def test_nothing_is_offered_that_saves_less_than_half(group):
    g = group()
    deeds.close(g.process, g.project, g.id, "ann")
    with pytest.raises(StateError, match=r"chosen on the map: 3 items of 4 \(the others .*it takes \d+ like these"):
        deeds.propose_items(g.process, g.project, [*g.ids[:3], 999], "ann")
    with pytest.raises(UnknownError, match="no such group"):
        deeds.propose_groups(g.process, g.project, 1, [4], "ann")


def test_groups_of_one_answer_are_pooled_and_similar_items_are_the_nearest(group, monkeypatch):
    g = group()
    deeds.close(g.process, g.project, g.id, "ann")
    with g.process.store.writing() as connection:
        rows = [{"dataset_id": 1, "item_id": id, "number": 1 + place % 3} for place, id in enumerate(g.ids)]
        connection.execute(group_member.insert(), rows)
        for place, id in enumerate(g.ids):
            connection.execute(update(point).where(point.c.item_id == id).values(compressed=np.float16([place]).tobytes()))
    pooled = g.now(deeds.propose_groups(g.process, g.project, 1, [2, 1], "ann")).proposal
    assert (pooled.reason, pooled.members) == ("groups 1 and 2 of strange items", 40)
    deeds.close(g.process, g.project, pooled.id, "ann")
    similar = deeds.propose_similar(g.process, g.project, g.ids[50], "ann", 45)
    assert sorted(member.item_id for member in g.members(similar)) == g.ids[15:]
    deeds.close(g.process, g.project, similar, "ann")
    monkeypatch.setattr(likeness, "SEARCHED", 50)
    monkeypatch.setattr(proposals, "AT_ONCE", 20)
    among = deeds.propose_similar(g.process, g.project, g.ids[0], "ann", 45)
    assert sorted(member.item_id for member in g.members(among)) == g.ids[10:55], "of the latest that wait"


def test_people_answer_some_blind_and_the_rest_is_labelled_as_predictions_out_of_the_queue_and_back(group):
    g = group(route="uncertain")
    first = PLANNED[0].size
    shown = {task: [stored.labels for stored in g.tool.shown(task)] for task in g.task_of.values()}
    assert all(labels == [("3",)] for labels in shown.values())
    g.ask()
    asked = [member.task for member in g.members()[:first]]
    assert g.tool.assigned == {f"Look-alikes {g.id}: chosen on the map": asked}
    assert {tuple(stored.labels or () for stored in g.tool.shown(task)) for task in asked} == {((),)}, "nothing to be led by"
    with g.process.store.reading() as connection:
        assert [row.verdict for row in items_of(connection, g.project, [member.item_id for member in g.members()[:first]])] == [
            None
        ] * first
    g.answer(*[NEW] * (first - 1))
    assert g.now().sentence == f"{first - 1} answers, 0 of them not {NEW}: 1 more answer until the next look."
    with pytest.raises(StateError, match="this group is asking now"):
        deeds.label_rest(g.process, g.project, g.id, "boss")
    g.answer(NEW)
    now = g.now()
    assert (now.proposal.state, now.label, now.rest, g.tool.assigned) == (ProposalState.SHOWN, NEW, SIZE - first, {})
    before, sampled, waiting = g.answers_of_people(), g.sample(), g.waiting()
    assert before == dict.fromkeys(before, first)
    assert waiting == SIZE - first
    g.label()
    rest = {member.task for member in g.members()[first:]}
    assert g.now().proposal.state == ProposalState.LABELLED
    assert g.of_version() == dict.fromkeys(rest, (NEW,))
    assert all([stored.labels for stored in g.tool.shown(task)] == [("3",)] for task in rest), "the model's own predictions stay"
    assert g.waiting() == 0
    assert (g.answers_of_people(), g.sample()) == (before, sampled), "nothing of it counts as a person's answer"
    with g.process.store.reading() as connection:
        labels = {label.task: (label.source, label.label) for label in labels_page(connection, g.project, limit=500).labels}
    assert {labels[task] for task in rest} == {("look-alike", (NEW,))}
    deeds.undo_labels(g.process, g.project, g.id, "boss")
    g.tend()
    assert (g.now().proposal.state, g.of_version(), g.waiting()) == (ProposalState.UNDONE, {}, SIZE - first)
    with g.process.store.reading() as connection:
        assert len(proposals.free_items(connection, g.project)) == SIZE - first


def test_where_labels_become_annotations_they_are_the_machines_and_count_nowhere(group):
    g = group(accept="annotate")
    g.ask()
    first = PLANNED[0].size
    g.answer(*[NEW] * first)
    before, sampled = g.answers_of_people(), g.sample()
    g.label()
    g.worker.follow()
    now = g.now()
    assert (now.proposal.state, now.rest, now.annotations) == (ProposalState.LABELLED, SIZE - first, SIZE - first)
    made = [g.tool.tasks_by_id[member.task].reviews for member in g.members()[first:]]
    assert {(len(reviews), reviews[0].labels, reviews[0].machine) for reviews in made} == {(1, (NEW,), True)}
    assert (g.answers_of_people(), g.sample(), g.waiting()) == (before, sampled, 0)
    with g.process.store.reading() as connection:
        sources = {label.source for label in labels_page(connection, g.project, limit=500).labels}
        (batch,) = acceptances.batches(connection, g.project.id)
    assert sources == {"person", "look-alike"}
    assert (batch.id, batch.items) == (now.proposal.acceptance_id, SIZE - first)
    kept = g.members()[-1].task
    g.tool.annotate(kept, "3", by="bob")  # somebody corrects one
    g.worker.follow()
    deeds.undo_labels(g.process, g.project, g.id, "boss")
    g.tend()
    g.worker.follow()
    left = {member.task: [review.labels for review in g.tool.tasks_by_id[member.task].reviews] for member in g.members()[first:]}
    assert left == {task: [("3",)] if task == kept else [] for task in left}
    assert (g.of_version(), g.waiting()) == ({}, SIZE - first - 1)


def test_annotations_that_the_tool_did_not_take_are_made_later(group):
    def refuse(name):
        if name == "accept":
            raise ToolUnavailable("not now")

    g = group(accept="annotate")
    g.ask()
    first = PLANNED[0].size
    g.answer(*[NEW] * first)
    g.tool.faults = refuse
    with pytest.raises(ToolUnavailable):
        g.label()
    assert (g.now().proposal.state, g.now().proposal.acceptance_id) == (ProposalState.LABELLING, None)
    g.tool.faults = lambda name: None
    held, taken = (member.task for member in g.members()[-2:])
    g.tool.annotate(held, "3", by="bob")  # at this moment
    g.tool.failure = Failure("accept", 3, ToolUnavailable("not now"))
    with pytest.raises(ToolUnavailable):
        g.tend()
    g.tend()
    g.worker.follow()
    now = g.now()
    assert (now.proposal.state, now.annotations, now.rest) == (ProposalState.LABELLED, SIZE - first - 1, SIZE - first - 1)
    assert now.sentence == f"{SIZE - first - 1} items were labelled {NEW} at once."
    assert [review.labels for review in g.tool.tasks_by_id[taken].reviews] == [(NEW,)]


def test_annotations_whose_answer_was_lost_are_read_back_before_it_goes_on(group):
    g = group(accept="annotate")
    g.ask()
    first = PLANNED[0].size
    g.answer(*[NEW] * first)

    def break_off(name):
        if name == "accept":
            raise OutcomeUnknown("the connection broke off")

    g.tool.faults = break_off
    with pytest.raises(OutcomeUnknown):
        g.label()
    g.tool.faults = lambda name: None
    g.tend()
    assert g.now().proposal.state == ProposalState.LABELLING, "they may be there"
    with g.process.store.writing() as connection:
        connection.execute(update(acceptance).values(at=0.0))  # a while ago
    accept_due(g.process, g.project)
    g.tend()
    g.worker.follow()
    assert (g.now().proposal.state, g.now().annotations) == (ProposalState.LABELLED, SIZE - first)


def test_what_people_disagree_about_or_the_tool_refuses_is_not_labelled_at_once(group, monkeypatch):
    g = group()
    g.ask()
    first = PLANNED[0].size
    g.answer(*[NEW] * first)
    disputed, refused = g.members()[-2:]
    with g.process.store.writing() as connection:
        reviews.set_answers(connection, {disputed.item_id: reviews.Answer("disputed", None, at=1.0)})
    assert g.now().rest == SIZE - first - 1
    deliver = g.tool.deliver

    def refuse(shown, version):
        outcomes = deliver([one for one in shown if one.task != refused.task], version)
        return replace(outcomes, refused={one.task: "not this" for one in shown if one.task == refused.task})

    monkeypatch.setattr(g.tool, "deliver", refuse)
    g.label()
    assert set(g.of_version()) == {member.task for member in g.members()[first:-2]}
    now = g.now()
    assert (now.proposal.state, now.rest) == (ProposalState.LABELLED, SIZE - first - 2)
    with g.process.store.reading() as connection:
        labels = {label.task: label.source for label in labels_page(connection, g.project, limit=500).labels}
    assert "look-alike" not in (labels[disputed.task], labels[refused.task])


def test_one_disagreement_more_takes_more_answers_and_too_many_split_it_in_two(group):
    g = group(size=90)
    g.ask()
    planned = g.now().looks
    first, second = planned[0].answers, planned[1].answers
    g.answer("5", *[NEW] * (first - 1))
    now = g.now()
    assert (now.proposal.state, now.proposal.asked, now.waiting) == (ProposalState.ASKING, second, second - first)
    assert now.sentence == f"{first} answers, 1 of them not {NEW}: {second - first} more answers until the next look."
    assert len(g.tool.assigned[f"Look-alikes {g.id}: chosen on the map"]) == second
    g.answer(*["5"] * planned[-1].disagreements)
    assert g.now().proposal.state == ProposalState.MIXED
    assert g.now().can == ("split", "close")
    assert g.tool.assigned == {}
    with pytest.raises(StateError, match="this group is mixed now"):
        deeds.label_rest(g.process, g.project, g.id, "boss")
    deeds.split(g.process, g.project, g.id, "ann")
    g.tend()
    now = g.now()
    assert (now.proposal.state, now.proposal.note, now.halves) == (ProposalState.MIXED, now.proposal.note, ())
    assert "do not part in two groups" in now.proposal.note, "of items that lie in one place there are no halves"


def test_halves_get_fresh_answers_and_their_share_of_the_level(group):
    g = group(size=160)
    sides = g.ids[:80], g.ids[80:]
    with g.process.store.writing() as connection:
        for side, at in zip(sides, (0, 100), strict=True):
            connection.execute(update(point).where(point.c.item_id.in_(side)).values(compressed=np.float16([at]).tobytes()))
    g.ask()
    first = g.now().looks[0].answers
    g.answer(*(["5", NEW] * first)[:first])
    deeds.split(g.process, g.project, g.id, "ann")
    g.tend()
    halves = [g.now(id) for id in g.now().halves]
    assert [(half.proposal.state, half.proposal.parent_id) for half in halves] == [(ProposalState.OFFERED, g.id)] * 2
    assert [half.proposal.confidence for half in halves] == pytest.approx([0.995] * 2), "the first look has spent four fifths"
    answered = {member.item_id for member in g.members() if member.labels is not None}
    items = sorted(sorted(member.item_id for member in g.members(half.proposal.id)) for half in halves)
    assert items == [[id for id in side if id not in answered] for side in sides], "each half is what lies together"


def test_what_broke_off_goes_on_and_nothing_is_there_twice(group):
    g = group()
    g.ask()
    g.answer(*[NEW] * PLANNED[0].size)
    g.tool.lose_answers = 1
    with pytest.raises(OutcomeUnknown):
        g.label()
    assert g.now().proposal.state == ProposalState.LABELLING
    again = next(stored for stored in g.tool.predictions if stored.version == f"annotriage look-alikes {g.id}")
    g.tool.predictions.append(type(again)("9999", again.task, again.version, again.labels, again.trust))  # a call that came twice
    g.tend()
    assert g.now().proposal.state == ProposalState.LABELLED
    tasks = [stored.task for stored in g.tool.predictions if stored.version == f"annotriage look-alikes {g.id}"]
    assert sorted(tasks) == sorted({member.task for member in g.members()[PLANNED[0].size :]})


def test_answers_that_were_changed_since_are_looked_at_again(group):
    g = group()
    g.ask()
    first = PLANNED[0].size
    g.answer(*[NEW] * first)
    for member in g.members()[:2]:
        g.tool.annotate(member.task, "5")  # the same person's later answer counts
    g.worker.follow()
    with pytest.raises(StateError, match="answers were changed meanwhile"):
        deeds.label_rest(g.process, g.project, g.id, "boss")
    g.tend()
    assert g.now().proposal.state in (ProposalState.ASKING, ProposalState.MIXED)
    assert g.of_version() == {}


def test_a_closed_group_shows_again_what_was_hidden_and_is_asked_anew_at_half_the_level(group):
    g = group(route="uncertain")
    g.ask()
    g.answer(NEW)
    deeds.close(g.process, g.project, g.id, "ann")
    g.worker.settle()
    left = [member.task for member in g.members() if member.labels is None]
    assert {tuple(stored.labels for stored in g.tool.shown(task)) for task in left} == {(("3",),)}
    assert g.tool.assigned == {}
    again = deeds.propose_items(g.process, g.project, g.ids, "ann")
    assert g.now(again).proposal.confidence == pytest.approx(0.975)
    assert len(g.members(again)) == SIZE - 1


def test_a_task_that_is_deleted_before_it_was_answered_counts_as_a_disagreement(group):
    g = group(size=90)
    g.ask()
    first = g.now().looks[0].answers
    g.tool.delete_task(g.members()[0].task)
    with g.process.store.writing() as connection:
        mark_gone(connection, [g.members()[0].item_id])
    g.answer(*[NEW] * first)
    now = g.now()
    assert (now.answers, now.disagreements, now.proposal.state) == (first + 1, 1, ProposalState.ASKING)


def test_a_project_that_is_only_watched_gets_no_tab_and_no_labels(process, connect, worker):
    g = Group(process, connect, worker, watch=True)
    g.ask()
    g.answer(*[NEW] * PLANNED[0].size)
    assert (g.now().proposal.state, g.tool.assigned) == (ProposalState.SHOWN, {})
    with pytest.raises(StateError, match="nothing is written into this project"):
        deeds.label_rest(g.process, g.project, g.id, "boss")
