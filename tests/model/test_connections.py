"""How layers hang together by their weights: contributions through them must add up to what the next layer says."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from annotriage.diagnosis.influences import contributions
from annotriage.model import connections, load_model, steps_of
from annotriage.model.layer_graph import layer_graph
from annotriage.model.layers import way_through

IMAGE = {"size": [8, 8], "mode": "RGB"}


def summed(spec, layers):
    """What the contributions through each connection add up to at places where they are highest alone, for one-place maps."""
    links = connections(spec, layers)
    from dataclasses import replace

    names = tuple(dict.fromkeys((*layers, *(link.entering for link in links if link is not None))))
    model = load_model(replace(spec, layer=names), "cpu")
    batch = np.random.default_rng(0).standard_normal((4, *spec.input.shape)).astype(np.float32)
    return links, dict(zip(names, model.run_whole(batch).layers, strict=True))


@pytest.fixture
def lenet(net, onnx_spec):
    """Two convolutions with normalisation, one grouped, pooling, two dense layers."""
    made = net(3, 8, 8)
    first = made.add("Relu", made.conv("input", 3, 4), name="first")
    pooled = made.add("MaxPool", first, kernel_shape=[2, 2], strides=[2, 2])
    second = made.add("Conv", pooled, made.weight(6, 2, 3, 3), name="conv2", pads=[1, 1, 1, 1], group=2)
    scale = [made.weight(6, values=np.array([1, -2, 3, 0.5, 1, -1], np.float32)), made.weight(6, values=np.zeros(6, np.float32))]
    moments = [made.weight(6, values=np.zeros(6, np.float32)), made.weight(6, values=np.ones(6, np.float32))]
    normal = made.add("BatchNormalization", second, *scale, *moments, name="normal")
    made.add("Relu", normal, name="second")
    flat = made.add("Flatten", "second")
    made.add("Relu", made.gemm(flat, 96, 5), name="third")
    return onnx_spec(made, made.gemm("third", 5, 3, name="logits"))


def test_weights_are_found_between_layers_of_an_onnx_model(lenet):
    steps, output = steps_of(lenet)
    layers = way_through(steps, output, lenet, 9)
    assert layers == ("first", "second", "third", "logits")
    links, seen = summed(lenet, layers)
    assert [link.kernel.shape for link in links] == [(6, 4, 3, 3), (5, 6, 4, 4), (3, 5)]
    assert not links[0].kernel[:3, 2:].any()
    assert not links[0].kernel[3:, :2].any()
    one = contributions(seen["third"], links[2].kernel)
    bias = seen["logits"] - one.sum(axis=1)
    np.testing.assert_allclose(bias, np.broadcast_to(bias[:1], bias.shape), atol=1e-4)
    flat = contributions(seen["second"], links[1].kernel, links[1].strides, links[1].pads, links[1].dilations)
    active = seen["third"] > 0
    rest = (seen["third"] - flat.sum(axis=1))[active]
    columns = np.broadcast_to(np.arange(5), active.shape)[active]
    assert all(np.ptp(rest[columns == column]) < 1e-3 for column in set(columns.tolist()))


def test_a_normalisation_turns_what_it_makes_negative(lenet):
    link = connections(lenet, ("first", "second"))[0]
    plain = connections(lenet, ("first", "conv2"))[0]
    ratio = link.kernel[1, 0] / plain.kernel[1, 0]
    assert ratio == pytest.approx(-2, rel=1e-4)


def test_more_than_one_layer_of_weights_and_sums_have_no_weights_to_show(net, onnx_spec):
    made = net(3, 8, 8)
    first = made.add("Relu", made.conv("input", 3, 4), name="first")
    second = made.add("Relu", made.add("Add", made.conv(first, 4, 4), first), name="second")
    pooled = made.add("Flatten", made.add("GlobalAveragePool", second))
    spec = onnx_spec(made, made.gemm(pooled, 4, 3, name="logits"))
    assert [link is None for link in connections(spec, ("first", "second", "logits"))] == [True, False]
    assert connections(spec, ("first", "logits")) == [None]


def test_a_way_through_a_deep_model_is_spread_over_its_depth(net, onnx_spec):
    made = net(3, 8, 8)
    name = "input"
    for number in range(20):
        name = made.add("Relu", made.conv(name, 3 if number == 0 else 4, 4), name=f"layer{number}")
    spec = onnx_spec(made, made.gemm(made.add("Flatten", made.add("GlobalAveragePool", name)), 4, 3, name="logits"))
    steps, output = steps_of(spec)
    layers = way_through(steps, output, spec, 5)
    assert layers == ("layer4", "layer8", "layer11", "layer15", "layer19", "logits")


def test_the_graph_of_layers_keeps_branches_and_marks_what_is_compared(net, onnx_spec):
    made = net(3, 8, 8)
    name = made.add("Relu", made.conv("input", 3, 4), name="stem")
    for number in range(8):
        inner = made.add("Relu", made.conv(name, 4, 4))
        name = made.add("Relu", made.add("Add", made.conv(inner, 4, 4), name), name=f"block{number}")
    spec = onnx_spec(made, made.gemm(made.add("Flatten", made.add("GlobalAveragePool", name, name="pooled")), 4, 3, name="logits"))
    found = layer_graph(spec, ("pooled", "block3"))
    assert found.exact
    assert len(found.boxes) <= 40  # a ResNet-18 has as many blocks
    sums = [place for place, box in enumerate(found.boxes) if ("Add", 1) in box.kinds]
    assert len(sums) == 8
    assert all(sum(end == place for _, end in found.arrows) == 2 for place in sums)
    marked = {name: box.deciding for box in found.boxes for name in box.layers}
    assert marked == {"pooled": True, "block3": False}
    assert {start for start, _ in found.arrows} == set(range(len(found.boxes) - 1))  # one way through, nothing loose


def test_a_large_model_has_fewer_boxes_than_layers(net, onnx_spec):
    made = net(3, 8, 8)
    name = "input"
    for number in range(120):
        name = made.add("Relu", made.conv(name, 3 if number == 0 else 4, 4), name=f"layer{number}")
    spec = onnx_spec(made, made.gemm(made.add("Flatten", made.add("GlobalAveragePool", name)), 4, 3, name="logits"))
    found = layer_graph(spec, ("layer119", "layer60"))
    assert [box.layers for box in found.boxes] == [("layer60",), ("layer119",), ()]
    assert dict(found.boxes[0].kinds) == {"Conv": 61, "Relu": 61}


torch = pytest.importorskip("torch") if importlib.util.find_spec("torch") else None

FACTORY = """
import torch
from torch import nn
from torch.nn import functional

