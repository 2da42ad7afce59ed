"""References: kept once, with their files, and what pages ask of them."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select
from stores import FACTS, on_postgresql, while_it_waits

from annotriage.errors import StateError, UnknownError
from annotriage.store import references
from annotriage.store.schema import reference, reference_edge

CURVE = {"coverage": [0.1, 0.9], "risk": [0.0, 0.01], "bound": [0.02, 0.03]}


def save(connection, version="v1", prediction_version="annotriage pets v1", files=None, **values):
    kept = {"version": version, "name": "pets", "prediction_version": prediction_version, "facts": FACTS, "files": files or {}}
    return references.save_reference(connection, **kept, **values)


class TestReferences:
    def test_a_reference_comes_back_with_what_was_fitted(self, store):
        with store.writing() as connection:
            id = save(connection, curve=CURVE, edges={"cat": {"energy": (1.0, 2.5)}, "dog": {"energy": (0.5, 2.0)}})
            other = save(connection, "v2", "annotriage pets v2")
        with store.reading() as connection:
            found = references.get_reference(connection, id)
            assert (found.id, found.version, found.name, found.prediction_version) == (id, "v1", "pets", "annotriage pets v1")
            assert found.facts == FACTS
            assert references.get_curve(connection, id) == CURVE
            assert references.get_curve(connection, other) == {}

    def test_an_item_is_held_against_the_normal_range_of_its_own_cluster(self, store, filled):
        (dog,), (cat,) = filled.judged(1, labels=("dog",)), filled.judged(1, labels=("cat",))
        with store.writing() as connection:
            edge = {"reference_id": filled.project.reference_id, "cluster": "cat", "members": {"energy": (1.0, 2.5)}}
            connection.execute(reference_edge.insert().values(**edge))
            assert references.edges_of(connection, filled.project.reference_id, cat) == {"energy": (1.0, 2.5)}
            assert references.edges_of(connection, filled.project.reference_id, dog) == {}

    def test_its_files_are_written_where_they_belong(self, store, tmp_path):
        (tmp_path / "a.bin").write_bytes(b"x" * 100)
        (tmp_path / "b.bin").write_bytes(b"")
        with store.writing() as connection:
            id = save(connection, files={"model/a.bin": tmp_path / "a.bin", "b.bin": tmp_path / "b.bin", "c.bin": tmp_path / "a.bin"})
        with store.reading() as connection:
            references.write_files(connection, id, tmp_path / "out")
        written = {file.relative_to(tmp_path / "out").as_posix(): file.read_bytes() for file in (tmp_path / "out").rglob("*.bin")}
        assert written == {"model/a.bin": b"x" * 100, "b.bin": b"", "c.bin": b"x" * 100}

    @pytest.mark.parametrize("path", ["../a.bin", "model/../../a.bin", "/tmp/a.bin"])
    def test_no_file_is_written_elsewhere(self, store, tmp_path, path):
        (tmp_path / "a.bin").write_bytes(b"x")
        with store.writing() as connection:
            id = save(connection, files={path: tmp_path / "a.bin"})
        with store.reading() as connection, pytest.raises(StateError, match="leads out of its folder"):
            references.write_files(connection, id, tmp_path / "out")

    def test_one_that_is_kept_already_stays_as_it_is(self, store):
        with store.writing() as connection:
            id = save(connection, curve=CURVE)
            assert save(connection, curve=None) == id
            assert references.get_curve(connection, id) == CURVE

    def test_one_from_which_an_item_was_erased_stays_without_it_when_it_is_connected_again(self, store):
        with store.writing() as connection:
            id = save(connection)
            references.rewrite_reference(connection, id, version="w7", facts=FACTS, files={})
            assert save(connection) == id
            assert references.version_of(connection, id) == "w7"

    def test_two_references_whose_predictions_have_one_name_are_refused(self, store):
        with store.writing() as connection:
            save(connection)
            with pytest.raises(StateError, match="predictions of another reference are called 'annotriage pets v1' already"):
                save(connection, "v2")

    def test_one_that_is_not_there_is_told(self, store):
        with store.reading() as connection, pytest.raises(UnknownError, match="reference 7 is not in the database any more"):
            references.get_reference(connection, 7)


@on_postgresql
class TestReferencesOnPostgreSQL:
    def test_one_that_two_processes_keep_at_once_is_kept_once(self, store):
        kept = []

        def second():
            with store.writing() as connection:
                kept.append(save(connection, curve=CURVE))

        first = store.writing()
        kept.append(save(first.__enter__(), curve=CURVE))
        while_it_waits(store, second, lambda: first.__exit__(None, None, None))
        assert kept[0] == kept[1]
        with store.reading() as connection:
            assert connection.execute(select(func.count()).select_from(reference)).scalar_one() == 1
