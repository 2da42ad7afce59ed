"""Whether strangers are found: AUROC of known against foreign items, and how many are flagged at 5%.

On scikit-learn's digits always; with --data also on MNIST (a folder with model.onnx, input (N, 1, 28, 28) = pixel / 255, logits of the
digits 0-7, and images.npz with train_, calibration_ and incoming_ x and y of 0-7, unseen_x (8 and 9) and fashion_x, all uint8) and on
pooled activations (a folder with activations.npz: of train, calibration, id and each foreign set NAME the arrays NAME_a0, the deciding
layer, NAME_a1 to NAME_a6, maps from early to late, NAME_logits; train_y). The folder may hold both as subfolders.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cleanlab.outlier import OutOfDistribution
from figure import Figure
from networks import digits_world
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from annotriage import ModelSpec, Settings, load_model
from annotriage.demo.digits import damaged
from annotriage.guarantee.conformal import flagged_rank, outlier_threshold
from annotriage.latent.detector import Detector, fit_detector
from annotriage.latent.tails import Tails
from annotriage.model import Model, Outputs
from annotriage.model.spec import InputSpec

Array = NDArray[np.float64]

ALPHA = 0.05
SPLITS = 5  # of the digits
RULES = ("two-axes", "combined")
WANTED_OF_MNIST = {"unseen": 0.973, "fashion": 0.998, "noise": 0.99}
WANTED_OF_PHOTOS = {"mean AUROC": 0.965, "AUROC of near strangers": 0.79, "mean share flagged": 0.84}
HELD_OUT = (60, 100, 150, 400)  # items, for false flags
DRAWS = 200


@dataclass(frozen=True)
class World:
    """What a model makes of a training set, of held-out and further known items, and of foreign sets."""

    name: str
    training: Outputs
    labels: NDArray[np.intp]
    held_out: Outputs
    known: Outputs
    foreign: Mapping[str, Outputs]


def figures(data: Path | None) -> Iterator[Figure]:
    """All rows; those on MNIST and on photos need their folder."""
    yield from on_digits()
    folders = [] if data is None else [data, *sorted(part for part in data.iterdir() if part.is_dir())]
    images = next((folder for folder in folders if (folder / "images.npz").is_file()), None)
    photos = next((folder for folder in folders if (folder / "activations.npz").is_file()), None)
    why = "not measured: give its folder with --data" if data is None else f"not measured: not in {data}"
    if images is None:
        yield Figure("MNIST 0-7 against unseen digits, fashion and noise", "AUROC >= 0.973, 0.998, 0.99", why, None)
    else:
        yield from on_mnist(mnist(images))
    if photos is None:
        yield Figure("photos: mean AUROC, near strangers, share flagged", ">= 0.965, 0.79, 0.84", why, None)
    else:
        yield from on_photos(clothing(photos))


def on_mnist(world: World) -> Iterator[Figure]:
    """Each foreign set by both rules, beside cleanlab on the same activations; then false flags."""
    found = {rule: aurocs(world, rule) for rule in RULES}
    theirs = cleanlab(world)
    for kind, least in WANTED_OF_MNIST.items():
        mine = found["two-axes"][kind]
        yield Figure(f"{world.name}, {kind}: AUROC", f">= {least}", f"{mine:.4f}", mine >= least)
        yield Figure(f"{world.name}, {kind}: AUROC against cleanlab's", f">= {theirs[kind]:.4f}", f"{mine:.4f}", mine >= theirs[kind])
        yield Figure(f"{world.name}, {kind}: AUROC of the sum of all scores", "for information", f"{found['combined'][kind]:.4f}", None)
    yield from false_flags(world)


def on_photos(world: World) -> Iterator[Figure]:
    """The means over all foreign sets, near strangers, and what each set shows."""
    theirs = cleanlab(world)
    for rule in RULES:
        detector, threshold = fitted(world, rule)
        found = aurocs(world, rule)
        flagged = {name: float(np.mean(score(detector, outputs) > threshold)) for name, outputs in world.foreign.items()}
        reached = {
            "mean AUROC": float(np.mean(list(found.values()))),
            "AUROC of near strangers": found["near"],
            "mean share flagged": float(np.mean(list(flagged.values()))),
        }
        for what, least in WANTED_OF_PHOTOS.items():
            judged = rule == "two-axes"
            wanted = f">= {least}" if judged else "for information"
            yield Figure(f"{world.name}, {rule}: {what}", wanted, f"{reached[what]:.4f}", reached[what] >= least if judged else None)
        each = ", ".join(f"{name} {found[name]:.3f}/{flagged[name]:.2f}" for name in world.foreign)
        yield Figure(f"{world.name}, {rule}: AUROC/share flagged", "for information", each, None)
    mean = f"{np.mean(list(theirs.values())):.4f}, near {theirs['near']:.4f}"
    yield Figure(f"{world.name}, cleanlab's OutOfDistribution: mean AUROC", "for information", mean, None)
    yield from false_flags(world)


def false_flags(world: World) -> Iterator[Figure]:
    """The share flagged of known items, held-out and incoming ones drawn anew each time, against the exact expectation."""
    detector, _ = fitted(world, "two-axes")
    axes = np.concatenate([detector.measure(part.activations, part.logits).axes for part in (world.held_out, world.known)])
    rng = np.random.default_rng(0)
    for count in HELD_OUT:
        shares = np.empty(DRAWS)
        for draw in range(DRAWS):
            order = rng.permutation(len(axes))
            tails = Tails(axes[order[:count]])
            shares[draw] = np.mean(tails.scores(axes[order[count : count + 300]]) > outlier_threshold(tails.own, ALPHA))
        exact, error = flagged_rank(count, ALPHA) / (count + 1), 3 * shares.std(ddof=1) / np.sqrt(DRAWS)
        wanted = f"{exact:.4f} within 3 standard errors ({error:.4f})"
        name = f"{world.name}: known items flagged, {count} held-out, {DRAWS} draws"
        yield Figure(name, wanted, f"{shares.mean():.4f}", bool(abs(shares.mean() - exact) <= error))


def on_digits() -> Iterator[Figure]:
    """Both rules on unseen digits and on damaged ones, over random splits."""
    reached: dict[tuple[str, str], list[float]] = {}
    for seed in range(SPLITS):
        world = digits(seed)
        for rule in RULES:
            for kind, found in aurocs(world, rule).items():
                reached.setdefault((kind, rule), []).append(found)
    for (kind, rule), values in reached.items():
        measured = f"{np.mean(values):.4f} (worst {min(values):.4f})"
        yield Figure(f"digits, {kind}, {rule}: AUROC, mean of {SPLITS} splits", "for information", measured, None)
    mine, before = (np.mean([np.mean(values) for (_, named), values in reached.items() if named == rule]) for rule in RULES)
    yield Figure("digits: mean AUROC against the sum of all scores", f">= {before:.3f}", f"{mine:.4f}", bool(mine >= before - 5e-4))


def digits(seed: int) -> World:
    """The demo's digits and network on the split that `seed` draws."""
    world = digits_world(seed)
    harmed, _ = damaged(world.digits.incoming[0], np.random.default_rng(seed))
    foreign = {"unseen": world.digits.unseen[0], "damaged": harmed}
    images = (world.digits.train[0], world.digits.held_out[0], world.digits.incoming[0])
    training, held_out, known = (run(world.model, part) for part in images)
    _, labels = np.unique(world.digits.train[1], return_inverse=True)
    return World("digits", training, labels, held_out, known, {name: run(world.model, part) for name, part in foreign.items()})


