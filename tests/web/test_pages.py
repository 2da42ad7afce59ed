"""The pages in a real browser, on real digits: what a project manager sees, understands and does."""

from __future__ import annotations

import csv
import io
import re
import time

import pytest
from browsers import follow, is_cut, pixels, text
from delivery_states import set_state
from sqlalchemy import select, update
from waiting import wait_until
from web import token

from annotriage.advice.event_words import event_sentence
from annotriage.labeling_tool import Review
from annotriage.service.guarantee import pausing
from annotriage.states import Alarm, EventKind
from annotriage.store import jobs
from annotriage.store.events import history, note
from annotriage.store.projects import change_project, project_of, raise_alarm
from annotriage.store.queue import Filters, queue_page
from annotriage.store.reviews import keep_reviews
from annotriage.store.schema import dataset, delivery, event, field_write, inbox, item, job, review, snapshot, spot_check, thumbnail

pytestmark = pytest.mark.browser

OWN = (
    "/", "/projects/1/diversity", "/projects/1/groups", "/projects/1/guarantee", "/projects/1/compare", "/projects/1/settings", "/system",
    "/projects/1/label-audit", "/projects/1/look-alikes",
    "/projects/1/training",
    "/projects/1/people?said=1&answered=1",
    "/projects/1/model", "/projects/1/model/diagnosis", "/projects/1/model/atlas", "/projects/1/model/image",
    "/projects/1/model/graph", "/projects/1/model/units", "/projects/1/model/layers", "/projects/1/model/items",
    "/projects/1/certificates",
    "/projects/1/items",
    "/projects/2/diversity", "/projects/2/groups", "/projects/2/guarantee", "/projects/2/compare", "/projects/2/settings",
)  # fmt: skip


def project(dashboard, id="1"):
    with dashboard.process.store.reading() as connection:
        return project_of(connection, id)


def events(dashboard, id="1"):
    with dashboard.process.store.reading() as connection:
        return [(row.kind, event_sentence(row.kind, row.facts)) for row in history(connection, project_of(connection, id).id)]


def test_no_page_is_wider_than_the_screen(signed_in, dashboard):
    page = signed_in("/")
    wide = []
    for path in OWN:
        page.goto(dashboard.url + path)
        wide += [(path, width) for width in (600, 820, 1280) if is_cut(page, width)]
    assert wide == []


def test_the_first_page_says_how_each_project_stands(signed_in):
    card = text(signed_in("/"), "#cards section >> nth=0")
    for said in ("25.2%", "would give 1 in 20", "much of this is new", "current rate", "At most 4 in 100", "It differs enough"):
        assert said in card


def test_a_project_without_automatic_labels_says_what_to_do(signed_in):
    card = text(signed_in("/"), "#cards section >> nth=1")
    assert re.search(r"No label is automatic yet: \d+ labelled held-out items needed, 40 there", card)
    assert "People answer a random part of all items blind" in card


def test_text_from_data_is_shown_as_text(signed_in, dashboard):
    page = signed_in("/")
    title = page.locator("#cards section >> nth=1").locator("h2")
    assert "<script>alert(1)</script>" in title.inner_text()
    assert title.bounding_box()["height"] < 80
    with dashboard.process.store.writing() as connection:
        note(connection, project(dashboard).id, EventKind.PAUSED, reason="<img src=x onerror=alert(1)> \u202e" + "x" * 10_000)
        change_project(connection, project(dashboard).id, problem="<b>" + "y" * 10_000)
    for path in ("/projects/1/guarantee", "/", "/system"):
        page.goto(dashboard.url + path)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("main img[src=x]").count() == 0
    assert "<b>yyy" in text(page)


def test_pausing_stops_automatic_labels_at_once_and_is_written_down(signed_in, dashboard):
    page = signed_in("/")
    page.get_by_text("Pause automatic labels").first.click()
    page.get_by_label("Why").first.fill("the scanner is being repaired")
    follow(page, page.get_by_role("button", name="Pause now").first)
    assert "are paused" in text(page, "#notices")
    assert project(dashboard).pause.reason == "the scanner is being repaired"
    assert events(dashboard)[0] == ("paused", "paused by a person: the scanner is being repaired")
    assert "A person paused automatic labels: the scanner is being repaired" in text(page)
    follow(page, page.get_by_role("button", name="Resume automatic labels").first)
    assert not project(dashboard).paused
    assert "may be automatic again" in text(page, "#notices")


