"""Maps: fitted on what is there, items that come in placed at once, a new fit over the old one."""

from __future__ import annotations

import dataclasses
import gzip
import time
from array import array
from collections import Counter
from multiprocessing import resource_tracker, spawn

import databases
import numpy as np
import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError
from triaged import import_tasks, judge

from annotriage.errors import StateError, StoreError
from annotriage.latent import maps as latent_maps
from annotriage.latent.maps import fit_map, laid_over, place
from annotriage.service.delivery.rerouting import send_to_review
from annotriage.service.maps import map_making, map_placing
from annotriage.service.maps.likeness import Likeness
from annotriage.service.maps.map_making import MapMaking
from annotriage.service.maps.map_placing import Placing
from annotriage.service.maps.training_items import keep_training
from annotriage.service.operations.apart import apart
from annotriage.service.operations.connecting import disconnect
from annotriage.service.readings.snapshots import snapshot
from annotriage.states import UNSETTLED
from annotriage.store import erasing, maps, snapshots
from annotriage.store.map_points import KINDS, Piece, axes_code, pack, unpack
from annotriage.store.schema import dataset, item, point, spot_check, verdict


def newest(process, project, method="umap"):
    with process.store.reading() as connection:
        return maps.newest(connection, project.id, method)


def drawn(process, map_id):
    """The items on a map: row id -> (x, y, route)."""
    found = {}
    with process.store.reading() as connection:
        for facts in maps.pieces(connection, map_id)[1:]:
            piece = maps.read_piece(connection, map_id, facts.number)
            assert list(piece.ids) == sorted(piece.ids)
            found |= {id: (piece.x[k], piece.y[k], KINDS[piece.route[k]]) for k, id in enumerate(piece.ids)}
    return found


def routes(process):
    with process.store.reading() as connection:
        blind = set(connection.execute(select(spot_check.c.item_id).where(spot_check.c.state.in_(UNSETTLED))).scalars())
        judged = connection.execute(select(verdict.c.item_id, verdict.c.route))
        return {row.item_id: "spot check" if row.item_id in blind else row.route for row in judged}


def draw(connection, project, item_id):
    """An automatic item becomes a spot check."""
    check = {"reference_id": project.reference_id, "kind": "audit", "route": "auto", "state": "open", "drawn_at": time.time()}
    connection.execute(spot_check.insert().values(item_id=item_id, project_id=project.id, **check))


@pytest.fixture
def project(scene, digits):
    def begin(scene):
        project, tool = scene.connect(sample_share=0.0, audit_share=0.0)
        import_tasks(scene.process, project, tool, [*digits.incoming[0][:120], *digits.strangers[0][:40]])
        judge(scene.process)
        return project

    return scene((), begin)


def test_training_items_are_kept_from_where_somebody_was_killed_and_never_of_a_version_that_is_gone(process, project, digits_reference):
    store, id, sample = process.store, project.reference_id, digits_reference.sample

    def kept():
        with store.reading() as connection:
            return maps.training_items_kept(connection, id)

    keep_training(store, id, dataclasses.replace(digits_reference, version="before an item was erased"))
    assert kept() == 0
    with store.writing() as connection:
        maps.keep_training_items(connection, id, [(place, "", "", b"") for place in range(3)])
    keep_training(store, id, digits_reference)
    assert kept() == len(sample.ids)
    with store.reading() as connection:
        assert [row.name for row in maps.training_items(connection, id, [2, 3])] == ["", sample.ids[3]]


def test_a_search_whose_process_dies_at_once_is_an_error_however_large_the_picture(process, project):
    resource_tracker.ensure_running()
    usual = spawn.get_executable()
    spawn.set_executable("/bin/false")
    try:
        with pytest.raises(StateError, match="ended without a result"):
            Likeness(process).like_picture(project, b"x" * 2**20)
    finally:
        spawn.set_executable(usual)


