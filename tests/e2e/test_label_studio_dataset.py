"""What people labelled in a real Label Studio, as a dataset to fit from."""

import io
import threading

import pytest
import requests
from PIL import Image
from waiting import PATIENCE

from annotriage.cli import main
from annotriage.data import open_dataset
from annotriage.errors import DataError, ToolGone
from annotriage.media.data_uri import encode_data_uri
from annotriage.settings import ServiceSettings


@pytest.fixture
def settings(label_studio):
    return ServiceSettings(label_studio_url=label_studio.url, label_studio_token=label_studio.token)


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def upload(label_studio, project, files):
    """Upload pictures as people do; the ids of the tasks made of them."""
    before = set(ids(label_studio, project))
    parts = {name: (name, content, "image/png") for name, content in files}
    headers = {"Authorization": f"Token {label_studio.token}"}
    requests.post(f"{label_studio.url}/api/projects/{project}/import", files=parts, headers=headers, timeout=PATIENCE).raise_for_status()
    return [id for id in ids(label_studio, project) if id not in before]


def ids(label_studio, project):
    return sorted(task["id"] for task in label_studio.call("GET", "/api/tasks/", project=project, page_size=500)["tasks"])


def test_labelled_tasks_are_read_with_their_media_and_what_people_agree_on(label_studio, settings, digits):
    project = label_studio.project(title="Pets to learn from")
    pictures = [png(image) for image in digits.train[0][:40]]
    uploaded = upload(label_studio, project, [(f"{number}.png", picture) for number, picture in enumerate(pictures)])
    inside, broken, divided, skipped, decided, unanswered = label_studio.import_tasks(
        project,
        [{"image": encode_data_uri(pictures[0], "image/png"), "group": "p1"}, {"image": f"/data/upload/{project}/gone.png"}]
        + [{"image": "http://127.0.0.1:1/a.png"}] * 4,
    )
    for task in [*uploaded, inside, broken]:
        label_studio.annotate(task, "dog")
    other = label_studio.user()
    dog = [{"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": ["dog"]}}]
    for task in (divided, decided):
        label_studio.annotate(task, "cat", ground_truth=task == decided)
        other.call("POST", f"/api/tasks/{task}/annotations/", {"result": dog})
    label_studio.annotate(skipped, "cat", was_cancelled=True)
    dataset = open_dataset(f"label-studio:{project}", classes=["cat", "dog"], server=settings)
    assert (dataset.name, dataset.count) == ("Pets to learn from", 43)
    assert dataset.notes == (
        f"label-studio:{project}: 43 labelled tasks of 'Pets to learn from'",
        f"label-studio:{project}: left out, without a majority among the annotators: 1 tasks",
    )
    for _ in range(2):
        items = {item.id: item for item in dataset}
        assert list(items) == [str(id) for id in (*uploaded, inside, broken, decided)]
        names = label_studio.call("GET", "/api/tasks/", project=project, page_size=500, resolve_uri="false")["tasks"]
        for task in (task for task in names if task["id"] in uploaded):
            number = int(task["data"]["image"].rpartition("-")[2].removesuffix(".png"))
            assert items[str(task["id"])].media == pictures[number]
        assert (items[str(inside)].media, items[str(inside)].group) == (pictures[0], "p1")
        assert (items[str(broken)].media, items[str(broken)].labels) == (None, ("dog",))
        assert f"/data/upload/{project}/gone.png" in items[str(broken)].problem.text
        assert items[str(decided)].labels == ("cat",)
    assert str(unanswered) not in items


def test_machine_made_and_foreign_labels_are_left_out_and_counted(label_studio, settings):
    project = label_studio.project()
    cat, dog, machine = label_studio.import_tasks(project, [{"image": "http://127.0.0.1:1/a.png"}] * 3)
    label_studio.annotate(cat, "cat")
    label_studio.annotate(dog, "dog")
    result = [{"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": ["cat"]}}]
    rows = [{"task": machine, "result": result, "score": 0.9, "model_version": "v"}]
    label_studio.call("POST", f"/api/projects/{project}/import/predictions", rows)
    selected = {"selectedItems": {"all": False, "included": [machine]}, "model_version": "v"}
    label_studio.call("POST", "/api/dm/actions", selected, id="predictions_to_annotations", project=project)
    dataset = open_dataset(f"label-studio:{project}", classes=["cat"], server=settings)
    assert dataset.count == 1
    assert "left out, skipped, answered with nothing or by a machine: 1 tasks" in dataset.notes[1]
    assert "left out, labelled 'dog', which is no class of the model: 1 tasks" in dataset.notes[2]


def test_a_project_without_labels_or_without_itself_is_refused(label_studio, settings):
    project = label_studio.project(title="Nothing yet")
    with pytest.raises(DataError, match=r"'Nothing yet' has no task with a label"):
        open_dataset(f"label-studio:{project}", server=settings)
    with pytest.raises(ToolGone):
        open_dataset("label-studio:99999", server=settings)


def test_a_reader_that_stops_early_leaves_nothing_running(label_studio, settings, digits):
    project = label_studio.project()
    for task in upload(label_studio, project, [(f"{n}.png", png(image)) for n, image in enumerate(digits.train[0][:60])]):
        label_studio.annotate(task, "dog")
    before = threading.active_count()
    items = iter(open_dataset(f"label-studio:{project}", classes=["cat", "dog"], server=settings))
    assert next(items).problem is None
    items.close()
    assert threading.active_count() == before


def test_a_reference_is_fitted_from_what_a_project_holds(label_studio, digits, digits_model, tmp_path, monkeypatch, capsys):
    names = [str(digit) for digit in range(8)]
    choices = "".join(f'<Choice value="{name}"/>' for name in names)
    config = f'<View><Image name="image" value="$image"/><Choices name="digit" toName="image">{choices}</Choices></View>'
    project = label_studio.project(config)
    tasks = []
    for image, label in zip(*digits.train, strict=True):
        result = [{"from_name": "digit", "to_name": "image", "type": "choices", "value": {"choices": [label]}}]
        tasks.append({"data": {"image": encode_data_uri(png(image), "image/png")}, "annotations": [{"result": result}]})
    label_studio.import_tasks(project, tasks)
    (tmp_path / "annotriage.toml").write_text(f'label_studio_url = "{label_studio.url}"\nlabel_studio_token = "{label_studio.token}"\n')
    monkeypatch.chdir(tmp_path)
    words = ["fit", "--model", str(digits_model), "--train", f"label-studio:{project}", "--out", "reference", "--quiet"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--map", "pca"])
    printed = capsys.readouterr()
    assert ended.value.code == 0, printed.err
    assert f"{len(tasks)} training items" in printed.out
    assert f"label-studio:{project}: {len(tasks)} labelled tasks" in printed.out