def mnist(folder: Path) -> World:
    """MNIST 0-7, with unseen digits, Fashion-MNIST and noise."""
    spec = ModelSpec(tuple("01234567"), InputSpec((28, 28), mode="L", scale=1 / 255), file="model.onnx", path=folder / "model.toml")
    model = load_model(spec)
    with np.load(folder / "images.npz") as file:
        images = dict(file)
    noise = np.random.default_rng(0).integers(0, 256, (500, 28, 28)).astype(np.uint8)
    foreign = {"unseen": images["unseen_x"], "fashion": images["fashion_x"], "noise": noise}
    training, held_out, known = (run(model, images[f"{part}_x"]) for part in ("train", "calibration", "incoming"))
    labels = images["train_y"].astype(np.intp)
    return World("MNIST", training, labels, held_out, known, {name: run(model, part) for name, part in foreign.items()})


def clothing(folder: Path) -> World:
    """Pooled activations of photos; foreign are all sets but train, calibration and id."""
    with np.load(folder / "activations.npz") as file:
        arrays = dict(file)

    def outputs(part: str) -> Outputs:
        layers = tuple(arrays[f"{part}_a{place}"].astype(np.float32) for place in range(7))
        return Outputs(arrays[f"{part}_logits"], layers)

    names = [name.removesuffix("_logits") for name in arrays if name.endswith("_logits")]
    _, labels = np.unique(arrays["train_y"], return_inverse=True)
    foreign = {name: outputs(name) for name in names if name not in ("train", "calibration", "id")}
    return World("photos", outputs("train"), labels, outputs("calibration"), outputs("id"), foreign)


def fitted(world: World, rule: str) -> tuple[Detector, float]:
    """The detector of a rule, measured against the held-out items, and the score above which an item is flagged."""
    names = tuple(map(str, range(world.labels.max() + 1)))
    detector = fit_detector(world.training.activations, world.training.logits, world.labels, names, Settings(score=rule))
    detector, measured = detector.calibrated(world.held_out.activations, world.held_out.logits)
    return detector, outlier_threshold(measured.score, ALPHA)


def aurocs(world: World, rule: str) -> dict[str, float]:
    """AUROC of each foreign set."""
    detector, _ = fitted(world, rule)
    known = score(detector, world.known)
    return {name: auroc(known, score(detector, outputs)) for name, outputs in world.foreign.items()}


def cleanlab(world: World) -> dict[str, float]:
    """The same by cleanlab's OutOfDistribution, k = 10, on the deciding layer."""
    rival = OutOfDistribution(params={"k": 10})
    rival.fit_score(features=world.training.activations[0], verbose=False)
    known = -rival.score(features=world.known.activations[0])
    return {name: auroc(known, -rival.score(features=outputs.activations[0])) for name, outputs in world.foreign.items()}


def score(detector: Detector, outputs: Outputs) -> Array:
    """The deciding score of each item."""
    return detector.measure(outputs.activations, outputs.logits).score


def run(model: Model, images: NDArray[np.uint8]) -> Outputs:
    """What a model makes of grey images whose pixels it takes from 0 to 1."""
    return model.run(images[:, None].astype(np.float32) / np.float32(255))


def auroc(known: Array, foreign: Array) -> float:
    """The probability that a foreign item scores higher than a known one."""
    return float(roc_auc_score(np.repeat([0, 1], [len(known), len(foreign)]), np.concatenate([known, foreign])))
