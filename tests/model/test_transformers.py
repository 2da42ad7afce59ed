"""Vision transformers: class token and tokens of each block are found as layers, whatever runs the model."""

import importlib
import sys
import warnings

import numpy as np
import pytest

from annotriage.engine.fitting import fit
from annotriage.errors import ModelError
from annotriage.model import candidate_layers, load_model
from annotriage.settings import Settings

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.torch

CODE = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend = nn.MultiheadAttention(width, 2, batch_first=True)
        self.widen, self.act, self.narrow = nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.attend(y, y, y, need_weights=False)[0]
        return x + self.narrow(self.act(self.widen(self.norm2(x))))


class Transformer(nn.Module):
    def __init__(self, decides_by, channels, classes, patch=4, width=16, depth=2):
        super().__init__()
        self.decides_by = decides_by
        self.patches = nn.Conv2d(channels, width, patch, patch)
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.1)
        self.place = nn.Parameter(torch.randn(1, 1 + (8 // patch) ** 2, width) * 0.1)
        self.first, self.second = Block(width), Block(width)
        self.norm, self.pooler, self.head = nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, classes)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.place
        x = self.second(self.first(x))
        if self.decides_by == "mean":
            return self.head(self.norm(x)[:, 1:].mean(1))
        if self.decides_by == "pooled token":
            return self.head(torch.tanh(self.pooler(self.norm(x)[:, 0])))
        return self.head(self.norm(x)[:, 0])


def token():
    return Transformer("token", 3, 3)


def pooled():
    return Transformer("pooled token", 3, 3)


def mean():
    return Transformer("mean", 3, 3)
"""
IMAGE = {"size": [8, 8], "mode": "RGB"}


def written_onnx(module, example, file):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, which is about to be replaced
        torch.onnx.export(
            module, (example,), str(file), dynamo=False, opset_version=17, input_names=["image"], dynamic_axes={"image": {0: "N"}}
        )


@pytest.fixture
def code(tmp_path, monkeypatch):
    """The module of CODE under a name of its own, beside the spec."""
    name = f"transformers_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(CODE, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module(name)
    sys.modules.pop(name)


@pytest.fixture
def opened(request, code, tmp_path, write_spec):
    """A model of CODE by the name of its function, and the module itself."""

    def opened(name, **model):
        torch.manual_seed(0)
        module = getattr(code, name)().eval()
        example = torch.zeros(2, 3, 8, 8)
        if request.param == "onnx":
            written_onnx(module, example, tmp_path / "model.onnx")
            source = {"file": "model.onnx"}
        elif request.param == "program":
            program = torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
            torch.export.save(program, tmp_path / "model.pt2")
            source = {"file": "model.pt2"}
        else:
            torch.save(module.state_dict(), tmp_path / "weights.pt")
            source = {"factory": f"{code.__name__}:{name}", "weights": "weights.pt"}
        return write_spec({**source, **model}, IMAGE), module

    return opened


def batch():
    return np.random.default_rng(3).standard_normal((5, 3, 8, 8)).astype(np.float32)


def tokens_after_second(module, inputs):
    """The tokens that leave the last block, (N, T, C)."""
    kept = []
    hook = module.second.register_forward_hook(lambda _module, _given, made: kept.append(made.detach().numpy()))
    with torch.no_grad():
        logits = module(torch.from_numpy(inputs)).numpy()
    hook.remove()
    return logits, kept[0]


@pytest.mark.parametrize(
    ("opened", "name"), [("onnx", "token"), ("program", "token"), ("factory", "token"), ("onnx", "pooled")], indirect=["opened"]
)
def test_of_a_transformer_that_decides_by_its_class_token_each_block_gives_that_token_and_all_tokens(opened, name):
    spec, module = opened(name)
    model, inputs = load_model(spec), batch()
    outputs = model.run(inputs)
    logits, tokens = tokens_after_second(module, inputs)
    np.testing.assert_allclose(outputs.logits, logits, rtol=1e-3, atol=1e-4)
    *_, whole, class_token = model.layers
    assert class_token == f"{whole}:token 0"
    np.testing.assert_allclose(outputs.activations[-1], tokens[:, 0], rtol=1e-3, atol=1e-4)
    moments = np.hstack([tokens.mean(axis=1), tokens.std(axis=1)])
    np.testing.assert_allclose(outputs.activations[-2], moments, rtol=1e-3, atol=1e-4)
    assert {part.shape[1] for part in outputs.activations[1:]} == {16, 32}


@pytest.mark.parametrize("opened", ["onnx", "factory"], indirect=True)
def test_of_a_transformer_that_decides_by_the_mean_of_its_tokens_no_token_is_singled_out(opened):
    spec, module = opened("mean")
    model, inputs = load_model(spec), batch()
    outputs = model.run(inputs)
    _, tokens = tokens_after_second(module, inputs)
    with torch.no_grad():
        pooled = module.norm(torch.from_numpy(tokens))[:, 1:].mean(1).numpy()
    np.testing.assert_allclose(outputs.activations[0], pooled, rtol=1e-3, atol=1e-4)
    assert len(model.layers) > 2
    assert not any(":token" in layer for layer in model.layers)
    moments = np.hstack([tokens.mean(axis=1), tokens.std(axis=1)])
    np.testing.assert_allclose(outputs.activations[-1], moments, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("opened", ["onnx"], indirect=True)
def test_the_class_token_is_listed_with_its_shape_and_can_be_named(opened):
    spec, module = opened("token")
    listed = {layer.name: layer for layer in candidate_layers(spec)}
    model = load_model(spec)
    assert [listed[name].chosen for name in model.layers] == ["deciding"] + ["further"] * (len(model.layers) - 1)
    last = model.layers[-1]
    assert listed[last].shape == (16,)
    named, _ = opened("token", layer=[model.layers[0], last])
    np.testing.assert_allclose(load_model(named).run(batch()).activations[1], tokens_after_second(module, batch())[1][:, 0], atol=1e-4)


@pytest.mark.parametrize("opened", ["onnx"], indirect=True)
def test_a_token_that_is_not_there_is_refused(opened):
    spec, _ = opened("token")
    whole = load_model(spec).layers[1]
    with pytest.raises(ModelError, match="so it has no token 99"):
        load_model(opened("token", layer=[whole, f"{whole}:token 99"])[0])
    with pytest.raises(ModelError, match="has no layer 'nothing:token 0'"):
        load_model(opened("token", layer="nothing:token 0")[0])


def test_a_transformer_that_was_really_trained_sees_strangers(code, digits, tmp_path, write_spec):
    images, labels = digits.train
    inputs, targets = torch.from_numpy(images[:, None].astype(np.float32) / 255), torch.from_numpy(labels.astype(int))
    torch.manual_seed(0)
    module = code.Transformer("token", 1, 8, patch=2, width=24)
    optimiser = torch.optim.Adam(module.parameters(), 5e-3)
    for step in range(400):
        rows = slice(64 * (step % 10), 64 * (step % 10 + 1))
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(module(inputs[rows]), targets[rows]).backward()
        optimiser.step()
    written_onnx(module.eval(), inputs[:2], tmp_path / "model.onnx")
    spec = write_spec({"file": "model.onnx", "classes": [str(digit) for digit in range(8)]}, {"size": [8, 8], "mode": "L"})
    reference = fit(spec, digits.train, digits.held_out, settings=Settings(map="none", max_error=0.1))
    assert reference.held_out.correct / reference.held_out.labelled > 0.85
    assert sum(":token 0" in layer for layer in reference.model.layers) == 4
    model = reference.open_model()

    def outliers(images):
        return reference.judge(model.run(images[:, None].astype(np.float32) / np.float32(255))).outlier.mean()

    noise = np.random.default_rng(0).integers(0, 256, (100, 8, 8))
    assert outliers(digits.incoming[0]) < 0.12
    assert outliers(digits.strangers[0]) > 0.15, "what it learned differs a little from machine to machine"
    assert outliers(noise) > 0.9