class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, stride=2)
        self.normal, self.act, self.dense, self.last = nn.BatchNorm2d(6), nn.ReLU(), nn.Linear(54, 5), nn.Linear(5, 3)

    def forward(self, x):
        x = self.act(self.normal(self.second(functional.relu(self.first(x)))))
        return self.last(functional.relu(self.dense(torch.flatten(x, 1))))

class Branching(Small):
    def forward(self, x):
        x = functional.relu(self.first(x))
        x = self.act(self.normal(self.second(x)) + x[:, :1, :3, :3])
        return self.last(functional.relu(self.dense(torch.flatten(x, 1))))

def small():
    return Small()

def branching():
    return Branching()
"""


@pytest.fixture
def factory(tmp_path, write_spec):
    def write(function):
        torch.manual_seed(0)
        name = f"connected_{tmp_path.name}"
        (tmp_path / f"{name}.py").write_text(FACTORY, "utf-8")
        scope = {}
        exec(FACTORY, scope)
        module = scope[function]().eval()
        module.normal.weight.data = torch.tensor([1.0, -2, 1, 1, 1, 1])
        torch.save(module.state_dict(), tmp_path / "weights.pt")
        return module, write_spec({"factory": f"{name}:{function}", "weights": "weights.pt"}, IMAGE)

    return write


@pytest.mark.torch
def test_weights_are_found_between_modules_whatever_code_stands_between(factory):
    module, spec = factory("small")
    links = connections(spec, ("first", "act", "dense", "last"))
    assert [link.kernel.shape for link in links] == [(6, 4, 3, 3), (5, 6, 3, 3), (3, 5)]
    factor = module.normal.weight[1] / torch.sqrt(module.normal.running_var[1] + module.normal.eps)
    np.testing.assert_allclose(links[0].kernel[1], (module.second.weight[1] * factor).detach().numpy(), rtol=1e-5)
    assert (links[0].strides, links[0].pads) == ((2, 2), ((0, 0), (0, 0)))


@pytest.mark.torch
def test_modules_between_which_code_adds_something_are_not_taken_for_a_chain(factory):
    links = connections(factory("branching")[1], ("first", "act", "dense"))
    assert [link is None for link in links] == [True, False]


@pytest.mark.torch
def test_weights_are_found_in_an_exported_program(factory, tmp_path, write_spec):
    module, _ = factory("small")
    program = torch.export.export(module, (torch.zeros(2, 3, 8, 8),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, tmp_path / "model.pt2")
    spec = write_spec({"file": "model.pt2"}, IMAGE)
    steps, output = steps_of(spec)
    layers = way_through(steps, output, spec, 9)
    links = connections(spec, layers)
    assert [None if link is None else link.kernel.shape for link in links] == [(6, 4, 3, 3), (5, 6, 3, 3), (3, 5)]
    factor = module.normal.weight[1] / torch.sqrt(module.normal.running_var[1] + module.normal.eps)
    np.testing.assert_allclose(links[0].kernel[1], (module.second.weight[1] * factor).detach().numpy(), rtol=1e-5)
