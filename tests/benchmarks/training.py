"""Perplexity subsampling against training on all, and against leaving out as many at random; what more labels and retraining bring.

Its default threshold was chosen on MNIST and is shown on digits.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figure import Figure
from numpy.typing import NDArray
from safetensors.torch import save_model
from sklearn.datasets import load_digits
from torch import nn

from annotriage import Plan, Reference, Settings, fit, triage
from annotriage.advice.numbers import percent
from annotriage.data import open_dataset
from annotriage.demo.digits import load_digits as demo_digits
from annotriage.demo.digits import write_digits
from annotriage.engine.labels import LabelSpace
from annotriage.engine.look_alikes import LookAlikes, judge_answers
from annotriage.guarantee.look_alikes import looks, standing
from annotriage.latent.maps import nearest_training
from annotriage.model.spec import ModelSpec
from annotriage.training.course import Course, run
from annotriage.training.network import Network
from annotriage.training.retraining import Wishes, retrain

Array = NDArray[Any]

MNIST = Path("mnist") / "mnist.npz"  # in the data folder
MNIST_IMAGES = 10_000  # of the training images, drawn at random
SEEDS = 5
SAME = 0.003  # of accuracy
VISITS = 0.60  # of those of a training on all
MNIST_PLAN = Plan(whole=True, epochs=8, perplexity="kl", seed=0)
DIGITS_PLAN = Plan(whole=True, epochs=24, batch_size=32, learning_rate=3e-3, perplexity="kl")
RETRAININGS = 100
ANSWERS = 120  # on 8s and 9s, that are learned
RANDOM = 400  # random items with labels, that calibrate
GROUPS = 1_000
BROKEN = 67  # of 1,000, at a confidence of 95 %
DIGITS_ERROR = 0.03


@dataclass(frozen=True)
class World:
    """Images (N, h, w) uint8 and labels to train on, and to test on."""

    train: tuple[Array, Array]
    test: tuple[Array, Array]


def figures(data: Path | None) -> Iterator[Figure]:
    """MNIST from `data`/mnist/mnist.npz, and digits. Figures of MNIST are left out without it."""
    torch.set_num_threads(1)
    if data is None or not (data / MNIST).exists():
        yield Figure("perplexity subsampling on MNIST", "", f"no {MNIST} in --data", None)
    else:
        yield from subsampling(f"{MNIST_IMAGES:,} images of MNIST", [mnist(data / MNIST, MNIST_IMAGES)], MNIST_PLAN)
    yield from subsampling(f"digits, mean of {SEEDS} seeds", [digits(seed) for seed in range(SEEDS)], DIGITS_PLAN)
    yield from retrainings()
    yield from groups()


def subsampling(name: str, worlds: list[World], plan: Plan) -> Iterator[Figure]:
    """Accuracies and visits: all samples, those that surprise, as many at random."""
    rows = []
    for seed, world in enumerate(worlds):
        seeded = replace(plan, seed=seed)
        whole, by_all = trained(world, replace(seeded, perplexity="off"))
        course, by_some = trained(world, seeded)
        rows.append((by_all, by_some, trained(world, seeded, course)[1], course.visits / whole.visits))
    by_all, by_some, at_random, visits = np.mean(rows, axis=0)
    yield Figure(f"sample visits with --perplexity kl, {name}", f"<= {VISITS:.0%}", f"{visits:.1%}", bool(visits <= VISITS))
    measured = f"{by_some:.2%}, of all {by_all:.2%}"
    yield Figure("their accuracy", f"within {100 * SAME:.1f} points", measured, bool(abs(by_some - by_all) <= SAME))
    yield Figure("accuracy with as many left out at random", "for information", f"{at_random:.2%}", None)


def retrainings() -> Iterator[Figure]:
    """The demo's model learns reviewed 8s and 9s, over many seeds: what is automatic afterwards, and how often the limit is broken."""
    rows, curve = [], None
    for seed in range(RETRAININGS):
        reference, known, unseen = demo_world()
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(unseen[0]))
        reviewed = tuple(part[order[:ANSWERS]] for part in unseen)
        others = [np.concatenate([mine, new[order[ANSWERS:]]]) for mine, new in zip(known, unseen, strict=True)]
        places = rng.permutation(len(others[0]))
        sample, test = ([part[rows] for part in others] for rows in (places[:RANDOM], places[RANDOM:]))
        with tempfile.TemporaryDirectory() as folder:
            wishes = Wishes(curve=seed == 0)
            made = retrain(reference, demo_digits().train, Path(folder), reviewed=reviewed, calibration=tuple(sample), wishes=wishes)
            found = triage(made.reference, tuple(test))
        curve = curve or made.curve
        auto = np.array([verdict.route == "auto" for verdict in found.verdicts])
        right = np.array([verdict.labels[:1] == (truth,) for verdict, truth in zip(found.verdicts, test[1], strict=True)])
        new = np.isin(test[1], ("8", "9"))
        of_new = auto & new
        spent = ANSWERS + int(np.isin(sample[1], ("8", "9")).sum())
        wrong = (auto & ~right).sum() / max(1, auto.sum())
        rows.append((auto.mean(), auto[new].mean(), wrong, (of_new & ~right).sum(), of_new.sum(), spent))
    shares = np.array(rows)
    broken = int((shares[:, 2] > DIGITS_ERROR).sum())
    name = f"{ANSWERS} answers on 8s and 9s learned, {RANDOM} random ones calibrate, {RETRAININGS} seeds"
    yield Figure(f"{name}: automatic", "for information", f"{shares[:, 0].mean():.1%}, of 8s and 9s {shares[:, 1].mean():.1%}", None)
    yield Figure(f"true error of automatic labels, limit {DIGITS_ERROR:.0%}", "for information", f"{shares[:, 2].mean():.2%}", None)
    of_new = f"{shares[:, 3].sum() / max(1, shares[:, 4].sum()):.2%} of {shares[:, 4].mean():.0f} a seed"
    yield Figure("true error of automatic labels on 8s and 9s", "for information", of_new, None)
    answers = f"{shares[:, 5].mean():.0f}: {ANSWERS} learned, the others in the random sample"
    yield Figure("answers spent on 8s and 9s", "for information", answers, None)
    yield Figure("seeds whose test items show more", "for information", f"{broken} of {RETRAININGS}", None)
    if curve is not None:
        measured = f"{curve.a:.2f} m^{curve.b:.2f} + {curve.c:.3f}; 500 more: -{percent(curve.gain)}"
        yield Figure(f"learning curve of the head on digits, {curve.now:,} items", "for information", measured, None)


