"""The page about people: what it tells, to whom, and that nothing tells a gold task from a spot check until it is answered."""

from __future__ import annotations

import json
import random
import re
import struct
import time
from array import array
from dataclasses import asdict, replace

import pytest
from browsers import follow, text
from sqlalchemy import select, update
from web import PAGE, token

from annotriage.errors import StateError
from annotriage.labeling_tool import Account, Review
from annotriage.service.guarantee.pausing import pause
from annotriage.service.guarantee.proposals import propose_similar
from annotriage.service.guarantee.spot_checks import standing
from annotriage.service.guarantee.standings import Standings
from annotriage.service.quality.gold import keep_known, tend_gold
from annotriage.service.readings.dataset import snapshot_of
from annotriage.service.readings.people import people
from annotriage.service.readings.snapshots import snapshot
from annotriage.states import GoldState, InsightKind, Role, Route, Standing
from annotriage.store import gold, insights, jobs, maps
from annotriage.store.datasets import dataset_of_all
from annotriage.store.filters import Filters
from annotriage.store.map_points import Piece, unpack
from annotriage.store.people import set_person
from annotriage.store.projects import change_project, project_of
from annotriage.store.proposals import free_items
from annotriage.store.queue import ids_of
from annotriage.store.reviews import keep_reviews
from annotriage.store.schema import item, spot_check, verdict
from annotriage.store.snapshots import groups_of
from annotriage.web.views import guarantee as guarantee_page

AUTH = ("annotriage", "right")
PASSWORD = "correct horse"
FORM = "application/x-www-form-urlencoded"
BLIND = {"gold": "the-one-task", "check": "the-other-task", "failed": "the-unreadable-task"}  # by what each is


class Watched:
    """A dashboard on whose project known answers are kept. client: signed in as nobody."""

    def __init__(self, dashboard):
        self.dashboard, self.process = dashboard, dashboard.process
        self.client = dashboard.app.test_client()
        self.service = dashboard.service()
        self.tool = self.service.process.tool_project(self.project)

    @property
    def project(self):
        with self.process.store.reading() as connection:
            return project_of(connection, "1")

    def keep_known(self, most=20):
        """Answered items that are no spot checks, with the answers that people gave: by task."""
        with self.process.store.reading() as connection:
            checks = select(spot_check.c.item_id)
            query = select(item.c.external_id, item.c.labels).where(item.c.project_id == 1, item.c.answer == "resolved", ~item.c.machine)
            rows = connection.execute(query.where(item.c.id.not_in(checks)).order_by(item.c.id).limit(most)).all()
        known = {row.external_id: tuple(row.labels) for row in rows}
        keep_known(self.service.process, self.project, known, "boss")
        return known

    def bring(self):
        """The next gold task: its copy, and the task whose answer is known."""
        tend_gold(self.service.process, self.project, random.Random(0))
        self.service.settle()
        with self.process.store.reading() as connection:
            (known,) = gold.gold_tasks(connection, 1, GoldState.OPEN)
        return known.copy, known.task, known.labels

    def get(self, path, user=AUTH):
        return self.client.get(path, auth=user)

    def name_blind_tasks(self):
        """Give a gold task, a spot check among the typical ones of a group of outliers, and one that could not be read, names that are
        found wherever they stand: their rows. Lists that are made later have them."""
        self.keep_known()
        copy, _, _ = self.bring()
        with self.process.store.writing() as connection:
            mine = (item.c.project_id == 1, ~item.c.gone)
            members = [
                name
                for group in snapshot_of(connection, self.project, dataset_of_all(connection, self.project)).facts["groups"]
                for name in (group["medoid"], *group["ids"])
            ]
            waits = select(item.c.id, item.c.external_id).where(*mine, item.c.external_id.in_(members), item.c.answer == "open")
            rows = {row.external_id: row.id for row in connection.execute(waits)}
            ids = {
                "gold": connection.execute(select(item.c.id).where(*mine, item.c.external_id == copy)).scalar_one(),
                "check": next(rows[name] for name in members if name in rows),
                "failed": connection.execute(select(item.c.id).where(*mine, item.c.route == "failed").limit(1)).scalar_one(),
            }
            for kind, name in BLIND.items():
                connection.execute(update(item).where(item.c.id == ids[kind]).values(external_id=name))
            connection.execute(update(verdict).where(verdict.c.item_id == ids["check"]).values(trust=0.0))  # the strangest of all
            checked = {"project_id": 1, "reference_id": 1, "kind": "sample", "state": "open", "drawn_at": time.time()}
            for kind, route in (("check", "outlier"), ("failed", "failed")):
                connection.execute(spot_check.delete().where(spot_check.c.item_id == ids[kind]))
                connection.execute(spot_check.insert().values(item_id=ids[kind], route=route, **checked))
        return ids

    def assess_again(self, on_map):
        """Find groups, make a report, and keep a map with the items of these rows: the dataset of all items, and the map."""
        with self.process.store.writing() as connection:
            every = dataset_of_all(connection, self.project).id
            jobs.queue(connection, 1, "report", {"dataset": every})
            drawn, piece = maps.begin(connection, self.project, "umap", 0), Piece()
            for id in on_map:
                piece.put(id, (1, 1, 1, 0, 0, 0, 0))
            maps.write_piece(connection, drawn, 1, piece)
            maps.finish(connection, drawn, frame=[0.0, 0.0, 1.0], names={"class": [], "dataset": []}, total=len(on_map))
        snapshot(self.service.process, self.project, every)
        self.service.run_jobs()
        return every, drawn


