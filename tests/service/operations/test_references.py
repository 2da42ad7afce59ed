"""References that a process has open: each read once, none in the way of another, and let go of when no project uses it."""

from __future__ import annotations

import threading

from waiting import PATIENCE

from annotriage.service.operations import references
from annotriage.store.projects import change_project, get_project


def test_reading_one_reference_holds_up_nobody_who_wants_another(process, connect, digits_reference, other_reference, monkeypatch):
    first, _ = connect("1", digits_reference)
    second, _ = connect("2", other_reference)
    real, begun, go_on, opened = references.open_reference, threading.Event(), threading.Event(), []

    def slow(store, id, folder):
        opened.append(id)
        if id == first.reference_id:
            begun.set()
            assert go_on.wait(PATIENCE)
        return real(store, id, folder)

    monkeypatch.setattr(references, "open_reference", slow)
    found = []
    threads = [threading.Thread(target=lambda: found.append(process.reference(first.reference_id))) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert begun.wait(PATIENCE)
    assert process.reference(second.reference_id).version == other_reference.version
    assert process.tool_project(second).id == "2"
    go_on.set()
    for thread in threads:
        thread.join()
    assert found[0] is found[1]
    assert sorted(opened) == sorted([first.reference_id, second.reference_id])


def test_references_that_no_project_uses_any_more_go_with_their_files(process, connect, digits_reference, other_reference):
    project, _ = connect("1", digits_reference)
    old = process.reference(project.reference_id)
    other, _ = connect("2", other_reference)
    with process.store.writing() as connection:
        change_project(connection, project.id, reference_id=other.reference_id)
        assert get_project(connection, project.id).reference_id == other.reference_id
    process.reference(other.reference_id)
    assert not old.spec_path.exists()
    assert process.reference(other.reference_id).spec_path.exists()
