"""Label Studio's files through `open_dataset`, as people have them: tasks, exports, and broken ones."""

import base64
import json
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotriage.data import open_dataset
from annotriage.errors import DataError
from annotriage_label_studio.files import json_stream
from annotriage_label_studio.files.json_stream import json_objects


def opened(tmp_path, tasks, name="tasks.json", **options):
    (tmp_path / name).write_text(tasks if isinstance(tasks, str) else json.dumps(tasks), encoding="utf-8")
    return open_dataset(tmp_path / name, **options)


def annotation(*choices, control="label", **fields):
    region = {"from_name": control, "to_name": "image", "type": "choices", "value": {"choices": list(choices)}}
    return {"result": [region] if choices else [], "was_cancelled": False, "ground_truth": False} | fields


def labels_of(tmp_path, *annotations):
    (item,) = opened(tmp_path, [{"id": 1, "data": {"image": "a.png"}, "annotations": list(annotations)}])
    return item.labels


# which file is read how


def test_tasks_become_items_with_their_records(tmp_path):
    task = {"id": 41, "data": {"image": "sub/a.png", "group": "p1"}, "meta": {"scanner": "x"}}
    dataset = opened(tmp_path, [task, {"data": {"image": "/abs/b.png"}, "meta": {"group": 2}}])
    first, second = dataset
    assert (first.id, first.media, first.labels, first.group, first.record) == ("41", tmp_path / "sub/a.png", None, "p1", task)
    assert (second.id, str(second.media), second.group) == ("1", "/abs/b.png", "2")
    assert (dataset.name, dataset.count) == ("tasks", 2)
    assert "from the data field 'image' (2 of 2 tasks)" in dataset.notes[0]


def test_bare_data_and_json_lines_are_read_too(tmp_path):
    bare = [{"image": "a.png"}, {"image": "b.png"}]
    lines = "\n".join(map(json.dumps, bare))
    for tasks, name in ((bare, "a.json"), (lines, "b.json"), (lines, "c.jsonl"), ("\ufeff" + lines, "d.ndjson")):
        items = list(opened(tmp_path, tasks, name))
        assert [(item.id, item.record) for item in items] == [("0", {"data": bare[0]}), ("1", {"data": bare[1]})]


def test_an_id_in_the_data_is_the_items(tmp_path):
    assert [item.id for item in opened(tmp_path, [{"image": "a.png", "id": "x1"}, {"image": "b.png", "id": None}])] == ["x1", "1"]


def test_json_min_records_of_one_task_become_one_item(tmp_path):
    def record(id, number, **output):
        return {"image": f"{id}.png", "scanner": "x", "id": id, **output, "annotator": 1, "annotation_id": number, "lead_time": 1.5}

    multiple = {"choices": ["dog", "cat"]}
    items = list(
        opened(
            tmp_path,
            [record(7, 1, label="cat"), record(7, 2, label="dog"), record(7, 3, label="cat"), record(8, 4, label=multiple), record(9, 5)],
        )
    )
    assert [(item.id, item.labels) for item in items] == [("7", ("cat",)), ("8", ("cat", "dog")), ("9", None)]
    assert items[0].record == {"id": 7, "data": {"image": "7.png", "scanner": "x"}}


def test_json_min_of_a_table_with_its_own_ids_is_told_apart_with_a_config_or_without(tmp_path):
    def record(id, **output):
        return {"id": id, "image": f"{id}.png", "group": f"p{id}", **output, "annotator": 1, "annotation_id": id, "lead_time": 1.5}

    config = tmp_path / "config.xml"
    config.write_text(
        '<View><Image name="i" value="$image"/><Choices name="kind" toName="i"><Choice value="cat"/><Choice value="dog"/></Choices>'
        '<TextArea name="note" toName="i"/></View>'
    )
    records = [record(7, kind="cat", note="x.png"), record(8, kind="dog")]
    for options in ({"labeling_config": config}, {}):
        items = list(opened(tmp_path, records if options else records[1:], **options))
        assert [(item.media.name, item.labels, item.group) for item in items][-1] == ("8.png", ("dog",), "p8")
    first = next(iter(opened(tmp_path, records, labeling_config=config)))
    assert (first.labels, first.record["data"]) == (("cat",), {"image": "7.png", "group": "p7"})


def test_what_label_studio_called_completions_is_read(tmp_path):
    answers = [annotation("cat"), annotation("dog", honeypot=True), annotation("cat", skipped=True)]
    (item,) = opened(tmp_path, [{"id": 1, "data": {"image": "a.png"}, "completions": answers}])
    assert item.labels == ("dog",)


