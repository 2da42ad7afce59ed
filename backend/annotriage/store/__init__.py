"""The store: the one place where the service keeps its state, in SQLite or PostgreSQL.

`Store` opens it; the other modules hold the queries, each a
function named after its question, with a connection as its first argument.
"""

from annotriage.store.database import DATABASE_TROUBLE, Store

__all__ = ["DATABASE_TROUBLE", "Store"]
