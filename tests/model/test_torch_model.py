import io
import json
import pickle
import re
import zipfile

import numpy as np
import pytest

from annotriage.data import Item
from annotriage.errors import ModelError
from annotriage.model import alone, candidate_layers, load_model
from annotriage.model.outputs import pool
from annotriage.model.stream import stream
from annotriage.settings import Settings

torch = pytest.importorskip("torch")
from annotriage.model.torch_model import pooled  # noqa: E402

pytestmark = pytest.mark.torch

IMAGE = {"size": [8, 8], "mode": "RGB"}

FACTORY = """
from torch import nn

def small():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(4, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(5, 3),
    )

def no_module():
    return 3
"""


@pytest.fixture
def small(tmp_path):
    """The module of FACTORY, trained-looking, whose code lies in a module of its own beside the spec; its name is unique."""
    torch.manual_seed(0)
    name = f"factory_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(FACTORY, "utf-8")
    scope = {}
    exec(FACTORY, scope)
    module = scope["small"]().eval()
    module.factory = f"{name}:small"
    return module


@pytest.fixture
def exported(tmp_path, write_spec):
    def write(module, *, batch=None, input=None, **model):
        sizes = ({0: torch.export.Dim("batch")},) if batch is None else None
        program = torch.export.export(module, (torch.zeros(batch or 2, 3, 8, 8),), dynamic_shapes=sizes)
        torch.export.save(program, tmp_path / "model.pt2")
        return write_spec({"file": "model.pt2", **model}, IMAGE | (input or {}))

    return write


@pytest.fixture
def made_by_factory(tmp_path, write_spec):
    def write(module, **model):
        torch.save(module.state_dict(), tmp_path / "weights.pt")
        return write_spec({"factory": module.factory, "weights": "weights.pt", **model}, IMAGE)

    return write


@pytest.fixture(params=["exported", "made_by_factory"])
def write(request):
    return request.getfixturevalue(request.param)


def rows(count):
    return np.random.default_rng(3).standard_normal((count, 3, 8, 8)).astype(np.float32)


def expected(module, batch):
    """Logits, what enters the last dense layer, and the moments of the map after the second ReLU."""
    with torch.no_grad():
        made = [torch.from_numpy(batch)]
        for layer in module:
            made.append(layer(made[-1].clone()))
    last_map = made[5].numpy()
    return made[-1].numpy(), made[-2].numpy(), np.hstack([last_map.mean((2, 3)), last_map.std((2, 3))])