def test_what_the_alarm_stopped_cannot_be_resumed_but_recalibrated(signed_in, dashboard):
    with dashboard.process.store.writing() as connection:
        raise_alarm(connection, project(dashboard).id, Alarm(12, 100, 0.06, 0.2, 0.02, 1.0))
    page = signed_in("/projects/1/guarantee")
    assert "The alarm stopped automatic labels" in text(page)
    assert "12 of 100" in text(page)
    assert page.get_by_role("button", name="Resume").count() == 0


def test_a_recalibration_can_be_asked_for_once_enough_is_answered(signed_in, dashboard):
    standing = {"sample_answers": 90, "sample_needed": 83}
    with dashboard.process.store.writing() as connection:
        from annotriage.store.projects import keep_standing, standing_of

        found = project(dashboard, "2")
        keep_standing(connection, found, {**standing_of(connection, found), **standing})
    page = signed_in("/projects/2/guarantee")
    follow(page, page.get_by_role("button", name="Recalibrate now"))
    assert "queued" in text(page, "#notices")
    with dashboard.process.store.reading() as connection:
        assert [(row.kind, row.state) for row in jobs.jobs_of(connection, found.id)] == [("recalibrate", "queued")]


def test_the_diversity_page_reads_the_score_and_shows_when_it_rose(signed_in):
    page = signed_in("/projects/1/diversity")
    assert "About 1 in 4 new items is unlike anything the model was trained on" in text(page)
    chart = page.locator("figure[data-png=diversity] svg")
    assert "25.2% at the end" in chart.get_attribute("aria-label")
    assert chart.locator("circle").count() == 4
    assert "clearly more than usual" in text(page, "section[aria-labelledby=clusters]")
    assert page.locator("#advice + div .card").count() == 3, "nobody said that it is augmented"


def test_a_telephone_shows_the_latest_point_of_the_chart_and_its_words_in_full_size(signed_in):
    page = signed_in("/projects/1/diversity", viewport={"width": 390, "height": 800})
    chart = page.locator("figure[data-png=diversity] svg")
    last = chart.locator("circle").last.bounding_box()
    assert 0 <= last["x"] <= 390 - last["width"]
    assert chart.locator("text").first.bounding_box()["height"] >= 9


def test_the_stretch_of_time_can_be_chosen(signed_in):
    page = signed_in("/projects/1/diversity")
    follow(page, page.get_by_role("button", name="7 days"))
    assert page.get_by_role("button", name="7 days").get_attribute("aria-pressed") == "true"
    assert page.locator("figure[data-png=diversity] svg circle").count() == 3
    page.locator("[name=from]").fill("2020-01-01")
    page.locator("[name=until]").fill("2020-02-01")
    follow(page, page.get_by_role("button", name="Show"))
    assert "Nothing was assessed in this stretch of time" in text(page)


def test_each_dataset_has_its_own_page(signed_in):
    page = signed_in("/projects/1/diversity")
    follow(page, page.get_by_role("link", name="scanner=A", exact=True))
    assert "dataset=" in page.url
    assert "4.1%" in text(page, "section[aria-labelledby=now]")
    assert "so this looks like normal data" in text(page)


def test_advice_that_is_undecided_says_what_would_decide_it(signed_in):
    page = signed_in("/projects/2/diversity")
    assert "What would decide it: about" in text(page, "section[aria-labelledby=advice]")


def test_advice_that_is_given_says_what_would_turn_it(signed_in):
    said = text(signed_in("/projects/1/diversity"), "section[aria-labelledby=advice]")
    assert "What would change it: an excess clearly below 5 points (now 15.7 to 24.8 points)" in said


def test_groups_show_their_faces_and_lead_to_the_queue(signed_in):
    page = signed_in("/projects/1/groups")
    assert "58 of 114 strange items look alike, in 3 groups. Is each a new class" in text(page)
    faces = page.locator("section.group >> nth=0").locator("img")
    assert faces.count() == 10
    assert pixels(faces.first) == [8, 8]
    link = page.get_by_role("link", name="Look at them in the queue").first
    assert re.search(r"/projects/1/queue\?dataset=\d+&group=1$", link.get_attribute("href"))