def test_a_search_beside_a_database_in_trouble_says_so_in_its_own_words(process, project):
    with process.store.writing() as connection:
        id = connection.execute(select(point.c.item_id).limit(1)).scalar_one()
        connection.exec_driver_sql("ALTER TABLE point RENAME TO elsewhere")
    with pytest.raises(StoreError) as told:
        Likeness(process).like_item(project, id)
    assert str(told.value) == "no such table: point"


@databases.both
def test_training_and_incoming_items_are_laid_out_together(process, project, digits_reference):
    assert MapMaking(process).step(project)
    made = newest(process, project)
    assert (made.state, made.training, made.fitted, made.total) == ("ready", len(digits_reference.sample.ids), 160, 160)
    assert {id: route for id, (_, _, route) in drawn(process, made.id).items()} == routes(process)
    with process.store.reading() as connection:
        training = maps.read_piece(connection, made.id, maps.TRAINING)
        kept = maps.training_items(connection, project.reference_id, [0, 5])
        picture = maps.training_thumbnail(connection, project.reference_id, 5)
    assert len(training) == made.training
    assert [row.name for row in kept] == [digits_reference.sample.ids[0], digits_reference.sample.ids[5]]
    assert picture == digits_reference.sample.thumbnail(5)


def test_the_nearest_training_items_are_kept(process, project, digits_reference):
    MapMaking(process).step(project)
    with process.store.reading() as connection:
        id, compressed = connection.execute(select(point.c.item_id, point.c.compressed).limit(1)).one()
        found = [row.place for row in maps.nearest_of(connection, id, project.reference_id)]
    sample = digits_reference.sample.compressed.astype(np.float32)
    away = np.square(sample - np.frombuffer(compressed, np.float16).astype(np.float32)).sum(axis=1)
    assert found == np.argsort(away, kind="stable")[:5].tolist()


def test_each_method_has_its_map_and_nothing_is_made_twice(process, project):
    making = MapMaking(process)
    assert [making.step(project) for _ in range(3)] == [True, True, False]
    assert {newest(process, project, method).method for method in maps.METHODS} == {"umap", "tsne"}


def test_a_map_in_space_is_made_for_who_asks_and_what_comes_in_is_placed_on_it(process, project, digits):
    making, placing = MapMaking(process), Placing(process)
    while making.step(project):
        pass
    assert newest(process, project, "umap-3d") is None
    with process.store.writing() as connection:
        maps.ask_for(connection, project, "umap-3d")
    assert making.step(project)
    made = newest(process, project, "umap-3d")
    with process.store.reading() as connection:
        training, items = (maps.read_piece(connection, made.id, number) for number in (maps.TRAINING, 1))
    assert (len(training), len(items), len(made.frame)) == (made.training, 160, 4)
    assert [KINDS[route] for route in items.route] == [routes(process)[id] for id in items.ids]
    places = np.column_stack([*training.places])
    assert places.shape == (made.training, 3)
    assert all(np.ptp(places, axis=0) > 10_000), "it fills its cube in every direction"
    assert not making.step(project), "nobody has asked again"
    import_tasks(process, project, process.tool_project(project), [digits.incoming[0][7]])
    judge(process)
    assert placing.step(project)
    with process.store.reading() as connection:
        piece = maps.read_piece(connection, made.id, 1)
    assert len(piece) == 161
    assert [axis[160] for axis in piece.places] == pytest.approx([axis[7] for axis in piece.places], abs=20)


def test_what_comes_in_is_placed_at_once_among_its_like(process, project, connect, digits):
    MapMaking(process).step(project)
    placing = Placing(process)
    assert not placing.step(project)
    before = drawn(process, newest(process, project).id)
    tool = process.tool_project(project)
    twin = import_tasks(process, project, tool, [digits.incoming[0][7]])[0]
    judge(process)
    assert placing.step(project)
    assert not placing.step(project)
    after = drawn(process, newest(process, project).id)
    with process.store.reading() as connection:
        ids = {row.external_id: row.id for row in connection.execute(select(item.c.id, item.c.external_id))}
    assert after.items() >= before.items(), "what was there has not moved"
    assert after[ids[twin.id]] == pytest.approx(before[ids["8"]], abs=20)