@pytest.fixture
def watched(copied, serve_dashboard):
    dashboard = serve_dashboard(*copied, password=AUTH[1])
    with dashboard.process.store.writing() as connection:
        for role in Role:
            set_person(connection, f"may {role}", role, PASSWORD, service_user="annotriage")
        options = {**asdict(project_of(connection, "1").options), "gold_share": 0.1}
        change_project(connection, 1, options=options)
    found = Watched(dashboard)
    yield found
    found.service.close()


def test_nothing_tells_a_gold_task_from_a_spot_check_and_no_export_has_it(watched):
    watched.keep_known()
    with watched.process.store.writing() as connection:
        pause(connection, watched.project, "to see what is said then")
    exports = ("/projects/1/items.csv", "/projects/1/labels.csv", "/projects/1/queue.csv", "/api/projects/1/items?limit=500")
    before = {path: watched.get(path).data for path in exports}
    copy, _, _ = watched.bring()
    with watched.process.store.reading() as connection:
        judged = select(item.c.external_id, item.c.id).join(spot_check).join(verdict, verdict.c.item_id == item.c.id)
        automatic = (spot_check.c.state == "open", verdict.c.judged == "auto", item.c.project_id == 1)
        check, check_row = connection.execute(judged.where(*automatic).limit(1)).one()
        row = connection.execute(select(item.c.id).where(item.c.external_id == copy, item.c.project_id == 1)).scalar_one()
    decider = (f"may {Role.DECIDE}", PASSWORD)
    for path in ("/projects/1/items/{}.json", "/api/projects/1/items/{}"):
        ours, theirs = (json.loads(watched.get(path.format(task), decider).data) for task in (copy, check))
        assert ours.keys() == theirs.keys()
        ours, theirs = (found.get("item") or found["detail"]["item"] for found in (ours, theirs))
        assert {key for key in ours if type(ours[key]) is not type(theirs[key])} <= {"trust", "shown_dataset_id"}
        assert ours["spot_check"] | {"drawn_at": 0} == theirs["spot_check"] | {"drawn_at": 0}
        assert ours["route"] == theirs["route"] == "spot check"
    listed = {line["task"] for line in watched.get("/api/projects/1/spot-checks?limit=500", decider).json["spot_checks"]}
    assert (copy in listed, check in listed) == (False, True), "in no list, here as little as among all items"
    for path in (
        f"/projects/1/items/{copy}",
        f"/projects/1/items/{copy}.json",
        f"/api/projects/1/items/{copy}",
        f"/projects/1/map/items/{row}",
    ):
        answer = watched.get(path, decider)
        assert answer.status_code in (200, 404), path
        assert "gold" not in answer.data.decode().lower(), path
    given = {
        "auth": decider,
        "headers": {"X-CSRF-Token": token(watched.client, "/projects/1/map", auth=decider), "Accept": "application/json"},
    }

    def said(path, **body):
        answer = watched.client.post(f"/projects/1/{path}", **body, **given)
        return answer.status_code, {key: text for key, text in answer.json.items() if key not in ("id", "instance")}

    for to in ("review", "back"):
        ours, theirs = (said("queue/reroute", data={"item": id, "to": to}, content_type=FORM) for id in (row, check_row))
        assert ours == theirs
        ours, theirs = (said(f"map/reroute?to={to}", data=struct.pack("<I", id)) for id in (row, check_row))
        assert ours == theirs
        assert ours[1]["left"] == ["1 spot checks, which stay as they are"]
    for path in ("map/foresee", "map/items/{}/alike"):
        ours, theirs = (said(path.format(id), data=struct.pack("<I", id)) for id in (row, check_row))
        assert ours == theirs, path
    for id in (row, check_row):
        with pytest.raises(StateError, match="asked about it blind"):
            propose_similar(watched.process, watched.project, id, "ann")
    assert {path: watched.get(path).data for path in exports} == before
    watched.tool.annotate(copy, "1", by="7")
    watched.service.settle()
    assert {path: watched.get(path).data for path in exports} == before
    assert "gold" not in watched.get(f"/projects/1/items/{copy}", decider).data.decode().lower()