def test_a_group_of_a_broken_source_is_set_aside_with_a_reason_and_comes_back(signed_in, dashboard):
    before = waiting_of_group(dashboard, 1)
    page = signed_in("/projects/1/groups")
    group = page.locator("section.group >> nth=0")
    assert f"{len(before)} wait for a person" in text(page)
    group.get_by_label("What is wrong with the source of group 1").fill("stripes <b>from</b> scanner B")
    with page.expect_navigation():
        group.get_by_role("button", name="Set aside").click()
    assert f"{len(before)} items of group 1 set aside: stripes <b>from</b> scanner B" in text(page)
    assert f"{len(before)} set aside" in text(page, "section.group >> nth=0"), "and the group says how its members stand"
    assert waiting_of_group(dashboard, 1) == []
    with dashboard.process.store.reading() as connection:
        event = history(connection, project_of(connection, "1").id)[0]
    said = event_sentence(event.kind, event.facts)
    assert said == f"{dashboard.user} set {len(before)} items aside: broken source, stripes <b>from</b> scanner B"
    with page.expect_navigation():
        page.locator("ul.aside").get_by_role("button", name="Undo").click()
    assert f"Undone: {len(before)} items wait again" in text(page)
    assert waiting_of_group(dashboard, 1) == before
    assert page.locator("ul.aside").count() == 0


def test_a_group_is_given_to_a_person_as_a_tab_of_what_waits_in_it(signed_in, dashboard):
    page = signed_in("/projects/1/groups")
    group = page.locator("section.group >> nth=1")
    group.get_by_label("Who group 2 is for").fill(" Ann  Lee ")
    with page.expect_navigation():
        group.get_by_role("button", name="Give them a tab").click()
    assert "tab “For Ann Lee: group 2” now" in text(page)
    assert dashboard.tool.projects["1"].assigned == {"For Ann Lee: group 2": waiting_of_group(dashboard, 2)}


def test_a_form_about_a_group_that_is_another_one_by_now_changes_nothing(dashboard):
    client, auth = dashboard.app.test_client(), (dashboard.user, dashboard.password)
    page = client.get("/projects/1/groups.json", auth=auth).json
    first, second = page["groups"]["groups"][:2]
    form = {"csrf": token(client, "/projects/1/groups", auth=auth), "dataset": page["dataset"]["id"], "group": first["number"]}
    before = waiting_of_group(dashboard, 1)
    for deed in ("aside", "assign"):
        given = {**form, "reason": "stripes", "person": "Ann", "typical": second["faces"][0]["item_id"]}
        answer = client.post(f"/projects/1/groups/{deed}", data=given, auth=auth)
        assert (answer.status_code, "have changed meanwhile" in answer.text) == (409, True), deed
        assert client.post(f"/projects/1/groups/{deed}", data={**given, "reason": " ", "person": ""}, auth=auth).status_code == 422
    assert waiting_of_group(dashboard, 1) == before
    assert dashboard.tool.projects["1"].assigned == {}


def test_groups_are_narrowed_to_those_with_members_that_pass(signed_in, dashboard):
    page = signed_in("/projects/1/groups")
    whole = page.locator("section.group").count()
    choice = page.locator("ul[aria-labelledby=facet-score] li:has(a)").last  # after it stands what has no choice of its own
    n = int(choice.locator(".muted").inner_text())
    follow(page, choice.locator("a"))
    passing = [int(re.search(r"(\d+) members? pass", said)[1]) for said in page.locator("section.group .group-head").all_inner_texts()]
    assert (sum(passing), len(passing) <= whole) == (n, True)
    page.get_by_label("Name of the view").fill("hardly strange")
    follow(page, page.get_by_role("button", name="Keep"))
    assert "score=" in page.url
    assert page.get_by_role("link", name="hardly strange").count() == 1


def waiting_of_group(dashboard, number):
    """The tasks of a group of all items that wait, as the store has them."""
    with dashboard.process.store.reading() as connection:
        project = project_of(connection, "1")
        return [row.task for row in queue_page(connection, project, filters=Filters(group=number), limit=1000).rows]


def test_a_dataset_without_groups_says_so(signed_in, dashboard):
    with dashboard.process.store.reading() as connection:
        id = connection.execute(select(dataset.c.id).where(dataset.c.name == "scanner=A")).scalar_one()
    page = signed_in(f"/projects/1/groups?dataset={id}")
    assert "No groups among the 8 strange items" in text(page)