def test_an_item_that_is_erased_as_it_is_placed_is_on_no_map(process, project, digits, monkeypatch):
    MapMaking(process).step(project)
    lost, other = import_tasks(process, project, process.tool_project(project), digits.incoming[0][120:122])
    judge(process)
    nearest = map_placing.keep_nearest

    def erase_meanwhile(*given):
        nearest(*given)
        with process.store.writing() as connection:
            if found := erasing.doomed(connection, project, [lost.id]):
                erasing.erase(connection, project, list(found.values()))

    monkeypatch.setattr(map_placing, "keep_nearest", erase_meanwhile)
    Placing(process).step(project)
    with process.store.reading() as connection:
        ids = {row.external_id: row.id for row in connection.execute(select(item.c.id, item.c.external_id))}
    assert (lost.id in ids, other.id in ids) == (False, True)
    assert set(drawn(process, newest(process, project).id)) == set(ids.values())


def test_what_becomes_a_spot_check_loses_its_class_on_the_map_until_it_is_answered(process, project):
    MapMaking(process).step(project)
    made, placing = newest(process, project), Placing(process)
    with process.store.reading() as connection:
        automatic = select(verdict.c.item_id).where(verdict.c.route == "auto").order_by(verdict.c.item_id).limit(1)
        id = connection.execute(automatic).scalar_one()

    def coded():
        with process.store.reading() as connection:
            piece = maps.read_piece(connection, made.id, 1)
        at = piece.find(id)
        return piece.label[at], piece.score[at]

    before = coded()
    with process.store.writing() as connection:
        draw(connection, project, id)
    placing.step(project)
    assert before[0] > 0
    assert coded() == (0, 0)
    with process.store.writing() as connection:
        connection.execute(update(spot_check).values(state="right", answered_at=time.time()))
    placing.step(project)
    assert coded() == before


def test_a_spot_check_that_was_settled_before_the_map_and_is_open_again_says_nothing_on_it(process, project, monkeypatch):
    monkeypatch.setattr(map_making, "lay_out", lambda points, *_: points[:, :2])
    id = min(id for id, route in routes(process).items() if route == "auto")
    with process.store.writing() as connection:
        draw(connection, project, id)
        long_ago = time.time() - 10 * maps.OVERLAP
        connection.execute(update(spot_check).values(state="right", drawn_at=long_ago, answered_at=long_ago))
    MapMaking(process).step(project)
    made, placing = newest(process, project), Placing(process)
    placing.step(project)
    assert drawn(process, made.id)[id][2] == "auto"
    with process.store.writing() as connection:
        connection.execute(update(spot_check).values(state="open", answered_at=None))  # the answer was taken back
    placing.step(project)
    with process.store.reading() as connection:
        piece = maps.read_piece(connection, made.id, 1)
    at = piece.find(id)
    assert (KINDS[piece.route[at]], piece.label[at], piece.score[at], piece.axes[at]) == ("spot check", 0, 0, 0)


def test_what_becomes_a_spot_check_between_two_maps_that_are_placed_together_is_hidden_on_both(process, project, digits, monkeypatch):
    monkeypatch.setattr(map_making, "lay_out", lambda points, *_: points[:, :2])
    making, placing = MapMaking(process), Placing(process)
    for method in maps.METHODS:
        making._make(project, method)
    before = set(routes(process))
    import_tasks(process, project, process.tool_project(project), digits.incoming[0][120:130])
    judge(process)
    id = min(id for id, route in routes(process).items() if route == "auto" and id not in before)
    nearest, times = map_placing.keep_nearest, []

    def draw_meanwhile(*given):
        nearest(*given)
        if not times:
            with process.store.writing() as connection:
                draw(connection, project, id)
        times.append(given)

    monkeypatch.setattr(map_placing, "keep_nearest", draw_meanwhile)
    placing.step(project)
    placing.step(project)
    for method in maps.METHODS:
        with process.store.reading() as connection:
            piece = maps.read_piece(connection, newest(process, project, method).id, 1)
        at = piece.find(id)
        assert (KINDS[piece.route[at]], piece.label[at], piece.score[at], piece.axes[at]) == ("spot check", 0, 0, 0), method


