"""predictions.json: what Label Studio is given for each verdict, and that a file is whole or not there."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from annotriage.data import Item, Problem, open_dataset
from annotriage.engine.verdict import Verdict
from annotriage.errors import DataError, OutputError, SettingError
from annotriage.labeling_tool import labeling_tool
from annotriage.states import Failure

CONFIG = """<View><Image name="img" value="$scan"/><Choices name="view" toName="img" choice="single">
<Choice value="Cat" alias="felis"/><Choice value="Dog"/></Choices></View>"""


LEAKING = "Stranger than 99% of the held-out items; nearest to the center of cat."


def verdict(id="1", route="auto", labels=("cat",), trust=0.9, spot_check=False, reason="looks familiar"):
    known = route != "failed"
    return Verdict(
        id=id,
        path=id,
        labels=labels,
        confidence=0.99 if known else None,
        cluster="cat" if known else None,
        score=1.0 if known else None,
        members={},
        p_value=0.5 if known else None,
        outlier_score=0.5 if known else None,
        trust=trust,
        route=route,
        spot_check=spot_check,
        reason=reason,
        reference="r1",
        model="m1",
        seconds=0.0,
    )


def written(path, *pairs, classes=("cat", "dog"), **options):
    return written_with_notes(path, *pairs, classes=classes, **options)[0]


def written_with_notes(path, *pairs, classes=("cat", "dog"), **options):
    with labeling_tool().prediction_writer(path, classes=classes, model_version="annotriage r1", **options) as file:
        for each, item in pairs:
            file.write(each, item)
    return json.loads(path.read_text()), file.notes


@pytest.fixture
def out(tmp_path):
    return tmp_path / "predictions.json"


@pytest.fixture
def config(tmp_path):
    (tmp_path / "config.xml").write_text(CONFIG)
    return tmp_path / "config.xml"


@pytest.mark.parametrize("route", ["auto", "uncertain"])
def test_familiar_items_carry_the_models_answer(out, tmp_path, route):
    (task,) = written(out, (verdict(route=route), Item("1", tmp_path / "a.png", path="a.png")))
    region = {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": ["cat"]}}
    assert task["predictions"] == [{"model_version": "annotriage r1", "score": 0.9, "result": [region]}]
    assert task["data"] == {
        "item_id": "1",
        "image": "a.png",
        "triage_route": route,
        "triage_reason": "looks familiar",
        "triage_outlier_score": 0.5,
    }


@pytest.mark.parametrize(
    "given", [verdict(route="outlier", reason=LEAKING), verdict(route="failed", labels=()), verdict(spot_check=True, reason=LEAKING)]
)
def test_nothing_anchors_the_person_who_looks_at_the_others(out, given):
    (task,) = written(out, (given, Item("1", None, path="a.png", problem=Problem(Failure.GONE, "gone"))))
    assert task["predictions"][0]["result"] == []
    assert task["data"]["image"] == "a.png"
    assert "cat" not in task["data"]["triage_reason"]


def test_an_answer_that_nothing_applies_is_none_where_one_choice_is_taken(out):
    (task,) = written(out, (verdict(labels=()), Item("1", None, path="a.png")))
    assert task["predictions"][0]["result"] == []


def test_the_labeling_config_names_control_field_and_choices(out, config):
    (task,) = written(out, (verdict(), Item("1", None, path="a.png")), labeling_config=config)
    assert task["data"]["scan"] == "a.png"
    assert task["predictions"][0]["result"] == [{"from_name": "view", "to_name": "img", "type": "choices", "value": {"choices": ["felis"]}}]


def test_several_choices_need_a_control_that_takes_them(out, config):
    both = verdict(labels=("cat", "dog"))
    (task,) = written(out, (both, Item("1", None)))
    assert task["predictions"][0]["result"][0]["value"] == {"choices": ["cat", "dog"]}
    with pytest.raises(DataError, match=r"takes one choice and the model gives 2 .*choice=\"multiple\""):
        written(out, (both, Item("1", None)), labeling_config=config)


def test_classes_that_do_not_match_are_refused_before_anything_is_written(out, config, tmp_path):
    with pytest.raises(DataError, match=r"no choice for 'cow'"):
        written(out, classes=["cat", "cow"], labeling_config=config)
    assert [path.name for path in tmp_path.iterdir()] == ["config.xml"]


def test_a_label_studio_tasks_own_data_and_meta_are_kept(out, tmp_path, config):
    task = {
        "id": 41,
        "data": {"scan": "/data/upload/1/a.png", "n": 3},
        "meta": {"m": 1},
        "annotations": [],
        "predictions": [{"result": []}],
    }
    (tmp_path / "tasks.json").write_text(json.dumps([task, {"data": {"scan": None}}]))
    items = list(open_dataset(tmp_path / "tasks.json", labeling_config=config))
    kept, mended = written(out, *((verdict(item.id), item) for item in items), labeling_config=config, item_fields=False)
    assert "item_id" not in kept["data"]
    assert {key: kept[key] for key in ("id", "data", "meta")} == {key: task[key] for key in ("id", "data", "meta")}
    assert len(kept["predictions"]) == 1
    assert isinstance(mended["data"]["scan"], str)  # or Label Studio would refuse the whole file
    assert "meta" not in mended


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1), (5, 4, 3), (5, 4, 4)])
def test_an_array_is_written_as_its_picture(out, shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    (task,) = written(out, (verdict(), Item("1", pixels, path="n.npz[0]")))
    head, _, body = task["data"]["image"].partition(",")
    assert head == "data:image/png;base64"
    np.testing.assert_array_equal(
        np.asarray(Image.open(io.BytesIO(base64.b64decode(body)))), pixels.squeeze(2) if shape[2:] == (1,) else pixels
    )


def test_numbers_that_are_no_picture_are_named(out):
    (task,), (note,) = written_with_notes(out, (verdict(), Item("a7", np.zeros(8), path="n.npz[0]")))
    assert (task["data"]["image"], task["data"]["item_id"]) == ("n.npz[0]", "a7")
    assert note == "predictions.json: rows of numbers, of which Label Studio shows nothing but the name: 1."


def test_pictures_that_label_studio_cannot_open_are_noted_with_what_makes_them_seen(out, tmp_path, monkeypatch):
    items = [Item(name, tmp_path / "scans" / name, path=name) for name in ("a/1.png", "b/2.png")]
    pairs = [(verdict(item.id), item) for item in items]
    tasks, (note,) = written_with_notes(out, *pairs)
    assert [task["data"]["image"] for task in tasks] == ["a/1.png", "b/2.png"]
    assert "pictures named by their path, which Label Studio cannot open: 2. Let it serve them" in note
    root = re.search(r"(LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT)=(\S+),", note)
    assert f"add the folder {tmp_path / 'scans'} to the project" in note
    monkeypatch.setenv(*root.groups())
    tasks, notes = written_with_notes(out, *pairs)
    assert [task["data"]["image"] for task in tasks] == [f"/data/local-files/?d=scans/{name}" for name in ("a/1.png", "b/2.png")]
    assert notes == ()


def test_bytes_keep_their_kind(out):
    jpeg = io.BytesIO()
    Image.new("L", (3, 3)).save(jpeg, "JPEG")
    first, second = written(out, (verdict(), Item("1", jpeg.getvalue())), (verdict(), Item("2", b"no picture")))
    assert first["data"]["image"].startswith("data:image/jpeg;base64,")
    assert second["data"]["image"].startswith("data:application/octet-stream;base64,")


def test_files_that_label_studio_serves_get_its_address(out, tmp_path, monkeypatch):
    monkeypatch.setenv("LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT", str(tmp_path))
    (task,) = written(out, (verdict(), Item("1", tmp_path / "sub/a b.png", path="a b.png")))
    assert task["data"]["image"] == "/data/local-files/?d=sub/a%20b.png"
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a b.png").write_bytes(b"picture")
    (item,) = open_dataset(out)
    assert item.media == tmp_path / "sub/a b.png"


def test_no_verdicts_make_an_empty_list(out):
    assert written(out) == []


def test_an_interruption_leaves_nothing_half_written(out, tmp_path):
    out.write_text("[]")

    def interrupted():
        with labeling_tool().prediction_writer(out, classes=["cat"], model_version="v") as file:
            file.write(verdict(), Item("1", None))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.json"]
    assert out.read_text() == "[]"


def test_a_file_that_cannot_be_written_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match=r"gone/predictions\.json: cannot be written \(No such file"):
        written(tmp_path / "gone/predictions.json")
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError, match="taken: cannot be written"):
        written(tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_label_studios_own_check_accepts_the_predictions(out, config):
    interface = pytest.importorskip("label_studio_sdk.label_interface").LabelInterface(CONFIG)
    tasks = written(out, (verdict(), Item("1", None)), (verdict(route="outlier"), Item("2", None)), labeling_config=config)
    assert [interface.validate_prediction(task["predictions"][0], return_errors=True) for task in tasks] == [[], []]


def test_a_labeling_tool_that_is_not_installed_is_named():
    with pytest.raises(SettingError, match="'cvat' is not installed; installed: label-studio"):
        labeling_tool("cvat")
