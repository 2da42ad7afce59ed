"""A store of its own for each test of a contract, with a project whose items can be judged at a word.

A contract is a class of tests without `Test` in front; the two classes that inherit it run it on SQLite and on PostgreSQL.
"""

from __future__ import annotations

import pytest
from stores import FACTS, Filled

from annotriage.store import Store
from annotriage.store.projects import ProjectOptions, add_project
from annotriage.store.references import save_reference


@pytest.fixture
def store(request, alone):
    """An empty store on the database of the test's class."""
    store = Store(request.getfixturevalue(request.cls.database))
    yield store
    store.close()


@pytest.fixture
def filled(store):
    """The store with two references and a project under the first of them."""
    with store.writing() as connection:
        references = [
            save_reference(connection, version=name, name="pets", prediction_version=f"annotriage pets {name}", facts=FACTS, files={})
            for name in ("v1", "v2")
        ]
        project = add_project(connection, "3", "Pets", references[0], ProjectOptions(("scanner",), accept="annotate"), watch=False)
    return Filled(store, project, references)


@pytest.fixture
def project(store):
    """A project alone, with nothing in it."""
    with store.writing() as connection:
        reference = save_reference(connection, version="v1", name="pets", prediction_version="pets v1", facts=FACTS, files={})
        return add_project(connection, "3", "Pets", reference, ProjectOptions(), watch=False)
