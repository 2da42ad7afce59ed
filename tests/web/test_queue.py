"""The queue's page in a real browser, on real digits: walked by keyboard, filtered, many items taken out of it at once."""

from __future__ import annotations

import csv
import io
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from browsers import follow, pixels, text
from sqlalchemy import select, update
from waiting import wait_until

from annotriage.advice.event_words import event_sentence
from annotriage.labeling_tool import Account
from annotriage.service.delivery.rerouting import take_back
from annotriage.service.intake.answering import give_answer
from annotriage.store.browsing import item_of_id
from annotriage.store.counters import recounted
from annotriage.store.events import history
from annotriage.store.projects import project_of
from annotriage.store.queue import Filters, queue_page
from annotriage.store.schema import dataset, item, verdict

pytestmark = pytest.mark.browser

QUEUE = "/projects/1/queue"


def waiting(dashboard, project="1", **options):
    """The rows of the whole queue, as the store has them."""
    with dashboard.process.store.reading() as connection:
        return queue_page(connection, project_of(connection, project), limit=1000, **options).rows


def shown(page):
    return page.locator("table.queue tbody tr").evaluate_all("rows => rows.map((row) => Number(row.dataset.item))")


def current(page):
    return page.locator("tr[aria-current=true]").get_attribute("data-item")


def dataset_id(dashboard, name):
    with dashboard.process.store.reading() as connection:
        return connection.execute(select(dataset.c.id).where(dataset.c.name == name)).scalar_one()


def test_the_strangest_come_first_page_after_page(signed_in, dashboard):
    page = signed_in(QUEUE)
    expected = [row.id for row in waiting(dashboard)]
    found = shown(page)
    while page.locator("#next").count():
        follow(page, page.locator("#next"))
        found += shown(page)
    assert found == expected
    checks = len(waiting(dashboard, filters=Filters(route="spot check")))
    assert f"{len(expected) + checks} wait" in page.locator("#queue-count").inner_text()


def test_every_row_says_why_it_waits_and_what_its_dataset_is_like(signed_in, dashboard):
    page = signed_in(f"{QUEUE}?route=outlier")
    row = page.locator("table.queue tbody tr").filter(has_not_text="spot check").first.inner_text()
    assert "strange" in row
    assert "Stranger than" in row
    assert page.locator("table.queue tbody tr").first.get_by_role("link").count() == 1, "one way on from each row"
    cut = "reasons => reasons.filter((reason) => reason.scrollHeight > reason.clientHeight + 1).length"
    assert page.locator("table.queue .why .clamp").evaluate_all(cut) == 0, "each reason is whole"
    assert re.search(r"scanner=[AB]\s+\d+(\.\d)?% strange \(\d+\.\d to \d+\.\d%\)", row)
    assert pixels(page.locator("table.queue tbody img").first) > [0, 0]


def test_it_is_walked_by_keyboard(signed_in):
    page = signed_in(QUEUE)
    ids = [str(id) for id in shown(page)]
    for key, place in (("j", 0), ("j", 1), ("ArrowDown", 2), ("k", 1), ("ArrowUp", 0), ("k", 0), ("j", 1)):
        page.keyboard.press(key)
        assert current(page) == ids[place], key
    assert page.evaluate("document.activeElement.matches('tr[aria-current] a.walk')"), "screen readers stand there, too"
    page.keyboard.press("x")
    assert page.locator("#selected").inner_text() == "1 selected"
    page.keyboard.press("x")
    assert page.locator("#selected").inner_text() == "None selected"
    assert page.get_by_role("button", name="Take out of the queue").is_disabled(), "there is nothing to take out"
    page.keyboard.press("o")
    page.wait_for_url("**/items/*")
    page.go_back()
    assert current(page) == ids[1], "one comes back to where one was"
    page.keyboard.press("n")
    page.wait_for_url("**after=*")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"


