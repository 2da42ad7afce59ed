"""A project of the real Label Studio, triaged by a worker whose parts are stepped, so that nothing waits."""

from __future__ import annotations

import io

from PIL import Image
from stores import verdict_of

from annotriage.media.data_uri import encode_data_uri
from annotriage.service.delivery.outbox import Delivery
from annotriage.service.intake.following import Follower
from annotriage.service.judging.judge import Judge
from annotriage.service.operations.process import Process
from annotriage.service.operations.references import keep_reference
from annotriage.settings import ServiceSettings
from annotriage.store.projects import ProjectOptions, add_project, get_project
from annotriage.store.schema import item, spot_check

CONFIG = (
    '<View><Image name="image" value="$image"/><Choices name="label" toName="image">'
    + "".join(f'<Choice value="{digit}"/>' for digit in range(8))
    + '<Choice value="None of these" alias="none-of-these"/></Choices></View>'
)


def picture(image):
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG")
    return encode_data_uri(content.getvalue(), "image/png")


class Triaged:
    """A project of the real server, triaged by this process."""

    def __init__(self, folder, label_studio, reference, images, config=CONFIG, **options):
        settings = ServiceSettings(
            database=f"sqlite:///{folder}/store.db", label_studio_url=label_studio.url, label_studio_token=label_studio.token
        )
        self.label_studio, self.process = label_studio, Process(settings, "worker")
        self.parts = Follower(self.process), Judge(self.process), Delivery(self.process)
        self.id = label_studio.project(config=config, sampling="Uncertainty sampling")
        reference_id = keep_reference(self.process.store, reference)
        with self.process.store.writing() as connection:
            options = ProjectOptions(**{"item_fields": False, **options})
            self.key = add_project(connection, str(self.id), "Digits", reference_id, options, watch=False).id
        self.add(images)

    @property
    def project(self):
        with self.process.store.reading() as connection:
            return get_project(connection, self.key)

    def add(self, images):
        self.label_studio.import_tasks(self.id, [{"image": picture(image)} for image in images])
        self.settle()

    def settle(self):
        _, judge, delivery = self.parts
        self.follow()
        while judge.step() or delivery.step():
            pass

    def follow(self):
        follower = self.parts[0]
        for state in follower._followed.values():
            state.next_poll = 0.0
        for loop in follower.loops():
            loop.round()

    def tasks(self):
        found = self.label_studio.call("GET", f"/api/projects/{self.id}/export", exportType="JSON", download_all_tasks="true")
        return {str(task["id"]): task for task in found}

    def predictions(self):
        """All predictions by task id; the export gives their bare ids where there are annotations."""
        found = {task: [] for task in self.items()}
        for prediction in self.label_studio.call("GET", "/api/predictions/", project=self.id):
            found[str(prediction["task"])].append(prediction)
        return found

    def version(self):
        return self.label_studio.call("GET", f"/api/projects/{self.id}/")["model_version"]

    def spot_checks(self):
        """The model's label on each open spot check, by task id."""
        with self.process.store.reading() as connection:
            rows = connection.execute(spot_check.select().where(spot_check.c.state == "open")).all()
            names = {row.id: row.external_id for row in connection.execute(item.select())}
            return {names[row.item_id]: verdict_of(connection, row.item_id, row.reference_id).labels[0] for row in rows}

    def states(self):
        with self.process.store.reading() as connection:
            return sorted(row.state for row in connection.execute(spot_check.select()))

    def items(self):
        with self.process.store.reading() as connection:
            return {row.external_id: row for row in connection.execute(item.select())}


def answer(person, task, label):
    result = [{"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [label]}}]
    return person.call("POST", f"/api/tasks/{task}/annotations/", {"result": result})["id"]
