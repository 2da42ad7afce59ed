"""Models on a GPU: the same numbers, routes and answers to trouble as on the CPU. Left out where torch sees no GPU."""

import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from annotriage import fit, triage
from annotriage.data import Item
from annotriage.demo.digits import load_digits, train_model
from annotriage.errors import ModelError
from annotriage.model import load_model
from annotriage.model.stream import stream
from annotriage.settings import Settings

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.torch, pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")]

FACTORY = """
import torch
from torch import nn

class Shifted(nn.Module):
    def forward(self, x):
        return x.to(torch.float32) + torch.arange(x.shape[-1], device=x.device)

def wide():
    return nn.Sequential(
        Shifted(), nn.Conv2d(3, 128, 3, padding=1), nn.ReLU(), nn.Conv2d(128, 256, 3, padding=1), nn.BatchNorm2d(256), nn.ReLU(),
        nn.Conv2d(256, 128, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 3),
    )

def digits():
    return nn.Sequential(
        nn.Conv2d(1, 19, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(304, 96), nn.ReLU(), nn.Linear(96, 48), nn.ReLU(), nn.Linear(48, 8),
    )
"""


@pytest.fixture
def factory(tmp_path):
    """The functions of FACTORY, whose code lies beside the spec in a module of this name."""
    scope = {"name": f"gpu_{tmp_path.name}"}
    (tmp_path / f"{scope['name']}.py").write_text(FACTORY, "utf-8")
    exec(FACTORY, scope)
    return scope


@pytest.fixture
def wide(factory):
    """A net whose sums are long enough to show the arithmetic that they are made in."""
    torch.manual_seed(0)
    return factory["wide"]().eval()


@pytest.fixture(params=["factory", "exported on the CPU", "exported on the GPU"])
def wide_spec(request, wide, factory, tmp_path, write_spec):
    image = {"size": [32, 32], "mode": "RGB"}
    if request.param == "factory":
        torch.save(wide.cuda().state_dict(), tmp_path / "weights.pt")
        return write_spec({"factory": f"{factory['name']}:wide", "weights": "weights.pt"}, image)
    export(wide, "cuda" if "GPU" in request.param else "cpu", tmp_path / "model.pt2")
    return write_spec({"file": "model.pt2"}, image)


def export(module, device, path):
    batch = torch.zeros(2, 3, 32, 32, device=device)
    program = torch.export.export(module.to(device), (batch,), dynamic_shapes=({0: torch.export.Dim("batch", max=1024)},))
    torch.export.save(program, path)


def rows(count):
    return np.random.default_rng(1).standard_normal((count, 3, 32, 32)).astype(np.float32)


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_the_gpu_gives_the_numbers_of_the_cpu(wide_spec, device):
    on_cpu, on_gpu = load_model(wide_spec, "cpu"), load_model(wide_spec, device)
    assert (on_cpu.device, on_gpu.device, on_gpu.notes) == ("cpu", "cuda", ())
    assert on_cpu.layers == on_gpu.layers
    expected, found = on_cpu.run(rows(8)), on_gpu.run(rows(8))
    for one, other in zip((expected.logits, *expected.activations), (found.logits, *found.activations), strict=True):
        assert np.abs(one - other).max() < 1e-5 * np.abs(one).max()  # TF32 is a hundred times further off


def test_the_precision_that_others_set_is_left_as_it_was(wide_spec):
    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic, torch.backends.cudnn.enabled
    load_model(wide_spec, "cuda").run(rows(2))
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic, torch.backends.cudnn.enabled) == before


def test_the_gpu_gives_the_same_numbers_twice(wide_spec):
    first, again = (load_model(wide_spec, "cuda").run(rows(8)) for _ in range(2))
    np.testing.assert_array_equal(first.logits, again.logits)