def test_labels_are_composed_as_class_names_are(tmp_path):
    assert labels_of(tmp_path, annotation("Fe\u0301mur"), annotation("F\u00e9mur"), annotation("Tibia")) == ("F\u00e9mur",)


def test_the_setting_names_the_control(tmp_path, monkeypatch):
    tasks = [{"data": {"image": "a.png"}, "annotations": [annotation("cat"), annotation("blurred", control="quality")]}]
    monkeypatch.setenv("ANNOTRIAGE_CONTROL", "quality")
    assert [item.labels for item in opened(tmp_path, tasks)] == [("blurred",)]


def test_the_field_and_control_that_most_tasks_use_are_taken_and_named(tmp_path):
    tasks = [
        {
            "data": {"mask": "m.png" if i < 2 else None, "scan": f"{i}.png"},
            "annotations": [annotation("cat"), annotation("blurred", control="quality")],
        }
        for i in range(3)
    ]
    del tasks[0]["annotations"][1]
    dataset = opened(tmp_path, tasks)
    assert [(item.path, item.labels) for item in dataset] == [(str(tmp_path / f"{i}.png"), ("cat",)) for i in range(3)]
    assert "data field 'scan' (3 of 3 tasks)" in dataset.notes[0]
    assert "control 'label' (3 of 3 tasks)" in dataset.notes[1]
    assert "not read: 'mask', 'quality'" in dataset.notes[2]


def test_the_labeling_config_decides_which_field_and_control_are_read(tmp_path):
    config = tmp_path / "config.xml"
    config.write_text(
        '<View><Image name="i" value="$mask"/><Choices name="quality" toName="i">'
        '<Choice value="blurred"/><Choice value="sharp"/></Choices></View>'
    )
    tasks = [{"data": {"scan": "s.png", "mask": "m"}, "annotations": [annotation("cat"), annotation("blurred", control="quality")]}]
    (item,) = opened(tmp_path, tasks, labeling_config=config)
    assert (item.media, item.labels) == (tmp_path / "m", ("blurred",))


@pytest.mark.parametrize(
    ("classes", "labels"),
    [
        ((), [("Cat",), ("Dog", "Horse"), ("unicorn",)]),
        (("felis", "dog", "hoofed"), [("felis",), ("dog", "hoofed"), ("unicorn",)]),
    ],
)
def test_an_alias_is_read_as_the_value_or_as_the_class_that_means_its_choice(tmp_path, classes, labels):
    config = tmp_path / "config.xml"
    config.write_text(
        '<View><Image name="i" value="$image"/><Choices name="label" toName="i" choice="multiple"><Choice value="Cat" alias="felis"/>'
        '<Choice value="Dog"/><Choice value="Horse" alias="equus" predicted_values="hoofed"/></Choices></View>'
    )
    answers = [[annotation("felis"), annotation("Cat")], [annotation("Dog", "equus")], [annotation("unicorn")]]
    tasks = [{"data": {"image": "a.png"}, "annotations": answer} for answer in answers]
    assert [item.labels for item in opened(tmp_path, tasks, labeling_config=config, classes=classes)] == labels


# what people answered


@pytest.mark.parametrize(
    ("annotations", "labels"),
    [
        ([annotation("cat")], ("cat",)),
        ([annotation("dog", "cat")], ("cat", "dog")),
        ([annotation("cat", was_cancelled=True)], None),
        ([annotation()], None),
        ([annotation(), annotation("cat")], ("cat",)),
        ([annotation("cat"), annotation("dog")], None),
        ([annotation("cat"), annotation("dog"), annotation("cat")], ("cat",)),
        ([annotation("cat"), annotation("cat"), annotation("dog", ground_truth=True)], ("dog",)),
        ([annotation("cat", ground_truth=True), annotation("dog", ground_truth=True)], None),
        ([{"result": "broken"}, None, 3, {"result": [None, {"type": "choices", "value": 3}]}], None),
    ],
)
def test_the_label_is_what_annotators_agree_on(tmp_path, annotations, labels):
    assert labels_of(tmp_path, *annotations) == labels


def test_divided_annotators_are_counted_in_the_notes(tmp_path):
    tasks = [{"data": {"image": "a.png"}, "annotations": [annotation("cat"), annotation("dog")]}]
    assert "1 without a majority are read as unlabelled" in opened(tmp_path, tasks).notes[1]


# where pictures are