def test_who_may_only_look_finds_open_spot_checks_as_little_as_gold_tasks(watched):
    """So that comparing our lists with the labeling tool's tab of spot checks tells nothing."""
    ids = watched.name_blind_tasks()
    every, drawn = watched.assess_again([1, ids["check"]])
    adapter = watched.dashboard.app.url_map.bind("localhost")

    def naming(role):
        """Which addresses name the tasks, and what is answered where they are asked for."""
        told, asked = {kind: set() for kind in BLIND}, {kind: {} for kind in BLIND}
        parts = {"project": "1", "dataset": every, "dataset_id": every, "map_id": drawn, "number": 1, "kind": "report"}
        for rule in watched.dashboard.app.url_map.iter_rules():
            if "GET" not in rule.methods:
                continue
            if rule.arguments <= set(parts):
                path = adapter.build(rule.endpoint, {key: parts[key] for key in rule.arguments})
                for query in ("", "?route=spot check&limit=500", f"?limit=500&a=d{every}&b=w0-30"):
                    answer = watched.client.get(path + query, auth=role, buffered=True).data
                    for kind in (kind for kind, name in BLIND.items() if name.encode() in answer):
                        told[kind].add(rule.rule.replace("plain:", ""))
            elif rule.arguments <= {*parts, "task", "item_id", "item"}:
                for kind, name in BLIND.items():
                    own = parts | {"task": name, "item_id": ids[kind], "item": ids[kind]}
                    path = adapter.build(rule.endpoint, {key: own[key] for key in rule.arguments})
                    asked[kind][rule.rule] = watched.client.get(path, auth=role, buffered=True).status_code
        return told, asked

    def numbers(role):
        """Which of the tasks the map's script is given by their rows: as points, as members of groups, as what waits."""
        base = "/projects/1/map"
        points = watched.get(f"{base}/{drawn}/points/1?version=1", role)
        assert ("no-store" in points.headers["Cache-Control"]) == (role == looking)
        n, *members = array("I", watched.get(f"{base}/groups", role).data)
        assert n > 0
        chosen = array("I", watched.get(f"{base}/chosen", role).data)[1:]
        waits = watched.get("/projects/1/queue/waiting?" + "&".join(f"item={id}" for id in ids.values()), role).json["waiting"]
        on_map = unpack(points.data).ids
        assert 1 in on_map
        lists = {"points": on_map, "groups": members[:n], "chosen": chosen, "waiting": waits}
        return {name: {kind for kind, id in ids.items() if id in given} for name, given in lists.items()}

    looking, deciding = ((f"may {role}", PASSWORD) for role in (Role.LOOK, Role.DECIDE))
    told, asked = naming(looking)
    assert told == {kind: set() for kind in BLIND}
    assert asked["gold"] == asked["check"]
    assert asked["gold"]["/projects/<project>/items/<task>.json"] == 404
    assert numbers(looking) == {"points": set(), "groups": set(), "chosen": set(), "waiting": set()}
    told, _ = naming(deciding)
    assert "/projects/<project>/items.csv" in told["check"], "who decides settles them"
    strange = ("compare", "compare.json", "groups", "groups.json", "diversity.json", "overview")
    assert not {f"/projects/<project>/{name}" for name in strange} & told["check"], "but that they are strange is told to nobody"
    assert "/system" in told["failed"]
    assert watched.get(f"/projects/1/datasets/{every}/report.html").status_code == 200
    assert not any("report" in rule for rules in told.values() for rule in rules), "which is passed on"
    checks = {"check", "failed"}
    assert numbers(deciding) == {"points": {"check"}, "groups": set(), "chosen": checks, "waiting": {"gold", *checks}}


