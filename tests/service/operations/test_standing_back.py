"""What a replica does alone with the model is done all the same where the model does not run on the oldest one."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from annotriage.errors import ModelError
from annotriage.model.spec import ModelSpec
from annotriage.service.operations.jobs import job_loops
from annotriage.service.operations.process import Process
from annotriage.service.operations.standing_back import AGAIN_SECONDS, DoneByTheFit
from annotriage.service.quality.near_duplicates import NearDuplicates
from annotriage.store.schema import heartbeat, item, twin

FIRST = 6  # digits


@pytest.fixture
def another(process):
    """A process of another replica on the same database, which is younger."""
    other = Process(process.settings, process.role)
    other.server = process.server
    process.beat()
    other.beat()
    yield other
    other.leave()


@pytest.fixture
def project(connect):
    return connect(sample_share=0.0, audit_share=0.0)[0]


@pytest.fixture
def come(process, project, worker, digits, picture):
    """Digits come in and are judged; which task shows which."""
    tool = process.tool_project(project)

    def come(count=FIRST):
        tasks = [tool.add(picture(image)).id for image in digits.incoming[0][:count]]
        worker.settle()
        return tasks

    return come


def model_file(process, project):
    """The model as this replica has it."""
    reference = process.reference(project.reference_id)
    spec = ModelSpec.load(reference.spec_path)
    return Path(spec.path).parent / spec.file


def repeated(process):
    with process.store.reading() as connection:
        names = dict(connection.execute(select(item.c.id, item.c.external_id)).all())
        rows = connection.execute(select(twin.c.item_id, twin.c.twin_id)).all()
    return {names[row.item_id]: names[row.twin_id] for row in rows}


def near_duplicates(process):
    return next(loop for loop in job_loops(process) if loop.name == "near duplicates")


def test_near_duplicates_are_found_by_the_next_where_the_model_does_not_run_on_the_oldest(process, another, project, come, caplog):
    originals, copies = come(), come()
    model_file(process, project).write_bytes(b"no model")
    loops = [near_duplicates(process), near_duplicates(another)]
    for _ in range(2):
        for loop in loops:
            loop.round()
    assert repeated(process) == dict(zip(copies, originals, strict=True))
    assert "near duplicates left to other replicas" in caplog.text


def test_the_oldest_alone_looks_where_the_model_runs_on_it(process, another, project, come):
    come()
    model_file(another, project).write_bytes(b"no model")
    for loop in (near_duplicates(another), near_duplicates(process)):
        loop.round()
    with process.store.reading() as connection:
        assert sorted(connection.execute(select(heartbeat.c.owner)).scalars()) == sorted([process.owner, another.owner])
    copies = come()
    near_duplicates(process).round()
    assert set(repeated(process)) == set(copies)


def test_who_stood_back_tries_again_and_knows_what_others_compared_meanwhile(process, another, project, come):
    """The other one has left by then."""
    now = [0.0]
    first = DoneByTheFit(process, "near duplicates", lambda: NearDuplicates(process).step, lambda: now[0])
    second = DoneByTheFit(another, "near duplicates", lambda: NearDuplicates(another).step, lambda: now[0])
    file = model_file(process, project)
    sound = file.read_bytes()
    come(2)
    assert first.step(project)
    file.write_bytes(b"no model")
    first = DoneByTheFit(process, "near duplicates", lambda: NearDuplicates(process).step, lambda: now[0])
    originals = come()
    assert not first.step(project)
    assert second.step(project)
    assert not first.step(project)
    another.leave()
    file.write_bytes(sound)
    copies = come()
    now[0] = AGAIN_SECONDS
    assert first.step(project)
    assert [repeated(process)[copy] for copy in copies[2:]] == originals[2:]


def test_who_is_alone_says_what_is_wrong(process, project, come):
    process.beat()
    come()
    model_file(process, project).write_bytes(b"no model")
    with pytest.raises(ModelError):
        DoneByTheFit(process, "near duplicates", lambda: NearDuplicates(process).step).step(project)


def test_where_no_replica_can_do_it_the_last_one_says_what_is_wrong(process, another, project, come):
    come()
    first = DoneByTheFit(process, "near duplicates", lambda: NearDuplicates(process).step)
    second = DoneByTheFit(another, "near duplicates", lambda: NearDuplicates(another).step)
    for one in (process, another):
        model_file(one, project).write_bytes(b"no model")
    assert not first.step(project)
    with pytest.raises(ModelError):
        second.step(project)
