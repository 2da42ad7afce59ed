"""References are kept once, whoever keeps them at the same moment."""

from __future__ import annotations

import pytest
from stores import FACTS, OnPostgreSQL, OnSQLite, while_it_waits

from annotriage.errors import StateError
from annotriage.store import references
from annotriage.store.files import store_file


def save(connection, files, version="v3", name="annotriage pets v3"):
    return references.save_reference(connection, version=version, name="pets", prediction_version=name, facts=FACTS, files=files)


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "model.onnx"
    file.write_bytes(b"model")
    return file


class ReferencesContract:
    def test_a_reference_is_kept_once_and_its_files_once_for_all(self, store, file):
        with store.writing() as connection:
            first = save(connection, {"model.onnx": file})
            assert save(connection, {"model.onnx": file}) == first
            other = save(connection, {"model.onnx": file}, "v4", "annotriage pets v4")
            assert other != first
            assert store_file(connection, file) == 1

    def test_two_references_whose_predictions_would_be_called_alike_are_refused(self, store):
        with store.writing() as connection:
            save(connection, {})
        with pytest.raises(StateError, match="fit this one under another name"), store.writing() as connection:
            save(connection, {}, "v4")


class TestOnSQLite(OnSQLite, ReferencesContract):
    pass


class TestOnPostgreSQL(OnPostgreSQL, ReferencesContract):
    @pytest.mark.parametrize("version", ["v3", "v4"])
    def test_two_people_who_connect_with_the_same_model_at_once_keep_it_once(self, store, file, version):
        kept = []

        def second():
            with store.writing() as connection:
                kept.append(save(connection, {"model.onnx": file}, version, f"annotriage pets {version}"))

        first = store.writing()
        kept.append(save(first.__enter__(), {"model.onnx": file}))
        while_it_waits(store, second, lambda: first.__exit__(None, None, None))
        assert len({*kept}) == (1 if version == "v3" else 2)
