import os
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from annotriage.errors import ModelError
from annotriage.model import candidate_layers, load_model, model_files, onnx_model
from annotriage.model.onnx_model import OnnxModel
from annotriage.model.outputs import pool


def tensors(net, batch, *names):
    """What the named tensors of a net hold, by onnx's own evaluator."""
    return ReferenceEvaluator(net.model(*names)).run(None, {"input": batch})


def rows(count, *shape):
    return np.random.default_rng(2).standard_normal((count, *shape)).astype(np.float32)


def small_conv_net(net, *, pooled=True, **options):
    """Three convolutions, an image-sized map after each, then a dense layer on the pooled or flattened last map."""
    graph = net(3, 8, 8, **options)
    last = "input"
    for index, (inside, outside) in enumerate([(3, 4), (4, 5), (5, 6)]):
        last = graph.add("Relu", graph.conv(last, inside, outside), name=f"relu{index}")
    if pooled:
        last = graph.add("GlobalAveragePool", last)
    hidden = graph.add("Flatten", last, name="hidden")
    graph.gemm(hidden, 6 if pooled else 6 * 64, 3, name="logits")
    return graph


@pytest.mark.parametrize("pooled", [True, False])
def test_auto_takes_what_feeds_the_last_dense_layer_and_the_feature_maps(net, onnx_spec, pooled):
    graph = small_conv_net(net, pooled=pooled)
    model = load_model(onnx_spec(graph, "logits"))
    batch = rows(5, 3, 8, 8)
    logits, hidden, first = tensors(graph, batch, "logits", "hidden", "relu0")
    outputs = model.run(batch)
    assert model.layers == ("hidden", "relu0", "relu1", *(["relu2"] if pooled else []))  # what is only flattened is no further layer
    np.testing.assert_allclose(outputs.logits, logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(outputs.activations[0], hidden, rtol=1e-4, atol=1e-4)
    expected = np.hstack([first.mean((2, 3)), first.std((2, 3))])
    np.testing.assert_allclose(outputs.activations[1], expected, rtol=1e-4, atol=1e-4)
    assert outputs.logits.dtype == outputs.activations[0].dtype == outputs.activations[1].dtype == np.float32


def deep(net, shape, activated, depth):
    """A net of `depth` layers; activated: adds one to the graph behind a tensor of so many channels, under a name."""
    graph = net(*shape)
    last = "input"
    for index in range(depth):
        last = activated(graph, last, 4 if index else shape[0], f"map{index}")
    pooled = graph.add("ReduceMean", last, axes=list(range(2, len(shape) + 1)), keepdims=0, name="hidden")
    graph.gemm(pooled, 4, 3, name="logits")
    return graph


def convolved(graph, source, inside, name):
    return graph.add("Relu", graph.conv(source, inside, 4), name=name)


def convolved_in_one_dimension(graph, source, inside, name):
    return graph.add("Relu", graph.add("Conv", source, graph.weight(4, inside, 3), pads=[1, 1]), name=name)


@pytest.mark.parametrize(("shape", "activated"), [((3, 6, 6), convolved), ((2, 9), convolved_in_one_dimension)])
def test_of_a_deep_net_six_maps_are_taken_from_all_depths(net, onnx_spec, shape, activated):
    model = load_model(onnx_spec(deep(net, shape, activated, 18), "logits"))
    assert model.layers == ("hidden", "map1", "map4", "map7", "map10", "map13", "map16")
    assert [part.shape for part in model.run(rows(5, *shape)).activations] == [(5, 4)] + [(5, 8)] * 6


def test_of_a_net_without_maps_the_hidden_vectors_are_taken(net, onnx_spec):
    graph = net(6)
    last, width = "input", 6
    for index in range(3):
        last = graph.add("Relu", graph.gemm(last, width, 5), name=f"hidden{index}")
        width = 5
    graph.gemm(last, 5, 3, name="logits")
    model = load_model(onnx_spec(graph, "logits"))
    assert model.layers == ("hidden2", "hidden0", "hidden1")
    assert [part.shape for part in model.run(rows(4, 6)).activations] == [(4, 5)] * 3


@pytest.mark.parametrize("head", ["gemm", "matmul"])
@pytest.mark.parametrize("ending", [(), ("Softmax",), ("LogSoftmax",), ("Sigmoid",), ("Dropout", "Identity", "Softmax", "Identity")])
def test_logits_are_read_before_a_closing_softmax_or_sigmoid(net, onnx_spec, head, ending):
    graph = net(6)
    hidden = graph.add("Dropout", graph.add("Relu", graph.gemm("input", 6, 4)), name="hidden")
    last = getattr(graph, head)(hidden, 4, 3, name="logits")
    for operation in ending:
        last = graph.add(operation, last)
    model = load_model(onnx_spec(graph, last))
    batch = rows(4, 6) * 30  # so far apart that a float32 softmax would be exactly 0 or 1
    logits, activation = tensors(graph, batch, "logits", "hidden")
    assert model.layers == ("hidden",)
    np.testing.assert_allclose(model.run(batch).logits, logits, rtol=1e-4)
    np.testing.assert_allclose(model.run(batch).activations[0], activation, rtol=1e-4)


def closed_by(net, *endings):
    """A net of three outputs, "logits", that ends in these operations; and the name of its end."""
    graph = net(6)
    end = graph.gemm(graph.add("Relu", graph.gemm("input", 6, 4)), 4, 3, name="logits")
    for ending in endings:
        end = graph.add(ending, end)
    return graph, end


@pytest.mark.parametrize(
    ("ending", "stated", "found"),
    [
        (None, {}, ("softmax", "single")),
        (None, {"choice": "multiple"}, ("sigmoid", "multiple")),
        (None, {"activation": "sigmoid"}, ("sigmoid", "multiple")),
        (None, {"activation": "sigmoid", "choice": "single"}, ("sigmoid", "single")),
        ("Softmax", {}, ("softmax", "single")),
        ("Softmax", {"activation": "none"}, ("softmax", "single")),
        ("Sigmoid", {}, ("sigmoid", "multiple")),
        ("Sigmoid", {"activation": "none"}, ("sigmoid", "multiple")),
        ("Sigmoid", {"choice": "single"}, ("sigmoid", "single")),
        ("Sigmoid", {"activation": "softmax"}, ("softmax", "single")),
        ("Sigmoid", {"output": "logits"}, ("sigmoid", "multiple")),
    ],
)
def test_what_ends_a_model_says_how_many_classes_apply(net, onnx_spec, ending, stated, found):
    graph, end = closed_by(net, *([ending] if ending else []))
    batch = rows(3, 6)
    (logits,) = tensors(graph, batch, "logits")
    model = load_model(onnx_spec(graph, end, **stated))
    assert (model.spec.activation, model.spec.choice) == found
    np.testing.assert_allclose(model.run(batch).logits, logits, rtol=1e-4, atol=1e-5)
    again = load_model(model.spec)
    assert again.spec == model.spec
    assert len(model.notes) == (ending == "Sigmoid" and found[1] == "multiple")


def test_several_classes_that_were_found_and_not_stated_are_pointed_out(net, onnx_spec):
    graph, end = closed_by(net, "Sigmoid")
    (note,) = load_model(onnx_spec(graph, end)).notes
    assert 'model.onnx ends in a sigmoid, so several classes may apply to one item. If only one does, set choice = "single"' in note
    assert load_model(onnx_spec(graph, end, choice="multiple")).notes == ()


@pytest.mark.parametrize("stated", [{"choice": "multiple"}, {"activation": "sigmoid"}])
def test_several_classes_behind_a_softmax_are_refused(net, onnx_spec, stated):
    graph, end = closed_by(net, "Softmax")
    with pytest.raises(ModelError, match=rf"\[model\] {next(iter(stated))}: model.onnx ends in a softmax, which leaves one class"):
        load_model(onnx_spec(graph, end, **stated))


@pytest.mark.parametrize("batch", ["N", 1])
def test_probabilities_that_do_not_add_up_to_1_have_to_be_stated(net, onnx_spec, batch):
    graph = net(6, batch=batch)
    end = graph.add("HardSigmoid", graph.gemm(graph.add("Relu", graph.gemm("input", 6, 4)), 4, 3))
    with pytest.raises(
        ModelError, match=r'\[model\] activation: must be stated.*"none" if they are probabilities, with choice = "multiple"'
    ):
        load_model(onnx_spec(graph, end))
    model = load_model(onnx_spec(graph, end, activation="none"))
    assert (model.spec.activation, model.spec.choice) == ("none", "multiple")
    assert "do not add up to 1" in model.notes[0]
    assert load_model(onnx_spec(graph, end, activation="none", choice="single")).spec.choice == "single"
    assert load_model(onnx_spec(graph, end, choice="multiple")).spec.activation == "none"


@pytest.mark.parametrize("batch", ["N", 1])
def test_small_logits_are_not_taken_for_probabilities(net, onnx_spec, batch):
    graph = net(6, batch=batch)
    graph.add("MatMul", graph.add("Abs", "input", name="hidden"), graph.weight(values=np.full((6, 3), 0.06)), name="end")
    (usual,) = tensors(graph, rows(1, 6), "end")
    assert usual.min() > 0
    assert usual.max() < 1
    assert load_model(onnx_spec(graph, "end")).spec.activation == "softmax"


def test_a_1x1_convolution_before_global_pooling_is_a_head_too(net, onnx_spec):
    graph = net(3, 8, 8)
    hidden = graph.add("Relu", graph.conv("input", 3, 5), name="hidden")
    pooled = graph.add("GlobalAveragePool", graph.conv(hidden, 5, 3, kernel=1))
    end = graph.add("Softmax", graph.add("Flatten", pooled), axis=1)
    model = load_model(onnx_spec(graph, end))
    batch = rows(2, 3, 8, 8)
    hidden, logits = tensors(graph, batch, "hidden", pooled)
    assert model.layers[0] == "hidden"
    np.testing.assert_allclose(model.run(batch).activations[0], hidden.mean((2, 3)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.run(batch).logits, logits[:, :, 0, 0], rtol=1e-4, atol=1e-4)


def test_tokens_are_pooled_over_their_places(net, onnx_spec):
    graph = net(7, 4)
    tokens = graph.add("Add", graph.matmul("input", 4, 4), "input", name="tokens")
    graph.matmul(graph.add("ReduceMean", tokens, axes=[1], keepdims=0, name="mean"), 4, 3, name="logits")
    model = load_model(onnx_spec(graph, "logits"))
    batch = rows(3, 7, 4)
    (tokens,) = tensors(graph, batch, "tokens")
    assert model.layers == ("mean", "tokens")
    np.testing.assert_allclose(model.run(batch).activations[1], np.hstack([tokens.mean(1), tokens.std(1)]), rtol=1e-4, atol=1e-5)


def test_a_map_with_its_channels_last_is_pooled_over_its_places(net, onnx_spec):
    graph = net(8, 8, 3)
    first = graph.add("Transpose", "input", perm=[0, 3, 1, 2])
    turned = graph.add("Transpose", graph.conv(first, 3, 5), perm=[0, 2, 3, 1])
    last = graph.add("Relu", graph.add("MatMul", turned, graph.weight(5, 6)), name="channels last")
    graph.gemm(graph.add("ReduceMean", last, axes=[1, 2], keepdims=0), 6, 3, name="logits")
    spec = onnx_spec(graph, "logits", layer="channels last", input={"kind": "image", "size": [8, 8], "mode": "RGB", "layout": "NHWC"})
    batch = rows(2, 8, 8, 3)
    (last,) = tensors(graph, batch, "channels last")
    np.testing.assert_allclose(load_model(spec).run(batch).activations[0], last.mean((1, 2)), rtol=1e-4, atol=1e-5)


def test_probabilities_without_a_closing_softmax_are_recognised(net, onnx_spec):
    graph = net(6)
    exponentials = graph.add("Exp", graph.gemm(graph.add("Relu", graph.gemm("input", 6, 4)), 4, 3, name="logits"))
    total = graph.add("ReduceSum", exponentials, graph.weight(values=np.array([1])), keepdims=1)
    end = graph.add("Div", exponentials, total)
    batch = rows(4, 6)
    (probabilities,) = tensors(graph, batch, end)
    np.testing.assert_allclose(load_model(onnx_spec(graph, end)).run(batch).logits, np.log(probabilities), rtol=1e-4, atol=1e-5)
    stated = load_model(onnx_spec(graph, end, activation="softmax")).run(batch)
    np.testing.assert_allclose(stated.logits, probabilities, rtol=1e-4)


def test_stated_probabilities_of_several_classes_become_log_odds(net, onnx_spec):
    graph = net(6)
    logits = graph.gemm(graph.add("Relu", graph.gemm("input", 6, 4)), 4, 3, name="logits")
    one = graph.weight(values=np.array(1.0))
    end = graph.add("Div", one, graph.add("Add", one, graph.add("Exp", graph.add("Neg", logits))))
    batch = rows(4, 6) / 4
    (logits,) = tensors(graph, batch, "logits")
    spec = onnx_spec(graph, end, activation="none", choice="multiple")
    np.testing.assert_allclose(load_model(spec).run(batch).logits, logits, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("count", [0, 3, 4, 9])
def test_a_fixed_batch_size_gives_the_same_as_a_free_one(net, onnx_spec, size, count):
    batch = rows(count, 3, 8, 8)
    free = load_model(onnx_spec(small_conv_net(net), "logits")).run(batch)
    model = load_model(onnx_spec(small_conv_net(net, batch=size), "logits"))
    fixed = model.run(batch)
    assert model.fixed_batch == size
    assert fixed.logits.shape == (count, 3)
    np.testing.assert_allclose(fixed.logits, free.logits, rtol=1e-4, atol=1e-5)
    for one, other in zip(fixed.activations, free.activations, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_external_weights_are_used_and_hashed_and_nothing_is_written(net, onnx_spec, tmp_path, names_in, monkeypatch):
    batch = rows(2, 3, 8, 8)
    inside = load_model(onnx_spec(small_conv_net(net), "logits"))
    spec = onnx_spec(small_conv_net(net), "logits", external=True)
    before = names_in(tmp_path)
    monkeypatch.chdir("/")
    outside = load_model(spec)
    np.testing.assert_array_equal(outside.run(batch).logits, inside.run(batch).logits)
    assert names_in(tmp_path) == before == ["model.onnx", "model.toml", "weights.bin"]
    data = bytearray((tmp_path / "weights.bin").read_bytes())
    data[3] ^= 1
    (tmp_path / "weights.bin").write_bytes(data)
    assert load_model(spec).hash != outside.hash
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelError, match=r"weights\.bin.*not beside it"):
        load_model(spec)


def test_weights_that_are_links_out_of_their_folder_are_used_and_hashed(net, onnx_spec, tmp_path):
    spec = onnx_spec(small_conv_net(net), "logits", external=True)
    plain, batch = load_model(spec), rows(2, 3, 8, 8)
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    for number, name in enumerate(["model.onnx", "weights.bin"]):
        (tmp_path / name).rename(tmp_path / "blobs" / str(number))
        (tmp_path / "snapshot" / name).symlink_to(f"../blobs/{number}")
    linked = load_model(replace(spec, file="snapshot/model.onnx"))
    np.testing.assert_array_equal(linked.run(batch).logits, plain.run(batch).logits)
    assert linked.hash == plain.hash
    assert [file.name for file in model_files(linked.spec)] == ["model.onnx", "weights.bin"]


def outside(model, folder, kind):
    """The model with one weight in w.bin, in a place other than its list of weights: a constant, an inner graph or a sparse tensor."""
    (weight,) = [tensor for tensor in model.graph.initializer if tensor.name == "outside"]
    model.graph.initializer.remove(weight)
    values = onnx.numpy_helper.to_array(weight)
    if kind == "constant":
        onnx.external_data_helper.set_external_data(weight, "w.bin")
        model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["outside"], value=weight))
    elif kind == "sparse":
        places = np.flatnonzero(values)
        inside = onnx.numpy_helper.from_array(values.ravel()[places], "outside")
        onnx.external_data_helper.set_external_data(inside, "w.bin")
        indices = onnx.numpy_helper.from_array(places.astype(np.int64), "places")
        sparse = onnx.helper.make_sparse_tensor(inside, indices, values.shape)
        model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["outside"], sparse_value=sparse))
        weight = inside
    else:
        weight.name = "inner"
        onnx.external_data_helper.set_external_data(weight, "w.bin")
        result = [onnx.helper.make_tensor_value_info("twice", TensorProto.FLOAT, None)]
        branch = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["inner"], ["twice"])], "branch", [], result, [weight])
        weight = branch.initializer[0]
        yes = onnx.numpy_helper.from_array(np.array(True), "yes")
        model.graph.initializer.append(yes)
        model.graph.node.insert(0, onnx.helper.make_node("If", ["yes"], ["outside"], then_branch=branch, else_branch=branch))
    content = values.ravel()[np.flatnonzero(values)] if kind == "sparse" else values
    (folder / "w.bin").write_bytes(content.tobytes())
    without = onnx.ModelProto.FromString(model.SerializeToString())
    for tensor in every_tensor(without.graph):
        if tensor.external_data:
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
    onnx.save(without, folder / "model.onnx")


