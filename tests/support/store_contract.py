"""What the contract of a store module is run on: both databases, a project with two references, and judged items."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from annotriage.engine.verdict import Verdict
from annotriage.labeling_tool import Task
from annotriage.store import Store, items, work
from annotriage.store.projects import ProjectOptions, add_project, get_project
from annotriage.store.references import save_reference
from annotriage.store.schema import item
from annotriage.store.verdicts import Judgement, record

GUARANTEE = {"max_error": 0.02, "confidence": 0.95, "auto": True, "coverage": 0.5}
FACTS = {"model": {"spec": {"model": {"classes": ["cat", "dog"]}}}, "guarantee": GUARANTEE, "calibrated": True}


class StoreContract:
    """The base of a module's contract: its tests run on SQLite and on PostgreSQL."""

    @pytest.fixture(params=["sqlite", "postgres"])
    def store(self, request):
        store = Store(request.getfixturevalue(request.param))
        yield store
        store.close()

    @pytest.fixture
    def references(self, store):
        with store.writing() as connection:
            return [
                save_reference(connection, version=v, name="pets", prediction_version=f"annotriage pets {v}", facts=FACTS, files={})
                for v in ("v1", "v2")
            ]

    @pytest.fixture
    def project(self, store, references):
        with store.writing() as connection:
            return add_project(connection, "3", "Pets", references[0], ProjectOptions(accept="annotate"), watch=False)

    @pytest.fixture
    def connection(self, store):
        """A writing transaction for the whole test."""
        with store.writing() as connection:
            yield connection

    @pytest.fixture
    def judged(self, store, project):
        """The ids of tasks 1 to n, judged under a reference; a delivery of each is pending."""

        def judged(count, *, route="auto", reference_id=None):
            reference_id = reference_id or project.reference_id
            with store.writing() as connection:
                items.add_tasks(connection, project, [Task(str(number), f"http://host/{number}.png") for number in range(1, count + 1)])
                ids = list(connection.execute(select(item.c.id).order_by(item.c.id)).scalars())
                verdict = Verdict("", "", ("cat",), 0.9, "cat", trust=0.9, route=route, reason="usual.")
                judgements = [Judgement(id, verdict, route, ("cat",), 0.9, None, b"", b"") for id in ids]
                record(connection, get_project(connection, project.id), reference_id, judgements)
                connection.execute(work.work.delete().where(work.work.c.reference_id == reference_id))
            return ids

        return judged
