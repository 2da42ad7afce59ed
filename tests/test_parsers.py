"""Whatever comes in at a door is read, or refused with an error that is declared there: never another one.

Each sample is one that is read; hypothesis spoils it, as a tree where it is one, and then byte by byte.
`HYPOTHESIS_PROFILE=long python -m pytest tests/test_parsers.py` tries 10,000 of each.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import io
import json
import os
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from annotriage.data import open_dataset
from annotriage.engine.fitting import fit
from annotriage.engine.reference import Reference
from annotriage.errors import DataError, MediaError, MismatchError, ModelError, SettingError, SignatureError
from annotriage.media.data_uri import decode_data_uri, encode_data_uri
from annotriage.model import load_model
from annotriage.model.inputs import load
from annotriage.model.spec import InputSpec, ModelSpec
from annotriage.service.guarantee.signing import public_key, signed, verified
from annotriage.settings import ServiceSettings, Settings
from annotriage.store import Store
from annotriage_label_studio.editor.labeling_config import choices_control, match_classes
from annotriage_label_studio.webhooks import read_event

COMMON = settings(suppress_health_check=list(HealthCheck))

NESTED = {
    f"<{name} {depth}>": opened * depth + "1" + closed * depth
    for name, opened, closed in (("lists", "[", "]"), ("objects", '{"a":', "}"))
    for depth in (200, 400, 800)
}
ODD_TEXT = st.sampled_from(["", "\0", "\ud800", "../../../etc/passwd", "NaN", "|", "=1", "$x$", "https://host/a.png", "data:,", "0" * 400])
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**63, -(2**63) - 1, 10**80, 1e308, -0.0, float("inf"), float("nan"), 1e-320]),
    st.text(max_size=8),
    ODD_TEXT,
    st.sampled_from(sorted(NESTED)),  # as `text_of` writes it
    st.sampled_from([[], {}, [[]], [{}], {"": None}, {"id": {}}, [None, 1, "x"]]),
)
DEEP = [b"[" * 3000, b'{"a":' * 3000, b"<View>" * 3000, b"a=[" * 3000, b"{a=" * 3000]
SIGNS = [bytes([sign]) for sign in b"\0\r\"'<&]},="]
PIECES = st.sampled_from([*SIGNS, b"\xff\xfe", b"\xed\xa0\x80", b"NaN", b"1e999", *DEEP])


@st.composite
def trees(draw, sample):
    """A sample of JSON with some of its parts replaced, removed or doubled."""
    tree = copy.deepcopy(sample)
    for _ in range(draw(st.integers(0, 3))):
        tree = draw(_changed(tree))
    return tree


@st.composite
def _changed(draw, tree):
    if not isinstance(tree, dict | list) or not tree or draw(st.integers(0, 5)) == 0:
        return copy.deepcopy(draw(ODD))
    places = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
    place = draw(st.sampled_from(places))
    what = draw(st.sampled_from(["within", "within", "within", "remove", "double"]))
    if what == "within":
        tree[place] = draw(_changed(tree[place]))
    elif what == "remove":
        del tree[place]
    elif isinstance(tree, list):
        tree.append(copy.deepcopy(tree[place]))
    else:
        tree[draw(st.text(max_size=4) | ODD_TEXT)] = copy.deepcopy(tree[place])
    return tree


@st.composite
def spoilt(draw, content):
    """Bytes with some of them changed, left out, doubled, or followed by others."""
    content = bytearray(content)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(content)))
        stop = min(len(content), start + draw(st.sampled_from([0, 1, 1, 2, 8, 1000])))
        put = draw(st.one_of(st.just(b""), st.binary(max_size=4), PIECES, st.just(bytes(content[start:stop]) * 2)))
        content[start:stop] = put
    return bytes(content)


def text_of(tree):
    """A tree as JSON, with values that are nested deeper than a tree may be that is copied."""
    text = json.dumps(tree)
    for name, nested in NESTED.items():
        text = text.replace(json.dumps(name), nested)
    return text.encode()


def json_of(sample):
    """Spoilt JSON: the tree, and sometimes its bytes as well."""
    texts = trees(sample).map(text_of)
    return st.one_of(texts, texts.flatmap(spoilt))


def picture(kind="PNG", mode="L"):
    content = io.BytesIO()
    Image.new(mode, (8, 6), 90).save(content, kind)
    return content.getvalue()


def npz(**arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


PLAIN = InputSpec(kind="image", size=(4, 4))
IMAGES = [picture(), picture("JPEG"), picture("GIF", "P"), picture("TIFF"), picture("BMP"), picture("WEBP", "RGB"), picture("PPM")]
ARRAYS = [
    npz(x=np.zeros((3, 4, 4), np.uint8), y=np.array(["a", "b", "a"])),
    npz(x=np.zeros((3, 5), np.float32), y=np.arange(3), id=np.array(["1", "2", "3"])),
    npz(x=np.zeros((2, 4, 4, 3), np.uint8), y=np.eye(2, dtype=bool)),
]
MANIFESTS = [
    b"path,label,id,group\na.png,cat,1,p\nb.png,dog|cat,2,\n",
    '\ufeffpath;label\r\n"a;b.png";Käfer\r\n'.encode(),
    b"path\tlabel\na.png\tcat\n",
]
RESULT = [{"id": "r", "from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": ["cat"]}}]
TASK = {"id": 1, "data": {"image": "/data/upload/1/a.png", "id": "x"}, "meta": {"group": "p"}, "annotations": [{"id": 5, "result": RESULT}]}
FILES = {
    "tasks": [{"data": {"image": "a.png"}}, {"data": {"image": "https://host/b.png", "group": "g"}}, {"image": "c.png"}],
    "export": [TASK, {**TASK, "id": 2, "predictions": [{"result": RESULT}], "annotations": [{"was_cancelled": True, "result": []}]}],
    "completions": [{"id": 1, "data": {"image": "a.png"}, "completions": [{"id": 1, "result": RESULT, "was_cancelled": False}]}],
    "min": [{"id": 1, "image": "a.png", "label": {"choices": ["cat", "dog"]}, "annotator": 1, "annotation_id": 2, "lead_time": 3.0}],
}
CONFIG = (
    b'<View><Image name="image" value="$image"/><Choices name="label" toName="image" allowNested="true" choice="single">'
    b'<Choice value="cat" alias="c" predicted_values="Cat,CAT"><Choice value="old"/></Choice><Choice value="dog"/></Choices></View>'
)
SPEC = b"""
[model]
file = "model.onnx"
classes = ["cat", "dog"]
output = "logits"
layer = ["a", "b"]
[input]
kind = "image"
size = [224, 224]
mode = "RGB"
scale = 0.0039
mean = [0.4, 0.4, 0.4]
std = [0.2, 0.2, 0.2]
layout = "NCHW"
"""
SETTINGS_FILE = b"""
alpha = 0.05
never_auto = ["cat"]
members = "knn,energy"
port = 9090
label_studio_url = "http://127.0.0.1:8080"
trusted_proxy = "10.0.0.7"
media_hosts = ["*.example.com"]
notice_mail = ["a@example.com"]
oidc_issuer = "https://accounts.example.com"
oidc_roles = ["staff=look"]
poll_seconds = 3
"""
EVENTS = [
    {"action": "TASKS_CREATED", "project": {"id": 3, "title": "x"}, "tasks": [{"id": 1, "data": {"image": "a.png"}}]},
    {"action": "ANNOTATION_CREATED", "project": {"id": 3}, "task": {"id": 7}, "annotation": {"id": 2, "result": RESULT}},
    {"action": "PROJECT_UPDATED", "project": {"id": 3}},
    {"action": "TASKS_DELETED", "project": {"id": 3}, "tasks": [{"id": 1}]},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("doors")


def read_all(path, **options):
    """Every item of a dataset; or DataError."""
    with contextlib.suppress(DataError):
        for item in open_dataset(path, **options):
            assert (item.media is None) == (item.problem is not None)


@COMMON
@given(content=st.sampled_from(MANIFESTS).flatmap(spoilt), ending=st.sampled_from(["csv", "tsv"]))
def test_manifests(folder, content, ending):
    (folder / f"items.{ending}").write_bytes(content)
    read_all(folder / f"items.{ending}")


@COMMON
@given(content=st.sampled_from(ARRAYS).flatmap(spoilt))
def test_arrays(folder, content):
    (folder / "items.npz").write_bytes(content)
    read_all(folder / "items.npz")


HEAD = b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': (3, 4, 4), }" + b" " * 57 + b"\n"


@COMMON
@given(head=spoilt(HEAD), body=st.binary(max_size=60))
def test_arrays_whose_head_says_something_else(folder, head, body):
    with zipfile.ZipFile(folder / "head.npz", "w") as file:
        file.writestr("x.npy", head + body)
    read_all(folder / "head.npz")


NAMES = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=12).map(str.encode)
NAMES |= st.binary(min_size=1, max_size=6).filter(lambda name: not set(name) & set(b"/\0"))


@COMMON
@given(names=st.sets(NAMES.filter(lambda name: name not in (b".", b"..")), max_size=4))
def test_folders(tmp_path_factory, names):
    here = tmp_path_factory.mktemp("images")
    (here / "cat").mkdir()
    for name in names:
        (here / "cat" / os.fsdecode(name)).write_bytes(IMAGES[0])
    read_all(here)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow says so of what it leaves out
@COMMON
@given(content=st.sampled_from(IMAGES).flatmap(spoilt))
def test_pictures(content):
    with contextlib.suppress(MediaError):
        assert load(content, PLAIN, 10_000, "item").tensor.shape == (3, 4, 4)


@COMMON
@given(kind=st.sampled_from(sorted(FILES)), data=st.data(), with_config=st.booleans())
def test_files_of_label_studio(folder, kind, data, with_config):
    (folder / "tasks.json").write_bytes(data.draw(json_of(FILES[kind])))
    (folder / "config.xml").write_bytes(CONFIG)
    read_all(folder / "tasks.json", labeling_config=folder / "config.xml" if with_config else None, classes=("cat", "dog"))


@COMMON
@given(lines=st.lists(json_of(TASK), min_size=1, max_size=3))
def test_files_of_label_studio_by_line(folder, lines):
    (folder / "tasks.jsonl").write_bytes(b"\n".join(lines))
    read_all(folder / "tasks.jsonl")


@COMMON
@given(content=spoilt(CONFIG))
def test_labeling_configs(content):
    with contextlib.suppress(DataError):
        match_classes(("cat", "dog"), choices_control(content.decode("utf-8", "surrogateescape"), ("cat",), ("label",)))


@COMMON
@given(content=spoilt(SPEC))
def test_model_specs(folder, content):
    (folder / "model.onnx").write_bytes(b"")
    (folder / "model.toml").write_bytes(content)
    with contextlib.suppress(ModelError):
        assert ModelSpec.load(folder / "model.toml").classes


OF_MODEL = ("file", "classes", "output", "layer", "activation", "choice", "head", "aliases", "weights", "factory")
OF_INPUT = ("kind", "size", "mode", "scale", "mean", "std", "layout", "resize")


@pytest.fixture(scope="module")
def small_model(network, tmp_path_factory):
    """The spec of a small model, and the content of its file."""
    weights = [np.ones((4, 3)), np.ones((3, 2))]
    spec = ModelSpec.load(network(tmp_path_factory.mktemp("model"), weights, [np.zeros(3), np.zeros(2)], classes=["a", "b"], size=(2, 2)))
    return spec, spec.model_path.read_bytes()


@COMMON
@given(data=st.data())
def test_models(small_model, data):
    spec, content = small_model
    spec.model_path.write_bytes(data.draw(spoilt(content)))
    with contextlib.suppress(ModelError):
        assert load_model(spec).spec.classes == ("a", "b")


@COMMON
@given(key=st.sampled_from([*OF_MODEL, *OF_INPUT]), value=ODD | st.lists(ODD, max_size=3))
def test_model_specs_with_any_value(folder, key, value):
    (folder / "model.onnx").write_bytes(b"")
    table = {"model": {"file": "model.onnx", "classes": ["cat", "dog"]}, "input": {"kind": "image", "size": [4, 4]}}
    table["input" if key in OF_INPUT else "model"][key] = value
    with contextlib.suppress(ModelError):
        assert ModelSpec.from_dict(table, folder / "model.toml").classes


@COMMON
@given(content=spoilt(SETTINGS_FILE))
def test_settings(folder, content):
    (folder / "annotriage.toml").write_bytes(content)
    for table in (Settings, ServiceSettings):
        with contextlib.suppress(SettingError):
            table.load(folder / "annotriage.toml", {})


@COMMON
@given(name=st.sampled_from(sorted(ServiceSettings.__dataclass_fields__)), value=ODD | st.lists(ODD, max_size=3))
def test_settings_of_any_value(name, value):
    with contextlib.suppress(SettingError):
        ServiceSettings(**{name: value})


@COMMON
@given(content=st.sampled_from(EVENTS).flatmap(json_of))
def test_webhooks(content):
    with contextlib.suppress(DataError):
        assert read_event(content).kind


URIS = [encode_data_uri(IMAGES[0], "image/png"), "data:,a%20b", "DATA:;base64 ,YQ=="]


@COMMON
@given(content=st.sampled_from(URIS).map(str.encode).flatmap(spoilt))
def test_data_uris(content):
    for text in (content.decode("utf-8", "surrogateescape"), content.decode("latin-1"), content.decode("utf-8", "replace")):
        with contextlib.suppress(MediaError):
            assert decode_data_uri(text)


@pytest.fixture(scope="module")
def kept(digits_model, digits, quick, tmp_path_factory):
    """A small reference's folder, and its description as JSON."""
    kept = tmp_path_factory.mktemp("kept") / "reference"
    train, held_out = (tuple(part[:count] for part in data) for data, count in ((digits.train, 150), (digits.held_out, 40)))
    fit(digits_model, train, held_out, settings=quick).save(kept)
    return kept, json.loads((kept / "reference.json").read_text("utf-8"))


@COMMON
@given(data=st.data())
def test_descriptions_of_references(kept, data):
    place, description = kept
    content = data.draw(json_of(description))
    (place / "reference.json").write_bytes(content)
    with contextlib.suppress(MismatchError):
        assert Reference.load(place).version == description["version"], "what is loaded is what was saved"
    with contextlib.suppress(MismatchError):
        Reference.held_out_in(place)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('certificate')}/s.db")
    facts = {"dataset": "scanner B", "items": 10, "most_wrong": 1, "as_of": "2026-11-26T00:00:00+00:00", "steps": [{"most": 1}]}
    yield signed(store, facts), public_key(store)
    store.close()


@COMMON
@given(data=st.data())
def test_certificates(certificate, data):
    document, key = certificate
    content = data.draw(json_of(document))
    try:
        facts = verified(content, key)
    except (DataError, SignatureError):
        return
    assert facts == document["certificate"], "what is called unchanged is"


@COMMON
@given(data=st.data())
def test_public_keys(certificate, data):
    document, key = certificate
    with contextlib.suppress(DataError, SignatureError):
        assert verified(json.dumps(document), data.draw(spoilt(key.encode())).decode("utf-8", "surrogateescape"))
    assert base64.b64decode(document["signature"]["value"])