def test_forms_of_groups_do_not_tell_which_group_an_open_check_is_in(watched):
    check = watched.name_blind_tasks()["check"]
    with watched.process.store.reading() as connection:
        every = dataset_of_all(connection, watched.project).id
        ((_, number),) = groups_of(connection, every, [check]).items()
    csrf = token(watched.client, "/projects/1/groups", auth=AUTH)
    for path, fields in (
        ("/look-alikes/groups", lambda group: {"group": f"{group}~{check}"}),
        ("/groups/aside", lambda group: {"group": group, "typical": check, "reason": "broken"}),
        ("/groups/assign", lambda group: {"group": group, "typical": check, "person": "Ann"}),
    ):
        told = []
        for group in (number, number + 1):
            form = {"csrf": csrf, "dataset": every, **fields(group)}
            answer = watched.client.post(f"/projects/1{path}", data=form, auth=AUTH)
            told.append((answer.status_code, (answer.json or {}).get("detail")))
        assert told == [(409, "the groups have changed meanwhile; look at them again")] * 2, path


def test_what_a_sampler_chose_names_no_spot_check_that_was_drawn_since_nor_how_sure_the_model_is_of_the_strange(watched):
    with watched.process.store.writing() as connection:
        free = {route: free_items(connection, watched.project, None, (route,))[:2] for route in (Route.UNCERTAIN, Route.OUTLIER)}
        unsure, strange = free[Route.UNCERTAIN], free[Route.OUTLIER]
        chosen = [{"item_id": id, "ratio": 1.5, "why": "doubtful"} for id in (*unsure, *strange)]
        facts = {"of": "waiting", "method": "max-margin", "among": 40, "latest": False}
        insights.keep_insight(connection, 1, InsightKind.SAMPLE, "v1", {**facts, "chosen": chosen})
        drawn = {"item_id": unsure[0], "project_id": 1, "reference_id": 1, "route": "uncertain", "kind": "sample", "state": "open"}
        connection.execute(spot_check.insert().values(**drawn, drawn_at=time.time()))
    for role in (Role.LOOK, Role.DECIDE):
        page = watched.get("/projects/1/model/items.json", (f"may {role}", PASSWORD)).json
        told = {one["item_id"]: (one["why"], one["odds"]) for one in page["chosen"]}
        assert told == {unsure[1]: ("between two classes", 1.5), **dict.fromkeys(strange, ("chosen", None))}
        assert page["sample"]["insight"]["facts"] == {**facts, "size": 4}
    assert "3 of which can still be labelled this way" in watched.client.get("/projects/1/model/items", auth=AUTH, headers=PAGE).text
    for id in strange:
        with watched.process.store.reading() as connection:
            name = connection.execute(select(item.c.external_id).where(item.c.id == id)).scalar_one()
        assert watched.get(f"/projects/1/items/{name}.json").json["detail"]["item"]["verdict"]["sureness"] is None


def test_what_is_counted_for_who_may_only_look_is_what_is_listed(watched):
    def listed(role, address):
        page = watched.get(f"/projects/1/items.json{address}", (f"may {role}", PASSWORD)).json
        facets = {facet["name"]: {choice["value"]: choice["n"] for choice in facet["choices"]} for facet in page["facets"]}
        return page["items"], facets["route"], facets.get("dataset", {})

    def number(connection, role, **wanted):
        return len(ids_of(connection, replace(present, hides_checks=role is Role.LOOK), Filters(**wanted)))

    with watched.process.store.reading() as connection:
        present = project_of(connection, "1")
        lengths = {
            (role, state): number(connection, role, state=state) for role in (Role.LOOK, Role.DECIDE) for state in (None, Standing.WAITING)
        }
    counted = 0
    for (role, state), length in lengths.items():
        items, routes, datasets = listed(role, "" if state is None else f"?state={state}")
        assert items == length
        with watched.process.store.reading() as connection:
            assert datasets == {id: number(connection, role, state=state, dataset=int(id)) for id in datasets}
            counted += len(datasets)
        assert ("spot check" in routes) == (role is Role.DECIDE)
    assert counted
    assert lengths[Role.LOOK, None] < lengths[Role.DECIDE, None]
    looking = (f"may {Role.LOOK}", PASSWORD)
    page = watched.client.get("/projects/1/items?state=waiting", auth=looking, headers=PAGE).text
    assert f"{lengths[Role.LOOK, Standing.WAITING]} items, strangest first" in page
    missing = watched.client.get("/projects/1/items?task=nowhere", auth=looking, headers=PAGE).text
    assert "takes a few seconds, and a spot check is shown once it is answered." in missing


