"""Settings of a project that people save."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from stores import while_it_waits
from web import Web, sign_in, submit

from annotriage.store.projects import change_project, get_project


@pytest.mark.parametrize("process", ["postgres"], indirect=True)
def test_what_two_save_at_the_same_moment_holds_both(process, connect):
    project, _ = connect("3", sample_share=0.1)
    client = Web(process).client
    assert sign_in(client, process.password).status_code == 303
    first = process.store.writing()
    connection = first.__enter__()
    change_project(connection, project.id, options=asdict(replace(project.options, accept="annotate")))

    def save():
        page = "/projects/3/settings"
        assert submit(client, page, page, sample_share="5").status_code == 200

    while_it_waits(process.store, save, lambda: first.__exit__(None, None, None))
    with process.store.reading() as connection:
        options = get_project(connection, project.id).options
    assert (options.accept, options.sample_share) == ("annotate", 0.05)