def test_what_becomes_a_spot_check_while_nothing_can_be_drawn_is_hidden_as_soon_as_it_can(process, project, monkeypatch):
    MapMaking(process).step(project)
    made, placing = newest(process, project), Placing(process)
    id = min(id for id, route in routes(process).items() if route == "auto")
    with process.store.writing() as connection:
        draw(connection, project, id)

    def away(*_):
        raise OperationalError("", {}, Exception("the database is away"))

    with monkeypatch.context() as patched:
        patched.setattr(maps, "piece_to_change", away)
        with pytest.raises(OperationalError):
            placing.step(project)
    placing.step(project)
    assert drawn(process, made.id)[id][2] == "spot check"


def test_an_older_map_says_nothing_of_what_became_a_spot_check_since(process, project, monkeypatch):
    monkeypatch.setattr(map_making, "lay_out", lambda points, *_: points[:, :2])
    making = MapMaking(process)
    for _ in range(2):
        making._make(project, "umap")
    with process.store.writing() as connection:
        older = maps.ready_maps(connection, project.id, "umap")[-1].id
        id = connection.execute(select(verdict.c.item_id).where(verdict.c.route == "auto").limit(1)).scalar_one()
        draw(connection, project, id)
        assert older != newest(process, project).id
        piece = unpack(maps.piece_in_sight(connection, project, older, 1))
    at = piece.find(id)
    assert (KINDS[piece.route[at]], piece.label[at], piece.score[at], piece.axes[at]) == ("spot check", 0, 0, 0)


def test_the_map_of_a_former_reference_says_nothing_of_what_became_a_spot_check_since(process, project, monkeypatch):
    """Nobody draws on it any more, and the map of the new reference may be hours away."""
    monkeypatch.setattr(map_making, "lay_out", lambda points, *_: points[:, :2])
    MapMaking(process).step(project)
    made = newest(process, project)
    with process.store.writing() as connection:
        id = connection.execute(select(verdict.c.item_id).where(verdict.c.route == "auto").limit(1)).scalar_one()
        draw(connection, project, id)
    refitted = dataclasses.replace(project, reference_id=project.reference_id + 1)
    Placing(process).step(refitted)
    with process.store.reading() as connection:
        piece = unpack(maps.piece_in_sight(connection, refitted, made.id, 1))
    at = piece.find(id)
    assert (KINDS[piece.route[at]], piece.label[at], piece.score[at], piece.axes[at]) == ("spot check", 0, 0, 0)


def test_a_picture_that_changed_is_placed_anew(process, project, digits):
    MapMaking(process).step(project)
    made = newest(process, project)
    placing = Placing(process)
    import_tasks(process, project, process.tool_project(project), [digits.incoming[0][130]])
    judge(process)
    placing.step(project)
    before = drawn(process, made.id)
    with process.store.writing() as connection:
        first, other = connection.execute(select(point.c.item_id, point.c.compressed).order_by(point.c.item_id).limit(2)).all()
        connection.execute(update(point).where(point.c.item_id == first.item_id).values(compressed=other.compressed))
        connection.execute(update(verdict).where(verdict.c.item_id == first.item_id).values(at=time.time() + 1))
    placing.step(project)
    after = drawn(process, made.id)
    assert after[first.item_id][:2] == pytest.approx(before[other.item_id][:2], abs=2)
    assert len(after) == len(before)


def test_what_a_person_sent_to_review_is_drawn_so(process, project):
    MapMaking(process).step(project)
    placing = Placing(process)
    auto = [id for id, route in routes(process).items() if route == "auto"][:5]
    send_to_review(process, project, auto, "Ann")
    placing.step(project)
    after = drawn(process, newest(process, project).id)
    assert {after[id][2] for id in auto} == {"uncertain"}