def test_which_tasks_were_gold_is_told_to_those_who_manage_alone(watched):
    watched.keep_known()
    copy, of, known = watched.bring()
    wrong = "1" if known != ("1",) else "2"
    watched.tool.annotate(copy, wrong, by="7")
    watched.service.settle()
    for role in Role:
        found = watched.get("/projects/1/people.json", (f"may {role}", PASSWORD)).json
        assert found["state"]["gold"]["wrong"] == found["state"]["gold"]["answers"] == 1
        assert len(found["state"]["answered_gold"]) == len(found["waiting"][:1]) == (role is not Role.LOOK)
    told = watched.get("/projects/1/people.json", (f"may {Role.DECIDE}", PASSWORD)).json["state"]["answered_gold"][0]
    assert (told["of"], told["known"], told["given"], told["right"]) == (of, known[0], wrong, False)
    assert watched.get("/api/projects/1/people").json["answered_gold"] == []
    assert people("1", settings=watched.process.settings).answered_gold[0].of == of


def test_the_error_of_people_stands_beside_the_guarantee_and_what_is_missing_is_said(watched):
    def beside():
        page = watched.client.get("/projects/1/guarantee", auth=AUTH, headers=PAGE).text
        return re.search(r'id="people-error">(.*?)<a', page, re.DOTALL).group(1)

    assert "How often people are wrong is not measured. To know" in beside()
    watched.keep_known()
    assert "is not measured yet. 20 known answers wait to be mixed in" in beside()
    for right in (False, True):
        copy, _, known = watched.bring()
        watched.tool.annotate(copy, known[0] if right else ("1" if known != ("1",) else "2"), by="7")
        watched.service.settle()
        assert ("Every answer differs from the known one. Look at the known answers" in beside()) == (not right)
        for _ in range(12):  # others, so that the next one is due
            with watched.service.process.store.reading() as connection:
                waits = connection.execute(
                    select(item.c.external_id)
                    .where(item.c.project_id == 1, item.c.answer == "open", item.c.route == "outlier", ~item.c.labelled)
                    .limit(1)
                ).scalar_one()
            watched.tool.annotate(waits, "something else", by="7")
            watched.service.settle()
    assert "People were wrong on 1 of 2 tasks with a known answer that they were asked blind: 50%" in beside()
    assert "none is corrected by this" in beside()
    assert "People were wrong on 1 of 2" in watched.get("/api/projects/1/guarantee").json["people"]


def test_people_are_named_where_a_setting_says_so(copied, serve_dashboard):
    for setting, named in (("on", True), ("off", False)):
        dashboard = serve_dashboard(*copied, password=AUTH[1], show_people=setting)
        dashboard.tool.people[:] = [
            Account("ann", "Ann Example", ("ann@example.com",)),
            Account("bob", "Bob Example", ("bob@example.com",)),
        ]
        client = dashboard.app.test_client()
        for path in ("/projects/1/people.json", "/projects/1/people", "/api/projects/1/people"):
            body = client.get(path, auth=AUTH, headers=PAGE if path.endswith("people") and "api" not in path else {}).data.decode()
            assert ("Ann Example" in body) == named, path
            assert ("person A" in body) == (not named), path
        if not named:
            assert not {"ann", "bob"} & {row["person"] for row in client.get("/projects/1/people.json", auth=AUTH).json["state"]["people"]}


