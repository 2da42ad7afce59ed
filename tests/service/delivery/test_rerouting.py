"""A person sends many items to review, or back: queue, counts and labeling tool follow, spot checks stay, and it can be undone."""

from __future__ import annotations

import databases
import pytest
from sqlalchemy import select, update
from triaged import import_tasks

from annotriage.advice.event_words import event_sentence
from annotriage.errors import StateError, UnknownError
from annotriage.service.delivery import rerouting
from annotriage.service.delivery.field_writing import fields_of
from annotriage.service.delivery.rerouting import (
    ANSWERED,
    CHANGED,
    GONE,
    OUT,
    PAUSED,
    SPOT_CHECK,
    WAITS,
    send_to_review,
    take_back,
    undo_rerouting,
)
from annotriage.service.guarantee.pausing import pause, resume
from annotriage.states import OUT_FROM
from annotriage.store import items, reroutings, schema
from annotriage.store.browsing import item_of_task, items_of
from annotriage.store.datasets import routes_of
from annotriage.store.events import history
from annotriage.store.projects import get_project
from annotriage.store.queue import queue_page
from annotriage.store.schema import counter, delivery, item, spot_check, verdict

pytestmark = databases.both


@pytest.fixture
def project(scene, digits):
    def begin(scene):
        project, tool = scene.connect(sample_share=0.0, audit_share=0.0)
        import_tasks(scene.process, project, tool, [*digits.incoming[0][:60], *digits.strangers[0][:20]])
        scene.worker.settle()
        return project

    return scene((), begin)


def read(process, query):
    with process.store.reading() as connection:
        return connection.execute(query).all()


def with_route(process, route):
    return [row.item_id for row in read(process, select(verdict.c.item_id).where(verdict.c.route == route).order_by(verdict.c.item_id))]


def counted(process, project):
    with process.store.reading() as connection:
        return {line.route: (line.items, line.open) for line in routes_of(connection, project)}


def reasons(process, project, ids):
    """The reasons of items, as programs read them."""
    with process.store.reading() as connection:
        return {row.id: row.verdict.reason for row in items_of(connection, project, ids)}


def everything(process):
    """What a rerouting changes: verdicts and the queue; not what stays behind of it."""
    words = (verdict.c.reason, verdict.c.held_back)
    rounded = read(process, select(verdict.c.item_id, verdict.c.route, verdict.c.trust, verdict.c.shown_trust, *words))
    queue = read(process, select(item.c.id, item.c.route, item.c.trust))
    return sorted((id, route, round(trust, 9), round(shown, 9), *words) for id, route, trust, shown, *words in rounded), sorted(
        (id, route, round(trust, 9)) for id, route, trust in queue
    )


def test_automatic_items_go_to_the_queue_and_the_tool_follows(process, project, worker):
    auto = with_route(process, "auto")[:7]
    before = counted(process, project)
    done = send_to_review(process, project, auto, "Ann")
    assert (done.changed, done.left) == (tuple(auto), {})
    after = counted(process, project)
    assert after["auto"] == (before["auto"][0] - 7, before["auto"][1] - 7)
    assert after["uncertain"] == (before["uncertain"][0] + 7, before["uncertain"][1] + 7)
    with process.store.reading() as connection:
        queued = {row.id: row for row in queue_page(connection, project, limit=100).rows}
        event = history(connection, project.id)[0]
    assert event_sentence(event.kind, event.facts) == "Ann sent 7 items to review"
    assert {*auto} <= {*queued}
    assert queued[auto[0]].verdict.reason.endswith("; sent to review by Ann.")
    assert 1 / 3 < queued[auto[0]].trust < 2 / 3
    worker.settle()
    tool = process.tool_project(project)
    shown = [tool.shown(row.external_id) for row in read(process, select(item.c.external_id).where(item.c.id.in_(auto)))]
    assert [len(ones) for ones in shown] == [1] * 7, "the former prediction is withdrawn"
    assert all(1 / 3 < ones[0].trust < 2 / 3 and ones[0].labels for ones in shown)
    assert {row.state for row in read(process, select(delivery.c.state))} == {"confirmed"}


def test_the_reason_says_who_sent_it_and_what_the_model_said_stays_as_it_was(process, project):
    auto = with_route(process, "auto")[:2]
    before = reasons(process, project, auto)
    kept = read(process, select(verdict.c.reason).order_by(verdict.c.item_id))
    send_to_review(process, project, auto, "Ann")
    wanted = {id: f"{reason.removesuffix('.')}; sent to review by Ann." for id, reason in before.items()}
    assert reasons(process, project, auto) == wanted
    with process.store.reading() as connection:
        assert {id: fields["triage_reason"] for id, fields in fields_of(connection, project, auto).items()} == wanted
    assert read(process, select(verdict.c.reason).order_by(verdict.c.item_id)) == kept
    take_back(process, project, auto, "Bob")
    assert reasons(process, project, auto) == before