def test_whoever_manages_decides_what_one_person_alone_contradicted(signed_in, dashboard, barriers):
    two_days_ago = time.time() - 2 * 86_400
    with dashboard.process.store.writing() as connection:
        of_first = (spot_check.c.project_id == 1, spot_check.c.route == "auto", spot_check.c.state == "open")
        id = connection.execute(select(spot_check.c.item_id).where(*of_first).limit(1)).scalar_one()
        connection.execute(update(review).values(updated_at=two_days_ago - 30 * 86_400))
        given = Review("9001", "ann", ("none of them",), updated_at=two_days_ago)
        keep_reviews(connection, 1, {id: [given]})
        contradicted = {"state": "disagreed", "answered_at": two_days_ago}
        connection.execute(update(spot_check).where(spot_check.c.item_id == id).values(contradicted))
    page = signed_in("/projects/1/guarantee")
    decisions = page.locator(".decisions li")
    assert decisions.count() == 1
    assert barriers(page) == []
    follow(page, decisions.locator("button", has_text="none of them"))
    page.get_by_text("Decided, and written down").wait_for()
    assert decisions.count() == 0
    kind, said = events(dashboard)[0]
    assert (kind, said.split(" decided")[0], said.endswith("the model was wrong")) == ("decided", "annotriage", True)


def test_the_guarantee_page_shows_the_evidence_and_what_people_found_since(signed_in):
    page = signed_in("/projects/1/guarantee")
    said = text(page)
    for part in (
        "At most 4 in 100 automatic labels",
        "automatic label",
        "checked blind",
        "of its level",
        "held-out items",
        "New kinds of items that look like",
    ):
        assert part in said
    curve = page.locator("figure[data-png=guarantee] svg").inner_html()
    assert "chosen" in curve
    assert "wrong labels seen" in curve, "nothing has a price here"
    assert page.locator("#classes-1 tbody tr").count() == 8


def test_two_scanners_are_compared_without_being_asked_for(signed_in):
    page = signed_in("/projects/1/compare")
    said = r"More strange items in scanner=B than in scanner=A: [\d.]+% against [\d.]+%. The difference is likely 29.6 to 43.5 points"
    assert re.search(said, text(page))
    assert page.locator("#next-step .next").count() == 0, "nothing leads to the comparison that stands here"
    follow(page, page.get_by_role("link", name="See what is strange in scanner=B"))
    assert "strange" in text(page, "#grid")
    assert "route=outlier" in page.url
    page.go_back()
    assert page.locator("section[aria-labelledby=faces] img").count() > 12


def test_two_stretches_of_time_are_compared(signed_in):
    page = signed_in("/projects/1/compare")
    follow(page, page.get_by_role("link", name="from the 7 days before to the last 7"))
    said = text(page, "section[aria-labelledby=result]")
    assert re.search(r"A the 7 days before \d+ ", said)
    assert "More strange items in the last 7 days than in the 7 days before" in said
    assert "counted by item" in said


def test_what_other_limits_would_do_is_shown_before_they_are_saved(signed_in, dashboard):
    page = signed_in("/projects/1/settings")
    page.get_by_label("Normal items that may be called strange").fill("30")
    page.locator("#preview").get_by_text("30% of normal items called strange").wait_for()
    assert re.search(r"Automatic \d+ of 454 items judged so far, \d+%; -\d+", text(page, "#preview"))
    assert project(dashboard).next_reference_id is None
    page.get_by_label("Largest share of wrong automatic labels").fill("99")
    page.locator("#preview").get_by_text("choose between").wait_for()


def test_shares_of_spot_checks_hold_at_once_and_are_written_down(signed_in, dashboard):
    page = signed_in("/projects/1/settings")
    page.get_by_label("Spot checks drawn from all items").fill("5")
    follow(page, page.get_by_role("button", name="Save"))
    assert "Saved" in text(page, "#notices")
    assert project(dashboard).options.sample_share == 0.05
    assert events(dashboard)[0] == ("settings", "sample_share 10% -> 5% by annotriage")
    with dashboard.process.store.reading() as connection:
        assert jobs.jobs_of(connection, project(dashboard).id) == []