def test_a_reference_made_on_the_cpu_routes_alike_on_the_gpu(factory, tmp_path, write_spec):
    known = load_digits()
    train_model(tmp_path / "digits.onnx", *known.train)
    weights = [np.array(numpy_helper.to_array(tensor)) for tensor in onnx.load(tmp_path / "digits.onnx").graph.initializer]
    names = factory["digits"]().state_dict().keys()
    state = {name: torch.tensor(weight.T if weight.ndim == 2 else weight) for name, weight in zip(names, weights, strict=True)}
    torch.save(state, tmp_path / "weights.pt")
    source = {"factory": f"{factory['name']}:digits", "weights": "weights.pt"}
    spec = write_spec(source, {"size": [8, 8], "mode": "L"}, classes=8)
    settings = Settings(max_error=0.04, map="none")
    images = np.concatenate([known.incoming[0], known.unseen[0]])
    on_cpu, on_gpu = load_model(spec, "cpu"), load_model(spec, "cuda")
    labelled = [(images, [f"class {label}" for label in labels]) for images, labels in (known.train, known.held_out)]
    reference = fit(on_cpu, *labelled, settings=settings)
    routes = [[verdict.route for verdict in triage(reference, images, model=model).verdicts] for model in (on_cpu, on_gpu)]
    assert routes[0] == routes[1]
    assert set(routes[0]) == {"auto", "uncertain", "outlier"}


def test_a_batch_too_large_for_the_gpu_is_run_in_parts(wide_spec):
    model = load_model(wide_spec, "cuda")
    images = np.random.default_rng(0).integers(0, 256, (512, 32, 32, 3), dtype=np.uint8)
    model.run(rows(1))
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 300e6) / total)
    try:
        with pytest.raises(ModelError, match="memory"):
            model.run(np.zeros((512, 3, 32, 32), np.float32))
        (batch,) = stream(model, [Item(str(place), image) for place, image in enumerate(images)], Settings(batch_size=512))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert batch.problems == [None] * 512
    assert batch.outputs.logits.shape == (512, 3)


def test_the_lines_of_the_refusal_export_a_module_from_the_gpu(factory, wide, tmp_path, write_spec, monkeypatch):
    code = "import sys; sys.path.insert(0, '.'); " + f"import torch, {factory['name']} as made; torch.save(made.wide().cuda(), 'model.pt')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    with pytest.raises(ModelError) as caught:
        load_model(write_spec({"file": "model.pt"}, {"size": [32, 32]}))
    lines = str(caught.value).split("trust it:\n")[1].split("and set file")[0]
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    exec("\n".join(line.strip() for line in lines.splitlines()), {})
    assert load_model(write_spec({"file": "model.pt2"}, {"size": [32, 32]})).run(rows(3)).logits.shape == (3, 3)


def test_a_program_that_needs_a_gpu_is_named_where_there_is_none(wide, tmp_path, write_spec):
    export(wide, "cuda", tmp_path / "model.pt2")
    spec = write_spec({"file": "model.pt2"}, {"size": [32, 32]})
    code = f"from annotriage import *; load_model(ModelSpec.load({str(spec.path)!r}))"
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "model.pt2" in done.stderr
    assert "from the CPU (model.cpu()) if this machine has no GPU" in done.stderr


TRIPPED = """
import sys
import numpy as np
from annotriage.data import Item
from annotriage.model import load_model
from annotriage.model.spec import ModelSpec
from annotriage.model.stream import stream
from annotriage.settings import Settings

model = load_model(ModelSpec.load(sys.argv[1]), "cuda")
assert model.device == "cuda"
images = np.full((64, 8, 8, 3), 100, np.uint8)
images[40] = 255
items = [Item(str(place), image) for place, image in enumerate(images)]
problems = [problem for batch in stream(model, items, Settings(batch_size=16)) for problem in batch.problems]
assert [place for place, problem in enumerate(problems) if problem] == [40], problems
assert model.device == "cpu"
assert "device-side assert" in model.notes[0]
"""

LOOKUP = """
from torch import nn

class Lookup(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.last = nn.Embedding(10, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.last(self.table((x.amin((1, 2, 3)) * 10).long().clamp(min=0)))
"""


def test_an_item_that_trips_an_assertion_on_the_gpu_fails_alone(tmp_path, write_spec):
    (tmp_path / "lookup.py").write_text(LOOKUP, "utf-8")
    scope = {}
    exec(LOOKUP, scope)
    torch.save(scope["Lookup"]().state_dict(), tmp_path / "weights.pt")
    spec = write_spec({"factory": "lookup:Lookup", "weights": "weights.pt"}, {"size": [8, 8]})
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", TRIPPED, spec.path], env=environment, check=True)  # the GPU is lost to that process