def test_a_map_is_made_anew_when_a_fifth_has_come_in_and_the_picture_stays(process, project, digits, monkeypatch):
    making = MapMaking(process)
    making.step(project), making.step(project)
    first = newest(process, project)
    tool = process.tool_project(project)
    import_tasks(process, project, tool, digits.incoming[0][120:150])
    judge(process)
    assert not making.step(project), "30 are less than a fifth and ten"
    import_tasks(process, project, tool, digits.incoming[0][150:170])
    judge(process)
    assert not making.step(project), "the last map is too young"
    monkeypatch.setattr(map_making, "PAUSE", 0.0)
    monkeypatch.setattr(map_making, "REST", 0.0)
    assert making.step(project)
    second = newest(process, project)
    assert second.id != first.id
    before, after = drawn(process, first.id), drawn(process, second.id)
    assert len(after) == 210
    places = np.array([(x, y) for x, y, _ in before.values()])
    moved = np.hypot(*(np.array([after[id][:2] for id in before]) - places).T)
    apart = np.hypot(*(places[:, None] - places[None]).T)
    assert np.median(moved) < np.median(apart) / 3, "beside the distance between any two"


def test_the_last_five_maps_are_kept(process, project, monkeypatch):
    monkeypatch.setattr(map_making, "lay_out", lambda points, *_: points[:, :2])
    making = MapMaking(process)
    for _ in range(7):
        making._make(project, "umap")
    with process.store.reading() as connection:
        assert len(maps.ready_maps(connection, project.id, "umap")) == 5


def test_a_map_that_cannot_be_made_says_why_and_is_not_tried_all_the_time(process, project, monkeypatch):
    def broken(*_):
        raise MemoryError("no room for 20,000 points")

    monkeypatch.setattr(map_making, "lay_out", broken)
    making = MapMaking(process)
    for _ in maps.METHODS:
        with pytest.raises(MemoryError):
            making.step(project)
    assert not making.step(project)
    with process.store.reading() as connection:
        attempt = maps.latest_attempt(connection, project.id, "umap")
    assert (attempt.state, attempt.text) == ("failed", "no room for 20,000 points")


def test_a_map_is_laid_out_in_a_process_of_its_own(process, project, monkeypatch):
    """It loads and compiles several hundred MB, which would stay: ours loads nothing of it."""
    seen = []

    def watched(what, function, *given, **options):
        seen.append((what, function))
        return apart(what, function, *given, **options)

    monkeypatch.setattr(map_making, "apart", watched)
    monkeypatch.setattr(map_making, "lay_out", latent_maps.lay_out)  # not what other tests share
    monkeypatch.setattr(latent_maps, "fit_map", lambda *_: pytest.fail("it is laid out here"))
    assert MapMaking(process).step(project)
    assert seen == [("map", latent_maps.lay_out)]
    made = newest(process, project)
    assert (made.state, made.total) == ("ready", 160)


def test_a_map_is_given_up_where_its_project_is_disconnected_meanwhile(process, project, monkeypatch, caplog):
    def slow(points, *_):
        disconnect(process, project.external_id)
        return points[:, :2]

    monkeypatch.setattr(map_making, "lay_out", slow)
    MapMaking(process).step(project)
    assert newest(process, project) is None
    assert not [record for record in caplog.records if record.exc_info]


def test_deleted_items_are_left_out_of_the_next_map(process, project):
    with process.store.writing() as connection:
        gone = connection.execute(select(item.c.id).limit(1)).scalar_one()
        connection.execute(update(item).where(item.c.id == gone).values(gone=True))
    MapMaking(process).step(project)
    assert gone not in drawn(process, newest(process, project).id)


def test_three_items_make_a_map_and_none_makes_none(process, connect, digits):
    project, tool = connect()
    assert not MapMaking(process).step(project)
    import_tasks(process, project, tool, digits.incoming[0][:3])
    judge(process)
    assert MapMaking(process).step(project)
    assert len(drawn(process, newest(process, project).id)) == 3