def test_what_is_judged_during_a_pause_says_so(process, project, digits, worker):
    with process.store.writing() as connection:
        pause(connection, project)
    import_tasks(process, project, process.tool_project(project), digits.incoming[0][60:90])
    worker.settle()
    query = select(verdict.c.item_id, verdict.c.reason).where(verdict.c.judged == "auto", verdict.c.route == "uncertain")
    held_back = dict(tuple(row) for row in read(process, query))
    wanted = {id: f"{said.removesuffix('.')}; a person decides, because automatic labels are paused." for id, said in held_back.items()}
    assert held_back
    assert reasons(process, project, [*held_back]) == wanted


def test_what_was_sent_comes_back_as_it_was(process, project):
    before = everything(process), counted(process, project)
    auto = with_route(process, "auto")[:5]
    send_to_review(process, project, auto, "Ann")
    others = with_route(process, "auto")[:3]
    send_to_review(process, project, others, "Bob")
    done = take_back(process, project, auto + others, "Cleo")
    assert len(done.changed) == 8
    assert (everything(process), counted(process, project)) == before
    assert read(process, select(item.c.id).where(item.c.sent_by.is_not(None))) == []


def test_both_can_be_undone_once(process, project):
    first = everything(process), counted(process, project)
    sent = send_to_review(process, project, with_route(process, "auto")[:5], "Ann")
    second = everything(process)
    undo_rerouting(process, project, sent.id, "Bob")
    assert (everything(process), counted(process, project)) == first
    with process.store.reading() as connection:
        event = history(connection, project.id)[0]
    assert event_sentence(event.kind, event.facts) == "Bob undid sending 5 items to review"
    with pytest.raises(StateError, match="undone already"):
        undo_rerouting(process, project, sent.id, "Ann")
    send_to_review(process, project, list(sent.changed), "Ann")
    back = take_back(process, project, list(sent.changed), "Ann")
    undo_rerouting(process, project, back.id, "Ann")
    assert everything(process) == second
    with pytest.raises(UnknownError):
        undo_rerouting(process, project, 4711, "Ann")


def test_what_the_model_sends_to_people_can_be_taken_out_of_the_queue_and_becomes_no_automatic_label(process, project, worker):
    outliers, unsure = with_route(process, "outlier"), with_route(process, "uncertain")
    before = everything(process), counted(process, project)
    assert send_to_review(process, project, outliers, "Ann").left == {WAITS: len(outliers)}
    done = take_back(process, project, outliers, "Ann")
    assert (done.changed, done.left) == (tuple(outliers), {})
    assert with_route(process, "outlier") == outliers
    items_before, open_before = before[1]["outlier"]
    assert counted(process, project)["outlier"] == (items_before, open_before - len(outliers))
    with process.store.reading() as connection:
        assert {row.id for row in queue_page(connection, project, limit=100).rows} == {*unsure}
    assert take_back(process, project, outliers, "Ann").left == {OUT: len(outliers)}
    worker.settle()
    tool = process.tool_project(project)
    shown = [tool.shown(row.external_id) for row in read(process, select(item.c.external_id).where(item.c.id.in_(outliers)))]
    assert all(len(ones) == 1 and ones[0].labels is None for ones in shown)
    automatic = [row.trust for row in read(process, select(item.c.trust).where(item.c.route == "auto"))]
    assert min(ones[0].trust for ones in shown) >= OUT_FROM > max(automatic), "behind all that people are asked about or offered"
    undo_rerouting(process, project, done.id, "Ann")
    assert (everything(process), counted(process, project)) == before


def test_outliers_leave_the_queue_while_automatic_labels_are_paused_too(process, project):
    with process.store.writing() as connection:
        pause(connection, project)
    assert take_back(process, project, with_route(process, "outlier")[:3], "Ann").changed


def test_spot_checks_answered_and_deleted_items_are_left_alone(process, project):
    auto = with_route(process, "auto")[:4]
    with process.store.writing() as connection:
        values = {"project_id": project.id, "reference_id": project.reference_id, "kind": "sample", "route": "auto", "state": "open"}
        connection.execute(spot_check.insert().values(item_id=auto[0], drawn_at=0.0, **values))
        connection.execute(update(item).where(item.c.id == auto[1]).values(answer="resolved"))
        items.mark_gone(connection, [auto[2]])
    done = send_to_review(process, project, auto, "Ann")
    assert done.changed == (auto[3],)
    assert done.left == {SPOT_CHECK: 1, ANSWERED: 1, GONE: 1}
    assert auto[0] in with_route(process, "auto")


def test_while_automatic_labels_are_paused_nothing_comes_back(process, project, digits, worker):
    auto = with_route(process, "auto")[:2]
    sent = send_to_review(process, project, auto, "Ann")
    with process.store.writing() as connection:
        pause(connection, project)
    import_tasks(process, project, process.tool_project(project), digits.incoming[0][60:90])
    worker.settle()
    with pytest.raises(StateError, match="paused"):
        take_back(process, project, auto, "Ann")
    with pytest.raises(StateError, match="paused"):
        undo_rerouting(process, project, sent.id, "Ann")
    with process.store.writing() as connection:
        resume(connection, get_project(connection, project.id))
    done = take_back(process, project, with_route(process, "uncertain"), "Ann")
    assert len(done.changed) > 2, "what was judged during the pause, too"
    assert all("paused" not in reason for reason in reasons(process, project, done.changed).values())