class Uniform:
    """As many samples in each epoch as another course had, drawn at random."""

    def __init__(self, other: Course, seed: int) -> None:
        self._other, self._seed = other, seed

    def __call__(self, epoch: int, took_part: Array, perplexity: Array) -> Array:
        """Who takes part in the next epoch."""
        if epoch + 1 >= self._other.epochs:
            return took_part
        wanted = int(self._other.took_part[epoch + 1].sum())
        chosen = np.zeros(len(took_part), dtype=bool)
        chosen[np.random.default_rng([self._seed, epoch]).choice(len(chosen), wanted, replace=False)] = True
        return chosen


def mnist(path: Path, count: int | None = None) -> World:
    """MNIST as x_train, y_train, x_test, y_test."""
    with np.load(path) as file:
        train_x, train_y, test_x, test_y = (file[key] for key in ("x_train", "y_train", "x_test", "y_test"))
    drawn = np.random.default_rng(0).permutation(len(train_x))[:count]
    return World((train_x[drawn], train_y[drawn].astype(int)), (test_x, test_y.astype(int)))


def digits(seed: int) -> World:
    """scikit-learn's digits, half to train on."""
    found = load_digits()
    images = np.round(found.images * (255 / 16)).astype(np.uint8)
    order = np.random.default_rng(seed).permutation(len(images))
    half = len(order) // 2
    return World((images[order[:half]], found.target[order[:half]]), (images[order[half:]], found.target[order[half:]]))


class Small(nn.Sequential):
    """A small convolutional network for images of any size."""

    def __init__(self, side: int) -> None:
        deep = 32 * (side // 4) ** 2
        super().__init__(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(deep, 64), nn.ReLU(), nn.Linear(64, 10)),
        )


