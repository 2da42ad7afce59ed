"""Files in the database, by the hash of their content, in pieces: replicas need no shared disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, exists, select

from annotriage.store.database import insert
from annotriage.store.schema import file_piece, reference_file, report, stored_file, training

PIECE = 8 * 2**20  # bytes; far below every limit of a row


def store_file(connection: Connection, file: Path) -> int:
    """Keep a file, once for all that have its content: its row's id."""
    digest, size = hashlib.sha256(), 0
    for piece in _pieces(file):
        digest.update(piece)
        size += len(piece)
    add = insert(connection, stored_file).values(hash=digest.hexdigest(), size=size).on_conflict_do_nothing(index_elements=["hash"])
    id = connection.execute(add.returning(stored_file.c.id)).scalar_one_or_none()
    if id is None:  # kept already, perhaps by another process at this moment
        return int(connection.execute(select(stored_file.c.id).where(stored_file.c.hash == digest.hexdigest())).scalar_one())
    for number, piece in enumerate(_pieces(file)):
        connection.execute(file_piece.insert().values(stored_file_id=id, number=number, content=piece))
    return int(id)


def drop_unused(connection: Connection) -> None:
    """Forget the files that nothing names any more."""
    naming_tables = (report, reference_file, training)
    named = (exists(select(table.c.stored_file_id).where(table.c.stored_file_id == stored_file.c.id)) for table in naming_tables)
    for id in connection.execute(select(stored_file.c.id).where(*(~naming for naming in named))).scalars().all():
        connection.execute(file_piece.delete().where(file_piece.c.stored_file_id == id))
        connection.execute(stored_file.delete().where(stored_file.c.id == id))


def pieces_of(connection: Connection, file_id: int) -> Iterator[bytes]:
    """The content of a kept file, piece after piece."""
    pieces = select(file_piece.c.content).where(file_piece.c.stored_file_id == file_id).order_by(file_piece.c.number)
    yield from connection.execute(pieces.execution_options(yield_per=1)).scalars()


def piece_of(connection: Connection, file_id: int, number: int) -> bytes | None:
    """One piece of a kept file, from 0; None after the last."""
    found = select(file_piece.c.content).where(file_piece.c.stored_file_id == file_id, file_piece.c.number == number)
    content = connection.execute(found).scalar_one_or_none()
    return None if content is None else bytes(content)


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while piece := stream.read(PIECE):
            yield piece
