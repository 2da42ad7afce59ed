"""Keeping what a job found inside a model: only while the job is wanted, since what it read may have been erased in the meantime."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from annotriage.service.operations.process import Process
from annotriage.store import jobs
from annotriage.store.jobs import Job


@contextmanager
def keeping(process: Process, job: Job) -> Iterator[Connection]:
    """A transaction in which to keep what a job found.

    Raises Cancelled if it is not this process's any more, because a person cancelled it, or erased an item that it may have seen.
    """
    with process.store.writing() as connection:
        jobs.hold(connection, job.id, process.owner)
        yield connection