def every_tensor(graph):
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, attribute.sparse_tensor.values)
            if attribute.HasField("g"):
                yield from attribute.g.initializer


@pytest.mark.parametrize("kind", ["constant", "inner graph", "sparse"])
def test_weights_outside_the_list_of_weights_are_used_hashed_and_missed(net, onnx_spec, tmp_path, kind):
    graph = net(6)
    hidden = graph.add("Relu", graph.gemm("input", 6, 4), name="hidden")
    graph.weights["outside"] = (np.eye(4, 3) * 2).astype(np.float32)
    graph.add("MatMul", hidden, "outside", name="logits")
    spec, batch = onnx_spec(graph, "logits", layer="hidden"), rows(2, 6)
    inside = load_model(spec).run(batch).logits
    outside(graph.model("logits"), tmp_path, kind)
    model = load_model(spec)
    np.testing.assert_allclose(model.run(batch).logits, inside, rtol=1e-5)
    assert [file.name for file in model_files(spec)] == ["model.onnx", "w.bin"]
    data = (tmp_path / "w.bin").read_bytes()
    (tmp_path / "w.bin").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert load_model(spec).hash != model.hash
    (tmp_path / "w.bin").write_bytes(data[:-4])
    with pytest.raises(ModelError, match=r"w\.bin|cannot load it"):
        load_model(spec)
    (tmp_path / "w.bin").unlink()
    with pytest.raises(ModelError, match=r"w\.bin.*not beside it"):
        load_model(spec)


