"""The one order in which transactions lock rows, so that no two of them ever wait for each other.

1. Items, all that the transaction changes anything of, in the order of their ids (`lock_items`). Whoever holds an item may change
   what hangs on it: verdicts, spot checks, deliveries, field writes.
2. The project: to hold it as it is (`reroutings.hold`), or to change it (the alarm, a switch of references).
3. What is counted: last, once, in the order of the counters' keys (`counters.recounted`, by `database.at_the_end`).

Queues (work, jobs, deliveries that are due) are taken with SKIP LOCKED, and wait for nobody. On SQLite a writing transaction is alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, select

from annotriage.store.schema import item

AT_ONCE = 500  # ids in one statement


def lock_items(connection: Connection, item_ids: Iterable[int]) -> None:
    """Nobody else changes these items, or what hangs on them, until the transaction ends. Call it once, before anything is written.

    Rows that name an item can be added all the same.
    """
    if connection.dialect.name == "sqlite":
        return
    ids = sorted(set(item_ids))
    for start in range(0, len(ids), AT_ONCE):
        some = ids[start : start + AT_ONCE]
        connection.execute(select(item.c.id).where(item.c.id.in_(some)).order_by(item.c.id).with_for_update(key_share=True))
