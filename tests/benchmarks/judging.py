"""Judgement alone: what turning activations into verdicts costs, beside a model and beside other tools' scores on the same activations.

The network has MobileNetV2's widths: 1,280 values before the classes and six feature maps on the way. Judging is all that triage does
between the model's output and the verdict with its reason. Peers get the same training activations, and score the same items.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from figure import Figure, turns
from networks import write_resnet18
from onnx import TensorProto, helper, numpy_helper
from overhead import bare
from threadpoolctl import ThreadpoolController, threadpool_limits

from annotriage import ModelSpec, Reference, Settings, fit, load_model
from annotriage.data import Item
from annotriage.engine.gathering import TOGETHER
from annotriage.engine.verdict import verdicts_of
from annotriage.latent.compression import Pca
from annotriage.latent.detector import BANK
from annotriage.latent.products import SHORT, Factor
from annotriage.model import Model, Outputs
from annotriage.model.spec import InputSpec

WIDTHS, WIDTH, CLASSES, SIDE = (24, 32, 64, 96, 160, 320), 1_280, 10, 16
TRAINING, HELD_OUT, JUDGED = 4_000, 1_000, 1_024
BATCH, LARGE = 32, TOGETHER  # as a slow model's items are judged, and as triage puts a quick one's together
THREADS, ROUNDS = 2, 5
MICROSECONDS, SHARE = 50.0, 0.02
_WHAT = f"microseconds to judge an item, {WIDTH:,} values and {len(WIDTHS)} maps"
PEERS = ("scikit-learn's NearestNeighbors, 10 neighbours", "cleanlab's OutOfDistribution", "umap-learn's transform")
NAMES = (  # of the rows, in their order: docs/scale.md has these
    f"{_WHAT}, batches of {LARGE} on {THREADS} threads, as of a quick model",
    f"{_WHAT}, batches of {BATCH} on one thread, as of a slow model",
    f"the matrix products alone, batches of {LARGE} on {THREADS} threads",
    f"the matrix products alone, batches of {BATCH} on {THREADS} threads",
    "judging over running a ResNet-18, by processor time",
    *(f"judging over {peer}, by processor time" for peer in PEERS),
)


def figures(data: Path | None) -> Iterator[Figure]:
    """All rows. `data` is not used."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        reference, model, images = _world(folder)
        write_resnet18(folder / "resnet18.onnx")
        resnet = bare(folder / "resnet18.onnx", ())
    outputs = model.run(_scaled(images[-JUDGED:]))
    training = model.run(_scaled(images[:TRAINING])).activations[0]
    pictures = np.random.default_rng(0).random((BATCH, 3, 224, 224), dtype=np.float32)
    peers = _peers(training, outputs.activations[0])
    items = [Item(str(number), None) for number in range(JUDGED)]
    with threadpool_limits(THREADS), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        taken = turns(
            lambda: _judged(reference, items, outputs, LARGE),
            lambda: _judged(reference, items, outputs, BATCH),
            _products(reference, outputs, LARGE),
            _products(reference, outputs, BATCH),
            lambda: resnet(pictures),
            *peers.values(),
            rounds=ROUNDS,
        )
    large, small, many, few, network, *others = np.median(taken, axis=0)
    share = (small / JUDGED) / (network / BATCH)
    measured = [*map(_microseconds, (large, small, many, few)), _ratio(share), *(_ratio(small / other) for other in others)]
    wanted = [(f"<= {MICROSECONDS:.0f}", bool(1e6 * large[0] / JUDGED <= MICROSECONDS)), *[_INFORMATION] * 3]
    wanted += [(f"<= {SHARE}", bool(share[1] <= SHARE)), *[_INFORMATION] * len(others)]
    for name, said, (limit, ok) in zip(NAMES, measured, wanted, strict=True):
        yield Figure(name, limit, said, ok)


def _microseconds(taken: np.ndarray) -> str:
    wall, processor = 1e6 * taken / JUDGED
    return f"{wall:.1f} (by processor time {processor:.1f})"


def _ratio(ratio: np.ndarray) -> str:
    return f"{ratio[1]:.4f} (by wall clock {ratio[0]:.4f})"


_BLAS = ThreadpoolController()
_INFORMATION: tuple[str, bool | None] = ("for information", None)


def _judged(reference: Reference, items: Sequence[Item], outputs: Outputs, size: int) -> None:
    """Every item, from what the model made of it to its verdict, in batches, as triage does it: products keep to one thread."""
    with _BLAS.limit(limits=1, user_api="blas"):
        for start in range(0, JUDGED, size):
            rows = slice(start, start + size)
            list(verdicts_of(reference, items[rows], reference.judge(outputs.rows(rows), THREADS), 0.0))