def test_enter_opens_the_task_in_the_labeling_tool(signed_in, dashboard):
    there = dashboard.tool.project("1", ())
    type(there).address, before = (lambda self, task="": f"{dashboard.url}/health?task={task}"), type(there).address
    try:
        page = signed_in(QUEUE)
        page.keyboard.press("j")
        page.keyboard.press("j")
        with page.context.expect_page() as opened:
            page.keyboard.press("Enter")
        task = page.locator("tr[aria-current] a.walk").inner_text()
        opened.value.wait_for_url(f"{dashboard.url}/health?task={task}")
    finally:
        type(there).address = before


def test_the_keys_are_listed_and_typing_is_not_walking(signed_in):
    page = signed_in(QUEUE)
    page.keyboard.press("?")
    assert page.get_by_role("dialog", name="Keys").is_visible()
    page.keyboard.press("Escape")
    page.get_by_role("dialog", name="Keys").wait_for(state="hidden")
    page.locator("#search").fill("")
    page.locator("#search").type("jx?")
    assert page.locator("tr[aria-current]").count() == 0
    assert page.locator("#search").input_value() == "jx?"


def test_u_takes_what_is_not_strange_out_of_the_queue_and_it_can_be_undone(signed_in, dashboard):
    before = [row.id for row in waiting(dashboard)]
    page = signed_in(f"{QUEUE}?route=outlier")
    page.keyboard.press("j")
    gone = int(current(page))
    page.keyboard.press("u")
    page.locator("#notices", has_text="1 item is out of the queue").wait_for()
    assert gone not in shown(page)
    assert current(page) is not None, "one stands on the next item"
    assert [row.id for row in waiting(dashboard)] == [id for id in before if id != gone]
    with dashboard.process.store.reading() as connection:
        event = history(connection, project_of(connection, "1").id)[0]
    assert event_sentence(event.kind, event.facts) == f"{dashboard.user} took 1 item out of review"
    page.get_by_role("button", name="Undo").click()
    page.locator(f"tr[data-item='{gone}']").wait_for()
    assert [row.id for row in waiting(dashboard)] == before


@pytest.fixture
def answering(dashboard):
    """The visitor has an account in the labeling tool."""
    dashboard.tool.people = [Account("7", "Ann Lee", (dashboard.user,))]


def test_an_item_is_answered_by_two_keys_and_that_can_be_undone(answering, signed_in, dashboard):
    page = signed_in(f"{QUEUE}?route=outlier")
    page.locator("#answering[data-ready]").wait_for()
    ids = [str(id) for id in shown(page)]
    page.keyboard.press("j")
    page.keyboard.press("3")
    assert page.locator("#choices button[aria-pressed=true]").inner_text().split() == ["3", "2"]
    page.keyboard.press("4")
    assert page.locator("#choices button[aria-pressed=true]").inner_text().split() == ["4", "3"], "one class alone"
    page.keyboard.press("Enter")
    page.locator(f"tr[data-item='{ids[0]}']").wait_for(state="detached")
    assert current(page) == ids[1], "one stands on the next item"
    assert page.locator("#choices button[aria-pressed=true]").count() == 0, "nothing is chosen for it"
    with dashboard.process.store.reading() as connection:
        answered = item_of_id(connection, project_of(connection, "1"), int(ids[0]))
    there = dashboard.tool.projects["1"].tasks_by_id[answered.task].reviews
    assert (answered.answered, [(one.annotator, one.labels) for one in there]) == (("3",), [("7", ("3",))])
    assert f"Task {answered.task}: 3." in text(page, "#notices")
    follow(page, page.get_by_role("button", name="Undo"))
    assert [str(id) for id in shown(page)] == ids
    assert dashboard.tool.projects["1"].tasks_by_id[answered.task].reviews == ()