def test_going_back_to_the_present_limits_before_others_were_tested_withdraws_these(signed_in, dashboard):
    page = signed_in("/projects/1/settings")
    page.get_by_label("Largest share of wrong automatic labels").fill("3")
    follow(page, page.get_by_role("button", name="Save"))
    page.get_by_label("Largest share of wrong automatic labels").fill("4")
    follow(page, page.get_by_role("button", name="Save"))
    assert "are no longer tested; the current ones stay" in text(page, "#notices")
    with dashboard.process.store.reading() as connection:
        assert jobs.jobs_of(connection, project(dashboard).id) == []
    told = "the limits asked for are no longer tested: annotriage went back to the current ones"
    assert events(dashboard)[0] == ("limits withdrawn", told)
    follow(page, page.get_by_role("button", name="Save"))
    assert "Nothing was changed" in text(page, "#notices")


def test_new_limits_are_tested_on_the_held_out_items_before_they_hold(signed_in, dashboard):
    page = signed_in("/projects/1/settings")
    page.get_by_label("Largest share of wrong automatic labels").fill("3")
    follow(page, page.get_by_role("button", name="Save"))
    assert "being tested on the held-out items" in text(page, "#notices")
    service = dashboard.service()
    service.run_jobs()
    service.close()
    assert project(dashboard).next_reference_id is not None
    kind, said = events(dashboard)[0]
    assert kind == "limits"
    assert said.startswith("max_error 0.04 -> 0.03 by annotriage: At most 3 in 100 automatic labels")
    page.goto(f"{dashboard.url}/projects/1/guarantee")
    assert "A new reference is taking over" in text(page)


def test_costs_and_limits_of_classes_are_tried_tested_and_shown(signed_in, dashboard):
    page = signed_in("/projects/1/settings")
    page.get_by_label("What errors cost").fill("3 > 55 = 4")
    page.locator("#preview").get_by_text("setting costs: '55' is none of the model's classes").wait_for()
    page.get_by_label("What errors cost").fill("dear")
    page.locator("#preview").get_by_text("'dear' is not a name and a number; write a line such as").wait_for()
    page.get_by_label("Largest share of wrong automatic labels").fill("20")
    page.get_by_label("Limits of single classes").fill("1 = 25%\n2 | 4 = 0.3")
    page.get_by_label("What errors cost").fill("3 > 5 = 4\n* > 7 = 2")
    page.locator("#preview").get_by_text("with a limit of 20%").wait_for()
    foreseen = int(re.search(r"Automatic (\d+) of 454 items", text(page, "#preview"))[1])
    follow(page, page.get_by_role("button", name="Save"))
    assert "being tested on the held-out items" in text(page, "#notices")
    service = dashboard.service()
    service.run_jobs()
    kind, said = events(dashboard)[0]
    assert kind == "limits"
    tables = "class_limits none -> 1 = 0.25, 2 | 4 = 0.3; costs none -> 3 > 5 = 4, * > 7 = 2 by annotriage: "
    assert said.startswith(f"max_error 0.04 -> 0.2; {tables}The expected cost of automatic labels of the other classes")
    with service.process.store.writing() as connection:
        change_project(connection, project(dashboard).id, reference_id=project(dashboard).next_reference_id, next_reference_id=None)
    service.close()
    page.goto(f"{dashboard.url}/projects/1/guarantee")
    assert "What errors cost: 3 > 5 4, * > 7 2, all others 1" in text(page)
    assert "Limit of 2 | 4 expected cost 0.3 per item" in text(page)
    page.goto(f"{dashboard.url}/projects/1/settings")
    assert page.get_by_label("What errors cost").input_value() == "3 > 5 = 4\n* > 7 = 2\n"
    assert page.get_by_label("Limits of single classes").input_value() == "1 = 25%\n2 | 4 = 30%\n"
    assert "Errors cost unlike amounts here (a usual one 1, the dearest 4)" in text(page)
    assert 0 < foreseen <= 454