def in_a_constant(model, **entries):
    """The first weight moved into a constant, whose content is said to lie in a file."""
    weight = model.graph.initializer[0]
    node = onnx.helper.make_node("Constant", [], [weight.name], value=weight)
    tensor = node.attribute[0].t
    tensor.raw_data, tensor.data_location = b"", TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    del model.graph.initializer[0]
    model.graph.node.insert(0, node)


def calls_itself(model):
    inside = onnx.helper.make_node("F", ["x"], ["y"], domain="ours")
    model.functions.append(onnx.helper.make_function("ours", "F", ["x"], ["y"], [inside], [onnx.helper.make_opsetid("ours", 1)]))
    model.graph.node.append(onnx.helper.make_node("F", ["logits"], ["more"], domain="ours"))
    model.opset_import.append(onnx.helper.make_opsetid("ours", 1))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (calls_itself, "its functions cannot be put in the place of their calls"),
        (lambda model: model.graph.node[0].input.__setitem__(0, "logits"), "depends on none of its inputs"),
        (lambda model: in_a_constant(model, location="w" * 5000), "not beside it"),
        (lambda model: in_a_constant(model, location="fifo"), "not beside it"),
        (lambda model: in_a_constant(model, location="w.bin", length="1" * 30), "cannot be read"),
        (lambda model: in_a_constant(model, location="w.bin", offset="-8"), "cannot be read"),
        (lambda model: in_a_constant(model, location="w.bin", length="-5"), "cannot be read"),
        (lambda model: model.graph.node[0].__setattr__("domain", "com.evil"), "custom operations"),
    ],
)
def test_a_model_made_to_lead_astray_is_refused_with_the_cause(net, onnx_spec, tmp_path, spoil, message):
    graph = net(6)
    spec = onnx_spec(graph, graph.gemm(graph.add("Relu", graph.gemm("input", 6, 4)), 4, 3, name="logits"), classes=3)
    (tmp_path / "w.bin").write_bytes(bytes(6 * 4 * 4))
    os.mkfifo(tmp_path / "fifo")  # nobody writes into it: who opens it waits for ever
    model = onnx.load(spec.model_path)
    spoil(model)
    spec.model_path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=message):
        load_model(spec)


