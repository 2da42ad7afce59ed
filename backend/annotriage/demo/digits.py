"""Real data for the demo and the tests: scikit-learn's handwritten digits as image files, and a network trained on 0-7.

The network has one convolution, whose filters are the principal patches of the training images, and two dense layers
trained with scikit-learn; it is written as ONNX. Digits 8 and 9 never reach it: they are the strangers.
"""

from __future__ import annotations

import csv
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]

KNOWN = 8  # digits 0 to 7
ENLARGED = 16  # people look at the files; the model sees 8 x 8 again
DAMAGES = ("noise", "stripe", "inverted", "half missing")

SPEC_FILE, MANIFEST, CONCEPTS = "model.toml", "incoming.csv", "concepts.csv"
LOOPS = (0, 6)  # of the known digits those with a closed loop: a concept that units may stand for
SPEC = """\
[model]
file = "digits.onnx"
classes = ["0", "1", "2", "3", "4", "5", "6", "7"]

[input]
size = [8, 8]
mode = "L"
resize = "box"
"""


@dataclass(frozen=True)
class Digits:
    """The digits, 8 x 8 uint8 images (N, 8, 8) with their labels (N,): three parts of 0-7 drawn at random, and all 8 and 9."""

    train: tuple[Array, Array]
    held_out: tuple[Array, Array]
    incoming: tuple[Array, Array]
    unseen: tuple[Array, Array]


@dataclass(frozen=True)
class DigitFiles:
    """The demo's files: model spec, training and held-out folders, the incoming images and their truth. accuracy: on held-out."""

    spec: Path
    train: Path
    held_out: Path
    incoming: Path
    labelled_incoming: Path
    accuracy: float


def load_digits(seed: int = 0) -> Digits:
    """scikit-learn's digits: of 0-7 45% to train on, 35% held out, 20% incoming."""
    from sklearn.datasets import load_digits as read_digits

    digits = read_digits()
    images, labels = np.round(digits.images * (255 / 16)).astype(np.uint8), digits.target
    known = np.random.default_rng(seed).permutation(np.flatnonzero(labels < KNOWN))
    first, second = round(0.45 * len(known)), round(0.8 * len(known))
    parts = [(images[rows], labels[rows]) for rows in (known[:first], known[first:second], known[second:], labels >= KNOWN)]
    return Digits(*parts)


def damaged(images: Array, rng: np.random.Generator) -> tuple[Array, list[str]]:
    """Each image (N, 8, 8) damaged in one of four ways, and the name of the way."""
    kinds = [DAMAGES[place % len(DAMAGES)] for place in range(len(images))]
    result = images.copy()
    for image, kind in zip(result, kinds, strict=True):
        if kind == "noise":
            image[:] = np.clip(image + rng.normal(0, 110, image.shape), 0, 255)
        elif kind == "stripe":
            row = rng.integers(1, 6)
            image[row : row + 2] = 255
        elif kind == "inverted":
            image[:] = 255 - image
        else:
            image[:, 4:] = 0
    return result, kinds


