"""The commands train and look-alikes: figures as JSON, sentences for people, errors with their fix."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

from annotriage.cli import main, training
from annotriage.training import regions


@pytest.fixture(scope="module")
def folder(tmp_path_factory, digits_reference, digits):
    """A reference and data as files."""
    folder = tmp_path_factory.mktemp("commands")
    digits_reference.save(folder / "reference")
    images, labels = digits.strangers
    for name, (x, y) in {
        "train": digits.train,
        "reviewed": (images[:120], labels[:120]),
        "fresh": (np.concatenate([digits.incoming[0], images[120:200]]), np.concatenate([digits.incoming[1], labels[120:200]])),
        "many": (np.concatenate([images, np.roll(images, 1, 2)]), np.tile(labels, 2)),
    }.items():
        np.savez(folder / f"{name}.npz", x=x, y=y)
    return folder


def run(folder, *words):
    result = CliRunner().invoke(main, [str(folder / word.removeprefix("@")) if word.startswith("@") else word for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_train_prints_figures_as_json(folder, tmp_path):
    given = ("train", "--reference", "@reference", "--train", "@train.npz", "--reviewed", "@reviewed.npz", "--calibration", "@fresh.npz")
    status, out, _ = run(folder, *given, "--perplexity", "kl", "--out", str(tmp_path / "better"), "--json", "--quiet")
    facts = json.loads(out)
    assert status == 0
    assert facts["new_classes"] == ["8", "9"]
    assert facts["comparison"]["new"]["right"] > facts["comparison"]["old"]["right"]
    assert facts["course"]["visits"] < facts["course"]["epochs"] * facts["trained_on"]
    status, out, _ = run(
        folder, "triage", "--reference", str(tmp_path / "better" / "reference"), "--data", "@fresh.npz", "--out", str(tmp_path / "r")
    )
    assert status == 0


def test_train_says_what_came_of_it(folder, tmp_path):
    given = (
        "train",
        "--reference",
        "@reference",
        "--train",
        "@train.npz",
        "--reviewed",
        "@reviewed.npz",
        "--out",
        str(tmp_path / "better"),
    )
    status, out, _ = run(folder, *given, "--quiet")
    assert status == 0
    assert "New classes: 8" in out
    assert "never automatic" in out
    status, _, err = run(folder, *given, "--quiet")
    assert status == 1
    assert "--replace" in err


def test_the_ways_to_rank_a_pool_are_those_that_training_knows():
    assert training.COLLECT == regions.COLLECT, "written out beside the option, which must not load what trains"


def test_train_needs_something_to_begin_with(folder, tmp_path):
    status, _, err = run(folder, "train", "--train", "@train.npz", "--out", str(tmp_path / "out"))
    assert status == 1
    assert "--reference" in err


def test_look_alikes_ask_and_then_label_the_rest(folder, tmp_path):
    out = tmp_path / "group"
    status, said, _ = run(
        folder, "look-alikes", "--reference", "@reference", "--data", "@many.npz", "--like", "5", "--out", str(out), "--quiet"
    )
    assert status == 0
    assert "answer 73 of them" in said
    with (out / "questions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (out / "questions.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ("id", "path", "label"))
        table.writeheader()
        table.writerows({**row, "label": "eight"} for row in rows)
    status, said, _ = run(folder, "look-alikes", "--answers", str(out))
    assert status == 0
    assert "127 items may be labelled eight at once" in said
    assert json.loads(run(folder, "look-alikes", "--answers", str(out), "--json")[1])["labelled_at_once"] == 127
