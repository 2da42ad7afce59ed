"""Whole torch networks in training: from a factory with weights to a better network as ONNX."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from annotriage import Plan, Settings, fit, load_model, train  # noqa: E402
from annotriage.errors import TrainingError  # noqa: E402
from annotriage.model.spec import ModelSpec  # noqa: E402
from annotriage.model.torch_training import trainable  # noqa: E402
from annotriage.training.network import Network  # noqa: E402

pytestmark = pytest.mark.torch

FACTORY = """
import torch
from torch import nn

def small():
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, 8),
    )

def encoder():
    return small()[:7]
"""
TEXT = '[model]\nfactory = "{module}:{name}"\nweights = "{name}.safetensors"\n{more}\n[input]\nsize = [8, 8]\nmode = "L"\n'
CLASSES = f"classes = {[str(digit) for digit in range(8)]}".replace("'", '"')


@pytest.fixture(scope="module")
def specs(tmp_path_factory, digits):
    """The specs of a network that knows little yet, and of an encoder."""
    from safetensors.torch import save_model

    folder = tmp_path_factory.mktemp("factory")
    (folder / "training_factory.py").write_text(FACTORY, "utf-8")
    names: dict[str, object] = {}
    exec(FACTORY, names)  # the test's own text
    torch.manual_seed(0)
    network = names["small"]()
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    inputs, labels = torch.from_numpy(digits.train[0][:, None].astype(np.float32) / 255), torch.from_numpy(digits.train[1].astype(int))
    for _ in range(40):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(inputs), labels).backward()
        optimiser.step()
    save_model(network, str(folder / "small.safetensors"))
    save_model(network[:7], str(folder / "encoder.safetensors"))
    for name, more in (("small", CLASSES), ("encoder", 'head = "none"')):
        (folder / f"{name}.toml").write_text(TEXT.format(module="training_factory", name=name, more=more), "utf-8")
    return folder / "small.toml", folder / "encoder.toml"


@pytest.fixture(scope="module")
def small_reference(specs, digits):
    return fit(specs[0], digits.train, digits.held_out, settings=Settings(max_error=0.04, map="pca"))


def test_a_whole_network_learns_new_classes_and_is_exported(small_reference, retraining, tmp_path):
    made = train(
        small_reference,
        retraining.train,
        tmp_path / "out",
        reviewed=retraining.reviewed,
        calibration=retraining.fresh,
        plan=Plan(whole=True, epochs=24, batch_size=32, learning_rate=3e-3, perplexity="kl"),
    )
    onnx.checker.check_model(str(tmp_path / "out" / "model.onnx"))
    assert made.comparison.new.accuracy > 0.9
    assert made.comparison.fresh.p_better < 0.001
    assert made.course.visits < made.course.took_part.size
    outputs = load_model(made.spec).run(retraining.fresh[0][:, None].astype(np.float32) / np.float32(255))
    assert np.mean(outputs.logits.argmax(1) == retraining.fresh[1].astype(int)) == pytest.approx(made.comparison.new.accuracy)


def test_the_head_alone_of_a_factory_is_trained_without_its_framework(small_reference, retraining, tmp_path):
    made = train(small_reference, retraining.train, tmp_path / "out", reviewed=retraining.reviewed, calibration=retraining.fresh)
    assert made.comparison.new.accuracy > made.comparison.old.accuracy + 0.1
    assert (tmp_path / "out" / "model.onnx").exists()


def test_a_torch_encoder_gets_its_first_head(specs, retraining, tmp_path):
    made = train(specs[1], retraining.train, tmp_path / "out", settings=Settings(map="pca"))
    assert len(made.reference.space.classes) == 8
    assert made.reference.training_accuracy > 0.9


def test_a_network_can_be_put_down_and_taken_up(specs, digits):
    from annotriage.data import open_dataset
    from annotriage.engine.labels import LabelSpace
    from annotriage.training.course import run

    spec, plan = ModelSpec.load(specs[0]), Plan(whole=True, epochs=4)
    items = list(open_dataset((digits.train[0][:96], digits.train[1][:96])))
    space = LabelSpace.of(spec.classes, False)
    targets = np.eye(8, dtype=np.float32)[digits.train[1][:96].astype(int)]
    straight = Network(spec, space, items, plan, Settings())
    whole = run(straight, targets, plan)
    kept = {}

    class Killed(Exception):
        pass

    first = Network(spec, space, items, plan, Settings())

    def stop(course):
        kept.update(course=course, state=first.state())
        if course.epochs == 2:
            raise Killed

    with pytest.raises(Killed):
        run(first, targets, plan, after_epoch=stop)
    second = Network(spec, space, items, plan, Settings())
    second.restore(kept["state"])
    assert np.allclose(run(second, targets, plan, former=kept["course"]).losses, whole.losses, rtol=1e-4)


def test_memory_that_runs_out_names_what_to_lower(small_reference, retraining, tmp_path, monkeypatch):
    def full(*given, **more):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", full)
    with pytest.raises(TrainingError, match=r"memory ran out in epoch 1 .*--step-size"):
        train(small_reference, retraining.train, tmp_path / "out", plan=Plan(whole=True, epochs=2))


def test_a_model_without_a_factory_cannot_be_trained_in_full(retraining, tmp_path):
    with pytest.raises(TrainingError, match="needs a torch factory"):
        train(retraining.reference, retraining.train, tmp_path / "out", plan=Plan(whole=True))


def test_what_the_network_knows_of_its_own_classes_stays_when_new_ones_come(specs):
    spec = ModelSpec.load(specs[0])
    before, _ = trainable(spec, spec.classes)
    after, last = trainable(spec, (*spec.classes, "8", "9"))
    inputs = torch.rand(4, 1, 8, 8)
    assert last.out_features == 10
    with torch.inference_mode():
        assert torch.allclose(before.eval()(inputs), after.eval()(inputs)[:, :8], atol=1e-5)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_factory_that_computes_in_fewer_bits_can_be_trained_and_the_result_says_what_becomes_of_them(specs, digits, tmp_path, precision):
    spec = replace(ModelSpec.load(specs[0]), precision=precision)
    made = train(spec, digits.train, tmp_path / "out", calibration=digits.held_out, plan=Plan(epochs=1), settings=Settings(map="none"))
    assert ModelSpec.load(tmp_path / "out" / "model.toml").precision == (None if precision == "bfloat16" else precision)
    said = [note for note in made.notes if note.startswith("The new model computes in float32, not in bfloat16")]
    assert len(said) == (precision == "bfloat16")