def test_it_is_answered_by_clicks_too_and_the_last_one_on_a_page_can_still_be_undone(answering, signed_in, dashboard):
    project = next(row for row in waiting(dashboard) if row.route == "failed")
    page = signed_in(f"{QUEUE}?route=failed")
    page.locator("#answering[data-ready]").wait_for()
    assert shown(page) == [project.id]
    page.get_by_role("button", name="something else").click()
    with page.expect_navigation():
        page.get_by_role("button", name="Submit").click()
    page.get_by_role("button", name="Undo").wait_for()
    assert "No waiting item passes these filters" in page.locator("main").inner_text()
    page.get_by_role("button", name="Undo").click()
    page.locator(f"tr[data-item='{project.id}']").wait_for()


def test_without_an_account_there_it_says_how_and_digits_choose_nothing(signed_in):
    page = signed_in(QUEUE)
    page.locator("#answering-why", has_text="sign in here with the email address").wait_for()
    assert "annotriage people add EMAIL" in page.locator("#answering-account").inner_text()
    page.keyboard.press("j")
    page.keyboard.press("1")
    assert page.locator("#choices button").count() == 0


def test_a_key_that_needs_a_task_says_so_and_the_next_step_leads_to_its_row(answering, signed_in):
    page = signed_in(f"{QUEUE}?route=outlier")
    page.locator("#answering[data-ready]").wait_for()
    page.keyboard.press("1")
    page.locator("#notices", has_text="Choose a task first").wait_for()
    page.locator("#next-step a.primary").click()
    page.locator("tr[aria-current=true]").wait_for()
    page.keyboard.press("1")
    assert page.locator("#choices button[aria-pressed=true]").count() == 1
    assert current(page) == str(shown(page)[0])


def test_a_labeling_tool_that_does_not_say_who_may_answer_is_told(signed_in, open_page):
    open_page.expected("503")
    page = signed_in("/projects/1/overview")
    page.route("**/answering*", lambda request: request.fulfill(status=503, json={}))
    page.goto(page.url.replace("/overview", "/queue"))
    page.locator("#answering-why", has_text="cannot be answered here just now").wait_for()


def test_an_answer_that_is_refused_leaves_the_row_and_says_why(answering, signed_in, dashboard, open_page):
    open_page.expected("409")
    page = signed_in(f"{QUEUE}?route=outlier")
    page.locator("#answering[data-ready]").wait_for()
    page.keyboard.press("j")
    first = current(page)
    task = page.locator("tr[aria-current] a.walk").inner_text()
    dashboard.tool.projects["1"].annotate(task, "3", by="9")  # the service does not know of it yet
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    page.locator("#notices", has_text="somebody has answered it meanwhile").wait_for()
    assert current(page) == first
    assert page.locator(f"tr[data-item='{first}'].leaving").count() == 0


def test_rows_that_are_answered_elsewhere_fade_while_one_looks(signed_in, dashboard):
    page = signed_in(f"{QUEUE}?route=outlier")
    ids = shown(page)
    page.keyboard.press("j")
    page.keyboard.press("j")
    stood, other = ids[1], ids[3]
    dashboard.tool.people = [Account("9", "Cleo", ("cleo",))]
    with dashboard.process.store.reading() as connection:
        project = project_of(connection, "1")
    for answered in (stood, other):
        give_answer(dashboard.process, project, answered, ["3"], "cleo", 1.0)
    for gone in (stood, other):
        page.locator(f"tr[data-item='{gone}']").wait_for(state="detached")
    assert shown(page) == [id for id in ids if id not in (stood, other)]
    assert current(page) == str(ids[2]), "one stands on the next one"


def test_no_bar_lies_over_the_row_on_which_one_stands(answering, signed_in):
    page = signed_in(f"{QUEUE}?route=outlier", viewport={"width": 1280, "height": 560})
    page.locator("#answering[data-ready]").wait_for()
    page.keyboard.press("j")
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Undo").wait_for()
    covered = """() => {
      const row = document.querySelector('tr[aria-current]').getBoundingClientRect(), y = (row.top + row.bottom) / 2;
      return [40, row.width / 2, row.width - 40].some((x) => !document.elementFromPoint(row.left + x, y)?.closest('tr[aria-current]'));
    }"""
    for key in ("j",) * 12 + ("k",) * 12:
        page.keyboard.press(key)
        assert not page.evaluate(covered), key
        undo = page.get_by_role("button", name="Undo").bounding_box()
        assert 0 <= undo["y"] <= 560 - undo["height"], "it stays on the screen"