@databases.both
def test_which_outliers_belong_together_is_kept_with_the_snapshot(process, connect, digits):
    project, tool = connect()
    import_tasks(process, project, tool, digits.strangers[0])
    judge(process)
    with process.store.reading() as connection:
        every = connection.execute(select(dataset.c.id).where(dataset.c.kind == "all")).scalar_one()
    for _ in range(2):
        snapshot(process, project, every)
    with process.store.reading() as connection:
        members = snapshots.groups_of(connection, every)
        groups = snapshots.latest(connection, [every], project.reference_id)[every].facts["groups"]
        assert groups
        assert Counter(members.values()) == {group["number"]: group["size"] for group in groups}
        assert snapshots.groups_of(connection, every, [next(iter(members))]) == dict([next(iter(members.items()))])
    with process.store.writing() as connection:
        snapshots.keep_groups(connection, every, {})
        assert snapshots.groups_of(connection, every) == {}


def test_points_come_back_from_their_packing():
    piece = Piece()
    for id in (70_000, 3, 500):
        piece.put(id, (id % 65_536, 65_535, 1, 2, 3, 4, 5))
    piece.put(500, (1, 2, 4, 0, 255, 0, 0x51))
    again = unpack(pack(piece))
    assert again == piece
    assert list(again.ids) == [3, 500, 70_000]
    assert (again.x[1], again.route[1], again.dataset[1], again.axes[1]) == (1, 4, 255, 0x51)


def test_points_in_space_come_back_too_and_an_empty_piece_takes_either():
    piece = Piece(z=array("H"))
    for id in (70_000, 3, 500):
        piece.put(id, (id % 65_536, 65_535, id % 256 * 250, 1, 2, 3, 4, 5))
    again = unpack(pack(piece))
    assert again == piece
    assert list(again.z) == [750, 61_000, 28_000]
    assert again.drop(500)
    assert (len(again.z), len(unpack(pack(again)))) == (2, 2)
    assert unpack(pack(Piece(z=array("H")))) == Piece()


def test_points_that_were_packed_before_there_were_axes_are_read_without_them():
    piece = Piece()
    for id in (3, 500):
        piece.put(id, (id, 7, 1, 2, 3, 4, 0x21))
    former = gzip.compress(gzip.decompress(pack(piece))[:-2])
    assert list(unpack(former).axes) == [0, 0]
    assert unpack(former).score == piece.score


@pytest.mark.parametrize(
    ("class_score", "source_score", "code"), [(None, None, 0), (0.0, None, 1), (3.0, 0.69, 0x14), (0.7, 2.9957323, 0x42), (9.0, 99.0, 0x55)]
)
def test_each_axis_is_coded_by_the_share_of_held_out_items_that_are_less_rare(class_score, source_score, code):
    assert axes_code(class_score, source_score) == code


def test_a_map_is_turned_and_mirrored_onto_the_former_one():
    rng = np.random.default_rng(0)
    former = rng.normal(size=(50, 2)).astype(np.float32)
    turned = (former[:, ::-1] * 3 + 7).astype(np.float32)
    known = former.copy()
    known[40:] = np.nan
    assert laid_over(turned, known) == pytest.approx(former, abs=1e-4)


def test_a_point_is_placed_in_an_island_and_not_between_two():
    anchors = np.array([[0, 0], [0.1, 0], [0, 0.1], [9, 9], [9.1, 9]], dtype=np.float32)
    places = np.array([[0, 0], [0, 0], [0, 0], [10, 10], [10, 10]], dtype=np.float32)
    assert place(np.array([[1, 1]], dtype=np.float32), anchors, places) == pytest.approx(np.zeros((1, 2)), abs=0.05)


def test_maps_are_repeatable(digits_reference):
    points = digits_reference.sample.compressed[:100]
    assert np.array_equal(fit_map(points, "umap", 3), fit_map(points, "umap", 3))
