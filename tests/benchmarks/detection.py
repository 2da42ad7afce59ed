"""Whether strangers are found: AUROC of known against foreign items, on MNIST and on scikit-learn's digits.

The MNIST folder holds model.onnx (input (N, 1, 28, 28) = pixel / 255, logits of the digits 0-7) and images.npz with train_,
calibration_ and incoming_ x and y of 0-7, unseen_x (8 and 9) and fashion_x, all uint8.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from cleanlab.outlier import OutOfDistribution
from figure import Figure
from networks import digits_world, scores_of
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from annotriage import ModelSpec, Settings, fit, load_model
from annotriage.demo.digits import damaged
from annotriage.model import Model
from annotriage.model.spec import InputSpec

Array = NDArray[np.float64]

WANTED = {"unseen": 0.973, "fashion": 0.99}  # MNIST
SPLITS = 5  # of the digits
BELOW_BEST = 0.01  # what the combined score may lose against the best of its members


def figures(data: Path | None) -> Iterator[Figure]:
    """All rows; those on MNIST need its folder."""
    yield from on_digits()
    if data is None or not (data / "images.npz").is_file():
        why = "not measured: give its folder with --data" if data is None else f"not measured: no images.npz in {data}"
        yield Figure("MNIST 0-7 against unseen digits and fashion", "AUROC >= 0.973 and >= 0.99", why, None)
    else:
        yield from on_mnist(data)


def on_mnist(folder: Path) -> Iterator[Figure]:
    """The combined score against unseen digits and fashion, beside cleanlab on the same activations, and each member."""
    spec = ModelSpec(tuple("01234567"), InputSpec((28, 28), mode="L", scale=1 / 255), file="model.onnx", path=folder / "model.toml")
    model = load_model(spec)
    with np.load(folder / "images.npz") as file:
        images = dict(file)
    pairs = [(images[f"{part}_x"], images[f"{part}_y"]) for part in ("train", "calibration")]
    reference = fit(model, *pairs, settings=Settings(map="none"))
    rival = OutOfDistribution(params={"k": 10})
    rival.fit_score(features=_deciding_layer(model, images["train_x"]), verbose=False)
    known, known_members = scores_of(reference, model, images["incoming_x"])
    known_rival = rival.score(features=_deciding_layer(model, images["incoming_x"]))
    for kind, least in WANTED.items():
        foreign, foreign_members = scores_of(reference, model, images[f"{kind}_x"])
        mine = auroc(known, foreign)
        theirs = auroc(-known_rival, -rival.score(features=_deciding_layer(model, images[f"{kind}_x"])))
        yield Figure(f"MNIST, {kind}: AUROC of the combined score", f">= {least}", f"{mine:.4f}", mine >= least)
        yield Figure(f"MNIST, {kind}: the same against cleanlab's OutOfDistribution", f">= {theirs:.4f}", f"{mine:.4f}", mine >= theirs)
        for name, values in known_members.items():
            yield Figure(f"MNIST, {kind}: {name} alone", "for information", f"{auroc(values, foreign_members[name]):.4f}", None)


def on_digits() -> Iterator[Figure]:
    """The combined score against the best of its members, for unseen digits and for damaged ones, over random splits."""
    lost: dict[str, list[float]] = {"unseen": [], "damaged": []}
    reached: dict[str, list[float]] = {"unseen": [], "damaged": []}
    for seed in range(SPLITS):
        world = digits_world(seed)
        usual = np.concatenate([world.digits.held_out[0], world.digits.incoming[0]])
        known, known_members = scores_of(world.reference, world.model, usual)
        harmed, _ = damaged(world.digits.incoming[0], np.random.default_rng(seed))
        for kind, images in (("unseen", world.digits.unseen[0]), ("damaged", harmed)):
            foreign, foreign_members = scores_of(world.reference, world.model, images)
            best = max(auroc(values, foreign_members[name]) for name, values in known_members.items())
            reached[kind].append(auroc(known, foreign))
            lost[kind].append(best - reached[kind][-1])
    for kind in lost:
        mean = float(np.mean(lost[kind]))
        name = f"digits, {kind}: AUROC that combining loses against the best member, mean of {SPLITS} splits"
        measured = f"{mean:+.4f} (worst {max(lost[kind]):+.4f})"
        yield Figure(name, f"<= {BELOW_BEST}", measured, mean <= BELOW_BEST)
        yield Figure(f"digits, {kind}: AUROC of the combined score", "for information", f"{np.mean(reached[kind]):.4f}", None)


def auroc(known: Array, foreign: Array) -> float:
    """The probability that a foreign item scores higher than a known one."""
    return float(roc_auc_score(np.repeat([0, 1], [len(known), len(foreign)]), np.concatenate([known, foreign])))


def _deciding_layer(model: Model, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return model.run(images[:, None].astype(np.float32) / np.float32(255)).activations[0]