def test_asking_twice_while_the_answer_is_on_its_way_changes_nothing_more(signed_in):
    page, asked = signed_in(f"{QUEUE}?route=outlier"), []
    page.route("**/reroute", lambda request: asked.append(request))
    page.keyboard.press("j")
    with page.expect_request("**/reroute"):
        page.keyboard.press("u")
    page.keyboard.press("u")
    wait_until(lambda: page.evaluate("true") and asked, what="for the request")
    for request in asked:
        request.continue_()
    page.locator("#notices", has_text="1 item is out of the queue").get_by_role("button", name="Undo").wait_for()
    assert len(asked) == 1


def test_a_page_that_is_taken_out_whole_still_says_so_and_can_be_undone(signed_in, dashboard):
    row = next(row for row in waiting(dashboard, filters=Filters(route="uncertain")) if not row.spot_check)
    with dashboard.process.store.writing() as connection:
        connection.execute(update(verdict).where(verdict.c.item_id == row.id).values(label="alone"))
    page = signed_in(f"{QUEUE}?label=alone")
    page.keyboard.press("j")
    page.keyboard.press("u")
    page.get_by_text("No waiting item passes these filters").wait_for()
    page.locator("#notices", has_text="1 item is out of the queue").wait_for()
    follow(page, page.get_by_role("button", name="Undo"))
    assert shown(page) == [row.id]


def test_many_are_selected_and_taken_out_at_once(signed_in, dashboard):
    page = signed_in(QUEUE)
    failed = {row.id for row in waiting(dashboard)[:50] if row.route == "failed"}
    page.locator("#all").check()
    assert page.locator("#selected").inner_text() == "50 selected"
    page.get_by_role("button", name="Take out of the queue").click()
    page.locator("#notices", has_text="out of the queue").wait_for()
    assert set(shown(page)) & {row.id for row in waiting(dashboard)} >= failed


def test_spot_checks_wait_apart_and_stay(signed_in, dashboard):
    expected = [row.id for row in waiting(dashboard, filters=Filters(route="spot check"))]
    page = signed_in(QUEUE)
    page.get_by_role("link", name="spot check", exact=True).click()
    page.wait_for_url("**route=spot**")
    assert shown(page) == expected[:50]
    assert "mixes them in: about 25% of what it hands out" in page.locator("main").inner_text()
    page.locator("#all").check()
    page.get_by_role("button", name="Take out of the queue").click()
    page.locator("#notices", has_text="spot checks, which stay as they are").wait_for()
    assert [row.id for row in waiting(dashboard, filters=Filters(route="spot check"))] == expected


def test_what_was_taken_out_can_be_looked_at_and_sent_back(signed_in, dashboard):
    ids = [row.id for row in waiting(dashboard, filters=Filters(route="outlier"))][:3]
    with dashboard.process.store.reading() as connection:
        project = project_of(connection, "1")
    take_back(dashboard.process, project, ids, "Ann")
    page = signed_in(QUEUE)
    follow(page, page.get_by_role("link", name="taken out of the queue"))
    assert "state=out" in page.url
    assert set(shown(page)) == set(ids)
    page.keyboard.press("j")
    page.keyboard.press("u")
    page.locator("#notices", has_text="1 item waits for a person now").wait_for()
    assert len({row.id for row in waiting(dashboard)} & set(ids)) == 1


