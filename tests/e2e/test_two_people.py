"""Two people label side by side in Chromium with the Label button: different tasks, strangest first, and the queue shrinks."""

from __future__ import annotations

import base64
import io
import re

import pytest
from PIL import Image
from running import RunningService
from waiting import PATIENCE, wait_until

CONFIG = (
    '<View><Image name="image" value="$image"/><Choices name="label" toName="image">'
    + "".join(f'<Choice value="{digit}"/>' for digit in range(8))
    + '<Choice value="None of these" alias="none-of-these"/></Choices></View>'
)
EACH = 4  # tasks that each of them labels


@pytest.fixture
def service(label_studio, tmp_path):
    # without spot_checks: one that was answered otherwise than the model would be handed out again, to the other person
    service = RunningService(tmp_path / "service", label_studio.url, label_studio.token, sample_share=0.0, audit_share=0.0)
    service.start()
    yield service
    service.stop()


@pytest.fixture
def project(label_studio, service, digits_reference, digits, tmp_path):
    """A project in which all is triaged: strangers and known digits."""
    digits_reference.save(tmp_path / "digits")
    id = label_studio.project(config=CONFIG)
    service.command("connect", "--project", id, "--reference", tmp_path / "digits")
    images = [*digits.strangers[0][:15], *digits.incoming[0][:15]]
    label_studio.import_tasks(id, [{"image": _data_uri(image)} for image in images])
    wait_until(lambda: _trusts(label_studio, id).keys() and None not in _trusts(label_studio, id).values(), what="for predictions")
    wait_until(lambda: len(label_studio.call("GET", "/api/dm/views/", project=id)) >= 4, what="for the tabs")
    return id


class Annotator:
    """A person at the browser. given: the tasks that the Label button handed out, in order."""

    def __init__(self, browser, person, project):
        self.given = []
        cookies = [{"name": name, "value": value, "url": person.url} for name, value in person.session.cookies.items()]
        session = {"cookies": cookies, "origins": []}
        self.page = browser.new_context(viewport={"width": 1280, "height": 900}, storage_state=session).new_page()
        self.page.set_default_timeout(1000 * PATIENCE)
        self.page.on("response", self._note)
        self.page.goto(f"{person.url}/projects/{project}/data")

    def start(self):
        """Click the Label button."""
        self.page.get_by_role("button", name=re.compile("^Label All Tasks")).first.click()
        self._wait(1)

    def label(self, choice):
        """Answer the task at hand; Label Studio then hands out the next."""
        count = len(self.given)
        self.page.get_by_text(re.compile(f"^{choice}")).first.click()  # its hotkey stands behind it
        self.page.get_by_role("button", name=re.compile("^Submit")).first.click()
        self._wait(count + 1)

    def choices(self):
        """Which choices are ticked before the person has done anything."""
        return self.page.locator("input[type=checkbox]:checked, input[type=radio]:checked").count()

    def _wait(self, count):
        wait_until(lambda: self.page.wait_for_timeout(100) or len(self.given) >= count, what="for the next task")
        self.page.get_by_role("button", name=re.compile("^Submit")).first.wait_for()

    def _note(self, response):
        if "id=next_task" in response.url and response.status == 200:
            self.given.append(response.json()["id"])


def test_two_people_label_side_by_side(browser, label_studio, service, project):
    strangest = sorted((trusts := _trusts(label_studio, project)), key=trusts.__getitem__)
    queue = _queue(service, project)
    people = [Annotator(browser, label_studio.user(), project) for _ in range(2)]
    for annotator in people:
        annotator.start()
        assert annotator.choices() == 0, "an outlier shows the model's guess"
    for _ in range(EACH):
        for annotator in people:
            annotator.label("None of these")
    given = [task for annotator in people for task in annotator.given[:EACH]]
    assert len(set(given)) == 2 * EACH
    assert sorted(given, key=strangest.index) == strangest[: 2 * EACH]
    wait_until(lambda: _queue(service, project) == queue - 2 * EACH, what="for the queue to shrink")


def _queue(service, project):
    return service.get(f"/api/projects/{project}")["project"]["queue"]


def _trusts(label_studio, project):
    tasks = label_studio.call("GET", "/api/tasks/", project=project, fields="all", page_size=500)["tasks"]
    return {task["id"]: task["predictions_score"] for task in tasks}


def _data_uri(image):
    content = io.BytesIO()
    Image.fromarray(image).resize((128, 128), Image.Resampling.NEAREST).save(content, "PNG")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