def test_the_system_page_tells_what_is_missing_and_sends_again(signed_in, dashboard):
    store, found = dashboard.process.store, project(dashboard)
    with store.writing() as connection:
        ids = list(connection.execute(select(delivery.c.item_id).where(delivery.c.project_id == found.id).limit(2)).scalars())
        set_state(connection, found.reference_id, ids, "refused", error="<i>400</i> Bad Request")
        connection.execute(update(field_write).where(field_write.c.item_id == ids[0]).values(state="failed"))
    with store.inbox.writing() as connection:
        connection.execute(inbox.insert().values(body=b"{", state="failed", error="is no JSON", at=time.time()))
    page = signed_in("/system")
    said = text(page)
    assert "No sign of life from worker, jobs" in said  # web makes this page
    assert "<i>400</i> Bad Request" in said
    follow(page, page.get_by_role("button", name="Send them again"))
    assert "2 predictions will be sent again" in text(page, "#notices")
    with store.reading() as connection:
        states = connection.execute(
            select(delivery.c.state).where(delivery.c.item_id.in_(ids), delivery.c.reference_id == found.reference_id)
        )
        assert set(states.scalars()) == {"pending"}
    follow(page, page.get_by_role("button", name="Delete those that cannot be read"))
    assert "is no JSON" not in text(page)


def test_a_labeling_tool_that_is_down_is_said_and_the_pages_stay_usable(signed_in, dashboard):
    with dashboard.process.store.writing() as connection:
        change_project(connection, project(dashboard).id, read_until=time.time() - 600)
    page = signed_in("/")
    assert "not read for 10 minutes: it may be down" in text(page)
    page.goto(f"{dashboard.url}/projects/1/guarantee")
    assert "Label Studio was not read for 10 minutes" in text(page)
    assert "At most 4 in 100" in text(page)


def test_the_checks_of_doctor_can_be_run(signed_in):
    page = signed_in("/system")
    follow(page, page.get_by_role("link", name="Run the checks"))
    assert "to fix" in text(page)
    assert "Start annotriage serve" in text(page)


def test_signing_in_leads_to_what_was_asked_for(dashboard, open_page):
    page = open_page(f"{dashboard.url}/projects/1/groups")
    page.get_by_label("User").fill(dashboard.user)
    page.get_by_label("Password").fill(dashboard.password)
    follow(page, page.get_by_role("button", name="Sign in"))
    page.locator("section.group").first.wait_for()
    assert page.url == f"{dashboard.url}/projects/1/groups"


def test_an_open_page_follows_what_happens(signed_in, dashboard):
    page = signed_in("/")
    before = page.locator("#cards section >> nth=0").locator("a.big").inner_text()
    tool = dashboard.tool.projects["1"]
    service = dashboard.service()
    tool.add(tool.tasks_by_id["1"].media)
    tool.add("data:image/png;base64,AAAA")
    service.settle()
    service.assess()
    service.close()
    changed = "before => document.querySelector('#cards a.big').textContent !== before"
    wait_until(lambda: page.evaluate(changed, before), what="for the card to change")
    assert page.evaluate("performance.getEntriesByType('navigation').length") == 1


@pytest.mark.parametrize("path", ["/", "/projects/1/guarantee"])
def test_what_happens_before_a_page_first_looks_shows_too(dashboard, open_page, path):
    """Between the making of a page and its first look lies the time that its scripts take to arrive."""
    page = open_page("about:blank", storage_state=dashboard.session())

    def late(route):
        with dashboard.process.store.writing() as connection:
            pausing.pause(connection, project(dashboard), "meanwhile")
        route.continue_()

    page.route("**/static/live.js", late)
    page.goto(dashboard.url + path)
    page.get_by_text("A person paused automatic labels: meanwhile").first.wait_for()


def test_what_is_being_typed_survives_an_update(signed_in, dashboard):
    page = signed_in("/")
    page.get_by_text("Pause automatic labels").first.click()
    page.get_by_label("Why").first.fill("half a")
    update = page.expect_request(lambda request: request.url == f"{dashboard.url}/" and request.resource_type == "fetch")
    with update, dashboard.process.store.writing() as connection:
        pausing.pause(connection, project(dashboard, "2"), "x")
    with page.expect_request("**/changes"):  # that one is done
        pass
    assert page.get_by_label("Why").first.input_value() == "half a"
    page.get_by_text("Pause automatic labels").first.click()  # folded up again
    page.get_by_text("A person paused automatic labels: x").wait_for()


