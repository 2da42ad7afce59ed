"""By what erased items are known again: a mark of their task's id, which nobody can read it from without the store's own secret.

Their tasks may still stand in the labeling tool, where sweeps would find them and take them in again.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, select

from annotriage.labeling_tool import Task
from annotriage.store.database import insert
from annotriage.store.schema import erased, secret

NAME = "erasure"  # of the secret


def mark_erased(connection: Connection, project_id: int, task_ids: Iterable[str]) -> None:
    """Take in no task of these any more."""
    add = insert(connection, secret).values(name=NAME, value=secrets.token_urlsafe(24)).on_conflict_do_nothing(index_elements=["name"])
    connection.execute(add)
    key = _key(connection)
    rows = [{"project_id": project_id, "mark": _mark(key, id)} for id in task_ids]
    if rows:
        connection.execute(insert(connection, erased).on_conflict_do_nothing(), rows)


def without_erased(connection: Connection, project_id: int, tasks: Sequence[Task]) -> list[Task]:
    """The tasks whose items were not erased."""
    marks = set(connection.execute(select(erased.c.mark).where(erased.c.project_id == project_id)).scalars()) if tasks else set()
    if not marks:
        return list(tasks)
    key = _key(connection)
    return [task for task in tasks if _mark(key, task.id) not in marks]


def _key(connection: Connection) -> bytes:
    return str(connection.execute(select(secret.c.value).where(secret.c.name == NAME)).scalar_one()).encode()


def _mark(key: bytes, task_id: str) -> str:
    return hashlib.blake2b(task_id.encode("utf-8", "surrogatepass"), key=key, digest_size=16).hexdigest()