def _products(reference: Reference, outputs: Outputs, size: int) -> Callable[[], object]:
    """The products of matrices that judging cannot do without, in batches: what the machine allows, with nothing else done.

    Each layer made narrower, both covariances of the classes and that of the maps (half of each, as it is triangular), the neighbours.
    """
    detector, rng = reference.detector, np.random.default_rng(0)
    layers = [*zip(outputs.activations, detector.directions, strict=False)]
    source = detector.source
    if source is None:
        raise RuntimeError("a reference with feature maps was expected")
    layers += [(outputs.activations[layer], narrow) for layer, narrow in zip(source.layers, source.reductions, strict=True)]
    factors = [(layer[:size], Factor.of(narrow.components.T)) for layer, narrow in layers if isinstance(narrow, Pca)]
    width, kept, wide = len(detector.directions[0].components), detector.dimensions, len(source.origin)
    shapes = [(kept + 1, min(BANK, TRAINING)), (wide, source.axes.shape[1])]
    factors += [(rng.random((size, of), dtype=np.float32), Factor.of(rng.random((of, to), dtype=np.float32))) for of, to in shapes]
    halves = [np.tril(rng.random((of, of), dtype=np.float32)) for of in (width, width, wide)]
    factors += [(rng.random((size, len(half)), dtype=np.float32), Factor.of(half, length=SHORT)) for half in halves]

    def run() -> None:
        for _ in range(0, JUDGED, size):
            for left, right in factors:
                right.times(left)

    return run


def _peers(training: np.ndarray, incoming: np.ndarray) -> dict[str, Callable[[], object]]:
    """What others do with the deciding layer's activations of the same items, fitted on the same training items."""
    import umap
    from cleanlab.outlier import OutOfDistribution
    from sklearn.neighbors import NearestNeighbors

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        distances, detector = NearestNeighbors(n_neighbors=10).fit(training), OutOfDistribution()
        detector.fit(features=training, verbose=False)
        embedding = umap.UMAP(random_state=0).fit(training)
        embedding.transform(incoming[:BATCH])  # it is compiled at its first use
    ways = (
        lambda: distances.kneighbors(incoming),
        lambda: detector.score(features=incoming),
        lambda: embedding.transform(incoming),
    )
    return dict(zip(PEERS, ways, strict=True))


def _world(folder: Path) -> tuple[Reference, Model, np.ndarray]:
    """A reference of the network with random weights on ten kinds of noise, which it tells apart by its own answers."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 256, (CLASSES, SIDE, SIDE, 3))
    chosen = rng.integers(0, CLASSES, TRAINING + HELD_OUT + JUDGED)
    images = np.clip(kinds[chosen] + rng.normal(0, 30, (len(chosen), SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
    write_network(folder / "narrow.onnx")
    names = tuple("abcdefghij")
    spec = ModelSpec(names, InputSpec((SIDE, SIDE), scale=1 / 255), file="narrow.onnx", path=folder / "model.toml")
    model = load_model(spec)
    if len(model.layers) != len(WIDTHS) + 1:
        raise RuntimeError(f"{len(WIDTHS)} maps expected beside the deciding layer: {', '.join(model.layers)}")
    labels = np.concatenate([model.run(_scaled(images[start : start + 500])).logits.argmax(axis=1) for start in range(0, len(images), 500)])
    train, held_out = slice(TRAINING), slice(TRAINING, TRAINING + HELD_OUT)
    settings = Settings(map="none")
    return fit(model, (images[train], labels[train]), (images[held_out], labels[held_out]), settings=settings), model, images


def _scaled(images: np.ndarray) -> np.ndarray:
    return images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)


def write_network(file: Path) -> None:
    """Convolutions of WIDTHS one after another, then WIDTH values, then the classes; random weights."""
    rng = np.random.default_rng(1)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def add(operation: str, *inputs: str, **attributes: object) -> str:
        nodes.append(helper.make_node(operation, inputs, [f"{operation.lower()}{len(nodes)}"], **attributes))
        return str(nodes[-1].output[0])

    def weight(*shape: int, scale: float) -> str:
        weights.append(numpy_helper.from_array((rng.normal(size=shape) * scale).astype(np.float32), f"weight{len(weights)}"))
        return str(weights[-1].name)

    x, width = "image", 3
    for place, to in enumerate((*WIDTHS, WIDTH)):
        stride = 2 if place in (2, 4) else 1
        kernel = weight(to, width, 3, 3, scale=float(np.sqrt(2 / (9 * width))))
        x = add("Relu", add("Conv", x, kernel, kernel_shape=[3, 3], strides=[stride] * 2, pads=[1] * 4))
        width = to
    x = add("Flatten", add("GlobalAveragePool", x))
    nodes.append(helper.make_node("Gemm", [x, weight(WIDTH, CLASSES, scale=0.5), weight(CLASSES, scale=0.1)], ["logits"]))
    graph = helper.make_graph(
        nodes,
        "narrow",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), file)