def test_names_that_are_no_text_are_refused(net, onnx_spec):
    graph = net(6)
    spec = onnx_spec(graph, graph.gemm(graph.add("Relu", graph.gemm("input", 6, 4)), 4, 3, name="logits"), classes=3)
    content = spec.model_path.read_bytes()
    spec.model_path.write_bytes(content.replace(b"Relu", b"\xff\xfelu"))
    with pytest.raises(ModelError, match="names are no text"):
        load_model(spec)


@pytest.mark.parametrize("place", ["../w.bin", "/etc/passwd", "C:\\w.bin"])
def test_weights_out_of_the_models_folder_are_refused(net, onnx_spec, tmp_path, place):
    spec = onnx_spec(small_conv_net(net), "logits", external=True)
    model = onnx.load(spec.model_path, load_external_data=False)
    for tensor in model.graph.initializer:
        tensor.external_data[0].value = place
    onnx.save(model, spec.model_path)
    with pytest.raises(ModelError, match="out of its own folder; export it again"):
        load_model(spec)


@pytest.mark.parametrize(
    ("ending", "stated", "read"),
    [
        ("Sigmoid", {}, "softmax"),
        ("Sigmoid", {"activation": "sigmoid"}, "softmax"),
        (None, {"activation": "sigmoid"}, "softmax"),
        ("HardSigmoid", {"activation": "none"}, "none"),
    ],
)
def test_one_output_for_two_classes_is_that_of_the_second(net, onnx_spec, ending, stated, read):
    graph = net(6)
    end = graph.gemm(graph.add("Relu", graph.gemm("input", 6, 4)), 4, 1, name="one")
    end = graph.add(ending, end) if ending else end
    batch = rows(5, 6)
    (given,) = tensors(graph, batch, end)
    model = load_model(onnx_spec(graph, end, classes=2, **stated))
    logits = model.run(batch).logits
    assert (logits.shape, model.spec.activation, model.spec.choice) == ((5, 2), read, "single")
    probability = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    np.testing.assert_allclose(probability, given[:, 0] if ending else 1 / (1 + np.exp(-given[:, 0])), rtol=1e-4)
    assert "one output for two classes: it is read as that of 'class 1', the second" in model.notes[0]
    assert load_model(model.spec).spec == model.spec


