"""What is kept of people's first answers is what counting all of it anew would say, whatever happens to items, answers and checks."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from math import inf

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from annotriage.labeling_tool import Review
from annotriage.states import SETTLED, SHOWN, EventKind, SpotCheckState
from annotriage.store import erasing, items, rescores, spot_checks
from annotriage.store.blind_answers import alike_answers, blind_answers, first_answers
from annotriage.store.deliveries import enqueue
from annotriage.store.events import note
from annotriage.store.first_answers import SKEW_SECONDS, keep_first_answers
from annotriage.store.projects import ProjectOptions, add_project, change_project
from annotriage.store.reviews import Answer, drop_reviews, keep_reviews, reviews_of, set_answers
from annotriage.store.schema import delivery, event, first_answer, item, review, spot_check, verdict

DAY = 86_400
PEOPLE, LABELS = ("7", "8"), ("cat", "dog")
CHECKED = ("open", "disagreed", "right", "wrong")

# What can happen, how often beside the others, and how: of the first items one that is drawn, where it is about one.
EVENTS = {
    "answer": (6, (PEOPLE, (*LABELS, None), (-9.0, -2.0, 1.0, 2.0 * DAY))),
    "judge again": (3, (("auto", "outlier"), LABELS, (True, True, False))),
    "move": (4, (CHECKED, (1.0, 4.0 * DAY, 5.5 * DAY))),
    "take back": (2, ()),
    "judge": (1, (("auto", "uncertain", "outlier", "failed"), (None, "sample"))),
    "come": (1, ((False, True),)),
    "take over": (1, ()),
    **dict.fromkeys(("decide", "forget", "gone", "back", "change", "erase", "ordinary", "hide", "reveal"), (1, ())),
}
OF_NO_ITEM = ("judge", "come", "take over")


class World:
    """A project to which things happen."""

    def __init__(self, filled, name):
        with filled.store.writing() as connection:
            project = add_project(connection, name, "Pets", filled.references[0], ProjectOptions(accept="annotate"), watch=False)
        self.filled, self.store = replace(filled, project=project), filled.store

    @property
    def project(self):
        return self.filled.present()

    def happens(self, random):
        """Something, which is told."""
        what = random.choices(list(EVENTS), [often for often, _ in EVENTS.values()])[0]
        how = [random.choice(choices) for choices in EVENTS[what][1]]
        if what not in OF_NO_ITEM:
            with self.store.reading() as connection:
                mine = select(item.c.id).where(item.c.project_id == self.project.id).order_by(item.c.id).limit(6)
                ids = connection.execute(mine).scalars().all()
            how = [random.choice(ids), *how] if ids else None
        if how is not None:
            getattr(self, what.replace(" ", "_"))(*how)
        return what, how

    def judge(self, route, check):
        self.filled.judged(2, route, spot_check=check, reference_id=self.project.reference_id)

    def come(self, labelled):
        self.filled.add(1, labelled=labelled)

    def judge_again(self, id, route, label, current):
        known = set(self.filled.references) - {self.project.reference_id}
        self.filled.judge([id], route, labels=(label,), reference_id=self.project.reference_id if current else known.pop())

    def answer(self, id, person, label, since):
        at = time.time() + since
        with self.store.writing() as connection:
            given = None if label is None else (label,)
            keep_reviews(connection, self.project.id, {id: [Review(f"{person}-{id}", person, given, updated_at=at)]})
            if given:
                set_answers(connection, {id: Answer("resolved", given, at=at)})

    def take_back(self, id):
        with self.store.writing() as connection:
            mine = [review.id for review in reviews_of(connection, [id]).get(id, ())]
            drop_reviews(connection, self.project.id, mine[:1])
            set_answers(connection, {id: Answer("open")})

    def move(self, id, state, at):
        with self.store.writing() as connection:
            for check in spot_checks.spot_checks_of(connection, [id]):
                labels = ("cat",) if state == "right" else ("dog",) if state == "wrong" else None
                spot_checks.move(connection, [spot_checks.Move(id, check.state, state, labels, None if state == "open" else at)])

    def decide(self, id):
        with self.store.writing() as connection:
            spot_checks.decide(connection, id, SpotCheckState.WRONG, ("dog",), "boss")

    def forget(self, id):
        with self.store.writing() as connection:
            spot_checks.forget_spot_checks(connection, [id])

    def gone(self, id):
        with self.store.writing() as connection:
            items.mark_gone(connection, [id])

    def back(self, id):
        with self.store.writing() as connection:
            items.mark_back(connection, self.project, [id])

    def change(self, id):
        with self.store.writing() as connection:
            spot_checks.forget_spot_checks(connection, [id])
            items.change_media(connection, self.project, id, f"http://host/other-{id}.png")

    def erase(self, id):
        with self.store.writing() as connection:
            name = connection.execute(select(item.c.external_id).where(item.c.id == id)).scalar_one()
            erasing.erase(connection, self.project, list(erasing.doomed(connection, self.project, [name]).values()))

    def ordinary(self, id):
        with self.store.writing() as connection:
            set_answers(connection, {}, [id])

    def hide(self, id):
        project = self.project
        with self.store.writing() as connection:
            row = {"item_id": id, "reference_id": project.reference_id, "project_id": project.id, "labels": None, "trust": 0.5}
            enqueue(connection, [row])

    def reveal(self, id):
        with self.store.writing() as connection:
            name = connection.execute(select(item.c.external_id).where(item.c.id == id)).scalar_one()
            note(connection, self.project.id, EventKind.REVEALED, task=name, by="boss")

    def take_over(self):
        """The other reference."""
        (other,) = set(self.filled.references) - {self.project.reference_id}
        with self.store.writing() as connection:
            change_project(connection, self.project.id, next_reference_id=other)
        project = self.project
        with self.store.writing() as connection:
            waiting = spot_checks.waiting(connection, project.id)
            assert rescores.switch(connection, project, other, "v2")
            spot_checks.take_over(connection, project.id, other, waiting)
            spot_checks.keep_answered(
                connection,
                project.id,
                project.reference_id,
                other,
                spot_checks.answered_under(connection, project.id, project.reference_id),
            )
        with self.store.writing() as connection:
            change_project(connection, project.id, old_reference_id=None)
            rescores.catch_up(connection, self.project, rescores.behind(connection, self.project, 0, 1_000))


def rows(connection, table, project):
    return [row for row in connection.execute(select(table)).mappings() if row["project_id"] == project.id]


def counted_anew(connection, project):
    """Out of all rows of a project: first answers, and what was answered blind."""
    of_items = {row["id"]: row for row in rows(connection, item, project) if not row["gone"]}
    verdicts = {(row["item_id"], row["reference_id"]): row for row in rows(connection, verdict, project) if row["item_id"] in of_items}
    checks = {row["item_id"]: row for row in rows(connection, spot_check, project) if row["item_id"] in of_items}
    shown = {(row["item_id"], row["reference_id"]): row["labels"] for row in rows(connection, delivery, project)}
    given = {}
    for row in sorted(rows(connection, review, project), key=lambda row: (row["updated_at"], row["id"])):
        if row["labels"] is not None and not row["machine"]:
            given.setdefault(row["item_id"], row)

    def judged_as(id, reference_id, routes):
        found = verdicts.get((id, reference_id))
        return found if found is not None and found["route"] in routes and not of_items[id]["labelled"] else None

    awaited = [
        check["answered_at"]
        for id, check in checks.items()
        if check["state"] == "disagreed" and check["reference_id"] == project.reference_id and judged_as(id, project.reference_id, SHOWN)
    ]
    first = Counter()
    for id, answer in given.items():
        said = judged_as(id, project.reference_id, SHOWN) if id in of_items else None
        if said is None or answer["updated_at"] < said["at"] - SKEW_SECONDS:
            continue
        check = checks.get(id)
        drawn = check is not None and check["reference_id"] == project.reference_id
        known = drawn and check["state"] in SETTLED and check["answered_at"] < min(awaited, default=inf)
        if known or (not drawn and shown.get((id, project.reference_id)) is not None):
            first[said["judged"], drawn, tuple(said["labels"]), tuple(answer["labels"])] += 1
    blind = Counter()
    for id, check in checks.items():
        said = verdicts.get((id, check["reference_id"]))
        if said is not None and check["state"] in SETTLED:
            blind[id, check["route"], tuple(said["labels"]), tuple(check["labels"]), check["answered_at"]] += 1
    revealed = {row["facts"]["task"] for row in rows(connection, event, project) if row["kind"] == EventKind.REVEALED}
    for id, row in of_items.items():
        said = judged_as(id, project.reference_id, ("outlier",))
        seen = any(of == id and one["route"] in SHOWN and one["at"] < (row["answered_at"] or 0) for (of, _), one in verdicts.items())
        if said is not None and row["answer"] == "resolved" and id not in checks and not seen and row["external_id"] not in revealed:
            blind[id, said["judged"], tuple(said["labels"]), tuple(row["labels"]), row["answered_at"]] += 1
    return first, blind


class TestFirstAnswers:
    @settings(max_examples=12, suppress_health_check=list(HealthCheck))
    @given(random=st.randoms(use_true_random=True))
    def test_whatever_happens_they_are_what_counting_anew_says(self, store, filled, random):
        world = World(filled, f"of {time.perf_counter_ns()}")
        world.come(True)
        for route, check in (("auto", None), ("uncertain", "sample"), ("outlier", None)):
            world.judge(route, check)
        for _ in range(30):
            each = world.happens(random)
            project = world.project
            with store.reading() as connection:
                first, blind = counted_anew(connection, project)
                told = Counter({(row.route, row.blind, row.said, row.answered): row.n for row in first_answers(connection, project)})
                listed = blind_answers(connection, project)
                counted = Counter({(row.day, row.route, row.said, row.answered): row.n for row in alike_answers(connection, project)})
            assert told == first, each
            assert Counter((row.item_id, row.route, row.said, row.answered, row.at) for row in listed) == blind, each
            assert counted == Counter((int(row.at // DAY), row.route, row.said, row.answered) for row in listed), each

    def test_those_that_are_kept_are_the_same_when_they_are_written_anew(self, store, filled):
        ids = filled.judged(3)
        with store.writing() as connection:
            keep_reviews(connection, filled.project.id, {id: [Review(f"{id}", "7", ("dog",), updated_at=time.time())] for id in ids})
            kept = connection.execute(select(first_answer).order_by(first_answer.c.item_id)).all()
            keep_first_answers(connection, ids)
            assert connection.execute(select(first_answer).order_by(first_answer.c.item_id)).all() == kept
        assert [row.item_id for row in kept] == ids

    def test_an_answer_from_before_the_verdict_followed_nothing(self, store, filled):
        (id,) = filled.add(1)
        with store.writing() as connection:
            keep_reviews(connection, filled.project.id, {id: [Review("a", "7", ("dog",), updated_at=time.time() - 60)]})
        filled.judge([id])
        with store.reading() as connection:
            assert first_answers(connection, filled.project) == []
            assert connection.execute(select(first_answer.c.said, first_answer.c.given)).all() == [('["cat"]', None)]

    def test_they_go_with_the_verdict_and_with_the_item(self, store, filled):
        first, second = filled.judged(2)
        with store.writing() as connection:
            keep_reviews(connection, filled.project.id, {id: [Review(f"{id}", "7", ("dog",), updated_at=1e12)] for id in (first, second)})
            connection.execute(verdict.delete().where(verdict.c.item_id == first))
            connection.execute(item.delete().where(item.c.id == second))
            assert connection.execute(select(first_answer)).all() == []

    def test_what_was_labelled_before_counts_once_it_is_so_no_more(self, store, filled):
        (id,) = filled.judge(filled.add(1, labelled=True))
        with store.writing() as connection:
            keep_reviews(connection, filled.project.id, {id: [Review("a", "7", ("dog",), updated_at=time.time() + 1)]})
            assert first_answers(connection, filled.project) == []
            set_answers(connection, {}, [id])
            assert [(row.said, row.answered, row.n) for row in first_answers(connection, filled.project)] == [(("cat",), ("dog",), 1)]
