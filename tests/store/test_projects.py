"""Projects: what is connected, what stops it, and what happened to it."""

from __future__ import annotations

import pytest
from stores import on_postgresql, while_it_waits

from annotriage.errors import StateError, UnknownError
from annotriage.service.guarantee.pausing import pause
from annotriage.states import Alarm, EventKind, Pause
from annotriage.store import jobs, projects, snapshots
from annotriage.store.datasets import dataset_of_all
from annotriage.store.events import history, note
from annotriage.store.projects import ProjectOptions
from annotriage.store.schema import item

ALARM = Alarm(9, 20, 0.2, 0.7, 0.02, 5.0)


class TestProjects:
    def test_a_project_is_found_by_its_id_in_the_labeling_tool_with_its_options(self, store, filled):
        with store.reading() as connection:
            found = projects.project_of(connection, "3")
            assert found == filled.project
            assert found.options == ProjectOptions(("scanner",), accept="annotate")
            assert (found.classes, found.calibrated, found.version) == (("cat", "dog"), True, "annotriage pets v1")
            assert (found.paused, found.pause, found.alarm) == (False, None, None)
            assert projects.find_project(connection, "4") is None
            with pytest.raises(UnknownError, match="project 4 is not connected; annotriage connect"):
                projects.project_of(connection, "4")

    def test_new_items_are_judged_under_the_next_reference_too(self, store, filled):
        assert filled.present().references == (filled.references[0],)
        with store.writing() as connection:
            projects.change_project(connection, filled.project.id, next_reference_id=filled.references[1])
        assert filled.present().references == tuple(filled.references)

    def test_the_first_pause_stands_until_somebody_resumes(self, store, filled):
        id = filled.project.id
        with store.writing() as connection:
            assert not projects.resume_project(connection, id)
            assert projects.pause_project(connection, id, Pause("scanner B", 1.0))
            assert not projects.pause_project(connection, id, Pause("holiday", 2.0))
        assert filled.present().pause == Pause("scanner B", 1.0)
        with store.writing() as connection:
            assert projects.resume_project(connection, id)
        assert not filled.present().paused

    def test_the_alarm_outlives_a_resume_and_a_pause_outlives_the_alarm(self, store, filled):
        id = filled.project.id
        with store.writing() as connection:
            projects.pause_project(connection, id, Pause("", 1.0))
            assert projects.raise_alarm(connection, id, ALARM)
            assert not projects.raise_alarm(connection, id, ALARM)
            assert not projects.resume_project(connection, id)
        assert (filled.present().alarm, filled.present().pause) == (ALARM, Pause("", 1.0))
        with store.writing() as connection:
            projects.clear_alarm(connection, id)
        assert (filled.present().alarm, filled.present().pause) == (None, Pause("", 1.0))

    def test_a_project_is_connected_once(self, store, filled):
        with pytest.raises(StateError, match="project 3: somebody else has just connected it"), store.writing() as connection:
            projects.add_project(connection, "3", "Pets", filled.references[0], ProjectOptions(), watch=False)

    def test_the_mark_changes_with_whatever_pages_show(self, store, filled):
        filled.judged(1)
        id, marks, found = filled.project.id, [], {"n": 1, "outliers": 0, "failed": 0, "low": 0.0, "high": 1.0, "facts": {}}
        with store.reading() as connection:
            every = dataset_of_all(connection, filled.project).id

        def mark():
            with store.reading() as connection:
                marks.append(projects.mark_of(connection, [projects.get_project(connection, id)]))

        mark()
        mark()
        assert marks[0] == marks[1]
        for change in (
            lambda connection: projects.change_project(connection, id, paused_at=1.0),
            lambda connection: note(connection, id, EventKind.PAUSED, reason="x"),
            lambda connection: snapshots.save(connection, every, filled.references[0], **found),
            lambda connection: jobs.queue(connection, id, "recalibrate"),
            lambda connection: jobs.take(connection, "me", ["recalibrate"]),
            lambda connection: jobs.begin_step(connection, jobs.jobs_of(connection, id)[0].id, "me", "training", 1_000),
            lambda connection: jobs.advance(connection, jobs.jobs_of(connection, id)[0].id, "me", 10),
        ):
            with store.writing() as connection:
                change(connection)
            mark()
        assert len(set(marks)) == 8
        with store.writing() as connection:
            jobs.advance(connection, jobs.jobs_of(connection, id)[0].id, "me", 19)
        mark()
        assert len(set(marks)) == 8, "less than a hundredth of a step is not worth reading every page again"

    def test_the_standing_is_that_under_the_present_reference(self, store, filled):
        with store.writing() as connection:
            assert projects.standing_of(connection, filled.project) is None
            projects.keep_standing(connection, filled.project, {"answers": 3})
            assert projects.standing_of(connection, filled.project)["answers"] == 3
            projects.change_project(connection, filled.project.id, reference_id=filled.references[1])
            assert projects.standing_of(connection, projects.get_project(connection, filled.project.id)) is None

    def test_a_project_is_forgotten_in_pieces_and_then_whole(self, store, filled):
        filled.judged(5)
        with store.writing() as connection:
            assert projects.forget_items(connection, filled.project.id, 3) == 3
            projects.remove_project(connection, filled.project.id)
            assert projects.projects(connection, gone=True) == []
            assert connection.execute(item.select()).all() == []


@on_postgresql
class TestProjectsOnPostgreSQL:
    def test_two_people_who_pause_at_once_pause_once(self, store, filled):
        said = []

        def second():
            with store.writing() as connection:
                said.append(pause(connection, filled.project, "me too"))

        first = store.writing()
        pause(first.__enter__(), filled.project, "scanner B")
        while_it_waits(store, second, lambda: first.__exit__(None, None, None))
        assert "were paused already (paused by a person: scanner B)" in said[0]
        with store.reading() as connection:
            assert [event.kind for event in history(connection, filled.project.id)] == ["paused"]

    def test_of_two_references_that_would_take_over_at_once_the_second_sees_the_first(self, store, filled):
        seen = []

        def second():
            with store.writing() as connection:
                seen.append(projects.hold_project(connection, filled.project.id).next_reference_id)

        first = store.writing()
        connection = first.__enter__()
        projects.hold_project(connection, filled.project.id)
        projects.change_project(connection, filled.project.id, next_reference_id=filled.references[1])
        while_it_waits(store, second, lambda: first.__exit__(None, None, None))
        assert seen == [filled.references[1]]