def test_pictures_are_found_offline_wherever_that_is_possible(tmp_path, monkeypatch):
    picture = "data:image/png;base64," + base64.b64encode(b"picture").decode()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a b.png").write_bytes(b"local")
    values = [picture, "/data/local-files/?d=sub/a%20b.png"]
    media = [item.media for item in opened(tmp_path, [{"image": value} for value in values])]
    assert media == [b"picture", tmp_path / "sub/a b.png"]
    monkeypatch.setenv("LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT", str(tmp_path / "sub"))
    file = tmp_path / "sub/a b.png"
    addresses = ["/data/local-files/?d=a%20b.png", "/ls/data/local-files/?d=a%20b.png", "https://host/ls/data/local-files/?d=a%20b.png"]
    items = list(opened(tmp_path, [{"image": value} for value in (*addresses, file.as_uri(), "sub\\a b.png")]))
    assert [item.media for item in items] == [file] * 5


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("/data/upload/1/x.png", "uploaded to Label Studio.*annotriage serve"),
        ("/ls/data/upload/1/x.png", "uploaded to Label Studio.*annotriage serve"),
        ("https://host/ls/data/upload/1/x.png", "uploaded to Label Studio.*annotriage serve"),
        ("half \ud83d.png", "half of a character"),
        ("/data/local-files/?d=a%00b.png", "which no file has"),
        ("C:\\scans\\a.png", "is a path on a Windows machine"),
        ("https://example.org/x.png", "not on this machine; download it"),
        ("s3://bucket/x.png", "not on this machine"),
        ("/data/local-files/?d=../../etc/passwd", "leads out of"),
        (f"/data/local-files/?d={'a' * 300}.png", "no file"),
        (f"/ls/data/upload/{'a' * 300}.png", "uploaded to Label Studio"),
        ("/data/local-files/?d=gone.png", "no file .*LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"),
        ("data:image/png;base64,%%%", "not valid base64"),
        (None, "no picture"),
        ("", "no picture"),
        (["a.png", "b.png"], "several pictures"),
        (3, "a int where the path of one picture is expected"),
        ("a\0.png", "NUL"),
    ],
)
def test_a_picture_that_is_elsewhere_is_a_problem_that_says_what_to_do(tmp_path, value, problem):
    good, bad = opened(tmp_path, [{"image": "good.png"}, {"image": value}])
    assert good.problem is None
    assert bad.media is None
    with pytest.raises(AssertionError, match=problem):
        raise AssertionError(bad.problem.text)


def test_repeated_ids_are_a_problem(tmp_path):
    items = list(opened(tmp_path, [{"id": 5, "data": {"image": "a.png"}}, {"id": "5", "data": {"image": "b.png"}}]))
    assert [item.id for item in items] == ["5", "5"]
    assert "entry 2: id '5' was used in entry 1 already" in items[1].problem.text


# broken files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no tasks"),
        ("[]", "no tasks"),
        ('{"images": [{"id": 1}], "annotations": []}', "no data field looks like a picture .fields: 'images', 'annotations'"),
        ("[1, 2]", "entry 1 begins with '1"),
        ('[{"image": "a.png"}', "ends in the middle of its list, after 1 entries"),
        ('[{"image": "a.png"}, {"image": "b', "entry 2 is not valid JSON"),
        ('[{"image": }]', "entry 1 is not valid JSON"),
        ('[{"image": "a.png", "deep": ' + "[" * 100_000, "entry 1 is not"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_reason(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        opened(tmp_path, content)


def test_text_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "tasks.json").write_bytes(b'[{"image": "caf\xe9.png"}]')
    with pytest.raises(DataError, match="not UTF-8"):
        open_dataset(tmp_path / "tasks.json")


objects = st.lists(st.dictionaries(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5), max_size=3))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(objects=objects, indent=st.sampled_from([None, 2]), ascii=st.booleans(), block=st.integers(1, 20))
def test_objects_read_in_blocks_equal_those_that_were_written(tmp_path, objects, indent, ascii, block):
    text = json.dumps(objects, indent=indent, ensure_ascii=ascii)
    (tmp_path / "any.json").write_text(text.encode("utf-8", "replace").decode(), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "BLOCK", block)
        assert list(json_objects(tmp_path / "any.json")) == json.loads(text.encode("utf-8", "replace"))


def test_a_long_file_is_read_in_flat_memory(tmp_path):
    (tmp_path / "long.json").write_text(json.dumps([{"id": i, "data": {"image": f"{i}.png", "text": "x" * 1000}} for i in range(20_000)]))
    program = (  # in an interpreter of its own: what other tests left behind is not counted
        "import tracemalloc\n"
        "from annotriage import open_dataset\n"
        "tracemalloc.start()\n"
        "assert sum(1 for _ in open_dataset('long.json')) == 20_000\n"
        "print(tracemalloc.get_traced_memory()[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 12_000_000  # the file is 21 MB