def test_a_new_verdict_obeys_the_person_too(process, project, worker):
    auto = with_route(process, "auto")[:1]
    send_to_review(process, project, auto, "Ann")
    with process.store.writing() as connection:
        row = connection.execute(select(item).where(item.c.id == auto[0])).one()
        items.add_work(connection, get_project(connection, project.id), auto)
    worker.settle()
    with process.store.reading() as connection:
        again = item_of_task(connection, project, row.external_id)

    assert (again.route, again.verdict.judged) == ("uncertain", "auto")
    assert again.verdict.reason.endswith("; sent to review by Ann.")


def test_a_watched_project_is_rerouted_without_a_word_to_the_tool(process, connect, worker, digits):
    project, tool = connect("9", watch=True, sample_share=0.0, audit_share=0.0)
    import_tasks(process, project, tool, digits.incoming[0][:30])
    worker.settle()
    assert send_to_review(process, project, with_route(process, "auto"), "Ann").changed
    assert read(process, select(delivery.c.item_id)) == []


def test_items_of_other_projects_are_not_touched(process, project, connect):
    other, _ = connect("2")
    assert send_to_review(process, other, with_route(process, "auto"), "Ann").changed == ()
    assert read(process, select(counter.c.n).where(counter.c.n < 0)) == []


def test_what_was_taken_out_of_the_queue_stays_out_under_a_new_verdict_until_it_shows_something_else(process, project, worker):
    (outlier, *_) = with_route(process, "outlier")
    take_back(process, project, [outlier], "Ann")
    with process.store.writing() as connection:
        items.add_work(connection, get_project(connection, project.id), [outlier])
    worker.settle()
    (row,) = read(process, select(item.c.external_id, item.c.dismissed, item.c.trust, item.c.media).where(item.c.id == outlier))
    assert row.dismissed
    assert row.trust >= OUT_FROM
    (shown,) = process.tool_project(project).shown(row.external_id)
    assert shown.labels is None
    with process.store.writing() as connection:
        items.change_media(connection, project, outlier, row.media + " ")
    worker.settle()
    (again,) = read(process, select(item.c.dismissed, item.c.trust).where(item.c.id == outlier))
    assert not again.dismissed
    assert again.trust < 1 / 3
    (shown,) = process.tool_project(project).shown(row.external_id)
    assert shown.labels is None
    assert read(process, select(counter.c.n).where(counter.c.open > counter.c.n)) == []


def test_a_pause_that_comes_in_the_middle_holds_for_the_items_after_it(process, project, monkeypatch):
    auto = with_route(process, "auto")[:4]
    send_to_review(process, project, auto, "Ann")
    monkeypatch.setattr(rerouting, "chunks", lambda ids: iter([ids[:2], ids[2:]]))
    hold, held = reroutings.hold, []

    def pause_before_the_second(connection, id, ids):
        held.append(id)
        if len(held) == 2:
            pause(connection, get_project(connection, id), "scanner B")
        return hold(connection, id, ids)

    monkeypatch.setattr(reroutings, "hold", pause_before_the_second)
    done = take_back(process, project, auto, "Ann")
    assert (done.changed, done.left) == (tuple(auto[:2]), {PAUSED: 2})


def test_what_was_changed_again_since_is_not_undone(process, project, monkeypatch):
    """Somebody else sends an item to review between the reading of what is to be undone and the undoing."""
    auto = with_route(process, "auto")[:2]
    first = send_to_review(process, project, auto, "Ann")
    items_of = reroutings.items_of

    def changed_meanwhile(connection, id):
        found = items_of(connection, id)
        monkeypatch.setattr(reroutings, "items_of", items_of)
        take_back(process, project, auto[:1], "Bob")
        send_to_review(process, project, auto[:1], "Bob")
        return found

    monkeypatch.setattr(reroutings, "items_of", changed_meanwhile)
    done = undo_rerouting(process, project, first.id, "Ann")
    assert (done.changed, done.left) == ((auto[1],), {CHANGED: 1})


def test_a_rerouting_that_breaks_off_can_be_undone(process, project, monkeypatch):
    auto = with_route(process, "auto")[:4]
    monkeypatch.setattr(rerouting, "chunks", lambda ids: iter([ids[:2], ids[2:]]))
    hold, asked = reroutings.hold, []

    def killed(*args):
        asked.append(args)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return hold(*args)

    monkeypatch.setattr(reroutings, "hold", killed)
    with pytest.raises(KeyboardInterrupt):
        send_to_review(process, project, auto, "Ann")
    monkeypatch.setattr(reroutings, "hold", hold)
    (row,) = read(process, select(schema.rerouting))
    assert row.n == 2
    assert undo_rerouting(process, project, row.id, "Ann").changed == tuple(auto[:2])
