"""Files: kept once by their content, in pieces, and read again as they were."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from stores import on_postgresql, while_it_waits

from annotriage.store import files
from annotriage.store.schema import file_piece, stored_file


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file of two pieces and a half."""
    monkeypatch.setattr(files, "PIECE", 4)
    file = tmp_path / "model.onnx"
    file.write_bytes(b"0123456789")
    return file


class TestFiles:
    def test_a_file_comes_back_piece_by_piece_as_it_was(self, store, file):
        with store.writing() as connection:
            id = files.store_file(connection, file)
        with store.reading() as connection:
            assert list(files.pieces_of(connection, id)) == [b"0123", b"4567", b"89"]
            assert [files.piece_of(connection, id, number) for number in range(4)] == [b"0123", b"4567", b"89", None]
            assert connection.execute(select(stored_file.c.size)).scalar_one() == 10

    def test_one_content_is_kept_once_whatever_its_file_is_called(self, store, file, tmp_path):
        other = tmp_path / "copy.onnx"
        other.write_bytes(file.read_bytes())
        with store.writing() as connection:
            assert files.store_file(connection, file) == files.store_file(connection, other)
            assert len(connection.execute(file_piece.select()).all()) == 3

    def test_an_empty_file_is_a_file(self, store, tmp_path):
        (tmp_path / "empty").touch()
        with store.writing() as connection:
            id = files.store_file(connection, tmp_path / "empty")
            assert list(files.pieces_of(connection, id)) == []
            assert files.piece_of(connection, id, 0) is None


@on_postgresql
class TestFilesOnPostgreSQL:
    def test_a_file_that_two_processes_keep_at_once_is_kept_once(self, store, file):
        kept = []

        def second():
            with store.writing() as connection:
                kept.append(files.store_file(connection, file))

        first = store.writing()
        kept.append(files.store_file(first.__enter__(), file))
        while_it_waits(store, second, lambda: first.__exit__(None, None, None))
        assert kept[0] == kept[1]
        with store.reading() as connection:
            assert list(files.pieces_of(connection, kept[0])) == [b"0123", b"4567", b"89"]