@pytest.mark.parametrize(
    ("ending", "stated", "problem"),
    [
        (None, {}, 'must be stated.*"none" if it is the probability of .class 1., "sigmoid" if it is a logit'),
        ("Softmax", {}, "a softmax over one output is always 1"),
        ("Sigmoid", {"choice": "multiple"}, 'choice = "multiple" needs another one'),
    ],
)
def test_one_output_that_cannot_be_read_is_answered_with_what_to_state(net, onnx_spec, ending, stated, problem):
    graph = net(6)
    end = graph.gemm(graph.add("Relu", graph.gemm("input", 6, 4)), 4, 1)
    end = graph.add(ending, end) if ending else end
    with pytest.raises(ModelError, match=problem):
        load_model(onnx_spec(graph, end, classes=2, **stated))


def test_a_batch_axis_that_is_free_in_name_alone_is_run_item_by_item(net, onnx_spec, capfd):
    graph = net(6)
    hidden = graph.add("Relu", graph.gemm("input", 6, 4), name="hidden")
    single = graph.add("Reshape", hidden, graph.weight(values=np.array([1, 4], np.int64)))
    graph.gemm(single, 4, 3, name="logits")
    batch = rows(5, 6)
    model = load_model(onnx_spec(graph, "logits"))
    np.testing.assert_allclose(model.run(batch).logits, np.vstack([tensors(graph, row[None], "logits")[0] for row in batch]), rtol=1e-4)
    assert model.fixed_batch == 1
    assert "takes one item at a time" in model.notes[0]
    assert capfd.readouterr() == ("", "")