def test_filters_and_orders_are_chosen_from_lists_and_stand_in_the_address(signed_in, dashboard):
    page = signed_in(QUEUE)
    scanner = dataset_id(dashboard, "scanner=B")
    page.get_by_role("link", name="scanner=B", exact=True).first.click()
    page.wait_for_url("**dataset=*")
    page.get_by_label("Order").select_option("Newest first")
    page.wait_for_url("**order=newest*")
    asked = parse_qs(urlsplit(page.url).query)
    assert asked == {"order": ["newest"], "dataset": [str(scanner)]}
    assert shown(page) == [row.id for row in waiting(dashboard, order="newest", filters=Filters(dataset=scanner))][:50]
    page.get_by_role("link", name="strange", exact=True).first.click()
    page.wait_for_url("**route=outlier*")
    assert {text.split()[0] for text in page.locator("table.queue .route").all_inner_texts()} <= {"strange"}


def test_choices_say_what_they_leave_and_several_are_taken_together(signed_in, dashboard):
    page = signed_in(QUEUE)
    for facet in ("dataset", "route", "score", "since"):
        choice = page.locator(f"ul[aria-labelledby=facet-{facet}] li", has_text="strange" if facet == "route" else "").first
        said = int(choice.locator(".muted").inner_text().replace(",", ""))
        follow(page, choice.locator("a"))
        shown_now = len(waiting(dashboard, filters=walk_of(page.url)))
        assert shown_now == said, facet
        assert page.locator(f"ul[aria-labelledby=facet-{facet}] a[aria-current]").count() == 1
    follow(page, page.get_by_role("link", name="Show everything again"))
    assert urlsplit(page.url).query == ""


def walk_of(url):
    """The filters that an address names."""
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    kinds = {"dataset": int, "score": float}
    return Filters(**{name: kinds.get(name, str)(value) for name, value in asked.items()})


def test_a_view_is_kept_for_everybody_under_a_name_and_deleted_again(signed_in):
    page = signed_in(f"{QUEUE}?route=outlier&order=newest")
    page.get_by_label("Name of the view").fill("new <b>strangers</b>")
    follow(page, page.get_by_role("button", name="Keep"))
    assert "The view new <b>strangers</b> is kept for everybody" in text(page, "#notices")
    follow(page, page.get_by_role("link", name="Show everything again"))
    follow(page, page.get_by_role("link", name="new <b>strangers</b>"))
    assert parse_qs(urlsplit(page.url).query) == {"route": ["outlier"], "order": ["newest"]}
    follow(page, page.get_by_role("button", name="Delete the view"))
    assert page.locator("#views").count() == 0


def test_one_of_each_group_comes_first(signed_in, dashboard):
    page = signed_in(f"{QUEUE}?order=groups")
    assert "The first rows are one of each group" in page.locator("main").inner_text()
    first = page.locator("table.queue tbody tr").first.inner_text()
    assert "group 1" in first
    assert shown(page) == [row.id for row in waiting(dashboard, order="groups")][: len(shown(page))]


def test_boundary_first_says_what_that_means_where_nothing_is_automatic(signed_in):
    page = signed_in("/projects/2/queue?order=boundary")
    assert "No label is automatic yet" in page.locator("main").inner_text()


def test_a_task_is_found_by_its_id_and_a_missing_one_is_said(signed_in, dashboard):
    page = signed_in(QUEUE)
    task = waiting(dashboard)[3].task
    page.locator("#search").fill(task)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/items/{task}")
    page.go_back()
    page.locator("#search").fill("<script>alert(1)</script>\u202e" + "9" * 180)
    page.keyboard.press("Enter")
    page.locator("main", has_text="There is no task <script>alert(1)</script>").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_count_follows_what_happens_meanwhile(signed_in, dashboard):
    page = signed_in(QUEUE)
    before = len(waiting(dashboard)) + len(waiting(dashboard, filters=Filters(route="spot check")))
    with dashboard.process.store.reading() as connection:
        project = project_of(connection, "1")
    take_back(dashboard.process, project, [row.id for row in waiting(dashboard, filters=Filters(route="outlier"))][-2:], "Ann")
    page.locator("#queue-count", has_text=f"{before - 2} wait").wait_for()


