"""Secrets that the service made for itself, shared by all its processes and by the command line."""

from __future__ import annotations

import secrets

from sqlalchemy import select

from annotriage.store.database import Store, insert
from annotriage.store.schema import secret


def secret_of(store: Store, name: str) -> str:
    """The secret of that name, made when it is first asked for."""
    query = select(secret.c.value).where(secret.c.name == name)
    with store.reading() as connection:
        found = connection.execute(query).scalar_one_or_none()
    if found is not None:
        return str(found)
    with store.writing() as connection:
        add = insert(connection, secret).values(name=name, value=secrets.token_urlsafe(24))
        connection.execute(add.on_conflict_do_nothing(index_elements=["name"]))
        return str(connection.execute(query).scalar_one())