def with_second_input(graph, *outputs, used):
    model = graph.model(*outputs)
    model.graph.input.append(onnx.helper.make_tensor_value_info("age", TensorProto.FLOAT, ["N", 1]))
    if used:
        model.graph.node.insert(0, onnx.helper.make_node("Add", ["input", "age"], ["both"]))
        model.graph.node[1].input[0] = "both"
    return model


@pytest.mark.parametrize("stated", [{}, {"name": "input"}])
def test_a_second_input_is_named_and_one_that_nothing_needs_is_left_out(net, onnx_spec, stated):
    graph = net(6)
    graph.gemm(graph.add("Relu", graph.gemm("input", 6, 4)), 4, 3, name="logits")
    spec = onnx_spec(graph, "logits", input=stated)
    onnx.save(with_second_input(graph, "logits", used=False), spec.model_path)
    assert load_model(spec).run(rows(2, 6)).logits.shape == (2, 3)
    onnx.save(with_second_input(graph, "logits", used=True), spec.model_path)
    with pytest.raises(ModelError, match=r"takes 2 inputs \(input, age\), and annotriage gives a model one input, the item. Export"):
        load_model(spec)


def zipped(graph, classes):
    """A net that ends as skl2onnx lets classifiers end: a label, and probabilities as dictionaries."""
    end = graph.add("Softmax", graph.gemm(graph.add("Relu", graph.gemm("input", 6, 4)), 4, 3, name="logits"))
    graph.add("ArgMax", end, axis=1, keepdims=0, name="label")
    graph.add("ZipMap", end, name="maps", domain="ai.onnx.ml", classlabels_strings=classes)
    model = graph.model("label")
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    kind = onnx.helper.make_map_type_proto(TensorProto.STRING, onnx.helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    model.graph.output.append(onnx.ValueInfoProto(name="maps", type=onnx.helper.make_sequence_type_proto(kind)))
    model.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 3))
    return model


@pytest.mark.parametrize("stated", [{}, {"output": "maps"}])
def test_probabilities_as_dictionaries_are_read_as_the_numbers_in_them(net, onnx_spec, stated):
    graph = net(6)
    spec = onnx_spec(graph, **stated)
    onnx.save(zipped(graph, ["class 0", "class 1", "class 2"]), spec.model_path)
    graph.nodes.pop()  # onnx's own evaluator does not know it
    batch = rows(4, 6)
    np.testing.assert_allclose(load_model(spec).run(batch).logits, tensors(graph, batch, "logits")[0], rtol=1e-4)


