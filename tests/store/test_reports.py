"""Reports of datasets: what goes into them, and that a new one takes the place of the one before."""

from __future__ import annotations

from annotriage.store import reports
from annotriage.store.files import piece_of
from annotriage.store.references import save_reference, write_files
from annotriage.store.reviews import Answer, set_answers


class TestReports:
    def test_a_report_replaces_the_one_before_and_leaves_the_files_of_references(self, store, filled, tmp_path):
        filled.add(1)
        first, second, model = (tmp_path / name for name in ("first.html", "second.html", "model.onnx"))
        for file in (first, second, model):
            file.write_text(file.name)
        with store.writing() as connection:
            facts = {"version": "v3", "name": "pets", "prediction_version": "annotriage pets v3", "facts": {}}
            kept = save_reference(connection, **facts, files={"model.onnx": model})
            assert reports.report_of(connection, 1, "report") is None
            reports.keep_report(connection, 1, "report", first)
            before = reports.report_of(connection, 1, "report")
            assert (piece_of(connection, before.stored_file_id, 0), before.size) == (b"first.html", 10)
            reports.keep_report(connection, 1, "report", second)
            after = reports.report_of(connection, 1, "report")
            assert piece_of(connection, after.stored_file_id, 0) == b"second.html"
            assert piece_of(connection, before.stored_file_id, 0) is None
            assert reports.report_of(connection, 1, "atlas") is None
            write_files(connection, kept, tmp_path / "read")
        assert (tmp_path / "read" / "model.onnx").read_text() == "model.onnx"

    def test_items_come_in_full_with_what_they_have(self, store, filled):
        (id,), (failed,) = filled.judged(1, "outlier"), filled.judged(1, "failed")
        with store.reading() as connection:
            found = reports.items_in_full(connection, filled.references[0], [id, failed, 99])
        assert set(found) == {id, failed}
        assert (found[id].name, found[id].media, found[id].route) == (str(id), f"http://host/{id}.png", "outlier")
        assert (found[id].compressed, found[id].picture, found[id].verdict.labels) == (b"\0\0", b"png", ()), "its class is hidden"

    def test_what_waits_comes_strangest_first(self, store, filled):
        usual, strange, answered = (filled.judged(1, "outlier", trust=trust)[0] for trust in (0.3, 0.1, 0.2))
        filled.judged(1)
        with store.writing() as connection:
            set_answers(connection, {answered: Answer("resolved", ("cat",), at=1.0)})
            assert reports.waiting_in(connection, filled.project, 1, 5) == [strange, usual]