def test_somebody_who_always_says_the_same_is_told_of_and_second_answers_that_were_asked_for_are_left_out(watched):
    with watched.process.store.writing() as connection:
        ids = (
            connection.execute(select(item.c.id).where(item.c.project_id == 1, item.c.answer == "open", ~item.c.labelled).limit(30))
            .scalars()
            .all()
        )
        keep_reviews(connection, 1, {id: [Review(f"x{id}", "9", ("1",), updated_at=time.time())] for id in ids})
        keep_reviews(connection, 1, {id: [Review(f"y{id}", "8", ("2",), updated_at=time.time())] for id in ids[:4]})
        connection.execute(update(item).where(item.c.id.in_(ids[:3])).values(wanted=2))
    found = watched.get("/projects/1/people.json").json["state"]
    assert any("gave the same answer, 1, on all of 30 tasks" in note for note in found["notes"])
    assert (found["agreement"]["items"], found["agreement"]["left_out"]) == (1, 3)


def test_a_contradicted_check_counts_as_wrong_at_once_and_its_route_is_told_to_nobody(watched, monkeypatch):
    def figures(role=None):
        user = AUTH if role is None else (f"may {role}", PASSWORD)
        state = watched.get("/projects/1/people.json", user).json["state"]
        return {row["route"]: (row["n"], row["right"]) for row in state["blind"]["routes"]}, state

    def of_guarantee(role):
        Standings(watched.process).step(watched.project)
        return watched.get("/projects/1/guarantee.json", (f"may {role}", PASSWORD)).json["standing"]

    before, first = figures()
    with watched.process.store.reading() as connection:
        stood = standing(connection, project_of(connection, "1"))
    checks = (spot_check.c.project_id == 1, spot_check.c.route == "auto", spot_check.c.state == "open")
    with watched.process.store.writing() as connection:
        ids = connection.execute(select(spot_check.c.item_id).where(*checks).limit(3)).scalars().all()
        disagreed = {"state": "disagreed", "answered_at": time.time()}
        connection.execute(update(spot_check).where(spot_check.c.item_id.in_(ids)).values(disagreed))
        keep_reviews(connection, 1, {id: [Review(f"of {id}", "7", ("1",), updated_at=time.time())] for id in ids})
    after, state = figures(Role.DECIDE)
    assert after == before | {"spot check": (3, 0)}, "the line of no route grows"
    assert (state["anchoring"], state["rates"]) == (first["anchoring"], first["rates"])
    with watched.process.store.reading() as connection:
        guarantee = standing(connection, project_of(connection, "1"))
    assert (guarantee.answers, guarantee.wrong) == (stood.answers + 3, stood.wrong + 3), "and that of the guarantee, which is of one route"
    assert state["blind"]["contradicted"] == 3
    assert state["blind"]["n"] == sum(row["n"] for row in state["blind"]["weeks"]) == sum(map(sum, state["blind"]["matrix"]["counts"])) + 3
    assert any("3 spot checks are contradicted by one person and count as wrong" in note for note in state["notes"])
    page = watched.client.get("/projects/1/people", auth=AUTH, headers=PAGE).text
    assert "Spot checks that await a second answer" in page
    looking, told = figures(Role.LOOK)
    assert looking == before
    assert (told["blind"]["n"], told["blind"]["weeks"]) == (state["blind"]["n"], state["blind"]["weeks"]), "one total for all"
    assert told["blind"]["contradicted"] == 0
    assert not any("contradicted" in note for note in told["notes"])
    checks_told = watched.get("/api/projects/1/spot-checks", (f"may {Role.LOOK}", PASSWORD)).json["counts"]
    assert not any("disagreed" in name for name in checks_told)
    seen = {role: of_guarantee(role) for role in (Role.LOOK, Role.DECIDE)}
    assert [seen[role]["contradicted"] for role in seen] == [0, 3]
    assert len({(one["answers"], one["wrong"], one["bound"], one["outstanding"] - one["contradicted"]) for one in seen.values()}) == 1
    monkeypatch.setattr(guarantee_page, "MOST_OUTSTANDING", seen[Role.DECIDE]["outstanding"] - 1)  # too many, those contradicted included
    for role in seen:
        assert "Too many spot checks wait" in watched.client.get("/projects/1/guarantee", auth=(f"may {role}", PASSWORD), headers=PAGE).text
    listed = [
        row["item_id"]
        for said in state["blind"]["matrix"]["classes"]
        for row in watched.get(f"/projects/1/people.json?said={said}").json["state"]["blind"]["items"]
    ]
    assert listed
    assert not set(ids) & set(listed)