def test_labels_and_classes_in_another_order_are_refused_with_the_fix(net, onnx_spec):
    graph = net(6)
    spec = onnx_spec(graph, output="label")
    onnx.save(zipped(graph, ["class 0", "class 1", "class 2"]), spec.model_path)
    with pytest.raises(ModelError, match=r"'label' holds labels.*state the one with a number per class: maps"):
        load_model(spec)
    graph = net(6)
    spec = onnx_spec(graph)
    onnx.save(zipped(graph, ["class 0", "class 2", "class 1"]), spec.model_path)
    with pytest.raises(ModelError, match=r'in another order; set classes = \["class 0", "class 2", "class 1"\]'):
        load_model(spec)


def test_a_model_without_hidden_layers_is_not_sent_from_one_command_to_the_same(net, onnx_spec):
    graph = net(6)
    graph.gemm("input", 6, 3, name="logits")
    for look in (load_model, candidate_layers):
        with pytest.raises(ModelError, match="has no hidden layer that can be compared") as caught:
            look(onnx_spec(graph, "logits"))
        assert "annotriage layers" not in str(caught.value)


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_a_model_of_another_precision_takes_float32_batches(net, onnx_spec, dtype):
    graph = net(6, dtype=dtype)
    graph.gemm(graph.add("Relu", graph.gemm("input", 6, 4), name="hidden"), 4, 3, name="logits")
    outputs = load_model(onnx_spec(graph, "logits")).run(rows(2, 6))
    assert outputs.logits.dtype == outputs.activations[0].dtype == np.float32
    assert outputs.activations[0].shape == (2, 4)


def test_a_model_that_takes_bytes_gets_rounded_values(net, onnx_spec):
    graph = net(6, dtype=TensorProto.UINT8)
    cast = graph.add("Cast", "input", to=TensorProto.FLOAT)
    graph.dtype = TensorProto.FLOAT
    graph.gemm(graph.add("Identity", graph.gemm(cast, 6, 4)), 4, 3, name="logits")
    spec = onnx_spec(graph, "logits")
    whole = np.arange(6, dtype=np.float32)[None]
    np.testing.assert_array_equal(load_model(spec).run(whole - 0.01).logits, load_model(spec).run(whole).logits)


def test_named_layers_come_in_the_order_given(net, onnx_spec):
    model = load_model(onnx_spec(small_conv_net(net), "logits", layer=["relu2", "hidden", "relu0"]))
    assert model.layers == ("relu2", "hidden", "relu0")
    assert [activation.shape for activation in model.run(rows(2, 3, 8, 8)).activations] == [(2, 6), (2, 6), (2, 8)]


def test_an_unknown_layer_is_answered_with_the_nearest(net, onnx_spec):
    spec = onnx_spec(small_conv_net(net), "logits", layer="relu_1")
    with pytest.raises(ModelError, match=r"no layer 'relu_1'. Candidates: relu1.*annotriage layers --model"):
        load_model(spec)


def test_a_wrong_number_of_classes_names_both_numbers(net, onnx_spec):
    spec = onnx_spec(small_conv_net(net), "logits", classes=5)
    for look in (load_model, candidate_layers):
        with pytest.raises(ModelError, match=r"3 outputs per item.*names 5"):
            look(spec)


def test_several_outputs_have_to_be_told_apart(net, onnx_spec):
    graph = small_conv_net(net)
    with pytest.raises(ModelError, match=r"\[model\] output: the model has 2; state which. It has hidden, logits"):
        load_model(onnx_spec(graph, "hidden", "logits"))
    assert load_model(onnx_spec(graph, "hidden", "logits", output="logits")).run(rows(1, 3, 8, 8)).logits.shape == (1, 3)


def test_an_input_of_another_size_is_refused_before_it_runs(net, onnx_spec):
    with pytest.raises(ModelError, match=r"shape \[1, 8, 8\].*takes \[3, 8, 8\]"):
        load_model(onnx_spec(small_conv_net(net), "logits", input={"mode": "L"}))


def test_a_model_without_a_dense_layer_asks_for_a_layer(net, onnx_spec):
    graph = net(3)
    graph.add("Tanh", graph.add("Relu", "input"), name="end")
    with pytest.raises(ModelError, match="no last dense layer"):
        load_model(onnx_spec(graph, "end"))
    assert load_model(onnx_spec(graph, "end", layer="relu_0", activation="softmax")).layers == ("relu_0",)


def test_operations_that_onnx_does_not_know_do_not_stop_it(net, onnx_spec):
    graph = net(6)
    hidden = graph.add("Gelu", graph.gemm("input", 6, 4), name="hidden", domain="com.microsoft")
    graph.gemm(hidden, 4, 3, name="logits")
    assert load_model(onnx_spec(graph, "logits")).layers == ("hidden",)


