"""The published experiment on data that anyone has: one model, three incoming sets, four methods, and what each advises."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotriage.demo.digits import train_model
from annotriage.demo.story_digits import CLASSES, story_digits
from annotriage.engine.fitting import fit
from annotriage.engine.opinions import own_opinion, published_on, published_opinion
from annotriage.model import Outputs
from annotriage.progress import Progress, silent
from annotriage.report.diversity_story import PAGE, Dots, Graph, Story, story_text, write_story
from annotriage.settings import Settings

Array = NDArray[Any]

SPEC = """\
[model]
file = "digits.onnx"
classes = ["0", "1", "2", "3", "irrelevant"]

[input]
size = [8, 8]
mode = "L"
resize = "box"
"""
TODAY = "mean-sigma"
EMBEDDINGS = ("tsne-joint", "pca-joint")


def diversity_story(
    folder: Path, say: Callable[[str], None] = print, progress: Progress = silent, settings: Settings | None = None
) -> Story:
    """Train on five classes, 100 images each, and judge three sets of 500 by the published method and by ours.

    Writes story.html and story.json into `folder`/diversity, anew each time. settings: seed and the thresholds of our advice.
    """
    settings = replace(settings or Settings(), map="none")
    folder = folder / "diversity"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    digits = story_digits(settings.seed)
    say(f"1. Training on five classes of scikit-learn's handwritten digits, 100 images each: {', '.join(CLASSES)} (4, 5 and 6).")
    classes = np.array([CLASSES.index(label) for label in digits.train[1]])
    with progress("training the model", None):
        train_model(folder / "digits.onnx", digits.train[0], classes, settings.seed)
        (folder / "model.toml").write_text(SPEC, "utf-8")
    say(f"2. Two references, calibrated on {len(digits.held_out[0])} held-out digits: our rule, and mean-sigma as it is used item by item.")
    spec = folder / "model.toml"
    ours = fit(spec, digits.train, digits.held_out, settings=settings, name="story", progress=progress)
    today = fit(
        spec,
        digits.train,
        digits.held_out,
        settings=replace(settings, score=TODAY, threshold="mean-sigma"),
        name="story, mean-sigma",
        progress=progress,
    )
    say("3. Three incoming sets of 500; t-SNE and PCA are fitted on 500 + 500 for each of them.")
    model = ours.open_model()

    def seen(images: Array) -> Outputs:
        return model.run(images[:, None].astype(np.float32) / np.float32(255))

    training = seen(digits.train[0])
    graphs = []
    with progress("embedding both sets together", len(digits.levels) * len(EMBEDDINGS)) as advance:
        for level in digits.levels:
            outputs = seen(level.images)
            found = []
            for embedding in EMBEDDINGS:
                found.append(published_on(training, classes, CLASSES, outputs, embedding, settings.seed))
                advance(1)
            told = level.labels != ""
            right = np.array(CLASSES)[outputs.logits.argmax(axis=1)] == level.labels
            graphs.append(
                Graph(
                    level.name,
                    level.what,
                    float(np.mean(right)),
                    int(told.sum()),
                    (
                        *(published_opinion(level.name, method) for method in found),
                        replace(own_opinion(today, level.name, outputs, settings), method="mean-sigma item by item"),
                        own_opinion(ours, level.name, outputs, settings),
                    ),
                    Dots(
                        found[0].training,
                        digits.train[1],
                        digits.train[0],
                        found[0].incoming,
                        level.labels,
                        level.images,
                        found[0].outlier,
                        found[0].clusters.centers,
                    ),
                )
            )
    story = Story(CLASSES, len(digits.train[0]), len(digits.held_out[0]), settings.alpha, tuple(graphs))
    write_story(story, folder)
    say("")
    say(story_text(story))
    say("")
    say(f"Open the page in a browser: {(folder / PAGE).resolve()}")
    return story
