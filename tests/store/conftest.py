"""A store of its own for each test of a contract, with a project whose items can be judged at a word.

Every test of a store runs on SQLite and on PostgreSQL, but for those that `stores.on_sqlite` or `stores.on_postgresql` marks.
"""

from __future__ import annotations

import pytest
from stores import FACTS, Filled

from annotriage.store import Store
from annotriage.store.projects import ProjectOptions, add_project
from annotriage.store.references import save_reference


@pytest.fixture(params=["sqlite", "postgres"])
def store(request, alone):
    """An empty store on either database."""
    store = Store(request.getfixturevalue(request.param))
    yield store
    store.close()


@pytest.fixture
def references(store):
    """Two references."""
    with store.writing() as connection:
        return [
            save_reference(connection, version=name, name="pets", prediction_version=f"annotriage pets {name}", facts=FACTS, files={})
            for name in ("v1", "v2")
        ]


@pytest.fixture
def project(store, references):
    """A project under the first of them, with nothing in it."""
    with store.writing() as connection:
        return add_project(connection, "3", "Pets", references[0], ProjectOptions(("scanner",), accept="annotate"), watch=False)


@pytest.fixture
def filled(store, project, references):
    """The store, to be filled with items at a word."""
    return Filled(store, project, references)


@pytest.fixture
def judged(filled):
    """New items, judged, with a delivery that is pending: their ids."""
    return filled.judged


@pytest.fixture
def connection(store):
    """A writing transaction for the whole test."""
    with store.writing() as connection:
        yield connection
