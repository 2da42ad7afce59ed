"""Items of a project that are spot checks, judged as a test wants them, and the people who answer them."""

from __future__ import annotations

import time

from annotriage.engine.verdict import Verdict
from annotriage.labeling_tool import Review, Task
from annotriage.service.guarantee import spot_checks
from annotriage.service.intake.reviewing import take_reviews
from annotriage.store import items
from annotriage.store.projects import get_project
from annotriage.store.schema import spot_check
from annotriage.store.verdicts import Judgement, record

MODEL_SAYS = "3"


class SpotChecks:
    """Items of a project that are spot checks, and the people who answer them."""

    def __init__(self, process, project):
        self.process, self.project = process, project
        self.tasks: dict[str, Task] = {}

    def draw(self, count, *, route="auto", kind="audit", spot_check=True, sureness=None, **values):
        """New tasks, judged as spot_checks: their ids. sureness: of each."""
        first = len(self.tasks) + 1
        new = [Task(str(number), f"http://host/{number}.png", reviews=(), **values) for number in range(first, first + count)]
        self.tasks |= {task.id: task for task in new}
        with self.process.store.writing() as connection:
            items.add_tasks(connection, self.project, new)
            rows = items.find_items(connection, self.project.id, [task.id for task in new]).values()
            shown = [
                Judgement(
                    row.id,
                    Verdict(str(row.id), "", (MODEL_SAYS,), 0.9, MODEL_SAYS, trust=0.9, route=route, sureness=sureness),
                    route,
                    None,
                    0.1,
                    kind if spot_check else None,
                    b"",
                    b"",
                )
                for row in rows
            ]
            record(connection, self.project, self.project.reference_id, shown)
        return [task.id for task in new]

    def answer(self, answers, *, at=None, **fields):
        """Answers (task id, person, labels), read in one go; labels None is a skip."""
        at = time.time() + 1 if at is None else at
        touched = {}
        for place, (id, person, labels) in enumerate(answers):
            task = self.tasks[id]
            given = (labels,) if labels else None
            review = Review(f"{id}-{len(task.reviews)}", person, given, skipped=labels is None, updated_at=at + place, **fields)
            reviews = (*task.reviews, review)
            self.tasks[id] = touched[id] = Task(id, task.media, labelled=True, wanted=task.wanted, reviews=reviews)
        self.read(touched.values())

    def read(self, tasks):
        with self.process.store.writing() as connection:
            take_reviews(connection, get_project(connection, self.project.id), list(tasks))

    def wrong(self, ids, at=None):
        """Two people say something else than the model."""
        at = time.time() + 1 if at is None else at
        self.answer([(id, person, "5") for id in ids for person in ("ann", "bob")], at=at)

    def states(self):
        with self.process.store.reading() as connection:
            rows = connection.execute(spot_check.select().order_by(spot_check.c.item_id))
            return [row.state for row in rows]

    def standing(self):
        with self.process.store.reading() as connection:
            return spot_checks.standing(connection, get_project(connection, self.project.id))

    def present(self):
        with self.process.store.reading() as connection:
            return get_project(connection, self.project.id)