def test_a_file_that_is_no_onnx_model_is_named(net, onnx_spec):
    spec = onnx_spec(small_conv_net(net), "logits")
    spec.model_path.write_bytes(spec.model_path.read_bytes()[:-700])
    with pytest.raises(ModelError, match=r"model\.onnx"):
        load_model(spec)


def test_a_batch_of_the_wrong_shape_is_a_model_error(net, onnx_spec):
    with pytest.raises(ModelError, match=r"could not run a batch of shape \(2, 3, 9\).* set batch_size to less than 2;"):
        load_model(onnx_spec(small_conv_net(net), "logits")).run(rows(2, 3, 9))


def test_cuda_that_is_not_there_is_said_and_the_cpu_used(net, onnx_spec, recwarn):
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this is onnxruntime-gpu")
    model = load_model(onnx_spec(small_conv_net(net), "logits"), device="cuda")
    assert model.device == "cpu"
    assert "setting device = cuda" in model.notes[0]
    assert "CPUExecutionProvider" in model.notes[0]
    assert not list(recwarn)


def test_the_candidate_layers_are_the_hidden_ones_with_their_shapes(net, onnx_spec):
    found = candidate_layers(onnx_spec(small_conv_net(net), "logits"))
    chosen = {layer.name: layer.chosen for layer in found}
    assert chosen["hidden"] == "deciding"
    assert chosen["relu1"] == "further"
    assert [layer.name for layer in found if layer.operation == "Relu"] == ["relu0", "relu1", "relu2"]
    assert {layer.name: layer.shape for layer in found}["relu2"] == (6, 8, 8)
    assert "logits" not in chosen


def test_the_hash_is_that_of_the_file(net, onnx_spec):
    spec = onnx_spec(small_conv_net(net), "logits")
    first = load_model(spec).hash
    model = onnx.load(spec.model_path)
    model.producer_name = "another"
    onnx.save(model, spec.model_path)
    assert load_model(spec).hash != first


def test_a_model_computes_in_float16_where_its_spec_says_so(net, onnx_spec):
    graph, batch = small_conv_net(net), rows(5, 3, 8, 8)
    exact = load_model(onnx_spec(graph, "logits")).run(batch)
    model = load_model(onnx_spec(graph, "logits", precision="float16"))
    outputs = model.run(batch)
    for found, true in zip((outputs.logits, *outputs.activations), (exact.logits, *exact.activations), strict=True):
        assert found.dtype == np.float32
        assert (found != true).any()
        np.testing.assert_allclose(found, true, atol=0.01 * np.abs(true).max())


def test_float16_takes_weights_that_lie_in_a_file_of_their_own(net, onnx_spec):
    graph, batch = small_conv_net(net), rows(5, 3, 8, 8)
    spec = onnx_spec(graph, "logits", precision="float16")
    whole = load_model(spec).run(batch)
    onnx.save(onnx.load(spec.model_path), spec.model_path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    np.testing.assert_array_equal(load_model(spec).run(batch).logits, whole.logits)


def test_bfloat16_of_an_onnx_model_is_refused(net, onnx_spec):
    with pytest.raises(ModelError, match='onnxruntime computes in float16, not in bfloat16; set "float16"'):
        load_model(onnx_spec(small_conv_net(net), "logits", precision="bfloat16"))


def test_pooling_gives_means_and_deviations():
    values = rows(3, 24, 40, 50) + 3
    for channels_last in (False, True):
        given = np.moveaxis(values, 1, -1) if channels_last else values
        expected = np.concatenate([values.mean((2, 3), dtype=np.float64), values.std((2, 3), dtype=np.float64)], axis=1)
        np.testing.assert_allclose(pool(given, 2, channels_last), expected, rtol=1e-5)


def test_a_run_beside_others_gives_what_one_on_all_cores_gives(net, onnx_spec):
    model, batch = OnnxModel(onnx_spec(small_conv_net(net), "logits"), "cpu", 3), rows(9, 3, 8, 8)
    assert model.lanes == 3
    whole, beside = model.run(batch), model.run(batch, beside=True)
    np.testing.assert_allclose(beside.logits, whole.logits, rtol=1e-5, atol=1e-6)
    for one, other in zip(beside.activations, whole.activations, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_model_that_takes_much_memory_is_loaded_once(net, onnx_spec, monkeypatch):
    monkeypatch.setattr(onnx_model, "TWICE", 10)
    model = OnnxModel(onnx_spec(small_conv_net(net), "logits"), "cpu", 3)
    assert model.lanes == 1
    np.testing.assert_array_equal(model.run(rows(2, 3, 8, 8), beside=True).logits, model.run(rows(2, 3, 8, 8)).logits)