def network(world: World, plan: Plan, folder: Path) -> tuple[Network, Array]:
    """An untrained network on the world's items, and their targets."""
    side = world.train[0].shape[1]
    torch.manual_seed(plan.seed)
    save_model(Small(side), str(folder / "small.safetensors"))
    (folder / "benchmark_factory.py").write_text(f"from training import Small\n\ndef small():\n    return Small({side})\n", "utf-8")
    text = '[model]\nfactory = "benchmark_factory:small"\nweights = "small.safetensors"\nactivation = "softmax"\n'
    text += f'classes = {[str(digit) for digit in range(10)]}\n[input]\nsize = [{side}, {side}]\nmode = "L"\n'.replace("'", '"')
    (folder / "model.toml").write_text(text, "utf-8")
    sys.modules.pop("benchmark_factory", None)
    spec = ModelSpec.load(folder / "model.toml")
    items = list(open_dataset(world.train))
    return Network(spec, LabelSpace.of(spec.classes, False), items, plan, Settings(device="cpu")), np.eye(10, dtype=np.float32)[
        world.train[1]
    ]


def trained(world: World, plan: Plan, other: Course | None = None) -> tuple[Course, float]:
    """A course of training and the accuracy on the test images; other: leave out as many as it did, at random."""
    with tempfile.TemporaryDirectory() as folder:
        learner, targets = network(world, plan, Path(folder))
    course = run(learner, targets, plan, rule=None if other is None else Uniform(other, plan.seed))
    right = 0
    for start in range(0, len(world.test[0]), 500):
        images, labels = (part[start : start + 500] for part in world.test)
        with torch.inference_mode():
            logits = learner._module.eval()(torch.from_numpy(images[:, None].astype(np.float32) / np.float32(255)))
        right += int((logits.argmax(1).numpy() == labels).sum())
    return course, right / len(world.test[0])


def groups() -> Iterator[Figure]:
    """Look-alikes labelled at once: how often the limit is broken, and what it saves on unseen digits."""
    rng, broken = np.random.default_rng(0), 0
    for _ in range(GROUPS):
        wrong = rng.permutation(np.arange(200) < 11)
        state = standing(200, ~wrong[:100])
        if state.shown and state.at is not None:
            rest = wrong[state.at.size :]
            broken += bool(rest.sum() > 0.05 * len(rest))
    name = f"look-alikes: limit of 5% broken, 11 of 200 wrong, {GROUPS:,} groups"
    yield Figure(name, f"<= {BROKEN}", str(broken), broken <= BROKEN)
    reference, _, unseen = demo_world()
    images = np.concatenate([np.roll(unseen[0], (down, right), (1, 2)) for down in (-1, 0, 1) for right in (-1, 0, 1)])
    truth = np.tile(unseen[1], 9)
    model = reference.open_model()
    points = reference.judge(model.run(images[:, None].astype(np.float32) / np.float32(255))).compressed.astype(np.float32)
    answers = labelled = errors = shown = 0
    for _ in range(GROUPS):
        members = rng.permutation(nearest_training(points[[rng.integers(len(points))]], points, 200)[0])
        group = LookAlikes(tuple(map(str, members)), ("",) * 200, points[members], "")
        said: list[str] = []
        for look in looks(200):
            said = list(truth[members[: look.size]])
            found = judge_answers(group, said)
            if found.standing.shown:
                shown += 1
                labelled += len(found.rest)
                errors += int((truth[members[look.size :]] != found.label).sum())
                break
        answers += len(said)
    measured = f"{answers / max(1, labelled + answers):.2f} in {percent(shown / GROUPS)} of the groups"
    yield Figure(
        f"unseen 8s and 9s, {GROUPS:,} groups of the 200 most similar: answers per item labelled", "for information", measured, None
    )
    share = errors / max(1, labelled)
    yield Figure("true error of what was labelled at once", "<= 5%", percent(share), share <= 0.05)


@cache
def demo_world() -> tuple[Reference, tuple[Array, Array], tuple[Array, Array]]:
    """The demo's reference of digits 0 to 7, known digits that it was not trained on, and unseen ones: (x, y), y as names."""
    found = demo_digits()
    with tempfile.TemporaryDirectory() as folder:
        spec = write_digits(Path(folder) / "digits").spec
        kept = Path(tempfile.mkdtemp())  # for the process: the reference opens its model again and again
        for file in (spec, spec.with_name("digits.onnx")):
            (kept / file.name).write_bytes(file.read_bytes())
    settings = Settings(map="none", max_error=DIGITS_ERROR)
    reference = fit(kept / spec.name, (found.train[0], found.train[1]), settings=settings)
    known = tuple(np.concatenate(part) for part in zip(found.held_out, found.incoming, strict=True))
    return reference, (known[0], known[1].astype(str)), (found.unseen[0], found.unseen[1].astype(str))
