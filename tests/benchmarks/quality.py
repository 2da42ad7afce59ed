"""The quality of data: label audits beside cleanlab's own API, what removing the findings is worth, and duplicates among many items.

Digits of all ten classes, of whose labels some are wrong before a network is trained on them: of any class (uniform), or 3s called 8.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from cleanlab.filter import find_label_issues
from figure import Figure, spread, turns
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.neighbors import NearestNeighbors
from sklearn.neural_network import MLPClassifier

from annotriage import ModelSpec, Settings, audit_labels, fit, load_model
from annotriage.demo.digits import train_model
from annotriage.model.spec import InputSpec
from annotriage.quality.heads import FOLDS, class_probabilities, fold_of
from annotriage.quality.label_issues import label_issues
from annotriage.quality.twins import nearest_earlier

Array = NDArray[np.float64]
Labels = NDArray[np.intp]

TRAINED, HELD_OUT = 1_000, 300
NOISE = (("uniform", 0.05), ("uniform", 0.20), ("3 to 8", 0.05), ("3 to 8", 0.20))
ROUNDS = 7
TIMES_CLEANLAB = 1.2
SEEDS = 5  # of the networks that show what removing the findings is worth
ITEMS, WIDTH = 100_000, 64
HEAD_ITEMS, HEAD_WIDTH = 50_000, 512
TIMES_NEIGHBOURS = 3.0


@dataclass(frozen=True)
class World:
    """Digits whose labels are partly wrong: those that a network was trained on, and its compressed points of them."""

    images: NDArray[np.uint8]
    given: Labels
    truth: Labels
    points: Array
    found: dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]]  # by part: flagged, wrong


def figures(data: Path | None) -> Iterator[Figure]:
    """All rows. `data` is not used."""
    for kind, share in NOISE:
        yield from on_wrong_labels(kind, share)
    yield from on_many_heads()
    yield from on_many_items()


def on_wrong_labels(kind: str, share: float) -> Iterator[Figure]:
    """What is found, on trained items and on new ones; the same as cleanlab finds, and in what time; and what it is worth."""
    world = mislabelled(kind, share)
    name = f"digits, {share:.0%} of labels wrong ({kind})"
    for part, (flagged, wrong) in world.found.items():
        yield Figure(f"{name}: precision, recall, {part}", "for information", in_words(flagged, wrong), None)
    given, wrong = world.given, world.given != world.truth
    alone = np.arange(len(given))
    fold = fold_of(given, alone, FOLDS, np.random.default_rng(0))
    kept: dict[str, NDArray[np.bool_]] = {}

    def ours() -> None:
        probabilities = class_probabilities(world.points, given, 10, fold)
        kept["ours"] = label_issues(given, probabilities, alone, np.random.default_rng(0)).flagged

    def theirs() -> None:
        head = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        probabilities = cross_val_predict(head, world.points, given, cv=PredefinedSplit(fold), method="predict_proba")
        kept["theirs"] = find_label_issues(given, probabilities, n_jobs=1)  # with so few items its processes take far longer

    taken = turns(ours, theirs, rounds=ROUNDS)
    mine, rival = kept["ours"], kept["theirs"]
    yield Figure(f"{name}: precision, recall", f"{in_words(rival, wrong)} (cleanlab)", in_words(mine, wrong), bool((mine == rival).all()))
    ratios = taken[:, 0, 1] / taken[:, 1, 1]  # of processor time
    within = bool(np.median(ratios) <= TIMES_CLEANLAB)
    yield Figure(f"{name}: time over cross_val_predict, find_label_issues", f"<= {TIMES_CLEANLAB}", spread(ratios), within)
    yield worth(name, world)


def worth(name: str, world: World) -> Figure:
    """Accuracy on clean digits of networks trained without the findings, and without as many random items."""
    flagged = world.found["trained on"][0]
    images, truth, _ = digits()
    tested = slice(TRAINED + HELD_OUT, None)
    reached = np.empty((SEEDS, 2))
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        drawn = np.ones(len(flagged), dtype=bool)
        drawn[rng.permutation(len(flagged))[: flagged.sum()]] = False
        for place, rows in enumerate((~flagged, drawn)):
            network = MLPClassifier((48,), max_iter=200, random_state=seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # 200 passes for each, whether or not more would help
                network.fit(flat(world.images[rows]), world.given[rows])
            reached[seed, place] = network.score(flat(images[tested]), truth[tested])
    without, random = reached.mean(axis=0)
    measured = f"{without:.1%} against {random:.1%}"
    return Figure(f"{name}: accuracy without findings, without random ones", "the first is higher", measured, bool(without >= random))


def on_many_heads() -> Iterator[Figure]:
    """How long the heads of an audit take on a training set of usual size."""
    rng = np.random.default_rng(0)
    given = rng.integers(0, 10, HEAD_ITEMS)
    points = rng.normal(size=(10, HEAD_WIDTH))[given] + rng.normal(size=(HEAD_ITEMS, HEAD_WIDTH))
    fold = fold_of(given, np.arange(HEAD_ITEMS), FOLDS, rng)
    taken = turns(lambda: class_probabilities(points, given, 10, fold), rounds=1)
    name = f"heads of {FOLDS} folds on {HEAD_ITEMS:,} x {HEAD_WIDTH}: processor seconds"
    yield Figure(name, "for information", f"{taken[0, 0, 1]:.1f}", None)


def on_many_items() -> Iterator[Figure]:
    """Twins among many items, over one exact pass of the same library that scikit-learn offers for it."""
    rng = np.random.default_rng(0)
    points = (3 * rng.normal(size=(1_000, WIDTH))[rng.integers(0, 1_000, ITEMS)] + rng.normal(size=(ITEMS, WIDTH))).astype(np.float32)
    taken = turns(
        lambda: nearest_earlier(points), lambda: NearestNeighbors(n_neighbors=2, algorithm="brute").fit(points).kneighbors(), rounds=1
    )
    ratio, seconds = taken[0, 0, 0] / taken[0, 1, 0], taken[0, 0, 0]
    name = f"twins among {ITEMS:,} x {WIDTH}: time over one exact pass"
    yield Figure(name, f"<= {TIMES_NEIGHBOURS:.0f}", f"{ratio:.2f} ({seconds:.1f} s)", bool(ratio <= TIMES_NEIGHBOURS))


def mislabelled(kind: str, share: float) -> World:
    """The demo's network on digits with wrong labels, and what an audit finds among those that it was trained on and among new ones."""
    images, truth, rng = digits()
    given = truth.copy()
    if kind == "uniform":
        rows = rng.permutation(len(truth))[: int(share * len(truth))]
        given[rows] = (truth[rows] + rng.integers(1, 10, len(rows))) % 10
    else:
        threes = rng.permutation(np.flatnonzero(truth == 3))
        given[threes[: int(share * len(threes))]] = 8
    parts = {"trained on": slice(0, TRAINED), "new": slice(TRAINED + HELD_OUT, None)}
    with TemporaryDirectory() as folder:
        train_model(Path(folder) / "digits.onnx", images[:TRAINED], given[:TRAINED], 0)
        spec = InputSpec((8, 8), mode="L", scale=1 / 255)
        model = load_model(ModelSpec(tuple("0123456789"), spec, file="digits.onnx", path=Path(folder) / "model.toml"))
    names = given.astype(str)
    held_out = slice(TRAINED, TRAINED + HELD_OUT)
    trained = (images[:TRAINED], names[:TRAINED])
    reference = fit(model, trained, (images[held_out], names[held_out]), settings=Settings(map="none"))
    found = {}
    for part, rows in parts.items():
        flagged = np.zeros(len(truth[rows]), dtype=bool)
        flagged[[int(finding.id) for finding in audit_labels(reference, (images[rows], names[rows]), model=model).findings]] = True
        found[part] = flagged, given[rows] != truth[rows]
    outputs = model.run(images[:TRAINED, None].astype(np.float32) / np.float32(255))
    points = reference.detector.measure(outputs.activations, outputs.logits).compressed
    return World(images[:TRAINED], given[:TRAINED], truth[:TRAINED], points, found)


def digits() -> tuple[NDArray[np.uint8], Labels, np.random.Generator]:
    """All digits and their true labels in a seeded order, and what further draws come from."""
    rng = np.random.default_rng(0)
    images, truth = load_digits(return_X_y=True)
    order = rng.permutation(len(truth))
    return (images * 15).astype(np.uint8).reshape(-1, 8, 8)[order], truth[order], rng


def flat(images: NDArray[np.uint8]) -> Array:
    """Rows of pixels."""
    return images.reshape(len(images), -1) / 255


def in_words(flagged: NDArray[np.bool_], wrong: NDArray[np.bool_]) -> str:
    """Precision and recall."""
    right = int((flagged & wrong).sum())
    return f"{right / max(flagged.sum(), 1):.2f}, {right / max(wrong.sum(), 1):.2f}"