def train_model(path: Path, images: Array, labels: Array, seed: int = 0) -> None:
    """Train on (N, 8, 8) uint8 images with labels (N,), 0 and up without gaps, and write the network to `path`, an .onnx file."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    filters, biases = _filters(images)
    shifted = np.concatenate([np.roll(images, (down, right), (1, 2)) for down in (-1, 0, 1) for right in (-1, 0, 1)])
    dense = MLPClassifier((96, 48), alpha=1e-2, max_iter=40, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        dense.fit(_features(shifted, filters, biases), np.tile(labels, 9))
    _write_onnx(path, filters, biases, dense.coefs_, dense.intercepts_)


def write_digits(folder: Path, seed: int = 0) -> DigitFiles:
    """Everything that the demo needs, in `folder`: images, manifests, the model and its spec. What an earlier run wrote stays."""
    digits = load_digits(seed)
    if not folder.is_dir():
        part = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        _write(part, digits, seed)
        part.rename(folder)
    spec = folder / SPEC_FILE
    return DigitFiles(spec, folder / "train", folder / "held_out", folder / "incoming", folder / MANIFEST, _accuracy(spec, digits))


def _write(folder: Path, digits: Digits, seed: int) -> None:
    folder.mkdir(parents=True)
    (folder / SPEC_FILE).write_text(SPEC, "utf-8")
    train_model(folder / "digits.onnx", *digits.train, seed)
    for name, (images, labels) in (("train", digits.train), ("held_out", digits.held_out)):
        for place, (image, label) in enumerate(zip(images, labels, strict=True)):
            _write_image(folder / name / str(label) / f"{place:04}.png", image)
    _write_concepts(folder, digits.train[1])
    _write_incoming(folder, digits, np.random.default_rng(seed))


def _write_concepts(folder: Path, labels: Array) -> None:
    """Of each training image whether it shows a closed loop."""
    with (folder / CONCEPTS).open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "closed loop"])
        table.writerows([f"{label}/{place:04}.png", int(label in LOOPS)] for place, label in enumerate(labels))


def _write_incoming(folder: Path, digits: Digits, rng: np.random.Generator) -> None:
    """Known, unseen and damaged digits under names that do not tell, and a manifest that does."""
    images, labels = digits.incoming
    unseen = rng.permutation(len(digits.unseen[0]))[:80]
    broken, kinds = damaged(images[:60], rng)
    mixed = np.concatenate([images[60:], digits.unseen[0][unseen], broken])
    truth = [*map(str, labels[60:]), *map(str, digits.unseen[1][unseen]), *(f"damaged: {kind}" for kind in kinds)]
    with (folder / MANIFEST).open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label"])
        for place, source in enumerate(rng.permutation(len(mixed))):
            name = f"incoming/scan-{place:04}.png"
            _write_image(folder / name, mixed[source])
            table.writerow([name, truth[source]])


def _write_image(path: Path, image: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.kron(image, np.ones((ENLARGED, ENLARGED), dtype=np.uint8))).save(path)


def _accuracy(spec: Path, digits: Digits) -> float:
    from annotriage.model import load_model
    from annotriage.model.spec import ModelSpec

    images, labels = digits.held_out
    outputs = load_model(ModelSpec.load(spec)).run(images[:, None].astype(np.float32) / np.float32(255))
    return float(np.mean(outputs.logits.argmax(axis=1) == labels))


def _filters(images: Array) -> tuple[Array, Array]:
    """Convolution filters (19, 3, 3) and biases: principal patches of the images in both signs, and a blur."""
    patches = _patches(images / 255.0).reshape(-1, 9)
    _, _, axes = np.linalg.svd(patches - patches.mean(axis=0), full_matrices=False)
    filters = np.concatenate([axes, -axes, np.full((1, 9), 1 / 9)]).reshape(-1, 3, 3)
    return filters.astype(np.float32), np.full(len(filters), -0.05, dtype=np.float32)


def _patches(images: Array) -> Array:
    """The 3 x 3 surroundings of each pixel: (N, 8, 8) -> (N, 8, 8, 3, 3), zero outside."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))  # type: ignore[call-overload, no-any-return]


def _features(images: Array, filters: Array, biases: Array) -> Array:
    """What the dense layers see: convolution, ReLU, 2 x 2 maximum: (N, 8, 8) -> (N, filters * 16), as ONNX orders it."""
    maps = np.einsum("nhwij,fij->nfhw", _patches(images / np.float32(255)), filters, optimize=True) + biases[:, None, None]
    pooled = np.maximum(maps, 0).reshape(len(images), len(filters), 4, 2, 4, 2).max(axis=(3, 5))
    return np.asarray(pooled.reshape(len(images), -1), dtype=np.float32)


def _write_onnx(path: Path, filters: Array, biases: Array, weights: list[Array], intercepts: list[Array]) -> None:
    from onnx import TensorProto, helper, numpy_helper, save_model

    arrays = {"conv.weight": filters[:, None], "conv.bias": biases}
    nodes = [
        helper.make_node("Conv", ["image", "conv.weight", "conv.bias"], ["conv"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["maps"]),
        helper.make_node("MaxPool", ["maps"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
    ]
    last, name = len(weights) - 1, "flat"
    for place, (weight, intercept) in enumerate(zip(weights, intercepts, strict=True)):
        arrays |= {f"dense{place}.weight": weight.astype(np.float32), f"dense{place}.bias": intercept.astype(np.float32)}
        output = "logits" if place == last else f"dense{place}"
        nodes.append(helper.make_node("Gemm", [name, f"dense{place}.weight", f"dense{place}.bias"], [output]))
        name = output
        if place != last:
            nodes.append(helper.make_node("Relu", [name], [f"hidden{place}"]))
            name = f"hidden{place}"
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", weights[-1].shape[1]])],
        [numpy_helper.from_array(array, key) for key, array in arrays.items()],
    )
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