def test_it_works_without_scripts(signed_in, dashboard):
    page = signed_in(f"{QUEUE}?route=outlier", java_script_enabled=False)
    chosen = next(row.id for row in waiting(dashboard, filters=Filters(route="outlier")))
    page.locator(f"input[name=item][value='{chosen}']").check()
    follow(page, page.get_by_role("button", name="Take out of the queue"))
    assert "1 item is out of the queue" in text(page, "#notices")
    assert "route=outlier" in page.url


def test_the_csv_holds_what_is_shown_and_no_formula(signed_in, dashboard):
    evil = next(row.id for row in waiting(dashboard, filters=Filters(route="failed")))
    with dashboard.process.store.writing() as connection:
        connection.execute(update(verdict).where(verdict.c.item_id == evil).values(reason="=HYPERLINK(1)"))
    page = signed_in(f"{QUEUE}?order=boundary")
    with page.expect_download() as download:
        page.get_by_role("link", name="Save as CSV").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text("utf-8"))))
    expected = waiting(dashboard, order="boundary")
    assert [row["task"] for row in rows] == [row.task for row in expected]
    assert "'=HYPERLINK(1)" in {row["reason"] for row in rows}


def test_hostile_text_is_text_and_widens_nothing(signed_in, dashboard):
    evil = "<img src=x onerror=alert(1)> \u202egnp.exe " + "W" * 10_000
    first = waiting(dashboard)[1].id
    with dashboard.process.store.writing() as connection:
        connection.execute(update(verdict).where(verdict.c.item_id == first).values(reason=evil, label=evil, route="outlier"))
        connection.execute(update(item).where(item.c.id == first).values(external_id=evil[:300], route="outlier"))
        connection.execute(update(dataset).where(dataset.c.kind == "field").values(name=dataset.c.name.concat(evil)))
    for width in (1280, 820):
        page = signed_in(QUEUE, viewport={"width": width, "height": 900})
        assert page.locator("main img[src=x]").count() == 0
        assert "<img src=x" in page.locator(f"tr[data-item='{first}']").inner_text()
        assert page.locator(f"tr[data-item='{first}']").bounding_box()["height"] < 400
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("order=sideways", "is none of strangest, groups"),
        ("after=x~1", "is not a place in the queue"),
        ("after=nan~1", "not a place in the queue"),
        ("route=<b>", "is none of failed"),
        ("dataset=999999", "has no dataset 999999"),
        ("group=-1", "is not a number"),
        ("state=answered", "is none of waiting, out"),
        ("score=0.3", "is none of 0.0, 0.5"),
        ("since=<i>", "is none of day, week, month"),
    ],
)
def test_an_address_that_makes_no_sense_is_answered_with_what_is_wrong(signed_in, open_page, query, complaint):
    open_page.expected("4")
    page = signed_in(f"{QUEUE}?{query}")
    assert complaint in page.locator("main").inner_text()


def test_an_empty_queue_and_empty_filters_say_so(signed_in, dashboard):
    page = signed_in(f"{QUEUE}?label=axolotl")
    assert "No waiting item passes these filters" in page.locator("main").inner_text()
    with dashboard.process.store.writing() as connection, recounted(connection, list(connection.execute(select(item.c.id)).scalars())):
        connection.execute(update(item).values(answer="resolved"))
    page.goto(f"{dashboard.url}{QUEUE}")
    assert "The queue is empty" in page.locator("main").inner_text()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_there_are_no_barriers(answering, signed_in, barriers, theme):
    page = signed_in(QUEUE, color_scheme=theme)
    page.locator("#answering[data-ready]").wait_for()
    page.keyboard.press("j")
    page.keyboard.press("1")
    assert barriers(page) == []
    page.keyboard.press("?")
    assert barriers(page) == []


def test_a_form_of_another_site_changes_nothing(dashboard):
    client = dashboard.app.test_client()
    given = client.post(f"{QUEUE}/reroute", data={"item": "1", "to": "back"}, auth=(dashboard.user, dashboard.password))
    assert given.status_code == 403
