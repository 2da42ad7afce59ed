import dataclasses
import json
import re
import shutil

import pytest

from annotriage.errors import ModelError
from annotriage.model.spec import InputSpec, ModelSpec, spec_table

GOOD = """
[model]
file = "model.onnx"
classes = ["Tibia", "Femoral"]
output = "logits"
layer = "auto"
[input]
kind = "image"
size = [224, 200]
mode = "RGB"
scale = 0.00392156862745098
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
layout = "NCHW"
resize = "bilinear"
"""


@pytest.fixture
def write(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"")

    def write(text):
        path = tmp_path / "model.toml"
        path.write_text(text, "utf-8")
        return path

    return write


def test_a_spec_says_what_its_file_says(write, tmp_path):
    spec = ModelSpec.load(write(GOOD))
    assert spec.classes == ("Tibia", "Femoral")
    assert spec.model_path == tmp_path / "model.onnx"
    assert spec.layer == ("auto",)
    assert spec.choice == "auto"
    assert spec.input.shape == (3, 224, 200)
    assert spec.input.std == (0.229, 0.224, 0.225)


def test_what_is_left_out_has_sensible_values(write):
    spec = ModelSpec.load(write('[model]\nfile = "model.onnx"\nclasses = ["a", "b"]\n[input]\nsize = [8, 9]\nmode = "L"\nlayout = "NHWC"'))
    assert spec.input.scale == 1 / 255
    assert spec.input.shape == (8, 9, 1)
    assert spec.activation == "auto"


def test_the_table_of_keys_knows_every_field_of_a_spec():
    keys = re.findall(r"^\| `\[(\w+)\]` `(\w+)` \|", spec_table(), re.MULTILINE)
    model = {("model", field.name) for field in dataclasses.fields(ModelSpec)} - {("model", "input"), ("model", "path")}
    assert set(keys) == model | {("input", field.name) for field in dataclasses.fields(InputSpec)}


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD.replace('layer = "auto"', 'layer = ["a/b:0", "c\\"d\\u007f"]').replace("Tibia", "Knöchel 🦴"),
        '[model]\nfile = "model.onnx"\nclasses = ["a", "b"]\n[input]\nkind = "array"\nsize = [12]\nmean = [1e-30]\nname = "x"',
    ],
)
def test_a_spec_survives_json_and_toml(write, tmp_path, text):
    spec = ModelSpec.load(write(text))
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.as_dict())), spec.path) == spec
    spec.write(tmp_path / "again.toml")
    assert ModelSpec.load(tmp_path / "again.toml") == spec


def test_class_names_are_composed_however_they_were_typed(write):
    names = ModelSpec.load(write(GOOD.replace("Tibia", "Fe\u0301mur"))).classes
    assert "F\u00e9mur" in names


def test_specs_are_equal_wherever_their_files_lie(write, tmp_path):
    spec = ModelSpec.load(write(GOOD))
    shutil.copytree(tmp_path, tmp_path / "elsewhere")
    moved = ModelSpec.load(tmp_path / "elsewhere" / "model.toml")
    assert moved == spec
    assert moved.as_dict() == spec.as_dict()
    absolute = dataclasses.replace(spec, file=str(tmp_path / "model.onnx"))
    assert absolute.as_dict() == spec.as_dict()
    assert dataclasses.replace(spec, choice="multiple") != spec


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"model.onnx"', '"gone.onnx"', r"\[model\] file: .*gone\.onnx does not exist"),
        ('file = "model.onnx"', "", "needs either file"),
        ('file = "model.onnx"', 'factory = "a.b:c"', r"\[model\] weights: is missing"),
        ('file = "model.onnx"', 'factory = "a.b"\nweights = "model.onnx"', r"factory: must be \"package\.module:function\""),
        ('file = "model.onnx"', 'file = "model.onnx"\nweights = "w.pt"', "weights: belongs to factory"),
        ("classes =", "clases =", r"\[model\] clases: unknown key; did you mean 'classes'"),
        ('classes = ["Tibia", "Femoral"]', "", r"\[model\] classes: is missing"),
        ('["Tibia", "Femoral"]', "[]", "at least two class names"),
        ('["Tibia", "Femoral"]', '["Tibia", "Tibia"]', "names 'Tibia' more than once"),
        ('["Tibia", "Femoral"]', '["Tibia", 3]', "classes: must be a text in quotes"),
        ('layer = "auto"', "layer = []", "layer: must be"),
        ('layer = "auto"', 'layer = ["auto", "a"]', '"auto" stands alone'),
        ('layer = "auto"', 'activation = "relu"', "activation: must be one of auto, softmax, sigmoid, none, not 'relu'"),
        ('layer = "auto"', 'activation = "softmax"\nchoice = "multiple"', 'make it "sigmoid"'),
        ("size = [224, 200]", "", r"\[input\] size: is missing; give \[height, width\]"),
        ("size = [224, 200]", "size = [224]", r'size: must be \[height, width\], not \[224\]; for rows of numbers set kind = "array"'),
        ("size = [224, 200]", "size = [224, 0]", "size: must be a list of whole numbers above 0"),
        ("size = [224, 200]", "size = 224", "size: must be a list of whole numbers above 0"),
        ('mode = "RGB"', 'mode = "L"', r"\[input\] mean: has 3 numbers; it needs one per channel of mode L: 1"),
        ('mode = "RGB"', 'mode = "BGR"', "mode: must be one of RGB, L, not 'BGR'"),
        ("0.225]", "0]", "std: must not be 0"),
        ("scale = 0.00392156862745098", "scale = true", "scale: must be a number, not True"),
        ("scale = 0.00392156862745098", "scale = nan", "scale: must be a number"),
        ('kind = "image"', 'kind = "array"', r'has no meaning for kind = "array"; remove it'),
        ("[input]", "[inputs]", "unknown key 'inputs'"),
        ("[model]", "model", "not valid TOML"),
        pytest.param("model.onnx", "m" * 5_000, "file: .*mmm does not exist", id="a name longer than any file's"),
        pytest.param("0.225]", "[" * 9_000, "not valid TOML", id="deeper than Python goes"),
    ],
)
def test_every_mistake_names_the_file_the_key_and_the_fix(write, old, new, message):
    assert old in GOOD
    path = write(GOOD.replace(old, new, 1))
    with pytest.raises(ModelError, match=message) as caught:
        ModelSpec.load(path)
    assert str(caught.value).startswith(str(path))


def test_a_missing_spec_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"none\.toml: cannot be read \(No such file"):
        ModelSpec.load(tmp_path / "none.toml")


@pytest.mark.parametrize("shape", [(1, 28, 30), (6,)])
def test_a_bare_onnx_file_is_answered_with_the_spec_to_write(net, onnx_spec, shape):
    graph = net(*shape)
    graph.add("Relu", "input", name="end")
    path = onnx_spec(graph, "end").model_path
    with pytest.raises(ModelError, match=r"Write model\.toml beside") as caught:
        ModelSpec.load(path)
    example = str(caught.value).split("beside the model:\n")[1]
    path.with_name("example.toml").write_text(example, "utf-8")
    assert ModelSpec.load(path.with_name("example.toml")).input.shape == shape