def test_items_and_queue_can_be_taken_away_as_csv(signed_in, dashboard):
    with dashboard.process.store.writing() as connection:
        connection.execute(update(item).where(item.c.external_id == "1").values(group="=HYPERLINK(1)"))
    page = signed_in("/projects/1/diversity")
    rows = {}
    for name in ("items", "queue"):
        with page.expect_download() as download:
            page.get_by_role("link", name=f"{name}.csv").click()
        rows[name] = list(csv.DictReader(io.StringIO(download.value.path().read_text("utf-8"))))
    assert len(rows["items"]) == 454
    assert len(rows["queue"]) == 68
    assert {row["route"] for row in rows["items"]} == {"auto", "uncertain", "outlier", "failed", "spot check"}
    assert rows["items"][0]["dataset_group"] == "'=HYPERLINK(1)"


def test_a_chart_can_be_taken_away_as_a_picture(signed_in):
    page = signed_in("/projects/1/diversity")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as PNG").click()
    content = download.value.path().read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) > 10_000


def test_a_picture_that_is_not_there_is_said(signed_in, dashboard):
    with dashboard.process.store.writing() as connection:
        connection.execute(thumbnail.delete())
    page = signed_in("/projects/1/groups")
    assert pixels(page.get_by_role("img", name="Task").first) > [0, 0]


def test_a_project_before_its_first_item_says_what_happens_next(signed_in, dashboard):
    with dashboard.process.store.writing() as connection:
        connection.execute(snapshot.delete())
        connection.execute(event.delete())
        connection.execute(job.delete())
    page = signed_in("/")
    assert "Nothing is assessed yet" in text(page)
    for path, said in (
        ("diversity", "Import tasks in Label Studio"),
        ("groups", "Groups are looked for a few seconds after"),
        ("compare", "not assessed yet"),
        ("guarantee", "At most 4 in 100"),
    ):
        page.goto(f"{dashboard.url}/projects/1/{path}")
        assert said in text(page)


def test_pages_do_without_scripts(signed_in, dashboard):
    page = signed_in("/", java_script_enabled=False)
    page.goto(f"{dashboard.url}/projects/1/settings?alpha=30")
    assert "30% of normal items called strange" in text(page, "#preview")
    for path in OWN:
        page.goto(dashboard.url + path)
        assert len(text(page)) > 200


def test_the_report_of_a_dataset_can_be_made_and_taken_away(signed_in, open_page, dashboard, tmp_path):
    page = signed_in("/projects/1/diversity")
    follow(page, page.get_by_role("link", name="scanner=B", exact=True))
    follow(page, page.get_by_role("button", name="Make the report"))
    assert "is being made" in text(page, "#notices")
    service = dashboard.service()
    service.run_jobs()
    service.close()
    page.reload()
    with page.expect_download() as download:
        page.get_by_role("link", name="report.html").click()
    file = tmp_path / "report.html"
    download.value.save_as(file)
    report = open_page(file.as_uri())
    assert "Triage of scanner=B of Digit scans" in report.locator("h1").inner_text()
    assert "40.9%" in text(report)
    assert report.locator("#groups img").count() > 12


def test_the_atlas_of_a_dataset_shows_where_its_outliers_fall(signed_in, open_page, dashboard, tmp_path):
    page = signed_in("/projects/1/diversity")
    follow(page, page.get_by_role("button", name="Make the atlas"))
    assert "The atlas is being made" in text(page, "#notices")
    service = dashboard.service()
    service.run_jobs()
    service.close()
    page.reload()
    with page.expect_download() as download:
        page.get_by_role("link", name="atlas.html").click()
    file = tmp_path / "atlas.html"
    download.value.save_as(file)
    atlas = open_page(file.as_uri())
    assert "all items of Digit scans" in atlas.locator("h1").inner_text()
    assert atlas.locator("#plane .strange").count() > 12
    atlas.locator("#plane .strange").first.dispatch_event("click")
    assert "It lies where the most similar usual items lie" in text(atlas, "#cell-panel")
    assert "The model calls it" not in text(atlas, "#cell-panel")  # whoever answers it is anchored by nothing


def test_a_projects_shortest_address_has_a_twin_too(dashboard):
    client, auth = dashboard.app.test_client(), (dashboard.user, dashboard.password)
    twin = client.get("/projects/1.json", auth=auth, follow_redirects=True)
    assert twin.json["card"]["project"]["project"] == "1"
    assert twin.request.path == "/projects/1/overview.json"
