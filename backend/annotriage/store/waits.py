"""Waits that are written down, after the clock was put back: what was put off while it was ahead would wait as long as it had been."""

from __future__ import annotations

import time

from sqlalchemy import Connection, update

from annotriage.store.schema import delivery, field_write, notice, project, work

LONGEST = 12 * 3600.0  # seconds; nothing is put off for so long


def end_impossible_waits(connection: Connection) -> int:
    """Let be due now what is put off for longer than anything ever is, and what is said to have been done later than now: how many."""
    now = time.time()
    ended = 0
    for table in (work, delivery, field_write, notice):
        ended += connection.execute(update(table).where(table.c.not_before > now + LONGEST).values(not_before=0.0)).rowcount
    for column in (project.c.swept_at, project.c.told_at, project.c.read_until):
        connection.execute(update(project).where(column > now).values({column: now}))
    return ended