@pytest.mark.parametrize("count", [1, 5])
def test_auto_takes_what_feeds_the_last_dense_layer_and_the_feature_maps(small, write, count):
    batch = rows(count)
    outputs = load_model(write(small)).run(batch)
    logits, hidden, last_map = expected(small, batch)
    np.testing.assert_allclose(outputs.logits, logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(outputs.activations[0], hidden, rtol=1e-4, atol=1e-5)
    assert [part.shape[1] for part in outputs.activations] == [5, 8, 10]
    np.testing.assert_allclose(outputs.activations[2], last_map, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [1, 4])
def test_a_program_of_fixed_batch_size_takes_any_number(small, exported, size):
    model = load_model(exported(small, batch=size))
    batch = rows(6)
    assert model.fixed_batch == size
    np.testing.assert_allclose(model.run(batch).logits, expected(small, batch)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ending", ["Softmax", "LogSoftmax", "Sigmoid"])
def test_logits_are_read_before_a_closing_function_of_a_program(small, exported, ending):
    closing = getattr(torch.nn, ending)
    batch = rows(4)
    model = load_model(exported(torch.nn.Sequential(small, closing() if ending == "Sigmoid" else closing(dim=1)).eval()))
    np.testing.assert_allclose(model.run(batch).logits, expected(small, batch)[0], rtol=1e-4, atol=1e-5)


def ending_in(small, tmp_path, ending, wrapper=""):
    """The same factory with another end."""
    source = tmp_path / f"{small.factory.split(':')[0]}.py"
    source.write_text(FACTORY.replace("nn.Linear(5, 3),", f"nn.Linear(5, 3), {ending}") + wrapper, "utf-8")
    return small


@pytest.mark.parametrize(
    ("ending", "choice"), [("nn.Softmax(dim=1)", "single"), ("nn.LogSoftmax(dim=1)", "single"), ("nn.Sigmoid()", "multiple")]
)
def test_logits_are_read_before_a_closing_module(small, made_by_factory, tmp_path, ending, choice):
    batch = rows(4)
    spec = made_by_factory(ending_in(small, tmp_path, ending))
    model = load_model(spec)
    logits, hidden, _ = expected(small, batch)
    assert model.spec.choice == choice
    np.testing.assert_allclose(model.run(batch).logits, logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.run(batch).activations[0], hidden, rtol=1e-4, atol=1e-5)
    assert {"8", "9", "9:input"}.isdisjoint(layer.name for layer in candidate_layers(spec))


CALLED = """
import torch

class Called(nn.Sequential):
    def forward(self, x):
        return torch.{function}(super().forward(x){arguments})

def small():
    return Called(*first())
"""


@pytest.mark.parametrize(("function", "arguments"), [("softmax", ", 1"), ("sigmoid", "")])
def test_probabilities_that_a_module_returns_are_recognised_or_have_to_be_stated(small, made_by_factory, tmp_path, function, arguments):
    source = tmp_path / f"{small.factory.split(':')[0]}.py"
    source.write_text(FACTORY.replace("def small", "def first") + CALLED.format(function=function, arguments=arguments), "utf-8")
    batch = rows(4)
    logits = torch.from_numpy(expected(small, batch)[0])
    if function == "softmax":
        found = load_model(made_by_factory(small)).run(batch).logits
        np.testing.assert_allclose(found, torch.log_softmax(logits, dim=1).numpy(), rtol=1e-4, atol=1e-5)
        return
    with pytest.raises(ModelError, match=r"\[model\] activation: must be stated"):
        load_model(made_by_factory(small))
    found = load_model(made_by_factory(small, activation="none")).run(batch).logits
    np.testing.assert_allclose(found, logits, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("wrong", [{"mode": "L"}, {"size": [9, 8]}])
def test_a_program_that_takes_other_inputs_is_refused_before_it_runs(small, exported, wrong):
    for look in (load_model, candidate_layers):
        with pytest.raises(ModelError, match=r"\[input\] gives inputs of shape .*model.pt2 takes \[3, 8, 8\]"):
            look(exported(small, input=wrong))


def test_a_wrong_number_of_classes_is_refused_before_layers_are_listed(small, write):
    for look in (load_model, candidate_layers):
        with pytest.raises(ModelError, match=r"3 outputs per item.*names 2"):
            look(write(small, classes=["a", "b"]))


def test_an_activation_is_kept_although_the_next_layer_works_in_place(small, made_by_factory):
    batch = rows(2)
    with torch.no_grad():
        first = small[0](torch.from_numpy(batch)).numpy()
    model = load_model(made_by_factory(small, layer=["0", "8:input"]))
    np.testing.assert_allclose(model.run(batch).activations[0], first.mean((2, 3)), rtol=1e-4, atol=1e-5)


def test_safetensors_give_the_same_as_a_state_dict(small, made_by_factory, write_spec, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    batch = rows(2)
    one = load_model(made_by_factory(small)).run(batch)
    safetensors.save_file(small.state_dict(), tmp_path / "weights.safetensors")
    other = load_model(write_spec({"factory": small.factory, "weights": "weights.safetensors"}, IMAGE)).run(batch)
    np.testing.assert_array_equal(one.logits, other.logits)


def test_candidate_layers_mark_the_chosen_ones(small, write):
    chosen = [layer.chosen for layer in candidate_layers(write(small))]
    assert chosen.count("deciding") == 1
    assert chosen.count("further") == 2


def test_the_logits_are_no_hidden_layer(small, write):
    found = candidate_layers(write(small))
    assert {"Linear", "linear.default", "addmm.default"}.isdisjoint(layer.operation for layer in found)


def test_an_unknown_layer_is_answered_with_candidates(small, write):
    with pytest.raises(ModelError, match=r"no layer 'linaer'. Candidates: .*annotriage layers"):
        load_model(write(small, layer="linaer"))


class Booby:
    """What a pickle may hold: something that runs when it is opened."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.pkl"])
def test_a_pickled_module_is_refused_unopened_with_the_lines_that_export_it(tmp_path, write_spec, name):
    (tmp_path / name).write_bytes(pickle.dumps(Booby()))
    with pytest.raises(ModelError, match=r"torch\.export\.save\(program, \"model\.pt2\"\)") as caught:
        load_model(write_spec({"file": name}, IMAGE))
    assert "torch.zeros(2, 3, 8, 8)" in str(caught.value)


def test_weights_that_are_a_pickled_module_are_refused_unopened(small, write_spec, tmp_path):
    torch.save(Booby(), tmp_path / "weights.pt")
    with pytest.raises(ModelError, match="state_dict"):
        load_model(write_spec({"factory": small.factory, "weights": "weights.pt"}, IMAGE))


def test_the_lines_of_the_refusal_export_the_module(small, tmp_path, write_spec, monkeypatch):
    torch.save(small, tmp_path / "model.pt")
    with pytest.raises(ModelError) as caught:
        load_model(write_spec({"file": "model.pt"}, IMAGE))
    code = str(caught.value).split("trust it:\n")[1].split("and set file")[0]
    monkeypatch.chdir(tmp_path)
    exec("\n".join(line.strip() for line in code.splitlines()), {})
    batch = rows(3)
    model = load_model(write_spec({"file": "model.pt2"}, IMAGE))
    np.testing.assert_allclose(model.run(batch).logits, expected(small, batch)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("factory", "problem"),
    [("nowhere_at_all:small", "No module named"), ("{own}:missing", "missing"), ("{own}:no_module", "returned a int")],
)
def test_a_factory_that_does_not_work_is_named(small, write_spec, tmp_path, factory, problem):
    torch.save(small.state_dict(), tmp_path / "weights.pt")
    factory = factory.format(own=small.factory.split(":")[0])
    with pytest.raises(ModelError, match=problem):
        load_model(write_spec({"factory": factory, "weights": "weights.pt"}, IMAGE))


def test_weights_of_another_model_are_refused(small, write_spec, tmp_path):
    torch.save({"other": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(ModelError, match="not those of"):
        load_model(write_spec({"factory": small.factory, "weights": "weights.pt"}, IMAGE))


def test_a_program_exported_while_training_is_refused(small, exported):
    with pytest.raises(ModelError, match=r"training mode .*model\.eval\(\)"):
        load_model(exported(small.train()))


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return exec, (f"open({str(self.path)!r}, 'w').close()",)


def rewritten(file, part, change):
    """The archive with one of its parts changed, as somebody who wants to do harm writes it."""
    with zipfile.ZipFile(file) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    (name,) = [name for name in contents if name.endswith(part)]
    contents[name] = change(contents[name])
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


def pickled(value):
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


@pytest.mark.parametrize("look", [load_model, candidate_layers])
@pytest.mark.parametrize(
    ("part", "change", "problem"),
    [
        ("sample_inputs/model.pt", lambda _content, evil: pickled(((evil,), {})), "sample_inputs/model.pt holds more than tensors"),
        (
            "model_weights_config.json",
            lambda content, _evil: content.replace(b'"use_pickle": false', b'"use_pickle": true', 1),
            "marks 'weight_0' as pickled",
        ),
        (
            "models/model.json",
            lambda content, _evil: content.replace(b'"torch.ops.aten.relu_.default"', b'"torch.os.system"', 1),
            "calls 'torch.os.system', which is no operation",
        ),
        (
            "models/model.json",
            lambda content, _evil: re.sub(rb'"expr_str": "Symbol[^"]*"', b'"expr_str": "exec(chr(49))"', content),
            "gives as a size what is none, 'exec",
        ),
    ],
    ids=["sample inputs", "weight", "call", "size"],
)
def test_a_program_that_would_run_code_is_refused_before_torch_opens_it(small, exported, tmp_path, look, part, change, problem):
    spec, evil = exported(small), Touch(tmp_path / "ran")
    look(spec)
    if part.endswith("config.json"):
        rewritten(spec.model_path, "weights/weight_0", lambda _content: pickled(evil))
    rewritten(spec.model_path, part, lambda content: change(content, evil))
    with pytest.raises(ModelError, match=f"{problem}.* would run whatever code it holds, so it is not opened. Export the model again"):
        look(spec)
    assert not (tmp_path / "ran").exists()


def test_the_checks_that_a_program_brings_as_python_are_not_run(small, exported, tmp_path):
    spec = exported(small)
    guard = f"[0 for _ in [open({str(tmp_path / 'ran')!r}, 'w')]] == [0]"
    rewritten(spec.model_path, "models/model.json", lambda content: json.dumps(json.loads(content) | {"guards_code": [guard]}).encode())
    model = load_model(spec)
    assert model.run(np.zeros((2, 3, 8, 8), np.float32)).logits.shape == (2, 3)
    assert not (tmp_path / "ran").exists()


def test_a_program_with_compiled_code_or_a_part_twice_is_refused(small, exported):
    spec = exported(small)
    with zipfile.ZipFile(spec.model_path, "a") as archive:
        archive.writestr("model/data/aotinductor/model/a.wrapper.so", b"code")
    with pytest.raises(ModelError, match="is compiled code"):
        load_model(spec)
    spec = exported(small)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(spec.model_path, "a") as archive:
        archive.writestr(archive.namelist()[0], b"")
    with pytest.raises(ModelError, match="parts of the same name"):
        load_model(spec)


def test_a_file_that_is_no_program_is_named(write_spec, tmp_path):
    (tmp_path / "model.pt2").write_bytes(b"not a program")
    with pytest.raises(ModelError, match=r"model\.pt2.*torch\.export\.save"):
        load_model(write_spec({"file": "model.pt2"}, IMAGE))


def test_cuda_that_is_not_there_is_said_and_the_cpu_used(small, made_by_factory):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    model = load_model(made_by_factory(small), device="cuda")
    assert model.device == "cpu"
    assert "setting device = cuda" in model.notes[0]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("shape", [(4, 5), (4, 6, 7), (4, 6, 7, 8)])
@pytest.mark.parametrize("moments", [1, 2])
def test_a_gpu_pools_as_the_cpu_does(shape, moments, channels_last):
    values = np.random.default_rng(0).normal(3, 2, shape).astype(np.float32)
    found = pooled(torch.from_numpy(values), moments, channels_last).numpy()
    np.testing.assert_allclose(found, pool(values, moments, channels_last), rtol=1e-5)


CPU_ONLY = """
class CpuOnly(nn.Sequential):
    def forward(self, x):
        if x.is_cuda:
            raise RuntimeError("no kernel image is available")
        return super().forward(x)

def small():
    return CpuOnly(*first())
"""


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_model_that_fails_on_the_gpu_runs_on_the_cpu_and_says_why(small, made_by_factory, tmp_path, monkeypatch, device):
    source = tmp_path / f"{small.factory.split(':')[0]}.py"
    source.write_text(FACTORY.replace("def small", "def first") + CPU_ONLY, "utf-8")
    why = "no kernel image" if torch.cuda.is_available() else "CUDA"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # as with a GPU that this torch cannot use
    model = load_model(made_by_factory(small), device=device)
    assert model.device == "cpu"
    assert "does not run on the GPU" in model.notes[0]
    assert why in model.notes[0]
    batch = rows(2)
    np.testing.assert_allclose(model.run(batch).logits, expected(small, batch)[0], rtol=1e-4, atol=1e-5)


NARROW = """
import weakref

class Narrow(nn.Sequential):
    refused = staticmethod(lambda: None)

    def forward(self, x):
        if self.refused() is not None:
            raise RuntimeError("what was refused is still held")
        if len(x) > 5:
            self.refused = weakref.ref(x)
            raise RuntimeError("out of memory")
        return super().forward(x)

def small():
    return Narrow(*first())
"""


def test_a_batch_that_memory_has_no_room_for_is_let_go_and_run_in_parts(small, made_by_factory, tmp_path):
    source = tmp_path / f"{small.factory.split(':')[0]}.py"
    source.write_text(FACTORY.replace("def small", "def first") + NARROW, "utf-8")
    images = np.random.default_rng(0).integers(0, 256, (23, 8, 8, 3), dtype=np.uint8)
    items = [Item(str(place), image) for place, image in enumerate(images)]
    (batch,) = stream(load_model(made_by_factory(small)), items, Settings(batch_size=23))
    assert batch.problems == [None] * 23
    tensors = images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    np.testing.assert_allclose(batch.outputs.logits, expected(small, tensors)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_model_computes_in_fewer_bits_where_its_spec_says_so(small, write, precision):
    batch = rows(5)
    outputs = load_model(write(small, precision=precision)).run(batch)
    exact = load_model(write(small)).run(batch)
    for found, true in zip((outputs.logits, *outputs.activations), (exact.logits, *exact.activations), strict=True):
        assert found.dtype == np.float32
        assert (found != true).any()
        np.testing.assert_allclose(found, true, atol=0.03 * np.abs(true).max())


def test_the_model_alone_says_what_it_says_beside_its_hidden_layers(small, write):
    model = load_model(write(small))
    logits, hidden = alone(model)(rows(5))
    assert hidden == []
    np.testing.assert_allclose(logits, model.run(rows(5)).logits, rtol=1e-5, atol=1e-6)


def test_a_batch_that_cannot_be_run_says_below_which_size_to_try(small, write):
    with pytest.raises(ModelError, match=r"(?s)torch could not run a batch of shape \(6, 3, 2\).* set batch_size to less than 6;"):
        load_model(write(small)).run(np.zeros((6, 3, 2), np.float32))