def test_without_answers_the_page_says_what_to_do(copied, serve_dashboard):
    client = serve_dashboard(*copied, password=AUTH[1]).app.test_client()
    found = client.get("/projects/2/people.json", auth=AUTH).json["state"]
    assert found["notes"] == ["People have answered nothing here yet. What they answer is compared as it comes in."]
    assert (found["gold"]["error"], found["agreement"]["raw"], found["blind"]["n"]) == (None, None, 0)
    page = client.get("/projects/2/people", auth=AUTH, headers=PAGE).text
    assert "Keep known answers" in page
    assert "Nobody has answered blind yet." in page


def test_the_cells_of_the_matrix_lead_to_their_items(watched):
    everything = watched.get("/projects/1/people.json").json["state"]["blind"]
    assert everything["n"] == sum(map(sum, everything["matrix"]["counts"])) == sum(row["n"] for row in everything["weeks"]) > 20
    classes = everything["matrix"]["classes"]
    said, row = next((classes[place], row) for place, row in enumerate(everything["matrix"]["counts"]) if sum(row) > 1)
    answered = classes[max(range(len(row)), key=row.__getitem__)]
    found = watched.get(f"/projects/1/people.json?said={said}&answered={answered}").json["state"]["blind"]
    assert len(found["items"]) == found["found"] == max(row)
    assert {(line["said"][0], line["answered"][0]) for line in found["items"]} == {(said, answered)}
    for week in everything["weeks"]:
        within = watched.get(f"/projects/1/people.json?week={week['monday']}").json["state"]["blind"]
        assert sum(map(sum, within["matrix"]["counts"])) == week["n"]
    assert watched.get("/projects/1/people.json?week=yesterday").status_code == 422
    assert watched.get("/projects/1/people.json?route=sideways").status_code == 422


def test_known_answers_are_kept_by_the_api_and_what_is_wrong_is_said(watched):
    def post(body, user=AUTH):
        return watched.client.post("/api/projects/1/gold", json=body, auth=user)

    with watched.process.store.reading() as connection:
        task = connection.execute(
            select(item.c.external_id).where(item.c.project_id == 1, item.c.answer == "resolved").limit(1)
        ).scalar_one()
    assert post({"answers": [{"task": "4711000", "labels": ["1"]}]}).json == {"added": 0, "left": {"no task of that number is here": 1}}
    assert post({"answers": [{"task": task, "labels": ["zebra"]}]}).status_code == 409
    assert post({"answers": []}).status_code == 422
    assert post({"answers": [{"task": 7, "labels": ["1"]}]}).status_code == 422
    assert post({"answers": []}, (f"may {Role.LOOK}", PASSWORD)).status_code == 403


def test_no_more_ground_truths_are_kept_than_the_form_allows(watched, monkeypatch):
    asked = []
    monkeypatch.setattr("annotriage.web.views.people.gold.keep_ground_truths", lambda *given: asked.append(given))
    user = f"may {Role.DECIDE}", PASSWORD
    for most in ("00500", "101", "0", "-1", "²"):
        form = {"most": most, "csrf": token(watched.client, "/projects/1/people", auth=user)}
        assert watched.client.post("/projects/1/people/gold", data=form, auth=user).status_code == 422, most
    assert asked == []


@pytest.mark.browser
def test_a_manager_keeps_an_answer_and_looks_behind_a_cell(signed_in, dashboard):
    with dashboard.process.store.reading() as connection:
        checks = select(spot_check.c.item_id)
        rows = select(item.c.external_id, item.c.labels).where(
            item.c.project_id == 1, item.c.answer == "resolved", item.c.id.not_in(checks)
        )
        task, labels = connection.execute(rows.order_by(item.c.id).limit(1)).one()
    page = signed_in("/projects/1/people")
    page.get_by_label("Tasks and their labels").fill(f"{task},{labels[0]}")
    follow(page, page.get_by_role("button", name="Keep as known answers", exact=True))
    assert "1 known answer kept." in text(page)
    page.get_by_text("1 known answer not asked yet").click()
    follow(page, page.get_by_role("button", name="Do not ask"))
    assert "This answer is not asked." in text(page)
    follow(page, page.locator("table[aria-describedby=matrix-hint] td a").first)
    assert "model" in text(page, "#items")
    assert page.locator("#items + .table tbody tr").count() >= 1
